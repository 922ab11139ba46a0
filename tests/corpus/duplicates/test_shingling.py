"""Folding, exact keys and shingles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperclova.corpus.duplicates import exact_key, fold, shingle_batch, shingles

TEXTS = st.lists(st.text(alphabet="가나다 라ㅋ.AB1\n😀𠀀é", max_size=30), max_size=12)


def runs(text: str, length: int) -> set[str]:
    letters = "".join(c.lower()[0] for c in text if c.isalnum())
    return {letters[i : i + length] for i in range(max(len(letters) - length + 1, 1)) if letters}


def test_fold_keeps_letters_and_digits_in_lower_case() -> None:
    assert fold("서울특별시, ‘광화문’ 1번지! ABC ㅋㅋ\n") == "서울특별시광화문1번지abcㅋㅋ"


def test_fold_keeps_old_hangul_and_characters_beyond_the_basic_plane() -> None:
    assert fold("나랏말ᄊᆞ미 𠀀 😀") == "나랏말ᄊᆞ미𠀀"


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=50))
def test_fold_is_isalnum_and_lower(text: str) -> None:
    assert fold(text) == "".join(c.lower()[0] for c in text if c.isalnum())


def test_exact_key_folds_whitespace_and_nothing_else() -> None:
    key = exact_key("비가 온다.\n우산을 챙기자.")
    assert len(key) == 16
    assert key == exact_key("  비가  온다. 우산을\t챙기자.\n")
    assert key != exact_key("비가 온다. 우산을 챙기자")
    assert key != exact_key("비가온다. 우산을 챙기자.")


def test_exact_key_never_changes() -> None:
    # Written files hold these keys: another value would make old and new ones differ.
    assert exact_key("봄이 왔다").hex() == "38c3373b6d59cfce2ff49332b70fcb28"


def test_shingles_never_change() -> None:
    assert shingles("봄이 왔다고 모두 말한다", 5)[:2].tolist() == [
        1169233527341808700,
        4278115545387051171,
    ]


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(1, 9))
def test_as_many_shingles_as_distinct_runs_and_equal_where_runs_are(
    texts: list[str], length: int
) -> None:
    expected = [runs(text, length) for text in texts]
    batch = shingle_batch(texts, length)
    found = [set(batch.of(index).tolist()) for index in range(len(texts))]
    assert [len(one) for one in found] == [len(one) for one in expected]
    for i in range(len(texts)):
        for j in range(i):
            assert len(found[i] & found[j]) == len(expected[i] & expected[j])


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(1, 9))
def test_a_batch_gives_what_each_text_gives_alone(texts: list[str], length: int) -> None:
    batch = shingle_batch(texts, length)
    assert len(batch) == len(texts)
    for index, text in enumerate(texts):
        np.testing.assert_array_equal(batch.of(index), shingles(text, length))


def test_texts_longer_than_a_batch() -> None:
    long = "".join(chr(0xAC00 + (n * n + n // 7) % 11_000) for n in range(150_000))
    batch = shingle_batch(["짧은 글이다", long, "", long[70_000:]], 5)
    assert batch.counts().tolist() == [1, 150_000 - 4, 0, 80_000 - 4]
    assert np.isin(batch.of(3), batch.of(1)).all()


def test_shingles_are_sorted_and_unique() -> None:
    found = shingles("하하하하하하하하하하 호호호호호호호", 3)
    assert (np.diff(found.astype(object)) > 0).all()
    assert len(found) == 4  # 하하하, 하하호, 하호호, 호호호


def test_a_text_without_letters_has_no_shingles() -> None:
    assert len(shingles("!!! ... 😀", 5)) == 0


def test_length_must_be_positive() -> None:
    with pytest.raises(ValueError, match="shingles of 0"):
        shingles("가", 0)

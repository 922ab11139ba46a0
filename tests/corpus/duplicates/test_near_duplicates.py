"""The whole way from texts to dropped documents, on Korean texts with planted copies."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperclova.corpus.duplicates import (
    MinHash,
    candidate_pairs,
    keep_best,
    shingle_batch,
    similarity,
    verify,
)

PETITION = (
    "우리 동네 어린이 도서관이 올겨울에 문을 닫는다는 소식을 들었습니다. 이곳은 맞벌이 부모를 "
    "둔 아이들이 학교가 끝난 뒤 안심하고 머물 수 있는 단 하나의 자리입니다. 시청은 예산이 "
    "모자란다고 하지만, 지난달 새로 깐 보도블록 값의 절반이면 한 해 동안 불을 켤 수 있습니다. "
    "사서 선생님 두 분은 주말에도 나와서 그림책을 읽어 주셨고, 아이들은 그 목소리를 들으며 "
    "한글을 뗐습니다. 건물이 낡았다면 고치면 되고, 사람이 모자라면 동네 어른들이 돌아가며 "
    "돕겠습니다. 문을 닫기 전에 한 번만 와서 보아 주십시오. 저녁 여섯 시, 창가 자리에 앉아 "
    "책장을 넘기는 아이들을 보시면 생각이 바뀌실 것이라고 믿습니다. 이 글에 뜻을 같이하는 주민 "
    "삼백여 명의 이름을 함께 보냅니다."
)
REVIEW = (
    "기대를 접고 봤는데 뜻밖에 괜찮았다. 처음 삼십 분은 인물이 너무 많아서 누가 누구인지 "
    "헷갈리지만 섬에 도착한 뒤로는 한눈팔 틈이 없다. 특히 등대 장면에서 파도 소리만 남기고 "
    "음악을 뺀 선택이 좋았다. 다만 마지막 반전은 앞에서 흘린 단서가 적어서 억지스럽다. 주연 "
    "배우의 사투리는 어색해도 표정이 모든 것을 말해 준다. 두 번 볼 영화는 아니지만 비 오는 날 "
    "혼자 보기에는 더없이 어울린다."
)
TEMPLATE = (
    "{0}역은 {1}군 {2}면에 있는 중부선의 간이역이다. {3}년 {4}월에 보통역으로 문을 열었고 여객 "
    "취급은 {5}년에 그쳤다. 승강장은 하나이며 역 앞으로 {6}천이 흐른다. 역 이름은 가까운 "
    "{7}마을에서 왔다."
)


def changed(text: str, share: float, seed: int) -> str:
    """``share`` of the words replaced by others of the text."""
    rng = random.Random(seed)
    words = text.split()
    for index in rng.sample(range(len(words)), round(share * len(words))):
        words[index] = rng.choice(words)
    return " ".join(words)


def name(rng: random.Random) -> str:
    return "".join(chr(rng.randrange(0xAC00, 0xD7A4)) for _ in range(2))


def stubs(count: int) -> list[str]:
    rng = random.Random(3)
    return [
        TEMPLATE.format(
            *(name(rng) for _ in range(3)),
            rng.randint(1900, 1950),
            rng.randint(1, 12),
            rng.randint(1970, 2010),
            *(name(rng) for _ in range(2)),
        )
        for _ in range(count)
    ]


def dropped_of(texts: list[str], threshold: float = 0.8) -> list[list[int]]:
    """Pairs of dropped and kept positions; the longest text is kept, then the last in order."""
    batch = shingle_batch(texts, 5)
    numbers = np.arange(len(texts), dtype=np.uint64)
    keys = MinHash(20, 6).sign(batch)
    pairs = np.concatenate(
        [candidate_pairs(keys[:, b], numbers, keys[:, (b + 1) % 20]) for b in range(20)]
    )
    verified, _ = verify(np.unique(pairs, axis=0), batch.of, threshold)
    rank = np.array(
        [(len(texts[int(n)]), texts[int(n)]) for n in np.unique(verified)],
        dtype=[("characters", "i8"), ("content", "U2000")],
    )
    return keep_best(verified, rank).astype(int).tolist()


@pytest.mark.parametrize("text", [PETITION, REVIEW])
@pytest.mark.parametrize("percent", [0, 1, 2, 3, 5, 8, 12, 20, 30])
def test_copies_are_found_by_their_true_similarity(text: str, percent: int) -> None:
    copies = [changed(text, percent / 100, seed) for seed in range(30)]
    batch = shingle_batch([text, *copies], 5)
    keys = MinHash(20, 6).sign(batch)
    similarities = np.array([similarity(batch.of(0), batch.of(n)) for n in range(1, 31)])
    proposed = (keys[1:] == keys[0]).any(axis=1)
    alike = similarities >= 0.8
    assert proposed[alike].mean() >= 0.95 if alike.any() else percent >= 8
    if percent <= 2:
        assert alike.mean() >= 0.9
    if percent >= 20:
        assert not alike.any()


def test_spacing_and_punctuation_do_not_hide_a_copy() -> None:
    joined = REVIEW.replace(" ", "").replace(".", "!!")
    assert similarity(*map(shingle_batch([REVIEW, joined], 5).of, (0, 1))) == 1.0


def test_pages_of_one_template_are_kept() -> None:
    pages = stubs(300)
    assert dropped_of(pages) == []
    # A lower threshold would take them for each other: the test can see a difference.
    assert len(dropped_of(pages, threshold=0.25)) > 100


def test_copies_among_others_are_dropped_for_the_best() -> None:
    longer = PETITION + " 고맙습니다."
    texts = [*stubs(40), PETITION, REVIEW, longer, changed(PETITION, 0.02, 1)]
    assert dropped_of(texts) == [[40, 42], [43, 42]]


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(24)))
def test_the_order_of_texts_does_not_matter(order: list[int]) -> None:
    texts = [changed(PETITION, n / 200, n) for n in range(12)]
    texts += [changed(REVIEW, n / 200, n) for n in range(12)]
    kept = {texts[a]: texts[b] for a, b in dropped_of(texts)}
    shuffled = [texts[n] for n in order]
    assert {shuffled[a]: shuffled[b] for a, b in dropped_of(shuffled)} == kept
    assert kept


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_similarity_is_jaccard(left: set[int], right: set[int]) -> None:
    arrays = [np.array(sorted(one), dtype=np.uint64) for one in (left, right)]
    expected = len(left & right) / len(left | right) if left | right else 0.0
    assert similarity(*arrays) == expected


def test_verification_keeps_pairs_at_the_threshold_and_looks_at_sizes_first() -> None:
    sets = [np.arange(10), np.arange(8), np.arange(7), np.arange(2, 10), np.zeros(0)]
    sets = [one.astype(np.uint64) for one in sets]
    pairs = np.array([(a, b) for a in range(5) for b in range(a + 1, 5)], dtype=np.uint64)
    verified, similarities = verify(pairs, lambda number: sets[number], 0.8)
    assert verified.tolist() == [[0, 1], [0, 3], [1, 2]]
    assert similarities.tolist() == [0.8, 0.8, 0.875]

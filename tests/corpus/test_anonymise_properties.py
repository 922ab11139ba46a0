"""Laws that hold of `anonymise` for every text."""

from hypothesis import example, given
from hypothesis import strategies as st

from hyperclova.corpus.anonymise import KINDS, Mask, anonymise
from hyperclova.corpus.anonymise.mask import compose, disjoint, replace

_PIECES = st.sampled_from(
    [
        *(
            "010-1234-5678",
            "０１０－１２３４－５６７８",
            "공일공",
            "일이삼사",
            "오육칠팔",
            "O1O",
            "①",
        ),
        *("02)", "123", "4567", "+82", "(0)", "10-", "1111-1111-1111", "4111", "x", "l", "⓪①⓪"),
        *("900101-1234568", "9001011234568", "110111-1234567", "법인", "계좌", "국민은행", "여권"),
        *("bomnal@naver.com", "abc", "@", "골뱅이", "naver.com", "네이버 점 컴", "(at)", " at "),
        *(
            "dot com",
            "instagram.com/",
            "abc_d",
            ".tistory.com",
            "https://",
            "카톡 아이디",
            "인스타",
        ),
        *("302-1234-5678-91", "M12345678", "면허", "서울", "11-12-345678-90", "연락처", "전화"),
        *("*", "****", "010-****-****", "90****-1******", "님", "은", ":", "-", "–", " ", "\n"),
        *(".", ",", "\u200b", "1\ufe0f\u20e3"),
    ]
)
_TEXTS = st.one_of(
    st.lists(_PIECES, max_size=14).map("".join),
    st.text(max_size=60),
    st.lists(st.one_of(_PIECES, st.text(max_size=4)), max_size=12).map("".join),
)


@given(_TEXTS)
@example("900101-1234568-010-1234-5678 국민은행 010-1234-5678-90")
def test_nothing_is_left_to_mask(text: str) -> None:
    once = anonymise(text).text
    again = anonymise(once)
    assert again.masked == ()
    assert again.text is once


@given(_TEXTS)
def test_masks_rebuild_the_text(text: str) -> None:
    result = anonymise(text)
    assert replace(text, list(result.masked)) == result.text
    end = 0
    for mask in result.masked:
        assert mask.kind in KINDS
        assert end <= mask.start < mask.end <= len(text)
        assert text[mask.start : mask.end] != mask.replacement
        end = mask.end
    if not result.masked:
        assert result.text is text


@given(
    st.text(
        alphabet=st.characters(
            min_codepoint=0xAC00, max_codepoint=0xD7A3, exclude_characters="공영"
        )
    )
    | st.text(alphabet=" .,!?~…\n봄날의햇살은참따뜻하다ㅋㅎ")
)
def test_text_without_digits_letters_and_zeros_is_the_same_object(text: str) -> None:
    assert anonymise(text).text is text


@given(st.data())
def test_composition_is_one_after_the_other(data: st.DataObject) -> None:
    def some_masks(length: int) -> list[Mask]:
        bounds = st.integers(0, length - 1)
        replacements = st.text("*-", min_size=1, max_size=5)
        drawn = data.draw(st.lists(st.tuples(bounds, st.integers(1, 5), replacements), max_size=6))
        return disjoint(
            Mask("phone", start, min(length, start + size), replacement)
            for start, size, replacement in drawn
        )

    text = data.draw(st.text("가나다0123456789", min_size=1, max_size=40))
    first = some_masks(len(text))
    between = replace(text, first)
    second = some_masks(len(between))
    both = compose(between, first, second)
    assert replace(text, both) == replace(between, second)
    assert disjoint(both) == both

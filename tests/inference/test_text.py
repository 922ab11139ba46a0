"""Whole characters only, no stop string ever, and offsets that point at the right character."""

import bisect
import codecs
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hyperclova.inference.logprobs import Measured
from hyperclova.inference.protocol import TokenResult
from hyperclova.inference.text import StopMatcher, Writer, token_text
from hyperclova.tokenizer import Tokenizer

LETTERS = "가나ㄱ a\n"
TEXTS = st.text(alphabet=LETTERS, max_size=24)
STOPS = st.lists(st.text(alphabet=LETTERS, min_size=1, max_size=5), max_size=4)
KOREAN = st.one_of(
    st.text(alphabet="가나다라옛날에뷁😀é \n!", max_size=30), st.text(max_size=20)
).filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text))


def until_stop(text: str, stops: list[str]) -> tuple[str, bool]:
    """The definition: read character by character; the first completed stop string ends it."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


def cut(text: str, places: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[begin:end] for begin, end in pairwise(edges)]


@given(TEXTS, STOPS, st.lists(st.integers(0, 100)))
def test_stop_strings_end_the_text_however_it_is_cut(
    text: str, stops: list[str], places: list[int]
) -> None:
    expected, stops_there = until_stop(text, stops)
    matcher = StopMatcher(stops)
    shown, stopped = "", False
    for piece in cut(text, places):
        new, stopped = matcher.push(piece)
        shown += new
        assert expected.startswith(shown)  # never more than is right, at any time
        if stopped:
            break
    if not stopped:
        shown += matcher.finish()
    assert (shown, stopped) == (expected, stops_there)


@given(TEXTS, STOPS)
def test_no_more_is_held_back_than_could_begin_a_stop_string(text: str, stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    shown = ""
    for end, character in enumerate(text, start=1):
        new, stopped = matcher.push(character)
        shown += new
        if stopped:
            return
        held = text[len(shown) : end]
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)
    assert shown + matcher.finish() == text


def write(
    tokenizer: Tokenizer, ids: list[int], stops: list[str]
) -> tuple[str, list[TokenResult], bool]:
    writer = Writer(tokenizer, stops, before=())
    text, results = "", []
    for token in ids:
        new, more, stopped = writer.push(token, Measured(-1.0))
        text += new
        results += more
        assert all(result.offset < len(text) for result in more)
        if stopped:
            return text, results, True
    rest, more = writer.finish()
    return text + rest, [*results, *more], False


@given(text=KOREAN, stops=STOPS)
def test_tokens_become_text_and_stop_before_a_stop_string(
    tiny_tokenizer: Tokenizer, text: str, stops: list[str]
) -> None:
    ids, offsets = tiny_tokenizer.encode_with_offsets(text)
    written, results, stopped = write(tiny_tokenizer, ids, stops)
    assert (written, stopped) == until_stop(text, stops)
    assert [result.offset for result in results] == [start for start, _ in offsets[: len(results)]]
    for result in results:
        if not result.text.startswith("bytes:"):
            assert written[result.offset :].startswith(result.text)
    begun = [start for start, _ in offsets if start < len(written)]
    assert len(results) == (len(begun) if stopped else len(ids))


def starts_of_characters(data: bytes) -> list[int]:
    """Where in ``data`` each character of its replacing decoding begins."""
    starts: list[int] = []

    def note(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        broken_at.append((error.start, error.end))
        return "\ufffd", error.end

    broken_at: list[tuple[int, int]] = []
    codecs.register_error("note", note)
    data.decode("utf-8", "note")
    at = 0
    spans = dict(broken_at)
    while at < len(data):
        starts.append(at)
        if at in spans:
            at = spans[at]
        else:
            lead = data[at]
            at += 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    return starts


def test_bytes_of_a_surrogate_are_characters_of_their_own(tiny_tokenizer: Tokenizer) -> None:
    ids = {tiny_tokenizer.token_bytes(each): each for each in range(tiny_tokenizer.vocabulary_size)}
    pieces = [ids[bytes([byte])] for byte in (0xED, 0xA1, 0x80, 0x21)]
    written, results, _ = write(tiny_tokenizer, pieces, [])
    assert written == "\ufffd\ufffd\ufffd!"
    assert [result.offset for result in results] == [0, 1, 2, 3]


@given(data=st.data())
def test_broken_utf8_reads_as_decoded_at_once(
    tiny_tokenizer: Tokenizer, data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.integers(1, tiny_tokenizer.vocabulary_size - 1), max_size=12))
    raw = tiny_tokenizer.decode_bytes(ids)
    whole = codecs.getincrementaldecoder("utf-8")(errors="replace").decode(raw)
    written, results, _ = write(tiny_tokenizer, ids, [])
    assert written == whole  # all but a character that was not finished
    assert len(results) == len(ids)
    starts = starts_of_characters(raw)
    at = 0
    for token, result in zip(ids, results, strict=True):
        assert result.offset == bisect.bisect_right(starts, at) - 1
        at += len(tiny_tokenizer.token_bytes(token))


def test_tokens_inside_a_syllable_read_as_bytes(tiny_tokenizer: Tokenizer) -> None:
    ids = tiny_tokenizer.encode("뷁")
    assert len(ids) > 1
    written, results, _ = write(tiny_tokenizer, ids, [])
    assert written == "뷁"
    texts = [result.text for result in results]
    assert all(text.startswith("bytes:\\x") for text in texts)
    joined = "".join(text.removeprefix("bytes:") for text in texts)
    assert joined == "\\xeb\\xb7\\x81"


def test_a_control_token_reads_by_its_name(tiny_tokenizer: Tokenizer) -> None:
    assert token_text(tiny_tokenizer, tiny_tokenizer.end_of_text_id) == "<|endoftext|>"


def test_a_character_begun_by_the_prompt_is_finished(tiny_tokenizer: Tokenizer) -> None:
    ids = tiny_tokenizer.encode("옛날뷁")
    writer = Writer(tiny_tokenizer, (), before=ids[:-1])
    text, _, _ = writer.push(ids[-1], None)
    assert text == "뷁"


def test_a_token_cut_by_a_stop_string_keeps_its_part(tiny_tokenizer: Tokenizer) -> None:
    token = next(
        token
        for token in range(tiny_tokenizer.vocabulary_size)
        if len(tiny_tokenizer.token_bytes(token).decode("utf-8", "ignore")) >= 2
        and not token_text(tiny_tokenizer, token).startswith("bytes:")
    )
    text = token_text(tiny_tokenizer, token)
    writer = Writer(tiny_tokenizer, (text[1:],), before=())
    shown, (result,), stopped = writer.push(token, Measured(-1.0))
    assert stopped
    assert shown == result.text == text[0]

"""Generating, and everything that can be done to a generation."""

import json
from typing import Any

import pytest

from .playground import (
    HANGUL_FILLERS,
    PROMPT,
    by_people,
    first_visible,
    generate,
    generate_at_length,
    marked,
    set_parameter,
    settle,
    state,
    value,
    wait_until_done,
    write,
)

pytestmark = pytest.mark.browser


def alike(page: Any) -> bool:
    """Whether the textarea and the marks below it are as high as each other."""
    settle(page)
    heights = page.evaluate(
        """() => {
          const area = document.getElementById("text");
          const overlay = document.getElementById("overlay");
          return [area.scrollHeight, area.clientHeight, overlay.offsetHeight];
        }"""
    )
    return len(set(heights)) == 1


def test_the_model_continues_the_text_and_its_part_is_marked(page: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 24)
    output = generate(page)
    assert output.strip()
    assert value(page) == PROMPT + output
    assert marked(page) == [output]
    first = page.locator("#overlay mark .first")
    assert first.text_content() == first_visible(output)
    rule = first.evaluate("node => getComputedStyle(node, '::before').width")
    assert rule == "2px"
    assert "24토큰에서 끝났어요" in state(page)
    assert page.locator("#authors").inner_text().startswith(f"사람 {len(PROMPT)}자")


def test_the_rule_stands_at_the_first_character_that_can_be_seen(visit: Any, studio: Any) -> None:
    """Whatever bytes a model may write: what cannot be seen is kept, and carries no rule."""
    unseen = "".join(map(chr, (*range(0x0D), *range(0x0E, 0x20), 0x20, *range(0x7F, 0xA1))))
    unseen += "\u00ad\u061c\u200b\u200e\u2028\u2029\u2060\u3000\ufeff" + HANGUL_FILLERS
    texts = {
        " 나무꾼이": "나",
        "\x1d주인": "주",
        "\n\n「마을": "「",
        "\ufffd어": "\ufffd",
        "\u200b😀을": "😀",
        " 3월": "3",
        "…그리고": "…",
        unseen + "끝" + unseen: "끝",
        unseen: None,
        "\n": None,
    }
    assert {text: first_visible(text) for text in texts} == texts
    segments = [part for text in texts for part in (("human", "가"), ("model", text))]
    studio.lay_desk(*segments)
    page = visit()
    assert value(page) == "".join(text for _, text in segments)
    assert marked(page) == list(texts)
    assert by_people(page) == ["가"] * len(texts)
    rules = [mark.locator(".first").all_text_contents() for mark in page.locator("mark").all()]
    assert rules == [[character] if character else [] for character in texts.values()]
    assert alike(page)


def test_the_marks_lie_where_the_text_is(page: Any) -> None:
    write(page, "가나다라 마바사 " * 30 + "\n\n끝")
    set_parameter(page, "max_tokens", 60)
    generate(page)
    assert alike(page)


def test_edits_keep_track_of_who_wrote_what(page: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 30)
    output = generate(page)
    area = page.locator("#text")
    half = len(output) // 2
    middle = len((PROMPT + output[:half]).encode("utf-16-le")) // 2  # as a browser counts
    area.evaluate("(area, at) => { area.focus(); area.setSelectionRange(at, at); }", middle)
    page.keyboard.insert_text("사람이 쓴 말")
    assert marked(page) == [output[:half], output[half:]]
    assert value(page) == PROMPT + output[:half] + "사람이 쓴 말" + output[half:]
    area.evaluate("area => area.setSelectionRange(0, 3)")
    page.keyboard.press("Delete")
    assert marked(page) == [output[:half], output[half:]]


def test_a_letter_typed_beside_its_like_belongs_to_the_typist(page: Any) -> None:
    assert page.evaluate(
        """async () => {
          const { Text, difference } = await import("/static/js/text.js");
          const before = new Text().append("아아", 0).append("아아", 7);
          const change = difference("아아아아", "아아아아아", 3);
          const after = before.replace(change.start, change.end, change.inserted);
          return after.segments().map(({ author, text }) => author + " " + text.length).join();
        }"""
    ) in ("human 3,model 2",)


def test_stop_keeps_what_was_written(page: Any) -> None:
    write(page, PROMPT)
    generate_at_length(page, PROMPT)
    assert page.locator("#stop").is_visible() and not page.locator("#generate").is_visible()
    assert page.locator("#text").get_attribute("aria-busy") == "true"
    page.keyboard.press("Escape")
    wait_until_done(page)
    assert "멈췄어요" in state(page)
    kept = value(page)
    assert kept.startswith(PROMPT) and len(kept) > len(PROMPT) + 10
    page.wait_for_timeout(300)
    assert value(page) == kept
    assert page.locator("#text").get_attribute("aria-busy") == "false"


def test_undo_goes_past_a_generation_and_redo_brings_it_back(page: Any) -> None:
    area = page.locator("#text")
    area.click()
    page.keyboard.type(PROMPT)
    set_parameter(page, "max_tokens", 12)
    output = generate(page)
    area.press("Control+z")
    assert value(page) == PROMPT
    assert marked(page) == []
    area.press("Control+z")
    assert value(page) == ""
    area.press("Control+Shift+z")
    area.press("Control+Shift+z")
    assert value(page) == PROMPT + output
    assert marked(page) == [output]
    page.locator("#undo").click()
    assert value(page) == PROMPT


def test_undo_while_the_model_writes_stops_it(page: Any) -> None:
    write(page, PROMPT)
    generate_at_length(page, PROMPT)
    page.locator("#text").press("Control+z")
    page.wait_for_function("prompt => document.getElementById('text').value === prompt", arg=PROMPT)


def test_regenerate_replaces_the_last_generation_only(page: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 16)
    first = generate(page)
    second = generate(page)
    set_parameter(page, "seed", "")  # every time another text
    page.locator("#regenerate").click()
    wait_until_done(page)
    assert value(page).startswith(PROMPT + first)
    assert value(page) != PROMPT + first + second
    page.locator("#undo").click()
    assert value(page) == PROMPT + first + second
    assert marked(page) == [first, second]


def test_the_same_seed_writes_the_same_text(page: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 16)
    set_parameter(page, "seed", 42)
    output = generate(page)
    page.locator("#text").press("Control+Shift+Enter")
    wait_until_done(page)
    assert value(page) == PROMPT + output


def add_stop(page: Any, stop: str) -> None:
    field = page.locator("#parameter-stop")
    field.fill(stop)
    field.press("Enter")
    assert page.locator("[data-parameter=stop] li").count() == 1


def test_a_stop_string_ends_the_text_and_is_not_in_it(page: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 40)
    set_parameter(page, "seed", 3)
    output = generate(page)
    page.locator("#text").press("Control+z")
    stop = next(c for at, c in enumerate(output) if at > 5 and c.isalpha() and c not in output[:at])
    add_stop(page, stop)
    assert generate(page) == output[: output.index(stop)]
    assert "멈춤 문자열" in state(page)


def test_a_stop_string_at_once_writes_nothing(page: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 40)
    set_parameter(page, "seed", 5)
    output = generate(page)
    page.locator("#text").press("Control+z")
    assert output[0].isalpha(), "choose a seed whose text begins with a letter"
    add_stop(page, output[0])
    assert generate(page) == ""
    assert "쓴 글이 없어요" in state(page)
    assert marked(page) == []
    assert page.locator("#regenerate").get_attribute("aria-disabled") == "true"


def test_a_text_that_ends_at_once_says_so(page: Any) -> None:
    page.route(
        "**/v1/completions",
        lambda route: route.fulfill(
            status=200,
            headers={"content-type": "text/event-stream"},
            body='data: {"choices":[{"index":0,"text":"","finish_reason":"stop"}]}\n\n'
            "data: [DONE]\n\n",
        ),
    )
    write(page, PROMPT)
    page.locator("#text").press("Control+Enter")
    wait_until_done(page)
    assert value(page) == PROMPT and marked(page) == []
    assert "글이 끝났다고 보았어요" in state(page)
    page.locator("#text").press("Control+z")
    assert value(page) == "", "an empty generation is no step of undo"


def test_waiting_is_said(page: Any, studio: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 4)
    with studio.engine_held():
        page.locator("#generate").click()
        page.wait_for_function("() => document.getElementById('state').dataset.kind === 'busy'")
        assert "기다리는 중" in state(page)
    wait_until_done(page)


def test_an_empty_document_is_not_sent(page: Any) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.locator("#text").press("Control+Enter")
    assert "한 문장만 먼저" in state(page)
    assert not [url for url in sent if url.endswith("/v1/completions")]


def test_examples_teach_and_set_their_stop_strings(page: Any) -> None:
    cards = page.locator("#gallery li button")
    assert cards.count() == 4
    cards.last.click()
    assert value(page) == cards.last.get_attribute("data-prompt")
    assert page.locator("[data-parameter=stop] li").inner_text() == "\\n"
    assert page.locator("#gallery").is_hidden()
    assert marked(page) == []


def test_parameters_show_what_was_changed_and_go_back_one_by_one(page: Any) -> None:
    box = page.locator("[data-parameter=temperature]")
    set_parameter(page, "temperature", 1.3)
    assert box.get_attribute("data-changed") is not None
    assert box.locator("input[type=range]").input_value() == "1.3"
    assert "1개 바뀜" in page.locator("[data-group=basic] .changed-count").inner_text()
    box.locator(".reset").click()
    assert page.locator("#parameter-temperature").input_value() == "0.7"
    assert box.get_attribute("data-changed") is None
    set_parameter(page, "temperature", 7)
    assert "0부터 2 사이" in box.locator(".problem").inner_text()


def test_the_request_is_what_the_panel_says(page: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "seed", "")
    for name, number in (("max_tokens", 5), ("top_k", 3), ("frequency_penalty", 0.5)):
        set_parameter(page, name, number)
    with page.expect_request("**/v1/completions") as sent:
        page.locator("#generate").click()
    body = json.loads(sent.value.post_data)
    assert body["prompt"] == PROMPT
    assert (body["max_tokens"], body["top_k"], body["frequency_penalty"]) == (5, 3, 0.5)
    assert (body["temperature"], body["top_p"]) == (0.7, 0.9)
    assert "seed" not in body and "logprobs" not in body
    wait_until_done(page)


def test_tokens_are_counted(page: Any, studio: Any) -> None:
    write(page, PROMPT)
    expected = studio.call("POST", "/tokenize", {"prompt": PROMPT})["count"]
    page.wait_for_function(
        "text => document.getElementById('count').textContent === text",
        arg=f"{expected} / 8,192 토큰",
    )

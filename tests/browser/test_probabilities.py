"""Show probabilities: by keyboard alone, and in numbers as well as in colours."""

import json
import math
from typing import Any

import pytest

from .playground import (
    PROMPT,
    by_people,
    first_visible,
    generate,
    marked,
    set_parameter,
    settle,
    value,
    wait_until_done,
    write,
)

pytestmark = pytest.mark.browser


@pytest.fixture
def written(page: Any) -> str:
    """The model's text, with its probabilities shown."""
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 30)
    set_parameter(page, "seed", 11)
    page.keyboard.press("Alt+KeyP")
    assert page.locator("#show-probabilities").get_attribute("aria-checked") == "true"
    output = generate(page)
    settle(page)
    return output


def test_tokens_spell_the_text_and_name_their_probability(page: Any, written: str) -> None:
    tokens = page.locator(".token")
    assert "".join(tokens.all_text_contents()) == written
    for label in tokens.evaluate_all("nodes => nodes.map(node => node.ariaLabel)"):
        assert "확률" in label and "%" in label
    shades = set(
        tokens.evaluate_all("nodes => nodes.map(n => getComputedStyle(n).backgroundColor)")
    )
    assert len(shades) > 1


def test_alternatives_by_keyboard(page: Any, written: str) -> None:
    page.locator("#text").focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.className"
    assert "token" in page.evaluate(focused)
    page.keyboard.press("Home")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    index = int(page.evaluate("document.activeElement.dataset.unit"))
    page.keyboard.press("Enter")
    options = page.locator("#alternatives [role=option]")
    assert 5 <= options.count() <= 6
    assert page.evaluate("document.activeElement.role") == "option"
    assert page.locator("#alternatives [aria-selected=true]").count() == 1
    shares = page.locator("#alternatives .percent").all_inner_texts()
    assert all("%" in share for share in shares)

    page.keyboard.press("Escape")
    assert page.locator("#alternatives").count() == 0
    assert "token" in page.evaluate(focused)

    while True:  # to the first token that has an alternative of whole, visible characters
        page.keyboard.press("Enter")
        choices = options.evaluate_all(
            """nodes => nodes.map((node, at) => [at, node])
              .filter(([_, node]) => node.ariaDisabled !== "true" && node.ariaSelected !== "true")
              .map(([at, node]) => [at, node.querySelector("b").textContent])"""
        )
        choices = [(at, shown) for at, shown in choices if shown.isprintable()]
        if choices:
            break
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowRight")
        now = int(page.evaluate("document.activeElement.dataset.unit"))
        assert now == index + 1, "no token has an alternative that can be chosen"
        index = now
    before = "".join(page.locator(".token").all_text_contents()[:index])
    at, shown = choices[0]
    page.keyboard.press("Home")
    for _ in range(at):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    chosen = shown.replace("␣", " ").replace("↵", "\n").replace("⇥", "\t")
    assert value(page) == PROMPT + before + chosen
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.press("Control+z")
    assert value(page) == PROMPT + written


def test_escape_leads_back_to_the_text(page: Any, written: str) -> None:
    page.locator(".token").nth(2).focus()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "text"


def test_a_click_on_a_token_opens_its_alternatives_and_typing_closes_them(
    page: Any, written: str
) -> None:
    texts = page.locator(".token").all_text_contents()
    wide = next(at for at, text in enumerate(texts) if at > 3 and first_visible(text))
    box = page.locator(".token").nth(wide).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator("#alternatives").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.locator("#alternatives").count() == 0


def test_an_alternative_that_is_a_carriage_return_becomes_a_line_break(page: Any) -> None:
    """A textarea knows one kind of line break, and offsets stay true only if the text does too."""
    logprobs = {
        "tokens": [" 깊은"],
        "token_logprobs": [-0.1],
        "top_logprobs": [{" 깊은": -0.1, "\r": -3.0}],
        "text_offset": [0],
    }
    choice = {"index": 0, "text": " 깊은", "finish_reason": "length", "logprobs": logprobs}
    page.route(
        "**/v1/completions",
        lambda route: route.fulfill(
            status=200,
            headers={"content-type": "text/event-stream"},
            body=f"data: {json.dumps({'choices': [choice]})}\n\ndata: [DONE]\n\n",
        ),
    )
    write(page, PROMPT)
    page.keyboard.press("Alt+KeyP")
    assert generate(page) == " 깊은"
    settle(page)
    page.locator(".token").press("Enter")
    option = page.locator("#alternatives [role=option]").last
    assert option.locator("b").inner_text() == "↵"
    option.click()
    assert value(page) == PROMPT + "\n"
    assert marked(page) == ["\n"]
    page.locator("#text").focus()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text("산")
    assert marked(page) == ["\n"] and by_people(page) == [PROMPT, "산"]


def test_text_that_stands_already_is_scored_by_the_model(visit: Any, studio: Any) -> None:
    continuation = " 착한 나무꾼이 살았습니다. 나무꾼은 날마다 산에 올랐습니다."
    studio.lay_desk(("human", PROMPT), ("model", continuation))
    page = visit()
    with page.expect_response("**/v1/completions") as answer:
        page.locator("#show-probabilities").click()
    body = json.loads(answer.value.request.post_data)
    assert (body["echo"], body["max_tokens"], body["logprobs"]) == (True, 0, 5)
    assert body["prompt"] == PROMPT + continuation
    page.wait_for_selector(".token")
    settle(page)
    scored = answer.value.json()["choices"][0]["logprobs"]
    expected = [
        f"{text.replace(' ', '␣')}, 확률 {100 * math.exp(logprob):.1f}%"
        for text, logprob, offset in zip(
            scored["tokens"], scored["token_logprobs"], scored["text_offset"], strict=True
        )
        if offset >= len(PROMPT) and not text.startswith("bytes:") and math.exp(logprob) >= 0.001
    ]
    labels = page.locator(".token").evaluate_all("nodes => nodes.map(node => node.ariaLabel)")
    assert len(expected) > 3
    assert [label for label in labels if label in expected] == expected
    spelled = "".join(page.locator(".token").all_text_contents())
    assert spelled and continuation.endswith(spelled)


def test_pieces_of_characters_are_joined_and_their_probabilities_multiplied(page: Any) -> None:
    found = page.evaluate(
        """async () => {
          const { units } = await import("/static/js/tokens.js");
          const tokens = [
            ["안", 0], ["bytes:\\\\xeb\\\\x85", 1], ["bytes:\\\\x95", 1], [" 😀", 2], ["글", 4],
          ].map(([text, offset]) => ({ text, offset, logprob: -1, top: {} }));
          return units(tokens, "안녕 😀글", 10)
            .map(({ start, end, logprob }) => [start, end, logprob]);
        }"""
    )
    assert found == [[10, 11, -1], [11, 12, -2], [12, 15, -1], [15, 16, -1]]


def test_percentages_are_those_of_the_wire(page: Any) -> None:
    texts = page.evaluate(
        """async () => {
          const { percent } = await import("/static/js/messages.js");
          return [0.421, 1, 0.0004].map(share => percent(Math.log(share)));
        }"""
    )
    assert texts == ["42.1%", "100%", "0.1% 미만"]
    assert math.isclose(math.exp(math.log(0.421)), 0.421)


def test_writing_on_after_choosing(page: Any, written: str) -> None:
    set_parameter(page, "max_tokens", 4)
    page.locator("#text").press("Control+Enter")
    wait_until_done(page)
    settle(page)
    shown = "".join(page.locator(".token").all_text_contents())
    assert value(page) == PROMPT + shown

"""Show probabilities: by keyboard alone, and in numbers as well as in colours."""

import json
import math
from typing import Any

import pytest

from .playground import PROMPT, generate, set_parameter, settle, value, wait_until_done, write

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
    before = "".join(page.locator(".token").all_text_contents()[:index])
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

    page.keyboard.press("Enter")
    choices = options.evaluate_all(
        """nodes => nodes.map((node, at) => [at, node])
          .filter(([_, node]) => node.ariaDisabled !== "true" && node.ariaSelected !== "true")
          .map(([at, node]) => [at, node.querySelector("b").textContent])"""
    )
    if not choices:
        pytest.skip("every alternative here is part of a character")
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
    box = page.locator(".token").nth(4).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator("#alternatives").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.locator("#alternatives").count() == 0


def test_text_that_stands_already_is_scored_like_text_just_written(
    visit: Any, page: Any, written: str
) -> None:
    """What streaming said about a token and what scoring says later are the same."""
    labels = "nodes => nodes.map(node => node.ariaLabel)"
    told = page.locator(".token").evaluate_all(labels)
    # Only if reading the text again gives the same tokens can their probabilities be compared.
    with page.expect_response("**/api/desk"):
        page.locator("#show-probabilities").click()
    later = visit()
    with later.expect_response("**/v1/completions") as answer:
        later.locator("#show-probabilities").click()
    body = json.loads(answer.value.request.post_data)
    assert (body["echo"], body["max_tokens"], body["logprobs"]) == (True, 0, 5)
    later.wait_for_selector(".token")
    settle(later)
    scored = later.locator(".token").evaluate_all(labels)
    assert len(set(told) & set(scored)) >= min(len(told), len(scored)) // 4


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

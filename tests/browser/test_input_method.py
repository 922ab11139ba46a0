"""Korean is composed syllable by syllable; a shortcut must neither lose nor double the last."""

import json
from typing import Any

import pytest

from .playground import by_people, set_parameter, value, wait_until_done

pytestmark = pytest.mark.browser


def compose(session: Any, *steps: str) -> None:
    for step in steps:
        session.send(
            "Input.imeSetComposition",
            {"text": step, "selectionStart": len(step), "selectionEnd": len(step)},
        )


def prompts_sent(page: Any) -> list[str]:
    prompts: list[str] = []

    def note(request: Any) -> None:
        if request.url.endswith("/v1/completions"):
            prompts.append(json.loads(request.post_data)["prompt"])

    page.on("request", note)
    return prompts


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "left to the page"])
def test_generating_in_the_middle_of_a_syllable(page: Any, commits: bool) -> None:
    set_parameter(page, "max_tokens", 4)
    prompts = prompts_sent(page)
    page.locator("#text").click()
    session = page.context.new_cdp_session(page)
    compose(session, "ㅇ", "아", "안")
    session.send("Input.insertText", {"text": "안"})
    compose(session, "ㄴ", "녀", "녕")
    page.keyboard.press("Control+Enter")
    if commits:
        session.send("Input.insertText", {"text": "녕"})
    wait_until_done(page)
    assert prompts == ["안녕"]
    assert value(page).startswith("안녕")
    assert by_people(page) == ["안녕"], "the model may well go on with 녕; the person wrote one"


def test_the_second_enter_of_some_systems_does_not_generate_twice(page: Any) -> None:
    set_parameter(page, "max_tokens", 4)
    prompts = prompts_sent(page)
    page.locator("#text").click()
    session = page.context.new_cdp_session(page)
    compose(session, "ㄱ", "가", "강")
    page.keyboard.press("Control+Enter")
    session.send("Input.insertText", {"text": "강"})
    page.keyboard.press("Control+Enter")
    wait_until_done(page)
    assert prompts == ["강"]


def test_a_syllable_is_one_step_of_undo_and_belongs_to_the_person(page: Any) -> None:
    area = page.locator("#text")
    area.click()
    session = page.context.new_cdp_session(page)
    compose(session, "ㅎ", "하", "한")
    session.send("Input.insertText", {"text": "한"})
    compose(session, "ㄱ", "그", "글")
    session.send("Input.insertText", {"text": "글"})
    assert value(page) == "한글"
    assert page.locator("#overlay mark").count() == 0
    area.press("Control+z")
    assert value(page) == ""


def test_enter_that_ends_a_syllable_does_not_end_a_stop_string(page: Any) -> None:
    field = page.locator("#parameter-stop")
    field.click()
    session = page.context.new_cdp_session(page)
    compose(session, "ㄲ", "끄", "끝")
    field.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    assert page.locator("[data-parameter=stop] li").count() == 0
    session.send("Input.insertText", {"text": "끝"})
    field.press("Enter")
    assert page.locator("[data-parameter=stop] li").all_inner_texts() == ["끝"]

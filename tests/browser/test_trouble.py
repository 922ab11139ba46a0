"""When something breaks, the page says what, and what to do; the text is safe."""

import json
import re
from typing import Any

import pytest

from .playground import (
    PROMPT,
    generate,
    generate_at_length,
    set_parameter,
    state,
    value,
    wait_until_done,
    write,
)

pytestmark = pytest.mark.browser


def test_the_engine_dies_while_writing_and_comes_back(page: Any, studio: Any) -> None:
    write(page, PROMPT)
    generate_at_length(page, PROMPT)
    studio.engine().kill()
    error = page.locator(".error")
    error.wait_for()
    assert "req_" in error.inner_text() and "다시" in error.inner_text()
    kept = value(page)
    assert kept.startswith(PROMPT) and len(kept) > len(PROMPT)
    studio.wait_until_ready()
    page.wait_for_function(
        "() => !document.getElementById('generate').ariaDisabled.includes('true')"
    )
    assert error.is_visible(), "an error stays until it is dismissed"
    error.get_by_role("button").click()
    assert error.count() == 0
    set_parameter(page, "max_tokens", 6)
    page.locator("#text").press("Control+z")
    assert value(page) == PROMPT
    assert generate(page)


def test_the_engine_dies_while_nobody_writes(page: Any, studio: Any) -> None:
    engine = studio.engine()
    page.wait_for_function("() => document.getElementById('state').dataset.kind === 'ready'")
    with page.expect_response("**/api/status"):
        engine.kill()
    studio.wait_until_ready()
    page.wait_for_function("() => document.getElementById('state').dataset.kind === 'ready'")
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 4)
    assert generate(page)


def test_what_is_asked_while_the_model_loads_waits_for_it(page: Any) -> None:
    """The page was opened before the model was there, and so knows only its name."""
    asked = []

    def loading(status: dict[str, Any]) -> dict[str, Any]:
        return {**status, "state": "loading", "model": None}

    def document(route: Any) -> None:
        response = route.fetch()
        before, data, after = re.split(
            r"(?<=id=\"page-data\">)(.*?)(?=</script>)", response.text(), flags=re.DOTALL
        )
        values = json.loads(data)
        values |= {"model": None, "status": loading(values["status"])}
        route.fulfill(response=response, body=before + json.dumps(values) + after)

    def status(route: Any) -> None:
        asked.append(route)
        response = route.fetch()
        answer = response.json()
        route.fulfill(response=response, json=loading(answer) if len(asked) < 3 else answer)

    page.route("**/playground", document)
    page.route("**/api/status", status)
    page.reload()
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 4)
    assert page.locator("#state").get_attribute("data-kind") == "busy"
    assert generate(page)
    assert len(asked) >= 3
    assert page.locator(".error").count() == 0


def test_waiting_for_the_model_can_be_stopped(page: Any) -> None:
    page.route(
        "**/api/status",
        lambda route: route.fulfill(json={"state": "loading", "message": "", "model_id": "tiny"}),
    )
    with page.expect_response("**/api/status"):
        page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    write(page, PROMPT)
    page.locator("#text").press("Control+Enter")
    page.locator("#stop").click()
    page.locator("#generate").wait_for()
    assert value(page) == PROMPT
    assert page.locator(".error").count() == 0


def test_a_text_longer_than_the_context(page: Any) -> None:
    write(page, "가나다라마바사 " * 2000)
    page.wait_for_function("() => document.getElementById('count').hasAttribute('data-over')")
    page.locator("#text").press("Control+Enter")
    wait_until_done(page)
    error = page.locator(".error").inner_text()
    assert "글이 너무 길어요" in error and "req_" in error
    assert "쓰지 못했어요" in state(page)


def test_a_stream_that_breaks_off(page: Any) -> None:
    page.route(
        "**/v1/completions",
        lambda route: route.fulfill(
            status=200,
            headers={"content-type": "text/event-stream", "x-request-id": "req_cut"},
            body='data: {"choices":[{"index":0,"text":" 깊은","finish_reason":null}]}\n\n',
        ),
    )
    write(page, PROMPT)
    page.locator("#text").press("Control+Enter")
    wait_until_done(page)
    assert value(page) == PROMPT + " 깊은"
    assert "연결이 끊겼어요" in page.locator(".error").inner_text()
    assert "req_cut" in page.locator(".error").inner_text()


def test_a_server_that_is_gone(page: Any) -> None:
    page.route("**/v1/completions", lambda route: route.abort())
    write(page, PROMPT)
    page.locator("#text").press("Control+Enter")
    wait_until_done(page)
    assert "서버에 닿지 않아요" in page.locator(".error").inner_text()
    assert value(page) == PROMPT
    assert page.locator("#undo").get_attribute("aria-disabled") == "false"

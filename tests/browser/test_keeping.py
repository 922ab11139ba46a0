"""Nothing is lost: the desk comes back, and every generation is in the history."""

from typing import Any

import pytest

from .playground import (
    PROMPT,
    generate,
    marked,
    set_parameter,
    value,
    wait_until_saved,
    write,
)

pytestmark = pytest.mark.browser


def test_the_desk_comes_back_after_a_reload(page: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 14)
    output = generate(page)
    wait_until_saved(page)
    page.reload()
    page.wait_for_selector("html[data-alive]")
    assert value(page) == PROMPT + output
    assert marked(page) == [output]
    assert page.locator("#parameter-max_tokens").input_value() == "14"


def test_a_reload_in_the_middle_of_a_word_loses_nothing(page: Any) -> None:
    page.locator("#text").click()
    page.keyboard.type("방금 쓴 글")
    page.reload()
    page.wait_for_selector("html[data-alive]")
    assert value(page) == "방금 쓴 글"


def test_a_desk_that_the_server_could_not_take_is_kept_by_the_browser(
    page: Any, studio: Any
) -> None:
    page.route("**/api/desk", lambda route: route.abort())
    write(page, "서버가 없을 때 쓴 글")
    page.wait_for_function(
        "() => /저장하지 못했/.test(document.getElementById('saved').textContent)"
    )
    page.unroute("**/api/desk")
    page.reload()
    page.wait_for_selector("html[data-alive]")
    assert value(page) == "서버가 없을 때 쓴 글"
    wait_until_saved(page)
    assert studio.call("GET", "/api/desk")["document"]["segments"] == [
        {"author": "human", "text": "서버가 없을 때 쓴 글"}
    ]


def test_the_desk_comes_back_after_the_server_was_restarted(page: Any, studio: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 10)
    output = generate(page)
    wait_until_saved(page)
    studio.stop()
    page.wait_for_function("() => /연결이 끊겼/.test(document.getElementById('state').textContent)")
    studio.start()
    page.wait_for_function("() => document.getElementById('state').dataset.kind === 'ready'")
    page.reload()
    page.wait_for_selector("html[data-alive]")
    assert value(page) == PROMPT + output
    assert marked(page) == [output]
    assert generate(page)


def test_history_is_found_opened_and_forgotten(page: Any) -> None:
    for beginning in ("바닷가 마을의 아침은", "눈 내리는 골목에서"):
        write(page, beginning)
        set_parameter(page, "max_tokens", 8)
        with page.expect_response("**/api/runs") as kept:
            output = generate(page)
        assert kept.value.status == 201
    write(page, "다른 글")
    set_parameter(page, "max_tokens", 99)

    page.keyboard.press("Alt+KeyH")
    rows = page.locator("#runs-list li")
    rows.first.wait_for()
    assert "눈 내리는 골목에서" in rows.first.inner_text()
    with page.expect_response("**/api/runs?*query=*"):
        page.locator("#runs-query").fill("눈 내리는 골목")
    page.wait_for_function("() => document.querySelectorAll('#runs-list li').length === 1")
    rows.first.locator(".open").click()
    assert value(page) == "눈 내리는 골목에서" + output
    assert marked(page) == [output]
    assert page.locator("#parameter-max_tokens").input_value() == "8"
    page.locator("#text").press("Control+z")
    assert value(page) == "다른 글"

    page.keyboard.press("Alt+KeyH")
    with page.expect_response("**/api/runs?*query=*"):
        page.locator("#runs-query").fill("눈 내리는 골목")
    page.wait_for_function("() => document.querySelectorAll('#runs-list li').length === 1")
    rows.first.locator(".delete").click()
    assert rows.count() == 1, "one press does not delete"
    rows.first.locator(".delete").click()
    page.get_by_text("찾는 글이 없어요").wait_for()


def test_a_new_text_is_one_undo_away_from_the_old(page: Any) -> None:
    write(page, PROMPT)
    page.keyboard.press("Alt+KeyN")
    assert value(page) == "" and page.locator("#gallery").is_visible()
    page.locator("#text").press("Control+z")
    assert value(page) == PROMPT


def test_of_two_drafts_the_younger_is_shown_and_the_other_is_one_undo_away(
    page: Any, studio: Any
) -> None:
    page.route("**/api/desk", lambda route: route.abort())
    write(page, "이 창에서 쓴 글")
    page.wait_for_function(
        "() => /저장하지 못했/.test(document.getElementById('saved').textContent)"
    )
    studio.lay_desk(("human", "다른 창에서 나중에 쓴 글"))
    page.reload()
    page.wait_for_selector("html[data-alive]")
    assert value(page) == "다른 창에서 나중에 쓴 글"
    page.locator("#text").press("Control+z")
    assert value(page) == "이 창에서 쓴 글"

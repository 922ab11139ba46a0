"""For everyone: axe finds nothing, the keyboard reaches all, large text and small screens fit."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from .conftest import SEED
from .playground import PROMPT, generate, set_parameter, settle, write

pytestmark = pytest.mark.browser

WCAG = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }
}


def violations(page: Any) -> list[str]:
    found = Axe().run(page, options=WCAG).response["violations"]
    return [f"{item['id']}: {node['html'][:200]}" for item in found for node in item["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Any, studio: Any, scheme: str) -> None:
    studio.lay_desk(seed=SEED)
    page = visit(color_scheme=scheme)
    assert violations(page) == []
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 20)
    set_parameter(page, "temperature", 1.4)
    page.keyboard.press("Alt+KeyP")
    generate(page)
    settle(page)
    page.locator(".token").nth(3).press("Enter")
    for group in page.locator("details").all():
        group.evaluate("group => group.open = true")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+KeyC")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+KeyH")
    page.locator("#runs-list li").first.wait_for()
    assert violations(page) == []
    page.keyboard.press("Escape")
    write(page, "가나다라마바사 " * 2000)
    page.locator("#text").press("Control+Enter")
    page.locator(".error").wait_for()
    assert violations(page) == []


def test_axe_finds_nothing_on_a_phone(visit: Any, studio: Any) -> None:
    studio.lay_desk(("human", PROMPT), ("model", " 나무꾼이 살았습니다."))
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert violations(page) == []
    page.locator("#open-panel").tap()
    settle(page)
    page.wait_for_timeout(200)  # the sheet fades in
    assert violations(page) == []


@pytest.mark.parametrize(
    "size", [(360, 740), (320, 256), (320, 200)], ids=["phone", "WCAG reflow", "400 % of 1280x800"]
)
def test_nothing_needs_sideways_scrolling(visit: Any, studio: Any, size: tuple[int, int]) -> None:
    long = "https://example.org/" + "아주긴주소" * 30
    studio.lay_desk(("human", PROMPT + long), ("model", " 나무꾼이 살았습니다. " + long))
    page = visit(viewport={"width": size[0], "height": size[1]})
    widths = "() => [document.documentElement.scrollWidth, innerWidth]"
    wide, inner = page.evaluate(widths)
    assert wide <= inner
    for button in ("#open-panel", "#open-runs", "#generate"):
        box = page.locator(button).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= size[0]
    page.locator("#generate").scroll_into_view_if_needed()
    page.locator("#open-panel").click()
    page.locator("#close-panel").wait_for()
    wide, inner = page.evaluate(widths)
    assert wide <= inner


def test_the_sheet_of_a_phone_keeps_the_keyboard_inside_and_gives_it_back(
    visit: Any, studio: Any
) -> None:
    studio.lay_desk()
    page = visit(viewport={"width": 390, "height": 844})
    assert not page.locator("#panel").is_visible()
    page.locator("#open-panel").click()
    assert page.evaluate("document.activeElement.id") == "close-panel"
    assert page.locator(".sheet").evaluate("sheet => sheet.inert")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "open-panel"
    assert not page.locator("#panel").is_visible()


def test_every_control_is_reached_by_tab(page: Any) -> None:
    write(page, PROMPT)
    page.locator(".skip").focus()
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.dataset.reset")
        )
    ids = page.evaluate(
        """() => [...document.querySelectorAll("main button[id], main textarea, main input[id]")]
          .filter(node => node.checkVisibility()).map(node => node.id)"""
    )
    assert set(ids) <= reached


def test_what_is_written_is_spoken(page: Any) -> None:
    write(page, PROMPT)
    set_parameter(page, "max_tokens", 12)
    log = page.locator("#spoken")
    assert log.get_attribute("role") == "log" and log.get_attribute("aria-live") == "polite"
    output = generate(page)
    assert log.get_attribute("aria-busy") == "false"
    assert "".join(log.locator("p").all_text_contents()) == output


def test_nothing_moves_for_those_who_ask_for_it(visit: Any) -> None:
    page = visit(reduced_motion="reduce")
    durations = page.evaluate(
        """() => [...document.querySelectorAll("*")]
          .map(node => getComputedStyle(node).transitionDuration).filter(time => time !== "0s")"""
    )
    assert durations == []


def test_the_theme_is_remembered(visit: Any) -> None:
    page = visit(color_scheme="light")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(paper)
    page.locator("#theme").click()
    dark = page.evaluate(paper)
    assert dark != light
    page.reload()
    assert page.evaluate(paper) == dark

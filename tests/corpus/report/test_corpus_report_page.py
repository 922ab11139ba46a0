"""The page in a real browser: it runs nothing, fits every screen, and says what the JSON says."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from authored_build import TOKENS, AuthoredBuild, short, small_build
from axe_playwright_python.sync_playwright import Axe

from hyperclova.corpus.record import Record
from hyperclova.corpus.report.excerpts import show
from hyperclova.corpus.report.figures import figures
from hyperclova.corpus.report.page import render

pytestmark = pytest.mark.browser

WCAG = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }
}
PHONE = {"viewport": {"width": 390, "height": 844}}
DESK = {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page; whatever the console says, or any request beside the page's, fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(output: Path, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        address = (output / "report" / "report.html").as_uri()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.on(
            "request",
            lambda request: request.url != address and complaints.append(request.url),
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def page_of(output: Path) -> Path:
    """Write the page alone, without pictures, which take the most time."""
    record = Record.load(output)
    shown = {
        label: [show(example, masks=label == "anonymise") for example in kept]
        for label, kept in record.tally.examples.items()
    }
    (output / "report").mkdir()
    html = render(figures(record), shown)
    (output / "report" / "report.html").write_text(html, encoding="utf-8")
    return output


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")


def violations(page: Any) -> list[str]:
    found = Axe().run(page, options=WCAG).response["violations"]
    return [f"{item['id']}: {node['html'][:200]}" for item in found for node in item["nodes"]]


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out(visit: Any, reported: Path, size: Any, scheme: str) -> None:
    page = visit(reported, color_scheme=scheme, **size)
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    lightness = float(paper.removeprefix("oklch(").split()[0])
    assert (lightness > 0.9) == (scheme == "light")
    unfold(page)
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner


@pytest.mark.parametrize(("scheme", "size"), [("light", PHONE), ("dark", DESK)])
def test_axe_finds_nothing(visit: Any, tmp_path: Path, scheme: str, size: Any) -> None:
    # axe looks at every element, so a few of each kind must do.
    output = page_of(small_build(tmp_path))
    page = visit(output, color_scheme=scheme, **size)
    for kind in ("del", "ins", "mark", ".invisible", ".stack b", ".matrix [style]", "svg"):
        assert page.locator(kind).count() > 0, kind
    unfold(page)
    assert violations(page) == []


def test_what_the_corpus_says_is_not_run(visit: Any, reported: Path) -> None:
    page = visit(reported, **DESK)
    assert page.title() == "말뭉치-demo – corpus report"
    assert page.locator("script, img, iframe, link").count() == 0
    assert "<script>" in page.locator("#rules").inner_text()


def test_the_page_says_what_the_json_says(visit: Any, reported: Path) -> None:
    found = json.loads((reported / "report" / "report.json").read_text(encoding="utf-8"))
    page = visit(reported, **DESK)
    unfold(page)
    values = """rows => rows.map(
        row => [...row.querySelectorAll('data')].map(each => Number(each.value)))"""
    shown = page.locator("#table-1 tr[data-source]").evaluate_all(values)
    for row, cells in zip((*found["table"]["rows"], found["table"]["total"]), shown, strict=True):
        names = ("documents", "characters", "bytes", "tokens", "share", "paper_share")
        assert cells == [row[name] for name in names if row[name] is not None]
    shown = page.locator(".funnel tr[data-rule]").evaluate_all(values)
    for stage, cells in zip(found["funnel"]["stages"], shown, strict=True):
        total = stage["total"]
        assert cells == [
            stage["documents_left"],
            total["dropped"],
            total["changed"],
            total["characters_removed"],
        ]
    for stage in found["funnel"]["stages"]:
        rows = page.locator(f'#rules table[data-rule="{stage["label"]}"] tbody tr')
        assert rows.evaluate_all(values) == [
            [effect[name] for name in ("seen", "changed", "dropped", "characters_removed")]
            for _, effect in sorted(stage["by_source"].items())
        ]
    widths = page.locator(".funnel .documents").evaluate_all(
        "bars => bars.map(bar => bar.getBoundingClientRect().width)"
    )
    way = found["funnel"]
    expected = [
        way["documents_read"],
        *(stage["documents_left"] for stage in way["stages"]),
        way["documents_written"],
    ]
    for width, documents in zip(widths, expected, strict=True):
        assert width == pytest.approx(widths[0] * documents / expected[0], abs=1)


def test_korean_is_marked_as_korean(visit: Any, reported: Path) -> None:
    page = visit(reported, **DESK)
    excerpts = page.locator(".excerpt")
    assert excerpts.count() > 20
    languages = set(excerpts.evaluate_all("all => all.map(each => each.lang)"))
    assert {"ko", "en"} <= languages


def test_an_empty_corpus_is_a_page_too(visit: Any, tmp_path: Path) -> None:
    build = AuthoredBuild()
    build.take([])
    build.step("too-short", short)
    output = build.finish(tmp_path, TOKENS)
    page = visit(page_of(output), **PHONE)
    assert "Of 0 documents read, 0 were written" in page.locator("main").inner_text()
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner

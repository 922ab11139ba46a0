"""Korean and English: the same sentences in both, all of them used, none left in the code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import hyperclova.studio
from hyperclova.studio.pages.playground import EXAMPLES

from .playground import wait_until_saved, write

STUDIO = Path(hyperclova.studio.__file__).parent
KOREAN = json.loads((STUDIO / "locales/ko.json").read_text(encoding="utf-8"))
ENGLISH = json.loads((STUDIO / "locales/en.json").read_text(encoding="utf-8"))
SOURCES = {
    path: path.read_text(encoding="utf-8")
    for kind in ("templates/*.html", "static/js/*.js")
    for path in STUDIO.glob(kind)
}
HANGUL = re.compile("[가-힣]")


def test_both_languages_say_everything() -> None:
    assert list(KOREAN) == list(ENGLISH)
    assert all(KOREAN.values()) and all(ENGLISH.values())
    for key in KOREAN:
        places = [sorted(re.findall(r"\{\w+\}", table[key])) for table in (KOREAN, ENGLISH)]
        assert places[0] == places[1], key


def test_each_speaks_its_language() -> None:
    assert not [key for key, sentence in ENGLISH.items() if HANGUL.search(sentence)]
    foreign = {"code.curl", "code.openai"}
    silent = {key for key, sentence in KOREAN.items() if not HANGUL.search(sentence)}
    assert silent - foreign <= {"count.unknown", "probabilities.below"}


def test_no_exclamation_marks() -> None:
    assert not [
        k for table in (KOREAN, ENGLISH) for k, sentence in table.items() if "!" in sentence
    ]


def test_every_sentence_is_used_and_every_use_has_a_sentence() -> None:
    source = "\n".join(SOURCES.values())
    named = set(re.findall(r"""\bt\(\s*["']([\w.]+)["'][,)]""", source))
    floors = "|".join(sorted({key.partition(".")[0] for key in KOREAN}))
    named |= set(re.findall(rf"""["'`]((?:{floors})\.[a-z_.]+)["'`]""", source))
    named = {name for name in named if not name.endswith((".html", ".js"))}
    assert named - set(KOREAN) == set()
    built = ("state.", "error.", "desk.", "code.")  # whose last part the code fills in
    examples = {f"example.{example.name}" for example in EXAMPLES}
    examples |= {f"{name}.lesson" for name in examples}
    unused = set(KOREAN) - named - examples
    assert not [key for key in unused if not key.startswith(built)]


def test_no_words_outside_the_tables() -> None:
    allowed = {"base.html"}  # the names of the languages stand in their own language
    assert not [
        path.name
        for path, source in SOURCES.items()
        if HANGUL.search(re.sub(r"\{#.*?#\}", "", source, flags=re.S)) and path.name not in allowed
    ]


def test_the_scripts_stay_small() -> None:
    size = sum(len(source.encode()) for path, source in SOURCES.items() if path.suffix == ".js")
    assert size <= 80_000


@pytest.mark.browser
def test_switching_the_language(visit: Any, studio: Any) -> None:
    studio.lay_desk()
    page = visit()
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert page.evaluate("getComputedStyle(document.body).wordBreak") == "keep-all"
    write(page, "그대로 있을 글")
    page.get_by_role("link", name="English").click()
    page.wait_for_selector("html[lang=en][data-alive]")
    assert page.locator("#text").input_value() == "그대로 있을 글"
    text = page.evaluate(
        """() => {
          for (const group of document.querySelectorAll("details")) group.open = true;
          for (const foreign of document.querySelectorAll("[lang=ko]")) foreign.remove();
          return document.body.innerText;
        }"""
    )
    assert "Generate" in text and "Variety" in text
    assert not HANGUL.search(text.replace("그대로 있을 글", ""))
    page.goto(studio.address + "/playground")
    page.wait_for_selector("html[data-alive]")
    assert page.evaluate("document.documentElement.lang") == "en", "the cookie remembers"
    page.get_by_role("link", name="한국어").click()
    page.wait_for_selector("html[lang=ko][data-alive]")
    write(page, "")
    wait_until_saved(page)


@pytest.mark.browser
def test_the_page_and_its_twin_say_the_same(page: Any, studio: Any) -> None:
    embedded = json.loads(page.locator("#page-data").text_content())
    twin = studio.call("GET", "/playground.json")
    assert {key: embedded[key] for key in twin} == twin
    assert {item["name"] for item in twin["parameters"]} >= {"temperature", "top_p", "stop"}
    assert twin["model"]["id"] == "roomy"


@pytest.mark.browser
def test_a_draft_cannot_break_out_of_the_page(visit: Any, studio: Any) -> None:
    hostile = "</script><script>document.title='broken'</script><!-- <script> \u2028"
    studio.lay_desk(("human", hostile))
    page = visit()
    assert page.locator("#text").input_value() == hostile
    assert page.title() != "broken"

"""What a person does on the Playground, in the tests' words."""

import unicodedata
from typing import Any

PROMPT = "옛날 옛적 어느 산골 마을에"
HANGUL_FILLERS = "\u115f\u1160\u3164\uffa0"
"""The only letters, digits, punctuation marks and symbols in Unicode that have no shape."""


def write(page: Any, text: str) -> None:
    page.locator("#text").fill(text)


def set_parameter(page: Any, name: str, value: object) -> None:
    field = page.locator(f"#parameter-{name}")
    field.evaluate("field => field.closest('details').open = true")
    field.fill(str(value))
    field.press("Tab")


def wait_until_done(page: Any) -> None:
    page.wait_for_function(
        "() => ['done', 'trouble'].includes(document.getElementById('state').dataset.kind)"
    )


def generate(page: Any) -> str:
    """Generate by keyboard and give back what the model wrote."""
    before = value(page)
    page.locator("#text").press("Control+Enter")
    wait_until_done(page)
    after = value(page)
    assert after.startswith(before)
    return after[len(before) :]


def generate_at_length(page: Any, prompt: str) -> None:
    """Begin a generation that goes on for thousands of tokens, and wait for its first words."""
    set_parameter(page, "max_tokens", 8000)
    page.locator("#text").press("Control+Enter")
    page.wait_for_function(
        "length => document.getElementById('text').value.length > length + 10", arg=len(prompt)
    )


def value(page: Any) -> str:
    return page.locator("#text").input_value()


def first_visible(text: str) -> str | None:
    """The character at which a continuation's rule stands: a letter, digit, punctuation mark or
    symbol that has a shape. White space is no measure: what counts as it, languages disagree on.
    """
    for character in text:
        if unicodedata.category(character)[0] in "LNPS" and character not in HANGUL_FILLERS:
            return character
    return None


def by_people(page: Any) -> list[str]:
    """The texts that the page shows as people's."""
    settle(page)
    texts: list[str] = page.locator("#overlay > span").all_text_contents()
    return texts


def marked(page: Any) -> list[str]:
    """The texts that the page shows as the model's."""
    settle(page)
    return page.locator("#overlay mark").all_inner_texts()


def settle(page: Any) -> None:
    """Wait until the page has drawn what it knows."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")


def wait_until_saved(page: Any) -> None:
    page.wait_for_function(
        "() => /저장됨|Saved/.test(document.getElementById('saved').textContent)"
    )


def state(page: Any) -> str:
    return page.locator("#state").inner_text()

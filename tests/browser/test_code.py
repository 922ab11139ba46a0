"""View code: what is shown is run, and does what the page does."""

import shutil
import subprocess
import sys
from typing import Any

import pytest

from .playground import PROMPT, generate, set_parameter, value, write

pytestmark = pytest.mark.browser

# A document with everything that quoting can get wrong.
AWKWARD = "그가 말했다. \"여기 '둘' 다 있어.\"\n값은 $HOME \\n `ls` {0} %s 😀\nJSON\n다음은"


def shown(page: Any, tab: str) -> str:
    page.keyboard.press("Alt+KeyC")
    page.locator(f"#tab-{tab}").click()
    code: str = page.locator("#code-text").text_content()
    page.locator("#code [data-close]").click()
    return code


def prepare(page: Any) -> str:
    """Settle on a text and settings; gives what the page itself gets for them."""
    write(page, AWKWARD)
    set_parameter(page, "max_tokens", 12)
    set_parameter(page, "seed", 5)
    set_parameter(page, "top_k", 20)
    output = generate(page)
    page.locator("#text").press("Control+z")
    assert value(page) == AWKWARD
    return output


def run(command: list[str], code: str) -> str:
    finished = subprocess.run(
        command, input=code.encode(), capture_output=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr.decode()
    return finished.stdout.decode()


@pytest.mark.parametrize("tab", ["openai", "urllib"])
def test_python_runs_as_shown(page: Any, tab: str) -> None:
    output = prepare(page)
    printed = run([sys.executable, "-X", "utf8", "-"], shown(page, tab))
    assert printed.replace("\r", "\n") == output + "\n", "a textarea has one kind of line break"


def test_curl_runs_as_shown(page: Any) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("curl or bash is not installed")
    output = prepare(page)
    printed = run(["bash"], shown(page, "curl"))
    pieces = page.evaluate(
        """lines => lines.filter(line => line.startsWith("data: {"))
          .map(line => JSON.parse(line.slice(6)).choices[0]?.text ?? "").join("")""",
        printed.split("\n"),
    )
    assert pieces.replace("\r", "\n") == output
    assert "data: [DONE]" in printed


def test_code_follows_the_panel(page: Any) -> None:
    write(page, PROMPT)
    assert "logprobs" not in shown(page, "curl")
    page.keyboard.press("Alt+KeyP")
    field = page.locator("#parameter-stop")
    field.fill("아이:")
    field.press("Enter")
    code = shown(page, "openai")
    assert "logprobs=5," in code and 'stop=["아이:"],' in code
    assert '"repetition_penalty": 1.1' in code.partition("extra_body=")[2]


def test_copying(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    write(page, PROMPT)
    page.keyboard.press("Alt+KeyC")
    page.locator("#copy-code").click()
    page.get_by_text("복사했어요").wait_for()
    assert (
        page.evaluate("navigator.clipboard.readText()") == page.locator("#code-text").text_content()
    )

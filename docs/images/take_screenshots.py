"""Takes the Playground's screenshots for the manual and the READMEs, from a running Studio.

    hyperclova studio &
    python docs/images/take_screenshots.py [--address http://127.0.0.1:8321] [--seed 1]

What the pictures show is what the model wrote for the given prompt and seed, unedited. The draft on
Studio's desk is put back afterwards; the generations stay in its history.
"""

import argparse
import json
import os
import shutil
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

PROMPT = "저는 두 아이를 키우는 엄마입니다. 요즘 아이들이 다니는 학교 앞 도로가"
LIMIT = 300_000
"""Bytes that a picture in the repository may have."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--address", default="http://127.0.0.1:8321")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=100)
    parser.add_argument("--directory", type=Path, default=Path(__file__).parent)
    asked = parser.parse_args()
    desk = f"{asked.address}/api/desk"
    before = call("GET", desk)
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
            )
            draft = {
                "document": {"segments": [{"author": "human", "text": asked.prompt}]},
                "parameters": {"seed": asked.seed, "max_tokens": asked.max_tokens},
            }
            for language in ("ko", "en"):
                call("PUT", desk, draft)
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(f"{asked.address}/playground?language={language}")
                page.wait_for_selector("#state[data-kind=ready]")
                page.locator("#text").press("Control+Enter")
                page.wait_for_selector("#state[data-kind=done]")
                # Counted, saved, and without a caret that blinks in one picture and not the next.
                page.wait_for_function(
                    "/\\d \\//.test(document.querySelector('#count').textContent)"
                )
                page.wait_for_timeout(1500)
                take(page, asked.directory / f"studio-playground-{language}.png")
                page.close()
            browser.close()
    finally:
        call("PUT", desk, {key: before[key] for key in ("document", "parameters")})


def take(page: Any, path: Path) -> None:
    page.screenshot(path=path, caret="hide")
    size = path.stat().st_size
    print(f"{path}: {size:,} bytes")  # noqa: T201
    if size >= LIMIT:
        raise SystemExit(f"{path} is larger than {LIMIT:,} bytes")


def call(method: str, address: str, body: Any = None) -> Any:
    request = urllib.request.Request(
        address,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


if __name__ == "__main__":
    main()

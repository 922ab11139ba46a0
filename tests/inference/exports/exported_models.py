"""Types of this folder's fixtures, and the texts that prompts are made of."""

from collections.abc import Callable
from pathlib import Path

PROMPTS = (
    "아버지가 방에 들어가신다.",
    "김치찌개를 끓이려면",
    "제1조(목적) 이 법은 2024년",
    "ㅋㅋ 😀 漢字",
)
TOKENS = 40

Exported = Callable[[str, str], Path]
"""Engine and type of weights -> what was written for it."""

Ids = list[tuple[int, ...]]

"""Prompts to measure with: Korean words, any number of tokens long, no two the same."""

import random
from importlib.resources import files

from hyperclova.tokenizer import Tokenizer


class Prompts:
    """Endlessly many prompts of one length. The same seed gives the same ones.

    A prompt is words of a Korean text that comes with the program, in an order drawn for it, cut
    to the number of tokens: ordinary words cost what text costs, and two prompts begin alike only
    by chance, so that an engine's prefix cache has nothing to reuse.

    Args:
        tokenizer: cuts the words into tokens.
        tokens: of each prompt, at least 1.
        shared: how many of them, at the beginning, all prompts have in common.
        seed: of the order of words.
    """

    def __init__(self, tokenizer: Tokenizer, tokens: int, shared: int = 0, seed: int = 0) -> None:
        self._tokenizer, self._own, self._seed = tokenizer, tokens - shared, seed
        text = files(__package__).joinpath("korean.txt").read_text(encoding="utf-8")
        self._words = text.split()
        self._shared = self._draw("shared", shared)

    def __call__(self, index: int) -> tuple[int, ...]:
        """The token ids of prompt ``index``."""
        return self._shared + self._draw(str(index), self._own)

    def text(self, index: int) -> str:
        """The same prompt as text, without a character that the cut went through."""
        return self._tokenizer.decode(self(index)).rstrip("\ufffd")

    def _draw(self, name: str, tokens: int) -> tuple[int, ...]:
        drawn = random.Random(f"{self._seed} {name}")
        ids: list[int] = []
        while len(ids) < tokens:
            # A word is a token at least, so this is enough, or nearly.
            words = drawn.choices(self._words, k=tokens - len(ids))
            ids += self._tokenizer.encode("".join(f" {word}" for word in words))
        return tuple(ids[:tokens])

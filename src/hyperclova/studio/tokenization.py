"""Counting and encoding: with the model's tokenizer in the web process, or the server's."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from hyperclova.studio.errors import engine_failures
from hyperclova.tokenizer import Tokenizer

if TYPE_CHECKING:
    from hyperclova.inference.remote.served import ServedEngine


class Tokenization:
    """Encodes in a thread of its own: the morpheme analyser is not to be shared by threads, and
    the event loop is not to wait for it."""

    def __init__(self, directory: Path) -> None:
        """Load the tokenizer of a model directory.

        Raises:
            UserError: there is none.
        """
        self._tokenizer = Tokenizer.load(directory)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenizer")
        size = self._tokenizer.vocabulary_size
        self._longest = max(len(self._tokenizer.token_bytes(token)) for token in range(size))

    def at_least(self, text: str) -> int:
        """A lower bound on the number of tokens of ``text``, without encoding it."""
        return -(-len(text.encode()) // self._longest)

    async def encode(self, text: str) -> list[int]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._tokenizer.encode, text)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


class ServedTokenization:
    """Asks the server that runs the model."""

    def __init__(self, engine: "ServedEngine") -> None:
        self._engine = engine

    def at_least(self, text: str) -> int:
        """A lower bound on the number of tokens of ``text``; nothing is known of them here."""
        return 0

    async def encode(self, text: str) -> list[int]:
        """
        Raises:
            APIError: the server cannot be reached, or has no tokenizer to offer.
        """
        with engine_failures():
            return await self._engine.tokenize(text)

    def close(self) -> None:
        """Nothing of it stays behind."""

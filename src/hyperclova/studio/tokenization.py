"""The model's tokenizer in the web process: counting and encoding without the engine."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hyperclova.tokenizer import Tokenizer


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

"""From prompts as they are asked to symbols as they are read."""

import threading

from hyperclova.inference.healing import heal, helps
from hyperclova.inference.prompt import Symbols, symbols_of
from hyperclova.inference.protocol import ModelInformation, Prompt, Request
from hyperclova.inference.soft_prompt import SoftPrompt
from hyperclova.inference.validation import check_pieces
from hyperclova.tokenizer import Tokenizer


class PromptEncoder:
    """Encodes a model's prompts, on any thread.

    Args:
        model: whose vocabulary, width and context bound them.
        lock: held while the tokenizer is in use.
    """

    def __init__(self, tokenizer: Tokenizer, model: ModelInformation, lock: threading.Lock) -> None:
        self._tokenizer, self._model, self._lock = tokenizer, model, lock

    def _encode(self, text: str) -> list[int]:
        with self._lock:
            return self._tokenizer.encode(text)

    def symbols(self, prompt: Prompt) -> Symbols:
        """What the model reads.

        Raises:
            UserError: an id, or a soft prompt's width, is not the model's.
        """
        if not isinstance(prompt, str):
            check_pieces(prompt, self._model.vocabulary_size, self._model.width)
        return symbols_of(prompt, self._encode, self._tokenizer.end_of_text_id)

    def healed(self, request: Request) -> tuple[Symbols, bytes] | None:
        """The prompt without the word that it leaves open, and that word; None to go on from the
        prompt as it is."""
        before: tuple[str | int | SoftPrompt, ...] = ()
        text: object = request.prompt
        if isinstance(request.prompt, tuple) and request.prompt:
            before, text = request.prompt[:-1], request.prompt[-1]
        if not (isinstance(text, str) and request.max_tokens) or request.echo:
            return None
        if not (helps(text) if request.heal is None else request.heal):
            return None
        with self._lock:
            healed = heal(self._tokenizer, text)
        if not healed.remainder:
            return None
        symbols = self.symbols((*before, *healed.ids))
        room = self._model.context_length - len(symbols) - len(healed.remainder)
        return (symbols, healed.remainder) if room >= request.max_tokens else None

    def joined(self, prompt: Prompt, continuation: str) -> tuple[Symbols, tuple[int, ...]]:
        """Symbols of the prompt, and token ids of the continuation: of the joined text, if a token
        begins where the continuation does, else of each by itself."""
        if not isinstance(prompt, str):
            return self.symbols(prompt), tuple(self._encode(continuation))
        with self._lock:
            encoding = self._tokenizer.encode_with_offsets(prompt + continuation)
        starts = [start for start, _ in encoding.offsets]
        if prompt and len(prompt) in starts:
            begin = starts.index(len(prompt))
            if begin and encoding.offsets[begin - 1][1] == len(prompt):
                return Symbols(tuple(encoding.ids[:begin])), tuple(encoding.ids[begin:])
        return self.symbols(prompt), tuple(self._encode(continuation))

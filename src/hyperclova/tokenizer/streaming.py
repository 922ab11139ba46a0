"""Token by token back to text, whole characters only."""

import codecs
from collections.abc import Callable


class StreamDecoder:
    """Decodes ids as they come; the pieces joined are ``Tokenizer.decode`` of all the ids.

    A Hangul syllable is three bytes, which may be spread over as many tokens: until its last byte
    has come, :meth:`push` holds it back.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that ``token`` completes; empty while a character is incomplete.

        Raises:
            ValueError: ``token`` is not an id of the tokenizer.
        """
        return self._decoder.decode(self._token_bytes(token))

    def finish(self) -> str:
        """What was held back, as a replacement character; the decoder is fresh afterwards."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest

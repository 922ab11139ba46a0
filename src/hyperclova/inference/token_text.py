"""How a token alone is written, and back. No torch: servers and their clients both need it."""

import re

from hyperclova.tokenizer import Tokenizer

_PREFIX = "bytes:"
_BYTES = re.compile(r"bytes:(\\x[0-9a-f]{2})+")


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """One token alone: its text, ``bytes:\\xec\\x95`` if that is not whole UTF-8 (OpenAI's form),
    or its name if it is a control token."""
    data = tokenizer.token_bytes(token)
    if not data:
        return tokenizer.token_name(token)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _PREFIX + "".join(f"\\x{byte:02x}" for byte in data)


def text_bytes(text: str) -> bytes:
    """The bytes of a token that :func:`token_text`, or another server, wrote so."""
    if _BYTES.fullmatch(text):
        return bytes.fromhex(text.removeprefix(_PREFIX).replace("\\x", ""))
    return text.encode("utf-8", "surrogatepass")

"""The byte alphabet of GPT-2's byte-level BPE: one printable character for each of the 256 bytes.

Source: Radford et al. 2019, section 2.2, and its released encoder. Bytes that print in Latin-1
stand for themselves; the other 68 become the characters from U+0100 on, in order.
"""

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in set(_PRINTABLE)]

CHARACTER_OF_BYTE: dict[int, str] = {
    **{byte: chr(byte) for byte in _PRINTABLE},
    **{byte: chr(0x100 + index) for index, byte in enumerate(_OTHERS)},
}
BYTE_OF_CHARACTER: dict[str, int] = {
    character: byte for byte, character in CHARACTER_OF_BYTE.items()
}


def to_bytes(token: str) -> bytes:
    """The bytes that a token, written in the byte alphabet, stands for.

    Raises:
        KeyError: a character is not of the byte alphabet.
    """
    return bytes(BYTE_OF_CHARACTER[character] for character in token)

"""Text ↔ token ids: a morpheme-aware byte-level BPE for Korean (paper, section 3.3)."""

from hyperclova.tokenizer.streaming import StreamDecoder
from hyperclova.tokenizer.tokenizer import END_OF_TEXT, Encoding, TextError, Tokenizer

__all__ = ["END_OF_TEXT", "Encoding", "StreamDecoder", "TextError", "Tokenizer"]

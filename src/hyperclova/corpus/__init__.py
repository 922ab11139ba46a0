"""Raw documents: what they are and how they are read."""

from hyperclova.corpus.documents import Document, read_documents

__all__ = ["Document", "read_documents"]

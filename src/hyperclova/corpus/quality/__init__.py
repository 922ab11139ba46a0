"""How good a document is: a linear classifier of encyclopedia against crawled text."""

from hyperclova.corpus.quality.model import QualityModel, score, shipped

__all__ = ["QualityModel", "score", "shipped"]

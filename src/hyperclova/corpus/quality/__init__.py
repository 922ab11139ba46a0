"""How good a document is: a linear classifier of edited against crawled and degraded text."""

from hyperclova.corpus.quality.model import QualityModel, score, shipped

__all__ = ["QualityModel", "score", "shipped"]

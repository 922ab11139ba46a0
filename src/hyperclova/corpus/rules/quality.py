"""Documents that are written too unlike edited prose are dropped."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hyperclova.corpus.documents import Document
from hyperclova.corpus.hashing import unit
from hyperclova.corpus.quality import QualityModel, shipped
from hyperclova.corpus.rule import Rule, Verdict


@dataclass(frozen=True, kw_only=True)
class LowQuality(Rule):
    """Drop documents of low quality, by a classifier (paper, appendix A.1).

    A logistic regression tells encyclopedia articles and other edited text from crawled text and
    from degraded copies of good text (``docs/quality-classifier.md``). Its probability is
    compared with a threshold, or, as GPT-3 did (Brown et al. 2020, Appendix A), with a random
    number: with ``pareto = α`` a document is kept if ``X > 1 - probability``, where ``X`` follows
    the Lomax (Pareto II) distribution ``P(X > x) = (1 + x)^-α``. GPT-3 took α = 9. That keeps some
    documents of every score, so that what is written otherwise does not disappear altogether. The
    random number is made from the document's id: the same document, the same fate.

    Give it ``sources``: for crawled pages (blog, cafe, others) it is meant. Comments, headlines and
    lists are written in another register, not badly, and score low.
    """

    minimum: float = 0.05
    """Probability below which a document is dropped; not used with ``pareto``."""
    pareto: float = 0.0
    """α above; 0: compare with ``minimum``."""
    characters: int = 100
    """Shorter texts are kept: there is too little to judge."""
    weights: Path | None = None
    """A file from ``hyperclova corpus train-quality``; None: the classifier we ship."""

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= 1:
            raise ValueError(f"minimum is {self.minimum}; a probability is in [0, 1]")
        if not (self.pareto >= 0 and math.isfinite(self.pareto)):
            raise ValueError(f"pareto is {self.pareto}; it must be 0 (off) or positive")

    @cached_property
    def _model(self) -> QualityModel:
        return QualityModel.load(self.weights) if self.weights else shipped()

    def apply(self, document: Document) -> Verdict:
        """Keep or drop ``document``."""
        if len(document.text) < self.characters:
            return Verdict(document)
        score = self._model.score(document.text)
        if self.pareto:
            # The inverse of P(X > x), at a number that is uniform in (0, 1].
            uniform = 1 - unit("pareto", document.id)
            draw = uniform ** (-1 / self.pareto) - 1
            if draw > 1 - score:
                return Verdict(document, measure=score)
            reason = f"quality {score:.3f}, and a draw of {draw:.3f} is not above {1 - score:.3f}"
            return Verdict(None, reason, score)
        if score >= self.minimum:
            return Verdict(document, measure=score)
        return Verdict(None, f"quality {score:.3f} is below {self.minimum:g}", score)

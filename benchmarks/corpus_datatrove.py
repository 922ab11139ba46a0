"""The peer's half of ``benchmarks/corpus.py``: datatrove's blocks for the same steps.

Runs in an environment with ``pip install 'datatrove[io,processing]'``; ``corpus.py`` calls it.
Korean words are split at white space: datatrove's own Korean tokenizer is a morpheme analyser
that reaches some 0.2 MB/s.
"""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import GopherRepetitionFilter, LambdaFilter
from datatrove.pipeline.formatters import FTFYFormatter, PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.word_tokenizers import WordTokenizer


class Whitespace(WordTokenizer):
    """Words are what stands between spaces."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        return text.split("\n")

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return []


def long_enough(document: object) -> bool:
    """As our ``too-short`` with ``characters = 4``."""
    return sum(character.isalnum() for character in document.text[:64]) >= 4  # type: ignore[attr-defined]


def run(pipeline: list[object], logs: Path, tasks: int = 1) -> None:
    LocalPipelineExecutor(
        pipeline, tasks=tasks, workers=1, logging_dir=str(logs), skip_completed=False
    ).run()


def main(source: Path, output: Path) -> None:
    words = Whitespace()
    config = MinhashConfig(n_grams=3, num_buckets=14, hashes_per_bucket=8)
    filtered, signatures = output / "filtered", output / "signatures"
    buckets, removed, logs = output / "buckets", output / "removed", output / "logs"
    run(
        [
            JsonlReader(str(source), glob_pattern="*.jsonl"),
            FTFYFormatter(),
            LambdaFilter(long_enough),
            # Its shares of the most frequent n-grams would drop nearly all of the short reviews.
            GopherRepetitionFilter(language=words, top_n_grams=()),
            PIIFormatter(),
            JsonlWriter(str(filtered)),
        ],
        logs / "1",
    )
    run(
        [
            JsonlReader(str(filtered)),
            MinhashDedupSignature(str(signatures), config=config, language=words),
        ],
        logs / "2",
    )
    run([MinhashDedupBuckets(str(signatures), str(buckets), config=config)], logs / "3", 14)
    run([MinhashDedupCluster(str(buckets), str(removed), config=config)], logs / "4")
    run(
        [
            JsonlReader(str(filtered)),
            MinhashDedupFilter(str(removed)),
            JsonlWriter(str(output / "final")),
        ],
        logs / "5",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

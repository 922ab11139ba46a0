"""What low precision costs: bits per byte and most likely tokens against float32.

    python benchmarks/int8_quality.py
    python benchmarks/int8_quality.py --model runs/137M-model --precision int8 bfloat16

Korean text the model was not trained on: held-out documents of each source and the reviews of
NSMC's test part from HYPERCLOVA_DATA; without it, the texts of tests/texts, which were written for
this project. Each text is cut into windows of the context, each read after an end-of-text token, by
the engine's own scorer (``echo`` with log-probabilities).

Bits per byte is minus the sum of the tokens' log-probabilities over the bytes of their texts. Its
change is paired: the same tokens in both precisions. The range is the 95 % interval of a bootstrap
over texts. Agreement is the share of positions whose most likely token is the same.
"""

import argparse
import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from hyperclova import directories
from hyperclova.corpus.documents import read_documents
from hyperclova.corpus.split import is_held_out
from hyperclova.inference import Engine
from hyperclova.inference.protocol import Request

SOURCES = ("wiki", "others", "blog", "news", "comments", "cafe", "kin", "modu")
_AT_ONCE = 8  # windows scored together


@dataclass
class Measured:
    """A text in one precision."""

    bits: float = 0.0
    best: list[int] = field(default_factory=list)
    """The most likely token at each position."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=directories.default_model())
    parser.add_argument("--precision", nargs="+", default=["int8", "bfloat16"])
    parser.add_argument("--bytes", type=int, default=60_000, help="of each source, about")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="try the script out: little text")
    parser.add_argument("--output", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.bytes = 3_000
    torch.set_num_threads(arguments.threads)
    texts = held_out(arguments.bytes)
    reference = measure(arguments.model, "float32", texts)
    results = []
    for precision in arguments.precision:
        found = measure(arguments.model, precision, texts)
        for source in [*texts, "all"]:
            chosen = list(texts) if source == "all" else [source]
            results.append(
                {
                    "precision": precision,
                    "source": source,
                    **compared(
                        [text for name in chosen for text in texts[name]],
                        [each for name in chosen for each in reference[name]],
                        [each for name in chosen for each in found[name]],
                    ),
                }
            )
    show(results, arguments)
    if arguments.output:
        arguments.output.write_text(
            json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def held_out(size: int) -> dict[str, list[str]]:
    """About ``size`` bytes of texts of each source."""
    texts: dict[str, list[str]] = {}
    if "HYPERCLOVA_DATA" not in os.environ:
        for path in sorted((Path(__file__).parents[1] / "tests" / "texts").glob("*.txt")):
            texts[path.stem] = path.read_text(encoding="utf-8").split("\n\n")
        return texts
    for source in SOURCES:
        taken = texts[source] = []
        for document in read_documents([directories.data() / "pretrain" / f"{source}.jsonl.zst"]):
            if document.text and is_held_out(document.id, 0.01):
                # A part of a long one, so that one document is not all there is.
                taken.append(document.text[: max(400, size // 30)])
                if sum(len(text.encode()) for text in taken) >= size:
                    break
    nsmc = (directories.data() / "nsmc" / "ratings_test.txt").read_text(encoding="utf-8")
    reviews = [line.split("\t")[1] for line in nsmc.split("\n")[1:] if line]
    total = np.cumsum([len(review.encode()) for review in reviews])
    texts["NSMC test"] = [review for review in reviews[: int((total < size).sum())] if review]
    return texts


def measure(
    directory: Path, precision: str, texts: dict[str, list[str]]
) -> dict[str, list[Measured]]:
    """Every text, by source, in one precision."""
    with Engine(directory, device="cpu", precision=precision, cache_bytes=0) as engine:
        length, end = engine.model.context_length - 1, engine.tokenizer.end_of_text_id
        measured: dict[str, list[Measured]] = {}
        windows: list[tuple[Measured, Request]] = []
        for source, group in texts.items():
            measured[source] = [Measured() for _ in group]
            for text, each in zip(group, measured[source], strict=True):
                ids = engine.tokenizer.encode(text)
                for at in range(0, len(ids), length):
                    prompt = (end, *ids[at : at + length])
                    windows.append((each, Request(prompt, 0, echo=True, logprobs=1)))
        for at in range(0, len(windows), _AT_ONCE):
            group = windows[at : at + _AT_ONCE]
            completions = engine.generate([request for _, request in group])
            for (each, _), completion in zip(group, completions, strict=True):
                for token in completion.choices[0].tokens[1:]:
                    assert token.logprob is not None  # only the first has none
                    each.bits -= token.logprob / math.log(2)
                    each.best.append(token.top[0].id)
    return measured


def compared(
    texts: Sequence[str], reference: Sequence[Measured], found: Sequence[Measured]
) -> dict[str, object]:
    size = np.array([len(text.encode()) for text in texts])
    left = np.array([each.bits for each in reference])
    right = np.array([each.bits for each in found])
    drawn = np.random.default_rng(0).integers(0, len(texts), (2000, len(texts)))
    changes = right[drawn].sum(axis=1) / left[drawn].sum(axis=1) - 1
    same = sum(
        a == b
        for one, other in zip(reference, found, strict=True)
        for a, b in zip(one.best, other.best, strict=True)
    )
    positions = sum(len(each.best) for each in reference)
    return {
        "texts": len(texts),
        "bytes": int(size.sum()),
        "tokens": positions,
        "float32_bits_per_byte": float(left.sum() / size.sum()),
        "bits_per_byte": float(right.sum() / size.sum()),
        "change": float(right.sum() / left.sum() - 1),
        "change_95": [float(edge) for edge in np.quantile(changes, [0.025, 0.975])],
        "top_1_agreement": same / positions,
    }


def show(results: Sequence[dict[str, object]], arguments: argparse.Namespace) -> None:
    console = Console(width=120, highlight=False)
    table = Table("precision", "text", "texts", "bytes", "float32", "bits a byte", "change")
    table.add_column("top-1 same")
    for result in results:
        if result["source"] == "all":
            table.add_section()
        low, high = result["change_95"]  # type: ignore[misc]
        table.add_row(
            str(result["precision"]),
            str(result["source"]),
            str(result["texts"]),
            f"{result['bytes']:,}",
            f"{result['float32_bits_per_byte']:.4f}",
            f"{result['bits_per_byte']:.4f}",
            f"{result['change']:+.3%}"
            + (f" ({low:+.3%} to {high:+.3%})" if result["texts"] != 1 else ""),
            f"{result['top_1_agreement']:.2%}",
        )
        if result["source"] == "all":
            table.add_section()
    console.print(table)
    console.print(
        f"{arguments.model}; {arguments.threads} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()

"""What each engine makes of an exported model: do other engines compute what ours does?

    python benchmarks/exports.py --model models/hyperclova-small

Korean texts (those of tests/texts) are read in windows of ids from our tokenizer. For every engine
and type of weights: nats a token, the share of positions where the most likely id is that of our
model in float32, and the bytes of the weights. llama.cpp takes part where llama-cpp-python is
installed. Nothing here is timed.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import ctranslate2
import numpy as np
import numpy.typing as npt
import torch

from hyperclova.inference.exports import STORED, ForeignEngine, export_for
from hyperclova.model.directory import load_model
from hyperclova.tokenizer import Tokenizer

Logits = Callable[[list[int]], npt.NDArray[np.float32]]
TEXTS = Path(__file__).parents[1] / "tests" / "texts"


def windows(tokenizer: Tokenizer, length: int) -> Iterator[list[int]]:
    for path in sorted(TEXTS.glob("*.txt")):
        ids = tokenizer.encode(path.read_text(encoding="utf-8"))
        for start in range(0, len(ids), length):
            yield [tokenizer.end_of_text_id, *ids[start : start + length]]


def ours(directory: Path, vocabulary: int) -> Logits:
    model = load_model(directory)

    @torch.inference_mode()
    def logits(ids: list[int]) -> npt.NDArray[np.float32]:
        return model(torch.tensor([ids]))[0, :, :vocabulary].numpy()

    return logits


def with_ctranslate2(directory: Path, compute_type: str) -> Logits:
    generator = ctranslate2.Generator(str(directory), device="cpu", compute_type=compute_type)
    return lambda ids: np.array(generator.forward_batch([ids]))[0]


def with_llama_cpp(path: Path, context: int) -> Logits:
    import llama_cpp

    model = llama_cpp.Llama(str(path), n_ctx=context, logits_all=True, verbose=False)

    def logits(ids: list[int]) -> npt.NDArray[np.float32]:
        model.reset()
        model.eval(ids)
        return model.scores[: len(ids)].copy()

    return logits


def measure(
    logits: Logits, texts: list[list[int]], likeliest: list[npt.NDArray[np.int64]]
) -> tuple[float, float]:
    """Nats a token, and the share of positions with the same most likely id."""
    nats = same = tokens = 0.0
    for ids, expected in zip(texts, likeliest, strict=True):
        scores = logits(ids).astype(np.float64)[:-1]
        scores -= scores.max(axis=1, keepdims=True)
        chosen = scores[np.arange(len(scores)), ids[1:]]
        nats -= float((chosen - np.log(np.exp(scores).sum(axis=1))).sum())
        same += int((scores.argmax(axis=1) == expected).sum())
        tokens += len(scores)
    return nats / tokens, same / tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--window", type=int, default=256, help="ids read at once")
    arguments = parser.parse_args()
    tokenizer = Tokenizer.load(arguments.model)
    texts = list(windows(tokenizer, arguments.window))
    reference = ours(arguments.model, tokenizer.vocabulary_size)
    likeliest = [reference(ids).argmax(axis=1)[:-1] for ids in texts]
    print(f"{sum(map(len, likeliest)):,} tokens of {len(texts)} windows\n")
    print("| engine | weights | computes in | MB | nats a token | same id |")
    print("|---|---|---|---|---|---|")

    def row(names: str, weights: Path | None, logits: Logits) -> None:
        nats, same = measure(logits, texts, likeliest)
        size = f"{weights.stat().st_size / 1e6:.1f}" if weights else ""
        print(f"| {names} | {size} | {nats:.4f} | {same:.2%} |", flush=True)

    row("ours | float32 | float32", None, reference)
    with tempfile.TemporaryDirectory() as folder:
        for weights in STORED[ForeignEngine.CTRANSLATE2]:
            output = Path(folder) / f"ctranslate2-{weights}"
            export_for(ForeignEngine.CTRANSLATE2, arguments.model, output, weights)
            for computed in ("float32", "int8") if weights == "int8" else ("float32",):
                engine = with_ctranslate2(output, computed)
                row(f"CTranslate2 | {weights} | {computed}", output / "model.bin", engine)
        if importlib.util.find_spec("llama_cpp") is None:
            return
        for weights in STORED[ForeignEngine.GGUF]:
            output = Path(folder) / f"{weights}.gguf"
            export_for(ForeignEngine.GGUF, arguments.model, output, weights)
            engine = with_llama_cpp(output, arguments.window + 1)
            row(f"llama.cpp | {weights} | its choice", output, engine)


if __name__ == "__main__":
    main()

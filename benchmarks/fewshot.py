"""Few-shot NSMC: our engine over a shared prefix against the way of lm-evaluation-harness.

    python benchmarks/fewshot.py --shape 137M
    python benchmarks/fewshot.py --shape shipped --shots 70

Same model, same prompts, same token ids, float32, same threads. A prompt is 70 shots (or as many
as fit into the context) and a review; the two labels are compared by their log-probability.

Ours: ``Engine.score_choices`` for each item, several items asked at once. Nothing else is told to
it; that the shots are the same each time, its prefix cache finds out. Its time includes reading
them for the first time.

Theirs, as in the harness's ``HFLM``: for each item the whole prompt and a continuation go through
the model, at batch 1 and 8, longest first, padded on the right; log-softmax over all positions;
the continuation's are summed. As there, choices that differ in their last token only share one
pass; with several tokens, each choice has its own. It is timed on fewer items, since each one takes
the same time.

Predictions must be the same, and the differences of the two log-probabilities within 1e-3; else
nothing is printed. HYPERCLOVA_DATA must name the data.
"""

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import transformers
from nsmc import LABELS, Draw, draw
from rich.console import Console
from rich.table import Table
from shapes import model_of
from torch.nn.functional import log_softmax

from hyperclova.inference import Engine
from hyperclova.model.directory import load_config
from hyperclova.tokenizer import Tokenizer

Pair = tuple[list[int], list[int]]
"""Token ids of a prompt and of a continuation."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/hyperclova-small"))
    parser.add_argument("--shape", nargs="+", default=["shipped", "137M"])
    parser.add_argument("--shots", type=int, default=70)
    parser.add_argument("--items", type=int, default=200, help="ours")
    parser.add_argument("--their-items", type=int, default=16)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="theirs")
    parser.add_argument("--clients", type=int, default=8, help="items asked at once, ours")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="try the script out: few items")
    parser.add_argument("--output", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.items, arguments.their_items, arguments.batch = 8, 1, [1]
    torch.set_num_threads(arguments.threads)
    transformers.logging.disable_progress_bar()
    results = []
    for shape in arguments.shape:
        with model_of(shape, arguments.model) as directory:
            results.append(compare(shape, directory, arguments))
    show(results, arguments.threads)
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def compare(shape: str, directory: Path, arguments: argparse.Namespace) -> dict[str, object]:
    tokenizer = Tokenizer.load(directory)
    context = load_config(directory).context_length
    drawn = draw(tokenizer, context, arguments.shots, arguments.items, arguments.seed)
    ours, seconds, ids = score_with_engine(directory, drawn, arguments.clients)
    rates = {"ours": len(ours) / seconds}
    theirs = score_as_harness(directory, tokenizer, drawn, arguments, ids)
    for batch, (scores, taken) in theirs.items():
        for index, (left, right) in enumerate(zip(ours, scores, strict=False)):
            margins = (left[1] - left[0], right[1] - right[0])
            if (margins[0] > 0) != (margins[1] > 0) or abs(margins[0] - margins[1]) > 1e-3:
                raise SystemExit(f"{shape}: item {index} is judged differently: {left}, {right}")
        rates[f"harness, batch {batch}"] = len(scores) / taken
    right = sum(
        (score[1] > score[0]) == label for score, label in zip(ours, drawn.labels, strict=True)
    )
    return {
        "shape": shape,
        "shots": drawn.shots,
        "prompt_tokens": len(tokenizer.encode(drawn.prompts[0])),
        "items_ours": len(ours),
        "items_theirs": min(arguments.their_items, len(ours)),
        "items_per_second": rates,
        "accuracy": right / len(ours),
    }


def score_with_engine(
    directory: Path, drawn: Draw, clients: int
) -> tuple[list[list[float]], float, list[list[tuple[int, ...]]]]:
    """Each item's log-probability of each label, seconds in all, and the ids of the labels."""
    with (
        Engine(directory, device="cpu", precision="float32") as engine,
        ThreadPoolExecutor(clients) as pool,
    ):
        engine.score_choices("준비", LABELS)  # what is loaded or compiled at the first call
        began = time.perf_counter()
        scores = list(pool.map(lambda prompt: engine.score_choices(prompt, LABELS), drawn.prompts))
        seconds = time.perf_counter() - began
    totals = [[score.total for score in item] for item in scores]
    return totals, seconds, [[score.tokens for score in item] for item in scores]


def score_as_harness(
    directory: Path,
    tokenizer: Tokenizer,
    drawn: Draw,
    arguments: argparse.Namespace,
    ids: list[list[tuple[int, ...]]],
) -> dict[int, tuple[list[list[float]], float]]:
    """By batch size: the same of the first items, and seconds."""
    model = transformers.GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float32).eval()
    prompts = drawn.prompts[: arguments.their_items]
    found = {}
    for batch in arguments.batch:
        score(model, [([1, 2, 3], [4])], 1)  # warm up
        began = time.perf_counter()
        pairs = [pair(tokenizer, prompt, label) for prompt in prompts for label in LABELS]
        scores = score(model, pairs, batch)
        seconds = time.perf_counter() - began
        if [tuple(after) for _, after in pairs] != [each for item in ids for each in item][
            : len(pairs)
        ]:
            raise SystemExit("the two score different ids")
        width = len(LABELS)
        found[batch] = (
            [scores[at : at + width] for at in range(0, len(scores), width)],
            seconds,
        )
    return found


def pair(tokenizer: Tokenizer, prompt: str, continuation: str) -> Pair:
    """The joined text's ids, cut where the prompt's end."""
    before, joined = tokenizer.encode(prompt), tokenizer.encode(prompt + continuation)
    return before, joined[len(before) :]


@torch.inference_mode()
def score(model: torch.nn.Module, pairs: Sequence[Pair], batch: int) -> list[float]:
    """The log-probability of each continuation."""
    # Those that share all but the last token share a pass (HFLM with its logits_cache).
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, (before, after) in enumerate(pairs):
        groups[tuple(before + after[:-1])].append(index)
    scores = [0.0] * len(pairs)
    order = sorted(groups, key=len, reverse=True)
    for at in range(0, len(order), batch):
        inputs = order[at : at + batch]
        longest = max(map(len, inputs))
        rows = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in inputs])
        logprobs = log_softmax(model(rows).logits, dim=-1)
        for row, ids in enumerate(inputs):
            for index in groups[ids]:
                after = torch.tensor(pairs[index][1])
                places = logprobs[row, len(ids) - len(after) : len(ids)]
                scores[index] = places.gather(1, after[:, None]).sum().item()
    return scores


def show(results: Sequence[dict[str, object]], threads: int) -> None:
    console = Console(width=120, highlight=False)
    table = Table("model", "shots", "tokens", "accuracy", "way", "items/s", "ours is ×")
    for result in results:
        rates = result["items_per_second"]
        assert isinstance(rates, dict)
        for way, rate in rates.items():
            first = way == "ours"
            table.add_row(
                str(result["shape"]) if first else "",
                str(result["shots"]) if first else "",
                str(result["prompt_tokens"]) if first else "",
                f"{result['accuracy']:.3f}" if first else "",
                way,
                f"{rate:.3f}",
                f"{rates['ours'] / rate:.1f}",
            )
        table.add_section()
    console.print(table)
    console.print(
        f"same predictions; float32, {threads} threads, torch {torch.__version__}, transformers "
        f"{transformers.__version__}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()

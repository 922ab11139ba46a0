"""What the prefix cache saves before the first token, and that it changes no token.

    python benchmarks/prefix_cache.py --shape 137M
    python benchmarks/prefix_cache.py --shape shipped

Prompts are 70 shots of NSMC (or as many as fit into the context) and a review. Time to first token
is measured for a prompt whose shots the engine has never seen (cold), for the same prompt again
(seen), and for the same shots with another review (other item). Each repetition draws other shots.
The median counts.

Then both engines, one with the cache and one without (``cache_bytes=0``), write the same random
requests: prompts that share beginnings of any length, greedy and sampled, several at once. Ids must
be equal. HYPERCLOVA_DATA must name the data.
"""

import argparse
import json
import platform
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from nsmc import draw
from rich.console import Console
from rich.table import Table
from shapes import model_of

from hyperclova.inference import Engine
from hyperclova.inference.protocol import Completion, Request, Sampling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/hyperclova-small"))
    parser.add_argument("--shape", nargs="+", default=["shipped", "137M"])
    parser.add_argument("--precision", nargs="+", default=["float32", "int8"])
    parser.add_argument("--shots", type=int, default=70)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--requests", type=int, default=48, help="written with and without cache")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="try the script out: little of all")
    parser.add_argument("--output", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.requests = 2, 12
    torch.set_num_threads(arguments.threads)
    results = []
    for shape in arguments.shape:
        with model_of(shape, arguments.model) as directory:
            results += [
                {"shape": shape, **measure(directory, precision, arguments)}
                for precision in arguments.precision
            ]
    show(results, arguments.threads)
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(directory: Path, precision: str, arguments: argparse.Namespace) -> dict[str, object]:
    seen: dict[str, list[float]] = {"cold": [], "seen": [], "other item": []}
    with (
        Engine(directory, device="cpu", precision=precision) as engine,
        Engine(directory, device="cpu", precision=precision, cache_bytes=0) as plain,
    ):
        first_token(engine, engine.tokenizer.encode("준비"))
        for repeat in range(arguments.repeats):
            drawn = draw(engine.tokenizer, engine.model.context_length, arguments.shots, 2, repeat)
            prompts = [engine.tokenizer.encode(prompt) for prompt in drawn.prompts]
            seen["cold"].append(first_token(engine, prompts[0]))
            seen["seen"].append(first_token(engine, prompts[0]))
            seen["other item"].append(first_token(engine, prompts[1]))
        requests = mixed(engine, prompts[0], arguments.requests, arguments.seed)
        before = engine.statistics()
        # Twice: most of it has been seen the second time.
        written = [ids(engine.generate(requests)) for _ in range(2)]
        after = engine.statistics()
        if written != [ids(plain.generate(requests))] * 2:
            raise SystemExit(f"{precision}: the cache changes what is written")
        reused = after.reused_tokens - before.reused_tokens
        read = after.read_tokens - before.read_tokens
        if reused == 0 or plain.statistics().reused_tokens:
            raise SystemExit("one engine should have used a cache, the other none")
    return {
        "precision": precision,
        "shots": drawn.shots,
        "prompt_tokens": len(prompts[0]),
        "first_token_seconds": {name: statistics.median(times) for name, times in seen.items()},
        "requests_compared": 2 * len(requests),
        "share_reused": reused / (reused + read),
    }


def first_token(engine: Engine, prompt: Sequence[int]) -> float:
    """Seconds from asking to the first token, with nothing else asked."""
    request = Request(tuple(prompt), 1, Sampling(temperature=0), heal=False)
    began = time.perf_counter()
    engine.generate([request])
    return time.perf_counter() - began


def mixed(engine: Engine, long: Sequence[int], count: int, seed: int) -> list[Request]:
    """Requests whose prompts begin with pieces of ``long`` and go on with anything."""
    chance = random.Random(seed)
    most = engine.model.context_length - 48
    requests = []
    for number in range(count):
        shared = list(long[: chance.randint(0, min(len(long), most))])
        own = [chance.randrange(engine.model.vocabulary_size) for _ in range(chance.randint(1, 24))]
        sampling = Sampling(
            temperature=chance.choice((0.0, 0.8)), top_p=chance.choice((1.0, 0.9)), seed=number
        )
        requests.append(
            Request(
                tuple(shared + own),
                chance.randint(1, 24),
                sampling,
                n=chance.choice((1, 1, 2)),
                logprobs=0,
                heal=False,
            )
        )
    return requests


def ids(completions: Sequence[Completion]) -> list[list[list[int]]]:
    return [
        [[token.id for token in choice.tokens] for choice in completion.choices]
        for completion in completions
    ]


def show(results: Sequence[dict[str, object]], threads: int) -> None:
    console = Console(width=120, highlight=False)
    table = Table("model", "precision", "shots", "tokens", "cold, ms", "seen, ms", "of cold")
    table.add_column("other item, ms")
    table.add_column("of cold")
    for result in results:
        times = result["first_token_seconds"]
        assert isinstance(times, dict)
        cold, seen, other = times["cold"], times["seen"], times["other item"]
        table.add_row(
            *(str(result[name]) for name in ("shape", "precision", "shots", "prompt_tokens")),
            f"{1000 * cold:.0f}",
            f"{1000 * seen:.1f}",
            f"{seen / cold:.1%}",
            f"{1000 * other:.1f}",
            f"{other / cold:.1%}",
        )
    console.print(table)
    for result in results:
        console.print(
            f"{result['shape']}, {result['precision']}: {result['requests_compared']} requests "
            f"wrote the same ids with and without the cache; it spared {result['share_reused']:.0%}"
            " of the prompts' tokens"
        )
    console.print(
        f"time to first token; {threads} threads, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()

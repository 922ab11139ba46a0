"""What healing costs: memory and time to load, time before the first token of a prompt.

    python benchmarks/healing_time.py models/hyperclova-small runs/tokenizer --cuts 250

For each directory with a tokenizer: the time and the memory of building :class:`Vocabulary`, and
for prompts cut as `healing.py` cuts them (held-out documents of HYPERCLOVA_DATA, or the texts of
tests/texts) the time of :func:`heal` and of all that a :class:`Constraint` does until the open word
is written with the tokenizer's own ids of it. Those ids are steps of the model that an unhealed
prompt does not take; they are counted. Where the directory holds a model, too, its time to the
first token is measured with healing and without, each prompt both ways, in turn, without a prefix
cache.
"""

import argparse
import time
import tracemalloc
from pathlib import Path

import numpy as np
import torch
from healing import KINDS, Cut, draw_cuts, held_out

from hyperclova.inference import Engine
from hyperclova.inference.healing import Constraint, Healed, Vocabulary, heal, helps
from hyperclova.model.directory import WEIGHTS
from hyperclova.tokenizer import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directories", type=Path, nargs="+", help="tokenizers or models")
    parser.add_argument("--cuts", type=int, default=250, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    cuts = list(draw_cuts(held_out(200), arguments.cuts, 40, arguments.seed))
    for directory in arguments.directories:
        tokenizer = Tokenizer.load(directory)
        print(f"\n{directory}: {tokenizer.vocabulary_size} ids; torch {torch.__version__}")
        vocabulary = build(tokenizer)
        print("| prompt | cuts | heal, ms | constraint, ms | ids allowed | steps |")
        print("|---|---|---|---|---|---|")
        for name, group in groups(cuts):
            report(name, tokenizer, vocabulary, group)
        if (directory / WEIGHTS).is_file():
            first_tokens(directory, cuts)


def groups(cuts: list[Cut]) -> list[tuple[str, list[Cut]]]:
    """Cuts by kind, and those whose prompts are healed without being asked to."""
    found = [(kind, [cut for cut in cuts if cut.kind == kind]) for kind in KINDS]
    return [*found, ("healed by default", [cut for cut in cuts if helps(cut.prompt)])]


def build(tokenizer: Tokenizer) -> Vocabulary:
    seconds = []
    for _ in range(7):
        begin = time.perf_counter()
        Vocabulary(tokenizer)
        seconds.append(time.perf_counter() - begin)
    tracemalloc.start()
    vocabulary = Vocabulary(tokenizer)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(
        f"Vocabulary: {np.median(seconds):.3f} s, at most {max(seconds):.3f}; "
        f"{kept / 1e6:.1f} MB kept, {most / 1e6:.1f} MB while it is built"
    )
    return vocabulary


def report(kind: str, tokenizer: Tokenizer, vocabulary: Vocabulary, cuts: list[Cut]) -> None:
    cutting, constraining, allowed, steps = [], [], [], []
    for cut in cuts:
        tokenizer.encode(cut.prompt)  # as the engine has when it heals: words are remembered
        begin = time.perf_counter()
        healed = heal(tokenizer, cut.prompt)
        cutting.append(time.perf_counter() - begin)
        if healed.remainder:
            seconds, most, count = constrain(tokenizer, vocabulary, healed)
            constraining.append(seconds)
            allowed.append(most)
            steps.append(count)
    print(
        f"| {kind} | {len(steps)} | {milliseconds(cutting)} | {milliseconds(constraining)} "
        f"| {np.median(allowed):.0f}, {max(allowed)} "
        f"| {np.mean(steps):.2f}, {np.quantile(steps, 0.99):.0f}, {max(steps)} |"
    )


def constrain(
    tokenizer: Tokenizer, vocabulary: Vocabulary, healed: Healed
) -> tuple[float, int, int]:
    """Seconds, the most ids allowed at a step, and steps."""
    path = tokenizer.encode(healed.remainder.decode())
    scores = np.zeros(tokenizer.vocabulary_size, dtype=np.float32)
    most = 0
    begin = time.perf_counter()
    constraint = Constraint(vocabulary, healed.remainder)
    for token in path:
        if constraint.allowed is None:
            raise AssertionError("the open word was written before its own ids had been")
        most = max(most, len(constraint.allowed))
        constraint.apply(scores)
        if constraint.accept(token):
            raise AssertionError("an id of the open word goes beyond it")
    seconds = time.perf_counter() - begin
    if constraint.allowed is not None:
        raise AssertionError("the open word's own ids do not write it")
    return seconds, most, len(path)


def milliseconds(seconds: list[float]) -> str:
    """Median, 99th percentile, largest."""
    return ", ".join(f"{1000 * value:.2f}" for value in np.quantile(seconds, [0.5, 0.99, 1.0]))


def first_tokens(directory: Path, cuts: list[Cut]) -> None:
    print("| prompt | cuts | first token healed, ms | as it is, ms | difference, ms |")
    print("|---|---|---|---|---|")
    with Engine(directory, cache_bytes=0) as engine:
        for name, group in groups(cuts):
            seconds: dict[bool, list[float]] = {True: [], False: []}
            for number, cut in enumerate(group):
                for wanted in (True, False) if number % 2 else (False, True):
                    seconds[wanted].append(first_token(engine, cut.prompt, wanted))
            difference = np.subtract(seconds[True], seconds[False])
            print(
                f"| {name} | {len(difference)} | {milliseconds(seconds[True])} "
                f"| {milliseconds(seconds[False])} | {1000 * np.median(difference):+.2f} |"
            )


def first_token(engine: Engine, prompt: str, wanted: bool) -> float:
    begin = time.perf_counter()
    # One token, so that the end of the text is the end of the wait whatever it is.
    engine.generate(prompt, max_tokens=1, seed=1, heal=wanted)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()

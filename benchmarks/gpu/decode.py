"""Our engine on a GPU: first whether it is right, then tokens a second beside others.

    python benchmarks/gpu/decode.py --output OUT
    python benchmarks/gpu/decode.py --output OUT --device cpu --shapes shipped --batches 1 2 \
        --tokens 8

The checks are ``tests/inference/test_cuda.py``; where they fail, nothing is timed. Then each engine
runs in a process of its own: ours with its steps recorded as CUDA graphs, ours without,
``transformers.generate``, and vLLM where it can be imported. All write greedily after prompts of
random ids, in bfloat16 (float32 on a CPU), on the same weights: the model we ship, or random ones
of a size of the paper's Table 2. Nothing ends early.

``tokens/s`` counts all tokens written, over the whole time, reading the prompts included. ``step``
is what one more token takes: the difference to writing a single one. ``of it the device`` is our
recorded step by itself, without the head, choosing tokens and text. How far greedy ids are those
of ``transformers`` is said beside it; in bfloat16 random weights soon go ways of their own.

Every figure is written to ``OUT/decode.json`` as it comes. A run ends after ``--minutes``; the same
command goes on where it stopped.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from hyperclova.model import GPT, GPTConfig
from hyperclova.model.directory import save_model
from hyperclova.model.sizes import size_named

ROOT = Path(__file__).parents[2]
SHIPPED = "shipped"
VOCABULARY, CONTEXT = 51_200, 2048
ENGINES = {
    "cuda": ["ours graphs", "ours static", "transformers", "vllm"],
    "cpu": ["ours spans", "ours static", "transformers"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "hyperclova-small")
    parser.add_argument("--device", default="cuda", choices=list(ENGINES))
    parser.add_argument("--shapes", nargs="+", default=[SHIPPED, "137M", "1.3B"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16, 64])
    parser.add_argument("--engines", nargs="+")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=9.0)
    arguments = parser.parse_args()
    ends = time.monotonic() + 60 * arguments.minutes
    arguments.output.mkdir(parents=True, exist_ok=True)
    console = Console(width=120, highlight=False)
    record = Record(arguments.output / "decode.json", arguments)
    if not record.checked(ends - time.monotonic(), console):
        raise SystemExit("the checks failed; nothing was timed")
    engines = arguments.engines or ENGINES[arguments.device]
    try:
        for shape in arguments.shapes:
            measure_shape(shape, engines, arguments, record, ends, console)
    except TimeoutError:
        console.print("out of time; the same command goes on from here")
    for shape in arguments.shapes:
        console.print(table_of(shape, record.cells))


class Record:
    """What is known so far, in a file; kept between runs with the same settings."""

    def __init__(self, path: Path, arguments: argparse.Namespace) -> None:
        self._path, self._device = path, arguments.device
        kept = ("device", "prompt_tokens", "tokens", "repeats")
        settings = {name: getattr(arguments, name) for name in kept}
        settings["machine"] = "CPU"
        if arguments.device == "cuda":
            settings["machine"] = torch.cuda.get_device_name()
        settings["torch"] = torch.__version__
        tree = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if tree and tree["settings"] != settings:
            raise SystemExit(f"{path} is of another machine or other settings: move it away")
        self._tree = {"settings": settings, "checks": None, "cells": [], **tree}
        self.cells: list[dict[str, Any]] = self._tree["cells"]

    def checked(self, seconds: float, console: Console) -> bool:
        """Whether the engine does what it should on this device.

        Raises:
            TimeoutExpired: it takes longer than ``seconds``.
        """
        if self._tree["checks"] is None or self._tree["checks"]["status"] != 0:
            test = ROOT / "tests" / "inference" / "test_cuda.py"
            # Without what other tests stand on, which asks for more packages.
            command = [sys.executable, "-m", "pytest", "--noconftest", "-q", "-rs", "--tb=short"]
            done = subprocess.run(
                [*command, str(test)], cwd=ROOT, capture_output=True, text=True, timeout=seconds
            )
            said = (done.stdout + done.stderr)[-6000:]
            self._tree["checks"] = {"status": done.returncode, "output": said}
            self._save()
            console.print(said, markup=False)
        return bool(self._tree["checks"]["status"] == 0)

    def has(self, shape: str, engine: str, batch: int) -> bool:
        key = [shape, engine, batch]
        return any([cell["shape"], cell["engine"], cell["batch"]] == key for cell in self.cells)

    def add(self, cell: dict[str, Any]) -> None:
        self.cells.append(cell)
        self._save()

    def _save(self) -> None:
        text = json.dumps(self._tree, indent=1, ensure_ascii=False) + "\n"
        self._path.write_text(text, encoding="utf-8")


def measure_shape(
    shape: str,
    engines: list[str],
    arguments: argparse.Namespace,
    record: Record,
    ends: float,
    console: Console,
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        model = arguments.model
        for engine in engines:
            missing = [b for b in arguments.batches if not record.has(shape, engine, b)]
            if not missing:
                continue
            package = engine if engine in ("transformers", "vllm") else "hyperclova"
            if importlib.util.find_spec(package) is None:
                console.print(f"{package} is not installed: left out")
                continue
            if shape != SHIPPED and model == arguments.model:
                model = Path(scratch)
                write_random(shape, arguments.model, model, arguments.device)
            for cell in ask_worker(engine, model, missing, arguments, ends, console):
                record.add({"shape": shape, "engine": engine, **cell})
                rate = cell["tokens_per_second"]
                console.print(f"{shape}, {engine}, batch {cell['batch']}: {rate:.0f} tokens/s")


def ask_worker(
    engine: str,
    model: Path,
    batches: list[int],
    arguments: argparse.Namespace,
    ends: float,
    console: Console,
) -> Iterator[dict[str, Any]]:
    """The cells of one engine, each as it comes.

    Raises:
        TimeoutError: there is no time for all.
    """
    asked = {
        **{name: getattr(arguments, name) for name in ("device", "prompt_tokens", "tokens")},
        **{"engine": engine, "model": str(model), "batches": batches},
        **{"repeats": arguments.repeats, "seconds": ends - time.monotonic()},
    }
    log = arguments.output / f"{engine.replace(' ', '-')}.log"
    worker = str(Path(__file__).with_name("decode_worker.py"))
    came = 0
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, worker, json.dumps(asked)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        late = threading.Timer(ends - time.monotonic(), process.kill)
        late.daemon = True
        late.start()
        for line in process.stdout:
            came += 1
            yield json.loads(line)
        status = process.wait()
        late.cancel()
    if time.monotonic() > ends:
        raise TimeoutError
    if status or came < len(batches):
        said = log.read_text(encoding="utf-8")[-1500:]
        console.print(f"{engine} ended after {came} of {len(batches)} batches:\n{said}")


def write_random(shape: str, tokenizer: Path, target: Path, device: str) -> None:
    """Random weights of a size, with a tokenizer that has fewer ids; drawn where it is fast."""
    size = size_named(shape)
    with torch.device("meta"):
        model = GPT(GPTConfig(VOCABULARY, CONTEXT, size.layers, size.width, size.heads))
    model.to_empty(device=device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.02)
            else:
                parameter.fill_(1.0 if "norm.weight" in name else 0.0)
    save_model(model.to("cpu", torch.bfloat16), target, torch.bfloat16)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (target / file).write_bytes((tokenizer / file).read_bytes())


def table_of(shape: str, cells: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{shape}: tokens/s; step in ms (of it the device)")
    here = [cell for cell in cells if cell["shape"] == shape]
    engines = list(dict.fromkeys(cell["engine"] for cell in here))
    table.add_column("batch", justify="right")
    for engine in engines:
        table.add_column(engine, justify="right")
    for batch in sorted({cell["batch"] for cell in here}):
        found = {cell["engine"]: cell for cell in here if cell["batch"] == batch}
        table.add_row(str(batch), *(_text(found.get(engine)) for engine in engines))
    oracle = next((cell["ids"] for cell in here if cell["engine"] == "transformers"), None)
    if oracle:
        shares = []
        for engine in engines:
            ids = next(cell["ids"] for cell in here if cell["engine"] == engine)
            pairs = zip(ids, oracle, strict=True)
            shares.append(sum(_common(*pair) / len(pair[1]) for pair in pairs) / len(oracle))
        table.add_section()
        table.add_row("agrees", *(f"{share:.0%}" for share in shares))
    return table


def _text(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    device = cell.get("device_step_seconds")
    inside = "" if device is None else f" ({1000 * device:.2f})"
    return f"{cell['tokens_per_second']:.0f}; {1000 * cell['step_seconds']:.2f}{inside}"


def _common(left: list[int], right: list[int]) -> int:
    place = 0
    while place < min(len(left), len(right)) and left[place] == right[place]:
        place += 1
    return place


if __name__ == "__main__":
    main()

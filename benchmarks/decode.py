"""Tokens a second of our engine against CTranslate2, llama.cpp and ``transformers.generate``.

    python benchmarks/decode.py --shape 137M --output results
    python benchmarks/decode.py --model models/hyperclova-small --shape 350M
    python benchmarks/decode.py --model models/hyperclova-small --shape shipped

All engines run on the same weights, the same prompts as token ids and the same number of threads,
each in a process of its own (``decode_engines.py``, which also says how each is used). Engines that
cannot be imported are left out. With a size of the paper's Table 2 the weights are random and the
vocabulary has 51,200 ids, which our engine may all write.

Before anything is timed, our float32 ids must be those of ``transformers``; of the others we state
how far their greedy texts agree with them: the mean share of tokens before the first difference.
(Random weights put many tokens close together, so 8-bit texts leave sooner than with trained ones.)

What is timed: one request alone; so many at once, of mixed lengths; and requests that arrive at
random moments (Poisson) at so many places. Only tokens that were asked for count. Arrivals are the
same for all engines and come faster than any can serve (``--load`` times the best rate of the
requests at once), so that what is compared is throughput. The engines take turns; of several runs
the best counts, with new prompts each time, so that no prefix cache helps.

A step at batch 1 must read every matrix once. How long that takes at least follows from the
memory's speed, which is measured here: a large array, filled before, is summed by as many threads.
"""

import argparse
import importlib.util
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from shapes import SHIPPED, write_full

PACKAGES = {
    "ours float32": "hyperclova",
    "ours int8": "hyperclova",
    "transformers float32": "transformers",
    "CTranslate2 int8": "ctranslate2",
    "llama.cpp Q8_0": "llama_cpp",
}
ORACLE, EXACT, HERO = "transformers float32", "ours float32", "ours int8"
BYTES_PER_WEIGHT = {"float32": 4, "bfloat16": 2, "int8": 1, "Q8_0": 34 / 32}
MIXED_PROMPT, MIXED_TOKENS = (16, 256), (16, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=Path("models/hyperclova-small"))
    parser.add_argument(
        "--shape", nargs="+", default=["137M"], help="a size of Table 2; shipped: --model itself"
    )
    parser.add_argument("--engines", nargs="+", default=list(PACKAGES), choices=list(PACKAGES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", nargs="+", default=["64+64", "512+64"])
    parser.add_argument("--places", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--repeats", type=int, default=3, help="of what is not long anyway")
    parser.add_argument("--rounds", type=int, default=3, help="arriving requests for each place")
    parser.add_argument("--load", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="try the script out: few tokens")
    parser.add_argument("--output", type=Path, help="directory for a JSON file of each shape")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.alone, arguments.places = ["16+8", "40+8"], [2, 3]
        arguments.repeats, arguments.rounds = 1, 2
    console = Console(width=132, highlight=False)
    console.print(_machine(arguments.threads))
    for shape in arguments.shape:
        measured = Comparison(shape, arguments, console).run()
        if arguments.output:
            arguments.output.mkdir(parents=True, exist_ok=True)
            path = arguments.output / f"decode-{shape}.json"
            path.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


class Comparison:
    """All engines on one model."""

    def __init__(self, shape: str, arguments: argparse.Namespace, console: Console) -> None:
        self.shape, self.arguments, self.console = shape, arguments, console
        self.random = random.Random(arguments.seed)
        self.workers: dict[str, Worker] = {}
        self.rates: dict[str, dict[str, float]] = {}
        """Row -> engine -> useful tokens a second."""
        self.latencies: dict[str, dict[str, list[float]]] = {}

    def run(self) -> dict[str, Any]:
        began = time.perf_counter()
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            models = prepare(self.shape, self.arguments, scratch, self.console)
            config = json.loads((models["hyperclova"] / "config.json").read_text(encoding="utf-8"))
            self.vocabulary, self.context = config["vocab_size"], config["n_positions"]
            bandwidth = measure_bandwidth(self.arguments.threads)
            for name in self.arguments.engines:
                if PACKAGES[name] in models:
                    self.workers[name] = stack.enter_context(
                        worker(name, models[PACKAGES[name]], self.arguments.threads, scratch)
                    )
            agreement = self._agreement()
            steps = self._alone()
            for places in self.arguments.places:
                self._together(places)
        weights = _weights(config)
        self.console.print(self._table(agreement, steps, weights, bandwidth))
        seconds = time.perf_counter() - began
        self.console.print(
            f"{self.shape}: {weights / 1e6:.1f} M weights in matrices; memory reads at "
            f"{bandwidth / 1e9:.1f} GB/s; {seconds:.0f} s in all"
        )
        return {
            "shape": self.shape,
            "settings": {key: str(value) for key, value in vars(self.arguments).items()},
            "machine": _machine(self.arguments.threads),
            "bandwidth_bytes_per_second": bandwidth,
            "matrix_weights": weights,
            "agreement_with_transformers": agreement,
            "tokens_per_second": self.rates,
            "step_seconds": steps,
            "share_of_bandwidth_limit": {
                name: _limit(name, weights, bandwidth) / step for name, step in steps.items()
            },
            "latency_seconds": {
                row: {name: _quantiles(seen) for name, seen in engines.items()}
                for row, engines in self.latencies.items()
            },
        }

    # -- what is measured --------------------------------------------------------------------------

    def _agreement(self) -> dict[str, float]:
        """How far each engine's greedy texts are those of ``transformers``."""
        prompts = [self._prompt(length) for length in (16, 24, 40, 64)]
        tokens = 8 if self.arguments.quick else 32
        texts = {}
        for name, each in self.workers.items():
            each.ask("open", places=1)
            texts[name] = each.ask("greedy", prompts=prompts, tokens=tokens)
        if ORACLE not in texts:
            return {}
        if EXACT in texts and texts[EXACT] != texts[ORACLE]:
            raise SystemExit(f"{EXACT} and {ORACLE} write different ids; nothing was timed")
        return {
            name: statistics.fmean(
                _common(row, oracle) / tokens
                for row, oracle in zip(rows, texts[ORACLE], strict=True)
            )
            for name, rows in texts.items()
        }

    def _alone(self) -> dict[str, float]:
        """One request at a time; returns each engine's seconds for one step, first prompt size."""
        steps: dict[str, float] = {}
        for size in self.arguments.alone:
            length, tokens = map(int, size.split("+"))
            if length + tokens > self.context:
                continue
            whole: dict[str, list[float]] = {name: [] for name in self.workers}
            first: dict[str, list[float]] = {name: [] for name in self.workers}
            for _ in range(self.arguments.repeats):
                prompts = [self._prompt(length), self._prompt(length)]
                for name, each in self.workers.items():
                    whole[name].append(each.ask("alone", prompt=prompts[0], tokens=tokens))
                    first[name].append(each.ask("alone", prompt=prompts[1], tokens=1))
            self.rates[f"alone, {size}"] = {
                name: tokens / min(seconds) for name, seconds in whole.items()
            }
            self._tell(f"alone, {size}")
            if not steps:
                steps = {
                    name: (min(whole[name]) - min(first[name])) / (tokens - 1)
                    for name in self.workers
                }
        return steps

    def _tell(self, row: str) -> None:
        """Show progress: a run takes minutes."""
        rates = ", ".join(f"{name} {rate:.1f}" for name, rate in self.rates[row].items())
        self.console.print(f"{row}: {rates} tokens/s")

    def _together(self, places: int) -> None:
        for each in self.workers.values():
            each.ask("open", places=places)
            each.ask("serve", work=self._work(places, small=True), places=places)  # warm up
        best: dict[str, float] = dict.fromkeys(self.workers, 0.0)
        for _ in range(min(2, self.arguments.repeats)):
            work = self._work(places)
            for name, each in self.workers.items():
                finished = each.ask("serve", work=work, places=places)
                best[name] = max(best[name], _tokens(work) / max(finished))
        self.rates[f"{places} at once"] = best
        self._tell(f"{places} at once")
        work = self._work(places * self.arguments.rounds)
        rate = self.arguments.load * max(best.values()) * len(work) / _tokens(work)
        moment = 0.0
        for asked in work:
            asked[0] = moment
            moment += self.random.expovariate(rate)
        row = f"{places} places, arrivals"
        self.rates[row], self.latencies[row] = {}, {}
        for name, each in self.workers.items():
            finished = each.ask("serve", work=work, places=places)
            self.rates[row][name] = _tokens(work) / max(finished)
            self.latencies[row][name] = [
                end - asked[0] for end, asked in zip(finished, work, strict=True)
            ]
        self._tell(row)

    def _work(self, requests: int, small: bool = False) -> list[list[Any]]:
        """Requests of mixed lengths, all at the beginning."""
        small = small or self.arguments.quick
        (low, high), (least, most) = ((8, 16), (2, 6)) if small else (MIXED_PROMPT, MIXED_TOKENS)
        return [
            [0.0, self._prompt(self.random.randint(low, high)), self.random.randint(least, most)]
            for _ in range(requests)
        ]

    def _prompt(self, length: int) -> list[int]:
        return [self.random.randrange(1, self.vocabulary) for _ in range(length)]

    # -- what is shown -----------------------------------------------------------------------------

    def _table(
        self,
        agreement: dict[str, float],
        steps: dict[str, float],
        weights: int,
        bandwidth: float,
    ) -> Table:
        hero = HERO if HERO in self.workers else next(iter(self.workers))
        table = Table(title=f"{self.shape}: useful tokens a second (× what {hero} is of it)")
        table.add_column("")
        for name in self.workers:
            table.add_column(name, justify="right")
        for row, rates in self.rates.items():
            cells = (f"{rates[name]:.1f} ({rates[hero] / rates[name]:.2f})" for name in rates)
            table.add_row(row, *cells)
        table.add_section()
        for row, seen in self.latencies.items():
            table.add_row(
                f"{row}: seconds p50, p95",
                *("{:.1f}, {:.1f}".format(*_quantiles(seen[name]).values()) for name in seen),
            )
        table.add_section()
        if steps:
            table.add_row("step alone, ms", *(f"{1000 * step:.1f}" for step in steps.values()))
            table.add_row(
                "of the memory's limit",
                *(f"{_limit(n, weights, bandwidth) / step:.0%}" for n, step in steps.items()),
            )
        if agreement:
            table.add_row("greedy text agrees", *(f"{agreement[n]:.0%}" for n in self.workers))
        return table


# -- models ----------------------------------------------------------------------------------------


def prepare(
    shape: str, arguments: argparse.Namespace, scratch: Path, console: Console
) -> dict[str, Path]:
    """Write the model as each package wants it; package -> where."""
    ours = arguments.model.resolve()
    if shape != SHIPPED:
        ours = scratch / "model"
        write_full(shape, arguments.model, ours)
    wanted = {PACKAGES[name] for name in arguments.engines}
    models = {"hyperclova": ours, "transformers": ours}
    for package, format_, weights in (
        ("ctranslate2", "ctranslate2", "int8"),
        ("llama_cpp", "gguf", "q8_0"),
    ):
        if package not in wanted:
            continue
        if importlib.util.find_spec(package) is None:
            console.print(f"{package} is not installed: left out")
            continue
        models[package] = scratch / format_
        command = [sys.executable, "-m", "hyperclova", "export", str(ours), str(models[package])]
        subprocess.run(
            [*command, "--for", format_, "--weights", weights],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return models


# -- processes -------------------------------------------------------------------------------------


class Worker:
    """An engine's process."""

    def __init__(self, name: str, process: "subprocess.Popen[str]", log: Path) -> None:
        self._name, self._process, self._log = name, process, log
        self._read()  # it is ready

    def ask(self, question: str, **what: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"ask": question, **what}) + "\n")
        self._process.stdin.flush()
        return self._read().get("answer")

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._log.read_text(encoding="utf-8", errors="replace")[-3000:]
            raise SystemExit(f"{self._name} died:\n{said}")
        return json.loads(line)


@contextmanager
def worker(name: str, model: Path, threads: int, scratch: Path) -> Iterator[Worker]:
    log = scratch / f"{name.replace(' ', '-')}.log"
    script = Path(__file__).with_name("decode_engines.py")
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, str(script), name, str(model), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"},
        )
    try:
        yield Worker(name, process, log)
    finally:
        process.kill()
        process.wait()


# -- figures ---------------------------------------------------------------------------------------


def measure_bandwidth(threads: int) -> float:
    """Bytes a second at which ``threads`` threads read memory; the best of five."""
    # In a process of its own, as everything that computes here. 1 GiB, and written: pages that
    # nobody has written are not read from memory.
    code = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
array = torch.ones(1 << 28)
times = []
for _ in range(5):
    began = time.perf_counter()
    array.sum()
    times.append(time.perf_counter() - began)
print(array.nbytes / min(times))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(threads)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    return float(done.stdout)


def _weights(config: dict[str, Any]) -> int:
    """Weights of all matrices that a step reads; the head is the embedding."""
    width = config["n_embd"]
    return 12 * config["n_layer"] * width * width + config["vocab_size"] * width


def _limit(name: str, weights: int, bandwidth: float) -> float:
    """The least seconds of a step at batch 1."""
    return weights * BYTES_PER_WEIGHT[name.split()[-1]] / bandwidth


def _tokens(work: Sequence[Sequence[Any]]) -> int:
    return sum(tokens for _, _, tokens in work)


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    for place, (a, b) in enumerate(zip(left, right, strict=True)):
        if a != b:
            return place
    return len(left)


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return {"p50": cuts[9], "p95": cuts[18]}


def _machine(threads: int) -> str:
    versions = []
    for package in ("torch", "transformers", "ctranslate2", "llama_cpp_python"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    cpu = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else [])
        if line.startswith("model name")
    ]
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {threads} threads "
        f"each; Python {platform.python_version()}, {', '.join(versions)}"
    )


if __name__ == "__main__":
    main()

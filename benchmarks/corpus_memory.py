"""Memory of ``hyperclova corpus build`` on an input of gigabytes, by process and stage.

    HYPERCLOVA_DATA=DIR python benchmarks/corpus_memory.py SCRATCH --gigabytes 5 --workers 2

The input is made in ``SCRATCH/pretrain`` by repetition with variation: every round goes through the
real corpus and gives each document another fate, drawn from the seed, the round and its id. One
in twenty stays as it is (an exact duplicate), one in five loses a word in fifty (a near-duplicate),
the others a word in four, their digits and the order of their sentences. The build is that of
``configs/corpus/shared.toml``, without evaluation sets. ``--few-rules`` takes four of its rules, to
save time: all stages are there, and a rule holds one document at a time.

The kernel keeps the high-water mark of every process's resident memory (``VmHWM``), mapped files
included; it is read twice a second and reset at each stage. ``SCRATCH/memory.json`` has the peaks.
Run the same command again after an interruption: the build goes on, and the peaks are of both runs.
Needs Linux. ``SCRATCH`` must hold twice the input; nothing is deleted but what a build deletes.
"""

import argparse
import itertools
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import zstandard

from hyperclova import directories, durable
from hyperclova.corpus.documents import read_lines

STAGES = (
    *("read", "clean", "lines", "sign", "exact", "bands", "shingles", "verify", "choose"),
    *("finish", "report"),
)
EXACT, NEAR = 0.05, 0.25
"""Shares of the documents that stay as they are, and that stay or are changed a little."""
FILE_BYTES = 64_000_000
FEW_RULES = '[{rule="unicode"},{rule="whitespace"},{rule="repeated-title"},{rule="too-short"}]'
VOCABULARY = 2000
"""Documents of each source whose words are put in place of others."""
_SENTENCE = re.compile(r"(?<=[.!?]) ")


def vary(text: str, words: list[str], generator: random.Random) -> str:
    """``text`` as another round has it."""
    fate = generator.random()
    if fate < EXACT:
        return text
    if fate >= NEAR:
        digits = list("0123456789")
        generator.shuffle(digits)
        sentences = _SENTENCE.split(text.translate(str.maketrans("0123456789", "".join(digits))))
        generator.shuffle(sentences)
        text = " ".join(sentences)
    parts = text.split(" ")
    changes = max(1, len(parts) // (50 if fate < NEAR else 4))
    places = generator.choices(range(len(parts)), k=changes)
    for place, word in zip(places, generator.choices(words, k=changes), strict=True):
        parts[place] = word
    return " ".join(parts)


def rounds(seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Documents of the real corpus again and again, with the name of the file they are from."""
    files = sorted((directories.data() / "pretrain").glob("*.jsonl.zst"))
    vocabulary = {
        file: [
            word
            for line in itertools.islice(read_lines(file), VOCABULARY)
            for word in orjson.loads(line)["text"].split()
        ]
        for file in files
    }
    for number in itertools.count():
        for file in files:
            name = f"{number:02}-{file.name.partition('.')[0]}"
            for line in read_lines(file):
                record = orjson.loads(line)
                if number:
                    generator = random.Random(f"{seed} {number} {record['id']}")
                    record["text"] = vary(record["text"], vocabulary[file], generator)
                    record["id"] += f"-{number}"
                yield name, record


def make(directory: Path, gigabytes: float, seed: int) -> None:
    """Write the input in files of :data:`FILE_BYTES` of text."""
    left = gigabytes * 1e9
    records = rounds(seed)
    pair = next(records)
    for number in itertools.count():
        name, size = pair[0], 0
        with (
            durable.writing(directory / f"{name}-{number:04}.jsonl.zst") as file,
            zstandard.ZstdCompressor(1).stream_writer(file, closefd=False) as stream,
        ):
            while pair[0] == name and size < min(FILE_BYTES, left):
                stream.write(orjson.dumps(pair[1], option=orjson.OPT_APPEND_NEWLINE))
                size += len(pair[1]["text"].encode())
                pair = next(records)
        left -= size
        if left <= 0:
            return


class Watch(threading.Thread):
    """High-water marks of a build's processes, by stage."""

    def __init__(self, parent: int, output: Path, peaks: dict[str, dict[str, float]]) -> None:
        super().__init__(daemon=True)
        self._parent, self._output, self._peaks = parent, output, peaks

    def run(self) -> None:
        stage = self._stage()
        while True:
            self._sample(stage)
            if (now := self._stage()) != stage:
                self._sample(stage)
                stage = now
                for process in self._processes():
                    with suppress(OSError):  # it may have ended
                        (Path("/proc") / process / "clear_refs").write_text("5")
            time.sleep(0.5)

    def _stage(self) -> str:
        if (self._output / "build.json").exists():
            return STAGES[-1]
        begun = [name for name in STAGES if (self._output / "work" / name).exists()]
        return begun[-1] if begun else STAGES[0]

    def _processes(self) -> list[str]:
        children = Path(f"/proc/{self._parent}/task/{self._parent}/children")
        with suppress(OSError):
            return [str(self._parent), *children.read_text().split()]
        return []

    def _sample(self, stage: str) -> None:
        found = self._peaks.setdefault(stage, {"parent": 0.0, "worker": 0.0, "anonymous": 0.0})
        for process in self._processes():
            with suppress(OSError):
                content = (Path("/proc") / process / "status").read_text()
                fields = dict(line.split(":", 1) for line in content.splitlines())
                if "VmHWM" not in fields:
                    continue
                kind = "parent" if process == str(self._parent) else "worker"
                peak, resident = (
                    int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmHWM", "RssAnon")
                )
                found[kind] = max(found[kind], peak)
                found["anonymous"] = max(found["anonymous"], resident)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--few-rules", action="store_true")
    arguments = parser.parse_args()
    scratch: Path = arguments.scratch
    inputs = scratch / "pretrain"
    made = scratch / "made.json"
    if not made.exists():
        inputs.mkdir(parents=True, exist_ok=True)
        make(inputs, arguments.gigabytes, arguments.seed)
        durable.write_json(made, {"gigabytes": arguments.gigabytes, "seed": arguments.seed})
    output, record = scratch / "corpus", scratch / "memory.json"
    peaks = json.loads(record.read_text()) if record.exists() else {}
    configuration = Path(__file__).parents[1] / "configs" / "corpus" / "shared.toml"
    started = time.perf_counter()
    build = subprocess.Popen(
        [
            *(sys.executable, "-m", "hyperclova", "corpus", "build", str(configuration)),
            *(f"output={output}", "decontamination.files=[]"),
            *([f"rules={FEW_RULES}"] if arguments.few_rules else []),
            *("--workers", str(arguments.workers)),
        ],
        env={**os.environ, "HYPERCLOVA_DATA": str(scratch)},
    )
    Watch(build.pid, output, peaks).start()
    while build.poll() is None:
        time.sleep(2)
        durable.write_json(record, peaks)
    print(f"{'stage':>10} {'parent':>10} {'a worker':>10} {'of it not mapped files':>24}")
    for stage in STAGES:
        if stage in peaks:
            row = peaks[stage]
            print(
                f"{stage:>10} {row['parent']:7.0f} MB {row['worker']:7.0f} MB "
                f"{row['anonymous']:21.0f} MB"
            )
    print(f"{time.perf_counter() - started:,.0f} s in this run, exit status {build.returncode}")
    sys.exit(build.returncode)


if __name__ == "__main__":
    main()

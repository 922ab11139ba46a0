"""A whole build: the same bytes however it is run, killed or divided."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hyperclova.corpus.account import Counter
from hyperclova.corpus.build import build
from hyperclova.corpus.config import (
    CorpusConfig,
    Decontamination,
    Duplicates,
    Input,
    RepeatedLines,
    Sampling,
)
from hyperclova.corpus.documents import Document, read_lines, serialise
from hyperclova.corpus.explain import find_dropped
from hyperclova.corpus.record import read_outputs
from hyperclova.corpus.tally import Tally
from hyperclova.errors import UserError

NAMES = ("민지", "서준", "하윤", "도현", "지우", "은서", "현우", "수아", "태오", "나은")
PLACES = ("시장", "바닷가", "도서관", "기차역", "언덕", "공원", "학교", "식당", "강가", "골목")
THINGS = ("사과", "편지", "우산", "사진", "모자", "빵", "노래", "그림", "자전거", "꽃다발")
DEEDS = (
    "{name}은 아침 일찍 {place}에 나가 {thing} 하나를 골라 들고 한참을 망설였다.",
    "그날 {place}에서는 {thing} 때문에 작은 다툼이 있었지만 {name} 덕분에 금방 풀렸다.",
    "{name}에게 {thing}을 건네준 사람은 {place}에서 오래 일한 아주머니였다.",
    "비가 그치자 {place}까지 걸어가서 {thing}을 찾아오겠다고 {name}이 말했다.",
    "우리는 {place}에 앉아 {thing} 이야기를 나누며 해가 지기를 기다렸다.",
    "{name}의 할머니는 {thing}을 보면 언제나 옛날 {place}을 떠올리신다고 한다.",
)


def story(seed: int, sentences: int = 8) -> str:
    """Some sentences that no other seed gives in this order."""
    chance = random.Random(seed)
    return "\n".join(
        chance.choice(DEEDS).format(
            name=chance.choice(NAMES), place=chance.choice(PLACES), thing=chance.choice(THINGS)
        )
        + f" 벌써 {chance.randrange(10_000)}일 전의 일이다."
        for _ in range(sentences)
    )


FOOTER = "이 글의 저작권은 동네 이야기 모임에 있습니다."
EVALUATION = "도서관 앞에서 잃어버린 파란 우산을 찾아 준 사람은 누구인가"


def corpus() -> Iterator[Document]:
    for number in range(240):
        source = ("blog", "cafe", "wiki")[number % 3]
        text = story(number)
        if source == "blog":
            text += f"\n{FOOTER}"
        yield Document(f"doc-{number}", source, f"이야기 {number}", text, {"licence": "CC0-1.0"})
    for number in range(12):  # the same words in another source, other white space
        yield Document(f"copy-{number}", "modu", "", story(number).replace("\n", "\n\n"))
    for number in range(30, 42):  # one sentence of twelve is new
        yield Document(f"near-{number}", "modu", "", story(number) + "\n끝으로 한마디를 덧붙인다.")
    yield Document("leak", "cafe", "", story(900) + f"\n{EVALUATION}?\n" + story(901))
    yield Document("short", "cafe", "", "짧다.")


@pytest.fixture
def config(tmp_path: Path) -> CorpusConfig:
    files = [tmp_path / "in" / f"part-{part}.jsonl" for part in range(4)]
    files[0].parent.mkdir()
    for part, path in enumerate(files):
        lines = [serialise(document) for document in list(corpus())[part::4]]
        lines.insert(3, b'{"text": "half a line\n')
        path.write_bytes(b"".join(lines))
    evaluation = tmp_path / "quiz.txt"
    evaluation.write_text(f"{EVALUATION}\n", encoding="utf-8")
    return CorpusConfig(
        output=tmp_path / "out",
        inputs=(Input(str(tmp_path / "in" / "*.jsonl")),),
        rules=({"rule": "unicode"}, {"rule": "too-short", "characters": 30}),
        finish=({"rule": "anonymise"},),
        piece_megabytes=0.03,
        repeated_lines=RepeatedLines(documents=20),
        duplicates=Duplicates(),
        decontamination=Decontamination((evaluation,)),
        sampling=Sampling(held_out=0.1, epochs={"blog": 0.5, "cafe": 2.0}),
    )


def digests(output: Path) -> dict[str, str]:
    """Of every file that a build leaves."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name != "plan.json" and "work" not in path.parts
    }


def test_documents_end_where_they_belong(config: CorpusConfig) -> None:
    build(config, workers=1)
    record = json.loads((config.output / "build.json").read_text(encoding="utf-8"))
    tally = Tally.from_mapping(record["tally"])
    written = list(read_outputs(config.output, "train"))
    held_out = {document.id for document in read_outputs(config.output, "held-out")}
    ids = {document.id for document in written}

    assert "short" not in ids | held_out and "leak" not in ids | held_out
    assert find_dropped(config.output, "leak")[0]["rule"] == "contaminated:quiz"
    assert find_dropped(config.output, "short")[0]["rule"] == "too-short"
    # Of a text and its copy exactly one is left before sampling.
    gone = {label: set() for label in record["order"]}
    for path in (config.output / "dropped").glob("*.jsonl.zst"):
        for line in read_lines(path):
            entry = json.loads(line)
            gone[entry["rule"]].add(entry["id"])
    for number in range(12):
        assert len({f"doc-{number}", f"copy-{number}"} & gone["exact-duplicate"]) == 1
    for number in range(30, 42):
        assert len({f"doc-{number}", f"near-{number}"} & gone["near-duplicate"]) == 1
    assert len(gone["exact-duplicate"]) == 12 and len(gone["near-duplicate"]) == 12

    assert FOOTER not in "".join(document.text for document in written)
    assert tally.effects["repeated-lines"]["blog"].changed == 80
    assert not held_out & ids
    cafe = [document.id for document in written if document.source == "cafe"]
    assert len(cafe) == 2 * len(set(cafe))
    drawn = sum(document.source == "blog" for document in written)
    assert 0 < drawn < 60
    assert all(document.meta["licence"] for document in written if document.id[:3] == "doc")
    assert record["inputs"][0]["quarantined"] == 1
    assert len(list(read_lines(config.output / "quarantine.jsonl.zst"))) == 4


def test_the_figures_add_up(config: CorpusConfig) -> None:
    build(config, workers=1)
    record = json.loads((config.output / "build.json").read_text(encoding="utf-8"))
    tally = Tally.from_mapping(record["tally"])
    for source, before in tally.before.items():
        effects = [tally.effects[label].get(source) for label in record["order"]]
        dropped = sum(effect.dropped for effect in effects if effect)
        extra = tally.effects["sampling"][source].changed
        assert before.documents - dropped + extra == tally.after[source].documents
        seen = before.documents
        for label, effect in zip(record["order"], effects, strict=True):
            if effect:
                assert effect.seen == seen, label
                seen -= effect.dropped
    outputs = {output["path"]: output["documents"] for output in record["outputs"]}
    assert sum(outputs.values()) == sum(v.documents for v in tally.after.values())
    for path, documents in outputs.items():
        assert len(list(read_lines(config.output / path))) == documents


def test_any_number_of_workers_writes_the_same_bytes(config: CorpusConfig, tmp_path: Path) -> None:
    counter = Counter("letters", lambda texts: [len(text) for text in texts])
    build(config, workers=1, counter=counter)
    other = replace(config, output=tmp_path / "other")
    build(other, workers=3, counter=counter)
    first = digests(config.output)
    assert first == digests(other.output)
    assert any(name.startswith("train/") for name in first)


def _toml(config: CorpusConfig, path: Path) -> Path:
    lines = [
        f'output = "{config.output}"',
        f"piece_megabytes = {config.piece_megabytes}",
        f'[[inputs]]\npath = "{config.inputs[0].path}"',
        *(
            f"[[{name}]]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in t.items())
            for name, tables in (("rules", config.rules), ("finish", config.finish))
            for t in tables
        ),
        f"[repeated_lines]\ndocuments = {config.repeated_lines.documents}",
        f'[decontamination]\nfiles = ["{config.decontamination.files[0]}"]',
        f"[sampling]\nheld_out = {config.sampling.held_out}\nepochs = {{blog = 0.5, cafe = 2.0}}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_killed_again_and_again_it_ends_with_the_same_bytes(
    config: CorpusConfig, tmp_path: Path
) -> None:
    build(replace(config, output=tmp_path / "whole"), workers=1)
    path = _toml(config, tmp_path / "corpus.toml")
    command = [sys.executable, "-m", "hyperclova", "corpus", "build", str(path)]
    chance = random.Random(3)
    killed = 0
    for attempt in range(40):
        process = subprocess.Popen(
            [*command, "--workers", "2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            # First near the beginning, then later and later, so that all stages get their turn.
            process.wait(timeout=1.0 + attempt * 0.4 + chance.random())
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        assert process.stderr is not None
        assert process.returncode == 0, process.stderr.read().decode()
        break
    assert (config.output / "build.json").exists()
    assert killed >= 1
    mine = {
        name: digest
        for name, digest in digests(config.output).items()
        if not name.startswith("report/")
    }
    assert mine == digests(tmp_path / "whole")


def test_a_cluster_that_loses_a_worker_writes_the_same_bytes(
    config: CorpusConfig, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    import psutil

    build(replace(config, output=tmp_path / "alone"), workers=1)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0
    ) as cluster:
        victims: list[int] = []

        def kill_one(stage: str, done: int, total: int) -> None:
            if stage == "clean" and done and not victims:
                pid = next(iter(cluster.workers.values())).pid
                victims.append(pid)
                psutil.Process(pid).kill()

        build(config, cluster=cluster.scheduler_address, progress=kill_one)
    assert victims
    assert digests(config.output) == digests(tmp_path / "alone")


def test_workers_do_not_outlive_a_build_that_is_killed(
    config: CorpusConfig, tmp_path: Path
) -> None:
    import psutil

    path = _toml(config, tmp_path / "corpus.toml")
    process = subprocess.Popen(
        [sys.executable, "-m", "hyperclova", "corpus", "build", str(path), "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    workers: list[psutil.Process] = []
    while len(workers) < 2 and process.poll() is None:
        workers = [
            child
            for child in psutil.Process(process.pid).children()
            if any("spawn_main" in word for word in child.cmdline())
        ]
        time.sleep(0.05)
    assert len(workers) == 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive


def test_a_finished_build_is_not_done_again(config: CorpusConfig) -> None:
    path = build(config, workers=1)
    before = path.stat().st_mtime_ns
    stages: list[str] = []
    build(config, workers=1, progress=lambda stage, done, total: stages.append(stage))
    assert path.stat().st_mtime_ns == before
    assert not stages


def test_another_configuration_is_refused_and_fresh_begins_again(config: CorpusConfig) -> None:
    build(config, workers=1)
    other = replace(config, seed=1)
    with pytest.raises(UserError, match="begun with other config"):
        build(other, workers=1)
    build(other, workers=1, fresh=True)


def test_mistakes_are_told_before_anything_is_done(config: CorpusConfig, tmp_path: Path) -> None:
    cases = (
        (replace(config, inputs=()), "nothing to read"),
        (replace(config, inputs=(Input("$NO_SUCH_PLACE/x.jsonl"),)), "not set"),
        (replace(config, inputs=(Input(str(tmp_path / "none.jsonl")),)), "no such file"),
        (replace(config, rules=({"rule": "to-short"},)), "no rule is called 'to-short'"),
        (replace(config, rules=({"rule": "too-short", "letters": 3},)), "unknown key letters"),
        (replace(config, finish=({"name": "x"},)), 'needs rule = "NAME"'),
        (replace(config, rules=({"rule": "json:JSONEncoder"},)), "not a Rule"),
        (
            replace(config, decontamination=Decontamination((tmp_path / "no.txt",))),
            "no.txt: can't be read",
        ),
    )
    for broken, message in cases:
        with pytest.raises(UserError, match=message):
            build(broken, workers=1)
        assert not config.output.exists() or not any(config.output.iterdir())


def test_a_directory_with_other_things_is_left_alone(config: CorpusConfig) -> None:
    config.output.mkdir()
    (config.output / "thesis.txt").write_text("nine years of work", encoding="utf-8")
    for fresh in (False, True):
        with pytest.raises(UserError, match="holds no build"):
            build(config, workers=1, fresh=fresh)
    assert (config.output / "thesis.txt").exists()


def test_time_is_not_part_of_the_result(config: CorpusConfig, tmp_path: Path) -> None:
    """Nothing in the output says when it was made: zstd frames and JSON alike."""
    build(config, workers=1)
    first = digests(config.output)
    time.sleep(1.1)
    other = replace(config, output=tmp_path / "later")
    build(other, workers=1)
    assert first == digests(other.output)

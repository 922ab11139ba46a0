"""The demonstration corpus through the whole pipeline: what is planted in it, and all the rest."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from hyperclova import configuration
from hyperclova.corpus.build import build
from hyperclova.corpus.config import SOURCES, CorpusConfig
from hyperclova.corpus.documents import Document, read_lines
from hyperclova.corpus.readers import find_files, format_of, read_file
from hyperclova.corpus.record import read_outputs
from hyperclova.corpus.stages.cleaning import build_rules

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "examples" / "corpus"
PLANTED = tomllib.loads((CORPUS / "planted.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Demo:
    """A finished build of the demonstration corpus, without sampling."""

    config: CorpusConfig
    read: dict[str, Document]
    written: dict[str, str]
    """Texts by document id."""
    dropped: dict[str, str]
    """Names of rules, without the sources they are limited to, by document id."""
    quarantined: list[tuple[str, int]]
    """Files and lines."""
    record: dict[str, Any]
    """build.json."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    output = tmp_path_factory.mktemp("corpus") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        config = configuration.load(
            CorpusConfig,
            Path("configs/corpus/demo.toml"),
            [f'output="{output}"', "sampling.epochs={}"],
        )
        record = orjson.loads(build(config, workers=2).read_bytes())
        yield Demo(
            config=config,
            read={document.id: document for document in _read(config)},
            written={
                document.id: document.text
                for split in ("train", "held-out")
                for document in read_outputs(output, split)
            },
            dropped={
                account["id"]: account["rule"].partition(" ")[0]
                for path in sorted((output / "dropped").glob("*.jsonl.zst"))
                for account in map(orjson.loads, read_lines(path))
            },
            quarantined=[
                (broken["file"], broken["line"])
                for broken in map(orjson.loads, read_lines(output / "quarantine.jsonl.zst"))
            ],
            record=record,
        )


def _read(config: CorpusConfig) -> Iterator[Document]:
    for source in config.inputs:
        for path in find_files(source):
            yield from read_file(path, source, lambda record: None)


def _planted(outcome: str) -> list[Any]:
    documents = [entry for entry in PLANTED["documents"] if entry["outcome"] == outcome]
    assert documents
    return [pytest.param(entry, id=entry["id"]) for entry in documents]


@pytest.mark.parametrize("entry", _planted("dropped"))
def test_it_drops_what_is_planted_to_be_dropped(demo: Demo, entry: dict[str, Any]) -> None:
    assert demo.dropped.get(entry["id"]) == entry["rule"], entry["what"]
    assert entry["id"] not in demo.written


@pytest.mark.parametrize("entry", _planted("changed"))
def test_it_mends_what_is_planted_to_be_mended(demo: Demo, entry: dict[str, Any]) -> None:
    document, text = demo.read[entry["id"]], demo.written[entry["id"]]
    for piece in entry.get("holds", []):
        assert piece in text, entry["what"]
    for piece in entry.get("lacks", []):
        assert piece not in text, entry["what"]
        if not entry["id"].endswith(".html"):  # reading a page leaves out its menus
            assert piece in document.text or piece in str(document.meta)


@pytest.mark.parametrize("entry", _planted("kept"))
def test_it_keeps_what_only_looks_faulty(demo: Demo, entry: dict[str, Any]) -> None:
    assert demo.read[entry["id"]].text in demo.written[entry["id"]], entry["what"]


@pytest.mark.parametrize("group", PLANTED["duplicates"], ids=lambda group: group["ids"][-1])
def test_one_of_a_group_of_duplicates_stays(demo: Demo, group: dict[str, Any]) -> None:
    gone = [identifier for identifier in group["ids"] if identifier not in demo.written]
    assert len(gone) == len(group["ids"]) - 1, group["what"]
    assert {demo.dropped[identifier] for identifier in gone} == {f"{group['kind']}-duplicate"}


def test_alike_is_not_the_same(demo: Demo) -> None:
    for group in PLANTED["distinct"]:
        assert set(group["ids"]) <= demo.written.keys(), group["what"]


def test_broken_records_are_put_aside_and_cost_no_other(demo: Demo) -> None:
    expected = [(entry["file"], entry["line"]) for entry in PLANTED["quarantined"]]
    assert sorted(demo.quarantined) == sorted(expected)
    assert {"comments-sound-1", "comments-sound-2"} <= demo.written.keys()


def test_clean_documents_come_through_as_they_are(demo: Demo) -> None:
    planted = {entry["id"] for entry in PLANTED["documents"]}
    planted.update(*(group["ids"] for group in PLANTED["duplicates"]))
    clean = demo.read.keys() - planted
    assert len(clean) > 200
    assert {
        identifier: demo.dropped.get(identifier) for identifier in clean - demo.written.keys()
    } == {}
    for identifier in sorted(clean):
        text = demo.read[identifier].text
        first, _, body = text.partition("\n")
        if first.lstrip("# ") == demo.read[identifier].title:
            text = body.strip()  # pages repeat their title above the text
        assert text in demo.written[identifier]


def test_the_figures_add_up(demo: Demo) -> None:
    tally = demo.record["tally"]
    assert sorted(tally["before"]) == sorted(SOURCES)
    before = Counter(document.source for document in demo.read.values())
    assert {source: volume["documents"] for source, volume in tally["before"].items()} == before
    dropped: Counter[str] = Counter()
    for by_source in tally["effects"].values():
        dropped.update({source: effect["dropped"] for source, effect in by_source.items()})
    assert dropped.total() == len(demo.dropped)
    after = {source: volume["documents"] for source, volume in tally["after"].items()}
    assert after == {source: before[source] - dropped[source] for source in SOURCES}
    assert sum(after.values()) == len(demo.written)
    inputs = demo.record["inputs"]
    assert sum(file["documents"] for file in inputs) == len(demo.read)
    assert sum(file["quarantined"] for file in inputs) == len(demo.quarantined)


def test_it_covers_every_source_format_and_rule_of_ours(demo: Demo) -> None:
    formats = {
        format_of(path, source) for source in demo.config.inputs for path in find_files(source)
    }
    assert formats == {"jsonl", "csv", "parquet", "html", "markdown", "mediawiki"}
    effects = demo.record["tally"]["effects"]
    idle = [
        label
        for label in demo.record["order"]
        if label != "sampling"
        and not any(effect["changed"] + effect["dropped"] for effect in effects[label].values())
    ]
    assert idle == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs" / "corpus").glob("*.toml")), ids=lambda path: path.name
)
def test_the_configurations_we_ship_are_sound(path: Path) -> None:
    config = configuration.load(CorpusConfig, path)
    rules, finish = build_rules(config)
    assert rules
    assert finish

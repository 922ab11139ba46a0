"""What ``corpus explain`` tells, over the demonstration corpus."""

from pathlib import Path

import pytest

from hyperclova import configuration
from hyperclova.corpus.build import build
from hyperclova.corpus.config import CorpusConfig
from hyperclova.corpus.explain import explain, find_document, find_dropped
from hyperclova.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CorpusConfig:
    monkeypatch.chdir(ROOT)
    return configuration.load(
        CorpusConfig, ROOT / "configs" / "corpus" / "demo.toml", [f"output={tmp_path / 'demo'}"]
    )


def test_every_rule_is_named_until_one_drops_the_document(demo: CorpusConfig) -> None:
    document = find_document("examples/corpus/kin.jsonl", "kin-14", demo)
    opinions = {opinion.label: opinion for opinion in explain(document, demo)}
    assert opinions["profanity"].outcome == "kept"
    assert opinions["news-boilerplate (news)"].outcome == "not asked"
    assert opinions["prefix"].outcome == "changed"
    assert list(opinions)[-1] == "prefix"


def test_it_agrees_with_the_build(demo: CorpusConfig) -> None:
    """Documents of one file: what explain says and what the build did."""
    build(demo, workers=1)
    path = "examples/corpus/kin.jsonl"
    dropped_by_rules = 0
    for line in (ROOT / path).read_text(encoding="utf-8").splitlines():
        identifier = line.split('"id": "')[1].split('"')[0]
        last = list(explain(find_document(path, identifier, demo), demo))[-1]
        account = [record["rule"] for record in find_dropped(demo.output, identifier)]
        if last.outcome == "dropped" and not {"exact-duplicate", "near-duplicate"} & set(account):
            assert account == [last.label]
            dropped_by_rules += 1
    assert dropped_by_rules


def test_an_unknown_document_is_an_error_that_names_the_file(demo: CorpusConfig) -> None:
    with pytest.raises(UserError, match=r"kin\.jsonl: holds no document with the id 'nobody'"):
        find_document("examples/corpus/kin.jsonl", "nobody", demo)

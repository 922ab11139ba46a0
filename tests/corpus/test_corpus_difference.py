"""Two builds compared."""

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from hyperclova.corpus.difference import EXAMPLES, compare, to_mapping
from hyperclova.corpus.difference_table import render
from hyperclova.corpus.documents import Document, serialise
from hyperclova.corpus.rule import Verdict
from hyperclova.corpus.tally import Tally, Volume
from hyperclova.errors import UserError


def document(number: int, text: str = "같은 글", source: str = "wiki") -> Document:
    return Document(f"{source}:{number}", source, "제목", f"{text} {number}")


def build(
    output: Path,
    train: list[Document],
    held_out: list[Document] | None = None,
    dropped: int = 0,
    **config: Any,
) -> Path:
    """Write an output directory whose record fits its files."""
    tally = Tally()
    splits = {"train": train, "held-out": held_out or []}
    for split, documents in splits.items():
        (output / split).mkdir(parents=True)
        for half in (0, 1):  # two files, so that neither order nor number of files matters
            lines = b"".join(map(serialise, documents[half::2]))
            path = output / split / f"{half:05}.jsonl.zst"
            path.write_bytes(zstandard.compress(lines))
        for each in documents:
            tally.after.setdefault(each.source, Volume()).add(each.text)
            if split == "held-out":
                tally.held_out[each.source] = tally.held_out.get(each.source, 0) + 1
    for number in range(dropped):
        tally.note("too-short", document(-number), Verdict(None, "short"))
    record = {
        "format": 1,
        "config": config,
        "versions": {"hyperclova": "0.1.0"},
        "inputs": [],
        "tally": tally.to_mapping(),
        "order": ["too-short"],
        "tokens": None,
        "outputs": [],
    }
    (output / "build.json").write_text(json.dumps(record), encoding="utf-8")
    return output


def shown(difference: Any, width: int = 140) -> str:
    from rich.console import Console

    console = Console(width=width)
    with console.capture() as capture:
        console.print(render(difference))
    return capture.get()


def test_the_same_build_has_no_difference(tmp_path: Path) -> None:
    documents = [document(number) for number in range(50)]
    first = build(tmp_path / "a", documents[:40], documents[40:], seed=1)
    second = build(tmp_path / "b", documents[:40][::-1], documents[40:], seed=1)
    difference = compare(first, second)
    assert difference.same_documents and difference.documents.shared == 50
    assert difference.config == difference.versions == difference.effects == ()
    assert "Both builds wrote the same documents." in shown(difference)


def test_documents_are_told_apart_by_id_text_and_split(tmp_path: Path) -> None:
    documents = [document(number) for number in range(100)]
    first = build(tmp_path / "a", documents[:90], documents[90:])
    changed = [document(number, "바뀐 글") for number in range(5, 8)]
    second = build(
        tmp_path / "b",
        [*documents[8:90], *changed, *documents[90:92], document(500, source="blog")],
        documents[92:],
    )
    found = compare(first, second).documents
    assert found.shared == 95
    assert found.only_first.count == 5
    assert set(found.only_first.examples) == {f"wiki:{number}" for number in range(5)}
    assert found.only_second.examples == ("blog:500",)
    assert set(found.text_changed.examples) == {"wiki:5", "wiki:6", "wiki:7"}
    assert set(found.split_changed.examples) == {"wiki:90", "wiki:91"}
    assert not compare(first, second).same_documents


def test_copies_are_one_document_and_a_change_of_figures(tmp_path: Path) -> None:
    documents = [document(number) for number in range(10)]
    first = build(tmp_path / "a", documents)
    second = build(tmp_path / "b", documents + documents)
    difference = compare(first, second)
    assert difference.documents.shared == 10
    assert difference.documents.text_changed.count == 0
    assert not difference.same_documents  # the figures tell
    total = difference.sources[-1]
    assert (total.source, total.first.documents, total.second.documents) == ("total", 10, 20)


def test_two_texts_under_one_id_are_both_compared(tmp_path: Path) -> None:
    pair = [document(1, "하나"), document(1, "둘")]
    first = build(tmp_path / "a", pair)
    assert compare(first, build(tmp_path / "b", pair[::-1])).same_documents
    other = build(tmp_path / "c", [document(1, "하나"), document(1, "셋")])
    assert compare(first, other).documents.text_changed.count == 1


def test_examples_are_few_and_the_same_every_time(tmp_path: Path) -> None:
    first = build(tmp_path / "a", [document(number) for number in range(200)])
    second = build(tmp_path / "b", [])
    found = compare(first, second).documents.only_first
    assert found.count == 200 and len(found.examples) == EXAMPLES
    assert len(set(found.examples)) == EXAMPLES
    assert compare(first, second).documents.only_first == found
    assert compare(second, first).documents.only_second == found


def test_figures_by_source_and_rule(tmp_path: Path) -> None:
    first = build(tmp_path / "a", [document(1), document(2, source="news")], dropped=3)
    second = build(tmp_path / "b", [document(1, "훨씬 더 긴 글")], dropped=5)
    difference = compare(first, second)
    rows = {row.source: row for row in difference.sources}
    assert list(rows) == ["news", "wiki", "total"]
    assert rows["news"].second.documents == 0
    wiki = rows["wiki"]
    assert wiki.second.characters - wiki.first.characters == len("훨씬 더 긴 글") - len("같은 글")
    assert wiki.second.bytes == len("훨씬 더 긴 글 1".encode())
    (effect,) = difference.effects
    assert effect.label == "too-short"
    assert effect.first is not None and effect.second is not None
    assert (effect.first.dropped, effect.second.dropped) == (3, 5)
    text = shown(difference)
    assert "3 → 5" in text and "−1" in text


def test_settings_have_dotted_names_and_rules_go_by_their_labels(tmp_path: Path) -> None:
    short = {"rule": "too-short", "characters": 30}
    wiki = {"path": "wiki.jsonl", "source": "wiki"}
    first = build(
        tmp_path / "a",
        [],
        seed=0,
        rules=[{"rule": "unicode"}, short],
        inputs=[wiki],
        sampling={"held_out": 0.01, "epochs": {"wiki": 2.0}},
    )
    second = build(
        tmp_path / "b",
        [],
        seed=0,
        rules=[
            {"rule": "spam", "sources": ["blog"]},
            {"rule": "unicode"},
            {**short, "characters": 20},
        ],
        inputs=[{"path": "news.jsonl"}, wiki],
        sampling={"held_out": 0.02, "epochs": {}},
    )
    changes = {
        change.name: (change.first, change.second) for change in compare(first, second).config
    }
    assert changes == {
        "inputs[news.jsonl].path": (None, "news.jsonl"),
        "rules (order)": (["unicode", "too-short"], ["spam (blog)", "unicode", "too-short"]),
        "rules.spam (blog).sources": (None, ["blog"]),
        "rules.too-short.characters": (30, 20),
        "sampling.epochs.wiki": (2.0, None),
        "sampling.held_out": (0.01, 0.02),
    }
    assert "sampling.held_out" in shown(compare(first, second))


def test_the_terminal_shows_brackets_as_they_are(tmp_path: Path) -> None:
    odd = Document("[bold]글[/bold]", "wiki", "", "글")
    difference = compare(build(tmp_path / "a", [odd]), build(tmp_path / "b", []))
    assert "[bold]글[/bold]" in shown(difference)


def test_plain_data_for_machines(tmp_path: Path) -> None:
    first = build(tmp_path / "a", [document(1)], seed=1)
    second = build(tmp_path / "b", [document(2)], seed=2)
    data = json.loads(json.dumps(to_mapping(compare(first, second))))
    assert data["same_documents"] is False
    assert data["documents"]["only_second"] == {"count": 1, "examples": ["wiki:2"]}
    assert data["config"] == [{"name": "seed", "first": 1, "second": 2}]


def test_both_directories_must_hold_a_finished_build(tmp_path: Path) -> None:
    first = build(tmp_path / "a", [])
    with pytest.raises(UserError, match=r"no such file.*holds no finished build"):
        compare(first, tmp_path / "nothing")

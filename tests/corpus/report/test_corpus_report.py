"""The report's figures, its Markdown and JSON, and what it must not show."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from authored_build import ATTACK, TOKENS, AuthoredBuild, documents, full_build, short

from hyperclova.corpus.documents import Document
from hyperclova.corpus.record import Record
from hyperclova.corpus.report import numbers, write_report
from hyperclova.corpus.report.excerpts import CHANGED, INVISIBLE, MASKED, Shown, show
from hyperclova.corpus.report.figures import figures as figures_of
from hyperclova.corpus.report.markdown import render as render_markdown
from hyperclova.corpus.report.page import render
from hyperclova.corpus.report.rules import describe
from hyperclova.corpus.report.table import PAPER_TOKENS
from hyperclova.corpus.rule import Verdict
from hyperclova.corpus.tally import Example, Tally
from hyperclova.errors import UserError


def written(output: Path) -> Any:
    return json.loads((output / "report" / "report.json").read_text(encoding="utf-8"))


def figures(output: Path) -> Any:
    """What ``report.json`` would hold, without drawing pictures."""
    return figures_of(Record.load(output)).to_mapping()


def page(output: Path) -> str:
    return render(figures_of(Record.load(output)), {})


def rewritten(output: Path, target: Path, change: Any) -> Path:
    """A copy of a build whose record was changed."""
    record = json.loads((output / "build.json").read_text(encoding="utf-8"))
    change(record)
    target.mkdir()
    (target / "build.json").write_text(json.dumps(record), encoding="utf-8")
    return target


def test_the_papers_table_sums_to_what_the_paper_says() -> None:
    assert sum(PAPER_TOKENS.values()) == pytest.approx(561.8e9)
    assert numbers.tokens(sum(PAPER_TOKENS.values())) == "561.8B"


def test_table_1_is_bytes_times_tokens_a_byte(reported: Path) -> None:
    table = figures(reported)["table"]
    tally = Tally.from_mapping(json.loads((reported / "build.json").read_text())["tally"])
    assert [row["source"] for row in table["rows"]] == list(PAPER_TOKENS)
    for row in table["rows"]:
        volume = tally.after[row["source"]]
        measured = TOKENS["by_source"][row["source"]]
        assert (row["documents"], row["characters"], row["bytes"]) == (
            volume.documents,
            volume.characters,
            volume.bytes,
        )
        assert row["tokens"] == pytest.approx(volume.bytes * measured["tokens_per_byte"])
        assert row["standard_error"] == pytest.approx(volume.bytes * 0.0011)
    total = table["total"]
    assert total["tokens"] == pytest.approx(sum(row["tokens"] for row in table["rows"]))
    squares = sum(row["standard_error"] ** 2 for row in table["rows"])
    assert total["standard_error"] == pytest.approx(squares**0.5)
    assert sum(row["share"] for row in table["rows"]) == pytest.approx(1)
    assert table["rows"][0]["paper_share"] == pytest.approx(0.487, abs=1e-4)


def test_without_tokens_the_shares_are_of_bytes(tmp_path: Path) -> None:
    output = full_build(tmp_path / "build", tokens=None)
    table = figures(output)["table"]
    assert table["share_of"] == "bytes" and table["tokenizer"] is None
    assert {row["tokens"] for row in (*table["rows"], table["total"])} == {None}
    total = table["total"]["bytes"]
    for row in table["rows"]:
        assert row["share"] == pytest.approx(row["bytes"] / total)
    text = page(output)
    assert text.count("not counted") >= 9 and "about" not in text.partition("</dl>")[0]


def test_a_source_nobody_sampled_leaves_no_total(reported: Path, tmp_path: Path) -> None:
    def forget(record: Any) -> None:
        del record["tokens"]["by_source"]["kin"]

    output = rewritten(reported, tmp_path / "build", forget)
    table = figures(output)["table"]
    tokens = {row["source"]: row["tokens"] for row in table["rows"]}
    assert tokens["kin"] is None and tokens["blog"] > 0
    assert table["total"]["tokens"] is None and table["share_of"] == "bytes"


def test_absent_sources_are_rows_of_zeros(tmp_path: Path) -> None:
    build = AuthoredBuild()
    build.take(document for document in documents(20) if document.source == "wiki")
    output = build.finish(tmp_path / "build", TOKENS)
    rows = {row["source"]: row for row in figures(output)["table"]["rows"]}
    assert len(rows) == 8
    assert rows["wiki"]["documents"] == 20 and rows["wiki"]["share"] == 1
    assert rows["blog"]["documents"] == 0 and rows["blog"]["tokens"] == 0


def test_the_funnel_adds_up(reported: Path) -> None:
    found = written(reported)
    way = found["funnel"]
    left, characters = way["documents_read"], way["characters_read"]
    assert left == len(documents())
    for stage in way["stages"]:
        for field in ("seen", "changed", "dropped", "characters_removed"):
            by_source = sum(effect[field] for effect in stage["by_source"].values())
            assert stage["total"][field] == by_source
        left -= stage["total"]["dropped"]
        if stage["label"] == "sampling":
            assert stage["total"]["changed"] == way["copies"] > 0
            left += way["copies"]
        characters -= stage["total"]["characters_removed"]
        assert (stage["documents_left"], stage["characters_left"]) == (left, characters)
    assert left == way["documents_written"] == found["table"]["total"]["documents"]
    assert characters + way["characters_added"] == way["characters_written"]
    assert way["characters_added"] > 0
    assert all(check["holds"] for check in found["checks"])
    what = " ".join(check["what"] for check in found["checks"])
    assert all(source in what for source in PAPER_TOKENS)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (("tally", "effects", "near-duplicate", "cafe", "dropped"), "cafe: documents read"),
        (("tally", "effects", "too-short", "news", "seen"), "news: documents seen by too-short"),
        (("tally", "held_out", "wiki"), "wiki: held-out documents"),
        (("tally", "after", "blog", "documents"), "blog: documents written, by length"),
        (("inputs", 0, "documents"), "documents read from all inputs"),
        (("outputs", 0, "documents"), "documents in all output files"),
    ],
)
def test_sums_that_are_wrong_are_said_on_the_first_screen(
    reported: Path, tmp_path: Path, path: tuple[Any, ...], what: str
) -> None:
    def spoil(record: Any) -> None:
        *steps, last = path
        for step in steps:
            record = record[step]
        record[last] += 100_000

    output = rewritten(reported, tmp_path / "build", spoil)
    failed = [check["what"] for check in figures(output)["checks"] if not check["holds"]]
    assert any(name.startswith(what) for name in failed), failed
    head = page(output).partition('<section id="composition"')[0]
    assert what in head and "sums agree" not in head


def test_the_same_build_gives_the_same_bytes(reported: Path, tmp_path: Path) -> None:
    again = tmp_path / reported.name  # the report is headed by it
    again.mkdir()
    shutil.copy(reported / "build.json", again)
    write_report(again)
    names = sorted(path.name for path in (reported / "report").iterdir())
    assert names == sorted(path.name for path in (again / "report").iterdir())
    assert {"composition.png", "funnel.png", "lengths.png", "mix.png"} < set(names)
    for name in names:
        first, second = (output / "report" / name for output in (reported, again))
        assert first.read_bytes() == second.read_bytes(), name


def test_nothing_quoted_becomes_markup(reported: Path) -> None:
    html = (reported / "report" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html and "onerror" in html and "<img" not in html
    assert "&lt;script&gt;" in html and "&lt;b&gt;like&lt;/b&gt;" in html
    assert "default-src 'none'" in html
    assert not re.search(r'(?:src|href)="(?!#)', html)
    assert "\u202e" not in html and "U+202E" in html


def test_no_personal_data_in_any_file_of_the_report(reported: Path) -> None:
    record = (reported / "build.json").read_text(encoding="utf-8")
    planted = re.compile(r"2345-6\d{3}|minsu\.kim\d+")
    assert planted.search(record)
    for name in ("report.html", "report.md", "report.json"):
        text = (reported / "report" / name).read_text(encoding="utf-8")
        assert not planted.search(text), name
    html = (reported / "report" / "report.html").read_text(encoding="utf-8")
    assert "0000-0000" in html and "****@naver.com" in re.sub("<[^>]+>", "", html)


def test_the_markdown_says_the_same(reported: Path) -> None:
    found = written(reported)
    text = (reported / "report" / "report.md").read_text(encoding="utf-8")
    for row in (*found["table"]["rows"], found["table"]["total"]):
        cells = (
            row["name"],
            f"{row['documents']:,}",
            f"{row['characters']:,}",
            numbers.size(row["bytes"]),
            numbers.estimate(row["tokens"], row["standard_error"]),
            numbers.percent(row["share"]),
            numbers.tokens(row["paper_tokens"]),
            numbers.percent(row["paper_share"]),
        )
        assert f"| {' | '.join(cells)} |" in text
    for stage in found["funnel"]["stages"]:
        total = stage["total"]
        names = ("seen", "changed", "dropped", "characters_removed")
        cells = [f"{total[name]:,}" for name in names]
        assert (
            f"| **`{stage['label']}`** | **all** | {' | '.join(cells)} "
            f"| {stage['documents_left']:,} |"
        ) in text
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text):
        assert (reported / "report" / picture).read_bytes().startswith(b"\x89PNG")
    outside = re.sub(r"(?ms)^(`{3,})text$.*?^\1$", "", text)
    assert ATTACK in text and "<script" not in re.sub(r"`[^`]*`", "", outside)


def test_markdown_fences_hold_what_they_quote(tmp_path: Path) -> None:
    build = AuthoredBuild()
    build.take([Document("가", "blog", "제목 | 둘 *셋*", "```\n밖으로 나온 글\n```")])
    build.step("too-short", lambda document: Verdict(None, "too [short](http://x)"))
    output = build.finish(tmp_path / "build", None)
    record = Record.load(output)
    shown = {label: [show(one) for one in kept] for label, kept in record.tally.examples.items()}
    text = render_markdown(figures_of(record), shown)
    assert "````text\n```\n밖으로 나온 글\n```\n````" in text
    assert r"제목 \| 둘 \*셋\*" in text and r"too \[short\]\(http://x\)" in text


def test_nothing_read_is_a_report_too(tmp_path: Path) -> None:
    build = AuthoredBuild()
    build.take([])
    build.step("too-short", short)
    output = build.finish(tmp_path / "build", TOKENS)
    write_report(output)
    found = written(output)
    assert found["table"]["total"]["documents"] == 0 and found["table"]["total"]["share"] is None
    assert found["funnel"]["stages"][0]["total"]["seen"] == 0
    assert all(check["holds"] for check in found["checks"])


def test_no_build_no_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"build\.json: no such file.*hyperclova corpus build"):
        write_report(tmp_path)
    (tmp_path / "build.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="format is 99, and this version reads 1"):
        write_report(tmp_path)
    (tmp_path / "build.json").write_text('{"format": 1, "config": {}}')
    with pytest.raises(UserError, match="'versions' is missing"):
        write_report(tmp_path)
    (tmp_path / "build.json").write_text("{")
    with pytest.raises(UserError, match="can't be read as JSON"):
        write_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_rules_are_described_by_their_docstrings_and_settings() -> None:
    config = {
        "rules": [
            {"rule": "too-short", "characters": 17},
            {"rule": "too-short", "characters": 5, "sources": ["comments", "cafe"]},
            {"rule": "too-short", "characters": 9},
            {"rule": "nobodys.module:Rule", "limit": [1, 2]},
        ],
        "duplicates": {"enabled": True, "similarity": 0.8},
    }
    first = describe("too-short", config)
    assert "too few" in first.text and "\n" not in first.text and first.lists
    settings = {setting.name: setting for setting in first.settings}
    assert settings["characters"].value == "17" and settings["characters"].given
    assert "sources" not in settings
    limited = {s.name: s.value for s in describe("too-short (comments, cafe)", config).settings}
    assert limited["characters"] == "5" and limited["sources"] == "comments, cafe"
    again = {s.name: s.value for s in describe("too-short #2", config).settings}
    assert again["characters"] == "9"
    unknown = describe("nobodys.module:Rule", config)
    assert unknown.text == "" and unknown.settings[0].value == "1, 2"
    near = describe("near-duplicate", config)
    assert "Jaccard" in near.text and near.settings[1].value == "0.8"
    assert "evaluation set" in describe("contaminated:nsmc", config).text
    assert describe("never-heard-of", config).settings == ()


def example(before: str, after: str, outcome: str = "changed") -> Example:
    return Example("0", "글:1", "blog", "제목", outcome, "까닭", before, after)


def marked(shown: Shown, side: str, mark: str) -> list[str]:
    return [span.text for span in getattr(shown, side) if mark in span.marks]


def text(shown: Shown, side: str) -> str:
    return "".join(span.text for span in getattr(shown, side))


def test_differences_are_marked_on_both_sides() -> None:
    shown = show(
        example("오늘은 날씨가 흐리다. 내일은 맑다.", "오늘은 하늘이 흐리다. 내일은 맑다.")
    )
    assert marked(shown, "before", CHANGED) == ["날씨가"]
    assert marked(shown, "after", CHANGED) == ["하늘이"]
    assert text(shown, "before") == "오늘은 날씨가 흐리다. 내일은 맑다."
    assert shown.language == "ko"


def test_what_cannot_be_seen_is_named() -> None:
    shown = show(example("가나\u200b다라  마바\u202e사\t", "가나다라 마바사"))
    assert marked(shown, "before", INVISIBLE) == ["U+200B", "␣", "U+202E", "⇥\t"]
    assert "\u202e" not in text(shown, "before")


def test_masks_show_the_shape_of_what_they_hide() -> None:
    before = "문의: 010-2345-6789, 홍길동 hong.gil@naver.com, 2021.05.25 10,000원"
    after = "문의: 010-****-****, 홍길동 ****@naver.com, 2021.05.25 10,000원"
    shown = show(example(before, after), masks=True)
    assert text(shown, "after") == after
    assert text(shown, "before") == (
        "문의: 010-0000-0000, 홍길동 xxxx.xxx@naver.com, 2021.05.25 10,000원"
    )
    assert "".join(marked(shown, "after", MASKED)) == "****-********"


def test_personal_data_is_masked_whatever_the_rule() -> None:
    shown = show(example("연락처 010-2345-6789 ㅋㅋㅋㅋㅋㅋㅋㅋ", "연락처 010-2345-6789 ㅋㅋㅋ"))
    for side in ("before", "after"):
        assert "2345" not in text(shown, side)
        assert "010-****-****" in "".join(marked(shown, side, MASKED))
    assert marked(shown, "before", CHANGED) == ["ㅋㅋㅋㅋㅋ"]
    dropped = show(example("전화 010-2345-6789", "", "dropped"))
    assert "2345" not in text(dropped, "before") and dropped.after == ()


@pytest.mark.parametrize("masks", [False, True])
def test_numbers_cut_by_the_end_of_an_excerpt_are_left_out(masks: bool) -> None:
    body = "가나다라 마바사 " * 60
    number = "900101-1234568"
    for shown_digits in range(1, len(number)):
        start = 400 - shown_digits
        whole = f"{body[: start - 1]} {number} 뒤에 오는 글"
        after = whole.replace(number, "900101-1******").replace("가나다라", "가나라다", 1)
        shown = show(example(whole[:400], after[:400]), masks=masks)
        assert "900101-1" not in text(shown, "before").replace("900101-1******", "")
        assert text(shown, "before").endswith(" …")


def test_an_excerpt_that_only_runs_on_is_not_a_difference() -> None:
    body = "".join(f"{number}번째로 적은 서로 다른 글. " for number in range(60))
    removed = body[:100] + body[110:]
    shown = show(example(body[:400], removed[:400]))
    assert "".join(marked(shown, "before", CHANGED)) == body[100:110]
    assert marked(shown, "after", CHANGED) == []


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (273.6e9, 0.0, "273.6B"),
        (402_123_456.0, 312_000.0, "402.1M ± 0.3M"),
        (1234.4, 3.2, "1K ± 0K"),
        (0.0, 0.0, "0"),
    ],
)
def test_estimates_have_the_figures_their_errors_leave(
    value: float, error: float, shown: str
) -> None:
    if shown == "1K ± 0K":
        shown = "1.234K ± 0.003K"
    assert numbers.estimate(value, error) == shown


def test_numbers_for_people() -> None:
    assert numbers.compact(999_960) == "1.00M"
    assert numbers.compact(12_345) == "12.3K" and numbers.compact(9_999) == "9,999"
    assert numbers.size(1_930_000_000) == "1.93 GB" and numbers.size(999) == "999 B"
    assert numbers.size(999_999) == "1.00 MB"
    assert numbers.percent(0.487) == "48.7 %" and numbers.percent(0.00002) == "< 0.01 %"
    assert numbers.percent(0.99999) == "> 99.9 %" and numbers.percent(0) == "0 %"
    assert numbers.count(-1234) == "−1,234"

"""The documentation against what it documents: links, commands, paths, configuration, figures."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from hyperclova import cli
from hyperclova.model import SIZES, GPTConfig, cost
from hyperclova.pretraining.config import PretrainingConfig

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "README.ko.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PLACEHOLDERS = {"KIND": "morpheme", "…": "x"}
"""Stand for a value in the documentation; the program itself would refuse them."""
_PATH = re.compile(r"`((?:src|tests|configs|docs|examples|benchmarks)/[\w./-]*)`")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def shell_lines(text: str) -> Iterator[str]:
    """Commands of a page's shell blocks, continuation lines joined, without prompt signs."""
    for language, block in _FENCE.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        if language == "console":
            yield from (line[2:] for line in lines if line.startswith("$ "))
        elif language in ("sh", "bash", "shell"):
            yield from (line for line in lines if line.strip() and not line.startswith("#"))


def words_of(line: str) -> list[list[str]]:
    """The commands of a line, which pipes may connect, without redirections and comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>;&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    commands: list[list[str]] = [[]]
    redirected = False
    for word in lexer:
        if set(word) <= set("|;&"):
            commands.append([])
        elif set(word) <= set("<>"):
            redirected = True
            continue
        elif not redirected:
            commands[-1].append(word)
        redirected = False
    return [command for command in commands if command]


def hyperclova_commands(text: str) -> Iterator[list[str]]:
    for line in shell_lines(text):
        for words in words_of(line):
            if words[0] == "hyperclova":
                yield words[1:]


@pytest.fixture(scope="session")
def program() -> Any:
    cli._register_verbs()
    return typer.main.get_command(cli.application)


def parse(command: Any, arguments: list[str]) -> None:
    """Parse as the program would, without running anything; what is wrong raises."""
    if hasattr(command, "commands"):
        assert arguments and arguments[0] in command.commands, f"no such verb: {arguments[:1]}"
        parse(command.commands[arguments[0]], arguments[1:])
    elif arguments not in (["--help"], ["-h"]):
        command.make_context(command.name, list(arguments))


def pages_with_commands() -> list[Path]:
    return [page for page in PAGES if any(hyperclova_commands(read(page)))]


def test_commands_are_found() -> None:
    assert ROOT / "README.md" in pages_with_commands()
    assert list(
        hyperclova_commands('```sh\ncat a | hyperclova generate - --stop "가 나" > b # c\n```')
    ) == [["generate", "-", "--stop", "가 나"]]


@pytest.mark.parametrize("page", pages_with_commands(), ids=name_of)
def test_commands_are_the_programs(page: Path, program: Any) -> None:
    for arguments in hyperclova_commands(read(page)):
        try:
            parse(program, [_PLACEHOLDERS.get(word, word) for word in arguments])
        except Exception as error:
            pytest.fail(f"{name_of(page)}: hyperclova {shlex.join(arguments)}: {error}")


def test_a_wrong_option_is_noticed(program: Any) -> None:
    with pytest.raises(Exception, match="vocabulary"):
        parse(program, ["tokenizer", "train", "a.jsonl", "--output", "b", "--vocabulary", "9"])


def test_both_readmes_show_the_same_commands() -> None:
    english, korean = (
        list(hyperclova_commands(read(ROOT / name))) for name in ("README.md", "README.ko.md")
    )
    assert len(english) >= 6
    assert english == korean


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", read(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{name_of(page)}: {target}"
        if fragment and found.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", read(found)), re.MULTILINE)
            slugs = {re.sub(r"\W+", "-", heading.lower()).strip("-") for heading in headings}
            assert fragment in slugs, f"{name_of(page)}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    for path in _PATH.findall(read(page)):
        assert (ROOT / path).exists(), f"{name_of(page)}: {path}"
    for words in (words for line in shell_lines(read(page)) for words in words_of(line)):
        for word in words:
            if word.startswith(("configs/", "examples/")):
                assert (ROOT / word).exists(), f"{name_of(page)}: {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_knows_its_targets(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    named = {
        words[1]
        for line in shell_lines(read(page))
        for words in words_of(line)
        if words[0] == "make"
    }
    named |= set(re.findall(r"`make ([a-z-]+)`", read(page)))
    assert named <= targets


def test_the_manual_has_every_page_once() -> None:
    def pages(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values() if isinstance(entry, dict) else entry:
                yield from pages(value)

    configuration = yaml.safe_load(read(ROOT / "mkdocs.yml"))
    listed = sorted(pages(configuration["nav"]))
    assert listed == sorted(
        str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")
    )


def test_every_key_of_the_configuration_is_explained() -> None:
    text = read(ROOT / "docs" / "pretraining.md")
    for section in dataclasses.fields(PretrainingConfig):
        if not dataclasses.is_dataclass(section.type):
            assert f"| `{section.name}` |" in text
            continue
        for key in dataclasses.fields(section.type):
            assert f"`{section.name}.{key.name}`" in text


def test_defaults_in_the_manual_are_the_codes() -> None:
    text = read(ROOT / "docs" / "pretraining.md")
    checked = 0
    for section in dataclasses.fields(PretrainingConfig):
        if not dataclasses.is_dataclass(section.type):
            continue
        for key in dataclasses.fields(section.type):
            row = re.search(rf"^\| `{section.name}\.{key.name}` \| ([^|]*) \|", text, re.MULTILINE)
            if row is None or not isinstance(key.default, bool | int | float):
                continue
            shown = {"true": True, "false": False}.get(row[1])
            assert (float(row[1]) if shown is None else shown) == key.default, key.name
            checked += 1
    assert checked > 15


@pytest.mark.parametrize("name", SIZES)
def test_the_table_of_sizes_is_the_codes(name: str) -> None:
    size = SIZES[name]
    shape = GPTConfig(51_200, 2048, size.layers, size.width, size.heads)
    row = (
        f"| {name} | {size.layers} | {size.width} | {size.heads} | {size.head_width} "
        f"| {size.learning_rate * 1e4:.1f}e-4 | {cost.parameters(shape):,} "
        f"| {cost.training_flops_per_token(shape) / 1e9:,.2f} |"
    )
    assert row in read(ROOT / "docs" / "model.md")

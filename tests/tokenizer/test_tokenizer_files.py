"""Saving, loading, fingerprints, and refusing what would give other ids."""

import dataclasses
import json
import pickle
from pathlib import Path

import pytest
import tokenizers as library

from hyperclova.errors import UserError
from hyperclova.tokenizer import Tokenizer
from hyperclova.tokenizer import tokenizer as module
from hyperclova.tokenizer.morphemes import installed_analyser
from hyperclova.tokenizer.pretokenize import join_pieces


@pytest.fixture
def saved(tokenizers: dict[str, Tokenizer], tmp_path: Path) -> Path:
    tokenizers["word"].save(tmp_path / "saved")
    return tmp_path / "saved"


def edit(path: Path, *keys: str, value: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(content), encoding="utf-8")


def test_the_configuration_says_what_the_tokenizer_needs(
    saved: Path, tokenizers: dict[str, Tokenizer]
) -> None:
    content = json.loads((saved / "tokenizer_config.json").read_text(encoding="utf-8"))
    section = content["hyperclova"]
    assert section["kind"] == "morpheme" and section["unit"] == "word"
    assert section["analyser"] == dataclasses.asdict(installed_analyser())
    assert section["fingerprint"] == tokenizers["word"].fingerprint
    assert sorted(file.name for file in saved.iterdir()) == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_everything_that_decides_ids_is_in_the_fingerprint(
    tokenizers: dict[str, Tokenizer],
) -> None:
    tokenizer = tokenizers["word"]
    description = tokenizer._description
    analyser = description.analyser
    assert analyser is not None
    others = [dataclasses.replace(description, unit="sentence")]
    for field in dataclasses.fields(analyser):
        value = getattr(analyser, field.name)
        changed = {field.name: value + 1 if isinstance(value, int) else f"{value}x"}
        others.append(
            dataclasses.replace(description, analyser=dataclasses.replace(analyser, **changed))
        )
    prints = {Tokenizer(tokenizer._serialized, other).fingerprint for other in others}
    prints.add(tokenizer.fingerprint)
    prints |= {tokenizers[name].fingerprint for name in ("sentence", "byte", "character")}
    assert len(prints) == len(others) + 4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "0.996"),
        ("dictionary_version", "9.9.9"),
        ("dictionary_sha256", "0" * 64),
        ("guards", 0),
        ("name", "mecab"),
    ],
)
def test_another_analyser_is_refused_with_a_remedy(
    saved: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: object
) -> None:
    here = dataclasses.replace(installed_analyser(), **{field: value})
    monkeypatch.setattr(module, "installed_analyser", lambda: here)
    with pytest.raises(UserError) as caught:
        Tokenizer.load(saved)
    message = str(caught.value)
    assert field in message and "pip install" in message and "\n" not in message


def test_a_tokenizer_without_an_analyser_needs_none(
    tokenizers: dict[str, Tokenizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise AssertionError("asked for the analyser")

    tokenizers["byte"].save(tmp_path)
    monkeypatch.setattr(module, "installed_analyser", absent)
    assert Tokenizer.load(tmp_path).kind == "byte"


def test_files_that_do_not_belong_together_are_refused(
    saved: Path, tokenizers: dict[str, Tokenizer], tmp_path: Path
) -> None:
    tokenizers["sentence"].save(tmp_path / "other")
    (saved / "tokenizer.json").write_bytes((tmp_path / "other" / "tokenizer.json").read_bytes())
    with pytest.raises(UserError, match="fingerprints differ"):
        Tokenizer.load(saved)


@pytest.mark.parametrize(
    ("keys", "value", "complaint"),
    [
        (("hyperclova",), {}, "damaged"),
        (("hyperclova",), None, "damaged"),
        (("hyperclova", "analyser", "colour"), "green", "damaged"),
        (("hyperclova", "kind"), "syllable", "unknown kind 'syllable'"),
        (("hyperclova", "unit"), "page", "unit 'page'"),
        (("hyperclova", "unit"), "sentence", "fingerprints differ"),
    ],
)
def test_a_damaged_configuration_is_refused(
    saved: Path, keys: tuple[str, ...], value: object, complaint: str
) -> None:
    edit(saved / "tokenizer_config.json", *keys, value=value)
    with pytest.raises(UserError, match=complaint):
        Tokenizer.load(saved)


def test_missing_and_unreadable_files(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        Tokenizer.load(tmp_path / "nowhere")
    (saved / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not JSON"):
        Tokenizer.load(saved)
    (saved / "tokenizer_config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match="not a JSON object"):
        Tokenizer.load(saved)
    (saved / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match="neither a tokenizer of ours"):
        Tokenizer.load(saved)


def test_a_plain_byte_level_tokenizer_of_another_make_is_read(
    korean_lines: list[str], tmp_path: Path
) -> None:
    theirs = library.ByteLevelBPETokenizer()
    theirs.train_from_iterator(
        korean_lines, vocab_size=600, special_tokens=["<|pad|>", "<|endoftext|>"]
    )
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.load(tmp_path)
    assert ours.kind == "byte" and ours.end_of_text_id == 1
    for line in korean_lines:
        assert ours.encode(line) == theirs.encode(line).ids
        assert ours.decode(ours.encode(line)) == line
    assert ours.decode(ours.encode("<|pad|>가")) == "<|pad|>가"
    assert ours.decode([0, 1]) == ""


def test_a_copy_in_another_process_is_the_same(tokenizers: dict[str, Tokenizer]) -> None:
    for tokenizer in tokenizers.values():
        copy = pickle.loads(pickle.dumps(tokenizer))
        assert copy.fingerprint == tokenizer.fingerprint
        assert copy.encode("<|endoftext|> 학교에서") == tokenizer.encode("<|endoftext|> 학교에서")


def test_transformers_loads_it_and_decodes_exactly(
    tokenizers: dict[str, Tokenizer], korean_lines: list[str], tmp_path: Path
) -> None:
    from transformers import PreTrainedTokenizerFast

    for name in ("word", "sentence", "byte"):
        ours = tokenizers[name]
        ours.save(tmp_path / name)
        theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path / name)
        assert theirs.eos_token_id == theirs.bos_token_id == ours.end_of_text_id
        assert len(theirs) == ours.vocabulary_size
        agreeing = 0
        for line in korean_lines:
            ids = ours.encode(line)
            assert theirs.decode(ids) == line
            assert theirs.decode(theirs(line)["input_ids"]) == line
            agreeing += theirs(line)["input_ids"] == ids
            if ours.unit:  # given the boundaries, the ids are ours
                assert theirs(join_pieces(line, ours.unit))["input_ids"] == ids
        # Without the analyser the ids of a plain text are others; that is why our class exists.
        if name == "byte":
            assert agreeing == len(korean_lines)
        else:
            assert agreeing < len(korean_lines)

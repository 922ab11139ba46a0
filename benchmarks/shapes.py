"""Models to measure: the one that is shipped, or random weights of one of the paper's sizes."""

import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyperclova.model import GPT
from hyperclova.model.directory import save_model
from hyperclova.tokenizer import Tokenizer

VOCABULARY = 51_200
SHIPPED = "shipped"


@contextmanager
def model_of(shape: str, model: Path) -> Iterator[Path]:
    """``model`` itself, or random weights of a size with its tokenizer, gone afterwards."""
    if shape == SHIPPED:
        yield model
        return
    with tempfile.TemporaryDirectory() as directory:
        save_model(GPT.from_size(shape, VOCABULARY), directory)
        Tokenizer.load(model).save(directory)
        yield Path(directory)


def write_full(shape: str, model: Path, target: Path) -> None:
    """Write random weights, and a tokenizer that has all their ids: that of ``model`` and pairs of
    its tokens.

    No engine is spared ids that a tokenizer lacks. Without our section of its configuration it is
    read as a plain byte-level BPE; its texts mean nothing anyway.
    """
    save_model(GPT.from_size(shape, VOCABULARY), target)
    tree = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    names, merges = tree["model"]["vocab"], tree["model"]["merges"]
    ordinary = [name for name in names if not name.startswith("<|")]
    drawn = random.Random(0)
    while len(names) < VOCABULARY:
        left, right = drawn.choice(ordinary), drawn.choice(ordinary)
        if left + right not in names:
            names[left + right] = len(names)
            merges.append([left, right])
    tree["pre_tokenizer"] = tree["pre_tokenizer"]["pretokenizers"][-1]
    (target / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    configuration = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    configuration.pop("hyperclova", None)
    (target / "tokenizer_config.json").write_text(json.dumps(configuration), encoding="utf-8")

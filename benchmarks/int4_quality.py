"""What 4-bit weights would cost: bits per byte and most likely tokens against float32.

    python benchmarks/int4_quality.py

The matrices of a copy of the model are rounded to 4 bits, in groups of inputs with a scale each
(where asymmetric, also a zero point each), the scale chosen by the least squared error of 13 clips
of the range; embeddings, which are the output head, stay. The copy is then measured in float32, so
activations are not quantised: what is measured is the least that such weights cost. Texts and
measures are those of ``int8_quality.py``.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from int8_quality import compared, held_out, measure
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch import Tensor

from hyperclova import directories


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=directories.default_model())
    parser.add_argument("--groups", type=int, nargs="+", default=[32, 16])
    parser.add_argument("--bytes", type=int, default=20_000, help="of each source, about")
    arguments = parser.parse_args()
    texts = held_out(arguments.bytes)
    reference = measure(arguments.model, "float32", texts)
    table = Table("group", "kind", "bits a weight", "bits per byte", "change", "95 %", "same token")
    for group in arguments.groups:
        for kind, bits in (("symmetric", 4 + 16 / group), ("asymmetric", 4 + 32 / group)):
            with tempfile.TemporaryDirectory() as scratch:
                directory = Path(scratch) / "model"
                round_model(arguments.model, directory, group, kind)
                found = measure(directory, "float32", texts)
            result = compared(
                [text for group in texts.values() for text in group],
                [each for group in reference.values() for each in group],
                [each for group in found.values() for each in group],
            )
            low, high = result["change_95"]
            table.add_row(
                *(str(group), kind, f"{bits:.1f}", f"{result['bits_per_byte']:.4f}"),
                *(f"{result['change']:+.2%}", f"{low:+.2%} to {high:+.2%}"),
                f"{result['top_1_agreement']:.1%}",
            )
    Console(width=110, highlight=False).print(table)


def round_model(model: Path, directory: Path, group: int, kind: str) -> None:
    """Write a copy of ``model`` whose layers' matrices hold what 4 bits can."""
    shutil.copytree(model, directory)
    weights = load_file(model / "model.safetensors")
    matrices = [name for name in weights if ".h." in name and weights[name].ndim == 2]
    for name in matrices:
        # GPT-2's layout: (inputs, outputs).
        weights[name] = rounded(weights[name].T.float(), group, kind).T.contiguous()
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def rounded(weight: Tensor, group: int, kind: str) -> Tensor:
    """``(outputs, inputs)`` as 4 bits hold it."""
    groups = weight.reshape(weight.shape[0], -1, group)
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    best = torch.full_like(low, torch.inf)
    kept = torch.zeros_like(groups)
    for clip in torch.linspace(0.7, 1.0, 13):
        if kind == "symmetric":
            scale, zero = torch.maximum(-low, high) * clip / 7.5, 8.0
        else:
            scale = (high - low) * clip / 15
            zero = (-low * clip / scale).round()
        found = ((groups / scale + zero).round().clamp(0, 15) - zero) * scale
        error = (found - groups).square().sum(-1, keepdim=True)
        kept = torch.where(error < best, found, kept)
        best = torch.minimum(error, best)
    return kept.reshape(weight.shape)


if __name__ == "__main__":
    main()

"""The option of commands that run a model here: in which precision."""

import enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hyperclova.inference.protocol import Precision


class PrecisionName(enum.StrEnum):
    """The values of :data:`hyperclova.inference.protocol.Precision`, which takes long to import."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    FAST = "fast"


PrecisionOption = Annotated[
    PrecisionName | None,
    typer.Option(
        "--precision",
        help="Of weights and products; fast takes what serves best on this machine.",
    ),
]


def precision_of(choice: PrecisionName | None) -> "Precision | None":
    """The engine's word for what was chosen; None leaves it to the engine."""
    return None if choice is None else choice.value

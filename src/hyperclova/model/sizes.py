"""The eight sizes of the paper (Kim et al. 2021, Table 2)."""

from dataclasses import dataclass

from hyperclova.errors import UserError


@dataclass(frozen=True)
class Size:
    """One row of Table 2; ``heads * head_width == width`` holds in every row."""

    name: str
    layers: int
    width: int
    heads: int
    head_width: int
    learning_rate: float
    """Peak of the cosine schedule."""


SIZES: dict[str, Size] = {
    size.name: size
    for size in (
        Size("137M", 12, 768, 16, 48, 6.0e-4),
        Size("350M", 24, 1024, 16, 64, 3.0e-4),
        Size("760M", 24, 1536, 16, 96, 2.5e-4),
        Size("1.3B", 24, 2048, 16, 128, 2.0e-4),
        Size("6.9B", 32, 4096, 32, 128, 1.2e-4),
        Size("13B", 40, 5120, 40, 128, 1.0e-4),
        Size("39B", 48, 8192, 64, 128, 0.8e-4),
        Size("82B", 64, 10240, 80, 128, 0.6e-4),
    )
}


def size_named(name: str) -> Size:
    """The row of Table 2 called ``name``.

    Raises:
        UserError: there is none.
    """
    try:
        return SIZES[name]
    except KeyError:
        raise UserError(f"no model size {name!r}: choose one of {', '.join(SIZES)}") from None

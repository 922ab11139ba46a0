"""Soft prompts: trained input embeddings that stand where tokens could. No torch.

A **soft prompt artifact** is a directory with ``soft_prompt.safetensors``, whose tensor ``table``
holds one embedding a row, and ``soft_prompt.json``, which says what it was trained for.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hyperclova.errors import UserError

TABLE = "soft_prompt.safetensors"


@dataclass(frozen=True, eq=False)
class SoftPrompt:
    """Rows of input embeddings; positions are added to them as to tokens' embeddings.

    Two soft prompts are equal if their tables are.

    Args:
        table: ``(tokens, width)``, float32; it must not be changed any more.
    """

    table: npt.NDArray[np.float32]
    fingerprint: str = field(init=False)
    """SHA-256 of the table, in hexadecimal."""

    def __post_init__(self) -> None:
        table = np.ascontiguousarray(self.table, dtype=np.float32)
        if table.ndim != 2 or not table.shape[0]:
            raise ValueError(f"a soft prompt is (tokens, width), not {self.table.shape}")
        if not np.isfinite(table).all():
            raise ValueError("a soft prompt holds a number that is not finite")
        object.__setattr__(self, "table", table)
        digest = hashlib.sha256(repr(table.shape).encode() + table.tobytes())
        object.__setattr__(self, "fingerprint", digest.hexdigest())

    def __len__(self) -> int:
        return int(self.table.shape[0])

    @property
    def width(self) -> int:
        return int(self.table.shape[1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SoftPrompt) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @classmethod
    def load(cls, directory: Path | str) -> "SoftPrompt":
        """Read an artifact's table.

        Raises:
            UserError: there is no such file, or it holds no table.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = Path(directory) / TABLE
        try:
            return cls(load_file(path)["table"])
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; is {directory} a soft prompt?") from None
        except KeyError:
            raise UserError(f"{path}: has no tensor named table") from None
        except TypeError as error:  # a type that NumPy does not have
            raise UserError(f"{path}: {error}; save the table in float32") from None
        except (SafetensorError, ValueError) as error:
            raise UserError(f"{path}: not a soft prompt: {error}") from None

    def save(self, directory: Path | str) -> None:
        """Write the table; the file appears whole or not at all."""
        from safetensors.numpy import save

        from hyperclova.durable import writing

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        with writing(directory / TABLE) as file:
            file.write(save({"table": self.table}))

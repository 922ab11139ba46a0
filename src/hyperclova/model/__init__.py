"""GPT in the paper's eight sizes, model directories, and what a model costs."""

from typing import TYPE_CHECKING, Any

from hyperclova.model.shape import GPTConfig
from hyperclova.model.sizes import SIZES, Size

if TYPE_CHECKING:
    from hyperclova.model.gpt import GPT

__all__ = ["GPT", "SIZES", "GPTConfig", "Size"]


def __getattr__(name: str) -> Any:
    # Shapes and costs are needed where torch is not: it is loaded with the model itself.
    if name == "GPT":
        from hyperclova.model.gpt import GPT

        return GPT
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The engine: the only way to run a model."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperclova.inference.engine import Engine

__all__ = ["Engine"]


def __getattr__(name: str) -> Any:
    # Engine needs torch; the protocol beside it must not (Studio's web process imports it).
    if name == "Engine":
        from hyperclova.inference.engine import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

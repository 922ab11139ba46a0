"""What Studio needs to know to start."""

from dataclasses import dataclass, field
from pathlib import Path

from hyperclova import directories
from hyperclova.inference.protocol import Precision


@dataclass(frozen=True)
class Served:
    """A model that another server runs: a Studio, vLLM, llama.cpp's."""

    url: str
    name: str
    """The model's name there, and here."""
    api_key: str | None = field(default=None, repr=False)
    tokenizer: Path | None = None
    """A directory with the model's tokenizer; None leaves it to the server's ``/tokenize``."""


@dataclass(frozen=True)
class Settings:
    """How one Studio runs. Everything but the model has a default that works on a laptop."""

    model: Path | Served
    """The model directory, whose name is the model's id on the wire, or where else it runs."""
    precision: Precision = "fast"
    """In which the engine computes; of a model on another server, that server decides."""
    host: str = "127.0.0.1"
    port: int = 8321
    """0 lets the system choose a free port."""
    database_url: str | None = None
    """SQLAlchemy URL; None is the file ``studio.sqlite3`` in ``HYPERCLOVA_HOME``."""
    body_limit: int = 4 * 1024 * 1024
    """Largest request body in bytes; larger ones are answered 413 without being read."""
    request_limit: int = 32
    """Completions under way at once; further ones are answered 429."""
    allowed_hosts: tuple[str, ...] | None = None
    """Host names that requests may be addressed to; None allows all. Set to loopback's names when
    Studio listens on loopback, so that a web page cannot reach it by rebinding its own name."""

    @property
    def model_id(self) -> str:
        """The model's id on the wire: the name of its directory, or on the other server."""
        return self.model.name if isinstance(self.model, Served) else self.model.resolve().name

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in effect."""
        if self.database_url is not None:
            return self.database_url
        return f"sqlite:///{directories.home() / 'studio.sqlite3'}"

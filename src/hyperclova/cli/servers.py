"""What verbs that can use a model on a server have in common: their options, and reaching it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hyperclova.errors import UserError

if TYPE_CHECKING:
    from hyperclova.inference.remote import RemoteEngine

Server = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Use the model that a server runs: a Studio, vLLM, llama.cpp's. --model is then the "
        "model's name there, which can be left out if it has only one.",
    ),
]
ServerTokenizer = Annotated[
    Path | None,
    typer.Option(
        metavar="DIRECTORY",
        help="With --server: cut texts into tokens here, as vLLM and llama.cpp need it for "
        "models of ours; else the server does.",
    ),
]
KeyVariable = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With --server: the environment variable with its API key."),
]


def api_key(variable: str | None) -> str | None:
    """The API key in an environment variable.

    Raises:
        UserError: the variable is not set.
    """
    if variable is None:
        return None
    value = os.environ.get(variable)
    if not value:
        raise UserError(f"--api-key-env {variable}: there is no such environment variable")
    return value


def refuse_without_server(tokenizer: Path | None, variable: str | None) -> None:
    """Refuse options that mean nothing for a model that runs here."""
    for option, value in (("--tokenizer", tokenizer), ("--api-key-env", variable)):
        if value is not None:
            raise UserError(f"{option} belongs to --server, which is not given")


def connect(
    url: str, model: Path | None, tokenizer: Path | None, variable: str | None
) -> "RemoteEngine":
    """An engine on a server.

    Raises:
        UserError: it cannot be reached, or does not serve the model.
    """
    from hyperclova.inference.protocol import EngineError
    from hyperclova.inference.remote import RemoteEngine
    from hyperclova.tokenizer import Tokenizer

    try:
        return RemoteEngine(
            url,
            None if model is None else str(model),
            api_key=api_key(variable),
            tokenizer=None if tokenizer is None else Tokenizer.load(tokenizer),
        )
    except EngineError as error:
        raise UserError(f"--server: {error}") from None

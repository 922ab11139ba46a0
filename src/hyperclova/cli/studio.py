"""``hyperclova studio``: the writing desk and the HTTP API, on this machine."""

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hyperclova.cli.precision import PrecisionOption, precision_of
from hyperclova.cli.servers import KeyVariable, Server, ServerTokenizer
from hyperclova.errors import UserError

if TYPE_CHECKING:
    from hyperclova.studio.settings import Served

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def studio(
    model: Annotated[
        Path | None,
        typer.Option(help="Model directory; without it, the model that is shipped."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback let others in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8321,
    database: Annotated[
        str | None,
        typer.Option(help="Database URL; without it, studio.sqlite3 in HYPERCLOVA_HOME."),
    ] = None,
    precision: PrecisionOption = None,
    server: Server = None,
    tokenizer: ServerTokenizer = None,
    api_key_env: KeyVariable = None,
) -> None:
    """Start Studio: the Playground in the browser and the OpenAI-compatible API."""
    from rich.console import Console

    from hyperclova.cli.servers import refuse_without_server
    from hyperclova.studio.server import serve
    from hyperclova.studio.settings import Settings

    console = Console(highlight=False, soft_wrap=True)
    where: Path | Served
    if server is not None:
        if precision is not None:
            raise UserError("--precision is for a model that runs here: leave it out with --server")
        where = _served(server, model, tokenizer, api_key_env)
    else:
        refuse_without_server(tokenizer, api_key_env)
        where = _directory(model)
    loopback = _is_loopback(host)
    if not loopback:
        console.print(
            f"[yellow]Warning: listening on {host}, and Studio has no accounts yet: everyone who "
            "can reach this machine can read the history and use the model.[/yellow]"
        )
    settings = Settings(
        model=where,
        precision=precision_of(precision) or "fast",
        host=host,
        port=port,
        database_url=database,
        allowed_hosts=(*_LOOPBACK_NAMES, host.lower()) if loopback else None,
    )
    serve(settings, lambda address: console.print(f"[bold]Studio:[/bold] {address}"))


def _directory(model: Path | None) -> Path:
    from hyperclova import directories

    directory = model if model is not None else directories.default_model()
    if not (directory / "config.json").is_file():
        raise UserError(
            f"--model {directory} is not a model directory: it has no config.json; "
            "make one with `hyperclova export`"
        )
    return directory


def _served(url: str, model: Path | None, tokenizer: Path | None, variable: str | None) -> "Served":
    """The model on a server, which is asked for its name: what is wrong is told in one line."""
    from hyperclova.cli.servers import api_key, connect
    from hyperclova.studio.settings import Served

    with connect(url, model, tokenizer, variable) as engine:
        return Served(url, engine.model.name, api_key(variable), tokenizer)


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

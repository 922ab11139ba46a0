"""``hyperclova generate``: continue a text with a model, in the terminal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hyperclova.cli.precision import PrecisionName, PrecisionOption, precision_of
from hyperclova.cli.servers import KeyVariable, Server, ServerTokenizer
from hyperclova.errors import UserError

if TYPE_CHECKING:
    from hyperclova.inference import Engine
    from hyperclova.inference.protocol import Choice, Request
    from hyperclova.inference.remote import RemoteEngine


def generate(
    prompt: Annotated[str, typer.Argument(help="The text to continue; - reads it from stdin.")],
    model: Annotated[
        Path | None,
        typer.Option(help="Model directory; without it, the model that is shipped."),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="The most tokens to write.")] = 100,
    temperature: Annotated[
        float, typer.Option(help="0 always takes the most likely token; higher is more varied.")
    ] = 0.7,
    top_p: Annotated[
        float, typer.Option(help="Choose among the likeliest tokens that together reach this.")
    ] = 0.9,
    top_k: Annotated[
        int, typer.Option(help="Choose among this many likeliest tokens; 0 is all.")
    ] = 0,
    repetition_penalty: Annotated[
        float, typer.Option(help="Above 1, tokens that stand in the text already are less likely.")
    ] = 1.1,
    stop: Annotated[
        list[str] | None,
        typer.Option(help="End before this text; may be given more than once."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same text; else each is new.")
    ] = None,
    n: Annotated[int, typer.Option(help="How many continuations, parted by a line of ---.")] = 1,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Print as it is written; the default if the output is a terminal.",
            show_default=False,
        ),
    ] = None,
    logprobs: Annotated[
        int | None,
        typer.Option(help="Also list each token's probability and this many rivals, on stderr."),
    ] = None,
    heal: Annotated[
        bool | None,
        typer.Option(
            "--heal/--no-heal",
            help="Let the continuation finish a word that the prompt leaves open.",
            show_default=False,
        ),
    ] = None,
    precision: PrecisionOption = None,
    server: Server = None,
    tokenizer: ServerTokenizer = None,
    api_key_env: KeyVariable = None,
) -> None:
    """Continue a text. Only the continuation is printed."""
    from hyperclova.inference.protocol import EngineError, Request, Sampling

    text = _from_stdin() if prompt == "-" else prompt
    request = Request(
        text,
        max_tokens,
        Sampling(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            seed=seed,
        ),
        tuple(stop or ()),
        n,
        logprobs,
        heal=heal,
    )
    wanted = sys.stdout.isatty() if stream is None else stream
    with _open(model, precision, server, tokenizer, api_key_env) as engine:
        try:
            # Several continuations are written at once; streamed, they would run into each other.
            choices = _stream(engine, request) if wanted and n == 1 else _print(engine, request)
        except EngineError as error:
            raise UserError(str(error)) from None
    if logprobs is not None:
        for choice in choices:
            _list_probabilities(choice)


def _open(
    model: Path | None,
    precision: PrecisionName | None,
    server: str | None,
    tokenizer: Path | None,
    variable: str | None,
) -> "Engine | RemoteEngine":
    from hyperclova import directories
    from hyperclova.cli.servers import connect, refuse_without_server

    if server is not None:
        if precision is not None:
            raise UserError("--precision is for a model that runs here: leave it out with --server")
        return connect(server, model, tokenizer, variable)
    refuse_without_server(tokenizer, variable)
    from hyperclova.inference import Engine  # imports torch, which takes seconds

    return Engine(model or directories.default_model(), precision=precision_of(precision))


def _stream(engine: "Engine | RemoteEngine", request: "Request") -> "tuple[Choice, ...]":
    from hyperclova.inference.gather import Gatherer

    gatherer = Gatherer(request.n)
    with engine.stream(request) as chunks:
        for chunk in chunks:
            sys.stdout.write(chunk.text)
            sys.stdout.flush()
            gatherer.add(chunk)
    sys.stdout.write("\n")
    return gatherer.completion().choices


def _print(engine: "Engine | RemoteEngine", request: "Request") -> "tuple[Choice, ...]":
    (completion,) = engine.generate([request])
    sys.stdout.write("\n---\n".join(choice.text for choice in completion.choices) + "\n")
    sys.stdout.flush()
    return completion.choices


def _list_probabilities(choice: "Choice") -> None:
    import math

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("token", "probability", "rivals", box=None)
    for token in choice.tokens:
        assert token.logprob is not None  # only a prompt's first token has none
        rivals = "  ".join(
            f"{_visible(rival.text)} {math.exp(rival.logprob):.1%}"
            for rival in token.top
            if rival.logprob is not None
        )
        probability = f"{math.exp(token.logprob):.1%}"
        table.add_row(Text(_visible(token.text)), probability, Text(rivals))
    Console(stderr=True).print(table)


def _visible(text: str) -> str:
    """Spaces and line ends as they can be seen; ``bytes:…`` as it is."""
    return text if text.startswith("bytes:") else repr(text)


def _from_stdin() -> str:
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"stdin is not UTF-8 at byte {error.start}: convert it first") from None
    return text.removesuffix("\n")  # the one that `echo` adds

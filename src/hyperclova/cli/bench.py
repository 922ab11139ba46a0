"""``hyperclova bench``: measure, on this machine, what the engine or a server gives."""

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hyperclova.cli.precision import PrecisionOption, precision_of
from hyperclova.cli.servers import KeyVariable, api_key, refuse_without_server
from hyperclova.errors import UserError

if TYPE_CHECKING:
    from hyperclova.inference.bench.load import Bench, Watcher, Workload
    from hyperclova.tokenizer import Tokenizer

application = typer.Typer(
    name="bench",
    help="Measure speed, latency and memory on this machine.",
    no_args_is_help=True,
)

_VOCABULARY = 51_200  # of --shape: the paper's, which decides much of a small model's cost
_REASONS = 5  # printed, of why requests were refused or failed; the JSON has them all


@application.command()
def serve(
    model: Annotated[
        Path | None,
        typer.Argument(help="Model directory; without it, the model that is shipped."),
    ] = None,
    concurrency: Annotated[
        str, typer.Option(help="Clients at once, one measurement each.")
    ] = "1,4,8,16",
    rate: Annotated[
        str | None,
        typer.Option(help="Instead: requests a second that arrive at random moments: 0.5,1,2"),
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(min=1, help="Of each measurement; 4 a client, or 10 s of --rate, 8 at least."),
    ] = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of each prompt.")] = 64,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of each answer.")] = 64,
    shared_prefix: Annotated[
        int, typer.Option(min=0, help="Tokens with which all prompts begin; else none are alike.")
    ] = 0,
    temperature: Annotated[
        float, typer.Option(min=0, help="0 always takes the most likely token.")
    ] = 0.0,
    rows: Annotated[int, typer.Option(min=1, help="Answers that the engine writes at once.")] = 16,
    precision: PrecisionOption = None,
    shape: Annotated[
        str | None,
        typer.Option(help="Random weights of this size, such as 137M; MODEL cuts the tokens."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Measure a server with OpenAI's API instead."),
    ] = None,
    api_key_env: KeyVariable = None,
    seed: Annotated[int, typer.Option(help="Of prompts and moments of arrival.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw them: .png, .svg or .pdf (extra report).")
    ] = None,
) -> None:
    """Measure tokens a second, time to first token, time between tokens and memory under load.

    Ctrl-C ends it and prints what has been measured so far.
    """
    from hyperclova import directories
    from hyperclova.inference.bench.load import Bench, Workload
    from hyperclova.inference.bench.prompts import Prompts
    from hyperclova.inference.bench.targets import EngineTarget, ServerTarget
    from hyperclova.tokenizer import Tokenizer

    open_loop = rate is not None
    loads = _numbers("--concurrency", concurrency) if rate is None else _numbers("--rate", rate)
    if shared_prefix >= prompt_tokens:
        raise UserError(
            f"--shared-prefix {shared_prefix}: must be less than the {prompt_tokens} tokens of a "
            "prompt (--prompt-tokens)"
        )
    if server is None:
        refuse_without_server(None, api_key_env)
    for option, value in (("--shape", shape), ("--precision", precision)):
        if server is not None and value is not None:
            raise UserError(f"{option} is for the engine here: leave it out with --server")
    _check_outputs(json, plot)
    directory = model or directories.default_model()
    tokenizer = Tokenizer.load(directory)
    prompts = Prompts(tokenizer, prompt_tokens, shared_prefix, seed)
    workload = Workload(loads, open_loop, requests, max_tokens, seed)
    with contextlib.ExitStack() as stack:
        target: EngineTarget | ServerTarget
        if server is not None:
            target = ServerTarget(server, prompts, temperature, api_key(api_key_env))
        else:
            if shape is not None:
                directory = stack.enter_context(_random_model(shape, tokenizer))
            name = None if shape is None else f"{shape}, random weights"
            end = tokenizer.end_of_text_id
            target = EngineTarget(
                directory, prompts, temperature, rows, end, name, precision_of(precision)
            )
        bench = Bench(target, workload, stack.enter_context(_progress(workload)))
        interrupted = _measure(bench, prompt_tokens)
    if bench.levels:
        asked = {
            "prompt_tokens": prompt_tokens,
            "shared_prefix": shared_prefix,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
        }
        _report(bench, asked, json, plot)
    if interrupted:
        raise typer.Exit(130)
    answers = [answer for level in bench.levels for answer in level.answers]
    if not any(answer.outcome == "answered" for answer in answers):
        raise UserError(f"no request was answered: {answers[0].message}")


def _measure(bench: "Bench", prompt_tokens: int) -> bool:
    """Measure; True if Ctrl-C ended it."""
    import asyncio

    from hyperclova.inference.bench.targets import EngineTarget

    async def run() -> None:
        async with bench.target as target:
            if isinstance(target, EngineTarget):
                room, needed = (
                    target.model.context_length,
                    prompt_tokens + bench.workload.max_tokens,
                )
                if needed > room:
                    raise UserError(
                        f"{prompt_tokens} + {bench.workload.max_tokens} tokens do not fit into "
                        f"the model's context of {room}: lower --prompt-tokens or --max-tokens"
                    )
            await bench.run()

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        return True
    return False


def _report(bench: "Bench", asked: dict[str, Any], json: Path | None, plot: Path | None) -> None:
    from rich.console import Console

    from hyperclova.durable import write_json
    from hyperclova.inference.bench import plot as picture
    from hyperclova.inference.bench import report

    console = Console()
    target = bench.target.describe()
    summaries = [report.summarize(level) for level in bench.levels]
    console.print(report.table(summaries))
    reasons: Counter[str] = Counter()
    for summary in summaries:
        reasons.update(summary.reasons)
    for reason, times in reasons.most_common(_REASONS):
        console.print(f"{times} × {reason}", markup=False, highlight=False, soft_wrap=True)
    if json is not None:
        write_json(json, report.to_json(target, asked, summaries))
    if plot is not None:
        tokens = f"{asked['prompt_tokens']} + {asked['max_tokens']} tokens a request"
        picture.draw(summaries, plot, f"{target['model']}: {tokens}")


def _check_outputs(json: Path | None, plot: Path | None) -> None:
    """Refuse now what would fail after minutes of measuring."""
    from hyperclova.inference.bench import plot as picture

    if plot is not None:
        picture.check(plot)
    for path in (json, plot):
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"{path}: there is no directory {path.absolute().parent}")


def _numbers(option: str, text: str) -> tuple[float, ...]:
    """The numbers of a list such as 1,4,8."""
    kind = int if option == "--concurrency" else float
    try:
        numbers = tuple(kind(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number < math.inf for number in numbers):
        what = "whole numbers" if kind is int else "numbers"
        raise UserError(f"{option} {text}: must be {what} above 0, parted by commas: 1,4,8")
    return numbers


@contextlib.contextmanager
def _random_model(shape: str, tokenizer: "Tokenizer") -> Iterator[Path]:
    """A model directory of one of the paper's sizes, gone afterwards."""
    from tempfile import TemporaryDirectory

    import torch

    from hyperclova.model import GPT
    from hyperclova.model.directory import save_model

    with TemporaryDirectory(prefix="hyperclova-bench-") as directory:
        # bfloat16 halves the file; what is computed with is the engine's own choice.
        save_model(GPT.from_size(shape, _VOCABULARY), directory, torch.bfloat16)
        tokenizer.save(directory)
        yield Path(directory)


@contextlib.contextmanager
def _progress(workload: "Workload") -> "Iterator[Watcher]":
    """A bar on stderr; where that is no terminal, a line as each measurement begins."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    unit = "requests/s" if workload.open_loop else "clients"
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("loading the model", total=None)

        def watch(load: float, ended: int, requests: int) -> None:
            bar.update(task, description=f"{load:g} {unit}", completed=ended, total=requests)
            if ended == 0 and not console.is_terminal:
                console.print(f"{load:g} {unit}: {requests} requests", highlight=False)

        yield watch

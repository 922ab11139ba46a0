"""``hyperclova pretrain``: token shards -> checkpoints -> a model directory."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hyperclova.model import GPT
    from hyperclova.pretraining.config import PretrainingConfig, SamplesSection
    from hyperclova.pretraining.loop import Sampler


def pretrain(
    config: Annotated[Path, typer.Argument(help="TOML file, see configs/pretrain/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to it: section.key=value", metavar="[SECTION.KEY=VALUE]..."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint, if there is one.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; all cores by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Run the checks before the first step, and nothing else."),
    ] = False,
) -> None:
    """Pretrain a model; SIGTERM saves and exits with status 75.

    Start it with torchrun to train on several devices; [layout] says how.
    """
    from hyperclova import configuration
    from hyperclova.pretraining.config import PretrainingConfig

    resolved = configuration.load(PretrainingConfig, config, overrides or [])
    if dry_run:
        import rich

        rich.print_json(data=configuration.to_mapping(resolved))
        return

    if check:
        _check(resolved)
        return

    import torch
    from rich.console import Console
    from rich.live import Live

    from hyperclova.pretraining.export import export_run
    from hyperclova.pretraining.live import LineWatcher, LiveWatcher
    from hyperclova.pretraining.loop import Interrupted
    from hyperclova.pretraining.loop import pretrain as run

    if threads:
        torch.set_num_threads(threads)
    sampler = _sampler(resolved) if resolved.samples.every_steps else None
    leads = os.environ.get("RANK", "0") == "0"
    # A process that torchrun started again has something to go on from.
    resume = resume or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    console = Console(quiet=not leads)
    try:
        if leads and console.is_terminal:
            with Live(console=console, refresh_per_second=4) as live:
                run(resolved, LiveWatcher(live), resume, sampler)
        else:
            run(resolved, LineWatcher(console), resume, sampler)
    except Interrupted as stop:
        console.print(f"{stop}; go on with --resume", markup=False, soft_wrap=True)
        sys.exit(stop.exit_status)
    if leads:
        directory = resolved.directory / "model"
        export_run(resolved.directory, directory)
        console.print(f"model: {directory}", markup=False, soft_wrap=True)


def _check(config: "PretrainingConfig") -> None:
    from rich.console import Console

    from hyperclova.pretraining.loop import check
    from hyperclova.pretraining.preflight import require

    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    findings = check(config)
    for finding in findings:
        mark = {"good": "✓", "doubtful": "?", "bad": "✗"}[finding.level]
        line = f"{mark} {finding.check}: {finding.text}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    require(findings)


def _sampler(config: "PretrainingConfig") -> "Sampler":
    """Samples come from the engine, so that they are what users of the model will get."""
    import tempfile

    from hyperclova.inference import Engine
    from hyperclova.inference.protocol import Request, Sampling
    from hyperclova.pretraining.export import export_model
    from hyperclova.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(config.data.tokenizer)

    def sample(model: "GPT", section: "SamplesSection") -> Sequence[str]:
        sampling = Sampling(temperature=section.temperature, seed=config.training.seed)
        requests = [Request(prompt, section.max_tokens, sampling) for prompt in section.prompts]
        with tempfile.TemporaryDirectory() as directory:
            export_model(model, tokenizer, Path(directory))
            with Engine(directory) as engine:
                return [completion.text for completion in engine.generate(requests)]

    return sample

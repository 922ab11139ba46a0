"""The front door: one file per verb, each a thin layer over one floor.

A verb's file imports only typer at the top; the floor it serves is imported when the verb runs,
so that ``hyperclova --help`` is instant and an extra is needed only by the verbs that use it.
"""

import sys

import typer

from hyperclova.errors import UserError

application = typer.Typer(
    name="hyperclova",
    help="HyperCLOVA in the open: a Korean GPT from corpus to Studio.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Extras whose absence shows as a missing module; the remedy is the same for all of them.
_EXTRA_OF = {
    "torch": "engine",
    "safetensors": "engine",
    "ctranslate2": "export",
    "gguf": "export",
    "matplotlib": "report",
    "distributed": "corpus",
    "fsspec": "corpus",
    "mwparserfromhell": "corpus",
    "pyarrow": "corpus",
    "sklearn": "corpus",
    "trafilatura": "corpus",
    "yaml": "corpus",
    "fastapi": "studio",
    "uvicorn": "studio",
    "sqlalchemy": "studio",
    "alembic": "studio",
    "jinja2": "studio",
    "httpx": "remote",
    "msgpack": "studio",
    "tensorboard": "train",
}


def main() -> None:
    """Run the command line; a :class:`UserError` becomes one line on stderr and status 2."""
    _register_verbs()
    try:
        application()
    except UserError as error:
        sys.stderr.write(f"hyperclova: {error}\n")
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        sys.stderr.write(
            f"hyperclova: this command needs {error.name}: pip install 'hyperclova[{extra}]'\n"
        )
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        sys.stderr.close()
        sys.exit(1)


def _register_verbs() -> None:
    """Hang every verb on the application."""
    from hyperclova.cli import (
        bench,
        corpus,
        export,
        generate,
        plan,
        pretrain,
        scaling,
        studio,
        tokenize,
        tokenizer,
    )

    application.add_typer(corpus.application)
    application.add_typer(tokenizer.application)
    application.command()(tokenize.tokenize)
    application.command()(plan.plan)
    application.command()(pretrain.pretrain)
    application.add_typer(scaling.application)
    application.command()(export.export)
    application.command()(generate.generate)
    application.add_typer(bench.application)
    application.command()(studio.studio)

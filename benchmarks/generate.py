"""Tokens per second of the engine against ``transformers.generate``, same weights, same ids.

    python benchmarks/generate.py --model DIRECTORY
    python benchmarks/generate.py --model DIRECTORY --shape 137M --vocabulary 51200

With ``--shape`` the weights are random, of one of the paper's sizes; the directory then only
gives the tokenizer. Both sides write greedily after prompts of equal length, in float32 on the
CPU. Nothing is timed before the two have written the same ids. A time is the best of several
runs, which alternate, and includes reading the prompts.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.table import Table

from hyperclova.inference import Engine
from hyperclova.inference.protocol import Request, Sampling
from hyperclova.model import GPT
from hyperclova.model.directory import save_model
from hyperclova.tokenizer import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--shape", help="random weights of this size instead, such as 137M")
    parser.add_argument("--vocabulary", type=int, default=51_200, help="ids of --shape")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="count processor seconds, not the clock's: for a machine that does other work "
        "meanwhile; with --threads 1 the two mean the same on an idle one",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.model
        if arguments.shape:
            directory = Path(scratch)
            save_model(GPT.from_size(arguments.shape, arguments.vocabulary), directory)
            Tokenizer.load(arguments.model).save(directory)
        compare(directory, arguments)


def compare(directory: Path, arguments: argparse.Namespace) -> None:
    oracle = transformers.GPT2LMHeadModel.from_pretrained(directory).eval()
    with Engine(directory, device="cpu", rows=max(arguments.rows)) as engine:
        end = engine.tokenizer.end_of_text_id
        # Neither side may stop early, or write ids that the tokenizer does not have.
        banned = [end, *range(engine.model.vocabulary_size, oracle.config.vocab_size)]
        generator = torch.Generator().manual_seed(0)
        table = Table("rows", "transformers tok/s", "hyperclova tok/s", "ratio", "first token ms")
        for rows in arguments.rows:
            prompts = torch.randint(
                1,
                engine.model.vocabulary_size,
                (rows, arguments.prompt_tokens),
                generator=generator,
            )

            def theirs(prompts: torch.Tensor = prompts) -> list[list[int]]:
                written = oracle.generate(
                    prompts,
                    attention_mask=torch.ones_like(prompts),
                    max_new_tokens=arguments.tokens,
                    do_sample=False,
                    suppress_tokens=banned,
                    pad_token_id=end,
                )
                return written[:, prompts.shape[1] :].tolist()

            def requests(logprobs: int | None, prompts: torch.Tensor = prompts) -> list[Request]:
                sampling = Sampling(temperature=0, logit_bias={end: -1e4})
                return [
                    Request(tuple(ids), arguments.tokens, sampling, logprobs=logprobs)
                    for ids in prompts.tolist()
                ]

            ours = [
                [token.id for token in completion.choices[0].tokens]
                for completion in engine.generate(requests(0))
            ]
            if ours != theirs():
                raise SystemExit(f"{rows} rows: the two write different ids; nothing was timed")
            plain = requests(None)
            clock = time.process_time if arguments.processor_time else time.perf_counter
            times = alternate(
                clock, arguments.repeats, theirs, lambda plain=plain: engine.generate(plain)
            )
            rates = [rows * arguments.tokens / seconds for seconds in times]
            first = min(first_token(engine, plain[0], clock) for _ in range(arguments.repeats))
            table.add_row(
                str(rows),
                f"{rates[0]:.1f}",
                f"{rates[1]:.1f}",
                f"{rates[1] / rates[0]:.2f}",
                f"{first * 1000:.0f}",
            )
        Console().print(
            f"{engine.model.parameters / 1e6:.1f} M parameters, {oracle.config.vocab_size} ids, "
            f"{arguments.prompt_tokens} + {arguments.tokens} tokens a row, "
            f"{arguments.threads} threads, "
            f"{'processor time' if arguments.processor_time else 'wall clock'}, float32, "
            f"torch {torch.__version__}, transformers {transformers.__version__}"
        )
        Console().print(table)


Clock = Callable[[], float]


def alternate(
    clock: Clock, repeats: int, left: Callable[[], object], right: Callable[[], object]
) -> tuple[float, float]:
    """The best time of each in seconds; they take turns, so that a slow moment hits both."""
    best = [float("inf"), float("inf")]
    for _ in range(repeats):
        for place, work in enumerate((left, right)):
            began = clock()
            work()
            best[place] = min(best[place], clock() - began)
    return best[0], best[1]


def first_token(engine: Engine, request: Request, clock: Clock) -> float:
    """Seconds from asking to the first chunk, with nothing else asked."""
    began = clock()
    with engine.stream(request) as chunks:
        next(chunks)
        return clock() - began


if __name__ == "__main__":
    main()

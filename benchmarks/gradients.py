"""Gradients with respect to soft prompts: batches of ours against transformers and autograd.

    python benchmarks/gradients.py --model DIRECTORY
    python benchmarks/gradients.py --model DIRECTORY --shape 137M --vocabulary 51200

The work is one step of p-tuning: a soft prompt, a text of its own length for each request, and a
loss; "verbalizers" is cross-entropy among labels, "text" the likelihood of a continuation. Three
do it: ours in batches, ours one request at a time, and transformers with ``inputs_embeds`` and
frozen weights as one writes it down (each label a row of its own, padded, logits of every
position), one request at a time and ``--batch`` of them at a time. Losses and gradients of all
must agree before anything is timed. With ``--shape`` the weights are random, of one of the
paper's sizes, and the directory only gives the tokenizer. In float32. A time is the best of
several runs, which alternate.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table
from torch.nn.utils.rnn import pad_sequence

from hyperclova.inference.gradients import Differentiator
from hyperclova.inference.protocol import GradientRequest, Gradients
from hyperclova.inference.soft_prompt import SoftPrompt
from hyperclova.model import GPT
from hyperclova.model.directory import save_model
from hyperclova.tokenizer import Tokenizer

TOLERANCE = 1e-3
"""Of losses, and of gradients relative to their largest number, in float32."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--shape", help="random weights of this size instead, such as 137M")
    parser.add_argument("--vocabulary", type=int, default=51_200, help="ids of --shape")
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--soft", type=int, default=20, help="tokens of the soft prompt")
    parser.add_argument(
        "--text", type=int, nargs=2, default=[24, 64], help="tokens of a text, from and to"
    )
    parser.add_argument("--labels", type=int, default=2, help="of the task verbalizers")
    parser.add_argument("--label-tokens", type=int, default=1)
    parser.add_argument("--target", type=int, default=24, help="tokens of the task text")
    parser.add_argument("--batch", type=int, default=8, help="requests that theirs runs at a time")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
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
    tokenizer = Tokenizer.load(directory)
    ours = Differentiator(directory, tokenizer, device=arguments.device, dtype=torch.float32)
    theirs = Theirs(directory, arguments.device)
    clock = time.process_time if arguments.processor_time else time.perf_counter
    table = Table("task", "who", "requests/s", "ms a request", "against theirs, one by one")
    for task in ("verbalizers", "text"):
        requests = work(task, arguments, tokenizer.vocabulary_size, ours.config.width)
        ways: dict[str, Callable[[], list[Gradients]]] = {
            "transformers, one by one": lambda requests=requests: theirs(requests, 1),
            f"transformers, {arguments.batch} a batch": lambda requests=requests: theirs(
                requests, arguments.batch
            ),
            "hyperclova, one by one": lambda requests=requests: [
                ours.gradients([request])[0] for request in requests
            ],
            "hyperclova, batched": lambda requests=requests: ours.gradients(requests),
        }
        results = {name: way() for name, way in ways.items()}
        expected = results["transformers, one by one"]
        for name, found in results.items():
            if (difference := furthest(expected, found)) > TOLERANCE:
                raise SystemExit(f"{task}, {name}: off by {difference:.1e}; nothing was timed")
        times = dict.fromkeys(ways, float("inf"))
        for _ in range(arguments.repeats):
            for name, way in ways.items():
                began = clock()
                way()
                times[name] = min(times[name], clock() - began)
        slowest = times["transformers, one by one"]
        for name, seconds in times.items():
            table.add_row(
                task,
                name,
                f"{len(requests) / seconds:.2f}",
                f"{1000 * seconds / len(requests):.0f}",
                f"{slowest / seconds:.2f}",
            )
        table.add_section()
    parameters = sum(parameter.numel() for parameter in ours.model.parameters())
    Console().print(
        f"{parameters / 1e6:.1f} M parameters, {ours.config.vocab_size} ids, {arguments.requests} "
        f"requests of {arguments.soft} soft tokens and {arguments.text[0]} to {arguments.text[1]} "
        f"of text; {arguments.labels} labels of {arguments.label_tokens}, or {arguments.target} "
        f"tokens of text; {arguments.device}, {arguments.threads} threads, "
        f"{'processor time' if arguments.processor_time else 'wall clock'}, float32, "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )
    Console().print(table)


def work(
    task: str, arguments: argparse.Namespace, vocabulary: int, width: int
) -> list[GradientRequest]:
    """Random token ids: what they say does not change the work."""
    random = np.random.default_rng(0)
    soft = SoftPrompt(random.normal(0, 0.02, (arguments.soft, width)).astype(np.float32))

    def tokens(number: int) -> tuple[int, ...]:
        return tuple(random.integers(1, vocabulary, number).tolist())

    labels = [tokens(arguments.label_tokens) for _ in range(arguments.labels)]
    requests = []
    for place in range(arguments.requests):
        prompt = (soft, *tokens(int(random.integers(arguments.text[0], arguments.text[1] + 1))))
        if task == "verbalizers":
            target = labels[place % len(labels)]
            rivals = tuple(label for label in labels if label != target)
            requests.append(GradientRequest(prompt, target, choices=rivals))
        else:
            requests.append(GradientRequest(prompt, tokens(arguments.target)))
    return requests


class Theirs:
    """The same by ``transformers``: embeddings in, logits out, autograd."""

    def __init__(self, directory: Path, device: str) -> None:
        model = transformers.GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float32)
        self.model = model.eval().requires_grad_(False).to(device)
        self.device = device

    def __call__(self, requests: Sequence[GradientRequest], batch: int) -> list[Gradients]:
        results: list[Gradients] = []
        for start in range(0, len(requests), batch):
            results += self.step(requests[start : start + batch])
        return results

    def step(self, requests: Sequence[GradientRequest]) -> list[Gradients]:
        embed = self.model.transformer.wte
        tables, rows, targets = [], [], []
        for request in requests:
            soft, *ids = request.prompt
            assert isinstance(soft, SoftPrompt)
            table = torch.tensor(soft.table, device=self.device, requires_grad=True)
            tables.append(table)
            for choice in (request.target, *request.choices):
                assert not isinstance(choice, str)
                after = embed(torch.tensor([*ids, *choice], device=self.device))
                rows.append(torch.cat([table, after]))
                targets.append(choice)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        embeddings = pad_sequence(rows, batch_first=True)
        mask = torch.arange(embeddings.shape[1], device=self.device) < lengths.unsqueeze(1)
        logits = self.model(inputs_embeds=embeddings, attention_mask=mask.long()).logits
        logprobs = []
        for row, (length, target) in enumerate(zip(lengths.tolist(), targets, strict=True)):
            predicting = logits[row, length - len(target) - 1 : length - 1].log_softmax(dim=1)
            logprobs.append(predicting[range(len(target)), list(target)])
        losses, firsts = [], []
        for request in requests:
            each, logprobs = (
                logprobs[: 1 + len(request.choices)],
                logprobs[1 + len(request.choices) :],
            )
            firsts.append(tuple(each[0].tolist()))
            if request.choices:
                totals = torch.stack([choice.sum() for choice in each])
                losses.append(-totals.log_softmax(dim=0)[0])
            else:
                losses.append(-each[0].mean())
        torch.stack(losses).sum().backward()
        return [
            Gradients(loss.item(), first, table.grad.cpu().numpy())
            for loss, first, table in zip(losses, firsts, tables, strict=True)
        ]


def furthest(expected: Sequence[Gradients], found: Sequence[Gradients]) -> float:
    """The largest difference of losses, log-probabilities and (relative) gradients."""
    differences = []
    for one, other in zip(expected, found, strict=True):
        differences.append(abs(one.loss - other.loss))
        differences += [abs(a - b) for a, b in zip(one.logprobs, other.logprobs, strict=True)]
        largest = np.abs(one.gradient).max()
        differences.append(float(np.abs(one.gradient - other.gradient).max() / largest))
    return max(differences)


if __name__ == "__main__":
    main()

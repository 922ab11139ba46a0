"""Write the card and the loss curve of the model we ship.

    python models/report.py RUN [RUN ...] MODEL_DIRECTORY

Several runs: each began with the weights of the one before. Everything in the card is read from
the runs and asked of the model: nothing is edited.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from hyperclova.inference import Engine
from hyperclova.inference.protocol import Request, Sampling
from hyperclova.model import cost
from hyperclova.model.directory import load_config
from hyperclova.pretraining.metrics import read_metrics
from hyperclova.style import ACCENT, LINE, chart

PROMPTS = (
    "옛날 옛적에",
    "오늘 아침에 일어나서",
    "이 영화는 정말",
    "대한민국의 수도는",
    "존경하는 대통령님,",
)
SAMPLING = Sampling(temperature=0.7, top_p=0.9, repetition_penalty=1.1, seed=1)
MAX_TOKENS = 60

LICENCES = {
    "wiki": "Korean Wikipedia extract (CC BY-SA 3.0)",
    "comments": "Naver movie reviews without the NSMC test (CC0), entertainment news comments "
    "(CC BY-SA 4.0)",
    "cafe": "Blue House petitions (KOGL type 1)",
    "modu": "KoCoNovel public-domain novels (CC BY-SA 4.0), fairy tales (CC BY 4.0)",
    "kin": "Chatbot_data, Question_pair (MIT)",
    "others": "statutes (public work), Microsoft, TensorFlow, Rust and React documentation "
    "(CC BY 4.0, Apache-2.0, MIT)",
    "news": "Wikinews (CC BY 2.5), entertainment news titles (CC BY-SA 4.0)",
    "blog": "developers' blogs (MIT), book reviews (CC BY)",
}


Records = list[dict[str, Any]]


def draw_loss(runs: list[tuple[Records, Records]], path: Path) -> None:
    """Training loss per token, and held-out bits per byte, over tokens seen by all the runs."""
    with chart(9, 3.2, columns=2) as (figure, (left, right)):
        before = 0
        for train, evaluations in runs:
            tokens = [(before + record["tokens"]) / 1e6 for record in train]
            losses = [record["loss"] for record in train]
            recent = [losses[max(0, i - 9) : i + 1] for i in range(len(losses))]
            left.plot(tokens, losses, color=LINE, linewidth=0.6)
            left.plot(tokens, [sum(values) / len(values) for values in recent], color=ACCENT)
            right.plot(
                [(before + record["tokens"]) / 1e6 for record in evaluations],
                [record["bits_per_byte"] for record in evaluations],
                color=ACCENT,
            )
            before += train[-1]["tokens"]
        left.set(xlabel="tokens (millions)", title="training loss, nats per token")
        right.set(xlabel="tokens (millions)", title="held-out bits per byte")
        figure.savefig(path)


def hours(train: Records) -> float:
    """Time spent in training steps, from the rates that were logged."""
    seconds, before = 0.0, 0
    for record in train:
        seconds += (record["tokens"] - before) / record["tokens_per_second"]
        before = record["tokens"]
    return seconds / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("model", type=Path)
    parser.add_argument("--remark", default="", help="a paragraph on how this run was special")
    arguments = parser.parse_args()
    record = json.loads((arguments.runs[-1] / "run.json").read_text(encoding="utf-8"))
    runs = [
        (
            read_metrics(run / "metrics.jsonl", "train"),
            read_metrics(run / "metrics.jsonl", "evaluation"),
        )
        for run in arguments.runs
    ]
    draw_loss(runs, arguments.model / "loss.png")
    tokens = sum(train[-1]["tokens"] for train, _ in runs)
    spent = sum(hours(train) for train, _ in runs)

    shape = load_config(arguments.model)
    engine = Engine(arguments.model)
    answers = engine.generate([Request(prompt, MAX_TOKENS, SAMPLING) for prompt in PROMPTS])
    weights = record["configuration"]["data"]["weights"]
    total = sum(weights.values())
    rows = [
        f"| {source} | {100 * weight / total:.0f} % | {LICENCES.get(source, '')} |"
        for source, weight in sorted(weights.items(), key=lambda item: -item[1])
    ]
    samples = [
        f"> **{prompt}**{answer.text}".replace("\n", "\n> ")
        for prompt, answer in zip(PROMPTS, answers, strict=True)
    ]
    fingerprint = engine.tokenizer.fingerprint
    final = runs[-1][1][-1]
    card = f"""---
language: ko
license: cc-by-sa-4.0
library_name: transformers
pipeline_tag: text-generation
---

# hyperclova-small

A small Korean language model that this repository trained with its own pipeline, so that Studio
has something to talk to. It continues text; it does not follow instructions and does not chat.
Not affiliated with NAVER.

| | |
|---|---|
| shape | GPT-3's decoder: {shape.layers} layers, width {shape.width}, {shape.heads} heads, context {shape.context_length} |
| parameters | {cost.parameters(shape):,} |
| tokenizer | morpheme-aware byte-level BPE, {engine.tokenizer.vocabulary_size:,} tokens, fingerprint `{fingerprint[:16]}` |
| trained on | {tokens:,} tokens ({cost.training_flops_per_token(shape) * tokens:.2g} FLOP) |
| hardware and time | {record["device"]}, {spent:.1f} hours, {record["precision"]} |
| held-out | **{final["bits_per_byte"]:.3f} bits per byte** (1 % of the documents, chosen by a hash of their id) |
| made with | hyperclova {record["versions"]["hyperclova"]}, torch {record["versions"]["torch"]}: `make default-model`, [the configuration](../../configs/pretrain/default.toml) |

![Training loss and held-out bits per byte](loss.png)

{arguments.remark}

## Data

Shares of the training samples, by source. The weights inherit the share-alike terms of the data.

| source | share | what, and its licence |
|---|---|---|
{chr(10).join(rows)}

Left out: documents that share eight words in a row with the evaluation texts of NSMC (test),
KorQuAD 1.0, KLUE (YNAT, STS), KorSTS and the Korean–English news tests. NSMC's *training*
reviews are among the comments.

## Five samples, unedited

Temperature {SAMPLING.temperature}, top-p {SAMPLING.top_p}, repetition penalty {SAMPLING.repetition_penalty}, seed {SAMPLING.seed}, {MAX_TOKENS} tokens. The prompt is in bold.

{(chr(10) * 2).join(samples)}

## What it can't do

It has seen little text and has few parameters. Most sentences in the manner of reviews, petitions, talk
and stories are grammatical; encyclopedic ones often are not, and what is said seldom makes sense. It loses the thread within a sentence or
two, repeats itself, invents names, numbers and facts, and knows nothing reliably. It repeats the abuse and the prejudice of comment
sections. Do not use it for anything but trying the software.

Raw text must be encoded by `hyperclova.tokenizer.Tokenizer`. `tokenizer.json` alone, as
`transformers` loads it, has no morpheme analyser and gives other ids for the same text.
"""
    (arguments.model / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()

"""``hyperclova corpus train-quality``: train and evaluate the quality classifier."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer


def train_quality(
    positive: Annotated[
        list[Path],
        typer.Option(help="Good documents (an encyclopedia), one file a kind: *.jsonl[.gz|.zst]."),
    ],
    negative: Annotated[list[Path], typer.Option(help="Crawled documents, one file a kind.")],
    output: Annotated[Path, typer.Option(help="Directory for the weights and the report.")],
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(help="Documents of neither: only compared with their own degraded copies."),
    ] = None,
    characters: Annotated[
        float, typer.Option(min=0.001, help="Characters, in millions, taken of each kind.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed samples other documents.")] = 0,
) -> None:
    """Train the classifier that the rule low-quality applies, and report how well it tells."""
    from rich.console import Console

    from hyperclova.corpus.quality import evaluate, model, train

    console = Console(stderr=True)
    amount = int(characters * 1_000_000)
    with console.status("reading"):
        texts = train.gather(positive, True, amount, seed)
        texts += train.gather(negative, False, amount, seed)
        texts += train.gather(unlabelled or [], None, amount, seed)
    training, calibration, test = train.split(texts)
    pages = list(train.windows(training, seed))
    held_back = list(train.windows(calibration, seed))
    with console.status(f"training on {len(pages):,} windows"):
        examples = train.Examples.of(pages, seed)
        trained = train.calibrate(train.fit(examples), held_back)
    output.mkdir(parents=True, exist_ok=True)
    trained.save(output / model.WEIGHTS)
    with console.status("evaluating"):
        found = evaluate.on_test(trained, test)
        found += evaluate.on_kinds(examples, held_back, texts)
        evaluate.write_report(found, Counter(page.group for page in pages), output)
    for evaluation in found:
        if evaluation.name != evaluate.NEITHER:
            console.print(f"{evaluation.name}: ROC-AUC {evaluation.area():.3f}", highlight=False)
    console.print(f"{output}: {model.WEIGHTS}, report.md, worst-errors.txt", highlight=False)

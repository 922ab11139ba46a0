"""``hyperclova corpus train-quality``: train and evaluate the quality classifier."""

from pathlib import Path
from typing import Annotated

import typer


def train_quality(
    positive: Annotated[
        list[Path], typer.Option(help="Good documents (an encyclopedia), *.jsonl[.gz|.zst].")
    ],
    negative: Annotated[list[Path], typer.Option(help="Crawled documents.")],
    output: Annotated[Path, typer.Option(help="Directory for the weights and the report.")],
    held_out_positive: Annotated[
        list[Path] | None, typer.Option(help="Good documents of other sources, to evaluate on.")
    ] = None,
    held_out_negative: Annotated[
        list[Path] | None, typer.Option(help="Crawled documents of other sources.")
    ] = None,
    characters: Annotated[
        int, typer.Option(min=1, help="Characters, in millions, taken of each source and licence.")
    ] = 10,
    seed: Annotated[int, typer.Option(help="Another seed samples other documents.")] = 0,
) -> None:
    """Train the classifier that the rule low-quality applies, and report how well it tells."""
    from rich.console import Console

    from hyperclova.corpus.quality import evaluate, model, train

    console = Console(stderr=True)
    amount = characters * 1_000_000
    with console.status("reading"):
        texts = train.gather(positive, True, amount, seed)
        texts += train.gather(negative, False, amount, seed)
        foreign = train.gather(held_out_positive or [], True, amount, seed)
        foreign += train.gather(held_out_negative or [], False, amount, seed)
    training, calibration, test = train.split(texts)
    pages = list(train.windows(training, seed))
    with console.status(f"training on {len(pages):,} windows"):
        trained = train.fit(pages)
        trained = train.calibrate(trained, list(train.windows(calibration, seed)))
    trained_on: dict[str, int] = {}
    for page in pages:
        trained_on[page.group] = trained_on.get(page.group, 0) + 1
    output.mkdir(parents=True, exist_ok=True)
    trained.save(output / model.WEIGHTS)
    with console.status("evaluating"):
        found = evaluate.evaluations(trained, list(train.windows(test, seed)), test, foreign)
        evaluate.write_report(found, trained_on, output)
    for evaluation in found:
        row = evaluate.measure(evaluation)
        console.print(
            f"{evaluation.name}: ROC-AUC {row['roc_auc']:.4f}, Brier score {row['brier']:.4f}",
            highlight=False,
        )
    console.print(f"{output}: {model.WEIGHTS}, report.md, worst-errors.txt", highlight=False)

"""Put a ladder's fit into docs/scaling.md, tables and picture, and benchmarks/scaling.json.

    python benchmarks/scaling_page.py RUNS/scaling.json

Everything between the page's two markers is written anew; nothing there is edited by hand.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from hyperclova.pretraining.scaling.plot import plot
from hyperclova.pretraining.scaling.report import short
from hyperclova.pretraining.scaling.results import COUNTS, Fit, Interval, LossFits

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scaling.md"
PICTURE = ROOT / "docs" / "images" / "scaling.png"
MEASURED = ROOT / "benchmarks" / "scaling.json"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
NAMES = {"non_embedding_parameters": "non-embedding", "parameters": "total"}


def tables(fit: Fit) -> Iterator[str]:
    """The section, line by line."""
    yield "| size | non-embedding | total | tokens | FLOP | training | held-out | bits per byte |"
    yield "|---|---|---|---|---|---|---|---|"
    for point in fit.ladder.points:
        if point.finished:
            star = "*" if point.size in fit.held_out_sizes else ""
            yield (
                f"| {point.size}{star} | {point.non_embedding_parameters:,} | {point.parameters:,} "
                f"| {point.tokens:,} | {point.flops:.2e} | {point.training_loss:.3f} "
                f"| {point.loss:.3f} | {point.bits_per_byte:.3f} |"
            )
    yield ""
    yield "Finished runs, losses in nats per token; * held out of the fits. Held-out loss:"
    yield ""
    yield from laws(fit.of("loss"), fit)
    yield ""
    yield "Predictions of the size held out:"
    yield ""
    yield from predictions(fit.of("loss"))
    yield ""
    yield "The same for training loss:"
    yield ""
    yield from laws(fit.of("training_loss"), fit)
    yield ""
    yield from predictions(fit.of("training_loss"))


def laws(fits: LossFits, fit: Fit) -> Iterator[str]:
    yield f"| law | N | fit | {fit.level:.0%} intervals (L(C): one size left out) | off by (rms) |"
    yield "|---|---|---|---|---|"
    for joint in fits.joint:
        law, around = joint.law, joint.intervals
        yield (
            f"| L(N, D) | {NAMES[joint.count]} | {law.irreducible:.2f} "
            f"+ {law.parameter_factor:.3g} / N^{law.alpha:.3f} "
            f"+ {law.token_factor:.3g} / D^{law.beta:.3f} "
            f"| E {span(around['irreducible'])}, α {span(around['alpha'])}, "
            f"β {span(around['beta'])} "
            f"| {joint.root_mean_square:.2%} |"
        )
    for single in fits.parameters:
        yield (
            f"| L(N), {short(single.tokens)} tokens | {NAMES[single.count]} "
            f"| ({single.law.scale:.2e} / N)^{single.law.exponent:.4f} "
            f"| exponent {span(single.exponent_interval)} | |"
        )
    for compute in fits.compute:
        name = "finished runs" if compute.finished else "constant rate"
        bounds = f"exponent {span(compute.exponent_range)}" if compute.exponent_range else ""
        yield (
            f"| L(C), {name} | | ({compute.law.scale:.2e} / C)^{compute.law.exponent:.4f} "
            f"| {bounds} | |"
        )


def predictions(fits: LossFits) -> Iterator[str]:
    yield "| law | N | tokens | measured | predicted | interval | error |"
    yield "|---|---|---|---|---|---|---|"
    names = {"joint": "L(N, D)", "parameters": "L(N)", "compute": "L(C)", "none": "none"}
    for row in sorted(fits.predictions, key=lambda row: (list(names).index(row.law), row.tokens)):
        law = names[row.law] + ("" if row.finished else ", constant rate")
        count = NAMES[row.count] if row.count in COUNTS else ""
        interval = span(row.interval) if row.interval else ""
        yield (
            f"| {law} | {count} | {row.tokens:,} | {row.measured:.3f} | {row.predicted:.3f} "
            f"| {interval} | {row.error:+.2%} |"
        )


def span(interval: Interval) -> str:
    return f"{interval[0]:.3g} … {interval[1]:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fit", type=Path)
    fit = Fit.load(parser.parse_args().fit)
    fit.save(MEASURED)
    plot(fit, PICTURE)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    section = "\n".join(tables(fit))
    PAGE.write_text(f"{before}{BEGIN}\n{section}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

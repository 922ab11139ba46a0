"""A fit in tables, for people."""

from collections.abc import Iterator

from rich.table import Table

from hyperclova.pretraining.scaling.results import Count, Fit, Interval, LossFits, Measure

_COUNTS: dict[Count, str] = {"non_embedding_parameters": "non-embedding", "parameters": "total"}
_LAWS = {"joint": "L(N, D)", "parameters": "L(N)", "compute": "L(C)", "none": "none"}


def report(fit: Fit) -> Iterator[Table | str]:
    """Finished runs; then laws and predictions, held-out loss before training loss."""
    yield _runs(fit)
    names: dict[Measure, str] = {
        "loss": f"held-out loss ({fit.ladder.source})",
        "training_loss": "training loss",
    }
    for fits in fit.losses:
        yield from _laws(fits, names[fits.measure], fit.level)
        if fits.predictions:
            yield _predictions(fits, names[fits.measure])
        for reason in fits.missing:
            yield f"no {reason}"


def _runs(fit: Fit) -> Table:
    table = Table(
        *("size", "N", "N total", "tokens", "FLOP", "training", "held-out", "bits/byte"),
        title="finished runs; N without embeddings; losses in nats per token",
    )
    for point in fit.ladder.points:
        if point.finished:
            table.add_row(
                point.size + ("*" if point.size in fit.held_out_sizes else ""),
                short(point.non_embedding_parameters),
                short(point.parameters),
                short(point.tokens),
                f"{point.flops:.2e}",
                f"{point.training_loss:.3f}",
                f"{point.loss:.3f}",
                f"{point.bits_per_byte:.3f}",
            )
    if fit.held_out_sizes:
        table.caption = "* held out of the fits"
    return table


def _laws(fits: LossFits, name: str, level: float) -> Iterator[str]:
    yield f"[bold]{name}[/], nats; {level:.0%} intervals in brackets"
    for joint in fits.joint:
        law, around = joint.law, joint.intervals
        yield (
            f"  L(N, D) = {law.irreducible:.3g} + {law.parameter_factor:.3g} / N^{law.alpha:.3f}"
            f" + {law.token_factor:.3g} / D^{law.beta:.3f}   N {_COUNTS[joint.count]}"
        )
        yield (
            f"    E {_range(around['irreducible'])}, alpha {_range(around['alpha'])}, "
            f"beta {_range(around['beta'])}; off by {joint.root_mean_square:.2%} on "
            f"{joint.runs} runs; best N grows as C^{joint.optimal_exponent:.2f} "
            f"{_range(around['optimal_exponent'])}"
        )
    for single in fits.parameters:
        yield (
            f"  L(N) = ({single.law.scale:.3g} / N)^{single.law.exponent:.4f} "
            f"{_range(single.exponent_interval)} after {short(single.tokens)} tokens   "
            f"N {_COUNTS[single.count]}"
        )
    for found in fits.compute:
        bounds = (
            f"; with one size left out {_range(found.exponent_range)}"
            if found.exponent_range
            else ""
        )
        yield (
            f"  L(C) = ({found.law.scale:.3g} / C)^{found.law.exponent:.4f}{bounds}, "
            f"from {found.flops[0]:.1e} to {found.flops[-1]:.1e} FLOP, "
            + ("finished runs" if found.finished else "constant learning rate")
        )


def _predictions(fits: LossFits, name: str) -> Table:
    table = Table(
        *("law", "N", "size", "tokens", "measured", "predicted", "interval", "error"),
        title=f"predictions of {name}",
    )
    for row in fits.predictions:
        table.add_row(
            _LAWS[row.law],
            _COUNTS[row.count] if row.count else "",
            row.size + ("" if row.finished else " constant"),
            short(row.tokens),
            f"{row.measured:.3f}",
            f"{row.predicted:.3f}",
            _range(row.interval) if row.interval else "",
            f"{row.error:+.2%}",
        )
    return table


def short(count: int) -> str:
    """``57k``, ``1.25M``."""
    return f"{count / 1e6:.3g}M" if count >= 999_500 else f"{count / 1e3:.0f}k"


def _range(interval: Interval) -> str:
    # Parentheses: rich reads square brackets as markup.
    return f"({interval[0]:.3g} … {interval[1]:.3g})"

"""How well the quality classifier tells, on documents and on kinds of text it was not trained on.

What counts is the second: on the kinds that it was trained on, a classifier may tell the kind by
anything. So kinds are left out in turns, a good one and crawled ones together, along with some of
the damages, and each is scored by a classifier that has seen none of them.
"""

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyperclova.corpus.quality.degrade import DAMAGES
from hyperclova.corpus.quality.model import QualityModel
from hyperclova.corpus.quality.train import (
    Examples,
    Text,
    calibrate,
    cut,
    degraded,
    fit,
    windows,
)
from hyperclova.style import ACCENT, AMBER, DANGER, INK, LINE, MUTED, chart

LENGTHS = (50, 200, 1000)
"""Characters of the texts of the evaluations in which length can't tell."""
WORST = 20
MOST = 300
"""Texts of one kind that are scored: enough for two digits."""
KINDS, DEGRADED, NEITHER = (
    "held-out kinds",
    "held-out kinds, degraded",
    "neither good nor crawled",
)
"""Names of evaluations."""
_BINS = 10
_EXCERPT = 300


@dataclass(frozen=True)
class Scored:
    """A text and what the classifier makes of it."""

    text: Text
    probability: float
    fold: int = 0
    """Which classifier scored it, where there are several: only scores of one are compared."""

    @property
    def error(self) -> float:
        """How far the probability is from the label."""
        return abs(bool(self.text.good) - self.probability)


@dataclass(frozen=True)
class Evaluation:
    """Texts of both classes, scored in one way."""

    name: str
    scored: tuple[Scored, ...]

    def groups(self, good: bool) -> list[str]:
        """Where the texts of one class are from."""
        return sorted({item.text.group for item in self.scored if bool(item.text.good) is good})

    def of(self, group: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """Probabilities of one group's texts."""
        return np.array([i.probability for i in self.scored if i.text.group == group])

    def area(self, positive: str | None = None, negative: str | None = None) -> float:
        """ROC-AUC, of two groups or all texts: the mean over the folds; NaN if there is none."""
        from sklearn.metrics import roc_auc_score

        areas = []
        for fold in sorted({item.fold for item in self.scored}):
            good, bad = (
                [
                    item.probability
                    for item in self.scored
                    if item.fold == fold
                    and bool(item.text.good) is label
                    and group in (None, item.text.group)
                ]
                for label, group in ((True, positive), (False, negative))
            )
            if good and bad:
                labels = [True] * len(good) + [False] * len(bad)
                areas.append(float(roc_auc_score(labels, good + bad)))
        return float(np.mean(areas)) if areas else math.nan

    def arrays(self) -> tuple[Any, Any]:
        """Labels and probabilities; both shape (texts,)."""
        return (
            np.array([bool(item.text.good) for item in self.scored], bool),
            np.array([item.probability for item in self.scored]),
        )

    def worst(self) -> list[Scored]:
        """The texts it errs most on."""
        return sorted(self.scored, key=lambda item: (-item.error, item.text.id))[:WORST]


def _scored(model: QualityModel, texts: Iterable[Text], fold: int = 0) -> list[Scored]:
    """Scores of the first :data:`MOST` texts of each kind."""
    scored = []
    counts: Counter[tuple[str, bool | None]] = Counter()
    for text in texts:
        counts[text.group, text.good] += 1
        if counts[text.group, text.good] <= MOST:
            scored.append(Scored(text, model.score(text.text), fold))
    return scored


def _copies(texts: Sequence[Text], only: Collection[str] = ()) -> list[Text]:
    """Degraded copies of good texts, by all damages or ``only`` these."""
    good = [text for text in texts if text.good]
    return [copy for _, copy in degraded(good, 1) if not only or copy.group in only]


def on_test(model: QualityModel, test: Sequence[Text]) -> list[Evaluation]:
    """On windows of documents that training did not see, of kinds that it saw."""
    pages = list(windows(test))
    labelled = [page for page in pages if page.good is not None]
    good = [page for page in pages if page.good]
    return [
        Evaluation("held-out documents", tuple(_scored(model, labelled))),
        Evaluation("held-out documents, degraded", tuple(_scored(model, [*good, *_copies(good)]))),
    ]


def folds(texts: Iterable[Text]) -> list[frozenset[str]]:
    """Kinds and damages that are left out together; as many folds as the rarer class has kinds."""
    kinds = {
        label: list(dict.fromkeys(t.group for t in texts if t.good is label))
        for label in (True, False, None)
    }
    count = min(len(kinds[True]), len(kinds[False]))
    return [
        frozenset(
            name
            for names in (*kinds.values(), list(DAMAGES))
            for index, name in enumerate(names)
            if index % count == fold
        )
        for fold in range(count)
    ]


def on_kinds(
    examples: Examples, calibration: Sequence[Text], texts: Sequence[Text]
) -> list[Evaluation]:
    """On kinds left out of training in turns; none, if a class has only one.

    Args:
        examples: all that is trained on.
        calibration: windows of documents for calibration.
        texts: all documents.
    """
    names = [KINDS, DEGRADED, *(f"{KINDS}, {length} characters" for length in LENGTHS), NEITHER]
    found: dict[str, list[Scored]] = {name: [] for name in names}
    groups = folds(texts)
    if len(groups) < 2:
        return []
    for number, out in enumerate(groups):
        model = fit(examples, without=out)
        model = calibrate(model, [text for text in calibration if text.group not in out])
        mine = [text for text in texts if text.group in out]
        labelled = [text for text in mine if text.good is not None]
        pages = list(windows(labelled))
        good = [page for page in pages if page.good]
        damages = out & DAMAGES.keys()
        others = list(windows(text for text in mine if text.good is None))
        sets = [pages, [*good, *_copies(good, damages)]]
        sets += [cut(labelled, length, MOST) for length in LENGTHS]
        for name, chosen in zip(names, [*sets, others], strict=True):
            found[name] += _scored(model, chosen, number)
    return [Evaluation(name, tuple(found[name])) for name in names if found[name]]


def measure(evaluation: Evaluation) -> dict[str, Any]:
    """ROC-AUC, Brier score, reliability and shares kept, as plain data.

    The Brier score and the reliability weigh both classes alike, as training did.
    """
    labels, probabilities = evaluation.arrays()
    weights = _balance(labels)
    good, bad = evaluation.groups(True), evaluation.groups(False)
    scores = {group: evaluation.of(group) for group in (*good, *bad)}
    pairs = {
        positive: {
            negative: area
            for negative in bad
            if not math.isnan(area := evaluation.area(positive, negative))
        }
        for positive in good
    }
    return {
        "positives": int(labels.sum()),
        "negatives": int((~labels).sum()),
        "roc_auc": evaluation.area(),
        "brier": float(np.average((probabilities - labels) ** 2, weights=weights)),
        "calibration_error": float(
            sum(abs(seen - said) * share for said, seen, share in _reliability(evaluation))
        ),
        "reliability": [
            {"predicted": said, "observed": seen, "share": share}
            for said, seen, share in _reliability(evaluation)
        ],
        "groups": {
            group: {
                "good": group in good,
                "texts": len(values),
                "quartiles": [float(q) for q in np.quantile(values, (0.25, 0.5, 0.75))],
                "above_half": float(np.mean(values >= 0.5)),
            }
            for group, values in scores.items()
        },
        "roc_auc_by_group": pairs,
    }


def _balance(labels: Any) -> Any:
    return np.where(labels, 0.5 / max(1, labels.sum()), 0.5 / max(1, (~labels).sum()))


def _reliability(evaluation: Evaluation) -> list[tuple[float, float, float]]:
    """Mean prediction, observed frequency and share of the texts, by tenth of the prediction."""
    labels, probabilities = evaluation.arrays()
    weights = _balance(labels)
    bins = np.minimum((probabilities * _BINS).astype(int), _BINS - 1)
    rows = []
    for number in range(_BINS):
        here = bins == number
        if here.any():
            rows.append(
                (
                    float(np.average(probabilities[here], weights=weights[here])),
                    float(np.average(labels[here], weights=weights[here])),
                    float(weights[here].sum()),
                )
            )
    return rows


def write_report(found: Sequence[Evaluation], trained_on: dict[str, int], directory: Path) -> None:
    """``metrics.json``, ``report.md``, ``worst-errors.txt`` and the two pictures.

    Args:
        found: from :func:`on_test` and :func:`on_kinds`.
        trained_on: number of windows by group.
        directory: exists.
    """
    compared = [evaluation for evaluation in found if len(set(evaluation.arrays()[0])) == 2]
    metrics = {
        "trained_on": trained_on,
        "evaluations": {evaluation.name: measure(evaluation) for evaluation in compared},
    }
    content = json.dumps(metrics, ensure_ascii=False, indent=2) + "\n"
    (directory / "metrics.json").write_text(content, encoding="utf-8")
    (directory / "report.md").write_text(_markdown(metrics), encoding="utf-8")
    (directory / "worst-errors.txt").write_text(_worst(compared), encoding="utf-8")
    _draw_curves(compared, metrics, directory / "quality-curves.png")
    _draw_groups(found, directory / "quality-groups.png")


def _markdown(metrics: dict[str, Any]) -> str:
    lines = ["# Quality classifier", "", "Trained on windows of:", ""]
    lines += [f"- {group}: {count:,}" for group, count in metrics["trained_on"].items()]
    lines += [
        "",
        "| texts | positive | negative | ROC-AUC | Brier score | calibration error |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in metrics["evaluations"].items():
        lines.append(
            f"| {name} | {row['positives']:,} | {row['negatives']:,} | {row['roc_auc']:.4f} | "
            f"{row['brier']:.4f} | {row['calibration_error']:.4f} |"
        )
    for name, row in metrics["evaluations"].items():
        negatives = [group for group, seen in row["groups"].items() if not seen["good"]]
        lines += ["", f"## {name}", "", "ROC-AUC of each kind against each kind:", ""]
        lines.append("| | " + " | ".join(negatives) + " |")
        lines.append("|---|" + "---:|" * len(negatives))
        for positive, against in row["roc_auc_by_group"].items():
            cells = " | ".join(f"{against[n]:.3f}" if n in against else "" for n in negatives)
            lines.append(f"| {positive} | {cells} |")
        lines += ["", "| kind | label | texts | quartiles | ≥ 0.5 |", "|---|---|---:|---|---:|"]
        for group, seen in row["groups"].items():
            label = "positive" if seen["good"] else "negative"
            quartiles = " ".join(f"{value:.2f}" for value in seen["quartiles"])
            lines.append(
                f"| {group} | {label} | {seen['texts']:,} | {quartiles} | "
                f"{seen['above_half']:.1%} |"
            )
    return "\n".join(lines) + "\n"


def _worst(found: Sequence[Evaluation]) -> str:
    parts = []
    for evaluation in found:
        parts.append(f"=== {evaluation.name}: the {WORST} worst errors ===\n")
        for item in evaluation.worst():
            label = "positive" if item.text.good else "negative"
            excerpt = " ".join(item.text.text[:_EXCERPT].split())
            parts.append(
                f"{item.probability:.4f}  {label}  {item.text.group}  {item.text.id}\n"
                f"    {excerpt}\n"
            )
    return "\n".join(parts)


def _draw_curves(found: Sequence[Evaluation], metrics: dict[str, Any], path: Path) -> None:
    from sklearn.metrics import roc_curve

    colours = (INK, ACCENT, AMBER, DANGER, MUTED)
    with chart(10.5, 5, columns=2) as (figure, (left, right)):
        for evaluation, colour in zip(found, colours, strict=False):
            labels, probabilities = evaluation.arrays()
            row = metrics["evaluations"][evaluation.name]
            false, true, _ = roc_curve(labels, probabilities)
            left.plot(false, true, color=colour, label=f"{evaluation.name}: {row['roc_auc']:.3f}")
            said = [point["predicted"] for point in row["reliability"]]
            seen = [point["observed"] for point in row["reliability"]]
            right.plot(said, seen, "o-", color=colour, markersize=3, label=evaluation.name)
        for axes in (left, right):
            axes.plot([0, 1], [0, 1], color=LINE, linewidth=1, zorder=0)
            axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        left.set(
            title="ROC curve and the area under it",
            xlabel="share of negatives kept",
            ylabel="share of positives kept",
        )
        right.set(
            title="Reliability, classes weighing alike",
            xlabel="predicted probability",
            ylabel="observed share of positives",
        )
        left.legend(loc="lower right", frameon=False, fontsize=8)
        figure.savefig(path, metadata={"Software": None})


def _draw_groups(found: Sequence[Evaluation], path: Path) -> None:
    """Quartiles and tenths of the scores of every kind of text, left out of training."""
    shown: list[tuple[str, str, Any]] = []
    for evaluation in found:
        if evaluation.name == KINDS:
            shown += [(group, ACCENT, evaluation.of(group)) for group in evaluation.groups(True)]
        if evaluation.name in (KINDS, DEGRADED, NEITHER):
            colour = {KINDS: DANGER, DEGRADED: AMBER, NEITHER: MUTED}[evaluation.name]
            shown += [(group, colour, evaluation.of(group)) for group in evaluation.groups(False)]
    if not shown:
        return
    shown.sort(key=lambda row: (row[1] == ACCENT, row[1], float(np.median(row[2]))))
    with chart(8, 1.2 + 0.34 * len(shown)) as (figure, axes):
        for place, (_, colour, scores) in enumerate(shown):
            low, first, middle, third, high = np.quantile(scores, (0.1, 0.25, 0.5, 0.75, 0.9))
            axes.plot([low, high], [place, place], color=colour, linewidth=1)
            axes.plot([first, third], [place, place], color=colour, linewidth=6, alpha=0.35)
            axes.plot([middle], [place], "o", color=colour, markersize=5)
        axes.set_yticks(range(len(shown)), [group for group, _, _ in shown])
        axes.set(
            xlim=(-0.01, 1.01),
            xlabel="score (point: median, bar: middle half, line: middle 80 %)",
            title="Scores of kinds not trained on; green: good, red: crawled, amber: degraded good",
        )
        axes.grid(axis="x")
        figure.savefig(path, metadata={"Software": None})

"""How well the quality classifier tells, on documents and on sources it was not trained on."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyperclova.corpus.quality.features import LIMIT
from hyperclova.corpus.quality.model import QualityModel
from hyperclova.corpus.quality.train import Text, korean
from hyperclova.style import ACCENT, AMBER, DANGER, INK, LINE, MUTED, chart

EQUAL_LENGTH = 200
"""Characters of the texts of the evaluation in which length can't tell."""
WORST = 20
MOST = 2000
"""Texts of one kind that are scored: enough for three digits."""
_BINS = 10
_EXCERPT = 300


@dataclass(frozen=True)
class Scored:
    """A text and what the classifier makes of it."""

    text: Text
    probability: float

    @property
    def error(self) -> float:
        """How far the probability is from the label."""
        return abs(self.text.good - self.probability)


@dataclass(frozen=True)
class Evaluation:
    """Texts of both classes, scored in one way."""

    name: str
    scored: tuple[Scored, ...]

    def groups(self, good: bool) -> list[str]:
        """Where the texts of one class are from."""
        return sorted({item.text.group for item in self.scored if item.text.good is good})

    def of(self, group: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """Probabilities of one group's texts."""
        return np.array([i.probability for i in self.scored if i.text.group == group])

    def arrays(self) -> tuple[Any, Any]:
        """Labels and probabilities; both shape (texts,)."""
        return (
            np.array([item.text.good for item in self.scored], bool),
            np.array([item.probability for item in self.scored]),
        )

    def worst(self) -> list[Scored]:
        """The texts it errs most on."""
        return sorted(self.scored, key=lambda item: (-item.error, item.text.id))[:WORST]


def evaluate(model: QualityModel, texts: Iterable[Text], name: str, length: int) -> Evaluation:
    """Score ``texts``, the first :data:`MOST` of each kind, the first ``length`` characters."""
    scored = []
    counts: dict[str, int] = {}
    for text in texts:
        if not korean(text.text[:length]):
            continue  # it is not judged, either
        counts[text.group] = counts.get(text.group, 0) + 1
        if counts[text.group] <= MOST:
            scored.append(Scored(text, model.score(text.text[:length])))
    return Evaluation(name, tuple(scored))


def evaluations(
    model: QualityModel, windows: Sequence[Text], documents: Sequence[Text], foreign: Sequence[Text]
) -> list[Evaluation]:
    """All that is reported.

    Args:
        model: calibrated.
        windows: windows of test documents, as in training.
        documents: the test documents as they were found.
        foreign: documents of sources that training saw nothing of.
    """
    found = [
        evaluate(model, windows, "held-out documents, windows", LIMIT),
        evaluate(model, documents, "held-out documents, as found", LIMIT),
    ]
    equal = f"first {EQUAL_LENGTH} characters"
    sets = [("held-out documents", documents)]
    if foreign:
        found.append(evaluate(model, foreign, "held-out sources, as found", LIMIT))
        sets.append(("held-out sources", foreign))
    for name, texts in sets:
        long = [text for text in texts if len(text.text) >= EQUAL_LENGTH]
        if len({text.good for text in long}) == 2:
            found.append(evaluate(model, long, f"{name}, {equal}", EQUAL_LENGTH))
    return [evaluation for evaluation in found if len(set(evaluation.arrays()[0])) == 2]


def measure(evaluation: Evaluation) -> dict[str, Any]:
    """ROC-AUC, Brier score, reliability and shares kept, as plain data.

    The Brier score and the reliability weigh both classes alike, as training did.
    """
    from sklearn.metrics import roc_auc_score

    labels, probabilities = evaluation.arrays()
    weights = _balance(labels)
    good, bad = evaluation.groups(True), evaluation.groups(False)
    scores = {group: evaluation.of(group) for group in (*good, *bad)}
    pairs = {
        positive: {
            negative: float(
                roc_auc_score(
                    [True] * len(scores[positive]) + [False] * len(scores[negative]),
                    np.concatenate([scores[positive], scores[negative]]),
                )
            )
            for negative in bad
        }
        for positive in good
    }
    return {
        "positives": int(labels.sum()),
        "negatives": int((~labels).sum()),
        "roc_auc": float(roc_auc_score(labels, probabilities)),
        "roc_auc_mean_of_kinds": float(np.mean([list(row.values()) for row in pairs.values()])),
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
        found: from :func:`evaluations`.
        trained_on: number of windows by group.
        directory: exists.
    """
    metrics = {
        "trained_on": trained_on,
        "evaluations": {evaluation.name: measure(evaluation) for evaluation in found},
    }
    content = json.dumps(metrics, ensure_ascii=False, indent=2) + "\n"
    (directory / "metrics.json").write_text(content, encoding="utf-8")
    (directory / "report.md").write_text(_markdown(metrics), encoding="utf-8")
    (directory / "worst-errors.txt").write_text(_worst(found), encoding="utf-8")
    _draw_curves(found, metrics, directory / "quality-curves.png")
    _draw_groups(found, directory / "quality-groups.png")


def _markdown(metrics: dict[str, Any]) -> str:
    lines = ["# Quality classifier", "", "Trained on windows of:", ""]
    lines += [f"- {group}: {count:,}" for group, count in metrics["trained_on"].items()]
    lines += [
        "",
        "| texts | positive | negative | ROC-AUC | mean over pairs of kinds | Brier score | "
        "calibration error |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in metrics["evaluations"].items():
        lines.append(
            f"| {name} | {row['positives']:,} | {row['negatives']:,} | {row['roc_auc']:.4f} | "
            f"{row['roc_auc_mean_of_kinds']:.4f} | "
            f"{row['brier']:.4f} | {row['calibration_error']:.4f} |"
        )
    for name, row in metrics["evaluations"].items():
        negatives = [group for group, seen in row["groups"].items() if not seen["good"]]
        lines += ["", f"## {name}", "", "ROC-AUC of each kind against each kind:", ""]
        lines.append("| | " + " | ".join(negatives) + " |")
        lines.append("|---|" + "---:|" * len(negatives))
        for positive, against in row["roc_auc_by_group"].items():
            cells = " | ".join(f"{against[negative]:.3f}" for negative in negatives)
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
    """Quartiles and tenths of the scores of every kind of text, as found."""
    shown: list[tuple[str, bool, Any]] = []
    for evaluation in found:
        if evaluation.name.endswith("as found"):
            for good in (False, True):
                shown += [(g, good, evaluation.of(g)) for g in evaluation.groups(good)]
    shown.sort(key=lambda row: (row[1], float(np.median(row[2]))))
    with chart(8, 1.2 + 0.34 * len(shown)) as (figure, axes):
        for place, (_, good, scores) in enumerate(shown):
            colour = ACCENT if good else DANGER
            low, first, middle, third, high = np.quantile(scores, (0.1, 0.25, 0.5, 0.75, 0.9))
            axes.plot([low, high], [place, place], color=colour, linewidth=1)
            axes.plot([first, third], [place, place], color=colour, linewidth=6, alpha=0.35)
            axes.plot([middle], [place], "o", color=colour, markersize=5)
        axes.set_yticks(range(len(shown)), [group for group, _, _ in shown])
        axes.set(
            xlim=(-0.01, 1.01),
            xlabel="score (point: median, bar: middle half, line: middle 80 %)",
            title="Scores by kind of text; green: labelled good, red: crawled",
        )
        axes.grid(axis="x")
        figure.savefig(path, metadata={"Software": None})

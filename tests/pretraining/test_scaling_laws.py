"""Laws fitted to losses that obey a known law: they are found again, and so are their limits."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from hyperclova.errors import UserError
from hyperclova.pretraining.scaling.fit import _joint, fit
from hyperclova.pretraining.scaling.frontier import frontier
from hyperclova.pretraining.scaling.laws import (
    JointLaw,
    PowerLaw,
    fit_joint_law,
    fit_power_law,
)
from hyperclova.pretraining.scaling.plot import plot
from hyperclova.pretraining.scaling.points import Ladder, Point
from hyperclova.pretraining.scaling.results import MEASURES, Fit

ROOT = Path(__file__).parents[2]
TRUE = JointLaw(2.0, 60.0, 300.0, 0.30, 0.40)
SIZES = {"a": 60_000, "b": 100_000, "c": 160_000, "d": 330_000, "e": 600_000, "f": 1_250_000}
EMBEDDING = 400_000


def ladder(noise: float = 0.0, seed: int = 0) -> Ladder:
    """Six sizes, sixteen evaluations and four finished runs each."""
    random = np.random.default_rng(seed)
    points = []
    for name, size in SIZES.items():
        for finished, lengths in ((False, range(1, 17)), (True, (2.4, 4.8, 9.6, 19.2))):
            for length in lengths:
                tokens = int(length * 100_000)
                loss = float(TRUE(size, tokens) * np.exp(random.normal(0, noise)))
                if not finished:
                    loss *= 1.02  # what a cooldown gains
                points.append(
                    Point(
                        size=name,
                        parameters=size + EMBEDDING,
                        non_embedding_parameters=size,
                        tokens=tokens,
                        flops=6 * (size + EMBEDDING) * tokens,
                        finished=finished,
                        training_loss=loss + 0.1,
                        loss=loss,
                        bits_per_byte=loss / 3,
                    )
                )
    return Ladder("wiki", 8192, 256, tuple(points))


def test_a_power_law_is_found_again() -> None:
    true = PowerLaw(8e13, 0.076)
    x = np.geomspace(1e5, 1e9, 7)
    found = fit_power_law(x, true(x))
    assert found.exponent == pytest.approx(true.exponent, rel=1e-9)
    assert found.scale == pytest.approx(true.scale, rel=1e-6)
    with pytest.raises(ValueError, match="does not fall"):
        fit_power_law(x, 1 / true(x))
    with pytest.raises(ValueError, match="two points"):
        fit_power_law(x[:1], true(x[:1]))


@pytest.mark.parametrize(
    "true",
    [
        TRUE,
        # Hoffmann et al. 2022, at their scale.
        JointLaw(1.69, 406.4, 410.7, 0.34, 0.28),
    ],
)
def test_a_joint_law_is_found_again(true: JointLaw) -> None:
    scale = 1 if true is TRUE else 1000
    n, d = np.meshgrid(np.geomspace(5e4, 1e6, 5) * scale, np.geomspace(2e5, 4e6, 4) * scale)
    found = fit_joint_law(n.ravel(), d.ravel(), true(n.ravel(), d.ravel()))
    for name, value in dataclasses.asdict(true).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-3), name


def test_one_run_gone_wrong_hardly_bends_the_joint_law() -> None:
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(5e4, 1e6, 5), np.geomspace(2e5, 4e6, 4)))
    loss = TRUE(n, d)
    loss[7] *= 1.3
    found = fit_joint_law(n, d, loss)
    others = np.arange(len(loss)) != 7
    assert np.abs(found(n, d) / TRUE(n, d) - 1)[others].max() < 0.003


def test_too_few_runs_make_no_joint_law() -> None:
    n, d = np.array([1e5, 2e5, 1e5, 2e5]), np.array([1e6, 1e6, 2e6, 2e6])
    with pytest.raises(ValueError, match="five finished runs"):
        fit_joint_law(n, d, TRUE(n, d))
    six = np.full(6, 1e5), np.geomspace(1e5, 1e6, 6)
    with pytest.raises(ValueError, match="two sizes"):
        fit_joint_law(*six, TRUE(*six))


def test_the_largest_size_is_predicted_without_being_seen() -> None:
    measured = ladder(noise=0.002, seed=1)
    found = fit(measured, bootstrap=200)
    assert found.held_out_sizes == ("f",)
    (joint,) = (j for j in found.of("loss").joint if j.count == "non_embedding_parameters")
    assert joint.runs == 20
    predicted = [
        row
        for row in found.of("loss").predictions
        if row.law == "joint" and row.count == "non_embedding_parameters"
    ]
    assert [row.tokens for row in predicted] == [240_000, 480_000, 960_000, 1_920_000]
    for row in predicted:
        truth = TRUE(SIZES["f"], row.tokens)
        assert row.predicted == pytest.approx(truth, rel=0.01)
        assert row.interval is not None
        assert row.interval[0] < truth < row.interval[1]
        assert row.error == pytest.approx(row.predicted / row.measured - 1)
    # Better than to say that nothing changes from size e to size f.
    plain = [row for row in found.of("loss").predictions if row.law == "none"]
    measured_e = [p.loss for p in measured.points if p.finished and p.size == "e"]
    assert [row.predicted for row in plain] == measured_e
    for with_law, without in zip(predicted, plain, strict=True):
        assert abs(with_law.error) < abs(without.error) / 3
    # Worse where the held-out size is worse than the law, by exactly as much.
    spoilt = [
        dataclasses.replace(point, loss=1.1 * point.loss) if point.size == "f" else point
        for point in measured.points
    ]
    other = fit(dataclasses.replace(measured, points=tuple(spoilt)), bootstrap=200)
    assert other.of("loss").joint == found.of("loss").joint
    assert other.of("loss").compute == found.of("loss").compute
    (last,) = [r for r in other.of("loss").predictions if r.law == "joint"][3:4]
    assert last.predicted == predicted[3].predicted
    assert last.error == pytest.approx((1 + predicted[3].error) / 1.1 - 1)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Nine tenths promised: of twenty-four ladders, three quarters at least must hold."""
    held = 0
    for seed in range(24):
        points = [point for point in ladder(noise=0.004, seed=seed).points if point.finished]
        joint, _ = _joint(
            points, [], "loss", "non_embedding_parameters", 60, np.random.default_rng(seed)
        )
        low, high = joint.intervals["beta"]
        held += low <= TRUE.beta <= high
    assert 18 <= held < 24


@pytest.mark.parametrize("finished", [True, False])
def test_the_frontier_is_the_best_of_all_sizes(finished: bool) -> None:
    """Lines between evaluations lie above the law, at the most by one part in a hundred here."""
    gain = 1.0 if finished else 1.02
    (found,) = (
        compute
        for compute in fit(ladder(), hold_out=0, bootstrap=10).of("loss").compute
        if compute.finished == finished
    )
    # Small sizes are best with little compute, large ones with much.
    order = [list(SIZES).index(size) for size in found.sizes]
    assert order == sorted(order)
    assert len(set(order)) >= 3
    for flops, loss in zip(found.flops, found.loss, strict=True):
        for size in SIZES.values():
            tokens = flops / (6 * (size + EMBEDDING))
            if 240_000 <= tokens <= 1_600_000:
                assert loss <= gain * TRUE(size, tokens) * 1.01
    assert found.exponent_range is not None
    low, high = found.exponent_range
    assert 0 < low <= high < 0.2
    assert found.law.exponent == pytest.approx((low + high) / 2, rel=0.1)


def test_where_the_best_size_has_ended_there_is_no_frontier() -> None:
    def curve(size: str, losses: dict[int, float]) -> list[Point]:
        return [Point(size, 2, 1, c, c, True, loss, loss, loss) for c, loss in losses.items()]

    curves = {
        "small": curve("small", {1: 4.0, 8: 2.0}),
        "large": curve("large", {1: 5.0, 16: 2.5, 64: 1.5}),
    }
    flops, loss, sizes = frontier(curves, "loss")
    assert 7 < flops.max() <= 8
    assert loss[-1] == pytest.approx(2.0, rel=0.06)
    assert set(sizes) == {"small"}
    # Once overtaken, it may end: the frontier goes on with the other.
    curves["small"] = curve("small", {1: 4.0, 2: 3.9, 32: 3.8})
    flops, loss, sizes = frontier(curves, "loss")
    assert flops.max() == pytest.approx(64)
    assert loss[-1] == pytest.approx(1.5)
    assert set(sizes) == {"small", "large"}
    with pytest.raises(ValueError, match="before another has overtaken"):
        frontier({"small": [], "large": curves["large"][:1]}, "loss")


def test_what_cannot_be_fitted_is_said() -> None:
    measured = ladder()
    rising = [
        dataclasses.replace(point, loss=12 - point.loss, finished=False)
        for point in measured.points
        if not point.finished
    ]
    found = fit(dataclasses.replace(measured, points=tuple(rising)), bootstrap=10)
    assert found.of("loss").joint == ()
    assert found.of("loss").compute == ()
    assert any("joint law" in reason for reason in found.of("loss").missing)
    assert any("law in compute" in reason for reason in found.of("loss").missing)
    assert len(found.of("training_loss").compute) == 1
    with pytest.raises(UserError, match="6 sizes are measured and 5 held out"):
        fit(measured, hold_out=5)


def test_a_fit_is_kept_and_drawn(tmp_path: Path) -> None:
    found = fit(ladder(noise=0.002), bootstrap=20)
    path = tmp_path / "scaling.json"
    found.save(path)
    assert Fit.load(path) == found
    tree = json.loads(path.read_text(encoding="utf-8"))
    assert tree["losses"][0]["measure"] == "loss"
    assert tree["losses"][0]["predictions"][0]["error"] == pytest.approx(0, abs=0.05)
    plot(found, tmp_path / "scaling.png")
    picture = (tmp_path / "scaling.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
    with pytest.raises(UserError, match="run 'hyperclova scaling fit' first"):
        Fit.load(tmp_path / "nothing.json")


def test_the_figures_we_publish_follow_from_the_points_we_publish() -> None:
    published = Fit.load(ROOT / "benchmarks" / "scaling.json")
    again = fit(published.ladder, hold_out=1, bootstrap=10)
    assert again.held_out_sizes == published.held_out_sizes
    for measure in MEASURES:
        for here, there in zip(again.of(measure).joint, published.of(measure).joint, strict=True):
            for name, value in dataclasses.asdict(there.law).items():
                assert getattr(here.law, name) == pytest.approx(value, rel=1e-3), name
        for row, known in zip(
            again.of(measure).predictions, published.of(measure).predictions, strict=True
        ):
            assert row.predicted == pytest.approx(known.predicted, rel=1e-5)
            assert (row.measured, row.law) == (known.measured, known.law)
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    sizes = {point.size: point.non_embedding_parameters for point in published.ladder.points}
    assert len(sizes) >= 5
    assert max(sizes.values()) >= 10 * min(sizes.values())
    for point in published.ladder.points:
        if point.finished:
            assert f"| {point.tokens:,} | {point.flops:.2e} | {point.training_loss:.3f} " in page
    last = max(
        (p for p in published.of("loss").predictions if p.law == "joint"), key=lambda p: p.tokens
    )
    assert f"| {last.measured:.3f} | {last.predicted:.3f} | " in page

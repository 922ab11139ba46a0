"""The formulas of the laws and their fits, on plain arrays.

``L(x) = (x_c / x)^a`` after Kaplan et al. 2020 (arXiv:2001.08361), and ``L(N, D) = E + A / N^a +
B / D^b`` after Hoffmann et al. 2022 (arXiv:2203.15556, appendix D.3), fitted as there: Huber's
loss on differences of log losses, from a grid of starts.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HUBER = 1e-3
"""Differences of log losses larger than this count by their size, no longer by its square."""
_ITERATIONS = 200


@dataclass(frozen=True)
class PowerLaw:
    """``L(x) = (scale / x)^exponent``, in nats."""

    scale: float
    exponent: float

    def __call__(self, x: Any) -> Any:
        return (self.scale / x) ** self.exponent


def fit_power_law(x: Array, loss: Array) -> PowerLaw:
    """A straight line through the logarithms, by least squares.

    Raises:
        ValueError: fewer than two different ``x``, or a loss that does not fall with ``x``.
    """
    if len(np.unique(x)) < 2:
        raise ValueError("a power law needs two points at least")
    slope, intercept = np.polyfit(np.log(x), np.log(loss), 1)
    if slope >= 0:
        raise ValueError("the loss does not fall")
    return PowerLaw(float(np.exp(-intercept / slope)), float(-slope))


@dataclass(frozen=True)
class JointLaw:
    """``L(N, D) = E + A / N^alpha + B / D^beta``, in nats."""

    irreducible: float
    """E: what neither parameters nor tokens take away."""
    parameter_factor: float
    token_factor: float
    alpha: float
    beta: float

    def __call__(self, parameters: Any, tokens: Any) -> Any:
        return (
            self.irreducible
            + self.parameter_factor / parameters**self.alpha
            + self.token_factor / tokens**self.beta
        )


def fit_joint_law(parameters: Array, tokens: Array, loss: Array) -> JointLaw:
    """The best of many starts; exponents are kept between 0 and 2, E below the smallest loss.

    Raises:
        ValueError: fewer points than the law's five numbers, or less than two different
            parameters or tokens.
    """
    if len(loss) < 5 or len(np.unique(parameters)) < 2 or len(np.unique(tokens)) < 2:
        raise ValueError(
            "the joint law needs five finished runs, of two sizes and two lengths at least"
        )
    # A short way from every start, and to the end from where the best have come.
    fitted, cost = _descend(_starts(loss), parameters, tokens, np.log(loss)[None], iterations=20)
    best = fitted[np.argsort(cost)[:8]]
    fitted, cost = _descend(best, parameters, tokens, np.log(loss)[None])
    return _law(fitted[np.argmin(cost)], parameters, tokens)


def refit_joint_law(
    law: JointLaw, parameters: Array, tokens: Array, losses: Array
) -> list[JointLaw]:
    """One fit for each row of ``losses`` ``(fits, points)``, all begun from ``law``."""
    start = np.array(
        [
            np.log(law.irreducible),
            np.log(law.parameter_factor) - law.alpha * np.log(parameters).mean(),
            np.log(law.token_factor) - law.beta * np.log(tokens).mean(),
            law.alpha,
            law.beta,
        ]
    )
    fitted, _ = _descend(np.tile(start, (len(losses), 1)), parameters, tokens, np.log(losses))
    return [_law(row, parameters, tokens) for row in fitted]


# A row of unknowns: log E, then the logarithms of A / N^alpha and B / D^beta at the points' mean
# log N and log D, where they hardly depend on the exponents; alpha; beta.


def _starts(loss: Array) -> Array:
    low = loss.min()
    grid = itertools.product(
        np.log(low * np.array([0.1, 0.5, 0.8, 0.95])),
        np.log(low * np.array([0.05, 0.4])),
        np.log(low * np.array([0.05, 0.4])),
        (0.1, 0.3, 0.8),
        (0.1, 0.3, 0.8),
    )
    return np.array(list(grid))


def _law(unknowns: Array, parameters: Array, tokens: Array) -> JointLaw:
    e, a, b, alpha, beta = (float(value) for value in unknowns)
    return JointLaw(
        float(np.exp(e)),
        float(np.exp(a + alpha * np.log(parameters).mean())),
        float(np.exp(b + beta * np.log(tokens).mean())),
        alpha,
        beta,
    )


def _descend(
    unknowns: Array,
    parameters: Array,
    tokens: Array,
    log_loss: Array,
    iterations: int = _ITERATIONS,
) -> tuple[Array, Array]:
    """Levenberg and Marquardt's steps on Huber's loss, all rows at once.

    Args:
        unknowns: ``(rows, 5)``.
        log_loss: ``(rows or 1, points)``.

    Returns:
        Unknowns ``(rows, 5)`` and their costs ``(rows,)``.
    """
    n = np.log(parameters) - np.log(parameters).mean()
    d = np.log(tokens) - np.log(tokens).mean()
    lower = np.array([np.log(1e-2), -12.0, -12.0, 0.0, 0.0])
    upper = np.array([log_loss.min(), 4.0, 4.0, 2.0, 2.0])

    def residuals(x: Array, targets: Array) -> tuple[Array, Array]:
        """Differences ``(rows, points)`` and their derivatives ``(rows, points, 5)``."""
        e, a, b, alpha, beta = (x[:, i : i + 1] for i in range(5))
        terms = np.stack(np.broadcast_arrays(e + 0 * n, a - alpha * n, b - beta * d), axis=-1)
        largest = terms.max(axis=-1, keepdims=True)
        total = largest[..., 0] + np.log(np.exp(terms - largest).sum(axis=-1))
        shares = np.exp(terms - total[..., None])
        p_e, p_a, p_b = shares[..., 0], shares[..., 1], shares[..., 2]
        return total - targets, np.stack([p_e, p_a, p_b, -p_a * n, -p_b * d], axis=-1)

    def cost_of(r: Array) -> Array:
        size = np.abs(r)
        huber = np.where(size <= HUBER, r * r / 2, HUBER * (size - HUBER / 2))
        return np.asarray(huber.sum(axis=-1))

    x = np.clip(unknowns, lower, upper)
    targets = np.broadcast_to(log_loss, (len(x), log_loss.shape[1]))
    r, jacobian = residuals(x, targets)
    cost, damping = cost_of(r), np.full(len(x), 1e-2)
    moving = np.arange(len(x))
    for _ in range(iterations):
        weight = HUBER / np.maximum(np.abs(r[moving]), HUBER)
        weighted = jacobian[moving] * weight[..., None]
        normal = np.einsum("rpi,rpj->rij", weighted, jacobian[moving])
        gradient = np.einsum("rpi,rp->ri", weighted, r[moving])
        diagonal = np.einsum("rii->ri", normal) + 1e-9
        system = normal + np.einsum("ri,ij->rij", damping[moving, None] * diagonal, np.eye(5))
        step = np.linalg.solve(system, gradient[..., None])[..., 0]
        tried = np.clip(x[moving] - step, lower, upper)
        tried_r, tried_jacobian = residuals(tried, targets[moving])
        tried_cost = cost_of(tried_r)
        gain = cost[moving] - tried_cost
        better = gain > 0
        taken = moving[better]
        x[taken], r[taken], jacobian[taken] = tried[better], tried_r[better], tried_jacobian[better]
        cost[taken] = tried_cost[better]
        damping[moving] = np.clip(
            np.where(better, damping[moving] / 3, damping[moving] * 4), 1e-9, 1e9
        )
        # Done: a step that gains next to nothing, or none at all however short.
        still = np.where(better, gain > 1e-9 * tried_cost, damping[moving] < 1e6)
        moving = moving[still]
        if not len(moving):
            break
    return x, cost

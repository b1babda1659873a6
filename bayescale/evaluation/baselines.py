"""Baseline forecasts: a log-Huber fit with a bootstrap, and the last value of a curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bayescale.errors import FitError
from bayescale.laws import Law
from bayescale.priors import Positive, Prior, from_link

#: Residual of log loss at which the Huber loss becomes linear (Hoffmann et al.).
DELTA = 1e-3
#: Bound on the distance of a parameter from its prior's centre, in widths of the prior.
REACH = 6.0
#: Number of starting points of the fit.
STARTS = 48
#: Number of residuals drawn for every refit.
RESIDUALS = 10
#: Probability that a normal variable lies within one standard deviation.
WITHIN_ONE_SD = 0.6827
#: Smallest width of a kernel on log loss: losses are published with about six digits.
SHARPEST = 1e-6


@dataclass(frozen=True, eq=False)
class Baseline:
    """A forecast by draws.

    Attributes
    ----------
    draws : array, dims (draw, point)
        Predictive draws of the loss. Blocks of consecutive draws are independent.
    """

    draws: np.ndarray = field(repr=False)

    def log_density(self, loss) -> np.ndarray:
        """Log predictive density of `loss` (not of its log) at each point; dims (point,).

        A Gaussian kernel density of the draws' log loss with Silverman's bandwidth, divided by
        the loss for the change of variable. Beyond the outermost draw the density decreases as
        that of a single kernel.
        """
        from scipy.special import logsumexp

        centres, log_loss = np.log(self.draws), np.log(np.asarray(loss, dtype=float))
        width = silverman(centres)
        kernels = -0.5 * ((log_loss - centres) / width) ** 2
        return (
            logsumexp(kernels, axis=0)
            - np.log(len(centres) * width * np.sqrt(2 * np.pi))
            - log_loss
        )


def silverman(draws: np.ndarray) -> np.ndarray:
    """Silverman's (1986) rule of thumb for the width of a Gaussian kernel; dims (point,)."""
    low, high = np.quantile(draws, [0.25, 0.75], axis=0)
    scatter = np.minimum(draws.std(axis=0, ddof=1), (high - low) / 1.349)
    return np.maximum(0.9 * scatter * len(draws) ** -0.2, SHARPEST)


# -- the last value ----------------------------------------------------------------------------


def persistence(x, log_loss, ahead_x, rng: np.random.Generator, draws: int = 4000) -> Baseline:
    """Predict that a learning curve stays at its last value, plus a random walk in log x.

    Parameters
    ----------
    x : array_like, dims (checkpoint,)
        Tokens, steps or examples; positive.
    log_loss : array_like, dims (checkpoint,)
    ahead_x : array_like, dims (point,)
        Places to forecast, in the unit of `x`.
    rng : numpy.random.Generator
    draws : int

    Returns
    -------
    Baseline
        The standard deviation of the walk over one e-fold of x is the 68 % quantile of the absolute
        increments of the curve, each divided by the square root of its step in log x. The quantile
        is robust to spikes and plateaus.

    Raises
    ------
    FitError
        With fewer than two different x.

    Examples
    --------
    >>> ahead = persistence([1, 2, 4], np.log([4, 3, 2.5]), [8, 16], np.random.default_rng(1))
    >>> np.median(ahead.draws, axis=0).round(1)
    array([2.5, 2.5])
    """
    log_x, log_loss = np.log(np.asarray(x, dtype=float)), np.asarray(log_loss, dtype=float)
    order = np.argsort(log_x, kind="stable")
    log_x, log_loss = log_x[order], log_loss[order]
    scale = _walk_scale(log_x, log_loss)
    distance = np.abs(np.log(np.asarray(ahead_x, dtype=float)) - log_x[-1])
    return Baseline(np.exp(log_loss[-1] + scale * _walks(distance, rng, draws)))


def _walk_scale(log_x: np.ndarray, log_loss: np.ndarray) -> float:
    """Standard deviation of a random walk over one unit of `log_x`."""
    over, change = np.diff(log_x), np.diff(log_loss)
    if not (over > 0).any():
        raise FitError("persistence needs two checkpoints at different x to estimate a random walk")
    sizes = np.abs(change[over > 0]) / np.sqrt(over[over > 0])
    return float(np.quantile(sizes, WITHIN_ONE_SD))


def _walks(distance: np.ndarray, rng, draws: int) -> np.ndarray:
    """Paths of a Wiener process at each `distance` from its start; dims (draw, point)."""
    # Drift (`bayescale.model.drift`) is the mean of such a walk over each distance, which needs
    # joint draws of the walk and its integral. Here the walk alone is a cumulative sum.
    order = np.argsort(distance)
    steps = np.sqrt(np.diff(distance[order], prepend=0.0))
    paths = np.empty((draws, len(distance)))
    paths[:, order] = np.cumsum(steps * rng.standard_normal(paths.shape), axis=1)
    return paths


# -- the log-Huber fit -------------------------------------------------------------------------


def huber_bootstrap(
    law: Law,
    columns: Mapping[str, np.ndarray],
    log_loss,
    ahead: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    resamples: int = 400,
) -> Baseline:
    """Bootstrap the log-Huber fit of a law: refits to resampled runs plus resampled residuals.

    Hoffmann et al. 2022, arXiv:2203.15556 (the fit); Besiroglu et al. 2024, arXiv:2404.10102 (the
    bootstrap).

    Parameters
    ----------
    law : Law
    columns : mapping of str to array, dims (run,)
        Columns of the law at the runs to fit, in raw units.
    log_loss : array_like, dims (run,)
    ahead : mapping of str to array, dims (point,)
        The same columns at the points to forecast.
    rng : numpy.random.Generator
    resamples : int

    Returns
    -------
    Baseline
        ``10 * resamples`` draws: the forecast of each refit plus each of ten residuals, which are
        resampled from the fit to all runs.

    Raises
    ------
    FitError
        If no starting point gives a finite loss at every run.

    Examples
    --------
    >>> from bayescale.laws import power
    >>> rng = np.random.default_rng(1)
    >>> C = np.geomspace(1e18, 1e21, 40)
    >>> log_loss = np.log(2 + (C / 1e18) ** -0.3) + 0.005 * rng.standard_normal(40)
    >>> later = huber_bootstrap(power, dict(C=C), log_loss, dict(C=np.array([1e22])), rng)
    >>> later.draws.shape, round(float(np.median(later.draws)), 1)
    ((4000, 1), 2.1)
    """
    columns, ahead = (
        {c: np.asarray(table[c], dtype=float) for c in law.columns} for table in (columns, ahead)
    )
    problem = Problem(law, columns, np.asarray(log_loss, dtype=float))
    best, refits = huber_fits(problem, rng, resamples)
    means = problem.log_mean(refits, ahead)
    usable = np.isfinite(means).all(axis=1, keepdims=True)
    means = np.where(usable, means, problem.log_mean(best, ahead))
    means = np.repeat(means, RESIDUALS, axis=0)
    return Baseline(np.exp(means + rng.choice(problem.residual(best)[0], means.shape)))


@dataclass(frozen=True, eq=False)
class Problem:
    """A law and the table to fit, for many fits at once.

    Parameters are arrays `z`, dims (fit, parameter), on the link scale: the distance from the
    prior's centre in widths of the prior.
    """

    law: Law
    columns: Mapping[str, np.ndarray]
    log_loss: np.ndarray

    @cached_property
    def scales(self) -> dict[str, float]:
        """Reference scales of the columns."""
        return self.law.scales_of(self.columns)

    @cached_property
    def priors(self) -> tuple[Prior, ...]:
        typical = float(np.exp(self.log_loss.mean()))
        return tuple(
            p.in_units_of(typical) if isinstance(p, Positive) else p
            for p in self.law.priors.values()
        )

    def values(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters on their natural scale, at the reference scales; dims (fit,)."""
        return {
            name: from_link(p.link, p.centre + p.width * z[:, k])
            for k, (name, p) in enumerate(zip(self.law.priors, self.priors, strict=True))
        }

    def log_mean(self, z: np.ndarray, columns=None) -> np.ndarray:
        """Predicted log loss at the runs or at other `columns`; dims (fit, run)."""
        values = {name: v[:, None] for name, v in self.values(z).items()}
        with np.errstate(all="ignore"):
            return np.log(self.law(columns or self.columns, self.scales, values))

    def residual(self, z: np.ndarray) -> np.ndarray:
        """Observed minus predicted log loss; dims (fit, run)."""
        return self.log_loss - self.log_mean(z)

    def slopes(self, z: np.ndarray, residual: np.ndarray, step: float = 1e-6) -> np.ndarray:
        """Derivatives of the predicted log loss by each parameter; dims (fit, parameter, run)."""
        offsets = step * np.eye(z.shape[1])
        return np.stack(
            [(residual - self.residual(z + offset)) / step for offset in offsets], axis=1
        )


def huber_fits(problem: Problem, rng, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """The best of many fits, dims (1, parameter), and its refits to resampled runs.

    Starting points are drawn from the priors, which do not enter the objective. Refits have dims
    (resample, parameter).
    """
    runs = len(problem.log_loss)
    starts = rng.standard_normal((STARTS, len(problem.priors)))
    starts[0] = 0.0
    fits, every = starts, np.ones((STARTS, runs))
    # With a small delta, a fit from a distant starting point depends only on the few runs near its
    # curve, so delta is decreased in steps.
    for delta in (1.0, 0.1, 0.01, DELTA):
        fits, costs = descend(problem, fits, every, 30, delta)
    if not np.isfinite(costs).any():
        raise FitError(
            f"none of {STARTS} draws from the priors of law {problem.law.name!r} gives finite, "
            "positive losses at all runs: check the priors and the columns"
        )
    best, _ = descend(problem, fits[[np.argmin(costs)]], np.ones((1, runs)), iterations=500)
    counts = rng.multinomial(runs, np.full(runs, 1 / runs), size=resamples).astype(float)
    refits, _ = descend(problem, np.repeat(best, resamples, axis=0), counts, iterations=60)
    return best, refits


def descend(
    problem: Problem,
    z: np.ndarray,
    counts: np.ndarray,
    iterations: int,
    delta: float = DELTA,
    tolerance: float = 1e-4,
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the Huber loss of many fits at once, by damped, reweighted Gauss-Newton steps.

    Parameters
    ----------
    problem : Problem
    z : array, dims (fit, parameter)
        Starting points.
    counts : array, dims (fit, run)
        Weight of each run in each fit.
    iterations : int
    delta : float
        The residual at which the Huber loss becomes linear.
    tolerance : float
        A fit stops if its step is shorter than this.

    Returns
    -------
    z : array, dims (fit, parameter)
    cost : array, dims (fit,)
    """
    z, damping, live = z.copy(), np.full(len(z), 1e-3), np.arange(len(z))
    residual = problem.residual(z)
    cost = _huber_loss(residual, counts, delta)
    for _ in range(iterations):
        current = z[live]
        step = _step(problem, current, residual[live], counts[live], damping[live], delta)
        trial = np.clip(current + step, -REACH, REACH)
        trial_residual = problem.residual(trial)
        trial_cost = _huber_loss(trial_residual, counts[live], delta)
        better = trial_cost < cost[live]
        moved = live[better]
        z[moved], residual[moved] = trial[better], trial_residual[better]
        cost[moved] = trial_cost[better]
        damping[live] *= np.where(better, 0.2, 8.0)
        live = live[np.abs(trial - current).max(axis=1) > tolerance]
        if not live.size:
            break
    return z, cost


def _huber_loss(residual: np.ndarray, counts: np.ndarray, delta: float) -> np.ndarray:
    """Summed over runs; infinite where a residual is not finite."""
    size = np.abs(residual)
    short = np.minimum(size, delta)
    loss = (counts * short * (size - short / 2)).sum(axis=1)
    return np.where(np.isfinite(loss), loss, np.inf)


def _step(problem: Problem, z, residual, counts, damping, delta: float) -> np.ndarray:
    slopes = problem.slopes(z, residual)
    weights = counts * delta / np.maximum(np.abs(residual), delta)
    downhill = (slopes @ (weights * residual)[..., None])[..., 0]
    # A parameter at its bound, with a gradient that points outwards, is held fixed.
    slopes[(np.abs(z) >= REACH) & (downhill * z > 0)] = 0.0
    downhill = (slopes @ (weights * residual)[..., None])[..., 0]
    curvature = (slopes * weights[:, None]) @ slopes.transpose(0, 2, 1)
    diagonal = np.einsum("fpp->fp", curvature)
    floor = 1e-9 * diagonal.max(axis=1, keepdims=True) + 1e-300
    diagonal += damping[:, None] * diagonal + floor
    step = np.linalg.solve(curvature, downhill[..., None])[..., 0]
    # The Huber loss is curved within delta only, so the weights overestimate the curvature. A step
    # of up to twice the length still decreases the loss.
    curved_share = (counts * (np.abs(residual) < delta)).sum(axis=1) / weights.sum(axis=1)
    return step / np.clip(curved_share, 0.5, 1.0)[:, None]

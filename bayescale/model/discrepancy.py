"""The discrepancy between the law and the true losses at and near the runs.

No law is exact. Residuals of large tables have a structure that noise does not have: the law is a
per cent too high for the widest models, or too low in one corner of the design. The discrepancy is
a Gaussian process in the logarithms of the law's columns, with a squared exponential covariance, a
standard deviation tau and a length. It is inferred from the residuals of the runs, and added to
forecasts. Away from the runs it returns to zero with the standard deviation tau; the drift
describes how the law fails at larger scales.

The method is that of Kennedy and O'Hagan 2001 (doi:10.1111/1467-9868.00294) in its modular form:
the parameters of the law are inferred without the discrepancy, so that it cannot take over what the
law explains (Bayarri et al. 2009, doi:10.1214/09-AOS709). The likelihood of tau and the length
leaves out the directions in which the parameters can move the law, as REML does. Every table weighs
the values of tau and of the length by their likelihood and the prior below.

Groups share one discrepancy: it belongs to the form of the law. On most public tables with groups
this has a higher likelihood than a discrepancy for each group (`benchmarks/shared.py`).

The covariance of the runs is replaced by a pivoted Cholesky factorisation, which is exact up to
`TOLERANCE`. The cost is then linear in the number of runs and of points. What the runs leave
undetermined at a point is drawn as random waves, of which each draw has its own: any number of
points share them, so that draws at one point do not depend on which others are asked for. The
distribution at each point is exact. Between two points at the border of the runs the correlation of
this part is that of the prior.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayescale.model.design import Design
from bayescale.model.posterior import residuals

#: Values of tau, the standard deviation of the discrepancy of log loss, and the location and width
#: of the normal prior of their logarithm: .4 % of the loss, times or divided by e. Zero, a law that
#: is exact, has the prior probability of a tau of .1 %.
TAUS = np.array([0.0, 0.002, 0.004, 0.008, 0.016, 0.03])
CENTRE, WIDTH, ZERO = np.log(0.004), 1.0, 0.001
#: Lengths in e-folds of every column, equally probable: factors of 2.7, 7.4 and 55. See
#: `benchmarks/family.py`.
LENGTHS = (1.0, 2.0, 4.0)
#: Variance of the unit process that the factorisation may leave out.
TOLERANCE = 1e-6
#: Draws from which the weights of tau and length are found, and draws times runs at once.
FEW, AT_ONCE = 400, 10_000_000
#: Waves of each draw. Their sum is normal at each point for any number, and nearly so jointly.
WAVES = 4
#: A direction of the law at the runs is taken to be fitted if its posterior standard deviation is
#: at least this share of the noise; one that the runs determine alone has 1.
FITTED = 0.5


def discrepancy(
    posterior: xr.Dataset,
    plan: Design,
    place: Mapping[str, np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """Draws of the discrepancy of log loss at points.

    Parameters
    ----------
    posterior : xarray.Dataset
    plan : Design
        Its drift is beyond the runs.
    place : mapping of str to array (point,)
        The law's columns, in absolute units.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        Dims (draw, point); draws of one row belong to one function.
    """
    runs, points = (
        np.column_stack([np.log(columns[c]) for c in plan.law.columns])
        for columns in (plan.columns, place)
    )
    every = max(1, posterior.sizes["chain"] * posterior.sizes["draw"] // FEW)
    few = residuals(posterior.isel(draw=slice(None, None, every)), plan)
    noise = _noise(posterior, few)
    # The waves are counted from the centre of the runs, so that units do not matter.
    runs, points = runs - runs.mean(axis=0), points - runs.mean(axis=0)
    together = np.concatenate([runs, points])
    factors = [_features(together / length, len(runs)) for length in LENGTHS]
    alone = [each[: len(runs)] / noise[:, None] for each in factors]
    weights = _weights(alone, few["standardised"] * few["scale"] / noise)
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    # Everything random has a fixed number of draws, whatever the points are.
    which = rng.choice(weights.size, shape, p=weights.ravel())
    waves = _waves(shape, points.shape[1], rng)
    out = np.zeros((*shape, len(points)))
    size = max(1, AT_ONCE // (shape[0] * len(runs)))
    for part in (slice(i, i + size) for i in range(0, shape[1], size)):
        at = residuals(posterior.isel(draw=part), plan)
        residual = (at["standardised"] * at["scale"] / noise).reshape(shape[0], -1, len(runs))
        for number in np.unique(which[:, part]):
            length, level = np.unravel_index(number, weights.shape)
            if TAUS[level] > 0:
                drawn = which[:, part] == number
                at_runs, at_points = np.split(TAUS[level] * factors[length], [len(runs)])
                of_draws = _weights_of_features(at_runs / noise[:, None], residual[drawn], rng)
                value = (at_points @ of_draws).T
                left = TAUS[level] ** 2 - (at_points**2).sum(axis=1)
                far = left > TAUS[level] ** 2 * TOLERANCE
                unit = _sum_of_waves(points[far] / LENGTHS[length], waves[:, part][drawn])
                value[:, far] += np.sqrt(left[far]) * unit
                out[:, part][drawn] = value
    return out.reshape(-1, len(points))


def _weights_of_features(features: np.ndarray, residual: np.ndarray, rng) -> np.ndarray:
    """Draws of the weights of features, (feature, draw), given residuals (draw, run).

    Features (run, feature) and residuals are in units of the noise of each run. The weights are
    standard normal under the prior.
    """
    precision = np.eye(features.shape[1]) + features.T @ features
    lower = np.linalg.cholesky(precision)
    normal = rng.standard_normal((features.shape[1], len(residual)))
    return np.linalg.solve(lower.T, np.linalg.solve(lower, features.T @ residual.T) + normal)


def _noise(posterior: xr.Dataset, at: Mapping[str, np.ndarray]) -> np.ndarray:
    """The scale of the noise of each run, larger for outliers where the noise has heavy tails.

    Neighbours do not raise it: that the law has one error in common with them is what the
    discrepancy describes.
    """
    scale = np.median(at["alone"], axis=0)
    standardised = (at["standardised"] * at["scale"] / at["alone"]).mean(axis=0)
    if "nu" not in posterior:
        return scale
    nu = float(posterior["nu"].median())
    return scale * np.sqrt((nu + standardised**2) / (nu + 1))


def _waves(shape: tuple[int, int], dims: int, rng: np.random.Generator) -> np.ndarray:
    """Frequencies, phase and amplitude of the waves of each draw; (chain, draw, wave, dims + 2).

    The frequencies are the spectrum of the squared exponential covariance. A wave with a random
    phase and a Rayleigh amplitude has a standard normal value at each position.
    """
    size = (*shape, WAVES, 1)
    frequency = rng.standard_normal((*shape, WAVES, dims))
    phase, amplitude = 2 * np.pi * rng.random(size), np.sqrt(2 / WAVES * rng.exponential(size=size))
    return np.concatenate([frequency, phase, amplitude], axis=-1)


def _sum_of_waves(x: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """A unit process, (draw, position), at positions (position, dims); waves as in `_waves`."""
    out = np.zeros((len(waves), len(x)))
    for one in np.moveaxis(waves, 1, 0):
        out += one[:, -1:] * np.cos(one[:, :-2] @ x.T + one[:, -2:-1])
    return out


def _features(x: np.ndarray, number: int | None = None) -> np.ndarray:
    """Features of positions whose products are their squared exponential covariance, by pivoted
    Cholesky factorisation; (position, feature). With a `number`, the pivots are among the first
    positions only."""
    left, features = np.ones(len(x)), np.empty((len(x), 0))
    while left[:number].max() > TOLERANCE:
        pivot = int(left[:number].argmax())
        column = np.exp(-((x - x[pivot]) ** 2).sum(axis=1) / 2) - features @ features[pivot]
        column /= np.sqrt(left[pivot])
        left = np.maximum(left - column**2, 0.0)
        left[pivot] = 0.0
        features = np.column_stack([features, column])
    return features


def log_likelihoods(features: list[np.ndarray], residual: np.ndarray) -> tuple:
    """Log likelihood of each length and tau, (length, tau), and the prior of tau, not normalised.

    Parameters
    ----------
    features : list of arrays (run, feature)
        Of each length, in units of the noise of each run.
    residual : array (draw, run)
        In the same units.
    """
    mean = residual.mean(axis=0)
    _, spread, directions = np.linalg.svd(residual - mean, full_matrices=False)
    fitted = directions[spread > FITTED * np.sqrt(len(residual))]
    free = mean - (mean @ fitted.T) @ fitted
    prior = np.exp(-(((np.log(np.maximum(TAUS, ZERO)) - CENTRE) / WIDTH) ** 2) / 2)
    log = np.zeros((len(features), len(TAUS)))
    for i, each in enumerate(features):
        left, values, _ = np.linalg.svd(each - fitted.T @ (fitted @ each), full_matrices=False)
        square = (left.T @ free) ** 2
        for j, tau in enumerate(TAUS):
            variance = 1 + (tau * values) ** 2
            log[i, j] = (square * (1 - 1 / variance)).sum() / 2 - np.log(variance).sum() / 2
    return log, prior


def _weights(features: list[np.ndarray], residual: np.ndarray) -> np.ndarray:
    """The posterior probability of each length and tau; as `log_likelihoods`."""
    log, prior = log_likelihoods(features, residual)
    weights = np.exp(log - log.max()) * prior
    return weights / weights.sum()

"""Pareto-smoothed importance weights, for many sets of weights at once.

Vehtari, Simpson, Gelman, Yao & Gabry 2024, J. Mach. Learn. Res. 25(72), arXiv:1507.02646; the tail
is fitted by the method of Zhang & Stephens 2009, Technometrics 51, 316. The results equal ArviZ's
(`tests/inference/test_pareto.py`). ArviZ treats one set at a time, and its import takes as long as
a fit.
"""

from __future__ import annotations

import numpy as np

FEWEST = 25  # of weights, so that the tail has five


def pareto_k(log_weight: np.ndarray) -> np.ndarray:
    """Shape of the tail of importance weights.

    Parameters
    ----------
    log_weight : array
        Log weights, (draw,) or (draw, set). They need not be normalised. A set may have weights
        of zero (-inf) only if it is the only one; they are left out.

    Returns
    -------
    array
        () or (set,). Above .7 the weights are unreliable. NaN where the tail has no spread,
        infinite where fewer than `FEWEST` weights cannot show their tail.

    Examples
    --------
    >>> u = np.linspace(0.0005, 0.9995, 1000)
    >>> round(float(pareto_k(-0.5 * np.log(u))), 1)  # a Pareto tail with shape .5
    0.5
    """
    if log_weight.ndim == 1:
        return pareto_k(log_weight[np.isfinite(log_weight), None])[0]
    if len(log_weight) < FEWEST:
        return np.full(log_weight.shape[1], np.inf)
    return _tail(log_weight)[-1]


def smoothed(log_weight: np.ndarray) -> np.ndarray:
    """Normalised log weights whose largest are replaced by quantiles of the fitted tail.

    Parameters
    ----------
    log_weight : array
        Finite log weights, (draw, set), of at least `FEWEST` draws.

    Returns
    -------
    array
        (draw, set).

    Examples
    --------
    >>> out = smoothed(np.random.default_rng(1).normal(size=(100, 2)))
    >>> np.exp(out).sum(axis=0).round(6).tolist()
    [1.0, 1.0]
    """
    log_weight = log_weight - log_weight.max(axis=0)
    order, cutoff, scale, k = _tail(log_weight)
    p = ((np.arange(len(order)) + 0.5) / len(order))[:, None]
    with np.errstate(all="ignore"):
        excess = np.where(k == 0, -np.log1p(-p), np.expm1(-k * np.log1p(-p)) / k)
        new = np.minimum(np.log(cutoff + scale * excess), 0.0)
    old = np.take_along_axis(log_weight, order, axis=0)
    fitted = np.isfinite(k) & (scale > 0)
    np.put_along_axis(log_weight, order, np.where(fitted, new, old), axis=0)
    return log_weight - np.logaddexp.reduce(log_weight, axis=0)


def _tail(log_weight: np.ndarray):
    """Positions of the largest weights, ascending; the next smaller weight; the fitted tail.

    The tail has 3 sqrt(n) of n weights, or a fifth of up to 225. The shape is drawn towards .5, as
    by ten more observations.
    """
    n = len(log_weight)
    size = int(3 * np.sqrt(n)) if n > 225 else n // 5
    cut = n - size - 1
    order = np.argpartition(log_weight, cut, axis=0)[cut:]
    values = np.take_along_axis(log_weight, order, axis=0)
    ascending = np.argsort(values, axis=0, kind="stable")
    order = np.take_along_axis(order, ascending, axis=0)
    values = np.take_along_axis(values, ascending, axis=0)
    weights = np.exp(values - values[-1])
    excess = weights[1:] - weights[0]
    k, scale = _generalised_pareto(excess)
    shape = (size * k + 10 * 0.5) / (size + 10)
    return order[1:], weights[0], scale, shape


def _generalised_pareto(excess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shape and scale of sorted excesses, (excess, set); NaN where they have no spread.

    The profile likelihood of b = -shape / scale is averaged over a grid whose spacing follows from
    the first quartile of the excesses.
    """
    n = len(excess)
    quartile = excess[max(int(n / 4 + 0.5) - 1, 0)]
    points = 30 + int(np.sqrt(n))
    grid = (1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5)))[:, None]
    with np.errstate(all="ignore"):
        b = 1 / excess[-1] + grid / (3 * quartile)
        k = np.stack([np.log1p(-each * excess).mean(axis=0) for each in b])
        profile = n * (np.log(-b / k) - k - 1)
        weight = np.exp(profile - np.logaddexp.reduce(profile, axis=0))
        weight = np.where(weight >= 10 * np.finfo(float).eps, weight, 0)
        mean = (weight * b).sum(axis=0) / weight.sum(axis=0)
        shape = np.log1p(-mean * excess).mean(axis=0)
        scale = -shape / mean
    spread = quartile > excess[0]
    return np.where(spread, shape, np.nan), np.where(spread, scale, np.nan)

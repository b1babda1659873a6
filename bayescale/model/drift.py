"""Drift: misspecification of a law, inside the runs and beyond them.

No law is exact. Let x be the log scale of a run, the sum of the logs of the law's columns (log C up
to a constant). The local exponent of the law is taken to be off by a factor 1 + W(x), where W is a
random walk with standard deviation `drift` per square root of an e-fold. Between two scales a law
predicts a change of log loss; W is the relative error of that change. Deviations from the law are
therefore integrated random walks in units of the law's own slope. One size serves losses in nats
and error rates alike, and a law that has reached its floor has no drift left.

* ``"through"``: W starts at the first run, takes `KNOTS` steps up to the last one, and is inferred
  with the law. Learning curves need this: hundreds of points show the misspecification. Beyond the
  last point W continues, and its value may jump at a random scale (a break to come).
* ``"ahead"``: the fit is that of the law alone. W starts where most of the runs end, at an unknown
  value. Tables of finished runs are too short and too noisy to show more.
"""

from __future__ import annotations

import numpy as np

from bayescale.priors import Positive

KINDS = ("auto", "through", "ahead", "off")
KNOTS = 10

#: Size of W per square root of an e-fold, where it is inferred: the best for image curves of those
#: tried (0.2, 0.4, 0.6; 0.8 and 1 are no better), by the interval scores of forecasts in
#: `benchmarks/curves.py`. Whole curves, fitted in retrospect, suggest 0.2 within a factor of 2.2,
#: under which forecasts score worse. The curve at hand updates it. A narrower prior improves
#: forecasts of image curves, whose points look smoothed, and worsens those of language models.
THROUGH = Positive(0.6, spread=1.7)
#: Size of W where it is not inferred, for one law: the best for the Chinchilla law over thirteen
#: tables, by the log scores of `benchmarks/rollouts.py`. A hierarchical model of these tables
#: (`benchmarks/sizes.py`) agrees with less certainty, 0.11 within a factor of 2.3: its intervals
#: cover on every table, but are so wide where laws do hold that they score worse.
AHEAD = Positive(0.1, spread=1.5)
#: Size where several laws are averaged: their differences already represent misspecification. The
#: smallest size that was tried scores best, and no drift at all as well. The hierarchical model
#: estimates 0.025 within a factor of 2.8, and its forecasts score worse.
AHEAD_AVERAGED = Positive(0.01, spread=1.5)

#: Drift ahead starts at this quantile of the scales of the runs: the last runs alone do not
#: determine how the law continues.
STARTS_AT = 0.9

#: Breaks beyond a curve per e-fold: of 324 public learning curves one in ten fits best with a break
#: in its held-out part, about an e-fold long (Alabdulmohsin et al. 2022, arXiv:2209.06640, fitted
#: with the law of Caballero et al. 2022, arXiv:2210.14891). A curve does not announce its breaks.
BREAKS = 0.1
#: Standard deviation of the change of W at a break: from no slope at all to twice the slope.
BREAK_SIZE = 1.0


# -- a random walk of the slope inside the data ------------------------------------------------


def knots(log_scale: np.ndarray, number: int = KNOTS) -> tuple[np.ndarray, float]:
    """Positions of the steps of W: the middles of equal stretches from the first run to the last.

    Returns
    -------
    tuple of array (knot,) and float
        Positions, and the length of a stretch, both in e-folds.
    """
    low, high = float(log_scale.min()), float(log_scale.max())
    length = (high - low) / number
    return low + length * (np.arange(number) + 0.5), length


def increments(log_scale: np.ndarray, at: np.ndarray, length: float) -> np.ndarray:
    """W at each run per standard normal step at each knot; (run, knot)."""
    return (log_scale[:, None] > at) * np.sqrt(length)


def deviations(curve, curve_at_knots, increment):
    """Deviation from a curve per standard normal step at each knot: the integral of W.

    Parameters
    ----------
    curve : array (..., run, 1)
        The curve that drifts (log loss of the law; for a straight line, the position itself).
    curve_at_knots : array (..., run or 1, knot)
        The curve at the scale of each knot.
    increment : array (run, knot)
        As `increments` returns it.

    Returns
    -------
    array (..., run, knot)
        Numpy arrays and PyTensor graphs alike.
    """
    return increment * (curve - curve_at_knots)


# -- a random walk of the slope beyond the data ------------------------------------------------


def integrated_walk(distance, rng: np.random.Generator, *, start=0.0, copies: int | None = None):
    """Integral of a Wiener process over each distance from its start, exactly.

    Parameters
    ----------
    distance : array (..., point)
        In any order; negative ones count as zero. Leading axes are independent walks; the points of
        one walk share its path.
    rng : numpy.random.Generator
    start : float or array (...,)
        Value of the process at distance zero.
    copies : int, optional
        Independent walks over the same distances; they add an axis at the end.

    Returns
    -------
    array (..., point) or (..., point, copy)
    """
    distance = np.maximum(np.asarray(distance, float), 0.0)
    order = np.argsort(distance, axis=-1)
    steps = np.diff(np.take_along_axis(distance, order, axis=-1), axis=-1, prepend=0.0)
    tail = () if copies is None else (copies,)
    shape = (*distance.shape[:-1], *tail)
    value = np.broadcast_to(np.asarray(start, float), shape)
    total, out = np.zeros(shape), np.empty((*distance.shape, *tail))
    for i in range(distance.shape[-1]):
        step = steps[..., i] if copies is None else steps[..., i, None]
        # Jointly normal: the increment has variance h, its integral h^3 / 3, covariance h^2 / 2.
        one, two = rng.standard_normal((2, *shape))
        total = total + value * step + step**1.5 * (one / 2 + two / np.sqrt(12))
        value = value + np.sqrt(step) * one
        place = order[..., i] if copies is None else order[..., i, None]
        axis = -1 if copies is None else -2
        np.put_along_axis(out, np.expand_dims(place, axis), np.expand_dims(total, axis), axis=axis)
    return out


def future_break(distance: np.ndarray, rate, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Integral of the change of W at the first break beyond the data.

    Parameters
    ----------
    distance : array (point,)
        Beyond the last run, in e-folds; zero or more.
    rate : float or array (draw,)
        Breaks per e-fold.
    draws : int

    Returns
    -------
    array (draw, point)
    """
    first = rng.exponential(1 / np.broadcast_to(rate, draws))[:, None]
    change = BREAK_SIZE * rng.standard_normal(draws)[:, None]
    return change * np.maximum(distance - first, 0.0)


def mean_over(distance: np.ndarray, integral: np.ndarray) -> np.ndarray:
    """Mean of a process over each distance, given its integral; zero at distance zero."""
    return integral / np.where(distance > 0, distance, np.inf)


def mean_walk(distance: np.ndarray, size: np.ndarray, rng: np.random.Generator, start=0.0):
    """Mean of a random walk over each distance from its start, one walk per draw.

    Parameters
    ----------
    distance : array (point,)
        In e-folds; zero or more.
    size : array (draw,)
        Standard deviation per square root of an e-fold.
    start : float or array (draw,)
        Value of the walk at distance zero.

    Returns
    -------
    array (draw, point)
    """
    paths = np.broadcast_to(distance, (len(size), len(distance)))
    walk = mean_over(distance, integrated_walk(paths, rng))
    return size[:, None] * walk + np.broadcast_to(start, len(size))[:, None]

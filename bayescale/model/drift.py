"""Drift: a stochastic deviation from a law, which represents its misspecification.

Let x be the log scale of a run, the sum of the logs of the law's columns (log C up
to a constant). The local exponent, the derivative of log loss in x, is that of the law times
1 + W(x). W is a random walk with standard deviation `drift` per square root of an e-fold of x. The
log loss therefore deviates from that of the law by the integral of W times the local exponent of
the law. Because W is relative to this exponent, one size is suitable for losses in nats and for
error rates, and the drift vanishes where the law approaches its floor.

* ``"through"``: W starts at the first run with the value 0, takes `KNOTS` steps up to the last run,
  and is inferred jointly with the law. This is for learning curves, whose hundreds of points are
  informative about W. Beyond the last run W continues, and may jump at a random scale (a break).
* ``"ahead"``: the model of the runs has no drift. W starts at the edge of the runs (`Edge`), at a
  random value. Tables of finished runs are usually too small and too noisy to inform W.
* ``"off"``: there is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bayescale.laws import Law
from bayescale.model.walks import integrals
from bayescale.priors import Positive

KINDS = ("auto", "through", "ahead", "off")
KNOTS = 10

#: Prior of the standard deviation of W per square root of an e-fold with drift ``"through"``. Of
#: the medians 0.2, 0.4 and 0.6, 0.4 has the best interval scores for forecasts of image curves in
#: `benchmarks/curves.py`. Fits to whole curves give 0.1 within a factor of 4; under 0.2 forecasts
#: score worse already. A narrower prior improves forecasts of image curves, whose points appear to
#: be smoothed, and worsens those of language models.
THROUGH = Positive(0.4, spread=1.5)
#: The same with drift ``"ahead"``, by whether several laws are averaged, whose differences already
#: represent part of the misspecification, and whether the law has an error in small runs
#: (`bayescale.model.small_runs`), which otherwise decide more about it, so that it is wrong by
#: more. Of the sizes with nearly the lowest interval score on the tables of `benchmarks/family.py`
#: those of one law, Chinchilla's, have the best coverage; those of averages are the middle.
AHEAD = {
    (False, False): Positive(0.06, spread=1.5),
    (True, False): Positive(0.03, spread=1.5),
    (False, True): Positive(0.045, spread=1.5),
    (True, True): Positive(0.02, spread=1.5),
}

#: With drift ``"ahead"``, W starts at this quantile of distinct runs, of their scales and of each
#: column. Few of them lie beyond it.
STARTS_AT = 0.9
#: Distances up to this are rounding errors.
NEGLIGIBLE = 1e-9

#: Rate of breaks per e-fold beyond a curve. Of 324 public learning curves (Alabdulmohsin et al.
#: 2022, arXiv:2209.06640), fitted with the law of Caballero et al. 2022 (arXiv:2210.14891), one in
#: ten fits best with a break in its held-out part, which is about an e-fold long. The points before
#: a break do not predict it.
BREAKS = 0.1
#: Standard deviation of the change of W at a break. At plus or minus one standard deviation, the
#: slope of the law is doubled or becomes zero.
BREAK_SIZE = 1.0


# -- a random walk of the slope inside the data ------------------------------------------------


def knots(log_scale: np.ndarray, number: int = KNOTS) -> tuple[np.ndarray, float]:
    """Positions of the steps of W: the midpoints of equal intervals from the first run to the last.

    Returns
    -------
    tuple of array (knot,) and float
        Positions, and the length of an interval, both in e-folds.
    """
    low, high = float(log_scale.min()), float(log_scale.max())
    length = (high - low) / number
    return low + length * (np.arange(number) + 0.5), length


def increments(log_scale: np.ndarray, at: np.ndarray, length: float) -> np.ndarray:
    """Value of a unit W at each run per standard normal step at each knot; (run, knot)."""
    return (log_scale[:, None] > at) * np.sqrt(length)


def deviations(curve, curve_at_knots, increment):
    """Deviation from a curve per standard normal step at each knot, for a unit W.

    From the knot on, a step adds a constant multiple of the slope of the curve.

    Parameters
    ----------
    curve : array (..., run, 1)
        Log loss of the law at the runs; for a straight line of slope one, the position itself.
    curve_at_knots : array (..., run or 1, knot)
        The curve at the scale of each knot.
    increment : array (run, knot)
        As `increments` returns it.

    Returns
    -------
    array (..., run, knot)
        Of the type of the arguments: numpy arrays or PyTensor graphs.
    """
    return increment * (curve - curve_at_knots)


# -- a random walk of the slope beyond the data ------------------------------------------------


def ahead(is_averaged: bool, has_law_error: bool) -> Positive:
    """The default prior of the size of the drift beyond the runs.

    Parameters
    ----------
    is_averaged : bool
        Whether forecasts average several laws.
    has_law_error : bool
        Whether the law has an error in small runs.
    """
    return AHEAD[is_averaged, has_law_error]


class Edge(NamedTuple):
    """Where the drift beyond the runs begins.

    A run can be beyond others in its scale, or in one of its columns: a small model on more tokens
    than any other is, although its compute is not larger.

    Attributes
    ----------
    scale : float
        Log scale.
    columns : mapping of str to float
        Logs of the columns, empty if only the scale counts.
    """

    scale: float
    columns: Mapping[str, float]

    @classmethod
    def of(cls, law: Law, columns: Mapping[str, np.ndarray]) -> Edge:
        """The edge of runs with these columns.

        Runs of one size count once: repeated runs measure the noise, not how far the law holds.
        """
        each = np.unique(np.column_stack([columns[c] for c in law.columns]), axis=0)
        distinct = dict(zip(law.columns, each.T, strict=True))
        starts = {c: float(np.quantile(np.log(distinct[c]), STARTS_AT)) for c in law.sizes}
        return cls(float(np.quantile(law.log_scale(distinct), STARTS_AT)), starts)

    def before(self, law: Law, place: Mapping[str, np.ndarray]):
        """The points of the edge that belong to `place`, and the distances from them.

        Columns beyond the edge are moved back to it, and then all columns by one factor until the
        scale is not beyond it either.

        Returns
        -------
        dict of str to array (point,), and array (point,)
            Columns, and distances in e-folds of the scale.
        """
        moved = dict(place)
        for c, start in self.columns.items():
            moved[c] = np.minimum(moved[c], np.exp(start))
        rest = np.maximum(law.log_scale(moved) - self.scale, 0.0)
        for c in law.sizes:
            moved[c] = moved[c] * np.exp(-rest / len(law.sizes))
        distance = law.log_scale(place) - law.log_scale(moved)
        return moved, np.where(distance > NEGLIGIBLE, distance, 0.0)


def integrated_walk(distance, rng: np.random.Generator, *, start=0.0, copies: int | None = None):
    """Exact draws of the integral of a Wiener process from its start to each distance.

    Parameters
    ----------
    distance : array (..., point)
        In any order; negative ones count as zero. Leading axes index independent processes; the
        points of one process share its path.
    rng : numpy.random.Generator
    start : float or array (...,)
        Value of the process at distance zero.
    copies : int, optional
        Number of independent processes at the same distances; they add an axis at the end.

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
    """Draws of the integral of the change of W at the first break beyond the data.

    Parameters
    ----------
    distance : array (point,)
        Distances beyond the last run in e-folds; zero or more.
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
    """Mean of a process up to each distance, given its integral; zero at distance zero."""
    return integral / np.where(distance > 0, distance, np.inf)


def mean_walk(distance: np.ndarray, size: np.ndarray, rng: np.random.Generator, start=0.0):
    """Mean of a random walk from its start to each distance, one walk per draw.

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
    walk = mean_over(distance, integrals(distance, len(size), rng))
    return size[:, None] * walk + np.broadcast_to(start, len(size))[:, None]

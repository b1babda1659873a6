"""Drift: how far a law may be off, inside the runs and beyond them.

No law is quite true. Along log scale x (the sum of the logs of its columns: log C, up to a
constant) its local exponent is taken to be off by a factor 1 + W(x), where W is a random walk of
size `drift` per root of an e-fold. Between two scales a law promises to lower log loss by some
amount; W says how much more or less of the promise is kept. Deviations from the law are thus
integrated random walks, in units of the law's own slope: one size serves losses in nats and error
rates alike, and where a law has reached its floor there is nothing left to drift.

* ``"through"``: W starts with the first run, at `KNOTS` steps up to the last one, and is inferred
  with the law. Learning curves need it: hundreds of points show how the law is off. Beyond them it
  walks on, and now and then it jumps: a curve may break where nothing announces it.
* ``"ahead"``: the fit is left alone; W starts beyond most of the runs, with an unknown value.
  Tables of finished runs are too short and too scattered to show more.
"""

from __future__ import annotations

import numpy as np

from bayescale.priors import Positive

KINDS = ("auto", "through", "ahead", "off")
KNOTS = 10

#: The size of W, per root of an e-fold, where it is inferred: the best for image curves of those
#: tried (0.2, 0.4, 0.6; 0.8 and 1 are no better), by the interval scores of forecasts in
#: `benchmarks/curves.py`. Whole curves, looked back on, say 0.2 give or take a factor of 2.2, under
#: which forecasts score worse. The curve at hand updates it: under a narrower prior forecasts of
#: images, whose points look smoothed, get better, but those of language models worse.
THROUGH = Positive(0.6, spread=1.7)
#: Its size where it is not, for one law: the best for the Chinchilla law over thirteen tables, by
#: the log scores of `benchmarks/rollouts.py`. A hierarchical model of these tables
#: (`benchmarks/sizes.py`) says as much with less certainty, 0.11 give or take a factor of 2.3: its
#: intervals hold on every table, but are so wide where laws do hold that they score worse.
AHEAD = Positive(0.1, spread=1.5)
#: Where several laws are averaged, their differences already carry what a law may be off: the
#: smallest size that was tried there scores best, and none at all as well. The hierarchical model
#: says 0.025 give or take a factor of 2.8, and its forecasts score worse.
AHEAD_AVERAGED = Positive(0.01, spread=1.5)

#: Drift ahead starts at this share of the runs, ordered by scale: the last ones alone do not tell
#: how the law goes on.
STARTS_AT = 0.9


#: Breaks beyond a curve, per e-fold: of 324 public learning curves one in ten fits best with a
#: break in its held-out part, about an e-fold long (Alabdulmohsin et al. 2022, arXiv:2209.06640,
#: fitted with the law of Caballero et al. 2022, arXiv:2210.14891). Nothing in a curve tells when.
BREAKS = 0.1
#: What a break changes W by, one standard deviation: from no slope at all to twice the slope.
BREAK_SIZE = 1.0


def knots(log_scale: np.ndarray) -> tuple[np.ndarray, float]:
    """Where W takes its steps, in the middle of equal stretches from first to last run, and the
    length of a stretch in e-folds."""
    low, high = float(log_scale.min()), float(log_scale.max())
    length = (high - low) / KNOTS
    return low + length * (np.arange(KNOTS) + 0.5), length


def hinges(log_scale: np.ndarray, at: np.ndarray, length: float) -> np.ndarray:
    """What a unit step of W at each knot weighs in a run's promise; (run, knot)."""
    return (log_scale[:, None] > at) * np.sqrt(length)


def wander(distance: np.ndarray, size: np.ndarray, rng, start: np.ndarray | float = 0.0):
    """Mean of a random walk over each `distance` (e-folds) from its start.

    One walk per draw, so points along one line stand off it together.

    Parameters
    ----------
    distance : (point,)
        Zero or more.
    size : (draw,)
        Standard deviation per root of an e-fold.
    start : (draw,)
        Its value at distance zero.

    Returns
    -------
    numpy.ndarray
        (draw, point)
    """
    out = np.zeros((len(size), len(distance)))
    value, total, before = np.zeros(len(size)), np.zeros(len(size)), 0.0
    for i in np.argsort(distance):
        step = max(float(distance[i]), 0.0) - before
        if step > 0:
            value, total = walked(value, total, step, rng)
            before += step
        out[:, i] = total / before if before > 0 else 0.0
    return size[:, None] * out + np.broadcast_to(start, len(size))[:, None]


def walked(value, total, step, rng):
    """A Wiener process and its integral, exactly, `step` further on."""
    one, two = rng.standard_normal((2, *np.shape(value)))
    return (
        value + np.sqrt(step) * one,
        total + value * step + step**1.5 * (one / 2 + two / np.sqrt(12)),
    )


def breaks(distance: np.ndarray, draws: int, rng) -> np.ndarray:
    """What a break beyond the runs adds to the mean of the walk over each `distance`.

    The first one, at `BREAKS` per e-fold: W jumps there and stays. Axes (draw, point).
    """
    at = rng.exponential(1 / BREAKS, draws)[:, None]
    jump = BREAK_SIZE * rng.standard_normal(draws)[:, None]
    beyond = np.maximum(distance - at, 0.0)
    return jump * beyond / np.where(distance > 0, distance, 1.0)

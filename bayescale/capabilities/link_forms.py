"""Forms of a link: formulas from the distance ``u`` of a run to its accuracy.

A formula takes numpy arrays, xarray objects and PyTensor graphs. `Form.fast` is the same formula
for numpy arrays only, with its derivative. Sampling without compilation spends most of its time
there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bayescale.functions import softplus
from bayescale.priors import Fraction, Positive, Prior, Real

#: Floor of tasks with a chance of 0, and the factor on their offset. One standard deviation of the
#: offset is then a factor of seven on the floor.
ACCIDENT, LOOSE = 3e-4, 10.0

#: Sharpness of the smooth upper bound of 1 on an unbounded form. With a larger value, the form is
#: closer to the published one below the bound.
CAP = 4.0

#: Smallest distance of a mean from 0 and 1, for which the beta distribution is proper.
NEVER = 1e-7

#: Largest distance of a place that is sought by bisection, and number of steps.
FARTHEST, HALVINGS = 50.0, 50
#: Largest power of a size, so that products of it with 0 are 0.
LARGEST_POWER = 60.0


# -- forms, for numpy, xarray and PyTensor -----------------------------------------------------


def cap(log_rise):
    """exp(`log_rise`), with a smooth upper bound of 1."""
    return np.exp(-softplus(-CAP * log_rise) / CAP)


def logistic(u, *, floor, level, slope, top):
    """accuracy = floor + (1 - floor) top sigmoid(level + slope u)."""
    return floor + (1 - floor) * top * np.exp(-softplus(-(level + slope * u)))


def gadre(u, *, floor, level, slope):
    """accuracy = floor + (1 - floor) exp(level + slope u): an error of eps - k exp(-gamma loss)."""
    return floor + (1 - floor) * cap(level + slope * u)


def hinge(u, *, floor, start, slope, width):
    """accuracy = floor below u = -start, then linear in u, with a smooth corner of some width."""
    return floor + (1 - floor) * cap(np.log(slope * width * softplus((u + start) / width) + NEVER))


def advance(u, *, share, alpha, beta, ratio, unit):
    """Minus the sum of a power of N and a power of D, from 0 at the reference, with slope 1 there.

    The reference is the compute of the best run at the typical ratio of N and D. `u` moves both
    along compute, and `ratio` apart; one unit of `u` is `unit` e-folds of each. `share` is the
    part of N in the slope at the reference. Small exponents give a straight line in log compute.
    """
    of_n = (1 - np.exp(-alpha * unit * (u + ratio))) / alpha
    of_d = (1 - np.exp(-beta * unit * (u - ratio))) / beta
    return (share * of_n + (1 - share) * of_d) / unit


def by_size(u, *, floor, level, slope, top, **sizes):
    """The sigmoid of a + A N^-alpha + B D^-beta."""
    return logistic(advance(u, **sizes), floor=floor, level=level, slope=slope, top=top)


def reach(goal, **sizes):
    """The u at which `advance` equals `goal` at the typical ratio, by bisection.

    `FARTHEST` where it stays below the goal. Takes floats, numpy arrays and xarray objects.
    """
    low, high = goal * 0 - FARTHEST, goal * 0 + FARTHEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = advance(middle, ratio=0.0, **sizes) < goal
        low, high = low + (middle - low) * below, high - (high - middle) * ~below
    return high


def floor_of(chance, offset):
    """Chance shifted by `offset` in log odds; `ACCIDENT` where chance is 0."""
    open_ended = (chance <= 0) * 1.0
    chance = chance + open_ended * ACCIDENT
    odds = np.exp(offset * (1 + open_ended * (LOOSE - 1)))
    return chance * odds / (1 - chance + chance * odds)


def precision_of(mean, floor, *, precision, jitter):
    """Precision of the beta noise of accuracies around `mean`."""
    share = (mean - floor) / (1 - floor)
    return 1 / (1 / precision + jitter**2 * (1 - floor) * share**2 * (1 - share) / mean)


# -- the same with derivatives, for numpy ------------------------------------------------------


def _capped(power):
    """`cap` of the log of a rise, from the rise to the power minus `CAP`."""
    return 1 / np.sqrt(np.sqrt(1 + power))


def fast_logistic(u, *, floor, level, slope, top):
    with np.errstate(over="ignore"):
        share = 1 / (1 + np.exp(-(level + slope * u)))
    rise = ((1 - floor) * top) * share
    return floor + rise, slope * rise * (1 - share)


def fast_gadre(u, *, floor, level, slope):
    with np.errstate(over="ignore"):
        power = np.exp(-CAP * (level + slope * u))
    rise = (1 - floor) * _capped(power)
    return floor + rise, slope * rise * (1 - 1 / (1 + power))


def fast_hinge(u, *, floor, start, slope, width):
    x = (u + start) / width
    line = slope * width * softplus(x) + NEVER
    power = line**-CAP
    rise = (1 - floor) * _capped(power)
    with np.errstate(over="ignore"):
        growth = slope / (1 + np.exp(-x))  # the derivative of the line
    return floor + rise, growth * rise / line * (1 - 1 / (1 + power))


def fast_by_size(u, *, floor, level, slope, top, share, alpha, beta, ratio, unit):
    of_n = np.exp(np.minimum(-alpha * unit * (u + ratio), LARGEST_POWER))
    of_d = np.exp(np.minimum(-beta * unit * (u - ratio), LARGEST_POWER))
    at = (share * (1 - of_n) / alpha + (1 - share) * (1 - of_d) / beta) / unit
    mean, derivative = fast_logistic(at, floor=floor, level=level, slope=slope, top=top)
    return mean, derivative * (share * of_n + (1 - share) * of_d)


@dataclass(frozen=True)
class Form:
    """A formula from ``u`` to accuracy, and the priors of its parameters.

    `fast` gives the formula and its derivative in ``u`` for numpy arrays. `along` is the column
    that ``u`` is computed from: ``"loss"`` or ``"C"``. `columns` are those that a table needs.
    With N and D, the formula also takes `ratio` and `unit`, see `advance`.
    """

    name: str
    formula: Callable
    fast: Callable
    priors: Mapping[str, Prior]
    along: str = "loss"
    columns: tuple[str, ...] = ("loss",)

    @property
    def by_size(self) -> bool:
        """Whether the accuracy depends on N and D apart."""
        return "N" in self.columns

    def __call__(self, u, values: Mapping[str, object], chance, **where):
        """The expected accuracy and the precision of the beta noise, given parameters by name."""
        of_form = {p: values[p] for p in self.priors}
        floor = floor_of(chance, values["offset"])
        mean = NEVER + (1 - 2 * NEVER) * self.formula(u, floor=floor, **of_form, **where)
        return mean, precision_of(
            mean, floor, precision=values["precision"], jitter=values["jitter"]
        )

    def beyond(
        self, u: np.ndarray, ahead: np.ndarray, values: Mapping[str, np.ndarray], chance, **where
    ):
        """The same for numpy arrays, with a drift `ahead` of the runs, in units of ``u``.

        Where the form has a top, drift moves the log odds of the share of the whole rise, from the
        floor to 1. The top is inferred from the runs, and what limits the accuracy there need not
        limit that of a larger model. If drift moved ``u``, the forecasts of a task near its top
        would not widen with the distance from the runs.
        """
        if "top" not in self.priors:
            return self(u + ahead, values, chance, **where)
        mean, _ = self(u, values, chance, **where)
        floor = floor_of(chance, values["offset"])
        share = np.clip((mean - floor) / (1 - floor), NEVER, 1 - NEVER)
        odds = share / (1 - share) * np.exp(values["slope"] * ahead)
        mean = NEVER + (1 - 2 * NEVER) * (floor + (1 - floor) * odds / (1 + odds))
        return mean, precision_of(
            mean, floor, precision=values["precision"], jitter=values["jitter"]
        )

    def with_derivative(
        self, u: np.ndarray, values: Mapping[str, np.ndarray], chance: float, **where
    ):
        """The same for numpy arrays, with the derivative of the accuracy in `u` between."""
        floor = floor_of(chance, values["offset"])
        of_form = {p: values[p] for p in self.priors}
        mean, derivative = self.fast(u, floor=floor, **of_form, **where)
        mean = NEVER + (1 - 2 * NEVER) * mean
        return (
            mean,
            derivative,
            precision_of(mean, floor, precision=values["precision"], jitter=values["jitter"]),
        )


#: The accuracy of the best run may be close to the floor, close to the top or between. One standard
#: deviation of the loss multiplies the odds by about ten.
LEVEL = Real(-1.5, sd=1.5, between=1.5)
SLOPE = Positive(2.5, spread=1.8, between=1.6)
#: Because of wrong and ambiguous questions no model reaches 1. A form without a top would be
#: extrapolated to 1 where the rise has slowed down early.
TOP = Fraction(0.9, spread=1.2, between=1.5)
SIGMOID = {"level": LEVEL, "slope": SLOPE, "top": TOP}
#: Share of N in the slope at the best run, and exponents of N and D, about those of the loss.
SIZES = {
    "share": Fraction(0.5, spread=2.0, between=1.5),
    "alpha": Positive(0.3, spread=1.2, between=1.15),
    "beta": Positive(0.3, spread=1.2, between=1.15),
}

FORMS: dict[str, Form] = {
    "logistic": Form("logistic", logistic, fast_logistic, SIGMOID),
    "gadre": Form(
        "gadre",
        gadre,
        fast_gadre,
        {"level": LEVEL, "slope": Positive(1.5, spread=1.8, between=1.6)},
    ),
    "hinge": Form(
        "hinge",
        hinge,
        fast_hinge,
        {
            # The threshold lies within the table for most tasks, and beyond it for some.
            "start": Real(0.5, sd=1.0, between=0.7),
            "slope": Positive(0.4, spread=2.0, between=1.6),
            "width": Positive(0.2, spread=2.0, between=1.3),
        },
    ),
    "compute": Form("compute", logistic, fast_logistic, SIGMOID, "C", ("C",)),
    "direct": Form("direct", by_size, fast_by_size, SIGMOID | SIZES, "C", ("N", "D")),
}

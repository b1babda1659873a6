"""How many departures the best possible test can find on the curves of `emergence.py power`.

    python benchmarks/emergence_bound.py [--accuracies 100] [--losses 50]

Curves are drawn by `breaks.simulated`. A test is the ratio of two likelihoods, with a change of
slope and without, both integrated over the distribution of the curves. No test that is wrong
equally often finds more changes (Neyman and Pearson 1933). Its threshold is the one that 5 % of
unbroken curves exceed.

all known   the test knows the distributions from which curves are drawn, the noise, the top of
            accuracies and the size of the change. Unbroken curves are straight.
flattening  of accuracies, half of the unbroken curves have log odds that flatten, with the prior of
            `emergence`. The test must not take them for changes.
learnt      in addition the size of the change and the top are not known, but have the priors of
            `emergence`.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from breaks import simulated
from common import keep, write
from emergence import CHANGES, DOWNWARD, SETTINGS
from scipy.special import betaln, ndtr
from scipy.stats import t as student

from bayescale.capabilities.emergence_priors import BREAK, FLATTENING, SCATTER
from bayescale.functions import softplus
from bayescale.inference import Density, importance
from bayescale.priors import from_link

#: Settings in which `emergence` misses more than one change in ten.
HARD = SETTINGS[1:]
#: Changes of slope, relative to the slope before.
SIZES = tuple(change for change, drift in (*CHANGES, *DOWNWARD) if not drift)
#: Share of unbroken curves on which a test is wrong.
WRONG = 0.05
#: Top of the accuracies, and share of the losses without a floor.
TOP, NO_FLOOR = 0.97, 0.25
TESTS = ("all known", "flattening", "learnt")


def drawn(prior, z: np.ndarray) -> np.ndarray:
    return from_link(prior.link, prior.centre + prior.width * z)


def shape(kind: str, law: str, change: float | None, s: np.ndarray, coordinates) -> np.ndarray:
    """The curves of `breaks.simulated` without their level, (draw, point).

    `coordinates` gives one standard normal coordinate after the other, (draw, 1). A change that is
    None has the prior of `emergence`.
    """
    slope = (0.35 if kind == "loss" else 0.7) * 2 ** next(coordinates)
    if law == "straight":
        return slope * s
    if law == "flattening":
        alpha = drawn(FLATTENING["alpha"], next(coordinates))
        return -slope * np.expm1(-alpha * s) / alpha
    length = s[-1] - s[0]
    place = s[0] + length * (0.25 + 0.5 * ndtr(next(coordinates)))
    width = 0.3 * 2.5 ** next(coordinates)
    if change is None:
        change = drawn(BREAK["ratio"], next(coordinates)) - 1

    def bent(at):
        return slope * (at + change * width * softplus((at - place) / width))

    return bent(s) - bent(0.0)


def accuracy(law: str, change, s, coordinates, *, is_top_known: bool = True):
    """Chance of a right answer as a share of the range above chance, and scatter of models."""
    eta = shape("accuracy", law, change, s, coordinates) + 1.5 * next(coordinates)
    many = 0.25 / (0.015 * 2 ** next(coordinates)) ** 2
    top = TOP if is_top_known else 1 - drawn(SCATTER["lost"], next(coordinates))
    return top / (1 + np.exp(-eta)), many


def log_evidence(scores, law: str, rng, change=0.0, *, is_top_known: bool = True) -> float:
    """Log of the likelihood of scores, integrated over the distribution of the curves of a law."""
    kind, noise, s, y, chance = scores
    # A change of unknown size has one coordinate more.
    first = {"straight": 1, "flattening": 2, "broken": 3 + (change is None)}[law]

    def coordinates(z):
        return (z[:, [i]] for i in range(z.shape[1]))

    def of_accuracy(z):
        share, many = accuracy(law, change, s, coordinates(z), is_top_known=is_top_known)
        p = chance + (1 - chance) * share
        a, b = np.maximum(p * many, 1e-9), np.maximum((1 - p) * many, 1e-9)
        right = y * noise
        return (betaln(right + a, noise - right + b) - betaln(a, b)).sum(axis=1)

    def of_loss(z):
        at = coordinates(z)
        path = shape(kind, law, change, s, at)
        mean = 0.4 * 2.2 ** next(at) * np.exp(-path)
        if z.shape[1] == first + 2:
            mean = mean + 0.5 * 2 ** next(at)
        return student.logpdf(np.log(y / mean) / noise, 6).sum(axis=1)

    def integrated(dimension, log_likelihood):
        density = Density(dimension, log_likelihood)
        return importance.sample_roughly(density, 10, rng).diagnostics.log_evidence

    if kind == "accuracy":
        return integrated(first + 2 + (not is_top_known), of_accuracy)
    of_floor = np.array([integrated(first + more, of_loss) for more in (2, 1)])
    return np.logaddexp(*(of_floor + np.log([1 - NO_FLOOR, NO_FLOOR])))


def flattened(points: int, questions: float, rng):
    """Scores whose log odds flatten, otherwise as those of `breaks.simulated`."""
    length = rng.uniform(2, 4) * np.log(10)
    s = np.linspace(-length / 2, length / 2, points)
    chance = float(rng.choice([0.0, 0.25, 0.5]))
    while True:
        share, many = accuracy("flattening", 0.0, s, iter(rng.standard_normal((4, 1, 1))))
        p = chance + (1 - chance) * share[0]
        many = many[0]
        true = rng.beta(np.maximum(p * many, 1e-9), np.maximum((1 - p) * many, 1e-9))
        y = rng.binomial(int(questions), true) / questions
        if y.max() - chance > 3 * np.sqrt(0.25 / questions):  # as there, some are above chance
            return s, y, chance


def one(kind: str, points: int, noise: float, truth: str, change: float, i: int) -> list[dict]:
    """Log likelihood ratios of one curve, for each change that a test may look for."""
    rng = np.random.default_rng([i, points, int(1e4 * noise), int(100 * change) % 1000, 0, 11])
    if truth == "flattening":
        given = flattened(points, noise, rng)
    else:
        curve, _ = simulated(kind, points, noise, change, 0.0, rng)
        given = curve.s, curve.metric.y, getattr(curve.metric, "chance", 0.0)
    scores = (kind, noise, *given)

    def unbroken(**options):
        straight = log_evidence(scores, "straight", rng, **options)
        if kind == "loss":
            return straight, straight
        flat = log_evidence(scores, "flattening", rng, **options)
        return straight, np.logaddexp(straight, flat) - np.log(2)

    straight, either = unbroken()
    learnt = log_evidence(scores, "broken", rng, None, is_top_known=False)
    learnt -= unbroken(is_top_known=False)[1] if kind == "accuracy" else straight
    rows = []
    for sought in (change,) if truth == "broken" else SIZES:
        broken = log_evidence(scores, "broken", rng, sought)
        ratios = dict(zip(TESTS, (broken - straight, broken - either, learnt), strict=True))
        of = dict(metric=kind, points=points, noise=noise, truth=truth, change=sought, curve=i)
        rows.append(of | ratios)
    return rows


def found(of: pd.DataFrame) -> pd.Series:
    """Share of the changes that each test finds."""
    broken = of[of["truth"] == "broken"]
    row = {"curves": len(broken)}
    for test in TESTS:
        wrong = of[of["truth"].isin(["straight", "flattening"][: 1 + (test != TESTS[0])])]
        row[test] = (broken[test] > wrong[test].quantile(1 - WRONG)).mean()
    return pd.Series(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accuracies", type=int, default=100)
    parser.add_argument("--losses", type=int, default=50)
    options = parser.parse_args()
    rows = []
    for setting in HARD:
        is_accuracy = setting[0] == "accuracy"
        truths = [("straight", 0.0), *(("broken", change) for change in SIZES)]
        truths += [("flattening", 0.0)] if is_accuracy else []
        for truth, change in truths:
            for i in range(options.accuracies if is_accuracy else options.losses):
                rows += one(*setting, truth, change, i)
            keep(pd.DataFrame(rows), "emergence_bound_each")
    by = ["metric", "points", "noise", "change"]
    table = pd.DataFrame(rows).groupby(by)[["truth", *TESTS]].apply(found).reset_index()
    write(table, "emergence_bound", "Share of changes that are found by tests wrong on 5 %")


if __name__ == "__main__":
    main()

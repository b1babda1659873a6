"""Breaks in words: which curves have one, where it lies, and reasons to doubt the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayescale.intervals import defaults

#: Between these probabilities neither a break nor its absence is likely.
UNSURE = (0.2, 0.8)
MOST_LABELS = 5  # labels of curves in one sentence
#: False alarms by metric and number of points: the number of simulated curves with drift and
#: without breaks that have P(break) > .5, and the number of simulated curves, over all noise
#: levels of `benchmarks/results/breaks_alarms.csv`.
FALSE_ALARMS = {
    "loss": {8: (1, 144), 20: (0, 108), 40: (1, 42), 100: (0, 24)},
    "accuracy": {8: (0, 96), 20: (0, 72), 40: (0, 28), 100: (0, 16)},
}


def false_alarms(metric: str, n: int) -> tuple[int, int, int]:
    """False alarms of the benchmark for curves of `n` points.

    Returns
    -------
    tuple of int
        The number of false alarms, the number of simulated curves, and their number of points. The
        last is the largest simulated number that is at most `n`, or else the smallest.
    """
    by_points = FALSE_ALARMS["accuracy" if metric == "accuracy" else "loss"]
    points = max((k for k in by_points if k <= n), default=min(by_points))
    return *by_points[points], points


def describe(
    label: str,
    x: str,
    p: float,
    bounds: tuple[float, float],
    draws: pd.DataFrame,
    ci_prob: float | None = None,
) -> str:
    """One line about one curve: P(break), its numerical error, and the largest break.

    Parameters
    ----------
    label, x : str
        Label of the curve and name of its scale.
    p : float
        Probability of a break; NaN if a break cannot be identified.
    bounds : tuple of float
        P(break) minus and plus two Monte Carlo standard errors.
    draws : DataFrame
        As returned by `bayescale.Breaks.places`.
    ci_prob : float, optional
    """
    if np.isnan(p):
        return f"  {label}: P(break) - (fewer than 6 different {x})"
    line = f"  {label}: P(break) {p:.2f}"
    if bounds[0] < 0.5 < bounds[1]:
        line += (
            f" (numerical error: {bounds[0]:.2f} to {bounds[1]:.2f}; use more particles to "
            "reduce it)"
        )
    if p > 0.5:
        line += f", {largest_in_words(x, draws, ci_prob)}"
    return line


def largest_in_words(x: str, draws: pd.DataFrame, ci_prob: float | None = None) -> str:
    """The kind, the place and the slopes of the largest break of a curve."""
    prob, _ = defaults(ci_prob)
    low, middle, high = np.quantile(draws["x"], [(1 - prob) / 2, 0.5, (1 + prob) / 2])
    return (
        f"a {draws['kind'].mode()[0]} at {x} {middle:.2g} ({100 * prob:g} %: {low:.2g} to "
        f"{high:.2g}), slope {draws['before'].median():.2g} before and "
        f"{draws['after'].median():.2g} after"
    )


def answer(
    x: str,
    probabilities: Mapping[str, float],
    places: Mapping[str, pd.DataFrame],
    ci_prob: float | None = None,
) -> str:
    """One sentence: which curves have a break, and where the most probable one lies.

    Parameters
    ----------
    x : str
        Name of the scale.
    probabilities : mapping of str to float
        P(break) by label of the curve; NaN if a break cannot be identified.
    places : mapping of str to DataFrame
        As returned by `bayescale.Breaks.places`, by label.
    ci_prob : float, optional
    """
    identified = {label: p for label, p in probabilities.items() if not np.isnan(p)}
    if not identified:
        return f"No curve has 6 or more different {x}, so no break can be identified."
    broken = [label for label, p in identified.items() if p > 0.5]
    first = max(identified, key=lambda label: identified[label])
    p = identified[first]
    if not broken:
        of = f" (the highest: {first})" if len(identified) > 1 else ""
        return f"No curve is likely to have a break: P(break) is {p:.2f}{of}."
    where = largest_in_words(x, places[first], ci_prob)
    if len(identified) == 1:
        return f"{first} has a break with probability {p:.2f}: {where}."
    be = "is" if len(broken) == 1 else "are"
    listed = ", ".join(broken[:MOST_LABELS]) + (", ..." if len(broken) > MOST_LABELS else "")
    return (
        f"{len(broken)} of {len(identified)} curves {be} likely to have a break ({listed}); the "
        f"most probable one is in {first}, with probability {p:.2f}: {where}."
    )


def doubts(
    probabilities: Mapping[str, float],
    bounds: Mapping[str, tuple[float, float]],
    imprecise: Sequence[str],
    notes: Sequence[str],
    alarms: tuple[int, int, int] | None,
) -> tuple[str, ...]:
    """Reasons to doubt an answer about breaks, the most serious first.

    Parameters
    ----------
    probabilities : mapping of str to float
        P(break) by label of the curve.
    bounds : mapping of str to tuple of float
        P(break) minus and plus two Monte Carlo standard errors, by label.
    imprecise : sequence of str
        Labels of curves whose posterior is imprecise.
    notes : sequence of str
        Cautions about the table.
    alarms : tuple of int, optional
        As returned by `false_alarms`, for the curve with the fewest points.
    """
    out = []
    if imprecise:
        out.append(f"the posterior of {', '.join(imprecise)} is imprecise: use more particles")
    if open_ := [label for label, (low, high) in bounds.items() if low < 0.5 < high]:
        out.append(
            f"the numerical error of P(break) of {', '.join(open_)} includes 0.5: use more "
            "particles"
        )
    if unsure := [label for label, p in probabilities.items() if UNSURE[0] < p < UNSURE[1]]:
        out.append(f"the points of {', '.join(unsure)} do not decide between a break and drift")
    out += notes
    if alarms is not None and not any(p > 0.5 for p in probabilities.values()):
        out.append("most bends in noisy scores are not found by this test (`emergence` finds more)")
    elif alarms is not None:
        found, simulated, points = alarms
        out.append(
            f"of {simulated} simulated curves of {points} points with drift and without a break, "
            f"{found} had P(break) > .5"
        )
    return tuple(out)

"""Sentences about rollouts, comparisons of laws and calibrations, and reasons to doubt them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayescale.errors import BayescaleError
from bayescale.evaluation import scores as scoring
from bayescale.intervals import defaults
from bayescale.units import times_in_words

#: The sentence where no reason for doubt was found.
NO_DOUBT = "No reason for doubt was found."
#: A share of runs is uncertain if its central 90 % range under the nominal coverage is wider.
UNCERTAIN = 0.15
#: Tail probability of a coverage below which it differs from the nominal one by more than chance.
BY_CHANCE = 0.01


def binomial_tail(at_least: int, n: int, prob: float) -> float:
    """The probability of `at_least` or more successes in `n` trials.

    Examples
    --------
    >>> round(binomial_tail(2, 2, 0.5), 3)
    0.25
    """
    from scipy.stats import binom

    return float(binom.sf(at_least - 1, n, prob))


def level(ci_prob: float | None = None) -> float:
    """The probability of an interval, if held-out runs are scored at this level."""
    prob, _ = defaults(ci_prob)
    if prob not in scoring.LEVELS:
        listed = ", ".join(map(str, scoring.LEVELS))
        raise BayescaleError(f"ci_prob is {prob}: held-out runs are scored at {listed}")
    return prob


def held_out_in_words(law: str, points: pd.DataFrame, ci_prob: float | None = None) -> str:
    """One sentence: how many runs lie inside the intervals of a law, and how far it errs.

    Parameters
    ----------
    law : str
    points : pandas.DataFrame
        The rows of `bayescale.Rollout.points` of this law.
    ci_prob : float, optional
    """
    prob = level(ci_prob)
    inside = int(points[f"inside{100 * prob:.0f}"].sum())
    problems = points["problem"].nunique()
    error = 100 * float(np.expm1(points["log_error"].abs().median()))
    far = float(points["extrapolation"].max())
    several = f" in {problems} problems" if problems > 1 else ""
    return (
        f"{inside} of {len(points)} held-out runs{several}, up to {times_in_words(far)} times the "
        f"largest fitted run, lie inside their {100 * prob:g} % intervals by {law}; half of its "
        f"medians are within {error:.2g} % of the measured loss."
    )


def doubts_of_coverage(points: pd.DataFrame, ci_prob: float | None = None) -> tuple[str, ...]:
    """Reasons to doubt forecasts of held-out runs, the most serious first.

    Parameters
    ----------
    points : pandas.DataFrame
        The rows of `bayescale.Rollout.points` of one law.
    ci_prob : float, optional
    """
    from scipy.stats import binom

    prob, n, out = level(ci_prob), len(points), []
    converged = points.groupby("problem")["converged"].all()
    if not converged.all():
        out.append(f"{int((~converged).sum())} of {len(converged)} fits did not converge")
    inside = int(points[f"inside{100 * prob:.0f}"].sum())
    share = f"they contain {100 * inside / n:.0f} % of the runs"
    if binom.cdf(inside, n, prob) < BY_CHANCE:
        out.append(f"the {100 * prob:g} % intervals are too narrow here: {share}")
    elif binomial_tail(inside, n, prob) < BY_CHANCE:
        out.append(f"the {100 * prob:g} % intervals are too wide here: {share}")
    low, high = binom.ppf([0.05, 0.95], n, prob) / n
    if high - low > UNCERTAIN:
        out.append(
            f"{n} held-out run{'s' * (n > 1)} cannot show whether {100 * prob:g} % intervals hold "
            f"as often as they should: by chance alone {100 * low:.0f} to {100 * high:.0f} % would "
            "lie inside"
        )
    return tuple(out)

"""Reasons to doubt a forecast or an allocation, the most serious first."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bayescale.data import unit_doubts
from bayescale.errors import ExtrapolationWarning
from bayescale.forecasting.members import losses_by_law
from bayescale.model import Finding, Fit, merged
from bayescale.units import counted, format_count, format_flop, times_in_words

#: Multiple of the largest training compute, or share of the smallest, beyond which a result warns.
FAR = 100.0
#: Multiple beyond which a result is said to hold only if the law does.
REMOTE = 1e4
#: A model is reported if it has fewer parameters than this share of the smallest fitted one.
SMALL = 0.1
#: Factor beyond the range of a column other than N, D and C at which a result warns.
OUTSIDE = 3.0
#: Laws of less than this share of the largest weight are not named where laws disagree.
DISAGREES = 0.1
#: Share of the width of the interval of the mean above which a spread between laws is reported.
SPREAD = 0.5
#: A law of less weight is not the main reason for doubt.
SMALLEST_WEIGHT = 0.25
#: Extrapolation that is mentioned where there is no other reason for doubt.
BEYOND = 1.5
#: Extrapolation that is a more important reason for doubt than outliers or structure in residuals.
FURTHER = 3.0
#: What a distance beyond `FAR` means for a result.
FAR_IN_WORDS = "and these runs say little about how far the law holds there"
#: Findings of a check that say that the priors determine the result.
ABOUT_PRIORS = ("design", "information", "runs", "prior")


def scale_column(fit, place: Mapping[str, np.ndarray]) -> str:
    """The column in which extrapolation is measured: compute, else the first size of the law."""
    return "C" if "C" in place and "C" in fit.runs else fit.law.sizes[0]


def extrapolation(fit, place: Mapping[str, np.ndarray]) -> np.ndarray:
    """The ratio of the scale of each point to that of the largest run; dims (point,)."""
    column = scale_column(fit, place)
    return np.asarray(place[column], float) / float(fit.runs.table[column].max())


def distances(fit, place: Mapping[str, np.ndarray], *, beyond: bool = True) -> list[str]:
    """Sentences about points far beyond or below the runs; empty if there are none.

    Parameters
    ----------
    fit : Fit or Average
    place : mapping of str to numpy.ndarray
        Columns in absolute units, dims (point,).
    beyond : bool
        Whether to report points beyond the largest run.
    """
    column = scale_column(fit, place)
    at, table = np.asarray(place[column], float), fit.runs.table
    above, below = at / float(table[column].max()), at / float(table[column].min())
    out = []
    write = format_flop if column == "C" else format_count
    if beyond and (above > FAR).any():
        unit = "FLOP" if column == "C" else column
        which = f", at {write(at.max())} {unit}" if len(at) > 1 else ""
        out.append(
            f"{_points(above > FAR, 'lies', 'lie')} beyond {FAR:.0f} times the largest "
            f"fitted run (up to {times_in_words(above.max())} times{which}): the runs do not "
            "show whether the law holds at this distance"
        )
    if (below < 1 / FAR).any():
        out.append(
            f"{_points(below < 1 / FAR, 'lies', 'lie')} more than {FAR:.0f} times below the "
            f"smallest fitted run (down to {write(at.min())}, smallest run "
            f"{write(float(table[column].min()))}): the runs are not informative there"
        )
    if "N" in place and "N" in table:
        N, smallest = np.asarray(place["N"], float), float(table["N"].min())
        small = smallest * SMALL > N
        if small.any():
            out.append(
                f"{_points(small, 'has', 'have')} less than a tenth of the parameters of the "
                f"smallest fitted model ({format_count(smallest)}; down to "
                f"{format_count(N.min())}): the law is extrapolated to smaller models"
            )
    for other in (c for c in fit.law.columns if c not in ("N", "D", "C", column) and c in place):
        at, low, high = np.asarray(place[other], float), table[other].min(), table[other].max()
        outside = (at > high * OUTSIDE) | (at < low / OUTSIDE)
        if outside.any():
            out.append(
                f"{_points(outside, 'has', 'have')} {other} far outside the range of the runs "
                f"({low:.3g} to {high:.3g}; points {at.min():.3g} to {at.max():.3g}): the runs are "
                f"not informative about {other} there"
            )
    return out


def _points(chosen: np.ndarray, one: str, several: str) -> str:
    """The number of chosen points, with a verb."""
    return counted(int(chosen.sum()), f"point {one}", f"points {several}")


def warn_of_distance(fit, place: Mapping[str, np.ndarray], stacklevel: int) -> None:
    """Give one `ExtrapolationWarning` for all points far from the runs."""
    if found := distances(fit, place):
        warnings.warn("; ".join(found), ExtrapolationWarning, stacklevel=stacklevel + 1)


def doubts(
    fits: Mapping[str, Fit],
    weights: Mapping[str, float],
    point: Mapping[str, float],
    group: Mapping[str, str] | None,
    width: float,
    below: Sequence[str] = (),
    times: float = 0.0,
    series: str | None = None,
    drift: str = "auto",
) -> tuple[str, ...]:
    """Reasons not to believe a result at a point, the most serious first.

    Parameters
    ----------
    fits : mapping of str to Fit
        One fit, or the fits of an average that are used.
    weights : mapping of str to float
    point : mapping of str to float
        The columns of the laws.
    group : mapping of str to str, optional
        A fitted group.
    width : float
        Width of the interval of the mean log loss at the point.
    below : sequence of str
        Sentences of `distances` about points below the runs.
    times : float
        Compute as a multiple of that of the largest run.
    series, drift
        Those of the forecast at the point.

    Returns
    -------
    tuple of str
        Clauses without a full stop: failed checks, doubtful units of the counts, distance from the
        runs, laws that disagree, results that the priors determine, other cautions of the check,
        and a moderate distance.
    """
    failed, priors, others = [], [], []
    heaviest = max(weights[name] for name in fits)
    cautions: dict[str, list[Finding]] = {}
    for name, fit in fits.items():
        if weights[name] < min(SMALLEST_WEIGHT, heaviest):
            continue
        of, cautions[name] = f" of {name}" if len(fits) > 1 else "", []
        for finding in fit.check().problems:
            if finding.level == "failed":
                failed.append(f"the fit{of} FAILED its check ({finding.name}: {finding.text})")
            else:
                cautions[name].append(finding)
    for laws, finding in merged(cautions):
        # Laws of little weight are not asked, so what all others have is named too.
        laws = laws or (tuple(cautions) if 1 == len(cautions) < len(fits) else ())
        of = f" of {', '.join(laws)}" if laws else ""
        text = f"{finding.name} check{of}: {finding.text}"
        (priors if finding.name in ABOUT_PRIORS else others).append(text)
    far, further, mild = [], [], []
    if times > BEYOND:
        (far if times > FAR else further if times >= FURTHER else mild).append(
            f"the run has {beyond_in_words(times)}"
        )
    heavy = {n: fit for n, fit in fits.items() if weights[n] >= DISAGREES * heaviest}
    continued = None if series is None else [series]
    differ = _disagreement(heavy, point, group, width, continued, drift)
    units = unit_doubts(next(iter(fits.values())).runs.notes)
    ordered = [*failed, *units, *far, *differ, *priors, *further, *others, *mild, *below]
    return tuple(dict.fromkeys(ordered))


def beyond_in_words(times: float) -> str:
    """How far a run lies beyond the fitted ones, and what that means for it.

    Examples
    --------
    >>> beyond_in_words(9.0)
    '9 times the compute of the largest fitted run, where the law may no longer hold'
    """
    meaning = "where the law may no longer hold"
    if times > FAR:
        meaning = FAR_IN_WORDS
    return f"{times_in_words(times)} times the compute of the largest fitted run, {meaning}"


def of_one_law(fits: Mapping[str, Fit], times: float) -> tuple[str, ...]:
    """Why the interval of one law is not that of several, beyond the runs; else empty.

    Parameters
    ----------
    fits : mapping of str to Fit
        Those that are used.
    times : float
        Compute as a multiple of that of the largest run.
    """
    first, *others = fits.values()
    plan = first.plan
    if others or times <= BEYOND or plan.drift != "ahead" or plan.ahead is not None:
        return ()
    alone = plan.drift_ahead().median
    averaged = replace(plan, law_error=True).drift_ahead(is_averaged=True).median
    return (
        f"one law was fitted: its interval allows for more drift beyond the runs (about {alone:g}) "
        f"than that of several laws ({averaged:g}), whose differences represent part of the error",
    )


def if_the_law_holds(answer: str, fit, times: float) -> str:
    """An answer about a run far beyond all others, with the condition on which it rests.

    Parameters
    ----------
    answer : str
    fit : Fit or Average
    times : float
        Scale of the run as a multiple of that of the largest run.

    Examples
    --------
    >>> if_the_law_holds("With 1e22 FLOP, train ...", None, 9.0)
    'With 1e22 FLOP, train ...'
    """
    if times <= REMOTE:
        return answer
    laws = "the laws hold" if len(getattr(fit, "used", ())) > 1 else "the law holds"
    return (
        f"If {laws} {times_in_words(times)} times beyond the largest run, which no run shows: "
        f"{answer[:1].lower()}{answer[1:]}"
    )


#: What is said of a forecast without a reason for doubt.
NO_DOUBT = "No reason for doubt was found: the check passed and the runs reach this scale."


def main_reason(reasons: Sequence[str], none: str = NO_DOUBT) -> str:
    """A sentence with the main reason for doubt, or `none` if there is none."""
    if not reasons:
        return none
    return f"Main reason for doubt: {reasons[0]}."


def _disagreement(fits, point, group, width: float, series, drift: str) -> list[str]:
    """A clause if the laws differ by much of the width of the interval."""
    if len(fits) < 2:
        return []
    medians = losses_by_law(fits, point, group, series=series, drift=drift)
    expected = {name: float(loss[0]) for name, loss in medians.items()}
    spread = np.log(max(expected.values()) / min(expected.values()))
    if spread < SPREAD * width:
        return []
    listed = ", ".join(f"{loss:.4g} ({name})" for name, loss in expected.items())
    return [f"the laws disagree by {100 * np.expm1(spread):.1f} % there: they expect {listed}"]

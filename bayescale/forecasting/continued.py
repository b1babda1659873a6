"""What points have from the fitted runs: the run that they continue, an N or D that all share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bayescale.errors import FitError
from bayescale.forecasting.averaging import Average, fits_of
from bayescale.keywords import option
from bayescale.model import NEW, Fit, settle_labels
from bayescale.units import as_counts, format_count

#: Relative difference up to which the parameters of a run are the same.
SAME_SIZE = 0.01


def only_run(fit: Fit | Average, given: Mapping[str, object]) -> str | None:
    """The run that points continue if none is named: the only one of the fit.

    Points are of a new run if a column is given that is constant along the fitted run, such as N,
    or if they are budgets that are to be split into N and D.
    """
    table = fit.runs.table
    if "series" not in table or not given:
        return None
    labels = table["series"].astype(str).unique()
    if len(labels) > 1 or any(c not in table or table[c].nunique() == 1 for c in given):
        return None
    split = "D" not in given and any(f.law.allocates for f in fits_of(fit).values())
    return None if split else str(labels[0])


def columns_of_runs(fit: Fit | Average, series: object, given: Mapping[str, object]) -> dict:
    """The N of the run that is continued, and an N or D that all runs share, if they are not given.

    Raises
    ------
    FitError
        If other values are given.
    """
    table = fit.runs.table
    shared: dict[str, np.ndarray] = {}
    problems = []
    if isinstance(series, str) and {"series", "N"} <= set(table):
        own = table["N"][table["series"].astype(str) == series].unique()
        if len(own) == 1:
            shared["N"] = own
            if _differs("N", given, own):
                problems.append(
                    f"series {series!r} has {format_count(own[0])} parameters, and N is another "
                    f"number: leave out N, or give series={NEW!r} for a new run"
                )
    columns = fit.law.columns
    for column, value in shared_sizes(fit).items():
        shared.setdefault(column, np.array([value]))
        if column not in columns and _differs(column, given, shared[column]):
            problems.append(
                f"all runs have {column} = {format_count(value)}, so that laws of "
                f"{', '.join(columns)} alone were fitted, and {column} is another number: leave it "
                f"out, or fit a law of N and D, such as {option('law', 'chinchilla')}, whose "
                "forecast then rests on its priors"
            )
    if problems:
        raise FitError(problems)
    # Two of N, D and C give the third.
    lacking = 2 - len({"N", "D", "C"} & set(given))
    free = [c for c in shared if c not in given]
    return {c: shared[c] for c in (free[:lacking] if "C" in given else free if lacking > 0 else [])}


def shared_sizes(fit: Fit | Average) -> dict[str, float]:
    """N or D, if all runs have the same."""
    table = fit.runs.table
    return {c: float(table[c].iloc[0]) for c in "ND" if c in table and table[c].nunique() == 1}


def _differs(column: str, given: Mapping[str, object], own: np.ndarray) -> bool:
    if given.get(column) is None:
        return False
    return bool(np.any(np.abs(np.log(as_counts(given[column], column) / own)) > SAME_SIZE))


def settle_series(fit: Fit | Average, series: object, size: int) -> list[str | None] | None:
    """One fitted series, or None for a new run, for each point."""
    if series is None:
        return None
    fitted = sorted(set(fit.runs.table["series"].astype(str))) if "series" in fit.runs else ()
    labels = settle_labels(series, {"series": fitted}, size)["series"]
    labels = [labels] * size if isinstance(labels, str) else labels
    return [None if x == NEW else x for x in labels]


def splits_budgets(fit: Fit | Average) -> bool:
    """Whether the laws and the runs say how to split a budget into N and D."""
    return fit.law.allocates and not shared_sizes(fit)


def follows_from_budget(fit: Fit | Average) -> bool:
    """Whether a budget gives all columns of the laws, by a split or by what all runs share."""
    if fit.law.allocates or fit.law.columns == ("C",):
        return True
    known = columns_of_runs(fit, only_run(fit, {"C": None}), {"C": None})
    return len(fit.law.columns) == 1 and bool(known)

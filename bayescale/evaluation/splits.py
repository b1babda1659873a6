"""Splits of a table into problems: runs to fit and runs to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayescale.data import FEWEST_RUNS, Runs
from bayescale.errors import unknown
from bayescale.laws import Law
from bayescale.units import counted, format_flop, parse_count

TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


@dataclass(frozen=True, eq=False)
class Problem:
    """One forecasting problem: runs to fit and runs to predict.

    Attributes
    ----------
    name : str
    seen : Runs
        The runs to fit.
    later : pandas.DataFrame
        The rows of the same table to predict.
    places : pandas.DataFrame
        One row per run to predict, with the columns of the result: problem, threshold, labels,
        sizes, loss and extrapolation.
    """

    name: str
    seen: Runs
    later: pd.DataFrame
    places: pd.DataFrame

    def points(self, law: Law, groups: Sequence[str]) -> pd.DataFrame:
        """The runs to predict, in the form that `forecast` requires.

        Labels of groups and series without a fitted run are None: a new group or series.
        """
        columns = dict.fromkeys((*"NDC", *law.columns, *groups, "series"))
        frame = self.later[[c for c in columns if c in self.later]].copy()
        for label in [c for c in (*groups, "series") if c in frame]:
            labels = frame[label].astype(str).astype(object)
            frame[label] = labels.where(labels.isin(self.seen.table[label].astype(str)), None)
        return frame

    @property
    def truth(self) -> np.ndarray:
        """The measured losses of the runs to predict; dims (point,)."""
        return self.later["loss"].to_numpy(float)


@dataclass(frozen=True, eq=False)
class Cut:
    """A rule that separates the runs to fit from the others.

    Attributes
    ----------
    name : str
    threshold : float
        Value of the threshold; nan for a split.
    fitted : array of bool, dims (run,)
        True for the runs to fit.
    """

    name: str
    threshold: float
    fitted: np.ndarray


def cuts(runs: Runs, above, column: str, split: str | None, wrong: list[str]) -> list[Cut]:
    """The requested cuts; problems with them are added to `wrong`."""
    if (above is None) == (split is None):
        wrong.append(
            "give either above=, one or several thresholds, or split=, a column that is "
            "true for the runs to fit"
        )
        return []
    if column not in runs:
        wrong.append(unknown("column", column, runs.table.columns))
        return []
    values = pd.to_numeric(runs.table[column], errors="coerce")
    if missing := int(values.isna().sum()):
        wrong.append(
            f"column {column!r} has "
            f"{counted(missing, 'value that is no number', 'values that are no numbers')}"
        )
        return []
    if split is not None:
        return _split(runs, split, wrong)
    return [
        Cut(f"{column} >= {text}", value, (values < value).to_numpy())
        for text, value in _thresholds(above, wrong).items()
    ]


def _split(runs: Runs, split: str, wrong: list[str]) -> list[Cut]:
    if split not in runs:
        wrong.append(unknown("split column", split, runs.table.columns))
        return []
    truth = runs.table[split].astype(str).str.lower().map(TRUTH)
    if missing := int(truth.isna().sum()):
        wrong.append(
            f"split column {split!r} has "
            f"{counted(missing, 'value that is', 'values that are')} neither true nor false"
        )
        return []
    return [Cut(split, np.nan, truth.isin([True]).to_numpy())]


def _thresholds(above, wrong: list[str]) -> dict[str, float]:
    """Thresholds by their text."""
    values = {}
    for given in [above] if isinstance(above, str) or np.ndim(above) == 0 else above:
        try:
            value = parse_count(given)
        except ValueError as error:
            wrong.append(f"above: {error}")
            continue
        values[given if isinstance(given, str) else format_flop(value, digits=6)] = value
    return values


def problems(
    runs: Runs,
    cut_by: Sequence[Cut],
    column: str,
    each: str | None,
    groups: Sequence[str],
    wrong: list[str],
) -> list[Problem]:
    """A problem for every cut and every label of `each`; the reasons for invalid problems
    are added to `wrong`."""
    labels = None if each is None else runs.table[each].astype(str)
    found = []
    for cut in cut_by:
        for label in [None] if labels is None else labels.unique():
            labelled = np.ones(len(runs), bool) if label is None else (labels == label).to_numpy()
            name = cut.name if label is None else f"{label}, {cut.name}"
            seen, later = runs[labelled & cut.fitted], runs[labelled & ~cut.fitted].table
            if len(seen) < FEWEST_RUNS:
                wrong.append(
                    f"{name}: {counted(len(seen), 'run')} to fit, but at least {FEWEST_RUNS} are "
                    "needed"
                )
            elif len(later) == 0:
                wrong.append(f"{name}: there is no run to predict")
            else:
                columns = dict.fromkeys(c for c in (each, *groups, *runs.groups) if c is not None)
                places = _places(name, cut.threshold, seen, later, column, columns)
                found.append(Problem(name, seen, later, places))
    return found


def _places(name: str, threshold: float, seen: Runs, later: pd.DataFrame, column: str, labels):
    """See `Problem.places`."""
    largest = float(pd.to_numeric(seen.table[column]).max())
    labels = dict.fromkeys((*labels, "series"))
    return pd.DataFrame(
        {
            "problem": name,
            "threshold": threshold,
            **{c: later[c].astype(str).to_numpy() for c in labels if c in later},
            "run": later.index.to_numpy(),
            **{c: later[c].to_numpy(float) for c in (*"NDC", "loss") if c in later},
            "extrapolation": pd.to_numeric(later[column]).to_numpy(float) / largest,
        }
    )


def unseen(problem: Problem, groups: Sequence[str]) -> list[str]:
    """A note for every group or series column with labels that no fitted run has."""
    notes = []
    for column in [c for c in (*groups, "series") if c in problem.later]:
        later, seen = (t[column].astype(str) for t in (problem.later, problem.seen.table))
        if new := later[~later.isin(seen)].unique().tolist():
            shown = ", ".join(map(repr, new[:6])) + (", ..." if len(new) > 6 else "")
            kind = "run" if column == "series" else "group"
            notes.append(
                f"{problem.name}: no run of {column} {shown} is fitted; predicted as a new {kind}"
            )
    return notes


def is_curve(problem: Problem, each: str | None, laws: Sequence[Law]) -> bool:
    """Whether the runs to predict continue the one series that is fitted.

    Without a ``series`` column, the labels of `each` are curves if all laws have one column.
    """
    if "series" in problem.later:
        both = pd.concat([problem.seen.table["series"], problem.later["series"]])
        return both.nunique() == 1
    return each is not None and all(len(law.columns) == 1 for law in laws)

"""Tables of measured losses, in the usual spellings of columns, for registered runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import pandas as pd

from bayescale.data import FEWEST_RUNS, Runs, task_columns
from bayescale.errors import RunsError, RunsWarning

COUNTS = ("N", "D", "C")


def _as_runs(frame: pd.DataFrame, columns: Mapping[str, str] | None) -> Runs | None:
    """The table as runs; None if it is none. What was read is said with the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunsWarning)
        try:
            return Runs.from_frame(frame, columns=columns)
        except RunsError:
            return None  # a table of finished runs may hold rows that are not runs


def read_measured(
    frame: pd.DataFrame, number: int, columns: Mapping[str, str] | None = None
) -> tuple[pd.DataFrame, str]:
    """A table with the columns ``loss``, N, D or C, and ``series`` if it has checkpoints.

    Columns of these names are used as they are. Others are read as `bayescale.Runs` reads them.

    Parameters
    ----------
    frame : pandas.DataFrame
    number : int
        Registered runs. A table of more rows may have checkpoints, recognised by their steps.
    columns : mapping of str to str, optional
        Column or expression of a quantity, as in `bayescale.Runs.read`.

    Returns
    -------
    tuple of pandas.DataFrame and str
        The table, and what was read from columns of other names; may be empty.
    """
    if "series" not in frame and len(frame) > max(number, FEWEST_RUNS):
        runs = _as_runs(frame, columns)
        if runs is not None and "series" in runs:
            named = {c: runs.table[c] for c in (*COUNTS, "loss", "series") if c in runs.table}
            return frame.assign(**named), runs.how_read
    if not columns and "loss" in frame and set(COUNTS) & set(frame):
        return frame, ""
    found = task_columns(frame, (*COUNTS, "loss"), y="loss", task=None, columns=columns)
    return found.frame, found.read

"""Check a table of runs and convert its cells to numbers and labels.

A table is either accepted completely or refused with a list of all its problems: no row is dropped
and no value is rescaled. Two of N, D and C give the third by C = 6ND.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayescale.data import reading
from bayescale.errors import RunsError, unknown
from bayescale.units import flop

#: A fit needs at least this many runs.
FEWEST_RUNS = 3
#: Half-width of a central 95 % normal interval, in standard deviations.
NORMAL_95 = 1.959964
#: Columns that a table of runs may have, in this order; their names are reserved.
CANONICAL = ("N", "D", "C", "loss", "loss_sd", "series")
NUMERIC = {*CANONICAL, "loss_lower", "loss_upper"} - {"series"}
SHOWN = 8  # largest number of labels that a note lists


@dataclass(frozen=True)
class Checked:
    """A table that passed every check.

    Attributes
    ----------
    table : pandas.DataFrame
        Those of `CANONICAL` that are known, then the group columns, then the other columns of the
        source.
    groups : tuple of str
        The group columns.
    mapping : dict of str to str
        From quantity to column of the source.
    convention : str
        How parameters and FLOP are counted.
    notes : tuple of str
        Duplicates, disagreements between C and 6ND, groups with a single run.
    """

    table: pd.DataFrame
    groups: tuple[str, ...]
    mapping: dict[str, str]
    convention: str
    notes: tuple[str, ...]


def validate(raw: reading.RawTable, groups, named: dict, allow_small: bool) -> Checked:
    """Check a table of runs.

    Parameters
    ----------
    raw : RawTable
    groups : str or sequence of str, optional
        Columns that label groups.
    named : dict
        From quantity to the column that the user named, or to None.
    allow_small : bool
        Accept counts that look like millions or billions left unscaled.

    Raises
    ------
    RunsError
        Naming every problem with its rows.
    """
    problems: list[str] = []
    groups = as_names(groups)
    if len(raw.cells.columns) == 0 or len(raw.cells) == 0:
        raise RunsError("the table has no rows", where=raw.source)
    mapping = reading.match_columns(raw, named, problems)
    columns: dict[str, object] = {}
    for quantity, column in mapping.items():
        if quantity == "series":
            columns["series"] = reading.labels(raw, column, problems)
        else:
            columns[quantity] = reading.numbers(raw, quantity, column, problems)
    for group in groups:
        if group not in raw.cells.columns:
            problems.append(unknown("group column", group, raw.cells.columns))
        elif group in NUMERIC:
            problems.append(
                f"column {group!r} cannot label groups, because its name means "
                f"{reading.MEANING[group]}: copy it to a column of another name"
            )
        else:
            columns[group] = reading.labels(raw, group, problems)
    if len(raw.cells) < FEWEST_RUNS:
        problems.append(f"only {len(raw.cells)} run(s): a law needs at least {FEWEST_RUNS}")
    if not problems and not allow_small:
        problems += _unscaled(columns)
    if not problems:
        problems += _loss_error(columns, raw)
    if problems:
        raise RunsError(problems, where=raw.source)
    with np.errstate(over="ignore", under="ignore"):
        notes = _complete(columns, raw)
    if problems := _out_of_range(columns, raw):
        raise RunsError(problems, where=raw.source)
    notes += _duplicates(columns, groups, raw) + _single_runs(columns, groups)
    table = _assemble(columns, raw.cells, mapping, groups)
    return Checked(table, groups, mapping, _convention(mapping), tuple(notes))


def as_names(groups: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names as a tuple, given one, several or None."""
    if groups is None:
        return ()
    return (groups,) if isinstance(groups, str) else tuple(groups)


def _unscaled(columns) -> list[str]:
    """Problems of counts that look like millions or billions left unscaled."""
    problems = []
    for quantity, smallest in reading.SMALLEST.items():
        if quantity in columns and np.median(columns[quantity]) < smallest:
            middle = np.median(columns[quantity])
            problems.append(
                f"{reading.MEANING[quantity]}: the median is {middle:g}, which looks like "
                "millions, billions or PF-days left unscaled: give absolute counts "
                "(70e9, or 70B), or pass allow_small=True if these are absolute"
            )
    return problems


def _loss_error(columns, raw) -> list[str]:
    """Replace a 95 % interval of the loss by a standard error, and return the problems."""
    lower, upper = columns.pop("loss_lower", None), columns.pop("loss_upper", None)
    if (lower is None and upper is None) or "loss_sd" in columns:
        return []
    if lower is None or upper is None:
        return ["one bound of the loss's 95 % interval is missing: give both or neither"]
    wrong = ~((lower < upper) & (lower <= columns["loss"]) & (columns["loss"] <= upper))
    if wrong.any():
        return [f"the loss does not lie inside its 95 % interval {raw.rows(wrong)}"]
    columns["loss_sd"] = (upper - lower) / (2 * NORMAL_95)
    return []


def _complete(columns, raw) -> list[str]:
    """Compute the third of N, D and C from two, or return a note if the three disagree."""
    N, D, C = (columns.get(c) for c in "NDC")
    if N is not None and D is not None and C is None:
        columns["C"] = flop(N, D)
    elif N is not None and C is not None and D is None:
        columns["D"] = C / flop(N, 1)
    elif D is not None and C is not None and N is None:
        columns["N"] = C / flop(1, D)
    elif N is not None and D is not None:
        far = np.abs(np.log(C) - np.log(flop(1, D)) - np.log(N)) > np.log(2)
        if far.any():
            return [
                f"C differs from 6ND by more than a factor of 2 in {int(far.sum())} rows "
                f"{raw.rows(far)}: check whether N excludes embeddings, D counts one epoch or "
                "all, and C is 6ND or counted in full"
            ]
    return []


def _out_of_range(columns, raw) -> list[str]:
    """Problems where C = 6ND overflows or underflows."""
    counts = {c: columns[c] for c in "NDC" if c in columns}
    wrong = {c: ~(np.isfinite(v) & (v > 0)) for c, v in counts.items()}
    return [
        f"{reading.MEANING[c]} by C = 6ND is too large or too small for a number "
        f"{raw.rows(bad)}: correct the counts"
        for c, bad in wrong.items()
        if bad.any()
    ]


def _duplicates(columns, groups, raw) -> list[str]:
    """A note on rows that repeat an earlier row."""
    keys = pd.DataFrame(
        {k: np.asarray(v) for k, v in columns.items() if k in (*CANONICAL, *groups)}
    )
    again = keys.duplicated().to_numpy()
    if not again.any():
        return []
    return [
        f"{int(again.sum())} row(s) repeat an earlier one {raw.rows(again)}: each counts as a "
        "separate run; remove them if they are copies"
    ]


def _single_runs(columns, groups) -> list[str]:
    """Notes on groups with a single run."""
    notes = []
    for group in groups:
        counts = pd.Series(np.asarray(columns[group])).value_counts()
        if alone := list(counts.index[counts == 1]):
            notes.append(
                f"{group} {', '.join(map(repr, alone[:SHOWN]))} has a single run: its "
                "parameters cannot be separated from noise"
            )
    return notes


def _assemble(columns, cells, mapping, groups) -> pd.DataFrame:
    """The canonical columns, the groups, and the rest; a reserved name gets ``_original``."""
    frame = pd.DataFrame(
        {k: np.asarray(columns[k]) for k in (*CANONICAL, *groups) if k in columns},
        index=cells.index,
    )
    used = {*mapping.values(), *groups}
    for column in cells.columns:
        if column in used:
            continue
        name = f"{column}_original" if column in CANONICAL else column
        numeric = pd.to_numeric(cells[column], errors="coerce")
        is_number = numeric.notna().sum() == cells[column].notna().sum() and numeric.notna().any()
        frame[name] = numeric if is_number else cells[column].astype("str")
    return frame


def _convention(mapping) -> str:
    """How N and C are counted, according to the names of the columns."""
    counted = "N is counted as given"
    if re.search("non.?emb", mapping.get("N", ""), re.IGNORECASE):
        counted = "N is counted without embeddings"
    given = [q for q in "NDC" if q in mapping]
    if len(given) == 3:
        return f"{counted}, C as given"
    return f"{counted}, C = 6ND" if len(given) == 2 else f"{counted}, {given[0]} alone is known"

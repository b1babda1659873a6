"""The points of a forecast, from a table or from keywords, with derived columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayescale.data import ORDERED
from bayescale.errors import FitError, unknown
from bayescale.keywords import in_python
from bayescale.model import labels_in_points
from bayescale.units import as_counts, format_count

#: If N, D and C are all given, C may differ from `flop_factor` N D by this factor, because training
#: FLOP are counted in different ways. A wrong unit differs by much more.
FLOP_TOLERANCE = 2.0


def read_points(
    points: pd.DataFrame | None,
    keywords: Mapping[str, object],
    columns: Sequence[str],
    groups: Sequence[str],
    group: object,
    source: str = "fit",
) -> tuple[dict[str, object], object]:
    """Read the points from a table or from keywords.

    Parameters
    ----------
    points : pandas.DataFrame or None
        One row for each point. Columns that are not in `columns` or `groups` are ignored.
    keywords : mapping from str to object
        Values by column; None for a column that was not given.
    columns : sequence of str
        The columns that may be given.
    groups : sequence of str
        The group columns that were fitted.
    group : object
        The value of the keyword ``group=``.
    source : str
        The word for the result in messages: ``"fit"`` or ``"link"``.

    Returns
    -------
    columns : dict from str to object
        The columns that were given, unchanged.
    group : object
        Labels of groups, as `bayescale.model.settle_labels` takes them.

    Raises
    ------
    FitError
        If `points` is not a DataFrame or has no rows, if a column is unknown, or if columns or
        groups are given both in the table and by keyword.
    """
    given = {c: v for c, v in keywords.items() if v is not None}
    if points is None:
        if unknown_columns := [c for c in given if c not in columns]:
            raise FitError([_no_column(c, columns) for c in unknown_columns])
        return given, group
    if not isinstance(points, pd.DataFrame):
        names = ", ".join(f"{c}=" for c in columns)
        raise FitError(
            f"points must be a DataFrame, got {type(points).__name__}; or give columns by "
            f"keyword: {names}"
        )
    if given:
        raise FitError(
            f"{', '.join(f'{c}=' for c in given)} was given with a DataFrame of points: give "
            "points either as a DataFrame or by keyword, not both"
        )
    if len(points) == 0:
        raise FitError("the DataFrame of points has no rows: give one row per point")
    in_table = {c: points[c].tolist() for c in columns if c in points}
    return in_table, labels_in_points(points, groups, group, source)


def _no_column(name: str, columns: Sequence[str]) -> str:
    hint = in_python("forecast", name)
    if hint is None:
        return unknown("column", name, columns)
    return f"there is no column {name!r}: in Python it is {hint}"


def example_of(
    table: pd.DataFrame, column: str, given: Mapping[str, np.ndarray] | None = None
) -> str | float:
    """A typical value of a column, as it may be given: ``"4B"`` or 0.003.

    Where another column bounds it (`bayescale.data.ORDERED`) and is given, it has the typical ratio
    to that column, so that an example with more parameters in use than in all never arises.
    """
    middle = float(np.median(table[column]))
    for pair in ORDERED:
        other = next((c for c in pair if c != column), "")
        if column in pair and other in (given or {}) and other in table:
            end = np.max if column == pair[1] else np.min
            middle = float(end(given[other]) * np.median(table[column] / table[other]))
    return format_count(middle, 1) if middle >= 1e4 else float(f"{middle:.2g}")


def complete_counts(given: Mapping[str, object], flop_factor: float) -> dict[str, np.ndarray]:
    """Broadcast columns to one length, and derive the third of N, D and C from the other two.

    Parameters
    ----------
    given : mapping from str to float, str or array_like
        Counts by column: one value, or one for each point.
    flop_factor : float
        FLOP per parameter and token, C / (N D).

    Returns
    -------
    dict from str to numpy.ndarray
        The columns, dims (point,), with the third of N, D and C if two are given.

    Raises
    ------
    LawError
        If a count cannot be read or is not positive.
    FitError
        If columns differ in length.

    Examples
    --------
    >>> complete_counts({"N": "1B", "C": [6e20, 6e21]}, 6.0)["D"].tolist()
    [100000000000.0, 1000000000000.0]
    """
    columns = {c: as_counts(v, c) for c, v in given.items()}
    sizes = {len(v) for v in columns.values() if len(v) > 1}
    if len(sizes) > 1:
        lengths = ", ".join(f"{c}: {len(v)}" for c, v in columns.items())
        raise FitError(f"the columns differ in length ({lengths}): give one value or equally many")
    size = max(sizes, default=1)
    columns = {c: np.broadcast_to(v, size).astype(float) for c, v in columns.items()}
    counts = {c for c in "NDC" if c in columns}
    if counts == {"N", "D"}:
        columns["C"] = flop_factor * columns["N"] * columns["D"]
    elif counts == {"N", "C"}:
        columns["D"] = columns["C"] / (flop_factor * columns["N"])
    elif counts == {"D", "C"}:
        columns["N"] = columns["C"] / (flop_factor * columns["D"])
    return columns


def check_flop(columns: Mapping[str, np.ndarray], flop_factor: float) -> None:
    """Raise an error if C disagrees with N and D.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray
        Contains ``N``, ``D`` and ``C``; dims (point,).
    flop_factor : float
        FLOP per parameter and token, C / (N D).

    Raises
    ------
    FitError
        If C differs from ``flop_factor * N * D`` by more than a factor of `FLOP_TOLERANCE`.
    """
    ratio = columns["C"] / (flop_factor * columns["N"] * columns["D"])
    if (np.abs(np.log(ratio)) > np.log(FLOP_TOLERANCE)).any():
        raise FitError(
            f"C differs by more than a factor of {FLOP_TOLERANCE:g} from {flop_factor:.3g} N D, by "
            "which the compute of the runs is counted: give two of N, D and C"
        )

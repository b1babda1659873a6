"""The argument `group=`: labels of groups, checked against those that were fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayescale.errors import FitError, unknown
from bayescale.keywords import option

#: The label of a group that was not fitted: its parameters are drawn from the population.
NEW = "(new)"


def reserved(labels: Mapping[str, Sequence[str]]) -> list[str]:
    """A problem for each group column in which a fitted group has the label of a new one."""
    return [
        f"group column {column!r} has the label {NEW!r}, which stands for a group without runs: "
        "rename it"
        for column, present in labels.items()
        if NEW in set(present)
    ]


def settle_labels(
    group: object,
    levels: Mapping[str, Sequence[str]],
    size: int | None = None,
    source: str = "fit",
) -> dict[str, str | list[str]]:
    """Check `group=` and return one label, or one label for each point, for every group column.

    Parameters
    ----------
    group : None, str, sequence of str, or mapping from column to any of these
        None, alone or as a label, stands for a new group. With several group columns, a mapping is
        required; a column that is not in it gets a new group.
    levels : mapping from str to sequence of str
        The fitted labels of each group column.
    size : int, optional
        Number of points: the length that a sequence of labels must have.
    source : str
        The word for the result in messages: ``"fit"`` or ``"link"``.

    Returns
    -------
    dict from str to str or list of str
        One entry for each group column.

    Raises
    ------
    FitError
        If a column or label is unknown, or a sequence has the wrong length. The message names all
        of them.

    Examples
    --------
    >>> settle_labels(["c4", None], {"corpus": ("books", "c4")})
    {'corpus': ['c4', '(new)']}
    """
    if isinstance(group, Mapping):
        by_column = dict(group)
    elif group is not None and not levels:
        raise FitError(
            f"this {source} has no groups, but {option('group', group)} was given: fit with "
            f"{option('groups', '...')}"
        )
    elif group is not None and len(levels) > 1:
        example = {column: labels[0] for column, labels in levels.items()}
        raise FitError(
            f"this {source} has the group columns {', '.join(levels)}: give group= as a "
            f"mapping, such as {example}"
        )
    else:
        by_column = dict.fromkeys(levels, group)
    problems = [unknown("group column", c, levels) for c in by_column if c not in levels]
    settled: dict[str, str | list[str]] = {}
    for column, fitted in levels.items():
        value = by_column.get(column)
        is_single = np.ndim(value) == 0
        labels = [NEW if pd.isna(x) else str(x) for x in ([value] if is_single else value)]
        valid = (*fitted, NEW)
        problems += [unknown(column, x, valid) for x in dict.fromkeys(labels) if x not in valid]
        if not is_single and size is not None and len(labels) != size:
            problems.append(
                f"{len(labels)} labels of {column} for {size} points: give one label "
                "or one for each point"
            )
        settled[column] = labels[0] if is_single else labels
    if problems:
        raise FitError(problems)
    return settled


def labels_in_points(
    points: pd.DataFrame, columns: Sequence[str], group: object, source: str = "fit"
) -> object:
    """The value of `group=`, or the labels in the table of points.

    Parameters
    ----------
    points : pandas.DataFrame
        One row for each point.
    columns : sequence of str
        The group columns that were fitted.
    group : object
        The value of the keyword.
    source : str
        The word for the result in messages.

    Returns
    -------
    object
        If the table has any of the columns, a mapping from column to labels, else `group`.

    Raises
    ------
    FitError
        If a column of the table differs from a group column only in case, or if groups are given
        both in the table and by keyword.
    """
    in_table = {c: points[c].tolist() for c in columns if c in points}
    for column in columns:
        if column in in_table:
            continue
        if near := [c for c in points if str(c).lower().strip() == column.lower()]:
            raise FitError(
                f"the points have a column {near[0]!r}, the {source} a group column {column!r}: "
                f"rename the first to {column!r}"
            )
    if in_table and group is not None:
        raise FitError(
            f"groups are given twice: in the points ({', '.join(in_table)}), and by group=: give "
            "only one of them"
        )
    return in_table or group


def number_of_points(size: int, *labels: object) -> int:
    """Number of points. One run with several labels gives one point for each label.

    Parameters
    ----------
    size : int
        Number of runs.
    *labels : object
        A label, a sequence of labels, or a mapping from column to either.

    Returns
    -------
    int
    """
    if size != 1:
        return size
    flat = [x for v in labels for x in (v.values() if isinstance(v, Mapping) else [v])]
    return max((len(x) for x in flat if np.ndim(x)), default=1)

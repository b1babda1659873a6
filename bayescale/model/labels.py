"""The `group` argument of every verb: labels of groups, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayescale.errors import FitError, unknown

#: The label of a group that was not fitted: it is drawn from the population.
NEW = "(new)"


def settle_labels(
    levels: Mapping[str, Sequence[str]], group, size: int | None = None, result: str = "fit"
) -> dict[str, str | list[str]]:
    """One label, or one list of labels, per group column.

    Parameters
    ----------
    levels : mapping of str to sequence of str
        The labels that were fitted, by group column.
    group : None, str, sequence of str, or mapping of column to those
        None is a new group. With several group columns a mapping is needed.
    size : int, optional
        Length that a list of labels must have.
    result : str
        What the labels belong to, for messages.

    Raises
    ------
    FitError
        For labels or columns that were not fitted.

    Examples
    --------
    >>> settle_labels({"dataset": ["c4", "pile"]}, "c4")
    {'dataset': 'c4'}
    """
    columns = tuple(levels)
    if isinstance(group, Mapping):
        by_column = dict(group)
    elif len(columns) > 1 and group is not None:
        example = {columns[0]: levels[columns[0]][0]}
        raise FitError(
            f"this {result} has the group columns {', '.join(columns)}: give group= as a mapping, "
            f"e.g. {example}"
        )
    elif not columns and group is not None:
        raise FitError(
            f"this {result} has no groups, but group={group!r} was asked for: fit with groups="
        )
    else:
        by_column = dict.fromkeys(columns, group)
    problems = [unknown("group column", c, columns) for c in by_column if c not in columns]
    settled: dict[str, str | list[str]] = {}
    for column in columns:
        given = by_column.get(column)
        scalar = np.ndim(given) == 0
        labels = [NEW if pd.isna(x) else str(x) for x in ([given] if scalar else given)]
        allowed = (*levels[column], NEW)
        problems += [unknown(column, x, allowed) for x in dict.fromkeys(labels) if x not in allowed]
        if not scalar and size is not None and len(labels) != size:
            problems.append(f"{len(labels)} labels of {column} for {size} points")
        settled[column] = labels[0] if scalar else labels
    if problems:
        raise FitError(problems)
    return settled

"""Notes on the rows of a table of runs. They are computed again when rows are left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bayescale.data import suspicions
from bayescale.data.extras import EXTRAS
from bayescale.data.formats import RawTable
from bayescale.data.reading import parse_expression
from bayescale.units import counted, flop

#: Columns that a table of runs may have, in this order; their names are reserved.
CANONICAL = ("N", "D", "C", "loss", "loss_sd", "series")
SHOWN = 8  # largest number of labels that a note lists
#: Ending of a column whose name in the source is reserved.
RENAMED = "_original"


def row_notes(
    table: pd.DataFrame, groups: tuple[str, ...], mapping: Mapping[str, str], noun: str, source: str
) -> tuple[str, ...]:
    """Notes on runs: crashed ones, several rows for one point, duplicates, and others.

    Parameters
    ----------
    table : pandas.DataFrame
        As in `Runs`.
    groups : tuple of str
    mapping : mapping of str to str
        From quantity to its source.
    noun : str
        The word for a row.
    source : str
        Name of the table.
    """
    if not len(table):
        return ()
    read = {*CANONICAL, *EXTRAS}
    columns = {c: table[c].to_numpy() for c in table if c in read or c in groups}
    # Notes use the names of the source.
    own = {c: c.removesuffix(RENAMED) if c.removesuffix(RENAMED) in read else c for c in table}
    cells = table[[c for c in table if c not in read]].rename(columns=own).astype(object)
    raw = RawTable(cells, noun, source)
    names = [str(c) for c in cells.columns]
    sources = [parse_expression(text, names) for text in mapping.values()]
    used = {column for s in sources if s is not None for column, _ in s.factors}
    return (
        *_disagreement(columns, mapping, raw),
        *suspicions.cautions(columns, groups, raw, used),
        *_duplicates(columns, groups, raw),
        *_single_runs(columns, groups),
    )


def _disagreement(columns, mapping, raw) -> list[str]:
    """A note if C was given and differs from 6ND."""
    if not {"N", "D", "C"} <= set(mapping):
        return []
    far = np.abs(np.log(columns["C"]) - np.log(flop(columns["N"], columns["D"]))) > np.log(2)
    if not far.any():
        return []
    return [
        f"C differs from 6ND by more than a factor of 2 in {int(far.sum())} rows {raw.rows(far)}: "
        "check whether N excludes embeddings, whether D counts all epochs, and whether C also "
        "counts attention and the output head"
    ]


def _duplicates(columns, groups, raw) -> list[str]:
    """A note on rows that repeat an earlier row."""
    keys = pd.DataFrame(
        {k: np.asarray(v) for k, v in columns.items() if k in (*CANONICAL, *EXTRAS, *groups)}
    )
    again = keys.duplicated().to_numpy()
    if not again.any():
        return []
    return [
        f"{counted(int(again.sum()), 'row repeats', 'rows repeat')} an earlier one "
        f"{raw.rows(again)}: each counts as a "
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

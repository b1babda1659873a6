"""Tables of another arrangement: transposed, one row per number, losses by N and D."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from bayescale.data import names, numerals
from bayescale.data.formats import RawTable, is_missing
from bayescale.data.names import compact

#: A smaller number in a header is no budget of compute.
SMALLEST_COMPUTE = 1e15
#: A smaller number in a header is no count.
SMALLEST_COUNT = 1e5
#: Larger values in a header-less table are no losses per token.
LARGEST_LOSS = 12
LOSS = re.compile(
    r"(?:\b|(?<=_))(?:\w+[_ ])?loss(?:es)?\b(?:[_ ]*(?:at|after)\b|@)?", re.IGNORECASE
)
VALUE = ("value", "values", "metricvalue")


def as_rows(raw: RawTable) -> RawTable:
    """A table with one row per run and one column per quantity, if it was arranged otherwise."""
    return _matrix(_long(_transposed(raw)))


def _quantities(cells) -> set[str | None]:
    return {names.recognise(str(cell)).quantity for cell in cells}


def _transposed(raw: RawTable) -> RawTable:
    """One row per quantity, whose name is in the first column, and one column per run."""
    first, *runs = raw.cells.columns
    inside = _quantities(raw.cells[first])
    if len(runs) < 2 or "loss" not in inside or not inside & set("NDC"):
        return raw
    labels = [str(cell).strip() for cell in raw.cells[first]]
    if "loss" in _quantities(runs) or len(set(labels)) < len(labels):
        return raw
    turned = raw.cells[runs].T
    turned.columns = labels
    name = str(first) if str(first) not in labels else "run"
    turned = turned.reset_index(drop=True).assign(**{name: [str(r) for r in runs]})
    note = "the table was turned: each of its columns is a run"
    return RawTable(turned.astype(object), "row", raw.source, (*raw.notes, note))


def _long(raw: RawTable) -> RawTable:
    """One row per number, with the name of its quantity in a column."""
    columns = list(raw.cells.columns)
    value = [c for c in columns if compact(str(c)) in VALUE]
    named = [c for c in columns if "loss" in _quantities(raw.cells[c].astype(str).unique()[:50])]
    if len(value) != 1 or len(named) != 1 or raw.cells[named[0]].nunique() < 2:
        return raw
    keys = [c for c in columns if c not in (*value, *named)]
    if not keys or raw.cells.duplicated([*keys, *named]).any():
        return raw
    wide = raw.cells.pivot(index=keys, columns=named[0], values=value[0])
    wide = wide.reset_index().rename_axis(columns=None).astype(object)
    note = f"the numbers in {value[0]!r} are read as columns, named by {named[0]!r}"
    return RawTable(wide, "row", raw.source, (*raw.notes, note))


def _count(name: str) -> tuple[float, str]:
    """The count that a header is, and its quantity if it is named: ``2B tokens``, ``C = 1e19``."""
    name = re.sub(r"[()\[\]]", " ", LOSS.sub("", name)).strip()
    before, _, number = re.sub(r"[=:@]", "=", name).rpartition("=")
    try:
        value, unit = numerals.parse(number.strip() or name)
    except (ValueError, TypeError, OverflowError):
        return np.nan, ""
    words = {"tok": "D", "flop": "C", "day": "C", "param": "N"}
    named = [q for word, q in words.items() if word in unit.lower()]
    return value, (named or [names.recognise(before).quantity or ""])[0]


def _matrix(raw: RawTable) -> RawTable:
    """Losses by N in rows and by D or C in columns, whose names are counts."""
    counts = {str(c): _count(str(c)) for c in raw.cells.columns}
    wide = [c for c, (value, _) in counts.items() if value >= SMALLEST_COUNT]
    others = [str(c) for c in raw.cells.columns if str(c) not in wide]
    if len(wide) < 2 or not others:
        return raw
    # A corner such as N \ D has both names.
    corner = re.split(r"\s*[\\/]\s*", others[0])
    pair = [names.recognise(part).quantity for part in corner] if len(corner) == 2 else []
    sizes = [c for c in others if names.recognise(c).quantity in set("NC")]
    pair = pair if set(pair) <= set("NDC") else []
    if "loss" in _quantities(others) or not (pair or len(sizes) == 1):
        return raw
    size = others[0] if pair else sizes[0]
    of_rows = pair[0] if pair else names.recognise(size).quantity
    stated = {quantity for c in wide if (quantity := counts[c][1])} | set(pair[1:])
    large = all(counts[c][0] >= SMALLEST_COMPUTE for c in wide)
    of_columns = stated.pop() if len(stated) == 1 else "C" if large else "D"
    losses = raw.cells[wide].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    blank = raw.cells[wide].map(is_missing).to_numpy(bool)
    if (
        of_rows == of_columns
        or stated
        or not ((losses > 0) & (losses < LARGEST_LOSS) | blank).all()
    ):
        return raw
    by_count = np.argsort([counts[c][0] for c in wide])
    steps = np.diff(losses[:, by_count], axis=1)
    if not np.nanmean(steps) < 0:  # losses fall, accuracies rise
        return raw
    long = raw.cells.melt(id_vars=others, value_vars=wide, var_name=of_columns, value_name="loss")
    long = long[~long["loss"].map(is_missing)].rename(columns={size: of_rows} if pair else {})
    long[of_columns] = [counts[str(c)][0] for c in long[of_columns]]
    note = (
        f"the cells of columns {wide[0]!r} to {wide[-1]!r} are read as losses, and their names as "
        f"{names.MEANING[of_columns]}"
    )
    return replace(
        raw,
        cells=long.reset_index(drop=True).astype(object),
        noun="row",
        notes=(*raw.notes, note),
    )

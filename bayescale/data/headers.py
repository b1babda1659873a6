"""Rows of cells as a table: comments, titles, names above and units below the header, footnotes."""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd

from bayescale.data import names as spelling
from bayescale.data.numerals import unit_factor
from bayescale.errors import RunsError


def uncommented(rows: list[tuple[int, list]]) -> list[tuple[int, list]]:
    """Rows without comments; a first comment above a row of numbers is the header."""
    plain = [(i, row) for i, row in rows if not str(row[0]).startswith("#")]
    leading = [(i, row) for i, row in rows if not plain or i < plain[0][0]]
    if leading and plain and _is_numeric(plain[0][1]) and len(leading[-1][1]) == len(plain[0][1]):
        i, row = leading[-1]
        return [(i, [str(row[0]).lstrip("# "), *row[1:]]), *plain]
    if not plain or (rows and not leading and plain[0][0] != rows[0][0]):
        return rows
    if plain and _is_numeric(plain[0][1]):
        return rows
    header = [row for _, row in rows[:1] if len(row) == len(plain[0][1]) > 1]
    if header and rows[0] not in plain and not _is_name_row(plain[0][1]):
        i, row = rows[0]
        return [(i, [str(row[0]).lstrip("# "), *row[1:]]), *plain]
    return plain


def _is_numeric(row: list) -> bool:
    return any(re.fullmatch(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?\s*[kmbgtKMBGT]?", str(v)) for v in row)


def _is_name_row(row: list) -> bool:
    return not _is_numeric(row)


def without_title(rows: list[tuple[int, list]]) -> list[tuple[int, list]]:
    """Rows without lines above the header that hold a single cell."""
    widths = Counter(sum(str(v).strip() != "" for v in row) for _, row in rows[1:20])
    if not widths or widths.most_common(1)[0][0] < 2:
        return rows
    first = 0
    while first < len(rows) - 2 and sum(str(v).strip() != "" for v in rows[first][1]) == 1:
        first += 1
    return _without_upper_header(rows[first:])


def _without_upper_header(rows: list[tuple[int, list]]) -> list[tuple[int, list]]:
    """Rows with one header, where a row of names for several columns stands above it.

    The name above is put before names that several columns share, and before ``val`` below a loss.
    """
    if len(rows) < 3 or any(len(row) != len(rows[0][1]) for _, row in rows[:3]):
        return rows
    upper, (i, names), (_, first) = rows[0][1], rows[1], rows[2]
    whole = all(str(v).strip() for v in names) and _is_name_row(names) and _is_name_row(upper)
    if all(str(v).strip() for v in upper[1:]) or not whole or not _is_numeric(first):
        return rows
    above = ""
    full = []
    for name, more in zip(names, upper, strict=True):
        above = str(more).strip() or above
        joined = above and (names.count(name) > 1 or _is_loss(above, str(name)))
        full.append(f"{above} {name}" if joined else name)
    return [(i, full), *rows[2:]]


def _is_loss(above: str, name: str) -> bool:
    """Whether a name such as ``train`` or ``val`` is that of a loss with the name above it."""
    alone, both = spelling.recognise(name), spelling.recognise(f"{above} {name}")
    return alone.quantity is None and both.quantity == "loss" and both.rank in (0, 3)


def as_table(
    rows: list[tuple[int, list]], where: str, noun: str = "line"
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Cells below a header, with notes; or an error that lists what is wrong with the shape."""
    if not rows:
        raise RunsError("the file holds no column names", where=where)
    rows, notes = _without_footnotes(rows, noun)
    (_, header), *body = rows
    if len(header) == 1 and body and not any(_is_numeric(row) for _, row in body):
        raise RunsError(
            f"only one column was found, {str(header[0])[:60]!r}: separate the columns by commas, "
            "tabs, semicolons or |",
            where=where,
        )
    if len(header) > 1 and all(_is_numeric([cell]) for cell in header):
        raise RunsError("there is no line of names: add one, such as N,D,loss", where=where)
    if all(len(row) > len(header) and not str(row[-1]).strip() for _, row in body):
        body = [(i, row[:-1]) for i, row in body]  # a delimiter at the end of each line
    names = [str(name).strip() or f"unnamed_{i + 1}" for i, name in enumerate(header)]
    if len(body) > 1 and (units := _units(names, body[0][1], body[1][1])):
        names, body = units, body[1:]
    problems = [
        f"column {name!r} appears {n} times: give each column its own name"
        for name, n in Counter(names).items()
        if n > 1
    ]
    ragged = [(n, len(row)) for n, row in body if len(row) != len(header)]
    for number, width in ragged[:8]:
        problems.append(f"line {number} has {width} cells, the header has {len(header)}")
    if len(ragged) > 8:
        problems.append(f"{len(ragged) - 8} more lines have a wrong number of cells")
    if problems:
        raise RunsError(problems, where=where)
    cells = [row for _, row in body]
    return pd.DataFrame(cells, columns=names, index=[n for n, _ in body], dtype=object), notes


def _without_footnotes(rows: list[tuple[int, list]], noun: str):
    """Rows without lines of text that hold a single cell below the table, and a note on them."""
    last = len(rows)
    while last > 4 and len(rows[0][1]) > 1 and _is_footnote(rows[last - 1][1]):
        last -= 1
    left = ", ".join(str(i) for i, _ in rows[last:])
    notes = (f"text below the table is not read ({noun} {left})",) if left else ()
    return rows[:last], notes


def _is_footnote(row: list) -> bool:
    filled = [str(v).strip() for v in row if str(v).strip()]
    return len(filled) == 1 and bool(str(row[0]).strip()) and len(filled[0].split()) > 1


def _units(names: list[str], row: list, first: list) -> list[str]:
    """Names with the units of the row below them; empty if that row does not hold units."""
    if len(row) != len(names) or _is_numeric(row) or not _is_numeric(first):
        return []
    units = [str(v).strip().strip("()[]-").strip() for v in row]
    known = [
        bool(unit)
        and (unit_factor(unit) is not None or spelling.recognise(f"loss ({unit})").unit != "")
        for unit in units
    ]
    # The label of a size, such as M, is no unit.
    if not any(known) or not all(_is_numeric([v]) for v, k in zip(first, known, strict=True) if k):
        return []
    return [f"{name} ({unit})" if unit else name for name, unit in zip(names, units, strict=True)]

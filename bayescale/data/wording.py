"""The text that describes runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bayescale.data import remedies
from bayescale.data.names import compact
from bayescale.data.proposals import EPOCHS
from bayescale.units import format_count, format_flop


def described(runs) -> str:
    """The text of `repr(runs)`: size, ranges, groups, the source of each quantity, and notes."""

    def span(column, write):
        values = runs.table[column]
        return f"{column} {write(values.min())} to {write(values.max())}"

    spans = [
        span(c, w)
        for c, w in (("N", format_count), ("D", format_count), ("C", format_flop))
        if c in runs
    ]
    spans.append(span("loss", "{:.3g}".format))
    lines = [f"<{len(runs)} runs from {runs.source}>", "  " + ", ".join(spans)]
    for g in runs.groups:
        counts = runs.table[g].value_counts(sort=False)
        lines.append(f"  {g}: " + ", ".join(f"{k} ({n})" for k, n in counts.items()))
    read = ", ".join(f"{q} = {c!r}" for q, c in runs.mapping.items())
    lines.append(f"  read {read}; {runs.convention}" if read else f"  {runs.convention}")
    notes = [*([runs.lacking] if runs.lacking else []), *runs.notes]
    return "\n".join([*lines, *(f"  note: {n}" for n in notes)])


def what_rows_are(runs) -> str:
    """What the index of runs counts: ``lines of runs.csv, whose heading is line 1``, or rows."""
    if runs.noun != "line":
        return "rows of the table"
    is_example = runs.source.startswith("example ")
    name = "its file" if is_example else Path(runs.source).name
    has_heading = not name.lower().removesuffix(".gz").endswith(("jsonl", "ndjson", "json"))
    return f"lines of {name}{', whose heading is line 1' if has_heading else ''}"


def what_is_lacking(runs) -> str:
    """What a table without tokens costs, and how to name them; empty if there are tokens."""
    if "D" in runs:
        return ""
    if product := _unique_times_epochs(runs):
        named = f"if D is unique tokens x epochs, pass {remedies.column('D', product)}"
    elif large := _large_counts(runs):
        named = f"is {large!r} the column of tokens? Then pass {remedies.column('D', large)}"
    else:
        named = f"{remedies.column('D', 'COLUMN')} names a column of tokens"
    if "N" in runs:
        return (
            "there is no column of tokens (D), so laws are of N alone: forecasts are for runs "
            "trained on as many tokens as these, and budgets cannot be split between N and D; "
            f"{named}"
        )
    return (
        "there are no columns of parameters (N) and tokens (D), so laws are of C alone: forecasts "
        "are for runs that split their compute as these do, and budgets cannot be split between N "
        f"and D; {named}"
    )


def how_read(mapping: Mapping[str, str], loss_unit: str) -> str:
    """The column and the unit that each quantity was read from."""
    parts = [f"{quantity} from {column}" for quantity, column in mapping.items()]
    unit = f"; the unit of the loss is {loss_unit}" if loss_unit else ""
    return f"{', '.join(parts)}{unit}"


def _unique_times_epochs(runs) -> str:
    """The product of unique tokens and epochs, if the table has columns of both."""
    unique = runs.mapping.get("U")
    epochs = next((c for c in runs.table if compact(str(c)) in EPOCHS), None)
    if epochs is None or unique not in runs.table:
        return ""
    factor = float((runs.table["U"] / pd.to_numeric(runs.table[unique])).median())
    by = "" if factor == 1 else f"*{factor:.0e}".replace("e+0", "e").replace("e+", "e")
    return f"{unique}*{epochs}{by}"


def _large_counts(runs) -> str:
    """The column that was not read and whose values are as large as counts of tokens, if one is."""
    read = {*runs.mapping, *runs.mapping.values(), *runs.groups, "N", "D", "C", "loss"}
    found = []
    for column in (c for c in runs.table if c not in read):
        values = pd.to_numeric(runs.table[column], errors="coerce")
        whole = bool(values.notna().all() and (values % 1 == 0).all())
        if whole and values.nunique() > 2 and 1e6 < values.median() < 1e15:
            found.append(str(column))
    return found[0] if len(found) == 1 else ""

"""The text that describes runs."""

from __future__ import annotations

from collections.abc import Mapping

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
    return "\n".join([*lines, *(f"  note: {n}" for n in runs.notes)])


def how_read(mapping: Mapping[str, str], loss_unit: str) -> str:
    """The column and the unit that each quantity was read from."""
    parts = [f"{quantity} from {column}" for quantity, column in mapping.items()]
    unit = f"; the unit of the loss is {loss_unit}" if loss_unit else ""
    return f"{', '.join(parts)}{unit}"

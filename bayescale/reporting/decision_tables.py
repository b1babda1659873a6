"""Tables of runs to train next, and of scores of plans."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayescale.decisions import DesignScore, Suggestion
from bayescale.intervals import defaults
from bayescale.reporting.tables import Table
from bayescale.units import format_count, format_flop


def suggestions(suggestion: Suggestion, ci_prob: float | None = None) -> Table:
    """A row for each run to train next, with the width of the interval after it."""
    prob, _ = defaults(ci_prob)
    frame = pd.DataFrame(suggestion.summary(prob))
    places = list(frame.columns[: list(frame.columns).index("candidate")])
    rows = tuple(
        (
            *(_place(c, row[c]) for c in places),
            format_flop(row["cost"]),
            format_flop(row["total_cost"]),
            f"{row['width']:.3g}",
            f"{100 * row['share']:.0f} %",
        )
        for _, row in frame.iterrows()
    )
    header = (*places, "cost", "in all", "width after it", "variance left")
    of = "log loss" if suggestion.is_loss else "the target"
    return Table(f"Runs to train next: expected {100 * prob:g} % width of {of}", header, rows)


def design_scores(score: DesignScore) -> Table:
    """A row for each target of a plan: bias, coverage and width of the interval of log loss."""
    frame = pd.DataFrame(score.summary())
    places = list(score.target.columns)
    rows = tuple(
        (
            *(_place(c, row[c]) for c in places),
            f"{row['bias']:+.4f}",
            f"{row['rmse']:.4f}",
            f"{100 * row['coverage']:.0f} %",
            f"{row['width']:.4f}",
            f"{row['width_before']:.4f}",
        )
        for _, row in frame.iterrows()
    )
    header = (
        *places,
        "bias",
        "rmse",
        f"coverage of {100 * score.ci_prob:g} %",
        "width",
        "width now",
    )
    return Table("The plan, by simulation: log loss at the target", header, rows)


def _place(column: str, value) -> str:
    """The position of a run as text."""
    if column == "C":
        return format_flop(value)
    return format_count(value) if isinstance(value, (float, np.floating)) else str(value)

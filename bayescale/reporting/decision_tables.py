"""Tables of costs, compute multipliers, runs to train next, and scores of plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bayescale.costs import Bill
from bayescale.decisions import MOST_TIMES, DesignScore, Speedup, Suggestion
from bayescale.intervals import Summary, defaults
from bayescale.keywords import option
from bayescale.reporting.tables import Table
from bayescale.units import format_count, format_flop, times_in_words

#: Heads of the table of costs.
UNITS = {"hours": "{} hours", "dollars": "USD", "kwh": "kWh"}


#: Explanations of columns, which are printed below a table that has them.
EXPLAINED = {
    "multiplier": "the compute of the other recipe over that of the recipe for the same loss; "
    "above 1, the recipe is better",
    "difference": "the expected loss of the other recipe minus that of the recipe at equal "
    "compute; above 0, the recipe is better",
    "loss_to_reach": "the expected loss of the recipe, which the other has to reach",
    "p_better": "the probability that the recipe has the lower expected loss at equal compute",
    "never_reached": "the probability that the other recipe does not reach this loss with "
    f"{MOST_TIMES:,.0f} times the compute",
    "due_to_E": "the share of the uncertainty of the multiplier that is due to the irreducible "
    "losses E, to which the curves fall with unlimited compute",
    "inside": "the smallest interval of 50, 80, 90, 95 and 99 % that holds the measured loss",
    "below": "the probability that the forecast gave to a loss as low or lower",
    "tail_probability": "that of a loss as far from the median or farther, on either side",
    "widths_outside": "the distance outside the 90 % interval, in widths of the interval",
    "crps": "how far the forecast lies from the measured loss; lower is better",
    "effective": "the FLOP that would give the same loss with the algorithms of the runs",
    "p_exhausted": "the probability that the stock of data limits the run",
    "p_limited": "the probability that the ceiling limits the compute",
}


def of_frame(title: str, frame: pd.DataFrame) -> Table:
    """A table of results with an interval in one cell."""
    heads, rows = Summary(frame).cells()
    notes = (f"{c.replace('_', ' ')}: {EXPLAINED[c]}." for c in frame if c in EXPLAINED)
    heads = tuple(head.replace("_", " ") for head in heads)
    return Table(title, heads, tuple(map(tuple, rows)), tuple(notes))


def speedup(result: Speedup, ci_prob: float | None = None, asked: bool = True) -> Table:
    """A row for each compute or target loss at which two recipes are compared.

    Parameters
    ----------
    result : Speedup
    ci_prob : float, optional
    asked : bool
        Whether the user said where to compare; otherwise a note says how to.
    """
    plain = {"loss": "loss_to_reach", "p_unlimited": "never_reached", "floor_share": "due_to_E"}
    frame = result.summary(ci_prob).rename(
        columns=lambda c: c.replace("loss", plain["loss"], 1) if c not in plain else plain[c]
    )
    out = of_frame("Compute multiplier", frame)
    if asked:
        return out
    write = format_flop if result.scale == "C" else format_count
    beyond = write(10 * float(result.fit.runs.table[result.scale].max()), 1)
    note = f"The recipes are compared inside the runs; to ask beyond them: {option('at', beyond)}."
    return replace(out, notes=(*out.notes, note))


def costs(bill: Bill, ci_prob: float | None = None) -> Table:
    """A row for each budget: accelerator hours, dollars and energy, with intervals."""
    prob, _ = defaults(ci_prob)
    frame = bill.to_dataframe("summary", prob)
    cells: dict[float, dict[str, str]] = {}
    for row in frame.itertuples():
        middle, low, high = (
            format_count(float(f"{v:.3g}")) for v in (row.median, row.lower, row.upper)
        )
        cells.setdefault(row.C, {})[row.variable] = f"{middle} ({low} to {high})"
    names = [n for n in UNITS if n in set(frame["variable"])]
    header = ("FLOP", *(UNITS[n].format(bill.cost.hardware) for n in names))
    rows = tuple((format_flop(C), *(row[n] for n in names)) for C, row in cells.items())
    return Table(f"Cost of the budgets, with {100 * prob:g} % intervals", header, rows)


def multipliers(speedups: Sequence[Speedup], ci_prob: float | None = None) -> Table:
    """A row for each recipe and scale: the compute that it needs for the loss of the first."""
    prob, _ = defaults(ci_prob)
    scale, rows = speedups[0].scale, []
    write = format_flop if scale == "C" else format_count
    for result in speedups:
        for _, row in pd.DataFrame(result.summary(prob)).iterrows():
            column = list(row.index).index("multiplier")
            middle, low, high = (
                times_in_words(v) if v < MOST_TIMES else f"over {times_in_words(MOST_TIMES)}"
                for v in row.iloc[column : column + 3]
            )
            interval = f"{middle} ({low} to {high})"
            rows.append(
                (result.over, write(row[scale]), interval, f"{100 * row['p_better']:.0f} %")
            )
    first = speedups[0].name
    header = ("recipe", f"at {scale}", f"compute for the loss of {first}", f"P({first} is better)")
    note = f"A multiplier above 1: the recipe needs more compute than {first}, which is better."
    title = f"Compute multipliers, with {100 * prob:g} % intervals"
    return Table(title, header, tuple(rows), (note,))


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
            f"{100 * row['width']:.3g} %" if suggestion.is_loss else f"{row['width']:.3g}",
            f"{100 * row['share']:.0f} %",
        )
        for _, row in frame.iterrows()
    )
    header = (*places, "cost", "in all", "width after it", "variance left")
    of = "the loss of a new run" if suggestion.is_loss else "the target"
    title = f"Runs to train next: expected width of the {100 * prob:g} % interval of {of}"
    now = float(suggestion.widths(prob)[0])
    before = f"{100 * now:.3g} % of the loss" if suggestion.is_loss else f"{now:.3g}"
    unit = suggestion.limits.unit if suggestion.limits else " FLOP"
    notes = (
        f"width after it: of the interval, from its lower to its upper bound; now it is {before}.",
        "variance left: the share of the present variance that the runs up to this one do not "
        f"remove.{f' Costs are in{unit}.' if unit else ''}",
    )
    return Table(title, header, rows, notes)


def design_scores(score: DesignScore) -> Table:
    """A row for each target of a plan: bias, and the interval of the log loss of a new run."""
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
    note = "All but the coverage are in log loss: 0.01 is 1 % of the loss."
    title = "The plan, by simulation: log loss of a new run at the target"
    return Table(title, header, rows, (note,))


def _place(column: str, value) -> str:
    """The position of a run as text."""
    if column == "C":
        return format_flop(value)
    return format_count(value) if isinstance(value, (float, np.floating)) else str(value)

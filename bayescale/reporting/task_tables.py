"""Tables of results on tasks: breaks, verdicts on emergence, links and their forecasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bayescale.capabilities import Breaks, Emergence, Link, TaskForecast
from bayescale.intervals import defaults, in_words
from bayescale.reporting.decision_tables import of_frame
from bayescale.reporting.tables import Table, with_interval

BAYES_FACTOR = (
    "A log Bayes factor of 3 means that the data are 20 times more probable under the first."
)

VERDICTS = (
    "P(emergent): the score is emergent as measured. P(departure): no single smooth law fits all "
    "models, in one of the ways whose probabilities follow. A verdict has a probability of at "
    "least 0.8. Where none has, it cannot be told whether a smooth law fits; P(emergent) holds all "
    "the same."
)
ONSET = (
    "Onset: the scale from which on nearly all models are above chance; <= the scale of the "
    "smallest model if all are."
)


def breaks(result: Breaks, ci_prob: float | None = None) -> Table:
    """A row for each curve: the probability of a break, its place and slopes, and evidence."""
    prob, kind = defaults(ci_prob)
    frame = result.summary(prob, kind)
    rows = tuple(
        (
            label,
            str(row["n"]),
            "-" if np.isnan(row["P(break)"]) else f"{row['P(break)']:.2f}",
            *(
                "" if np.isnan(row["x"]) else cell
                for cell in (
                    with_interval(row, "x", "{:.3g}".format),
                    with_interval(row, "before", "{:.2f}".format),
                    with_interval(row, "after", "{:.2f}".format),
                    f"{row['kind']} ({row['P(kind)']:.2f})",
                )
            ),
            *(
                "" if np.isnan(row[name]) else f"{row[name]:.1f}"
                for name in ("drift_over_law", "break_over_law", "break_over_drift")
            ),
            "-" if np.isnan(row["false_alarms"]) else f"{100 * row['false_alarms']:.0f} %",
        )
        for label, row in frame.iterrows()
    )
    header = (
        "curve",
        "points",
        "P(break)",
        f"{result.x} of the break",
        "slope before",
        "slope after",
        "kind",
        "drift over law",
        "break over law",
        "break over drift",
        "false alarms",
    )
    return Table(
        f"Breaks of {result.y}: medians ({in_words(prob, kind)}); log Bayes factors",
        header,
        rows,
        (BAYES_FACTOR,),
    )


def emergence(result: Emergence, ci_prob: float | None = None) -> Table:
    """A row for each task: verdict, probabilities of emergence and departures, and the onset."""
    frame = result.summary(ci_prob)
    of_losses = not next(iter(result.curves.values())).is_accuracy
    shown = {
        "P(verdict)": "P(verdict)",
        "P(emergent)": "P(emergent as measured)",
        "P(departure)": "P(departure)",
        "P(abrupt)": "P(abrupt)",
        "P(gradual)": "P(gradual)",
    }
    # Losses have no chance level, above which they could start.
    shown |= {} if of_losses else {"P(late)": "P(late start)"}
    rows = tuple(
        (
            str(task),
            row["verdict"],
            *("-" if np.isnan(row[name]) else f"{row[name]:.2f}" for name in shown.values()),
            *(() if of_losses else (_onset(result, task, row["onset"]),)),
        )
        for task, row in frame.iterrows()
    )
    header = ("task", "verdict", *shown, *(() if of_losses else ("onset",)))
    title = f"Emergence of {result.y}: verdicts and probabilities"
    notes = (result.definitions, VERDICTS, *(() if of_losses else (ONSET,)))
    return Table(title, header, rows, notes if result.posteriors else ())


def _onset(result: Emergence, task: str, onset: float) -> str:
    if np.isnan(onset):
        return "-"
    if onset <= (smallest := result.smallest(task)):
        return f"<= {smallest:.1e}"
    return f"{onset:.1e}"


def links(link: Link, ci_prob: float | None = None) -> Table:
    """A row for each task: floor, threshold, slope and scatter of the link."""
    prob, kind = defaults(ci_prob)
    frame = link.summary(prob, kind)
    names = ("floor", "threshold", "slope", "scatter")
    untold = link.untold
    rows = tuple(
        (task, untold[task].replace(" in all rows", ""), "", "", "")
        if task in untold
        else (task, *(with_interval(row, n, "{:.3g}".format) for n in names))
        for task, row in frame.iterrows()
    )
    why = (
        "At chance: no score exceeds chance by more than the noise of the questions. Solved: all "
        "scores are 1, but for a few questions. Values would be those of the other tasks and of "
        "the priors.",
    )
    title = f"Link ({link.kind}): medians ({in_words(prob, kind)})"
    at = "loss" if link.plan.form.along == "loss" else "training FLOP"
    begins = "at which the rise begins" if link.kind == "hinge" else "midway from floor to top"
    terms = f"Threshold: the {at} {begins}. Slope: how steep the rise is there."
    return Table(title, ("task", *names), rows, (*(why if untold else ()), terms))


def task_forecasts(result: TaskForecast, ci_prob: float | None = None) -> Table:
    """A row for each run and task: the accuracy of a new run, and its expected value."""
    prob, kind = defaults(ci_prob)
    frame, untold = result.summary(prob, kind), result.link.untold
    again = ["extrapolation", *(["C"] if {"N", "D"} <= set(frame) else [])]
    again += ["group"] if set(result.link.groups) & set(frame) else []
    frame = frame.drop(columns=again, errors="ignore")
    for old, new in (("known_loss", "loss"), ("accuracy", "new run"), ("mean", "expected")):
        frame = frame.rename(columns=lambda c, old=old, new=new: c.replace(old, new, 1))
    table = of_frame(
        f"Accuracies: medians ({in_words(prob, kind)})", frame[~frame["task"].isin(untold)]
    )
    notes = ["Expected: without the scatter between runs and the noise of the questions."]
    notes += [f"{task}: {why}." for task, why in untold.items() if task in set(frame["task"])]
    return replace(table, notes=tuple(notes))

"""Parts of the report page: figures, and sections on results other than the fit."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.capabilities import Breaks, Emergence, Link
from bayescale.errors import BayescaleError
from bayescale.evaluation import Hypotheses, Rollout
from bayescale.model import atomically
from bayescale.plots import (
    plot_breaks,
    plot_emergence,
    plot_exponents,
    plot_link,
    plot_rollout,
    png,
)
from bayescale.reporting import tables, task_tables
from bayescale.units import counted

#: Characters of a table, and inches of a figure, that fill the width of the page. All figures have
#: the same width, so that their text has the same size.
TABLE_WIDTH, FIGURE_WIDTH = 96, 10.0
HIGHEST = 7.5  # inches


#: With fewer held-out runs, a share of them is rough; scores within this factor are about equal.
FEW_HELD_OUT, SIMILAR = 20, 1.1


@dataclass(frozen=True)
class Picture:
    """A caption, and a png in base64."""

    caption: str
    png: str


@dataclass(frozen=True)
class Section:
    """A part of the page; `how` explains its tables."""

    title: str
    how: str
    tables: Sequence[tables.Table] = ()
    pictures: Sequence[Picture] = ()


def held_out(held: Rollout | str, ci_prob: float | None = None) -> Section:
    """Forecasts of the larger half of the runs from the smaller half, or why there are none."""
    title = "Had we fitted the smaller half of these runs"
    if isinstance(held, str):
        return Section(title, held)
    words = tables.coverage_in_words(held)
    each = " Each group was fitted by itself." if held.each else ""
    return Section(
        title,
        f"The runs below the median size were fitted, and the others forecast.{each} {words} "
        "Neighbouring runs share deviations from the law, so that this is one test rather than "
        f"many.{_scores_in_words(held)}",
        [tables.coverage(held)],
        [
            picture(
                plot_rollout(held),
                f"{words} Bars are forecasts from the smaller half, points the measured losses.",
            )
        ],
    )


def _scores_in_words(rollout: Rollout) -> str:
    """Sentences on what coverage of few runs and the ratio of scores tell; may be empty."""
    frame = rollout.summary()
    fewest = int(frame["n"].min())
    text = ""
    if fewest < FEW_HELD_OUT:
        text = (
            f" With {counted(fewest, 'held-out run')}, one run is {100 / fewest:.0f} percentage "
            "points of a share, so the shares are rough."
        )
    ratio = frame.get("interval_score_ratio", pd.Series(np.nan, frame.index)).iloc[0]
    if np.isnan(ratio):
        return text
    law = frame["law"].iloc[0]
    if 1 / SIMILAR < ratio < SIMILAR:
        how = "about as good as"
    else:
        how = "better than" if ratio < 1 else "worse than"
    return (
        f"{text} The interval score of {law} is {ratio:.2f} times that of least squares with a "
        f"bootstrap (log-Huber); the lower the better, so its intervals were {how} these."
    )


def compared(hypotheses: Hypotheses, ci_prob: float | None = None) -> Section:
    """A comparison of laws."""
    pictures = []
    if hypotheses.exponents:
        pictures = [
            picture(
                plot_exponents(hypotheses, ci_prob=ci_prob),
                "The exponent of the optimal size under each law, their average, and published "
                "values.",
            )
        ]
    return Section(
        "Comparison of laws",
        f"{hypotheses.verdict} The weights are those of the average; they are not probabilities "
        f"that a law is true.{noted(hypotheses.notes)}",
        [tables.hypotheses(hypotheses, ci_prob), tables.claims(hypotheses, ci_prob)],
        pictures,
    )


def broken(breaks: Breaks, ci_prob: float | None = None) -> Section:
    """Breaks in curves."""
    return Section(
        "Breaks",
        "P(break) is the probability that the slope of a curve changes at a break, rather than by "
        "drift, a gradual random walk of the slope. The frequency of breaks is estimated from all "
        "curves together. The last column is the rate of false alarms: the share of simulated "
        "curves without a break, with about as many points, in which a break was found. Bayes "
        "factors are natural logarithms. 'break over law' compares a break with the law, both "
        "without drift; 'break over drift' compares a break with drift with drift alone."
        f"{noted(breaks.notes)}",
        [task_tables.breaks(breaks, ci_prob)],
        [
            picture(
                plot_breaks(breaks, ci_prob=ci_prob),
                "Curves with credible bands. Histograms are posteriors of the place of a break.",
            )
        ],
    )


def linked(link: Link, ci_prob: float | None = None) -> Section:
    """Accuracy on tasks."""
    return Section(
        "Accuracy on tasks",
        "Accuracy against loss, with partial pooling across tasks. 'threshold' is the loss (in a "
        "direct link, the compute) at which accuracy is halfway between its floor and its maximum; "
        "in a hinge link, at which it begins to rise. 'scatter' is the standard deviation between "
        f"runs of equal loss, beyond binomial noise.{noted(link.notes)}",
        [task_tables.links(link, ci_prob)],
        [picture(plot_link(link, ci_prob=ci_prob), "Accuracy of the runs, and the fitted link.")],
    )


def emergent(emergence: Emergence, ci_prob: float | None = None) -> Section:
    """Verdicts on tasks."""
    said = [f"{t}: {row}." for t, row in emergence.summary(ci_prob)["sentence"].items()]
    if len(said) > 1:
        said.insert(0, emergence.bottom_line())
    return Section(
        "Emergence",
        f"{' '.join(said)}{noted(emergence.notes)}",
        [task_tables.emergence(emergence, ci_prob)],
        [
            picture(
                plot_emergence(emergence, ci_prob=ci_prob),
                "Scores as plotted, and on the scale where smooth laws are straight or flatten. "
                "The onset is shaded.",
            )
        ],
    )


def noted(notes: Sequence[str]) -> str:
    """Notes as sentences."""
    return "".join(f" Note: {note.rstrip('.')}." for note in notes)


def picture(axes: Any, caption: str) -> Picture:
    """The figure of these axes at the width of the page."""
    return Picture(caption, base64.b64encode(png(axes, size=(FIGURE_WIDTH, HIGHEST))).decode())


def save_picture(axes: Any, path: Path) -> None:
    """Write the figure of these axes as a png, pdf or svg file, atomically; close the figure.

    Raises
    ------
    BayescaleError
        If the name of the file has another ending.
    """
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in ("png", "pdf", "svg"):
        raise BayescaleError(f"{path}: give a name that ends in .png, .pdf or .svg")
    image = png(axes, kind=kind)
    atomically(path, lambda temporary: temporary.write_bytes(image))

"""Held-out runs against their forecast intervals."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from bayescale.errors import BayescaleError, ConvergenceWarning, unknown
from bayescale.evaluation import Rollout
from bayescale.evaluation import scores as scoring
from bayescale.intervals import CI_PROB
from bayescale.plots import style
from bayescale.plots.style import label_for, log_axis, loss_axis

MOST_PANELS = 12
LONGEST_NAME = 36  # characters of the name of a problem above its panel
MANY_POINTS = 30  # curves with more points are drawn with bands
SWEEP = 3  # different N at one value of the x axis that make it a sweep
SPREAD = 0.8  # bars of one value fill at most this share of the way to the next value
WIDE_RANGE = 6.0  # ratio of losses beyond which ticks are spaced by decades
EXTRAPOLATION = "extrapolation"
COLUMNS = ("C", "D", "N", EXTRAPOLATION)
#: Colour and marker of measured losses inside and outside their interval.
INSIDE, OUTSIDE = (style.COLOURS[0], "o"), (style.COLOURS[1], "D")


def plot_rollout(
    rollout: Rollout, *, law: str | None = None, column: str | None = None, prob: float = CI_PROB
) -> np.ndarray:
    """Held-out runs and their forecast intervals, a panel for every problem.

    Parameters
    ----------
    rollout : Rollout
    law : str, optional
        A law, average or baseline. By default the average if there is one, else the law with the
        lowest interval score.
    column : {"C", "D", "N", "extrapolation"}, optional
        The x axis. By default the column of the thresholds, else the first of C, D and N that the
        runs have, else the extrapolation: the size of a run as a multiple of the largest fitted
        one. Of an isoFLOP sweep it is N.
    prob : {0.8, 0.9, 0.95}
        Probability of the thin bars. Runs outside these bars are marked as outside. Thick bars are
        50 % intervals.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        At most twelve panels; if there are more problems, the title gives their number. Runs at
        the same x are drawn side by side around it, the smallest model first. A learning curve of
        more than thirty points is drawn with bands instead of bars.

    Raises
    ------
    BayescaleError
        For a law or column that is not in the rollout, or another probability.

    Warns
    -----
    ConvergenceWarning
        If a fit did not converge.
    """
    style.require(rollout, Rollout, "plot_rollout")
    law = law_to_draw(rollout, law, "plot_rollout")
    points = rollout.points[rollout.points["law"] == law]
    available = [c for c in COLUMNS if c in points and points[c].notna().all()]
    levels = [q for q in scoring.LEVELS if q > 0.5]
    problems = []
    if column not in (None, *available):
        problems.append(unknown("column for the x axis", column, available))
    if prob not in levels:
        problems.append(f"prob is {prob!r}: give one of {', '.join(map(str, levels))}")
    if problems:
        raise BayescaleError(problems, where="plot_rollout")
    level = f"{100 * prob:.0f}"
    parts = dict(iter(points.groupby("problem", sort=False)))
    shown = dict(list(parts.items())[:MOST_PANELS])
    warn_if_not_converged(pd.concat(shown.values()))
    cut = _cut_column(next(iter(parts)))
    column = column or _natural(points, cut if cut in available else available[0], available)
    columns = _columns(len(shown))
    rows = -(-len(shown) // columns)
    size = (7.2, 5) if len(shown) == 1 else (max(4.2 * columns, 8.4), 3.3 * rows + 0.9)
    figure, grid = style.figure(rows, columns, size, squeeze=False)
    by_label = rollout.each is not None and points[rollout.each].nunique() == len(parts)
    for ax, (problem, part) in zip(grid.flat, shown.items(), strict=False):
        _panel(ax, part, column, level, banded=rollout.each is not None)
        name = part[rollout.each].iloc[0] if by_label else problem
        inside = int(part[f"inside{level}"].sum())
        name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        ax.set_title(f"{name}\n{inside} of {len(part)} inside", fontsize=11.5)
    for ax in grid.flat[len(shown) :]:
        ax.set_visible(False)
    for ax in grid[:, 0]:
        ax.set_ylabel(label_for("loss", rollout.loss_unit))
    for ax in grid.flat[max(0, len(shown) - columns) : len(shown)]:
        ax.set_xlabel(
            "multiple of the largest fitted run" if column == EXTRAPOLATION else label_for(column)
        )
    some = f" ({len(shown)} of {len(parts)} problems)" if len(parts) > len(shown) else ""
    figure.suptitle(f"{law}: held-out runs and their {level} % intervals{some}", fontsize=13)
    named = {}
    for ax in grid.flat[: len(shown)]:
        named |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(
        named.values(),
        named.keys(),
        loc="outside lower center",
        fontsize=10.5,
        ncols=len(named) if columns > 2 else 3,
        frameon=False,
    )
    return grid.ravel()[: len(shown)]


def _natural(points: pd.DataFrame, column: str, available: list[str]) -> str:
    """N in place of a column of which each value is shared by several models, as in a sweep."""
    if column == "N" or "N" not in available:
        return column
    values, sizes = (np.log(points[c].to_numpy(float)).round(2) for c in (column, "N"))
    models = pd.Series(sizes).groupby(values).nunique()
    return "N" if models.median() >= SWEEP else column


def _columns(panels: int) -> int:
    return {1: 1, 2: 2, 3: 3, 4: 2}.get(panels, 3 if panels <= 9 else 4)


def _cut_column(problem: str) -> str | None:
    """The column of the threshold in the name of a problem; None for a split."""
    name, above, _ = problem.split(", ")[-1].partition(" >= ")
    return name if above else None


def _panel(ax, part: pd.DataFrame, column: str, level: str, banded: bool) -> None:
    """Draw one problem: intervals, medians, measured losses, and the end of the fitted runs."""
    # Runs of one budget differ by rounding: they are in order of N.
    order = [np.log(part[c].to_numpy(float)).round(6) for c in ("N", column) if c in part]
    part = part.iloc[np.lexsort(order)]
    at = part[column].to_numpy()
    edge, edge_label = _edge(part, column)
    varied = [c for c in "ND" if c in part and part[c].nunique() > 1]
    if banded and len(part) > MANY_POINTS and len(varied) < 2:
        size = 14
        for k, shade in ((level, "#d8d8d8"), ("50", "#b0b0b0")):
            ax.fill_between(
                at,
                part[f"low{k}"],
                part[f"high{k}"],
                color=shade,
                linewidth=0,
                label=f"{k} % interval",
            )
        ax.plot(at, part["median"], color="black", linewidth=1.3, label="median")
    else:
        at, room = _side_by_side(ax, at, edge)
        size, thick = float(np.clip(room**2 * 2, 14, 46)), float(np.clip(0.6 * room, 1.8, 7))
        for k, width, ink in ((level, max(0.7, thick / 4), "#b0b0b0"), ("50", thick, "#8f8f8f")):
            ax.vlines(
                at,
                part[f"low{k}"],
                part[f"high{k}"],
                color=ink,
                linewidth=width,
                label=f"{k} % interval",
            )
        ax.plot(at, part["median"], "_", color="black", markersize=1.4 * thick, label="median")
    inside = part[f"inside{level}"].to_numpy(bool)
    for chosen, (ink, shape), text in (
        (inside, INSIDE, "measured, inside"),
        (~inside, OUTSIDE, "measured, outside"),
    ):
        ax.scatter(
            at[chosen],
            part["loss"][chosen],
            color=ink,
            marker=shape,
            s=size,
            edgecolor="white",
            linewidth=0.5,
            zorder=4,
            label=text,
        )
    if np.isfinite(edge):
        ax.axvline(
            edge,
            color=style.GREY,
            linewidth=1.2,
            linestyle=style.DASHES[0],
            label=edge_label,
            zorder=1.5,
        )
    log_axis(ax.xaxis, column)
    low, high = ax.get_ylim()
    if high < WIDE_RANGE * low:
        loss_axis(ax.yaxis)
    else:
        log_axis(ax.yaxis, "loss")


def _edge(part: pd.DataFrame, column: str) -> tuple[float, str]:
    """The end of the fitted runs on the x axis, or nan if it is unknown; and its label."""
    threshold, label = float(part["threshold"].iloc[0]), "largest fitted run"
    if column == EXTRAPOLATION:
        return 1.0, label
    if np.isfinite(threshold):
        return threshold if _cut_column(part["problem"].iloc[0]) == column else np.nan, "threshold"
    largest = (part[column] / part[EXTRAPOLATION]).to_numpy()
    agree = len(largest) > 1 and np.allclose(largest, largest[0], rtol=1e-6)
    return (largest[0] if agree else np.nan), label


def _side_by_side(ax, at: np.ndarray, edge: float) -> tuple[np.ndarray, float]:
    """Spread bars at one value of a log axis around it, never beyond the middle to the next value.

    Returns the places of the bars and a typical distance between two, in points (1/72 inch).
    """
    place = np.log(at)
    width = max(place[-1] - np.nanmin([place[0], np.log(edge)]), 1.0)
    values, which, counts = np.unique(place.round(6), return_inverse=True, return_counts=True)
    apart = np.diff(values)
    nearest = np.minimum(np.append(apart, np.inf), np.insert(apart, 0, np.inf))
    gap = np.minimum(width * min(0.03, 0.6 / len(at)), SPREAD * nearest / counts)
    rank = np.arange(len(place)) - np.searchsorted(which, which)
    place = place + (rank - (counts[which] - 1) / 2) * gap[which]
    page = 72 * ax.figure.get_figwidth() * ax.get_position().width
    closest = np.diff(place).min() if len(place) > 1 else width
    closest = max(closest, 0.3 * width / len(place))  # bars of nearly equal values overlap
    return np.exp(place), page * closest / max(place[-1] - place[0], width)


def law_to_draw(rollout: Rollout, law: str | None, where: str) -> str:
    """The law to draw: the given one, else the average, else the one with the best score."""
    available = list(rollout.points["law"].unique())
    if law is not None and law not in available:
        raise BayescaleError(unknown("law in this rollout", law, available), where=where)
    return law or rollout.best


def warn_if_not_converged(points: pd.DataFrame) -> None:
    """Warn if a fit did not converge and its points are drawn."""
    fits = points.groupby(["law", "problem"])["converged"].all()
    if not fits.all():
        warnings.warn(
            f"the chains of {(~fits).sum()} of {len(fits)} forecasts in this picture did not "
            "converge (column 'converged' of the points of the rollout)",
            ConvergenceWarning,
            stacklevel=3,
        )

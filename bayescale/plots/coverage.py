"""Pictures of rollouts: whether intervals held, and where each held-out run fell."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayescale.errors import BayescaleError, ConvergenceWarning, unknown
from bayescale.evaluation import AVERAGE, DISTANCES, OURS, Rollout
from bayescale.evaluation import scores as scoring
from bayescale.plots import style
from bayescale.plots.style import colour, label_for, log_axis, loss_axis

LEVELS = np.linspace(0, 1, 101)  # where the reliability curve is drawn
BAND = "#dddddd"
MOST_LINES = 12
MOST_PANELS = 12
LONGEST_NAME = 36  # of a problem, above its panel
MANY_POINTS = 30  # of a curve: more are drawn as a band
WIDE_RANGE = 6.0  # of losses: evenly spaced ticks would crowd at the top of a log axis
REACH = "extrapolation"
AXES = ("C", "D", "N", REACH)
#: Colour and marker of measured losses inside and outside their interval.
INSIDE, OUTSIDE = (style.COLOURS[0], "o"), (style.COLOURS[1], "D")


# -- did the intervals hold? -------------------------------------------------------------------


def plot_coverage(rollout: Rollout, *, by: str = "law", law: str | None = None, ax=None):
    """How often intervals held against how often they should have, and the PIT histogram.

    Parameters
    ----------
    rollout : Rollout
    by : str
        A line for every value of this column of ``rollout.points``. By ``"law"`` (or
        ``"method"``) the baselines are there too, in grey; by anything else, such as a group or
        ``"distance"``, only `law`.
    law : str, optional
        The law, average or baseline of the histogram. By default the average, if there is one,
        else the law with the least interval score.
    ax : sequence of two matplotlib Axes, optional

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        The reliability curve: below the diagonal, intervals hold less often than they say. And the
        histogram of where measured losses fell in their forecasts: high at the ends for intervals
        that are too narrow, in the middle for ones that are too wide. Bands hold 95 % of calibrated
        forecasters with as many series as the line that has fewest; where all runs belong to one
        series, with as many runs.

    Raises
    ------
    BayescaleError
        For a column or law that is not there, or a column with too many values.
    """
    law = _law(rollout, law, "plot_coverage")
    lines = list(_lines(rollout, by, law))
    size = (11.5, 5 + 0.11 * len(lines))  # the legend stands beneath
    panels = style.figure(1, 2, size)[1] if ax is None else np.ravel(ax)
    if len(panels) != 2:
        raise BayescaleError(f"plot_coverage draws two panels, but ax has {len(panels)}")
    _warn_if_failed(pd.concat([line.points for line in lines]))
    _reliability(panels[0], rollout, lines, int((rollout.points["law"] == law).sum()))
    own = [line.ink for line in lines if by == "law" and (line.points["law"] == law).all()]
    _pit(panels[1], rollout, law, *own or [style.COLOURS[6]])
    return panels


@dataclass(frozen=True, eq=False)
class _Line:
    """Points of one line, and how it looks; without a label it shares that of another."""

    points: pd.DataFrame
    label: str | None
    ink: str
    dash: object = "-"
    width: float = 2.0


def _lines(rollout: Rollout, by: str, law: str) -> Iterator[_Line]:
    """A line for every value of a column, this package's before the baselines."""
    points = rollout.points
    reach = pd.cut(points[REACH], [-np.inf, *DISTANCES.values()], labels=list(DISTANCES))
    points = points.assign(distance=reach)
    if by not in points:
        raise BayescaleError(unknown("column", by, points), where="plot_coverage")
    compared = by in ("law", "method")
    if not compared:
        points = points[points["law"] == law]
    groups = points.groupby(by, sort=by == "distance", observed=True, dropna=False)
    parts = {_said(value): part for value, part in groups}
    if not compared and len(parts) > MOST_LINES:
        raise BayescaleError(
            f"by={by!r} has {len(parts)} values, too many lines to tell apart: "
            f"give a column with at most {MOST_LINES}",
            where="plot_coverage",
        )
    baseline = {name: compared and (part["method"] != OURS).all() for name, part in parts.items()}
    ours = sorted((name for name in parts if not baseline[name]), key=lambda n: n != AVERAGE)
    for i, name in enumerate(ours, start=-(AVERAGE in ours)):
        ink = style.COLOURS[6] if by == "law" and name == AVERAGE else colour(i)
        yield _Line(parts[name], name, ink)
    alike: dict[str, list[str]] = {}
    for name in parts:
        if baseline[name]:
            alike.setdefault(name.split(" (")[0], []).append(name)
    for k, (kind, names) in enumerate(alike.items()):
        label = names[0] if len(names) == 1 else f"{kind} (of each law)"
        for name in names:
            yield _Line(
                parts[name],
                label if name == names[0] else None,
                style.GREY,
                style.DASHES[k % len(style.DASHES)],
                1.6,
            )


def _said(value) -> str:
    return f"{value:.12g}".replace("e+", "e") if isinstance(value, float) else str(value)


def _reliability(ax, rollout: Rollout, lines: list[_Line], runs: int) -> None:
    """Nominal probability against the share of runs inside."""
    tables = [
        scoring.reliability(line.points["pit"], LEVELS, _series(rollout, line.points))
        for line in lines
    ]
    fewest = min(range(len(lines)), key=lambda i: _effective(rollout, lines[i].points)[0])
    band, (_, said) = tables[fewest], _effective(rollout, lines[fewest].points)
    ax.fill_between(
        band["nominal"],
        band["low"],
        band["high"],
        color=BAND,
        linewidth=0,
        label=f"95 % band ({said})",
        zorder=0,
    )
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.9)
    judged = np.flatnonzero(np.isin(LEVELS.round(2), scoring.LEVELS)).tolist()
    for above, (line, table) in enumerate(zip(lines, tables, strict=True)):
        ax.plot(
            table["nominal"],
            table["coverage"],
            color=line.ink,
            linestyle=line.dash,
            linewidth=line.width,
            label=line.label,
            marker="o",
            markevery=judged,
            markersize=4.5,
            zorder=3 - above / 100,
        )
    _percent(ax.xaxis)
    _percent(ax.yaxis)
    ax.set(
        xlabel="nominal interval",
        ylabel="held-out runs inside",
        xlim=(0, 1),
        ylim=(0, 1.02),
        title=f"Do intervals hold? {runs} held-out run{'s' * (runs > 1)}",
    )
    _legend_below(ax)


def _pit(ax, rollout: Rollout, law: str, ink: str) -> None:
    """Where measured losses fell in the forecasts of one law."""
    from scipy.stats import binom

    points = rollout.points[rollout.points["law"] == law]
    bins = 10 if len(points) >= 50 else 5
    count, edges = np.histogram(points["pit"], bins, (0, 1))
    n, said = _effective(rollout, points)
    low, high = binom.ppf([0.025, 0.975], n, 1 / bins) / n
    share = count / len(points)
    ax.axhspan(low, high, color=BAND, linewidth=0, label=f"95 % band ({said})", zorder=0)
    ax.stairs(share, edges, color=ink, fill=True, alpha=0.35)
    ax.stairs(share, edges, color=ink, linewidth=2, label=law)
    ax.axhline(1 / bins, color="black", linewidth=0.9, label="calibrated")
    _percent(ax.xaxis)
    _percent(ax.yaxis)
    ax.set(
        xlabel="share of the forecast below the measured loss",
        ylabel="held-out runs",
        xlim=(0, 1),
        ylim=(0, min(1.02, 1.1 * max(high, share.max()))),
        title=f"Where measured losses fell: {law}",
    )
    _legend_below(ax)


def _series(rollout: Rollout, points: pd.DataFrame) -> pd.Series | None:
    """What the runs belong to, as in `Rollout.summary`; nothing if all to the same."""
    series = points[rollout.each or "problem"]
    return series if series.nunique() > 1 else None


def _effective(rollout: Rollout, points: pd.DataFrame) -> tuple[int, str]:
    """How many independent outcomes there are at least, and of what."""
    series = _series(rollout, points)
    if series is None:
        return len(points), f"{len(points)} run{'s' * (len(points) > 1)}"
    n = series.nunique()
    return n, f"{n} {'series' if rollout.each else 'problems'}"


def _percent(axis) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def _legend_below(ax) -> None:
    """Lines may run anywhere in a reliability curve, so its legend stands beneath."""
    handles, labels = ax.get_legend_handles_labels()
    last = sorted(range(len(labels)), key=lambda i: labels[i].startswith("95 % band"))
    ax.legend(
        [handles[i] for i in last],
        [labels[i] for i in last],
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=4.8,
        ncols=2,
        fontsize=10,
        handlelength=2.6,
        frameon=False,
    )


# -- where did each run fall? ------------------------------------------------------------------


def plot_rollout(
    rollout: Rollout, *, law: str | None = None, column: str | None = None, prob: float = 0.9
):
    """Held-out runs against their intervals, a panel for every problem.

    Parameters
    ----------
    rollout : Rollout
    law : str, optional
        A law, average or baseline. By default the average, if there is one, else the law with the
        least interval score.
    column : {"C", "D", "N", "extrapolation"}, optional
        The x axis; by default the column of the thresholds, else C, D or N, else how many times
        larger a run is than the largest that was fitted.
    prob : {0.8, 0.9, 0.95}
        Probability of the thin bars, which tell inside from outside; thick ones are 50 %.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        At most twelve panels; the title says of how many. Runs at the same place of the x axis
        stand side by side, the smallest model first. More than thirty points of a learning curve
        are drawn as bands instead of bars.

    Raises
    ------
    BayescaleError
        For a law, column or probability that is not there.
    """
    law = _law(rollout, law, "plot_rollout")
    points = rollout.points[rollout.points["law"] == law]
    there = [c for c in AXES if c in points and points[c].notna().all()]
    known = [q for q in scoring.LEVELS if q > 0.5]
    wrong = [unknown("column to draw along", column, there)] * (column not in (None, *there))
    wrong += [f"prob is {prob!r}: give one of {', '.join(map(str, known))}"] * (prob not in known)
    if wrong:
        raise BayescaleError(wrong, where="plot_rollout")
    level = f"{100 * prob:.0f}"
    parts = dict(iter(points.groupby("problem", sort=False)))
    shown = dict(list(parts.items())[:MOST_PANELS])
    _warn_if_failed(pd.concat(shown.values()))
    cut = _cut_column(next(iter(parts)))
    column = column or (cut if cut in there else there[0])
    columns = _columns(len(shown))
    rows = -(-len(shown) // columns)
    size = (7.2, 5) if len(shown) == 1 else (max(4.2 * columns, 8.4), 3.3 * rows + 0.9)
    figure, grid = style.figure(rows, columns, size, squeeze=False)
    titled = rollout.each is not None and points[rollout.each].nunique() == len(parts)
    for ax, (problem, part) in zip(grid.flat, shown.items(), strict=False):
        _panel(ax, part, column, level, banded=rollout.each is not None)
        name = part[rollout.each].iloc[0] if titled else problem
        inside = int(part[f"inside{level}"].sum())
        name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        ax.set_title(f"{name}\n{inside} of {len(part)} inside", fontsize=11.5)
    for ax in grid.flat[len(shown) :]:
        ax.set_visible(False)
    for ax in grid[:, 0]:
        ax.set_ylabel(label_for("loss"))
    for ax in grid.flat[max(0, len(shown) - columns) : len(shown)]:
        ax.set_xlabel(label_for(column) if column != REACH else "times the largest fitted run")
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


def _columns(panels: int) -> int:
    return {1: 1, 2: 2, 3: 3, 4: 2}.get(panels, 3 if panels <= 9 else 4)


def _cut_column(problem: str) -> str | None:
    """The column of the threshold that a problem is called by; none for a split."""
    name, above, _ = problem.split(", ")[-1].partition(" >= ")
    return name if above else None


def _panel(ax, part: pd.DataFrame, column: str, level: str, banded: bool) -> None:
    """One problem: intervals, medians, measured losses, and where the fitted runs end."""
    order = [part[c] for c in ("N", column) if c in part]
    part = part.iloc[np.lexsort([o.to_numpy() for o in order])]
    at = part[column].to_numpy()
    edge, said = _edge(part, column)
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
    for here, (ink, shape), text in (
        (inside, INSIDE, "measured, inside"),
        (~inside, OUTSIDE, "measured, outside"),
    ):
        ax.scatter(
            at[here],
            part["loss"][here],
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
            edge, color=style.GREY, linewidth=1.2, linestyle=style.DASHES[0], label=said, zorder=1.5
        )
    log_axis(ax.xaxis, column)
    low, high = ax.get_ylim()
    if high < WIDE_RANGE * low:
        loss_axis(ax.yaxis)
    else:
        log_axis(ax.yaxis, "loss")


def _edge(part: pd.DataFrame, column: str) -> tuple[float, str]:
    """Where on the x axis the fitted runs end, and what it is called; nan where it is not known."""
    threshold, last = float(part["threshold"].iloc[0]), "largest fitted run"
    if column == REACH:
        return 1.0, last
    if np.isfinite(threshold):
        return threshold if _cut_column(part["problem"].iloc[0]) == column else np.nan, "threshold"
    largest = (part[column] / part[REACH]).to_numpy()
    known = len(largest) > 1 and np.allclose(largest, largest[0], rtol=1e-6)
    return (largest[0] if known else np.nan), last


def _side_by_side(ax, at: np.ndarray, edge: float) -> tuple[np.ndarray, float]:
    """Sorted places on a log axis, moved up as little as keeps bars from hiding each other.

    Also the points of a page between the closest two.
    """
    place = np.log(at)
    width = max(place[-1] - np.nanmin([place[0], np.log(edge)]), 1.0)
    gap = width * min(0.03, 0.6 / len(at))
    for i in range(1, len(place)):
        place[i] = max(place[i], place[i - 1] + gap)
    page = 72 * ax.figure.get_figwidth() * ax.get_position().width
    closest = np.diff(place).min() if len(place) > 1 else width
    return np.exp(place), page * closest / max(place[-1] - place[0], width)


# -- what both ask -----------------------------------------------------------------------------


def _law(rollout: Rollout, law: str | None, where: str) -> str:
    """The law that is drawn: the one named, else the average, else the best."""
    there = list(rollout.points["law"].unique())
    if law is not None and law not in there:
        raise BayescaleError(unknown("law in this rollout", law, there), where=where)
    if law is not None or AVERAGE in there:
        return law or AVERAGE
    scores = rollout.summary().set_index("law")["interval_score"]
    return min(rollout.laws, key=scores.__getitem__)


def _warn_if_failed(points: pd.DataFrame) -> None:
    """The numbers of fits whose chains did not agree are drawn, with a warning."""
    fits = points.groupby(["law", "problem"])["converged"].all()
    if not fits.all():
        warnings.warn(
            f"the chains of {(~fits).sum()} of {len(fits)} forecasts in this picture do "
            "not agree: see points['converged']",
            ConvergenceWarning,
            stacklevel=3,
        )

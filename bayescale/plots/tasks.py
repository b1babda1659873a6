"""Plots of tasks, one panel each: curves with their breaks, and accuracy against loss."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from bayescale.capabilities import Breaks, Link, TaskForecast, forecast_tasks
from bayescale.errors import BayescaleError, unknown
from bayescale.forecasting import forecast
from bayescale.intervals import SAMPLE, defaults, interval
from bayescale.plots import style
from bayescale.units import format_count

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PANELS_PER_ROW = 3
POINTS = 80
#: Forecast runs that are named, and characters of a line of the caption per inch.
MOST_NAMED, PER_INCH = 3, 12
MOST_PANELS = 12
#: With more than `MOST_PANELS` tasks, panels are small. Their titles have at most this many
#: letters; the other numbers are panels per row, inches of a panel, and points along a curve.
LONGEST_TITLE = 26
SMALL_PER_ROW, SMALL_SIZE, SMALL_POINTS = (6, 5), (2.5, 1.95), 30
BINS = 40  # bins of the histogram of the location of a break
LEAST_PLACES = 20  # draws with a break that a histogram needs


def plot_breaks(
    breaks: Breaks,
    group: str | Sequence[str] | None = None,
    *,
    upto: float | None = None,
    ci_prob: float | None = None,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Curves with credible bands, and the posterior of the location of their breaks.

    Parameters
    ----------
    breaks : Breaks
    group : str or sequence of str, optional
        Labels of the curves to draw; by default the first twelve.
    upto : float, optional
        Extend the curves to this x. The band then contains drift and breaks beyond the points.
    ci_prob : float, optional
        Probability of the bands; 90 % by default.
    axes : sequence of matplotlib.axes.Axes, optional
        One for each curve; by default a new figure.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        A panel for each curve. The title gives the probability of a break. The filled histogram on
        the x axis is the posterior of the location of the largest break; its area is that
        probability.

    Raises
    ------
    BayescaleError
        For a label that no curve has, or a wrong number of axes.
    """
    style.require(breaks, Breaks, "plot_breaks")
    labels = _chosen(group, breaks.labels, "curve", "plot_breaks")
    panels = _panels(len(labels), axes, "plot_breaks")
    prob, _ = defaults(ci_prob)
    for i, (label, ax) in enumerate(zip(labels, panels, strict=True)):
        curve = breaks.curves[label]
        x = np.exp(curve.s + curve.middle)
        grid = np.geomspace(x.min(), upto or x.max(), POINTS)
        mean = forecast(breaks, x=grid, group=label).data["mean"]
        low, high = interval(mean, prob)
        ax.fill_between(grid, low, high, color=style.COLOURS[0], alpha=0.22, lw=0)
        ax.plot(grid, mean.median(("chain", "draw")), color=style.COLOURS[0])
        ax.plot(x, curve.metric.y, "o", ms=4.5, color=style.COLOURS[0], mec="white", mew=0.6)
        style.log_axis(ax.xaxis, breaks.x if breaks.x in style.UNITS else "C")
        p = breaks.probability(label)
        places = breaks.places(label)
        if len(places) >= LEAST_PLACES:
            _density(ax, np.log(places["x"].to_numpy()), p, (x.min(), x.max()))
        if breaks.metric == "accuracy":
            ax.axhline(curve.metric.chance, color=style.GREY, lw=1, ls=(0, (2, 2)))
        else:
            style.loss_axis(ax.yaxis)
        ax.set_title(f"{label}: P(break) {'-' if np.isnan(p) else f'{p:.2f}'}", fontsize=11.5)
        if i % PANELS_PER_ROW == 0:
            ax.set_ylabel(style.label_for(breaks.y, breaks.loss_unit))
        if i >= len(labels) - PANELS_PER_ROW:
            ax.set_xlabel(style.label_for(breaks.x))
    return panels


def _density(ax: Axes, log_x: np.ndarray, p: float, ends: tuple[float, float]) -> None:
    """Draw the posterior of the location of a break as a histogram on the x axis, of area `p`."""
    edges = np.linspace(*np.log(ends), BINS + 1)
    share = p * np.histogram(log_x, edges)[0] / len(log_x)
    top = ax.twinx()
    top.stairs(share, np.exp(edges), fill=True, color=style.COLOURS[1], alpha=0.45)
    # The histogram fills at most a third of the panel; it is lower if a break is improbable.
    top.set_ylim(0, 1.15 * max(3 * share.max(), 0.5))
    top.set_yticks([])
    top.grid(visible=False)
    top.spines["right"].set_visible(False)
    ax.set_zorder(top.get_zorder() + 1)
    ax.patch.set_visible(False)


def plot_link(
    link: Link,
    tasks: str | Sequence[str] | None = None,
    *,
    forecast: TaskForecast | None = None,
    observed: pd.DataFrame | None = None,
    ci_prob: float | None = None,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Accuracy against loss for each task; for a direct link, against compute.

    Parameters
    ----------
    link : Link
    tasks : str or sequence of str, optional
        Names of the tasks to draw; by default all, in the order of `Link.summary`. More than twelve
        have small panels.
    forecast : TaskForecast, optional
        Forecasts to draw as medians with vertical bars, at their median loss. The band of their
        group extends to them. At most three of them are named by N and D.
    observed : pandas.DataFrame, optional
        Measured accuracies of runs that were not fitted, drawn as open circles: the columns
        ``task``, ``accuracy``, and ``loss`` or ``C``.
    ci_prob : float, optional
        Probability of bands and bars; 90 % by default.
    axes : sequence of matplotlib.axes.Axes, optional
        One for each task; by default a new figure.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        A panel for each task. Bands are of the mean accuracy; for ``"direct"`` links, at the
        typical ratio of parameters and tokens. Each group has a band over its own runs, and to
        those observed. Dashed lines mark chance. The axis of the loss is
        inverted: better models are to the right. A dotted line marks the threshold (see
        `Link.summary`), if it is in the panel. A new figure says which task scales fastest, or
        with one forecast run its accuracies on few tasks.

    Raises
    ------
    BayescaleError
        For a task that the link or the forecast does not have, or a wrong number of axes.
    """
    style.require(link, Link, "plot_link")
    names = _chosen(tasks, tuple(link.faster().index), "task", "plot_link", len(link.tasks))
    medians = link.drawn()["threshold"].median(SAMPLE).to_numpy()
    threshold = dict(zip(link.tasks, medians, strict=True))
    small = len(names) > MOST_PANELS
    across = _across(len(names), small)
    if forecast is not None:
        _chosen(names, tuple(forecast.data["task"].to_numpy()), "task in the forecast", "plot_link")
    panels = _panels(len(names), axes, "plot_link", small)
    along = link.plan.form.along
    table = link.plan.table
    x = table[along].to_numpy(float)
    ends = [x.min(), x.max()]
    if observed is not None:
        ends = [min(ends[0], observed[along].min()), max(ends[1], observed[along].max())]
    count = SMALL_POINTS if small else POINTS
    members = link.plan.members or ("",)
    with_legend = len(members) > 1 or observed is not None or forecast is not None
    for i, (task, ax) in enumerate(zip(names, panels, strict=True)):
        fitted = table[table["task"] == task]
        for j, member in enumerate(members):
            group = dict(zip(link.groups, member.split(", "), strict=True)) if member else None
            of_member = fitted[fitted["member"] == member] if member else fitted
            reach = of_member[along]
            if observed is not None:
                reach = [*reach, *observed[along]]
            if forecast is not None:
                reach = [*reach, *_places(forecast, along, member)]
            grid = np.geomspace(min(reach), max(reach), count)
            at = link.plan.at_typical(grid) if link.plan.form.by_size else {along: grid}
            mean = forecast_tasks(link, group=group, tasks=task, **at).data["mean"]
            low, high = interval(mean.isel(task=0), ci_prob)
            ink = style.colour(j)
            ax.fill_between(grid, low, high, color=ink, alpha=0.18, lw=0)
            ax.plot(
                of_member[along],
                of_member["y"],
                style.marker(j),
                ms=2.2 if small else 4,
                color=ink,
                mec="white",
                mew=0.2 if small else 0.5,
                label=member or None,
            )
        if forecast is not None:
            _bars(ax, forecast, task, along, ci_prob)
        if observed is not None:
            later = observed[observed["task"] == task]
            ax.plot(
                later[along],
                later["accuracy"],
                "o",
                ms=4 if small else 7,
                mfc="none",
                mec="black",
                mew=0.9 if small else 1.4,
                label="not fitted",
            )
        chance = float(link.plan.facts.loc[task, "chance"])
        ax.axhline(chance, color=style.GREY, lw=1, ls=(0, (2, 2)))
        if task not in link.untold and ends[0] <= threshold[task] <= ends[1]:
            ax.axvline(threshold[task], color=style.GREY, lw=1, ls=(0, (1, 2)))
        if along == "C":
            style.log_axis(ax.xaxis, "C")
        else:
            ax.invert_xaxis()
        title = style.short(task, LONGEST_TITLE) if small else task
        ax.set_title(title, fontsize=8.5 if small else 11.5)
        ax.tick_params(labelsize=7.5 if small else 10)
        if i % across == 0:
            ax.set_ylabel("accuracy", fontsize=8.5 if small else None)
        if i >= len(names) - across:
            label = style.label_for(along, link.fit.runs.loss_unit if link.fit else "")
            ax.set_xlabel(label, fontsize=8.5 if small else None)
    if axes is None:
        said = link.bottom_line() if set(names) == set(link.tasks) else ""
        if forecast is not None:
            said = forecast.answer(ci_prob) or said
        _explain(panels, said, with_legend, small)
    elif with_legend:
        panels[0].legend(fontsize=9, loc="upper left")
    return panels


def _explain(panels: np.ndarray, said: str, with_legend: bool, small: bool) -> None:
    """The finding above the panels, and a legend below them."""
    figure = panels[0].figure
    said = fill(said, int(PER_INCH * figure.get_figwidth()))
    figure.suptitle(said, fontsize=10.5, x=0.01, ha="left")
    if with_legend:
        handles = panels[0].get_legend_handles_labels()
        options = dict(ncols=4 if len(panels) > 1 else 2, fontsize=9)
        figure.legend(
            *handles, loc="outside lower center", markerscale=2 if small else 1, **options
        )


def _bars(ax: Axes, forecast: TaskForecast, task: str, along: str, ci_prob: float | None) -> None:
    """Draw the medians and intervals of forecast accuracies; of few runs with N and D."""
    accuracy = forecast.data["accuracy"].sel(task=task)
    prob, _ = defaults(ci_prob)
    low, high = interval(accuracy, prob)
    middle, at = accuracy.median(SAMPLE).to_numpy(), _places(forecast, along)
    ax.vlines(at, low, high, color="black", lw=1.6, alpha=0.75)
    label = f"forecast, {100 * prob:g} % interval"
    ax.plot(at, middle, "D", ms=4, color="black", mec="white", mew=0.5, label=label)
    if len(at) <= MOST_NAMED and {"N", "D"} <= set(forecast.data.coords):
        for i, x in enumerate(at):
            name = ", ".join(format_count(float(forecast.data[c][i])) for c in "ND")
            place = dict(xytext=(-6, 4), textcoords="offset points", ha="right")
            ax.annotate(name, (x, middle[i]), **place, fontsize=8)


def _places(forecast: TaskForecast, along: str, member: str = "") -> np.ndarray:
    """Median losses, or compute, of the forecast runs; of those of one group if it is given."""
    data = forecast.data
    at = (data["loss"].median(SAMPLE) if along == "loss" else data["C"]).to_numpy()
    return at[data["group"].to_numpy() == member] if member and "group" in data else at


def _chosen(
    names: str | Sequence[str] | None,
    available: tuple[str, ...],
    kind: str,
    where: str,
    most: int = MOST_PANELS,
) -> list[str]:
    """The names to draw, by default the first of the available ones."""
    if names is None:
        return list(available[:most])
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise BayescaleError(f"no {kind} is given: give one or more names, or None", where=where)
    if invalid := [name for name in names if name not in available]:
        raise BayescaleError([unknown(kind, name, available) for name in invalid], where=where)
    return names


def _across(n: int, small: bool) -> int:
    """Panels per row: of the numbers for small ones, that which leaves fewest places empty."""
    return min(SMALL_PER_ROW, key=lambda row: -n % row) if small else min(n, PANELS_PER_ROW)


def _panels(n: int, axes: Sequence[Axes] | None, where: str, small: bool = False) -> np.ndarray:
    """The given axes, or a new figure with `n` panels."""
    if axes is not None:
        given = np.ravel(np.asarray(axes, object))
        if len(given) != n:
            raise BayescaleError(f"axes has {len(given)}, but {n} are needed", where=where)
        return given
    columns = _across(n, small)
    rows = -(-n // columns)
    width, height = SMALL_SIZE if small else (4.2, 3.1)
    _, made = style.figure(rows, columns, size=(width * columns, height * rows), squeeze=False)
    made = np.ravel(made)
    for spare in made[n:]:
        spare.set_visible(False)
    return made[:n]

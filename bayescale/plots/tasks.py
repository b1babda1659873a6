"""Pictures of tasks, one panel each: where curves break, and what a loss is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayescale.capabilities import Breaks, Link, TaskForecast, forecast_tasks
from bayescale.errors import BayescaleError
from bayescale.intervals import defaults, interval
from bayescale.plots import style

ACROSS = 3  # panels in a row
POINTS = 80
MOST_PANELS = 12


def plot_breaks(
    breaks: Breaks,
    tasks: Sequence[str] | None = None,
    *,
    upto: float | None = None,
    ci_prob: float | None = None,
    axes=None,
):
    """Each curve with its interval, and where it breaks, as a density along x.

    Parameters
    ----------
    breaks : Breaks
    tasks : sequence of str, optional
        The first twelve by default.
    upto : float, optional
        Draw the curve on to this x, with what may come: drift, and a break at any time.
    ci_prob : float, optional
        Probability of the band; ArviZ's default.
    axes : array of matplotlib Axes, optional
        One for each task.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        One for each task.
    """
    tasks = list(breaks.tasks[:MOST_PANELS] if tasks is None else tasks)
    axes = _panels(len(tasks), axes)
    prob, _ = defaults(ci_prob)
    for i, (task, ax) in enumerate(zip(tasks, axes, strict=True)):
        curve = breaks.curves[task]
        x = np.exp(curve.s + curve.middle)
        seen = np.geomspace(x.min(), upto or x.max(), POINTS)
        mean = breaks.forecast(seen, task)["mean"]
        low, high = interval(mean, prob)
        ax.fill_between(seen, low, high, color=style.COLOURS[0], alpha=0.22, lw=0)
        ax.plot(seen, mean.median(("chain", "draw")), color=style.COLOURS[0])
        ax.plot(x, curve.metric.y, "o", ms=4.5, color=style.COLOURS[0], mec="white", mew=0.6)
        style.log_axis(ax.xaxis, breaks.x if breaks.x in style.UNITS else "C")
        p = breaks.probability(task)
        where = breaks.places(task)
        if len(where) >= 20:
            _density(ax, np.log(where["x"].to_numpy()), p, (x.min(), x.max()))
        if breaks.metric == "accuracy":
            chance = curve.metric.chance
            ax.axhline(chance, color=style.GREY, lw=1, ls=(0, (2, 2)))
        else:
            style.loss_axis(ax.yaxis)
        ax.set_title(f"{task}: P(break) {p:.2f}", fontsize=11.5)
        if i % ACROSS == 0:
            ax.set_ylabel(style.label_for(breaks.y))
        if i >= len(tasks) - ACROSS:
            ax.set_xlabel(style.label_for(breaks.x))
    return axes


def _density(ax, log_x: np.ndarray, p: float, ends) -> None:
    """The posterior of a break's place, standing on the x axis; as high as the break is sure."""
    edges = np.linspace(*np.log(ends), 41)
    share = np.histogram(log_x, edges)[0] / len(log_x)
    top = ax.twinx()
    # A curve that hardly breaks shows a low hill: height is probability, per fortieth of the axis.
    top.stairs(p * share, np.exp(edges), fill=True, color=style.COLOURS[1], alpha=0.45)
    top.set_ylim(0, max(1.15, 0.0) * max(3 * (p * share).max(), 0.5))
    top.set_yticks([])
    top.grid(visible=False)
    top.spines["right"].set_visible(False)
    ax.set_zorder(top.get_zorder() + 1)
    ax.patch.set_visible(False)


def plot_link(
    link: Link,
    tasks: Sequence[str] | None = None,
    *,
    ahead: TaskForecast | None = None,
    truth=None,
    ci_prob: float | None = None,
    axes=None,
):
    """Accuracy against loss (of a direct link: compute), one panel for each task.

    Parameters
    ----------
    link : Link
    tasks : sequence of str, optional
        The first twelve by default.
    ahead : TaskForecast, optional
        Forecasts to be drawn as error bars, at their median loss.
    truth : DataFrame, optional
        Measured accuracies of runs that were not fitted, to be drawn as open circles: the columns
        ``task``, ``accuracy``, and ``loss`` or ``C``.
    ci_prob : float, optional
        Probability of bands and bars; ArviZ's default.
    axes : array of matplotlib Axes, optional

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        One for each task.
    """
    tasks = list(link.tasks[:MOST_PANELS] if tasks is None else tasks)
    axes = _panels(len(tasks), axes)
    along = link.plan.form.along
    table = link.plan.table
    x = table[along].to_numpy(float)
    ends = [x.min(), x.max()]
    if truth is not None:
        ends = [min(ends[0], truth[along].min()), max(ends[1], truth[along].max())]
    grid = np.geomspace(*ends, POINTS)
    members = link.plan.members or ("",)
    for i, (task, ax) in enumerate(zip(tasks, axes, strict=True)):
        own = table[table["task"] == task]
        for j, member in enumerate(members):
            group = dict(zip(link.groups, member.split(", "), strict=True)) if member else None
            asked = {along: grid}
            said = forecast_tasks(
                link, group=group, tasks=task, random_seed=link.random_seed, **asked
            ).data["mean"]
            low, high = interval(said.isel(task=0), ci_prob)
            ink = style.colour(j)
            ax.fill_between(grid, low, high, color=ink, alpha=0.18, lw=0)
            here = own[own["member"] == member] if member else own
            ax.plot(
                here[along],
                here["y"],
                style.marker(j),
                ms=4,
                color=ink,
                mec="white",
                mew=0.5,
                label=member or None,
            )
        if ahead is not None:
            _bars(ax, ahead, task, along, ci_prob)
        if truth is not None:
            later = truth[truth["task"] == task]
            ax.plot(
                later[along],
                later["accuracy"],
                "o",
                ms=7,
                mfc="none",
                mec="black",
                mew=1.4,
                label="not fitted",
            )
        ax.axhline(
            float(link.plan.facts.loc[task, "chance"]), color=style.GREY, lw=1, ls=(0, (2, 2))
        )
        if along == "C":
            style.log_axis(ax.xaxis, "C")
        else:
            ax.invert_xaxis()
        ax.set_title(task, fontsize=11.5)
        if i % ACROSS == 0:
            ax.set_ylabel("accuracy")
        if i >= len(tasks) - ACROSS:
            ax.set_xlabel(style.label_for(along))
    if len(members) > 1 or truth is not None:
        axes[0].legend(fontsize=9, loc="upper left")
    return axes


def _bars(ax, ahead: TaskForecast, task: str, along: str, ci_prob) -> None:
    if task not in ahead.data["task"].to_numpy():
        raise BayescaleError(f"the forecast says nothing of {task!r}")
    accuracy = ahead.data["accuracy"].sel(task=task)
    low, high = interval(accuracy, ci_prob)
    at = ahead.data["loss"].median(("chain", "draw")) if along == "loss" else ahead.data["C"]
    ax.vlines(at, low, high, color="black", lw=1.6, alpha=0.75)


def _panels(n: int, axes):
    if axes is not None:
        return np.ravel(axes)
    columns = min(n, ACROSS)
    rows = -(-n // columns)
    _, made = style.figure(rows, columns, size=(4.2 * columns, 3.1 * rows), squeeze=False)
    made = np.ravel(made)
    for spare in made[n:]:
        spare.set_visible(False)
    return made[:n]

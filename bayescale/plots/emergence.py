"""Plots of emergence: each task on the scale of its score, and in log odds."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from bayescale.capabilities import Emergence
from bayescale.errors import BayescaleError, unknown
from bayescale.intervals import defaults
from bayescale.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Tasks side by side, each with two panels, and the most tasks of which this is so.
TASKS_PER_ROW = {1: 3, 2: 8, 3: 1000}
MOST_TASKS = 24
#: More families than this get one colour.
MOST_FAMILIES = 8
#: Characters of the name of a task in a title, and of a line of the caption per inch.
NAME, PER_INCH = 32, 13
#: Colour and strength of the onset.
ONSET = dict(color=style.COLOURS[4], alpha=0.22, lw=0)


def plot_emergence(
    emergence: Emergence,
    tasks: str | Sequence[str] | None = None,
    *,
    ci_prob: float | None = None,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """The curve of each task with its verdict, as plotted and in log odds above chance.

    Parameters
    ----------
    emergence : Emergence
    tasks : str or sequence of str, optional
        Names of the tasks to draw; by default the first 24.
    ci_prob : float, optional
        Probability of the bands and of the onset's interval; 90 % by default.
    axes : sequence of matplotlib.axes.Axes, optional
        Two for each task; by default a new figure.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        Two for each task: the score itself, and the score on a scale on which smooth laws are
        straight or flatten. This is the log odds of the share above chance, or the logarithm of a
        loss or of a continuous metric. Bands are credible intervals of the curve, averaged over the
        kinds of curves. The interval of the onset is shaded, and chance is dashed. Colours and
        markers show families, if there are at most eight. Scores at or below chance are drawn at
        the lower edge of the log odds. A new figure has a legend, and the finding as its title:
        the sentence of the task, or how many tasks are emergent.

    Raises
    ------
    BayescaleError
        For an unknown task, or a wrong number of axes.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> C = np.geomspace(1e19, 1e24, 20)
    >>> table = pd.DataFrame({"C": C, "accuracy": 1 / (1 + (C / 1e23) ** -1.0)})
    >>> found = bs.emergence(table, n_questions=2000, chance=0.0, random_seed=1)
    >>> len(bs.plot_emergence(found))
    2
    """
    names = _chosen(emergence, tasks)
    prob, _ = defaults(ci_prob)
    if axes is not None:
        made = np.ravel(np.asarray(axes, object))
        if len(made) != 2 * len(names):
            problem = f"axes has {len(made)}, but {2 * len(names)} are needed, two for each task"
            raise BayescaleError(problem, where="plot_emergence")
    else:
        columns = next(n for n, most in TASKS_PER_ROW.items() if len(names) <= most)
        rows = -(-len(names) // columns)
        size = (max(7.2, 5.6 * columns), 2.7 * rows + 0.9)
        _, made = style.figure(rows, 2 * columns, size=size, squeeze=False)
        made = np.ravel(made)
        for spare in made[2 * len(names) :]:
            spare.set_visible(False)
        made = made[: 2 * len(names)]
    table = emergence.summary(prob)
    for i, task in enumerate(names):
        _draw(emergence, task, table.loc[task], made[2 * i : 2 * i + 2], prob)
    if axes is None:
        for ax in made[: -2 * columns]:
            ax.set_xlabel("")  # the panel below has it
        said = emergence.bottom_line() if tasks is None else ""
        said = said if len(names) > 1 else str(table.loc[names[0], "sentence"])
        _explain(made, said, prob)
    return made


def _explain(made: np.ndarray, said: str, prob: float) -> None:
    """The finding above the panels, and a legend below them."""
    from matplotlib.patches import Patch

    figure = made[0].figure
    wide = int(PER_INCH * figure.get_figwidth())
    figure.suptitle(fill(said, wide), fontsize=9.5, x=0.01, ha="left")
    points, labels = made[0].get_legend_handles_labels()
    if any(ax.patches for ax in made):
        points, labels = [*points, Patch(**ONSET)], [*labels, f"onset, {100 * prob:g} % interval"]
    if labels:
        options = dict(ncols=min(len(labels), wide // 20), fontsize=9)
        figure.legend(points, labels, loc="outside lower center", **options)


def _chosen(emergence: Emergence, tasks: str | Sequence[str] | None) -> list[str]:
    if tasks is None:
        return list(emergence.tasks[:MOST_TASKS])
    names = [tasks] if isinstance(tasks, str) else list(tasks)
    if not names:
        raise BayescaleError(
            "no task is given: give one or more names, or None", where="plot_emergence"
        )
    if invalid := [name for name in names if name not in emergence.tasks]:
        problems = [unknown("task", name, emergence.tasks) for name in invalid]
        raise BayescaleError(problems, where="plot_emergence")
    return names


def _draw(emergence: Emergence, task: str, row, pair, prob: float) -> None:
    plotted, straight = pair
    curve = emergence.curves[task]
    other = emergence.continuous[task].curve if task in emergence.continuous else None
    panels = (
        (plotted, curve, "plotted", lambda y: y),
        (straight, other or curve, "underneath", lambda y: _straight(other or curve, y)),
    )
    for ax, own_curve, metric, change in panels:
        x = np.exp(own_curve.s + own_curve.middle)
        if task in emergence.posteriors:
            found = emergence.shapes(task, metric)
            tails = [(1 - prob) / 2, 0.5, (1 + prob) / 2]
            low, middle, high = change(np.quantile(found.mean, tails, axis=0))
            grid = 10**found.grid
            ax.fill_between(grid, low, high, color=style.GREY, alpha=0.25, lw=0)
            ax.plot(grid, middle, color="black", lw=1.6)
            if np.isfinite(row["onset"]):
                ax.axvspan(row["onset_low"], row["onset_high"], **ONSET)
        families = emergence.families
        shown = bool(families) and len(families) <= MOST_FAMILIES
        for j in range(len(families) if shown else 1):
            own = own_curve.family == j if shown else np.ones(len(x), bool)
            ax.plot(
                x[own],
                change(own_curve.y[own]),
                style.marker(j),
                ms=4,
                color=style.colour(j),
                mec="white",
                mew=0.4,
                label=families[j] if shown else None,
            )
        style.log_axis(ax.xaxis, emergence.x if emergence.x in style.UNITS else "C")
        ax.set_xlabel(style.label_for(emergence.x), fontsize=9.5)
        ax.tick_params(labelsize=8.5)
    if curve.is_accuracy:
        plotted.axhline(curve.chance, color=style.GREY, lw=1, ls=(0, (2, 2)))
    verdict = str(row["verdict"])
    if task in emergence.unfitted:
        verdict += f": {emergence.unfitted[task].partition(';')[0]}"
    elif np.isnan(row["P(verdict)"]):
        verdict += f", P(emergent) = {row['P(emergent as measured)']:.2f}"
    else:
        verdict += f" (P = {row['P(verdict)']:.2f})"
    # One title for both panels.
    plotted.set_title(f"{style.short(task, NAME)}: {verdict}", fontsize=10.5, loc="left")
    plotted.set_ylabel(emergence.y, fontsize=9.5)
    label = "log odds above chance" if curve.is_accuracy else f"log {emergence.y}"
    straight.set_ylabel(f"log {emergence.metric}" if other else label, fontsize=9.5)


def _straight(curve, y: np.ndarray) -> np.ndarray:
    """Scores on the scale of the right panel."""
    if not curve.is_accuracy:
        return np.log(y)
    n = float(np.median(curve.n))
    n = n if np.isfinite(n) else 1000.0
    q = max(curve.chance, 0.5 / n)
    edge = np.sqrt(q * (1 - q) / n) / (1 - curve.chance)
    share = np.clip((y - curve.chance) / (1 - curve.chance), edge, 1 - 0.5 / n)
    return np.log(share) - np.log1p(-share)

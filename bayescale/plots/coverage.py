"""Coverage of forecast intervals on held-out runs, and the PIT histogram."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayescale.errors import BayescaleError, unknown
from bayescale.evaluation import AVERAGE, BAYESCALE, DISTANCES, Rollout
from bayescale.evaluation import scores as scoring
from bayescale.plots import style
from bayescale.plots.rollouts import EXTRAPOLATION, law_to_draw, warn_if_not_converged
from bayescale.plots.style import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = np.linspace(0, 1, 101)  # nominal probabilities at which coverage is computed
BAND = "#dddddd"
MOST_LINES = 12


def plot_coverage(
    rollout: Rollout,
    *,
    by: str = "law",
    law: str | None = None,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Empirical coverage against nominal probability, and the PIT histogram.

    Parameters
    ----------
    rollout : Rollout
    by : str
        Draw a line for every value of this column of ``rollout.points``. For ``"law"`` and
        ``"method"`` the baselines are included, in grey. For any other column, such as a group or
        ``"distance"`` (classes of extrapolation), only `law` is drawn.
    law : str, optional
        The law, average or baseline of the histogram. By default the average if there is one,
        else the law with the lowest interval score.
    axes : sequence of two matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        Two panels. The first is coverage: below the diagonal, intervals contain fewer runs than
        their probability. The second is the histogram of the probability integral transform (PIT),
        the share of the forecast below the measured loss: high at both ends if intervals are too
        narrow, high in the middle if they are too wide. The grey bands contain 95 % of the results
        of a calibrated forecast with as many independent series as the line with the fewest. If all
        runs belong to one series, the number of runs is used instead.

    Raises
    ------
    BayescaleError
        For a column or law that is not in the rollout, a column with more than twelve values, or
        other than two axes.

    Warns
    -----
    ConvergenceWarning
        If a fit did not converge.
    """
    style.require(rollout, Rollout, "plot_coverage")
    law = law_to_draw(rollout, law, "plot_coverage")
    lines = list(_lines(rollout, by, law))
    size = (11.5, 5 + 0.11 * len(lines))  # the legends are below
    panels = style.figure(1, 2, size)[1] if axes is None else np.ravel(np.asarray(axes, object))
    if len(panels) != 2:
        raise BayescaleError(
            f"axes has {len(panels)}: give two, one for coverage and one for the histogram",
            where="plot_coverage",
        )
    warn_if_not_converged(pd.concat([line.points for line in lines]))
    _reliability(panels[0], rollout, lines, int((rollout.points["law"] == law).sum()))
    line_colour = [line.ink for line in lines if by == "law" and (line.points["law"] == law).all()]
    _pit(panels[1], rollout, law, *line_colour or [style.COLOURS[6]])
    return panels


@dataclass(frozen=True, eq=False)
class _Line:
    """The points of one line, and its appearance. The label is None if another line shows it."""

    points: pd.DataFrame
    label: str | None
    ink: str
    dash: object = "-"
    width: float = 2.0


def _lines(rollout: Rollout, by: str, law: str) -> Iterator[_Line]:
    """A line for every value of a column, the baselines last."""
    points = rollout.points
    reach = pd.cut(points[EXTRAPOLATION], [-np.inf, *DISTANCES.values()], labels=list(DISTANCES))
    points = points.assign(distance=reach)
    if by not in points:
        raise BayescaleError(unknown("column", by, points), where="plot_coverage")
    compared = by in ("law", "method")
    if not compared:
        points = points[points["law"] == law]
    groups = points.groupby(by, sort=by == "distance", observed=True, dropna=False)
    parts = {_label(value): part for value, part in groups}
    if not compared and len(parts) > MOST_LINES:
        raise BayescaleError(
            f"the column {by!r} has {len(parts)} values, too many for one picture: "
            f"give by= a column with at most {MOST_LINES}",
            where="plot_coverage",
        )
    baseline = {
        name: compared and (part["method"] != BAYESCALE).all() for name, part in parts.items()
    }
    fitted = sorted((name for name in parts if not baseline[name]), key=lambda n: n != AVERAGE)
    for i, name in enumerate(fitted, start=-(AVERAGE in fitted)):
        ink = style.COLOURS[6] if by == "law" and name == AVERAGE else colour(i)
        yield _Line(parts[name], name, ink)
    kinds: dict[str, list[str]] = {}
    for name in parts:
        if baseline[name]:
            kinds.setdefault(name.split(" (")[0], []).append(name)
    for k, (kind, names) in enumerate(kinds.items()):
        label = names[0] if len(names) == 1 else f"{kind} (of each law)"
        for name in names:
            yield _Line(
                parts[name],
                label if name == names[0] else None,
                style.GREY,
                style.DASHES[k % len(style.DASHES)],
                1.6,
            )


def _label(value) -> str:
    return f"{value:.12g}".replace("e+", "e") if isinstance(value, float) else str(value)


def _reliability(ax, rollout: Rollout, lines: list[_Line], runs: int) -> None:
    """Draw the share of runs inside their intervals against the nominal probability."""
    tables = [
        scoring.reliability(line.points["pit"], LEVELS, _series(rollout, line.points))
        for line in lines
    ]
    fewest = min(range(len(lines)), key=lambda i: _effective(rollout, lines[i].points)[0])
    band, (_, count) = tables[fewest], _effective(rollout, lines[fewest].points)
    ax.fill_between(
        band["nominal"],
        band["low"],
        band["high"],
        color=BAND,
        linewidth=0,
        label=f"95 % band ({count})",
        zorder=0,
    )
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.9)
    marked = np.flatnonzero(np.isin(LEVELS.round(2), scoring.LEVELS)).tolist()
    for i, (line, table) in enumerate(zip(lines, tables, strict=True)):
        ax.plot(
            table["nominal"],
            table["coverage"],
            color=line.ink,
            linestyle=line.dash,
            linewidth=line.width,
            label=line.label,
            marker="o",
            markevery=marked,
            markersize=4.5,
            zorder=3 - i / 100,
        )
    _percent(ax.xaxis)
    _percent(ax.yaxis)
    ax.set(
        xlabel="probability of the interval",
        ylabel="held-out runs inside",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
        title=f"Coverage of {runs} held-out run{'s' * (runs > 1)}",
    )
    _legend_below(ax)


def _pit(ax, rollout: Rollout, law: str, ink: str) -> None:
    """Draw the PIT histogram of one law."""
    from scipy.stats import binom

    points = rollout.points[rollout.points["law"] == law]
    bins = 10 if len(points) >= 50 else 5
    count, edges = np.histogram(points["pit"], bins, (0, 1))
    n, unit = _effective(rollout, points)
    low, high = binom.ppf([0.025, 0.975], n, 1 / bins) / n
    share = count / len(points)
    ax.axhspan(low, high, color=BAND, linewidth=0, label=f"95 % band ({unit})", zorder=0)
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
        title=f"Measured losses within forecasts: {law}",
    )
    _legend_below(ax)


def _series(rollout: Rollout, points: pd.DataFrame) -> pd.Series | None:
    """The series of each run, as in `Rollout.summary`; None if there is only one."""
    series = points[rollout.each or "problem"]
    return series if series.nunique() > 1 else None


def _effective(rollout: Rollout, points: pd.DataFrame) -> tuple[int, str]:
    """A lower bound on the number of independent outcomes, and this number with its unit."""
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
    """Put the legend below the panel, because lines may cross any part of the panel."""
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i].startswith("95 % band"))
    ax.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=4.8,
        ncols=2,
        fontsize=10,
        handlelength=2.6,
        frameon=False,
    )

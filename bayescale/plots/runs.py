"""Plot of the design of a table of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayescale.data import Runs, RunsLike, as_runs
from bayescale.errors import FitError
from bayescale.plots import style
from bayescale.plots.style import label_for, log_axis, loss_axis, marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm


LARGEST_MARKER = 110.0  # area in square points


def plot_runs(runs: RunsLike, *, ax: Axes | None = None) -> Axes:
    """Runs by parameters N and tokens D, coloured by their loss.

    Parameters
    ----------
    runs : Runs, path or DataFrame
        Runs with the columns N and D. Groups have different markers.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        D on the x axis, N on the y axis, both logarithmic. Faint lines are of equal compute.

    Raises
    ------
    FitError
        If the runs lack N or D.

    Examples
    --------
    >>> import bayescale as bs
    >>> bs.plot_runs(bs.Runs.example("openlm")).get_title()
    '104 runs'
    """
    runs = as_runs(runs)
    if not {"N", "D"} <= set(runs.table):
        missing = [c for c in "ND" if c not in runs.table]
        raise FitError(
            f"plot_runs draws N against D, but these runs have no {' and no '.join(missing)}"
        )
    ax = style.axes(ax)
    table = runs.table
    labels = group_labels(runs)
    norm = _log_norm(table["loss"])
    names = sorted(set(labels))
    for i, name in enumerate(names):
        in_group = labels == name
        # Groups often have the same design. Smaller markers on larger ones keep all visible.
        size = LARGEST_MARKER * (0.55**i if len(names) <= 4 else 0.8**i)
        points = ax.scatter(
            table["D"][in_group],
            table["N"][in_group],
            c=table["loss"][in_group],
            norm=norm,
            cmap="cividis_r",
            marker=marker(i),
            s=size,
            edgecolor="white",
            linewidth=0.7,
            label=name or None,
            zorder=3 + i / 100,
        )
    log_axis(ax.xaxis, "D")
    log_axis(ax.yaxis, "N")
    _isoflops(ax, runs)
    bar = ax.figure.colorbar(points, ax=ax, label=label_for("loss", runs.loss_unit), pad=0.02)
    loss_axis(bar.ax.yaxis)
    ax.set(xlabel=label_for("D"), ylabel=label_for("N"))
    ax.set_title(f"{len(runs)} runs", pad=18)
    if any(labels):
        legend = ax.legend(loc="upper left")
        for handle in legend.legend_handles:
            handle.set_array(None)  # else the colour of the first run
            handle.set_facecolor(style.GREY)
            handle.set_sizes([45])
    return ax


def _isoflops(ax, runs: Runs) -> None:
    """Draw faint lines of equal compute, labelled along the upper edge."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    lowest, highest = (round(np.log10(edge(runs.table["C"]))) for edge in (min, max))
    for exponent in range(lowest, highest + 2, 2):
        D = np.array([left, right])
        N = 10.0**exponent / (runs.flop_factor * D)
        ax.plot(D, N, color="#cccccc", linewidth=0.9, zorder=1)
        at = 10.0**exponent / (runs.flop_factor * top)
        if left < at < right:
            ax.text(
                at,
                top,
                f"1e{exponent} FLOP",
                color=style.GREY,
                fontsize=8.5,
                ha="center",
                va="bottom",
                zorder=2,
            )
    ax.set(xlim=(left, right), ylim=(bottom, top))


def group_labels(runs: Runs, groups: Sequence[str] | None = None) -> np.ndarray:
    """The label of each run's group, its columns joined by commas; ``""`` without groups."""
    groups = runs.groups if groups is None else groups
    if not groups:
        return np.array([""] * len(runs), dtype=object)
    rows = zip(*(runs.table[g].astype(str) for g in groups), strict=True)
    return np.array([", ".join(row) for row in rows], dtype=object)


def _log_norm(values: pd.Series) -> LogNorm:
    from matplotlib.colors import LogNorm

    return LogNorm(float(values.min()), float(values.max()))

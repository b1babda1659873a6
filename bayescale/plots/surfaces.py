"""The loss as a function of N and D: profiles at fixed budgets, and contours."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bayescale.errors import BayescaleError, ExtrapolationWarning
from bayescale.forecasting import Allocation, Average, allocate, forecast
from bayescale.intervals import SAMPLE, defaults, interval
from bayescale.model import Fit
from bayescale.plots import style
from bayescale.plots.runs import group_labels
from bayescale.plots.style import colour, label_for, log_axis, loss_axis
from bayescale.units import as_counts, format_flop

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROFILE_POINTS = 40
#: Number of budgets that are drawn by default. A sweep has at least this many model sizes at a
#: budget.
MOST_BUDGETS, FEWEST_SIZES = 6, 4
#: Runs within this factor of a budget are drawn with it.
SAME_BUDGET = 1.25
#: A profile extends beyond the sizes of its runs and its optimum by these factors.
MARGIN = 2.0
#: Points on each axis of the contours, the levels, and the reach beyond the runs.
CONTOUR_POINTS, LEVELS, CONTOUR_REACH = 32, 12, 3.0


def plot_isoflop(
    fit: Fit | Average,
    C: float | str | Sequence[float | str] | None = None,
    *,
    group=None,
    ci_prob: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Loss against N at fixed budgets: the runs, posterior curves, and their minima.

    Parameters
    ----------
    fit : Fit or Average
        Of laws in N and D.
    C : float, str or sequence of these, optional
        Budgets in FLOP; by default those of the sweeps among the runs, or else six that span the
        runs.
    group : str or mapping, optional
        One fitted group. By default the first one.
    ci_prob : float, optional
        Probability of bands and bars; 90 % by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        A colour for each budget. Bands are credible intervals of the expected loss. At each N, D
        is what the budget allows. Runs within 25 % of a budget are drawn with it. Horizontal bars
        are the intervals of the optimal N, with a diamond at the N of the lowest expected loss.

    Raises
    ------
    BayescaleError
        If the laws are not functions of N and D.

    Notes
    -----
    IsoFLOP profiles: Hoffmann et al. 2022, arXiv:2203.15556, section 3.2.

    Examples
    --------
    >>> import bayescale as bs
    >>> fit = bs.fit(bs.Runs.example("openlm").query("dataset == 'c4'"), random_seed=1)
    >>> bs.plot_isoflop(fit, C=[1e19, 1e20]).get_xlabel()
    'parameters N'
    """
    group, name, in_group = _prepared(fit, group, "plot_isoflop")
    prob, kind = defaults(ci_prob)
    table = fit.runs.table[in_group]
    budgets = _sweeps(table) if C is None else np.sort(as_counts(C, "C"))
    ax = style.axes(ax)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        best = allocate(fit, budgets, group=group)
        for i, budget in enumerate(budgets):
            near = np.abs(np.log(table["C"] / budget)) <= np.log(SAME_BUDGET)
            _profile(ax, fit, best, i, table[near], group, (prob, kind))
    log_axis(ax.xaxis, "N")
    loss_axis(ax.yaxis)
    ax.set(
        xlabel=label_for("N"),
        ylabel=label_for("loss", fit.runs.loss_unit),
        title=f"Loss at fixed budgets by {style.name_of_law(fit)}{name}\n"
        f"{100 * prob:g} % bands; bars: optimal N",
    )
    ax.legend(title="FLOP", ncols=2, fontsize=9.5)
    return ax


def plot_contours(
    fit: Fit | Average,
    *,
    group=None,
    ci_prob: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Contours of the loss over N and D, with the runs and the compute-optimal path.

    Parameters
    ----------
    fit : Fit or Average
        Of laws in N and D.
    group : str or mapping, optional
        One fitted group. By default the first one.
    ci_prob : float, optional
        Probability of the band of the optimal path; 90 % by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        D on the x axis, N on the y axis. Contours are of the posterior median of the loss; runs
        have the colour of their measured loss. The thick line is the split with the lowest expected
        loss of each budget, the thin lines bound the interval of the optimum.

    Raises
    ------
    BayescaleError
        If the laws are not functions of N and D.

    Examples
    --------
    >>> import bayescale as bs
    >>> fit = bs.fit(bs.Runs.example("openlm").query("dataset == 'c4'"), random_seed=1)
    >>> bs.plot_contours(fit).get_ylabel()
    'parameters N'
    """
    from matplotlib.colors import LogNorm

    group, name, in_group = _prepared(fit, group, "plot_contours")
    prob, kind = defaults(ci_prob)
    table = fit.runs.table[in_group]
    N, D = (
        np.geomspace(table[c].min() / 1.3, table[c].max() * CONTOUR_REACH, CONTOUR_POINTS)
        for c in "ND"
    )
    across, up = np.meshgrid(D, N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        ahead = forecast(fit, N=up.ravel(), D=across.ravel(), group=group, drift="off")
        loss = ahead.data["mean"].median(SAMPLE).to_numpy().reshape(up.shape)
        factor = fit.runs.flop_factor
        C = np.geomspace(factor * N[0] * D[0], factor * N[-1] * D[-1], PROFILE_POINTS)
        best = allocate(fit, C, group=group).data
    ax = style.axes(ax)
    measured = table["loss"]
    norm = LogNorm(min(loss.min(), measured.min()), max(loss.max(), measured.max()))
    levels = np.geomspace(norm.vmin, norm.vmax, LEVELS)
    ax.contourf(across, up, loss, levels=levels, norm=norm, cmap="cividis_r", alpha=0.45)
    lines = ax.contour(across, up, loss, levels=levels, colors=style.GREY, linewidths=0.8)
    log_axis(ax.xaxis, "D")
    log_axis(ax.yaxis, "N")
    ax.set(xlim=(D[0], D[-1]), ylim=(N[0], N[-1]))
    ax.clabel(lines, levels[1::2], fmt="%.2f", fontsize=9)
    ax.plot(best["D_decision"], best["N_decision"], color=colour(1), linewidth=2.6,
            label="lowest expected loss")  # fmt: skip
    bounds = interval(best["N"], prob, kind)
    for bound, text in zip(bounds, (f"optimum, {100 * prob:g} %", None), strict=True):
        ax.plot(C / (factor * bound), bound, color=colour(1), linewidth=1.2, linestyle="--",
                label=text)  # fmt: skip
    ax.scatter(table["D"], table["N"], c=measured, norm=norm, cmap="cividis_r", s=46,
               edgecolor="black", linewidth=0.7, zorder=4, label="runs")  # fmt: skip
    ax.set(
        xlabel=label_for("D"),
        ylabel=label_for("N"),
        title=f"Median {label_for('loss', fit.runs.loss_unit)} by {style.name_of_law(fit)}{name}",
    )
    ax.legend(loc="upper left", fontsize=9.5, frameon=True, framealpha=0.85)
    return ax


def _prepared(fit, group, where: str):
    """The group, a phrase that names it, and which runs belong to it."""
    style.require(fit, (Fit, Average), where)
    if not fit.law.allocates:
        raise BayescaleError(
            f"law {fit.law.name!r} has the columns {', '.join(fit.law.columns)}: only a law in N "
            "and D has such a plot",
            where=where,
        )
    fit.warn_if_failed()
    group = (fit.members()[0] or None) if group is None else group
    if group is None:
        return None, "", np.ones(len(fit.runs), bool)
    label = ", ".join(map(str, group.values())) if isinstance(group, dict) else str(group)
    return group, f" for {label}", group_labels(fit.runs, fit.groups) == label


def _sweeps(table) -> np.ndarray:
    """Budgets at which there are runs of several sizes; else budgets that span the runs."""
    log_C = np.sort(np.log(table["C"].to_numpy()))
    clusters = np.split(log_C, np.flatnonzero(np.diff(log_C) > np.log(SAME_BUDGET)) + 1)
    found = []
    for cluster in clusters:
        inside = np.abs(np.log(table["C"]) - np.median(cluster)) <= np.log(SAME_BUDGET)
        narrow = np.ptp(cluster) <= 2 * np.log(SAME_BUDGET)
        if narrow and table["N"][inside].nunique() >= FEWEST_SIZES:
            found.append(float(np.exp(np.median(cluster))))
    if len(found) >= 2:
        return np.array(found[:: -(-len(found) // MOST_BUDGETS)])
    return np.exp(np.quantile(log_C, np.linspace(0.1, 1, MOST_BUDGETS)))


def _profile(ax: Axes, fit, best: Allocation, i: int, runs, group, probability) -> None:
    """Draw one budget: its band, its runs, and its minimum."""
    data, ink = best.data.isel(budget=i), colour(i)
    C = float(data["C"])
    low, high = (float(v) for v in interval(data["N"], *probability))
    sizes = [low, high, *runs["N"]]
    N = np.geomspace(min(sizes) / MARGIN, max(sizes) * MARGIN, PROFILE_POINTS)
    D = C / (fit.runs.flop_factor * N)
    mean = forecast(fit, N=N, D=D, group=group).data["mean"]
    ax.fill_between(N, *interval(mean, *probability), color=ink, alpha=0.2, linewidth=0)
    ax.plot(N, mean.median(SAMPLE), color=ink, label=format_flop(C, 2))
    ax.scatter(runs["N"], runs["loss"], color=ink, s=30, edgecolor="white", linewidth=0.6, zorder=3)
    lowest = float(data["loss_decision"].median())
    ax.hlines(lowest, low, high, color=ink, linewidth=2.5, zorder=4)
    ax.plot(float(data["N_decision"]), lowest, "D", color=ink, mec="white", ms=7, zorder=5)

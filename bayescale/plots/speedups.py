"""Compute multipliers against compute, or against the target loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bayescale.decisions import QUANTITIES, Speedup
from bayescale.intervals import defaults
from bayescale.plots import style
from bayescale.plots.style import colour, label_for, log_axis, loss_axis, times_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Characters of a label that fit along the axis.
LONGEST = 46


def plot_speedup(speedup: Speedup, *, ci_prob: float | None = None, ax: Axes | None = None) -> Axes:
    """The compute multiplier of a recipe over another, against its compute or the target loss.

    Parameters
    ----------
    speedup : Speedup
        At several points, such as ``at=bs.grid(1e19, 1e23)``. With one or two, bars are drawn.
    ci_prob : float, optional
        Probability of the band; 90 % by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Above 1, the first recipe is better. Against compute, the region beyond the largest run of
        the two recipes is shaded. Against target losses, the axis runs from high losses to low
        ones, that is, towards more compute.

    Warns
    -----
    ConvergenceWarning
        If a fit failed its check.

    Examples
    --------
    >>> import bayescale as bs
    >>> fit = bs.fit(bs.Runs.example("openlm"), groups="dataset", random_seed=1)
    >>> found = bs.speedup(fit, "redpajama", over="c4", at=bs.grid(1e19, 1e21, 8))
    >>> bs.plot_speedup(found).get_ylabel()
    'compute of c4 / compute of redpajama'
    """
    style.require(speedup, Speedup, "plot_speedup")
    speedup.fit.warn_if_failed()
    if speedup.fit_over is not speedup.fit:
        speedup.fit_over.warn_if_failed()
    ax = style.axes(ax)
    frame = speedup.to_dataframe("summary", ci_prob).query("variable == 'multiplier'")
    by_loss = bool(frame["target"].notna().all())
    frame = frame.sort_values("target" if by_loss else "at")
    at = frame["target" if by_loss else "at"].to_numpy()
    name = f"{100 * defaults(ci_prob)[0]:g} %"
    if len(at) > 2:
        ax.fill_between(
            at, frame["lower"], frame["upper"], color=colour(0), alpha=0.25, linewidth=0, label=name
        )
        ax.plot(at, frame["median"], color=colour(0), label="median")
    else:
        ax.vlines(at, frame["lower"], frame["upper"], color=colour(0), linewidth=3, label=name)
        ax.plot(at, frame["median"], "o", color=colour(0), label="median")
    ax.axhline(1, color=style.GREY, linewidth=1.4, linestyle="--", label="equal")
    ax.set_yscale("log")  # the range before it may begin below zero
    times_axis(ax.yaxis)
    if by_loss:
        loss_axis(ax.xaxis)
        ax.invert_xaxis()
        label = f"target {label_for('loss', speedup.fit.runs.loss_unit)}"
    else:
        log_axis(ax.xaxis, speedup.scale)
        label = f"{label_for(speedup.scale)} of {speedup.name}"
        _shade_beyond(ax, speedup)
    quantity = QUANTITIES[speedup.scale]
    ax.set(
        xlabel=label,
        ylabel=_in_lines(f"{quantity} of {speedup.over} /", f"{quantity} of {speedup.name}"),
        title=f"{speedup.name} is better above 1, {speedup.over} below",
    )
    ax.legend()
    return ax


def _in_lines(*parts: str) -> str:
    """The parts of a label side by side, or below each other if they are long."""
    return ("\n" if sum(map(len, parts)) > LONGEST else " ").join(parts)


def _shade_beyond(ax: Axes, speedup: Speedup) -> None:
    """Shade the region beyond the largest run of both fits."""
    runs = [fit.runs.table[speedup.scale] for fit in (speedup.fit, speedup.fit_over)]
    largest = max(float(each.max()) for each in runs)
    left, right = ax.get_xlim()
    if left < largest < right:
        ax.axvspan(largest, right, color="#f4f1ea", zorder=0, linewidth=0, label="beyond the runs")
        ax.set_xlim(left, right)

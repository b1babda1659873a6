"""Plot of a simulation-based calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayescale.evaluation import Calibration, envelope
from bayescale.plots import style
from bayescale.plots.style import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_sbc(calibration: Calibration, *, prob: float = 0.95, ax: Axes | None = None) -> Axes:
    """Simulation-based calibration: ranks of true parameters in their posteriors.

    Parameters
    ----------
    calibration : Calibration
    prob : float
        Probability that the whole curve of a scalar lies inside the envelope, if its posterior is
        calibrated.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        For each scalar the empirical distribution function of its ranks minus the uniform one.
        The curve of a calibrated posterior lies inside the envelope. The difference plot
        and its envelope are those of Säilynoja et al. 2022, arXiv:2103.10522.
    """
    style.require(calibration, Calibration, "plot_sbc")
    ax = style.axes(ax)
    n = len(calibration.pit)
    at, lower, upper = envelope(n, prob)
    ax.fill_between(
        at,
        lower - at,
        upper - at,
        color="#dddddd",
        linewidth=0,
        label=f"{100 * prob:g} % envelope",
    )
    many = calibration.pit.shape[1] > len(style.COLOURS)
    for i, name in enumerate(calibration.pit):
        count = np.searchsorted(np.sort(calibration.pit[name]), at, side="right")
        ax.plot(
            at,
            count / n - at,
            color=colour(i),
            linewidth=1.0 if many else 1.8,
            alpha=0.6 if many else 1,
            label=None if many else name,
        )
    ax.axhline(0, color=style.GREY, linewidth=0.8)
    ax.set(
        xlabel="rank of the true value in its posterior",
        ylabel="empirical minus uniform distribution",
        title=f"{calibration.law}: {n} simulated tables, {calibration.pit.shape[1]} scalars",
    )
    ax.legend(ncols=2, fontsize=9.5)
    return ax

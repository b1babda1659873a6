"""Plots: each function draws one result and returns matplotlib axes."""

from bayescale.plots.coverage import plot_coverage
from bayescale.plots.emergence import plot_emergence
from bayescale.plots.exponents import plot_exponents, plot_staircase
from bayescale.plots.fits import plot_fit, plot_posterior, plot_residuals
from bayescale.plots.forecasts import plot_allocation, plot_forecast
from bayescale.plots.rollouts import plot_rollout
from bayescale.plots.runs import plot_runs
from bayescale.plots.sbc import plot_sbc
from bayescale.plots.speedups import plot_speedup
from bayescale.plots.style import png
from bayescale.plots.surfaces import plot_contours, plot_isoflop
from bayescale.plots.tasks import plot_breaks, plot_link

__all__ = [
    "plot_allocation",
    "plot_breaks",
    "plot_contours",
    "plot_coverage",
    "plot_emergence",
    "plot_exponents",
    "plot_fit",
    "plot_forecast",
    "plot_isoflop",
    "plot_link",
    "plot_posterior",
    "plot_residuals",
    "plot_rollout",
    "plot_runs",
    "plot_sbc",
    "plot_speedup",
    "plot_staircase",
    "png",
]

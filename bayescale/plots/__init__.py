"""Pictures: each function takes a result and returns matplotlib axes."""

from bayescale.plots import exponents, fits, style, tasks
from bayescale.plots.coverage import plot_coverage, plot_rollout
from bayescale.plots.exponents import plot_exponents, plot_staircase
from bayescale.plots.fits import (
    plot_allocation,
    plot_fit,
    plot_forecast,
    plot_posterior,
    plot_residuals,
    plot_runs,
    plot_sbc,
)
from bayescale.plots.tasks import plot_breaks, plot_link

__all__ = [
    "exponents",
    "fits",
    "plot_allocation",
    "plot_breaks",
    "plot_coverage",
    "plot_exponents",
    "plot_fit",
    "plot_forecast",
    "plot_link",
    "plot_posterior",
    "plot_residuals",
    "plot_rollout",
    "plot_runs",
    "plot_sbc",
    "plot_staircase",
    "style",
    "tasks",
]

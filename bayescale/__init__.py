"""Bayesian modelling of neural scaling laws: forecasts and allocations with credible intervals.

The names below are all there is; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

_WHERE = {
    "Runs": "runs",
    "scores": "examples",
    "count": "counting",
    "Count": "counting",
    "local_exponent": "counting",
    "Law": "law",
    "Published": "law",
    "Positive": "priors",
    "Fraction": "priors",
    "Real": "priors",
    "Fit": "fitting",
    "fit": "fitting",
    "breaks": "emergence",
    "Breaks": "emergence",
    "metric_test": "critique",
    "MetricTest": "critique",
    "NEW": "posterior",
    "forecast": "forecasting",
    "Forecast": "forecasting",
    "link": "downstream",
    "Link": "downstream",
    "forecast_tasks": "taskcasting",
    "TaskForecast": "taskcasting",
    "rollout": "rollouts",
    "Rollout": "rollouts",
    "compare": "comparison",
    "Comparison": "comparison",
    "average": "comparison",
    "hypotheses": "verdict",
    "Hypotheses": "verdict",
    "Average": "averaging",
    "allocate": "allocation",
    "Allocation": "allocation",
    "regret": "allocation",
    "simulate": "simulation",
    "calibrate": "calibration",
    "report": "reporting",
    "grid": "units",
    "flop": "units",
    "parse_count": "units",
    "format_count": "units",
    "plot_runs": "plots",
    "plot_fit": "plots",
    "plot_posterior": "plots",
    "plot_forecast": "plots",
    "plot_allocation": "plots",
    "plot_residuals": "plots",
    "plot_ranks": "plots",
    "plot_calibration": "reliability",
    "plot_rollout": "reliability",
    "plot_breaks": "panels",
    "plot_link": "panels",
    "plot_exponents": "forest",
    "plot_staircase": "forest",
    "RunsError": "errors",
    "LawError": "errors",
    "FitError": "errors",
    "RunsWarning": "errors",
    "ConvergenceWarning": "errors",
    "ExtrapolationWarning": "errors",
}
_MODULES = ("laws",)
__version__ = "0.1.0"
__all__ = sorted([*_WHERE, *_MODULES])

if TYPE_CHECKING:
    from bayescale import laws as laws


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f"bayescale.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'bayescale' has no attribute {name!r}")
    value = getattr(import_module(f"bayescale.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

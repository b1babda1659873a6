"""Decisions from fits: which recipe, at what cost, and how well forecasts held."""

from bayescale.decisions.speedup_results import Speedup
from bayescale.decisions.speedups import speedup

__all__ = ["Speedup", "speedup"]

"""Decisions from fits: which recipe, at what cost, and how well forecasts held."""

from bayescale.decisions.cost import Bill, Cost, as_flops
from bayescale.decisions.outcomes import Outcome, outcome
from bayescale.decisions.preregistration import Preregistration, preregister
from bayescale.decisions.speedup_results import Speedup
from bayescale.decisions.speedups import speedup
from bayescale.decisions.trajectories import Trajectory, trajectory

__all__ = [
    "Bill",
    "Cost",
    "Outcome",
    "Preregistration",
    "Speedup",
    "Trajectory",
    "as_flops",
    "outcome",
    "preregister",
    "speedup",
    "trajectory",
]

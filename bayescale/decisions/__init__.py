"""Decisions from fits: which recipe, at what cost, which runs next, and how well forecasts held."""

from bayescale.decisions.cost import Bill, Cost, as_flops
from bayescale.decisions.designs import DesignScore, design
from bayescale.decisions.outcomes import Outcome, outcome
from bayescale.decisions.preregistration import Preregistration, preregister
from bayescale.decisions.speedup_results import Speedup
from bayescale.decisions.speedups import speedup
from bayescale.decisions.suggestions import Suggestion, suggest
from bayescale.decisions.trajectories import Trajectory, trajectory

__all__ = [
    "Bill",
    "Cost",
    "DesignScore",
    "Outcome",
    "Preregistration",
    "Speedup",
    "Suggestion",
    "Trajectory",
    "as_flops",
    "design",
    "outcome",
    "preregister",
    "speedup",
    "suggest",
    "trajectory",
]

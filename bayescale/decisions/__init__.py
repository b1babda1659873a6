"""Decisions from fits: which recipe, which runs next, and how well forecasts held."""

from bayescale.decisions.designs import DesignScore, design
from bayescale.decisions.outcomes import Outcome, outcome
from bayescale.decisions.paths import MOST_TIMES, QUANTITIES
from bayescale.decisions.preregistration import Preregistration, preregister
from bayescale.decisions.speedup_results import Speedup
from bayescale.decisions.speedups import speedup
from bayescale.decisions.suggestion_results import Suggestion
from bayescale.decisions.suggestions import suggest
from bayescale.decisions.trajectories import Trajectory, trajectory
from bayescale.decisions.underway import Underway

__all__ = [
    "MOST_TIMES",
    "QUANTITIES",
    "DesignScore",
    "Outcome",
    "Preregistration",
    "Speedup",
    "Suggestion",
    "Trajectory",
    "Underway",
    "design",
    "outcome",
    "preregister",
    "speedup",
    "suggest",
    "trajectory",
]

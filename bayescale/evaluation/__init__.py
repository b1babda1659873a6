"""Coverage and scores of forecasts, and which law the runs support."""

from bayescale.evaluation import scores
from bayescale.evaluation.claims import LARGE
from bayescale.evaluation.comparison import NOISE, Comparison, average, compare
from bayescale.evaluation.ensembles import OF_SIZE, ensemble, family
from bayescale.evaluation.hypothesis_comparison import Hypotheses, hypotheses
from bayescale.evaluation.jobs import BAYESCALE
from bayescale.evaluation.rollout_results import AVERAGE, DISTANCES, Rollout
from bayescale.evaluation.rollouts import rollout
from bayescale.evaluation.sbc import Calibration, calibrate, envelope

__all__ = [
    "AVERAGE",
    "BAYESCALE",
    "DISTANCES",
    "LARGE",
    "NOISE",
    "OF_SIZE",
    "Calibration",
    "Comparison",
    "Hypotheses",
    "Rollout",
    "average",
    "calibrate",
    "compare",
    "ensemble",
    "envelope",
    "family",
    "hypotheses",
    "rollout",
    "scores",
]

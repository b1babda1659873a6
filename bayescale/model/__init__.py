"""The statistical model: from options to a specification, a posterior, and what it predicts."""

from bayescale.model import drift
from bayescale.model.drift import AHEAD_AVERAGED
from bayescale.model.fitting import PRIOR_DRAWS, Fit, fit, fit_design
from bayescale.model.hierarchy import SCALE_SPREAD, Effect, Parameter
from bayescale.model.labels import NEW
from bayescale.model.posterior import at_runs, parameters, settle_groups
from bayescale.model.predictive import predict
from bayescale.model.pymc_model import target
from bayescale.model.simulation import draw_prior, simulate, simulate_design
from bayescale.model.specify import design
from bayescale.model.storage import atomically

__all__ = [
    "AHEAD_AVERAGED",
    "NEW",
    "PRIOR_DRAWS",
    "SCALE_SPREAD",
    "Effect",
    "Fit",
    "Parameter",
    "at_runs",
    "atomically",
    "design",
    "draw_prior",
    "drift",
    "fit",
    "fit_design",
    "parameters",
    "predict",
    "settle_groups",
    "simulate",
    "simulate_design",
    "target",
]

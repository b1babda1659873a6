"""The statistical model: from options to a specification, a posterior, and what it predicts."""

from bayescale.model import drift
from bayescale.model.arviz_groups import PRIOR_DRAWS
from bayescale.model.design import SCALE_SPREAD, Effect, Parameter, design, draw_prior
from bayescale.model.drift import AHEAD, AHEAD_AVERAGED, walked
from bayescale.model.files import atomically
from bayescale.model.fitting import Fit, fit, fit_design
from bayescale.model.posterior import NEW, at_runs, parameters, settle_groups
from bayescale.model.predictive import predict
from bayescale.model.pymc_model import target
from bayescale.model.simulation import simulate, simulate_design
from bayescale.model.storage import Storable

__all__ = [
    "AHEAD",
    "AHEAD_AVERAGED",
    "NEW",
    "PRIOR_DRAWS",
    "SCALE_SPREAD",
    "Effect",
    "Fit",
    "Parameter",
    "Storable",
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
    "walked",
]

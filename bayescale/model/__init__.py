"""The statistical model: its specification, its posterior, and the posterior predictive."""

from bayescale.model import drift, small_runs
from bayescale.model.arviz_groups import PRIOR_DRAWS
from bayescale.model.density import is_small
from bayescale.model.design import Design, has_checkpoints
from bayescale.model.engines import expected_seconds, sample_design
from bayescale.model.files import atomically, is_table
from bayescale.model.findings import Check, Finding, merged
from bayescale.model.fitting import fit, fit_design
from bayescale.model.hierarchy import Effect, Parameter
from bayescale.model.labels import (
    NEW,
    labels_in_points,
    number_of_points,
    reserved,
    settle_labels,
)
from bayescale.model.literature_priors import LiteraturePriors, priors_from_literature
from bayescale.model.posterior import at_runs, parameters, settle_groups
from bayescale.model.predictive import drift_variance, predict
from bayescale.model.pymc_model import declared
from bayescale.model.results import Fit, Mixture, fits_by_law
from bayescale.model.sensitivity import Sensitivity, sensitivity
from bayescale.model.simulation import draw_prior, simulate, simulate_design
from bayescale.model.specify import design
from bayescale.model.storage import Storable, load_one_of

__all__ = [
    "NEW",
    "PRIOR_DRAWS",
    "Check",
    "Design",
    "Effect",
    "Finding",
    "Fit",
    "LiteraturePriors",
    "Mixture",
    "Parameter",
    "Sensitivity",
    "Storable",
    "at_runs",
    "atomically",
    "declared",
    "design",
    "draw_prior",
    "drift",
    "drift_variance",
    "expected_seconds",
    "fit",
    "fit_design",
    "fits_by_law",
    "has_checkpoints",
    "is_small",
    "is_table",
    "labels_in_points",
    "load_one_of",
    "merged",
    "number_of_points",
    "parameters",
    "predict",
    "priors_from_literature",
    "reserved",
    "sample_design",
    "sensitivity",
    "settle_groups",
    "settle_labels",
    "simulate",
    "simulate_design",
    "small_runs",
]

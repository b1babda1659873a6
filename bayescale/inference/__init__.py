"""Samplers of posterior densities, independent of the model, and convergence diagnostics."""

from bayescale.inference import hierarchies, importance, nuts
from bayescale.inference.bridge import Evidence, bridge_halves
from bayescale.inference.diagnostics import (
    Convergence,
    ImportanceDiagnostics,
    convergence,
    flatten,
    scalars,
)
from bayescale.inference.execution import quiet, run_all
from bayescale.inference.hierarchies import Hierarchy, moved_scale
from bayescale.inference.mixtures import Mixture
from bayescale.inference.mixtures import at_modes as mixture_at_modes
from bayescale.inference.mixtures import fitted as fitted_mixture
from bayescale.inference.modes import Density, find_modes
from bayescale.inference.pareto import pareto_k, smoothed
from bayescale.inference.smc import (
    POOR_ERROR,
    PosteriorSample,
    Target,
    integrate,
    systematic_resample,
    tempered_resample,
)

__all__ = [
    "POOR_ERROR",
    "Convergence",
    "Density",
    "Evidence",
    "Hierarchy",
    "ImportanceDiagnostics",
    "Mixture",
    "PosteriorSample",
    "Target",
    "bridge_halves",
    "convergence",
    "find_modes",
    "fitted_mixture",
    "flatten",
    "hierarchies",
    "importance",
    "integrate",
    "mixture_at_modes",
    "moved_scale",
    "nuts",
    "pareto_k",
    "quiet",
    "run_all",
    "scalars",
    "smoothed",
    "systematic_resample",
    "tempered_resample",
]

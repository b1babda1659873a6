"""Samplers of posterior densities, independent of the model, and convergence diagnostics."""

from bayescale.inference import nuts
from bayescale.inference.diagnostics import (
    BFMI_ABOVE,
    ESS_ABOVE,
    R_HAT_BELOW,
    Convergence,
    convergence,
    flatten,
    scalars,
)
from bayescale.inference.smc import (
    POOR_ERROR,
    PosteriorSample,
    Target,
    integrate,
    systematic_resample,
)

__all__ = [
    "BFMI_ABOVE",
    "ESS_ABOVE",
    "POOR_ERROR",
    "R_HAT_BELOW",
    "Convergence",
    "PosteriorSample",
    "Target",
    "convergence",
    "flatten",
    "integrate",
    "nuts",
    "scalars",
    "systematic_resample",
]

"""Samplers of posterior densities, independent of the model, and convergence diagnostics."""

from bayescale.inference import nuts
from bayescale.inference.diagnostics import (
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
    "POOR_ERROR",
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

"""Samplers and their diagnostics. They know densities, not the models that have them."""

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
from bayescale.inference.smc import Cloud, Problem, integrate, systematic

__all__ = [
    "BFMI_ABOVE",
    "ESS_ABOVE",
    "R_HAT_BELOW",
    "Cloud",
    "Convergence",
    "Problem",
    "convergence",
    "flatten",
    "integrate",
    "nuts",
    "scalars",
    "systematic",
]

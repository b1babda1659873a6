"""Samplers and their diagnostics. They know densities, not the models that have them."""

from bayescale.inference import nuts
from bayescale.inference.diagnostics import (
    Convergence,
    convergence,
    flatten,
    scalars,
)
from bayescale.inference.smc import Cloud, Problem, integrate, systematic

__all__ = [
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

"""A family that contains the laws of Hoffmann et al. and of Kaplan et al. as special cases."""

import numpy as np

from bayescale.laws.base import Law
from bayescale.priors import Positive


def loss(N, D, *, E, A, B, alpha, beta, q):
    """With `q` = 1 the terms of model and data add (Hoffmann et al.). With `E` = 0 and `beta` = `q`
    it is the joint law of Kaplan et al. As `q` goes to 0, only the larger term remains."""
    model, data = A * N**-alpha, B * D**-beta
    # This is E + (model**(1 / q) + data**(1 / q))**q, whose powers would overflow for small q.
    z = np.log(data / model) / q
    return E + model * np.exp(q * ((z + abs(z)) / 2 + np.log1p(np.exp(-abs(z)))))


def optimum(ND, *, E, A, B, alpha, beta, q):
    return ((alpha / beta) ** q * A / B * ND**beta) ** (1 / (alpha + beta))


def constants(N, D, *, E, A, B, alpha, beta, q):
    return {"A": A * N**alpha, "B": B * D**beta}


skaling = Law(
    name="skaling",
    loss=loss,
    optimum=optimum,
    constants=constants,
    priors=dict(
        # In units of the typical loss of the runs: from near zero (Kaplan's law has no floor) to
        # 0.6, the share of the floor for text.
        E=Positive(0.35, spread=2.5, between=1.1, of="loss"),
        # Reducible loss: from a twentieth above a high floor to the whole loss without a floor.
        A=Positive(0.28, spread=2.5, between=1.2, of="loss"),
        B=Positive(0.28, spread=2.5, between=1.2, of="loss"),
        # From Kaplan's exponents without a floor (0.08) to exponents above a floor (0.6).
        alpha=Positive(0.22, spread=2.0, between=1.1),
        beta=Positive(0.22, spread=2.0, between=1.1),
        # The geometric mean of Kaplan's 0.1 and Hoffmann's 1.
        q=Positive(0.32, spread=2.5, between=1.2),
    ),
    falling=("N", "D"),
    # `q` is a property of the law, not of a corpus.
    poolable=("E", "A", "B", "alpha", "beta"),
    reference="Kaplan et al. 2020, arXiv:2001.08361, and Hoffmann et al. 2022, arXiv:2203.15556",
    regime="parameters and tokens",
    formula="E + ((A * N**-alpha)**(1/q) + (B * D**-beta)**(1/q))**q",
    use="Contains `chinchilla` (q = 1), `kaplan_floor` (beta = q) and `kaplan` (E = 0 and beta = "
    "q). With q = 1 the two terms are added; the smaller q is, the more the larger term alone"
    " determines the loss. Part of the default family.",
)

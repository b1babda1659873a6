"""One family that holds both Hoffmann's and Kaplan's laws, and the blends between them."""

import numpy as np

from bayescale.laws.base import Law
from bayescale.priors import Positive


def loss(N, D, *, E, A, B, alpha, beta, q):
    """With `q` = 1 the shortages of model and data add (Hoffmann et al.); with `E` = 0 and `beta`
    = `q` this is Kaplan's joint law; as `q` falls towards 0 only the greater shortage counts."""
    model, data = A * N**-alpha, B * D**-beta
    # E + (model**(1 / q) + data**(1 / q))**q, whose powers overflow where q is small.
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
        # From next to nothing (0.16, where Kaplan's law has none) to all of a text model's 1.8.
        E=Positive(1.0, spread=2.5, between=1.1),
        # What is left above it: 0.2 nats over a high limit to the whole loss without one.
        A=Positive(0.8, spread=2.5, between=1.2),
        B=Positive(0.8, spread=2.5, between=1.2),
        # Kaplan's exponents without a limit (0.08) to those above one (0.6).
        alpha=Positive(0.22, spread=2.0, between=1.1),
        beta=Positive(0.22, spread=2.0, between=1.1),
        # Halfway on a log scale between Kaplan's 0.1 and Hoffmann's 1: either is as likely.
        q=Positive(0.32, spread=2.5, between=1.2),
    ),
    falling=("N", "D"),
    # How the two shortages blend is a matter of the law, not of a corpus.
    poolable=("E", "A", "B", "alpha", "beta"),
    reference="Kaplan et al. 2020, arXiv:2001.08361, and Hoffmann et al. 2022, arXiv:2203.15556",
)

"""An irreducible loss plus a product of powers, as in popular accounts of scaling."""

from bayescale.laws.base import Law
from bayescale.priors import Positive


def loss(N, D, *, E, A, alpha, beta):
    """At a fixed N times D the loss depends on alpha - beta only, so the best split lies at a
    boundary. `bayescale.allocate` raises an error for this law."""
    return E + A * N**-alpha * D**-beta


def constants(N, D, *, E, A, alpha, beta):
    return {"A": A * N**alpha * D**beta}


multiplicative = Law(
    name="multiplicative",
    loss=loss,
    constants=constants,
    priors=dict(
        # As in `chinchilla`, in units of the typical loss of the runs.
        E=Positive(0.55, spread=1.5, between=1.1, of="loss"),
        # Both terms of `chinchilla` at once.
        A=Positive(0.28, spread=2.2, between=1.2, of="loss"),
        # Smaller than in a law of one column, because both columns share the decrease.
        alpha=Positive(0.2, spread=1.7, between=1.1),
        beta=Positive(0.2, spread=1.7, between=1.1),
    ),
    falling=("N", "D"),
    reference="a simplification of Kaplan et al. 2020, arXiv:2001.08361",
    regime="parameters and tokens",
    formula="E + A * N**-alpha * D**-beta",
    use="A simplification that is often quoted: the powers of N and of D are multiplied. It has "
    "no best split of a budget. Use it only to compare laws.",
)

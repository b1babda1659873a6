"""Hoffmann et al. 2022: an irreducible loss plus power laws in parameters and in tokens."""

from bayescale.laws.base import Law, Published
from bayescale.priors import Positive


def loss(N, D, *, E, A, B, alpha, beta):
    return E + A * N**-alpha + B * D**-beta


def optimum(ND, *, E, A, B, alpha, beta):
    return (alpha * A / (beta * B) * ND**beta) ** (1 / (alpha + beta))


def constants(N, D, *, E, A, B, alpha, beta):
    return {"A": A * N**alpha, "B": B * D**beta}


chinchilla = Law(
    name="chinchilla",
    loss=loss,
    optimum=optimum,
    constants=constants,
    priors=dict(
        # Text, in nats per token: E is 1.3 to 2.0 in refits (one sd is a factor of 1.4).
        E=Positive(1.7, spread=1.4, between=1.1),
        # Reducible loss at the centre of a sweep, 90 %: 0.1 to 1.5 nats.
        A=Positive(0.4, spread=2.2, between=1.2),
        B=Positive(0.4, spread=2.2, between=1.2),
        # Published exponents of text sweeps: 0.18 to 0.68.
        alpha=Positive(0.35, spread=1.5, between=1.1),
        beta=Positive(0.35, spread=1.5, between=1.1),
    ),
    falling=("N", "D"),
    reference="Hoffmann et al. 2022, arXiv:2203.15556",
    published=dict(
        hoffmann2022=Published(
            "Hoffmann et al. 2022, approach 3",
            dict(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
            "Hoffmann et al. 2022, arXiv:2203.15556",
        ),
        besiroglu2024=Published(
            "Besiroglu et al. 2024, refit",
            dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658),
            "Besiroglu et al. 2024, arXiv:2404.10102",
        ),
    ),
)

"""Mixtures of experts: a law of the granularity of experts.

Krajewski et al. 2024, arXiv:2402.07871. Finer experts:

>>> law = granular_experts
>>> law.at("krajewski2024", N=1e9, D=2e10, granularity=[1, 4, 16]).round(2).tolist()
[3.28, 3.17, 3.12]
"""

from bayescale.laws.base import Law, Published
from bayescale.priors import Fraction, Positive


def loss(N, D, granularity, *, E, A, B, alpha, beta, share, gamma):
    """`share` is the part of the term of the model that finer experts remove."""
    return E + A * (1 - share + share * granularity**-gamma) * N**-alpha + B * D**-beta


def constants(N, D, granularity, *, E, A, B, alpha, beta, share, gamma):
    return {"A": A * N**alpha, "B": B * D**beta}


granular_experts = Law(
    name="granular_experts",
    loss=loss,
    constants=constants,
    priors=dict(
        E=Positive(0.4, spread=1.8, between=1.1, of="loss"),
        A=Positive(0.25, spread=2.0, between=1.2, of="loss"),
        B=Positive(0.2, spread=2.0, between=1.2, of="loss"),
        alpha=Positive(0.2, spread=1.7, between=1.1),
        beta=Positive(0.2, spread=1.7, between=1.1),
        share=Fraction(0.1, spread=2.5),
        gamma=Positive(0.6, spread=1.7),
    ),
    falling=("N", "D", "granularity"),
    units={"granularity": 1},
    settings=("granularity",),
    reference="Krajewski et al. 2024, arXiv:2402.07871",
    published=dict(
        krajewski2024=Published(
            "Krajewski et al. 2024, mixture of experts",
            # They write g G**-gamma + a; A = g + a and share = g / (g + a).
            dict(E=0.47, A=20.2, B=30.8, alpha=0.115, beta=0.147, share=2.1 / 20.2, gamma=0.58),
            "Krajewski et al. 2024, arXiv:2402.07871",
        )
    ),
    regime="mixture of experts",
    formula="E + A * (1 - share + share * granularity**-gamma) * N**-alpha + B * D**-beta",
    use="Mixtures of experts of different granularity, which is the ratio of the hidden size of a"
    " dense model to that of one expert.",
)

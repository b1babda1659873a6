"""Mixtures of experts: laws of the number of experts and of their granularity.

Clark et al. 2022, arXiv:2202.01169, and Krajewski et al. 2024, arXiv:2402.07871. Finer experts:

>>> law = granular_experts
>>> law.at("krajewski2024", N=1e9, D=2e10, granularity=[1, 4, 16]).round(2).tolist()
[3.28, 3.17, 3.12]
"""

import numpy as np

from bayescale.laws.base import Law, Published
from bayescale.priors import Fraction, Positive, Real


def loss(N, experts, *, A, alpha, beta, interaction, start, limit):
    """Log loss is bilinear in the logs of parameters and of effective experts. `A` and `alpha` are
    those of dense models (one expert). The number of experts saturates at `limit`."""

    def effective(number):
        return 1 / (1 / (number - 1 + start) + 1 / limit)

    gain = np.log(effective(experts) / effective(1.0))
    return A * np.exp(-alpha * np.log(N) - beta * gain + interaction * np.log(N) * gain)


def granular(N, D, granularity, *, E, A, B, alpha, beta, share, gamma):
    """`share` is the part of the term of the model that finer experts remove."""
    return E + A * (1 - share + share * granularity**-gamma) * N**-alpha + B * D**-beta


def granular_constants(N, D, granularity, *, E, A, B, alpha, beta, share, gamma):
    return {"A": A * N**alpha, "B": B * D**beta}


routed_experts = Law(
    name="routed_experts",
    loss=loss,
    priors=dict(
        # The loss of a dense model at the centre of the runs, without a floor.
        A=Positive(1.05, spread=1.3, between=1.1, of="loss"),
        alpha=Positive(0.08, spread=1.5, between=1.1),
        # Loss falls by 3 to 15 % from 1 expert to 10.
        beta=Positive(0.03, spread=2.0, between=1.2),
        # The gain may shrink or grow with model size.
        interaction=Real(0.003, sd=0.005),
        start=Positive(2.0, spread=2.0),
        limit=Positive(350.0, spread=2.5),
    ),
    units={"experts": 1},
    settings=("experts",),
    reference="Clark et al. 2022, arXiv:2202.01169",
    regime="mixture of experts",
    formula="A * N**-alpha * (e / e_1)**(interaction * log(N) - beta)  with  "
    "e = 1 / (1 / (experts - 1 + start) + 1 / limit),  e_1 = 1 / (1 / start + 1 / limit)",
    use="Dense and routed models trained on equally many tokens. N is the size of the dense model "
    "of the same cost; experts = 1 is a dense model.",
)

granular_experts = Law(
    name="granular_experts",
    loss=granular,
    constants=granular_constants,
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
    use="Mixtures of experts of different granularity: the ratio of the hidden size of a dense "
    "model to that of one expert.",
)

"""Mixtures of experts: a law of the number of experts.

Clark et al. 2022, arXiv:2202.01169. One, eight and 64 experts:

>>> values = dict(A=2.5, alpha=0.08, beta=0.04, interaction=0.005, start=2.0, limit=300.0)
>>> [round(float(loss(1.0, number, **values)), 2) for number in (1, 8, 64)]
[2.5, 2.36, 2.19]
"""

import numpy as np

from bayescale.laws.base import Law
from bayescale.priors import Positive, Real


def loss(N, experts, *, A, alpha, beta, interaction, start, limit):
    """Log loss is bilinear in the logs of parameters and of effective experts. `A` and `alpha` are
    those of dense models (one expert). The number of experts saturates at `limit`."""

    def effective(number):
        return 1 / (1 / (number - 1 + start) + 1 / limit)

    gain = np.log(effective(experts) / effective(1.0))
    return A * np.exp(-alpha * np.log(N) - beta * gain + interaction * np.log(N) * gain)


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
    use="Dense and routed models that are trained on equally many tokens. N is the size of the "
    "dense model of the same cost; experts = 1 is a dense model.",
)

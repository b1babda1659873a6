"""Repeated data: laws of parameters, tokens seen and unique tokens.

Muennighoff et al. 2023, arXiv:2305.16264. Forty epochs are worth about thirteen times the data:

>>> law = repeated_data
>>> law.at("muennighoff2023", N=1e9, D=[1e10, 4e10, 4e11], U=1e10).round(2).tolist()
[2.67, 2.5, 2.39]
"""

import numpy as np

from bayescale.laws.base import TWO_POWERS, Law, Published
from bayescale.priors import Positive


def worth(ratio, R):
    """The worth of a quantity that is `ratio` times what is unique, as a share of the quantity."""
    excess = (ratio - 1 + abs(ratio - 1)) / 2  # zero if nothing is repeated
    return (1 + R * (1 - np.exp(-excess / R))) / (1 + excess)


def loss(N, D, U, *, E, A, B, alpha, beta, R_D, R_N):
    """Muennighoff et al.: each repetition of the data, and each parameter beyond those that the
    unique tokens are best for, is worth less than the one before."""
    most = (alpha * A / (beta * B) * U**beta) ** (1 / alpha)  # the best N for U tokens
    n, d = N * worth(N / most, R_N), D * worth(D / U, R_D)
    return E + A * n**-alpha + B * d**-beta


repeated_data = Law(
    name="repeated_data",
    loss=loss,
    # The epochs, and the excess of parameters, that are worth 1 - 1/e of their limit. 90 %: 4 to 46
    # epochs; strong weight decay allows more.
    priors=dict(**TWO_POWERS, R_D=Positive(14, spread=2), R_N=Positive(5, spread=2)),
    falling=("D", "U"),  # for few unique tokens all parameters but the first are worth nothing
    units={"U": "D"},
    settings=("U",),
    reference="Muennighoff et al. 2023, arXiv:2305.16264",
    published=dict(
        muennighoff2023=Published(
            "Muennighoff et al. 2023",
            # Their code states the logarithms of E, A and B.
            dict(E=float(np.exp(0.6254804)), A=float(np.exp(6.255414)), B=float(np.exp(7.3049974)),
                 alpha=0.3526596, beta=0.3526596, R_D=15.387756, R_N=5.309743),
            "Muennighoff et al. 2023, arXiv:2305.16264",
        )
    ),
    regime="repeated data",
    formula="E + A * n**-alpha + B * d**-beta  with  x = max(D / U - 1, 0),  "
    "d = D * (1 + R_D * (1 - exp(-x / R_D))) / (1 + x),  "
    "n_U = (alpha * A / (beta * B) * U**beta)**(1/alpha),  y = max(N / n_U - 1, 0),  "
    "n = N * (1 + R_N * (1 - exp(-y / R_N))) / (1 + y)",
    use="Runs that see their data several times. U is the number of unique tokens. A repeated "
        "token is worth less than a new one, but never increases the loss.",
)  # fmt: skip

"""Parallel streams: one model that is run several times on differently transformed inputs.

Chen et al. 2025 (ParScale), arXiv:2505.10475. With k = 0.35, eight streams act as a factor of 1.7
on the parameters:

>>> round(1 + 0.35 * float(np.log(8)), 1)
1.7
"""

import numpy as np

from bayescale.laws.base import Law
from bayescale.priors import Positive


def loss(N, streams, *, E, A, alpha, k):
    """P streams act as a factor 1 + k log(P) on the parameters."""
    return E + A * (N * (1 + k * np.log(streams))) ** -alpha


def constants(N, streams, *, E, A, alpha, k):
    return {"A": A * N**alpha}


parallel_streams = Law(
    name="parallel_streams",
    loss=loss,
    constants=constants,
    priors=dict(
        # The data are fixed, so their part of the loss belongs to the floor.
        E=Positive(0.6, spread=1.5, between=1.1, of="loss"),
        A=Positive(0.35, spread=1.8, between=1.2, of="loss"),
        alpha=Positive(0.25, spread=1.7, between=1.1),
        k=Positive(0.3, spread=2.0, between=1.2),
    ),
    falling=("N", "streams"),
    units={"streams": 1},
    settings=("streams",),
    reference="Chen et al. 2025 (ParScale), arXiv:2505.10475",
    regime="parallel streams",
    formula="E + A * (N * (1 + k * log(streams)))**-alpha",
    use="Models that run several streams in parallel and are trained on equal data.",
)

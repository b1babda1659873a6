"""Repeated data: a law whose loss may rise again by over-fitting.

arXiv:2605.09189, in additive form. After many epochs over few tokens the loss rises:

>>> terms = dict(E=2.0, A=0.4, B=0.3, K=0.02, alpha=0.35, beta=0.35)
>>> powers = dict(gamma=0.5, delta=1.0, zeta=0.5)
>>> [round(loss(1.0, D, 0.1, **terms, **powers), 2) for D in (0.1, 1.0, 10.0)]
[3.13, 2.9, 3.17]
"""

from bayescale.laws.base import TWO_POWERS, Law
from bayescale.priors import Positive


def loss(N, D, U, *, E, A, B, K, alpha, beta, gamma, delta, zeta):
    """The last term is over-fitting. It rises with parameters and with tokens seen, so the loss may
    rise again after many epochs; it falls with unique tokens."""
    return E + A * N**-alpha + B * D**-beta + K * N**gamma * D**zeta * U**-delta


def constants(N, D, U, *, E, A, B, K, alpha, beta, gamma, delta, zeta):
    return {"A": A * N**alpha, "B": B * D**beta, "K": K * N**-gamma * D**-zeta * U**delta}


repeated_overfit = Law(
    name="repeated_overfit",
    loss=loss,
    constants=constants,
    priors=dict(
        **TWO_POWERS,
        # Over-fitting at the centre of the runs, from none to a quarter of the loss.
        K=Positive(0.01, spread=5.0, between=1.2, of="loss"),
        gamma=Positive(0.35, spread=1.7),
        delta=Positive(0.7, spread=1.7),
        zeta=Positive(0.35, spread=1.7),
    ),
    units={"U": "D"},
    settings=("U",),
    reference="arXiv:2605.09189, in additive form and with a power of the tokens seen",
    regime="repeated data",
    formula="E + A * N**-alpha + B * D**-beta + K * N**gamma * D**zeta * U**-delta",
    use="As `repeated_data`, for runs whose loss rises again after many epochs or with too many "
    "parameters.",
)

"""Repeated data: laws whose loss may rise again by over-fitting.

Bryant & Liu 2026, arXiv:2605.09189, in additive and in bounded form. After many epochs over few
tokens the loss rises:

>>> terms = dict(E=2.0, A=0.4, B=0.3, K=0.02, alpha=0.35, beta=0.35)
>>> powers = dict(gamma=0.5, delta=1.0, zeta=0.5)
>>> [round(loss(1.0, D, 0.1, **terms, **powers), 2) for D in (0.1, 1.0, 10.0)]
[3.13, 2.9, 3.17]
"""

from bayescale.laws.base import Law
from bayescale.priors import Positive


def loss(N, D, U, *, E, A, B, K, alpha, beta, gamma, delta, zeta):
    """The last term is over-fitting. It rises with parameters and with tokens seen, so the loss may
    rise again after many epochs; it falls with unique tokens."""
    return E + A * N**-alpha + B * D**-beta + K * N**gamma * D**zeta * U**-delta


def bounded(N, D, U, *, E, A, B, K, alpha, beta, gamma, delta, zeta, H):
    """As `loss`, but at most E + `H`."""
    above = loss(N, D, U, E=0.0, A=A, B=B, K=K, alpha=alpha, beta=beta, gamma=gamma, delta=delta,
                 zeta=zeta)  # fmt: skip
    return E + above / (1 + above / H)


def constants(N, D, U, *, E, A, B, K, alpha, beta, gamma, delta, zeta):
    return {"A": A * N**alpha, "B": B * D**beta, "K": K * N**-gamma * D**-zeta * U**delta}


def bounded_constants(N, D, U, *, E, A, B, K, alpha, beta, gamma, delta, zeta, H):
    return {"A": A * N**alpha, "B": B * D**beta, "K": K * N**-gamma * D**-zeta * U**delta}


PRIORS = dict(
    # As in `chinchilla`, in units of the typical loss of the runs.
    E=Positive(0.55, spread=1.5, between=1.1, of="loss"),
    A=Positive(0.15, spread=2.2, between=1.2, of="loss"),
    B=Positive(0.15, spread=2.2, between=1.2, of="loss"),
    # Over-fitting at the centre of the runs, from none to a quarter of the loss.
    K=Positive(0.01, spread=5.0, between=1.2, of="loss"),
    alpha=Positive(0.35, spread=1.5, between=1.1),
    beta=Positive(0.35, spread=1.5, between=1.1),
    gamma=Positive(0.35, spread=1.7),
    delta=Positive(0.7, spread=1.7),
    zeta=Positive(0.35, spread=1.7),
)
SHARED = dict(units={"U": "D"}, settings=("U",), regime="repeated data")

repeated_overfit = Law(
    name="repeated_overfit",
    loss=loss,
    constants=constants,
    priors=PRIORS,
    reference="Bryant & Liu 2026, arXiv:2605.09189, in additive form, with a power of tokens seen",
    formula="E + A * N**-alpha + B * D**-beta + K * N**gamma * D**zeta * U**-delta",
    use="As `repeated_data`, for runs whose loss increases again after many epochs or with too "
    "many parameters.",
    **SHARED,
)

repeated_bounded = Law(
    name="repeated_bounded",
    loss=bounded,
    constants=bounded_constants,
    known=("H",),
    # As in `bounded_chinchilla`.
    priors=dict(PRIORS, H=Positive(3.0, spread=1.4, between=1.1, of="loss")),
    reference="Bryant & Liu 2026, arXiv:2605.09189, with a power of the tokens seen",
    formula="E + r / (1 + r/H)  with  r = A * N**-alpha + B * D**-beta"
    " + K * N**gamma * D**zeta * U**-delta",
    use="As `repeated_overfit`, but over-fitting cannot raise the loss above E + H, the loss of a"
    " model that has learnt nothing. Prefer it for forecasts of many epochs or of large "
    "models.",
    **SHARED,
)

"""A saturating power law in one column: Hestness et al. 2017, Henighan et al. 2020."""

from bayescale.law import Law
from bayescale.priors import Positive


def loss(x, *, E, A, alpha):
    return E + A * x**-alpha


def constants(x, *, E, A, alpha):
    return {"A": A * x**alpha}


power = Law(
    name="power",
    loss=loss,
    constants=constants,
    priors=dict(
        # Losses come in any unit here (nats, error rates), so the amplitudes are shares of the
        # training runs' typical loss.
        E=Positive(0.5, spread=2.0, between=1.1, of="loss"),
        A=Positive(0.4, spread=2.2, between=1.2, of="loss"),
        # The middle 90 % of 324 public learning curves: 0.05 to 1.08 (Alabdulmohsin et al. 2022).
        alpha=Positive(0.35, spread=2.0, between=1.2),
    ),
    columns=("C",),
    falling=("C",),
    reference="Hestness et al. 2017, arXiv:1712.00409",
)

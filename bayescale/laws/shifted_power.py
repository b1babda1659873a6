"""A power law that levels off by a shift of 1/x: M3 of Alabdulmohsin et al. 2022."""

from bayescale.laws.base import Law
from bayescale.priors import Positive


def loss(x, *, A, alpha, gamma):
    """`A` is the loss at the reference scale; the curve levels off near x = 1 / `gamma`."""
    return A * ((1 / x + gamma) / (1 + gamma)) ** alpha


def constants(x, *, A, alpha, gamma):
    return {"A": loss(1 / x, A=A, alpha=alpha, gamma=gamma), "gamma": gamma / x}


shifted_power = Law(
    name="shifted_power",
    loss=loss,
    constants=constants,
    priors=dict(
        A=Positive(1.0, spread=2.0, between=1.1, of="loss"),
        # The exponent where 1/x dominates, as in `power`.
        alpha=Positive(0.35, spread=2.0, between=1.2),
        # At the medians the limit is 0.53 of the loss at the centre, close to that of `power`
        # (0.56). The spread includes distant limits (gamma of 0.014) and limits that are nearly
        # reached (2.8).
        gamma=Positive(0.2, spread=5.0, between=1.5),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    reference="Alabdulmohsin et al. 2022, arXiv:2209.06640",
    regime="one column",
    formula="A * ((1/x + gamma) / (1 + gamma))**alpha",
    use="One column. A constant is added to 1/x, so that the loss levels off for large x. Part of"
    " the default family for tables without both N and D, and for curves of one N.",
)

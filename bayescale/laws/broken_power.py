"""Power laws with a bend: between two slopes (Caballero et al. 2022), or after a wait at chance."""

import numpy as np

from bayescale.functions import softplus
from bayescale.laws.base import Law
from bayescale.priors import Positive


def beyond(x, d, f):
    """How far log x lies beyond a bend at `d`, `f` wide; less the same at the reference scale."""
    return f * (softplus(np.log(x / d) / f) - softplus(-np.log(d) / f))


def broken_loss(x, *, E, A, alpha0, alpha1, d, f):
    """Slope `alpha0` up to about `d`, `alpha1` from there; `f` is the bend's width in log x."""
    return E + A * x**-alpha0 * np.exp((alpha0 - alpha1) * beyond(x, d, f))


def broken_constants(x, *, E, A, alpha0, alpha1, d, f):
    curve = dict(A=A, alpha0=alpha0, alpha1=alpha1, d=d, f=f)
    return {"A": broken_loss(1 / x, E=0, **curve), "d": d * x}


def delayed_loss(x, *, E, A, alpha, d, k):
    """Nothing is learnt until about `d`; `k` / `alpha` is the width of the start in log x."""
    return E + A * np.exp(-alpha * beyond(x, d, k / alpha))


def delayed_constants(x, *, E, A, alpha, d, k):
    """Far below `d`, as at x = 1, the amplitude is all that chance level lies above the limit."""
    return {"A": delayed_loss(1 / x, E=0, A=A, alpha=alpha, d=d, k=k), "d": d * x}


REFERENCE = "Caballero et al. 2022, arXiv:2210.14891"
AS_POWER = dict(
    E=Positive(0.5, spread=2.0, between=1.1, of="loss"),
    A=Positive(0.4, spread=2.2, between=1.2, of="loss"),
)

broken_power = Law(
    name="broken_power",
    loss=broken_loss,
    constants=broken_constants,
    priors=dict(
        **AS_POWER,
        # Either slope as that of a whole curve in `power`; breaks up and down are as likely.
        alpha0=Positive(0.35, spread=2.0, between=1.2),
        alpha1=Positive(0.35, spread=2.0, between=1.2),
        # Anywhere in the runs: one to two decades around their centre, as sweeps and curves reach.
        d=Positive(0.7, spread=4.0, between=1.5),
        # Bends that curves can show: least squares finds 0.2 at the median but half of those lie
        # between two neighbouring points, where no likelihood is smooth.
        f=Positive(0.5, spread=2.0, between=1.2),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    floor="E",
    # One group seldom tells how sharp its bend is.
    poolable=("E", "A", "alpha0", "alpha1", "d"),
    reference=REFERENCE,
)

delayed_power = Law(
    name="delayed_power",
    loss=delayed_loss,
    constants=delayed_constants,
    priors=dict(
        **AS_POWER,
        # The exponent once learning is under way, as in `power`.
        alpha=Positive(0.35, spread=2.0, between=1.2),
        # Curves begin about three e-folds before the geometric mean of their points; the start
        # lies within a decade of that, so that it is a start and not the bend of all the curve.
        d=Positive(0.05, spread=3.0, between=1.5),
        # From a corner (0.36) to a start drawn out over a decade and more (1.4), at 90 %.
        k=Positive(0.7, spread=1.5, between=1.2),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    floor="E",
    # One group seldom tells how sharply it starts.
    poolable=("E", "A", "alpha", "d"),
    reference=f"{REFERENCE}, with a first slope of zero",
)

"""Broken power laws (Caballero et al. 2022): a bend between two slopes, or a delayed start."""

import numpy as np

from bayescale.functions import softplus
from bayescale.laws.base import Law
from bayescale.priors import Positive


def beyond(x, d, f):
    """Smooth distance of log x beyond a bend at `d` of width `f`, minus its value at x = 1."""
    return f * (softplus(np.log(x / d) / f) - softplus(-np.log(d) / f))


def broken_loss(x, *, E, A, alpha0, alpha1, d, f):
    """Slope `alpha0` up to about `d`, `alpha1` from there; `f` is the bend's width in log x."""
    return E + A * x**-alpha0 * np.exp((alpha0 - alpha1) * beyond(x, d, f))


def broken_constants(x, *, E, A, alpha0, alpha1, d, f):
    curve = dict(A=A, alpha0=alpha0, alpha1=alpha1, d=d, f=f)
    return {"A": broken_loss(1 / x, E=0, **curve), "d": d * x}


def delayed_loss(x, *, E, A, alpha, d, k):
    """Constant until about `d`, then slope `alpha`; the bend has width `k` / `alpha` in log x."""
    return E + A * np.exp(-alpha * beyond(x, d, k / alpha))


def delayed_constants(x, *, E, A, alpha, d, k):
    """Far below `d`, as at a raw x of 1, the amplitude is chance level minus the limit."""
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
        # Both as the exponent in `power`: steeper and flatter second slopes are equally likely.
        alpha0=Positive(0.35, spread=2.0, between=1.2),
        alpha1=Positive(0.35, spread=2.0, between=1.2),
        # Within one to two decades of the centre of the runs, the range of sweeps and curves.
        d=Positive(0.7, spread=4.0, between=1.5),
        # Widths that curves can resolve. Least-squares fits have a median of 0.2, but half of
        # these bends lie between two neighbouring points, where the likelihood is not smooth.
        f=Positive(0.5, spread=2.0, between=1.2),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    floor="E",
    # The runs of one group seldom identify the width of its bend.
    poolable=("E", "A", "alpha0", "alpha1", "d"),
    reference=REFERENCE,
    regime="one column",
    formula="E + A * x**-alpha0 * exp((alpha0 - alpha1) * b)  with  b = f * (log(1 + "
    "(x/d)**(1/f)) - log(1 + (1/d)**(1/f)))",
    use="Learning curves whose slope changes from alpha0 to alpha1 at about x = d.",
)

delayed_power = Law(
    name="delayed_power",
    loss=delayed_loss,
    constants=delayed_constants,
    priors=dict(
        **AS_POWER,
        # Exponents after a start and above a floor are larger, and differ less between curves, than
        # those of `power`. Fits to the learning curves of all data sets but one give 0.6 times or
        # divided by 1.1 to 1.5, whichever is left out (`benchmarks/curves.py`). The prior is wider
        # and contains language models, whose exponents are about 0.3.
        alpha=Positive(0.5, spread=1.5, between=1.2),
        # Curves begin about three e-folds before the geometric mean of their points. The start
        # lies within a decade of that, so that it does not describe a bend of the whole curve.
        d=Positive(0.05, spread=3.0, between=1.5),
        # 90 %: from a sharp start (0.26), which the same fits give, to one over a decade (1).
        k=Positive(0.5, spread=1.5, between=1.2),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    floor="E",
    # The runs of one group seldom identify the width of its start.
    poolable=("E", "A", "alpha", "d"),
    reference=f"{REFERENCE}, with a first slope of zero",
    regime="one column",
    formula="E + A * exp(-alpha * b)  with  f = k / alpha,  b = f * (log(1 + (x/d)**(1/f)) - "
    "log(1 + (1/d)**(1/f)))",
    use="Learning curves with a plateau: the loss begins to fall at about x = d.",
)

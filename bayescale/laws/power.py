"""Power laws in one column, with and without an irreducible loss (Hestness et al. 2017)."""

from bayescale.laws.base import Law
from bayescale.priors import Positive


def pure_loss(x, *, A, alpha):
    return A * x**-alpha


def pure_constants(x, *, A, alpha):
    return {"A": A * x**alpha}


def loss(x, *, E, A, alpha):
    return E + pure_loss(x, A=A, alpha=alpha)


def constants(x, *, E, A, alpha):
    return pure_constants(x, A=A, alpha=alpha)


REFERENCE = "Hestness et al. 2017, arXiv:1712.00409"

pure_power = Law(
    name="pure_power",
    loss=pure_loss,
    constants=pure_constants,
    priors=dict(
        # Without a limit the amplitude is the whole loss at the centre of the runs.
        A=Positive(1.0, spread=2.0, between=1.1, of="loss"),
        # The whole loss falls more slowly than its reducible part, by the factor 0.4 / (0.5 + 0.4):
        # the reducible share at the centre at the medians of `power`. Published: 0.05 (Kaplan) to
        # 0.35 (Hestness).
        alpha=Positive(0.15, spread=2.5, between=1.2),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    reference=REFERENCE,
    regime="one column",
    formula="A * x**-alpha",
    use="One column, for losses that are far above any irreducible loss.",
)

power = Law(
    name="power",
    loss=loss,
    constants=constants,
    priors=dict(
        # The loss may have any unit (nats, error rates), so the amplitudes are relative to the
        # typical loss of the fitted runs.
        E=Positive(0.5, spread=2.0, between=1.1, of="loss"),
        A=Positive(0.4, spread=2.2, between=1.2, of="loss"),
        # The middle 90 % of 324 public learning curves: 0.05 to 1.08 (Alabdulmohsin et al. 2022).
        alpha=Positive(0.35, spread=2.0, between=1.2),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    floor="E",
    reference=REFERENCE,
    regime="one column",
    formula="E + A * x**-alpha",
    use="One column, such as compute, tokens or steps, with an irreducible loss. Part of the "
    "default family for tables without both N and D, and for curves of one N.",
)

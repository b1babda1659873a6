"""Approach 2 of Hoffmann et al. 2022 as one model: all isoFLOP profiles around N* = n C^a.

A group column may label the budget of each run (``groups="profile"``). Every profile then has its
own level and optimum, which scatter around the power laws. With training curves as ``series`` the
same law describes approach 1: its minimum is the envelope of the curves.
"""

from bayescale.laws.base import Law
from bayescale.priors import Fraction, Positive


def loss(N, D, *, E, K, gamma, n, a, alpha, beta):
    """At a fixed ND the loss rises from its minimum as r**-alpha for smaller models and as r**beta
    for larger ones, r = N / N*. Unlike a parabola in log N, it need not be symmetric. `chinchilla`
    is the case a = beta / (alpha + beta), gamma = alpha a."""
    r = N / (n * (N * D) ** a)
    profile = (beta * r**-alpha + alpha * r**beta) / (alpha + beta)
    return E + K * (N * D) ** -gamma * profile


def optimum(ND, *, E, K, gamma, n, a, alpha, beta):
    return n * ND**a


def constants(N, D, *, E, K, gamma, n, a, alpha, beta):
    """N* = n (C/6)**a."""
    return {"K": K * (N * D) ** gamma, "n": n * N * (N * D) ** -a}


isoflop = Law(
    name="isoflop",
    loss=loss,
    optimum=optimum,
    constants=constants,
    priors=dict(
        # As in `chinchilla`, in units of the typical loss of the runs.
        E=Positive(0.55, spread=1.5, between=1.1, of="loss"),
        # Reducible loss at the optimum of the central budget.
        K=Positive(0.28, spread=2.2, between=1.05, of="loss"),
        # alpha a of `chinchilla` at its medians; published fits: 0.05 (no limit) to 0.19.
        gamma=Positive(0.17, spread=1.6, between=1.1),
        # Sweeps are centred on the optimum within a factor of about 3. Optima of single
        # budgets scatter by 0.1 to 0.25 (bootstraps of Porian et al. 2024, arXiv:2406.19146).
        n=Positive(1.0, spread=3.0, between=1.15),
        # Published studies: 0.37 to 0.86, half of them within 0.07 of 0.55.
        a=Fraction(0.55, spread=1.7, between=1.2),
        alpha=Positive(0.35, spread=1.5, between=1.1),
        beta=Positive(0.35, spread=1.5, between=1.1),
    ),
    # The loss may rise in N or in D alone, so no column is `falling`.
    poolable=("K", "n"),
    reference="Hoffmann et al. 2022, arXiv:2203.15556, approach 2",
    regime="parameters and tokens",
    formula="E + K * (N*D)**-gamma * (beta * r**-alpha + alpha * r**beta) / (alpha + beta)  with"
    "  r = N / (n * (N*D)**a)",
    use="IsoFLOP sweeps: models of several sizes are trained with each of several budgets. The "
    "exponent a of N* ~ C^a is a parameter of the law.",
)

"""From chance level down to a limit: M4 of Alabdulmohsin et al. 2022.

With s the reducible loss as a share of the range from chance level to limit,
s / (1 - s)**kappa = r x**-alpha.
"""

import numpy as np

from bayescale.laws.base import Law
from bayescale.priors import Positive

#: Newton steps for log(1 - s); six leave an error of 1e-15 over the priors.
STEPS = 6


def loss(x, *, E, A, alpha, kappa, headroom):
    """Chance level is E + A (1 + `headroom`); `kappa` = 0 is a power law without chance level."""
    log_odds = (kappa - 1) * np.log1p(headroom) - kappa * np.log(headroom) - alpha * np.log(x)
    u = 0.0
    # log(won + unwon) is convex and increasing in u = log(won): from 0, Newton descends to its
    # root and never leaves won + unwon >= 1, so nothing underflows.
    for _ in range(STEPS):
        won, unwon = np.exp(u), np.exp(log_odds + kappa * u)
        u = u - np.log(won + unwon) * (won + unwon) / (won + kappa * unwon)
    return E + A * (1 + headroom) * np.exp(log_odds + kappa * u)


def constants(x, *, E, A, alpha, kappa, headroom):
    """`chance` and `beta` of (loss - E) / (chance - loss)**kappa = beta x**-alpha."""
    beta = A ** (1 - kappa) * headroom**-kappa * x**alpha
    return {"chance": E + A * (1 + headroom), "beta": beta}


chance_power = Law(
    name="chance_power",
    loss=loss,
    constants=constants,
    priors=dict(
        E=Positive(0.5, spread=2.0, between=1.1, of="loss"),
        A=Positive(0.4, spread=2.2, between=1.2, of="loss"),
        # The exponent far below chance level, as in `power`.
        alpha=Positive(0.35, spread=2.0, between=1.2),
        # 1 is a logistic curve in log x; the literature expects 0.4 to 2.3, public image curves
        # have 0.1 to 0.5. Near 0 the curve has a corner at chance level, where chains diverge.
        kappa=Positive(1.0, spread=2.0, between=1.2),
        # Centres of sweeps lie well below chance level: by 0.3 to 3 times the reducible loss for
        # error rates, by 5 times and more for language models.
        headroom=Positive(2.0, spread=3.0, between=1.3),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    floor="E",
    # `kappa` is a property of the task, and the runs of one group seldom identify it.
    poolable=("E", "A", "alpha", "headroom"),
    reference="Alabdulmohsin et al. 2022, arXiv:2209.06640",
)

"""A decrease from chance level to a limit: M4 of Alabdulmohsin et al. 2022.

Let s be the reducible loss divided by the distance from chance level to the limit. Then
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
    # Solve (1 - s) + s = 1 for u = log(1 - s). The logarithm of the sum is convex and increasing
    # in u. Newton steps from u = 0 therefore decrease to the root, and the sum stays at least 1,
    # so that nothing underflows.
    for _ in range(STEPS):
        rest, share = np.exp(u), np.exp(log_odds + kappa * u)
        u = u - np.log(rest + share) * (rest + share) / (rest + kappa * share)
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
        # At 1 the curve is logistic in log x. The literature expects 0.4 to 2.3; public image
        # curves have 0.1 to 0.5. Near 0 the curve has a kink at chance level, which causes
        # divergent transitions.
        kappa=Positive(1.0, spread=2.0, between=1.2),
        # At the centre of a sweep the loss is well below chance level: by 0.3 to 3 times the
        # reducible loss for error rates, by 5 times and more for language models.
        headroom=Positive(2.0, spread=3.0, between=1.3),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    floor="E",
    # `kappa` is a property of the task, and the runs of one group seldom identify it.
    poolable=("E", "A", "alpha", "headroom"),
    reference="Alabdulmohsin et al. 2022, arXiv:2209.06640",
    regime="one column",
    formula="E + A * (1 + headroom) * s  where s solves  s / (1 - s)**kappa = headroom**-kappa * "
    "(1 + headroom)**(kappa - 1) * x**-alpha",
    use="Error rates that begin at the level of chance and fall to a limit.",
)

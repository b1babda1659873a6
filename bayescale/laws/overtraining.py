"""Over-training: a law of compute and tokens per parameter with one exponent.

Gadre et al. 2024, arXiv:2403.08540. A model of 1.4B parameters on 20 and 640 tokens for each:

>>> overtraining.at("redpajama", N=1.4e9, D=[28e9, 896e9]).round(2).tolist()
[2.79, 2.54]
"""

from bayescale.laws.base import Law, Published
from bayescale.priors import Positive


def loss(N, D, *, E, A, B, eta):
    """In compute C = N D and tokens per parameter M = D / N. Over-training multiplies the reducible
    loss by a factor that does not depend on compute."""
    C, M = N * D, D / N
    return E + (A * M**eta + B * M**-eta) * C**-eta


def optimum(ND, *, E, A, B, eta):
    return (A / B) ** (1 / (4 * eta)) * ND**0.5


def constants(N, D, *, E, A, B, eta):
    return {"A": A * N ** (2 * eta), "B": B * D ** (2 * eta)}


def _refit(corpus, E, a, b, eta):
    """Constants for compute of 6ND FLOP, as the paper states them, for C = ND."""
    return Published(
        f"Gadre et al. 2024, refit of {corpus}",
        dict(E=E, A=a * 6**-eta, B=b * 6**-eta, eta=eta),
        f"{REFERENCE}: refit to their five small runs, loss on C4",
    )


REFERENCE = "Gadre et al. 2024, arXiv:2403.08540"

overtraining = Law(
    name="overtraining",
    loss=loss,
    optimum=optimum,
    constants=constants,
    priors=dict(
        # As in `chinchilla`; eta is half of its exponents.
        E=Positive(0.55, spread=1.5, between=1.1, of="loss"),
        A=Positive(0.15, spread=2.2, between=1.2, of="loss"),
        B=Positive(0.15, spread=2.2, between=1.2, of="loss"),
        eta=Positive(0.16, spread=1.5, between=1.1),
    ),
    falling=("N", "D"),
    reference=REFERENCE,
    published=dict(
        redpajama=_refit("RedPajama", 1.837, 212, 367, 0.136),
        refinedweb=_refit("RefinedWeb", 1.734, 157, 246, 0.127),
        c4=_refit("C4", 1.508, 141, 190, 0.121),
    ),
    regime="over-training",
    formula="E + (A * M**eta + B * M**-eta) * C**-eta  with  C = N * D,  M = D / N",
    use="Few runs, some of them trained on many tokens per parameter. It is `chinchilla` with "
    "equal exponents, alpha = beta = 2 eta.",
)

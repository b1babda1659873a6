"""Bryant & Liu 2026: the law of Hoffmann et al., bounded by the loss of an untrained model."""

from bayescale.laws.base import TWO_POWERS, Law
from bayescale.priors import Positive


def loss(N, D, *, E, A, B, alpha, beta, H):
    """The paper writes E + (L0 - E) h / (1 + h) for T examples seen, of which D are unique, with
    h = a N^-alpha + b T^-beta + c N^gamma D^-delta. Here `H` = L0 - E, `A` = a H and `B` = b H. For
    large `H` this is the law of Hoffmann et al. The term of overfitting, with c, is left out,
    because runs that see each token once do not inform it."""
    reducible = A * N**-alpha + B * D**-beta
    return E + reducible / (1 + reducible / H)


def optimum(ND, *, E, A, B, alpha, beta, H):
    # That of `chinchilla`: the loss rises with `reducible`.
    return (alpha * A / (beta * B) * ND**beta) ** (1 / (alpha + beta))


def constants(N, D, *, E, A, B, alpha, beta, H):
    return {"A": A * N**alpha, "B": B * D**beta}


bounded_chinchilla = Law(
    name="bounded_chinchilla",
    loss=loss,
    optimum=optimum,
    constants=constants,
    priors=dict(
        **TWO_POWERS,
        # A uniform guess among 30 to 250 thousand tokens has a loss of 10.3 to 12.4 nats, three to
        # four times the typical loss of a sweep.
        H=Positive(3.0, spread=1.4, between=1.1, of="loss"),
    ),
    falling=("N", "D"),
    # The loss of a uniform guess depends on the tokens alone.
    poolable=("E", "A", "B", "alpha", "beta"),
    known=("H",),
    reference="Bryant & Liu 2026, arXiv:2605.09189, without the term of overfitting",
    regime="parameters and tokens",
    formula="E + r / (1 + r/H)  with  r = A * N**-alpha + B * D**-beta",
    use="As `chinchilla`, but the loss cannot exceed E + H, the loss of a model that has learnt "
    "nothing: for tables with very small runs.",
)

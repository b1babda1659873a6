"""Hoffmann et al. 2022: an irreducible loss plus power laws in parameters and in tokens."""

from bayescale.laws.base import TWO_POWERS, Law, Published


def loss(N, D, *, E, A, B, alpha, beta):
    return E + A * N**-alpha + B * D**-beta


def optimum(ND, *, E, A, B, alpha, beta):
    return (alpha * A / (beta * B) * ND**beta) ** (1 / (alpha + beta))


def constants(N, D, *, E, A, B, alpha, beta):
    return {"A": A * N**alpha, "B": B * D**beta}


chinchilla = Law(
    name="chinchilla",
    loss=loss,
    optimum=optimum,
    constants=constants,
    priors=TWO_POWERS,
    falling=("N", "D"),
    reference="Hoffmann et al. 2022, arXiv:2203.15556",
    published=dict(
        hoffmann2022=Published(
            "Hoffmann et al. 2022, approach 3",
            dict(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
            "Hoffmann et al. 2022, arXiv:2203.15556",
        ),
        besiroglu2024=Published(
            "Besiroglu et al. 2024, refit",
            dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658),
            "Besiroglu et al. 2024, arXiv:2404.10102",
        ),
    ),
    regime="parameters and tokens",
    formula="E + A * N**-alpha + B * D**-beta",
    use="Runs of different N and D that see each token about once. The contributions of model "
    "size and of data are added. The usual choice for compute-optimal sizes. Part of the "
    "default family.",
)

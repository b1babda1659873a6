"""Kaplan et al. 2020: a joint power law, limited by the scarcer of parameters and data."""

from bayescale.laws.base import Law, Published
from bayescale.priors import Positive


def loss(N, D, *, A, B, alpha_N, alpha_D):
    """`A` is the loss at the reference N with unlimited data. `B` is the loss at the reference D
    with an unlimited model."""
    q = 1 / alpha_D
    return (A**q * N ** (-alpha_N * q) + B**q / D) ** alpha_D


def optimum(ND, *, A, B, alpha_N, alpha_D):
    ratio = alpha_N / alpha_D
    return (ratio * (A / B) ** (1 / alpha_D) * ND) ** (1 / (1 + ratio))


def constants(N, D, *, A, B, alpha_N, alpha_D):
    return {"N_c": N * A ** (1 / alpha_N), "D_c": D * B ** (1 / alpha_D)}


def loss_with_floor(N, D, *, E, A, B, alpha_N, alpha_D):
    return E + loss(N, D, A=A, B=B, alpha_N=alpha_N, alpha_D=alpha_D)


def optimum_with_floor(ND, *, E, A, B, alpha_N, alpha_D):
    return optimum(ND, A=A, B=B, alpha_N=alpha_N, alpha_D=alpha_D)


def constants_with_floor(N, D, *, E, A, B, alpha_N, alpha_D):
    return constants(N, D, A=A, B=B, alpha_N=alpha_N, alpha_D=alpha_D)


REFERENCE = "Kaplan et al. 2020, arXiv:2001.08361"
N_C, D_C, ALPHA_N, ALPHA_D = 6.4e13, 1.8e13, 0.076, 0.103  # their Table 2, N without embeddings

kaplan = Law(
    name="kaplan",
    loss=loss,
    optimum=optimum,
    constants=constants,
    priors=dict(
        # Without a floor the amplitudes are most of the loss, 90 %: 0.4 to 1.8 of it.
        A=Positive(0.85, spread=1.6, between=1.1, of="loss"),
        B=Positive(0.85, spread=1.6, between=1.1, of="loss"),
        # Published: 0.07 to 0.10; one sd is a factor of 1.5.
        alpha_N=Positive(0.09, spread=1.5, between=1.1),
        alpha_D=Positive(0.09, spread=1.5, between=1.1),
    ),
    falling=("N", "D"),
    reference=REFERENCE,
    published=dict(
        kaplan2020=Published(
            "Kaplan et al. 2020, L(N, D)",
            dict(A=N_C**ALPHA_N, B=D_C**ALPHA_D, alpha_N=ALPHA_N, alpha_D=ALPHA_D),
            REFERENCE,
        )
    ),
    regime="parameters and tokens",
    formula="(A**(1/alpha_D) * N**(-alpha_N/alpha_D) + B**(1/alpha_D) / D)**alpha_D",
    use="As `chinchilla`, without an irreducible loss. The scarcer of parameters and data "
    "determines most of the loss. Use it to compare with Kaplan et al.",
)

kaplan_floor = Law(
    name="kaplan_floor",
    loss=loss_with_floor,
    optimum=optimum_with_floor,
    constants=constants_with_floor,
    priors=dict(
        # As in `chinchilla`; the amplitudes are those of both of its terms together.
        E=Positive(0.55, spread=1.5, between=1.1, of="loss"),
        A=Positive(0.28, spread=2.0, between=1.2, of="loss"),
        B=Positive(0.28, spread=2.0, between=1.2, of="loss"),
        # The reducible loss falls faster than the whole loss.
        alpha_N=Positive(0.3, spread=1.6, between=1.1),
        alpha_D=Positive(0.3, spread=1.6, between=1.1),
    ),
    falling=("N", "D"),
    reference=f"{REFERENCE}, with an irreducible loss",
    regime="parameters and tokens",
    formula="E + (A**(1/alpha_D) * N**(-alpha_N/alpha_D) + B**(1/alpha_D) / D)**alpha_D",
    use="`kaplan` with an irreducible loss. Part of the default family.",
)

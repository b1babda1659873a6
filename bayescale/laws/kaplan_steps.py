"""Kaplan et al. 2020 in parameters and steps, from which they derive N* ~ C^0.73."""

from bayescale.laws.base import Law, Published
from bayescale.priors import Positive


def loss(N, S, *, A, B, alpha_N, alpha_S):
    """`S` is the minimal number of optimiser steps, which is needed with batches far above the
    critical size: steps / (1 + B_crit / batch)."""
    return A * N**-alpha_N + B * S**-alpha_S


def constants(N, S, *, A, B, alpha_N, alpha_S):
    return {"N_c": N * A ** (1 / alpha_N), "S_c": S * B ** (1 / alpha_S)}


def minimal_steps(steps, batch, loss, *, B_star=2.1e8, alpha_B=0.21):
    """Number of steps to the same loss in the limit of large batches: the column ``S``.

    `batch` is in tokens. The critical batch size is ``B_star`` / loss^(1 / alpha_B) tokens (their
    section 5.1, with the constants of their Table 3).
    """
    return steps / (1 + B_star / loss ** (1 / alpha_B) / batch)


def allocation_exponent(*, alpha_N, alpha_S, alpha_B=0.21, **_):
    """The exponent a of N* ~ C^a at the critical batch size, B_crit ~ L^(-1 / alpha_B) (their
    appendix B). 0.68 with the published constants."""
    return 1 / alpha_N / (1 / alpha_N + 1 / alpha_S + 1 / alpha_B)


REFERENCE = "Kaplan et al. 2020, arXiv:2001.08361"
N_C, S_C, ALPHA_N, ALPHA_S = 6.5e13, 2.1e3, 0.077, 0.76  # their Table 3, N without embeddings

kaplan_steps = Law(
    name="kaplan_steps",
    loss=loss,
    constants=constants,
    priors=dict(
        # The loss of a model at the centre after infinitely many steps, in units of the typical
        # loss of the runs, 90 %: 0.4 to 1.8.
        A=Positive(0.85, spread=1.6, between=1.1, of="loss"),
        # The part of the loss at the centre of the runs that more steps would remove.
        B=Positive(0.07, spread=2.5, between=1.2, of="loss"),
        alpha_N=Positive(0.09, spread=1.5, between=1.1),
        # Published: 0.76; one sd is a factor of 1.4.
        alpha_S=Positive(0.76, spread=1.4, between=1.1),
    ),
    columns=("N", "S"),
    falling=("N", "S"),
    reference=REFERENCE,
    published=dict(
        kaplan2020=Published(
            "Kaplan et al. 2020, L(N, S)",
            dict(A=N_C**ALPHA_N, B=S_C**ALPHA_S, alpha_N=ALPHA_N, alpha_S=ALPHA_S),
            REFERENCE,
        )
    ),
    regime="parameters and steps",
    formula="A * N**-alpha_N + B * S**-alpha_S",
    use="Runs that are described by parameters N and optimiser steps S, in the limit of large "
    "batches.",
)

"""Li et al. 2025 (Farseer): floor, amplitude and exponent of the data term depend on model size."""

import numpy as np

from bayescale.laws.base import Law, Published
from bayescale.priors import Positive, Real


def loss(N, D, *, E, e, gamma, B, b, beta, A, a, alpha):
    """The paper writes exp(a3 N^gamma + b3) + exp(a2 N^beta + b2) D^-exp(a1 N^alpha + b1), where
    a3, beta and a1 are negative. Here `E` is the first term at the reference N, `B` the second at
    the reference N and D, and `A` the exponent of D at the reference N. `e`, `b` and `a` are their
    slopes there, on log scales of N; `gamma`, `-beta` and `alpha` are the powers of the paper. The
    form of the law depends on the unit of D: the reference D here, one token in the paper."""
    floor = E * np.exp(-e * (N**gamma - 1) / gamma)
    amplitude = B * np.exp(b * (N**-beta - 1) / beta)
    return floor + amplitude * D ** -(A * np.exp(-a * (N**alpha - 1) / alpha))


def published(a3, gamma, b3, a2, beta, b2, a1, alpha, b1):
    """Parameters at reference scales of 1 from the constants of the paper."""
    return dict(
        E=float(np.exp(a3 + b3)),
        e=-a3 * gamma,
        gamma=gamma,
        B=float(np.exp(a2 + b2)),
        b=-a2 * beta,
        beta=-beta,
        A=float(np.exp(a1 + b1)),
        a=-a1 * alpha,
        alpha=alpha,
    )


farseer = Law(
    name="farseer",
    loss=loss,
    priors=dict(
        # The floor of a model of the reference size, in units of the typical loss of the runs: the
        # floor and the term of model size of `chinchilla`.
        E=Positive(0.72, spread=1.3, between=1.1, of="loss"),
        # 0.1 for the constants of the paper at a billion parameters; less above a constant floor.
        e=Positive(0.08, spread=2.0, between=1.2),
        # As in `chinchilla`.
        B=Positive(0.15, spread=2.2, between=1.2, of="loss"),
        # 0 if the term of data does not depend on model size.
        b=Real(0.0, sd=0.25),
        A=Positive(0.35, spread=1.5, between=1.1),
        # 0.2 for the constants of the paper at a billion parameters; 0 in laws that add.
        a=Positive(0.08, spread=2.0, between=1.2),
        # The paper's powers are 0.05 to 0.17.
        gamma=Positive(0.12, spread=2.0, between=1.1),
        beta=Positive(0.12, spread=2.0, between=1.1),
        alpha=Positive(0.12, spread=2.0, between=1.1),
    ),
    # In N the loss may rise: larger models then need more tokens before they are better.
    falling=("D",),
    poolable=("E", "B", "A"),
    reference="Li et al. 2025, arXiv:2506.10972",
    published=dict(
        farseer2025=Published(
            "Farseer, bits per character",
            published(
                a3=-0.062465473,
                gamma=0.13,
                b3=0.1284880679,
                a2=230.734371,
                beta=-0.1729,
                b2=-1.544209554,
                a1=-1.665630816,
                alpha=0.0459,
                b1=3.133347199,
            ),
            "constants of the authors' notebook, as given by PlanarG/active-sl, arXiv:2604.22753",
        ),
    ),
    regime="parameters and tokens",
    formula="E * exp(-e * (N**gamma - 1) / gamma) + B * exp(b * (N**-beta - 1) / beta) * D**-p  "
    "with  p = A * exp(-a * (N**alpha - 1) / alpha)",
    use="Large sweeps in which the floor, the amplitude and the exponent of the data term change "
    "with N. It has nine parameters. With fewer than a hundred runs, the posteriors of most "
    "of them are nearly equal to their priors.",
)

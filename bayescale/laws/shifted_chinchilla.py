"""The law of Hoffmann et al. with shifted numbers of parameters and tokens."""

from bayescale.laws.base import TWO_POWERS, Law
from bayescale.priors import Positive


def loss(N, D, *, E, A, B, alpha, beta, shift_N, shift_D):
    """`A` and `B` are reducible losses at the reference N and D. A shift is a number of parameters
    or tokens that acts as if it were added to every run: parameters that were not counted, or a
    curve that levels off towards small sizes. Without shifts this is the law of Hoffmann et al."""
    model = A * ((N + shift_N) / (1 + shift_N)) ** -alpha
    return E + model + B * ((D + shift_D) / (1 + shift_D)) ** -beta


def constants(N, D, *, E, A, B, alpha, beta, shift_N, shift_D):
    n, d = shift_N * N, shift_D * D
    return {
        "A": A * ((N + n) / (1 + n)) ** alpha,
        "B": B * ((D + d) / (1 + d)) ** beta,
        "shift_N": n,
        "shift_D": d,
    }


shifted_chinchilla = Law(
    name="shifted_chinchilla",
    loss=loss,
    constants=constants,
    priors=dict(
        **TWO_POWERS,
        # In units of the centre of the sweep, 90 %: 0.003 to 0.5. Most sweeps span a factor of 10
        # on either side of the centre, so that the smaller values hardly matter.
        shift_N=Positive(0.04, spread=5.0, between=1.2),
        shift_D=Positive(0.04, spread=5.0, between=1.2),
    ),
    falling=("N", "D"),
    # A shift depends on how sizes are counted, not on the corpus.
    poolable=("E", "A", "B", "alpha", "beta"),
    reference="Hoffmann et al. 2022, arXiv:2203.15556, with added constants",
    regime="parameters and tokens",
    formula="E + A * ((N + shift_N) / (1 + shift_N))**-alpha + B * ((D + shift_D) / (1 + "
    "shift_D))**-beta",
    use="As `chinchilla`, with a constant added to N and to D: for counts that leave out a "
    "constant part, or for curves that level off towards small sizes.",
)

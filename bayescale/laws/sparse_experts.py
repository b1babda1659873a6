"""Sparse models: laws of parameters in use, of all parameters, and of tokens.

Abnar et al. 2025, arXiv:2501.12370. A model of which all, a quarter and a sixteenth are in use:

>>> sparse_experts.at("abnar2025", N=1e9, N_total=[1e9, 4e9, 16e9], D=1e11).round(2).tolist()
[2.35, 2.21, 2.12]
"""

from bayescale.laws.base import Law, Published
from bayescale.priors import Positive, Real


def loss(N, N_total, D, *, E, A, B, K, M, alpha, beta, kappa, delta, gamma):
    """N are the parameters in use for one token. The share in use is N / N_total."""
    P = N_total / N
    sparsity = K * P**-kappa + M * P**delta * N_total**-gamma
    return E + A * N_total**-alpha + B * D**-beta + sparsity


def multiplied(N, N_total, D, *, E, A, B, alpha, beta, rho):
    return E + A * N**-alpha * (N_total / N) ** -rho + B * D**-beta


def constants(N, N_total, D, *, E, A, B, K, M, alpha, beta, kappa, delta, gamma):
    # The ratio N_total / N has the same value in every unit.
    return {"A": A * N_total**alpha, "B": B * D**beta, "M": M * N_total**gamma}


def multiplied_constants(N, N_total, D, *, E, A, B, alpha, beta, rho):
    return {"A": A * N**alpha, "B": B * D**beta}


OF_SIZE = dict(
    E=Positive(0.5, spread=1.5, between=1.1, of="loss"),  # near `chinchilla`
    A=Positive(0.15, spread=2.2, between=1.2, of="loss"),
    B=Positive(0.15, spread=2.2, between=1.2, of="loss"),
)
SLOPE = Positive(0.35, spread=1.5, between=1.1)
SHARED = dict(units={"N_total": "N"}, settings=("N_total",), regime="sparsity")
REFERENCE = "Abnar et al. 2025, arXiv:2501.12370"

sparse_experts = Law(
    name="sparse_experts",
    loss=loss,
    constants=constants,
    priors=dict(
        **OF_SIZE,
        K=Positive(0.08, spread=2.5, between=1.2, of="loss"),
        M=Positive(0.06, spread=2.5, between=1.2, of="loss"),
        alpha=SLOPE,
        beta=SLOPE,
        kappa=Positive(0.2, spread=1.8),
        delta=Positive(0.15, spread=1.8),
        gamma=Positive(0.2, spread=1.8),
    ),
    reference=REFERENCE,
    published=dict(
        abnar2025=Published(
            "Abnar et al. 2025",
            dict(E=0.94, A=16612.5, B=5455.67, K=0.4598, M=17.26, alpha=0.5962, beta=0.3954,
                 kappa=0.1666, delta=0.1603, gamma=0.1595),
            REFERENCE,
        )
    ),
    formula="E + A * N_total**-alpha + B * D**-beta + K * P**-kappa"
    " + M * P**delta * N_total**-gamma  with  P = N_total / N",
    use="Mixtures of experts of different sparsity. N is the number of parameters in use for one "
        "token, N_total that of all parameters.",
    **SHARED,
)  # fmt: skip

sparse_multiplicative = Law(
    name="sparse_multiplicative",
    loss=multiplied,
    constants=multiplied_constants,
    # Ten times the parameters at equal cost change the term of the model by -30 to +50 %.
    priors=dict(**OF_SIZE, alpha=SLOPE, beta=SLOPE, rho=Real(0.1, sd=0.15)),
    reference="a simplification of Abnar et al. 2025, arXiv:2501.12370",
    formula="E + A * N**-alpha * (N_total / N)**-rho + B * D**-beta",
    use="As `sparse_experts`, for few runs: the ratio of all parameters to those in use enters as"
    " one power.",
    **SHARED,
)

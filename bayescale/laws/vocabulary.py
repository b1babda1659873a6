"""Vocabulary: laws of model size, vocabulary and training data.

Tao et al. 2024, arXiv:2407.13623. With their exponent, twice the vocabulary leaves 63 % of its
term of the loss:

>>> round(2**-0.671, 2)
0.63
"""

from bayescale.laws.base import Law
from bayescale.priors import Positive


def loss(N, N_vocab, D, *, E, A, K, B, alpha, kappa, beta):
    return E + A * N**-alpha + K * N_vocab**-kappa + B * D**-beta


def constants(N, N_vocab, D, *, E, A, K, B, alpha, kappa, beta):
    return {"A": A * N**alpha, "K": K * N_vocab**kappa, "B": B * D**beta}


def traded(N, vocab, D, *, E, A, K, B, alpha, kappa, beta, delta):
    """A larger vocabulary says more per token, but needs more data: it has a best size, which grows
    with D."""
    return E + A * N**-alpha + K * vocab**-kappa + B * D**-beta * vocab**delta


def traded_constants(N, vocab, D, *, E, A, K, B, alpha, kappa, beta, delta):
    return {"A": A * N**alpha, "K": K * vocab**kappa, "B": B * D**beta * vocab**-delta}


PRIORS = dict(
    # Each of three terms has a smaller part of the loss than in `chinchilla`.
    E=Positive(0.5, spread=1.6, between=1.1, of="loss"),
    A=Positive(0.12, spread=2.2, between=1.2, of="loss"),
    K=Positive(0.08, spread=2.5, between=1.2, of="loss"),
    B=Positive(0.15, spread=2.2, between=1.2, of="loss"),
    alpha=Positive(0.4, spread=1.6, between=1.1),
    kappa=Positive(0.5, spread=1.8),
    beta=Positive(0.45, spread=1.6, between=1.1),
)
REFERENCE = "Tao et al. 2024, arXiv:2407.13623"

vocabulary = Law(
    name="vocabulary",
    loss=loss,
    constants=constants,
    priors=PRIORS,
    falling=("N", "N_vocab", "D"),
    settings=("N_vocab",),
    reference=REFERENCE,
    regime="vocabulary",
    formula="E + A * N**-alpha + K * N_vocab**-kappa + B * D**-beta",
    use="Vocabularies of different size under one budget. N is the number of parameters without "
    "those of the vocabulary, which are N_vocab. Losses must be positive and comparable "
    "between vocabularies; if they are relative to a unigram model, add a constant.",
)

vocabulary_size = Law(
    name="vocabulary_size",
    loss=traded,
    constants=traded_constants,
    priors={**PRIORS, "delta": Positive(0.2, spread=2.0)},
    falling=("N", "D"),
    settings=("vocab",),
    reference=f"{REFERENCE}, with data needs that grow with the vocabulary",
    regime="vocabulary",
    formula="E + A * N**-alpha + K * vocab**-kappa + B * D**-beta * vocab**delta",
    use="As `vocabulary`, with the number of entries of the vocabulary in place of its "
    "parameters, for runs on equal amounts of text.",
)

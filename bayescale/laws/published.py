"""Published models, allocation rules and exponents, for comparison in plots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayescale.laws.chinchilla import chinchilla
from bayescale.units import FLOP_PER_PARAMETER_TOKEN

FLOP_PER_PF_DAY = 8.64e19


@dataclass(frozen=True)
class Model:
    """A well-known language model: parameters and training tokens as its authors report them."""

    name: str
    N: float
    D: float
    reference: str

    @property
    def C(self) -> float:
        """Training compute, 6ND, in FLOP."""
        return FLOP_PER_PARAMETER_TOKEN * self.N * self.D


MODELS = (
    Model("GPT-3", 175e9, 300e9, "Brown et al. 2020, arXiv:2005.14165"),
    Model("Gopher", 280e9, 300e9, "Rae et al. 2021, arXiv:2112.11446"),
    Model("Chinchilla", 70e9, 1.4e12, "Hoffmann et al. 2022, arXiv:2203.15556"),
    Model("Llama 2 70B", 70e9, 2e12, "Touvron et al. 2023, arXiv:2307.09288"),
    Model("Llama 3 405B", 405e9, 15.6e12, "Dubey et al. 2024, arXiv:2407.21783"),
)


def kaplan_split(C):
    """Kaplan et al. 2020 (arXiv:2001.08361), Table 6: N = 1.3e9 C^0.73, C in PF-days.

    Takes C in FLOP and returns N and D = C / 6N.
    """
    N = 1.3e9 * (np.asarray(C) / FLOP_PER_PF_DAY) ** 0.73
    return N, C / (FLOP_PER_PARAMETER_TOKEN * N)


def hoffmann_split(C):
    """Hoffmann et al. 2022 (arXiv:2203.15556), approach 3, from the refit to their runs.

    The constants of Besiroglu et al. 2024 (arXiv:2404.10102) agree with approaches 1 and 2, about
    20 tokens per parameter. Those of the paper do not: they give 80 at 1e23 FLOP.
    """
    point = chinchilla.published["besiroglu2024"].values
    N = chinchilla.optimum(np.asarray(C) / FLOP_PER_PARAMETER_TOKEN, **point)
    return N, C / (FLOP_PER_PARAMETER_TOKEN * N)


SPLITS = {"Kaplan et al. 2020": kaplan_split, "Hoffmann et al. 2022, refitted": hoffmann_split}


@dataclass(frozen=True)
class Claim:
    """A published exponent a of N* ~ C^a, with its interval of probability `prob`, if given."""

    name: str
    a: float
    reference: str
    low: float | None = None
    high: float | None = None
    prob: float | None = None


HOFFMANN, PORIAN = "Hoffmann et al. 2022, arXiv:2203.15556", "Porian et al. 2024, arXiv:2406.19146"
_BESIROGLU = chinchilla.published["besiroglu2024"].values

#: Exponents as stated in the papers. The intervals of Hoffmann et al. are 10th to 90th percentiles
#: over subsamples.
CLAIMS = (
    Claim("Kaplan et al. 2020", 0.73, "Kaplan et al. 2020, arXiv:2001.08361, Table 6"),
    Claim("Hoffmann et al. 2022, approach 1", 0.50, HOFFMANN, 0.488, 0.502, 0.8),
    Claim("Hoffmann et al. 2022, approach 2", 0.49, HOFFMANN, 0.462, 0.534, 0.8),
    Claim("Hoffmann et al. 2022, approach 3", 0.46, HOFFMANN, 0.454, 0.455, 0.8),
    Claim(
        "Besiroglu et al. 2024, from their constants",
        _BESIROGLU["beta"] / (_BESIROGLU["alpha"] + _BESIROGLU["beta"]),
        "Besiroglu et al. 2024, arXiv:2404.10102",
    ),
    # The exponent of FLOP per token (without embeddings), which DeepSeek-AI use in place of N.
    Claim("DeepSeek 2024, of FLOP per token", 0.5243, "DeepSeek-AI 2024, arXiv:2401.02954"),
)

#: Porian et al., Table 1: the exponent under each procedure with its 95 % interval, by corpus.
STAIRCASE = {
    "RefinedWeb": (
        Claim("as Kaplan et al.", 0.8353, PORIAN, 0.82, 0.85, 0.95),
        Claim("+ FLOP of the head", 0.7065, PORIAN, 0.69, 0.72, 0.95),
        Claim("+ shorter warm-up", 0.6020, PORIAN, 0.59, 0.62, 0.95),
        Claim("+ cosine decay", 0.5715, PORIAN, 0.56, 0.59, 0.95),
        Claim("tuned, no decay", 0.4969, PORIAN, 0.49, 0.50, 0.95),
    ),
    "OpenWebText2": (
        Claim("as Kaplan et al.", 0.8635, PORIAN, 0.82, 0.90, 0.95),
        Claim("+ FLOP of the head", 0.6985, PORIAN, 0.66, 0.72, 0.95),
        Claim("+ shorter warm-up", 0.6032, PORIAN, 0.57, 0.63, 0.95),
        Claim("+ cosine decay", 0.5743, PORIAN, 0.54, 0.61, 0.95),
        Claim("tuned, no decay", 0.5185, PORIAN, 0.49, 0.54, 0.95),
    ),
}

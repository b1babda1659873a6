"""Published models and allocation rules that a plot can be read against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayescale.laws import chinchilla
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

    D is what is left of the budget, C / 6N.
    """
    N = 1.3e9 * (np.asarray(C) / FLOP_PER_PF_DAY) ** 0.73
    return N, C / (FLOP_PER_PARAMETER_TOKEN * N)


def hoffmann_split(C):
    """Hoffmann et al. 2022 (arXiv:2203.15556), approach 3, from the constants as published."""
    point = chinchilla.published["hoffmann2022"].values
    N = chinchilla.optimum(np.asarray(C) / FLOP_PER_PARAMETER_TOKEN, **point)
    return N, C / (FLOP_PER_PARAMETER_TOKEN * N)


SPLITS = {"Kaplan et al. 2020": kaplan_split, "Hoffmann et al. 2022": hoffmann_split}

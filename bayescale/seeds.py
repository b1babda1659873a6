"""Seeds of random number generators."""

from __future__ import annotations

import numpy as np


def settle_seed(random_seed: int | None) -> int:
    """The given seed, or a random one if it is None. Results store the seed.

    Parameters
    ----------
    random_seed : int or None

    Returns
    -------
    int

    Examples
    --------
    >>> settle_seed(7)
    7
    """
    if random_seed is None:
        return int(np.random.SeedSequence().entropy % 2**31)
    return int(random_seed)

"""Seeds of random numbers: one given by the user, or a fresh one."""

from __future__ import annotations

import numpy as np


def settle_seed(random_seed: int | None) -> int:
    """The seed itself, or a fresh one where it is None; results store what this returns.

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

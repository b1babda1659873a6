"""Seeds of random number generators."""

from __future__ import annotations

from hashlib import blake2b
from numbers import Integral

import numpy as np

from bayescale.errors import FitError


def settle_seed(random_seed: int | None) -> int:
    """The given seed, or a random one if it is None. Results store the seed.

    Parameters
    ----------
    random_seed : int or None

    Returns
    -------
    int

    Raises
    ------
    FitError
        If the seed is not a whole number from 0 to 2**32 - 1.

    Examples
    --------
    >>> settle_seed(7)
    7
    """
    if random_seed is None:
        return int(np.random.SeedSequence().entropy % 2**31)
    is_whole = isinstance(random_seed, Integral) and not isinstance(random_seed, (bool, np.bool_))
    if not is_whole or not 0 <= random_seed < 2**32:
        raise FitError(
            f"random_seed is {random_seed!r}: give a whole number from 0 to 2**32 - 1, or None for "
            "a fresh seed"
        )
    return int(random_seed)


def stream(seed: int, *key: object) -> np.random.Generator:
    """A generator that belongs to a key, independent of those of all other keys.

    Parameters
    ----------
    seed : int
    *key : object
        Values whose ``repr`` names what is drawn, such as a group or the columns of a run.

    Examples
    --------
    >>> float(stream(1, "noise", "7B").random()) == float(stream(1, "noise", "7B").random())
    True
    """
    words = blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.default_rng([seed, int.from_bytes(words)])

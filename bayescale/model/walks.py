"""Random walks whose draws do not depend on which points are asked for.

A walk that is drawn from point to point takes other random numbers at a point if the points before
it change. Here the random numbers belong to fixed places, and the walk at a point is a sum over
them. The same run then has the same forecast alone and among others.
"""

from __future__ import annotations

import numpy as np

#: First place, in e-folds, and ratio of the distances of successive places. Given the walk at the
#: places, the variance of its integral between them is at most 0.06 % of the total beyond the
#: first.
FIRST, RATIO = 0.001, 1.5


def integrals(distance: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of the integral of a Wiener process from zero to each distance.

    The value and the integral of the process at fixed places are drawn exactly. Between them the
    integral is its expectation, a cubic polynomial, scaled to the exact variance d**3 / 3.

    Parameters
    ----------
    distance : array (point,)
        Zero or more.
    draws : int
    rng : numpy.random.Generator
        Of its random numbers, those up to the largest distance are used.

    Returns
    -------
    numpy.ndarray
        Dims (draw, point); all points of a draw lie on one path.
    """
    distance = np.asarray(distance, float)
    number = 1 + max(0, int(np.ceil(np.log(max(distance.max(), FIRST) / FIRST) / np.log(RATIO))))
    ends = FIRST * RATIO ** np.arange(number)
    starts = np.append(0.0, ends[:-1])
    step = ends - starts
    # Jointly normal over one step h: the increment has variance h, its integral h^3 / 3, covariance
    # h^2 / 2. The increment adds its multiple of the distance beyond the step.
    share = np.clip((distance[:, None] - starts) / step, 0.0, 1.0)
    beyond = np.maximum(distance[:, None] - ends, 0.0)
    one = np.sqrt(step) * beyond + step**1.5 * share**2 / 2
    two = step**1.5 * (3 - 2 * share) * share**2 / np.sqrt(12)
    weights = np.stack([one, two], axis=-1).reshape(len(distance), -1)
    spread = np.sqrt((weights**2).sum(axis=-1))
    exact = np.sqrt(distance**3 / 3)
    weights *= np.divide(exact, spread, out=np.zeros_like(exact), where=spread > 0)[:, None]
    return (weights @ rng.standard_normal((2 * number, draws))).T

"""Minima and crossings of functions of one variable, for many functions at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bayescale.errors import LawError

#: Grid points of the search for a minimum.
GRID = 48
#: Step of the central differences from which slope and curvature are computed.
STEP = 1e-3
#: The search ends when no minimum moves by more than this, or after this many steps. Newton's
#: method then has an error of the order of the square.
MOVED, STEPS = 1e-5, 60


def search(
    objective: Callable[[np.ndarray], np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    law_names: str,
) -> np.ndarray:
    """Minimise elementwise between bounds, on a grid and then by Newton's method.

    Parameters
    ----------
    objective : callable
        Takes and returns arrays of one shape.
    low, high : numpy.ndarray
        Bounds.
    law_names : str
        Names of the laws, for the message.

    Returns
    -------
    numpy.ndarray
        Of the shape of the bounds.

    Raises
    ------
    LawError
        If a minimum lies at a bound.
    """
    best, step = on_grid(objective, low, high)
    corner = (best <= low + step / 2) | (best >= high - step / 2)
    if corner.any():
        raise LawError(
            f"under {law_names} no split of this budget is the best: the loss is the same for all "
            "splits, or falls towards a corner (all in N, or all in D)"
        )
    return refine(objective, best, best - step, best + step)


def on_grid(
    objective: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The point of an even grid with the lowest value, elementwise, and the step of the grid."""
    best = value = None
    step = (high - low) / (GRID - 1)
    for i in range(GRID):
        point = low + i * step
        point, found = np.broadcast_arrays(point, objective(point))
        if value is None:
            best, value = point, found
        else:
            better = found < value
            best, value = np.where(better, point, best), np.where(better, found, value)
    return best, step


def refine(
    objective: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """The local minimum next to each start, by Newton's method with bisection.

    Parameters
    ----------
    objective : callable
        Takes and returns arrays of one shape.
    start : numpy.ndarray
    low, high : numpy.ndarray
        Bounds between which the minimum lies.

    Returns
    -------
    numpy.ndarray
        Where Newton's step leaves the interval in which the slope changes its sign, the interval is
        halved instead. A kink is found too.
    """
    x = start
    for _ in range(STEPS):
        here, above, below = objective(x), objective(x + STEP), objective(x - STEP)
        slope = (above - below) / (2 * STEP)
        curvature = (above - 2 * here + below) / STEP**2
        low = np.where(slope < 0, np.maximum(low, x), low)
        high = np.where(slope > 0, np.minimum(high, x), high)
        with np.errstate(all="ignore"):
            newton = x - slope / curvature
        is_safe = (curvature > 0) & (newton > low) & (newton < high)
        moved_to = np.where(slope == 0, x, np.where(is_safe, newton, (low + high) / 2))
        moved = np.abs(moved_to - x).max()
        x = moved_to
        if moved < MOVED:
            break
    return x


def reached(log_x: np.ndarray, log_loss: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Log of the scale at which a curve first falls to a target.

    Parameters
    ----------
    log_x : array (grid,)
    log_loss : array (draw, grid)
    target : array (draw, point)

    Returns
    -------
    array (draw, point)
        Minus infinity if the curve begins below the target; infinity if it does not reach it.
    """
    lowest = np.minimum.accumulate(log_loss, axis=1)
    out = np.empty_like(target)
    rows = np.arange(len(target))
    for j in range(target.shape[1]):
        goal = target[:, j]
        place = (lowest > goal[:, None]).sum(axis=1)
        inner = np.clip(place, 1, len(log_x) - 1)
        high, low = lowest[rows, inner - 1], lowest[rows, inner]
        share = np.divide(high - goal, high - low, out=np.ones_like(goal), where=high > low)
        x = log_x[inner - 1] + share * (log_x[inner] - log_x[inner - 1])
        x = np.where(place == 0, np.where(lowest[:, 0] == goal, log_x[0], -np.inf), x)
        out[:, j] = np.where(place == len(log_x), np.inf, x)
    return out

"""Local maxima of a posterior, and the curvature at them.

The best of many draws from the prior are moved uphill by damped Newton steps. Directions of the
wrong curvature are followed uphill too, because the step uses the absolute values of the curvatures
(Dauphin et al. 2014, arXiv:1406.2572). Derivatives are finite differences, so that a density is one
function; all starts are moved at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

#: Draws from the prior, and how many of the best of them are moved uphill.
PRIOR_DRAWS, STARTS = 1500, 32
#: Only the best `KEPT` distinct starts are continued after `SORTED_AFTER` of the `MAX_STEPS` steps.
MAX_STEPS, SORTED_AFTER, KEPT = 40, 8, 8
#: A start has converged if its next step is expected to raise the log density by less than this.
CONVERGED = 1e-3
#: Step of the finite differences, and longest Newton step, in units of the prior.
DIFFERENCE, LONGEST = 1e-4, 1.5
#: Damping: first value, factors after a step uphill and after a rejected step, and the value at
#: which a start is given up.
DAMPING, LESS, MORE, GIVEN_UP = 1.0, 0.15, 8.0, 1e12
#: At most this many modes, with a log density of at most `LOWEST` below the best.
MOST, LOWEST = 4, 12.0
#: Two positions are the same mode if their distance is below this many standard deviations.
SAME = 0.5
#: Smallest precision in any direction; that of the prior is 1.
LEAST_PRECISION = 0.5


class Density(NamedTuple):
    """A posterior whose coordinates are independent and standard normal under the prior.

    Attributes
    ----------
    dimension : int
    log_likelihood : callable
        ``log_likelihood(z)``: (n,) for positions (n, dimension). Values that are not finite count
        as minus infinity.
    coarse : callable or None
        The log likelihood of part of the data, which is evaluated faster; for the search of modes.
    improved : callable or None
        ``improved(z)``: positions that differ from `z` in a few coordinates and have a higher
        likelihood, for instance with a noise scale that agrees with the residuals. Without it the
        best draws from the prior are those of the largest noise.
    wide : tuple of int
        Coordinates in which the posterior may be wide and curved, while that of the others, given
        these, is nearly normal.
    ridge : tuple of int
        Coordinates of which the others follow a smooth trend, if the posterior is a ridge that is
        much narrower than long.
    rates : tuple of float
        Of the coordinates `ridge`: the trend is smooth in exp(rate * z), or in z if it is zero.
    trend : callable or None
        ``trend(z)``: what some coordinates are nearly equal to, as a function of the others, and
        zero for the others, (n, dimension).
    """

    dimension: int
    log_likelihood: Callable[[np.ndarray], np.ndarray]
    coarse: Callable[[np.ndarray], np.ndarray] | None = None
    improved: Callable[[np.ndarray], np.ndarray] | None = None
    wide: tuple[int, ...] = ()
    ridge: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    trend: Callable[[np.ndarray], np.ndarray] | None = None

    def straight(self) -> Density:
        """The same posterior in coordinates minus their trend.

        Positions of it plus their trend are positions of this density. The prior of the other is
        standard normal too; its likelihood contains the difference.
        """
        if (trend := self.trend) is None:
            return self

        def of(log_likelihood):
            def straightened(z):
                at = z + trend(z)
                return log_likelihood(at) + log_prior(at) - log_prior(z)

            return straightened

        def improved(z):
            at = self.improved(z + trend(z))
            return at - trend(at)

        return self._replace(
            log_likelihood=of(self.log_likelihood),
            coarse=self.coarse and of(self.coarse),
            improved=self.improved and improved,
            trend=None,
        )

    def log_posterior(self, z: np.ndarray) -> np.ndarray:
        """Log of prior times likelihood, (n,)."""
        value = self.log_likelihood(z) + log_prior(z)
        return np.where(np.isfinite(value), value, -np.inf)


def log_prior(z: np.ndarray) -> np.ndarray:
    """Standard normal log density, (n,)."""
    return -0.5 * (z**2).sum(axis=1) - 0.5 * z.shape[1] * np.log(2 * np.pi)


class Modes(NamedTuple):
    """Local maxima, the best first.

    Attributes
    ----------
    position : (mode, dimension)
    value : (mode,)
        Log of prior times likelihood.
    precision : (mode, dimension, dimension)
        Minus the Hessian, made positive definite.
    """

    position: np.ndarray
    value: np.ndarray
    precision: np.ndarray


def find_modes(
    density: Density, rng: np.random.Generator, draws: int = PRIOR_DRAWS, starts: int = STARTS
) -> Modes:
    """Local maxima of a posterior.

    Parameters
    ----------
    density : Density
    rng : numpy.random.Generator
    draws : int
        Number of draws from the prior.
    starts : int
        Number of the best of them that are moved uphill.

    Examples
    --------
    >>> density = Density(1, lambda z: -0.5 * ((z[:, 0] - 2) / 0.1) ** 2)
    >>> modes = find_modes(density, np.random.default_rng(1))
    >>> modes.position.round(2).tolist(), modes.precision.round().ravel().tolist()
    ([[1.98]], [101.0])
    """
    z = rng.standard_normal((draws, density.dimension))
    if density.improved is not None:
        z = density.improved(z)
    if density.coarse is not None:
        coarse = Density(density.dimension, density.coarse)
        z = _climb(coarse, *_best(z, coarse.log_posterior(z), starts)).position
        if density.ridge:  # many data, and parts of one ridge rather than separate modes
            starts = MOST
    found = _climb(density, *_best(z, density.log_posterior(z), starts))
    kept = _distinct(*found, MOST)
    kept = kept[found.value[kept] > found.value.max() - LOWEST]
    return Modes(*(a[kept] for a in found)) if len(kept) else Modes(*(a[:1] for a in found))


def _distinct(z, value, curvature, most: int) -> np.ndarray:
    """Indices of the best positions that lie apart, the best first."""
    size, axes = np.linalg.eigh(curvature)
    precision = (axes * np.maximum(np.abs(size), LEAST_PRECISION)[:, None]) @ axes.swapaxes(1, 2)
    kept: list[int] = []
    for i in np.argsort(-value, kind="stable"):
        if not np.isfinite(value[i]) or len(kept) == most:
            break
        apart = z[i] - z[kept]
        distance = np.einsum("kd,kde,ke->k", apart, precision[kept], apart)
        if not (distance < SAME**2 * z.shape[1]).any():
            kept.append(int(i))
    return np.array(kept, int)


def _best(z, value, n: int):
    order = np.argsort(-value, kind="stable")[:n]
    return z[order], value[order]


def _climb(density: Density, z, value) -> Modes:
    """Damped Newton steps uphill from several starts."""
    n, d = z.shape
    damping, has_derivatives = np.full(n, DAMPING), np.zeros(n, bool)
    gradient, curvature = np.zeros((n, d)), np.zeros((n, d, d))
    active = np.isfinite(value)

    def learn(which):
        new = which & ~has_derivatives
        if new.any():
            gradient[new], curvature[new] = derivatives(density, z[new], value[new])
            has_derivatives[new] = True

    for step in range(MAX_STEPS):
        if step == SORTED_AFTER:
            learn(np.isfinite(value))
            active &= np.isin(np.arange(n), _distinct(z, value, curvature, KEPT))
        if not active.any():
            break
        learn(active)
        at = np.flatnonzero(active)
        size, axes = np.linalg.eigh(curvature[at])
        along = np.einsum("nij,ni->nj", axes, gradient[at])
        move = along / (np.maximum(np.abs(size), 1.0) + damping[at, None])
        expected = (along * move).sum(axis=1)
        move = np.einsum("nij,nj->ni", axes, move)
        move *= np.minimum(1, LONGEST / np.maximum(np.linalg.norm(move, axis=1), 1e-300))[:, None]
        proposal = z[at] + move
        new_value = density.log_posterior(proposal)
        better = new_value > value[at]
        moved = at[better]
        z[moved], value[moved], has_derivatives[moved] = proposal[better], new_value[better], False
        damping[at] *= np.where(better, LESS, MORE)
        small = (expected < CONVERGED) & (damping[at] < np.abs(size).max(axis=1))
        active[at[small | (damping[at] > GIVEN_UP)]] = False
    learn(np.isfinite(value))
    best = _distinct(z, value, curvature, KEPT)
    if not len(best):
        best = np.arange(1)  # no position has a finite density
    size, axes = np.linalg.eigh(curvature[best])
    size = np.maximum(np.abs(size), LEAST_PRECISION)
    precision = (axes * size[:, None]) @ axes.transpose(0, 2, 1)
    return Modes(z[best], value[best], precision)


def derivatives(density: Density, z, value, of=None):
    """Gradient of the log density, (n, d), and minus its Hessian, (n, d, d), at positions z.

    With `of`, the indices of d coordinates, the derivatives are only by these.
    """
    unit = np.eye(z.shape[1])
    unit = unit if of is None else unit[of]
    n, d = len(z), len(unit)
    first, second = np.triu_indices(d, 1)
    shifts = DIFFERENCE * np.concatenate([unit, -unit, unit[first] + unit[second]])
    around = density.log_posterior((z[:, None] + shifts).reshape(-1, z.shape[1])).reshape(n, -1)
    up, down, both = around[:, :d], around[:, d : 2 * d], around[:, 2 * d :]
    hessian = np.zeros((n, d, d))
    with np.errstate(invalid="ignore"):
        gradient = (up - down) / (2 * DIFFERENCE)
        diagonal = np.arange(d)
        hessian[:, diagonal, diagonal] = up + down - 2 * value[:, None]
        cross = both - up[:, first] - up[:, second] + value[:, None]
    hessian[:, first, second] = hessian[:, second, first] = cross
    hessian /= DIFFERENCE**2
    broken = ~(np.isfinite(hessian).all(axis=(1, 2)) & np.isfinite(gradient).all(axis=1))
    gradient[broken], hessian[broken] = 0.0, -np.eye(d)
    return gradient, -hessian


def slopes(density: Density, z, of) -> np.ndarray:
    """Gradient of the log density by the d coordinates `of`, (n, d); zero where it is infinite."""
    shifts = DIFFERENCE * np.eye(z.shape[1])[of]
    around = (z[:, None] + np.concatenate([shifts, -shifts])).reshape(-1, z.shape[1])
    up, down = density.log_posterior(around).reshape(len(z), 2, -1).swapaxes(0, 1)
    with np.errstate(invalid="ignore"):
        gradient = (up - down) / (2 * DIFFERENCE)
    return np.where(np.isfinite(gradient).all(axis=1, keepdims=True), gradient, 0.0)

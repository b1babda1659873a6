"""Draws from a curved posterior: a few coordinates first, the others given these.

In a few coordinates, such as the exponents of a law and its floor, the posterior of a small table
is wide and curved. Given these, the posterior of the other coordinates, such as the amplitudes, is
narrow and nearly normal, with a centre that follows the first. So positions in the few coordinates
are drawn from a mixture; at each the others are moved to their conditional mode, and drawn from a
Student-t distribution with the curvature there (conditional Laplace approximations: Tierney &
Kadane 1986, J. Am. Stat. Assoc. 81, 82). The mixture is refitted to the approximate marginal
posterior of the few coordinates. Each position is weighted by the mean of the importance weights of
several draws, of which one is kept. Positions are drawn until enough of them are effective.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bayescale.functions import student_log_density
from bayescale.inference.mixtures import Mixture, fitted
from bayescale.inference.modes import LONGEST, Density, Modes, derivatives, log_prior, slopes
from bayescale.inference.pareto import pareto_k
from bayescale.inference.smc import systematic_resample, tempered_resample

#: First positions: draws from the prior, and half as many from the normal approximation at the best
#: mode, with this wider a scale. Positions of a further round, and number of these.
FIRST, START_WIDER, POSITIONS, ROUNDS = 200, 1.5, 300, 4
#: Then batches of so many positions are drawn from mixtures that are refitted after each: at least
#: `FEWEST` batches, and at most `MOST`, until so many positions are effective, and the tail of the
#: weights has this shape.
BATCH, FEWEST, MOST, TARGET_ESS, TARGET_K = 500, 3, 14, 2000, 0.6
#: A mixture is fitted to this many resampled positions; weights are tempered until so many a
#: coordinate are effective.
RESAMPLED, LEAST_EFFECTIVE = 3000, 60
#: Most steps to a conditional mode, and the gain in log density that ends them.
FIRST_STEPS, STEPS, GAIN = 25, 25, 0.1
DAMPING, LESS, MORE = 1.0, 0.2, 6.0
#: Draws at each position, their degrees of freedom, and how much wider they are than the curvature.
DRAWS, NU, WIDER = 8, 6.0, 1.1
#: Conditional modes this far below the best one are no starting points for others.
DEEPEST = 30.0
#: After so many steps, positions whose conditional mode is expected to be lower are left.
TRIAL = 4
#: A conditional mode is predicted from so many known ones for each coefficient of a quadratic
#: function of the few coordinates; the diagonal that keeps it regular.
NEIGHBOURS, RIDGE = 2, 1e-3


class Weighted(NamedTuple):
    """Draws, their log posterior, and log importance weights, whose mean is the evidence.

    Attributes
    ----------
    position : (draw, dimension)
    value, log_weight : (draw,)
    """

    position: np.ndarray
    value: np.ndarray
    log_weight: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """Log weights whose exponentials sum to one."""
        return self.log_weight - np.logaddexp.reduce(self.log_weight)

    @property
    def ess(self) -> float:
        """Effective sample size."""
        return float(np.exp(-np.logaddexp.reduce(2 * self.relative)))

    def resampled(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Equally weighted draws in random order, (n, dimension), and their log posterior, (n,)."""
        chosen = rng.permutation(systematic_resample(np.exp(self.relative), n, rng))
        return self.position[chosen], self.value[chosen]


def draw(density: Density, modes: Modes, rng: np.random.Generator) -> Weighted:
    """Weighted draws from a posterior with `density.wide` coordinates."""
    wide = np.array(density.wide)
    rest = np.setdiff1d(np.arange(density.dimension), wide)
    first, log_first = _first(modes, wide, rng)
    proposals, sizes = [log_first], [len(first)]
    known = _Known.at(*_to_mode(density, first, rest, FIRST_STEPS))
    batches: list[_Batch] = []
    while True:
        # All positions, weighted against all proposals together.
        at = known.position[:, wide]
        each = [
            np.log(n) + log_density(at) for n, log_density in zip(sizes, proposals, strict=True)
        ]
        log_weight = known.log_marginal - np.logaddexp.reduce(each, axis=0)
        mixture = _fitted(at, log_weight, rng)
        is_result = len(proposals) > ROUNDS
        new = mixture.draw(BATCH if is_result else POSITIONS, rng)
        start, guess = _predicted(density, known.high(), wide, rest, new)
        found = _to_mode(density, start, rest, STEPS, guess)
        known = known.joined(_Known.at(*found))
        proposals, sizes = [*proposals, mixture.log_density], [*sizes, len(new)]
        if is_result:
            batches.append(_Batch(*_averaged(density, *found, rest, rng), mixture))
            weighted = _together(batches, wide)
            enough = weighted.ess >= TARGET_ESS and pareto_k(weighted.relative) <= TARGET_K
            if len(batches) == MOST or (enough and len(batches) >= FEWEST):
                return weighted


class _Known(NamedTuple):
    """Conditional modes: positions, log posterior, minus the Hessian in the other coordinates, and
    Laplace's approximation of the log marginal density of the few coordinates."""

    position: np.ndarray
    value: np.ndarray
    curvature: np.ndarray
    log_marginal: np.ndarray

    @classmethod
    def at(cls, position, value, curvature) -> _Known:
        log_marginal = value + np.log(_scales(curvature)[0]).sum(axis=1)
        return cls(position, value, curvature, log_marginal)

    def joined(self, other: _Known) -> _Known:
        return _Known(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def high(self) -> _Known:
        """Those that are high enough to be starting points for others."""
        high = self.value > self.value.max() - DEEPEST
        return _Known(*(a[high] for a in self))


class _Batch(NamedTuple):
    """Draws at positions of a mixture, their log posterior, and the estimated log marginal density
    of the few coordinates."""

    position: np.ndarray
    value: np.ndarray
    log_marginal: np.ndarray
    mixture: Mixture


def _together(batches: list[_Batch], wide) -> Weighted:
    """All batches, weighted against the mean of their mixtures."""
    position, value, log_marginal = (
        np.concatenate([b[i] for b in batches]) for i in range(len(_Batch._fields) - 1)
    )
    each = [b.mixture.log_density(position[:, wide]) for b in batches]
    log_proposal = np.logaddexp.reduce(each, axis=0) - np.log(len(batches))
    return Weighted(position, value, log_marginal - log_proposal)


def _averaged(density: Density, z, _, curvature, rest, rng):
    """One of several draws around each conditional mode, its log posterior, and the log of the mean
    of their importance weights."""
    drawn = [_given(z, curvature, rest, rng) for _ in range(DRAWS)]
    values = np.array([density.log_posterior(position) for position, _ in drawn])
    log_weight = values - np.array([log_density for _, log_density in drawn])
    kept = np.argmax(log_weight + rng.gumbel(size=log_weight.shape), axis=0)
    at = kept, np.arange(len(z))
    position = np.array([p for p, _ in drawn])[at]
    return position, values[at], np.logaddexp.reduce(log_weight, axis=0) - np.log(DRAWS)


def _first(modes: Modes, wide: np.ndarray, rng):
    """Positions from the prior and around the best mode; the log density of both together."""
    mode, d, few = modes.position[0], len(wide), FIRST // 2
    covariance = np.linalg.inv(modes.precision[0])[np.ix_(wide, wide)]
    root = START_WIDER * np.linalg.cholesky(covariance)
    around = mode[wide] + rng.standard_normal((few, d)) @ root.T
    z = np.tile(mode, (FIRST + few, 1))
    z[:, wide] = np.concatenate([rng.standard_normal((FIRST, d)), around])

    def log_density(position):
        white = np.linalg.solve(root, (position - mode[wide]).T)
        log_around = -0.5 * (white**2).sum(axis=0) - np.log(np.diagonal(root)).sum()
        log_around -= d / 2 * np.log(2 * np.pi)
        total = np.logaddexp(log_prior(position) + np.log(FIRST), log_around + np.log(few))
        return total - np.log(len(z))

    return z, log_density


def _fitted(position: np.ndarray, log_weight: np.ndarray, rng) -> Mixture:
    """A mixture fitted to weighted positions."""
    finite = np.isfinite(log_weight)
    position, log_weight = position[finite], log_weight[finite]
    least = LEAST_EFFECTIVE * position.shape[1]
    chosen, effective = tempered_resample(log_weight, least, RESAMPLED, rng)
    return fitted(position[chosen], min(effective, RESAMPLED), rng)


def _predicted(density: Density, known: _Known, wide, rest, new: np.ndarray):
    """Positions with given coordinates `wide`, and the others close to their conditional mode;
    minus the Hessian in the others at the nearest known mode, made positive definite.

    The others are those of the nearest known conditional mode, or a quadratic function of the given
    coordinates that is fitted to the nearest modes, whichever has the higher density.
    """
    every = np.arange(len(new))
    at = known.position[:, wide]
    scale = at.std(axis=0) + 1e-9
    at, to = at / scale, new / scale
    square = (at**2).sum(axis=1) - 2 * to @ at.T + (to**2).sum(axis=1)[:, None]
    square = np.maximum(square, 0.0)  # of rounding
    first, second = np.triu_indices(len(wide))
    terms = 1 + len(wide) + len(first)
    number = min(NEIGHBOURS * terms, len(at))
    order = np.argpartition(square, number - 1, axis=1)[:, :number]
    square = np.take_along_axis(square, order, axis=1)
    nearest = order[every, square.argmin(axis=1)]
    start = known.position[nearest]
    start[:, wide] = new
    # Weighted least squares; the weight of a mode falls to zero at the distance of the farthest.
    farthest = square.max(axis=1).clip(1e-300)[:, None]
    weight = (1 - square / farthest) ** 2
    x = (at[order] - to[:, None]) / np.sqrt(farthest)[..., None]
    x = np.concatenate([np.ones((*x.shape[:2], 1)), x, x[..., first] * x[..., second]], axis=2)
    y = known.position[order][:, :, rest] - start[:, None, rest]
    weighted = (x * weight[..., None]).swapaxes(1, 2)
    ridge = RIDGE * np.diag(np.concatenate([[1e-6], np.ones(terms - 1)]))
    fit = start.copy()
    fit[:, rest] += np.linalg.solve(weighted @ x + ridge, weighted @ y)[:, 0]
    better = density.log_posterior(fit) > density.log_posterior(start)
    size, axes = np.linalg.eigh(known.curvature[nearest])
    guess = (axes * np.maximum(np.abs(size), 1.0)[:, None]) @ axes.swapaxes(1, 2)
    return np.where(better[:, None], fit, start), guess


def _to_mode(density: Density, z: np.ndarray, rest: np.ndarray, steps: int, guess=None):
    """Positions moved uphill in the coordinates `rest` by damped Newton steps; the log posterior
    and minus its Hessian in these coordinates there.

    The first step may use a guess of minus the Hessian, which costs half as much.
    """
    z, value = z.copy(), density.log_posterior(z)
    if guess is not None:
        step = np.linalg.solve(guess, slopes(density, z, rest)[..., None])[..., 0]
        _move(density, z, value, np.arange(len(z)), rest, step)
    gradient, curvature = derivatives(density, z, value, rest)
    damping, at = np.full(len(z), DAMPING), np.arange(len(z))
    for number in range(steps):
        size, axes = np.linalg.eigh(curvature[at])
        slope = np.einsum("nij,ni->nj", axes, gradient[at])
        size = np.maximum(np.abs(size), 1.0)
        # The gain without damping, which makes steps small also far from a mode.
        gain = (slope**2 / size).sum(axis=1)
        step = np.einsum("nij,nj->ni", axes, slope / (size + damping[at, None]))
        going = gain > GAIN
        if number >= TRIAL:
            going &= value[at] + gain > value.max() - DEEPEST
        at, step = at[going], step[going]
        if not len(at):
            break
        better = _move(density, z, value, at, rest, step)
        damping[at] *= np.where(better, LESS, MORE)
        moved = at[better]
        if len(moved):
            gradient[moved], curvature[moved] = derivatives(density, z[moved], value[moved], rest)
    return z, value, curvature


def _move(density: Density, z, value, at, rest, step) -> np.ndarray:
    """Move positions `at` by a step, of limited length, where it leads uphill; whether it does."""
    step = step * np.minimum(1, LONGEST / np.linalg.norm(step, axis=1).clip(1e-300))[:, None]
    proposal = z[at]
    proposal[:, rest] += step
    new_value = density.log_posterior(proposal)
    better = new_value > value[at]
    z[at[better]], value[at[better]] = proposal[better], new_value[better]
    return better


def _scales(curvature: np.ndarray):
    """Standard deviations along the axes of the curvature, at most those of the prior; the axes."""
    size, axes = np.linalg.eigh(curvature)
    return WIDER / np.sqrt(np.maximum(size, 1.0)), axes


def _given(z: np.ndarray, curvature: np.ndarray, rest: np.ndarray, rng):
    """Draws of the coordinates `rest` around conditional modes, and their log density."""
    scale, axes = _scales(curvature)
    unit = rng.standard_normal(scale.shape) * np.sqrt(NU / rng.chisquare(NU, (len(z), 1)))
    out = z.copy()
    out[:, rest] += np.einsum("nij,nj->ni", axes, scale * unit)
    log_density = student_log_density((unit**2).sum(axis=1), len(rest), NU)
    return out, log_density - np.log(scale).sum(axis=1)

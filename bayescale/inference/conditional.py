"""Draws from a curved posterior: a few coordinates first, the others given these.

In a few coordinates, such as the exponents of a law, the posterior of a small table is wide and
curved. Given these, the posterior of the other coordinates, such as the floor and the amplitudes,
is narrow and nearly normal, with a centre that follows the first. So positions in the few
coordinates are drawn from a mixture; at each the others are moved to their conditional mode, and
drawn from a Student-t distribution with the curvature there (conditional Laplace approximations:
Tierney & Kadane 1986, J. Am. Stat. Assoc. 81, 82). The mixture is refitted to the approximate
marginal posterior of the few coordinates. Each position is weighted by the mean of the importance
weights of several draws, of which one is kept.
"""

from __future__ import annotations

import numpy as np

from bayescale.functions import student_log_density
from bayescale.inference.mixtures import Mixture, fitted
from bayescale.inference.modes import LONGEST, Density, Modes, derivatives
from bayescale.inference.smc import systematic_resample, tempered_resample

#: Positions of a round, of the last one, and rounds. The first positions are draws from the prior,
#: and half as many from the normal approximation at the best mode, with this wider a scale.
POSITIONS, LAST, ROUNDS, START_WIDER = 400, 3000, 4, 1.5
#: A mixture is fitted to this many resampled positions; weights are tempered until so many a
#: coordinate are effective.
RESAMPLED, LEAST_EFFECTIVE = 3000, 60
#: Most steps to a conditional mode, and the gain in log density that ends them.
FIRST_STEPS, STEPS, GAIN = 25, 10, 0.02
DAMPING, LESS, MORE = 1.0, 0.2, 6.0
#: Draws at each position, their degrees of freedom, and how much wider they are than the curvature.
DRAWS, NU, WIDER = 12, 6.0, 1.1
#: Conditional modes this far below the best one are no starting points for others.
DEEPEST = 30.0


def draw(density: Density, modes: Modes, n: int, rng: np.random.Generator):
    """Draws from a posterior with `density.wide` coordinates.

    Returns
    -------
    tuple of array
        Equally weighted draws (n, dimension), in random order, and their log posterior (n,).
    """
    wide = np.array(density.wide)
    rest = np.setdiff1d(np.arange(density.dimension), wide)
    z, log_proposal = _first(modes, wide, rng)
    z, value, curvature = _to_mode(density, z, rest, FIRST_STEPS)
    for number in range(ROUNDS):
        log_marginal = value + np.log(_scales(curvature)[0]).sum(axis=1)
        mixture = _fitted(z[:, wide], log_marginal - log_proposal, rng)
        near = value > value.max() - DEEPEST
        new = mixture.draw(LAST if number == ROUNDS - 1 else POSITIONS, rng)
        start = z[near][_nearest(z[near][:, wide], new)]
        start[:, wide], log_proposal = new, mixture.log_density(new)
        z, value, curvature = _to_mode(density, start, rest, STEPS)
    drawn = [_given(z, curvature, rest, rng) for _ in range(DRAWS)]
    values = np.array([density.log_posterior(position) for position, _ in drawn])
    log_weight = values - np.array([log_density for _, log_density in drawn])
    kept = np.argmax(log_weight + rng.gumbel(size=log_weight.shape), axis=0)
    position = np.array([p for p, _ in drawn])[kept, np.arange(len(z))]
    of_kept = values[kept, np.arange(len(z))]
    log_total = np.logaddexp.reduce(log_weight, axis=0) - log_proposal
    weight = np.exp(log_total - np.logaddexp.reduce(log_total))
    chosen = rng.permutation(systematic_resample(weight, n, rng))
    return position[chosen], of_kept[chosen]


def _first(modes: Modes, wide: np.ndarray, rng):
    """Positions from the prior and around the best mode, and the log density of both together."""
    mode, d = modes.position[0], len(wide)
    covariance = np.linalg.inv(modes.precision[0])[np.ix_(wide, wide)]
    root = START_WIDER * np.linalg.cholesky(covariance)
    few = POSITIONS // 2
    around = mode[wide] + rng.standard_normal((few, d)) @ root.T
    position = np.concatenate([rng.standard_normal((POSITIONS, d)), around])
    z = np.tile(mode, (len(position), 1))
    z[:, wide] = position
    white = np.linalg.solve(root, (position - mode[wide]).T)
    log_around = -0.5 * (white**2).sum(axis=0) - np.log(np.diagonal(root)).sum()
    log_prior = -0.5 * (position**2).sum(axis=1)
    total = np.logaddexp(log_prior + np.log(POSITIONS), log_around + np.log(few))
    return z, total - np.log(len(z)) - d / 2 * np.log(2 * np.pi)


def _fitted(position: np.ndarray, log_weight: np.ndarray, rng) -> Mixture:
    """A mixture fitted to weighted positions."""
    finite = np.isfinite(log_weight)
    position, log_weight = position[finite], log_weight[finite]
    least = LEAST_EFFECTIVE * position.shape[1]
    chosen, effective = tempered_resample(log_weight, least, RESAMPLED, rng)
    return fitted(position[chosen], min(effective, RESAMPLED), rng)


def _nearest(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Index of the known position nearest to each new one."""
    scale = known.std(axis=0) + 1e-9
    return (((new[:, None] - known) / scale) ** 2).sum(axis=2).argmin(axis=1)


def _to_mode(density: Density, z: np.ndarray, rest: np.ndarray, steps: int):
    """Positions moved uphill in the coordinates `rest` by damped Newton steps; the log posterior
    and minus its Hessian in these coordinates there."""
    z, value = z.copy(), density.log_posterior(z)
    gradient, curvature = derivatives(density, z, value, rest)
    damping, at = np.full(len(z), DAMPING), np.arange(len(z))
    for _ in range(steps):
        size, axes = np.linalg.eigh(curvature[at])
        slope = np.einsum("nij,ni->nj", axes, gradient[at])
        step = slope / (np.maximum(np.abs(size), 1.0) + damping[at, None])
        going = (slope * step).sum(axis=1) > GAIN
        at, step = at[going], np.einsum("nij,nj->ni", axes[going], step[going])
        if not len(at):
            break
        step *= np.minimum(1, LONGEST / np.maximum(np.linalg.norm(step, axis=1), 1e-300))[:, None]
        proposal = z[at]
        proposal[:, rest] += step
        new_value = density.log_posterior(proposal)
        better = new_value > value[at]
        damping[at] *= np.where(better, LESS, MORE)
        moved = at[better]
        z[moved], value[moved] = proposal[better], new_value[better]
        if len(moved):
            gradient[moved], curvature[moved] = derivatives(density, z[moved], value[moved], rest)
    return z, value, curvature


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

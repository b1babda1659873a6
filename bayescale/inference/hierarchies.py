"""Draws of the values of many groups and of their population, without compilation.

Metropolis-Hastings steps move many independent particles at once, and in each the values of all
groups. A gradient is not needed; the likelihood of every group is evaluated for thousands of
positions per second.

1. *Groups.* Given the population, groups are independent. New values are drawn from the normal
   distribution that they nearly have given the population, correlated with the present ones by a
   random amount (preconditioned Crank-Nicolson), or are moved by differential evolution (ter Braak
   and Vrugt 2008, doi:10.1007/s11222-008-9104-9).
2. *Population.* A step of differential evolution moves the population, and the values of each group
   by as much as their expectation moves: by the regression of the values of the group on the
   population. Where the data determine the values of a group this is the
   centred form of the hierarchy, where they say little the non-centred form, and between them what
   each group needs. If the floor of all groups can only be moved together with their exponents,
   they are moved together. Parameters that all groups share are also moved alone.
3. *Population, given the values.* Means are drawn from their normal distribution; standard
   deviations are moved by random walks.

Regressions, covariances and differences are those of earlier states. They are learnt in stages of
growing length and fixed within each, so that each stage is a set of independent Markov chains. The
result is the first stage that converged.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from bayescale.inference.diagnostics import Convergence, particle_convergence
from bayescale.inference.smc import tempered_resample

#: Particles, those moved at once, which may be on different processors, and the number of sets of
#: particles that are compared for R-hat.
PARTICLES, BLOCKS, COMPARED = 64, 2, 4
#: Sweeps of each stage; the first length that may be the result; and the states of a particle that
#: are kept of a stage, at least.
STAGES, LEAST, KEPT = (25, 25, 50, 50, 100, 100, 200, 400, 800, 1600, 3200, 6400), 200, 200
#: Draws from the prior at which particles start, by their likelihood, and effective number of draws
#: for each group to which weights are tempered; the least log likelihood that is distinguished.
PRIOR_DRAWS, START, UNLIKELY = 2000, 30, -1e9
#: Moves of the population between two moves of the groups, besides those of shared parameters.
POPULATION_MOVES = 3
#: Correlations of new with present values, of which one is drawn for every particle and group.
CORRELATIONS = (0.0, 0.6, 0.9)
#: Differential evolution: the optimal scale for normal targets times the root of the dimension; the
#: standard deviation of the log of the factor on it; the probabilities that a coordinate moves.
EVOLUTION, FACTOR, SOME = 2.38 / np.sqrt(2), 0.8, (0.2, 0.5, 1.0)
#: Metropolis steps of each standard deviation between groups.
SCALE_STEPS = 4
#: Largest absolute coordinate of the population, which is standard normal under the prior.
LARGEST = 8.0
#: Ridge of the regression on the population, as a share of the variances.
RIDGE = 0.02


class Hierarchy(NamedTuple):
    """A posterior of groups that are independent given their population.

    Values of groups are in units of the prior width of their parameter, from the centre of its
    prior.

    Attributes
    ----------
    groups, shared : int
        Number of groups, and of parameters that all groups share.
    log_likelihood : callable
        ``log_likelihood(values, shared)``: (n, group) for values (n, parameter, group) and shared
        parameters (n, shared), which are standard normal under the prior.
    pooled : array of bool (parameter,)
        Whether the values of groups have a population. The others are standard normal.
    between : array (parameter,)
        Prior median of the standard deviation between groups.
    spread : float
        Prior standard deviation of its logarithm.
    rates : array (parameter,)
        Posteriors are nearest to normal in exp(rate * value), or in the value if the rate is zero.
    """

    groups: int
    shared: int
    log_likelihood: Callable[[np.ndarray, np.ndarray], np.ndarray]
    pooled: np.ndarray
    between: np.ndarray
    spread: float
    rates: np.ndarray

    @property
    def parts(self) -> tuple[slice, slice, slice]:
        """The coordinates of a population: means, standardised logs of the standard deviations
        between groups, and shared parameters. Each is standard normal under the prior."""
        number = int(self.pooled.sum())
        return slice(number), slice(number, 2 * number), slice(2 * number, 2 * number + self.shared)

    def mean(self, population: np.ndarray) -> np.ndarray:
        """Means of the values of groups, (n, parameter)."""
        out = np.zeros((len(population), len(self.pooled)))
        out[:, self.pooled] = population[:, self.parts[0]]
        return out

    def sd(self, population: np.ndarray) -> np.ndarray:
        """Standard deviations of the values of groups, (n, parameter)."""
        out = np.ones((len(population), len(self.pooled)))
        scale = np.exp(self.spread * population[:, self.parts[1]])
        out[:, self.pooled] = self.between[self.pooled] * scale
        return out

    def log_prior(self, values: np.ndarray, population: np.ndarray) -> np.ndarray:
        """Log density of the values of each group given the population, (n, group)."""
        sd = self.sd(population)
        apart = (values - self.mean(population)[:, :, None]) / sd[:, :, None]
        return -0.5 * (apart**2).sum(axis=1) - np.log(sd).sum(axis=1, keepdims=True)

    # Coordinates in which regressions and moves are linear.

    def straight(self, values: np.ndarray) -> np.ndarray:
        """Coordinates in which posteriors are nearest to normal, of values (n, parameter, ...)."""
        out = values.copy()
        for i in np.flatnonzero(self.rates):
            out[:, i] = np.expm1(self.rates[i] * values[:, i]) / self.rates[i]
        return out

    def curved(self, straight: np.ndarray) -> np.ndarray:
        """The inverse of `straight`; NaN beyond its range."""
        out = straight.copy()
        for i in np.flatnonzero(self.rates):
            out[:, i] = np.log1p(self.rates[i] * straight[:, i]) / self.rates[i]
        return out

    def log_volume(self, values: np.ndarray) -> np.ndarray:
        """Log of the volume of values per volume of `straight`, (n, group)."""
        at = np.flatnonzero(self.rates)
        return -(self.rates[at, None] * values[:, at]).sum(axis=1)

    def features(self, population: np.ndarray) -> np.ndarray:
        """The population in the coordinates of `straight`."""
        means, _, _ = self.parts
        out = population.copy()
        out[:, means] = self.straight(self.mean(population))[:, self.pooled]
        return out


class Sampled(NamedTuple):
    """Draws from the posterior of a hierarchy: values (chain, draw, parameter, group), population
    (chain, draw, coordinate)."""

    values: np.ndarray
    population: np.ndarray
    convergence: Convergence
    sweeps: int


def sample(
    hierarchy: Hierarchy,
    names: tuple[list[str], list[str]],
    *,
    draws: int,
    chains: int,
    seed: int | list[int],
    cores: int | None = None,
    report: Callable = lambda text, done=0, total=None: None,
) -> Sampled:
    """Draw from the posterior of a hierarchy.

    Parameters
    ----------
    hierarchy : Hierarchy
    names : tuple of two lists of str
        Of the values, in the order (parameter, group), and of the coordinates of the population,
        for the diagnostics.
    draws, chains : int
        Shape of the result. Convergence is assessed by comparing sets of particles.
    seed : int or list of int
    cores : int, optional
        Largest number of processors; by default all. The draws do not depend on it.
    report : callable, optional
        ``report(text, done, total)`` is called at every stage.
    """
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(BLOCKS)]
    kept = max(KEPT, -(-draws * chains // PARTICLES))
    with ThreadPoolExecutor(cores or os.cpu_count()) as executor:
        states = list(executor.map(partial(_start, hierarchy, PARTICLES // BLOCKS), rngs))
        values, population, _ = (np.concatenate(a)[:, None] for a in zip(*states, strict=True))
        for number, sweeps in enumerate(STAGES):
            report("sampling groups and their population", number, len(STAGES))
            half = values.shape[1] // 2
            moves = _Moves(hierarchy, values[:, half:], population[:, half:])
            run = partial(_stage, moves, sweeps=sweeps, kept=kept)
            states, paths = zip(*executor.map(run, states, rngs), strict=True)
            values, population = (np.concatenate(a) for a in zip(*paths, strict=True))
            if sweeps >= LEAST:
                # Nearly always the population is the slowest.
                convergence = particle_convergence(names[1], _compared(population))
                if convergence.passed:
                    flat = values.reshape(*values.shape[:2], -1)
                    every = np.concatenate([flat, population], axis=2)
                    convergence = particle_convergence([*names[0], *names[1]], _compared(every))
                if convergence.passed:
                    break
    # In the order of particles, so that the draws of a chain are correlated as they were drawn.
    every = np.linspace(0, values.shape[0] * values.shape[1] - 1, chains * draws)
    every = every.round().astype(int).reshape(chains, draws)
    values, population = (a.reshape(-1, *a.shape[2:])[every] for a in (values, population))
    return Sampled(values, population, convergence, sum(STAGES[: number + 1]))


def _compared(draws: np.ndarray) -> np.ndarray:
    """Draws (particle, state, scalar) by the sets of particles that are compared."""
    return draws.reshape(COMPARED, -1, *draws.shape[1:])


class _State(NamedTuple):
    """The particles of a block: values (particle, parameter, group), population (particle,
    coordinate), log likelihood (particle, group)."""

    values: np.ndarray
    population: np.ndarray
    log_likelihood: np.ndarray


def _start(of: Hierarchy, particles: int, rng: np.random.Generator) -> _State:
    """Values of each group among draws from the prior, by their likelihood."""
    drawn = rng.standard_normal((PRIOR_DRAWS, len(of.pooled), of.groups))
    size = of.parts[2].stop
    log = of.log_likelihood(drawn, np.zeros((PRIOR_DRAWS, of.shared)))
    log = np.maximum(log, UNLIKELY)
    chosen = np.stack(
        [rng.permutation(tempered_resample(each, START, particles, rng)[0]) for each in log.T],
        axis=1,
    )
    values = np.ascontiguousarray(drawn[chosen, :, np.arange(of.groups)].swapaxes(1, 2))
    population = rng.standard_normal((particles, size))
    population[:, of.parts[0]] = values.mean(axis=2)[:, of.pooled]
    return _State(values, population, of.log_likelihood(values, population[:, of.parts[2]]))


def _stage(moves: _Moves, state: _State, rng: np.random.Generator, *, sweeps: int, kept: int):
    """The last state of a block after a number of sweeps, and the states that are kept: values and
    population, (particle, state, ...)."""
    every, path = max(1, sweeps // kept), []
    with np.errstate(all="ignore"):  # values beyond their range are rejected
        for sweep in range(sweeps):
            state = moves.sweep(state, rng)
            if sweep % every == every - 1:
                path.append(state)
    values, population = (
        np.stack([getattr(s, n) for s in path], axis=1) for n in _State._fields[:2]
    )
    return state, (values, population)


class _Moves:
    """Moves with fixed proposals, which are learnt from states (particle, state, ...)."""

    def __init__(self, of: Hierarchy, values: np.ndarray, population: np.ndarray):
        self.of = of
        self.population = population.reshape(-1, population.shape[-1])
        values = of.straight(values.reshape(-1, *values.shape[-2:]))
        x = of.features(self.population)
        self.x, self.centre = x.mean(axis=0), values.mean(axis=0)
        x, apart = x - self.x, (values - self.centre).reshape(len(x), -1)
        precision = x.T @ x + RIDGE * np.diag((x**2).sum(axis=0)) + 1e-9 * np.eye(x.shape[1])
        slope = np.linalg.solve(precision, x.T @ apart)
        self.slope = slope.reshape(-1, *values.shape[1:])
        #: Distance of values from their expectation.
        self.apart = (apart - x @ slope).reshape(values.shape)
        by_group = self.apart.transpose(2, 1, 0)
        covariance = by_group @ by_group.transpose(0, 2, 1) / len(x)
        size = np.einsum("gii->gi", covariance)
        covariance += np.einsum("gi,ij->gij", 1e-8 + 1e-6 * size, np.eye(size.shape[1]))
        self.root = np.linalg.cholesky(covariance)
        self.inverse = np.linalg.inv(self.root)

    def sweep(self, state: _State, rng: np.random.Generator) -> _State:
        """Every kind of move."""
        state = self._towards_expectation(state, rng)
        state = self._given_values(state, rng)
        for _ in range(POPULATION_MOVES):
            state = self._population(state, rng)
        if self.of.shared:
            state = self._population(state, rng, self.of.parts[2])
        state = self._differences(state, rng)
        return self._given_values(state, rng)

    def _shift(self, features: np.ndarray) -> np.ndarray:
        """Change of the expectation of values with features of the population."""
        shape = self.slope.shape
        return (features @ self.slope.reshape(shape[0], -1)).reshape(-1, *shape[1:])

    def _towards_expectation(self, state: _State, rng) -> _State:
        """New values from the normal distribution given the population."""
        of = self.of
        mean = self.centre + self._shift(of.features(state.population) - self.x)
        white = _times(self.inverse, of.straight(state.values) - mean)
        correlation = rng.choice(CORRELATIONS, size=(len(white), 1, white.shape[2]))
        new = rng.standard_normal(white.shape)
        new = correlation * white + np.sqrt(1 - correlation**2) * new
        ratio = 0.5 * ((new**2).sum(axis=1) - (white**2).sum(axis=1))
        return self._groups(state, mean + _times(self.root, new), ratio, rng)

    def _differences(self, state: _State, rng) -> _State:
        """Values moved by differences between states of their group."""
        at = self.of.straight(state.values)
        one, other = rng.integers(len(self.apart), size=(2, len(at), 1, at.shape[2]))
        which = np.arange(at.shape[1])[:, None], np.arange(at.shape[2])
        step = self.apart[one, *which] - self.apart[other, *which]
        return self._groups(state, at + _evolution(at.shape, 1, rng) * step, 0.0, rng)

    def _groups(self, state: _State, straight, log_ratio, rng) -> _State:
        """Accept or reject values group by group."""
        of, values = self.of, self.of.curved(straight)
        new = of.log_likelihood(values, state.population[:, of.parts[2]])
        log_ratio = log_ratio + new - state.log_likelihood
        log_ratio += of.log_prior(values, state.population)
        log_ratio -= of.log_prior(state.values, state.population)
        log_ratio += of.log_volume(values) - of.log_volume(state.values)
        accepted = np.log(rng.random(new.shape)) < log_ratio
        return state._replace(
            values=np.where(accepted[:, None], values, state.values),
            log_likelihood=np.where(accepted, new, state.log_likelihood),
        )

    def _population(self, state: _State, rng, part: slice | None = None) -> _State:
        """Population moved by differences between states, and values with their expectation; or a
        part of it alone."""
        of, before = self.of, state.population
        one, other = rng.integers(len(self.population), size=(2, len(before)))
        moving = slice(None) if part is None else part
        step = self.population[one, moving] - self.population[other, moving]
        population = before.copy()
        population[:, moving] += _evolution(step.shape, 1, rng) * step
        inside = (np.abs(population) < LARGEST).all(axis=1)
        population = np.where(inside[:, None], population, before)
        values = state.values
        if part is None:
            shift = self._shift(of.features(population) - of.features(before))
            values = of.curved(of.straight(values) + shift)
        new = of.log_likelihood(values, population[:, of.parts[2]])
        each = new - state.log_likelihood
        each += of.log_prior(values, population) - of.log_prior(state.values, before)
        each += of.log_volume(values) - of.log_volume(state.values)
        log_ratio = each.sum(axis=1) - 0.5 * (population**2 - before**2).sum(axis=1)
        accepted = np.log(rng.random(len(before))) < log_ratio
        return _State(
            np.where(accepted[:, None, None], values, state.values),
            np.where(accepted[:, None], population, before),
            np.where(accepted[:, None], new, state.log_likelihood),
        )

    def _given_values(self, state: _State, rng) -> _State:
        """Means and standard deviations of the population, given the values of groups."""
        of, population = self.of, state.population.copy()
        means, scales, _ = of.parts
        values, number = state.values[:, of.pooled], of.groups
        sd = of.sd(population)[:, of.pooled]
        precision = 1 + number / sd**2
        normal = rng.standard_normal(sd.shape)
        mean = values.sum(axis=2) / sd**2 / precision + normal / np.sqrt(precision)
        square = ((values - mean[:, :, None]) ** 2).sum(axis=2) / of.between[of.pooled] ** 2
        population[:, means] = mean
        population[:, scales] = moved_scale(population[:, scales], square, number, of.spread, rng)
        return state._replace(population=population)


def moved_scale(standardised, square, size, spread: float, rng) -> np.ndarray:
    """Move standardised logs of standard deviations by random walk Metropolis steps, given the sum
    of squares of `size` normal values in units of the prior median."""

    def log_density(x):
        return -0.5 * x**2 - size * spread * x - 0.5 * square * np.exp(-2 * spread * x)

    value = log_density(standardised)
    # The conditional standard deviation is at most that of the prior and of the sum of squares.
    width = 1 / np.sqrt(1 + 2 * size * spread**2)
    for _ in range(SCALE_STEPS):
        proposal = standardised + 2.4 * width * rng.standard_normal(standardised.shape)
        new = log_density(proposal)
        accepted = np.log(rng.random(proposal.shape)) < new - value
        standardised = np.where(accepted, proposal, standardised)
        value = np.where(accepted, new, value)
    return standardised


def _evolution(shape: tuple[int, ...], axis: int, rng) -> np.ndarray:
    """Factors on differences of states, some of which are zero along an axis."""
    each = (*shape[:axis], 1, *shape[axis + 1 :])
    moves = rng.random(shape) < rng.choice(SOME, size=each)
    number = np.maximum(moves.sum(axis=axis, keepdims=True), 1)
    factor = EVOLUTION * np.exp(FACTOR * (rng.standard_normal(each) - 0.5))
    return moves * (factor / np.sqrt(number))


def _times(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Products of the matrix of each group, (group, i, j), and vectors (n, j, group)."""
    return np.ascontiguousarray((matrix @ vectors.transpose(2, 1, 0)).transpose(2, 1, 0))

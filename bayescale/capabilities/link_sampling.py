"""Sampling of a link without compilation: task by task, then the population.

Given the population values, the tasks of a link are independent. Each task has a pool of weighted
draws of its parameters, walk and shifts of groups, from adaptive importance sampling
(`bayescale.capabilities.link_density`). The average of the weights of a pool under given population
values is an unbiased estimate of the likelihood of these values. The population values are drawn by
adaptive importance sampling with the product of these averages, and the values of each task are
then drawn from its pool. This is the exact posterior up to the Monte Carlo error of the pools,
which is reported. The pools are made twice: around the first population values found, and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayescale.capabilities.link_density import PRODUCT, Shifts, TaskDensity
from bayescale.capabilities.link_model import (
    FIXED_SCALE,
    MOVE,
    MOVE_SPREAD,
    LinkPlan,
    cell,
)
from bayescale.inference import (
    Density,
    Mixture,
    find_modes,
    fitted_mixture,
    mixture_at_modes,
    systematic_resample,
)
from bayescale.priors import from_link

#: Standard deviation of the log of the standard deviation between tasks, as in the PyMC model.
SCALE_SPREAD = 0.5
#: Draws from the prior and starts of the search for modes, of a task and of the population.
PRIOR_DRAWS, STARTS, POPULATION_STARTS = 600, 6, 1
#: Draws of a round of adaptation of a task, number of rounds, and draws of its pool.
ROUND, ROUNDS, POOL = 1000, 3, 4000
#: The same of the population values: first rough ones, then those of the result.
FIRST, LAST = (1500, 2, 2000), (2000, 1, 6000)
#: Effective draws per dimension that a mixture is fitted to; weights are tempered until then.
LEAST_EFFECTIVE, RESAMPLED = 25, 3000
#: Number of draws of the population values that weight a pool.
WEIGHTED_BY = 300
#: Standard deviation along u of the shifts of groups before the population is known.
FIRST_SHIFT = 0.3

#: Number of draws of the population values that are compared between halves of the pools.
SHIFT_FROM = 1000
ESS_ABOVE, PARETO_K_BELOW, SHIFT_BELOW = 400, 0.7, 0.3


@dataclass(frozen=True)
class LinkConvergence:
    """How exact the draws of a link are.

    Attributes
    ----------
    ess : float
        Smallest effective number of independent draws, of a task or of the population values.
    ess_of : str
        ``population``, or the name of the task.
    pareto_k, pareto_k_of
        Largest shape of the tail of the importance weights (Vehtari et al. 2024, arXiv:1507.02646).
    shift : float
        Largest difference between the posterior means of a population value from two halves of the
        pools, in posterior standard deviations.
    """

    ess: float
    ess_of: str
    pareto_k: float
    pareto_k_of: str
    shift: float

    @property
    def passed(self) -> bool:
        """Whether every figure is within its threshold."""
        return not self.failures()

    def failures(self) -> tuple[str, ...]:
        """Each diagnostic that failed, in words, with its value and its threshold."""
        failed = []
        if not self.ess >= ESS_ABOVE:
            failed.append(
                f"only {self.ess:.0f} draws of {self.ess_of} are effective (at least {ESS_ABOVE})"
            )
        if self.pareto_k > PARETO_K_BELOW:
            failed.append(
                f"Pareto k of {self.pareto_k_of} is {self.pareto_k:.2f} (at most {PARETO_K_BELOW})"
            )
        if not self.shift <= SHIFT_BELOW:
            failed.append(
                f"halves of the draws differ by {self.shift:.2f} standard deviations in a "
                f"population value (at most {SHIFT_BELOW})"
            )
        return tuple(failed)

    def __str__(self) -> str:
        return f"{self.ess:.0f} effective draws, Pareto k <= {self.pareto_k:.2f}"


class Drawn(NamedTuple):
    """Draws of a link, dims (chain, draw, ...), and how exact they are.

    `ess` holds the effective number of draws of each task.
    """

    posterior: xr.Dataset
    stats: xr.Dataset
    convergence: LinkConvergence


class Layout:
    """Positions of the population values of a link, which are standard normal under the prior.

    In this order: population values of the parameters, standard deviations between tasks, then
    shifts of the groups, and the standard deviations of shifts of groups and of cells.
    """

    def __init__(self, plan: LinkPlan):
        self.plan = plan
        priors = [p.prior for p in plan.parameters]
        self.inferred = [i for i, p in enumerate(plan.parameters) if p.name not in FIXED_SCALE]
        self.width = np.array([p.width for p in priors])
        self.between = np.array([p.between_width for p in priors])
        self.total = np.hypot(self.width, self.between)  # the unit of positions of tasks
        self.parameters, self.members = len(priors), len(plan.members)
        scales = self.parameters + len(self.inferred)
        self.dimension = scales + (self.members + 2 if self.members else 0)
        self.at_scales, self.at_moves = slice(self.parameters, scales), scales

    def read(self, position: np.ndarray):
        """Mean and standard deviation of the standardised parameters over tasks, (draw, parameter),
        and of the shifts of cells, (draw, member) and (draw, 1)."""
        mean = position[:, : self.parameters] * self.width / self.total
        sd = np.tile(self.between / self.total, (len(position), 1))
        sd[:, self.inferred] *= np.exp(SCALE_SPREAD * position[:, self.at_scales])
        if not self.members:
            return mean, sd, np.zeros((len(position), 0)), np.ones((len(position), 1))
        of_member, of_cell = self.move_scales(position)
        return mean, sd, of_member * self._moves(position), of_cell

    def move_scales(self, position):
        """Standard deviations of the shifts of members and of cells, each (draw, 1)."""
        log = np.log(MOVE) + MOVE_SPREAD * position[:, -2:]
        return np.exp(log[:, :1]), np.exp(log[:, 1:])

    def _moves(self, position):
        return position[:, self.at_moves : self.at_moves + self.members]


@dataclass(frozen=True, eq=False)
class Pool:
    """Weighted draws of one task.

    Attributes
    ----------
    density : TaskDensity
    layout : Layout
    z : (draw, parameter)
        Standardised parameters.
    walk : (draw, component)
    shift : (draw, group)
    log_base : (draw,)
        Log weight without the density of parameters and shifts given the population.
    """

    density: TaskDensity
    layout: Layout
    z: np.ndarray
    walk: np.ndarray
    shift: np.ndarray
    log_base: np.ndarray

    @cached_property
    def groups(self) -> list[int]:
        return [self.density.plan.members.index(m) for m in self.density.members]

    @cached_property
    def _features(self) -> np.ndarray:
        """Terms in which the log density given the population is linear; (feature, draw)."""
        z, inferred = self.z, self.layout.inferred
        parts = [z, z[:, inferred] ** 2, self.shift, (self.shift**2).sum(axis=1, keepdims=True)]
        return np.ascontiguousarray(np.concatenate(parts, axis=1).T, np.float32)

    @cached_property
    def _fixed(self) -> tuple[np.ndarray, float]:
        """Log weights without the terms that depend on the population, less the largest of them,
        (draw,), and the largest."""
        layout = self.layout
        fixed = [i for i in range(layout.parameters) if i not in layout.inferred]
        precision = (layout.total / layout.between)[fixed] ** 2
        log = self.log_base - 0.5 * (self.z[:, fixed] ** 2 * precision).sum(axis=1)
        return (log - log.max()).astype(np.float32), float(log.max())

    def _log_weights(self, position: np.ndarray):
        """Log weights under population values, less a constant for each of them.

        Yields blocks of (population draw, draw), and the constants, (population draw,). Single
        precision is exact enough for differences of log weights, and several times faster.
        """
        mean, sd, moves, of_cell = self.layout.read(position)
        moves, groups = moves[:, self.groups], len(self.groups)
        terms = [
            mean / sd**2,
            -0.5 / sd[:, self.layout.inferred] ** 2,
            moves / of_cell**2,
            -0.5 / of_cell**2,
        ]
        coefficients = np.concatenate(terms, axis=1).astype(np.float32)
        log_fixed, largest = self._fixed
        constant = largest - (0.5 * (mean / sd) ** 2 + np.log(sd)).sum(axis=1)
        constant -= 0.5 * ((moves / of_cell) ** 2).sum(axis=1) + groups * np.log(of_cell[:, 0])
        constant -= 0.5 * (mean.shape[1] + groups) * np.log(2 * np.pi)
        rows = max(1, PRODUCT // self._features.size)
        for start in range(0, len(position), rows):
            block = coefficients[start : start + rows] @ self._features
            block += log_fixed
            yield block, constant[start : start + rows]

    def log_likelihood(self, position: np.ndarray) -> np.ndarray:
        """Log likelihood of population values, (population draw,)."""
        out = []
        for block, constant in self._log_weights(position):
            top = block.max(axis=1)
            block -= top[:, None]
            out.append(constant + top + np.log(np.exp(block, out=block).mean(axis=1, dtype=float)))
        return np.concatenate(out)

    def weights(self, position: np.ndarray) -> np.ndarray:
        """Weights averaged over draws of the population values; (draw,)."""
        total = np.zeros(len(self.z))
        for block, _ in self._log_weights(position):
            block -= block.max(axis=1, keepdims=True)
            weight = np.exp(block).astype(float)
            total += (weight / weight.sum(axis=1, keepdims=True)).sum(axis=0)
        return total / total.sum()

    def choose(self, position: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Index of one draw for each draw of the population values; (population draw,)."""
        chosen = []
        for block, _ in self._log_weights(position):
            block -= block.max(axis=1, keepdims=True)
            cumulative = np.cumsum(np.exp(block), axis=1, dtype=float)
            quantile = rng.random((len(cumulative), 1)) * cumulative[:, -1:]
            chosen.append((cumulative < quantile).sum(axis=1))
        return np.minimum(np.concatenate(chosen), len(self.z) - 1)

    def half(self, which: int) -> Pool:
        """Every second draw."""
        every = slice(which, None, 2)
        return Pool(
            self.density,
            self.layout,
            self.z[every],
            self.walk[every],
            self.shift[every],
            self.log_base[every],
        )


def sample(
    plan: LinkPlan,
    *,
    draws: int,
    chains: int,
    seed: int,
    cores: int | None = None,
    report=None,
) -> Drawn:
    """Draw from the posterior of a link.

    Parameters
    ----------
    plan : LinkPlan
    draws, chains : int
        Shape of the result. All draws are independent.
    seed : int
    cores : int, optional
        Number of tasks that are sampled at once; by default the number of processors.
    report : callable, optional
        ``report(text, done, total)`` is called at every step.
    """
    report = report or (lambda text, done=0, total=None: None)
    layout = Layout(plan)
    seeds = np.random.SeedSequence(seed).spawn(2 * len(plan.tasks) + 1)
    rngs = [np.random.default_rng(s) for s in seeds]
    rng, rngs = rngs[0], rngs[1:]
    first_shift = np.zeros((1, layout.members)), np.full((1, 1), FIRST_SHIFT)
    with ThreadPoolExecutor(cores or _processors()) as executor:

        def each(function, *arguments, text):
            done = []
            for result in executor.map(function, *arguments):
                done.append(result)
                report(text, len(done), len(plan.tasks))
            return done

        densities = [TaskDensity(plan, task) for task in plan.tasks]
        explored = partial(_explored, layout, first_shift)
        pools = each(explored, densities, rngs[::2], text="exploring tasks")
        report("sampling the population of tasks")
        population = _Population(layout, pools, executor, rng)
        position = population.sample(WEIGHTED_BY, FIRST)
        refined = partial(_refined, layout, position)
        pools = each(refined, pools, rngs[1::2], text="sampling tasks")
        report("sampling the population of tasks")
        population = _Population(layout, pools, executor, rng, population.mixture)
        position = population.sample(draws * chains, LAST)
        shift = population.shift(position[:SHIFT_FROM])
        some = position[:: max(1, len(position) // WEIGHTED_BY)]
        weights = list(executor.map(lambda pool: pool.weights(some), pools))
        values = list(executor.map(partial(_chosen, position), pools, rngs[::2]))
    return _assembled(plan, layout, position, values, weights, population, shift, (chains, draws))


def _processors() -> int:
    import os

    return os.cpu_count() or 1


# -- tasks -------------------------------------------------------------------------------------


def _explored(layout: Layout, first_shift, density: TaskDensity, rng) -> Pool:
    """Draws of a task, as if its population values were those of the prior."""
    mean, sd = first_shift
    shifts = _shifts(density, mean, sd)

    def likelihood(z):
        return density.approximate(z, shifts)

    target = Density(layout.parameters, likelihood)
    mixture = mixture_at_modes(find_modes(target, rng, PRIOR_DRAWS, STARTS))
    mixtures, pool = [], None
    for _ in range(ROUNDS):
        mixtures.append(mixture)
        new = _drawn(layout, density, mixture, shifts, ROUND, rng)
        pool = new if pool is None else _joined(pool, new)
        # All draws are weighted against the mean of all proposals.
        log_proposal = np.logaddexp.reduce([m.log_density(pool.z) for m in mixtures], axis=0)
        log_base = pool.log_base - log_proposal + np.log(len(mixtures))
        whole = replace(pool, log_base=log_base)
        log_prior = -0.5 * (pool.z**2).sum(axis=1)
        log_prior -= 0.5 * (((pool.shift - shifts.mean) / shifts.sd) ** 2).sum(axis=1)
        mixture = _fitted(pool.z, log_base + log_prior, rng)
    return whole


def _refined(layout: Layout, position: np.ndarray, pool: Pool, rng) -> Pool:
    """New draws of a task from a mixture that is fitted to its posterior."""
    mean, sd = _predictive_shifts(layout, position)
    shifts = _shifts(pool.density, mean, sd)
    weight = pool.weights(position)
    mixture = _fitted(pool.z, np.log(np.maximum(weight, 1e-300)), rng)
    new = _drawn(layout, pool.density, mixture, shifts, POOL, rng)
    return replace(new, log_base=new.log_base - mixture.log_density(new.z))


def _drawn(layout, density: TaskDensity, mixture: Mixture, shifts: Shifts, n: int, rng) -> Pool:
    """Draws from a mixture, whose density is not yet in their weights."""
    z = mixture.draw(n, rng)
    proposed = density.propose(z, shifts, rng)
    return Pool(density, layout, z, proposed.walk, proposed.shift, proposed.log_density)


def _joined(one: Pool, other: Pool) -> Pool:
    names = ("z", "walk", "shift", "log_base")
    return replace(one, **{n: np.concatenate([getattr(one, n), getattr(other, n)]) for n in names})


def _shifts(density: TaskDensity, mean, sd) -> Shifts:
    """Prior of the shifts of the groups of a task, from those of all groups."""
    at = [density.plan.members.index(m) for m in density.members]
    return Shifts(mean[0, at], np.broadcast_to(sd, mean.shape)[0, at])


def _predictive_shifts(layout: Layout, position):
    """Mean and standard deviation of the shift of a new cell, (1, member)."""
    _, _, moves, of_cell = layout.read(position)
    sd = np.sqrt((of_cell**2).mean() + moves.var(axis=0, keepdims=True))
    return moves.mean(axis=0, keepdims=True), sd


def _fitted(z: np.ndarray, log_weight: np.ndarray, rng) -> Mixture:
    """A mixture fitted to weighted draws; uneven weights are tempered."""
    needed = min(LEAST_EFFECTIVE * z.shape[1], len(z) / 2)
    power = 1.0
    while True:
        tempered = power * log_weight
        tempered -= np.logaddexp.reduce(tempered)
        effective = float(np.exp(-np.logaddexp.reduce(2 * tempered)))
        if effective >= needed:
            break
        power *= 0.8
    chosen = systematic_resample(np.exp(tempered), RESAMPLED, rng)
    return fitted_mixture(z[chosen], min(effective, RESAMPLED), rng)


def _chosen(position: np.ndarray, pool: Pool, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters, walk and shifts of a task, one draw for each draw of the population values."""
    at = pool.choose(position, rng)
    return pool.z[at], pool.walk[at], pool.shift[at]


# -- population --------------------------------------------------------------------------------


class _Population:
    """The posterior of the population values, given the pools of all tasks."""

    def __init__(
        self,
        layout: Layout,
        pools: Sequence[Pool],
        executor,
        rng: np.random.Generator,
        mixture: Mixture | None = None,
    ):
        self.layout, self.pools, self.executor, self.rng = layout, pools, executor, rng
        self.mixture = mixture

    def log_likelihood(self, position: np.ndarray) -> np.ndarray:
        return self.each(self.pools, position).sum(axis=0)

    def each(self, pools, position: np.ndarray) -> np.ndarray:
        """Log likelihood of each task, (task, draw)."""
        return np.array(list(self.executor.map(partial(_likelihoods, position), pools)))

    def sample(self, n: int, effort: tuple[int, int, int]) -> np.ndarray:
        """Draws of the population values, in random order; (draw, value)."""
        density = Density(self.layout.dimension, self.log_likelihood)
        if self.mixture is None:
            modes = find_modes(density, self.rng, PRIOR_DRAWS, POPULATION_STARTS)
            self.mixture = mixture_at_modes(modes)
        of_round, rounds, last = effort
        mixtures, z, value = [], np.zeros((0, density.dimension)), np.zeros(0)
        for _ in range(rounds):
            mixtures.append(self.mixture)
            new = self.mixture.draw(of_round, self.rng)
            z = np.concatenate([z, new])
            value = np.concatenate([value, density.log_posterior(new)])
            proposal = np.logaddexp.reduce([m.log_density(z) for m in mixtures], axis=0)
            self.mixture = _fitted(z, value - proposal, self.rng)
        z = self.mixture.draw(last, self.rng)
        log_weight = density.log_posterior(z) - self.mixture.log_density(z)
        self.log_weight = log_weight - np.logaddexp.reduce(log_weight)
        self.ess = float(np.exp(-np.logaddexp.reduce(2 * self.log_weight)))
        chosen = systematic_resample(np.exp(self.log_weight), n, self.rng)
        return z[self.rng.permutation(chosen)]

    def shift(self, position: np.ndarray) -> float:
        """Largest difference of posterior means from two halves of the pools, in posterior standard
        deviations."""
        whole = self.log_likelihood(position)
        means = []
        for which in (0, 1):
            of_half = self.each([pool.half(which) for pool in self.pools], position).sum(axis=0)
            log_weight = of_half - whole
            weight = np.exp(log_weight - log_weight.max())
            means.append(weight @ position / weight.sum())
        return float((np.abs(means[0] - means[1]) / position.std(axis=0)).max())


def _likelihoods(position: np.ndarray, pool: Pool) -> np.ndarray:
    return pool.log_likelihood(position)


# -- result ------------------------------------------------------------------------------------


def _pareto_k(weight: np.ndarray) -> float:
    from arviz_stats.base import array_stats

    positive = weight[weight > 0]
    return float(array_stats.psislw(-np.log(positive))[1])  # it takes minus the log weights


def _assembled(plan, layout: Layout, position, values, weights, population, shift, shape) -> Drawn:
    """The posterior as the PyMC model names it, and its diagnostics."""
    variables: dict[str, tuple] = {}

    def put(name, array, *dims):
        variables[name] = ("chain", "draw", *dims), array.reshape(*shape, *array.shape[1:])

    z = np.stack([v[0] for v in values], axis=1)
    walk = np.stack([v[1] for v in values], axis=1)
    natural = {}
    for i, p in enumerate(plan.parameters):
        (effect,) = p.effects
        centre, link = p.prior.centre, p.prior.link
        put(p.name, from_link(link, centre + layout.width[i] * position[:, i]))
        natural[p.name] = from_link(link, centre + layout.total[i] * z[..., i])
        put(p.member(effect), natural[p.name], "task")
        if i in layout.inferred:
            at = layout.parameters + layout.inferred.index(i)
            put(p.scale(effect), layout.between[i] * np.exp(SCALE_SPREAD * position[:, at]))
    steps = np.sqrt(natural["slope"] / natural["walk"])[..., None] * walk
    put("walk_step", steps, "task", "component")
    if layout.members:
        _, _, moves, _ = layout.read(position)
        of_member, of_cell = layout.move_scales(position)
        put("move_member", moves, "member")
        put("move_member_scale", of_member[:, 0])
        put("move_cell_scale", of_cell[:, 0])
        by_cell = {
            cell(task, m): shift[:, i] - moves[:, plan.members.index(m)]
            for task, (_, _, shift) in zip(plan.tasks, values, strict=True)
            for i, m in enumerate(TaskDensity(plan, task).members)
        }
        put("move_cell", np.stack([by_cell[c] for c in plan.cells], axis=1), "cell")
    coords = {d: list(v) for d, v in plan.levels.items()}
    coords |= {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}
    each = {t: 1 / (w**2).sum() for t, w in zip(plan.tasks, weights, strict=True)}
    stats = xr.Dataset({"task_ess": ("task", list(each.values()))}, {"task": list(plan.tasks)})
    ks = {t: _pareto_k(w) for t, w in zip(plan.tasks, weights, strict=True)}
    ks["population"] = _pareto_k(np.exp(population.log_weight))
    each["population"] = population.ess
    worst, heaviest = min(each, key=each.get), max(ks, key=ks.get)
    convergence = LinkConvergence(float(each[worst]), worst, float(ks[heaviest]), heaviest, shift)
    return Drawn(xr.Dataset(variables, coords), stats, convergence)

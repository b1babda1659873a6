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
#: Draws from the prior and starts of the search for modes, of a task.
PRIOR_DRAWS, STARTS = 600, 6
#: Draws of a round of adaptation of a task, and number of rounds: first with the prior of the
#: population values, then with their posterior until `ENOUGH` draws are effective.
ROUND, ROUNDS = 1000, 3
REFINED, REFINED_ROUNDS, ENOUGH = 2000, 5, 1000
#: Largest total weight of the draws of a pool that are not kept.
NEGLIGIBLE = 1e-4
#: Particles of the Gibbs sampler of the population, sweeps, and sweeps that are kept: first for
#: rough population values, then for the result.
FIRST, LAST = (200, 15, 1), (500, 60, 40)
#: Metropolis steps of each standard deviation in a sweep.
SCALE_STEPS = 4
#: Effective draws per dimension that a mixture is fitted to; weights are tempered until then.
LEAST_EFFECTIVE, RESAMPLED = 25, 3000
#: Standard deviation along u of the shifts of groups before the population is known.
FIRST_SHIFT = 0.3

#: Number of draws of the population values that weight pools and their halves.
COMPARED = 400
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
    """Arrays of population values, dims (particle, value).

    In this order: standardised population values of the parameters; standardised logs of the
    standard deviations between tasks that are inferred; then, with groups, the same of the shifts
    of groups and of cells, and the shifts of groups in units of u. Standardised values are standard
    normal under the prior.
    """

    def __init__(self, plan: LinkPlan):
        self.plan = plan
        priors = [p.prior for p in plan.parameters]
        self.inferred = [i for i, p in enumerate(plan.parameters) if p.name not in FIXED_SCALE]
        self.width = np.array([p.width for p in priors])
        self.between = np.array([p.between_width for p in priors])
        self.total = np.hypot(self.width, self.between)  # the unit of parameters of tasks
        self.parameters, self.members = len(priors), len(plan.members)
        self.scales = slice(self.parameters, self.parameters + len(self.inferred))
        self.of_member, self.of_cell = self.scales.stop, self.scales.stop + 1
        self.moves = slice(self.scales.stop + 2, self.scales.stop + 2 + self.members)

    def prior(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draws from the prior."""
        size = self.moves.stop if self.members else self.scales.stop
        position = rng.standard_normal((n, size))
        if self.members:
            position[:, self.moves] *= move_scale(position[:, [self.of_member]])
        return position

    def mean(self, position: np.ndarray) -> np.ndarray:
        """Means over tasks of the standardised parameters, (particle, parameter)."""
        return position[:, : self.parameters] * self.width / self.total

    def sd(self, position: np.ndarray) -> np.ndarray:
        """Standard deviations between tasks of the standardised parameters."""
        sd = np.tile(self.between / self.total, (len(position), 1))
        sd[:, self.inferred] *= np.exp(SCALE_SPREAD * position[:, self.scales])
        return sd

    def read(self, position: np.ndarray):
        """Means and standard deviations of the parameters, and of the shifts of cells, (particle,
        member) and (particle, 1)."""
        moves, of_cell = np.zeros((len(position), 0)), np.ones((len(position), 1))
        if self.members:
            moves, of_cell = position[:, self.moves], move_scale(position[:, [self.of_cell]])
        return self.mean(position), self.sd(position), moves, of_cell


def move_scale(standardised):
    """Standard deviation of shifts from its standardised log."""
    return MOVE * np.exp(MOVE_SPREAD * standardised)


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

    def pruned(self, weight: np.ndarray) -> Pool:
        """Without the draws of the smallest weights."""
        order = np.argsort(weight)
        return self._only(np.sort(order[np.cumsum(weight[order]) > NEGLIGIBLE]))

    def half(self, which: int) -> Pool:
        """Every second draw."""
        return self._only(slice(which, None, 2))

    def _only(self, kept) -> Pool:
        names = ("z", "walk", "shift", "log_base")
        return replace(self, **{n: getattr(self, n)[kept] for n in names})


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
    seeds = np.random.SeedSequence(seed).spawn(len(plan.tasks) + 1)
    rngs = [np.random.default_rng(s) for s in seeds]
    with ThreadPoolExecutor(cores or _processors()) as executor:

        def each(function, *arguments, text):
            done = []
            for result in executor.map(function, *arguments):
                done.append(result)
                report(text, len(done), len(plan.tasks))
            return done

        densities = [TaskDensity(plan, task) for task in plan.tasks]
        shift = np.zeros((1, layout.members)), np.full((1, 1), FIRST_SHIFT)
        explored = partial(_explored, layout, shift)
        pools = each(explored, densities, rngs[1:], text="exploring tasks")
        report("sampling the population of tasks")
        first = _gibbs(layout, pools, executor, rngs, *FIRST)
        refined = partial(_refined, layout, first.position[-1])
        pools = each(refined, pools, rngs[1:], text="sampling tasks")
        report("sampling the population of tasks")
        states = _gibbs(layout, pools, executor, rngs, *LAST)
        some = states.position[-1][:COMPARED]
        weights = list(executor.map(lambda pool: pool.weights(some), pools))
        shift = _shift(layout, pools, some, executor)
    convergence, task_ess = _diagnosed(plan, states, weights, shift)
    stats = xr.Dataset({"task_ess": ("task", task_ess)}, {"task": list(plan.tasks)})
    return Drawn(_assembled(layout, states, pools, (chains, draws), rngs[0]), stats, convergence)


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
        whole = _weighted(pool, mixtures)
        log_prior = -0.5 * (pool.z**2).sum(axis=1)
        log_prior -= 0.5 * (((pool.shift - shifts.mean) / shifts.sd) ** 2).sum(axis=1)
        mixture = _fitted(pool.z, whole.log_base + log_prior, rng)
    return whole


def _refined(layout: Layout, position: np.ndarray, pool: Pool, rng) -> Pool:
    """New draws of a task from mixtures that are fitted to its posterior."""
    shifts = _shifts(pool.density, *_predictive_shifts(layout, position))
    mixtures, new = [], None
    for _ in range(REFINED_ROUNDS):
        weight = pool.weights(position)
        if new is not None and 1 / (weight**2).sum() > ENOUGH:
            break
        mixture = _fitted(pool.z, np.log(np.maximum(weight, 1e-300)), rng)
        mixtures.append(mixture)
        drawn = _drawn(layout, pool.density, mixture, shifts, REFINED, rng)
        new = drawn if new is None else _joined(new, drawn)
        pool = _weighted(new, mixtures)
    return pool.pruned(pool.weights(position))


def _weighted(pool: Pool, mixtures: Sequence[Mixture]) -> Pool:
    """The pool with its draws weighted against the mean of all proposals."""
    log_proposal = np.logaddexp.reduce([m.log_density(pool.z) for m in mixtures], axis=0)
    return replace(pool, log_base=pool.log_base - log_proposal + np.log(len(mixtures)))


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


# -- population --------------------------------------------------------------------------------


class States(NamedTuple):
    """States of the Gibbs sampler, dims (particle, ...).

    Attributes
    ----------
    position : (particle, value)
        Population values, see `Layout`.
    chosen : (particle, task)
        The draw of each pool.
    """

    position: np.ndarray
    chosen: np.ndarray


def _gibbs(layout: Layout, pools, executor, rngs, particles: int, sweeps: int, kept: int):
    """States of the last `kept` of `sweeps` sweeps, dims (sweep, particle, ...).

    A sweep draws the values of every task from its pool, given the population, and then the
    population given these. The particles start at draws from the prior: population values that the
    data determine are reached at once, and the others have their prior as posterior.
    """
    rng = rngs[0]
    position = layout.prior(particles, rng)
    states = []
    for sweep in range(sweeps):
        chosen = list(executor.map(partial(_choose, position), pools, rngs[1:]))
        z = np.stack([p.z[i] for p, i in zip(pools, chosen, strict=True)], axis=1)
        shifts = np.full((particles, len(pools), layout.members), np.nan)
        for t, (pool, i) in enumerate(zip(pools, chosen, strict=True)):
            shifts[:, t, pool.groups] = pool.shift[i]
        position = _given_tasks(layout, position, z, shifts, rng)
        if sweep >= sweeps - kept:
            states.append(States(position, np.stack(chosen, axis=1)))
    return States(*(np.stack(part) for part in zip(*states, strict=True)))


def _choose(position, pool: Pool, rng) -> np.ndarray:
    return pool.choose(position, rng)


def _given_tasks(layout: Layout, position, z, shifts, rng) -> np.ndarray:
    """Draw the population values given the parameters and shifts of all tasks.

    `z` has dims (particle, task, parameter), `shifts` (particle, task, member), with NaN for tasks
    without rows of a group.
    """
    position = position.copy()
    factor, sd = layout.width / layout.total, layout.sd(position)
    precision = 1 + z.shape[1] * (factor / sd) ** 2
    mean = factor * z.sum(axis=1) / sd**2 / precision
    normal = rng.standard_normal(mean.shape)
    position[:, : layout.parameters] = mean + normal / np.sqrt(precision)
    apart = z - layout.mean(position)[:, None]
    for i, at in zip(layout.inferred, range(layout.scales.start, layout.scales.stop), strict=True):
        unit = layout.between[i] / layout.total[i]
        square = ((apart[..., i] / unit) ** 2).sum(axis=1)
        position[:, at] = _scale(position[:, at], square, z.shape[1], SCALE_SPREAD, rng)
    if layout.members:
        of_member = move_scale(position[:, [layout.of_member]])
        of_cell = move_scale(position[:, [layout.of_cell]])
        cells = np.isfinite(shifts).sum(axis=1)
        precision = 1 / of_member**2 + cells / of_cell**2
        mean = np.nansum(shifts, axis=1) / of_cell**2 / precision
        moves = mean + rng.standard_normal(mean.shape) / np.sqrt(precision)
        position[:, layout.moves] = moves
        for at, values in ((layout.of_member, moves), (layout.of_cell, shifts - moves[:, None])):
            square = np.nansum((values.reshape(len(values), -1) / MOVE) ** 2, axis=1)
            size = layout.members if at == layout.of_member else cells[0].sum()
            position[:, at] = _scale(position[:, at], square, size, MOVE_SPREAD, rng)
    return position


def _scale(standardised, square, size, spread: float, rng) -> np.ndarray:
    """Move standardised logs of standard deviations by random walk Metropolis steps, given the sum
    of squares of `size` normal values in units of the prior median."""

    def log_density(x):
        return -0.5 * x**2 - size * spread * x - 0.5 * square * np.exp(-2 * spread * x)

    value = log_density(standardised)
    # The conditional standard deviation is at most that of the prior and of the sum of squares.
    width = 1 / np.sqrt(1 + 2 * size * spread**2)
    for _ in range(SCALE_STEPS):
        proposal = standardised + 2.4 * width * rng.standard_normal(len(standardised))
        new = log_density(proposal)
        accepted = np.log(rng.random(len(proposal))) < new - value
        standardised = np.where(accepted, proposal, standardised)
        value = np.where(accepted, new, value)
    return standardised


def _shift(layout: Layout, pools, position: np.ndarray, executor) -> float:
    """Largest difference of posterior means from two halves of the pools, in posterior standard
    deviations."""

    def each(pools):
        return np.sum(list(executor.map(partial(_likelihoods, position), pools)), axis=0)

    whole, means = each(pools), []
    for which in (0, 1):
        log_weight = each([pool.half(which) for pool in pools]) - whole
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


def _diagnosed(plan: LinkPlan, states: States, weights, shift: float):
    """The diagnostics of the draws, and the effective number of draws of each task."""
    from arviz_stats.base import array_stats

    chains = states.position.swapaxes(0, 1)
    ess = {"the population": float(array_stats.ess(chains, chain_axis=0, draw_axis=1).min())}
    of_tasks = {t: float(1 / (w**2).sum()) for t, w in zip(plan.tasks, weights, strict=True)}
    tails = {t: _pareto_k(w) for t, w in zip(plan.tasks, weights, strict=True)}
    each = ess | of_tasks
    worst, heaviest = min(each, key=each.get), max(tails, key=tails.get)
    middle = len(states.position) // 2
    early, late = states.position[:middle], states.position[middle:]
    moved = np.abs(early.mean(axis=(0, 1)) - late.mean(axis=(0, 1)))
    moved = float((moved / late.std(axis=(0, 1))).max())
    convergence = LinkConvergence(each[worst], worst, tails[heaviest], heaviest, max(shift, moved))
    return convergence, list(of_tasks.values())


def _assembled(layout: Layout, states: States, pools, shape, rng) -> xr.Dataset:
    """The posterior, with the names of the PyMC model."""
    plan = layout.plan
    total = shape[0] * shape[1]
    flat = states.chosen.shape[0] * states.chosen.shape[1]
    at = rng.permutation(np.resize(rng.permutation(flat), total))
    position = states.position.reshape(flat, -1)[at]
    chosen = states.chosen.reshape(flat, -1)[at].T
    variables: dict[str, tuple] = {}

    def put(name, array, *dims):
        variables[name] = ("chain", "draw", *dims), array.reshape(*shape, *array.shape[1:])

    z, walk = (
        np.stack([getattr(p, n)[i] for p, i in zip(pools, chosen, strict=True)], axis=1)
        for n in ("z", "walk")
    )
    natural = {}
    for i, p in enumerate(plan.parameters):
        (effect,) = p.effects
        centre, link = p.prior.centre, p.prior.link
        put(p.name, from_link(link, centre + layout.width[i] * position[:, i]))
        natural[p.name] = from_link(link, centre + layout.total[i] * z[..., i])
        put(p.member(effect), natural[p.name], "task")
        if i in layout.inferred:
            scale = position[:, layout.scales][:, layout.inferred.index(i)]
            put(p.scale(effect), layout.between[i] * np.exp(SCALE_SPREAD * scale))
    steps = np.sqrt(natural["slope"] / natural["walk"])[..., None] * walk
    put("walk_step", steps, "task", "component")
    if layout.members:
        moves = position[:, layout.moves]
        put("move_member", moves, "member")
        put("move_member_scale", move_scale(position[:, layout.of_member]))
        put("move_cell_scale", move_scale(position[:, layout.of_cell]))
        by_cell = {
            cell(pool.density.task, m): pool.shift[i, j] - moves[:, g]
            for pool, i in zip(pools, chosen, strict=True)
            for j, (m, g) in enumerate(zip(pool.density.members, pool.groups, strict=True))
        }
        put("move_cell", np.stack([by_cell[c] for c in plan.cells], axis=1), "cell")
    coords = {d: list(v) for d, v in plan.levels.items()}
    coords |= {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}
    return xr.Dataset(variables, coords)

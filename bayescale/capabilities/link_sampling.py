"""Sampling of a link without compilation: task by task, then the population.

Given the population values, the tasks of a link are independent. Each task has a pool of weighted
draws (`bayescale.capabilities.link_pools`). A Gibbs sampler with many particles draws the values of
each task from its pool given the population, and the population given these. This is the posterior
up to the Monte Carlo error of the pools, which is reported. Pools are made with the prior of the
population, and again with a first approximation of its posterior.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayescale.capabilities.link_density import TaskDensity
from bayescale.capabilities.link_diagnostics import LinkConvergence
from bayescale.capabilities.link_model import MOVE, MOVE_SPREAD, LinkPlan, cell
from bayescale.capabilities.link_pools import (
    SCALE_SPREAD,
    Layout,
    Pool,
    explored,
    move_scale,
    refined,
)
from bayescale.inference import moved_scale, pareto_k
from bayescale.priors import from_link

#: Particles of the Gibbs sampler of the population, sweeps, and sweeps that are kept: first for
#: rough population values, then for the result.
FIRST, LAST = (200, 15, 1), (450, 50, 30)
#: Most times that pools are drawn. While the result does not pass its diagnostics, those with fewer
#: than `POOR` effective draws under the population values that were found are drawn again.
REFINEMENTS, POOR = 3, 600
#: Sweeps until all draws of the pools are candidates again, before sweeps are kept.
SWEEPS_BETWEEN = 5
#: Smallest probability of a draw to become a candidate, as a share of the mean.
LEAST_SHARE = 0.1
#: Number of draws of the population values that weight pools and their halves.
COMPARED = 400


class Drawn(NamedTuple):
    """Draws of a link, dims (chain, draw, ...), and how exact they are.

    `ess` holds the effective number of draws of each task.
    """

    posterior: xr.Dataset
    stats: xr.Dataset
    convergence: LinkConvergence


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
    with ThreadPoolExecutor(cores or os.cpu_count()) as executor:

        def each(function, *arguments, text):
            done = []
            for result in executor.map(function, *arguments):
                done.append(result)
                report(text, len(done), len(plan.tasks))
            return done

        densities = [TaskDensity(plan, task) for task in plan.tasks]
        explore = partial(explored, layout)
        pools = each(explore, densities, rngs[1:], text="exploring tasks")
        report("sampling the population of tasks")
        states = _gibbs(layout, pools, executor, rngs, *FIRST)
        poor = range(len(pools))
        for _ in range(REFINEMENTS):
            refine = partial(refined, layout, states.position[-1])
            some_pools, some_rngs = [pools[i] for i in poor], [rngs[1 + i] for i in poor]
            new = each(refine, some_pools, some_rngs, text="sampling tasks")
            pools = [dict(zip(poor, new, strict=True)).get(i, p) for i, p in enumerate(pools)]
            report("sampling the population of tasks")
            states = _gibbs(layout, pools, executor, rngs, *LAST)
            some = states.position[-1][:COMPARED]
            weights = list(executor.map(lambda pool: pool.weights(some), pools))  # noqa: B023
            shift = _shift(layout, pools, some, executor)
            convergence, task_ess = _diagnosed(pools, states, weights, shift)
            poor = [i for i, ess in enumerate(task_ess) if ess < POOR]
            if convergence.passed or not poor:
                break
    stats = xr.Dataset({"task_ess": ("task", task_ess)}, {"task": list(plan.tasks)})
    return Drawn(_assembled(layout, states, pools, (chains, draws), rngs[0]), stats, convergence)


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
    states, shares = [], None
    for sweep in range(sweeps):
        if sweep % SWEEPS_BETWEEN == 0 and sweep <= sweeps - kept:
            chosen = list(executor.map(partial(_choose, position), pools, rngs[1:]))
            shares = list(executor.map(partial(_share, position[:COMPARED]), pools))
        else:
            again = partial(_choose_again, position)
            chosen = list(executor.map(again, pools, chosen, shares, rngs[1:]))
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


def _choose_again(position, pool: Pool, chosen, share, rng) -> np.ndarray:
    return pool.choose_again(position, chosen, share, rng)


def _share(position, pool: Pool) -> np.ndarray:
    """Probabilities with which draws of a pool become candidates; (draw,)."""
    weight = pool.weights(position)
    return (1 - LEAST_SHARE) * weight + LEAST_SHARE / len(weight)


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
        position[:, at] = moved_scale(position[:, at], square, z.shape[1], SCALE_SPREAD, rng)
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
            position[:, at] = moved_scale(position[:, at], square, size, MOVE_SPREAD, rng)
    return position


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


def _diagnosed(pools, states: States, weights, shift: float):
    """The diagnostics of the draws, and the effective number of draws of each task."""
    from arviz_stats.base import array_stats

    chains = states.position.swapaxes(0, 1)
    ess = {"the population": float(array_stats.ess(chains, chain_axis=0, draw_axis=1).min())}
    of_tasks, tails = {}, {}
    for pool, weight in zip(pools, weights, strict=True):
        of_tasks[pool.density.task] = pool.independent / float((weight**2).sum())
        tails[pool.density.task] = float(pareto_k(np.log(weight[weight > 0])))
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

"""Pools of weighted draws of the tasks of a link.

Given the population values, the tasks of a link are independent. A pool holds draws of the
parameters, walk and shifts of groups of one task from adaptive importance sampling. The average of
its weights under given population values is an unbiased estimate of their likelihood, and a draw by
these weights is a draw of the task given the population.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bayescale.capabilities.link_density import PRODUCT, Residuals, Shifts, TaskDensity
from bayescale.capabilities.link_model import FIXED_SCALE, MOVE, MOVE_SPREAD, LinkPlan
from bayescale.inference import (
    Density,
    Mixture,
    find_modes,
    fitted_mixture,
    mixture_at_modes,
    pareto_k,
    systematic_resample,
    tempered_resample,
)

#: Standard deviation of the log of the standard deviation between tasks, as in the PyMC model.
SCALE_SPREAD = 0.5
#: Draws from the prior and starts of the search for modes of a task.
PRIOR_DRAWS, STARTS = 400, 3
#: Draws of a round of adaptation of a task, and number of rounds: first with the prior of the
#: population values, then with their posterior until `ENOUGH` draws are effective and Pareto k is
#: below `TAIL_BELOW`.
ROUND, ROUNDS = 1000, 3
REFINED, REFINED_ROUNDS, ENOUGH, TAIL_BELOW = 1500, 6, 900, 0.6
#: With fewer than `LEAST` effective draws after these rounds, draws are moved: number of draws;
#: moves between two states, and most moves; effective share of the last two states at which moves
#: end. Then the optimal scale of differential evolution times the root of the dimension, standard
#: deviation of the log of the factor on it, and standard deviation of the first move of all draws.
LEAST, PARTICLES, MOVES, MOST_MOVES, INDEPENDENT = 450, 1200, 70, 490, 0.5
EVOLUTION, EVOLUTION_SPREAD, JITTER = 2.38 / np.sqrt(2), 0.7, 0.05
#: Draws of a pool among which the Gibbs sampler chooses in one sweep.
CANDIDATES = 48
#: Largest total weight of the draws of a pool that are not kept.
NEGLIGIBLE = 1e-4
#: Effective draws per dimension that a mixture is fitted to; weights are tempered until then.
LEAST_EFFECTIVE, RESAMPLED = 25, 3000
#: Standard deviation along u of the shifts of groups before the population is known.
FIRST_SHIFT = 0.3
#: Fields of a pool with one value for each draw.
ARRAYS = ("z", "walk", "shift", "residual", "log_base")


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
    residual : (draw, latent)
        Distance of walk and shifts from their modes, see `Residuals`.
    log_base : (draw,)
        Log weight without the density of parameters and shifts given the population, up to a
        constant.
    independent : float
        Effective share of the draws before they are weighted.
    """

    density: TaskDensity
    layout: Layout
    z: np.ndarray
    walk: np.ndarray
    shift: np.ndarray
    residual: np.ndarray
    log_base: np.ndarray
    independent: float = 1.0

    @cached_property
    def groups(self) -> list[int]:
        return [self.density.plan.members.index(m) for m in self.density.members]

    @cached_property
    def _features(self) -> np.ndarray:
        """Terms in which the log density given the population is linear; (draw, feature)."""
        z, inferred = self.z, self.layout.inferred
        parts = [z, z[:, inferred] ** 2, self.shift, (self.shift**2).sum(axis=1, keepdims=True)]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    @cached_property
    def _fixed(self) -> tuple[np.ndarray, float]:
        """Log weights without the terms that depend on the population, less the largest of them,
        (draw,), and the largest."""
        layout = self.layout
        fixed = [i for i in range(layout.parameters) if i not in layout.inferred]
        precision = (layout.total / layout.between)[fixed] ** 2
        log = self.log_base - 0.5 * (self.z[:, fixed] ** 2 * precision).sum(axis=1)
        return (log - log.max()).astype(np.float32), float(log.max())

    def _coefficients(self, position: np.ndarray):
        """Coefficients of the features in the log weights under population values, (population
        draw, feature), and the rest of the log weights, (population draw,)."""
        mean, sd, moves, of_cell = self.layout.read(position)
        moves, groups = moves[:, self.groups], len(self.groups)
        terms = [
            mean / sd**2,
            -0.5 / sd[:, self.layout.inferred] ** 2,
            moves / of_cell**2,
            -0.5 / of_cell**2,
        ]
        constant = self._fixed[1] - (0.5 * (mean / sd) ** 2 + np.log(sd)).sum(axis=1)
        constant -= 0.5 * ((moves / of_cell) ** 2).sum(axis=1) + groups * np.log(of_cell[:, 0])
        constant -= 0.5 * (mean.shape[1] + groups) * np.log(2 * np.pi)
        return np.concatenate(terms, axis=1, dtype=np.float32), constant

    def _log_weights(self, position: np.ndarray):
        """Log weights under population values, less a constant for each of them.

        Yields blocks of (population draw, draw), and the constants, (population draw,). Single
        precision is exact enough for differences of log weights, and several times faster.
        """
        coefficients, constant = self._coefficients(position)
        rows = max(1, PRODUCT // self._features.size)
        for start in range(0, len(position), rows):
            block = coefficients[start : start + rows] @ self._features.T
            block += self._fixed[0]
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
            cumulative = np.cumsum(np.exp(block, out=block), axis=1, dtype=float)
            quantile = rng.random(len(cumulative)) * cumulative[:, -1]
            chosen += [np.searchsorted(c, q) for c, q in zip(cumulative, quantile, strict=True)]
        return np.minimum(chosen, len(self.z) - 1)

    def choose_again(
        self, position: np.ndarray, chosen: np.ndarray, share: np.ndarray, rng
    ) -> np.ndarray:
        """Move the index of each draw of the population values by iterated sampling importance
        resampling (Andrieu, Lee and Vihola 2018, doi:10.3150/15-BEJ785).

        The index is chosen anew among itself and `CANDIDATES` draws from the pool with
        probabilities `share`, (draw,). This leaves the distribution of `choose` unchanged, and
        takes a fraction of its time.
        """
        drawn = rng.choice(len(share), (len(chosen), CANDIDATES), p=share)
        index = np.concatenate([chosen[:, None], drawn], axis=1)
        coefficients, _ = self._coefficients(position)
        log = (self._features[index] @ coefficients[:, :, None])[..., 0]
        log += (self._fixed[0] - np.log(share).astype(np.float32))[index]
        weight = np.exp(log - log.max(axis=1, keepdims=True))
        # The first event of independent Poisson processes with these rates.
        wait = rng.standard_exponential(weight.shape, np.float32)
        first = np.argmax(weight / np.maximum(wait, 1e-30), axis=1)
        return np.take_along_axis(index, first[:, None], axis=1)[:, 0]

    def pruned(self, weight: np.ndarray) -> Pool:
        """Without the draws of the smallest weights."""
        order = np.argsort(weight)
        return self._only(np.sort(order[np.cumsum(weight[order]) > NEGLIGIBLE]))

    def half(self, which: int) -> Pool:
        """Every second draw."""
        return self._only(slice(which, None, 2))

    def _only(self, kept) -> Pool:
        return replace(self, **{n: getattr(self, n)[kept] for n in ARRAYS})


def explored(layout: Layout, density: TaskDensity, rng: np.random.Generator) -> Pool:
    """Draws of a task, with the prior of the population values."""
    groups = len(density.members)
    shifts = Shifts(np.zeros(groups), np.full(groups, FIRST_SHIFT))

    def likelihood(z):
        return density.approximate(z, shifts)

    target = Density(layout.parameters, likelihood)
    mixture = mixture_at_modes(find_modes(target, rng, PRIOR_DRAWS, STARTS))
    mixtures, pool, residuals = [], None, None
    for _ in range(ROUNDS):
        mixtures.append(mixture)
        new = _drawn(layout, density, mixture, residuals, shifts, ROUND, rng)
        pool = new if pool is None else _joined(pool, new)
        whole = _weighted(pool, mixtures)
        log_prior = -0.5 * (pool.z**2).sum(axis=1)
        log_prior -= 0.5 * (((pool.shift - shifts.mean) / shifts.sd) ** 2).sum(axis=1)
        mixture, residuals = _fitted(pool, whole.log_base + log_prior, rng)
    return whole


def refined(layout: Layout, position: np.ndarray, pool: Pool, rng) -> Pool:
    """New draws of a task from mixtures that are fitted to its posterior."""
    shifts = _shifts(pool.density, *_predictive_shifts(layout, position))
    mixtures, new = [], None
    for _ in range(REFINED_ROUNDS):
        weight = pool.weights(position)
        enough = new is not None and 1 / (weight**2).sum() > ENOUGH
        if enough and pareto_k(np.log(weight[weight > 0])) < TAIL_BELOW:
            break
        mixture, residuals = _fitted(pool, np.log(np.maximum(weight, 1e-300)), rng)
        mixtures.append(mixture)
        drawn = _drawn(layout, pool.density, mixture, residuals, shifts, REFINED, rng)
        new = drawn if new is None else _joined(new, drawn)
        pool = _weighted(new, mixtures)
    weight = pool.weights(position)
    if 1 / (weight**2).sum() < LEAST:
        return _moved(layout, position, pool, weight, rng)
    return pool.pruned(weight)


def _moved(layout: Layout, position, pool: Pool, weight, rng: np.random.Generator) -> Pool:
    """Draws of a task, moved by differential evolution (ter Braak 2006,
    doi:10.1007/s11222-006-8769-1) because their weights are uneven.

    This is so if walk and shifts are far from normal, as with tasks of few correct answers. The
    draws have the posterior under the predictive distribution of the population values.
    """
    density, walks = pool.density, pool.walk.shape[1]
    mean, sd = layout.mean(position), layout.sd(position)
    centre, width = mean.mean(axis=0), np.sqrt((sd**2).mean(axis=0) + mean.var(axis=0))
    shifts = _shifts(density, *_predictive_shifts(layout, position))
    split = [len(centre), len(centre) + walks]

    def parts(y):
        z, walk, shift = np.split(y, split, axis=1)
        z = centre + width * z
        return z, walk * density.values(z)["walk"], shifts.mean + shifts.sd * shift

    def log_posterior(y):
        z, walk, shift = parts(y)
        return density.log_joint(z, walk, shift) - 0.5 * (y**2).sum(axis=1)

    at = rng.permutation(systematic_resample(weight, PARTICLES, rng))
    z, shift = pool.z[at], (pool.shift[at] - shifts.mean) / shifts.sd
    walk = pool.walk[at] / density.values(z)["walk"]
    y = np.concatenate([(z - centre) / width, walk, shift], axis=1)
    y += JITTER * y.std(axis=0) * rng.standard_normal(y.shape)  # draws of large weight are repeated
    value = log_posterior(y)
    halves = slice(0, PARTICLES // 2), slice(PARTICLES // 2, PARTICLES)
    states = []
    for move in range(MOST_MOVES):
        if move % MOVES == 0:
            if len(states) > 2 and _independent(states, y) > INDEPENDENT:
                break
            states.append(y.copy())
        for moving, resting in (halves, halves[::-1]):
            others, n = y[resting], len(y[moving])
            one, other = rng.integers(len(others), size=(2, n))
            # Some coordinates only: proposals in all of them are rarely accepted.
            chosen = rng.random((n, y.shape[1])) < rng.choice([0.3, 0.6, 1.0], size=(n, 1))
            factor = EVOLUTION / np.sqrt(np.maximum(chosen.sum(axis=1, keepdims=True), 1))
            factor = factor * np.exp(EVOLUTION_SPREAD * rng.standard_normal((n, 1)))
            proposal = y[moving] + factor * chosen * (others[one] - others[other])
            new = log_posterior(proposal)
            accepted = np.log(rng.random(n)) < new - value[moving]
            y[moving] = np.where(accepted[:, None], proposal, y[moving])
            value[moving] = np.where(accepted, new, value[moving])
    independent = _independent(states, y)
    y = np.concatenate([states[-1], y])
    z, walk, shift = parts(y)
    log_base = 0.5 * (np.split(y, split, axis=1)[0] ** 2).sum(axis=1)
    log_base += 0.5 * (np.split(y, split, axis=1)[2] ** 2).sum(axis=1)
    residual = np.zeros((len(z), walks + shift.shape[1]))  # nothing is proposed from these draws
    return Pool(density, layout, z, walk, shift, residual, log_base, independent)


def _independent(states, y: np.ndarray) -> float:
    """Effective share of the last two states of all draws, from the largest correlations between a
    coordinate now, at the last state and at the first."""
    largest = []
    for before in (states[0], states[-1]):
        a, b = ((x - x.mean(axis=0)) / x.std(axis=0) for x in (before, y))
        largest.append(float(np.abs((a * b).mean(axis=0)).max()))
    return (1 - largest[0] ** 2) / (1 + largest[1])


def _weighted(pool: Pool, mixtures: Sequence[Mixture]) -> Pool:
    """The pool with its draws weighted against the mean of all proposals."""
    log_proposal = np.logaddexp.reduce([m.log_density(pool.z) for m in mixtures], axis=0)
    return replace(pool, log_base=pool.log_base - log_proposal + np.log(len(mixtures)))


def _drawn(layout, density, mixture: Mixture, residuals, shifts: Shifts, n: int, rng) -> Pool:
    """Draws from a mixture, whose density is not yet in their weights."""
    z = mixture.draw(n, rng)
    return Pool(density, layout, z, *density.propose(z, shifts, rng, residuals))


def _joined(one: Pool, other: Pool) -> Pool:
    return replace(one, **{n: np.concatenate([getattr(one, n), getattr(other, n)]) for n in ARRAYS})


def _shifts(density: TaskDensity, mean, sd) -> Shifts:
    """Prior of the shifts of the groups of a task, from those of all groups."""
    at = [density.plan.members.index(m) for m in density.members]
    return Shifts(mean[0, at], np.broadcast_to(sd, mean.shape)[0, at])


def _predictive_shifts(layout: Layout, position):
    """Mean and standard deviation of the shift of a new cell, (1, member)."""
    _, _, moves, of_cell = layout.read(position)
    sd = np.sqrt((of_cell**2).mean() + moves.var(axis=0, keepdims=True))
    return moves.mean(axis=0, keepdims=True), sd


def _fitted(pool: Pool, log_weight: np.ndarray, rng) -> tuple[Mixture, Residuals]:
    """A mixture and residuals fitted to weighted draws; uneven weights are tempered."""
    z = pool.z
    least = LEAST_EFFECTIVE * z.shape[1]
    chosen, effective = tempered_resample(log_weight, least, RESAMPLED, rng)
    mixture = fitted_mixture(z[chosen], min(effective, RESAMPLED), rng)
    return mixture, Residuals.fitted(z[chosen], pool.residual[chosen])

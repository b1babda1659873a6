"""Adaptive importance sampling: posterior draws and the evidence, without chains or compilation.

For posteriors of about a dozen dimensions or fewer, whose density can be evaluated at thousands of
positions at once.

1. The first proposal is Laplace's approximation at the modes (`bayescale.inference.modes`).
2. Rounds of adaptive multiple importance sampling (Cornuet, Marin, Mira and Robert 2012,
   doi:10.1111/j.1467-9469.2011.00756.x): each draws from a Student-t mixture that was fitted to the
   weighted draws of the rounds before. All draws are weighted against the mean of all proposals.
   From round `LOCAL_FROM` on, the components are local approximations along the posterior. The
   result is new draws from the last mixture, as many as its efficiency demands.
   If it is known in which coordinates the posterior is wide, mixtures are fitted without the trend
   of the others along these (`bayescale.inference.shears`), and an efficient round is continued
   until it is the result, or has drawn from a part that its mixture misses.
3. If these do not suffice, or if the tail of the weights is heavy, because the posterior is a
   curved ridge, draws are made anew, first of the coordinates in which it is wide
   (`bayescale.inference.conditional`), or at once if the first local proposals are of little use.
4. If the weights of these are uneven too, the draws are moved by a Markov kernel that leaves the
   posterior unchanged: differential evolution (ter Braak 2006, doi:10.1007/s11222-006-8769-1) and
   independent proposals from a mixture that is refitted to the moved draws. The evidence is then
   that of bridge sampling between the moved draws and the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bayescale.inference import conditional
from bayescale.inference.bridge import bridge_halves
from bayescale.inference.diagnostics import ImportanceDiagnostics
from bayescale.inference.mixtures import Mixture, along, at_modes, fitted
from bayescale.inference.modes import Density, find_modes, log_prior
from bayescale.inference.pareto import pareto_k
from bayescale.inference.shears import Sheared, sheared
from bayescale.inference.smc import systematic_resample, tempered_resample

#: Draws of a round, largest number of rounds, and the round from which on proposals are local.
ROUND, ROUNDS, LOCAL_FROM = 2500, 6, 3
#: Rounds end when the effective sample size of all of them is at least `ADAPTED_ESS`. Then at most
#: `FRESH_ROUNDS` rounds of twice the size, with a fixed mixture, are drawn for the result, until it
#: has these effective draws, standard error of the log evidence and shape of the tail of the
#: weights. After the last round the mixture cannot get better, and at most `MANY_ROUNDS` are drawn
#: from it. Draws end if the first `JUDGED` rounds show that all of them would not suffice.
ADAPTED_ESS, FRESH_ROUNDS, MANY_ROUNDS, JUDGED = 1500, 3, 24, 3
TARGET_ESS, TARGET_ERROR, TARGET_K = 2500, 0.03, 0.6
#: Along a ridge: largest number of mixtures; effective draws of a round from which on it is
#: continued, to at most `RIDGE_MOST` rounds in all; shape of the tail of the weights: the first of
#: many mixtures is the result (0.65: 90 % intervals of `skaling` cover one point less).
RIDGE_ROUNDS, WORTHWHILE, RIDGE_MOST, RIDGE_K = 14, 250, 10, 0.5
#: Effective sample size after the first round of local proposals below which none are made again,
#: if it is known in which coordinates the posterior is wide.
HOPELESS = 300
#: Effective draws of the few coordinates first that suffice; of the last round of `sample_roughly`.
CONDITIONAL_ESS, ROUGH_ESS, ROUGH_ROUNDS = 1500, 300, 8
#: Fits of the mixture in `moved`.
ROUGH_FITS = 6
#: A mixture is fitted to this many resampled draws. Weights are tempered until the effective number
#: per dimension is at least `LEAST_EFFECTIVE`, more for local approximations, which lie apart.
RESAMPLED, LEAST_EFFECTIVE, LOCAL_FACTOR = 3000, 25, 2
#: Number of draws that are moved, moves between two fits of the mixture, and most fits.
PARTICLES, MOVES, FITS = 2000, 20, 18
#: Moves end when the largest correlation of a coordinate with its value before all moves is below
#: `FORGOTTEN`, and no distribution of a coordinate has changed by more than `STILL` in the second
#: half of the moves, but not before `FEWEST_FITS` fits.
FORGOTTEN, STILL, FEWEST_FITS = 0.3, 0.1, 4
#: Optimal scale of differential evolution for normal targets, times the root of the dimension, and
#: standard deviation of the log of the factor on it.
EVOLUTION, EVOLUTION_SPREAD = 2.38 / np.sqrt(2), 0.7


@dataclass(frozen=True)
class Sampled:
    """Equally weighted draws from a posterior.

    Attributes
    ----------
    positions : (draw, dimension)
        In random order.
    log_posterior : (draw,)
        Log of prior times likelihood.
    diagnostics : ImportanceDiagnostics
    """

    positions: np.ndarray
    log_posterior: np.ndarray
    diagnostics: ImportanceDiagnostics


def sample(density: Density, draws: int, rng: np.random.Generator, report=None) -> Sampled:
    """Draw from a posterior and integrate it.

    Parameters
    ----------
    density : Density
    draws : int
        Number of draws in the result.
    rng : numpy.random.Generator
    report : callable, optional
        ``report(text)`` is called at every stage.

    Examples
    --------
    >>> density = Density(2, lambda z: -0.5 * ((z - 1) ** 2).sum(axis=1) - np.log(2 * np.pi))
    >>> found = sample(density, 1000, np.random.default_rng(1))
    >>> exact = -0.5 - np.log(4 * np.pi)  # the data are normal around z: N(1; 0, 2) twice
    >>> found.positions.shape, bool(abs(found.diagnostics.log_evidence - exact) < 0.1)
    ((1000, 2), True)
    """
    if density.trend is not None:
        found = sample(density.straight(), draws, rng, report)
        return replace(found, positions=found.positions + density.trend(found.positions))
    report = report or (lambda text: None)
    report("looking for modes")
    modes = find_modes(density, rng)
    if not np.isfinite(modes.value).any():
        z = rng.standard_normal((draws, density.dimension))
        nothing = ImportanceDiagnostics(0.0, np.inf, -np.inf, np.inf)
        return Sampled(z, density.log_posterior(z), nothing)
    found = (_along_ridge if density.ridge else _in_rounds)(density, modes, rng, report)
    if isinstance(found, _Fresh):
        return found.sampled(draws)
    mixture, rounds = found
    if density.wide:
        report("drawing exponents first")
        weighted = conditional.draw(density, modes, rng)
        if (found := _sufficient(weighted, draws, rng)) is not None:
            return found
        start = weighted.resampled(PARTICLES, rng)
        mixture = along(density, start[0], rng)
    else:
        start = rounds.resampled(PARTICLES)
    report("moving draws along the posterior")
    return _moved(density, *start, mixture, draws, rng)


def _in_rounds(density: Density, modes, rng, report) -> _Fresh | tuple[Mixture, _Rounds]:
    """Draws from the last mixture; the mixture and all rounds if these do not suffice."""
    mixture, rounds = at_modes(modes), _Rounds(density, rng)
    for number in range(ROUNDS):
        report("importance sampling")
        rounds.add(mixture)
        enough = number > 0 and rounds.ess >= ADAPTED_ESS
        mixture = rounds.fitted(local=number >= LOCAL_FROM - 1)
        last = number == ROUNDS - 1
        if last:
            report("drawing many times from the last mixture")
        if enough or last:
            fresh = _Fresh(density, mixture, rng)
            if fresh.suffices(2 * ROUND, MANY_ROUNDS if last else FRESH_ROUNDS, TARGET_K):
                return fresh
        if density.wide and number == LOCAL_FROM and rounds.ess < HOPELESS:
            break
    return mixture, rounds


def _along_ridge(density: Density, modes, rng, report) -> _Fresh | tuple[Mixture, _Rounds]:
    """The same with mixtures without a trend, each of which is tried as the last.

    A round that is continued and does not suffice has mostly found a part of the posterior that is
    hardly ever drawn. The next mixture is fitted to all its draws, which are therefore no part of
    the result.
    """
    mixture, rounds = at_modes(modes), _Rounds(density, rng)
    for number in range(RIDGE_ROUNDS):
        report("importance sampling")
        fresh = _Fresh(density, mixture, rng)
        fresh.draw(ROUND)
        worthwhile = number > 0 and fresh.ess >= WORTHWHILE
        if worthwhile and fresh.suffices(ROUND, RIDGE_MOST, RIDGE_K):
            return fresh
        rounds.join(fresh)
        mixture = rounds.sheared()
    return mixture, rounds


def sample_roughly(density: Density, draws: int, rng: np.random.Generator) -> Sampled:
    """As `sample`, with an effective sample size of hundreds, for a comparison of many models.

    The result is the first round whose proposal was fitted to earlier rounds and that has
    `ROUGH_ESS` effective draws; otherwise all rounds together. Draws are never moved.

    Examples
    --------
    >>> density = Density(2, lambda z: -0.5 * ((z - 1) ** 2).sum(axis=1) - np.log(2 * np.pi))
    >>> found = sample_roughly(density, 1000, np.random.default_rng(1))
    >>> exact = -0.5 - np.log(4 * np.pi)
    >>> found.positions.shape, bool(abs(found.diagnostics.log_evidence - exact) < 0.1)
    ((1000, 2), True)
    """
    rounds, mixture = _Rounds(density, rng), at_modes(find_modes(density, rng))
    for _ in range(ROUGH_ROUNDS):
        fresh = rounds.add(mixture)
        if fresh.ess >= ROUGH_ESS:
            return fresh.sampled(draws)
        mixture = rounds.fitted(local=False)
    ess, error = _effective(rounds.log_weight)
    k = float(pareto_k(rounds.log_weight))
    diagnostics = ImportanceDiagnostics(ess, k, rounds.log_evidence, error)
    return Sampled(*rounds.resampled(draws), diagnostics)


def moved(density: Density, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws of `sample_roughly`, moved by a Markov kernel that leaves the posterior unchanged.

    With few effective draws the ends of a curved ridge are missing. After `ROUGH_FITS` times
    `MOVES` moves, intervals agree with those of long chains.

    Examples
    --------
    >>> density = Density(2, lambda z: -0.5 * ((z - 1) ** 2).sum(axis=1))
    >>> rng = np.random.default_rng(1)
    >>> z = moved(density, 0.2 * rng.standard_normal((400, 2)), rng)
    >>> bool(abs(z.std() - 0.5**0.5) < 0.05)  # the standard deviation was 0.2
    True
    """
    value = density.log_posterior(z)
    for _ in range(ROUGH_FITS):
        z, value = _moves(density, z, value, along(density, z, rng), rng)
    return z


class _Fresh:
    """Draws from a mixture that is not changed by them.

    A mixture that was fitted to draws is too dense at these draws, which makes the evidence from
    them too small. New draws do not have this bias.
    """

    def __init__(self, density: Density, mixture: Mixture | Sheared, rng: np.random.Generator):
        self.density, self.mixture, self.rng = density, mixture, rng
        self.z = np.zeros((0, density.dimension))
        self.value = self.log_proposal = np.zeros(0)

    def draw(self, n: int) -> None:
        """Add `n` draws."""
        z = self.mixture.draw(n, self.rng)
        self.z = np.concatenate([self.z, z])
        self.value = np.concatenate([self.value, self.density.log_posterior(z)])
        self.log_proposal = np.concatenate([self.log_proposal, self.mixture.log_density(z)])
        self.log_weight = self.value - self.log_proposal
        total = np.logaddexp.reduce(self.log_weight)
        finite = np.isfinite(total)
        self.relative = self.log_weight - total if finite else np.zeros_like(self.log_weight)
        self.ess, self.error = _effective(self.relative) if finite else (0.0, np.inf)

    def suffices(self, size: int, most: int, largest_k: float) -> bool:
        """Draw rounds of a size, at most so many in all, until enough draws are effective; whether
        they are, and the tail of their weights is light."""
        while True:
            number = len(self.z) // size
            enough = number > 0 and self.ess >= TARGET_ESS and self.error <= TARGET_ERROR
            hopeless = number >= JUDGED and self.ess * most / number < TARGET_ESS
            if enough or hopeless or number >= most:
                break
            self.draw(size)
        return enough and self.k <= largest_k

    @property
    def k(self) -> float:
        """Shape of the tail of the weights."""
        return float(pareto_k(self.relative))

    def sampled(self, draws: int) -> Sampled:
        """Equally weighted draws."""
        chosen = self.rng.permutation(systematic_resample(np.exp(self.relative), draws, self.rng))
        log_evidence = float(np.logaddexp.reduce(self.log_weight) - np.log(len(self.z)))
        diagnostics = ImportanceDiagnostics(self.ess, self.k, log_evidence, self.error)
        return Sampled(self.z[chosen], self.value[chosen], diagnostics)


def _sufficient(weighted: conditional.Weighted, draws: int, rng) -> Sampled | None:
    """The result of weighted draws; None if too few are effective or their tail is heavy."""
    ess, error = _effective(weighted.relative)
    k = float(pareto_k(weighted.relative))
    if ess < CONDITIONAL_ESS or error > TARGET_ERROR or k > TARGET_K:
        return None
    log_evidence = float(np.logaddexp.reduce(weighted.log_weight) - np.log(len(weighted.value)))
    diagnostics = ImportanceDiagnostics(ess, k, log_evidence, error)
    return Sampled(*weighted.resampled(draws, rng), diagnostics)


def _effective(log_weight: np.ndarray) -> tuple[float, float]:
    """Effective sample size, and standard error of the log evidence, of normalised weights."""
    square = 2 * np.maximum(log_weight, -1e300)  # whose double is finite
    ess = float(np.exp(-np.logaddexp.reduce(square)))
    return ess, float(np.sqrt(max(1 / ess - 1 / len(log_weight), 0.0)))


class _Rounds:
    """All draws so far, weighted against the mean of all proposals."""

    def __init__(self, density: Density, rng: np.random.Generator):
        self.density, self.rng = density, rng
        self.proposals: list[Mixture | Sheared] = []
        self.sizes: list[int] = []
        self.z = np.zeros((0, density.dimension))
        self.log_posterior = self.log_prior = self.log_proposal = np.zeros(0)

    def add(self, mixture: Mixture | Sheared) -> _Fresh:
        """Draw from one more proposal, and update all weights; the draws."""
        fresh = _Fresh(self.density, mixture, self.rng)
        fresh.draw(ROUND)
        self.join(fresh)
        return fresh

    def join(self, fresh: _Fresh) -> None:
        """Add draws from one more proposal, and update all weights."""
        mixture, n, of_prior = fresh.mixture, len(fresh.z), log_prior(fresh.z)
        # Sums of the densities of all proposals, at the draws so far and at the new ones.
        new = np.log(n) + mixture.log_density(self.z, self.log_prior)
        before = np.logaddexp(self.log_proposal, new)
        own = [
            np.log(size) + m.log_density(fresh.z, of_prior)
            for size, m in zip(self.sizes, self.proposals, strict=True)
        ]
        own = np.logaddexp.reduce([*own, np.log(n) + fresh.log_proposal], axis=0)
        self.proposals.append(mixture)
        self.sizes.append(n)
        self.log_proposal = np.concatenate([before, own])
        self.z = np.concatenate([self.z, fresh.z])
        self.log_prior = np.concatenate([self.log_prior, of_prior])
        self.log_posterior = np.concatenate([self.log_posterior, fresh.value])
        log_weight = self.log_posterior - self.log_proposal + np.log(len(self.z))
        total = np.logaddexp.reduce(log_weight)
        self.log_weight = log_weight - total if np.isfinite(total) else np.zeros_like(log_weight)

    @property
    def ess(self) -> float:
        """Effective sample size of all draws so far."""
        return _effective(self.log_weight)[0]

    @property
    def log_evidence(self) -> float:
        """Log of the mean weight."""
        return float(np.logaddexp.reduce(self.log_posterior - self.log_proposal))

    def fitted(self, local: bool) -> Mixture:
        """A mixture fitted to the weighted draws."""
        z, effective = self._tempered(LOCAL_FACTOR if local else 1, self.log_weight)
        if local:
            return along(self.density, z, self.rng)
        return fitted(z, effective, self.rng)

    def sheared(self) -> Sheared:
        """A mixture without the trend along a ridge, fitted to the weighted draws.

        A single draw where no proposal is dense can have most of the weight. Weights are therefore
        at most the root of their number times their mean (Ionides 2008,
        doi:10.1198/106186008X320456).
        """
        density, bound = self.density, -0.5 * np.log(len(self.z))  # the weights sum to one
        z, effective = self._tempered(1, np.minimum(self.log_weight, bound))
        return sheared(z, effective, density.ridge, self.rng, density.rates)

    def _tempered(self, factor: int, log_weight: np.ndarray) -> tuple[np.ndarray, float]:
        """Draws resampled with tempered weights, and their effective number."""
        finite = np.isfinite(log_weight)
        least = LEAST_EFFECTIVE * self.z.shape[1] * factor
        chosen, effective = tempered_resample(log_weight[finite], least, RESAMPLED, self.rng)
        return self.z[finite][chosen], min(effective, RESAMPLED)

    def resampled(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Equally weighted draws in random order, and their log posterior."""
        chosen = self.rng.permutation(systematic_resample(np.exp(self.log_weight), n, self.rng))
        return self.z[chosen], self.log_posterior[chosen]


# -- moves -------------------------------------------------------------------------------------


def _moved(density: Density, z, value, mixture: Mixture, draws: int, rng) -> Sampled:
    """Draws moved until they do not depend on where they started, and the evidence."""
    start = z
    history = [z]
    for fits in range(1, FITS + 1):
        before_z, before_value = z, value
        z, value = _moves(density, z, value, mixture, rng)
        history.append(z)
        dependence, shift = _largest_correlation(start, z), _shift(history[(fits + 1) // 2], z)
        if fits >= FEWEST_FITS and dependence < FORGOTTEN and shift < STILL:
            break
        mixture = along(density, z, rng)
    independent = max(1 - dependence**2, 1e-3)
    evidence = bridge_halves(
        density.log_posterior,
        z,
        value,
        independent * len(z),
        lambda half: along(density, half, rng),
        ROUND,
        rng,
    )
    diagnostics = ImportanceDiagnostics(
        ess=float(independent * len(z)),
        pareto_k=np.nan,
        log_evidence=evidence.log,
        error=evidence.error,
        moves=fits * MOVES,
        shift=shift,
    )
    z, value = np.concatenate([z, before_z]), np.concatenate([value, before_value])
    chosen = np.arange(draws) % min(len(z), max(draws, len(start)))
    chosen = rng.permutation(chosen)
    return Sampled(z[chosen], value[chosen], diagnostics)


def _moves(density: Density, z, value, mixture: Mixture, rng):
    """Alternating moves of differential evolution and independent proposals."""
    z, value = z.copy(), value.copy()
    n, d = z.shape
    halves = slice(0, n // 2), slice(n // 2, n)

    def accept(moving, proposal, log_ratio):
        new = density.log_posterior(proposal)
        accepted = np.log(rng.random(len(proposal))) < new - value[moving] + log_ratio
        z[moving] = np.where(accepted[:, None], proposal, z[moving])
        value[moving] = np.where(accepted, new, value[moving])

    for move in range(MOVES):
        if move % 2:
            proposal = mixture.draw(n, rng)
            log_ratio = mixture.log_density(z) - mixture.log_density(proposal)
            accept(slice(None), proposal, log_ratio)
            continue
        # The differences are those of draws that do not move at the same time.
        for moving, resting in (halves, halves[::-1]):
            others = z[resting]
            one, other = rng.integers(len(others), size=(2, len(z[moving])))
            spread = np.exp(EVOLUTION_SPREAD * rng.standard_normal(len(one)))
            factor = EVOLUTION / np.sqrt(d) * spread
            accept(moving, z[moving] + factor[:, None] * (others[one] - others[other]), 0.0)
    return z, value


def _shift(before: np.ndarray, after: np.ndarray) -> float:
    """How far the distribution of any coordinate has changed: the larger of the change of the mean
    in standard deviations, and of the log of the standard deviation."""
    scale = np.maximum(after.std(axis=0), 1e-300)
    mean = np.abs(after.mean(axis=0) - before.mean(axis=0)) / scale
    spread = np.abs(np.log(np.maximum(before.std(axis=0), 1e-300) / scale))
    return float(max(mean.max(), spread.max()))


def _largest_correlation(start: np.ndarray, end: np.ndarray) -> float:
    """The largest absolute correlation between a coordinate before and after the moves."""
    a, b = (x - x.mean(axis=0) for x in (start, end))
    norm = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return float(np.abs((a * b).sum(axis=0) / np.maximum(norm, 1e-300)).max())

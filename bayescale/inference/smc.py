"""Particles that walk from prior to posterior, and draws around them that weigh the evidence.

Chains that climb gradients do not cross from one place of a break to another; particles start
everywhere. Sequential Monte Carlo (Del Moral, Doucet and Jasra 2006) brings them to the posterior:
the likelihood is turned on by degrees, each as large as the particles bear; after each they are
drawn again by weight and moved. From there on importance sampling, in rounds that learn from each
other (Cappé, Guillin, Marin and Robert 2004), is cheaper and says how exact it is: draws from
kernels around the particles, one in ten from the prior, so that nothing is left out for good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bayescale.functions import student_log_density

#: The share of particles that must stay effective at every degree.
KEEP = 0.5
#: Moves after each degree are repeated until this share of the particles has left its place, at
#: most so often.
MOVED, MOST_MOVES = 0.9, 12

#: A round draws so many times the number of particles; there are at least and at most so many
#: rounds, until the standard error of the log evidence is below `EXACT`.
ROUND, FEWEST, MOST_ROUNDS, EXACT = 2, 4, 24, 0.05
#: Where the standard error stays above this, all is done again with so many times the particles.
POOR, AGAIN = 0.3, (1, 4)
#: The share of every round that is drawn from the prior, and the degrees of freedom of kernels.
ANYWHERE, TAILS = 0.1, 5.0
#: Weights are flattened for the next round until so many per dimension are effective.
SUPPORT = 10
#: One in so many centres is a neighbour, whose spread tells the kernel's.
NEIGHBOURS = 4
TINY = 1e-8

DRAWS = 600  # of equal weight, that are kept in the end


class Problem(NamedTuple):
    """What is to be integrated.

    Attributes
    ----------
    draw : callable
        ``draw(n)``: places from the prior, (n, dimension).
    log_prior : callable
        Its log density at places; minus infinity outside.
    log_likelihood : callable
        ``log_likelihood(places, kept)``: values and an array to keep with each place, which a later
        call gets back (where an inner search may start); `kept` may be None.
    again : callable
        ``again(places)``: the same with some coordinates drawn anew from the prior; must be
        symmetric with respect to it. It lets particles jump to far places.
    """

    draw: Callable[[int], np.ndarray]
    log_prior: Callable[[np.ndarray], np.ndarray]
    log_likelihood: Callable
    again: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Cloud:
    """Draws of equal weight, what is kept with each (of curves: their normals), and the log of the
    evidence.

    ``error`` is the standard error of the log evidence; ``effective``, how many independent draws
    tell as much.
    """

    places: np.ndarray
    kept: object
    log_evidence: float
    error: float
    effective: float


def integrate(problem: Problem, *, particles: int, rng: np.random.Generator) -> Cloud:
    """Draws of the posterior, and the evidence."""
    for more in AGAIN:
        places, kept = _walk(problem, more * particles, rng)
        if kept is None:
            return Cloud(places, places, -np.inf, 0.0, 0.0)
        cloud = _weigh(problem, places, kept, ROUND * particles, rng)
        if cloud.error < POOR:
            break
    return cloud


def _walk(problem: Problem, particles: int, rng):
    """Particles near the posterior, and what is kept with them: None if nothing is likely."""
    places = problem.draw(particles)
    value, kept = problem.log_likelihood(places, None)
    prior = problem.log_prior(places)
    if not np.isfinite(value).any():
        return places, None
    done, reach = 0.0, 1.0
    dimension = places.shape[1]
    while done < 1.0:
        step = _degree(value, 1.0 - done)
        weight = np.exp(step * (value - value.max()))
        done = min(done + step, 1.0)
        chosen = systematic(weight / weight.sum(), particles, rng)
        places, value, prior, kept = places[chosen], value[chosen], prior[chosen], kept[chosen]
        root = _root(places, np.full(particles, 1 / particles))
        left = np.zeros(particles, bool)
        for move in range(MOST_MOVES):
            anew = move % 3 == 2
            if anew:
                to = problem.again(places)
            else:
                # Steps of many lengths: several narrow places are no trap.
                size = (
                    reach
                    * 2.4
                    / np.sqrt(dimension)
                    * np.exp(rng.standard_normal(particles))[:, None]
                )
                to = places + size * rng.standard_normal(places.shape) @ root.T
            to_prior = problem.log_prior(to)
            inside = np.isfinite(to_prior)
            gain = np.full(particles, -np.inf)
            if inside.any():
                to_value, to_kept = problem.log_likelihood(to[inside], kept[inside])
                gain[inside] = done * (to_value - value[inside])
                if not anew:
                    gain[inside] += to_prior[inside] - prior[inside]
            yes = np.log(rng.random(particles)) < gain
            among = yes[inside]
            places[yes], prior[yes] = to[yes], to_prior[yes]
            if among.any():
                value[yes], kept[yes] = to_value[among], to_kept[among]
            left |= yes
            if not anew:
                reach = float(np.clip(reach * np.exp(yes.mean() - 0.25), 0.1, 3.0))
            if left.mean() > MOVED and move >= 2:
                break
    return places, kept


def _weigh(problem: Problem, centres, kept, size: int, rng) -> Cloud:
    """Rounds of importance sampling, each around the weighted draws of those before."""
    around = centres, kept, np.full(len(centres), 1 / len(centres))
    rounds = []
    for number in range(1, MOST_ROUNDS + 1):
        rounds.append((number, *_round(problem, *around, size, rng)))
        # Later rounds know more. Shares that went by how even weights turned out would favour
        # rounds that missed something.
        share = np.array([r[0] for r in rounds]) / (number * (number + 1) / 2)
        log = np.concatenate([r[3] + np.log(a / size) for r, a in zip(rounds, share, strict=True)])
        log_evidence = np.logaddexp.reduce(log)
        weight = np.exp(log - log_evidence)
        by_round = weight.reshape(number, size).sum(axis=1)
        error = np.sqrt(max((weight**2).sum() - (by_round**2).sum() / size, 0.0))
        centres = np.concatenate([r[1] for r in rounds])
        kept = np.concatenate([r[2] for r in rounds])
        if number >= FEWEST and error < EXACT:
            break
        # Flattened, for a few heavy draws would make kernels that are flat in most directions.
        power = _degree(log[log > -np.inf], 1.0, SUPPORT * centres.shape[1] / size / number)
        flat = np.exp(power * (log - log.max()))
        taken, times = np.unique(systematic(flat / flat.sum(), size, rng), return_counts=True)
        around = centres[taken], kept[taken], times / size
    pick = systematic(weight / weight.sum(), DRAWS, rng)
    return Cloud(
        centres[pick], kept[pick], float(log_evidence), float(error), float(1 / (weight**2).sum())
    )


def _round(problem: Problem, centres, kept, weight, size: int, rng):
    """Draws around weighted centres and from the prior: places, what is kept, log weights."""
    dimension = centres.shape[1]
    drawn_in, roots = _kernels(centres, weight)
    near = size - round(ANYWHERE * size)
    pick = rng.choice(len(weight), near, p=weight)
    stretch = np.sqrt(TAILS / rng.chisquare(TAILS, near))[:, None]
    steps = roots[pick] @ rng.standard_normal((near, dimension, 1))
    around = drawn_in[pick] + stretch * steps[..., 0]
    places = np.concatenate([around, problem.draw(size - near)])
    prior = problem.log_prior(places)
    value, found = np.full(size, -np.inf), np.zeros((size, *kept.shape[1:]))
    inside = np.isfinite(prior)
    close, far = inside & (np.arange(size) < near), np.arange(size) >= near
    value[close], found[close] = problem.log_likelihood(places[close], kept[pick][close[:near]])
    value[far], found[far] = problem.log_likelihood(places[far], None)
    kernel = np.logaddexp.reduce(_student(places, drawn_in, roots) + np.log(weight), axis=1)
    with np.errstate(invalid="ignore"):
        log = prior + value - np.logaddexp(np.log(ANYWHERE) + prior, np.log1p(-ANYWHERE) + kernel)
    return places, found, np.where(inside & np.isfinite(value), log, -np.inf)


def _kernels(centres, weight):
    """Middles and roots of kernels, as wide as Silverman's rule has it for the neighbours of each
    centre, which may lie on a narrow ridge. Middles are drawn in by as much as kernels add (Liu and
    West 2001), so that the spread of all stays what it is."""
    n, dimension = centres.shape
    white = np.linalg.solve(_root(centres, weight), centres.T).T
    apart = ((white[:, None] - white) ** 2).sum(axis=2)
    close = np.argsort(apart, axis=1)[:, : max(n // NEIGHBOURS, min(n, SUPPORT * dimension))]
    own = weight[close] / weight[close].sum(axis=1, keepdims=True)
    middle = (own[:, None] @ centres[close])[:, 0]
    wide = (4 / (dimension + 2) * (own**2).sum(axis=1)) ** (1 / (dimension + 4))
    wide = np.minimum(wide, 0.95)[:, None]
    off = centres[close] - middle[:, None]
    spread = off.transpose(0, 2, 1) @ (off * own[..., None]) + TINY * np.eye(dimension)
    return (
        middle + np.sqrt(1 - wide**2) * (centres - middle),
        wide[..., None] * np.linalg.cholesky(spread),
    )


def _student(places, middles, roots):
    """Log densities of places around middles, (place, middle)."""
    inverse = np.linalg.inv(roots)
    off = places @ inverse.transpose(0, 2, 1) - (inverse @ middles[..., None])[:, None, :, 0]
    size = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    return (student_log_density((off**2).sum(axis=2), places.shape[1], TAILS) - size[:, None]).T


def _root(places: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A triangular root of the covariance of weighted places."""
    off = places - weight @ places
    return np.linalg.cholesky(off.T @ (off * weight[:, None]) + TINY * np.eye(places.shape[1]))


def _degree(value: np.ndarray, rest: float, keep: float = KEEP) -> float:
    """The largest power, up to `rest`, that keeps such a share of the particles effective."""

    def effective(step: float) -> float:
        weight = np.exp(step * (value - value.max()))
        return weight.sum() ** 2 / (weight**2).sum() / len(weight)

    if effective(rest) > keep:
        return rest
    low, high = 0.0, rest
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) > keep else (low, middle)
    return max(low, 1e-6)


def systematic(weight: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` places drawn by weight, as evenly as can be."""
    at = (rng.random() + np.arange(n)) / n
    return np.minimum(np.searchsorted(np.cumsum(weight), at), len(weight) - 1)

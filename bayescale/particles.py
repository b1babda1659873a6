"""Particles that walk from prior to posterior and bring the evidence home.

Sequential Monte Carlo (Del Moral, Doucet and Jasra 2006): the likelihood is turned on by degrees,
each as large as the particles bear; after each they are drawn again by weight and moved. The mean
weights multiply to the evidence. Chains that climb gradients do not cross from one place of a break
to another; particles start everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: The share of particles that must stay effective at every degree.
KEEP = 0.5
#: Moves after each degree are repeated until this share of the particles has left its place, at
#: most so often.
MOVED, MOST_MOVES = 0.9, 6
#: And so often after the last degree, where they are kept as draws of the posterior.
LAST_MOVES = 15


@dataclass(frozen=True)
class Cloud:
    """Particles of equal weight, what was kept with each, and the log of the evidence."""

    places: np.ndarray
    kept: object
    log_evidence: float
    degrees: int


def walk(
    draw: Callable[[int], np.ndarray],
    log_prior: Callable[[np.ndarray], np.ndarray],
    log_likelihood: Callable,
    again: Callable[[np.ndarray], np.ndarray],
    *,
    particles: int,
    rng: np.random.Generator,
) -> Cloud:
    """Take particles from prior to posterior.

    Parameters
    ----------
    draw : callable
        ``draw(n)``: places from the prior, (n, dimension).
    log_prior : callable
        Its density at places, up to a constant; minus infinity outside.
    log_likelihood : callable
        ``log_likelihood(places, kept)``: values and an array to keep with each particle, which
        the next call gets back (where an inner search may start); `kept` is None at first.
    again : callable
        ``again(places)``: the same with some coordinates drawn anew from the prior; must be
        symmetric with respect to it. It lets particles jump to far places.
    """
    places = draw(particles)
    value, kept = log_likelihood(places, None)
    prior = log_prior(places)
    if not np.isfinite(value).any():
        return Cloud(places, kept, -np.inf, 0)
    done, log_evidence, degrees, reach = 0.0, 0.0, 0, 1.0
    dimension = places.shape[1]
    while done < 1.0:
        step = _degree(value, 1.0 - done)
        weight = step * value
        top = weight.max()
        weight = np.exp(weight - top)
        log_evidence += top + np.log(weight.mean())
        done = min(done + step, 1.0)
        degrees += 1
        chosen = _systematic(weight / weight.sum(), rng)
        places, value, prior, kept = places[chosen], value[chosen], prior[chosen], kept[chosen]
        root = np.linalg.cholesky(np.cov(places.T).reshape(dimension, dimension)
                                  + 1e-8 * np.eye(dimension))
        left = np.zeros(particles, bool)
        last = done >= 1.0
        for move in range(LAST_MOVES if last else MOST_MOVES):
            anew = move % 3 == 2
            if anew:
                to = again(places)
            else:
                # Steps of many lengths: several narrow places are no trap.
                size = reach * 2.4 / np.sqrt(dimension) * np.exp(
                    rng.standard_normal(particles))[:, None]
                to = places + size * rng.standard_normal(places.shape) @ root.T
            to_prior = log_prior(to)
            inside = np.isfinite(to_prior)
            gain = np.full(particles, -np.inf)
            if inside.any():
                to_value, to_kept = log_likelihood(to[inside], kept[inside])
                gain[inside] = done * (to_value - value[inside])
                if not anew:
                    gain[inside] += to_prior[inside] - prior[inside]
            yes = np.log(rng.random(particles)) < gain
            among = yes[inside]
            places[yes], prior[yes] = to[yes], to_prior[yes]
            value[yes], kept[yes] = to_value[among], to_kept[among]
            left |= yes
            if not anew:
                reach = float(np.clip(reach * np.exp(yes.mean() - 0.25), 0.1, 3.0))
            if left.mean() > MOVED and move >= 2 and not last:
                break
    return Cloud(places, kept, float(log_evidence), degrees)


def _degree(value: np.ndarray, rest: float) -> float:
    """The largest step of the likelihood's power that keeps enough particles effective."""

    def effective(step: float) -> float:
        weight = np.exp(step * (value - value.max()))
        return weight.sum() ** 2 / (weight**2).sum() / len(weight)

    if effective(rest) >= KEEP:
        return rest
    low, high = 0.0, rest
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= KEEP else (low, middle)
    return max(low, 1e-6)


def _systematic(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = len(weight)
    at = (rng.random() + np.arange(n)) / n
    return np.minimum(np.searchsorted(np.cumsum(weight), at), n - 1)

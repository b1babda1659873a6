"""The evidence by bridge sampling: Meng and Wong 1996; Gronau et al. 2017, arXiv:1703.05984."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

TOLERANCE, MAX_STEPS = 1e-8, 1000


class Evidence(NamedTuple):
    """Log of the marginal likelihood and its standard error."""

    log: float
    error: float


def bridge(of_posterior: np.ndarray, of_proposal: np.ndarray, effective: float) -> Evidence:
    """The evidence from draws of the posterior and of a proposal.

    Parameters
    ----------
    of_posterior, of_proposal : array (draw,)
        Log of prior times likelihood over the density of the proposal, at draws from the posterior
        and from the proposal. The proposal must not have been fitted to the same draws.
    effective : float
        Effective number of the draws from the posterior.

    Examples
    --------
    A normal posterior with evidence 3, and a wider proposal:

    >>> rng = np.random.default_rng(1)
    >>> ratio = lambda x: np.log(3) - 0.5 * x**2 + 0.5 * (x / 1.5) ** 2 + np.log(1.5)
    >>> found = bridge(ratio(rng.normal(size=4000)), ratio(rng.normal(0, 1.5, 4000)), 4000)
    >>> bool(abs(found.log - np.log(3)) < 0.05), found.error < 0.05
    (True, True)
    """
    shift = np.median(of_posterior)
    post, prop = of_posterior - shift, of_proposal - shift
    share = effective / (effective + len(prop))
    log = 0.0
    for _ in range(MAX_STEPS):
        numerator, denominator = _bridged(post, prop, share, log)
        new = np.log(numerator.mean()) - np.log(denominator.mean())
        done, log = abs(new - log) < TOLERANCE, new
        if done:
            break
    numerator, denominator = _bridged(post, prop, share, log)
    variance = numerator.var() / numerator.mean() ** 2 / len(prop)
    variance += denominator.var() / denominator.mean() ** 2 / effective
    return Evidence(float(log + shift), float(np.sqrt(variance)))


def bridge_halves(
    log_posterior: Callable,
    z: np.ndarray,
    value: np.ndarray,
    effective: float,
    fit: Callable,
    draws: int,
    rng: np.random.Generator,
) -> Evidence:
    """The evidence from draws of the posterior alone.

    Each half of the draws is bridged to a proposal that was fitted to the other half. The error
    includes the difference between the two, which shows what the formal error does not.

    Parameters
    ----------
    log_posterior : callable
        Log of prior times likelihood, (n,) for positions (n, dimension).
    z, value : array (draw, dimension) and (draw,)
        Draws in random order, and their log of prior times likelihood.
    effective : float
        Effective number of the draws.
    fit : callable
        ``fit(z)``: a proposal with the methods ``draw(n, rng)`` and ``log_density(z)``.
    draws : int
        Number of draws from each proposal.
    rng : numpy.random.Generator
    """
    half = len(z) // 2
    parts = slice(0, half), slice(half, None)
    found = []
    for other, own in (parts, parts[::-1]):
        proposal = fit(z[other])
        new = proposal.draw(draws, rng)
        found.append(
            bridge(
                value[own] - proposal.log_density(z[own]),
                log_posterior(new) - proposal.log_density(new),
                effective / 2,
            )
        )
    one, two = found
    error = max(np.hypot(one.error, two.error), abs(one.log - two.log)) / 2
    return Evidence((one.log + two.log) / 2, float(error))


def _bridged(post, prop, share: float, log: float):
    """The two sets of terms whose means have the evidence as their ratio."""
    top = np.log(share), np.log1p(-share)
    with np.errstate(over="ignore"):
        numerator = np.exp(prop - np.logaddexp(top[0] + prop, top[1] + log))
        denominator = np.exp(-np.logaddexp(top[0] + post, top[1] + log))
    return numerator, denominator

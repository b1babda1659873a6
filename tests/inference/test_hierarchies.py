"""Draws of many groups and their population have the posterior that quadrature gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from bayescale.inference import Hierarchy, hierarchies

GROUPS, NOISE, SHIFT, SPREAD = 10, 0.4, 0.6, 0.5
TRUE = np.linspace(-1.2, 1.4, GROUPS)


def mean_of_data(values, shared, rate):
    """What the data measure: a curve of the value of a group, moved by a shared parameter."""
    straight = np.expm1(rate * values) / rate if rate else values
    return straight + SHIFT * shared


def observed(rate) -> np.ndarray:
    scatter = np.random.default_rng(2).standard_normal(GROUPS)
    return mean_of_data(TRUE, 0.5, rate) + NOISE * scatter


def hierarchy(rate: float = 0.0, rate_of_moves: float | None = None) -> Hierarchy:
    """One pooled parameter and one of independent values, of which the data say as much."""
    y, other = observed(rate), np.linspace(-1, 1, GROUPS)

    def log_likelihood(values, shared):
        one, two = values[:, 0], values[:, 1]
        square = ((y - mean_of_data(one, shared, rate)) / NOISE) ** 2
        return -0.5 * square - 0.5 * ((other - two) / NOISE) ** 2

    rates = np.array([rate if rate_of_moves is None else rate_of_moves, 0.0])
    pooled, between = np.array([True, False]), np.array([0.5, 1.0])
    return Hierarchy(GROUPS, 1, log_likelihood, pooled, between, SPREAD, rates)


def sampled(of: Hierarchy, **settings):
    names = [f"{p}[{g}]" for p in "ab" for g in range(GROUPS)], ["mean", "scale", "shared"]
    return hierarchies.sample(of, names, **dict(draws=1500, chains=4, seed=3) | settings)


def by_quadrature(rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of the population, and of the first value of each group."""
    grid = np.linspace(-3.2, 3.2, 27)
    mean, scale, shared = (a.ravel() for a in np.meshgrid(grid, grid, grid, indexing="ij"))
    value = np.linspace(-4, 4, 161)
    sd = 0.5 * np.exp(SPREAD * scale)
    prior = norm.pdf(value, mean[:, None], sd[:, None])
    log, first = -0.5 * (mean**2 + scale**2 + shared**2), []
    at = mean_of_data(value, grid[:, None], rate)
    which = np.searchsorted(grid, shared)
    for y in observed(rate):
        joint = prior * np.exp(-0.5 * ((y - at[which]) / NOISE) ** 2)
        total = joint.sum(axis=1)
        log = log + np.log(np.maximum(total, 1e-300))
        powers = [joint @ value**k / np.maximum(total, 1e-300) for k in (1, 2)]
        first.append(powers)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    population = np.stack([mean, scale, shared])
    means = population @ weight
    sds = np.sqrt(population**2 @ weight - means**2)
    one, two = (np.array([p[k] @ weight for p in first]) for k in (0, 1))
    return np.concatenate([means, one]), np.concatenate([sds, np.sqrt(two - one**2)])


@pytest.mark.parametrize(("rate", "of_moves"), [(0.8, 0.8), (0.8, 0.0)])
def test_population_and_groups_have_the_posterior_of_quadrature(rate, of_moves):
    """Also where posteriors are not normal in the coordinates of the moves."""
    found = sampled(hierarchy(rate, of_moves))
    assert found.convergence.passed
    draws = np.concatenate([found.population, found.values[:, :, 0]], axis=2)
    mean, sd = by_quadrature(rate)
    draws = draws.reshape(-1, len(mean))
    np.testing.assert_allclose((draws.mean(axis=0) - mean) / sd, 0, atol=0.15)
    np.testing.assert_allclose(np.log(draws.std(axis=0) / sd), 0, atol=0.12)


def test_values_without_a_population_are_independent():
    values = sampled(hierarchy()).values[:, :, 1].reshape(-1, GROUPS)
    precision = 1 + NOISE**-2
    expected = np.linspace(-1, 1, GROUPS) * NOISE**-2 / precision
    np.testing.assert_allclose(values.mean(axis=0), expected, atol=0.04)
    np.testing.assert_allclose(values.std(axis=0), precision**-0.5, rtol=0.1)


def test_draws_depend_on_the_seed_and_not_on_the_number_of_processors(monkeypatch):
    monkeypatch.setattr(hierarchies, "STAGES", (25, 200))
    one, two, other = (sampled(hierarchy(), cores=c, seed=s) for c, s in ((1, 3), (2, 3), (2, 4)))
    np.testing.assert_array_equal(one.values, two.values)
    assert one.values.shape == (4, 1500, 2, GROUPS)
    assert not np.isin(one.population, other.population).any()


def test_particles_that_stand_still_have_not_converged(monkeypatch):
    of = hierarchy()
    stuck = of._replace(log_likelihood=lambda v, s: np.full((len(v), GROUPS), -np.inf))
    monkeypatch.setattr(hierarchies, "STAGES", (25, 200))
    assert not sampled(stuck).convergence.passed


def test_a_ridge_through_all_groups_is_found():
    """The data determine the sum of two values in each group, and hardly their difference."""
    y = np.linspace(0.5, 1.5, GROUPS)

    def log_likelihood(values, shared):
        return -0.5 * ((y - values.sum(axis=1)) / 0.01) ** 2

    of = hierarchy()._replace(
        shared=0, log_likelihood=log_likelihood, pooled=np.array([True, True]),
        between=np.array([0.1, 0.1]),
    )  # fmt: skip
    names = [f"{p}[{g}]" for p in "ab" for g in range(GROUPS)], ["a", "b", "a scale", "b scale"]
    found = hierarchies.sample(of, names, draws=1000, chains=4, seed=1)
    assert found.convergence.passed
    difference = found.population[:, :, 0] - found.population[:, :, 1]
    assert difference.std() == pytest.approx(np.sqrt(2), rel=0.1)
    np.testing.assert_allclose(found.values.sum(axis=2) - y, 0, atol=0.06)

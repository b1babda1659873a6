"""Mixtures along ridges that a polynomial makes straight."""

from __future__ import annotations

import numpy as np
import pytest

from bayescale.inference import Density
from bayescale.inference.importance import sample
from bayescale.inference.mixtures import PRIOR_SHARE
from bayescale.inference.shears import Sheared, sheared

WIDTH = 0.01


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def ridge(n: int, rng) -> np.ndarray:
    """Draws along a cubic curve of the first coordinate."""
    x, narrow = rng.standard_normal((2, n))
    return np.stack([0.8 * x, 0.3 * x**3 - x + WIDTH * narrow], axis=1)


def test_draws_follow_the_ridge(rng):
    found = sheared(ridge(4000, rng), 1000, (0,), rng)
    assert found.degree == 3
    z = found.draw(4000, rng)
    x = z[:, 0] / 0.8
    near = abs(z[:, 1] - (0.3 * x**3 - x)) < 6 * WIDTH
    assert near.mean() == pytest.approx(1 - PRIOR_SHARE, abs=0.02)


def test_few_draws_have_a_trend_of_a_low_degree(rng):
    assert sheared(ridge(4000, rng), 30, (0,), rng).degree == 2
    assert sheared(ridge(4000, rng), 3, (0,), rng).degree == 1


def test_the_density_is_that_of_the_draws(rng):
    """The mean of the ratio of a normal density to that of the draws is one."""
    found = sheared(ridge(4000, rng), 1000, (0,), rng)
    z = found.draw(200_000, rng)
    log_normal = -0.5 * (z**2).sum(axis=1) - np.log(2 * np.pi)
    # The prior is part of the mixture, so that the ratio is bounded.
    ratio = np.exp(log_normal - found.log_density(z))
    assert ratio.max() <= 1 / PRIOR_SHARE + 1e-6
    assert ratio.mean() == pytest.approx(1, abs=5 * ratio.std() / np.sqrt(len(z)))
    np.testing.assert_allclose(
        found.log_density(z[:9], -0.5 * (z[:9] ** 2).sum(axis=1) - np.log(2 * np.pi)),
        found.log_density(z[:9]),
    )


@pytest.mark.parametrize("known", [True, False])
def test_a_known_ridge_needs_few_evaluations(known):
    """Four coordinates on a narrow curve of the first."""
    asked = []

    def log_likelihood(z):
        asked.append(len(z))
        x = z[:, :1]
        trend = np.concatenate([x**2 / 2, np.sin(x), x - x**3 / 6], axis=1)
        return -0.5 * ((z[:, 1:] - trend) ** 2).sum(axis=1) / WIDTH**2

    density = Density(4, log_likelihood, ridge=(0,) if known else ())
    found = [sample(density, 1000, np.random.default_rng(seed)) for seed in range(4)]
    assert all(f.diagnostics.passed for f in found)
    assert (sum(asked) < 60_000 * len(found)) == known
    x = np.linspace(-6, 6, 4001)
    square = x**2 + (x**2 / 2) ** 2 + np.sin(x) ** 2 + (x - x**3 / 6) ** 2
    weight = np.exp(-0.5 * square)
    exact = np.log(weight.sum() * (x[1] - x[0]) / np.sqrt(2 * np.pi) * WIDTH**3)
    for f in found:
        assert f.diagnostics.log_evidence == pytest.approx(exact, abs=0.1)
    sd = np.sqrt((weight * x**2).sum() / weight.sum())
    # The draws of one seed may miss an end of the ridge.
    mean = np.mean([f.positions[:, 0].std() for f in found])
    assert mean == pytest.approx(sd, rel=0.06)


def test_a_shear_keeps_volumes(rng):
    """The density integrates to one over a grid that covers the ridge."""
    found = sheared(ridge(4000, rng), 1000, (0,), rng)
    assert isinstance(found, Sheared)
    x, y = np.linspace(-4, 4, 801), np.linspace(-6, 6, 6001)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    total = np.exp(found.log_density(grid)).sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert total == pytest.approx(1, abs=0.05)


def test_a_trend_that_ends_where_a_parameter_is_zero_needs_its_scale(rng):
    """The second coordinate depends on the exponential of the first, which is often nearly zero."""

    def largest_error(rates):
        x, narrow = rng.standard_normal((2, 4000))
        curve = np.exp(1.5 * x) - 0.1 * np.exp(3 * x)
        found = sheared(np.stack([x, curve + WIDTH * narrow], axis=1), 1000, (0,), rng, rates)
        x = np.linspace(-4, 0, 50)
        z = np.stack([x, np.exp(1.5 * x) - 0.1 * np.exp(3 * x)], axis=1)
        return np.abs(found.trend(z)[:, 0] - z[:, 1]).max()

    assert largest_error((1.5,)) < WIDTH
    assert largest_error(()) > 10 * WIDTH

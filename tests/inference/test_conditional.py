"""Draws of a few coordinates first, and of the others given these."""

from __future__ import annotations

import numpy as np
import pytest

from bayescale.inference import Density, conditional, find_modes
from bayescale.inference.modes import derivatives

WIDTH = 0.002


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def curved(wide=(0,)) -> Density:
    """Of three coordinates the likelihood determines two, as curves of the first."""

    def log_likelihood(z):
        x, y, u = z.T
        return -0.5 * (((y - np.sin(2 * x)) / WIDTH) ** 2 + ((u - x**2 / 2) / (2 * WIDTH)) ** 2)

    return Density(3, log_likelihood, wide=wide)


def marginal() -> tuple[float, float]:
    """Mean and standard deviation of the first coordinate, by quadrature."""
    x = np.linspace(-6, 6, 4001)
    log_density = -0.5 * (x**2 + np.sin(2 * x) ** 2 + (x**2 / 2) ** 2)
    weight = np.exp(log_density) / np.exp(log_density).sum()
    mean = weight @ x
    return float(mean), float(np.sqrt(weight @ (x - mean) ** 2))


def test_draws_along_a_curve_have_its_marginal_distribution(rng):
    density = curved()
    z, value = conditional.draw(density, find_modes(density, rng), 2000, rng)
    mean, sd = marginal()
    assert z[:, 0].mean() == pytest.approx(mean, abs=0.1)
    assert z[:, 0].std() == pytest.approx(sd, rel=0.08)
    np.testing.assert_allclose(z[:, 1], np.sin(2 * z[:, 0]), atol=6 * WIDTH)
    assert (z[:, 1] - np.sin(2 * z[:, 0])).std() == pytest.approx(WIDTH, rel=0.1)
    assert (z[:, 2] - z[:, 0] ** 2 / 2).std() == pytest.approx(2 * WIDTH, rel=0.1)
    np.testing.assert_allclose(value, density.log_posterior(z))


def test_conditional_modes_leave_the_first_coordinates_where_they_are(rng):
    density, start = curved(), rng.standard_normal((50, 3))
    z, value, curvature = conditional._to_mode(density, start, np.array([1, 2]), 30)
    np.testing.assert_array_equal(z[:, 0], start[:, 0])
    # The prior draws the conditional mode towards zero, by the square of the width.
    np.testing.assert_allclose(z[:, 1], np.sin(2 * z[:, 0]), atol=WIDTH)
    np.testing.assert_allclose(value, density.log_posterior(z))
    expected = np.diag([1 / WIDTH**2 + 1, 1 / (2 * WIDTH) ** 2 + 1])
    np.testing.assert_allclose(curvature, np.tile(expected, (50, 1, 1)), rtol=1e-3, atol=5)


def test_derivatives_by_some_coordinates_are_part_of_all(rng):
    density, z = curved(), 0.3 * rng.standard_normal((4, 3))
    value = density.log_posterior(z)
    gradient, curvature = derivatives(density, z, value)
    some, block = derivatives(density, z, value, np.array([0, 2]))
    np.testing.assert_allclose(some, gradient[:, [0, 2]])
    np.testing.assert_allclose(block, curvature[:, [0, 2]][:, :, [0, 2]])

"""Draws of a few coordinates first, and of the others given these."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, gammaln
from scipy.stats import multivariate_normal, norm, t

from bayescale.inference import Density, conditional, find_modes
from bayescale.inference.mixtures import Mixture
from bayescale.inference.modes import Modes, derivatives

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


class TestVaryingConditionals:
    """Three coordinates are Student t, with scale and degrees of freedom that depend on the first.

    The integral of the likelihood over the three is known, so that the marginal distribution of the
    first coordinate is as well.
    """

    def scale(self, x):
        return WIDTH * np.exp(0.5 * x)

    def nu(self, x):
        return 3 + 27 * expit(4 * x)

    @pytest.fixture
    def density(self):
        def log_likelihood(z):
            x, y = z[:, :1], z[:, 1:] / self.scale(z[:, :1])
            nu = self.nu(x)
            return -((nu + 1) / 2 * np.log1p(y**2 / nu)).sum(axis=1)

        return Density(4, log_likelihood, wide=(0,))

    @pytest.fixture
    def exact(self):
        """Median of the first coordinate, and the probability that it is negative."""
        x = np.linspace(-7, 7, 4001)
        nu = self.nu(x)
        integral = gammaln(nu / 2) - gammaln((nu + 1) / 2) + 0.5 * np.log(nu)
        log_density = -0.5 * x**2 + 3 * (np.log(self.scale(x)) + integral)
        weight = np.exp(log_density - log_density.max())
        cumulative = np.cumsum(weight) / weight.sum()
        return x[cumulative.searchsorted(0.5)], cumulative[x.searchsorted(0.0)]

    def test_the_marginal_and_the_conditionals_are_exact(self, density, exact, rng):
        z, _ = conditional.draw(density, find_modes(density, rng), 3000, rng)
        x = z[:, 0]
        assert np.median(x) == pytest.approx(exact[0], abs=0.1)
        assert (x < 0).mean() == pytest.approx(exact[1], abs=0.015)
        place = t.cdf(z[:, 1:] / self.scale(z[:, :1]), self.nu(z[:, :1]))
        assert (abs(place - 0.5) > 0.475).mean() == pytest.approx(0.05, abs=0.009)
        assert place.std() * np.sqrt(12) == pytest.approx(1, abs=0.03)
        # The positions come from their own marginal distribution, so that few are drawn twice ...
        assert len(np.unique(x)) > 2300
        # ... and equal draws do not follow one another.
        assert (np.diff(x) == 0).sum() < 10

    def test_weights_correct_a_poor_proposal(self, density, exact, rng, monkeypatch):
        """A mixture around the wrong mean, from which the positions are drawn."""
        poor = Mixture(np.array([0.97]), np.array([[-0.5]]), np.array([[[2.0]]]))
        monkeypatch.setattr(conditional, "_fitted", lambda *_: poor)
        monkeypatch.setattr(conditional, "LAST", 12_000)
        z, value = conditional.draw(density, find_modes(density, rng), 12_000, rng)
        assert np.median(z[:, 0]) == pytest.approx(exact[0], abs=0.05)
        assert (z[:, 0] < 0).mean() == pytest.approx(exact[1], abs=0.007)
        np.testing.assert_allclose(value, density.log_posterior(z))


def test_the_first_positions_have_the_density_that_is_returned(rng):
    """Draws from the prior, and half as many around the mode with a wider scale."""
    mode = np.array([0.5, -0.3, 0.2])
    covariance = np.array([[0.5, 0.1, 0.0], [0.1, 0.3, 0.0], [0.0, 0.0, 0.1]])
    modes = Modes(mode[None], np.zeros(1), np.linalg.inv(covariance)[None])
    z, log_density = conditional._first(modes, np.array([0, 1]), rng)
    around = multivariate_normal(mode[:2], conditional.START_WIDER**2 * covariance[:2, :2])
    prior = norm.logpdf(z[:, :2]).sum(axis=1)
    expected = np.logaddexp(prior + np.log(2 / 3), around.logpdf(z[:, :2]) + np.log(1 / 3))
    np.testing.assert_allclose(log_density, expected)
    assert (z[:, 2] == mode[2]).all()
    assert z[:, 0].mean() == pytest.approx(mode[0] / 3, abs=0.12)

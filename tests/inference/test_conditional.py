"""Draws of a few coordinates first, and of the others given these."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, gammaln
from scipy.stats import multivariate_normal, norm, t

from bayescale.inference import Density, conditional, find_modes
from bayescale.inference.mixtures import Mixture
from bayescale.inference.modes import Modes, derivatives, slopes

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


def drawn(density, n, rng):
    """Equally weighted draws, and their log posterior."""
    return conditional.draw(density, find_modes(density, rng), rng).resampled(n, rng)


def marginal() -> tuple[float, float]:
    """Mean and standard deviation of the first coordinate, by quadrature."""
    x = np.linspace(-6, 6, 4001)
    log_density = -0.5 * (x**2 + np.sin(2 * x) ** 2 + (x**2 / 2) ** 2)
    weight = np.exp(log_density) / np.exp(log_density).sum()
    mean = weight @ x
    return float(mean), float(np.sqrt(weight @ (x - mean) ** 2))


def test_draws_along_a_curve_have_its_marginal_distribution(rng):
    density = curved()
    z, value = drawn(density, 2000, rng)
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


def test_positions_that_end_low_are_left_after_a_trial(rng, monkeypatch):
    """A step is so short that most starts need hundreds of them."""
    monkeypatch.setattr("bayescale.inference.conditional.LONGEST", 0.02)
    asked = []

    def log_likelihood(z):
        asked.append(len(z))
        return -0.5 * ((z[:, 1] - z[:, 0]) / WIDTH) ** 2 - 100 * (z[:, 0] > 0)

    density = Density(2, log_likelihood, wide=(0,))
    start = np.array([[0.0, 0.0], *[[1.0, -1.0]] * 50])
    rest = np.array([1])
    conditional._to_mode(density, start, rest, 40)
    with_trial = sum(asked)
    asked.clear()
    monkeypatch.setattr(conditional, "TRIAL", 100)
    conditional._to_mode(density, start, rest, 40)
    assert with_trial == sum(asked)  # the gain that is expected from there is larger
    asked.clear()
    monkeypatch.setattr(conditional, "TRIAL", 6)
    monkeypatch.setattr(conditional, "DEEPEST", -1e9)
    conditional._to_mode(density, start, rest, 40)
    assert sum(asked) < with_trial / 3


def test_a_guess_of_the_curvature_saves_a_step(rng):
    asked = []

    def log_likelihood(z):
        asked.append(len(z))
        return -0.5 * ((z[:, 1:] - z[:, :1]) ** 2).sum(axis=1) / WIDTH**2

    density, rest = Density(4, log_likelihood, wide=(0,)), np.array([1, 2, 3])
    start = 0.1 * rng.standard_normal((40, 4))
    z, value, _ = conditional._to_mode(density, start, rest, 9)
    without = sum(asked)
    asked.clear()
    guess = np.tile((1 + 1 / WIDTH**2) * np.eye(3), (40, 1, 1))
    again, its_value, _ = conditional._to_mode(density, start, rest, 9, guess)
    assert sum(asked) < 0.9 * without
    np.testing.assert_allclose(again, z, atol=0.1 * WIDTH)
    np.testing.assert_allclose(its_value, value, atol=0.02)


def test_conditional_modes_are_predicted_from_known_ones(rng):
    """Modes on a parabola are predicted exactly, far closer than the nearest one."""
    x = rng.standard_normal((200, 2))
    y = np.stack([x[:, 0] * x[:, 1] - x[:, 0] ** 2, 1 + x[:, 1]], axis=1)
    known = conditional._Known(
        np.concatenate([x, y], axis=1),
        np.zeros(200),
        np.tile(np.eye(2), (200, 1, 1)),
        np.zeros(200),
    )
    density = Density(
        4,
        lambda z: (
            -((z[:, 2] - z[:, 0] * z[:, 1] + z[:, 0] ** 2) ** 2 + (z[:, 3] - 1 - z[:, 1]) ** 2)
            * 1e6
        ),
    )
    new = 0.5 * rng.standard_normal((30, 2))
    start, guess = conditional._predicted(density, known, np.array([0, 1]), np.array([2, 3]), new)
    np.testing.assert_array_equal(start[:, :2], new)
    np.testing.assert_allclose(start[:, 2], new[:, 0] * new[:, 1] - new[:, 0] ** 2, atol=0.01)
    np.testing.assert_allclose(start[:, 3], 1 + new[:, 1], atol=0.01)
    np.testing.assert_allclose(guess, np.tile(np.eye(2), (30, 1, 1)))


def test_weights_give_the_evidence(rng):
    density = curved()
    found = conditional.draw(density, find_modes(density, rng), rng)
    x = np.linspace(-6, 6, 4001)
    log_density = -0.5 * (x**2 + np.sin(2 * x) ** 2 + (x**2 / 2) ** 2)
    exact = np.log(np.exp(log_density).sum() * (x[1] - x[0]) / np.sqrt(2 * np.pi) * 2 * WIDTH**2)
    assert np.logaddexp.reduce(found.log_weight) - np.log(len(found.value)) == pytest.approx(
        exact, abs=0.05
    )
    assert found.ess >= conditional.TARGET_ESS


def test_derivatives_by_some_coordinates_are_part_of_all(rng):
    density, z = curved(), 0.3 * rng.standard_normal((4, 3))
    value = density.log_posterior(z)
    gradient, curvature = derivatives(density, z, value)
    some, block = derivatives(density, z, value, np.array([0, 2]))
    np.testing.assert_allclose(some, gradient[:, [0, 2]])
    np.testing.assert_allclose(block, curvature[:, [0, 2]][:, :, [0, 2]])
    np.testing.assert_allclose(slopes(density, z, np.array([0, 2])), some)


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
        z, _ = drawn(density, 3000, rng)
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
        monkeypatch.setattr(conditional, "BATCH", 4000)
        z, value = drawn(density, 12_000, rng)
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
    np.testing.assert_allclose(log_density(z[:, :2]), expected)
    assert (z[:, 2] == mode[2]).all()
    assert z[:, 0].mean() == pytest.approx(mode[0] / 3, abs=0.12)

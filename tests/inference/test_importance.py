"""Importance sampling: modes, mixtures, evidence and draws against posteriors known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, multivariate_normal

from bayescale.inference import Density, ImportanceDiagnostics, importance, mixtures
from bayescale.inference.bridge import bridge
from bayescale.inference.mixtures import PRIOR_SHARE, Mixture, along, at_modes, fitted
from bayescale.inference.modes import derivatives, find_modes, log_prior


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def normal_data(precision: np.ndarray, centre: np.ndarray) -> tuple[Density, float, np.ndarray]:
    """A normal likelihood: the posterior and the evidence are known."""
    d = len(centre)
    likelihood = multivariate_normal(centre, np.linalg.inv(precision))
    evidence = multivariate_normal(np.zeros(d), np.linalg.inv(precision) + np.eye(d))
    return Density(d, likelihood.logpdf), float(evidence.logpdf(centre)), precision + np.eye(d)


def ridge(width: float, bend: float = 0.5) -> Density:
    """A narrow ridge around y = bend (x^2 - 1); the evidence is a one-dimensional integral."""

    def log_likelihood(z):
        return -0.5 * ((z[:, 1] - bend * (z[:, 0] ** 2 - 1)) / width) ** 2

    return Density(2, log_likelihood)


def ridge_evidence(width: float, bend: float = 0.5) -> float:
    x = np.linspace(-8, 8, 20001)
    # Given x, y is normal a priori and its likelihood is normal around the ridge.
    scale = np.sqrt(1 + width**2)
    inner = width * np.exp(-0.5 * (bend * (x**2 - 1) / scale) ** 2) / scale
    return float(np.log(np.trapezoid(inner * np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), x)))


# -- modes -------------------------------------------------------------------------------------


def test_the_mode_and_precision_of_a_normal_posterior_are_exact(rng):
    precision = np.array([[400.0, 30.0], [30.0, 4.0]])
    density, _, posterior = normal_data(precision, np.array([0.5, -1.0]))
    modes = find_modes(density, rng)
    expected = np.linalg.solve(posterior, precision @ [0.5, -1.0])
    np.testing.assert_allclose(modes.position, [expected], atol=1e-4)
    np.testing.assert_allclose(modes.precision[0], posterior, rtol=1e-3, atol=1e-2)


def test_two_modes_are_found_and_repeats_of_one_are_not(rng):
    def log_likelihood(z):
        return np.logaddexp(-0.5 * ((z[:, 0] - 1) / 0.1) ** 2, -0.5 * ((z[:, 0] + 1) / 0.05) ** 2)

    positions = find_modes(Density(1, log_likelihood), rng).position.ravel()
    np.testing.assert_allclose(sorted(positions), [-0.9975, 0.990], atol=2e-3)


def test_a_mode_that_part_of_the_data_misplaces_is_moved(rng):
    whole = Density(1, lambda z: -0.5 * ((z[:, 0] - 1) / 0.01) ** 2)
    shifted = whole._replace(coarse=lambda z: -0.5 * ((z[:, 0] - 0.8) / 0.05) ** 2)
    np.testing.assert_allclose(find_modes(shifted, rng).position, [[1.0]], atol=1e-3)


def test_derivatives_are_those_of_the_log_posterior():
    density = Density(2, lambda z: -(z[:, 0] ** 2) * z[:, 1])
    z = np.array([[0.5, 2.0]])
    gradient, curvature = derivatives(density, z, density.log_posterior(z))
    np.testing.assert_allclose(gradient, [[-2 * 0.5 * 2 - 0.5, -0.25 - 2.0]], rtol=1e-5)
    np.testing.assert_allclose(curvature, [[[5.0, 1.0], [1.0, 1.0]]], rtol=1e-3)


def test_values_that_are_not_finite_do_not_stop_the_search(rng):
    def log_likelihood(z):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.log(z[:, 0]) - 50 * (z[:, 0] - 0.5) ** 2

    (position,) = find_modes(Density(1, log_likelihood), rng).position.ravel()
    assert position == pytest.approx(0.513, abs=0.01)


# -- mixtures ----------------------------------------------------------------------------------


def test_draws_of_a_mixture_have_its_density(rng):
    mixture = Mixture(np.array([0.57, 0.4]), np.array([[0.0], [3.0]]), np.array([[[0.5]], [[0.2]]]))
    grid = np.linspace(-15, 15, 60001)[:, None]
    density = np.exp(mixture.log_density(grid))
    assert np.trapezoid(density, grid.ravel()) == pytest.approx(1, abs=1e-3)
    cumulative = np.cumsum(density) / density.sum()
    draws = mixture.draw(4000, rng).ravel()
    assert kstest(draws, lambda x: np.interp(x, grid.ravel(), cumulative)).pvalue > 0.01


def test_every_mixture_contains_the_prior(rng):
    z = rng.standard_normal((500, 3)) * 0.01
    far = np.full((1, 3), 4.0)
    for mixture in (fitted(z, 500, rng), along(Density(3, lambda z: -5e3 * (z**2).sum(1)), z, rng)):
        assert mixture.weight.sum() == pytest.approx(1 - PRIOR_SHARE)
        assert mixture.log_density(far)[0] >= log_prior(far)[0] + np.log(PRIOR_SHARE) - 1e-6


def test_local_approximations_follow_a_ridge_that_one_component_does_not(rng):
    density = ridge(0.003)
    x = rng.standard_normal(2000)
    z = np.stack([x, 0.5 * (x**2 - 1)], axis=1)

    def efficiency(mixture):
        drawn = mixture.draw(4000, rng)
        weight = density.log_posterior(drawn) - mixture.log_density(drawn)
        weight = np.exp(weight - weight.max())
        return weight.sum() ** 2 / (weight**2).sum() / len(weight)

    assert efficiency(along(density, z, rng)) > 0.2
    assert efficiency(at_modes(find_modes(density, rng))) < 0.1


def straight_ridge(width: float) -> Density:
    """Narrow in the first coordinate; the second has the prior."""
    return Density(2, lambda z: -0.5 * (z[:, 0] / width) ** 2)


def test_points_move_uphill_across_a_ridge_and_not_along_it(rng):
    density = straight_ridge(0.01)
    start = np.stack([0.3 * rng.uniform(-1, 1, 12), np.linspace(-1.5, 1.5, 12)], axis=1)
    point, value, curvature = mixtures._uphill(density, start)
    np.testing.assert_allclose(point[:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(point[:, 1], start[:, 1], atol=1e-9)
    np.testing.assert_allclose(value, density.log_posterior(point))
    np.testing.assert_allclose(curvature, np.broadcast_to(np.diag([1e4 + 1, 1]), (12, 2, 2)),
                               rtol=1e-3, atol=1e-2)  # fmt: skip


def test_a_step_uphill_has_a_largest_length():
    start = np.stack([np.full(8, 3.0), np.linspace(-0.9, 0.9, 8)], axis=1)
    point, *_ = mixtures._uphill(straight_ridge(0.5), start)
    moved = mixtures.UPHILL_STEPS * mixtures.LONGEST
    np.testing.assert_allclose(point[:, 0], 3 - moved, rtol=1e-5)


def test_a_step_that_leads_downhill_is_not_made():
    # Newton's step from 0.2 is far too long. Its largest length leads to -0.3, which is lower.
    density = Density(2, lambda z: -1e3 * np.sqrt(1e-4 + z[:, 0] ** 2))
    start = np.stack([np.full(8, 0.2), np.linspace(-1.5, 1.5, 8)], axis=1)
    point, value, _ = mixtures._uphill(density, start)
    np.testing.assert_allclose(point, start, atol=0.02)
    np.testing.assert_allclose(value, density.log_posterior(point))


def test_outward_points_lie_farther_from_the_centre_along_the_ridge():
    y = np.linspace(-2, 2, 41)
    start = np.stack([0.01 * np.cos(y), y], axis=1)
    curvature = np.broadcast_to(np.diag([1e4, 1.0]), (41, 2, 2))
    moved = mixtures._beyond(start, curvature, np.array([0.0, -0.55]))
    assert len(moved) == mixtures.OUTWARD
    start = start[: mixtures.OUTWARD]
    np.testing.assert_allclose(moved[:, 0], start[:, 0])
    # The third neighbour of the first point is 0.3 away, that of points between others 0.2.
    length = mixtures.REACH * np.r_[0.3, np.full(mixtures.OUTWARD - 1, 0.2)]
    np.testing.assert_allclose(moved[:, 1] - start[:, 1],
                               length * np.sign(start[:, 1] + 0.55), rtol=1e-3)  # fmt: skip


def test_a_mixture_reaches_beyond_the_draws_along_a_ridge(rng):
    x = rng.uniform(-0.8, 0.8, 2000)
    mixture = along(ridge(0.01), np.stack([x, 0.5 * (x**2 - 1)], axis=1), rng)
    x, y = mixture.mean.T
    assert x.min() < -0.82
    assert x.max() > 0.82
    # The outward points have been moved back to the ridge.
    np.testing.assert_allclose(y, 0.5 * (x**2 - 1), atol=0.01)


def test_the_extent_is_the_distance_to_the_third_neighbour_within_limits():
    point = np.array([[0.0], [0.1], [0.2], [0.4], [9.0]])
    np.testing.assert_allclose(mixtures._extent(point), [0.4, 0.3, 0.2, 0.4, 1.0])
    np.testing.assert_allclose(mixtures._extent(np.zeros((5, 1))), 1e-3)
    np.testing.assert_allclose(mixtures._extent(point[:2]), 0.1)


def test_outward_points_far_below_the_mode_are_left_out(rng):
    # The lowest draws lie 10 below the mode. Beyond the draws the density falls by another 8.
    def log_likelihood(z):
        beyond = np.abs(z[:, 1]) > 1
        return -0.5 * (z[:, 0] / 0.01) ** 2 - 10 * np.abs(z[:, 1]) - 8 * beyond

    cliff = Density(2, log_likelihood)
    z = np.stack([0.01 * rng.standard_normal(2000), rng.uniform(-0.99, 0.99, 2000)], axis=1)
    mixture = along(cliff, z, rng)
    assert (np.abs(mixture.mean[:, 1]) <= 1).all()
    assert mixtures.POINTS < len(mixture.mean) <= mixtures.POINTS + mixtures.OUTWARD


# -- evidence ----------------------------------------------------------------------------------


def test_bridge_sampling_states_its_error():
    errors = []
    for seed in range(60):
        rng = np.random.default_rng(seed)

        def ratio(x):
            return np.log(5.0) - 0.5 * x**2 + 0.5 * ((x - 0.5) / 1.3) ** 2 + np.log(1.3)

        found = bridge(ratio(rng.normal(size=500)), ratio(rng.normal(0.5, 1.3, 500)), 500)
        errors.append((found.log - np.log(5.0)) / found.error)
    assert abs(np.mean(errors)) < 0.45
    assert 0.75 < np.std(errors) < 1.3


@pytest.mark.parametrize("dimension", [1, 3, 8])
def test_evidence_and_draws_of_a_normal_posterior(rng, dimension):
    root = np.tril(rng.standard_normal((dimension, dimension))) + 4 * np.eye(dimension)
    centre = 0.3 * rng.standard_normal(dimension)
    density, evidence, precision = normal_data(root @ root.T, centre)
    found = importance.sample(density, 4000, rng)
    assert found.diagnostics.passed
    assert abs(found.diagnostics.log_evidence - evidence) < 5 * found.diagnostics.error + 1e-3
    white = (found.positions - found.positions.mean(axis=0)) @ np.linalg.cholesky(precision)
    np.testing.assert_allclose(np.cov(white.T), np.eye(dimension), atol=0.12)


@pytest.mark.parametrize("width", [0.1, 0.01])
def test_evidence_and_draws_along_a_curved_ridge(rng, width):
    """The narrower one is some hundred times longer than wide."""
    found = importance.sample(ridge(width), 4000, rng)
    assert found.diagnostics.passed
    assert found.diagnostics.log_evidence == pytest.approx(ridge_evidence(width), abs=0.1)
    x, y = found.positions.T
    residual = (y - 0.5 * (x**2 - 1)) / width
    assert residual.std() == pytest.approx(1 / np.sqrt(1 + width**2), rel=0.1)
    grid = np.linspace(-5, 5, 4001)
    scale = np.sqrt(1 + width**2)
    of_x = np.exp(-0.5 * grid**2 - 0.5 * (0.5 * (grid**2 - 1) / scale) ** 2)
    cumulative = np.cumsum(of_x) / of_x.sum()
    distance = kstest(x, lambda v: np.interp(v, grid, cumulative)).statistic
    assert distance < 0.06


def test_separate_modes_have_their_weights(rng):
    def log_likelihood(z):
        left = np.log(0.2) - 0.5 * ((z[:, 0] + 1) / 0.05) ** 2
        return np.logaddexp(left, np.log(0.8) - 0.5 * ((z[:, 0] - 1) / 0.05) ** 2)

    found = importance.sample(Density(2, log_likelihood), 4000, rng)
    assert (found.positions[:, 0] > 0).mean() == pytest.approx(0.8, abs=0.04)


def test_a_known_trend_is_removed_before_sampling_and_added_to_the_draws(rng):
    """Sampled as it is, the bend takes many times as many evaluations."""

    def evaluations(known):
        asked, bent = [], ridge(0.003)

        def trend(z):
            return np.stack([np.zeros(len(z)), 0.5 * (z[:, 0] ** 2 - 1)], axis=1)

        density = bent._replace(
            log_likelihood=lambda z: asked.append(len(z)) or bent.log_likelihood(z),
            improved=lambda z: z,
            trend=trend if known else None,
        )
        found = importance.sample(density, 2000, rng)
        np.testing.assert_allclose(
            found.log_posterior, bent.log_posterior(found.positions), atol=1e-8
        )
        return found.diagnostics.log_evidence, sum(asked)

    log_evidence, few = evaluations(True)
    assert log_evidence == pytest.approx(ridge_evidence(0.003), abs=0.1)
    assert few < 0.5 * evaluations(False)[1]


def test_the_same_seed_gives_the_same_draws():
    one, other = (
        importance.sample(ridge(0.01), 500, np.random.default_rng(7)).positions for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)


# -- diagnostics -------------------------------------------------------------------------------


def test_every_failure_is_named():
    good = ImportanceDiagnostics(ess=2000, pareto_k=0.4, log_evidence=1.0, error=0.02)
    assert good.passed
    bad = ImportanceDiagnostics(
        ess=30, pareto_k=0.9, log_evidence=1.0, error=0.5, moves=80, shift=0.4
    )
    assert not bad.passed
    failures = " ".join(bad.failures())
    assert "30 draws" in failures
    assert "Pareto k is 0.90" in failures
    assert "0.50" in failures
    assert "still spread after 80 moves: by 0.40" in failures


def test_a_likelihood_without_finite_values_fails_the_diagnostics(rng):
    nowhere = Density(2, lambda z: np.full(len(z), -np.inf))
    assert not importance.sample(nowhere, 100, rng).diagnostics.passed


def test_draws_that_still_spread_fail_the_diagnostics(rng, monkeypatch):
    density, _, _ = normal_data(np.eye(2), np.zeros(2))
    z = rng.standard_normal((importance.PARTICLES, 2))
    monkeypatch.setattr(importance, "_moves", lambda density, z, value, *rest: (1.1 * z, value))
    mixture = fitted(z, len(z), rng)
    found = importance._moved(density, z, density.log_posterior(z), mixture, 100, rng)
    assert found.diagnostics.shift == pytest.approx(importance.FITS // 2 * np.log(1.1))
    assert any("still spread" in text for text in found.diagnostics.failures())


def test_an_inefficient_mixture_is_drawn_from_more_often(rng):
    precision = np.diag([30.0, 30.0, 30.0, 30.0, 30.0])
    density, evidence, posterior = normal_data(precision, np.zeros(5))
    root = 3 * np.linalg.cholesky(np.linalg.inv(posterior))  # three times as wide as the posterior
    mixture = Mixture(np.array([1 - PRIOR_SHARE]), np.zeros((1, 5)), root[None])
    size, k = 2 * importance.ROUND, importance.TARGET_K
    assert not importance._Fresh(density, mixture, rng).suffices(size, 3, k)
    fresh = importance._Fresh(density, mixture, rng)
    assert fresh.suffices(size, 24, k)
    found = fresh.sampled(1000)
    assert found.diagnostics.ess >= importance.TARGET_ESS
    assert abs(found.diagnostics.log_evidence - evidence) < 0.1


def test_rounds_of_any_size_are_weighted_against_all(rng):
    """Each proposal covers half of the posterior, so that neither could give its evidence."""
    density, evidence, posterior = normal_data(np.diag([30.0, 30.0]), np.zeros(2))
    root = np.linalg.cholesky(np.linalg.inv(posterior))
    rounds = importance._Rounds(density, rng)
    for side, n in ((-1, 4000), (1, 12_000)):
        mean = side * 1.5 * root[:1, :1] * np.array([[1.0, 0.0]])
        half = root * np.array([0.5, 1.0])
        mixture = Mixture(np.array([1 - PRIOR_SHARE]), mean, half[None])
        fresh = importance._Fresh(density, mixture, rng)
        fresh.draw(n)
        rounds.join(fresh)
    assert abs(rounds.log_evidence - evidence) < 0.05
    z, _ = rounds.resampled(4000)
    sd = np.sqrt(np.linalg.inv(posterior)[0, 0])
    assert z[:, 0].mean() == pytest.approx(0, abs=0.1 * sd)
    assert z[:, 0].std() == pytest.approx(sd, rel=0.1)


def test_one_draw_with_most_of_the_weight_does_not_decide_a_mixture_along_a_ridge(rng):
    """Tempered weights would have few effective draws, and one component."""
    density, _, _ = normal_data(np.diag([30.0, 30.0]), np.zeros(2))
    rounds = importance._Rounds(density._replace(ridge=(0,)), rng)
    rounds.add(Mixture(np.array([1 - PRIOR_SHARE]), np.zeros((1, 2)), 0.3 * np.eye(2)[None]))
    before = len(rounds.sheared().mixture.weight)
    rounds.log_weight[0] = 0.0
    rounds.log_weight -= np.logaddexp.reduce(rounds.log_weight)
    assert np.exp(rounds.log_weight).max() > 0.4
    assert len(rounds.sheared().mixture.weight) > before / 2 > 2


def test_draws_that_would_not_suffice_are_given_up_early(rng):
    density, _, posterior = normal_data(np.diag([900.0] * 5), np.zeros(5))
    root = 30 * np.linalg.cholesky(np.linalg.inv(posterior))
    mixture = Mixture(np.array([1 - PRIOR_SHARE]), np.zeros((1, 5)), root[None])
    evaluated = []
    counted = density._replace(
        log_likelihood=lambda z: evaluated.append(len(z)) or density.log_likelihood(z)
    )
    fresh = importance._Fresh(counted, mixture, rng)
    assert not fresh.suffices(1000, 24, importance.TARGET_K)
    assert sum(evaluated) == importance.JUDGED * 1000


def test_the_last_mixture_is_drawn_from_as_often_as_allowed(rng, monkeypatch):
    density, evidence, _ = normal_data(np.diag([30.0, 30.0]), np.zeros(2))
    suffices, asked = importance._Fresh.suffices, []
    monkeypatch.setattr(importance, "ADAPTED_ESS", np.inf)  # no round is called sufficient
    monkeypatch.setattr(
        importance._Fresh, "suffices", lambda *a: asked.append(a[2]) or suffices(*a)
    )
    found = importance.sample(density, 500, rng)
    assert asked == [importance.MANY_ROUNDS]
    assert found.diagnostics.moves == 0
    assert abs(found.diagnostics.log_evidence - evidence) < 0.1

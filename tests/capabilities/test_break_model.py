"""One curve with breaks: its design, its prior, and its evidence."""

from __future__ import annotations

import numpy as np
import pytest

from bayescale.capabilities.break_model import BreakModel, Curve, smooth_break
from bayescale.capabilities.likelihoods import Accuracy, Loss


def loss_curve(s, noise=0.01) -> Curve:
    n = len(s)
    rng = np.random.default_rng(1)
    y = (0.5 + 0.5 * np.exp(-0.35 * s)) * np.exp(noise * rng.standard_normal(n))
    return Curve(s, Loss(y, np.zeros(n)), np.full(n, -1))


def test_a_smooth_break_changes_the_slope_by_one():
    s = np.array([-50.0, -49.0, 49.0, 50.0])
    low, high = np.diff(smooth_break(s, 0.5, 0.3))[[0, 2]]
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(1)
    assert smooth_break(0.0, 0.5, 0.3) == 0


def test_drift_has_the_covariance_of_an_integrated_random_walk():
    curve = loss_curve(np.linspace(0, 4, 9))
    basis = curve.drift_basis(curve.s)
    low, high = np.minimum.outer(curve.s, curve.s), np.maximum.outer(curve.s, curve.s)
    assert basis @ basis.T == pytest.approx(low**2 * (3 * high - low) / 6, abs=0.02)


def test_the_slope_at_the_last_point_has_the_variance_of_a_random_walk():
    """Of the components together with what they leave out; the basis is linear beyond the data."""
    curve = loss_curve(np.linspace(0, 4, 9))
    slope = np.diff(curve.drift_basis(np.array([4.0, 5.0])), axis=0)[0]
    _, rest = curve.drift_components
    assert slope @ slope + rest == pytest.approx(4)
    assert 0 <= rest < 0.5


def test_slopes_are_those_of_the_curve():
    """Far from a narrow break, the derivative of `eta` is the slope before or after it."""
    curve = loss_curve(np.linspace(-3, 3, 12))
    model = BreakModel(curve, 1, drift=False)
    rng = np.random.default_rng(0)
    positions, coefficients = model.draw_prior(6, rng), rng.standard_normal((6, 3))
    positions[:, -1] = -3.0
    before, change = model.slopes(positions, coefficients)
    s = np.array([-50.0, -49.0, 49.0, 50.0])
    differences = np.diff(model.eta(positions, coefficients, s, np.full(4, -1)), axis=1)
    assert differences[:, 0] == pytest.approx(before)
    assert differences[:, 2] == pytest.approx(before + change[:, 0])


def brute_force_log_evidence(model: BreakModel, n=200_000) -> float:
    """From plain draws of the prior."""
    rng = np.random.default_rng(1)
    curve, metric = model.curve, model.curve.metric
    positions = model.draw_prior(n, rng)
    coefficients = rng.standard_normal((n, 2 + model.n_breaks))
    eta = model.eta(positions, coefficients, curve.s, curve.family)
    log = metric.terms(eta, model.hyperparameters(positions)).log_density.sum(axis=1)
    return float(np.log(np.exp(log - log.max()).mean()) + log.max())


@pytest.mark.parametrize("kind", ["loss", "accuracy"])
def test_evidence_agrees_with_plain_draws_from_the_prior(kind):
    """Few points and much noise, where plain Monte Carlo works."""
    s = np.linspace(-2, 2, 7)
    curve = loss_curve(s, noise=0.3)
    if kind == "accuracy":
        y = np.array([0.0, 0.1, 0.1, 0.3, 0.4, 0.7, 0.6])
        curve = Curve(s, Accuracy(y, np.full(7, 10.0), 0.0), np.full(7, -1))
    models = [BreakModel(curve, k, drift=False) for k in range(2)]
    sampled = [model.sample(np.random.default_rng(1)).log_evidence for model in models]
    exact = [brute_force_log_evidence(model) for model in models]
    assert sampled[1] - sampled[0] == pytest.approx(exact[1] - exact[0], abs=0.2)
    assert sampled == pytest.approx(exact, abs=0.2)


def test_locations_keep_their_distance():
    curve = loss_curve(np.linspace(-3, 3, 12))
    model = BreakModel(curve, 3)
    positions = model.draw_prior(300, np.random.default_rng(0))
    locations = model.locations(positions)
    low, high = curve.window
    assert ((locations > low) & (locations < high)).all()
    assert (np.diff(np.searchsorted(curve.s, locations), axis=1) >= 2).all()
    assert np.isfinite(model.log_prior(positions)).all()
    close = positions.copy()
    close[:, model._locations] = [0.5, 0.5001, 0.9]
    assert (model.log_prior(close) == -np.inf).all()


def test_refresh_changes_one_break_and_keeps_the_order():
    model = BreakModel(loss_curve(np.linspace(-3, 3, 14)), 2)
    rng = np.random.default_rng(0)
    positions = model.draw_prior(200, rng)
    new = model.refresh(positions, rng)
    scalars = len(model.priors)
    assert (new[:, :scalars] == positions[:, :scalars]).all()
    assert (np.diff(new[:, model._locations], axis=1) > 0).all()
    old, new = positions[:, model._locations], new[:, model._locations]
    assert [np.isin(a, b).sum() for a, b in zip(old, new, strict=True)] == [1] * 200


def test_fewer_than_six_different_x_allow_no_break():
    assert loss_curve(np.arange(5.0)).max_breaks == 0
    assert loss_curve(np.repeat(np.arange(5.0), 3)).max_breaks == 0
    assert loss_curve(np.arange(6.0)).max_breaks == 1


def test_clustered_points_do_not_identify_several_breaks():
    s = np.concatenate([np.linspace(0, 1e-6, 6), np.linspace(5, 5 + 1e-6, 6)])
    curve = loss_curve(s - 2.5)
    assert BreakModel(curve, 1).identifiable
    assert not BreakModel(curve, 3).identifiable


def test_losses_over_many_orders_of_magnitude_have_a_finite_evidence():
    s = np.linspace(-5, 5, 14)
    curve = Curve(s, Loss(np.exp(-2.0 * s), np.zeros(14)), np.full(14, -1))
    sample = BreakModel(curve, 1).sample(np.random.default_rng(0), 16)
    assert np.isfinite(sample.log_evidence)

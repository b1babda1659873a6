"""One curve with breaks: likelihoods, columns, and the evidence of each number of breaks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from bayescale.bends import Bends, Curve, bend
from bayescale.metric import Accuracy, Loss, Plotted
from bayescale.particles import walk


def curve_of(metric, n=12):
    s = np.linspace(-3, 3, n)
    return Curve(s, metric, np.full(n, -1))


def losses(n=12, seed=1, noise=0.01):
    s = np.linspace(-3, 3, n)
    rng = np.random.default_rng(seed)
    return (0.5 + 0.5 * np.exp(-0.35 * s)) * np.exp(noise * rng.standard_normal(n))


METRICS = {
    "loss": Loss(losses(), np.zeros(12)),
    "loss with known errors": Loss(losses(), np.full(12, 0.02)),
    "accuracy": Accuracy(np.linspace(0.25, 0.9, 12), np.full(12, 400.0), 0.25),
    "free answers": Accuracy(np.linspace(0.0, 0.6, 12), np.full(12, 400.0), 0.0),
    "plotted": Plotted(np.linspace(0.05, 0.9, 12), np.full(12, 400.0), 0.0),
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_slopes_of_the_likelihood_are_those_of_small_steps(metric):
    law = Bends(curve_of(metric), 1)
    rng = np.random.default_rng(0)
    at = law.draw(5, rng)
    h = law.scalars(at)
    z = 0.3 * rng.standard_normal((5, len(metric.inner)))
    eta = np.tile(metric.guess()[0], (5, 1)) + 0.1 * rng.standard_normal((5, 12))
    step = 1e-6
    said = metric.score(eta, z, h)
    up, down = (metric.score(eta + d, z, h).log for d in (step, -step))
    assert said.pull * said.by_eta == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-4)
    for j in range(len(metric.inner)):
        move = np.zeros_like(z)
        move[:, j] = step
        up, down = (metric.score(eta, z + d, h).log.sum(axis=1) for d in (move, -move))
        told = (said.pull * said.by_inner[:, :, j]).sum(axis=1) + said.own_pull[:, j]
        assert told == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_likelihoods_are_densities_of_what_is_drawn(metric):
    """The mean score, at the parameters that made the data, is zero."""
    law = Bends(curve_of(metric), 0)
    rng = np.random.default_rng(3)
    at = np.zeros((1, law.dimension))
    h = law.scalars(at)
    z = np.zeros((1, len(metric.inner)))
    eta = np.clip(metric.guess()[0], -3 if not isinstance(metric, Plotted) else 0.05, 0.95)[None]
    pulls = []
    for _ in range(4000):
        y = metric.draw(eta, z, h, rng)[0]
        made = type(metric)(y, *((metric.sd,) if isinstance(metric, Loss)
                                 else (metric.n, metric.chance)))
        made.__dict__["typical"] = getattr(metric, "typical", None)
        if isinstance(metric, Loss):
            made = Loss(y, np.zeros(12))
            made.__dict__["typical"] = metric.typical
        pulls.append(made.score(eta, z, h).pull[0])
    pulls = np.array(pulls)
    assert (abs(pulls.mean(axis=0)) < 4.5 * pulls.std(axis=0) / np.sqrt(len(pulls))).all()


def test_a_bend_changes_the_slope_by_one():
    s = np.array([-50.0, -49.0, 49.0, 50.0])
    low, high = np.diff(bend(s, 0.5, 0.3))[[0, 2]]
    assert low == pytest.approx(0, abs=1e-12)
    assert high == pytest.approx(1)
    assert bend(0.0, 0.5, 0.3) == 0


def test_drift_has_the_covariance_of_an_integrated_walk():
    curve = Curve(np.linspace(0, 4, 9), METRICS["loss"], np.full(9, -1))
    ours = curve.wander(curve.s) @ curve.wander(curve.s).T
    low, high = np.minimum.outer(curve.s, curve.s), np.maximum.outer(curve.s, curve.s)
    assert ours == pytest.approx(low**2 * (3 * high - low) / 6, abs=0.02)
    steps, rest = curve.walk
    slope = steps.sum(axis=1)
    assert slope @ slope + rest == pytest.approx(4)


def test_particles_bring_the_evidence_of_a_problem_that_is_known():
    """A normal prior, a normal likelihood: the evidence is a normal density."""
    rng = np.random.default_rng(5)
    seen, sd = np.array([2.0, -1.0]), 0.05

    def log_likelihood(at, kept):
        return norm.logpdf(seen, at, sd).sum(axis=1), at

    cloud = walk(lambda n: rng.standard_normal((n, 2)), lambda at: -0.5 * (at**2).sum(axis=1),
                 log_likelihood, lambda at: np.where(rng.random(at.shape) < 0.5, at,
                                                     rng.standard_normal(at.shape)),
                 particles=600, rng=rng)
    exact = multivariate_normal.logpdf(seen, np.zeros(2), (1 + sd**2) * np.eye(2))
    assert cloud.log_evidence == pytest.approx(exact, abs=0.5)
    assert cloud.places.mean(axis=0) == pytest.approx(seen / (1 + sd**2), abs=0.02)
    assert cloud.places.std(axis=0) == pytest.approx(sd, rel=0.3)


def by_brute_force(law: Bends, n=200_000) -> float:
    """Log evidence from plain draws of the prior."""
    rng = np.random.default_rng(1)
    curve, metric = law.curve, law.curve.metric
    at = law.draw(n, rng)
    normals = rng.standard_normal((n, len(metric.inner) + 2 + law.breaks))
    eta = law.eta(at, normals, curve.s, curve.family)
    log = metric.score(eta, normals[:, :len(metric.inner)], law.scalars(at)).log.sum(axis=1)
    return float(np.log(np.exp(log - log.max()).mean()) + log.max())


@pytest.mark.parametrize("kind", ["loss", "accuracy"])
def test_bayes_factors_are_those_of_plain_draws_from_the_prior(kind):
    """Few points and much noise, where drawing everything from the prior still works."""
    metric = (Loss(losses(7, noise=0.3), np.zeros(7)) if kind == "loss"
              else Accuracy(np.array([0.0, 0.1, 0.1, 0.3, 0.4, 0.7, 0.6]), np.full(7, 10.0), 0.0))
    curve = Curve(np.linspace(-2, 2, 7), metric, np.full(7, -1))
    laws = [Bends(curve, k, drift=False) for k in range(2)]
    ours = [np.mean([law.evidence(np.random.default_rng(i)).log_evidence for i in range(4)])
            for law in laws]
    plain = [by_brute_force(law) for law in laws]
    assert ours[1] - ours[0] == pytest.approx(plain[1] - plain[0], abs=0.2)
    # By Laplace's method so few points are off by half a nat, in every law alike.
    assert ours == pytest.approx(plain, abs=0.8)


def test_breaks_keep_their_distance_and_few_points_allow_none():
    curve = curve_of(METRICS["loss"])
    law = Bends(curve, 3)
    places = np.sort(law.places(law.draw(300, np.random.default_rng(0))), axis=1)
    low, high = curve.window
    assert ((places > low) & (places < high)).all()
    between = np.searchsorted(curve.s, places)
    assert (np.diff(between, axis=1) >= 2).all()
    assert Curve(np.arange(5.0), METRICS["loss"], np.full(5, -1)).most == 0


def test_points_in_clusters_are_not_asked_for_breaks_they_cannot_place():
    s = np.concatenate([np.linspace(0, 1e-6, 6), np.linspace(5, 5 + 1e-6, 6)])
    curve = Curve(s - 2.5, METRICS["loss"], np.full(12, -1))
    assert Bends(curve, 1).fits
    assert not Bends(curve, 3).fits


def test_curves_that_fall_by_many_orders_of_magnitude_have_an_evidence():
    s = np.linspace(-5, 5, 14)
    curve = Curve(s, Loss(np.exp(-2.0 * s), np.zeros(14)), np.full(14, -1))
    assert np.isfinite(Bends(curve, 1).evidence(np.random.default_rng(0), 64).log_evidence)


def test_particles_without_a_likelihood_say_so_at_once():
    rng = np.random.default_rng(0)
    cloud = walk(lambda n: rng.standard_normal((n, 1)), lambda at: -0.5 * (at**2).sum(axis=1),
                 lambda at, kept: (np.full(len(at), -np.inf), at), lambda at: at, particles=16,
                 rng=rng)
    assert cloud.log_evidence == -np.inf

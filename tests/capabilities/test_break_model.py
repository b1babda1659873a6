"""One curve with breaks: likelihoods, columns, and the evidence of each number of breaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from bayescale.capabilities.break_model import Bends, Curve, bend
from bayescale.capabilities.likelihoods import Accuracy, Loss, Plotted
from bayescale.inference.smc import Problem, integrate


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
    h = law.scalars(law.draw(5, rng))
    eta = metric.guess(h) + 0.1 * rng.standard_normal((5, 12))
    step = 1e-6
    up, down = (metric.score(eta + d, h).log for d in (step, -step))
    assert metric.score(eta, h).pull == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-4)
    up, down = (metric.score(eta + d, h).pull for d in (step, -step))
    twice = np.maximum((down - up) / (2 * step), 0)
    assert metric.curvature(eta, h) == pytest.approx(twice, rel=1e-3, abs=1e-2)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_likelihoods_are_densities_of_what_is_drawn(metric):
    """At the parameters that made the data, the mean slope is zero."""
    law = Bends(curve_of(metric), 0)
    rng = np.random.default_rng(3)
    h = law.scalars(np.zeros((1, law.dimension)))
    eta = np.clip(metric.guess(h), 0.1 if isinstance(metric, Plotted) else -2, 0.9)
    pulls = []
    for _ in range(4000):
        made = replace(metric, y=metric.draw(eta, h, rng)[0])
        if isinstance(metric, Loss) and metric.sd.any():
            # Known errors are in proportion to the score that is seen.
            noise = rng.standard_t(h["nu"][0], 12) * np.hypot(h["sigma"][0], metric.sd / metric.y)
            y = metric.mean(eta, h)[0] * np.exp(noise)
            made = replace(made, y=y, sd=metric.sd / metric.y * y)
        pulls.append(made.score(eta, h).pull[0])
    pulls = np.array(pulls)
    assert (abs(pulls.mean(axis=0)) < 4.5 * pulls.std(axis=0) / np.sqrt(len(pulls))).all()


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_the_best_normals_are_found_from_anywhere(metric):
    law = Bends(curve_of(metric), 1)
    at = law.draw(40, np.random.default_rng(2))
    value, best = law.log_likelihood(at)
    other, _ = law.log_likelihood(at, best + 0.3)
    likely = value > value.max() - 20
    assert other[likely] == pytest.approx(value[likely], abs=0.2)


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


def problem_of(log_likelihood, dimension: int, rng) -> Problem:
    """With a standard normal prior."""
    return Problem(
        lambda n: rng.standard_normal((n, dimension)),
        lambda at: norm.logpdf(at).sum(axis=1),
        lambda at, kept: (log_likelihood(at), at),
        lambda at: np.where(rng.random(at.shape) < 0.5, at, rng.standard_normal(at.shape)),
    )


def test_particles_bring_the_evidence_of_a_problem_that_is_known():
    """A normal prior, a normal likelihood: the evidence is a normal density."""
    rng = np.random.default_rng(5)
    seen, sd = np.array([2.0, -1.0]), 0.05
    problem = problem_of(lambda at: norm.logpdf(seen, at, sd).sum(axis=1), 2, rng)
    cloud = integrate(problem, particles=100, rng=rng)
    exact = multivariate_normal.logpdf(seen, np.zeros(2), (1 + sd**2) * np.eye(2))
    assert cloud.log_evidence == pytest.approx(exact, abs=4 * cloud.error)
    assert cloud.error < 0.1
    assert cloud.places.mean(axis=0) == pytest.approx(seen / (1 + sd**2), abs=0.02)
    assert cloud.places.std(axis=0) == pytest.approx(sd, rel=0.2)


def test_the_error_of_the_evidence_is_what_runs_differ_by():
    """Two modes of unlike width and weight."""
    far = np.full(3, 1.0)

    def log_likelihood(at):
        return np.logaddexp(
            norm.logpdf(at, -far, 0.5).sum(axis=1), norm.logpdf(at, far, 0.25).sum(axis=1)
        )

    exact = np.logaddexp(
        *(
            multivariate_normal.logpdf(m, np.zeros(3), (1 + s**2) * np.eye(3))
            for m, s in ((-far, 0.5), (far, 0.25))
        )
    )
    off, told = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cloud = integrate(problem_of(log_likelihood, 3, rng), particles=64, rng=rng)
        off.append(cloud.log_evidence - exact)
        told.append(cloud.error)
    assert np.sqrt(np.mean(np.square(off))) < 2 * np.mean(told)
    assert abs(np.mean(off)) < 3 * np.std(off) / np.sqrt(20)


def by_brute_force(law: Bends, n=200_000) -> float:
    """Log evidence from plain draws of the prior."""
    rng = np.random.default_rng(1)
    curve, metric = law.curve, law.curve.metric
    at = law.draw(n, rng)
    normals = rng.standard_normal((n, 2 + law.breaks))
    eta = law.eta(at, normals, curve.s, curve.family)
    log = metric.score(eta, law.scalars(at)).log.sum(axis=1)
    return float(np.log(np.exp(log - log.max()).mean()) + log.max())


@pytest.mark.parametrize("kind", ["loss", "accuracy"])
def test_bayes_factors_are_those_of_plain_draws_from_the_prior(kind):
    """Few points and much noise, where drawing everything from the prior still works."""
    metric = (
        Loss(losses(7, noise=0.3), np.zeros(7))
        if kind == "loss"
        else Accuracy(np.array([0.0, 0.1, 0.1, 0.3, 0.4, 0.7, 0.6]), np.full(7, 10.0), 0.0)
    )
    curve = Curve(np.linspace(-2, 2, 7), metric, np.full(7, -1))
    laws = [Bends(curve, k, drift=False) for k in range(2)]
    ours = [law.evidence(np.random.default_rng(1)).log_evidence for law in laws]
    plain = [by_brute_force(law) for law in laws]
    assert ours[1] - ours[0] == pytest.approx(plain[1] - plain[0], abs=0.2)
    assert ours == pytest.approx(plain, abs=0.2)


def test_breaks_keep_their_distance_and_few_points_allow_none():
    curve = curve_of(METRICS["loss"])
    law = Bends(curve, 3)
    places = law.places(law.draw(300, np.random.default_rng(0)))
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
    problem = problem_of(lambda at: np.full(len(at), -np.inf), 1, rng)
    cloud = integrate(problem, particles=16, rng=rng)
    assert cloud.log_evidence == -np.inf

"""Sequential Monte Carlo and importance sampling: exact evidences are recovered."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from bayescale.inference import Target, integrate, systematic_resample


def target_of(log_likelihood, dimension: int, rng) -> Target:
    """With a standard normal prior."""
    return Target(
        draw_prior=lambda n: rng.standard_normal((n, dimension)),
        log_prior=lambda z: norm.logpdf(z).sum(axis=1),
        log_likelihood=lambda z, _: (log_likelihood(z), z),
        refresh=lambda z: np.where(rng.random(z.shape) < 0.5, z, rng.standard_normal(z.shape)),
    )


def test_evidence_and_moments_of_a_conjugate_normal_model():
    rng = np.random.default_rng(5)
    seen, sd = np.array([2.0, -1.0]), 0.05
    target = target_of(lambda z: norm.logpdf(seen, z, sd).sum(axis=1), 2, rng)
    sample = integrate(target, particles=100, rng=rng)
    exact = multivariate_normal.logpdf(seen, np.zeros(2), (1 + sd**2) * np.eye(2))
    assert sample.log_evidence == pytest.approx(exact, abs=4 * sample.error)
    assert sample.error < 0.1
    assert sample.reliable
    assert sample.positions.mean(axis=0) == pytest.approx(seen / (1 + sd**2), abs=0.02)
    assert sample.positions.std(axis=0) == pytest.approx(sd, rel=0.2)
    assert (sample.auxiliary == sample.positions).all()


def test_reported_error_matches_the_spread_over_seeds():
    """Two modes with different widths and weights."""
    mode = np.full(3, 1.0)

    def log_likelihood(z):
        return np.logaddexp(
            norm.logpdf(z, -mode, 0.5).sum(axis=1), norm.logpdf(z, mode, 0.25).sum(axis=1)
        )

    exact = np.logaddexp(
        *(
            multivariate_normal.logpdf(m, np.zeros(3), (1 + s**2) * np.eye(3))
            for m, s in ((-mode, 0.5), (mode, 0.25))
        )
    )
    errors, reported = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sample = integrate(target_of(log_likelihood, 3, rng), particles=64, rng=rng)
        errors.append(sample.log_evidence - exact)
        reported.append(sample.error)
    assert np.sqrt(np.mean(np.square(errors))) < 2 * np.mean(reported)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(20)


def test_without_a_finite_likelihood_the_evidence_is_zero():
    rng = np.random.default_rng(0)
    target = target_of(lambda z: np.full(len(z), -np.inf), 1, rng)
    assert integrate(target, particles=16, rng=rng).log_evidence == -np.inf


def test_systematic_resampling_keeps_the_expected_counts():
    rng = np.random.default_rng(2)
    weight = np.array([0.05, 0.0, 0.25, 0.7])
    counts = np.bincount(systematic_resample(weight, 20, rng), minlength=4)
    assert (abs(counts - 20 * weight) < 1).all()

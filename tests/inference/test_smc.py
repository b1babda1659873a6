"""Sequential Monte Carlo and importance sampling: exact evidences are recovered."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from bayescale.inference import Target, integrate, systematic_resample
from bayescale.inference.smc import tempered_resample


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


class TestTemperedResampling:
    log_weight = -np.arange(200.0)

    def drawn(self, least):
        """Shares of the draws among many that are chosen, and the effective number."""
        chosen, effective = tempered_resample(
            self.log_weight, least, 200_000, np.random.default_rng(3)
        )
        return np.bincount(chosen, minlength=200) / 200_000, effective

    def test_the_effective_number_is_that_of_the_weights(self):
        share, effective = self.drawn(50)
        assert effective == pytest.approx(1 / (share**2).sum(), rel=1e-3)
        # A power of 0.8 of these weights has 1 / 0.8 times as many effective draws.
        assert 50 <= effective < 50 / 0.8

    def test_the_weights_are_the_largest_power_with_enough_effective_draws(self):
        share, _ = self.drawn(50)
        power = np.log(share[20] / share[40]) / 20
        # Weights exp(-power i) have coth(power / 2) effective draws.
        needed = next(0.8**i for i in range(99) if 1 / np.tanh(0.8**i / 2) >= 50)
        assert power == pytest.approx(needed, rel=0.01)

    def test_weights_with_enough_effective_draws_are_unchanged(self):
        share, effective = self.drawn(2)
        exact = np.exp(self.log_weight) / np.exp(self.log_weight).sum()
        np.testing.assert_allclose(share[:5], exact[:5], atol=1e-5)
        assert effective == pytest.approx(1 / (exact**2).sum(), rel=1e-6)

    def test_no_more_than_half_of_the_draws_need_be_effective(self):
        _, effective = self.drawn(1000)
        assert 100 <= effective < 130

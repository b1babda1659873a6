"""The noise of log loss: its trend with the loss, and its correlation along a series."""

from __future__ import annotations

import numpy as np
import pytest

from bayescale.model.noise import (
    LONG,
    MEMORY,
    NOISE,
    TREND,
    correlation,
    factor,
    innovation,
    unexplained,
)


def test_noise_follows_the_loss_inside_the_data_and_stays_beyond():
    low, high = np.log(2), np.log(4)
    by_loss = factor(0.7, np.log([0.5, 2, np.sqrt(8), 4, 90]), np.array([low, high]))
    np.testing.assert_allclose(np.log(by_loss), [-0.7, -0.7, 0, 0.7, 0.7], atol=1e-12)


def test_the_correlation_falls_by_e_in_one_memory():
    np.testing.assert_allclose(correlation(np.array([0.0, 0.3, 0.6]), 0.3), np.exp([0, -1, -2]))


@pytest.mark.parametrize("memory", [0.05, 0.3, 4.0])
def test_innovations_of_an_autocorrelated_series_are_independent_with_unit_scale(memory):
    """Exactly: innovations are linear, and their matrix turns the covariance into the identity."""
    scale = np.cumsum([0.0, 0.1, 0.02, 0.4, 0.25])
    covariance = np.exp(-np.abs(scale[:, None] - scale) / memory)
    rows = [np.eye(5)[0]]
    for i in range(1, 5):
        kept = correlation(scale[i] - scale[i - 1], memory)
        rows.append(innovation(np.eye(5)[i], np.eye(5)[i - 1], kept))
    of_residuals = np.array(rows)
    np.testing.assert_allclose(of_residuals @ covariance @ of_residuals.T, np.eye(5), atol=1e-12)


def test_what_the_previous_checkpoint_does_not_explain():
    np.testing.assert_allclose(unexplained(np.array([0.0, 0.6, 0.8])), [1.0, 0.8, 0.6])


def test_priors_contain_the_noise_of_published_runs():
    low, high = NOISE["sigma"].interval(0.9)
    assert low < 0.003 < 0.03 < high  # from well-fitted sweeps to unusual recipes
    low, high = NOISE["nu"].interval(0.9)
    assert low < 2 < 20 < high  # from heavy tails to nearly normal ones
    assert TREND.median == 0
    # Neighbours on a long run are correlated, and checkpoints a factor of e apart are not.
    near, far = correlation(np.array([0.05, 1.0]), MEMORY.median)
    assert near > 0.5
    assert far < 0.05


def test_the_first_checkpoint_of_a_series_has_no_predecessor():
    """Its gap is `LONG`, over which no plausible noise is correlated."""
    assert correlation(LONG, MEMORY.interval(1 - 1e-6)[1]) == 0

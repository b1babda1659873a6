"""Pareto-smoothed importance weights."""

import numpy as np
import pytest
from arviz_stats.base import array_stats

from bayescale.inference.pareto import FEWEST, pareto_k, smoothed


def sets(draws: int) -> np.ndarray:
    """Log weights of tails from bounded to without a mean, (draw, set)."""
    rng = np.random.default_rng(3)
    shapes = np.array([0.0, 0.2, 0.5, 0.8, 1.5])
    return shapes * rng.exponential(size=(draws, len(shapes))) + 0.1 * rng.normal(size=(draws, 5))


@pytest.mark.parametrize("draws", [FEWEST, 200, 226, 4000])
def test_weights_and_shapes_are_those_of_arviz(draws):
    log_weight = sets(draws)
    expected, k = array_stats.psislw(-log_weight, axis=0)  # it takes minus the log weights
    np.testing.assert_allclose(pareto_k(log_weight), k, rtol=1e-9)
    np.testing.assert_allclose(smoothed(log_weight), expected.T, rtol=1e-7, atol=1e-9)


def test_weights_of_zero_are_left_out():
    log_weight = sets(1000)[:, 2]
    with_zeros = np.insert(log_weight, 500, [-np.inf] * 50)
    assert pareto_k(with_zeros) == pareto_k(log_weight)


def test_equal_weights_have_no_tail():
    out = smoothed(np.zeros((100, 1)))
    np.testing.assert_allclose(np.exp(out), 0.01)
    assert np.isnan(pareto_k(np.zeros(100)))


def test_too_few_weights_are_not_trusted():
    assert pareto_k(np.arange(FEWEST - 1.0)) == np.inf


def test_inputs_are_unchanged():
    log_weight = sets(300)
    before = log_weight.copy()
    smoothed(log_weight)
    np.testing.assert_array_equal(log_weight, before)

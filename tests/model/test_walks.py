"""Random walks at points, whichever other points are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from bayescale.model.walks import integrals


def test_the_integral_has_the_covariance_of_an_integrated_wiener_process():
    """Between the places too: min^2 (3 max - min) / 6."""
    distance = np.array([0.003, 0.7, 1.1, 6.0, 30.0])
    drawn = integrals(distance, 100_000, np.random.default_rng(1))
    low, high = np.minimum.outer(distance, distance), np.maximum.outer(distance, distance)
    expected = low**2 * (3 * high - low) / 6
    spread = np.sqrt(distance**3 / 3)
    np.testing.assert_allclose(drawn.std(axis=0), spread, rtol=0.01)
    scale = np.multiply.outer(spread, spread)
    np.testing.assert_allclose(np.cov(drawn.T) / scale, expected / scale, atol=0.015)


def test_a_point_has_one_value_alone_and_among_nearer_and_farther_points():
    among = integrals(np.array([0.0, 50.0, 1.7, 1.8]), 200, np.random.default_rng(1))
    alone = integrals(np.array([1.7]), 200, np.random.default_rng(1))
    np.testing.assert_allclose(among[:, 2], alone[:, 0], rtol=1e-10)
    assert (among[:, 0] == 0).all()
    assert np.corrcoef(among[:, 2], among[:, 3])[0, 1] == pytest.approx(1, abs=0.01)

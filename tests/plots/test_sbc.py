"""The plot of simulation-based calibration."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs
from bayescale.evaluation import envelope


def test_lines_are_the_distribution_of_the_ranks_minus_the_uniform_one(ranks, legend):
    ax = bs.plot_sbc(ranks)
    assert ax.get_xlabel() == "rank of the true value in its posterior"
    assert ax.get_ylabel() == "empirical minus uniform distribution"
    assert set(legend(ax)) == {"95 % envelope", "E", "A", "alpha"}
    assert len({line.get_color() for line in ax.lines}) == 4
    at, lower, _ = envelope(50, 0.95)
    assert ax.collections[0].get_paths()[0].vertices[:, 1].min() == pytest.approx(
        (lower - at).min()
    )
    for name in ranks.pit:
        (line,) = [x for x in ax.lines if x.get_label() == name]
        x, y = line.get_data()
        below = (ranks.pit[name].to_numpy() <= np.reshape(x, (-1, 1))).mean(axis=1)
        assert y == pytest.approx(below - x)

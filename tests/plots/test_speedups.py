"""Plots of compute multipliers."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs
from bayescale.model import Check

VALUES = dict(E=1.7, A=0.5, B=0.5, alpha=0.34, beta=0.34, sigma=0.01, nu=8.0)


@pytest.fixture
def fits(by_hand, openlm):
    runs = openlm.query("dataset == 'c4'")
    rng = np.random.default_rng(1)
    drawn = {k: v * np.exp(0.01 * rng.standard_normal((2, 50))) for k, v in VALUES.items()}
    made = [by_hand(runs, "chinchilla", drawn | {"A": a * drawn["A"]}, draws=50) for a in (1, 1.2)]
    for fit in made:
        fit.__dict__["_check"] = Check((), None)
    return made


def test_a_multiplier_is_drawn_with_its_band_against_compute(fits, check_axis, legend):
    found = bs.speedup(fits[0], over=fits[1], at=bs.grid(1e19, 1e22, 6), along=20)
    ax = bs.plot_speedup(found, ci_prob=0.8)
    check_axis(ax.xaxis, "training compute C (FLOP) of the first recipe", r"\de\d+")
    assert ax.get_ylabel() == "compute of the second recipe /\ncompute of the first recipe"
    expected = found.to_dataframe("summary", 0.8).query("variable == 'multiplier'")
    assert np.array_equal(ax.lines[0].get_ydata(), expected["median"])
    (band,) = [c for c in ax.collections if len(c.get_paths()[0].vertices) > 10]
    edge = band.get_paths()[0].vertices[:, 1]
    assert edge.min() == pytest.approx(expected["lower"].min())
    assert edge.max() == pytest.approx(expected["upper"].max())
    assert legend(ax) == ["80 %", "median", "equal", "beyond the runs"]


def test_against_target_losses_compute_grows_to_the_right(fits):
    found = bs.speedup(fits[0], over=fits[1], loss=[2.6, 2.5, 2.4], along=20)
    ax = bs.plot_speedup(found)
    assert ax.get_xlabel() == "target loss (nats per token)"
    left, right = ax.get_xlim()
    assert left > right
    single = bs.plot_speedup(bs.speedup(fits[0], over=fits[1], at=1e20, along=20))
    assert [len(c.get_segments()) for c in single.collections[:1]] == [1]


@pytest.mark.parametrize("factor", [1.2, 12.0, 4.0])
def test_the_axis_of_multipliers_has_a_tick_at_one(by_hand, fits, factor):
    rng = np.random.default_rng(2)
    drawn = {k: v * np.exp(0.01 * rng.standard_normal((2, 50))) for k, v in VALUES.items()}
    worse = by_hand(fits[0].runs, "chinchilla", drawn | {"A": factor * drawn["A"]}, draws=50)
    worse.__dict__["_check"] = Check((), None)
    found = bs.speedup(fits[0], over=worse, at=bs.grid(1e19, 1e20, 6), along=20)
    axis = bs.plot_speedup(found).yaxis
    low, high = axis.get_view_interval()
    ticks = [t for t in axis.get_majorticklocs() if low <= t <= high]
    assert any(t == pytest.approx(1) for t in ticks)
    if high > 10 * low:
        assert all(f"{t:.0e}"[0] in "125" and f"{t:.1e}"[2] == "0" for t in ticks)

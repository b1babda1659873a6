"""Fixtures of tests of plots: made-up rollouts and ranks, and functions that read axes."""

from __future__ import annotations

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from bayescale.evaluation.jobs import scored
from bayescale.evaluation.rollout_results import Rollout
from bayescale.evaluation.sbc import Calibration


@pytest.fixture(autouse=True)
def _closed():
    """Close all figures after a test."""
    yield
    plt.close("all")


# -- reading axes ------------------------------------------------------------------------------


def _ticks(axis) -> list[str]:
    axis.axes.figure.canvas.draw()
    low, high = sorted(axis.get_view_interval())
    shown = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [label.get_text() for at, label in shown if low <= at <= high]


def _check_axis(axis, label: str, pattern: str) -> None:
    texts = _ticks(axis)
    assert axis.get_label().get_text() == label
    assert axis.get_scale() == "log"
    assert 2 <= len(texts) <= 12
    assert len(set(texts)) == len(texts)
    assert all(re.fullmatch(pattern, text) for text in texts), texts
    assert not any(t.label1.get_text() for t in axis.get_minor_ticks())


def _clouds(ax) -> list:
    return [c for c in ax.collections if len(c.get_offsets()) > 1]


@pytest.fixture
def ticks():
    """Labels of the ticks in view of an axis."""
    return _ticks


@pytest.fixture
def check_axis():
    """Assert that an axis is logarithmic, with this label and two to twelve ticks of this form."""
    return _check_axis


@pytest.fixture
def clouds():
    """The scatters of more than one point."""
    return _clouds


@pytest.fixture
def colours():
    """The colour of each scatter."""
    return lambda ax: [to_hex(c.get_facecolor()[0]) for c in _clouds(ax)]


@pytest.fixture
def legend():
    """The entries of the legend of axes, or else of their figure."""
    return lambda ax: [t.get_text() for t in (ax.get_legend() or ax.figure.legends[0]).get_texts()]


@pytest.fixture
def line_of():
    """The one line with this label."""

    def find(ax, label):
        (line,) = [x for x in ax.lines if x.get_label() == label]
        return line

    return find


# -- results by hand ---------------------------------------------------------------------------


@pytest.fixture
def ranks() -> Calibration:
    """Uniform ranks of three scalars in fifty tables."""
    rng = np.random.default_rng(1)
    pit = pd.DataFrame(rng.random((50, 3)), columns=["E", "A", "alpha"])
    return Calibration(pit, "power(C)", unconverged=0, random_seed=1)


def _forecast(
    law,
    problem="C >= 1e20",
    *,
    sd=0.02,
    method="bayescale",
    threshold=1e20,
    n=30,
    converged=True,
    seed=1,
    **columns,
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    C = np.asarray(columns.pop("C", np.geomspace(1.1e20, 9e21, n)), float)
    centre = 2 + (C / 1e20) ** -0.2
    places = pd.DataFrame(
        {
            "problem": problem,
            "threshold": threshold,
            **columns,
            "run": np.arange(len(C)),
            "C": C,
            "loss": centre * np.exp(0.02 * rng.standard_normal(len(C))),
            "extrapolation": C / 1e20,
        }
    )
    draws = centre * np.exp(sd * rng.standard_normal((400, len(C))))
    return scored(law, method, places, draws, np.zeros(len(C)), converged=converged, seconds=1.0)


def _rolled(*parts, each=None) -> Rollout:
    return Rollout(pd.concat(parts, ignore_index=True), {}, random_seed=1, each=each)


@pytest.fixture
def forecast():
    """Make points whose losses scatter by 2 % about the centre of forecasts with this `sd`."""
    return _forecast


@pytest.fixture
def rolled():
    """Make a rollout from such points."""
    return _rolled


@pytest.fixture
def two() -> Rollout:
    """Two laws, the second with intervals that are too narrow, their baselines, six problems."""
    problems = [f"C >= {k}e20" for k in range(1, 7)]
    laws = [
        _forecast(law, problem, sd=sd, seed=i)
        for law, sd in (("wide", 0.03), ("narrow", 0.004))
        for i, problem in enumerate(problems)
    ]
    baselines = [
        _forecast(name, problem, method="baseline", sd=0.01)
        for name in ("log-Huber bootstrap (wide)", "log-Huber bootstrap (narrow)", "persistence")
        for problem in problems
    ]
    return _rolled(*laws, *baselines)

"""Runs under way: on track with their registered forecasts or not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs

pytestmark = [
    pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning"),
    pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning"),
]
VALUES = dict(E=1.7, A=0.5, B=0.5, alpha=0.34, beta=0.34, sigma=0.01, nu=30.0)


@pytest.fixture
def file(by_hand, openlm, tmp_path):
    runs = openlm.query("dataset == 'c4'")
    rng = np.random.default_rng(1)
    values = {k: v * np.exp(0.01 * rng.standard_normal((2, 300))) for k, v in VALUES.items()}
    fit = by_hand(runs, "chinchilla", values, draws=300)
    return bs.preregister(bs.forecast(fit, N="7B", D="140B"), tmp_path / "run.json")


def curve(end: float, until: float = 70e9, number: int = 30, **columns) -> pd.DataFrame:
    """Checkpoints of a power of tokens that reaches a loss at 140B tokens."""
    D = np.geomspace(2e9, until, number)
    noise = np.exp(0.001 * np.random.default_rng(2).standard_normal(number))
    loss = (end - 0.4 + 0.4 * (D / 140e9) ** -0.35) * noise
    return pd.DataFrame({"D": D, "loss": loss, "series": "a"}).assign(**columns)


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.0, "on track"), (0.5, "worse"), (-0.4, "better")]
)
def test_the_end_of_a_curve_is_compared_with_the_registered_interval(file, shift, verdict):
    (middle,) = file.points["median"]
    result = bs.outcome(file.path, curve(middle + shift))
    row = result.table.iloc[0]
    assert row["verdict"] == verdict
    assert row["done"] == pytest.approx(0.5)
    assert row["end_lower"] < middle + shift < row["end_upper"]
    assert row[["p_below", "p_inside", "p_above"]].sum() == pytest.approx(1)
    assert "after 50 %" in result.bottom_line()
    assert "learning rate" in repr(result)


@pytest.mark.parametrize(
    ("checkpoints", "message"),
    [
        (dict(until=10e9), "too little to extrapolate"),
        (dict(until=200e9), "beyond the registered D"),
        (dict(number=4), "fewer than 6 checkpoints"),
        (dict(N=1e9), "fits 0 registered runs"),
        (dict(loss=-1.0), "positive and finite"),
    ],
)
def test_curves_that_cannot_be_extrapolated_are_refused(file, checkpoints, message):
    with pytest.raises(bs.FitError, match=message):
        bs.outcome(file.path, curve(2.3, **checkpoints))


def test_a_table_without_tokens_is_refused(file):
    with pytest.raises(bs.FitError, match="need the columns series, loss, and D or C"):
        bs.outcome(file.path, curve(2.3).drop(columns="D"))

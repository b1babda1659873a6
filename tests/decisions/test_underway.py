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


@pytest.mark.parametrize("with_steps", [False, True])
def test_checkpoints_are_read_in_the_usual_spellings(file, with_steps):
    """The names of runs are those of series if there are steps, or a column series is there."""
    (middle,) = file.points["median"]
    checkpoints = curve(middle)
    spelled = pd.DataFrame(
        {
            "run" if with_steps else "series": "a",
            "params": "7B",
            "tokens (B)": checkpoints["D"] / 1e9,
            "val_loss": checkpoints["loss"],
        }
    )
    if with_steps:
        spelled.insert(1, "step", (checkpoints["D"] / 4e6).round())
    result = bs.outcome(file.path, spelled)
    expected = bs.outcome(file.path, checkpoints)
    assert result.table["end"].iloc[0] == pytest.approx(expected.table["end"].iloc[0], rel=1e-6)
    assert "tokens (B)" in result.read
    assert expected.read == ""


def test_measured_losses_are_read_in_the_usual_spellings(file):
    table = pd.DataFrame(
        {"params (B)": [1.0, 7.0], "tokens (B)": [140, 140], "eval_loss": [9, 2.3]}
    )
    result = bs.outcome(file.path, table)
    assert result.table["measured"].tolist() == [2.3]
    assert result.read == "N from params (B), D from tokens (B), loss from eval_loss, C = 6ND"

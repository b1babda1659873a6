"""metric_test(): is a break in the model or in the metric?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.capabilities import metric_comparison as comparison

OPTIONS = dict(
    x="N",
    continuous="loss",
    n_questions=1000,
    chance=0.0,
    simulations=10,
    random_seed=1,
    progressbar=False,
)


def exact_match(change: float, n: int = 20, tokens: int = 4) -> pd.DataFrame:
    """Loss per token with a change of slope, and the accuracy of several tokens at once."""
    rng = np.random.default_rng(0)
    N = np.geomspace(1e7, 1e11, n)
    s = np.log(N / 1e9)
    loss = 0.7 * np.exp(-0.25 * (s + change * np.maximum(s, 0)) + 0.01 * rng.standard_normal(n))
    accuracy = rng.binomial(1000, np.exp(-tokens * loss)) / 1000
    return pd.DataFrame({"N": N, "loss": loss, "accuracy": accuracy})


@pytest.mark.parametrize(
    ("p", "q", "power", "verdict"),
    [
        (0.5, 0.9, np.nan, comparison.NO_BEND),
        (0.3, np.nan, np.nan, comparison.NO_BEND),
        (0.6, 0.6, np.nan, comparison.IN_BOTH),
        (0.9, 0.5, 0.8, comparison.IN_THE_METRIC),
        (0.9, 0.5, 0.7, comparison.LOW_POWER),
        (np.nan, 0.1, np.nan, comparison.TOO_FEW),
        (np.nan, 0.9, np.nan, comparison.TOO_FEW),
        (0.9, np.nan, np.nan, comparison.TOO_FEW),
    ],
)
def test_the_verdict_follows_from_both_probabilities_and_the_power(p, q, power, verdict):
    assert comparison._verdict(p, q, power) == verdict


def test_few_points_give_no_verdict_and_dashes():
    result = bs.metric_test(exact_match(0.0).iloc[::5], particles=16, **OPTIONS)
    row = result.table.iloc[0]
    assert row[["P(bend) accuracy", "P(bend) loss", "power"]].isna().all()
    assert row["verdict"] == "inconclusive: fewer than 6 different N"
    assert "P(bend) - and -: inconclusive" in repr(result)


@pytest.mark.slow
def test_a_simulated_bend_is_where_the_other_metric_bends():
    """The slope changes at the same x and by the same share, in mean as large as before."""
    thresholded = comparison.read_curves(
        exact_match(2.0, n=12), x="N", y="accuracy", scale="plotted", n_questions=1000, chance=0.0
    ).curves["the curve"]
    smooth = comparison.read_curves(exact_match(0.0, n=12), x="N", y="loss", metric="brier").curves[
        "the curve"
    ]
    first = comparison._sample_bends(thresholded, 16, [1])
    second = comparison._sample_bends(smooth, 16, [2])
    made = comparison._simulate_bend(
        thresholded, first, smooth, second, 40, np.random.default_rng(0)
    )
    assert len(made) == 40
    log = np.mean([np.log(curve.metric.y) for curve in made], axis=0)
    slope = np.diff(log) / np.diff(smooth.s)
    assert abs(slope[-4:].mean()) > 2 * abs(slope[:4].mean())
    assert (made[0].s == smooth.s).all()


def test_too_few_simulations_are_refused():
    with pytest.raises(bs.RunsError, match="simulations is 3: give at least 10"):
        bs.metric_test(exact_match(0.0), **dict(OPTIONS, simulations=3))


def test_an_accuracy_without_a_bend_needs_no_power():
    straight = exact_match(0.0, n=10)
    straight["accuracy"] = np.linspace(0.3, 0.7, 10)
    result = bs.metric_test(straight, particles=16, **OPTIONS)
    assert result.table["verdict"].iloc[0] == comparison.NO_BEND
    assert np.isnan(result.table["power"].iloc[0])
    assert result.random_seed == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "verdict"), [(0.0, comparison.IN_THE_METRIC), (2.0, comparison.IN_BOTH)]
)
def test_exact_match_bends_by_itself_and_a_change_of_the_model_bends_both(change, verdict):
    result = bs.metric_test(exact_match(change), particles=64, **OPTIONS)
    assert result.table["verdict"].iloc[0] == verdict
    assert verdict in repr(result)


@pytest.mark.slow
def test_a_noisy_continuous_metric_has_too_little_power():
    noisy = exact_match(0.0).iloc[::2]
    noise = np.exp(np.random.default_rng(1).standard_normal(10))
    result = bs.metric_test(noisy.assign(loss=noisy["loss"] * noise), particles=64, **OPTIONS)
    assert result.table["verdict"].iloc[0] == comparison.LOW_POWER
    assert result.table["power"].iloc[0] < comparison.MIN_POWER

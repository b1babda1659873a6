"""Laws of learning-rate schedules: their columns, and forecasts of another schedule."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.laws.schedules import MULTI_POWER, annealing, multi_power

RNG = np.random.default_rng(3)
#: Warm-up, constant, decay with small steps up.
LR = np.concatenate(
    [np.linspace(1e-4, 1e-3, 10), np.full(20, 1e-3), np.geomspace(1e-3, 1e-4, 30)]
) * np.concatenate([np.ones(30), RNG.uniform(0.95, 1.0, 30)])


def test_columns_are_the_sums_of_the_papers():
    at = np.array([5, 29, 40, 59])
    columns = bs.schedule_columns(LR, at=at, memory=0.9)
    C, beta, gamma = MULTI_POWER.values()
    for place, step in enumerate(at):
        S2, reduction = 0.0, 0.0
        for i in range(step + 1):
            for k in range(10, i + 1):  # after warm-up
                S2 += (LR[k - 1] - LR[k]) * 0.9 ** (i - k)
        for k in range(10, step + 1):
            area = LR[k : step + 1].sum()
            saturation = 1 - (C * LR[k] ** -gamma * area + 1) ** -beta
            reduction += (LR[k - 1] - LR[k]) * saturation
        assert columns["S1"][place] == pytest.approx(LR[: step + 1].sum())
        assert columns["annealed"][place] == pytest.approx(1 + S2)
        assert columns["decayed"][place] == pytest.approx(1 + reduction / 1e-3)


def test_warm_up_and_a_constant_rate_anneal_nothing():
    columns = bs.schedule_columns(LR[:30])
    assert (columns["annealed"] == 1).all()
    assert (columns["decayed"] == 1).all()
    assert len(columns["S1"]) == 30


def test_a_long_decay_is_summed_in_parts(monkeypatch):
    lr = np.linspace(1e-3, 1e-5, 5000)
    exact = bs.schedule_columns(lr, at=[1000, 4999])["decayed"]
    monkeypatch.setattr("bayescale.laws.schedules.PARTS", 500)
    assert bs.schedule_columns(lr, at=[1000, 4999])["decayed"] == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize(
    ("lr", "options", "problem"),
    [
        ([0.0, 1e-3], {}, "above 0 at the first"),
        ([1e-3, -1e-3], {}, "finite and above 0"),
        ([1e-3, np.nan], {}, "finite and above 0"),
        ([1e-3, 1e-3], {"at": [2]}, "counted from 0 to 1"),
        ([1e-3, 1e-3], {"memory": 1.0}, "between 0 and 1"),
    ],
)
def test_wrong_schedules_are_refused(lr, options, problem):
    with pytest.raises(ValueError, match=problem):
        bs.schedule_columns(lr, **options)


def test_the_laws_are_the_formulas_of_the_papers():
    """Tissue et al.: L0 + A S1^-alpha - C S2. Luo et al.: L0 + A S1^-alpha - B reduction."""
    S1, S2 = np.array([1.0, 10.0, 30.0]), np.array([0.0, 0.3, 0.9])
    actual = annealing.loss(S1, 1 + S2, E=2.6, A=0.6, alpha=0.45, drop=0.17)
    np.testing.assert_allclose(actual, 2.6 + 0.6 * S1**-0.45 - 0.17 * 2.6 * S2, rtol=1e-12)
    reduction = np.array([0.0, 3e-4, 8e-4])
    actual = multi_power.at("100M", S1=S1, decayed=1 + reduction / 1e-3)
    np.testing.assert_allclose(actual, 2.651 + 0.601 * S1**-0.453 - 437.946 * reduction, rtol=1e-12)


@pytest.mark.parametrize("law", ["annealing", "multi_power"])
def test_another_schedule_is_forecast(law):
    """Simulated curves of two schedules; the truth of a third one is inside the intervals."""
    steps = np.arange(2000, 20000, 500)
    decay = np.minimum(1, (20000 - np.arange(20000)) / 4000)
    schedules = {
        "constant": np.full(20000, 1e-3),
        "cosine": 5.5e-4 + 4.5e-4 * np.cos(np.pi * np.arange(20000) / 20000),
        "decay": 1e-4 + 9e-4 * decay,
    }
    frame = pd.concat(
        pd.DataFrame(bs.schedule_columns(lr, at=steps)).assign(series=k, D=steps * 5e5)
        for k, lr in schedules.items()
    )
    truth = dict(E=2.6, A=0.6, alpha=0.45, drop=0.06 if law == "annealing" else 0.15)
    frame["loss"] = bs.laws.get(law)(frame, {"S1": 1, "annealed": 1, "decayed": 1}, truth)
    noisy = frame.assign(loss=frame["loss"] * np.exp(0.003 * RNG.standard_normal(len(frame))))
    seen = noisy[noisy["series"] != "decay"].reset_index(drop=True)
    runs = bs.Runs.from_frame(seen)
    fit = bs.fit(runs, law, engine="particles", draws=200, random_seed=1, drift="off")
    later = frame[frame["series"] == "decay"].drop(columns="series")
    mean = bs.forecast(fit, later, random_seed=1).data["mean"]
    low, middle, high = mean.quantile([0.005, 0.5, 0.995], dim=("chain", "draw")).to_numpy()
    assert ((low < later["loss"]) & (later["loss"] < high)).mean() > 0.9
    assert np.abs(middle / later["loss"] - 1).max() < 0.01

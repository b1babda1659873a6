"""Scores of plans by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs

pytestmark = pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
SMALL = dict(simulations=6, draws=150, random_seed=1)


@pytest.fixture(scope="module")
def curve():
    """A fit of a power law of D to eight runs."""
    D = np.geomspace(1e8, 1e10, 8)
    truth = {"E": 1.8, "A": 50.0, "alpha": 0.2}
    frame = pd.DataFrame({"D": D})
    runs = bs.simulate(bs.laws.power.on("D"), frame, truth, sigma=0.01, random_seed=1)
    return bs.fit(runs, "power(D)", draws=500, random_seed=1)


@pytest.mark.slow
def test_more_runs_near_the_target_give_narrower_intervals(curve):
    target = {"D": "1T"}
    few = bs.design(curve, {"D": ["20B"]}, target=target, **SMALL).summary()
    many = bs.design(curve, {"D": ["20B", "50B", "100B", "200B"]}, target=target, **SMALL).summary()
    assert few["width_before"][0] == pytest.approx(many["width_before"][0], rel=0.2)
    assert many["width"][0] < 0.8 * few["width"][0] < few["width_before"][0]


def test_the_truth_is_a_draw_of_what_is_believed(curve):
    scored = bs.design(curve, {"D": ["20B"]}, target={"D": ["50B", "1T"]}, **SMALL)
    assert scored.data.sizes == {"simulation": 6, "point": 2}
    believed = np.log(bs.forecast(curve, D=[5e10, 1e12]).data["mean"])
    low, high = believed.min(("chain", "draw")), believed.max(("chain", "draw"))
    assert ((scored.data["truth"] >= low - 0.1) & (scored.data["truth"] <= high + 0.1)).all()
    assert (scored.data["lower"] < scored.data["upper"]).all()
    frame = scored.summary()
    error = scored.data["median"] - scored.data["truth"]
    np.testing.assert_allclose(frame["bias"], error.mean("simulation"))
    np.testing.assert_allclose(frame["rmse"], np.sqrt((error**2).mean("simulation")))
    data = scored.data
    inside = (data["measured"] > data["lower"]) & (data["measured"] < data["upper"])
    np.testing.assert_allclose(frame["coverage"], inside.mean("simulation"))
    noise = (data["measured"] - data["truth"]).to_numpy()
    assert 0.002 < np.abs(noise).mean() < 0.05  # the runs have noise of 1 %


def test_the_width_now_is_that_of_the_forecast_and_of_a_suggestion(curve):
    plan, target = {"D": ["20B"]}, {"D": ["50B", "1T"]}
    scored = bs.design(curve, plan, target=target, simulations=1, draws=100, random_seed=1)
    loss = bs.forecast(curve, D=[5e10, 1e12], random_seed=1).data["loss"]
    low, high = np.quantile(np.log(loss).transpose("point", ...).to_numpy().reshape(2, -1),
                            [0.05, 0.95], axis=1)  # fmt: skip
    np.testing.assert_allclose(scored.summary()["width_before"], high - low)
    wide = bs.design(curve, plan, target={"D": "1T"}, simulations=1, draws=100, random_seed=1)
    costly = pd.DataFrame({"D": [2e10], "cost": [1.0]})
    found = bs.suggest(curve, costly, target={"D": "1T"}, budget=1, random_seed=1)
    assert found.widths()[0] == pytest.approx(wide.summary()["width_before"][0])


@pytest.mark.slow
def test_a_precise_plan_finds_the_truth(curve):
    """Many runs at the target itself: the median is close to each assumed loss."""
    plan = pd.DataFrame({"D": np.repeat(np.geomspace(5e10, 2e11, 5), 4)})
    scored = bs.design(curve, plan, target={"D": "100B"}, drift="off", **SMALL)
    error = (scored.data["median"] - scored.data["truth"]).to_numpy()
    spread = float(scored.data["truth"].std())
    assert np.abs(error).max() < 0.02
    assert np.sqrt((error**2).mean()) < 0.6 * spread


def test_the_same_seed_gives_the_same_score(curve):
    one, two = (
        bs.design(
            curve, {"D": ["20B"]}, target={"D": "1T"}, simulations=2, draws=100, random_seed=3
        )
        for _ in range(2)
    )
    assert one.data.equals(two.data)


def test_a_plan_without_runs_is_scored_from_the_prior():
    scored = bs.design("power(D)", {"D": ["1B", "3B", "10B", "30B"]}, target={"D": "100B"}, **SMALL)
    frame = scored.summary()
    assert frame["width"][0] < 0.5 * frame["width_before"][0]
    assert "90 % interval of the loss of a new run at D 100B would be" in scored.bottom_line()
    assert repr(scored).startswith("After these 4 runs")
    assert "assume that one of the fitted laws is true" in scored.cautions()[0]


def test_an_average_is_scored_by_averages(curve):
    fits = {
        "power(D)": curve,
        "shifted_power(D)": bs.fit(curve.runs, "shifted_power(D)", draws=500, random_seed=1),
    }
    both = bs.Average(fits, {"power(D)": 0.5, "shifted_power(D)": 0.5})
    scored = bs.design(
        both, {"D": ["20B"]}, target={"D": "1T"}, simulations=2, draws=100, random_seed=1
    )
    assert np.isfinite(scored.data["median"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"simulations": 0}, "simulations is 0"),
        ({"drift": "on"}, "no drift 'on'"),
        ({"target": {"N": "1B"}}, "the target has N without D, .*: give D of the target"),
        ({"target": {"loss": 2.0}}, "the target is a loss, but .* does not split budgets"),
        ({"plan": {"N": "1B"}}, "the table of runs has N without D"),
    ],
)
def test_what_cannot_be_simulated_is_refused(curve, options, message):
    arguments = {"plan": {"D": ["20B"]}, "target": {"D": "1T"}, **options}
    with pytest.raises(bs.FitError, match=message):
        bs.design(curve, arguments.pop("plan"), **arguments)

"""Losses by calendar year: growth, limits, pairing with forecasts, assumptions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import bayescale as bs
from bayescale.model import Check

VALUES = dict(E=1.7, A=0.5, B=0.5, alpha=0.34, beta=0.34, sigma=0.005, nu=8.0)
EXACT = dict(growth=4.0, algorithms=1.0, data_stock=1e30, epochs=1.0, ceiling=1e40)


@pytest.fixture(scope="module")
def c4(openlm):
    return openlm.query("dataset == 'c4'")


@pytest.fixture(scope="module")
def fit(by_hand, c4):
    made = by_hand(c4, "chinchilla", VALUES, draws=200)
    made.__dict__["_check"] = Check((), None)
    return made


def test_exact_inputs_give_the_losses_of_allocate(fit):
    found = bs.trajectory(fit, [2025, 2026, 2028], start=(2025, "1e21"), drift="off", **EXACT)
    C = 1e21 * 4.0 ** np.array([0, 1, 3])
    np.testing.assert_allclose(found.data["C"], np.broadcast_to(C, (2, 200, 3)))
    best = bs.allocate(fit, C, drift="off")
    np.testing.assert_allclose(
        found.data["loss"].mean(("chain", "draw")),
        best.data["loss"].mean(("chain", "draw")),
        rtol=1e-5,
    )
    np.testing.assert_allclose(found.data["N"][0, 0], best.data["N_decision"], rtol=0.01)
    assert (found.p_exhausted == 0).all()


def test_algorithmic_progress_multiplies_compute(fit):
    """Growth of 2 with progress of 2 is growth of 4, if N and D have equal exponents."""
    options = dict(start=(2025, 1e20), drift="off")
    one = bs.trajectory(fit, [2027], **options, **EXACT)
    two = bs.trajectory(fit, [2027], **options, **{**EXACT, "growth": 2.0, "algorithms": 2.0})
    np.testing.assert_allclose(two.data["effective"], one.data["C"])
    np.testing.assert_allclose(two.data["loss"], one.data["loss"], rtol=1e-3)


def test_the_drift_is_that_of_a_forecast(fit):
    """The spread of the loss, with exact inputs, equals that of a forecast."""
    found = bs.trajectory(fit, [2025, 2029], start=(2025, 1e21), **EXACT)
    ahead = bs.forecast(fit, C=1e21 * 4.0 ** np.array([0, 4]))
    spreads = [np.log(v).std(("chain", "draw")) for v in (found.data["loss"], ahead.data["mean"])]
    np.testing.assert_allclose(*spreads, rtol=0.25, atol=1e-4)
    assert spreads[0][1] > 0.003


def test_an_exhausted_stock_of_data_limits_tokens(fit):
    options = {**EXACT, "data_stock": "1T", "epochs": 4.0}
    found = bs.trajectory(fit, [2025, 2032], start=(2025, 1e21), drift="off", **options)
    assert found.p_exhausted.tolist() == [0.0, 1.0]
    np.testing.assert_allclose(found.data["D"][..., 1], 4e12)
    factor = fit.runs.flop_factor
    np.testing.assert_allclose(found.data["N"] * found.data["D"] * factor, found.data["C"])
    free = bs.trajectory(fit, [2025, 2032], start=(2025, 1e21), drift="off", **EXACT)
    assert float(found.data["loss"][0, 0, 1]) > float(free.data["loss"][0, 0, 1]) + 1e-4
    assert float(found.data["loss"][0, 0, 0]) == pytest.approx(float(free.data["loss"][0, 0, 0]))
    assert any("the stock of data limits the run in 100 %" in c for c in found.cautions())


def test_a_ceiling_limits_compute(fit):
    found = bs.trajectory(fit, [2025, 2035], start=(2025, 1e21), **{**EXACT, "ceiling": 1e23})
    assert found.data["C"].max() == 1e23
    assert found.p_limited.tolist() == [0.0, 1.0]


def test_inputs_are_correlated_and_constant_over_years(fit):
    found = bs.trajectory(fit, [2026, 2028], start=(2025, 1e21), correlation=0.8, ceiling=1e40)
    logs = [np.log(found.data[n].to_numpy().ravel()) for n in ("growth", "algorithms")]
    assert np.corrcoef(*logs)[0, 1] == pytest.approx(0.8, abs=0.1)
    log_C = np.log(found.data["C"].to_numpy() / 1e21)
    np.testing.assert_allclose(log_C[..., 1], 3 * log_C[..., 0])


def test_every_input_is_overridden(fit):
    found = bs.trajectory(
        fit, [2026], start=(2025, 1e21), growth=(2, 8), data_stock=bs.Positive(1e13, spread=2)
    )
    assert found.assumptions.loc["growth", ["lower", "upper"]].tolist() == pytest.approx([2, 8])
    assert found.assumptions.loc["growth", "source"] == "given"
    assert found.assumptions.loc["data_stock", "middle"] == 1e13
    assert "Ho et al. 2024" in found.assumptions.loc["algorithms", "source"]


def test_the_answer_comes_first_and_assumptions_are_printed(fit):
    found = bs.trajectory(fit, [2025, 2026], start=(2025, 1e21), drift="off", **EXACT)
    assert found.bottom_line().startswith(
        "In 2026 a run of 4e21 (4e21 to 4e21) FLOP would reach an expected loss of "
    )
    text = repr(found)
    assert text.startswith(found.bottom_line())
    assert "growth: 4 (4 to 4) times per year; given" in text
    assert found.summary()["year"].tolist() == [2025, 2026]
    assert "<table" in found._repr_html_()
    assert len(found.to_dataframe()) == 2 * 400
    assert set(found.to_dataframe("summary")["variable"]) == {"C", "effective", "N", "D", "loss"}


def test_a_law_of_compute_has_no_data_limit(by_hand, c4):
    values = dict(E=1.5, A=2.0, alpha=0.1, sigma=0.005, nu=8.0)
    made = by_hand(c4, "power", values)
    made.__dict__["_check"] = Check((), None)
    found = bs.trajectory(made, [2025, 2027], start=(2025, 1e21), drift="off", **EXACT)
    of_law = {k: values[k] for k in ("E", "A", "alpha")}
    expected = made.law({"C": 1.6e22}, made.plan.scales, of_law)
    np.testing.assert_allclose(found.data["loss"][..., 1], expected)
    assert "N" not in found.data


def test_an_average_mixes_its_laws(fit, by_hand, c4):
    other = by_hand(c4, "chinchilla", {**VALUES, "E": 1.5}, draws=200)
    average = bs.Average({"one": fit, "two": other}, {"one": 0.5, "two": 0.5})
    found = bs.trajectory(average, [2026], start=(2025, 1e21), drift="off", **EXACT)
    values = np.unique(found.data["loss"].to_numpy().round(6))
    assert len(values) == 2
    assert values[1] - values[0] == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(years=[2020]), "the year 2020 is before the start"),
        (dict(years=[2027, 2026]), "rising order"),
        (dict(growth="fast"), "growth is 'fast': give a positive number"),
        (dict(growth=(8, 2)), "lower and upper bound"),
        (dict(correlation=1.5), "correlation is 1.5"),
        (dict(drift="on"), "there is no drift 'on'"),
        (dict(group="x"), "this fit has no groups"),
    ],
)
def test_unusable_inputs_are_named(fit, arguments, message):
    with pytest.raises(bs.FitError, match=message):
        bs.trajectory(fit, **arguments)


@pytest.fixture(scope="module")
def link(fit):
    results = bs.datasets.openlm_tasks().query(
        "task in ['hellaswag', 'piqa'] and dataset == 'c4' and N < 5e8"
    )
    return bs.link(fit, results, draws=100, random_seed=1)


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
@pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
def test_accuracies_of_a_year_are_those_of_its_loss(link, fit):
    found = bs.trajectory(link, [2025, 2027], start=(2025, "1e21"), drift="off", **EXACT)
    same = bs.trajectory(fit, [2025, 2027], start=(2025, "1e21"), drift="off", **EXACT)
    np.testing.assert_allclose(found.data["loss"], same.data["loss"])
    losses = found.data["loss"].isel(chain=0, draw=0).to_numpy()
    known = bs.forecast_tasks(link, loss=losses, drift="off").data["mean"]
    np.testing.assert_allclose(
        found.accuracy.mean(("chain", "draw")), known.mean(("chain", "draw")), atol=1e-6
    )
    assert list(found.accuracy.dims) == ["chain", "draw", "year", "task"]
    assert "hellaswag 0." in found.bottom_line()
    assert "accuracy_piqa" in found.summary()
    one = bs.trajectory(link, [2026], start=(2025, "1e21"), tasks="piqa", **EXACT)
    assert one.accuracy["task"].to_numpy().tolist() == ["piqa"]


def test_tasks_need_a_link_with_a_fit(fit, link):
    with pytest.raises(bs.FitError, match="tasks= is for a link"):
        bs.trajectory(fit, [2026], tasks="piqa")
    without = dataclasses.replace(link, fit=None)
    with pytest.raises(bs.FitError, match="made without a fit"):
        bs.trajectory(without, [2026])

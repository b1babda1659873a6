"""The error of the law in small runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.model import drift, residual_checks, small_runs
from bayescale.model.posterior import residuals
from bayescale.model.predictive import predict
from bayescale.model.residual_checks import scale_p_value
from bayescale.model.simulation import draw_prior, simulate_design
from bayescale.model.specify import design

LAW = bs.laws.get("chinchilla")
TRUTH = {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2000.0, "beta": 0.37}


def grid(small: float = 2e7, large: float = 1e9, number: int = 8) -> dict[str, np.ndarray]:
    sizes, ratios = np.meshgrid(np.geomspace(small, large, number), [5.0, 20.0, 80.0])
    return {"N": sizes.ravel(), "D": (sizes * ratios).ravel()}


def runs(error=None, sigma: float = 0.003, number: int = 8) -> bs.Runs:
    """Runs of Chinchilla's law, with an error of log loss that depends on the e-folds below the
    largest run."""
    table = pd.DataFrame(grid(number=number))
    made = bs.simulate(LAW, table, TRUTH, sigma=sigma, random_seed=1).table
    below = np.log(table["N"] * table["D"])
    below = below.max() - below
    loss = made["loss"] * np.exp(0 if error is None else error(below))
    return bs.Runs.from_frame(made.assign(loss=loss))


def test_the_slope_is_that_of_a_power_law():
    columns = grid()
    log_loss = 1 - 0.1 * np.log(columns["N"]) - 0.06 * np.log(columns["D"])
    assert small_runs.slope(LAW, columns, log_loss) == pytest.approx(0.08)


def test_the_slope_along_a_ladder_is_known_although_its_parts_are_not():
    sizes = np.geomspace(1e7, 1e9, 5)
    columns = {"N": sizes, "D": 20 * sizes}
    log_loss = -0.16 * np.log(sizes)
    assert small_runs.slope(LAW, columns, log_loss) == pytest.approx(0.08)


def test_columns_that_are_no_sizes_do_not_count():
    law = bs.laws.get("learning_rate_batch")
    assert set(law.sizes) == {"N", "D"}
    rng = np.random.default_rng(1)
    columns = {
        **grid(),
        "lr": 10 ** rng.uniform(-4, -2, 24),
        "batch": 2.0 ** rng.integers(5, 9, 24),
    }
    log_loss = 0.5 * np.log(columns["lr"]) - 0.1 * np.log(columns["D"])
    assert small_runs.slope(law, columns, log_loss) == pytest.approx(0.05)


def test_the_error_is_the_mean_of_a_random_walk_to_the_edge():
    distance = np.array([0.5, 3.0, 8.0])
    sizes = np.exp(10 - distance / 2)
    unit = small_runs.unit_errors(LAW, {"N": sizes, "D": sizes}, 20.0)
    rng = np.random.default_rng(1)
    start = small_runs.SIZE * rng.standard_normal(40_000)
    walks = drift.mean_walk(distance, np.full(40_000, small_runs.SIZE), rng, start)
    np.testing.assert_allclose(unit, (walks * distance).std(axis=0), rtol=0.02)


def test_runs_at_the_edge_and_beyond_it_have_no_error():
    columns = {"N": np.exp([9.9, 10.0, 11.0]), "D": np.exp([9.9, 10.0, 11.0])}
    unit = small_runs.unit_errors(LAW, columns, 20.0)
    assert unit[0] > 0
    assert unit[1] == unit[2] == 0


def test_a_crowd_has_together_the_error_of_one_run():
    far = {"N": np.r_[np.full(7, 1e6), 1e12], "D": np.r_[np.full(7, 1e7), 1e13]}
    np.testing.assert_allclose(small_runs.crowds(LAW, far), [7] * 7 + [1])


def test_neighbours_count_by_their_distance_in_every_column():
    step = np.exp(small_runs.NEARBY)
    beside = {"N": np.array([1e8, 1e8 * step]), "D": np.array([1e9, 1e9])}
    np.testing.assert_allclose(small_runs.crowds(LAW, beside), 1 + np.exp(-0.5))
    across = {"N": np.array([1e8, 1e8 * step]), "D": np.array([1e9, 1e9 / step])}
    np.testing.assert_allclose(small_runs.crowds(LAW, across), 1 + np.exp(-1.0))


def test_of_many_runs_a_sample_is_counted(monkeypatch):
    columns = grid(number=300)
    every = small_runs.crowds(LAW, columns)
    monkeypatch.setattr(small_runs, "AMONG", 450)
    monkeypatch.setattr(small_runs, "AT_ONCE", 70)
    np.testing.assert_allclose(small_runs.crowds(LAW, columns), every, rtol=0.15)


def test_small_runs_have_an_error_known_before_the_parameters():
    plan = design(runs(), LAW, law_error=True)
    small = plan.log_scale < plan.edge.scale
    assert (plan.log_error[small] > 0).all()
    assert (plan.log_error[~small] == 0).all()
    other = design(runs(), bs.laws.get("skaling"), law_error=True)
    np.testing.assert_array_equal(plan.log_error, other.log_error)
    pinned = design(runs(), LAW, law_error=True, priors={"alpha": bs.Fixed(0.1)})
    np.testing.assert_array_equal(plan.log_error, pinned.log_error)


@pytest.mark.parametrize(
    ("laws", "may_fail"),
    [
        (["chinchilla"], False),
        (["chinchilla", "skaling"], True),
        (["sparse_experts"], False),
        (["sparse_experts", "learning_rate_batch"], False),
        (["chinchilla", "repeated_data"], False),
        (["routed_experts"], False),
        (["sparse_multiplicative", "routed_experts"], False),
        (["finetuning"], False),
        (["power", "shifted_power"], False),
    ],
)
def test_several_laws_of_n_and_d_alone_have_one_by_default(laws, may_fail):
    assert small_runs.by_default([bs.laws.get(law) for law in laws]) == may_fail


def test_a_law_of_another_regime_is_the_same_fit_alone_and_in_an_ensemble():
    table = runs().table.assign(N_total=lambda t: t["N"] * np.tile([1, 4, 16, 1], 6))
    settings = dict(draws=200, chains=2, random_seed=1)
    alone = bs.fit(table, "sparse_experts", **settings)
    several = bs.ensemble(table, ["sparse_experts", "chinchilla"], **settings)
    one = bs.ensemble(table, "sparse_experts", **settings)
    assert not alone.plan.has_law_error
    for other in (several, one):
        found = other.fits["sparse_experts"].posterior["E"]
        np.testing.assert_array_equal(alone.posterior["E"], found)


def test_it_adds_to_the_measurement_error():
    table = runs().table
    measured = bs.Runs.from_frame(table.assign(loss_sd=0.01 * table["loss"]))
    with_both, alone = design(measured, LAW, law_error=True), design(runs(), LAW, law_error=True)
    np.testing.assert_allclose(with_both.log_error, np.hypot(0.01, alone.log_error))
    np.testing.assert_allclose(with_both.log_loss_sd, 0.01)


@pytest.mark.parametrize(
    ("groups", "options"), [("recipe", {}), (None, {"drift": "off"}), (None, {"drift": "through"})]
)
def test_groups_and_other_drifts_have_none(groups, options):
    table = bs.Runs.from_frame(runs().table.assign(recipe=["a", "b"] * 12))
    plan = design(table, LAW, groups=groups, law_error=True, **options)
    assert not plan.has_law_error
    assert not plan.log_error.any()


def test_checkpoints_and_losses_that_were_not_measured_have_none():
    series = bs.Runs.from_frame(runs().table.assign(series=["a", "b", "c"] * 8))
    assert not design(series, LAW, drift="ahead", law_error=True).has_law_error
    assert not replace(design(runs(), LAW, law_error=True), is_observed=False).has_law_error


def test_where_small_runs_disagree_the_large_ones_decide(monkeypatch):
    """The smallest runs have a loss 8 % too high, which no parameter of the law explains."""
    table = runs(lambda below: 0.08 * (below > 7))
    large = {"N": [1e10], "D": [2e11]}
    place = {c: np.array(v) for c, v in large.items()}
    truth = float(LAW(place, dict.fromkeys(LAW.columns, 1.0), TRUTH)[0])

    def wrong_by():
        drawn = bs.forecast(
            bs.fit(table, LAW, law_error=True, random_seed=1), **large, random_seed=2
        )
        return abs(float(np.median(drawn.data["loss"])) / truth - 1)

    with_error = wrong_by()
    monkeypatch.setattr(small_runs, "SIZE", 0.0)
    assert with_error < 0.6 * wrong_by()


def test_a_forecast_of_a_small_run_has_the_error_of_one_run():
    fit = bs.fit(runs(), LAW, law_error=True, draws=500, chains=2, random_seed=1)
    plan, small = fit.plan, {"N": np.array([2e7]), "D": np.array([4e8])}
    unit = small_runs.unit_errors(LAW, small, plan.edge.scale)
    expected = small_runs.slope(LAW, plan.columns, plan.log_loss) * unit
    assert expected > 0.005
    sigma = fit.posterior["sigma"].to_numpy()[..., None]
    for ahead in (None, plan.drift_ahead()):
        drawn = predict(fit.posterior, plan, small, {}, np.random.default_rng(1), ahead=ahead)
        np.testing.assert_allclose(drawn["scale"], np.hypot(sigma, expected))


def test_residuals_are_in_units_of_noise_and_error():
    fit = bs.fit(runs(), LAW, law_error=True, draws=500, chains=2, random_seed=1)
    at = residuals(fit.posterior, fit.plan)
    sigma = fit.posterior["sigma"].to_numpy().reshape(-1, 1)
    np.testing.assert_allclose(at["scale"], np.hypot(sigma, fit.plan.log_error))


def test_simulated_runs_have_the_error_that_a_fit_expects():
    plan = design(
        runs(), LAW, law_error=True, priors={"sigma": bs.Fixed(1e-4), "nu": bs.Fixed(1e3)}
    )
    rng = np.random.default_rng(1)
    truth = {k: v[0] for k, v in draw_prior(plan, 1, rng).items()}
    mean = np.log(plan.law(plan.columns, plan.scales, truth))
    losses = [simulate_design(plan, truth, rng).log_loss - mean for _ in range(2000)]
    expected = np.sqrt(small_runs.crowds(LAW, plan.columns)) * plan.errors_of_law(mean)
    np.testing.assert_allclose(np.std(losses, axis=0), np.hypot(1e-4, expected), rtol=0.12)


def findings(fit, name):
    return [f for f in fit.check().findings if f.name == name]


def test_an_exact_law_is_no_misfit_although_small_runs_scatter_less_than_they_may():
    fit = bs.fit(runs(number=40), LAW, law_error=True, random_seed=1)
    assert [f.level for f in findings(fit, "misfit")] == ["passed"]
    scatter = np.abs(fit.plan.log_error).mean()
    assert scatter > 3 * float(fit.posterior["sigma"].median())


@pytest.mark.filterwarnings("ignore::bayescale.errors.RunsWarning")
def test_a_small_run_that_crashed_is_an_outlier_among_many_neighbours():
    """Neighbours raise the error of all, but not how far one run may lie from the law."""
    table = runs().table
    crashed = table["N"].to_numpy().argmin()
    loss = table["loss"].to_numpy() * np.where(np.arange(len(table)) == crashed, 1.6, 1.0)
    fit = bs.fit(bs.Runs.from_frame(table.assign(loss=loss)), LAW, law_error=True, random_seed=1)
    (found,) = findings(fit, "outlier")
    assert f"{crashed}: " in found.text


def test_a_saved_fit_keeps_its_errors(tmp_path):
    for law_error in (False, True):
        fit = bs.fit(runs(), LAW, law_error=law_error, draws=200, chains=2, random_seed=1)
        fit.save(tmp_path / f"{law_error}.nc")
        again = bs.Fit.load(tmp_path / f"{law_error}.nc")
        assert again.plan.has_law_error == law_error
        np.testing.assert_array_equal(again.plan.log_error, fit.plan.log_error)


def test_only_more_scatter_than_allowed_is_a_misfit():
    tolerant, exact = (design(runs(), LAW, law_error=e) for e in (True, False))
    unit = np.random.default_rng(1).standard_normal((200, 24))
    noise = {k: np.full_like(unit, 0.01) for k in ("alone", "sigma")}

    def text(plan, times):
        at = {**noise, "residual": 0.01 * times * unit, "nu": np.full_like(unit, 30.0)}
        return residual_checks._misfit(at, plan, times * unit)[-1].text

    assert scale_p_value(0.3 * unit) < 0.001 < 0.5 < scale_p_value(0.3 * unit, only_larger=True)
    assert "scatter 0.3" in text(exact, 0.3)
    assert "no structure is left" in text(tolerant, 0.3)
    assert "scatter 3" in text(tolerant, 3.0)


@pytest.mark.parametrize(("neighbours", "level"), [(1.0, "failed"), (5.0, "caution")])
@pytest.mark.parametrize("kind", ["scatter", "bend"])
def test_a_misfit_fails_only_beyond_what_neighbours_may_have_in_common(kind, neighbours, level):
    plan = design(runs(), LAW, law_error=True)
    scores = np.random.default_rng(1).standard_normal((200, 24))
    size = np.log(plan.columns["N"])
    bend = (size - size.mean()) ** 2
    scores = 3 * scores if kind == "scatter" else 0.3 * scores + 3 * (bend - bend.mean())
    alone = np.full_like(scores, 0.01)
    at = {"alone": alone, "sigma": neighbours * alone, "residual": scores * alone}
    at["nu"] = np.full_like(scores, 30.0)
    found = residual_checks._misfit(at, plan, scores)
    assert {f.level for f in found if kind in f.text} == {level}


def test_neighbours_count_in_the_leverage_of_a_run():
    """The law is as uncertain as the errors of small runs allow, far more than their noise."""
    fit = bs.fit(runs(), "kaplan_floor", law_error=True, random_seed=1)
    assert [f.level for f in findings(fit, "influence")] == ["passed"]


def test_forecasts_do_not_depend_on_units():
    table = runs().table[["N", "D", "loss"]]
    found = []
    for loss, size in ((1.0, 1.0), (3.7, 31.0)):
        frame = table.assign(N=size * table["N"], D=size * table["D"], loss=loss * table["loss"])
        best = bs.ensemble(bs.Runs.from_frame(frame), draws=200, random_seed=1)
        assert all(fit.plan.has_law_error for fit in best.fits.values())
        found.append(
            bs.forecast(best, N=4e9 * size, D=1e11 * size, random_seed=2).data["loss"] / loss
        )
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)

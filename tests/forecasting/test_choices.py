"""Allocations under constraints, for target losses and with a serving demand."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import bayescale as bs
from bayescale.forecasting.targets import Reach, _crossings

SURE = {"sigma": 1e-7, "nu": 5.0}
#: Hoffmann et al. 2022 without the rounding of exponents, as used by Sardana et al. 2024. With
#: these constants the examples of the paper are reproduced, with the rounded ones they are not.
SARDANA = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.336, "beta": 0.283}
SAMPLE = ("chain", "draw")

pytestmark = pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
#: Of the law alone. The drift beyond the runs has tests of its own.
allocate = partial(bs.allocate, drift="off")


@pytest.fixture(scope="module")
def runs(openlm):
    """Without the measurement error of the losses, which would add to the noise of new runs."""
    return bs.Runs.from_frame(openlm.query("dataset == 'c4'").table[["N", "D", "loss"]])


@pytest.fixture
def sure(by_hand, runs):
    """A posterior at one point, without noise."""

    def make(raw=SARDANA, draws=10):
        at_scales = {
            "A": raw["A"] * runs.scales["N"] ** -raw["alpha"],
            "B": raw["B"] * runs.scales["D"] ** -raw["beta"],
        }
        return by_hand(runs, "chinchilla", {**raw, **at_scales, **SURE}, draws=draws)

    return make


@pytest.fixture
def wide(by_hand, runs):
    rng = np.random.default_rng(1)
    centre = {"E": 1.5, "A": 0.7, "B": 0.5, "alpha": 0.34, "beta": 0.28, "sigma": 0.01, "nu": 5.0}
    spread = {k: v * np.exp(0.1 * rng.standard_normal((2, 200))) for k, v in centre.items()}
    return by_hand(runs, "chinchilla", spread, draws=200)


def law(N, D, raw=SARDANA):
    return raw["E"] + raw["A"] * N ** -raw["alpha"] + raw["B"] * D ** -raw["beta"]


def optimal_D(N, raw=SARDANA):
    """The D for which N is compute-optimal, in closed form."""
    a = raw["beta"] / (raw["alpha"] + raw["beta"])
    G = (raw["alpha"] * raw["A"] / (raw["beta"] * raw["B"])) ** (1 / (raw["alpha"] + raw["beta"]))
    return (N / G) ** (1 / a) / N


# -- serving -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("N", "served", "best", "tokens", "ratio", "saving"),
    [
        (7e9, 1e11, 6.0, None, 1.18, None),
        (30e9, 5e12, 16.4, 3.27, None, 0.16),
        (70e9, 1e13, 41.6, 7.92, None, 0.12),
        (13e9, 2e12, 7.0, None, None, 0.17),
    ],
)
def test_examples_of_sardana_are_reproduced(sure, N, served, best, tokens, ratio, saving):
    """Sardana et al. 2024: the cheapest model of the quality of a compute-optimal one, if it serves
    so many tokens. The values have two or three digits."""
    D = optimal_D(N)
    plan = allocate(sure(), loss=law(N, D), probability=0.5, serve=served).data.isel(budget=0)
    found_N, found_D, C = (float(plan[v]) for v in ("N_decision", "D_decision", "C"))
    digits = 0 if best in (6.0, 7.0) else 1
    assert round(found_N / 1e9, digits) == best
    if tokens is not None:
        assert found_D / 1e12 == pytest.approx(tokens, abs=0.011)
    if ratio is not None:
        assert round(found_D / D, 2) == ratio
    if saving is not None:
        assert round(1 - C / (6 * N * D + 2 * N * served), 2) == saving


def test_the_first_order_condition_of_serving_holds_in_every_draw(wide):
    served = 3e12
    best = allocate(wide, [1e22, 1e24], serve=served).data
    scales, p = wide.plan.scales, wide.posterior
    N, D = best["N"] / scales["N"], best["D"] / scales["D"]
    model = p["alpha"] * p["A"] * N ** -p["alpha"]
    data = p["beta"] * p["B"] * D ** -p["beta"]
    expected = 1 + served / (3 * best["D"])
    np.testing.assert_allclose((model / data).transpose(*expected.dims), expected, rtol=1e-5)
    cost = 6 * best["N"] * best["D"] + 2 * best["N"] * served
    np.testing.assert_allclose(cost, best["C"].broadcast_like(cost), rtol=1e-9)


def test_the_decision_with_serving_minimises_the_expected_loss(wide):
    C, served = 1e23, 2e12
    best = allocate(wide, C, serve=served).data.isel(budget=0)
    N = np.geomspace(1e8, 1e11, 20_001)
    N = N[2 * N * served < C]
    D = (C - 2 * N * served) / (6 * N)
    at = {c: xr.DataArray(v, dims="choice") for c, v in (("N", N), ("D", D))}
    expected = wide.law(at, wide.plan.scales, wide.posterior).mean(SAMPLE)
    assert float(best["N_decision"]) == pytest.approx(N[expected.argmin("choice")], rel=0.002)


def test_the_price_of_serving_counts_like_more_tokens(wide):
    dear = allocate(wide, 1e23, serve="1T", serve_price=2.5).data
    more = allocate(wide, 1e23, serve="2.5T").data
    np.testing.assert_allclose(dear["N_decision"], more["N_decision"])
    assert float(dear["N_decision"][0]) < float(allocate(wide, 1e23).data["N_decision"][0])


def test_free_serving_changes_nothing(wide):
    free, none = allocate(wide, 1e23, serve=1e6).data, allocate(wide, 1e23).data
    for name in ("N", "D", "loss", "N_decision"):
        np.testing.assert_allclose(free[name], none[name], rtol=1e-5)


# -- targets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [2.6, 2.2, 1.95])
def test_the_compute_for_a_target_is_the_closed_form(sure, target):
    raw = SARDANA
    A, B, alpha, beta = (raw[k] for k in ("A", "B", "alpha", "beta"))
    share = alpha + beta
    K = share * (A / beta) ** (beta / share) * (B / alpha) ** (alpha / share)
    exact = 6 * ((target - raw["E"]) / K) ** (-share / (alpha * beta))
    plan = allocate(sure(), loss=target, probability=0.5).data.isel(budget=0)
    assert float(plan["C"]) == pytest.approx(exact, rel=2e-3)
    assert law(plan["N_decision"], plan["D_decision"]) == pytest.approx(target, abs=2e-4)


def test_the_budget_for_a_target_is_the_quantile_of_the_compute_needed(wide):
    """Against losses on a fine grid of budgets, computed independently of the search."""
    target, C = 2.3, np.geomspace(1e19, 1e26, 1500)
    plan = allocate(wide, loss=target)
    split = allocate(wide, C).data["loss_decision"]
    reached = (split <= target).mean(SAMPLE).to_numpy()
    quiet = replace(wide, posterior=wide.posterior.assign(sigma=0 * wide.posterior["sigma"] + 1e-9))
    exact = allocate(quiet, loss=target)
    for p, budget in zip(exact.data["probability"].values, exact.data["C"].values, strict=True):
        assert np.interp(np.log(budget), np.log(C), reached) == pytest.approx(p, abs=0.02)
    # With noise, the median is nearly the same and a high probability costs more.
    assert plan.data["C"].values[0] == pytest.approx(exact.data["C"].values[0], rel=0.1)
    assert plan.data["C"].values[2] > exact.data["C"].values[2]


def test_the_probability_in_the_summary_is_that_of_the_plan(wide):
    plan = bs.allocate(wide, loss=[2.4, 2.3], probability=[0.25, 0.5, 0.75])
    with pytest.warns(bs.ConvergenceWarning):
        frame = plan.summary()
    assert frame["target"].tolist() == [2.4] * 3 + [2.3] * 3
    np.testing.assert_allclose(frame["p_reach"], frame["probability"], atol=0.002)
    assert (np.diff(frame["C"].to_numpy().reshape(2, 3)) > 0).all()
    needed = plan.data["compute_needed"].isel(budget=1)
    assert float((needed <= plan.data["C"][1]).mean()) == pytest.approx(0.5, abs=0.03)


def test_a_budget_and_a_target_give_a_probability(wide):
    plan = bs.allocate(wide, [1e21, 1e23], loss=2.3)
    measured = bs.forecast(wide, C=[1e21, 1e23]).data["loss"]
    with pytest.warns(bs.ConvergenceWarning):
        chance = plan.summary()["p_reach"].to_numpy()
    np.testing.assert_allclose(chance, (measured <= 2.3).mean(SAMPLE))
    assert chance[0] < chance[1]
    assert "It reaches 2.3 with a probability of" in plan.bottom_line()


def test_a_target_below_the_floor_of_some_draws_says_so(wide):
    """The floors are 1.5 times a lognormal of 10 %: a loss of 1.5 is below half of them."""
    plan = allocate(wide, loss=1.55, probability=[0.1, 0.9])
    assert plan.data["probability"].values.tolist() == [0.1]
    (sentence,) = plan.unreached
    assert "reaches a loss of 1.55 with a probability of 90 %" in sentence
    assert sentence in plan.bottom_line()
    with pytest.raises(bs.LawError, match="reaches a loss of 1 with a probability of 50 %"):
        allocate(wide, loss=1.0)


def test_an_average_reaches_a_target_as_a_mixture(sure):
    """Two laws with known needs and equal weights: half of the draws need each."""
    fits = {name: sure({**SARDANA, "E": E}) for name, E in (("a", 1.6), ("b", 1.8))}
    both = bs.Average(fits, {"a": 0.5, "b": 0.5})
    plan = allocate(both, loss=2.2, probability=[0.25, 0.75]).data["C"].values
    alone = [allocate(f, loss=2.2, probability=0.5).data["C"].values[0] for f in fits.values()]
    assert alone[1] > 10 * alone[0]
    np.testing.assert_allclose(plan, alone, rtol=0.1)  # N is that of the best bet for both


def test_crossings_are_those_of_the_line():
    C, loss = np.array([1.0, 10.0, 100.0]), np.array([[4.0, 2.0, 1.0], [4.0, 3.0, 3.0]])
    found = _crossings(C, loss, np.array([np.sqrt(8.0), 2.0, 5.0]))
    np.testing.assert_allclose(found[0], [np.sqrt(10), 10.0, 1.0])
    assert np.isinf(found[1, 1])


def test_budgets_invert_the_probability_of_a_mixture_of_laws():
    """One law of weight 3 with normal noise, one of weight 1 with t noise; both exact lines."""
    laws = [SimpleNamespace(weight=w) for w in (3.0, 1.0)]
    C = np.geomspace(1.0, 1e6, 13)
    centre = [np.log(4.0) - 0.1 * np.log(C)[None], np.log(3.0) - 0.05 * np.log(C)[None]]
    scale = [np.full((1, 13), 0.1), np.full((1, 13), 0.2)]
    nu = [np.full((1, 13), np.inf), np.full((1, 13), 4.0)]
    reach = Reach(laws, C, centre, scale, nu, noise=[])
    p = np.array([0.1, 0.5, 0.9])
    found = reach.budgets(np.array([2.0, 5.0, 0.5]), p)
    x = np.log(2.0)
    for budget, chance in zip(found[0], p, strict=True):
        far = [(x - np.interp(np.log(budget), np.log(C), c[0])) for c in centre]
        exact = 0.75 * stats.norm.cdf(far[0] / 0.1) + 0.25 * stats.t.cdf(far[1] / 0.2, 4)
        assert exact == pytest.approx(chance, abs=1e-6)
    assert found[1, 0] == C[0], "any budget suffices"
    assert np.isinf(found[2, 2]), "no budget of the grid suffices"
    on_grid = reach.probability(np.array([2.0]))[0]
    np.testing.assert_allclose(reach.budgets(np.array([2.0]), on_grid[2:5])[0], C[2:5], rtol=1e-6)


def test_a_run_with_the_budget_reaches_the_target_as_often_as_stated(wide):
    """Against measured losses of `forecast` with other random numbers, with drift and noise."""
    noisy = replace(wide, posterior=wide.posterior.assign(sigma=0 * wide.posterior["sigma"] + 0.08))
    p = np.array([0.3, 0.5, 0.8, 0.95])
    plan = bs.allocate(noisy, loss=2.3, probability=p).data
    assert plan["probability"].values.tolist() == p.tolist()
    reached = []
    for seed in range(10):
        place = dict(N=plan["N_decision"].values, D=plan["D_decision"].values)
        measured = bs.forecast(noisy, **place, random_seed=seed).data["loss"]
        reached.append((measured <= 2.3).mean(SAMPLE).to_numpy())
    # The parameters of the 400 draws are the same; what remains is the drift of the plan.
    np.testing.assert_allclose(np.mean(reached, axis=0), p, atol=0.03)


# -- constraints -------------------------------------------------------------------------------


def test_a_given_N_or_D_leaves_the_other_to_the_budget(wide):
    by_N, by_D = allocate(wide, [1e21, 1e22], N="1B").data, allocate(wide, 1e22, D=[2e11]).data
    np.testing.assert_allclose(by_N["D_decision"], np.array([1e21, 1e22]) / 6e9)
    np.testing.assert_allclose(by_D["N_decision"], 1e22 / 1.2e12)
    free = allocate(wide, 1e22).data
    np.testing.assert_allclose(by_D["N"], free["N"])
    assert float(by_D["loss_decision"].mean()) > float(free["loss_decision"].mean())


@pytest.mark.parametrize("given", ["N", "D"])
def test_the_price_of_a_constraint_reaches_the_loss_of_the_optimum(wide, given):
    plan = allocate(wide, 1e22, **{given: 3e9 if given == "N" else 3e12}).data.isel(budget=0)
    price = plan["compute_price"]
    assert (price > 1).all()
    budget = 1e22 * price
    N = plan["N_decision"] if given == "N" else budget / (6 * 3e12)
    D = budget / (6 * N)
    reached = wide.law({"N": N, "D": D}, wide.plan.scales, wide.posterior)
    affordable = (price < 1e5).to_numpy()
    assert affordable.mean() > 0.5
    np.testing.assert_allclose(
        reached.to_numpy()[affordable], plan["loss"].to_numpy()[affordable], rtol=1e-6
    )


def test_a_model_k_times_smaller_has_its_closed_price(sure):
    """With N = N* / k, the loss of the optimum needs D with
    B D^-beta = B D*^-beta - A N*^-alpha (k^alpha - 1)."""
    raw, C, k = SARDANA, 1e22, 3.0
    plan = allocate(sure(), C, smaller=k).data.isel(budget=0, chain=0, draw=0)
    N, D = float(plan["N"]), float(plan["D"])
    assert float(plan["N_decision"]) == pytest.approx(N / k, rel=1e-6)
    left = raw["B"] * D ** -raw["beta"] - raw["A"] * N ** -raw["alpha"] * (k ** raw["alpha"] - 1)
    needed = (left / raw["B"]) ** (-1 / raw["beta"])
    assert float(plan["compute_price"]) == pytest.approx(6 * N / k * needed / C, rel=1e-4)
    excess = law(N / k, D * k) - law(N, D)
    assert float(plan["loss_decision"] - plan["loss"]) == pytest.approx(excess, rel=1e-6)


def test_of_several_models_the_one_with_the_lowest_expected_loss_is_chosen(wide):
    models, C = np.array([5e8, 2e9, 8e9, 3e10]), np.array([1e20, 1e22, 1e24])
    plan = allocate(wide, C, models=["500M", "2B", "8B", "30B"])
    for i, budget in enumerate(C):
        N = xr.DataArray(models, dims="model")
        losses = wide.law({"N": N, "D": budget / (6 * N)}, wide.plan.scales, wide.posterior)
        assert float(plan.data["N_decision"][i]) == models[losses.mean(SAMPLE).argmin("model")]
        best = losses.argmin("model").to_numpy()
        np.testing.assert_array_equal(plan.data["model_is_best"].isel(budget=i), models[best])
    with pytest.warns(bs.ConvergenceWarning):
        chance = plan.summary()["p_best"]
    assert ((chance > 0.3) & (chance <= 1)).all()


def test_a_budget_too_small_for_a_given_model_is_refused(wide):
    with pytest.raises(bs.LawError, match="1e21 FLOP does not suffice to train and serve 1B"):
        allocate(wide, 1e21, N="1B", serve="1T")


# -- limited data ------------------------------------------------------------------------------


@pytest.fixture
def repeated(by_hand):
    """Muennighoff et al. 2023 without the decay of excess parameters."""

    def loss(N, D, unique_tokens, *, E, A, B, alpha, beta, R):
        epochs = D / unique_tokens - 1
        # The ratio of scales is 1 because the columns below have equal geometric means.
        worth = unique_tokens * (1 + R * (1 - np.exp(-(epochs + abs(epochs)) / (2 * R))))
        seen = (D + worth - abs(D - worth)) / 2
        return E + A * N**-alpha + B * seen**-beta

    values = {"E": 1.8, "A": 0.5, "B": 0.5, "alpha": 0.35, "beta": 0.35, "R": 15.4}
    priors = {k: bs.Positive(v) for k, v in values.items()}
    repetition = bs.Law("repeated", loss, priors, "an example")
    rng = np.random.default_rng(1)
    N = np.geomspace(1e8, 1e10, 30)
    D, unique = np.geomspace(1e9, 1e11, 30), np.geomspace(1e9, 1e11, 30)
    frame = pd.DataFrame({"N": rng.permutation(N), "D": D, "unique_tokens": unique, "loss": 3.0})
    frame["loss"] += rng.uniform(0, 0.5, 30)
    return by_hand(bs.Runs.from_frame(frame), repetition, {**values, **SURE}, draws=2)


def test_limited_data_give_epochs(repeated):
    """Much data: as without a limit, under one epoch. Little data: many epochs, a larger model."""
    much = allocate(repeated, 1e22, unique="100T").data.isel(budget=0, chain=0, draw=0)
    little = allocate(repeated, 1e22, unique="10B").data.isel(budget=0, chain=0, draw=0)
    product = 1e22 / 6 / (repeated.plan.scales["N"] * repeated.plan.scales["D"])
    assert float(much["N"]) == pytest.approx(product**0.5 * repeated.plan.scales["N"], rel=1e-4)
    assert float(much["epochs"]) < 1 < float(little["epochs"])
    assert float(little["N"]) > float(much["N"])
    around = float(little["N_decision"]) * np.array([0.98, 1.0, 1.02])
    columns = {"N": around, "D": 1e22 / (6 * around), "unique_tokens": 1e10}
    values = {k: float(v[0, 0]) for k, v in repeated.posterior.items()}
    losses = repeated.law(columns, repeated.plan.scales, values)
    assert losses.argmin() == 1
    assert "epochs of 10B unique tokens" in allocate(repeated, 1e22, unique="10B").bottom_line()


def test_limited_data_need_a_law_that_knows_repetition(wide):
    with pytest.raises(bs.LawError, match="limited data need a law with a column of unique tokens"):
        allocate(wide, 1e22, unique="10B")


def test_a_law_of_repetition_needs_the_unique_tokens(repeated):
    with pytest.raises(bs.LawError, match="has the columns N, D, unique_tokens"):
        allocate(repeated, 1e22)


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "C is not given"),
        ({"C": 1e22, "N": 1e9, "D": 1e10}, "N= and D= exclude each other"),
        ({"C": 1e22, "smaller": 2, "models": [1e9]}, "smaller= and models= exclude each other"),
        ({"C": 1e22, "smaller": 0}, "smaller is 0: give a positive number"),
        ({"C": 1e22, "smaller": True}, "smaller is True"),
        ({"C": 1e22, "serve": [1e9, 1e10]}, "serve has 2 values: give one"),
        ({"C": 1e22, "serve": -1}, "serve must be positive"),
        ({"C": 1e22, "serve": 1e12, "serve_price": "x"}, "serve_price is 'x'"),
        ({"C": 1e22, "serve_price": 2.0}, "serve_price= needs serve=: give the number of tokens"),
        ({"C": 1e22, "probability": 0.5}, "probability= applies to target losses without budgets"),
        ({"loss": 2.3, "probability": 1.0}, "probability is 1.0: give numbers between 0 and 1"),
        ({"loss": -1}, "loss must be positive"),
        ({"C": [1e21, 1e22, 1e23], "loss": [2.3, 2.2]}, "loss has 2 values for 3 budgets"),
        ({"C": [1e21, 1e22, 1e23], "N": [1e9, 2e9]}, "N has 2 values for 3 budgets"),
    ],
)
def test_arguments_that_make_no_question_are_refused(sure, arguments, message):
    with pytest.raises(bs.LawError, match=message):
        allocate(sure(), **arguments)


# -- drift -------------------------------------------------------------------------------------


def test_drift_spreads_the_compute_that_a_target_needs(sure):
    """Without drift and with known parameters the compute is known; with drift its median is the
    same and it spreads by the drift of the forecast over the slope of the loss."""
    fit = sure(draws=500)
    needed, alone = (
        np.log(f(fit, loss=2.2, probability=0.5).data["compute_needed"]).to_numpy().ravel()
        for f in (bs.allocate, allocate)
    )
    assert np.ptp(alone) < 1e-3
    assert np.median(needed) == pytest.approx(alone[0], abs=0.1)
    C = float(np.exp(alone[0]))
    ahead = np.log(bs.forecast(fit, C=C).data["mean"].to_numpy().ravel())
    best = allocate(fit, [C * 0.99, C * 1.01]).data["loss"].isel(chain=0, draw=0)
    slope = float(np.diff(np.log(best))[0] / np.log(1.01 / 0.99))
    q = [0.25, 0.75]
    expected = np.subtract(*np.quantile(ahead, q)) / slope
    assert np.subtract(*np.quantile(needed, q[::-1])) == pytest.approx(expected, rel=0.15)

"""Splits of a budget, against closed forms, brute force and published constants."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale import laws
from bayescale.forecasting.searches import MOVED, refine, search

NOISE = {"sigma": 0.01, "nu": 5.0}
KAPLAN = {"A": 2.4, "B": 2.6, "alpha_N": 0.08, "alpha_D": 0.1, **NOISE}
LAWS = {
    "chinchilla": {"E": 1.8, "A": 0.7, "B": 0.5, "alpha": 0.34, "beta": 0.28, **NOISE},
    "kaplan": KAPLAN,
    "kaplan_floor": {"E": 1.7, **KAPLAN, "alpha_N": 0.3, "alpha_D": 0.2},
}

#: Budgets are chosen for their arithmetic. Tests of the warning assert it.
pytestmark = pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")

#: Of the law alone. The drift beyond the runs has tests of its own.
allocate, regret = (partial(f, drift="off") for f in (bs.allocate, bs.regret))


@pytest.fixture(scope="module")
def runs(openlm):
    return openlm.query("dataset == 'c4'")


@pytest.fixture
def published(by_hand, runs):
    """A posterior that is one published point, its amplitudes moved to the runs' scales."""

    def make(point: str) -> bs.Fit:
        raw, scales = laws.chinchilla.published[point].values, runs.scales
        at_scales = {
            "A": raw["A"] * scales["N"] ** -raw["alpha"],
            "B": raw["B"] * scales["D"] ** -raw["beta"],
        }
        return by_hand(runs, "chinchilla", {**raw, **at_scales, **NOISE})

    return make


@pytest.fixture
def wide(by_hand, runs):
    """A posterior so wide that plug-in splits and the best bet differ."""
    rng = np.random.default_rng(1)
    spread = {
        k: v * np.exp(0.4 * rng.standard_normal((2, 60))) for k, v in LAWS["chinchilla"].items()
    }
    return by_hand(runs, "chinchilla", spread, draws=60)


def without_closed_form(fit: bs.Fit) -> bs.Fit:
    return replace(fit, plan=replace(fit.plan, law=replace(fit.law, optimum=None)))


def losses(fit: bs.Fit, N, C: float) -> xr.DataArray:
    """Where the law lies in every draw, for choices of N within a budget."""
    N = xr.DataArray(N, dims="choice")
    return fit.law({"N": N, "D": C / (6 * N)}, fit.plan.scales, fit.posterior)


def only(array) -> float:
    """The one value that all draws share."""
    values = np.unique(np.asarray(array))
    assert np.ptp(values) <= 1e-12 * abs(values[0])
    return float(values[0])


# -- the optimum -------------------------------------------------------------------------------


def test_the_published_optimum_is_found_again(published):
    best = allocate(published("besiroglu2024"), "5.76e23").data
    assert only(best["N"]) == pytest.approx(72.2e9, rel=0.01)
    assert only(best["tokens_per_param"]) == pytest.approx(18.4, rel=0.02)


@pytest.mark.parametrize("point", laws.chinchilla.published)
def test_the_optimum_is_the_closed_form_of_the_raw_constants(published, point):
    C, raw = np.array([1e19, 5.76e23, 1e26]), laws.chinchilla.published[point].values
    best = allocate(published(point), C).data.isel(chain=0, draw=0)
    G = (raw["alpha"] * raw["A"] / (raw["beta"] * raw["B"])) ** (1 / (raw["alpha"] + raw["beta"]))
    a = raw["beta"] / (raw["alpha"] + raw["beta"])
    assert best["N"].to_numpy() == pytest.approx(G * (C / 6) ** a, rel=1e-10)
    assert best["D"].to_numpy() == pytest.approx((C / 6) ** (1 - a) / G, rel=1e-10)
    assert best["loss"].to_numpy() == pytest.approx(
        laws.chinchilla.at(point, N=best["N"], D=best["D"]), rel=1e-10
    )


@pytest.mark.parametrize("point", laws.chinchilla.published)
def test_the_exponent_is_that_of_the_other_column(published, point):
    raw = laws.chinchilla.published[point].values
    best = allocate(published(point), [1e20, 1e24]).data
    assert only(best["a"]) == pytest.approx(raw["beta"] / (raw["alpha"] + raw["beta"]), rel=1e-9)
    assert np.allclose(best["a"] + best["b"], 1, rtol=1e-15)


@pytest.mark.parametrize("law", LAWS)
def test_a_search_finds_what_the_closed_form_says(by_hand, runs, law):
    fit, C = by_hand(runs, law, LAWS[law], draws=2), [1e18, 1e21, 1e25]
    closed, searched = (allocate(f, C).data for f in (fit, without_closed_form(fit)))
    for name in ("N", "D", "tokens_per_param", "loss", "a", "N_decision"):
        assert np.allclose(searched[name], closed[name], rtol=1e-5, atol=0), name


@pytest.mark.parametrize("law", LAWS)
def test_no_other_split_does_better(by_hand, runs, law):
    fit = by_hand(runs, law, LAWS[law])
    best = allocate(fit, 1e22).data
    around = only(best["N"]) * np.array([0.99, 1.01])
    assert (losses(fit, around, 1e22) > best["loss"].isel(budget=0)).all()


@pytest.mark.parametrize("factor", [6.0, 7.5])
def test_a_budget_is_spent_to_the_last_flop(by_hand, runs, factor):
    """In the accounting of the runs, which need not be six."""
    own = runs.table[["N", "D", "loss"]].assign(C=factor * runs.table["N"] * runs.table["D"])
    fit = by_hand(bs.Runs.from_frame(own), "chinchilla", LAWS["chinchilla"])
    C = np.array([1e20, 1e23])
    best = allocate(fit, C).data
    assert np.allclose(factor * best["N"] * best["D"], C, rtol=1e-12)
    assert np.allclose(factor * best["N_decision"] * best["D_decision"], C, rtol=1e-12)


def test_budgets_are_read_as_people_write_them(published):
    fit = published("hoffmann2022")
    read, exact = (allocate(fit, C).data for C in (["1e22", "10T"], [1e22, 1e13]))
    assert read.equals(exact)
    assert exact.sizes == {"chain": 2, "draw": 10, "budget": 2}


# -- the decision ------------------------------------------------------------------------------


def test_where_all_is_certain_the_decision_is_the_optimum(published):
    best = allocate(published("besiroglu2024"), [1e20, 1e24]).data
    assert np.allclose(best["N_decision"], best["N"], rtol=1e-6)
    assert np.allclose(best["loss_decision"], best["loss"], rtol=1e-12)


@pytest.mark.parametrize("search", [False, True])
def test_the_decision_minimises_the_expected_loss(wide, search):
    fit, C = without_closed_form(wide) if search else wide, 1e23
    best = allocate(fit, C).data.isel(budget=0)
    N = np.geomspace(1e8, 1e12, 4001)
    expected = losses(wide, N, C).mean(("chain", "draw"))
    assert float(best["N_decision"]) == pytest.approx(N[expected.argmin("choice")], rel=0.003)
    assert float(best["loss_decision"].mean()) <= float(expected.min())


def test_the_decision_beats_the_plug_in_split(wide):
    C = 1e24
    best = allocate(wide, C).data.isel(budget=0)
    plug_in = float(best["N"].median())
    assert abs(np.log(plug_in / best["N_decision"])) > 0.05
    assert best["loss_decision"].mean() < losses(wide, [plug_in], C).mean()


def test_no_draw_reaches_less_than_its_own_optimum(wide):
    best = allocate(wide, [1e20, 1e25]).data
    assert (best["loss_decision"] >= best["loss"]).all()


def test_every_group_has_its_own_split(by_hand, openlm):
    pool = dict.fromkeys(("E", "A", "alpha", "beta", "sigma"), "complete")
    values = {
        "E": 1.8,
        "A": 0.5,
        "alpha": 0.3,
        "beta": 0.3,
        **NOISE,
        "B": 0.5,
        "B_dataset": [0.5, 1.0, 2.0],
        "B_dataset_scale": 0.7,
    }
    fit = by_hand(openlm, "chinchilla", values, groups="dataset", pool=pool)
    N = [only(allocate(fit, 1e22, group=g).data["N"]) for g in fit.plan.levels["dataset"]]
    assert N[0] / N[1] == pytest.approx(2 ** (1 / 0.6), rel=1e-9)
    assert N[1] / N[2] == pytest.approx(2 ** (1 / 0.6), rel=1e-9)
    unseen = allocate(fit, [1e22, 1e23]).data["N"].std(("chain", "draw"))
    assert (unseen > 0).all()
    with pytest.raises(bs.FitError, match="no dataset 'pile'"):
        allocate(fit, 1e22, group="pile")


# -- what a wrong split costs ------------------------------------------------------------------


def test_there_is_nothing_to_regret_at_the_optimum(published):
    fit = published("besiroglu2024")
    best = allocate(fit, 1e23).data
    waste = regret(fit, only(best["N"]), only(best["D"])).data
    assert np.allclose(waste["excess_loss"], 0, atol=1e-12)
    assert np.allclose(waste["wasted_share"], 0, atol=1e-6)


@pytest.mark.parametrize("k", [0.5, 2.0, 30.0])
def test_waste_of_a_symmetric_law_is_exact(by_hand, runs, k):
    """N^-x + D^-x at N = k D (in units of the scales) is cosh(x ln k / 2) times its least value."""
    x, scales = 0.3, runs.scales
    values = {"E": 1.8, "A": 0.5, "B": 0.5, "alpha": x, "beta": x, **NOISE}
    fit = by_hand(runs, "chinchilla", values)
    waste = regret(fit, N=100 * scales["N"] * np.sqrt(k), D=100 * scales["D"] / np.sqrt(k)).data
    worse = np.cosh(x * np.log(k) / 2)
    assert only(waste["excess_loss"]) == pytest.approx(100**-x * (worse - 1), rel=1e-9)
    assert only(waste["wasted_share"]) == pytest.approx(1 - worse ** (-2 / x), rel=1e-9)


def test_the_rest_of_the_compute_would_have_done(wide):
    """The best split of what is not wasted reaches just the loss of the choice, in every draw."""
    from scipy.optimize import brentq

    N, D = 7e9, 15e12
    waste = regret(wide, "7B", "15T").data.isel(point=0)
    scales = wide.plan.scales
    for draw in (0, 17, 59):
        p = {
            k: float(v)
            for k, v in wide.posterior.isel(chain=1, draw=draw).items()
            if k in wide.law.parameters
        }

        def best(C, p=p):
            product = C / 6 / (scales["N"] * scales["D"])
            n = wide.law.optimum(product, **p)
            return wide.law.loss(n, product / n, **p)

        reached = wide.law({"N": N, "D": D}, scales, p)
        C = brentq(lambda C, goal=reached, best=best: best(C) - goal, 1e10, 6 * N * D, rtol=1e-14)
        here = waste.isel(chain=1, draw=draw)
        assert float(here["excess_loss"]) == pytest.approx(reached - best(6 * N * D), rel=1e-9)
        assert float(here["wasted_share"]) == pytest.approx(1 - C / (6 * N * D), rel=1e-6)


def test_waste_is_never_negative(wide):
    waste = regret(wide, np.geomspace(1e6, 1e13, 15), 1e12).data
    assert (waste["excess_loss"] >= 0).all()
    assert ((waste["wasted_share"] >= 0) & (waste["wasted_share"] < 1)).all()


def test_compute_left_unspent_is_wasted(published):
    fit = published("besiroglu2024")
    best = allocate(fit, 1e23).data
    waste = regret(fit, only(best["N"]), only(best["D"]), C=[2e23, 4e23]).data
    assert waste["wasted_share"].isel(chain=0, draw=0).to_numpy() == pytest.approx([0.5, 0.75])


def test_the_summary_of_waste_is_its_expectation(wide):
    N, D = np.array([1e9, 7e9]), np.array([1e12, 15e12])
    waste = regret(wide, N, D)
    with pytest.warns(bs.ConvergenceWarning):
        frame = waste.summary(0.8)
    assert frame["C"].to_numpy() == pytest.approx(6 * N * D)
    assert frame["expected_excess_loss"].to_numpy() == pytest.approx(
        waste.data["excess_loss"].mean(("chain", "draw")).to_numpy()
    )
    assert frame["expected_wasted_flop"].to_numpy() == pytest.approx(
        waste.data["wasted_share"].mean(("chain", "draw")).to_numpy() * 6 * N * D
    )
    assert (frame["excess_loss_eti80_lb"] < frame["excess_loss_eti80_ub"]).all()


def test_the_summary_of_a_split_has_decision_optimum_and_regret(wide):
    split = allocate(wide, [1e22, 1e24])
    with pytest.warns(bs.ConvergenceWarning):
        frame = split.summary(0.8, "hdi")
    assert frame["C"].tolist() == [1e22, 1e24]
    assert frame["N"].to_numpy() == pytest.approx(
        np.median(split.data["N"].to_numpy().reshape(-1, 2), axis=0)
    )
    regret = (split.data["loss_decision"] - split.data["loss"]).mean(("chain", "draw"))
    assert frame["expected_regret"].to_numpy() == pytest.approx(regret.to_numpy())
    assert (frame["expected_regret"] > 0).all()
    assert (frame["a_hdi80_lb"] < frame["a"]).all()


def test_splits_and_waste_describe_themselves(wide):
    with pytest.warns(bs.ConvergenceWarning):
        split, waste = repr(allocate(wide, 1e22)), repr(regret(wide, "7B", "15T"))
    assert "\n<Allocation by chinchilla, 1 budget>\n  1e22 FLOP: train " in split
    assert "under the law" in split
    assert "7B on 15T tokens: " in waste


# -- what cannot be split ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [lambda N, D, *, A, x: A * N**-x + 0 * D, lambda N, D, *, A, x: A * D**-x + 0 * N]
)
def test_a_corner_is_not_an_optimum(by_hand, runs, loss):
    law = bs.Law("one-sided", loss, {"A": bs.Positive(1), "x": bs.Positive(0.3)}, "an example")
    fit = by_hand(runs, law, {"A": 1.0, "x": 0.3, **NOISE}, draws=2)
    with pytest.raises(bs.LawError, match="no split of this budget is the best"):
        allocate(fit, 1e22)


def test_a_law_of_compute_alone_cannot_split_it(by_hand, runs):
    fit = by_hand(runs, "power", {"E": 1.5, "A": 1.0, "alpha": 0.3, **NOISE})
    for ask in (lambda: allocate(fit, 1e22), lambda: regret(fit, 1e9, 1e10)):
        with pytest.raises(bs.LawError, match="has the columns C: "):
            ask()


def test_a_choice_above_its_budget_is_refused(published):
    with pytest.raises(bs.LawError, match=r"cost up to 6e20 FLOP, more than the budget C of 5e20"):
        regret(published("hoffmann2022"), "1B", "100B", C="5e20")


def test_choices_of_different_length_are_refused(published):
    fit = published("hoffmann2022")
    with pytest.raises(bs.LawError, match=r"differ in length \(N: 2, D: 3\)"):
        regret(fit, [1e9, 2e9], [1e10, 2e10, 3e10])
    with pytest.raises(bs.LawError, match=r"differ in length \(N: 2, D: 1, C: 3\)"):
        regret(fit, [1e9, 2e9], 1e10, C=[1e23, 1e24, 1e25])


@pytest.mark.parametrize(
    "count",
    [
        "seven",
        "1e22,1e23",
        "",
        None,
        True,
        [],
        0,
        -1e22,
        np.nan,
        np.inf,
        "-1B",
        [1e22, 0],
        [[1e22, 1e23]],
        {"C": 1e22},
        pd.NA,
    ],
)
def test_what_is_no_count_is_refused_by_name(published, count):
    fit = published("hoffmann2022")
    with pytest.raises(bs.LawError, match=r"^C\b"):
        allocate(fit, count)
    with pytest.raises(bs.LawError, match=r"^N\b"):
        regret(fit, count, 1e10)
    with pytest.raises(bs.LawError, match=r"^D\b"):
        regret(fit, 1e10, count)


# -- search ------------------------------------------------------------------------------------


def test_the_search_finds_minima_anywhere_between_the_bounds():
    """Also in the first and last cell next to those that count as a corner."""
    middle = np.linspace(0.03, 0.97, 101)
    found = search(lambda x: np.cosh(x - middle), 0 * middle, 0 * middle + 1, "a test")
    assert np.abs(found - middle).max() < 1e-8


def test_the_search_finds_a_kink():
    """Where there is no curvature, intervals are halved."""
    middle = np.linspace(2.2, 7.7, 50)
    found = search(lambda x: abs(x - middle), 0 * middle, 0 * middle + 10, "a test")
    assert np.abs(found - middle).max() <= MOVED


def test_a_search_that_starts_off_the_minimum_stays_between_its_bounds():
    """Newton's step from the flat side of an asymmetric function would leave the interval."""
    middle = np.array([0.0, 3.0])

    def objective(x):
        return np.exp(-4 * (x - middle)) + 4 * (x - middle)

    found = refine(objective, middle + 2.9, middle - 3, middle + 3)
    assert np.abs(found - middle).max() < 1e-6


# -- drift -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_losses_of_an_allocation_have_the_intervals_of_the_forecast(wide):
    """One question has one answer: the loss at the recommended N and D."""
    split = bs.allocate(wide, [1e22, 1e25]).data
    ahead = bs.forecast(wide, N=split["N_decision"].values, D=split["D_decision"].values).data
    np.testing.assert_allclose(split["loss_decision"], ahead["mean"], rtol=1e-9)
    assert not np.allclose(split["loss_decision"], ahead["law"], rtol=1e-3)
    alone = allocate(wide, [1e22, 1e25]).data
    ratio = split["loss"] / alone["loss"]
    np.testing.assert_allclose(ratio, split["loss_decision"] / alone["loss_decision"], rtol=1e-9)


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_drift_scales_the_excess_loss_but_not_the_waste(wide):
    drifted, alone = bs.regret(wide, "7B", "15T").data, regret(wide, "7B", "15T").data
    np.testing.assert_array_equal(drifted["wasted_share"], alone["wasted_share"])
    ahead = bs.forecast(wide, N="7B", D="15T").data
    np.testing.assert_allclose(
        drifted["excess_loss"] / alone["excess_loss"], ahead["mean"] / ahead["law"], rtol=1e-9
    )

"""Averages of laws: who belongs together, and exactly the draws and decisions of the mixture."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.forecasting import Average, mix, named, shares, stacking
from bayescale.forecasting.allocation import best_split

NOISE = {"sigma": 0.01, "nu": 5.0}
CHINCHILLA = {"E": 1.8, "A": 0.7, "B": 0.5, "alpha": 0.34, "beta": 0.28, **NOISE}
KAPLAN = {"A": 2.4, "B": 2.6, "alpha_N": 0.08, "alpha_D": 0.1, **NOISE}
SAMPLE = ("chain", "draw")

#: Of the law alone. The drift beyond the runs has tests of its own.
allocate, regret = (partial(f, drift="off") for f in (bs.allocate, bs.regret))


@pytest.fixture(scope="module")
def runs(openlm):
    return openlm.query("dataset == 'c4'")


def spread(values, seed, by=0.05, draws=40) -> dict:
    rng = np.random.default_rng(seed)
    return {k: v * np.exp(by * rng.standard_normal((2, draws))) for k, v in values.items()}


@pytest.fixture
def pair(by_hand, runs) -> dict[str, bs.Fit]:
    return {
        "chinchilla": by_hand(runs, "chinchilla", spread(CHINCHILLA, 1), draws=40),
        "kaplan": by_hand(runs, "kaplan", spread(KAPLAN, 2), draws=40),
    }


def weigh(fits, *weights) -> Average:
    return Average(fits, dict(zip(fits, weights, strict=True)))


# -- who belongs together ----------------------------------------------------------------------


def test_an_average_reads_like_a_fit(pair, runs):
    both = weigh(pair, 0.38, 0.62)
    assert both.law.name == "average of kaplan (62 %) and chinchilla (38 %)"
    assert both.law.columns == ("N", "D")
    assert both.law.allocates
    assert both.runs is runs
    assert both.groups == ()
    assert both.members() == [{}]
    assert both.random_seed == pair["chinchilla"].random_seed
    assert list(both.used) == ["kaplan", "chinchilla"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1.0, 0.0), "average of chinchilla (100 %)"),
        ((0.999, 0.001), "average of chinchilla (100 %) and kaplan (<1 %)"),
    ],
)
def test_weights_are_written_in_percent(pair, weights, message):
    assert weigh(pair, *weights).law.name == message


def test_three_laws_are_listed(pair, by_hand, runs):
    power = by_hand(runs, "power", {"E": 1.5, "A": 1.0, "alpha": 0.3, **NOISE})
    three = weigh({**pair, "power": power}, 0.3, 0.2, 0.5)
    assert three.law.name == "average of power (50 %), chinchilla (30 %) and kaplan (20 %)"
    assert three.law.columns == ("C", "N", "D")
    assert not three.law.allocates


def test_an_average_cannot_be_changed_from_outside(pair):
    weights = {"chinchilla": 0.5, "kaplan": 0.5}
    both = Average(pair, weights)
    weights["kaplan"] = 7.0
    del pair["kaplan"]
    assert both.weights == {"chinchilla": 0.5, "kaplan": 0.5}
    assert list(both.fits) == ["chinchilla", "kaplan"]


def test_an_average_survives_a_pickle(pair):
    both = weigh(pair, 0.25, 0.75)
    again = pickle.loads(pickle.dumps(both))
    assert again.weights == both.weights
    assert allocate(again, 1e22).data.equals(allocate(both, 1e22).data)


def test_weights_may_miss_one_by_rounding_only(pair):
    assert weigh(pair, 0.1 + 0.2, 0.7).weights["chinchilla"] == 0.1 + 0.2
    with pytest.raises(bs.FitError, match=r"sum to 1\.00000001: they must sum to 1"):
        weigh(pair, 0.3 + 1e-8, 0.7)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"chinchilla": 0.5}, "kaplan has no weight"),
        (
            {"chinchilla": 0.5, "kaplan": 0.5, "skaling": 0.0},
            "weight for 'skaling', but no such fit",
        ),
        ({"chinchilla": 1.5, "kaplan": -0.5}, "none may be negative"),
        ({"chinchilla": 0.5, "kaplan": np.nan}, "none may be negative"),
        ({"chinchilla": 2, "kaplan": 1}, "sum to 3: they must sum to 1"),
        ([0.5, 0.5], "weights list"),
    ],
)
def test_wrong_weights_are_refused(pair, weights, message):
    with pytest.raises(bs.FitError, match=message):
        Average(pair, weights)


def test_without_a_fit_there_is_no_average():
    with pytest.raises(bs.FitError, match="there is no fit"):
        Average({}, {})


def test_what_is_no_fit_is_refused(pair, runs):
    with pytest.raises(bs.FitError, match="runs is Runs, not a fit"):
        weigh({**pair, "runs": runs}, 0.5, 0.5, 0.0)


def test_every_problem_is_named_at_once(pair, by_hand, runs, openlm):
    pool = dict.fromkeys(CHINCHILLA, "complete")
    grouped = by_hand(runs, "chinchilla", CHINCHILLA, groups="dataset", pool=pool)
    other = by_hand(openlm, "chinchilla", CHINCHILLA)
    fits = {**pair, "grouped": grouped, "other": other}
    with pytest.raises(bs.FitError) as caught:
        weigh(fits, 0.5, 0.5, 0.5, 0.5)
    sum_, runs_, groups_ = caught.value.problems
    assert "sum to 2" in sum_
    assert "and other were fitted to different runs" in runs_
    assert "(34 from " in runs_
    assert "grouped has groups dataset, chinchilla has (none)" in groups_


def test_equal_runs_from_elsewhere_are_the_same_runs(pair, runs):
    copied = replace(runs, source="a copy")
    kaplan = replace(pair["kaplan"], plan=replace(pair["kaplan"].plan, runs=copied))
    assert len(weigh({"a": pair["chinchilla"], "b": kaplan}, 0.5, 0.5).fits) == 2


def test_fits_of_a_list_are_called_as_their_laws(pair):
    assert named(list(pair.values())) == pair
    with pytest.raises(bs.FitError, match="2 fits are of law 'kaplan'"):
        named([pair["kaplan"], pair["kaplan"]])
    with pytest.raises(bs.FitError, match="number 1 is str, not a fit"):
        named([pair["kaplan"], "chinchilla"])
    for one in (pair["kaplan"], "kaplan", None):
        with pytest.raises(bs.FitError, match="expected several fits"):
            named(one)
    for none in ([], {}):
        with pytest.raises(bs.FitError, match="there is no fit"):
            named(none)


def test_one_warning_names_the_heavy_fits_that_failed(pair):
    with pytest.warns(bs.ConvergenceWarning) as caught:
        weigh(pair, 0.5, 0.5).warn_if_failed()
    assert len(caught) == 1
    assert "chinchilla (" in str(caught[0].message)
    assert "kaplan (" in str(caught[0].message)
    with pytest.warns(bs.ConvergenceWarning) as caught:
        weigh(pair, 0.995, 0.005).warn_if_failed()
    assert "kaplan" not in str(caught[0].message)


@pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
def test_laws_of_hardly_any_weight_are_not_discussed(pair):
    light, heavy = weigh(pair, 0.995, 0.005), weigh(pair, 0.9, 0.1)
    assert list(light.used) == list(heavy.used) == list(heavy.counted)
    assert list(light.counted) == list(light.used)[:1]
    dropped = list(light.used)[1]
    assert dropped in heavy.difference
    assert dropped not in light.difference
    assert dropped not in "".join(str(f) for f in light.check().findings)


def test_the_warning_points_at_who_asked(pair):
    split = allocate(weigh(pair, 0.5, 0.5), 1e22)
    with pytest.warns(bs.ConvergenceWarning) as caught:
        split.summary()
    assert caught[0].filename == __file__


def test_an_average_describes_itself(pair):
    average = weigh(pair, 0.38, 0.62)
    first, *lines = repr(average).splitlines()
    assert first == average.bottom_line()
    assert lines[0] == "<Average of 2 laws for 34 runs>"
    assert lines[1].startswith("   62 %  kaplan: CHECK FAILED")
    assert lines[2].startswith("   38 %  chinchilla: CHECK FAILED")


# -- shares ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "total", "counts"),
    [
        ((0.5, 0.5), 10, (5, 5)),
        ((1 / 3, 1 / 3, 1 / 3), 10, (4, 3, 3)),
        ((0.62, 0.38), 1000, (620, 380)),
        ((0.999, 0.001), 100, (100, 0)),
        ((0.5, 0.0, 0.5), 3, (2, 0, 1)),
        ((0.3, 0.7), 10, (3, 7)),
        ((0.1, 0.2, 0.7), 0, (0, 0, 0)),
    ],
)
def test_shares_by_hand(weights, total, counts):
    assert tuple(shares(dict(enumerate(weights)), total).values()) == counts


def test_shares_add_up_and_are_fair():
    rng = np.random.default_rng(0)
    for _ in range(200):
        weights = dict(enumerate(rng.dirichlet(np.full(rng.integers(1, 8), 0.4))))
        total = int(rng.integers(0, 5000))
        counts = shares(weights, total)
        assert sum(counts.values()) == total
        assert all(abs(counts[k] - total * weights[k]) < 1 for k in weights)


# -- mixing ------------------------------------------------------------------------------------


def numbered(chains, draws, offset=0.0, **more) -> xr.Dataset:
    """Draws that say where they come from: chain + draw / 1000."""
    value = np.arange(chains)[:, None] + np.arange(draws) / 1000 + offset
    data = {"x": (SAMPLE, value), **{k: (SAMPLE, 0 * value + v) for k, v in more.items()}}
    return xr.Dataset(data, coords={"chain": range(chains), "draw": range(draws)})


def test_a_single_member_keeps_its_draws():
    data = numbered(4, 25)
    xr.testing.assert_equal(mix({"a": data}, {"a": 1.0}), data)
    xr.testing.assert_equal(mix({"a": data, "b": data + 9}, {"a": 1.0, "b": 0.0}), data)


def test_each_chain_mixes_all_members_evenly_spaced():
    mixed = mix({"a": numbered(2, 8), "b": numbered(2, 8, offset=10)}, {"a": 0.75, "b": 0.25})
    assert dict(mixed.sizes) == {"chain": 2, "draw": 8}
    for chain in (0, 1):
        x = mixed["x"].sel(chain=chain).to_numpy() - chain
        assert np.round(1000 * x[x < 9]).tolist() == [0, 2, 3, 4, 6, 7]
        assert np.round(1000 * (x[x > 9] - 10)).tolist() == [2, 6]
        assert np.flatnonzero(x > 9).tolist() == [2, 6], "interleaved"


def test_fewer_draws_can_be_asked_for():
    mixed = mix({"a": numbered(2, 100), "b": numbered(2, 100, 10)}, {"a": 0.3, "b": 0.7}, draws=20)
    assert dict(mixed.sizes) == {"chain": 2, "draw": 20}
    assert ((mixed["x"] > 9).sum("draw") == 14).all()


def test_members_of_different_length_are_weighted_alike():
    mixed = mix({"a": numbered(4, 50), "b": numbered(2, 200, 10)}, {"a": 0.5, "b": 0.5})
    assert dict(mixed.sizes) == {"chain": 2, "draw": 200}
    assert ((mixed["x"] < 9).sum("draw") == 100).all()
    from_a = mixed["x"].where(mixed["x"] < 9)
    assert np.unique(np.floor(from_a.sel(chain=0).dropna("draw"))).tolist() == [0, 1]
    assert np.unique(np.floor(from_a.sel(chain=1).dropna("draw"))).tolist() == [2, 3]


def test_only_common_variables_are_mixed():
    mixed = mix({"a": numbered(2, 4, y=1), "b": numbered(2, 4, z=2)}, {"a": 0.5, "b": 0.5})
    assert list(mixed.data_vars) == ["x"]


def test_coordinates_stay_and_must_agree():
    points = xr.DataArray([0.0, 1.0], dims="point")
    a = (numbered(2, 4) + points).assign_coords(N=("point", [1e9, 2e9]))
    mixed = mix({"a": a, "b": a + 5}, {"a": 0.5, "b": 0.5})
    assert mixed["x"].dims == ("chain", "draw", "point")
    assert mixed["N"].to_numpy().tolist() == [1e9, 2e9]
    other = a.assign_coords(N=("point", [1e9, 3e9]))
    with pytest.raises(xr.MergeError):
        mix({"a": a, "b": other}, {"a": 0.5, "b": 0.5})


def test_chains_of_a_mixture_agree():
    """Blocks of a chain hold the same mixture, so R-hat compares chains and not laws."""
    from arviz_stats.base import array_stats

    rng = np.random.default_rng(0)
    apart = {
        k: xr.Dataset({"x": (SAMPLE, rng.standard_normal((4, 500)) + at)})
        for k, at in (("a", 0.0), ("b", 20.0))
    }
    mixed = mix(apart, {"a": 0.4, "b": 0.6})["x"].to_numpy()
    assert array_stats.rhat(mixed, chain_axis=0, draw_axis=1) < 1.01


# -- stacking ----------------------------------------------------------------------------------


def test_a_law_that_is_always_better_wins_where_there_are_many_problems():
    better = np.tile([0.0, -30.0], (200, 1))
    assert stacking(better) == pytest.approx([200.5 / 201, 0.5 / 201], abs=1e-6)


def test_one_problem_is_not_enough_for_a_verdict():
    assert stacking([[0.0, -30.0]]) == pytest.approx([0.75, 0.25], abs=1e-8)
    many_points_of_one_fit = np.tile([0.0, -30.0], (200, 1))
    weights = stacking(many_points_of_one_fit, np.zeros(200))
    assert weights == pytest.approx([0.75, 0.25], abs=1e-8)


@pytest.mark.parametrize("laws", [1, 2, 5])
def test_equal_laws_weigh_alike(laws):
    same = np.repeat(np.random.default_rng(0).normal(size=(30, 1)), laws, axis=1)
    assert stacking(same) == pytest.approx(np.full(laws, 1 / laws), abs=1e-12)


def test_only_differences_between_laws_count():
    log_density = np.random.default_rng(1).normal(size=(30, 3))
    shifted = log_density + np.linspace(-2000, 2000, 30)[:, None]
    assert stacking(shifted) == pytest.approx(stacking(log_density), abs=1e-9)


def test_a_problem_counts_once_however_many_points_it_has():
    few = np.array([[0.0, -3.0], [-2.0, 0.0]])
    many = np.repeat(few, [50, 1], axis=0)
    problem = np.repeat([7, 3], [50, 1])
    assert stacking(many, problem) == pytest.approx(stacking(few), abs=1e-8)


def test_weights_maximise_the_penalised_log_score_of_the_mixture():
    rng = np.random.default_rng(2)
    log_density, problem = rng.normal(scale=2, size=(40, 3)), rng.integers(0, 7, 40)

    def objective(w):
        score = np.log(np.exp(log_density) @ w)
        by_problem = [score[problem == p].mean() for p in np.unique(problem)]
        return sum(by_problem) + np.log(w).mean()

    best = stacking(log_density, problem)
    assert best.sum() == pytest.approx(1, abs=1e-12)
    for step in rng.normal(scale=0.02, size=(200, 3)):
        near = np.abs(best + step - step.mean())
        assert objective(near / near.sum()) <= objective(best) + 1e-12


def test_laws_that_complement_each_other_share_the_weight():
    turns = np.array([[0.0, -30.0], [-30.0, 0.0]] * 20)
    assert stacking(turns) == pytest.approx([0.5, 0.5], abs=1e-8)


def test_what_a_law_thinks_impossible_counts_against_it():
    weights = stacking(np.tile([0.0, -np.inf], (9, 1)))
    assert weights == pytest.approx([9.5 / 10, 0.5 / 10])
    for lost in ([[np.nan, 0.0]], [[-np.inf, -np.inf]]):
        with pytest.raises(
            bs.FitError,
            match="1 of 2 points have a log score that is not a num",
        ):
            stacking([[0.0, 0.0], *lost])


# -- allocation --------------------------------------------------------------------------------


def expected_loss(average: Average, N, C: float) -> np.ndarray:
    N = xr.DataArray(N, dims="choice")
    total = 0.0
    for name, fit in average.fits.items():
        loss = fit.law({"N": N, "D": C / (6 * N)}, fit.plan.scales, fit.posterior)
        total = total + average.weights[name] * loss.mean(SAMPLE).to_numpy()
    return total


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_an_average_of_one_law_allocates_like_its_fit(pair):
    for alone in (weigh({"a": pair["chinchilla"]}, 1.0), weigh(pair, 1.0, 0.0)):
        one = allocate(pair["chinchilla"], [1e20, 1e24]).data
        xr.testing.assert_equal(allocate(alone, [1e20, 1e24]).data, one)
        waste = regret(pair["chinchilla"], "7B", "15T").data
        xr.testing.assert_equal(regret(alone, "7B", "15T").data, waste)


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_the_draws_of_a_split_are_those_of_the_laws_by_weight(pair):
    C = [1e20, 1e24]
    both, one, two = (allocate(f, C).data for f in (weigh(pair, 0.25, 0.75), *pair.values()))
    assert both.sizes == one.sizes
    for name in ("N", "D", "tokens_per_param", "loss", "a", "b"):
        for chain in range(2):
            for budget in range(2):
                here = dict(chain=chain, budget=budget)
                mixed = both[name].isel(here).to_numpy()
                place = ((np.arange(10) + 0.5) * 4).astype(int)
                from_one = one[name].isel(here).to_numpy()[place]
                place = ((np.arange(30) + 0.5) * 40 / 30).astype(int)
                from_two = two[name].isel(here).to_numpy()[place]
                expected = np.sort(np.r_[from_one, from_two])
                # Arrays of another length may differ in the last digit.
                assert np.allclose(np.sort(mixed), expected, rtol=1e-12, atol=0), name
    # A draw's quantities stay together, whichever law it comes from.
    assert np.allclose(6 * both["N"] * both["D"], C, rtol=1e-12)
    assert (both["loss_decision"] >= both["loss"]).all()


@pytest.mark.parametrize("weight", [0.02, 0.5, 0.9])
def test_the_decision_minimises_the_loss_expected_over_laws(pair, weight):
    both, C = weigh(pair, weight, 1 - weight), 1e23
    best = allocate(both, C).data.isel(budget=0)
    N = np.geomspace(1e8, 1e13, 20001)
    expected = expected_loss(both, N, C)
    assert float(best["N_decision"]) == pytest.approx(N[expected.argmin()], rel=0.002)
    assert expected_loss(both, [float(best["N_decision"])], C)[0] <= expected.min()
    assert float(best["N_decision"] * best["D_decision"]) == pytest.approx(C / 6)


def test_the_decision_lies_between_those_of_the_laws(pair):
    one, two, both = (
        float(allocate(f, 1e23).data["N_decision"][0])
        for f in (*pair.values(), weigh(pair, 0.5, 0.5))
    )
    assert min(one, two) < both < max(one, two)


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_laws_far_apart_are_no_corner(by_hand, runs):
    """The decision is then all but the optimum of the heavy law, at one end of what is searched."""
    fits = {
        "chinchilla": by_hand(runs, "chinchilla", CHINCHILLA),
        "kaplan": by_hand(runs, "kaplan", {**KAPLAN, "alpha_N": 0.02, "alpha_D": 0.2}),
    }
    C = [1e22, 1e30]
    for weights, heavy in (((0.9999, 0.0001), "chinchilla"), ((0.0001, 0.9999), "kaplan")):
        best = allocate(weigh(fits, *weights), C).data
        alone = allocate(fits[heavy], C).data
        assert np.allclose(np.log(best["N_decision"]), np.log(alone["N_decision"]), atol=0.05)


def test_the_best_split_is_the_decision(pair):
    both, C = weigh(pair, 0.4, 0.6), np.array([1e20, 1e23])
    N, D = best_split(both, C)
    best = allocate(both, C).data
    assert np.array_equal(N, best["N_decision"])
    assert np.array_equal(D, best["D_decision"])


def test_regret_is_against_the_best_split_of_each_law(pair):
    both, one, two = (
        regret(f, "7B", "15T").data.isel(point=0) for f in (weigh(pair, 0.5, 0.5), *pair.values())
    )
    place = ((np.arange(20) + 0.5) * 2).astype(int)
    for name in ("excess_loss", "wasted_share"):
        halves = np.concatenate([d[name].isel(draw=place).to_numpy() for d in (one, two)], axis=1)
        assert np.array_equal(np.sort(both[name], axis=1), np.sort(halves, axis=1))
    assert (both["excess_loss"] >= 0).all()


def test_every_law_of_an_average_must_allocate(pair, by_hand, runs):
    power = by_hand(runs, "power", {"E": 1.5, "A": 1.0, "alpha": 0.3, **NOISE})
    fits = {**pair, "power": power}
    for ask in (
        lambda f: allocate(f, 1e22),
        lambda f: regret(f, 1e9, 1e10),
        lambda f: best_split(f, np.array([1e22])),
    ):
        with pytest.raises(bs.LawError, match="law 'power' has the columns C: "):
            ask(weigh(fits, 0.4, 0.4, 0.2))
        ask(weigh(fits, 0.5, 0.5, 0.0))


def test_a_law_with_its_best_split_at_a_corner_is_named(pair, by_hand, runs):
    def loss(N, D, *, A, x):
        return A * N**-x + 0 * D

    law = bs.Law("one-sided", loss, {"A": bs.Positive(1), "x": bs.Positive(0.3)}, "an example")
    fits = {**pair, "mine": by_hand(runs, law, {"A": 1.0, "x": 0.3, **NOISE}, draws=2)}
    with pytest.raises(bs.LawError, match=r"under law 'one-sided' no split .* is the best"):
        allocate(weigh(fits, 0.5, 0.4, 0.1), 1e22)


def test_groups_are_asked_of_every_law(by_hand, openlm):
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
    one = by_hand(openlm, "chinchilla", values, groups="dataset", pool=pool)
    pool = dict.fromkeys(KAPLAN, "complete")
    two = by_hand(openlm, "kaplan", KAPLAN, groups="dataset", pool=pool)
    both = weigh({"one": one, "two": two}, 0.5, 0.5)
    assert both.members() == [{"dataset": level} for level in one.plan.levels["dataset"]]
    split = allocate(both, 1e22, group="c4")
    assert split.group == " for c4"
    assert set(np.unique(split.data["N"].round())) == {
        float(allocate(f, 1e22, group="c4").data["N"][0, 0, 0].round()) for f in (one, two)
    }
    with pytest.raises(bs.FitError, match="no dataset 'pile'"):
        allocate(both, 1e22, group="pile")


def test_results_of_an_average_name_its_laws(pair):
    both = weigh(pair, 0.38, 0.62)
    split, waste = allocate(both, 1e22), regret(both, "7B", "15T")
    with pytest.warns(bs.ConvergenceWarning):
        texts = repr(split), repr(waste)
    assert (
        texts[0]
        .splitlines()[1]
        .startswith("<Allocation by average of kaplan (62 %) and chinchilla (38 %), 1 budget>")
    )
    assert "7B on 15T tokens" in texts[1]


# -- forecasts ---------------------------------------------------------------------------------

FAR = {"N": [1e9, 1e12], "D": [1e10, 1e13]}


@pytest.fixture
def apart(by_hand, runs) -> dict[str, bs.Fit]:
    """Two laws without uncertainty: one at a loss near 2, one near 4."""
    certain = {"A": 1e-9, "alpha": 0.1, "sigma": 1e-12, "nu": 5.0}
    return {
        "power(N)": by_hand(runs, "power(N)", {"E": 2.0, **certain}),
        "power(D)": by_hand(runs, "power(D)", {"E": 4.0, **certain}),
    }


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.8])
def test_a_forecast_has_of_each_law_as_many_draws_as_its_weight(apart, weight):
    ahead = bs.forecast(weigh(apart, weight, 1 - weight), N=1e9, D=1e10)
    low = ahead.data["loss"] < 3
    assert low.mean("draw").to_numpy() == pytest.approx(np.full((2, 1), weight))
    assert ahead.beats(3.0)[0] == pytest.approx(weight)
    assert ahead.noise["centre"].to_numpy() == pytest.approx(np.log(ahead.data["mean"]).to_numpy())


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_an_average_of_one_law_forecasts_like_its_fit(pair):
    for alone in (weigh({"a": pair["chinchilla"]}, 1.0), weigh(pair, 1.0, 0.0)):
        one = bs.forecast(pair["chinchilla"], **FAR, random_seed=3)
        same = bs.forecast(alone, **FAR, random_seed=3)
        xr.testing.assert_equal(same.data, one.data)
        xr.testing.assert_equal(same.noise, one.noise)


def test_compute_alone_takes_the_best_split_of_the_average(pair):
    both = weigh(pair, 0.4, 0.6)
    split = allocate(both, [1e20, 1e21]).data
    for ahead in (
        bs.forecast(both, C=[1e20, 1e21]),
        bs.forecast(both, pd.DataFrame({"C": [1e20, 1e21]})),
    ):
        for c in "ND":
            assert np.array_equal(ahead.data[c], split[f"{c}_decision"])


def test_an_average_needs_the_columns_of_all_its_laws(pair, by_hand, runs):
    power = by_hand(runs, "power", {"E": 1.5, "A": 1.0, "alpha": 0.3, **NOISE})
    both = weigh({"power": power, "kaplan": pair["kaplan"]}, 0.5, 0.5)
    with pytest.raises(bs.FitError, match="needs C, N, D, and N, D cannot be derived from C"):
        bs.forecast(both, C=1e21)
    assert float(bs.forecast(both, N=1e9, D=1e10).data["C"][0]) == 6e19


def drift_of(fit, seed=1) -> float:
    """Standard deviation of the drift of log loss at the far point."""
    data = np.log(bs.forecast(fit, **FAR, random_seed=seed).data)
    return float((data["mean"] - data["law"]).isel(point=1).std())


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_laws_of_an_average_drift_less_unless_the_user_set_a_prior(by_hand, runs):
    """A prior that equals the default for one law is still the user's own."""

    def fits(**options):
        return {
            name: by_hand(runs, "chinchilla", CHINCHILLA, draws=400, **options) for name in "ab"
        }

    default = fits()
    of_one, of_several = (default["a"].plan.drift_ahead(averaged) for averaged in (False, True))
    same = fits(priors={"drift": of_one})
    assert drift_of(same["a"]) == drift_of(default["a"])
    # Both forecasts draw from the same seed, so widths differ by the ratio of the medians.
    ratio = of_several.median / of_one.median
    assert ratio < 1
    averaged, own = (drift_of(weigh(f, 0.5, 0.5)) for f in (default, same))
    assert averaged / own == pytest.approx(ratio, rel=1e-6)


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_the_drift_of_an_average_can_be_left_out(pair):
    data = bs.forecast(weigh(pair, 0.5, 0.5), **FAR, drift="off").data
    assert (data["mean"] == data["law"]).all()


def test_an_average_warns_once_and_points_at_its_caller(pair):
    with pytest.warns(bs.ExtrapolationWarning, match="1 point") as caught:
        bs.forecast(weigh(pair, 0.5, 0.5), **FAR)
    assert [w.filename for w in caught] == [__file__]

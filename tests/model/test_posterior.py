"""Parameters of groups that were fitted, and of groups that nobody has seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

import bayescale as bs
from bayescale import laws
from bayescale.model.noise import NOISE
from bayescale.model.posterior import (
    NEW,
    at_runs,
    log_likelihood,
    parameters,
    run_groups,
    settle_groups,
)
from bayescale.model.specify import design
from bayescale.priors import to_link

LEVELS = ("c4", "redpajama", "refinedweb")
BASE = {"E": 1.7, "A": 0.5, "alpha": 0.3, "sigma": 0.01, "nu": 5.0}
COMPLETE = dict.fromkeys(BASE, "complete")
CROSSED = ("dataset", "architecture")


@pytest.fixture
def grouped(by_hand, openlm):
    """E differs between corpora by known factors, the same in every one of many draws."""
    values = BASE | {"E_dataset": [1.5, 1.7, 2.0], "E_dataset_scale": 0.2}
    return by_hand(
        openlm, "power(D)", values, groups="dataset", pool=COMPLETE | {"E": "partial"}, draws=10_000
    )


@pytest.fixture
def unpooled(by_hand, openlm):
    """Every corpus has an E of its own, and there is no population."""
    values = {k: v for k, v in BASE.items() if k != "E"} | {"E_dataset": [1.5, 1.7, 2.0]}
    return by_hand(
        openlm, "power(D)", values, groups="dataset", pool=COMPLETE | {"E": "none"}, draws=10_000
    )


@pytest.fixture
def crossed(by_hand, openlm):
    """E differs over two columns."""
    runs = openlm.query("tokens_per_param == 20")
    widths = runs.table["architecture"].nunique()
    values = BASE | {
        "E_dataset": [1.5, 1.7, 2.0],
        "E_dataset_scale": 0.3,
        "E_architecture": np.linspace(1.0, 2.0, widths),
        "E_architecture_scale": 0.4,
    }
    return by_hand(
        runs, "power(D)", values, groups=CROSSED, pool=COMPLETE | {"E": "partial"}, draws=10_000
    )


def only(array) -> float:
    values = np.unique(array)
    assert np.ptp(values) <= 1e-14
    return float(values[0])


def assert_normal(draws, mean: float, sd: float) -> None:
    """Mean, spread and quantiles of many draws, within four standard errors."""
    values = np.ravel(draws)
    n = values.size
    assert abs(values.mean() - mean) < 4 * sd / np.sqrt(n)
    assert abs(values.std() - sd) < 4 * sd / np.sqrt(2 * n)
    assert abs((np.abs(values - mean) < 0.6744898 * sd).mean() - 0.5) < 4 * 0.5 / np.sqrt(n)


# -- the argument `group=` ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "settled"),
    [
        (None, NEW),
        (NEW, NEW),
        (float("nan"), NEW),
        ("c4", "c4"),
        ({"dataset": "c4"}, "c4"),
        ({}, NEW),
        ({"dataset": None}, NEW),
        (["c4", None, "c4"], ["c4", NEW, "c4"]),
        (np.array(["c4", "redpajama"]), ["c4", "redpajama"]),
        ({"dataset": ("c4",)}, ["c4"]),
    ],
)
def test_groups_are_settled_as_labels(grouped, group, settled):
    assert settle_groups(grouped.plan, group) == {"dataset": settled}


def test_without_groups_there_is_nothing_to_settle(openlm):
    plan = design(openlm, laws.get("power(D)"))
    assert settle_groups(plan, None) == settle_groups(plan, {}) == {}
    with pytest.raises(bs.FitError, match="this fit has no groups, but group='c4' was given"):
        settle_groups(plan, "c4")


@pytest.mark.parametrize(
    ("group", "problems"),
    [
        (
            "c5",
            ["no dataset 'c5'. Did you mean 'c4'? There are: c4, redpajama, refinedweb, (new)."],
        ),
        (4, ["no dataset '4'"]),
        (
            ["c4", "c5", "c5", "pile"],
            ["no dataset 'c5'", "no dataset 'pile'", "4 labels of dataset"],
        ),
        (["c4"], ["1 labels of dataset for 2 points"]),
        ({"corpus": "c4"}, ["no group column 'corpus'. There are: dataset."]),
        ({"datasets": "c4", "dataset": "c5"}, ["no group column 'datasets'", "no dataset 'c5'"]),
    ],
)
def test_unknown_groups_are_refused_all_at_once(grouped, group, problems):
    with pytest.raises(bs.FitError) as caught:
        settle_groups(grouped.plan, group, size=2)
    assert len(caught.value.problems) == len(problems)
    for problem, expected in zip(caught.value.problems, problems, strict=True):
        assert expected in problem


def test_several_columns_need_a_mapping(crossed):
    for group in ("c4", ["c4"]):
        with pytest.raises(bs.FitError, match="give group= as a mapping"):
            settle_groups(crossed.plan, group)
    assert settle_groups(crossed.plan, {"dataset": "c4"}) == {"dataset": "c4", "architecture": NEW}
    assert settle_groups(crossed.plan, None) == {"dataset": NEW, "architecture": NEW}


# -- one group column --------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["grouped", "unpooled"])
def test_a_group_that_was_fitted_has_its_own_parameters(fit, request):
    fit = request.getfixturevalue(fit)
    for level, E in zip(LEVELS, (1.5, 1.7, 2.0), strict=True):
        here = fit.parameters(level)
        assert only(here["E"]) == pytest.approx(E, rel=1e-14)
        assert {p: only(here[p]) for p in ("A", "alpha", "sigma", "nu")} == {
            k: v for k, v in BASE.items() if k != "E"
        }
        assert set(here.dims) == {"chain", "draw"}


def test_a_new_group_scatters_around_the_population_by_its_scale(grouped):
    new = grouped.parameters()
    assert_normal(np.log(new["E"]), np.log(1.7), 0.2)
    assert only(new["A"]) == 0.5


def test_a_new_group_is_wider_than_the_population_by_its_scale(by_hand, openlm):
    """Variances add: the population's own uncertainty, and the spread between groups."""
    rng = np.random.default_rng(1)
    E = 1.7 * np.exp(0.15 * rng.standard_normal((2, 10_000)))
    values = BASE | {"E": E, "E_dataset": 1.6, "E_dataset_scale": 0.2}
    fit = by_hand(
        openlm, "power(D)", values, groups="dataset", pool=COMPLETE | {"E": "partial"}, draws=10_000
    )
    new = np.log(fit.parameters()["E"])
    assert_normal(new, np.log(1.7), np.hypot(0.15, 0.2))
    assert np.corrcoef(np.ravel(new), np.log(E).ravel())[0, 1] == pytest.approx(0.6, abs=0.02)


def test_without_pooling_a_new_group_is_drawn_from_the_prior(unpooled):
    prior = laws.power.priors["E"].in_units_of(
        float(np.exp(np.log(unpooled.runs.table["loss"]).mean()))
    )
    assert_normal(np.log(unpooled.parameters()["E"]), prior.centre, prior.width)


def test_a_fraction_scatters_on_its_log_odds(by_hand, openlm):
    values = BASE | {"alpha": 0.8, "alpha_dataset": [0.7, 0.8, 0.9], "alpha_dataset_scale": 0.5}
    fit = by_hand(
        openlm,
        "power(D)",
        values,
        groups="dataset",
        draws=10_000,
        pool=COMPLETE | {"alpha": "partial"},
        priors={"alpha": bs.Fraction(0.5)},
    )
    assert_normal(to_link("logit", fit.parameters()["alpha"]), np.log(4), 0.5)
    assert only(fit.parameters("refinedweb")["alpha"]) == pytest.approx(0.9, rel=1e-14)


def test_an_array_of_groups_gives_one_value_per_point(grouped):
    settled = settle_groups(grouped.plan, ["refinedweb", "c4", None, "c4"])
    E = parameters(grouped.posterior, grouped.plan, settled, np.random.default_rng(1), ["E"])["E"]
    assert E.sizes == {"chain": 2, "draw": 10_000, "point": 4}
    assert [only(E.isel(point=i)) for i in (0, 1, 3)] == pytest.approx([2.0, 1.5, 1.5], rel=1e-14)
    assert_normal(np.log(E.isel(point=2)), np.log(1.7), 0.2)


def test_points_of_one_new_group_share_it(grouped):
    settled = settle_groups(grouped.plan, [None, None])
    E = parameters(grouped.posterior, grouped.plan, settled, np.random.default_rng(1), ["E"])["E"]
    assert np.array_equal(E.isel(point=0), E.isel(point=1))


def test_a_new_group_is_the_same_again_with_the_same_seed(grouped):
    assert grouped.parameters().identical(grouped.parameters())
    first, second = (
        parameters(grouped.posterior, grouped.plan, {"dataset": NEW}, np.random.default_rng(seed))[
            "E"
        ]
        for seed in (1, 2)
    )
    assert not (first == second).any()


# -- two group columns -------------------------------------------------------------------------


def test_effects_of_crossed_columns_add_on_the_link_scale(crossed):
    widths = crossed.plan.levels["architecture"]
    E = crossed.parameters({"dataset": "refinedweb", "architecture": widths[0]})["E"]
    assert only(E) == pytest.approx(2.0 * 1.0 / 1.7, rel=1e-14)
    E = crossed.parameters({"dataset": "redpajama", "architecture": widths[-1]})["E"]
    assert only(E) == pytest.approx(1.7 * 2.0 / 1.7, rel=1e-14)


def test_a_new_label_of_one_column_scatters_around_the_other(crossed):
    E = crossed.parameters({"dataset": "c4"})["E"]
    assert_normal(np.log(E), np.log(1.5), 0.4)


def test_what_is_new_in_both_columns_scatters_by_both(crossed):
    assert_normal(np.log(crossed.parameters()["E"]), np.log(1.7), np.hypot(0.3, 0.4))


# -- the fitted runs ---------------------------------------------------------------------------


def test_residuals_are_of_each_runs_own_group(grouped, openlm):
    here = at_runs(grouped.posterior.isel(draw=slice(3)), grouped.plan)
    own = np.array(
        [{"c4": 1.5, "redpajama": 1.7, "refinedweb": 2.0}[d] for d in openlm.table["dataset"]]
    )
    law = own + 0.5 * (openlm.table["D"] / openlm.scales["D"]) ** -0.3
    assert run_groups(grouped.plan) == {"dataset": openlm.table["dataset"].tolist()}
    assert here["residual"].shape == here["sigma"].shape == here["nu"].shape == (6, 104)
    assert np.allclose(here["residual"], np.log(openlm.table["loss"] / law), rtol=1e-12)
    measured = openlm.table["loss_sd"] / openlm.table["loss"]
    assert np.allclose(here["sigma"], np.hypot(0.01, measured), rtol=1e-12)
    assert (here["nu"] == 5).all()


def test_the_log_likelihood_is_the_density_of_the_residuals(grouped):
    few = grouped.posterior.isel(draw=slice(3))
    here, density = at_runs(few, grouped.plan), log_likelihood(few, grouped.plan)
    assert density.sizes == {"chain": 2, "draw": 3, "run": 104}
    expected = t.logpdf(here["residual"] / here["sigma"], 5) - np.log(here["sigma"])
    assert np.allclose(density.to_numpy().reshape(6, 104), expected, rtol=1e-12)
    assert density["run"].to_numpy().tolist() == [str(i) for i in grouped.runs.table.index]


def test_the_noise_is_pooled_partially_in_scale_and_completely_in_tail(openlm):
    plan = design(openlm, laws.get("power(D)"), "dataset")
    assert set(NOISE) == {"sigma", "nu"}
    assert [e.pooling for e in plan.parameter("sigma").effects] == ["partial"]
    assert plan.parameter("nu").effects == ()

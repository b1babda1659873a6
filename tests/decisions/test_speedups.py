"""Compute multipliers: closed forms, floors, crossings, pairing of draws, messages."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.decisions.paths import MOST_TIMES, at_scale, crossing
from bayescale.forecasting import reached
from bayescale.model import Check

LEVELS = ("A", "B", "C")
BASE = dict(E=1.7, A=0.5, B=0.5, alpha=0.34, beta=0.34, sigma=0.005, nu=8.0)


def runs_of(levels=LEVELS, unit="nats per token") -> bs.Runs:
    N = np.geomspace(1e7, 1e9, 6)
    D = N * np.where(np.arange(6) % 2, 40.0, 10.0)
    frame = pd.DataFrame({"N": N, "D": D})
    frame["loss"] = 1.7 + 400 * N**-0.34 + 400 * D**-0.34
    frame = pd.concat([frame.assign(recipe=g) for g in levels], ignore_index=True)
    return bs.Runs.from_frame(frame, groups="recipe", loss_unit=unit)


@pytest.fixture(scope="module")
def made(by_hand):
    """A fit by hand whose draws are equal, with an empty check."""

    def make(*arguments, **options):
        fit = by_hand(*arguments, **options)
        fit.__dict__["_check"] = Check((), None)
        return fit

    return make


@pytest.fixture(scope="module")
def grouped(made):
    """Three recipes: B needs 1.5 times less compute than A, C twice as much as A."""

    def make(**changes):
        values = {}
        for name, value in BASE.items():
            values[name] = value
            if name in ("sigma", "nu"):
                continue
            values[f"{name}_recipe_scale"] = 0.1
            values[f"{name}_recipe"] = np.array([value] * 3)
        # Along a constant ratio, N and D grow with the root of compute.
        power = np.array([1.0, 1.5, 0.5]) ** -(0.34 / 2)
        values["A_recipe"], values["B_recipe"] = 0.5 * power, 0.5 * power
        values |= changes
        return made(
            runs_of(),
            "chinchilla",
            values,
            groups="recipe",
            pool={"sigma": "complete", "nu": "complete"},
        )

    return make


def single(made, amplitude=0.5, law="chinchilla", unit="nats per token", **values):
    values = {**BASE, "A": amplitude, "B": amplitude, **values}
    return made(runs_of("A", unit), law, values)


def test_the_multiplier_of_equal_exponents_is_exact_at_all_scales(grouped):
    found = bs.speedup(grouped(), "B", over="A", at=[1e18, 1e20, 1e22], along=20, drift="off")
    np.testing.assert_allclose(found.data["multiplier"], 1.5, rtol=1e-3)
    assert (found.p_better == 1).all()
    assert (found.p_unlimited == 0).all()
    assert found.p_crosses == 0
    worse = bs.speedup(grouped(), "C", over="A", at=1e20, along=20, drift="off")
    np.testing.assert_allclose(worse.data["multiplier"], 0.5, rtol=1e-3)
    assert worse.p_better == 0


def test_the_multiplier_of_different_exponents_solves_the_law(grouped):
    """The compute found for A gives the loss of B under the formula itself."""
    fit = grouped(alpha_recipe=np.array([0.30, 0.36, 0.34]), E_recipe=np.array([1.72, 1.7, 1.7]))
    found = bs.speedup(fit, "B", over="A", at=[1e19, 3e20], along=20, drift="off")
    for i, C in enumerate((1e19, 3e20)):
        m = float(found.data["multiplier"].isel(point=i).mean())
        one, two = (loss_at(fit, g, c, 20.0) for g, c in (("B", C), ("A", m * C)))
        assert two == pytest.approx(one, rel=1e-5)
        assert float(found.data["loss"].isel(point=i).mean()) == pytest.approx(one, rel=1e-9)
        difference = loss_at(fit, "A", C, 20.0) - one
        assert float(found.data["difference"].isel(point=i).mean()) == pytest.approx(difference)


def loss_at(fit, group, C, ratio) -> float:
    N = np.sqrt(C / (6 * ratio))
    values = {n: float(v[0, 0]) for n, v in fit.parameters(group).items()}
    return float(fit.law({"N": N, "D": ratio * N}, fit.plan.scales, values))


def test_a_target_loss_is_reached_by_both(grouped):
    fit = grouped()
    target = loss_at(fit, "B", 2e20, 20.0)
    found = bs.speedup(fit, "B", over="A", loss=target, along=20, drift="off")
    assert float(found.data["at"][0]) == pytest.approx(2e20, rel=2e-3)
    np.testing.assert_allclose(found.data["multiplier"], 1.5, rtol=2e-3)
    assert "For a loss of" in found.bottom_line()
    with pytest.raises(bs.FitError, match="no draw of the first recipe reaches"):
        bs.speedup(fit, "B", over="A", loss=1.5, drift="off")


def test_along_best_paths_each_recipe_has_its_own_split(grouped):
    """A recipe with a large data term trains smaller models; closed form of allocate."""
    fit = grouped(B_recipe=np.array([0.5, 1.0, 0.5]))
    C = 1e20
    found = bs.speedup(fit, "B", over="A", at=C, along="best", drift="off")
    best = [bs.allocate(fit, C, group=g, drift="off") for g in ("A", "B")]
    assert float(best[0].data["N_decision"][0]) > 1.2 * float(best[1].data["N_decision"][0])
    loss = float(best[1].data["loss"].mean())
    assert float(found.data["loss"].mean()) == pytest.approx(loss, rel=1e-5)
    needed = float(found.data["multiplier"].mean()) * C
    again = bs.allocate(fit, needed, group="A", drift="off")
    assert float(again.data["loss"].mean()) == pytest.approx(loss, rel=1e-5)


def test_without_drift_shared_uncertainty_cancels(grouped):
    """Recipes with equal floors that vary together between draws have an exact multiplier."""
    floors = np.random.default_rng(0).normal(1.7, 0.1, (2, 10, 1)) * np.ones(3)
    found = bs.speedup(grouped(E_recipe=floors), "B", over="A", at=1e20, along=20, drift="off")
    np.testing.assert_allclose(found.data["multiplier"], 1.5, rtol=1e-3)
    assert float(found.data["loss"].std()) > 0.05


def test_the_drift_beyond_the_runs_is_included(grouped):
    fit = grouped()
    near, far = (
        bs.speedup(fit, "B", over="A", at=C, along=20, random_seed=3).data["multiplier"]
        for C in (1e17, 2e22)
    )
    assert float(near.std()) < 1e-3
    assert float(np.log(far).std()) > 0.1
    again = bs.speedup(fit, "B", over="A", at=2e22, along=20, random_seed=3)
    np.testing.assert_array_equal(again.data["multiplier"], far)


def test_the_points_of_one_recipe_share_their_drift(grouped):
    """Multipliers a little apart nearly agree, though each is uncertain."""
    found = bs.speedup(grouped(), "B", over="A", at=[2e22, 2.1e22], along=20)
    one, two = (np.log(found.data["multiplier"].isel(point=i)) for i in (0, 1))
    assert float((one - two).std()) < 0.2 * float(one.std())


def test_a_floor_above_the_loss_has_no_limit(grouped):
    floors = np.tile([1.7, 1.7, 1.7], (2, 10, 1))
    floors[0, :, 0] = 2.1
    found = bs.speedup(grouped(E_recipe=floors), "B", over="A", at=1e22, along=20, drift="off")
    assert found.p_unlimited == 0.5
    assert (found.data["multiplier"][:, :10] == MOST_TIMES).all()
    np.testing.assert_allclose(found.data["multiplier"][:, 10:], 1.5, rtol=1e-3)
    assert any("its floor lies too high" in caution for caution in found.cautions())
    np.testing.assert_allclose(found.data["floor_over"], floors[..., 0].reshape(1, -1), rtol=1e-6)
    table = found.by_floor()
    assert table["floor_difference"].is_monotonic_increasing
    assert table["multiplier"].iloc[-1] == MOST_TIMES
    assert table["multiplier"].iloc[0] == pytest.approx(1.5, rel=1e-3)
    assert found.floor_share == pytest.approx(1.0)


def test_where_the_curves_cross(made):
    """Power laws of compute, with a crossing in closed form."""
    frame = pd.DataFrame({"C": np.geomspace(1e18, 1e21, 6)})
    runs = bs.Runs.from_frame(frame.assign(loss=3 * (frame["C"] / 1e20) ** -0.05))
    values = dict(E=1e-12, A=3.0, alpha=0.05, sigma=0.005, nu=8.0)
    one = made(runs, "power", {**values, "alpha": 0.06})
    two = made(runs, "power", values)
    centre = one.plan.scales["C"]
    found = bs.speedup(one, over=two, at=1e21, drift="off")
    assert found.p_crosses == 1
    np.testing.assert_allclose(found.data["crossing"], centre, rtol=1e-6)
    expected = (1e21 / centre) ** (0.06 / 0.05 - 1)
    np.testing.assert_allclose(found.data["multiplier"], expected, rtol=1e-3)
    told = " ".join(found.cautions())
    assert "with 100 % probability the two change places somewhere between the smallest" in told
    assert found.along == ""
    both = bs.speedup(one, over=two, drift="off")  # both ends of the runs, on both sides of it
    first, last = both.data["multiplier"].median(("chain", "draw")).to_numpy()
    assert both.data["at"].values.tolist() == pytest.approx([1e18, 1e21])
    assert first < 1 < last
    assert f" At 1e18 FLOP it needs {first:.3g} times the compute (" in both.bottom_line()


def test_both_ends_are_told_only_if_they_differ(grouped):
    equal = bs.speedup(grouped(), "B", over="A", along=20, drift="off")
    assert equal.data.sizes["point"] == 2
    assert equal.bottom_line().count(" needs ") == 1


def test_two_fits_are_compared(made):
    fits = [single(made, 0.5 * m ** -(0.34 / 2)) for m in (1.25, 1.0)]
    found = bs.speedup(fits[0], over=fits[1], at=1e20, along=20, drift="off")
    np.testing.assert_allclose(found.data["multiplier"], 1.25, rtol=1e-3)
    assert "the first recipe is better than the second recipe" in found.bottom_line()
    assert len(found.best) == 0
    drifts = bs.speedup(fits[1], over=fits[1], at=2e22, along=20)
    assert float(np.log(drifts.data["multiplier"]).std()) > 0.1  # the drifts are independent


def test_an_average_of_laws(grouped):
    fit = grouped()
    average = bs.Average({"one": fit, "two": fit}, {"one": 0.5, "two": 0.5})
    found = bs.speedup(average, "B", over="A", at=1e20, along=20, drift="off")
    np.testing.assert_allclose(found.data["multiplier"], 1.5, rtol=1e-3)


def test_the_best_of_all_groups(grouped):
    amplitude = np.tile([0.5, 0.45, 0.55], (2, 10, 1))
    amplitude[:, :4, 2] = 0.4
    found = bs.speedup(
        grouped(A_recipe=amplitude, B_recipe=amplitude), "B", over="A", at=1e20, drift="off"
    )
    best = found.best.set_index("group")["p_best"]
    assert best.to_dict() == {"B": 0.6, "A": 0.0, "C": 0.4}
    assert "P(best) at 1e20 FLOP: B 0.60, A 0.00, C 0.40" in repr(found)


def test_the_answer_comes_first(grouped):
    found = bs.speedup(grouped(), "B", over="A", at=[1e19, 1e20], along=20, drift="off")
    assert found.bottom_line().startswith(
        "At 1e20 FLOP and 20 tokens per parameter, B is better than A with more than 99 % "
        "probability: A needs 1.5 times the compute for the same loss (90 % 1.5 to 1.5). "
    )
    assert repr(found).startswith(found.bottom_line())
    assert found._repr_html_().startswith("<p><strong>At 1e20 FLOP")
    table = found.summary()
    assert table["C"].tolist() == [1e19, 1e20]
    assert {"multiplier", "multiplier_eti90_lb", "p_better", "floor_share"} <= set(table)
    assert len(found.to_dataframe()) == 2 * 20
    assert set(found.to_dataframe("summary")["variable"]) == {"multiplier", "difference", "loss"}


def test_a_multiplier_that_may_be_anything_is_not_stated(grouped):
    times = np.linspace(-1.5, 1.5, 10)[:, None] * np.array([0.0, 1.0, 0.0])
    values = 0.5 * np.exp(-0.17 * np.log(10) * times)  # (draw, recipe): .03 to 30 times for B
    fit = grouped(A_recipe=values, B_recipe=values)
    told = bs.speedup(fit, "B", over="A", at=1e20, along=20, drift="off").bottom_line()
    assert "how much compute A needs for the same loss cannot be told, between 0.0" in told
    assert "A needs" not in told.split("how much compute A needs")[0]


def test_by_default_at_both_ends_of_the_runs_that_both_have(grouped):
    found = bs.speedup(grouped(), "B", over="A", drift="off")
    assert found.data["at"].values.tolist() == pytest.approx([6 * 1e15, 6 * 40 * 1e18])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(group="B", over="B"), "B is compared with itself"),
        (dict(group="X", over="A"), "there is no recipe 'X'"),
        (dict(group=None, over="A"), "this fit has groups: name the one to compare"),
        (dict(group="B", over=None), "over= is None"),
        (dict(group="B", over="A", at=1e20, loss=2.0), "at= and loss= are both given"),
        (dict(group="B", over="A", along="worst"), "along is 'worst'"),
        (dict(group="B", over="A", drift="on"), "there is no drift 'on'"),
        (dict(group="B", over="A", S=3.0), "there is no column 'S'"),
        (dict(group=["A", "B"], over="A"), "give one label"),
    ],
)
def test_unusable_arguments_are_named(grouped, arguments, message):
    with pytest.raises(bs.FitError, match=message):
        bs.speedup(grouped(), **arguments)


def test_losses_in_different_units_are_refused(made):
    fits = [single(made, unit=unit) for unit in ("nats per token", "bits per byte")]
    with pytest.raises(bs.FitError, match="in different units"):
        bs.speedup(fits[0], over=fits[1])
    with pytest.raises(bs.FitError, match="no groups"):
        bs.speedup(fits[0], "B", over="A")


def test_curves_are_searched_without_loops_over_draws():
    x = np.linspace(0.0, 10.0, 101)
    slopes = np.array([[0.5], [1.0], [0.0]])
    curves = -slopes * x
    found = reached(x, curves, np.array([[-2.03], [-2.03], [-2.03]]))
    np.testing.assert_allclose(found[:, 0], [4.06, 2.03, np.inf])
    assert reached(x, curves, np.full((3, 1), 1.0))[0, 0] == -np.inf
    np.testing.assert_allclose(at_scale(x, curves, np.full((3, 1), 3.33))[:, 0], [-1.665, -3.33, 0])
    where = crossing(x, np.stack([x - 3.21, x + 1.0, -(x - 2.0) * (x - 5.04)]))
    np.testing.assert_allclose(where, [3.21, np.nan, 5.04], atol=1e-2)

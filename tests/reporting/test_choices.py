"""Decisions in a report: costs, compute multipliers and next runs."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs
from bayescale.model.checks import Check
from bayescale.reporting.answers import findings, main_group

pytestmark = [
    pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning"),
    pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning"),
]
COST = bs.Cost("H100", mfu=0.4, price=2.0)


def values_of(draws: int, **more) -> dict:
    rng = np.random.default_rng(1)
    values = {"E": 1.8, "A": 1.0, "B": 0.7, "alpha": 0.3, "beta": 0.28, "sigma": 0.02, "nu": 5.0}
    values |= more
    return {
        k: v * np.exp(0.02 * rng.standard_normal((2, draws, *np.shape(v))))
        for k, v in values.items()
    }


@pytest.fixture
def fit(by_hand, openlm):
    return by_hand(openlm.query("dataset == 'c4'"), "chinchilla", values_of(300), draws=300)


@pytest.fixture
def recipes(by_hand, openlm):
    pool = dict.fromkeys(("E", "A", "alpha", "beta", "sigma"), "complete") | {"B": "partial"}
    values = values_of(100, B_dataset_scale=0.1, B_dataset=np.array([0.6, 0.7, 0.8]))
    return by_hand(openlm, "chinchilla", values, draws=100, groups="dataset", pool=pool)


def titles(found) -> list[str]:
    return [section.title for section in found.decisions.sections()]


def test_budgets_have_a_price(fit):
    found = findings(fit, [1e22, "$2M"], None, COST)
    bill = found.decisions.bill
    assert bill.data["dollars"].to_numpy()[0, 0].tolist() == pytest.approx(
        [2 * 1e22 / (3600 * 989.4e12 * 0.4), 2e6]
    )
    (table,) = [t for t in found.tables if t.title.startswith("Cost")]
    assert [row[2] for row in table.rows] == ["14K (14K to 14K)", "2M (2M to 2M)"]
    assert "$2M" in found.decisions.sections()[0].how


def test_the_next_step_has_a_price_and_names_the_runs_to_train(fit):
    fit.__dict__["_check"] = Check((), None)
    step = findings(fit, [90 * float(fit.runs.table["C"].max())], None, COST).next_step
    assert "H100 hours, $" in step
    assert "'Runs to train next'" in step


def test_small_runs_are_suggested_for_budgets_that_were_given(fit):
    given = findings(fit, [1e23], None, COST).decisions.suggestion
    assert given.runs["total_cost"].iloc[-1] <= 0.05 * 1e23 * (1 + 1e-6)
    split = bs.allocate(fit, 1e23)
    assert float(given.target["N"].iloc[0]) == pytest.approx(float(split.data["N_decision"][0]))
    assert findings(fit, None).decisions.suggestion is None


def test_the_suggestion_begins_with_the_width_of_the_forecast_that_is_shown(fit, recipes):
    """Two sections about one run have one interval."""
    for one in (fit, recipes):
        found, labels = findings(one, [1e22, 1e23]), main_group(one) or {}
        forecasts = [r for r in found.results if isinstance(r, bs.Forecast)]
        (shown,) = [f for f in forecasts if all(f.data[g][0] == v for g, v in labels.items())]
        loss = np.log(shown.data["loss"].isel(point=1))
        low, high = loss.quantile([0.05, 0.95], ("chain", "draw"))
        assert found.decisions.suggestion.widths(0.9)[0] == pytest.approx(float(high - low))


def test_recipes_are_compared_with_the_best(recipes):
    found = findings(recipes, [1e22])
    first, second = found.decisions.speedups
    names = recipes.plan.levels["dataset"]
    assert [first.name, first.over, second.over] == list(names)
    assert "Which recipe is better" in titles(found)
    (table,) = [t for t in found.tables if t.title.startswith("Compute multipliers")]
    alone = bs.speedup(recipes, names[0], over=names[1], random_seed=recipes.random_seed)
    assert f"{float(alone.data['multiplier'].median()):.3g} (" in table.rows[0][1]


def test_one_recipe_is_compared_with_none(fit):
    found = findings(fit, [1e22])
    assert found.decisions.speedups == ()
    assert titles(found) == ["What the budgets cost", "Runs to train next"]


def test_without_budgets_in_flop_there_is_nothing_to_pay(by_hand, openlm):
    values = {k: v for k, v in values_of(50).items() if k in ("E", "A", "alpha", "sigma", "nu")}
    fit = by_hand(openlm.query("dataset == 'c4'"), "power(D)", values, draws=50)
    assert titles(findings(fit, [1e22])) == []


def test_the_page_shows_decisions_once(fit, tmp_path):
    page = bs.report(fit, tmp_path, C=["$20k"], cost=COST).read_text("utf-8")
    for title in ("What the budgets cost", "Runs to train next"):
        assert page.count(f"<h2>{title}</h2>") == 1
    assert "$20k is taken as" in page


def test_one_budget_needs_no_list(fit):
    one, listed = findings(fit, "1e22"), findings(fit, ["1e22"])
    assert one.answers == listed.answers
    assert one.budgets == listed.budgets == (1e22,)

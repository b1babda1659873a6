"""Decisions in a report: costs, compute multipliers and next runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bayescale as bs
from bayescale.model.checks import Check
from bayescale.reporting import choices, tables
from bayescale.reporting.answers import findings, main_group
from bayescale.reporting.choices import compared_recipes, same_order
from bayescale.units import times_in_words

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


#: Groups whose exponents of N differ, with nearly the same loss at the runs.
CROSSING = dict(
    draws=200,
    groups="dataset",
    pool=dict.fromkeys(("E", "A", "B", "beta", "sigma"), "complete") | {"alpha": "partial"},
)


def crossing_values(draws: int) -> dict:
    alpha = np.array([0.30, 0.301, 0.299])
    values = values_of(draws, alpha_dataset_scale=0.1, alpha_dataset=alpha)
    return values


def with_largest_run_of(fit: bs.Fit, label: str) -> bs.Fit:
    """The same posterior for runs of which the largest is of one group."""
    table = fit.runs.table.copy()
    table.loc[table["C"].idxmax(), "dataset"] = label
    runs = bs.Runs.from_frame(table[["N", "D", "loss", "dataset"]], groups="dataset")
    plan = replace(fit.plan, runs=runs)
    return bs.Fit(plan, fit.posterior, fit.stats, 0)


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


def test_the_next_step_is_to_train_the_suggested_runs(fit):
    fit.__dict__["_check"] = Check((), None)
    found = findings(fit, [90 * float(fit.runs.table["C"].max())], None, COST)
    suggested, step = found.decisions.suggestion.runs, found.next_step
    assert "H100 hours, $" in step
    number = "run" if len(suggested) == 1 else f"{len(suggested)} runs"
    spent = bs.units.format_flop(suggested["total_cost"].iloc[-1])
    assert f"train the {number} under 'Runs to train next' ({spent} FLOP in all" in step
    assert "one run in between" not in step
    largest = suggested.loc[suggested["cost"].idxmax()]
    ahead = bs.forecast(fit, N=largest["N"], D=largest["D"])
    low, high = np.quantile(ahead.data["loss"], [0.05, 0.95])
    assert f"({low:.3f} to {high:.3f})" in step
    times = float(ahead.data["C"][0] / fit.runs.table["C"].max())
    assert ("It has" in step) == (times >= 3)


def test_the_next_step_warns_of_a_run_far_beyond_the_others(fit):
    """Such a run is a candidate of a budget that is some thousand times the largest run."""
    fit.__dict__["_check"] = Check((), None)
    found = findings(fit, [8000 * float(fit.runs.table["C"].max())], None, COST)
    largest = found.decisions.suggestion.runs["cost"].max() / fit.runs.table["C"].max()
    assert largest > 3
    expected = f"It has {times_in_words(largest)} times the compute of the largest fitted run, "
    assert expected in found.next_step


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
    alone = bs.speedup(recipes, names[0], over=names[1], at=first.data["at"].to_numpy())
    assert f"{alone.summary()['multiplier'][0]:.3g} (" in table.rows[0][2]
    assert [row[1] for row in table.rows[:2]] == [
        bs.units.format_flop(float(alone.data["at"][0])),
        "1e22",
    ]


def test_the_answer_is_about_the_group_that_is_the_best_at_the_budget(recipes):
    """The largest run is of another group, whose B is larger in all draws."""
    best, *_, main = recipes.plan.levels["dataset"]
    recipes.posterior["B_dataset"].loc[{"dataset": best}] *= 0.3
    recipes = with_largest_run_of(recipes, main)
    found = findings(recipes, [1e22])
    (chance,) = found.decisions.speedups[0].best.query("at == 1e22 and group == @best")["p_best"]
    assert chance > 0.9
    split = bs.allocate(recipes, 1e22, group=best)
    assert found.group == {"dataset": best}
    assert found.answers[0].startswith(split.bottom_line().split(" Main reason")[0])
    assert found.answers[0].endswith(
        f"The answer is for {best}, because this group has the lowest loss at 1e22 FLOP with "
        f"{100 * chance:.0f} % probability, if the losses of all groups are of the same text; the "
        f"largest run is of {main}."
    )
    others = [name for name in recipes.plan.levels["dataset"] if name != best]
    assert [line.split(": ")[0] for line in found.each] == others
    other = bs.allocate(recipes, 1e22, group=others[0]).summary()["loss_new_run"].iloc[0]
    assert f"loss {other:.3f} (" in found.each[0]


def test_without_a_best_group_the_answer_is_about_that_of_the_largest_run(by_hand, openlm):
    fit = by_hand(openlm, "chinchilla", crossing_values(200), **CROSSING)
    main = openlm.table.loc[openlm.table["C"].idxmax(), "dataset"]
    found = findings(fit, [1e22])
    chances = found.decisions.speedups[0].best.tail(3).set_index("group")["p_best"]
    assert chances.max() < 0.9
    assert found.group == {"dataset": main}
    assert (
        f"The answer is for {main}, the group of the largest run, because no group is the best"
    ) in found.answers[0]
    assert all(f"{name} {100 * p:.0f} %" in found.answers[0] for name, p in chances.items())


def test_the_order_of_recipes_at_the_budget_has_a_probability(by_hand, openlm):
    """Exponents of N differ, so that curves cross between the runs and the budget."""
    fit = by_hand(openlm, "chinchilla", crossing_values(200), **CROSSING)
    found = findings(fit, [1e24])
    result = found.decisions.speedups[0]
    first, last = (result.data["difference"].isel(point=i).to_numpy() > 0 for i in (0, 1))
    share = 100 * float((first == last).mean())
    assert share < 99
    (section,) = [s for s in found.decisions.sections() if s.title == "Which recipe is better"]
    assert f"the order is the same at 1e24 FLOP is {share:.0f} % ({result.name} and" in section.how
    assert "the order is the same" not in same_order(
        compared_recipes(fit, np.array([float(openlm.table["C"].min())]))[0]
    )


def test_the_points_of_a_warning_are_the_rows_of_the_table(recipes):
    budget = 200 * float(recipes.runs.table["C"].max())
    found = findings(recipes, [budget])
    rows = len(found.tables[0].rows)
    (note,) = [n for n in found.notes if "beyond 100 times" in n]
    assert rows == 3  # no group that has no runs
    assert note.startswith(f"{rows} points lie beyond 100 times the largest fitted run")


def test_one_recipe_is_compared_with_none(fit):
    found = findings(fit, [1e22])
    assert found.decisions.speedups == ()
    assert titles(found) == ["What the budgets cost", "Runs to train next"]


def test_where_recipes_are_not_compared_the_page_says_why(recipes, by_hand, openlm, monkeypatch):
    def said(fit, budgets) -> str:
        (section,) = [
            s
            for s in findings(fit, budgets).decisions.sections()
            if s.title == "Which recipe is better"
        ]
        assert section.tables == ()
        return section.how

    # Seven recipes.
    table = openlm.table.assign(dataset=[f"mix {i % 7}" for i in range(len(openlm))])
    many = dict.fromkeys(("E", "A", "alpha", "beta", "sigma"), "complete") | {"B": "partial"}
    values = values_of(20, B_dataset_scale=0.1, B_dataset=np.full(7, 0.7))
    of_seven = by_hand(
        bs.Runs.from_frame(table, groups="dataset"), "chinchilla", values, draws=20,
        groups="dataset", pool=many,
    )  # fmt: skip
    assert said(of_seven, [1e22]) == (
        "The groups are not compared as recipes: there are 7, and at most 6 are compared here; "
        "`speedup` compares two of them."
    )
    # A law that knows no compute.
    pool = {"A": "partial"} | dict.fromkeys(("E", "alpha", "sigma"), "complete")
    values = {k: v for k, v in values_of(50).items() if k in ("E", "A", "alpha", "sigma", "nu")}
    values |= {"A_dataset_scale": 0.1, "A_dataset": np.array([0.9, 1.0, 1.1])}
    of_tokens = by_hand(openlm, "power(D)", values, draws=50, groups="dataset", pool=pool)
    assert "no compute is known at which to compare them" in said(of_tokens, [1e22])

    # An error of the comparison.
    def refuse(*_, **__):
        raise bs.FitError("the losses are in different units")

    monkeypatch.setattr(choices, "speedup", refuse)
    assert "recipes: the losses are in different units." in said(recipes, [1e22])


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


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_factors_are_written_without_powers_of_ten(fit):
    fit.__dict__["_check"] = Check((), None)
    ahead = bs.forecast(fit, C=1968 * float(fit.runs.table["C"].max()))
    assert "1,970x" in tables.forecasts([ahead]).rows[0]
    assert "1,970x the largest run" in repr(ahead)
    assert "has 1,970 times the compute of the largest fitted run" in ahead.cautions()[0]

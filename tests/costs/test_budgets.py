"""Budgets in other units than FLOP: how they are read, and that every question accepts them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.costs import hardware_in, read_budgets
from bayescale.errors import FitError, LawError

pytestmark = [
    pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning"),
    pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning"),
]
COST = bs.Cost("H100", mfu=0.4, price=2.0)
#: FLOP of an H100 hour at 40 % of 989.4 TFLOP per second.
HOUR = 3600 * 989.4e12 * 0.4


@pytest.fixture(scope="module")
def runs(openlm):
    return openlm.query("dataset == 'c4'")


@pytest.fixture
def fit(by_hand, runs):
    values = {"E": 1.8, "A": 0.7, "B": 0.5, "alpha": 0.34, "beta": 0.28, "sigma": 0.01, "nu": 5.0}
    rng = np.random.default_rng(1)
    values = {k: v * np.exp(0.02 * rng.standard_normal((2, 200))) for k, v in values.items()}
    return by_hand(runs, "chinchilla", values, draws=200)


def test_the_conversion_names_its_figures_and_their_sources():
    found, (sentence,) = read_budgets(["1e22", "$2M"], COST)
    assert found.tolist() == pytest.approx([1e22, 1e6 * HOUR])
    for part in ("$2M", "1.42e24", "H100", "2 USD per hour (given)", "40 %", "9.89e+14"):
        assert part in sentence, sentence
    (published,) = read_budgets("$2M", bs.Cost("H800")).conversions
    assert "DeepSeek-AI 2024" in published
    assert "published utilisation" in published
    assert "W (" in read_budgets("30 GWh", bs.Cost("H100")).conversions[0]


def test_budgets_in_flop_have_no_conversion():
    assert read_budgets([1e22, "3640 PF-days", "1e24 FLOP"]).conversions == ()


@pytest.mark.parametrize(
    ("budget", "found"),
    [
        ("50k A100 hours", "A100"),
        (["1e22", "5 TPU v5p hours"], "TPU v5p"),
        ("$2M", None),
        (1, None),
    ],
)
def test_the_hardware_that_budgets_name(budget, found):
    assert hardware_in(budget) == found


def answers(fit, budget, cost):
    """The compute and the answer of every question that has a budget."""
    grid = {"N": ["100M", "400M"], "D": ["2B", "8B"]}
    ahead = bs.forecast(fit, C=budget, cost=cost)
    table = bs.forecast(fit, pd.DataFrame({"C": [budget]}), cost=cost)
    split = bs.allocate(fit, budget, cost=cost)
    waste = bs.regret(fit, "100M", "2B", budget, cost=cost)
    next_runs = bs.suggest(
        fit, grid, target={"C": budget, "N": "3B"}, budget=budget, cost=cost or "cost"
    )
    recipes = bs.speedup(fit, over=fit, at=budget, cost=cost)
    years = bs.trajectory(fit, [2026], start=(2025, budget), growth=1, algorithms=1, cost=cost)
    return {
        "forecast": (ahead.data["C"], ahead.bottom_line()),
        "forecast of a table": (table.data["C"], table.bottom_line()),
        "allocate": (split.data["C"], split.bottom_line()),
        "regret": (waste.data["C"], repr(waste)),
        "suggest": (next_runs.target["C"], next_runs.bottom_line()),
        "speedup": (recipes.data["at"], recipes.bottom_line()),
        "trajectory": (years.data["C"].isel(chain=0, draw=0), years.bottom_line()),
    }


def test_every_question_accepts_money_and_says_how_it_was_converted(fit):
    flop = bs.as_flops("$2M", COST)
    for name, (C, answer) in answers(fit, "$2M", COST).items():
        np.testing.assert_allclose(np.ravel(C), flop, rtol=1e-6, err_msg=name)
        assert "$2M is taken as 1.42e24 FLOP" in answer, name
    for name, (_, answer) in answers(fit, float(flop[0]), None).items():
        assert "is taken as" not in answer, name


def test_hours_of_a_named_accelerator_need_no_cost(fit):
    split = bs.allocate(fit, "50k A100 hours")
    assert float(split.data["C"][0]) == bs.as_flops("50k A100 hours")[0]


def test_the_budget_of_a_suggestion_limits_its_cost_in_flop(fit):
    grid = {"N": ["100M", "400M"], "D": ["2B", "8B"]}
    target = {"N": "3B", "D": "60B"}

    def runs_for(budget):
        return bs.suggest(fit, grid, target=target, budget=budget, cost=COST).runs

    few, many = (runs_for(f"{hours} hours")["total_cost"].iloc[-1] / HOUR for hours in (20, 200))
    assert few <= 20 < many <= 200


def test_money_is_not_mixed_with_a_column_of_costs(fit):
    table = pd.DataFrame({"N": [1e8], "D": [2e9], "cost": [3.0]})
    with pytest.raises(FitError, match="column 'cost'"):
        bs.suggest(fit, table, target={"N": "3B", "D": "60B"}, budget="$5", cost=COST)


def test_money_without_hardware_pays_for_an_h100_which_the_answer_says(fit):
    split = bs.allocate(fit, "$2M")
    assert float(split.data["C"][0]) == bs.as_flops("$2M", bs.Cost("H100"))[0]
    assert " FLOP (90 %: " in split.bottom_line()
    assert ") on H100: " in split.bottom_line()


def test_hardware_is_a_cost_not_a_name(fit):
    with pytest.raises(LawError, match=r"bs.Cost\('H100'\)"):
        bs.forecast(fit, C="$2M", cost="H100")

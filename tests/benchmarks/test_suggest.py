"""The benchmarks of suggested runs and of picked recipes, on tables that are known."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def suggest(script):
    return script("suggest")


@pytest.fixture
def pool(suggest):
    """A grid of N and D with the cost of training."""
    N, D = (
        v.ravel() for v in np.meshgrid(np.geomspace(1e8, 1e10, 12), np.geomspace(1e9, 1.3e11, 12))
    )
    loss = 1.7 + 400 * N**-0.34 + 1000 * D**-0.3
    return suggest.Pool(
        "grid", pd.DataFrame({"N": N, "D": D, "loss": loss, "cost": 6 * N * D}), "chinchilla"
    )


def test_the_target_is_the_most_expensive_eighth_and_the_start_is_cheap(suggest, pool):
    target, candidates, start = suggest.divided(pool, 1)
    assert target["cost"].min() > candidates["cost"].max()
    assert len(target) == len(pool.frame) / 8
    assert len(set(start)) == suggest.FIRST
    assert set(start) <= set(candidates.index)
    share = candidates.loc[start, "cost"].sum() / candidates["cost"].sum()
    assert share <= suggest.FIRST_SHARE
    assert start != suggest.divided(pool, 2)[2]


@pytest.mark.parametrize("method", ["random", "ladder"])
def test_choices_spend_most_of_the_budget_and_no_more(suggest, pool, method):
    target, candidates, start = suggest.divided(pool, 1)
    budget = 0.1 * candidates["cost"].sum()
    rng = np.random.default_rng(1)
    chosen = suggest.CHOOSE[method](candidates, target, start, None, budget, rng)
    assert len(set(chosen)) == len(chosen)
    assert not set(chosen) & set(start)
    assert 0.5 * budget < candidates.loc[chosen, "cost"].sum() <= budget


def test_simulated_recipes_have_the_multipliers_that_are_known(script):
    picked = script("picked")
    for index in (0, 1):
        frame, logs, largest = picked.table(index)
        assert frame["recipe"].nunique() == picked.RECIPES + 1
        assert (abs(logs) < (0.2 if index else np.log(picked.LARGEST))).all()
        assert frame["C"].max() == largest


def test_the_multiplier_of_a_simulated_recipe_is_exact(script, monkeypatch):
    """Without noise, the baseline reaches the loss of a recipe with its multiplier of compute."""
    picked = script("picked")
    monkeypatch.setattr(picked, "SIGMA", 0.0)
    monkeypatch.setattr(picked, "EXPONENTS", 0.0)
    frame, logs, largest = picked.table(0)
    # With equal exponents and floors the loss of a recipe is linear in that of the baseline.
    at = frame[frame["C"] == largest].set_index("recipe")["loss"]
    baseline = frame[frame["recipe"] == "A"]
    for i, log in enumerate(logs):
        recipe = frame[frame["recipe"] == f"B{i}"]
        floor = np.polyfit(baseline["loss"], recipe["loss"], 1)  # B = E + a (A - E)
        E = floor[1] / (1 - floor[0])
        alpha = -np.polyfit(np.log(baseline["C"]), np.log(baseline["loss"] - E), 1)[0]
        assert (at["A"] - E) * np.exp(-alpha * log) == pytest.approx(at[f"B{i}"] - E)

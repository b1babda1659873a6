"""Does the interval of a recipe's compute multiplier hold if the recipe was picked as the best?

A baseline and eight recipes of six runs each are simulated from a power law of compute. Their
multipliers at the largest run are either spread between 1 and 2, or alike, within 3 %. Of 1, 2, 4
and 8 recipes the one with the largest median multiplier is picked; one recipe is no choice. Recipes
are fitted each alone, and as groups of one fit, which draws them towards each other. The truths and
the multipliers have no drift. Tables that the results file has are kept.

    python benchmarks/picked.py [tables [tables that are also fitted as groups]]
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import pandas as pd
from common import RESULTS, keep, write

import bayescale as bs

TABLES, GROUPED, RECIPES, COMPARED = 40, 10, 8, (1, 2, 4, 8)
RUNS, SIGMA = 6, 0.003
FITTED = ("alone", "as groups")
#: Largest multiplier, and standard deviation of the log multiplier of recipes that are alike.
LARGEST, ALIKE = 2.0, 0.03
#: Standard deviation of the log of the ratio of two exponents.
EXPONENTS = 0.05
SAMPLER = dict(draws=500, chains=2, random_seed=1, progressbar=False)


def loss_of(v: dict, C: np.ndarray) -> np.ndarray:
    return v["E"] + v["A"] * (C / 1e20) ** -v["alpha"]


def table(index: int) -> tuple[pd.DataFrame, np.ndarray, float]:
    """Runs, the log multipliers of the recipes, and the compute of the largest run."""
    rng = np.random.default_rng([22, index])
    C = np.geomspace(1e18, 1e20, RUNS)
    one = dict(
        E=1.8 * np.exp(0.1 * rng.normal()),
        A=0.7 * np.exp(0.2 * rng.normal()),
        alpha=0.17 * np.exp(0.1 * rng.normal()),
    )
    if index % 2:
        logs = ALIKE * rng.standard_normal(RECIPES)
    else:
        logs = rng.uniform(0, np.log(LARGEST), RECIPES)
    laws = {"A": one}
    for i, log in enumerate(logs):
        other = one | {"alpha": one["alpha"] * np.exp(EXPONENTS * rng.normal())}
        reducible = loss_of(one, C[-1] * np.exp(log)) - one["E"]
        laws[f"B{i}"] = other | {"A": other["A"] * reducible / (loss_of(other, C[-1]) - one["E"])}
    frames = [
        pd.DataFrame(
            {
                "C": C,
                "loss": loss_of(v, C) * np.exp(SIGMA * rng.standard_t(6, RUNS)),
                "recipe": name,
            }
        )
        for name, v in laws.items()
    ]
    return pd.concat(frames, ignore_index=True), logs, float(C[-1])


def multipliers(frame: pd.DataFrame, largest: float, together: bool) -> np.ndarray:
    """Lower end, median and upper end of the log multiplier of each recipe; (recipe, 3)."""
    if together:
        runs = bs.Runs.from_frame(frame, groups="recipe")
        fit = bs.fit(runs, "power", groups="recipe", **SAMPLER)
        pairs = [((fit, f"B{i}"), "A") for i in range(RECIPES)]
    else:
        alone = {
            name: bs.fit(rows.drop(columns="recipe"), "power", **SAMPLER)
            for name, rows in frame.groupby("recipe")
        }
        pairs = [((alone[f"B{i}"],), alone["A"]) for i in range(RECIPES)]
    draws = [
        bs.speedup(*recipe, over=over, at=largest, drift="off").data["multiplier"].to_numpy()
        for recipe, over in pairs
    ]
    return np.quantile(np.log(draws).reshape(RECIPES, -1), [0.05, 0.5, 0.95], axis=1).T


def main(tables: int = TABLES, grouped: int = GROUPED) -> None:
    warnings.simplefilter("ignore")
    file = RESULTS / "picked_each.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(r["table"], r["fitted"]) for r in rows}
    for index in range(tables):
        frame, truth, largest = table(index)
        for together in (False, True)[: 2 if index < grouped else 1]:
            if (index, FITTED[together]) in done:
                continue
            started = time.process_time()
            found = multipliers(frame, largest, together)
            seconds = time.process_time() - started
            for number in COMPARED:
                for start in range(0, RECIPES, number):
                    picked = start + int(np.argmax(found[start : start + number, 1]))
                    low, middle, high = found[picked]
                    rows.append(
                        dict(
                            table=index,
                            recipes="alike" if index % 2 else "spread",
                            fitted=FITTED[together],
                            compared=number,
                            truth=np.exp(truth[picked]),
                            median=np.exp(middle),
                            lower=np.exp(low),
                            upper=np.exp(high),
                            inside=low <= truth[picked] <= high,
                            too_high=truth[picked] < low,
                            seconds=seconds,
                        )
                    )
            keep(pd.DataFrame(rows), "picked_each")
            print(index, FITTED[together], f"{seconds:.0f} s", flush=True)
    each = pd.DataFrame(rows)
    each["bias"] = np.log(each["median"] / each["truth"])
    summary = each.groupby(["fitted", "recipes", "compared"], as_index=False).agg(
        picks=("inside", "size"),
        coverage=("inside", "mean"),
        too_high=("too_high", "mean"),
        bias=("bias", "mean"),
    )
    write(summary, "picked", "90 % intervals of the log multiplier of the recipe that was picked")


if __name__ == "__main__":
    main(*(int(v) for v in sys.argv[1:]))

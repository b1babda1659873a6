"""How large is the error of the law in small runs, and how near is near?

The model lets the law fail towards small scales (`bayescale.model.small_runs`). Its two settings,
the size of the error and the range within which runs count as neighbours, are tried here; a size of
zero is a law that holds for all runs.

* tables: the tables of `family.py`, with the average of the default family and its power of the
  evidence. The drift is chosen on the other studies for each setting, by the rule of `family.py`,
  and in the last row the setting is chosen on the other studies too;
* pools: the pools of `suggest.py`, with all runs but the most expensive eighth, which is forecast
  under the law of the pool.

    python benchmarks/small_runs.py
"""

from __future__ import annotations

import itertools
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import family
import numpy as np
import pandas as pd
import suggest
from common import keep, write

import bayescale as bs
from bayescale.model import small_runs

#: Sizes of the error, and ranges of neighbours in e-folds. The range has no effect at size zero.
SETTINGS = ((0.0, 1.0), *itertools.product((0.015, 0.03, 0.06), (1.0, 2.0)))
DRAWS = dict(family.DRAWS, random_seed=1)


def named(size: float, nearby: float) -> str:
    return f"size {size:g}, {nearby:g} e-folds" if size else "no error"


def measured(setting: tuple[float, float]) -> tuple[dict, list[dict]]:
    """Scores of the tables under every power and drift, and rows of the pools."""
    warnings.simplefilter("ignore")
    small_runs.SIZE, small_runs.NEARBY = setting
    found = family.fitted(family.LAWS, baseline=())
    of_tables = found.settings(family.LAWS, powers=(family.DEFAULT_POWER,))
    return of_tables, [of_pool(name, seed, setting) for name, seed in POOLS]


POOLS = [*((name, 0) for name in suggest.POOLS), ("parallel", 1)]


def of_pool(name: str, seed: int, setting: tuple[float, float]) -> dict:
    pool = suggest.pool(name, seed)
    dear = pool.frame["cost"] >= pool.frame["cost"].quantile(1 - 1 / 8)
    target, rest = pool.frame[dear], pool.frame[~dear]
    fit = bs.fit(rest[[*pool.columns, "loss"]], pool.law, law_error=True, **DRAWS)
    drawn = np.log(bs.forecast(fit, target[pool.columns], random_seed=2).data["loss"])
    drawn = drawn.transpose("chain", "draw", "point").to_numpy().reshape(-1, len(target))
    loss = target["loss"].to_numpy()
    each = family.scores(drawn, np.log(loss), np.zeros(len(loss)))
    error = np.exp(np.median(drawn, axis=0)) - loss
    return {
        "setting": named(*setting),
        "pool": f"{name} {seed}",
        "runs": len(loss),
        "coverage": each["0.90"].mean(),
        "score": each["score"].mean(),
        "CRPS": each["CRPS"].mean(),
        "R squared": 1 - (error**2).sum() / ((loss - loss.mean()) ** 2).sum(),
    }


def main() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        both = list(pool.map(measured, SETTINGS))
    of_tables = dict(
        zip(map(named, *zip(*SETTINGS, strict=True)), (b[0] for b in both), strict=True)
    )
    rows, every = [], {}
    for setting, each in of_tables.items():
        chosen, choice = family.chosen_elsewhere(each)
        every |= {f"{setting}; {method}": by for method, by in each.items()}
        methods = "; ".join(dict.fromkeys(choice.values()))
        rows.append({"setting": setting, **family.summary(chosen), "power and drift": methods})
    lowest = {
        setting: min(np.mean([f["score"].mean() for f in by.values()]) for by in each.values())
        for setting, each in of_tables.items()
    }
    chosen, choice = family.chosen_elsewhere(every)
    methods = "; ".join(dict.fromkeys(choice.values()))
    rows.append({"setting": "chosen too", **family.summary(chosen), "power and drift": methods})
    table = pd.DataFrame(rows)
    table.insert(1, "lowest score", table["setting"].map(lowest))
    write(table, "small_runs", "the default family, by setting of the error of the law")

    pools = pd.DataFrame([row for _, rows in both for row in rows])
    keep(pools, "small_runs_pools_each")
    numbers = ["coverage", "score", "CRPS", "R squared"]
    means = pools.groupby("setting", sort=False, as_index=False)[numbers].mean()
    write(means, "small_runs_pools", "pools of `suggest.py`, by setting of the error of the law")


if __name__ == "__main__":
    main()

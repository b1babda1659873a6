"""What is lost where `suggest` stops before the budget is spent?

The pools, the targets and the first runs are those of `suggest.py`. Runs are bought up to rising
shares of the cost of all candidates, with a refit at each, under two rules: that of
`bayescale.suggest`, which leaves out runs that narrow the interval of a refit by less than 1 % of
the variance, and one that buys every run from which any reduction is expected. A fit to all
candidates is given beside them.

    python benchmarks/stops.py [seeds] [pool ...]
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
import suggest
from common import RESULTS, keep, write

import bayescale as bs
from bayescale.decisions import suggestions

SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
RULES = {"1 %": (suggestions.LITTLE, suggestions.LEAST), "any": (0.0, 0.0)}
ALL = "all"
SEEDS = 2
#: Without the learning rates, whose fits take minutes.
POOLS = tuple(name for name in suggest.POOLS if name != "lr_batch")


def bought(name: str, seed: int, rule: str) -> list[dict]:
    """One row for each share."""
    pool = suggest.pool(name, seed)
    target, candidates, start = suggest.divided(pool, seed)
    cost, total = candidates["cost"], float(candidates["cost"].sum())
    if rule == ALL:
        return [scored(pool, seed, rule, 1.0, list(candidates.index), target)]
    have, rows = list(start), []
    suggestions.LITTLE, suggestions.LEAST = RULES[rule]
    for share in SHARES:
        fit = suggest.fitted(name, seed, tuple(have))
        left = share * total - cost[have].sum()
        have += suggest.by_suggestion(candidates, target, have, fit, left, None)
        spent = float(cost[have].sum()) / total
        rows.append(scored(pool, seed, rule, share, have, target) | {"spent": spent})
    return rows


def scored(pool, seed: int, rule: str, share: float, have: list[int], target) -> dict:
    """The forecast of the target from these runs."""
    fit = suggest.fitted(pool.name, seed, tuple(have))
    mean = np.log(bs.forecast(fit, target[pool.columns]).data["mean"])
    error = mean.median(("chain", "draw")).to_numpy() - np.log(target["loss"].to_numpy())
    return dict(
        pool=pool.name,
        seed=seed,
        rule=rule,
        budget=share,
        runs=len(have),
        spent=1.0,
        r_squared=suggest.r_squared(fit, target, pool.columns),
        rmse=float(np.sqrt((error**2).mean())),
    )


def main(seeds: int = SEEDS, names: tuple[str, ...] = POOLS) -> None:
    warnings.simplefilter("ignore")
    file = RESULTS / "stops_each.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(r["pool"], r["seed"], r["rule"]) for r in rows}
    for seed in range(seeds):
        for name in names:
            for rule in (*RULES, ALL):
                if (name, seed, rule) in done:
                    continue
                rows += bought(name, seed, rule)
                keep(pd.DataFrame(rows), "stops_each")
                print(rows[-1], flush=True)
    mean = (
        pd.DataFrame(rows)
        .groupby(["pool", "budget", "rule"], as_index=False)
        .agg(
            seeds=("seed", "size"),
            runs=("runs", "mean"),
            spent=("spent", "mean"),
            r_squared=("r_squared", "mean"),
            rmse=("rmse", "mean"),
        )
    )
    write(mean, "stops", "runs bought under two rules, mean over seeds")


if __name__ == "__main__":
    main(*(int(v) for v in sys.argv[1:2]), *([tuple(sys.argv[2:])] if sys.argv[2:] else []))

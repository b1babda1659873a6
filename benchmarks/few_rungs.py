"""Do intervals of the default family hold for larger runs if only 3, 5 or 8 runs are fitted?

The tables are those of `family.py`. Of the runs that it fits, a ladder of 3, 5 or 8 is chosen: one
from each of as many intervals of compute of equal length on a log scale, at random, twice for each
table. All later runs of the table are forecast.

    python benchmarks/few_rungs.py [--repeats 2]
"""

from __future__ import annotations

import argparse
import sys
import warnings

import numpy as np
import pandas as pd
from common import keep, write
from family import LEVELS, problems, scores

import bayescale as bs

RUNGS = (3, 5, 8)
SEED = 8


def ladder(runs: bs.Runs, n: int, rng: np.random.Generator) -> bs.Runs:
    """`n` runs, nearly evenly spaced in log compute, the largest among them."""
    log = np.log(runs.table["C"].to_numpy(float))
    targets = np.linspace(log.min(), log.max(), n)
    half = (log.max() - log.min()) / (2 * max(n - 1, 1))
    chosen: list[int] = []
    for target in targets:
        free = np.setdiff1d(np.arange(len(log)), chosen)
        near = free[np.abs(log[free] - target) <= half]
        if not len(near):
            near = free[[np.argmin(np.abs(log[free] - target))]]
        chosen.append(int(rng.choice(near)))
    keep_ = np.zeros(len(log), dtype=bool)
    keep_[chosen] = True
    return runs[keep_]


def one(problem, n: int, repeat: int) -> pd.DataFrame:
    """Scores of all later runs, for one ladder."""
    name = [ord(c) for c in problem.name]
    runs = ladder(problem.seen, n, np.random.default_rng([SEED, n, repeat, *name]))
    family = bs.ensemble(runs, draws=500, chains=2, random_seed=repeat, progressbar=False)
    first = next(iter(family.fits.values()))
    forecast = bs.forecast(family, problem.points(first.law, ()), random_seed=repeat)
    loss = np.log(forecast.data["loss"].to_numpy())
    truth = np.log(problem.places["loss"].to_numpy(float))
    drawn = loss.reshape(-1, loss.shape[-1])
    away = problem.places["C"].to_numpy(float) / runs.table["C"].max()
    frame = scores(drawn, truth, away)
    for prob in LEVELS:
        low, high = np.quantile(drawn, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
        frame[f"width {prob:.2f}"] = high - low
    return frame.assign(
        table=problem.name,
        rungs=n,
        repeat=repeat,
        error=np.abs(np.median(drawn, axis=0) - truth),
        above=truth > np.median(drawn, axis=0),
        failed=not all(f.convergence.passed for f in family.fits.values()),
    )


def summary(each: pd.DataFrame) -> pd.DataFrame:
    """Means over tables, by number of runs."""
    levels = [f"{p:.2f}" for p in LEVELS]
    columns = [*levels, *(f"width {c}" for c in levels), "score", "error", "above", "failed"]
    tables = each.groupby(["rungs", "table"])[columns].mean().astype(float)
    means = tables.groupby("rungs").mean()
    spread = tables["0.90"].groupby("rungs").sem().rename("standard error at 0.90")
    pooled = each.groupby("rungs")[levels].mean().add_prefix("pooled ")
    return pd.concat([means, spread, pooled], axis=1).reset_index()


def by_distance(each: pd.DataFrame) -> pd.DataFrame:
    """Coverage and width by the multiple of the largest fitted compute."""
    labels = ["up to 3x", "3-10x", "10-100x", "over 100x"]
    bins = pd.cut(each["distance"], [0, 3, 10, 100, np.inf], labels=labels)
    levels = [f"{p:.2f}" for p in LEVELS]
    grouped = each.groupby(["rungs", bins], observed=True)
    return pd.concat(
        [grouped.size().rename("forecasts"), grouped[[*levels, "width"]].mean()], axis=1
    ).reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore")
    parts = []
    for problem in problems():
        for n in RUNGS:
            if n < len(problem.seen):
                parts += [one(problem, n, r) for r in range(repeats)]
        print(problem.name, file=sys.stderr, flush=True)
    each = pd.concat(parts, ignore_index=True)
    keep(each, "few_rungs_each")
    write(summary(each), "few_rungs", "The default family from few runs: means over tables")
    write(by_distance(each), "few_rungs_distances", "The same by distance")


if __name__ == "__main__":
    main()

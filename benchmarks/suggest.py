"""Which runs to train next: forecasts of the most expensive runs of public pools of runs.

The pools are those of arXiv:2604.22753. The most expensive eighth of a pool is the target; the
other runs are candidates. Each seed begins with the same few cheap runs for all methods. A method
then spends 1, 5 and 10 % of the cost of all candidates (10, 25 and 50 % in pools of fewer than a
hundred runs), the first runs included, and the law is fitted to the runs it has. The score is
R-squared of the forecasts of the loss in the target.

* suggest: `bayescale.suggest` with the runs of the target, refitted at each budget;
* random: candidates in random order, where they can be paid;
* d-optimal: the largest gain in the log determinant of the information on the parameters, per cost,
  refitted at each budget;
* ladder: runs of geometrically spaced cost, whose other columns are those of typical runs of that
  cost, up to the largest cost that the budget allows.

Rows that the results file has are kept, so that the script can be continued. `suggest_exact` has
results with laws that hold for all runs (`--exact`).

    python benchmarks/suggest.py [--minutes 15] [--seeds 10] [--pool farseer ...] [--method suggest]
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import pandas as pd
from common import RESULTS, reference

import bayescale as bs
from bayescale.decisions.beliefs import joint_draws
from bayescale.decisions.suggestions import _noise
from bayescale.errors import BayescaleError

#: Shares of the cost of all candidates; the second for pools of fewer than `SMALL` runs.
BUDGETS, LARGER, SMALL = (0.01, 0.05, 0.1), (0.1, 0.25, 0.5), 100
METHODS = ("suggest", "random", "d-optimal", "ladder")
#: Runs at the start, drawn from the cheapest candidates (half as many in small pools), and the
#: share of the budget for them.
FIRST, FIRST_SHARE = 8, 0.003
#: Factors in cost between the rungs of a ladder.
RUNGS = (2.0, 1.7, 1.5, 1.3, 1.2, 1.1, 1.05)
DRAWS = dict(draws=500, chains=2)


@dataclass(frozen=True)
class Pool:
    """Runs with the columns of a law, `loss` and `cost`."""

    name: str
    frame: pd.DataFrame
    law: str

    @property
    def columns(self) -> list[str]:
        return list(bs.laws.get(self.law).columns)

    @property
    def budgets(self) -> tuple[float, ...]:
        return BUDGETS if len(self.frame) >= SMALL else LARGER


def pool(name: str, seed: int) -> Pool:
    """A pool of runs. The two corpora of `parallel` alternate between seeds."""
    frame = pd.read_csv(reference(f"{name}.csv"))
    numbers = frame.select_dtypes("number").columns
    frame[numbers] = frame[numbers].astype(float)  # products of counts exceed integers
    if name == "farseer":
        frame = frame.rename(columns={"params": "N", "tokens": "D"})
        law, cost = "farseer", 6 * frame["N"] * frame["D"]
    elif name == "datablations_c4":  # the runs that the paper fits
        frame = frame[frame["in_paper_fit"]].rename(
            columns={"params": "N", "tokens": "D", "unique_tokens": "U"}
        )
        law, cost = "repeated_data", 6 * frame["N"] * frame["D"]
    elif name == "clark_moe":  # one router, and the dense models
        frame = frame[frame["router"].isin(["S-Base", "Dense"])].rename(columns={"params": "N"})
        law, cost = "routed_experts", frame["forward_flops_per_step"] * frame["steps"]
    elif name == "sparsity":
        cost = 6e19 * (frame["N_dense"] * frame["D1"] + frame["N_active"] * frame["D2"])
        N = 1e9 * frame["N_active"]
        frame = frame.assign(N=N, N_total=frame["P"] * N, D=1e10 * frame["D2"])
        law = "sparse_experts"
    elif name == "vocabulary":  # every fourth run; losses relative to a unigram model are negative
        frame = frame.iloc[::4]
        cost = frame["non_vocab_parameters"] * frame["num_characters"]
        frame = frame.assign(
            N=frame["non_vocab_parameters"],
            D=frame["num_characters"],
            vocab=frame["vocab_size"],
            loss=frame["unigram_normalized_loss"] + 6,
        )
        law = "vocabulary_size"
    elif name == "lr_batch":  # every eighth run
        frame = frame.iloc[::8].rename(
            columns={"params": "N", "tokens": "D", "learning_rate": "lr", "batch_size": "batch"}
        )
        frame["batch"] *= 2048
        law, cost = "learning_rate_batch", 6 * frame["N"] * frame["D"]
    else:
        frame = frame[frame["group"] == ("pile", "stack")[seed % 2]]
        frame = frame.rename(columns={"num_params": "N", "parallel_size": "streams"})
        law, cost = "parallel_streams", frame["N"]
    frame = frame.assign(cost=cost)[[*bs.laws.get(law).columns, "loss", "cost"]]
    return Pool(name, frame.astype(float).dropna().reset_index(drop=True), law)


POOLS = (
    "parallel", "farseer", "datablations_c4", "clark_moe", "sparsity", "vocabulary", "lr_batch",
)  # fmt: skip


@lru_cache(maxsize=16)  # methods share the first fit, and some have the same runs
def fitted(name: str, seed: int, rows: tuple[int, ...], law_error: bool = True) -> bs.Fit:
    chosen = pool(name, seed)
    table = chosen.frame.loc[sorted(rows), [*chosen.columns, "loss"]]
    return bs.fit(table, chosen.law, law_error=law_error, random_seed=1, **DRAWS)


def r_squared(fit: bs.Fit, target: pd.DataFrame, columns: list[str]) -> float:
    """R-squared of the median forecasts of the loss."""
    mean = bs.forecast(fit, target[columns]).data["mean"]
    error = mean.median(("chain", "draw")).to_numpy() - target["loss"].to_numpy()
    spread = target["loss"] - target["loss"].mean()
    return float(1 - (error**2).sum() / (spread**2).sum())


def first_runs(candidates: pd.DataFrame, columns: list[str], number: int, rng) -> list[int]:
    """Different cheap runs, of at least three values in each column if there are as many, that
    cost a small share of the budget."""
    total = candidates["cost"].sum()
    cheap = candidates[candidates["cost"] <= FIRST_SHARE * total / number]
    if len(cheap) < 2 * number:
        cheap = candidates.nsmallest(3 * number, "cost")
    least = {c: min(3, cheap[c].nunique()) for c in columns}
    while True:
        chosen = rng.choice(cheap.index.to_numpy(), number, replace=False)
        if all(candidates.loc[chosen, c].nunique() >= least[c] for c in columns):
            return list(chosen)


def divided(pool: Pool, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, list[int]]:
    """The target, the candidates, and the runs at the start."""
    dear = pool.frame["cost"] >= pool.frame["cost"].quantile(1 - 1 / 8)
    target, candidates = pool.frame[dear], pool.frame[~dear]
    number = FIRST if len(pool.frame) >= SMALL else FIRST // 2
    start = first_runs(candidates, pool.columns, number, np.random.default_rng(seed))
    return target, candidates, start


def by_suggestion(frame, target, have, fit, budget, rng) -> list[int]:
    left = frame.drop(index=have)
    left = left[left["cost"] <= budget]
    if not len(left):
        return []
    columns = list(fit.law.columns)
    chosen = bs.suggest(
        fit, left[[*columns, "cost"]], target=target[columns], budget=budget, repeat=False
    )
    return list(left.index[chosen.runs["candidate"]])


def at_random(frame, target, have, fit, budget, rng) -> list[int]:
    chosen, spent = [], 0.0
    for i in rng.permutation(frame.index.difference(have)):
        if spent + frame.at[i, "cost"] <= budget:
            chosen.append(i)
            spent += frame.at[i, "cost"]
    return chosen


def d_optimal(frame, target, have, fit, budget, rng) -> list[int]:
    """Greedy: log(1 + variance of the mean / variance of the noise), per cost."""
    left = frame.drop(index=have)
    (drawn,) = joint_draws(fit, [left[list(fit.law.columns)]], None, 1, "off")
    centred = drawn["centre"] - drawn["centre"].mean(axis=0)
    covariance, noise = centred.T @ centred / (len(centred) - 1), _noise(drawn)
    cost, chosen, spent = left["cost"].to_numpy(), [], 0.0
    free = np.ones(len(left), bool)
    while True:
        payable = free & (cost <= budget - spent)
        if not payable.any():
            return list(left.index[chosen])
        gain = np.log1p(np.diagonal(covariance) / noise) / cost
        best = int(np.argmax(np.where(payable, gain, -np.inf)))
        chosen.append(best)
        free[best] = False
        spent += cost[best]
        along = covariance[:, best].copy()
        covariance = covariance - np.outer(along, along) / (along[best] + noise[best])


def ladder(frame, target, have, fit, budget, rng) -> list[int]:
    """The highest top rung that the budget allows at a factor of `RUNGS[0]`, then the closest rungs
    below it."""
    left = frame.drop(index=have)
    logs = np.log(left["cost"])
    # What a column differs from its typical value at this cost, in standard deviations.
    others = np.log(left.drop(columns=["loss", "cost"]))
    line = np.polynomial.Polynomial.fit
    others = others.apply(lambda v: v - line(logs, v, 1)(logs))
    others = (others - others.median()) / others.std().where(others.std() > 1e-9, 1.0)
    unlike = 0.5 * ((others - 0.5 * rng.standard_normal(others.shape[1])) ** 2).mean(axis=1) ** 0.5

    def rungs(top: float, factor: float) -> list[int]:
        steps = np.arange(top, logs.min() - 1e-9, -np.log(factor))
        return list({(np.abs(logs - step) + unlike).idxmin() for step in steps})

    def payable(chosen: list[int]) -> bool:
        return left.loc[chosen, "cost"].sum() <= budget

    tops = [top for top in logs.unique() if payable(rungs(top, RUNGS[0]))]
    if not tops:
        return []
    ladders = [rungs(max(tops), factor) for factor in RUNGS]
    return max(filter(payable, ladders), key=lambda chosen: left.loc[chosen, "cost"].sum())


CHOOSE = dict(zip(METHODS, (by_suggestion, at_random, d_optimal, ladder), strict=True))


def scores(pool: Pool, seed: int, method: str, law_error: bool = True) -> list[dict]:
    """One row for each budget."""
    target, candidates, start = divided(pool, seed)
    total = float(candidates["cost"].sum())
    rng = np.random.default_rng([seed, METHODS.index(method)])
    refits = method in ("suggest", "d-optimal")  # the others do not look at losses
    have, rows = list(start), []
    fit = fitted(pool.name, seed, tuple(start), law_error) if refits else None
    for share in pool.budgets:
        if method == "ladder":
            have = list(start)  # a larger ladder replaces a smaller one
        left = share * total - candidates.loc[have, "cost"].sum()
        have += CHOOSE[method](candidates, target, have, fit, left, rng)
        fit = fitted(pool.name, seed, tuple(have), law_error)
        rows.append(
            dict(
                pool=pool.name,
                law=pool.law,
                seed=seed,
                method=method,
                budget=share,
                runs=len(have),
                spent=round(float(candidates.loc[have, "cost"].sum()) / total, 5),
                r_squared=round(r_squared(fit, target, pool.columns), 4),
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=15.0, help="no further method starts after this"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pool", nargs="+", default=POOLS, choices=POOLS)
    parser.add_argument("--method", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--exact", action="store_true", help="no errors of the law in small runs")
    parser.add_argument("--out", default="suggest", help="name of the results file")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    began, file = time.monotonic(), RESULTS / f"{arguments.out}.csv"
    done = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["pool", "seed", "method"])
    done = set(zip(done["pool"], done["seed"], done["method"], strict=True))
    for seed, name, method in product(range(arguments.seeds), arguments.pool, arguments.method):
        if (name, seed, method) in done:
            continue
        if time.monotonic() - began > 60 * arguments.minutes:
            break
        try:
            rows = pd.DataFrame(scores(pool(name, seed), seed, method, not arguments.exact))
        except BayescaleError as error:
            print(f"{name}, seed {seed}, {method}: {error}", flush=True)
            continue
        rows.to_csv(file, mode="a", index=False, header=not file.exists())
        print(f"{time.monotonic() - began:.0f} s", *rows[["pool", "seed", "method"]].iloc[0],
              *rows["r_squared"], flush=True)  # fmt: skip
    frame = pd.read_csv(file)
    for statistic in ("median", "mean"):
        print(f"\n{statistic} R-squared at the target")
        by = frame.groupby(["pool", "budget", "method"])["r_squared"]
        print(by.agg(statistic).unstack().round(3))
    print(frame.groupby("pool")["seed"].nunique().rename("seeds"))


if __name__ == "__main__":
    main()

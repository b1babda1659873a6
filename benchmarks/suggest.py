"""Which runs to train next: forecasts of the most expensive runs of public pools of runs.

The pools are those of arXiv:2604.22753 that a law of N and D describes. The most expensive eighth
of a pool is the target; the other runs are candidates. Each seed begins with the same few cheap
runs for all methods. A method then spends 1, 5 and 10 % of the cost of all candidates, the first
runs included, and the law is fitted to the runs it has. The score is R-squared of the forecasts of
the loss in the target.

* suggest: `bayescale.suggest` with the runs of the target, refitted at each budget;
* random: candidates in random order, where they can be paid;
* d-optimal: the largest gain in the log determinant of the information on the parameters, per cost,
  refitted at each budget;
* ladder: runs of geometrically spaced compute at a balanced ratio of tokens to parameters, up to
  the largest compute that the budget allows.

Rows that the results file has are kept, so that the script can be continued.

    python benchmarks/suggest.py [--minutes 15] [--seeds 10] [--pool farseer]
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from common import RESULTS, reference

import bayescale as bs
from bayescale.decisions.beliefs import joint_draws
from bayescale.decisions.suggestions import _noise

BUDGETS = (0.01, 0.05, 0.1)
METHODS = ("suggest", "random", "d-optimal", "ladder")
#: Runs at the start, drawn from the cheapest candidates, and the share of the budget for them.
FIRST, FIRST_SHARE = 8, 0.003
#: Factors in compute between the rungs of a ladder.
RUNGS = (2.0, 1.7, 1.5, 1.3, 1.2, 1.1, 1.05)
#: Runs seen more often than this are left out where the law does not know repetition.
EPOCHS = 4.0
DRAWS = dict(draws=500, chains=2)


def pools() -> dict[str, tuple[pd.DataFrame, str]]:
    """Tables with N, D, loss and cost, and the law of each."""
    farseer = pd.read_csv(reference("farseer.csv")).rename(columns={"params": "N", "tokens": "D"})
    repeated = pd.read_csv(reference("datablations_c4.csv"))
    repeated = repeated.rename(columns={"params": "N", "tokens": "D"})
    repeated = repeated[repeated["epochs"] <= EPOCHS].dropna(subset=["loss"])
    out = {}
    laws = {"farseer": "farseer", "datablations_c4": "chinchilla"}
    for name, frame in (("farseer", farseer), ("datablations_c4", repeated)):
        frame = frame[["N", "D", "loss"]].astype(float)
        frame = frame.assign(cost=6 * frame["N"] * frame["D"])
        out[name] = (frame.reset_index(drop=True), laws[name])
    return out


def fitted(frame: pd.DataFrame, law: str) -> bs.Fit:
    return bs.fit(frame[["N", "D", "loss"]], law, random_seed=1, **DRAWS)


def r_squared(fit: bs.Fit, target: pd.DataFrame) -> float:
    """R-squared of the median forecasts of the loss."""
    mean = bs.forecast(fit, target[["N", "D"]]).data["mean"]
    error = mean.median(("chain", "draw")).to_numpy() - target["loss"].to_numpy()
    spread = target["loss"] - target["loss"].mean()
    return float(1 - (error**2).sum() / (spread**2).sum())


def first_runs(frame: pd.DataFrame, total: float, rng) -> list[int]:
    """Different cheap runs, of at least three sizes each, that cost a small share of the budget."""
    cheap = frame[frame["cost"] <= FIRST_SHARE * total / FIRST].index.to_numpy()
    if len(cheap) < FIRST:
        cheap = frame["cost"].nsmallest(3 * FIRST).index.to_numpy()
    while True:
        chosen = rng.choice(cheap, FIRST, replace=False)
        if min(frame.loc[chosen, c].nunique() for c in "ND") >= 3:
            return list(chosen)


def by_suggestion(frame, target, have, fit, budget, rng) -> list[int]:
    left = frame.drop(index=have)
    left = left[left["cost"] <= budget]
    if not len(left):
        return []
    chosen = bs.suggest(
        fit, left[["N", "D", "cost"]], target=target[["N", "D"]], budget=budget, repeat=False
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
    (drawn,) = joint_draws(fit, [left[["N", "D"]]], None, 1, "off")
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
    ratio, logs = np.log(left["D"] / left["N"]), np.log(left["cost"])
    balanced = ratio.median() + 0.5 * rng.standard_normal()

    def rungs(top: float, factor: float) -> list[int]:
        steps = np.arange(top, logs.min() - 1e-9, -np.log(factor))
        unlike = 0.5 * np.abs(ratio - balanced)
        return list({(np.abs(logs - step) + unlike).idxmin() for step in steps})

    def payable(chosen: list[int]) -> bool:
        return left.loc[chosen, "cost"].sum() <= budget

    tops = [top for top in logs.unique() if payable(rungs(top, RUNGS[0]))]
    if not tops:
        return []
    ladders = [rungs(max(tops), factor) for factor in RUNGS]
    return max(filter(payable, ladders), key=lambda chosen: left.loc[chosen, "cost"].sum())


CHOOSE = dict(zip(METHODS, (by_suggestion, at_random, d_optimal, ladder), strict=True))


def scores(name: str, frame: pd.DataFrame, law: str, seed: int, method: str) -> list[dict]:
    """One row for each budget."""
    dear = frame["cost"] >= frame["cost"].quantile(1 - 1 / 8)
    target, candidates = frame[dear], frame[~dear]
    total = float(candidates["cost"].sum())
    start = first_runs(candidates, total, np.random.default_rng(seed))
    rng = np.random.default_rng([seed, METHODS.index(method)])
    refits = method in ("suggest", "d-optimal")  # the others do not look at losses
    have, rows = list(start), []
    fit = fitted(candidates.loc[start], law) if refits else None
    for share in BUDGETS:
        if method == "ladder":
            have = list(start)  # a larger ladder replaces a smaller one
        left = share * total - candidates.loc[have, "cost"].sum()
        have += CHOOSE[method](candidates, target, have, fit, left, rng)
        fit = fitted(candidates.loc[have], law)
        rows.append(
            dict(
                pool=name,
                law=law,
                seed=seed,
                method=method,
                budget=share,
                runs=len(have),
                spent=round(float(candidates.loc[have, "cost"].sum()) / total, 5),
                r_squared=round(r_squared(fit, target), 4),
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=15.0, help="no further method starts after this"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pool", help="one pool only")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    began, file = time.monotonic(), RESULTS / "suggest.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    chosen = {k: v for k, v in pools().items() if arguments.pool in (None, k)}
    for seed in range(arguments.seeds):
        for name, (frame, law) in chosen.items():
            done = {
                (r["method"], r["budget"]) for r in rows if (r["pool"], r["seed"]) == (name, seed)
            }
            methods = [m for m in METHODS if not {(m, b) for b in BUDGETS} <= done]
            for method in methods:
                if time.monotonic() - began > 60 * arguments.minutes:
                    break
                rows += scores(name, frame, law, seed, method)
                pd.DataFrame(rows).to_csv(file, index=False)
    frame = pd.DataFrame(rows)
    for statistic in ("median", "mean"):
        print(f"\n{statistic} R-squared at the target")
        by = frame.groupby(["pool", "method", "budget"])["r_squared"]
        print(by.agg(statistic).unstack().round(3))
    print(frame.groupby("pool")["seed"].nunique().rename("seeds"))


if __name__ == "__main__":
    main()

"""Are forecasts better if small runs count less, because laws fail between small and large runs?

Beyond the runs, the drift (`bayescale.model.drift`) describes how the law fails. Here it extends
from its start to smaller scales too, approximately: each run gets an error of the law, entered as
an error of measurement (`loss_sd`), whose standard deviation is that of the drift between the run
and the start, independent between runs. The fall of the loss between them is that of a first fit.

* tables: the tables of `family.py`, for each law of the default family and for their average with
  the default power and drift;
* pools: the pools of `suggest.py`, with all runs but the most expensive eighth, which is forecast.

    python benchmarks/small_runs.py
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import family
import numpy as np
import pandas as pd
import suggest
from common import keep, write
from family import DEFAULT_POWER, LAWS, mixture, problems, scores

import bayescale as bs
from bayescale.model import AHEAD_AVERAGED
from bayescale.model.drift import Edge

#: Standard deviation of the random walk; 0: runs as they are. That beyond the runs is .06.
SIZES = (0.0, 0.03, 0.06, 0.12)
DRAWS = dict(family.DRAWS, random_seed=1)


def errors(fit: bs.Fit) -> np.ndarray:
    """Standard deviation of log loss of each run with a walk of size one."""
    law, columns = fit.law, {c: fit.runs.table[c].to_numpy(float) for c in fit.law.columns}
    distance = np.maximum(Edge.of(law, columns).scale - law.log_scale(columns), 0.0)
    factor = np.exp(distance / len(law.sizes))
    start = {c: v * factor if c in law.sizes else v for c, v in columns.items()}
    drawn = fit.parameters(None)
    values = {name: float(drawn[name].median()) for name in law.parameters}
    fall = np.log(law(columns, fit.plan.scales, values) / law(start, fit.plan.scales, values))
    return np.abs(fall) * np.sqrt(1 + distance / 3)


def weighed(runs: bs.Runs, law: str, sd: np.ndarray) -> bs.Fit:
    """The law fitted to runs with an error of the law; `sd` of log loss."""
    frame, loss = runs.table, runs.table["loss"].to_numpy(float)
    known = frame["loss_sd"].to_numpy(float) if "loss_sd" in frame else 0.0
    names = [c for c in dict.fromkeys(("N", "D", "C", *bs.laws.get(law).columns)) if c in frame]
    frame = frame[[*names, "loss"]].assign(loss_sd=np.hypot(sd * loss, known) + 1e-6)
    return bs.fit(bs.Runs.from_frame(frame), law, **DRAWS)


def draws(fit: bs.Fit, points: pd.DataFrame) -> np.ndarray:
    """Draws of the log loss of new runs, (draw, point), without the error of the law."""
    mean = np.log(bs.forecast(fit, points, random_seed=2).data["mean"])
    mean = mean.transpose("chain", "draw", "point").to_numpy().reshape(-1, len(points))
    sigma, nu = (fit.posterior[v].to_numpy().reshape(-1, 1) for v in ("sigma", "nu"))
    rng = np.random.default_rng(3)
    return mean + sigma * rng.standard_t(np.broadcast_to(nu, mean.shape))


def row(kind: str, name: str, law: str, size: float, drawn, truth) -> dict:
    each = scores(drawn, truth, np.zeros(len(truth)))
    middle = np.median(drawn, axis=0)
    loss, error = np.exp(truth), np.exp(middle) - np.exp(truth)
    return dict(
        kind=kind,
        name=name,
        law=law,
        size=size,
        runs=len(truth),
        coverage=each["0.90"].mean(),
        score=each["score"].mean(),
        CRPS=each["CRPS"].mean(),
        error=np.sqrt(((middle - truth) ** 2).mean()),
        r_squared=1 - (error**2).sum() / ((loss - loss.mean()) ** 2).sum(),
    )


def of_tables() -> list[dict]:
    rows = []
    for problem in problems():
        truth = np.log(problem.later["loss"].to_numpy(float))
        first = bs.fit(problem.seen, LAWS[0], **DRAWS)
        unit, points = errors(first), problem.points(first.law, ())
        for size in SIZES:
            averaged, evidence = [], []
            for law in LAWS:
                fit = weighed(problem.seen, law, size * unit)
                rows.append(row("table", problem.name, law, size, draws(fit, points), truth))
                averaged.append(draws(with_drift(fit, AHEAD_AVERAGED), points))
                evidence.append(fit.evidence.log)
            weights = np.exp(DEFAULT_POWER * (np.array(evidence) - max(evidence)))
            drawn = mixture(averaged, weights / weights.sum())
            rows.append(row("table", problem.name, "average", size, drawn, truth))
            print(pd.DataFrame(rows[-1:]).round(4).to_string(header=False), flush=True)
    return rows


def with_drift(fit: bs.Fit, ahead: bs.Positive) -> bs.Fit:
    return replace(fit, plan=replace(fit.plan, ahead=ahead))


def of_pools() -> list[dict]:
    rows = []
    for name, seed in [*((name, 0) for name in suggest.POOLS), ("parallel", 1)]:
        pool = suggest.pool(name, seed)
        dear = pool.frame["cost"] >= pool.frame["cost"].quantile(1 - 1 / 8)
        target, rest = pool.frame[dear], pool.frame[~dear]
        truth = np.log(target["loss"].to_numpy())
        fit = bs.fit(rest[[*pool.columns, "loss"]], pool.law, **DRAWS)
        unit = errors(fit)
        for size in SIZES:
            again = weighed(fit.runs, pool.law, size * unit)
            drawn = draws(again, target[pool.columns])
            rows.append(row("pool", f"{name} {seed}", pool.law, size, drawn, truth))
            print(pd.DataFrame(rows[-1:]).round(4).to_string(header=False), flush=True)
    return rows


def main() -> None:
    warnings.simplefilter("ignore")
    frame = pd.DataFrame([*of_tables(), *of_pools()])
    frame["law"] = frame["law"].where(frame["kind"] == "table", "its own")
    frame["better"] = frame["score"] < frame.groupby(["kind", "name", "law"])["score"].transform(
        "first"
    )
    keep(frame, "small_runs_each")
    numbers = ["coverage", "score", "CRPS", "error", "r_squared", "better"]
    summary = frame.groupby(["kind", "law", "size"], as_index=False)[numbers].mean()
    summary.insert(3, "tables", frame.groupby(["kind", "law", "size"]).size().to_numpy())
    write(summary, "small_runs", "means over tables, with an error of the law at small runs")


if __name__ == "__main__":
    main()

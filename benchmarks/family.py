"""The default family of laws: how its weights and its drift are chosen, and whether intervals hold.

Each law is fitted to the lower part of every table and forecasts the rest: the tables of
`rollouts.py` without the pooled one, and three splits of Farseer. Laws are weighed by a power of
their evidence. Among the powers and sizes of drift whose mean interval score is at most `CLOSE`
times the lowest, the choice is the one whose coverage is closest to nominal. It is made once on all
tables, for the defaults of the package, and once for each study on the tables of all others.

    python benchmarks/family.py
"""

from __future__ import annotations

import itertools
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from common import crps, interval_score, reference, write
from rollouts import tables

import bayescale as bs
from bayescale.evaluation import splits
from bayescale.model.drift import AHEAD

LAWS = ("chinchilla", "kaplan_floor", "skaling")
POWERS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
SIZES = (0.01, 0.03, 0.045, 0.06, 0.1)
LEVELS = (0.5, 0.8, 0.9, 0.95)
DRAWS = dict(draws=1000, chains=2)
#: Settings with a mean interval score of at most this factor times the lowest are compared by
#: their coverage.
CLOSE = 1.05
#: Multiples of the largest fitted compute that separate distances.
DISTANCES = (0.0, 1.0, 3.0, 10.0, np.inf)
#: What was recommended before the family: equal weights of two laws with little drift.
BEFORE = ("chinchilla and kaplan_floor, drift .03", ("chinchilla", "kaplan_floor"), 0.0, 0.03)


def problems() -> list[splits.Problem]:
    """Runs to fit and runs to predict."""
    out = [problem for problem, groups in tables() if not groups]
    frame = pd.read_csv(reference("farseer.csv"))
    runs = bs.Runs.from_frame(frame[frame["split"] == "train"].reset_index(drop=True))
    train, compute = runs.table, runs.table["C"]
    every = np.arange(len(train)) % 2 == 0
    out.append(_problem("farseer 35 %", runs, compute <= compute.quantile(0.35)))
    out.append(_problem("farseer 1e9", runs, train["N"] < 1e9))
    both = pd.concat([frame[frame["split"] == "train"][every], frame[frame["split"] == "test"]])
    seen = (both["split"] == "train").to_numpy()
    out.append(_problem("farseer test", bs.Runs.from_frame(both.reset_index(drop=True)), seen))
    return out


def _problem(name: str, runs: bs.Runs, fitted) -> splits.Problem:
    runs = replace(runs, table=runs.table.assign(fitted=np.asarray(fitted)))
    wrong: list[str] = []
    [problem] = splits.problems(
        runs, splits.cuts(runs, None, "C", "fitted", wrong), "C", None, (), wrong
    )
    return replace(problem, name=name, places=problem.places.assign(problem=name))


def draws_of(problem: splits.Problem, law: str) -> tuple[dict, float]:
    """Draws of log loss of the runs to predict, by size of drift, and the log evidence."""
    fit = bs.fit(problem.seen, law, **DRAWS, random_seed=1)
    points = problem.points(fit.law, ())
    out = {}
    for size in SIZES:
        sized = replace(fit, plan=replace(fit.plan, ahead=bs.Positive(size, spread=AHEAD.spread)))
        forecast = bs.forecast(sized, points, random_seed=2)
        loss = np.log(forecast.data["loss"].to_numpy())
        out[size] = loss.reshape(-1, loss.shape[-1])
    return out, fit.evidence.log, fit.convergence.passed


def mixture(draws: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Draws of a mixture, in proportion to the weights."""
    counts = np.round(weights * 4000).astype(int)
    parts = [
        d[np.linspace(0, len(d) - 1, n).astype(int)]
        for d, n in zip(draws, counts, strict=True)
        if n
    ]
    return np.concatenate(parts)


def scores(drawn: np.ndarray, truth: np.ndarray, away: np.ndarray) -> pd.DataFrame:
    """One row per run: whether each interval holds, interval score, width, CRPS."""
    out = {"distance": away, "CRPS": crps(truth, drawn)}
    for prob in LEVELS:
        low, high = np.quantile(drawn, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
        out[f"{prob:.2f}"] = (low <= truth) & (truth <= high)
        if prob == 0.9:
            out["score"], out["width"] = interval_score(truth, low, high, 0.1), high - low
    return pd.DataFrame(out)


def summary(by_table: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Means over tables, and the worst table."""
    means = pd.DataFrame({t: f.mean() for t, f in by_table.items()}).T
    pooled = pd.concat(by_table.values())
    levels = [f"{p:.2f}" for p in LEVELS]
    return {
        **{f"mean {c}": means[c].mean() for c in levels},
        **{f"pooled {c}": pooled[c].mean() for c in levels},
        "score": means["score"].mean(),
        "score, Farseer": means[means.index.str.startswith("farseer")]["score"].mean(),
        "score, others": means[~means.index.str.startswith("farseer")]["score"].mean(),
        "CRPS": means["CRPS"].mean(),
        "width": means["width"].mean(),
        "worst 0.95": means["0.95"].min(),
        "worst table": means["0.95"].idxmin(),
    }


def choose(each: dict[str, dict[str, pd.DataFrame]]) -> str:
    """The method with the best coverage among those with nearly the lowest interval score."""
    of = {method: summary(by_table) for method, by_table in each.items()}
    lowest = min(row["score"] for row in of.values())

    def deviation(method):
        row = of[method]
        return np.mean([abs(row[f"{k} {p:.2f}"] - p) for p in LEVELS for k in ("mean", "pooled")])

    close = [method for method, row in of.items() if row["score"] <= CLOSE * lowest]
    return min(close, key=deviation)


def main(laws=LAWS) -> None:
    warnings.simplefilter("ignore")
    drawn, evidence, truth, away, seconds = {}, {}, {}, {}, {}
    listed = problems()
    for problem in listed:
        name = problem.name
        truth[name] = np.log(problem.places["loss"].to_numpy(float))
        away[name] = problem.places["extrapolation"].to_numpy(float)
        started = time.perf_counter()
        for law in laws:
            drawn[name, law], evidence[name, law], passed = draws_of(problem, law)
            if not passed:
                print(f"{name}: {law} failed its check", file=sys.stderr)
        seconds[name] = time.perf_counter() - started
        print(
            f"{name}: {len(problem.seen)} runs, {seconds[name]:.1f} s, "
            + ", ".join(f"{law} {evidence[name, law]:.1f}" for law in laws),
            file=sys.stderr,
        )
    names = [p.name for p in listed]

    def of(table, members, power, size):
        log = power * np.array([evidence[table, law] for law in members])
        weights = np.exp(log - log.max())
        parts = [drawn[table, law][size] for law in members]
        return scores(mixture(parts, weights / weights.sum()), truth[table], away[table])

    rows, each = [], {}
    settings = [(f"{law}, drift .1", (law,), 0.0, 0.1) for law in laws] + [BEFORE]
    settings += [
        (f"family, evidence^{power:g}, drift {size:g}", laws, power, size)
        for power, size in itertools.product(POWERS, SIZES)
    ]
    for label, members, power, size in settings:
        each[label] = {t: of(t, members, power, size) for t in names}
        rows.append({"method": label, **summary(each[label])})
    family = [s[0] for s in settings[len(laws) + 1 :]]
    chosen, choice = {}, {}
    for table in names:
        study = table.split()[0]
        others = [t for t in names if t.split()[0] != study]
        choice[table] = choose({m: {t: each[m][t] for t in others} for m in family})
        chosen[table] = each[choice[table]][table]
    rows.append({"method": "family, chosen on other studies", **summary(chosen)})
    write(pd.DataFrame(rows), "family", "forecasts by law, power of the evidence and size of drift")
    print(pd.DataFrame(rows).set_index("method").round(3).to_string())
    print(pd.Series(choice).value_counts().to_string())

    best = choose({m: each[m] for m in family})
    power, size = next((p, s) for label, _, p, s in settings if label == best)
    choices = [{"left out": t.split()[0], "method": m} for t, m in choice.items()]
    choices = [{"left out": "none", "method": best, "power": power, "drift": size}, *choices]
    write(pd.DataFrame(choices).drop_duplicates(), "family_choice", "choices, without each study")
    before = each[BEFORE[0]]
    tables_ = pd.DataFrame(
        {
            t: {
                "runs": len(f),
                **{c: f[c].mean() for c in ("0.50", "0.80", "0.90", "0.95", "score", "width")},
                "score before": before[t]["score"].mean(),
                "seconds": seconds[t],
            }
            for t, f in each[best].items()
        }
    ).T
    difference = {t: (each[best][t]["score"] - before[t]["score"]) for t in names}
    tables_["standard errors worse"] = [
        difference[t].mean() / max(difference[t].std(ddof=1) / np.sqrt(len(difference[t])), 1e-9)
        for t in names
    ]
    write(tables_.reset_index(names="table"), "family_tables", "the chosen family by table")
    print(tables_.round(3).to_string())
    pooled = pd.concat(each[best].values())
    bins = pd.cut(pooled["distance"], DISTANCES, labels=["inside", "1-3x", "3-10x", "over 10x"])
    distances = pooled.groupby(bins, observed=False).agg(
        runs=("score", "size"),
        **{c: (c, "mean") for c in ("0.50", "0.80", "0.90", "0.95")},
        width=("width", "mean"),
    )
    write(distances.reset_index(), "family_distances", "the chosen family by distance")
    print(distances.round(3).to_string())


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or LAWS)

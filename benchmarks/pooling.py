"""Forecasts of large runs under partial, complete and no pooling, and from few small runs.

OpenLM (bundled): fitted on small models, scored on the held-out 1.4B and 6.9B runs. The comparison
concerns the parameters of the law, so forecasts are made without drift.

    python benchmarks/pooling.py
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from common import crps, interval_score, write

import bayescale as bs

POOLINGS = {
    "complete": dict(
        groups="dataset", pool=dict.fromkeys(bs.laws.chinchilla.parameters, "complete")
    ),
    "partial (default)": dict(groups="dataset"),
    "none": dict(groups="dataset", pool=dict.fromkeys(bs.laws.chinchilla.parameters, "none")),
}


def ladders(runs: bs.Runs) -> dict[str, bs.Runs]:
    """Training tables: all small runs, the five per corpus of the paper, and three of these."""
    table = runs.table
    rung = (table.tokens_per_param == 20) & table.N.round(-6).isin([11e6, 79e6, 154e6, 412e6])
    over = (table.tokens_per_param == 320) & (table.N < 11e6)
    return {
        "all runs up to 412M": runs[table.N < 5e8],
        "five rungs per corpus": runs[rung | over],
        "three rungs per corpus": runs[(rung & ((table.N < 11e6) | (table.N > 4e8))) | over],
    }


def score(fit: bs.Fit, held: bs.Runs, seed: int) -> tuple[dict[str, float], np.ndarray]:
    """Coverage and widths on held-out runs, and the score of each run."""
    ahead = bs.forecast(fit, held.table[["N", "D", "dataset"]], drift="off", random_seed=seed)
    truth = np.log(held.table["loss"].to_numpy())
    draws = np.log(ahead.data["loss"].to_numpy().reshape(-1, len(held)))
    point = np.median(np.log(ahead.data["mean"].to_numpy().reshape(-1, len(held))), axis=0)
    out = {
        "mean |error| %": 100 * float(np.abs(np.expm1(truth - point)).mean()),
        "worst |error| %": 100 * float(np.abs(np.expm1(truth - point)).max()),
    }
    for prob in (0.5, 0.8, 0.9, 0.95):
        low, high = np.quantile(draws, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
        out[f"inside {100 * prob:.0f} %"] = float(((low <= truth) & (truth <= high)).mean())
        if prob == 0.9:
            out["interval score"] = float(interval_score(truth, low, high, 0.1).mean())
            out["width %"] = 100 * float((high - low).mean())
    each = 100 * crps(truth, draws)
    return {**out, "CRPS %": float(each.mean())}, each


def main(seed: int = 1) -> None:
    runs = bs.Runs.example("openlm")
    cases = [(name, seen, runs.query("N > 1e9")) for name, seen in ladders(runs).items()]
    cases.insert(1, ("all runs up to 154M", runs.query("N < 2e8"), runs.query("N > 2e8")))
    big = runs.table["N"] > 1e9
    for name in runs.table["dataset"].unique():
        of_corpus = runs.table["dataset"] == name
        cases.append(
            (
                f"{name} up to 154M, other corpora whole",
                runs[~of_corpus | (runs.table["N"] < 2e8)],
                runs[of_corpus & (runs.table["N"] > 2e8)],
            )
        )
        rungs = ladders(runs)["five rungs per corpus"].table.index
        cases.append(
            (
                f"{name} by five rungs, other corpora whole",
                runs[~of_corpus | runs.table.index.isin(rungs)],
                runs[of_corpus & big],
            )
        )
    rows = []
    for ladder, seen, held in cases:
        scores = {}
        for pooling, how in POOLINGS.items():
            fit = bs.fit(seen, "chinchilla", random_seed=seed, **how)
            row, scores[pooling] = score(fit, held, seed)
            rows.append(
                {
                    "fitted": f"{ladder} ({len(seen)})",
                    "held": len(held),
                    "pooling": pooling,
                    **row,
                    "check": fit.check().passed,
                }
            )
            print(".", end="", flush=True, file=sys.stderr)
        for row in rows[-len(POOLINGS) :]:
            worse = scores["partial (default)"] - scores[row["pooling"]]
            row["CRPS % of partial less this"] = float(worse.mean())
            row["+-"] = float(worse.std(ddof=1) / np.sqrt(len(worse)))
    across = [r for r in rows if "other corpora whole" in r["fitted"]]
    for pooling in POOLINGS:
        scores = pd.DataFrame([r for r in across if r["pooling"] == pooling])
        held = scores["held"]
        rows.append(
            {
                "fitted": "mean of the six above, by run",
                "held": held.sum(),
                "pooling": pooling,
                **{
                    c: np.average(scores[c], weights=held)
                    for c in scores
                    if c not in ("fitted", "held", "pooling", "check", "+-", "worst |error| %")
                },
            }
        )
    write(pd.DataFrame(rows), "pooling", "OpenLM: large runs forecast from small ones, by pooling")
    write(
        pd.DataFrame(example(runs, seed)),
        "few_rungs_example",
        "OpenLM: 1.4B at 640 tokens per parameter on RedPajama, from RedPajama's own runs alone",
    )


def example(runs: bs.Runs, seed: int) -> list[dict]:
    """The example of the paper, which reports a point error of 0.7 % from five runs."""
    target = runs.query("1e9 < N < 2e9 and tokens_per_param == 640 and dataset == 'redpajama'")
    measured = float(target.table["loss"].iloc[0])
    rows = []
    for ladder, seen in ladders(runs).items():
        fit = bs.fit(seen.query("dataset == 'redpajama'"), "chinchilla", random_seed=seed)
        ahead = bs.forecast(fit, target.table[["N", "D"]], drift="off").summary(0.9).iloc[0]
        rows.append(
            {
                "fitted": ladder,
                "runs": len(fit.runs),
                "measured": measured,
                "forecast": ahead["loss"],
                "90 % lower": ahead["loss_eti90_lb"],
                "90 % upper": ahead["loss_eti90_ub"],
                "|error| %": 100 * abs(measured / ahead["mean"] - 1),
            }
        )
    return rows


if __name__ == "__main__":
    main()

"""Selection of the true law, for tables simulated from Kaplan's and from Hoffmann's law.

    python benchmarks/hypotheses.py [--tables 20]

True parameters are drawn from each law's priors; the design is that of OpenLM's C4 runs. In a
comparison of the two laws, the true law should have most of the weight. Under `skaling`, which
contains both, 90 % intervals should contain the true q (1 for Hoffmann's law, beta for Kaplan's) in
90 % of the tables.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd
from common import keep, write

import bayescale as bs
from bayescale.model.simulation import draw_prior, simulate_design
from bayescale.model.specify import design

FAMILIES = ("kaplan", "chinchilla")
SETTINGS = dict(draws=500, progressbar=False, random_seed=1)


def one(law: str, i: int, seed: int) -> dict:
    """Simulate a table, compute the weights of the laws, and infer q under `skaling`."""
    runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    rng = np.random.default_rng([seed, i, len(law)])
    plan = design(runs, bs.laws.get(law), drift="off")
    truth = {k: v[0] for k, v in draw_prior(plan, 1, rng).items()}
    fake = simulate_design(plan, truth, rng).runs
    fits = {name: bs.fit(fake, name, **SETTINGS) for name in (*FAMILIES, "skaling")}
    between = bs.compare({name: fits[name] for name in FAMILIES})
    q = fits["skaling"].posterior["q"]
    true_q = 1.0 if law == "chinchilla" else float(truth["alpha_D"])
    low, high = float(q.quantile(0.05)), float(q.quantile(0.95))
    loo = between.table
    return {
        "truth": law,
        "table": i,
        "weight": between.weights[law],
        "elpd_diff": float(loo["elpd_diff"].min()),
        "diff_se": float(loo["diff_se"].max()),
        "right": between.weights[law] > 0.5,
        "q": true_q,
        "q_low": low,
        "q_high": high,
        "covered": low <= true_q <= high,
        "converged": all(f.convergence.passed for f in fits.values()),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    each = pd.DataFrame([one(law, i, args.seed) for law in FAMILIES for i in range(args.tables)])
    keep(each, "hypotheses_each")
    table = (
        each.groupby("truth")
        .agg(
            tables=("table", "size"),
            right=("right", "sum"),
            median_weight=("weight", "median"),
            q_covered=("covered", "mean"),
            converged=("converged", "mean"),
        )
        .reset_index()
    )
    write(table, "hypotheses", "Simulated tables: the true law, and q of skaling (90 %)")


if __name__ == "__main__":
    main()

"""Coverage of forecasts of simulated tables and curves, with drift and noise of known size.

    python benchmarks/simulated.py [--tables 200] [--curves 200] [--workers 2]

True parameters are drawn from the priors. Tables have the design of OpenLM's C4 runs, the
Chinchilla law and drift ahead that starts at the edge of the fitted runs; the largest fifth is held
out. Curves follow a power law with drift from the first point on, noise that is correlated along
the curve, and breaks at random in the last decade, which is held out.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from common import keep, workers, write

import bayescale as bs
from bayescale.evaluation.scores import score, summarise
from bayescale.model import drift as drifts
from bayescale.model.design import Design
from bayescale.model.fitting import fit_design
from bayescale.model.simulation import draw_prior, simulate_design
from bayescale.model.specify import design

STEPS = 400  # of a simulated random walk through a curve
POINTS = 60
SETTINGS = dict(draws=500, tune=500, chains=4, progressbar=False)


def log_law(plan: Design, truth, log_scale) -> np.ndarray:
    """Log loss under the law with every run of the plan shifted to `log_scale`; dims (run,)."""
    by = np.exp((log_scale - plan.log_scale) / len(plan.law.columns))
    values = {p: truth[p] for p in plan.law.parameters}
    return np.log(plan.law({c: v * by for c, v in plan.columns.items()}, plan.scales, values))


def ahead(plan: Design, edge: drifts.Edge, truth, rng) -> np.ndarray:
    """Drift of log loss beyond `edge`, one random walk for all runs; dims (run,)."""
    prior = drifts.ahead(is_averaged=False, has_law_error=False)
    size = prior.median * prior.spread ** rng.standard_normal(1)
    at_edge, distance = edge.before(plan.law, plan.columns)
    kept = drifts.mean_walk(distance, size, rng, size * rng.standard_normal(1))[0]
    law, before = (plan.law(columns, plan.scales, truth) for columns in (plan.columns, at_edge))
    return kept * np.log(law / before)


def through(plan: Design, edge: float, truth, rng) -> np.ndarray:
    """Drift of log loss along a curve; dims (run,).

    The integral of a fine random walk over the law, and a break beyond `edge`, the end of the
    fitted part.
    """
    low, high = plan.log_scale.min(), plan.log_scale.max()
    steps = np.linspace(low, high, STEPS, endpoint=False)
    walk = truth["drift"] * np.sqrt((high - low) / STEPS) * rng.standard_normal(STEPS)
    mean = log_law(plan, truth, plan.log_scale)
    out = np.zeros(len(mean))
    for at, step in zip(steps, walk, strict=True):
        out += step * np.where(plan.log_scale > at, mean - log_law(plan, truth, at), 0.0)
    at = edge + rng.exponential(1 / drifts.BREAKS)
    jump = drifts.BREAK_SIZE * rng.standard_normal()
    return out + jump * np.where(plan.log_scale > at, mean - log_law(plan, truth, at), 0.0)


def table_of_runs() -> tuple[bs.Runs, np.ndarray, str]:
    runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    return runs, (runs.table["C"] <= runs.table["C"].quantile(0.8)).to_numpy(), "chinchilla"


def curve() -> tuple[bs.Runs, np.ndarray, str]:
    D = np.geomspace(3e6, 1e9, POINTS)
    runs = bs.Runs.from_frame(pd.DataFrame({"D": D, "loss": 0.5, "series": "one"}))
    return runs, D < 1e8, "power(D)"


CASES = {"tables": table_of_runs, "curves": curve}


def one(case: str, i: int, seed: int) -> pd.DataFrame:
    """Simulate, fit the first runs, and score the forecasts of the others."""
    runs, fitted, law = CASES[case]()
    rng = np.random.default_rng([seed, i, len(runs)])
    plan = design(runs[fitted], bs.laws.get(law))
    truth = {name: v[0] for name, v in draw_prior(plan, 1, rng).items()}
    whole = replace(plan, runs=runs)
    fake = simulate_design(replace(whole, drift="off"), truth, rng)
    deviation = (
        through(whole, plan.log_scale.max(), truth, rng)
        if plan.drift == "through"
        else ahead(whole, drifts.Edge.of(plan.law, plan.columns), truth, rng)
    )
    table = fake.runs.table.assign(loss=fake.runs.table["loss"] * np.exp(deviation))
    made = replace(runs, table=table)
    seen, later = replace(plan, runs=made[fitted]), table[~fitted]
    started = time.perf_counter()
    fit = fit_design(seen, random_seed=int(rng.integers(2**31)), **SETTINGS)
    points = later[[c for c in (*seen.law.columns, "series") if c in later]]
    predicted = bs.forecast(fit, points, random_seed=int(rng.integers(2**31)))
    loss = predicted.data["loss"].transpose("chain", "draw", "point").to_numpy()
    scores = score(
        later["loss"], loss.reshape(-1, len(later)), predicted.log_density(later["loss"])
    )
    return scores.assign(
        case=case,
        table=i,
        off=deviation[~fitted],
        drift=truth.get("drift", np.nan),
        converged=fit.convergence.passed,
        seconds=time.perf_counter() - started,
    )


def main() -> None:
    warnings.simplefilter("ignore", bs.ExtrapolationWarning)  # extrapolation is intended
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--curves", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    jobs = [(case, i, args.seed) for case in CASES for i in range(getattr(args, case))]
    with workers(args.workers) as pool:
        many = map if pool is None else pool.map
        points = pd.concat(many(one, *zip(*jobs, strict=True)), ignore_index=True)
    per = points.groupby(["case", "table"])
    facts = pd.DataFrame({"converged": per["converged"].first(), "seconds": per["seconds"].first()})
    table = summarise(points, "case", series="table").merge(
        facts.groupby("case").mean().reset_index(), on="case"
    )
    shown = [c for c in table if not c.endswith("_mc") and c not in ("rmsle", "rmsle_se")]
    write(table[shown], "simulated", "Forecasts of simulated tables and curves")
    inside = [c for c in points if c.startswith("inside")]
    each = per[[*inside, "log_score", "width90", "drift", "converged", "seconds"]].mean()
    keep(each.reset_index(), "simulated_each")


if __name__ == "__main__":
    main()

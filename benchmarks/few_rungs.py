"""Do intervals of the default family hold for larger runs if only 3, 5 or 8 runs are fitted?

The tables are those of `family.py`, each with one split. Of the runs that it fits, a ladder of 3, 5
or 8 is chosen at random, nearly evenly spaced in log compute. All later runs of the table are
forecast. Weights and drift are those of `bayescale.ensemble`; the sampler has fewer draws.

    python benchmarks/few_rungs.py [--repeats 1]
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings

import numpy as np
import pandas as pd
from common import keep, write
from evidence import FEWER
from family import LEVELS, mixture, problems, scores

import bayescale as bs
from bayescale.evaluation.ensembles import FLAT, POWER
from bayescale.inference import importance
from bayescale.model.fitting import fit_design
from bayescale.model.predictive import predict
from bayescale.model.specify import design

RUNGS = (3, 5, 8)
SEED = 8
SAMPLING = dict(draws=500, tune=500, chains=4, engine="particles", cores=1, target_accept=None)
#: Further splits of tables that are in the list already.
AGAIN = ("chinchilla 1e21", "farseer 1e9", "farseer test")


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
    evidence, drawn, converged = [], [], True
    for law in FLAT:
        fit = fit_design(
            design(runs, bs.laws.get(law), law_error=True),
            random_seed=repeat,
            progressbar=False,
            **SAMPLING,
        )
        points = problem.points(fit.law, ())
        place = {c: points[c].to_numpy(float) for c in fit.law.columns}
        rng = np.random.default_rng(repeat)
        ahead = fit.plan.drift_ahead(is_averaged=True)
        made = predict(fit.posterior, fit.plan, place, {}, rng, ahead=ahead)
        drawn.append(np.log(made["loss"].to_numpy()).reshape(-1, len(points)))
        evidence.append(fit.evidence.log)
        converged &= fit.convergence.passed
    weights = np.exp(POWER * (np.array(evidence) - max(evidence)))
    drawn = mixture(drawn, weights / weights.sum())
    truth = np.log(problem.places["loss"].to_numpy(float))
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
        failed=not converged,
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
    parser.add_argument("--repeats", type=int, default=1)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore")
    for constant, value in FEWER.items():
        setattr(importance, constant, value)
    parts = []
    listed = [problem for problem in problems() if problem.name not in AGAIN]
    for repeat, problem, n in itertools.product(range(repeats), listed, RUNGS):
        parts.append(one(problem, n, repeat))
        print(problem.name, n, file=sys.stderr, flush=True)
    each = pd.concat(parts, ignore_index=True)
    keep(each, "few_rungs_each")
    write(summary(each), "few_rungs", "The default family from few runs: means over tables")
    write(by_distance(each), "few_rungs_distances", "The same by distance")


if __name__ == "__main__":
    main()

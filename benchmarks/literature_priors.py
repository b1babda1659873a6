"""What do priors from published constants change in fits of five runs?

Five of the cheaper half of the runs of one OpenLM corpus are fitted with the default priors and
with those of `bayescale.priors_from_literature`, without the paper of these runs. The forecasts of
the most expensive quarter of the corpus are scored.

    python benchmarks/literature_priors.py
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from common import write

import bayescale as bs
from bayescale.evaluation.scores import score
from bayescale.model import design, fit_design

SUBSETS = 8
FITTED = 5
LAW = "chinchilla"


def five_runs(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Five runs of at least three sizes of model, from the cheaper half."""
    cheap = frame[frame["C"] <= frame["C"].median()]
    while True:
        chosen = cheap.iloc[np.sort(rng.choice(len(cheap), FITTED, replace=False))]
        if chosen["N"].nunique() >= 3:
            return chosen


def main() -> None:
    runs = bs.Runs.example("openlm")
    rng, rows = np.random.default_rng(1), []
    priors = {
        "default": None,
        "literature": bs.priors_from_literature(LAW, domain="language", without="Gadre"),
    }
    print(priors["literature"])
    for corpus, frame in runs.table.groupby("dataset"):
        later = frame[frame["C"] > frame["C"].quantile(0.75)]
        for subset in range(SUBSETS):
            chosen = five_runs(frame, rng)
            part = runs[runs.table.index.isin(chosen.index)]
            for name, chosen_priors in priors.items():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    plan = design(part, bs.laws.get(LAW), priors=chosen_priors)
                    fit = fit_design(plan, engine="particles", draws=500, tune=500, random_seed=1)
                    ahead = bs.forecast(fit, later[["N", "D"]], random_seed=1).data["loss"]
                draws = ahead.transpose("chain", "draw", "point").to_numpy()
                draws = draws.reshape(-1, len(later))
                found = score(later["loss"], draws, np.zeros(len(later)))
                sensitive = bs.sensitivity(fit).table["prior"]
                row = dict(corpus=corpus, subset=subset, priors=name, later=len(later))
                for p in ("alpha", "beta"):
                    low, middle, high = np.quantile(fit.posterior[p], [0.05, 0.5, 0.95])
                    row |= {p: middle, f"{p}_factor": high / low, f"{p}_prior": sensitive[p]}
                row |= dict(
                    coverage90=100 * found["inside90"].mean(),
                    width90=found["width90"].mean(),
                    interval_score=found["interval_score"].mean(),
                    error=100 * np.median(np.abs(np.log(np.median(draws, axis=0) / later["loss"]))),
                )
                rows.append(row)
    every = pd.DataFrame(rows)
    write(every, "literature_priors_each", "Each fit of five runs")
    columns = [c for c in every.columns if c not in ("corpus", "subset", "priors", "later")]
    table = every.groupby("priors", sort=False)[columns].mean().reset_index()
    table.insert(1, "fits", every.groupby("priors", sort=False).size().to_numpy())
    write(table, "literature_priors", "Mean over fits of five runs")


if __name__ == "__main__":
    main()

"""Are the posterior probabilities of laws calibrated?

A law is drawn from the default family, each with equal probability, and its parameters from its
prior. Losses are simulated with the sizes of 20 to 40 runs of a public table, and all laws are
fitted. Among the cases in which a law has a probability of about p, it should be the true one in a
share of p. There is no drift among the runs, as in the model of finished runs. The probabilities
are computed twice: with priors in units of the typical loss of the simulated table, as
`bayescale.fit` has them; and in the units in which the truth was drawn, which is exact Bayesian
inference. The weights of `bayescale.ensemble`, a power of the evidence, are scored beside them.

The sampler has fewer draws than by default: the log evidence has a standard error of about 0.05
instead of 0.02. Tables in ``results/evidence_each.csv`` are kept, and only the others are made.

    python benchmarks/evidence.py [--tables 300] [--jobs 2] [--summary]
"""

from __future__ import annotations

import argparse
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context

import numpy as np
import pandas as pd
from common import RESULTS, chinchilla240, keep, reference, write
from scipy.special import logsumexp
from scipy.stats import binom, norm

import bayescale as bs
from bayescale.evaluation.ensembles import OF_SIZE, POWER
from bayescale.inference import importance
from bayescale.model.fitting import fit_design
from bayescale.model.simulation import draw_prior, simulate_design
from bayescale.model.specify import design

TABLES, SEED = 300, 16
#: Number of runs of a table.
FEWEST, MOST = 20, 40
#: Tables with a loss further than this factor from the typical one are drawn again. The condition
#: is on the data alone, so the probabilities remain calibrated.
LARGEST = 1e3
SAMPLING = dict(draws=100, tune=500, chains=4, engine="particles", cores=1, target_accept=None)
#: Numbers of draws of the sampler.
FEWER = dict(
    ROUND=1000, ADAPTED_ESS=300, TARGET_ESS=400, TARGET_ERROR=0.1, RESAMPLED=1000, PARTICLES=500
)
BINS = (0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0)
METHODS = {
    "evidence": ("as fitted", 1.0),
    "evidence, units of the truth": ("exact", 1.0),
    f"evidence^{POWER:g}": ("as fitted", POWER),
}


@cache
def designs() -> dict[str, bs.Runs]:
    """Public tables; only their sizes are used."""
    frame = pd.read_csv(reference("xlstm_isoflop.csv"))
    farseer = pd.read_csv(reference("farseer.csv"))
    return {
        "chinchilla": chinchilla240(),
        "openlm": bs.Runs.example("openlm"),
        "misfitting": bs.Runs.read(reference("misfitting_best_lr.csv")),
        "xlstm": bs.Runs.from_frame(frame[frame["loss"] < 4.5].reset_index(drop=True)),
        "farseer": bs.Runs.from_frame(farseer[farseer["split"] == "train"].reset_index(drop=True)),
    }


def simulated(table: int):
    """The name of the design, the simulated runs, the true law, and its design in units of 1."""
    rng = np.random.default_rng([SEED, table])
    names = list(designs())
    name = names[table % len(names)]
    runs = designs()[name]
    rows = rng.choice(len(runs), min(len(runs), rng.integers(FEWEST, MOST + 1)), replace=False)
    sizes = runs.table.iloc[np.sort(rows)][["N", "D", "C"]].reset_index(drop=True)
    runs = bs.Runs.from_frame(sizes.assign(loss=1.0), source="a simulation")
    law = OF_SIZE[rng.integers(len(OF_SIZE))]
    plan = design(runs, bs.laws.get(law))
    while True:
        truth = {k: v[0] for k, v in draw_prior(plan, 1, rng).items()}
        with np.errstate(all="ignore"):
            fake = simulate_design(plan, truth, rng).runs
        log = np.log(fake.table["loss"])
        if (np.abs(log - log.mean()) < np.log(LARGEST)).all():
            return name, fake, law, runs


def change_of_units(fit: bs.Fit, runs: bs.Runs) -> tuple[float, float]:
    """The log ratio of the evidence with priors in the units of `runs` to that of the fit.

    It is the posterior mean of the ratio of the priors. The second value is the effective number of
    draws of that mean.
    """
    log_ratio = 0.0
    other = design(runs, fit.law)
    for p in fit.plan.parameters:
        new, old = other.parameter(p.name).prior, p.prior
        if new.centre != old.centre:
            x = np.log(fit.posterior[p.name].to_numpy().ravel())
            log_ratio = (
                log_ratio
                + norm.logpdf(x, new.centre, new.width)
                - norm.logpdf(x, old.centre, old.width)
            )
    log_ratio = np.atleast_1d(log_ratio)
    mean = logsumexp(log_ratio) - np.log(len(log_ratio))
    weights = np.exp(log_ratio - logsumexp(log_ratio))
    return float(mean), float(1 / (weights**2).sum())


def one(table: int) -> list[dict]:
    """Simulate a table; a row per law with its log evidence."""
    warnings.simplefilter("ignore")
    for constant, value in FEWER.items():
        setattr(importance, constant, value)
    name, fake, true, runs = simulated(table)
    rows = []
    for law in OF_SIZE:
        plan = design(fake, bs.laws.get(law))
        fit = fit_design(plan, random_seed=table, progressbar=False, **SAMPLING)
        change, effective = change_of_units(fit, runs)
        rows.append(
            {
                "table": table,
                "design": name,
                "runs": len(fake),
                "truth": true,
                "law": law,
                "log evidence": fit.evidence.log,
                "standard error": fit.evidence.error,
                "change of units": change,
                "effective draws": effective,
                "check": fit.convergence.passed,
            }
        )
    return rows


def probabilities(each: pd.DataFrame, units: str, power: float) -> pd.DataFrame:
    """Probabilities of laws, (table, law), in proportion to a power of the evidence."""
    log = each["log evidence"] + (each["change of units"] if units == "exact" else 0)
    log = power * each.assign(log=log).pivot(index="table", columns="law", values="log")
    return np.exp(log.sub(logsumexp(log, axis=1), axis=0))


def reliability(each: pd.DataFrame) -> pd.DataFrame:
    """Stated and observed shares in bins of the probability, for each method."""
    truth = each.groupby("table")["truth"].first()
    rows = []
    for method, how in METHODS.items():
        p = probabilities(each, *how)
        stated = p.to_numpy().ravel()
        true = (p.columns.to_numpy() == truth.loc[p.index].to_numpy()[:, None]).ravel()
        bins = np.clip(np.searchsorted(BINS, stated, side="right") - 1, 0, len(BINS) - 2)
        for b in range(len(BINS) - 1):
            inside = bins == b
            n = int(inside.sum())
            if not n:
                continue
            mean = stated[inside].mean()
            low, high = binom.ppf([0.025, 0.975], n, mean) / n
            rows.append(
                {
                    "method": method,
                    "from": BINS[b],
                    "to": BINS[b + 1],
                    "cases": n,
                    "stated": mean,
                    "observed": true[inside].mean(),
                    "band 2.5 %": low,
                    "band 97.5 %": high,
                    "inside": bool(low <= true[inside].mean() <= high),
                }
            )
    return pd.DataFrame(rows)


def scores(each: pd.DataFrame) -> pd.DataFrame:
    """Brier and log scores, and the Brier score that calibrated probabilities would have."""
    truth = each.groupby("table")["truth"].first()
    rows = []
    for method, how in METHODS.items():
        p = probabilities(each, *how)
        true = p.columns.to_numpy() == truth.loc[p.index].to_numpy()[:, None]
        p = p.to_numpy()
        brier = ((p - true) ** 2).sum(axis=1)
        if_calibrated = 1 - (p**2).sum(axis=1)
        excess = brier - if_calibrated
        rows.append(
            {
                "method": method,
                "tables": len(p),
                "Brier score": brier.mean(),
                "if calibrated": if_calibrated.mean(),
                "excess": excess.mean(),
                "standard error": excess.std(ddof=1) / np.sqrt(len(p)),
                "log score": np.log((p * true).sum(axis=1)).mean(),
                "most probable is true": true[np.arange(len(p)), p.argmax(axis=1)].mean(),
                "mean highest probability": p.max(axis=1).mean(),
            }
        )
    return pd.DataFrame(rows)


def by_truth(each: pd.DataFrame) -> pd.DataFrame:
    """Mean probability of each law, by the true one."""
    truth = each.groupby("table")["truth"].first()
    p = probabilities(each, *METHODS["evidence"])
    return p.groupby(truth).mean().assign(tables=truth.value_counts()).reset_index()


def picture(table: pd.DataFrame) -> None:
    """Stated against observed shares, for the evidence and for the weights of ensembles."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.2, 4.0), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", lw=1)
    for method, colour in (("evidence", "C0"), (f"evidence^{POWER:g}", "C1")):
        rows = table[table["method"] == method]
        if method == "evidence":
            axes.vlines(rows["stated"], rows["band 2.5 %"], rows["band 97.5 %"], color="0.8", lw=5)
        axes.plot(rows["stated"], rows["observed"], "o-", color=colour, label=method, ms=4)
    axes.set(xlabel="stated probability of a law", ylabel="share of cases in which it is true")
    axes.legend(frameon=False)
    figure.savefig(RESULTS / "evidence.png", dpi=110)


def summarise(each: pd.DataFrame) -> None:
    table = reliability(each)
    write(table, "evidence", "Stated and observed probabilities of laws; bands are binomial")
    write(scores(each), "evidence_scores", "Scores over three laws")
    write(by_truth(each), "evidence_by_truth", "Mean probability of each law, by the true law")
    picture(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=TABLES)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--summary", action="store_true", help="of the stored tables only")
    args = parser.parse_args()
    path = RESULTS / "evidence_each.csv"
    stored = pd.read_csv(path) if path.exists() else pd.DataFrame({"table": []})
    if args.summary:
        return summarise(stored)
    rows = stored.to_dict("records")
    missing = sorted(set(range(args.tables)) - set(stored["table"]))
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(one, i) for i in missing]
        for done, job in enumerate(as_completed(jobs), 1):
            rows += job.result()
            if done % 10 == 0 or done == len(jobs):
                print(f"{done} of {len(jobs)}", file=sys.stderr, flush=True)
                each = pd.DataFrame(rows).sort_values(["table", "law"])
                keep(each.reset_index(drop=True), "evidence_each")
    return summarise(pd.DataFrame(rows).sort_values(["table", "law"]).reset_index(drop=True))


if __name__ == "__main__":
    main()

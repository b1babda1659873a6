"""Effective draws per second, compared with the textbook PyMC model and the bootstrap.

    python benchmarks/speed.py [--callbacks]

The textbook model has raw A and B, non-centred groups and a diagonal mass matrix. It is sampled by
the same version of nutpie, so the ratios measure only the parametrisation and the mass matrix.
Compilation is not included in either time; `cold.py` measures whole processes. With
``--callbacks``, only the processor seconds of compilation are measured, with nutpie's own callbacks
and with the shorter ones of `bayescale.inference.nutpie_callbacks`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from contextlib import nullcontext
from importlib.metadata import version
from unittest.mock import patch

import numpy as np
import nutpie
import pandas as pd
import pymc as pm
from common import chinchilla240, write
from scipy.optimize import minimize

import bayescale as bs
from bayescale.inference import nutpie_callbacks
from bayescale.inference.diagnostics import convergence
from bayescale.model.pymc_model import target
from bayescale.model.specify import design

DRAWS, CHAINS, REPEATS = 1000, 4, 3
GROUPS, RUNS_PER_GROUP = 20, 30
TEXTBOOK_HIERARCHY = dict(draws=300, tune=300)  # more would take hours
BOOTSTRAPS = 40  # timed, then scaled to 4000
COMPILATIONS = 3


def textbook(runs: bs.Runs, group: str | None = None) -> pm.Model:
    """The Chinchilla model in its raw constants."""
    N, D, y = (runs.table[c].to_numpy() for c in ("N", "D", "loss"))
    index, levels = pd.factorize(runs.table[group], sort=True) if group else (None, None)
    with pm.Model(coords={"group": levels} if group else None) as model:
        values = {}
        medians = dict(E=1.7, A=400.0, B=1000.0, alpha=0.35, beta=0.35)
        for name, median in medians.items():
            mean = pm.Normal(f"log_{name}", np.log(median), 1.5 if name in "AB" else 0.4)
            if group:
                spread = pm.HalfNormal(f"{name}_spread", 0.3)
                mean = mean + spread * pm.Normal(f"{name}_offset", 0, 1, dims="group")
                mean = mean[index]
            values[name] = pm.math.exp(mean)
        law = values["E"] + values["A"] * N ** -values["alpha"] + values["B"] * D ** -values["beta"]
        sigma = pm.HalfNormal("sigma", 0.05)
        nu = pm.Gamma("nu", 2, 0.1)
        pm.StudentT("log_loss", nu=nu, mu=pm.math.log(law), sigma=sigma, observed=np.log(y))
    return model


def sampled(model, **settings) -> tuple[float, float, int]:
    """Seconds, smallest effective sample size, divergences."""
    started = time.perf_counter()
    tree = nutpie.sample(
        model, chains=CHAINS, cores=2, progress_bar=False, save_warmup=False, **settings
    )
    seconds = time.perf_counter() - started
    found = convergence(tree["posterior"].to_dataset(), tree["sample_stats"].to_dataset())
    return seconds, found.ess, found.divergences


def refits(
    runs: bs.Runs, groups: str | None = None, draws: int = DRAWS
) -> tuple[float, float, int]:
    """As `sampled`, for refits with this package; medians of several seeds.

    Flat fits are by importance sampling, whose draws cannot diverge.
    """
    bs.fit(runs, groups=groups, random_seed=0, progressbar=False)
    figures = []
    for seed in range(REPEATS):
        fit = bs.fit(runs, groups=groups, draws=draws, random_seed=seed + 1, progressbar=False)
        divergences = getattr(fit.convergence, "divergences", 0)
        figures.append((fit.facts["seconds"], fit.convergence.ess, divergences))
    return tuple(np.median(figures, axis=0))


def bootstrap(runs: bs.Runs) -> float:
    """Seconds for 4000 case resamples of the log-Huber fit, each warm-started at the best fit."""
    N, D, y = (np.log(runs.table[c].to_numpy()) for c in ("N", "D", "loss"))

    def objective(p, rows):
        a, b, e, alpha, beta = p
        terms = np.stack([a - alpha * N[rows], b - beta * D[rows], np.full(len(rows), e)])
        r = np.abs(np.logaddexp.reduce(terms) - y[rows])
        return np.where(r < 1e-3, r**2 / 2, 1e-3 * (r - 5e-4)).sum() * 1e3

    whole = np.arange(len(y))
    best = minimize(objective, [6, 7.5, 0.6, 0.35, 0.37], args=(whole,), method="BFGS").x
    rng = np.random.default_rng(1)
    started = time.perf_counter()
    for _ in range(BOOTSTRAPS):
        minimize(objective, best, args=(rng.choice(whole, len(whole)),), method="BFGS")
    return (time.perf_counter() - started) / BOOTSTRAPS * 4000


def compile_seconds(runs: bs.Runs, groups: str | None, short: bool) -> list[float]:
    """Seconds of processor time to compile a fresh Chinchilla model, for several repetitions.

    With `short` false, nutpie's own callbacks are compiled.
    """
    plan = target(design(runs, bs.laws.chinchilla, groups))
    seconds = []
    for _ in range(COMPILATIONS):
        model = plan.build()
        started = time.process_time()
        if short:
            nutpie_callbacks.compile_model(model, plan.scattered)
        else:
            with patch.object(nutpie_callbacks, "_short_callbacks", nullcontext):
                nutpie_callbacks.compile_model(model, plan.scattered)
        seconds.append(time.process_time() - started)
    return seconds


def callbacks() -> pd.DataFrame:
    """Processor seconds of compilation with both kinds of callbacks, flat and grouped model."""
    openlm = bs.Runs.example("openlm")
    compile_seconds(openlm, None, short=True)  # imports and the start of numba are not included
    rows = []
    for name, groups in (("chinchilla", None), ("chinchilla, grouped", "dataset")):
        default, short = (compile_seconds(openlm, groups, short=s) for s in (False, True))
        rows.append(
            {
                "model": name,
                "nutpie's callbacks (s)": np.median(default),
                "short callbacks (s)": np.median(short),
                "saved (s)": np.median(default) - np.median(short),
                "saved (%)": 100 * (1 - np.median(short) / np.median(default)),
                "repetitions": COMPILATIONS,
                "nutpie": version("nutpie"),
            }
        )
    return pd.DataFrame(rows)


def twenty_groups() -> bs.Runs:
    """Twenty sweeps of thirty runs that differ by about a tenth in every parameter."""
    rng = np.random.default_rng(1)
    frames = []
    base = bs.laws.chinchilla.published["besiroglu2024"].values
    for g in range(GROUPS):
        N = np.geomspace(5e7, 5e9, RUNS_PER_GROUP) * rng.lognormal(0, 0.2, RUNS_PER_GROUP)
        D = N * rng.choice([5, 10, 20, 40, 80, 160], RUNS_PER_GROUP)
        parameters = {
            k: v * rng.lognormal(0, 0.03 if k in ("alpha", "beta") else 0.1)
            for k, v in base.items()
        }
        frame = pd.DataFrame({"N": N, "D": D, "loss": 1.0, "sweep": f"s{g:02d}"})
        fake = bs.simulate(
            "chinchilla", bs.Runs.from_frame(frame, groups="sweep"), parameters, random_seed=g
        )
        frames.append(fake.table)
    return bs.Runs.from_frame(
        pd.concat(frames, ignore_index=True), groups="sweep", N="N", D="D", C="C"
    )


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--callbacks", action="store_true", help="measure compilation only")
    if parser.parse_args().callbacks:
        write(callbacks(), "callbacks", "Processor seconds of compilation, medians")
        return
    runs = chinchilla240()
    rows = []

    def row(job, method, seconds, ess=np.nan, divergences=np.nan):
        rows.append(
            {
                "job": job,
                "method": method,
                "seconds": seconds,
                "min ESS": ess,
                "ESS per second": ess / seconds,
                "divergences": divergences,
            }
        )

    job = f"Chinchilla-240, {CHAINS} x {DRAWS} draws"
    raw = nutpie.compile_pymc_model(textbook(runs))
    row(job, "textbook PyMC", *sampled(raw, draws=DRAWS, tune=1000, seed=1))
    row(job, "bayescale, refit", *refits(runs))
    row("uncertainty of the same fit", "case bootstrap, 4000 draws", bootstrap(runs))

    started = time.perf_counter()
    fit = bs.fit(runs, random_seed=9, progressbar=False)
    bs.forecast(fit, N=np.geomspace(1e9, 1e11, 50), D=1e12).summary()
    row(
        "uncertainty of the same fit",
        "bayescale, refit, check and forecast of 50 points",
        time.perf_counter() - started,
    )

    runs = twenty_groups()
    job = f"hierarchy, {GROUPS} groups x {RUNS_PER_GROUP} runs"
    raw = nutpie.compile_pymc_model(textbook(runs, "sweep"))
    row(job, "textbook PyMC", *sampled(raw, seed=1, **TEXTBOOK_HIERARCHY))
    row(job, "bayescale, refit", *refits(runs, "sweep"))
    row(job, f"bayescale, refit, {CHAINS} x 4000 draws", *refits(runs, "sweep", 4000))

    table = pd.DataFrame(rows)
    for _, jobs in table.groupby("job", sort=False):
        slow = jobs.iloc[0]
        for at, fast in jobs.iloc[1:].iterrows():
            table.loc[at, "times faster"] = (
                fast["ESS per second"] / slow["ESS per second"]
                if np.isfinite(fast["min ESS"])
                else slow["seconds"] / fast["seconds"]
            )
    write(table, "speed", "Speed, side by side")


if __name__ == "__main__":
    main()

"""Do the intervals of compute multipliers hold?

Two recipes of six runs each are simulated from the Chinchilla law, with a known multiplier between
1.05 and 2 at the largest run, with equal and with different exponents. They are fitted together as
groups, and the multiplier is computed at the largest run and at ten times its compute. The truths
are the laws alone, for which intervals with drift are too wide, and laws with a drift beyond the
runs that is drawn from its prior, independently for each recipe.

    python benchmarks/speedups.py [tables]
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import pandas as pd
from common import interval_score, keep, write

import bayescale as bs
from bayescale.forecasting.searches import reached
from bayescale.model import drift as drifts

TABLES, RUNS, SIGMA, RATIO = 40, 6, 0.003, 20.0
MULTIPLIERS = (1.05, 2.0)
#: Standard deviation of the log of the ratio of the exponents of two recipes that differ.
EXPONENTS = 0.05
TIMES = (1.0, 10.0)
#: One attempt with small steps, in place of several with increasing care.
SAMPLER = dict(draws=750, tune=1000, target_accept=0.95, progressbar=False)
#: Truths with drift for each table.
DRIFTED = 50


def loss_of(v: dict, C: np.ndarray) -> np.ndarray:
    """Loss along the ratio of tokens to parameters."""
    N = np.sqrt(C / (6 * RATIO))
    return v["E"] + v["A"] * N ** -v["alpha"] + v["B"] * (RATIO * N) ** -v["beta"]


def compute_of(v: dict, loss: float) -> float:
    """Compute at which a recipe reaches a loss, by bisection."""
    low, high = np.log(1e10), np.log(1e40)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if loss_of(v, np.exp(middle)) > loss else (low, middle)
    return float(np.exp(low))


def constants(rng) -> dict:
    """A law near the one of Hoffmann et al."""
    return dict(
        E=1.7 * np.exp(0.1 * rng.normal()),
        A=450 * np.exp(0.2 * rng.normal()),
        B=1500 * np.exp(0.2 * rng.normal()),
        alpha=0.34 + 0.01 * rng.normal(),
        beta=0.35 + 0.01 * rng.normal(),
    )


def matched(one: dict, other: dict, at: float, multiplier: float) -> dict:
    """The other recipe, with amplitudes changed by one factor so that its multiplier is exact."""
    goal = loss_of(one, at * multiplier) - one["E"]
    reducible = loss_of(other, at) - other["E"]
    return other | {name: other[name] * goal / reducible for name in "AB"}


def table(index: int) -> tuple[bs.Runs, dict, dict, float]:
    """Runs, the truths of the two recipes, and the compute of the largest run."""
    rng = np.random.default_rng([20, index])
    multiplier = np.exp(rng.uniform(*np.log(MULTIPLIERS)))
    one = constants(rng)
    N = np.geomspace(3e7, 1e9, RUNS)
    D = N * np.where(np.arange(RUNS) % 2, 40.0, 10.0)
    largest = float(6 * (N * D).max())
    other = dict(one)
    if index % 2:
        for name in ("alpha", "beta"):
            other[name] *= np.exp(EXPONENTS * rng.normal())
    other = matched(one, other, largest, multiplier)
    frames = []
    for name, v in (("A", one), ("B", other)):
        loss = v["E"] + v["A"] * N ** -v["alpha"] + v["B"] * D ** -v["beta"]
        loss = loss * np.exp(SIGMA * rng.standard_t(6, RUNS))
        frames.append(pd.DataFrame({"N": N, "D": D, "loss": loss, "recipe": name}))
    runs = bs.Runs.from_frame(pd.concat(frames, ignore_index=True), groups="recipe")
    return runs, one, other, largest


def drifted(v: dict, log_C: np.ndarray, edge: float, size, rng) -> np.ndarray:
    """Log losses along the path with draws of the drift beyond the runs, (draw, point)."""
    distance = np.maximum(log_C - edge, 0.0)
    law, at_edge = (np.log(loss_of(v, np.exp(x))) for x in (log_C, log_C - distance))
    start = size * rng.standard_normal(len(size))
    return law + (law - at_edge) * drifts.mean_walk(distance, size, rng, start)


def with_drift(one: dict, other: dict, at: float, edge: float, rng) -> np.ndarray:
    """Multipliers under draws of the drift, (draw,); not beyond the range that is looked for."""
    prior = drifts.ahead(is_averaged=False, has_law_error=False)
    size = np.exp(prior.centre + prior.width * rng.standard_normal(DRIFTED))
    goal = drifted(other, np.log([at]), edge, size, rng)
    log_C = np.log(at) + np.linspace(-np.log(1e4), np.log(1e4), 400)
    needed = reached(log_C, drifted(one, log_C, edge, size, rng), goal)[:, 0]
    return np.clip(np.exp(needed - np.log(at)), 1e-4, 1e4)


def main(tables: int = TABLES) -> None:
    warnings.simplefilter("ignore")
    rows = []
    for index in range(tables):
        runs, one, other, largest = table(index)
        started = time.perf_counter()
        fit = bs.fit(runs, groups="recipe", random_seed=index, **SAMPLER)
        seconds = time.perf_counter() - started
        for drift in ("auto", "off"):
            result = bs.speedup(
                fit, "B", over="A", at=[t * largest for t in TIMES], along=RATIO, drift=drift
            )
            for i, times in enumerate(TIMES):
                at = times * largest
                truth = compute_of(one, loss_of(other, at)) / at
                draws = np.log(result.data["multiplier"].isel(point=i).to_numpy().ravel())
                low, high = np.quantile(draws, [0.05, 0.95])
                rng = np.random.default_rng([21, index, i])
                # Log scale of the model is that of N D.
                edge = drifts.Edge.of(fit.law, fit.plan.columns).scale + np.log(6)
                drifting = np.log(with_drift(one, other, at, edge, rng))
                rows.append(
                    dict(
                        table=index,
                        exponents="different" if index % 2 else "equal",
                        times=times,
                        drift=drift,
                        truth=truth,
                        median=float(np.exp(np.median(draws))),
                        lower=float(np.exp(low)),
                        upper=float(np.exp(high)),
                        p_better=float(result.p_better[i]),
                        inside=bool(low <= np.log(truth) <= high),
                        inside_drifting=float(((low <= drifting) & (drifting <= high)).mean()),
                        score=float(interval_score(np.log(truth), low, high, alpha=0.1)),
                        r_hat=fit.convergence.r_hat,
                        divergences=fit.convergence.divergences,
                        seconds=seconds,
                    )
                )
        print(
            pd.DataFrame(rows[-4:])[["truth", "lower", "upper", "inside"]].to_string(), flush=True
        )
        keep(pd.DataFrame(rows), "speedup_tables")
    frame = pd.DataFrame(rows)
    frame["width"] = np.log(frame["upper"] / frame["lower"])
    frame["log_error"] = np.log(frame["median"] / frame["truth"]).abs()
    by = ["drift", "times", "exponents"]
    kinds = [frame, frame.assign(exponents="all")]
    summary = (
        pd.concat(kinds)
        .groupby(by, as_index=False)
        .agg(
            tables=("table", "size"),
            coverage=("inside", "mean"),
            coverage_of_drifting=("inside_drifting", "mean"),
            width=("width", "median"),
            log_error=("log_error", "median"),
            score=("score", "mean"),
        )
    )
    write(summary, "speedups", "90 % intervals of the log of compute multipliers")


if __name__ == "__main__":
    main(*(int(v) for v in sys.argv[1:]))

"""Do the intervals of the compute-optimal size and its exponent hold?

Each law of the default family is fitted to four public tables. Draws of its parameters and noise
become truths: the losses of the table are simulated from them, and the family, each of its laws
alone, and the log-Huber fit with a bootstrap of today's practice give the optimal size at 1, 10 and
100 times the largest budget, and the exponent of its growth there. The drift is off in the truths.

    python benchmarks/allocations.py [tables per law and design]
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from common import interval_score, keep, reference, write

import bayescale as bs
from bayescale import laws
from bayescale.evaluation.baselines import Problem, huber_fits
from bayescale.evaluation.ensembles import FLAT
from bayescale.inference import run_all

LAWS = FLAT
TIMES = (1.0, 10.0, 100.0)
#: Budgets a little below and above, for the exponent.
STEP = 1.1
TABLES, RESAMPLES = 5, 200
HUBER = "log-Huber bootstrap (chinchilla)"


def designs() -> dict[str, bs.Runs]:
    """The sizes of four public tables."""
    chinchilla = bs.Runs.read(reference("chinchilla.csv"))
    frame = pd.read_csv(reference("xlstm_isoflop.csv"))
    chosen = (frame["architecture"] == "llama") & (frame["context"] == 8192) & (frame["loss"] < 4.5)
    return {
        "chinchilla": chinchilla[chinchilla.table["epoch_excluded"].astype(str) != "True"],
        "openlm c4": bs.Runs.example("openlm").query("dataset == 'c4'"),
        "misfitting": bs.Runs.read(reference("misfitting_best_lr.csv")),
        "xlstm llama 8192": bs.Runs.from_frame(frame[chosen]),
    }


def optimum(law, scales, values, budget) -> np.ndarray:
    """Log of the N that minimises the loss of each set of parameters, (draw,)."""
    log_n = np.linspace(np.log(1e4), np.log(budget / 6) - np.log(1e4), 4000)
    columns = dict(N=np.exp(log_n), D=budget / 6 / np.exp(log_n))
    values = {p: np.atleast_1d(v)[:, None] for p, v in values.items()}
    best = []
    for i in range(len(next(iter(values.values())))):
        loss = law(columns, scales, {p: v[i] for p, v in values.items()})
        k = int(np.clip(np.argmin(loss), 1, len(log_n) - 2))
        left, middle, right = loss[k - 1 : k + 2]
        # The minimum of the parabola through the three points around the best of the grid.
        shift = 0.5 * (left - right) / (left - 2 * middle + right)
        best.append(log_n[k] + shift * (log_n[1] - log_n[0]))
    return np.array(best)


def quantities(law, scales, values, largest: float) -> dict[tuple[str, float], np.ndarray]:
    """Log N* and the exponent a at each multiple of the largest budget."""
    out = {}
    for times in TIMES:
        low, at, high = (
            optimum(law, scales, values, largest * times * s) for s in (1 / STEP, 1.0, STEP)
        )
        out["log N*", times] = at
        out["a", times] = (high - low) / (2 * np.log(STEP))
    return out


class Task(NamedTuple):
    """One table to simulate: the design, and one posterior draw of a law fitted to it."""

    design: str
    fit: bs.Fit
    draw: dict[str, float]
    seed: int


def simulated(task: Task) -> bs.Runs:
    """The runs of the design with losses of the law plus Student-t noise."""
    plan, rng = task.fit.plan, np.random.default_rng(task.seed)
    log_loss = np.log(plan.law(plan.columns, plan.scales, task.draw))
    noise = task.draw["sigma"] * rng.standard_t(task.draw["nu"], len(plan.runs))
    frame = pd.DataFrame({c: plan.columns[c] for c in ("N", "D")})
    return bs.Runs.from_frame(frame.assign(loss=np.exp(log_loss + noise)))


def intervals(draws: np.ndarray) -> tuple[float, float]:
    return tuple(np.quantile(draws, [0.05, 0.95]))


def evaluated(task: Task) -> list[dict]:
    """A row per method and quantity: whether its 90 % interval holds, its score and its width."""
    warnings.simplefilter("ignore")
    runs, plan = simulated(task), task.fit.plan
    largest = float(runs.table["C"].max())
    exact = quantities(
        plan.law, plan.scales, {p: task.draw[p] for p in plan.law.parameters}, largest
    )
    found: dict[str, dict] = {}
    family = bs.ensemble(runs, LAWS, draws=500, random_seed=task.seed, progressbar=False)
    for name, fit in {"family": family, **family.fits}.items():
        data = bs.allocate(fit, C=[largest * t for t in TIMES]).data
        found[name] = {
            (quantity, times): np.asarray(values[..., i]).ravel()
            for quantity, values in (
                ("log N*", np.log(data["N"].transpose(..., "budget").to_numpy())),
                ("a", data["a"].transpose(..., "budget").to_numpy()),
            )
            for i, times in enumerate(TIMES)
        }
    problem = Problem(
        laws.get("chinchilla"),
        {c: runs.table[c].to_numpy(float) for c in ("N", "D")},
        np.log(runs.table["loss"].to_numpy(float)),
    )
    _, refits = huber_fits(problem, np.random.default_rng(task.seed), RESAMPLES)
    found[HUBER] = quantities(problem.law, problem.scales, problem.values(refits), largest)
    rows = []
    for method, by_quantity in found.items():
        for (quantity, times), draws in by_quantity.items():
            value = float(exact[quantity, times][0])
            low, high = intervals(draws)
            rows.append(
                dict(
                    method=method,
                    design=task.design,
                    truth=plan.law.name,
                    quantity=quantity,
                    times=times,
                    holds=low <= value <= high,
                    score=float(interval_score(value, low, high, 0.1)),
                    width=high - low,
                )
            )
    return rows


def tasks(each: int) -> list[Task]:
    out = []
    for name, runs in designs().items():
        for law in LAWS:
            fit = bs.fit(runs, law, draws=500, random_seed=1)
            names = [*fit.law.parameters, "sigma", "nu"]
            values = {p: fit.posterior[p].to_numpy().ravel() for p in names}
            for i, k in enumerate(np.linspace(0, len(values["nu"]) - 1, each).astype(int)):
                draw = {p: float(v[k]) for p, v in values.items()}
                out.append(Task(name, fit, draw, 1000 + i))
    return out


def main() -> None:
    each = int(sys.argv[1]) if len(sys.argv) > 1 else TABLES
    started = time.perf_counter()
    jobs = tasks(each)
    names = [f"{job.design}, {job.fit.law.name}" for job in jobs]
    rows = pd.DataFrame([row for part in run_all(evaluated, jobs, names) for row in part])
    keep(rows, "allocation_coverage_each")
    by = ["method", "quantity", "times"]
    table = rows.groupby(by)[["holds", "score", "width"]].mean().reset_index()
    write(table, "allocation_coverage", "90 % intervals of the optimal size and its exponent")
    shown = rows[rows["method"].isin(["family", HUBER])]
    by_truth = shown.groupby(["method", "truth", "quantity"])["holds"].mean().unstack()
    write(by_truth.reset_index(), "allocation_coverage_by_truth", "The same by the true law")
    print(f"{len(jobs)} tables, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

"""Do the intervals of decisions hold? Target losses, serving and trajectories by simulation.

Tables of thirty runs are simulated from a law of Hoffmann's form with known parameters, exactly or
with a drift beyond the runs as the model assumes. Each is fitted once. The 90 % intervals of four
answers are compared with the truth:

* the compute at which a run reaches a target loss (that of the true law at ten times the largest
  run), and the share of runs with the budget for a probability of 80 % that reach it;
* the optimal N of a budget that also serves 1e12 tokens, and the loss of a new run trained so;
* the loss by calendar year with exact growth, three years after a run of three times the largest.

Rows that the file of tables has are kept, so that the script can be continued.

    python benchmarks/decisions.py [--minutes 15] [--tables 30]
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from common import RESULTS, keep
from scipy.optimize import minimize_scalar

import bayescale as bs
from bayescale.model import drift as drifts

SAMPLE = ("chain", "draw")
KINDS = ("exact", "drift")
NOISE, DEGREES = 0.01, 5.0
SERVED = 1e12
#: New runs with which the probability of reaching a target is computed.
RUNS = 1000
GROWTH, PROGRESS, YEARS = 4.0, 2.0, 3.0
CHINCHILLA = bs.laws.get("chinchilla")
EXACT = dict(growth=GROWTH, algorithms=PROGRESS, data_stock=1e30, epochs=1.0, ceiling=1e40)


class Truth:
    """A law with known parameters, and a drift beyond given runs."""

    def __init__(self, rng, N, D, kind: str):
        spread = np.exp(rng.standard_normal(5) * [0.1, 0.4, 0.4, 0.1, 0.1])
        self.E, self.A, self.B, self.alpha, self.beta = spread * [1.8, 480.0, 2100.0, 0.35, 0.37]
        self.edge = drifts.Edge.of(CHINCHILLA, {"N": N, "D": D})
        self.grid = np.linspace(0, 40, 400)
        prior = drifts.ahead(is_averaged=False, has_law_error=False)
        size = np.exp(prior.centre + prior.width * rng.standard_normal(1)) * (kind == "drift")
        start = size * rng.standard_normal(1)
        self.walk = drifts.mean_walk(self.grid, size, rng, start)[0]

    def law(self, N, D):
        return self.E + self.A * N**-self.alpha + self.B * D**-self.beta

    def loss(self, N, D):
        N, D = np.broadcast_arrays(np.asarray(N, float), np.asarray(D, float))
        at_edge, distance = self.edge.before(CHINCHILLA, {"N": N, "D": D})
        law, near = self.law(N, D), self.law(**at_edge)
        walk = np.interp(distance, self.grid, self.walk)
        return law * (law / near) ** walk

    def best_N(self, C, served=0.0):
        """The N with the lowest loss of the law, of budgets of training and serving."""

        def loss(log_N):
            N = np.exp(log_N)
            D = C / (6 * N) - served / 3
            return self.law(N, D) if D > 0 else np.inf

        most = np.log(C / (2 * served)) - 1e-3 if served else np.log(C) - 20
        return float(np.exp(minimize_scalar(loss, bounds=(10, most), method="bounded").x))


def noise(rng, size=None):
    return np.exp(NOISE * rng.standard_t(DEGREES, size))


def inside(draws, truth: float) -> bool:
    """Whether a 90 % interval holds the truth, by its rank among the draws, which may be infinite.

    Interpolated quantiles are not defined next to infinite values.
    """
    draws = np.asarray(draws)
    return bool((draws < truth).mean() <= 0.95 and (draws <= truth).mean() >= 0.05)


def one_table(kind: str, seed: int) -> dict:
    """Whether each interval holds the truth for one simulated table."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    C = np.exp(rng.uniform(np.log(1e18), np.log(1e21), 30))
    N = np.sqrt(C / 6 / (20 * np.exp(0.8 * rng.standard_normal(30))))
    D = C / (6 * N)
    truth = Truth(rng, N, D, kind)
    table = pd.DataFrame({"N": N, "D": D, "loss": truth.loss(N, D) * noise(rng, 30)})
    fit = bs.fit(table, random_seed=seed, draws=500)
    out = dict(kind=kind, seed=seed)

    far = 10 * C.max()
    target = truth.law(best := truth.best_N(far), far / (6 * best))
    needed = bs.allocate(fit, loss=target, probability=[0.5, 0.8])
    budgets = np.geomspace(far / 1e4, far * 1e6, 200)
    path = bs.allocate(fit, budgets).data
    measured = truth.loss(path["N_decision"].to_numpy(), path["D_decision"].to_numpy()) * noise(rng)
    reached = np.flatnonzero(measured <= target)
    enough = budgets[reached[0]] if len(reached) else np.inf
    out["compute for a target"] = inside(needed.data["compute_needed"].isel(budget=0), enough)
    chosen = needed.data.isel(budget=-1)
    outcome = truth.loss(*(float(chosen[f"{c}_decision"]) for c in "ND"))
    is_stated = float(chosen["probability"]) == 0.8
    share = np.mean(outcome * noise(rng, RUNS) <= target)
    out["reached with 80 %"] = float(share) if is_stated else np.nan

    served = bs.allocate(fit, far, serve=SERVED).data.isel(budget=0)
    out["N with serving"] = inside(served["N"], truth.best_N(far, SERVED))
    decided = (float(served[f"{c}_decision"]) for c in "ND")
    out["loss with serving"] = inside(served["loss_new_run"], truth.loss(*decided) * noise(rng))

    year = bs.trajectory(fit, [2025 + YEARS], start=(2025, 3 * C.max()), **EXACT).data.isel(year=0)
    root = np.sqrt(PROGRESS**YEARS)
    decided = (float(year[c].median()) * root for c in "ND")
    out["loss by year"] = inside(year["loss"], float(truth.loss(*decided)))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--tables", type=int, default=30)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    began, file = time.monotonic(), RESULTS / "decisions_tables.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    done = {(r["kind"], r["seed"]) for r in rows}
    for seed in range(arguments.tables):
        for kind in KINDS:
            if (kind, seed) in done or time.monotonic() - began > 60 * arguments.minutes:
                continue
            rows.append(one_table(kind, seed))
            keep(pd.DataFrame(rows), "decisions_tables")
    frame = pd.DataFrame(rows)
    questions = [c for c in frame if c not in ("kind", "seed")]
    scored = frame[["kind", *questions]].astype(dict.fromkeys(questions, float))
    summary = scored.groupby("kind").mean().T.rename_axis("question").reset_index()
    for kind, number in frame["kind"].value_counts().items():
        summary[f"tables, {kind}"] = number
    print(summary.to_string(index=False))
    keep(summary, "decisions")


if __name__ == "__main__":
    main()

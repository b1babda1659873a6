"""How often does a report answer for the wrong group, and does the interval of its loss hold?

Tables of two to four recipes, six runs each, are simulated from the Chinchilla law. Each recipe
has a known multiplier between 1 and 2 over the first at the largest run; in every second table
the exponents differ. A report names a group as the best if its loss is the lowest at the largest
budget, here 30 times the largest run, with a probability of more than 90 %; otherwise it answers
for the group of the largest run. The truths are the laws alone, and laws with a drift beyond the
runs that is drawn from its prior, independently for each recipe.

    python benchmarks/group_choice.py [tables] [--family]
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from common import keep, write
from speedups import DRIFTED, EXPONENTS, RATIO, RUNS, SIGMA, constants, drifted, loss_of, matched

import bayescale as bs
from bayescale.model import AHEAD_AVERAGED, drift_start
from bayescale.model import drift as drifts
from bayescale.reporting.choices import answered_group, compared_recipes

TABLES, RECIPES, LARGEST = 100, (2, 3, 4), 2.0
#: The largest budget of a report without budgets, in multiples of the largest run.
TIMES = 30.0


def table(index: int) -> tuple[bs.Runs, dict[str, dict], float]:
    """Runs, the truth of each recipe, and the compute of the largest run."""
    rng = np.random.default_rng([22, index])
    truths = {"A": constants(rng)}
    N = np.geomspace(3e7, 1e9, RUNS)
    D = N * np.where(np.arange(RUNS) % 2, 2 * RATIO, RATIO / 2)
    largest = float(6 * (N * D).max())
    for name in "BCD"[: RECIPES[index // 2 % len(RECIPES)] - 1]:
        other = dict(truths["A"])
        if index % 2:
            other |= {n: other[n] * np.exp(EXPONENTS * rng.normal()) for n in ("alpha", "beta")}
        multiplier = np.exp(rng.uniform(0, np.log(LARGEST)))
        truths[name] = matched(truths["A"], other, largest, multiplier)
    frames = []
    for name, v in truths.items():
        loss = v["E"] + v["A"] * N ** -v["alpha"] + v["B"] * D ** -v["beta"]
        loss = loss * np.exp(SIGMA * rng.standard_t(6, RUNS))
        frames.append(pd.DataFrame({"N": N, "D": D, "loss": loss, "recipe": name}))
    # The recipe of the largest run, for which a report answers if none is the best.
    frames[rng.integers(len(frames))].loc[RUNS - 1, "D"] *= 1.0001
    runs = bs.Runs.from_frame(pd.concat(frames, ignore_index=True), groups="recipe")
    return runs, truths, largest


def outcome(index: int, family: bool) -> dict:
    """What a report would say of one table, and whether it is so; shares are over drifts."""
    runs, truths, largest = table(index)
    started = time.process_time()
    fitted = bs.ensemble if family else bs.fit
    fit = fitted(runs, groups="recipe", random_seed=index, progressbar=False)
    seconds = time.process_time() - started
    at, names = TIMES * largest, list(truths)
    last = {"recipe": str(runs.table["recipe"].iloc[int(runs.table["C"].argmax())])}
    compared, _ = compared_recipes(fit, np.array([at]))
    chosen = answered_group(fit, last, compared)[0]["recipe"]
    chances = compared[0].best.tail(len(names)).set_index("group")["p_best"]
    is_named = bool(chances.max() > 0.9)
    N = np.sqrt(at / (6 * RATIO))
    bounds = {}
    for name in names:
        ahead = bs.forecast(fit, N=N, D=RATIO * N, group=name, random_seed=index)
        bounds[name] = np.log(np.quantile(ahead.data["mean"], [0.05, 0.95]))
    members = list(fit.used.values()) if family else [fit]
    edge = drift_start(members[0].law, members[0].plan.columns) + np.log(6)
    rng = np.random.default_rng([23, index])
    prior = AHEAD_AVERAGED if family else drifts.AHEAD
    size = np.exp(prior.centre + prior.width * rng.standard_normal(DRIFTED))
    with_drift = np.array(
        [drifted(v, np.log([at]), edge, size, rng)[:, 0] for v in truths.values()]
    )
    law = np.array([[np.log(loss_of(v, at))] for v in truths.values()])
    row = dict(
        table=index,
        recipes=len(names),
        exponents="different" if index % 2 else "equal",
        fitted="family" if family else "chinchilla",
        chosen=chosen,
        p_best=float(chances.max()),
        named=is_named,
        passed=all(f.convergence.passed for f in members),
        seconds=seconds,
    )
    inside = np.array([[low, high] for low, high in bounds.values()])[:, :, None]
    which = names.index(chosen)
    for kind, truth in (("law", law), ("drift", with_drift)):
        best = truth.argmin(axis=0)
        holds = (truth >= inside[:, 0]) & (truth <= inside[:, 1])
        row |= {
            f"wrong, {kind}": float(is_named and (best != which).mean()),
            f"lost, {kind}": float((truth[which] - truth.min(axis=0)).mean()),
            f"holds, {kind}": float(holds[which].mean()),
            f"holds for all, {kind}": float(holds.mean()),
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=int, nargs="?", default=TABLES)
    parser.add_argument("--family", action="store_true", help="the default family of laws")
    parser.add_argument("--minutes", type=float, default=np.inf, help="no table starts after this")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    name = "group_choice_family" if arguments.family else "group_choice"
    began, rows = time.monotonic(), []
    for index in range(arguments.tables):
        if time.monotonic() - began > 60 * arguments.minutes:
            break
        rows.append(outcome(index, arguments.family))
        print(rows[-1], flush=True)
        keep(pd.DataFrame(rows), f"{name}_tables")
    frame = pd.DataFrame(rows)
    parts = pd.concat(
        [
            frame.assign(tables="all"),
            frame.assign(tables=frame["exponents"] + " exponents"),
            frame.assign(tables=frame["recipes"].astype(str) + " recipes"),
        ]
    )
    kinds = [c for c in frame if c.endswith((", law", ", drift"))]
    summary = parts.groupby("tables")[["named", *kinds]].mean()
    summary.insert(0, "number", parts.groupby("tables").size())
    write(summary.reset_index(), name, "shares of tables in which a group is named, and is wrong")


if __name__ == "__main__":
    main()

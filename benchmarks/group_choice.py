"""How often does a report answer for the wrong group, and does the interval of its loss hold?

Tables of two to four recipes, six runs each, are simulated from the Chinchilla law. Each recipe
has a known multiplier between 1 and 2 over the first at the largest run; in every second table
the exponents differ. A report names a group as the best if its loss is the lowest at the largest
budget with a probability of more than 90 %; otherwise it answers for the group of the largest run.
The budgets are that of the largest run, and 3 and 30 times as much. The truths are the laws alone,
and laws with a drift beyond the runs that is drawn from its prior, independently for each recipe.
The group that is probably the best, named or not, shows whether choosing by the forecast spoils
its interval. Tables that the results file has are kept, so that the script can be continued.

    python benchmarks/group_choice.py [tables] [--family] [--minutes 20]
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from common import RESULTS, keep, write
from speedups import DRIFTED, EXPONENTS, RATIO, RUNS, SIGMA, constants, drifted, loss_of, matched

import bayescale as bs
from bayescale.forecasting import fits_of
from bayescale.model.drift import Edge, ahead
from bayescale.reporting.choices import SURELY_BEST

TABLES, RECIPES, LARGEST = 100, (2, 3, 4), 2.0
#: Budgets in multiples of the largest run; the last is that of a report without budgets.
TIMES = (1.0, 3.0, 30.0)


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


def outcomes(index: int, family: bool) -> list[dict]:
    """What a report would say of one table, and whether it is so; shares are over drifts."""
    runs, truths, largest = table(index)
    fitted = bs.ensemble if family else bs.fit
    fit = fitted(runs, groups="recipe", random_seed=index, progressbar=False)
    members, names = list(fits_of(fit).values()), list(truths)
    of_largest = str(runs.table["recipe"].iloc[int(runs.table["C"].argmax())])
    budgets = [times * largest for times in TIMES]
    best = bs.speedup(fit, "B", over="A", at=budgets, along=RATIO).best
    edge = Edge.of(members[0].law, members[0].plan.columns).scale + np.log(6)
    rng = np.random.default_rng([23, index])
    prior = ahead(is_averaged=family, has_law_error=False)
    size = np.exp(prior.centre + prior.width * rng.standard_normal(DRIFTED))
    drifting = [drifted(v, np.log(budgets), edge, size, rng) for v in truths.values()]
    rows = []
    for i, (times, at) in enumerate(zip(TIMES, budgets, strict=True)):
        chances = best[np.isclose(best["at"], at)].set_index("group")["p_best"]
        likeliest, named = chances.idxmax(), bool(chances.max() > SURELY_BEST)
        N = np.sqrt(at / (6 * RATIO))
        drawn = [
            np.log(bs.forecast(fit, N=N, D=RATIO * N, group=name, random_seed=index).data["mean"])
            for name in names
        ]
        low, high = np.quantile([v.to_numpy().ravel() for v in drawn], [0.05, 0.95], axis=1)
        row = dict(
            table=index,
            recipes=len(names),
            exponents="different" if index % 2 else "equal",
            fitted="family" if family else "chinchilla",
            times=times,
            p_best=float(chances.max()),
            named=named,
            passed=all(f.convergence.passed for f in members),
        )
        law = np.array([[np.log(loss_of(v, at))] for v in truths.values()])
        for kind, truth in (("law", law), ("drift", np.array([d[:, i] for d in drifting]))):
            is_best = truth.argmin(axis=0)
            holds = (truth >= low[:, None]) & (truth <= high[:, None])
            of = {n: names.index(n) for n in (likeliest, of_largest)}
            answered = of[likeliest if named else of_largest]
            row |= {
                f"named and wrong, {kind}": float(named * (is_best != of[likeliest]).mean()),
                f"likeliest is best, {kind}": float((is_best == of[likeliest]).mean()),
                f"loss above the best, {kind}": float((truth[answered] - truth.min(0)).mean()),
                f"answered holds, {kind}": float(holds[answered].mean()),
                f"likeliest holds, {kind}": float(holds[of[likeliest]].mean()),
                f"all hold, {kind}": float(holds.mean()),
            }
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=int, nargs="?", default=TABLES)
    parser.add_argument("--family", action="store_true", help="the default family of laws")
    parser.add_argument("--minutes", type=float, default=np.inf, help="no table starts after this")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    name = "group_choice_family" if arguments.family else "group_choice"
    began, file = time.monotonic(), RESULTS / f"{name}_tables.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    for index in range(len(rows) // len(TIMES), arguments.tables):
        if time.monotonic() - began > 60 * arguments.minutes:
            break
        rows += outcomes(index, arguments.family)
        last = pd.DataFrame(rows[-len(TIMES) :])
        print(last[["table", "times", "p_best", "named"]].to_string(header=False), flush=True)
        keep(pd.DataFrame(rows), f"{name}_tables")
    frame = pd.DataFrame(rows)
    shown = ["p_best", "named", *(c for c in frame if c.endswith((", law", ", drift")))]
    summary = frame.groupby("times")[shown].mean()
    summary.insert(0, "tables", frame.groupby("times").size())
    write(summary.reset_index(), name, "shares of tables, and of truths with drift")


if __name__ == "__main__":
    main()

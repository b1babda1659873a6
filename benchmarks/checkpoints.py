"""How long does a fit to checkpoints take, by law and number of checkpoints, and how exact is it?

Tables are simulated: checkpoints of runs of 1e8 to 1e9 parameters, evenly spaced in log tokens.
Their noise of 0.5 % is correlated over 0.1 e-folds. The time is that of one process and one thread.
An evaluation is one value of the density at one position. Prints a table and writes it to
results/checkpoints.csv. `--large` runs 20,000 checkpoints only.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
from common import RESULTS, write

import bayescale as bs
from bayescale.model import engines

SIGMA, MEMORY = 0.005, 0.1
#: Law, number of runs, checkpoints of each, and number of simulated tables.
CASES = [
    ("power(D)", 1, 24, 5),
    ("delayed_power(D)", 1, 24, 5),
    ("chinchilla", 3, 30, 3),
    ("kaplan_floor", 3, 30, 3),
    ("skaling", 3, 30, 3),
    ("chinchilla", 3, 300, 1),
]
LARGE = [("chinchilla", 20, 1000, 1)]


def simulated(law: str, runs: int, checkpoints: int, seed: int) -> bs.Runs:
    """A table of checkpoints; one curve has a column D only."""
    rng, parts = np.random.default_rng(seed), []
    for number, N in enumerate(np.geomspace(1e8, 1e9, runs)):
        D = np.geomspace(2e9, 40 * N + 2e10, checkpoints)
        if runs == 1:
            D = np.geomspace(1e8, 2e10, checkpoints)
            start = 1 + D / 3e8 if law.startswith("delayed") else D / 3e8
            loss, columns = 1.8 + 2.3 * start**-0.35, {}
        elif law == "skaling":
            q = 0.4
            loss = 1.7 + ((20 * N**-0.2) ** (1 / q) + (90 * D**-0.22) ** (1 / q)) ** q
            columns = {"N": N}
        else:
            loss, columns = 1.7 + 406 * N**-0.34 + 411 * D**-0.28, {"N": N}
        noise = np.empty(checkpoints)
        noise[0] = rng.standard_normal()
        kept = np.exp(-np.diff(np.log(D)) / MEMORY)
        for i, share in enumerate(kept, 1):
            new = np.sqrt(1 - share**2) * rng.standard_normal()
            noise[i] = share * noise[i - 1] + new
        loss = loss * np.exp(SIGMA * noise)
        parts.append(pd.DataFrame({**columns, "D": D, "loss": loss, "series": f"run {number}"}))
    return bs.Runs.from_frame(pd.concat(parts, ignore_index=True))


def fitted(law: str, runs: int, checkpoints: int, seed: int) -> dict[str, object]:
    """The cost and the exactness of one fit."""
    table, evaluations, density = simulated(law, runs, checkpoints, seed), [], engines.density

    def counted(plan):
        target = density(plan)

        def log_likelihood(z):
            evaluations.append(len(z))
            return target.log_likelihood(z)

        return target._replace(log_likelihood=log_likelihood)

    engines.density = counted
    started = time.process_time()
    try:
        fit = bs.fit(table, law, random_seed=seed, progressbar=False)
    finally:
        engines.density = density
    seconds = time.process_time() - started
    found = fit.convergence
    return dict(
        law=law,
        runs=runs,
        checkpoints=runs * checkpoints,
        seed=seed,
        engine=fit.facts["engine"],
        cpu_seconds=round(seconds, 2),
        evaluations=sum(evaluations),
        effective_draws=round(found.ess),
        moves=getattr(found, "moves", 0),
        passed=found.passed,
    )


def main() -> None:
    fitted("power(D)", 1, 24, 0)  # imports
    rows = [
        fitted(law, runs, checkpoints, seed)
        for law, runs, checkpoints, tables in (LARGE if "--large" in sys.argv else CASES)
        for seed in range(1, tables + 1)
    ]
    frame = pd.DataFrame(rows)
    if (RESULTS / "checkpoints.csv").exists():
        # Rows of cases that were not run are kept.
        case = ["law", "checkpoints"]
        before = pd.read_csv(RESULTS / "checkpoints.csv")
        kept = ~before[case].apply(tuple, axis=1).isin(frame[case].apply(tuple, axis=1))
        frame = pd.concat([frame, before[kept]]).sort_values("checkpoints", kind="stable")
    frame["times_the_fastest"] = (frame["cpu_seconds"] / frame["cpu_seconds"].min()).round(1)
    write(frame, "checkpoints", "Fits to checkpoints")


if __name__ == "__main__":
    main()

"""False alarms of the findings of `check()`, and their power against simulated faults.

    python benchmarks/checks.py [--tables 200] [--faulty 12] [--errors] [--keep DIRECTORY]

Every table is simulated under Chinchilla's law. Its parameters, and those of its groups, are drawn
from the package's priors; the scale of the noise is .3 to 2 %, its degrees of freedom are 4 to 30.
Designs are grids of sizes and token ratios, isoFLOP sweeps and scattered runs, with 12 to 100 runs
(24 to 100 with groups).

* `checks.csv`: the share of tables without a fault on which each finding is a caution or a failure.
  Findings about the design (``runs``, ``design``, ``information``) are true statements about the
  table, not alarms. Clean designs have at least two runs per parameter,
  four sizes of N and D, and log N and log D that correlate below .98; ``information`` is listed,
  but a caution of it is no error. With groups, ``convergence`` is that of one short run of NUTS,
  with an effective sample size of at least 400 among 2000 draws; `bayescale.fit` repeats runs that
  do not converge, up to twice, with more draws. Tables are listed apart where the run converged.
* `checks_power.csv`: the share of tables with one simulated fault on which each finding is a
  caution or a failure.
* `checks_seeds.csv`: findings on one clean table of 30 runs, by the seed of the sampler, with the
  default settings of `bayescale.fit`.

* `checks_errors.csv`, `checks_errors_power.csv`: the same for laws with an error in small runs, as
  in the default family (`bayescale.model.small_runs`). Half of the clean tables have such errors,
  which are alike for runs nearby; faults are those of tables without groups.

With `--keep`, posteriors are saved as files and used again, so that thresholds can be changed
without sampling.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from common import write

import bayescale as bs
from bayescale import laws
from bayescale.model import design, draw_prior, fit_design, simulate_design, small_runs
from bayescale.model.checks import check
from bayescale.model.design import Design
from bayescale.model.findings import LEVELS

LAW = laws.get("chinchilla")
#: One short run for tables with groups, and the default engine for the others.
SHORT, DEFAULT = dict(draws=500, tune=500, target_accept=0.95), dict(draws=500, tune=500)
STATEMENTS = ("number of runs", "design", "information")
FINDINGS = (
    "convergence",
    *STATEMENTS,
    "prior",
    "misfit",
    "dependence",
    "influence",
    "outlier",
)
COMPLETE = {"pool": dict.fromkeys(("E", "A", "B", "alpha", "beta"), "complete")}
GROUPS = ("a", "b", "c")

# -- clean tables ------------------------------------------------------------------------------


def grid(rng: np.random.Generator, most: int = 100) -> pd.DataFrame:
    """Sizes of models, each trained at the same ratios of tokens to parameters."""
    sizes = rng.integers(4, 9)
    ratios = rng.integers(3, max(4, most // sizes + 1))
    low = 10 ** rng.uniform(7, 8)
    N = np.geomspace(low, low * 10 ** rng.uniform(1, 2), sizes)
    ratio = np.geomspace(5, 5 * 10 ** rng.uniform(0.8, 2), ratios)
    N, ratio = (v.ravel() for v in np.meshgrid(N, ratio, indexing="ij"))
    return pd.DataFrame({"N": N, "D": N * ratio})


def sweep(rng: np.random.Generator, most: int = 100) -> pd.DataFrame:
    """IsoFLOP sweeps: models of several sizes under each of several budgets."""
    budgets = rng.integers(3, 8)
    sizes = rng.integers(4, max(5, most // budgets + 1))
    low = 10 ** rng.uniform(18, 19)
    C = np.geomspace(low, low * 10 ** rng.uniform(1.5, 2.5), budgets)
    around = np.geomspace(1 / 4, 4, sizes)
    C, around = (v.ravel() for v in np.meshgrid(C, around, indexing="ij"))
    N = np.sqrt(C / 120) * around
    return pd.DataFrame({"N": N, "D": C / (6 * N)})


def scattered(rng: np.random.Generator, most: int = 100) -> pd.DataFrame:
    """Runs at random sizes and lengths."""
    n = rng.integers(12, most + 1)
    N = 10 ** rng.uniform(7, rng.uniform(8.3, 9.5), n)
    return pd.DataFrame({"N": N, "D": N * 10 ** rng.uniform(0.7, 2.5, n)})


def columns(rng: np.random.Generator, groups: bool, least: int = 12) -> pd.DataFrame:
    """The design of a clean table, with its groups."""
    while True:
        kind = (grid, sweep, scattered)[rng.integers(3)]
        if groups:
            frames = [kind(rng, 33) for _ in GROUPS]
            frame = pd.concat([f.assign(recipe=g) for f, g in zip(frames, GROUPS, strict=True)])
            frame = frame.groupby("recipe").head(33).reset_index(drop=True)
            least = max(least, 24)
        else:
            frame = kind(rng)
        logs = np.log(frame[["N", "D"]])
        distinct = min(np.unique(np.round(logs[c] / np.log(1.05))).size for c in "ND")
        if least <= len(frame) <= 100 and distinct >= 4 and abs(logs.corr().iloc[0, 1]) < 0.97:
            return frame


def clean(
    rng: np.random.Generator, frame: pd.DataFrame, known_error: bool = False, sigma=None, **options
) -> Design:
    """A table that is simulated under the model."""
    sigma = 10 ** rng.uniform(np.log10(0.003), np.log10(0.02)) if sigma is None else sigma
    frame = frame.assign(loss=1.0)
    if known_error:
        frame["loss_sd"] = sigma * rng.uniform(0.3, 1, len(frame))
    runs = bs.Runs.from_frame(frame, source="a simulation")
    groups = "recipe" if "recipe" in frame else None
    plan = design(runs, LAW, groups, **options)
    free = design(runs, LAW, groups, **{k: v for k, v in options.items() if k != "priors"})
    truth = {k: v[0] for k, v in draw_prior(free, 1, rng).items()}
    factor = sigma / truth["sigma"]
    truth |= {k: v * factor for k, v in truth.items() if k in ("sigma", "sigma_recipe")}
    truth["nu"] = 10 ** rng.uniform(np.log10(4), np.log10(30))
    return replace(plan, runs=simulate_design(free, truth, rng).runs)


KINDS = {
    "no groups": dict(groups=False),
    "no groups, loss_sd": dict(groups=False, known_error=True),
    "groups, pooled partially": dict(groups=True),
    "groups, pooled completely": dict(groups=True, **COMPLETE),
}


def clean_of(kind: str, rng: np.random.Generator, least: int = 12) -> Design:
    """A clean table of a kind."""
    options = dict(KINDS[kind])
    return clean(rng, columns(rng, options.pop("groups"), least), **options)


# -- simulated faults --------------------------------------------------------------------------


def times(plan: Design, factor: np.ndarray) -> Design:
    """The same table with its losses multiplied."""
    table = plan.runs.table
    return replace(plan, runs=replace(plan.runs, table=table.assign(loss=table["loss"] * factor)))


def one_run(by: float) -> Callable:
    def make(rng):
        plan = clean_of("no groups", rng, 24)
        factor = np.ones(len(plan.runs))
        factor[rng.integers(len(factor))] = by
        return times(plan, factor)

    return make


def offset_group(rng) -> Design:
    plan = clean_of("groups, pooled completely", rng)
    return times(plan, np.where(plan.runs.table["recipe"] == "b", 1.05, 1.0))


def offset_of_all(rng) -> Design:
    """Losses 5 % above the only curve that the priors allow; the scale of the noise is known."""
    frame = columns(rng, False, 24)
    tight = {
        name: bs.Positive(value, spread=1.001)
        for name, value in dict(E=1.7, A=0.4, B=0.4, alpha=0.35, beta=0.35).items()
    }
    runs = bs.Runs.from_frame(frame.assign(loss=1.0), source="a simulation")
    plan = design(runs, LAW, priors=tight)
    truth = {k: v[0] for k, v in draw_prior(plan, 1, rng).items()} | {"sigma": 0.007, "nu": 6.0}
    return times(simulate_design(plan, truth, rng), 1.05)


def bend(column: str) -> Callable:
    """A parabola of either sign along a column: six times the noise from the middle to the ends."""

    def make(rng):
        plan = clean(rng, columns(rng, False, 24), sigma=0.007)
        x = np.log(plan.runs.table[column].to_numpy())
        x = (2 * x - x.max() - x.min()) / np.ptp(x)
        return times(plan, np.exp(rng.choice([-6, 6]) * 0.007 * x**2))

    return make


def forced_noise(times_the_prior: float) -> Callable:
    """Noise other than what a narrow prior of its scale allows."""

    def make(rng):
        narrow = {"sigma": bs.Positive(0.01 / times_the_prior, spread=1.05)}
        return clean(rng, columns(rng, False, 24), sigma=0.01, priors=narrow)

    return make


def huge_noise(rng) -> Design:
    """Noise of four times the upper end of the 90 % interval of its prior."""
    return clean(rng, columns(rng, False, 24), sigma=0.13)


def shared_scatter(rng) -> Design:
    while True:
        frame = grid(rng)
        if len(frame) >= 24:
            break
    plan = clean(rng, frame, sigma=0.007)
    sizes = np.unique(frame["N"], return_inverse=True)[1]
    return times(plan, np.exp(2 * 0.007 * rng.standard_normal(sizes.max() + 1))[sizes])


def collinear(rng) -> Design:
    N = np.geomspace(2e7, 2e9, rng.integers(12, 31))
    return clean(rng, pd.DataFrame({"N": N, "D": 20 * N * np.exp(0.02 * rng.standard_normal())}))


def deciding_run(rng) -> Design:
    """One run at 30 times the size of the others, 10 % too low."""
    frame = columns(rng, False, 24)
    frame = frame[frame["N"] < 3 * frame["N"].min()].copy()
    while len(frame) < 20:
        frame = pd.concat([frame, frame.assign(D=frame["D"] * rng.uniform(0.5, 2, len(frame)))])
    frame = frame.head(60).reset_index(drop=True)
    far = pd.DataFrame({"N": [30 * frame["N"].max()], "D": [frame["D"].max()]})
    plan = clean(rng, pd.concat([frame, far], ignore_index=True))
    return times(plan, np.where(np.arange(len(plan.runs)) == len(frame), 0.9, 1.0))


FAULTS: dict[str, Callable] = {
    "one run 30 % above": one_run(1.3),
    "one run 30 % below": one_run(0.7),
    "one run 10 times too high": one_run(10.0),
    "one group 5 % above a common law": offset_group,
    "all runs 5 % above what priors allow": offset_of_all,
    "a bend along log N": bend("N"),
    "a bend along log D": bend("D"),
    "noise 4 times what its prior allows": forced_noise(4),
    "noise 1/4 of what its prior allows": forced_noise(0.25),
    "noise of 13 %": huge_noise,
    "scatter shared by runs of one size": shared_scatter,
    "N and D collinear": collinear,
    "one far run decides an exponent": deciding_run,
}

# -- checks ------------------------------------------------------------------------------------


def sampled(plan: Design, name: str, seed: int, keep: Path | None, **settings):
    """Design, posterior and convergence; read from a file if they have been saved."""
    path = keep / f"{name}.pkl" if keep else None
    if path is not None and path.exists():
        return pickle.loads(path.read_bytes())
    fitted = fit_design(
        plan,
        random_seed=seed,
        progressbar=False,
        **(settings or (SHORT if plan.groups else DEFAULT)),
    )
    out = fitted.plan, fitted.posterior, fitted.convergence
    if path is not None:
        path.write_bytes(pickle.dumps(out))
    return out


def levels(plan: Design, posterior, convergence) -> dict[str, str]:
    """The worst level of each finding."""
    out: dict[str, str] = {}
    for finding in check(posterior, plan, convergence).findings:
        worst = max(out.get(finding.name, "passed"), finding.level, key=LEVELS.index)
        out[finding.name] = worst
    return out


def rates(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Share of tables with a caution or failure of each finding, for each value of a column."""
    out = []
    for value, part in rows.groupby(by, sort=False):
        for name in FINDINGS:
            level = part[name].fillna("passed") if name in part else pd.Series(dtype=str)
            out.append(
                {
                    by: value,
                    "finding": name,
                    "statement": name in STATEMENTS,
                    "tables": len(part),
                    "caution or failed": (level != "passed").sum() / len(part),
                    "failed": (level == "failed").sum() / len(part),
                }
            )
    return pd.DataFrame(out)


def of_clean_tables(n: int, keep: Path | None) -> pd.DataFrame:
    rows = []
    for i in range(n):
        kind = list(KINDS)[i % len(KINDS)]
        plan = clean_of(kind, np.random.default_rng([1, i]))
        found = levels(*sampled(plan, f"clean_{i}", i, keep))
        rows.append({"kind of table": kind, **found})
    each = pd.DataFrame(rows)
    converged = each[each["convergence"] == "passed"].assign(**{"kind of table": "all, converged"})
    return rates(
        pd.concat([each.assign(**{"kind of table": "all"}), converged, each]), "kind of table"
    )


def of_faulty_tables(n: int, keep: Path | None) -> pd.DataFrame:
    rows = []
    for k, (fault, make) in enumerate(FAULTS.items()):
        for i in range(n):
            plan = make(np.random.default_rng([2, k, i]))
            rows.append({"fault": fault, **levels(*sampled(plan, f"fault_{k}_{i}", i, keep))})
    found = rates(pd.DataFrame(rows), "fault")
    return found[(found["caution or failed"] > 0) & (found["finding"] != "convergence")]


def errors_in_small_runs(plan: Design, rng: np.random.Generator) -> np.ndarray:
    """A draw of the error of the law in each run, alike for runs nearby; (run,)."""
    x = np.column_stack([np.log(plan.columns[c]) for c in plan.law.columns]) / small_runs.NEARBY
    nearby = np.exp(-((x[:, None] - x) ** 2).sum(axis=-1) / 2)
    root = np.linalg.cholesky(nearby + 1e-9 * np.eye(len(x)))
    return plan.errors_of_law(plan.log_loss) * (root @ rng.standard_normal(len(x)))


def of_clean_tables_with_errors(n: int, keep: Path | None) -> pd.DataFrame:
    rows = []
    for i in range(n):
        rng = np.random.default_rng([4, i])
        plan = replace(clean(rng, columns(rng, False)), law_error=True)
        kind = "law that holds everywhere"
        if i % 2:
            plan, kind = (
                times(plan, np.exp(errors_in_small_runs(plan, rng))),
                "errors in small runs",
            )
        found = levels(*sampled(plan, f"errors_{i}", i, keep))
        rows.append({"kind of table": kind, **found})
    return rates(pd.DataFrame(rows), "kind of table")


def of_faulty_tables_with_errors(n: int, keep: Path | None) -> pd.DataFrame:
    rows = []
    for k, (fault, make) in enumerate(FAULTS.items()):
        if make is offset_group:
            continue
        for i in range(n):
            plan = replace(make(np.random.default_rng([2, k, i])), law_error=True)
            found = levels(*sampled(plan, f"errors_fault_{k}_{i}", i, keep))
            rows.append({"fault": fault, **found})
    found = rates(pd.DataFrame(rows), "fault")
    return found[(found["caution or failed"] > 0) & (found["finding"] != "convergence")]


def of_seeds(n: int, keep: Path | None) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frame = columns(rng, False, 30)
    plan = clean(rng, frame.sample(30, random_state=1).sort_index())
    default = dict(draws=1000, tune=500)
    return pd.DataFrame(
        {"seed": seed, **levels(*sampled(plan, f"seed_{seed}", seed, keep, **default))}
        for seed in range(1, n + 1)
    ).fillna("passed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=200, help="clean tables")
    parser.add_argument("--faulty", type=int, default=12, help="tables per fault")
    parser.add_argument("--seeds", type=int, default=8, help="seeds of one clean table")
    parser.add_argument("--keep", type=Path, help="directory of posteriors")
    parser.add_argument("--errors", action="store_true", help="only laws with errors in small runs")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    errors = of_clean_tables_with_errors(options.tables, options.keep)
    write(errors, "checks_errors", "Clean tables, laws with errors in small runs")
    power = of_faulty_tables_with_errors(options.faulty, options.keep)
    write(power, "checks_errors_power", "Faults, laws with errors in small runs")
    if options.errors:
        return
    write(of_seeds(options.seeds, options.keep), "checks_seeds", "Seeds of one clean table")
    write(of_clean_tables(options.tables, options.keep), "checks", "Clean tables")
    write(of_faulty_tables(options.faulty, options.keep), "checks_power", "Planted faults")


if __name__ == "__main__":
    main()

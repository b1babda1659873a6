"""Forecasts of large runs from small runs, on thirteen tables.

    python benchmarks/rollouts.py [--tables xlstm] [--leave study]

Every law is fitted once to every table. Forecasts have no drift beyond the runs, or drift of one of
several sizes. For each table, the "learnt" size of drift and the weights of the average are those
with the highest mean log score over all tables that share no run with it (``--leave study``: over
all tables of other studies). The same is done for other forms of drift. "Hierarchical" sizes and
their spread are estimated by a hierarchical model of the same other tables (`sizes.py`), with the
likelihood of single runs or of all runs jointly. The baselines are log-Huber bootstraps of the same
laws.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from common import forms_of_drift, keep, log_scores, part, reference, stacked, write
from scipy.special import logsumexp
from sizes import (
    COPIES,
    KINDS,
    Evidence,
    evidence,
    forecast,
    likelihood,
    population,
    run_by_run,
)
from sizes import SIZES as ASKED

import bayescale as bs
from bayescale.evaluation import splits as holdout
from bayescale.evaluation.jobs import BASELINE, BAYESCALE, Job, by_huber, scored
from bayescale.model.drift import AHEAD

SIZES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
LAWS = ("chinchilla", "kaplan_floor")
METHODS = {**{law: (law,) for law in LAWS}, "average": LAWS}
HIERARCHICAL = {"runs": "hierarchical", "jointly": "hierarchical, jointly"}
LEVELS = (95, 90, 80, 50)
SPREAD = AHEAD.spread


def tables() -> list[tuple[holdout.Problem, tuple[str, ...]]]:
    """Runs to fit and to predict, with their group columns."""
    out = []

    def add(name, runs, fitted, groups=()):
        runs = replace(runs, table=runs.table.assign(fitted=np.asarray(fitted)))
        wrong: list[str] = []
        cut = holdout.cuts(runs, None, "C", "fitted", wrong)
        [problem] = holdout.problems(runs, cut, "C", None, groups, wrong)
        places = problem.places.assign(problem=name)
        out.append((replace(problem, name=name, places=places), groups))

    runs = bs.Runs.read(reference("chinchilla.csv"))
    runs = runs[runs.table["epoch_excluded"].astype(str) != "True"]
    for threshold in (1e20, 1e21):
        add(f"chinchilla {threshold:.0e}".replace("+", ""), runs, runs.table["C"] < threshold)
    runs = bs.Runs.example("openlm")
    for corpus in runs.table["dataset"].unique():
        of_corpus = runs[runs.table["dataset"] == corpus]
        add(f"openlm {corpus}", of_corpus, of_corpus.table["N"] < 4.13e8)
    add("openlm pooled", runs, runs.table["N"] < 4.13e8, ("dataset",))
    runs = bs.Runs.read(reference("misfitting_best_lr.csv"))
    add("misfitting", runs, runs.table["C"] < runs.table["C"].median())
    frame = pd.read_csv(reference("xlstm_isoflop.csv"))
    for (architecture, context), group in frame[frame["loss"] < 4.5].groupby(
        ["architecture", "context"]
    ):
        if len(group) > 25:
            runs = bs.Runs.from_frame(group)
            fitted = runs.table["C"] <= runs.table["C"].quantile(0.66)
            add(f"xlstm {architecture} {context}", runs, fitted)
    frame = pd.read_csv(reference("datablations_c4.csv"))
    runs = bs.Runs.from_frame(frame[frame["in_paper_fit"]])
    add("datablations", runs, runs.table["N"] < 1e9)
    return out


def apart(one: str, other: str, leave: str) -> bool:
    """Whether two tables share no run (or, for ``leave="study"``, no source)."""
    study = one.split()[0]
    return other.split()[0] != study or (leave == "table" and study == "xlstm" and one != other)


# -- forecasts ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fitted:
    """A law fitted to a table: its forecasts under any drift, and the likelihood of drift sizes."""

    fit: bs.Fit
    problem: holdout.Problem
    groups: tuple[str, ...]
    seconds: float
    seed: int

    @cached_property
    def evidence(self) -> Evidence:
        return evidence(self.fit, self.problem, self.groups, self.seed)

    def points(self, size: bs.Positive | None) -> tuple[pd.DataFrame, np.ndarray]:
        """Scored points under drift of some size or none, and at most 1000 of the draws."""
        points = self.problem.points(self.fit.law, self.groups)
        drawn, density = forecast(self.fit, points, self.problem.truth, size, self.seed)
        return self.scored(drawn, density)

    def scored(self, drawn, density) -> tuple[pd.DataFrame, np.ndarray]:
        frame = scored(
            self.fit.law.name,
            BAYESCALE,
            self.problem.places,
            drawn,
            density,
            converged=self.fit.convergence.passed,
            seconds=self.seconds,
        )
        return frame, drawn[:: max(1, len(drawn) // 1000)]


def points_of(problem, groups, seed: int, draws: int) -> tuple[list, dict, dict]:
    """Scored points and draws of every law, form and size of drift, and the fits."""
    points, draws_of, fits = [], {}, {}

    def add(law, form, size, frame, drawn):
        points.append(frame.assign(form=form, size=size))
        draws_of[form, size, law] = drawn

    for i, name in enumerate(LAWS):
        started, law = time.perf_counter(), bs.laws.get(name)
        fit = bs.fit(
            problem.seen,
            law,
            groups=groups or None,
            draws=draws,
            random_seed=seed,
            progressbar=False,
        )
        fits[name] = Fitted(fit, problem, groups, time.perf_counter() - started, seed)
        for size in (0.0, *SIZES):
            add(
                name,
                "package",
                size,
                *fits[name].points(bs.Positive(size, spread=SPREAD) if size else None),
            )
        for form, size, drawn, density in forms_of_drift(fit, problem, groups, SPREAD, seed):
            add(name, form, size, *fits[name].scored(drawn, density))
        job = Job(name, by_huber, problem, law, "C", groups, {}, np.random.SeedSequence([seed, i]))
        started = time.perf_counter()
        drawn, density, *_ = by_huber(job)
        label = f"log-Huber bootstrap ({name})"
        add(
            label,
            "baseline",
            0.0,
            scored(
                label,
                BASELINE,
                problem.places,
                drawn,
                density,
                converged=True,
                seconds=time.perf_counter() - started,
            ),
            drawn[:: max(1, len(drawn) // 1000)],
        )
    return points, draws_of, fits


def rollouts(chosen, seed: int, draws: int) -> tuple[dict[tuple[str, float], bs.Rollout], dict]:
    """Rollouts over all tables by form and size of the drift, and fits by table and law."""
    points, draws_of, fits = [], {}, {}
    for problem, groups in chosen:
        started = time.perf_counter()
        more, drawn, fits[problem.name] = points_of(problem, groups, seed, draws)
        points += more
        for (form, size, law), d in drawn.items():
            draws_of.setdefault((form, size), {})[law, problem.name] = d
        print(
            f"{problem.name}: {len(problem.seen)} fitted, {len(problem.later)} predicted, "
            f"{time.perf_counter() - started:.0f} s",
            flush=True,
        )
    every = pd.concat(points, ignore_index=True)
    return {
        (form, float(size)): bs.Rollout(frame.reset_index(drop=True), draws_of[form, size], seed)
        for (form, size), frame in every.groupby(["form", "size"])
    }, fits


# -- sizes and weights from other tables -------------------------------------------------------


def learn(rolled, form: str, laws, table: str | None, leave: str) -> tuple[float, dict]:
    """The size of highest mean log score over other tables, and the weights at this size."""
    best = (-np.inf, np.nan, dict.fromkeys(laws, 1 / len(laws)))
    for (what, size), rollout in rolled.items():
        if what == form and size > 0:
            names = rollout.points["problem"]
            others = names.map(lambda n: table is None or apart(table, n, leave))
            scores = log_scores(rollout.points[others], laws)
            if not len(scores):  # no other table: the default of the package
                return AHEAD.median if form == "package" else size, best[2]
            weights = stacked(rollout.points[others], laws)
            mixed = pd.Series(logsumexp(scores, axis=1, b=list(weights.values())), scores.index)
            best = max(
                best, (mixed.groupby("problem").mean().mean(), size, weights), key=lambda b: b[0]
            )
    return best[1], best[2]


class Hierarchy:
    """Sizes of drift from a hierarchical model of the other tables, and forecasts under them."""

    def __init__(self, rolled, fits, leave: str):
        self.plain, self.fits, self.leave = rolled["package", 0.0], fits, leave
        self.made = {}

    def others(self, table: str | None) -> list[str]:
        return [t for t in self.fits if table is None or apart(table, t, self.leave)]

    def weights(self, points: pd.DataFrame, laws, table: str | None) -> dict[str, float]:
        return stacked(points[points["problem"].isin(self.others(table))], laws)

    def evidence(self, table: str) -> dict[str, Evidence]:
        return {law: fitted.evidence for law, fitted in self.fits[table].items()}

    def learnt(self, laws, kind: str, left_out: str | None):
        """The population of sizes over all tables but one; None if no table is left."""
        used = [t for t in self.others(left_out) if t not in COPIES]
        weights = self.weights(self.plain.points, laws, left_out)
        likelihoods = [likelihood(self.evidence(t), weights, kind) for t in used]
        return population(likelihoods) if likelihoods else None

    def points(self, laws, table: str, size: bs.Positive) -> pd.DataFrame:
        """Points of a table under one size; averages have weights from the other tables."""
        names = [table] if len(laws) == 1 else [table, *self.others(table)]
        for name, law in itertools.product(names, laws):
            if (name, law, size) not in self.made:
                self.made[name, law, size] = self.fits[name][law].points(size)
        made = {(n, law): self.made[n, law, size] for n in names for law in laws}
        every = bs.Rollout(
            pd.concat([f for f, _ in made.values()], ignore_index=True),
            {(law, n): d for (n, law), (_, d) in made.items()},
            self.plain.random_seed,
        )
        mine = part(every, every.points["problem"] == table)
        if len(laws) == 1:
            return mine.points
        mixed = mine.mixed(self.weights(every.points, laws, table)).points
        return mixed[mixed["law"] == "average"]

    def judged(self) -> tuple[list[pd.DataFrame], list[dict]]:
        """Points of every method under both kinds of likelihood, and the populations of sizes."""
        out, rows = [], []
        for (method, laws), kind in itertools.product(METHODS.items(), KINDS):
            for table in [*self.fits, None]:
                found = self.learnt(laws, kind, table)
                if found is None:
                    continue
                rows.append(
                    {
                        "method": method,
                        "likelihood": kind,
                        "without": table or "none",
                        **{k: v for k, v in vars(found).items() if k != "size"},
                        "median": found.size.median,
                        "spread": found.size.spread,
                    }
                )
                if table is not None:
                    points = self.points(laws, table, found.size)
                    out.append(
                        points.assign(
                            drift=HIERARCHICAL[kind], size=found.size.median, form="package"
                        )
                    )
        return out, rows

    def likelihoods(self) -> pd.DataFrame:
        """The likelihood of every size in every table; laws have the weights from all tables."""
        rows = []
        for (method, laws), table in itertools.product(METHODS.items(), self.fits):
            weights, evidence_of = self.weights(self.plain.points, laws, None), self.evidence(table)
            scores, counts = run_by_run(evidence_of, weights)
            rows.append(
                pd.DataFrame(
                    {
                        "method": method,
                        "table": table,
                        "n": evidence_of[LAWS[0]].scores.shape[1],
                        "size": ASKED,
                        "log score": scores,
                        "effective runs": np.append(counts, np.nan),
                        "log likelihood": likelihood(evidence_of, weights, "runs"),
                        "log likelihood jointly": likelihood(evidence_of, weights, "jointly"),
                    }
                )
            )
        return pd.concat(rows, ignore_index=True)


def judged(rolled, leave: str) -> tuple[pd.DataFrame, list]:
    """Points of every law and their average, under drift of every size and of the learnt size."""
    [baseline] = [r for (form, _), r in rolled.items() if form == "baseline"]
    out, learnt = [baseline.points.assign(drift="", size=np.nan)], []
    forms = dict.fromkeys(form for form, _ in rolled if form != "baseline")
    for form in forms:
        for method, laws in METHODS.items():
            if form != "package" and method == "average":
                continue
            for table in [*baseline.points["problem"].unique(), None]:
                size, weights = learn(rolled, form, laws, table, leave)
                learnt.append(
                    {
                        "form": form,
                        "method": method,
                        "without": table or "none",
                        "size": size,
                        **{f"weight {k}": w for k, w in weights.items() if len(laws) > 1},
                    }
                )
                if table is None:
                    continue
                sizes = sorted(s for f, s in rolled if f == form)
                for at in sizes:
                    mine = part(rolled[form, at], rolled[form, at].points["problem"] == table)
                    if method == "average":
                        others = (
                            rolled[form, at]
                            .points["problem"]
                            .map(lambda n, t=table: apart(t, n, leave))
                        )
                        mine = mine.mixed(stacked(rolled[form, at].points[others], laws))
                    points = mine.points[mine.points["law"] == method]
                    labels = [f"{at:g}" if at else "off"] + ["learnt"] * (at == size)
                    out += [points.assign(drift=d, size=at, form=form) for d in labels]
    return pd.concat(out, ignore_index=True), learnt


# -- tables of results -------------------------------------------------------------------------

BY = ["form", "method", "drift"]


def by_table(points: pd.DataFrame) -> pd.DataFrame:
    """A row per method and table.

    It includes the scores of the log-Huber bootstrap of the same law, and the difference in
    interval score from the posterior of Chinchilla's law without drift. The standard error of this
    difference assumes independent runs.
    """
    points = points.rename(columns={"law": "law_", "method": "kind"}).rename(
        columns={"law_": "method", "problem": "table"}
    )
    inside = [f"inside{k}" for k in LEVELS]
    scores = ["interval_score", "crps", "log_score", "width95", "width95_loss"]
    groups = points.groupby([*BY, "table"], sort=False)
    out = groups[[*inside, *scores]].mean()
    out = out.rename(columns={f"inside{k}": f"coverage{k}" for k in LEVELS})
    out.insert(0, "n", groups.size())
    out["size"], out["converged"] = groups["size"].first(), groups["converged"].all()
    out["median error"] = groups["log_error"].median()
    run = ["table", "run"]
    plain = points[(points["method"] == LAWS[0]) & (points["drift"] == "off")]
    worse = (
        points["interval_score"]
        - plain.set_index(run)["interval_score"]
        .reindex(pd.MultiIndex.from_frame(points[run]))
        .to_numpy()
    )
    by = worse.groupby([points[c] for c in (*BY, "table")], sort=False)
    out["worse than plain by"], out["its error"] = by.mean(), by.sem()
    out = out.reset_index()
    base = out[out["form"] == "baseline"].copy()
    base["method"] = base["method"].str.extract(r"\((.*)\)")[0]
    mean = base.groupby("table", as_index=False)[["interval_score", "crps"]].mean()
    base = pd.concat([base, mean.assign(method="average")])[
        ["method", "table", "interval_score", "crps"]
    ]
    return out.merge(base, "left", on=["method", "table"], suffixes=("", " of log-Huber"))


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per method: pooled over runs, and means over tables."""
    out = []
    for key, group in rows.groupby(BY, sort=False):
        row = {**dict(zip(BY, key, strict=True)), "tables": len(group), "n": group["n"].sum()}
        row |= {f"pooled{k}": np.average(group[f"coverage{k}"], weights=group["n"]) for k in LEVELS}
        row |= {f"mean{k}": group[f"coverage{k}"].mean() for k in LEVELS}
        row |= {s: group[s].mean() for s in ("interval_score", "crps", "log_score", "width95")}
        row |= {
            f"{s}_ratio": group[s].mean() / group[f"{s} of log-Huber"].mean()
            for s in ("interval_score", "crps")
        }
        worst = group.loc[group["coverage95"].idxmin()]
        row |= {"worst95": worst["coverage95"], "worst table": worst["table"]}
        worse, error = group["worse than plain by"], group["its error"]
        row["tables worse than plain"] = int((worse > 0).sum())
        row["by over two errors"] = int((worse > 2 * error).sum())
        out.append(row)
    return pd.DataFrame(out)


def both(rows: pd.DataFrame) -> pd.DataFrame:
    """Summaries over all tables, and without the data-constrained table (datablations)."""
    fewer = rows[rows["table"] != "datablations"]
    parts = [summary(rows).assign(over="all")]
    if 0 < len(fewer) < len(rows):
        parts.append(summary(fewer).assign(over="all but datablations"))
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=[""], help="parts of the names of tables")
    parser.add_argument("--leave", choices=("table", "study"), default="table")
    parser.add_argument("--draws", type=int, default=500, help="per chain, of four")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # convergence is a column; extrapolation is intended
    chosen = [(p, g) for p, g in tables() if any(t in p.name for t in arguments.tables)]
    rolled, fits = rollouts(chosen, arguments.seed, arguments.draws)
    points, learnt = judged(rolled, arguments.leave)
    hierarchy = Hierarchy(rolled, fits, arguments.leave)
    more, populations = hierarchy.judged()
    points = pd.concat([points, *more], ignore_index=True)
    rows = by_table(points)
    named = rows["drift"].isin(["", "off", "learnt", *HIERARCHICAL.values()])
    forms = rows["form"].isin(["package", "baseline"])
    of_package = rows["form"] == "package"
    keep(rows[named & forms], "rollouts_tables")
    sizes = rows[of_package & (~named | (rows["drift"] == "off"))]
    keep(sizes.drop(columns=["form", "drift"]), "drift_size_tables")
    write(
        both(rows[forms]).drop(columns="form"),
        "rollouts",
        "Large runs forecast from small runs; sizes and weights from the other tables",
    )
    write(both(rows[named & (rows["method"] != "average")]), "drift_forms", "Forms of drift")
    write(
        pd.DataFrame(learnt).query("form == 'package'").drop(columns="form"),
        "rollouts_learnt",
        f"Sizes and weights from the other tables (--leave {arguments.leave})",
    )
    keep(hierarchy.likelihoods(), "drift_size_likelihoods")
    write(
        pd.DataFrame(populations),
        "drift_size_populations",
        "Sizes of the drift in a new table",
    )


if __name__ == "__main__":
    main()

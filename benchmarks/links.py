"""Coverage of forecasts of accuracies: links from the loss, from N and D, or from compute.

OpenLM (bundled), 15 tasks. The kind of link is chosen on runs of up to 412M parameters: links
fitted up to 79M and up to 154M forecast the larger runs, with several sizes of the drift of the
slope beyond the best run. The target is then forecast once: links fitted to runs of up to 412M and
one 1.4B run of each corpus forecast the remaining 1.4B and 6.9B runs, from N and D (with a fit of
Chinchilla's law to the same runs) and from the measured loss. They are compared with the
least-squares curve of Gadre et al. 2024 for each corpus, on the mean error over the tasks. Two
further problems leave out runs of fewer than 20 tokens per parameter, which lie far below any law
in N and D.

    python benchmarks/links.py [numbers of problems, from 0] [--kinds direct compute]

Results of problems and kinds that are not run are kept.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import numpy as np
import pandas as pd
from common import RESULTS, crps, interval_score, keep, write

import bayescale as bs
from bayescale.capabilities import task_forecasts
from bayescale.capabilities.link_forms import FORMS
from bayescale.errors import ConvergenceWarning

KINDS = ("logistic", "direct", "compute", "gadre", "hinge")
LEVELS = (0.5, 0.8, 0.9, 0.95)
#: Sizes of the drift beyond the best run, relative to that before; the last is the default.
SHARES = (0.0, 0.35, 0.5, 1.0, task_forecasts.AHEAD)
SETTINGS = dict(draws=1000, chains=4, engine="particles")


def table() -> pd.DataFrame:
    """Results on tasks, with the number of each run."""
    frame = bs.datasets.openlm_tasks()
    return frame.assign(run=frame.groupby(["dataset", "N", "D"]).ngroup())


def measures(draws: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Coverage and scores of accuracies; `draws` has an axis of draws before those of `truth`."""
    draws, truth = draws.reshape(len(draws), -1), truth.ravel()
    out = {"n": len(truth)}
    for prob in LEVELS:
        low, high = np.quantile(draws, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
        out[f"inside {100 * prob:.0f} %"] = float(((low <= truth) & (truth <= high)).mean())
        if prob == 0.9:
            out["interval score"] = float(interval_score(truth, low, high, 0.1).mean())
            out["width"] = float((high - low).mean())
    out["CRPS"] = float(crps(truth, draws).mean())
    out["mean |error|"] = float(np.abs(np.median(draws, axis=0) - truth).mean())
    return out


def curve_errors(frame: pd.DataFrame, seen, held: pd.DataFrame) -> np.ndarray:
    """Relative errors of the mean error over tasks, for a least-squares curve of each corpus."""
    from scipy.optimize import curve_fit

    mean = frame.groupby("run").agg(
        dataset=("dataset", "first"),
        loss=("loss", "first"),
        error=("accuracy", lambda a: 1 - a.mean()),
    )
    out = []
    for run in held.index:
        of_corpus = mean[(mean["dataset"] == mean.loc[run, "dataset"]) & mean.index.isin(seen)]
        (eps, k, gamma), _ = curve_fit(
            lambda x, eps, k, gamma: eps - k * np.exp(-gamma * x),
            of_corpus["loss"],
            of_corpus["error"],
            p0=(0.85, 2.0, 0.75),
        )
        predicted = eps - k * np.exp(-gamma * mean.loc[run, "loss"])
        out.append(predicted / mean.loc[run, "error"] - 1)
    return np.array(out)


def joined(rows: list[dict], name: str) -> pd.DataFrame:
    """The rows, with those of other problems and kinds in the file of results."""
    new, path = pd.DataFrame(rows), RESULTS / f"{name}.csv"
    if path.exists():
        old, keys = pd.read_csv(path), ["problem", "kind"]
        kept = ~pd.MultiIndex.from_frame(old[keys]).isin(pd.MultiIndex.from_frame(new[keys]))
        new = pd.concat([old[kept], new])
    return new.sort_values("problem", kind="stable")[list(max(rows, key=len))]


def main(chosen: list[int], kinds=KINDS, seed: int = 1) -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    frame = table()
    wide = frame.drop_duplicates("run").set_index("run")
    accuracy = frame.pivot(index="run", columns="task", values="accuracy")
    small = wide["N"] < 5e8
    final = small | ((wide["N"] < 2e9) & (wide["D"] < 21 * wide["N"]))
    problems = {
        "rollout: to 79M -> 154M, 412M": (wide["N"] < 1e8, small & (wide["N"] > 1e8)),
        "rollout: to 154M -> 412M": (wide["N"] < 2e8, small & (wide["N"] > 2e8)),
        "target: to 412M and one 1.4B -> 1.4B, 6.9B": (final, ~final),
    }
    long = wide["D"] > 15 * wide["N"]
    for name in list(problems)[:2]:
        at, later = problems[name]
        problems[name.replace("rollout", "20 tokens per parameter or more")] = (
            at & long,
            later & long,
        )
    runs = bs.Runs.example("openlm")
    rows, per_task, means, drifts = [], [], [], []
    for problem in [list(problems)[i] for i in chosen] or problems:
        seen, ahead = problems[problem]
        held = wide[ahead]
        truth = accuracy.loc[held.index].to_numpy()
        names = set(zip(wide["dataset"][seen], wide["N"][seen], wide["D"][seen], strict=True))
        keys = zip(runs.table["dataset"].astype(str), runs.table["N"], runs.table["D"], strict=True)
        fit = bs.fit(runs[np.array([k in names for k in keys])], groups="dataset", random_seed=seed)
        relative = curve_errors(frame, wide.index[seen], held)
        means.append(
            {
                "problem": problem,
                "kind": "Gadre's curve",
                "known": "measured loss",
                "mean |relative error| %": 100 * np.abs(relative).mean(),
                "worst %": 100 * np.abs(relative).max(),
            }
        )
        for kind in kinds:
            started, worked = time.perf_counter(), time.process_time()
            link = bs.link(
                fit,
                frame[frame["run"].isin(wide.index[seen])],
                kind=kind,
                random_seed=seed,
                **SETTINGS,
            )
            seconds, of_processors = time.perf_counter() - started, time.process_time() - worked
            inputs = {"N and D": held[["N", "D", "dataset"]]}
            if FORMS[kind].along == "loss":
                inputs["measured loss"] = held[["loss", "dataset"]]
            for known, points in inputs.items():
                for share in SHARES:
                    task_forecasts.AHEAD = share
                    ahead = bs.forecast_tasks(link, points, random_seed=seed).data
                    drawn = {
                        v: ahead[v].to_numpy().reshape(-1, *truth.shape)
                        for v in ("mean", "accuracy")
                    }
                    drifts.append(
                        {
                            "problem": problem,
                            "kind": kind,
                            "known": known,
                            "walk beyond": share,
                            **measures(drawn["accuracy"], truth),
                        }
                    )
                tag = {"problem": problem, "kind": kind, "known": known}
                rows.append(
                    {
                        **tag,
                        "engine": "particles",
                        **measures(drawn["accuracy"], truth),
                        "walk": float(link.posterior["walk"].median()),
                        "effective draws": link.convergence.ess,
                        "fewest of": link.convergence.ess_of,
                        "Pareto k": link.convergence.pareto_k,
                        "shift": link.convergence.shift,
                        "seconds": seconds,
                        "processor seconds": of_processors,
                    }
                )
                per_task += [
                    {
                        **tag,
                        "task": t,
                        **measures(drawn["accuracy"][..., i], truth[:, i]),
                        "walk": float(link.posterior["walk_task"][..., i].median()),
                    }
                    for i, t in enumerate(link.tasks)
                ]
                error = 1 - np.median(drawn["mean"].mean(axis=-1), axis=0)
                relative = error / (1 - truth.mean(axis=1)) - 1
                means.append(
                    {
                        **tag,
                        "mean |relative error| %": 100 * np.abs(relative).mean(),
                        "worst %": 100 * np.abs(relative).max(),
                        **measures(drawn["accuracy"].mean(axis=-1), truth.mean(axis=1)),
                    }
                )
            print(f"{problem}, {kind}: {seconds:.0f} s, {link.convergence}", file=sys.stderr)
            keep(joined(drifts, "links_drift"), "links_drift")
            write(joined(rows, "links"), "links", "accuracies, all tasks pooled")
            keep(joined(per_task, "links_tasks"), "links_tasks")
            write(
                joined(means, "links_means"),
                "links_means",
                "the mean error over the tasks of each run",
            )
    pooled = joined(drifts, "links_drift").query("problem.str.startswith('rollout')")
    pooled = (
        pooled.groupby(["kind", "known", "walk beyond"])[
            ["interval score", "CRPS", "inside 90 %", "mean |error|"]
        ]
        .mean()
        .reset_index()
    )
    write(pooled, "links_choice", "mean over both rollouts, by which kind and drift are chosen")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problems", nargs="*", type=int)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    given = parser.parse_args()
    main(given.problems, given.kinds)

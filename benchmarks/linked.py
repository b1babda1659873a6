"""Simulation-based calibration of the posteriors of a link.

Four tasks and forty runs of two corpora. Parameters, walks, moves and accuracies are drawn from
the priors of `bayescale.capabilities.link_model`. The ranks of the true values among the posterior
draws of the default engine are recorded for the parameters of the tasks, for threshold and slope of
`Link.summary`, and for the accuracy at the best run and half a unit beyond it. Tables whose draws
did not pass the diagnostics are counted.

    python benchmarks/linked.py [simulated tables, 100] [workers, 1] [kind, logistic]

Rows of other kinds are kept.
"""

from __future__ import annotations

import sys
import warnings
from functools import partial

import numpy as np
import pandas as pd
from common import RESULTS, workers, write
from scipy.stats import kstest

import bayescale as bs
from bayescale.capabilities import link_sampling
from bayescale.capabilities.link_forms import FORMS
from bayescale.capabilities.link_model import LinkPlan, build, cell, walks

TASKS = {"a": (0.0, 1000), "b": (0.25, 4000), "c": (0.25, 1000), "d": (0.5, 2000)}
CORPORA = ("one", "two")
BEYOND = np.array([0.0, 0.5])
SHAPES = ("threshold", "slope at threshold")
SAMPLING = dict(draws=500, chains=2, cores=1)


def design(kind: str) -> pd.DataFrame:
    """The table without its accuracies."""
    loss = np.linspace(4.2, 2.2, 20)
    rows = [
        dict(task=t, member=m, loss=x + 0.01 * i, C=np.exp(-8 * x), n_questions=n, chance=c)
        for t, (c, n) in TASKS.items()
        for i, m in enumerate(CORPORA)
        for x in loss
    ]
    table = pd.DataFrame(rows).assign(y=0.5)
    # Three ratios of N and D, along compute.
    ratio = 20.0 ** np.array([-1, 0, 1])[np.arange(len(table)) % 3]
    N = np.sqrt(table["C"] / 6 * ratio)
    return table.assign(N=N, D=table["C"] / (6 * N))


def means(plan: LinkPlan, values, u, task: str, member: str, sizes=None):
    """Accuracy and precision of one task and corpus at `u`; the axis of draws comes first. `sizes`
    are N and D, by default at the typical ratio."""
    parameters = {
        p.name: values[f"{p.name}_task"].sel(task=task).to_numpy()[..., None]
        for p in plan.parameters
    }
    move = (
        values["move_member"].sel(member=member) + values["move_cell"].sel(cell=cell(task, member))
    ).to_numpy()[..., None]
    steps = walks(values).sel(task=task).transpose(..., "component").to_numpy()
    typical = plan.at_typical(np.exp(plan.best)) if plan.form.by_size else {"N": 1, "D": 1}
    where = plan.where(*(typical.values() if sizes is None else sizes))
    return plan.form(u + move + steps @ plan.walk(u).T, parameters, TASKS[task][0], **where)


def simulated(kind: str, i: int) -> dict[str, float]:
    """Ranks of the true values of one simulated table."""
    import pymc as pm
    import xarray as xr

    warnings.simplefilter("ignore")
    plan = LinkPlan(FORMS[kind], design(kind), ("member",))
    with build(plan) as model:
        names = [v.name for v in model.free_RVs]
        drawn = pm.draw(model.free_RVs, random_seed=i)
        dims = {v.name: model.named_vars_to_dims.get(v.name, ()) for v in model.free_RVs}
    truth = xr.Dataset(
        {n: (dims[n], v) for n, v in zip(names, drawn, strict=True)},
        coords={k: list(v) for k, v in plan.levels.items()},
    )
    rng = np.random.default_rng([i, 1])
    table = plan.table.copy()
    for (task, member), rows in table.groupby(["task", "member"]):
        u = plan.u(rows[plan.form.along].to_numpy(float))
        sizes = rows["N"].to_numpy(float), rows["D"].to_numpy(float)
        mean, total = means(plan, truth, u, task, member, sizes)
        share = rng.beta(mean * total, (1 - mean) * total)
        n = TASKS[task][1]
        table.loc[rows.index, "y"] = rng.binomial(n, share) / n
    seen = LinkPlan(plan.form, table, plan.groups)
    found = link_sampling.sample(seen, seed=i, **SAMPLING)
    out = {"failed": bool(found.convergence.failures()), "table": i}
    true_shapes, shapes = (
        bs.Link(seen, values, found.stats).drawn()
        for values in (truth.expand_dims(["chain", "draw"]), found.posterior)
    )
    for task in TASKS:
        for shape in SHAPES:
            name = shape.split()[0]
            values = (d[name].sel(task=task) for d in (shapes, true_shapes))
            out[f"{shape} {task}"] = _rank(*values, rng)
        for p in plan.parameters:
            out[f"{p.name} {task}"] = _rank(
                found.posterior[f"{p.name}_task"].sel(task=task),
                truth[f"{p.name}_task"].sel(task=task),
                rng,
            )
        for j, where in enumerate(("at the best run", "beyond it")):
            true, posterior = (
                means(plan, v, BEYOND, task, "one")[0][..., j] for v in (truth, found.posterior)
            )
            out[f"accuracy {where} {task}"] = _rank(posterior, true, rng)
    return out


def _rank(draws, value, rng) -> float:
    draws, value = np.asarray(draws).ravel(), np.asarray(value).item()
    low, same = (draws < value).sum(), (draws == value).sum()
    return float((low + rng.random() * (same + 1)) / (len(draws) + 1))


def main(n: int = 100, jobs: int = 1, kind: str = "logistic") -> None:
    with workers(jobs) as pool:
        ranks = pd.DataFrame(
            (map if pool is None else pool.map)(partial(simulated, kind), range(n))
        )
    rows = []
    names = dict.fromkeys(c.rsplit(" ", 1)[0] for c in ranks.columns.drop(["failed", "table"]))
    for name in names:
        each = ranks[[f"{name} {t}" for t in TASKS]]
        u = each.to_numpy().ravel()
        # Tasks of one table are dependent, so the test takes one task of each table.
        one = each.to_numpy()[np.arange(n), np.arange(n) % len(TASKS)]
        rows.append(
            {
                "kind": kind,
                "quantity": name,
                "tables": n,
                **{f"inside {q} %": (abs(u - 0.5) < q / 200).mean() for q in (50, 80, 90)},
                "kolmogorov": kstest(one, "uniform").pvalue,
                "tables that failed": ranks["failed"].sum(),
            }
        )
    table, path = pd.DataFrame(rows), RESULTS / "links_calibration.csv"
    if path.exists():
        table = pd.concat([pd.read_csv(path).query("kind != @kind"), table])
    write(
        table,
        "links_calibration",
        "links simulated from the priors: coverage of credible intervals",
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:4])

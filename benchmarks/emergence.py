"""Emergence: power, false alarms, confusion of verdicts, published sets, and time.

    python benchmarks/emergence.py [part ...] [--curves 4] [--first 0] [--workers 1]

All parts run if none is named; each takes about two minutes. `--curves` is the number of simulated
curves of each kind. With `--first` 4 the part power adds the next curves to those of earlier runs.

power       straight curves, curves that drift and curves with a bend to 2.5 and 4 times the slope
confusion   curves drawn from each kind: how often each verdict is given
metric      exact match of several tokens, with and without a change of slope in the loss
published   nine tasks (Wu and Lo 2024, arXiv:2410.01692), seven tasks (Ruan et al. 2024), and
            four-digit addition (Caballero et al. 2022)
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from breaks import simulated
from common import RESULTS, keep, reference, workers, write

import bayescale as bs
from bayescale.capabilities.emergence_models import Model, TaskCurve
from bayescale.capabilities.emergence_shapes import sample, shapes
from bayescale.capabilities.emergence_verdicts import VERDICTS, decide, departure, probabilities

#: Metric, points and noise (or number of questions).
SETTINGS = (("loss", 20, 0.003), ("loss", 40, 0.03), ("accuracy", 40, 2000))
#: Change of the slope relative to the slope before, and size of the drift.
CHANGES = ((0.0, 0.0), (0.0, 0.2), (0.0, 0.5), (1.5, 0.0), (3.0, 0.0))


def verdict_of(curve: TaskCurve, seed) -> dict:
    """Verdict and probabilities of one curve."""
    started = time.perf_counter()
    posterior = sample(curve, seed)
    plotted = shapes(posterior.averaged(np.random.default_rng(seed)))
    p = probabilities(posterior, plotted)
    return dict(
        verdict=decide(p),
        departure=departure(p),
        abrupt=p["abrupt change"],
        seconds=time.perf_counter() - started,
        **{f"log evidence {k}": v for k, v in posterior.log_evidence.items()},
    )


def one(job) -> dict:
    kind, n, noise, change, drift, i = job
    rng = np.random.default_rng([i, n, int(1e4 * noise), int(100 * change), int(10 * drift), 11])
    curve, _ = simulated(kind, n, noise, change, drift, rng)
    questions = getattr(curve.metric, "n", None)
    of_task = TaskCurve(curve.s, curve.metric.y, 0.0, questions, getattr(curve.metric, "chance", 0))
    row = dict(metric=kind, points=n, noise=noise, change=change, drift=drift, curve=i)
    return row | verdict_of(of_task, [i, n])


def power(many, curves: int, first: int = 0) -> None:
    each = pd.read_csv(RESULTS / "emergence_power_each.csv") if first else pd.DataFrame()
    for i in range(first, first + curves):
        new = pd.DataFrame(many(one, [(*s, *c, i) for s in SETTINGS for c in CHANGES]))
        earlier = each[each["curve"] != i] if len(each) else each
        each = pd.concat([earlier, new], ignore_index=True)
        keep(each, "emergence_power_each")  # a run that is stopped leaves the curves so far
    each["found"], each["called abrupt"] = each["departure"] > 0.5, each["abrupt"] > 0.5
    table = (
        each.groupby(["metric", "points", "noise", "change", "drift"])
        .agg(
            curves=("found", "size"),
            departure=("found", "mean"),
            abrupt=("called abrupt", "mean"),
            seconds=("seconds", "mean"),
        )
        .reset_index()
    )
    write(table, "emergence_power", "Share of curves with P(departure) > .5 and P(abrupt) > .5")


def drawn(job) -> dict:
    """A curve from the prior of one kind, with scores that its likelihood draws."""
    is_accuracy, kind, i = job
    rng = np.random.default_rng([i, len(kind), is_accuracy, 13])
    n = 40
    s = np.linspace(-5, 5, n)
    blank = np.full(n, 0.5)
    questions = np.full(n, 2000.0) if is_accuracy else None
    model = Model(TaskCurve(s, blank, 0.0, questions, 0.25 if is_accuracy else 0.0), kind)
    while True:
        z = rng.standard_normal((1, model.dimension))
        h = model.parameters(z)
        if is_accuracy:
            eta = model.eta(z, s, h) + h["scatter"] * rng.standard_normal(n)
            p = 0.25 + 0.75 * (1 - h["lost"]) / (1 + np.exp(-eta))
            y = (
                rng.binomial(2000, np.clip(p + h["jitter"] * rng.standard_normal(n), 0, 1))[0]
                / 2000
            )
            informative = y.max() > 0.4 and h["scatter"] < 0.5
        else:
            noise = h["noise"] * rng.standard_normal(n)
            y = (model.mean(z, s) * np.exp(noise))[0]
            informative = h["noise"] < 0.03 and np.ptp(np.log(y)) > 0.2
        if informative:
            break
    curve = TaskCurve(s, y, 0.0, questions, 0.25 if is_accuracy else 0.0)
    return dict(metric="accuracy" if is_accuracy else "loss", kind=kind) | verdict_of(curve, [i, 3])


def confusion(many, curves: int) -> None:
    kinds = [(True, k) for k in ("unbroken", "line", "late", "break", "drift")]
    kinds += [(False, k) for k in ("unbroken", "break", "drift")]
    each = pd.DataFrame(many(drawn, [(*k, i) for k in kinds for i in range(curves)]))
    counts = pd.crosstab([each["metric"], each["kind"]], each["verdict"])
    counts = counts.reindex(columns=list(VERDICTS), fill_value=0).reset_index()
    write(counts, "emergence_confusion", "Curves of each kind, and how often each verdict is given")


def world(job) -> dict:
    change, tokens, i = job
    rng = np.random.default_rng([i, tokens, int(change)])
    N = np.geomspace(1e7, 1e11, 20)
    s = np.log(N / 1e9)
    loss = 0.7 * np.exp(-0.25 * (s + change * np.maximum(s, 0)))
    loss *= np.exp(0.01 * rng.standard_normal(20))
    right = rng.binomial(1000, np.exp(-tokens * loss)) / 1000
    found = bs.emergence(
        pd.DataFrame({"N": N, "loss": loss, "accuracy": right}),
        x="N",
        continuous="loss",
        n_questions=1000,
        chance=0.0,
        random_seed=i,
        progressbar=False,
    )
    return dict(change=change, tokens=tokens, **found.summary().iloc[0].drop("sentence"))


def metric(many, curves: int) -> None:
    jobs = [(c, tokens, i) for c in (0.0, 2.0) for tokens in (3, 5) for i in range(5)]
    each = pd.DataFrame(many(world, jobs))
    table = (
        each.groupby(["change", "tokens", "verdict"])
        .agg(curves=("verdict", "size"), departure=("P(departure)", "mean"))
        .reset_index()
    )
    write(table, "emergence_metric", "Exact match of several tokens, and the loss per token")


def published(many, curves: int) -> None:
    table = pd.read_csv(reference("emergence_tasks.csv")).rename(columns={"flops": "C"})
    table = table[table["excluded_by_authors"].astype(str) != "True"].dropna(subset=["C"])
    classes = table.groupby("task")["published_class"].first()
    added = pd.read_csv(reference("bnsl_addition.csv"))
    sets = (
        ("Ruan", bs.datasets.emergent_tasks(), dict(family="family")),
        ("Wu", table, dict(family="family")),
        ("Wu, Brier", table, dict(family="family", continuous="brier")),
        ("addition", added, dict(x="unique_examples", y="loss")),
    )
    rows = []
    for name, data, options in sets:
        started = time.perf_counter()
        found = bs.emergence(data, random_seed=1, executor=_InTurn(many), **options)
        seconds = time.perf_counter() - started
        rows.append(found.summary().reset_index().assign(set=name, seconds=seconds))
    every = pd.concat(rows, ignore_index=True)
    every.insert(1, "published", every["task"].map(classes))
    write(every, "emergence_published", "Published tasks; seconds are those of the whole set")


class _InTurn:
    """An executor with the ``map`` of a pool."""

    def __init__(self, many):
        self.map = many


PARTS = dict(power=power, confusion=confusion, metric=metric, published=published)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--curves", type=int, default=4)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with workers(options.workers) as pool:
        many = map if pool is None else pool.map
        for name in options.parts or PARTS:
            extra = {"first": options.first} if name == "power" else {}
            PARTS[name](many, options.curves, **extra)


if __name__ == "__main__":
    main()

"""Breaks: false alarms, power, calibration, and results on public tables.

    python benchmarks/breaks.py [part ...] [--workers 2] [--scale 1.0]

All parts run if none is named. `--scale` multiplies the number of simulated curves.

alarms       curves without a break, two thirds of them with drift: how often P(break) > .5
broken       one break at a known place, no drift: how often it is found, and where
metric       exact match over a per-token power law, with and without a change of slope
calibration  broken curves drawn from the priors: ranks of the truth in its posterior
tasks        nine tasks in accuracy and Brier score (Wu and Lo 2024, arXiv:2410.01692)
addition     four-digit addition from its first 14 points (Caballero et al. 2022)
emergent     tasks of Ruan et al. 2024, fitted below their threshold, forecast above
repeated     the same curves with other seeds: actual and reported Monte Carlo error of the evidence
ahead        the last quarter of simulated curves, forecast from the first three
public       fine-tuning curves with a plateau (Lin et al. 2024, arXiv:2402.02314), BIG-Bench curves
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from common import RESULTS, keep, reference, workers, write
from scipy.stats import binom

import bayescale as bs
from bayescale.capabilities.break_evidence import bayes_factors, sample_curve
from bayescale.capabilities.break_model import PARTICLES, BreakModel, Curve
from bayescale.capabilities.break_results import Breaks
from bayescale.capabilities.curve_table import read_curves
from bayescale.capabilities.likelihoods import Accuracy, Loss
from bayescale.evaluation.scores import crps, interval_score

SIZES = {8: 60, 20: 45, 40: 30, 100: 18}  # curves of each kind, by number of points
POINTS = list(SIZES)  # numbers of points that are simulated
#: Standard deviations of log loss, and numbers of questions.
NOISE = {"loss": (0.003, 0.01, 0.1), "accuracy": (200, 2000)}
#: Sizes of drift, relative to the slope of the curve and per square root of an e-fold: none, the
#: median of the prior, and a value in its upper tail.
DRIFTS = (0.0, 0.2, 0.5)
CHANGES = (-0.8, 0.75, 1.5, 3.0, 6.0)  # changes of slope at a break, relative to the slope before
SHARES = (0.1, 0.2, 0.3)  # prior means of the share of curves that break


def simulated(kind: str, n: int, noise: float, change: float, drift: float, rng):
    """A curve over two to four decades, and the place of its break in log x.

    Slopes, levels and floors vary as in public curves; a quarter of the losses have no floor.
    `change` is relative to the slope before the break.
    """
    length = rng.uniform(2, 4) * np.log(10)
    s = np.linspace(-length / 2, length / 2, n)
    slope = (0.35 if kind == "loss" else 0.7) * 2 ** rng.standard_normal()
    place = rng.uniform(s[0] + 0.25 * length, s[-1] - 0.25 * length)
    width = 0.3 * 2.5 ** rng.standard_normal()
    z = (s - place) / width
    eta = slope * (s + change * width * (np.maximum(z, 0) + np.log1p(np.exp(-abs(z)))))
    steps = np.linspace(s[0], s[-1], 400, endpoint=False)
    walk = drift * np.sqrt(length / 400) * rng.standard_normal(400)
    eta += slope * np.maximum(s[:, None] - steps, 0) @ walk
    eta -= np.interp(0.0, s, eta)
    if kind == "loss":
        amplitude = 0.4 * 2.2 ** rng.standard_normal()
        floor = 0.0 if rng.random() < 0.25 else 0.5 * 2 ** rng.standard_normal()
        y = (floor + amplitude * np.exp(-eta)) * np.exp(noise * rng.standard_t(6, n))
        return Curve(s, Loss(y, np.zeros(n)), np.full(n, -1)), place
    questions, chance = float(noise), float(rng.choice([0.0, 0.25, 0.5]))
    while True:
        p = chance + (1 - chance) * 0.97 / (1 + np.exp(-eta - 1.5 * rng.standard_normal()))
        many = 0.25 / (0.015 * 2 ** rng.standard_normal()) ** 2
        true = rng.beta(np.maximum(p * many, 1e-9), np.maximum((1 - p) * many, 1e-9))
        y = rng.binomial(int(questions), true) / questions
        if y.max() - chance > 3 * np.sqrt(0.25 / questions):  # some accuracy is above chance
            return Curve(s, Accuracy(y, np.full(n, questions), chance), np.full(n, -1)), place


def breaks_of(curve: Curve, seed) -> Breaks:
    """`bayescale.breaks` of one curve."""
    metric = "accuracy" if isinstance(curve.metric, Accuracy) else "loss"
    samples = sample_curve(curve, 3, PARTICLES, seed)
    return Breaks({"curve": curve}, {"curve": samples}, "x", "y", metric, (), (), 1)


def one(job) -> dict:
    """Breaks found in one simulated curve."""
    kind, n, noise, change, drift, i = job
    rng = np.random.default_rng([i, n, int(1e4 * noise), int(100 * change) + 500, int(10 * drift)])
    curve, place = simulated(kind, n, noise, change, drift, rng)
    started = time.perf_counter()
    result = breaks_of(curve, [i, n])
    seconds = time.perf_counter() - started
    factors = bayes_factors(result.samples["curve"])
    row = dict(
        metric=kind,
        points=n,
        noise=noise,
        change=change,
        drift=drift,
        curve=i,
        break_over_drift=factors["break_over_drift"],
        drift_over_law=factors["drift_over_law"],
        P=result.probability(),
        seconds=seconds,
    )
    log_x = np.log(result.places()["x"].to_numpy())
    if change and len(log_x) >= 10:
        low, high = np.quantile(log_x, [0.05, 0.95])
        row |= {"inside 90 %": low <= place <= high, "width": high - low, "range": np.ptp(curve.s)}
    return row


def with_others(each: pd.DataFrame, name: str) -> pd.DataFrame:
    """Curves of this run, with earlier results for other numbers of points."""
    if set(POINTS) < set(SIZES):
        earlier = pd.read_csv(RESULTS / f"{name}.csv")
        each = pd.concat([earlier[~earlier["points"].isin(POINTS)], each], ignore_index=True)
    keep(each, name)
    return each


def alarms(many, scale: float) -> None:
    jobs = [
        (kind, n, noise, 0.0, drift, i)
        for n, reps in SIZES.items()
        if n in POINTS
        for kind in NOISE
        for noise in NOISE[kind]
        for drift in DRIFTS
        for i in range(max(int(scale * reps), 4))
    ]
    each = with_others(pd.DataFrame(many(one, jobs)), "breaks_alarms_each")
    for share in SHARES:
        each[f"share {share}"] = each["break_over_drift"] > np.log(1 / share - 1)
    by = each.groupby(["metric", "points", "noise", "drift"])
    table = by.agg(
        curves=("P", "size"),
        alarms=("P", lambda p: (p > 0.5).mean()),
        mean_P=("P", "mean"),
        seconds=("seconds", "mean"),
        **{f"alarms at {s}": (f"share {s}", "mean") for s in SHARES},
    ).reset_index()
    write(table, "breaks_alarms", "Curves without a break for which a break is reported (P > .5)")
    pooled = (
        each.groupby(["points", "drift"])
        .agg(
            curves=("P", "size"),
            alarms=("P", lambda p: (p > 0.5).mean()),
            **{f"alarms at {s}": (f"share {s}", "mean") for s in SHARES},
        )
        .reset_index()
    )
    pooled["upper 95 %"] = [
        _upper(round(r["alarms"] * r["curves"]), r["curves"]) for _, r in pooled.iterrows()
    ]
    write(pooled, "breaks_alarms_pooled", "The same, pooled over metrics and noise")


def _upper(k: int, n: int) -> float:
    """Upper 95 % limit of the rate: at this rate, so few alarms have a probability of 5 %."""
    rates = np.linspace(0, 1, 2001)
    return float(rates[binom.cdf(k, n, rates) >= 0.05].max())


def broken(many, scale: float) -> None:
    jobs = [
        (kind, n, noise, change, 0.0, i)
        for n, reps in SIZES.items()
        if n > 8 and n in POINTS
        for kind in NOISE
        for noise in ((0.003, 0.03) if kind == "loss" else (2000,))
        for change in CHANGES
        for i in range(max(int(scale * reps / 2), 4))
    ]
    each = with_others(pd.DataFrame(many(one, jobs)), "breaks_broken_each")
    each["found"] = each["P"] > 0.5
    each["share of range"] = each["width"] / each["range"]
    table = (
        each.groupby(["metric", "points", "noise", "change"])
        .agg(
            curves=("P", "size"),
            found=("found", "mean"),
            inside90=("inside 90 %", "mean"),
            width=("share of range", "median"),
            seconds=("seconds", "mean"),
        )
        .reset_index()
    )
    write(table, "breaks_broken", "Curves with one break: found (P > .5), and its place")
    total = each.groupby("found").agg(curves=("P", "size"), inside90=("inside 90 %", "mean"))
    write(total.reset_index(), "breaks_places", "Place inside its 90 % interval")


def metric(many, scale: float) -> None:
    rows = []
    for change, tokens in product((0.0, 2.0), (3, 5)):
        for i in range(max(int(10 * scale), 3)):
            rng = np.random.default_rng([i, tokens, int(change)])
            N = np.geomspace(1e7, 1e11, 20)
            s = np.log(N / 1e9)
            loss = 0.7 * np.exp(-0.25 * (s + change * np.maximum(s, 0)))
            loss *= np.exp(0.01 * rng.standard_normal(20))
            table = pd.DataFrame(
                {
                    "N": N,
                    "loss": loss,
                    "accuracy": rng.binomial(1000, np.exp(-tokens * loss)) / 1000,
                }
            )
            rows.append((table, change, tokens, i))
    table = (
        pd.DataFrame(list(many(_tested, rows)))
        .groupby(["change", "tokens", "verdict"])
        .agg(curves=("P(bend) loss", "size"), power=("power", "mean"))
        .reset_index()
    )
    write(table, "breaks_metric", "Exact match of several tokens against loss per token")


def _tested(job) -> dict:
    table, change, tokens, i = job
    result = bs.metric_test(
        table,
        "N",
        continuous="loss",
        n_questions=1000,
        chance=0.0,
        random_seed=i,
        progressbar=False,
    )
    return dict(change=change, tokens=tokens, **result.table.iloc[0])


def calibration(many, scale: float) -> None:
    jobs = [(kind, i) for kind in ("loss", "accuracy") for i in range(int(100 * scale))]
    ranks = pd.DataFrame(many(_ranked, jobs))
    rows = []
    for kind, part in ranks.groupby("metric"):
        for name in part.columns.drop(["metric", "curve"]):
            u = part[name].dropna().to_numpy()
            if not len(u):
                continue
            inside = {f"inside {q} %": float((abs(u - 0.5) < q / 200).mean()) for q in (50, 80, 90)}
            rows.append(
                dict(metric=kind, quantity=name, curves=len(u), **inside, kolmogorov=_kolmogorov(u))
            )
    write(
        pd.DataFrame(rows),
        "breaks_calibration",
        "Broken curves from the priors: coverage of intervals, and p-values of uniform ranks",
    )


def _kolmogorov(u: np.ndarray) -> float:
    from scipy.stats import kstest

    return float(kstest(u, "uniform").pvalue)


def _ranked(job) -> dict:
    """Ranks of the truth of one broken curve among draws of its posterior."""
    kind, i = job
    rng = np.random.default_rng([i, kind == "loss"])
    n = 30
    s = np.linspace(-3.5, 3.5, n)
    blank = np.full(n, 0.5)
    metric = (
        Loss(blank, np.zeros(n)) if kind == "loss" else Accuracy(blank, np.full(n, 1000.0), 0.25)
    )
    curve = Curve(s, metric, np.full(n, -1))
    prior = BreakModel(curve, 1)
    position = prior.draw_prior(1, rng)
    coefficients = rng.standard_normal((1, 3 + len(curve.drift_components[0])))
    eta = prior.eta(position, coefficients, s, curve.family)
    y = metric.draw(eta, prior.hyperparameters(position), rng)[0]
    out = dict(metric=kind, curve=i)
    if kind == "loss":
        # The priors are relative to the observed scores; the truth has the unit of `blank`.
        seen = Curve(s, _InUnits(y, np.zeros(n)), curve.family)
    else:
        seen = Curve(s, Accuracy(y, metric.n, metric.chance), curve.family)
    model = BreakModel(seen, 1)
    sample = model.sample(rng)
    truth = _quantities(prior, position, coefficients)
    draws = _quantities(model, sample.positions, sample.auxiliary)
    for name, value in truth.items():
        out[name] = float(((draws[name] < value).sum() + rng.random()) / (len(draws[name]) + 1))
    return out


def _quantities(model: BreakModel, positions, coefficients) -> dict[str, np.ndarray]:
    """Quantities of a curve with one break, each (draw,)."""
    before, change = model.slopes(positions, coefficients)
    h = model.hyperparameters(positions)
    end = model.eta(positions, coefficients, model.curve.s[-1:], np.full(1, -1))[:, 0]
    named = {
        "place": model.locations(positions)[:, 0],
        "width": model.widths(positions)[:, 0],
        "before": before,
        "change": change[:, 0],
        "drift": h["drift"][:, 0],
        "end of the curve": end,
    }
    return named | {name: h[name][:, 0] for name in model.curve.metric.priors}


class _InUnits(Loss):
    """Losses whose priors have the unit in which the truth was drawn."""

    typical = 0.5


def tasks(many, scale: float) -> None:
    """P(break) on either metric, and the test of the metric, for nine public tasks."""
    table = pd.read_csv(reference("emergence_tasks.csv"))
    table = table[table["excluded_by_authors"].astype(str) != "True"].dropna(subset=["flops"])
    options = dict(x="flops", groups="task", family="family", random_seed=1)
    executor = None if many is map else _Mapper(many)
    results = {
        y: bs.breaks(table, y=y, metric=y, executor=executor, **options)
        for y in ("accuracy", "brier")
    }
    tested = bs.metric_test(table, executor=executor, **options).table
    published = table.groupby("task")["published_class"].first()
    rows = []
    for task in results["accuracy"].labels:
        row = dict(task=task, published=published[task])
        for y, result in results.items():
            draws = result.places(task)
            row |= {
                f"P(break) {y}": result.probability(task),
                f"place {y}": draws["x"].median() if len(draws) else np.nan,
                f"kind {y}": draws["kind"].mode().iloc[0] if len(draws) else "",
            }
        rows.append(row | dict(tested.loc[task]))
    write(pd.DataFrame(rows), "breaks_tasks", "Nine tasks: breaks by metric")


class _Mapper:
    """An executor for `bayescale` that uses the ``map`` of a pool."""

    def __init__(self, many):
        self.map = many


def addition(many, scale: float) -> None:
    table = pd.read_csv(reference("bnsl_addition.csv"))
    first = table[table["is_train"].astype(str) == "True"]
    last = table[table["is_train"].astype(str) != "True"]
    result = bs.breaks(first, x="unique_examples", y="loss", random_seed=1)
    y = bs.forecast(result, x=last["unique_examples"]).data["y"].to_numpy()[0]
    places = result.places()["x"]
    low, high = np.quantile(y, [0.025, 0.975], axis=0)
    rows = pd.DataFrame(
        {
            "examples": last["unique_examples"],
            "loss": last["loss"],
            "median": np.median(y, axis=0),
            "low 95 %": low,
            "high 95 %": high,
            "inside 95 %": (low <= last["loss"]) & (last["loss"] <= high),
            "P(break)": result.probability(),
            "place": places.median(),
            "place low 90 %": places.quantile(0.05),
            "place high 90 %": places.quantile(0.95),
        }
    )
    write(rows, "breaks_addition", "Four-digit addition, forecast from its first 14 points")


#: The threshold of a task is the smallest C at which an accuracy exceeds this share of the range
#: from chance to the best accuracy.
ONSET = 0.2


def emergent(many, scale: float) -> None:
    """Accuracies of each task, fitted below its threshold and forecast above it."""
    table = bs.datasets.emergent_tasks()
    jobs = []
    for task, results in table.groupby("task"):
        chance = results["chance"].iloc[0]
        over = results["accuracy"] > chance + ONSET * (results["accuracy"].max() - chance)
        threshold = results.loc[over, "C"].min()
        if (results["C"] < threshold).sum() >= 12:
            jobs.append((task, results, threshold))
    rows = pd.concat(many(_across, jobs), ignore_index=True)
    every = rows.assign(task="all tasks")
    table = (
        pd.concat([rows, every])
        .groupby("task", sort=False)
        .agg(
            fitted=("fitted", "first"),
            models=("accuracy", "size"),
            threshold=("threshold", "first"),
            inside50=("inside 50 %", "mean"),
            inside80=("inside 80 %", "mean"),
            inside90=("inside 90 %", "mean"),
            width=("width", "mean"),
            interval_score=("interval score", "mean"),
            CRPS=("CRPS", "mean"),
            error=("error", "mean"),
            line_error=("line error", "mean"),
        )
        .reset_index()
    )
    write(table, "breaks_emergent", "Emergent tasks, forecast from below their thresholds")


def _across(job) -> pd.DataFrame:
    task, results, threshold = job
    below, above = results[results["C"] < threshold], results[results["C"] >= threshold]
    result = bs.breaks(
        below, y="accuracy", groups="task", family="family", random_seed=1, progressbar=False
    )
    family = [f if f in result.families else None for f in above["family"]]
    draws = bs.forecast(result, x=above["C"], family=family).data["y"].to_numpy()[0]
    truth = above["accuracy"].to_numpy()
    out = pd.DataFrame(
        {
            "task": task,
            "fitted": len(below),
            "threshold": threshold,
            "accuracy": truth,
            "CRPS": crps(truth, draws),
            "error": abs(np.median(draws, axis=0) - truth),
        }
    )
    for q in (50, 80, 90):
        low, high = np.quantile(draws, [0.5 - q / 200, 0.5 + q / 200], axis=0)
        out[f"inside {q} %"] = (low <= truth) & (truth <= high)
    out["width"], out["interval score"] = high - low, interval_score(truth, low, high, 0.1)
    line = np.polyfit(np.log(below["C"]), below["accuracy"], 1)
    out["line error"] = abs(np.clip(np.polyval(line, np.log(above["C"])), 0, 1) - truth)
    return out


def repeated(many, scale: float) -> None:
    seeds = range(max(int(8 * scale), 4))
    curves = {
        f"{kind}, {n} points, change {change:g}": simulated(
            kind, n, noise, change, 0.2, np.random.default_rng([n, int(change)])
        )[0]
        for kind, n, noise, change in (
            ("loss", 8, 0.003, 0.0),
            ("loss", 40, 0.003, 0.0),
            ("loss", 40, 0.003, 1.5),
            ("loss", 100, 0.003, 1.5),
            ("accuracy", 20, 2000, 1.5),
        )
    }
    table = bs.datasets.emergent_tasks().query("task == 'word_unscrambling'")
    for scale_ in ("odds", "plotted"):
        read = read_curves(table, x="C", y="accuracy", groups="task", scale=scale_, family="family")
        curves[f"word_unscrambling, {scale_}, families"] = next(iter(read.curves.values()))
    jobs = [(name, curve, seed) for name, curve in curves.items() for seed in seeds]
    each = pd.DataFrame(many(_evidence, jobs))
    table = (
        each.groupby("curve", sort=False)
        .agg(
            seeds=("seed", "size"),
            break_over_drift=("break_over_drift", "mean"),
            sd=("break_over_drift", "std"),
            mcse=("mcse", "mean"),
            worst_mcse=("mcse", "max"),
            lowest_P=("P", "min"),
            highest_P=("P", "max"),
            seconds=("seconds", "mean"),
        )
        .reset_index()
    )
    write(table, "breaks_repeated", "The evidence for different seeds, and its reported error")


def _evidence(job) -> dict:
    name, curve, seed = job
    started = time.perf_counter()
    result = breaks_of(curve, [seed, 7])
    factors = bayes_factors(result.samples["curve"])
    return dict(
        curve=name,
        seed=seed,
        break_over_drift=factors["break_over_drift"],
        mcse=factors["mcse"],
        P=result.probability(),
        seconds=time.perf_counter() - started,
    )


def ahead(many, scale: float) -> None:
    jobs = [
        (kind, noise, change, drift, i)
        for kind, noise in (("loss", 0.003), ("loss", 0.03), ("accuracy", 2000))
        for change, drift in ((0.0, 0.0), (0.0, 0.2), (0.0, 0.5), (1.5, 0.0), (1.5, 0.2))
        for i in range(max(int(20 * scale), 4))
    ]
    each = pd.concat(many(_continued, jobs), ignore_index=True)
    inside = {f"inside{q}": (f"inside {q} %", "mean") for q in (50, 80, 90)}
    by = ["metric", "noise", "change", "drift"]
    table = pd.concat([each, each.assign(noise="all", drift="all")])
    table = (
        table.groupby(by, sort=False)
        .agg(curves=("curve", "nunique"), **inside, width=("width", "median"))
        .reset_index()
    )
    write(table, "breaks_ahead", "Simulated curves: their last quarter, forecast from the rest")


def _continued(job) -> pd.DataFrame:
    kind, noise, change, drift, i = job
    rng = np.random.default_rng([i, int(1e4 * noise), int(10 * change), int(10 * drift), 5])
    whole, _ = simulated(kind, 40, noise, change, drift, rng)
    seen = np.arange(40) < 30
    cut = {f: getattr(whole.metric, f)[seen] for f in ("y", "sd", "n") if hasattr(whole.metric, f)}
    curve = replace(
        whole, s=whole.s[seen], family=whole.family[seen], metric=replace(whole.metric, **cut)
    )
    result = breaks_of(curve, [i, 9])
    draws = bs.forecast(result, x=np.exp(whole.s[~seen])).data["y"].to_numpy()[0]
    truth = whole.metric.y[~seen]
    out = pd.DataFrame(
        {
            "metric": kind,
            "noise": noise,
            "change": change,
            "drift": drift,
            "curve": f"{job}",
            "truth": truth,
        }
    )
    for q in (50, 80, 90):
        low, high = np.quantile(draws, [0.5 - q / 200, 0.5 + q / 200], axis=0)
        out[f"inside {q} %"] = (low <= truth) & (truth <= high)
    out["width"] = (high - low) / truth if kind == "loss" else high - low
    return out


def public(many, scale: float) -> None:
    """Breaks in published curves: their number, places and kinds."""
    executor = None if many is map else _Mapper(many)
    tuned = pd.read_csv(reference("finetuning_rectified.csv")).query("examples > 0")
    tuned["curve"] = tuned["model"] + ", " + tuned["dataset"]
    tables = [(f"fine-tuning, {name}", part, "curve") for name, part in tuned.groupby("dataset")]
    words = pd.read_csv(reference("language_learning_curves.csv")).query("domain == 'BB'")
    rows = []
    for name, table, groups in [*tables, ("BIG-Bench", words, "task")]:
        result = bs.breaks(
            table, x="examples", y="loss", groups=groups, random_seed=1, executor=executor
        )
        for curve in result.labels:
            draws = result.places(curve)
            rows.append(
                {
                    "table": name,
                    "curve": curve,
                    "P(break)": result.probability(curve),
                    "place": draws["x"].median() if len(draws) else np.nan,
                    "kind": draws["kind"].mode().iloc[0] if len(draws) else "",
                    "steeper": (abs(draws["after"]) > abs(draws["before"])).mean(),
                    **bayes_factors(result.samples[curve]),
                }
            )
    each = pd.DataFrame(rows)
    keep(each, "breaks_public_each")
    table = (
        each.groupby("table")
        .agg(
            curves=("curve", "size"),
            found=("P(break)", lambda p: (p > 0.5).sum()),
            mean_P=("P(break)", "mean"),
            place=("place", "median"),
            steeper=("steeper", "mean"),
            drift_over_law=("drift_over_law", "median"),
            break_over_law=("break_over_law", "median"),
            break_over_drift=("break_over_drift", "median"),
        )
        .reset_index()
    )
    write(table, "breaks_public", "Public curves: the number for which a break is reported")


PARTS = (alarms, broken, metric, calibration, tasks, addition, emergent, repeated, ahead, public)


def main() -> None:
    names = [part.__name__ for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(names))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument(
        "--points",
        type=int,
        nargs="+",
        choices=list(SIZES),
        default=list(SIZES),
        help="alarms, broken: numbers of points to run; earlier results are kept for the others",
    )
    options = parser.parse_args()
    POINTS[:] = options.points
    if invalid := set(options.parts) - set(names):
        parser.error(f"no such part: {', '.join(invalid)}; there are {', '.join(names)}")
    with workers(options.workers) as pool:
        for part in PARTS:
            if not options.parts or part.__name__ in options.parts:
                part(map if pool is None else pool.map, options.scale)


if __name__ == "__main__":
    main()

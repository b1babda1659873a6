"""Emergence: power, false alarms, confusion of verdicts, published sets, and time.

    python benchmarks/emergence.py [part ...] [--curves 4] [--first 0] [--workers 1] [--metric loss]

All parts run if none is named. `--curves` is the number of simulated curves of each kind. With
`--first` 4 the parts power, alarms and loss_laws add the next curves to those of earlier runs; with
`--curves` 0 they only judge the curves of earlier runs again, by their log evidences and the
present prior probabilities of kinds. With `--metric` the parts power, alarms and confusion are run
for losses or accuracies only, and keep the other rows; with `--points` and `--noise` (questions, of
accuracies) the parts power and alarms are run for these settings only.

power       curves that drift, and curves with a bend to 2.5, 4, .4 and .25 times the slope
alarms      straight curves of many sizes and noises
loss_laws   accuracies whose log odds are linear in a loss that follows a power law of compute
confusion   curves drawn from each kind: how often each verdict is given, and how often intervals
            of onset, half-rise, sharpness and slope ratio hold the truth
slope_ratio the same intervals of the slope ratio on further losses, which were not used to choose
            where it is shown
foresight   forecasts from below the onset, each task left out in turn
metric      exact match of several tokens, with and without a change of slope in the loss
published   nine tasks (Wu and Lo 2024, arXiv:2410.01692), seven tasks (Ruan et al. 2024), and
            four-digit addition (Caballero et al. 2022)
public      fine-tuning curves (Lin et al. 2024), BIG-Bench curves (Alabdulmohsin et al. 2022), and
            four-digit addition, by examples
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pandas as pd
from breaks import simulated
from common import RESULTS, interval_score, keep, reference, workers, write

import bayescale as bs
from bayescale.capabilities import emergence_foresight as foresights
from bayescale.capabilities.emergence_models import Model, TaskCurve
from bayescale.capabilities.emergence_priors import AHEAD as CHOSEN
from bayescale.capabilities.emergence_priors import KINDS, LOSS_KINDS, SMOOTH_KINDS
from bayescale.capabilities.emergence_shapes import Shapes, sample, shapes
from bayescale.capabilities.emergence_verdicts import TOLD, VERDICTS, decide, probabilities

#: Metric, points and noise (or number of questions).
SETTINGS = (("loss", 20, 0.003), ("loss", 40, 0.03), ("accuracy", 40, 2000))
STRAIGHT = (
    *(("loss", points, noise) for points in (10, 20, 40) for noise in (0.003, 0.01, 0.03, 0.1)),
    *(("accuracy", points, questions) for points in (20, 40) for questions in (200, 2000)),
)
#: Change of the slope relative to the slope before, and size of the drift.
CHANGES = ((0.0, 0.2), (0.0, 0.5), (1.5, 0.0), (3.0, 0.0))
#: The same with a slope that falls. A floor, or log odds that flatten, are the alternative.
DOWNWARD = ((-0.6, 0.0), (-0.75, 0.0))
#: Models, questions and families of accuracies that follow a loss.
LOSS_LAWS = tuple((m, q, f) for m in (20, 40) for q in (200, 2000) for f in (1, 6))
#: Shapes whose intervals are tested in `confusion`; the first two are places.
HELD_SHAPES = ("onset", "half_rise", "sharpness", "slope_ratio")
PLACES = HELD_SHAPES[:2]
#: Largest distance of the log of the geometric mean of a simulated loss from that of its unit.
UNIT_WITHIN = 0.05
#: Smallest share of later scores in the 90 % intervals of a prior that can be chosen.
HELD = 0.85
#: Curves of each kind in `confusion` by which the kinds with a slope ratio were chosen.
SEEN = 50
#: Simulated worlds of each kind in `metric`.
WORLDS = 10
#: Priors of what a curve does beyond its models, from which `foresight` chooses.
#: Rate and ratio were chosen before, from the same tasks.
AHEAD = [replace(CHOSEN, complete=share) for share in (0.0, 0.1, 0.2, 0.3, 0.5, 0.8)]


def verdict_of(curve: TaskCurve, seed, truth: Shapes | None = None) -> dict:
    """Verdict and log evidences of one curve; with the truth, which 90 % intervals hold it."""
    started = time.perf_counter()
    posterior = sample(curve, seed)
    plotted = shapes(posterior.averaged(np.random.default_rng(seed)))
    p = probabilities(posterior, plotted)
    verdict, _ = decide(p, float(plotted.is_emergent.mean()))
    row = dict(verdict=verdict, seconds=time.perf_counter() - started)
    row["shows slope_ratio"] = 2 * np.isfinite(plotted.slope_ratio).sum() > len(plotted.kind)
    for name in HELD_SHAPES if truth is not None else ():
        draws, true = getattr(plotted, name), float(getattr(truth, name)[0])
        draws = draws[np.isfinite(draws)]
        if np.isfinite(true) and 2 * len(draws) > len(plotted.kind):
            low, high = np.quantile(draws, [0.05, 0.95])
            # The grid of log x is the precision of places.
            slack = 0.5 * (plotted.grid[1] - plotted.grid[0]) if name in PLACES else 0.0
            row[f"holds {name}"] = float(low - slack <= true <= high + slack)
    return row | {f"log evidence {k}": v for k, v in posterior.log_evidence.items()}


def judged(each: pd.DataFrame, of_accuracy=KINDS) -> pd.DataFrame:
    """With P(departure) and P(abrupt) of each curve, from its log evidences."""
    rows = []
    for _, row in each.iterrows():
        prior = of_accuracy if row["metric"] == "accuracy" else LOSS_KINDS
        log = {k: row[f"log evidence {k}"] + np.log(prior[k]) for k in prior}
        total = np.logaddexp.reduce([v for v in log.values() if np.isfinite(v)])
        p = {k: float(np.exp(v - total)) if np.isfinite(v) else 0.0 for k, v in log.items()}
        departs = sum(v for k, v in p.items() if k not in SMOOTH_KINDS)
        rows.append({"departure": departs, "abrupt": p["break"]})
    return each.assign(**pd.DataFrame(rows, index=each.index))


def one(job) -> dict:
    kind, n, noise, change, drift, i = job
    # Seeds are not negative.
    rng = np.random.default_rng(
        [i, n, int(1e4 * noise), int(100 * change) % 1000, int(10 * drift), 11]
    )
    curve, _ = simulated(kind, n, noise, change, drift, rng)
    questions = getattr(curve.metric, "n", None)
    of_task = TaskCurve(curve.s, curve.metric.y, 0.0, questions, getattr(curve.metric, "chance", 0))
    row = dict(metric=kind, points=n, noise=noise, change=change, drift=drift, curve=i)
    return row | verdict_of(of_task, [i, n])


def of_loss(job) -> dict:
    """An accuracy whose log odds are linear in a loss that follows a power law.

    Its top is .85 to 1, and its exponent of compute .05 to .2, over three to five decades. Models
    differ by .1 and families by .3 in log odds.
    """
    models, questions, families, i = job
    rng = np.random.default_rng([i, models, questions, families, 17])
    length = rng.uniform(3, 5) * np.log(10)
    s = np.linspace(-length / 2, length / 2, models)
    exponent = np.exp(rng.uniform(np.log(0.05), np.log(0.2)))
    chance, top = float(rng.choice([0.0, 0.25, 0.5])), rng.uniform(0.85, 1)
    fall = 1 - np.exp(-exponent * (s - s[0]))
    first, last = rng.uniform(-5, -1), rng.uniform(0, 4)
    family = rng.integers(families, size=models)
    eta = first + (last - first) * fall / fall[-1] + 0.1 * rng.standard_normal(models)
    if families > 1:
        eta += 0.3 * rng.standard_normal(families)[family]
    y = rng.binomial(questions, chance + (top - chance) / (1 + np.exp(-eta))) / questions
    of_task = TaskCurve(s, y, 0.0, np.full(models, float(questions)), chance, family)
    row = dict(metric="accuracy", models=models, questions=questions, families=families)
    return row | dict(exponent=exponent, curve=i) | verdict_of(of_task, [i, models])


def detection(
    many, part: str, simulate, settings, by, curves: int, first: int, only=(None, None, None)
) -> pd.DataFrame:
    """Shares of curves that are called departures, and abrupt.

    `only` has the metric, points and noise of the curves to compute; None stands for all.
    """
    name = f"emergence_{part}_each"
    chosen = [s for s in settings if all(o in (None, of) for o, of in zip(only, s, strict=False))]
    again = first or not curves or len(chosen) < len(settings)
    each = pd.read_csv(RESULTS / f"{name}.csv") if again else pd.DataFrame()
    if again and curves and not first:
        each = each[[s not in chosen for s in each[by].itertuples(index=False, name=None)]]
    for i in range(first, first + curves):
        new = pd.DataFrame(many(simulate, [(*s, i) for s in chosen]))
        each = pd.concat([each, new])
        each = each.drop_duplicates([*by, "curve"], keep="last", ignore_index=True)
        keep(each, name)  # a run that is stopped leaves the curves so far
    of_part = [s in settings for s in each[by].itertuples(index=False, name=None)]
    found = judged(each[of_part])
    found["found"], found["stated"] = found["departure"] > 0.5, found["departure"] >= TOLD
    found["called abrupt"] = found["abrupt"] >= TOLD
    return (
        found.groupby(by)
        .agg(
            curves=("found", "size"),
            departure=("found", "mean"),
            stated=("stated", "mean"),
            abrupt=("called abrupt", "mean"),
            largest=("departure", "max"),
            seconds=("seconds", "mean"),
        )
        .reset_index()
    )


CURVE_BY = ["metric", "points", "noise", "change", "drift"]
TITLE = "Share of curves with P(departure) > .5, with P(departure) > .8, and with P(abrupt) > .8"


def power(many, curves: int, first: int = 0, **only) -> None:
    settings = [(*s, *c) for s in SETTINGS for c in (*CHANGES, *DOWNWARD)]
    found = detection(many, "power", one, settings, CURVE_BY, curves, first, only.values())
    write(found, "emergence_power", TITLE)


def alarms(many, curves: int, first: int = 0, **only) -> None:
    settings = [(*s, 0.0, 0.0) for s in STRAIGHT]
    found = detection(many, "alarms", one, settings, CURVE_BY, curves, first, only.values())
    write(found, "emergence_alarms", TITLE)


def loss_laws(many, curves: int, first: int = 0) -> None:
    by = ["models", "questions", "families"]
    found = detection(many, "loss_laws", of_loss, LOSS_LAWS, by, curves, first)
    write(found, "emergence_loss_laws", TITLE)


def drawn_curve(job) -> tuple[TaskCurve, Model, np.ndarray]:
    """A curve from the prior of one kind, with scores that its likelihood draws; its parameters."""
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
            # Priors of losses are in units of their geometric mean, so it has to be the unit.
            apart = abs(np.log(y / model.curve.unit).mean())
            informative = h["noise"] < 0.03 and np.ptp(np.log(y)) > 0.2 and apart < UNIT_WITHIN
        if informative:
            break
    return TaskCurve(s, y, 0.0, questions, 0.25 if is_accuracy else 0.0), model, z


def drawn(job) -> dict:
    """Verdict on a curve of `drawn_curve`."""
    is_accuracy, kind, i = job
    curve, *true = drawn_curve(job)
    truth = shapes([tuple(true)])
    named = dict(metric="accuracy" if is_accuracy else "loss", kind=kind)
    return named | verdict_of(curve, [i, 3], truth)


def confusion(many, curves: int, metric: str | None = None) -> None:
    kinds = [(False, k) for k in ("unbroken", "break", "drift")]
    kinds += [(True, k) for k in KINDS]
    kinds = [k for k in kinds if metric in (None, "accuracy" if k[0] else "loss")]
    each = pd.DataFrame(many(drawn, [(*k, i) for k in kinds for i in range(curves)]))
    if metric:
        kept = pd.read_csv(RESULTS / "emergence_confusion_each.csv").query("metric != @metric")
        each = pd.concat([kept, each], ignore_index=True)
    keep(each, "emergence_confusion_each")
    summarised(each)


def summarised(each: pd.DataFrame) -> None:
    counts = pd.crosstab([each["metric"], each["kind"]], each["verdict"])
    counts = counts.reindex(columns=list(VERDICTS), fill_value=0).reset_index()
    write(counts, "emergence_confusion", "Curves of each kind, and how often each verdict is given")
    holds = [f"holds {name}" for name in HELD_SHAPES]
    by = each.groupby("metric")[holds]  # every kind equally often
    table = by.mean().T.add_prefix("coverage, ").join(by.count().T.add_prefix("curves, "))
    table = table.rename_axis("90 % interval").reset_index()
    write(table, "emergence_intervals", "Share of 90 % intervals that hold the true shape")
    ratios(each, "emergence_slope_ratio")


def ratios(each: pd.DataFrame, name: str) -> None:
    of_kind = each.groupby(["metric", "kind"])
    table = of_kind.agg(
        curves=("verdict", "size"),
        shown=("shows slope_ratio", "sum"),
        held=("holds slope_ratio", "mean"),
    )
    write(table.reset_index(), name, "Where a slope ratio is shown, and right")


def slope_ratio(many, curves: int) -> None:
    jobs = [(False, k, SEEN + i) for k in ("break", "drift") for i in range(curves)]
    ratios(pd.DataFrame(many(drawn, jobs)), "emergence_slope_ratio_losses")


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
    jobs = [(c, tokens, i) for c in (0.0, 2.0) for tokens in (3, 5) for i in range(WORLDS)]
    each = pd.DataFrame(many(world, jobs))
    table = (
        each.groupby(["change", "tokens", "verdict"])
        .agg(curves=("verdict", "size"), departure=("P(departure)", "mean"))
        .reset_index()
    )
    write(table, "emergence_metric", "Exact match of several tokens, and the loss per token")


def wu() -> pd.DataFrame:
    """The table of Wu and Lo, without the models that they left out."""
    table = pd.read_csv(reference("emergence_tasks.csv")).rename(columns={"flops": "C"})
    return table[table["excluded_by_authors"].astype(str) != "True"].dropna(subset=["C"])


def from_below(job) -> list[dict]:
    """Scores of the forecasts of one task from below its onset, under every prior in `AHEAD`."""
    source, task, curve, onset = job
    keep_below = foresights.below(curve, onset)
    posterior = sample(foresights.part(curve, keep_below), [1, 3])
    s = curve.s[~keep_below] + curve.middle - posterior.curve.middle
    y, n = curve.y[~keep_below], curve.n[~keep_below]
    rows = []
    for ahead in AHEAD:
        scores = foresights.forecast(posterior, s, n, np.random.default_rng(1), ahead)
        low, high = np.quantile(scores, [0.05, 0.95], axis=0)
        rows.append(
            dict(
                source=source,
                task=task,
                complete=ahead.complete,
                models=len(y),
                held=((y >= low) & (y <= high)).mean(),
                # Scores are often exactly 1, which is a little above many upper bounds.
                within_a_point=((y >= low - 0.01) & (y <= high + 0.01)).mean(),
                width=(high - low).mean(),
                interval_score=interval_score(y, low, high, alpha=0.1).mean(),
            )
        )
    return rows


def foresight(many, curves: int) -> None:
    jobs = []
    for source, data in (("Ruan", bs.datasets.emergent_tasks()), ("Wu", wu())):
        found = bs.emergence(data, family="family", random_seed=1, executor=_InTurn(many))
        for task in found.posteriors:
            onset = found.onset(task)
            if not foresights.why_not(found.curves[task], onset):
                jobs.append((source, task, found.curves[task], onset))
    each = pd.DataFrame([row for rows in many(from_below, jobs) for row in rows])
    keep(each, "emergence_foresight_each")
    scores, held = (
        each.pivot_table(index="complete", columns="task", values=name)
        for name in ("interval_score", "held")
    )

    def chosen_by(tasks):
        """The prior with the lowest score, of those whose intervals hold."""
        enough = held[tasks].mean(axis=1) >= HELD
        return scores.loc[enough, tasks].mean(axis=1).idxmin()

    best = pd.Series({t: chosen_by([other for other in scores if other != t]) for t in scores})
    left_out = each[each["complete"] == each["task"].map(best)]
    rows = [*left_out.to_dict("records")]
    means = {"mean, chosen from the other tasks": left_out}
    means |= {f"mean, {share:g}": of for share, of in each.groupby("complete")}
    for name, of in means.items():
        rows.append({"task": name, "source": "all"} | of.mean(numeric_only=True).to_dict())
    write(
        pd.DataFrame(rows),
        "emergence_foresight",
        "Forecasts from below the onset; the probability of complete solutions is chosen from the "
        "other tasks",
    )


def published(many, curves: int) -> None:
    table = wu()
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
        verdicts = found.summary().drop(columns="sentence").reset_index()
        rows.append(verdicts.assign(set=name, seconds=seconds))
    every = pd.concat(rows, ignore_index=True)
    every.insert(1, "published", every["task"].map(classes))
    write(every, "emergence_published", "Published tasks; seconds are those of the whole set")


def public(many, curves: int) -> None:
    """Verdicts on published curves of losses."""
    tuned = pd.read_csv(reference("finetuning_rectified.csv")).query("examples > 0")
    tuned["task"] = tuned["model"] + ", " + tuned["dataset"]
    tables = {f"fine-tuning, {name}": part for name, part in tuned.groupby("dataset")}
    words = pd.read_csv(reference("language_learning_curves.csv"))
    tables["BIG-Bench"] = words.query("domain == 'BB'")
    added = pd.read_csv(reference("bnsl_addition.csv"))
    tables["addition"] = added.rename(columns={"unique_examples": "examples"})
    rows = []
    for name, data in tables.items():
        found = bs.emergence(
            data, "examples", "loss", "task", random_seed=1, executor=_InTurn(many)
        ).summary()
        rows.append(found.drop(columns="sentence").reset_index().assign(set=name))
        keep(pd.concat(rows, ignore_index=True), "emergence_public_each")
    each = pd.concat(rows, ignore_index=True)
    counts = pd.crosstab(each["set"], each["verdict"])
    counts = counts.reindex(columns=[v for v in VERDICTS if v in counts], fill_value=0)
    found = each.groupby("set").agg(
        curves=("verdict", "size"),
        departure=("P(departure)", "median"),
        abrupt=("P(abrupt)", "median"),
        slope_ratio=("slope_ratio", "median"),
    )
    table = found.join(counts).reset_index()
    write(table, "emergence_public", "Published curves of losses: medians, and verdicts")


class _InTurn:
    """An executor that computes when it is asked, with the ``map`` of a pool."""

    def __init__(self, many):
        self.many = many

    def submit(self, function, job):
        future = Future()
        future.set_result(next(iter(self.many(function, [job]))))
        return future


PARTS = dict(
    power=power,
    alarms=alarms,
    loss_laws=loss_laws,
    confusion=confusion,
    slope_ratio=slope_ratio,
    metric=metric,
    published=published,
    public=public,
    foresight=foresight,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--curves", type=int, default=4)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--metric", choices=["accuracy", "loss"])
    parser.add_argument("--points", type=int)
    parser.add_argument("--noise", type=float)
    options = parser.parse_args()
    with workers(options.workers) as pool:
        many = map if pool is None else pool.map
        for name in options.parts or PARTS:
            extra = {"first": options.first} if name in ("power", "alarms", "loss_laws") else {}
            extra |= {"metric": options.metric} if name in ("power", "alarms", "confusion") else {}
            if name in ("power", "alarms"):
                extra |= {"points": options.points, "noise": options.noise}
            PARTS[name](many, options.curves, **extra)


if __name__ == "__main__":
    main()

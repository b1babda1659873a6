"""Forecasts of published learning curves from their first part.

    python benchmarks/curves.py [--every 12] [--workers 2] [--sizes | --spreads | --scatter |
                                --times]

92 curves of Alabdulmohsin et al. 2022, arXiv:2209.06640, with the authors' own split: 72 of image
classification (IC), 5 of translation (NMT), 5 of language models (LM), 10 of BIG-Bench (BB). The
size of the drift is chosen for each data set by the interval scores of forecasts of the *other*
image data sets, and the weights of the average over laws by their log scores. The table of sizes
also has the estimate of a hierarchical fit to the whole curves of the other data sets. Run times
include fit, forecast and scores.

``--sizes``: larger sizes instead, on every fourth curve, and a hierarchical model of the scores of
their forecasts (not of whole curves). ``--spreads``: narrower priors of the size, on all curves.
``--scatter``: the scatter of the later points of a curve relative to the fitted points, and scores
of forecasts for means of later points, which scatter as little as the fitted points. ``--times``:
processor time of the default procedure, in one process.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import pandas as pd
from common import keep, part, reference, stacked, workers, write

import bayescale as bs
from bayescale.evaluation.scores import score
from bayescale.model.design import FEWEST_STEPS, FEWEST_TIES
from bayescale.model.drift import THROUGH

CHOOSES = "delayed_power(D)"  # the law for which the size of drift is chosen
VAGUE = bs.Positive(0.3, spread=4.0)
#: Parameters of the law whose priors are estimated from whole curves, and the vague priors there.
LEARNT = {"alpha": bs.Positive(0.35, spread=2.0), "k": bs.Positive(0.7, spread=2.0)}
WHOLE = 80  # largest number of points of a whole curve in the fit of its drift size
SIZES = (0.2, 0.4, 0.6)
LARGER = (0.2, 0.4, 0.6, 0.8, 1.0)
SPREADS = (1.2, THROUGH.spread)
#: Range beyond the split in e-folds, and number of points, of an extrapolated line.
NEAR, LAST = 0.3, 8
#: Sizes that are given, and the spread of a prior that gives one.
BY_THEMSELVES, ITSELF = (0.05, 0.1, 0.2, 0.4, 0.6, 1.0), 1.000001
LAWS = (CHOOSES, "power(D)", "broken_power(D)")
IMAGES = ("birds", "caltech101", "cifar100", "imagenet")
INSIDE = ["inside50", "inside80", "inside90", "inside95"]
FIGURES = [
    "coverage50",
    "coverage80",
    "coverage90",
    "coverage95",
    "msce",
    "log_score",
    "log_score_se",
    "rmsle",
    "rmsle_se",
    "interval_score",
    "crps",
    "width90",
]

# As published; the papers may choose the points to fit in another way.
PUBLISHED = [
    {
        "domain": "IC",
        "method": method,
        "log_score": density,
        "rmsle": error,
        "seconds a curve": seconds,
        "source": "published",
    }
    for method, density, error, seconds in (
        ("M4 by MCMC", 3.02, 0.0422, 155),
        ("BNSL by MCMC", 2.92, 0.0645, 281),
        ("NSL-PFN", 3.33, 0.0280, 0.02),
    )
]


def curves(every: int = 1) -> bs.Runs:
    """Every n-th curve; each is one series of a table of runs."""
    images = pd.read_csv(reference("vision_learning_curves.csv"))
    images["curve"] = (
        images["dataset"] + ", " + images["shots"].astype(str) + " shots, " + images["architecture"]
    )
    texts = pd.read_csv(reference("language_learning_curves.csv"))
    texts["curve"] = texts["domain"] + ", " + texts["task"] + ", " + texts["architecture"]
    texts["dataset"] = texts["domain"]
    both = pd.concat([images, texts], ignore_index=True)
    kept = both["curve"].isin(both["curve"].unique()[::every])
    both = both.loc[kept, ["domain", "dataset", "curve", "examples", "loss", "is_train"]]
    return bs.Runs.from_frame(
        both.assign(series=both["curve"]),
        D="examples*1",
        loss="loss",
        series="series",
        source="learning curves",
    )


def rolled(runs: bs.Runs, laws, size: bs.Positive, executor, args, baselines=True) -> bs.Rollout:
    """A rollout under drift of one size; its points have a column ``dataset``."""
    out = bs.rollout(
        runs,
        laws,
        split="is_train",
        each="curve",
        draws=args.draws,
        tune=args.tune,
        priors={"drift": size},
        target_accept=args.target_accept,
        executor=executor,
        baselines=baselines,
        random_seed=args.seed,
    )
    of = runs.table.drop_duplicates("curve").set_index("curve")
    curve = out.points["curve"]
    return replace(
        out,
        points=out.points.assign(
            domain=curve.map(of["domain"]), dataset=curve.map(of["dataset"]), size=size.median
        ),
    )


def posteriors(runs: bs.Runs, args) -> dict[str, pd.DataFrame]:
    """Log draws along whole curves of the size of drift, under a vague prior, and of `LEARNT`; a
    row per curve."""
    rows = {}
    for curve, table in runs.table.groupby("curve", sort=False):
        # Points are evenly spaced in log scale, because noise of neighbours is strongly correlated.
        order = np.log(table["D"].sort_values())
        bins = (WHOLE * (order - order.min()) / (np.ptp(order) or 1)).astype(int)
        kept = order.index[~bins.duplicated()]
        whole = runs[runs.table.index.isin(kept)]
        fit = bs.fit(
            whole,
            CHOOSES,
            priors={"drift": VAGUE, **LEARNT},
            draws=args.draws,
            tune=args.tune,
            target_accept=args.target_accept,
            random_seed=args.seed,
            progressbar=False,
        )
        for name in ("drift", *LEARNT):
            draws = np.log(fit.posterior[name].to_numpy().ravel())
            rows.setdefault(name, {})[table["dataset"].iloc[0], curve] = draws
    return {k: pd.DataFrame(v).T.rename_axis(["dataset", "curve"]) for k, v in rows.items()}


def population(draws: pd.DataFrame, prior: bs.Positive) -> bs.Positive:
    """The predictive size of drift, or parameter of the law, in a new curve, from a hierarchical
    model of the curves.

    Logs are normal with unknown mean and spread, both on a grid; draws under a prior are reweighted
    (Hogg, Myers & Bovy 2010, arXiv:1008.4146).
    """
    from scipy.special import logsumexp
    from scipy.stats import norm

    means, spreads = np.linspace(np.log(0.02), np.log(4.0), 60), np.linspace(0.1, 2.0, 40)
    under = norm.logpdf(draws.to_numpy(), prior.centre, prior.width)
    evidence = np.array(
        [
            [logsumexp(norm.logpdf(draws.to_numpy(), m, t) - under, axis=1).sum() for t in spreads]
            for m in means
        ]
    )
    weight = np.exp(evidence - logsumexp(evidence))
    mean = (weight.sum(1) * means).sum()
    variance = (weight * ((means[:, None] - mean) ** 2 + spreads**2)).sum()
    return bs.Positive(float(np.exp(mean)), spread=float(np.exp(np.sqrt(variance))))


def drift_sizes(runs: bs.Runs, executor, args) -> tuple[pd.DataFrame, dict[str, bs.Positive]]:
    """For each data set, the best of `SIZES` for forecasts of the other image data sets.

    The table also has the size and the parameters `LEARNT` of the law from whole curves of the
    other data sets, and from all.
    """
    draws = posteriors(runs, args)
    of = draws["drift"].index.get_level_values("dataset")
    scored = [
        rolled(
            runs,
            (CHOOSES,),
            bs.Positive(size, spread=THROUGH.spread),
            executor,
            args,
            baselines=False,
        ).points
        for size in SIZES
    ]
    by = pd.concat(scored).groupby(["size", "dataset", "curve"])["interval_score"].mean()
    by = by.groupby(["size", "dataset"]).mean().unstack()
    images = [d for d in IMAGES if d in by]
    rows, chosen = [], {}
    for name in [*of.unique(), "all"]:
        others = by[[d for d in images if d != name]].mean(axis=1)
        best = float(others.idxmin()) if len(images) > 1 else THROUGH.median
        whole, *learnt = (
            population(draws[p][of != name], prior)
            for p, prior in {"drift": VAGUE, **LEARNT}.items()
        )
        rows.append(
            {
                "dataset": name,
                "curves": int((of == name).sum()) or len(of),
                "chosen by forecasts": best,
                **{f"interval score at {s:g}": by.get(name, others)[s] for s in SIZES},
                "from whole curves": whole.median,
                "spread": whole.spread,
                **{p: v.median for p, v in zip(LEARNT, learnt, strict=True)},
                **{f"spread of {p}": v.spread for p, v in zip(LEARNT, learnt, strict=True)},
            }
        )
        chosen[name] = bs.Positive(best, spread=THROUGH.spread)
    chosen.pop("all")
    return pd.DataFrame(rows), chosen


def larger_sizes(runs: bs.Runs, executor, args) -> pd.DataFrame:
    """Scores of forecasts of the images under given sizes, and under priors of larger sizes."""
    images = runs[runs.table["dataset"].isin(IMAGES)]

    def scored(size, label):
        out = rolled(images, (CHOOSES,), size, executor, args, baselines=False)
        return out.points.assign(drift=label)

    points = pd.concat(
        [
            *(scored(bs.Positive(s, spread=ITSELF), f"{s:g}, given") for s in BY_THEMSELVES),
            *(scored(bs.Positive(s, spread=THROUGH.spread), f"{s:g}") for s in LARGER),
        ]
    )
    curve = points.groupby(["drift", "dataset", "curve"], sort=False)[
        [*INSIDE, "log_score", "interval_score"]
    ].mean()
    by = curve.groupby(["drift", "dataset"], sort=False).mean()
    every = curve.groupby("drift", sort=False).mean().assign(dataset="all")
    return pd.concat([by, every.set_index("dataset", append=True)]).reset_index()


def spreads(runs: bs.Runs, executor, args) -> pd.DataFrame:
    """Scores of forecasts by size and spread of the prior, per data set and for all images.

    Every curve has the same weight.
    """
    points = pd.concat(
        [
            rolled(
                runs,
                (CHOOSES,),
                bs.Positive(size, spread=spread),
                executor,
                args,
                baselines=False,
            ).points.assign(spread=spread)
            for size in (*SIZES, 0.8)
            for spread in SPREADS
        ]
    )
    by = ["size", "spread"]
    curve = points.groupby([*by, "dataset", "curve"], sort=False)[
        [*INSIDE, "log_score", "interval_score", "converged"]
    ].mean()
    images = curve[curve.index.isin(IMAGES, level="dataset")].groupby(by, sort=False).mean()
    every = images.assign(dataset="images").set_index("dataset", append=True)
    each = curve.groupby([*by, "dataset"], sort=False).mean()
    return pd.concat([each, every]).reset_index()


# -- scatter of points --------------------------------------------------------------------------


def scatter(log_loss: np.ndarray) -> float:
    """Robust standard deviation of points around a line through their neighbours."""
    second = log_loss[2:] - 2 * log_loss[1:-1] + log_loss[:-2]
    return float(1.4826 * np.median(np.abs(second)) / np.sqrt(6)) if len(second) else np.nan


def fitted(table: pd.DataFrame) -> pd.Series:
    return table["is_train"].astype(str).str.lower() == "true"


def scatters(runs: bs.Runs) -> pd.DataFrame:
    """Scatter and increases of curves before and after the split; a row per data set.

    ``first later above`` is the mean log loss of the first later points minus the extrapolated line
    through the last fitted points.
    """
    rows = []
    for (dataset, _), table in runs.table.sort_values("D").groupby(["dataset", "curve"]):
        before, after = (
            np.log(table["loss"][part].to_numpy()) for part in (fitted(table), ~fitted(table))
        )
        at = np.log(table["D"].to_numpy() / table["D"][fitted(table)].max())
        at, beyond = at[: len(before)], at[len(before) :]
        above = after - np.polyval(np.polyfit(at[-LAST:], before[-LAST:], 1), beyond)
        rows.append(
            {
                "dataset": dataset,
                "never rises": bool((np.diff(before) <= 0).all()),
                "repeated": (ties := int((np.diff(before) == 0).sum())),
                "hides scatter": bool((np.diff(before) <= 0).all())
                and ties >= FEWEST_TIES
                and len(before) > FEWEST_STEPS,
                "steps up later": (np.diff(after) > 0).mean() if len(after) > 1 else np.nan,
                "scatter": scatter(before[len(before) // 2 :]),
                "scatter later": scatter(after),
                "first later above": pd.Series(above[beyond < NEAR]).mean(),
            }
        )
    each = pd.DataFrame(rows)
    out = each.groupby("dataset", sort=False).agg(
        {
            "never rises": "mean",
            "repeated": "median",
            "hides scatter": "sum",
            "steps up later": "mean",
            "scatter": "median",
            "scatter later": "median",
            "first later above": "median",
        }
    )
    out.insert(0, "curves", each.groupby("dataset").size())
    return out.reset_index()


def against_means(out: bs.Rollout, runs: bs.Runs) -> pd.DataFrame:
    """Coverage of the mean log loss of later points in short stretches; a row per curve.

    A stretch is as long as the last steps between fitted points. Its mean is compared with the
    forecast at its middle point.
    """
    rows = []
    for (_, problem), draws in out.draws.items():
        points = out.points[out.points["problem"] == problem]
        table = runs.table[runs.table["curve"] == points["curve"].iloc[0]]
        steps = np.diff(np.log(table["D"][fitted(table)].sort_values()))
        x, y = np.log(table["D"][points["run"]].to_numpy()), np.log(points["loss"].to_numpy())
        stretch = ((x - x.min()) / np.median(steps[-10:])).astype(int)
        stretches = [np.flatnonzero(stretch == i) for i in np.unique(stretch)]
        middle = [part[np.argsort(x[part])[len(part) // 2]] for part in stretches]
        means = np.exp([y[part].mean() for part in stretches])
        scores = score(means, draws[:, middle].astype(float), np.zeros(len(means)))
        rows.append(
            {"dataset": points["dataset"].iloc[0], **scores[[*INSIDE, "interval_score"]].mean()}
        )
    return pd.DataFrame(rows)


def held_by_scatter(runs: bs.Runs, executor, args) -> pd.DataFrame:
    """Scores under every size, for single later points and for means of later points."""
    images = runs[runs.table["dataset"].isin(IMAGES)]
    rows = []
    for size in SIZES:
        out = rolled(
            images,
            (CHOOSES,),
            bs.Positive(size, spread=THROUGH.spread),
            executor,
            args,
            baselines=False,
        )
        single = (
            out.points.groupby(["dataset", "curve"], sort=False)[[*INSIDE, "interval_score"]]
            .mean()
            .reset_index(0)
        )
        for what, each in (("points", single), ("means", against_means(out, images))):
            by = each.groupby("dataset", sort=False).mean()
            by.loc["all"] = each.drop(columns="dataset").mean()
            rows.append(by.reset_index().assign(size=size, against=what))
    return pd.concat(rows, ignore_index=True)


def times(runs: bs.Runs, args) -> pd.DataFrame:
    """Processor seconds of fit, forecast and scores under the default prior, a row per curve."""
    rows = []
    for curve, table in runs.table.groupby("curve", sort=False):
        started = time.process_time()
        own = runs[runs.table["curve"] == curve]
        points = rolled(own, (CHOOSES,), THROUGH, None, args, baselines=False).points
        rows.append(
            {
                "dataset": table["dataset"].iloc[0],
                "curve": curve,
                "fitted points": int(fitted(table).sum()),
                "seconds": time.process_time() - started,
                "passed": bool(points["converged"].all()),
            }
        )
    return pd.DataFrame(rows)


# -- all results -------------------------------------------------------------------------------


def seconds_a_curve(points: pd.DataFrame) -> float:
    return float(points.groupby(["law", "curve"])["seconds"].first().groupby("curve").sum().mean())


def everything(runs: bs.Runs, sizes: dict[str, bs.Positive], executor, args) -> bs.Rollout:
    """All laws and the baselines; the size for each data set comes from the other data sets."""
    parts = [
        rolled(runs[runs.table["dataset"] == name], args.laws, size, executor, args)
        for name, size in sizes.items()
    ]
    return replace(
        parts[0],
        points=pd.concat([p.points for p in parts], ignore_index=True),
        draws={k: d for p in parts for k, d in p.draws.items()},
        notes=tuple(n for p in parts for n in p.notes),
    )


def averaged(out: bs.Rollout) -> tuple[bs.Rollout, pd.DataFrame]:
    """The average over laws, with weights from the other image data sets."""
    laws, points, rows, parts = out.laws, out.points, [], []
    for name in points["dataset"].unique():
        others = points["dataset"].isin(IMAGES) & (points["dataset"] != name)
        weights = stacked(points[others], laws)
        rows.append({"dataset": name, **weights})
        mine = part(out, points["dataset"] == name)
        labels = mine.points.drop_duplicates("problem").set_index("problem")
        mixed = mine.mixed(weights).points
        for label in ("domain", "dataset", "size"):  # columns that the average does not have
            mixed[label] = mixed["problem"].map(labels[label])
        parts.append(mixed)
    return replace(out, points=pd.concat(parts, ignore_index=True)), pd.DataFrame(rows)


def by_domain(out: bs.Rollout) -> pd.DataFrame:
    """A row per domain and method, with the curve of lowest coverage of 90 % intervals."""
    table = out.summary(["domain", "law"]).rename(columns={"law": "method"})
    facts = []
    for (domain, law), points in out.points.groupby(["domain", "law"], sort=False):
        cover = points.groupby("curve", sort=False)["inside90"].mean()
        worst = points.groupby("curve", sort=False)["log_score"].mean()
        facts.append(
            {
                "domain": domain,
                "method": law,
                "drift": " ".join(f"{s:g}" for s in sorted(points["size"].unique())),
                "seconds a curve": seconds_a_curve(points),
                "seconds in all": seconds_a_curve(points) * len(cover),
                "unconverged": int((~points.groupby("curve")["converged"].all()).sum()),
                "curves below 50 % at 90": int((cover < 0.5).sum()),
                "worst log score": worst.min(),
                "worst curve": worst.idxmin(),
                "source": "this run",
            }
        )
    table = table.merge(pd.DataFrame(facts), on=["domain", "method"])
    columns = ["domain", "method", "n_series", *FIGURES, *facts[0]]
    return pd.concat([table[list(dict.fromkeys(columns))], pd.DataFrame(PUBLISHED)])


def by_curve(out: bs.Rollout) -> pd.DataFrame:
    table = out.summary(["domain", "dataset", "curve", "law"])
    facts = out.points.drop_duplicates(["curve", "law"])
    facts = facts[["curve", "law", "size", "converged", "seconds"]]
    table = table.merge(facts, on=["curve", "law"])
    shown = [c for c in FIGURES if not c.endswith("_se")]
    return table[["domain", "dataset", "curve", "law", "size", "n", *shown, "converged", "seconds"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="use every n-th curve")
    parser.add_argument(
        "--sizes",
        action="store_true",
        help="only evaluate larger sizes of drift, on every fourth curve",
    )
    parser.add_argument(
        "--spreads",
        action="store_true",
        help="only evaluate narrower priors of the size of drift",
    )
    parser.add_argument(
        "--scatter", action="store_true", help="only evaluate the scatter of later points"
    )
    parser.add_argument("--times", action="store_true", help="only measure processor time")
    parser.add_argument(
        "--learn-every", type=int, default=1, help="use every n-th curve to choose sizes"
    )
    parser.add_argument("--laws", nargs="+", default=list(LAWS))
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--tune", type=int, default=300)
    parser.add_argument(
        "--target-accept",
        type=float,
        default=None,
        help="target acceptance of a single attempt of NUTS; by default the engine of bs.fit",
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    runs = curves(args.every)
    if args.sizes:
        with workers(args.workers) as executor:
            scores = larger_sizes(curves(4), executor, args)
        write(scores, "drift_size_curves_larger", f"Larger sizes of the drift, {CHOOSES}")
        return
    if args.spreads:
        with workers(args.workers) as executor:
            write(
                spreads(runs, executor, args),
                "drift_size_curves_spreads",
                f"Sizes and spreads of the drift's prior, {CHOOSES}",
            )
        return
    if args.scatter:
        write(scatters(runs), "curves_scatter", "Scatter of points before and after the split")
        with workers(args.workers) as executor:
            held = held_by_scatter(runs, executor, args)
        write(held, "curves_means", "Forecasts of single later points and of means of later points")
        return
    if args.times:
        each = times(runs, args)
        write(each, "curves_times", "Processor time of a fit and forecast")
        print(f"in all {each['seconds'].sum():.1f} s, {each['passed'].sum()} of {len(each)} passed")
        return
    with workers(args.workers) as executor:
        scores, sizes = drift_sizes(curves(args.learn_every), executor, args)
        write(scores, "drift_size_curves", f"Sizes of the drift, {CHOOSES}, by data set")
        out = everything(runs, sizes, executor, args)
    if len(out.laws) > 1:
        out, weights = averaged(out)
        write(weights, "curves_weights", "Weights from the other image data sets")
    keep(by_curve(out), "curves_each")
    write(by_domain(out), "curves", "Learning curves, forecast from their first part")
    for note in out.notes:
        print(f"note: {note}")


if __name__ == "__main__":
    main()

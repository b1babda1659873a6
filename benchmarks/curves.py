"""Learning curves of others, each forecast from its first part (B1 of the benchmarks).

    python benchmarks/curves.py [--every 12] [--workers 2]

92 curves of Alabdulmohsin et al. 2022, arXiv:2209.06640, with the authors' own split: 72 of image
classification (IC), 5 of translation (NMT), 5 of language models (LM), 10 of BIG-Bench (BB). The
size of the drift is chosen for each data set by the log scores of the *other* image data sets, and
so are the weights of the average over laws. Seconds are those of fit, forecast and scores.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import pandas as pd
from common import keep, part, reference, stacked, workers, write

import bayescale as bs
from bayescale.drift import THROUGH

SIZES = (0.2, 0.4)
CHOOSES = "delayed_power(D)"  # the law whose log scores choose the size
LAWS = (CHOOSES,)
IMAGES = ("birds", "caltech101", "cifar100", "imagenet")
FIGURES = ["coverage50", "coverage80", "coverage90", "coverage95", "msce", "log_score",
           "log_score_se", "rmsle", "rmsle_se", "interval_score", "crps", "width90"]

# From the protocols of their papers, which may choose the points to fit otherwise.
PUBLISHED = [
    {"domain": "IC", "method": method, "log_score": density, "rmsle": error,
     "seconds a curve": seconds, "source": "published"}
    for method, density, error, seconds in (("M4 by MCMC", 3.02, 0.0422, 155),
                                            ("BNSL by MCMC", 2.92, 0.0645, 281),
                                            ("NSL-PFN", 3.33, 0.0280, 0.02))
]


def curves(every: int = 1) -> bs.Runs:
    """Every so many curves, as series of one table of runs."""
    images = pd.read_csv(reference("vision_learning_curves.csv"))
    images["curve"] = (images["dataset"] + ", " + images["shots"].astype(str) + " shots, "
                       + images["architecture"])
    texts = pd.read_csv(reference("language_learning_curves.csv"))
    texts["curve"] = texts["domain"] + ", " + texts["task"] + ", " + texts["architecture"]
    texts["dataset"] = texts["domain"]
    both = pd.concat([images, texts], ignore_index=True)
    kept = both["curve"].isin(both["curve"].unique()[::every])
    both = both.loc[kept, ["domain", "dataset", "curve", "examples", "loss", "is_train"]]
    return bs.Runs.from_frame(both.assign(series=both["curve"]), D="examples", loss="loss",
                              series="series", allow_small=True, source="learning curves")


def rolled(runs: bs.Runs, laws, size: float, executor, asked, baselines: bool) -> bs.Rollout:
    """A rollout with drift of one size; points know their data set."""
    out = bs.rollout(
        runs, laws, split="is_train", each="curve", draws=asked.draws, tune=asked.tune,
        priors={"drift": bs.Positive(size, spread=THROUGH.spread)}, baselines=baselines,
        target_accept=asked.target_accept, executor=executor, random_seed=asked.seed)
    of = runs.table.drop_duplicates("curve").set_index("curve")
    curve = out.points["curve"]
    return replace(out, points=out.points.assign(
        domain=curve.map(of["domain"]), dataset=curve.map(of["dataset"]), size=size))


def drift_sizes(runs: bs.Runs, executor, asked) -> tuple[pd.DataFrame, dict[str, float], float]:
    """Scores of every size by data set, the size to use for each, and the best over all images."""
    rows = []
    for size in SIZES:
        started = time.perf_counter()
        out = rolled(runs, CHOOSES, size, executor, asked, baselines=False)
        elapsed = time.perf_counter() - started
        seconds = out.points.groupby("dataset").apply(seconds_a_curve, include_groups=False)
        rows.append(out.summary(["domain", "dataset"]).assign(size=size, seconds_all=elapsed).merge(
            seconds.rename("seconds a curve").reset_index(), on="dataset"))
    scores = pd.concat(rows, ignore_index=True)
    by = scores.pivot(index="size", columns="dataset", values="log_score")
    images = [d for d in IMAGES if d in by]
    chosen = {}
    for name in by:
        others = [d for d in images if d != name]
        chosen[name] = float(by[others].mean(axis=1).idxmax()) if others else THROUGH.median
    scores["chosen"] = scores["dataset"].map(chosen) == scores["size"]
    best = float(by[images].mean(axis=1).idxmax()) if images else THROUGH.median
    columns = ["size", "domain", "dataset", "n_series", *FIGURES, "seconds a curve", "seconds_all"]
    return scores[[*columns, "chosen"]], chosen, best


def seconds_a_curve(points: pd.DataFrame) -> float:
    return float(points.groupby(["law", "curve"])["seconds"].first().groupby("curve").sum().mean())


def everything(runs: bs.Runs, chosen: dict[str, float], executor, asked) -> bs.Rollout:
    """All laws and the baselines, every data set at the size that was chosen for it."""
    size = runs.table["dataset"].map(lambda d: chosen.get(d, THROUGH.median))
    parts = [rolled(runs[size == s], asked.laws, s, executor, asked, baselines=True)
             for s in sorted(size.unique())]
    return replace(parts[0], points=pd.concat([p.points for p in parts], ignore_index=True),
                   draws={k: d for p in parts for k, d in p.draws.items()},
                   notes=tuple(n for p in parts for n in p.notes))


def averaged(out: bs.Rollout) -> tuple[bs.Rollout, pd.DataFrame]:
    """The average over laws, by the weights that the other image data sets give."""
    laws, points, rows, parts = out.laws, out.points, [], []
    for name in points["dataset"].unique():
        others = points["dataset"].isin(IMAGES) & (points["dataset"] != name)
        weights = stacked(points[others], laws)
        rows.append({"dataset": name, **weights})
        mine = part(out, points["dataset"] == name)
        labels = mine.points.drop_duplicates("problem").set_index("problem")
        mixed = mine.mixed(weights).points
        for label in ("domain", "dataset", "size"):  # which an average does not carry on
            mixed[label] = mixed["problem"].map(labels[label])
        parts.append(mixed)
    return replace(out, points=pd.concat(parts, ignore_index=True)), pd.DataFrame(rows)


def by_domain(out: bs.Rollout) -> pd.DataFrame:
    """A row per domain and method, with the curve whose 90 % intervals held least."""
    table = out.summary(["domain", "law"]).rename(columns={"law": "method"})
    facts = []
    for (domain, law), points in out.points.groupby(["domain", "law"], sort=False):
        cover = points.groupby("curve", sort=False)["inside90"].mean()
        worst = points.groupby("curve", sort=False)["log_score"].mean()
        facts.append({
            "domain": domain, "method": law,
            "drift": " ".join(f"{s:g}" for s in sorted(points["size"].unique())),
            "seconds a curve": seconds_a_curve(points),
            "seconds in all": seconds_a_curve(points) * len(cover),
            "unconverged": int((~points.groupby("curve")["converged"].all()).sum()),
            "curves below 50 % at 90": int((cover < 0.5).sum()),
            "worst log score": worst.min(), "worst curve": worst.idxmin(), "source": "this run"})
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
    parser.add_argument("--every", type=int, default=1, help="take every so many curves")
    parser.add_argument("--learn-every", type=int, default=3, help="likewise to learn sizes")
    parser.add_argument("--laws", nargs="+", default=list(LAWS))
    parser.add_argument("--draws", type=int, default=250)
    parser.add_argument("--tune", type=int, default=300)
    parser.add_argument("--target-accept", type=float, default=0.9,
                        help="without sampling again where chains disagree; 0: as bs.fit does")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    asked.target_accept = asked.target_accept or None
    runs = curves(asked.every)
    with workers(asked.workers) as executor:
        scores, chosen, best = drift_sizes(curves(asked.learn_every), executor, asked)
        write(scores, "drift_size_curves", f"Sizes of the drift, {CHOOSES}, by data set")
        print(f"\nsizes by the other image data sets: {chosen}\nbest over all of them: {best:g}")
        out = everything(runs, chosen, executor, asked)
    if len(out.laws) > 1:
        out, weights = averaged(out)
        write(weights, "curves_weights", "Weights from the other image data sets")
    keep(by_curve(out), "curves_each")
    write(by_domain(out), "curves", "Learning curves, forecast from their first part")
    for note in out.notes:
        print(f"note: {note}")


if __name__ == "__main__":
    main()

"""The default family of laws: how its weights and its drift are chosen, and whether intervals hold.

Each law is fitted to the lower part of every table and forecasts the rest. Laws are weighed by a
power of their evidence. Powers and sizes of drift whose mean interval score is at most `CLOSE`
times the lowest are not distinguished by these tables, and the choice is the middle of them. It is
made once on all tables, for the defaults of the package, once for each table on all others, and
once for each study on the tables of all others. The baselines are log-Huber fits with a bootstrap
of residuals.

The laws of the family have an error in small runs (`bayescale.model.small_runs`). Their scores do
not distinguish powers from .1 to 1. The power is therefore chosen on fits of laws without such an
error, and then the drift on those with it. Laws alone are shown with and without the error.

With ``--shapes`` further laws are fitted, and families with and without them are compared: power
and drift of every family, and in the last row also its members, are chosen on the other studies.

    python benchmarks/family.py [--shapes]
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from common import interval_score, reference, write

import bayescale as bs
from bayescale.evaluation import splits
from bayescale.evaluation.ensembles import POWER as DEFAULT_POWER
from bayescale.evaluation.jobs import Job, by_huber
from bayescale.model.drift import ahead

LAWS = ("chinchilla", "kaplan_floor", "skaling", "bounded_chinchilla")
#: Laws that were tried as further members.
SHAPES = ("shifted_chinchilla", "farseer")
POWERS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
SIZES = (0.01, 0.015, 0.02, 0.03, 0.045, 0.06, 0.1)
#: Powers and sizes for the comparison of families.
COARSE = ((DEFAULT_POWER,), SIZES)
LEVELS = (0.5, 0.8, 0.9, 0.95)
DRAWS = dict(draws=1000, chains=2)
#: Runs of xLSTM with a higher loss diverged; kinds of model with fewer runs are left out.
LARGEST_LOSS, FEWEST = 4.5, 25
#: Laws of the baseline.
HUBER = ("chinchilla", "kaplan_floor")
#: Settings with a mean interval score of at most this factor times the lowest count as equal.
CLOSE = 1.05
#: Multiples of the largest fitted compute that separate distances.
DISTANCES = (0.0, 1.0, 3.0, 10.0, np.inf)
#: What was recommended before the family: equal weights of two laws with little drift, without the
#: discrepancy.
BEFORE = (
    "chinchilla and kaplan_floor, drift .03, no discrepancy",
    ("chinchilla", "kaplan_floor"),
    0.0,
    "before",
)


def problems() -> list[splits.Problem]:
    """Runs to fit and runs to predict."""
    out = []
    runs = bs.Runs.read(reference("chinchilla.csv"))
    runs = runs[runs.table["epoch_excluded"].astype(str) != "True"]
    for threshold in (1e20, 1e21):
        name = f"chinchilla {threshold:.0e}".replace("+", "")
        out.append(_problem(name, runs, runs.table["C"] < threshold))
    runs = bs.Runs.example("openlm")
    for corpus in runs.table["dataset"].unique():
        of_corpus = runs[runs.table["dataset"] == corpus]
        out.append(_problem(f"openlm {corpus}", of_corpus, of_corpus.table["N"] < 4.13e8))
    runs = bs.Runs.read(reference("misfitting_best_lr.csv"))
    out.append(_problem("misfitting", runs, runs.table["C"] < runs.table["C"].median()))
    frame = pd.read_csv(reference("xlstm_isoflop.csv"))
    kinds = frame[frame["loss"] < LARGEST_LOSS].groupby(["architecture", "context"])
    for (architecture, context), group in kinds:
        if len(group) > FEWEST:
            runs = bs.Runs.from_frame(group)
            lower = runs.table["C"] <= runs.table["C"].quantile(0.66)
            out.append(_problem(f"xlstm {architecture} {context}", runs, lower))
    frame = pd.read_csv(reference("datablations_c4.csv"))
    runs = bs.Runs.from_frame(frame[frame["in_paper_fit"]])
    out.append(_problem("datablations", runs, runs.table["N"] < 1e9))
    frame = pd.read_csv(reference("farseer.csv"))
    runs = bs.Runs.from_frame(frame[frame["split"] == "train"].reset_index(drop=True))
    train, compute = runs.table, runs.table["C"]
    every = np.arange(len(train)) % 2 == 0
    out.append(_problem("farseer 35 %", runs, compute <= compute.quantile(0.35)))
    out.append(_problem("farseer 1e9", runs, train["N"] < 1e9))
    both = pd.concat([frame[frame["split"] == "train"][every], frame[frame["split"] == "test"]])
    seen = (both["split"] == "train").to_numpy()
    out.append(_problem("farseer test", bs.Runs.from_frame(both.reset_index(drop=True)), seen))
    return out


def _problem(name: str, runs: bs.Runs, fitted) -> splits.Problem:
    runs = replace(runs, table=runs.table.assign(fitted=np.asarray(fitted)))
    wrong: list[str] = []
    [problem] = splits.problems(
        runs, splits.cuts(runs, None, "C", "fitted", wrong), "C", None, (), wrong
    )
    return replace(problem, name=name, places=problem.places.assign(problem=name))


def draws_of(problem: splits.Problem, law: str, law_error: bool = True) -> tuple[dict, float, bool]:
    """Draws of log loss of the runs to predict, by size of drift, and without the discrepancy; the
    log evidence; the check."""
    fit = bs.fit(problem.seen, law, law_error=law_error, **DRAWS, random_seed=1)
    points = problem.points(fit.law, ())
    out = {}
    for name, size, observed in [*((s, s, True) for s in SIZES), ("before", 0.03, False)]:
        prior = bs.Positive(size, spread=ahead(False, law_error).spread)
        # Without observed losses no discrepancy is inferred.
        sized = replace(fit, plan=replace(fit.plan, ahead=prior, is_observed=observed))
        forecast = bs.forecast(sized, points, random_seed=2)
        loss = np.log(forecast.data["loss"].to_numpy())
        out[name] = loss.reshape(-1, loss.shape[-1])
    return out, fit.evidence.log, fit.convergence.passed


def mixture(draws: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Draws of a mixture, in proportion to the weights."""
    counts = np.round(weights * 4000).astype(int)
    parts = [
        d[np.linspace(0, len(d) - 1, n).astype(int)]
        for d, n in zip(draws, counts, strict=True)
        if n
    ]
    return np.concatenate(parts)


def scores(drawn: np.ndarray, truth: np.ndarray, away: np.ndarray) -> pd.DataFrame:
    """One row per run: whether each interval holds, interval score, width, CRPS."""
    ordered = np.sort(drawn, axis=0)  # once, for quantiles and CRPS
    out = {"distance": away, "CRPS": _crps(truth, ordered)}
    for prob in LEVELS:
        low, high = (_quantile(ordered, q) for q in ((1 - prob) / 2, (1 + prob) / 2))
        out[f"{prob:.2f}"] = (low <= truth) & (truth <= high)
        if prob == 0.9:
            out["score"], out["width"] = interval_score(truth, low, high, 0.1), high - low
    return pd.DataFrame(out)


def _quantile(ordered: np.ndarray, q: float) -> np.ndarray:
    """Quantiles of sorted draws, (draw, run), as by `numpy.quantile`."""
    at = q * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])


def _crps(truth: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """The continuous ranked probability score of sorted draws, (draw, run)."""
    n = len(ordered)
    rank = (2 * np.arange(1, n + 1) - n - 1) / n**2
    return np.abs(ordered - truth).mean(axis=0) - rank @ ordered


def summary(by_table: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Means over tables, and the worst table."""
    means = pd.DataFrame({t: f.mean() for t, f in by_table.items()}).T
    pooled = pd.concat(by_table.values())
    levels = [f"{p:.2f}" for p in LEVELS]
    return {
        **{f"mean {c}": means[c].mean() for c in levels},
        **{f"pooled {c}": pooled[c].mean() for c in levels},
        "score": means["score"].mean(),
        "score, Farseer": means[means.index.str.startswith("farseer")]["score"].mean(),
        "score, others": means[~means.index.str.startswith("farseer")]["score"].mean(),
        "CRPS": means["CRPS"].mean(),
        "width": means["width"].mean(),
        "worst 0.95": means["0.95"].min(),
        "worst table": means["0.95"].idxmin(),
    }


def choose(each: dict[str, dict[str, pd.DataFrame]], power: float | None = None) -> str:
    """The method in the middle of those with nearly the lowest interval score.

    It has the median power and the median size of drift of the methods that have at most `CLOSE`
    times the lowest score. With a `power`, only methods with this power count.
    """
    score = {
        m: np.mean([f["score"].mean() for f in by.values()])
        for m, by in each.items()
        if power in (None, setting(m)[0])
    }
    close = [m for m in score if score[m] <= CLOSE * min(score.values())]
    powers, sizes = (sorted(part) for part in zip(*map(setting, close), strict=True))
    middle = (powers[len(powers) // 2], sizes[len(sizes) // 2])
    # The methods of several families can share a setting.
    return min((m for m in score if setting(m) == middle), key=score.get)


def named(power: float, size: float) -> str:
    return f"evidence^{power:g}, drift {size:g}"


def setting(method: str) -> tuple[float, float]:
    """The power and the size of drift of a method, from its name."""
    power, size = method.rsplit("evidence^")[-1].split(", drift ")
    return float(power), float(size)


@dataclass(frozen=True)
class Fitted:
    """Forecasts of all laws for all tables.

    `drawn`, `huber` (of the baseline) and `evidence` are by table and law, `truth`, `away` and
    `seconds` by table; `failed` lists tables and laws whose sampler did not converge.
    """

    laws: tuple[str, ...]
    drawn: dict[tuple[str, str], dict[float | str, np.ndarray]]
    huber: dict[tuple[str, str], np.ndarray]
    evidence: dict[tuple[str, str], float]
    truth: dict[str, np.ndarray]
    away: dict[str, np.ndarray]
    seconds: dict[str, float]
    failed: list[tuple[str, str]]

    @property
    def tables(self) -> list[str]:
        return list(self.truth)

    def of(self, table: str, members, power: float, size: float) -> pd.DataFrame:
        """Scores of the runs of a table under a family."""
        log = power * np.array([self.evidence[table, law] for law in members])
        weights = np.exp(log - log.max())
        parts = [self.drawn[table, law][size] for law in members]
        mixed = mixture(parts, weights / weights.sum())
        return scores(mixed, self.truth[table], self.away[table])

    def settings(self, members, powers=POWERS, sizes=SIZES) -> dict[str, dict[str, pd.DataFrame]]:
        """Scores by table under every power of the evidence and size of drift."""
        return {
            named(power, size): {t: self.of(t, members, power, size) for t in self.tables}
            for power, size in itertools.product(powers, sizes)
        }


def fitted(laws, baseline=HUBER, law_error: bool = True) -> Fitted:
    """Fit every law to every table, and the laws of the baseline by least squares."""
    out = Fitted(tuple(laws), {}, {}, {}, {}, {}, {}, [])
    for problem in problems():
        name = problem.name
        out.truth[name] = np.log(problem.places["loss"].to_numpy(float))
        out.away[name] = problem.places["extrapolation"].to_numpy(float)
        for law in laws:
            started = time.perf_counter()
            drawn, out.evidence[name, law], passed = draws_of(problem, law, law_error)
            out.drawn[name, law] = drawn
            if law in LAWS:
                taken = out.seconds.get(name, 0.0)
                out.seconds[name] = taken + time.perf_counter() - started
            if not passed:
                out.failed.append((name, law))
                print(f"{name}: {law} failed its check", file=sys.stderr)
        for i, law in enumerate(baseline):
            seed = np.random.SeedSequence([1, i])
            job = Job(law, by_huber, problem, bs.laws.get(law), "C", (), {}, seed)
            out.huber[name, law] = np.log(by_huber(job).draws)
        print(
            f"{name}: {len(problem.seen)} runs, {out.seconds[name]:.1f} s, "
            + ", ".join(f"{law} {out.evidence[name, law]:.1f}" for law in laws),
            file=sys.stderr,
            flush=True,
        )
    return out


def study(table: str) -> str:
    return table.split()[0]


def chosen_elsewhere(
    each, part=study, exact=None
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Scores of each table under the method chosen on other studies, and that method.

    `part` gives the part of the tables to which a table belongs. With `exact`, scores of laws
    without an error in small runs, the power is chosen on these.
    """
    tables_ = list(next(iter(each.values())))
    choice = {}
    for left_out in dict.fromkeys(part(t) for t in tables_):
        others = [t for t in tables_ if part(t) != left_out]
        power = None if exact is None else setting(choose(_of(exact, others)))[0]
        method = choose(_of(each, others), power)
        choice |= {t: method for t in tables_ if part(t) == left_out}
    return {t: each[m][t] for t, m in choice.items()}, choice


def _of(each, tables_) -> dict[str, dict[str, pd.DataFrame]]:
    return {m: {t: by[t] for t in tables_} for m, by in each.items()}


def default_family(found: Fitted, exact: Fitted) -> None:
    """The default family under all powers and sizes, the choice among them, and its scores."""
    rows, each = [], {}
    for law in HUBER:
        label = f"log-Huber bootstrap ({law})"
        each[label] = {
            t: scores(exact.huber[t, law], found.truth[t], found.away[t]) for t in found.tables
        }
        rows.append({"method": label, **summary(each[label])})
    singles = [(f"{law}, drift {s:g}", (law,), 0.0, s) for law in LAWS for s in SIZES]
    for label, members, power, size in [*singles, BEFORE]:
        each[label] = {t: exact.of(t, members, power, size) for t in found.tables}
        rows.append({"method": label, **summary(each[label])})
    for label, members, power, size in singles:
        scored = {t: found.of(t, members, power, size) for t in found.tables}
        rows.append({"method": f"{label}, error in small runs", **summary(scored)})
    without = exact.settings(LAWS)
    rows += [
        {"method": f"family without errors, {k}", **summary(scored)}
        for k, scored in without.items()
    ]
    family = {f"family, {k}": v for k, v in found.settings(LAWS).items()}
    rows += [{"method": label, **summary(scored)} for label, scored in family.items()]
    chosen, choice = chosen_elsewhere(family, str, without)
    rows.append({"method": "family, chosen on other tables", **summary(chosen)})
    print(pd.Series(choice).value_counts().to_string())
    chosen, choice = chosen_elsewhere(family, study, without)
    rows.append({"method": "family, chosen on other studies", **summary(chosen)})
    write(pd.DataFrame(rows), "family", "forecasts by law, power of the evidence and size of drift")
    print(pd.DataFrame(rows).set_index("method").round(3).to_string())
    print(pd.Series(choice).value_counts().to_string())

    best = choose(family, setting(choose(without))[0])
    power, size = setting(best)
    choices = [{"left out": study(t), "method": m} for t, m in choice.items()]
    choices = [{"left out": "none", "method": best, "power": power, "drift": size}, *choices]
    write(pd.DataFrame(choices).drop_duplicates(), "family_choice", "choices, without each study")
    # The tables below are of the defaults of the package.
    before = each[BEFORE[0]]
    scored = family[f"family, {named(DEFAULT_POWER, ahead(True, True).median)}"]
    tables_ = pd.DataFrame(
        {
            t: {
                "runs": len(f),
                **{c: f[c].mean() for c in ("0.50", "0.80", "0.90", "0.95", "score", "width")},
                "score before": before[t]["score"].mean(),
                "seconds": found.seconds[t],
            }
            for t, f in scored.items()
        }
    ).T
    difference = {t: (f["score"] - before[t]["score"]) for t, f in scored.items()}
    tables_["standard errors worse"] = [
        d.mean() / max(d.std(ddof=1) / np.sqrt(len(d)), 1e-9) for d in difference.values()
    ]
    write(tables_.reset_index(names="table"), "family_tables", "the default family by table")
    print(tables_.round(3).to_string())
    pooled = pd.concat(scored.values())
    bins = pd.cut(pooled["distance"], DISTANCES, labels=["inside", "1-3x", "3-10x", "over 10x"])
    distances = pooled.groupby(bins, observed=False).agg(
        runs=("score", "size"),
        **{c: (c, "mean") for c in ("0.50", "0.80", "0.90", "0.95")},
        width=("width", "mean"),
    )
    write(distances.reset_index(), "family_distances", "the default family by distance")
    print(distances.round(3).to_string())


def shapes(found: Fitted) -> None:
    """Families with and without further laws, and every law alone, compared with the default."""
    families = [LAWS, *((*LAWS, law) for law in SHAPES), (*LAWS, *SHAPES)]
    families += [tuple(law for law in LAWS if law != other) for other in LAWS]
    families += [(law,) for law in found.laws]
    every, chosen = {}, {}
    for members in families:
        if len(members) == 1:
            each = found.settings(members, powers=(0.0,))
        else:
            each = found.settings(members, *COARSE)
            every |= {f"{', '.join(members)}; {k}": v for k, v in each.items()}
        chosen[", ".join(members)] = chosen_elsewhere(each)
    chosen["members chosen too"] = chosen_elsewhere(every)
    default = {t: f["score"].mean() for t, f in chosen[", ".join(LAWS)][0].items()}
    rows = []
    for name, (scored, choice) in chosen.items():
        difference = np.array([f["score"].mean() - default[t] for t, f in scored.items()])
        members = found.laws if name == "members chosen too" else name.split(", ")
        row = summary(scored)
        rows.append(
            {
                "family": name,
                **{k: v for k, v in row.items() if k != "worst table"},
                "worst table": row["worst table"],
                "score - default": difference.mean(),
                "standard error": difference.std(ddof=1) / np.sqrt(len(difference)),
                "tables better": int((difference < 0).sum()),
                "tables worse": int((difference > 0).sum()),
                "checks failed": sum(law in members for _, law in found.failed),
                "settings": "; ".join(dict.fromkeys(choice.values())),
            }
        )
    write(pd.DataFrame(rows), "family_shapes", "families of laws; settings of the other studies")
    evidence = pd.DataFrame(
        [{law: found.evidence[t, law] for law in found.laws} for t in found.tables],
        index=pd.Index(found.tables, name="table"),
    )
    write(evidence.reset_index(), "family_evidence", "log evidence of each law")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", action="store_true", help="also compare further laws")
    more = parser.parse_args().shapes
    warnings.simplefilter("ignore")
    found = fitted((*LAWS, *SHAPES) if more else LAWS, baseline=())
    default_family(found, fitted(LAWS, law_error=False))
    if more:
        shapes(found)


if __name__ == "__main__":
    main()

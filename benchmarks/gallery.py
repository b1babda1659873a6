"""Laws of other regimes: do their intervals hold on the most expensive runs of published tables?

The most expensive eighth of each table is held back. The laws of the regime are fitted to the rest,
without and with an error in small runs, and averaged as by `bayescale.ensemble`. Which laws have
the error by default (`bayescale.model.small_runs`) is chosen on the other tables. Beside them, in
the same run, the published form is fitted by least squares on log loss, with normal intervals of
its residual scatter. R-squared is that of the median against the mean of the held-back losses of
the same kind (router, corpus or task).

With ``--values`` the constants that papers state are compared with posteriors instead; with
``--schedules`` each of three learning-rate schedules is forecast from the other two; with
``--sizes`` the later checkpoints of each size of model are forecast, of those with a vocabulary.

    python benchmarks/gallery.py [--values] [--schedules] [--sizes] [--only TABLE ...]
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
from common import RESULTS, interval_score, reference, write
from scipy.optimize import least_squares, minimize
from scipy.special import huber

import bayescale as bs
from bayescale.evaluation.baselines import Problem
from bayescale.evaluation.ensembles import evidence_weights
from bayescale.evaluation.scores import score
from bayescale.laws import mixing_law, share_columns
from bayescale.model import design, fit_design, small_runs

HELD_BACK = 1 / 8
STARTS = 12
NORMAL_90 = 1.6449
#: Labels of results.
SQUARES, ALL, OF_REGIME = "least squares", "all tables", "the laws of each regime"
SAMPLING = dict(draws=400, chains=2)


@dataclass
class Table:
    """A published table.

    `kind` labels rows whose losses are comparable, `each` problems that are fitted separately; rows
    of the kind `everywhere` belong to all of them. Of large tables every `thin`-th run is fitted,
    or every `thin`-th problem is taken; all held-back runs of a problem are forecast. With `held`
    each value of this column is held back once, and cost is not used. `noise` is that of
    `bayescale.fit`. Held-back checkpoints belong to new runs, unless series are `continued`.
    """

    name: str
    frame: pd.DataFrame
    cost: np.ndarray
    laws: tuple[str | bs.Law, ...]
    published: str | bs.Law
    read: dict
    kind: str | None = None
    each: str | None = None
    everywhere: str = ""
    thin: int = 1
    held: str | None = None
    noise: str = "even"
    continued: bool = False


def tables() -> list[Table]:
    """Every table with its cost, the laws of its regime, and the published form."""
    out = []
    frame = pd.read_csv(reference("datablations_c4.csv"))
    frame = frame[["params", "tokens", "unique_tokens", "loss"]]
    cost = 6 * frame["params"] * frame["tokens"]
    repeated = ("repeated_data", "repeated_overfit", "repeated_bounded")
    # Strongly over-fitted runs scatter by 5 % and more, others by 0.3 %. On the fitted runs the
    # evidence of noise by loss is higher by 90 (`repeated_bounded`).
    out.append(
        Table("datablations_c4", frame, cost, repeated, "repeated_data", {}, noise="by_loss")
    )

    frame = pd.read_csv(reference("clark_moe.csv"))
    cost = frame["forward_flops_per_step"] * frame["steps"]
    columns = ["router", "experts", "params", "params_total", "loss"]
    frame = frame[columns].assign(tokens=130e9)  # the same for all, according to the paper
    routed = ("routed_experts", "sparse_multiplicative")
    read = dict(N="params", N_total="params_total")
    out.append(
        Table("clark_moe", frame, cost, routed, routed[0], read, "router", "router", "Dense")
    )

    frame = pd.read_csv(reference("sparsity.csv"))
    cost = 6e19 * (frame["N_dense"] * frame["D1"] + frame["N_active"] * frame["D2"])
    frame = pd.DataFrame(
        dict(N=frame.N_active * 1e9, total=frame.P * frame.N_active * 1e9, D=frame.D2 * 1e10,
             loss=frame.loss)
    )  # fmt: skip
    sparse = ("sparse_experts", "sparse_multiplicative")
    out.append(Table("sparsity", frame, cost, sparse, "sparse_experts", dict(N_total="total")))

    frame = pd.read_csv(reference("vocabulary.csv"))
    cost = frame["non_vocab_parameters"] * frame["num_characters"]
    # Losses relative to a unigram model are negative. The table has no widths of models, so that
    # the parameters of the vocabulary are known up to a factor that depends on N. Rows are twenty
    # checkpoints of each run.
    frame["loss"] = frame.pop("unigram_normalized_loss") + 6
    frame["run"] = frame["non_vocab_parameters"].astype(str) + " " + frame["vocab_size"].astype(str)
    read = dict(
        N="non_vocab_parameters",
        D="num_characters*1",
        N_vocab="vocab_size*1",
        vocab="vocab_size",
        series="run",
    )
    vocabulary = ("vocabulary", "vocabulary_size")
    out.append(
        Table("vocabulary", frame, cost, vocabulary, "vocabulary", read, thin=4, continued=True)
    )

    frame = pd.read_csv(reference("lr_batch.csv"))
    cost = 6 * frame["params"] * frame["tokens"]
    bowl = ("learning_rate_batch",)
    out.append(Table("lr_batch", frame, cost, bowl, bowl[0], dict(batch="batch_size*2048"), thin=8))

    frame = pd.read_csv(reference("finetuning_rectified.csv")).query("examples > 0")
    frame = frame.reset_index(drop=True)
    frame["curve"] = frame["dataset"] + " " + frame["model"]
    curves = ("rectified(finetune)", "power(finetune)")
    read = dict(N="params", finetune="examples")
    out.append(
        Table("finetuning_rectified", frame, frame["examples"], curves, curves[0], read,
              "dataset", "curve", thin=9)
    )  # fmt: skip

    frame = pd.read_csv(reference("parallel.csv"))
    out += [schedules(), mixtures()]
    read = dict(N="num_params", streams="parallel_size")
    one = ("parallel_streams",)
    out.append(Table("parallel", frame, frame["num_params"], one, one[0], read, "group", "group"))
    return out


def schedules() -> Table:
    """Losses along training under three schedules, each held back once.

    Learning rates between evaluations are interpolated. Runs begin at step 2000.
    """
    frame = pd.read_csv(reference("lr_schedule_gpt100m.csv"))
    parts = []
    for name, part in frame.groupby("schedule"):
        lr = np.interp(np.arange(part["step"].max() + 1), part["step"], part["lr"])
        columns = bs.schedule_columns(lr, at=part["step"])
        rows = part[["step", "loss"]].assign(series=name, kind=name, **columns)
        # 20 billion tokens in 33,907 steps, according to the source.
        parts.append(rows.assign(D=(part["step"] + 1) * 20e9 / 33907))
    frame = pd.concat(parts, ignore_index=True).query("step >= 2000").reset_index(drop=True)
    laws = ("multi_power", "annealing")
    return Table("lr_schedule_gpt100m", frame, frame["D"], laws, laws[0], {}, "kind", "kind",
                 thin=4, held="kind")  # fmt: skip


def mixtures() -> Table:
    """Losses on five domains by the shares of the training data; an eighth is held at random.

    All runs cost the same, according to the source.
    """
    frame = pd.read_csv(reference("domain_mixture.csv"))
    shares = [f"proportion_domain_{i}" for i in range(1, 6)]
    columns = share_columns(frame[shares])
    rank = np.random.default_rng(1).permutation(len(frame))
    N = frame["group"].str.removesuffix("M").astype(float) * 1e6
    parts = [
        pd.DataFrame({"loss": frame[f"loss_domain_{i}"], "N": N, "kind": f"domain {i}", **columns})
        for i in range(1, 6)
    ]
    laws = (mixing_law(shares), mixing_law(shares, form="transfer"))
    frame = pd.concat(parts, ignore_index=True)
    return Table("domain_mixture", frame, np.tile(rank, 5), laws, laws[0], {}, "kind", "kind")


def problems(table: Table):
    """Label, runs and whether each is fitted, of every problem of a table."""
    frame = table.frame.assign(_cost=np.asarray(table.cost, float))
    if table.held is not None:
        for label in frame[table.held].unique():
            part = frame.assign(_fitted=frame[table.held] != label)
            keep = ~part["_fitted"] | (part.groupby(table.held).cumcount() % table.thin == 0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                runs = bs.Runs.from_frame(part[keep].reset_index(drop=True), **table.read)
            yield label, runs
        return
    if table.each is None:
        parts = {"": frame}
    else:
        labels = [k for k in frame[table.each].unique() if k != table.everywhere]
        labels = labels[:: table.thin]
        parts = {k: frame[frame[table.each].isin([k, table.everywhere])] for k in labels}
    whole = frame["_cost"].quantile(1 - HELD_BACK)
    for label, part in parts.items():
        limit = whole if len(parts) < 10 else part["_cost"].quantile(1 - HELD_BACK)
        part = part.assign(_fitted=part["_cost"] <= limit)
        if table.everywhere:  # held back once only
            part = part[part["_fitted"] | (part[table.each] == label)]
        if table.each is None and table.thin > 1:
            fitted = part.index[part["_fitted"]]
            part = part.drop(fitted.difference(fitted[:: table.thin]))
        part = part.reset_index(drop=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runs = bs.Runs.from_frame(part, **table.read)
        yield label, runs


def least_squares_fit(law: bs.Law, seen: pd.DataFrame, later: pd.DataFrame):
    """Predicted log loss, and standard deviation of the residuals, of the fit by least squares."""
    columns = {c: seen[c].to_numpy(float) for c in law.columns}
    problem = Problem(law, columns, np.log(seen["loss"].to_numpy(float)))
    rng = np.random.default_rng(1)
    starts = rng.standard_normal((STARTS, len(problem.priors)))
    starts[0] = 0

    def residual(z):
        out = problem.residual(z[None])[0]
        return np.where(np.isfinite(out), out, 1e3)

    fits = [least_squares(residual, z, max_nfev=300) for z in starts]
    best = min(fits, key=lambda f: f.cost)
    free = max(len(seen) - len(problem.priors), 1)
    ahead = {c: later[c].to_numpy(float) for c in law.columns}
    return problem.log_mean(best.x[None], ahead)[0], np.sqrt(2 * best.cost / free)


def particles(
    runs: bs.Runs, law, priors=None, noise: str = "even", law_error: bool = False
) -> bs.Fit:
    """A fit by importance sampling, without the check."""
    plan = design(runs, bs.laws.get(law), priors=priors, noise=noise, law_error=law_error)
    started = time.perf_counter()
    fit = fit_design(
        plan, engine="particles", tune=500, random_seed=1, progressbar=False, **SAMPLING
    )
    took = time.perf_counter() - started
    print(f"  {plan.law.name}, {len(runs)} runs: {took:.0f} s, {fit.convergence}", flush=True)
    return fit


def forecasts(table: Table, seen: bs.Runs, later: pd.DataFrame, law_error: bool) -> list:
    """Scores of each law and of the average of several, fitted to `seen`; none if no law could have
    the errors."""
    started, laws = time.process_time(), [bs.laws.get(law) for law in table.laws]
    plans = [design(seen, law, law_error=law_error) for law in laws]
    if not all(plan.has_law_error == law_error for plan in plans):
        return []  # learning curves have none
    fits = {law.name: particles(seen, law, noise=table.noise, law_error=law_error) for law in laws}
    if len(fits) > 1:
        fits["average"] = bs.average(fits, evidence_weights(fits))
    found = []
    for name, fit in fits.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ahead = later if table.continued else later.drop(columns="series", errors="ignore")
            draws = bs.forecast(fit, ahead, random_seed=1).data["loss"]
        draws = draws.transpose("chain", "draw", "point").to_numpy().reshape(-1, len(later))
        scores = score(later["loss"], draws, np.zeros(len(later)))
        members = fit.fits.values() if name == "average" else [fit]
        passed = all(member.convergence.passed for member in members)
        found.append(
            scores[["inside90", "width90", "interval_score"]].assign(
                law=name, law_error=law_error, run=later.index, loss=later["loss"].to_numpy(),
                median=np.median(draws, axis=0), converged=passed,
            )
        )  # fmt: skip
    seconds = time.process_time() - started
    return [each.assign(seconds=seconds) for each in found]


def points(table: Table) -> pd.DataFrame:
    """Every held-back run with the forecast of each law, of their average and of least squares."""
    out = []
    for label, runs in problems(table):
        fitted = runs.table["_fitted"].to_numpy(bool)
        later = runs.table[~fitted]
        if not len(later):
            continue
        found = [f for e in (False, True) for f in forecasts(table, runs[fitted], later, e)]
        law = bs.laws.get(table.published)
        log_mean, scatter = least_squares_fit(law, runs.table[fitted], later)
        y = np.log(later["loss"].to_numpy(float))
        low, high = log_mean - NORMAL_90 * scatter, log_mean + NORMAL_90 * scatter
        point = pd.DataFrame(
            dict(law=SQUARES, law_error=False, run=later.index, loss=np.exp(y),
                 median=np.exp(log_mean), inside90=(low <= y) & (y <= high), width90=high - low,
                 interval_score=interval_score(y, low, high, alpha=0.1))
        )  # fmt: skip
        both = pd.concat([*found, point.assign(converged=True)], ignore_index=True)
        kinds = (
            runs.table[table.kind].astype(str) if table.kind else pd.Series("", runs.table.index)
        )
        both["kind"] = kinds.reindex(both["run"]).to_numpy()
        out.append(both.assign(table=table.name, problem=label, fitted=int(fitted.sum())))
        print(f"{table.name} {label}", flush=True)
    return pd.concat(out, ignore_index=True)


def summary(every: pd.DataFrame) -> pd.DataFrame:
    """Coverage, interval score and R-squared by table and law."""
    rows = []
    for (table, law, law_error), part in every.groupby(["table", "law", "law_error"], sort=False):
        centre = part.groupby("kind")["loss"].transform("mean")
        error = ((part["loss"] - part["median"]) ** 2).sum()
        by_problem = part.drop_duplicates("problem")
        rows.append(
            dict(
                table=table,
                law=law,
                law_error=law_error,
                fitted=int(by_problem["fitted"].sum()),
                held_back=len(part),
                coverage90=100 * part["inside90"].astype(float).mean(),
                interval_score=part["interval_score"].mean(),
                width90=part["width90"].mean(),
                r_squared=1 - error / ((part["loss"] - centre) ** 2).sum(),
                error=100 * np.median(np.abs(np.log(part["median"] / part["loss"]))),
                converged=part["converged"].mean(),
                seconds=by_problem["seconds"].sum(),
            )
        )
    return pd.DataFrame(rows)


def by_schedule() -> pd.DataFrame:
    """Forecasts of each schedule from the other two, at each evaluation and over windows of ten.

    Evaluations at one step have the same batches under all schedules and scatter by 1.5 %, so that
    errors of windows say more about the curve.
    """
    rows = []
    for label, runs in problems(schedules()):
        fitted = runs.table["_fitted"].to_numpy(bool)
        later = runs.table[~fitted].sort_values("D")
        fit = particles(runs[fitted], "multi_power")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ahead = bs.forecast(fit, later.drop(columns="series"), random_seed=1).data["loss"]
        draws = ahead.transpose("chain", "draw", "point").to_numpy().reshape(-1, len(later))
        found = score(later["loss"], draws, np.zeros(len(later)))
        error = 100 * (np.median(draws, axis=0) / later["loss"].to_numpy() - 1)
        windows = error[len(error) % 10 :].reshape(-1, 10).mean(axis=1)
        rows.append(
            dict(
                held_back=label,
                fitted=int(fitted.sum()),
                evaluations=len(later),
                coverage90=100 * found["inside90"].mean(),
                median_error=np.median(np.abs(error)),
                windows=len(windows),
                windows_within_1_percent=int((np.abs(windows) < 1).sum()),
                largest_error_of_window=np.abs(windows).max(),
                error_of_last_window=windows[-1],
            )
        )
    return pd.DataFrame(rows)


def by_size() -> pd.DataFrame:
    """The table of vocabularies up to each size of model: its most expensive eighth, which are
    nearly all later checkpoints of the largest model, under `vocabulary_size`.

    Runs of one size err together, so that each row is hardly more than one outcome. Every third or
    fourth of the other checkpoints is fitted.
    """
    whole = next(t for t in tables() if t.name == "vocabulary")
    size = whole.frame["non_vocab_parameters"]
    rows = []
    for largest, thin in product(np.sort(size.unique())[2:], (3, 4)):
        kept = (size <= largest).to_numpy()
        frame = whole.frame[kept].reset_index(drop=True)
        part = replace(whole, frame=frame, cost=whole.cost[kept].to_numpy(), thin=thin)
        part = replace(part, laws=("vocabulary_size",))
        [(_, runs)] = problems(part)
        fitted = runs.table["_fitted"].to_numpy(bool)
        later = runs.table[~fitted]
        [found] = forecasts(part, runs[fitted], later, law_error=False)
        rows.append(
            dict(
                parameters=largest,
                every=thin,
                fitted=int(fitted.sum()),
                held_back=len(later),
                of_largest=int((later["N"] == largest).sum()),
                coverage90=100 * found["inside90"].mean(),
                interval_score=found["interval_score"].mean(),
                width90=found["width90"].mean(),
                mean_error=100 * np.log(found["median"] / found["loss"]).mean(),
            )
        )
    return pd.DataFrame(rows)


def optima(bowl: bs.Fit, frame: pd.DataFrame) -> pd.DataFrame:
    """The best learning rate and batch size at each N and D, beside the best run of the grid.

    ``lr_steps`` and ``batch_steps`` are the distances in steps of the grid.
    """
    scales, post = bowl.plan.scales, bowl.posterior
    rows = []
    for (N, D), part in frame.groupby(["params", "tokens"]):
        n, d = np.log(N / scales["N"]), np.log(D / scales["D"])
        best = part.loc[part["loss"].idxmin()]
        lr = np.log(scales["lr"] * post["best_lr"]) + post["lr_N"] * n + post["lr_D"] * d
        batch = np.log(scales["batch"] * post["best_batch"] / 2048) + post["batch_D"] * d
        row = dict(N=N, D=D, runs=len(part))
        for name, draws, column in (("lr", lr, "learning_rate"), ("batch", batch, "batch_size")):
            grid = np.log(np.sort(part[column].unique()))
            middle = float(draws.median())
            row |= {
                name: np.exp(middle),
                f"{name}_low": np.exp(float(draws.quantile(0.05))),
                f"{name}_high": np.exp(float(draws.quantile(0.95))),
                f"{name}_of_best_run": best[column],
                f"{name}_steps": (np.log(best[column]) - middle) / np.median(np.diff(grid)),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def repeated_by_huber(runs: pd.DataFrame, paper: dict[str, float]) -> dict[str, float]:
    """R_D and R_N by the criterion of Muennighoff et al., the Huber loss of log loss with threshold
    0.001, with their other constants."""
    law = bs.laws.get("repeated_data")
    names = ("R_D", "R_N")

    def criterion(logs):
        free = dict(zip(names, np.exp(logs), strict=True))
        log_mean = np.log(law.loss(runs["N"], runs["D"], runs["U"], **{**paper, **free}))
        return huber(1e-3, log_mean - np.log(runs["loss"])).sum()

    best = minimize(criterion, np.log([paper[n] for n in names]), method="Nelder-Mead")
    return dict(zip(names, np.exp(best.x).tolist(), strict=True))


def values() -> pd.DataFrame:
    """Posteriors beside the constants of papers."""
    rows = []

    def add(table, parameter, published, draws):
        low, middle, high = np.quantile(np.asarray(draws).ravel(), [0.05, 0.5, 0.95])
        print(table, parameter, published, low, middle, high, flush=True)
        with_interval = published is not None and low < high
        rows.append(
            dict(table=table, parameter=parameter, published=published, median=middle, low=low,
                 high=high, inside=low <= published <= high if with_interval else np.nan)
        )  # fmt: skip

    law = bs.laws.get("repeated_data")
    frame = pd.read_csv(reference("datablations_c4.csv"))
    frame = frame[frame["in_paper_fit"]][["params", "tokens", "unique_tokens", "loss"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = bs.Runs.from_frame(frame)
    paper = law.published["muennighoff2023"].values
    scales = runs.scales
    held = dict(
        E=paper["E"],
        A=paper["A"] * scales["N"] ** -paper["alpha"],
        B=paper["B"] * scales["D"] ** -paper["beta"],
        alpha=paper["alpha"],
        beta=paper["beta"],
    )
    fixed = {k: bs.Positive(v, spread=1.0001) for k, v in held.items()}
    for name, priors in (("paper's other constants held", fixed), ("all estimated", {})):
        posterior = particles(runs, law, priors=priors).posterior
        for parameter in ("R_D", "R_N"):
            add(f"datablations_c4, {name}", parameter, paper[parameter], posterior[parameter])

    for parameter, found in repeated_by_huber(runs.table, paper).items():
        add("datablations_c4, Huber loss", parameter, paper[parameter], [found])

    frame = pd.read_csv(reference("clark_moe.csv"))
    frame = frame[["router", "experts", "params", "loss"]].assign(tokens=130e9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dense = bs.Runs.from_frame(frame[frame["router"] == "Dense"])
        routed = bs.Runs.from_frame(frame)
    add("clark_moe, dense", "alpha", 0.078, particles(dense, "pure_power(N)").posterior["alpha"])
    posterior = particles(routed, "routed_experts").posterior
    for parameter, published in (("alpha", 0.078), ("beta", None), ("interaction", None)):
        add("clark_moe, all routers", parameter, published, posterior[parameter])

    write(pd.DataFrame(rows), "gallery_values", "Posteriors beside published constants")
    frame = pd.read_csv(reference("lr_batch.csv"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Every eighth run, for the time of a fit.
        runs = bs.Runs.from_frame(frame[::8].reset_index(drop=True), batch="batch_size*2048")
    bowl = particles(runs, "learning_rate_batch")
    for parameter, published in (("lr_N", -0.713), ("lr_D", 0.307), ("batch_D", 0.571)):
        add("lr_batch", parameter, published, bowl.posterior[parameter])
    raw = bowl.law.constants(
        *(bowl.plan.scales[c] for c in bowl.law.columns),
        **{p: bowl.posterior[p] for p in bowl.law.parameters},
    )
    add("lr_batch", "best_lr", 1.79, raw["best_lr"])
    add("lr_batch", "best_batch", 0.58, raw["best_batch"])
    write(optima(bowl, frame), "gallery_optima", "The best settings at each N and D")
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--values", action="store_true")
    parser.add_argument("--schedules", action="store_true")
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    if options.values:
        write(values(), "gallery_values", "Posteriors beside published constants")
        return
    if options.schedules:
        write(by_schedule(), "gallery_schedules", "Each schedule, from the other two")
        return
    if options.sizes:
        write(by_size(), "gallery_sizes", "Vocabularies: the later checkpoints of each size")
        return
    for table in tables():
        if options.only and table.name not in options.only:
            continue
        found = [summary(points(table))]
        if (RESULTS / "gallery.csv").exists():  # rows of other tables are kept
            before = pd.read_csv(RESULTS / "gallery.csv")
            found.insert(0, before[~before["table"].isin([table.name, ALL])])
        found = pd.concat(found, ignore_index=True)
        write(with_all(found), "gallery", "The most expensive eighth")
    write(rules(found), "gallery_rules", "Which laws have errors in small runs")


def with_all(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, with rows of all tables: of the laws of each regime together, with errors where
    they are the default, and of the fits by least squares. Every held-back run counts once."""
    of_squares = rows["law"] == SQUARES
    several = rows.groupby("table")["law"].transform("nunique") > 2
    laws = {table.name: [bs.laws.get(law) for law in table.laws] for table in tables()}
    of_default = rows["law_error"] == errors_under(rows, laws, small_runs.by_default)
    of_regime = ~of_squares & of_default & (~several | (rows["law"] == "average"))
    for law, chosen in ((OF_REGIME, rows[of_regime]), (SQUARES, rows[of_squares])):
        mean = {
            c: np.average(chosen[c], weights=chosen["held_back"])
            for c in ("coverage90", "interval_score", "width90")
        }
        sums = {c: chosen[c].sum() for c in ("fitted", "held_back")}
        rows = pd.concat(
            [rows, pd.DataFrame([dict(table=ALL, law=law, **sums, **mean)])], ignore_index=True
        )
    return rows


#: Rules of which laws, fitted to the same runs, have an error in small runs.
RULES = {
    "no law": lambda laws: False,
    "laws whose sizes are N and D": lambda laws: all(set(w.sizes) == {"N", "D"} for w in laws),
    "laws of N": lambda laws: all("N" in law.sizes for law in laws),
    "all laws": lambda laws: True,
}


def errors_under(rows: pd.DataFrame, laws: dict[str, list[bs.Law]], rule) -> pd.Series:
    """Whether the law of each row has an error under a rule, if its table can have one."""
    able = rows.groupby("table")["law_error"].transform("any")

    def of(row):
        members = laws[row["table"]]
        return rule([m for m in members if m.name == row["law"]] or members)

    return rows.apply(of, axis=1) & able


def rules(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores of rules, relative to no law with errors, and of the rule chosen on other tables.

    Every table has the same weight, and each law and the average of several have in a table.
    """
    rows = rows[~rows["table"].isin([ALL]) & (rows["law"] != SQUARES)]
    laws = {table.name: [bs.laws.get(law) for law in table.laws] for table in tables()}
    index = ["table", "law"]
    of_none = rows[~rows["law_error"].astype(bool)].set_index(index)["interval_score"]
    by_table = {}
    for name, rule in RULES.items():
        of_rule = rows[rows["law_error"] == errors_under(rows, laws, rule)].set_index(index)
        of_rule = of_rule.assign(log_ratio=np.log(of_rule["interval_score"] / of_none))
        by_table[name] = of_rule[["log_ratio", "coverage90", "r_squared"]].groupby("table").mean()
    log_ratio = pd.DataFrame({name: each["log_ratio"] for name, each in by_table.items()})
    chosen = {t: log_ratio.drop(t).mean().idxmin() for t in log_ratio.index}
    elsewhere = pd.concat([by_table[rule].loc[[t]] for t, rule in chosen.items()])
    found = []
    for name, each in (*by_table.items(), ("chosen on the other tables", elsewhere)):
        ratios = {t: 100 * np.expm1(v) for t, v in each["log_ratio"].items() if v}
        found.append(
            {
                "laws with errors": name,
                "score": 100 * np.expm1(each["log_ratio"].mean()),
                "coverage90": each["coverage90"].mean(),
                "r_squared": each["r_squared"].mean(),
                "tables that choose it": sum(rule == name for rule in chosen.values()),
                **ratios,
            }
        )
    return pd.DataFrame(found)


if __name__ == "__main__":
    main()

"""Results as tables of text, for the terminal and the report."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayescale.errors import ConvergenceWarning
from bayescale.evaluation import LARGE, NOISE, Hypotheses, Rollout
from bayescale.forecasting import (
    REMOTE,
    Allocation,
    Average,
    Forecast,
    scale_column,
)
from bayescale.intervals import defaults, in_words, interval
from bayescale.model import NEW, Fit
from bayescale.text_tables import text_table
from bayescale.units import format_count, format_flop, format_loss, times_in_words

#: The smallest density ratio that a few thousand draws can resolve.
RARE = 0.001


#: Notes below tables whose heads are terms of statistics.
EVIDENCE = (
    "Log evidence: the log probability of the runs under the law; higher is better. Weights are in "
    "proportion to the evidence to the power 0.2, because no law is exactly true."
)
HUBER = (
    "score / log-Huber's: the interval score divided by that of least squares (log-Huber) with a "
    "bootstrap; below 1 is better."
)
LEFT_OUT = (
    "Log predictive density: how well runs that were left out are predicted, summed over runs; "
    f"{NOISE}."
)


@dataclass(frozen=True)
class Table:
    """A title, column heads, cells as text, and sentences to print below.

    The first `keys` columns say what a row is about; each part of a wide table repeats them.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    keys: int = 1

    def text(self, width: int = 80) -> str:
        """The heads and rows in lines of at most `width` characters, without broken words."""
        return text_table(self.header, self.rows, width, self.keys)

    def blocks(self, width: int) -> list[Table]:
        """The table in parts of at most `width` characters, each with the columns of `keys`."""
        sizes = [
            max([max(map(len, head.split()), default=0), *(len(row[i]) for row in self.rows)])
            for i, head in enumerate(self.header)
        ]
        first = list(range(self.keys))
        start = sum(sizes[: self.keys]) + 2 * (self.keys - 1)
        parts, used = [[*first]], start
        for i, size in enumerate(sizes[self.keys :], self.keys):
            if used + 2 + size > width and len(parts[-1]) > self.keys:
                parts.append([*first])
                used = start
            parts[-1].append(i)
            used += 2 + size
        return [
            Table(
                self.title if k == 0 else f"{self.title} (continued)",
                tuple(self.header[i] for i in part),
                tuple(tuple(row[i] for i in part) for row in self.rows),
                self.notes if k == len(parts) - 1 else (),
                self.keys,
            )
            for k, part in enumerate(parts)
        ]


def laws(average: Average) -> Table:
    """A row for each law: its weight, its evidence, and the verdict of its check."""
    rows = []
    for name in sorted(average.fits, key=lambda name: -average.weights[name]):
        fit, weight = average.fits[name], average.weights[name]
        evidence, problems = fit.evidence, fit.check().problems
        failed = [f.name for f in problems if f.level == "failed"]
        cautions = [f.name for f in problems if f.level == "caution"]
        verdict = [f"FAILED: {', '.join(failed)}"] if failed else []
        if cautions:
            verdict.append(f"caution: {', '.join(dict.fromkeys(cautions))}")
        rows.append(
            (
                name,
                "<1 %" if 0 < weight < 0.005 else f"{100 * weight:.0f} %",
                f"{evidence.log:.2f} ± {evidence.error:.2f}",
                "; ".join(verdict) or "passed",
            )
        )
    header = ("law", "weight", "log evidence", "check")
    return Table("Laws", header, tuple(rows), (EVIDENCE,))


def problems(fit: Fit | Average) -> list:
    """Findings that failed or call for caution, by level and kind; each remedy is given once."""
    found = sorted(fit.check().problems, key=lambda f: (f.level != "failed", f.name))
    remedies: set[str] = set()
    once = []
    for finding in found:
        once.append(replace(finding, remedy="") if finding.remedy in remedies else finding)
        remedies.add(finding.remedy)
    return once


def posteriors(fit: Fit | Average, ci_prob: float | None = None) -> tuple[Table, ...]:
    """The tables of parameters.

    An average without groups has a table for each law of positive weight. With groups the tables
    are wide, and only that of the law with the largest weight is given.
    """
    if isinstance(fit, Fit):
        return (posterior(fit, ci_prob),)
    fit.warn_if_failed()
    used = list(fit.used.items())
    heaviest = ", the law with the largest weight" if len(used) > 1 else ""
    out = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # given once for all fits
        for i, (name, member) in enumerate(used[:1] if fit.groups else used):
            out.append(posterior(member, ci_prob, f"Posterior of {name}{'' if i else heaviest}"))
    return tuple(out)


def posterior(fit: Fit, ci_prob: float | None = None, title: str = "Posterior") -> Table:
    """A row for each parameter, a column for the population and for each group."""
    prob, kind = defaults(ci_prob)
    frame = fit.summary(prob, kind)
    bounds = [c for c in frame if c.endswith(("_lb", "_ub"))]

    def cell(key: str) -> str:
        if key not in frame.index:
            return ""
        row = frame.loc[key]
        return f"{row['median']:.4g} ({row[bounds[0]]:.4g} to {row[bounds[1]]:.4g})"

    columns = {"population" if fit.groups else "posterior": lambda p: p.name}
    for g in fit.groups:
        for level in fit.plan.levels[g]:
            columns[level] = lambda p, g=g, level=level: f"{p.name}_{g}[{level}]"
    rows = [(p.name, *(cell(key(p)) for key in columns.values())) for p in fit.plan.parameters]
    if fit.law.constants is not None and len(fit.groups) <= 1:
        for name in dict.fromkeys(k.split(" (raw)")[0] for k in frame.index if " (raw)" in k):
            levels = fit.plan.levels[fit.groups[0]] if fit.groups else ()
            suffixes = [f"[{x}]" for x in levels] or [""]
            cells = [cell(f"{name} (raw){s}") for s in suffixes]
            rows.append((f"{name} (raw)", *([""] if fit.groups else []), *cells))
    title = f"{title}: median ({in_words(prob, kind)})"
    return Table(title, ("parameter", *columns), tuple(rows))


def forecasts(results: list[Forecast], ci_prob: float | None = None) -> Table:
    """A row for each point: N, D and C, the loss of a new run, and the mean loss.

    With groups there is no mean loss, and the distance from the runs is in a note, so that the
    table is not wider than 80 characters.
    """
    prob, kind = defaults(ci_prob)
    frames = [pd.DataFrame(f.summary(prob, kind)) for f in results]
    frame = pd.concat(frames, ignore_index=True)
    places = [c for c in frame.columns[: list(frame.columns).index("mean")] if c != "extrapolation"]
    groups = [c for c in places if c in results[0].fit.groups or c == "series"]
    places = [*groups, *(c for c in places if c not in groups)]
    scale = scale_column(results[0].fit, dict.fromkeys(places))
    rows = tuple(
        (
            *(_place(c, row[c]) + _mark(row["extrapolation"]) * (c == scale) for c in places),
            with_interval(row, "loss"),
            *(
                ()
                if groups
                else (with_interval(row, "mean"), f"{times_in_words(row['extrapolation'])}x")
            ),
        )
        for _, row in frame.iterrows()
    )
    others = () if groups else ("mean loss", "times largest run")
    header = (*places, "loss of a new run", *others)
    ends = (frame["extrapolation"].min(), frame["extrapolation"].max())
    span = " to ".join(dict.fromkeys(times_in_words(t) for t in ends))
    notes = (
        (f"The runs have {span} times the {scale} of the largest fitted run.",) if groups else ()
    )
    notes += _marked(frame["extrapolation"].max())
    return Table(
        f"Forecast: median ({in_words(prob, kind)}) of the loss", header, rows, notes, len(places)
    )


def _mark(times: float) -> str:
    """A mark beside quantities of a run that is very far beyond the others."""
    return "*" if times > REMOTE else ""


def _marked(times: float) -> tuple[str, ...]:
    """What the mark means, if a row has it."""
    if not _mark(times):
        return ()
    return (
        f"* more than {REMOTE:,.0f} times the largest run, up to {times_in_words(times)} times: "
        "what the law says, if it holds so far; no run shows that it does.",
    )


def allocations(results: list[Allocation], ci_prob: float | None = None) -> list[Table]:
    """Two tables with a row for each budget: the N and D to train, and the optimum.

    An exponent that is the same at all budgets is in a note, not in a column.
    """
    prob, kind = defaults(ci_prob)
    fit = results[0].fit
    grouped = bool(fit.groups)
    with_targets = "target" in results[0].data.coords
    under = "the average" if isinstance(fit, Average) and len(fit.used) > 1 else "the law"
    train, optimum, exponents, most = [], [], {}, 0.0
    largest = float(fit.runs.table["C"].max())
    for result in results:
        label = result.group.removeprefix(" for ") or NEW
        first = (label,) if grouped else ()
        for _, row in pd.DataFrame(result.summary(prob, kind)).iterrows():
            times = fit.runs.flop_factor * row["N_decision"] * row["D_decision"] / largest
            most = max(most, times)
            budget = (*first, format_flop(row["C"]) + _mark(times))
            aim = (f"{row['target']:g}", f"{row['p_reach']:.2f}") if with_targets else ()
            per_parameter = times_in_words(row["D_decision"] / row["N_decision"])
            train.append(
                (
                    *aim,
                    *budget,
                    format_count(row["N_decision"]),
                    format_count(row["D_decision"]),
                    *(() if with_targets else (per_parameter,)),
                    with_interval(row, "loss_new_run"),
                    f"{row['expected_regret']:{'.4f' if row['loss_new_run'] >= 0.1 else '.2g'}}",
                )
            )
            optimum.append(
                (
                    *budget,
                    with_interval(row, "N", format_count),
                    with_interval(row, "tokens_per_param", times_in_words),
                    with_interval(row, "a", "{:.2f}".format),
                )
            )
            exponents.setdefault(label, []).append(optimum[-1][-1])
    once = len(optimum) > len(results) and all(len({*each}) == 1 for each in exponents.values())
    if once:
        optimum = [row[:-1] for row in optimum]
    groups = ("group",) if grouped else ()
    interval = f"median ({in_words(prob, kind)})"
    return [
        Table(
            f"Allocation: {interval}",
            (
                *(("target", "P(reach)") if with_targets else ()),
                *groups,
                "C",
                "train N",
                "on D tokens",
                *(() if with_targets else ("tokens per N",)),
                "loss of a new run",
                "expected regret",
            ),
            tuple(train),
            (
                "Expected regret: by how much the loss exceeds that of the best split.",
                f"It is an expectation under {under}, not a bound.",
                *_marked(most),
            ),
        ),
        Table(
            f"Optimal N: {interval}",
            (*groups, "C", "optimal N", "tokens per N", *(() if once else ("a in N* ~ C^a",))),
            tuple(optimum),
            _exponents(exponents, prob, kind) if once else (),
            keys=len(groups) + 1,
        ),
    ]


def _exponents(exponents: dict[str, list[str]], prob: float, kind: str) -> tuple[str, ...]:
    """A note: the exponent of the optimal N, of each group."""
    listed = [f"{each[0]}{f' for {g}' if g != NEW else ''}" for g, each in exponents.items()]
    return (f"Optimal N ~ C^a: a is {', '.join(listed)} ({in_words(prob, kind)}).",)


def coverage(rollout: Rollout) -> Table:
    """A row for each law and baseline: coverage of held-out runs, and scores."""
    frame = rollout.summary()
    # Without baselines there is nothing to compare with.
    compared = "interval_score_ratio" in frame and frame["interval_score_ratio"].notna().any()
    rows = tuple(
        (
            row["law"],
            str(int(row["n"])),
            *(f"{100 * row[f'coverage{k}']:.0f} %" for k in (95, 90, 80, 50)),
            f"{row['interval_score']:.4f}",
            f"{row['crps']:.4f}",
            *([_ratio(row["interval_score_ratio"])] if compared else []),
        )
        for row in frame.to_dict("records")
    )
    header = (
        "law",
        "held-out runs",
        "inside 95 %",
        "90 %",
        "80 %",
        "50 %",
        "interval score",
        "CRPS",
        *(["score / log-Huber's"] if compared else []),
    )
    title = "Coverage of held-out runs; scores of log loss (interval score of 90 %)"
    return Table(title, header, rows, (HUBER,) if compared else ())


def _ratio(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def coverage_in_words(rollout: Rollout) -> str:
    """A sentence: how many held-out runs lie inside their intervals of the default probability.

    Of several laws it is about their average, if there is one.
    """
    level = f"{100 * defaults()[0]:.0f}"
    fitted = rollout.points[rollout.points["method"] == "bayescale"]
    by_law = dict(iter(fitted.groupby("law", sort=False)))
    by_law = {"average": by_law["average"]} if "average" in by_law else by_law
    parts = [
        f"{int(part[f'inside{level}'].sum())} of {len(part)} held-out runs"
        + (f" ({law})" if len(by_law) > 1 else "")
        for law, part in by_law.items()
    ]
    return f"{', '.join(parts)} lie inside their {level} % intervals."


def hypotheses(result: Hypotheses, ci_prob: float | None = None) -> Table:
    """A row for each law and for their average: weight, scores, and the exponent a."""
    prob, kind = defaults(ci_prob)
    frame = result.summary(prob, kind)
    scored = "log_score" in frame
    unit = next(iter(result.fits.values())).runs.loss_unit

    def cell(row: pd.Series, name: str, write) -> str:
        return write(row[name]) if name in row and not np.isnan(row[name]) else ""

    rows = tuple(
        (
            name,
            cell(row, "weight", "{:.0%}".format),
            f"{row['elpd_diff']:.1f} ± {row['diff_se']:.1f}"
            if not np.isnan(row["elpd_diff"])
            else "",
            *([cell(row, "log_score", "{:.3f}".format)] if scored else []),
            with_interval(row, "a", "{:.2f}".format)
            if "a" in row and not np.isnan(row["a"])
            else "",
            cell(row, f"P(a > {LARGE})", "{:.2f}".format),
            cell(row, "E", "{:.2f}".format),
        )
        for name, row in frame.iterrows()
    )
    header = (
        "law",
        "weight",
        "log predictive density - best",
        *(["rollout log score"] if scored else []),
        "a in N* ~ C^a",
        f"P(a > {LARGE})",
        f"E ({unit})" if unit else "E",
    )
    return Table(f"Laws compared: a is median ({in_words(prob, kind)})", header, rows, (LEFT_OUT,))


def claims(result: Hypotheses, ci_prob: float | None = None) -> Table:
    """A row for each claim on which the laws differ, with its probability."""
    rows = [(f"P({what})", f"{p:.2f}") for what, p in result.probabilities.items()]
    if "skaling" in result.fits:
        q = result.fits["skaling"].parameters()["q"]
        low, high = (float(v) for v in interval(q, ci_prob))
        rows += [
            (
                "q of skaling (1: Hoffmann et al., about 0.1: Kaplan et al.)",
                f"{float(q.median()):.2f} ({low:.2f} to {high:.2f})",
            )
        ]
    if not np.isnan(result.q_density_ratio):
        ratio = result.q_density_ratio
        rows.append(
            (
                "posterior / prior density at q = 1",
                f"{ratio:.2g}" if ratio > RARE else f"less than {RARE:g}",
            )
        )
    return Table("Claims", ("claim", "result"), tuple(rows))


def _place(column: str, value) -> str:
    if column == "C":
        return format_flop(value)
    return format_count(value) if isinstance(value, (float, np.floating)) else str(value)


def with_interval(row: pd.Series, name: str, write=format_loss) -> str:
    """A cell with the median and the interval of a quantity in a row of a summary."""
    at = list(row.index).index(name)
    return f"{write(row.iloc[at])} ({write(row.iloc[at + 1])} to {write(row.iloc[at + 2])})"

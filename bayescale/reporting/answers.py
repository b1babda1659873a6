"""The tables, answers and cautions of a report."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from bayescale.costs import Cost, read_budgets
from bayescale.decisions import Speedup, speedup
from bayescale.errors import ConvergenceWarning, ExtrapolationWarning, LawError
from bayescale.forecasting import (
    FURTHER,
    Allocation,
    Average,
    Forecast,
    allocate,
    beyond_in_words,
    beyond_largest,
    distances,
    example_of,
    fits_of,
    follows_from_budget,
    forecast,
    group_labels_in_words,
    losses_by_law,
    main_reason,
    splits_budgets,
)
from bayescale.keywords import assigned, on_command_line
from bayescale.model import NEW, Fit
from bayescale.reporting import tables
from bayescale.reporting.choices import Decisions, answered_group, compared_recipes, decisions
from bayescale.units import format_count, format_flop, grid, times_in_words

MOST_GROUPS = 12  # largest number of groups in the tables of forecasts and allocations
MOST_LINES = 4  # largest number of groups that have a line each below the answer
ELSEWHERE = "Parameters of the other laws: on the page of `report`, or by --csv of `fit`."
#: Multiples of the largest run's compute that are forecast if no budgets are given.
MULTIPLES = (3, 10, 30)
#: Tokens per parameter of Hoffmann et al. 2022, and a factor far from it.
RULE_OF_THUMB, FAR_FROM_RULE = 20.0, 2.0
#: A run in between may cost this share of the largest budget, and is of use if it has this multiple
#: of the compute of the largest fitted run.
TRIAL_SHARE, TRIAL_BEYOND = 0.1, 1.5


@dataclass(frozen=True)
class Findings:
    """The tables of a report, its answers and its cautions.

    Attributes
    ----------
    laws, forecasts : Table or None
    posteriors, allocations : sequence of Table
    answers : tuple of str
        The bottom line in two sentences: what to train and what it would reach, and the main
        reason for doubt.
    next_step : str
    notes : tuple of str
    budgets : tuple of float
        In FLOP.
    results : tuple of Forecast and Allocation
        What the tables show, one of each for every group.
    decisions : Decisions
        Costs of the budgets, compute multipliers of the groups, and runs to train next.
    ci_prob : float, optional
        Probability of all intervals.
    group : mapping of str to str or None
        The group that the answer is about: that of the largest run, unless another one has the
        lowest loss at the largest budget with more than 90 % probability. None without groups.
    each : tuple of str
        A line for each budget, if several were asked for: `answers` is about the largest. Then a
        line for each other group, if there are at most 4.
    difference : str
        How far the laws of an average differ at the largest budget that was asked for.
    """

    laws: tables.Table | None
    posteriors: tuple[tables.Table, ...]
    forecasts: tables.Table | None
    allocations: tuple[tables.Table, ...]
    answers: tuple[str, ...]
    next_step: str
    notes: tuple[str, ...] = field(default=())
    budgets: tuple[float, ...] = ()
    results: tuple[Forecast | Allocation, ...] = ()
    decisions: Decisions = field(default_factory=Decisions)
    ci_prob: float | None = None
    group: Mapping[str, str] | None = None
    each: tuple[str, ...] = ()
    difference: str = ""

    @property
    def tables(self) -> list[tables.Table]:
        """All tables: forecasts, allocations, decisions, laws, parameters of the heaviest law."""
        decided, parameters = self.decisions.tables(self.ci_prob), self.posteriors[:1]
        if len(self.posteriors) > 1:
            parameters = (replace(parameters[0], notes=(ELSEWHERE,)),)
        listed = self.forecasts, *self.allocations, *decided, self.laws, *parameters
        return [table for table in listed if table is not None]

    def numbers(self) -> pd.DataFrame:
        """The summaries of all forecasts and allocations in one table, numbers not rounded."""
        parts = []
        for result in self.results:
            kind = "forecast" if isinstance(result, Forecast) else "allocation"
            frame = pd.DataFrame(result.summary())
            if kind == "allocation":
                frame = frame.assign(**result.labels)
            frame.insert(0, "result", kind)
            parts.append(frame)
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def findings(
    fit: Fit | Average,
    budgets: Sequence[float | str] | None = (),
    ci_prob: float | None = None,
    cost: Cost | None = None,
) -> Findings:
    """The tables of a fit: its parameters, and forecasts and allocations for the budgets.

    Parameters
    ----------
    fit : Fit or Average
        The table of an average lists its laws. Forecasts and allocations are of the mixture.
    budgets : sequence of float or str, optional
        In FLOP, or in any unit that `bayescale.as_flops` reads. None stands for 3, 10 and 30 times
        the compute of the largest run.
    ci_prob : float, optional
        Probability of all intervals; 90 % by default.
    cost : Cost, optional

    Returns
    -------
    Findings
        Warnings are not raised; their messages are in ``notes``, except those about convergence,
        because the check of the fit is shown with the tables.
    """
    budgeted = follows_from_budget(fit)
    chosen, remark = _budgets(fit, budgets, budgeted)
    asked, flop = budgets is not None, np.array([])
    if len(chosen):
        flop = read_budgets(chosen, cost, flop_factor=fit.runs.flop_factor).flop
        order = np.argsort(flop, kind="stable")
        chosen, flop = [chosen[i] for i in order], flop[order]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ahead: list[Forecast] = []
        splits: list[Allocation] = []
        groups = [m or None for m in fit.members()[:MOST_GROUPS]]
        if len(chosen) and budgeted:
            ahead = [
                forecast(fit, C=chosen, group=g, cost=cost, random_seed=fit.random_seed)
                for g in groups
            ]
        if len(chosen) and splits_budgets(fit):
            try:
                splits = [allocate(fit, chosen, group=g, cost=cost) for g in groups]
            except LawError as error:
                warnings.warn(str(error))
        laws = tables.laws(fit) if isinstance(fit, Average) else None
        posteriors = tables.posteriors(fit, ci_prob)
        recipes = compared_recipes(fit, flop if ahead or splits else flop[:0])
        group, whose = answered_group(fit, main_group(fit), recipes[0])
        if asked and len(chosen) and not budgeted:
            answer, reasons, doubt = _unanswered(fit), (), ""
        else:
            answer, reasons = _answer(fit, group, ahead, splits, ci_prob)
            doubt = main_reason(reasons)
        each = _each(group, ahead, splits, ci_prob) if asked and len(chosen) > 1 else ()
        if each:
            whose = f"This is the answer for the largest of {len(each)} budgets. {whose}".strip()
        each += _other_groups(fit, group, ahead, splits, ci_prob)
        forecasts = tables.forecasts(ahead, ci_prob) if ahead else None
        decided = Decisions(not_compared=recipes[1])
        if ahead or splits:
            decided = decisions(fit, flop, ahead, splits, recipes, group, cost, asked)
        allocations = tuple(tables.allocations(splits, ci_prob)) if splits else ()
    elsewhere = (ConvergenceWarning, ExtrapolationWarning)
    warned = [str(w.message) for w in caught if not issubclass(w.category, elsewhere)]
    distant = _distant(fit, ahead)
    of_one = {text for result in ahead for text in _distant(fit, [result])}
    checked = {f.text for f in fit.check().findings}
    more = [r for r in reasons[1:] if r not in of_one and not any(t in r for t in checked)]
    lacking = [fit.runs.lacking] if fit.runs.lacking else []
    if "the compute of the largest" in doubt:  # one point is the run of the answer
        distant = [text for text in distant if not text.startswith("1 point ")]
    notes = dict.fromkeys([*remark, *lacking, *warned, *distant, *more, *_unusual_ratio(splits)])
    return Findings(
        laws,
        posteriors,
        forecasts,
        allocations,
        (f"{answer.removesuffix(doubt).strip()} {whose}".strip(), doubt),
        _next_step(fit, group, ahead, decided, ci_prob, asked),
        tuple(notes),
        tuple(flop.tolist()),
        (*ahead, *splits),
        decided,
        ci_prob,
        group,
        each,
        _difference(fit, group, ahead),
    )


def _unanswered(fit: Fit | Average) -> str:
    """Why budgets have no answer, and how to ask instead."""
    table = fit.runs.table
    given = " ".join(assigned(c, example_of(table, c)) for c in fit.law.columns if c in table)
    ask = f"`bayescale forecast fit.nc {given}`" if on_command_line() else f"forecast, with {given}"
    return (
        f"No losses are forecast for these budgets: {fit.law.name} is a function of "
        f"{', '.join(fit.law.columns)}, which do not follow from a budget in FLOP. Ask {ask}."
    )


def _each(group, ahead, splits, ci_prob) -> tuple[str, ...]:
    """A line for each budget: what to train, and the loss of a new run."""
    labels = group or {}
    for result in (*splits, *ahead):
        split = isinstance(result, Allocation)
        if (result.labels if split else _labels(result)) != labels:
            continue
        N, D, loss = ("N_decision", "D_decision", "loss_new_run") if split else ("N", "D", "loss")
        lines = []
        for _, row in pd.DataFrame(result.summary(ci_prob)).iterrows():
            size = ""
            if N in row and D in row:
                size = f"{format_count(row[N])} parameters on {format_count(row[D])} tokens, "
            reached = tables.with_interval(row, loss)
            lines.append(f"{format_flop(row['C'])} FLOP: {size}loss {reached}")
        return tuple(lines)
    return ()


def _other_groups(fit, group, ahead, splits, ci_prob) -> tuple[str, ...]:
    """A line for each group that `answers` is not about, at the largest budget, if they are few."""
    members = [m for m in fit.members() if m]
    if not 1 < len(members) <= MOST_LINES:
        return ()
    return tuple(
        f"{', '.join(m.values())}: {line}"
        for m in members
        if m != group
        for line in _each(m, ahead, splits, ci_prob)[-1:]
    )


def _difference(fit: Fit | Average, group, ahead: Sequence[Forecast]) -> str:
    """How far the laws of an average differ at the largest budget, as a sentence."""
    if not isinstance(fit, Average) or len(fit.counted) == 1 or not ahead:
        return ""
    data = next((a.data for a in ahead if _labels(a) == (group or {})), ahead[0].data)
    place = {c: data[c].to_numpy() for c in ("N", "D", "C") if c in data.coords}
    last = int(np.argmax(place["C"]))
    expected = {k: float(v[last]) for k, v in losses_by_law(fit.counted, place, group).items()}
    listed = ", ".join(f"{loss:.4g} ({name})" for name, loss in expected.items())
    spread = max(expected.values()) / min(expected.values()) - 1
    return (
        f"At {format_flop(float(place['C'][last]))} FLOP{group_labels_in_words(group)} the laws "
        f"expect a loss of {listed}: they differ by {100 * spread:.1f} %."
    )


def _distant(fit: Fit | Average, ahead: Sequence[Forecast]) -> list[str]:
    """Sentences about all points of these forecasts that are far from the runs."""
    if not ahead:
        return []
    names = [c for c in dict.fromkeys(("N", "D", "C", *fit.law.columns)) if c in ahead[0].data]
    return distances(fit, {c: np.concatenate([a.data[c].to_numpy() for a in ahead]) for c in names})


def allocation_curve(
    fit: Fit | Average,
    budgets: Sequence[float],
    group,
    given: Mapping[str, object] | None = None,
) -> Allocation:
    """The allocation over a range of budgets, for plots: from the median run to the largest.

    With a serving demand, or with given N or models, the curve begins at a tenth of the smallest
    budget.
    """
    given = dict(given or {})
    low = float(fit.runs.table["C"].median())
    if {"serve", "N", "models"} & set(given):
        low = min(budgets) / 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        return allocate(fit, grid(low, max(*budgets, 10 * low), 30), group=group, **given)


def speedup_curve(result: Speedup, fit: Fit | Average, settings: Mapping) -> Speedup:
    """The comparison over a range, for plots: from the smallest run to the points of the result.

    The range is of target losses if these were given: down to the lowest from 15 % above it.

    Parameters
    ----------
    result : Speedup
    fit : Fit or Average
    settings : mapping
        The other arguments of `bayescale.speedup`.
    """
    target = result.data["target"].to_numpy()
    if np.isfinite(target).all():
        losses = np.geomspace(target.min(), max(1.15 * target.min(), target.max()), 20)
        place = {"loss": losses}
    else:
        runs = fit.runs.table[result.scale]
        last = max(float(runs.max()), *result.data["at"].to_numpy().tolist())
        place = {"at": grid(float(runs.min()), last, 30)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        return speedup(fit, **place, **settings)


def main_group(fit: Fit | Average) -> dict[str, str] | None:
    """The group of the largest run; None without groups."""
    if not fit.groups:
        return None
    first = next(iter(fits_of(fit).values()))
    return beyond_largest(first)[1]


def _budgets(fit, budgets, budgeted: bool) -> tuple[list[float], list[str]]:
    """The budgets to forecast, and a remark if they were chosen."""
    if budgets is not None:
        single = isinstance(budgets, str) or np.ndim(budgets) == 0
        return [budgets] if single else list(budgets), []
    if not budgeted or "C" not in fit.runs:
        return [], []
    largest = float(fit.runs.table["C"].max())
    listed = ", ".join(map(str, MULTIPLES[:-1])) + f" and {MULTIPLES[-1]}"
    remark = (
        f"no budgets were given: forecasts are for {listed} times the compute of the largest run "
        f"({format_flop(largest)} FLOP); {assigned('C', '1e22')} gives others, also in dollars "
        "('$5k')"
    )
    return [multiple * largest for multiple in MULTIPLES], [remark]


def _answer(fit, group, ahead, splits, ci_prob) -> tuple[str, tuple[str, ...]]:
    """The bottom line, and all reasons for doubt, about one group."""
    for results in (splits, ahead):
        for result in results:
            labels = result.labels if isinstance(result, Allocation) else _labels(result)
            if labels == (group or {}):
                return result.bottom_line(ci_prob), result.cautions(ci_prob)
    if isinstance(fit, Average):
        return fit.bottom_line(ci_prob), fit.cautions(ci_prob)
    place, group = beyond_largest(fit)
    result = forecast(fit, **place, group=group or None)
    return result.bottom_line(ci_prob), result.cautions(ci_prob)


def _labels(result: Forecast) -> dict[str, str]:
    return {g: str(result.data[g].to_numpy()[0]) for g in result.fit.groups}


def _next_step(
    fit: Fit | Average, group, ahead: list[Forecast], decided: Decisions, ci_prob, asked: bool
) -> str:
    """What to do before relying on the answer.

    The runs to train are those that `suggest` chooses, or without them one run between the largest
    one and the largest budget, which costs at most a tenth of it. Without budgets that were asked
    for, no run is proposed.
    """
    failed = [f for f in fit.check().problems if f.level == "failed"]
    if failed:
        remedy = f": {failed[0].remedy}" if failed[0].remedy else ""
        return f"Do not use these numbers. First mend the fit{remedy}."
    if not ahead or "C" not in fit.runs:
        return ""
    largest = float(fit.runs.table["C"].max())
    most = float(np.max(ahead[0].data["C"]))
    if most <= 1.01 * MULTIPLES[0] * largest:
        return "Train the run, and compare its loss with the forecast interval."
    if not asked:
        return (
            f"Name the budget that you plan to spend ({assigned('C', '1e22')}, or dollars as in "
            "'$5k'): the report then says which smaller runs narrow its forecast."
        )
    suggested = decided.suggestion
    trial = min(float(np.sqrt(most * largest)), TRIAL_SHARE * most)
    if suggested is None and trial < TRIAL_BEYOND * largest:
        return (
            "No cheap run tells much about the largest budget: a run of a tenth of it lies hardly "
            "beyond the fitted runs. Train the run, and compare its loss with the forecast "
            "interval."
        )
    place: dict[str, float] = {"C": trial}
    if suggested is not None:
        first = suggested.runs.loc[suggested.runs["cost"].idxmax()]
        place = {c: float(first[c]) for c in "ND"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # given for the forecasts of the budgets
        test = forecast(fit, **place, group=group, random_seed=fit.random_seed)
        row = tables.forecasts([test], ci_prob)
    loss = row.rows[0][row.header.index("loss of a new run")]
    spent = trial if suggested is None else float(suggested.runs["total_cost"].iloc[-1])
    price = decided.price(spent, fit.runs.flop_factor)
    price = f"; {price}" if price else ""
    size = ""
    if "N" in test.data.coords:
        size = "{} parameters on {} tokens".format(*(format_count(test.data[c][0]) for c in "ND"))
    times = float(test.data["C"][0]) / largest
    beyond = f" It has {beyond_in_words(times)}." if times >= FURTHER else ""
    speaks = f"is {loss}: a loss outside this interval speaks against the larger forecasts"
    if suggested is None:
        return (
            "Before spending the largest budget, train one run in between "
            f"({size}{', ' if size else ''}{format_flop(trial)} FLOP{price}). The forecast for it "
            f"{speaks}, and a loss inside it narrows them.{beyond}"
        )
    number = len(suggested.runs)
    which = size if number == 1 else f"the largest of them, {size},"
    return (
        "Before spending the largest budget, train the "
        f"{'run' if number == 1 else f'{number} runs'} under 'Runs to train next' "
        f"({format_flop(spent)} FLOP in all{price}), and fit again. The forecast for {which} "
        f"{speaks}.{beyond}"
    )


def _unusual_ratio(splits: list[Allocation]) -> list[str]:
    """A remark if the optimal tokens per parameter are far from the rule of 20."""
    ratios = [(s.data["D_decision"] / s.data["N_decision"]).to_numpy() for s in splits]
    far = [np.abs(np.log(r / RULE_OF_THUMB)) > np.log(FAR_FROM_RULE) for r in ratios]
    off = np.concatenate([r[f] for r, f in zip(ratios, far, strict=True)] or [np.array([])])
    if not off.size:
        return []
    low, high = times_in_words(off.min()), times_in_words(off.max())
    span = low if low == high else f"{low} to {high}"
    names = [
        s.group.removeprefix(" for ") or NEW for s, f in zip(splits, far, strict=True) if f.any()
    ]
    whose = f" ({', '.join(names)})" if len(splits) > 1 else ""
    return [
        f"the optimum has {span} tokens per parameter{whose}, where Hoffmann et al. (2022) found "
        f"about {RULE_OF_THUMB:g}: other data, tokenizers and ways of counting parameters and FLOP "
        "change this ratio, and it is uncertain if N and D vary little in the table"
    ]

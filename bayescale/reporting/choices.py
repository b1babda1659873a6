"""What a report says about decisions: costs, compute multipliers, and the next runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayescale.costs import Bill, Cost
from bayescale.decisions import Speedup, Suggestion, speedup, suggest
from bayescale.errors import BayescaleError
from bayescale.forecasting import Allocation, Average, Forecast, main_reason
from bayescale.intervals import defaults
from bayescale.model import Fit
from bayescale.reporting import decision_tables
from bayescale.reporting.sections import Section
from bayescale.text_tables import as_sentence
from bayescale.units import format_count, format_flop

#: Share of the largest budget that further small runs may cost.
SMALL_RUNS = 0.05
#: Candidates: steps of compute down from that share by `STEP`, and ratios of tokens to parameters
#: relative to the best one.
STEPS, STEP, RATIOS = 8, 3.0, (0.25, 1.0, 4.0)
#: Largest number of recipes that are compared.
MOST_RECIPES = 6
#: A group that is the best with a larger probability is the one that a report answers for.
SURELY_BEST = 0.9


@dataclass(frozen=True)
class Decisions:
    """Costs of the budgets, compute multipliers of the recipes, and the next runs; None or empty
    where a question does not arise. If recipes cannot be compared, a sentence says why."""

    bill: Bill | None = None
    speedups: tuple[Speedup, ...] = ()
    not_compared: str = ""
    suggestion: Suggestion | None = None

    def tables(self, ci_prob: float | None = None) -> list[decision_tables.Table]:
        """The tables of all results."""
        out = []
        if self.bill is not None:
            out.append(decision_tables.costs(self.bill, ci_prob))
        if self.speedups:
            out.append(decision_tables.multipliers(self.speedups, ci_prob))
        if self.suggestion is not None:
            out.append(decision_tables.suggestions(self.suggestion, ci_prob))
        return out

    def sections(self, ci_prob: float | None = None) -> list[Section]:
        """The sections of the page; each begins with its finding."""
        prob, _ = defaults(ci_prob)
        out = []
        if self.bill is not None:
            out.append(
                Section(
                    "What the budgets cost",
                    f"{self.bill.bottom_line(prob)} This is one run, without the experiments "
                    "before it. The sources of the figures are in the appendix.",
                    [decision_tables.costs(self.bill, prob)],
                )
            )
        if self.speedups:
            middle = [float(s.data["multiplier"].isel(point=-1).median()) for s in self.speedups]
            worst = self.speedups[int(np.argmax(middle))]
            out.append(
                Section(
                    "Which recipe is better",
                    f"{_answer(worst, prob)} {same_order(self.speedups)} A multiplier of 2 means "
                    "that a recipe needs twice the compute for the same loss. Groups are compared "
                    "as recipes, which assumes that all losses were measured on the same text.",
                    [decision_tables.multipliers(self.speedups, prob)],
                )
            )
        elif self.not_compared:
            out.append(Section("Which recipe is better", self.not_compared))
        if self.suggestion is not None:
            spent = format_flop(SMALL_RUNS * float(self.suggestion.ahead["C"][0]))
            out.append(
                Section(
                    "Runs to train next",
                    f"{_answer(self.suggestion, prob)} The target is the run of the largest "
                    f"budget. The small runs may cost {100 * SMALL_RUNS:g} % of it ({spent} FLOP).",
                    [decision_tables.suggestions(self.suggestion, prob)],
                )
            )
        return out

    def sources(self) -> list[Section]:
        """The sources of the figures behind costs, for the appendix."""
        if self.bill is None:
            return []
        assumed = self.bill.cost.assumptions()
        figures = "; ".join(f"{name}: {source}" for name, source in assumed["source"].items())
        return [Section("Figures behind the costs", as_sentence(figures))]

    def price(self, C: float, flop_factor: float) -> str:
        """What a run costs, as a phrase; empty without a cost."""
        if self.bill is None:
            return ""
        data = self.bill.cost.of(C, flop_factor=flop_factor).data
        money = ""
        if "dollars" in data:
            money = f", ${_short(float(data['dollars'].median()))}"
        hours = _short(float(data["hours"].median()))
        return f"about {hours} {self.bill.cost.hardware} hours{money}"


def decisions(
    fit: Fit | Average,
    budgets: np.ndarray,
    ahead: Sequence[Forecast],
    splits: Sequence[Allocation],
    recipes: tuple[tuple[Speedup, ...], str],
    group: dict[str, str] | None,
    cost: Cost | None,
    asked: bool,
) -> Decisions:
    """Costs and next runs for the budgets of a report, with its compute multipliers.

    Parameters
    ----------
    fit : Fit or Average
    budgets : numpy.ndarray
        In FLOP.
    ahead, splits : sequence of Forecast and of Allocation
        Those of the budgets, in one order of groups.
    recipes : tuple
        From `compared_recipes`.
    group : dict or None
        The group that the answer is about.
    cost : Cost, optional
        An H100 by default.
    asked : bool
        Whether the user gave the budgets: only then are runs suggested.
    """
    factor = fit.runs.flop_factor
    bill = (cost or Cost()).of(budgets, flop_factor=factor) if len(budgets) else None
    suggestion = None
    if asked and ahead and splits:
        labels = group or {}
        place = next((i for i, s in enumerate(splits) if s.labels == labels), 0)
        suggestion = _next_runs(fit, ahead[place], splits[place], group)
    return Decisions(bill, *recipes, suggestion)


def compared_recipes(fit: Fit | Average, budgets: np.ndarray) -> tuple[tuple[Speedup, ...], str]:
    """The multiplier of each recipe over the best one, which is the best at the largest budget.

    Parameters
    ----------
    fit : Fit or Average
    budgets : numpy.ndarray
        In FLOP.

    Returns
    -------
    speedups : tuple of Speedup
        At the largest compute that all recipes have runs of, and at the largest budget if that is
        larger. Empty if they are not compared.
    why_not : str
        Why several groups are not compared; else empty.
    """
    members = [m for m in fit.members() if m]
    if len(members) < 2:
        return (), ""
    if len(members) > MOST_RECIPES:
        return (), _not_compared(
            f"there are {len(members)}, and at most {MOST_RECIPES} are compared here; `speedup` "
            "compares two of them"
        )
    if "C" not in fit.runs or not len(budgets):
        return (), _not_compared("no compute is known at which to compare them")
    labels = [fit.runs.table[g].astype(str) for g in fit.groups]
    common = float(fit.runs.table["C"].groupby(labels).max().min())
    at = [common, *([float(max(budgets))] if max(budgets) > common else [])]
    settings = dict(at=at, random_seed=fit.random_seed)
    try:
        first = speedup(fit, members[0], over=members[1], **settings)
        names = {", ".join(m.values()): m for m in members}
        best = first.best.tail(len(members)).set_index("group")["p_best"].idxmax()
        found = tuple(
            speedup(fit, names[best], over=member, **settings)
            for name, member in names.items()
            if name != best
        )
    except BayescaleError as error:
        return (), _not_compared(str(error))
    return found, ""


def _not_compared(reason: str) -> str:
    return f"The groups are not compared as recipes: {reason.rstrip('.')}."


def answered_group(
    fit: Fit | Average, largest: dict[str, str] | None, speedups: Sequence[Speedup]
) -> tuple[dict[str, str] | None, str]:
    """The group that a report answers for, and a sentence that says why.

    Parameters
    ----------
    fit : Fit or Average
    largest : dict or None
        The group of the largest run; None without groups.
    speedups : sequence of Speedup
        From `compared_recipes`.

    Returns
    -------
    tuple
        The group of the largest run, unless another one has the lowest expected loss at the largest
        budget with a probability of more than 90 %; and a sentence, empty without several groups.
    """
    members = [m for m in fit.members() if m]
    if largest is None or len(members) < 2:
        return largest, ""
    main = ", ".join(largest.values())
    if not speedups:
        return largest, f"The answer is for {main}, the group of the largest run."
    last = speedups[0].best.tail(len(members))
    chances = last.set_index("group")["p_best"].sort_values(ascending=False)
    best, chance = chances.index[0], float(chances.iloc[0])
    where = f"{format_flop(float(last['at'].iloc[0]))} FLOP"
    if chance <= SURELY_BEST:
        listed = ", ".join(f"{name} {100 * p:.0f} %" for name, p in chances.items())
        return largest, (
            f"The answer is for {main}, the group of the largest run, because no group is the best "
            f"at {where} with more than {100 * SURELY_BEST:g} % probability ({listed})."
        )
    if best == main:
        return largest, (
            f"The answer is for {main}, the group of the largest run, which also has the lowest "
            f"loss at {where} with {100 * chance:.0f} % probability."
        )
    group = next(m for m in members if ", ".join(m.values()) == best)
    return group, (
        f"The answer is for {best}, because this group has the lowest loss at {where} with "
        f"{100 * chance:.0f} % probability, if the losses of all groups are of the same text; the "
        f"largest run is of {main}."
    )


def same_order(speedups: Sequence[Speedup]) -> str:
    """A sentence: how probable it is that recipes have the same order at the largest budget.

    Curves may cross between the runs and the budget. Empty if the runs reach the budget.
    """
    sizes = {s.data.sizes["point"] for s in speedups}
    if sizes != {2}:
        return ""
    runs, ahead = (format_flop(float(v)) for v in speedups[0].data["at"].to_numpy())
    parts = []
    for result in speedups:
        better = (result.data["difference"] > 0).to_numpy().reshape(-1, 2)
        kept = 100 * float((better[:, 0] == better[:, 1]).mean())
        parts.append(f"{kept:.0f} % ({result.name} and {result.over})")
    return (
        f"The runs compare the recipes up to {runs} FLOP. Curves may cross beyond; the probability "
        f"that the order is the same at {ahead} FLOP is {', '.join(parts)}."
    )


def _next_runs(fit: Fit | Average, ahead: Forecast, split: Allocation, group) -> Suggestion | None:
    """The small runs that narrow the forecast of the largest budget most, if there are any."""
    last = int(np.argmax(split.data["C"].to_numpy()))
    N, D, C = (float(split.data[c][last]) for c in ("N_decision", "D_decision", "C"))
    table, factor = fit.runs.table, fit.runs.flop_factor
    compute = SMALL_RUNS * C / STEP ** np.arange(STEPS)
    compute = compute[compute > float(table["C"].median()) / 10]
    product, ratio = (a.ravel() for a in np.meshgrid(compute / factor, D / N * np.array(RATIOS)))
    candidates = pd.DataFrame({"N": np.sqrt(product / ratio), "D": np.sqrt(product * ratio)})
    # Models far smaller or larger than those known are no guide.
    known = candidates["N"].between(table["N"].min() / 3, N)
    if not known.any():
        return None
    target = replace(ahead, data=ahead.data.isel(point=[last]))  # with the draws that are shown
    try:
        found = suggest(
            fit,
            candidates[known].assign(**(group or {})),
            target=target,
            budget=SMALL_RUNS * C * (1 + 1e-9),
            number=5,
        )
    except BayescaleError:  # laws that need further columns
        return None
    return found if len(found.runs) else None


def _answer(result: Speedup | Suggestion, prob: float) -> str:
    """The answer without the main reason for doubt, which the page has once."""
    text = result.bottom_line(prob)
    return text.removesuffix(main_reason(result.cautions(prob))).strip()


def _short(value: float) -> str:
    return format_count(float(f"{value:.2g}"))

"""Sentences that answer a question: what a run would reach, and what to train."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

import xarray as xr

from bayescale.intervals import defaults, interval
from bayescale.model import NEW
from bayescale.units import format_count, format_flop, format_loss, times_in_words


def run_in_words(place: Mapping[str, float]) -> str:
    """The size of a run: ``70B parameters on 1.4T tokens (5.88e23 FLOP)``."""
    rest = {c: v for c, v in place.items() if c not in ("N", "D", "C")}
    parts = []
    if "N" in place and "D" in place:
        parts.append(
            f"{format_count(place['N'])} parameters on {format_count(place['D'])} tokens"
            + (f" ({format_flop(place['C'])} FLOP)" if "C" in place else "")
        )
    else:
        units = {"N": "parameters", "D": "tokens"}
        parts += [f"{format_count(place[c])} {unit}" for c, unit in units.items() if c in place]
        parts += [f"{format_flop(place['C'])} FLOP"] if "C" in place else []
    parts += [f"{c} {value:.4g}" for c, value in rest.items()]
    return ", ".join(parts)


def group_labels_in_words(group: Mapping[str, str] | None) -> str:
    """A phrase such as `` for c4``; empty without groups.

    A fitted group that is called new is named with its column, because a new group has no runs.
    """
    if not group:
        return ""
    return f" for {', '.join(_label_in_words(g, str(label)) for g, label in group.items())}"


def _label_in_words(column: str, label: str) -> str:
    if label == NEW:
        return f"a new {column}"
    return f"the {column} called {label!r}" if re.search(r"\bnew\b", label, re.I) else label


def interval_in_words(draws: xr.DataArray, ci_prob: float | None = None, write=format_loss) -> str:
    """``2.134, with 90 % probability between 2.021 and 2.254``."""
    prob, _ = defaults(ci_prob)
    low, high = (float(bound) for bound in interval(draws, prob))
    middle = float(draws.median(("chain", "draw")))
    return (
        f"{write(middle)}, with {100 * prob:g} % probability between {write(low)} and {write(high)}"
    )


def answer_of_run(
    subject: str,
    place: Mapping[str, float],
    group: Mapping[str, str] | None,
    loss: xr.DataArray,
    ci_prob: float | None = None,
) -> str:
    """One sentence: the loss that a run would reach, with its interval.

    Parameters
    ----------
    subject : str
        Such as ``"A run of {}"``, with braces in place of the size of the run.
    place : mapping of str to float
    group : mapping of str to str, optional
    loss : xarray.DataArray
        Draws of the measured loss of a new run; dims (chain, draw).
    ci_prob : float, optional
    """
    run = f"{run_in_words(place)}{group_labels_in_words(group)}"
    return f"{subject.format(run)} would reach a loss of {interval_in_words(loss, ci_prob)}."


def answer_html(answer: str, table: str, cautions: Sequence[str]) -> str:
    """An answer, a table and further cautions as HTML for notebooks."""
    listed = "".join(f"<li>{escape(caution)}</li>" for caution in cautions)
    more = f"<p>Further cautions:</p><ul>{listed}</ul>" if listed else ""
    return f"<p><strong>{escape(answer)}</strong></p>{table}{more}"


def allocation_in_words(
    data: xr.Dataset, given: Mapping[str, object], group: str, ci_prob: float | None = None
) -> str:
    """One sentence: what to train with one budget, or for one target loss, and what it reaches.

    Parameters
    ----------
    data : xarray.Dataset
        The data of an allocation at one budget; dims (chain, draw).
    given : mapping
        As in `bayescale.Allocation`.
    group : str
        A phrase such as `` for c4``.
    ci_prob : float, optional
    """
    prob, _ = defaults(ci_prob)
    low, high = (format_count(float(v)) for v in interval(data["N"], prob))
    N, D, C = (float(data[c]) for c in ("N_decision", "D_decision", "C"))
    served = ""
    if "serve" in given:
        served = f" in all, for training and for serving {format_count(given['serve'])} tokens"
    budget = f"{format_flop(C)} FLOP{served}"
    run = f"train {format_count(N)} parameters on {format_count(D)} tokens"
    if "unique" in given:
        run += (
            f", {D / given['unique']:.3g} epochs of {format_count(given['unique'])} unique tokens"
        )
    optimum = f"optimal N {low} to {high}, {100 * prob:g} %"
    loss = interval_in_words(data["loss_new_run"], prob)
    if "probability" in data.coords:
        goal = f"To reach a loss of {float(data['target']):g}{group} with a probability of"
        chance = 100 * float(data["probability"])
        return f"{goal} {chance:g} %, {run}, with {budget} ({optimum}){_price(data, given)}."
    answer = f"With {budget}{group}, {run} ({optimum}){_price(data, given)}: a run would reach "
    answer += f"a loss of {loss}"
    if "target" in data.coords:
        chance = float((data["loss_new_run"] <= data["target"]).mean())
        answer += (
            f". It reaches {float(data['target']):g} with a probability of {100 * chance:.0f} %"
        )
    return f"{answer}."


def probabilities_in_words(data: xr.Dataset, index: int) -> str:
    """A sentence with the compute that reaches the target of one row with other probabilities."""
    others = [
        i
        for i, target in enumerate(data["target"].to_numpy())
        if target == data["target"][index] and i != index
    ]
    if not others:
        return ""
    listed = " and ".join(
        f"{format_flop(float(data['C'][i]))} FLOP for {100 * float(data['probability'][i]):g} %"
        for i in others
    )
    return f" It takes {listed}."


def _price(data: xr.Dataset, given: Mapping[str, object]) -> str:
    """A clause with the price of a constraint; empty without one."""
    if "compute_price" not in data:
        return ""
    what = "this choice"
    if "smaller" in given:
        what = f"a model {given['smaller']:g} times smaller"
    regret = float((data["loss_decision"] - data["loss"]).mean())
    times = float(data["compute_price"].median())
    # The price has a largest value, which stands for all larger ones.
    compute = f"{times_in_words(times)} times the compute for the same loss"
    if times >= float(data["compute_price"].attrs["largest"]) * 0.99:
        compute = "more than any budget makes up for"
    return f"; {what} costs {regret:.2g} in loss, or {compute}"


def group_in_words(group: object) -> str:
    """A phrase that names the group, for headings; empty without a group."""
    if group is None:
        return ""
    return f" for {', '.join(map(str, group.values())) if isinstance(group, dict) else group}"

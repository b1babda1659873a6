"""Sentences that answer a question: what a run would reach, and what to train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import xarray as xr

from bayescale.intervals import defaults, interval
from bayescale.model import NEW
from bayescale.units import format_count, format_flop


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
    """A phrase such as `` for c4``; empty without groups."""
    if not group:
        return ""
    labels = [f"a new {g}" if label == NEW else str(label) for g, label in group.items()]
    return f" for {', '.join(labels)}"


def interval_in_words(
    draws: xr.DataArray, ci_prob: float | None = None, write="{:.3f}".format
) -> str:
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

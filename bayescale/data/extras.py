"""Further columns of runs that laws may need: unique tokens, experts, learning rates, others."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np

from bayescale.data import reading
from bayescale.data.names import _UNIT, MEANING, compact, recognise
from bayescale.data.numerals import unit_factor
from bayescale.units import counted

_NUMBER = r"(?:n|num|number|numberof|total)?"
#: By quantity: its meaning, and a pattern of its usual names, in lower case without spaces and
#: punctuation.
EXTRAS = {
    "S": ("S (optimiser steps)", r"optimi[sz]ersteps"),  # "steps" alone may count checkpoints
    "U": (
        "U (unique tokens)",
        rf"{_NUMBER}(?:u|(?:unique|distinct)(?:train|training|data)?"
        r"(?:tokens?|toks?|samples|examples|images)?)",
    ),
    "N_active": ("N_active (active parameters)", r"nactive"),
    "N_total": ("N_total (parameters with all experts)", r"ntotal"),
    "N_vocab": (
        "N_vocab (parameters of the vocabulary)",
        rf"{_NUMBER}(?:vocab|vocabulary|embedding)(?:params|parameters)|nvocab",
    ),
    "vocab": ("vocab (size of the vocabulary)", rf"{_NUMBER}vocab(?:ulary)?(?:size)?"),
    "experts": ("experts (number of experts)", rf"{_NUMBER}experts"),
    "granularity": ("granularity (of experts)", r"(?:expert)?granularity"),
    "lr": ("lr (learning rate)", r"(?:peak|max|base)?(?:lr|learningrate)"),
    "batch": (
        "batch (size of a batch)",
        r"(?:global|train)?batchsize(?:tokens|sequences)?|bs|batch|tokensperbatch",
    ),
    "S1": ("S1 (sum of the learning rates)", r"s1"),
    "annealed": ("annealed (1 + annealing area)", r"annealed"),
    "decayed": ("decayed (1 + reduction of the multi-power law)", r"decayed"),
    "bits": ("bits (of precision)", rf"{_NUMBER}(?:weight|train|training)?bits|bitwidth"),
    "streams": ("streams (in parallel)", rf"{_NUMBER}(?:parallel)?streams|parallelsize"),
    "finetune": (
        "finetune (examples or tokens of fine-tuning)",
        rf"{_NUMBER}(?:ft|finetune|finetuning|sft)(?:examples|samples|tokens|data(?:size)?)?",
    ),
}
MEANING.update({quantity: meaning for quantity, (meaning, _) in EXTRAS.items()})
#: Pairs of columns. In no run may the first exceed the second.
ORDERED = (("U", "D"), ("N_active", "N"), ("N", "N_total"), ("N_active", "N_total"))
#: Relative excess that counts as a rounding error.
ROUNDING = 1.01


def quantity_of(name: str) -> tuple[str | None, float, str]:
    """The further quantity that a name means, with the factor and the text of its unit.

    Examples
    --------
    >>> quantity_of("unique_tokens (B)")
    ('U', 1000000000.0, 'B')
    >>> quantity_of("learning_rate")[0], quantity_of("loss")[0]
    ('lr', None)
    """
    if name in EXTRAS:
        return name, 1.0, ""
    if recognise(name).quantity is not None:  # "total_params" is read as N_total by `found`
        return None, 1.0, ""
    bracket = "".join(re.findall(r"[(\[]([^)\]]*)[)\]]", name))
    word = compact(re.sub(r"[(\[][^)\]]*[)\]]", "", name))
    for quantity, (_, pattern) in EXTRAS.items():
        if match := re.fullmatch(rf"(?:{pattern})(?P<unit>{_UNIT})?", word):
            unit = bracket or match["unit"] or ""
            factor = unit_factor(unit) if unit else 1
            return (quantity, float(factor), unit) if factor else (None, 1.0, "")
    return None, 1.0, ""


def found(
    raw, sources: Mapping[str, reading.Source], taken: Collection[str]
) -> dict[str, reading.Source]:
    """Columns that hold further quantities, recognised by their names and by their values.

    A column is taken only if it is the only one of its name and all its values are positive
    numbers. Otherwise it remains a column of the table like any other.

    Parameters
    ----------
    raw : RawTable
    sources : mapping of str to Source
        The quantities that are known, some of them named by the user.
    taken : collection of str
        Columns with another meaning, such as those of groups.
    """
    used = {c for s in sources.values() for c, _ in s.factors} | set(taken)
    candidates: dict[str, list[reading.Source]] = {}
    for column in (c for c in map(str, raw.cells.columns) if c not in used):
        quantity, factor, unit = quantity_of(column)
        read = recognise(column)
        if read.quantity == "N" and "N" in sources:
            word = compact(column)
            quantity = "N_active" if "active" in word else "N_total" if "total" in word else None
            factor, unit = float(read.factor), read.unit
        if quantity is not None and quantity not in sources:
            source = reading.Source(column, ((column, 1),), factor, unit)
            candidates.setdefault(quantity, []).append(source)
    out = {}
    for quantity, (source, *others) in candidates.items():
        problems: list[str] = []
        if not others:
            reading.values_of(raw, quantity, source, problems)
            if not problems:
                out[quantity] = source
    return out


def checked(columns: dict[str, np.ndarray], named: Collection[str], raw):
    """Remove further columns that contradict the counts.

    Returns
    -------
    tuple of two lists of str
        Problems of columns that the user named, and notes on those that were recognised.
    """
    problems, notes = [], []
    for small, large in ORDERED:
        if not {small, large} <= set(columns):
            continue
        bad = np.asarray(columns[small]) > ROUNDING * np.asarray(columns[large])
        if not bad.any():
            continue
        extra = small if small in EXTRAS else large
        where = f"{counted(int(bad.sum()), 'row')} {raw.rows(bad)}"
        text = f"{MEANING[small]} exceeds {MEANING[large]} in {where}"
        if extra in named:
            problems.append(f"{text}: correct the values or the unit")
        else:
            columns.pop(extra)
            notes.append(f"{text}: {extra} is not used")
    return problems, notes

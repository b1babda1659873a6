"""Refusal of counts that look like a forgotten unit, such as 7 for 7B, or that no run has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import pandas as pd

from bayescale.data import MEANING, ORDERED, Runs
from bayescale.errors import FitError
from bayescale.keywords import argument, assigned, on_command_line
from bayescale.units import format_count, format_flop

#: Smaller counts are refused, unless the runs are of such a size themselves.
SMALLEST = {"N": 1e4, "D": 1e4, "C": 1e9}
UNITS = {"N": "parameters", "D": "tokens", "C": "FLOP"}
#: What columns and arguments count.
COUNTED = {
    **dict.fromkeys(("N", "N_active", "N_total", "models"), "N"),
    **dict.fromkeys(("D", "U", "unique_tokens", "unique", "serve"), "D"),
    **dict.fromkeys(("C", "at", "start"), "C"),
}
#: Share of the smallest run above which every count is allowed.
BELOW = 0.01
#: A suggested count is at most this multiple of that of the largest run.
ABOVE = 300.0
#: Relative excess that counts as a rounding error.
ROUNDING = 1.01
#: The largest number that is taken for a power of ten of FLOP.
LARGEST_POWER = 40


def refuse_unused(asked: Collection[str], columns: Collection[str], runs: Runs) -> None:
    """Raise an error if N, D or C was asked about, which neither the law nor the runs have.

    Two of the three may give the one that the law needs, and are used then.

    Parameters
    ----------
    asked : collection of str
        The columns that were given.
    columns : collection of str
        The columns of the laws.
    runs : Runs
        The runs that are or will be fitted.

    Raises
    ------
    FitError
        Naming each such column, and how to name it in the table of runs.
    """
    counts = [c for c in asked if c in "NDC"]
    if len(counts) > 1 and any(c in columns and c not in counts for c in "NDC"):
        return
    refuse_missing(
        [c for c in counts if c not in columns],
        runs,
        lambda name: f"which {argument(name)} asks about",
        lambda name: f", or leave {argument(name)} out",
    )


def refuse_missing(
    needed: Collection[str],
    runs: Runs,
    why: Callable[[str], str],
    otherwise: Callable[[str], str] = lambda _: "",
) -> None:
    """Raise an error if the runs lack a count, with the reason why it is needed.

    Parameters
    ----------
    needed : collection of str
        Of N, D and C.
    runs : Runs
    why : callable
        From the name of a count to the reason, as a clause.
    otherwise : callable
        From the name of a count to what may be done in place of naming its column.
    """
    where = "--columns {}=COLUMN" if on_command_line() else "{}='COLUMN' when the runs are read"
    problems = [
        f"no column holds {MEANING[name]}, {why(name)}: name it with {where.format(name)}"
        f"{otherwise(name)}"
        for name in needed
        if name not in runs
    ]
    if problems:
        raise FitError(problems)


def refuse_tiny(
    given: Mapping[str, np.ndarray], table: pd.DataFrame, prefix: str = "", derived=()
) -> None:
    """Raise an error if a count that was asked about is too small to be meant so.

    Parameters
    ----------
    given : mapping of str to numpy.ndarray
        Absolute counts by column or argument. Those that are not in `COUNTED` are not checked.
    table : pandas.DataFrame
        The runs that were fitted.
    prefix : str
        Before the names in messages: ``"target-"`` for the option ``--target-N``.
    derived : collection of str
        Columns that were computed from the others, and are named as such.

    Raises
    ------
    FitError
        Naming each count, what may be meant, and the smallest run.
    """
    problems = []
    for name, values in given.items():
        counted = COUNTED.get(name)
        if counted is None:
            continue
        runs = table[name] if name in table else table.get(counted)
        smallest = SMALLEST[counted]
        if runs is not None:
            smallest = min(smallest, BELOW * float(runs.min()))
        tiny = np.unique(np.asarray(values, float))
        tiny = tiny[tiny < smallest]
        if tiny.size:
            problems.append(_problem(name, tiny, counted, smallest, runs, prefix, name in derived))
    if problems:
        raise FitError(problems)


def refuse_disordered(place: Mapping[str, np.ndarray]) -> None:
    """Raise an error if a run has more parameters in use than in all.

    Parameters
    ----------
    place : mapping of str to numpy.ndarray
        Columns of the law; dims (point,).

    Raises
    ------
    FitError
        Naming both counts of the first such run.
    """
    for small, large in ORDERED:
        if not {small, large} <= set(place) or COUNTED[small] != "N":
            continue
        few, many = np.broadcast_arrays(place[small], place[large])
        if (bad := few > ROUNDING * many).any():
            raise FitError(
                f"{large} is {format_count(many[bad][0])} where {small} is "
                f"{format_count(few[bad][0])}: {large} counts all parameters and cannot be smaller "
                f"than {small}, which counts some of them; correct one of them"
            )


def _problem(name, tiny, counted, smallest, runs, prefix, is_derived) -> str:
    write = format_flop if counted == "C" else format_count
    shown = ", ".join(f"{value:.4g}" for value in tiny[:4])
    called = argument(name)
    if called.startswith("--"):
        called = f"--{prefix}{called[2:]}"
    else:
        called = f"{name} of the target" if prefix else name
    what = f"{called} is {shown}"
    if is_derived:
        what = f"{name} by C = 6ND would be {shown}"
    text = f"{what}: fewer than {write(smallest)} {UNITS[counted]}"
    if runs is not None:
        text += f", where the smallest fitted run has {write(float(runs.min()))}"
    if is_derived:
        return f"{text}; correct the counts that are given"
    likely = _likely(float(tiny[0]), counted, runs)
    if not likely:
        example = "1e22" if counted == "C" else "7B"
        return f"{text}; counts are absolute, such as {assigned(name, example)}"
    written = [assigned(name, count).replace("--", f"--{prefix}", 1) for count in likely]
    return f"{text}. Counts are absolute: did you mean {' or '.join(written)}?"


def _likely(value: float, counted: str, runs: pd.Series | None) -> list[str]:
    """What may be meant by a count without its unit, the likeliest first."""
    if counted == "C":
        return [f"1e{value:g}"] if 10 <= value <= LARGEST_POWER else []
    scales = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    if runs is None:
        return [f"{value:.4g}B"]
    low, high = float(runs.min()), float(runs.max())
    away = {
        f"{value:.4g}{unit}": abs(np.log(value * scale / high))
        for unit, scale in scales.items()
        if low <= value * scale <= ABOVE * high
    }
    return sorted(away, key=lambda count: away[count])[:2]

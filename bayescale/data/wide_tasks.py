"""Tables with one column for each task: how to call a function for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd

from bayescale.data.datasets import bundled
from bayescale.data.names import compact
from bayescale.errors import RunsError
from bayescale.keywords import on_command_line

#: The largest share, with a margin; scores above it, up to 100, are in per cent.
MOST_SHARE = 1.5


def require_ready(
    frame: pd.DataFrame,
    tasks: Sequence[str],
    y: str,
    *,
    named: Mapping[str, str],
    chance: object,
    call: str,
    unnamed: bool,
) -> None:
    """Refuse a wide table that needs further arguments, with one call that has all of them.

    Parameters
    ----------
    frame : pandas.DataFrame
    tasks : sequence of str
        Columns of scores, each of one task.
    y : str
        Name of the score.
    named : mapping of str to str
        Columns that the caller named.
    chance : object
        What the caller gave for the accuracy of guessing; None if it is not needed.
    call : str
        The call without the arguments that are proposed here, open at its end.
    unnamed : bool
        Whether the caller did not say that these columns are tasks.

    Raises
    ------
    RunsError
        Naming every problem.
    """
    listed = ", ".join(tasks)
    problems, add = [], {}
    if unnamed:
        one = f"--y {tasks[0]}" if on_command_line() else f"y={tasks[0]!r}"
        problems.append(
            f"there is no column {y!r} and none of tasks: {listed} may each hold the accuracies "
            f"of one task (if one of them holds all accuracies, give {one})"
        )
    largest = {t: _largest(frame[t]) for t in tasks}
    most = max(largest.values())
    percent = [t for t in tasks if MOST_SHARE < largest[t] <= 100]
    shares = [t for t in tasks if t not in percent]
    if percent and shares:
        problems.append(
            f"the accuracies of {', '.join(percent)} are up to {most:.4g} and look like "
            f"percentages, those of {', '.join(shares)} are shares: put % into the names of the "
            f"former columns, as in '{percent[0]} %', and they are divided by 100"
        )
    elif y not in named and MOST_SHARE < most <= 100:
        problems.append(
            f"the accuracies of {listed} are up to {most:.4g}: they look like percentages, and are "
            "to be divided by 100"
        )
        named = {**named, y: f"{y}/100"}
    if isinstance(chance, str) and chance == "chance" and "chance" not in {*frame, *named}:
        known = {t: known_chance(t) for t in tasks}
        unknown = [t for t, level in known.items() if level is None]
        guess = f" (0, for free answers, is assumed for {', '.join(unknown)})" if unknown else ""
        problems.append(
            "there is no column 'chance', the accuracy of guessing: check the levels that are "
            f"proposed here{guess}"
        )
        add["chance"] = {t: level or 0.0 for t, level in known.items()}
    elif chance not in (None, "chance") and not on_command_line():
        add["chance"] = chance
    if not problems:
        return
    raise RunsError(problems, remedy=f"All together: {_completed(call, tasks, named, add)}")


@cache
def _levels() -> dict[str, float]:
    facts = pd.read_csv(bundled("openlm_task_facts.csv"))
    return {compact(t): float(c) for t, c in zip(facts["task"], facts["chance"], strict=True)}


def known_chance(task: str) -> float | None:
    """The accuracy of guessing of a common benchmark; None for other names.

    Examples
    --------
    >>> known_chance("hellaswag"), known_chance("ARC-challenge"), known_chance("lambada")
    (0.25, 0.25, 0.0)
    >>> known_chance("our own test")
    """
    name = compact(task)
    found = [level for known, level in _levels().items() if name and known.startswith(name)]
    return found[0] if len(set(found)) == 1 and len(name) > 2 else None


def _largest(scores: pd.Series) -> float:
    """The largest number; 0 where the name says per cent, because such columns are divided."""
    if is_percent(scores.name):
        return 0.0
    return float(np.nanmax(pd.to_numeric(scores, errors="coerce"), initial=0))


def is_percent(column: object) -> bool:
    """Whether the name of a column says per cent."""
    return "%" in str(column) or "percent" in str(column).lower()


def _completed(call: str, tasks: Sequence[str], named: Mapping[str, str], add: Mapping) -> str:
    """The call with all arguments."""
    if not on_command_line():
        given = [f"tasks={list(tasks)!r}"]
        given += [f"columns={dict(named)!r}"] if named else []
        given += [f"{name}={value!r}" for name, value in add.items()]
        return f"{call}{', '.join(given)})"
    quoted = f'"{",".join(tasks)}"' if " " in "".join(tasks) else ",".join(tasks)
    given = [f"--tasks {quoted}"]
    if named:
        given.append(f'--columns "{",".join(f"{q}={e}" for q, e in named.items())}"')
    for name, levels in add.items():
        text = ",".join(f"{t}={level:g}" for t, level in levels.items())
        given.append(f'--{name} "{text}"' if " " in text else f"--{name} {text}")
    return f"{call} {' '.join(given)}"

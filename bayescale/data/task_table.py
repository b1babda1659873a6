"""Tables of task results: one row per model and task, checked, or every problem by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayescale.errors import RunsError, unknown

#: An accuracy this many binomial standard errors above chance is told from it.
TOLD_APART = 3.0
SHOWN = 8  # rows and tasks
#: What to do where a column is not there.
WHY = {
    "n_questions": " How many questions a task has makes the binomial noise of its accuracy: give "
    "n_questions= as a column, a number, or numbers by task.",
    "chance": " The accuracy of guessing may also be given as a number, or numbers by task.",
}


def sheet(
    frame: pd.DataFrame,
    *,
    y: str = "accuracy",
    task: str = "task",
    n_questions: str | float | Mapping[str, float] = "n_questions",
    chance: str | float | Mapping[str, float] = "chance",
    needs: Sequence[str] = ("loss",),
    keep: Sequence[str] = (),
) -> tuple[pd.DataFrame, list[str]]:
    """Check a long table of task results.

    Parameters
    ----------
    frame : pandas.DataFrame
    y, task : str
        Columns of the accuracy, between 0 and 1, and of the task's name.
    n_questions, chance : str, float or mapping
        A column, one value for all tasks, or values by task.
    needs, keep : sequence of str
        Further columns that must be there: positive numbers, and labels.

    Returns
    -------
    tuple of DataFrame and list of str
        Columns ``task``, ``y``, ``n_questions``, ``chance``, those of `needs` and `keep`, under the
        labels of `frame`; and notes on tasks that never leave chance.

    Raises
    ------
    RunsError
        Naming every problem: column, rows, what is allowed and what to do.

    Examples
    --------
    >>> import bayescale as bs
    >>> table, notes = sheet(bs.datasets.openlm_tasks())
    >>> sorted(table.columns)
    ['chance', 'loss', 'n_questions', 'task', 'y']
    """
    if not isinstance(frame, pd.DataFrame) or not len(frame):
        what = "one with no rows" if isinstance(frame, pd.DataFrame) else type(frame).__name__
        raise RunsError(f"expected a DataFrame of task results, got {what}")
    named = {"task": task, "y": y, **{c: c for c in (*needs, *keep)}}
    named |= {
        k: v for k, v in (("n_questions", n_questions), ("chance", chance)) if isinstance(v, str)
    }
    if missing := [k for k, c in named.items() if c not in frame.columns]:
        raise RunsError(
            [unknown("column", named[k], frame.columns) + WHY.get(k, "") for k in missing]
        )
    out = pd.DataFrame({k: frame[c] for k, c in named.items()}, index=frame.index)
    problems: list[str] = []
    _labels(out, frame, {"task": task, **{c: c for c in keep}}, problems)
    for name, given in (("n_questions", n_questions), ("chance", chance)):
        if not isinstance(given, str):
            out[name] = _by_task(out["task"], name, given, problems)
    values = {
        c: _numbers(out, frame, c, named.get(c, c), problems)
        for c in ("y", "n_questions", "chance", *needs)
    }
    _ranges(values, frame, named, problems)
    out = out.assign(**values)
    for c in ("n_questions", "chance"):
        if several := [t for t, own in out.groupby("task")[c] if own.nunique() > 1]:
            problems.append(
                f"column {named.get(c, c)!r} differs within {_some(several)}: a task "
                "has one value; give variants of a task their own names"
            )
    _few(out, needs, problems, "accuracy")
    if problems:
        raise RunsError(list(dict.fromkeys(problems)))
    return out, _notes(out)


def plain(
    frame: pd.DataFrame, *, y: str, task: str, needs: Sequence[str], keep: Sequence[str] = ()
) -> pd.DataFrame:
    """Check a long table of positive scores, as `sheet` checks accuracies.

    Examples
    --------
    >>> import bayescale as bs
    >>> table = plain(bs.datasets.openlm_tasks(), y="loss", task="task", needs=("C",))
    >>> sorted(table.columns)
    ['C', 'task', 'y']
    """
    if not isinstance(frame, pd.DataFrame) or not len(frame):
        what = "one with no rows" if isinstance(frame, pd.DataFrame) else type(frame).__name__
        raise RunsError(f"expected a DataFrame of scores, got {what}")
    named = {"task": task, "y": y, **{c: c for c in (*needs, *keep)}}
    if missing := [c for c in named.values() if c not in frame.columns]:
        raise RunsError([unknown("column", c, frame.columns) for c in missing])
    out = pd.DataFrame({k: frame[c] for k, c in named.items()}, index=frame.index)
    problems: list[str] = []
    _labels(out, frame, {"task": task, **{c: c for c in keep}}, problems)
    for k in ("y", *needs):
        values = _numbers(out, frame, k, named[k], problems)
        _say(
            problems,
            frame,
            named[k],
            values <= 0,
            "not positive",
            "only values above 0 make sense here",
        )
        out[k] = values
    _few(out, needs, problems, "the curve")
    if problems:
        raise RunsError(list(dict.fromkeys(problems)))
    return out


def _labels(out, frame, columns: Mapping[str, str], problems: list[str]) -> None:
    for k, c in columns.items():
        empty = (out[k].isna() | (out[k].astype(str).str.strip() == "")).to_numpy(bool)
        _say(problems, frame, c, empty, "missing", "every row needs a label")
    out["task"] = out["task"].astype(str).str.strip()


def _few(out, needs: Sequence[str], problems: list[str], what: str) -> None:
    for c in ("y", *needs):
        counts = out.groupby("task")[c].nunique() if c != "y" else out.groupby("task").size()
        if len(few := list(counts.index[counts < 2])):
            one = "only one row" if c == "y" else f"only one value of {c!r}"
            problems.append(
                f"{_some(few)}: {one}, which says nothing of how {what} changes: "
                "add models or drop the task"
            )


def _by_task(tasks: pd.Series, name: str, given, problems: list[str]) -> pd.Series:
    if not isinstance(given, Mapping):
        return pd.Series(given, index=tasks.index)
    if lacking := sorted(set(tasks) - set(given)):
        problems.append(f"{name} says nothing of {_some(lacking)}: add them to the mapping")
    return tasks.map(lambda t: given.get(t, 0.0 if name == "chance" else 1.0))


def _numbers(out, frame, column: str, name: str, problems: list[str]) -> np.ndarray:
    values = pd.to_numeric(out[column], errors="coerce").to_numpy(float)
    missing = out[column].isna().to_numpy(bool)
    why = " (counts make the binomial noise of accuracies)" if column == "n_questions" else ""
    _say(problems, frame, name, missing, f"missing{why}", "fill or remove them")
    _say(problems, frame, name, ~missing & ~np.isfinite(values), "not a finite number", "mend them")
    return np.where(np.isfinite(values), values, np.nan)


def _ranges(values, frame, named, problems: list[str]) -> None:
    y, n, chance = values["y"], values["n_questions"], values["chance"]
    percent = 1.5 < np.nanmax(y, initial=0) <= 100 and np.nanmin(y, initial=0) >= 0
    _say(
        problems,
        frame,
        named["y"],
        (y < 0) | (y > 1),
        "outside [0, 1]",
        "these look like percentages: divide by 100" if percent else "give accuracies as fractions",
    )
    _say(
        problems,
        frame,
        named.get("n_questions", "n_questions"),
        (n < 1) | (n % 1 > 0),
        "no whole number of at least 1",
        "give how many questions were asked: they make the binomial noise of accuracies",
    )
    _say(
        problems,
        frame,
        named.get("chance", "chance"),
        (chance < 0) | (chance >= 1),
        "outside [0, 1)",
        "chance is the accuracy of guessing: 0.25 for four choices, 0 for free answers",
    )
    for c in values.keys() - {"y", "n_questions", "chance"}:
        _say(problems, frame, c, values[c] <= 0, "not positive", "only values above 0 make sense")


def _say(problems, frame, column, bad, what, remedy) -> None:
    if bad.any():
        labels = [str(x) for x in frame.index[bad]]
        more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
        n = len(labels)
        problems.append(
            f"column {column!r}: {n} value{'s are' if n > 1 else ' is'} {what} "
            f"(row{'s' * (n > 1)} {', '.join(labels[:SHOWN])}{more}): {remedy}"
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"task{'s' * (len(names) > 1)} {', '.join(map(repr, names[:SHOWN]))}{more}"


def _notes(out: pd.DataFrame) -> list[str]:
    error = np.sqrt(
        np.maximum(out["chance"] * (1 - out["chance"]), 1 / out["n_questions"]) / out["n_questions"]
    )
    above = (out["y"] - out["chance"] > TOLD_APART * error).groupby(out["task"]).any()
    flat = list(above.index[~above])
    return (
        [
            f"{_some(flat)} never {'leave' if len(flat) > 1 else 'leaves'} chance in these rows: "
            "what is said of them beyond comes from the other tasks"
        ]
        if flat
        else []
    )

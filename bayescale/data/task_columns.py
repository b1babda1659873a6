"""Columns of tables of task results: their names, their units, and one column for each task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayescale.data import formats, names, reading, remedies
from bayescale.data.names import compact
from bayescale.data.runs import Runs
from bayescale.data.task_table import is_accuracy, pass_at
from bayescale.data.wide_tasks import is_percent, require_ready
from bayescale.errors import RunsError, unknown
from bayescale.keywords import on_command_line
from bayescale.units import FLOP_PER_PARAMETER_TOKEN

#: Usual names of columns that `bayescale.data.names` does not know, in their compact form.
USUAL = {
    "task": ("task", "tasks", "taskname", "benchmark", "benchmarkname", "evalname", "evaltask"),
    "n_questions": ("nquestions", "numquestions", "questions"),
    "chance": ("chance", "chancelevel", "randombaseline", "randomchance", "guessing"),
}
#: Quantities that runs have too; they are read as `bayescale.Runs.read` reads them.
OF_RUNS = ("N", "D", "C", "loss")
NO_SCORE = re.compile(r"std|err|(?:^|_)(?:se|sd|ci|n|num|lower|upper|low|high)(?:_|$)", re.I)


class TaskColumns(NamedTuple):
    """A table of task results with the names of columns that functions use.

    Attributes
    ----------
    frame : pandas.DataFrame
        The columns of the table, and those that were read from them.
    task : str or None
        Column of the names of tasks; None if all rows are of one task.
    read : str
        What was read from columns of other names: ``N from params, C = 6ND``; may be empty.
    notes : tuple of str
        ``read`` as a note, and that columns are tasks.
    """

    frame: pd.DataFrame
    task: str | None
    read: str
    notes: tuple[str, ...]


def task_columns(
    data: Runs | pd.DataFrame | str | Path,
    needs: Sequence[str],
    *,
    y: str = "accuracy",
    task: str | None = "task",
    tasks: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    chance: object = None,
    call: str = "",
) -> TaskColumns:
    """Find the columns of a table of task results.

    A column that has the name that is asked for is used as it is. Others are recognised by their
    names, with the units in them, as columns of runs are. C is 6ND if there is no compute.

    Parameters
    ----------
    data : Runs, DataFrame, or path of a file
    needs : sequence of str
        Columns besides those of the task and the score.
    y, task : str
        Columns of the score and of the names of tasks. A column ``task`` is looked for.
    tasks : sequence of str, optional
        The tasks to use. If they are columns of the table, each is the score of one task.
    columns : mapping of str to str, optional
        Column or expression of a quantity, such as ``{"C": "gflop*1e9", "accuracy": "acc/100"}``.
    chance : object, optional
        What the caller was given for the accuracy of guessing; None if it needs none.
    call : str, optional
        The call of the caller up to these arguments, open at its end. With it, the refusal of a
        table with one column for each task names all further arguments at once.

    Raises
    ------
    RunsError
        If `data` or `tasks` are not valid, or if columns cannot be told apart.

    Examples
    --------
    >>> table = pd.DataFrame({"params (M)": [70, 160], "tokens": [2e9, 4e9], "piqa": [0.6, 0.7]})
    >>> found = task_columns(table, ["C"], tasks=["piqa"])
    >>> found.frame[["task", "accuracy", "C"]].values.tolist()
    [['piqa', 0.6, 8.4e+17], ['piqa', 0.7, 3.84e+18]]
    >>> found.read
    'N from params (M), D from tokens, C = 6ND'
    """
    frame = _frame(data)
    named = dict(columns or {})
    if wrong := [q for q in named if q not in (*OF_RUNS, *USUAL, y)]:
        allowed = (*OF_RUNS, *USUAL, y)
        raise RunsError([unknown("quantity", q, allowed) for q in wrong], where="columns")
    chosen = [tasks] if isinstance(tasks, str) else list(tasks or ())
    notes = []
    if (of_tasks := _task_column(frame, task, named)) is None and call:
        wide = chosen or _several_scores(frame, y, named)
        if wide and set(wide) <= set(frame):
            ready = dict(named=named, chance=chance, call=call, unnamed=not chosen)
            require_ready(frame, wide, y, **ready)
    if of_tasks is None and chosen:
        frame, notes = _melted(frame, chosen, y, in_percent=y not in named)
        of_tasks, chosen = "task", []
    found, read = {}, []
    quantities = {"task": of_tasks} if of_tasks not in (None, task) else {}
    for name in ("n_questions", "chance"):
        quantities[name] = named.get(name) or _usual(frame, name)
    for name, column in quantities.items():
        if column is not None and column not in frame:
            raise RunsError(unknown("column", column, frame.columns))
        if column not in (None, name):
            found[name] = frame[column]
            read.append(f"{name} from {column}")
    scales, told = _scales(frame, needs, named)
    score, how = _score(frame, y, of_tasks, named)
    frame = frame.assign(**found, **scales, **({} if score is None else {y: score}))
    read = [*told, *how, *read]
    if chosen:
        frame = _selected(frame, chosen, "task" if "task" in found else of_tasks)
    text = ", ".join(read)
    notes = [*notes, *([f"read {text}"] if text else [])]
    return TaskColumns(frame, "task" if "task" in found else of_tasks, text, tuple(notes))


def _frame(data) -> pd.DataFrame:
    if isinstance(data, Runs):
        return data.table
    if isinstance(data, (str, Path)):
        return formats.frame(data)
    if not isinstance(data, pd.DataFrame) or not len(data):
        what = "one with no rows" if isinstance(data, pd.DataFrame) else type(data).__name__
        raise RunsError(f"expected Runs, a DataFrame or a path, got {what}")
    return data


def _usual(frame: pd.DataFrame, quantity: str) -> str | None:
    """The first column with a usual name of a quantity."""
    return next((c for c in frame if compact(str(c)) in USUAL[quantity]), None)


def _task_column(frame: pd.DataFrame, task: str | None, named: dict) -> str | None:
    """The column of the names of tasks; None if there is none."""
    if "task" in named:
        return named["task"]
    if task == "task" and task not in frame:
        return _usual(frame, "task")
    return task


def _melted(
    frame: pd.DataFrame, tasks: list[str], y: str, *, in_percent: bool
) -> tuple[pd.DataFrame, list[str]]:
    """One row for each model and task, from one column for each task, and notes.

    A model without a score on a task has no row for this task. With `in_percent`, columns whose
    names say so are divided by 100.
    """
    if missing := [t for t in tasks if t not in frame]:
        raise RunsError([unknown("column of a task", t, frame.columns) for t in missing])
    others = frame.drop(columns=[*tasks, *(c for c in (y, "task") if c in frame)])
    scores = {t: _share(frame[t]) if in_percent else frame[t] for t in tasks}
    parts = [others.assign(task=str(t), **{y: scores[t]})[frame[t].notna()] for t in tasks]
    count = f"{len(tasks)} columns as tasks" if len(tasks) > 1 else "one column as a task"
    notes = [f"read {count}, with one row for each model: {', '.join(tasks)}"]
    if percent := [t for t in tasks if in_percent and is_percent(t)]:
        notes.append(f"divided by 100, as the name says per cent: {', '.join(percent)}")
    lacking = {t: int(frame[t].isna().sum()) for t in tasks if frame[t].isna().any()}
    if lacking:
        listed = ", ".join(f"{t} {number}" for t, number in lacking.items())
        notes.append(f"models without a score, left out for the task only: {listed}")
    return pd.concat(parts), notes


def _share(scores: pd.Series) -> pd.Series:
    """The scores as shares: divided by 100 if the name of the column says per cent.

    Raises
    ------
    RunsError
        If scores in per cent are all at most 1.
    """
    if not is_percent(scores.name):
        return scores
    numbers = pd.to_numeric(scores, errors="coerce")
    if numbers.max() <= 1:
        raise RunsError(
            f"column {scores.name!r} is in per cent by its name, but its largest value is "
            f"{numbers.max():.3g}: rename it if it holds shares"
        )
    return numbers / 100


def _selected(frame: pd.DataFrame, tasks: list[str], column: str | None) -> pd.DataFrame:
    labels = frame[column].astype(str).str.strip()
    if wrong := [t for t in tasks if t not in set(labels)]:
        raise RunsError([unknown("task", t, labels.unique()) for t in wrong])
    return frame[labels.isin(tasks)]


def _scales(frame, needs: Sequence[str], named: dict) -> tuple[dict, list[str]]:
    """Values of N, D, C and the loss where the table has no such column, and where from."""
    lacking = [c for c in needs if c in OF_RUNS and (c not in frame or c in named)]
    text = [c for c in needs if c in frame and not pd.api.types.is_numeric_dtype(frame[c])]
    if not lacking and not text:
        return {}, []
    cells = frame.astype(object).reset_index(drop=True)
    raw = formats.RawTable(cells.set_axis([str(c) for c in cells], axis=1), "row", "the table")
    problems: list[str] = []
    counts = {
        c: reading.values_of(raw, q, reading.Source(c, ((c, 1),)), problems)
        for c in text
        if (q := names.recognise(c).quantity) in OF_RUNS
    }
    if problems:
        raise RunsError(problems)
    if not lacking:
        return counts, []
    matched = reading.match_columns(raw, {q: named.get(q) for q in OF_RUNS}, problems)
    sources = matched.sources
    wanted = set(lacking)
    if "C" in wanted and "C" not in sources and "C" not in named:
        wanted |= {"N", "D"}
    wrong = [
        p
        for p in problems
        if any(names.MEANING[q] in p for q in wanted - set(sources)) and "no column holds" not in p
    ]
    columns, told = counts, []
    for quantity in [q for q in OF_RUNS if q in wanted and q in sources]:
        source = sources[quantity]
        columns[quantity] = reading.values_of(raw, quantity, source, wrong)
        unit = source.unit if source.unit and f"({source.unit})" not in source.expression else ""
        transform = f"{source.transform}({source.expression})" if source.transform else ""
        text = transform if transform and not source.stated else source.expression
        if text != quantity:
            told.append(f"{quantity} from {text}{f' ({unit})' if unit else ''}")
    if wrong:
        raise RunsError([_in_python(p) for p in dict.fromkeys(wrong)])
    if "C" in wanted and "C" not in sources and {"N", "D"} <= set(columns):
        columns["C"] = FLOP_PER_PARAMETER_TOKEN * columns["N"] * columns["D"]
        told.append("C = 6ND")
    elif "C" in wanted and "C" not in sources:
        told = [t for t in told if t[0] in lacking]
    if wrong := _small(columns, sources):
        raise RunsError(wrong)
    return columns, told


def _small(columns: dict[str, np.ndarray], sources: dict[str, reading.Source]) -> list[str]:
    """Problems of counts whose unit was probably not written."""
    out = []
    for quantity in [q for q in sources if q in columns and not sources[q].stated]:
        middle, column = np.nanmedian(columns[quantity]), sources[quantity].expression
        if middle < reading.SMALLEST.get(quantity, 0.0):
            out.append(
                f"{names.MEANING[quantity]}, column {column!r}: the median is {middle:.4g}, which "
                "looks like a count in another unit: state it by "
                f"{remedies.of_tasks(quantity, f'{column}*1e6')}, or *1 if it is absolute"
            )
    return out


def _score(frame, y: str, of_tasks: str | None, named: dict) -> tuple[object, list[str]]:
    """The scores, if they are not in a column called `y`, and where they are from."""
    if y in named:
        if y not in frame and y in named[y]:  # accuracy/100, of a column that is called acc
            found = _score(frame, y, of_tasks, {})[0]
            frame = frame if found is None else frame.assign(**{y: found})
        if pass_at(named[y]) > 1 and pass_at(y) == 1:
            raise RunsError(
                f"{named[y]} is not an accuracy of single answers: give {_option_y(named[y])}, so "
                "that k is known"
            )
        source = reading.parse_expression(named[y], [str(c) for c in frame])
        if source is None:
            raise RunsError(unknown("column", named[y], frame.columns))
        values = source.factor
        for column, power in source.factors:
            values = values * pd.to_numeric(frame[column], errors="coerce") ** power
        values = source.transformed(values)
        return values, [f"{y} from {named[y]}"]
    if y in frame or y != "accuracy":
        return None, []
    found = _scores(frame)
    if len(found) == 1 and pass_at(found[0]) == 1:
        how = ", divided by 100" if is_percent(found[0]) else ""
        return _share(frame[found[0]]), [f"{y} from {found[0]}{how}"]
    several = _several_scores(frame, y, named)
    if several and of_tasks is None:
        given = (
            f"--tasks {','.join(map(str, several))}" if on_command_line() else f"tasks={several!r}"
        )
        raise RunsError(
            "there is no column 'accuracy' and none of tasks. If each of these columns holds the "
            f"accuracies of one task, give {given}. If one column holds all accuracies, give "
            f"{_option_y(several[0])}"
        )
    if found:
        raise RunsError(
            f"column{'s' * (len(found) > 1)} {' and '.join(map(repr, found))} could "
            f"{'each ' * (len(found) > 1)}be the accuracy: give {_option_y(found[0])}"
        )
    return None, []


def _free(frame: pd.DataFrame) -> list[str]:
    """Columns that hold no quantity of runs."""
    return [c for c in frame if names.recognise(str(c)).quantity is None]


def _scores(frame: pd.DataFrame) -> list[str]:
    """Columns of numbers that are accuracies by their names."""
    found = [c for c in _free(frame) if is_accuracy(str(c)) and not NO_SCORE.search(str(c))]
    return [c for c in found if pd.api.types.is_numeric_dtype(frame[c])]


def _several_scores(frame: pd.DataFrame, y: str, named: dict) -> list[str]:
    """The columns that may each hold the scores of one task; empty if one column holds all."""
    if y in frame or y in named or y != "accuracy":
        return []
    found = _scores(frame)
    if len(found) == 1:
        return []
    return found or _scores_of_tasks(frame, _free(frame))


def _scores_of_tasks(frame: pd.DataFrame, columns) -> list[str]:
    """Columns of fractions or percentages that may be the scores of tasks."""
    known = {name for usual in USUAL.values() for name in usual}
    out = []
    for column in columns:
        values = frame[column]
        if compact(str(column)) in known or not pd.api.types.is_float_dtype(values):
            continue
        values = values[values.notna()]
        within = len(values) > 0 and values.min() >= 0 and values.max() <= 100
        if within and (values % 1 != 0).any() and not NO_SCORE.search(str(column)):
            out.append(column)
    return out


def _option_y(column: str) -> str:
    """How to name the column of accuracies. Not every name says that it holds accuracies."""
    if not is_accuracy(column):
        return remedies.of_tasks("accuracy", column)
    return f"--y {column}" if on_command_line() else f"y={column!r}"


def _in_python(message: str) -> str:
    """A message of the reader of runs, which takes quantities as keywords."""
    if on_command_line():
        return message
    return re.sub(r"\b(N|D|C|loss)='([^']*)'", r"columns={'\1': '\2'}", message)

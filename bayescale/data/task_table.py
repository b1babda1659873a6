"""Checked tables of task results: one row per model and task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import pandas as pd

from bayescale.data import remedies
from bayescale.errors import RunsError, unknown
from bayescale.keywords import on_command_line

#: Kinds of scores: accuracies, with numbers of questions and chance levels, or positive numbers.
METRICS = ("accuracy", "positive")
#: An accuracy this many standard deviations below chance is no noise. If the number of questions is
#: unknown, this many are assumed.
MOST_BELOW, FEW_QUESTIONS = 4.0, 100
#: An accuracy is above chance if it exceeds it by this many binomial standard errors.
ABOVE_CHANCE = 3.0
SHOWN = 8  # rows and tasks that a message names
#: Names of accuracies, and of metrics that fall and may have such a word too (``brier_score``).
ACCURACY = re.compile(r"acc|match|score|pass", re.IGNORECASE)
FALLING = re.compile(r"loss|brier|err|perplexity|ppl", re.IGNORECASE)
#: A score solved by one of k samples.
PASS_AT = re.compile(r"pass[\W_]*(?:at)?[\W_]*(\d+)", re.IGNORECASE)
#: A metric rises if its rank correlation with the scale is above this in most tasks.
RISES = 0.5
QUESTIONS = "the number of questions sets the binomial noise of an accuracy"
GUESSING = "chance is the accuracy of guessing"
SAMPLES = "the number of samples of each question sets the noise of pass@k"
#: Explanations of columns, for messages on missing ones.
MEANING = {"n_questions": QUESTIONS, "chance": GUESSING, "samples": SAMPLES}


def task_table(
    frame: pd.DataFrame,
    *,
    y: str = "accuracy",
    task: str | None = "task",
    metric: str = "accuracy",
    n_questions: str | float | Mapping[str, float] | None = "n_questions",
    chance: str | float | Mapping[str, float] = "chance",
    samples: str | float | Mapping[str, float] | None = None,
    needs: Sequence[str] = ("loss",),
    keep: Sequence[str] = (),
    only: str = "the task",
    falls_with: str | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Check a long table of task results.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per model and task.
    y, task : str
        Columns of the score and of the task's name; None if all rows are of one task.
    metric : {"accuracy", "positive"}
        ``"accuracy"``: scores lie in [0, 1] and have a number of questions and a chance level.
        ``"positive"``: scores are positive numbers, such as losses.
    n_questions, chance : str, float or mapping
        A column, one value for all tasks, or a mapping from task to value. For accuracies only.
        Without `n_questions` they are infinite: the noise is not known.
    samples : str, float or mapping, optional
        Samples of each question, given in the same way. For pass@k, whose k is read from the name
        of `y` or of the task. The number of questions is then that of a score with one answer to
        each question and the same noise (see Notes).
    needs : sequence of str
        Further columns that must hold positive numbers, at least two different values per task.
    keep : sequence of str
        Further columns that must hold labels.
    only : str
        The name of the task if there is no column of names.
    falls_with : str, optional
        A column of `needs` with which positive scores have to fall.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``task``, ``y``, those of `needs` and `keep`, and for accuracies ``n_questions`` and
        ``chance``; the index is that of `frame`.
    notes : list of str
        On tasks whose accuracies never exceed chance.

    Raises
    ------
    RunsError
        Naming every problem: column, rows, what is allowed and what to do.

    Notes
    -----
    If a question is solved by one of k samples with probability p, the unbiased estimator of p from
    n samples (Chen et al. 2021, arXiv:2107.03374) has a variance of at most k / n p (1 - p)
    (Hoeffding 1948, doi:10.1214/aoms/1177730196). The mean over Q given questions has at most the
    variance of n Q / k single answers. For small p the two are nearly equal.

    Examples
    --------
    >>> import bayescale as bs
    >>> table, notes = task_table(bs.datasets.openlm_tasks())
    >>> sorted(table.columns)
    ['chance', 'loss', 'n_questions', 'task', 'y']
    >>> table, notes = task_table(
    ...     bs.datasets.openlm_tasks(), y="loss", metric="positive", needs=("C",)
    ... )
    >>> sorted(table.columns)
    ['C', 'task', 'y']
    """
    if metric not in METRICS:
        raise RunsError(unknown("metric of a task table", metric, METRICS))
    if not isinstance(frame, pd.DataFrame) or not len(frame):
        what = "one with no rows" if isinstance(frame, pd.DataFrame) else type(frame).__name__
        raise RunsError(f"expected a DataFrame of task results, got {what}")
    by_task = {"n_questions": n_questions, "chance": chance} if metric == "accuracy" else {}
    by_task |= {"samples": samples} if by_task and samples is not None else {}
    if n_questions is None:
        by_task = {name: value for name, value in by_task.items() if name == "chance"}
    source = {} if task is None else {"task": task}
    source |= {"y": y, **{c: c for c in (*needs, *keep)}}
    source |= {name: value for name, value in by_task.items() if isinstance(value, str)}
    if missing := [name for name, column in source.items() if column not in frame.columns]:
        problems = [unknown("column", source[n], frame.columns) + _remedy(n) for n in missing]
        raise RunsError(problems + _percentages(frame, y, source, metric))
    out = pd.DataFrame({name: frame[column] for name, column in source.items()}, index=frame.index)
    check = _Check(frame.index, source)
    for name in (*([] if task is None else ["task"]), *keep):
        check.labels(name, out[name])
    out["task"] = only if task is None else out["task"].astype(str).str.strip()
    for name, value in by_task.items():
        if not isinstance(value, str):
            out[name] = check.by_task(name, value, out["task"])
    numbers = {name: check.numbers(name, out[name]) for name in ("y", *by_task, *needs)}
    out = out.assign(**numbers)
    if metric == "accuracy":
        check.accuracies(numbers["y"])
        check.chance(numbers["chance"])
        if n_questions is None:
            out["n_questions"] = np.inf
        else:
            check.whole("n_questions", numbers["n_questions"], "questions", QUESTIONS)
            answers = check.answers(out, y) * numbers["n_questions"]
            out["n_questions"] = np.maximum(np.round(answers), 1.0)
    for name in needs if metric == "accuracy" else ("y", *needs):
        check.positive(name, numbers[name])
    for name in by_task if not check.problems else ():
        check.one_value_per_task(name, out)
    check.curves(out, needs)
    if falls_with is not None and not check.problems:
        check.falls(out, falls_with)
    if check.problems:
        raise RunsError(list(dict.fromkeys(check.problems)))
    out = out.drop(columns="samples", errors="ignore")
    return out, [*_at_chance(out), *below_chance(out)] if metric == "accuracy" else []


def _percentages(frame, y: str, source: Mapping[str, str], metric: str) -> list[str]:
    """The problem of scores outside [0, 1], where other columns are missing too."""
    if metric != "accuracy" or y not in frame:
        return []
    check = _Check(frame.index, source)
    check.accuracies(pd.to_numeric(frame[y], errors="coerce").to_numpy(float))
    return check.problems


class _Check:
    """The checks of a task table; each adds its problems to a list.

    Parameters
    ----------
    index : pandas.Index
        Labels of the rows.
    source : mapping of str to str
        From quantity to the column of the user's table that it was read from.
    """

    def __init__(self, index: pd.Index, source: Mapping[str, str]):
        self.index, self.source = index, source
        self.problems: list[str] = []

    def add(self, name: str, bad: np.ndarray, what: str, remedy: str) -> None:
        """Add one problem that names the rows where `bad` is true."""
        if bad.any():
            rows = [str(label) for label in self.index[bad]]
            n = len(rows)
            more = f" and {n - SHOWN} more" if n > SHOWN else ""
            self.problems.append(
                f"column {self.source.get(name, name)!r}: {n} value{'s are' if n > 1 else ' is'} "
                f"{what} (row{'s' * (n > 1)} {', '.join(rows[:SHOWN])}{more}): {remedy}"
            )

    def labels(self, name: str, column: pd.Series) -> None:
        empty = column.isna() | (column.astype(str).str.strip() == "")
        self.add(name, empty.to_numpy(bool), "missing", "every row needs a label")

    def by_task(self, name: str, value: object, tasks: pd.Series) -> pd.Series:
        """The value in each row: `value` itself, or the entry of its task if it is a mapping."""
        neutral = 0.0 if name == "chance" else 1.0  # used until the error is raised
        if not isinstance(value, Mapping):
            if not isinstance(value, Real):
                self.problems.append(
                    f"{name} is {value!r}: give a column, a number, or a mapping from task to "
                    "number"
                )
                value = neutral
            return pd.Series(value, index=tasks.index)
        if lacking := sorted(set(tasks) - set(value)):
            others = sorted(set(map(str, value)) - set(tasks))
            known = f"; {_listed(others)} {'are' if len(others) > 1 else 'is'} no task here"
            self.problems.append(
                f"{name} has no value for {_listed(lacking)}: add it{known if others else ''}"
            )
        return tasks.map(lambda label: value.get(label, neutral))

    def numbers(self, name: str, column: pd.Series) -> np.ndarray:
        """The column as floats; NaN where it holds no finite number."""
        values = pd.to_numeric(column, errors="coerce").to_numpy(float)
        missing = column.isna().to_numpy(bool)
        why = f"; {QUESTIONS}" if name == "n_questions" else ""
        self.add(name, missing, "missing", f"fill in or remove these rows{why}")
        self.add(name, ~missing & ~np.isfinite(values), "not a finite number", "correct the cells")
        return np.where(np.isfinite(values), values, np.nan)

    def positive(self, name: str, values: np.ndarray) -> None:
        self.add(name, values <= 0, "not positive", "give values above 0")

    def accuracies(self, y: np.ndarray) -> None:
        percent = 1.5 < np.nanmax(y, initial=0) <= 100 and np.nanmin(y, initial=0) >= 0
        remedy = (
            "these look like percentages: divide by 100, "
            + remedies.of_tasks("accuracy", f"{self.source.get('y', 'accuracy')}/100")
            if percent
            else "give accuracies as fractions"
        )
        self.add("y", (y < 0) | (y > 1), "outside [0, 1]", remedy)

    def whole(self, name: str, n: np.ndarray, what: str, meaning: str) -> None:
        remedy = f"give the number of {what}; {meaning}"
        self.add(name, (n < 1) | (n % 1 > 0), "not a whole number of at least 1", remedy)

    def answers(self, table: pd.DataFrame, y: str) -> np.ndarray:
        """For each row, the number of single answers to a question with the noise of its score."""
        k = table["task"].map(pass_at).to_numpy(float) if pass_at(y) == 1 else float(pass_at(y))
        if "samples" not in table:
            if np.max(k) > 1:
                self.problems.append(
                    f"{SAMPLES}, and pass@{np.max(k):g} has no number of samples: "
                    f"{remedies.value_of_tasks('samples')}"
                )
            return np.ones(len(table))
        n = table["samples"].to_numpy(float)
        self.whole("samples", n, "samples", SAMPLES)
        self.add("samples", n < k, "below k of pass@k", "pass@k needs at least k samples")
        return n / k

    def chance(self, chance: np.ndarray) -> None:
        percent = ", not 25" if np.nanmax(chance, initial=0) > 1 else ""
        remedy = f"{GUESSING}: 0.25{percent} for four choices, 0 for free answers"
        self.add("chance", (chance < 0) | (chance >= 1), "outside [0, 1)", remedy)

    def one_value_per_task(self, name: str, table: pd.DataFrame) -> None:
        if several := [t for t, values in table.groupby("task")[name] if values.nunique() > 1]:
            self.problems.append(
                f"column {self.source.get(name, name)!r} differs within {_listed(several)}: a task "
                "has one value; give variants of a task different names"
            )

    def falls(self, table: pd.DataFrame, x: str) -> None:
        """A score that rises as models improve is perhaps an accuracy with another name."""
        found = rank_correlations(table, x).median()
        if found > RISES:
            y = self.source["y"]
            remedy = (
                f"--y accuracy --columns accuracy={y}"
                if on_command_line()
                else (f"y='accuracy', columns={{'accuracy': {y!r}}}")
            )
            self.problems.append(
                f"column {y!r} rises with {x} (rank correlation {found:.2f}), but a "
                "score that is not an accuracy has to fall as models improve. If it is a share of "
                f"correct answers, give {remedy}"
            )

    def curves(self, table: pd.DataFrame, needs: Sequence[str]) -> None:
        """Every task needs two rows, and two different values of each column in `needs`."""
        by_task = table.groupby("task")
        counts = {"row": by_task.size()}
        counts |= {f"value of {c!r}": by_task[c].nunique() for c in needs}
        told: set[str] = set()
        for what, count in counts.items():
            if few := [t for t in count.index[count < 2] if t.strip() and t not in told]:
                told |= set(few)
                self.problems.append(
                    f"{_listed(few)}: only one {what}, from which no curve can be fitted: add "
                    "models or drop the task"
                )


def _listed(tasks: Sequence[str]) -> str:
    more = f" and {len(tasks) - SHOWN} more" if len(tasks) > SHOWN else ""
    return f"task{'s' * (len(tasks) > 1)} {', '.join(map(repr, tasks[:SHOWN]))}{more}"


def is_accuracy(name: str) -> bool:
    """Whether a score is an accuracy by its name.

    Examples
    --------
    >>> [is_accuracy(name) for name in ("acc_norm", "exact_match", "pass@10", "brier_score")]
    [True, True, True, False]
    """
    return bool(ACCURACY.search(name)) and not FALLING.search(name)


def pass_at(name: str) -> int:
    """k of a score that is called pass@k, and 1 of others.

    Examples
    --------
    >>> [pass_at(name) for name in ("pass@10", "HumanEval pass_at_100", "accuracy")]
    [10, 100, 1]
    """
    found = PASS_AT.search(str(name))
    return int(found[1]) if found else 1


def rank_correlations(table: pd.DataFrame, x: str) -> pd.Series:
    """Rank correlation of the scores of each task with a column, for tasks with several scores."""
    ranks = table.groupby("task", sort=False)[["y", x]].rank()
    found = {
        task: rows["y"].corr(rows[x])
        for task, rows in ranks.groupby(table["task"], sort=False)
        if rows["y"].nunique() > 1
    }
    return pd.Series(found, dtype=float)


def never_above_chance(table: pd.DataFrame) -> list[str]:
    """Tasks of a checked table of accuracies whose scores never exceed chance."""
    chance, n = table["chance"], table["n_questions"]
    # At a chance level of 0 the binomial error is 0; one correct answer is used in its place.
    error = np.sqrt(np.maximum(chance * (1 - chance), 1 / n) / n)
    above = (table["y"] - chance > ABOVE_CHANCE * error).groupby(table["task"]).any()
    return list(above.index[~above])


def always_solved(table: pd.DataFrame) -> list[str]:
    """Tasks of a checked table of accuracies that all rows solve, but for a few questions."""
    solved = 1 - table["y"] <= ABOVE_CHANCE / table["n_questions"].clip(upper=1000)
    return list(solved.groupby(table["task"]).all().loc[lambda each: each].index)


def _at_chance(table: pd.DataFrame) -> list[str]:
    if flat := never_above_chance(table):
        verb = "exceed" if len(flat) > 1 else "exceeds"
        return [
            f"{_listed(flat)} never {verb} chance in these rows: forecasts for larger models "
            "depend on the other tasks"
        ]
    return []


def below_chance(table: pd.DataFrame) -> list[str]:
    """A note on tasks with accuracies that are too low for their chance and number of questions.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"task": "sums", "y": [0.02, 0.6], "chance": 0.25, "n_questions": 1000}
    ... )
    >>> below_chance(table)[0][:57]
    "task 'sums': accuracies down to 0.02, and chance is 0.25:"
    """
    chance, n = table["chance"], table["n_questions"]
    n = n.where((n > 1) & np.isfinite(n), FEW_QUESTIONS)
    low = table["y"] < chance - MOST_BELOW * np.sqrt(chance * (1 - chance) / n)
    return [
        f"{_listed([str(task)])}: accuracies down to {rows['y'].min():.3g}, and chance is "
        f"{rows['chance'].iloc[0]:.3g}: noise is smaller; check the level of chance, on which "
        "results for the task depend"
        for task, rows in table[low & (chance > 0)].groupby("task", sort=False)
    ]


def _remedy(name: str) -> str:
    """How to give a column that is missing, as part of a message; empty for other columns."""
    if name not in MEANING:
        options = {"y": "--y, the column of the score", "task": "--groups, the column of the tasks"}
        options |= dict.fromkeys(("C", "N", "D"), "--x, the column of the scale")
        option = options.get(name, "--x, the column of the scale, or --family")
        return f" Give {option}." if on_command_line() else ""
    meaning = f" {MEANING[name].capitalize()}: "
    return f"{meaning}{remedies.value_of_tasks(name)}."

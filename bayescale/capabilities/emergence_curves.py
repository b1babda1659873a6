"""Curves of tasks from a table of scores."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayescale.capabilities.emergence_models import TaskCurve
from bayescale.data import below_chance, is_accuracy, rank_correlations, task_table
from bayescale.errors import RunsError

#: A task is at chance if no accuracy exceeds it by this many standard errors, and solved if all
#: are at most as many below 1.
STANDARD_ERRORS = 3.0
#: Accuracies fall if their rank correlation with the scale is below this.
FALLS = -0.5
FEW = "the models have fewer than 6 different scales; models at 6 or more would tell"
AT_CHANCE = "all models are at chance; larger models would tell"
SOLVED = "all models solve the task; smaller models or harder questions would tell"


def read_scores(
    frame: pd.DataFrame,
    x: str,
    y: str,
    groups: str | None,
    family: str | None,
    n_questions="n_questions",
    chance="chance",
    samples=None,
    *,
    continuous: bool = False,
) -> tuple[dict[str, TaskCurve], tuple[str, ...], list[str]]:
    """Check a table and split it into the curves of tasks; labels of families; notes.

    A continuous metric is no accuracy, whatever its name. It may rise.
    """
    keep = [family] if family else []
    options = dict(y=y, task=groups, needs=(x,), keep=keep)
    notes: list[str] = []
    shares = is_accuracy(y) and not continuous
    if shares:
        unknown = n_questions is None or (
            n_questions == "n_questions" and "n_questions" not in frame
        )
        if unknown:
            notes.append(
                "without n_questions the noise of the accuracies is estimated from their scatter, "
                "and small rises above chance may be missed"
            )
        counts = dict(n_questions=None if unknown else n_questions, samples=samples)
        table, _ = task_table(frame, **counts, chance=chance, **options)
        notes += below_chance(table)
        along = rank_correlations(table, x)
        if falling := [str(task) for task in along.index[along < FALLS]]:
            notes.append(
                f"{', '.join(falling)}: accuracies fall as {x} rises. Of the kinds of curves only "
                "a straight line falls, so that a change is not found"
            )
    else:
        falls = None if continuous else x
        table, _ = task_table(frame, metric="positive", falls_with=falls, **options)
    families = tuple(sorted(table[family].astype(str).unique())) if family else ()
    curves = {}
    for task, rows in table.groupby("task", sort=False):
        s = np.log(rows[x].to_numpy(float))
        middle = float((s.min() + s.max()) / 2)
        curves[str(task)] = TaskCurve(
            s - middle,
            rows["y"].to_numpy(float),
            middle,
            rows["n_questions"].to_numpy(float) if shares else None,
            float(rows["chance"].iloc[0]) if shares else 0.0,
            pd.factorize(rows[family].astype(str))[0] if family else np.zeros(0, int),
        )
    return curves, families, notes


def check_metric(scores: pd.DataFrame, metric: str, x: str, groups: str | None) -> None:
    """Refuse a metric with the same values for all tasks: it measures models, not answers."""
    if groups not in scores or not {metric, x} <= set(scores):
        return
    each = [set(zip(f[x], f[metric], strict=True)) for _, f in scores.groupby(groups)]
    largest = max(each, key=len)
    if len(each) > 1 and len(largest) > 1 and all(part <= largest for part in each):
        raise RunsError(
            f"continuous={metric!r} has the same values for every task, so that it measures the "
            "models and not their answers to a task, and cannot tell whether a task changes: leave "
            "out continuous=, or give a metric of the same answers, such as a Brier score",
            where="emergence",
        )


def why_not(curve: TaskCurve) -> str:
    """Why a curve cannot be judged; empty if it can."""
    if curve.window is None:
        return FEW
    if not curve.is_accuracy:
        return ""
    n = np.where(np.isfinite(curve.n), curve.n, 1000.0)
    chance = curve.chance
    at_chance = np.sqrt(np.maximum(chance * (1 - chance), 1 / n) / n)
    if not (curve.y - chance > STANDARD_ERRORS * at_chance).any():
        return AT_CHANCE
    if (1 - curve.y <= STANDARD_ERRORS / n).all():
        return SOLVED
    return ""

"""Conversion of a table of scores, one row per model and curve, to curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayescale.capabilities.break_model import Curve
from bayescale.capabilities.likelihoods import Accuracy, Loss, Metric, PlottedAccuracy
from bayescale.data import Runs, is_accuracy, task_columns, task_table
from bayescale.errors import RunsError, unknown

METRICS = ("loss", "brier", "accuracy")
SCALES = {"odds": Accuracy, "plotted": PlottedAccuracy}
#: The label of the curve where the table has only one.
ONLY_CURVE = "the curve"
#: If the best accuracy is below this share of the range from chance to 1, the curve is not
#: informative about the rate of further improvement.
LOW_ACCURACY = 0.15


class CurveTable(NamedTuple):
    """The curves of a table.

    Attributes
    ----------
    curves : dict of str to Curve
        By label, in the order of the table.
    metric : str
        One of `METRICS`.
    families : tuple of str
        Labels of model families, in the order of their indices.
    notes : tuple of str
        Cautions about the table.
    """

    curves: dict[str, Curve]
    metric: str
    families: tuple[str, ...]
    notes: tuple[str, ...]


def read_curves(
    data: Runs | pd.DataFrame,
    *,
    x: str,
    y: str,
    groups: str | None = None,
    metric: str | None = None,
    scale: str = "odds",
    family: str | None = None,
    n_questions="n_questions",
    chance="chance",
    samples=None,
    columns: Mapping[str, str] | None = None,
) -> CurveTable:
    """Check a table and split it into curves.

    Parameters
    ----------
    data, x, y, groups, metric, scale, family, n_questions, chance, samples, columns
        As in `bayescale.breaks`.

    Returns
    -------
    CurveTable

    Raises
    ------
    RunsError
        If the table is not valid. The message names every problem.

    Examples
    --------
    >>> table = pd.DataFrame({"C": [1e18, 1e19, 1e20], "loss": [4.0, 3.5, 3.2]})
    >>> curves, metric, _, _ = read_curves(table, x="C", y="loss")
    >>> list(curves), metric
    (['the curve'], 'loss')
    """
    needs = (x, "loss") if y == "loss" else (x,)
    data, _, _, told = task_columns(data, needs, y=y, task=groups, columns=columns)
    falls = x if metric is None else None  # a metric that is not stated may be an accuracy
    metric = metric or ("accuracy" if is_accuracy(y) else "loss")
    if metric not in METRICS:
        raise RunsError(unknown("metric", metric, METRICS))
    if scale not in SCALES:
        raise RunsError(unknown("scale", scale, SCALES))
    options = dict(y=y, task=groups, needs=(x,), keep=[family] if family else [], only=ONLY_CURVE)
    if metric == "accuracy":
        counts = dict(n_questions=n_questions, samples=samples)
        frame, notes = task_table(data, **counts, chance=chance, **options)
        notes += _low_accuracies(frame)
    else:
        frame, notes = task_table(data, metric="positive", falls_with=falls, **options)
        if y == "loss" and "loss_sd" in data:
            frame["loss_sd"] = data["loss_sd"].to_numpy()
    notes = [*told, *notes]
    if "series" in data and data["series"].nunique() < len(data):
        notes.append(
            "checkpoints of one run are treated as independent points; if their noise is "
            "autocorrelated, P(break) is too high"
        )
    families = tuple(sorted(frame[family].astype(str).unique())) if family else ()
    index = {name: i for i, name in enumerate(families)}
    curves = {}
    for name, rows in frame.groupby("task", sort=False):
        s = np.log(rows[x].to_numpy(float))
        middle = float((s.min() + s.max()) / 2)
        member = (
            rows[family].astype(str).map(index).to_numpy(int) if family else np.full(len(rows), -1)
        )
        curves[name] = Curve(
            s - middle, _likelihood(rows, metric, scale), member, middle, len(families)
        )
    return CurveTable(curves, metric, families, tuple(notes))


def _low_accuracies(frame: pd.DataFrame) -> list[str]:
    """A note on curves whose best accuracy is close to chance."""
    above = (frame["y"] - frame["chance"]) / (1 - frame["chance"])
    best = above.groupby(frame["task"]).max()
    low = list(best.index[best < LOW_ACCURACY])
    if not low:
        return []
    return [
        f"{', '.join(low)}: no accuracy is far above chance, so the prior determines the rate "
        "of further improvement, and forecasts are unreliable"
    ]


def _likelihood(rows: pd.DataFrame, metric: str, scale: str) -> Metric:
    y = rows["y"].to_numpy(float)
    if metric == "accuracy":
        return SCALES[scale](y, rows["n_questions"].to_numpy(float), float(rows["chance"].iloc[0]))
    return Loss(y, rows["loss_sd"].to_numpy(float) if "loss_sd" in rows else np.zeros(len(y)))

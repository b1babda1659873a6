"""Logs of training tools: curves in columns, TensorBoard scalars, checkpoints of one run."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from bayescale.data import arrangements, names, remedies
from bayescale.data.formats import RawTable
from bayescale.data.names import compact

#: A name that is a number of parameters.
SIZE = re.compile(r"\d+(?:\.\d+)?\s*[kmbt]", re.IGNORECASE)
STEP = ("step", "steps", "globalstep", "trainerglobalstep", "iteration", "iter", "epoch")
#: A number and its error in one cell, also as LaTeX; and the part of a header that says so.
WITH_ERROR = re.compile(
    r"\s*\$?\s*([\d.,]+(?:e[+-]?\d+)?)\s*(?:(?:±|\+/-|\+-|\\pm)\s*([\d.,]+(?:e[+-]?\d+)?)"
    r"|\((0?\.\d+)\))\s*\$?\s*",
    re.IGNORECASE,
)
HEADER_OF_ERROR = re.compile(r"[\s,;]*[(\[]?\s*(?:±|\+/-|\+-|\\pm).*$")
RUN = ("run", "runname", "runid", "name", "experiment", "model", "modelname")


def arranged(raw: RawTable, named: dict) -> tuple[RawTable, dict]:
    """A table with one column of losses where a log has another arrangement.

    Returns
    -------
    tuple of RawTable and dict
        The table, and `named` with the column of the series, if steps show that rows are
        checkpoints.
    """
    raw = _with_errors(raw, " ".join(str(v) for v in named.values() if v))
    if named.get("loss") is None:
        raw = arrangements.as_rows(raw)
        raw = _evaluation_rows(_tensorboard(_wide(raw)))
    return _checkpoints(raw, named)


def _with_errors(raw: RawTable, named: str) -> RawTable:
    """Cells such as ``3.71 ± 0.01`` as two columns; their header loses its own ``±``."""
    cells, notes = {}, []
    for column in raw.cells.columns:
        written = [str(v) for v in raw.cells[column]]
        present = [v for v in written if v.strip()]
        # Most columns are told by their first cell.
        if len(present) < 3 or not all(map(WITH_ERROR.fullmatch, present)):
            cells[column] = raw.cells[column]
            continue
        found = [WITH_ERROR.fullmatch(v) for v in written]
        name = str(column)
        if name not in named:
            name = HEADER_OF_ERROR.sub("", name).strip() or name
        error = f"± of {name}"
        numbers = [m[1] if m else "" for m in found]
        errors = [m[2] or m[3] if m else "" for m in found]
        for key, values in ((name, numbers), (error, errors)):
            cells[key] = pd.Series(values, raw.cells.index, dtype=object)
        notes.append(
            f"cells of {column!r} are numbers with an error: the numbers are the column {name!r}, "
            f"the errors are {error!r}, which {remedies.column('loss_sd', error)} uses as standard "
            "errors"
        )
    if not notes:
        return raw
    return replace(raw, cells=pd.DataFrame(cells), notes=(*raw.notes, *notes))


def _numeric(raw: RawTable, column) -> np.ndarray:
    return pd.to_numeric(raw.cells[column], errors="coerce").to_numpy(float)


def _tensorboard(raw: RawTable) -> RawTable:
    """Scalars of TensorBoard: Wall time, Step, Value."""
    if sorted(compact(c) for c in raw.cells.columns) != ["step", "value", "walltime"]:
        return raw
    value = next(c for c in raw.cells if compact(c) == "value")
    note = f"scalars of TensorBoard: {value!r} is read as the loss of one run"
    return replace(raw, cells=raw.cells.rename(columns={value: "loss"}), notes=(*raw.notes, note))


def _wide(raw: RawTable) -> RawTable:
    """One column of losses per run, beside a column of steps or tokens: one row per checkpoint."""
    columns = list(map(str, raw.cells.columns))
    first = columns[0]
    is_x = compact(first) in STEP or names.recognise(first).quantity in ("D", "C")
    rest = [c for c in columns[1:] if not re.search(r"__(MIN|MAX)$", c)]
    per_run = all(" - " in c for c in rest)
    losses = [c for c in columns if names.recognise(c).quantity == "loss"]
    if not is_x or len(rest) < 2 or (losses and not per_run):
        return raw
    if not per_run and any(names.recognise(c).quantity or names.recognise(c).refusal for c in rest):
        return raw
    plausible = [v[np.isfinite(v)] for v in (_numeric(raw, c) for c in rest)]
    if not all(
        len(v) and (v > 0).all() and v.max() < 100 and (v % 1 != 0).any() for v in plausible
    ):
        return raw
    # A curve falls; other columns beside a step, such as learning rates, are not losses.
    if not all(v[0] > 1.02 * np.median(v[len(v) // 2 :]) for v in plausible):
        return raw
    long = raw.cells[[first, *rest]].melt(id_vars=first, var_name="series", value_name="loss")
    long = long[[str(v).strip().lower() not in ("", "nan", "none") for v in long["loss"]]]
    long["series"] = [s.split(" - ")[0] for s in long["series"]]
    note = f"{len(rest)} columns of losses are read as {len(rest)} runs, one row per {first!r}"
    if all(SIZE.fullmatch(str(label)) for label in long["series"]):
        long["N"] = long["series"]
        note += "; their names are read as N (parameters)"
    return RawTable(
        long.reset_index(drop=True).astype(object), "row", raw.source, (*raw.notes, note)
    )


def _evaluation_rows(raw: RawTable) -> RawTable:
    """The rows of a log that hold an evaluation loss, with counts from the rows before them."""
    losses = {c: names.recognise(str(c)) for c in raw.cells.columns}
    found = [
        c for c, r in losses.items() if r.quantity == "loss" and re.search("eval|val", str(c), re.I)
    ]
    training = [c for c, r in losses.items() if compact(str(c)) in ("loss", "trainloss")]
    step = next((c for c in raw.cells if compact(str(c)) in STEP[:4]), None)
    if len(found) != 1 or len(training) != 1 or step is None:
        return raw
    both = raw.cells[found[0]].notna() & raw.cells[training[0]].notna()
    if both.any():
        return raw
    cells = raw.cells.copy()
    if raw.cells[found[0]].notna().sum() < 3:
        cells = cells[cells[training[0]].notna()].drop(columns=found[0])
        note = f"the training loss {training[0]!r} is read: {found[0]!r} has fewer than 3 values"
        return replace(raw, cells=cells, notes=(*raw.notes, note))
    counts = [c for c, r in losses.items() if r.quantity in ("N", "D", "C")]
    cells[counts] = cells[counts].ffill()
    cells = cells[cells[found[0]].notna()].drop(columns=training[0])
    note = f"the evaluation loss {found[0]!r} is read, not the training loss {training[0]!r}"
    return replace(raw, cells=cells, notes=(*raw.notes, note))


def _checkpoints(raw: RawTable, named: dict) -> tuple[RawTable, dict]:
    """The column of the series of checkpoints that a step column shows."""
    columns = {compact(str(c)): c for c in raw.cells.columns}
    if "series" in columns or named.get("series") is not None or len(raw.cells) < 4:
        return raw, named
    step = next((columns[s] for s in STEP[:6] if s in columns), None)
    if step is None:
        return raw, named
    steps = _numeric(raw, step)
    run = next((columns[r] for r in RUN if r in columns), None)
    if run is not None:
        label = raw.cells[run].astype(str).to_numpy()
        counts = pd.Series(label).value_counts()
        if counts.median() < 3 or pd.DataFrame({"r": label, "s": steps}).duplicated().mean() > 0.2:
            return raw, named
        text = f"rows with one {run!r} are read as checkpoints of one run, by {step!r}"
        cells = raw.cells
    else:
        sizes = [c for c in raw.cells if names.recognise(str(c)).quantity == "N"]
        one = all(raw.cells[c].astype(str).nunique() == 1 for c in sizes)
        if not one or not np.isfinite(steps).all() or np.mean(np.diff(steps) >= 0) < 0.9:
            return raw, named
        if len(np.unique(steps)) < 0.8 * len(steps):
            return raw, named
        run, text = "one run", f"all rows are read as checkpoints of one run, by {step!r}"
        cells = raw.cells.assign(**{run: "run"})
    return replace(raw, cells=cells, notes=(*raw.notes, text)), {**named, "series": str(run)}

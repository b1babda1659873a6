"""Frames of other libraries, and the records of experiment trackers: wandb, MLflow, trackio."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.errors import RunsError

#: The first bytes of a database of SQLite, in which trackio keeps a project.
SQLITE = b"SQLite format 3"


def as_pandas(frame, source: str) -> pd.DataFrame:
    """A DataFrame of pandas, polars, pyarrow or another library that narwhals reads."""
    if isinstance(frame, pd.DataFrame):
        return frame
    import narwhals

    try:
        eager = narwhals.from_native(frame, eager_only=True)
        return pd.DataFrame({c: eager[c].to_list() for c in eager.columns})
    except TypeError:
        raise RunsError(
            f"expected a pandas DataFrame, got {type(frame).__name__}: for a file use "
            "Runs.read(path)",
            where=source,
        ) from None


def of_wandb(runs: str | Iterable) -> pd.DataFrame:
    """One row per run of a wandb project: its name and state, its config and its summary.

    Parameters
    ----------
    runs : str or iterable
        ``"entity/project"``, which ``wandb.Api().runs`` downloads, or runs of that interface.
    """
    if isinstance(runs, str):
        runs = _imported("wandb", "from_wandb").Api().runs(runs)
    rows = []
    for run in runs:
        config, summary = scalars(run.config), scalars(dict(run.summary))
        config = {f"config.{k}" if k in summary else k: v for k, v in config.items()}
        rows.append({"name": run.name, "state": run.state, **config, **summary})
    return of_rows(rows, "the wandb project")


def of_mlflow(experiment: str | pd.DataFrame) -> pd.DataFrame:
    """One row per run of an MLflow experiment, as ``mlflow.search_runs`` gives it.

    Parameters
    ----------
    experiment : str or DataFrame
        The name of an experiment, or the DataFrame of ``mlflow.search_runs``.
    """
    if not isinstance(experiment, str):
        return experiment
    mlflow = _imported("mlflow", "from_mlflow")
    found = mlflow.search_runs(experiment_names=[experiment])
    if not len(found):
        raise RunsError("no runs were found in this experiment", where=experiment)
    return found


def trackio_project(name: str) -> Path:
    """The database of a local trackio project."""
    trackio = _imported("trackio", "from_trackio")
    path = Path(trackio.TRACKIO_DIR) / f"{name}.db"
    if not path.is_file():
        present = ", ".join(sorted(p.stem for p in path.parent.glob("*.db"))) or "none"
        raise RunsError(
            f"there is no such trackio project; projects in {path.parent}: {present}", where=name
        )
    return path


def of_trackio(path: Path) -> pd.DataFrame:
    """One row per logged step of a trackio project: run, step, config and metrics."""
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            configs = dict(database.execute("select run_name, config from configs"))
            logged = database.execute("select run_name, step, metrics from metrics order by id")
            rows = [
                {
                    "run": run,
                    "step": step,
                    **scalars(json.loads(configs.get(run, "{}"))),
                    **scalars(json.loads(metrics)),
                }
                for run, step, metrics in logged
            ]
        finally:
            database.close()
    except (sqlite3.Error, ValueError):
        raise RunsError(
            "this database is not a trackio project: export a csv file", where=str(path)
        ) from None
    return of_rows(rows, str(path))


def _imported(name: str, constructor: str):
    """Import a tracking tool. The error for a missing one says how to read its runs without it."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise RunsError(
            f"{name} is not installed: pip install {name}, or export the runs to a file and give "
            f"its path to Runs.{constructor}",
            where=f"Runs.{constructor}",
        ) from None


def scalars(values: Mapping) -> dict[str, object]:
    """The numbers and texts of a mapping, with nested names joined by dots.

    Names that begin with an underscore are internal to the tool and left out.
    """
    out: dict[str, object] = {}
    for key, value in values.items():
        if str(key).startswith("_"):
            continue
        if isinstance(value, Mapping):
            out |= {f"{key}.{inner}": v for inner, v in scalars(value).items()}
        elif isinstance(value, (str, bool, int, float, np.number)):
            out[str(key)] = value
    return out


def of_rows(rows: list[dict], source: str) -> pd.DataFrame:
    if not rows:
        raise RunsError("no runs were found", where=source)
    return pd.DataFrame(rows)

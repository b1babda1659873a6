"""The types that functions accept as runs: Runs, a path, or a DataFrame."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bayescale.data.runs import Runs
from bayescale.errors import RunsError

#: Runs, the path of a file, or a DataFrame of pandas (frames of polars and pyarrow are read too).
type RunsLike = Runs | str | Path | pd.DataFrame


def as_runs(data: RunsLike, groups=None) -> Runs:
    """Convert Runs, a path or a DataFrame to Runs; `groups` names the group columns.

    Raises
    ------
    RunsError
        If `data` is none of these.
    """
    if isinstance(data, Runs):
        return data
    if isinstance(data, (str, Path)):
        return Runs.read(data, groups=groups)
    if hasattr(data, "columns"):
        return Runs.from_frame(data, groups=groups)
    raise RunsError(
        f"expected Runs, got {type(data).__name__}: make them with Runs.read(path) or "
        "Runs.from_frame(frame)"
    )

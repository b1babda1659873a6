"""Runs as JSON text."""

from __future__ import annotations

import json

import pandas as pd

PLAIN = ("convention", "source", "loss_unit", "noun")
LISTS = ("groups", "notes", "row_notes")


def as_json(runs) -> str:
    """Runs as JSON text; floats are written exactly."""
    table = runs.table
    frame = json.loads(
        table.reset_index(names="_row").to_json(orient="split", index=False, double_precision=15)
    )
    exact = {c: [v.hex() for v in table[c]] for c in table.select_dtypes("float")}
    return json.dumps(
        dict(
            frame=frame,
            exact=exact,
            mapping=dict(runs.mapping),
            **{name: getattr(runs, name) for name in (*PLAIN, *LISTS)},
        )
    )


def attributes(text: str) -> dict:
    """The attributes of runs in the text of `as_json`, or of an earlier version of it."""
    saved = json.loads(text)
    frame = pd.DataFrame(saved["frame"]["data"], columns=saved["frame"]["columns"])
    frame = frame.set_index("_row").rename_axis(None)
    for column, values in saved["exact"].items():
        frame[column] = [float.fromhex(v) for v in values]
    return {
        "table": frame,
        "mapping": saved["mapping"],
        **{name: saved[name] for name in PLAIN if name in saved},
        **{name: tuple(saved[name]) for name in LISTS if name in saved},
    }

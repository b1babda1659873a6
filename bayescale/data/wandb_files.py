"""Files that wandb writes itself (``run-<id>.wandb``), read without wandb.

Such a file is a log of records in blocks, as of LevelDB, after a header of seven bytes. A record is
a protocol buffer. Only the fields that hold the name, the configuration, the logged values and the
exit code of the run are read (wandb/proto/wandb_internal.proto).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from bayescale.data.frames import of_rows, scalars
from bayescale.errors import RunsError

#: The first bytes of a file, and the length of its header.
WANDB, HEADER = b":W&B", 7
BLOCK, PREFIX = 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
#: Numbers of the fields of a record, and of the parts for runs, items and the end of a run.
HISTORY, SUMMARY, CONFIG, RUN, EXIT = 2, 3, 5, 17, 18
RUN_ID, RUN_CONFIG, RUN_NAME = 1, 4, 8
ITEM, KEY, NESTED_KEY, VALUE = 1, 1, 2, 16
EXIT_CODE = 1


def of_wandb_file(content: bytes, source: str) -> pd.DataFrame:
    """One row per logged step of a run: run, step, state, config and metrics."""
    name, state, config, steps, _ = _run(content, source)
    return of_rows(
        [
            {"run": name, "step": step.get("_step", i), "state": state, **config, **scalars(step)}
            for i, step in enumerate(steps)
        ],
        source,
    )


def of_wandb_folder(folder: Path) -> pd.DataFrame:
    """One row per run of a folder such as ``wandb``: name, state, config and last logged values."""
    rows = []
    for path in files_in(folder):
        name, state, config, _, summary = _run(path.read_bytes(), str(path))
        config = {f"config.{k}" if k in summary else k: v for k, v in config.items()}
        rows.append({"name": name, "state": state, **config, **summary})
    return of_rows(rows, str(folder))


def files_in(folder: Path) -> list[Path]:
    """The files of runs in a folder of wandb; the link to the latest run is not followed."""
    found = [*folder.glob("*.wandb"), *folder.glob("*run-*/*.wandb")]
    return sorted(path for path in found if path.parent.name != "latest-run")


def _run(content: bytes, source: str):
    """The name, state, config, logged steps and last values of a run."""
    name, code, config, steps, last = "", None, {}, [], {}
    try:
        for record in _records(content):
            for number, field in _fields(record):
                if number == RUN:
                    parts = list(_fields(field))
                    found = {n: v.decode() for n, v in parts if n in (RUN_ID, RUN_NAME)}
                    name = found.get(RUN_NAME) or found.get(RUN_ID, name)
                    for part in (v for n, v in parts if n == RUN_CONFIG):
                        config |= _items(part)
                elif number == CONFIG:
                    config |= _items(field)
                elif number == HISTORY:
                    steps.append(_items(field))
                elif number == SUMMARY:
                    last |= _items(field)
                elif number == EXIT:
                    code = dict(_fields(field)).get(EXIT_CODE, 0)
    except (ValueError, IndexError, AttributeError, TypeError):
        raise RunsError(
            "this file of wandb cannot be read: export the runs to a csv file", where=source
        ) from None
    for step in steps:
        last |= step
    state = "running" if code is None else "failed" if code else "finished"
    return name, state, scalars(config), steps, scalars(last)


def _records(content: bytes) -> Iterator[bytes]:
    """The records of a log; a record that is cut off at the end is left out."""
    at, parts = HEADER, b""
    while at + PREFIX <= len(content):
        left = BLOCK - at % BLOCK
        if left < PREFIX:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        data = content[at + PREFIX : at + PREFIX + length]
        at += PREFIX + length
        if len(data) < length or kind not in (FULL, FIRST, MIDDLE, LAST):
            return
        parts = data if kind in (FULL, FIRST) else parts + data
        if kind in (FULL, LAST):
            yield parts


def _fields(message: bytes) -> Iterator[tuple[int, object]]:
    """The numbers and values of the fields of a message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind in (1, 2, 5):
            length, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = message[at : at + length], at + length
        else:
            raise ValueError(f"a field of kind {kind}")
        yield tag >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _items(message: bytes) -> dict[str, object]:
    """The values of a config, a summary or a logged step, by key."""
    out = {}
    for _, item in (field for field in _fields(message) if field[0] == ITEM):
        keys, value = [], None
        for number, part in _fields(item):
            if number in (KEY, NESTED_KEY):
                keys.append(part.decode())
            elif number == VALUE:
                value = json.loads(part)
        out[".".join(keys)] = value
    return out

"""File formats: delimited text, markdown and JSON; files of other formats; folders."""

from __future__ import annotations

import ast
import codecs
import csv
import difflib
import io
import json
import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.data import binary_files, frames, headers, names, texts, wandb_files
from bayescale.errors import RunsError
from bayescale.units import counted

READ = (
    "csv, tsv, markdown, JSON, JSON lines, parquet, feather, Excel (.xlsx), npz, each also as .gz, "
    ".bz2, .xz or .zip, trackio, wandb"
)
#: A folder of more files is not read.
MOST_FILES = 5000
PARQUET, EXCEL = (".parquet", ".pq"), (".xlsx", ".xlsm")
DELIMITERS = ",;\t|"
MISSING = frozenset(
    {"", "na", "n/a", "n.a.", "nan", "nat", "null", "none", "-", "--", "–", "—", "<na>", "tbd", "?"}
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class RawTable:
    """Cells as they were written.

    Attributes
    ----------
    cells : pandas.DataFrame
        Cells of any type; the index holds line numbers or row labels.
    noun : str
        The word for a row in messages: ``"line"`` or ``"row"``.
    source : str
        The file, or a description of the table.
    notes : tuple of str
        What was skipped or rearranged.
    """

    cells: pd.DataFrame
    noun: str
    source: str
    notes: tuple[str, ...] = ()

    def rows(self, bad) -> str:
        """Name rows: ``(line 4)`` or ``(lines 4, 17, 91 and 8 more)``."""
        labels = [str(label) for label in self.cells.index[np.asarray(bad, dtype=bool)]]
        more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
        return f"({self.noun}{'s' * (len(labels) > 1)} {', '.join(labels[:8])}{more})"


def is_missing(cell: object) -> bool:
    """Whether a cell is empty or one of the usual words for a missing value."""
    return str(cell).strip().lower() in MISSING


def read(path: str | Path) -> RawTable:
    """Read a file of any supported format; raises `RunsError` if it is not a table."""
    if not isinstance(path, (str, os.PathLike)):
        raise RunsError(
            f"a file is read, not a {type(path).__name__}: Runs.from_frame takes a DataFrame"
        )
    path = Path(path)
    where = str(path)
    if not os.path.exists(path):  # unlike Path.exists, False for any string
        near = difflib.get_close_matches(path.name, _names_beside(path), 1)
        hint = f" Did you mean {path.with_name(near[0])}?" if near else ""
        raise RunsError(f"there is no such file.{hint}", where=where)
    if path.is_dir():
        if wandb_files.files_in(path):
            return RawTable(wandb_files.of_wandb_folder(path).astype(object), "row", where)
        return _folder(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunsError(f"cannot be read ({error.strerror})", where=where) from None
    suffixes = [s.lower() for s in path.suffixes]
    content, suffixes = binary_files.opened(content, suffixes, where)
    suffix = suffixes[-1] if suffixes else ""
    if suffix in PARQUET or content.startswith((b"PAR1", binary_files.ARROW)):
        return RawTable(binary_files.of_arrow(content, where), "row", where)
    if suffix == ".npz" or content.startswith(binary_files.NUMPY):
        return RawTable(binary_files.of_numpy(content, where), "row", where)
    binary_files.refuse_unread(content, where)
    if suffix in EXCEL:
        cells, notes = binary_files.of_excel(content, where)
        return RawTable(cells, "row", where, notes)
    if content.startswith(wandb_files.WANDB):
        return RawTable(wandb_files.of_wandb_file(content, where).astype(object), "row", where)
    if content.startswith(frames.SQLITE):
        return RawTable(frames.of_trackio(path).astype(object), "row", where)
    text, notes = _decoded(content, where)
    table = _text(text, suffix, where)
    return replace(table, notes=(*notes, *table.notes))


def _folder(folder: Path) -> RawTable:
    """The tables of a folder that have the same columns, or objects of JSON, one per run."""
    found = [p for p in sorted(folder.glob("*")) if p.suffix[1:].lower() in binary_files.ENDINGS]
    if not found:
        found = [p for p in sorted(folder.glob("*/*")) if p.suffix.lower() == ".json"]
    tables = [read(p).cells for p in found] if 1 < len(found) <= MOST_FILES else []
    objects = all(len(t) == 1 for t in tables)
    if not tables or not (objects or len({tuple(t) for t in tables}) == 1):
        raise RunsError(
            "this is a directory: name a csv or parquet file in it, or a directory of tables with "
            "the same columns",
            where=str(folder),
        )
    stems = [p.stem for p in found]
    if len({*stems}) < len(stems):
        stems = [p.parent.name for p in found]
    if not objects and not any("run" in t for t in tables):
        tables = [t.assign(run=stem) for t, stem in zip(tables, stems, strict=True)]
    rows = [
        t.set_axis([stem if objects else f"{stem}:{i}" for i in t.index])
        for t, stem in zip(tables, stems, strict=True)
    ]
    note = f"read {len(found)} files of the directory" + (
        "" if objects else "; the column 'run' holds their names"
    )
    return RawTable(pd.concat(rows).astype(object), "row", str(folder), (note,))


def frame(path) -> pd.DataFrame:
    """Read a file as a DataFrame, with numeric columns as numbers and missing cells as NaN or None.

    The index holds line numbers (text files) or the index of the file (parquet).
    """
    cells = read(path).cells
    out = {}
    for name in cells:
        text = cells[name].map(lambda v: None if is_missing(v) else v)
        values = pd.to_numeric(text, errors="coerce")
        out[name] = values if values.notna().sum() == text.notna().sum() else text
    return pd.DataFrame(out, index=cells.index)


def _text(text: str, suffix: str, where: str) -> RawTable:
    """The table in a text: JSON, JSON lines, markdown, or delimited."""
    if not text.strip():
        raise RunsError("the file is empty", where=where)
    if "\0" in text:
        raise RunsError("this is not a text table (it contains NUL bytes)", where=where)
    start = text.lstrip()[:1]
    if suffix in (".json", ".jsonl", ".ndjson") or start == "{" or text.lstrip()[:2] == "[{":
        return _json(text, where)
    if re.match(r"<(?:!doctype|html|table|div|style)\b", text.lstrip()[:20], re.IGNORECASE):
        rows = texts.of_html(text)
        if not rows:
            raise RunsError("this page of HTML holds no table", where=where)
        cells, notes = headers.as_table(headers.without_title(rows), where, "row")
        return RawTable(cells, "row", where, notes)
    if (log := texts.of_log(text)) is not None:
        return RawTable(log[0], "line", where, log[1])
    if re.search(r"\\begin\{(?:tabular|table|longtable)", text):
        raise RunsError(
            "this is LaTeX, which is not read: save the table as csv, with commas for & and "
            "without \\\\ and \\hline",
            where=where,
        )
    # Tables of databases have the frames of markdown, with + at their corners.
    lines = [re.sub(r"(?<=-)\+(?=-)|^\+(?=-)|(?<=-)\+$", "|", x) for x in text.split("\n")]
    rules = [
        i
        for i, line in enumerate(lines)
        if re.fullmatch(r"\s*\|?(\s*:?-{2,}:?\s*\|?)+\s*", line) and "|" in line and i
    ]
    if rules:
        cells, notes = _markdown(lines, rules, where)
    else:
        cells, notes = _csv(text, where)
    return RawTable(cells, "line", where, notes)


def _names_beside(path: Path) -> list[str]:
    try:
        return [p.name for p in path.parent.iterdir()]
    except OSError:
        return []


def _decoded(content: bytes, where: str) -> tuple[str, tuple[str, ...]]:
    """The text of a file: UTF-8, UTF-16 or UTF-32, else Latin-1, which a note names."""
    encoding = next((name for bom, name in _BOMS if content.startswith(bom)), None)
    if encoding is None and len(content) > 3 and b"\0" in content[:200]:
        even, odd = content[:200:2].count(0), content[1:200:2].count(0)
        encoding = "utf-16-le" if odd > 4 * even else "utf-16-be" if even > 4 * odd else None
    try:
        text = content.decode(encoding or "utf-8")
        return text.replace("\r\n", "\n").replace("\r", "\n"), ()
    except UnicodeDecodeError:
        pass
    text = content.decode("cp1252", errors="replace")
    if encoding or "�" in text or re.search(r"[\x00-\x08\x0e-\x1f]", text):
        raise RunsError(
            f"this is not a text table (it is not UTF-8): formats read are {READ}", where=where
        )
    note = "the text is not UTF-8 and was read as Latin-1: check accented letters in labels"
    return text.replace("\r\n", "\n").replace("\r", "\n"), (note,)


def _json(text: str, where: str) -> RawTable:
    """Records as JSON lines, a JSON array, columns, or a log under ``log_history``."""
    try:
        loaded = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
        records, at = [], 1
        try:
            for at, line in lines:  # noqa: B007
                records.append(_object(line))
        except (json.JSONDecodeError, RecursionError):
            what = str(error) if at == lines[0][0] else f"line {at} is not a JSON object"
            raise RunsError(f"this is not JSON or JSON lines ({what})", where=where) from None
        loaded = records
        if all(isinstance(r, dict) for r in records):
            index = [i for i, _ in lines]
            return RawTable(_records(records, where, index), "line", where)
    if isinstance(loaded, dict) and isinstance(loaded.get("log_history"), list):
        loaded = loaded["log_history"]
    results = loaded.get("results") if isinstance(loaded, dict) else None
    if isinstance(results, dict) and re.search(r"'acc|,none'|stderr", str(results)):
        raise RunsError(
            "these are scores of one model, as lm-evaluation-harness writes them: make a table "
            "with a row for each model and task, and columns of parameters, tokens and scores",
            where=where,
        )
    if isinstance(loaded, dict) and {"columns", "data"} <= set(loaded):
        try:
            return RawTable(pd.DataFrame(loaded["data"], columns=loaded["columns"]), "row", where)
        except (ValueError, TypeError):
            raise RunsError("'columns' and 'data' do not fit together", where=where) from None
    if isinstance(loaded, dict):
        tables = _tables_in(loaded)
        values = list(loaded.values())
        if len(tables) == 1:
            loaded = tables[0]
        elif values and all(isinstance(v, list) for v in values):
            if len({len(v) for v in values}) > 1:
                raise RunsError("the columns have different lengths", where=where)
            loaded = [dict(zip(loaded, row, strict=True)) for row in zip(*values, strict=True)]
        elif values and all(isinstance(v, dict) for v in values):
            by_row = all(re.fullmatch(r"\d+", k) for v in values for k in v)
            if by_row:  # as pandas.DataFrame.to_json writes it
                return RawTable(pd.DataFrame(loaded).astype(object), "row", where)
            loaded = [{"name": k, **v} for k, v in loaded.items()]
        else:
            loaded = [loaded]
    if not (isinstance(loaded, list) and loaded and all(isinstance(r, dict) for r in loaded)):
        raise RunsError(
            "this JSON is not a table: give a list of objects, one per run", where=where
        )
    return RawTable(_records(loaded, where), "row", where)


def _object(line: str):
    """The object in a line of JSON, or in a dictionary as Python prints it."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        if not line.lstrip().startswith("{'"):
            raise
    try:
        return ast.literal_eval(line.strip())
    except (ValueError, SyntaxError):
        raise json.JSONDecodeError("not an object", line, 0) from None


def _tables_in(loaded: dict) -> list[list]:
    """The lists of objects in an object, at any depth."""
    found = []
    for value in loaded.values():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            found.append(value)
        elif isinstance(value, dict):
            found += _tables_in(value)
    return found


def _records(records: list[dict], where: str, index: list[int] | None = None) -> pd.DataFrame:
    """Objects as rows; nested objects become columns such as ``config.n_params``."""
    frame = pd.json_normalize(records).astype(object)
    frame.columns = [str(c) for c in frame.columns]
    lists = [c for c in frame if len(frame) and frame[c].map(lambda v: isinstance(v, list)).all()]
    lengths = frame[lists].map(len).nunique(axis=1)
    has_loss = any(names.recognise(c).quantity == "loss" for c in lists)
    if len(lists) > 1 and has_loss and (lengths == 1).all():  # the checkpoints of each run
        runs = [] if {"run", "name"} & set(frame) else [("run", [f"run {i}" for i in frame.index])]
        return frame.assign(**dict(runs)).explode(lists, ignore_index=True).astype(object)
    if not len(frame.columns):
        raise RunsError("the file holds no column names", where=where)
    if index is not None:
        frame.index = index
    return frame


def _markdown(lines: list[str], rules: list[int], where: str):
    """The longest markdown table of a text, with all tables of the same columns."""

    def cells(line: str) -> list[str]:
        inner = line.strip().removeprefix("|")
        inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
        parts = re.split(r"(?<!\\)\|", inner)
        parts = [re.sub(r"</?[a-zA-Z]\w*/?>", "", p.replace("\\|", "|")).strip() for p in parts]
        return [re.sub(r"^[*_`]+|[*_`]+$", "", p) for p in parts]

    tables = []
    for rule in rules:
        rows = [(rule, cells(lines[rule - 1]))]
        for i in range(rule + 1, len(lines)):
            if "|" not in lines[i]:
                break
            if i not in rules:  # a frame below the last row
                rows.append((i + 1, cells(lines[i])))
        tables.append(rows)
    longest = max(tables, key=len)
    alike = [rows for rows in tables if rows[0][1] == longest[0][1]]
    cells, notes = headers.as_table([longest[0], *(r for rows in alike for r in rows[1:])], where)
    if len(alike) > 1:
        notes += (f"{len(alike)} tables of the same columns are read as one",)
    if others := sum(len(rows) > 1 for rows in tables if rows not in alike):
        notes += (f"{counted(others, 'other table is', 'other tables are')} not read",)
    return cells, notes


def _csv(text: str, where: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    delimiter = _delimiter(text)
    if delimiter is None:
        return headers.as_table(headers.uncommented(_columns_of_spaces(text)), where)
    # Strict, because a cell with an unclosed quote would otherwise contain all rows below it.
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    rows: list[tuple[int, list]] = []
    start = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((start, [cell.strip() for cell in row]))
            start = reader.line_num + 1
    except csv.Error as error:
        raise RunsError(f"line {start} cannot be read as csv ({error})", where=where) from None
    return headers.as_table(headers.without_title(headers.uncommented(rows)), where)


def _delimiter(text: str) -> str | None:
    """The delimiter that is found equally often in most lines; None for columns of spaces."""
    lines = [ln for ln in text.split("\n")[:200] if ln.strip() and not ln.lstrip().startswith("#")]
    lines = [re.sub(r'"[^"]*"', "", line) for line in lines]
    best, score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        counts = Counter(n for line in lines if (n := line.count(delimiter)))
        if counts:
            n, times = counts.most_common(1)[0]
            if (times / len(lines), n) > score:
                best, score = delimiter, (times / len(lines), n)
    return None if not score[1] and _columns_of_spaces(text) else best


def _columns_of_spaces(text: str) -> list[tuple[int, list]]:
    """Rows of a table of columns of spaces, such as pandas prints; empty if it is none."""
    lines = [(i, line.strip()) for i, line in enumerate(text.split("\n"), 1)]
    lines = [(i, line) for i, line in lines if line and not re.fullmatch(r"[-= ]+", line)]
    for pattern in (r"\s+", r"\s{2,}"):
        rows = [(i, re.split(pattern, line)) for i, line in lines]
        plain = [row for _, row in rows if not row[0].startswith("#")]
        widths = {len(row) for row in plain[1:]}
        if len(widths) != 1:
            continue
        (width,), header = widths, len(plain[0])
        if width == header > 1:
            return rows
        if width == header + 1 > 2:  # an index without a name
            return [(i, ["", *row] if row is plain[0] else row) for i, row in rows]
    return []

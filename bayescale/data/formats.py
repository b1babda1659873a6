"""File formats: delimited text, markdown, JSON, parquet and Excel, each also compressed as .gz."""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import json
import os
import re
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.data import frames, wandb_files
from bayescale.errors import RunsError

READ = (
    "csv, tsv, markdown, JSON, JSON lines, parquet, Excel (.xlsx), each also as .gz, trackio, wandb"
)
PARQUET, EXCEL = (".parquet", ".pq"), (".xlsx", ".xlsm")
DELIMITERS = ",;\t|"
MISSING = frozenset({"", "na", "n/a", "nan", "nat", "null", "none", "-", "--", "<na>"})
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
    path = Path(path)
    where = str(path)
    if not os.path.exists(path):  # unlike Path.exists, False for any string
        near = difflib.get_close_matches(path.name, _names_beside(path), 1)
        hint = f" Did you mean {path.with_name(near[0])}?" if near else ""
        raise RunsError(f"there is no such file.{hint}", where=where)
    if path.is_dir():
        if wandb_files.files_in(path):
            return RawTable(wandb_files.of_wandb_folder(path).astype(object), "row", where)
        raise RunsError("this is a directory: name a csv or parquet file in it", where=where)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunsError(f"cannot be read ({error.strerror})", where=where) from None
    suffixes = [s.lower() for s in path.suffixes]
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            raise RunsError(
                "this is not a complete gzip file: copy it again", where=where
            ) from None
        suffixes = [s for s in suffixes if s != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if suffix in PARQUET or content[:4] == b"PAR1":
        return RawTable(_parquet(content, where), "row", where)
    if suffix in (*EXCEL, ".xls"):
        return _excel(content, suffix, where)
    if content.startswith(wandb_files.WANDB):
        return RawTable(wandb_files.of_wandb_file(content, where).astype(object), "row", where)
    if content.startswith(frames.SQLITE):
        return RawTable(frames.of_trackio(path).astype(object), "row", where)
    text, notes = _decoded(content, where)
    return replace(_text(text, suffix, where), notes=notes)


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
        return RawTable(_markdown(lines, rules, where), "line", where)
    return RawTable(_csv(text, where), "line", where)


def _names_beside(path: Path) -> list[str]:
    try:
        return [p.name for p in path.parent.iterdir()]
    except OSError:
        return []


def _parquet(content: bytes, where: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(io.BytesIO(content))
    except ImportError:
        raise RunsError(
            "reading parquet needs pyarrow: pip install 'bayescale[parquet]'", where=where
        ) from None
    except Exception as error:  # pyarrow raises errors of many types for a file that is not parquet
        raise RunsError(
            f"this is not a parquet file ({str(error).splitlines()[0]})", where=where
        ) from None


def _excel(content: bytes, suffix: str, where: str) -> RawTable:
    """The largest sheet of a workbook."""
    if suffix == ".xls":
        raise RunsError("the old Excel format .xls is not read: save it as .xlsx", where=where)
    try:
        import openpyxl
    except ImportError:
        raise RunsError(
            "reading Excel needs openpyxl: pip install 'bayescale[excel]', or save it as csv",
            where=where,
        ) from None
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), data_only=True, read_only=True)
        sheets = {s.title: list(s.iter_rows(values_only=True)) for s in book.worksheets}
    except Exception as error:  # openpyxl raises errors of many types for a broken file
        raise RunsError(
            f"this is not an Excel workbook ({type(error).__name__}): save it as .xlsx or csv",
            where=where,
        ) from None
    filled = {
        name: [
            (i, ["" if v is None else v for v in row])
            for i, row in enumerate(rows, 1)
            if any(v is not None and str(v).strip() for v in row)
        ]
        for name, rows in sheets.items()
    }
    name = max(filled, key=lambda n: len(filled[n]))
    others = [n for n in filled if n != name and filled[n]]
    notes = (f"read sheet {name!r}; not read: {', '.join(map(repr, others))}",) if others else ()
    rows = [(i, [v.strip() if isinstance(v, str) else v for v in row]) for i, row in filled[name]]
    while rows and all(str(row[-1]) == "" for _, row in rows):
        rows = [(i, row[:-1]) for i, row in rows]
    return RawTable(_table(_without_title(rows), where), "row", where, notes)


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
                records.append(json.loads(line))
        except (json.JSONDecodeError, RecursionError):
            what = str(error) if at == lines[0][0] else f"line {at} is not a JSON object"
            raise RunsError(f"this is not JSON or JSON lines ({what})", where=where) from None
        loaded = records
        if all(isinstance(r, dict) for r in records):
            index = [i for i, _ in lines]
            return RawTable(_records(records, where, index), "line", where)
    if isinstance(loaded, dict) and isinstance(loaded.get("log_history"), list):
        loaded = loaded["log_history"]
    if isinstance(loaded, dict) and {"columns", "data"} <= set(loaded):
        try:
            return RawTable(pd.DataFrame(loaded["data"], columns=loaded["columns"]), "row", where)
        except (ValueError, TypeError):
            raise RunsError("'columns' and 'data' do not fit together", where=where) from None
    if isinstance(loaded, dict):
        tables = [
            v for v in loaded.values() if isinstance(v, list) and v and isinstance(v[0], dict)
        ]
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


def _records(records: list[dict], where: str, index: list[int] | None = None) -> pd.DataFrame:
    """Objects as rows; nested objects become columns such as ``config.n_params``."""
    frame = pd.json_normalize(records).astype(object)
    frame.columns = [str(c) for c in frame.columns]
    if not len(frame.columns):
        raise RunsError("the file holds no column names", where=where)
    if index is not None:
        frame.index = index
    return frame


def _markdown(lines: list[str], rules: list[int], where: str) -> pd.DataFrame:
    """The longest markdown table of a text."""

    def cells(line: str) -> list[str]:
        inner = line.strip().removeprefix("|")
        inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
        parts = re.split(r"(?<!\\)\|", inner)
        return [re.sub(r"^[*_`]+|[*_`]+$", "", p.replace("\\|", "|").strip()) for p in parts]

    tables = []
    for rule in rules:
        rows = [(rule, cells(lines[rule - 1]))]
        for i in range(rule + 1, len(lines)):
            if "|" not in lines[i]:
                break
            if i not in rules:  # a frame below the last row
                rows.append((i + 1, cells(lines[i])))
        tables.append(rows)
    return _table(max(tables, key=len), where)


def _csv(text: str, where: str) -> pd.DataFrame:
    delimiter = _delimiter(text)
    if delimiter is None:
        rows = [(i, line.split()) for i, line in enumerate(text.split("\n"), 1)]
        return _table(_uncommented([(i, row) for i, row in rows if row]), where)
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
    return _table(_without_title(_uncommented(rows)), where)


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
    widths = {len(line.split()) for line in lines}
    if not score[1] and len(lines) > 1 and len(widths) == 1 and max(widths) > 1:
        return None
    return best


def _uncommented(rows: list[tuple[int, list]]) -> list[tuple[int, list]]:
    """Rows without comments; a first comment above a row of numbers is the header."""
    plain = [(i, row) for i, row in rows if not str(row[0]).startswith("#")]
    leading = [(i, row) for i, row in rows if not plain or i < plain[0][0]]
    if leading and plain and _is_numeric(plain[0][1]) and len(leading[-1][1]) == len(plain[0][1]):
        i, row = leading[-1]
        return [(i, [str(row[0]).lstrip("# "), *row[1:]]), *plain]
    if not plain or (rows and not leading and plain[0][0] != rows[0][0]):
        return rows
    if plain and _is_numeric(plain[0][1]):
        return rows
    header = [row for _, row in rows[:1] if len(row) == len(plain[0][1]) > 1]
    if header and rows[0] not in plain and not _is_name_row(plain[0][1]):
        i, row = rows[0]
        return [(i, [str(row[0]).lstrip("# "), *row[1:]]), *plain]
    return plain


def _is_numeric(row: list) -> bool:
    return any(re.fullmatch(r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?\s*[kmbgtKMBGT]?", str(v)) for v in row)


def _is_name_row(row: list) -> bool:
    return not _is_numeric(row)


def _without_title(rows: list[tuple[int, list]]) -> list[tuple[int, list]]:
    """Rows without lines above the header that hold a single cell."""
    widths = Counter(sum(str(v).strip() != "" for v in row) for _, row in rows[1:20])
    if not widths or widths.most_common(1)[0][0] < 2:
        return rows
    first = 0
    while first < len(rows) - 2 and sum(str(v).strip() != "" for v in rows[first][1]) == 1:
        first += 1
    return _without_upper_header(rows[first:])


def _without_upper_header(rows: list[tuple[int, list]]) -> list[tuple[int, list]]:
    """Rows with one header, where a row of names for several columns stands above it.

    Only names that several columns share are put before those of the columns.
    """
    if len(rows) < 3 or any(len(row) != len(rows[0][1]) for _, row in rows[:3]):
        return rows
    upper, (i, names), (_, first) = rows[0][1], rows[1], rows[2]
    whole = all(str(v).strip() for v in names) and _is_name_row(names) and _is_name_row(upper)
    if all(str(v).strip() for v in upper[1:]) or not whole or not _is_numeric(first):
        return rows
    above = ""
    full = []
    for name, more in zip(names, upper, strict=True):
        above = str(more).strip() or above
        full.append(f"{above} {name}" if names.count(name) > 1 and above else name)
    return [(i, full), *rows[2:]]


def _table(rows: list[tuple[int, list]], where: str) -> pd.DataFrame:
    """Cells below a header, or an error that lists what is wrong with its shape."""
    if not rows:
        raise RunsError("the file holds no column names", where=where)
    (_, header), *body = rows
    names = [str(name).strip() or f"unnamed_{i + 1}" for i, name in enumerate(header)]
    problems = [
        f"column {name!r} appears {n} times: give each column its own name"
        for name, n in Counter(names).items()
        if n > 1
    ]
    ragged = [(n, len(row)) for n, row in body if len(row) != len(header)]
    for number, width in ragged[:8]:
        problems.append(f"line {number} has {width} cells, the header has {len(header)}")
    if len(ragged) > 8:
        problems.append(f"{len(ragged) - 8} more lines have a wrong number of cells")
    if problems:
        raise RunsError(problems, where=where)
    return pd.DataFrame(
        [row for _, row in body], columns=names, index=[n for n, _ in body], dtype=object
    )

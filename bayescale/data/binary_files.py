"""Binary formats: parquet, feather, Excel, numpy; compressed files and archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib

import numpy as np
import pandas as pd

from bayescale.data import headers, names, remedies
from bayescale.errors import RunsError

#: First bytes of compressed files: the name of the format, its ending and its function.
COMPRESSED = {
    b"\x1f\x8b": ("gzip", ".gz", gzip.decompress),
    b"BZh": ("bzip2", ".bz2", bz2.decompress),
    b"\xfd7zXZ": ("xz", ".xz", lzma.decompress),
}
ZIP, ARROW, NUMPY = b"PK\x03\x04", b"ARROW1", b"\x93NUMPY"
#: First bytes of formats that hold no table or are not read.
NOT_READ = {
    b"\x89HDF": "HDF5 or netCDF",
    b"CDF": "netCDF",
    b"%PDF": "a PDF",
    b"\x80\x04": "a pickle, which could run code",
    b"\x80\x05": "a pickle, which could run code",
    b"\xd0\xcf\x11\xe0": "the old Excel format .xls",
    b"\x28\xb5\x2f\xfd": "compressed by zstandard",
}


def opened(content: bytes, suffixes: list[str], where: str) -> tuple[bytes, list[str]]:
    """The content of a compressed file or of the only table in an archive, and its endings."""
    for magic, (name, ending, decompress) in COMPRESSED.items():
        if content.startswith(magic):
            try:
                content = decompress(content)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
                raise RunsError(
                    f"this is not a complete {name} file: copy it again", where=where
                ) from None
            return content, [s for s in suffixes if s != ending]
    if not content.startswith(ZIP) or suffixes[-1:] == [".xlsx"]:
        return content, suffixes
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = [m for m in archive.namelist() if not m.endswith("/") and "__MACOSX" not in m]
        if "[Content_Types].xml" in members:
            return content, [".xlsx"]
        if "mimetype" in members:
            raise RunsError("the format .ods is not read: save it as .xlsx or csv", where=where)
        if members and all(m.endswith(".npy") for m in members):
            return content, [".npz"]
        tables = [m for m in members if m.lower().rpartition(".")[2] in ENDINGS]
        if len(tables) != 1:
            raise RunsError(
                f"this archive holds {len(tables)} tables: unpack it and name one", where=where
            )
        return archive.read(tables[0]), [f".{tables[0].lower().rpartition('.')[2]}"]
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError):
        raise RunsError(
            "this is not a complete zip file, or it has a password: unpack it", where=where
        ) from None


#: Endings of the files in an archive or a folder that may be tables.
ENDINGS = ("csv", "tsv", "json", "jsonl", "ndjson", "parquet", "xlsx", "feather")


def refuse_unread(content: bytes, where: str) -> None:
    """Raise an error if the content is of a known format that is not read."""
    for magic, name in NOT_READ.items():
        if content.startswith(magic):
            raise RunsError(f"this is {name}: save the table as csv or parquet", where=where)


def of_arrow(content: bytes, where: str) -> pd.DataFrame:
    """The table of a parquet or feather file."""
    is_feather = content.startswith(ARROW)
    read, name = (pd.read_feather, "feather") if is_feather else (pd.read_parquet, "parquet")
    try:
        return read(io.BytesIO(content))
    except ImportError:
        raise RunsError(
            f"reading {name} needs pyarrow: pip install 'bayescale[parquet]'", where=where
        ) from None
    except Exception as error:  # pyarrow raises errors of many types for a broken file
        raise RunsError(
            f"this is not a {name} file ({str(error).splitlines()[0]})", where=where
        ) from None


def of_numpy(content: bytes, where: str) -> pd.DataFrame:
    """The arrays of a npz file, or the fields of a npy file, as columns."""
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        fields = loaded.dtype.names if isinstance(loaded, np.ndarray) else loaded.files
        arrays = {name: np.asarray(loaded[name]) for name in fields or ()}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise RunsError("these arrays of numpy cannot be read: save a csv", where=where) from None
    if (
        not arrays
        or {a.ndim for a in arrays.values()} != {1}
        or len({*map(len, arrays.values())}) > 1
    ):
        found = ", ".join(f"{name} {a.shape}" for name, a in arrays.items()) or "no names"
        raise RunsError(
            f"arrays of one dimension, of equal length and with names are read, not {found}: "
            "np.savez(path, N=N, D=D, loss=loss)",
            where=where,
        )
    return pd.DataFrame(arrays)


def of_excel(content: bytes, where: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The sheet of a workbook whose columns are known, with all sheets of the same columns."""
    try:
        import openpyxl
    except ImportError:
        raise RunsError(
            "reading Excel needs openpyxl: pip install 'bayescale[excel]', or save it as csv",
            where=where,
        ) from None
    try:
        book = openpyxl.load_workbook(io.BytesIO(content), data_only=True)
        sheets = {sheet.title: _rows(sheet) for sheet in book.worksheets}
    except Exception as error:  # openpyxl raises errors of many types for a broken file
        raise RunsError(
            f"this is not an Excel workbook ({type(error).__name__}): save it as .xlsx or csv",
            where=where,
        ) from None
    sheets = {name: rows for name, rows in sheets.items() if rows} or sheets

    def known(name: str) -> tuple[int, int]:
        found = {names.recognise(str(v)).quantity for _, row in sheets[name][:3] for v in row}
        return len(found & set("NDC") | found & {"loss"}), len(sheets[name])

    best = max(sheets, key=known)
    cells, notes = headers.as_table(headers.without_title(sheets[best]), where, "row")
    alike = {best: cells}
    for name in sheets:
        try:
            other, _ = headers.as_table(headers.without_title(sheets[name]), where, "row")
        except RunsError:
            continue
        if list(other) == list(cells) and len(other):
            alike[name] = other
    others = ", ".join(repr(name) for name in sheets if name not in alike)
    if len(alike) > 1 and "sheet" not in cells:
        parts = [alike[name].assign(sheet=name) for name in sheets if name in alike]
        cells = pd.concat(
            [p.set_axis([f"{p['sheet'].iloc[0]}!{i}" for i in p.index]) for p in parts]
        )
        notes += (
            f"read sheets {', '.join(repr(n) for n in sheets if n in alike)}, whose columns are "
            f"the same: if they are of different data, pass {remedies.option('groups', 'sheet')}"
            + (f"; not read: {others}" if others else ""),
        )
    elif others:
        notes += (f"read sheet {best!r}; not read: {others}",)
    return cells, notes


def _rows(sheet) -> list[tuple[int, list]]:
    """The rows of a sheet that are not empty. Cells that are merged downwards hold one value."""
    for merged in list(sheet.merged_cells.ranges):
        if merged.min_col == merged.max_col:
            sheet.unmerge_cells(merged.coord)
            for row in range(merged.min_row + 1, merged.max_row + 1):
                top = sheet.cell(merged.min_row, merged.min_col)
                sheet.cell(row, merged.min_col, top.value)
    rows = [
        (i, ["" if v is None else v.strip() if isinstance(v, str) else v for v in row])
        for i, row in enumerate(sheet.iter_rows(values_only=True), 1)
        if any(v is not None and str(v).strip() for v in row)
    ]
    while rows and all(str(row[-1]) == "" for _, row in rows):
        rows = [(i, row[:-1]) for i, row in rows]
    return rows

"""Atomic writing of files, and reading of netCDF files into memory."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

import xarray as xr

from bayescale.errors import FitError
from bayescale.keywords import on_command_line

#: Endings of files that hold tables of runs, not results.
TABLES = (".csv", ".tsv", ".txt", ".md", ".json", ".jsonl", ".parquet", ".pq", ".xlsx", ".gz")


def writer() -> str:
    """The name of what writes files of fits, for messages."""
    return "'bayescale fit'" if on_command_line() else "save()"


def is_table(path: str | Path) -> bool:
    """Whether a file exists and holds a table of runs, by the ending of its name."""
    path = Path(path)
    return path.is_file() and any(suffix.lower() in TABLES for suffix in path.suffixes)


def opened(path: str | Path, without: Collection[str] = ()) -> xr.DataTree:
    """The tree of a netCDF file, in memory.

    Parameters
    ----------
    path : str or Path
    without : collection of str, optional
        Groups at the top that are not read. Most of the time goes into opening variables.

    Raises
    ------
    FitError
        If the file cannot be read. The message gives the reason.
    """
    import h5netcdf

    path = Path(path)
    where = str(path)
    if not os.path.exists(path):  # unlike Path.exists, false for an invalid name
        raise FitError("there is no such file", where=where)
    if path.is_dir():
        raise FitError(f"this is a directory: name a .nc file that {writer()} wrote", where=where)
    try:
        with h5netcdf.File(path) as file:
            names = [name for name in file.groups if name not in without]
        tree = xr.DataTree(xr.load_dataset(path, engine="h5netcdf"))
        for name in names:
            with xr.open_datatree(path, engine="h5netcdf", group=name) as lazy:
                tree[name] = lazy.load()
        return tree
    except Exception as error:  # h5netcdf and h5py raise many classes of errors
        with path.open("rb") as file:
            start = file.read(4)
        why = "the file is empty" if not start else "this is not a netCDF file"
        if start == b"\x89HDF":
            why = "the file is truncated or damaged"
        reason = str(error).splitlines()[0][:100] if str(error) else "unreadable"
        remedy = f"load a file that {writer()} wrote"
        if is_table(path):
            raise FitError(_of_table(path), where=where) from None
        raise FitError(f"{why} ({reason}): {remedy}", where=where) from None


def _of_table(path: Path) -> str:
    """The message on a table that was given in place of a fit, with the command that fits it."""
    if not on_command_line():
        return f"this is a table, not a fit: fit it first, bs.fit({str(path)!r})"
    return (
        "this is a table, and a saved fit is needed. Make it with `bayescale fit "
        f"{shlex.quote(str(path))} --out fit.nc`, with `--groups COLUMN` if a column names "
        "recipes or other groups, and give fit.nc"
    )


def atomically(path: str | Path, write_to: Callable[[Path], object]) -> None:
    """Write a file completely or not at all.

    Parameters
    ----------
    path : str or Path
    write_to : callable
        ``write_to(temporary)`` writes a temporary file in the folder of `path`. The temporary file
        then replaces `path`.

    Raises
    ------
    FitError
        If the file cannot be written.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise FitError("this is a directory: name a file in it", where=str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise FitError(f"cannot be written ({error.strerror})", where=str(path)) from None
    os.close(handle)
    temporary = Path(name)
    try:
        write_to(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise FitError(f"cannot be written ({error.strerror or error})", where=str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""A fit as one netCDF file: written whole or not at all, read without executing anything."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import xarray as xr

from bayescale.data import Runs
from bayescale.errors import FitError, LawError
from bayescale.laws import Law, get
from bayescale.model.design import TERMS, Design, Effect, Parameter
from bayescale.priors import Fraction, Positive, Real

FORMAT = 2
KEY = "bayescale"
PRIORS = {kind.__name__: kind for kind in (Positive, Fraction, Real)}


def write(path: str | Path, tree: xr.DataTree, plan: Design, facts: dict) -> None:
    """Write draws and everything that explains them, atomically."""
    header = dict(
        format=FORMAT,
        law=plan.law.name,
        parameters=[
            dict(
                name=p.name,
                prior=[type(p.prior).__name__, asdict(p.prior)],
                effects=[asdict(e) for e in p.effects],
            )
            for p in plan.parameters
        ],
        groups=plan.groups,
        drift=plan.drift,
        ahead=None if plan.ahead is None else asdict(plan.ahead),
        scales={c: float(v).hex() for c, v in plan.scales.items()},
        facts=facts,
        runs=plan.runs.to_json(),
    )
    tree = tree.copy()
    for node in tree.subtree:
        node.attrs = {}
    tree.attrs = {KEY: json.dumps(header)}
    atomically(path, lambda temporary: tree.to_netcdf(temporary, engine="h5netcdf"))


def atomically(path: str | Path, write_to: Callable[[Path], object]) -> None:
    """Let `write_to` fill a file beside `path`, then put it there: the old file or the new one."""
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


def read(path: str | Path, law: Law | None = None) -> tuple[xr.DataTree, Design, dict]:
    """Read what `write` wrote, or say why it cannot be read."""
    path = Path(path)
    where = str(path)
    if not os.path.exists(path):  # false, not an error, for a name no system allows
        raise FitError("there is no such file", where=where)
    if path.is_dir():
        raise FitError("this is a directory: name a fit's .nc file", where=where)
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            tree = opened.load()
    except Exception as error:  # h5netcdf and h5py raise many kinds for files that are not theirs
        size = path.stat().st_size
        with path.open("rb") as file:
            cut = file.read(4) == b"\x89HDF"
        why = (
            "the file is cut short or damaged"
            if cut
            else "this is not a netCDF file"
            if size
            else "the file is empty"
        )
        raise FitError(
            f"{why} ({str(error).splitlines()[0][:100] if str(error) else 'unreadable'})"
            ": load a file that Fit.save wrote",
            where=where,
        ) from None
    if KEY not in tree.attrs or "posterior" not in tree.children:
        raise FitError(
            "this netCDF file was not written by bayescale: load one that Fit.save wrote",
            where=where,
        )
    try:
        header = json.loads(tree.attrs[KEY])
        return tree, *_explained(header, law, where)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise FitError(
            f"its description is damaged ({type(error).__name__}: {error}): save the fit again",
            where=where,
        ) from None


def _explained(header: dict, law: Law | None, where: str) -> tuple[Design, dict]:
    """The design and the facts that a file's header describes."""
    if header["format"] > FORMAT:
        raise FitError(
            f"the file has format {header['format']}, newer than this version reads "
            f"({FORMAT}): upgrade bayescale",
            where=where,
        )
    plan = Design(
        law=_law(header["law"], law, where),
        runs=Runs.from_json(header["runs"]),
        groups=tuple(header["groups"]),
        parameters=tuple(
            Parameter(
                p["name"],
                PRIORS[p["prior"][0]](**p["prior"][1]),
                tuple(Effect(**e) for e in p["effects"]),
            )
            for p in header["parameters"]
        ),
        scales={c: float.fromhex(v) for c, v in header["scales"].items()},
        # Files of format 1 know none: their drift comes with forecasts.
        drift=header.get("drift", "ahead"),
        ahead=Positive(**header["ahead"]) if header.get("ahead") else None,
    )
    expected = {p.name for p in plan.parameters} - {*TERMS}
    if expected != set(plan.law.parameters):
        raise FitError(
            f"the law {plan.law.name!r} takes {', '.join(plan.law.parameters)}, but the "
            f"fit was made with {', '.join(sorted(expected))}",
            where=where,
        )
    return plan, header["facts"]


def _law(name: str, given: Law | None, where: str) -> Law:
    if given is not None:
        if given.name != name:
            raise FitError(
                f"the fit was made with the law {name!r}, not {given.name!r}", where=where
            )
        return given
    try:
        return get(name)
    except LawError:
        raise FitError(
            f"the fit was made with the law {name!r}, which is not in the gallery: pass "
            "it, Fit.load(path, law=my_law)",
            where=where,
        ) from None

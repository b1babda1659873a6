"""Storage of results in netCDF files. Writing is atomic, and reading executes no stored code.

A file is a tree of groups. The group of a result has the attribute `KEY`, which is JSON with the
class of the result and its fields. Values that JSON cannot represent are stored beside it. Datasets
are groups. Other results, such as the fit of a forecast, are groups that also have a `KEY`. All
arrays of one type are concatenated in one variable of the group `ARRAYS`, because many small
variables are slow to write and to read.

The reader constructs only classes of this package: results (`Storable`), the classes that a result
lists in `_stored`, and designs. The formula of a law is stored as the name of the law.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.data import Runs
from bayescale.errors import BayescaleError, FitError, LawError
from bayescale.inference import Convergence, ImportanceDiagnostics
from bayescale.laws import Law, get
from bayescale.model.design import TERMS, Design
from bayescale.model.files import atomically, opened, writer
from bayescale.model.hierarchy import Effect, Parameter
from bayescale.priors import Fixed, Fraction, Positive, Real

#: Version of the file format.
FORMAT = 3
KEY = "bayescale"
ARRAYS = "arrays"
#: Names of groups that differ from the names of their fields, because ArviZ expects other names.
GROUPS = {"stats": "sample_stats"}
#: Groups of `Fit._arviz_groups`, which are not read.
ONLY_ARVIZ = ("prior", "log_likelihood", "posterior_predictive", "observed_data", "constant_data")
PRIORS = {kind.__name__: kind for kind in (Positive, Fraction, Real, Fixed)}
#: Classes of results by name.
KINDS: dict[str, type[Storable]] = {}


class Storable:
    """Base class of results that can be saved.

    A subclass is a dataclass of numbers, arrays, tables, datasets and results. Its `_stored` lists
    the other dataclasses in its fields and the objects that are stored by name. Its `_cached` lists
    cached properties, which are stored if they have been computed.
    """

    _stored = ()
    _cached = ()

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        KINDS[cls.__name__] = cls

    def save(self, path: str | Path) -> None:
        """Save the result in one netCDF file.

        The file includes the fits that the result was computed from, with their runs and seeds. It
        is written completely or not at all.

        Parameters
        ----------
        path : str or Path
            The file. Folders that do not exist are created.

        Raises
        ------
        FitError
            If the file cannot be written, or if two different laws have the same name. An existing
            file at `path` is then unchanged.
        """
        tree = _to_tree(self, {})
        for name, group in self._arviz_groups().items():
            tree[name] = xr.DataTree(group)
        header = dict(format=FORMAT, version=version("bayescale"), **json.loads(tree.attrs[KEY]))
        tree.attrs = {KEY: json.dumps(header)}
        atomically(path, lambda temporary: tree.to_netcdf(temporary, engine="h5netcdf"))

    @classmethod
    def load(cls, path: str | Path, law: Law | Mapping[str, Law] | None = None) -> Self:
        """Read a result that `save` wrote.

        Parameters
        ----------
        path : str or Path
        law : Law or mapping of str to Law, optional
            The laws of the fits in the file that `bayescale.laws` does not contain: one law, or a
            mapping of names to laws.

        Raises
        ------
        FitError
            If the file contains a result of another class, is damaged or was written by a newer
            version, if a law is neither in `bayescale.laws` nor given, or if a given law is not
            used.
        """
        return load_one_of((cls,), path, law)

    def _arviz_groups(self) -> Mapping[str, xr.Dataset]:
        """Additional groups of the file for ArviZ; `load` ignores them."""
        return {}


def load_one_of(
    kinds: Sequence[type[Storable]],
    path: str | Path,
    law: Law | Mapping[str, Law] | None = None,
    remedy: str = "",
) -> Storable:
    """Read a result of one of several classes.

    Parameters
    ----------
    kinds : sequence of classes
        The classes that are allowed.
    path, law
        As in `Storable.load`.
    remedy : str
        What to do if the file contains a result of another class; by default, how to read it.

    Raises
    ------
    FitError
        As in `Storable.load`.
    """
    where = str(path)
    tree, header = _read(path)
    names = [cls.__name__ for cls in kinds]
    if header["kind"] not in names:
        raise FitError(
            f"the file holds a result of the class {header['kind']}, not {' or '.join(names)}: "
            + (remedy or "read it with bs.load(path)"),
            where=where,
        )
    laws = _Laws(law, where)
    try:
        result = _from_tree(tree, header, laws)
    except BayescaleError as error:
        raise FitError(error.problems, where=where) from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FitError(
            f"its description is damaged or from another version, {header.get('version')} "
            f"({type(error).__name__}: {error}): save the result again",
            where=where,
        ) from None
    laws.refuse_unused()
    return result


# -- from results to trees and back ------------------------------------------------------------


def _to_tree(result: Storable, laws: dict[str, Law]) -> xr.DataTree:
    writer = _Writer(result._stored, laws)
    header = dict(
        kind=type(result).__name__,
        fields={f.name: writer.pack(getattr(result, f.name), f.name) for f in fields(result)},
        kept={
            name: writer.pack(getattr(result, name), name)
            for name in result._cached
            if name in vars(result)
        },
    )
    groups = dict(writer.groups)
    if writer.arrays:
        flat_by_type = {t: np.concatenate(parts) for t, parts in writer.arrays.items()}
        groups[ARRAYS] = xr.Dataset({t: (f"{t}_place", flat) for t, flat in flat_by_type.items()})
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {KEY: json.dumps(header)}
    return tree


def _from_tree(tree: xr.DataTree, header: dict, laws: _Laws):
    cls = KINDS[header["kind"]]
    reader = _Reader(tree, cls._stored, laws)
    result = cls(**{name: reader.unpack(v) for name, v in header["fields"].items()})
    # The dataclasses are frozen, so cached properties are set in the way functools does it.
    result.__dict__.update(
        {n: reader.unpack(v) for n, v in header["kept"].items() if n in cls._cached}
    )
    return result


class _Writer:
    """Describes values in JSON; collects datasets, results and arrays, which JSON cannot hold."""

    def __init__(self, parts: tuple, laws: dict[str, Law]):
        self.parts, self.laws = (*parts, Convergence, ImportanceDiagnostics), laws
        self.groups: dict[str, xr.Dataset | xr.DataTree] = {}
        self.arrays: dict[str, list[np.ndarray]] = {}

    def pack(self, value, name: str):
        """The description of `value` in JSON. A dataset or result is stored in the group `name`."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, list):
            return [self.pack(v, f"{name}/{i}") for i, v in enumerate(value)]
        if isinstance(value, tuple):
            return {"tuple": self.pack(list(value), name)}
        if isinstance(value, np.ndarray):
            return {"array": self._array(value)}
        if isinstance(value, pd.DataFrame):
            return {"table": _columns(value)}
        if isinstance(value, xr.Dataset):
            name = GROUPS.get(name, name)
            self.groups[name] = value.drop_attrs()  # netCDF attributes cannot be mappings or None
            return {"dataset": [name, list(value.coords), list(value.data_vars)]}
        if isinstance(value, Mapping):  # tested after Dataset, which is also a mapping
            pairs = ((k, v, f"{name}/{i}") for i, (k, v) in enumerate(value.items()))
            return {"map": [[self.pack(k, n), self.pack(v, n)] for k, v, n in pairs]}
        if isinstance(value, Storable):
            self.groups[name] = _to_tree(value, self.laws)
            return {"result": name}
        if isinstance(value, Design):
            if self.laws.setdefault(value.law.name, value.law).loss is not value.law.loss:
                raise FitError(f"two different laws are called {value.law.name!r}: rename one")
            return {"design": _described(value)}
        if any(value is part for part in self.parts):
            return {"named": value.name}
        if type(value) in self.parts:
            by_field = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
            return {"part": [type(value).__name__, self.pack(by_field, name)]}
        raise FitError(f"a {type(value).__name__} cannot be saved ({name})")

    def _array(self, value: np.ndarray) -> list:
        if value.dtype.kind not in "biuf":
            raise FitError(f"an array of {value.dtype} cannot be saved")
        same_type = self.arrays.setdefault(str(value.dtype), [])
        start = sum(a.size for a in same_type)
        same_type.append(value.ravel())
        return [str(value.dtype), start, list(value.shape)]


class _Reader:
    """Constructs the values that a `_Writer` described."""

    def __init__(self, tree: xr.DataTree, parts: tuple, laws: _Laws):
        self.tree, self.laws = tree, laws
        self.classes = {
            p.__name__: p
            for p in (*parts, Convergence, ImportanceDiagnostics)
            if isinstance(p, type)
        }
        self.named = {p.name: p for p in parts if not isinstance(p, type)}
        flat = tree[ARRAYS].to_dataset() if ARRAYS in tree.children else {}
        self.arrays = {str(name): flat[name].to_numpy() for name in flat}

    def unpack(self, packed):
        if isinstance(packed, list):
            return [self.unpack(v) for v in packed]
        if not isinstance(packed, dict):
            return packed
        ((tag, value),) = packed.items()
        match tag:
            case "tuple":
                return tuple(self.unpack(value))
            case "map":
                return {self.unpack(k): self.unpack(v) for k, v in value}
            case "array":
                dtype, start, shape = value
                flat = self.arrays[dtype][start : start + int(np.prod(shape, dtype=int))]
                return flat.reshape(shape).copy()
            case "table":
                return _table(value)
            case "dataset":
                name, *order = value
                return _ordered(self.tree[name].to_dataset(), *order)
            case "result":
                node = self.tree[value]
                return _from_tree(node, json.loads(node.attrs[KEY]), self.laws)
            case "design":
                return _design(value, self.laws)
            case "named":
                return self.named[value]
            case "part":
                name, by_field = value
                return self.classes[name](**self.unpack(by_field))
        raise ValueError(f"there is no kind of value {tag!r}")


def _ordered(data: xr.Dataset, coords=None, names=None) -> xr.Dataset:
    """A dataset with coordinates and variables in the given order, which is that of tables."""
    if coords is None:
        return data
    coords = {name: data.coords[name].variable for name in coords}
    return xr.Dataset({name: data[name].variable for name in names}, coords)


def _columns(frame: pd.DataFrame) -> dict:
    """A table in JSON. Floats are exact, because Python writes enough digits to restore them."""

    def column(values) -> list:
        listed = [v.item() if isinstance(v, np.generic) else v for v in values.tolist()]
        return [str(values.dtype), listed]

    return dict(
        index=column(frame.index),
        columns=[[str(name), *column(frame[name])] for name in frame.columns],
    )


def _table(packed: dict) -> pd.DataFrame:
    dtype, labels = packed["index"]
    index = pd.Index(labels, dtype=dtype)
    columns = {n: pd.Series(v, index=index, dtype=t) for n, t, v in packed["columns"]}
    return pd.DataFrame(columns, index=index)


# -- designs -----------------------------------------------------------------------------------


def _described(plan: Design) -> dict:
    return dict(
        law=plan.law.name,
        own=not _is_in_gallery(plan.law),
        parameters=[
            dict(
                name=p.name,
                prior=[type(p.prior).__name__, asdict(p.prior)],
                effects=[asdict(e) for e in p.effects],
            )
            for p in plan.parameters
        ],
        **{name: getattr(plan, name) for name in ("groups", "drift", "is_observed", "law_error")},
        ahead=None if plan.ahead is None else asdict(plan.ahead),
        scales={c: float(v).hex() for c, v in plan.scales.items()},
        runs=plan.runs.to_json(),
    )


def _design(saved: dict, laws: _Laws) -> Design:
    plan = Design(
        law=laws.find(saved["law"], saved.get("own", False)),
        runs=Runs.from_json(saved["runs"]),
        groups=tuple(saved["groups"]),
        parameters=tuple(
            Parameter(
                p["name"],
                PRIORS[p["prior"][0]](**p["prior"][1]),
                tuple(Effect(**e) for e in p["effects"]),
            )
            for p in saved["parameters"]
        ),
        scales={c: float.fromhex(v) for c, v in saved["scales"].items()},
        # Files of format 1 have no entry. Their fits had no drift, but their forecasts did.
        drift=saved.get("drift", "ahead"),
        ahead=Positive(**saved["ahead"]) if saved.get("ahead") else None,
        is_observed=saved.get("is_observed", True),
        law_error=saved.get("law_error", False),
    )
    expected = {p.name for p in plan.parameters} - {*TERMS}
    if expected != set(plan.law.parameters):
        raise FitError(
            f"the law {plan.law.name!r} has the parameters {', '.join(plan.law.parameters)}, but "
            f"the fit was made with {', '.join(sorted(expected))}"
        )
    return plan


def _is_in_gallery(law: Law) -> bool:
    """Whether `bayescale.laws` has this formula under this name. Priors are stored with the fit."""
    try:
        return get(law.name).loss is law.loss
    except LawError:
        return False


class _Laws:
    """Finds laws by name, first among those that the user passed, then in `bayescale.laws`."""

    def __init__(self, laws: Law | Mapping[str, Law] | None, where: str):
        listed = [laws] if isinstance(laws, Law) else list((laws or {}).values())
        self.passed, self.where = {law.name: law for law in listed}, where
        self.looked_up: list[str] = []

    def find(self, name: str, is_user_law: bool) -> Law:
        self.looked_up.append(name)
        if name in self.passed:
            return self.passed[name]
        try:
            law, why = get(name), "a formula that is not the gallery's"
            if not is_user_law:
                return law
        except LawError:
            why = "which is not in the gallery"
        raise FitError(
            f"a fit was made with the law {name!r}, {why}: pass it in Python, load(path, law=...)"
        )

    def refuse_unused(self) -> None:
        """Raise a `FitError` if a law that the user passed is not used in the file."""
        if unused := [name for name in self.passed if name not in self.looked_up]:
            used = ", ".join(map(repr, dict.fromkeys(self.looked_up))) or "no law"
            raise FitError(
                f"the result was made with {used}, not with {', '.join(map(repr, unused))}",
                where=self.where,
            )


# -- headers -----------------------------------------------------------------------------------


def _read(path: str | Path) -> tuple[xr.DataTree, dict]:
    """The tree and the header of a file."""
    tree, where = opened(path, without=ONLY_ARVIZ), str(path)
    try:
        header = json.loads(tree.attrs[KEY])
        newer = header["format"] > FORMAT
    except (KeyError, TypeError, ValueError) as error:
        why = "was not written by bayescale" if KEY not in tree.attrs else f"is damaged ({error})"
        raise FitError(
            f"this netCDF file {why}: load one that {writer()} wrote", where=where
        ) from None
    if newer:
        raise FitError(
            f"the file has format {header['format']}, but this version reads formats up to "
            f"{FORMAT}: upgrade bayescale",
            where=where,
        )
    return tree, header if "kind" in header else _upgraded(header)


def _upgraded(header: dict) -> dict:
    """The header of a fit in format 1 or 2, converted to format 3."""
    facts = dict(header.get("facts", {}))
    # They stored the default size of a drift ahead, then 0.1, as if it were the user's own.
    if header.get("ahead") == asdict(Positive(0.1, spread=1.5)):
        header = {**header, "ahead": None}
    by_field = dict(
        plan={"design": header},
        posterior={"dataset": ["posterior"]},
        stats={"dataset": ["sample_stats"]},
        random_seed=facts.pop("random_seed", 0),
        facts={"map": [[k, _packed(v)] for k, v in facts.items()]},
    )
    return dict(kind="Fit", fields=by_field, kept={})


def _packed(value):
    return {"map": list(value.items())} if isinstance(value, dict) else value

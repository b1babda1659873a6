"""Runs: the validated table of training runs that everything else is made from."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from bayescale.data import datasets, reading
from bayescale.data.counting import restated
from bayescale.errors import RunsError, RunsWarning, unknown
from bayescale.units import FLOP_PER_PARAMETER_TOKEN, flop, format_count, format_flop

FEWEST_RUNS = 3
NORMAL_95 = 1.959964  # half-width of a central 95 % normal interval, in standard deviations
CANONICAL = ("N", "D", "C", "loss", "loss_sd", "series")
NUMERIC = {*CANONICAL, "loss_lower", "loss_upper"} - {"series"}
LABELS = ("integer", "floating", "string")  # index labels that survive a round trip through JSON


@dataclass(frozen=True, eq=False)
class Runs:
    """A table of training runs, one row a finished run, that has passed every check.

    Make one with `Runs.read`, `Runs.from_frame` or `Runs.example`.

    Attributes
    ----------
    table : pandas.DataFrame
        Columns ``N`` (parameters), ``D`` (tokens seen), ``C`` (training FLOP), ``loss`` (nats per
        token unless you say otherwise), where known ``loss_sd`` (measurement standard error) and
        ``series`` (which run a checkpoint belongs to), then every other column of the source. The
        index names rows as the source does: line numbers of a file, labels of a frame.
    groups : tuple of str
        Columns that label groups (data set, architecture, family).
    mapping : mapping of str to str
        Which column of the source became which quantity.
    convention : str
        How parameters and FLOP are counted.
    source : str
        Where the table came from.
    notes : tuple of str
        What a reader should know: duplicates, disagreements, groups of one.

    Examples
    --------
    >>> runs = Runs.example("openlm")
    >>> len(runs), runs.groups, len(runs[runs.table["N"] > 1e9])
    (104, ('dataset',), 9)
    """

    table: pd.DataFrame
    groups: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    convention: str = ""
    source: str = "a table"
    notes: tuple[str, ...] = ()

    # -- making ------------------------------------------------------------------------------

    @classmethod
    def read(
        cls,
        path,
        *,
        groups: str | Sequence[str] | None = None,
        N=None,
        D=None,
        C=None,
        loss=None,
        loss_sd=None,
        loss_lower=None,
        loss_upper=None,
        series=None,
        allow_small: bool = False,
    ) -> Runs:
        """Read a table of runs from a csv, tsv or parquet file.

        Parameters
        ----------
        path : str or Path
            The file. Its first line names the columns.
        groups : str or sequence of str, optional
            Columns that label groups.
        N, D, C, loss, loss_sd, series : str, optional
            Names of the columns of parameters, tokens, training FLOP, loss, its standard error,
            and the run a checkpoint belongs to. The usual spellings (``params``, ``tokens``,
            ``flops``, ``val_loss``, ...) are found without being named. Two of N, D, C give the
            third by C = 6ND.
        loss_lower, loss_upper : str, optional
            Columns of a 95 % interval of the measured loss, instead of `loss_sd`.
        allow_small : bool
            Accept counts so small that they look like millions or billions left unscaled.

        Returns
        -------
        Runs

        Raises
        ------
        RunsError
            Naming every problem of the table with its rows; nothing is dropped silently.

        Examples
        --------
        >>> runs = Runs.example("openlm")
        >>> len(runs)
        104
        """
        given = dict(
            N=N,
            D=D,
            C=C,
            loss=loss,
            loss_sd=loss_sd,
            loss_lower=loss_lower,
            loss_upper=loss_upper,
            series=series,
        )
        return cls._validated(reading.read(path), groups, given, allow_small)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        groups=None,
        source: str = "the DataFrame",
        allow_small: bool = False,
        **columns,
    ) -> Runs:
        """Make runs from a DataFrame; the same checks and keywords as `Runs.read`.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"params": ["70M", "1B", "7B"], "tokens": ["2B", "20B", "140B"],
        ...                       "loss": [4.1, 3.0, 2.5]})
        >>> Runs.from_frame(frame).table["N"].tolist()
        [70000000.0, 1000000000.0, 7000000000.0]
        """
        if not isinstance(frame, pd.DataFrame):
            raise RunsError(
                f"expected a pandas DataFrame, got {type(frame).__name__}: for a file "
                "use Runs.read(path)",
                where=source,
            )
        allowed = {*CANONICAL, "loss_lower", "loss_upper"}
        if strange := set(columns) - allowed:
            raise RunsError(
                [unknown("column keyword", s, sorted(allowed)) for s in strange], where=source
            )
        if frame.columns.duplicated().any():
            twice = frame.columns[frame.columns.duplicated()].unique()
            raise RunsError([f"column {c!r} appears more than once" for c in twice], where=source)
        cells = frame.astype(object)
        cells.columns = [str(c) for c in frame.columns]
        if not cells.index.is_unique or cells.index.inferred_type not in LABELS:
            cells = cells.reset_index(drop=True)
        return cls._validated(reading.RawTable(cells, "row", source), groups, columns, allow_small)

    @classmethod
    def example(cls, name: str, *, drop_outliers: bool = False) -> Runs:
        """A table to learn with.

        Parameters
        ----------
        name : {"openlm", "chinchilla"}
            ``"openlm"``: 104 runs on three corpora (Gadre et al. 2024, arXiv:2403.08540), bundled.
            ``"chinchilla"``: 245 runs digitised from Hoffmann et al. 2022, Figure 4, by Besiroglu
            et al. 2024 (arXiv:2404.10102); downloaded once from their repository and verified.
        drop_outliers : bool
            Chinchilla only: leave out the five highest losses, as Besiroglu et al. do.

        Raises
        ------
        RunsError
            For an unknown name, or where a download fails.
        """
        datasets.check_name(name)
        if name == "openlm":
            runs = cls.read(datasets.bundled("openlm.csv"), groups="dataset", loss="loss")
            return replace(runs, source="example 'openlm'")
        runs = replace(cls.read(datasets.fetch_chinchilla()), source="example 'chinchilla'")
        worst = runs.table["loss"].rank(ascending=False) <= 5
        losses = ", ".join(f"{v:.2f}" for v in sorted(runs.table["loss"][worst]))
        if drop_outliers:
            note = f"left out the five runs of highest loss ({losses}), as Besiroglu et al. do"
            return replace(runs[~worst], notes=(*runs.notes, note))
        note = (
            f"the five runs of highest loss ({losses}) are kept; Besiroglu et al. leave them "
            "out: drop_outliers=True does the same"
        )
        return replace(runs, notes=(*runs.notes, note))

    @classmethod
    def _validated(cls, raw: reading.RawTable, groups, wanted, allow_small) -> Runs:
        problems: list[str] = []
        groups = as_names(groups)
        if len(raw.cells.columns) == 0 or len(raw.cells) == 0:
            raise RunsError("the table has no rows", where=raw.source)
        mapping = reading.match_columns(raw, wanted, problems)
        columns: dict[str, object] = {}
        for quantity, column in mapping.items():
            if quantity == "series":
                columns["series"] = reading.labels(raw, column, problems)
            else:
                columns[quantity] = reading.numbers(raw, quantity, column, problems)
        for group in groups:
            if group not in raw.cells.columns:
                problems.append(unknown("group column", group, raw.cells.columns))
            elif group in NUMERIC:
                problems.append(
                    f"column {group!r} cannot label groups, its name is taken by "
                    f"{reading.MEANING[group]}: copy it to a column of another name"
                )
            else:
                columns[group] = reading.labels(raw, group, problems)
        if len(raw.cells) < FEWEST_RUNS:
            problems.append(f"only {len(raw.cells)} run(s): a law needs at least {FEWEST_RUNS}")
        if not problems and not allow_small:
            problems += _unscaled(columns)
        if not problems:
            problems += _loss_error(columns, raw)
        if problems:
            raise RunsError(problems, where=raw.source)
        with np.errstate(over="ignore", under="ignore"):
            notes = _complete(columns, raw)
        if problems := _out_of_range(columns, raw):
            raise RunsError(problems, where=raw.source)
        notes += _duplicates(columns, groups, raw) + _lonely(columns, groups)
        frame = _assemble(columns, raw.cells, mapping, groups)
        for note in notes:
            warnings.warn(f"{raw.source}: {note}", RunsWarning, stacklevel=3)
        return cls(
            frame, groups, MappingProxyType(mapping), _convention(mapping), raw.source, tuple(notes)
        )

    # -- using -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows) -> Runs:
        """The runs where a boolean mask holds; everything else stays as it is.

        Raises
        ------
        RunsError
            For anything but one truth value per run.
        """
        mask = np.asarray(rows)
        if mask.dtype != bool or mask.shape != (len(self),):
            raise RunsError(
                f"runs[...] takes a mask of {len(self)} truth values, one per run; got "
                f"{mask.dtype} of shape {mask.shape}: write runs[runs.table.N > 1e9]",
                where=self.source,
            )
        return replace(self, table=self.table[mask])

    def query(self, expression: str) -> Runs:
        """The runs for which an expression over the columns holds.

        Examples
        --------
        >>> len(Runs.example("openlm").query("N < 5e8"))
        95
        """
        return replace(self, table=self.table.query(expression))

    def recount(self, parameters: str, flops: str = "6N", **sizes) -> Runs:
        """The same runs under another way to count parameters and FLOP.

        Parameters
        ----------
        parameters : str
            ``"non_embedding"``, ``"with_head"`` or ``"total"`` (see `bayescale.count`), or a column
            that holds another count.
        flops : {"6N", "kaplan", "deepseek", "full"}
            As `bayescale.Count.flop_per_token` has them.
        **sizes
            Keywords of `bayescale.count`: ``width``, ``depth``, ``vocab``, ``context``,
            ``feed_forward``, ``tied``; numbers, or names of columns. Width and depth are looked for
            under these names.

        Returns
        -------
        Runs
            With other N and C; its convention says which, and a note what was restated.

        Raises
        ------
        RunsError
            Naming every convention or column that does not exist.

        Examples
        --------
        >>> runs = Runs.example("openlm").recount("params_non_embedding")
        >>> runs.convention
        "N is counted as in 'params_non_embedding', C = 6ND"
        """
        frame, read, now, cautions = restated(self.table, self.mapping, parameters, flops, sizes)
        notes = (*self.notes, f"restated: {now}; as read: {self.convention}", *cautions)
        return replace(
            self, table=frame, mapping=MappingProxyType(read), convention=now, notes=notes
        )

    def __contains__(self, column: str) -> bool:
        return column in self.table.columns

    @property
    def scales(self) -> dict[str, float]:
        """Geometric means of N, D and C (absolute counts): what formulas are centred at."""
        return {c: float(np.exp(np.log(self.table[c]).mean())) for c in "NDC" if c in self}

    @property
    def flop_factor(self) -> float:
        """FLOP per parameter and token, C / (N D): 6 unless the table's own C says otherwise."""
        if {"N", "D", "C"} <= set(self.mapping):
            ratio = self.table["C"] / (self.table["N"] * self.table["D"])
            return float(np.exp(np.log(ratio).median()))
        return FLOP_PER_PARAMETER_TOKEN

    @property
    def fingerprint(self) -> str:
        """Hash of N, D, C, loss and groups: equal for equal data, whatever the source."""
        shown = [c for c in (*CANONICAL, *self.groups) if c in self]
        text = self.table[shown].to_csv(index=False, float_format="%.12g")
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def labels(self) -> list[str]:
        """Name each row as a person would look for it: its place in the source, and its groups."""
        parts = [self.table[g].astype(str) for g in self.groups]
        parts += [self.table[c].map(format_count) + f" {c}" for c in "ND" if c in self]
        joined = [", ".join(row) for row in zip(*parts, strict=True)] if parts else [""] * len(self)
        return [f"{i}: {text}" for i, text in zip(self.table.index, joined, strict=True)]

    def to_json(self) -> str:
        """Everything this object holds, as text (see `from_json`)."""
        frame = json.loads(
            self.table.reset_index(names="_row").to_json(
                orient="split", index=False, double_precision=15
            )
        )
        exact = {c: [v.hex() for v in self.table[c]] for c in self.table.select_dtypes("float")}
        return json.dumps(
            dict(
                frame=frame,
                exact=exact,
                groups=self.groups,
                mapping=dict(self.mapping),
                convention=self.convention,
                source=self.source,
                notes=self.notes,
            )
        )

    @classmethod
    def from_json(cls, text: str) -> Runs:
        """The runs that `to_json` wrote, bit for bit."""
        saved = json.loads(text)
        frame = pd.DataFrame(saved["frame"]["data"], columns=saved["frame"]["columns"])
        frame = frame.set_index("_row").rename_axis(None)
        for column, values in saved["exact"].items():
            frame[column] = [float.fromhex(v) for v in values]
        return cls(
            frame,
            tuple(saved["groups"]),
            MappingProxyType(saved["mapping"]),
            saved["convention"],
            saved["source"],
            tuple(saved["notes"]),
        )

    # A mapping that nobody can change is also one that no pickle takes.
    def __getstate__(self) -> dict:
        return {**self.__dict__, "mapping": dict(self.mapping)}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, mapping=MappingProxyType(state["mapping"]))

    def __repr__(self) -> str:
        def span(column, write):
            values = self.table[column]
            return f"{column} {write(values.min())} to {write(values.max())}"

        spans = [
            span(c, w)
            for c, w in (("N", format_count), ("D", format_count), ("C", format_flop))
            if c in self
        ]
        spans.append(span("loss", "{:.3g}".format))
        lines = [f"<{len(self)} runs from {self.source}>", "  " + ", ".join(spans)]
        for g in self.groups:
            counts = self.table[g].value_counts(sort=False)
            lines.append(f"  {g}: " + ", ".join(f"{k} ({n})" for k, n in counts.items()))
        read = ", ".join(f"{q} = {c!r}" for q, c in self.mapping.items())
        lines.append(f"  read {read}; {self.convention}" if read else f"  {self.convention}")
        return "\n".join([*lines, *(f"  note: {n}" for n in self.notes)])


def as_names(groups: str | Sequence[str] | None) -> tuple[str, ...]:
    """One name, several, or none, as a tuple."""
    if groups is None:
        return ()
    return (groups,) if isinstance(groups, str) else tuple(groups)


def _unscaled(columns) -> list[str]:
    problems = []
    for quantity, smallest in reading.SMALLEST.items():
        if quantity in columns and np.median(columns[quantity]) < smallest:
            middle = np.median(columns[quantity])
            problems.append(
                f"{reading.MEANING[quantity]}: the median is {middle:g}, which looks like "
                "millions, billions or PF-days left unscaled: give absolute counts (70e9, or write "
                "70B), or pass allow_small=True if they are"
            )
    return problems


def _loss_error(columns, raw) -> list[str]:
    """Turn a 95 % interval into a standard error."""
    lower, upper = columns.pop("loss_lower", None), columns.pop("loss_upper", None)
    if (lower is None and upper is None) or "loss_sd" in columns:
        return []
    if lower is None or upper is None:
        return ["one bound of the loss's 95 % interval is missing: give both or neither"]
    wrong = ~((lower < upper) & (lower <= columns["loss"]) & (columns["loss"] <= upper))
    if wrong.any():
        return [f"the loss does not lie inside its 95 % interval {raw.rows(wrong)}"]
    columns["loss_sd"] = (upper - lower) / (2 * NORMAL_95)
    return []


def _complete(columns, raw) -> list[str]:
    """Let two of N, D and C give the third, and compare where all three are there."""
    N, D, C = (columns.get(c) for c in "NDC")
    if N is not None and D is not None and C is None:
        columns["C"] = flop(N, D)
    elif N is not None and C is not None and D is None:
        columns["D"] = C / flop(N, 1)
    elif D is not None and C is not None and N is None:
        columns["N"] = C / flop(1, D)
    elif N is not None and D is not None:
        far = np.abs(np.log(C) - np.log(flop(1, D)) - np.log(N)) > np.log(2)
        if far.any():
            return [
                f"C differs from 6ND by more than a factor of 2 in {int(far.sum())} rows "
                f"{raw.rows(far)}: is N counted without embeddings, are D tokens of one epoch "
                "or all, is C counted in full or as 6ND?"
            ]
    return []


def _out_of_range(columns, raw) -> list[str]:
    """A third column that C = 6ND takes out of what a number can hold."""
    counts = {c: columns[c] for c in "NDC" if c in columns}
    wrong = {c: ~(np.isfinite(v) & (v > 0)) for c, v in counts.items()}
    return [
        f"{reading.MEANING[c]} by C = 6ND is too large or too small for a number "
        f"{raw.rows(bad)}: mend the counts"
        for c, bad in wrong.items()
        if bad.any()
    ]


def _duplicates(columns, groups, raw) -> list[str]:
    keys = pd.DataFrame(
        {k: np.asarray(v) for k, v in columns.items() if k in (*CANONICAL, *groups)}
    )
    again = keys.duplicated().to_numpy()
    if not again.any():
        return []
    return [
        f"{int(again.sum())} row(s) repeat an earlier one {raw.rows(again)}: each counts as a "
        "run of its own; remove them if they are copies"
    ]


def _lonely(columns, groups) -> list[str]:
    notes = []
    for group in groups:
        counts = pd.Series(np.asarray(columns[group])).value_counts()
        if alone := list(counts.index[counts == 1]):
            notes.append(
                f"{group} {', '.join(map(repr, alone[:8]))} has a single run: what is its "
                "own and what is noise cannot be told apart"
            )
    return notes


def _assemble(columns, cells, mapping, groups) -> pd.DataFrame:
    frame = pd.DataFrame(
        {k: np.asarray(columns[k]) for k in (*CANONICAL, *groups) if k in columns},
        index=cells.index,
    )
    used = {*mapping.values(), *groups}
    for column in cells.columns:
        if column in used:
            continue
        name = f"{column}_original" if column in CANONICAL else column
        numeric = pd.to_numeric(cells[column], errors="coerce")
        is_number = numeric.notna().sum() == cells[column].notna().sum() and numeric.notna().any()
        frame[name] = numeric if is_number else cells[column].astype("str")
    return frame


def _convention(mapping) -> str:
    counted = "N is counted as given"
    if re.search("non.?emb", mapping.get("N", ""), re.IGNORECASE):
        counted = "N is counted without embeddings"
    given = [q for q in "NDC" if q in mapping]
    if len(given) == 3:
        return f"{counted}, C as given"
    return f"{counted}, C = 6ND" if len(given) == 2 else f"{counted}, {given[0]} alone is known"

"""Runs: a checked table of training runs, the input of every analysis."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from bayescale.data import datasets, formats, frames, saving, wording
from bayescale.data.counting import restated
from bayescale.data.row_notes import CANONICAL, row_notes
from bayescale.data.validation import EXTRAS, named_columns, validate
from bayescale.errors import RunsError, RunsWarning
from bayescale.units import FLOP_PER_PARAMETER_TOKEN, format_count

LABELS = ("integer", "floating", "string")  # types of index labels that JSON preserves


@dataclass(frozen=True, eq=False)
class Runs:
    """A checked table of training runs, one row per finished run or checkpoint.

    Make one with `Runs.read`, `Runs.from_frame` or `Runs.example`. Runs are immutable: `query`,
    `recount` and indexing by a mask return new ones.

    Attributes
    ----------
    table : pandas.DataFrame
        ``N``: parameters, an absolute count. ``D``: training tokens seen. ``C``: training FLOP.
        ``loss``: positive, in the unit `loss_unit`. Where the source has
        them, ``loss_sd``: measurement standard error of the loss, and ``series``: the run that a
        checkpoint belongs to. Columns that some laws need: ``U``, unique tokens; ``N_active`` and
        ``N_total``, parameters in use and with all experts; ``experts``, ``granularity``, ``lr``
        (learning rate), ``batch``, ``vocab`` and ``N_vocab`` (size and parameters of the
        vocabulary), ``bits``, ``streams`` and ``finetune`` (examples of fine-tuning). Then the
        group columns and every other column of the source. The index holds line numbers of a file
        or the index of a DataFrame.
    groups : tuple of str
        Columns that label groups, such as data set, architecture or model family.
    mapping : mapping of str to str
        From quantity (``"N"``, ``"loss"``, ...) to the column of the source it was read from.
    convention : str
        How parameters and FLOP are counted.
    source : str
        The file, or a description of the source.
    notes : tuple of str
        Findings that do not prevent a fit: duplicates, C different from 6ND, groups with a single
        run, crashed runs, and others.
    loss_unit : str
        The unit of the loss, such as ``"nats per token"``; empty if it is not known.
    row_notes : tuple of str
        Those of `notes` that describe rows. They are computed again when rows are left out.
    noun : str
        The word for a row in notes: ``"line"`` of a file, or ``"row"``.

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
    loss_unit: str = ""
    row_notes: tuple[str, ...] = field(default=(), repr=False)
    noun: str = field(default="row", repr=False)

    # -- making ------------------------------------------------------------------------------

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        groups: str | Sequence[str] | None = None,
        columns: Mapping[str, str] | None = None,
        loss_unit: str | None = None,
        drop_missing: bool = False,
        drop_failed: bool = False,
        keep_best: bool = False,
        **quantities: str | None,
    ) -> Runs:
        """Read a table of runs from a file: csv, markdown, JSON, parquet, Excel, and others.

        Parameters
        ----------
        path : str or Path
            The file. Its first line holds the column names.
        groups : str or sequence of str, optional
            Columns that label groups.
        columns : mapping of str to str, optional
            From quantity (``N``, ``D``, ``C``, ``loss``, ``loss_sd``, ``loss_lower``,
            ``loss_upper``, ``series``, and those that some laws need, such as ``U``) to its column,
            or to an expression that states the unit:
            ``"params_m*1e6"``, ``"steps*batch_size*seq_len"``, ``"log(val_ppl)"``,
            ``"1-accuracy"``. ``"params*1"`` states that the counts are absolute, ``"1.3B"`` is the
            N or D of all rows. Usual names and units in them are recognised. If two of N, D and C
            are known, the third is computed by C = 6ND.
        loss_unit : str, optional
            The unit of the loss, such as ``"nats per token"``; guessed from names by default.
        drop_missing : bool
            Leave out rows with missing values, and note them.
        drop_failed : bool
            Leave out runs that crashed, failed or still run by ``state`` or ``status``.
        keep_best : bool
            Keep only the run of lowest loss at each (N, D, C) and group, for sweeps of learning
            rates and other settings. A note gives the number of runs that are left out.
        **quantities : str
            Shorthand for `columns`: ``N="params_m*1e6"``.

        Returns
        -------
        Runs

        Raises
        ------
        RunsError
            Naming every problem of the table with its rows.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "runs.csv")
        >>> _ = path.write_text("params,tokens,loss\\n70M,2B,4.1\\n1B,20B,3.0\\n7B,140B,2.5")
        >>> Runs.read(path).table["C"].tolist()
        [8.4e+17, 1.2e+20, 5.88e+21]
        """
        named = named_columns(columns, quantities, str(path))
        left_out = drop_missing, drop_failed, keep_best
        return cls._validated(formats.read(path), groups, named, loss_unit, *left_out)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        groups: str | Sequence[str] | None = None,
        source: str = "the DataFrame",
        columns: Mapping[str, str] | None = None,
        loss_unit: str | None = None,
        drop_missing: bool = False,
        drop_failed: bool = False,
        keep_best: bool = False,
        **quantities: str,
    ) -> Runs:
        """Make runs from a DataFrame; checks and keywords are those of `Runs.read`.

        Parameters
        ----------
        frame : DataFrame of pandas, polars or pyarrow
            One row per run or checkpoint.
        groups : str or sequence of str, optional
            Columns that label groups.
        source : str
            Name of the table in messages.
        columns, loss_unit, drop_missing, drop_failed, keep_best, **quantities
            As in `Runs.read`.

        Returns
        -------
        Runs

        Raises
        ------
        RunsError
            Naming every problem of the table with its rows.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"params": ["70M", "1B", "7B"], "tokens": ["2B", "20B", "140B"],
        ...                       "loss": [4.1, 3.0, 2.5]})
        >>> Runs.from_frame(frame).table["N"].tolist()
        [70000000.0, 1000000000.0, 7000000000.0]
        """
        frame = frames.as_pandas(frame, source)
        named = named_columns(columns, quantities, source)
        if frame.columns.duplicated().any():
            twice = frame.columns[frame.columns.duplicated()].unique()
            raise RunsError([f"column {c!r} appears more than once" for c in twice], where=source)
        cells = frame.astype(object)
        cells.columns = [str(c) for c in frame.columns]
        if not cells.index.is_unique or cells.index.inferred_type not in LABELS:
            cells = cells.reset_index(drop=True)
        raw = formats.RawTable(cells, "row", source)
        left_out = drop_missing, drop_failed, keep_best
        return cls._validated(raw, groups, named, loss_unit, *left_out)

    @classmethod
    def from_wandb(cls, source, **options) -> Runs:
        """Runs of a Weights & Biases project: the last logged values of each run, with its config.

        Parameters
        ----------
        source : str, Path or iterable
            A table that was exported, the folder ``wandb`` that wandb wrote on this computer,
            ``"entity/project"``, or runs of ``wandb.Api().runs(...)``. The last two need wandb.
        **options
            The keywords of `read`: ``groups``, ``columns``, ``loss_unit``, ``drop_missing``, ...
        """
        return cls._tracked(source, frames.of_wandb, "the wandb project", options)

    @classmethod
    def from_mlflow(cls, source, **options) -> Runs:
        """Runs of an MLflow experiment: the last logged values of each run, with its parameters.

        Parameters
        ----------
        source : str, Path or DataFrame
            A file of ``mlflow experiments csv``, the name of an experiment (this needs MLflow), or
            the DataFrame of ``mlflow.search_runs``.
        **options
            The keywords of `read`.
        """
        return cls._tracked(source, frames.of_mlflow, "the MLflow experiment", options)

    @classmethod
    def from_trackio(cls, source: str | Path, **options) -> Runs:
        """Runs of a trackio project: every logged step is a checkpoint of its run.

        Parameters
        ----------
        source : str or Path
            The database of a project (``project.db``), or its name (this needs trackio).
        **options
            The keywords of `read`.
        """
        is_file = Path(source).is_file()
        return cls.read(source if is_file else frames.trackio_project(str(source)), **options)

    @classmethod
    def _tracked(cls, source, frame_of, what: str, options: dict) -> Runs:
        """Runs from a file, or from the records of a tracking tool."""
        if isinstance(source, Path) or (isinstance(source, str) and Path(source).exists()):
            return cls.read(source, **options)
        name = f"{what} {source}" if isinstance(source, str) else what
        return cls.from_frame(frame_of(source), source=name, **options)

    @classmethod
    def example(cls, name: str, *, drop_outliers: bool = False) -> Runs:
        """A published table of runs.

        Parameters
        ----------
        name : {"openlm", "chinchilla"}
            ``"openlm"``: 104 runs on three corpora (Gadre et al. 2024, arXiv:2403.08540), bundled.
            ``"chinchilla"``: 245 runs digitised from Hoffmann et al. 2022, Figure 4, by Besiroglu
            et al. 2024 (arXiv:2404.10102); downloaded once from their repository, and verified.
        drop_outliers : bool
            Chinchilla only: leave out the five highest losses, as Besiroglu et al. do.

        Raises
        ------
        RunsError
            If the name is unknown or the download fails.

        Examples
        --------
        >>> len(Runs.example("openlm"))
        104
        """
        datasets.check_name(name)
        if name == "openlm":
            runs = cls.read(datasets.bundled("openlm.csv"), groups="dataset", loss="loss",
                            loss_unit="nats per token")  # fmt: skip
            return replace(runs, source="example 'openlm'")
        runs = cls.read(datasets.fetch_chinchilla(), loss_unit="nats per token")
        runs = replace(runs, source="example 'chinchilla'")
        kept, note = datasets.without_highest(runs.table["loss"], drop_outliers)
        return replace(runs[kept], notes=(*runs.notes, note))

    @classmethod
    def _validated(cls, raw, groups, named, loss_unit, *left_out) -> Runs:
        checked = validate(raw, groups, named, loss_unit, *left_out)
        for note in checked.notes:
            warnings.warn(f"{raw.source}: {note}", RunsWarning, stacklevel=3)
        return cls(
            checked.table,
            checked.groups,
            MappingProxyType(checked.mapping),
            checked.convention,
            raw.source,
            checked.notes,
            checked.loss_unit,
            checked.row_notes,
            checked.noun,
        )

    # -- using -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows) -> Runs:
        """The runs where a boolean mask is true, with the notes that hold for them.

        Raises
        ------
        RunsError
            Unless `rows` holds one truth value per run.
        """
        mask = np.asarray(rows)
        if mask.dtype != bool or mask.shape != (len(self),):
            raise RunsError(
                f"runs[...] takes a mask of {len(self)} truth values, one per run; got "
                f"{mask.dtype} of shape {mask.shape}: write runs[runs.table.N > 1e9]",
                where=self.source,
            )
        return self._with_rows(self.table[mask])

    def query(self, expression: str) -> Runs:
        """The runs for which an expression over the columns is true.

        Parameters
        ----------
        expression : str
            As `pandas.DataFrame.query` takes it.

        Examples
        --------
        >>> len(Runs.example("openlm").query("N < 5e8"))
        95
        """
        return self._with_rows(self.table.query(expression))

    def _with_rows(self, table: pd.DataFrame) -> Runs:
        """Some of these runs; notes on rows are computed again."""
        about = row_notes(table, self.groups, self.mapping, self.noun, self.source)
        kept = [note for note in self.notes if note not in self.row_notes]
        return replace(self, table=table, notes=(*kept, *about), row_notes=about)

    def recount(self, parameters: str, flops: str = "6N", **sizes: float | str) -> Runs:
        """The same runs with parameters and FLOP counted by another convention.

        Parameters
        ----------
        parameters : str
            ``"non_embedding"``, ``"with_head"`` or ``"total"`` (see `bayescale.count`), or a column
            that holds the count.
        flops : {"6N", "kaplan", "deepseek", "full"}
            Training FLOP per token, as in `bayescale.Count.flop_per_token`.
        **sizes
            Keywords of `bayescale.count`: ``width``, ``depth``, ``vocab``, ``context``,
            ``feed_forward``, ``tied``; each a number or the name of a column. Without a keyword,
            width and depth are read from the columns ``width`` and ``depth``.

        Returns
        -------
        Runs
            With new N and C. `convention` describes them; a note gives the previous convention.

        Raises
        ------
        RunsError
            Naming every unknown convention, size or column.

        Examples
        --------
        >>> runs = Runs.example("openlm").recount("params_non_embedding")
        >>> runs.convention
        "N is counted as in 'params_non_embedding', C = 6ND"
        """
        frame, mapping, convention, cautions = restated(
            self.table, self.mapping, parameters, flops, sizes
        )
        notes = (*self.notes, f"restated: {convention}; as read: {self.convention}", *cautions)
        return replace(
            self,
            table=frame,
            mapping=MappingProxyType(mapping),
            convention=convention,
            notes=notes,
        )

    @property
    def how_read(self) -> str:
        """The column and the unit of each quantity: ``N from params_m (m), ...``."""
        return wording.how_read(self.mapping, self.loss_unit)

    def __contains__(self, column: str) -> bool:
        return column in self.table.columns

    @property
    def scales(self) -> dict[str, float]:
        """Geometric means of N, D and C (absolute counts), the reference scales of laws."""
        return {c: float(np.exp(np.log(self.table[c]).mean())) for c in "NDC" if c in self}

    @property
    def flop_factor(self) -> float:
        """FLOP per parameter and token: 6, or the median C / (N D) if all three were given."""
        if {"N", "D", "C"} <= set(self.mapping):
            ratio = self.table["C"] / (self.table["N"] * self.table["D"])
            return float(np.exp(np.log(ratio).median()))
        return FLOP_PER_PARAMETER_TOKEN

    @property
    def fingerprint(self) -> str:
        """Hash of all columns that a law may need, and of groups; equal for equal data."""
        shown = [c for c in (*CANONICAL, *EXTRAS, *self.groups) if c in self]
        text = self.table[shown].to_csv(index=False, float_format="%.12g")
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def rows_are(self) -> str:
        """What the index counts, in words: lines of a file with its heading, or rows."""
        return wording.what_rows_are(self)

    @property
    def lacking(self) -> str:
        """What laws of these runs cannot tell because N or D is missing; empty if none is."""
        return wording.what_is_lacking(self)

    def labels(self) -> list[str]:
        """A label per row: its line or row in the source, its groups, N and D."""
        parts = [self.table[g].astype(str) for g in self.groups]
        parts += [self.table[c].map(format_count) + f" {c}" for c in "ND" if c in self]
        joined = [", ".join(row) for row in zip(*parts, strict=True)] if parts else [""] * len(self)
        noun = "line" if self.noun == "line" else "row"
        return [f"{noun} {i}: {text}" for i, text in zip(self.table.index, joined, strict=True)]

    def to_json(self) -> str:
        """These runs as JSON text, which `from_json` reads."""
        return saving.as_json(self)

    @classmethod
    def from_json(cls, text: str) -> Runs:
        """Runs from the text of `to_json`; floats are restored exactly."""
        saved = saving.attributes(text)
        return cls(**{**saved, "mapping": MappingProxyType(saved["mapping"])})

    # A MappingProxyType cannot be pickled.
    def __getstate__(self) -> dict:
        return {**self.__dict__, "mapping": dict(self.mapping)}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, mapping=MappingProxyType(state["mapping"]))

    def __repr__(self) -> str:
        return wording.described(self)

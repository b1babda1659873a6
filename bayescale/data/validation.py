"""Check a table of runs and convert its cells to numbers and labels.

A table is either accepted completely or refused with a list of all its problems. Rows are dropped
only on request, and values are rescaled only by a unit that is written in the table or stated by
the user. Two of N, D and C give the third by C = 6ND.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bayescale.data import (
    extras,
    formats,
    logs,
    names,
    proposals,
    reading,
    remedies,
    suspicions,
    unit_questions,
)
from bayescale.data.row_notes import CANONICAL, RENAMED, row_notes
from bayescale.errors import RunsError, unknown
from bayescale.units import counted, flop

#: A fit needs at least this many runs.
FEWEST_RUNS = 3
#: Half-width of a central 95 % normal interval, in standard deviations.
NORMAL_95 = 1.959964
#: The loss per token of a uniform guess among 160,000 tokens.
LARGEST_LOSS = 12.0
#: FLOP per second of no accelerator are more.
LARGEST_RATE = 1e17
NUMERIC = {*CANONICAL, "loss_lower", "loss_upper"} - {"series"}
#: Further columns that laws may need.
EXTRAS = tuple(extras.EXTRAS)


@dataclass(frozen=True)
class Checked:
    """A table that passed every check.

    Attributes
    ----------
    table : pandas.DataFrame
        The columns of `CANONICAL` that the table has, then the group columns, then the other
        columns of the source.
    groups : tuple of str
        The group columns.
    mapping : dict of str to str
        From quantity to column of the source.
    convention : str
        How parameters and FLOP are counted.
    notes : tuple of str
        How the table was read, and the notes on its rows.
    row_notes : tuple of str
        Those of the notes that describe the rows; see `bayescale.data.row_notes`.
    noun : str
        The word for a row in messages.
    """

    table: pd.DataFrame
    groups: tuple[str, ...]
    mapping: dict[str, str]
    convention: str
    notes: tuple[str, ...]
    loss_unit: str
    row_notes: tuple[str, ...]
    noun: str


def validate(
    raw: formats.RawTable,
    groups,
    named: dict,
    loss_unit: str | None,
    drop_missing: bool,
    drop_failed: bool = False,
    keep_best: bool = False,
) -> Checked:
    """Check a table of runs.

    Parameters
    ----------
    raw : RawTable
    groups : str or sequence of str, optional
        Columns that label groups.
    named : dict
        From quantity to the column that the user named, or to None.
    loss_unit : str, optional
        The unit of the loss; guessed from the name of its column by default.
    drop_missing : bool
        Leave out rows with missing values of a quantity, and note them.
    drop_failed : bool
        Leave out runs whose state is crashed, failed or running, and note them.
    keep_best : bool
        Keep the row of lowest loss of each point and group, and note how many are left out.

    Raises
    ------
    RunsError
        Naming every problem with its rows.
    """
    problems: list[str] = []
    groups = as_names(groups)
    if len(raw.cells.columns) == 0 or len(raw.cells) == 0:
        raise RunsError("the table has no rows", where=raw.source)
    if drop_failed:
        raw = suspicions.without_failed(raw)
    raw, named = logs.arranged(raw, named)
    matched = reading.match_columns(raw, named, problems, groups)
    if not problems:
        matched.sources |= extras.found(raw, matched.sources, groups)
    if drop_missing:
        raw, left_out = _without_missing(raw, matched.sources)
    columns: dict[str, object] = {}
    for quantity, source in matched.sources.items():
        if quantity == "series":
            columns["series"] = reading.labels(raw, source.expression, problems)
        else:
            columns[quantity] = reading.values_of(raw, quantity, source, problems)
    mapping = {q: _written(s) for q, s in matched.sources.items()}
    for group in groups:
        if group not in raw.cells.columns:
            problems.append(unknown("group column", group, raw.cells.columns))
        elif group in NUMERIC:
            problems.append(
                f"column {group!r} cannot label groups, because its name means "
                f"{names.MEANING[group]}: copy it to a column of another name"
            )
        else:
            columns[group] = reading.labels(raw, group, problems)
    if len(raw.cells) < FEWEST_RUNS:
        problems.append(
            f"only {counted(len(raw.cells), 'run')}: a law needs at least {FEWEST_RUNS}"
        )
    if problems:
        crashed = suspicions.failed(raw)
        # Values that crashed runs alone lack need no remedy of their own.
        if crashed and not (_missing(raw, matched.sources) & ~suspicions.has_failed(raw)).any():
            problems = [p for p in problems if not p.endswith(remedies.of_missing())]
        problems += crashed
    else:
        problems += _loss_error(columns, raw)
    if problems:
        raise RunsError(problems, where=raw.source)
    stated = {q for q, s in matched.sources.items() if s.stated}
    if "C" in columns and "C" not in stated and "N" in columns:
        _drop_forward_flop(columns, matched, mapping)
    written = {q: matched.sources[q] for q in mapping if q in "NDC"}
    with np.errstate(over="ignore", under="ignore"):
        _complete(columns)
        if problems := _out_of_range(columns, raw):
            raise RunsError(problems, where=raw.source)
        if problems := unit_questions.of_unit_columns(raw, matched.sources, groups):
            raise RunsError(problems, where=raw.source)
        problems = unit_questions.implausible(columns, written, stated)
        problems = problems or _rates(columns, matched, stated)
        if not {"N", "D"} & stated:
            problems += suspicions.mixed_units(columns, raw)
        two_units = []
        if not matched.sources["loss"].stated:
            same = remedies.column("loss", f"{matched.sources['loss'].expression}*1")
            two_units = suspicions.two_units_of_loss(columns, raw, same)
        # Groups may be of different units, each of one.
        problems += [] if groups else two_units
        if problems := problems + _sums(columns, matched):
            raise RunsError(problems, where=raw.source)
    problems, doubtful = extras.checked(columns, [q for q in named if named[q]], raw)
    if problems:
        raise RunsError(problems, where=raw.source)
    notes = unit_questions.unusual_ratio(columns, written, stated) or unit_questions.too_good(
        columns, written, stated, matched.loss_unit if loss_unit is None else loss_unit
    )
    notes = [*notes, *two_units, *doubtful]
    mapping = {q: s for q, s in mapping.items() if q not in EXTRAS or q in columns}
    if keep_best:
        columns, raw, kept = suspicions.best_rows(columns, groups, raw)
        notes += kept
    core = {q: s for q, s in matched.sources.items() if q not in EXTRAS}
    notes = [*raw.notes, *matched.notes, *(left_out if drop_missing else []), *notes]
    plain = {s.expression for s in core.values()}
    table = _assemble(columns, raw.cells, plain, groups)
    about_rows = row_notes(table, groups, mapping, raw.noun, raw.source)
    unit = matched.loss_unit if loss_unit is None else loss_unit
    if unit == "nats" and loss_unit is None and "tok" in mapping.get("D", "").lower():
        unit = "nats per token"
    return Checked(
        table,
        groups,
        mapping,
        _convention(mapping),
        (*notes, *about_rows),
        unit,
        about_rows,
        raw.noun,
    )


def _written(source: reading.Source) -> str:
    """A source as ``params_m (M)``, or as the expression of the user."""
    text = source.expression
    if source.transform == "log" and not source.stated:
        return f"log({text})"
    return f"{text} ({source.unit})" if source.unit and f"({source.unit})" not in text else text


def _without_missing(raw: formats.RawTable, sources) -> tuple[formats.RawTable, list[str]]:
    """The table without rows that lack a value of a quantity, and a note on them."""
    bad = _missing(raw, sources)
    if not bad.any():
        return raw, []
    note = f"left out {counted(int(bad.sum()), 'row')} with missing values {raw.rows(bad)}"
    return replace(raw, cells=raw.cells[~bad]), [note]


def _missing(raw: formats.RawTable, sources) -> np.ndarray:
    """Which rows lack a value of a quantity."""
    bad = np.zeros(len(raw.cells), dtype=bool)
    for source in sources.values():
        for column, _ in source.factors:
            words = raw.cells[column].astype(str).str.strip().str.lower()
            bad |= np.array([formats.is_missing(v) for v in raw.cells[column]], dtype=bool)
            bad |= words.isin(["inf", "+inf", "-inf", "infinity"]).to_numpy(bool)
    return bad


def _drop_forward_flop(columns, matched, mapping) -> None:
    """Leave out a column such as GFLOP that is far too small for training compute."""
    column = matched.sources["C"].expression
    if names.recognise(column).kind != "bare":
        return
    ratio = columns["C"] / flop(columns["N"], 1)
    against = columns["D"] if "D" in columns else columns["N"]
    if np.median(ratio / against) < (1 / 30 if "D" in columns else 0.1):
        for record in (columns, matched.sources, mapping):
            record.pop("C")
        matched.notes.append(
            f"column {column!r} is too small to be training compute (FLOP of one forward pass, or "
            "a rate?) and is not used"
        )


def _rates(columns, matched, stated) -> list[str]:
    """The problem of a column such as TFLOPS that may be a rate, where no N or D can tell."""
    source = matched.sources.get("C")
    if source is None or "C" in stated or {"N", "D"} & set(columns):
        return []
    if names.recognise(source.expression).kind != "bare" or np.median(columns["C"]) > LARGEST_RATE:
        return []
    scaled = f"{source.expression}*{proposals.power_of_ten(source.factor)}"
    total = remedies.column("C", scaled)
    return [
        f"column {source.expression!r} may be a rate (FLOP per second) or the FLOP of one forward "
        f"pass: if it is the training compute, pass {total}; otherwise name N, D or C"
    ]


def _sums(columns, matched) -> list[str]:
    """Problems of losses too large to be a mean over tokens."""
    source = matched.sources["loss"]
    middle = float(np.median(columns["loss"]))
    D = matched.sources.get("D")
    # A plain D may count anything, and its loss be in any unit.
    in_tokens = D is not None and "tok" in D.expression.lower()
    named = matched.loss_unit.startswith(("nats", "bits"))
    if source.stated or source.transform or middle <= LARGEST_LOSS or not (in_tokens or named):
        return []
    column = source.expression
    if middle > 1e5:
        return [
            f"column {column!r} (the loss): the median is {middle:.4g}, which looks like a sum "
            f"over tokens: divide it, such as {remedies.column('loss', f'{column}/1e6')}"
        ]
    if not named and matched.loss_unit:
        return []
    return [
        f"column {column!r} (the loss): the median is {middle:.4g}, too large for a loss per "
        f"token: for a perplexity pass {remedies.column('loss', f'log({column})')}, divide "
        f"a sum, such as {remedies.column('loss', f'{column}/1e6')}, else pass "
        f"{remedies.column('loss', f'{column}*1')}"
    ]


def named_columns(columns, quantities, where: str) -> dict:
    """The columns that the user named, by quantity."""
    named = {**(columns or {}), **quantities}
    allowed = {*NUMERIC, "series", *EXTRAS}
    if strange := [n for n in named if n not in allowed]:
        raise RunsError(
            [unknown("column keyword", n, sorted(allowed)) for n in strange], where=where
        )
    return named


def as_names(groups: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names as a tuple, given one, several or None."""
    if groups is None:
        return ()
    return (groups,) if isinstance(groups, str) else tuple(groups)


def _loss_error(columns, raw) -> list[str]:
    """Replace a 95 % interval of the loss by a standard error, and return the problems."""
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


def _complete(columns) -> None:
    """Compute the third of N, D and C from two."""
    N, D, C = (columns.get(c) for c in "NDC")
    if N is not None and D is not None and C is None:
        columns["C"] = flop(N, D)
    elif N is not None and C is not None and D is None:
        columns["D"] = C / flop(N, 1)
    elif D is not None and C is not None and N is None:
        columns["N"] = C / flop(1, D)


def _out_of_range(columns, raw) -> list[str]:
    """Problems where C = 6ND overflows or underflows."""
    counts = {c: columns[c] for c in "NDC" if c in columns}
    wrong = {c: ~(np.isfinite(v) & (v > 0)) for c, v in counts.items()}
    return [
        f"{names.MEANING[c]} by C = 6ND is too large or too small for a number "
        f"{raw.rows(bad)}: correct the counts"
        for c, bad in wrong.items()
        if bad.any()
    ]


def _assemble(columns, cells, plain, groups) -> pd.DataFrame:
    """The canonical columns, the groups, and the rest; a reserved name gets ``_original``.

    The source of a further column, such as ``unique_tokens`` of ``U``, is kept as well.
    """
    frame = pd.DataFrame(
        {k: np.asarray(columns[k]) for k in (*CANONICAL, *EXTRAS, *groups) if k in columns},
        index=cells.index,
    )
    used = {*plain, *groups, *(q for q in EXTRAS if q in frame)}
    for column in cells.columns:
        if column in used:
            continue
        name = f"{column}{RENAMED}" if column in frame or column in CANONICAL else column
        numeric = pd.to_numeric(cells[column], errors="coerce")
        is_number = numeric.notna().sum() == cells[column].notna().sum() and numeric.notna().any()
        frame[name] = numeric if is_number else cells[column].astype("str")
    return frame


def _convention(mapping) -> str:
    """How N and C are counted, according to the names of the columns."""
    counted = "N is counted as given"
    if re.search("non.?emb", mapping.get("N", ""), re.IGNORECASE):
        counted = "N is counted without embeddings"
    written = [q for q in "NDC" if q in mapping]
    if len(written) == 3:
        return f"{counted}, C as given"
    return f"{counted}, C = 6ND" if len(written) == 2 else f"{counted}, {written[0]} alone is known"

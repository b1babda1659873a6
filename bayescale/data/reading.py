"""Read files, and convert their columns to numbers and labels; all problems are listed."""

from __future__ import annotations

import csv
import difflib
import io
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.errors import RunsError, unknown
from bayescale.units import parse_count

#: Usual names of the columns, in lower case and without spaces and punctuation.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "N": (
        "n",
        "params",
        "parameters",
        "nparams",
        "nparameters",
        "numparams",
        "numparameters",
        "totalparams",
        "totalparameters",
        "modelparams",
        "modelparameters",
        "modelsize",
        "paramcount",
        "parametercount",
    ),
    "D": (
        "d",
        "tokens",
        "ntokens",
        "numtokens",
        "traintokens",
        "trainingtokens",
        "tokensseen",
        "totaltokens",
        "datasetsize",
        "datasize",
        "examples",
        "nexamples",
        "samples",
        "datapoints",
        "imagesseen",
    ),
    "C": (
        "c",
        "flops",
        "flop",
        "compute",
        "trainflops",
        "trainflop",
        "trainingflops",
        "trainingflop",
        "trainingcompute",
        "totalflops",
        "totalcompute",
    ),
    "loss": (
        "loss",
        "l",
        "valloss",
        "validationloss",
        "testloss",
        "evalloss",
        "finalloss",
        "crossentropy",
        "nll",
    ),
    "loss_sd": ("losssd", "lossstd", "lossse", "lossstderr", "lossuncertainty"),
    "loss_lower": ("losslower95", "losslower", "losslow95", "losslow", "losslo"),
    "loss_upper": ("lossupper95", "lossupper", "losshigh95", "losshigh", "losshi"),
    "series": ("series",),
}
#: Names that are used only if no column has a name in `SPELLINGS`.
SECOND_CHOICE: dict[str, tuple[str, ...]] = {
    "N": (
        "paramsnonembedding",
        "nonembeddingparams",
        "nnonembedding",
        "nonembeddingparameters",
        "parametersnonembedding",
    ),
}
MEANING = {
    "N": "N (parameters)",
    "D": "D (tokens)",
    "C": "C (training FLOP)",
    "loss": "the loss",
    "loss_sd": "the standard error of the loss",
    "loss_lower": "the lower 95 % bound of the loss",
    "loss_upper": "the upper 95 % bound of the loss",
    "series": "the series of checkpoints",
}
#: Median counts below these look like millions or billions left unscaled.
SMALLEST = {"N": 1e4, "D": 1e4, "C": 1e9}
MISSING = frozenset({"", "na", "n/a", "nan", "nat", "null", "none", "-", "--", "<na>"})


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
    """

    cells: pd.DataFrame
    noun: str
    source: str

    def rows(self, bad) -> str:
        """Name rows: ``(line 4)`` or ``(lines 4, 17, 91 and 8 more)``."""
        labels = [str(label) for label in self.cells.index[np.asarray(bad, dtype=bool)]]
        more = f" and {len(labels) - 8} more" if len(labels) > 8 else ""
        return f"({self.noun}{'s' * (len(labels) > 1)} {', '.join(labels[:8])}{more})"


def read(path: str | Path) -> RawTable:
    """Read a csv, tsv or parquet file; raises `RunsError` if it is not a table."""
    path = Path(path)
    where = str(path)
    if not os.path.exists(path):  # unlike Path.exists, False for any string
        near = difflib.get_close_matches(path.name, _names_beside(path), 1)
        hint = f" Did you mean {path.with_name(near[0])}?" if near else ""
        raise RunsError(f"there is no such file.{hint}", where=where)
    if path.is_dir():
        raise RunsError("this is a directory: name a csv or parquet file in it", where=where)
    if path.suffix.lower() in (".parquet", ".pq"):
        return RawTable(_parquet(path), "row", where)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise RunsError(
            "this is not a text table (it is not UTF-8): save it as csv or parquet", where=where
        ) from None
    except OSError as error:
        raise RunsError(f"cannot be read ({error.strerror})", where=where) from None
    return RawTable(_csv(text, where), "line", where)


def frame(path: str | Path) -> pd.DataFrame:
    """Read a file as a DataFrame, with numeric columns as numbers and missing cells as NaN or None.

    The index holds line numbers (csv, tsv) or the index of the file (parquet).
    """
    cells = read(path).cells
    out = {}
    for name in cells:
        text = cells[name].map(lambda v: None if str(v).strip().lower() in MISSING else v)
        numbers = pd.to_numeric(text, errors="coerce")
        out[name] = numbers if numbers.notna().sum() == text.notna().sum() else text
    return pd.DataFrame(out, index=cells.index)


def _names_beside(path: Path) -> list[str]:
    try:
        return [p.name for p in path.parent.iterdir()]
    except OSError:
        return []


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError:
        raise RunsError(
            "reading parquet needs pyarrow: pip install 'bayescale[parquet]'", where=str(path)
        ) from None
    except Exception as error:  # pyarrow raises errors of many types for a file that is not parquet
        raise RunsError(
            f"this is not a parquet file ({str(error).splitlines()[0]})", where=str(path)
        ) from None


def _csv(text: str, where: str) -> pd.DataFrame:
    if not text.strip():
        raise RunsError("the file is empty", where=where)
    if "\0" in text:
        raise RunsError("this is not a text table (it contains NUL bytes)", where=where)
    first = next(line for line in text.split("\n") if line.strip())
    delimiter = max(",;\t", key=first.count)
    # Strict, because a cell with an unclosed quote would otherwise contain all rows below it.
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    lines: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                lines.append((start, [cell.strip() for cell in row]))
            start = reader.line_num + 1
    except csv.Error as error:
        raise RunsError(f"line {start} cannot be read as csv ({error})", where=where) from None
    if not lines:
        raise RunsError("the file holds no column names", where=where)
    (_, header), *body = lines
    names = [name or f"unnamed_{i + 1}" for i, name in enumerate(header)]
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


def match_columns(raw: RawTable, named: dict[str, str | None], problems: list[str]):
    """Map quantities to columns.

    `named` maps a quantity to the column that the user named, or None. Other quantities are
    recognised by usual spellings of their columns.
    """
    names = [str(c) for c in raw.cells.columns]
    plain = {name: re.sub(r"[^a-z0-9]", "", name.lower()) for name in names}
    mapping: dict[str, str] = {}
    for quantity, spellings in SPELLINGS.items():
        given = named.get(quantity)
        if given is not None:
            if given in names:
                mapping[quantity] = given
            else:
                problems.append(f"{MEANING[quantity]}: {unknown('column', given, names)}")
            continue
        found = [n for n in names if plain[n] in spellings]
        found = found or [n for n in names if plain[n] in SECOND_CHOICE.get(quantity, ())]
        if len(found) > 1:
            problems.append(
                f"columns {' and '.join(map(repr, found))} could each be "
                f"{MEANING[quantity]}: name one, {quantity}={found[0]!r}"
            )
        elif found:
            mapping[quantity] = found[0]
    unnamed = named.get("loss") is None and not _mentions(problems, "be the loss")
    if "loss" not in mapping and unnamed:
        problems.append(_no_column("loss", names, plain))
    problems += _near_misses(names, plain, mapping, named)
    if not {"N", "D", "C"} & set(mapping) and not _mentions(problems, "N (", "D (", "C ("):
        problems.append(_no_column("N", names, plain, "D (tokens) or C (training FLOP)"))
    return mapping


def _near_misses(names, plain, mapping, named) -> list[str]:
    """Columns that look like a misspelt N, D or C, if only one of the three was found."""
    if len({"N", "D", "C"} & set(mapping)) != 1:
        return []
    problems = []
    for quantity in "NDC":
        if quantity in mapping or named.get(quantity) is not None:
            continue
        usual = [s for s in SPELLINGS[quantity] if len(s) > 3]
        for name in (n for n in names if n not in mapping.values()):
            if close := difflib.get_close_matches(plain[name], usual, 1, 0.85):
                problems.append(
                    f"column {name!r} looks like {MEANING[quantity]} misspelt (usual: "
                    f"{close[0]}): rename it, or pass {quantity}={name!r}"
                )
    return problems


def _mentions(problems: list[str], *words: str) -> bool:
    return any(word in problem for problem in problems for word in words)


def _no_column(quantity: str, names: list[str], plain: dict[str, str], also: str = "") -> str:
    close = [n for n in names if difflib.get_close_matches(plain[n], SPELLINGS[quantity], 1, 0.7)]
    hint = f" Is it {close[0]!r}? Then pass {quantity}={close[0]!r}." if close else ""
    what = MEANING[quantity] + (f", {also}" if also else "")
    return (
        f"no column holds {what}.{hint} The columns are {', '.join(names[:12])}"
        f"{', ...' if len(names) > 12 else ''}; usual names are "
        f"{', '.join(SPELLINGS[quantity][:4])}."
    )


def numbers(raw: RawTable, quantity: str, column: str, problems: list[str]):
    """A column as positive finite floats. Other cells become NaN and are listed as problems."""
    cells = raw.cells[column]
    missing = np.array([str(v).strip().lower() in MISSING for v in cells], dtype=bool)
    values = np.full(len(cells), np.nan)
    not_numeric = np.zeros(len(cells), dtype=bool)
    for i, cell in enumerate(cells):
        if missing[i]:
            continue
        try:
            values[i] = parse_count(_plain_number(cell, thousands=quantity in SMALLEST))
        except (ValueError, TypeError, OverflowError):
            not_numeric[i] = True
    infinite = ~missing & ~not_numeric & ~np.isfinite(values)
    nonpositive = ~missing & ~not_numeric & ~infinite & (values <= 0)
    kinds = [
        (missing, "missing", "fill in or remove these rows"),
        (not_numeric, "not a number", "write 70B, 1.4T, 1e24 or a plain number"),
        (infinite, "not finite", "remove diverged runs or correct the values"),
        (nonpositive, "not positive", "give values above 0"),
    ]
    for bad, sentence, remedy in kinds:
        if bad.any():
            example = next(str(c)[:20] for c, b in zip(cells, bad, strict=True) if b)
            shown = f", e.g. {example!r}" if bad is not_numeric else ""
            n = int(bad.sum())
            problems.append(
                f"column {column!r} ({MEANING[quantity]}): {n} value{'s' * (n > 1)} "
                f"{'is' if n == 1 else 'are'} {sentence} {raw.rows(bad)}{shown}: "
                f"{remedy}"
            )
    return values


def _plain_number(cell, *, thousands: bool):
    if isinstance(cell, str):
        if "," in cell and not thousands:
            raise ValueError("a comma in a loss is a decimal comma")
        word = cell.strip().lower().lstrip("+-")
        if word in ("inf", "infinity"):
            return float(cell)
    if isinstance(cell, (bool, np.bool_)):
        raise ValueError("a truth value is not a number")
    return cell


def labels(raw: RawTable, column: str, problems: list[str]) -> pd.Series:
    """A column as text labels; an empty label is a problem."""
    cells = raw.cells[column]
    empty = np.array([pd.isna(v) or not str(v).strip() for v in cells], dtype=bool)
    if empty.any():
        problems.append(
            f"group column {column!r}: {int(empty.sum())} label(s) missing "
            f"{raw.rows(empty)}: every run needs one"
        )
    return cells.map(lambda v: str(v).strip()).astype("str")

"""Conversion of the columns of a table to numbers and labels, with a list of all problems."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bayescale.data import names, numerals, proposals, remedies, suspicions
from bayescale.data.formats import RawTable, is_missing
from bayescale.data.names import MEANING, USUAL, compact
from bayescale.errors import unknown
from bayescale.units import counted

#: Smallest plausible medians of counts. A smaller one is probably in millions or billions.
SMALLEST = {"N": 1e4, "D": 1e4, "C": 1e9}
#: How a count, and any other number, is written.
WRITTEN, PLAIN = "write 70B, 1.4T, 1e24 or a plain number", "write a plain number, such as 2.85"
#: What an expression may do to a column or a product, and how it is written.
TRANSFORMS = {
    "log": np.log,
    "exp": np.exp,
    "one_minus": lambda v: 1 - v,
    "negative": np.negative,
    "power_of_10": lambda v: 10**v,
}
WRITTEN_AS = {
    "log": r"log\((.*)\)",
    "exp": r"exp\((.*)\)",
    "negative": r"-\s*(.*)",
    "one_minus": r"1\s*-\s*(.*)",
    "power_of_10": r"10\s*(?:\*\*|\^)\s*(.*)",
}


@dataclass(frozen=True)
class Source:
    """Where a quantity comes from.

    Attributes
    ----------
    expression : str
        The column, or an expression such as ``params_m*1e6`` or ``log(val_ppl)``.
    factors : tuple
        Pairs of a column and its power: 1, or -1 for a divisor.
    factor : float
        A number to multiply by.
    unit : str
        The unit in the name of the column.
    stated : bool
        Whether the user stated the unit by an expression.
    transform : str
        A key of `TRANSFORMS`, or empty.
    """

    expression: str
    factors: tuple[tuple[str, int], ...]
    factor: float = 1.0
    unit: str = ""
    stated: bool = False
    transform: str = ""

    def transformed(self, values: np.ndarray) -> np.ndarray:
        """Values of the product of the columns, as the expression says."""
        return TRANSFORMS[self.transform](values) if self.transform else values


#: Quantities that may be given as a number.
CONSTANT = ("N", "D")


@dataclass
class Matched:
    """The source of each quantity, and notes on columns that were considered."""

    sources: dict[str, Source] = field(default_factory=dict)
    loss_unit: str = ""
    notes: list[str] = field(default_factory=list)


def parse_expression(text: str, columns: list[str]) -> Source | None:
    """The source that a text states; None if it does not state one.

    The text is a column, a number, a product or quotient of columns and numbers, ``log(column)``,
    ``exp(column)``, ``10**column``, ``1-column`` or ``-column``.
    """
    if text in columns:
        return Source(text, ((text, 1),))
    stripped = text.replace(" ", "")
    inner, transform = text.strip(), ""
    for name, pattern in WRITTEN_AS.items():
        if match := re.fullmatch(pattern, inner):
            inner, transform = match[1].strip(), name
            break
    by_length = sorted(columns, key=len, reverse=True)
    factors, factor, power = [], 1.0, 1
    while inner:
        found = next(
            (
                c
                for c in by_length
                if inner.startswith(c) and re.match(r"\s*([*/]|$)", inner[len(c) :])
            ),
            None,
        )
        if found is not None:
            factors.append((found, power))
            inner = inner[len(found) :].strip()
        else:
            number = re.match(r"[^*/]+", inner)
            try:
                value, _ = numerals.parse(number[0].strip()) if number else (np.nan, "")
            except ValueError:
                return None
            if not value > 0:
                return None
            factor *= value**power
            inner = inner[len(number[0]) :].strip() if number else ""
        if inner:
            power, inner = (1 if inner[0] == "*" else -1), inner[1:].strip()
            if not inner:
                return None
    if not factors and (transform or not text.strip()):
        return None
    return Source(stripped, tuple(factors), factor, stated=True, transform=transform)


def match_columns(
    raw: RawTable, named: dict[str, str | None], problems: list[str], groups: Collection[str] = ()
) -> Matched:
    """Find the column of each quantity.

    `named` maps a quantity to the column or expression that the user named, or None. Other
    quantities are recognised by the names of the columns.
    """
    columns = [str(c) for c in raw.cells.columns]
    out = Matched()
    readings = {c: names.recognise(c) for c in columns}
    used = set()
    for quantity in MEANING:
        expression = named.get(quantity)
        if expression is None:
            continue
        source = parse_expression(expression, columns)
        # A number is the same in all rows, as the N of one learning curve.
        if source is None or not (source.factors or quantity in CONSTANT):
            problems.append(f"{MEANING[quantity]}: {unknown('column', expression, columns)}")
            continue
        if not source.stated and (own := readings[expression]).quantity == quantity:
            source = _with_unit(source, quantity, own)
        out.sources[quantity] = source
        # A factor of a product may be a quantity of its own, as in N D.
        if len(source.factors) == 1:
            used.add(source.factors[0][0])
        if quantity == "loss":
            out.loss_unit = _loss_unit(source, readings[source.factors[0][0]])
    for quantity in names.RECOGNISED:
        if named.get(quantity) is not None:
            continue
        found = [c for c in columns if readings[c].quantity == quantity and c not in used]
        found = [c for c in found if not _is_layers(raw, c, columns, out)]
        if not found:
            continue
        best = min(readings[c].rank for c in found)
        if quantity == "D" and best >= 2 and _holds_compute(readings, named):
            continue
        found = [c for c in found if readings[c].rank == best]
        if len(found) > 1:
            found = _settle(raw, quantity, found, readings, out)
        if len(found) > 1:
            problems.append(
                f"columns {' and '.join(map(repr, found))} could each be "
                f"{MEANING[quantity]}: name one, {remedies.column(quantity, found[0])}"
            )
            continue
        reading = readings[found[0]]
        source = _with_unit(Source(found[0], ((found[0], 1),)), quantity, reading)
        if quantity == "loss":
            out.loss_unit = _loss_unit(source, reading)
            if reading.kind == "training":
                out.notes.append(
                    f"the loss is the training loss {found[0]!r}, because there is no other"
                )
        out.sources[quantity] = source
    out.sources = {q: out.sources[q] for q in MEANING if q in out.sources}
    for column, reading in readings.items():
        of_loss = names.names_loss(column)
        counts = set("NDC") & set(out.sources)
        lacking = "loss" not in out.sources if of_loss else len(counts) < 2 and "C" not in counts
        if reading.refusal and column not in used and lacking:
            out.notes.append(
                f"column {column!r} is {reading.refusal} and is not used as a count or loss"
            )
    missing_loss = "loss" not in out.sources and named.get("loss") is None
    if missing_loss and not _mentions(problems, "be the loss"):
        problems.append(proposals.no_column("loss", raw, _taken(out)))
    problems += _near_misses(columns, out.sources, named)
    if not {"D", "C"} <= set(out.sources) and not {"N", "N_active"} & set(out.sources):
        taken = {*_taken(out), *groups}
        problems += proposals.of_sizes(raw, [c for c in columns if c not in taken])
    none = not {"N", "D", "C"} & set(out.sources)
    if none and not _mentions(problems, "N (", "D (", "C ("):
        problems.append(proposals.of_counts(raw, columns, _taken(out)))
    else:
        problems += _of_other_columns(raw, [c for c in columns if c not in groups], out.sources)
    if problems:
        problems += [n for n in out.notes if "is not used" in n and none]
    return out


def _of_other_columns(raw, columns: list[str], sources: dict[str, Source]) -> list[str]:
    """A message on columns that give D or N, where N or D alone was found; empty without them."""
    N = sources.get("N")
    if not {"D", "C", "S"} & set(sources):
        found = proposals.of_logarithms(raw, columns, "N")
        if not found and N is not None:
            is_scaled = N.factor != 1 and not N.stated
            scaled = f"*{proposals.power_of_ten(N.factor)}" if is_scaled else ""
            found = proposals.of_ratios(columns, f"{N.expression}{scaled}")
        found = found or proposals.of_steps(raw, columns) or proposals.of_budgets(raw, columns)
    elif not {"N", "N_active", "C"} & set(sources):
        found = proposals.of_logarithms(raw, columns, "D") or proposals.of_shape(raw, columns)
    else:
        found = ""
    if (D := sources.get("D")) is not None and not D.stated and "C" not in sources:
        found = found or proposals.of_data(raw, columns, D.expression)
    return [found] if found else []


def _with_unit(source: Source, quantity: str, reading: names.Reading) -> Source:
    is_perplexity = quantity == "loss" and reading.unit.startswith("perplexity")
    transform = "log" if is_perplexity else ""
    unit = "" if quantity == "loss" and not transform else reading.unit
    return Source(source.expression, source.factors, float(reading.factor), unit, False, transform)


def _loss_unit(source: Source, reading: names.Reading) -> str:
    if reading.unit.startswith("perplexity"):
        each = reading.unit.partition(" per ")[2] or "token"
        return f"nats per {each}" if source.transform == "log" else "perplexity"
    if source.transform == "one_minus":
        return "error rate"
    return reading.unit if source.factor in (1.0, float(reading.factor)) else ""


def _holds_compute(readings, named) -> bool:
    """Whether C is there, which tells the tokens that were seen, unlike the size of a data set."""
    return named.get("C") is not None or any(r.quantity == "C" for r in readings.values())


def _is_layers(raw, column: str, columns, out: Matched) -> bool:
    """Whether a column L holds small whole numbers, such as layers."""
    if column not in ("L", "l"):
        return False
    values = pd.to_numeric(raw.cells[column], errors="coerce")
    layers = bool(values.notna().all() and (values % 1 == 0).all())
    if layers:
        out.notes.append(
            f"column {column!r} holds whole numbers (layers?) and is not used as the loss"
        )
    return layers


def _settle(raw, quantity, found, readings, out: Matched) -> list[str]:
    """Choose among several candidates, if they agree or if C shows which of them is N."""
    values = {}
    for column in found:
        numbers_ = pd.to_numeric(raw.cells[column], errors="coerce").to_numpy(float)
        values[column] = numbers_ * float(readings[column].factor)
    first = values[found[0]]
    if all(np.allclose(v, first, rtol=0.01, equal_nan=True) for v in values.values()) and (
        quantity in SMALLEST and np.isfinite(first).any()
    ):
        return found[:1]
    if quantity != "N":
        return found
    scale = {q: [c for c in raw.cells if readings[c].quantity == q] for q in "DC"}
    if len(scale["D"]) == 1 and len(scale["C"]) == 1:
        D, C = (
            pd.to_numeric(raw.cells[scale[q][0]], errors="coerce").to_numpy(float) for q in "DC"
        )
        with np.errstate(all="ignore"):
            spread = {c: np.nanstd(np.log(C / (D * v))) for c, v in values.items()}
            factor = {c: abs(np.log(np.nanmedian(C / (D * v)) / 6)) for c, v in values.items()}
        # Of several parameters in proportion, as in experts of one shape, those nearest to C = 6ND.
        best = min(spread, key=lambda c: (spread[c] > 0.05, factor[c]))
        if spread[best] < 0.05:
            out.notes.append(
                f"N is {best!r}: C is proportional to it times D and nearest to 6ND (the others: "
                f"{', '.join(repr(c) for c in found if c != best)})"
            )
            return [best]
    return found


def _near_misses(columns, sources, named) -> list[str]:
    """Columns that look like a misspelt N, D or C, if only one of the three was found."""
    if len({"N", "D", "C"} & set(sources)) != 1:
        return []
    problems = []
    taken = {c for source in sources.values() for c, _ in source.factors}
    for quantity in "NDC":
        if quantity in sources or named.get(quantity) is not None:
            continue
        usual = [s for s in USUAL[quantity] if len(s) > 3]
        for name in (n for n in columns if n not in taken and not names.recognise(n).refusal):
            if names.recognise(name).quantity:
                continue
            if close := difflib.get_close_matches(compact(name), usual, 1, 0.85):
                problems.append(
                    f"column {name!r} looks like {MEANING[quantity]} misspelt (usual: "
                    f"{close[0]}): rename it, or pass {remedies.column(quantity, name)}"
                )
    return problems


def _taken(matched: Matched) -> set[str]:
    """The columns that were read."""
    return {column for source in matched.sources.values() for column, _ in source.factors}


def _mentions(problems: list[str], *words: str) -> bool:
    return any(word in problem for problem in problems for word in words)


def values_of(raw: RawTable, quantity: str, source: Source, problems: list[str]) -> np.ndarray:
    """The values of a quantity: its columns as numbers, multiplied and transformed."""
    table = numerals.Style(
        cell for c in raw.cells for cell in raw.cells[c] if isinstance(cell, str)
    )
    result = np.ones(len(raw.cells))
    for column, power in source.factors:
        values = numbers(raw, quantity, column, problems, table, source)
        result = result * (values if power == 1 else 1 / values)
    with np.errstate(all="ignore"):
        # Division by a whole number keeps 8.2 M exactly 8.2e6.
        result = source.transformed(result * source.factor)
    if source.transform and (bad := ~(result > 0) & ~np.isnan(result) | np.isinf(result)).any():
        problems.append(
            f"{source.expression!r} is not positive and finite {raw.rows(bad)}: correct the values"
        )
    return result


def numbers(raw: RawTable, quantity: str, column: str, problems: list[str], table, source):
    """A column as positive finite floats. Other cells become NaN and are listed as problems."""
    cells = raw.cells[column]
    missing = np.array([is_missing(v) for v in cells], dtype=bool)
    mark, doubtful = numerals.decimal_mark(list(cells), table)
    values = np.full(len(cells), np.nan)
    not_numeric = np.zeros(len(cells), dtype=bool)
    units: list[str] = [""] * len(cells)
    for i, cell in enumerate(cells):
        if missing[i]:
            continue
        try:
            values[i], units[i] = numerals.parse(cell, mark)
        except (ValueError, TypeError, OverflowError):
            not_numeric[i] = True
    if doubtful is not None:
        problems.append(
            f"column {column!r} ({MEANING[quantity]}): the separator in {doubtful!r} can mark "
            "decimals or thousands: write the numbers without thousands separators, with a dot for "
            "decimals"
        )
        return values
    if quantity in SMALLEST:
        _mixed_units(raw, column, quantity, values, units, source, problems)
    elif quantity == "loss" and "%" in units:
        problem = remedies.percent_signs(column, source.factor if source.stated else None)
        problems += [f"column {column!r} ({MEANING[quantity]}): {problem}"] if problem else []
    infinite = ~missing & ~not_numeric & ~np.isfinite(values)
    nonpositive = ~missing & ~not_numeric & ~infinite & (values <= 0)
    if source.transform not in ("", "log"):  # its result is checked
        nonpositive[:] = False
    drop = remedies.of_missing()
    kinds = [
        (missing, "missing", drop),
        (not_numeric, "not a number", WRITTEN if quantity in SMALLEST else PLAIN),
        (infinite, "not finite", "remove diverged runs or correct the values"),
        (nonpositive, "not positive", "give values above 0"),
    ]
    for bad, sentence, remedy in kinds:
        if bad.any():
            example = next(str(c)[:20] for c, b in zip(cells, bad, strict=True) if b)
            if bad is missing and quantity in SMALLEST and _is_merged(missing):
                remedy = (
                    f"if each repeats the one above, as of merged cells, fill it in; else {drop}"
                )
            if bad is not_numeric and suspicions.SUMMARY.fullmatch(example.lower()):
                remedy = "remove the row if it is a summary of other rows"
            elif bad is not_numeric and example.strip().lower() == str(column).strip().lower():
                remedy = "remove the row if it repeats the heading"
            shown = f", e.g. {example!r}" if bad is not_numeric else ""
            n = int(bad.sum())
            problems.append(
                f"column {column!r} ({MEANING[quantity]}): {n} value{'s' * (n > 1)} "
                f"{'is' if n == 1 else 'are'} {sentence} {raw.rows(bad)}{shown}: "
                f"{remedy}"
            )
    return values


def _is_merged(missing: np.ndarray) -> bool:
    """Whether cells are missing as if each filled one stood for several rows."""
    blocks = np.diff(np.flatnonzero(~missing))
    return bool(not missing[0] and len(blocks) and (blocks > 1).all() and missing.sum() > 1)


def _mixed_units(raw, column, quantity, values, units, source, problems) -> None:
    """Problems of units that are written in some cells only, or in the header as well."""
    with_unit = np.array([bool(u) for u in units])
    if source.unit and not source.stated and with_unit.any():
        problems.append(
            f"column {column!r} ({MEANING[quantity]}): a unit is written in the header and in "
            f"cells {raw.rows(with_unit)}: write it once"
        )
    bare = ~with_unit & np.isfinite(values) & (values > 0) & (values < SMALLEST[quantity])
    if with_unit.any() and bare.any():
        problems.append(
            f"column {column!r} ({MEANING[quantity]}): some cells have a unit and others do not "
            f"{raw.rows(bare)}: write the unit in each"
        )


def labels(raw: RawTable, column: str, problems: list[str]) -> pd.Series:
    """A column as text labels; an empty label is a problem."""
    cells = raw.cells[column]
    empty = np.array([pd.isna(v) or not str(v).strip() for v in cells], dtype=bool)
    if empty.any():
        problems.append(
            f"group column {column!r}: "
            f"{counted(int(empty.sum()), 'label is', 'labels are')} missing "
            f"{raw.rows(empty)}: every run needs one"
        )
    return cells.map(lambda v: str(v).strip()).astype("str")

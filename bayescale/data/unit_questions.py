"""Counts that look like counts in another unit, and how to state the right one."""

from __future__ import annotations

import re

import numpy as np

from bayescale.data import names, remedies
from bayescale.data.formats import is_missing
from bayescale.data.numerals import unit_factor
from bayescale.data.reading import SMALLEST, Source
from bayescale.data.suspicions import CHECK_ROWS
from bayescale.units import format_count, times_in_words

#: Units of counts and of compute with their powers of ten.
COUNT_UNITS = [("thousands", 3), ("millions", 6), ("billions", 9), ("trillions", 12)]
COMPUTE_UNITS = [
    ("GFLOP", 9),
    ("TFLOP", 12),
    ("PFLOP", 15),
    ("EFLOP", 18),
    ("PF-days", np.log10(8.64e19)),
    ("ZFLOP", 21),
]
#: Losses of less than this share of those of published models of the same size are too low.
TOO_GOOD = 0.5
#: Larger medians of counts are not those of a table in thousands.
LARGEST_SMALL = {"N": 1e7, "D": 1e9}
#: What a user may state about the units.
ABSOLUTE, RIGHT = "all counts are absolute", "the units are right"
#: Columns of units: ``params_unit``, ``unit of params``, ``units``.
UNIT_OF = re.compile(r"(?:(.*?)[ _-]+)?units?(?:[ _-]+of[ _-]+(.*))?", re.IGNORECASE)
#: Medians of D / N outside these give a caution; outside 1e-2 to 1e5 a table is refused.
USUAL_RATIO = (0.1, 1e4)
#: A caution proposes a unit if the median of D / N would then lie in this range.
LIKELY_RATIO = (0.5, 2000.0)
#: A smaller unit is proposed only if the median count would then be this multiple of the smallest
#: that is accepted: a million parameters or tokens.
STILL_LARGE = 100.0


def of_unit_columns(raw, sources: dict[str, Source], groups) -> list[str]:
    """Problems of columns such as ``params_unit`` that hold the units of another column."""
    problems = []
    for column in (c for c in map(str, raw.cells.columns) if c not in groups):
        match = UNIT_OF.fullmatch(column)
        of = match and next((p for p in match.groups() if p), "")
        if match is None:
            continue
        units = list(dict.fromkeys(str(v).strip() for v in raw.cells[column] if not is_missing(v)))
        quantity, source = next(
            (
                (q, s)
                for q, s in sources.items()
                if names.compact(s.expression) == names.compact(of)
                or names.recognise(of).quantity == q
            ),
            ("", None),
        )
        known = [unit_factor(u) or names.recognise(f"loss ({u})").unit for u in units]
        if len(units) > 1 and (source is not None or (not of and all(known))):
            problems.append(
                f"rows are in different units by column {column!r} ({', '.join(units[:4])}): write "
                "all in one unit"
            )
        elif quantity in "NDC" and source is not None and not (source.stated or source.unit):
            factor = unit_factor(units[0]) if units else None
            if factor not in (None, 1):
                stated = remedies.column(quantity, _scaled(source, float(factor)))
                problems.append(
                    f"column {column!r} says that {of!r} is in {units[0]!r}: pass {stated}"
                )
    return problems


def implausible(columns, written: dict[str, Source], stated: set[str]) -> list[str]:
    """Problems of counts, given or derived, that look like a unit that is not written."""
    problems = []
    for quantity, smallest in SMALLEST.items():
        sources = {quantity} if quantity in written else set(written)
        if quantity in columns and not sources <= stated:
            middle = float(np.median(columns[quantity]))
            if middle < smallest and quantity not in written and {"N", "D"} <= set(columns):
                continue  # the message below uses the ratio of D and N
            if middle < smallest:
                problems.append(_unit_question(quantity, middle, written, quantity not in written))
    if problems or not {"N", "D"} <= set(columns) or set(written) <= stated:
        return problems
    ratio = float(np.median(columns["D"] / columns["N"]))
    small = any(np.median(columns[q]) < SMALLEST[q] for q in "ND")
    if 1e-2 * (1 - 1e-9) <= ratio <= 1e5 and not small:
        return []
    return [_unit_question("D / N", ratio, written, False)]


def _unit_question(quantity: str, middle: float, written, derived: bool) -> str:
    """The message on implausible counts: their median, likely units, and how to state the unit."""
    by = " by C = 6ND" if derived else ""
    if quantity == "D / N":
        found = _other_units(middle, written)
        likely = [(q, unit) for q, unit, _ in found if q == found[0][0]][:2]
    else:
        # The unit of a derived count follows from that of the quantity it was computed from.
        target = quantity if quantity in written else "C" if "C" in written else next(iter(written))
        units = COMPUTE_UNITS[-3:] if target == "C" else COUNT_UNITS[1:3]
        likely = [(target, unit) for unit in units]
    return (
        f"{names.MEANING.get(quantity, quantity)}{by}: the median is {middle:.5g}, which looks "
        f"like counts in another unit, such as {_in_units(likely, written)}; {_as_read(written)}"
    )


def too_good(columns, written: dict[str, Source], stated: set[str], loss_unit: str) -> list[str]:
    """A caution if losses are too low for the counts, but not if these are in thousands.

    Parameters
    ----------
    columns : mapping of str to array
    written, stated
        As in `implausible`.
    loss_unit : str
        Empty if it is not known, which is taken to be nats.
    """
    if (
        set(written) <= stated
        or not {"N", "D"} <= set(written)
        or loss_unit[:4] not in ("", "nats")
    ):
        return []
    D = written["D"].expression
    large = any(np.median(columns[q]) > LARGEST_SMALL[q] for q in "ND")
    if large or (D != "D" and "tok" not in D.lower()):
        return []

    def below(scale: float) -> float:
        """The median ratio of the losses to those of Hoffmann et al. (arXiv:2203.15556)."""
        N, D = scale * columns["N"], scale * columns["D"]
        return float(np.median(columns["loss"] / (1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28)))

    if below(1.0) > TOO_GOOD or not 0.7 < below(1e3) < 1.4:
        return []
    thousands = {q: _scaled(written[q], 1e3 * written[q].factor) for q in "ND"}
    return [
        f"losses of {np.median(columns['loss']):.3g} with {format_count(np.median(columns['N']))} "
        f"parameters on {format_count(np.median(columns['D']))} tokens are far lower than those of "
        f"published models of this size, but usual for a thousand times as many: are both counts "
        f"in thousands ({remedies.columns(thousands)})? I{_as_read(written)[1:]}"
    ]


def doubts(notes) -> list[str]:
    """The notes that ask whether the counts, of all rows or of some, are in another unit."""
    asking = f"If {ABSOLUTE}", f"If {RIGHT}", CHECK_ROWS
    return [note for note in notes if any(words in note for words in asking)]


def _other_units(ratio: float, written) -> list[tuple[str, tuple[str, float], float]]:
    """Other units of each quantity, and the median of D / N that each would give.

    Those come first of the quantity that is probably in another unit, as its values are too small,
    and of each quantity those for which D / N would be nearest to 20.
    """
    powers = {"N": -1, "D": 1}
    if not {"N", "D"} <= set(written):  # the third of N, D and C was computed from C = 6ND
        powers = {"N": -2, "C": 1} if "N" in written else {"D": 2, "C": -1}
    off = "D" if ratio < 1 else "N"
    off = off if off in powers else "C"
    found = []
    for quantity, power in powers.items():
        for unit in COMPUTE_UNITS if quantity == "C" else COUNT_UNITS:
            shift = power * (unit[1] - np.log10(written[quantity].factor))
            if abs(shift) > 1e-6:
                found.append((quantity, unit, ratio * 10**shift))
    return sorted(found, key=lambda other: (other[0] != off, abs(np.log10(other[2] / 20))))


def _in_units(units, written) -> str:
    """Units of quantities, with the keyword or option that states each of them."""
    return " or ".join(
        f"{name} ({remedies.column(quantity, _scaled(written[quantity], 10.0**exponent))})"
        for quantity, (name, exponent) in units
    )


def _scaled(source: Source, factor: float) -> str:
    """The columns of a source times a factor, which replaces the unit that was read."""
    power = round(np.log10(factor))
    exact = power >= 3 and np.isclose(factor, 10.0**power, rtol=1e-9)
    return f"{_columns_of(source)}*{f'1e{power}' if exact else f'{factor:.12g}'.replace('e+', 'e')}"


def _columns_of(source: Source) -> str:
    """The product of the columns of a source, as an expression."""
    text = "".join(("*" if power == 1 else "/") + column for column, power in source.factors)
    return text[1:] if text.startswith("*") else f"1{text}"


def _as_read(written) -> str:
    """How to state that the units are those that were read."""
    absolute = all(source.factor == 1 for source in written.values())
    return (
        f"if {ABSOLUTE if absolute else RIGHT}, pass "
        f"{remedies.columns({q: _scaled(source, source.factor) for q, source in written.items()})}"
    )


def unusual_ratio(columns, written: dict[str, Source], stated: set[str]) -> list[str]:
    """A caution if the tokens per parameter are far from those of language models."""
    if not {"N", "D"} <= set(columns) or set(written) <= stated:
        return []
    ratio = float(np.median(columns["D"] / columns["N"]))
    if USUAL_RATIO[0] <= ratio <= USUAL_RATIO[1]:
        return []
    low, high = LIKELY_RATIO
    likely: dict[str, list] = {}
    for quantity, unit, then in _other_units(ratio, written):
        now = np.log10(written[quantity].factor)
        middle = np.log10(np.median(columns[quantity])) + unit[1] - now
        large = unit[1] > now or middle >= np.log10(STILL_LARGE * SMALLEST[quantity])
        if low <= then <= high and large:
            likely.setdefault(quantity, []).append((quantity, unit))
    question = ", or ".join(
        f"is {_columns_of(written[quantity])!r} in {_in_units(units, written)}"
        for quantity, units in likely.items()
    )
    return [
        f"D / N: the median is {times_in_words(ratio)} tokens per parameter, but language models "
        f"are trained on 1 to 1000: {f'{question}?' if question else 'check the units.'} "
        f"I{_as_read(written)[1:]}"
    ]

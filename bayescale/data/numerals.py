"""Numbers as people write them in cells: units, thousands separators, decimal commas, percent.

Whether a comma is a decimal comma is decided for a whole column, never for a single cell. A column
in which every comma stands before exactly three digits is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

import numpy as np

#: FLOP in a PF-day: 1e15 FLOP per second for a day.
PF_DAY = Decimal("8.64e19")
#: Decimal exponents of units of counts, in lower case.
COUNT_UNITS = {
    "k": 3, "thousand": 3, "thousands": 3, "tsd": 3,
    "m": 6, "mm": 6, "mn": 6, "mio": 6, "mil": 6, "mega": 6, "million": 6, "millions": 6,
    "b": 9, "bn": 9, "bil": 9, "g": 9, "giga": 9, "mrd": 9, "mia": 9, "billion": 9, "billions": 9,
    "milliarden": 9, "milliards": 9,
    "t": 12, "tn": 12, "tera": 12, "trillion": 12, "trillions": 12,
}  # fmt: skip
PREFIXES = {
    "": 0, "k": 3, "kilo": 3, "m": 6, "mega": 6, "g": 9, "giga": 9, "t": 12, "tera": 12, "p": 15,
    "peta": 15, "e": 18, "exa": 18, "z": 21, "zetta": 21, "y": 24, "yotta": 24,
}  # fmt: skip
_FLOP = re.compile(r"^(kilo|mega|giga|tera|peta|exa|zetta|yotta|[kmgtpezy])?(?:flops?|flos|flo)$")
_PF_DAY = re.compile(r"^(?:peta|p)(?:flops?|fs?)?(?:/?s|persecond|persec)?days?$")
_POWER = re.compile(r"^(?:x|\*)?(?:1?e\+?|10\^|10\*\*)(\d{1,2})$")
#: Multiples such as ``1,000,000``, ``1000s`` and ``100M``.
_MULTIPLE = re.compile(r"^(1(?:0|,(?=0{3}))*)([a-z]*)$")
_NOUN = re.compile(r"(?:params?|parameters?|tokens?|toks?|samples?|examples?)$")
_CELL = re.compile(
    r"^([+-]?)((?:\d[\d.,'_\u00a0\u202f\u2009 ]*|[.,]\d+))(?:[eE]([+-]?\d+))?\s*"
    r"([A-Za-z%][A-Za-z/\-. ]*)?$",
    re.ASCII,
)
#: Powers such as ``2^30`` and ``7×10^7``.
_AS_POWER = re.compile(
    r"([+-]?)(?:([\d.,]+)\s*[x*×·⋅]\s*)?(10|2)\s*(?:\^|\*\*)\s*[({]?([+-]?\d{1,3})[)}]?(.*)"
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")


def unit_factor(text: str) -> Decimal | None:
    """The factor of a unit such as ``M``, ``billion``, ``1e9``, ``ZFLOP``, ``PF-days`` or ``%``."""
    word = re.sub(r"[\s_\-]", "", _without_superscripts(text).lower()).replace("×", "x").rstrip(".")
    for plain in ("unitof", "in", "x"):
        word = word.removeprefix(plain) if len(word) > len(plain) else word
    if word == "%":
        return Decimal("0.01")
    if match := _POWER.match(word):
        return Decimal(10) ** int(match[1])
    if match := _MULTIPLE.match(word):
        unit = COUNT_UNITS.get(match[2], 0 if match[2] in ("", "s") else None)
        factor = None if unit is None else int(match[1].replace(",", "")) * Decimal(10) ** unit
        return factor if factor is not None and factor >= 1000 else None
    if _PF_DAY.match(word):
        return PF_DAY
    if match := _FLOP.match(word):
        return Decimal(10) ** PREFIXES[match[1] or ""]
    bare = _NOUN.sub("", word)
    if bare in COUNT_UNITS:
        return Decimal(10) ** COUNT_UNITS[bare]
    return Decimal(1) if word and not bare else None


class Style:
    """Which separators mark decimals and thousands in some cells."""

    def __init__(self, cells: Iterable[object]):
        self.comma = self.dot = False  # whether a cell shows that it marks decimals
        self.doubtful_comma = self.doubtful_dot = None  # a cell that may be read in two ways
        for cell in cells:
            match = _CELL.match(plain(cell)) if isinstance(cell, str) else None
            if match:
                self._learn(match[2].strip(), cell.strip())

    def _learn(self, digits: str, cell: str) -> None:
        commas, dots = digits.count(","), digits.count(".")
        if commas and dots:
            if digits.rindex(",") > digits.rindex("."):
                self.comma = True
            else:
                self.dot = True
        elif commas > 1 or dots > 1:
            self.dot |= commas > 1
            self.comma |= dots > 1
        elif commas or dots:
            before, after = re.split("[.,]", digits)
            doubtful = len(after) == 3 and 1 <= len(before) <= 3 and before.strip("0") != ""
            if doubtful and commas:
                self.doubtful_comma = self.doubtful_comma or cell
            elif doubtful:
                self.doubtful_dot = self.doubtful_dot or cell
            elif commas:
                self.comma = True
            else:
                self.dot = True


def decimal_mark(column: Iterable[object], table: Style) -> tuple[str, str | None]:
    """The decimal mark of a column, and a cell that can be read in two ways (or None).

    Parameters
    ----------
    column : iterable
        The cells.
    table : Style
        The separators in all cells of the table.
    """
    own = Style(column)
    if own.comma and own.dot:
        return ".", next(c for c in column if isinstance(c, str) and "," in c)
    if own.comma or own.dot:
        return ("," if own.comma else "."), None
    elsewhere = table.comma and not table.dot
    if own.doubtful_comma:
        return ",", None if elsewhere else own.doubtful_comma
    return ".", own.doubtful_dot if elsewhere else None


def _without_superscripts(text: str) -> str:
    """A text with superscripts written as powers: ``10⁷`` as ``10^7``."""
    if text.isascii():
        return text
    return re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda m: f"^{m[0].translate(_SUPERSCRIPTS)}", text)


def plain(cell: str) -> str:
    """A number without the sign of an approximate one; powers of 10 and of 2 written out.

    Examples
    --------
    >>> plain("~7×10⁷"), plain("2^30"), plain("70M")
    ('7e7', '1073741824', '70M')
    """
    text = cell.strip().lstrip("~≈≃ ").replace("\u2212", "-").replace("\u2019", "'")
    if text.isascii() and "^" not in text and "**" not in text:
        return text
    text = _without_superscripts(text)
    match = _AS_POWER.fullmatch(text.strip("$ ").replace("\\times", "×"))
    if match is None:
        return text
    sign, times, base, exponent, unit = match.groups()
    if base == "10":
        return f"{sign}{times or 1}e{exponent}{unit}"
    return f"{sign}{2 ** int(exponent)}{unit}" if not times and exponent.isdigit() else text


def parse(cell: object, mark: str = ".") -> tuple[float, str]:
    """The number in a cell and its unit as written; raises ValueError if it is not a number."""
    if isinstance(cell, (bool, np.bool_)):
        raise ValueError("a truth value is not a number")
    if isinstance(cell, (int, float, np.integer, np.floating, Decimal)):
        return float(cell), ""
    if not isinstance(cell, str):
        raise ValueError(f"{cell!r} is not a number")
    text = plain(cell)
    if text.lower().lstrip("+-") in ("inf", "infinity") and text[1:2] not in ("+", "-"):
        return float(text), ""
    match = _CELL.match(text)
    if match is None:
        raise ValueError(f"{cell!r} is not a number")
    sign, digits, exponent, unit = match.groups()
    thousands = "." if mark == "," else ","
    digits = digits.strip()
    whole, _, part = digits.partition(mark)
    groups = re.split(rf"[{thousands}'_\u00a0\u202f\u2009 ]", whole)
    separated = len(groups) > 1 and "_" not in whole
    if separated and not (1 <= len(groups[0]) <= 3 and all(len(g) == 3 for g in groups[1:])):
        raise ValueError(f"{cell!r} is not a number")
    factor = Decimal(1)
    if unit := (unit or "").strip():
        found = unit_factor(unit)
        if found is None:
            raise ValueError(f"{unit!r} is not a unit")
        factor = found
    try:
        number = Decimal(f"{sign}{''.join(groups) or '0'}.{part or '0'}e{exponent or 0}")
        # Multiplied as decimals, so that 8.2B is exactly 8.2e9.
        return float(number * factor), unit
    except (InvalidOperation, OverflowError):
        return float(f"{sign}{''.join(groups) or '0'}.{part or '0'}e{exponent or 0}"), unit

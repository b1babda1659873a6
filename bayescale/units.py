"""Parsing and formatting of counts, such as 70B parameters, 1.4T tokens and 1e24 FLOP."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from bayescale.errors import LawError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: Training FLOP per parameter and token: two for the forward pass, four for the backward one
#: (Kaplan et al. 2020, arXiv:2001.08361).
FLOP_PER_PARAMETER_TOKEN = 6.0

_EXPONENT = {"": 0, "k": 3, "m": 6, "b": 9, "g": 9, "t": 12}
_NUMBER = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:e([+-]?\d+))?\s*([kmbgt]?)$", re.IGNORECASE)
# Groups of three digits in the integer part; a comma elsewhere is an error.
_THOUSANDS = re.compile(r"^[+-]?\d{1,3}(?:,\d{3})+(?![\d,])")


def parse_count(text: object) -> float:
    """Read a count, with or without a suffix.

    Parameters
    ----------
    text : str or number
        ``70B``, ``1.4T``, ``410M``, ``1e24``, ``1,400,000`` or a plain number. The suffixes are K,
        M, B (or G) and T, in either case.

    Returns
    -------
    float
        The absolute count.

    Raises
    ------
    ValueError
        If the text is not a count.

    Examples
    --------
    >>> parse_count("1.4T")
    1400000000000.0
    """
    if isinstance(text, (int, float, np.integer, np.floating)) and not isinstance(text, bool):
        return float(text)
    plain = _THOUSANDS.sub(lambda m: m.group().replace(",", ""), str(text).strip())
    match = _NUMBER.match(plain.replace("_", ""))
    if match is None:
        raise ValueError(f"{text!r} is not a count: write 70B, 1.4T, 410M, 1e24 or a plain number")
    digits, exponent, suffix = match.groups()
    # Converted as one number, without a multiplication, so that 8.2B is exactly 8.2e9.
    return float(f"{digits}e{int(exponent or 0) + _EXPONENT[suffix.lower()]}")


def as_counts(value: object, name: str) -> np.ndarray:
    """Read one or more counts as a one-dimensional array of positive floats.

    Parameters
    ----------
    value : float, str or sequence of these
        Counts in any form that `parse_count` reads.
    name : str
        Name of the quantity in error messages, such as ``"C"``.

    Returns
    -------
    numpy.ndarray
        (count,), also for a single count.

    Raises
    ------
    LawError
        If a count cannot be read, or is not finite and positive, or if there is none.

    Examples
    --------
    >>> as_counts(["70B", 1e9], "N")
    array([7.e+10, 1.e+09])
    """
    items = [value] if isinstance(value, str) or np.ndim(value) == 0 else list(value)
    try:
        counts = np.array([parse_count(item) for item in items], dtype=float)
    except (ValueError, TypeError) as error:
        other = "; dollars and hours are read by bs.as_flops" if name == "C" else ""
        raise LawError(f"{name}: {error}{other}") from None
    if not (np.isfinite(counts) & (counts > 0)).all() or counts.size == 0:
        raise LawError(f"{name} must be positive and finite, got {value!r}")
    return counts


def format_count(value: float, digits: int = 3) -> str:
    """Write a count of parameters or tokens with a suffix.

    Parameters
    ----------
    value : float
    digits : int
        Significant digits.

    Returns
    -------
    str

    Examples
    --------
    >>> format_count(7.2e10), format_count(1.4e12)
    ('72B', '1.4T')
    """
    if not np.isfinite(value):
        return str(value)
    value = float(f"{value:.{digits}g}")
    for suffix, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if 1 <= abs(value) / scale < 1e4:
            return f"{value / scale:.{max(digits, 4)}g}{suffix}"
    return f"{value:.{digits}g}"


def format_flop(value: float, digits: int = 3) -> str:
    """Write training compute in scientific notation.

    Parameters
    ----------
    value : float
        FLOP.
    digits : int
        Significant digits.

    Examples
    --------
    >>> format_flop(5.76e23)
    '5.76e23'
    """
    if not np.isfinite(value):
        return str(value)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def times_in_words(times: float) -> str:
    """A factor or a ratio with three digits and without a power of ten, in words if it is large.

    Examples
    --------
    >>> [times_in_words(times) for times in (0.5312, 23.14, 1_968, 115_800, 4.81e6, 3e14)]
    ['0.531', '23.1', '1,970', '116,000', '4.8 million', '3e+14']
    """
    times = float(f"{times:.3g}")
    if times < 1000 or not np.isfinite(times):
        return f"{times:.3g}"
    for size, name in ((1e12, ""), (1e9, " billion"), (1e6, " million")):
        if times >= size:
            return f"{times / size:.2g}{name}" if name else f"{times:.2g}"
    return f"{times:,.0f}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun, and with the verb if both forms are given.

    Parameters
    ----------
    number : int
    noun : str
        The singular.
    plural : str, optional
        By default the singular with an s.

    Returns
    -------
    str

    Examples
    --------
    >>> counted(1, "run"), counted(3, "point lies", "points lie")
    ('1 run', '3 points lie')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def flop(N: ArrayLike | str, D: ArrayLike | str) -> ArrayLike:
    """Training compute of `N` parameters on `D` tokens, C = 6 N D, in FLOP.

    Parameters
    ----------
    N, D : float, str or array_like
        Absolute counts of parameters and tokens (``7e9``, ``"7B"``).

    Returns
    -------
    float or array_like

    Examples
    --------
    >>> float(flop(70e9, 1.4e12))
    5.88e+23
    """
    N, D = (parse_count(value) if isinstance(value, str) else value for value in (N, D))
    return FLOP_PER_PARAMETER_TOKEN * N * D


def grid(start: float | str, stop: float | str, num: int = 50) -> np.ndarray:
    """`num` values from `start` to `stop`, evenly spaced in the logarithm.

    Parameters
    ----------
    start, stop : float or str
        First and last value, in any form that `parse_count` reads.
    num : int
        Number of values.

    Returns
    -------
    numpy.ndarray
        Of shape (num,).

    Examples
    --------
    >>> grid("1e18", "1e20", 3)
    array([1.e+18, 1.e+19, 1.e+20])
    """
    return np.geomspace(parse_count(start), parse_count(stop), num)


def format_loss(value: float) -> str:
    """A loss with three decimals, or with three digits if it is small.

    Examples
    --------
    >>> format_loss(2.3456), format_loss(0.00637), format_loss(1.2e-05)
    ('2.346', '0.00637', '1.20e-05')
    """
    return f"{value:.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:#.3g}"

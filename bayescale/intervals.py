"""Credible intervals of posterior draws, with a probability of 90 % by default."""

from __future__ import annotations

import re
import shutil
import sys
from numbers import Real

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import BayescaleError, FitError, unknown
from bayescale.text_tables import UNBROKEN, fits, html_table, text_table
from bayescale.units import format_count, format_flop

SAMPLE = ("chain", "draw")
KINDS = ("eti", "hdi")
ROWS = ("draws", "summary")  # of tidy tables
CI_PROB = 0.9  # default of all results, tables and plots


def defaults(ci_prob: float | None = None, ci_kind: str | None = None) -> tuple[float, str]:
    """Check the probability and the kind of an interval, and replace None by the defaults.

    Parameters
    ----------
    ci_prob : float, optional
        Between 0 and 1; `CI_PROB` by default.
    ci_kind : {"eti", "hdi"}, optional
        Equal-tailed or highest-density. By default ``arviz.rcParams["stats.ci_kind"]``, if ArviZ
        was imported, else equal-tailed.

    Raises
    ------
    BayescaleError
        If one of them is not valid.

    Examples
    --------
    >>> defaults(0.9, "eti")
    (0.9, 'eti')
    """
    prob = CI_PROB if ci_prob is None else ci_prob
    kind = _default_kind() if ci_kind is None else ci_kind
    if not (isinstance(prob, Real) and 0 < prob < 1):
        raise BayescaleError(f"ci_prob is {prob!r}: give a probability between 0 and 1, e.g. 0.9")
    prob = float(prob)
    if kind not in KINDS:
        raise BayescaleError(f"ci_kind is {kind!r}: it may be {' or '.join(map(repr, KINDS))}")
    return prob, kind


def _default_kind() -> str:
    """The kind set in ArviZ. Importing ArviZ to ask would take longer than a forecast."""
    arviz = sys.modules.get("arviz_base")
    return arviz.rcParams["stats.ci_kind"] if arviz else KINDS[0]


def check_rows(of: str) -> None:
    """Raise an error unless a tidy table is asked for by one of `ROWS`."""
    if of not in ROWS:
        raise FitError(unknown("table", of, ROWS), where="to_dataframe")


def interval(
    draws: xr.DataArray, ci_prob: float | None = None, ci_kind: str | None = None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Lower and upper bound of the credible interval of draws.

    Parameters
    ----------
    draws : xarray.DataArray
        Dims ``chain``, ``draw`` and any others.
    ci_prob, ci_kind
        As in `defaults`.

    Returns
    -------
    tuple of xarray.DataArray
        Lower and upper bound, with the other dims of `draws`.

    Examples
    --------
    >>> draws = xr.DataArray([[1.0, 2.0, 3.0, 4.0, 5.0]], dims=("chain", "draw"))
    >>> [float(bound) for bound in interval(draws, 0.5, "eti")]
    [2.0, 4.0]
    """
    prob, kind = defaults(ci_prob, ci_kind)
    other_dims = [d for d in draws.dims if d not in SAMPLE]
    values = draws.transpose(*SAMPLE, *other_dims).to_numpy()
    values = values.reshape(-1, *values.shape[2:])
    if kind == "eti":
        # Between infinite values a quantile cannot be interpolated.
        method = "higher" if np.isinf(values).any() else "linear"
        bounds = np.quantile(values, [(1 - prob) / 2, (1 + prob) / 2], axis=0, method=method)
    else:
        from arviz_stats.base import array_stats

        bounds = np.moveaxis(array_stats.hdi(values, prob, axis=0), -1, 0)
    coords = {d: draws.coords[d] for d in other_dims if d in draws.coords}
    return tuple(xr.DataArray(b, dims=other_dims, coords=coords) for b in bounds)


def table(
    draws: xr.DataArray, name: str, ci_prob: float | None = None, ci_kind: str | None = None
) -> pd.DataFrame:
    """A table of the median and the credible interval.

    Parameters
    ----------
    draws : xarray.DataArray
        Dims ``chain``, ``draw`` and at most one other.
    name : str
        Name of the quantity.
    ci_prob, ci_kind
        As in `defaults`.

    Returns
    -------
    pandas.DataFrame
        One row per value of the other dim. Columns for the name ``loss``, a probability of 0.9 and
        the kind ``"eti"``: ``loss``, ``loss_eti90_lb`` and ``loss_eti90_ub``.

    Examples
    --------
    >>> draws = xr.DataArray([[1.0, 2.0, 3.0, 4.0, 5.0]], dims=("chain", "draw"))
    >>> table(draws, "loss", 0.5, "eti").to_dict("records")
    [{'loss': 3.0, 'loss_eti50_lb': 2.0, 'loss_eti50_ub': 4.0}]
    """
    prob, kind = defaults(ci_prob, ci_kind)
    lower, upper = interval(draws, prob, kind)
    stem = f"{name}_{kind}{100 * prob:g}"
    return pd.DataFrame(
        {
            name: np.atleast_1d(draws.median(SAMPLE).to_numpy()),
            f"{stem}_lb": np.atleast_1d(lower.to_numpy()),
            f"{stem}_ub": np.atleast_1d(upper.to_numpy()),
        }
    )


def in_words(prob: float, kind: str = "eti") -> str:
    """The name of an interval in headings.

    Examples
    --------
    >>> in_words(0.9), in_words(0.5, "hdi")
    ('90 % interval', '50 % highest-density interval')
    """
    return f"{100 * prob:g} % {'interval' if kind == 'eti' else 'highest-density interval'}"


#: Columns that hold bounds of an interval, as `table` names them.
_BOUND = re.compile(r"^(?P<name>.+)_(?P<kind>eti|hdi)(?P<prob>[\d.]+)_lb$")
#: Largest width of a printed summary.
WIDTH = 100


class Summary(pd.DataFrame):
    """A DataFrame of medians and intervals that prints an interval as one cell.

    The values are not rounded and the columns are those of `table`; only the printed text is short.
    It is at most 100 characters wide. What is computed from a summary is an ordinary DataFrame.

    Examples
    --------
    >>> draws = xr.DataArray([[1.0, 2.0, 3.0, 4.0, 5.0]], dims=("chain", "draw"))
    >>> Summary(table(draws, "loss", 0.5, "eti"))
    loss
    (50 %)
    3 (2 to 4)
    """

    @property
    def _constructor(self):
        return pd.DataFrame

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The head and the rows of the printed text."""
        heads, columns = [], []
        if not isinstance(self.index, pd.RangeIndex):
            index = self.index.to_frame(index=False)
            heads = [str(name) for name in self.index.names]
            heads = ["" if name == "None" else name for name in heads]
            columns = [[str(v) for v in index.iloc[:, i]] for i in range(index.shape[1])]
        bounds = {m["name"]: m for c in self.columns if (m := _BOUND.match(str(c)))}
        hidden = {m.group() for m in bounds.values()}
        hidden |= {f"{c[:-3]}_ub" for c in hidden}
        for column in self.columns:
            if column in hidden:
                continue
            texts = [_short(column, v) for v in self[column]]
            if column in bounds:
                lower = bounds[column].group()
                ends = zip(self[lower], self[f"{lower[:-3]}_ub"], strict=True)
                ends = [[_short(column, end) for end in pair] for pair in ends]
                texts = [
                    f"{t} ({low} to {high})" if low else t
                    for t, (low, high) in zip(texts, ends, strict=True)
                ]
                kind = {"eti": ""}.get(bounds[column]["kind"], f" {bounds[column]['kind']}")
                column = f"{column} ({bounds[column]['prob']}{UNBROKEN}%{kind})"
            elif not any(texts) and len(texts):
                continue
            heads.append(str(column))
            columns.append(texts)
        return heads, [list(row) for row in zip(*columns, strict=True)]

    def __repr__(self) -> str:
        heads, rows = self.cells()
        most = pd.get_option("display.max_rows") or len(rows)
        more = len(rows) - most
        if more > 0:
            half = most // 2
            rows = [*rows[:half], ["..."] * len(heads), *rows[len(rows) - half :]]
        width = min(max(shutil.get_terminal_size((WIDTH, 24)).columns, 40), WIDTH)
        lead = 1 if isinstance(self.index, pd.RangeIndex) else self.index.nlevels
        if not fits(heads, rows, width):
            heads = [heads[0], *(head.replace("_", " ") for head in heads[1:])]  # can be wrapped
        if not fits(heads, rows, width) and lead == 1 and isinstance(self.index, pd.RangeIndex):
            # A column for each row of the table, if these fit side by side.
            turned = [[head, *cells] for head, *cells in zip(heads, *rows, strict=True)]
            if fits(turned[0], turned[1:], width):
                return text_table(turned[0], turned[1:], width)
        return text_table(heads, rows, width, lead)

    def _repr_html_(self) -> str:
        return html_table(*self.cells())


def _short(column: object, value: object) -> str:
    """A value as text: counts as 70B, FLOP as 1e22, other numbers with four digits."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (float, int, np.number)):
        return str(value)
    if np.isnan(value):
        return ""
    if str(column).split("_")[0] in ("N", "D"):
        return format_count(value)
    if column == "C":
        return format_flop(value)
    if isinstance(value, (int, np.integer)) or (float(value).is_integer() and abs(value) < 1e5):
        return f"{value:.0f}"
    text = f"{value:#.4g}".rstrip(".")
    return f"{value:.2e}" if "e" in text else text

"""Draws from the posterior predictive at points, their summary and variance decomposition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.forecasting.wording import answer_html
from bayescale.intervals import SAMPLE, Summary, check_rows, defaults, interval, table
from bayescale.model import Storable
from bayescale.units import format_count, format_flop, format_loss

#: Lower bound of a squared width, so that the shares of an interval of zero width are finite.
TINY = 1e-300


@dataclass(frozen=True, eq=False, repr=False)
class PredictiveDraws(Storable):
    """Base class of draws from the posterior predictive of new runs, one point for each run.

    A subclass defines its variables and the parts of its uncertainty.

    Attributes
    ----------
    data : xarray.Dataset
        Variables with dims (chain, draw, point), or (chain, draw, point, task). The
        coordinates of ``point`` give the position of each point.
    """

    data: xr.Dataset = field(repr=False)

    #: Dims of the variables besides chain and draw. A table has one row for each combination.
    dims: ClassVar[tuple[str, ...]] = ("point",)
    #: Variables in `summary`. The last one is the measurement of a new run.
    shown: ClassVar[tuple[str, ...]]
    #: Largest number of rows in the ``repr``.
    rows_in_text: ClassVar[int] = 6

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """Medians and credible intervals, one row for each point (and task).

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.
        ci_kind : {"eti", "hdi"}, optional
            Kind of the intervals; by default ArviZ's ``stats.ci_kind``.

        Returns
        -------
        pandas.DataFrame
            The coordinates of each row, then median, lower and upper bound of each variable. For
            ``mean`` the columns are ``mean``, ``mean_eti90_lb`` and ``mean_eti90_ub``.

        Warns
        -----
        ConvergenceWarning
            If the result that the draws were computed from failed its check.
        """
        self._source.warn_if_failed()
        rows = self._rows(self.shown)
        coordinates = {
            name: rows[name].to_numpy() for name in rows.coords if name not in ("point", *SAMPLE)
        }
        columns = [table(rows[name], name, ci_prob, ci_kind) for name in self.shown]
        return Summary(pd.concat([pd.DataFrame(coordinates), *columns], axis=1))

    def to_dataframe(self, of: str = "draws", ci_prob: float | None = None) -> pd.DataFrame:
        """A tidy table of the draws, or of medians and intervals.

        Parameters
        ----------
        of : {"draws", "summary"}
            One row for each draw and point (and task), or one row for each variable and point.
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.

        Returns
        -------
        pandas.DataFrame
            For ``"draws"``: ``chain``, ``draw``, the coordinates of the point, and a column
            for each variable. For ``"summary"``: the coordinates, ``variable``, ``median``,
            ``lower``, ``upper``, ``ci_prob`` and ``ci_kind``. Numbers are not rounded.
        """
        return tidy(self.data, self.shown, self.dims, of, ci_prob)

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """One or two sentences that answer the question; empty if a class has none.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval; 0.9 by default.
        """
        return ""

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt the result, the most serious first.

        Parameters
        ----------
        ci_prob : float, optional
            As in `bottom_line`.
        """
        return ()

    def decompose(self, ci_prob: float | None = None) -> pd.DataFrame:
        """Shares of the parts of the uncertainty in the width of each credible interval.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the equal-tailed interval; 0.9 by default.

        Returns
        -------
        pandas.DataFrame
            One row for each point (and task): ``width`` of the interval of a new measurement, and
            the share of each part. The share is the squared width of the interval of the part by
            itself, divided by the sum over the parts. The shares sum to 1.
        """
        total, parts = self._parts()
        width = {name: _width(draws, ci_prob) for name, draws in parts.items()}
        squares = np.maximum(sum(w**2 for w in width.values()), TINY)
        labels = {d: total[d].to_numpy() for d in self.dims if d != "point"}
        shares = {name: w**2 / squares for name, w in width.items()}
        return pd.DataFrame({**labels, "width": _width(total, ci_prob), **shares})

    def __repr__(self) -> str:
        frame = self.summary()
        outcome = self.shown[-1]
        middle, low, high = (frame.columns.get_loc(outcome) + i for i in range(3))
        prob, kind = defaults()
        called = f"{100 * prob:g} %{'' if kind == 'eti' else f' {kind}'}"
        lines = [line for line in (self.bottom_line(), f"<{self._heading()}>") if line]
        for _, row in frame.head(self.rows_in_text).iterrows():
            text = (
                f"{outcome} {format_loss(row.iloc[middle])} "
                f"({called}: {format_loss(row.iloc[low])} to {format_loss(row.iloc[high])})"
            )
            lines.append(f"  {self._line(row, text)}")
        return "\n".join(lines + (["  ..."] if len(frame) > self.rows_in_text else []))

    def _repr_html_(self) -> str:
        answer = self.bottom_line() or self._heading()
        return answer_html(answer, self.summary()._repr_html_(), self.cautions()[1:])

    def _rows(self, names) -> xr.Dataset:
        """Variables with one row for each combination of the dims; dims (chain, draw, row)."""
        return self.data[list(names)].stack(row=self.dims, create_index=False)

    def _place(self, row: pd.Series) -> str:
        """The run of a row of `summary`, from its columns or its known loss."""
        formats = {"N": format_count, "D": format_count, "C": format_flop}
        formats["known_loss"] = "{:.4g}".format
        return ", ".join(
            f"{c.removeprefix('known_')} {write(row[c])}"
            for c, write in formats.items()
            if c in row
        )

    # -- defined by subclasses -----------------------------------------------------------------

    @property
    def _source(self):
        """The result that the draws were computed from; it has a method `warn_if_failed`."""
        raise NotImplementedError

    def _parts(self) -> tuple[xr.DataArray, Mapping[str, xr.DataArray]]:
        """Draws of a new measurement, and of each part by name; dims (chain, draw, row)."""
        raise NotImplementedError

    def _heading(self) -> str:
        """The first line of the ``repr``."""
        raise NotImplementedError

    def _line(self, row: pd.Series, outcome: str) -> str:
        """One line of the ``repr``, from a row of `summary` and a phrase with the outcome."""
        raise NotImplementedError


def tidy(
    data: xr.Dataset, shown, dims, of: str = "draws", ci_prob: float | None = None
) -> pd.DataFrame:
    """Draws or summaries as a tidy table; see `PredictiveDraws.to_dataframe`."""
    check_rows(of)
    names = [name for name in data.data_vars if set(SAMPLE) <= set(data[name].dims)]
    if of == "draws":
        frame = data[names].to_dataframe().reset_index()
        return frame.drop(columns=[d for d in dims if d not in data.coords])
    rows = data[list(shown)].stack(row=list(dims), create_index=False)
    places = {c: rows[c].to_numpy() for c in rows.coords if rows[c].dims == ("row",)}
    prob, kind = defaults(ci_prob)
    parts = []
    for name in shown:
        columns = table(rows[name], "median", prob, kind)
        columns.columns = ["median", "lower", "upper"]
        parts.append(pd.concat([pd.DataFrame(places).assign(variable=name), columns], axis=1))
    return pd.concat(parts, ignore_index=True).assign(ci_prob=prob, ci_kind=kind)


def _width(draws: xr.DataArray, ci_prob: float | None) -> np.ndarray:
    """Width of the equal-tailed interval of each row."""
    low, high = interval(draws, ci_prob, "eti")
    return (high - low).to_numpy()

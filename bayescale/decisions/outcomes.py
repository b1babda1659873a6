"""Registered forecasts, scored by the measured losses of their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

import numpy as np
import pandas as pd

from bayescale.decisions.measured import read_measured
from bayescale.decisions.preregistration import (
    QUANTILES,
    Preregistration,
    in_words,
    laws_of,
    quantiles_of,
    read_preregistration,
)
from bayescale.decisions.underway import Underway, underway
from bayescale.errors import FitError
from bayescale.forecasting import Average, answer_html
from bayescale.intervals import Summary
from bayescale.keywords import hinted, on_command_line
from bayescale.model import Fit
from bayescale.units import counted, times_in_words

#: Probabilities of the intervals that an outcome is placed in.
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
#: Largest relative difference of N, D and C of a registered and a measured run.
TOLERANCE = 0.01
#: A measured loss that differs from the forecast by a larger factor is probably in another unit.
ANOTHER_UNIT = 2.0
#: A loss in bits is this many times the loss in nats. A loss outside its interval that differs from
#: the median by this factor, up to the second number, may be in the other of the two units.
BITS, NEARLY = float(np.log2(np.e)), 0.04


@dataclass(frozen=True, eq=False, repr=False)
class Outcome:
    """How well a registered forecast held.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for each run: its columns and groups; ``measured``; ``median``, ``lower`` and
        ``upper`` (90 %); ``inside``, the smallest of the intervals 50, 80, 90, 95 and 99 % that
        holds the measured loss, or ``"outside 99 %"``; ``below``, the predictive probability of a
        loss as low or lower; ``tail_probability``, of one as far from the median or farther, on
        either side; ``widths_outside``, the distance of the log loss from the nearest bound of the
        90 % interval, as a multiple of its width (negative below it, 0 inside it); ``crps``, the
        continuous ranked probability score in the unit of the loss.
    preregistration : Preregistration
        What was registered.
    read : str
        What was read from columns of other names; may be empty.
    """

    table: pd.DataFrame = field(repr=False)
    preregistration: Preregistration
    read: str = ""

    def bottom_line(self) -> str:
        """One sentence: which interval holds the outcome, and how surprising it is."""
        table = self.table
        at = [c for c in table if c in self.preregistration.content["points"][0]["at"]]
        if len(table) == 1:
            row = table.iloc[0]
            where = "outside" if row["inside"].startswith("outside") else "inside"
            level = row["inside"].removeprefix("outside ")
            return (
                f"The run of {in_words(row[at].to_dict())} reached {row['measured']:.4g}, {where} "
                f"the {level} interval around {row['median']:.4g}: a loss as far from the forecast "
                f"had a probability of {_chance(row['tail_probability'])}.{self._distance(row)}"
            )
        inside = (
            (table["measured"] >= table["lower"]) & (table["measured"] <= table["upper"])
        ).sum()
        worst = table.loc[table["tail_probability"].idxmin()]
        return (
            f"{inside} of {len(table)} runs lie inside their 90 % interval; the most surprising, "
            f"{in_words(worst[at].to_dict())}, reached {worst['measured']:.4g} with a probability "
            f"of {_chance(worst['tail_probability'])}.{self._distance(worst)}"
        )

    def _distance(self, row: pd.Series) -> str:
        """How far a run is outside its interval, and whether its unit is in doubt; or nothing."""
        outside = float(row["widths_outside"])
        if not row["inside"].startswith("outside"):
            return ""
        side = "above" if outside > 0 else "below"
        text = f" It lies {abs(outside):.2g} widths of the 90 % interval {side} it."
        ratio = float(row["measured"] / row["median"])
        factor = max(ratio, 1 / ratio)
        unit = self.preregistration.content["runs"].get("loss_unit")
        one, other = ("bits", "nats") if ratio > 1 else ("nats", "bits")
        if abs(factor / BITS - 1) < NEARLY and one not in (unit or ""):
            return (
                f"{text} It is {times_in_words(ratio)} times the median: perhaps it is in {one}, "
                f"and the forecast in {other}."
            )
        if factor <= ANOTHER_UNIT:
            return text
        times = (
            f"{times_in_words(ratio)} times" if ratio > 1 else f"1/{times_in_words(1 / ratio)} of"
        )
        return (
            f"{text} It is {times} the median, so that it probably is in another unit: the "
            f"forecast is in {unit or 'the unit of the losses of the fitted runs'}."
        )

    def summary(self) -> pd.DataFrame:
        """The table, printed within 100 columns."""
        return Summary(self.table)

    def to_dataframe(self) -> pd.DataFrame:
        """The table, as an ordinary DataFrame."""
        return self.table.copy()

    def __repr__(self) -> str:
        lines = [self.bottom_line()]
        registered = self.preregistration
        lines.append(
            f"<Outcome of {counted(len(self.table), 'run')} registered at {registered.time}>"
        )
        at = [c for c in self.table if c in registered.content["points"][0]["at"]]
        lines += [
            f"  {in_words(row[at].to_dict())}: {row['measured']:.4g}, forecast "
            f"{row['median']:.4g} ({row['lower']:.4g} to {row['upper']:.4g}), CRPS "
            f"{row['crps']:.2g}"
            for _, row in self.table.iterrows()
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return answer_html(self.bottom_line(), self.summary()._repr_html_(), ())


@overload
def outcome(
    path: str | Path,
    measured: float | Sequence[float] | np.ndarray,
    *,
    fit: Fit | Average | None = None,
) -> Outcome: ...
@overload
def outcome(
    path: str | Path,
    measured: pd.DataFrame,
    *,
    fit: Fit | Average | None = None,
    columns: Mapping[str, str] | None = None,
) -> Outcome | Underway: ...
@hinted
def outcome(
    path: str | Path,
    measured,
    *,
    fit: Fit | Average | None = None,
    columns: Mapping[str, str] | None = None,
) -> Outcome | Underway:
    """Score a registered forecast by the measured losses of its runs.

    Parameters
    ----------
    path : str or Path
        A file that `preregister` wrote.
    measured : float, array_like or pandas.DataFrame
        The measured loss of each registered run in their order; or a table with the column
        ``loss`` and the columns and groups of the runs, in any order. Further rows are ignored. A
        table with a column ``series`` has the checkpoints of runs under way, each with its ``D``
        (or ``C``) and loss, as evaluated for the registered losses. Columns of other names are read
        as `bayescale.Runs` reads them, also the names of runs with their steps.
    fit : Fit or Average, optional
        The posterior that the forecast is said to be from. Its runs, law and priors are compared
        with those registered.
    columns : mapping of str to str, optional
        Column or expression of a quantity in a table, as in `bayescale.Runs.read`:
        ``{"D": "_step*512*2048"}``.

    Returns
    -------
    Outcome or Underway
        For runs under way, whether they are on track: the end that their checkpoints lead to, by a
        power of tokens that drifts, compared with the registered interval.

    Raises
    ------
    FitError
        If the file was changed, if a registered run has no measured loss, if a loss is not
        positive, or if `fit` has other runs, another law or other priors.

    Notes
    -----
    The tail probability is twice the smaller tail of the predictive distribution. Runs of
    one forecast share the uncertainty about the law, so that their outcomes are not independent.
    CRPS: Gneiting & Raftery 2007, doi:10.1198/016214506000001437.

    Examples
    --------
    See `preregister`.

    >>> import bayescale as bs
    >>> bs.outcome("no_such_file.json", 2.4)
    Traceback (most recent call last):
    bayescale.errors.FitError: no_such_file.json: there is no such file
    """
    registered = read_preregistration(path)
    if fit is not None:
        _compare(registered, fit)
    points = registered.content["points"]
    read = ""
    if columns and not isinstance(measured, pd.DataFrame):
        raise FitError(
            f"{'--columns' if on_command_line() else 'columns='} is for a table of losses"
        )
    if isinstance(measured, pd.DataFrame):
        measured, read = read_measured(measured, len(points), columns)
        if "series" in measured:
            return replace(underway(registered, measured, TOLERANCE), read=read)
    losses = _losses(points, measured, str(path))
    rows = [
        {**point["at"], "measured": loss, **_scored(np.array(point["quantiles"]), loss)}
        for point, loss in zip(points, losses, strict=True)
    ]
    return Outcome(pd.DataFrame(rows), registered, read)


def _compare(registered: Preregistration, fit: Fit | Average) -> None:
    """Raise an error that names every difference between a fit and what was registered."""
    content, problems = registered.content, []
    runs = content["runs"]
    if fit.runs.fingerprint != runs["fingerprint"]:
        problems.append(
            f"the fit is of {len(fit.runs)} runs with the fingerprint {fit.runs.fingerprint}, but "
            f"the forecast is from {runs['number']} runs with the fingerprint "
            f"{runs['fingerprint']}: runs were added, removed or changed"
        )
    laws, present = content["laws"], laws_of(fit)
    if sorted(laws) != sorted(present):
        problems.append(
            f"the fit is of {', '.join(sorted(present))}, but the forecast is by "
            f"{', '.join(sorted(laws))}"
        )
    for name in set(laws) & set(present):
        if laws[name] != present[name]:
            problems.append(f"the priors or the drift of {name} are not those registered")
    if problems:
        raise FitError(problems, where=registered.path)


def _losses(points: list[dict], measured, where: str) -> list[float]:
    """One positive loss for each registered run."""
    if isinstance(measured, pd.DataFrame):
        values = _matched(points, measured, where)
    else:
        try:
            values = np.atleast_1d(np.asarray(measured, float)).tolist()
        except (TypeError, ValueError):
            raise FitError(
                f"measured is {measured!r}: give one loss for each run, or a table", where=where
            ) from None
        if len(values) != len(points):
            raise FitError(
                f"{counted(len(points), 'run was', 'runs were')} registered, but "
                f"{counted(len(values), 'loss is', 'losses are')} given: give "
                "one for each, in the order of the file, or a table",
                where=where,
            )
    if bad := [
        f"{in_words(point['at'])}: the loss is {value}; it must be positive and finite"
        for point, value in zip(points, values, strict=True)
        if not (np.isfinite(value) and value > 0)
    ]:
        raise FitError(bad, where=where)
    return values


def _matched(points: list[dict], table: pd.DataFrame, where: str) -> list[float]:
    """The loss of each registered run in a table."""
    if "loss" not in table:
        raise FitError("the table of measured runs has no column 'loss'", where=where)
    values, problems = [], []
    for point in points:
        keep = np.ones(len(table), bool)
        compared = 0
        for column, value in point["at"].items():
            if column not in table:
                continue
            compared += 1
            if isinstance(value, str):
                keep &= table[column].astype(str).to_numpy() == value
            else:
                numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
                keep &= np.abs(np.log(numbers / value)) <= TOLERANCE
        name = in_words(point["at"])
        if not compared:
            problems.append(
                f"the table has none of the columns of the runs ({', '.join(point['at'])})"
            )
        elif not keep.any():
            problems.append(f"{name}: this registered run is missing among the measured ones")
        elif keep.sum() > 1:
            problems.append(f"{name}: {keep.sum()} measured runs fit this registered one: keep one")
        else:
            values.append(float(table["loss"].to_numpy()[keep.argmax()]))
    if problems:
        raise FitError(list(dict.fromkeys(problems)), where=where)
    return values


def _scored(q: np.ndarray, loss: float) -> dict:
    """Place and scores of a loss in a distribution, given by quantiles of equal weight."""
    number = len(q)
    below = float(np.interp(loss, q, (np.arange(number) + 0.5) / number))
    # Beyond all quantiles the tail is smaller than half of their distance in probability.
    tail = max(2 * min(below, 1 - below), 1 / number)
    inside = f"outside {100 * LEVELS[-1]:g} %"
    for level in reversed(LEVELS):
        low, high = quantiles_of(q, [(1 - level) / 2, (1 + level) / 2])
        if low <= loss <= high:
            inside = f"{100 * level:g} %"
    low, middle, high = quantiles_of(q)
    beyond = max(np.log(loss / high), 0.0) + min(np.log(loss / low), 0.0)
    spread = 2 * np.sum((np.arange(1, number + 1) - (number + 1) / 2) * q) / number**2
    return dict(
        median=float(middle),
        lower=float(low),
        upper=float(high),
        inside=inside,
        below=below,
        tail_probability=tail,
        widths_outside=float(beyond / np.log(high / low)) if high > low else np.nan,
        crps=float(np.abs(q - loss).mean() - spread),
    )


def _chance(probability: float) -> str:
    if probability <= 1.5 / QUANTILES:
        return f"less than {100 / QUANTILES:.1g} %"
    return f"{100 * probability:.2g} %"

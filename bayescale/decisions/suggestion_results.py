"""Runs to train next, with the uncertainty that is expected after each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.decisions.limits import Limits
from bayescale.errors import FitError, unknown
from bayescale.forecasting import (
    Average,
    answer_html,
    doubts,
    group_labels_in_words,
    main_reason,
)
from bayescale.intervals import SAMPLE, Summary, defaults, interval
from bayescale.keywords import on_command_line, option
from bayescale.model import NEW, Fit
from bayescale.units import as_counts, counted, format_count, format_flop

#: A chosen run is far outside the fitted runs if a column is beyond theirs by this factor.
OUTSIDE = 3.0
#: What is said where a choice ends although more could be paid.
NOTHING_MORE = (
    "Further runs of these candidates add nothing: each would remove less than 1 % of the variance "
    "that is left."
)


@dataclass(frozen=True, eq=False)
class Suggestion:
    """Runs to train next, in order of choice.

    Attributes
    ----------
    runs : pandas.DataFrame
        One row for each chosen run: the columns of the candidate and its index in ``candidate``,
        ``cost``, ``total_cost`` up to this run, and ``sd``, the expected standard deviation of the
        target in a refit that includes this run and those before it (the root of the mean of the
        variances of several targets; of a loss, without the noise of a run), and ``share``, the
        share of the variance that is left.
    candidates : pandas.DataFrame
        All candidates with their ``cost``, the ``share`` of the variance of the target that one run
        would remove, and ``times``, how often it was chosen.
    sd : float
        The standard deviation of the target without further runs. That of a loss is of the log
        loss: 0.02 is 2 % of the loss.
    is_loss : bool
        Whether the target is the loss of runs.
    target : pandas.DataFrame or None
        The runs whose loss is in question; None for another quantity.
    fit : Fit or Average
        The posterior, or draws from the prior of a law.
    is_prior : bool
        Whether there are no runs yet.
    random_seed : int
        Seed of the drift.
    with_drift : bool
        Whether the losses contain the drift beyond the runs.
    conversions : tuple of str
        How budgets in other units were converted to FLOP; one sentence for each.
    limits : Limits
        The largest total cost and number of runs, and the cost of the target run.
    ahead : xarray.Dataset or None
        The draws of `bayescale.forecast` for the runs whose loss is in question: ``mean`` and
        ``loss``, dims (chain, draw, point).
    group : mapping of str to str
        The group that the target is of; empty without groups, or with several of them.
    ended : bool
        Whether the choice ends because further runs would not narrow the interval.
    """

    runs: pd.DataFrame = field(repr=False)
    candidates: pd.DataFrame = field(repr=False)
    sd: float
    is_loss: bool
    target: pd.DataFrame | None = field(repr=False)
    fit: Fit | Average = field(repr=False)
    is_prior: bool
    random_seed: int
    with_drift: bool = False
    conversions: tuple[str, ...] = ()
    limits: Limits | None = field(default=None, repr=False)
    ahead: xr.Dataset | None = field(default=None, repr=False)
    group: Mapping[str, str] = field(default_factory=dict)
    ended: bool = False

    def widths(self, ci_prob: float | None = None) -> np.ndarray:
        """The width of the interval of the target now, and as expected after each chosen run.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval; 0.9 by default.

        Returns
        -------
        numpy.ndarray
            Dims (number of runs, from 0). Of a loss, the interval is that of the log loss of a new
            run, as `bayescale.forecast` gives it: its noise remains. Several targets have the root
            of the mean of the squares.
        """
        left = np.r_[1.0, self.runs["share"].to_numpy(float)][:, None]
        if self.ahead is None:
            return _width(ci_prob) * self.sd * np.sqrt(left[:, 0])
        logs = np.log(self.ahead.transpose(*SAMPLE, "point"))
        draws = (logs["loss"], logs["mean"], logs["loss"] - logs["mean"])
        squares = []
        for part in draws:
            low, high = interval(part, ci_prob, "eti")
            squares.append((high - low).to_numpy() ** 2)
        whole, law, noise = squares
        return np.sqrt((whole * (left * law + noise) / (law + noise)).mean(axis=1))

    def summary(self, ci_prob: float | None = None) -> pd.DataFrame:
        """One row for each chosen run, with the width of the interval of the target after it.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval; 0.9 by default.

        Returns
        -------
        pandas.DataFrame
            The columns of ``runs``, with ``width`` in place of ``sd``: the expected width of the
            interval, of the log loss of a new run (0.1 is 10 % of the loss) or of the target
            quantity; see `widths`.
        """
        frame = self.runs.rename(columns={"sd": "width"})
        return Summary(frame.assign(width=self.widths(ci_prob)[1:]))

    def to_dataframe(self, of: str = "runs") -> pd.DataFrame:
        """The chosen runs or all candidates as a table; numbers are not rounded.

        Parameters
        ----------
        of : {"runs", "candidates"}
        """
        if of not in ("runs", "candidates"):
            raise FitError(unknown("table", of, ("runs", "candidates")), where="to_dataframe")
        return (self.runs if of == "runs" else self.candidates).copy()

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """Which runs to train, at what cost, and how much the interval would narrow.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval; 0.9 by default.
        """
        prob, _ = defaults(ci_prob)
        whose = group_labels_in_words(self.group).strip()
        named = f"{whose[:1].upper()}{whose[1:]}, " if whose else ""
        if not len(self.runs):
            no = "no candidate" if named else "No candidate"
            parts = (
                f"{named}{no} would reduce the uncertainty at the target by a measurable amount.",
                *self._of_new_group(),
                *self._judged_by(),
                main_reason(self.cautions(ci_prob)),
            )
            return " ".join(parts)
        before, *_, after = self.widths(ci_prob)
        chosen = self.runs.groupby("candidate", sort=False).size()
        listed = [
            _in_words(self.runs[self.runs["candidate"] == i].iloc[0], self.fit, times)
            for i, times in chosen.items()
        ]
        more = f"; and {len(listed) - 3} more" if len(listed) > 3 else ""
        verb = "narrow" if after < before else "widen"
        if self.is_loss:
            widths = f"to {verb} from {100 * before:.3g} % to {100 * after:.3g} % of the loss"
            what = "the loss of a new run at the target"
        else:
            widths, what = f"to {verb} from {before:.3g} to {after:.3g}", "the target"
        number = f"{len(self.runs)} run" + ("s" if len(self.runs) > 1 else "")
        spent = float(self.runs["total_cost"].iloc[-1])
        limits = self.limits
        return (
            f"{named}{'train' if named else 'Train'} {number} for {format_flop(spent)}"
            f"{limits.unit if limits else ''} in all"
            f"{limits.share_in_words(spent) if limits else ''}"
            f"{limits.in_words if limits else ''}: {'; '.join(listed[:3])}{more}. "
            f"The {100 * prob:g} % interval of {what} is expected {widths}. "
            + " ".join(
                (
                    *((NOTHING_MORE,) if self.ended else ()),
                    *self._of_new_group(),
                    *self.conversions,
                    main_reason(self.cautions(ci_prob)),
                )
            )
        )

    def _of_new_group(self) -> tuple[str, ...]:
        """A sentence that says how to ask for a fitted group, if the target is of a new one."""
        new = [g for g, label in self.group.items() if label == NEW]
        if not new:
            return ()
        labels = {g: str(self.fit.runs.table[g].iloc[-1]) for g in self.group}
        value: object = next(iter(labels.values())) if len(labels) == 1 else labels
        if on_command_line() and len(labels) > 1:
            value = ",".join(f"{g}={label}" for g, label in labels.items())
        return (f"A new {new[0]} has no runs yet; for a fitted one give {option('group', value)}.",)

    def _judged_by(self) -> tuple[str, ...]:
        """Sentences on the other question that the candidates may answer."""
        if not self.is_loss or self.is_prior or not self.fit.law.allocates:
            return ()
        ask = "target=bs.allocate(fit, C=...)"
        if on_command_line():
            ask = "--target-optimum FLOP in place of the target"
        return (
            "Candidates were judged by the loss at the target only; they may still tell the "
            f"optimal N of a budget: ask with {ask}.",
        )

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt the choice, the most serious first.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval with which differences between the laws are compared; 0.9 by
            default.

        Returns
        -------
        tuple of str
            Without runs, that the choice rests on the prior; otherwise those of a forecast at the
            target, a law without errors in small runs, and chosen runs far outside the known ones.
        """
        spent = float(self.runs["total_cost"].iloc[-1]) if len(self.runs) else 0.0
        costly = self.limits.doubts(spent) if self.limits else ()
        if self.is_prior:
            return (
                *costly,
                "there are no runs yet, so the choice rests on the prior of the law",
            )
        average = isinstance(self.fit, Average)
        point: dict[str, float] = {}
        times = 0.0
        if self.target is not None and "C" in self.fit.runs:
            columns = [c for c in ("N", "D", "C") if c in self.target]
            row = self.target[columns].astype(float).max()
            point = dict(row)
            factor = self.fit.runs.flop_factor
            C = row["C"] if "C" in row else factor * row["N"] * row["D"]
            times = C / float(self.fit.runs.table["C"].max())
        if not self.is_loss:
            costly += (
                "the target is a quantity computed from the fit, whose own reasons for doubt, such "
                "as extrapolation, apply",
            )
        beyond = (*self._small_runs(), *self._outside_design())
        only_checks = not set(self.fit.law.columns) <= set(point) or bool(self.fit.groups)
        fits = self.fit.used if average else {self.fit.law.name: self.fit}
        return (
            costly
            + doubts(
                dict(list(fits.items())[:1]) if only_checks else fits,
                self.fit.weights if average else {self.fit.law.name: 1.0},
                point,
                None,
                float(self.widths(ci_prob)[0]),
                (),
                times,
            )
            + beyond
        )

    def _small_runs(self) -> tuple[str, ...]:
        """A clause if the law holds for all runs, although it could have errors in small ones."""
        members = self.fit.used.values() if isinstance(self.fit, Average) else [self.fit]
        exact = [fit.plan for fit in members if not fit.plan.has_law_error]
        if not any(replace(plan, law_error=True).has_law_error for plan in exact):
            return ()
        return (
            "the law is taken to hold for small runs too, so that they seem to tell more than they "
            f"do: fit {'in Python ' if on_command_line() else ''}with law_error=True",
        )

    def _outside_design(self) -> tuple[str, ...]:
        """Sentences about chosen runs whose columns are far outside those of the fitted runs."""
        out: list[str] = []
        if not len(self.runs):
            return ()
        for column in (c for c in self.fit.law.columns if c in self.runs and c in self.fit.runs):
            known = self.fit.runs.table[column]
            values = np.array(as_counts(self.runs[column].tolist(), column))
            far = (values < known.min() / OUTSIDE) | (values > known.max() * OUTSIDE)
            if far.any():
                low, high = format_count(values[far].min()), format_count(values[far].max())
                out.append(
                    f"{column} of {counted(int(far.sum()), 'chosen run')} is "
                    f"{low if low == high else f'{low} to {high}'}, far outside the fitted runs "
                    f"({format_count(known.min())} to {format_count(known.max())}), where the law "
                    "may not hold"
                )
        return tuple(out)

    def _repr_html_(self) -> str:
        return answer_html(self.bottom_line(), self.summary()._repr_html_(), self.cautions()[1:])

    def __repr__(self) -> str:
        head = f"<Suggestion of {len(self.runs)} of {len(self.candidates)} candidates>"
        return "\n".join([self.bottom_line(), head, repr(self.summary())])


def _width(ci_prob: float | None) -> float:
    """Width of the interval of a normal distribution with standard deviation one."""
    from scipy.stats import norm

    prob, _ = defaults(ci_prob)
    return 2 * float(norm.ppf((1 + prob) / 2))


def _in_words(row: pd.Series, fit: Fit | Average, times: int) -> str:
    """A run as text: ``2 x 1B parameters on 20B tokens, c4``."""
    parts = [f"{times} x " if times > 1 else ""]
    units = {"N": "parameters", "D": "tokens"}
    named = [c for c in ("N", "D") if c in row] or [c for c in fit.law.columns if c in row]
    values = {c: float(as_counts(row[c], c)[0]) for c in named}
    listed = [f"{format_count(v)} {units.get(c, c)}" for c, v in values.items()]
    labels = [str(row[g]) for g in fit.groups if g in row]
    return "".join(parts) + ", ".join([" on ".join(listed), *labels])

"""The posterior of a compute multiplier, its summary and its answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.decisions.paths import BEYOND, MOST_TIMES, QUANTITIES
from bayescale.forecasting import FAR_IN_WORDS, Average, answer_html, main_reason
from bayescale.intervals import SAMPLE, Summary, check_rows, defaults, interval, table
from bayescale.keywords import on_command_line
from bayescale.model import Fit
from bayescale.units import counted, format_count, format_flop, times_in_words

#: Share of the draws from which a crossing, or a multiplier without limit, is a caution.
OFTEN = 0.05
#: Share of the variance that the floors explain, from which this is a caution.
MUCH = 0.25
#: A multiplier whose interval spans more than this factor is not stated.
UNTOLD = 10.0
#: Multipliers differ if one is outside the interval of the other by more than this factor.
ALIKE = 1.05
#: Classes of the table of multipliers by the difference of the floors.
CLASSES = 5


@dataclass(frozen=True, eq=False, repr=False)
class Speedup:
    """The posterior of the compute multiplier of one recipe over another.

    Attributes
    ----------
    data : xarray.Dataset
        With dims (chain, draw, point): ``multiplier``, the compute that the other recipe needs to
        reach the same loss, divided by that of the first, between 1e-4 and 1e4; ``difference``, the
        loss of the other recipe minus that of the first at equal compute, in the unit of the runs,
        positive if the first is better; ``loss``, the expected loss of the first. With dims (chain,
        draw): ``crossing``, the compute at which the two curves last cross between the smallest run
        and 100 times the largest, NaN if they do not; ``floor`` and ``floor_over``, the limits of
        the two laws. NaN marks draws in which neither recipe reaches a target loss. Coordinates of
        ``point``: ``at``, the compute of the first recipe (or its tokens or parameters, if the law
        has no other column), and ``target``, the target loss, NaN if a compute was given.
    best : pandas.DataFrame
        For each ``at`` and each group of a fit: the median expected loss at equal compute, and
        ``p_best``, the probability that it is the lowest of all groups. Empty for two fits and for
        target losses.
    name, over : str
        The two recipes.
    scale : {"C", "N", "D"}
        The column in which they are compared.
    along : str
        The path along which they are compared, in words.
    fit, fit_over : Fit or Average
        The posteriors of the two recipes; the same object for two groups of one fit.
    reasons : tuple of str
        Reasons to doubt the losses of the two recipes.
    random_seed : int
        The seed of the drift.
    conversions : tuple of str
        How budgets in other units were converted to FLOP; one sentence for each.
    """

    data: xr.Dataset = field(repr=False)
    best: pd.DataFrame = field(repr=False)
    name: str
    over: str
    scale: str
    along: str
    fit: Fit | Average = field(repr=False)
    fit_over: Fit | Average = field(repr=False)
    reasons: tuple[str, ...] = ()
    random_seed: int = 0
    conversions: tuple[str, ...] = ()

    @property
    def p_better(self) -> np.ndarray:
        """Probability that the first recipe has the lower expected loss at equal compute."""
        valid = self.data["difference"].notnull()
        return ((self.data["difference"] > 0).sum(SAMPLE) / valid.sum(SAMPLE)).to_numpy()

    @property
    def p_unlimited(self) -> np.ndarray:
        """Share of draws in which 1e4 times the compute of the first recipe is not enough."""
        valid = self.data["multiplier"].notnull()
        unlimited = (self.data["multiplier"] >= MOST_TIMES).sum(SAMPLE)
        return (unlimited / valid.sum(SAMPLE)).to_numpy()

    @property
    def p_neither(self) -> np.ndarray:
        """Share of draws in which neither recipe reaches the target loss."""
        return self.data["multiplier"].isnull().mean(SAMPLE).to_numpy()

    @property
    def p_crosses(self) -> float:
        """Probability that the order reverses between the smallest run and 100 times the
        largest."""
        return float(self.data["crossing"].notnull().mean())

    @property
    def floor_share(self) -> np.ndarray:
        """Share of the variance of the ranks of the multiplier that the floors explain."""
        floors = self._floors()
        out = []
        for i in range(self.data.sizes["point"]):
            multiplier = self.data["multiplier"].isel(point=i).to_numpy().ravel()
            frame = pd.DataFrame({"m": multiplier, "f": floors}).dropna().rank()
            constant = frame["f"].nunique() < 2 or frame["m"].nunique() < 2
            out.append(0.0 if constant else float(frame.corr().iloc[0, 1] ** 2))
        return np.array(out)

    def _floors(self) -> np.ndarray:
        """The difference of the floors, or the common floor if they do not differ; (draw,)."""
        one, two = (self.data[v].to_numpy().ravel() for v in ("floor_over", "floor"))
        difference = one - two
        same = np.ptp(difference) <= 1e-9 * max(1e-300, np.abs(one).max())
        return one if same else difference

    def by_floor(self, point: int = -1) -> pd.DataFrame:
        """The multiplier in classes of equal size of the difference of the floors.

        Given the floors, the posterior is that of a fit with floors pinned in that range (up to
        the prior within it), so that the table shows the result under pinned floors without
        further fits.

        Parameters
        ----------
        point : int
            The index of the point; the last by default.

        Returns
        -------
        pandas.DataFrame
            One row for each class: ``floor_difference``, the median of the floor of the other
            recipe minus that of the first (or of the common floor, if they do not differ), and the
            median and 90 % interval of the multiplier.
        """
        floors = self._floors()
        draws = self.data["multiplier"].isel(point=point).to_numpy().ravel()
        keep = np.isfinite(draws)
        floors, draws = floors[keep], draws[keep]
        order = np.array_split(np.argsort(floors, kind="stable"), CLASSES)
        frames = [
            pd.concat(
                [
                    pd.DataFrame({"floor_difference": [np.median(floors[rows])]}),
                    table(_flat(draws[rows]), "multiplier"),
                ],
                axis=1,
            )
            for rows in order
        ]
        return Summary(pd.concat(frames, ignore_index=True))

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row for each point.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.
        ci_kind : {"eti", "hdi"}, optional
            Kind of the intervals; by default ArviZ's ``stats.ci_kind``.

        Returns
        -------
        pandas.DataFrame
            The scale (``C``, ``N`` or ``D``) or ``target``, the target loss; medians and intervals
            of ``multiplier``, ``difference`` and ``loss``; ``p_better``, ``p_unlimited`` and
            ``floor_share``.

        Warns
        -----
        ConvergenceWarning
            If a fit failed its check.
        """
        for fit in {id(f): f for f in (self.fit, self.fit_over)}.values():
            fit.warn_if_failed()
        rows = []
        for i in range(self.data.sizes["point"]):
            at, target = (float(self.data[c][i]) for c in ("at", "target"))
            parts = [pd.DataFrame({self.scale: [at], "target": [target]})]
            for name in ("multiplier", "difference", "loss"):
                parts.append(table(self._valid(name, i), name, ci_prob, ci_kind))
            rows.append(pd.concat(parts, axis=1))
        frame = pd.concat(rows, ignore_index=True).assign(
            p_better=self.p_better, p_unlimited=self.p_unlimited, floor_share=self.floor_share
        )
        if frame["target"].isna().all():
            frame = frame.drop(columns="target")
        return Summary(frame)

    def to_dataframe(self, of: str = "draws", ci_prob: float | None = None) -> pd.DataFrame:
        """A tidy table of the draws, or of medians and intervals.

        Parameters
        ----------
        of : {"draws", "summary"}
            One row for each draw and point, or one row for each variable and point.
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.

        Returns
        -------
        pandas.DataFrame
            For ``"draws"``: ``chain``, ``draw``, ``at``, ``target`` and a column for each variable.
            For ``"summary"``: ``at``, ``target``, ``variable``, ``median``, ``lower``, ``upper``,
            ``ci_prob`` and ``ci_kind``. Numbers are not rounded.
        """
        check_rows(of)
        if of == "draws":
            return self.data.to_dataframe().reset_index().drop(columns="point")
        prob, kind = defaults(ci_prob)
        parts = []
        for name in ("multiplier", "difference", "loss"):
            for i in range(self.data.sizes["point"]):
                columns = table(self._valid(name, i), "median", prob, kind)
                columns.columns = ["median", "lower", "upper"]
                place = {c: float(self.data[c][i]) for c in ("at", "target")}
                parts.append(columns.assign(variable=name, **place))
        frame = pd.concat(parts, ignore_index=True).assign(ci_prob=prob, ci_kind=kind)
        first = ["at", "target", "variable"]
        return frame[[*first, *(c for c in frame if c not in first)]]

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """Which recipe is better, by how much compute, and the main reason for doubt.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval; 0.9 by default.

        Returns
        -------
        str
            Two sentences, on the last point; a third one on the first point, if its multiplier is
            outside the interval of the last one, or if the recipes may change places.
        """
        prob, _ = defaults(ci_prob)
        draws = self._valid("multiplier", -1)
        low, high = (float(bound) for bound in interval(draws, prob))
        middle, better = float(draws.median()), float(self.p_better[-1])
        target = float(self.data["target"][-1])
        where = f"For a loss of {target:.4g}" if np.isfinite(target) else f"At {self._at(-1)}"
        if self.along:
            where += f" {self.along}"
        quantity = QUANTITIES[self.scale]
        sure = f"{100 * better:.0f} %"
        if not 0.005 <= better < 0.995:
            sure = "more than 99 %" if better > 0.5 else "less than 1 %"
        needs = (
            f"{self.over} needs {_times(middle)} the {quantity} for the same loss "
            f"({100 * prob:g} % {_times(low, False)} to {_times(high, False)})"
        )
        if high > UNTOLD * low:  # a median of such an interval would be taken for an answer
            needs = (
                f"how much {quantity} {self.over} needs for the same loss cannot be told, "
                f"between {_times(low, False)} and {_times(high)} as much ({100 * prob:g} %)"
            )
        answer = (
            f"{where}, {self.name} is better than {self.over} with {sure} probability: {needs}."
        )
        answer += self._other_end(low, high, prob)
        return " ".join((answer, *self.conversions, main_reason(self.cautions(prob))))

    def _other_end(self, low: float, high: float, prob: float) -> str:
        """The multiplier at the first point, if it says something else than that at the last."""
        if self.data.sizes["point"] < 2:
            return ""
        draws, better = self._valid("multiplier", 0), self.p_better[[0, -1]] > 0.5
        middle = float(draws.median())
        alike = low / ALIKE <= middle <= high * ALIKE
        if alike and better[0] == better[1] and self.p_crosses <= OFTEN:
            return ""
        first, last = (float(bound) for bound in interval(draws, prob))
        target = float(self.data["target"][0])
        where = f"For a loss of {target:.4g}" if np.isfinite(target) else f"At {self._at(0)}"
        return (
            f" {where} it needs {_times(middle)} the {QUANTITIES[self.scale]} "
            f"({_times(first, False)} to {_times(last, False)})."
        )

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt the multiplier, the most serious first.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval of a crossing; 0.9 by default.

        Returns
        -------
        tuple of str
            Failed checks, a place very far beyond the runs, multipliers without limit, crossings,
            dependence on the floor, and what else a forecast of the two recipes has. Empty if there
            are none.
        """
        own = []
        unlimited, share = float(self.p_unlimited[-1]), float(self.floor_share[-1])
        quantity = QUANTITIES[self.scale]
        if (neither := float(self.p_neither[-1])) > 0:
            own.append(f"in {100 * neither:.0f} % of the draws neither recipe reaches this loss")
        if unlimited > OFTEN:
            own.append(
                f"in {100 * unlimited:.0f} % of the draws {self.over} does not reach the loss of "
                f"{self.name} with {times_in_words(MOST_TIMES)} times the {quantity}: its floor "
                "lies too high, and the multiplier has no limit"
            )
        if self.p_crosses > OFTEN:
            found = _flat(self.data["crossing"].to_numpy().ravel())
            low, high = (self._written(float(v)) for v in interval(found, ci_prob))
            largest = max(float(f.runs.table[self.scale].max()) for f in (self.fit, self.fit_over))
            beyond = float((self.data["crossing"] > largest).mean())
            own.append(
                "which recipe is better may change with scale: with "
                f"{100 * self.p_crosses:.0f} % probability the two change places somewhere between "
                f"the smallest run and {BEYOND:g} times the largest, and then probably between "
                f"{low} and {high} ({100 * beyond:.0f} %: beyond the largest run, where no run "
                "shows it)"
            )
        if share > MUCH:
            own.append(
                f"{100 * share:.0f} % of the variance of the multiplier is due to the floors, the "
                f"irreducible losses E{'' if on_command_line() else '; see by_floor()'}"
            )
        failed = [r for r in self.reasons if "FAILED" in r]
        far = [r for r in self.reasons if FAR_IN_WORDS in r and r not in failed]
        first = (*failed, *far)
        return (*first, *own, *(r for r in self.reasons if r not in first))

    def _valid(self, name: str, point: int) -> xr.DataArray:
        return _flat(self.data[name].isel(point=point).to_numpy().ravel())

    def _at(self, point: int) -> str:
        return self._written(float(self.data["at"][point]))

    def _written(self, value: float) -> str:
        if self.scale == "C":
            return f"{format_flop(value)} FLOP"
        return f"{format_count(value)} {QUANTITIES[self.scale]}"

    def __repr__(self) -> str:
        lines = [self.bottom_line()]
        points = counted(self.data.sizes["point"], "point")
        heading = f"<Speedup of {self.name} over {self.over}, {points}>"
        lines.append(heading)
        for i in range(self.data.sizes["point"]):
            draws, difference = self._valid("multiplier", i), self._valid("difference", i)
            low, high = interval(draws)
            target, gain = float(self.data["target"][i]), float(difference.median())
            at = f"loss {target:.4g}" if np.isfinite(target) else self._at(i)
            lines.append(
                f"  {at}: {_times(float(draws.median()))} the {QUANTITIES[self.scale]} "
                f"({_times(float(low), False)} to {_times(float(high), False)}), loss "
                f"{'lower' if gain >= 0 else 'higher'} by {abs(gain):.3g}, "
                f"P(better) {self.p_better[i]:.2f}"
            )
        if len(self.best) and self.best["group"].nunique() > 2:
            last = self.best[self.best["at"] == self.best["at"].iloc[-1]]
            listed = [f"{row.group} {row.p_best:.2f}" for row in last.itertuples()]
            lines.append(f"  P(best) at {self._at(-1)}: {', '.join(listed)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return answer_html(self.bottom_line(), self.summary()._repr_html_(), self.cautions()[1:])


def _flat(values: np.ndarray) -> xr.DataArray:
    """Draws that are no NaN, as one chain."""
    return xr.DataArray(values[~np.isnan(values)][None], dims=SAMPLE)


def _times(value: float, with_word: bool = True) -> str:
    word = " times" if with_word else ""
    if value >= MOST_TIMES:
        return f"more than {times_in_words(MOST_TIMES)}{word}"
    return f"{times_in_words(value)}{word}"

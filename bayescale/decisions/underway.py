"""Whether runs under way are on track with their registered forecasts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bayescale.data import Runs
from bayescale.decisions.preregistration import Preregistration, in_words, quantiles_of
from bayescale.errors import FitError
from bayescale.forecasting import answer_html, forecast, main_reason
from bayescale.intervals import Summary
from bayescale.model import fit as fit_law
from bayescale.units import counted

#: Fewest checkpoints of a curve that is extrapolated.
FEWEST = 6
#: Probability of an end inside or beyond the registered interval from which this is the verdict.
SURE = 0.8
#: Checkpoints below this share of the last one are left out: warm-up and the steep beginning follow
#: another curve.
BEGINNING = 0.05
#: A run whose registered tokens are this many times its last ones is too far from its end.
FAR = 10.0
SETTINGS = dict(draws=500, chains=2, progressbar=False)


@dataclass(frozen=True, eq=False, repr=False)
class Underway:
    """Runs under way, compared with their registered forecasts.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for each registered run: its columns and groups; ``series``; ``done``, the share of
        its tokens (or compute) at the last checkpoint; ``last``, the loss there; ``median``,
        ``lower`` and ``upper``, the registered forecast (90 %); ``end``, ``end_lower`` and
        ``end_upper``, the forecast of the end from the checkpoints (90 %); ``p_below``,
        ``p_inside`` and ``p_above``, the probabilities that the end lies below, inside or above the
        registered interval; and ``verdict``: ``"on track"``, ``"better"``, ``"worse"`` or
        ``"undecided"``.
    preregistration : Preregistration
        What was registered.
    random_seed : int
        Seed of the fits of the curves.
    read : str
        What was read from columns of other names; may be empty.
    """

    table: pd.DataFrame = field(repr=False)
    preregistration: Preregistration
    random_seed: int = 0
    read: str = ""

    def bottom_line(self) -> str:
        """One sentence for each run, and the main reason for doubt."""
        at = [c for c in self.table if c in self.preregistration.content["points"][0]["at"]]
        verdicts = {
            "on track": "is on track",
            "better": "is better than registered",
            "worse": "is worse than registered",
            "undecided": "may or may not be on track",
        }
        parts = [
            f"The run of {in_words(row[at].to_dict())} {verdicts[row['verdict']]} after "
            f"{100 * row['done']:.0f} %: its checkpoints lead to {row['end']:.4g} "
            f"({row['end_lower']:.4g} to {row['end_upper']:.4g}), the registered interval is "
            f"{row['lower']:.4g} to {row['upper']:.4g} (P(inside) = {row['p_inside']:.2f})."
            for _, row in self.table.iterrows()
        ]
        return f"{' '.join(parts)} {main_reason(self.cautions())}"

    def cautions(self) -> tuple[str, ...]:
        """Reasons to doubt the verdicts, the most serious first."""
        out = [
            "a curve is extrapolated as a power of tokens that drifts: a learning rate that still "
            "decays lowers the end"
        ]
        if (self.table["done"] < 0.3).any():
            out.append("less than 30 % of a run is done, and its curve may still change")
        return tuple(out)

    def summary(self) -> pd.DataFrame:
        """The table, printed within 100 columns."""
        return Summary(self.table)

    def to_dataframe(self) -> pd.DataFrame:
        """The table, as an ordinary DataFrame."""
        return self.table.copy()

    def __repr__(self) -> str:
        registered = self.preregistration
        head = f"<{counted(len(self.table), 'run')} under way, registered at {registered.time}>"
        return "\n".join([self.bottom_line(), head])

    def _repr_html_(self) -> str:
        return answer_html(self.bottom_line(), self.summary()._repr_html_(), self.cautions()[1:])


def underway(registered: Preregistration, curves: pd.DataFrame, tolerance: float) -> Underway:
    """Compare the ends that checkpoints lead to with the registered forecasts.

    Parameters
    ----------
    registered : Preregistration
    curves : pandas.DataFrame
        Checkpoints: ``series``, ``loss``, ``D`` or ``C``, and the other columns of the runs.
    tolerance : float
        Largest relative difference of columns of a registered run and its series.

    Raises
    ------
    FitError
        If a series matches no registered run or several, or if a curve cannot be extrapolated.
    """
    where, points = registered.path, registered.content["points"]
    seed = int(registered.content["random_seed"])
    along = next((c for c in ("D", "C") if c in curves and c in points[0]["at"]), None)
    if along is None or "loss" not in curves:
        raise FitError(
            "checkpoints need the columns series, loss, and D or C as registered", where=where
        )
    rows, taken = [], {}
    for label, curve in curves.groupby("series", sort=False):
        index = _registered(points, curve, str(label), along, tolerance, where)
        if index in taken:
            raise FitError(
                f"the series {taken[index]} and {label} are of one registered run: keep one",
                where=where,
            )
        taken[index] = label
        rows.append((index, _row(points[index], curve, str(label), along, seed, where)))
    if missing := [in_words(p["at"]) for i, p in enumerate(points) if i not in taken]:
        raise FitError(
            [f"{name}: this registered run has no checkpoints" for name in missing], where=where
        )
    return Underway(pd.DataFrame([row for _, row in sorted(rows, key=lambda r: r[0])]),
                    registered, seed)  # fmt: skip


def _registered(points, curve, label: str, along: str, tolerance: float, where: str) -> int:
    """The index of the registered run that a series belongs to."""
    fits = []
    for i, point in enumerate(points):
        same = True
        for column, value in point["at"].items():
            if column not in curve or column in ("D", "C"):
                continue
            if isinstance(value, str):
                same &= bool((curve[column].astype(str) == value).all())
            else:
                numbers = pd.to_numeric(curve[column], errors="coerce").to_numpy(float)
                same &= bool((np.abs(np.log(numbers / value)) <= tolerance).all())
        if same:
            fits.append(i)
    if len(fits) != 1:
        raise FitError(
            f"the series {label} fits {len(fits)} registered runs: give the columns that tell them "
            f"apart ({', '.join(points[0]['at'])})",
            where=where,
        )
    return fits[0]


def _row(point: dict, curve: pd.DataFrame, label: str, along: str, seed: int, where: str) -> dict:
    """One run: the registered forecast, and that of its end from the checkpoints."""
    curve = curve.sort_values(along)
    at, losses = (pd.to_numeric(curve[c], errors="coerce").to_numpy(float) for c in (along, "loss"))
    end = float(point["at"][along])
    used = at >= BEGINNING * at[-1]
    problem = ""
    if not (np.isfinite(losses) & (losses > 0) & (at > 0)).all():
        problem = "losses and tokens must be positive and finite"
    elif at[-1] > 1.01 * end:
        problem = f"the last checkpoint lies beyond the registered {along}"
    elif end > FAR * at[-1]:
        problem = f"only {100 * at[-1] / end:.0f} % of the run is done, too little to extrapolate"
    elif len(np.unique(at[used])) < FEWEST:
        problem = f"there are fewer than {FEWEST} checkpoints after the beginning"
    if problem:
        raise FitError(f"series {label}: {problem}", where=where)
    table = pd.DataFrame({along: at[used], "loss": losses[used], "series": label})
    fitted = fit_law(Runs.from_frame(table), f"power({along})", random_seed=seed, **SETTINGS)
    ahead = forecast(fitted, **{along: end}, series=label, random_seed=seed).data["loss"]
    drawn = ahead.to_numpy().ravel()
    low, middle, high = quantiles_of(point["quantiles"])
    p = dict(p_below=float((drawn < low).mean()), p_above=float((drawn > high).mean()))
    p["p_inside"] = 1 - p["p_below"] - p["p_above"]
    verdicts = {"p_inside": "on track", "p_below": "better", "p_above": "worse"}
    best = max(p, key=p.get)
    end_low, end_middle, end_high = np.quantile(drawn, [0.05, 0.5, 0.95])
    return dict(
        point["at"], series=label, done=at[-1] / end, last=losses[-1], median=middle, lower=low,
        upper=high, end=end_middle, end_lower=end_low, end_upper=end_high, p_below=p["p_below"],
        p_inside=p["p_inside"], p_above=p["p_above"],
        verdict=verdicts[best] if p[best] >= SURE else "undecided",
    )  # fmt: skip

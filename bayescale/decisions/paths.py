"""Paths through the columns of a law as compute grows, and losses along them in all draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bayescale.errors import FitError, LawError, unknown
from bayescale.forecasting import Average, best_split, draw_losses, fits_of, weights_of
from bayescale.keywords import setting
from bayescale.model import Fit, settle_groups

#: Largest multiplier that is looked for. A curve that does not reach a loss with this multiple of
#: the compute is said not to reach it.
MOST_TIMES = 1e4
#: Crossings are looked for from the smallest run to this multiple of the largest.
BEYOND = 100.0
#: Step of the grid in e-folds of compute. Between its points log loss is interpolated linearly.
STEP = 0.1
#: E-folds beyond the runs at which a law is evaluated for its floor.
LIMIT = 150.0
#: Budgets at which the best split is computed; between them it is interpolated.
NODES = 9
BEST = "best"
#: What a multiple of each column is called.
QUANTITIES = {"C": "compute", "N": "parameters", "D": "tokens"}


@dataclass(frozen=True)
class Side:
    """One of the recipes that are compared: a fit and the labels of one of its groups."""

    fit: Fit | Average
    labels: Mapping[str, str]
    name: str

    @property
    def members(self) -> dict[str, Fit]:
        """The fits of positive weight by the name of their law."""
        return fits_of(self.fit)

    @property
    def weights(self) -> dict[str, float]:
        return weights_of(self.fit)

    def runs(self):
        """The table of the runs of this group."""
        table = self.fit.runs.table
        for column, label in self.labels.items():
            table = table[table[column].astype(str) == label]
        return table


def side(fit: Fit | Average, group, name: str) -> Side:
    """One recipe, from a fit and ``group=``.

    Raises
    ------
    FitError
        If `fit` is no fit, or if the group is unknown or missing.
    """
    if not isinstance(fit, (Fit, Average)):
        raise FitError(f"cannot compare {type(fit).__name__}: give a Fit or an Average")
    first = next(iter(fits_of(fit).values()))
    if fit.groups and group is None:
        levels = first.plan.levels
        listed = "; ".join(f"{c}: {', '.join(labels)}" for c, labels in levels.items())
        raise FitError(f"this fit has groups: name the one to compare ({listed})")
    if not fit.groups and group is not None:
        raise FitError(
            f"this fit has no groups, so that {group!r} is unknown: fit with "
            f"{setting('groups')}, or give the fit of the other recipe as over="
        )
    labels = settle_groups(first.plan, group)
    if several := [c for c, label in labels.items() if not isinstance(label, str)]:
        raise FitError(f"{', '.join(several)}: give one label")
    if missing := [c for c, label in labels.items() if label not in first.plan.levels[c]]:
        raise FitError(f"{', '.join(missing)}: name a fitted label, not a new group")
    return Side(fit, labels, ", ".join(labels.values()) or name)


def scale_of(sides: Sequence[Side]) -> str:
    """The column in which recipes are compared: compute, or the only column N or D of the law."""
    scales = set()
    for each in sides:
        columns = each.fit.law.columns
        counts = [c for c in columns if c in QUANTITIES]
        if "C" in counts or {"N", "D"} <= set(counts):
            scales.add("C")
        elif counts:
            scales.add(counts[0])
        else:
            raise LawError(
                f"law {each.fit.law.name!r} has the columns {', '.join(columns)}: only laws of N, "
                "D or C can be compared by compute"
            )
    if len(scales) > 1:
        raise LawError(
            f"the two fits are functions of different scales ({', '.join(sorted(scales))}): fit "
            "laws of the same columns"
        )
    return scales.pop()


@dataclass(frozen=True)
class Path:
    """Columns of a law as functions of the log of the scale.

    Attributes
    ----------
    scale : str
        The column that is the scale.
    flop_factor : float
        FLOP per parameter and token.
    ratio : float or None
        Tokens per parameter; None for a path of best splits, and for laws without N and D.
    log_C, log_N : array (node,) or None
        The best splits.
    others : mapping of str to float
        Columns with a constant value.
    """

    scale: str
    flop_factor: float
    ratio: float | None
    log_C: np.ndarray | None
    log_N: np.ndarray | None
    others: Mapping[str, float]

    def columns(self, log_x: np.ndarray) -> dict[str, np.ndarray]:
        """Columns at each point, in absolute units."""
        x = np.exp(log_x)
        out = {self.scale: x, **{c: np.full_like(x, v) for c, v in self.others.items()}}
        if self.ratio is not None:
            out["N"] = np.sqrt(x / (self.flop_factor * self.ratio))
        elif self.log_N is not None:
            slopes = np.gradient(self.log_N, self.log_C)
            inside = np.interp(log_x, self.log_C, self.log_N)
            before = np.minimum(log_x - self.log_C[0], 0) * slopes[0]
            beyond = np.maximum(log_x - self.log_C[-1], 0) * slopes[-1]
            out["N"] = np.exp(inside + before + beyond)
        if "N" in out and self.scale == "C":
            out["D"] = x / (self.flop_factor * out["N"])
        return out


def path_of(
    each: Side, scale: str, along: str | float | None, span: tuple[float, float], others
) -> Path:
    """The path of one recipe.

    Parameters
    ----------
    each : Side
    scale : str
    along : float, "best" or None
        Tokens per parameter, or the best split of each budget.
    span : tuple of float
        First and last budget at which best splits are computed.
    others : mapping of str to float
        Constant values of other columns.
    """
    law, factor = each.fit.law, each.fit.runs.flop_factor
    needed = [c for c in law.columns if c not in (*QUANTITIES, *others)]
    if needed:
        raise FitError(
            f"law {law.name!r} needs {', '.join(needed)}: give a value, as in {needed[0]}=1.0"
        )
    if extra := [c for c in others if c not in law.columns or c in QUANTITIES]:
        raise FitError([unknown("column", c, law.columns) for c in extra])
    if scale != "C" or not {"N", "D"} & set(law.columns):
        return Path(scale, factor, None, None, None, others)
    if along != BEST:
        return Path(scale, factor, float(along), None, None, others)
    C = np.geomspace(*span, NODES)
    N, _ = best_split(each.fit, C, dict(each.labels) or None)
    return Path(scale, factor, None, np.log(C), np.log(N), others)


def grid(low: float, high: float, always: np.ndarray) -> np.ndarray:
    """Multiples of `STEP` from low to high, with the points `always` among them; sorted.

    Calls at other points share the multiples, so that they agree on where curves cross.
    """
    first, last = int(np.floor(low / STEP)), int(np.ceil(high / STEP))
    return np.unique(np.concatenate([STEP * np.arange(first, last + 1), always]))


def on_grid(log_x: np.ndarray) -> np.ndarray:
    """Whether each point of `grid` is a multiple of `STEP`."""
    return np.isclose(log_x / STEP, np.round(log_x / STEP), rtol=0, atol=1e-9)


def losses(
    sides: Sequence[Side],
    paths: Sequence[Path],
    log_x: Sequence[np.ndarray],
    seed: int,
    drift: str,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draws of the expected losses of recipes of one fit, which share all draws.

    The points of all recipes are drawn together: the points of one recipe share the path of its
    drift, and all recipes share its size, as the model has it.

    Returns
    -------
    list of tuple of arrays
        For each recipe the log of the expected loss, (draw, point), with the drift beyond the runs,
        and the floor of the law, (draw,).
    """
    first = sides[0]
    far = [np.append(x, x.max() + LIMIT) for x in log_x]
    places = [path.columns(x) for path, x in zip(paths, far, strict=True)]
    place = {c: np.concatenate([p[c] for p in places]) for c in places[0]}
    sizes = [len(x) for x in far]
    groups = {
        column: [s.labels[column] for s, n in zip(sides, sizes, strict=True) for _ in range(n)]
        for column in first.labels
    }
    # At the limit a law may be zero, and the drift of its log then has no value.
    with np.errstate(all="ignore"):
        drawn = draw_losses(first.members, first.weights, place, groups, seed, drift=drift)
    mean, law = (
        drawn[v].transpose("chain", "draw", "point").to_numpy().reshape(-1, sum(sizes))
        for v in ("mean", "law")
    )
    edges = np.cumsum([0, *sizes])
    return [(np.log(mean[:, a : b - 1]), law[:, b - 1]) for a, b in pairwise(edges)]


def at_scale(log_x: np.ndarray, log_loss: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Log loss of a curve at a scale in each draw, by linear interpolation; (draw, point)."""
    place = np.clip(np.searchsorted(log_x, where), 1, len(log_x) - 1)
    rows = np.arange(len(where))[:, None]
    left, right = log_x[place - 1], log_x[place]
    share = np.clip((where - left) / (right - left), 0.0, 1.0)
    return (1 - share) * log_loss[rows, place - 1] + share * log_loss[rows, place]


def crossing(log_x: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Log of the scale of the last change of sign of a difference of curves; NaN without one.

    Parameters
    ----------
    log_x : array (grid,)
    difference : array (draw, grid)
    """
    changes = np.signbit(difference[:, 1:]) != np.signbit(difference[:, :-1])
    last = changes.shape[1] - 1 - np.argmax(changes[:, ::-1], axis=1)
    rows = np.arange(len(difference))
    one, two = difference[rows, last], difference[rows, last + 1]
    share = np.divide(one, one - two, out=np.full_like(one, 0.5), where=one != two)
    x = log_x[last] + share * (log_x[last + 1] - log_x[last])
    return np.where(changes.any(axis=1), x, np.nan)

"""Shapes of curves of a task, from posterior draws that are averaged over kinds of curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bayescale.capabilities import emergence_priors as priors
from bayescale.capabilities.emergence_models import Model, TaskCurve

#: Posterior draws of each kind, and of their average.
DRAWS, AVERAGED = 400, 800
#: Draws of kinds of losses with a larger probability are moved: floor, slope and change of slope of
#: a loss have a curved posterior, of which few effective draws miss the ends.
MOVED = 0.05
#: Points of the grid of log x.
GRID = 161
#: A score is above chance if it exceeds it by this many standard errors of the questions; models
#: differ by this many standard deviations from the curve (97.5 % of them are above this).
ABOVE_CHANCE, MOST_MODELS = 3.0, 1.96
#: A curve is emergent as measured if it rises this many times as fast in its steepest decade as on
#: average below it, over at least `BEFORE` decades.
ACCELERATION, BEFORE = 3.5, 0.4
#: Largest ratio of rates that is reported.
LARGEST_RATIO = 100.0


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of one metric of one task: draws and evidence of every kind of curve.

    Attributes
    ----------
    curve : TaskCurve
    positions : mapping of str to (draw, coordinate)
        Equally weighted posterior draws by kind.
    log_evidence, error : mapping of str to float
        Log evidence by kind, and its Monte Carlo standard error.
    """

    curve: TaskCurve
    positions: Mapping[str, np.ndarray]
    log_evidence: Mapping[str, float]
    error: Mapping[str, float]

    @cached_property
    def probability(self) -> dict[str, float]:
        """Posterior probability of each kind of curve, 0 for kinds that were not compared."""
        prior = priors.KINDS if self.curve.is_accuracy else priors.LOSS_KINDS
        log = np.array([self.log_evidence[k] + np.log(prior[k]) for k in self.positions])
        p = np.exp(log - np.logaddexp.reduce(log))
        return dict.fromkeys(priors.KINDS, 0.0) | dict(zip(self.positions, p.tolist(), strict=True))

    def averaged(
        self, rng: np.random.Generator, n: int = AVERAGED
    ) -> list[tuple[Model, np.ndarray]]:
        """Draws of each kind in proportion to its probability."""
        out = []
        for kind, z in self.positions.items():
            count = int(self.probability[kind] * n + rng.random())
            if count:
                out.append((Model(self.curve, kind), z[rng.integers(len(z), size=count)]))
        return out


def sample(curve: TaskCurve, seed) -> Posterior:
    """The posterior of every kind of curve that the points can distinguish."""
    rng = np.random.default_rng(seed)
    found = {kind: Model(curve, kind).sample(DRAWS, rng) for kind in curve.kinds}
    posterior = Posterior(
        curve,
        {kind: f.positions for kind, f in found.items()},
        {kind: f.diagnostics.log_evidence for kind, f in found.items()},
        {kind: f.diagnostics.error for kind, f in found.items()},
    )
    if curve.is_accuracy:
        return posterior
    positions = {
        kind: Model(curve, kind).moved(z, rng) if posterior.probability[kind] > MOVED else z
        for kind, z in posterior.positions.items()
    }
    return replace(posterior, positions=positions)


@dataclass(frozen=True, eq=False)
class Shapes:
    """Draws of the shape of a curve, averaged over its kinds.

    Attributes
    ----------
    grid : (point,)
        log10 of x.
    kind : (draw,)
    mean : (draw, point)
        The score.
    onset, half_rise : (draw,)
        log10 of x; NaN where the score does not come above chance, or does not rise.
    sharpness : (draw,)
        Largest share of the rise in one decade.
    acceleration : (draw,)
        Rate of the rise in its steepest decade, in units of the mean rate below it; 1 if the
        steepest decade is the first.
    slope_ratio : (draw,)
        Slope in the upper third of log x over that in the lower third, in log odds or in the log
        of the reducible loss; NaN for kinds without a change of slope, and for losses that drift.
    place : (draw,)
        log10 of the place of a break or late start, NaN for other kinds.
    """

    grid: np.ndarray
    kind: np.ndarray
    mean: np.ndarray
    onset: np.ndarray
    half_rise: np.ndarray
    sharpness: np.ndarray
    acceleration: np.ndarray
    slope_ratio: np.ndarray
    place: np.ndarray

    @property
    def is_emergent(self) -> np.ndarray:
        """Whether each draw is emergent as measured, (draw,)."""
        return self.acceleration >= ACCELERATION


def shapes(draws: list[tuple[Model, np.ndarray]]) -> Shapes:
    """Shapes of posterior draws.

    Parameters
    ----------
    draws : list of (Model, (draw, coordinate))
        As from `Posterior.averaged`.
    """
    curve = draws[0][0].curve
    s = np.linspace(*curve.ends, GRID)
    grid = (s + curve.middle) / np.log(10)
    sign = 1.0 if curve.is_accuracy else -1.0
    parts = []
    changes = priors.CHANGES if curve.is_accuracy else priors.LOSS_CHANGES
    for model, z in draws:
        with np.errstate(all="ignore"):
            h = model.parameters(z)
            eta, mean = model.eta(z, s, h), model.mean(z, s)
            onset = _onset(model, eta, h, grid)
            place = np.full(len(z), np.nan)
            if model.kind in ("break", "late"):
                place = (model.place(z)[:, 0] + curve.middle) / np.log(10)
            rise = sign * (mean - mean[:, :1])
            parts.append(
                dict(
                    kind=np.full(len(z), model.kind),
                    mean=mean,
                    onset=onset,
                    place=place,
                    slope_ratio=_slope_ratio(eta)
                    if model.kind in changes
                    else np.full(len(z), np.nan),
                    **_rise(rise, grid),
                )
            )
    return Shapes(grid=grid, **{k: np.concatenate([p[k] for p in parts]) for k in parts[0]})


def _onset(model: Model, eta, h, grid) -> np.ndarray:
    """log10 of x from which 97.5 % of models score above chance by more than the question noise."""
    curve = model.curve
    if not curve.is_accuracy:
        return np.full(len(eta), np.nan)
    share = chance_limit(curve, h["jitter"])
    spread = np.hypot(h["scatter"], h.get("family", 0.0))
    return _first(eta - MOST_MODELS * spread > np.log(share / (1 - share)), grid)


def chance_limit(curve: TaskCurve, jitter: np.ndarray | float = 0.0) -> np.ndarray | float:
    """Share of the range above chance that exceeds the noise of the questions.

    Without numbers of questions, `jitter` is the noise at chance.
    """
    n = float(np.median(curve.n))
    q = max(curve.chance, 0.5 / n if np.isfinite(n) else 1e-6)
    sd = np.sqrt(q * (1 - q) / n + np.square(jitter))
    return np.clip(ABOVE_CHANCE * sd / (1 - curve.chance), 1e-9, 0.5)


def _first(holds: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The first grid point at which each row holds, NaN if there is none."""
    return np.where(holds.any(axis=1), grid[holds.argmax(axis=1)], np.nan)


def _rise(rise: np.ndarray, grid: np.ndarray) -> dict[str, np.ndarray]:
    """Half-rise, sharpness and acceleration of scores above the first, (draw, point)."""
    total = rise[:, -1:]
    share = np.where(total > 0, rise / np.where(total > 0, total, 1.0), np.nan)
    rises = total[:, 0] > 0
    step = grid[1] - grid[0]
    decade = min(max(round(1 / step), 1), len(grid) - 1)
    gain = share[:, decade:] - share[:, :-decade]
    gain[~rises] = 0.0
    at = gain.argmax(axis=1)
    rows = np.arange(len(rise))
    before = np.where(at * step >= BEFORE, share[rows, at] / np.maximum(at * step, step), np.inf)
    rate = gain[rows, at] / (decade * step)
    acceleration = rate / np.maximum(before, rate / LARGEST_RATIO)
    acceleration = np.where(rises & np.isfinite(before), acceleration, 1.0)
    return dict(
        half_rise=np.where(rises, _first(np.nan_to_num(share) >= 0.5, grid), np.nan),
        sharpness=np.where(rises, np.minimum(gain[rows, at], 1.0), np.nan),
        acceleration=acceleration,
    )


def _slope_ratio(eta: np.ndarray) -> np.ndarray:
    third = eta.shape[1] // 3
    low, high = eta[:, third] - eta[:, 0], eta[:, -1] - eta[:, -1 - third]
    safe = np.where(
        abs(low) > abs(high) / LARGEST_RATIO, low, np.sign(high) * abs(high) / LARGEST_RATIO
    )
    return np.where(safe != 0, high / np.where(safe != 0, safe, 1.0), 1.0)

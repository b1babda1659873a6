"""Forecasts of a task from the models below its onset: could the rise have been foreseen?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bayescale.capabilities import emergence_priors as priors
from bayescale.capabilities.emergence_models import Model, TaskCurve, part
from bayescale.capabilities.emergence_shapes import Posterior
from bayescale.priors import from_link

#: Draws of a forecast.
DRAWS = 2000
#: Fewest different x below the onset, and fewest models above it; largest median of the scores
#: below, as a share of the range from chance to 1.
FEWEST_BELOW, FEWEST_ABOVE, NEAR_CHANCE = 4, 2, 0.1
#: The number of models below the onset is multiplied by this for the question whether more models
#: would have shown the rise.
TIMES = 4
#: A rise is foreseen if the intervals hold at least `HELD` of the later scores, and if their mean
#: width is at most `NARROW` of the range from chance to 1.
HELD, NARROW = 0.5, 0.5
FORESEEN, OPEN, MISSED = "foreseen", "not foreseen", "excluded wrongly"


def forecast(
    posterior: Posterior,
    s: np.ndarray,
    n: np.ndarray,
    rng: np.random.Generator,
    ahead: priors.Ahead = priors.AHEAD,
) -> np.ndarray:
    """Scores of new models of new families, beyond the models of a posterior.

    Parameters
    ----------
    posterior : Posterior
        Of an accuracy.
    s : (point,)
        Log of x, centred as the curve of the posterior.
    n : (point,)
        Numbers of questions; infinite where they are not known.

    Returns
    -------
    (draw, point)
    """
    scores = []
    for model, z in posterior.averaged(rng, DRAWS):
        h, curve = model.parameters(z), model.curve
        complete = rng.random((len(z), 1)) < ahead.complete
        h["lost"] = np.where(complete, 0.0, h["lost"])
        eta = _continued(model, z, s, h, ahead, rng)
        spread = np.hypot(h["scatter"], h.get("family", 0.0))
        with np.errstate(over="ignore"):
            p = 1 / (1 + np.exp(-eta - spread * rng.standard_normal(eta.shape)))
        p = curve.chance + model.width(h) * p + h["jitter"] * rng.standard_normal(eta.shape)
        known = np.isfinite(n)
        y = np.clip(p, 0, 1)
        counts = np.where(known, n, 1).astype(int)
        scores.append(np.where(known, rng.binomial(counts, y) / counts, y))
    return np.concatenate(scores)


def _continued(model: Model, z, s, h, ahead: priors.Ahead, rng) -> np.ndarray:
    """The curve at `s`. Beyond the models the slope changes, and goes on drifting if it drifts."""
    with np.errstate(all="ignore"):
        eta = model.eta(z, s, h)
        if model.kind == "line":
            return eta
        end, step = model.curve.ends[1], 0.05
        slope = np.diff(model.eta(z, np.array([end - step, end]), h), axis=1) / step
    beyond = np.maximum(s - end, 0.0)
    place = rng.exponential(1 / ahead.rate, (len(z), 1))
    size = ahead.ratio.centre + ahead.ratio.width * rng.standard_normal((len(z), 1))
    change = slope * (from_link(ahead.ratio.link, size) - 1) * np.maximum(beyond - place, 0.0)
    if model.kind == "drift":
        change = change + h["slope"] * h["drift"] * _walk(beyond, len(z), rng)
    return eta + change


def _walk(distance: np.ndarray, rows: int, rng, steps: int = 60) -> np.ndarray:
    """Integrated random walks that start at 0, at distances from there; (row, distance)."""
    longest = max(float(distance.max()), 1e-9)
    step = longest / steps
    slope = np.cumsum(np.sqrt(step) * rng.standard_normal((rows, steps)), axis=1)
    path = np.concatenate([np.zeros((rows, 1)), np.cumsum(step * slope, axis=1)], axis=1)
    at = distance / step
    low = np.minimum(at.astype(int), steps - 1)
    rest = at - low
    return path[:, low] * (1 - rest) + path[:, low + 1] * rest


def below(curve: TaskCurve, onset: float) -> np.ndarray:
    """Which models are below an onset, given as log10 of x; (model,)."""
    return curve.s + curve.middle < onset * np.log(10)


def why_not(curve: TaskCurve, onset: float) -> str:
    """Why a rise cannot be forecast from below; empty if it can."""
    if not np.isfinite(onset):
        return "it is not certain that the score rises above chance"
    keep = below(curve, onset)
    if len(np.unique(curve.s[keep])) < FEWEST_BELOW:
        return f"fewer than {FEWEST_BELOW} different scales below the onset"
    if (~keep).sum() < FEWEST_ABOVE:
        return f"fewer than {FEWEST_ABOVE} models above the onset"
    if np.median(curve.y[keep]) > curve.chance + NEAR_CHANCE * (1 - curve.chance):
        return "the smallest models are not at chance"
    return ""


def with_more_models(posterior: Posterior, keep: np.ndarray, rng: np.random.Generator) -> TaskCurve:
    """The models below the onset, and simulated ones: `TIMES` as many.

    The scores of the simulated models are those of one posterior draw of all models.
    """
    curve = posterior.curve
    own = part(curve, keep)
    count = (TIMES - 1) * int(keep.sum())
    s = rng.uniform(*own.ends, count) + own.middle - curve.middle
    of = rng.integers(len(own.s), size=count)
    model, z = max(posterior.averaged(rng), key=lambda pair: len(pair[1]))
    z = z[rng.integers(len(z), size=1)]
    h = model.parameters(z)
    with np.errstate(over="ignore"):
        eta = model.eta(z, s, h)[0] + float(h["scatter"][0, 0]) * rng.standard_normal(count)
        p = curve.chance + float(model.width(h)[0, 0]) / (1 + np.exp(-eta))
    y = np.clip(p + float(h["jitter"][0, 0]) * rng.standard_normal(count), 0, 1)
    n = own.n[of]
    counts = np.where(np.isfinite(n), n, 1).astype(int)
    y = np.where(np.isfinite(n), rng.binomial(counts, y) / counts, y)
    return replace(
        own,
        s=np.concatenate([own.s, s + curve.middle - own.middle]),
        y=np.concatenate([own.y, y]),
        n=np.concatenate([own.n, n]),
        family=np.concatenate([own.family, own.family[of]]) if len(own.family) else own.family,
    )


def row(
    curve: TaskCurve,
    onset: float,
    fits: Sequence[Posterior],
    prob: float,
    rng: np.random.Generator,
) -> dict[str, object]:
    """A row of `Emergence.foresight`.

    `fits` are to the models below the onset, and, if it is asked, to these and the simulated ones.
    """
    keep = below(curve, onset)
    s, n, y = curve.s[~keep] + curve.middle, curve.n[~keep], curve.y[~keep]
    tails = [(1 - prob) / 2, 0.5, (1 + prob) / 2]
    quantiles = [
        np.quantile(forecast(posterior, s - posterior.curve.middle, n, rng), tails, axis=0)
        for posterior in fits
    ]
    width, *more = (float((q[2] - q[0]).mean() / (1 - curve.chance)) for q in quantiles)
    low, middle, high = quantiles[0]
    held = float(((y >= low) & (y <= high)).mean())
    answer = MISSED if held < HELD else FORESEEN if width <= NARROW else OPEN
    last = int(s.argmax())
    return dict(
        answer=answer,
        onset=10**onset,
        models_below=int(keep.sum()),
        models_above=len(y),
        held=held,
        width=width,
        **({"width_with_more": more[0]} if more else {}),
        score=float(y[last]),
        forecast=float(middle[last]),
        forecast_low=float(low[last]),
        forecast_high=float(high[last]),
    )


def sentence(row: Mapping[str, object], prob: float) -> str:
    """A row of `Emergence.foresight` in words."""
    text = (
        f"{row['answer']}: from the {row['models_below']} models below the onset, the "
        f"{100 * prob:g} % intervals hold {100 * row['held']:.0f} % of the {row['models_above']} "
        f"later scores, and cover {100 * row['width']:.0f} % of the range from chance to 1"
    )
    if row["answer"] == OPEN and "width_with_more" in row:
        outcome = "be enough" if row["width_with_more"] <= NARROW else "not be enough"
        text += (
            f"; {TIMES} times as many models there would {outcome} "
            f"({100 * row['width_with_more']:.0f} %)"
        )
    return text

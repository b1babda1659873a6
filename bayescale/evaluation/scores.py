"""Coverage, sharpness and proper scores of forecasts, given the measured losses.

Intervals are central (equal-tailed). Scores are on log loss, so that they do not depend on the unit
of the loss, except for the log score, which is the log density of the loss itself.
Gneiting & Raftery 2007, doi:10.1198/016214506000001437.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayescale.errors import BayescaleError

#: Probabilities of the intervals that a table of scores shows.
LEVELS = (0.5, 0.8, 0.9, 0.95)
#: Probabilities over which the mean squared calibration error is averaged.
MSCE_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
#: Probability of the intervals of the interval score.
INTERVAL = 0.9

_NAMES = {f"{100 * q:.0f}": q for q in LEVELS}


# -- one forecast, one outcome -----------------------------------------------------------------

# The package `scoringrules` has the interval score and the CRPS too. It would replace only five
# lines and could not use the sorted draws from which intervals, medians and the CRPS are computed.


def interval_score(truth, low, high, alpha: float) -> np.ndarray:
    """Width of a central interval of probability 1 - `alpha`, plus a penalty for misses.

    Winkler 1972. Lower is better; the expected score is least for the true quantiles.

    Parameters
    ----------
    truth, low, high : array_like, dims (point,)
        Measured values and the bounds of the intervals.
    alpha : float
        Probability outside the interval.

    Returns
    -------
    array, dims (point,)
        In the unit of `truth`.

    Examples
    --------
    >>> float(interval_score(3.0, 1.0, 2.0, alpha=0.1))
    21.0
    """
    miss = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return high - low + 2 / alpha * miss


def crps(truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of each point; lower is better.

    Parameters
    ----------
    truth : array, dims (point,)
    draws : array, dims (draw, point)

    Returns
    -------
    array, dims (point,)
        In the unit of `truth`; equal to the absolute error if all draws are equal.

    Examples
    --------
    >>> crps(np.array([1.0]), np.array([[0.0], [2.0]]))
    array([0.5])
    """
    return _crps(truth, _sorted(draws))


def score(truth, draws, log_density, parts: int = 4) -> pd.DataFrame:
    """All scores of every held-out point.

    Parameters
    ----------
    truth : array_like, dims (point,)
        Measured losses.
    draws : array_like, dims (draw, point)
        Predictive draws of the loss, ordered by chain, so that blocks of draws are independent.
    log_density : array_like, dims (point,)
        Log predictive density of the loss (not of its log) at the truth.
    parts : int
        Number of equal blocks of draws (the chains). Monte Carlo errors are computed from the
        scatter between blocks.

    Returns
    -------
    pandas.DataFrame
        A row per point: ``pit``, the share of draws below the truth (half of those equal to it);
        ``inside50`` ... ``inside95``, whether an interval contains the truth; ``width50`` ...
        ``width95``, widths of the intervals of log loss, and ``width95_loss``, in the unit of the
        loss; ``interval_score`` (90 %) and ``crps`` of log loss, with their Monte Carlo standard
        errors ``interval_score_mc`` and ``crps_mc``; ``log_score``; ``log_error``, the log of the
        ratio of median to truth.

    Raises
    ------
    BayescaleError
        If shapes do not match, there are fewer draws than `parts`, or losses are not finite and
        positive.

    Examples
    --------
    >>> draws = np.exp(np.linspace(-1, 1, 101))[:, None]
    >>> scores = score([1.0], draws, [0.0])
    >>> float(scores.pit[0]), round(float(scores.width90[0]), 3), bool(scores.inside50[0])
    (0.5, 1.8, True)
    """
    y, log_draws, log_density = _checked(truth, draws, log_density, parts)
    x = _sorted(log_draws)
    blocks = [_sorted(b) for b in np.array_split(log_draws, parts)] if parts > 1 else []
    below, equal = (x < y).mean(axis=0), (x == y).mean(axis=0)
    bounds = {name: _central(x, q) for name, q in _NAMES.items()}
    low95, high95 = np.exp(bounds["95"])
    return pd.DataFrame(
        {
            "pit": below + equal / 2,
            **{f"inside{k}": (low <= y) & (y <= high) for k, (low, high) in bounds.items()},
            **{f"width{k}": high - low for k, (low, high) in bounds.items()},
            "width95_loss": high95 - low95,
            "interval_score": _interval_score(y, x),
            "interval_score_mc": _monte_carlo_error(_interval_score, y, blocks),
            "crps": _crps(y, x),
            "crps_mc": _monte_carlo_error(_crps, y, blocks),
            "log_score": log_density,
            "log_error": _quantiles(x, [0.5])[0] - y,
        }
    )


def _checked(truth, draws, log_density, parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logs of truth and draws, and the log density; raises the errors of `score`."""
    truth, draws, log_density = (np.asarray(a, dtype=float) for a in (truth, draws, log_density))
    problems = []
    if truth.ndim != 1 or log_density.shape != truth.shape or draws.shape[1:] != truth.shape:
        problems.append(
            f"truth has shape {truth.shape}, draws {draws.shape} and log_density "
            f"{log_density.shape}: give (point,), (draw, point) and (point,)"
        )
    elif len(draws) < parts:
        problems.append(f"parts is {parts}, but there are only {len(draws)} draws")
    for name, losses in (("truth", truth), ("draws", draws)):
        if wrong := int((~(np.isfinite(losses) & (losses > 0))).sum()):
            problems.append(f"{name}: {wrong} of {losses.size} losses are not finite and positive")
    if problems:
        raise BayescaleError(problems, where="score")
    return np.log(truth), np.log(draws), log_density


def _sorted(draws: np.ndarray) -> np.ndarray:
    """Draws of each point in ascending order; they are sorted once for all scores."""
    return np.sort(np.ascontiguousarray(np.transpose(draws)), axis=1).T


def _quantiles(draws: np.ndarray, probs) -> np.ndarray:
    """Quantiles of sorted draws, interpolated as ``np.quantile`` does; dims (prob, point)."""
    position = np.asarray(probs) * (len(draws) - 1)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, len(draws) - 1)
    return draws[below] + (position - below)[:, None] * (draws[above] - draws[below])


def _central(draws: np.ndarray, prob: float) -> np.ndarray:
    return _quantiles(draws, [(1 - prob) / 2, (1 + prob) / 2])


def _interval_score(truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return interval_score(truth, *_central(draws, INTERVAL), alpha=1 - INTERVAL)


def _crps(truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """From sorted draws: mean distance to the truth minus half the mean distance of two draws."""
    n = len(draws)
    rank = 2 * np.arange(1, n + 1) - n - 1
    return np.abs(draws - truth).mean(axis=0) - rank @ draws / n**2


def _monte_carlo_error(scored, truth, blocks) -> np.ndarray:
    """Standard error of a score, from its scatter between blocks of draws."""
    if len(blocks) < 2:
        return np.full(len(truth), np.nan)
    return np.std([scored(truth, b) for b in blocks], axis=0, ddof=1) / np.sqrt(len(blocks))


# -- many points -------------------------------------------------------------------------------


def summarise(
    points: pd.DataFrame, by: str | Sequence[str], series: str | None = None
) -> pd.DataFrame:
    """Mean scores of many points, averaged within each series and then over series.

    A curve with a thousand checkpoints thus has the same weight as one with ten. Standard errors
    are computed from the scatter between series, not between the checkpoints of one series.

    Parameters
    ----------
    points : pandas.DataFrame
        Rows of `score`, with columns of labels.
    by : str or sequence of str
        Columns of labels; the result has a row for every combination.
    series : str, optional
        The column with the labels of the series: curves, tables or groups. Without it all points of
        a row of the result are one series.

    Returns
    -------
    pandas.DataFrame
        The columns `by`; ``n`` points and ``n_series``; ``coverage50`` ... ``coverage95`` and
        their standard errors ``*_se`` (binomial for a single series); ``msce``, the mean squared
        calibration error over `MSCE_LEVELS` for all points pooled; ``crps``, ``interval_score``,
        ``log_score`` and ``rmsle`` (root mean square of ``log_error``) with standard errors
        ``*_se`` between series, nan for a single series; the Monte Carlo errors ``crps_mc`` and
        ``interval_score_mc``, averaged within a series (its points share draws, so this is an upper
        bound) and combined in quadrature over series; the mean widths.

    Examples
    --------
    >>> draws = np.exp(np.linspace(-1, 1, 101))[:, None] * np.ones(3)
    >>> points = score([1.0, 1.5, 9.0], draws, [0.0] * 3).assign(method="a", curve=[1, 1, 2])
    >>> row = summarise(points, "method", series="curve").iloc[0]
    >>> int(row.n), int(row.n_series), float(row.coverage90), float(row.coverage90_se)
    (3, 2, 0.5, 0.5)
    """
    by = [by] if isinstance(by, str) else list(by)
    groups = points.groupby(by, sort=False, dropna=False, observed=True)
    rows = [dict(zip(by, key, strict=True)) | _summary(part, series) for key, part in groups]
    return pd.DataFrame(rows)


def _summary(points: pd.DataFrame, series: str | None) -> dict[str, float]:
    means = _per_series(points, series)
    mean, error = means.mean(), means.sem() if len(means) > 1 else means.iloc[0] * np.nan
    out = {"n": len(points), "n_series": len(means)}
    for k in _NAMES:
        p = mean[f"inside{k}"]
        binomial = np.sqrt(p * (1 - p) / len(points))
        out[f"coverage{k}"] = p
        out[f"coverage{k}_se"] = error[f"inside{k}"] if len(means) > 1 else binomial
    out["msce"] = msce(points["pit"])
    for name in ("crps", "interval_score", "log_score", "rmsle"):
        out |= {name: mean[name], f"{name}_se": error[name]}
    for name in ("crps_mc", "interval_score_mc"):
        out[name] = float(np.sqrt((means[name] ** 2).sum(skipna=False))) / len(means)
    return out | {c: mean[c] for c in points if c.startswith("width")}


def _per_series(points: pd.DataFrame, series: str | None) -> pd.DataFrame:
    """Mean scores, a row per series."""
    label = np.zeros(len(points)) if series is None else points[series].to_numpy()
    scores = points.select_dtypes(["number", "bool"]).astype(float)
    scores["rmsle"] = points["log_error"] ** 2
    means = scores.groupby(label, sort=False, dropna=False).mean()
    means["rmsle"] = np.sqrt(means["rmsle"])
    return means


def msce(pit, levels: Sequence[float] = MSCE_LEVELS) -> float:
    """Mean squared calibration error: the squared error of coverage, averaged over `levels`.

    Parameters
    ----------
    pit : array_like, dims (point,)
        From `score`.
    levels : sequence of float
        Nominal probabilities of central intervals.

    Returns
    -------
    float

    Examples
    --------
    >>> round(msce([0.1, 0.5], levels=[0.5, 0.9]), 3)
    0.005
    """
    return float(np.mean((_coverage(pit, levels) - np.asarray(levels)) ** 2))


def reliability(
    pit, levels: Sequence[float] = MSCE_LEVELS, series: Sequence | None = None
) -> pd.DataFrame:
    """Coverage against nominal probability, with limits for calibrated forecasts.

    Parameters
    ----------
    pit : array_like, dims (point,)
        From `score`.
    levels : sequence of float
        Nominal probabilities of central intervals.
    series : array_like, dims (point,), optional
        The series of each point. Points of one series are dependent, so the limits are those for
        one independent point per series.

    Returns
    -------
    pandas.DataFrame
        A row per level: ``nominal``, ``coverage``, and ``low`` and ``high``, pointwise 95 %
        limits of the coverage of calibrated forecasts.

    Examples
    --------
    >>> reliability([0.1, 0.3, 0.5, 0.7], levels=[0.5]).round(2).values.tolist()
    [[0.5, 0.75, 0.0, 1.0]]
    """
    from scipy.stats import binom

    nominal = np.asarray(levels, dtype=float)
    n = len(pit) if series is None else len(pd.unique(np.asarray(series)))
    low, high = (binom.ppf(p, n, nominal) / n for p in (0.025, 0.975))
    return pd.DataFrame(dict(nominal=nominal, coverage=_coverage(pit, levels), low=low, high=high))


def _coverage(pit, levels) -> np.ndarray:
    """Coverage of central intervals of each probability."""
    off_centre = np.abs(np.asarray(pit, dtype=float) - 0.5)
    # A PIT value is a ratio of counts and a level a decimal fraction. Equal values may differ in
    # the last bit.
    return (off_centre[:, None] <= np.asarray(levels) / 2 + 1e-12).mean(axis=0)

"""How good forecasts were, given what happened: coverage, sharpness and proper scores.

Intervals are central (equal-tailed). Scores are on log loss, where a forecast of 4 nats and one of
0.4 count alike, except for the log score, which is the density of the loss itself.
Gneiting & Raftery 2007, doi:10.1198/016214506000001437.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayescale.errors import BayescaleError

#: Probabilities of the intervals that a table of scores shows.
LEVELS = (0.5, 0.8, 0.9, 0.95)
#: Probabilities that the mean squared calibration error averages over.
MSCE_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
#: Probability of the intervals that the interval score judges.
JUDGED = 0.9

_NAMES = {f"{100 * q:.0f}": q for q in LEVELS}


# -- one forecast, one outcome -----------------------------------------------------------------


def interval_score(truth, low, high, alpha: float) -> np.ndarray:
    """Width of a central interval of probability 1 - `alpha`, plus a penalty for misses.

    Winkler 1972; lower is better, and quoting the true quantiles is best.

    Examples
    --------
    >>> float(interval_score(3.0, 1.0, 2.0, alpha=0.1))
    21.0
    """
    miss = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return high - low + 2 / alpha * miss


def crps(truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score per point; lower is better.

    Parameters
    ----------
    truth : array, dims (point,)
    draws : array, dims (draw, point)

    Returns
    -------
    array, dims (point,)
        In the unit of `truth`; the absolute error where all draws agree.

    Examples
    --------
    >>> crps(np.array([1.0]), np.array([[0.0], [2.0]]))
    array([0.5])
    """
    return _crps(truth, _ordered(draws))


def score(truth, draws, log_density, parts: int = 4) -> pd.DataFrame:
    """Every score of every held-out point.

    Parameters
    ----------
    truth : array_like, dims (point,)
        Losses that were measured.
    draws : array_like, dims (draw, point)
        Predictive draws of the loss; chain after chain, so that blocks of draws are independent.
    log_density : array_like, dims (point,)
        Log predictive density of the loss (not of its log) at the truth.
    parts : int
        Equal blocks of draws, from whose scatter the Monte Carlo errors come: the chains.

    Returns
    -------
    pandas.DataFrame
        A row per point: ``pit``, the share of draws below the truth (half of those equal to it);
        ``inside50`` ... ``inside95``; ``width50`` ... ``width95`` of log loss and
        ``width95_loss`` in the unit of the loss; ``interval_score`` (90 %) and ``crps`` of log
        loss, with their Monte Carlo standard errors ``interval_score_mc`` and ``crps_mc``;
        ``log_score``; ``log_error``, the log of median over truth.

    Raises
    ------
    BayescaleError
        If shapes disagree, draws are fewer than `parts`, or losses are not finite and positive.

    Examples
    --------
    >>> draws = np.exp(np.linspace(-1, 1, 101))[:, None]
    >>> scores = score([1.0], draws, [0.0])
    >>> float(scores.pit[0]), round(float(scores.width90[0]), 3), bool(scores.inside50[0])
    (0.5, 1.8, True)
    """
    y, log_draws, log_density = _checked(truth, draws, log_density, parts)
    x = _ordered(log_draws)
    blocks = [_ordered(b) for b in np.array_split(log_draws, parts)] if parts > 1 else []
    below, equal = (x < y).mean(axis=0), (x == y).mean(axis=0)
    bounds = {name: _central(x, q) for name, q in _NAMES.items()}
    low95, high95 = np.exp(bounds["95"])
    return pd.DataFrame(
        {
            "pit": below + equal / 2,
            **{f"inside{k}": (low <= y) & (y <= high) for k, (low, high) in bounds.items()},
            **{f"width{k}": high - low for k, (low, high) in bounds.items()},
            "width95_loss": high95 - low95,
            "interval_score": _judged(y, x),
            "interval_score_mc": _monte_carlo_error(_judged, y, blocks),
            "crps": _crps(y, x),
            "crps_mc": _monte_carlo_error(_crps, y, blocks),
            "log_score": log_density,
            "log_error": _quantiles(x, [0.5])[0] - y,
        }
    )


def _checked(truth, draws, log_density, parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log of truth and draws, and the log density, if they can be scored at all."""
    truth, draws, log_density = (np.asarray(a, dtype=float) for a in (truth, draws, log_density))
    problems = []
    if truth.ndim != 1 or log_density.shape != truth.shape or draws.shape[1:] != truth.shape:
        problems.append(
            f"truth has shape {truth.shape}, draws {draws.shape} and log_density "
            f"{log_density.shape}: give (point,), (draw, point) and (point,)"
        )
    elif len(draws) < parts:
        problems.append(f"{len(draws)} draws do not make parts={parts} blocks")
    for name, losses in (("truth", truth), ("draws", draws)):
        if wrong := int((~(np.isfinite(losses) & (losses > 0))).sum()):
            problems.append(f"{name}: {wrong} of {losses.size} losses are not finite and positive")
    if problems:
        raise BayescaleError(problems, where="score")
    return np.log(truth), np.log(draws), log_density


def _ordered(draws: np.ndarray) -> np.ndarray:
    """Draws of each point in ascending order, sorted once for all that is asked of them."""
    return np.sort(np.ascontiguousarray(np.transpose(draws)), axis=1).T


def _quantiles(ordered: np.ndarray, probs) -> np.ndarray:
    """Quantiles of ordered draws, interpolated as ``np.quantile`` does; dims (prob, point)."""
    place = np.asarray(probs) * (len(ordered) - 1)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below)[:, None] * (ordered[above] - ordered[below])


def _central(ordered: np.ndarray, prob: float) -> np.ndarray:
    return _quantiles(ordered, [(1 - prob) / 2, (1 + prob) / 2])


def _judged(truth: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    return interval_score(truth, *_central(ordered, JUDGED), alpha=1 - JUDGED)


def _crps(truth: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Mean distance to the truth, less half the mean distance between two draws."""
    n = len(ordered)
    rank = 2 * np.arange(1, n + 1) - n - 1
    return np.abs(ordered - truth).mean(axis=0) - rank @ ordered / n**2


def _monte_carlo_error(scored, truth, blocks) -> np.ndarray:
    """Standard error of a score, from the scatter of the scores of blocks of draws."""
    if len(blocks) < 2:
        return np.full(len(truth), np.nan)
    return np.std([scored(truth, b) for b in blocks], axis=0, ddof=1) / np.sqrt(len(blocks))


# -- many --------------------------------------------------------------------------------------


def summarise(
    points: pd.DataFrame, by: str | Sequence[str], series: str | None = None
) -> pd.DataFrame:
    """Scores of many points, averaged within each series and then over series.

    A curve with a thousand checkpoints thus counts as much as one with ten, and what scatters
    between series, not between the checkpoints of one, makes the standard errors.

    Parameters
    ----------
    points : pandas.DataFrame
        Rows of `score`, and columns that say where they belong.
    by : str or sequence of str
        A row of the result for every combination of these columns.
    series : str, optional
        The column that names the series: a curve, a table, a group. Without it all points of a
        row are one series.

    Returns
    -------
    pandas.DataFrame
        The columns `by`; ``n`` points and ``n_series``; ``coverage50`` ... ``coverage95`` and
        their standard errors ``*_se`` (binomial where there is one series); ``msce``, the mean
        squared calibration error over `MSCE_LEVELS` of all points together; ``crps``,
        ``interval_score``, ``log_score`` and ``rmsle`` (root mean square of ``log_error``) with
        standard errors ``*_se`` between series, nan where there is one; the Monte Carlo errors
        ``crps_mc`` and ``interval_score_mc``, added up within a series (its points share draws:
        an upper bound) and in quadrature over series; the mean widths.

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
    """A row of mean scores for every series."""
    label = np.zeros(len(points)) if series is None else points[series].to_numpy()
    scores = points.select_dtypes(["number", "bool"]).astype(float)
    scores["rmsle"] = points["log_error"] ** 2
    means = scores.groupby(label, sort=False, dropna=False).mean()
    means["rmsle"] = np.sqrt(means["rmsle"])
    return means


def msce(pit, levels: Sequence[float] = MSCE_LEVELS) -> float:
    """Mean squared calibration error: how far coverage is from nominal, over `levels`.

    Examples
    --------
    >>> round(msce([0.1, 0.5], levels=[0.5, 0.9]), 3)
    0.005
    """
    return float(np.mean((_coverage(pit, levels) - np.asarray(levels)) ** 2))


def reliability(
    pit, levels: Sequence[float] = MSCE_LEVELS, series: Sequence | None = None
) -> pd.DataFrame:
    """Coverage against nominal probability, and where it should lie.

    Parameters
    ----------
    pit : array_like, dims (point,)
        From `score`.
    levels : sequence of float
        Nominal probabilities of central intervals.
    series : array_like, dims (point,), optional
        The series of each point. The points of one series miss together, so their number does
        not narrow the band: that of the series does.

    Returns
    -------
    pandas.DataFrame
        Per level ``nominal``, ``coverage``, and ``low`` and ``high``: pointwise 95 % limits of
        the coverage of a calibrated forecaster.

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
    """Share of the truths inside central intervals of each probability."""
    off_centre = np.abs(np.asarray(pit, dtype=float) - 0.5)
    # A pit is a ratio of counts and a level a decimal: equal ones may differ in the last bit.
    return (off_centre[:, None] <= np.asarray(levels) / 2 + 1e-12).mean(axis=0)

"""The evidence for each number of breaks in a curve, and the description of breaks in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bayescale.capabilities.break_model import BreakModel, Curve
from bayescale.inference import PosteriorSample

MAX_BREAKS = 3

#: Prior of the share of curves with breaks: Beta(1, 9). Its mean of 0.1 is the rate of breaks per
#: e-fold of public learning curves (`bayescale.model.drift`). With a mean of 0.3, more than 5 % of
#: simulated curves with drift and without breaks have P(break) > 0.5 (`benchmarks/breaks.py`).
SHARE_PRIOR = (1.0, 9.0)
#: Ratio of the prior probabilities of k + 1 breaks and of k breaks, for k >= 1.
FURTHER_BREAK = 1 / 3
#: A third break is tried only if the log evidence of two breaks is at most this much below the
#: largest log evidence of fewer breaks.
MAX_LOSS = 3.0

#: Midpoints of a grid over the share of curves with breaks.
GRID = (np.arange(200) + 0.5) / 200

#: Samples of one curve, by number of breaks and whether the model has drift.
Samples = Mapping[tuple[int, bool], PosteriorSample]


# -- evidence -----------------------------------------------------------------------------------


def sample_curve(
    curve: Curve, max_breaks: int, particles: int, seed: list[int]
) -> dict[tuple[int, bool], PosteriorSample]:
    """Posterior samples of a curve with 0, 1, ... breaks.

    Parameters
    ----------
    curve : Curve
    max_breaks : int
        Largest number of breaks. Fewer are tried if the points cannot identify them or if the
        evidence decreases.
    particles : int
        Number of particles of each sampler.
    seed : list of int
        As for `numpy.random.default_rng`.

    Returns
    -------
    dict
        The keys are (number of breaks, whether there is drift). Without drift there are at most 1
        breaks.
    """
    rng = np.random.default_rng(seed)
    samples = {
        (0, drift): BreakModel(curve, 0, drift).sample(rng, particles) for drift in (True, False)
    }
    for k in range(1, min(max_breaks, curve.max_breaks) + 1):
        if not BreakModel(curve, k).identifiable:
            break
        samples[k, True] = BreakModel(curve, k).sample(rng, particles)
        best_before = max(samples[j, True].log_evidence for j in range(k))
        if k == 1:
            samples[1, False] = BreakModel(curve, 1, drift=False).sample(rng, particles)
        elif samples[k, True].log_evidence < best_before - MAX_LOSS:
            break
    return samples


def log_evidences(samples: Samples, drift: bool = True) -> tuple[np.ndarray, float]:
    """Log evidence of each positive number of breaks, plus the log of its prior, and of no break.

    Returns
    -------
    tuple
        For 1, 2, ... breaks, (number,), empty if no break can be identified; and for no break. The
        prior is conditional on at least one break.
    """
    evidence = [
        samples[k, drift].log_evidence for k in range(MAX_BREAKS + 1) if (k, drift) in samples
    ]
    prior = FURTHER_BREAK ** np.arange(len(evidence) - 1)
    return np.array(evidence[1:]) + np.log(prior / prior.sum()), evidence[0]


def log_bayes_factor_error(samples: Samples) -> float:
    """Monte Carlo standard error of the log Bayes factor of at least one break against none; NaN if
    no break can be identified."""
    broken, _ = log_evidences(samples)
    if not len(broken):
        return np.nan
    weight = np.exp(broken - np.logaddexp.reduce(broken))
    errors = [samples[k, True].error for k in range(1, len(broken) + 1)]
    return float(np.hypot(np.sqrt(((weight * errors) ** 2).sum()), samples[0, True].error))


def bayes_factors(samples: Samples) -> dict[str, float]:
    """Log Bayes factors of drift and breaks; see `bayescale.Breaks.summary`."""
    z = {key: sample.log_evidence for key, sample in samples.items()}
    broken, unbroken = log_evidences(samples)
    return {
        "drift_over_law": z[0, True] - z[0, False],
        "break_over_law": z.get((1, False), np.nan) - z[0, False],
        "break_over_drift": np.logaddexp.reduce(broken) - unbroken if len(broken) else np.nan,
        "mcse": log_bayes_factor_error(samples),
    }


def share_posterior(evidences: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """Posterior probabilities of the share of curves with breaks on `GRID`, from the
    `log_evidences` of all curves; (grid,)."""
    a, b = SHARE_PRIOR
    log = (a - 1) * np.log(GRID) + (b - 1) * np.log1p(-GRID)
    for broken, unbroken in evidences:
        if len(broken):
            at_least_one = np.logaddexp.reduce(broken)
            log += np.logaddexp(np.log(GRID) + at_least_one, np.log1p(-GRID) + unbroken)
    weight = np.exp(log - log.max())
    return weight / weight.sum()


def number_posterior(broken: np.ndarray, unbroken: float, share, weight) -> np.ndarray:
    """Posterior probabilities of 0, 1, ... breaks.

    Parameters
    ----------
    broken, unbroken
        As returned by `log_evidences`.
    share, weight : (grid,)
        Values of the share of curves with breaks, and their probabilities.

    Returns
    -------
    numpy.ndarray
        (`MAX_BREAKS` + 1,); NaN if no break can be identified.
    """
    if not len(broken):
        return np.full(MAX_BREAKS + 1, np.nan)
    out = np.zeros(MAX_BREAKS + 1)
    total = np.logaddexp(np.log(share) + np.logaddexp.reduce(broken), np.log1p(-share) + unbroken)
    by_share = np.exp(np.log(share)[:, None] + broken - total[:, None])
    out[1 : 1 + len(broken)] = weight @ by_share
    out[0] = 1 - out[1:].sum()
    return out


# -- the largest break, in words ---------------------------------------------------------------

KINDS = ("start", "step", "bend")
#: A break is a step if more than the share `STEP_SHARE` of the change of the score occurs within
#: the share `STEP_RANGE` of the range of log x, without margins of `STEP_MARGIN` at both ends.
#: Otherwise it is a start if less than `START_SHARE` of the change occurs before it, and else a
#: bend.
START_SHARE, STEP_SHARE, STEP_RANGE, STEP_MARGIN = 0.15, 0.6, 1 / 5, 1 / 10
INTERVALS = 60  # number of intervals of the grid on which a curve is classified


def largest_break(model: BreakModel, positions, coefficients) -> pd.DataFrame:
    """The break with the largest change of slope, one row per draw; see `bayescale.Breaks.places`.

    Parameters
    ----------
    model : BreakModel
        A model with at least one break.
    positions : (draw, dimension)
    coefficients : (draw, coefficient)
    """
    locations, widths = model.locations(positions), model.widths(positions)
    first_slope, changes = model.slopes(positions, coefficients)
    row = np.arange(len(positions))
    largest = abs(changes).argmax(axis=1)
    earlier = (changes * (locations < locations[row, largest][:, None])).sum(axis=1)
    before = first_slope + earlier
    return pd.DataFrame(
        {
            "x": np.exp(locations[row, largest] + model.curve.middle),
            "width": widths[row, largest],
            "before": before,
            "after": before + changes[row, largest],
            "kind": classify(model, positions, coefficients, locations),
        }
    )


def classify(model: BreakModel, positions, coefficients, locations) -> np.ndarray:
    """The kind of break (`KINDS`) for each draw, from the position of the changes of the score.

    Parameters
    ----------
    model : BreakModel
    positions : (draw, dimension)
    coefficients : (draw, coefficient)
    locations : (draw, break)
        Locations of the breaks in s.

    Returns
    -------
    numpy.ndarray of str
        (draw,)
    """
    curve = model.curve
    grid = np.linspace(curve.start, curve.end, INTERVALS + 1)
    eta = model.eta(positions, coefficients, grid, np.full(len(grid), -1))
    score = curve.metric.mean(eta, model.hyperparameters(positions))
    change = abs(np.diff(score, axis=1)).cumsum(axis=1)
    change = np.concatenate([np.zeros((len(score), 1)), change], axis=1)
    change /= np.maximum(change[:, -1:], 1e-300)
    first = np.searchsorted(grid, locations.min(axis=1)) - 1
    before = change[np.arange(len(positions)), first]
    width, margin = round(STEP_RANGE * INTERVALS), round(STEP_MARGIN * INTERVALS)
    within = (change[:, width:] - change[:, :-width])[:, margin:-margin].max(axis=1)
    return np.where(within > STEP_SHARE, "step", np.where(before < START_SHARE, "start", "bend"))

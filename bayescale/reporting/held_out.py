"""How forecasts would have held on these runs: the smaller half is fitted, the rest forecast."""

from __future__ import annotations

import warnings

import numpy as np

from bayescale.errors import BayescaleError
from bayescale.evaluation import Rollout, rollout
from bayescale.forecasting import Average, fits_of
from bayescale.model import Fit

#: Fewest runs in each half, of each series that is fitted separately.
FEWEST = 6


def held_out_half(
    fit: Fit | Average, *, draws: int = 500, progressbar: bool | None = None
) -> Rollout | str:
    """Fit the smaller half of the runs by the laws of a fit, and forecast the others.

    Parameters
    ----------
    fit : Fit or Average
        Of an average, the laws are mixed with the weights that all runs gave them.
    draws : int
        Posterior draws per chain.
    progressbar : bool, optional

    Returns
    -------
    Rollout or str
        A sentence with the reason if there are too few runs. With groups, each group is fitted
        by itself, without pooling, because this takes seconds; with several group columns there
        is only a sentence.
    """
    if reason := why_not_held_out(fit):
        return reason
    runs = fit.runs
    column, threshold, each = _split(fit)
    laws = list(fits_of(fit).values())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the table has the convergence of each fit
            held = rollout(
                runs,
                [member.law for member in laws],
                above=[threshold],
                column=column,
                each=each,
                draws=draws,
                baselines=False,
                random_seed=fit.random_seed,
                progressbar=progressbar,
            )
            if len(laws) > 1:
                held = held.mixed({m.law.name: fit.weights[n] for n, m in fit.used.items()})
    except BayescaleError as error:
        return f"No runs were held out: {error}."
    return held


def why_not_held_out(fit: Fit | Average) -> str:
    """Why no runs are held out, as a sentence; empty if they are."""
    runs = fit.runs
    if len(fit.groups) > 1:
        return "No runs were held out, because there are several columns of groups."
    if "series" in runs:
        return "No runs were held out, because the runs are checkpoints of learning curves."
    column, threshold, each = _split(fit)
    labels = runs.table[each] if each else np.zeros(len(runs))
    counts = [
        min((part < threshold).sum(), (part >= threshold).sum())
        for _, part in runs.table[column].groupby(np.asarray(labels))
    ]
    if min(counts) >= FEWEST:
        return ""
    return (
        f"No runs were held out, because there are too few: at least {FEWEST} below and above "
        f"the median of {column} are needed{f' for each {each}' if each else ''}."
    )


def _split(fit: Fit | Average) -> tuple[str, float, str | None]:
    """The column that divides the runs, its value, and the column of groups."""
    column = "C" if "C" in fit.runs else fit.law.columns[0]
    sizes = np.sort(fit.runs.table[column].to_numpy(float))
    each = fit.groups[0] if len(fit.groups) == 1 else None
    return column, float(sizes[len(sizes) // 2]), each

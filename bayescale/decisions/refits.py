"""The variance at a target that a refit to further runs is expected to have.

A refit to a table of finished runs does not infer the drift. It lets the drift begin at a high
quantile of the scales of all runs, which further runs move outwards or inwards. The variance that a
refit removes is therefore that of the parameters and of the law, and of the part of the drift that
lies before the new start. That of the discrepancy is taken to fall in the same proportion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayescale.decisions.beliefs import columns_of, joint_draws
from bayescale.forecasting import Average, ahead_of
from bayescale.model import Fit, drift_variance
from bayescale.model import drift as drifts

#: A refit is taken to leave at least this share of the variance.
SMALLEST = 1e-4


def after_refits(
    belief: Fit | Average,
    candidates: pd.DataFrame,
    target: pd.DataFrame,
    order: Sequence[int],
    before: np.ndarray,
    noise,
    group,
    seed: int,
    has_runs: bool,
) -> np.ndarray:
    """The variances of log loss at targets in refits to the known runs and the first chosen ones.

    Parameters
    ----------
    belief : Fit or Average
        Its drift begins beyond the runs.
    candidates, target : pandas.DataFrame
    order : sequence of int
        Rows of the candidates, in order of choice.
    before : numpy.ndarray
        Variances without further runs, dims (target,).
    noise : callable
        The variance of the noise of each run, from its draws.
    group
        As in `bayescale.suggest`.
    seed : int
    has_runs : bool
        Whether there are known runs, or only the chosen ones.

    Returns
    -------
    numpy.ndarray
        Dims (number of chosen runs, from 0; target).
    """
    used, place = np.unique(np.asarray(order, int), return_inverse=True)
    drawn, at_target = joint_draws(
        belief, [candidates.iloc[used].reset_index(drop=True), target], group, seed, "off"
    )
    law = _updated(drawn["centre"], at_target["centre"], noise(drawn), place)
    average = isinstance(belief, Average)
    members = belief.used if average else {belief.law.name: belief}
    weights = belief.weights if average else {belief.law.name: 1.0}
    drift = np.zeros_like(law)
    runs, _ = columns_of(belief, candidates, group)
    columns, labels = columns_of(belief, target, group)
    for name, fit in members.items():
        known = {c: np.asarray(fit.plan.columns[c]) for c in fit.law.columns}
        edges = [drifts.Edge.of(fit.law, known)]
        for k in range(len(order)):
            added = {c: runs[c][list(order[: k + 1])] for c in known}
            after = {c: np.r_[known[c], v] for c, v in added.items()} if has_runs else added
            edges.append(drifts.Edge.of(fit.law, after))
        drift += weights[name] * drift_variance(
            fit.posterior,
            fit.plan,
            columns,
            labels,
            np.random.default_rng(seed),
            ahead=ahead_of(fit, average and len(members) > 1),
            edges=edges,
        )
    # As a ratio, because draws of the drift have heavy tails and `before` is an estimate.
    return before * np.maximum((law + drift) / (law[0] + drift[0]), SMALLEST)


def _updated(runs: np.ndarray, targets: np.ndarray, noise: np.ndarray, order) -> np.ndarray:
    """Variances of jointly normal targets before and after each observation."""
    runs, targets = runs - runs.mean(axis=0), targets - targets.mean(axis=0)
    samples = len(runs) - 1
    between, across = runs.T @ runs / samples, runs.T @ targets / samples
    out = [(targets**2).sum(axis=0) / samples]
    for i in order:
        total = between[i, i] + noise[i]
        along, with_targets = between[:, i].copy(), across[i].copy()
        out.append(np.maximum(out[-1] - with_targets**2 / total, 0.0))
        across = across - np.outer(along, with_targets) / total
        between = between - np.outer(along, along) / total
    return np.array(out)

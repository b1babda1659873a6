"""The error of the law in small runs.

No law holds exactly over all scales. Beyond the runs the drift describes how the law fails; here
the law may also fail towards small scales, so that the large runs, which are nearest to the runs
that are forecast, decide where the small ones disagree with them. The log loss of a run below the
edge of the runs (`bayescale.model.drift.Edge`) has an error whose standard deviation is that of the
drift between the run and the edge: it is proportional to the change of log loss between them, and
has the mean of a random walk over this distance.

Errors of neighbouring runs resemble each other, so that many runs of one scale say no more about
the law than a few. Instead of their correlation, the variance of each error is multiplied by the
number of runs nearby. The mean of the errors of a crowd then has the variance of one error. With
errors correlated by a Gaussian process medians are no better on the tables of
`benchmarks/family.py`, and intervals hold less often.

The change of log loss is that of a power law fitted by least squares, not that of the law: the size
of the errors is then known before the parameters, equal for all laws that are compared, and no
parameter can make the errors small.

The errors belong to the form of the law, not to a group. With groups they would have to be common
to the groups, as the discrepancy is; there, and along learning curves, the model has none.

`by_default` tells which laws have them unless the user decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bayescale.laws import Law
from bayescale.model.drift import NEGLIGIBLE

#: Standard deviation of the random walk per square root of an e-fold. Chosen together with
#: `NEARBY` and the drift beyond the runs; see `benchmarks/family.py`.
SIZE = 0.03
#: Runs within about this many e-folds in every column count as near.
NEARBY = 1.0
#: Runs whose neighbours are counted at once, and among how many.
AT_ONCE, AMONG = 1_000, 4_000


def by_default(laws: Sequence[Law]) -> bool:
    """Whether laws that are fitted to the same runs have such errors by default.

    Several laws of N and D alone have them. One that is fitted by itself holds for all runs, as in
    papers, so that its constants can be compared with theirs. Laws of other regimes do not have
    them: held-back runs are forecast about equally well, fewer of them lie inside their intervals,
    and posteriors of laws with many parameters are then not calibrated (`benchmarks/gallery.py`,
    `benchmarks/calibration.py`).
    """
    return len(laws) > 1 and all(law.allocates for law in laws)


def slope(law: Law, columns: Mapping[str, np.ndarray], log_loss: np.ndarray) -> float:
    """The mean change of log loss per e-fold of scale, if all sizes grow by one factor, without its
    sign."""
    logs = np.column_stack([np.log(columns[c]) for c in law.columns])
    centred = logs - logs.mean(axis=0)
    # Of columns that move together the solution of least norm shares the change among them.
    each, *_ = np.linalg.lstsq(centred, log_loss - log_loss.mean(), rcond=1e-6)
    of_sizes = [v for c, v in zip(law.columns, each, strict=True) if c in law.sizes]
    return float(abs(np.mean(of_sizes)))


def unit_errors(law: Law, columns: Mapping[str, np.ndarray], start: float) -> np.ndarray:
    """Standard deviation of the error of log loss, for a slope of one; (run,).

    A walk that starts with the variance of one e-fold has a mean over a distance d with the
    variance 1 + d / 3.

    Parameters
    ----------
    columns : mapping of str to array (run,)
    start : float
        Log scale of the edge. Runs beyond it have no error.
    """
    distance = start - law.log_scale(columns)
    distance = np.where(distance > NEGLIGIBLE, distance, 0.0)
    return SIZE * distance * np.sqrt(1 + distance / 3)


def crowds(law: Law, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The number of runs near each run, itself included; (run,)."""
    x = np.column_stack([np.log(columns[c]) for c in law.columns]) / NEARBY
    among = x
    if len(x) > AMONG:
        among = x[np.random.default_rng(0).choice(len(x), AMONG, replace=False)]
    parts = [
        np.exp(-((x[i : i + AT_ONCE, None] - among) ** 2).sum(axis=-1) / 2).sum(axis=1)
        for i in range(0, len(x), AT_ONCE)
    ]
    return np.maximum(np.concatenate(parts) * (len(x) / len(among)), 1.0)

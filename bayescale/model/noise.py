"""Noise of log loss: its scale, how it depends on the loss, and its correlation along a series.

Checkpoints of one run are correlated. In units of its scale the noise along a series is an
Ornstein-Uhlenbeck process in log scale: the correlation of two checkpoints is exp(-gap / memory),
where the gap is their distance in e-folds. Given the checkpoint before it, a checkpoint therefore
has the conditional mean `correlation` times the earlier residual, and the conditional scale
`unexplained(correlation)`. All functions serve numpy arrays, xarray objects and PyTensor graphs.
"""

from __future__ import annotations

import numpy as np

from bayescale.priors import Positive, Prior, Real

#: Scale and tail of the noise on log loss. Replicates scatter by 0.02-1 %, a good law leaves
#: 0.3-1 %, unusual recipes 2-3 %; residuals of published sweeps are Student-t with nu of 2 to 4.
NOISE: dict[str, Prior] = dict(
    sigma=Positive(0.007, spread=2.5, between=1.5), nu=Positive(6.0, spread=2.2)
)
POOLING = dict(sigma="partial")

#: Where noise depends on the loss: log of its factor from the middle to either end of the observed
#: losses. Replicates of published sweeps scatter up to 20 times more at the high end.
TREND = Real(0.0, sd=0.7)

#: E-folds of scale over which the correlation of checkpoints falls by 1/e. Neighbouring checkpoints
#: of long runs are a hundredth to a tenth of an e-fold apart.
MEMORY = Positive(0.1, spread=2.7)

#: Forms of the noise that a user may ask for.
KINDS = ("even", "by_loss")

#: A gap in e-folds beyond which no correlation is left, whatever the memory.
LONG = 1e6
#: Checkpoints of a series that are no further apart, in e-folds, are at the same scale.
SAME = 1e-6


def factor(trend, log_loss, loss_range):
    """Factor on the noise scale at a log loss.

    exp(-trend) at the lowest and exp(trend) at the highest observed log loss (`loss_range`), and
    constant beyond them: a trend of the noise that continued would make intervals vanish or
    explode.
    """
    low, high = loss_range[0], loss_range[1]
    place = (2 * log_loss - low - high) / (high - low)
    return np.exp(trend * (abs(place + 1) - abs(place - 1)) / 2)


def correlation(gap, memory):
    """Correlation of the noise of two checkpoints `gap` e-folds apart."""
    return np.exp(-gap / memory)


def unexplained(correlation):
    """Scale of a checkpoint's noise given the checkpoint before it, relative to its own scale."""
    return np.sqrt(1 - correlation**2)


def innovation(value, before, correlation):
    """The part of a standardised residual that the checkpoint before it does not explain.

    Independent and of unit scale if the noise is as assumed. Linear in the residuals, so it applies
    to the basis of a drift as well.
    """
    return (value - correlation * before) / unexplained(correlation)

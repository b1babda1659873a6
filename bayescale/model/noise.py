"""Noise of log loss: its scale, how it depends on the loss, and its correlation along a series.

The noise of checkpoints of one run is correlated. Divided by its scale, the noise along a series is
an Ornstein-Uhlenbeck process in log scale. The correlation of two checkpoints is
exp(-gap / memory), where the gap is their distance in e-folds. Given the previous checkpoint, the
standardised noise of a checkpoint therefore has the mean `correlation` times the previous residual,
and the scale `unexplained(correlation)`. All functions accept numpy arrays, xarray objects and
PyTensor graphs.
"""

from __future__ import annotations

import numpy as np

from bayescale.priors import Fixed, Positive, Prior, Real, from_link

#: Scale and degrees of freedom of the Student-t noise of log loss. The scatter of replicates is
#: 0.02 to 1 %, that of residuals of a law that fits well 0.3 to 1 %, and that of unusual training
#: recipes 2 to 3 %. Residuals of published sweeps have `nu` of 2 to 4.
NOISE: dict[str, Prior] = dict(
    sigma=Positive(0.007, spread=2.5, between=1.5), nu=Positive(6.0, spread=2.2)
)
POOLING = dict(sigma="partial")

#: With ``noise="by_loss"``: the log of the ratio of the noise scale at the highest observed loss to
#: that in the middle of the observed range of log loss. In published sweeps, the scatter of
#: replicates is up to 20 times larger at the high end than at the low end.
TREND = Real(0.0, sd=0.7)

#: E-folds of scale over which the correlation of checkpoints falls by a factor e. The gaps between
#: neighbouring checkpoints of long runs are 0.01 to 0.1 e-folds.
MEMORY = Positive(0.1, spread=2.7)

#: Values of ``noise=`` in `bayescale.fit`.
KINDS = ("even", "by_loss")

#: Largest finite gap in e-folds; the correlation over it is zero for any plausible memory.
LONG = 1e6
#: Checkpoints of a series with a gap of at most this, in e-folds, count as at the same scale.
SAME = 1e-6


def factor(trend, log_loss, loss_range):
    """Factor on the noise scale at a log loss.

    The factor is exp(-trend) at the lowest and exp(trend) at the highest observed log loss
    (`loss_range`). Its log is linear between them. Beyond them it is constant, because an
    extrapolated trend would make intervals extremely narrow or wide.
    """
    low, high = loss_range[0], loss_range[1]
    place = (2 * log_loss - low - high) / (high - low)
    return np.exp(trend * (abs(place + 1) - abs(place - 1)) / 2)


def correlation(gap, memory):
    """Correlation of the noise of two checkpoints `gap` e-folds apart."""
    return np.exp(-gap / memory)


def unexplained(correlation):
    """Conditional noise scale given the previous checkpoint, relative to the marginal scale."""
    return np.sqrt(1 - correlation**2)


def unseen(prior: Prior, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of the noise scale of a measurement from its prior; (draw,).

    This is for series of running minima or smoothed losses. Their residuals are no larger than
    those of single measurements, of which they tell nothing else. A measurement then scatters by
    the larger of the fitted scale and such a draw, independently of the fitted checkpoints.
    """
    if isinstance(prior, Fixed):
        return np.full(draws, prior.median)
    return from_link(prior.link, prior.centre + prior.width * rng.standard_normal(draws))


def innovation(value, previous, correlation):
    """The innovation of a standardised residual given the previous checkpoint.

    Innovations are independent and have unit scale under the noise model. They are linear in the
    residuals, so the function also transforms the basis of a drift.
    """
    return (value - correlation * previous) / unexplained(correlation)

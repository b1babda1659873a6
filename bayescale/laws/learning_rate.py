"""Learning rate and batch size: a bowl around an optimum that depends on N and D.

Li et al. 2025 (Step Law), arXiv:2503.04715. Their optimum for 1B parameters and 100B tokens:

>>> lr, batch = 1.79 * 1e9**-0.713 * 1e11**0.307, 0.58 * 1e11**0.571
>>> f"{lr:.2g}, {batch:.2g} tokens"
'0.0016, 1.1e+06 tokens'

A learning rate above the optimum costs more than one as far below it (`linex`). Here are the costs
of a quarter and of four times the best learning rate, in per cent of the loss:

>>> x = np.log([0.25, 4.0])
>>> (100 * 0.01 * linex(x, skew=1.5)).round(1).tolist()
[1.1, 4.4]
"""

import numpy as np

from bayescale.laws.base import TWO_POWERS, Law
from bayescale.priors import Positive, Real


def linex(x, skew):
    """A bowl that rises exponentially to the right and linearly to the left (Varian 1975).

    Its minimum is 0 at 0, where it is `x` squared up to terms of higher order.
    """
    return 2 * (np.exp(skew * x) - 1 - skew * x) / skew**2


def loss(N, D, lr, batch, *, E, A, B, alpha, beta, narrow_lr, narrow_batch, best_lr, lr_N, lr_D,
         lr_batch, best_batch, batch_D, skew, narrow_N):  # fmt: skip
    """The loss at the best learning rate and batch size is that of Hoffmann et al. Away from it the
    loss rises: by a quadratic in the log batch size, and more steeply above the best log learning
    rate than below. `lr_batch` is the slope of the best log learning rate in the log batch size,
    and `narrow_N` the exponent of N in the rise away from the best learning rate."""
    n, d = np.log(N), np.log(D)
    off_batch = np.log(batch) - np.log(best_batch) - batch_D * d
    off_lr = np.log(lr) - np.log(best_lr) - lr_N * n - lr_D * d - lr_batch * off_batch
    narrow = narrow_lr * N**narrow_N
    rise = narrow * linex(off_lr, skew) + narrow_batch * off_batch**2
    return (E + A * N**-alpha + B * D**-beta) * (1 + rise)


def constants(N, D, lr, batch, *, E, A, B, alpha, beta, narrow_lr, narrow_batch, best_lr, lr_N,
              lr_D, lr_batch, best_batch, batch_D, skew, narrow_N):  # fmt: skip
    return {
        "A": A * N**alpha,
        "B": B * D**beta,
        "narrow_lr": narrow_lr * N**-narrow_N,
        "best_lr": best_lr * lr * N**-lr_N * D**-lr_D,
        "best_batch": best_batch * batch * D**-batch_D,
    }


learning_rate_batch = Law(
    name="learning_rate_batch",
    loss=loss,
    constants=constants,
    priors=dict(
        **TWO_POWERS,
        # Twice or half the best value costs 0.1 to 5 % of the loss.
        narrow_lr=Positive(0.015, spread=3.0),
        narrow_batch=Positive(0.01, spread=3.0),
        # In units of the centre of the sweep.
        best_lr=Positive(1.0, spread=2.5),
        # Published slopes: -0.71 to -0.23 in N, -0.32 to 0.31 in D, 0.57 of the batch in D.
        lr_N=Real(-0.4, sd=0.4),
        lr_D=Real(0.0, sd=0.4),
        lr_batch=Real(0.3, sd=0.4),
        best_batch=Positive(1.0, spread=2.5),
        batch_D=Real(0.5, sd=0.3),
        # Four times the best learning rate costs 1.2 to 20 times as much as a quarter of it.
        skew=Positive(0.7, spread=2.5),
        # The width of the bowl can depend on model size.
        narrow_N=Real(0.0, sd=0.3),
    ),
    settings=("lr", "batch"),
    reference="Li et al. 2025 (Step Law), arXiv:2503.04715",
    regime="learning rate and batch size",
    formula="(E + A * N**-alpha + B * D**-beta) * "
    "(1 + narrow_lr * N**narrow_N * z + narrow_batch * y**2)"
    "  with  y = log(batch) - log(best_batch) - batch_D * log(D),"
    "  x = log(lr) - log(best_lr) - lr_N * log(N) - lr_D * log(D) - lr_batch * y,"
    "  z = 2 * (exp(skew * x) - 1 - skew * x) / skew**2",
    use="Sweeps of learning rate and batch size at several N and D. The best learning rate and "
    "the best batch size are powers of N and D. Li et al. 2025 find lr_N = -0.713, lr_D = "
    "0.307 and batch_D = 0.571.",
)

"""Learning-rate schedules: laws of the loss at any step, from columns of the schedule.

Tissue et al. 2024, arXiv:2408.11029, and the multi-power law of Luo et al. 2025, arXiv:2503.12811.
`schedule_columns` computes their columns from the learning rate of each step. Ten thousand steps at
a constant rate, and the same with a decay over the last two thousand:

>>> constant = np.full(10_000, 1e-3)
>>> decay = constant * np.minimum(1, (10_000 - np.arange(10_000)) / 2_000)
>>> for lr in (constant, decay):
...     columns = schedule_columns(lr, at=[9_999])
...     print({name: values.round(2).tolist() for name, values in columns.items()})
{'S1': [10.0], 'annealed': [1.0], 'decayed': [1.0]}
{'S1': [9.0], 'annealed': [1.57], 'decayed': [1.87]}
"""

import numpy as np

from bayescale.laws.base import Law, Published
from bayescale.priors import Fraction, Positive

#: The unit of `decayed`, a learning rate.
UNIT = 1e-3
#: C, beta and gamma of the multi-power law: means over the three models of Luo et al., whose
#: constants differ by 5 % (C), 3 % (beta) and 3 % (gamma).
MULTI_POWER = dict(C=2.077, beta=0.592, gamma=0.644)
#: Decreases of the learning rate are summed over at most this many parts of the schedule.
PARTS = 4_000
#: Numbers in one array.
CHUNK = 2_000_000


def loss(S1, share, *, E, A, alpha, drop):
    """`A` is the reducible loss at the reference scale. `drop` is the share of `E` that is gained
    when `share`, which is 1 before any annealing, has risen to 2."""
    return E * (1 - drop * (share - 1)) + A * S1**-alpha


def constants(S1, share, *, E, A, alpha, drop):
    return {"A": A * S1**alpha}


def schedule_columns(lr, *, at=None, memory=0.999):
    """Columns of the laws of schedules, from the learning rate of each step.

    Parameters
    ----------
    lr : array_like
        The learning rate of every step, from the first step of training; dims (step,).
    at : array_like of int, optional
        The steps, counted from 0, at which columns are computed, such as those of evaluations; all
        by default.
    memory : float
        The decay lambda of the momentum of annealing, for ``annealed``: 0.99 to 0.999 according to
        Tissue et al.

    Returns
    -------
    dict of str to numpy.ndarray
        Dims (step in `at`,). ``S1``: the sum of the learning rates up to the step. ``annealed``: 1
        plus the annealing area S2 of Tissue et al. ``decayed``: 1 plus the loss reduction of the
        multi-power law without its factor B, per learning rate of 1e-3. Both are 1 as long as the
        learning rate has not fallen from its first maximum.

    Raises
    ------
    ValueError
        If `lr` is not a sequence of finite numbers that are not negative, the first steps sum to 0,
        `memory` is not between 0 and 1, or `at` has steps that `lr` has not.

    Examples
    --------
    >>> lr = np.linspace(1e-3, 1e-4, 1001)
    >>> frame = schedule_columns(lr, at=[0, 500, 1000])
    >>> frame["S1"].round(3).tolist(), frame["annealed"].round(3).tolist()
    ([0.001, 0.388, 0.551], [1.0, 1.096, 1.331])
    """
    lr = np.asarray(lr, float)
    steps = np.arange(len(lr)) if at is None else np.atleast_1d(np.asarray(at, int))
    if lr.ndim != 1 or not len(lr) or not (np.isfinite(lr) & (lr >= 0)).all() or not lr[0] > 0:
        raise ValueError("lr: give the learning rate of each step, finite and above 0 at the first")
    if not 0 < memory < 1:
        raise ValueError(f"memory is {memory!r}: give a number between 0 and 1, such as 0.999")
    if len(steps) and not (steps.min() >= 0 and steps.max() < len(lr)):
        raise ValueError(f"at: steps are counted from 0 to {len(lr) - 1}")
    area = np.cumsum(lr)
    fall = np.concatenate([[0.0], -np.diff(lr)])
    fall[: lr.argmax() + 1] = 0  # warm-up
    momentum, momenta = 0.0, np.zeros(len(lr))
    for step, change in enumerate(fall):
        momentum = memory * momentum + change
        momenta[step] = momentum
    annealed = 1 + np.cumsum(momenta)
    reduction = _reduction(lr, area, fall, steps)
    return {"S1": area[steps], "annealed": annealed[steps], "decayed": 1 + reduction / UNIT}


def _reduction(lr, area, fall, steps):
    """The sum over decreases of the learning rate in the multi-power law, at `steps`."""
    C, beta, gamma = (MULTI_POWER[name] for name in ("C", "beta", "gamma"))
    places = np.flatnonzero(fall)
    out = np.zeros(len(steps))
    if not len(places):
        return out
    # A long decay is summed over parts, each at its middle.
    parts = np.array_split(places, min(len(places), PARTS))
    size = np.array([fall[p].sum() for p in parts])
    middle = np.array([p[len(p) // 2] for p in parts])
    rate = np.maximum(lr[middle], 1e-12) ** -gamma
    rows = max(1, CHUNK // len(parts))
    for first in range(0, len(steps), rows):
        now = steps[first : first + rows]
        since = area[now][:, None] - area[middle] + lr[middle]
        # Steps before a decrease have seen none of it.
        gone = np.where(
            now[:, None] >= middle, 1 - (C * rate * np.maximum(since, 0) + 1) ** -beta, 0
        )
        out[first : first + rows] = gone @ size
    return out


SHARED = dict(
    loss=loss,
    constants=constants,
    priors=dict(
        # As in `power`, in units of the typical loss; losses of long curves are near the floor.
        E=Positive(0.75, spread=1.4, between=1.1, of="loss"),
        A=Positive(0.2, spread=2.0, between=1.2, of="loss"),
        alpha=Positive(0.5, spread=1.6, between=1.2),
        drop=Fraction(0.08, spread=2.5),
    ),
    falling=("S1",),
    regime="learning-rate schedule",
)
REFERENCE = "Luo et al. 2025 (multi-power law), arXiv:2503.12811"

annealing = Law(
    name="annealing",
    columns=("S1", "annealed"),
    units={"annealed": 1},
    settings=("annealed",),
    reference="Tissue et al. 2024, arXiv:2408.11029",
    formula="E * (1 - drop * (annealed - 1)) + A * S1**-alpha",
    use="The loss at any step of training, under several learning-rate schedules. S1 is the sum "
    "of the learning rates up to the step, and annealed is 1 plus the annealing area S2 of "
    "the paper. `bs.schedule_columns` computes both from the learning rate of each step. drop"
    " * E is the constant C of the paper.",
    **SHARED,
)

multi_power = Law(
    name="multi_power",
    columns=("S1", "decayed"),
    units={"decayed": 1},
    settings=("decayed",),
    reference=REFERENCE,
    published={
        key: Published(
            f"Luo et al. 2025, {size} parameters, with the mean C, beta and gamma of three models",
            dict(E=E, A=A, alpha=alpha, drop=B * UNIT / E),
            REFERENCE,
        )
        for key, size, E, A, alpha, B in (
            ("25M", "25M", 3.040, 0.525, 0.508, 363.788),
            ("100M", "100M", 2.651, 0.601, 0.453, 437.946),
            ("400M", "400M", 2.375, 0.654, 0.429, 523.425),
        )
    },
    formula="E * (1 - drop * (decayed - 1)) + A * S1**-alpha",
    use="As `annealing`, but the reduction of the loss that follows each decrease of the learning"
    " rate saturates. decayed is 1 plus this reduction without the constant B of the paper, "
    "which is drop * E. `bs.schedule_columns` computes it for learning rates in units of "
    "0.001, with C = 2.077, beta = 0.592 and gamma = 0.644.",
    **SHARED,
)

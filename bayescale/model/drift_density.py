"""The log density of runs with a drift through them, in numpy, at many parameter values at once.

The steps of the drift are integrated out, as in `bayescale.model.pymc_model`: by the matrices of
all knots, or for one curve by a Kalman filter, which takes a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from bayescale.model import drift as drifts
from bayescale.model import noise
from bayescale.model.design import Design

#: Most runs whose matrices are made at once.
BLOCK = 400
#: Standardised residuals or drifts above this are filtered run by run: differences of their sums of
#: squares would be rounding errors.
LARGEST = 1e5
#: Added to the unit diagonal of matrices that rounding has made singular.
JITTER = 1e-9


class LogColumn(np.ndarray):
    """A column of runs whose powers are computed from its logarithm, in half the time."""

    def __new__(cls, log: np.ndarray):
        column = np.exp(log).view(cls)
        column.log = log
        return column

    def __pow__(self, exponent):
        log = getattr(self, "log", None)
        return np.power(np.asarray(self), exponent) if log is None else np.exp(log * exponent)


def through(plan: Design, arrays: Mapping[str, np.ndarray]) -> Filter | Matrices:
    """The density of a design with a drift through its runs.

    Parameters
    ----------
    plan : Design
        With the runs of each series together, in the order of their scale.
    arrays : mapping
        `Design.arrays`.

    Returns
    -------
    callable
        Of the parameters of the law and the size of the drift, (n, 1) or (n, run) each; the log
        loss of the law and the standardised residuals, (n, run); the noise scale, (n, 1) or
        (n, run); the correlations along the series, (n, run), or None. It returns the log density,
        (n,). Its attribute `numbers` is the size of its arrays for one draw.
    """
    return Filter(plan, arrays) if is_one_curve(plan) else Matrices(plan, arrays)


def is_one_curve(plan: Design) -> bool:
    """Whether the drift is that of one curve: one column, and at most one series."""
    if plan.groups or len(plan.law.columns) > 1:
        return False
    return not plan.has_series or plan.runs.table["series"].nunique() == 1


class Matrices:
    """The density by the matrices of all knots.

    The runs are divided into blocks, so that the arrays of a block stay in the cache of a
    processor.
    """

    def __init__(self, plan: Design, arrays: Mapping[str, np.ndarray]):
        self.law, self.cells = plan.law, len(plan.cells)
        runs = len(plan.runs)
        size = -(-runs // -(-runs // BLOCK))
        self.blocks = [
            _Block(plan, arrays, start, min(start + size, runs)) for start in range(0, runs, size)
        ]
        self.numbers = size * drifts.KNOTS

    def __call__(self, of_law, size, mean, residual, scale, correlation) -> np.ndarray:
        n, runs = residual.shape
        total = np.broadcast_to(-np.log(scale), residual.shape).sum(axis=1)
        total -= 0.5 * np.log(2 * np.pi) * runs
        per_unit = size / scale
        unit = None
        if correlation is not None:
            unit = noise.unexplained(correlation)
            total -= np.log(unit).sum(axis=1)
            unit = 1 / unit
        products = np.zeros((self.cells, n, drifts.KNOTS + 1, drifts.KNOTS + 1))
        for block in self.blocks:
            block.add(products, self.law, of_law, mean, residual, per_unit, correlation, unit)
        for product in products:
            total += _integrated(product)
        return total


class _Block:
    """The matrices of consecutive runs."""

    def __init__(self, plan: Design, arrays: Mapping[str, np.ndarray], start: int, stop: int):
        # The innovation of the first run needs the run before.
        self.skipped = int(plan.has_series and start > 0)
        self.runs = slice(start - self.skipped, stop)
        increments = arrays["increments"][self.runs]
        # The other entries of the matrices are zero.
        run, knot = np.nonzero(increments)
        self.run, self.increment = run + self.runs.start, increments[run, knot]
        place = np.full(increments.T.shape, len(run))
        place[knot, run] = np.arange(len(run))
        self.place, self.shape = place.ravel(), place.shape
        logs = [arrays[f"log_{c}_at_knots"] for c in plan.law.columns]
        self.same_for_all = logs[0].ndim == 1
        self.knot = knot
        self.at_knots = [
            LogColumn(log if self.same_for_all else log[self.run, knot]) for log in logs
        ]
        cell = plan.cell[start:stop]
        self.cells = [(c, None if (cell == c).all() else cell == c) for c in np.unique(cell)]

    def add(self, products, law, of_law, mean, residual, per_unit, correlation, unit) -> None:
        """Add the products of the rows of the matrix: one per knot, and one for the residuals."""
        n = len(residual)
        curve = np.log(law.loss(*self.at_knots, **{p: self._at(v) for p, v in of_law.items()}))
        if self.same_for_all:
            curve = curve.take(self.knot, axis=1)
        deviation = np.zeros((n, len(self.run) + 1))
        pairs = deviation[:, :-1]
        np.subtract(mean.take(self.run, axis=1), curve, out=pairs)
        pairs *= self.increment
        pairs *= self._at(per_unit) if per_unit.shape[1] > 1 else per_unit
        rows = np.empty((n, self.shape[0] + 1, self.shape[1]))
        rows[:, :-1] = deviation.take(self.place, axis=1).reshape(n, *self.shape)
        rows[:, -1] = residual[:, self.runs]
        if correlation is not None:
            # The previous checkpoint is the previous run; the correlation of the first is zero.
            rows[..., 1:] -= correlation[:, None, self.runs][..., 1:] * rows[..., :-1]
            rows *= unit[:, None, self.runs]
            rows = rows[..., self.skipped :]
        for cell, members in self.cells:
            own = rows if members is None else rows[:, :, members]
            products[cell] += own @ own.transpose(0, 2, 1)

    def _at(self, value):
        """A value at the runs of the pairs, if it differs between runs."""
        return value[:, self.run] if np.ndim(value) == 2 and value.shape[1] > 1 else value


def _integrated(product: np.ndarray) -> np.ndarray:
    """The log density up to the noise scale, (n,), from the products of the rows of basis and
    residuals, (n, row, row), with the steps of the drift integrated out."""
    knots = product.shape[1] - 1
    precision = np.eye(knots) + product[:, :-1, :-1]
    projected, square = product[:, :-1, -1], product[:, -1, -1]
    size = np.sqrt(np.diagonal(precision, axis1=1, axis2=2))
    scaled = precision / size[:, :, None] / size[:, None, :]
    finite = np.isfinite(scaled).all(axis=(1, 2))
    scaled[~finite] = np.eye(knots)
    try:
        root = np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:  # a drift so large that rounding makes a matrix singular
        root = np.linalg.cholesky(scaled + JITTER * np.eye(knots))
    solved = np.linalg.solve(root, (projected / size)[..., None])[..., 0]
    log_det = np.log(np.diagonal(root, axis1=1, axis2=2) * size).sum(axis=1)
    return np.where(finite, 0.5 * ((solved**2).sum(axis=1) - square) - log_det, -np.inf)


class Filter:
    """The density of one curve by a Kalman filter over the stretches between knots.

    Beyond a knot the drift is its level there, plus its slope times the change of the log loss of
    the law since then; a step at a knot changes the slope. The filter follows level and slope from
    knot to knot. The runs between two knots enter together, by sums of products. Only the
    innovation of the first of them also depends on the slope before the knot.
    """

    def __init__(self, plan: Design, arrays: Mapping[str, np.ndarray]):
        self.law, self.numbers = plan.law, len(plan.runs)
        logs = [np.atleast_2d(arrays[f"log_{c}_at_knots"]) for c in plan.law.columns]
        self.at_knots = [LogColumn(log[0]) for log in logs]
        at, length = drifts.knots(plan.log_scale)
        self.unit = np.sqrt(length)
        self.order = np.argsort(plan.log_scale, kind="stable")
        passed = np.searchsorted(at, plan.log_scale[self.order], side="left")
        starts = [*np.flatnonzero(np.diff(passed, prepend=-1)), len(passed)]
        #: Of each stretch: the first run and the one after the last, and the knots passed before.
        self.stretches = [(a, b, int(passed[a])) for a, b in pairwise(starts)]

    def __call__(self, of_law, size, mean, residual, scale, correlation) -> np.ndarray:
        n, runs = residual.shape
        total = -np.broadcast_to(np.log(scale), residual.shape).sum(axis=1)
        total -= 0.5 * np.log(2 * np.pi) * runs
        curve = np.log(self.law.loss(*self.at_knots, **of_law))
        curve = np.ascontiguousarray(np.broadcast_to(curve, (n, curve.shape[1])).T)
        # A row per run. The drift is `level` times its level plus `by_law` times its slope.
        data, level, by_law = (
            np.ascontiguousarray(np.broadcast_to(v, residual.shape).T[self.order])
            for v in (residual, size / scale * self.unit, mean)
        )
        by_law *= level
        alone = level, by_law
        if correlation is not None:
            keep = np.ascontiguousarray(correlation.T[self.order])
            unit = noise.unexplained(keep)
            total -= np.log(unit).sum(axis=0)
            alone = level / unit, by_law / unit
            data, level, by_law = (_innovations(v, keep, unit) for v in (data, level, by_law))
        together = max(np.abs(data).max(), np.abs(level).max()) < LARGEST
        state, done = _State(n), 0
        for start, stop, passed in self.stretches:
            rest, last = slice(start, stop), 0.0
            if passed:
                if done:
                    state.move(curve[passed - 1] - curve[done - 1])
                last = curve[passed - 1]
                steps = [
                    (alone[1][start] - curve[i] * alone[0][start], last - curve[i])
                    for i in range(done, passed)
                ]
                x = by_law[start] - last * level[start]
                total += state.first(data[start], x, level[start], steps)
                rest = slice(start + 1, stop)
            x = by_law[rest] - last * level[rest]
            if together:
                total += state.rest(data[rest], x, level[rest])
            else:
                for one in zip(data[rest], x, level[rest], strict=True):
                    total += state.first(*one, steps=())
            done = passed
        return total


def _innovations(value: np.ndarray, keep: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Innovations of standardised values, (run, n), of which the first has no correlation."""
    out = value.copy()
    out[1:] -= keep[1:] * value[:-1]
    out /= unit
    return out


class _State:
    """Mean and covariance of the slope (w) and level (u) of a drift, (n,) each."""

    def __init__(self, n: int):
        self.w, self.u, self.ww, self.wu, self.uu = np.zeros((5, n))

    def move(self, change: np.ndarray) -> None:
        """Move the level to another place, where the log loss of the law is larger by `change`."""
        self.u = self.u + change * self.w
        self.uu = self.uu + change * (2 * self.wu + change * self.ww)
        self.wu = self.wu + change * self.ww

    def first(self, data, x, y, steps) -> np.ndarray:
        """Pass knots and observe the first run beyond them; the log density, (n,).

        The innovation is `data`, with the mean x w + y u without the steps. Each of the steps adds
        its first number times a standard normal variable, and its second number times it to the
        level, beyond the knot before which the run lies.
        """
        cw, cu = self.ww * x + self.wu * y, self.wu * x + self.uu * y
        variance = 1 + x * cw + y * cu
        error = data - x * self.w - y * self.u
        ww, wu, uu = self.ww, self.wu, self.uu
        for by_step, to_level in steps:
            variance = variance + by_step**2
            cw, cu = cw + by_step, cu + by_step * to_level
            ww, wu, uu = ww + 1, wu + to_level, uu + to_level**2
        gw, gu = cw / variance, cu / variance
        self.w, self.u = self.w + gw * error, self.u + gu * error
        self.ww, self.wu, self.uu = ww - cw * gw, wu - cw * gu, uu - cu * gu
        return -0.5 * (error**2 / variance + np.log(variance))

    def rest(self, data, x, y) -> np.ndarray:
        """Observe further runs, (run, n), with the means x w + y u; the log density, (n,)."""
        xx, xy, yy, xd, yd, dd = (
            np.einsum("rn,rn->n", a, b)
            for a, b in ((x, x), (x, y), (y, y), (x, data), (y, data), (data, data))
        )
        w, u = self.w, self.u
        both = self.ww * self.uu - self.wu**2
        det = 1 + self.ww * xx + 2 * self.wu * xy + self.uu * yy + both * (xx * yy - xy**2)
        gw, gu = xd - xx * w - xy * u, yd - xy * w - yy * u
        self.ww = (self.ww + both * yy) / det
        self.wu = (self.wu - both * xy) / det
        self.uu = (self.uu + both * xx) / det
        mw, mu = self.ww * gw + self.wu * gu, self.wu * gw + self.uu * gu
        square = dd - w * (xd + gw) - u * (yd + gu) - gw * mw - gu * mu
        self.w, self.u = w + mw, u + mu
        return -0.5 * (square + np.log(det))

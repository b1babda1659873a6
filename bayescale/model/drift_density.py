"""The log density of runs with a drift through them, in numpy, at many parameter values at once.

The steps of the drift are integrated out, as in `bayescale.model.pymc_model`: by the matrices of
all knots, or for one curve by a Kalman filter, which takes a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bayescale.model import drift as drifts
from bayescale.model import noise
from bayescale.model.design import Design

#: Numbers that count for one draw of one curve: its filter has a fixed cost for every run.
FILTERED = 8
#: Most runs whose matrices are made at once.
BLOCK = 400
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
    """The density of one curve by a Kalman filter."""

    numbers = FILTERED

    def __init__(self, plan: Design, arrays: Mapping[str, np.ndarray]):
        self.law, self.log_scale = plan.law, plan.log_scale
        logs = [np.atleast_2d(arrays[f"log_{c}_at_knots"]) for c in plan.law.columns]
        self.at_knots = [LogColumn(log[0]) for log in logs]

    def __call__(self, of_law, size, mean, residual, scale, correlation) -> np.ndarray:
        curve = np.log(self.law.loss(*self.at_knots, **of_law))
        return _filtered(self.log_scale, residual, mean, curve, size / scale, scale, correlation)


def _filtered(log_scale, residual, mean, curve, size, scale, correlation) -> np.ndarray:
    """The log density of one curve with a drift, by a Kalman filter.

    Between two knots the drift is level plus slope times the log loss of the law, and a step at a
    knot changes both. The filter follows these two numbers from run to run, and, for a series, the
    drift at the previous checkpoint.

    Parameters
    ----------
    log_scale : (run,)
    residual, mean : (n, run)
        Standardised residuals, and the log loss of the law.
    curve : (n, knot)
        Log loss of the law at the knots.
    size : (n, run) or (n, 1)
        Size of the drift, in units of the noise scale.
    scale, correlation : as in `through`
    """
    n, runs = residual.shape
    at, length = drifts.knots(log_scale)
    centre = mean.mean(axis=1)
    # One row per run, contiguous in memory.
    mean, curve = (np.ascontiguousarray(v.T) - centre for v in (mean, curve))
    size, scale, residual = (
        np.ascontiguousarray(np.broadcast_to(v, (n, runs)).T)
        for v in (size * np.sqrt(length), scale, residual)
    )
    if correlation is not None:
        correlation = np.ascontiguousarray(correlation.T)
    # Covariance and mean of slope (w), level (v) and drift at the previous checkpoint (o).
    ww, wv, vv, wo, vo, oo, w, v, o = np.zeros((9, n))
    total, passed, before = np.zeros(n), 0, None
    for run in np.argsort(log_scale, kind="stable"):
        while passed < len(at) and at[passed] < log_scale[run]:
            ww = ww + 1
            wv = wv - curve[passed]
            vv = vv + curve[passed] ** 2
            passed += 1
        by_w = size[run] * mean[run]
        by_v = size[run]
        data, by_o, unit = residual[run], None, 1.0
        if correlation is not None and before is not None:
            keep = correlation[run]
            unit = noise.unexplained(keep)
            by_o = -keep / unit
            data = (data - keep * residual[before]) / unit
        row_w, row_v = by_w / unit, by_v / unit
        # Covariance of the observation with w, v and o; its variance; gain.
        cw, cv = ww * row_w + wv * row_v, wv * row_w + vv * row_v
        error = data - row_w * w - row_v * v
        if by_o is not None:
            cw, cv = cw + wo * by_o, cv + vo * by_o
            error = error - by_o * o
        variance = 1 + row_w * cw + row_v * cv
        if by_o is not None:
            variance = variance + by_o * (wo * row_w + vo * row_v + oo * by_o)
        total -= 0.5 * (error**2 / variance + np.log(variance)) + np.log(scale[run] * unit)
        gain = error / variance
        w, v = w + cw * gain, v + cv * gain
        gw, gv = cw / variance, cv / variance
        ww, wv, vv = ww - cw * gw, wv - cw * gv, vv - cv * gv
        if correlation is not None:
            o = by_w * w + by_v * v
            wo, vo = ww * by_w + wv * by_v, wv * by_w + vv * by_v
            oo = by_w * wo + by_v * vo
        before = run
    return total - 0.5 * np.log(2 * np.pi) * runs

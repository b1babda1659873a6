"""The log density of a design in numpy, at many parameter values at once.

It is the density of `bayescale.model.pymc_model`, up to a constant. The coordinates are on the link
scale, and each is standard normal under the prior:

* the population value of a parameter, minus the centre of its prior, divided by the prior width;
* the log of a between-group scale, centred and divided in the same way;
* the value of a group minus the population value, divided by the between-group scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from bayescale.inference import Density
from bayescale.model import drift as drifts
from bayescale.model import noise
from bayescale.model.design import Design
from bayescale.model.hierarchy import SCALE_SPREAD
from bayescale.priors import from_link, to_link

#: Largest number of parameters of a posterior that is sampled without chains.
MOST_PARAMETERS = 16
#: Largest number of coordinates that are drawn before the others; see
#: `bayescale.inference.conditional`.
MOST_WIDE = 3
#: Size of the largest arrays. Larger ones do not fit in the cache of a processor.
CHUNK = 40_000
#: Numbers that count for one draw of one curve: its filter has a fixed cost for every run.
FILTERED = 16
#: Modes are looked for with at most this many runs, evenly spaced along the scale.
COARSE = 60
#: Added to the unit diagonal of matrices that rounding has made singular.
JITTER = 1e-9
#: Decimals of logarithms that are kept.
DIGITS = 11
#: Half of the residuals are smaller than this many noise scales, if `nu` is about 6.
HALF_INSIDE = 0.72


class LogColumn(np.ndarray):
    """A column of runs whose powers are computed from its logarithm, in half the time."""

    def __new__(cls, log: np.ndarray):
        column = np.exp(log).view(cls)
        column.log = log
        return column

    def __pow__(self, exponent):
        log = getattr(self, "log", None)
        return np.power(np.asarray(self), exponent) if log is None else np.exp(log * exponent)


def is_small(plan: Design) -> bool:
    """Whether a design has few parameters, none of which varies between groups."""
    return not plan.groups and len(plan.parameters) <= MOST_PARAMETERS


def density(plan: Design) -> Density:
    """The posterior of a design; the coordinates are those of `variables`."""
    plan = _relative(plan)
    coarse = None
    without_noise = plan.groups or plan.parameter("sigma").is_fixed
    if len(plan.runs) > COARSE and not plan.groups:
        coarse = _log_likelihood(_thinned(plan))
    improved = None if without_noise else lambda z: _with_noise(plan, z)
    return Density(dimension(plan), _log_likelihood(plan), coarse, improved, _wide(plan))


def _wide(plan: Design) -> tuple[int, ...]:
    """Coordinates of exponents: parameters of the law that have no unit of the loss.

    Given these, the floor and the amplitudes are nearly determined. Empty with groups, and with
    more than `MOST_WIDE`, which would take too many positions.
    """
    free = [p for p in plan.parameters if p.has_population]
    exponents = [n for n in plan.law.parameters if getattr(plan.law.priors[n], "of", None) is None]
    wide = tuple(i for i, p in enumerate(free) if p.name in exponents)
    return wide if not plan.groups and len(wide) <= MOST_WIDE else ()


# -- coordinates -------------------------------------------------------------------------------


def dimension(plan: Design) -> int:
    """Number of coordinates."""
    total = 0
    for p in plan.parameters:
        total += p.has_population
        total += sum(len(plan.levels[e.column]) for e in p.effects)
        total += sum(e.pooling == "partial" for e in p.effects)
    return total


def variables(plan: Design, z: np.ndarray) -> dict[str, np.ndarray]:
    """The variables of the model at positions z, (n, coordinate).

    Returns
    -------
    dict of str to array
        Parameters (n,) and values per group (n, level) on the natural scale, between-group scales
        (n,) on the link scale.
    """
    out, place = {}, 0
    for p in plan.parameters:
        link, population = p.prior.link, np.full(len(z), p.prior.centre)
        if p.has_population:
            population = population + p.prior.width * z[:, place]
            out[p.name] = from_link(link, population)
            place += 1
        for effect in p.effects:
            scale = np.full(len(z), p.prior.width)
            if effect.pooling == "partial":
                scale = p.prior.between_width * np.exp(SCALE_SPREAD * z[:, place])
                out[p.scale(effect)] = scale
                place += 1
            size = len(plan.levels[effect.column])
            offset = z[:, place : place + size]
            out[p.member(effect)] = from_link(link, population[:, None] + scale[:, None] * offset)
            place += size
    return out


def coordinates(plan: Design, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The positions z, (n, coordinate), of the variables of a model: the inverse of `variables`."""
    columns = []
    for p in plan.parameters:
        link, population = p.prior.link, p.prior.centre
        if p.has_population:
            population = to_link(link, np.asarray(values[p.name]))
            columns.append((population - p.prior.centre) / p.prior.width)
        for effect in p.effects:
            scale = p.prior.width
            if effect.pooling == "partial":
                scale = np.asarray(values[p.scale(effect)])
                columns.append(np.log(scale / p.prior.between_width) / SCALE_SPREAD)
            members = to_link(link, np.asarray(values[p.member(effect)]))
            columns += list((members.T - population) / scale)
    return np.stack(columns, axis=-1)


def _relative(plan: Design) -> Design:
    """The same posterior with columns and losses in units of their geometric means.

    All numbers are rounded, so that the same runs in another unit give the same draws.
    """
    table, unit = plan.runs.table, float(np.exp(plan.log_loss.mean()))
    of_loss = [p for p in plan.law.parameters if getattr(plan.law.priors[p], "of", None) == "loss"]
    if not (of_loss and _is_homogeneous(plan, of_loss)):
        unit, of_loss = 1.0, []
    changes = {c: _rounded(v / plan.scales[c]) for c, v in plan.columns.items()}
    changes["loss"] = _rounded(np.exp(plan.log_loss) / unit)
    if plan.has_loss_sd:
        changes["loss_sd"] = _rounded(plan.log_loss_sd) * changes["loss"]
    parameters = tuple(
        replace(p, prior=replace(p.prior, median=float(_rounded(p.prior.median / unit))))
        if p.name in of_loss
        else p
        for p in plan.parameters
    )
    runs = replace(plan.runs, table=table.assign(**changes))
    return replace(
        plan, runs=runs, parameters=parameters, scales=dict.fromkeys(plan.law.columns, 1.0)
    )


def _is_homogeneous(plan: Design, of_loss: list[str]) -> bool:
    """Whether the law is proportional to the parameters that are in units of the loss."""
    values = {
        p: from_link(plan.parameter(p).prior.link, plan.parameter(p).prior.centre)
        for p in plan.law.parameters
    }
    doubled = {p: 2 * v if p in of_loss else v for p, v in values.items()}
    with np.errstate(all="ignore"):
        one, two = (plan.law(plan.columns, plan.scales, v) for v in (values, doubled))
    return bool(np.allclose(2 * one, two, rtol=1e-9))


def _rounded(value):
    """Positive numbers, or zeros, rounded to `DIGITS` decimals of their logarithm."""
    with np.errstate(divide="ignore"):
        return np.exp(np.round(np.log(value), DIGITS))


def _thinned(plan: Design) -> Design:
    """The same design with `COARSE` of its runs, evenly spaced along the scale."""
    order = np.argsort(plan.log_scale, kind="stable")
    keep = np.zeros(len(order), bool)
    keep[order[np.linspace(0, len(order) - 1, COARSE).round().astype(int)]] = True
    return replace(plan, runs=plan.runs[keep])


def _with_noise(plan: Design, z: np.ndarray) -> np.ndarray:
    """Positions with the noise scale at which half of the residuals are larger."""
    drawn = {name: v[:, None] for name, v in variables(plan, z).items()}
    # There are no group effects, so that nothing is selected.
    values = {p.name: p.value(drawn, lambda *_: None) for p in plan.parameters}
    with np.errstate(all="ignore"):
        law = plan.law(plan.columns, plan.scales, values)
        typical = np.median(np.abs(plan.log_loss - np.log(law)), axis=1) / HALF_INSIDE
        sigma = plan.parameter("sigma").prior
        scale = (np.log(typical) - sigma.centre) / sigma.width
    inferred = [p.name for p in plan.parameters if not p.is_fixed]
    out, place = z.copy(), inferred.index("sigma")
    out[:, place] = np.where(np.isfinite(scale), scale, z[:, place])
    return out


# -- likelihood --------------------------------------------------------------------------------


def _log_likelihood(plan: Design) -> Callable[[np.ndarray], np.ndarray]:
    arrays = plan.arrays()
    columns = [LogColumn(arrays[f"log_{c}"]) for c in plan.law.columns]
    index = {g: plan.index(g) for g in plan.groups}
    numbers, at_knots = len(plan.runs), []
    is_one_curve, log_scale = _is_one_curve(plan), plan.log_scale
    if plan.drift == "through":
        logs = [np.atleast_2d(arrays[f"log_{c}_at_knots"]) for c in plan.law.columns]
        at_knots = [LogColumn(log) for log in logs]
        numbers = FILTERED if is_one_curve else numbers * drifts.KNOTS

    def part(z):
        drawn = variables(plan, z)
        columns_of = {name: v[:, None] if v.ndim == 1 else v for name, v in drawn.items()}
        values = {
            p.name: p.value(columns_of, lambda effect, members, _: members[:, index[effect.column]])
            for p in plan.parameters
        }
        of_law = {p: values[p] for p in plan.law.parameters}
        mean, scale = np.log(plan.law.loss(*columns, **of_law)), values["sigma"]
        if plan.has_trend:
            scale = scale * noise.factor(values["trend"], mean, arrays["loss_range"])
        if plan.has_loss_sd:
            scale = np.sqrt(scale**2 + arrays["log_loss_sd"] ** 2)
        residual = (arrays["observed_log_loss"] - mean) / scale
        correlation = None
        if plan.has_series:
            correlation = noise.correlation(arrays["gap"], values["memory"])
        if plan.drift == "through":
            of_law = {p: v[..., None] for p, v in of_law.items()}
            curve = np.log(plan.law.loss(*at_knots, **of_law))
            if is_one_curve:
                size = values["drift"] / scale
                curve = curve[:, 0]
                return _filtered(log_scale, residual, mean, curve, size, scale, correlation)
            basis = drifts.deviations(mean[..., None], curve, arrays["increments"])
            basis = basis * (values["drift"] / scale)[..., None]
            return _marginal(plan, residual, basis, scale, correlation, arrays)
        if plan.has_series:
            residual = noise.innovation(residual, residual[:, arrays["previous"]], correlation)
            scale = scale * noise.unexplained(correlation)
        return _student(residual, scale, values["nu"])

    def quietly(z):
        with np.errstate(all="ignore"):
            return part(z)

    def log_likelihood(z):
        rows = max(1, CHUNK // numbers)
        parts = [z[i : i + rows] for i in range(0, len(z), rows)]
        return np.concatenate([quietly(p) for p in parts])

    return log_likelihood


def _student(residual, scale, nu) -> np.ndarray:
    """Sum over runs of the Student-t log density, (n,)."""
    from scipy.special import gammaln

    kernel = (nu + 1) / 2 * np.log1p(residual**2 / nu) + np.log(scale)
    constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
    return np.broadcast_to(constant, residual.shape).sum(axis=1) - kernel.sum(axis=1)


def _marginal(plan: Design, residual, basis, scale, correlation, arrays) -> np.ndarray:
    """Log density of normal residuals with all steps of the drift integrated out, (n,).

    See `bayescale.model.pymc_model`.
    """
    log_scale = np.broadcast_to(np.log(scale), residual.shape).sum(axis=1)
    if plan.has_series:
        previous = arrays["previous"]
        residual = noise.innovation(residual, residual[:, previous], correlation)
        basis = noise.innovation(basis, basis[:, previous], correlation[..., None])
        log_scale = log_scale + np.log(noise.unexplained(correlation)).sum(axis=1)
    total = -0.5 * (residual**2).sum(axis=1) - log_scale
    total -= 0.5 * np.log(2 * np.pi) * residual.shape[1]
    for cell in range(len(plan.cells)):
        rows = plan.cell == cell
        own = basis[:, rows]
        precision = np.eye(drifts.KNOTS) + own.transpose(0, 2, 1) @ own
        projected = own.transpose(0, 2, 1) @ residual[:, rows, None]
        size = np.sqrt(np.diagonal(precision, axis1=1, axis2=2))
        scaled = precision / size[:, :, None] / size[:, None, :]
        finite = np.isfinite(scaled).all(axis=(1, 2))
        scaled[~finite] = np.eye(drifts.KNOTS)
        try:
            root = np.linalg.cholesky(scaled)
        except np.linalg.LinAlgError:  # a drift so large that rounding makes a matrix singular
            root = np.linalg.cholesky(scaled + JITTER * np.eye(drifts.KNOTS))
        solved = np.linalg.solve(root, projected / size[..., None])[..., 0]
        log_det = np.log(np.diagonal(root, axis1=1, axis2=2) * size).sum(axis=1)
        total = total + np.where(finite, 0.5 * (solved**2).sum(axis=1) - log_det, -np.inf)
    return total


def _is_one_curve(plan: Design) -> bool:
    """Whether the drift is that of one curve: one column, and at most one series."""
    if plan.drift != "through" or plan.groups or len(plan.law.columns) > 1:
        return False
    return not plan.has_series or plan.runs.table["series"].nunique() == 1


def _filtered(log_scale, residual, mean, curve, size, scale, correlation) -> np.ndarray:
    """The log density of `_marginal` for one curve, by a Kalman filter.

    Between two knots the drift is level plus slope times the log loss of the law, and a step at a
    knot changes both. The filter follows these two numbers from run to run, and, for a series, the
    drift at the previous checkpoint. It takes a tenth of the time of the matrices of all knots.

    Parameters
    ----------
    log_scale : (run,)
    residual, mean : (n, run)
        Standardised residuals, and the log loss of the law.
    curve : (n, knot)
        Log loss of the law at the knots.
    size : (n, run) or (n, 1)
        Size of the drift, in units of the noise scale.
    scale, correlation : as in `_marginal`
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

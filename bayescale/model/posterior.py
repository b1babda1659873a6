"""Quantities of a posterior: parameters of a group, the inferred drift, residuals of the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from bayescale.functions import student_log_density
from bayescale.model import drift as drifts
from bayescale.model import noise
from bayescale.model.design import Design
from bayescale.model.hierarchy import Parameter, new_member
from bayescale.model.labels import NEW, settle_labels

SAMPLE = ("chain", "draw")


def settle_groups(plan: Design, group, size: int | None = None) -> dict[str, object]:
    """Check `group=` and return one label, or a list of labels, for each group column.

    See `bayescale.model.labels.settle_labels`.
    """
    return settle_labels(group, plan.levels, size)


def run_groups(plan: Design) -> dict[str, object]:
    """The labels of the fitted runs, in the form that `parameters` takes."""
    return {g: list(plan.runs.table[g].astype(str)) for g in plan.groups}


def parameters(
    posterior: xr.Dataset,
    plan: Design,
    groups: Mapping[str, object],
    rng: np.random.Generator,
    names: Sequence[str] | None = None,
) -> dict[str, xr.DataArray]:
    """Parameters on their natural scale, for groups from `settle_groups`.

    Returns
    -------
    dict of str to xarray.DataArray
        Dims (chain, draw), and ``point`` if the labels of a group column are a list.
    """
    chosen = plan.parameters if names is None else [plan.parameter(n) for n in names]
    return {p.name: _value(posterior, plan, p, groups, rng) for p in chosen}


def _value(posterior, plan, p: Parameter, groups, rng) -> xr.DataArray:
    if p.is_fixed:
        sizes = [posterior.sizes[d] for d in SAMPLE]
        coords = {d: posterior.coords[d] for d in SAMPLE if d in posterior.coords}
        return xr.DataArray(np.full(sizes, p.prior.median), coords, SAMPLE)

    def select(effect, members, population):
        label = groups[effect.column]
        normal = xr.DataArray(
            rng.standard_normal([posterior.sizes[d] for d in SAMPLE]), dims=SAMPLE
        )
        scale = posterior[p.scale(effect)] if effect.pooling == "partial" else p.prior.width
        new_group = new_member(population, scale, normal)
        if isinstance(label, str):
            return new_group if label == NEW else members.sel({effect.column: label}, drop=True)
        levels = plan.levels[effect.column]
        fitted_and_new = xr.concat(
            [members.drop_vars(effect.column), new_group], dim=effect.column, coords="minimal"
        )
        index = [len(levels) if x == NEW else levels.index(x) for x in label]
        return fitted_and_new.isel({effect.column: xr.DataArray(index, dims="point")})

    return p.value(posterior, select)


def noise_scale(plan: Design, values, log_law: xr.DataArray, log_error) -> xr.DataArray:
    """Noise scale of log loss at runs whose log loss under the law is `log_law`."""
    scale = values["sigma"]
    if plan.has_trend:
        scale = scale * noise.factor(values["trend"], log_law, plan.loss_range)
    return np.hypot(scale, log_error)


def stacked(array: xr.DataArray) -> np.ndarray:
    """An array with chains and draws in one axis; (draw, point)."""
    array = array.transpose(*SAMPLE, "point").to_numpy()
    return array.reshape(-1, array.shape[-1])


# -- the drift that was inferred ---------------------------------------------------------------


def law_at_knots(plan: Design, values, columns) -> np.ndarray:
    """Log of the law at the scale of each knot, for the group and the column ratios of each point.

    Returns
    -------
    array (draw, point or 1, knot)
    """
    logs = {c: np.log(v.to_numpy() / plan.scales[c]) for c, v in columns.items()}
    log_scale = plan.law.log_scale({c: v.to_numpy() for c, v in columns.items()})
    at_knots = {
        c: xr.DataArray(np.exp(v) * plan.scales[c], dims=("point", "knot"))
        for c, v in plan.log_columns_at_knots(logs, log_scale).items()
    }
    curve = np.log(plan.law(at_knots, plan.scales, values))
    curve = curve.transpose(*SAMPLE, "point", "knot").to_numpy()
    return curve.reshape(-1, *curve.shape[2:])


def drift_size(values, draws: int) -> np.ndarray:
    """Standard deviation of the random walk per root of an e-fold; (draw, 1)."""
    size = values["drift"].broadcast_like(values["sigma"]).to_numpy()
    return size.reshape(draws, -1)[:, :1]


def drifted(plan: Design, values, law, columns, increments, steps, cell) -> np.ndarray:
    """Drift at points, given the steps of the random walk in each cell.

    The sum over knots is computed as matrix products, because the basis for all draws, points and
    knots may not fit in memory.

    Parameters
    ----------
    law : array (draw, point)
        Log of the law at the `columns`.
    increments : array (point, knot)
        As `bayescale.model.drift.increments` returns it.
    steps : array (draw, cell, knot)
    cell : array (point,)

    Returns
    -------
    array (draw, point)
    """
    at_knots = law_at_knots(plan, values, columns)
    out = np.empty_like(law)
    for i in np.unique(cell):
        in_cell = cell == i
        step, increment = steps[:, i], increments[in_cell]
        curve = at_knots[:, in_cell] if at_knots.shape[1] > 1 else at_knots
        out[:, in_cell] = law[:, in_cell] * (step @ increment.T) - np.einsum(
            "dk,drk,rk->dr", step, curve, increment
        )
    return drift_size(values, len(law)) * out


def _draw_steps(plan: Design, residual, basis, correlation) -> np.ndarray:
    """Draw the steps of the random walk in each cell; (draw, cell, knot).

    Given the other parameters, their posterior is normal. `residual` (draw, run) and `basis` (draw,
    run, knot) are in units of the noise scale.
    """
    rng = np.random.default_rng(0)
    if plan.has_series:
        previous = plan.before[0]
        residual = noise.innovation(residual, residual[:, previous], correlation)
        basis = noise.innovation(basis, basis[:, previous], correlation[..., None])
    out = np.zeros((len(residual), len(plan.cells), basis.shape[-1]))
    for i in range(len(plan.cells)):
        rows = plan.cell == i
        transposed = np.swapaxes(basis[:, rows], 1, 2)
        precision = np.eye(basis.shape[-1]) + transposed @ basis[:, rows]
        root = np.linalg.cholesky(precision)
        expected = np.linalg.solve(precision, transposed @ residual[:, rows, None])
        normal = rng.standard_normal((*expected.shape[:2], 1))
        out[:, i] = (expected + np.linalg.solve(np.swapaxes(root, 1, 2), normal))[..., 0]
    return out


def log_law_of(plan: Design, values, columns, shape: tuple[int, int, int]) -> np.ndarray:
    """The log loss of the law; (draw, point).

    The law is evaluated on numpy arrays, which is several times faster than on xarray objects.
    """

    def array(value):
        missing = [d for d in (*SAMPLE, "point") if d not in value.dims]
        value = value.expand_dims(missing).transpose(*SAMPLE, "point").to_numpy()
        return np.broadcast_to(value, (*shape[:2], value.shape[2])).reshape(-1, value.shape[2])

    arrays = {name: array(values[name]) for name in plan.law.parameters}
    law = plan.law({c: v.to_numpy() for c, v in columns.items()}, plan.scales, arrays)
    return np.broadcast_to(np.log(law), (shape[0] * shape[1], shape[2]))


# -- the runs that were fitted -----------------------------------------------------------------


def correlations(posterior: xr.Dataset, plan: Design, gap: np.ndarray | None = None) -> np.ndarray:
    """Correlation of the noise of two checkpoints `gap` e-folds apart; (draw, gap).

    Without a `gap`, that of each run and the previous checkpoint; zero if there is none.
    """
    if gap is None:
        gap = plan.before[1] if plan.has_series else np.full(len(plan.runs), np.inf)
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    if "memory" not in posterior:
        return np.zeros((draws, len(gap)))
    return noise.correlation(gap, posterior["memory"].to_numpy().reshape(-1, 1))


def residuals(posterior: xr.Dataset, plan: Design) -> dict[str, np.ndarray]:
    """Residuals of the fitted runs from the law and its drift, in each draw.

    Returns
    -------
    dict
        ``drift`` in log loss, from a draw of its steps; ``scale`` of the noise, and what it would
        be without neighbours, ``alone``; ``standardised``, the residual of log loss in units of the
        scale. Each is (draw, run), with chains and draws in one axis. With drift through the runs
        also ``steps``, (draw, cell, knot).
    """
    values = parameters(posterior, plan, run_groups(plan), np.random.default_rng(0))
    columns = {c: xr.DataArray(v, dims="point") for c, v in plan.columns.items()}
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], len(plan.runs))
    law = log_law_of(plan, values, columns, shape)
    of_point = xr.DataArray(law.reshape(shape), dims=(*SAMPLE, "point"))
    scale, alone = (
        stacked(xr.broadcast(noise_scale(plan, values, of_point, error), of_point)[0])
        for error in (xr.DataArray(e, dims="point") for e in (plan.log_error, plan.log_error_alone))
    )
    standardised = (plan.log_loss - law) / scale
    out = dict(drift=np.zeros_like(law), scale=scale, alone=alone, standardised=standardised)
    if plan.drift == "through":
        size = drift_size(values, len(law))[..., None]
        at_knots = law_at_knots(plan, values, columns)
        basis = size * drifts.deviations(law[..., None], at_knots, plan.increments)
        out["steps"] = _draw_steps(
            plan, out["standardised"], basis / scale[..., None], correlations(posterior, plan)
        )
        out["drift"] = (basis * out["steps"][:, plan.cell]).sum(axis=-1)
        out["standardised"] = out["standardised"] - out["drift"] / scale
    return out


def at_runs(posterior: xr.Dataset, plan: Design) -> dict[str, np.ndarray]:
    """Conditional residuals of the fitted runs, in each draw.

    Returns
    -------
    dict
        ``residual`` of log loss, given law, drift and the previous checkpoint; its scale ``sigma``
        and degrees of freedom ``nu`` (infinite for normal noise); ``alone``, the scale without
        neighbours, which raise the error of the law in small runs. Each is (draw, run), with chains
        and draws in one axis.
    """
    marginal = residuals(posterior, plan)
    standardised, scale, alone = (marginal[k] for k in ("standardised", "scale", "alone"))
    nu = np.full_like(standardised, np.inf)
    if plan.drift != "through":
        values = parameters(posterior, plan, run_groups(plan), np.random.default_rng(0), ["nu"])
        point = xr.DataArray(np.zeros(len(plan.runs)), dims="point")
        nu = stacked(xr.broadcast(values["nu"], point)[0])
    if plan.has_series:
        correlation = correlations(posterior, plan)
        scale, alone = (s * noise.unexplained(correlation) for s in (scale, alone))
        previous = standardised[:, plan.before[0]]
        standardised = noise.innovation(standardised, previous, correlation)
    return dict(residual=standardised * scale, sigma=scale, nu=nu, alone=alone)


def log_density(at: dict[str, np.ndarray]) -> np.ndarray:
    """Log density of each residual of `at_runs`, (draw, run)."""
    square = (at["residual"] / at["sigma"]) ** 2
    return student_log_density(square, 1, at["nu"]) - np.log(at["sigma"])


def log_likelihood(posterior: xr.Dataset, plan: Design) -> xr.DataArray:
    """Log density of each log loss, given the previous checkpoint; (chain, draw, run)."""
    density = log_density(at_runs(posterior, plan))
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], len(plan.runs))
    coords = {"run": [str(i) for i in plan.runs.table.index]}
    return xr.DataArray(density.reshape(shape), dims=(*SAMPLE, "run"), coords=coords)

"""The posterior predictive of new runs: law, discrepancy, drift and noise.

Each part has random numbers of its own, which belong to a group or to a run. Draws of a run are
therefore the same whichever other runs are asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from bayescale.laws import Law
from bayescale.model import drift as drifts
from bayescale.model import noise, small_runs
from bayescale.model.design import Design
from bayescale.model.discrepancy import discrepancy
from bayescale.model.posterior import (
    SAMPLE,
    correlations,
    drifted,
    log_law_of,
    noise_scale,
    parameters,
    residuals,
)
from bayescale.priors import Positive
from bayescale.seeds import stream

#: Bound on the absolute noise of log loss, so that the loss of a draw from the tails is finite.
LARGEST_NOISE = 50.0


def predict(
    posterior: xr.Dataset,
    plan: Design,
    place: Mapping[str, np.ndarray],
    groups: Mapping[str, object],
    rng: np.random.Generator,
    *,
    series: Sequence[str | None] | None = None,
    ahead: Positive | None,
) -> xr.Dataset:
    """Draws of the loss at points.

    Parameters
    ----------
    place : mapping of str to array (point,)
        The law's columns, in absolute units.
    groups : mapping
        Labels by group column, from `bayescale.model.posterior.settle_groups`.
    series : sequence of str or None, optional
        The fitted series that each point continues; None for a new run.
    ahead : Positive or None
        Prior of the size of the drift beyond the runs, used where the fit did not infer a drift.
        None: no drift beyond the runs.

    Returns
    -------
    xarray.Dataset
        Dims (chain, draw, point). In the unit of the fitted losses: ``law``, the law with the drift
        inferred from the runs; ``mean``, the same with the discrepancy near the runs and the drift
        beyond them; ``loss``, with noise. For the noise of log loss: ``centre``, ``scale`` and
        ``nu``.
    """
    size = len(next(iter(place.values())))
    columns = {c: xr.DataArray(np.asarray(place[c], float), dims="point") for c in plan.law.columns}
    values = parameters(posterior, plan, groups, rng)
    point = xr.DataArray(np.zeros(size), dims="point")
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], size)
    log_law = log_law_of(plan, values, columns, shape)
    law = xr.DataArray(log_law.reshape(shape), dims=(*SAMPLE, "point"))

    def flat(value):
        value = xr.broadcast(value, law, point)[0].transpose(*SAMPLE, "point")
        return value.to_numpy().reshape(-1, size)

    error = np.full(size, np.median(plan.log_loss_sd))
    if plan.has_law_error:
        unit = small_runs.unit_errors(plan.law, place, plan.edge.scale)
        slope = small_runs.slope(plan.law, plan.columns, plan.log_loss)
        error = np.hypot(error, slope * unit)
    scale = flat(noise_scale(plan, values, law, xr.DataArray(error, dims="point")))
    nu = flat(values["nu"]) if "nu" in values else np.full_like(scale, np.inf)
    log_scale = plan.law.log_scale({c: v.to_numpy() for c, v in columns.items()})
    # After the parameters, whose draws of a new group an allocation shares.
    seed = int(rng.integers(2**63))
    if plan.hides_scatter:
        sigma = plan.parameter("sigma").prior
        measured = noise.unseen(sigma, len(scale), stream(seed, "measurement"))
        scale = np.maximum(scale, measured[:, None])
    cell, labels = _cells(plan, groups, size)
    fitted = residuals(posterior, plan) if plan.drift == "through" or series is not None else None

    inferred = beyond = np.zeros_like(log_law)
    if plan.drift == "through":
        steps = _steps(fitted["steps"], labels, seed)
        increments = drifts.increments(log_scale, *drifts.knots(plan.log_scale))
        inferred = drifted(plan, values, log_law, columns, increments, steps, cell)
    if plan.drift != "off" and ahead is not None:
        beyond = _beyond(posterior, plan, values, log_law, columns, (cell, labels), ahead, seed)
    if plan.has_discrepancy and ahead is not None:
        beyond = beyond + discrepancy(posterior, plan, place, stream(seed, "discrepancy"))

    log_law = log_law + inferred
    centre = log_law + beyond
    if series is not None and not plan.hides_scatter:
        correlation, nearest = _nearest(posterior, plan, series, log_scale)
        centre = centre + scale * correlation * fitted["standardised"][:, nearest]
        scale = scale * noise.unexplained(correlation)
    of_points = [labels[i] for i in cell], series or [None] * size
    relative = [v.to_numpy() / plan.scales[c] for c, v in columns.items()]
    standardised = _standardised_noise(nu, relative, of_points, seed)
    log_loss = centre + (scale * standardised).clip(-LARGEST_NOISE, LARGEST_NOISE)
    out = dict(
        law=np.exp(log_law),
        mean=np.exp(log_law + beyond),
        loss=np.exp(log_loss),
        centre=centre,
        scale=scale,
        nu=nu,
    )
    coords = {c: posterior.coords[c] for c in SAMPLE if c in posterior.coords}
    dims = (*SAMPLE, "point")
    return xr.Dataset({k: (dims, v.reshape(shape)) for k, v in out.items()}, coords=coords)


def drift_variance(
    posterior: xr.Dataset,
    plan: Design,
    place: Mapping[str, np.ndarray],
    groups: Mapping[str, object],
    rng: np.random.Generator,
    *,
    ahead: Positive,
    edges: Sequence[drifts.Edge],
) -> np.ndarray:
    """The variance of log loss due to the drift beyond the runs, for other edges of the runs.

    Parameters
    ----------
    posterior, plan, place, groups, rng, ahead
        As in `predict`.
    edges : sequence of bayescale.model.drift.Edge
        Where the drift may begin.

    Returns
    -------
    numpy.ndarray
        Dims (edge, point).
    """
    columns = {c: xr.DataArray(np.asarray(place[c], float), dims="point") for c in plan.law.columns}
    values = parameters(posterior, plan, groups, rng)
    size = len(next(iter(columns.values())))
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], size)
    log_law = log_law_of(plan, values, columns, shape)
    out = np.zeros((len(edges), size))
    # W starts with the variance of one e-fold, and its mean over a distance d adds that of d / 3.
    square = np.exp(2 * ahead.centre + 2 * ahead.width**2)
    for i, edge in enumerate(edges):
        at_edge, distance = _before(edge, plan.law, columns)
        fall = log_law - log_law_of(plan, values, at_edge, shape)
        out[i] = (fall**2).mean(axis=0) * square * (1 + distance / 3)
    return out


def _cells(plan: Design, groups: Mapping[str, object], size: int):
    """Index of the cell of each point, and the labels of each cell; new cells follow those of the
    plan."""
    labels = [np.broadcast_to(np.asarray(groups[g], object), size) for g in plan.groups]
    index = {tuple(map(str, c.values())): i for i, c in enumerate(plan.cells)}
    keys = zip(*labels, strict=True) if labels else [()] * size
    cell = np.array([index.setdefault(tuple(map(str, key)), len(index)) for key in keys])
    return cell, list(index)


def _steps(steps: np.ndarray, labels: Sequence, seed: int) -> np.ndarray:
    """Steps of the inferred drift, with draws from the prior for cells that were not fitted."""
    draws, cells, knots = steps.shape
    new = [stream(seed, "steps", x).standard_normal((draws, 1, knots)) for x in labels[cells:]]
    return np.concatenate([steps, *new], axis=1)


def _standardised_noise(nu: np.ndarray, columns, of_points, seed: int) -> np.ndarray:
    """Draws of the noise of each point in units of its scale, (draw, point).

    Parameters
    ----------
    nu : array (draw, point)
        Degrees of freedom; infinite for normal noise.
    columns : sequence of arrays (point,)
        In units of their centre among the runs.
    of_points : sequence of sequences
        Labels of each point. Runs that agree in them and in the columns are repeated runs, with
        independent noise.
    seed : int
    """
    out, seen = np.empty_like(nu), Counter()
    # Six digits: columns that are computed in two ways differ by rounding errors.
    places = ([f"{v:.6g}" for v in values] for values in columns)
    for i, key in enumerate(zip(*of_points, *places, strict=True)):
        rng = stream(seed, "noise", key, seen[key])
        seen[key] += 1
        normal = np.isinf(nu[:, i])
        out[:, i] = rng.standard_normal(len(nu)) if normal.all() else rng.standard_t(nu[:, i])
    return out


def _before(edge: drifts.Edge, law: Law, columns: Mapping[str, xr.DataArray]):
    """As `bayescale.model.drift.Edge.before`, for arrays with the dim point."""
    at_edge, distance = edge.before(law, {c: v.to_numpy() for c, v in columns.items()})
    return {c: xr.DataArray(v, dims="point") for c, v in at_edge.items()}, distance


def _beyond(posterior, plan, values, log_law, columns, cells, ahead, seed) -> np.ndarray:
    """Drift beyond the runs in log loss; (draw, point).

    The drift is a product of two factors, both taken from the edge of the runs to the point: the
    mean of W, and the change of log loss under the law. With drift ``"ahead"``, W starts at a
    random value. With ``"through"``, the inferred drift includes the last value of W, so that only
    its later change counts; a break may be part of it.
    """
    draws, (cell, labels) = len(log_law), cells
    if plan.drift == "ahead":
        edge = plan.edge
        size = np.exp(ahead.centre + ahead.width * stream(seed, "size").standard_normal(draws))
    else:
        edge, size = drifts.Edge(plan.log_scale.max(), {}), posterior["drift"].to_numpy().ravel()
    at_edge, distance = _before(edge, plan.law, columns)
    if not distance.any():
        return np.zeros_like(log_law)
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], len(distance))
    at_edge = log_law_of(plan, values, at_edge, shape)
    mean = np.zeros_like(log_law)
    for i in np.unique(cell):
        distances, rng = distance[cell == i], stream(seed, "walk", labels[i])
        start = size * rng.standard_normal(draws) if plan.drift == "ahead" else 0.0
        mean[:, cell == i] = drifts.mean_walk(distances, size, rng, start)
        if plan.drift == "through":
            breaks = stream(seed, "break", labels[i])
            after_break = drifts.future_break(distances, drifts.BREAKS, draws, breaks)
            mean[:, cell == i] += drifts.mean_over(distances, after_break)
    return (log_law - at_edge) * mean


def _nearest(posterior, plan: Design, series, log_scale):
    """The nearest checkpoint in the series of each point, and the correlation of their noise.

    Returns
    -------
    tuple of arrays (draw, point) and (point,)
        Correlation, zero for new runs; index of the checkpoint.
    """
    labels = plan.runs.table["series"].astype(str).to_numpy()
    nearest, gap = np.zeros(len(series), int), np.full(len(series), np.inf)
    for i, label in enumerate(series):
        if label is not None:
            rows = np.flatnonzero(labels == label)
            distance = np.abs(plan.log_scale[rows] - log_scale[i])
            nearest[i], gap[i] = rows[distance.argmin()], distance.min()
    return correlations(posterior, plan, gap), nearest

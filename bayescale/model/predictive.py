"""What a posterior says of any run: where the law lies, how it may drift, how a run scatters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from bayescale.model import drift as drifts
from bayescale.model.design import Design
from bayescale.model.posterior import drifted, noise_scale, parameters, remembered, residuals
from bayescale.priors import Positive

#: Where a heavy tail's log noise is cut, so that a loss stays a finite number.
WILD = 50.0


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
    """Draws of the loss at places.

    Parameters
    ----------
    place : mapping of str to (point,) array
        Raw columns of the law.
    groups : mapping
        As `bayescale.model.posterior.settle_groups` returns them.
    series : sequence of str or None, optional
        The fitted series that each point continues, if any.
    ahead : Positive or None
        Size of the drift beyond the runs, where the fit did not infer one; None: no drift there.

    Returns
    -------
    xarray.Dataset
        Dims (chain, draw, point). ``law`` (with the drift inferred from the runs), ``mean`` (with
        the drift beyond them too) and ``loss`` (with noise) in nats per token; ``centre``,
        ``scale`` and ``nu`` of the noise of log loss.
    """
    size = len(next(iter(place.values())))
    columns = {c: xr.DataArray(np.asarray(place[c], float), dims="point") for c in plan.law.columns}
    values = parameters(posterior, plan, groups, rng)
    point = xr.DataArray(np.zeros(size), dims="point")
    law = np.log(plan.law(columns, plan.scales, values))
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], size)

    def stacked(value):
        value = xr.broadcast(value, law, point)[0].transpose("chain", "draw", "point")
        return value.to_numpy().reshape(-1, size)

    log_law = stacked(law)
    scale = stacked(noise_scale(plan, values, law, float(np.median(plan.log_loss_sd))))
    nu = stacked(values["nu"]) if "nu" in values else np.full_like(scale, np.inf)
    log_scale = sum(np.log(v.to_numpy()) for v in columns.values())
    cell = _cells(plan, groups, size)
    here = residuals(posterior, plan) if plan.drift == "through" or series is not None else None

    inferred = off = np.zeros_like(log_law)
    if plan.drift == "through":
        inferred = _inferred_drift(plan, values, log_law, columns, log_scale, cell, here, rng)
    if plan.drift != "off" and ahead is not None:
        starts_off = plan.drift == "ahead"
        if starts_off:
            edge = np.quantile(plan.log_scale, drifts.STARTS_AT)
            sizes = np.exp(ahead.centre + ahead.width * rng.standard_normal(len(log_law)))
        else:
            edge, sizes = plan.log_scale.max(), posterior["drift"].to_numpy().reshape(-1)
        off = _beyond(plan, values, log_law, columns, log_scale, cell, edge, sizes, rng, starts_off)

    log_law = log_law + inferred
    centre, left = log_law + off, np.ones_like(log_law)
    if series is not None:
        kept, left = _remembered(posterior, plan, here, series, log_scale)
        centre = centre + scale * kept
    noise = np.where(
        np.isinf(nu), rng.standard_normal(nu.shape), rng.standard_t(np.where(np.isinf(nu), 1.0, nu))
    )
    scale = scale * left
    log_loss = centre + (scale * noise).clip(-WILD, WILD)
    out = dict(
        law=np.exp(log_law),
        mean=np.exp(log_law + off),
        loss=np.exp(log_loss),
        centre=centre,
        scale=scale,
        nu=nu,
    )
    dims = ("chain", "draw", "point")
    coords = {c: posterior.coords[c] for c in dims[:2] if c in posterior.coords}
    return xr.Dataset({k: (dims, v.reshape(shape)) for k, v in out.items()}, coords=coords)


def _cells(plan: Design, groups: Mapping[str, object], size: int) -> np.ndarray:
    """Which of the plan's cells each point is in; beyond them, one for each unseen combination."""
    labels = [np.broadcast_to(np.asarray(groups[g], object), size) for g in plan.groups]
    known = {tuple(c.values()): i for i, c in enumerate(plan.cells)}
    return np.array(
        [
            known.setdefault(key, len(known))
            for key in (zip(*labels, strict=True) if labels else [()] * size)
        ]
    )


def _inferred_drift(plan, values, log_law, columns, log_scale, cell, here, rng):
    """The drift that was inferred, its last share kept beyond the last run; (draw, point)."""
    steps = drifts.hinges(log_scale, *drifts.knots(plan.log_scale))
    draws, cells = len(log_law), len(plan.cells)
    weights = here["weights"]
    if cell.max() >= cells:  # a group nobody has seen drifts as the prior says
        unseen = rng.standard_normal((draws, cell.max() + 1 - cells, weights.shape[-1]))
        weights = np.concatenate([weights, unseen], axis=1)
    return drifted(plan, values, log_law, columns, steps, weights, cell)


def _beyond(plan, values, log_law, columns, log_scale, cell, edge, size, rng, starts_off):
    """Drift beyond `edge`: a random share of what the law promises from there on, which
    `starts_off` by an unknown share or at none; (draw, point)."""
    distance = log_scale - edge
    if not (distance > 0).any():
        return np.zeros_like(log_law)
    back = xr.DataArray(np.exp(-np.maximum(distance, 0) / len(columns)), dims="point")
    at_edge = np.log(plan.law({c: v * back for c, v in columns.items()}, plan.scales, values))
    shape = log_law.shape
    at_edge = at_edge.broadcast_like(xr.DataArray(np.zeros(shape[1]), dims="point"))
    promise = log_law - at_edge.transpose("chain", "draw", "point").to_numpy().reshape(shape)
    kept = np.zeros(shape)
    for i in np.unique(cell):
        start = size * rng.standard_normal(len(size)) if starts_off else 0.0
        own = np.maximum(distance[cell == i], 0)
        kept[:, cell == i] = drifts.wander(own, size, rng, start)
        if not starts_off:
            kept[:, cell == i] += drifts.breaks(own, len(size), rng)
    return promise * kept


def _remembered(posterior, plan, here, series, log_scale):
    """What the nearest checkpoint of its series leaves of a point's noise: the expected part, and
    the share of the scale that is still open; both (draw, point)."""
    labels = plan.runs.table["series"].astype(str).to_numpy()
    nearest, gap = np.zeros(len(series), int), np.full(len(series), np.inf)
    for i, label in enumerate(series):
        if label is not None:
            rows = np.flatnonzero(labels == label)
            away = np.abs(plan.log_scale[rows] - log_scale[i])
            nearest[i], gap[i] = rows[away.argmin()], away.min()
    keep = remembered(posterior, plan, gap)
    return keep * here["off"][:, nearest], np.sqrt(1 - keep**2)

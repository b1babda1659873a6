"""Reading a posterior: the parameters of any group, and what they say of any run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from bayescale.model.design import Design, Parameter, noise_factor
from bayescale.model.labels import NEW, settle_labels
from bayescale.priors import from_link, to_link


def settle_groups(plan: Design, group, size: int | None = None) -> dict[str, object]:
    """The labels of every group column of a fit; see `bayescale.model.labels.settle_labels`."""
    return settle_labels(group, plan.levels, size)


def parameters(
    posterior: xr.Dataset,
    plan: Design,
    groups: Mapping[str, object],
    rng: np.random.Generator,
    names: Sequence[str] | None = None,
) -> dict[str, xr.DataArray]:
    """Parameters on their natural scale, for settled groups.

    Returns
    -------
    dict of str to xarray.DataArray
        Dims (chain, draw), and ``point`` where a group column was given as an array.
    """
    wanted = plan.parameters if names is None else [plan.parameter(n) for n in names]
    return {p.name: _value(posterior, plan, p, groups, rng) for p in wanted}


def _value(posterior, plan, p: Parameter, groups, rng) -> xr.DataArray:
    link = p.prior.link
    if not p.effects:
        return posterior[p.name]
    base = to_link(link, posterior[p.name]) if p.has_population else p.prior.centre
    total = base
    for effect in p.effects:
        label = groups[effect.column]
        member = to_link(link, posterior[p.member(effect)])
        sizes = (posterior.sizes["chain"], posterior.sizes["draw"])
        offset = xr.DataArray(rng.standard_normal(sizes), dims=("chain", "draw"))
        scale = posterior[p.scale(effect)] if effect.pooling == "partial" else p.prior.width
        unseen = base + scale * offset
        if isinstance(label, str):
            here = unseen if label == NEW else member.sel({effect.column: label}, drop=True)
        else:
            levels = plan.levels[effect.column]
            every = xr.concat(
                [member.drop_vars(effect.column), unseen], dim=effect.column, coords="minimal"
            )
            place = [len(levels) if x == NEW else levels.index(x) for x in label]
            here = every.isel({effect.column: xr.DataArray(place, dims="point")})
        total = total + here - base
    return from_link(link, total)


def run_groups(plan: Design) -> dict[str, object]:
    """The groups of the runs that were fitted, as `parameters` takes them."""
    return {g: list(plan.runs.table[g].astype(str)) for g in plan.groups}


def residuals(posterior: xr.Dataset, plan: Design) -> dict[str, np.ndarray]:
    """How far the fitted runs stand from the law and its drift, in each draw.

    Returns
    -------
    dict
        ``drift`` in log loss (the weights of its hinges drawn from what they are given all else),
        ``scale`` of the noise, and ``off``, what is left of log loss in units of that scale; axes
        (draw, run), chains stacked. With drift, also ``weights``, axes (draw, cell, knot).
    """
    values = parameters(posterior, plan, run_groups(plan), np.random.default_rng(0))
    columns = {c: xr.DataArray(v, dims="point") for c, v in plan.columns.items()}
    law = np.log(plan.law(columns, plan.scales, values))
    scale = noise_scale(plan, values, law, xr.DataArray(plan.log_loss_sd, dims="point"))
    law, scale = (_stacked(v) for v in xr.broadcast(law, scale))
    here = dict(drift=np.zeros_like(law), scale=scale, off=(plan.log_loss - law) / scale)
    if plan.drift == "through":
        keep = remembered(posterior, plan)
        unit = hinges(plan, values, law, columns, plan.hinges)
        here["weights"] = _weights(plan, here["off"], unit / scale[..., None], keep)
        weight = here["weights"][:, plan.cell]
        here["drift"] = (unit * weight).sum(axis=-1)
        here["off"] = here["off"] - here["drift"] / scale
    return here


def noise_scale(plan: Design, values, log_law: xr.DataArray, log_loss_sd) -> xr.DataArray:
    """Scale of the noise of log loss where the law says `log_law`."""
    scale = values["sigma"]
    if plan.has_trend:
        scale = scale * noise_factor(values["trend"], log_law, plan.loss_range)
    return np.hypot(scale, log_loss_sd)


def hinges(plan: Design, values, law: np.ndarray, columns, steps: np.ndarray) -> np.ndarray:
    """The drift of runs per unit weight of each knot; (draw, run, knot), chains stacked.

    `law` is the log of the law at the `columns`, `steps` what the knots weigh there (see
    `bayescale.model.drift.hinges`).
    """
    at_knots, size = _at_knots(plan, values, columns)
    return size[..., None] * steps * (law[..., None] - at_knots)


def drifted(plan: Design, values, law, columns, steps, weights, cell) -> np.ndarray:
    """The drift of runs, (draw, run), where each `cell` gives its knots these `weights`, (draw,
    cell, knot): a sum over `hinges`, of which many draws of many runs would have too many to hold.
    """
    at_knots, size = _at_knots(plan, values, columns)
    out = np.empty_like(law)
    for i in np.unique(cell):
        own = cell == i
        weight, step = weights[:, i], steps[own]
        there = at_knots[:, own] if at_knots.shape[1] > 1 else at_knots
        out[:, own] = law[:, own] * (weight @ step.T) - np.einsum(
            "dk,drk,rk->dr", weight, there, step
        )
    return size * out


def _at_knots(plan: Design, values, columns) -> tuple[np.ndarray, np.ndarray]:
    """Log of the law where each run would be at the scale of each knot, (draw, run or 1, knot), and
    the size of the drift, (draw, 1)."""
    logs = {c: np.log(v.to_numpy() / plan.scales[c]) for c, v in columns.items()}
    log_scale = sum(np.log(v.to_numpy()) for v in columns.values())
    moved = {
        c: xr.DataArray(np.exp(v) * plan.scales[c], dims=("point", "knot")[-v.ndim :])
        for c, v in plan.log_columns_at_knots(logs, log_scale).items()
    }
    at_knots = np.log(plan.law(moved, plan.scales, values))
    if "point" not in at_knots.dims:
        at_knots = at_knots.expand_dims(point=1)
    at_knots = at_knots.transpose("chain", "draw", "point", "knot").to_numpy()
    at_knots = at_knots.reshape(-1, *at_knots.shape[2:])
    size = values["drift"].broadcast_like(values["sigma"]).to_numpy()
    return at_knots, size.reshape(len(at_knots), -1)[:, :1]


def remembered(posterior: xr.Dataset, plan: Design, gap: np.ndarray | None = None) -> np.ndarray:
    """The share of a checkpoint's noise that is left after `gap` e-folds; (draw, gap).

    Without a `gap`, that to the checkpoint before each run; zero where there is none.
    """
    gap = (
        (plan.before[1] if plan.has_series else np.full(len(plan.runs), np.inf))
        if (gap is None)
        else gap
    )
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    if "memory" not in posterior:
        return np.zeros((draws, len(gap)))
    return np.exp(-gap / posterior["memory"].to_numpy().reshape(-1, 1))


def _weights(plan: Design, off: np.ndarray, unit: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Draw the hinges' weights: normal given everything else, in each cell."""
    rng = np.random.default_rng(0)
    new = np.sqrt(1 - keep**2)
    if plan.has_series:
        before = plan.before[0]
        off = (off - keep * off[:, before]) / new
        unit = (unit - keep[..., None] * unit[:, before]) / new[..., None]
    out = np.zeros((len(off), len(plan.cells), unit.shape[-1]))
    for i in range(len(plan.cells)):
        rows = plan.cell == i
        across = np.swapaxes(unit[:, rows], 1, 2)
        precision = np.eye(unit.shape[-1]) + across @ unit[:, rows]
        root = np.linalg.cholesky(precision)
        expected = np.linalg.solve(precision, across @ off[:, rows, None])
        noise = rng.standard_normal((*expected.shape[:2], 1))
        out[:, i] = (expected + np.linalg.solve(np.swapaxes(root, 1, 2), noise))[..., 0]
    return out


def _stacked(array: xr.DataArray) -> np.ndarray:
    array = array.transpose("chain", "draw", "point").to_numpy()
    return array.reshape(-1, array.shape[-1])


def at_runs(posterior: xr.Dataset, plan: Design) -> dict[str, np.ndarray]:
    """What the model leaves open about the fitted runs, in each draw.

    Returns
    -------
    dict
        ``residual`` of log loss, given law, drift and the checkpoint before; its ``sigma`` and
        ``nu`` (infinite for normal noise), each with axes (draw, run); chains are stacked.
    """
    here = residuals(posterior, plan)
    off, scale = here["off"], here["scale"]
    nu = np.full_like(off, np.inf)
    if plan.drift != "through":
        values = parameters(posterior, plan, run_groups(plan), np.random.default_rng(0), ["nu"])
        point = xr.DataArray(np.zeros(len(plan.runs)), dims="point")
        nu = _stacked(xr.broadcast(values["nu"], point)[0])
    if plan.has_series:
        keep = remembered(posterior, plan)
        off = off - keep * off[:, plan.before[0]]
        return dict(residual=off * scale, sigma=scale * np.sqrt(1 - keep**2), nu=nu)
    return dict(residual=off * scale, sigma=scale, nu=nu)


def log_likelihood(posterior: xr.Dataset, plan: Design) -> xr.DataArray:
    """Log density of every run's log loss (given the checkpoint before); (chain, draw, run)."""
    from scipy.stats import t

    here = at_runs(posterior, plan)
    density = t.logpdf(here["residual"], here["nu"], scale=here["sigma"])
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], len(plan.runs))
    coords = {"run": [str(i) for i in plan.runs.table.index]}
    return xr.DataArray(density.reshape(shape), dims=("chain", "draw", "run"), coords=coords)

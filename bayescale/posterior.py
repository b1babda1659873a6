"""Reading a posterior: the parameters of any group, and what they say of any run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import FitError, unknown
from bayescale.model import Design, Parameter
from bayescale.priors import from_link, to_link

#: A label that stands for a group nobody has seen: drawn from the population.
NEW = "(new)"


def settle_groups(plan: Design, group, size: int | None = None) -> dict[str, object]:
    """What a user said of groups, as one label or one array of labels per group column.

    Parameters
    ----------
    plan : Design
    group : None, str, sequence of str, or mapping of column to those
        None stands for a new, unseen group. A mapping is needed with several group columns.
    size : int, optional
        Length that an array of labels must have.

    Raises
    ------
    FitError
        For labels or columns that the fit does not know.
    """
    if isinstance(group, Mapping):
        per_column = dict(group)
    elif len(plan.groups) > 1 and group is not None:
        raise FitError(f"this fit has the group columns {', '.join(plan.groups)}: give group= as a "
                       f"mapping, e.g. {{{plan.groups[0]!r}: {plan.levels[plan.groups[0]][0]!r}}}")
    elif not plan.groups and group is not None:
        raise FitError(f"this fit has no groups, but group={group!r} was asked for: fit with "
                       "groups=")
    else:
        per_column = dict.fromkeys(plan.groups, group)
    problems = [unknown("group column", c, plan.groups) for c in per_column if c not in plan.groups]
    settled: dict[str, object] = {}
    for column in plan.groups:
        said = per_column.get(column)
        scalar = np.ndim(said) == 0
        labels = [NEW if pd.isna(x) else str(x) for x in ([said] if scalar else said)]
        known = (*plan.levels[column], NEW)
        problems += [unknown(column, x, known) for x in dict.fromkeys(labels) if x not in known]
        if not scalar and size is not None and len(labels) != size:
            problems.append(f"{len(labels)} labels of {column} for {size} points")
        settled[column] = labels[0] if scalar else labels
    if problems:
        raise FitError(problems)
    return settled


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
            every = xr.concat([member.drop_vars(effect.column), unseen], dim=effect.column,
                              coords="minimal")
            place = [len(levels) if x == NEW else levels.index(x) for x in label]
            here = every.isel({effect.column: xr.DataArray(place, dims="point")})
        total = total + here - base
    return from_link(link, total)


def run_groups(plan: Design) -> dict[str, object]:
    """The groups of the runs that were fitted, as `parameters` takes them."""
    return {g: list(plan.runs.table[g].astype(str)) for g in plan.groups}


def at_runs(posterior: xr.Dataset, plan: Design) -> dict[str, np.ndarray]:
    """Where the fitted runs stand in each draw.

    Returns
    -------
    dict
        ``residual`` of log loss, ``sigma`` of the noise and ``nu``, each with axes (draw, run);
        chains are stacked.
    """
    values = parameters(posterior, plan, run_groups(plan), np.random.default_rng(0))
    columns = {c: xr.DataArray(v, dims="point") for c, v in plan.columns.items()}
    mean = np.log(plan.law(columns, plan.scales, values))
    sigma = np.hypot(values["sigma"], xr.DataArray(plan.log_loss_sd, dims="point"))
    mean, sigma, nu = xr.broadcast(mean, sigma, values["nu"])

    def stacked(array):
        array = array.transpose("chain", "draw", "point").to_numpy()
        return array.reshape(-1, array.shape[-1])

    return dict(residual=plan.log_loss - stacked(mean), sigma=stacked(sigma), nu=stacked(nu))


def log_likelihood(posterior: xr.Dataset, plan: Design) -> xr.DataArray:
    """Log density of every run's log loss; dims (chain, draw, run)."""
    from scipy.stats import t

    here = at_runs(posterior, plan)
    density = t.logpdf(here["residual"], here["nu"], scale=here["sigma"])
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], len(plan.runs))
    coords = {"run": [str(i) for i in plan.runs.table.index]}
    return xr.DataArray(density.reshape(shape), dims=("chain", "draw", "run"), coords=coords)

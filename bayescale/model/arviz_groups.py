"""The groups of a fit that functions of ArviZ read, besides the posterior."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayescale.model.design import Design
from bayescale.model.posterior import at_runs, log_likelihood
from bayescale.model.simulation import draw_prior

#: Draws from the prior.
PRIOR_DRAWS = 2000
#: Largest number of draws per chain of the posterior predictive; plots show fewer.
PREDICTIVE_DRAWS = 50


def arviz_groups(
    posterior: xr.Dataset, plan: Design, random_seed: int, most: int | None = None
) -> dict[str, xr.Dataset]:
    """Prior, log likelihood, posterior predictive and data of a fit.

    Parameters
    ----------
    posterior : xarray.Dataset
    plan : Design
    random_seed : int
        Seed of the draws from the prior and the posterior predictive.
    most : int, optional
        Largest number of values of the log likelihood; with more, draws are thinned.

    Returns
    -------
    dict of str to xarray.Dataset
        ``prior``; ``log_likelihood``, ``posterior_predictive`` and ``observed_data`` with the
        variable ``log_loss``; ``constant_data`` with the columns of the runs. The dim of runs is
        ``run``, labelled as the rows of the table. Likelihood and predictive of a checkpoint are
        conditional on the previous checkpoint of its series.
    """
    runs = {"run": [str(label) for label in plan.runs.table.index]}
    likelihood_draws = posterior
    if most is not None:
        likelihood_draws = thinned(posterior, most // (posterior.sizes["chain"] * len(plan.runs)))
    rng = np.random.default_rng(random_seed)
    return {
        "prior": _prior(posterior, plan, rng),
        "log_likelihood": _with_thinning(
            xr.Dataset({"log_loss": log_likelihood(likelihood_draws, plan)}), posterior
        ),
        "posterior_predictive": _with_thinning(
            _predictive(thinned(posterior, PREDICTIVE_DRAWS), plan, runs, rng), posterior
        ),
        "observed_data": xr.Dataset({"log_loss": ("run", plan.log_loss)}, coords=runs),
        "constant_data": _constants(plan, runs),
    }


def thinned(posterior: xr.Dataset, draws: int) -> xr.Dataset:
    """Evenly spaced draws of each chain: `draws` or fewer, but at least one."""
    every = -(-posterior.sizes["draw"] // max(draws, 1))
    return posterior.isel(draw=slice(None, None, every))


def _with_thinning(group: xr.Dataset, posterior: xr.Dataset) -> xr.Dataset:
    """A group with an attribute that describes how its draws were thinned, if they were."""
    remaining, all_draws = group.sizes["draw"], posterior.sizes["draw"]
    if remaining == all_draws:
        return group
    return group.assign_attrs(thinned=f"{remaining} of {all_draws} draws per chain, evenly spaced")


def _prior(posterior: xr.Dataset, plan: Design, rng: np.random.Generator) -> xr.Dataset:
    variables = {}
    for name, values in draw_prior(plan, PRIOR_DRAWS, rng).items():
        dims = posterior[name].dims[2:]
        coords = {d: posterior.coords[d] for d in dims}
        variables[name] = xr.DataArray(values[None], dims=("chain", "draw", *dims), coords=coords)
    return xr.Dataset(variables)


def _predictive(posterior: xr.Dataset, plan: Design, runs, rng: np.random.Generator) -> xr.Dataset:
    """Posterior predictive draws of the log losses of the same runs."""
    conditional = at_runs(posterior, plan)
    nu = conditional["nu"]
    is_normal = np.isinf(nu)
    noise = np.where(
        is_normal,
        rng.standard_normal(is_normal.shape),
        rng.standard_t(np.where(is_normal, 1.0, nu)),
    )
    values = plan.log_loss - conditional["residual"] + conditional["sigma"] * noise
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], len(plan.runs))
    coords = {d: posterior.coords[d] for d in ("chain", "draw") if d in posterior.coords}
    return xr.Dataset(
        {"log_loss": (("chain", "draw", "run"), values.reshape(shape))}, coords={**coords, **runs}
    )


def _constants(plan: Design, runs) -> xr.Dataset:
    """Columns of the runs: those of the law, N, D and C, group labels, series and loss_sd."""
    table = plan.runs.table
    numbers = [c for c in dict.fromkeys((*plan.law.columns, *"NDC", "loss_sd")) if c in table]
    labels = [c for c in (*plan.groups, "series") if c in table]
    columns = {c: table[c].to_numpy(float) for c in numbers}
    columns |= {c: table[c].astype(str).to_numpy(str) for c in labels}
    return xr.Dataset({c: ("run", values) for c, values in columns.items()}, coords=runs)

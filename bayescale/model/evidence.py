"""The evidence of a posterior that was sampled by chains, by bridge sampling."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayescale.inference import Evidence, bridge_halves, fitted_mixture
from bayescale.model.density import coordinates, density
from bayescale.model.design import Design

#: Number of posterior draws that are used, and of draws from each proposal.
POSTERIOR_DRAWS, PROPOSAL_DRAWS = 4000, 4000


def evidence(posterior: xr.Dataset, plan: Design, effective: float, random_seed: int) -> Evidence:
    """Log of the marginal likelihood of the runs, and its standard error.

    Parameters
    ----------
    posterior : xarray.Dataset
    plan : Design
    effective : float
        Effective number of the draws.
    random_seed : int
    """
    rng = np.random.default_rng([random_seed, 1])
    target = density(plan)
    stacked = posterior.stack(sample=("chain", "draw"))
    values = {n: v.transpose("sample", ...).to_numpy() for n, v in stacked.data_vars.items()}
    z = coordinates(plan, values)
    z = z[rng.permutation(len(z))[:POSTERIOR_DRAWS]]
    effective = min(effective, len(z))
    return bridge_halves(
        target.log_posterior,
        z,
        target.log_posterior(z),
        effective,
        lambda half: fitted_mixture(half, effective / 2, rng),
        PROPOSAL_DRAWS,
        rng,
    )

"""The evidence of a posterior that was sampled by NUTS, by bridge sampling."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayescale.inference import Evidence, bridge, fitted_mixture
from bayescale.model.density import coordinates, density
from bayescale.model.design import Design

#: Draws of the posterior that are used, and draws of each proposal.
POSTERIOR_DRAWS, PROPOSAL_DRAWS = 4000, 4000


def evidence(posterior: xr.Dataset, plan: Design, effective: float, random_seed: int) -> Evidence:
    """Log of the marginal likelihood of the runs, and its standard error.

    Half of the draws are bridged to a mixture that was fitted to the other half, and the other way
    round. The error includes the difference between the two.

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
    value, half = target.log_posterior(z), len(z) // 2
    effective = min(effective, len(z)) / 2
    found = []
    for other, own in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        proposal = fitted_mixture(z[other], effective, rng)
        new = proposal.draw(PROPOSAL_DRAWS, rng)
        found.append(
            bridge(
                value[own] - proposal.log_density(z[own]),
                target.log_posterior(new) - proposal.log_density(new),
                effective,
            )
        )
    one, two = found
    error = max(np.hypot(one.error, two.error), abs(one.log - two.log)) / 2
    return Evidence((one.log + two.log) / 2, float(error))

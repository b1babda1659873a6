"""Convergence diagnostics: R-hat, effective sample sizes, divergences and energy.

R-hat and effective sample sizes are rank-normalised, with thresholds of Vehtari et al. 2021,
arXiv:1903.08008. BFMI is the Bayesian fraction of missing information.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr

#: Chains have converged if R-hat is at most the first value, the effective sample size and the BFMI
#: are at least the other two, and no transition diverged.
R_HAT_BELOW = 1.01
ESS_ABOVE = 400
BFMI_ABOVE = 0.3


@dataclass(frozen=True)
class Convergence:
    """The worst diagnostics of a set of chains.

    Attributes
    ----------
    r_hat : float
        Largest R-hat; NaN for one chain.
    r_hat_of : str
        The scalar that has it, such as ``E`` or ``E_dataset[c4]``.
    ess : float
        Smallest bulk or tail effective sample size.
    ess_of : str
        The scalar that has it.
    divergences : int
        Number of divergent transitions.
    bfmi : float
        Smallest BFMI of the chains; NaN without energies.
    """

    r_hat: float
    r_hat_of: str
    ess: float
    ess_of: str
    divergences: int
    bfmi: float

    @property
    def passed(self) -> bool:
        """Whether all diagnostics are within their thresholds."""
        return (
            self.r_hat <= R_HAT_BELOW
            and self.ess >= ESS_ABOVE
            and self.divergences == 0
            and not self.bfmi < BFMI_ABOVE
        )

    def __str__(self) -> str:
        return f"R-hat <= {self.r_hat:.3f}, ESS >= {self.ess:.0f}, {self.divergences} divergences"


def flatten(posterior: xr.Dataset) -> tuple[list[str], np.ndarray]:
    """Names and draws of all scalars of a posterior.

    Returns
    -------
    tuple of list of str and array (chain, draw, scalar)
        Names are like ``E_dataset[c4]``.
    """
    names: list[str] = []
    columns = []
    for name, variable in posterior.data_vars.items():
        values = variable.transpose("chain", "draw", ...)
        flat = values.to_numpy().reshape(*values.shape[:2], -1)
        columns.append(flat)
        if values.ndim == 2:
            names.append(str(name))
        else:
            labels = product(*(values.coords[d].to_numpy() for d in values.dims[2:]))
            names += [f"{name}[{', '.join(map(str, label))}]" for label in labels]
    return names, np.concatenate(columns, axis=2)


def scalars(posterior: xr.Dataset) -> dict[str, dict[str, float]]:
    """``ess_bulk``, ``ess_tail`` and ``r_hat`` of all scalars, by the names of `flatten`."""
    from arviz_stats.base import array_stats

    names, values = flatten(posterior)
    axes = dict(chain_axis=0, draw_axis=1)
    diagnostics = dict(
        ess_bulk=array_stats.ess(values, **axes),
        ess_tail=array_stats.ess(values, method="tail", prob=0.9, **axes),
        r_hat=array_stats.rhat(values, **axes)
        if values.shape[0] > 1
        else np.full(values.shape[2], np.nan),
    )
    return {n: {k: float(v[i]) for k, v in diagnostics.items()} for i, n in enumerate(names)}


def convergence(posterior: xr.Dataset, stats: xr.Dataset) -> Convergence:
    """The worst diagnostics over all variables."""
    from arviz_stats.base import array_stats

    values_of = scalars(posterior)
    ess = {n: min(v["ess_bulk"], v["ess_tail"]) for n, v in values_of.items()}
    lowest_ess = min(ess, key=lambda n: ess[n])
    largest_r_hat = max(values_of, key=lambda n: np.nan_to_num(values_of[n]["r_hat"]))
    bfmi = np.nan
    if "energy" in stats:
        energy = stats["energy"].transpose("chain", "draw").to_numpy()
        bfmi = float(np.min(array_stats.bfmi(energy, chain_axis=0, draw_axis=1)))
    return Convergence(
        r_hat=values_of[largest_r_hat]["r_hat"],
        r_hat_of=largest_r_hat,
        ess=ess[lowest_ess],
        ess_of=lowest_ess,
        divergences=int(stats["diverging"].sum()) if "diverging" in stats else 0,
        bfmi=bfmi,
    )

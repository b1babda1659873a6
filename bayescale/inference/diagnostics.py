"""How exact draws are.

For chains: R-hat, effective sample sizes, divergences and energy (Vehtari et al. 2021,
arXiv:1903.08008, give the rank-normalised forms and the thresholds). For importance sampling: the
effective sample size, the tail of the weights, and the standard error of the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr

R_HAT_BELOW = 1.01
ESS_ABOVE = 400
BFMI_ABOVE = 0.3
PARETO_K_BELOW = 0.7
SHIFT_BELOW = 0.15
EVIDENCE_ERROR_BELOW = 0.1


@dataclass(frozen=True)
class Convergence:
    """The worst figures of a set of chains, and the variables that have them."""

    r_hat: float
    r_hat_of: str
    ess: float
    ess_of: str
    divergences: int
    bfmi: float

    @property
    def passed(self) -> bool:
        """Whether every figure is within its threshold."""
        return not self.failures()

    def failures(self) -> tuple[str, ...]:
        """Each diagnostic that failed, in words, with its value and its threshold."""
        failed = []
        if not self.r_hat <= R_HAT_BELOW:
            failed.append(f"R-hat of {self.r_hat_of} is {self.r_hat:.3f} (at most {R_HAT_BELOW})")
        if not self.ess >= ESS_ABOVE:
            failed.append(
                f"the effective sample size of {self.ess_of} is {self.ess:.0f} "
                f"(at least {ESS_ABOVE})"
            )
        if self.divergences:
            failed.append(
                f"{self.divergences} transition{'s' * (self.divergences > 1)} diverged (at most 0)"
            )
        if self.bfmi < BFMI_ABOVE:
            failed.append(f"the energy diagnostic BFMI is {self.bfmi:.2f} (at least {BFMI_ABOVE})")
        return tuple(failed)

    def __str__(self) -> str:
        return f"R-hat <= {self.r_hat:.3f}, ESS >= {self.ess:.0f}, {self.divergences} divergences"


@dataclass(frozen=True)
class ImportanceDiagnostics:
    """How exact independent draws are, and the evidence.

    Attributes
    ----------
    ess : float
        Effective number of independent draws, before they were thinned to those of the result.
    pareto_k : float
        Shape of the tail of the importance weights (Vehtari et al. 2024, arXiv:1507.02646); NaN if
        the draws were moved after they were weighted.
    log_evidence, error : float
        Log of the marginal likelihood and its standard error.
    moves : int
        Number of moves after the last weighting.
    shift : float
        Largest change of the distribution of a coordinate in the second half of the moves: of its
        mean in standard deviations, or of the log of its standard deviation.
    """

    ess: float
    pareto_k: float
    log_evidence: float
    error: float
    moves: int = 0
    shift: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every figure is within its threshold."""
        return not self.failures()

    def failures(self) -> tuple[str, ...]:
        """Each diagnostic that failed, in words, with its value and its threshold."""
        failed = []
        if not self.ess >= ESS_ABOVE:
            failed.append(f"only {self.ess:.0f} draws are effective (at least {ESS_ABOVE})")
        if self.shift > SHIFT_BELOW:
            failed.append(
                f"the draws still spread after {self.moves} moves: by {self.shift:.2f} standard "
                f"deviations in the second half (at most {SHIFT_BELOW})"
            )
        if self.pareto_k > PARETO_K_BELOW:
            failed.append(f"Pareto k is {self.pareto_k:.2f} (at most {PARETO_K_BELOW})")
        if not self.error <= EVIDENCE_ERROR_BELOW:
            failed.append(
                f"the standard error of the log evidence is {self.error:.2f} "
                f"(at most {EVIDENCE_ERROR_BELOW})"
            )
        return tuple(failed)

    def __str__(self) -> str:
        how = f"{self.moves} moves" if self.moves else f"Pareto k {self.pareto_k:.2f}"
        return (
            f"{self.ess:.0f} effective draws, {how}, "
            f"log evidence {self.log_evidence:.2f} +- {self.error:.2f}"
        )


def flatten(posterior: xr.Dataset) -> tuple[list[str], np.ndarray]:
    """Every scalar of a posterior: names such as ``E_dataset[c4]``, and (chain, draw, scalar)."""
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
    """R-hat and effective sample sizes of every scalar, by the names of `flatten`."""
    from arviz_stats.base import array_stats

    names, values = flatten(posterior)
    axes = dict(chain_axis=0, draw_axis=1)
    figures = dict(
        ess_bulk=array_stats.ess(values, **axes),
        ess_tail=array_stats.ess(values, method="tail", prob=0.9, **axes),
        r_hat=array_stats.rhat(values, **axes)
        if values.shape[0] > 1
        else np.full(values.shape[2], np.nan),
    )
    return {n: {k: float(v[i]) for k, v in figures.items()} for i, n in enumerate(names)}


def convergence(posterior: xr.Dataset, stats: xr.Dataset) -> Convergence:
    """The worst figures over all variables."""
    from arviz_stats.base import array_stats

    each = scalars(posterior)
    by_ess = min(each, key=lambda n: min(each[n]["ess_bulk"], each[n]["ess_tail"]))
    by_r_hat = max(each, key=lambda n: np.nan_to_num(each[n]["r_hat"]))
    bfmi = np.nan
    if "energy" in stats:
        energy = stats["energy"].transpose("chain", "draw").to_numpy()
        bfmi = float(np.min(array_stats.bfmi(energy, chain_axis=0, draw_axis=1)))
    return Convergence(
        r_hat=each[by_r_hat]["r_hat"],
        r_hat_of=by_r_hat,
        ess=min(each[by_ess]["ess_bulk"], each[by_ess]["ess_tail"]),
        ess_of=by_ess,
        divergences=int(stats["diverging"].sum()) if "diverging" in stats else 0,
        bfmi=bfmi,
    )


def particle_convergence(names: list[str], draws: np.ndarray) -> Convergence:
    """The worst figures of chains that consist of many particles.

    The particles of a chain are chains too, from which the effective sample size is estimated. They
    are short, so that R-hat compares the unions of all particles of a chain instead (Margossian et
    al. 2024, arXiv:2110.13017).

    Parameters
    ----------
    names : list of str
    draws : (chain, particle, draw, scalar)
        Independent particles.
    """
    from arviz_stats.base import array_stats

    axes, scalars = dict(chain_axis=0, draw_axis=1), draws.shape[3]
    particles = draws.reshape(-1, *draws.shape[2:])
    chains = draws.transpose(0, 2, 1, 3).reshape(len(draws), -1, scalars)  # in the order of draws
    tail = array_stats.ess(particles, method="tail", prob=0.9, **axes)
    ess = np.minimum(array_stats.ess(particles, **axes), tail)
    # A chain that stands still has no figure.
    ess = np.nan_to_num(ess)
    r_hat = np.nan_to_num(array_stats.rhat(chains, **axes), nan=np.inf)
    least, most = int(ess.argmin()), int(r_hat.argmax())
    figures = float(r_hat[most]), names[most], float(ess[least]), names[least]
    return Convergence(*figures, divergences=0, bfmi=np.nan)

"""The result of a fit: the posterior of a scaling law, its check, its parameters and its file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.data import Runs
from bayescale.errors import ConvergenceWarning, FitError
from bayescale.inference import (
    Convergence,
    Evidence,
    ImportanceDiagnostics,
    convergence,
    flatten,
    scalars,
)
from bayescale.intervals import Summary, defaults, table
from bayescale.laws import Law
from bayescale.model.arviz_groups import arviz_groups
from bayescale.model.checks import check
from bayescale.model.design import Design
from bayescale.model.evidence import evidence
from bayescale.model.findings import Check
from bayescale.model.posterior import parameters, settle_groups
from bayescale.model.pymc_model import build
from bayescale.model.storage import Storable

if TYPE_CHECKING:
    import pymc as pm

#: Values of the log likelihood that a file holds, at most (4 bytes each).
SAVED_VALUES = 2_000_000


@dataclass(frozen=True, eq=False)
class Fit(Storable):
    """The posterior of a scaling law, given runs.

    ``save(path)`` writes one netCDF file and ``Fit.load(path)`` reads it. ``az.from_netcdf(path)``
    reads the groups of `data` from the same file: the posterior predictive and, for large fits, the
    log likelihood with fewer draws, both in single precision.

    Attributes
    ----------
    plan : Design
        Law, runs, groups, pooling, priors and reference scales.
    posterior : xarray.Dataset
        Draws of the parameters on their natural scale; dims (chain, draw) and one dim per group
        column. The columns of the runs are divided by reference scales (their geometric means), so
        ``A`` and ``B`` are the reducible losses at the centre of the runs, in their unit.
    stats : xarray.Dataset
        The sampler's statistics of each draw; dims (chain, draw).
    random_seed : int
        The seed that was used.
    facts : dict
        Settings of the sampler, run time in seconds, and versions of the packages.
    """

    plan: Design
    posterior: xr.Dataset = field(repr=False)
    stats: xr.Dataset = field(repr=False)
    random_seed: int = 0
    facts: dict = field(default_factory=dict, repr=False)

    # Convergence is computed before thinning, so it does not follow from the stored draws.
    _cached = ("convergence",)

    @property
    def runs(self) -> Runs:
        """The runs that were fitted."""
        return self.plan.runs

    @property
    def law(self) -> Law:
        """The law that was fitted."""
        return self.plan.law

    @property
    def groups(self) -> tuple[str, ...]:
        """The group columns."""
        return self.plan.groups

    @cached_property
    def model(self) -> pm.Model:
        """The PyMC model, with these runs as its data."""
        return build(self.plan)

    @cached_property
    def data(self) -> xr.DataTree:
        """The fit in the groups that functions of ArviZ expect.

        Groups ``posterior``, ``prior``, ``sample_stats``, ``log_likelihood``,
        ``posterior_predictive`` (50 draws per chain), ``observed_data`` and ``constant_data`` (the
        columns of the runs). Losses are given as ``log_loss``, the log of the loss in the
        unit of the runs; the dim ``run`` has the row labels of the table.
        """
        groups = arviz_groups(self.posterior, self.plan, self.random_seed)
        return xr.DataTree.from_dict(
            {"posterior": self.posterior, "sample_stats": self.stats, **groups}
        )

    def _arviz_groups(self) -> dict[str, xr.Dataset]:
        groups = arviz_groups(self.posterior, self.plan, self.random_seed, SAVED_VALUES)
        for name in ("prior", "log_likelihood", "posterior_predictive"):
            groups[name] = groups[name].astype(np.float32)
        return groups

    @cached_property
    def convergence(self) -> Convergence | ImportanceDiagnostics:
        """The accuracy of the draws.

        With NUTS: R-hat, effective sample size, divergences and energy of all draws, before
        thinning; with Gibbs R-hat and effective sample size. With particles: the effective sample
        size, the tail of the importance weights and the standard error of the evidence.
        """
        return convergence(self.posterior, self.stats)

    @cached_property
    def evidence(self) -> Evidence:
        """Log of the marginal likelihood of the runs under the law, and its standard error.

        Of fits to the same runs, the difference is the log of the Bayes factor. With particles it
        is computed while sampling, otherwise by bridge sampling (Meng & Wong 1996).
        """
        found = self.convergence
        if isinstance(found, ImportanceDiagnostics):
            return Evidence(found.log_evidence, found.error)
        return evidence(self.posterior, self.plan, found.ess, self.random_seed)

    @cached_property
    def _check(self) -> Check:
        return check(self.posterior, self.plan, self.convergence)

    def check(self) -> Check:
        """Check convergence, the fit of the model to the runs, and the information in the runs.

        Returns
        -------
        Check
            Its ``repr`` has one line per finding; ``passed`` is false if a finding failed.

        Notes
        -----
        The checks are:

        * convergence: R-hat, effective sample sizes, divergences and energy;
        * runs: their number, and the correlation of checkpoints;
        * design: whether the columns vary enough to identify the parameters;
        * information: the reduction of the prior variance of each parameter;
        * prior: whether the posterior lies far from the centre of the prior;
        * misfit: structure of the residuals along log N, log D and log C and between groups, in
          their mean and in their scale;
        * dependence: correlated residuals of runs of one size;
        * outlier: runs far from the law, by row;
        * influence: runs that decide a parameter, by row (Bayesian infinitesimal jackknife,
          Giordano & Broderick 2023, arXiv:2305.06466).

        Their rates of false alarms and their power are in ``benchmarks/results/checks.csv`` and
        ``checks_power.csv``.
        """
        return self._check

    def warn_if_failed(self, stacklevel: int = 3) -> None:
        """Warn if this fit failed its check."""
        failed = [f for f in self.check().problems if f.level == "failed"]
        if failed:
            reasons = "; ".join(f"{f.name}: {f.text}" for f in failed)
            warnings.warn(
                f"this fit failed its check ({reasons}): do not rely on its intervals; see "
                "fit.check()",
                ConvergenceWarning,
                stacklevel=stacklevel,
            )

    def parameters(self, group: str | Mapping[str, str] | None = None) -> xr.Dataset:
        """Parameters of one group on their natural scale.

        Parameters
        ----------
        group : str or mapping of column to str, optional
            A fitted group. By default a new group, whose parameters are drawn from the population.

        Returns
        -------
        xarray.Dataset
            One variable per parameter, including ``sigma`` and ``nu`` of the noise; dims (chain,
            draw).

        Raises
        ------
        FitError
            If the group was not fitted.
        """
        rng = np.random.default_rng(self.random_seed)
        settled = settle_groups(self.plan, group)
        return xr.Dataset(parameters(self.posterior, self.plan, settled, rng))

    def members(self) -> list[dict[str, str]]:
        """Every combination of group labels among the runs; one empty mapping without groups."""
        return list(self.plan.cells)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """The posterior in a table.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.
        ci_kind : {"eti", "hdi"}, optional
            Equal-tailed or highest-density intervals; by default ArviZ's ``stats.ci_kind``.

        Returns
        -------
        pandas.DataFrame
            One row per parameter and group (``E``, ``E_dataset[c4]``), on the natural scale at the
            reference scales; then the constants that papers quote, in raw units, as ``A (raw)``.
            Columns ``median``, its interval, ``mean``, ``sd``, and ``ess_bulk``, ``ess_tail`` and
            ``r_hat`` of the draws in `posterior`. If sampling was repeated, ``attrs["sampling"]``
            describes the last attempt.

        Warns
        -----
        ConvergenceWarning
            If the fit failed its check.
        """
        self.warn_if_failed()
        prob, kind = defaults(ci_prob, ci_kind)
        rows = {}
        if isinstance(self.convergence, ImportanceDiagnostics):  # not chains
            names, draws = flatten(self.posterior)
            ess = min(self.convergence.ess, draws.shape[0] * draws.shape[1])
            figures = {n: dict(ess_bulk=ess, ess_tail=ess, r_hat=np.nan) for n in names}
        else:
            figures = scalars(self.posterior)
        for name, variable in self.posterior.data_vars.items():
            dim = variable.dims[2] if variable.ndim > 2 else None
            for label in [None] if dim is None else variable.coords[dim].values:
                draws = variable if label is None else variable.sel({dim: label})
                key = name if label is None else f"{name}[{label}]"
                rows[key] = {**_described(draws, prob, kind), **figures[key]}
        rows |= {k: _described(v, prob, kind) for k, v in self._constants().items()}
        out = Summary(pd.DataFrame(rows).T.rename_axis("parameter"))
        if self._repeated:
            out.attrs["sampling"] = self._repeated
        return out

    @property
    def _repeated(self) -> str:
        """The last attempt if sampling was repeated after it failed; else empty."""
        if self.facts.get("attempts", 1) < 2:
            return ""
        if self.facts.get("engine") == "particles":
            return "importance sampling was repeated with other random numbers"
        thinned = self.facts["length"] > self.facts["draws"]
        return (
            f"sampled again with target_accept {self.facts['target_accept']}, "
            f"{self.facts['length']} draws per chain"
            + (f", thinned to {self.facts['draws']}" if thinned else "")
        )

    def _constants(self) -> dict[str, xr.DataArray]:
        """Constants of the law in raw units, of the population or of each group."""
        if self.law.constants is None:
            return {}
        out = {}
        for member in self.members():
            values = self.parameters(member or None)
            labels = f"[{', '.join(member.values())}]" if member else ""
            raw = self.law.constants(
                *(self.plan.scales[c] for c in self.law.columns),
                **{p: values[p] for p in self.law.parameters},
            )
            out |= {f"{name} (raw){labels}": draws for name, draws in raw.items()}
        return out

    def __repr__(self) -> str:
        over = f" over {', '.join(self.groups)}" if self.groups else ""
        problems = self.check().problems
        verdict = self.check().verdict
        lines = [f"<Fit of {self.law.name} to {len(self.runs)} runs{over}; {self.convergence}>"]
        lines += [f"  {self._repeated}"] if self._repeated else []
        lines += [f"  note: {self.runs.lacking}"] if self.runs.lacking else []
        draws = self.parameters(self.members()[0]) if not self.groups else self.posterior
        shown = [
            f"{p} {float(draws[p].median()):.3g} ± {float(draws[p].std()):.2g}"
            for p in self.law.parameters
            if p in draws
        ]
        lines.append("  " + (", ".join(shown) or "no parameter has a population value"))
        lines.append(f"  {verdict}" + (":" if problems else ""))
        return "\n".join([*lines, *(f"    {f}" for f in problems)])


class Mixture(Protocol):
    """What this folder needs of a `bayescale.Average`, which a higher folder defines."""

    @property
    def used(self) -> dict[str, Fit]:
        """The fits of positive weight, by law."""


def fits_by_law(fit: Fit | Mixture, where: str) -> dict[str, Fit]:
    """The fits of an average that are used, by law; a single fit has an empty name.

    Raises
    ------
    FitError
        If this is neither.
    """
    if isinstance(fit, Fit):
        return {"": fit}
    used = getattr(fit, "used", None)
    if isinstance(used, Mapping) and all(isinstance(member, Fit) for member in used.values()):
        return {name if len(used) > 1 else "": member for name, member in used.items()}
    raise FitError(
        f"got {type(fit).__name__}: give a Fit or an Average, the results of bs.fit and "
        "bs.ensemble",
        where=where,
    )


def _described(draws: xr.DataArray, prob: float, kind: str) -> dict[str, float]:
    row = table(draws, "median", prob, kind).iloc[0].to_dict()
    return {**row, "mean": float(draws.mean()), "sd": float(draws.std())}

"""A fitted scaling law: sample it, check it, read it, keep it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayescale import laws
from bayescale.data import Runs
from bayescale.errors import ConvergenceWarning
from bayescale.inference import Convergence, convergence, nuts, scalars
from bayescale.intervals import defaults, table
from bayescale.laws import Law
from bayescale.model import storage as store
from bayescale.model.checks import check
from bayescale.model.design import Design, design, draw_prior
from bayescale.model.findings import Check
from bayescale.model.posterior import NEW, log_likelihood, parameters, settle_groups
from bayescale.model.pymc_model import build, target
from bayescale.priors import Prior

PRIOR_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Fit:
    """The posterior of a scaling law, given runs.

    Attributes
    ----------
    plan : Design
        Law, runs, groups, pooling, priors and reference scales.
    posterior : xarray.Dataset
        Draws on the natural scale; dims (chain, draw) and one per group column. ``A`` and ``B``
        hold at the reference scales: the loss still to be won at the centre of the runs.
    stats : xarray.Dataset
        What the sampler noted of each draw.
    random_seed : int
        The seed that was used.
    facts : dict
        Settings, timings and versions.
    """

    plan: Design
    posterior: xr.Dataset = field(repr=False)
    stats: xr.Dataset = field(repr=False)
    random_seed: int = 0
    facts: dict = field(default_factory=dict, repr=False)

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
    def model(self):
        """The ``pymc.Model``, with these runs as its data."""
        return build(self.plan)

    @cached_property
    def data(self) -> xr.DataTree:
        """Everything ArviZ's functions ask for, as one tree.

        Groups ``posterior``, ``prior``, ``sample_stats``, ``log_likelihood`` and
        ``observed_data``; log losses have the dim ``run``, labelled as the source labels rows.
        """
        rng = np.random.default_rng(self.random_seed)
        names = [str(i) for i in self.runs.table.index]
        observed = xr.DataArray(self.plan.log_loss, dims="run", coords={"run": names})
        prior = {}
        for name, values in draw_prior(self.plan, PRIOR_DRAWS, rng).items():
            dims = self.posterior[name].dims[2:]
            coords = {d: self.posterior.coords[d] for d in dims}
            prior[name] = xr.DataArray(values[None], dims=("chain", "draw", *dims), coords=coords)
        return xr.DataTree.from_dict(
            {
                "posterior": self.posterior,
                "prior": xr.Dataset(prior),
                "sample_stats": self.stats,
                "log_likelihood": xr.Dataset(
                    {"log_loss": log_likelihood(self.posterior, self.plan)}
                ),
                "observed_data": xr.Dataset({"log_loss": observed}),
            }
        )

    @cached_property
    def convergence(self) -> Convergence:
        """Whether the chains agree."""
        return convergence(self.posterior, self.stats)

    @cached_property
    def _check(self) -> Check:
        return check(self.posterior, self.plan, self.convergence)

    def check(self) -> Check:
        """Find what is wrong with this fit and what its runs cannot tell.

        Returns
        -------
        Check
            Its ``repr`` is sentences; ``passed`` is false if a finding failed. Checked are:
            R-hat, effective sample sizes, divergences and energy; how far the posterior of each
            parameter contracted from its prior, or lies from it; whether the design identifies the
            parameters; structure left in the residuals along log N, log D, log C and between
            groups, in their mean and in their scale, and scatter that runs of one size share;
            outliers, and runs that decide a parameter (Bayesian infinitesimal jackknife, Giordano &
            Broderick 2023, arXiv:2305.06466), by row; whether checkpoints are counted as runs. On
            simulated tables without a fault each finding calls for caution on at most 5 %.
        """
        return self._check

    def warn_if_failed(self, stacklevel: int = 3) -> None:
        """Warn, once per summary made, if this fit failed its check."""
        failed = [f for f in self.check().problems if f.level == "failed"]
        if failed:
            reasons = "; ".join(f"{f.name}: {f.text}" for f in failed)
            warnings.warn(
                f"this fit failed its check ({reasons}): do not rely on its intervals; see "
                "fit.check()",
                ConvergenceWarning,
                stacklevel=stacklevel,
            )

    def parameters(self, group=None) -> xr.Dataset:
        """Parameters of one group on their natural scale.

        Parameters
        ----------
        group : str or mapping of column to str, optional
            A group that was fitted; None draws a new one from the population.

        Returns
        -------
        xarray.Dataset
            One variable per parameter, the noise's ``sigma`` and ``nu`` included; dims (chain,
            draw).

        Raises
        ------
        FitError
            For a group the fit does not know.
        """
        rng = np.random.default_rng(self.random_seed)
        settled = settle_groups(self.plan, group)
        return xr.Dataset(parameters(self.posterior, self.plan, settled, rng))

    def members(self) -> list[dict[str, str]]:
        """Every combination of group labels among the runs, or one empty one without groups."""
        if not self.groups:
            return [{}]
        frame = self.runs.table[list(self.groups)].astype(str).drop_duplicates()
        return frame.sort_values(list(self.groups)).to_dict("records")

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """The posterior in a table.

        Parameters
        ----------
        ci_prob, ci_kind : optional
            Probability and kind (``"eti"``, ``"hdi"``) of the intervals; ArviZ's defaults.

        Returns
        -------
        pandas.DataFrame
            One row per parameter and group (``E``, ``E_dataset[c4]``), on the natural scale at the
            reference scales; then the raw constants that papers quote, as ``A (raw)``. Columns
            ``median``, its interval, ``mean``, ``sd``, ``ess_bulk``, ``ess_tail``, ``r_hat``.

        Warns
        -----
        ConvergenceWarning
            If the fit failed its check.
        """
        self.warn_if_failed()
        prob, kind = defaults(ci_prob, ci_kind)
        rows = {}
        figures = scalars(self.posterior)
        for name, variable in self.posterior.data_vars.items():
            dim = variable.dims[2] if variable.ndim > 2 else None
            for label in [None] if dim is None else variable.coords[dim].values:
                draws = variable if label is None else variable.sel({dim: label})
                key = name if label is None else f"{name}[{label}]"
                rows[key] = {**_described(draws, prob, kind), **figures[key]}
        rows |= {k: _described(v, prob, kind) for k, v in self._constants().items()}
        return pd.DataFrame(rows).T.rename_axis("parameter")

    def _constants(self) -> dict[str, xr.DataArray]:
        """Amplitudes in raw units, for the population or each group."""
        if self.law.constants is None:
            return {}
        out = {}
        for member in self.members():
            values = self.parameters(member or None)
            said = f"[{', '.join(member.values())}]" if member else ""
            raw = self.law.constants(
                *(self.plan.scales[c] for c in self.law.columns),
                **{p: values[p] for p in self.law.parameters},
            )
            out |= {f"{name} (raw){said}": draws for name, draws in raw.items()}
        return out

    def save(self, path: str | Path) -> None:
        """Keep the fit in one netCDF file, written whole or not at all.

        Draws, training table, law, priors, pooling, seed and versions are inside.

        Raises
        ------
        FitError
            If the file cannot be written; an older file at `path` is then untouched.
        """
        tree = xr.DataTree.from_dict({"posterior": self.posterior, "sample_stats": self.stats})
        store.write(path, tree, self.plan, {**self.facts, "random_seed": self.random_seed})

    @classmethod
    def load(cls, path: str | Path, law: Law | None = None) -> Fit:
        """Read a fit that `save` wrote.

        Parameters
        ----------
        path : str or Path
        law : Law, optional
            Needed where the fit was made with a law of your own.

        Raises
        ------
        FitError
            For a file that is not a fit, is cut short, or was made with an unknown law.
        """
        tree, plan, facts = store.read(path, law)
        seed = facts.pop("random_seed")
        return cls(
            plan, tree["posterior"].to_dataset(), tree["sample_stats"].to_dataset(), seed, facts
        )

    def __repr__(self) -> str:
        over = f" over {', '.join(self.groups)}" if self.groups else ""
        problems = self.check().problems
        verdict = "check passed" if self.check().passed else "CHECK FAILED"
        lines = [f"<Fit of {self.law.name} to {len(self.runs)} runs{over}; {self.convergence}>"]
        draws = self.parameters(self.members()[0]) if not self.groups else self.posterior
        shown = [
            f"{p} {float(draws[p].median()):.3g} ± {float(draws[p].std()):.2g}"
            for p in self.law.parameters
            if p in draws
        ]
        lines.append("  " + (", ".join(shown) or "no parameter is pooled over the groups"))
        lines.append(f"  {verdict}" + (":" if problems else ""))
        return "\n".join([*lines, *(f"    {f}" for f in problems)])


def _described(draws: xr.DataArray, prob: float, kind: str) -> dict[str, float]:
    row = table(draws, "median", prob, kind).iloc[0].to_dict()
    return {**row, "mean": float(draws.mean()), "sd": float(draws.std())}


def fit(
    runs: Runs,
    law: str | Law = "chinchilla",
    *,
    groups: str | Sequence[str] | None = None,
    pool: Mapping[str, str | Mapping[str, str]] | None = None,
    priors: Mapping[str, Prior] | None = None,
    drift: str = "auto",
    noise: str = "even",
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    target_accept: float | None = None,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Fit:
    """Fit a scaling law to runs.

    Parameters
    ----------
    runs : Runs
    law : str or Law
        A name of the gallery (``"chinchilla"``, ``"kaplan"``, ``"kaplan_floor"``; of one column
        ``"power"``, ``"delayed_power"``, ... or ``"power(D)"``) or a law of your own.
    groups : str or sequence of str, optional
        Columns over which parameters may vary. Effects of several columns add on the link scale.
    pool : mapping, optional
        Per parameter ``"complete"`` (one value for all), ``"partial"`` (values per group around a
        population) or ``"none"`` (every group for itself), for all group columns or as a mapping
        per column. By default the law's parameters and the noise's ``sigma`` are pooled partially,
        its tail ``nu`` completely.
    priors : mapping of str to Prior, optional
        Priors that replace those of the law, the noise, or the size of the ``drift``.
    drift : {"auto", "through", "ahead", "off"}
        Where the law may be off. ``"ahead"``: the fit is that of the law alone, and forecasts
        drift from it beyond the runs. ``"through"``: a drift from the first run on is inferred
        with the law, with normal noise; the law's parameters then describe the curve that the
        drift stands around, and are wider. ``"off"``: the law is taken to be true. By default
        ``"through"`` where rows are checkpoints (``series``), else ``"ahead"``.
    noise : {"even", "by_loss"}
        ``"by_loss"``: the scale of the noise may grow or shrink with the loss, by a factor that is
        inferred; beyond the observed losses it stays what it was at their end.
    draws, tune, chains : int
        Per chain: draws kept, and tuning steps.
    target_accept : float, optional
        Acceptance rate the step size is tuned to. By default 0.9 (0.95 with drift through the
        runs), and if the chains then disagree or diverge, higher and longer, thinned back to
        `draws`. A given one is kept: a second try is made only where a chain got stuck.
    random_seed : int, optional
        For the same draws again on the same machine. The one used is kept on the fit.
    progressbar : bool, optional
        By default on a terminal and in notebooks only.

    Returns
    -------
    Fit

    Raises
    ------
    FitError, LawError
        For columns, groups, poolings or priors that make no sense.

    Warns
    -----
    ConvergenceWarning
        If the chains do not agree, or the fit otherwise fails its check.

    Notes
    -----
    The model: the log loss of a run is the log of the law at the parameters of its groups, plus
    drift and noise; see `bayescale.model` and `bayescale.model.drift`. Columns enter the law
    divided by their geometric means over `runs`.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> fit = bs.fit(runs, "chinchilla", random_seed=1)
    >>> bool(0.1 < fit.posterior["alpha"].median() < 0.5)
    True
    """
    plan = design(runs, laws.get(law), groups, pool, priors, drift, noise)
    fitted = fit_design(
        plan,
        draws=draws,
        tune=tune,
        chains=chains,
        target_accept=target_accept,
        random_seed=random_seed,
        progressbar=progressbar,
    )
    fitted.warn_if_failed(stacklevel=3)
    return fitted


def fit_design(
    plan: Design,
    *,
    draws: int,
    tune: int,
    chains: int = 4,
    target_accept: float | None = None,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Fit:
    """Sample a design. Nothing is checked but the chains, and nothing is said: see `Fit.check`."""
    if random_seed is None:
        random_seed = int(np.random.SeedSequence().entropy % 2**31)
    drawn = nuts.sample(
        target(plan),
        draws=draws,
        tune=tune,
        chains=chains,
        seed=int(random_seed),
        target_accept=target_accept,
        progressbar=progressbar,
    )
    facts = dict(
        draws=draws,
        tune=tune,
        chains=chains,
        target_accept=drawn.target_accept,
        length=drawn.length,
        attempts=drawn.attempts,
        seconds=round(drawn.seconds, 2),
        versions={p: version(p) for p in ("bayescale", "pymc", "nutpie", "arviz", "numpy")},
    )
    fitted = Fit(plan, drawn.posterior, drawn.stats, int(random_seed), facts)
    fitted.__dict__["convergence"] = drawn.convergence
    return fitted


__all__ = ["NEW", "Fit", "fit"]

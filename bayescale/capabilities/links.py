"""Links from the loss of runs to their accuracies on tasks: sampling, checks and summaries."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities.link_model import FORMS, LinkPlan, floor_of, precision_of, target, walks
from bayescale.data import as_names, task_table
from bayescale.errors import ConvergenceWarning, FitError, unknown
from bayescale.forecasting import Average
from bayescale.inference import Convergence, convergence, nuts, scalars
from bayescale.intervals import SAMPLE, table
from bayescale.model import Fit, Storable
from bayescale.seeds import settle_seed

#: Number of grid points on which the random walk of a task is inverted.
GRID = 100
#: Smallest slope in an interval of this grid, as a share of the slope of the form.
SLOWEST = 0.05


@dataclass(frozen=True, eq=False)
class Link(Storable):
    """The posterior of the accuracy on each task, given the loss of a run.

    Attributes
    ----------
    plan : LinkPlan
        Form, table, tasks, groups, and the scale ``u`` of the losses.
    posterior : xarray.Dataset
        Draws of the parameters; dims (chain, draw), and ``task``, ``member`` (group) or ``cell``
        (task and group).
    stats : xarray.Dataset
        Statistics of the sampler, dims (chain, draw).
    fit : Fit or Average or None
        The fit whose forecasts of the loss the link translates to accuracies.
    notes : tuple of str
        Cautions about the table.
    random_seed : int
        The seed that was used.
    """

    plan: LinkPlan
    posterior: xr.Dataset = field(repr=False)
    stats: xr.Dataset = field(repr=False)
    fit: Fit | Average | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    random_seed: int = 0

    _stored = (LinkPlan, *FORMS.values())
    _cached = ("convergence",)

    @property
    def kind(self) -> str:
        """The form of the link."""
        return self.plan.form.name

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that were fitted, sorted."""
        return self.plan.tasks

    @property
    def groups(self) -> tuple[str, ...]:
        """The group columns. Accuracies at one loss may differ between groups."""
        return self.plan.groups

    @cached_property
    def convergence(self) -> Convergence:
        """R-hat, effective sample size, divergences and energy of the draws before thinning."""
        return convergence(self.posterior, self.stats)

    @cached_property
    def data(self) -> xr.DataTree:
        """Posterior and sampler statistics in the groups that ArviZ expects."""
        return xr.DataTree.from_dict({"posterior": self.posterior, "sample_stats": self.stats})

    def warn_if_failed(self, stacklevel: int = 3) -> None:
        """Warn if the chains did not converge."""
        if failures := self.convergence.failures():
            warnings.warn(
                f"the chains of this link did not converge: {'; '.join(failures)}. Do not rely on "
                "its intervals; give tasks that never leave chance a link of their own, or "
                "sample longer",
                ConvergenceWarning,
                stacklevel=stacklevel,
            )

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """Interpretable quantities of the link of each task.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals.
        ci_kind : {"eti", "hdi"}, optional
            Kind of the intervals; by default ArviZ's ``stats.ci_kind``.

        Returns
        -------
        pandas.DataFrame
            One row for each task. With intervals:

            * ``floor``: the accuracy of a model without the skill;
            * ``threshold``: the loss (for ``"direct"``: the training FLOP) at which the accuracy is
              midway between floor and top; for ``"hinge"``, that at which the rise begins;
            * ``slope``: the rise at the threshold per unit of loss (for ``"direct"``: per e-fold of
              compute). With the share (accuracy - floor) / (top - floor), it is in log odds of the
              share for ``"logistic"`` and ``"direct"``, in the log of the share for ``"gadre"``,
              and in the share for ``"hinge"``;
            * ``scatter``: the standard deviation of accuracy between runs of one loss, without the
              binomial noise, midway between floor and 1;
            * ``walk``: the standard deviation of the relative change of the slope over one standard
              deviation of the losses of the table (for ``"direct"``: of log compute);
            * ``top``: the accuracy of a perfect model, if the form has a top.

            Without: ``r_hat`` and ``ess_bulk``, the worst of the parameters of the task.

        Warns
        -----
        ConvergenceWarning
            If the chains did not converge.
        """
        self.warn_if_failed()
        parts = [table(v, n, ci_prob, ci_kind) for n, v in self._quantities().items()]
        out = pd.concat(parts, axis=1).set_index(pd.Index(self.tasks, name="task"))
        names = [f"{p.name}_task" for p in self.plan.parameters]
        diagnostics = scalars(self.posterior[names])
        for name, worst in (("r_hat", max), ("ess_bulk", min)):
            out[name] = [worst(diagnostics[f"{p}[{t}]"][name] for p in names) for t in self.tasks]
        return out

    def _quantities(self) -> dict[str, xr.DataArray]:
        """Draws of the quantities in `summary`; dims (chain, draw, task)."""
        plan, post = self.plan, self.posterior
        values = {p.name: post[f"{p.name}_task"] for p in plan.parameters}
        chance = xr.DataArray(plan.facts["chance"].to_numpy(float), dims="task")
        if "start" in values:
            u = -values["start"]
        else:  # midway between floor and top: log odds of zero, or the log of one half
            u = ((np.log(0.5) if self.kind == "gadre" else 0.0) - values["level"]) / values["slope"]
        u, times = self._invert_walk(u)
        position = plan.best + plan.spread * u
        floor = floor_of(chance, values["offset"])
        half = (1 + floor) / 2
        precision = precision_of(
            half, floor, precision=values["precision"], jitter=values["jitter"]
        )
        quantities = {
            "floor": floor,
            "threshold": np.exp(position) if plan.form.along == "C" else -position,
            "slope": times * values["slope"] / plan.spread,
            "scatter": np.sqrt(half * (1 - half) / (precision + 1)),
        }
        quantities["walk"] = values["walk"]
        if "top" in values:
            quantities["top"] = floor + (1 - floor) * values["top"]
        return {k: v.transpose(*SAMPLE, "task") for k, v in quantities.items()}

    def _invert_walk(self, target_u: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
        """The u at which u plus the walk of each task first equals `target_u`, and the factor of
        the walk on the slope there. Outside the table the walk is extrapolated linearly."""
        low = self.plan.fitted.min()
        at = np.linspace(1.5 * low, -0.5 * low, GRID)
        steps = walks(self.posterior).transpose(*SAMPLE, "task", "component").to_numpy()
        with_walk = at + steps @ self.plan.walk(at).T
        goal = target_u.transpose(*SAMPLE, "task").to_numpy()[..., None]
        over = with_walk[..., 1:] >= goal
        first = np.where(over.any(axis=-1), over.argmax(axis=-1), GRID - 2)[..., None]
        left, right = (np.take_along_axis(with_walk, first + i, axis=-1)[..., 0] for i in (0, 1))
        times = np.maximum((right - left) / (at[1] - at[0]), SLOWEST)
        u = at[first[..., 0]] + (goal[..., 0] - left) / times
        dims = (*SAMPLE, "task")
        coords = {d: self.posterior[d] for d in dims}
        return tuple(xr.DataArray(v, coords, dims) for v in (u, times))

    def __repr__(self) -> str:
        over = f" over {', '.join(self.groups)}" if self.groups else ""
        rows = self.plan.table[self.plan.form.along].nunique()
        lines = [
            f"<Link ({self.kind}) of {len(self.tasks)} tasks{over}, {rows} runs; "
            f"{self.convergence}>"
        ]
        drawn = self._quantities()
        threshold, slope = (drawn[k].median(SAMPLE).to_numpy() for k in ("threshold", "slope"))
        unit = "C" if self.plan.form.along == "C" else "loss"
        lines += [
            f"  {t}: threshold {unit} {a:.3g}, slope {b:.2g}"
            for t, a, b in zip(self.tasks[:6], threshold, slope, strict=False)
        ]
        lines += ["  ..."] if len(self.tasks) > 6 else []
        if failures := self.convergence.failures():
            lines.append(f"  THE CHAINS DID NOT CONVERGE: {'; '.join(failures)}")
        return "\n".join([*lines, *(f"  {n}" for n in self.notes)])


def link(
    fit: Fit | Average | None,
    results: pd.DataFrame,
    *,
    kind: str = "logistic",
    groups: str | Sequence[str] | None = None,
    y: str = "accuracy",
    task: str = "task",
    n_questions: str | float | Mapping[str, float] = "n_questions",
    chance: str | float | Mapping[str, float] = "chance",
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    target_accept: float | None = None,
    random_seed: int | None = None,
    cores: int | None = None,
    progressbar: bool | None = None,
) -> Link:
    """Link the loss of runs to their accuracies on tasks.

    Parameters
    ----------
    fit : Fit or Average or None
        The fit whose forecasts of the loss `bayescale.forecast_tasks` converts to accuracies. Its
        losses must be measured like those of the table. With None, tasks can only be forecast from
        known losses.
    results : pandas.DataFrame
        Results on tasks, one row for each run and task: ``loss`` (for ``"direct"``: ``C`` in FLOP),
        and the columns named below.
    kind : {"logistic", "gadre", "hinge", "direct"}
        The form of the rise of accuracy as the loss decreases. ``"logistic"``: a sigmoid.
        ``"gadre"``: an exponential (Gadre et al. 2024, arXiv:2403.08540), bounded by 1.
        ``"hinge"``: linear above a threshold (Du et al. 2024, arXiv:2403.15796), with a smooth
        corner and bounded by 1. ``"direct"``: a sigmoid in the log of compute instead of the loss
        (as in Ruan et al. 2024, arXiv:2405.10938).
    groups : str or sequence of str, optional
        Group columns. Accuracies at one loss may differ between groups, such as training corpora.
        By default the group columns of the fit that are in the table.
    y : str
        Column of the accuracy, the share of correct answers from 0 to 1.
    task : str
        Column of the names of tasks.
    n_questions, chance : str, float or mapping from task to float
        Number of questions, and the accuracy of random guesses: a column, one number for all tasks,
        or one for each.
    draws, tune, chains : int
        Draws and tuning steps of each chain, and the number of chains.
    target_accept : float, optional
        Target acceptance rate of the sampler. By default 0.97 with twice the draws and tuning
        steps. If the chains do not converge, sampling is repeated with 0.98 and six times the draws
        and tuning steps. Draws are thinned to `draws`. With a given value, sampling is repeated
        only if R-hat exceeds 1.3.
    random_seed : int, optional
        Seed of the sampler; by default a random one. The result stores it.
    cores : int, optional
        Number of chains that run in parallel; by default the number of processors.
    progressbar : bool, optional
        Whether to show a progress bar; by default on terminals and in notebooks only.

    Returns
    -------
    Link

    Raises
    ------
    RunsError
        If the table is not valid. The message names every problem.
    FitError
        If `kind` is unknown, or if `fit` has another type.

    Warns
    -----
    ConvergenceWarning
        If the chains did not converge.

    Notes
    -----
    See `bayescale.capabilities.link_model` for the model. The link is fitted to measured losses,
    so its forecasts are conditional on the measured loss of a run, with its noise.

    Examples
    --------
    >>> import bayescale as bs
    >>> results = bs.datasets.openlm_tasks().query("task in ['hellaswag', 'piqa'] and N < 5e8")
    >>> link = bs.link(None, results, groups="dataset", random_seed=1)
    >>> bool(1.5 < link.summary().loc["hellaswag", "threshold"] < 3)
    True
    """
    if kind not in FORMS:
        raise FitError(unknown("kind of link", kind, FORMS))
    if fit is not None and not isinstance(fit, (Fit, Average)):
        raise FitError(
            f"fit is {type(fit).__name__}: give a Fit, an Average, or None to forecast "
            "from known losses only"
        )
    form = FORMS[kind]
    if groups is None:
        of_fit = fit.groups if fit is not None else ()
        groups = tuple(g for g in of_fit if g in getattr(results, "columns", ()))
    groups = as_names(groups)
    checked, notes = task_table(
        results,
        y=y,
        task=task,
        n_questions=n_questions,
        chance=chance,
        needs=(form.along,),
        keep=groups,
    )
    labels = checked[list(groups)].astype(str).agg(", ".join, axis=1) if groups else ""
    plan = LinkPlan(form, checked.assign(member=labels).reset_index(drop=True), groups)
    seed = settle_seed(random_seed)
    drawn = nuts.sample(
        target(plan),
        draws=draws,
        tune=tune,
        chains=chains,
        seed=seed,
        target_accept=target_accept,
        cores=cores,
        progressbar=progressbar,
    )
    fitted = Link(plan, drawn.posterior, drawn.stats, fit, tuple(notes), seed)
    fitted.__dict__["convergence"] = drawn.convergence
    fitted.warn_if_failed(stacklevel=3)
    return fitted

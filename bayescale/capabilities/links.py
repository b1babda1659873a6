"""What a loss is worth on tasks: links from loss to accuracy, sampled, checked and read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities.link_model import FORMS, LinkPlan, floor_of, precision_of, target, walks
from bayescale.data import as_names, sheet
from bayescale.errors import ConvergenceWarning, FitError, unknown
from bayescale.forecasting import Average
from bayescale.inference import Convergence, convergence, nuts, scalars
from bayescale.intervals import SAMPLE, table
from bayescale.model import Fit

#: Points at which walks are looked at to find where they have brought a task; slopes below this
#: share of the form's own are taken as that.
GRID, SLOWEST = 100, 0.05


@dataclass(frozen=True, eq=False)
class Link:
    """The posterior of what a loss is worth on each task.

    Attributes
    ----------
    plan : LinkPlan
        Form, table, tasks, groups and the scale that runs are placed on.
    posterior : xarray.Dataset
        Draws; dims (chain, draw) and ``task``, ``member`` (group) or ``cell`` (task and group).
    stats : xarray.Dataset
        What the sampler noted of each draw.
    fit : Fit or Average or None
        The fit whose forecasts of the loss the link takes on.
    notes : tuple of str
        What the table cannot tell.
    random_seed : int
        The seed that was used.
    """

    plan: LinkPlan
    posterior: xr.Dataset = field(repr=False)
    stats: xr.Dataset = field(repr=False)
    fit: Fit | Average | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    random_seed: int = 0

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
        """The columns by which accuracies may differ at one loss."""
        return self.plan.groups

    @cached_property
    def convergence(self) -> Convergence:
        """Whether the chains agree."""
        return convergence(self.posterior, self.stats)

    @cached_property
    def data(self) -> xr.DataTree:
        """Posterior and sampler statistics as ArviZ's functions ask for them."""
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
        """The link of every task in quantities that can be pictured.

        Parameters
        ----------
        ci_prob, ci_kind : optional
            Probability and kind (``"eti"``, ``"hdi"``) of the intervals; ArviZ's defaults.

        Returns
        -------
        pandas.DataFrame
            One row per task, each quantity with its interval: ``floor``, the accuracy that a model
            without the skill scores; ``threshold``, the loss (for ``"direct"`` the training FLOP)
            at which half of what can be won is won (for ``"hinge"``: where the rise begins);
            ``slope``, how fast it rises there per nat (e-fold of compute): the log odds of what is
            won (``"logistic"``, ``"direct"``), its log (``"gadre"``), or itself (``"hinge"``);
            ``scatter``, the standard deviation of accuracy between runs of one loss beyond the
            binomial noise, where half is won; ``walk``, by how much of itself the slope changes
            over one standard deviation of the table's losses (logs of compute); ``top``, the
            accuracy of the best model there can be (where the form has one). Then ``r_hat`` and
            ``ess_bulk``, the worst of the task's parameters.

        Warns
        -----
        ConvergenceWarning
            If the chains do not agree.
        """
        self.warn_if_failed()
        parts = [table(v, n, ci_prob, ci_kind) for n, v in self._pictured().items()]
        out = pd.concat(parts, axis=1).set_index(pd.Index(self.tasks, name="task"))
        own = [f"{p.name}_task" for p in self.plan.parameters]
        figures = scalars(self.posterior[own])
        for name, worst in (("r_hat", max), ("ess_bulk", min)):
            out[name] = [worst(figures[f"{p}[{t}]"][name] for p in own) for t in self.tasks]
        return out

    def _pictured(self) -> dict[str, xr.DataArray]:
        """Draws of the quantities of `summary`; dims (chain, draw, task)."""
        plan, post = self.plan, self.posterior
        values = {p.name: post[f"{p.name}_task"] for p in plan.parameters}
        chance = xr.DataArray(plan.facts["chance"].to_numpy(float), dims="task")
        if "start" in values:
            u = -values["start"]
        else:  # half won: even log odds, or the log of one half
            u = ((np.log(0.5) if self.kind == "gadre" else 0.0) - values["level"]) / values["slope"]
        u, times = self._along_the_walk(u)
        position = plan.best + plan.spread * u
        floor = floor_of(chance, values["offset"])
        half = (1 + floor) / 2
        precision = precision_of(
            half, floor, precision=values["precision"], jitter=values["jitter"]
        )
        found = {
            "floor": floor,
            "threshold": np.exp(position) if plan.form.along == "C" else -position,
            "slope": times * values["slope"] / plan.spread,
            "scatter": np.sqrt(half * (1 - half) / (precision + 1)),
        }
        found["walk"] = values["walk"]
        if "top" in values:
            found["top"] = floor + (1 - floor) * values["top"]
        return {k: v.transpose(*SAMPLE, "task") for k, v in found.items()}

    def _along_the_walk(self, reached: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
        """Where the walk of each task first brings it to `reached`, and what it multiplies the
        slope by there; straight on outside the table."""
        low = self.plan.fitted.min()
        at = np.linspace(1.5 * low, -0.5 * low, GRID)
        steps = walks(self.posterior).transpose(*SAMPLE, "task", "component").to_numpy()
        way = at + steps @ self.plan.walk(at).T
        goal = reached.transpose(*SAMPLE, "task").to_numpy()[..., None]
        over = way[..., 1:] >= goal
        first = np.where(over.any(axis=-1), over.argmax(axis=-1), GRID - 2)[..., None]
        here, there = (np.take_along_axis(way, first + i, axis=-1)[..., 0] for i in (0, 1))
        cell = at[1] - at[0]
        times = np.maximum((there - here) / cell, SLOWEST)
        u = at[first[..., 0]] + (goal[..., 0] - here) / times
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
        drawn = self._pictured()
        threshold, slope = (drawn[k].median(SAMPLE).to_numpy() for k in ("threshold", "slope"))
        said = "C" if self.plan.form.along == "C" else "loss"
        lines += [
            f"  {t}: threshold {said} {a:.3g}, slope {b:.2g}"
            for t, a, b in zip(self.tasks[:6], threshold, slope, strict=False)
        ]
        lines += ["  ..."] if len(self.tasks) > 6 else []
        if failures := self.convergence.failures():
            lines.append(f"  THE CHAINS DID NOT CONVERGE: {'; '.join(failures)}")
        return "\n".join([*lines, *(f"  {n}" for n in self.notes)])


def link(
    fit: Fit | Average | None,
    tasks: pd.DataFrame,
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
        The fit whose forecasts of the loss `bayescale.forecast_tasks` will take on. Its loss must
        be the one in the table. None: tasks can be forecast from a known loss only.
    tasks : pandas.DataFrame
        One row per run and task: ``loss`` (for ``"direct"``: ``C``), and the columns below.
    kind : {"logistic", "gadre", "hinge", "direct"}
        How accuracy rises from its floor as the loss falls: along a sigmoid; exponentially (Gadre
        et al. 2024, arXiv:2403.08540), bent below 1; linearly from a threshold on (Du et al. 2024,
        arXiv:2403.15796), around a corner and bent below 1. ``"direct"`` leaves out the loss: a
        sigmoid in the log of compute, as in Ruan et al. 2024, arXiv:2405.10938.
    groups : str or sequence of str, optional
        Columns by which accuracies may differ at one loss, as training corpora do: for all tasks
        and for single ones. By default the fit's group columns that the table has.
    y, task, n_questions, chance : str, optional
        Columns of accuracy, task, number of questions and chance; the last two may also be one
        number, or numbers by task.
    draws, tune, chains : int
        Per chain: draws kept, and tuning steps.
    target_accept : float, optional
        Acceptance rate the step size is tuned to. By default 0.97 with twice the draws and tuning
        steps, and if the chains then disagree or diverge, higher and longer; thinned back to
        `draws`. A given one is kept: a second try is made only where a chain got stuck.
    random_seed : int, optional
        For the same draws again on the same machine. The one used is kept on the link.
    cores : int, optional
        Processor cores; all by default.
    progressbar : bool, optional
        By default on a terminal and in notebooks only.

    Returns
    -------
    Link

    Raises
    ------
    RunsError
        Naming every problem of the table.
    FitError
        For an unknown kind or group column.

    Warns
    -----
    ConvergenceWarning
        If the chains do not agree.

    Notes
    -----
    See `bayescale.capabilities.link_model` for the model. The link is fitted on measured losses, so
    its forecasts take on those of a measured loss.

    Examples
    --------
    >>> import bayescale as bs
    >>> table = bs.datasets.openlm_tasks().query("task in ['hellaswag', 'piqa'] and N < 5e8")
    >>> link = bs.link(None, table, groups="dataset", random_seed=1)
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
        own = fit.groups if fit is not None else ()
        groups = tuple(g for g in own if g in getattr(tasks, "columns", ()))
    groups = as_names(groups)
    checked, notes = sheet(
        tasks,
        y=y,
        task=task,
        n_questions=n_questions,
        chance=chance,
        needs=(form.along,),
        keep=groups,
    )
    labels = checked[list(groups)].astype(str).agg(", ".join, axis=1) if groups else ""
    plan = LinkPlan(form, checked.assign(member=labels).reset_index(drop=True), groups)
    if random_seed is None:
        random_seed = int(np.random.SeedSequence().entropy % 2**31)
    drawn = nuts.sample(
        target(plan),
        draws=draws,
        tune=tune,
        chains=chains,
        seed=int(random_seed),
        target_accept=target_accept,
        cores=cores,
        progressbar=progressbar,
    )
    made = Link(plan, drawn.posterior, drawn.stats, fit, tuple(notes), int(random_seed))
    made.__dict__["convergence"] = drawn.convergence
    made.warn_if_failed(stacklevel=3)
    return made

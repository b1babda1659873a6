"""Links from the loss of runs to their accuracies on tasks: sampling, checks and summaries."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities import link_sampling
from bayescale.capabilities.link_diagnostics import LinkConvergence
from bayescale.capabilities.link_forms import FORMS
from bayescale.capabilities.link_model import LinkPlan, target
from bayescale.capabilities.link_quantities import faster, quantities
from bayescale.data import always_solved, as_names, never_above_chance, task_columns, task_table
from bayescale.errors import ConvergenceWarning, FitError, RunsError, unknown
from bayescale.forecasting import Average
from bayescale.inference import Convergence, convergence, nuts, scalars
from bayescale.intervals import SAMPLE, table
from bayescale.keywords import setting
from bayescale.model import Fit, Storable, reserved
from bayescale.progress import bar
from bayescale.seeds import settle_seed
from bayescale.units import FLOP_PER_PARAMETER_TOKEN, counted

#: What is said of a task that never exceeds chance, or that is always solved, in place of numbers.
AT_CHANCE = "at chance in all rows: cannot be told"
SOLVED = "solved in all rows: cannot be told"
#: Values of ``engine=``, as in `bayescale.fit`.
ENGINES = ("auto", "particles", "nuts")
#: Minutes that NUTS takes for a link: for the compilation and per row of the table, on two cores.
MINUTES, MINUTES_PER_ROW = 2.5, 0.004
#: Smallest probability with which a task is said to scale fastest.
FASTEST = 0.9


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

    _stored = (LinkPlan, LinkConvergence, *FORMS.values())
    _cached = ("convergence",)

    def __post_init__(self):
        if self.plan.form.by_size and "N" not in self.plan.table:
            raise FitError(
                "this link was saved by an earlier version, where kind='direct' went from compute "
                "alone: fit it again, with kind='compute' for the same model"
            )

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
    def convergence(self) -> Convergence | LinkConvergence:
        """How exact the draws are.

        With particles the smallest effective number of draws of a task or population value, the
        tail of the importance weights, and the difference between halves of the draws. With NUTS
        R-hat, effective sample size, divergences and energy of the draws before thinning.
        """
        return convergence(self.posterior, self.stats)

    @cached_property
    def data(self) -> xr.DataTree:
        """Posterior and sampler statistics in the groups that ArviZ expects."""
        return xr.DataTree.from_dict({"posterior": self.posterior, "sample_stats": self.stats})

    def warn_if_failed(self, stacklevel: int = 3) -> None:
        """Warn if the draws are not exact enough."""
        if failures := self.convergence.failures():
            warnings.warn(
                f"the draws of this link did not converge: {'; '.join(failures)}. Do not rely on "
                "its intervals; fit tasks that stay at chance in a separate link, or "
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
            One row for each task, from the steepest slope to the least steep; tasks at chance or
            solved in all rows are last, since their values are those of the other tasks. With
            intervals:

            * ``floor``: the accuracy of a model without the skill;
            * ``onset``: the loss (without a loss: the training FLOP) at which 10 % of the rise
              from floor to top is reached; for ``"hinge"``, that at which the rise begins;
            * ``threshold``: the loss (without a loss: the training FLOP) at which the accuracy is
              midway between floor and top; for ``"hinge"``, that at which the rise begins. For
              ``"direct"`` FLOP are 6 N D at the typical N / D of the table, and infinite where the
              power laws end below it;
            * ``slope``: the rise at the threshold per unit of loss (without a loss: per e-fold of
              compute; for ``"direct"``: at the best run). With the share
              (accuracy - floor) / (top - floor), it is in log odds of the share for sigmoids, in
              the log of the share for ``"gadre"``, and in the share for ``"hinge"``;
            * ``scatter``: the standard deviation of accuracy between runs of one loss, without the
              binomial noise, midway between floor and 1;
            * ``walk``: the standard deviation of the relative change of the slope over one standard
              deviation of the losses of the table (without a loss: of log compute);
            * ``top``: the accuracy of a perfect model, if the form has a top;
            * ``alpha`` and ``beta``: the exponents of N and D, for ``"direct"``.

            Without: ``P(faster than next)``, the probability that the task scales faster than that
            of the next row (all pairs: `faster`); ``ess_bulk``, the effective number of draws of
            the task; and ``r_hat``, which is NaN unless NUTS was used; with NUTS, the worst of the
            parameters of the task.

        Warns
        -----
        ConvergenceWarning
            If the draws did not converge.

        See Also
        --------
        faster : the probability that one task scales faster than another
        """
        self.warn_if_failed()
        parts = [table(v, n, ci_prob, ci_kind) for n, v in self.drawn().items()]
        out = pd.concat(parts, axis=1).set_index(pd.Index(self.tasks, name="task"))
        out["r_hat"], out["ess_bulk"] = self._figures()
        p = self.faster()
        return out.loc[p.index].assign(**{"P(faster than next)": [*np.diag(p, 1), np.nan]})

    def _figures(self) -> tuple[list[float], list[float]]:
        """R-hat and effective number of draws of every task."""
        if isinstance(self.convergence, LinkConvergence):
            return [np.nan] * len(self.tasks), self.stats["task_ess"].to_numpy().tolist()
        names = [f"{p.name}_task" for p in self.plan.parameters]
        found = scalars(self.posterior[names])
        r_hat, ess = (
            [worst(found[f"{p}[{t}]"][name] for p in names) for t in self.tasks]
            for name, worst in (("r_hat", max), ("ess_bulk", min))
        )
        return r_hat, ess

    def faster(self) -> pd.DataFrame:
        """Probability that one task scales faster than another.

        A task scales faster if its slope at the threshold is steeper, see `summary`. Slopes are in
        log odds (or the log) of the share between floor and top, so that tasks with different
        chance can be compared.

        Returns
        -------
        pandas.DataFrame
            The probability that the task of the row scales faster than that of the column; NaN on
            the diagonal. Tasks are ordered as in `summary`.

        Examples
        --------
        >>> import bayescale as bs
        >>> results = bs.datasets.openlm_tasks().query("task in ['hellaswag', 'piqa'] and N < 5e8")
        >>> link = bs.link(None, results, groups="dataset", random_seed=1)
        >>> p = link.faster()
        >>> bool(np.isclose(p.loc["piqa", "hellaswag"] + p.loc["hellaswag", "piqa"], 1))
        True
        """
        return faster(self.drawn()["slope"], self.tasks, self.untold)

    def bottom_line(self) -> str:
        """Which task scales fastest, or that it cannot be told; of one task, where it rises."""
        pairs = self.faster()
        risen = [t for t in pairs.index if t not in self.untold]
        if not risen:
            return "no task rises above chance"
        if len(risen) == 1:
            at = self.drawn()["threshold"].median(SAMPLE)[self.tasks.index(risen[0])]
            what = "begins to rise" if self.kind == "hinge" else "reaches half of its rise"
            return f"{risen[0]} {what} at {self.plan.form.along} {at:.3g}"
        slope = self.drawn()["slope"].stack(sample=SAMPLE).transpose("task", "sample")
        drawn = slope.to_numpy()[[self.tasks.index(t) for t in risen]]
        p = float((drawn.argmax(axis=0) == 0).mean())
        if p >= FASTEST:
            return f"{risen[0]} scales fastest (P = {p:.2f})"
        return (
            f"which task scales fastest cannot be told: P({risen[0]} faster than {risen[1]}) = "
            f"{pairs.loc[risen[0], risen[1]]:.2f}"
        )

    @property
    def at_chance(self) -> list[str]:
        """Tasks that never exceed chance in the rows, of whose curve the scores say nothing."""
        return never_above_chance(self.plan.table)

    @property
    def untold(self) -> dict[str, str]:
        """Tasks of whose curve the scores say nothing, and why."""
        solved = dict.fromkeys(always_solved(self.plan.table), SOLVED)
        return dict.fromkeys(self.at_chance, AT_CHANCE) | solved

    def drawn(self) -> dict[str, xr.DataArray]:
        """Draws of the quantities in `summary`; dims (chain, draw, task)."""
        return quantities(self.plan, self.posterior)

    def __repr__(self) -> str:
        over = f" over {', '.join(self.groups)}" if self.groups else ""
        along, untold = self.plan.form.along, self.untold
        size = f"{counted(len(self.tasks), 'task')}{over}, {self.plan.table[along].nunique()} runs"
        lines = [f"<Link ({self.kind}) of {size}; {self.convergence}>"]
        drawn = {k: v.median(SAMPLE).to_numpy() for k, v in self.drawn().items()}
        lines += [f"  {self.bottom_line()}"] if len(self.tasks) > 1 else []
        for task in self.faster().index[:6]:
            i = self.tasks.index(task)
            text = f"threshold {along} {drawn['threshold'][i]:.3g}, slope {drawn['slope'][i]:.2g}"
            lines.append(f"  {task}: {untold.get(task, text)}")
        lines += ["  ..."] if len(self.tasks) > 6 else []
        if failures := self.convergence.failures():
            lines.append(f"  THE DRAWS DID NOT CONVERGE: {'; '.join(failures)}")
        return "\n".join([*lines, *(f"  {n}" for n in self.notes)])


def link(
    fit: Fit | Average | None,
    results: pd.DataFrame | str | Path,
    *,
    kind: str = "logistic",
    groups: str | Sequence[str] | None = None,
    y: str = "accuracy",
    task: str = "task",
    n_questions: str | float | Mapping[str, float] = "n_questions",
    chance: str | float | Mapping[str, float] = "chance",
    samples: str | float | Mapping[str, float] | None = None,
    tasks: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    engine: str = "auto",
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
    results : pandas.DataFrame, or path of a file
        Results on tasks, one row for each run and task: ``loss`` (for ``"direct"``: ``N`` and
        ``D``; for ``"compute"``: ``C`` in FLOP), and the columns named below. Names and units of
        columns are read as by `bayescale.Runs.read`. For one row per run and one column per task,
        name the columns with `tasks`.
    kind : {"logistic", "gadre", "hinge", "direct", "compute"}
        The form of the rise of accuracy as the loss decreases. ``"logistic"``: a sigmoid.
        ``"gadre"``: an exponential (Gadre et al. 2024, arXiv:2403.08540), bounded by 1.
        ``"hinge"``: linear above a threshold (Du et al. 2024, arXiv:2403.15796), with a smooth
        corner and bounded by 1. Two kinds need no loss. ``"direct"``: a sigmoid of
        a + A N^-alpha + B D^-beta, with constants for each task (Krajewski et al. 2025,
        arXiv:2512.08894, fit such laws to the log of accuracy). ``"compute"``: a sigmoid in the log
        of compute (as in Ruan et al. 2024, arXiv:2405.10938).
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
    samples, tasks, columns
        As in `bayescale.emergence`.
    engine : {"auto", "particles", "nuts"}
        ``"particles"``: adaptive importance sampling task by task, then a Gibbs sampler of the
        population, without compilation. ``"nuts"``: NUTS on the PyMC model of all tasks.
        ``"auto"``: particles, and NUTS if too few of their draws are effective (after a warning) or
        if `target_accept` is given.
    draws, tune, chains : int
        Draws and tuning steps of each chain, and the number of chains. Particles give as many draws
        in all, without tuning.
    target_accept : float, optional
        Target acceptance rate of NUTS. By default 0.97 with twice the draws and tuning
        steps. If the chains do not converge, sampling is repeated with 0.98 and six times the draws
        and tuning steps. Draws are thinned to `draws`. With a given value, sampling is repeated
        only if R-hat exceeds 1.3.
    random_seed : int, optional
        Seed of the sampler; by default a random one. The result stores it.
    cores : int, optional
        Number of tasks or chains that are sampled in parallel; by default the number of processors.
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
        If `kind` or `engine` is unknown, or if `fit` has another type.

    Warns
    -----
    ConvergenceWarning
        If the draws did not converge, and before sampling is repeated with NUTS.

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

    In one step, from parameters and tokens:

    >>> c4 = results.query("dataset == 'c4' and task == 'hellaswag'")
    >>> link = bs.link(None, c4, kind="direct", random_seed=1)
    >>> ahead = bs.forecast_tasks(link, N="1B", D="20B").data["mean"]
    >>> bool(0.3 < ahead.median() < 0.6)
    True
    """
    if kind not in FORMS:
        raise FitError(unknown("kind of link", kind, FORMS))
    if fit is not None and not isinstance(fit, (Fit, Average)):
        raise FitError(
            f"fit is {type(fit).__name__}: give a Fit, an Average, or None to forecast "
            "from known losses only"
        )
    if engine not in ENGINES:
        raise FitError(unknown("engine", engine, ENGINES))
    form = FORMS[kind]
    results, found, _, told = task_columns(
        results, form.columns, y=y, task=task, tasks=tasks, columns=columns
    )
    task = found or task
    if groups is None:
        of_fit = fit.groups if fit is not None else ()
        groups = tuple(g for g in of_fit if g in getattr(results, "columns", ()))
    groups = as_names(groups)
    absent = [c for c in "ND" if c not in getattr(results, "columns", "ND")]
    if form.by_size and absent:
        raise RunsError(
            f"kind='direct' needs columns N and D, and the table has no {' and '.join(absent)}: "
            "add them, or give kind='compute', which needs C only"
        )
    checked, notes = task_table(
        results,
        y=y,
        task=task,
        n_questions=n_questions,
        chance=chance,
        samples=samples,
        needs=form.columns,
        keep=groups,
    )
    notes = [*told, *notes]
    if problems := reserved({g: checked[g].astype(str) for g in groups}):
        raise FitError(problems)
    if form.by_size:
        checked["C"] = FLOP_PER_PARAMETER_TOKEN * checked["N"] * checked["D"]
    labels = checked[list(groups)].astype(str).agg(", ".join, axis=1) if groups else ""
    plan = LinkPlan(form, checked.assign(member=labels).reset_index(drop=True), groups)
    seed = settle_seed(random_seed)
    nuts.require(draws=draws, tune=tune, chains=chains)
    drawn = None
    if engine == "particles" or (engine == "auto" and target_accept is None):
        with bar(progressbar) as step:
            drawn = link_sampling.sample(
                plan, draws=draws, chains=chains, seed=seed, cores=cores, report=step
            )
        if engine == "auto" and (failures := drawn.convergence.failures()):
            minutes = MINUTES + MINUTES_PER_ROW * len(plan.table)
            warnings.warn(
                f"importance sampling of this link failed: {'; '.join(failures)}. NUTS is used "
                f"instead, which takes about {minutes:.0f} minutes; "
                f"{setting('engine', repr('particles'))} keeps the draws as they are",
                ConvergenceWarning,
                stacklevel=2,
            )
            drawn = None
    if drawn is None:
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

"""The model of a link from loss to accuracy.

accuracy of a run on a task = form(u) + noise

* ``u`` is the distance of the loss of a run (without a loss, the log of its compute) from that
  of the best run of the table, in units of the standard deviation over the table. It is zero for
  the best run, negative for worse runs and positive for better runs.
* The direct form depends on N and D apart. Walk and shifts of groups then act like more compute
  at the same ratio of N and D.
* Every parameter of a form varies over tasks around a population value, on the link scale of its
  prior.
* The slope of each task follows a random walk along ``u``, to represent misspecification of the
  form. Its size differs between tasks. Beyond the best run it continues with `AHEAD` of its size.
* Groups, such as training corpora, may have different accuracies at one loss. Each group has a
  shift along ``u`` for all tasks and one for each task. Shifts along ``u`` are used because they
  have the same meaning for every form, task and accuracy.
* The floor of a task may differ from its nominal chance, because models that always give the same
  answer score above or below it. The difference is in log odds. If chance is 0, some answers are
  still right by accident (`ACCIDENT`); with a floor of exactly 0, they would affect the slope.
* The noise is beta-binomial with the known number of questions. The beta component has two sources,
  each with a size for each task. `precision` is for guesses and acts at every accuracy. `jitter` is
  for skill: with share = (accuracy - floor) / (1 - floor), it is in log odds of the share, and acts
  where the share is neither 0 nor 1.

All data are ``pm.Data``, so tables of the same shape share a compiled model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bayescale.capabilities.link_forms import Form
from bayescale.inference import nuts
from bayescale.model import Effect, Parameter, declared
from bayescale.priors import Positive, Real
from bayescale.units import FLOP_PER_PARAMETER_TOKEN

#: Log odds of the floor minus those of nominal chance. It is a few hundredths of accuracy on most
#: tasks, and a tenth on some.
OFFSET = Real(0.0, sd=0.1, between=0.2)

#: Precision of the beta noise between runs at every accuracy. A value of 1000 is a standard
#: deviation of 0.016 at an accuracy of 0.5. Tasks differ by a factor of several.
PRECISION = Positive(1000.0, spread=4.0, between=3.0)

#: Standard deviation of skill between runs of the same loss, in log odds.
JITTER = Positive(0.1, spread=2.0, between=2.0)

#: Standard deviation of the random walk of the slope of a task, per root of a unit of u, in units
#: of the slope. On the tasks of OpenLM, with runs of up to 154M parameters, the posterior is 1.1
#: for the typical task and 0.5 to 3.5 for single tasks (`benchmarks/links.py`).
WALK = Positive(1.0, spread=2.0, between=2.0)
#: Size of the random walk beyond the best run, relative to that before. The interval scores of
#: forecasts of larger runs (`benchmarks/links.py`) hardly differ from .35 to .7 and are higher at 0
#: and 1. The largest of these has the best coverage.
AHEAD = 0.7
#: Number of principal components that represent the integral of the random walk.
COMPONENTS = 5

#: Prior median of the standard deviation of the shifts of groups along u, for all tasks and for
#: single tasks, and standard deviation of its log. The corpora of OpenLM differ by some tenths of a
#: nat.
MOVE, MOVE_SPREAD = 0.1, 0.8

#: Parameters whose standard deviation between tasks is fixed at its typical value. Most tasks give
#: only upper bounds on the scatter between runs and on the random walk, and little information on
#: the top, so that the posterior of an inferred standard deviation has a funnel. For the slopes,
#: one task near chance would make the standard deviation so large that slopes are hardly pooled.
FIXED_SCALE = ("slope", "top", "precision", "jitter", "walk", "share", "alpha", "beta")

#: Initial value of the precision. With thousands of questions and a high precision, the gradient at
#: a poor initial point is so large that the first steps end where all accuracies are 0 or 1 and the
#: gradient vanishes. With a low precision the gradient is small.
INITIAL_PRECISION = 5.0

# -- plan --------------------------------------------------------------------------------------


def cell(task: str, member: str) -> str:
    """The label of a task and a group."""
    return f"{task} | {member}"


@dataclass(frozen=True, eq=False)
class LinkPlan:
    """The specification of the model of a link.

    Attributes
    ----------
    form : Form
        The formula of the link.
    table : pandas.DataFrame
        One row per run and task, from `bayescale.data.task_table`, with the column ``member``, the
        label of the group of each row.
    groups : tuple of str
        The group columns whose labels are joined in ``member``.
    """

    form: Form
    table: pd.DataFrame
    groups: tuple[str, ...] = ()

    @cached_property
    def facts(self) -> pd.DataFrame:
        """Number of questions and chance, by task."""
        return self.table.groupby("task", sort=True)[["n_questions", "chance"]].first()

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.facts.index)

    @cached_property
    def members(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.table["member"]))) if self.groups else ()

    def position(self, value):
        """Minus the loss, or the log of compute. Higher values are better."""
        return np.log(value) if self.form.along == "C" else -1.0 * value

    @cached_property
    def best(self) -> float:
        """The position of the best run."""
        return float(self.position(self.table[self.form.along].to_numpy(float)).max())

    @cached_property
    def spread(self) -> float:
        """One unit of u."""
        return float(self.position(self.table[self.form.along].to_numpy(float)).std())

    def u(self, value):
        """Distance beyond the best run, in units of `spread`."""
        return (self.position(value) - self.best) / self.spread

    def _log_ratio(self, N, D):
        return np.log(N) - np.log(D)

    @cached_property
    def typical(self) -> float:
        """Mean of log(N / D) over the table, for forms that depend on N and D."""
        return float(self._log_ratio(self.table["N"], self.table["D"]).mean())

    def where(self, N, D) -> dict[str, object]:
        """Further arguments of the form at runs of these sizes; empty for forms of ``u`` alone."""
        if not self.form.by_size:
            return {}
        return {"ratio": (self._log_ratio(N, D) - self.typical) / self.spread, "unit": self.unit}

    @property
    def unit(self) -> float:
        """E-folds of N, and of D, in one unit of u along compute."""
        return self.spread / 2

    def at_typical(self, C) -> dict[str, np.ndarray]:
        """N and D of this compute at the typical ratio."""
        N = np.sqrt(C / FLOP_PER_PARAMETER_TOKEN * np.exp(self.typical))
        return {"N": N, "D": C / (FLOP_PER_PARAMETER_TOKEN * N)}

    @cached_property
    def rows(self) -> dict[str, object]:
        """`where` of the rows of the table."""
        if not self.form.by_size:
            return {}
        return self.where(self.table["N"].to_numpy(float), self.table["D"].to_numpy(float))

    @cached_property
    def fitted(self) -> np.ndarray:
        """The u of each row of the table; dims (row,)."""
        return self.u(self.table[self.form.along].to_numpy(float))

    @cached_property
    def _trend(self) -> np.ndarray:
        """Level and slope of each component over the table, better runs weighted more."""
        weight = np.exp(self.fitted / 2)[:, None]
        line = np.stack([np.ones_like(self.fitted), self.fitted], axis=1)
        return np.linalg.lstsq(weight * line, weight * self._components(self.fitted))[0]

    def _components(self, u):
        """Integrals of the principal components of a Wiener process that starts at the best run."""
        length = -self.fitted.min()
        k = (np.arange(COMPONENTS) + 0.5) * np.pi
        back = np.clip(-u / length, 0, 1)[..., None]
        return length**1.5 * np.sqrt(2) * (1 - np.cos(k * back)) / k**2

    def walk(self, u):
        """Contribution of each component of a unit random walk to u; (..., component).

        Level and slope over the table are projected out. The form has parameters for them, so they
        would otherwise be identified only jointly, and chains would mix slowly.
        """
        level, slope = self._trend
        return self._components(u) - level - slope * u[..., None]

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        priors = {
            **self.form.priors,
            "offset": OFFSET,
            "precision": PRECISION,
            "jitter": JITTER,
            "walk": WALK,
        }
        return tuple(Parameter(n, p, (Effect("task", "partial"),)) for n, p in priors.items())

    @cached_property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """Labels of the posterior's dims."""
        return {
            "task": self.tasks,
            "component": tuple(range(COMPONENTS)),
            **({"member": self.members, "cell": self.cells} if self.members else {}),
        }

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The pairs of task and group that have rows."""
        return (
            tuple(
                sorted(
                    {
                        cell(t, m)
                        for t, m in zip(self.table["task"], self.table["member"], strict=True)
                    }
                )
            )
            if self.members
            else ()
        )

    @property
    def shape(self) -> tuple:
        """The properties that determine the compiled model; plans of equal shape share it."""
        return ("link", self.form.name, len(self.tasks), len(self.members), len(self.cells))

    def arrays(self) -> dict[str, np.ndarray]:
        """The model's ``pm.Data``."""
        task = self.table["task"].map({t: i for i, t in enumerate(self.tasks)}).to_numpy(int)
        right = np.round(self.table["y"] * self.table["n_questions"]).to_numpy(float)
        out = dict(
            u=self.fitted,
            walk_at=self.walk(self.fitted),
            right=right,
            wrong=self.table["n_questions"].to_numpy(float) - right,
            task_index=task,
            chance=self.facts["chance"].to_numpy(float),
            prior=np.array(
                [
                    [p.prior.centre, p.prior.width, np.log(p.prior.between_width)]
                    for p in self.parameters
                ]
            ),
        )
        out |= {name: np.asarray(value) for name, value in self.rows.items()}
        if self.members:
            member = self.table["member"].map({m: i for i, m in enumerate(self.members)})
            out["member_index"] = member.to_numpy(int)
            place = {c: i for i, c in enumerate(self.cells)}
            out["cell_index"] = np.array(
                [
                    place[cell(t, m)]
                    for t, m in zip(self.table["task"], self.table["member"], strict=True)
                ]
            )
        return out


# -- model -------------------------------------------------------------------------------------

#: Attempts at sampling. At a target acceptance rate of 0.9, tasks and corpora with little scatter
#: give a few divergences, and the random walks of slopes mix slowly. Ten times the draws would take
#: many minutes even for three tasks.
STAGES = (nuts.Stage(0.97, 2), nuts.Stage(0.98, 6))


def target(plan: LinkPlan) -> nuts.Target:
    """The posterior of a link in the form that the sampler takes."""
    # Only the initial values of population values are jittered. With jittered values of tasks (in
    # log odds) or corpora (in units of loss), chains would start where all accuracies are 0 or 1
    # and the gradient vanishes.
    names = tuple(p.name for p in plan.parameters)
    return nuts.Target(
        shape=plan.shape,
        build=lambda: build(plan),
        arrays=plan.arrays(),
        levels=plan.levels,
        names=names,
        scattered=names,
        stages=STAGES,
    )


def build(plan: LinkPlan):
    """The PyMC model of a link.

    Returns
    -------
    pymc.Model
        The variables are, for each parameter such as ``level``: its population value ``level``, the
        values of the tasks ``level_task``, and their standard deviation ``level_task_scale``. Then
        ``walk_step``, the scaled components of the random walk of each task (see `walks`), and
        ``move_member`` and ``move_cell``, the shifts of groups, with their standard deviations.
    """
    import pymc as pm
    import pytensor.tensor as pt

    coords = {k: list(v) for k, v in plan.levels.items()}
    with pm.Model(coords=coords) as model:
        data = {name: pm.Data(name, values) for name, values in plan.arrays().items()}
        task = data["task_index"]
        values = {p.name: _per_task(p, data["prior"][i]) for i, p in enumerate(plan.parameters)}
        u = data["u"]
        for dim in ("member", "cell") if plan.members else ():
            scale = pm.LogNormal(f"move_{dim}_scale", np.log(MOVE), MOVE_SPREAD)
            u = u + pm.Normal(f"move_{dim}", 0.0, scale, dims=dim)[data[f"{dim}_index"]]
        # The data inform the product of walk, slope and components. The components are divided by
        # the root of the size, which is half way between the centred and the non-centred form. The
        # posterior of the non-centred form has a ridge for tasks with an informative walk, and that
        # of the centred form has a funnel for the other tasks.
        half = pt.sqrt(values["walk"] * values["slope"])[:, None]
        steps = half * pm.Normal("walk_step", 0.0, half, dims=("task", "component"))
        u = u + (data["walk_at"] * steps[task]).sum(axis=1) / values["slope"][task]
        at_rows = {n: v[task] for n, v in values.items()}
        where = {name: data[name] for name in plan.rows}
        mean, total = plan.form(u, at_rows, data["chance"][task], **where)
        a, b = mean * total, (1 - mean) * total
        pm.Potential(
            "accuracy",
            (
                pt.gammaln(data["right"] + a)
                - pt.gammaln(a)
                + pt.gammaln(data["wrong"] + b)
                - pt.gammaln(b)
                + pt.gammaln(total)
                - pt.gammaln(data["right"] + data["wrong"] + total)
            ).sum(),
        )
    return model


def walks(posterior):
    """The components of the random walk of each task, in units of u."""
    return posterior["walk_step"] * np.sqrt(posterior["walk_task"] / posterior["slope_task"])


def _per_task(p: Parameter, prior):
    """Add the variables of a parameter to the model, and return its values; dims (task,)."""
    (effect,) = p.effects
    variables = declared(
        p,
        prior,
        scale_known=p.name in FIXED_SCALE,
        initval=INITIAL_PRECISION if p.name == "precision" else None,
    )
    return variables[p.member(effect)]

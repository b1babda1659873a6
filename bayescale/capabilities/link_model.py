"""From loss to accuracy: the forms of a link, its plan, and its model.

accuracy of a run on a task = form(u) + noise

* ``u`` is the distance of a run's loss (for the direct form, the log of its compute) from that of
  the best run of the table, in standard deviations of the table. It is zero for the best run,
  negative for all other fitted runs, and positive for better runs.
* Every parameter of a form varies over tasks around a population, on the link scale of its prior.
* Allows for misspecification of the form: the slope of each task follows a random walk along u,
  whose size differs between tasks. The walk continues beyond the best run.
* Corpora give different accuracies at one loss: each group is shifted along ``u``, for all tasks
  and for each task. A shift in loss has the same meaning for every form, task and accuracy.
* The floor of a task may differ from its nominal chance, because models that always give the same
  answer score above or below it: the floor is shifted in log odds. Where chance is 0, some answers
  are right by accident (`ACCIDENT`); a floor of exactly 0 would attribute them to the slope.
* The noise is beta-binomial. The number of questions is known; runs of equal loss scatter by more
  than binomial noise, from two sources with a size for each task: guesses (`precision`), at every
  accuracy; and skill (`jitter`, in log odds of the share of the way from floor to 1), where this
  share is neither 0 nor 1.

All data enter as ``pm.Data``, so tables of one shape share a compiled model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bayescale.functions import softplus
from bayescale.inference import nuts
from bayescale.model import Effect, Parameter, declared
from bayescale.priors import Fraction, Positive, Prior, Real

#: Sharpness of the bend at which an unbounded rise is kept below 1. The larger it is, the closer
#: the form is to the published one below the bend.
CAP = 4.0

#: Log odds of the floor relative to nominal chance: a few hundredths of accuracy on most tasks, a
#: tenth on some.
OFFSET = Real(0.0, sd=0.1, between=0.2)

#: Floor of tasks without a choice of answers, and the factor on their offset: one standard
#: deviation of the offset is then a factor of seven on the floor.
ACCIDENT, LOOSE = 3e-4, 10.0

#: Precision of the beta noise between runs at every accuracy: 1000 is a standard deviation of
#: 0.016 at an accuracy of one half. Tasks differ by several times.
PRECISION = Positive(1000.0, spread=4.0, between=3.0)

#: Standard deviation of skill between runs of one loss, in log odds.
JITTER = Positive(0.1, spread=2.0, between=2.0)

#: Random walk of a task's slope along u, in units of the slope, per root of a unit of u. On
#: OpenLM's tasks, with runs of up to 154M parameters, the posterior is 1.1 for the typical task and
#: 0.5 to 3.5 for single ones
#: (`benchmarks/links.py`).
WALK = Positive(1.0, spread=2.0, between=2.0)
#: Number of principal components of its integral, which is smooth.
COMPONENTS = 5

#: Typical shift of a group along u, for all tasks and for single ones, and the standard deviation
#: of its log. The corpora of OpenLM differ by some tenths of a nat.
MOVE, MOVE_SPREAD = 0.1, 0.8

#: Parameters whose scale between tasks is fixed at its prior value instead of inferred. Most tasks
#: bound scatter and walk only from above and say little about the top, which makes a funnel of
#: their scales; one task near chance would make the scale of the slopes so wide that slopes are
#: hardly pooled.
FIXED_SCALE = ("slope", "top", "precision", "jitter", "walk")

#: Initial value of the precision. With thousands of questions the gradient at a poor start is so
#: steep that the first steps end where all accuracies are 0 or 1 and the gradient vanishes; a low
#: precision keeps the gradient small.
INITIAL_PRECISION = 5.0

#: Keeps the beta distribution proper where a form is 0 or 1.
NEVER = 1e-7


# -- forms: numpy, xarray and PyTensor alike ---------------------------------------------------


def cap(log_rise):
    """A share that rises as exp(`log_rise`) and is kept below 1 by a smooth bend."""
    return np.exp(-softplus(-CAP * log_rise) / CAP)


def logistic(u, *, floor, level, slope, top):
    """accuracy = floor + (1 - floor) top sigmoid(level + slope u)."""
    return floor + (1 - floor) * top * np.exp(-softplus(-(level + slope * u)))


def gadre(u, *, floor, level, slope):
    """accuracy = floor + (1 - floor) exp(level + slope u): an error of eps - k exp(-gamma loss)."""
    return floor + (1 - floor) * cap(level + slope * u)


def hinge(u, *, floor, start, slope, width):
    """accuracy = floor below u = -start, then linear in u, with a smooth corner of some width."""
    return floor + (1 - floor) * cap(np.log(slope * width * softplus((u + start) / width) + NEVER))


def floor_of(chance, offset):
    """Chance shifted by `offset` in log odds; `ACCIDENT` where chance is 0."""
    open_ended = (chance <= 0) * 1.0
    chance = chance + open_ended * ACCIDENT
    odds = np.exp(offset * (1 + open_ended * (LOOSE - 1)))
    return chance * odds / (1 - chance + chance * odds)


def precision_of(mean, floor, *, precision, jitter):
    """Precision of the beta noise of accuracies around `mean`."""
    share = (mean - floor) / (1 - floor)
    return 1 / (1 / precision + jitter**2 * (1 - floor) * share**2 * (1 - share) / mean)


@dataclass(frozen=True)
class Form:
    """A formula from ``u`` to accuracy, and the priors of its parameters."""

    name: str
    formula: Callable
    priors: Mapping[str, Prior]
    along: str = "loss"

    def __call__(self, u, values: Mapping[str, object], chance):
        """Accuracy and the precision of its noise, given values by parameter."""
        own = {p: values[p] for p in self.priors}
        floor = floor_of(chance, values["offset"])
        mean = NEVER + (1 - 2 * NEVER) * self.formula(u, floor=floor, **own)
        return mean, precision_of(
            mean, floor, precision=values["precision"], jitter=values["jitter"]
        )


#: The best run of a table may be anywhere from near the floor to near the top; one standard
#: deviation of the loss multiplies the odds by about ten.
LEVEL = Real(-1.5, sd=1.5, between=1.5)
SLOPE = Positive(2.5, spread=1.8, between=1.6)
#: Wrong and ambiguous questions keep every model below 1. Without a top, a rise that slows down
#: early would be extrapolated.
TOP = Fraction(0.9, spread=1.2, between=1.5)

FORMS: dict[str, Form] = {
    "logistic": Form("logistic", logistic, {"level": LEVEL, "slope": SLOPE, "top": TOP}),
    "gadre": Form(
        "gadre", gadre, {"level": LEVEL, "slope": Positive(1.5, spread=1.8, between=1.6)}
    ),
    "hinge": Form(
        "hinge",
        hinge,
        {
            # The threshold lies within the table for most tasks, and beyond it for some.
            "start": Real(0.5, sd=1.0, between=0.7),
            "slope": Positive(0.4, spread=2.0, between=1.6),
            "width": Positive(0.2, spread=2.0, between=1.3),
        },
    ),
    "direct": Form("direct", logistic, {"level": LEVEL, "slope": SLOPE, "top": TOP}, along="C"),
}


# -- plan --------------------------------------------------------------------------------------


def cell(task: str, member: str) -> str:
    """The label of a task and a group."""
    return f"{task} | {member}"


@dataclass(frozen=True, eq=False)
class LinkPlan:
    """What the model of a link is built from, and what its posterior is read by.

    Attributes
    ----------
    form : Form
    table : pandas.DataFrame
        As `bayescale.data.task_table.sheet` returns it, with ``member``, the group of each row.
    groups : tuple of str
        Columns that ``member`` stands for.
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
        """Minus the loss in nats, or the log of compute: higher is better."""
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
        """Integrals of the principal components of a Wiener process from the best run back."""
        length = -self.fitted.min()
        k = (np.arange(COMPONENTS) + 0.5) * np.pi
        back = np.clip(-u / length, 0, 1)[..., None]
        return length**1.5 * np.sqrt(2) * (1 - np.cos(k * back)) / k**2

    def walk(self, u):
        """What each component of a walk of unit size adds to u; (..., component).

        Level and slope over the table are projected out, because the form has parameters for them:
        otherwise both are only jointly identified and chains mix slowly.
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
        """What a compiled model depends on; plans of equal shape share one."""
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

#: Tasks and corpora of little scatter give a few divergences at 0.9, and the random walks of slopes
#: mix slowly. Ten times the draws would take many minutes even for three tasks.
STAGES = (nuts.Stage(0.97, 2), nuts.Stage(0.98, 6))


def target(plan: LinkPlan) -> nuts.Target:
    """The posterior of a link in the form that the sampler takes."""
    # Only population values get dispersed starts. With tasks dispersed by whole units of log odds,
    # or corpora by whole units of loss, chains start where all accuracies are 0 or 1 and the
    # gradient vanishes.
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
        Variables: each parameter's population value under its own name, ``level_task`` per task
        and ``level_task_scale`` between tasks; ``walk_step``, scaled components of each task's walk
        (see `walks`); ``move_member`` and ``move_cell`` for the moves of groups, with
        their scales.
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
        # The data inform the product of walk, slope and components. Half of the size is factored
        # out: the non-centred form has a ridge for tasks with an informative walk, the centred form
        # a funnel for the others.
        half = pt.sqrt(values["walk"] * values["slope"])[:, None]
        steps = half * pm.Normal("walk_step", 0.0, half, dims=("task", "component"))
        u = u + (data["walk_at"] * steps[task]).sum(axis=1) / values["slope"][task]
        at_rows = {n: v[task] for n, v in values.items()}
        mean, total = plan.form(u, at_rows, data["chance"][task])
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
    """The components of each task's walk, in units of u."""
    return posterior["walk_step"] * np.sqrt(posterior["walk_task"] / posterior["slope_task"])


def _per_task(p: Parameter, prior):
    """A parameter's value for each task, with its variables added to the model; dims (task,)."""
    (effect,) = p.effects
    variables = declared(
        p,
        prior,
        scale_known=p.name in FIXED_SCALE,
        initval=INITIAL_PRECISION if p.name == "precision" else None,
    )
    return variables[p.member(effect)]

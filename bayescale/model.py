"""The statistical model: law, hierarchy and noise, from a `Design` to a ``pm.Model``.

log(loss of a run) = log(law(columns; parameters of its groups)) + noise

* Every parameter is normal on the link scale of its prior (`bayescale.priors`). Over each group
  column it is pooled completely, partially or not at all; effects of crossed columns add on the
  link scale.
* The noise is Student-t on the log loss. Its scale and tail are parameters like the others; a
  known measurement error adds in quadrature.
* Drift and the autocorrelation of checkpoints will enter `build` where the mean and the noise
  of log loss are put together, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bayescale.errors import FitError, LawError, unknown
from bayescale.law import Law
from bayescale.priors import Positive, Prior, from_link, to_link
from bayescale.runs import Runs, as_names

POOLINGS = ("complete", "partial", "none")

#: Scale and tail of the noise on log loss. Replicates scatter by 0.02-1 %, a good law leaves
#: 0.3-1 %, odd recipes 2-3 %; tails of published sweeps are Student-t with nu of 2 to 4.
NOISE: dict[str, Prior] = dict(
    sigma=Positive(0.007, spread=2.5, between=1.5), nu=Positive(6.0, spread=2.2)
)
NOISE_POOLING = dict(sigma="partial", nu="complete")

#: Sd of the log of a group scale around its typical value. A log-normal scale avoids zero, where
#: a few groups that are nearly alike make a funnel that no parametrisation samples well.
SCALE_SPREAD = 0.5

#: A group's own runs must pin a parameter to this share of the typical difference between groups
#: for the centred form; otherwise the parameter is sampled as an offset in units of the scale.
CENTRED_BELOW = 0.7

RESERVED = ("chain", "draw", "run", "point", "budget", "sigma", "nu", "mean", "loss", "log_loss")


@dataclass(frozen=True)
class Effect:
    """How a parameter varies over one group column."""

    column: str
    pooling: str
    centred: bool = True


@dataclass(frozen=True)
class Parameter:
    """A parameter of the law or the noise: its prior, and how it varies over groups."""

    name: str
    prior: Prior
    effects: tuple[Effect, ...] = ()

    @property
    def has_population(self) -> bool:
        """Whether there is a population value to learn (not so where nothing is pooled)."""
        return not self.effects or any(e.pooling == "partial" for e in self.effects)

    def member(self, effect: Effect) -> str:
        """Name of the values per group."""
        return f"{self.name}_{effect.column}"

    def scale(self, effect: Effect) -> str:
        """Name of the standard deviation between groups, on the link scale."""
        return f"{self.name}_{effect.column}_scale"


@dataclass(frozen=True, eq=False)
class Design:
    """Everything a model is built from, and all that later rooms need to read its posterior.

    Attributes
    ----------
    law : Law
    runs : Runs
    groups : tuple of str
        Columns the parameters may vary over.
    parameters : tuple of Parameter
        Those of the law, then ``sigma`` and ``nu`` of the noise.
    scales : dict
        Reference scales of the law's columns.
    """

    law: Law
    runs: Runs
    groups: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    scales: Mapping[str, float]

    @cached_property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The labels of each group column, sorted."""
        return {g: tuple(sorted(set(self.runs.table[g].astype(str)))) for g in self.groups}

    @cached_property
    def has_loss_sd(self) -> bool:
        return "loss_sd" in self.runs

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The law's columns, raw."""
        return {c: self.runs.table[c].to_numpy(float) for c in self.law.columns}

    @property
    def log_loss(self) -> np.ndarray:
        return np.log(self.runs.table["loss"].to_numpy(float))

    @property
    def log_loss_sd(self) -> np.ndarray:
        """Measurement error of log loss; zero where none is known."""
        if not self.has_loss_sd:
            return np.zeros(len(self.runs))
        return (self.runs.table["loss_sd"] / self.runs.table["loss"]).to_numpy(float)

    def index(self, group: str) -> np.ndarray:
        """Which level of a group column each run has."""
        place = {level: i for i, level in enumerate(self.levels[group])}
        return self.runs.table[group].astype(str).map(place).to_numpy(int)

    @property
    def shape(self) -> tuple:
        """What a compiled model depends on; designs of equal shape share one."""
        return (
            self.law,
            tuple((p.name, p.prior.link, p.effects) for p in self.parameters),
            tuple((g, len(levels)) for g, levels in self.levels.items()),
            self.has_loss_sd,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """The numbers that differ between designs of one shape: the model's ``pm.Data``."""
        arrays = {f"log_{c}": np.log(v / self.scales[c]) for c, v in self.columns.items()}
        arrays["observed_log_loss"] = self.log_loss
        if self.has_loss_sd:
            arrays["log_loss_sd"] = self.log_loss_sd
        for g in self.groups:
            arrays[f"{g}_index"] = self.index(g)
        arrays["prior"] = np.array(
            [[p.prior.centre, p.prior.width, np.log(p.prior.between_width)]
             for p in self.parameters]
        )
        return arrays

    def parameter(self, name: str) -> Parameter:
        return next(p for p in self.parameters if p.name == name)


# -- from what a user says to a design ---------------------------------------------------------


def design(
    runs: Runs,
    law: Law,
    groups: str | Sequence[str] | None = None,
    pool: Mapping[str, str | Mapping[str, str]] | None = None,
    priors: Mapping[str, Prior] | None = None,
) -> Design:
    """Check what was asked for and settle everything a model needs.

    Raises
    ------
    FitError
        Naming every column, parameter or pooling that makes no sense.
    """
    groups = as_names(groups)
    pool, priors = dict(pool or {}), dict(priors or {})
    if not isinstance(runs, Runs):
        raise FitError(f"expected Runs, got {type(runs).__name__}: make them with Runs.read(path) "
                       "or Runs.from_frame(frame)")
    problems = [
        f"law {law.name!r} needs the column {c!r}, which these runs lack: "
        f"they have {', '.join(x for x in 'NDC' if x in runs)}"
        for c in law.columns if c not in runs
    ]
    for g in groups:
        if g not in runs.table.columns:
            problems.append(unknown("group column", g, runs.table.columns))
        elif g in RESERVED or g in law.columns or g in law.parameters:
            problems.append(f"a group column cannot be called {g!r}: rename it")
        elif runs.table[g].isna().any():
            problems.append(f"group column {g!r} has missing labels")
    known = {**law.priors, **NOISE}
    for what, names in (("pool", pool), ("priors", priors)):
        problems += [f"{what}: {unknown('parameter', n, known)}" for n in names if n not in known]
    problems += [f"priors: {n} is {p!r}; use Positive, Fraction or Real"
                 for n, p in priors.items() if not isinstance(p, Prior)]
    for name, how in pool.items():
        per_column = how if isinstance(how, Mapping) else dict.fromkeys(groups, how)
        problems += [f"pool[{name!r}]: {unknown('group column', c, groups)}"
                     for c in per_column if c not in groups]
        problems += [f"pool[{name!r}]: {unknown('pooling', h, POOLINGS)}"
                     for h in per_column.values() if h not in POOLINGS]
        if not groups and how != "complete":
            problems.append(f"pool[{name!r}]: there are no groups to pool over; pass groups=")
    if problems:
        raise FitError(problems)

    typical = float(np.exp(np.log(runs.table["loss"]).mean()))
    parameters = []
    for name, prior in {**law.priors, **NOISE, **priors}.items():
        if isinstance(prior, Positive):
            prior = prior.in_units_of(typical)
        usual = NOISE_POOLING.get(name, "partial" if name in law.poolable else "complete")
        how = pool.get(name, usual)
        per_column = how if isinstance(how, Mapping) else dict.fromkeys(groups, how)
        effects = tuple(Effect(c, per_column.get(c, usual)) for c in groups
                        if per_column.get(c, usual) != "complete")
        if len({e.pooling for e in effects}) > 1:
            raise FitError(f"pool[{name!r}] mixes 'partial' and 'none': a parameter that is not "
                           "pooled over one column has no population to pool over another")
        parameters.append(Parameter(name, prior, effects))
    scales = {c: runs.scales.get(c, _geometric_mean(runs, c)) for c in law.columns}
    return _parametrised(Design(law, runs, groups, tuple(parameters), scales))


def _geometric_mean(runs: Runs, column: str) -> float:
    return float(np.exp(np.log(runs.table[column]).mean()))


def _parametrised(plan: Design) -> Design:
    """Choose the centred or the non-centred form of every effect from how much the runs say.

    Around the priors' medians, a group's own runs pin each of its parameters to some standard
    deviation (a Gauss-Newton estimate). Where that is small beside the typical difference between
    groups, the posterior of the group's value does not care about the scale: centred. Where it is
    not, the value follows the scale: non-centred.
    """
    if not plan.groups:
        return plan
    varying = [p for p in plan.parameters if p.effects and p.name in plan.law.parameters]
    sensitivity = _sensitivity(plan, varying)
    noise = np.hypot(plan.parameter("sigma").prior.median, plan.log_loss_sd)
    pinned = {}
    for g in plan.groups:
        index = plan.index(g)
        widths = []
        for level in range(len(plan.levels[g])):
            rows = sensitivity[index == level] / noise[index == level, None]
            typical = np.array([p.prior.between_width for p in varying])
            precision = rows.T @ rows + np.diag(typical**-2)
            widths.append(np.sqrt(np.diag(np.linalg.inv(precision))) / typical)
        for p, width in zip(varying, np.median(widths, axis=0), strict=True):
            pinned[p.name, g] = width < CENTRED_BELOW
        enough = np.median(np.bincount(index)) >= 8  # runs that tell a scale of noise by themselves
        pinned["sigma", g] = pinned["nu", g] = enough

    def settled(p: Parameter) -> Parameter:
        return replace(p, effects=tuple(
            replace(e, centred=bool(pinned[p.name, e.column])) for e in p.effects))

    return replace(plan, parameters=tuple(map(settled, plan.parameters)))


def _sensitivity(plan: Design, varying: Sequence[Parameter], step: float = 1e-4) -> np.ndarray:
    """d log(loss) / d parameter on its link scale, at the priors' medians; (run, parameter)."""
    centre = {p: q.prior.centre for p, q in ((q.name, q) for q in plan.parameters)}

    def log_loss(name: str, by: float) -> np.ndarray:
        values = {p: from_link(plan.parameter(p).prior.link, centre[p] + by * (p == name))
                  for p in plan.law.parameters}
        return np.log(plan.law(plan.columns, plan.scales, values))

    slopes = [(log_loss(p.name, step) - log_loss(p.name, -step)) / (2 * step) for p in varying]
    return np.stack(slopes, axis=1) if slopes else np.zeros((len(plan.runs), 0))


# -- from a design to a model ------------------------------------------------------------------


def build(plan: Design):
    """The PyMC model of a design.

    Returns
    -------
    pymc.Model
        Free variables: each parameter on its natural scale under its own name, ``E_dataset`` per
        group and ``E_dataset_scale`` between groups where it is pooled over ``dataset``.
    """
    import pymc as pm

    coords = {g: list(levels) for g, levels in plan.levels.items()}
    arrays = plan.arrays()
    with pm.Model(coords=coords) as model:
        data = {name: pm.Data(name, values) for name, values in arrays.items()}
        values = {
            p.name: _run_values(p, data["prior"][i], data) for i, p in enumerate(plan.parameters)
        }
        logs = [data[f"log_{c}"] for c in plan.law.columns]
        mean = np.log(_law(plan.law, logs, values))  # drift will add here
        sigma = values["sigma"]
        if plan.has_loss_sd:
            sigma = np.sqrt(sigma**2 + data["log_loss_sd"] ** 2)
        pm.StudentT("log_loss", nu=values["nu"], mu=mean, sigma=sigma,
                    observed=data["observed_log_loss"])
    return model


def _law(law: Law, logs, values):
    """The law's graph, with powers of columns as exponentials of their logarithms.

    ``N**-alpha`` is what a formula should say; ``exp(-alpha log N)`` costs half as much to
    evaluate and to compile.
    """
    from pytensor.graph.replace import graph_replace
    from pytensor.graph.traversal import ancestors

    columns = [np.exp(log) for log in logs]
    loss = law.loss(*columns, **{p: values[p] for p in law.parameters})
    log_of = dict(zip(columns, logs, strict=True))
    exponentials = {
        v: np.exp(v.owner.inputs[1] * log_of[v.owner.inputs[0]])
        for v in ancestors([loss])
        if v.owner is not None and v.owner.inputs and v.owner.inputs[0] in log_of
        and getattr(getattr(v.owner.op, "scalar_op", None), "name", None) == "pow"
    }
    return graph_replace([loss], exponentials)[0] if exponentials else loss


def _run_values(p: Parameter, prior, data):
    """A parameter's value for every run, declaring its variables on the way."""
    import pymc as pm

    kinds = {"log": pm.LogNormal, "logit": pm.LogitNormal, "identity": pm.Normal}
    variable, link = kinds[p.prior.link], p.prior.link
    centre, width, log_between = prior[0], prior[1], prior[2]
    population = variable(p.name, centre, width) if p.has_population else None
    base = to_link(link, population) if p.has_population else centre
    if not p.effects:
        return population
    at_run = None
    for effect in p.effects:
        name, dims = p.member(effect), effect.column
        if effect.pooling == "none":
            member = variable(name, centre, width, dims=dims)
        else:
            scale = pm.LogNormal(p.scale(effect), log_between, SCALE_SPREAD)
            if effect.centred:
                member = variable(name, base, scale, dims=dims)
            else:
                offset = pm.Normal(f"{name}_offset", 0, 1, dims=dims)
                member = pm.Deterministic(name, from_link(link, base + scale * offset), dims=dims)
        on_link = to_link(link, member)[data[f"{effect.column}_index"]]
        at_run = on_link if at_run is None else at_run + on_link - base
    return from_link(link, at_run)


# -- the same statements, in numpy -------------------------------------------------------------


def draw_prior(plan: Design, draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws from the prior of every variable that `build` declares; leading axis ``draws``."""
    out: dict[str, np.ndarray] = {}
    for p in plan.parameters:
        base = np.full(draws, p.prior.centre)
        if p.has_population:
            base = base + p.prior.width * rng.standard_normal(draws)
            out[p.name] = from_link(p.prior.link, base)
        for effect in p.effects:
            scale = np.full(draws, p.prior.width)
            if effect.pooling == "partial":
                scale = p.prior.between_width * np.exp(SCALE_SPREAD * rng.standard_normal(draws))
                out[p.scale(effect)] = scale
            offset = rng.standard_normal((draws, len(plan.levels[effect.column])))
            member = base[:, None] + scale[:, None] * offset
            out[p.member(effect)] = from_link(p.prior.link, member)
    return out


def check_law(law: Law, plan: Design) -> None:
    """Refuse a law whose formula is not finite or not positive at its own priors' medians."""
    values = {p: from_link(law.priors[p].link, plan.parameter(p).prior.centre)
              for p in law.parameters}
    loss = np.asarray(law(plan.columns, plan.scales, values))
    if loss.shape != (len(plan.runs),):
        raise LawError(f"law {law.name!r} returns shape {loss.shape} for {len(plan.runs)} runs: "
                       "one loss per run is needed")
    if not (np.isfinite(loss) & (loss > 0)).all():
        raise LawError(f"law {law.name!r} is not finite and positive at the medians of its priors")

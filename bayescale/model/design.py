"""From what a user says to a `Design`: what a model is built from and a posterior is read by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from bayescale.data import Runs, as_names
from bayescale.errors import FitError, unknown
from bayescale.laws import Law
from bayescale.model import drift as drifts
from bayescale.priors import Positive, Prior, Real, from_link

POOLINGS = ("complete", "partial", "none")

#: Scale and tail of the noise on log loss. Replicates scatter by 0.02-1 %, a good law leaves
#: 0.3-1 %, odd recipes 2-3 %; tails of published sweeps are Student-t with nu of 2 to 4.
NOISE: dict[str, Prior] = dict(
    sigma=Positive(0.007, spread=2.5, between=1.5), nu=Positive(6.0, spread=2.2)
)
NOISE_POOLING = dict(sigma="partial")

#: Where noise depends on the loss: log of its factor from the middle to either end of the observed
#: losses. Replicates of published sweeps scatter up to 20 times more at the high end.
TREND = Real(0.0, sd=0.7)

#: E-folds of scale over which the noise of checkpoints forgets. Neighbouring checkpoints of long
#: runs are a hundredth to a tenth apart.
MEMORY = Positive(0.1, spread=2.7)

#: Sd of the log of a group scale around its typical value. A log-normal scale avoids zero, where
#: a few groups that are nearly alike make a funnel that no parametrisation samples well.
SCALE_SPREAD = 0.5

#: A group's own runs must pin a parameter to this share of the typical difference between groups
#: for the centred form; otherwise the parameter is sampled as an offset in units of the scale.
CENTRED_BELOW = 0.7

TERMS = ("sigma", "nu", "trend", "memory", "drift")
NOISES = ("even", "by_loss")
RESERVED = (
    "chain",
    "draw",
    "run",
    "point",
    "budget",
    "knot",
    "cell",
    *TERMS,
    "mean",
    "loss",
    "log_loss",
)


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
        Those of the law, then of noise and drift: ``sigma``, ``nu``, ``trend``, ``memory``,
        ``drift``.
    scales : dict
        Reference scales of the law's columns.
    drift : {"through", "ahead", "off"}
        Where the law may be off; see `bayescale.model.drift`.
    ahead : Positive or None
        The user's prior on the size of a drift ahead, which the runs do not update; None stands
        for the default.
    """

    law: Law
    runs: Runs
    groups: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    scales: Mapping[str, float]
    drift: str = "ahead"
    ahead: Positive | None = None

    @property
    def drift_ahead(self) -> Positive:
        """Prior on the size of a drift ahead."""
        return drifts.AHEAD if self.ahead is None else self.ahead

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

    @property
    def log_scale(self) -> np.ndarray:
        """What drift and memory are measured along: log C, up to a constant."""
        return sum(np.log(v) for v in self.columns.values())

    @cached_property
    def has_series(self) -> bool:
        """Whether some rows are checkpoints of one run."""
        return has_checkpoints(self.runs)

    @cached_property
    def before(self) -> tuple[np.ndarray, np.ndarray]:
        """For each run the checkpoint before it (itself, if there is none), and how far back that
        lies in e-folds of scale (infinitely)."""
        frame = pd.DataFrame(
            {"series": self.runs.table["series"].astype(str).to_numpy(), "x": self.log_scale}
        )
        order = frame.sort_values("x", kind="stable")
        place = pd.Series(order.index, order.index)
        last = place.groupby(order["series"]).shift().reindex(frame.index)
        index = last.fillna(pd.Series(frame.index)).to_numpy(int)
        gap = np.where(last.isna(), np.inf, frame["x"] - frame["x"].to_numpy()[index])
        return index, gap

    @cached_property
    def cells(self) -> tuple[dict[str, str], ...]:
        """The combinations of group labels among the runs; a law drifts in each for itself."""
        if not self.groups:
            return ({},)
        frame = self.runs.table[list(self.groups)].astype(str).drop_duplicates()
        return tuple(frame.sort_values(list(self.groups)).to_dict("records"))

    @cached_property
    def cell(self) -> np.ndarray:
        """Which cell each run is in."""
        if not self.groups:
            return np.zeros(len(self.runs), int)
        place = {tuple(c.values()): i for i, c in enumerate(self.cells)}
        rows = self.runs.table[list(self.groups)].astype(str).itertuples(index=False, name=None)
        return np.array([place[row] for row in rows])

    @property
    def is_anchored(self) -> bool:
        """Whether the level at the first run is sampled in the place of an amplitude."""
        linear = (self.law.amplitude, self.law.floor)
        return (
            self.drift == "through"
            and self.law.amplitude is not None
            and not any(p.effects for p in self.parameters if p.name in self.law.parameters)
            and not any(p.prior.link != "log" for p in self.parameters if p.name in linear)
        )

    @property
    def has_trend(self) -> bool:
        """Whether the noise may grow or shrink with the loss."""
        return any(p.name == "trend" for p in self.parameters)

    @property
    def loss_range(self) -> np.ndarray:
        """The lowest and the highest observed log loss."""
        return np.array([self.log_loss.min(), self.log_loss.max()])

    @cached_property
    def hinges(self) -> np.ndarray:
        """What a step of the drift at each knot weighs in each run; (run, knot)."""
        return drifts.hinges(self.log_scale, *drifts.knots(self.log_scale))

    def log_columns_at_knots(self, log_columns: Mapping[str, np.ndarray], log_scale: np.ndarray):
        """The logs of columns, all moved back by one factor to the scale of each knot; (run, knot),
        or (knot,) for a law of one column, whose value there is the same for every run."""
        at, _ = drifts.knots(self.log_scale)
        back = (log_scale[:, None] - at) / len(log_columns)
        moved = {c: v[:, None] - back for c, v in log_columns.items()}
        alike = len(moved) == 1 and not any(p.effects for p in self.parameters)
        return {c: v[0] for c, v in moved.items()} if alike else moved

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
            self.has_series,
            self.has_trend,
            len(self.cells) if self.drift == "through" else 0,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """The numbers that differ between designs of one shape: the model's ``pm.Data``."""
        arrays = {f"log_{c}": np.log(v / self.scales[c]) for c, v in self.columns.items()}
        arrays["observed_log_loss"] = self.log_loss
        if self.has_loss_sd:
            arrays["log_loss_sd"] = self.log_loss_sd
        if self.has_trend:
            arrays["loss_range"] = self.loss_range
        if self.has_series:
            arrays["previous"], gap = self.before
            arrays["gap"] = np.minimum(gap, LONG_AGO)
        if self.drift == "through":
            logs = {c: arrays[f"log_{c}"] for c in self.law.columns}
            moved = self.log_columns_at_knots(logs, self.log_scale)
            arrays |= {f"log_{c}_at_knots": v for c, v in moved.items()}
            arrays["hinges"] = self.hinges
            if len(self.cells) > 1:
                arrays["member"] = np.eye(len(self.cells))[self.cell].T.copy()
        for g in self.groups:
            arrays[f"{g}_index"] = self.index(g)
        arrays["prior"] = np.array(
            [
                [p.prior.centre, p.prior.width, np.log(p.prior.between_width)]
                for p in self.parameters
            ]
        )
        return arrays

    def parameter(self, name: str) -> Parameter:
        return next(p for p in self.parameters if p.name == name)


#: A gap after which nothing is remembered, whatever the memory.
LONG_AGO = 1e6


def noise_factor(trend, log_loss, loss_range):
    """What multiplies the noise at a log loss: exp(+-trend) at the ends of the observed range, and
    no more beyond them, where nothing tells how it goes on. Numpy, xarray and PyTensor alike."""
    place = (2 * log_loss - loss_range[0] - loss_range[1]) / (loss_range[1] - loss_range[0])
    return np.exp(trend * (abs(place + 1) - abs(place - 1)) / 2)


def has_checkpoints(runs: Runs) -> bool:
    return "series" in runs and runs.table["series"].nunique() < len(runs)


# -- from what a user says to a design ---------------------------------------------------------


def terms(runs: Runs, drift: str, noise: str) -> dict[str, Prior]:
    """The priors of noise and drift."""
    out = dict(NOISE)
    if noise == "by_loss":
        out["trend"] = TREND
    if has_checkpoints(runs):
        out["memory"] = MEMORY
    if drift == "through":
        del out["nu"]
        out["drift"] = drifts.THROUGH
    return out


def design(
    runs: Runs,
    law: Law,
    groups: str | Sequence[str] | None = None,
    pool: Mapping[str, str | Mapping[str, str]] | None = None,
    priors: Mapping[str, Prior] | None = None,
    drift: str = "auto",
    noise: str = "even",
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
        raise FitError(
            f"expected Runs, got {type(runs).__name__}: make them with Runs.read(path) "
            "or Runs.from_frame(frame)"
        )
    problems = [
        f"law {law.name!r} needs the column {c!r}, which these runs lack: "
        f"they have {', '.join(x for x in 'NDC' if x in runs)}"
        for c in law.columns
        if c not in runs
    ]
    for g in groups:
        if g not in runs.table.columns:
            problems.append(unknown("group column", g, runs.table.columns))
        elif g in RESERVED or g in law.columns or g in law.parameters:
            problems.append(f"a group column cannot be called {g!r}: rename it")
        elif runs.table[g].isna().any():
            problems.append(f"group column {g!r} has missing labels")
    if drift not in drifts.KINDS:
        problems.append(unknown("drift", drift, drifts.KINDS))
    if noise not in NOISES:
        problems.append(unknown("noise", noise, NOISES))
    elif noise == "by_loss" and runs.table["loss"].nunique() < 2:
        problems.append("noise='by_loss': all losses are equal")
    if drift == "auto":
        drift = "through" if has_checkpoints(runs) else "ahead"
    known = {**law.priors, **terms(runs, drift, noise)}
    ahead = priors.pop("drift", None) if drift == "ahead" else None
    if ahead is not None and not isinstance(ahead, Positive):
        problems.append(f"priors: drift is {ahead!r}; use Positive")
    for what, names in (("pool", pool), ("priors", priors)):
        problems += [f"{what}: {unknown('parameter', n, known)}" for n in names if n not in known]
    problems += [
        f"priors: {n} is {p!r}; use Positive, Fraction or Real"
        for n, p in priors.items()
        if not isinstance(p, Prior)
    ]
    for name, how in pool.items():
        per_column = how if isinstance(how, Mapping) else dict.fromkeys(groups, how)
        problems += [
            f"pool[{name!r}]: {unknown('group column', c, groups)}"
            for c in per_column
            if c not in groups
        ]
        problems += [
            f"pool[{name!r}]: {unknown('pooling', h, POOLINGS)}"
            for h in per_column.values()
            if h not in POOLINGS
        ]
        if not groups and how != "complete":
            problems.append(f"pool[{name!r}]: there are no groups to pool over; pass groups=")
    if problems:
        raise FitError(problems)

    typical = float(np.exp(np.log(runs.table["loss"]).mean()))
    parameters = []
    for name, prior in {**known, **priors}.items():
        if isinstance(prior, Positive):
            prior = prior.in_units_of(typical)
        usual = NOISE_POOLING.get(name, "partial" if name in law.poolable else "complete")
        how = pool.get(name, usual)
        per_column = how if isinstance(how, Mapping) else dict.fromkeys(groups, how)
        effects = tuple(
            Effect(c, per_column.get(c, usual))
            for c in groups
            if per_column.get(c, usual) != "complete"
        )
        if len({e.pooling for e in effects}) > 1:
            raise FitError(
                f"pool[{name!r}] mixes 'partial' and 'none': a parameter that is not "
                "pooled over one column has no population to pool over another"
            )
        parameters.append(Parameter(name, prior, effects))
    scales = {c: runs.scales.get(c, _geometric_mean(runs, c)) for c in law.columns}
    return _parametrised(Design(law, runs, groups, tuple(parameters), scales, drift, ahead))


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
        pinned |= {(name, g): enough for name in TERMS}

    def settled(p: Parameter) -> Parameter:
        return replace(
            p, effects=tuple(replace(e, centred=bool(pinned[p.name, e.column])) for e in p.effects)
        )

    return replace(plan, parameters=tuple(map(settled, plan.parameters)))


def _sensitivity(plan: Design, varying: Sequence[Parameter], step: float = 1e-4) -> np.ndarray:
    """d log(loss) / d parameter on its link scale, at the priors' medians; (run, parameter)."""
    centre = {p: q.prior.centre for p, q in ((q.name, q) for q in plan.parameters)}

    def log_loss(name: str, by: float) -> np.ndarray:
        values = {
            p: from_link(plan.parameter(p).prior.link, centre[p] + by * (p == name))
            for p in plan.law.parameters
        }
        return np.log(plan.law(plan.columns, plan.scales, values))

    slopes = [(log_loss(p.name, step) - log_loss(p.name, -step)) / (2 * step) for p in varying]
    return np.stack(slopes, axis=1) if slopes else np.zeros((len(plan.runs), 0))


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

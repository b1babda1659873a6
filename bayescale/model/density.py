"""The log density of a design in numpy, at many parameter values at once.

It is the density of `bayescale.model.pymc_model`, up to a constant. The coordinates are on the link
scale, and each is standard normal under the prior:

* the population value of a parameter, minus the centre of its prior, divided by the prior width;
* the log of a between-group scale, centred and divided in the same way;
* the value of a group minus the population value, divided by the between-group scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from bayescale.inference import Density, Hierarchy
from bayescale.model import drift_density, noise
from bayescale.model.design import Design
from bayescale.model.drift_density import LogColumn
from bayescale.model.hierarchy import SCALE_SPREAD, Parameter
from bayescale.priors import from_link, to_link

#: Largest number of parameters of a posterior that is sampled without chains.
MOST_PARAMETERS = 18
#: Largest number of coordinates that are drawn before the others; see
#: `bayescale.inference.conditional`. With 4, draws under `mixing_transfer` were moved from too few
#: effective ones, and lacked the tails of the floor.
MOST_WIDE = 5
#: The same where the others have a trend along them or there is drift through the runs, and for a
#: curve whose amplitude has a trend in closed form.
MOST_TREND, MOST_RIDGE = 4, 5
#: Size of the largest arrays. Larger ones do not fit in the cache of a processor.
CHUNK = 40_000
#: Modes are looked for with at most this many runs, evenly spaced along the scale.
COARSE = 60
#: Decimals of logarithms that are kept.
DIGITS = 11
#: Smallest reducible part of the loss of the first run, where the floor is above it.
LEAST_ABOVE = 0.02
#: Half of the residuals are smaller than this many noise scales, if `nu` is about 6.
HALF_INSIDE = 0.72


def is_small(plan: Design) -> bool:
    """Whether a design has few parameters, none of which varies between groups."""
    return not plan.groups and len(plan.parameters) <= MOST_PARAMETERS


def density(plan: Design) -> Density:
    """The posterior of a design; the coordinates are those of `variables`."""
    plan = _relative(plan)
    coarse = None
    without_noise = plan.groups or plan.parameter("sigma").is_fixed
    if len(plan.runs) > COARSE and not plan.groups:
        coarse = _log_likelihood(_thinned(plan))
    improved = None if without_noise else lambda z: _with_noise(plan, z)
    is_one_anchored = plan.is_anchored and drift_density.is_one_curve(plan)
    trend = _amplitude(plan) if is_one_anchored else None
    wide = _wide(plan, MOST_TREND if plan.drift == "through" else MOST_WIDE)
    # Not under laws of other regimes: the tail of the floor of `mixing` is missed, so that its
    # simulation-based calibration fails (`tests/evaluation/test_sbc.py`).
    ridge = _wide(plan, MOST_TREND) if plan.law.allocates else ()
    free = [p for p in plan.parameters if p.has_population]
    of_law = wide if trend is None else _wide(plan, MOST_RIDGE)
    if plan.drift == "through" and of_law:
        # The smaller the drift, the more the runs determine the law.
        ridge = (*of_law, *(i for i, p in enumerate(free) if p.name == "drift"))
    if trend is not None:
        ridge = tuple(i for i in ridge if free[i].name != plan.law.amplitude)
    priors = [free[i].prior for i in ridge]
    rates = tuple(p.width if p.link == "log" else 0.0 for p in priors)
    return Density(
        dimension(plan), _log_likelihood(plan), coarse, improved, wide, ridge, rates, trend
    )


def _wide(plan: Design, most: int) -> tuple[int, ...]:
    """Coordinates of the exponents, parameters of the law without the unit of the loss, and of the
    first parameter with it, which is the floor if there is one.

    Given these, the other amplitudes are nearly determined. The amplitudes add up to the loss, but
    their coordinates are logarithms, so that without the first their distribution is a curve.
    Empty with groups, and if there are more than `most`.
    """
    free = [p.name for p in plan.parameters if p.has_population]
    of_loss = [n for n in plan.law.parameters if getattr(plan.law.priors[n], "of", None) == "loss"]
    exponents = {n for n in plan.law.parameters if n not in of_loss}
    wide = tuple(i for i, n in enumerate(free) if n in exponents or n in of_loss[:1])
    return wide if not plan.groups and len(wide) <= most else ()


def is_wide(plan: Design) -> bool:
    """Whether the posterior may be wide in more coordinates than can be drawn before the others.

    Draws that had to be moved then lack tails (`benchmarks/calibration.py`, ``sparse_experts``).
    """
    return not plan.groups and not _wide(plan, MOST_WIDE)


def _amplitude(plan: Design) -> Callable[[np.ndarray], np.ndarray]:
    """The amplitude with which the law passes through the first run of a curve, as the trend of
    its coordinate.

    The drift is zero there, so that the law is known up to the noise, whatever its exponents are.
    The amplitude follows them and the floor along a narrow ridge.
    """
    law, free = plan.law, [p.name for p in plan.parameters if p.has_population]
    place, prior = free.index(law.amplitude), plan.parameter(law.amplitude).prior
    first = int(np.argmin(plan.log_scale))
    columns = {c: v[first : first + 1] for c, v in plan.columns.items()}
    loss = float(np.exp(plan.log_loss[first]))

    def trend(z):
        with np.errstate(all="ignore"):
            drawn = {name: v[:, None] for name, v in variables(plan, z).items()}
            values = {p.name: p.value(drawn, lambda *_: None) for p in plan.parameters}
            floor = values[law.floor] if law.floor else 0.0
            unit = values | {law.amplitude: 1.0} | ({law.floor: 0.0} if law.floor else {})
            above = np.maximum(loss - floor, LEAST_ABOVE * loss)
            level = np.log(above / plan.law(columns, plan.scales, unit))[:, 0]
        out = np.zeros_like(z)
        out[:, place] = np.where(np.isfinite(level), (level - prior.centre) / prior.width, 0.0)
        return out

    return trend


# -- coordinates -------------------------------------------------------------------------------


def dimension(plan: Design) -> int:
    """Number of coordinates."""
    total = 0
    for p in plan.parameters:
        total += p.has_population
        total += sum(len(plan.levels[e.column]) for e in p.effects)
        total += sum(e.pooling == "partial" for e in p.effects)
    return total


def variables(plan: Design, z: np.ndarray) -> dict[str, np.ndarray]:
    """The variables of the model at positions z, (n, coordinate).

    Returns
    -------
    dict of str to array
        Parameters (n,) and values per group (n, level) on the natural scale, between-group scales
        (n,) on the link scale.
    """
    out, place = {}, 0
    for p in plan.parameters:
        link, population = p.prior.link, np.full(len(z), p.prior.centre)
        if p.has_population:
            population = population + p.prior.width * z[:, place]
            out[p.name] = from_link(link, population)
            place += 1
        for effect in p.effects:
            scale = np.full(len(z), p.prior.width)
            if effect.pooling == "partial":
                scale = p.prior.between_width * np.exp(SCALE_SPREAD * z[:, place])
                out[p.scale(effect)] = scale
                place += 1
            size = len(plan.levels[effect.column])
            offset = z[:, place : place + size]
            out[p.member(effect)] = from_link(link, population[:, None] + scale[:, None] * offset)
            place += size
    return out


def coordinates(plan: Design, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The positions z, (n, coordinate), of the variables of a model: the inverse of `variables`."""
    columns = []
    for p in plan.parameters:
        link, population = p.prior.link, p.prior.centre
        if p.has_population:
            population = to_link(link, np.asarray(values[p.name]))
            columns.append((population - p.prior.centre) / p.prior.width)
        for effect in p.effects:
            scale = p.prior.width
            if effect.pooling == "partial":
                scale = np.asarray(values[p.scale(effect)])
                columns.append(np.log(scale / p.prior.between_width) / SCALE_SPREAD)
            members = to_link(link, np.asarray(values[p.member(effect)]))
            columns += list((members.T - population) / scale)
    return np.stack(columns, axis=-1)


def _relative(plan: Design) -> Design:
    """The same posterior with columns and losses in units of their geometric means.

    All numbers are rounded, so that the same runs in another unit give the same draws.
    """
    table, unit = plan.runs.table, float(np.exp(plan.log_loss.mean()))
    of_loss = [p for p in plan.law.parameters if getattr(plan.law.priors[p], "of", None) == "loss"]
    if not (of_loss and _is_homogeneous(plan, of_loss)):
        unit, of_loss = 1.0, []
    changes = {c: _rounded(v / plan.scales[c]) for c, v in plan.columns.items()}
    changes["loss"] = _rounded(np.exp(plan.log_loss) / unit)
    if plan.has_loss_sd:
        changes["loss_sd"] = _rounded(plan.log_loss_sd) * changes["loss"]
    parameters = tuple(
        replace(p, prior=replace(p.prior, median=float(_rounded(p.prior.median / unit))))
        if p.name in of_loss
        else p
        for p in plan.parameters
    )
    runs = replace(plan.runs, table=table.assign(**changes))
    return replace(
        plan, runs=runs, parameters=parameters, scales=dict.fromkeys(plan.law.columns, 1.0)
    )


def _is_homogeneous(plan: Design, of_loss: list[str]) -> bool:
    """Whether the law is proportional to the parameters that are in units of the loss."""
    values = {
        p: from_link(plan.parameter(p).prior.link, plan.parameter(p).prior.centre)
        for p in plan.law.parameters
    }
    doubled = {p: 2 * v if p in of_loss else v for p, v in values.items()}
    with np.errstate(all="ignore"):
        one, two = (plan.law(plan.columns, plan.scales, v) for v in (values, doubled))
    return bool(np.allclose(2 * one, two, rtol=1e-9))


def _rounded(value):
    """Positive numbers, or zeros, rounded to `DIGITS` decimals of their logarithm."""
    with np.errstate(divide="ignore"):
        return np.exp(np.round(np.log(value), DIGITS))


def _thinned(plan: Design) -> Design:
    """The same design with `COARSE` of its runs, evenly spaced along the scale."""
    order = np.argsort(plan.log_scale, kind="stable")
    keep = np.zeros(len(order), bool)
    keep[order[np.linspace(0, len(order) - 1, COARSE).round().astype(int)]] = True
    return replace(plan, runs=plan.runs[keep])


def _with_noise(plan: Design, z: np.ndarray) -> np.ndarray:
    """Positions with the noise scale at which half of the residuals are larger."""
    drawn = {name: v[:, None] for name, v in variables(plan, z).items()}
    # There are no group effects, so that nothing is selected.
    values = {p.name: p.value(drawn, lambda *_: None) for p in plan.parameters}
    with np.errstate(all="ignore"):
        law = plan.law(plan.columns, plan.scales, values)
        typical = np.median(np.abs(plan.log_loss - np.log(law)), axis=1) / HALF_INSIDE
        sigma = plan.parameter("sigma").prior
        scale = (np.log(typical) - sigma.centre) / sigma.width
    inferred = [p.name for p in plan.parameters if not p.is_fixed]
    out, place = z.copy(), inferred.index("sigma")
    out[:, place] = np.where(np.isfinite(scale), scale, z[:, place])
    return out


# -- likelihood --------------------------------------------------------------------------------


def _log_likelihood(plan: Design) -> Callable[[np.ndarray], np.ndarray]:
    if plan.has_series:
        plan = _by_series(plan)
    of_runs = _of_runs(plan)
    index = {g: plan.index(g) for g in plan.groups}
    numbers, through = len(plan.runs), None
    if plan.drift == "through":
        through = drift_density.through(plan, plan.arrays())
        numbers = through.numbers

    def part(z):
        drawn = variables(plan, z)
        columns_of = {name: v[:, None] if v.ndim == 1 else v for name, v in drawn.items()}
        values = {
            p.name: p.value(columns_of, lambda effect, members, _: members[:, index[effect.column]])
            for p in plan.parameters
        }
        return of_runs(values, through)

    def log_likelihood(z):
        rows = max(1, CHUNK // numbers)
        parts = [z[i : i + rows] for i in range(0, len(z), rows)]
        with np.errstate(all="ignore"):
            return np.concatenate([part(p) for p in parts])

    return log_likelihood


def _of_runs(plan: Design) -> Callable:
    """A function of parameters on their natural scale, (n, run) or (n, 1) by name: the log
    likelihood, (n,), or without the sum over runs, (n, run)."""
    arrays = plan.arrays()
    columns = [LogColumn(arrays[f"log_{c}"]) for c in plan.law.columns]

    def of_runs(values, through=None, *, each: bool = False):
        of_law = {p: values[p] for p in plan.law.parameters}
        mean, scale = np.log(plan.law.loss(*columns, **of_law)), values["sigma"]
        if plan.has_trend:
            scale = scale * noise.factor(values["trend"], mean, arrays["loss_range"])
        if plan.has_log_error:
            scale = np.sqrt(scale**2 + arrays["log_error"] ** 2)
        residual = (arrays["observed_log_loss"] - mean) / scale
        correlation = None
        if plan.has_series:
            correlation = noise.correlation(arrays["gap"], values["memory"])
        if through is not None:
            return through(of_law, values["drift"], mean, residual, scale, correlation)
        if plan.has_series:
            residual = noise.innovation(residual, residual[:, arrays["previous"]], correlation)
            scale = scale * noise.unexplained(correlation)
        kernel, constant = _student(residual, scale, values["nu"])
        if each:
            return constant - kernel
        return np.broadcast_to(constant, residual.shape).sum(axis=1) - kernel.sum(axis=1)

    return of_runs


def _by_series(plan: Design) -> Design:
    """The same design with the runs of each series together, in the order of their scale."""
    table = plan.runs.table
    order = np.lexsort((plan.log_scale, table["series"].astype(str).to_numpy(str)))
    table = table.iloc[order].reset_index(drop=True)
    return replace(plan, runs=replace(plan.runs, table=table))


def _student(residual, scale, nu) -> tuple[np.ndarray, np.ndarray]:
    """Parts of the Student-t log density of each run: the second minus the first."""
    from scipy.special import gammaln

    kernel = (nu + 1) / 2 * np.log1p(residual**2 / nu) + np.log(scale)
    constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
    return kernel, constant


# -- hierarchies -------------------------------------------------------------------------------


def is_hierarchy(plan: Design) -> bool:
    """Whether the runs of each group are independent given the parameters of the groups, and some
    of these have a population."""
    effects = [e for p in plan.parameters for e in p.effects]
    is_partial = any(e.pooling == "partial" for e in effects)
    return len(plan.groups) == 1 and is_partial and plan.drift != "through"


def hierarchy(plan: Design) -> Hierarchy:
    """The posterior of a design with one column of groups, by group."""
    plan = _relative(plan)
    (group,) = plan.groups
    order = np.argsort(plan.index(group), kind="stable")
    ordered = replace(plan.runs, table=plan.runs.table.iloc[order].reset_index(drop=True))
    plan = replace(plan, runs=ordered)
    index, of_runs = plan.index(group), _of_runs(plan)
    groups, rows = len(plan.levels[group]), max(1, CHUNK // len(index))
    first = np.searchsorted(index, np.arange(groups))
    varying, shared = _by_kind(plan)
    pinned = {p.name: np.float64(p.prior.median) for p in plan.parameters if p.is_fixed}

    def natural(p, value):
        return from_link(p.prior.link, p.prior.centre + p.prior.width * value)

    def part(values, common):
        of = pinned | {p.name: natural(p, common[:, [i]]) for i, p in enumerate(shared)}
        of |= {p.name: natural(p, values[:, i])[:, index] for i, p in enumerate(varying)}
        return np.add.reduceat(of_runs(of, each=True), first, axis=1)

    def log_likelihood(values, common):
        with np.errstate(all="ignore"):
            parts = [
                part(values[i : i + rows], common[i : i + rows])
                for i in range(0, len(values), rows)
            ]
        found = np.concatenate(parts)
        return np.where(np.isfinite(found), found, -np.inf)

    return Hierarchy(
        groups,
        len(shared),
        log_likelihood,
        pooled=np.array([p.effects[0].pooling == "partial" for p in varying]),
        between=np.array([p.prior.between_width / p.prior.width for p in varying]),
        spread=SCALE_SPREAD,
        # The law is linear in its floor and amplitudes, whose values are logarithms.
        rates=np.array(
            [
                p.prior.width if p.prior.link == "log" and _is_of_loss(plan, p.name) else 0.0
                for p in varying
            ]
        ),
    )


def hierarchy_positions(plan: Design, values: np.ndarray, population: np.ndarray) -> np.ndarray:
    """The positions of `variables` from draws of a `hierarchy`, (n, parameter, group) and (n,
    coordinate of the population)."""
    of = hierarchy(plan)
    means, scales, common = of.parts
    offset = (values - of.mean(population)[:, :, None]) / of.sd(population)[:, :, None]
    means, scales, common = (iter(population[:, part].T) for part in (means, scales, common))
    columns, varying = [], iter(offset.transpose(1, 2, 0))
    for p in plan.parameters:
        if p.has_population:
            columns.append(next(means if p.effects else common))
        for effect in p.effects:
            if effect.pooling == "partial":
                columns.append(next(scales))
            columns += list(next(varying))
    return np.stack(columns, axis=1)


def hierarchy_names(plan: Design) -> tuple[list[str], list[str]]:
    """Names of the values, in the order (parameter, group), and of the population of a
    `hierarchy`."""
    (group,) = plan.groups
    varying, shared = _by_kind(plan)
    pooled = [p for p in varying if p.has_population]
    values = [f"{p.member(p.effects[0])}[{x}]" for p in varying for x in plan.levels[group]]
    means, scales = [p.name for p in pooled], [p.scale(p.effects[0]) for p in pooled]
    return values, [*means, *scales, *(p.name for p in shared)]


def _by_kind(plan: Design) -> tuple[list[Parameter], list[Parameter]]:
    """The parameters with values by group, and those that all groups share."""
    free = [p for p in plan.parameters if not p.is_fixed]
    return [p for p in free if p.effects], [p for p in free if not p.effects]


def _is_of_loss(plan: Design, name: str) -> bool:
    return getattr(plan.law.priors.get(name), "of", None) == "loss"

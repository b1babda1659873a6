"""Construction of a `Design` from the options of `bayescale.fit`, with checks and defaults."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.data import EXTRAS, Runs, as_names
from bayescale.errors import FitError, RunsWarning, unknown
from bayescale.keywords import on_command_line, option
from bayescale.laws import Law, group_name_problem
from bayescale.model import drift as drifts
from bayescale.model import noise as noises
from bayescale.model import small_runs
from bayescale.model.design import TERMS, Design, has_checkpoints
from bayescale.model.hierarchy import POOLINGS, Effect, Parameter
from bayescale.model.labels import reserved
from bayescale.priors import Fixed, Positive, Prior, from_link

#: The centred form of a group effect is used if the expected posterior standard deviation of the
#: group value is below this multiple of the typical standard deviation between groups.
CENTRED_BELOW = 0.7
#: The centred form of the effects of noise and drift is used if the median number of runs per group
#: is at least this.
ENOUGH_FOR_NOISE = 8
MOST_NAMED = 8  # rows in a warning
PACKAGE = str(Path(__file__).parents[1])  # warnings name the line that called the package


def design(
    runs: Runs,
    law: Law,
    groups: str | Sequence[str] | None = None,
    pool: Mapping[str, str | Mapping[str, str]] | None = None,
    priors: Mapping[str, Prior] | None = None,
    drift: str = "auto",
    noise: str = "even",
    law_error: bool | None = None,
) -> Design:
    """Check the options of `bayescale.fit` and build the specification of the model.

    The parameters are those of `bayescale.fit`.

    Raises
    ------
    FitError
        If a column, parameter, prior or pooling is not valid. The message names all of them.

    Warns
    -----
    RunsWarning
        If checkpoints of one series have the same scale. Only the last of them is used.
    """
    if not isinstance(runs, Runs):
        raise FitError(
            f"expected Runs, got {type(runs).__name__}: make them with Runs.read(path) "
            "or Runs.from_frame(frame)"
        )
    groups, pool, priors = as_names(groups), dict(pool or {}), dict(priors or {})
    problems = _columns(runs, law, groups)
    if drift not in drifts.KINDS:
        problems.append(unknown("drift", drift, drifts.KINDS))
    if noise not in noises.KINDS:
        problems.append(unknown("noise", noise, noises.KINDS))
    if not problems:
        runs = _last_of_ties(runs, law)
        if noise == "by_loss" and runs.table["loss"].nunique() < 2:
            problems.append("noise='by_loss' needs different losses, but all are equal")
    if drift == "auto":
        drift = "through" if has_checkpoints(runs) else "ahead"
    defaults = {**law.priors, **_terms(runs, drift, noise)}
    ahead = priors.pop("drift", None) if drift == "ahead" else None
    if ahead is not None and not isinstance(ahead, Positive):
        problems.append(f"priors: drift is {ahead!r}; use Positive")
    problems += _options(pool, priors, groups, defaults)
    problems += _pinned(pool, priors, law, defaults)
    if problems:
        raise FitError(problems)
    typical = float(np.exp(np.log(runs.table["loss"]).mean()))
    parameters = tuple(
        _parameter(name, prior, pool, groups, law, typical)
        for name, prior in {**defaults, **priors}.items()
    )
    if law_error is None:
        law_error = small_runs.by_default([law])
    scales = law.scales_of({c: runs.table[c].to_numpy(float) for c in law.columns})
    return _parametrised(
        Design(law, runs, groups, parameters, scales, drift, ahead, law_error=law_error)
    )


def _columns(runs: Runs, law: Law, groups: Sequence[str]) -> list[str]:
    """Problems of the columns that the law and the groups need."""
    problems = [
        f"law {law.name!r} needs the column {c!r}, which is not in these runs: they have "
        f"{', '.join(x for x in runs.mapping if x in runs)}"
        + ("" if c in "NDC" else _how_to_name(c))
        for c in law.columns
        if c not in runs
    ]
    if problems and (only := [c for c in "CDN" if c in runs]) and not {"N", "D"} <= set(runs.table):
        several = "a fit without --law" if on_command_line() else "bs.ensemble"
        problems[-1] += f"; a law for these runs is 'power({only[0]})', and {several} tries several"
    for c in law.columns:
        if c in runs and not is_positive(runs.table[c]):
            problems.append(f"column {c!r}, which law {law.name!r} needs, must be positive numbers")
    for g in groups:
        if g not in runs.table.columns:
            problems.append(unknown("group column", g, runs.table.columns))
        elif name_problem := group_name_problem(law, g):
            problems.append(name_problem)
        elif runs.table[g].isna().any():
            problems.append(f"group column {g!r} has missing labels: fill them in or drop the rows")
        else:
            problems += reserved({g: runs.table[g].astype(str)})
    return problems


def _how_to_name(column: str) -> str:
    """What to do if the table has the column by another name."""
    if column in EXTRAS:
        how = f"--columns {column}=..." if on_command_line() else f"Runs.read(..., {column}='...')"
        return f"; name the column that holds it: {how}"
    return f"; rename the column of the table that holds it to {column!r}"


def is_positive(column: pd.Series) -> bool:
    """Whether all values of a column are positive finite numbers."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(float)
    return bool((np.isfinite(values) & (values > 0)).all())


def _last_of_ties(runs: Runs, law: Law) -> Runs:
    """Keep only the last of the checkpoints of one series that have the same scale.

    The noise of such checkpoints would be perfectly correlated. They occur where a resumed run logs
    steps twice, and under a law of N alone, where all checkpoints of a run have one scale.
    """
    if not has_checkpoints(runs):
        return runs
    order = [c for c in ("C", "D") if c in runs]
    table = runs.table.sort_values(order, kind="stable") if order else runs.table
    scale = law.log_scale({c: table[c].to_numpy(float) for c in law.columns})
    series = table["series"].astype(str)
    sorted_scale = pd.Series(scale, table.index).groupby(series).transform(np.sort)
    gap = sorted_scale.groupby(series).diff()
    if not (gap <= noises.SAME).any():
        return runs
    rounded = pd.Series(np.round(scale / noises.SAME), table.index)
    last = ~pd.DataFrame({"series": series, "scale": rounded}).duplicated(keep="last")
    keep = last.reindex(runs.table.index).to_numpy()
    columns = " and ".join(law.columns)
    left_out = [str(label) for label in runs.table.index[~keep]]
    shown = ", ".join(left_out[:MOST_NAMED]) + (", ..." if len(left_out) > MOST_NAMED else "")
    warnings.warn(
        f"{runs.source}: {len(left_out)} of {len(runs)} checkpoints have the same {columns} as a "
        f"later one of the same series; only the last of each is used (left out: rows {shown})",
        RunsWarning,
        skip_file_prefixes=(PACKAGE,),
    )
    return runs[keep]


def _terms(runs: Runs, drift: str, noise: str) -> dict[str, Prior]:
    """Default priors of noise and drift."""
    out = dict(noises.NOISE)
    if noise == "by_loss":
        out["trend"] = noises.TREND
    if has_checkpoints(runs):
        out["memory"] = noises.MEMORY
    if drift == "through":
        del out["nu"]
        out["drift"] = drifts.THROUGH
    return out


def _options(pool, priors, groups: Sequence[str], parameters: Mapping[str, Prior]) -> list[str]:
    """Problems of `pool` and `priors`."""
    problems = []
    for argument, names in (("pool", pool), ("priors", priors)):
        problems += [
            f"{argument}: {unknown('parameter', n, parameters)}"
            for n in names
            if n not in parameters
        ]
    problems += [
        f"priors: {n} is {p!r}; use Positive, Fraction, Real or Fixed"
        for n, p in priors.items()
        if not isinstance(p, Prior)
    ]
    for name, pooling in pool.items():
        by_column = pooling if isinstance(pooling, Mapping) else dict.fromkeys(groups, pooling)
        problems += [
            f"pool[{name!r}]: {unknown('group column', c, groups)}"
            for c in by_column
            if c not in groups
        ]
        problems += [
            f"pool[{name!r}]: {unknown('pooling', p, POOLINGS)}"
            for p in by_column.values()
            if p not in POOLINGS
        ]
        if not groups and pooling != "complete":
            problems.append(
                f"pool[{name!r}]: there are no groups to pool over: pass {option('groups', '...')}"
            )
        elif len({p for p in by_column.values() if p != "complete"}) > 1:
            problems.append(
                f"pool[{name!r}] mixes 'partial' and 'none': with 'none' for one column there is "
                "no population value, which 'partial' needs"
            )
    return problems


def _pinned(pool, priors, law: Law, defaults: Mapping[str, Prior]) -> list[str]:
    """Problems of parameters that are pinned at a value."""
    problems, may_be = [], (*law.parameters, "sigma", "nu")
    for name, prior in priors.items():
        if not isinstance(prior, Fixed) or name not in defaults:
            continue
        link, value = defaults[name].link, prior.median
        if name not in may_be:
            problems.append(
                f"priors: {name} cannot be Fixed: only {', '.join(may_be)} can; give it a narrow "
                "prior instead"
            )
        if name in pool and pool[name] != "complete":
            problems.append(f"pool[{name!r}]: a Fixed parameter is equal in all groups")
        # A floor or an amplitude of the law may be zero; a noise scale may not.
        positive = value > 0 or (value == 0 and name in law.parameters)
        if link == "log" and not positive:
            problems.append(f"priors: {name} is positive, but is Fixed at {value:g}")
        if link == "logit" and not 0 < value < 1:
            problems.append(f"priors: {name} lies between 0 and 1, but is Fixed at {value:g}")
    return problems


def _parameter(name: str, prior: Prior, pool, groups, law: Law, typical_loss: float) -> Parameter:
    """A parameter with its prior in absolute units and its effects over the group columns."""
    if isinstance(prior, Positive):
        prior = prior.in_units_of(typical_loss)
    if isinstance(prior, Fixed):
        return Parameter(name, prior)
    default = noises.POOLING.get(name, "partial" if name in law.poolable else "complete")
    pooling = pool.get(name, default)
    by_column = pooling if isinstance(pooling, Mapping) else dict.fromkeys(groups, pooling)
    effects = tuple(
        Effect(c, by_column.get(c, default))
        for c in groups
        if by_column.get(c, default) != "complete"
    )
    if len({e.pooling for e in effects}) > 1:
        raise FitError(
            f"pool[{name!r}] mixes 'partial' and 'none': columns that it does not name have the "
            f"default {default!r}; name all columns"
        )
    return Parameter(name, prior, effects)


def _parametrised(plan: Design) -> Design:
    """Choose the centred or the non-centred form of every effect by the information in the runs.

    The posterior standard deviation of each parameter of a group, given its runs, is estimated by a
    Gauss-Newton approximation at the prior medians. If it is small relative to the typical standard
    deviation between groups, the group value is nearly independent of the between-group scale in
    the posterior, and the centred form is efficient. Otherwise the non-centred form is.
    """
    if not plan.groups:
        return plan
    varying = [p for p in plan.parameters if p.effects and p.name in plan.law.parameters]
    sensitivity = _sensitivity(plan, varying)
    noise = np.hypot(plan.parameter("sigma").prior.median, plan.log_error)
    typical = np.array([p.prior.between_width for p in varying])
    centred = {}
    for g in plan.groups:
        index = plan.index(g)
        widths = []
        for level in range(len(plan.levels[g])):
            rows = sensitivity[index == level] / noise[index == level, None]
            precision = rows.T @ rows + np.diag(typical**-2)
            widths.append(np.sqrt(np.diag(np.linalg.inv(precision))) / typical)
        for p, width in zip(varying, np.median(widths, axis=0), strict=True):
            centred[p.name, g] = bool(width < CENTRED_BELOW)
        is_centred = bool(np.median(np.bincount(index)) >= ENOUGH_FOR_NOISE)
        centred |= {(name, g): is_centred for name in TERMS}

    def with_forms(p: Parameter) -> Parameter:
        effects = (replace(e, centred=centred[p.name, e.column]) for e in p.effects)
        return replace(p, effects=tuple(effects))

    return replace(plan, parameters=tuple(map(with_forms, plan.parameters)))


def _sensitivity(plan: Design, varying: Sequence[Parameter], step: float = 1e-4) -> np.ndarray:
    """Derivatives of log loss in the parameters on the link scale at the prior medians; (run,
    parameter)."""
    centre = {p.name: p.prior.centre for p in plan.parameters}

    def log_loss(name: str, change: float) -> np.ndarray:
        values = {
            p: from_link(plan.parameter(p).prior.link, centre[p] + change * (p == name))
            for p in plan.law.parameters
        }
        return np.log(plan.law(plan.columns, plan.scales, values))

    slopes = [(log_loss(p.name, step) - log_loss(p.name, -step)) / (2 * step) for p in varying]
    return np.stack(slopes, axis=1) if slopes else np.zeros((len(plan.runs), 0))

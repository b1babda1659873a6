"""Simulated runs, from a law with known parameters or from draws from the prior of a design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from bayescale import laws
from bayescale.data import Runs
from bayescale.errors import FitError, unknown
from bayescale.laws import Law
from bayescale.model import drift as drifts
from bayescale.model import noise
from bayescale.model.design import Design
from bayescale.model.hierarchy import SCALE_SPREAD, new_member
from bayescale.priors import from_link


def simulate(
    law: str | Law,
    runs: Runs | pd.DataFrame,
    parameters: str | Mapping[str, float],
    *,
    sigma: float = 0.005,
    nu: float = 6.0,
    random_seed: int | None = None,
) -> Runs:
    """Simulate runs under a law with known parameters.

    Parameters
    ----------
    law : str or Law
    runs : Runs or DataFrame
        Runs whose loss is replaced by simulated values. A DataFrame needs no column ``loss``.
    parameters : str or mapping of str to float
        Parameters in raw units, as in papers, or the name of published values of the law.
    sigma, nu : float
        Scale and degrees of freedom of the Student-t noise on log loss.
    random_seed : int, optional
        Seed of the noise; by default a random one.

    Returns
    -------
    Runs
        The same runs with simulated ``loss`` and without ``loss_sd``.

    Raises
    ------
    FitError
        If parameters are missing or unknown.

    Examples
    --------
    >>> import bayescale as bs
    >>> fake = bs.simulate("chinchilla", bs.Runs.example("openlm"), "besiroglu2024", random_seed=1)
    >>> len(fake)
    104
    """
    law = laws.get(law)
    if isinstance(parameters, str):
        if parameters not in law.published:
            raise FitError(unknown(f"published point of {law.name!r}", parameters, law.published))
        parameters = law.published[parameters].values
    if set(parameters) != set(law.parameters):
        raise FitError(
            f"law {law.name!r} takes exactly {', '.join(law.parameters)}: "
            f"got {', '.join(parameters) or 'none'}"
        )
    if isinstance(runs, pd.DataFrame):
        runs = Runs.from_frame(
            runs if "loss" in runs else runs.assign(loss=1.0), source="a simulation"
        )
    rng = np.random.default_rng(random_seed)
    columns = {c: runs.table[c].to_numpy(float) for c in law.columns}
    mean = law(columns, dict.fromkeys(law.columns, 1.0), parameters)
    loss = mean * np.exp(sigma * rng.standard_t(nu, len(runs)))
    table = runs.table.assign(loss=loss).drop(columns="loss_sd", errors="ignore")
    return replace(runs, table=table, source="a simulation")


def draw_prior(plan: Design, draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws from the prior of every variable of the model.

    Returns
    -------
    dict of str to array
        (draw,), or (draw, level) for values per group. Parameters are on their natural scale,
        between-group scales on the link scale.
    """
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
            normal = rng.standard_normal((draws, len(plan.levels[effect.column])))
            member = new_member(base[:, None], scale[:, None], normal)
            out[p.member(effect)] = from_link(p.prior.link, member)
    return out


def simulate_design(
    plan: Design, truth: Mapping[str, np.ndarray], rng: np.random.Generator
) -> Design:
    """The same design with losses simulated given one draw of all variables of the model.

    Parameters
    ----------
    plan : Design
    truth : mapping of str to float or array (level,)
        One draw of `draw_prior`.
    """
    n = len(plan.runs)
    values = {
        p.name: p.value(truth, lambda effect, members, _: members[plan.index(effect.column)])
        for p in plan.parameters
    }
    mean = np.log(plan.law(plan.columns, plan.scales, values))
    if plan.drift == "through":
        mean = mean + _drift(plan, values, mean, rng)
    scale = values["sigma"]
    if plan.has_trend:
        scale = scale * noise.factor(values["trend"], mean, plan.loss_range)
    if "nu" in values:
        standardised = rng.standard_t(np.broadcast_to(values["nu"], n))
    else:
        standardised = rng.standard_normal(n)
    if plan.has_series:
        standardised = _along_series(*plan.before, values["memory"], standardised)
    known = replace(plan, runs=replace(plan.runs, table=plan.runs.table.assign(loss=np.exp(mean))))
    loss = np.exp(mean + np.hypot(scale, known.log_error) * standardised)
    table = plan.runs.table.assign(loss=loss)
    if plan.has_loss_sd:
        table = table.assign(loss_sd=plan.log_loss_sd * loss)
    return replace(plan, runs=replace(plan.runs, table=table))


def _drift(plan: Design, values, mean: np.ndarray, rng) -> np.ndarray:
    """A draw of the drift in log loss given its size, independent in each cell; (run,)."""
    logs = {c: np.log(v / plan.scales[c]) for c, v in plan.columns.items()}
    at_knots = {
        c: np.exp(v) * plan.scales[c]
        for c, v in plan.log_columns_at_knots(logs, plan.log_scale).items()
    }
    by_run = {p: v[:, None] if np.ndim(v) else v for p, v in values.items()}
    curve_at_knots = np.log(plan.law(at_knots, plan.scales, by_run))
    basis = drifts.deviations(mean[:, None], curve_at_knots, plan.increments)
    steps = rng.standard_normal((len(plan.cells), basis.shape[1]))
    return values["drift"] * (basis * steps[plan.cell]).sum(axis=1)


def _along_series(
    previous: np.ndarray, gap: np.ndarray, memory, independent: np.ndarray
) -> np.ndarray:
    """Autocorrelated noise along each series from independent noise; (run,)."""
    correlation = noise.correlation(gap, memory)
    out = noise.unexplained(correlation) * independent
    done = ~np.isfinite(gap)
    while not done.all():
        ready = ~done & done[previous]
        out[ready] += correlation[ready] * out[previous[ready]]
        done |= ready
    return out

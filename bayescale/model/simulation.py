"""Fake runs from a law and known parameters: what a fit must be able to find again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from bayescale import laws
from bayescale.data import Runs
from bayescale.errors import FitError, unknown
from bayescale.laws import Law
from bayescale.model.design import Design, noise_factor
from bayescale.priors import from_link, to_link


def simulate(
    law: str | Law,
    runs: Runs | pd.DataFrame,
    parameters: str | Mapping[str, float],
    *,
    sigma: float = 0.005,
    nu: float = 6.0,
    random_seed: int | None = None,
) -> Runs:
    """Runs that a law would have given.

    Parameters
    ----------
    law : str or Law
    runs : Runs or DataFrame
        The design: its columns are kept, its loss is replaced (a frame needs none).
    parameters : str or mapping of str to float
        Constants in raw units, as papers quote them, or the name of a published point.
    sigma, nu : float
        Scale and degrees of freedom of the Student-t noise on log loss.
    random_seed : int, optional

    Returns
    -------
    Runs

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
            f"law {law.name!r} takes exactly {', '.join(law.parameters)}; "
            f"got {', '.join(parameters)}"
        )
    if isinstance(runs, pd.DataFrame):
        runs = Runs.from_frame(
            runs if "loss" in runs else runs.assign(loss=1.0), source="a simulation"
        )
    rng = np.random.default_rng(random_seed)
    columns = {c: runs.table[c].to_numpy(float) for c in law.columns}
    mean = law(columns, dict.fromkeys(law.columns, 1.0), parameters)
    noise = sigma * rng.standard_t(nu, len(runs))
    table = runs.table.assign(loss=mean * np.exp(noise)).drop(columns="loss_sd", errors="ignore")
    return replace(runs, table=table, source="a simulation")


def simulate_design(plan: Design, truth: Mapping[str, np.ndarray], rng) -> Design:
    """The same design with losses that a draw of all its variables (`draw_prior`) would give."""
    n = len(plan.runs)
    values = {p.name: _at_runs(plan, p, truth) for p in plan.parameters}
    mean = np.log(plan.law(plan.columns, plan.scales, values))
    if plan.drift == "through":
        mean = mean + _drift(plan, values, mean, rng)
    scale = values["sigma"]
    if plan.has_trend:
        scale = scale * noise_factor(values["trend"], mean, plan.loss_range)
    noise = (
        rng.standard_normal(n)
        if "nu" not in values
        else rng.standard_t(np.broadcast_to(values["nu"], n))
    )
    if plan.has_series:
        noise = _along_series(*plan.before, values["memory"], noise)
    loss = np.exp(mean + np.hypot(scale, plan.log_loss_sd) * noise)
    table = plan.runs.table.assign(loss=loss)
    if plan.has_loss_sd:
        table = table.assign(loss_sd=plan.log_loss_sd * loss)
    return replace(plan, runs=replace(plan.runs, table=table))


def _drift(plan: Design, values, mean: np.ndarray, rng) -> np.ndarray:
    """A drift of the size that `values` say, drawn for each cell."""
    logs = {c: np.log(v / plan.scales[c]) for c, v in plan.columns.items()}
    moved = {
        c: np.exp(v) * plan.scales[c]
        for c, v in plan.log_columns_at_knots(logs, plan.log_scale).items()
    }
    across = next(iter(moved.values())).ndim == 2
    here = {p: v[:, None] if across and np.ndim(v) else v for p, v in values.items()}
    hinges = plan.hinges * (mean[:, None] - np.log(plan.law(moved, plan.scales, here)))
    weights = rng.standard_normal((len(plan.cells), hinges.shape[1]))
    return values["drift"] * (hinges * weights[plan.cell]).sum(axis=1)


def _along_series(before: np.ndarray, gap: np.ndarray, memory, new: np.ndarray) -> np.ndarray:
    """Noise of which each checkpoint keeps a share of the one before it."""
    keep = np.exp(-gap / memory)
    noise = np.sqrt(1 - keep**2) * new
    done = ~np.isfinite(gap)
    while not done.all():
        ready = ~done & done[before]
        noise[ready] += keep[ready] * noise[before[ready]]
        done |= ready
    return noise


def _at_runs(plan: Design, p, truth) -> np.ndarray:
    link = p.prior.link
    base = to_link(link, truth[p.name]) if p.has_population else p.prior.centre
    total = base
    for effect in p.effects:
        member = to_link(link, truth[p.member(effect)])[plan.index(effect.column)]
        total = total + member - base
    return from_link(link, total)

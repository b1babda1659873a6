"""Fake runs from a law and known parameters: what a fit must be able to find again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from bayescale import laws
from bayescale.errors import FitError, unknown
from bayescale.law import Law
from bayescale.model import Design
from bayescale.priors import from_link, to_link
from bayescale.runs import Runs


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
        raise FitError(f"law {law.name!r} takes exactly {', '.join(law.parameters)}; "
                       f"got {', '.join(parameters)}")
    if isinstance(runs, pd.DataFrame):
        runs = Runs.from_frame(runs if "loss" in runs else runs.assign(loss=1.0),
                               source="a simulation")
    rng = np.random.default_rng(random_seed)
    columns = {c: runs.table[c].to_numpy(float) for c in law.columns}
    mean = law(columns, dict.fromkeys(law.columns, 1.0), parameters)
    noise = sigma * rng.standard_t(nu, len(runs))
    table = runs.table.assign(loss=mean * np.exp(noise)).drop(columns="loss_sd", errors="ignore")
    return replace(runs, table=table, source="a simulation")


def simulate_design(plan: Design, truth: Mapping[str, np.ndarray], rng) -> Design:
    """The same design with losses that a draw of all its variables (`draw_prior`) would give."""
    values = {p.name: _at_runs(plan, p, truth) for p in plan.parameters}
    mean = plan.law(plan.columns, plan.scales, values)
    scale = np.hypot(values["sigma"], plan.log_loss_sd)
    noise = scale * rng.standard_t(np.broadcast_to(values["nu"], len(plan.runs)))
    loss = mean * np.exp(noise)
    table = plan.runs.table.assign(loss=loss)
    if plan.has_loss_sd:
        table = table.assign(loss_sd=plan.log_loss_sd * loss)
    return replace(plan, runs=replace(plan.runs, table=table))


def _at_runs(plan: Design, p, truth) -> np.ndarray:
    link = p.prior.link
    base = to_link(link, truth[p.name]) if p.has_population else p.prior.centre
    total = base
    for effect in p.effects:
        member = to_link(link, truth[p.member(effect)])[plan.index(effect.column)]
        total = total + member - base
    return from_link(link, total)

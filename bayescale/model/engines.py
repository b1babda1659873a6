"""The sampler of a design.

Importance sampling where there are few parameters and no groups; Metropolis within Gibbs, which
moves all groups at once, where there are many groups; otherwise NUTS.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayescale.errors import FitError, unknown
from bayescale.inference import (
    Convergence,
    ImportanceDiagnostics,
    hierarchies,
    importance,
    nuts,
)
from bayescale.model.density import (
    MOST_PARAMETERS,
    density,
    hierarchy,
    hierarchy_names,
    hierarchy_positions,
    is_hierarchy,
    is_small,
    variables,
)
from bayescale.model.design import Design
from bayescale.model.pymc_model import check_law, target
from bayescale.progress import bar

#: Values of ``engine=`` in `bayescale.fit`.
ENGINES = ("auto", "particles", "gibbs", "nuts")
#: Number of groups from which on NUTS is not used by default.
MANY_GROUPS = 8
#: Runs of importance sampling before NUTS is used. A second run, with other random numbers, takes
#: seconds and mostly succeeds where the first did not; compiling a model takes longer.
PARTICLE_RUNS = 2
#: The fewest and the most evaluations of the density in one run of importance sampling, under a
#: law of at most `FEW` parameters, and under one of more, whose posterior is curved
#: (`benchmarks/checkpoints.py`: 17,000 to 107,000, and 391,000 to 464,000 under skaling, which
#: needs fewer where the runs determine it well).
EVALUATIONS, EVALUATIONS_CURVED, FEW = (15_000, 120_000), (60_000, 500_000), 5
#: The speed of a density is measured at this many positions, and this often, of which the shortest
#: time counts: others include work that is done once, or that of other processes.
TIMED, TIMES = 24, 3


class Drawn(NamedTuple):
    """Draws from the posterior of a design, their accuracy, and the settings of the sampler.

    Attributes
    ----------
    posterior, stats : xarray.Dataset
        Dims (chain, draw, ...).
    convergence : Convergence or ImportanceDiagnostics
    facts : mapping
        ``engine``, ``seconds`` and the settings that the engine chose.
    """

    posterior: xr.Dataset
    stats: xr.Dataset
    convergence: Convergence | ImportanceDiagnostics
    facts: Mapping[str, object]


def sample_design(
    plan: Design,
    *,
    engine: str = "auto",
    draws: int,
    tune: int,
    chains: int = 4,
    cores: int | None = None,
    target_accept: float | None = None,
    seed: int,
    progressbar: bool | None = None,
) -> Drawn:
    """Sample the posterior of a design.

    With ``engine="auto"``, designs without groups are sampled by particles, and those with one
    column of `MANY_GROUPS` or more groups, without drift through the runs, by Metropolis within
    Gibbs. NUTS is used for the others, if `target_accept` is given, if there are many parameters
    without groups, and if the other samplers do not converge.

    Raises
    ------
    FitError
        If the engine is unknown or cannot sample this design, or if `draws`, `tune` or `chains` is
        too small.
    """
    if engine not in ENGINES:
        raise FitError(unknown("engine", engine, ENGINES))
    if engine == "particles" and not is_small(plan):
        raise FitError(
            f"engine 'particles' samples models without groups and with at most {MOST_PARAMETERS} "
            f"parameters; this one has {len(plan.parameters)} parameters and the groups "
            f"{', '.join(plan.groups) or '(none)'}: leave engine out, or give engine='nuts'"
        )
    if engine == "gibbs" and not is_hierarchy(plan):
        raise FitError(
            "engine 'gibbs' samples models with one column of groups, over which a parameter is "
            "pooled partially, and without drift through the runs: leave engine out, or give "
            "engine='nuts'"
        )
    nuts.require(draws=draws, tune=tune, chains=chains)
    started = time.perf_counter()
    by_default = engine == "auto" and target_accept is None
    if engine == "gibbs" or (by_default and has_many_groups(plan)):
        drawn = _gibbs(plan, draws, chains, seed, cores, progressbar)
        if engine == "gibbs" or drawn.convergence.passed:
            return drawn
    if engine == "particles" or (by_default and is_small(plan)):
        for run in range(PARTICLE_RUNS):
            drawn = _particles(plan, draws, chains, seed, run, progressbar)
            if drawn.convergence.passed:
                return drawn
        if engine == "particles":
            return drawn
    sampled = nuts.sample(
        target(plan),
        draws=draws,
        tune=tune,
        chains=chains,
        cores=cores,
        target_accept=target_accept,
        seed=seed,
        progressbar=progressbar,
    )
    facts = dict(
        engine="nuts",
        tune=tune,
        target_accept=sampled.target_accept,
        length=sampled.length,
        attempts=sampled.attempts,
        seconds=time.perf_counter() - started,
    )
    return Drawn(sampled.posterior, sampled.stats, sampled.convergence, facts)


def has_many_groups(plan: Design) -> bool:
    """Whether a design has so many groups that NUTS is not its sampler by default."""
    return is_hierarchy(plan) and len(plan.levels[plan.groups[0]]) >= MANY_GROUPS


def expected_seconds(plan: Design) -> tuple[float, float]:
    """The least and the most seconds that importance sampling of a design is expected to take.

    The time of one evaluation of the density is measured. How many are needed depends on the
    posterior, which is not known before.
    """
    target, rng = density(plan), np.random.default_rng(1)
    z = 0.3 * rng.standard_normal((TIMED, target.dimension))
    seconds = []
    for _ in range(TIMES):
        started = time.perf_counter()
        target.log_likelihood(z)
        seconds.append(time.perf_counter() - started)
    few = len(plan.law.parameters) <= FEW
    least, most = EVALUATIONS if few else EVALUATIONS_CURVED
    return least * min(seconds) / TIMED, most * min(seconds) / TIMED


def _particles(plan: Design, draws: int, chains: int, seed: int, run: int, progressbar) -> Drawn:
    check_law(plan.law, plan)
    started = time.perf_counter()
    rng = np.random.default_rng([seed, run] if run else seed)
    with bar(progressbar) as step:
        sampled = importance.sample(density(plan), draws * chains, rng, report=step)

    positions = sampled.positions.reshape(chains, draws, -1)
    posterior, stats = _datasets(plan, positions, sampled.log_posterior)
    facts = dict(engine="particles", attempts=run + 1, seconds=time.perf_counter() - started)
    return Drawn(posterior, stats, sampled.diagnostics, facts)


def _gibbs(plan: Design, draws: int, chains: int, seed: int, cores, progressbar) -> Drawn:
    check_law(plan.law, plan)
    started = time.perf_counter()
    settings = dict(draws=draws, chains=chains, seed=seed, cores=cores)
    names = hierarchy_names(plan)
    with bar(progressbar) as step:
        sampled = hierarchies.sample(hierarchy(plan), names, report=step, **settings)
    flat = (a.reshape(-1, *a.shape[2:]) for a in (sampled.values, sampled.population))
    positions = hierarchy_positions(plan, *flat)
    log_posterior = density(plan).log_posterior(positions)
    datasets = _datasets(plan, positions.reshape(chains, draws, -1), log_posterior)
    facts = dict(engine="gibbs", sweeps=sampled.sweeps, seconds=time.perf_counter() - started)
    return Drawn(*datasets, sampled.convergence, facts)


def _datasets(plan: Design, positions: np.ndarray, log_posterior: np.ndarray):
    """The posterior and its log density, at positions (chain, draw, coordinate)."""
    shape = positions.shape[:2]
    coords = {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])}
    drawn = variables(plan, positions.reshape(-1, positions.shape[2]))
    dims = {p.member(e): (e.column,) for p in plan.parameters for e in p.effects}
    values = {
        name: (("chain", "draw", *dims.get(name, ())), v.reshape(*shape, *v.shape[1:]))
        for name, v in drawn.items()
    }
    first = [p.name for p in plan.parameters if p.name in values]  # as NUTS has them
    values = {name: values[name] for name in dict.fromkeys([*first, *values])}
    levels = {g: list(levels) for g, levels in plan.levels.items()}
    stats = xr.Dataset({"lp": (("chain", "draw"), log_posterior.reshape(shape))}, coords)
    return xr.Dataset(values, coords | levels), stats

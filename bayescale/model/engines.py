"""The sampler of a design: importance sampling where there are few parameters, otherwise NUTS."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayescale.errors import FitError, unknown
from bayescale.inference import Convergence, ImportanceDiagnostics, importance, nuts
from bayescale.model.density import MOST_PARAMETERS, density, is_small, variables
from bayescale.model.design import Design
from bayescale.model.pymc_model import check_law, target
from bayescale.progress import bar

#: Values of ``engine=`` in `bayescale.fit`.
ENGINES = ("auto", "particles", "nuts")
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

    With ``engine="auto"``, NUTS is used for designs with groups or many parameters, if
    `target_accept` is given, and if importance sampling twice does not give enough effective draws.

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
    nuts.require(draws=draws, tune=tune, chains=chains)
    started = time.perf_counter()
    if engine == "particles" or (engine == "auto" and target_accept is None and is_small(plan)):
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

    def shaped(values):
        return ("chain", "draw"), values.reshape(chains, draws)

    coords = {"chain": np.arange(chains), "draw": np.arange(draws)}
    values = {name: shaped(v) for name, v in variables(plan, sampled.positions).items()}
    stats = xr.Dataset({"lp": shaped(sampled.log_posterior)}, coords)
    facts = dict(engine="particles", attempts=run + 1, seconds=time.perf_counter() - started)
    return Drawn(xr.Dataset(values, coords), stats, sampled.diagnostics, facts)

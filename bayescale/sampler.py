"""From a design to posterior draws: compile once per shape of problem, then only sample."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayescale.compiling import compile_model
from bayescale.design import Design
from bayescale.diagnostics import Convergence, convergence
from bayescale.errors import FitError
from bayescale.linking import LinkPlan
from bayescale.linking import build as build_link
from bayescale.model import LEVEL, ODDS, build, check_law
from bayescale.progress import bar

#: What is tried in turn until the chains agree: acceptance target, and how many times the draws
#: and tuning steps. Longer runs are thinned back to the draws that were asked for.
STAGES = ((0.9, 1), (0.98, 3), (0.99, 10))
#: The first acceptance target with drift through the runs, where 0.9 leaves a few divergences.
ACCEPT_THROUGH = 0.95
#: The same for links. Tasks and corpora of little scatter leave a few at 0.9, and walks of a task's
#: slope mix slowly. Ten times the draws would take many minutes for three tasks already.
STAGES_LINK = ((0.97, 2), (0.98, 6))

#: With an acceptance target that was given there is one try, unless R-hat is above this: now and
#: then a chain gets stuck at once, far from all others, and would ruin what the forecasts say.
STUCK = 1.3

#: Regularisation of the low-rank mass matrix. nutpie's own 1e-5 gives as many effective draws, but
#: with a hundred parameters and more it spends most of the time on estimating the matrix.
GAMMA = 1e-3

KEPT = 24  # compiled models held in memory
_compiled: OrderedDict[tuple, object] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True)
class Sampled:
    """Draws, what the sampler noted of each, and how they were made."""

    posterior: xr.Dataset
    stats: xr.Dataset
    convergence: Convergence
    target_accept: float
    lengthened: int
    seconds: float


def compiled(plan: Design | LinkPlan):
    """The compiled model of a plan; of one shape, only the first is ever compiled."""
    with _lock:
        if plan.shape not in _compiled:
            if isinstance(plan, Design):
                check_law(plan.law, plan)
                _compiled[plan.shape] = compile_model(build(plan))
            else:
                # Tasks that start apart by whole units of log odds, and corpora by whole units of
                # loss, leave chains where every accuracy is 0 or 1, which nothing leads out of.
                scattered = [p.name for p in plan.parameters]
                _compiled[plan.shape] = compile_model(build_link(plan), scattered)
            while len(_compiled) > KEPT:
                _compiled.popitem(last=False)
        _compiled.move_to_end(plan.shape)
        return _compiled[plan.shape].with_data(**plan.arrays())


def sample(
    plan: Design | LinkPlan,
    *,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    target_accept: float | None = None,
    cores: int | None = None,
    progressbar: bool | None = None,
) -> Sampled:
    """Draw from the posterior with nutpie's NUTS and a low-rank mass matrix.

    Without a `target_accept`, chains that disagree or diverge are run again, more carefully and
    longer (`STAGES`), and thinned back to `draws`. With one, they are run again only where one got
    stuck, and as before.
    """
    for name, value, least in (("draws", draws, 10), ("tune", tune, 50), ("chains", chains, 1)):
        if int(value) < least:
            raise FitError(f"{name} is {value}: at least {least} are needed")
    stages = STAGES
    if isinstance(plan, LinkPlan):
        stages = STAGES_LINK
    elif plan.drift == "through":
        stages = ((ACCEPT_THROUGH, 1), *STAGES[1:])
    if target_accept is not None:
        stages = ((target_accept, 1), (target_accept, 1))
    started = time.perf_counter()
    with bar(progressbar) as step:
        step("compiling the model")
        model = compiled(plan)
        for attempt, (accept, times) in enumerate(stages):
            posterior, stats = _run(
                model, plan, step, draws=draws * times, tune=tune * times, chains=chains,
                seed=(seed + attempt) % 2**31, target_accept=accept, cores=cores,
                text="sampling, with smaller steps" if accept > stages[0][0] else "sampling",
            )
            posterior, stats = _thinned(posterior, stats, times)
            agreement = convergence(posterior, stats)
            if agreement.passed or (target_accept is not None and not agreement.r_hat > STUCK):
                break
    seconds = time.perf_counter() - started
    return Sampled(posterior, stats, agreement, accept, times, seconds)


def _thinned(posterior: xr.Dataset, stats: xr.Dataset, times: int):
    """Every so many draws; a divergence anywhere between two that are kept stays on record."""
    if times == 1:
        return posterior, stats
    diverging = stats["diverging"].coarsen(draw=times).max()
    kept = np.arange(posterior.sizes["draw"] // times)
    posterior, stats = (d.isel(draw=slice(None, None, times)).assign_coords(draw=kept)
                        for d in (posterior, stats))
    return posterior, stats.assign(diverging=diverging.assign_coords(draw=kept).astype(bool))


def _run(model, plan: Design | LinkPlan, step, *, target_accept, cores, text, **settings):
    import nutpie

    total = settings["chains"] * (settings["draws"] + settings["tune"])

    def report(states) -> None:
        step(text, sum(s.finished_draws for s in states), total)

    tree = nutpie.sample(
        model, adaptation="low_rank", mass_matrix_gamma=GAMMA, target_accept=target_accept,
        save_warmup=False, progress_bar=False, progress_callback=report,
        cores=cores or os.cpu_count(), **settings,
    )
    coords = {g: list(levels) for g, levels in plan.levels.items()}
    posterior = tree["posterior"].to_dataset().drop_vars([LEVEL, ODDS], errors="ignore")
    posterior = posterior.assign_coords({g: v for g, v in coords.items() if g in posterior.dims})
    first = [p.name for p in plan.parameters if p.name in posterior]
    posterior = posterior[[*first, *(n for n in posterior.data_vars if n not in first)]]
    stats = tree["sample_stats"].to_dataset()
    kept = [n for n in ("diverging", "energy", "n_steps", "depth") if n in stats]
    return posterior, stats[kept]

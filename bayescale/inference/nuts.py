"""NUTS: draws from the posterior of a PyMC model, compiled once per shape of model."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from bayescale.errors import FitError
from bayescale.inference.diagnostics import Convergence, convergence
from bayescale.inference.nutpie_callbacks import compile_model
from bayescale.progress import bar

if TYPE_CHECKING:
    import pymc as pm


class Stage(NamedTuple):
    """One attempt at sampling.

    Attributes
    ----------
    target_accept : float
        Acceptance rate that the step size is tuned to.
    times : int
        Factor on the draws and on the tuning steps.
    """

    target_accept: float
    times: int


#: Attempts in turn, until the chains converge.
STAGES = (Stage(0.9, 1), Stage(0.98, 3), Stage(0.99, 10))

#: With a given acceptance target there is a second attempt only if R-hat exceeds this: in about one
#: of a thousand fits a chain is stuck far from the others from its start.
STUCK = 1.3

#: Draws over all chains on which convergence is judged, at least. Fewer draws are obtained by
#: thinning: 1600 draws take tenths of a second, and an effective sample size of 400 is then
#: attainable however few draws are asked for.
JUDGED_ON = 1600

#: Regularisation of the low-rank mass matrix. nutpie's own 1e-5 gives as many effective draws, but
#: with a hundred parameters and more it spends most of the time on estimating the matrix.
GAMMA = 1e-3

CACHED = 24  # compiled models held in memory
_compiled: OrderedDict[Hashable, object] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Target:
    """A posterior density to sample: all that the sampler knows of a model.

    Attributes
    ----------
    shape : hashable
        What the compiled model depends on; targets of equal shape share one compilation.
    build : callable
        Returns the ``pymc.Model``; called only if no model of this shape has been compiled.
    arrays : mapping of str to array
        The model's ``pm.Data``.
    levels : mapping of str to sequence
        Labels of the model's dims.
    names : tuple of str
        Variables that come first in the posterior, in this order.
    auxiliary : tuple of str
        Variables of the sampler's parametrisation, left out of the posterior.
    scattered : tuple of str or None
        Variables whose starting values are scattered around the prior medians; None: all.
    stages : tuple of Stage
    """

    shape: Hashable
    build: Callable[[], pm.Model]
    arrays: Mapping[str, np.ndarray]
    levels: Mapping[str, Sequence]
    names: tuple[str, ...]
    auxiliary: tuple[str, ...] = ()
    scattered: tuple[str, ...] | None = None
    stages: tuple[Stage, ...] = STAGES


@dataclass(frozen=True)
class Sampled:
    """Draws, the sampler's statistics of each, and how they were made.

    Attributes
    ----------
    posterior, stats : xarray.Dataset
        Dims (chain, draw, ...).
    convergence : Convergence
        Of the whole run, before thinning.
    target_accept : float
    length : int
        Draws per chain of the run that the posterior was thinned from.
    attempts : int
    seconds : float
    """

    posterior: xr.Dataset
    stats: xr.Dataset
    convergence: Convergence
    target_accept: float
    length: int
    attempts: int
    seconds: float


def compiled(target: Target):
    """The compiled model of a target, with the target's data."""
    with _lock:
        if target.shape not in _compiled:
            _compiled[target.shape] = compile_model(target.build(), target.scattered)
            while len(_compiled) > CACHED:
                _compiled.popitem(last=False)
        _compiled.move_to_end(target.shape)
        return _compiled[target.shape].with_data(**target.arrays)


def sample(
    target: Target,
    *,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    target_accept: float | None = None,
    cores: int | None = None,
    progressbar: bool | None = None,
) -> Sampled:
    """Sample a target with nutpie's NUTS and a low-rank mass matrix.

    Without a `target_accept`, a run that does not converge is repeated with smaller steps and more
    draws (the target's stages). With one, it is repeated only if a chain was stuck. Convergence is
    judged on the whole run, which is then thinned to `draws`.

    Raises
    ------
    FitError
        If `draws`, `tune` or `chains` are too few.
    """
    for name, value, least in (("draws", draws, 10), ("tune", tune, 50), ("chains", chains, 1)):
        if int(value) < least:
            raise FitError(f"{name} is {value}: at least {least} are needed")
    stages = target.stages
    if target_accept is not None:
        stages = (Stage(target_accept, 1), Stage(target_accept, 1))
    length = max(draws, -(-JUDGED_ON // chains))
    started = time.perf_counter()
    with bar(progressbar) as step:
        step("compiling the model")
        model = compiled(target)
        for attempt, (accept, times) in enumerate(stages):
            posterior, stats = _run(
                model,
                target,
                step,
                draws=length * times,
                tune=tune * times,
                chains=chains,
                seed=(seed + attempt) % 2**31,
                target_accept=accept,
                cores=cores,
                text="sampling, with smaller steps" if accept > stages[0][0] else "sampling",
            )
            agreement = convergence(posterior, stats)
            if agreement.passed or (target_accept is not None and not agreement.r_hat > STUCK):
                break
    seconds = time.perf_counter() - started
    return Sampled(
        *_thinned(posterior, stats, draws), agreement, accept, length * times, attempt + 1, seconds
    )


def _thinned(posterior: xr.Dataset, stats: xr.Dataset, draws: int):
    """Evenly spaced draws; a divergence between two that are kept is recorded with the first."""
    every = posterior.sizes["draw"] // draws
    if every == 1:
        return posterior, stats
    kept = dict(draw=slice(0, every * draws))
    diverging = stats["diverging"].isel(kept).coarsen(draw=every).max().astype(bool)
    spaced = dict(draw=slice(0, every * draws, every))
    posterior, stats = (
        d.isel(spaced).assign_coords(draw=np.arange(draws)) for d in (posterior, stats)
    )
    return posterior, stats.assign(diverging=diverging.assign_coords(draw=np.arange(draws)))


def _run(model, target: Target, step, *, target_accept, cores, text, **settings):
    import nutpie

    total = settings["chains"] * (settings["draws"] + settings["tune"])

    def report(states) -> None:
        step(text, sum(s.finished_draws for s in states), total)

    tree = nutpie.sample(
        model,
        adaptation="low_rank",
        mass_matrix_gamma=GAMMA,
        target_accept=target_accept,
        save_warmup=False,
        progress_bar=False,
        progress_callback=report,
        cores=cores or os.cpu_count(),
        **settings,
    )
    coords = {dim: list(labels) for dim, labels in target.levels.items()}
    posterior = tree["posterior"].to_dataset().drop_vars(list(target.auxiliary), errors="ignore")
    posterior = posterior.assign_coords({g: v for g, v in coords.items() if g in posterior.dims})
    first = [name for name in target.names if name in posterior]
    posterior = posterior[[*first, *(n for n in posterior.data_vars if n not in first)]]
    stats = tree["sample_stats"].to_dataset()
    kept = [n for n in ("diverging", "energy", "n_steps", "depth") if n in stats]
    return posterior, stats[kept]

"""Sampling of PyMC models by NUTS. Models that differ only in their data are compiled once."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
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
        Target acceptance rate of the step size adaptation.
    times : int
        Factor on the number of draws and of tuning steps.
    """

    target_accept: float
    times: int


#: Attempts, made in this order until the chains converge.
STAGES = (Stage(0.9, 1), Stage(0.98, 3), Stage(0.99, 10))

#: If the user gives the target acceptance rate, there is a second attempt only if R-hat exceeds
#: this value. In about one of a thousand fits, one chain remains far from the others.
STUCK = 1.3

#: Smallest number of draws over all chains. Fewer draws in the result are obtained by thinning
#: after convergence is computed, so an effective sample size of 400 can be reached for any `draws`.
#: 1600 draws take a few tenths of a second.
FEWEST_DRAWS = 1600

#: Regularisation of the low-rank mass matrix. The default of nutpie, 1e-5, gives the same effective
#: sample sizes, but with a hundred or more parameters, the estimation of the matrix then takes most
#: of the time.
GAMMA = 1e-3

#: Least values of the settings.
LEAST = {"draws": 10, "tune": 50, "chains": 1}

CACHED = 24  # largest number of compiled models in memory
_compiled: OrderedDict[Hashable, object] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class Target:
    """A posterior density to sample, with what the sampler needs to know about the model.

    Attributes
    ----------
    shape : hashable
        The properties that determine the compiled model. Targets of equal shape share it.
    build : callable
        ``build()`` returns the ``pymc.Model``. It is called only if no model of this shape is in
        memory.
    arrays : mapping of str to array
        Values of the ``pm.Data`` of the model.
    levels : mapping of str to sequence
        Labels of the dims of the model.
    names : tuple of str
        Variables that come first in the posterior, in this order.
    auxiliary : tuple of str
        Variables of the parametrisation that are not included in the posterior.
    scattered : tuple of str or None
        Variables whose initial values are jittered around their initial points. None: all.
    stages : tuple of Stage
        Attempts, made in this order until the chains converge.
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
    """Draws, their sampler statistics, and a description of the sampling.

    Attributes
    ----------
    posterior, stats : xarray.Dataset
        Dims (chain, draw, ...).
    convergence : Convergence
        Diagnostics of all draws of the last attempt, before thinning.
    target_accept : float
        Target acceptance rate of the last attempt.
    length : int
        Draws per chain of the last attempt, before thinning.
    attempts : int
        Number of attempts.
    seconds : float
        Run time, with compilation.
    """

    posterior: xr.Dataset
    stats: xr.Dataset
    convergence: Convergence
    target_accept: float
    length: int
    attempts: int
    seconds: float


def compiled(target: Target):
    """The compiled model of a target with its data, from memory if it has been compiled."""
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

    Without `target_accept`, sampling is repeated until the chains converge, with the target
    acceptance rates and lengths of `Target.stages`. With `target_accept`, it is repeated once if
    R-hat exceeds `STUCK`. The draws are thinned to `draws` after convergence is computed.

    Raises
    ------
    FitError
        If `draws`, `tune` or `chains` is too small. One chain is too few.
    """
    require(draws=draws, tune=tune, chains=chains)
    if chains < 2:
        raise FitError(
            "chains is 1, but NUTS needs two or more: its convergence is assessed by comparing them"
        )
    stages = target.stages
    if target_accept is not None:
        stages = (Stage(target_accept, 1), Stage(target_accept, 1))
    length = max(draws, -(-FEWEST_DRAWS // chains))
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
            diagnostics = convergence(posterior, stats)
            if diagnostics.passed or (target_accept is not None and not diagnostics.r_hat > STUCK):
                break
    seconds = time.perf_counter() - started
    return Sampled(
        *_thinned(posterior, stats, draws),
        diagnostics,
        accept,
        length * times,
        attempt + 1,
        seconds,
    )


def require(**settings: int) -> None:
    """Raise a `FitError` that names every setting that is no number or below its least value."""
    problems = [
        f"{name} is {value!r}: give a whole number, at least {LEAST[name]}"
        for name, value in settings.items()
        if not isinstance(value, Integral) or isinstance(value, bool) or value < LEAST[name]
    ]
    if problems:
        raise FitError(problems)


def _thinned(posterior: xr.Dataset, stats: xr.Dataset, draws: int):
    """Thin to evenly spaced draws; divergences of removed draws are recorded at the draw before."""
    every = posterior.sizes["draw"] // draws
    if every == 1:
        return posterior, stats
    whole_blocks = dict(draw=slice(0, every * draws))
    diverging = stats["diverging"].isel(whole_blocks).coarsen(draw=every).max().astype(bool)
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
    names = [n for n in ("diverging", "energy", "n_steps", "depth") if n in stats]
    return posterior, stats[names]

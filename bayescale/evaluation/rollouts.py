"""Rollouts: fit the small runs, predict the large runs, and measure coverage and scores."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayescale.data import Runs, RunsLike, as_names, as_runs
from bayescale.errors import ConvergenceWarning, FitError, unknown
from bayescale.evaluation.contenders import (
    Priors,
    check_priors,
    contenders,
    options_of,
    priors_of,
)
from bayescale.evaluation.ensembles import family
from bayescale.evaluation.jobs import (
    Job,
    JobResult,
    by_huber,
    by_last_value,
    by_posterior,
    run_jobs,
)
from bayescale.evaluation.rollout_results import RESERVED, Rollout, huber_name
from bayescale.evaluation.splits import cuts, is_curve, problems, unseen
from bayescale.keywords import hinted
from bayescale.laws import Law
from bayescale.model import small_runs
from bayescale.seeds import settle_seed
from bayescale.units import counted

PERSISTENCE = "persistence"


@hinted
def rollout(
    runs: RunsLike,
    laws: str | Law | Sequence[str | Law] | None = None,
    *,
    above: float | str | Sequence[float | str] | None = None,
    column: str = "C",
    split: str | None = None,
    each: str | None = None,
    groups: str | Sequence[str] | None = None,
    pool: Mapping[str, str | Mapping[str, str]] | None = None,
    priors: Priors | None = None,
    drift: str = "auto",
    noise: str = "even",
    draws: int = 500,
    tune: int = 500,
    chains: int = 4,
    cores: int | None = None,
    target_accept: float | None = None,
    baselines: bool = True,
    executor=None,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Rollout:
    """Fit the small runs, predict the large runs, and score the predictions.

    Parameters
    ----------
    runs : Runs, path or DataFrame
    laws : str, Law, or sequence of them, optional
        By default those of `bayescale.ensemble`, and their average as the law ``"average"``: a
        test of the intervals that the ensemble gives.
    above : float, str, or sequence of them, optional
        Thresholds in `column` (``1e20``, ``"70B"``). For each threshold, the runs below it are
        fitted and the others are predicted.
    column : str
        The column of the thresholds, along which the distance of extrapolation is measured.
    split : str, optional
        A column that is true for the runs to fit and false for the others, instead of `above`.
    each : str, optional
        A column of which every label is a separate problem, for example many learning curves.
    groups, noise, drift, draws, tune, chains, cores, target_accept
        As in `bayescale.fit`.
    pool : mapping, optional
        As in `bayescale.fit`, for all laws that have the parameter.
    priors : mapping, optional
        From the name of a parameter to its prior, as in `bayescale.fit`, for all laws that have
        the parameter. The name of a law may be a key too: its value maps parameters to priors of
        this law alone, and overrides the others.
    baselines : bool
        Whether to add baseline forecasts: for each law the log-Huber fit with a bootstrap, for each
        group separately; for learning curves also the last value.
    executor : concurrent.futures.Executor, optional
        Makes the fits; a process pool, or ``dask.distributed.Client(...).get_executor()``. By
        default they are made on all cores of this computer. Results do not depend on it.
    random_seed : int, optional
        With None a seed is drawn. The seed that was used is stored on the rollout.
    progressbar : bool, optional
        By default on a terminal and in notebooks only.

    Returns
    -------
    Rollout

    Raises
    ------
    FitError
        Naming every column, law, threshold and label that is not valid, or the laws that cannot
        be sent to another process.

    Warns
    -----
    ConvergenceWarning
        A single warning if some fits did not converge. In their points ``converged``
        is false.

    Examples
    --------
    >>> import bayescale as bs
    >>> c4 = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> rolled = bs.rollout(c4, "chinchilla", above="1e20", draws=400, random_seed=1)
    >>> rolled.summary()[["law", "n"]].values.tolist()
    [['chinchilla', 5], ['log-Huber bootstrap (chinchilla)', 5]]
    """
    runs = as_runs(runs, (*as_names(groups), *([each] if isinstance(each, str) else [])))
    groups, wrong = as_names(groups), []
    chosen = contenders(family(runs, groups) if laws is None else laws, runs, wrong)
    check_priors(priors, chosen, wrong)
    labels_are_valid = _can_label(runs, each, groups, wrong)
    if split is not None and column == "C" and column not in runs and chosen:
        column = chosen[0].columns[0]
    cut_by = cuts(runs, above, column, split, wrong)
    held_out = problems(runs, cut_by, column, each, groups, wrong) if labels_are_valid else []
    if wrong:
        raise FitError(wrong, where="rollout")
    random_seed = settle_seed(random_seed)
    settings = dict(
        drift=drift,
        noise=noise,
        draws=draws,
        tune=tune,
        chains=chains,
        cores=cores,
        target_accept=target_accept,
    )
    forecasts = []
    for law in chosen:
        options = {
            **settings,
            "pool": options_of(law, chosen, pool),
            "priors": priors_of(law, chosen, priors),
        }
        forecasts += [(law.name, by_posterior, law, problem, options) for problem in held_out]
    if baselines:  # last, so that the seeds of the posteriors do not depend on them
        forecasts += [
            (huber_name(law.name), by_huber, law, problem, {})
            for law in chosen
            for problem in held_out
        ]
        forecasts += [
            (PERSISTENCE, by_last_value, chosen[0], problem, {})
            for problem in held_out
            if is_curve(problem, each, chosen)
        ]
    along = next((law.columns[0] for law in chosen if len(law.columns) == 1), column)
    seeds = np.random.SeedSequence(random_seed).spawn(len(forecasts))
    several, fail = len(chosen) > 1, small_runs.by_default(chosen)
    jobs = [
        Job(name, predict, problem, law, along, groups, options, seed, several, fail)
        for (name, predict, law, problem, options), seed in zip(forecasts, seeds, strict=True)
    ]
    results = run_jobs(jobs, executor, progressbar)
    _warn_of_convergence(jobs, results)
    finished = [(j, r) for j, r in zip(jobs, results, strict=True) if r.points is not None]
    notes = [n for problem in held_out for n in unseen(problem, groups)]
    rolled = Rollout(
        points=pd.concat([r.points for _, r in finished], ignore_index=True),
        draws={(j.name, j.problem.name): r.draws for j, r in finished if r.draws is not None},
        members={(j.name, j.problem.name): r.member for j, r in finished if r.member is not None},
        random_seed=int(random_seed),
        notes=(*notes, *(r.note for r in results if r.note)),
        each=each,
        loss_unit=runs.loss_unit,
    )
    return rolled.mixed() if laws is None else rolled


def _can_label(runs: Runs, each: str | None, groups: Sequence[str], wrong: list[str]) -> bool:
    """Whether columns can label problems and groups; problems are added to `wrong`."""
    before = len(wrong)
    for what, name in [("each", each)] * (each is not None) + [("group", g) for g in groups]:
        if name not in runs:
            wrong.append(unknown(f"{what} column", name, runs.table.columns))
        elif name in RESERVED:
            wrong.append(f"{what} column {name!r} has the name of a column of scores: rename it")
        elif missing := int(runs.table[name].isna().sum()):
            wrong.append(f"{what} column {name!r} has {counted(missing, 'missing label')}")
    return len(wrong) == before


def _warn_of_convergence(jobs: Sequence[Job], results: Sequence[JobResult]) -> None:
    fits = [(j, r) for j, r in zip(jobs, results, strict=True) if not j.is_baseline]
    failed = [f"{j.name} on {j.problem.name}" for j, r in fits if not r.points["converged"].all()]
    if failed:
        shown = "; ".join(failed[:6]) + ("; ..." if len(failed) > 6 else "")
        warnings.warn(
            f"{len(failed)} of {len(fits)} fits did not converge ({shown}): "
            "do not rely on their scores (column 'converged'); give more draws and tune",
            ConvergenceWarning,
            stacklevel=4,
        )

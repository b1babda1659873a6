"""The default family of laws, weighed by their evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bayescale.data import Runs, RunsLike, as_names, as_runs
from bayescale.errors import FitError
from bayescale.evaluation.contenders import (
    Priors,
    check_priors,
    contenders,
    options_of,
    priors_of,
)
from bayescale.forecasting import Average
from bayescale.inference import quiet, run_all
from bayescale.keywords import hinted
from bayescale.laws import Law
from bayescale.model import (
    Design,
    Fit,
    design,
    fit_design,
    has_checkpoints,
    is_small,
    small_runs,
)
from bayescale.seeds import settle_seed

#: Laws of N and D: the additive law, the law with a joint bend, and one that contains both. Each is
#: the best of the three on some public table (`benchmarks/family.py`).
OF_SIZE = ("chinchilla", "kaplan_floor", "skaling")
#: Those of finished runs without groups. The fourth improves scores on such tables by three
#: standard errors (`benchmarks/family.py`); it was not tried on others.
FLAT = (*OF_SIZE, "bounded_chinchilla")
#: Laws of one column, the first of C, D and N that the runs have.
OF_ONE_COLUMN = ("power", "shifted_power")
#: Laws of one learning curve. The average of the two forecasts curves of images with a log density
#: of 3.48 and an RMSLE of .0286, ``power`` alone with 3.31 and .0321 (`benchmarks/curves.py`).
OF_CURVE = ("power", "delayed_power")

#: Weights are in proportion to this power of the evidence. The full evidence is overconfident,
#: because no law of the family is exactly true and evidence adds up over runs that share its
#: errors. With equal weights, intervals are too wide on large tables. Powers of 0.1 to 0.3 score
#: equally (`benchmarks/family.py`).
POWER = 0.2


class _Member(NamedTuple):
    """One law to fit, with all inputs that another process needs."""

    plan: Design
    sampling: Mapping[str, object]
    seed: int

    def with_engine(self, engine: str) -> _Member:
        """The same law and runs, sampled by another engine."""
        return self._replace(sampling={**self.sampling, "engine": engine})


@hinted
def ensemble(
    runs: RunsLike,
    laws: str | Law | Sequence[str | Law] | None = None,
    *,
    groups: str | Sequence[str] | None = None,
    pool: Mapping[str, str | Mapping[str, str]] | None = None,
    priors: Priors | None = None,
    drift: str = "auto",
    noise: str = "even",
    law_error: bool | None = None,
    engine: str = "auto",
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    cores: int | None = None,
    target_accept: float | None = None,
    executor=None,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Average:
    """Fit a family of laws and weigh them by their evidence.

    Which law is right is the largest uncertainty of a forecast. The result is a mixture of the
    posteriors of several laws. It forecasts and allocates as one fit does.

    Parameters
    ----------
    runs : Runs, path or DataFrame
        The table of training runs.
    laws : str, Law or sequence of them, optional
        The family. By default ``chinchilla``, ``kaplan_floor`` and ``skaling`` for runs with N and
        D, with ``bounded_chinchilla`` for finished runs without groups; otherwise ``power`` and
        ``shifted_power`` of the first of C, D and N that the runs have. Of learning curves that all
        have the same N they are laws of D. One curve has ``delayed_power`` in place of the second.
    groups, drift, noise, engine, draws, tune, chains, cores, target_accept
        As in `bayescale.fit`. The prior of the drift beyond the runs is smaller than that of one
        law, because the differences between the laws represent part of the deviation.
    law_error : bool, optional
        As in `bayescale.fit`. By default true for several laws of N and D alone: on public tables
        their forecasts of larger runs are more accurate (``benchmarks/small_runs.py``). Those of
        laws of other regimes are hardly so, and hold less often (``benchmarks/gallery.py``). False:
        exponents and constants are those of published fits.
    pool, priors : mapping, optional
        As in `bayescale.fit`, for all laws that have the parameter. Priors may also be given by the
        name of a law: ``{"chinchilla": {"alpha": bs.Positive(0.3)}}``.
    executor : concurrent.futures.Executor, optional
        Fits the laws, as in `bayescale.rollout`. Results do not depend on it.
    random_seed : int, optional
        With None a seed is drawn. The seed that was used is stored on every fit.
    progressbar : bool, optional
        By default on a terminal and in notebooks only.

    Returns
    -------
    Average
        Its ``weights`` are in proportion to the evidence to the power 0.2. The power was chosen on
        public tables, each left out in turn (``benchmarks/family.py``).

    Raises
    ------
    FitError, LawError
        For unknown laws, and for all inputs that `bayescale.fit` refuses. The message names all of
        them.

    Warns
    -----
    ConvergenceWarning
        If a fit with more than 1 % weight failed its check.

    Notes
    -----
    Checkpoints of several runs (column ``series``) take longer than finished runs, because their
    drift is estimated with the law. 90 checkpoints of three runs take about twelve seconds of
    processor time, most of them for ``skaling`` (``benchmarks/checkpoints.py``).

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> best = bs.ensemble(runs, random_seed=1)
    >>> list(best.weights)
    ['chinchilla', 'kaplan_floor', 'skaling', 'bounded_chinchilla']
    >>> bool(1.8 < bs.forecast(best, N="7B", D="140B").summary()["loss"][0] < 2.6)
    True
    """
    problems: list[str] = []
    runs = as_runs(runs, groups)
    default = family(runs, as_names(groups)) if laws is None else laws
    chosen = contenders(default, runs, problems)
    check_priors(priors, chosen, problems)
    if problems:
        raise FitError(problems, where="ensemble")
    if law_error is None:
        law_error = small_runs.by_default(chosen)
    random_seed = settle_seed(random_seed)
    sampling = dict(
        engine=engine,
        draws=draws,
        tune=tune,
        chains=chains,
        cores=cores,
        target_accept=target_accept,
    )
    members = [
        _Member(
            design(
                runs,
                law,
                groups,
                options_of(law, chosen, pool),
                priors_of(law, chosen, priors),
                drift,
                noise,
                law_error,
            ),
            sampling,
            random_seed,
        )
        for law in chosen
    ]
    names = [law.name for law in chosen]
    fits = _fits(members, names, chosen, executor, progressbar)
    by_name = dict(zip(names, fits, strict=True))
    average = Average(by_name, evidence_weights(by_name))
    average.warn_if_failed(stacklevel=4)
    return average


def family(runs: Runs, groups: Sequence[str] = ()) -> list[str]:
    """The names of the default laws for runs with these columns.

    Along curves that all have the same N, laws of N and D would say nothing about N beyond their
    priors. Finished runs of one N are forecast better by them (`benchmarks/one_size.py`).
    """
    of_size, along = "N" in runs and "D" in runs, has_checkpoints(runs)
    present = [c for c in ("ND" if of_size else "CDN") if c in runs]
    varied = [c for c in present if runs.table[c].nunique() > 1] or present
    if of_size and (len(varied) == 2 or not along):
        return list(OF_SIZE if groups or along else FLAT)
    column = varied[0]
    is_curve = along and runs.table["series"].nunique() == 1
    return [f"{law}({column})" for law in (OF_CURVE if is_curve else OF_ONE_COLUMN)]


def evidence_weights(fits: Mapping[str, Fit], power: float = POWER) -> dict[str, float]:
    """Weights in proportion to a power of the evidence of each fit.

    Parameters
    ----------
    fits : mapping of str to Fit
        Fits to the same runs.
    power : float
        0 gives equal weights, 1 the posterior probabilities of the laws.
    """
    return tempered({name: fit.evidence.log for name, fit in fits.items()}, power)


def tempered(log_evidence: Mapping[str, float], power: float = POWER) -> dict[str, float]:
    """As `evidence_weights`, from the log of the evidence of each law."""
    log = power * np.array(list(log_evidence.values()))
    weights = np.exp(log - log.max())
    return dict(zip(log_evidence, (weights / weights.sum()).tolist(), strict=True))


def _fits(members: list[_Member], names, laws, executor, progressbar) -> list[Fit]:
    """Fit all laws.

    Importance sampling takes seconds, so laws are fitted in threads at the same time. NUTS has all
    cores for one law at a time; here it is for those under which importance sampling fails.
    """
    if executor is not None or not all(map(_takes_seconds, members)):
        return run_all(_fitted, members, names, laws, executor=executor, progressbar=progressbar)
    fits = run_all(_by_importance, members, names, laws, threads=True, progressbar=progressbar)
    return [
        _fitted(member.with_engine("nuts")) if fit is None else fit
        for member, fit in zip(members, fits, strict=True)
    ]


def _takes_seconds(member: _Member) -> bool:
    """Whether a law is first fitted by importance sampling, and not to checkpoints."""
    by_default = member.sampling["engine"] == "auto" and member.sampling["target_accept"] is None
    return by_default and is_small(member.plan) and not member.plan.has_series


def _by_importance(member: _Member) -> Fit | None:
    """Fit one law by importance sampling; None if it has too few effective draws."""
    fitted = _fitted(member.with_engine("particles"))
    return fitted if fitted.convergence.passed else None


def _fitted(member: _Member) -> Fit:
    """Fit one law, in any process."""
    with quiet:
        fitted = fit_design(
            member.plan, random_seed=member.seed, progressbar=False, **member.sampling
        )
        fitted.check()
        fitted.evidence  # noqa: B018 - computed where the fit is made
    return fitted


def without_evidence(fits: Mapping[str, Fit]) -> list[str]:
    """Names of the fits whose evidence is not known."""
    return [name for name, fit in fits.items() if not np.isfinite(fit.evidence.log)]


def source_of_weights(fits: Mapping[str, Fit], rolled) -> str:
    """What the weights of laws are computed from: the rollout, the evidence, or else LOO."""
    if rolled is not None:
        return "rollout"
    return "loo" if without_evidence(fits) else "evidence"

"""Rollouts: fit the small runs, predict the large runs, and measure coverage and scores."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from bayescale.data import Runs, RunsLike, as_names, as_runs
from bayescale.errors import BayescaleError, ConvergenceWarning, FitError, unknown
from bayescale.evaluation import scores as scoring
from bayescale.evaluation.contenders import (
    Priors,
    check_priors,
    contenders,
    options_of,
    priors_of,
)
from bayescale.evaluation.ensembles import family, tempered
from bayescale.evaluation.jobs import (
    AVERAGED,
    BAYESCALE,
    BOUNDS,
    LOG_EVIDENCE,
    Job,
    JobResult,
    by_huber,
    by_last_value,
    by_posterior,
    run_jobs,
    scored,
)
from bayescale.evaluation.splits import cuts, is_curve, problems, unseen
from bayescale.forecasting import shares
from bayescale.laws import Law
from bayescale.model import Storable
from bayescale.seeds import settle_seed

AVERAGE, PERSISTENCE = "average", "persistence"
#: Bins of the distance of extrapolation, in multiples of the largest fitted run.
DISTANCES = {"<=2x": 2.0, "2-10x": 10.0, "10-100x": 100.0, ">100x": np.inf}
#: Columns of `Rollout.points`; a group column may not have one of these names.
RESERVED = (
    *("law", "method", "problem", "threshold", "run", "loss", "extrapolation", "distance"),
    *BOUNDS,
    *("pit", "crps", "log_score", "log_error", "interval_score", "converged", "seconds"),
    *(AVERAGED, LOG_EVIDENCE),
)


@dataclass(frozen=True, eq=False)
class Rollout(Storable):
    """Forecasts of held-out runs, and their scores.

    Attributes
    ----------
    points : pandas.DataFrame
        A row per law and held-out run: ``law``; ``method``, ``"bayescale"`` or ``"baseline"``;
        ``problem``; ``threshold`` (nan for a split); the columns of `each` and of the groups;
        ``series``; ``run``, its label in the table; ``N``, ``D``, ``C``; the measured ``loss``;
        ``extrapolation``, in multiples of the largest fitted run; the forecast's ``median`` and
        ``low50``, ``high50`` ... ``high95``, in the unit of the loss; the scores of
        `bayescale.evaluation.scores.score`; ``converged``, whether the chains of the fit
        converged; ``seconds``, the run time of the problem; ``log_score_averaged``, the log
        score as a member of an average (see `members`); ``log_evidence`` of the law for the fitted
        runs, if there are several laws.
    draws : dict of (law, problem) to array, dims (draw, point)
        At most 1000 predictive draws of the loss, points in the order of `points`. Draws of the
        baselines are not included.
    random_seed : int
        The seed that was used.
    notes : tuple of str
        Cautions: groups without a fitted run, baselines that could not be made.
    each : str, optional
        The column of which every label was a separate problem.
    members : dict of (law, problem) to array, dims (draw, point)
        As `draws`, for a law as a member of an average, in which its drift is smaller. Empty for
        laws whose draws are the same in both cases.
    """

    points: pd.DataFrame = field(repr=False)
    draws: Mapping[tuple[str, str], np.ndarray] = field(repr=False)
    random_seed: int
    notes: tuple[str, ...] = ()
    each: str | None = None
    members: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def laws(self) -> tuple[str, ...]:
        """Names of the laws that were fitted, without the baselines and the average."""
        fitted = self.points["law"][self.points["method"] == BAYESCALE]
        return tuple(name for name in fitted.unique() if name != AVERAGE)

    def summary(self, by: str | Sequence[str] = ("law",)) -> pd.DataFrame:
        """Mean scores.

        Parameters
        ----------
        by : str or sequence of str
            Columns of `points`; the result has a row for every combination of their values.
            ``"distance"`` is allowed too: up to 2, 10 or 100 times the largest fitted run, or more.

        Returns
        -------
        pandas.DataFrame
            The columns of `bayescale.evaluation.scores.summarise`: coverage of the 50, 80, 90 and
            95 % intervals, ``msce``, ``crps``, ``interval_score``, ``log_score`` and ``rmsle``,
            with standard errors, and widths of the intervals. Series are the labels of `each`, or
            else the problems. If there are log-Huber baselines, ``interval_score_ratio`` and
            ``crps_ratio`` are the scores divided by that of the baseline of the same law, or by the
            mean over all baselines if the law has none.

        Raises
        ------
        BayescaleError
            For columns that `points` does not have.
        """
        by, points = list(as_names(by)), _with_distance(self.points)
        if missing := [c for c in by if c not in points]:
            raise BayescaleError([unknown("column", c, points) for c in missing], where="summary")
        if "distance" in by:
            points = points.sort_values("distance", kind="stable")
        series = self.each or "problem"
        table = scoring.summarise(points, by, series)
        huber = _huber_scores(points)
        compared = huber.notna().all(axis=1)
        if compared.any():
            scores, baseline = (
                scoring.summarise(p, by, series).set_index(by)
                for p in (points[compared], points[compared].assign(**huber[compared]))
            )
            ratios = pd.DataFrame({f"{s}_ratio": scores[s] / baseline[s] for s in huber})
            table = table.merge(ratios.reset_index(), how="left", on=by)
        return table

    def mixed(self, weights: Mapping[str, float] | None = None) -> Rollout:
        """The same rollout with the weighted average of its laws added as the law ``"average"``.

        Parameters
        ----------
        weights : mapping of str to float, optional
            One per law, not negative, with the sum 1. By default those that `bayescale.ensemble`
            gives to the laws, from the fitted runs of each problem alone.

        Returns
        -------
        Rollout
            The draws of the average are draws of the laws in proportion to their weights. Each law
            has the drift that it has in `bayescale.average`. The log score is the log density of
            this mixture.

        Raises
        ------
        BayescaleError
            For laws that are not in the rollout, and weights that are negative or do not sum to 1;
            without weights, if the evidence of a law is not known.
        """
        laws, given, weights_given = self.laws, weights, weights is not None
        single = self.points[self.points["law"] != AVERAGE]
        if given is None:
            by_problem = _by_evidence(single[single["law"].isin(laws)])
            given = dict.fromkeys(laws, 1 / len(laws))
        problems = [unknown("law in this rollout", law, laws) for law in given if law not in laws]
        values = np.array(list(given.values()), dtype=float)
        if not ((values >= 0).all() and abs(values.sum() - 1) < 1e-6):
            problems.append(f"the weights are {dict(given)}: give numbers >= 0 that sum to 1")
        if problems:
            raise BayescaleError(problems, where="mixed")
        given = {law: w for law, w in given.items() if w > 0}
        points, draws = [single], {k: d for k, d in self.draws.items() if k[0] != AVERAGE}
        several = len(given) > 1
        members = {**draws, **self.members} if several else draws
        for problem in single["problem"].unique():
            part = single[single["problem"] == problem]
            weights = given if weights_given else by_problem[problem]
            mixture = _mixture({law: members[law, problem] for law in weights}, weights)
            points.append(
                _average(
                    {law: part[part["law"] == law] for law in weights},
                    mixture,
                    weights,
                    AVERAGED if several else "log_score",
                )
            )
            draws[AVERAGE, problem] = mixture
        return replace(self, points=pd.concat(points, ignore_index=True), draws=draws)

    def __repr__(self) -> str:
        problems, first = self.points["problem"].nunique(), self.points["law"].iloc[0]
        runs = int((self.points["law"] == first).sum())
        lines = [
            f"<Rollout of {', '.join(self.laws)}: {runs} held-out runs in {problems} problem"
            f"{'s' * (problems > 1)}>"
        ]
        for row in self.summary().to_dict("records"):
            coverage = "/".join(f"{100 * row[f'coverage{k}']:.0f}" for k in (95, 90, 80, 50))
            ratio = row.get("interval_score_ratio", np.nan)
            relative = "" if np.isnan(ratio) else f" ({ratio:.2f} of log-Huber)"
            lines.append(
                f"  {row['law']}: coverage of 95/90/80/50 % intervals {coverage} %, interval score "
                f"{row['interval_score']:.3g}{relative}"
            )
        more = ["  ..."] if len(self.notes) > 6 else []
        return "\n".join([*lines, *(f"  note: {n}" for n in self.notes[:6]), *more])


def _by_evidence(points: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The weights of the laws for each problem, as in `bayescale.ensemble`."""
    if LOG_EVIDENCE not in points or not np.isfinite(points[LOG_EVIDENCE]).all():
        raise BayescaleError(
            "the evidence of the laws is not known (a rollout of one law, or one of an earlier "
            "version): give weights, one per law",
            where="mixed",
        )
    first = points.groupby(["problem", "law"], sort=False)[LOG_EVIDENCE].first()
    return {
        problem: tempered(part.droplevel("problem").to_dict())
        for problem, part in first.groupby(level="problem", sort=False)
    }


def _with_distance(points: pd.DataFrame) -> pd.DataFrame:
    bins = pd.cut(points["extrapolation"], [-np.inf, *DISTANCES.values()], labels=list(DISTANCES))
    return points.assign(distance=bins)


def _huber_name(law: str) -> str:
    return f"log-Huber bootstrap ({law})"


def _huber_scores(points: pd.DataFrame) -> pd.DataFrame:
    """Scores of the log-Huber baseline at every point; nan if there is none."""
    scores, run = ["interval_score", "crps"], ["problem", "run"]
    huber = points[points["law"].isin([_huber_name(law) for law in points["law"].unique()])]
    law = points["law"].where(
        points["law"].isin(huber["law"].unique()), points["law"].map(_huber_name)
    )
    of_law = points[run].assign(law=law).merge(huber[[*run, "law", *scores]], "left")
    mean = points[run].merge(huber.groupby(run)[scores].mean().reset_index(), "left")
    return of_law[scores].fillna(mean[scores]).set_axis(points.index)


def _mixture(draws: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Draws of several forecasts in proportion to their weights.

    The order of the draws is preserved, so blocks of consecutive draws are nearly independent.
    """
    counts = shares(weights, min(len(d) for d in draws.values()))
    taken = [draws[law][np.arange(n) * len(draws[law]) // n] for law, n in counts.items() if n]
    place = np.concatenate([(np.arange(n) + 0.5) / n for n in counts.values() if n])
    return np.concatenate(taken)[np.argsort(place, kind="stable")]


def _average(
    points: Mapping[str, pd.DataFrame], mixture: np.ndarray, weights, score
) -> pd.DataFrame:
    """Points of the average, from its draws and the points of its laws."""
    from scipy.special import logsumexp

    log_scores = np.stack([p[score if score in p else "log_score"] for p in points.values()])
    shares = np.array(list(weights.values()))[:, None]
    places = next(iter(points.values())).loc[:, "problem":"extrapolation"]
    return scored(
        AVERAGE,
        BAYESCALE,
        places,
        mixture.astype(float),
        logsumexp(log_scores, axis=0, b=shares),
        converged=all(p["converged"].all() for p in points.values()),
        seconds=sum(p["seconds"].iloc[0] for p in points.values()),
    )


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
        A single warning if the chains of some fits did not converge. In their points ``converged``
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
    chosen = contenders(family(runs) if laws is None else laws, runs, wrong)
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
            (_huber_name(law.name), by_huber, law, problem, {})
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
    jobs = [
        Job(name, predict, problem, law, along, groups, options, seed, len(chosen) > 1)
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
    )
    return rolled.mixed() if laws is None else rolled


def _can_label(runs: Runs, each: str | None, groups: Sequence[str], wrong: list[str]) -> bool:
    """Whether columns can label problems and groups; problems are added to `wrong`."""
    before = len(wrong)
    for what, name in [("each", each)] * (each is not None) + [("group", g) for g in groups]:
        if name not in runs:
            wrong.append(unknown(f"{what} column", name, runs.table.columns))
        elif name in RESERVED:
            wrong.append(f"{what} column {name!r} has a name that the scores need: rename it")
        elif missing := int(runs.table[name].isna().sum()):
            wrong.append(f"{what} column {name!r} has {missing} missing label(s)")
    return len(wrong) == before


def _warn_of_convergence(jobs: Sequence[Job], results: Sequence[JobResult]) -> None:
    fits = [(j, r) for j, r in zip(jobs, results, strict=True) if not j.is_baseline]
    failed = [f"{j.name} on {j.problem.name}" for j, r in fits if not r.points["converged"].all()]
    if failed:
        shown = "; ".join(failed[:6]) + ("; ..." if len(failed) > 6 else "")
        warnings.warn(
            f"the chains of {len(failed)} of {len(fits)} fits did not converge ({shown}): "
            "see points['converged'], and give more draws and tune",
            ConvergenceWarning,
            stacklevel=3,
        )

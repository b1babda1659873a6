"""The result of a rollout: forecasts of held-out runs, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from bayescale.data import as_names
from bayescale.errors import BayescaleError, unknown
from bayescale.evaluation import scores as scoring
from bayescale.evaluation import wording
from bayescale.evaluation.ensembles import tempered
from bayescale.evaluation.jobs import AVERAGED, BAYESCALE, BOUNDS, LOG_EVIDENCE, scored
from bayescale.forecasting import answer_html, main_reason, shares
from bayescale.intervals import Summary, check_rows
from bayescale.model import Storable

AVERAGE = "average"
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
        `bayescale.evaluation.scores.score`; ``converged``, whether the fit converged;
        ``seconds``, the run time of the problem; ``log_score_averaged``, the log
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
    loss_unit : str
        The unit of the losses, as that of the runs; empty if it is not known.
    """

    points: pd.DataFrame = field(repr=False)
    draws: Mapping[tuple[str, str], np.ndarray] = field(repr=False)
    random_seed: int
    notes: tuple[str, ...] = ()
    each: str | None = None
    members: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict, repr=False)
    loss_unit: str = ""

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
        return Summary(table)

    @property
    def best(self) -> str:
        """The average if there is one, else the law with the lowest interval score."""
        if AVERAGE in set(self.points["law"]):
            return AVERAGE
        scores = self.summary().set_index("law")["interval_score"]
        return min(self.laws, key=scores.__getitem__)

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """How many held-out runs lie inside their intervals, and the main reason for doubt.

        Parameters
        ----------
        ci_prob : {0.5, 0.8, 0.9, 0.95}, optional
            Probability of the intervals; 0.9 by default.

        Returns
        -------
        str
            Two sentences about the law `best`.
        """
        points = self.points[self.points["law"] == self.best]
        answer = wording.held_out_in_words(self.best, points, ci_prob)
        return f"{answer} {main_reason(self.cautions(ci_prob), wording.NO_DOUBT)}"

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt these forecasts or their coverage, the most serious first.

        Parameters
        ----------
        ci_prob : {0.5, 0.8, 0.9, 0.95}, optional
            As in `bottom_line`.
        """
        points = self.points[self.points["law"] == self.best]
        return (*wording.doubts_of_coverage(points, ci_prob), *self.notes)

    def to_dataframe(self, of: str = "draws", ci_prob: float | None = None) -> pd.DataFrame:
        """A tidy table of the draws, or of medians and intervals.

        Parameters
        ----------
        of : {"draws", "summary"}
            One row for each draw of each held-out run, or one row for each law and held-out run.
        ci_prob : {0.5, 0.8, 0.9, 0.95}, optional
            Probability of the intervals; 0.9 by default.

        Returns
        -------
        pandas.DataFrame
            For ``"draws"``: ``law``, ``problem``, ``run``, ``draw`` and ``loss``, without the
            baselines, of which no draws are kept. For ``"summary"``: the columns of `points` that
            describe the run, the measured ``loss``, and ``median``, ``lower``, ``upper``,
            ``ci_prob`` and ``ci_kind`` of its forecast. Numbers are not rounded.
        """
        check_rows(of)
        prob = wording.level(ci_prob)
        if of == "summary":
            k = f"{100 * prob:.0f}"
            names = {"median": "median", f"low{k}": "lower", f"high{k}": "upper"}
            described = self.points.loc[:, :"extrapolation"]
            bounds = self.points[list(names)].rename(columns=names)
            return described.join(bounds).assign(ci_prob=prob, ci_kind="eti")
        frames = []
        for (law, problem), draws in self.draws.items():
            chosen = (self.points["law"] == law) & (self.points["problem"] == problem)
            frame = pd.DataFrame(np.asarray(draws, float), columns=self.points["run"][chosen])
            frame = frame.rename_axis(index="draw", columns="run").stack().rename("loss")
            frames.append(frame.reset_index().assign(law=law, problem=problem))
        columns = ["law", "problem", "run", "draw", "loss"]
        return (
            pd.concat(frames, ignore_index=True)[columns]
            if frames
            else pd.DataFrame(columns=columns)
        )

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
            self.bottom_line(),
            f"<Rollout of {', '.join(self.laws)}: {runs} held-out runs in {problems} problem"
            f"{'s' * (problems > 1)}>",
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

    def _repr_html_(self) -> str:
        return answer_html(self.bottom_line(), self.summary()._repr_html_(), self.cautions()[1:])


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


def huber_name(law: str) -> str:
    """The name of the log-Huber baseline of a law."""
    return f"log-Huber bootstrap ({law})"


def _huber_scores(points: pd.DataFrame) -> pd.DataFrame:
    """Scores of the log-Huber baseline at every point; nan if there is none."""
    scores, run = ["interval_score", "crps"], ["problem", "run"]
    huber = points[points["law"].isin([huber_name(law) for law in points["law"].unique()])]
    law = points["law"].where(
        points["law"].isin(huber["law"].unique()), points["law"].map(huber_name)
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

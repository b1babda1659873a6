"""Which law the runs speak for, how strongly, and the weights that an average gives them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayescale.errors import ConvergenceWarning, FitError, RunsWarning, unknown
from bayescale.evaluation.jobs import AVERAGED
from bayescale.forecasting import Average, named, other_runs, stacking, warn_if_any_failed
from bayescale.model import Fit

if TYPE_CHECKING:
    from bayescale.evaluation.rollouts import Rollout

METHODS = ("rollout", "loo")
#: Above this Pareto k a run's leave-one-out density cannot be had by reweighting draws.
PARETO_K = 0.7
#: With fewer runs, standard errors of LOO differences are too small, and differences in elpd below
#: `SMALL` are noise whatever their standard error (Sivula et al. 2020, arXiv:2008.10296).
ENOUGH_RUNS, SMALL = 100, 4.0
#: A difference of fewer standard errors is not settled; one of more than twice as many is clear.
SETTLED = 2.0


@dataclass(frozen=True, eq=False)
class Comparison:
    """Laws side by side: leave-one-out and rollout scores, and weights.

    Attributes
    ----------
    fits : mapping of str to Fit
        What was compared, by name.
    table : pandas.DataFrame
        What `summary` shows.
    method : {"rollout", "loo"}
        What the weights come from.
    verdict : str
        One sentence on the best two laws and how firmly they can be told apart.
    notes : tuple of str
        Why not to lean on these figures.
    loo : dict of str to arviz_stats.ELPDData
        Per fit: ``elpd_i`` and ``pareto_k`` per run, and their sums, as ArviZ computes them.
    rollout : Rollout, optional
    """

    fits: Mapping[str, Fit] = field(repr=False)
    table: pd.DataFrame
    method: str
    verdict: str
    notes: tuple[str, ...] = ()
    loo: Mapping[str, object] = field(default_factory=dict, repr=False)
    rollout: Rollout | None = field(default=None, repr=False)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each fit, best fit first."""
        return {str(name): float(w) for name, w in self.table["weight"].items()}

    def summary(self) -> pd.DataFrame:
        """One row per law, best first.

        Returns
        -------
        pandas.DataFrame
            ``elpd_loo``, the sum over runs of leave-one-out log densities of log loss, and its
            ``se``; ``elpd_diff`` to the highest (0 or less) and its ``diff_se``; ``p_loo``, the
            effective number of parameters; ``k_above_0.7``, the runs whose leave-one-out density
            is unreliable; ``weight_loo``. With a rollout, means over its problems: ``log_score``
            (per run, higher is better), ``log_score_diff`` to the highest and ``log_score_diff_se``
            between problems (labels of the rollout's
            `each`), ``crps`` and ``interval_score`` of log loss, ``coverage90``;
            ``weight_rollout``, from the log scores of laws that drift as they do in an average.
            ``weight`` is the one that `bayescale.average` takes.

        Warns
        -----
        ConvergenceWarning
            If a fit failed its check.
        """
        warn_if_any_failed(self.fits, "a comparison of", stacklevel=3)
        return self.table.copy()

    def __repr__(self) -> str:
        runs = next(iter(self.fits.values())).runs
        lines = [
            f"<Comparison of {len(self.fits)} laws on {len(runs)} runs, weights by "
            f"{'LOO' if self.method == 'loo' else 'the rollout'}>"
        ]
        lines += [f"  {_line(name, row)}" for name, row in self.table.to_dict("index").items()]
        return "\n".join([*lines, f"  {self.verdict}", *(f"  note: {n}" for n in self.notes)])


def compare(
    fits: Mapping[str, Fit] | Sequence[Fit],
    rollout: Rollout | None = None,
    method: str | None = None,
) -> Comparison:
    """Compare laws that were fitted to the same runs.

    Parameters
    ----------
    fits : mapping of str to Fit, or sequence of Fit
        By name; those of a sequence are called as their laws are.
    rollout : Rollout, optional
        Of the same laws, from `bayescale.rollout`; it knows the fits by these names, or by those
        of their laws.
    method : {"rollout", "loo"}, optional
        What the weights come from: by default the rollout if there is one. Extrapolation is what
        laws are for, and leave-one-out does not test it.

    Returns
    -------
    Comparison

    Raises
    ------
    FitError
        Naming everything that keeps the fits from being compared: other runs, another drift through
        checkpoints, a rollout of other laws.

    Warns
    -----
    ConvergenceWarning, RunsWarning
        If weights come from leave-one-out, and runs of high Pareto k, fewer than 100 runs, or
        checkpoints of one run make it unreliable.

    Notes
    -----
    Leave-one-out by Pareto-smoothed importance sampling: Vehtari, Gelman & Gabry 2017,
    arXiv:1507.04544. Weights by stacking (`stacking`): they maximise the log score of the mixture,
    not the probability that a law is true, so two laws that err alike share one law's weight.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm")
    >>> fits = [bs.fit(runs, law, random_seed=1) for law in ("chinchilla", "kaplan_floor")]
    >>> compared = bs.compare(fits)
    >>> compared.method, sorted(compared.weights)
    ('loo', ['chinchilla', 'kaplan_floor'])
    """
    fits = named(fits)
    method = method or ("loo" if rollout is None else "rollout")
    aliases, problems = {}, other_runs(fits) + _other_drift(fits)
    if method not in METHODS:
        problems.append(unknown("method", method, METHODS))
    if method == "rollout" and rollout is None:
        problems.append("method='rollout' needs rollout=: make one with bs.rollout(runs, laws)")
    if rollout is not None:
        aliases, strangers = _in_rollout(fits, rollout)
        problems += strangers
    if problems:
        raise FitError(problems, where="compare")

    loo = {name: _loo(fit) for name, fit in fits.items()}
    table = _loo_table(loo)
    if rollout is not None:
        table = table.join(_rollout_table(rollout.points, aliases, rollout.each))
    table["weight"] = table[f"weight_{method}"]
    score = "elpd_loo" if method == "loo" else "log_score"
    table = table.sort_values(score, ascending=False, kind="stable")
    doubts = _doubts(fits, table)
    if method == "loo":
        for text, category in doubts:
            warnings.warn(text, category, stacklevel=2)
    notes = tuple(text for text, _ in doubts)
    return Comparison(fits, table, method, _verdict(table, method), notes, loo, rollout)


def average(
    fits: Comparison | Mapping[str, Fit] | Sequence[Fit],
    weights: Mapping[str, float] | None = None,
) -> Average:
    """Average over laws: forecasts and allocates like one fit.

    Parameters
    ----------
    fits : Comparison, mapping of str to Fit, or sequence of Fit
    weights : mapping of str to float, optional
        One per fit, with the sum 1. By default those of the comparison; equal ones without it.

    Returns
    -------
    Average

    Raises
    ------
    FitError
        Naming everything in which fits and weights do not belong together.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> laws = ("chinchilla", "kaplan_floor")
    >>> both = bs.average([bs.fit(runs, law, random_seed=1) for law in laws])
    >>> both.law.name
    'average of chinchilla (50 %) and kaplan_floor (50 %)'
    >>> bool(bs.allocate(both, C=1e22).data["N_decision"][0] > 1e9)
    True
    """
    if isinstance(fits, Comparison):
        weights = fits.weights if weights is None else weights
        fits = fits.fits
    fits = named(fits)
    return Average(fits, dict.fromkeys(fits, 1 / len(fits)) if weights is None else weights)


# -- leave-one-out -----------------------------------------------------------------------------


def _loo(fit: Fit):
    from arviz_stats import loo

    with warnings.catch_warnings():
        # Of high Pareto k, which is said of all fits at once.
        warnings.simplefilter("ignore", UserWarning)
        return loo(fit.data, pointwise=True, var_name="log_loss")


def _loo_table(loo: Mapping[str, object]) -> pd.DataFrame:
    at_run = np.stack([np.asarray(each.elpd_i) for each in loo.values()], axis=1)
    below = at_run - at_run[:, [at_run.sum(axis=0).argmax()]]
    return pd.DataFrame(
        {
            "elpd_loo": [each.elpd for each in loo.values()],
            "se": [each.se for each in loo.values()],
            "elpd_diff": below.sum(axis=0),
            "diff_se": np.sqrt(len(below)) * below.std(axis=0),
            "p_loo": [each.p for each in loo.values()],
            # A k that is not a number is no good one either.
            "k_above_0.7": [
                int((~(np.asarray(each.pareto_k) <= PARETO_K)).sum()) for each in loo.values()
            ],
            "weight_loo": stacking(at_run),
        },
        index=pd.Index(loo, name="law"),
    )


def _other_drift(fits: Mapping[str, Fit]) -> list[str]:
    """Drift through checkpoints predicts each from its neighbours, whatever the law."""
    drifts = {name: fit.plan.drift for name, fit in fits.items() if fit.plan.has_series}
    if len({drift == "through" for drift in drifts.values()}) < 2:
        return []
    said = ", ".join(f"{name}: {drift!r}" for name, drift in drifts.items())
    return [
        f"the fits do not let checkpoints drift alike ({said}), so LOO would compare drifts, "
        "not laws: fit all with the same drift="
    ]


def _doubts(fits: Mapping[str, Fit], table: pd.DataFrame) -> list[tuple[str, type[Warning]]]:
    """Why leave-one-out may not be relied on, and the kind of warning each reason deserves."""
    first = next(iter(fits.values()))
    n, high = len(first.runs), table["k_above_0.7"]
    doubts = []
    if (high > 0).any():
        laws = ", ".join(f"{name}: {k}" for name, k in high.items() if k)
        doubts.append(
            (
                f"LOO is unreliable where single runs decide a fit ({laws} of {n} runs with "
                f"Pareto k above {PARETO_K}): compare by a rollout",
                ConvergenceWarning,
            )
        )
    if n < ENOUGH_RUNS:
        doubts.append(
            (
                f"with {n} runs, fewer than {ENOUGH_RUNS}, LOO differences are less certain "
                "than their standard errors say",
                RunsWarning,
            )
        )
    if first.plan.has_series:
        doubts.append(
            (
                "rows are checkpoints of one run (series): leaving out one leaves its "
                "neighbours in, so LOO tells how laws interpolate, not how they forecast: "
                "compare by a rollout",
                RunsWarning,
            )
        )
    return doubts


# -- rollouts ----------------------------------------------------------------------------------

SCORES = {"crps": "crps", "interval_score": "interval_score", "inside90": "coverage90"}


def _in_rollout(fits: Mapping[str, Fit], rollout) -> tuple[dict[str, str], list[str]]:
    """What the rollout calls each fit, and which it does not know or not at all points."""
    points = rollout.points
    ours = points[points["method"] == "bayescale"]
    laws = list(ours["law"].unique())
    aliases = {name: name if name in laws else fit.law.name for name, fit in fits.items()}
    problems = [
        f"the rollout: {unknown('law', alias, laws)}"
        for alias in aliases.values()
        if alias not in laws
    ]
    if len(set(aliases.values())) < len(aliases):
        problems.append(
            "the rollout knows several fits by one name: give them the names that the "
            "rollout has for them"
        )
    if not problems:
        missing = _by_law(ours, "log_score", aliases).isna().sum()
        problems = [
            f"the rollout lacks {n} log score(s) of {name}: all laws must forecast the same runs"
            for name, n in missing.items()
            if n
        ]
    return aliases, problems


def _by_law(points: pd.DataFrame, score: str, aliases: Mapping[str, str]) -> pd.DataFrame:
    """A score with a column per fit and a row per problem and held-out run."""
    run = "run" if "run" in points else "row"
    ours = points[points["method"] == "bayescale"]
    wide = ours.pivot(index=["problem", run], columns="law", values=score)
    return wide[list(aliases.values())].set_axis(list(aliases), axis=1)


def _rollout_table(
    points: pd.DataFrame, aliases: Mapping[str, str], series: str | None
) -> pd.DataFrame:
    """Scores of the laws, as means over problems; errors between the labels of `series`, whose
    problems (several thresholds) forecast the same runs again."""
    log_score = _by_law(points, "log_score", aliases)
    problem = log_score.index.get_level_values("problem")
    each = log_score.groupby(problem).mean()
    below = each.sub(each[each.mean().idxmax()], axis=0)
    if series is not None:
        below_by = below.groupby(points.groupby("problem")[series].first()).mean()
    else:
        below_by = below
    table = pd.DataFrame(
        {
            "log_score": each.mean(),
            "log_score_diff": below.mean(),
            "log_score_diff_se": below_by.sem(),
        }
    )
    for score, name in SCORES.items():
        if score in points:
            values = _by_law(points, score, aliases).astype(float)
            table[name] = values.groupby(problem).mean().mean()
    averaged = _by_law(points, AVERAGED, aliases) if AVERAGED in points else log_score
    return table.assign(weight_rollout=stacking(averaged.to_numpy(), problem))


# -- in words ----------------------------------------------------------------------------------


def _line(name: str, row: Mapping[str, float]) -> str:
    line = f"{100 * row['weight']:3.0f} %  {name}: elpd {row['elpd_loo']:.1f} ± {row['se']:.1f}"
    if row["elpd_diff"] < 0:
        line += f" ({row['elpd_diff']:.1f} ± {row['diff_se']:.1f} against the highest)"
    return line + (f", rollout log score {row['log_score']:.3f}" if "log_score" in row else "")


def _verdict(table: pd.DataFrame, method: str) -> str:
    """How firmly the best law can be told from the second; ± is one standard error."""
    if len(table) == 1:
        return f"{table.index[0]} is alone: there is nothing to compare it with."
    best, second = table.index[:2]
    column, error, what, judge = (
        ("elpd_diff", "diff_se", "elpd", "LOO")
        if method == "loo"
        else ("log_score_diff", "log_score_diff_se", "log score per run", "the rollout")
    )
    difference, se = -table[column].iloc[1], table[error].iloc[1]
    shown = f"the difference in {what} is {difference:.3g} ± {se:.2g}"
    judge = judge[0].upper() + judge[1:]
    if np.isnan(se):
        return (
            f"{judge} prefers {best} to {second} by {difference:.3g} in {what}, on a single "
            "problem: how that would scatter is not known."
        )
    if method == "loo" and difference < SMALL:
        return f"{judge} cannot tell {best} from {second}: {shown}, and below {SMALL:.0f} is noise."
    if difference < SETTLED * se:
        return f"{judge} leans to {best} over {second}, which settles nothing: {shown}."
    strongly = "clearly favours" if difference > 2 * SETTLED * se else "favours"
    return f"{judge} {strongly} {best} over {second}: {shown}."

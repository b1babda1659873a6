"""Which law the runs support, how strongly, and the weights of an average over laws."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayescale.errors import ConvergenceWarning, FitError, RunsWarning, unknown
from bayescale.evaluation.comparable import different_drifts, different_errors
from bayescale.evaluation.ensembles import POWER, evidence_weights
from bayescale.evaluation.jobs import AVERAGED, BAYESCALE
from bayescale.forecasting import Average, named, other_runs, stacking, warn_if_any_failed
from bayescale.model import Fit

if TYPE_CHECKING:
    from bayescale.evaluation.rollout_results import Rollout

#: The sources of weights, in words.
SOURCES = {"rollout": "the rollout", "loo": "LOO", "evidence": f"evidence to the power {POWER:g}"}
#: Above this Pareto k, the leave-one-out density of a run from reweighted draws is unreliable.
PARETO_K = 0.7
#: With fewer runs than `ENOUGH_RUNS`, standard errors of LOO differences are too small. Differences
#: in elpd below `SMALL` are noise, whatever their standard error (Sivula et al. 2020,
#: arXiv:2008.10296).
ENOUGH_RUNS, SMALL = 100, 4.0
#: A difference is undecided below this number of standard errors, and clear above twice as many.
DECIDED = 2.0
#: The rule in words, wherever differences in elpd are shown.
NOISE = f"a difference of less than {SMALL:.0f}, or of less than twice its error, is noise"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Comparison of laws: leave-one-out and rollout scores, and weights.

    Attributes
    ----------
    fits : mapping of str to Fit
        The fits that were compared, by name.
    table : pandas.DataFrame
        The table that `summary` returns.
    method : {"rollout", "loo", "evidence"}
        The source of the weights.
    verdict : str
        Whether the best law is distinguished from the second, and how strong the evidence is; or
        that no verdict can be drawn, with the fits that did not converge.
    notes : tuple of str
        Cautions on these figures.
    loo : dict of str to arviz_stats.ELPDData
        By fit: ``elpd_i`` and ``pareto_k`` of every run, and their sums, as ArviZ computes them.
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
            standard error ``se``; ``elpd_diff``, the difference to the highest (0 or less), and
            its standard error ``diff_se``; ``p_loo``, the effective number of parameters;
            ``k_above_0.7``, the number of runs whose leave-one-out density is unreliable;
            ``weight_loo``; ``weight_evidence``, if the weights are by evidence. With a rollout,
            means over its problems: ``log_score`` (per run, higher is better),
            ``log_score_diff`` to the highest and its standard error ``log_score_diff_se`` between
            problems (between labels, if the rollout has `each`), ``crps`` and ``interval_score`` of
            log loss, ``coverage90``; ``weight_rollout``, from the log scores with the drift that
            laws have in an average. ``weight`` is the one that `bayescale.average` takes.

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
            f"<Comparison of {len(self.fits)} laws on {len(runs)} runs, "
            f"weights by {SOURCES[self.method]}>"
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
        By name; fits in a sequence have the names of their laws.
    rollout : Rollout, optional
        A rollout of the same laws, from `bayescale.rollout`, in which each law has the name of its
        fit or its own name.
    method : {"rollout", "loo", "evidence"}, optional
        The source of the weights. The default is the rollout if there is one, because laws are used
        for extrapolation, which leave-one-out does not test. ``"evidence"`` gives the weights of
        `bayescale.ensemble`; the verdict is then still that of leave-one-out.

    Returns
    -------
    Comparison

    Raises
    ------
    FitError
        Naming everything that prevents a comparison: different runs, different drift through
        checkpoints, errors in small runs (`law_error`) under some laws only, a rollout of other
        laws.

    Warns
    -----
    ConvergenceWarning, RunsWarning
        If weights come from leave-one-out and it is unreliable: runs of high Pareto k, fewer than
        100 runs, or checkpoints of one run.

    Notes
    -----
    Leave-one-out by Pareto-smoothed importance sampling: Vehtari, Gelman & Gabry 2017,
    arXiv:1507.04544. Weights are by stacking (`stacking`): they maximise the log score of the
    mixture and are not probabilities that a law is true. Two laws with the same errors share the
    weight of one.

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
    aliases, problems = {}, other_runs(fits) + different_drifts(fits)
    if rollout is None:
        problems += different_errors(fits)
    if method not in SOURCES:
        problems.append(unknown("method", method, SOURCES))
    if method == "rollout" and rollout is None:
        problems.append("method='rollout' needs rollout=: make one with bs.rollout(runs, laws)")
    if rollout is not None:
        aliases, missing = _in_rollout(fits, rollout)
        problems += missing
    if problems:
        raise FitError(problems, where="compare")

    loo = {name: _loo(fit) for name, fit in fits.items()}
    table = _loo_table(loo)
    if rollout is not None:
        table = table.join(_rollout_table(rollout.points, aliases, rollout.each))
    if method == "evidence":
        table["weight_evidence"] = pd.Series(evidence_weights(fits))
    table["weight"] = table[f"weight_{method}"]
    score = "log_score" if method == "rollout" else "elpd_loo"
    table = table.sort_values(score, ascending=False, kind="stable")
    cautions = _cautions(fits, table)
    if method == "loo":
        for text, category in cautions:
            warnings.warn(text, category, stacklevel=2)
    if method == "rollout":
        failed = _not_converged_in_rollout(rollout.points, aliases)
    else:
        failed = not_converged(fits)
    notes = tuple(text for text, _ in cautions)
    return Comparison(fits, table, method, _verdict(table, method, failed), notes, loo, rollout)


def not_converged(fits: Mapping[str, Fit]) -> dict[str, str]:
    """Fits that did not converge: by name, a phrase with the name and the diagnostics."""
    return {
        name: f"{name} ({fit.convergence})"
        for name, fit in fits.items()
        if not fit.convergence.passed
    }


def average(
    fits: Comparison | Mapping[str, Fit] | Sequence[Fit],
    weights: Mapping[str, float] | None = None,
) -> Average:
    """Average over laws: the result forecasts and allocates as one fit does.

    Parameters
    ----------
    fits : Comparison, mapping of str to Fit, or sequence of Fit
    weights : mapping of str to float, optional
        One per fit, with the sum 1. By default those of the comparison, or else equal weights.

    Returns
    -------
    Average

    Raises
    ------
    FitError
        Naming everything in which fits and weights do not match.

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
        # ArviZ warns of high Pareto k fit by fit; `compare` warns once.
        warnings.simplefilter("ignore", UserWarning)
        return loo(fit.data, pointwise=True, var_name="log_loss")


def _loo_table(loo: Mapping[str, object]) -> pd.DataFrame:
    elpd_i = np.stack([np.asarray(each.elpd_i) for each in loo.values()], axis=1)
    relative = elpd_i - elpd_i[:, [elpd_i.sum(axis=0).argmax()]]
    return pd.DataFrame(
        {
            "elpd_loo": [each.elpd for each in loo.values()],
            "se": [each.se for each in loo.values()],
            "elpd_diff": relative.sum(axis=0),
            "diff_se": np.sqrt(len(relative)) * relative.std(axis=0),
            "p_loo": [each.p for each in loo.values()],
            # A k that is not a number counts as high.
            "k_above_0.7": [
                int((~(np.asarray(each.pareto_k) <= PARETO_K)).sum()) for each in loo.values()
            ],
            "weight_loo": stacking(elpd_i),
        },
        index=pd.Index(loo, name="law"),
    )


def _cautions(fits: Mapping[str, Fit], table: pd.DataFrame) -> list[tuple[str, type[Warning]]]:
    """The reasons why leave-one-out may be unreliable, each with its category of warning."""
    first = next(iter(fits.values()))
    n, high = len(first.runs), table["k_above_0.7"]
    cautions = []
    if (high > 0).any():
        laws = ", ".join(f"{name}: {k}" for name, k in high.items() if k)
        cautions.append(
            (
                f"LOO is unreliable, because single runs determine a fit ({laws} of {n} runs with "
                f"Pareto k above {PARETO_K}): compare by a rollout",
                ConvergenceWarning,
            )
        )
    if n < ENOUGH_RUNS:
        cautions.append(
            (
                f"with {n} runs, fewer than {ENOUGH_RUNS}, LOO differences are less certain "
                "than their standard errors suggest",
                RunsWarning,
            )
        )
    if first.plan.has_series:
        cautions.append(
            (
                "the runs are checkpoints of series: LOO leaves out one at a time and keeps its "
                "neighbours, so LOO measures interpolation, not forecasts; compare by a rollout",
                RunsWarning,
            )
        )
    return cautions


# -- rollouts ----------------------------------------------------------------------------------

SCORES = {"crps": "crps", "interval_score": "interval_score", "inside90": "coverage90"}


def _in_rollout(fits: Mapping[str, Fit], rollout) -> tuple[dict[str, str], list[str]]:
    """The name of each fit in the rollout, and problems: missing laws or missing scores."""
    points = rollout.points
    forecasts = points[points["method"] == BAYESCALE]
    laws = list(forecasts["law"].unique())
    aliases = {name: name if name in laws else fit.law.name for name, fit in fits.items()}
    problems = [
        f"the rollout: {unknown('law', alias, laws)}"
        for alias in aliases.values()
        if alias not in laws
    ]
    if len(set(aliases.values())) < len(aliases):
        problems.append(
            "several fits correspond to one law of the rollout: name each fit as in the rollout"
        )
    if not problems:
        missing = _by_law(forecasts, "log_score", aliases).isna().sum()
        problems = [
            f"the rollout lacks log scores of {name} ({n}): all laws must forecast the same runs"
            for name, n in missing.items()
            if n
        ]
    return aliases, problems


def _by_law(points: pd.DataFrame, score: str, aliases: Mapping[str, str]) -> pd.DataFrame:
    """One score, with a column per fit and a row per problem and held-out run."""
    run = "run" if "run" in points else "row"
    forecasts = points[points["method"] == BAYESCALE]
    wide = forecasts.pivot(index=["problem", run], columns="law", values=score)
    return wide[list(aliases.values())].set_axis(list(aliases), axis=1)


def _not_converged_in_rollout(points: pd.DataFrame, aliases: Mapping[str, str]) -> dict[str, str]:
    """The same as `not_converged`, for the fits of a rollout."""
    if "converged" not in points:
        return {}
    forecasts = points[points["method"] == BAYESCALE]
    converged = forecasts.groupby(["law", "problem"])["converged"].all()
    return {
        name: f"{name} (in {(~converged[alias]).sum()} of {len(converged[alias])} problems)"
        for name, alias in aliases.items()
        if not converged[alias].all()
    }


def _rollout_table(
    points: pd.DataFrame, aliases: Mapping[str, str], series: str | None
) -> pd.DataFrame:
    """Scores of the laws, as means over problems.

    Standard errors are computed between the labels of `series`, because problems of one label (at
    several thresholds) forecast partly the same runs.
    """
    log_score = _by_law(points, "log_score", aliases)
    problem = log_score.index.get_level_values("problem")
    each = log_score.groupby(problem).mean()
    relative = each.sub(each[each.mean().idxmax()], axis=0)
    if series is not None:
        relative_by_label = relative.groupby(points.groupby("problem")[series].first()).mean()
    else:
        relative_by_label = relative
    table = pd.DataFrame(
        {
            "log_score": each.mean(),
            "log_score_diff": relative.mean(),
            "log_score_diff_se": relative_by_label.sem(),
        }
    )
    for score, name in SCORES.items():
        if score in points:
            values = _by_law(points, score, aliases).astype(float)
            table[name] = values.groupby(problem).mean().mean()
    averaged = _by_law(points, AVERAGED, aliases) if AVERAGED in points else log_score
    return table.assign(weight_rollout=stacking(averaged.to_numpy(), problem))


def _line(name: str, row: Mapping[str, float]) -> str:
    density = f"log predictive density {row['elpd_loo']:.1f} ± {row['se']:.1f}"
    line = f"{100 * row['weight']:3.0f} %  {name}: {density}"
    if row["elpd_diff"] < 0:
        line += f" ({row['elpd_diff']:.1f} ± {row['diff_se']:.1f} against the highest)"
    return line + (f", rollout log score {row['log_score']:.3f}" if "log_score" in row else "")


def _verdict(table: pd.DataFrame, method: str, failed: Mapping[str, str]) -> str:
    """How strongly the evidence favours the best law over the second; ± is one standard error.

    `failed` has a phrase for each fit that did not converge. If one of the best two did not
    converge, no verdict is drawn. If another one did not, its rank is reported as unreliable.
    """
    if len(table) == 1:
        return f"There is only one law, {table.index[0]}: there is nothing to compare."
    best, second = table.index[:2]
    if best in failed or second in failed:
        return (
            "No verdict can be drawn, because fits did not converge: "
            f"{'; '.join(failed.values())}. Sample these fits again with more draws and tune."
        )
    sentence = _evidence(table, method)
    if failed:
        listed = "; ".join(failed.values())
        sentence += f" Other ranks are unreliable, because fits did not converge: {listed}."
    return sentence


def _evidence(table: pd.DataFrame, method: str) -> str:
    best, second = table.index[:2]
    column, error, what, judge = (
        ("elpd_diff", "diff_se", "log predictive density", "Leave-one-out (LOO)")
        if method != "rollout"
        else ("log_score_diff", "log_score_diff_se", "log score per run", "The rollout")
    )
    difference, se = -table[column].iloc[1], table[error].iloc[1]
    shown = f"the difference in {what} is {difference:.3g} ± {se:.2g}"
    if np.isnan(se):
        return (
            f"{judge} prefers {best} to {second} by {difference:.3g} in {what}, on a single "
            "problem, so its standard error is not known."
        )
    least = 0.0 if method == "rollout" else SMALL
    if difference < max(least, DECIDED * se):
        rule = NOISE if least else "a difference of less than twice its error is noise"
        return f"{judge} cannot tell {best} from {second}: {shown}; {rule}."
    strongly = "clearly favours" if difference > 2 * DECIDED * se else "favours"
    return f"{judge} {strongly} {best} over {second}: {shown}."

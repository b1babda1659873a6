"""Kaplan or Chinchilla? The evidence of the runs on the claims of several laws."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.data import Runs, RunsLike, as_runs
from bayescale.errors import FitError
from bayescale.evaluation import verdicts
from bayescale.evaluation.claims import (
    LARGE,
    density_ratio,
    exponents,
    has_q,
    probabilities,
)
from bayescale.evaluation.comparison import Comparison, average, compare
from bayescale.evaluation.contenders import Priors, check_priors, contenders, priors_of
from bayescale.evaluation.decisive_run import decisive_run
from bayescale.evaluation.ensembles import (
    evidence_weights,
    source_of_weights,
    without_evidence,
)
from bayescale.evaluation.rollouts import rollout
from bayescale.forecasting import (
    Average,
    answer_html,
    best_split,
    main_reason,
    regret,
    warn_if_any_failed,
)
from bayescale.inference import quiet, run_all
from bayescale.intervals import Summary, check_rows, defaults, table
from bayescale.keywords import hinted
from bayescale.laws import Law
from bayescale.model import Fit, design, fit, settle_groups, small_runs
from bayescale.seeds import settle_seed
from bayescale.units import as_counts

CONTENDERS = ("kaplan", "kaplan_floor", "chinchilla", "skaling")


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """The evidence of the runs on the claims of several laws.

    Attributes
    ----------
    comparison : Comparison
        Fits, leave-one-out, rollout scores and weights.
    exponents : dict of str to xarray.DataArray
        Draws of the exponent a in N* ~ C^a at the budget `C`, dims (chain, draw), for each law that
        has an optimum. ``"average"`` is the weighted average of these laws, if together they have
        at least half of the weight.
    probabilities : dict of str to float
        ``"a > 0.6"``: the posterior probability under the average. ``"E > 0 predicts better"``: the
        share of Bayesian bootstraps of the runs in which a law with a floor predicts left-out runs
        better than a law without a floor. The laws are `kaplan_floor` and `kaplan` if both were
        fitted, else the best of either kind. ``"q near 1"``: the posterior probability under
        `skaling` that q lies within a factor of 1.25 of 1; ``"q near 1, before"``: its prior
        probability.
    q_density_ratio : float
        The posterior density of log q at q = 1 divided by its prior density: the Savage-Dickey
        Bayes factor for an additive law within `skaling`. A value far below 0.001 means only that
        no draw is near q = 1. NaN without `skaling`.
    decides : dict
        The run on which the two best laws disagree most, with N and D within a factor of 4 of
        the runs and C at most 4 times the largest: ``N``, ``D``, ``C``, the median loss under each
        law, and ``apart``, the difference of the log medians in standard deviations of a new run
        (the root mean square of those of both laws). Empty if there is no such run.
    verdict : str
        Two sentences: which law the runs support and how strongly, and which run would change that;
        or that no verdict can be drawn, with the fits that did not converge.
    C : float or None
        The budget in FLOP at which exponents are evaluated. For laws with a closed form they are
        the same at every budget.
    group : str, mapping or None
        The group whose exponents are given.
    notes : tuple of str
        Cautions on these figures.
    """

    comparison: Comparison = field(repr=False)
    exponents: Mapping[str, xr.DataArray] = field(repr=False)
    probabilities: Mapping[str, float]
    q_density_ratio: float
    decides: Mapping[str, object]
    verdict: str
    C: float | None
    group: object = None
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> Mapping[str, Fit]:
        """The fits, by law."""
        return self.comparison.fits

    @property
    def average(self) -> Average:
        """The weighted average of the laws, which forecasts and allocates as a fit does.

        Without a rollout it is the one that `bayescale.ensemble` makes of the same laws.
        """
        return average(self.comparison)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row per law, best first, then their average.

        Returns
        -------
        pandas.DataFrame
            ``weight``, that of the law in the average; ``elpd_diff``, the difference to the best
            law in leave-one-out, and its standard error ``diff_se``; with a rollout ``log_score``;
            ``log_evidence``, the log of the marginal likelihood, and ``probability``, the posterior
            probability of the law among these laws, with equal prior probabilities; the median and
            interval of the exponent ``a``, and ``P(a > 0.6)``; the medians of the floor ``E``, in
            the unit of the loss, and of ``q`` of `skaling`.

        Warns
        -----
        ConvergenceWarning
            If a fit failed its check.
        """
        warn_if_any_failed(self.fits, "hypotheses of", stacklevel=3)
        scores = self.comparison.table
        evidence = {name: fit.evidence.log for name, fit in self.fits.items()}
        probability = evidence_weights(self.fits, power=1.0)
        rows = {}
        for name in [*scores.index, "average"]:
            row = {}
            if name in scores.index:
                shown = [c for c in ("weight", "elpd_diff", "diff_se", "log_score") if c in scores]
                row = scores.loc[name, shown].to_dict()
                row |= {"log_evidence": evidence[name], "probability": probability[name]}
            if name in self.exponents:
                a = self.exponents[name]
                row |= table(a, "a", ci_prob, ci_kind).iloc[0].to_dict()
                row[f"P(a > {LARGE})"] = float((a > LARGE).mean())
            for p in ("E", "q"):
                if name in self.fits and p in self.fits[name].posterior:
                    row[p] = float(self.fits[name].posterior[p].median())
            rows[name] = row
        return Summary(pd.DataFrame(rows).T.rename_axis("law"))

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """Which law the runs support, and the main reason for doubt, or else the decisive run.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval of the average exponent; 0.9 by default.
        """
        supported = self.verdict.split("\n")[0]
        if ci_prob is not None and "average" in self.exponents:
            supported = verdicts.supported(
                self.comparison, self.exponents, self.probabilities, ci_prob
            )
        decisive = self.verdict.partition("\n")[2]
        return f"{supported} {main_reason(self.cautions(), decisive)}"

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt the comparison: failed checks first. None depends on `ci_prob`."""
        failed = [n for n in self.notes if "failed its check" in n]
        return (*failed, *(n for n in self.notes if n not in failed))

    def to_dataframe(self, of: str = "draws", ci_prob: float | None = None) -> pd.DataFrame:
        """A tidy table of the exponents: their draws, or medians and intervals.

        Parameters
        ----------
        of : {"draws", "summary"}
            One row for each law and draw, or one row for each law.
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.

        Returns
        -------
        pandas.DataFrame
            For ``"draws"``: ``chain``, ``draw``, ``law`` and ``a``. For ``"summary"``: ``law``,
            ``variable``, ``median``, ``lower``, ``upper``, ``ci_prob`` and ``ci_kind``. Numbers are
            not rounded.
        """
        check_rows(of)
        frames = []
        for law, draws in self.exponents.items():
            if of == "draws":
                frame = draws.reset_coords(drop=True).rename("a").to_dataframe().reset_index()
                frames.append(frame.assign(law=law)[["chain", "draw", "law", "a"]])
            else:
                prob, kind = defaults(ci_prob)
                row = table(draws, "median", prob, kind).set_axis(
                    ["median", "lower", "upper"], axis=1
                )
                row.insert(0, "variable", "a")
                row.insert(0, "law", law)
                frames.append(row.assign(ci_prob=prob, ci_kind=kind))
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def deadweight(
        self,
        C: float | None = None,
        *,
        group=None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> pd.DataFrame:
        """The share of compute that is wasted by the allocation of one law if another is true.

        Parameters
        ----------
        C : float or str, optional
            The budget in FLOP (``"1e22"``); by default the budget of the exponents.
        group : str or mapping, optional
            As in `bayescale.allocate`; by default the group of the exponents.

        Returns
        -------
        pandas.DataFrame
            One row per law that is ``followed`` (its best ``N`` and ``D``) and law that is
            ``true``, with the average as one of the laws: the posterior mean of the
            ``wasted_share`` of the budget and its interval, over the posterior of the true law.

        Warns
        -----
        ConvergenceWarning
            If a fit failed its check.
        """
        warn_if_any_failed(self.fits, "the deadweight of", stacklevel=3)
        group = self.group if group is None else group
        C = self.C if C is None else as_counts(C, "C")[0]
        allocating = {name: self.fits[name] for name in self.exponents if name != "average"}
        if all(name in allocating for name in self.average.used):
            allocating["average"] = self.average
        splits = [best_split(followed, np.array([C]), group) for followed in allocating.values()]
        N, D = (np.concatenate(values) for values in zip(*splits, strict=True))
        parts = []
        for true, true_fit in allocating.items():
            wasted = regret(true_fit, N, D, C, group=group).data["wasted_share"]
            part = pd.DataFrame({"followed": list(allocating), "true": true, "N": N, "D": D})
            shown = table(wasted, "wasted_share", ci_prob, ci_kind)
            shown["wasted_share"] = wasted.mean(("chain", "draw")).to_numpy()
            parts.append(pd.concat([part, shown], axis=1))
        rows = np.arange(len(N) ** 2).reshape(len(N), len(N)).T.ravel()
        return pd.concat(parts, ignore_index=True).iloc[rows].reset_index(drop=True)

    def __repr__(self) -> str:
        claims = [f"P({claim}) = {p:.2f}" for claim, p in self.probabilities.items()]
        decisive = self.verdict.partition("\n")[2]
        lines = [
            self.bottom_line(),
            f"<Hypotheses: {len(self.fits)} laws on {len(self._runs)} runs>",
            *([f"  {decisive}"] if decisive and self.cautions() else []),
            "  " + ", ".join(claims),
        ]
        return "\n".join([*lines, *(f"  note: {n}" for n in self.cautions()[1:])])

    def _repr_html_(self) -> str:
        with quiet:  # failed checks are named in the answer
            shown = self.summary()._repr_html_()
        return answer_html(self.bottom_line(), shown, self.cautions()[1:])

    @property
    def _runs(self) -> Runs:
        return next(iter(self.fits.values())).runs


class _ToFit(NamedTuple):
    """One law to fit, with all inputs that another process needs."""

    runs: Runs
    law: Law
    options: Mapping[str, object]


def _fit_one(job: _ToFit) -> Fit:
    with quiet:  # all failed checks are reported together
        return fit(job.runs, job.law, progressbar=False, **job.options)


@hinted
def hypotheses(
    runs: RunsLike,
    laws: Sequence[str | Law] = CONTENDERS,
    *,
    above: Sequence[float] | None = None,
    groups: str | Sequence[str] | None = None,
    group=None,
    C: float | None = None,
    priors: Priors | None = None,
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    cores: int | None = None,
    target_accept: float | None = None,
    executor=None,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Hypotheses:
    """Fit several laws to the same runs and compare the evidence on their claims.

    The laws hold for all runs, as in `bayescale.fit`.

    Parameters
    ----------
    runs : Runs, path or DataFrame
    laws : sequence of str or Law
        Two or more: by default Kaplan's joint law, the same with an irreducible loss, Hoffmann's,
        and `skaling`, which contains all of them.
    above : sequence of float, optional
        Thresholds of C. If given, every law is also fitted to the runs below each threshold and
        scored on those above (`bayescale.rollout`). The weights are then computed from these
        scores, because laws are used for extrapolation. Otherwise they are in
        proportion to a power of the evidence (`bayescale.ensemble`); or those of leave-one-out,
        with a note, if a law has no finite evidence.
    groups : str or sequence of str, optional
        Columns over which parameters may vary.
    group : str or mapping, optional
        The group whose exponents are reported; None means a new group.
    C : float or str, optional
        The budget in FLOP at which exponents are evaluated; by default the largest C of the runs.
    priors : mapping, optional
        As in `bayescale.ensemble`; those by the name of a law override the others.
    draws, tune, chains, cores, target_accept
        As in `bayescale.fit`. Fits of the rollout keep at most 500 draws per chain.
    executor, random_seed, progressbar
        As in `bayescale.rollout`.

    Returns
    -------
    Hypotheses

    Raises
    ------
    FitError, LawError
        For fewer than two laws, two laws of one name, priors of laws that are not compared, a group
        that the runs do not have, and all inputs that `bayescale.fit` refuses.

    Warns
    -----
    ConvergenceWarning, RunsWarning
        If fits failed their check, and under the conditions of `bayescale.compare`.

    Notes
    -----
    The evidence of a law depends on the widths of its priors, which are deliberately wide but do
    not depend on units. It measures how well the law fits these runs, not how well it extrapolates.
    ``probability`` assumes that one of these laws is exactly true; on simulated tables of which one
    was, stated probabilities agree with observed shares within their error
    (``benchmarks/evidence.py``, 40 tables). The tempered weights of `bayescale.ensemble` allow for
    laws that are all inexact, and serve forecasts. The prior of q in `skaling` was chosen for this
    question (its centre is halfway between Kaplan et al. and Hoffmann et al. on a log scale), so
    the ratio of densities at q = 1 is a Bayes factor. It depends on the width of that prior, a
    factor of 2.5. The bootstrap for "E > 0 predicts better" is that of Yao et al. 2018,
    arXiv:1704.02030, section 3.4.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm")
    >>> found = bs.hypotheses(runs, ["kaplan_floor", "chinchilla"], random_seed=1)
    >>> bool(found.exponents["kaplan_floor"].median() < found.exponents["chinchilla"].median())
    True
    """
    runs, problems = as_runs(runs, groups), []
    chosen = contenders(laws, runs, problems)
    names = [law.name for law in chosen]
    if len(chosen) < 2 and not problems:
        problems.append(f"only {', '.join(names)} is given: give two or more laws")
    check_priors(priors, chosen, problems)
    if problems:
        raise FitError(problems, where="hypotheses")
    if C is not None:
        C = float(as_counts(C, "C")[0])
    elif "C" in runs:
        C = float(runs.table["C"].max())
    settle_groups(design(runs, chosen[0], groups), group)  # refuses an unknown group
    random_seed = settle_seed(random_seed)
    sampling = dict(
        tune=tune, chains=chains, cores=cores, target_accept=target_accept, random_seed=random_seed
    )
    # The claims are about laws that hold for all runs.
    same = dict(groups=groups, draws=draws, law_error=False, **sampling)
    jobs = [_ToFit(runs, law, dict(same, priors=priors_of(law, chosen, priors))) for law in chosen]
    fitted = run_all(
        _fit_one,
        jobs,
        [f"fitting {name}" for name in names],
        chosen,
        executor=executor,
        progressbar=progressbar,
    )
    fits = dict(zip(names, fitted, strict=True))
    warn_if_any_failed(fits, "hypotheses of", stacklevel=4)
    rolled = None
    if above is not None:
        rolled = rollout(
            runs,
            chosen,
            above=above,
            groups=groups,
            priors=priors,
            draws=min(draws, 500),
            baselines=False,
            executor=executor,
            progressbar=progressbar,
            **sampling,
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compared = compare(fits, rolled, source_of_weights(fits, rolled))
    for warning in caught:
        warnings.warn(str(warning.message), warning.category, stacklevel=3)
    draws_of_a, notes = exponents(compared, C, group)
    claims = probabilities(compared, draws_of_a)
    ratio = density_ratio(fits["skaling"]) if has_q(fits) else np.nan
    decides = decisive_run(compared, group, random_seed) if group is not None or not groups else {}
    if compared.method == "loo":
        notes.append(
            "weights are those of LOO, because the evidence is not known under "
            f"{', '.join(without_evidence(fits))}"
        )
    may_fail = small_runs.by_default(chosen)
    if all(replace(one.plan, law_error=may_fail).has_law_error for one in fits.values()):
        notes.append(verdicts.EXACT)
    notes += [
        f"{name} failed its check: its figures are unreliable; see fits[{name!r}].check()"
        for name, one in fits.items()
        if not one.check().passed
    ]
    return Hypotheses(
        compared,
        draws_of_a,
        claims,
        ratio,
        decides,
        verdicts.verdict(compared, draws_of_a, claims, decides),
        C,
        group,
        (*compared.notes, *notes),
    )

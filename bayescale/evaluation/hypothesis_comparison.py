"""Kaplan or Chinchilla? What the runs say of the claims that laws make, and how firmly."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale import laws as gallery
from bayescale.data import Runs
from bayescale.errors import FitError, LawError, unknown
from bayescale.evaluation.comparison import Comparison, average, compare
from bayescale.evaluation.rollouts import Rollout, rollout
from bayescale.forecasting import (
    Average,
    allocate,
    best_split,
    forecast,
    mix,
    regret,
    warn_if_any_failed,
)
from bayescale.intervals import defaults, table
from bayescale.laws import Law
from bayescale.model import Fit, design, fit, settle_groups
from bayescale.priors import Prior
from bayescale.units import as_counts, format_count

CONTENDERS = ("kaplan", "kaplan_floor", "chinchilla", "skaling")
#: An exponent above this is nearer to Kaplan's 0.73 than to Hoffmann's 0.50.
LARGE = 0.6
#: Blends within this factor of 1 are as good as additive.
NEAR_ONE = 1.25
#: Bayesian bootstraps of the runs.
BOOTSTRAPS = 4000
#: How far beyond the runs a run that would decide is looked for: a factor on N, D and C; and how
#: many sizes of either are tried. Tokens per parameter stay within those of the runs.
BEYOND, GRID = 4.0, 13


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """What the runs say of the claims of several laws.

    Attributes
    ----------
    comparison : Comparison
        Fits, leave-one-out, rollout scores and weights.
    exponents : dict of str to xarray.DataArray
        Draws of a in N* ~ C^a at the budget `C`, per law that has an optimum; ``"average"``: the
        same by weight, over those laws, if they have half of the weight or more. Dims (chain,
        draw).
    probabilities : dict of str to float
        ``"a > 0.6"`` under the average. ``"E > 0 predicts better"``: in how many Bayesian
        bootstraps of the runs a law with a floor predicts left-out runs better than one without:
        `kaplan_floor` against `kaplan` if both are there, else the best of either kind. ``"q near
        1"``: under `skaling`, the chance that q lies within a factor of 1.25 of 1, and ``"q near 1,
        before"`` what its prior gave to that.
    q_density_ratio : float
        Posterior over prior density of log q at q = 1 (the Savage-Dickey Bayes factor of additive
        shortages within `skaling`). Far below 0.001 it says no more than that q = 1 lies beyond the
        draws. NaN without that law.
    decides : dict
        The run within reach on which the two best laws disagree most: ``N``, ``D``, ``C``, the
        losses they expect, and ``apart``, their distance in standard deviations of a new run (root
        mean square of both laws'). Empty where no such run can be named.
    verdict : str
        Two sentences: what the runs say and how firmly, and what would change it.
    C : float or None
        The budget at which exponents hold (they are the same everywhere for laws with a closed
        form).
    group : str, mapping or None
        The group they are for.
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
        """The laws as one, by weight: forecasts and allocates like a fit."""
        return average(self.comparison)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row per law, best first, then their average.

        Returns
        -------
        pandas.DataFrame
            ``weight``, ``elpd_diff`` to the best in leave-one-out and its ``diff_se``, with a
            rollout ``log_score``; the exponent ``a`` (median and interval) and ``P(a > 0.6)``; the
            medians of the floor ``E``, nats per token, and of the blend ``q``.

        Warns
        -----
        ConvergenceWarning
            If a fit failed its check.
        """
        warn_if_any_failed(self.fits, "hypotheses of", stacklevel=3)
        scores = self.comparison.table
        rows = {}
        for name in [*scores.index, "average"]:
            row = {}
            if name in scores.index:
                shown = [c for c in ("weight", "elpd_diff", "diff_se", "log_score") if c in scores]
                row = scores.loc[name, shown].to_dict()
            if name in self.exponents:
                a = self.exponents[name]
                row |= table(a, "a", ci_prob, ci_kind).iloc[0].to_dict()
                row[f"P(a > {LARGE})"] = float((a > LARGE).mean())
            for p in ("E", "q"):
                if name in self.fits and p in self.fits[name].posterior:
                    row[p] = float(self.fits[name].posterior[p].median())
            rows[name] = row
        return pd.DataFrame(rows).T.rename_axis("law")

    def deadweight(
        self,
        C: float | None = None,
        *,
        group=None,
        ci_prob: float | None = None,
        ci_kind: str | None = None,
    ) -> pd.DataFrame:
        """The share of compute that is wasted by following one law where another is true.

        Parameters
        ----------
        C : float or str, optional
            The budget in FLOP (``"1e22"``); by default the one exponents hold at.
        group : str or mapping, optional
            As in `bayescale.allocate`; the one that the exponents are for, if not given.

        Returns
        -------
        pandas.DataFrame
            One row per law that is ``followed`` (its best ``N`` and ``D``) and law that is
            ``true``, the average among both: the expected ``wasted_share`` of the budget, and its
            interval over the posterior of the true one.

        Warns
        -----
        ConvergenceWarning
            If a fit failed its check.
        """
        warn_if_any_failed(self.fits, "the deadweight of", stacklevel=3)
        group = self.group if group is None else group
        C = self.C if C is None else as_counts(C, "C")[0]
        able = {name: self.fits[name] for name in self.exponents if name != "average"}
        if all(name in able for name in self.average.used):
            able["average"] = self.average
        rows = []
        for followed, chosen in able.items():
            N, D = best_split(chosen, np.array([C]), group)
            for true, believed in able.items():
                wasted = regret(believed, N, D, C, group=group).data["wasted_share"]
                shown = table(wasted.isel(point=0, drop=True), "wasted_share", ci_prob, ci_kind)
                rows.append(
                    {
                        "followed": followed,
                        "true": true,
                        "N": N[0],
                        "D": D[0],
                        **shown.iloc[0].to_dict(),
                        "wasted_share": float(wasted.mean()),
                    }
                )
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        said = [f"P({what}) = {p:.2f}" for what, p in self.probabilities.items()]
        lines = [
            f"<Hypotheses: {len(self.fits)} laws on {len(self._runs)} runs>",
            *(f"  {s}" for s in self.verdict.split("\n")),
            "  " + ", ".join(said),
        ]
        return "\n".join([*lines, *(f"  note: {n}" for n in self.notes)])

    @property
    def _runs(self) -> Runs:
        return next(iter(self.fits.values())).runs


def hypotheses(
    runs: Runs,
    laws: Sequence[str | Law] = CONTENDERS,
    *,
    above: Sequence[float] | None = None,
    groups: str | Sequence[str] | None = None,
    group=None,
    C: float | None = None,
    priors: Mapping[str, Mapping[str, Prior]] | None = None,
    draws: int = 1000,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Hypotheses:
    """Fit contending laws to the same runs and weigh what they claim.

    Parameters
    ----------
    runs : Runs
    laws : sequence of str or Law
        The contenders, two or more: by default Kaplan's joint law, the same with an irreducible
        loss, Hoffmann's, and `skaling`, which holds them all.
    above : sequence of float, optional
        Thresholds of C. With them every law is also fitted to the runs below each and scored on
        those above (`bayescale.rollout`), and the weights come from these scores: extrapolation is
        what laws are for.
    groups : str or sequence of str, optional
        Columns over which parameters may vary.
    group : str or mapping, optional
        The group whose exponents are reported; None stands for a new one.
    C : float or str, optional
        The budget at which exponents are measured; the largest of the runs by default.
    priors : mapping of law to mapping of parameter to Prior, optional
        As `bayescale.fit` takes them, per law; not together with `above`.
    draws, random_seed, progressbar
        As in `bayescale.fit`.

    Returns
    -------
    Hypotheses

    Raises
    ------
    FitError, LawError
        For fewer than two laws, two of one name, priors of laws that do not contend, a group that
        the runs do not have, or whatever `bayescale.fit` refuses.

    Warns
    -----
    ConvergenceWarning, RunsWarning
        As `bayescale.compare`.

    Notes
    -----
    No Bayes factor is given between laws: it would hang on how wide the priors of their amplitudes
    are, which were made wide on purpose. The prior of q in `skaling` was made for this question
    (halfway between Kaplan et al. and Hoffmann et al. on a log scale), so the ratio of densities at
    q = 1 is one; what it says moves with that prior's width, a factor of 2.5.
    The bootstrap behind "E > 0 predicts better" is that of Yao et al. 2018, arXiv:1704.02030,
    section 3.4.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm")
    >>> said = bs.hypotheses(runs, ["kaplan_floor", "chinchilla"], random_seed=1)
    >>> bool(said.exponents["kaplan_floor"].median() < said.exponents["chinchilla"].median())
    True
    """
    contenders = [gallery.get(law) for law in laws]
    names = [law.name for law in contenders]
    priors = dict(priors or {})
    problems = [f"priors: {unknown('law', name, names)}" for name in priors if name not in names]
    if len(set(names)) < len(names) or len(names) < 2:
        problems.append(
            f"laws must be two or more, each with a name of its own; got {', '.join(names)}"
        )
    if priors and above is not None:
        problems.append(
            "priors= and above= cannot be given together: a rollout would not know the "
            "priors; use laws of your own, law.with_priors(...)"
        )
    if problems:
        raise FitError(problems, where="hypotheses")
    if C is not None:
        C = float(as_counts(C, "C")[0])
    elif "C" in runs:
        C = float(runs.table["C"].max())
    settle_groups(design(runs, contenders[0], groups), group)  # refuses what it does not know
    if random_seed is None:
        random_seed = int(np.random.SeedSequence().entropy % 2**31)
    fits = {
        law.name: fit(
            runs,
            law,
            groups=groups,
            priors=priors.get(law.name),
            draws=draws,
            random_seed=random_seed,
            progressbar=progressbar,
        )
        for law in contenders
    }
    rolled = _rolled(runs, contenders, above, groups, draws, random_seed, progressbar)
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        compared = compare(fits, rolled)
    for doubt in doubts:
        warnings.warn(str(doubt.message), doubt.category, stacklevel=2)
    exponents, notes = _exponents(compared, C, group)
    probabilities = _probabilities(compared, exponents)
    ratio = _density_ratio(fits["skaling"]) if _blends(fits) else np.nan
    decides = _decides(compared, group, random_seed) if group is not None or not groups else {}
    notes += [
        f"{name} failed its check: do not rely on what it says; see fits[{name!r}].check()"
        for name, fitted in fits.items()
        if not fitted.check().passed
    ]
    verdict = _verdict(compared, exponents, probabilities, decides)
    return Hypotheses(
        compared,
        exponents,
        probabilities,
        ratio,
        decides,
        verdict,
        C,
        group,
        (*compared.notes, *notes),
    )


def _rolled(runs, contenders, above, groups, draws, seed, progressbar) -> Rollout | None:
    if above is None:
        return None
    return rollout(
        runs,
        contenders,
        above=above,
        groups=groups,
        draws=min(draws, 500),
        baselines=False,
        random_seed=seed,
        progressbar=progressbar,
    )


def _exponents(
    compared: Comparison, C: float | None, group
) -> tuple[dict[str, xr.DataArray], list[str]]:
    """Draws of a per law that has an optimum, and of their average."""
    out, notes = {}, []
    for name in compared.table.index if C is not None else ():
        try:
            out[name] = (
                allocate(compared.fits[name], C, group=group).data["a"].isel(budget=0, drop=True)
            )
        except LawError as error:
            notes.append(f"no exponent under {name}: {error}")
    weights = {name: compared.weights[name] for name in out}
    total = sum(weights.values())
    if total < 0.999 and out:
        notes.append(
            f"the laws that have an optimum have {total:.0%} of the weight"
            + ("; the average exponent is theirs" if total >= 0.5 else "")
        )
    if total >= 0.5:
        mixed = mix(
            {k: v.to_dataset(name="a") for k, v in out.items() if weights[k] > 0},
            {k: w / total for k, w in weights.items() if w > 0},
        )
        out["average"] = mixed["a"]
    return out, notes


def _probabilities(compared: Comparison, exponents) -> dict[str, float]:
    out = {}
    if "average" in exponents:
        out[f"a > {LARGE}"] = float((exponents["average"] > LARGE).mean())
    asked = [n for n in compared.fits if n in ("kaplan", "kaplan_floor")]
    asked = asked if len(asked) == 2 else list(compared.fits)
    with_floor = [name for name in asked if "E" in compared.fits[name].law.parameters]
    if with_floor and len(with_floor) < len(asked):
        out["E > 0 predicts better"] = _floor_wins(compared, with_floor, asked)
    if _blends(compared.fits):
        log_q = np.log(compared.fits["skaling"].parameters()["q"])
        prior = compared.fits["skaling"].plan.parameter("q").prior
        out["q near 1"] = float((abs(log_q) < np.log(NEAR_ONE)).mean())
        out["q near 1, before"] = _prior_near_one(prior)
    return out


def _prior_near_one(prior: Prior) -> float:
    from statistics import NormalDist

    at = NormalDist(prior.centre, prior.width)
    return at.cdf(np.log(NEAR_ONE)) - at.cdf(-np.log(NEAR_ONE))


def _blends(fits: Mapping[str, Fit]) -> bool:
    """Whether `skaling` is among the laws, with a prior on log q."""
    return "skaling" in fits and fits["skaling"].plan.parameter("q").prior.link == "log"


def _floor_wins(compared: Comparison, with_floor: Sequence[str], asked: Sequence[str]) -> float:
    """Bayesian bootstraps of the runs in which the best law with a floor is the best of all."""
    at_run = {name: np.asarray(compared.loo[name].elpd_i) for name in asked}
    n = len(next(iter(at_run.values())))
    shares = np.random.default_rng(0).dirichlet(np.ones(n), BOOTSTRAPS)
    scores = {name: shares @ values for name, values in at_run.items()}
    best = {
        kind: np.max([s for name, s in scores.items() if (name in with_floor) == kind], axis=0)
        for kind in (True, False)
    }
    return float((best[True] > best[False]).mean())


def _density_ratio(fitted: Fit) -> float:
    """Posterior over prior density of log q at 0."""
    from scipy.stats import gaussian_kde, norm

    prior = fitted.plan.parameter("q").prior
    log_q = np.log(fitted.parameters()["q"].to_numpy().ravel())
    return float(gaussian_kde(log_q)(0.0)[0] / norm.pdf(0.0, prior.centre, prior.width))


def _decides(compared: Comparison, group, seed: int) -> dict[str, object]:
    """The run within reach on which the two best laws disagree most, in units of a new run's
    standard deviation."""
    names = list(compared.table.index[:2])
    known = {c for c in "NDC" if c in compared.fits[names[0]].runs}
    if known != set("NDC") or any(set(compared.fits[n].law.columns) - known for n in names):
        return {}
    frame = compared.fits[names[0]].runs.table
    N, D = (np.geomspace(frame[c].min() / BEYOND, frame[c].max() * BEYOND, GRID) for c in "ND")
    N, D = (v.ravel() for v in np.meshgrid(N, D))
    factor = compared.fits[names[0]].runs.flop_factor
    seen, ratio = frame["D"] / frame["N"], D / N
    within = (
        (factor * N * D <= frame["C"].max() * BEYOND)
        & (ratio >= 0.99 * seen.min())
        & (ratio <= 1.01 * seen.max())
    )
    if not within.any():
        return {}
    N, D = N[within], D[within]
    logs = []
    for name in names:
        ahead = forecast(compared.fits[name], N=N, D=D, group=group, random_seed=seed)
        logs.append(np.log(ahead.data["loss"]))
    quantiles = [each.quantile([0.16, 0.5, 0.84], ("chain", "draw")).to_numpy() for each in logs]
    sd = np.hypot(*((q[2] - q[0]) / 2 for q in quantiles)) / np.sqrt(2)
    apart = np.abs(quantiles[0][1] - quantiles[1][1]) / sd
    i = int(apart.argmax())
    return {
        "N": float(N[i]),
        "D": float(D[i]),
        "C": float(factor * N[i] * D[i]),
        "apart": float(apart[i]),
        **{name: float(np.exp(q[1, i])) for name, q in zip(names, quantiles, strict=True)},
    }


def _verdict(compared: Comparison, exponents, probabilities, decides) -> str:
    first = compared.verdict
    if "average" in exponents:
        middle, low, high = table(exponents["average"], "a").iloc[0]
        first = (
            f"{first.rstrip('.')}; averaged by weight, N* ~ C^a with a = {middle:.2f} "
            f"({100 * defaults()[0]:g} %: {low:.2f} to {high:.2f}), P(a > {LARGE}) = "
            f"{probabilities[f'a > {LARGE}']:.2f}."
        )
    if not decides:
        return (
            f"{first}\nWhat would change it: runs far from those there are, in size and in "
            "tokens per parameter; which one cannot be told for these laws or without a group."
        )
    best, second = list(compared.table.index[:2])
    where = f"{format_count(decides['N'])} parameters on {format_count(decides['D'])} tokens"
    expected = f"{best} expects a loss of {decides[best]:.2f} and {second} {decides[second]:.2f}"
    if decides["apart"] < 1:
        return (
            f"{first}\nNo single run within reach would change it: even at {where} {expected}, "
            f"{decides['apart']:.1f} standard deviations of a new run apart."
        )
    return (
        f"{first}\nWhat would change it: a run of {where}, where {expected}, "
        f"{decides['apart']:.1f} standard deviations of a new run apart."
    )

"""Kaplan or Chinchilla? What the runs say of the claims that laws make, and how firmly."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale import laws as gallery
from bayescale.allocation import allocate, as_counts, best_split, regret
from bayescale.averaging import Average, mix
from bayescale.comparison import Comparison, average, compare
from bayescale.errors import FitError, LawError
from bayescale.fitting import Fit, fit
from bayescale.forecasting import forecast
from bayescale.intervals import table
from bayescale.law import Law
from bayescale.priors import Prior
from bayescale.rollouts import Rollout, rollout
from bayescale.runs import Runs
from bayescale.units import format_count

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
        same by weight. Dims (chain, draw).
    probabilities : dict of str to float
        ``"a > 0.6"`` under the average. ``"E > 0"``: in how many Bayesian bootstraps of the runs
        the best law with a floor predicts left-out runs better than the best without one.
        ``"q near 1"``: under `skaling`, the chance that q lies within a factor of 1.25 of 1, and
        ``"q near 1, before"`` what its prior gave to that.
    q_density_ratio : float
        Posterior over prior density of log q at q = 1 (the Savage-Dickey Bayes factor of additive
        shortages within `skaling`). NaN without that law.
    decides : dict
        The run within reach on which the two best laws disagree most: ``N``, ``D``, ``C``, the
        losses they expect, and ``apart``, their distance in standard deviations of a new run.
    verdict : str
        Two sentences: what the runs say and how firmly, and what would change it.
    C : float
        The budget at which exponents hold (they are the same everywhere for laws with a closed
        form).
    """

    comparison: Comparison = field(repr=False)
    exponents: Mapping[str, xr.DataArray] = field(repr=False)
    probabilities: Mapping[str, float]
    q_density_ratio: float
    decides: Mapping[str, object]
    verdict: str
    C: float
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
            median of the floor ``E``, nats per token.
        """
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
            if name in self.fits and "E" in self.fits[name].posterior:
                row["E"] = float(self.fits[name].posterior["E"].median())
            rows[name] = row
        return pd.DataFrame(rows).T.rename_axis("law")

    def deadweight(self, C: float | None = None, *, group=None, ci_prob: float | None = None,
                   ci_kind: str | None = None) -> pd.DataFrame:
        """The share of compute that is wasted by following one law where another is true.

        Parameters
        ----------
        C : float or str, optional
            The budget in FLOP (``"1e22"``); by default the one exponents hold at.
        group : str or mapping, optional
            As in `bayescale.allocate`.

        Returns
        -------
        pandas.DataFrame
            One row per law that is ``followed`` (its best ``N`` and ``D``) and law that is
            ``true``, the average among both: the expected ``wasted_share`` of the budget, and its
            interval over the posterior of the true one.
        """
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
                rows.append({"followed": followed, "true": true, "N": N[0], "D": D[0],
                             **shown.iloc[0].to_dict(), "wasted_share": float(wasted.mean())})
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        said = [f"P({what}) = {p:.2f}" for what, p in self.probabilities.items()]
        lines = [f"<Hypotheses: {len(self.fits)} laws on {len(self._runs)} runs>",
                 *(f"  {s}" for s in self.verdict.split("\n")), "  " + ", ".join(said)]
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
        As `bayescale.fit` takes them, per law.
    draws, random_seed, progressbar
        As in `bayescale.fit`.

    Returns
    -------
    Hypotheses

    Raises
    ------
    FitError, LawError
        For fewer than two laws, the same law twice, or whatever `bayescale.fit` refuses.

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
    The bootstrap behind P(E > 0) is that of Yao et al. 2018, arXiv:1704.02030, section 3.4.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> said = bs.hypotheses(runs, ["kaplan", "chinchilla"], random_seed=1)
    >>> bool(said.exponents["chinchilla"].median() < said.exponents["kaplan"].median())
    True
    """
    contenders = [gallery.get(law) for law in laws]
    names = [law.name for law in contenders]
    if len(set(names)) < len(names) or len(names) < 2:
        raise FitError(f"laws must be two or more different ones, got {', '.join(names)}",
                       where="hypotheses")
    if random_seed is None:
        random_seed = int(np.random.SeedSequence().entropy % 2**31)
    priors = dict(priors or {})
    fits = {law.name: fit(runs, law, groups=groups, priors=priors.get(law.name), draws=draws,
                          random_seed=random_seed, progressbar=progressbar) for law in contenders}
    rolled = _rolled(runs, contenders, above, groups, draws, random_seed, progressbar)
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        compared = compare(fits, rolled)
    for doubt in doubts:
        warnings.warn(str(doubt.message), doubt.category, stacklevel=2)
    C = float(runs.table["C"].max()) if C is None else float(as_counts(C, "C")[0])
    exponents, notes = _exponents(compared, C, group)
    probabilities = _probabilities(compared, exponents)
    ratio = _density_ratio(fits["skaling"]) if "skaling" in fits else np.nan
    decides = _decides(compared, group, random_seed) if group is not None or not groups else {}
    verdict = _verdict(compared, exponents, probabilities, decides)
    return Hypotheses(compared, exponents, probabilities, ratio, decides, verdict, C,
                      (*compared.notes, *notes))


def _rolled(runs, contenders, above, groups, draws, seed, progressbar) -> Rollout | None:
    if above is None:
        return None
    return rollout(runs, contenders, above=above, groups=groups, draws=min(draws, 500),
                   baselines=False, random_seed=seed, progressbar=progressbar)


def _exponents(compared: Comparison, C: float, group) -> tuple[dict[str, xr.DataArray], list[str]]:
    """Draws of a per law that has an optimum, and of their average."""
    out, notes = {}, []
    for name in compared.table.index:
        try:
            out[name] = allocate(compared.fits[name], C, group=group).data["a"].isel(
                budget=0, drop=True)
        except LawError as error:
            notes.append(f"no exponent under {name}: {error}")
    weights = {name: compared.weights[name] for name in out}
    if (total := sum(weights.values())) > 0:
        mixed = mix({k: v.to_dataset(name="a") for k, v in out.items() if weights[k] > 0},
                    {k: w / total for k, w in weights.items() if w > 0})
        out["average"] = mixed["a"]
    return out, notes


def _probabilities(compared: Comparison, exponents) -> dict[str, float]:
    out = {}
    if "average" in exponents:
        out[f"a > {LARGE}"] = float((exponents["average"] > LARGE).mean())
    with_floor = [name for name, f in compared.fits.items() if "E" in f.law.parameters]
    if with_floor and len(with_floor) < len(compared.fits):
        out["E > 0"] = _floor_wins(compared, with_floor)
    if "skaling" in compared.fits:
        log_q = np.log(compared.fits["skaling"].parameters()["q"])
        prior = compared.fits["skaling"].plan.parameter("q").prior
        out["q near 1"] = float((abs(log_q) < np.log(NEAR_ONE)).mean())
        out["q near 1, before"] = _prior_near_one(prior)
    return out


def _prior_near_one(prior: Prior) -> float:
    from statistics import NormalDist

    at = NormalDist(prior.centre, prior.width)
    return at.cdf(np.log(NEAR_ONE)) - at.cdf(-np.log(NEAR_ONE))


def _floor_wins(compared: Comparison, with_floor: Sequence[str]) -> float:
    """Bayesian bootstraps of the runs in which the best law with a floor is the best of all."""
    at_run = {name: np.asarray(loo.elpd_i) for name, loo in compared.loo.items()}
    n = len(next(iter(at_run.values())))
    shares = np.random.default_rng(0).dirichlet(np.ones(n), BOOTSTRAPS)
    scores = {name: shares @ values for name, values in at_run.items()}
    best = {kind: np.max([s for name, s in scores.items() if (name in with_floor) == kind], axis=0)
            for kind in (True, False)}
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
    frame = compared.fits[names[0]].runs.table
    N, D = (np.geomspace(frame[c].min() / BEYOND, frame[c].max() * BEYOND, GRID) for c in "ND")
    N, D = (v.ravel() for v in np.meshgrid(N, D))
    factor = compared.fits[names[0]].runs.flop_factor
    seen, ratio = frame["D"] / frame["N"], D / N
    within = ((factor * N * D <= frame["C"].max() * BEYOND)
              & (ratio >= 0.99 * seen.min()) & (ratio <= 1.01 * seen.max()))
    if not within.any():
        return {}
    N, D = N[within], D[within]
    logs = []
    for name in names:
        ahead = forecast(compared.fits[name], N=N, D=D, group=group, random_seed=seed)
        logs.append(np.log(ahead.data["loss"]))
    quantiles = [each.quantile([0.16, 0.5, 0.84], ("chain", "draw")).to_numpy() for each in logs]
    sd = np.hypot(*((q[2] - q[0]) / 2 for q in quantiles))
    apart = np.abs(quantiles[0][1] - quantiles[1][1]) / sd
    i = int(apart.argmax())
    return {"N": float(N[i]), "D": float(D[i]), "C": float(factor * N[i] * D[i]),
            "apart": float(apart[i]),
            **{name: float(np.exp(q[1, i])) for name, q in zip(names, quantiles, strict=True)}}


def _verdict(compared: Comparison, exponents, probabilities, decides) -> str:
    first = compared.verdict
    if "average" in exponents:
        a = table(exponents["average"], "a").iloc[0]
        first = (f"{first.rstrip('.')}; averaged by weight, N* ~ C^a with a = {a.iloc[0]:.2f} "
                 f"({a.iloc[1]:.2f} to {a.iloc[2]:.2f}), P(a > {LARGE}) = "
                 f"{probabilities[f'a > {LARGE}']:.2f}.")
    if not decides:
        return (f"{first}\nWhat would change it: runs of one group at sizes and tokens per "
                "parameter that differ from those it has; name a group= to see which.")
    best, second = list(compared.table.index[:2])
    where = f"{format_count(decides['N'])} parameters on {format_count(decides['D'])} tokens"
    expected = f"{best} expects a loss of {decides[best]:.2f} and {second} {decides[second]:.2f}"
    if decides["apart"] < 1:
        return (f"{first}\nNo single run within reach would change it: even at {where} {expected}, "
                f"{decides['apart']:.1f} standard deviations of a new run apart.")
    return (f"{first}\nWhat would change it: a run of {where}, where {expected}, "
            f"{decides['apart']:.1f} standard deviations of a new run apart.")

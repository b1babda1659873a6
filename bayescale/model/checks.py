"""Checks of a fit: convergence, design, information, misfit and influential runs, in sentences."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.inference import BFMI_ABOVE, ESS_ABOVE, R_HAT_BELOW, Convergence
from bayescale.model.design import Design
from bayescale.model.posterior import at_runs
from bayescale.priors import to_link

#: A posterior predictive p-value below the first is a failure, one below the second a caution.
P_FAILED, P_CAUTION = 0.002, 0.02
#: Reductions of the prior variance, as shares of it. Below the first, a parameter is weakly
#: informed by the runs; below the second, it is not informed at all.
WEAK_BELOW, UNINFORMED_BELOW = 0.5, 0.1
#: Pareto k above which a run is influential.
PARETO_K = 0.7
#: Absolute correlation of log N and log D above which their effects cannot be separated.
COLLINEAR = 0.98
FEWEST_SIZES = 3
#: A series is reported as not raw if it never rises, has at least this many repeated losses, and at
#: least this many steps.
FEWEST_TIES, FEWEST_STEPS = 2, 10
FEWEST_DRAWS = 25  # with fewer, Pareto k cannot be estimated
RESIDUAL_DRAWS, DISCREPANCY_DRAWS = 1000, 250
LEVELS = ("passed", "caution", "failed")


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    name : str
        ``convergence``, ``runs``, ``design``, ``information``, ``prior``, ``misfit``,
        ``dependence``, ``influence`` or ``surprise``.
    level : {"passed", "caution", "failed"}
        ``failed``: do not rely on this fit. ``caution``: the fit is usable with this limitation.
    text, remedy : str
        What was found, and what to do.
    """

    name: str
    level: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        mark = {"passed": "ok     ", "caution": "CAUTION", "failed": "FAILED "}[self.level]
        return f"{mark} {self.name}: {self.text}" + (f" -> {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Check:
    """All findings about a fit. It is true in a condition if no finding failed.

    Attributes
    ----------
    findings : tuple of Finding
    surprising : pandas.DataFrame
        The runs with the smallest predictive tail probabilities. ``label``; ``percent`` above (+)
        or below (-) the law; ``tail``, the leave-one-out predictive probability of a deviation at
        least as large.
    """

    findings: tuple[Finding, ...]
    surprising: pd.DataFrame = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether no finding failed."""
        return all(f.level != "failed" for f in self.findings)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings of level ``failed``, then those of level ``caution``."""
        worst = [f for f in self.findings if f.level != "passed"]
        return tuple(sorted(worst, key=lambda f: -LEVELS.index(f.level)))

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        head = "check passed" if self.passed else "CHECK FAILED: do not rely on this fit"
        cautions = sum(f.level == "caution" for f in self.findings)
        head += f", {cautions} caution{'s' * (cautions != 1)}" if cautions else ""
        return "\n".join([head, *(f"  {f}" for f in self.findings)])


def check(posterior: xr.Dataset, plan: Design, diagnostics: Convergence) -> Check:
    """Check a posterior against the runs that were fitted; see `Fit.check`."""
    rng = np.random.default_rng(0)
    step = max(1, posterior.sizes["draw"] * posterior.sizes["chain"] // RESIDUAL_DRAWS)
    residuals = at_runs(posterior.isel(draw=slice(None, None, step)), plan)
    surprising = surprises(residuals, plan)
    scores = _normal_scores(residuals, DISCREPANCY_DRAWS)
    # Under the model, the normal scores of replicated runs are independent standard normals for any
    # parameters. The reference distribution of a discrepancy therefore needs no simulated losses.
    replicas = rng.standard_normal((10 * len(scores), scores.shape[1]))
    findings = [
        _converged(diagnostics),
        *_few_runs(plan),
        *_checkpoints(posterior, plan),
        *_identified(plan),
        *_informed(posterior, plan),
        *_prior_conflict(posterior, plan),
        *_misfit(residuals, plan, scores, replicas),
        *_shared_scatter(residuals, plan, scores, replicas),
        *_influential(residuals, plan),
        _surprised(surprising),
    ]
    return Check(tuple(findings), surprising)


# -- the chains --------------------------------------------------------------------------------


def _converged(diagnostics: Convergence) -> Finding:
    if diagnostics.passed:
        return Finding("convergence", "passed", str(diagnostics))
    reasons = []
    if not diagnostics.r_hat <= R_HAT_BELOW:
        reasons.append(
            f"R-hat of {diagnostics.r_hat_of} is {diagnostics.r_hat:.3f} "
            f"(it must be at most {R_HAT_BELOW})"
        )
    if not diagnostics.ess >= ESS_ABOVE:
        reasons.append(
            f"the effective sample size of {diagnostics.ess_of} is {diagnostics.ess:.0f} "
            f"(it must be at least {ESS_ABOVE})"
        )
    if diagnostics.divergences:
        reasons.append(f"{diagnostics.divergences} transitions diverged (none may)")
    if diagnostics.bfmi < BFMI_ABOVE:
        reasons.append(
            f"the Bayesian fraction of missing information (BFMI) is {diagnostics.bfmi:.2f} "
            f"(it must be at least {BFMI_ABOVE})"
        )
    return Finding(
        "convergence",
        "failed",
        "; ".join(reasons),
        "fit with larger draws= and tune=, with target_accept=0.99, or with narrower priors",
    )


# -- the runs and their design -----------------------------------------------------------------


def _few_runs(plan: Design) -> list[Finding]:
    n, k = len(plan.runs), len(plan.law.parameters)
    what = f"{n} runs for the {k} parameters of {plan.law.name!r}"
    for g in plan.groups:
        counts = np.bincount(plan.index(g))
        pooled = all(
            not any(e.column == g for e in p.effects)
            for p in plan.parameters
            if p.name in plan.law.parameters
        )
        if not pooled and counts.min() < n:
            n = int(counts.min())
            what = (
                f"{n} runs of {g} {plan.levels[g][counts.argmin()]!r} for the {k} parameters "
                f"of {plan.law.name!r}"
            )
    if n >= 2 * k:
        return []
    if n <= k:
        text = f"{what}: the intervals depend more on the priors than on the runs"
    else:
        text = f"{what}: the intervals depend strongly on the priors"
    return [
        Finding(
            "runs",
            "caution",
            text,
            "set priors= from what is known, and compare a fit with wider priors",
        )
    ]


def _checkpoints(posterior: xr.Dataset, plan: Design) -> list[Finding]:
    """How strongly the noise of neighbouring checkpoints is correlated."""
    if not plan.has_series:
        return []
    n, series = len(plan.runs), plan.runs.table["series"].nunique()
    memory = float(posterior["memory"].median())
    _, gap = plan.before
    correlation = float(np.median(np.exp(-gap[np.isfinite(gap)] / memory)))
    return [
        Finding(
            "runs",
            "passed",
            f"{n} checkpoints of {series} run{'s' * (series > 1)} are taken as correlated: "
            f"the correlation of their noise is {correlation:.2f} between neighbours and falls by "
            f"a factor e over {memory:.2g} e-folds of scale",
        ),
        *_not_as_measured(plan),
    ]


def _not_as_measured(plan: Design) -> list[Finding]:
    """Series that never rise and repeat values: probably not the raw losses of the checkpoints."""
    frame = plan.runs.table[["series", "loss"]].assign(x=plan.log_scale).sort_values("x")
    steps = frame.groupby(frame["series"].astype(str))["loss"].diff().dropna()
    by_series = steps.groupby(frame["series"].astype(str))
    ties = by_series.agg(lambda step: (step == 0).sum())
    never_rises = by_series.max() <= 0
    ties = ties[never_rises & (ties >= FEWEST_TIES) & (by_series.size() >= FEWEST_STEPS)]
    if not len(ties):
        return []
    worst = ties.idxmax()
    more = f" ({len(ties)} series do so)" if len(ties) > 1 else ""
    return [
        Finding(
            "runs",
            "caution",
            f"the loss of series {worst!r} never rises, and {ties.max()} of its "
            f"{by_series.size()[worst] + 1} checkpoints repeat the one before{more}: the losses "
            "may be running minima, or rounded or smoothed, and scatter less than raw losses",
            "fit the raw losses; otherwise the intervals are for losses recorded in the same way",
        )
    ]


def _identified(plan: Design) -> list[Finding]:
    """Whether the columns vary enough, and independently enough, to identify the parameters."""
    logs = {c: np.log(v) for c, v in plan.columns.items()}
    findings = []
    for c, values in logs.items():
        sizes = len(np.unique(np.round(values / np.log(1.05))))
        if sizes < FEWEST_SIZES:
            findings.append(
                Finding(
                    "design",
                    "caution",
                    f"only {sizes} distinct value{'s' * (sizes > 1)} of {c}: the prior determines "
                    f"the curvature in {c}, and with it the irreducible loss",
                    f"add runs at {FEWEST_SIZES - sizes} or more other values of {c}",
                )
            )
    if plan.law.allocates and all(np.ptp(v) > 0 for v in logs.values()):
        correlation = float(np.corrcoef(logs["N"], logs["D"])[0, 1])
        if abs(correlation) > COLLINEAR:
            kind = (
                "N and D increase together (compute-optimal runs only?)"
                if correlation > 0
                else "all runs have nearly the same budget"
            )
            findings.append(
                Finding(
                    "design",
                    "caution",
                    f"{kind}: the correlation of log N and log D is {correlation:.3f}, so their "
                    "effects on the loss cannot be separated, and the priors determine the "
                    "allocation",
                    "add runs off that line: one over-trained and one under-trained model",
                )
            )
    return findings or [Finding("design", "passed", "the columns vary enough, and independently")]


def _informed(posterior: xr.Dataset, plan: Design) -> list[Finding]:
    """How much narrower than its prior the posterior of each parameter of the law is."""
    uninformed, weak = [], []
    for p in plan.parameters:
        if p.name not in plan.law.parameters or not p.has_population:
            continue
        on_link = to_link(p.prior.link, posterior[p.name])
        contraction = 1 - float(on_link.var()) / p.prior.width**2
        if contraction < UNINFORMED_BELOW:
            uninformed.append(p.name)
        elif contraction < WEAK_BELOW:
            weak.append(f"{p.name} ({100 * contraction:.0f} %)")
    findings = []
    if uninformed:
        findings.append(
            Finding(
                "information",
                "caution",
                f"the runs do not inform {', '.join(uninformed)}: the posterior equals the prior",
                "add runs that inform it (large N and D for E), or justify its prior",
            )
        )
    if weak:
        findings.append(
            Finding(
                "information",
                "caution",
                f"the runs inform these parameters only weakly: {', '.join(weak)} (reduction of "
                "the prior variance)",
                "report that the intervals depend on the prior",
            )
        )
    return findings or [
        Finding("information", "passed", "the runs inform every parameter of the law")
    ]


def _prior_conflict(posterior: xr.Dataset, plan: Design) -> list[Finding]:
    findings = []
    for p in plan.parameters:
        if p.name not in plan.law.parameters or not p.has_population:
            continue
        shift = float(to_link(p.prior.link, posterior[p.name]).median()) - p.prior.centre
        if abs(shift) > 3 * p.prior.width:
            low, high = p.prior.interval(0.9)
            value = float(posterior[p.name].median())
            findings.append(
                Finding(
                    "prior",
                    "caution",
                    f"the posterior median of {p.name} is {value:.3g}, but the 90 % interval of "
                    f"its prior is {low:.3g} to {high:.3g}",
                    "check that the loss is in nats per token and that counts are absolute; if so, "
                    "give a wider prior with priors=",
                )
            )
    return findings


# -- the residuals -----------------------------------------------------------------------------


def _normal_scores(residuals: dict[str, np.ndarray], draws: int) -> np.ndarray:
    """Residuals transformed to standard normals under the model; (draw, run)."""
    from scipy.stats import norm, t

    step = max(1, len(residuals["residual"]) // draws)
    residual, sigma, nu = (residuals[k][::step] for k in ("residual", "sigma", "nu"))
    tail = t.logcdf(-np.abs(residual) / sigma, nu)
    return -np.sign(residual) * norm.ppf(np.exp(np.maximum(tail, -700)))


def _misfit(residuals, plan: Design, scores, replicas) -> list[Finding]:
    """Posterior predictive p-values of trends in the residuals along log N, D, C and by group."""
    typical = float(np.median(residuals["sigma"]))
    findings = []
    for c in [c for c in "NDC" if c in plan.runs]:
        basis = _polynomials(np.log(plan.runs.table[c].to_numpy(float)))
        if basis.shape[1] == 0 or len(plan.runs) < 2 * basis.shape[1] + 4:
            continue
        observed, expected = (((z @ basis) ** 2).sum(axis=1) for z in (scores, replicas))
        p_value = _p_value(observed, expected)
        trend = 100 * typical * float(np.ptp(basis @ (scores @ basis).mean(axis=0)))
        findings.append(
            _residual_finding(
                p_value,
                f"the residuals have a trend or curvature along log {c}, with a range of "
                f"{trend:.1f} % of the loss",
                "try another law or less pooling (pool=), or report the misfit with each forecast",
            )
        )
    for g in plan.groups:
        index = plan.index(g)
        member = _membership(index)
        observed, expected = (np.abs(z @ member).max(axis=1) for z in (scores, replicas))
        worst = int(np.abs((scores @ member).mean(axis=0)).argmax())
        findings.append(
            _residual_finding(
                _p_value(observed, expected),
                f"the residuals of {g} {plan.levels[g][worst]!r} have a common offset from the law",
                "pool less over this column (pool=)",
            )
        )
    misfits = [f for f in findings if f is not None]
    return misfits or [
        Finding(
            "misfit",
            "passed",
            "the residuals have no trend "
            f"along {', '.join(f'log {c}' for c in 'NDC' if c in plan.runs)}"
            + "".join(f" and no offset by {g}" for g in plan.groups),
        )
    ]


def _shared_scatter(residuals, plan: Design, scores, replicas) -> list[Finding]:
    """Whether runs of one N, or of one N and D in several groups, have correlated residuals."""
    size, length = (
        np.round(np.log(plan.runs.table[c].to_numpy(float)) / np.log(1.05))
        if c in plan.runs
        else np.zeros(len(plan.runs))
        for c in "ND"
    )
    kinds = {"the same N": size}
    if plan.groups:
        kinds["the same N and D in different groups"] = size + 1e6 * length
    correlated = []
    for kind, key in kinds.items():
        _, index, count = np.unique(key, return_inverse=True, return_counts=True)
        member = _membership(index)[:, count > 1]
        if member.shape[1] < FEWEST_SIZES:
            continue
        observed, expected = (((z @ member) ** 2).sum(axis=1) for z in (scores, replicas))
        p_value = _p_value(observed, expected)
        if p_value < P_CAUTION:
            correlated.append(f"runs of {kind} (p = {p_value:.1g})")
    if not correlated:
        return []
    return [
        Finding(
            "dependence",
            "caution",
            f"{' and '.join(correlated)} have correlated residuals: they are less informative "
            "than as many independent runs, and intervals for other sizes are too narrow",
            "treat the widths of intervals as lower bounds; groups that are not pooled (pool=) are "
            "affected least",
        )
    ]


def _membership(index: np.ndarray) -> np.ndarray:
    """Orthonormal indicator columns of the levels; (run, level)."""
    member = np.eye(index.max() + 1)[index]
    return member / np.sqrt(member.sum(axis=0))


def _polynomials(x: np.ndarray) -> np.ndarray:
    """Orthonormal linear and quadratic polynomials in x; (run, up to 2)."""
    distinct = len(np.unique(np.round(x, 6)))
    powers = np.vander(x - x.mean(), min(distinct, 3), increasing=True)
    return np.linalg.qr(powers)[0][:, 1:]


def _p_value(observed: np.ndarray, expected: np.ndarray) -> float:
    return float((expected[:, None] >= np.sort(observed)[None, ::4]).mean())


def _residual_finding(p_value: float, text: str, remedy: str) -> Finding | None:
    if p_value >= P_CAUTION:
        return None
    level = "failed" if p_value < P_FAILED else "caution"
    shown = f"p = {p_value:.3f}" if p_value >= 0.001 else "p < 0.001"
    return Finding("misfit", level, f"{text} ({shown})", remedy)


def _log_density(residuals) -> np.ndarray:
    from scipy.stats import t

    return t.logpdf(residuals["residual"], residuals["nu"], scale=residuals["sigma"])


def _influential(residuals, plan: Design) -> list[Finding]:
    """Runs whose removal would change the posterior strongly: Pareto k of leave-one-out weights.

    Vehtari, Gelman & Gabry 2017, arXiv:1507.04544.
    """
    from arviz_stats.base import array_stats

    density = _log_density(residuals)
    if len(density) < FEWEST_DRAWS:
        return [
            Finding(
                "influence",
                "caution",
                f"{len(density)} draws are too few to find influential runs",
                "fit with more draws",
            )
        ]
    _, k = array_stats.psislw(density, axis=0)
    # The limit of reliable Pareto k falls with the number of draws.
    limit = min(PARETO_K, 1 - 1 / np.log10(len(density)))
    rows = np.flatnonzero(np.asarray(k) > limit)
    if not len(rows):
        return [
            Finding(
                "influence",
                "passed",
                f"no single run is influential (Pareto k <= {float(np.max(k)):.2f})",
            )
        ]
    names = plan.runs.labels()
    worst = sorted(rows, key=lambda i: -k[i])[:8]
    shown = "; ".join(f"{names[i]} (k = {k[i]:.2f})" for i in worst)
    more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
    return [
        Finding(
            "influence",
            "caution",
            f"single runs are influential: {shown}{more}",
            "fit again without them and compare the results",
        )
    ]


def surprises(residuals, plan: Design, most: int = 20) -> pd.DataFrame:
    """The runs with the smallest tail probabilities under their leave-one-out predictions."""
    from scipy.stats import t

    weight = np.exp(-_log_density(residuals))
    weight /= weight.sum(axis=0)
    z = np.abs(residuals["residual"]) / residuals["sigma"]
    tail = (weight * 2 * t.sf(z, residuals["nu"])).sum(axis=0)
    percent = 100 * np.expm1((weight * residuals["residual"]).sum(axis=0))
    frame = pd.DataFrame(
        dict(label=plan.runs.labels(), percent=percent, tail=tail), index=plan.runs.table.index
    )
    return frame.sort_values("tail").head(most)


def _surprised(frame: pd.DataFrame, most: int = 5) -> Finding:
    sides = []
    for side, is_on_side in (("above", frame.percent > 0), ("below", frame.percent < 0)):
        rows = frame[is_on_side].head(most)
        names = "; ".join(f"{r.label} ({r.percent:+.1f} %)" for r in rows.itertuples())
        sides += [f"{side} the law {names}"] if len(rows) else []
    return Finding("surprise", "passed", "the most surprising runs: " + " | ".join(sides))

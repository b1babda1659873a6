"""What is wrong with a fit, what its runs cannot tell, and what to do about it, in sentences."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.inference import BFMI_ABOVE, ESS_ABOVE, R_HAT_BELOW, Convergence
from bayescale.model.design import Design
from bayescale.model.posterior import at_runs
from bayescale.priors import to_link

#: Posterior predictive p-values below these are a failure and a caution.
P_FAILED, P_CAUTION = 0.002, 0.02
#: A posterior this share of its prior's variance or narrower has learnt from the runs.
LITTLE, NOTHING = 0.5, 0.1
PARETO_K = 0.7
COLLINEAR = 0.98
FEWEST_SIZES = 3
FEWEST_TIES, FEWEST_STEPS = 2, 10  # of a series that is told not to be as measured
FEWEST_DRAWS = 25  # below, the tail of importance weights has no shape to fit
RESIDUAL_DRAWS, DISCREPANCY_DRAWS = 1000, 250
LEVELS = ("passed", "caution", "failed")


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes
    ----------
    name : str
        ``convergence``, ``runs``, ``design``, ``information``, ``prior``, ``misfit``,
        ``dependence``, ``influence`` or ``surprise``.
    level : {"passed", "caution", "failed"}
        ``failed``: do not rely on this fit. ``caution``: rely on it, knowing this.
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
    """Every finding about a fit; true if none failed.

    Attributes
    ----------
    findings : tuple of Finding
    surprising : pandas.DataFrame
        The runs that stand farthest from what the fit expects of them: ``label``, ``percent``
        above (+) or below (-) the law, and ``tail``, the posterior predictive probability of
        standing as far or farther.
    """

    findings: tuple[Finding, ...]
    surprising: pd.DataFrame = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(f.level != "failed" for f in self.findings)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings that failed or call for caution, the worst first."""
        worst = [f for f in self.findings if f.level != "passed"]
        return tuple(sorted(worst, key=lambda f: -LEVELS.index(f.level)))

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        head = "check passed" if self.passed else "CHECK FAILED: do not rely on this fit"
        cautions = sum(f.level == "caution" for f in self.findings)
        head += f", {cautions} caution{'s' * (cautions != 1)}" if cautions else ""
        return "\n".join([head, *(f"  {f}" for f in self.findings)])


def check(posterior: xr.Dataset, plan: Design, agreement: Convergence) -> Check:
    """Check a posterior against the runs it was made from; see `Fit.check`."""
    rng = np.random.default_rng(0)
    step = max(1, posterior.sizes["draw"] * posterior.sizes["chain"] // RESIDUAL_DRAWS)
    here = at_runs(posterior.isel(draw=slice(None, None, step)), plan)
    surprising = surprises(here, plan)
    scores = _normal_scores(here, DISCREPANCY_DRAWS)
    # Normal scores of replicated runs are independent standard normals whatever the parameters,
    # so the reference of every discrepancy needs no simulated tables.
    replicas = rng.standard_normal((10 * len(scores), scores.shape[1]))
    findings = [
        _converged(agreement),
        *_few_runs(plan),
        *_checkpoints(posterior, plan),
        *_identified(plan),
        *_informed(posterior, plan),
        *_prior_conflict(posterior, plan),
        *_misfit(here, plan, scores, replicas),
        *_shared_scatter(here, plan, scores, replicas),
        *_influential(here, plan),
        _surprised(surprising),
    ]
    return Check(tuple(findings), surprising)


# -- the chains --------------------------------------------------------------------------------


def _converged(agreement: Convergence) -> Finding:
    if agreement.passed:
        return Finding("convergence", "passed", str(agreement))
    reasons = []
    if not agreement.r_hat <= R_HAT_BELOW:
        reasons.append(
            f"R-hat of {agreement.r_hat_of} is {agreement.r_hat:.3f} "
            f"(at most {R_HAT_BELOW} is wanted)"
        )
    if not agreement.ess >= ESS_ABOVE:
        reasons.append(
            f"{agreement.ess_of} has an effective sample of {agreement.ess:.0f} "
            f"(at least {ESS_ABOVE})"
        )
    if agreement.divergences:
        reasons.append(f"{agreement.divergences} transitions diverged (none should)")
    if agreement.bfmi < BFMI_ABOVE:
        reasons.append(f"the energy fraction is {agreement.bfmi:.2f} (at least {BFMI_ABOVE})")
    return Finding(
        "convergence",
        "failed",
        "; ".join(reasons),
        "fit with more draws and tune, target_accept=0.99, or tighter priors",
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
        text = f"{what}: the priors speak louder than the data, and intervals lean on them"
    else:
        text = f"{what}: the priors still carry much of the answer"
    return [
        Finding(
            "runs",
            "caution",
            text,
            "state what you know with priors=, and compare a fit under wider ones",
        )
    ]


def _checkpoints(posterior: xr.Dataset, plan: Design) -> list[Finding]:
    """How much checkpoints of one run tell beside each other."""
    if not plan.has_series:
        return []
    n, series = len(plan.runs), plan.runs.table["series"].nunique()
    memory = float(posterior["memory"].median())
    _, gap = plan.before
    kept = float(np.median(np.exp(-gap[np.isfinite(gap)] / memory)))
    return [
        Finding(
            "runs",
            "passed",
            f"{n} checkpoints of {series} run{'s' * (series > 1)} are taken as correlated: "
            f"their noise is forgotten over {memory:.2g} e-folds, and neighbours share "
            f"{100 * kept:.0f} % of it",
        ),
        *_not_as_measured(plan),
    ]


def _not_as_measured(plan: Design) -> list[Finding]:
    """Series that never rise but stand still: not what each checkpoint measured."""
    frame = plan.runs.table[["series", "loss"]].assign(x=plan.log_scale).sort_values("x")
    steps = frame.groupby(frame["series"].astype(str))["loss"].diff().dropna()
    by = steps.groupby(frame["series"].astype(str))
    ties = by.agg(lambda step: (step == 0).sum())
    ties = ties[(by.max() <= 0) & (ties >= FEWEST_TIES) & (by.size() >= FEWEST_STEPS)]
    if not len(ties):
        return []
    worst = ties.idxmax()
    more = f" ({len(ties)} series do so)" if len(ties) > 1 else ""
    return [
        Finding(
            "runs",
            "caution",
            f"the loss of series {worst!r} never rises, and {ties.max()} of its "
            f"{by.size()[worst] + 1} checkpoints repeat the one before{more}: these look like the "
            "best so far, or rounded or smoothed, and hide how a measurement scatters",
            "fit the losses as measured, or read intervals as those of values recorded like these; "
            "a new measurement scatters more",
        )
    ]


def _identified(plan: Design) -> list[Finding]:
    """Whether the columns vary enough, and enough apart, to tell the parameters apart."""
    logs = {c: np.log(v) for c, v in plan.columns.items()}
    findings = []
    for c, values in logs.items():
        sizes = len(np.unique(np.round(values / np.log(1.05))))
        if sizes < FEWEST_SIZES:
            findings.append(
                Finding(
                    "design",
                    "caution",
                    f"only {sizes} distinct value{'s' * (sizes > 1)} of {c}: the curvature in {c}, "
                    "and with it the irreducible loss, comes from the prior",
                    f"add runs at {FEWEST_SIZES - sizes} or more other values of {c}",
                )
            )
    if plan.law.allocates and all(np.ptp(v) > 0 for v in logs.values()):
        correlation = float(np.corrcoef(logs["N"], logs["D"])[0, 1])
        if abs(correlation) > COLLINEAR:
            kind = (
                "N and D rise together (compute-optimal runs only?)"
                if correlation > 0
                else "N and D trade off along one budget"
            )
            findings.append(
                Finding(
                    "design",
                    "caution",
                    f"{kind}: log N and log D correlate at {correlation:.3f}, so the loss cannot "
                    "be credited to one or the other; the allocation comes from the priors",
                    "add runs off that line: one model over-trained, one under-trained",
                )
            )
    return findings or [Finding("design", "passed", "the columns vary enough, and apart")]


def _informed(posterior: xr.Dataset, plan: Design) -> list[Finding]:
    """How much narrower than its prior each parameter of the law has become."""
    nothing, little = [], []
    for p in plan.parameters:
        if p.name not in plan.law.parameters or not p.has_population:
            continue
        on_link = to_link(p.prior.link, posterior[p.name])
        contraction = 1 - float(on_link.var()) / p.prior.width**2
        if contraction < NOTHING:
            nothing.append(p.name)
        elif contraction < LITTLE:
            little.append(f"{p.name} ({100 * contraction:.0f} %)")
    findings = []
    if nothing:
        findings.append(
            Finding(
                "information",
                "caution",
                f"these runs say nothing about {', '.join(nothing)}: the posterior is the prior",
                "add runs where it matters (large N and D for E), or take the prior seriously",
            )
        )
    if little:
        findings.append(
            Finding(
                "information",
                "caution",
                f"these runs say little about {', '.join(little)} (share of the prior "
                "variance gone)",
                "report that intervals lean on the prior",
            )
        )
    return findings or [Finding("information", "passed", "every parameter is learnt from the runs")]


def _prior_conflict(posterior: xr.Dataset, plan: Design) -> list[Finding]:
    findings = []
    for p in plan.parameters:
        if p.name not in plan.law.parameters or not p.has_population:
            continue
        away = float(to_link(p.prior.link, posterior[p.name]).median()) - p.prior.centre
        if abs(away) > 3 * p.prior.width:
            low, high = p.prior.interval(0.9)
            value = float(posterior[p.name].median())
            findings.append(
                Finding(
                    "prior",
                    "caution",
                    f"{p.name} is {value:.3g}, where the prior expects {low:.3g} to {high:.3g}",
                    "is the loss in nats per token, are counts absolute? If so, widen with priors=",
                )
            )
    return findings


# -- the residuals -----------------------------------------------------------------------------


def _normal_scores(here: dict[str, np.ndarray], draws: int) -> np.ndarray:
    """Residuals as standard normals if the model is right; (draw, run)."""
    from scipy.stats import norm, t

    step = max(1, len(here["residual"]) // draws)
    residual, sigma, nu = (here[k][::step] for k in ("residual", "sigma", "nu"))
    tail = t.logcdf(-np.abs(residual) / sigma, nu)
    return -np.sign(residual) * norm.ppf(np.exp(np.maximum(tail, -700)))


def _misfit(here, plan: Design, scores, replicas) -> list[Finding]:
    """Posterior predictive p-values of trends that should not be in the residuals."""
    typical = float(np.median(here["sigma"]))
    findings = []
    for c in [c for c in "NDC" if c in plan.runs]:
        basis = _bend(np.log(plan.runs.table[c].to_numpy(float)))
        if basis.shape[1] == 0 or len(plan.runs) < 2 * basis.shape[1] + 4:
            continue
        observed, expected = (((z @ basis) ** 2).sum(axis=1) for z in (scores, replicas))
        p_value = _p_value(observed, expected)
        swing = 100 * typical * float(np.ptp(basis @ (scores @ basis).mean(axis=0)))
        findings.append(
            _residual_finding(
                p_value,
                f"residuals bend along log {c}, by {swing:.1f} % of the loss from end to end",
                "try another law, pool less (pool=), or forecast with the misfit in mind",
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
                f"the runs of {g} {plan.levels[g][worst]!r} stand off their law together",
                "pool less over this column",
            )
        )
    bad = [f for f in findings if f is not None]
    return bad or [
        Finding(
            "misfit",
            "passed",
            "no structure left in the residuals "
            f"along {', '.join(f'log {c}' for c in 'NDC' if c in plan.runs)}"
            + "".join(f" or {g}" for g in plan.groups),
        )
    ]


def _shared_scatter(here, plan: Design, scores, replicas) -> list[Finding]:
    """Whether runs of one size, or of one size and length in several groups, scatter together."""
    size, length = (
        np.round(np.log(plan.runs.table[c].to_numpy(float)) / np.log(1.05))
        if c in plan.runs
        else np.zeros(len(plan.runs))
        for c in "ND"
    )
    kinds = {"the same N": size}
    if plan.groups:
        kinds["the same N and D in different groups"] = size + 1e6 * length
    shared = []
    for kind, key in kinds.items():
        _, index, count = np.unique(key, return_inverse=True, return_counts=True)
        member = _membership(index)[:, count > 1]
        if member.shape[1] < FEWEST_SIZES:
            continue
        observed, expected = (((z @ member) ** 2).sum(axis=1) for z in (scores, replicas))
        p_value = _p_value(observed, expected)
        if p_value < P_CAUTION:
            shared.append(f"runs of {kind} (p = {p_value:.1g})")
    if not shared:
        return []
    return [
        Finding(
            "dependence",
            "caution",
            f"{' and '.join(shared)} stand above or below the law together: part of their scatter "
            "is shared, so they tell less than as many independent runs, and intervals for sizes "
            "not yet trained come out too narrow",
            "read intervals as lower bounds; groups that are not pooled (pool=) lean on it least",
        )
    ]


def _membership(index: np.ndarray) -> np.ndarray:
    """Orthonormal columns that sum the runs of each level; (run, level)."""
    member = np.eye(index.max() + 1)[index]
    return member / np.sqrt(member.sum(axis=0))


def _bend(x: np.ndarray) -> np.ndarray:
    """Orthonormal line and parabola over x, without the constant; (run, up to 2)."""
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


def _log_density(here) -> np.ndarray:
    from scipy.stats import t

    return t.logpdf(here["residual"], here["nu"], scale=here["sigma"])


def _influential(here, plan: Design) -> list[Finding]:
    """Runs whose removal would move the posterior: Pareto k of leave-one-out weights.

    Vehtari, Gelman & Gabry 2017, arXiv:1507.04544.
    """
    from arviz_stats.base import array_stats

    density = _log_density(here)
    if len(density) < FEWEST_DRAWS:
        return [
            Finding(
                "influence",
                "caution",
                f"{len(density)} draws are too few to tell whether single runs decide the fit",
                "fit with more draws",
            )
        ]
    _, k = array_stats.psislw(density, axis=0)
    good = min(PARETO_K, 1 - 1 / np.log10(len(density)))  # fewer draws can bear less
    rows = np.flatnonzero(np.asarray(k) > good)
    if not len(rows):
        return [
            Finding(
                "influence",
                "passed",
                f"no run decides the fit alone (Pareto k <= {float(np.max(k)):.2f})",
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
            f"the fit leans on single runs: {shown}{more}",
            "fit without them and see what changes",
        )
    ]


def surprises(here, plan: Design, most: int = 20) -> pd.DataFrame:
    """The runs farthest out in the tails of their own leave-one-out predictions."""
    from scipy.stats import t

    weight = np.exp(-_log_density(here))
    weight /= weight.sum(axis=0)
    z = np.abs(here["residual"]) / here["sigma"]
    tail = (weight * 2 * t.sf(z, here["nu"])).sum(axis=0)
    percent = 100 * np.expm1((weight * here["residual"]).sum(axis=0))
    frame = pd.DataFrame(
        dict(label=plan.runs.labels(), percent=percent, tail=tail), index=plan.runs.table.index
    )
    return frame.sort_values("tail").head(most)


def _surprised(frame: pd.DataFrame, most: int = 5) -> Finding:
    sides = []
    for side, there in (("above", frame.percent > 0), ("below", frame.percent < 0)):
        rows = frame[there].head(most)
        names = "; ".join(f"{r.label} ({r.percent:+.1f} %)" for r in rows.itertuples())
        sides += [f"{side} it {names}"] if len(rows) else []
    return Finding("surprise", "passed", "farthest from the law: " + " | ".join(sides))

"""Check of a fit: what is wrong with it, what its runs cannot determine, and what to do."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayescale.inference import Convergence, ImportanceDiagnostics
from bayescale.keywords import on_command_line, setting
from bayescale.model.density import is_wide
from bayescale.model.design import Design
from bayescale.model.findings import Check, Finding
from bayescale.model.regimes import regime_findings
from bayescale.model.residual_checks import residual_findings
from bayescale.priors import to_link

#: Share of the prior variance that the runs remove: below the first a posterior is
#: prior-dominated, below the second it equals its prior.
LITTLE, NOTHING = 0.5, 0.1
#: Distance between the medians of prior and posterior, in prior standard deviations: above the
#: first the two are in conflict; above the second the runs inform the parameter, even if its
#: posterior is wide.
CONFLICT, MOVED = 3, 1
COLLINEAR = 0.98
FEWEST_SIZES = 3


def check(posterior: xr.Dataset, plan: Design, convergence: Convergence) -> Check:
    """Check a posterior against the runs it was made from; see `Fit.check`."""
    residuals, surprising = residual_findings(posterior, plan)
    findings = [
        _converged(convergence, plan),
        *_few_runs(plan),
        *_checkpoints(posterior, plan),
        *_identified(plan),
        *regime_findings(plan, _sigma(posterior)),
        *_informed(posterior, plan),
        *_prior_conflict(posterior, plan),
        *residuals,
    ]
    return Check(tuple(findings), surprising)


def _sigma(posterior: xr.Dataset) -> float:
    """The typical scale of the noise: of the population, else of the groups."""
    names = ["sigma"] if "sigma" in posterior else [v for v in posterior if v.startswith("sigma_")]
    return float(np.median([float(posterior[name].median()) for name in names]))


# -- the chains --------------------------------------------------------------------------------


def _converged(convergence: Convergence | ImportanceDiagnostics, plan: Design) -> Finding:
    if failures := convergence.failures():
        return Finding(
            "convergence",
            "failed",
            "; ".join(failures),
            "fit with more draws or tighter priors, or pool more over the groups"
            if isinstance(convergence, Convergence)
            else f"fit with {setting('engine', repr('nuts'))}",
        )
    if getattr(convergence, "moves", 0) and is_wide(plan):
        return Finding(
            "convergence",
            "caution",
            f"{convergence}; intervals of such fits can be too narrow (in simulations of sparse "
            "experts those of 90 % cover about 80 %)",
            f"fit with {setting('engine', repr('nuts'))}, which takes a minute or more",
        )
    return Finding("convergence", "passed", str(convergence))


# -- the runs and their design -----------------------------------------------------------------


def _few_runs(plan: Design) -> list[Finding]:
    n, k = len(plan.runs), sum(not plan.parameter(p).is_fixed for p in plan.law.parameters)
    what = f"{n} runs for {k} parameters"
    for g in plan.groups:
        counts = np.bincount(plan.index(g))
        pooled = all(
            not any(e.column == g for e in p.effects)
            for p in plan.parameters
            if p.name in plan.law.parameters
        )
        if not pooled and counts.min() < n:
            n = int(counts.min())
            what = f"{n} runs of {g} {plan.levels[g][counts.argmin()]!r} for {k} parameters"
    if n >= 2 * k:
        return []
    if n <= k:
        text = f"{what}: the posterior is prior-dominated, and so are intervals"
    else:
        text = f"{what}: the posterior depends strongly on the priors"
    return [
        Finding(
            "number of runs",
            "caution",
            text,
            f"state prior knowledge with {setting('priors')}, and compare a fit under wider priors",
        )
    ]


def _checkpoints(posterior: xr.Dataset, plan: Design) -> list[Finding]:
    """The correlation of the checkpoints of one run."""
    if not plan.has_series:
        return []
    n, series = len(plan.runs), plan.runs.table["series"].nunique()
    memory = float(posterior["memory"].median())
    _, gap = plan.before
    kept = float(np.median(np.exp(-gap[np.isfinite(gap)] / memory)))
    return [
        Finding(
            "checkpoints",
            "passed",
            f"{n} checkpoints of {series} run{'s' * (series > 1)} are modelled as correlated: "
            f"the correlation length of their noise is {memory:.2g} e-folds of scale, and the "
            f"correlation of neighbours is {kept:.2f}",
        ),
        *_not_as_measured(plan),
    ]


def _not_as_measured(plan: Design) -> list[Finding]:
    """Series that never rise and repeat values, so that they are not losses as measured."""
    ties = plan.ties
    if not len(ties):
        return []
    worst = ties.idxmax()
    number = (plan.runs.table["series"].astype(str) == worst).sum()
    more = f" ({len(ties)} series do so)" if len(ties) > 1 else ""
    return [
        Finding(
            "checkpoints",
            "caution",
            f"the loss of series {worst!r} never rises, and {ties.max()} of its "
            f"{number} checkpoints repeat the one before{more}: they look like "
            "running minima, or like rounded or smoothed losses, which hide the scatter of a "
            "measurement",
            "fit the losses as measured; otherwise "
            + (
                "the scatter of a new measurement in forecasts is that of its prior"
                if plan.hides_scatter
                else "forecasts of these series are too narrow for a new measurement"
            ),
        )
    ]


def _identified(plan: Design) -> list[Finding]:
    """Whether the columns vary enough, and independently enough, to identify the parameters."""
    logs = {c: np.log(v) for c, v in plan.columns.items()}
    findings = []
    for c, values in logs.items():
        sizes = len(np.unique(np.round(values / np.log(1.05))))
        if c in plan.law.settings:
            if sizes < 2:
                findings.append(
                    Finding(
                        "design",
                        "caution",
                        f"all runs have the same {c}: only the prior determines its effect",
                        f"add runs at another value of {c}",
                    )
                )
        elif sizes < FEWEST_SIZES:
            findings.append(
                Finding(
                    "design",
                    "caution",
                    f"only {sizes} distinct value{'s' * (sizes > 1)} of {c}: the curvature in {c}, "
                    "and with it the irreducible loss, is prior-dominated",
                    f"add runs at {FEWEST_SIZES - sizes} or more other values of {c}",
                )
            )
    if plan.law.allocates and all(np.ptp(v) > 0 for v in logs.values()):
        correlation = float(np.corrcoef(logs["N"], logs["D"])[0, 1])
        if abs(correlation) > COLLINEAR:
            kind = (
                "N and D rise together (compute-optimal runs only?)"
                if correlation > 0
                else "N falls where D rises (runs of one budget only?)"
            )
            findings.append(
                Finding(
                    "design",
                    "caution",
                    f"{kind}: log N and log D have a correlation of {correlation:.3f}, so their "
                    "effects on the loss are not identified, and the allocation is prior-dominated",
                    "add runs at other ratios of D to N: one model trained longer, and one shorter"
                    + _with_one_floor(plan),
                )
            )
    return findings or [
        Finding("design", "passed", "the columns vary enough, and independently enough")
    ]


def _with_one_floor(plan: Design) -> str:
    """A further remedy where floors of the groups cannot be told from their other parameters."""
    floor = next((p for p in plan.parameters if p.name == "E"), None)
    if floor is None or not floor.effects:
        return ""
    pooled = f"{floor.name}=complete" if on_command_line() else f"{{{floor.name!r}: 'complete'}}"
    return (
        f"; if the losses of all groups are of the same text and tokenizer, "
        f"{setting('pool', pooled)} gives them one irreducible loss, which narrows what is said of "
        "their differences"
    )


def _informed(posterior: xr.Dataset, plan: Design) -> list[Finding]:
    """Parameters of the law whose posterior has about the width and the median of the prior."""
    nothing, little = [], []
    for p in plan.parameters:
        if p.name not in plan.law.parameters or not p.has_population:
            continue
        if p.name in plan.law.known:
            continue
        on_link = to_link(p.prior.link, posterior[p.name])
        contraction = 1 - float(on_link.var()) / p.prior.width**2
        if abs(float(on_link.median()) - p.prior.centre) > MOVED * p.prior.width:
            continue
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
                f"the posterior of {', '.join(nothing)} is close to its prior: these runs carry "
                "almost no information about it",
                "add runs where it matters (large N and D for E), or choose the prior with care",
            )
        )
    if little:
        findings.append(
            Finding(
                "information",
                "caution",
                f"the posterior of {', '.join(little)} is prior-dominated: the runs remove only "
                "this share of the prior variance",
                "report that intervals depend on the prior",
            )
        )
    return findings or [Finding("information", "passed", "every parameter is informed by the runs")]


def _prior_conflict(posterior: xr.Dataset, plan: Design) -> list[Finding]:
    """Parameters of the law, or a noise scale, that are improbable under their priors."""
    findings = []
    for p in plan.parameters:
        if p.name not in (*plan.law.parameters, "sigma") or not p.has_population:
            continue
        distance = float(to_link(p.prior.link, posterior[p.name]).median()) - p.prior.centre
        if abs(distance) <= CONFLICT * p.prior.width:
            continue
        low, high = p.prior.interval(0.9)
        value = float(posterior[p.name].median())
        if p.name == "sigma":
            text = (
                f"the noise scale sigma is {100 * value:.3g} % of the loss, but the prior "
                f"expects {100 * low:.2g} to {100 * high:.2g} %"
            )
            remedy = (
                "check whether the law fits these runs; if their noise is known to have this "
                f"scale, state it with {setting('priors')}"
            )
        else:
            text = f"{p.name} is {value:.3g}, but the prior expects {low:.3g} to {high:.3g}"
            remedy = (
                "check whether this law fits these runs; if it does, widen the prior with "
                f"{setting('priors')}"
            )
        findings.append(Finding("prior", "caution", text, remedy))
    return findings

"""Findings about the residuals: misfit, shared scatter, outliers and influential runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.functions import student_tail
from bayescale.inference import pareto_k, smoothed
from bayescale.keywords import on_command_line, setting
from bayescale.model.design import Design
from bayescale.model.findings import Finding
from bayescale.model.posterior import at_runs, log_density
from bayescale.priors import to_link

# Thresholds were chosen on simulated tables so that each finding calls for caution on at most 5 %
# and fails on at most 1 % of clean tables: benchmarks/checks.py, with false alarms in
# benchmarks/results/checks.csv and power in checks_power.csv.
#: P-values below these, after Bonferroni's correction, call for caution and fail.
P_CAUTION, P_FAILED = 0.05, 0.005
#: A misfit fails only if it is also large. The first two are in noise scales: the root mean square
#: of a bend, and the mean residual of a group or of all runs. The third is the factor by which the
#: scatter is wrong. On a large table, the misfit of every law is significant, but small.
LARGE_BEND, LARGE_OFFSET, LARGE_RATIO = 1.0, 1.0, 1.5
#: P-values below this call for caution about shared scatter. Its tests have many degrees of
#: freedom, and sums over small clusters are less normal: a limit of .03 gave 6 % of false alarms.
P_SHARED = 0.01
#: A direction of the normal scores has a variance of 1 under the model. It is tested only if its
#: posterior variance is below this; otherwise the parameters of the law absorb it.
ABSORBED = 0.8
#: A run with more leverage than this decides its own fitted value.
LARGEST_LEVERAGE = 0.9
#: Degrees of freedom below which the tails of the noise are a misfit. Posterior medians are at
#: least 2.0 on clean tables, and at most 1.2 on tables with four times the noise that the prior
#: allows.
HEAVY_TAIL = 1.3
#: A run is an outlier if the probability of a run as far from the law, among all runs, is below the
#: second number. The noise then counts as Student t with at least the first number of degrees of
#: freedom, because a heavier tail would make any distance plausible.
LIGHTEST_TAIL, P_OUTLIER = 4.0, 0.01
SHOWN = 0.05  # smallest distance from the law, in percent, that is not shown as zero
#: A run is influential if leaving it out moves a parameter of the law by more than this many
#: posterior standard deviations, or if its leverage is above `LARGEST_LEVERAGE`. Pareto k of the
#: importance weights is no criterion: on one clean table it varied from .4 to .8 with the seed of
#: the sampler. Above `RELIABLE` the shift is a lower bound.
SHIFT, RELIABLE = 2.0, 0.7
FEWEST_CLUSTERS = 3  # of runs that share a size
FEWEST_DRAWS = 25  # to fit the tail of the importance weights
SCORE_DRAWS = 1000
NUMBERS_AT_ONCE = 2_000_000  # draws times runs, to bound memory
#: Draws times runs of all blocks, to bound the time; but at least `SCORE_DRAWS` draws are used.
NUMBERS = 8_000_000
MOST_NAMED = 8


def residual_findings(posterior: xr.Dataset, plan: Design) -> tuple[list[Finding], pd.DataFrame]:
    """All findings about the residuals, and the runs farthest from the law (`Check.surprising`)."""
    at, draws = _at_all_draws(_bounded(posterior, len(plan.runs)), plan)
    density = log_density(at)
    every = slice(None, None, max(1, len(density) // SCORE_DRAWS))
    some = {k: v[every] for k, v in at.items()}
    tail = student_tail(np.abs(some["residual"]) / some["alone"], some["nu"])
    scores = normal_scores(some["residual"], tail)
    # A leverage is a share of what the model takes for noise, neighbours included.
    allowed = student_tail(np.abs(some["residual"]) / some["sigma"], some["nu"])
    leverage = normal_scores(some["residual"], allowed).var(axis=0)
    distant = _distances(some, tail, leave_one_out(density[every]), plan)
    outliers = _outliers(distant, plan.runs.rows_are)
    findings = [
        *_misfit(some, plan, scores),
        *_shared_scatter(plan, scores),
        _influential(plan, draws, density, leverage),
        *outliers,
        _surprising(distant, plan.runs.rows_are),
    ]
    return findings, distant.drop(columns="light_tail").head(20)


def _bounded(posterior: xr.Dataset, runs: int) -> xr.Dataset:
    """Evenly spaced draws, fewer for large tables."""
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    step = min(-(-draws * runs // NUMBERS), draws // SCORE_DRAWS)
    return posterior.isel(draw=slice(None, None, max(1, step)))


def _at_all_draws(posterior: xr.Dataset, plan: Design) -> tuple[dict, dict[str, np.ndarray]]:
    """Residuals (`at_runs`) and the law's parameters on their link scale, in the same order."""
    block = max(1, NUMBERS_AT_ONCE // (len(plan.runs) * posterior.sizes["chain"]))
    parts, draws = [], []
    for start in range(0, posterior.sizes["draw"], block):
        part = posterior.isel(draw=slice(start, start + block))
        parts.append(at_runs(part, plan))
        draws.append(_law_parameters(part, plan))
    return tuple({k: np.concatenate([p[k] for p in ps]) for k in ps[0]} for ps in (parts, draws))


def _law_parameters(posterior: xr.Dataset, plan: Design) -> dict[str, np.ndarray]:
    out = {}
    for p in plan.parameters:
        if p.name not in plan.law.parameters:
            continue
        for name in [p.name, *(p.member(e) for e in p.effects)]:
            if name not in posterior:
                continue
            values = to_link(p.prior.link, posterior[name]).transpose("chain", "draw", ...)
            levels = values.coords[values.dims[2]].to_numpy() if values.ndim > 2 else [None]
            flat = values.to_numpy().reshape(-1, len(levels))
            out |= {
                name if level is None else f"{name}[{level}]": flat[:, i]
                for i, level in enumerate(levels)
            }
    return out


# -- misfit ------------------------------------------------------------------------------------


def normal_scores(residual: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """Residuals transformed to be standard normal if the model is right; (draw, run).

    `tail` is the probability of a residual as large or larger on the same side.
    """
    from scipy.special import ndtri

    return -np.sign(residual) * ndtri(np.maximum(tail, 1e-300))


def trend_p_value(scores: np.ndarray, basis: np.ndarray) -> float:
    """P-value of structure along orthonormal columns, allowing for estimated parameters.

    Let y be the projections of the normal scores on `basis`. At the true parameters they are
    standard normal. Let V be their posterior covariance, and m their posterior mean. Over tables, m
    has the covariance I - V, by the law of total covariance (exactly in a normal linear model). So
    m' (I - V)^-1 m is chi-squared. A posterior predictive p-value compares y itself with standard
    normals. It is conservative if the parameters absorb a part of y (Bayarri & Berger 2000, J. Am.
    Stat. Assoc. 95, 1127).

    Returns
    -------
    float
        1 where the parameters absorb every direction.
    """
    from scipy.special import chdtrc

    y = scores @ basis
    variance, direction = np.linalg.eigh(np.cov(y.T).reshape(basis.shape[1], -1))
    tested = variance < ABSORBED
    if not tested.any():
        return 1.0
    mean = y.mean(axis=0) @ direction[:, tested]
    return float(chdtrc(tested.sum(), (mean**2 / (1 - variance[tested])).sum()))


def scale_p_value(scores: np.ndarray, only_larger: bool = False) -> float:
    """Posterior predictive p-value of the scale of the scores, of two statistics: two-sided, or
    against a larger scale only.

    The sum of squares shows a wrong scale of normal noise. If the fit explains a wrong scale by few
    degrees of freedom, the number of scores in the central half of a normal still shows it.
    """
    from scipy.special import bdtr, chdtr, chdtrc, ndtri

    squares, n = (scores**2).sum(axis=1), scores.shape[1]
    central = (np.abs(scores) < ndtri(0.75)).sum(axis=1)
    # The probabilities of at most -1, 0, ..., n scores in the central half.
    at_most = bdtr(np.arange(-1.0, n + 1), n, 0.5)
    at_most[0] = 0
    larger = (chdtrc(n, squares), at_most[central + 1])
    smaller = () if only_larger else (chdtr(n, squares), 1 - at_most[central])
    tests = [float(p.mean()) for p in (*larger, *smaller)]
    return min(1.0, len(tests) * min(tests))


def _misfit(at, plan: Design, scores: np.ndarray) -> list[Finding]:
    """Structure of the residuals that the model does not expect."""
    tests = list(_discrepancies(at, plan, scores))
    bad = []
    for p_value, large, text, remedy in tests:
        p_value = min(1.0, p_value * len(tests))
        if p_value < P_CAUTION:
            level = "failed" if large and p_value < P_FAILED else "caution"
            bad.append(Finding("misfit", level, f"{text} ({_shown(p_value)})", remedy))
    nu = float(np.median(at["nu"]))
    if nu < HEAVY_TAIL:
        text = (
            f"the noise has only {nu:.2g} degrees of freedom: many runs lie far beyond its scale "
            f"of {100 * float(np.median(at['alone'])):.2g} % of the loss"
        )
        remedy = f"widen the prior of sigma ({setting('priors')}), and check the table for outliers"
        bad.append(Finding("misfit", "caution", text, remedy))
    along = ", ".join(f"log {c}" for c in "NDC" if c in plan.runs)
    between = "".join(f", between levels of {g}" for g in plan.groups)
    return bad or [
        Finding(
            "misfit",
            "passed",
            f"no structure is left in the residuals along {along}{between}, "
            "in their mean or in their scale",
        )
    ]


def _discrepancies(at, plan: Design, scores: np.ndarray) -> Iterator[tuple[float, bool, str, str]]:
    """All tests of the residuals: p-value, whether the misfit is large, text and remedy.

    Where many small runs have an error of the law in common, they can have structure although the
    model expects it. It is large if it exceeds the scale of the model (`allowed`) too.
    """
    allowed = np.median(at["alone"] / at["sigma"], axis=0)
    typical, n = float(np.median(at["alone"])), scores.shape[1]
    several = "a fit without --law" if on_command_line() else "bs.ensemble"
    pooling = f", or less pooling ({setting('pool')})" if plan.groups else ""
    for c in [c for c in "NDC" if c in plan.runs]:
        basis = _bend(np.log(plan.runs.table[c].to_numpy(float)))
        if basis.shape[1] == 0 or n < 2 * basis.shape[1] + 4:
            continue
        trend = basis @ (scores @ basis).mean(axis=0)
        yield (
            trend_p_value(scores, basis),
            float(np.sqrt(((trend * allowed) ** 2).mean())) > LARGE_BEND,
            f"residuals bend along log {c}: their trend spans "
            f"{100 * typical * float(np.ptp(trend)):.1f} % of the loss",
            "another law may describe them better, or the average of several "
            f"({several}){pooling}; forecasts allow for it",
        )
    for g in plan.groups:
        member = _membership(plan.index(g))
        means = (scores @ member).mean(axis=0) * member.max(axis=0)
        worst = int(np.abs(means).argmax())
        side = "above" if means[worst] > 0 else "below"
        yield (
            trend_p_value(scores, member),
            abs(means[worst]) > LARGE_OFFSET,
            f"the runs of {g} {plan.levels[g][worst]!r} as a whole lie {side} their law",
            "pool less over this column",
        )
    offset = float(np.median(at["residual"].mean(axis=0)))
    side = "above" if offset > 0 else "below"
    yield (
        trend_p_value(scores, np.full((n, 1), n**-0.5)),
        abs(float(scores.mean())) > LARGE_OFFSET,
        f"the runs as a whole lie {side} their law, by {100 * abs(np.expm1(offset)):.2g} % of the "
        "loss",
        f"widen the priors if they prevent the law from fitting the runs ({setting('priors')}); a "
        "small offset shows that the noise is skewed",
    )
    # The median, so that a single outlier does not determine the ratio.
    ratio, expected = (float(np.median(np.abs(x))) / 0.6745 for x in (scores, scores * allowed))
    yield (
        # The law may have an error in small runs. That it has none is no misfit.
        scale_p_value(scores, only_larger=plan.has_law_error),
        ratio < 1 / LARGE_RATIO or expected > LARGE_RATIO,
        f"residuals scatter {ratio:.2g} times as much as the model's noise, whose scale is "
        f"{100 * typical:.2g} % of the loss",
        f"widen the prior of sigma ({setting('priors')}), and check loss_sd",
    )


def _shared_scatter(plan: Design, scores: np.ndarray) -> list[Finding]:
    """Correlated residuals: of runs of one N, or of one N and D in several groups."""
    size, length = (
        np.round(np.log(plan.runs.table[c].to_numpy(float)) / np.log(1.05))
        if c in plan.runs
        else np.zeros(len(plan.runs))
        for c in "ND"
    )
    kinds = {"the same N": size}
    if plan.groups:
        kinds["the same N and D in different groups"] = size + 1e6 * length
    tests = {}
    for kind, key in kinds.items():
        _, index, count = np.unique(key, return_inverse=True, return_counts=True)
        member = _membership(index)[:, count > 1]
        if member.shape[1] >= FEWEST_CLUSTERS:
            tests[kind] = trend_p_value(scores, member)
    shared = [
        f"runs of {kind} ({_shown(p * len(tests))})"
        for kind, p in tests.items()
        if p * len(tests) < P_SHARED
    ]
    if not shared:
        return []
    return [
        Finding(
            "dependence",
            "caution",
            f"scatter is shared by {' and '.join(shared)}: they lie above or below the law "
            "together and carry less information than as many independent runs, and intervals for "
            "sizes not yet trained are too narrow",
            "read intervals as lower bounds on the uncertainty; groups that are not pooled "
            f"({setting('pool')}) are affected least",
        )
    ]


def _membership(index: np.ndarray) -> np.ndarray:
    """Orthonormal columns, each proportional to the indicator of a level; (run, level)."""
    member = np.eye(index.max() + 1)[index]
    return member / np.sqrt(member.sum(axis=0))


def _bend(x: np.ndarray) -> np.ndarray:
    """Orthonormal line, parabola and, over more than four values, cubic; (run, up to 3)."""
    distinct = len(np.unique(np.round(x, 6)))
    powers = np.vander(x - x.mean(), min(distinct, 4 if distinct > 4 else 3), increasing=True)
    return np.linalg.qr(powers)[0][:, 1:]


def _shown(p_value: float) -> str:
    return f"p = {p_value:.3f}" if p_value >= 0.001 else "p < 0.001"


# -- single runs -------------------------------------------------------------------------------


def leave_one_out(density: np.ndarray) -> np.ndarray:
    """Importance weights of the posteriors without each run; (draw, run).

    Pareto-smoothed: Vehtari, Gelman & Gabry 2017, arXiv:1507.04544. With fewer than `FEWEST_DRAWS`
    draws the weights are not smoothed. `density` is the log density of each run, (draw, run).
    """
    log_weights = smoothed(-density) if len(density) >= FEWEST_DRAWS else -density
    weights = np.exp(log_weights - log_weights.max(axis=0))
    return weights / weights.sum(axis=0)


def shifts(draws: dict[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Shift of each parameter if a run is left out, in posterior standard deviations.

    The posterior without the run is that with the importance weights of `leave_one_out`. Their mean
    is within the draws of the whole posterior, so of a run whose weights are unreliable the shift
    is a lower bound. A linear estimate as in Cook's distance was up to ten times the shift of a
    refit on small tables: there the leverage includes the uncertainty about the scale of the noise.

    Parameters
    ----------
    draws : dict of str to array
        Draws of each parameter on its link scale, (draw,).
    weights : array
        From `leave_one_out`, (draw, run).

    Returns
    -------
    array
        Axes (run, parameter).
    """
    values = np.stack(list(draws.values()), axis=1)
    unit = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-300)
    return weights.T @ unit


def _influential(plan: Design, draws, density: np.ndarray, leverage: np.ndarray) -> Finding:
    """Runs that decide the posterior of a parameter."""
    if len(density) < FEWEST_DRAWS:
        return Finding(
            "influence",
            "caution",
            f"{len(density)} draws are too few to measure the influence of single runs",
            "fit with more draws",
        )
    shift, k = shifts(draws, leave_one_out(density)), pareto_k(-density)
    largest = np.abs(shift).max(axis=1)
    rows = np.flatnonzero((largest > SHIFT) | (leverage > LARGEST_LEVERAGE))
    if not len(rows):
        return Finding(
            "influence",
            "passed",
            f"leaving one run out moves no parameter by more than {largest.max():.1f} posterior sd "
            f"(a caution above {SHIFT:g})",
        )
    names, labels = list(draws), plan.runs.labels()
    named = []
    for i in sorted(rows, key=lambda i: -largest[i])[:MOST_NAMED]:
        j = int(np.abs(shift[i]).argmax())
        by = f"{'' if k[i] < RELIABLE else 'at least '}{abs(shift[i, j]):.1f} posterior sd"
        moved = f"without it {names[j]} {'rises' if shift[i, j] > 0 else 'falls'} by {by}"
        own = f"{100 * min(leverage[i], 1):.0f} % of its own fitted value"
        named.append((labels[i], f"it determines {own}; {moved}"))
    more = f"; and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
    return Finding(
        "influence",
        "caution",
        f"the posterior depends on single runs: {_listed(named)}{more}",
        "fit without them and compare, or add runs near them",
        tuple(named),
    )


def _listed(rows: list[tuple[str, str]]) -> str:
    return "; ".join(f"{run} ({detail})" for run, detail in rows)


def _distances(at, tail: np.ndarray, weights: np.ndarray, plan: Design) -> pd.DataFrame:
    """The distance of each run from the fit to the other runs, the largest first.

    ``tail`` is the leave-one-out predictive probability of a distance as large or larger.
    ``light_tail`` is the same with at least `LIGHTEST_TAIL` degrees of freedom.
    """
    light, heavy = tail.copy(), at["nu"] < LIGHTEST_TAIL
    z = np.abs(at["residual"][heavy]) / at["alone"][heavy]
    light[heavy] = student_tail(z, LIGHTEST_TAIL)
    tail, light = (np.minimum((weights * 2 * p).sum(axis=0), 1) for p in (tail, light))
    frame = pd.DataFrame(
        dict(
            label=plan.runs.labels(),
            percent=100 * np.expm1((weights * at["residual"]).sum(axis=0)),
            tail=tail,
            light_tail=light,
        ),
        index=plan.runs.table.index,
    )
    return frame.sort_values("tail")


def _outliers(distant: pd.DataFrame, rows_are: str) -> list[Finding]:
    """Runs too far from the law for noise with any reasonable tail."""
    far = distant[distant["light_tail"] * len(distant) < P_OUTLIER]
    if not len(far):
        return []
    rows = [
        (r.label, f"{r.percent:+.3g} %, {_shown(min(1.0, r.light_tail * len(distant)))}")
        for r in far.head(MOST_NAMED).itertuples()
    ]
    more = f"; and {len(far) - MOST_NAMED} more" if len(far) > MOST_NAMED else ""
    return [
        Finding(
            "outlier",
            "caution",
            f"too far from the law of the other runs for noise with at least {LIGHTEST_TAIL:.0f} "
            f"degrees of freedom: {_listed(rows)}{more}",
            f"check these {rows_are}; fit without them and compare",
            tuple(rows),
        )
    ]


def _surprising(distant: pd.DataFrame, rows_are: str, most: int = 5) -> Finding:
    outlying = distant["light_tail"] * len(distant) < P_OUTLIER
    rest = distant[~outlying & (distant.percent.abs() >= SHOWN)]
    sides = []
    for side, mask in (("above", rest.percent > 0), ("below", rest.percent < 0)):
        rows = rest[mask].head(most)
        names = "; ".join(f"{r.label} ({r.percent:+.1f} %)" for r in rows.itertuples())
        sides += [f"{side} it {names}"] if len(rows) else []
    of = f"farthest from the law of the other runs{', besides outliers' if outlying.any() else ''}"
    listed = " | ".join(sides) or f"none by more than {SHOWN} %"
    return Finding("surprise", "passed", f"{of} (numbers are {rows_are}): {listed}")

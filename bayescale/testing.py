"""Tests of a scaling law: whether it has the properties that the package requires."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from bayescale.errors import LawError
from bayescale.laws import Law
from bayescale.priors import Positive, from_link, to_link

#: Number of draws from the prior, and of random runs at which a law is evaluated.
DRAWS, RUNS = 200, 60
SEED = 20220329
#: Reference scales by column; the last one is for all other columns.
SCALES = {
    "N": 1.3e9, "D": 2.6e10, "C": 2e9, "S": 4e4, "U": 1e10, "N_active": 1.3e9, "N_total": 5e9,
    "N_vocab": 5e7, "vocab": 3e4, "experts": 8.0, "granularity": 4.0, "lr": 1e-3, "batch": 5e5,
    "bits": 8.0, "streams": 4.0, "finetune": 1e5, "S1": 10.0,
    "annealed": 1.5, "decayed": 1.5, "one_plus_share_1": 1.5, "one_plus_share_2": 1.5, None: 1e9,
}  # fmt: skip
#: The lowest and the highest value of a column.
LOW, HIGH = 1e6, 1e13
RANGES = {
    "vocab": (1e3, 1e6), "experts": (1.0, 1024.0), "granularity": (1.0, 64.0), "lr": (1e-5, 1e-1),
    "batch": (1e3, 1e8), "bits": (2.0, 32.0), "streams": (1.0, 64.0), "finetune": (1e2, 1e10),
    "S1": (1e-2, 1e4), "annealed": (1.0, 2.0), "decayed": (1.0, 2.0),
    "one_plus_share_1": (1.05, 2.0), "one_plus_share_2": (1.05, 2.0),
}  # fmt: skip
#: The smallest share of prior draws whose loss at the reference scales is plausible, and the range
#: of plausible losses: in nats per token, or in multiples of the typical loss for laws whose priors
#: are relative to that loss.
PLAUSIBLE_SHARE = 0.95
PLAUSIBLE_NATS, PLAUSIBLE_SHARES = (0.3, 20.0), (0.2, 5.0)
#: Relative tolerances for one formula evaluated twice, for one curve with two sets of parameters,
#: and for constants after a numerical fit.
SAME_FORMULA, SAME_CURVE, SAME_FIT = 1e-12, 1e-9, 1e-5


def check_law(law: Law) -> None:
    """Test whether a law has the properties that fits, forecasts and allocations require.

    The same tests are applied to the laws of the package. They use 200 draws from the priors and
    values of the columns from 1e6 to 1e13:

    * the loss is finite and positive, at the medians of the priors and over all draws;
    * numpy arrays, xarray objects and PyTensor graphs give the same losses, and every gradient is
      finite;
    * the loss does not rise in a column that is declared `falling`;
    * `optimum`, if given, minimises the loss at fixed N times D;
    * `constants`, if given, describe the same curve in raw units and do not depend on the reference
      scales;
    * the loss is linear in `amplitude` and `floor`, and the amplitude multiplies the loss above the
      floor;
    * published constants give finite, positive losses;
    * losses at the reference scales are plausible under the priors: 95 % of them lie between 0.3
      and 20 nats, or between 0.2 and 5 times the typical loss if priors are relative to that loss.

    Parameters
    ----------
    law : Law

    Returns
    -------
    None

    Raises
    ------
    LawError
        Naming every requirement that is not met.

    Examples
    --------
    >>> import bayescale as bs
    >>> bs.testing.check_law(bs.laws.chinchilla)
    >>> def loss(D, *, A, alpha):
    ...     return A * D**alpha
    >>> priors = dict(A=bs.Positive(3), alpha=bs.Positive(0.1))
    >>> rising = bs.Law("rising", loss, priors, "an example", falling=("D",))
    >>> bs.testing.check_law(rising)
    Traceback (most recent call last):
    ...
    bayescale.errors.LawError: law 'rising': the loss rises in D, which is declared falling
    """
    if not isinstance(law, Law):
        raise LawError(f"expected a Law, got {type(law).__name__}: look it up with laws.get(name)")
    # Overflow is reported as a loss that is not finite.
    with np.errstate(all="ignore"):
        try:
            problems = list(_finite(law))
        except Exception as error:
            problems = [f"the formula fails on numpy arrays ({_short(error)})"]
        if not problems:  # every other test compares finite losses
            for part in (_agreement, _falling, _optimum, _constants, _linear, _published, _prior):
                try:
                    problems += part(law)
                except Exception as error:  # a user's function may raise anything
                    problems.append(
                        f"{part.__doc__.split(':')[0]} cannot be tested ({_short(error)})"
                    )
    if problems:
        raise LawError(problems, where=f"law {law.name!r}")


def prior_draws(law: Law, draws: int = DRAWS, share: float = 1.0) -> dict[str, np.ndarray]:
    """Draws of every parameter from its prior, on the natural scale; each of shape (draw,).

    The standard deviation on the link scale is `share` times that of the prior.
    """
    rng = np.random.default_rng(SEED)
    return {
        name: from_link(prior.link, prior.centre + share * prior.width * rng.standard_normal(draws))
        for name, prior in law.priors.items()
    }


def scales(law: Law) -> dict[str, float]:
    """Reference scales of the law's columns."""
    return law.tied(centres(law))


def centres(law: Law) -> dict[str, float]:
    """Values of the law's columns at the centre of typical runs."""
    return {c: SCALES.get(c, SCALES[None]) for c in law.columns}


def columns(law: Law) -> dict[str, np.ndarray]:
    """Raw values of the law's columns: random, and all combinations of extremes; each (run,)."""
    rng = np.random.default_rng(1)
    limits = [RANGES.get(c, (LOW, HIGH)) for c in law.columns]
    ends = np.array(np.meshgrid(*limits)).reshape(len(limits), -1)
    low, high = np.log(limits).T[..., None]
    inside = np.exp(rng.uniform(low, high, (len(limits), RUNS)))
    return dict(zip(law.columns, np.hstack([inside, ends]), strict=True))


def _column(draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add a trailing axis to the draws, so that they broadcast against runs."""
    return {name: values[:, None] for name, values in draws.items()}


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"


def _differ(first, second, tolerance: float = SAME_FORMULA) -> bool:
    """Whether two arrays of positive numbers differ by more than a relative tolerance."""
    first, second = np.broadcast_arrays(np.asarray(first, float), np.asarray(second, float))
    return not np.allclose(first, second, rtol=tolerance, atol=0)


def _finite(law: Law) -> Iterator[str]:
    """finite losses"""
    medians = {name: from_link(p.link, p.centre) for name, p in law.priors.items()}
    runs = columns(law)
    size = len(next(iter(runs.values())))
    for where, values, shape in (
        ("at the medians of the priors", medians, (size,)),
        ("over draws from the priors", _column(prior_draws(law)), (DRAWS, size)),
    ):
        losses = np.asarray(law(runs, scales(law), values))
        if losses.shape != shape:
            yield (
                f"the loss has shape {losses.shape} {where}, not {shape}: the formula must "
                "broadcast, and give one loss per run"
            )
        elif not np.isfinite(losses).all():
            yield f"the loss is not finite {where}"
        elif not (losses > 0).all():
            yield f"the loss is not positive {where}"


def _agreement(law: Law) -> Iterator[str]:
    """agreement of numpy, xarray and PyTensor: of losses, and finite gradients"""
    import xarray as xr

    runs, draws = columns(law), prior_draws(law)
    expected = law(runs, scales(law), _column(draws))
    try:
        named = law(
            {c: xr.DataArray(v, dims="run") for c, v in runs.items()},
            scales(law),
            {p: xr.DataArray(v, dims="draw") for p, v in draws.items()},
        ).transpose("draw", "run")
        if _differ(named, expected):
            yield "xarray objects and numpy arrays give different losses"
    except Exception as error:
        yield f"the formula fails on xarray objects ({_short(error)})"
    try:
        losses, gradients = _graph(law, runs, draws)
    except Exception as error:
        yield (
            f"the formula fails on PyTensor graphs ({_short(error)}): use operators and unary "
            "numpy functions only"
        )
        return
    if _differ(losses, expected):
        yield "PyTensor graphs and numpy arrays give different losses"
    if bad := [p for p, g in gradients.items() if not np.isfinite(g).all()]:
        yield f"the gradient is not finite in {', '.join(bad)}"
    if flat := [p for p, g in gradients.items() if not g.all()]:
        yield f"the gradient is zero in {', '.join(flat)}: no data can inform these parameters"


def _graph(law: Law, runs, draws):
    """Losses by PyTensor, (draw, run), and the gradient of their sum over runs, (draw,)."""
    import pytensor
    import pytensor.tensor as pt

    x = {c: pt.vector(c) for c in runs}
    values = {p: pt.vector(p) for p in draws}
    losses = law(x, scales(law), {p: v[:, None] for p, v in values.items()})
    slopes = pt.grad(losses.sum(), list(values.values()), disconnected_inputs="ignore")
    inputs = [*x.values(), *values.values()]
    compiled = pytensor.function(
        inputs, [losses, *slopes], mode="FAST_COMPILE", on_unused_input="ignore"
    )
    losses, *slopes = compiled(*runs.values(), *draws.values())
    return losses, dict(zip(draws, slopes, strict=True))


def _falling(law: Law) -> Iterator[str]:
    """falling columns"""
    draws = _column(prior_draws(law))
    for column in law.falling:
        runs = {c: np.float64(centres(law)[c] if c in RANGES else 3e9) for c in law.columns}
        runs[column] = np.geomspace(*RANGES.get(column, (LOW, HIGH)), 71)
        losses = law(runs, scales(law), draws)
        # A loss that has reached its floor may increase by a rounding error.
        if not (np.diff(losses) <= 1e-13 * losses[:, 1:]).all():
            yield f"the loss rises in {column}, which is declared falling"
        elif not (losses[:, 0] > losses[:, -1]).all():
            yield f"the loss does not fall in {column}, which is declared falling"


def _optimum(law: Law) -> Iterator[str]:
    """the optimum"""
    if law.optimum is None:
        return
    if not law.allocates:
        yield f"there is an optimum, but the columns are {', '.join(law.columns)}, not N and D"
        return
    draws, reference = _column(prior_draws(law)), scales(law)
    for ND in (1e16, 1e19, 1e22, 1e25):
        best = law.optimum(ND / (reference["N"] * reference["D"]), **draws) * reference["N"]
        lowest = law({"N": best, "D": ND / best}, reference, draws)
        near, far = best * np.geomspace(1e-3, 1e3, 1201), np.geomspace(1e2, 1e16, 1401)[None]
        for N in (near, far):
            if not (lowest <= law({"N": N, "D": ND / N}, reference, draws) * (1 + 1e-9)).all():
                yield "the optimum does not minimise the loss at fixed N times D"
                return


def _constants(law: Law) -> Iterator[str]:
    """the constants"""
    if law.constants is None:
        return
    draws, reference = prior_draws(law), scales(law)
    quoted = law.constants(*reference.values(), **draws)
    if set(quoted) <= set(law.parameters):
        # The constants are the parameters at reference scales of 1.
        point, unit = {c: 3.7 * v for c, v in reference.items()}, dict.fromkeys(law.columns, 1.0)
        if _differ(law(point, unit, {**draws, **quoted}), law(point, reference, draws), SAME_CURVE):
            yield "the constants do not give the losses of the parameters they are computed from"
        return
    for factors in ((3.0, 3.0), (3.0, 0.5)):
        other = {c: v * factors[i % 2] for i, (c, v) in enumerate(reference.items())}
        other = law.tied(other)
        values = {p: v[0] for p, v in prior_draws(law, 1, share=0.3).items()}
        rescaled = _rescaled(law, values, reference, other)
        if rescaled is None:
            yield (
                "the curve depends on the units of the columns: no parameters give it at other "
                "reference scales"
            )
            return
        before = law.constants(*reference.values(), **values)
        after = law.constants(*other.values(), **rescaled)
        if changed := [k for k in before if _differ(before[k], after[k], SAME_FIT)]:
            yield f"the constants {', '.join(changed)} change with the reference scales"
            return


def _rescaled(law: Law, values, scales, other) -> dict[str, float] | None:
    """Fit parameters at the scales `other` to the curve that `values` give at `scales`.

    The fit is by least squares; None if no parameters give that curve.
    """
    from scipy.optimize import least_squares

    links = {p: prior.link for p, prior in law.priors.items()}
    runs = columns(law)
    expected = np.log(law(runs, scales, values))

    def parameters(x):
        return {p: from_link(link, v) for (p, link), v in zip(links.items(), x, strict=True)}

    start = [to_link(link, values[p]) for p, link in links.items()]
    fitted = least_squares(
        lambda x: np.log(law(runs, other, parameters(x))) - expected,
        start, jac="3-point", xtol=1e-15, ftol=1e-15, gtol=1e-15,
    )  # fmt: skip
    return parameters(fitted.x) if np.abs(fitted.fun).max() < SAME_CURVE else None


def _linear(law: Law) -> Iterator[str]:
    """amplitude and floor"""
    if law.amplitude is None:
        return
    draws, runs = _column(prior_draws(law)), columns(law)

    def loss(amplitude: float, floor: float):
        """The loss with the drawn amplitude and floor multiplied by these factors."""
        values = dict(draws)
        values[law.amplitude] = amplitude * draws[law.amplitude]
        if law.floor:
            values[law.floor] = floor * draws[law.floor]
        return law(runs, scales(law), values)

    lowest = draws[law.floor] if law.floor else 0.0
    curve = loss(1, 1) - lowest
    # Differences of losses are exact to rounding of the losses.
    if not np.allclose(loss(3, 1), lowest + 3 * curve, rtol=SAME_CURVE):
        above = f" above the floor {law.floor!r}" if law.floor else ""
        yield f"the loss{above} is not proportional to the amplitude {law.amplitude!r}"
    if law.floor and not np.allclose(loss(1, 3), 3 * lowest + curve, rtol=SAME_CURVE):
        yield f"the floor {law.floor!r} is not added to the loss"


def _published(law: Law) -> Iterator[str]:
    """the published constants"""
    for point in law.published:
        losses = np.asarray(law.at(point, **columns(law)))
        if not (np.isfinite(losses) & (losses > 0)).all():
            yield f"published[{point!r}] gives losses that are not finite and positive"


def _prior(law: Law) -> Iterator[str]:
    """the priors"""
    of_loss = any(isinstance(p, Positive) and p.of == "loss" for p in law.priors.values())
    low, high = PLAUSIBLE_SHARES if of_loss else PLAUSIBLE_NATS
    unit = "typical losses" if of_loss else "nats"
    losses = np.asarray(law(centres(law), scales(law), prior_draws(law, 1000)))
    share = float(((losses > low) & (losses < high)).mean())
    if share < PLAUSIBLE_SHARE:
        yield (
            f"the priors put {100 * share:.0f} % of the losses at the reference scales between "
            f"{low:g} and {high:g} {unit}, at least {100 * PLAUSIBLE_SHARE:.0f} % are needed: "
            "change the medians or the spreads"
        )

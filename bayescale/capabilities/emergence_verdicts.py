"""Verdicts on tasks, from probabilities of kinds of curves and from their shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bayescale.capabilities.emergence_priors import SMOOTH_KINDS
from bayescale.capabilities.emergence_shapes import Posterior, Shapes

SMOOTH = "smooth"
MEASURED = "emergent as measured, smooth underneath"
LATE = "late start"
ABRUPT = "abrupt change"
GRADUAL = "gradual change"
EMERGENT = "emergent as measured"
CHANGE = "abrupt or gradual change"
UNKNOWN = "cannot be told"
#: Verdicts that exclude each other: their probabilities sum to one.
SPECIFIC = (SMOOTH, MEASURED, LATE, ABRUPT, GRADUAL)
#: The closed set of verdicts. `SMOOTH` is also given where it is open whether the rise of an
#: unbroken law counts as emergent. `CHANGE` leaves open which kind of departure it is; `EMERGENT`
#: says nothing about the law underneath.
VERDICTS = (*SPECIFIC, CHANGE, EMERGENT, UNKNOWN)
#: Smallest probability of a verdict other than `UNKNOWN`.
TOLD = 0.8
#: A departure is denied below this probability.
UNBROKEN = 0.2
#: Probability of the interval of x in which more models are asked for.
WHERE = 0.8
#: More questions are asked for if their noise is at least this share of the variance.
QUESTIONS_MATTER = 0.3


def probabilities(
    underneath: Posterior, plotted: Shapes, *, has_continuous: bool = False
) -> dict[str, float]:
    """Probability of each verdict except `UNKNOWN`.

    Parameters
    ----------
    underneath : Posterior
        Of the continuous metric if there is one, otherwise of the score itself.
    plotted : Shapes
        Of the score as plotted.
    has_continuous : bool
        Whether `underneath` is of another metric than `plotted`.
    """
    p = underneath.probability
    smooth = sum(p[kind] for kind in SMOOTH_KINDS)
    # A score whose own law is unbroken, or any score over an unbroken continuous metric.
    rows = has_continuous | np.isin(plotted.kind, SMOOTH_KINDS)
    emergent = float(plotted.is_emergent[rows].mean()) if rows.any() else 0.0
    return {
        SMOOTH: smooth * (1 - emergent),
        MEASURED: smooth * emergent,
        LATE: p["late"],
        ABRUPT: p["break"],
        GRADUAL: p["drift"],
    }


def decide(probability: Mapping[str, float], emergent: float) -> tuple[str, float]:
    """The most specific verdict with a probability of at least `TOLD`, and its probability.

    Parameters
    ----------
    probability : mapping
        As from `probabilities`.
    emergent : float
        Probability that the score is emergent as plotted.
    """
    best = max(probability, key=probability.__getitem__)
    if probability[best] >= TOLD:
        return best, probability[best]
    departs = departure(probability)
    general = {CHANGE: departs, EMERGENT: emergent, SMOOTH: 1 - departs}
    verdict = max(general, key=general.__getitem__)
    if general[verdict] >= TOLD:
        return verdict, general[verdict]
    return UNKNOWN, probability[best]


def departure(probability: Mapping[str, float]) -> float:
    """Probability that the curve is not that of an unbroken law."""
    return probability[LATE] + probability[ABRUPT] + probability[GRADUAL]


def what_would_tell(
    underneath: Posterior,
    plotted: Shapes,
    of_underneath: Shapes,
    probability: Mapping[str, float],
    *,
    x: str,
    has_continuous: bool,
) -> str:
    """Data that would make a verdict possible, as part of a sentence."""
    wishes = []
    departs = departure(probability)
    places = of_underneath.place[np.isfinite(of_underneath.place)]
    if departs > UNBROKEN and len(places) >= 10:
        low, high = np.quantile(places, [(1 - WHERE) / 2, (1 + WHERE) / 2])
        wishes.append(f"models between {x} = {compact(10**low)} and {compact(10**high)}")
    if UNBROKEN < departs < TOLD and _questions_matter(underneath, of_underneath):
        wishes.append("more questions")
    if not has_continuous and plotted.is_emergent.mean() > 0.5:
        wishes.append("a continuous metric")
    return " or ".join(wishes or ["more models"])


def _questions_matter(posterior: Posterior, shapes: Shapes) -> bool:
    """Whether the questions contribute much of the noise in the middle of the rise."""
    curve = posterior.curve
    if not curve.is_accuracy or not np.isfinite(curve.n).all():
        return False
    residual = curve.y - np.interp(
        (curve.s + curve.middle) / np.log(10), shapes.grid, np.median(shapes.mean, axis=0)
    )
    q = np.clip(curve.y, 0.5 / curve.n, 1 - 0.5 / curve.n)
    return bool((q * (1 - q) / curve.n).mean() > QUESTIONS_MATTER * (residual**2).mean())


def compact(value: float) -> str:
    """A number with two digits, such as ``2.3e22``."""
    if not np.isfinite(value):
        return "-"
    text = f"{value:.1e}" if value >= 1e5 or value < 1e-2 else f"{value:.3g}"
    return text.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def sentence(
    row: Mapping[str, object], probability: Mapping[str, float], tell: str, smallest: float
) -> str:
    """The sentence of a task.

    Parameters
    ----------
    row : mapping
        A row of `Emergence.summary`.
    probability : mapping
        As from `probabilities`.
    tell : str
        As from `what_would_tell`.
    smallest : float
        x of the smallest model. An onset there may have come before.
    """
    verdict, emergent = str(row["verdict"]), float(row["P(emergent as plotted)"])
    departs = departure(probability)
    kinds = [f"abruptly ({probability[ABRUPT]:.2f})", f"gradually ({probability[GRADUAL]:.2f})"]
    if probability[LATE] > 0.1:
        kinds.append(f"by a late start ({probability[LATE]:.2f})")
    parts = [verdict]
    if verdict != UNKNOWN:
        parts = [f"{verdict} (P = {row['P(verdict)']:.2f})"]
    if verdict == EMERGENT and departs >= TOLD:
        parts.append(f"no single smooth curve fits all models (P = {departs:.2f})")
    if verdict in (CHANGE, EMERGENT) and departs >= TOLD:
        parts.append(f"the change came {' or '.join(kinds)}; {tell} would tell")
    elif verdict in (EMERGENT, UNKNOWN):
        parts.append(
            f"P(no single smooth curve fits all models) = {departs:.2f}; {tell} would tell"
        )
    if row["P(flattening)"] > 0.5:
        parts.append(
            "the log odds flatten with scale, as they do if they are linear in a loss "
            f"(P = {row['P(flattening)']:.2f})"
        )
    if emergent >= 0.5 and verdict not in (MEASURED, EMERGENT):
        parts.append(f"emergent as plotted (P = {emergent:.2f})")
    if emergent >= 0.5 and row["onset"] <= smallest:
        parts.append(f"onset at or below the smallest model ({compact(smallest)})")
    elif emergent >= 0.5 and np.isfinite(float(row["onset"])):
        low = compact(row["onset_low"])
        if row["onset_low"] <= smallest:
            low = f"at or below the smallest model, {compact(smallest)},"
        parts.append(f"onset at {compact(row['onset'])} ({low} to {compact(row['onset_high'])})")
    if emergent >= 0.5 and np.isfinite(float(row["sharpness"])):
        parts.append(f"{100 * float(row['sharpness']):.0f} % of the rise in one decade")
    return "; ".join(parts)

"""Verdicts on tasks, from probabilities of kinds of curves and from their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bayescale.capabilities.emergence_priors import SMOOTH_KINDS
from bayescale.capabilities.emergence_shapes import ACCELERATION, Posterior, Shapes

if TYPE_CHECKING:
    import pandas as pd

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
#: smooth law counts as emergent. `CHANGE` leaves open which kind of departure it is; `EMERGENT`
#: says nothing about the law underneath.
VERDICTS = (*SPECIFIC, CHANGE, EMERGENT, UNKNOWN)
#: Smallest probability of a verdict other than `UNKNOWN`.
TOLD = 0.8
#: A departure is denied below this probability.
UNBROKEN = 0.2
#: More tasks than this are counted, not named.
MOST_NAMES = 4
#: Probability of the interval of x in which more models are asked for.
WHERE = 0.8
#: A kind of change that is not more probable than this is not named as a possibility.
RARE = 0.05
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
    # A score whose own law is smooth, or any score over a continuous metric with a smooth law.
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

    That no verdict is so probable has no probability, and NaN stands for it.

    Parameters
    ----------
    probability : mapping
        As from `probabilities`.
    emergent : float
        Probability that the score is emergent as measured.
    """
    best = max(probability, key=probability.__getitem__)
    if probability[best] >= TOLD:
        return best, probability[best]
    departs = departure(probability)
    general = {CHANGE: departs, EMERGENT: emergent, SMOOTH: 1 - departs}
    verdict = max(general, key=general.__getitem__)
    if general[verdict] >= TOLD:
        return verdict, general[verdict]
    return UNKNOWN, np.nan


def departure(probability: Mapping[str, float]) -> float:
    """Probability that the curve is not that of one smooth law."""
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
        wishes.append(f"more models between {x} = {compact(10**low)} and {compact(10**high)}")
    if UNBROKEN < departs < TOLD and _questions_matter(underneath, of_underneath):
        wishes.append("more questions")
    if not has_continuous and plotted.is_emergent.mean() > 0.5:
        wishes.append("a continuous metric such as a Brier score")
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
    row: Mapping[str, object],
    probability: Mapping[str, float],
    tell: str,
    smallest: float,
    *,
    prob: float = 0.9,
    x: str = "C",
    loss: str = "",
    metric: str = "",
) -> str:
    """The sentence of a task: the verdict, and what is known of its two questions.

    They are whether the score rises sharply, and whether one smooth law fits all models. The number
    after a statement is the probability that it is true.

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
    prob : float
        Probability of the intervals in `row`.
    x, loss, metric : str
        Names of the scale, of the score if it is a loss, and of the continuous metric if there is
        one.
    """
    verdict = str(row["verdict"])
    law = _of_law(row, probability, tell, x, loss, metric)
    rise = _of_rise(row, smallest, prob, x, loss)
    if verdict == UNKNOWN:
        return f"{UNKNOWN}: {law}; {rise}"
    first, second = (rise, law) if verdict in (MEASURED, EMERGENT) else (law, rise)
    return f"{verdict} (P = {row['P(verdict)']:.2f}): {first}; {second}"


def _of_law(row, probability, tell: str, x: str, loss: str, metric: str) -> str:
    """Whether one smooth law fits all models, and if none does, what changes."""
    verdict, departs = str(row["verdict"]), departure(probability)
    of = metric or ("the log odds" if verdict == MEASURED and not loss else "")
    law = f"smooth law of {of}" if of else "smooth law"
    if departs >= TOLD:
        text = f"no single {law} fits all models (P = {departs:.2f})"
        how = {
            ABRUPT: f"the slope changes at one {x}",
            GRADUAL: f"the slope drifts along {x}",
            LATE: f"scores are at chance up to one {x} and follow a smooth law from there",
        }
        if verdict in how:
            return f"{text}, since {how[verdict]}"
        kinds = (("abruptly", ABRUPT), ("gradually", GRADUAL), ("by a late start", LATE))
        likely = [f"{k} (P = {probability[v]:.2f})" for k, v in kinds if probability[v] > RARE]
        return f"{text}; it changes {' or '.join(likely)}, and {tell} would tell"
    if departs <= UNBROKEN:
        text = f"one {law} fits all models (P = {1 - departs:.2f})"
    else:
        unknown = "" if verdict == UNKNOWN else f" {UNKNOWN}"
        text = (
            f"whether one {law} fits all models{unknown} (P = {1 - departs:.2f} that one does; "
            f"{tell} would tell)"
        )
    if row["P(flattening)"] > 0.5:
        text += (
            "; the log odds flatten with scale, as they do if they are linear in a loss "
            f"(P = {row['P(flattening)']:.2f})"
        )
    return text


def _of_rise(row, smallest: float, prob: float, x: str, loss: str) -> str:
    """Whether the score rises sharply, and if it is likely to, how sharply and from which x on."""
    verdict, emergent = str(row["verdict"]), float(row["P(emergent as measured)"])
    noun, rise = (loss, "fall") if loss else ("score", "rise")
    if verdict == EMERGENT:
        text = f"the {noun} {rise}s sharply"
    elif emergent >= TOLD:
        also = "" if verdict == MEASURED else ", so it is emergent as measured"
        text = f"the {noun} {rise}s sharply{also} (P = {emergent:.2f})"
    elif emergent <= UNBROKEN:
        text = (
            f"the {noun} does not {rise} sharply, so it is not emergent as measured "
            f"(P = {1 - emergent:.2f})"
        )
    else:
        text = (
            f"whether the {noun} {rise}s sharply, so that it is emergent as measured, {UNKNOWN} "
            f"(P = {emergent:.2f} that it does)"
        )
    if emergent < 0.5:
        return text
    if np.isfinite(float(row["sharpness"])):
        text += f", {100 * float(row['sharpness']):.0f} % of the {rise} within one decade of {x}"
    if row["onset"] <= smallest:
        text += f", above chance from the smallest model on ({x} = {compact(smallest)})"
    elif np.isfinite(float(row["onset"])):
        low, high = compact(row["onset_low"]), compact(row["onset_high"])
        if row["onset_low"] <= smallest:
            low = f"the smallest model, {compact(smallest)}, or below"
        text += (
            f", above chance from {x} = {compact(row['onset'])} on "
            f"(onset; {100 * prob:g} % interval: {low} to {high})"
        )
    return text


def definitions(x: str, *, loss: str = "", metric: str = "") -> str:
    """What the sentences mean by sharply, and by a smooth law; names as in `sentence`."""
    rise, noun = ("fall", loss) if loss else ("rise", "score")
    smooth = (
        f"a power law of {metric or loss} above a floor"
        if metric or loss
        else f"log odds above chance that are straight along log {x}, or flatten as they do if "
        "they are linear in a loss; or a straight line of the score"
    )
    return (
        f"Sharply: the {rise} is at least {ACCELERATION:g} times as fast in its steepest decade of "
        f"{x} as before it; the {noun} is then emergent as measured. Smooth law: {smooth}."
    )


def overview(emergent: pd.Series, departs: pd.Series) -> str:
    """How many tasks are emergent as measured, and how many one smooth law fits.

    Parameters
    ----------
    emergent, departs : Series
        Probabilities by task; NaN for tasks that were not fitted.
    """
    return (
        f"Emergent as measured: {_answered(emergent)}, not emergent: {_answered(1 - emergent)}, "
        f"{UNKNOWN}: {_open(emergent)}. One smooth law fits all models: "
        f"{_answered(1 - departs)}, no single one does: {_answered(departs)}, {UNKNOWN}: "
        f"{_open(departs)}."
    )


def _answered(probability: pd.Series) -> str:
    """How many tasks a statement is made of, with their names if they are few."""
    tasks = probability.index[probability >= TOLD]
    names = f" ({', '.join(tasks)})" if 0 < len(tasks) <= MOST_NAMES else ""
    return f"{len(tasks)}{names}"


def _open(probability: pd.Series) -> int:
    """How many tasks are undecided, or not fitted."""
    return int((~((probability >= TOLD) | (1 - probability >= TOLD))).sum())

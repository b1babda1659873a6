"""A test of whether a break is in the model or in the metric, by comparing two metrics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import repeat

import numpy as np
import pandas as pd

from bayescale.capabilities.break_evidence import (
    SHARE_PRIOR,
    Samples,
    log_evidences,
    number_posterior,
)
from bayescale.capabilities.break_model import (
    CHANGE,
    PARTICLES,
    BreakModel,
    Curve,
    smooth_break,
)
from bayescale.capabilities.curve_table import read_curves
from bayescale.errors import RunsError
from bayescale.inference import PosteriorSample
from bayescale.progress import bar
from bayescale.seeds import settle_seed

#: A bend is detected if its probability is above this.
DETECTED = 0.5
#: Smallest power of the continuous metric for the conclusion that the bend is in the metric.
MIN_POWER = 0.8
#: Largest number of bends; a step has two.
MAX_BENDS = 2
MIN_SIMULATIONS = 10

IN_THE_METRIC = "the break is in the metric"
IN_BOTH = "both metrics bend: the metric does not explain the break"
NO_BEND = "the thresholded metric does not bend"
LOW_POWER = "inconclusive: the continuous metric has too little power to show such a bend"
TOO_FEW = "inconclusive: fewer than 6 different {x}"


@dataclass(frozen=True, eq=False)
class MetricTest:
    """A comparison of bends in two metrics of the same tasks.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per curve: ``P(bend)`` of either metric, NaN with fewer than 6 different x;
        ``power``, the probability of detecting a bend in the continuous metric with the same
        location and the same relative change of slope (NaN if the verdict does not depend on it);
        ``verdict``.
    thresholded, continuous : str
        Names of the two columns.
    random_seed : int
        The seed that was used.
    """

    table: pd.DataFrame = field(repr=False)
    thresholded: str
    continuous: str
    random_seed: int

    def __repr__(self) -> str:
        lines = [f"<Bends of {self.thresholded}, as plotted, against {self.continuous}>"]
        for label, row in self.table.iterrows():
            power = "" if np.isnan(row["power"]) else f" (power {row['power']:.2f})"
            p, q = (
                "-" if np.isnan(row[f"P(bend) {y}"]) else f"{row[f'P(bend) {y}']:.2f}"
                for y in (self.thresholded, self.continuous)
            )
            lines.append(f"  {label}: P(bend) {p} and {q}{power}: {row['verdict']}")
        return "\n".join(lines)


def metric_test(
    data: pd.DataFrame,
    x: str = "C",
    thresholded: str = "accuracy",
    continuous: str = "brier",
    groups: str | None = None,
    *,
    family: str | None = None,
    n_questions="n_questions",
    chance="chance",
    simulations: int = 20,
    particles: int = PARTICLES,
    random_seed: int | None = None,
    executor=None,
    progressbar: bool | None = None,
) -> MetricTest:
    """Test whether a break is in the model or in the metric.

    An accuracy that requires many correct tokens may rise abruptly while the model improves
    smoothly (Schaeffer, Miranda and Koyejo 2023, arXiv:2304.15004). For each metric the test
    computes the probability of a bend: for the accuracy, a deviation from a straight line in log x;
    for the continuous metric, a deviation from a power law above a floor. Drift may appear as a
    bend in either metric; `breaks` distinguishes them. The break is attributed to the metric only
    if three conditions hold. The thresholded metric bends (P > 0.5). The continuous metric does
    not. And the power of the continuous metric is at least 80 %: the share of curves, simulated in
    the continuous metric with a bend like that of the accuracy, in which the bend is detected.

    Parameters
    ----------
    data : DataFrame
        One row per model and task, with both metrics.
    x, thresholded, continuous : str
        Names of columns. The continuous metric must decrease as models improve, such as a loss or a
        Brier score.
    groups : str, optional
        Column with the label of the curve of each row.
    family, n_questions, chance, particles, random_seed, executor, progressbar
        As in `breaks`.
    simulations : int
        Number of simulated curves for the computation of the power; at least 10.

    Returns
    -------
    MetricTest

    Raises
    ------
    RunsError
        As for `breaks`, or if `simulations` is less than 10.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> x = np.geomspace(1e18, 1e21, 10)
    >>> error = 2 * (x / 1e18) ** -0.15
    >>> table = pd.DataFrame({"C": x, "brier": error, "accuracy": np.round(np.exp(-error), 3)})
    >>> test = bs.metric_test(
    ...     table, n_questions=1000, chance=0.0, particles=64, simulations=10, random_seed=1
    ... )
    >>> list(test.table.columns)
    ['P(bend) accuracy', 'P(bend) brier', 'power', 'verdict']
    """
    if simulations < MIN_SIMULATIONS:
        raise RunsError(f"simulations is {simulations!r}: give at least {MIN_SIMULATIONS}")
    random_seed = settle_seed(random_seed)
    shared = dict(x=x, groups=groups, family=family, n_questions=n_questions, chance=chance)
    first = read_curves(data, y=thresholded, metric="accuracy", scale="plotted", **shared).curves
    second = read_curves(data, y=continuous, metric="brier", **shared).curves
    run = executor.map if executor is not None else map
    rows = {}
    with bar(progressbar) as step:
        for i, label in enumerate(first):
            step(f"comparing the metrics of {label}", i, len(first))
            pair = first[label], second[label]
            samples = list(
                run(_sample_bends, pair, repeat(particles), [[random_seed, i, j] for j in (0, 1)])
            )
            p, q = (_probability(curve_samples) for curve_samples in samples)
            power = np.nan
            if p > DETECTED >= q:
                rng = np.random.default_rng([random_seed, i, 2])
                simulated = _simulate_bend(
                    pair[0], samples[0], pair[1], samples[1], simulations, rng
                )
                found = run(
                    _sample_bends,
                    simulated,
                    repeat(particles // 2),
                    [[random_seed, i, 3, j] for j in range(simulations)],
                )
                power = float(np.mean([_probability(s) > DETECTED for s in found]))
            rows[label] = {
                f"P(bend) {thresholded}": p,
                f"P(bend) {continuous}": q,
                "power": power,
                "verdict": _verdict(p, q, power).format(x=x),
            }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")
    return MetricTest(table, thresholded, continuous, random_seed)


def _verdict(p: float, q: float, power: float) -> str:
    """The conclusion from P(bend) of the thresholded and of the continuous metric."""
    if p <= DETECTED:
        return NO_BEND
    if np.isnan(p) or np.isnan(q):
        return TOO_FEW
    if q > DETECTED:
        return IN_BOTH
    return IN_THE_METRIC if power >= MIN_POWER else LOW_POWER


def _sample_bends(
    curve: Curve, particles: int, seed: list[int]
) -> dict[tuple[int, bool], PosteriorSample]:
    """Samples of a curve with 0, 1, ... bends and no drift; see `break_evidence.sample_curve`."""
    rng = np.random.default_rng(seed)
    return {
        (k, False): BreakModel(curve, k, drift=False).sample(rng, particles)
        for k in range(min(MAX_BENDS, curve.max_breaks) + 1)
        if k == 0 or BreakModel(curve, k).identifiable
    }


def _probability(samples: Samples) -> float:
    """P(at least one bend), at the prior mean of the share of curves with breaks."""
    share = SHARE_PRIOR[0] / sum(SHARE_PRIOR)
    evidences = log_evidences(samples, drift=False)
    return float(1 - number_posterior(*evidences, np.array([share]), np.ones(1))[0])


def _simulate_bend(
    bent: Curve, bent_samples: Samples, curve: Curve, samples: Samples, n: int, rng
) -> list[Curve]:
    """Simulated curves of one metric with the bend of another metric.

    Parameters
    ----------
    bent, bent_samples
        The curve with the bend, and its samples: they give location, width and relative change of
        slope.
    curve, samples
        The curve to whose law without breaks the bend is added, and its samples.
    n : int
        Number of simulations.
    rng : numpy.random.Generator
    """
    model, positions, coefficients = _draw(bent, 1, bent_samples, n, rng)
    location = model.locations(positions)[:, 0] + bent.middle - curve.middle
    width = model.widths(positions)[:, 0]
    before, change = model.slopes(positions, coefficients)
    steepest = np.maximum(abs(before), abs(before + change[:, 0]))
    relative_change = change[:, 0] / np.maximum(steepest, 1e-12)
    model, positions, coefficients = _draw(curve, 0, samples, n, rng)
    slope, _ = model.slopes(positions, coefficients)
    # The slope of the law without a bend is the mean of the slopes on both sides of the bend.
    shape = smooth_break(curve.s, location[:, None], width[:, None]) - 0.5 * curve.s
    eta = model.eta(positions, coefficients, curve.s, curve.family)
    eta = eta + (CHANGE * relative_change * slope)[:, None] * shape
    y = curve.metric.draw(eta, model.hyperparameters(positions), rng)
    return [replace(curve, metric=replace(curve.metric, y=row)) for row in y]


def _draw(curve: Curve, n_breaks: int, samples: Samples, n: int, rng):
    """A model without drift, and positions and coefficients of `n` posterior draws."""
    sample = samples[n_breaks, False]
    pick = rng.integers(len(sample.positions), size=n)
    model = BreakModel(curve, n_breaks, drift=False)
    return model, sample.positions[pick], sample.auxiliary[pick]

"""Is a bend in the model, or in the metric? Two metrics of the same tasks against each other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from bayescale.capabilities.break_evidence import SHARE, evidence_of, posterior_of, read_curves
from bayescale.capabilities.break_model import CHANGE, PARTICLES, Bends, Curve, bend
from bayescale.errors import RunsError
from bayescale.inference import Cloud
from bayescale.progress import bar

#: From this probability on a bend is said to be there.
THERE = 0.5
#: A metric without a bend speaks against one only if it would have shown it this often.
ENOUGH = 0.8
#: How many bends are tried: a step is two.
MOST_BENDS = 2

IN_THE_METRIC = "the break is in the metric"
IN_BOTH = "both metrics bend: it is not the metric's making"
NOWHERE = "the thresholded metric does not bend"
CANNOT_TELL = "cannot tell: the continuous metric would not have shown such a bend"


@dataclass(frozen=True, eq=False)
class MetricTest:
    """What two metrics of the same tasks say of bends.

    Attributes
    ----------
    table : pandas.DataFrame
        By task: ``P(bend)`` in either metric; ``power``, how often the continuous one would have
        shown a bend at the place of the thresholded one's and as large beside its own slope (NaN
        where the question does not arise); ``verdict``.
    thresholded, continuous : str
        The two columns.
    """

    table: pd.DataFrame = field(repr=False)
    thresholded: str
    continuous: str

    def __repr__(self) -> str:
        lines = [f"<Bends of {self.thresholded}, as plotted, against {self.continuous}>"]
        for task, row in self.table.iterrows():
            power = "" if np.isnan(row["power"]) else f" (power {row['power']:.2f})"
            lines.append(
                f"  {task}: P(bend) {row[f'P(bend) {self.thresholded}']:.2f} and "
                f"{row[f'P(bend) {self.continuous}']:.2f}{power}: {row['verdict']}"
            )
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
    random_seed: int = 1,
    executor=None,
    progressbar: bool | None = None,
) -> MetricTest:
    """Ask of two metrics of the same tasks whether a break is in the metric.

    An accuracy that needs many tokens to be right at once may turn a corner where the model gets
    evenly better (Schaeffer, Miranda and Koyejo 2023, arXiv:2304.15004). Here the claim is taken as
    it is made: does accuracy, as plotted, depart from a straight line in log x? And does the
    continuous metric depart from its own straight law? Drift counts as a bend in either; `breaks`
    tells them apart. The break is called the metric's only if the thresholded metric bends
    (P > .5), the continuous one does not, and the continuous one had the power to show it:
    simulated with such a bend, it would have been found in at least 80 % of cases.

    Parameters
    ----------
    data : DataFrame
        One row per model and task, with both metrics.
    x, thresholded, continuous : str
        Columns. The continuous metric falls as models improve, as a loss or a Brier score.
    groups : str, optional
        The column of tasks.
    family, n_questions, chance, particles, random_seed, executor, progressbar
        As in `breaks`.
    simulations : int
        For the power, where it matters.

    Returns
    -------
    MetricTest

    Raises
    ------
    RunsError
        As `breaks`, or if `simulations` is not at least 10.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> x = np.geomspace(1e18, 1e21, 10)
    >>> error = 2 * (x / 1e18) ** -0.15
    >>> table = pd.DataFrame({"C": x, "brier": error, "accuracy": np.round(np.exp(-error), 3)})
    >>> said = bs.metric_test(table, n_questions=1000, chance=0.0, particles=64, simulations=10)
    >>> list(said.table.columns)
    ['P(bend) accuracy', 'P(bend) brier', 'power', 'verdict']
    """
    if simulations < 10:
        raise RunsError(f"simulations is {simulations!r}: give at least 10")
    shared = dict(x=x, groups=groups, family=family, n_questions=n_questions, chance=chance)
    first = read_curves(data, y=thresholded, metric="accuracy", scale="plotted", **shared).curves
    second = read_curves(data, y=continuous, metric="brier", **shared).curves
    run = executor.map if executor is not None else map
    rows = {}
    with bar(progressbar) as step:
        for i, task in enumerate(first):
            step(f"bending {task}", i, len(first))
            ours, theirs = run(
                _bent,
                [
                    (curve, particles, [random_seed, i, j])
                    for j, curve in enumerate((first[task], second[task]))
                ],
            )
            p, q = _probability(ours), _probability(theirs)
            power = np.nan
            if p > THERE >= q:
                fakes = _bent_alike(
                    first[task],
                    ours,
                    second[task],
                    theirs,
                    simulations,
                    np.random.default_rng([random_seed, i, 2]),
                )
                found = run(
                    _bent,
                    [
                        (fake, particles // 2, [random_seed, i, 3, j])
                        for j, fake in enumerate(fakes)
                    ],
                )
                power = float(np.mean([_probability(clouds) > THERE for clouds in found]))
            rows[task] = {
                f"P(bend) {thresholded}": p,
                f"P(bend) {continuous}": q,
                "power": power,
                "verdict": _verdict(p, q, power),
            }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("task")
    return MetricTest(table, thresholded, continuous)


def _verdict(p: float, q: float, power: float) -> str:
    if p <= THERE:
        return NOWHERE
    if q > THERE:
        return IN_BOTH
    return IN_THE_METRIC if power >= ENOUGH else CANNOT_TELL


def _bent(job) -> dict[tuple[int, bool], Cloud]:
    """A curve with so many bends and no drift."""
    curve, particles, seed = job
    rng = np.random.default_rng(seed)
    return {
        (k, False): Bends(curve, k, drift=False).evidence(rng, particles)
        for k in range(min(MOST_BENDS, curve.most) + 1)
        if k == 0 or Bends(curve, k).fits
    }


def _probability(clouds) -> float:
    """P(at least one bend), with as many of the curves bent beforehand as `breaks` takes."""
    share = SHARE[0] / sum(SHARE)
    return float(
        1 - posterior_of(*evidence_of(clouds, drift=False), np.array([share]), np.ones(1))[0]
    )


def _bent_alike(seen: Curve, seen_clouds, curve: Curve, clouds, n: int, rng) -> list[Curve]:
    """The continuous metric as its straight law has it, bent where the thresholded metric bends
    and by as much beside its own slope."""
    at, normals, law = _drawn(Bends(seen, 1, drift=False), seen_clouds[1, False], n, rng)
    place = law.places(at)[:, 0] + seen.middle - curve.middle
    before, change = law.slopes(at, normals)
    most = np.maximum(abs(before), abs(before + change[:, 0]))
    share = change[:, 0] / np.maximum(most, 1e-12)
    width = law.widths(at)[:, 0]
    at, normals, straight = _drawn(Bends(curve, 0, drift=False), clouds[0, False], n, rng)
    # Steeper by as much after the bend as the other metric is, up to nothing before it: the slope
    # that the straight law found is then the average of both sides.
    own, _ = straight.slopes(at, normals)
    shape = bend(curve.s, place[:, None], width[:, None]) - 0.5 * curve.s
    eta = straight.eta(at, normals, curve.s, curve.family)
    eta = eta + (CHANGE * share * own)[:, None] * shape
    y = curve.metric.draw(eta, straight.scalars(at), rng)
    return [replace(curve, metric=replace(curve.metric, y=row)) for row in y]


def _drawn(law: Bends, cloud: Cloud, n: int, rng):
    pick = rng.integers(len(cloud.places), size=n)
    return cloud.places[pick], cloud.kept[pick], law

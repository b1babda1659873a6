"""Curves out of a table, and the evidence for each number of breaks in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayescale.capabilities.break_model import Bends, Curve
from bayescale.capabilities.likelihoods import Accuracy, Loss, Plotted
from bayescale.data import Runs, task_table
from bayescale.errors import RunsError, unknown
from bayescale.inference import Cloud

MOST = 3  # breaks

METRICS = ("loss", "brier", "accuracy")
SCALES = {"odds": Accuracy, "plotted": Plotted}

#: The share of curves that break, before any is seen: Beta(1, 9), a mean of one in ten, as often as
#: public learning curves break over one e-fold (`bayescale.model.drift`). With three in ten, more
#: than one in twenty curves that only drift are said to break (`benchmarks/breaks.py`).
SHARE = (1.0, 9.0)
#: Each further break is a third as likely as the one before.
FURTHER = 1 / 3
#: From two breaks on, more are tried only while the last one lost no more log evidence than this.
HOPELESS = 3.0

#: A best model that has won less than this of what is above chance tells little of what is to come.
HARDLY = 0.15

GRID = (np.arange(200) + 0.5) / 200  # shares of curves that break


# -- from a table to curves ---------------------------------------------------------------------


class Read(NamedTuple):
    """Curves as they were read from a table."""

    curves: dict[str, Curve]
    metric: str
    families: tuple[str, ...]
    notes: tuple[str, ...]


def read_curves(
    data,
    *,
    x,
    y,
    groups=None,
    metric=None,
    scale="odds",
    family=None,
    n_questions="n_questions",
    chance="chance",
) -> Read:
    """The curves of a table; every problem in one error."""
    if isinstance(data, Runs):
        data = data.table
    if not isinstance(data, pd.DataFrame):
        raise RunsError(f"expected Runs or a DataFrame, got {type(data).__name__}")
    metric = metric or ("accuracy" if any(w in y.lower() for w in ("acc", "match")) else "loss")
    if metric not in METRICS:
        raise RunsError(unknown("metric", metric, METRICS))
    if scale not in SCALES:
        raise RunsError(unknown("scale", scale, SCALES))
    task = groups
    if groups is None:
        task = "curve" if "curve" not in data else "the curve"
        data = data.assign(**{task: "the curve"})
    keep = [family] if family else []
    if metric == "accuracy":
        frame, notes = task_table(
            data, y=y, task=task, n_questions=n_questions, chance=chance, needs=(x,), keep=keep
        )
        won = ((frame["y"] - frame["chance"]) / (1 - frame["chance"])).groupby(frame["task"]).max()
        if hardly := list(won.index[won < HARDLY]):
            notes.append(
                f"{', '.join(hardly)}: chance is hardly left in these rows; how fast "
                "accuracy will rise is then the prior's guess, and forecasts may miss"
            )
    else:
        frame, notes = task_table(data, y=y, task=task, metric="positive", needs=(x,), keep=keep)
        if y == "loss" and "loss_sd" in data:
            frame["loss_sd"] = data["loss_sd"].to_numpy()
    families = tuple(sorted(frame[family].astype(str).unique())) if family else ()
    place = {f: i for i, f in enumerate(families)}
    if "series" in data and data["series"].nunique() < len(data):
        notes.append(
            "checkpoints of one run are taken as independent points; where their noise is "
            "alike from one to the next, P(break) is too high"
        )
    curves = {}
    for name, own in frame.groupby("task", sort=False):
        s = np.log(own[x].to_numpy(float))
        middle = float((s.min() + s.max()) / 2)
        member = (
            own[family].astype(str).map(place).to_numpy(int) if family else np.full(len(own), -1)
        )
        curves[name] = Curve(s - middle, _seen(own, metric, scale), member, middle, len(families))
    return Read(curves, metric, families, tuple(notes))


def _seen(own: pd.DataFrame, metric: str, scale: str) -> Loss | Accuracy:
    y = own["y"].to_numpy(float)
    if metric == "accuracy":
        return SCALES[scale](y, own["n_questions"].to_numpy(float), float(own["chance"].iloc[0]))
    return Loss(y, own["loss_sd"].to_numpy(float) if "loss_sd" in own else np.zeros(len(y)))


# -- evidence -----------------------------------------------------------------------------------


def search(job) -> dict[tuple[int, bool], Cloud]:
    """Particles and evidence of a curve, for each number of breaks that is worth asking for."""
    curve, most, particles, seed = job
    rng = np.random.default_rng(seed)
    most = min(most, curve.most)
    out = {(0, drift): Bends(curve, 0, drift).evidence(rng, particles) for drift in (True, False)}
    for k in range(1, most + 1):
        if not Bends(curve, k).fits:
            break
        out[k, True] = Bends(curve, k).evidence(rng, particles)
        if k == 1:
            out[1, False] = Bends(curve, 1, drift=False).evidence(rng, particles)
        elif (
            out[k, True].log_evidence < max(out[j, True].log_evidence for j in range(k)) - HOPELESS
        ):
            break
    return out


def evidence_of(clouds: Mapping[tuple[int, bool], Cloud], drift: bool = True):
    """Log evidence of 1, 2, ... breaks weighted by how common they are, and of none."""
    found = [clouds[k, drift].log_evidence for k in range(MOST + 1) if (k, drift) in clouds]
    prior = FURTHER ** np.arange(len(found) - 1)
    return np.array(found[1:]) + np.log(prior / prior.sum()), found[0]


def error_of(clouds: Mapping[tuple[int, bool], Cloud]) -> float:
    """Standard error of the log Bayes factor of some breaks over none, as it was computed."""
    broken, _ = evidence_of(clouds)
    if not len(broken):
        return 0.0
    weight = np.exp(broken - np.logaddexp.reduce(broken))
    errors = [clouds[k, True].error for k in range(1, len(broken) + 1)]
    return float(np.hypot(np.sqrt(((weight * errors) ** 2).sum()), clouds[0, True].error))


def posterior_of(broken: np.ndarray, straight: float, grid, weight) -> np.ndarray:
    """Probability of 0, 1, ... breaks, the share of curves that break being known by weights."""
    out = np.zeros(MOST + 1)
    out[0] = 1.0
    if len(broken):
        total = np.logaddexp(np.log(grid) + np.logaddexp.reduce(broken), np.log1p(-grid) + straight)
        out[1 : 1 + len(broken)] = weight @ np.exp(np.log(grid)[:, None] + broken - total[:, None])
        out[0] = 1 - out[1:].sum()
    return out


# -- in words ------------------------------------------------------------------------------------

KINDS = ("start", "step", "bend")
#: Of all that a curve changes by: less than the first share before the break is a start; more than
#: the second, within a fifth of the range of log x and away from its ends, is a step.
FLAT, MOST_OF_IT = 0.15, 0.6
GRAIN = 60  # points that a curve is looked at

#: How many simulated curves that drift without a break were said to break (P > .5), and of how
#: many, over noise: by metric and number of points, from `benchmarks/results/breaks_alarms.csv`.
FALSE_ALARMS = {
    "loss": {8: (1, 144), 20: (0, 108), 40: (1, 42), 100: (0, 24)},
    "accuracy": {8: (0, 96), 20: (0, 72), 40: (0, 28), 100: (0, 16)},
}


def kinds(law: Bends, at, normals, places) -> np.ndarray:
    """start, step or bend, by draw: what the metric itself does before, at and after."""
    curve = law.curve
    grid = np.linspace(float(curve.s.min()), curve.end, GRAIN + 1)
    y = curve.metric.mean(law.eta(at, normals, grid, np.full(len(grid), -1)), law.scalars(at))
    moved = np.concatenate([np.zeros((len(y), 1)), abs(np.diff(y, axis=1)).cumsum(axis=1)], axis=1)
    moved /= np.maximum(moved[:, -1:], 1e-300)
    before = moved[np.arange(len(at)), np.searchsorted(grid, places.min(axis=1)) - 1]
    wide, end = GRAIN // 5, GRAIN // 10
    quick = (moved[:, wide:] - moved[:, :-wide])[:, end:-end].max(axis=1)
    return np.where(quick > MOST_OF_IT, "step", np.where(before < FLAT, "start", "bend"))


def false_alarms(metric: str, n: int) -> tuple[int, int, int]:
    """Curves that were said to break without a break, of how many, and how many points they had:
    the nearest number below `n`."""
    known = FALSE_ALARMS["accuracy" if metric == "accuracy" else "loss"]
    points = max((k for k in known if k <= n), default=min(known))
    return *known[points], points


def in_words(task: str, x: str, p: float, within: tuple[float, float], where) -> str:
    """What is said of one curve: P(break), as exact as it was computed, and the likeliest break."""
    line = f"  {task}: P(break) {p:.2f}"
    if within[0] < 0.5 < within[1]:
        line += (
            f" (computed to between {within[0]:.2f} and {within[1]:.2f}: more particles would tell)"
        )
    if p > 0.5:
        low, middle, high = np.quantile(where["x"], [0.05, 0.5, 0.95])
        common = where["kind"].value_counts(normalize=True)
        line += (
            f", a {common.index[0]} at {x} {middle:.2g} (90 %: {low:.2g} to {high:.2g}), "
            f"slope {where['before'].median():.2g} before and "
            f"{where['after'].median():.2g} after"
        )
    return line

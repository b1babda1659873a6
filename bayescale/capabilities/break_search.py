"""Where a curve breaks, how sure that is, and whether it is only drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities.break_evidence import (
    GRID,
    MOST,
    SHARE,
    error_of,
    evidence_of,
    false_alarms,
    in_words,
    kinds,
    posterior_of,
    read_curves,
    search,
)
from bayescale.capabilities.break_model import PARTICLES, Bends, Curve
from bayescale.capabilities.likelihoods import Accuracy, Loss, Plotted
from bayescale.data import Runs
from bayescale.errors import RunsError, unknown
from bayescale.inference import Cloud
from bayescale.intervals import defaults, interval
from bayescale.model import Storable
from bayescale.model import drift as drifts
from bayescale.progress import bar

DRAWS = 600  # of each curve


@dataclass(frozen=True, eq=False)
class Breaks(Storable):
    """What each curve says of breaks.

    Attributes
    ----------
    curves : mapping of str to Curve
        By task.
    clouds : mapping
        Of each task, by (number of breaks, whether there is drift), the particles of that posterior
        and its log evidence.
    x, y : str
        Columns.
    metric : {"loss", "brier", "accuracy"}
    families : tuple of str
        Labels of families, in the order of their effects.
    notes : tuple of str
        What a reader should know.
    """

    curves: Mapping[str, Curve] = field(repr=False)
    clouds: Mapping[str, Mapping[tuple[int, bool], Cloud]] = field(repr=False)
    x: str
    y: str
    metric: str
    families: tuple[str, ...]
    notes: tuple[str, ...]
    random_seed: int

    _parts = (Curve, Loss, Accuracy, Plotted, Cloud)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the curves, in the order of the table."""
        return tuple(self.curves)

    @cached_property
    def share(self) -> tuple[np.ndarray, np.ndarray]:
        """The share of curves that break: a grid, and its posterior from all tasks together."""
        a, b = SHARE
        log = (a - 1) * np.log(GRID) + (b - 1) * np.log1p(-GRID)
        for clouds in self.clouds.values():
            broken, straight = evidence_of(clouds)
            if len(broken):
                some = np.logaddexp.reduce(broken)
                log += np.logaddexp(np.log(GRID) + some, np.log1p(-GRID) + straight)
        weight = np.exp(log - log.max())
        return GRID, weight / weight.sum()

    @cached_property
    def probabilities(self) -> pd.DataFrame:
        """Probability of each number of breaks (columns), by task."""
        rows = {
            task: posterior_of(*evidence_of(clouds), *self.share)
            for task, clouds in self.clouds.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("task")

    def probability(self, task: str | None = None) -> float:
        """Probability of at least one break in the curve of a task.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> import bayescale as bs
        >>> x = np.geomspace(1e18, 1e21, 12)
        >>> straight = pd.DataFrame({"C": x, "loss": 2 + (x / 1e18) ** -0.2})
        >>> bs.breaks(straight, particles=64).probability() < 0.5
        True
        """
        return float(1 - self.probabilities.loc[self._named(task), 0])

    def _within(self, task: str) -> tuple[float, float]:
        """P(break) two standard errors of its computation lower and higher."""
        broken, straight = evidence_of(self.clouds[task])
        off = 2 * error_of(self.clouds[task])
        low, high = (
            float(1 - posterior_of(broken + d, straight, *self.share)[0]) for d in (-off, off)
        )
        return low, high

    def _named(self, task: str | None) -> str:
        if task is None and len(self.tasks) == 1:
            return self.tasks[0]
        if task not in self.curves:
            raise RunsError(unknown("task", task, self.tasks))
        return task

    @cached_property
    def _draws(self) -> dict[str, list[tuple[Bends, np.ndarray, np.ndarray]]]:
        """Of each task, draws of its curve: a part for each number of breaks, by probability."""
        rng = np.random.default_rng([self.random_seed, 1])
        out = {}
        for task, curve in self.curves.items():
            share = self.probabilities.loc[task].to_numpy()
            counts = np.floor(share * DRAWS + rng.random()).astype(int)
            parts = []
            for k, count in enumerate(counts):
                if count and (k, True) in self.clouds[task]:
                    cloud = self.clouds[task][k, True]
                    pick = rng.integers(len(cloud.places), size=count)
                    parts.append((Bends(curve, k), cloud.places[pick], cloud.kept[pick]))
            out[task] = parts
        return out

    def places(self, task: str | None = None) -> pd.DataFrame:
        """Draws of the largest break of a task, given that there is one.

        Parameters
        ----------
        task : str, optional
            May be left out where there is only one.

        Returns
        -------
        pandas.DataFrame
            One row per draw: ``x``, where the break lies; ``width`` of the bend in e-folds of x;
            ``before`` and ``after``, slopes of the unbroken parts per e-fold (of the log of the
            reducible loss, or of the log odds above chance); ``kind``: ``"start"`` (little
            happens before), ``"step"`` (most happens within a fifth of the range), ``"bend"``.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> import bayescale as bs
        >>> x = np.geomspace(1e18, 1e21, 20)
        >>> broken = pd.DataFrame({"C": x, "loss": np.where(x < 3e19, 3.0, 3 * (x / 3e19) ** -0.3)})
        >>> where = bs.breaks(broken, particles=64).places()
        >>> bool(1e19 < where["x"].median() < 1e20)
        True
        """
        task = self._named(task)
        curve = self.curves[task]
        rows = [pd.DataFrame({"x": [], "width": [], "before": [], "after": [], "kind": []})]
        for law, at, normals in self._draws[task]:
            if not law.breaks:
                continue
            places, widths = law.places(at), law.widths(at)
            before, changes = law.slopes(at, normals)
            row = np.arange(len(at))
            main = abs(changes).argmax(axis=1)
            earlier = (changes * (places < places[row, main][:, None])).sum(axis=1)
            rows.append(
                pd.DataFrame(
                    {
                        "x": np.exp(places[row, main] + curve.middle),
                        "width": widths[row, main],
                        "before": before + earlier,
                        "after": before + earlier + changes[row, main],
                        "kind": kinds(law, at, normals, places),
                    }
                )
            )
        found = [r for r in rows if len(r)]
        return pd.concat(found, ignore_index=True) if found else rows[0]

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row per task.

        Parameters
        ----------
        ci_prob, ci_kind : optional
            Probability and kind of the intervals; ArviZ's defaults.

        Returns
        -------
        pandas.DataFrame
            ``n`` points; ``P(break)`` of at least one and ``P(1)``, ``P(2)``, ``P(3)``; of the
            largest break, if there is one, ``x``, ``width``, ``before`` and ``after`` (see
            `places`) with intervals, its likeliest ``kind`` and how likely that is, ``P(kind)``;
            then log Bayes factors: ``drift_over_law`` (a drifting law against a straight one),
            ``break_over_law`` (a broken law without drift against a straight one: what one would
            claim without drift) and ``break_over_drift``, what is left of that claim beside drift,
            with ``mcse``, the standard error of its computation, which more particles make smaller;
            ``false_alarms``: how often simulated curves that drift without a break were said to
            break, of about as many points and over noise from 0.3 to 10 %.
        """
        prob, kind = defaults(ci_prob, ci_kind)
        rows = []
        for task, curve in self.curves.items():
            share = self.probabilities.loc[task]
            row = {
                "task": task,
                "n": len(curve.s),
                "P(break)": 1 - share[0],
                **{f"P({k})": share[k] for k in range(1, MOST + 1)},
            }
            where = self.places(task)
            for name in ("x", "width", "before", "after"):
                stem = f"{name}_{kind}{100 * prob:g}"
                row |= {name: np.nan, f"{stem}_lb": np.nan, f"{stem}_ub": np.nan}
                if len(where) >= 10:
                    values = where[name].to_numpy()
                    values = np.log(values) if name == "x" else values
                    low, high = (
                        float(v)
                        for v in interval(
                            xr.DataArray(values[None], dims=("chain", "draw")), prob, kind
                        )
                    )
                    three = np.array([np.median(values), low, high])
                    row |= dict(
                        zip(
                            (name, f"{stem}_lb", f"{stem}_ub"),
                            np.exp(three) if name == "x" else three,
                            strict=True,
                        )
                    )
            common = where["kind"].value_counts(normalize=True)
            row["kind"] = common.index[0] if len(common) else ""
            row["P(kind)"] = common.iloc[0] if len(common) else np.nan
            alarms, of, _ = false_alarms(self.metric, len(curve.s))
            rows.append(row | self._shared(task) | {"false_alarms": alarms / of})
        return pd.DataFrame(rows).set_index("task")

    def _shared(self, task: str) -> dict[str, float]:
        """How drift and breaks share the evidence against a straight law."""
        z = {m: c.log_evidence for m, c in self.clouds[task].items()}
        broken, straight = evidence_of(self.clouds[task])
        some = np.logaddexp.reduce(broken) if len(broken) else np.nan
        return {
            "drift_over_law": z[0, True] - z[0, False],
            "break_over_law": z.get((1, False), np.nan) - z[0, False],
            "break_over_drift": some - straight,
            "mcse": error_of(self.clouds[task]),
        }

    @cached_property
    def rate(self) -> tuple[float, float]:
        """Breaks per e-fold of x: shape and rate of a Gamma distribution, from public curves and
        from these."""
        counts = (self.probabilities * np.arange(MOST + 1)).to_numpy().sum()
        length = sum(float(np.ptp(c.s)) for c in self.curves.values())
        return 1.0 + float(counts), 1 / drifts.BREAKS + length

    def beyond(self, x) -> np.ndarray:
        """Probability of a break between the last point and each `x`.

        Nothing in a curve tells of a break to come. All there is to go on is how often curves
        break: public learning curves about once in ten e-folds, and these ones.

        Parameters
        ----------
        x : float or array_like

        Returns
        -------
        numpy.ndarray
            (task, x)
        """
        x = np.log(np.atleast_1d(np.asarray(x, float)))
        shape, length = self.rate
        far = [np.maximum(x - c.middle - c.end, 0.0) for c in self.curves.values()]
        return 1 - (length / (length + np.array(far))) ** shape

    def forecast(
        self,
        x,
        task: str | None = None,
        family: str | None = None,
        *,
        random_seed: int | None = None,
    ) -> xr.Dataset:
        """The curve of a task inside and beyond its points, breaks that may come included.

        Parameters
        ----------
        x : float or array_like
        task : str, optional
            May be left out where there is only one.
        family : str or sequence of str, optional
            Whose models; one for all `x` or one for each. None stands for a family not seen.
        random_seed : int, optional

        Returns
        -------
        xarray.Dataset
            ``mean``, the curve, and ``y``, what a new model would score; dims (chain, draw, point),
            with coordinate ``x``.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> import bayescale as bs
        >>> x = np.geomspace(1e18, 1e21, 12)
        >>> straight = pd.DataFrame({"C": x, "loss": 2 + (x / 1e18) ** -0.2})
        >>> ahead = bs.breaks(straight, particles=64).forecast([1e22])
        >>> bool(2 < ahead["mean"].median() < 2.25)
        True
        """
        task = self._named(task)
        seed = self.random_seed if random_seed is None else random_seed
        rng = np.random.default_rng([seed, 2])
        curve = self.curves[task]
        x = np.atleast_1d(np.asarray(x, float))
        s = np.log(x) - curve.middle
        member = self._members(task, family, len(x))
        means, values = [], []
        for law, at, normals in self._draws[task]:
            h = law.scalars(at)
            eta = law.eta(at, normals, s, member) + self._ahead(curve, h, s, rng)
            if curve.families:
                shift = h["family"][:, 0] * rng.standard_normal(len(at))
                eta[:, member < 0] += shift[:, None]
            means.append(curve.metric.mean(eta, h))
            values.append(curve.metric.draw(eta, h, rng))
        data = {
            name: (("chain", "draw", "point"), np.concatenate(parts)[None])
            for name, parts in (("mean", means), ("y", values))
        }
        return xr.Dataset(data, coords={"x": ("point", x)})

    def _ahead(self, curve: Curve, h, s: np.ndarray, rng) -> np.ndarray:
        """What drift goes on to add beyond the last point, and a break that may come."""
        far = np.maximum(s - curve.end, 0.0)
        slope = h["slope"][:, 0]
        left_out = np.sqrt(curve.walk[1]) * rng.standard_normal(len(slope))
        paths = np.broadcast_to(far, (len(slope), len(far)))
        walk = drifts.integrated_walk(paths, rng, start=left_out)
        shape, length = self.rate
        rate = rng.gamma(shape, 1 / length, len(slope))
        break_ = drifts.future_break(far, rate, len(slope), rng)
        return slope[:, None] * (h["drift"] * walk + break_)

    def _members(self, task: str, family, size: int) -> np.ndarray:
        """Which effect each point has; -1: of a family not seen."""
        if family is None:
            return np.full(size, -1)
        labels = [family] * size if isinstance(family, str) else list(family)
        if strange := [f for f in labels if f not in self.families]:
            raise RunsError([unknown("family", f, self.families) for f in dict.fromkeys(strange)])
        return np.array([self.families.index(f) for f in labels])

    def __repr__(self) -> str:
        lines = [f"<Breaks of {self.y} along {self.x}: {len(self.tasks)} curve(s)>"]
        lines += [
            in_words(task, self.x, self.probability(task), self._within(task), self.places(task))
            for task in self.tasks
        ]
        sizes = [len(c.s) for c in self.curves.values()]
        alarms, of, points = false_alarms(self.metric, min(sizes))
        lines.append(
            f"  Of {of} simulated curves of {points} points that drift without a break, "
            f"{alarms} were said to break (P > .5)."
        )
        return "\n".join([*lines, *(f"  Note: {n}." for n in self.notes)])


def breaks(
    data: Runs | pd.DataFrame,
    x: str = "C",
    y: str = "loss",
    groups: str | None = None,
    *,
    metric: str | None = None,
    scale: str = "odds",
    family: str | None = None,
    n_questions: str | float | Mapping[str, float] = "n_questions",
    chance: str | float | Mapping[str, float] = "chance",
    max_breaks: int = MOST,
    particles: int = PARTICLES,
    random_seed: int = 1,
    executor=None,
    progressbar: bool | None = None,
) -> Breaks:
    """Ask where curves break, and how sure that is.

    A curve is a straight line in log x on the scale of its metric (a power law above a floor; an
    accuracy whose log odds above chance grow evenly), with up to `max_breaks` smooth breaks, and
    drift: a slope that wanders by itself. A break counts only as far as it says more than drift.
    How common breaks are is learnt from all tasks together, which keeps many tasks from making
    many alarms.

    Parameters
    ----------
    data : Runs or DataFrame
        One row per model and task.
    x, y : str
        Columns: the scale, positive, and the metric.
    groups : str, optional
        The column that says which curve a row belongs to.
    metric : {"loss", "brier", "accuracy"}, optional
        ``"accuracy"`` where the name of `y` has ``acc`` or ``match`` in it, else ``"loss"``: any
        positive score that falls, seen with Student-t noise on its logarithm. Brier scores are
        treated alike.
    scale : {"odds", "plotted"}
        Of accuracies: on which scale an unbroken curve is straight in log x, the log odds above
        chance or the accuracy as it is plotted, where leaving chance is a break by itself.
    family : str, optional
        A column of model families. Models of one family stand off the curve together.
    n_questions, chance : str, float or mapping
        For accuracies: columns, one value, or values by task. They make the binomial noise.
    max_breaks : int
        At most 3.
    particles : int
        Particles of each posterior; more make the evidence more exact.
    random_seed : int
    executor : optional
        Anything with the interface of `concurrent.futures`: tasks are then shared out.
    progressbar : bool, optional
        By default only where a person is watching.

    Returns
    -------
    Breaks

    Raises
    ------
    RunsError
        Naming every problem of the table: accuracies outside [0, 1], missing counts, tasks of one
        point, all with their rows.

    Notes
    -----
    The smooth break is that of Caballero et al. 2022 (arXiv:2210.14891). Each number of breaks has
    its evidence from particles over places, widths, floors and scales (sequential Monte Carlo, then
    importance sampling), with everything linear integrated out by Laplace's method. A break needs
    three different x on either side. What the computation may be off by is told (``mcse`` of
    `Breaks.summary`), and where it could turn the answer, the result says so.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> x = np.geomspace(1e18, 1e21, 16)
    >>> table = pd.DataFrame({"C": x, "loss": np.where(x < 3e19, 3.0, 3 * (x / 3e19) ** -0.3)})
    >>> bs.breaks(table, particles=64).probability() > 0.5
    True
    """
    if max_breaks not in range(1, MOST + 1):
        raise RunsError(f"max_breaks is {max_breaks!r}: it may be 1, 2 or 3")
    read = read_curves(
        data,
        x=x,
        y=y,
        groups=groups,
        metric=metric,
        scale=scale,
        family=family,
        n_questions=n_questions,
        chance=chance,
    )
    curves, notes = read.curves, list(read.notes)
    few = [t for t, c in curves.items() if not c.most]
    if few:
        notes.append(f"{', '.join(few)}: fewer than 6 different {x}: no break can be told there")
    jobs = [
        (curve, max_breaks, particles, [random_seed, i]) for i, curve in enumerate(curves.values())
    ]
    clouds = {}
    with bar(progressbar) as step:
        found = iter((executor.map if executor is not None else map)(search, jobs))
        for i, task in enumerate(curves):
            step(f"looking for breaks in {task}", i, len(jobs))
            clouds[task] = next(found)
    return Breaks(curves, clouds, x, y, read.metric, read.families, tuple(notes), random_seed)

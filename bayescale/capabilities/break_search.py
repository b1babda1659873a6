"""Breaks in curves: the probability of a break in the presence of drift, its location and kind."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities.break_evidence import (
    GRID,
    MAX_BREAKS,
    Samples,
    bayes_factors,
    describe,
    false_alarms,
    largest_break,
    log_bayes_factor_error,
    log_evidences,
    number_posterior,
    sample_curve,
    share_posterior,
)
from bayescale.capabilities.break_model import PARTICLES, BreakModel, Curve
from bayescale.capabilities.curve_table import read_curves
from bayescale.capabilities.likelihoods import Accuracy, Loss, PlottedAccuracy
from bayescale.data import Runs
from bayescale.errors import ConvergenceWarning, RunsError, unknown
from bayescale.inference import POOR_ERROR, PosteriorSample
from bayescale.intervals import SAMPLE, defaults, table
from bayescale.model import Storable, drift
from bayescale.progress import bar
from bayescale.seeds import settle_seed

DRAWS = 600  # draws of each curve, over all numbers of breaks
#: Smallest number of draws of a break from which an interval is computed.
MIN_DRAWS = 10


@dataclass(frozen=True, eq=False)
class Breaks(Storable):
    """The posterior of breaks in one or more curves.

    Attributes
    ----------
    curves : mapping of str to Curve
        The data, by label of the curve.
    samples : mapping
        By label of the curve, a mapping from (number of breaks, whether the model has drift) to
        posterior samples with their log evidence.
    x, y : str
        Names of the columns of the scale and of the score.
    metric : {"loss", "brier", "accuracy"}
    families : tuple of str
        Labels of model families, in the order of their intercepts.
    notes : tuple of str
        Cautions about the data.
    random_seed : int
        The seed that was used.
    """

    curves: Mapping[str, Curve] = field(repr=False)
    samples: Mapping[str, Samples] = field(repr=False)
    x: str
    y: str
    metric: str
    families: tuple[str, ...]
    notes: tuple[str, ...]
    random_seed: int

    _stored = (Curve, Loss, Accuracy, PlottedAccuracy, PosteriorSample)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the curves, in the order of the table."""
        return tuple(self.curves)

    def label(self, group: str | None = None) -> str:
        """The label of one curve; `group` may be left out where there is only one curve.

        Raises
        ------
        RunsError
            If there is no such curve.
        """
        if group is None and len(self.labels) == 1:
            return self.labels[0]
        if group not in self.curves:
            raise RunsError(unknown("group", group, self.labels))
        return group

    @cached_property
    def share(self) -> tuple[np.ndarray, np.ndarray]:
        """The share of curves with breaks: a grid, and the posterior probabilities from all curves,
        both (grid,)."""
        return GRID, share_posterior([log_evidences(s) for s in self.samples.values()])

    @cached_property
    def probabilities(self) -> pd.DataFrame:
        """Posterior probability of each number of breaks (columns), one row per curve. NaN for
        curves with fewer than 6 different x, where a break cannot be identified."""
        rows = {
            label: number_posterior(*log_evidences(samples), *self.share)
            for label, samples in self.samples.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")

    def probability(self, group: str | None = None) -> float:
        """Posterior probability of at least one break in a curve.

        Parameters
        ----------
        group : str, optional
            Label of the curve; may be left out where there is only one.

        Returns
        -------
        float
            NaN for curves with fewer than 6 different x.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> import bayescale as bs
        >>> x = np.geomspace(1e18, 1e21, 12)
        >>> straight = pd.DataFrame({"C": x, "loss": 2 + (x / 1e18) ** -0.2})
        >>> bs.breaks(straight, particles=64, random_seed=1).probability() < 0.5
        True
        """
        return float(1 - self.probabilities.loc[self.label(group), 0])

    def _bounds(self, label: str) -> tuple[float, float]:
        """P(break) minus and plus two Monte Carlo standard errors of the log Bayes factor."""
        broken, unbroken = log_evidences(self.samples[label])
        error = 2 * log_bayes_factor_error(self.samples[label])
        low, high = (
            float(1 - number_posterior(broken + d, unbroken, *self.share)[0])
            for d in (-error, error)
        )
        return low, high

    @cached_property
    def draws(self) -> dict[str, list[tuple[BreakModel, np.ndarray, np.ndarray]]]:
        """Posterior draws of each curve, averaged over the number of breaks.

        By label, a list with one entry for each number of breaks: the model, positions (draw,
        dimension) and coefficients (draw, coefficient). The number of draws is in proportion to the
        probability of the number of breaks. If breaks cannot be identified, all draws are of the
        model without breaks.
        """
        rng = np.random.default_rng([self.random_seed, 1])
        out = {}
        for label, curve in self.curves.items():
            row = self.probabilities.loc[label].to_numpy()
            probability = np.eye(len(row))[0] if np.isnan(row).any() else row
            counts = np.floor(probability * DRAWS + rng.random()).astype(int)
            parts = []
            for k, count in enumerate(counts):
                if count and (k, True) in self.samples[label]:
                    sample = self.samples[label][k, True]
                    pick = rng.integers(len(sample.positions), size=count)
                    parts.append(
                        (BreakModel(curve, k), sample.positions[pick], sample.auxiliary[pick])
                    )
            out[label] = parts
        return out

    def warn_if_failed(self, stacklevel: int = 3) -> None:
        """Warn if the evidence of a model that contributes to `draws` is imprecise."""
        failed = [
            label
            for label, parts in self.draws.items()
            if not all(self.samples[label][model.n_breaks, True].reliable for model, *_ in parts)
        ]
        if failed:
            warnings.warn(
                f"the posterior of {', '.join(failed)} is imprecise (Monte Carlo standard error of "
                f"the log evidence above {POOR_ERROR}): do not rely on its intervals; use more "
                "particles",
                ConvergenceWarning,
                stacklevel=stacklevel,
            )

    def places(self, group: str | None = None) -> pd.DataFrame:
        """Posterior draws of the largest break of a curve, conditional on at least one break.

        Parameters
        ----------
        group : str, optional
            Label of the curve; may be left out where there is only one.

        Returns
        -------
        pandas.DataFrame
            One row per draw: ``x``, the location of the break; ``width`` in e-folds of x;
            ``before`` and ``after``, the slopes before and after the break without drift, per
            e-fold of x (of the log reducible loss, or of the log odds above chance); ``kind``:
            ``"start"`` (less than 15 % of the change of the score comes before it), ``"step"``
            (more than 60 % within a fifth of the range of log x), or ``"bend"``.

        Examples
        --------
        >>> import numpy as np, pandas as pd
        >>> import bayescale as bs
        >>> x = np.geomspace(1e18, 1e21, 20)
        >>> broken = pd.DataFrame({"C": x, "loss": np.where(x < 3e19, 3.0, 3 * (x / 3e19) ** -0.3)})
        >>> draws = bs.breaks(broken, particles=64, random_seed=1).places()
        >>> bool(1e19 < draws["x"].median() < 1e20)
        True
        """
        frames = [
            largest_break(model, positions, coefficients)
            for model, positions, coefficients in self.draws[self.label(group)]
            if model.n_breaks
        ]
        empty = pd.DataFrame({"x": [], "width": [], "before": [], "after": [], "kind": []})
        return pd.concat(frames, ignore_index=True) if frames else empty

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row per curve.

        Parameters
        ----------
        ci_prob, ci_kind : optional
            Probability (0.9 by default) and kind of the intervals.

        Returns
        -------
        pandas.DataFrame
            Index: labels of the curves. Columns:

            * ``n``, the number of points; ``P(break)`` of at least one break, and ``P(1)``,
              ``P(2)``, ``P(3)``; NaN with fewer than 6 different x;
            * of the largest break, conditional on at least one break: medians and intervals of
              ``x``, ``width``, ``before`` and ``after`` (see `places`), its most probable ``kind``
              and the probability of that kind, ``P(kind)``;
            * log Bayes factors: ``drift_over_law``, the law with drift against the law without;
              ``break_over_law``, one break without drift against the law without drift, which is
              the result of an analysis that ignores drift; ``break_over_drift``, breaks with drift
              against drift only; ``mcse``, the Monte Carlo standard error of the last, which
              decreases with the number of particles;
            * ``false_alarms``: the share of simulated curves with P(break) > 0.5 among those with
              drift and without a break, with a similar number of points and 0.3 to 10 % noise; NaN
              with fewer than 6 different x.
        """
        prob, kind = defaults(ci_prob, ci_kind)
        rows = []
        for label, curve in self.curves.items():
            probability = self.probabilities.loc[label]
            draws = self.places(label)
            row = {
                "group": label,
                "n": len(curve.s),
                "P(break)": 1 - probability[0],
                **{f"P({k})": probability[k] for k in range(1, MAX_BREAKS + 1)},
            }
            for name in ("x", "width", "before", "after"):
                row |= _interval(draws[name].to_numpy(), name, prob, kind)
            kinds = draws["kind"].value_counts(normalize=True)
            row["kind"] = kinds.index[0] if len(kinds) else ""
            row["P(kind)"] = kinds.iloc[0] if len(kinds) else np.nan
            row |= bayes_factors(self.samples[label])
            alarms, simulated, _ = false_alarms(self.metric, len(curve.s))
            row["false_alarms"] = alarms / simulated if curve.max_breaks else np.nan
            rows.append(row)
        return pd.DataFrame(rows).set_index("group")

    @cached_property
    def rate(self) -> tuple[float, float]:
        """Posterior of the number of breaks per e-fold of x: shape and rate of a Gamma
        distribution, from public curves and the curves in which breaks can be identified."""
        counts = (self.probabilities * np.arange(MAX_BREAKS + 1)).sum(axis=1, min_count=1).dropna()
        length = sum(float(np.ptp(self.curves[label].s)) for label in counts.index)
        return 1.0 + float(counts.sum()), 1 / drift.BREAKS + length

    def beyond(self, x) -> np.ndarray:
        """Probability of a break between the last point of each curve and each `x`.

        The points of a curve do not predict later breaks. The probability is that of a Poisson
        process with an uncertain rate. The prior rate is that of public learning curves, about one
        break in ten e-folds. The curves of the table update it.

        Parameters
        ----------
        x : float or array_like
            In the unit of the table.

        Returns
        -------
        numpy.ndarray
            (curve, x)
        """
        log_x = np.log(np.atleast_1d(np.asarray(x, float)))
        shape, rate = self.rate
        distance = [np.maximum(log_x - c.middle - c.end, 0.0) for c in self.curves.values()]
        return 1 - (rate / (rate + np.array(distance))) ** shape

    def __repr__(self) -> str:
        lines = [f"<Breaks of {self.y} along {self.x}: {len(self.labels)} curve(s)>"]
        lines += [
            describe(
                label, self.x, self.probability(label), self._bounds(label), self.places(label)
            )
            for label in self.labels
        ]
        if sizes := [len(c.s) for c in self.curves.values() if c.max_breaks]:
            alarms, simulated, points = false_alarms(self.metric, min(sizes))
            lines.append(
                f"  False alarms: of {simulated} simulated curves of {points} points with drift "
                f"and without a break, {alarms} had P(break) > .5."
            )
        return "\n".join([*lines, *(f"  Note: {n}." for n in self.notes)])


def _interval(values: np.ndarray, name: str, prob: float, kind: str) -> dict[str, float]:
    """Median and interval of draws; for `x` on the log scale. NaN with too few draws."""
    if len(values) < MIN_DRAWS:
        stem = f"{name}_{kind}{100 * prob:g}"
        return dict.fromkeys((name, f"{stem}_lb", f"{stem}_ub"), np.nan)
    log = name == "x"
    draws = xr.DataArray((np.log(values) if log else values)[None], dims=SAMPLE)
    row = table(draws, name, prob, kind).iloc[0]
    return dict(np.exp(row) if log else row)


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
    max_breaks: int = MAX_BREAKS,
    particles: int = PARTICLES,
    random_seed: int | None = None,
    executor=None,
    progressbar: bool | None = None,
) -> Breaks:
    """Find breaks in curves, with the probability that they are not drift.

    A curve without breaks and drift is linear in log x on the scale of its metric: a loss is a
    power law above a floor, and the log odds of an accuracy above chance are linear. The model adds
    up to `max_breaks` smooth breaks, and drift, which is a random walk of the slope. A break has a
    high probability only if it explains the data better than drift. The share of curves with breaks
    is inferred from all curves together, which controls false alarms in tables of many curves.

    Parameters
    ----------
    data : Runs or DataFrame
        One row per model and curve.
    x, y : str
        Names of the columns of the scale, which must be positive, and of the score.
    groups : str, optional
        Column with the label of the curve of each row.
    metric : {"loss", "brier", "accuracy"}, optional
        ``"loss"`` is any positive score that decreases as models improve; its logarithm has
        Student-t noise. Brier scores have the same model. By default ``"accuracy"`` if the name of
        `y` contains ``acc`` or ``match``, else ``"loss"``.
    scale : {"odds", "plotted"}
        The scale on which an accuracy without breaks is linear in log x: the log odds above chance,
        or the accuracy itself. With ``"plotted"``, a rise from chance level is a break.
    family : str, optional
        Column of model families. Each family has a random intercept in each curve.
    n_questions, chance : str, float or mapping
        For accuracies, the number of questions, which determines the binomial noise, and the
        accuracy of random guesses: a column, one value, or values by label of the curve.
    max_breaks : int
        Largest number of breaks: 1, 2 or 3.
    particles : int
        Number of particles of each sampler; the evidence is more precise with more particles.
    random_seed : int, optional
        Seed of the samplers; by default a random one. The result stores it.
    executor : optional
        An object with the interface of `concurrent.futures.Executor`, to fit curves in parallel.
    progressbar : bool, optional
        Whether to show a progress bar; by default on terminals and in notebooks only.

    Returns
    -------
    Breaks

    Raises
    ------
    RunsError
        If the table is not valid: accuracies outside [0, 1], missing counts, curves of one point.
        The message names every problem with its rows.

    Notes
    -----
    The smooth break is that of Caballero et al. 2022 (arXiv:2210.14891). The evidence for each
    number of breaks comes from sequential Monte Carlo and importance sampling over locations,
    widths, floor and scales; linear coefficients are integrated out by Laplace's method, whose
    error is corrected by importance sampling. A break needs three different x on both sides. The
    Monte Carlo standard error is reported as ``mcse`` of `Breaks.summary`. The ``repr`` of the
    result marks curves for which it is large enough to change whether P(break) exceeds 0.5.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> x = np.geomspace(1e18, 1e21, 16)
    >>> table = pd.DataFrame({"C": x, "loss": np.where(x < 3e19, 3.0, 3 * (x / 3e19) ** -0.3)})
    >>> bs.breaks(table, particles=64, random_seed=1).probability() > 0.5
    True
    """
    if max_breaks not in range(1, MAX_BREAKS + 1):
        raise RunsError(f"max_breaks is {max_breaks!r}: give 1, 2 or 3")
    curves, metric, families, notes = read_curves(
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
    if few := [label for label, curve in curves.items() if not curve.max_breaks]:
        notes += (f"{', '.join(few)}: fewer than 6 different {x}, so a break cannot be identified",)
    random_seed = settle_seed(random_seed)
    run = executor.map if executor is not None else map
    results = iter(
        run(
            sample_curve,
            curves.values(),
            repeat(max_breaks),
            repeat(particles),
            [[random_seed, i] for i in range(len(curves))],
        )
    )
    samples = {}
    with bar(progressbar) as step:
        for i, label in enumerate(curves):
            step(f"looking for breaks in {label}", i, len(curves))
            samples[label] = next(results)
    return Breaks(curves, samples, x, y, metric, families, notes, random_seed)

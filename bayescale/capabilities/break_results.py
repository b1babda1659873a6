"""The posterior of breaks in curves: probabilities, places, and the answer in words."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities import break_wording
from bayescale.capabilities.break_evidence import (
    GRID,
    MAX_BREAKS,
    Samples,
    bayes_factors,
    largest_break,
    log_bayes_factor_error,
    log_evidences,
    number_posterior,
    share_posterior,
)
from bayescale.capabilities.break_model import BreakModel, Curve
from bayescale.capabilities.likelihoods import Accuracy, Loss, PlottedAccuracy
from bayescale.errors import ConvergenceWarning, RunsError, unknown
from bayescale.forecasting import answer_html, main_reason
from bayescale.inference import POOR_ERROR, PosteriorSample
from bayescale.intervals import SAMPLE, Summary, check_rows, defaults, table
from bayescale.model import Storable, drift
from bayescale.units import counted

DRAWS = 600  # draws of each curve, over all numbers of breaks
#: Smallest number of draws of a break from which an interval is computed.
MIN_DRAWS = 10
#: Numbers that describe a break, with medians and intervals.
PLACED = ("x", "width", "before", "after")


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
    loss_unit : str
        The unit of the loss, as that of the runs; empty if it is not known.
    """

    curves: Mapping[str, Curve] = field(repr=False)
    samples: Mapping[str, Samples] = field(repr=False)
    x: str
    y: str
    metric: str
    families: tuple[str, ...]
    notes: tuple[str, ...]
    random_seed: int
    loss_unit: str = ""

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

    @property
    def _imprecise(self) -> list[str]:
        """Labels of curves with an imprecise evidence of a model that contributes to `draws`."""
        return [
            label
            for label, parts in self.draws.items()
            if not all(self.samples[label][model.n_breaks, True].reliable for model, *_ in parts)
        ]

    def warn_if_failed(self, stacklevel: int = 3) -> None:
        """Warn if the evidence of a model that contributes to `draws` is imprecise."""
        if failed := self._imprecise:
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
            for name in PLACED:
                row |= _interval(draws[name].to_numpy(), name, prob, kind)
            kinds = draws["kind"].value_counts(normalize=True)
            row["kind"] = kinds.index[0] if len(kinds) else ""
            row["P(kind)"] = kinds.iloc[0] if len(kinds) else np.nan
            row |= bayes_factors(self.samples[label])
            alarms, simulated, _ = break_wording.false_alarms(self.metric, len(curve.s))
            row["false_alarms"] = alarms / simulated if curve.max_breaks else np.nan
            rows.append(row)
        return Summary(pd.DataFrame(rows).set_index("group"))

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

    @property
    def _alarms(self) -> tuple[int, int, int] | None:
        """False alarms of the benchmark for the curve with the fewest points."""
        sizes = [len(c.s) for c in self.curves.values() if c.max_breaks]
        return break_wording.false_alarms(self.metric, min(sizes)) if sizes else None

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """Which curves have a break and where, and the main reason for doubt.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval of the place; 0.9 by default.
        """
        places = {label: self.places(label) for label in self.labels}
        answer = break_wording.answer(self.x, self._chances, places, ci_prob)
        return f"{answer} {main_reason(self.cautions(ci_prob), '')}".rstrip()

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt the breaks, the most serious first. None depends on `ci_prob`."""
        bounds = {label: self._bounds(label) for label in self.labels}
        return break_wording.doubts(
            self._chances, bounds, self._imprecise, self.notes, self._alarms
        )

    @property
    def _chances(self) -> dict[str, float]:
        return {label: self.probability(label) for label in self.labels}

    def to_dataframe(self, of: str = "draws", ci_prob: float | None = None) -> pd.DataFrame:
        """A tidy table of the largest break of each curve, conditional on at least one break.

        Parameters
        ----------
        of : {"draws", "summary"}
            The draws of `places` with ``group`` and ``draw``; or for each curve and variable
            ``median``, ``lower``, ``upper``, ``ci_prob`` and ``ci_kind``.
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.
        """
        check_rows(of)
        prob, kind = defaults(ci_prob)
        frames = []
        for label in self.labels:
            draws = self.places(label)
            if of == "summary":
                rows = [
                    dict(zip(("median", "lower", "upper"), _interval(
                        draws[name].to_numpy(), name, prob, kind).values(), strict=True))
                    for name in PLACED
                ]  # fmt: skip
                draws = pd.DataFrame(rows).assign(ci_prob=prob, ci_kind=kind)
                draws.insert(0, "variable", PLACED)
            else:
                draws = draws.rename_axis("draw").reset_index()
            draws.insert(0, "group", label)
            frames.append(draws)
        return pd.concat(frames, ignore_index=True)

    def __repr__(self) -> str:
        lines = [
            self.bottom_line(),
            f"<Breaks of {self.y} along {self.x}: {counted(len(self.labels), 'curve')}>",
        ]
        for label, p in self._chances.items():
            lines.append(
                break_wording.describe(label, self.x, p, self._bounds(label), self.places(label))
            )
        return "\n".join([*lines, *(f"  Note: {n}." for n in self.cautions()[1:])])

    def _repr_html_(self) -> str:
        return answer_html(self.bottom_line(), self.summary()._repr_html_(), self.cautions()[1:])


def _interval(values: np.ndarray, name: str, prob: float, kind: str) -> dict[str, float]:
    """Median and interval of draws; for `x` on the log scale. NaN with too few draws."""
    if len(values) < MIN_DRAWS:
        stem = f"{name}_{kind}{100 * prob:g}"
        return dict.fromkeys((name, f"{stem}_lb", f"{stem}_ub"), np.nan)
    log = name == "x"
    draws = xr.DataArray((np.log(values) if log else values)[None], dims=SAMPLE)
    row = table(draws, name, prob, kind).iloc[0]
    return dict(np.exp(row) if log else row)

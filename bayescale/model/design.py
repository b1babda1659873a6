"""The specification of a model: law, runs, groups, parameters, priors and drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bayescale.data import Runs
from bayescale.laws import Law
from bayescale.model import drift as drifts
from bayescale.model import noise, small_runs
from bayescale.model.hierarchy import Parameter
from bayescale.priors import Positive

#: Fewest repeated values, and fewest steps, of a series that does not hold losses as measured.
FEWEST_TIES, FEWEST_STEPS = 2, 10
#: Parameters of the noise and the drift.
TERMS = ("sigma", "nu", "trend", "memory", "drift")


def has_checkpoints(runs: Runs) -> bool:
    """Whether some rows are checkpoints of one run."""
    return "series" in runs and runs.table["series"].nunique() < len(runs)


@dataclass(frozen=True, eq=False)
class Design:
    """The specification of a model. The model and all functions of its posterior depend on it.

    Attributes
    ----------
    law : Law
    runs : Runs
    groups : tuple of str
        Columns over which parameters may vary.
    parameters : tuple of Parameter
        Parameters of the law, then those of noise and drift that the model has: ``sigma``, ``nu``,
        ``trend``, ``memory``, ``drift``.
    scales : dict
        Reference scale of each column of the law, in the unit of the column.
    drift : {"through", "ahead", "off"}
        Where the model allows deviations from the law; see `bayescale.model.drift`.
    ahead : Positive or None
        Prior of the size of the drift beyond the runs, which the runs do not determine. None
        stands for the default, see `drift_ahead`.
    is_observed : bool
        Whether the losses of the runs were measured. They were not if the posterior is the prior.
    law_error : bool
        Whether the law may have an error in small runs; see `bayescale.model.small_runs`.
    """

    law: Law
    runs: Runs
    groups: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    scales: Mapping[str, float]
    drift: str = "ahead"
    ahead: Positive | None = None
    is_observed: bool = True
    law_error: bool = False

    @property
    def has_discrepancy(self) -> bool:
        """Whether forecasts have the discrepancy that `bayescale.model.discrepancy` infers.

        Along learning curves the drift has this role.
        """
        return self.drift == "ahead" and self.is_observed and not self.has_series

    def drift_ahead(self, is_averaged: bool = False) -> Positive:
        """Prior of the size of the drift beyond the runs, for one law or an average of several.

        One that the user gave is used for both.
        """
        return drifts.ahead(is_averaged, self.has_law_error) if self.ahead is None else self.ahead

    @cached_property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """The labels of each group column, sorted."""
        return {g: tuple(sorted(set(self.runs.table[g].astype(str)))) for g in self.groups}

    @cached_property
    def has_loss_sd(self) -> bool:
        return "loss_sd" in self.runs

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The law's columns in absolute units, (run,) each."""
        return {c: self.runs.table[c].to_numpy(float) for c in self.law.columns}

    @property
    def log_loss(self) -> np.ndarray:
        return np.log(self.runs.table["loss"].to_numpy(float))

    @property
    def log_loss_sd(self) -> np.ndarray:
        """Known measurement error of log loss; zero without the column ``loss_sd``."""
        if not self.has_loss_sd:
            return np.zeros(len(self.runs))
        return (self.runs.table["loss_sd"] / self.runs.table["loss"]).to_numpy(float)

    @property
    def has_law_error(self) -> bool:
        """Whether the law has an error in small runs. It needs a flat table of finished runs."""
        is_flat = not self.groups and bool(self.law.sizes)
        return self.law_error and self.has_discrepancy and is_flat

    @cached_property
    def edge(self) -> drifts.Edge:
        """Where the drift beyond the runs begins."""
        return drifts.Edge.of(self.law, self.columns)

    def errors_of_law(self, log_loss: np.ndarray) -> np.ndarray:
        """Standard deviation of the error of the law, in log loss, if the runs have these losses;
        (run,)."""
        if not self.has_law_error:
            return np.zeros(len(self.runs))
        unit = small_runs.unit_errors(self.law, self.columns, self.edge.scale)
        return small_runs.slope(self.law, self.columns, log_loss) * unit

    @property
    def has_log_error(self) -> bool:
        """Whether the noise of some runs has a part of known size."""
        return self.has_loss_sd or self.has_law_error

    @cached_property
    def log_error_alone(self) -> np.ndarray:
        """The same as `log_error` if each run had no other nearby; (run,)."""
        return np.hypot(self.log_loss_sd, self.errors_of_law(self.log_loss))

    @cached_property
    def log_error(self) -> np.ndarray:
        """Standard deviation of the part of the noise of log loss whose size is known: the
        measurement error, and the error of the law times the root of the number of runs nearby;
        (run,)."""
        if not self.has_law_error:
            return self.log_loss_sd
        crowds = small_runs.crowds(self.law, self.columns)
        return np.hypot(self.log_loss_sd, self.errors_of_law(self.log_loss) * np.sqrt(crowds))

    @property
    def log_scale(self) -> np.ndarray:
        """Log scale of each run, as the law measures it; (run,)."""
        return self.law.log_scale(self.columns)

    @cached_property
    def has_series(self) -> bool:
        """Whether some rows are checkpoints of one run."""
        return has_checkpoints(self.runs)

    @cached_property
    def before(self) -> tuple[np.ndarray, np.ndarray]:
        """The previous checkpoint in the series of each run.

        Returns
        -------
        tuple of arrays (run,)
            Index of the previous checkpoint, and the gap to it in e-folds of scale. The first
            checkpoint of a series has its own index and an infinite gap.
        """
        frame = pd.DataFrame(
            {"series": self.runs.table["series"].astype(str).to_numpy(), "x": self.log_scale}
        )
        order = frame.sort_values("x", kind="stable")
        place = pd.Series(order.index, order.index)
        previous = place.groupby(order["series"]).shift().reindex(frame.index)
        index = previous.fillna(pd.Series(frame.index)).to_numpy(int)
        gap = np.where(previous.isna(), np.inf, frame["x"] - frame["x"].to_numpy()[index])
        return index, gap

    @cached_property
    def ties(self) -> pd.Series:
        """Number of checkpoints that repeat the loss before, by series, of those that do not hold
        losses as measured.

        These series never rise and repeat values: they are running minima, rounded or smoothed.
        """
        if not self.has_series:
            return pd.Series(dtype=int)
        frame = self.runs.table[["series", "loss"]].assign(x=self.log_scale).sort_values("x")
        by = frame["loss"].groupby(frame["series"].astype(str))
        steps = by.diff().dropna().groupby(frame["series"].astype(str))
        ties = steps.agg(lambda step: (step == 0).sum())
        return ties[(steps.max() <= 0) & (ties >= FEWEST_TIES) & (steps.size() >= FEWEST_STEPS)]

    @property
    def hides_scatter(self) -> bool:
        """Whether no series holds losses as measured, so that the runs do not determine how much a
        measurement scatters."""
        return self.has_series and len(self.ties) == self.runs.table["series"].nunique()

    @cached_property
    def cells(self) -> tuple[dict[str, str], ...]:
        """The combinations of group labels among the runs; drifts of different cells are
        independent."""
        if not self.groups:
            return ({},)
        frame = self.runs.table[list(self.groups)].astype(str).drop_duplicates()
        return tuple(frame.sort_values(list(self.groups)).to_dict("records"))

    @cached_property
    def cell(self) -> np.ndarray:
        """Index of the cell of each run."""
        if not self.groups:
            return np.zeros(len(self.runs), int)
        place = {tuple(c.values()): i for i, c in enumerate(self.cells)}
        rows = self.runs.table[list(self.groups)].astype(str).itertuples(index=False, name=None)
        return np.array([place[row] for row in rows])

    @property
    def is_anchored(self) -> bool:
        """Whether the model samples the level of the law at the first run and the share of the
        floor in it, instead of amplitude and floor."""
        linear = (self.law.amplitude, self.law.floor)
        return (
            self.drift == "through"
            and self.law.amplitude is not None
            and not any(p.effects for p in self.parameters if p.name in self.law.parameters)
            and not any(p.prior.link != "log" for p in self.parameters if p.name in linear)
        )

    @property
    def has_trend(self) -> bool:
        """Whether the noise scale depends on the loss."""
        return any(p.name == "trend" for p in self.parameters)

    @property
    def loss_range(self) -> np.ndarray:
        """The lowest and the highest observed log loss."""
        return np.array([self.log_loss.min(), self.log_loss.max()])

    @cached_property
    def increments(self) -> np.ndarray:
        """Value of a unit random walk at each run per step at each knot; (run, knot)."""
        return drifts.increments(self.log_scale, *drifts.knots(self.log_scale))

    def log_columns_at_knots(self, log_columns: Mapping[str, np.ndarray], log_scale: np.ndarray):
        """Log columns of runs, with sizes shifted equally so that they have the scale of a knot.

        Returns
        -------
        dict of str to array
            (run, knot). For a law of one column without group effects (1, knot), because the law at
            a knot is then the same for all runs.
        """
        at, _ = drifts.knots(self.log_scale)
        sizes = self.law.sizes
        shift = (log_scale[:, None] - at) / len(sizes)
        shifted = {c: v[:, None] - (c in sizes) * shift for c, v in log_columns.items()}
        is_same_for_all = len(shifted) == 1 and not any(p.effects for p in self.parameters)
        return {c: v[:1] for c, v in shifted.items()} if is_same_for_all else shifted

    def index(self, group: str) -> np.ndarray:
        """Index of each run's level of a group column."""
        place = {level: i for i, level in enumerate(self.levels[group])}
        return self.runs.table[group].astype(str).map(place).to_numpy(int)

    @property
    def shape(self) -> tuple:
        """The properties that determine the compiled model; designs of equal shape share it."""
        return (
            self.law,
            tuple((p.name, p.prior.link, p.is_fixed, p.effects) for p in self.parameters),
            tuple((g, len(levels)) for g, levels in self.levels.items()),
            self.has_log_error,
            self.has_series,
            self.has_trend,
            len(self.cells) if self.drift == "through" else 0,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """The ``pm.Data`` of the model: the numbers that differ between designs of one shape."""
        arrays = {f"log_{c}": np.log(v / self.scales[c]) for c, v in self.columns.items()}
        arrays["observed_log_loss"] = self.log_loss
        if self.has_log_error:
            arrays["log_error"] = self.log_error
        if self.has_trend:
            arrays["loss_range"] = self.loss_range
        if self.has_series:
            arrays["previous"], gap = self.before
            arrays["gap"] = np.minimum(gap, noise.LONG)
        if self.drift == "through":
            logs = {c: arrays[f"log_{c}"] for c in self.law.columns}
            at_knots = self.log_columns_at_knots(logs, self.log_scale)
            arrays |= {f"log_{c}_at_knots": v[0] if len(v) == 1 else v for c, v in at_knots.items()}
            arrays["increments"] = self.increments
            if len(self.cells) > 1:
                arrays["member"] = np.eye(len(self.cells))[self.cell].T.copy()
        for g in self.groups:
            arrays[f"{g}_index"] = self.index(g)
        arrays["prior"] = np.array(
            [
                [p.prior.centre, p.prior.width, np.log(p.prior.between_width)]
                for p in self.parameters
            ]
        )
        return arrays

    def parameter(self, name: str) -> Parameter:
        return next(p for p in self.parameters if p.name == name)

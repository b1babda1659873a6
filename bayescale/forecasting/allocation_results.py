"""The posterior of the compute-optimal split of budgets, and the decision."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.forecasting.averaging import Average, fits_of, weights_of
from bayescale.forecasting.cautions import (
    distances,
    doubts,
    if_the_law_holds,
    main_reason,
    of_one_law,
)
from bayescale.forecasting.predictive_draws import tidy
from bayescale.forecasting.wording import (
    allocation_in_words,
    answer_html,
    group_labels_in_words,
    probabilities_in_words,
)
from bayescale.intervals import SAMPLE, Summary, interval, table
from bayescale.model import NEW, Fit
from bayescale.units import counted, format_count, format_flop, format_loss

#: The probability of reaching a target with which the answer begins.
USUAL_PROBABILITY = 0.8
#: Names of the column of unique tokens in laws of repeated data.
UNIQUE = ("unique_tokens", "U")
#: Variables in the summary of an allocation.
SHOWN = ("loss_new_run", "N", "D", "tokens_per_param", "loss", "a", "b")


@dataclass(frozen=True, eq=False)
class Allocation:
    """The posterior of the compute-optimal split of one or more budgets.

    Attributes
    ----------
    data : xarray.Dataset
        With dims (chain, draw, budget), the optimum in each draw: ``N`` (parameters), ``D``
        (tokens), ``tokens_per_param``, ``loss`` (at the optimum, of the law with the drift beyond
        the runs, in the unit of the runs), and the exponents ``a`` and ``b`` of N* ~ C^a and
        D* ~ C^b. Also ``loss_decision``, the expected loss of the decision in each draw, and
        ``loss_new_run``, the measured loss of a run trained as decided, which `forecast` gives for
        the same budgets. With dims (budget,): ``N_decision`` and ``D_decision``, the split that
        minimises the posterior expected loss. Coordinate of ``budget``: ``C`` (FLOP).

        With target losses there are the coordinates ``target`` and, if no budgets were given,
        ``probability``, with ``p_reach`` (budget,), the probability at the budget that was found;
        and ``compute_needed`` (chain, draw, budget), the compute at which a run
        reaches the target, with drift and noise, infinite in draws that do not reach it. Next to
        infinite values, take quantiles with ``method="higher"``. If N, D, models or ``smaller`` are
        given, ``compute_price`` (chain, draw, budget) is the compute with which this choice reaches
        the lowest loss of the budget, as a multiple of the budget, at most a million. With models,
        ``model_is_best`` (chain, draw, budget) is the best of the models in each draw. With limited
        unique tokens, ``epochs`` (chain, draw, budget) is D over unique tokens at the optimum.
    law : str
        The law that was fitted, or the laws that were averaged.
    group : str
        A phrase that names the group, for headings; empty for a new group.
    fit : Fit or Average
        The posterior from which the splits are computed.
    labels : dict of str to str
        The label of the group in each group column.
    given : dict
        What was given besides budgets: ``N``, ``D``, ``smaller``, ``models``, ``serve``,
        ``serve_price`` or ``unique``.
    unreached : tuple of str
        Sentences about targets that are not reached with a given probability.
    conversions : tuple of str
        How budgets in other units were converted to FLOP; one sentence for each.
    """

    data: xr.Dataset = field(repr=False)
    law: str
    group: str
    fit: Fit | Average = field(repr=False)
    labels: dict = field(default_factory=dict, repr=False)
    given: dict = field(default_factory=dict, repr=False)
    unreached: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row for each budget: the decision, then medians and intervals of the optimum.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals.
        ci_kind : {"eti", "hdi"}, optional
            Kind of the intervals; by default ArviZ's ``stats.ci_kind``.

        Returns
        -------
        pandas.DataFrame
            ``C``; with target losses ``target``, ``probability`` and ``p_reach``, the probability
            that the measured loss of the run is at most the target (for given budgets, the share of
            the draws of ``loss_new_run``, as `forecast` has it); ``N_decision``, ``D_decision``;
            with limited data ``epochs_decision``; with several models ``p_best``, the probability
            that the chosen model is the best of them; ``expected_regret``, by how much the loss of
            the decision is expected to exceed that of the best split of the same budget, under the
            fitted law or the average of laws, in the unit of the loss (the
            ``expected_excess_loss`` of `regret` for the decision; the compute that is wasted is
            another quantity, see there); then median and interval of
            ``loss_new_run``, the loss of a run trained as decided, of each quantity of the optimum,
            and of ``compute_price`` and ``epochs`` if the allocation has them.

        Warns
        -----
        ConvergenceWarning
            If the fit failed its check.
        """
        self.fit.warn_if_failed()
        data = self.data
        columns = {c: data[c] for c in ("C", "target", "probability") if c in data.coords}
        if "p_reach" in data:
            columns["p_reach"] = data["p_reach"]
        elif "target" in data.coords:
            columns["p_reach"] = (data["loss_new_run"] <= data["target"]).mean(SAMPLE)
        columns |= {f"{c}_decision": data[f"{c}_decision"] for c in "ND"}
        if "unique" in self.given:
            columns["epochs_decision"] = data["D_decision"] / self.given["unique"]
        if "model_is_best" in data:
            columns["p_best"] = (data["model_is_best"] == data["N_decision"]).mean(SAMPLE)
        columns["expected_regret"] = (data["loss_decision"] - data["loss"]).mean(SAMPLE)
        parts = [pd.DataFrame({name: v.to_numpy() for name, v in columns.items()})]
        for name in self._shown:
            parts.append(table(data[name], name, ci_prob, ci_kind))
        return Summary(pd.concat(parts, axis=1))

    @property
    def _shown(self) -> tuple[str, ...]:
        """Variables with an interval in the summary."""
        return (*SHOWN, *(v for v in ("compute_price", "epochs") if v in self.data))

    def to_dataframe(self, of: str = "draws", ci_prob: float | None = None) -> pd.DataFrame:
        """A tidy table of the draws, or of medians and intervals.

        Parameters
        ----------
        of : {"draws", "summary"}
            One row for each draw and budget, or one row for each variable and budget.
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.

        Returns
        -------
        pandas.DataFrame
            For ``"draws"``: ``chain``, ``draw``, ``C`` and a column for each variable. For
            ``"summary"``: ``C``, ``variable``, ``median``, ``lower``, ``upper``, ``ci_prob`` and
            ``ci_kind``. Numbers are not rounded.
        """
        return tidy(self.data, self._shown, ("budget",), of, ci_prob)

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """What to train with the largest budget, what it reaches, and the main reason for doubt.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.

        Returns
        -------
        str
            Two sentences or more. The loss is that of a new run, as `bayescale.forecast` gives it.
        """
        answer = allocation_in_words(
            self.data.isel(budget=self._main),
            self.given,
            group_labels_in_words(self.labels),
            ci_prob,
        )
        if "probability" in self.data.coords:
            answer += probabilities_in_words(self.data, self._main)
        answer = if_the_law_holds(answer, self.fit, self._times)
        sentences = [answer, *self.unreached, *self.conversions]
        sentences.append(main_reason(self.cautions(ci_prob)))
        return " ".join(sentences)

    @property
    def _times(self) -> float:
        """The training compute of the main budget as a multiple of that of the largest run."""
        N, D = (float(self.data[f"{c}_decision"][self._main]) for c in "ND")
        return self.fit.runs.flop_factor * N * D / float(self.fit.runs.table["C"].max())

    @property
    def _main(self) -> int:
        """The index of the largest budget; of targets, of the lowest with a probability of 80 %."""
        data = self.data
        if "probability" not in data.coords:
            return int(np.argmax(data["C"].to_numpy()))
        p = data["probability"].to_numpy()
        order = np.lexsort((np.abs(p - USUAL_PROBABILITY), data["target"].to_numpy()))
        return int(order[0])

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt the split of the largest budget, the most serious first.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval with which differences between the laws are compared; 0.9 by
            default.

        Returns
        -------
        tuple of str
            As those of a forecast. Empty if there are none.
        """
        index = self._main
        low, high = interval(np.log(self.data["loss_decision"].isel(budget=index)), ci_prob)
        columns = {c: self.data[f"{c}_decision"].to_numpy() for c in "ND"}
        columns["C"] = self.fit.runs.flop_factor * columns["N"] * columns["D"]
        times = self._times
        return doubts(
            fits_of(self.fit),
            weights_of(self.fit),
            {c: float(v[index]) for c, v in columns.items()} | _other_columns(self),
            None if NEW in self.labels.values() else self.labels,
            float(high - low),
            distances(self.fit, columns, beyond=False),
            times,
        ) + of_one_law(fits_of(self.fit), times)

    def _repr_html_(self) -> str:
        return answer_html(self.bottom_line(), self.summary()._repr_html_(), self.cautions()[1:])

    def __repr__(self) -> str:
        average = isinstance(self.fit, Average) and len(self.fit.used) > 1
        under = "the average" if average else "the law"
        lines = [self.bottom_line()]
        budgets = counted(self.data.sizes["budget"], "budget")
        lines += [f"<Allocation by {self.law}{self.group}, {budgets}>"]
        for row in self.summary().itertuples():
            low, high = row[row._fields.index("N") + 1], row[row._fields.index("N") + 2]
            lines.append(
                f"  {format_flop(row.C)} FLOP: train {format_count(row.N_decision)} on "
                f"{format_count(row.D_decision)} tokens (N* {format_count(low)} to "
                f"{format_count(high)}), loss {format_loss(row.loss_new_run)}, a = {row.a:.2f}, "
                f"expected regret {row.expected_regret:.2g} under {under}"
            )
        return "\n".join(lines)


def _other_columns(allocation: Allocation) -> dict[str, float]:
    """Columns of the laws other than N and D."""
    if "unique" not in allocation.given:
        return {}
    return {c: allocation.given["unique"] for c in allocation.fit.law.columns if c in UNIQUE}

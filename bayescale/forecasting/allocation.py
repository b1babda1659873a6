"""Compute-optimal splits of a budget between N and D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.forecasting.averaging import Average
from bayescale.forecasting.cautions import distances, doubts, main_reason, warn_of_distance
from bayescale.forecasting.law_draws import LawDraws, law_draws, mixed, search
from bayescale.forecasting.predictive_draws import tidy
from bayescale.forecasting.wording import (
    answer_html,
    group_labels_in_words,
    interval_in_words,
)
from bayescale.intervals import SAMPLE, Summary, defaults, interval, table
from bayescale.model import NEW, Fit, settle_groups
from bayescale.units import as_counts, format_count, format_flop

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
    law : str
        The law that was fitted, or the laws that were averaged.
    group : str
        A phrase that names the group, for headings; empty for a new group.
    fit : Fit or Average
        The posterior from which the splits are computed.
    labels : dict of str to str
        The label of the group in each group column.
    """

    data: xr.Dataset = field(repr=False)
    law: str
    group: str
    fit: Fit | Average = field(repr=False)
    labels: dict = field(default_factory=dict, repr=False)

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
            ``C``, ``N_decision``, ``D_decision``; ``expected_regret``, the expected difference
            between the loss of the decision and the loss of the true optimum, under the fitted law
            or the average of laws, in the unit of the loss; then median and interval of
            ``loss_new_run``, the loss of a run trained as decided, and of each quantity of the
            optimum.

        Warns
        -----
        ConvergenceWarning
            If the fit failed its check.
        """
        self.fit.warn_if_failed()
        data = self.data
        regret = (data["loss_decision"] - data["loss"]).mean(SAMPLE)
        parts = [
            pd.DataFrame(
                {
                    "C": data["C"].to_numpy(),
                    "N_decision": data["N_decision"].to_numpy(),
                    "D_decision": data["D_decision"].to_numpy(),
                    "expected_regret": regret.to_numpy(),
                }
            )
        ]
        for name in SHOWN:
            parts.append(table(data[name], name, ci_prob, ci_kind))
        return Summary(pd.concat(parts, axis=1))

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
        return tidy(self.data, SHOWN, ("budget",), of, ci_prob)

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """What to train with the largest budget, what it reaches, and the main reason for doubt.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.

        Returns
        -------
        str
            Two sentences. The loss is that of a new run, as `bayescale.forecast` gives it.
        """
        data = self.data.isel(budget=int(np.argmax(self.data["C"].to_numpy())))
        prob, _ = defaults(ci_prob)
        low, high = (format_count(float(v)) for v in interval(data["N"], prob))
        N, D = float(data["N_decision"]), float(data["D_decision"])
        answer = (
            f"With {format_flop(float(data['C']))} FLOP{group_labels_in_words(self.labels)}, train "
            f"{format_count(N)} parameters on {format_count(D)} tokens (optimal N {low} to {high}, "
            f"{100 * prob:g} %): a run would reach a loss of "
            f"{interval_in_words(data['loss_new_run'], prob)}."
        )
        return f"{answer} {main_reason(self.cautions(prob))}"

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
        index = int(np.argmax(self.data["C"].to_numpy()))
        low, high = interval(np.log(self.data["loss_decision"].isel(budget=index)), ci_prob)
        columns = {c: self.data[f"{c}_decision"].to_numpy() for c in "ND"}
        columns["C"] = self.data["C"].to_numpy()
        largest = float(self.fit.runs.table["C"].max())
        average = isinstance(self.fit, Average)
        return doubts(
            self.fit.used if average else {self.fit.law.name: self.fit},
            self.fit.weights if average else {self.fit.law.name: 1.0},
            {c: float(v[index]) for c, v in columns.items()},
            None if NEW in self.labels.values() else self.labels,
            float(high - low),
            distances(self.fit, columns, beyond=False),
            float(columns["C"][index]) / largest,
        )

    def _repr_html_(self) -> str:
        return answer_html(self.bottom_line(), self.summary()._repr_html_(), self.cautions()[1:])

    def __repr__(self) -> str:
        average = isinstance(self.fit, Average) and len(self.fit.used) > 1
        under = "the average" if average else "the law"
        lines = [self.bottom_line()]
        lines += [f"<Allocation by {self.law}{self.group}, {self.data.sizes['budget']} budget(s)>"]
        for row in self.summary().itertuples():
            low, high = row[row._fields.index("N") + 1], row[row._fields.index("N") + 2]
            lines.append(
                f"  {format_flop(row.C)} FLOP: train {format_count(row.N_decision)} on "
                f"{format_count(row.D_decision)} tokens (N* {format_count(low)} to "
                f"{format_count(high)}), loss {row.loss_new_run:.3f}, a = {row.a:.2f}, expected "
                f"regret {row.expected_regret:.2g} under {under}"
            )
        return "\n".join(lines)


def allocate(fit: Fit | Average, C, *, group=None, drift: str = "auto") -> Allocation:
    """Split a training budget between parameters and tokens.

    Parameters
    ----------
    fit : Fit or Average
        The posterior of a law in N and D, or of several.
    C : float, str or array_like
        Budgets in FLOP (``1e24``), counted as those of the fitted runs.
    group : str or mapping, optional
        One fitted group. None stands for a new group, whose parameters are drawn from the
        population.
    drift : {"auto", "off"}
        As in `bayescale.forecast`: ``"off"`` gives the losses of the law alone.

    Returns
    -------
    Allocation
        For an average, the draws are those of its laws in proportion to their weights, and the
        decision minimises the expected loss over draws and laws.

    Raises
    ------
    LawError
        If a law is not a function of N and D, or has no interior optimum.
    FitError
        If a group is unknown, or if several are given.

    Warns
    -----
    ExtrapolationWarning
        If a budget is beyond 100 times the compute of the largest fitted run, or more than 100
        times below that of the smallest, or if the recommended N is below the smallest fitted one.

    Notes
    -----
    The optimum of each draw is computed in closed form if the law has one (Hoffmann et al. 2022,
    arXiv:2203.15556, section 3.3), and by a numerical search otherwise. The *decision* minimises
    the loss averaged over the posterior. If the posterior is wide, it differs from the optimum at
    the posterior median of the parameters. The drift beyond the runs is that of `forecast`, of
    which ``loss_decision`` is the ``mean``; it is taken to be equal for all splits of a budget.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> best = bs.allocate(bs.fit(runs, random_seed=1), C=1e22)
    >>> bool(1e9 < best.data["N_decision"][0] < 1e11)
    True
    """
    laws = law_draws(fit, group, drift)
    C = xr.DataArray(as_counts(C, "C"), dims="budget")
    best = [law.optimum(C) for law in laws]
    N = _decision(laws, C, [b["N"] for b in best])
    D = C / (fit.runs.flop_factor * N)
    parts = []
    for law, optimum in zip(laws, best, strict=True):
        drawn = law.drawn(N, D)
        drift = drawn["mean"] / law.loss(N, D)
        parts.append(
            optimum.assign(
                loss=optimum["loss"] * drift,
                loss_decision=drawn["mean"],
                loss_new_run=drawn["loss"],
            )
        )
    data = mixed(laws, parts)
    warn_of_distance(fit, {"N": N.to_numpy(), "D": D.to_numpy(), "C": C.to_numpy()}, stacklevel=2)
    data = data.assign(N_decision=N, D_decision=D)
    data = data.assign_coords(C=C).transpose("chain", "draw", "budget")
    settled = settle_groups(laws[0].fit.plan, group, 1)
    labels = {g: str(label) for g, label in settled.items()}
    return Allocation(data, fit.law.name, group_in_words(group), fit, labels)


def best_split(fit: Fit | Average, C: np.ndarray, group=None) -> tuple[np.ndarray, np.ndarray]:
    """The N and D that minimise the expected loss for each budget.

    Parameters
    ----------
    fit : Fit or Average
    C : numpy.ndarray
        Budgets in FLOP, dims (budget,).
    group : str or mapping, optional
        One fitted group. None stands for a new group.

    Returns
    -------
    tuple of numpy.ndarray
        N (parameters) and D (tokens), dims (budget,).
    """
    laws = law_draws(fit, group)
    C = xr.DataArray(C, dims="budget")
    N = _decision(laws, C, [law.best_N(C) for law in laws])
    return N.to_numpy(), (C / (fit.runs.flop_factor * N)).to_numpy()


def group_in_words(group: object) -> str:
    """A phrase that names the group, for headings; empty without a group."""
    if group is None:
        return ""
    return f" for {', '.join(map(str, group.values())) if isinstance(group, dict) else group}"


def _decision(
    laws: Sequence[LawDraws], C: xr.DataArray, best: Sequence[xr.DataArray]
) -> xr.DataArray:
    """The N that minimises the loss expected over draws and laws; dims (budget,)."""

    thinned, budgets = [law.thinned() for law in laws], C.to_numpy()

    def expected(log_N):
        N = np.exp(log_N)
        return sum(law.weight * law.loss_on_budget(budgets, N).mean(axis=0) for law in thinned)

    low = np.log(np.min([N.min(SAMPLE).to_numpy() for N in best], axis=0))
    high = np.log(np.max([N.max(SAMPLE).to_numpy() for N in best], axis=0))
    # The minimum lies between the smallest and the largest optimum of the draws. The margin keeps
    # it away from the bounds.
    margin = 0.1 + 0.1 * (high - low)
    law_names = " and ".join(f"law {law.fit.law.name!r}" for law in laws)
    log_N = search(expected, low - margin, high + margin, law_names)
    return xr.DataArray(np.exp(log_N), dims=C.dims)

"""How much a posterior depends on its priors, by power-scaling.

The prior, or the likelihood, is raised to a power near 1. The draws are reweighted by
Pareto-smoothed importance weights; nothing is fitted again (Kallioinen et al. 2024,
arXiv:2107.14054; `arviz_stats.psense`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd

from bayescale.errors import FitError, unknown
from bayescale.model.density import coordinates, density
from bayescale.model.design import TERMS, Design
from bayescale.model.results import Fit, Mixture, fits_by_law
from bayescale.text_tables import html_table, text_table
from bayescale.units import parse_count

#: Powers near 1 at which the change of the posterior is measured, as in ArviZ.
NEAR_ONE = (0.99, 1.01)
#: A quantity depends on the prior or the likelihood if its sensitivity is above this, as in
#: ArviZ.
THRESHOLD = 0.05
#: Importance weights with a larger tail index are not reliable (Vehtari et al. 2024).
LARGEST_K = 0.7
#: Rows that the text of a result shows.
SHOWN = 12
#: Powers of the priors whose medians are shown.
WEAK, STRONG = 0.8, 1.25
HEADER = ("quantity", "prior", "likelihood", "median", "weak prior", "strong prior", "")


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """The dependence of each quantity of a posterior on priors and likelihood.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per quantity. ``prior`` and ``likelihood``: the change of the distribution for a
        doubling of the power of the prior or the likelihood, as the distance of cumulative
        distributions (0: none). ``diagnosis``; ``median``; ``weak_prior`` and ``strong_prior``: the
        medians with the priors at powers of 0.8 and 1.25; ``reliable``: whether the importance
        weights of these two medians are.
    priors : tuple of str
        The parameters whose priors were scaled.
    """

    table: pd.DataFrame = field(repr=False)
    priors: tuple[str, ...] = ()

    def summary(self) -> pd.DataFrame:
        """A copy of `table`: the law before the noise, the most sensitive quantity first."""
        noise = [re.split(r"[\[_ ]", name)[0] in TERMS for name in self.table.index]
        order = np.lexsort([-self.table["prior"], noise])
        return self.table.iloc[order]

    def bottom_line(self) -> str:
        """The answer in a sentence."""
        over = self.summary().query("prior > @THRESHOLD")
        if not len(over):
            return (
                "No quantity depends noticeably on the priors: the largest sensitivity is "
                f"{self.table['prior'].max():.2f}, below {THRESHOLD}."
            )
        row = over.iloc[0]
        others = f", then {', '.join(over.index[1:4])}" if len(over) > 1 else ""
        return (
            f"{len(over)} of {len(self.table)} quantities depend on the priors, most of all "
            f"{over.index[0]}{others}. With priors at powers of {WEAK} and {STRONG} the median of "
            f"{over.index[0]} is {row.weak_prior:.3g} and {row.strong_prior:.3g} instead of "
            f"{row['median']:.3g}"
            + ("." if row.reliable else " (rough: the importance weights are unreliable).")
        )

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                name,
                f"{r.prior:.2f}",
                f"{r.likelihood:.2f}",
                *(f"{v:.3g}" for v in (r["median"], r.weak_prior, r.strong_prior)),
                r.diagnosis,
            )
            for name, r in self.summary().iterrows()
        ]

    def __repr__(self) -> str:
        lines = [self.bottom_line(), text_table(HEADER, self._rows()[:SHOWN], 110)]
        if (more := len(self.table) - SHOWN) > 0:
            lines.append(f"... and {more} more in summary()")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.bottom_line())}</p>{html_table(HEADER, self._rows())}"


def sensitivity(
    fit: Fit | Mixture,
    *,
    priors: str | Sequence[str] | None = None,
    at: Mapping[str, object] | None = None,
) -> Sensitivity:
    """How much a fit depends on its priors.

    The priors, and the likelihood, are raised to powers near 1, and the draws are reweighted. A
    quantity whose prior sensitivity is above 0.05 depends on the priors. If its likelihood
    sensitivity is below 0.05 at the same time, the runs say little about it; if it is above,
    both matter, or they disagree.

    Parameters
    ----------
    fit : Fit or Average
        The quantities of each law of an average follow each other, with the law in brackets:
        ``alpha (chinchilla)``. The weights of the laws, which depend on the priors too, are taken
        as given.
    priors : str or sequence of str, optional
        Parameters whose priors are scaled; by default all of the fit, including noise and drift.
        Of an average, in the laws that have them.
        The distribution of groups around the population is not a prior in this sense.
    at : mapping of str to number or str, optional
        A point at which the loss of the law is a further quantity: ``{"N": "7B", "D": "1T"}``.
        Drift beyond the runs is not included. Of a fit with groups it is that of each group.

    Returns
    -------
    Sensitivity
        With ``summary()``; its ``repr`` begins with the answer.

    Raises
    ------
    FitError
        If `fit` is neither, or a parameter or column is not one of it.

    Notes
    -----
    A prior is scaled on its link scale (the log of a positive parameter), on which it is normal: a
    power of 2 divides its variance by 2 and keeps its median. The sensitivity is the distance
    between cumulative distributions of Kallioinen et al. 2024 (arXiv:2107.14054), per doubling of
    the power, computed by ArviZ.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> fit = bs.fit(runs, "chinchilla", draws=250, random_seed=1)
    >>> found = bs.sensitivity(fit, at={"N": "7B", "D": "1T"})
    >>> bool(found.table.loc["alpha", "likelihood"] > found.table.loc["alpha", "prior"])
    True
    """
    fits = fits_by_law(fit, "sensitivity")
    by_law = {
        law: [p.name for p in member.plan.parameters if not p.is_fixed]
        for law, member in fits.items()
    }
    names = list(dict.fromkeys(n for listed in by_law.values() for n in listed))
    chosen = names if priors is None else [priors] if isinstance(priors, str) else list(priors)
    if problems := [unknown("parameter", n, names) for n in chosen if n not in names]:
        raise FitError(problems, where="sensitivity")
    columns = list(dict.fromkeys(c for member in fits.values() for c in member.law.columns))
    if at is not None and set(at) != set(columns):
        raise FitError(
            f"at= has {', '.join(map(str, at)) or 'no columns'}: give one value for each of "
            f"{', '.join(columns)}",
            where="sensitivity",
        )
    tables = []
    for law, member in fits.items():
        scaled = [n for n in chosen if n in by_law[law]]
        if not scaled:
            continue
        point = None if at is None else {c: at[c] for c in member.law.columns}
        table = _of_one(member, scaled, point)
        tables.append(table.rename(index=lambda name, law=law: f"{name} ({law})" if law else name))
    return Sensitivity(pd.concat(tables), tuple(chosen))


def _of_one(fit: Fit, chosen: Sequence[str], at: Mapping[str, object] | None) -> pd.DataFrame:
    """The table of one law."""
    plan = fit.plan
    values = {
        name: variable.to_numpy().reshape(-1, *variable.shape[2:])
        for name, variable in fit.posterior.data_vars.items()
    }
    z = coordinates(plan, values)
    places = [i for name, i in _top_level(plan) if name in chosen]
    log_prior = -0.5 * (z[:, places] ** 2).sum(axis=1)
    log_likelihood = density(plan).log_likelihood(z)
    quantities = _quantities(fit, at)
    table = pd.DataFrame(
        {
            "prior": _sensitivities(quantities, log_prior),
            "likelihood": _sensitivities(quantities, log_likelihood),
        },
        index=list(quantities),
    ).rename_axis("quantity")
    table["diagnosis"] = [_diagnosis(r.prior, r.likelihood) for r in table.itertuples()]
    table["median"] = [float(np.median(v)) for v in quantities.values()]
    reliable = True
    for column, power in (("weak_prior", WEAK), ("strong_prior", STRONG)):
        weight, k = _smoothed((power - 1) * log_prior)
        table[column] = [_median(v, weight) for v in quantities.values()]
        reliable &= bool(k <= LARGEST_K)
    table["reliable"] = reliable
    return table


def _top_level(plan: Design) -> list[tuple[str, int]]:
    """Parameter and coordinate of every prior that the user can set.

    Values of groups with partial pooling are drawn from a distribution that is estimated, so that
    they are left out.
    """
    out, place = [], 0
    for p in plan.parameters:
        if p.has_population:
            out.append((p.name, place))
            place += 1
        for effect in p.effects:
            size = len(plan.levels[effect.column])
            if effect.pooling == "partial":
                out.append((p.name, place))
                place += 1
            else:
                out += [(p.name, place + i) for i in range(size)]
            place += size
    return out


def _quantities(fit: Fit, at: Mapping[str, object] | None) -> dict[str, np.ndarray]:
    """Draws of every scalar of the posterior, and of the loss at a point; each (draw,)."""
    out = {}
    for name, variable in fit.posterior.data_vars.items():
        flat = variable.to_numpy().reshape(-1, *variable.shape[2:])
        if flat.ndim == 1:
            out[name] = flat
        else:
            labels = variable.coords[variable.dims[2]].values
            out |= {f"{name}[{label}]": flat[:, i] for i, label in enumerate(labels)}
    if at is None:
        return out
    law = fit.law
    point = {c: np.float64(parse_count(v) if isinstance(v, str) else v) for c, v in at.items()}
    for member in fit.members():
        values = fit.parameters(member or None)
        loss = law(point, fit.plan.scales, {p: values[p] for p in law.parameters})
        label = f"[{', '.join(member.values())}]" if member else ""
        out[f"loss{label}"] = np.asarray(loss).ravel()
    return out


def _sensitivities(quantities: Mapping[str, np.ndarray], log_density: np.ndarray) -> list[float]:
    from arviz_stats.base import array_stats

    # ArviZ expects the axes (chain, draw).
    low, high = (_smoothed((power - 1) * log_density)[0][None] for power in NEAR_ONE)
    return [
        float(array_stats.power_scale_sense(v[None], low, high, *NEAR_ONE))
        for v in quantities.values()
    ]


def _smoothed(log_weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights with a smoothed tail that sum to 1, and the tail index."""
    from arviz_stats.base import array_stats

    if np.ptp(log_weight) == 0:
        return np.full(len(log_weight), 1 / len(log_weight)), 0.0
    smoothed, k = array_stats.psislw(log_weight.max() - log_weight)  # of minus the log weights
    weight = np.exp(smoothed - np.max(smoothed))
    return weight / weight.sum(), float(k)


def _median(values: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    return float(np.interp(0.5, np.cumsum(weight[order]) - weight[order] / 2, values[order]))


def _diagnosis(prior: float, likelihood: float) -> str:
    if prior <= THRESHOLD:
        return ""
    if likelihood <= THRESHOLD:
        return "prior-dominated"
    return "prior and runs both matter"

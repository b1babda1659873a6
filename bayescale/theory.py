"""Theories of scaling exponents, to test a posterior against.

A theory predicts a number; it is no law that is fitted. `compare` gives the probability that the
exponent of a fit is larger than the prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pandas as pd

from bayescale.errors import FitError
from bayescale.intervals import defaults
from bayescale.model import Fit, Mixture, fits_by_law
from bayescale.text_tables import html_table, text_table

__all__ = ["THEORIES", "Theory", "TheoryComparison", "compare"]

#: The column of an exponent by its name in the laws of the package.
COLUMN = {"alpha": "N", "beta": "D", "alpha_N": "N", "alpha_D": "D"}
#: The constant c of an exponent c / d, for cross-entropy and squared error.
OF_DIMENSION = 4.0
#: A prediction is contradicted if the posterior probability of one side is below this.
SMALL = 0.05


@dataclass(frozen=True)
class Theory:
    """A prediction of an exponent.

    Attributes
    ----------
    name : str
    column : {"N", "D"}
        The exponent is that of this column.
    value : float or None
        The predicted exponent. None if it depends on the dimension of the data, as 4 / d, or on the
        other exponent.
    statement, reference : str
        The prediction in words, and the paper.
    """

    name: str
    column: str
    value: float | None
    statement: str
    reference: str


_BAHRI = "Bahri et al. 2021, arXiv:2102.06701"
_SHARMA = "Sharma & Kaplan 2020, arXiv:2004.10802"
#: The theories by name.
THEORIES: Mapping[str, Theory] = MappingProxyType(
    {
        t.name: t
        for t in (
            Theory("variance-limited in D", "D", 1.0, "the loss approaches its limit as 1/D where "
                   "the model is small relative to the data", _BAHRI),
            Theory("variance-limited in N", "N", 0.5, "the loss approaches its limit as 1/width, "
                   "and N grows as the square of the width", _BAHRI),
            Theory("resolution-limited in N", "N", None, "the exponent is 4/d for data on a "
                   "manifold of dimension d", _SHARMA),
            Theory("resolution-limited in D", "D", None, "the exponent is 4/d for data on a "
                   "manifold of dimension d", _BAHRI),
            Theory("quanta", "D", None, "the exponent of D is alpha / (1 + alpha) for an exponent "
                   "alpha of N", "Michaud et al. 2023, arXiv:2303.13506"),
        )
    }
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class TheoryComparison:
    """Exponents of a fit beside the predictions of theories.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per exponent and theory: ``exponent``, ``theory``, ``predicted`` (its median, if it
        depends on the other exponent; missing if it depends on an unknown dimension),
        ``probability_above`` (that the exponent is larger), ``median``, ``low`` and ``high`` of the
        exponent, ``dimension``, ``dimension_low`` and ``dimension_high`` (4 / exponent; of
        resolution-limited exponents), and ``paper``.
    ci_prob : float
        Probability of the intervals.
    """

    table: pd.DataFrame = field(repr=False)
    ci_prob: float = 0.9

    def bottom_line(self) -> str:
        """The answer in a sentence."""
        tested = self.table.dropna(subset=["predicted"])
        side = np.minimum(tested["probability_above"], 1 - tested["probability_above"])
        against = tested[side < SMALL]
        agree = tested[side >= SMALL]
        parts = []
        if len(against):
            named = ", ".join(f"{r.theory} ({r.exponent})" for r in against.itertuples())
            parts.append(f"The posterior contradicts {named}")
        if len(agree):
            named = ", ".join(f"{r.theory} ({r.exponent})" for r in agree.itertuples())
            parts.append(f"{'it' if parts else 'The posterior'} is compatible with {named}")
        free = self.table[self.table["predicted"].isna()]
        text = "; ".join(parts) + ("." if parts else "")
        if len(free):
            dimensions = "; ".join(
                f"{r.dimension:.0f} ({100 * self.ci_prob:.0f} % {r.dimension_low:.0f} to "
                f"{r.dimension_high:.0f}) from {r.exponent}"
                for r in free.itertuples()
            )
            text += f" With exponents of 4/d the data have the dimension {dimensions}."
        return text.strip()

    def __repr__(self) -> str:
        return f"{self.bottom_line()}\n{text_table(self._header, self._rows(), 110)}"

    def _repr_html_(self) -> str:
        return f"<p>{self.bottom_line()}</p>{html_table(self._header, self._rows())}"

    _header = ("exponent", "posterior", "theory", "predicted", "P(above)", "paper")

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                r.exponent,
                f"{r.median:.3g} ({r.low:.3g} to {r.high:.3g})",
                r.theory,
                "4/d" if np.isnan(r.predicted) else f"{r.predicted:.3g}",
                "" if np.isnan(r.probability_above) else f"{r.probability_above:.2f}",
                r.paper,
            )
            for r in self.table.itertuples()
        ]


def compare(
    fit: Fit | Mixture,
    *,
    dimension: float | None = None,
    group: str | Mapping[str, str] | None = None,
    ci_prob: float | None = None,
) -> TheoryComparison:
    """Compare the exponents of a fit with the predictions of theories.

    Parameters
    ----------
    fit : Fit or Average
        Of a law with an exponent of N or of D: ``chinchilla``, ``"power(N)"``, ``kaplan``, ... Of
        an average, the exponents of each such law, with the law in brackets:
        ``alpha (chinchilla)``.
    dimension : float, optional
        The dimension d of the manifold of the data, if it was measured. Without it, the dimension
        that an exponent of 4/d implies is given.
    group : str or mapping of str to str, optional
        A fitted group; by default a new group of the population.
    ci_prob : float, optional
        Probability of the intervals; 0.9 by default.

    Returns
    -------
    TheoryComparison
        Its ``repr`` begins with the answer.

    Raises
    ------
    FitError
        If `fit` is neither, if its law has no exponent of N or D, or if the dimension is not
        positive.

    Notes
    -----
    The exponent is that of a term of the law. The slope of the loss itself is smaller, because of
    the other terms and the limit.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> fit = bs.fit(runs, "chinchilla", draws=250, random_seed=1)
    >>> found = bs.theory.compare(fit)
    >>> above = found.table.set_index("theory")["probability_above"]
    >>> bool(above["variance-limited in D"] < 0.1)
    True
    """
    fits = fits_by_law(fit, "compare")
    if dimension is not None and not dimension > 0:
        raise FitError(f"dimension is {dimension!r}: give a positive number")
    prob, _ = defaults(ci_prob, "eti")
    rows = [
        row | {"exponent": f"{row['exponent']} ({law})" if law else row["exponent"]}
        for law, member in fits.items()
        for row in _rows_of(_exponents(member, group), dimension, prob)
    ]
    if not rows:
        raise FitError(
            f"law {fit.law.name!r} has no exponent of N or of D that a theory predicts: fit "
            "'chinchilla', 'kaplan', 'power(N)' or 'power(D)'"
        )
    return TheoryComparison(pd.DataFrame(rows), prob)


def _rows_of(exponents, dimension: float | None, prob: float) -> list[dict]:
    """A row for each exponent of one law and each theory of it."""
    columns = {column for _, column, _ in exponents}
    of_N = next((draws for _, column, draws in exponents if column == "N"), None)
    rows = []
    for name, column, draws in exponents:
        for theory in THEORIES.values():
            if theory.column != column or (theory.name == "quanta" and columns != {"N", "D"}):
                continue
            by_dimension = theory.name.startswith("resolution-limited")
            predicted = np.full(len(draws), np.nan)
            if theory.value is not None:
                predicted[:] = theory.value
            elif theory.name == "quanta":
                predicted = of_N / (1 + of_N)
            elif dimension is not None:
                predicted[:] = OF_DIMENSION / dimension
            tails = [0.5, (1 - prob) / 2, (1 + prob) / 2]
            middle, low, high = np.quantile(draws, tails)
            implied = np.quantile(OF_DIMENSION / draws, tails) if by_dimension else [np.nan] * 3
            known = np.isfinite(predicted).all()
            rows.append(
                dict(
                    exponent=name,
                    theory=theory.name,
                    predicted=float(np.median(predicted)),
                    probability_above=float((draws > predicted).mean()) if known else np.nan,
                    median=middle,
                    low=low,
                    high=high,
                    dimension=implied[0],
                    dimension_low=implied[1],
                    dimension_high=implied[2],
                    paper=theory.reference,
                )
            )
    return rows


def _exponents(fit: Fit, group) -> list[tuple[str, str, np.ndarray]]:
    """Name, column and draws of every exponent of N or D."""
    law, values = fit.law, fit.parameters(group)
    if law.name == "overtraining":
        draws = 2 * values["eta"].to_numpy().ravel()
        return [("2 eta", "N", draws), ("2 eta", "D", draws)]
    out = []
    for name in law.parameters:
        column = COLUMN.get(name)
        if name == "alpha" and len(law.columns) == 1:
            column = law.columns[0]
        if column in ("N", "D") and column in law.columns:
            out.append((name, column, values[name].to_numpy().ravel()))
    return out

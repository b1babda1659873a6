"""Informative priors from published constants: a meta-analysis with spread between papers.

An estimate of paper i is, on the link scale of the parameter,

    estimate = mu + between papers (sd tau) + between tables of one paper (sd omega) + its error

`mu` has a normal prior, `tau` and `omega` have half-normal priors. Together they have the width of
the default prior, so that the result is the default prior if there is no published value. Given
`tau` and `omega`, all distributions are normal; these two are integrated over a grid. The prior for
new runs is the distribution of the parameter in a new table of a new paper.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import pandas as pd

from bayescale.data import literature
from bayescale.errors import LawError
from bayescale.intervals import defaults
from bayescale.laws import REGISTRY, Law, get
from bayescale.priors import Fraction, Positive, Prior, Real, from_link, to_link
from bayescale.units import counted

#: Laws whose exponents have the meaning of those of `chinchilla`.
LIKE_CHINCHILLA = (
    "chinchilla", "skaling", "bounded_chinchilla", "repeated_data", "repeated_overfit",
    "learning_rate_batch",
)  # fmt: skip
#: Constants of one law that determine a parameter of another: law, name, factor.
OTHERS = {
    "alpha": (("chinchilla", "alpha", 1.0), ("overtraining", "eta", 2.0)),
    "beta": (("chinchilla", "beta", 1.0), ("overtraining", "eta", 2.0)),
    "eta": (
        ("overtraining", "eta", 1.0),
        ("chinchilla", "alpha", 0.5),
        ("chinchilla", "beta", 0.5),
    ),
}
#: A paper that fits the runs of another paper counts as the same study.
SAME_RUNS = {"Besiroglu et al. 2024, arXiv:2404.10102": "Hoffmann et al. 2022, arXiv:2203.15556"}
#: Fits to a part of the runs of a paper, which it also fits as a whole, are left out.
PARTS = r"up to \d+ tokens per parameter"
#: Standard deviation of the prior of `mu`, and scales of the half-normal priors of `tau` and
#: `omega`, in units of the width of the default prior. The sum of the squares is 1.
MU, TAU, OMEGA = 0.75, 0.53, 0.4
#: Points of the grid in each of `tau` and `omega`, and its end in units of their prior scales.
GRID, GRID_END = 60, 4.0
#: Smallest factor between groups that a prior may have.
LEAST_BETWEEN = 1.02


@dataclass(frozen=True, eq=False)
class LiteraturePriors(Mapping):
    """Priors from published constants, by parameter; a mapping for ``priors=``.

    Attributes
    ----------
    law : str
        Name of the law.
    priors : mapping of str to Prior
    estimates : pandas.DataFrame
        The published values that were used: ``parameter``, ``study``, ``value`` (converted to this
        parameter), and ``sd``, the published standard error on the link scale (0 if none).
    spreads : pandas.DataFrame
        Posterior medians of ``between_papers`` and ``between_tables`` by parameter: standard
        deviations on the link scale.
    """

    law: str
    priors: Mapping[str, Prior]
    estimates: pd.DataFrame = field(repr=False)
    spreads: pd.DataFrame = field(repr=False)

    def __getitem__(self, name: str) -> Prior:
        return self.priors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.priors)

    def __len__(self) -> int:
        return len(self.priors)

    def summary(self, ci_prob: float | None = None) -> pd.DataFrame:
        """The priors in a table, beside the default priors of the law.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.

        Returns
        -------
        pandas.DataFrame
            One row per parameter: ``values`` and ``studies`` (their numbers), ``median``, ``low``
            and ``high`` of the prior, ``default_low`` and ``default_high`` of the default prior.
        """
        prob, _ = defaults(ci_prob, "eti")
        rows, law = {}, get(self.law)
        for name, prior in self.priors.items():
            used = self.estimates[self.estimates["parameter"] == name]
            low, high = prior.interval(prob)
            default_low, default_high = law.priors[name].interval(prob)
            rows[name] = dict(
                values=len(used),
                studies=used["study"].nunique(),
                median=prior.median,
                low=low,
                high=high,
                default_low=default_low,
                default_high=default_high,
            )
        return pd.DataFrame(rows).T.rename_axis("parameter").astype({"values": int, "studies": int})

    def __repr__(self) -> str:
        lines = [f"<Priors of {self.law} from published constants>"]
        for name, row in self.summary().iterrows():
            lines.append(
                f"  {name}: {row['median']:.2g}, 90 % {row.low:.2g} to {row.high:.2g} "
                f"({counted(int(row['values']), 'value')} of "
                f"{counted(int(row.studies), 'study', 'studies')}; default "
                f"{row.default_low:.2g} to {row.default_high:.2g})"
            )
        return "\n".join(lines)


def priors_from_literature(
    law: str | Law = "chinchilla",
    *,
    domain: str | None = None,
    without: str | Sequence[str] = (),
) -> LiteraturePriors:
    """Priors of a law's unit-free parameters from published constants.

    The published values (`bayescale.literature`) are combined by a hierarchical meta-analysis. The
    prior is the distribution of the parameter in a new table of a new paper, so that it includes
    the spread between papers. Pass it as ``priors=``.

    Parameters
    ----------
    law : str or Law
        The law. Its floor and amplitudes keep their default priors, because they depend on
        tokenizer and data; parameters without published values do too.
    domain : str, optional
        Published values of this domain only, such as ``"language"``.
    without : str or sequence of str
        Papers that are left out, by a part of their name, such as ``"Gadre"``. Leave out a paper
        whose runs you fit: the prior would use them a second time.

    Returns
    -------
    LiteraturePriors
        A mapping from parameter to prior, with ``summary()``.

    Raises
    ------
    LawError
        If there are no published values of the law, in this domain.
    RunsError
        If there is no such domain or no such paper. The message lists what there is.

    Notes
    -----
    Papers that fit the same runs count as one study. Fits to a part of the runs of a paper are left
    out. A published standard error or interval
    enters as the error of the estimate. Where a paper states none, the error cannot be separated
    from the spread between tables, which it widens.

    Examples
    --------
    >>> import bayescale as bs
    >>> priors = bs.priors_from_literature("chinchilla", domain="language", without="Gadre")
    >>> list(priors)
    ['alpha', 'beta']
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> fit = bs.fit(runs, "chinchilla", priors=priors, draws=100, random_seed=1)
    >>> bool(0.1 < fit.posterior["alpha"].median() < 0.5)
    True
    """
    law = get(law)
    table = literature(domain)
    table = table[~table["note"].str.contains(PARTS)]
    for paper in [without] if isinstance(without, str) else without:
        literature(paper=paper)  # raises an error if there is no such paper
        table = table[~table["paper"].str.contains(paper, case=False, regex=False)]
    priors, estimates, spreads = {}, [], {}
    for name in _unit_free(law):
        used = _estimates(table, law, name)
        if not len(used):
            continue
        default = law.priors[name]
        study = pd.factorize(used["study"])[0]
        found = pooled(
            to_link(default.link, used["value"].to_numpy(float)),
            used["sd"].to_numpy(float),
            study,
            default.centre,
            default.width,
        )
        priors[name] = _prior(default, *found[:2], between=found[3])
        estimates.append(used.assign(parameter=name))
        spreads[name] = dict(between_papers=found[2], between_tables=found[3])
    if not priors:
        raise LawError(
            f"there are no published values of unit-free parameters of law {law.name!r}"
            + (f" in domain {domain!r}" if domain else "")
            + f": laws with published values are {', '.join(_with_values())}"
        )
    return LiteraturePriors(
        law.name,
        priors,
        pd.concat(estimates, ignore_index=True),
        pd.DataFrame(spreads).T.rename_axis("parameter"),
    )


def pooled(
    y: np.ndarray, sd: np.ndarray, study: np.ndarray, centre: float, width: float
) -> tuple[float, float, float, float]:
    """The distribution of the next estimate, by the meta-analysis of this file.

    Parameters
    ----------
    y, sd : (estimate,)
        Estimates and their standard errors on the link scale.
    study : (estimate,)
        Number of the study of each estimate.
    centre, width : float
        Median and width of the default prior on the link scale.

    Returns
    -------
    tuple of float
        Mean and standard deviation of the parameter in a new table of a new paper, and the
        posterior medians of the spreads between papers and between tables.

    Examples
    --------
    >>> mean, sd, *_ = pooled(np.zeros(9), np.full(9, 0.1), np.arange(9), 1.0, 0.5)
    >>> round(mean, 1), 0.05 < sd < 0.25
    (0.0, True)
    """
    steps = (np.arange(GRID) + 0.5) / GRID * GRID_END
    tau, omega = (v.ravel() for v in np.meshgrid(TAU * width * steps, OMEGA * width * steps))
    prior = np.exp(-0.5 * ((tau / (TAU * width)) ** 2 + (omega / (OMEGA * width)) ** 2))
    same = study[:, None] == study
    covariance = tau[:, None, None] ** 2 * same + np.eye(len(y)) * (
        omega[:, None, None] ** 2 + sd**2
    )
    root = np.linalg.cholesky(covariance)
    solved = np.linalg.solve(root, np.stack([y - centre, np.ones(len(y))], axis=-1))
    data, ones = solved[..., 0], solved[..., 1]
    precision = (ones**2).sum(axis=1) + (MU * width) ** -2
    projected = (data * ones).sum(axis=1)
    log_evidence = (
        -np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        - 0.5 * np.log(precision)
        - 0.5 * ((data**2).sum(axis=1) - projected**2 / precision)
    )
    weight = prior * np.exp(log_evidence - log_evidence.max())
    weight /= weight.sum()
    mu = centre + projected / precision
    variance = 1 / precision + tau**2 + omega**2
    mean = float(weight @ mu)
    sd_new = float(np.sqrt(weight @ (variance + (mu - mean) ** 2)))
    return mean, sd_new, _median(tau, weight), _median(omega, weight)


def _median(values: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    return float(values[order][np.searchsorted(np.cumsum(weight[order]), 0.5)])


def _prior(default: Prior, mean: float, sd: float, between: float) -> Prior:
    """A prior of the kind of the default one."""
    median = float(from_link(default.link, mean))
    if isinstance(default, Real):
        return Real(median, sd=sd, between=max(between, 1e-3 * sd))
    kind = Fraction if isinstance(default, Fraction) else Positive
    return kind(
        median, spread=float(np.exp(sd)), between=float(max(np.exp(between), LEAST_BETWEEN))
    )


def _unit_free(law: Law) -> list[str]:
    """Parameters that are the same number in every unit of the columns and of the loss."""
    in_units = {p for p, prior in law.priors.items() if getattr(prior, "of", None) == "loss"}
    if law.constants is not None:
        values = {p: from_link(prior.link, prior.centre) for p, prior in law.priors.items()}
        in_units |= set(law.constants(*(2.0 for _ in law.columns), **values))
    return [p for p in law.parameters if p not in in_units]


def _estimates(table: pd.DataFrame, law: Law, name: str) -> pd.DataFrame:
    """The published values of one parameter: study, value, and standard error on the link."""
    base = law.name.split("(")[0]
    own = law.name
    if base in ("power", "pure_power"):
        own = f"power({law.columns[0]})"
    sources = ((own, name, 1.0),)
    if law.name in LIKE_CHINCHILLA or law.name == "overtraining":
        sources = OTHERS.get(name, sources)
    rows = []
    for source, parameter, factor in sources:
        part = table[(table["law"] == source) & (table["parameter"] == parameter)]
        if base in ("power", "pure_power"):
            # Published power laws have a floor or none; the exponents differ.
            part = part[_has_floor(table, part) == ("E" in law.parameters)]
        for row in part.itertuples():
            sd = _standard_error(row.value, row.uncertainty, row.note, law.priors[name].link)
            rows.append((SAME_RUNS.get(row.paper, row.paper), factor * row.value, sd))
    return pd.DataFrame(rows, columns=["study", "value", "sd"])


def _has_floor(table: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Whether each published law has an irreducible loss above zero."""
    floors = table[(table["parameter"] == "E") & (table["value"] > 0)]
    keys = set(floors[["paper", "law", "note"]].itertuples(index=False, name=None))
    return np.array(
        [key in keys for key in rows[["paper", "law", "note"]].itertuples(index=False, name=None)],
        bool,
    )


def _standard_error(value: float, uncertainty: str, note: str, link: str) -> float:
    """The standard error of a published value on the link scale; 0 if none was published."""
    if not uncertainty:
        return 0.0
    if bounds := re.fullmatch(r"(\S+) to (\S+)", uncertainty):
        ends = to_link(link, np.array([float(b) for b in bounds.groups()]))
        prob = 0.8 if "10th to 90th" in note else 0.95
        return float(np.ptp(ends) / (2 * NormalDist().inv_cdf((1 + prob) / 2)))
    sd = float(uncertainty)
    slope = {"log": 1 / value, "logit": 1 / (value * (1 - value))}.get(link, 1.0)
    return abs(sd * slope)


def _with_values() -> list[str]:
    table = literature()
    return [
        name
        for name, law in REGISTRY.items()
        if any(len(_estimates(table, law, p)) for p in _unit_free(law))
    ]

"""Averages of laws: weighted fits to the same runs, and mixtures of their draws."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.data import Runs
from bayescale.errors import ConvergenceWarning, FitError
from bayescale.forecasting.cautions import doubts, main_reason
from bayescale.forecasting.members import beyond_largest, draw_losses, losses_by_law
from bayescale.forecasting.mixing import ROUNDING
from bayescale.forecasting.wording import (
    answer_html,
    answer_of_run,
    group_labels_in_words,
    run_in_words,
)
from bayescale.intervals import Summary, interval
from bayescale.keywords import setting
from bayescale.model import Check, Finding, Fit, Storable, merged, settle_groups
from bayescale.text_tables import html_table

#: Smallest weight of a fit whose failed check gives a warning. Fits of less weight hardly change an
#: interval.
SMALLEST_WEIGHT = 0.01


@dataclass(frozen=True)
class MixedLaw:
    """The laws of an average, with the attributes of one law.

    Attributes
    ----------
    name : str
        For example ``"average of chinchilla (62 %) and kaplan_floor (38 %)"``.
    columns : tuple of str
        The columns that any of the laws needs.
    sizes : tuple of str
        Those of the columns that are not settings.
    allocates : bool
        Whether all of the laws can split a budget between N and D.
    """

    name: str
    columns: tuple[str, ...]
    sizes: tuple[str, ...]
    allocates: bool


@dataclass(frozen=True, eq=False)
class Average(Storable):
    """Weighted fits of different laws to the same runs, for use in place of one fit.

    The posterior is the mixture of the posteriors of the laws. Its intervals therefore include the
    uncertainty about the law.

    Parameters
    ----------
    fits : mapping of str to Fit
        Fits of the same runs with the same group columns, by the name of their law.
    weights : mapping of str to float
        One for each fit; not negative, with sum 1. `bayescale.average` computes them.

    Raises
    ------
    FitError
        If fits are of different runs or group columns, or if weights are not valid. The message
        names every problem.

    Notes
    -----
    Stacking of predictive distributions: Yao, Vehtari, Simpson & Gelman 2018, arXiv:1704.02030.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> fit = bs.fit(runs, "kaplan_floor", random_seed=1)
    >>> bs.Average({"kaplan_floor": fit}, {"kaplan_floor": 1.0}).law.name
    'average of kaplan_floor (100 %)'
    """

    fits: Mapping[str, Fit]
    weights: Mapping[str, float] = field(repr=False)

    def __post_init__(self):
        if problems := _problems(self.fits, self.weights):
            raise FitError(problems, where="an average")
        object.__setattr__(self, "fits", dict(self.fits))
        object.__setattr__(self, "weights", {n: float(self.weights[n]) for n in self.fits})

    @property
    def _first(self) -> Fit:
        return next(iter(self.fits.values()))

    @property
    def runs(self) -> Runs:
        """The runs that were fitted."""
        return self._first.runs

    @property
    def groups(self) -> tuple[str, ...]:
        """The group columns."""
        return self._first.groups

    @property
    def random_seed(self) -> int:
        """The seed of the first fit."""
        return self._first.random_seed

    @property
    def used(self) -> dict[str, Fit]:
        """The fits of positive weight, by decreasing weight."""
        heaviest = sorted(self.fits, key=lambda name: -self.weights[name])
        return {name: self.fits[name] for name in heaviest if self.weights[name] > 0}

    @property
    def counted(self) -> dict[str, Fit]:
        """The fits with at least 1 % weight, by decreasing weight: those that sentences name."""
        heavy = {n: fit for n, fit in self.used.items() if self.weights[n] >= SMALLEST_WEIGHT}
        return heavy or self.used

    @cached_property
    def law(self) -> MixedLaw:
        """The laws with their weights, with the attributes of one law."""
        *before, last = [f"{name} ({percent(self.weights[name])})" for name in self.used]
        listed = f"{', '.join(before)} and {last}" if before else last
        members = [fit.law for fit in self.used.values()]
        columns = tuple(dict.fromkeys(c for law in members for c in law.columns))
        sizes = tuple(dict.fromkeys(c for law in members for c in law.sizes))
        allocates = all(law.allocates for law in members)
        return MixedLaw(f"average of {listed}", columns, sizes, allocates)

    def members(self) -> list[dict[str, str]]:
        """Every combination of group labels among the runs; one empty mapping without groups."""
        return self._first.members()

    def check(self) -> Check:
        """The checks of all fits with at least 1 % weight; see `bayescale.Fit.check`.

        Returns
        -------
        Check
            Findings that passed name their law, unless they are the same for all laws; what failed
            or calls for caution under several laws is one finding. ``passed`` is false if one of
            these fits failed. The runs that are farthest from the law, ``surprising``, are those
            of the heaviest fit.
        """
        asked = self.counted
        heaviest = next(iter(asked.values()))
        problems: dict[str, list[Finding]] = {name: [] for name in asked}
        passed: list[tuple[str, Finding]] = []
        for name, fit in asked.items():
            for finding in fit.check().findings:
                if finding.name == "surprise" and fit is not heaviest:
                    continue
                if finding.level == "passed":
                    passed.append((name, finding))
                    continue
                # The average that it proposes is this one.
                several = r", or the average of several \([^)]*\)" if len(asked) > 1 else "$^"
                remedy = re.sub(several, "", finding.remedy)
                problems[name].append(replace(finding, remedy=remedy))
        count = Counter(finding for _, finding in passed)
        findings = [
            replace(finding, text=f"{', '.join(laws)}: {finding.text}") if laws else finding
            for laws, finding in (
                *merged(problems),
                *((() if count[f] == len(asked) else (name,), f) for name, f in passed),
            )
        ]
        return Check(tuple(dict.fromkeys(findings)), heaviest.check().surprising)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """The parameters of every law.

        Parameters
        ----------
        ci_prob, ci_kind
            As in `bayescale.Fit.summary`.

        Returns
        -------
        pandas.DataFrame
            The rows of `bayescale.Fit.summary` of every fit of positive weight, the heaviest first;
            the index has the levels ``law`` and ``parameter``.

        Warns
        -----
        ConvergenceWarning
            If a fit failed its check.
        """
        self.warn_if_failed()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # given once for all fits
            parts = {name: fit.summary(ci_prob, ci_kind) for name, fit in self.used.items()}
        return Summary(pd.concat(parts, names=["law"]))

    @property
    def difference(self) -> str:
        """One sentence: the median loss of each law for the run of `bottom_line`."""
        place, group, _ = self._ahead
        expected = {name: float(v[0]) for name, v in self._by_law.items()}
        listed = ", ".join(f"{loss:.4g} ({name})" for name, loss in expected.items())
        spread = max(expected.values()) / min(expected.values()) - 1
        run = f"{run_in_words(place)}{group_labels_in_words(group)}"
        return (
            f"at ten times the compute of the largest run ({run}) the laws expect a loss of "
            f"{listed}: they differ by {100 * spread:.1f} %"
        )

    @cached_property
    def _ahead(self) -> tuple[dict[str, float], dict[str, str], xr.Dataset]:
        """A run of ten times the compute of the largest, its group, and draws of its loss."""
        place: dict[str, float] = {}
        for fit in reversed(self.used.values()):
            columns, group = beyond_largest(fit)
            place |= columns
        draws = draw_losses(
            self.used,
            self.weights,
            {c: np.array([v]) for c, v in place.items()},
            settle_groups(self._first.plan, group or None, 1),
            self.random_seed,
        )
        return place, group, draws

    @cached_property
    def _by_law(self) -> dict[str, np.ndarray]:
        """The median loss of this run under each law."""
        place, group, _ = self._ahead
        return losses_by_law(self.counted, place, group)

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt `bottom_line`, the most serious first.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval with which differences between the laws are compared; 0.9 by
            default.
        """
        place, group, draws = self._ahead
        low, high = interval(np.log(draws["mean"]), ci_prob)
        return doubts(self.used, self.weights, place, group, float((high - low)[0]), times=10.0)

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """What a run of ten times the largest compute would reach, and the main reason for doubt.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval; 0.9 by default.

        Returns
        -------
        str
            Two sentences. Loss and interval are those of `bayescale.forecast` at this point.
        """
        place, group, draws = self._ahead
        answer = answer_of_run(
            "At ten times the compute of the largest run, a run of {}",
            place,
            group,
            draws["loss"].isel(point=0),
            ci_prob,
        )
        return f"{answer} {main_reason(self.cautions(ci_prob))}"

    def warn_if_failed(self, stacklevel: int = 3) -> None:
        """Give one warning for all fits with more than 1 % weight that failed their check."""
        heavy = {
            name: fit for name, fit in self.fits.items() if self.weights[name] > SMALLEST_WEIGHT
        }
        warn_if_any_failed(heavy, "an average of", stacklevel + 1)

    def __repr__(self) -> str:
        over = f" over {', '.join(self.groups)}" if self.groups else ""
        lines = [self.bottom_line()]
        lines += [f"<Average of {len(self.fits)} laws for {len(self.runs)} runs{over}>"]
        for name in sorted(self.fits, key=lambda name: -self.weights[name]):
            verdict = self.fits[name].check().verdict
            lines.append(f"  {percent(self.weights[name]):>5}  {name}: {verdict}")
        lines += [f"  {self.difference}"] if len(self.counted) > 1 else []
        lines += [f"  note: {self.runs.lacking}"] if self.runs.lacking else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cells = [
            (name, percent(weight), self.fits[name].check().verdict.removeprefix("check "))
            for name, weight in sorted(self.weights.items(), key=lambda item: -item[1])
        ]
        table = html_table(("law", "weight", "check"), cells)
        return answer_html(self.bottom_line(), table, self.cautions()[1:])


def check_posterior(fit: object, function: str) -> None:
    """Raise an error unless `fit` is a fit or an average."""
    if not isinstance(fit, (Fit, Average)):
        raise FitError(
            f"got {type(fit).__name__}: give a Fit or an Average, such as bs.ensemble(runs)",
            where=function,
        )


def warn_if_any_failed(fits: Mapping[str, Fit], what: str, stacklevel: int) -> None:
    """Give one warning that names all fits that failed their check."""
    failed = {
        name: [f.name for f in fit.check().problems if f.level == "failed"]
        for name, fit in fits.items()
    }
    if named := [f"{name} ({', '.join(why)})" for name, why in failed.items() if why]:
        warnings.warn(
            f"{what} fits that failed their check: {'; '.join(named)}. Do not rely on "
            "its results; see check() of each fit",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )


def percent(weight: float) -> str:
    """The weight of a law in percent, as text."""
    return "<1 %" if 0 < weight < 0.005 else f"{100 * weight:.0f} %"


def fits_of(fit: Fit | Average) -> dict[str, Fit]:
    """The fits of an average with positive weight, the heaviest first; of one fit, itself."""
    return fit.used if isinstance(fit, Average) else {fit.law.name: fit}


def weights_of(fit: Fit | Average) -> dict[str, float]:
    """The weights of an average by name; of one fit, 1."""
    return dict(fit.weights) if isinstance(fit, Average) else {fit.law.name: 1.0}


# -- checks of fits and weights ------------------------------------------------------------------


def named(fits: Mapping[str, Fit] | Sequence[Fit]) -> dict[str, Fit]:
    """Fits by name. The names of fits in a sequence are those of their laws.

    Raises
    ------
    FitError
        If there is no fit, if a value is not a fit, or if two fits have the same name.
    """
    if isinstance(fits, Mapping):
        members = {str(name): fit for name, fit in fits.items()}
        problems = _not_fits(members)
    elif isinstance(fits, Sequence) and not isinstance(fits, str):
        problems = _not_fits({f"number {i}": fit for i, fit in enumerate(fits)})
        names = [fit.law.name for fit in fits if isinstance(fit, Fit)]
        problems += [
            f"{names.count(name)} fits are of law {name!r}: give them names, as in "
            "{'first': fit, 'second': other}"
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        members = {} if problems else dict(zip(names, fits, strict=True))
    else:
        raise FitError(
            f"expected several fits, got {type(fits).__name__}: give a mapping from "
            "names to fits, or a list of fits"
        )
    if not problems and not members:
        problems = ["there is no fit: give one or more"]
    if problems:
        raise FitError(problems)
    return members


def other_runs(fits: Mapping[str, Fit]) -> list[str]:
    """One message for each fit that was not fitted to the runs of the first fit."""
    (reference, first), *rest = fits.items()
    return [
        f"{reference} and {name} were fitted to different runs ({len(first.runs)} from "
        f"{first.runs.source}; {len(fit.runs)} from {fit.runs.source}): fit all laws to the same "
        "table, with the rows in the same order"
        for name, fit in rest
        if fit.runs.fingerprint != first.runs.fingerprint
    ]


def _not_fits(fits: Mapping[str, object]) -> list[str]:
    return [
        f"{name} is {type(fit).__name__}, not a fit: make one with bs.fit(runs, law)"
        for name, fit in fits.items()
        if not isinstance(fit, Fit)
    ]


def _problems(fits: Mapping[str, Fit], weights: Mapping[str, float]) -> list[str]:
    if not isinstance(fits, Mapping) or not isinstance(weights, Mapping):
        return [
            f"fits are {type(fits).__name__} and weights {type(weights).__name__}: give two "
            "mappings from the names of the laws"
        ]
    problems = _wrong_weights(fits, weights)
    if not fits:
        return ["there is no fit: give one or more", *problems]
    if not_fits := _not_fits(fits):
        return [*not_fits, *problems]
    (reference, first), *rest = fits.items()
    problems += other_runs(fits)
    problems += [
        f"{name} has groups {', '.join(fit.groups) or '(none)'}, {reference} has "
        f"{', '.join(first.groups) or '(none)'}: fit both with the same {setting('groups')}"
        for name, fit in rest
        if fit.groups != first.groups
    ]
    return problems


def _wrong_weights(names: Iterable[str], weights: Mapping[str, float]) -> list[str]:
    problems = [
        f"{name} has no weight: give one for each fit" for name in names if name not in weights
    ]
    problems += [
        f"there is a weight for {name!r}, but no such fit: the fits are "
        f"{', '.join(names) or 'none'}"
        for name in weights
        if name not in names
    ]
    values = np.array([weights[name] for name in names if name in weights], dtype=float)
    shown = ", ".join(f"{v:.6g}" for v in values)
    if not (np.isfinite(values) & (values >= 0)).all():
        problems.append(f"the weights are {shown}: none may be negative")
    elif len(values) and not problems and abs(values.sum() - 1) > ROUNDING:
        problems.append(f"the weights {shown} sum to {values.sum():.10g}: they must sum to 1")
    return problems

"""The verdict of a comparison of laws: which one the runs support, and what could change that."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from bayescale.evaluation.claims import LARGE
from bayescale.evaluation.comparison import SOURCES, Comparison, not_converged
from bayescale.intervals import defaults, table
from bayescale.units import format_count

#: A law of less weight hardly changes the average exponent.
NEGLIGIBLE = 0.01

#: Why exponents of a comparison can differ from those of forecasts and allocations.
EXACT = (
    "the laws are taken to hold for all runs, small ones too; several laws that forecast or "
    "allocate together may fail in small runs, and can have other exponents"
)


def supported(
    compared: Comparison,
    exponents: Mapping[str, xr.DataArray],
    probabilities: Mapping[str, float],
    ci_prob: float | None = None,
) -> str:
    """The verdict of a comparison, with the average exponent and its interval."""
    middle, low, high = table(exponents["average"], "a", ci_prob).iloc[0]
    return (
        f"{compared.verdict.rstrip('.')}; averaged with weights by "
        f"{SOURCES[compared.method]}, N* ~ C^a with a = {middle:.2f} "
        f"({100 * defaults(ci_prob)[0]:g} %: {low:.2f} to {high:.2f}), "
        f"P(a > {LARGE}) = {probabilities[f'a > {LARGE}']:.2f}."
    )


def verdict(compared: Comparison, exponents, probabilities, decides) -> str:
    """Which law the runs support, and which run could change that.

    The average exponent depends on every fit of more than negligible weight, and the run on the two
    best fits. No verdict is drawn if one of these fits did not converge.
    """
    best, second = list(compared.table.index[:2])
    weighted = {n: f for n, f in compared.fits.items() if compared.weights[n] > NEGLIGIBLE}
    if failed := not_converged({**weighted, **{n: compared.fits[n] for n in (best, second)}}):
        return (
            "No verdict can be drawn, because fits did not converge: "
            f"{'; '.join(failed.values())}.\n"
            "Sample these fits again with more draws and tune, or leave their laws out."
        )
    first = compared.verdict
    if "average" in exponents:
        first = supported(compared, exponents, probabilities)
    if not decides:
        return (
            f"{first}\nRuns far from the present ones, in size and in tokens per parameter, could "
            "change it; no single one can be named for these laws or without a group."
        )
    run = f"{format_count(decides['N'])} parameters on {format_count(decides['D'])} tokens"
    expected = (
        f"{best} expects a loss of {decides[best]:.2f} and {second} {decides[second]:.2f}, "
        f"{decides['apart']:.1f} standard deviations of a new run apart"
    )
    if decides["apart"] < 1:
        return f"{first}\nNo single run within reach could change it: even at {run} {expected}."
    return f"{first}\nA run of {run} could change it: there {expected}."

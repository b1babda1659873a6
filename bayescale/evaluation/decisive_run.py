"""The run, not far from the fitted runs, on which the two best laws disagree most."""

from __future__ import annotations

import numpy as np

from bayescale.evaluation.comparison import Comparison
from bayescale.forecasting import forecast

#: The range of the search as a factor beyond the N, D and C of the runs, and the number of values
#: of N and of D. Tokens per parameter are restricted to the range of the runs.
BEYOND, SIZES = 4.0, 13


def decisive_run(compared: Comparison, group, seed: int) -> dict[str, object]:
    """Find the run on which the two best laws disagree most.

    Parameters
    ----------
    compared : Comparison
    group : str, mapping or None
    seed : int

    Returns
    -------
    dict
        ``N``, ``D``, ``C``; the median loss under each of the two laws, by name; ``apart``, the
        difference of their log medians in standard deviations of a new run (the root mean square
        of those of both laws). Empty for laws of columns other than N, D and C, or if no run is in
        the range of the search.
    """
    names = list(compared.table.index[:2])
    runs = compared.fits[names[0]].runs
    columns = {c for c in "NDC" if c in runs}
    if columns != set("NDC") or any(set(compared.fits[n].law.columns) - columns for n in names):
        return {}
    N, D = (
        np.geomspace(runs.table[c].min() / BEYOND, runs.table[c].max() * BEYOND, SIZES)
        for c in "ND"
    )
    N, D = (v.ravel() for v in np.meshgrid(N, D))
    tokens_per_parameter, ratio = runs.table["D"] / runs.table["N"], D / N
    within = (
        (runs.flop_factor * N * D <= runs.table["C"].max() * BEYOND)
        & (ratio >= 0.99 * tokens_per_parameter.min())
        & (ratio <= 1.01 * tokens_per_parameter.max())
    )
    if not within.any():
        return {}
    N, D = N[within], D[within]
    quantiles = []
    for name in names:
        ahead = forecast(compared.fits[name], N=N, D=D, group=group, random_seed=seed)
        log_loss = np.log(ahead.data["loss"])
        quantiles.append(log_loss.quantile([0.16, 0.5, 0.84], ("chain", "draw")).to_numpy())
    sd = np.hypot(*((q[2] - q[0]) / 2 for q in quantiles)) / np.sqrt(2)
    apart = np.abs(quantiles[0][1] - quantiles[1][1]) / sd
    i = int(apart.argmax())
    return {
        "N": float(N[i]),
        "D": float(D[i]),
        "C": float(runs.flop_factor * N[i] * D[i]),
        "apart": float(apart[i]),
        **{name: float(np.exp(q[1, i])) for name, q in zip(names, quantiles, strict=True)},
    }

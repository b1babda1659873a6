"""Weights of a mixture by stacking, and draws of a mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from bayescale.errors import FitError

#: Stacking stops when no weight changes by more than this, or after this many steps.
TOLERANCE, STEPS = 1e-10, 50_000
#: Rounding errors of shares, weights and costs, relative to their size.
ROUNDING = 1e-9


def stacking(log_density: np.ndarray, problem: Sequence | None = None) -> np.ndarray:
    """Weights of a mixture that maximise its log score, by stacking of predictive distributions.

    Parameters
    ----------
    log_density : array_like, dims (point, law)
        Log predictive density of each outcome under each law.
    problem : array_like, dims (point,), optional
        Label of the forecast problem of each point. Points of one problem are predicted from the
        same fitted runs, so their errors are correlated. Each problem therefore has the same
        weight, for any number of points. By default every point is a separate problem.

    Returns
    -------
    numpy.ndarray, dims (law,)
        Not negative, with sum 1.

    Raises
    ------
    FitError
        If a point has no finite log score under any law.

    Notes
    -----
    The weights maximise the sum over problems of the mean over points of log sum_k w_k p_k (Yao,
    Vehtari, Simpson & Gelman 2018, arXiv:1704.02030), plus the penalty sum_k log(w_k) / K for K
    laws. The penalty is that of one additional problem of K points, each with a positive density
    under one law only. With few problems it keeps weights away from 0 and 1. The objective is
    concave, and each step of expectation maximisation increases it.

    Examples
    --------
    >>> always_better = np.tile([0.0, -50.0], (99, 1))
    >>> stacking(always_better).round(3).tolist(), stacking(always_better[:1]).round(3).tolist()
    ([0.995, 0.005], [0.75, 0.25])
    """
    log_density = np.asarray(log_density, dtype=float)
    best = log_density.max(axis=1, keepdims=True)
    if invalid := int((~np.isfinite(best)).sum()):
        raise FitError(
            f"{invalid} of {len(best)} points have a log score that is not a number, or none that "
            "is finite under any law: remove these points"
        )
    _, index, size = np.unique(
        np.arange(len(best)) if problem is None else np.asarray(problem),
        return_inverse=True,
        return_counts=True,
    )
    density, share = np.exp(log_density - best), 1 / size[index]
    laws = density.shape[1]
    weights = np.full(laws, 1 / laws)
    for _ in range(STEPS):
        joint = weights * density
        expected = share @ (joint / joint.sum(axis=1, keepdims=True))
        previous, weights = weights, (expected + 1 / laws) / (len(size) + 1)
        if np.abs(weights - previous).max() < TOLERANCE:
            break
    return weights / weights.sum()


def shares(weights: Mapping[str, float], total: int) -> dict[str, int]:
    """Number of draws of each member among `total`, in proportion to the weights.

    The method of largest remainders is used. The counts sum to `total`, and each differs from its
    exact share by less than one.

    Examples
    --------
    >>> shares({"chinchilla": 0.62, "kaplan": 0.38, "power": 0.0}, 10)
    {'chinchilla': 6, 'kaplan': 4, 'power': 0}
    """
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    # Because of rounding, a share of 3 may be computed as 2.9999999999999996.
    counts = {name: int(share + ROUNDING) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def mix(
    datasets: Mapping[str, xr.Dataset],
    weights: Mapping[str, float],
    draws: int | None = None,
) -> xr.Dataset:
    """Draws from a mixture, with a number from each member in proportion to its weight.

    Parameters
    ----------
    datasets : mapping of str to xarray.Dataset
        One for each member, dims (chain, draw, ...); other dims and coordinates must be equal.
    weights : mapping of str to float
        One for each member.
    draws : int, optional
        Draws per chain of the mixture; by default the largest number of a member.

    Returns
    -------
    xarray.Dataset
        The variables that all members share; dims (chain, draw, ...). The number of chains is the
        smallest of a member. Draws of all members are interleaved in every chain, so that all parts
        of all chains have the same distribution. The draws of a single member are returned
        unchanged.

    Raises
    ------
    xarray.MergeError
        If coordinates, or variables without draws, differ between members.

    Examples
    --------
    >>> one = xr.Dataset({"loss": (("chain", "draw"), [[1.0, 1.0, 1.0, 1.0]])})
    >>> mix({"a": one, "b": 3 * one}, {"a": 0.25, "b": 0.75})["loss"].values.tolist()
    [[3.0, 1.0, 3.0, 3.0]]
    """
    members = list(datasets.values())
    chains = min(d.sizes["chain"] for d in members)
    draws = max(d.sizes["draw"] for d in members) if draws is None else int(draws)
    counts = shares({name: weights[name] for name in datasets}, draws)
    common = [v for v in members[0].data_vars if all(v in d for d in members)]
    parts = [_spaced(datasets[name][common], chains, n) for name, n in counts.items() if n]
    mixed = xr.concat(
        parts, "draw", data_vars="minimal", coords="minimal", compat="equals", join="exact"
    )
    # Draw i of n of a member is placed at (i + 1/2) / n of the chain.
    place = np.concatenate([(np.arange(n) + 0.5) / n for n in counts.values() if n])
    mixed = mixed.isel(draw=np.argsort(place, kind="stable"))
    return mixed.assign_coords(chain=range(chains), draw=range(draws))


def _spaced(data: xr.Dataset, chains: int, draws: int) -> xr.Dataset:
    """Evenly spaced draws: `draws` for each of `chains` chains, from all chains of a member."""
    places = []
    for source_chains in np.array_split(np.arange(data.sizes["chain"]), chains):
        available = len(source_chains) * data.sizes["draw"]
        place = ((np.arange(draws) + 0.5) * available / draws).astype(int)
        places.append(source_chains[0] * data.sizes["draw"] + place)
    chain, draw = np.divmod(np.array(places), data.sizes["draw"])
    dims = ("chain", "draw")
    data = data.drop_vars(dims, errors="ignore")
    picked = data.isel(chain=xr.DataArray(chain, dims=dims), draw=xr.DataArray(draw, dims=dims))
    return picked.transpose(*dims, ...)

"""Whether fits differ in more than the law, so that they cannot be compared on their runs."""

from __future__ import annotations

from collections.abc import Mapping

from bayescale.model import Fit


def different_drifts(fits: Mapping[str, Fit]) -> list[str]:
    """Problems if some fits have drift through checkpoints and others do not.

    With drift through checkpoints, each checkpoint is predicted from its neighbours under any law.
    """
    drifts = {name: fit.plan.drift for name, fit in fits.items() if fit.plan.has_series}
    if len({drift == "through" for drift in drifts.values()}) < 2:
        return []
    listed = ", ".join(f"{name}: {drift!r}" for name, drift in drifts.items())
    return [
        f"the fits differ in the drift through checkpoints ({listed}), so LOO would compare "
        "drifts, not laws: fit all with the same drift="
    ]


def different_errors(fits: Mapping[str, Fit]) -> list[str]:
    """Problems if some laws have an error in small runs and others do not.

    A law that may fail in small runs is not expected to forecast them as well as one that may not.
    """
    fails = {name: fit.plan.has_law_error for name, fit in fits.items()}
    if len(set(fails.values())) < 2:
        return []
    may, may_not = (", ".join(n for n, f in fails.items() if f == which) for which in (True, False))
    return [
        f"{may} may fail in small runs and {may_not} may not, so that the runs count differently "
        "under them: fit all with law_error=True, or all with law_error=False"
    ]

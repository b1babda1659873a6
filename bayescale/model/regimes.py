"""Cautions about runs that a law does not describe, such as repeated data or rising losses."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayescale.keywords import on_command_line, option
from bayescale.laws import REGISTRY
from bayescale.model.design import Design
from bayescale.model.findings import Finding
from bayescale.units import counted

#: Epochs from which data count as repeated.
REPEATED = 1.05
#: Settings of training, and their names in messages.
SETTINGS = {"lr": "learning rates", "batch": "batch sizes", "vocab": "vocabularies"}
#: Reported are settings that vary at more than this share of the points, and losses that rise in at
#: least this number and this share of the pairs of runs.
VARYING, FEWEST_RISES, RISING = 0.2, 3, 0.15
#: A loss rises from one run to another by at least this share, and by this many noise scales.
RISE, NOISE_SCALES = 0.01, 3.0
#: Relative difference below which two sizes are the same.
SAME = 0.01


def regime_findings(plan: Design, sigma: float) -> list[Finding]:
    """Cautions where the runs are outside the regime of the law.

    Parameters
    ----------
    plan : Design
    sigma : float
        Scale of the noise of log loss.
    """
    found = [
        _ignored(plan),
        _repeated(plan),
        *_settings(plan),
        _routed(plan),
        _rising(plan, sigma),
    ]
    return [f for f in found if f is not None]


def _ignored(plan: Design) -> Finding | None:
    """Groups of the runs that the fit does not distinguish."""
    table = plan.runs.table
    ignored = [g for g in plan.runs.groups if g not in plan.groups and table[g].nunique() > 1]
    if not ignored:
        return None
    counts = ", ".join(f"{g} ({table[g].nunique()} labels)" for g in ignored)
    listed = (
        ",".join(ignored) if on_command_line() else ignored[0] if len(ignored) == 1 else ignored
    )
    return Finding(
        "groups",
        "caution",
        f"the runs have groups that the fit does not distinguish: {counts}",
        f"fit with {option('groups', listed)}, or one group at a time",
    )


def _repeated(plan: Design) -> Finding | None:
    table, law = plan.runs.table, plan.law
    if "U" in law.columns or "D" not in table:
        return None
    if "U" in table:
        epochs = table["D"] / table["U"]
    elif "epochs" in table:
        epochs = pd.to_numeric(table["epochs"], errors="coerce")
    else:
        return None
    repeated = epochs > REPEATED
    if not repeated.any():
        return None
    return Finding(
        "regime",
        "caution",
        f"{counted(int(repeated.sum()), 'run repeats its', 'runs repeat their')} data, up to "
        f"{epochs.max():.3g} epochs, but law {law.name!r} counts repeated tokens as new ones",
        "fit a law of unique tokens, such as 'repeated_data' or 'repeated_bounded'",
    )


def _settings(plan: Design) -> list[Finding]:
    """Settings that differ between runs with the same columns of the law."""
    table, law = plan.runs.table, plan.law
    keys = [c for c in (*law.columns, *plan.groups) if c in table]
    out = []
    for setting, words in SETTINGS.items():
        if setting not in table or setting in law.columns:
            continue
        if pd.to_numeric(table[setting], errors="coerce").isna().any():
            continue
        values = table.groupby([_rounded(table[c]) for c in keys])[setting].nunique()
        several = values > 1
        if several.mean() > VARYING:
            out.append(
                Finding(
                    "regime",
                    "caution",
                    f"{int(several.sum())} of {len(values)} points have runs with several {words} "
                    f"(up to {int(values.max())}), whose effect counts as noise under a law "
                    "without them",
                    f"keep the best run of each point ({option('keep_best')})"
                    + _with_column(setting, table),
                )
            )
    return out


def _with_column(setting: str, table: pd.DataFrame) -> str:
    """The laws that read a setting and whose columns the table has, as a further remedy."""
    fitting = [
        repr(law.name)
        for law in REGISTRY.values()
        if setting in law.columns and set(law.columns) <= set(table)
    ]
    return f", or fit a law with this column: {' or '.join(fitting)}" if fitting else ""


def _rounded(column: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(column):
        return column.astype(str)
    return np.round(np.log(column.astype(float)) / SAME)


def _routed(plan: Design) -> Finding | None:
    """Mixtures of experts under a law with a single number of parameters."""
    table, law = plan.runs.table, plan.law
    both = [c for c in ("N_active", "N_total") if c in table]
    if not both or "N" not in law.columns or {"N_active", "N_total", "experts"} & set(law.columns):
        return None
    ratio = table[both[0]] / table["N"]
    differs = np.abs(np.log(ratio)) > np.log(1.2)
    if not differs.any() or np.ptp(np.log(ratio)) < np.log(1.2):
        return None
    which = "in use" if both[0] == "N_active" else "in total"
    return Finding(
        "regime",
        "caution",
        f"parameters {which} are not in proportion to N (a ratio of {ratio.min():.3g} to "
        f"{ratio.max():.3g}): mixtures of experts, which law {law.name!r} treats as dense models",
        "fit a law of both, such as 'sparse_experts' or 'routed_experts'",
    )


def _rising(plan: Design, sigma: float) -> Finding | None:
    """Losses that rise with a column although the law falls in it."""
    table, law = plan.runs.table, plan.law
    if plan.has_series:
        return None
    fixed = [c for c in ("N", "D", "U", "lr", "batch", "experts", "N_total", "vocab") if c in table]
    fixed = [c for c in fixed if pd.api.types.is_numeric_dtype(table[c])]
    labels = sorted({*plan.groups, *plan.runs.groups})
    for column in (c for c in ("D", "N") if c in law.falling):
        # Under a law without unique tokens they follow from the tokens.
        same = [c for c in fixed if c != column]
        keys = [_rounded(table[c]) for c in same] + [table[g].astype(str) for g in labels]
        frame = pd.DataFrame({"x": np.log(table[column]), "y": np.log(table["loss"])})
        frame = frame.sort_values("x", kind="stable")
        by = frame.groupby([k.reindex(frame.index) for k in keys]) if keys else None
        steps = by.diff().dropna() if by is not None else frame.diff().dropna()
        steps = steps[steps["x"] > SAME]
        rises = (steps["y"] > max(RISE, NOISE_SCALES * np.sqrt(2) * sigma)) if len(steps) else []
        count = int(np.sum(rises))
        if count >= FEWEST_RISES and count > RISING * len(steps):
            return Finding(
                "regime",
                "caution",
                f"the loss rises with {column} between {count} of {len(steps)} pairs of runs that "
                f"differ in {column} only, by up to {100 * np.expm1(steps['y'].max()):.2g} %, but "
                f"law {law.name!r} falls in {column}",
                "if over-fitting or unsuitable settings are the reason, leave these runs out, or "
                "fit a law that can rise, such as 'repeated_overfit'",
            )
    return None

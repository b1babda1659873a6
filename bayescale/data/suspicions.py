"""Cautions about a table that can be fitted: unfinished runs, several rows of a point, others."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pandas as pd

from bayescale.data import remedies
from bayescale.data.formats import RawTable
from bayescale.units import counted

#: Asked about rows whose tokens per parameter are of another order of magnitude.
CHECK_ROWS = "check the units of N and D there"
#: Losses at one (N, D) that differ by more than this share differ by more than noise.
SPREAD = 0.02
#: The same if no column explains the difference: repeated runs may differ by a few percent.
UNEXPLAINED = 0.05
#: A loss this many times above a smooth surface through the others is that of a failed run.
EXTREME = 1.6
#: States of runs whose last loss is not that of a finished run: they ended early, or still run.
#: The words are those of W&B, MLflow and Slurm, and common ones, in letters alone.
FAILED = frozenset(
    {"crashed", "failed", "fail", "killed", "diverged", "nan", "preempted", "error", "oom",
     "outofmemory", "timeout", "timedout", "cancelled", "cancelledby", "canceled", "aborted",
     "nodefail", "interrupted"}
)  # fmt: skip
UNFINISHED = frozenset({"running", "pending", "queued", "preempting", "scheduled"})
#: Columns of states: ``state``, ``run_state``, ``job status``.
STATE = re.compile(r"(?:^|[^a-z])(?:state|status)$", re.IGNORECASE)
NO_LETTER = re.compile(r"[^a-z]")
#: Tokens per parameter; outside these, a row that differs from the median by this factor is
#: probably in another unit than the others.
RATIOS, FAR = (1e-2, 1e5), 1e3
#: Checkpoints of which the learning rate has fallen below this share of its peak have a decay.
DECAYED = 0.7
#: So many such rows are not single errors.
MANY_ROWS = 3
#: Ratios of two units of loss.
UNITS_OF_LOSS = {
    1 / np.log(2): "they are in bits and the others in nats (1 bit is 0.6931 nats)",
    100.0: "they are in per cent and the others are shares",
}
#: Names of columns, in small letters alone, whose labels are of single runs.
RUN = frozenset({"run", "runid", "runname", "experiment", "experimentid", "experimentname"})
#: Names whose labels may be of single runs, or of models that were trained several times: only with
#: as many values of D as few sweeps have are their rows taken to be checkpoints.
MODEL, MANY = frozenset({"model", "modelname", "modelid", "name"}), 8
STEP = frozenset({"step", "steps", "globalstep", "iteration", "iter", "checkpoint"})
#: Names of settings of training that are swept to find the best.
SWEPT = re.compile(
    r"(?:^|[^a-z])(?:lr|wd|seed|beta\d?)(?:$|[^a-z])|learning|rate|batch|decay|warmup|momentum|dropout"
    r"|clip|optim|schedul",
    re.IGNORECASE,
)
SUMMARY = re.compile(r"(macro |micro |overall )?(avg\.?|average|mean|median|overall|total|sum|all)")


def cautions(columns: dict, groups: tuple[str, ...], raw: RawTable, used: set[str]) -> list[str]:
    """Every caution about checked columns; `used` names the columns that were read."""
    others = [c for c in raw.cells.columns if c not in used and c not in groups]
    # The losses of checkpoints are final while their run is under way.
    states = FAILED if "series" in columns else FAILED | UNFINISHED
    notes = [*failed(raw, states), *_summaries(raw, others)]
    if "series" not in columns:
        notes += _extreme(columns, groups, raw) + _several_rows(columns, groups, raw, others)
        notes += _checkpoints(columns, raw, others)
    notes += _unusual_ratios(columns, raw) + _decaying(columns)
    return notes + _proportional(columns, raw, others) + _repeated(columns, raw)


def failed(raw: RawTable, of: Collection[str] = FAILED | UNFINISHED) -> list[str]:
    """A note on rows whose state is one of these: crashed, failed, or running as well."""
    in_words, bad = _of_state(raw, of)
    if not bad.any():
        return []
    return [
        f"{counted(int(bad.sum()), 'run has', 'runs have')} not finished {in_words}: if their "
        f"losses are missing or not final, leave them out with {remedies.option('drop_failed')}"
    ]


def has_failed(raw: RawTable) -> np.ndarray:
    """Which rows are of runs whose state is crashed, failed or running."""
    return _of_state(raw)[1]


def without_failed(raw: RawTable) -> RawTable:
    """The table without rows whose state is crashed, failed or running, and a note on them."""
    in_words, bad = _of_state(raw)
    if not bad.any():
        return raw
    note = f"left out {counted(int(bad.sum()), 'unfinished run')} {in_words}"
    return replace(raw, cells=raw.cells[~bad], notes=(*raw.notes, note))


def _of_state(raw: RawTable, of: Collection[str] = FAILED | UNFINISHED) -> tuple[str, np.ndarray]:
    """The states of runs that did not finish, counted, in words; and which rows these are."""
    for column in raw.cells.columns:
        if STATE.search(str(column)):
            states = pd.Series([str(v).strip().lower() for v in raw.cells[column]], dtype=object)
            bad = states.map(lambda state: NO_LETTER.sub("", state) in of).to_numpy(bool)
            each = states[bad].value_counts(sort=False)
            counts = ", ".join(f"{number} {state}" for state, number in each.items())
            return f"by column {column!r} ({counts}) {raw.rows(bad)}", bad
    return "", np.zeros(len(raw.cells), dtype=bool)


def _summaries(raw: RawTable, others) -> list[str]:
    for column in others:
        bad = np.array(
            [bool(SUMMARY.fullmatch(str(v).strip().lower())) for v in raw.cells[column]], dtype=bool
        )
        if bad.any() and not bad.all():
            label = str(raw.cells[column][bad].iloc[0])
            return [
                f"{counted(int(bad.sum()), 'row')} of {column!r} labelled {label!r} "
                f"{raw.rows(bad)}: remove such rows if they are averages of others"
            ]
    return []


def _surface(columns, groups) -> np.ndarray:
    """The regressors of a quadratic surface in the counts, with a shift for each group."""
    parts = [np.ones(len(columns["loss"]))]
    for quantity in "ND" if {"N", "D"} & set(columns) else "C":
        if quantity in columns:
            x = np.log(columns[quantity])
            x = (x - x.mean()) / (x.std() or 1)
            parts += [x, x**2]
    for group in groups:
        dummies = pd.get_dummies(pd.Series(np.asarray(columns[group]))).to_numpy(float)
        parts += list(dummies.T[1:])
    return np.column_stack(parts)


def two_units_of_loss(columns, raw: RawTable, stated: str) -> list[str]:
    """The problem of losses of which some are in another unit than the others.

    They lie on one surface if those that are too large are divided by the ratio of two units, and
    the ratio is the same if it is estimated.

    Parameters
    ----------
    columns : mapping of str to array
    raw : RawTable
    stated : str
        The expression that states that all losses are in one unit.
    """
    loss, design = np.log(columns["loss"]), _surface(columns, ())
    if "series" in columns or len(loss) < design.shape[1] + 6:
        return []

    basis, *_ = np.linalg.svd(design, full_matrices=False)

    def residuals(y: np.ndarray) -> np.ndarray:
        return y - basis @ (basis.T @ y)

    first = residuals(loss)
    for ratio, names in UNITS_OF_LOSS.items():
        large, shift = first > 0, np.log(ratio)
        for _ in range(50):
            left = residuals(loss - shift * large)
            other = left + np.where(large, shift, -shift)  # of the other unit
            moved = np.abs(other) < np.abs(left)
            if not moved.any():
                break
            large = large ^ moved
        if min(large.sum(), (~large).sum()) < MANY_ROWS:
            continue
        apart = residuals(large.astype(float))
        estimated = apart @ first / (apart @ apart + 1e-12)
        scale = np.std(left)
        if scale > min(0.03, np.std(first) / 5) or abs(estimated - shift) > 0.015:
            continue
        column = next(
            (c for c in raw.cells if _same_split(raw.cells[c].astype(str).to_numpy(), large)), None
        )
        by = "" if column is None else f", those of one label of {str(column)!r},"
        return [
            f"the losses of {counted(int(large.sum()), 'row')} {raw.rows(large)}{by} are "
            f"{np.exp(estimated):.4g} times those of similar runs: probably {names}; write all in "
            f"one unit, or pass {stated} if they are"
        ]
    return []


def _same_split(labels: np.ndarray, large: np.ndarray) -> bool:
    """Whether labels tell the large losses from the others."""
    return not set(labels[large]) & set(labels[~large]) and len(set(labels)) <= len(labels) / 2


def _extreme(columns, groups, raw: RawTable) -> list[str]:
    """A note on losses far above a quadratic surface through the others."""
    loss, design = np.log(columns["loss"]), _surface(columns, groups)
    if len(loss) < design.shape[1] + 4:
        return []
    weight = np.ones(len(loss))
    for _ in range(30):
        root = np.sqrt(weight)[:, None]
        beta, *_ = np.linalg.lstsq(design * root, loss * root[:, 0], rcond=None)
        residual = loss - design @ beta
        scale = np.median(np.abs(residual)) + 1e-9
        weight = 1 / np.maximum(np.abs(residual) / scale, 0.3) ** 1.5
    bad = (residual > np.log(EXTREME)) & (residual > 8 * scale)
    if not bad.any():
        return []
    return [
        f"{counted(int(bad.sum()), 'loss lies', 'losses lie')} far above those of similar runs "
        f"{raw.rows(bad)}, up to +{100 * (np.exp(residual.max()) - 1):.0f} %: remove runs that "
        "crashed or diverged"
    ]


def best_rows(
    columns: dict, groups: tuple[str, ...], raw: RawTable
) -> tuple[dict, RawTable, list[str]]:
    """The row of lowest loss of each point, group and series, and a note on the others."""
    keys = [k for k in (*"NDC", *groups, "series") if k in columns]
    frame = pd.DataFrame({k: np.asarray(columns[k]) for k in (*keys, "loss")})
    best = frame.groupby(keys, sort=False)["loss"].idxmin()
    keep = frame.index.isin(best)
    if keep.all():
        return columns, raw, []
    note = (
        f"kept the row of lowest loss of each ({', '.join(keys)}) and left out "
        f"{counted(int((~keep).sum()), 'row')}"
    )
    kept = {k: np.asarray(v)[keep] for k, v in columns.items()}
    return kept, replace(raw, cells=raw.cells[keep]), [note]


def _several_rows(columns, groups, raw: RawTable, others) -> list[str]:
    """A note on losses at one point that differ by more than noise, with a possible reason."""
    keys = pd.DataFrame({k: np.asarray(columns[k]) for k in (*"NDC", *groups) if k in columns})
    cell = keys.groupby(list(keys.columns), sort=False).ngroup().to_numpy()
    loss = pd.Series(np.log(columns["loss"]))
    by = loss.groupby(cell)
    spread = (by.max() - by.min())[by.size() > 1]
    if not len(spread) or spread.median() < SPREAD:
        return []
    centred = (loss - by.transform("mean")).to_numpy()
    best, share = None, 0.3
    missing = {"N": "tokens", "D": "parameters"}.get("".join(c for c in "NDC" if c in columns))
    for column in others:
        text = raw.cells[column].astype(str).reset_index(drop=True)
        levels = text.nunique()
        if re.search("unique|epoch", str(column), re.IGNORECASE):
            continue
        if missing and pd.to_numeric(text, errors="coerce").notna().all():
            continue  # numbers may measure what is missing
        if not 1 < levels <= len(loss) / 2 or text.groupby(cell).nunique().max() < 2:
            continue
        left = centred - pd.Series(centred).groupby(text).transform("mean")
        explained = 1 - (left**2).sum() / (centred**2).sum()
        # A column with many levels must explain more than one with few.
        if explained - 0.02 * levels > share:
            best, share = column, explained - 0.02 * levels
    if best is None and spread.median() < UNEXPLAINED:
        return []
    point = ", ".join(c for c in "NDC" if c in columns)
    rows = int(by.size().median())
    text = (
        f"each ({point}) has up to {by.size().max()} rows whose losses differ by "
        f"{100 * (np.exp(spread.median()) - 1):.0f} %, which is more than noise"
    )
    if rows < 2:
        text = "some points" + text.removeprefix(f"each ({point})").replace(" has ", " have ", 1)
    settings = [c for c in columns if c not in (*"NDC", "loss", "loss_sd", "series", *groups)]
    settings = [
        c for c in settings if pd.Series(np.asarray(columns[c])).groupby(cell).nunique().max() > 1
    ]
    if settings:
        return [
            f"{text}, and {' and '.join(settings)} differ{'s' * (len(settings) == 1)} between "
            f"them: keep the row of lowest loss with {remedies.option('keep_best')}, or fit a law "
            "with such a column (the laws list their columns)"
        ]
    varies = [
        c
        for c in others
        if raw.cells[c].astype(str).reset_index(drop=True).groupby(cell).nunique().max() > 1
    ]
    if best is not None:
        group = remedies.option("groups", str(best))
        return [
            f"{text}: if {best!r} is a setting that was swept, {remedies.option('keep_best')} "
            f"keeps the row of lowest loss; if it is a group, pass {group}"
            if SWEPT.search(str(best))
            else f"{text}: is {best!r} a group? Then pass {group}; for a sweep of settings, "
            f"{remedies.option('keep_best')} keeps the row of lowest loss"
        ]
    named = f" (columns that differ: {', '.join(map(str, varies[:8]))})" if varies else ""
    if missing:
        name = remedies.column("D" if missing == "tokens" else "N", "...")
        return [f"{text}{named}: they may differ in {missing}, whose column {name} names"]
    return [
        f"{text}{named}: for a sweep of settings, {remedies.option('keep_best')} keeps the row of "
        f"lowest loss; otherwise name the group column ({remedies.option('groups', '...')})"
    ]


def _checkpoints(columns, raw: RawTable, others) -> list[str]:
    """A note on rows that look like checkpoints: one run, one N, and several D."""
    if "D" not in columns:
        return []
    small = {column: re.sub(r"[^a-z]", "", str(column).lower()) for column in others}
    for names, fewest in ((RUN, 3), (MODEL, MANY)):
        for column in (c for c in others if small[c] in names):
            if _differ_in_tokens(columns, raw.cells[column].astype(str).to_numpy(), fewest):
                return [
                    f"rows with one {column!r} differ in D alone: if they are checkpoints of one "
                    f"run, pass {remedies.column('series', str(column))}; now they count as "
                    "independent"
                ]
    step = next((c for c in others if small[c] in STEP), None)
    if step is not None and "N" in columns and _differ_in_tokens(columns, columns["N"], MANY):
        return [
            f"rows with one N differ in D and in {step!r} alone: if they are checkpoints of one "
            f"run, add a column that names the run, and pass {remedies.column('series', 'run')}; "
            "now they count as independent"
        ]
    return []


def _decaying(columns) -> list[str]:
    """A note on checkpoints along which the learning rate falls."""
    if not {"series", "lr", "D"} <= set(columns):
        return []
    frame = pd.DataFrame({k: np.asarray(columns[k]) for k in ("series", "lr", "D")})
    ends = frame.sort_values("D").groupby("series")["lr"].agg(["max", "last", "size"])
    ends = ends[ends["size"] > MANY_ROWS]
    share = float((ends["last"] / ends["max"]).min()) if len(ends) else 1.0
    if not share <= DECAYED:
        return []
    return [
        f"the learning rate falls along the checkpoints, to {100 * share:.0f} % of its peak: the "
        "loss falls faster while it decays, which laws without it do not know; 'multi_power' is a "
        "law of schedules"
    ]


def _differ_in_tokens(columns, labels: np.ndarray, fewest: int) -> bool:
    """Whether rows with one label have one N, and typically so many values of D, hardly any twice.

    A resumed run has a few values twice.
    """
    frame = pd.DataFrame({k: np.asarray(columns[k]) for k in "ND" if k in columns})
    runs = frame.groupby(labels)
    of_run = runs.nunique()
    one_size = "N" not in of_run or (of_run["N"] == 1).all()
    typical = of_run["D"].median()
    return bool(one_size and typical >= fewest and (of_run["D"] >= 0.8 * runs.size()).all())


def mixed_units(columns, raw: RawTable) -> list[str]:
    """The problem of many rows whose N or D is in another unit than that of the others."""
    bad = _of_another_order(columns)
    if bad.sum() < MANY_ROWS:
        return []
    (note,) = _unusual_ratios(columns, raw)
    return [
        f"{note}; so many rows are probably in another unit than the others, such as billions: "
        "write all in one unit"
    ]


def _of_another_order(columns) -> np.ndarray:
    """Which rows have tokens per parameter of another order of magnitude than most."""
    if not {"N", "D"} <= set(columns):
        return np.zeros(1, dtype=bool)
    ratio = columns["D"] / columns["N"]
    far = np.abs(np.log(ratio / np.median(ratio))) > np.log(FAR)  # else the table has a caution
    return np.asarray(far & ((ratio < RATIOS[0]) | (ratio > RATIOS[1])), dtype=bool)


def _unusual_ratios(columns, raw: RawTable) -> list[str]:
    """A note on few rows whose tokens per parameter are of another order of magnitude."""
    bad = _of_another_order(columns)
    if not bad.any():
        return []
    ratio = columns["D"] / columns["N"]
    worst = ratio[bad][np.abs(np.log(ratio[bad])).argmax()]
    return [
        f"{counted(int(bad.sum()), 'row has', 'rows have')} tokens per parameter outside "
        f"{RATIOS[0]:g} to {RATIOS[1]:g} {raw.rows(bad)}, such as {worst:.2g}: {CHECK_ROWS}"
    ]


def _proportional(columns, raw: RawTable, others) -> list[str]:
    """A note if C is not proportional to N D, with the column that would make it so."""
    if not {"N", "D", "C"} <= set(columns):
        return []
    spread = float(np.std(np.log(columns["C"] / (columns["N"] * columns["D"]))))
    if spread < 0.1:
        return []
    for column in others:
        values = pd.to_numeric(raw.cells[column], errors="coerce").to_numpy(float)
        if np.isfinite(values).all() and (values > 1e3).all():
            other = float(np.std(np.log(columns["C"] / (values * columns["D"]))))
            if other < 0.3 * spread:
                return [
                    f"C is not proportional to N D, but to {column!r} times D: is that N? Then "
                    f"pass {remedies.column('N', str(column))}"
                ]
    return []


def _repeated(columns, raw: RawTable) -> list[str]:
    """A note on runs that saw more tokens than are unique."""
    if "D" not in columns:
        return []
    for column in raw.cells.columns:
        name = re.sub(r"[^a-z]", "", str(column).lower())
        values = pd.to_numeric(raw.cells[column], errors="coerce").to_numpy(float)
        if re.fullmatch(r"(n|num|total)?unique(train|training)?(tokens|samples|examples)?", name):
            bad = columns["D"] > 1.05 * values
        elif name in ("epochs", "nepochs", "numepochs", "epochsseen"):
            bad = values > 1.05
        else:
            continue
        if bad.any():
            return [
                f"{counted(int(bad.sum()), 'run repeats its', 'runs repeat their')} data, by "
                f"{column!r} {raw.rows(bad)}: laws without unique tokens forecast too low a loss "
                "for such runs; 'repeated_data' is a law with unique tokens"
            ]
    return []

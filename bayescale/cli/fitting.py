"""A fit for a command: from a table of runs, or from a file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayescale.cli import console, options
from bayescale.errors import BayescaleError

if TYPE_CHECKING:
    from bayescale.data import Runs
    from bayescale.forecasting import Average
    from bayescale.model import Fit

#: The values of --columns, --drop-missing, --drop-failed, --loss-unit and --keep-best.
type Reading = tuple[str | None, bool, bool, str | None, bool]
#: Whether a fit to these runs, of laws with these columns, can answer; an error if not.
type Check = Callable[[Runs, tuple[str, ...]], None]

#: Printed before several laws are fitted to runs with groups (about 100 s for the bundled table of
#: 104 runs on two busy cores, of which chinchilla takes 16 s; 135 s of processor time for nine runs
#: of two groups whose N and D rise together).
SLOW = (
    "several laws with groups take {} to sample; `--law chinchilla` fits one law in about a "
    "quarter of the time"
)
#: Fewest runs of a group, and largest correlation of log N and log D, of which that is true.
FEWEST_RUNS, LARGEST_CORRELATION = 6, 0.98
SLOW_CHECKPOINTS = (
    "checkpoints of several groups are sampled together with their drift, which may take more than "
    "ten minutes; without --groups, or with one group alone, it takes less than one"
)

#: A fit to checkpoints that is expected to take more than this at most, in seconds, is announced.
ANNOUNCED = 60


def from_file(
    file: Path,
    groups: str | None,
    law: str | None,
    reading: Reading,
    pool: str | None,
    seed: int | None,
    draws: int | None,
    quiet: bool,
    progressbar: bool | None,
    check: Check | None = None,
) -> Fit | Average:
    """The fit in a file; of a table of runs, a fit to it, as the command ``fit`` makes it.

    Parameters
    ----------
    check : callable, optional
        Raises an error before a table is fitted, if the fit could not answer what is asked. It
        takes the runs and the columns of the laws.
    others
        As in `fit_table`.

    Raises
    ------
    BayescaleError
        If options of a fit are given with a file that holds one.
    """
    from bayescale.forecasting import load_posterior
    from bayescale.model import is_table

    if is_table(file):
        laws = options.law_names(law)
        console.announce(
            f"{file} is a table, so {', '.join(laws) if laws else 'the default family of laws'} "
            "will be fitted to it first; `bayescale fit` saves the fit for further questions",
            quiet,
        )
        seed = 1 if seed is None else seed
        settings = pool, seed, 1000 if draws is None else draws
        return fit_table(file, groups, laws, reading, *settings, quiet, progressbar, check)
    named = ("--columns", "--drop-missing", "--drop-failed", "--loss-unit", "--keep-best")
    given = {"--groups": groups, "--law": law, "--pool": pool, "--draws": draws}
    given |= dict(zip(named, reading, strict=True))
    if chosen := [name for name, value in given.items() if value]:
        raise BayescaleError(
            f"{', '.join(chosen)} {'applies' if len(chosen) == 1 else 'apply'} to a table of runs, "
            "and this file holds a fit: leave out, or give the table",
            where=str(file),
        )
    return load_posterior(file)


def fit_table(
    table: Path,
    groups: str | None,
    laws: list[str] | None,
    reading: Reading,
    pool: str | None,
    seed: int | None,
    draws: int,
    quiet: bool,
    progressbar: bool | None,
    check: Check | None = None,
) -> Fit | Average:
    """Read a table of runs and fit one law, or an ensemble.

    Parameters
    ----------
    table : Path
    groups, pool : str, optional
        As given to ``--groups`` and ``--pool``.
    laws : list of str, optional
        Names of laws; None for the default family.
    reading : tuple
        The values of ``--columns``, ``--drop-missing``, ``--drop-failed``, ``--loss-unit`` and
        ``--keep-best``.
    seed, draws, quiet, progressbar
        As in the command ``fit``.
    check : callable, optional
        As in `from_file`.
    """
    labels = options.names(groups)
    runs = options.read_runs(table, labels, *reading)
    if check is not None:
        from bayescale.evaluation import family
        from bayescale.laws import get

        members = map(get, laws or family(runs, labels or ()))
        check(runs, tuple(dict.fromkeys(c for law in members for c in law.columns)))
    settings: dict[str, Any] = dict(
        groups=labels,
        pool=options.pairs(pool, "--pool"),
        draws=draws,
        random_seed=seed,
        progressbar=progressbar,
    )
    if labels:
        if "series" in runs and runs.table["series"].nunique() < len(runs):
            console.announce(SLOW_CHECKPOINTS, quiet)
        elif laws is None or len(laws) > 1:
            console.announce(SLOW.format(_time_of_groups(runs, labels)), quiet)
    elif expected := _time_of_checkpoints(runs, laws):
        console.announce(expected, quiet)
    if laws is not None and len(laws) == 1:
        from bayescale.model import fit

        return fit(runs, laws[0], **settings)
    from bayescale.evaluation import ensemble

    return ensemble(runs, laws, **settings)


def _time_of_groups(runs: Runs, labels: Sequence[str]) -> str:
    """How long several laws take: longer if the runs hardly determine them, in words."""
    import numpy as np

    counts = runs.table.groupby([runs.table[g].astype(str) for g in labels]).size()
    why = "groups have few runs" if counts.min() < FEWEST_RUNS else ""
    if {"N", "D"} <= set(runs.table):
        logs = np.log(runs.table[["N", "D"]].to_numpy(float).T)
        if np.ptp(logs, axis=1).min() > 0 and np.corrcoef(logs)[0, 1] > LARGEST_CORRELATION:
            why = "N and D rise together"
    if not why:
        return "one to two minutes"
    return f"two to seven minutes (here {why})"


def _time_of_checkpoints(runs: Runs, names: list[str] | None) -> str:
    """How long checkpoints take under these laws, and what takes less; empty if that is short.

    The time is that of evaluations of the density, which are made here, times their usual number.
    """
    from bayescale import laws
    from bayescale.evaluation import OF_SIZE
    from bayescale.model import design, expected_seconds
    from bayescale.units import counted

    if "series" not in runs or not runs.table["series"].nunique() < len(runs):
        return ""
    if names is None:
        if not {"N", "D"} <= set(runs.table):
            return ""
        names = list(OF_SIZE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit itself warns
            each = [expected_seconds(design(runs, laws.get(n))) for n in names]
    except BayescaleError:  # the fit itself says what is wrong
        return ""
    least, most = (sum(seconds) for seconds in zip(*each, strict=True))
    if most < ANNOUNCED:
        return ""
    low, high = max(1, round(least / 60)), max(1, round(most / 60))
    span = counted(high, "minute") if low == high else f"{low} to {counted(high, 'minute')}"
    fewer = "; `--law chinchilla` fits one law only" if len(names) > 1 else ""
    return (
        f"{len(runs)} checkpoints of {counted(runs.table['series'].nunique(), 'run')} take about "
        f"{span} to sample under {', '.join(names)}; the time is in proportion to the number of "
        f"checkpoints, so a table with every tenth of each run takes a tenth{fewer}"
    )

"""Options that several commands share, and functions that parse their text."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.errors import BayescaleError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from bayescale.costs import Cost
    from bayescale.data import Runs, TaskColumns

RunsFile = Annotated[
    Path, typer.Argument(help="table with one row per run: csv, json, parquet, xlsx")
]
FitFile = Annotated[Path, typer.Argument(help="fit.nc, as written by `fit` or `report`")]
FitOrTable = Annotated[
    Path, typer.Argument(help="fit.nc, as written by `fit` or `report`; or a table, fitted first")
]
Groups = Annotated[str | None, typer.Option(help="group columns, comma-separated")]
LawNames = Annotated[
    str | None,
    typer.Option(
        "--law",
        help="one law, such as chinchilla, kaplan, skaling, power or delayed_power(D), or several, "
        "comma-separated, weighed by their evidence; by default chinchilla,kaplan_floor,skaling, "
        "with bounded_chinchilla for finished runs without groups, or power,shifted_power without "
        "N and D, and for curves of one N (one curve: power,delayed_power)",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help="columns with other names or units, as quantity=column: N=size_m*1e6,loss=log(ppl)"
    ),
]
DropMissing = Annotated[
    bool, typer.Option("--drop-missing", help="leave out rows with missing values")
]
DropFailed = Annotated[
    bool,
    typer.Option("--drop-failed", help="leave out runs that crashed, failed or still run"),
]
KeepBest = Annotated[
    bool,
    typer.Option("--keep-best", help="keep the run of lowest loss of each (N, D, C) and group"),
]
LossUnit = Annotated[
    str | None, typer.Option("--loss-unit", help="unit of the loss: 'nats per token'")
]
Pool = Annotated[
    str | None, typer.Option(help="pooling of single parameters: alpha=none,E=complete")
]
Flops = Annotated[
    str | None,
    typer.Option(
        help="budgets in FLOP: 1e22,1e24, or '$2M', '50k H100 hours', '30 GWh' (by default 3, 10 "
        "and 30 times the largest run)"
    ),
]
Hardware = Annotated[
    str | None,
    typer.Option(
        help="the accelerator that budgets in other units than FLOP pay for: H100 (default), "
        "'TPU v5p'"
    ),
]
Seed = Annotated[int | None, typer.Option(help="random seed")]
Draws = Annotated[int, typer.Option(help="posterior draws per chain")]
FitDraws = Annotated[int | None, typer.Option(help="posterior draws per chain, 1000 by default")]
CiProb = Annotated[
    float | None, typer.Option("--ci-prob", help="probability of the intervals, 0.9 by default")
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")]
ScaleColumn = Annotated[str, typer.Option("--x", help="column of the scale")]
Family = Annotated[str | None, typer.Option(help="column of the model families")]
Questions = Annotated[
    str,
    typer.Option(help="number of questions: a column, a number, or one for each task: piqa=1838"),
]
Samples = Annotated[
    str | None,
    typer.Option(help="samples of each question, for pass@k: as in --questions"),
]
Chance = Annotated[
    str,
    typer.Option(
        help="accuracy of guessing: a column, a number, or one for each task: piqa=0.5,mmlu=0.25"
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(help="tasks to use, comma-separated: labels, or columns with one task each"),
]
TaskPlot = Annotated[
    Path | None,
    typer.Option("--plot", "--out", help="file for a plot of the curves: png, pdf or svg"),
]
Csv = Annotated[Path | None, typer.Option("--csv", help="csv file for the numbers, not rounded")]
Plot = Annotated[Path | None, typer.Option("--plot", help="file for a plot: png, pdf or svg")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="no progress bar, no warnings; how a table was read, and cautions of a result, are "
        "still printed",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="exit with code 1 if a check fails")]
Group = Annotated[
    str | None,
    typer.Option(
        help="label of a fitted group, or column=label,column=label with several group columns"
    ),
]

PICTURES = (".png", ".pdf", ".svg")
QUANTITIES = (
    "N", "D", "C", "loss", "loss_sd", "loss_lower", "loss_upper", "series", "U", "N_active",
    "N_total", "N_vocab", "vocab", "experts", "granularity", "lr", "batch", "bits", "streams",
    "finetune",
)  # fmt: skip


#: Options whose values may be separated by spaces too: ``--flops 1e22 1e24``.
LISTS = (
    "--flops",
    "--N",
    "--D",
    "--above",
    "--at",
    "--loss",
    "--years",
    "--target-loss",
    "--models",
    "--target-N",
    "--target-D",
    "--target-flops",
)


def joined(words: Sequence[str]) -> list[str]:
    """Command-line words, with several counts after one option joined by commas.

    Examples
    --------
    >>> joined(["forecast", "fit.nc", "--flops", "1e22", "1e24", "--json"])
    ['forecast', 'fit.nc', '--flops', '1e22,1e24', '--json']
    """
    out: list[str] = []
    after_list = False
    for word in words:
        is_value = after_list and bool(out) and out[-1] not in LISTS
        if is_value and _are_counts(word):
            out[-1] = f"{out[-1].rstrip(',')},{word}"
            continue
        if word.startswith("-") or (is_value and not _are_counts(word)):
            after_list = word in LISTS
        out.append(word)
    return out


def _are_counts(text: str) -> bool:
    from bayescale.units import parse_count

    try:
        return bool([parse_count(part) for part in text.strip(",").split(",")])
    except ValueError:
        return False


def picture(path: Path | None) -> Path | None:
    """The file of ``--plot``, if its kind can be written."""
    if path is not None and path.suffix.lower() not in PICTURES:
        raise BayescaleError(
            f"{path} has no ending of a picture: give a name that ends in {', '.join(PICTURES)}",
            where=typed("--plot", "--out"),
        )
    return path


def typed(*spellings: str) -> str:
    """The first of several spellings of an option that was typed, or the first of all."""
    typed = {word.partition("=")[0] for word in sys.argv}
    return next((name for name in spellings if name in typed), spellings[0])


def names(text: str | None) -> tuple[str, ...] | None:
    """The names in a comma-separated list; None if there are none."""
    return tuple(name.strip() for name in text.split(",")) if text else None


def number(text: str) -> str | float:
    """A number, or the name of a column."""
    try:
        return float(text)
    except ValueError:
        return text


def by_task(text: str | None, option: str) -> str | float | dict[str, float] | None:
    """A number for all tasks, the name of a column, or a number for each task.

    Examples
    --------
    >>> by_task("0.25", "--chance"), by_task("guessing", "--chance")
    (0.25, 'guessing')
    >>> by_task("piqa=0.5,mmlu=0.25", "--chance")
    {'piqa': 0.5, 'mmlu': 0.25}
    """
    if text is None or "=" not in text:
        return None if text is None else number(text)
    given = {task: number(value) for task, value in pairs(text, option).items()}
    if bad := [f"{task}={value}" for task, value in given.items() if isinstance(value, str)]:
        raise BayescaleError(
            f"{', '.join(bad)}: give a number for each task, as in piqa=0.5,mmlu=0.25", where=option
        )
    return given


def of_tasks(questions: str, chance: str, samples: str | None) -> dict:
    """The arguments of `--questions`, `--chance` and `--samples`."""
    given = {"n_questions": questions, "chance": chance, "samples": samples}
    flags = {"n_questions": "--questions"}
    return {name: by_task(text, flags.get(name, f"--{name}")) for name, text in given.items()}


def counts(text: str | None, option: str) -> list[float]:
    """The counts in a comma-separated list such as ``7B,1.4T``; all positive and finite."""
    from bayescale.units import parse_count

    values, problems = [], []
    for part in text.split(",") if text else ():
        try:
            value = parse_count(part)
        except ValueError as error:
            problems.append(str(error))
            continue
        values.append(value)
        if not 0 < value < float("inf"):
            problems.append(f"{part.strip()} is not a positive, finite count")
    if problems:
        raise BayescaleError(problems, where=option)
    return values


#: One budget of a list. A comma within dollars separates thousands: ``$5,000``.
BUDGET = re.compile(r"\s*\$\d{1,3}(?:,\d{3})+(?!\d)[^,]*|[^,]+")


def budgets(
    text: str | None, option: str, hardware: str | None
) -> tuple[list[float | str], Cost | None]:
    """Budgets in a comma-separated list such as ``1e22,$2M``, and what they are paid for.

    Returns
    -------
    tuple
        Numbers for budgets in FLOP, and text for those in other units; and the cost by which the
        latter are converted: that of `hardware`, of the accelerator that they name, or of an H100.
    """
    parts = [part.strip() for part in BUDGET.findall(text)] if text else []
    from bayescale.costs import Cost, hardware_in, read_budgets

    cost = None
    if hardware is not None:
        try:
            cost = Cost(hardware)
        except BayescaleError as error:
            raise BayescaleError(error.problems, where="--hardware") from error
    values: list[float | str] = []
    problems: list[str] = []
    try:
        cost = cost or Cost(hardware_in(parts) or "H100")
    except BayescaleError as error:
        raise BayescaleError(error.problems, where=option) from error
    for part in parts:
        try:
            flop, converted = read_budgets(part, cost)
        except BayescaleError as error:
            for problem in error.problems:
                if "must be positive and finite" in problem:
                    problem = f"{part} is not a positive, finite count"
                problems.append(problem.removeprefix("the budget: "))
            continue
        values.append(part if converted else float(flop[0]))
    if problems:
        raise BayescaleError(problems, where=option)
    return values, cost


def crossed(points: dict[str, list]) -> dict[str, list]:
    """Every combination of the values of several options.

    Examples
    --------
    >>> crossed({"N": [1.0, 7.0], "C": [20.0]})
    {'N': [1.0, 7.0], 'C': [20.0, 20.0]}
    """
    rows = list(product(*points.values()))
    return {name: [row[i] for row in rows] for i, name in enumerate(points)}


def pairs(text: str | None, option: str) -> dict[str, str]:
    """The pairs in a comma-separated list of ``name=value``."""
    parts = [part.partition("=") for part in text.split(",")] if text else []
    parts = [(name.strip(), equals, value.strip()) for name, equals, value in parts]
    if bad := [name + equals + value for name, equals, value in parts if not (name and value)]:
        raise BayescaleError(
            f"{', '.join(map(repr, bad))}: write name=value,name=value", where=option
        )
    given = [name for name, *_ in parts]
    if twice := sorted({name for name in given if given.count(name) > 1}):
        raise BayescaleError(f"{', '.join(twice)} is given more than once", where=option)
    return {name: value for name, _, value in parts}


def group_label(text: str | None, groups: Sequence[str]) -> str | dict[str, str] | None:
    """A label; with several group columns, the label in each of them."""
    return text if text is None or len(groups) <= 1 else pairs(text, "--group")


def asked_group(
    text: str | None, groups: Sequence[str], table: pd.DataFrame
) -> str | dict[str, str] | None:
    """As `group_label`, for an answer about one group: with several, one must be named."""
    if text is None and groups:
        from bayescale.model import NEW

        found = table[list(groups)].astype(str).drop_duplicates()
        if len(found) > 1:
            first = found.iloc[0]
            named = " or ".join(groups)
            listed = ", ".join(", ".join(row) for row in found.to_numpy()[:12])
            pairs_of = [f"{g}={first[g]}" for g in groups]
            example = str(first.iloc[0]) if len(groups) == 1 else ",".join(pairs_of)
            new = NEW if len(groups) == 1 else ",".join(f"{g}={NEW}" for g in groups)
            raise BayescaleError(
                f"which {named}? The runs are of {listed}: give one, as in --group "
                f"{shlex.quote(example)}, or --group {shlex.quote(new)} for one without runs",
                where="--group",
            )
    return group_label(text, groups)


def read_runs(
    table: Path,
    labels: tuple[str, ...] | None,
    columns: str | None,
    drop_missing: bool = False,
    drop_failed: bool = False,
    loss_unit: str | None = None,
    keep_best: bool = False,
) -> Runs:
    """The runs in a file, with the columns that ``--columns`` names; prints what was read."""
    from bayescale.data import Runs

    named = pairs(columns, "--columns")
    if invalid := [name for name in named if name not in QUANTITIES]:
        problems = [unknown("quantity", name, QUANTITIES) for name in invalid]
        raise BayescaleError(problems, where="--columns")
    runs = Runs.read(
        table,
        groups=labels,
        columns=named,
        drop_missing=drop_missing,
        drop_failed=drop_failed,
        loss_unit=loss_unit,
        keep_best=keep_best,
    )
    if any(quantity != column for quantity, column in runs.mapping.items()):
        typer.echo(f"read {runs.how_read}", err=True)
    if runs.lacking:
        typer.echo(f"note: {runs.lacking}", err=True)
    return runs


def read_tasks(
    table: Path,
    needs: tuple[str, ...],
    y: str,
    groups: str | None,
    tasks: str | None,
    columns: str | None,
    chance: object = None,
    call: str = "",
) -> TaskColumns:
    """The table of scores in a file, and its column of tasks; prints what was read."""
    from bayescale.data import task_columns

    named = pairs(columns, "--columns")
    chosen = None if tasks is None else names(tasks)
    settings = dict(tasks=chosen, columns=named, chance=chance, call=call)
    found = task_columns(table, needs, y=y, task=groups, **settings)
    for note in found.notes:
        typer.echo(note, err=True)
    return found


def asked_series(series: str | None, fitted, place: dict, where: str) -> str | None:
    """The run under way that an answer is about; it must be named if the fit has several.

    With parameters of its own, or as a budget alone, a run is a new one.
    """
    table = fitted.runs.table
    if series or "series" not in table or "D" not in place or "N" in place or "C" in place:
        return series
    labels = list(dict.fromkeys(table["series"].astype(str)))
    if len(labels) > 1:
        raise BayescaleError(
            f"the fit has {len(labels)} runs of checkpoints: name the one under way with --series "
            f"({', '.join(labels[:8])}{', ...' if len(labels) > 8 else ''}), or give --N for a "
            "new run",
            where=where,
        )
    return None


def law_names(text: str | None) -> list[str] | None:
    """The laws that ``--law`` names; None for the default family."""
    from bayescale.laws import get

    if not text:
        return None
    problems, chosen = [], []
    for name in names(text):
        try:
            chosen.append(get(name).name)
        except BayescaleError as error:
            problems += error.problems
    if twice := [name for name in dict.fromkeys(chosen) if chosen.count(name) > 1]:
        problems.append(f"{', '.join(twice)} is given more than once")
    if problems:
        raise BayescaleError(problems, where="--law")
    return chosen

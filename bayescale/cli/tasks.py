"""The commands breaks and emergence."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli import console, options
from bayescale.cli.hints import joined
from bayescale.cli.options import (
    AsJson,
    Chance,
    CiProb,
    Columns,
    Csv,
    Family,
    Questions,
    Quiet,
    Samples,
    ScaleColumn,
    Seed,
    TaskPlot,
    Tasks,
)


def breaks(
    table: Annotated[
        Path, typer.Argument(help="csv or parquet table with one row per model and curve")
    ],
    x: ScaleColumn = "C",
    y: Annotated[str, typer.Option("--y", help="column of the metric")] = "loss",
    groups: Annotated[
        str | None, typer.Option(help="column that labels curves, such as task")
    ] = None,
    family: Family = None,
    metric: Annotated[
        str | None,
        typer.Option(help="loss, brier or accuracy; by default from the name of the column"),
    ] = None,
    scale: Annotated[str, typer.Option(help="scale of accuracies: odds or plotted")] = "odds",
    questions: Questions = "n_questions",
    chance: Chance = "chance",
    samples: Samples = None,
    columns: Columns = None,
    out: TaskPlot = None,
    csv: Csv = None,
    seed: Seed = 1,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find breaks in curves of losses or accuracies, with their probabilities."""
    options.picture(out)
    progressbar = console.progress(quiet, as_json)
    from bayescale.capabilities import breaks as find
    from bayescale.reporting import task_tables

    needs = (x, "loss") if y == "loss" else (x,)
    read = options.read_tasks(table, needs, y, groups, None, columns)
    result = find(
        read.frame,
        x,
        y,
        groups,
        metric=metric,
        scale=scale,
        family=family,
        **options.of_tasks(questions, chance, samples),
        random_seed=seed,
        progressbar=progressbar,
    )
    files = console.saved(csv, result.summary(ci_prob).reset_index())
    if out is not None:
        from bayescale.plots import plot_breaks
        from bayescale.reporting import save_picture

        save_picture(plot_breaks(result, ci_prob=ci_prob), out)
        files["picture"] = out
    console.finish(
        [task_tables.breaks(result, ci_prob)],
        {"breaks": result.summary(ci_prob).reset_index().to_dict("records")},
        seed=result.random_seed,
        as_json=as_json,
        headline=result.bottom_line(ci_prob),
        notes=result.cautions(ci_prob)[1:],
        files=files,
    )


def emergence(
    table: Annotated[
        Path,
        typer.Argument(help="csv or parquet table, one row per model and task, or see --tasks"),
    ],
    x: ScaleColumn = "C",
    y: Annotated[str, typer.Option("--y", help="column of the score")] = "accuracy",
    groups: Annotated[
        str | None, typer.Option(help="column of the tasks; `task` by default, if there is one")
    ] = None,
    family: Family = None,
    continuous: Annotated[
        str | None, typer.Option(help="column of a continuous metric, such as brier or loss")
    ] = None,
    questions: Questions = "n_questions",
    chance: Chance = "chance",
    samples: Samples = None,
    tasks: Tasks = None,
    columns: Columns = None,
    out: TaskPlot = None,
    csv: Csv = None,
    seed: Seed = 1,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find out which tasks emerge, where, and whether the metric explains it."""
    options.picture(out)
    progressbar = console.progress(quiet, as_json)
    from bayescale.capabilities import emergence as find
    from bayescale.reporting import task_tables

    level = options.by_task(chance, "--chance")
    proposed = ("--chance",) if chance == "chance" else ()
    call = _call_without("--tasks", "--columns", *proposed)
    read = options.read_tasks(table, (x,), y, groups or "task", tasks, columns, level, call)
    result = find(
        read.frame,
        x,
        y,
        read.task,
        family=family,
        continuous=continuous,
        **options.of_tasks(questions, chance, samples),
        random_seed=seed,
        progressbar=progressbar,
    )
    summary = result.summary(ci_prob).reset_index()
    sentences = [f"{row.task}: {row.sentence}" for row in summary.itertuples()]
    files = console.saved(csv, summary)
    if out is not None:
        from bayescale.plots import plot_emergence
        from bayescale.reporting import save_picture

        save_picture(plot_emergence(result, ci_prob=ci_prob), out)
        files["picture"] = out
    console.finish(
        [task_tables.emergence(result, ci_prob)],
        {"emergence": summary.to_dict("records")},
        seed=result.random_seed,
        as_json=as_json,
        headline=result.bottom_line(ci_prob),
        comment="\n".join(sentences) if len(sentences) > 1 else "",
        notes=result.notes,
        files=files,
    )


def _call_without(*chosen: str) -> str:
    """The command as it was typed, without these options and their values."""
    name, *words = sys.argv[1:]
    kept: list[str] = []
    skip = False
    for word in joined(words):
        if word.partition("=")[0] in chosen:
            skip = "=" not in word
        elif skip:
            skip = False
        else:
            kept.append(word)
    return f"bayescale {shlex.join([name, *kept])}"

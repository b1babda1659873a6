"""The commands breaks, emergence and link."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli import console, options
from bayescale.cli.fitting import from_file
from bayescale.cli.hints import joined
from bayescale.cli.options import (
    AsJson,
    Chance,
    CiProb,
    Columns,
    Csv,
    Family,
    Group,
    Hardware,
    LawNames,
    Plot,
    Questions,
    Quiet,
    Samples,
    ScaleColumn,
    Seed,
    TaskPlot,
    Tasks,
)
from bayescale.errors import BayescaleError
from bayescale.keywords import argument

#: Kinds of links without a loss, and the columns of their tables.
WITHOUT_LOSS = {"direct": ("N", "D"), "compute": ("C",)}


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


def link(
    scores: Annotated[
        Path,
        typer.Argument(
            help="table of accuracies of models and their losses (or N and D, see --kind): one row "
            "per model and task, or see --tasks"
        ),
    ],
    runs: Annotated[
        Path | None,
        typer.Option(
            "--runs",
            help="fit.nc, or a table of runs, fitted first: from which the loss at --N and --D is "
            "forecast",
        ),
    ] = None,
    N: Annotated[
        str | None, typer.Option("--N", help="parameters: 7B,70B; each is combined with each D")
    ] = None,
    D: Annotated[str | None, typer.Option("--D", help="tokens: 140B,1.4T")] = None,
    flops: Annotated[str | None, typer.Option(help="FLOP: 1e22,1e23, or '$2M'")] = None,
    hardware: Hardware = None,
    loss: Annotated[
        str | None, typer.Option(help="known losses, in place of --N, --D and --flops: 2.3,2.1")
    ] = None,
    group: Group = None,
    kind: Annotated[
        str,
        typer.Option(
            help="logistic, gadre or hinge, from the loss; direct, from N and D; compute, from C"
        ),
    ] = "logistic",
    groups: Annotated[
        str | None,
        typer.Option(
            help="group columns, comma-separated; by default those of the fit that the table has"
        ),
    ] = None,
    law: LawNames = None,
    questions: Questions = "n_questions",
    chance: Chance = "chance",
    samples: Samples = None,
    tasks: Tasks = None,
    columns: Columns = None,
    out: Annotated[
        Path | None, typer.Option(help="file for the link, which `trajectory` reads")
    ] = None,
    csv: Csv = None,
    plot: Plot = None,
    seed: Seed = 1,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Link losses to accuracies on tasks, and forecast accuracies of new runs."""
    options.picture(plot)
    budgets, cost = options.budgets(flops, "--flops", hardware)
    points = {"N": options.counts(N, "--N"), "D": options.counts(D, "--D"), "C": budgets}
    place = {column: values for column, values in points.items() if values}
    losses = options.counts(loss, "--loss")
    if place and losses:
        raise BayescaleError(
            f"--loss was given together with {' and '.join(map(argument, place))}: give either a "
            "known loss, or the run whose loss is to be forecast",
            where="link",
        )
    if place and runs is None and kind not in WITHOUT_LOSS:
        raise BayescaleError(
            f"the loss of {' and '.join(map(argument, place))} is not known: give the runs from "
            "which to forecast it with --runs (a table, or fit.nc), a known loss with --loss, or "
            "a link that needs none with --kind direct or --kind compute",
            where="link",
        )
    progressbar = console.progress(quiet, as_json)
    from bayescale.capabilities import forecast_tasks
    from bayescale.capabilities import link as make
    from bayescale.model import is_table
    from bayescale.reporting import task_tables

    needs = WITHOUT_LOSS.get(kind, ("loss",))
    read = options.read_tasks(scores, needs, "accuracy", "task", tasks, columns)
    fitted = None
    if runs is not None:
        of_fit = groups if is_table(runs) else None
        reading = None, False, False, None, False
        fitted = from_file(runs, of_fit, law, reading, None, seed, None, quiet, progressbar)
    labels = options.names(groups) or tuple(
        g for g in (fitted.groups if fitted else ()) if g in read.frame
    )
    if place or losses:
        group = options.asked_group(group, labels, read.frame)
    made = make(
        fitted,
        read.frame,
        kind=kind,
        groups=labels,
        task=read.task or "task",
        **options.of_tasks(questions, chance, samples),
        random_seed=seed,
        progressbar=progressbar,
    )
    tables, summary, ahead = [task_tables.links(made, ci_prob)], made.summary(ci_prob), None
    data = {"link": summary.reset_index().to_dict("records")}
    frame, headline = summary.reset_index(), made.bottom_line()
    if place or losses:
        at = {"loss": losses} if losses else options.crossed(place)
        ahead = forecast_tasks(made, **at, group=group, cost=cost, random_seed=seed)
        frame = ahead.summary(ci_prob)
        data["forecast"] = frame.to_dict("records")
        tables.insert(0, task_tables.task_forecasts(ahead, ci_prob))
        headline = f"{ahead.answer(ci_prob)} {ahead.bottom_line(ci_prob)}".strip() or headline
    files = console.saved(csv, frame)
    if out is not None:
        made.save(out)
        files["link"] = out
    if plot is not None:
        from bayescale.plots import plot_link
        from bayescale.reporting import save_picture

        save_picture(plot_link(made, forecast=ahead, ci_prob=ci_prob), plot)
        files["plot"] = plot
    console.finish(
        tables,
        data,
        seed=made.random_seed,
        as_json=as_json,
        headline=headline,
        fits=[fitted] if fitted else [],
        notes=made.notes,
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

"""The commands speedup, cost, preregister, outcome and trajectory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli import console, options
from bayescale.cli.options import (
    AsJson,
    Chance,
    CiProb,
    Columns,
    Csv,
    FitFile,
    Group,
    Hardware,
    Plot,
    Questions,
    Quiet,
    Samples,
    Seed,
    Strict,
)
from bayescale.errors import BayescaleError

if TYPE_CHECKING:
    from bayescale.capabilities import Link
    from bayescale.forecasting import Average
    from bayescale.model import Fit
    from bayescale.reporting import Table

#: The beginning of the names of columns of accuracies.
ACCURACY = "accuracy_"
Figure = "a number, or the bounds of a 90 % interval as in 0.3,0.5"


def speedup(
    fit: FitFile,
    group: Annotated[
        str | None, typer.Option(help="the recipe: label of a group, or column=label,...")
    ] = None,
    over: Annotated[
        str | None, typer.Option(help="the recipe that it is compared with: another group")
    ] = None,
    over_fit: Annotated[
        Path | None, typer.Option("--over-fit", help="fit.nc of the other recipe")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="FLOP of the recipe: 1e21,1e22, or '$2M'; by default the largest common run"
        ),
    ] = None,
    hardware: Hardware = None,
    loss: Annotated[str | None, typer.Option(help="target losses, in place of --at")] = None,
    along: Annotated[
        str | None,
        typer.Option(
            help="ratio of tokens to parameters, or best: the best split of each; by default the "
            "median ratio of the runs"
        ),
    ] = None,
    csv: Csv = None,
    plot: Plot = None,
    seed: Seed = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Compare two recipes: how much more compute one needs for the loss of the other."""
    places, paid = options.budgets(at, "--at", hardware)
    targets = options.counts(loss, "--loss") or None
    options.picture(plot)
    console.progress(quiet, as_json)
    from bayescale.decisions import speedup as compare
    from bayescale.forecasting import load_posterior
    from bayescale.reporting import decision_tables

    fitted = load_posterior(fit)
    if (over is None) == (over_fit is None):
        raise BayescaleError(
            "give the other recipe with --over LABEL or with --over-fit FILE", where="speedup"
        )
    other = load_posterior(over_fit) if over_fit is not None else None
    settings = dict(
        group=options.group_label(group, fitted.groups),
        over=options.group_label(over, fitted.groups) if other is None else other,
        along=None if along is None else options.number(along),
        random_seed=seed,
    )
    result = compare(fitted, at=places or None, cost=paid, loss=targets, **settings)
    files = {}
    if plot is not None:
        from bayescale.plots import plot_speedup
        from bayescale.reporting import save_picture, speedup_curve

        curve = speedup_curve(result, fitted, settings)
        save_picture(plot_speedup(curve, ci_prob=ci_prob), plot)
        files["plot"] = plot
    frame = result.summary(ci_prob)
    asked = at is not None or loss is not None
    tables = [decision_tables.speedup(result, ci_prob, asked)]
    if len(result.best) and result.best["group"].nunique() > 2:
        tables.append(_table("Probability of the lowest loss at equal compute", result.best))
    console.finish(
        tables,
        {"speedup": frame.to_dict("records"), "best": result.best.to_dict("records")},
        seed=result.random_seed,
        as_json=as_json,
        headline=result.bottom_line(ci_prob),
        fits=[fitted] if other is None else [fitted, other],
        cautions=result.cautions(ci_prob)[1:],
        files=console.saved(csv, frame) | files,
        strict=strict,
    )


def cost(
    budget: Annotated[
        str,
        typer.Argument(help="1e24, '1e24 FLOP', '$2M', '50k H100 hours', '30 GWh' or '12 t CO2e'"),
    ],
    hardware: Annotated[str, typer.Option(help="accelerator, such as H100 or 'TPU v5p'")] = "H100",
    mfu: Annotated[str | None, typer.Option(help=f"utilisation of the peak: {Figure}")] = None,
    price: Annotated[str | None, typer.Option(help=f"USD per hour: {Figure}")] = None,
    power: Annotated[
        str | None, typer.Option(help=f"watts per accelerator, all included: {Figure}")
    ] = None,
    carbon: Annotated[
        str | None, typer.Option(help=f"a region such as France, or kg CO2e per kWh: {Figure}")
    ] = None,
    csv: Csv = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Convert a budget to FLOP, accelerator hours, dollars, energy and carbon."""
    console.progress(quiet, as_json)
    from bayescale.costs import Cost

    figures = {
        "mfu": _figure(mfu, "--mfu"),
        "price": _figure(price, "--price"),
        "power": _figure(power, "--power"),
        "carbon": carbon if _is_region(carbon) else _figure(carbon, "--carbon"),
    }
    spent = Cost(hardware, **figures).of(budget)
    frame = spent.summary(ci_prob)
    assumed = spent.cost.assumptions()
    shown = assumed.reset_index()[["figure", "median", "lower", "upper", "unit"]]
    sources = [f"{name}: {source}" for name, source in assumed["source"].items()]
    console.finish(
        [_table("Cost", frame), _table("Figures, with 90 % intervals", shown)],
        {"cost": frame.to_dict("records"), "figures": assumed.T.to_dict()},
        seed=0,
        as_json=as_json,
        headline=spent.bottom_line(ci_prob),
        notes=sources,
        files=console.saved(csv, frame),
    )


def preregister(
    fit: FitFile,
    N: Annotated[str | None, typer.Option("--N", help="parameters: 7B,70B")] = None,
    D: Annotated[str | None, typer.Option("--D", help="tokens: 140B,1.4T")] = None,
    flops: Annotated[
        str | None,
        typer.Option(help="FLOP, or '$2M'; without --N and --D at the optimal N and D"),
    ] = None,
    hardware: Hardware = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="combine the first N with the first D, and so on")
    ] = False,
    group: Group = None,
    series: Annotated[
        str | None,
        typer.Option(
            help="fitted run of checkpoints that is under way; without --N, the only one if "
            "there is one"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="file to write; it must not exist")] = Path(
        "forecast.json"
    ),
    seed: Seed = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Write a forecast to a file, to be scored when its runs have been measured."""
    budgets, paid = options.budgets(flops, "--flops", hardware)
    points = {"N": options.counts(N, "--N"), "D": options.counts(D, "--D"), "C": budgets}
    if out.exists():
        raise BayescaleError(
            f"{out} exists, and a registered forecast is not replaced: name another file",
            where="--out",
        )
    console.progress(quiet, as_json)
    from bayescale.decisions import preregister as write
    from bayescale.forecasting import forecast, load_posterior

    fitted = load_posterior(fit)
    place = {c: values for c, values in points.items() if values}
    ahead = forecast(
        fitted,
        **(place if paired else options.crossed(place)),
        group=options.group_label(group, fitted.groups),
        series=options.asked_series(series, fitted, place, "preregister"),
        cost=paid,
        random_seed=seed,
    )
    written = write(ahead, out)
    console.finish(
        [_table("Registered, with 90 % intervals", written.points)],
        {
            "sha256": written.sha256,
            "time": written.time,
            "points": written.points.to_dict("records"),
        },
        seed=ahead.random_seed,
        as_json=as_json,
        headline=ahead.bottom_line(ci_prob),
        fits=[fitted],
        cautions=ahead.cautions(ci_prob)[1:],
        notes=[f"the sha256 of the content is {written.sha256}: give it to others as proof"],
        files={"registered": out},
        strict=strict,
    )


def outcome(
    registered: Annotated[Path, typer.Argument(help="file that `preregister` wrote")],
    measured: Annotated[
        str,
        typer.Argument(
            help="losses as in 2.31,2.25, or a csv file of runs with their losses, or of "
            "checkpoints of runs under way; columns are read as those of `fit`"
        ),
    ],
    fit: Annotated[
        Path | None,
        typer.Option(
            help="fit.nc that the forecast is said to be from: its runs and law are "
            "compared with those registered"
        ),
    ] = None,
    columns: Columns = None,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a registered forecast by the measured losses of its runs."""
    console.progress(quiet, as_json)
    from bayescale.decisions import outcome as score
    from bayescale.forecasting import load_posterior

    known = None if fit is None else load_posterior(fit)
    named = options.pairs(columns, "--columns")
    result = score(registered, _losses(measured), fit=known, columns=named)
    console.finish(
        [_table("Outcome", result.summary())],
        {
            "outcome": result.table.to_dict("records"),
            "sha256": result.preregistration.sha256,
            "time": result.preregistration.time,
        },
        seed=result.preregistration.content["random_seed"],
        as_json=as_json,
        headline=result.bottom_line(),
        notes=[f"read {result.read}"] if result.read else [],
        files=console.saved(csv, result.table),
    )


def trajectory(
    fit: Annotated[
        Path,
        typer.Argument(help="fit.nc, or a link of tasks to a fit, as `link --out` writes it"),
    ],
    years: Annotated[
        str | None, typer.Option(help="2026,2028; by default the start and eight years")
    ] = None,
    start: Annotated[float, typer.Option(help="the year in which runs begin to grow")] = 2025.0,
    flops: Annotated[
        str | None,
        typer.Option(help="FLOP, or '$2M', in the year of --start; by default the largest run"),
    ] = None,
    hardware: Hardware = None,
    group: Group = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            help="csv or parquet table with the columns task, loss and accuracy, or with one "
            "column for each of --tasks: gives accuracies by year too"
        ),
    ] = None,
    questions: Questions = "n_questions",
    chance: Chance = "chance",
    samples: Samples = None,
    tasks: Annotated[
        str | None, typer.Option(help="the tasks to show, comma-separated; all by default")
    ] = None,
    columns: Columns = None,
    growth: Annotated[
        str | None, typer.Option(help=f"growth of compute per year: {Figure}")
    ] = None,
    algorithms: Annotated[
        str | None, typer.Option(help=f"algorithmic progress per year, 1 for none: {Figure}")
    ] = None,
    data_stock: Annotated[
        str | None, typer.Option("--data-stock", help=f"unique tokens: {Figure}")
    ] = None,
    epochs: Annotated[str | None, typer.Option(help=f"passes over the data: {Figure}")] = None,
    ceiling: Annotated[str | None, typer.Option(help=f"largest feasible FLOP: {Figure}")] = None,
    csv: Csv = None,
    seed: Seed = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Forecast the loss of the largest run by calendar year, and its accuracies on tasks."""
    first, paid = options.budgets(flops, "--flops", hardware)
    given = {
        "growth": _figure(growth, "--growth"),
        "algorithms": _figure(algorithms, "--algorithms"),
        "data_stock": _figure(data_stock, "--data-stock"),
        "epochs": _figure(epochs, "--epochs"),
        "ceiling": _figure(ceiling, "--ceiling"),
    }
    progressbar = console.progress(quiet, as_json)
    from bayescale.decisions import trajectory as by_year

    about = options.of_tasks(questions, chance, samples)
    fitted, link = _with_link(fit, scores, tasks, columns, about, seed, progressbar)
    result = by_year(
        fitted if link is None else link,
        options.counts(years, "--years") or None,
        start=(start, first[0]) if first else start,
        group=options.group_label(group, fitted.groups),
        tasks=None if tasks is None else [task.strip() for task in tasks.split(",")],
        cost=paid,
        random_seed=seed,
        **given,
    )
    frame = result.summary(ci_prob)
    assumed = result.assumptions.rename(columns={"middle": "median"}).rename_axis("input")
    shown = assumed.reset_index()[["input", "median", "lower", "upper", "unit"]]
    at_tasks = [c for c in frame if c.startswith(ACCURACY)]
    tables = [_table("Trajectory", frame.drop(columns=at_tasks))]
    if at_tasks:
        short = frame[["year", *at_tasks]].rename(columns=lambda c: c.removeprefix(ACCURACY))
        tables.append(_table("Expected accuracy", short))
    console.finish(
        [*tables, _table("Assumptions, with 90 % intervals", shown)],
        {"trajectory": frame.to_dict("records"), "assumptions": assumed.T.to_dict()},
        seed=result.random_seed,
        as_json=as_json,
        headline=result.bottom_line(ci_prob),
        fits=[fitted],
        cautions=result.cautions(ci_prob)[1:],
        notes=[f"{name}: {source}" for name, source in assumed["source"].items()],
        files=console.saved(csv, frame),
        strict=strict,
    )


def _with_link(
    file: Path,
    scores: Path | None,
    tasks: str | None,
    columns: str | None,
    about: dict,
    seed: int | None,
    progressbar: bool | None,
) -> tuple[Fit | Average, Link | None]:
    """The fit of a file, and the link that the file holds or that is fitted to scores on tasks.

    The numbers of questions and the levels of chance are in `about`.
    """
    from bayescale.capabilities import Link, link
    from bayescale.data import frame
    from bayescale.forecasting import Average
    from bayescale.model import Fit, load_one_of

    found = load_one_of(
        (Fit, Average, Link),
        file,
        remedy="give a file that `bayescale fit` or `bayescale link --out` wrote",
    )
    if isinstance(found, Link):
        if scores is not None:
            raise BayescaleError(
                f"{file} holds a link: give the file of its fit with --scores, or leave out "
                "--scores",
                where="trajectory",
            )
        if found.fit is None:
            raise BayescaleError(
                "this link was made without a fit: give the file of a fit, and the table of "
                "results with --scores",
                where=str(file),
            )
        return found.fit, found
    if scores is None:
        return found, None
    is_wide = tasks is not None and set(options.names(tasks) or ()) <= set(frame(scores))
    chosen = tasks if is_wide else None
    read = options.read_tasks(scores, ("loss",), "accuracy", "task", chosen, columns)
    settings = dict(task=read.task or "task", **about, random_seed=seed, progressbar=progressbar)
    return found, link(found, read.frame, **settings)


def _table(title: str, frame) -> Table:
    """A table of results with an interval in one cell."""
    from bayescale.reporting import decision_tables

    return decision_tables.of_frame(title, frame)


def _figure(text: str | None, option: str) -> float | tuple[float, ...] | None:
    """A number, or the two bounds of an interval."""
    values = options.counts(text, option)
    if len(values) > 2:
        raise BayescaleError(f"{text} are {len(values)} numbers: give {Figure}", where=option)
    if not values:
        return None
    return values[0] if len(values) == 1 else tuple(values)


def _is_region(text: str | None) -> bool:
    return text is not None and not any(character.isdigit() for character in text)


def _losses(text: str):
    """Losses in a comma-separated list, or the table in a csv file."""
    with suppress(ValueError):
        return [float(part) for part in text.split(",")]
    from bayescale.data import frame

    if not Path(text).is_file():
        raise BayescaleError(f"{text!r}: neither losses (2.31,2.25) nor a file", where="outcome")
    return frame(text)

"""The commands report, fit and forecast."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli import console, options
from bayescale.cli.fitting import fit_table, from_file
from bayescale.cli.options import (
    AsJson,
    CiProb,
    Columns,
    Csv,
    Draws,
    DropFailed,
    DropMissing,
    FitDraws,
    FitOrTable,
    Flops,
    Group,
    Groups,
    Hardware,
    KeepBest,
    LawNames,
    LossUnit,
    Plot,
    Pool,
    Quiet,
    RunsFile,
    Seed,
    Strict,
)
from bayescale.errors import BayescaleError
from bayescale.keywords import argument

if TYPE_CHECKING:
    from bayescale.data import Runs
    from bayescale.evaluation import Hypotheses
    from bayescale.forecasting import Average
    from bayescale.model import Fit


def report(
    table: RunsFile,
    groups: Groups = None,
    flops: Flops = None,
    hardware: Hardware = None,
    law: LawNames = None,
    columns: Columns = None,
    drop_missing: DropMissing = False,
    drop_failed: DropFailed = False,
    loss_unit: LossUnit = None,
    keep_best: KeepBest = False,
    pool: Pool = None,
    against: Annotated[
        str | None,
        typer.Option(help="other laws to compare the one law of --law with, comma-separated"),
    ] = None,
    rollout: Annotated[
        bool, typer.Option(help="fit the smaller half of the runs and forecast the others")
    ] = True,
    out: Annotated[Path, typer.Option(help="folder for index.html and fit.nc")] = Path("report"),
    csv: Csv = None,
    seed: Seed = 1,
    draws: Draws = 1000,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Fit runs, forecast and allocate budgets, and write an HTML page with the results."""
    budgets, cost = options.budgets(flops, "--flops", hardware)
    given = budgets or None
    laws = options.law_names(law)
    others = _others(laws, against, pool)
    progressbar = console.progress(quiet, as_json)
    reading = columns, drop_missing, drop_failed, loss_unit, keep_best
    fitted = fit_table(table, groups, laws, reading, pool, seed, draws, quiet, progressbar)
    from bayescale.progress import bar
    from bayescale.reporting import findings, held_out_half, tables, why_not_held_out
    from bayescale.reporting import report as write

    fitted.save(out / "fit.nc")
    if rollout and not why_not_held_out(fitted):
        console.announce(
            f"the fit is saved as {out / 'fit.nc'}; now the smaller half of the runs is fitted to "
            "forecast the others, which --no-rollout leaves out",
            quiet or as_json,
        )
    found = findings(fitted, given, ci_prob, cost)
    compared = _compare(fitted, others, seed, draws, progressbar)
    held = held_out_half(fitted, progressbar=progressbar) if rollout else None
    if rollout and not isinstance(held, str):
        console.announce(tables.coverage_in_words(held), quiet or as_json)
    with bar(progressbar) as step:
        step("drawing the report")
        page = write(
            fitted,
            out,
            C=given,
            cost=cost,
            ci_prob=ci_prob,
            found=found,
            rollout=held,
            hypotheses=compared,
            command="bayescale " + shlex.join(sys.argv[1:]),
        )
    data = _described(fitted, ci_prob)
    if compared is not None:
        data["verdict"] = compared.verdict
    # The findings of the check are printed with their remedies.
    told = tuple(f"{finding.name} check" for finding in fitted.check().problems)
    console.finish(
        found.tables,
        data,
        seed=fitted.random_seed,
        as_json=as_json,
        headline=" ".join(found.answers),
        comment=compared.verdict if compared is not None else found.difference or _comment(fitted),
        fits=[fitted],
        show_passed=True,
        # What the table lacks was printed when it was read.
        notes=[
            note
            for note in (*found.notes, found.decisions.not_compared)
            if note and (as_json or not (note == fitted.runs.lacking or note.startswith(told)))
        ],
        files={"report": page, "fit": out / "fit.nc", **console.saved(csv, found.numbers())},
        strict=strict,
    )


def fit(
    table: RunsFile,
    groups: Groups = None,
    law: LawNames = None,
    columns: Columns = None,
    drop_missing: DropMissing = False,
    drop_failed: DropFailed = False,
    loss_unit: LossUnit = None,
    keep_best: KeepBest = False,
    pool: Pool = None,
    out: Annotated[Path, typer.Option(help="file for the posterior")] = Path("fit.nc"),
    csv: Csv = None,
    plot: Plot = None,
    seed: Seed = 1,
    draws: Draws = 1000,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Fit a table of runs and save the posterior."""
    options.picture(plot)
    laws = options.law_names(law)
    progressbar = console.progress(quiet, as_json)
    reading = columns, drop_missing, drop_failed, loss_unit, keep_best
    fitted = fit_table(table, groups, laws, reading, pool, seed, draws, quiet, progressbar)
    from bayescale.reporting import findings, save_picture

    fitted.save(out)
    found = findings(fitted, (), ci_prob)
    files = {"fit": out, **console.saved(csv, fitted.summary(ci_prob).reset_index())}
    if plot is not None:
        from bayescale.plots import plot_fit

        save_picture(plot_fit(fitted, ci_prob=ci_prob), plot)
        files["plot"] = plot
    console.finish(
        found.tables,
        _described(fitted, ci_prob),
        seed=fitted.random_seed,
        as_json=as_json,
        headline=" ".join(found.answers),
        comment=_comment(fitted),
        fits=[fitted],
        show_passed=True,
        notes=[fitted.runs.lacking] if fitted.runs.lacking and as_json else [],
        files=files,
        strict=strict,
    )


def forecast(
    fit: FitOrTable,
    N: Annotated[
        str | None,
        typer.Option("--N", help="parameters: 7B,70B; each is combined with each D or FLOP"),
    ] = None,
    D: Annotated[str | None, typer.Option("--D", help="tokens: 140B,1.4T")] = None,
    flops: Annotated[
        str | None,
        typer.Option(help="FLOP: 1e22,1e23, or '$2M'; without --N and --D at the optimal N and D"),
    ] = None,
    hardware: Hardware = None,
    paired: Annotated[
        bool,
        typer.Option("--paired", help="combine the first N with the first D, and so on"),
    ] = False,
    at: Annotated[
        str | None, typer.Option("--at", help="other columns of the law: U=200B,lr=3e-4")
    ] = None,
    group: Group = None,
    series: Annotated[
        str | None, typer.Option(help="fitted run of checkpoints that the points continue")
    ] = None,
    below: Annotated[
        float | None, typer.Option(help="also give the probability of a loss below this")
    ] = None,
    groups: Groups = None,
    law: LawNames = None,
    columns: Columns = None,
    drop_missing: DropMissing = False,
    drop_failed: DropFailed = False,
    loss_unit: LossUnit = None,
    keep_best: KeepBest = False,
    pool: Pool = None,
    draws: FitDraws = None,
    csv: Csv = None,
    plot: Plot = None,
    seed: Seed = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Forecast the losses of new runs."""
    budgets, cost = options.budgets(flops, "--flops", hardware)
    points = {"N": options.counts(N, "--N"), "D": options.counts(D, "--D"), "C": budgets}
    others = {c: options.counts(v, "--at") for c, v in options.pairs(at, "--at").items()}
    options.picture(plot)
    progressbar = console.progress(quiet, as_json)
    from bayescale.forecasting import fits_of, read_points, refuse_unused
    from bayescale.forecasting import forecast as predict
    from bayescale.model import is_table
    from bayescale.reporting import Table, save_picture, tables

    place = {column: values for column, values in points.items() if values}

    def check(runs: Runs, of_laws: tuple[str, ...]) -> None:
        asked = {**place, **others}
        refuse_unused(asked, of_laws, runs)
        read_points(None, asked, tuple(dict.fromkeys(("N", "D", "C", *of_laws))), (), None)
        options.asked_group(group, options.names(groups) or (), runs.table)

    reading = columns, drop_missing, drop_failed, loss_unit, keep_best
    settings = groups, law, reading, pool, seed, draws, quiet, progressbar
    fitted = from_file(fit, *settings, check)
    notes = []
    if is_table(fit) and law is None and not fitted.law.allocates:
        laws = ", ".join(fits_of(fitted))
        notes = [f"fitted: {laws}; the table lacks N or D, or is of curves of one N"]
    if not paired and sum(len(values) > 1 for values in place.values()) > 1:
        console.announce(
            f"each {' with each '.join(map(argument, place))}: "
            f"{prod(map(len, place.values()))} runs; --paired combines the first with the first, "
            "and so on",
            quiet or as_json,
        )
    result = predict(
        fitted,
        **(place if paired else options.crossed(place)),
        **others,
        group=options.asked_group(group, fitted.groups, fitted.runs.table),
        series=series,
        cost=cost,
        random_seed=seed,
    )
    shown = tables.forecasts([result], ci_prob)
    frame = result.summary(ci_prob)
    if below is not None:
        chance = result.beats(below)
        frame[f"p_below_{below:g}"] = chance
        rows = tuple((*r, f"{p:.3f}") for r, p in zip(shown.rows, chance, strict=True))
        shown = Table(shown.title, (*shown.header, f"P(loss < {below:g})"), rows)
    files = console.saved(csv, frame)
    if plot is not None:
        from bayescale.plots import plot_forecast

        save_picture(plot_forecast(result, ci_prob=ci_prob), plot)
        files["plot"] = plot
    console.finish(
        [shown],
        {"forecast": frame.to_dict("records")},
        seed=fitted.random_seed if seed is None else seed,
        as_json=as_json,
        headline=result.bottom_line(ci_prob),
        fits=[fitted],
        cautions=result.cautions(ci_prob)[1:],
        notes=notes,
        files=files,
        strict=strict,
    )


def _described(fitted: Fit | Average, ci_prob: float | None) -> dict[str, Any]:
    """Entries of the JSON object: the posterior, and of an average the evidence of each law."""
    from bayescale.model import Fit

    if isinstance(fitted, Fit):
        return {"posterior": fitted.summary(ci_prob).T.to_dict()}
    by_law = fitted.summary(ci_prob).groupby(level="law", sort=False)
    return {
        "evidence": {name: fit.evidence._asdict() for name, fit in fitted.fits.items()},
        "posterior": {law: frame.droplevel("law").T.to_dict() for law, frame in by_law},
        "difference": fitted.difference,
    }


def _comment(fitted: Fit | Average) -> str:
    """How far the laws of an average differ, as a sentence; empty for one fit."""
    from bayescale.model import Fit

    if isinstance(fitted, Fit) or len(fitted.counted) == 1:
        return ""
    return f"{fitted.difference[0].upper()}{fitted.difference[1:]}."


def _others(laws: list[str] | None, against: str | None, pool: str | None) -> list[str]:
    """The other laws that a report compares its law with."""
    if against is None:
        return []
    from bayescale.laws import get

    names = options.names(against) or ()
    problems = []
    if laws is None or len(laws) > 1:
        problems.append(
            "a report of several laws compares them already: name one law with --law, or leave "
            "--against out"
        )
    problems += [
        f"{name} is the law of the report: name others" for name in names if [name] == laws
    ]
    if pool is not None:
        problems.append("--pool applies to a single law: leave it out to compare laws")
    if problems:
        raise BayescaleError(problems, where="--against")
    return [get(name).name for name in names]


def _compare(
    fitted: Fit | Average,
    others: Sequence[str],
    seed: int | None,
    draws: int,
    progressbar: bool | None,
) -> Hypotheses | None:
    """The comparison of a fit's law with others on the same runs; None without others."""
    if not others:
        return None
    from bayescale.evaluation import hypotheses

    return hypotheses(
        fitted.runs,
        [fitted.law.name, *others],
        groups=fitted.groups or None,
        draws=draws,
        random_seed=seed,
        progressbar=progressbar,
    )

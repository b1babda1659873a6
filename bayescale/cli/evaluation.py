"""The commands rollout and hypotheses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli import console, options
from bayescale.cli.options import (
    AsJson,
    CiProb,
    Columns,
    Csv,
    Draws,
    DropFailed,
    DropMissing,
    Group,
    Groups,
    KeepBest,
    LossUnit,
    Plot,
    Quiet,
    RunsFile,
    Seed,
    Strict,
)


def rollout(
    table: RunsFile,
    above: Annotated[str, typer.Option(help="thresholds, comma-separated: 1e20,1e21")],
    column: Annotated[str, typer.Option(help="column of the thresholds")] = "C",
    laws: Annotated[
        str | None,
        typer.Option(help="laws, comma-separated; by default three, and their weighted average"),
    ] = None,
    groups: Groups = None,
    each: Annotated[
        str | None, typer.Option(help="column whose labels are fitted separately")
    ] = None,
    columns: Columns = None,
    drop_missing: DropMissing = False,
    drop_failed: DropFailed = False,
    loss_unit: LossUnit = None,
    keep_best: KeepBest = False,
    seed: Seed = 1,
    draws: Draws = 500,
    csv: Csv = None,
    plot: Plot = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit the runs below each threshold, forecast those above, and report coverage and scores."""
    options.picture(plot)
    progressbar = console.progress(quiet, as_json)
    from bayescale.evaluation import rollout as evaluate
    from bayescale.reporting import tables

    names = options.names(groups)
    labels = tuple(dict.fromkeys([*(names or ()), *([each] if each else [])]))
    result = evaluate(
        options.read_runs(table, labels, columns, drop_missing, drop_failed, loss_unit, keep_best),
        options.names(laws),
        above=options.names(above),
        column=column,
        each=each,
        groups=names,
        draws=draws,
        random_seed=seed,
        progressbar=progressbar,
    )
    files = console.saved(csv, result.summary())
    if plot is not None:
        from bayescale.plots import plot_rollout
        from bayescale.reporting import save_picture

        save_picture(plot_rollout(result), plot)
        files["plot"] = plot
    console.finish(
        [tables.coverage(result)],
        {"rollout": result.summary().to_dict("records")},
        seed=result.random_seed,
        as_json=as_json,
        headline=result.bottom_line(),
        notes=result.notes,
        files=files,
    )


def hypotheses(
    table: RunsFile,
    laws: Annotated[str, typer.Option(help="laws, comma-separated")] = (
        "kaplan,kaplan_floor,chinchilla,skaling"
    ),
    above: Annotated[
        str | None,
        typer.Option(help="thresholds of C: weight the laws by forecasts of the runs above"),
    ] = None,
    groups: Groups = None,
    group: Group = None,
    columns: Columns = None,
    drop_missing: DropMissing = False,
    drop_failed: DropFailed = False,
    loss_unit: LossUnit = None,
    keep_best: KeepBest = False,
    out: Annotated[
        Path | None,
        typer.Option("--plot", "--out", help="file for a plot of the exponents: png, pdf or svg"),
    ] = None,
    csv: Csv = None,
    seed: Seed = 1,
    draws: Draws = 1000,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Kaplan or Chinchilla? Fit several laws to one table and compare the evidence for them."""
    options.picture(out)
    thresholds = options.counts(above, "--above") or None
    progressbar = console.progress(quiet, as_json)
    from bayescale.evaluation import hypotheses as compare
    from bayescale.reporting import tables

    names = options.names(groups)
    result = compare(
        options.read_runs(table, names, columns, drop_missing, drop_failed, loss_unit, keep_best),
        options.names(laws),
        above=thresholds,
        groups=names,
        group=options.group_label(group, names or ()),
        draws=draws,
        random_seed=seed,
        progressbar=progressbar,
    )
    files = console.saved(csv, result.summary(ci_prob).reset_index())
    if out is not None:
        from bayescale.plots import plot_exponents
        from bayescale.reporting import save_picture

        save_picture(plot_exponents(result, ci_prob=ci_prob), out)
        files["picture"] = out
    console.finish(
        [tables.hypotheses(result, ci_prob), tables.claims(result, ci_prob)],
        {
            "verdict": result.verdict,
            "probabilities": dict(result.probabilities),
            "laws": result.summary(ci_prob).reset_index().to_dict("records"),
            "decides": dict(result.decides),
        },
        seed=next(iter(result.fits.values())).random_seed,
        as_json=as_json,
        headline=result.bottom_line(ci_prob),
        fits=result.fits.values(),
        notes=result.notes,
        files=files,
        strict=strict,
    )

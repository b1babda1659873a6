"""The command allocate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli import console, options
from bayescale.cli.fitting import from_file
from bayescale.cli.options import (
    AsJson,
    CiProb,
    Columns,
    Csv,
    DropFailed,
    DropMissing,
    FitDraws,
    FitOrTable,
    Group,
    Groups,
    Hardware,
    KeepBest,
    LawNames,
    LossUnit,
    Plot,
    Pool,
    Quiet,
    Seed,
    Strict,
)
from bayescale.errors import BayescaleError

if TYPE_CHECKING:
    from bayescale.data import Runs


def allocate(
    fit: FitOrTable,
    flops: Annotated[
        str | None,
        typer.Option(help="budgets in FLOP: 1e22,1e24, or '$2M', '50k H100 hours', '30 GWh'"),
    ] = None,
    budget: Annotated[str | None, typer.Option(help="the same as --flops")] = None,
    hardware: Hardware = None,
    target_loss: Annotated[
        str | None,
        typer.Option(
            "--target-loss", help="losses to reach: gives the budgets, or with --flops the chances"
        ),
    ] = None,
    probability: Annotated[
        str | None,
        typer.Option(help="probabilities of reaching the losses, 0.5,0.8,0.95 by default"),
    ] = None,
    N: Annotated[
        str | None, typer.Option("--N", help="given parameters: one, or one for each budget")
    ] = None,
    D: Annotated[
        str | None, typer.Option("--D", help="given tokens: one, or one for each budget")
    ] = None,
    smaller: Annotated[
        float | None, typer.Option(help="train a model that is so many times smaller than the best")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="sizes that can be trained, comma-separated: 1B,3B,7B")
    ] = None,
    serve: Annotated[
        str | None, typer.Option(help="tokens that the model will serve: 1T; budgets include them")
    ] = None,
    serve_price: Annotated[
        float, typer.Option(help="price of a FLOP of serving relative to one of training")
    ] = 1.0,
    unique: Annotated[
        str | None, typer.Option(help="unique tokens, under laws of repeated data: 100B")
    ] = None,
    group: Group = None,
    groups: Groups = None,
    law: LawNames = None,
    columns: Columns = None,
    drop_missing: DropMissing = False,
    drop_failed: DropFailed = False,
    loss_unit: LossUnit = None,
    keep_best: KeepBest = False,
    pool: Pool = None,
    seed: Seed = None,
    draws: FitDraws = None,
    csv: Csv = None,
    plot: Plot = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Split training budgets between parameters and tokens."""
    if flops is None and budget is None and target_loss is None:
        raise BayescaleError(
            "give budgets with --flops or --budget, or losses to reach with --target-loss"
        )
    budgets, cost = options.budgets(flops, "--flops", hardware)
    if budget is not None:
        more, cost = options.budgets(budget, "--budget", hardware)
        budgets += more
    given: dict[str, Any] = {
        name: options.counts(text, option) or None
        for name, text, option in (
            ("loss", target_loss, "--target-loss"),
            ("probability", probability, "--probability"),
            ("N", N, "--N"),
            ("D", D, "--D"),
            ("models", models, "--models"),
            ("serve", serve, "--serve"),
            ("unique", unique, "--unique"),
        )
    }
    options.picture(plot)
    progressbar = console.progress(quiet, as_json)
    from bayescale.forecasting import allocate as split
    from bayescale.forecasting import refuse_missing
    from bayescale.reporting import allocation_curve, save_picture, tables

    reading = columns, drop_missing, drop_failed, loss_unit, keep_best
    settings = groups, law, reading, pool, seed, draws, quiet, progressbar

    def check(runs: Runs, _: tuple[str, ...]) -> None:
        refuse_missing("ND", runs, lambda _: "without which no budget can be split")
        options.asked_group(group, options.names(groups) or (), runs.table)

    fitted = from_file(fit, *settings, check)
    label = options.asked_group(group, fitted.groups, fitted.runs.table)
    result = split(
        fitted,
        budgets if flops is not None or budget is not None else None,
        group=label,
        smaller=smaller,
        serve_price=serve_price,
        cost=cost,
        **given,
    )
    notes = []
    if result.conversions:
        notes = [cost.of(result, flop_factor=fitted.runs.flop_factor).bottom_line(ci_prob)]
    frame = result.summary(ci_prob)
    files = console.saved(csv, frame)
    if plot is not None:
        from bayescale.plots import plot_allocation

        curve = allocation_curve(fitted, frame["C"].tolist(), label, result.given)
        save_picture(plot_allocation(curve, ci_prob=ci_prob), plot)
        files["plot"] = plot
    console.finish(
        tables.allocations([result], ci_prob),
        {"allocation": frame.to_dict("records")},
        seed=fitted.random_seed,
        as_json=as_json,
        headline=result.bottom_line(ci_prob),
        fits=[fitted],
        cautions=result.cautions(ci_prob)[1:],
        notes=notes,
        files=files,
        strict=strict,
    )

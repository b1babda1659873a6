"""The command allocate."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bayescale.cli import console, options
from bayescale.cli.options import AsJson, CiProb, Csv, FitFile, Group, Plot, Quiet, Strict
from bayescale.errors import BayescaleError


def allocate(
    fit: FitFile,
    flops: Annotated[
        str | None, typer.Option(help="budgets in FLOP, comma-separated: 1e22,1e24")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="budgets in other units: '$2M', '50k H100 hours', '30 GWh'"),
    ] = None,
    hardware: Annotated[
        str, typer.Option(help="the accelerator that --budget pays for: H100, 'TPU v5p'")
    ] = "H100",
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
    csv: Csv = None,
    plot: Plot = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Split training budgets between parameters and tokens."""
    budgets = options.counts(flops, "--flops") if flops is not None else None
    if flops is None and budget is None and target_loss is None:
        raise BayescaleError(
            "give budgets with --flops or --budget, or losses to reach with --target-loss"
        )
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
    console.progress(quiet, as_json)
    from bayescale.forecasting import allocate as split
    from bayescale.forecasting import load_posterior
    from bayescale.reporting import allocation_curve, save_picture, tables

    fitted = load_posterior(fit)
    notes = []
    if budget is not None:
        paid, bill = _paid(budget, hardware, fitted.runs.flop_factor)
        budgets, notes = (budgets or []) + paid, [bill]
    label = options.group_label(group, fitted.groups)
    result = split(fitted, budgets, group=label, smaller=smaller, serve_price=serve_price, **given)
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


def _paid(budget: str, hardware: str, flop_factor: float) -> tuple[list[float], str]:
    """Budgets in FLOP from those in other units, and what they cost in all units."""
    from bayescale.decisions import Cost, as_flops

    try:
        cost = Cost(hardware)
    except BayescaleError as error:
        raise BayescaleError(error.problems, where="--hardware") from error
    try:
        found = as_flops(
            [part.strip() for part in budget.split(",")], cost, flop_factor=flop_factor
        )
    except BayescaleError as error:
        raise BayescaleError(error.problems, where="--budget") from error
    return found.tolist(), cost.of(found, flop_factor=flop_factor).bottom_line()

"""The commands suggest and design."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.cli import console, options
from bayescale.cli.options import (
    AsJson,
    CiProb,
    Csv,
    FitFile,
    Group,
    Hardware,
    Quiet,
    Seed,
    Strict,
)
from bayescale.errors import BayescaleError

if TYPE_CHECKING:
    import pandas as pd

Table = Annotated[
    Path | None,
    typer.Option("--runs", help="csv file with one row per run, in place of --N and --D"),
]
Parameters = Annotated[
    str | None,
    typer.Option(
        "--N", help="parameters: 100M,1B; each is combined with each D (required, or --runs)"
    ),
]
Tokens = Annotated[str | None, typer.Option("--D", help="tokens: 2B,20B (required, or --runs)")]
TargetN = Annotated[str | None, typer.Option("--target-N", help="parameters of the target run")]
TargetD = Annotated[str | None, typer.Option("--target-D", help="tokens of the target run")]
TargetFlops = Annotated[
    str | None,
    typer.Option("--target-flops", help="FLOP of the target run (or '$2M'), at the best N and D"),
]
TargetLoss = Annotated[
    str | None,
    typer.Option("--target-loss", help="loss that the target run reaches, at the best N and D"),
]
TargetOptimum = Annotated[
    str | None,
    typer.Option(
        "--target-optimum",
        help="FLOP (or '$2M') of a budget whose optimal N is in question, in place of a loss",
    ),
]


def suggest(
    fit: FitFile,
    runs: Table = None,
    N: Parameters = None,
    D: Tokens = None,
    target_N: TargetN = None,
    target_D: TargetD = None,
    target_flops: TargetFlops = None,
    target_loss: TargetLoss = None,
    target_optimum: TargetOptimum = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="largest cost of all runs: FLOP, '$2M', or in the unit of --cost; by default the "
            "cost of the target"
        ),
    ] = None,
    hardware: Hardware = None,
    number: Annotated[int | None, typer.Option(help="largest number of runs")] = None,
    cost: Annotated[str, typer.Option(help="column of costs in --runs")] = "cost",
    group: Group = None,
    csv: Csv = None,
    seed: Seed = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Choose the runs to train next, for a forecast at a target."""
    candidates = _runs("suggest", fit, runs, N, D)
    limits, paid = options.budgets(budget, "--budget", hardware)
    if len(limits) > 1:
        raise BayescaleError(f"{budget!r} are several budgets: give one", where="--budget")
    column_given = runs is not None and cost in candidates
    console.progress(quiet, as_json)
    from bayescale.decisions import suggest as choose
    from bayescale.forecasting import load_posterior
    from bayescale.reporting import decision_tables

    fitted = load_posterior(fit)
    label = options.group_label(group, fitted.groups)
    asked = (target_N, target_D, target_flops, target_loss)
    if target_optimum is None:
        target = _target(fitted, label, *asked, hardware)
    else:
        target = _optimum(fitted, label, target_optimum, asked, hardware)
    result = choose(
        fitted,
        candidates,
        target=target,
        budget=limits[0] if limits else None,
        number=number,
        cost=cost if column_given else paid,
        group=label,
        random_seed=seed,
    )
    frame = result.summary(ci_prob)
    console.finish(
        [decision_tables.suggestions(result, ci_prob)] if len(frame) else [],
        {"suggestion": json.loads(frame.to_json(orient="records"))},
        seed=result.random_seed,
        as_json=as_json,
        headline=result.bottom_line(ci_prob),
        fits=[fitted],
        cautions=result.cautions(ci_prob)[1:],
        files=console.saved(csv, frame),
        strict=strict,
    )


def design(
    fit: FitFile,
    runs: Table = None,
    N: Parameters = None,
    D: Tokens = None,
    target_N: TargetN = None,
    target_D: TargetD = None,
    target_flops: TargetFlops = None,
    target_loss: TargetLoss = None,
    hardware: Hardware = None,
    simulations: Annotated[int, typer.Option(help="number of simulated plans")] = 20,
    group: Group = None,
    csv: Csv = None,
    seed: Seed = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Score a plan of runs by simulation: bias, coverage and width of its answer."""
    plan = _runs("design", fit, runs, N, D)
    progressbar = console.progress(quiet, as_json)
    from bayescale.decisions import design as score
    from bayescale.forecasting import load_posterior
    from bayescale.reporting import decision_tables

    fitted = load_posterior(fit)
    label = options.group_label(group, fitted.groups)
    result = score(
        fitted,
        plan,
        target=_target(fitted, label, target_N, target_D, target_flops, target_loss, hardware),
        simulations=simulations,
        group=label,
        ci_prob=ci_prob,
        random_seed=seed,
        progressbar=progressbar,
    )
    frame = result.summary()
    console.finish(
        [decision_tables.design_scores(result)],
        {"design": json.loads(frame.to_json(orient="records"))},
        seed=result.random_seed,
        as_json=as_json,
        headline=result.bottom_line(),
        fits=[fitted],
        cautions=result.cautions(),
        files=console.saved(csv, frame),
        strict=strict,
    )


def _runs(
    command: str, fit: Path, table: Path | None, N: str | None, D: str | None
) -> pd.DataFrame | dict[str, Any]:
    """The runs in a file, or all combinations of N and D."""
    given = {"N": options.counts(N, "--N"), "D": options.counts(D, "--D")}
    given = {name: values for name, values in given.items() if values}
    if table is None:
        if not given:
            raise BayescaleError(
                "give runs with --N and --D, or a csv file with --runs" + _example(command, fit)
            )
        return given
    if given:
        raise BayescaleError("runs are given twice: by --runs, and by --N or --D")
    import pandas as pd

    try:
        return pd.read_csv(table)
    except (OSError, ValueError) as error:
        raise BayescaleError(f"{table} cannot be read: {error}", where="--runs") from None


def _example(command: str, path: Path) -> str:
    """A complete command with sizes of the fit; empty if its law has no N and D."""
    from bayescale.forecasting import load_posterior
    from bayescale.units import format_count, format_flop

    fitted = load_posterior(path)
    table = fitted.runs.table
    if not {"N", "D", "C"} <= set(table) or not fitted.law.allocates:
        return ""
    N, D = (
        ",".join(format_count(v, 2) for v in dict.fromkeys((table[c].median(), table[c].max())))
        for c in "ND"
    )
    target = format_flop(10 * float(table["C"].max()), 2)
    group = ""
    if len(fitted.groups) == 1:
        group = f" --group {shlex.quote(str(table[fitted.groups[0]].iloc[-1]))}"
    return (
        f". For example: bayescale {command} {shlex.quote(str(path))} --N {N} --D {D} "
        f"--target-flops {target}{group}"
    )


def _optimum(fitted, group, budget: str, others: Sequence[str | None], hardware: str | None):
    """The allocation whose optimal N is in question."""
    if any(others):
        raise BayescaleError(
            "give either the target whose loss is in question, or --target-optimum"
        )
    from bayescale.costs import as_flops
    from bayescale.forecasting import allocate

    flops, cost = options.budgets(budget, "--target-optimum", hardware)
    C = as_flops(flops, cost, flop_factor=fitted.runs.flop_factor)
    return allocate(fitted, C, group=group)


def _target(
    fitted,
    group,
    N: str | None,
    D: str | None,
    flops: str | None,
    loss: str | None,
    hardware: str | None,
) -> pd.DataFrame | dict[str, Any]:
    """The runs whose loss is in question, or the loss that is to be reached."""
    losses = options.counts(loss, "--target-loss")
    if losses:
        if N or D or flops:
            raise BayescaleError("give the target either by its loss or by its size")
        return {"loss": losses}
    budgets, cost = options.budgets(flops, "--target-flops", hardware)
    given: dict[str, Any] = {
        "N": options.counts(N, "--target-N"),
        "D": options.counts(D, "--target-D"),
    }
    if budgets:
        from bayescale.costs import as_flops

        given["C"] = as_flops(budgets, cost, flop_factor=fitted.runs.flop_factor)
    given = {name: values for name, values in given.items() if len(values)}
    if not given:
        raise BayescaleError(
            "give the target with --target-N and --target-D, --target-flops or --target-loss"
        )
    if set(given) == {"C"} and fitted.law.allocates:
        from bayescale.forecasting import best_split

        N_of, D_of = best_split(fitted, given["C"], group)
        import pandas as pd

        return pd.DataFrame({"N": N_of, "D": D_of})
    return given

"""The command: report, fit, forecast, allocate, rollout, compare, breaks, example.

Exit codes: 0 done; 1 a statistical check failed and --strict was given; 2 the input is at fault.
"""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli import console as terminal

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Bayesian neural scaling laws: forecasts and allocations with intervals that hold.",
)

RunsFile = Annotated[Path, typer.Argument(help="csv or parquet table, one row a finished run")]
FitFile = Annotated[Path, typer.Argument(help="fit.nc, as `fit` or `report` wrote it")]
Groups = Annotated[str | None, typer.Option(help="group columns, comma-separated")]
LawName = Annotated[
    str, typer.Option(help="chinchilla, kaplan, kaplan_floor, power, delayed_power(D), ...")
]
Columns = Annotated[
    str | None,
    typer.Option(help="which column is what, where names are unusual: N=size,loss=val_ppl_log"),
]
Pool = Annotated[str | None, typer.Option(help="pooling per parameter: alpha=none,E=complete")]
Flops = Annotated[str | None, typer.Option(help="budgets in FLOP, comma-separated: 1e22,1e24")]
Seed = Annotated[int | None, typer.Option(help="random seed")]
Draws = Annotated[int, typer.Option(help="posterior draws per chain")]
CiProb = Annotated[float | None, typer.Option("--ci-prob", help="probability of the intervals")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bar, no warnings")]
Strict = Annotated[bool, typer.Option(help="exit with 1 if a statistical check fails")]
Group = Annotated[
    str | None,
    typer.Option(
        help="a fitted group (column=label,column=label with several columns); none: a new one"
    ),
]


@app.command()
def report(
    table: RunsFile,
    groups: Groups = None,
    flops: Flops = None,
    law: LawName = "chinchilla",
    columns: Columns = None,
    pool: Pool = None,
    against: Annotated[
        str | None, typer.Option(help="further laws to weigh this one against, comma-separated")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder for index.html and fit.nc")] = Path("report"),
    seed: Seed = 1,
    draws: Draws = 1000,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Fit a table of runs, forecast and allocate budgets, and write a page about it."""
    budgets = terminal.counts(flops, "--flops")
    others = _others(law, against, pool)
    _hush(quiet)
    fitted = _fit(table, groups, law, columns, pool, seed, draws, quiet or as_json)
    from bayescale.progress import bar
    from bayescale.reporting import findings
    from bayescale.reporting import report as write

    found = findings(fitted, budgets, ci_prob)
    said = _against(fitted, others, seed, draws, quiet or as_json)
    with bar(False if quiet or as_json else None) as step:
        step("drawing the report")
        page = write(
            fitted,
            out,
            C=budgets,
            ci_prob=ci_prob,
            found=found,
            hypotheses=said,
            command="bayescale " + shlex.join(sys.argv[1:]),
        )
    tables = [found.posterior, found.forecasts, found.allocations]
    extra = {"report": str(page), "fit": str(out / "fit.nc")}
    if said is not None:
        extra["verdict"] = said.verdict
    terminal.say(fitted, [t for t in tables if t], as_json, extra, found.notes)
    _finish(fitted, strict)


@app.command()
def fit(
    table: RunsFile,
    groups: Groups = None,
    law: LawName = "chinchilla",
    columns: Columns = None,
    pool: Pool = None,
    out: Annotated[Path, typer.Option(help="file to keep the fit in")] = Path("fit.nc"),
    seed: Seed = 1,
    draws: Draws = 1000,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Fit a table of runs and keep the posterior in one file."""
    _hush(quiet)
    fitted = _fit(table, groups, law, columns, pool, seed, draws, quiet or as_json)
    from bayescale.reporting import posterior

    fitted.save(out)
    terminal.say(fitted, [posterior(fitted, ci_prob)], as_json, {"fit": str(out)})
    _finish(fitted, strict)


@app.command()
def forecast(
    fit: FitFile,
    N: Annotated[str | None, typer.Option("--N", help="parameters: 7B,70B")] = None,
    D: Annotated[str | None, typer.Option("--D", help="tokens: 140B,1.4T")] = None,
    flops: Annotated[str | None, typer.Option(help="FLOP; alone: at the best split")] = None,
    group: Group = None,
    below: Annotated[float | None, typer.Option(help="also P(loss < this)")] = None,
    seed: Seed = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Forecast runs that were not made."""
    import pandas as pd

    from bayescale.forecasting import forecast as ahead
    from bayescale.model import Fit
    from bayescale.reporting import Table, forecasts

    points = {
        "N": terminal.counts(N, "--N"),
        "D": terminal.counts(D, "--D"),
        "C": terminal.counts(flops, "--flops"),
    }
    given = {k: v for k, v in points.items() if v}
    _hush(quiet)
    fitted = Fit.load(fit)
    result = ahead(fitted, **given, group=terminal.mapping(group, fitted.groups), random_seed=seed)
    shown = forecasts([result], ci_prob)
    frame: pd.DataFrame = result.summary(ci_prob)
    if below is not None:
        chance = result.beats(below)
        frame[f"p_below_{below:g}"] = chance
        rows = tuple((*r, f"{p:.3f}") for r, p in zip(shown.rows, chance, strict=True))
        shown = Table(shown.title, (*shown.header, f"P(loss < {below:g})"), rows)
    terminal.say(fitted, [shown], as_json, {"forecast": frame.to_dict("records")}, check=False)
    _finish(fitted, strict)


@app.command()
def allocate(
    fit: FitFile,
    flops: Annotated[str, typer.Option(help="budgets in FLOP, comma-separated: 1e22,1e24")],
    group: Group = None,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Split training budgets between parameters and tokens."""
    from bayescale.forecasting import allocate as split
    from bayescale.model import Fit
    from bayescale.reporting import allocations

    budgets = terminal.counts(flops, "--flops")
    _hush(quiet)
    fitted = Fit.load(fit)
    result = split(fitted, budgets, group=terminal.mapping(group, fitted.groups))
    terminal.say(
        fitted,
        [allocations([result], ci_prob)],
        as_json,
        {"allocation": result.summary(ci_prob).to_dict("records")},
        check=False,
    )
    _finish(fitted, strict)


@app.command()
def rollout(
    table: RunsFile,
    above: Annotated[str, typer.Option(help="thresholds, comma-separated: 1e20,1e21")],
    column: Annotated[str, typer.Option(help="the column they lie in")] = "C",
    laws: Annotated[str, typer.Option(help="laws, comma-separated")] = "chinchilla",
    groups: Groups = None,
    each: Annotated[str | None, typer.Option(help="column of problems of their own")] = None,
    columns: Columns = None,
    seed: Seed = 1,
    draws: Draws = 500,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit the runs below each threshold, predict those above, and say how well intervals held."""
    from bayescale.data import Runs
    from bayescale.evaluation import rollout as roll

    _hush(quiet)
    names = terminal.names(groups)
    labels = tuple(dict.fromkeys([*(names or ()), *([each] if each else [])]))
    runs = Runs.read(table, groups=labels, **terminal.pairs(columns, "--columns"))
    rolled = roll(
        runs,
        laws.split(","),
        above=above.split(","),
        column=column,
        each=each,
        groups=names,
        draws=draws,
        random_seed=seed,
        progressbar=False if quiet or as_json else None,
    )
    frame = rolled.summary()
    if as_json:
        body = {"rollout": frame.to_dict("records"), "notes": list(rolled.notes), "seed": seed}
        typer.echo(json.dumps(terminal.without_nan(body), indent=1, default=float))
        return
    from bayescale.reporting import coverage

    terminal.show([coverage(rolled)])
    for note in rolled.notes:
        typer.echo(f"note: {note}")


@app.command()
def compare(
    table: RunsFile,
    laws: Annotated[str, typer.Option(help="laws, comma-separated")] = (
        "kaplan,kaplan_floor,chinchilla,skaling"
    ),
    above: Annotated[
        str | None, typer.Option(help="thresholds of C: also score forecasts of the runs above")
    ] = None,
    groups: Groups = None,
    group: Group = None,
    columns: Columns = None,
    out: Annotated[Path | None, typer.Option(help="picture of the exponents (png)")] = None,
    seed: Seed = 1,
    draws: Draws = 1000,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Kaplan or Chinchilla? Fit several laws to one table and weigh what they claim."""
    from bayescale.data import Runs
    from bayescale.evaluation import hypotheses
    from bayescale.reporting import tables

    thresholds = terminal.counts(above, "--above") or None
    _hush(quiet)
    names = terminal.names(groups)
    runs = Runs.read(table, groups=names, **terminal.pairs(columns, "--columns"))
    said = hypotheses(
        runs,
        [law.strip() for law in laws.split(",")],
        above=thresholds,
        groups=names,
        group=terminal.mapping(group, names or ()),
        draws=draws,
        random_seed=seed,
        progressbar=False if quiet or as_json else None,
    )
    if as_json:
        body = {
            "verdict": said.verdict,
            "probabilities": dict(said.probabilities),
            "laws": said.summary(ci_prob).reset_index().to_dict("records"),
            "decides": dict(said.decides),
            "notes": list(said.notes),
            "seed": seed,
        }
        typer.echo(json.dumps(terminal.without_nan(body), indent=1, default=float))
    else:
        typer.echo(said.verdict)
        terminal.show([tables.hypotheses(said, ci_prob), tables.claims(said, ci_prob)])
        for note in said.notes:
            typer.echo(f"note: {note}")
    if out is not None:
        from bayescale.plots import plot_exponents
        from bayescale.reporting import save_picture

        save_picture(plot_exponents(said, ci_prob=ci_prob), out)
        if not as_json:
            typer.echo(f"picture: {out}")
    if strict and not all(fitted.check().passed for fitted in said.fits.values()):
        raise typer.Exit(1)


@app.command()
def breaks(
    table: Annotated[Path, typer.Argument(help="csv or parquet table, one row a model and task")],
    x: Annotated[str, typer.Option("--x", help="the column of scale")] = "C",
    y: Annotated[str, typer.Option("--y", help="the column of the metric")] = "loss",
    groups: Annotated[str | None, typer.Option(help="the column of tasks")] = None,
    family: Annotated[str | None, typer.Option(help="the column of model families")] = None,
    metric: Annotated[str | None, typer.Option(help="loss, brier or accuracy")] = None,
    scale: Annotated[str, typer.Option(help="of accuracies: odds or plotted")] = "odds",
    questions: Annotated[
        str, typer.Option(help="number of questions: a column or a number")
    ] = "n_questions",
    chance: Annotated[
        str, typer.Option(help="accuracy of guessing: a column or a number")
    ] = "chance",
    out: Annotated[Path | None, typer.Option(help="picture of the curves (png)")] = None,
    seed: Seed = 1,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Where do curves break, and how sure is that?"""
    from bayescale.capabilities import breaks as look
    from bayescale.data import frame
    from bayescale.reporting import tables

    _hush(quiet)
    said = look(
        frame(table),
        x,
        y,
        groups,
        metric=metric,
        scale=scale,
        family=family,
        n_questions=terminal.number(questions),
        chance=terminal.number(chance),
        random_seed=seed,
        progressbar=False if quiet or as_json else None,
    )
    if as_json:
        body = {
            "breaks": said.summary(ci_prob).reset_index().to_dict("records"),
            "notes": list(said.notes),
            "seed": seed,
        }
        typer.echo(json.dumps(terminal.without_nan(body), indent=1, default=float))
    else:
        terminal.show([tables.breaks(said, ci_prob)])
        for note in said.notes:
            typer.echo(f"note: {note}")
    if out is not None:
        from bayescale.plots import plot_breaks
        from bayescale.reporting import save_picture

        save_picture(plot_breaks(said, ci_prob=ci_prob), out)
        if not as_json:
            typer.echo(f"picture: {out}")


@app.command()
def example(
    name: Annotated[str, typer.Argument(help="openlm or chinchilla")] = "openlm",
    out: Annotated[Path | None, typer.Option(help="file to write; standard output if none")] = None,
) -> None:
    """Print an example table of runs as csv."""
    from bayescale.data import Runs
    from bayescale.model import atomically

    text = Runs.example(name).table.to_csv(index=False)
    if out is None:
        typer.echo(text, nl=False)
    else:
        atomically(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))


# -- what the commands share -------------------------------------------------------------------


def _fit(table, groups, law, columns, pool, seed, draws, quiet):
    from bayescale.data import Runs
    from bayescale.model import fit

    names = terminal.names(groups)
    runs = Runs.read(table, groups=names, **terminal.pairs(columns, "--columns"))
    return fit(
        runs,
        law,
        groups=names,
        pool=terminal.pairs(pool, "--pool"),
        draws=draws,
        random_seed=seed,
        progressbar=False if quiet else None,
    )


def _others(law: str, against: str | None, pool: str | None) -> list[str]:
    """The laws that a report weighs its own against."""
    if against is None:
        return []
    from bayescale import laws
    from bayescale.errors import BayescaleError

    names = [name.strip() for name in against.split(",")]
    problems = [f"{name} is the law of the report: name others" for name in names if name == law]
    if pool is not None:
        problems.append("--pool is for one law: leave it out where laws are compared")
    if problems:
        raise BayescaleError(problems, where="--against")
    return [laws.get(name).name for name in names]


def _against(fitted, others, seed, draws, quiet):
    """What the runs of a fit say of its law and others; nothing if there are no others."""
    if not others:
        return None
    from bayescale.evaluation import hypotheses

    return hypotheses(
        fitted.runs,
        [fitted.law, *others],
        groups=fitted.groups or None,
        draws=draws,
        random_seed=seed,
        progressbar=False if quiet else None,
    )


def _hush(quiet: bool) -> None:
    """No warnings on standard error; what a check found is still printed with the tables."""
    if quiet:
        warnings.showwarning = lambda *_: None


def _finish(fitted, strict: bool) -> None:
    if strict and not fitted.check().passed:
        raise typer.Exit(1)


def main() -> None:
    """Run the command; mistakes in the input become one clear message and exit code 2."""
    warnings.simplefilter("ignore")
    for category in ("RunsWarning", "ConvergenceWarning", "ExtrapolationWarning"):
        from bayescale import errors

        warnings.simplefilter("always", getattr(errors, category))
    said: set[str] = set()

    def show(message, category, *rest) -> None:
        if str(message) not in said:
            said.add(str(message))
            print(f"warning: {message}", file=sys.stderr)

    warnings.showwarning = show
    from bayescale.errors import BayescaleError

    try:
        app()
    except BayescaleError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        raise SystemExit(0) from None

"""The command: report, fit, forecast, allocate, rollout, compare, example.

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

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
    help="Bayesian neural scaling laws: forecasts and allocations with intervals that hold.",
)

RunsFile = Annotated[Path, typer.Argument(help="csv or parquet table, one row a finished run")]
FitFile = Annotated[Path, typer.Argument(help="fit.nc, as `fit` or `report` wrote it")]
Groups = Annotated[str | None, typer.Option(help="group columns, comma-separated")]
LawName = Annotated[str, typer.Option(
    help="chinchilla, kaplan, kaplan_floor, power, delayed_power(D), ...")]
Columns = Annotated[str | None, typer.Option(
    help="which column is what, where names are unusual: N=size,loss=val_ppl_log")]
Pool = Annotated[str | None, typer.Option(help="pooling per parameter: alpha=none,E=complete")]
Flops = Annotated[str | None, typer.Option(help="budgets in FLOP, comma-separated: 1e22,1e24")]
Seed = Annotated[int | None, typer.Option(help="random seed")]
Draws = Annotated[int, typer.Option(help="posterior draws per chain")]
CiProb = Annotated[float | None, typer.Option("--ci-prob", help="probability of the intervals")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object instead of tables")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bar, no warnings")]
Strict = Annotated[bool, typer.Option(help="exit with 1 if a statistical check fails")]
Group = Annotated[str | None, typer.Option(
    help="a fitted group (column=label,column=label with several columns); none: a new one")]


@app.command()
def report(
    table: RunsFile,
    groups: Groups = None,
    flops: Flops = None,
    law: LawName = "chinchilla",
    columns: Columns = None,
    pool: Pool = None,
    against: Annotated[str | None, typer.Option(
        help="further laws to weigh this one against, comma-separated")] = None,
    out: Annotated[Path, typer.Option(help="folder for index.html and fit.nc")] = Path("report"),
    seed: Seed = 1,
    draws: Draws = 1000,
    ci_prob: CiProb = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    strict: Strict = False,
) -> None:
    """Fit a table of runs, forecast and allocate budgets, and write a page about it."""
    budgets = _counts(flops, "--flops")
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
        page = write(fitted, out, C=budgets, ci_prob=ci_prob, found=found, hypotheses=said,
                     command="bayescale " + shlex.join(sys.argv[1:]))
    tables = [found.posterior, found.forecasts, found.allocations]
    extra = {"report": str(page), "fit": str(out / "fit.nc")}
    if said is not None:
        extra["verdict"] = said.verdict
    _say(fitted, [t for t in tables if t], as_json, extra, found.notes)
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
    from bayescale.tables import posterior

    fitted.save(out)
    _say(fitted, [posterior(fitted, ci_prob)], as_json, {"fit": str(out)})
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

    from bayescale.fitting import Fit
    from bayescale.forecasting import forecast as ahead
    from bayescale.tables import Table, forecasts

    points = {"N": _counts(N, "--N"), "D": _counts(D, "--D"), "C": _counts(flops, "--flops")}
    given = {k: v for k, v in points.items() if v}
    _hush(quiet)
    fitted = Fit.load(fit)
    result = ahead(fitted, **given, group=_mapping(group, fitted.groups), random_seed=seed)
    shown = forecasts([result], ci_prob)
    frame: pd.DataFrame = result.summary(ci_prob)
    if below is not None:
        chance = result.beats(below)
        frame[f"p_below_{below:g}"] = chance
        rows = tuple((*r, f"{p:.3f}") for r, p in zip(shown.rows, chance, strict=True))
        shown = Table(shown.title, (*shown.header, f"P(loss < {below:g})"), rows)
    _say(fitted, [shown], as_json, {"forecast": frame.to_dict("records")}, check=False)
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
    from bayescale.allocation import allocate as split
    from bayescale.fitting import Fit
    from bayescale.tables import allocations

    budgets = _counts(flops, "--flops")
    _hush(quiet)
    fitted = Fit.load(fit)
    result = split(fitted, budgets, group=_mapping(group, fitted.groups))
    _say(fitted, [allocations([result], ci_prob)], as_json,
         {"allocation": result.summary(ci_prob).to_dict("records")}, check=False)
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
    from bayescale.rollouts import rollout as roll
    from bayescale.runs import Runs

    _hush(quiet)
    names = _names(groups)
    labels = tuple(dict.fromkeys([*(names or ()), *([each] if each else [])]))
    runs = Runs.read(table, groups=labels, **_pairs(columns, "--columns"))
    rolled = roll(runs, laws.split(","), above=above.split(","), column=column, each=each,
                  groups=names, draws=draws, random_seed=seed,
                  progressbar=False if quiet or as_json else None)
    frame = rolled.summary()
    if as_json:
        body = {"rollout": frame.to_dict("records"), "notes": list(rolled.notes), "seed": seed}
        typer.echo(json.dumps(_without_nan(body), indent=1, default=float))
        return
    from bayescale.tables import coverage

    _show([coverage(rolled)])
    for note in rolled.notes:
        typer.echo(f"note: {note}")


@app.command()
def compare(
    table: RunsFile,
    laws: Annotated[str, typer.Option(help="laws, comma-separated")] = (
        "kaplan,kaplan_floor,chinchilla,skaling"),
    above: Annotated[str | None, typer.Option(
        help="thresholds of C: also score forecasts of the runs above")] = None,
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
    from bayescale import tables
    from bayescale.runs import Runs
    from bayescale.verdict import hypotheses

    thresholds = _counts(above, "--above") or None
    _hush(quiet)
    names = _names(groups)
    runs = Runs.read(table, groups=names, **_pairs(columns, "--columns"))
    said = hypotheses(runs, [law.strip() for law in laws.split(",")], above=thresholds,
                      groups=names, group=_mapping(group, names or ()), draws=draws,
                      random_seed=seed, progressbar=False if quiet or as_json else None)
    if as_json:
        body = {"verdict": said.verdict, "probabilities": dict(said.probabilities),
                "laws": said.summary(ci_prob).reset_index().to_dict("records"),
                "decides": dict(said.decides), "notes": list(said.notes), "seed": seed}
        typer.echo(json.dumps(_without_nan(body), indent=1, default=float))
    else:
        typer.echo(said.verdict)
        _show([tables.hypotheses(said, ci_prob), tables.claims(said, ci_prob)])
        for note in said.notes:
            typer.echo(f"note: {note}")
    if out is not None:
        from bayescale.forest import plot_exponents
        from bayescale.reporting import save_picture

        save_picture(plot_exponents(said, ci_prob=ci_prob), out)
        if not as_json:
            typer.echo(f"picture: {out}")
    if strict and not all(fitted.check().passed for fitted in said.fits.values()):
        raise typer.Exit(1)


@app.command()
def example(
    name: Annotated[str, typer.Argument(help="openlm or chinchilla")] = "openlm",
    out: Annotated[Path | None, typer.Option(help="file to write; standard output if none")] = None,
) -> None:
    """Print an example table of runs as csv."""
    from bayescale.runs import Runs
    from bayescale.store import atomically

    text = Runs.example(name).table.to_csv(index=False)
    if out is None:
        typer.echo(text, nl=False)
    else:
        atomically(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))


# -- what the commands share -------------------------------------------------------------------


def _fit(table, groups, law, columns, pool, seed, draws, quiet):
    from bayescale.fitting import fit
    from bayescale.runs import Runs

    names = _names(groups)
    runs = Runs.read(table, groups=names, **_pairs(columns, "--columns"))
    return fit(runs, law, groups=names, pool=_pairs(pool, "--pool"), draws=draws,
               random_seed=seed, progressbar=False if quiet else None)


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
    from bayescale.verdict import hypotheses

    return hypotheses(fitted.runs, [fitted.law, *others], groups=fitted.groups or None,
                      draws=draws, random_seed=seed, progressbar=False if quiet else None)


def _names(text: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in text.split(",")) if text else None


def _hush(quiet: bool) -> None:
    """No warnings on standard error; what a check found is still printed with the tables."""
    if quiet:
        warnings.showwarning = lambda *_: None


def _counts(text: str | None, option: str) -> list[float]:
    from bayescale.errors import BayescaleError
    from bayescale.units import parse_count

    values, problems = [], []
    for part in (text or "").split(",") if text else []:
        try:
            values.append(parse_count(part))
        except ValueError as error:
            problems.append(str(error))
        else:
            if not 0 < values[-1] < float("inf"):
                problems.append(f"{part.strip()} is not a positive, finite count")
    if problems:
        raise BayescaleError(problems, where=option)
    return values


def _pairs(text: str | None, option: str) -> dict[str, str]:
    from bayescale.errors import BayescaleError

    parts = [p.partition("=") for p in text.split(",")] if text else []
    if bad := ["".join(p) for p in parts if not (p[0].strip() and p[1] and p[2].strip())]:
        raise BayescaleError(f"{', '.join(map(repr, bad))}: write name=value,name=value",
                             where=option)
    keys = [p[0].strip() for p in parts]
    known = ("N", "D", "C", "loss", "loss_sd", "loss_lower", "loss_upper", "series")
    if option == "--columns" and (strange := [k for k in keys if k not in known]):
        raise BayescaleError(f"{', '.join(strange)} is no quantity: use {', '.join(known)}",
                             where=option)
    return {k: p[2].strip() for k, p in zip(keys, parts, strict=True)}


def _mapping(group: str | None, columns):
    if group is None or len(columns) <= 1:
        return group
    return _pairs(group, "--group")


def _say(fitted, tables, as_json: bool, extra: dict, notes=(), check: bool = True) -> None:
    """Print results: for people, or for machines."""
    found = fitted.check()
    if as_json:
        body = {
            "check": {"passed": found.passed,
                      "findings": [vars(f) for f in found.findings]},
            "law": fitted.law.name, "runs": len(fitted.runs), "seed": fitted.random_seed,
            **({"posterior": fitted.summary().T.to_dict()} if check else {}),
            "tables": [vars(t) for t in tables], "notes": list(notes), **extra,
        }
        typer.echo(json.dumps(_without_nan(body), indent=1, default=float))
        return
    from rich.text import Text

    console = _console()
    if check or not found.passed:
        ink = {"passed": "green", "caution": "yellow", "failed": "bold red"}
        for i, line in enumerate(repr(found).splitlines()):
            level = found.findings[i - 1].level if i else "passed" if found.passed else "failed"
            console.print(Text(line, style=ink[level] if level != "passed" or not i else ""))
    _show(tables)
    for note in notes:
        console.print(Text(f"warning: {note}", style="yellow"))
    for what, where in extra.items():
        if isinstance(where, str):
            console.print(Text(f"{what}: {where}"))


def _console():
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=220)


def _show(tables) -> None:
    from rich.table import Table

    console = _console()
    for table in tables:
        shown = Table(title=table.title, title_justify="left", box=None, pad_edge=False)
        for i, head in enumerate(table.header):
            shown.add_column(head, overflow="fold", no_wrap=i == 0)
        for row in table.rows:
            shown.add_row(*row)
        console.print()
        console.print(shown)


def _without_nan(value):
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and value != value else value


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


if __name__ == "__main__":
    main()

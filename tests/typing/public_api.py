"""Typical calls of the public API, read by a type checker and never executed.

`tests/test_typing.py` runs the checker on this file. Each result is assigned to a variable of its
documented type. The calls at the end are wrong, and the checker must refuse every one of them.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import bayescale as bs


def runs_and_fits() -> None:
    runs: bs.Runs = bs.Runs.example("openlm")
    own: bs.Runs = bs.Runs.read("runs.csv", groups="dataset")
    small: bs.Runs = runs.query("N < 1e9")
    frame: pd.DataFrame = own.table
    recounted: bs.Runs = runs.recount("params_non_embedding")

    fit: bs.Fit = bs.fit(small, "chinchilla", groups="dataset", draws=500, chains=2, random_seed=1)
    strict: bs.Fit = bs.fit(
        recounted,
        bs.laws.chinchilla,
        pool={"alpha": "complete"},
        priors={"alpha": bs.Positive(0.35, spread=1.5)},
        drift="off",
        target_accept=0.95,
        progressbar=False,
    )
    summary: pd.DataFrame = fit.summary(ci_prob=0.9)
    fit.save("openlm.nc")
    loaded: bs.Fit = bs.Fit.load("openlm.nc")
    passed: bool = fit.check().passed
    print(frame, strict, summary, loaded, passed)


def decisions(fit: bs.Fit, other: bs.Fit, ahead: bs.Forecast) -> None:
    faster: bs.Speedup = bs.speedup(fit, "B", over="A", at=["1e21", "1e22"], along="best")
    two: bs.Speedup = bs.speedup(fit, over=other, loss=2.3, along=20)
    better: float = float(faster.p_better[0])
    cost: bs.Cost = bs.Cost("H100", mfu=(0.3, 0.5), price=2.0, carbon="France")
    bill: bs.Bill = cost.of("1e24")
    dollars: pd.DataFrame = bill.summary()
    budget = bs.as_flops("$2M", cost)
    written: bs.Preregistration = bs.preregister(ahead, "run.json")
    scored: bs.Outcome = bs.outcome(written.path, 2.3, fit=fit)
    years: bs.Trajectory = bs.trajectory(fit, [2026, 2030], start=(2025, "1e25"), growth=(3, 6))
    pinned: bs.Fit = bs.fit(fit.runs, priors={"E": bs.Fixed(1.6)})
    print(two, better, dollars, budget, scored, years, pinned)


def forecasts_and_budgets(fit: bs.Fit, points: pd.DataFrame) -> None:
    forecast: bs.Forecast = bs.forecast(fit, N="70B", D="1.4T", group="c4")
    several: bs.Forecast = bs.forecast(fit, points, random_seed=1)
    table: pd.DataFrame = forecast.summary(ci_prob=0.9)
    widths: pd.DataFrame = several.decompose(ci_prob=0.9)
    allocation: bs.Allocation = bs.allocate(fit, C=["1e22", "1e24"], group="c4")
    splits: pd.DataFrame = allocation.summary(ci_prob=0.9)
    regret: pd.DataFrame = bs.regret(fit, N="7B", D="2T", group="c4").summary(ci_prob=0.9)
    print(table, widths, splits, regret, forecast.beats(2.2), bs.grid(1e20, 1e24, 5))


def comparisons(runs: bs.Runs, fit: bs.Fit, other: bs.Fit) -> None:
    rollout: bs.Rollout = bs.rollout(runs, ["chinchilla", "kaplan_floor"], above=["1e20", 1e21])
    scores: pd.DataFrame = rollout.summary()
    comparison: bs.Comparison = bs.compare([fit, other], rollout)
    average: bs.Average = bs.average(comparison)
    weighted: bs.Average = bs.average([fit, other], {"chinchilla": 0.5, "kaplan_floor": 0.5})
    hypotheses: bs.Hypotheses = bs.hypotheses(runs, ["kaplan_floor", "chinchilla"], random_seed=1)
    verdict: str = hypotheses.verdict
    wasted: pd.DataFrame = hypotheses.deadweight(1e22, ci_prob=0.9)
    ahead: bs.Forecast = bs.forecast(average, N="7B", D="2T", group="c4")
    print(scores, weighted, verdict, wasted, ahead)


def tasks(fit: bs.Fit) -> None:
    results: pd.DataFrame = bs.datasets.openlm_tasks()
    link: bs.Link = bs.link(fit, results, random_seed=1)
    forecast: bs.TaskForecast = bs.forecast_tasks(link, N="7B", D="2T", group="c4")
    emergent: pd.DataFrame = bs.datasets.emergent_tasks()
    breaks: bs.Breaks = bs.breaks(emergent, y="accuracy", groups="task", family="family")
    test: bs.MetricTest = bs.metric_test(emergent, "N", continuous="loss", groups="task")
    table: pd.DataFrame = breaks.summary(ci_prob=0.9)
    print(forecast.summary(ci_prob=0.9), table, test)


def own_law() -> None:
    def loss(N, D, *, E, A, alpha):
        return E + A * (N * D) ** -alpha

    law: bs.Law = bs.Law(
        "joint",
        loss,
        reference="mine",
        falling=("N", "D"),
        priors={
            "E": bs.Positive(1.7, spread=1.4),
            "A": bs.Positive(1),
            "alpha": bs.Positive(0.2),
        },
    )
    runs: bs.Runs = bs.Runs.example("openlm")
    simulated: bs.Runs = bs.simulate(law, runs, {"E": 1.7, "A": 1.0, "alpha": 0.2}, random_seed=1)
    page: Path = bs.report(bs.fit(simulated, law), "report")
    page = bs.report(bs.ensemble(simulated, ["chinchilla", "skaling"]), "report")
    print(page, bs.parse_count("70B"), bs.format_count(7e10))


def refused(fit: bs.Fit, runs: bs.Runs) -> None:
    """Every line is a mistake. A comment that ignores no error is an error itself."""
    bs.fit(3)  # pyright: ignore[reportArgumentType]
    bs.fit(runs, draws="many")  # pyright: ignore[reportArgumentType]
    bs.fit(runs, random_sed=1)  # pyright: ignore[reportCallIssue]
    bs.allocate()  # pyright: ignore[reportCallIssue]
    bs.suggest(fit, {})  # pyright: ignore[reportCallIssue]
    bs.forcast(fit)  # pyright: ignore[reportAttributeAccessIssue]
    fit.sumary()  # pyright: ignore[reportAttributeAccessIssue]
    number: int = fit.summary()  # pyright: ignore[reportAssignmentType]
    print(number)

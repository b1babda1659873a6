"""The commands on several laws: the default of report and fit, and forecasts of a saved average."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import BayescaleError
from bayescale.reporting.tables import problems

FAMILY = {"chinchilla", "kaplan_floor", "skaling", "bounded_chinchilla"}


def test_a_report_without_a_law_is_of_the_default_laws(averaged, kept_average):
    average = bs.Average.load(kept_average)
    assert averaged.code == 0
    assert set(average.fits) == FAMILY
    answer, difference = averaged.out.splitlines()[:2]
    assert answer.startswith("With 1e21 FLOP, train 1.")
    assert difference.startswith("At 1e21 FLOP the laws expect a loss of ")  # the budget asked for
    for name, fit in average.fits.items():
        log = f"{fit.evidence.log:.2f} ± {fit.evidence.error:.2f}"
        assert re.search(
            rf"^{name} +{100 * average.weights[name]:.0f} % +{log} +", averaged.out, re.M
        )
    heaviest = next(iter(average.used))
    assert averaged.out.count("\nPosterior of ") == 1
    assert f"Posterior of {heaviest}, the law with the largest weight: median" in averaged.out
    for title in ("Laws", "Forecast: median", "Allocation: median"):
        assert re.search(f"^{title}", averaged.out, re.M)


def test_each_caution_is_printed_once_and_findings_that_passed_are_not(averaged, kept_average):
    average = bs.Average.load(kept_average)
    cautions = problems(average)  # what several laws share is one caution
    assert {c.name for c in cautions} == {c.name for c in average.check().problems}
    printed = " ".join(averaged.out.split("\n", 1)[1].split())  # without the answer
    for caution in cautions:
        assert printed.count(" ".join(caution.text.split())) == 1
    assert averaged.out.count("CAUTION") == len(cautions)
    assert " ok " not in averaged.out


def test_the_page_says_whose_parameters_are_drawn(averaged, kept_average, folder):
    page = html.unescape((folder / "average" / "index.html").read_text(encoding="utf-8"))
    heaviest = next(iter(bs.Average.load(kept_average).used))
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    of = f"of {heaviest}, the law with the largest weight"
    assert len(captions) == 6  # with that of the held-out half
    assert [of in c for c in captions] == [
        c.startswith(("Posterior densities", "Residuals")) for c in captions
    ]
    assert "the average of the laws at the compute-optimal N and D" in page
    assert "Had we fitted the smaller half of these runs" in page
    assert "<h1>4 laws fitted to 34 runs</h1>" in page
    assert 'bs.load("fit.nc")' in page
    only_here = page[page.index("What each law says") :].split("Appendix")[0]
    light = page[page.index(f"Posterior of {list(bs.load(kept_average).used)[1]}: ") :]
    light = light.split("How to reproduce")[0]  # the parameters of all laws but the heaviest
    cells = re.findall(r"<td>(.*?)</td>", page.replace(only_here, "").replace(light, ""))
    printed = " ".join(averaged.out.split())
    assert all(" ".join(cell.split()) in printed for cell in cells)


def test_forecasts_and_allocations_of_an_average_are_those_of_the_package(kept_average, run):
    average = bs.Average.load(kept_average)
    ahead = run("forecast", kept_average, "--flops", "1e21", "--json")
    split = run("allocate", kept_average, "--flops", "1e21", "--json")
    printed = json.loads(ahead.out)
    assert printed["forecast"] == bs.forecast(average, C=[1e21]).summary().to_dict("records")
    assert (printed["weights"], printed["law"]) == (average.weights, average.law.name)
    expected = bs.allocate(average, [1e21]).summary().to_dict("records")
    assert json.loads(split.out)["allocation"] == expected
    text = run("forecast", kept_average, "--flops", "1e21", "--strict")
    assert text.code == 0
    assert text.out.startswith("A run of 1.")


def test_laws_separated_by_commas_are_weighed(table, folder, run):
    words = ("fit", table, "--law", "chinchilla, kaplan", "--out", folder / "two.nc", "--json")
    ended = run(*words, "--draws", 100, "--quiet", "--ci-prob", "0.8")
    printed, average = json.loads(ended.out), bs.Average.load(folder / "two.nc")
    assert ended.code == 0
    assert list(average.fits) == ["chinchilla", "kaplan"]
    assert printed["weights"] == average.weights
    assert printed["difference"] == average.difference
    for name, fit in average.fits.items():
        assert printed["evidence"][name] == fit.evidence._asdict()
        assert printed["checks"][name]["passed"] == fit.check().passed
        median = fit.summary(0.8).loc["sigma", "median"]
        assert printed["posterior"][name]["sigma"]["median"] == median
    assert printed["check"]["passed"] == average.check().passed


def test_runs_with_one_column_have_their_own_laws(tmp_path, run):
    rows = [f"{10.0**k:g},{1.7 + 0.9 * 10 ** (-0.15 * (k - 19)):.4f}" for k in range(15, 23)]
    (tmp_path / "runs.csv").write_text("\n".join(["C,loss", *rows]))
    words = ("report", tmp_path / "runs.csv", "--flops", "1e23", "--out", tmp_path, "--json")
    printed = json.loads(run(*words, "--draws", 100, "--quiet").out)
    assert set(printed["weights"]) == {"power(C)", "shifted_power(C)"}
    titles = [table["title"].split(":")[0] for table in printed["tables"]]
    assert titles.count("Forecast") == 1
    assert "Allocation" not in titles


@pytest.mark.parametrize(
    ("words", "noted"),
    [
        (("--groups", "dataset"), True),
        (("--groups", "dataset", "--law", "chinchilla,kaplan"), True),
        (("--groups", "dataset", "--quiet"), False),
        (("--groups", "dataset", "--law", "chinchilla"), False),
        ((), False),
    ],
)
@pytest.mark.parametrize("command", ["report", "fit"])
def test_a_long_computation_is_announced(command, words, noted, openlm, tmp_path, monkeypatch, run):
    def stop(runs, *laws, groups, **settings):
        raise BayescaleError("stopped")

    monkeypatch.setattr("bayescale.evaluation.ensemble", stop)
    monkeypatch.setattr("bayescale.model.fit", stop)
    openlm.table.to_csv(tmp_path / "runs.csv")
    ended = run(command, tmp_path / "runs.csv", *words)
    assert ended.err.endswith("error: stopped\n")
    assert ended.err.startswith("note: several laws with groups take") == noted
    assert ("`--law chinchilla` fits one law" in ended.err) == noted


@pytest.mark.parametrize(
    ("words", "noted"),
    [
        ((), "2 to 30 minutes to sample under chinchilla, kaplan_floor, skaling; "),
        (("--law", "chinchilla,kaplan_floor"), "1 to 20 minutes to sample under chinchilla, "),
        (("--law", "chinchilla"), "1 to 10 minutes to sample under chinchilla; "),
        (("--quiet",), None),
    ],
)
def test_the_time_of_checkpoints_is_announced(words, noted, tmp_path, monkeypatch, run):
    """One law takes 30 seconds to 10 minutes."""

    def stop(runs, *laws, **settings):
        raise BayescaleError("stopped")

    monkeypatch.setattr("bayescale.evaluation.ensemble", stop)
    monkeypatch.setattr("bayescale.model.fit", stop)
    monkeypatch.setattr("bayescale.model.expected_seconds", lambda plan: (35.0, 600.0))
    checkpoints().to_csv(tmp_path / "runs.csv", index=False)
    ended = run("report", tmp_path / "runs.csv", "--out", tmp_path / "out", *words)
    assert ended.err.endswith("error: stopped\n")
    if noted is None:
        assert "note:" not in ended.err
        return
    assert f"90 checkpoints of 3 runs take about {noted}" in ended.err
    assert "a table with every tenth of each run takes a tenth" in ended.err
    assert ("`--law chinchilla` fits one law only" in ended.err) == (words[-1:] != ("chinchilla",))


def test_a_short_time_is_not_announced(tmp_path, monkeypatch, run):
    def stop(runs, *laws, **settings):
        raise BayescaleError("stopped")

    monkeypatch.setattr("bayescale.evaluation.ensemble", stop)
    monkeypatch.setattr("bayescale.model.expected_seconds", lambda plan: (1.0, 19.0))
    checkpoints().to_csv(tmp_path / "runs.csv", index=False)
    assert "note:" not in run("report", tmp_path / "runs.csv", "--out", tmp_path / "out").err


def test_checkpoints_of_groups_are_announced(tmp_path, monkeypatch, run):
    def stop(runs, *laws, **settings):
        raise BayescaleError("stopped")

    monkeypatch.setattr("bayescale.model.fit", stop)
    table = checkpoints().assign(corpus=np.repeat(["x", "y", "x"], 30))
    table.to_csv(tmp_path / "runs.csv", index=False)
    words = ("--groups", "corpus", "--law", "chinchilla", "--out", tmp_path / "out")
    ended = run("report", tmp_path / "runs.csv", *words)
    assert ended.err.startswith("note: checkpoints of several groups are sampled together")


def test_a_run_of_checkpoints_is_continued(tmp_path, run, refused):
    table = checkpoints()
    noise = np.exp(0.01 * np.random.default_rng(1).standard_normal(len(table)))
    fit = bs.fit(table.assign(loss=table["loss"] * noise), "power(D)", draws=100, random_seed=1)
    fit.save(tmp_path / "fit.nc")
    words = ("forecast", tmp_path / "fit.nc", "--D", "2e10")
    (row,) = json.loads(run(*words, "--series", "b", "--json").out)["forecast"]
    expected = bs.forecast(fit, D=2e10, series="b").summary()["loss"][0]
    assert row["series"] == "b"
    assert row["loss"] == pytest.approx(expected)
    assert row["loss"] != json.loads(run(*words, "--json").out)["forecast"][0]["loss"]
    assert "there is no series 'd'" in refused(*words, "--series", "d")


def checkpoints() -> pd.DataFrame:
    """Thirty checkpoints of each of three runs."""
    D = np.tile(np.geomspace(1e9, 1e10, 30), 3)
    table = pd.DataFrame(
        {"series": np.repeat(list("abc"), 30), "N": np.repeat([1e8, 4e8, 1e9], 30)}
    )
    return table.assign(D=D, loss=2 + (D / 1e9) ** -0.3)


@pytest.mark.parametrize("command", ["allocate", "forecast"])
def test_files_of_other_results_are_refused(command, kept_fit, tmp_path, refused):
    bs.forecast(kept_fit, N=1e9, D=2e10).save(tmp_path / "ahead.nc")
    message = refused(command, tmp_path / "ahead.nc", "--flops", "1e21")
    assert message == (
        f"error: {tmp_path / 'ahead.nc'}: the file holds a result of the class Forecast, not Fit "
        "or Average: give a file that `bayescale fit` or `bayescale report` wrote\n"
    )


def test_cautions_of_the_check_are_not_repeated_as_notes(tmp_path, run):
    """Of laws of little weight some differ, so that the sentences on all and on the used do too."""
    rng = np.random.default_rng(1)
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
    bend = 0.02 * np.log(N / 1e8) ** 2
    loss = (1.7 + 400 * N**-0.34 + 400 * D**-0.28) * np.exp(bend + 0.003 * rng.standard_normal(36))
    pd.DataFrame({"N": N, "D": D, "loss": loss}).to_csv(tmp_path / "runs.csv", index=False)
    laws = ("--law", "chinchilla,kaplan_floor")
    ended = run("report", tmp_path / "runs.csv", *laws, "--out", tmp_path / "out", "--no-rollout")
    lines = ended.out.splitlines()
    names = {line.split()[1].rstrip(":") for line in lines if line.startswith("  CAUTION ")}
    assert names
    assert not any(line.startswith(tuple(f"note: {n} check" for n in names)) for line in lines)

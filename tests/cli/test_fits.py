"""The commands report, fit, forecast and allocate."""

from __future__ import annotations

import html
import json
import re
from importlib.metadata import version

import numpy as np
import pytest

import bayescale as bs
from bayescale import reporting
from bayescale.errors import BayescaleError


def test_a_report_prints_its_check_tables_and_files(reported, kept_fit, folder):
    assert reported.code == 0
    for text in (
        kept_fit.check().verdict,
        "Posterior: median",
        "A (raw)",
        "Forecast: median",
        "Allocation: median",
        f"fit: {folder / "it's a report" / 'fit.nc'}",
        f"report: {folder / "it's a report" / 'index.html'}",
    ):
        assert text in reported.out


def test_output_to_a_pipe_has_no_progress_bar_and_no_colours(reported):
    told, held = reported.err.splitlines()  # before and after the fits of the held-out half
    assert re.fullmatch(r"note: \d+ of 17 held-out runs lie inside their 90 % intervals\.", held)
    assert told.startswith("note: the fit is saved as ")
    assert told.endswith("which --no-rollout leaves out")
    assert "\x1b" not in reported.out


def test_the_page_loads_nothing_from_elsewhere(page):
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", page)
    assert not re.search(r"<(script|link|iframe)\b|@import|url\(", page)
    pictures = re.findall(r'<img alt="[^"]+" src="([^"]+)">', page)
    assert len(pictures) == 6
    assert all(p.startswith("data:image/png;base64,iVBOR") for p in pictures)


def test_the_page_tells_how_it_was_made(page, table):
    command = f"bayescale report {table} --law chinchilla --flops 1e21,1e22 --out "
    assert command in html.unescape(page)
    assert "--seed 3 --draws 200</pre>" in page
    assert "Seed 3." in page
    for package in ("bayescale", "pymc", "nutpie", "arviz", "numpy"):
        assert f"{package} {version(package)}" in page


def test_the_page_has_the_tables_that_were_printed(page, reported, kept_fit):
    page = page.replace("\u00a0", " ")
    cells = [html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", page)]
    assert len(cells) > 30
    printed = " ".join(reported.out.split())
    rollout = page[page.index("Had we fitted") :].split("<h2>")[0]  # only on the page
    assert all(cell in printed or f"<td>{cell}</td>" in rollout for cell in cells)
    check = kept_fit.check()
    told = check.verdict.replace("sampling", "Sampling")
    assert (told if check.problems else "The fit passed its checks.") in page
    assert ('<div class="verdict caution">' in page) is bool(check.problems)
    assert check.passed
    # The budgets are within 100 times the largest run.
    assert "shaded region" not in page


def test_the_default_interval_is_of_90_percent(reported, page, kept_fit):
    assert reported.out.count("(90 % interval)") == 5
    assert "in its interval with 90 % probability" in page
    forecast, fit = bs.forecast(kept_fit, C=[1e21, 1e22]), kept_fit
    low, high = np.quantile(fit.posterior["E"], [0.05, 0.95])
    assert f"({low:.4g} to {high:.4g})" in reported.out
    low, high = np.quantile(forecast.data["mean"].isel(point=0), [0.05, 0.95])
    assert f"({low:.3f} to {high:.3f})" in reported.out


def test_the_fit_is_saved_beside_the_page(kept_fit, openlm):
    fit = kept_fit
    assert (fit.random_seed, fit.facts["draws"], fit.posterior.sizes["draw"]) == (3, 200, 200)
    c4 = openlm.query("dataset == 'c4'").table
    assert np.array_equal(fit.runs.table["loss"], c4["loss"])


def test_a_fit_as_json_has_the_posterior(table, folder, run):
    ended = run(
        "fit",
        table,
        "--out",
        folder / "own.nc",
        "--law",
        "chinchilla",
        "--draws",
        200,
        "--json",
        "--columns",
        "N=N,loss=loss",
        "--ci-prob",
        "0.8",
    )
    printed, fit = json.loads(ended.out), bs.Fit.load(folder / "own.nc")
    assert ended.code == 0
    assert printed["check"]["passed"] is True
    assert (printed["law"], printed["runs"], printed["seed"]) == ("chinchilla", 34, 1)
    assert printed["fit"] == str(folder / "own.nc")
    row = fit.summary(0.8).loc["E", ["median", "median_eti80_lb", "median_eti80_ub"]].to_dict()
    assert {name: printed["posterior"]["E"][name] for name in row} == row
    assert printed["tables"][0]["title"] == "Posterior: median (80 % interval)"


def test_forecasts_are_those_of_the_package(kept, kept_fit, run):
    ended = run(
        "forecast",
        kept,
        "--N",
        "1B,7B",
        "--D",
        "140B",
        "--below",
        "2.5",
        "--json",
        "--ci-prob",
        "0.8",
    )
    ahead = bs.forecast(kept_fit, N=[1e9, 7e9], D=1.4e11)
    expected = ahead.summary(0.8).assign(**{"p_below_2.5": ahead.beats(2.5)})
    assert ended.code == 0
    assert json.loads(ended.out)["forecast"] == expected.to_dict("records")


def test_allocations_are_those_of_the_package(kept, kept_fit, run):
    ended = run("allocate", kept, "--flops", "1e22, 1e23", "--json")
    expected = bs.allocate(kept_fit, [1e22, 1e23]).summary()
    assert ended.code == 0
    assert json.loads(ended.out)["allocation"] == expected.to_dict("records")


def test_results_are_printed_as_tables(kept, run):
    ahead = run("forecast", kept, "--flops", "1e21", "--below", "2.5")
    split = run("allocate", kept, "--flops", "1e21")
    assert (ahead.code, ahead.err, split.code, split.err) == (0, "", 0, "")
    assert ahead.out.startswith("A run of 3.")
    assert split.out.startswith("With 1e21 FLOP, train 3.")
    assert "\nForecast: median (" in ahead.out
    assert "P(loss" in ahead.out
    assert "\nAllocation: median (" in split.out
    assert "1e21" in split.out


def test_a_far_forecast_warns_on_standard_error(kept, run):
    ended = run("forecast", kept, "--flops", "1e24", "--json")
    assert ended.code == 0
    assert ended.err.startswith("warning: 1 point lies beyond 100 times")
    assert json.loads(ended.out)["forecast"][0]["C"] == 1e24


def test_groups_are_named_by_label_or_by_column(by_hand, openlm, tmp_path, run):
    runs, columns = openlm.query("tokens_per_param == 20"), ["dataset", "architecture"]
    values = {"E": 1.7, "A": 0.4, "B": 0.4, "alpha": 0.3, "beta": 0.3, "sigma": 0.01, "nu": 5.0}
    labels = {"dataset": "c4", "architecture": "d=96_l=8_h=4"}
    both = ",".join(map("=".join, labels.items()))
    for groups, text, group in ((columns[:1], "c4", "c4"), (columns, both, labels)):
        pool = dict.fromkeys(values, "complete") | {"E": "partial"}
        more = {f"E_{g}_scale": 0.1 for g in groups} | {
            f"E_{g}": np.linspace(1.5, 1.9, runs.table[g].nunique()) for g in groups
        }
        fit = by_hand(runs, "chinchilla", values | more, groups=groups, pool=pool)
        fit.save(tmp_path / "fit.nc")
        ended = run(
            "forecast", tmp_path / "fit.nc", "--N", "1B", "--D", "20B", "--json", "--group", text
        )
        (point,) = json.loads(ended.out)["forecast"]
        law = bs.forecast(fit, N=1e9, D=2e10, group=group).data["mean"]
        assert point["mean"] == float(law.median())
        assert [point[g] for g in groups] == [labels[g] for g in groups]


def test_a_seed_fixes_the_noise_of_a_forecast(kept, run):
    words = ("forecast", kept, "--N", "1B", "--D", "20B", "--json", "--seed")
    first, again, other = (run(*words, seed).out for seed in (5, 5, 6))
    assert first == again != other


@pytest.mark.parametrize("command", ["allocate", "forecast"])
def test_a_failed_check_is_printed_and_ends_with_one_if_strict(failing, command, run):
    ended = run(command, failing, "--flops", "1e21")
    assert ended.code == 0
    assert "CHECK FAILED: do not rely on this fit" in ended.out
    assert ended.err.startswith("warning: this fit failed its check (convergence: R-hat of E is")
    assert ended.err.count("failed its check") == 1
    assert run(command, failing, "--flops", "1e21", "--strict").code == 1


def test_a_passed_check_ends_with_zero_if_strict(kept, run):
    assert run("allocate", kept, "--flops", "1e21", "--strict").code == 0


@pytest.mark.parametrize("command", ["report", "fit"])
def test_tables_that_cannot_be_read_end_with_two(command, tmp_path, refused):
    assert "runs.csv: there is no such file" in refused(command, tmp_path / "runs.csv")
    assert "this is a directory" in refused(command, tmp_path)
    (tmp_path / "runs.csv").write_text("")
    assert "runs.csv: the file is empty" in refused(command, tmp_path / "runs.csv")
    (tmp_path / "runs.csv").write_text("N,D,loss\n1e9,2e9,x\n1e9,-1,3\n2e9,1e9,3\n")
    message = refused(command, tmp_path / "runs.csv")
    assert "2 problems" in message
    assert "(line 2)" in message
    assert "(line 3)" in message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs.csv"]


@pytest.mark.parametrize("command", ["allocate", "forecast"])
def test_fits_that_cannot_be_read_end_with_two(command, tmp_path, refused):
    options = ("--flops", "1e21")
    assert "there is no such file" in refused(command, tmp_path / "fit.nc", *options)
    assert "this is a directory" in refused(command, tmp_path, *options)
    (tmp_path / "fit.nc").touch()
    assert "the file is empty" in refused(command, tmp_path / "fit.nc", *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--flops", "1e22,lots"), "--flops: 'lots' is not a budget"),
        (("--flops", "-1,inf"), "--flops: 2 problems\n  - -1 is not a positive, finite count\n"),
        (("--columns", "N"), "--columns: 'N': write name=value,name=value"),
        (("--columns", "N=params,=x"), "--columns: '=x': write name=value"),
        (
            ("--columns", "size=params"),
            "there is no quantity 'size'. There are: N, D, C, loss",
        ),
        (("--columns", "N=params,N=size"), "--columns: N is given more than once"),
        (("--columns", "N=parms"), "no column 'parms'"),
        (("--pool", "alpha"), "--pool: 'alpha': write name=value"),
        (("--pool", "alpha=some"), "pool['alpha']: there are no groups to pool over"),
        (("--groups", "corpus"), "no group column 'corpus'"),
        (("--law", "chinchila"), "Did you mean 'chinchilla'?"),
        (("--law", "chinchilla,power,chinchilla"), "--law: chinchilla is given more than once"),
        (("--law", "kaplam,powr"), "--law: 2 problems\n"),
        (("--law", "chinchilla,kaplan_steps"), "needs the column 'S', which these runs lack"),
        (("--against", "kaplan"), "--against: a report of several laws compares them already"),
        (("--law", "power,kaplan", "--against", "isoflop"), "name one law with --law"),
        (("--draws", "0"), "draws is 0: give a whole number, at least 10"),
    ],
)
def test_invalid_options_end_with_two(table, tmp_path, options, message, refused):
    assert message in refused("report", table, "--out", tmp_path / "new", *options)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("forecast", "--N", "1B"), "D cannot be derived from N"),
        (("forecast", "--N", "0", "--D", "1B"), "--N: 0 is not a positive, finite count"),
        (("forecast", "--N", "1B,2B", "--D", "1B,2B,3B", "--paired"), "differ in length"),
        (("forecast", "--flops", "1e21", "--group", "c4"), "this fit has no groups"),
        (("forecast", "--flops", "1e21", "--ci-prob", "90"), "ci_prob is 90.0"),
        (("allocate", "--flops", ""), "C must be positive"),
        (("allocate",), "give budgets with --flops or --budget, or losses to reach"),
        (("allocate", "--flops", "1e21", "--ci-prob", "0"), "ci_prob is 0.0"),
    ],
)
def test_invalid_points_and_budgets_end_with_two(kept, words, message, refused):
    command, *options = words
    assert message in refused(command, kept, *options)


def test_the_fit_is_saved_before_what_follows_it(table, folder, run, monkeypatch):
    def stop(*_, **__):
        raise BayescaleError("stopped")

    monkeypatch.setattr(reporting, "findings", stop)
    out = folder / "stopped"
    ended = run("report", table, "--law", "chinchilla", "--draws", 100, "--out", out, "--quiet")
    assert (ended.code, ended.err) == (2, "error: stopped\n")
    assert bs.load(out / "fit.nc").law.name == "chinchilla"

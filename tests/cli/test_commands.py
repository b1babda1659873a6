"""The command: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points, version
from io import StringIO
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import commands as cli


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def run(*words) -> Ended:
    """What `bayescale ...` prints and ends with, without a new process."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "argv", ["bayescale", *map(str, words)])
        patch.delenv("BAYESCALE_PROGRESS", raising=False)
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main()
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def table(folder, openlm):
    path = folder / "c4.csv"
    c4 = openlm.query("dataset == 'c4'").table
    c4[["N", "D", "loss", "loss_sd"]].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def reported(table, folder):
    return run(
        "report",
        table,
        "--flops",
        "1e21,1e22",
        "--out",
        folder / "it's a report",
        "--seed",
        3,
        "--draws",
        200,
    )


@pytest.fixture(scope="module")
def page(reported, folder):
    return (folder / "it's a report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def kept(reported, folder):
    """The fit that `report` left."""
    return folder / "it's a report" / "fit.nc"


@pytest.fixture
def failing(by_hand, openlm, tmp_path):
    """A saved fit whose chains disagree."""
    rng = np.random.default_rng(1)
    values = {
        "E": np.array([[1.6], [1.9]]),
        "A": 1.0,
        "B": 0.6,
        "alpha": 0.25,
        "beta": 0.27,
        "sigma": 0.02,
        "nu": 3.0,
    }
    values = {k: v * np.exp(1e-3 * rng.standard_normal((2, 100))) for k, v in values.items()}
    by_hand(openlm.query("dataset == 'c4'"), "chinchilla", values, draws=100).save(
        tmp_path / "failing.nc"
    )
    return tmp_path / "failing.nc"


# -- before anything is done -------------------------------------------------------------------


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="bayescale")
    assert command.load() is cli.main


def test_help_names_every_command_and_loads_nothing_heavy():
    code = (
        "import sys, bayescale.cli as cli; sys.argv = ['bayescale', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit as ended: print(ended.code, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ended, *loaded = done.stdout.splitlines()[-1].split()
    assert ended == "0"
    assert not {
        "pymc",
        "pytensor",
        "nutpie",
        "arviz",
        "arviz_base",
        "matplotlib",
        "pandas",
        "numpy",
    } & set(loaded)
    for command in ("report", "fit", "forecast", "allocate", "example"):
        assert re.search(rf"\b{command}\b.*[.\w]", done.stdout)


def test_without_a_command_help_is_shown():
    done = subprocess.run([sys.executable, "-m", "bayescale"], capture_output=True, text=True)
    assert "Usage:" in done.stdout + done.stderr
    assert done.returncode == 2


# -- report ------------------------------------------------------------------------------------


def test_a_report_prints_its_tables_and_where_it_is(reported, folder):
    assert reported.code == 0
    for said in (
        "check passed",
        "Posterior: median",
        "A (raw)",
        "Forecast: median",
        "Allocation: median",
        f"report: {folder / "it's a report" / 'index.html'}",
    ):
        assert said in reported.out


def test_nothing_moves_where_nobody_watches(reported):
    assert reported.err == ""
    assert "\x1b" not in reported.out


def test_the_page_needs_nothing_but_itself(page):
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", page)
    assert not re.search(r"<(script|link|iframe)\b|@import|url\(", page)
    pictures = re.findall(r'<img alt="[^"]+" src="([^"]+)">', page)
    assert len(pictures) == 6
    assert all(p.startswith("data:image/png;base64,iVBOR") for p in pictures)


def test_the_page_tells_how_it_was_made(page, table):
    command = f"bayescale report {table} --flops 1e21,1e22 --out "
    assert command in html.unescape(page)
    assert "--seed 3 --draws 200</pre>" in page
    assert "Seed 3." in page
    for package in ("bayescale", "pymc", "nutpie", "arviz", "numpy"):
        assert f"{package} {version(package)}" in page


def test_the_page_holds_the_tables_that_were_printed(page, reported):
    cells = [html.unescape(c) for c in re.findall(r"<td>(.*?)</td>", page)]
    assert len(cells) > 30
    assert all(cell in reported.out for cell in cells)
    assert "The fit passed its check." in page


def test_the_fit_is_kept_beside_the_page(kept, openlm):
    fit = bs.Fit.load(kept)
    assert (fit.random_seed, fit.facts["draws"], fit.posterior.sizes["draw"]) == (3, 200, 200)
    c4 = openlm.query("dataset == 'c4'").table
    assert np.array_equal(fit.runs.table["loss"], c4["loss"])


def test_a_fit_as_json_is_the_fit(table, folder):
    ended = run(
        "fit",
        table,
        "--out",
        folder / "own.nc",
        "--draws",
        200,
        "--json",
        "--columns",
        "N=N,loss=loss",
        "--ci-prob",
        "0.8",
    )
    said, fit = json.loads(ended.out), bs.Fit.load(folder / "own.nc")
    assert ended.code == 0
    assert said["check"]["passed"] is True
    assert (said["law"], said["runs"], said["seed"]) == ("chinchilla", 34, 1)
    assert said["fit"] == str(folder / "own.nc")
    assert said["posterior"]["E"]["median"] == float(fit.posterior["E"].median())
    assert said["tables"][0]["title"] == "Posterior: median (80 % eti)"


# -- forecast and allocate ---------------------------------------------------------------------


def test_forecasts_are_those_of_the_package(kept):
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
        "--seed",
        "1",
    )
    ahead = bs.forecast(bs.Fit.load(kept), N=[1e9, 7e9], D=1.4e11, random_seed=1)
    expected = ahead.summary(0.8).assign(**{"p_below_2.5": ahead.beats(2.5)})
    assert ended.code == 0
    assert json.loads(ended.out)["forecast"] == expected.to_dict("records")


def test_splits_are_those_of_the_package(kept):
    ended = run("allocate", kept, "--flops", "1e22, 1e23", "--json")
    expected = bs.allocate(bs.Fit.load(kept), [1e22, 1e23]).summary()
    assert ended.code == 0
    assert json.loads(ended.out)["allocation"] == expected.to_dict("records")


def test_results_are_printed_as_tables(kept):
    ahead = run("forecast", kept, "--flops", "1e21", "--below", "2.5")
    split = run("allocate", kept, "--flops", "1e21")
    assert (ahead.code, ahead.err, split.code, split.err) == (0, "", 0, "")
    assert ahead.out.strip().startswith("Forecast: median (")
    assert "P(loss < 2.5)" in ahead.out
    assert split.out.strip().startswith("Allocation: median (")
    assert "1e21" in split.out


def test_a_far_forecast_warns_beside_its_output(kept):
    ended = run("forecast", kept, "--flops", "1e24", "--json")
    assert ended.code == 0
    assert ended.err.startswith("warning: 1 point(s) lie beyond 100 times")
    assert json.loads(ended.out)["forecast"][0]["C"] == 1e24


def test_groups_are_named_by_label_or_by_column(by_hand, openlm, tmp_path):
    runs, columns = openlm.query("tokens_per_param == 20"), ["dataset", "architecture"]
    values = {"E": 1.7, "A": 0.4, "B": 0.4, "alpha": 0.3, "beta": 0.3, "sigma": 0.01, "nu": 5.0}
    labels = {"dataset": "c4", "architecture": "d=96_l=8_h=4"}
    both = ",".join(map("=".join, labels.items()))
    for groups, said, group in ((columns[:1], "c4", "c4"), (columns, both, labels)):
        pool = dict.fromkeys(values, "complete") | {"E": "partial"}
        more = {f"E_{g}_scale": 0.1 for g in groups} | {
            f"E_{g}": np.linspace(1.5, 1.9, runs.table[g].nunique()) for g in groups
        }
        fit = by_hand(runs, "chinchilla", values | more, groups=groups, pool=pool)
        fit.save(tmp_path / "fit.nc")
        ended = run(
            "forecast",
            tmp_path / "fit.nc",
            "--N",
            "1B",
            "--D",
            "20B",
            "--json",
            "--group",
            said,
            "--seed",
            "1",
        )
        (point,) = json.loads(ended.out)["forecast"]
        law = bs.forecast(fit, N=1e9, D=2e10, group=group, random_seed=1).data["mean"]
        assert point["mean"] == float(law.median())
        assert [point[g] for g in groups] == [labels[g] for g in groups]


# -- how it ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["allocate", "forecast"])
def test_a_failed_check_is_said_and_fails_only_if_asked(failing, command):
    ended = run(command, failing, "--flops", "1e21")
    assert ended.code == 0
    assert "CHECK FAILED: do not rely on this fit" in ended.out
    assert ended.err.startswith("warning: this fit failed its check (convergence: R-hat of E is")
    assert ended.err.count("failed its check") == 1
    assert run(command, failing, "--flops", "1e21", "--strict").code == 1


def test_a_passed_check_passes_strictly(kept):
    assert run("allocate", kept, "--flops", "1e21", "--strict").code == 0


def refused(*words) -> str:
    """The one message on standard error of a command that ends with 2."""
    ended = run(*words)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    return ended.err


@pytest.mark.parametrize("command", ["report", "fit"])
def test_tables_that_cannot_be_read_end_with_two(command, tmp_path):
    assert "runs.csv: there is no such file" in refused(command, tmp_path / "runs.csv")
    assert "this is a directory" in refused(command, tmp_path)
    (tmp_path / "runs.csv").write_text("")
    assert "runs.csv: the file is empty" in refused(command, tmp_path / "runs.csv")
    (tmp_path / "runs.csv").write_text("N,D,loss\n1e9,2e9,x\n1e9,-1,3\n2e9,1e9,3\n")
    said = refused(command, tmp_path / "runs.csv")
    assert "2 problems" in said
    assert "(line 2)" in said
    assert "(line 3)" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs.csv"]


@pytest.mark.parametrize("command", ["allocate", "forecast"])
def test_fits_that_cannot_be_read_end_with_two(command, tmp_path, table):
    options = ("--flops", "1e21")
    assert "there is no such file" in refused(command, tmp_path / "fit.nc", *options)
    assert "this is a directory" in refused(command, tmp_path, *options)
    assert "this is not a netCDF file" in refused(command, table, *options)
    (tmp_path / "fit.nc").touch()
    assert "the file is empty" in refused(command, tmp_path / "fit.nc", *options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--flops", "1e22,lots"), "--flops: 'lots' is not a count"),
        (("--flops", "-1,inf"), "--flops: 2 problems\n  - -1 is not a positive, finite count\n"),
        (("--columns", "N"), "--columns: 'N': write name=value,name=value"),
        (("--columns", "N=params,=x"), "--columns: '=x': write name=value"),
        (("--columns", "size=params"), "--columns: size is no quantity: use N, D, C, loss"),
        (("--columns", "N=parms"), "no column 'parms'"),
        (("--pool", "alpha"), "--pool: 'alpha': write name=value"),
        (("--pool", "alpha=some"), "pool['alpha']: there are no groups to pool over"),
        (("--groups", "corpus"), "no group column 'corpus'"),
        (("--law", "chinchila"), "Did you mean 'chinchilla'?"),
        (("--draws", "0"), "draws is 0: at least 10"),
    ],
)
def test_options_that_make_no_sense_end_with_two(table, tmp_path, options, said):
    assert said in refused("report", table, "--out", tmp_path / "new", *options)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("forecast", "--N", "1B"), "D cannot be told from N"),
        (("forecast", "--N", "0", "--D", "1B"), "--N: 0 is not a positive, finite count"),
        (("forecast", "--N", "1B,2B", "--D", "1B,2B,3B"), "differ in length"),
        (("forecast", "--flops", "1e21", "--group", "c4"), "this fit has no groups"),
        (("forecast", "--flops", "1e21", "--ci-prob", "90"), "ci_prob is 90.0"),
        (("allocate", "--flops", ""), "C must be positive"),
        (("allocate", "--flops", "1e21", "--ci-prob", "0"), "ci_prob is 0.0"),
    ],
)
def test_questions_that_make_no_sense_end_with_two(kept, words, said):
    command, *options = words
    assert said in refused(command, kept, *options)


# -- example -----------------------------------------------------------------------------------


def test_a_rollout_says_how_well_intervals_held(table):
    done = run("rollout", table, "--above", "1e20,1e21", "--draws", 250, "--quiet")
    assert done.code == 0
    assert "Held-out runs inside their intervals" in done.out
    line = next(x for x in done.out.splitlines() if x.startswith("chinchilla"))
    assert re.findall(r"(\d+) %", line) == sorted(re.findall(r"(\d+) %", line), key=int)[::-1]
    assert "log-Huber bootstrap (chinchilla)" in done.out


def test_a_threshold_that_leaves_nothing_ends_with_two(table):
    done = run("rollout", table, "--above", "1e30")
    assert done.code == 2
    assert "1e30" in done.err or "1e+30" in done.err


@pytest.fixture(scope="module")
def compared(table, folder):
    return run(
        "compare",
        table,
        "--laws",
        "chinchilla, kaplan",
        "--draws",
        300,
        "--json",
        "--out",
        folder / "exponents.png",
    )


def test_a_comparison_gives_the_verdict_as_json(compared, folder):
    assert compared.code == 0
    said = json.loads(compared.out)
    assert len(said["verdict"].splitlines()) == 2
    assert [row["law"] for row in said["laws"]][-1] == "average"
    assert 0 <= said["probabilities"]["E > 0 predicts better"] <= 1
    assert (folder / "exponents.png").read_bytes().startswith(b"\x89PNG")


def test_a_comparison_prints_the_verdict_and_its_tables(table, compared):
    done = run("compare", table, "--laws", "chinchilla,kaplan", "--draws", 300, "--quiet")
    assert done.code == 0
    assert done.out.startswith(json.loads(compared.out)["verdict"])
    for part in ("Laws compared", "a in N* ~ C^a", "Claims", "P(E > 0 predicts better)"):
        assert part in done.out


def test_a_comparison_can_weigh_what_laws_foresaw(table):
    done = run(
        "compare",
        table,
        "--laws",
        "chinchilla,kaplan",
        "--above",
        "1e20",
        "--draws",
        250,
        "--quiet",
    )
    assert done.code == 0
    assert "rollout log score" in done.out
    assert done.out.startswith("The rollout ")


def test_a_law_beside_itself_ends_with_two(table):
    assert "two or more" in refused("compare", table, "--laws", "kaplan,kaplan")
    said = refused("report", table, "--against", "chinchilla", "--pool", "alpha=none")
    assert "chinchilla is the law of the report" in said
    assert "--pool is for one law" in said


def test_a_report_weighs_its_law_against_others(table, folder):
    done = run(
        "report", table, "--against", "kaplan", "--draws", 300, "--out", folder / "both", "--quiet"
    )
    assert done.code == 0
    page = (folder / "both" / "index.html").read_text()
    assert "Which law?" in page
    assert "as papers claim" in page
    assert re.search(r"verdict: LOO \w+", done.out)


def test_the_example_is_a_table_that_can_be_read_back(openlm, tmp_path):
    ended = run("example")
    assert (ended.code, ended.err) == (0, "")
    (tmp_path / "printed.csv").write_text(ended.out)
    assert run("example", "openlm", "--out", tmp_path / "written.csv") == (0, "", "")
    assert (tmp_path / "written.csv").read_text() == ended.out
    runs = bs.Runs.read(tmp_path / "printed.csv", groups="dataset")
    assert len(runs) == 104
    same = ["N", "D", "C", "loss", "loss_sd", "dataset"]
    pd.testing.assert_frame_equal(
        runs.table[same].reset_index(drop=True),
        openlm.table[same].reset_index(drop=True),
        check_exact=True,
    )


def test_an_example_that_is_none_ends_with_two(tmp_path):
    assert "no example 'openml'. Did you mean 'openlm'?" in refused("example", "openml")
    assert "this is a directory" in refused("example", "--out", tmp_path)


def test_quiet_hides_warnings_but_not_what_the_check_found(failing):
    words = ("forecast", failing, "--N", "1B", "--D", "20B")
    loud, quiet = run(*words), run(*words, "--quiet")
    assert "warning: this fit failed its check" in loud.err
    assert quiet.err == ""
    assert "CHECK FAILED" in quiet.out


def test_a_seed_fixes_the_noise_of_a_forecast(kept):
    words = ("forecast", kept, "--N", "1B", "--D", "20B", "--json", "--seed")
    first, again, other = (run(*words, seed).out for seed in (5, 5, 6))
    assert first == again != other


def test_breaks_are_told_as_a_table_as_json_and_as_a_picture(tmp_path):
    x = np.geomspace(1e18, 1e22, 16)
    table = tmp_path / "curves.csv"
    pd.DataFrame({"C": x, "loss": 0.5 + np.minimum(1, (x / 1e20) ** -0.4)}).to_csv(table)
    done = run("breaks", table, "--quiet", "--out", tmp_path / "breaks.png")
    assert "P(break)" in done.out
    assert (tmp_path / "breaks.png").read_bytes().startswith(b"\x89PNG")
    said = json.loads(run("breaks", table, "--quiet", "--json").out)
    assert said["breaks"][0]["P(break)"] > 0.5


def test_a_table_that_shows_no_breaks_to_anyone_is_refused(tmp_path):
    table = tmp_path / "tasks.csv"
    table.write_text("task,C,accuracy\na,1e18,0.1\na,1e19,1.2\nb,1e18,0.3\n")
    done = run(
        "breaks", table, "--y", "accuracy", "--groups", "task", "--questions", 100, "--chance", 0
    )
    assert done.code == 2
    assert "outside [0, 1] (row 3)" in done.err
    assert "only one row" in done.err

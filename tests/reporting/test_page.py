"""Reports of averages whose posteriors are made by hand, so that nothing is sampled."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.inference import Evidence
from bayescale.model.findings import Check, Finding
from bayescale.reporting import findings, held_out_half, sections, tables

VALUES = {
    "chinchilla": {"E": 1.7, "A": 1.0, "B": 0.7, "alpha": 0.27, "beta": 0.24},
    "kaplan_floor": {"E": 1.7, "A": 1.3, "B": 1.2, "alpha_N": 0.27, "alpha_D": 0.23},
    "power": {"E": 1.7, "A": 1.7, "alpha": 0.16},
}
NOISE = {"sigma": 0.02, "nu": 5.0}
BUDGETS = [1e22, 1e24]


@pytest.fixture(scope="module")
def average_of(by_hand):
    """Make an average of laws by hand: ``average_of(runs, {law: weight}, groups=...)``."""

    def make(runs, weights, groups=None) -> bs.Average:
        rng, fits = np.random.default_rng(1), {}
        for i, law in enumerate(weights):
            values = {**VALUES[law], **NOISE}
            pool = None
            if groups:
                pool = dict.fromkeys(values, "complete") | {"E": "partial"}
                values |= {"E_dataset_scale": 0.1, "E_dataset": np.array([1.6, 1.7, 1.8])}
            values = {
                k: v * np.exp(0.01 * rng.standard_normal((2, 60, *np.shape(v))))
                for k, v in values.items()
            }
            options = dict(groups=groups, pool=pool) if groups else {}
            fit = by_hand(runs, law, values, draws=60, **options)
            fit.__dict__["evidence"] = Evidence(-5.0 - 10 * i, 0.02)
            fits[law] = fit
        return bs.Average(fits, weights)

    return make


@pytest.fixture(scope="module")
def c4(openlm):
    return openlm.query("dataset == 'c4'")


@pytest.fixture(scope="module")
def unpictured():
    """A context in which figures are made but not drawn, which takes most of the time of a page."""

    @contextmanager
    def undrawn():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sections, "png", lambda axes, **options: plt.close("all") or b"")
            yield

    return undrawn


@pytest.fixture
def two(average_of, c4):
    return average_of(c4, {"chinchilla": 0.3, "kaplan_floor": 0.7})


@pytest.fixture(scope="module")
def written(average_of, c4, tmp_path_factory):
    """An average, and the folder of its report for two budgets."""
    average = average_of(c4, {"chinchilla": 0.3, "kaplan_floor": 0.7})
    folder = tmp_path_factory.mktemp("written")
    bs.report(average, folder, C=BUDGETS)
    return average, folder


@pytest.fixture(scope="module")
def grouped(average_of, openlm, tmp_path_factory, unpictured):
    """An average with groups, and its page."""
    average = average_of(openlm, {"chinchilla": 0.3, "kaplan_floor": 0.7}, groups=["dataset"])
    with unpictured():
        page = bs.report(average, tmp_path_factory.mktemp("grouped"))
    return average, page.read_text("utf-8")


def test_the_table_of_laws_begins_with_the_heaviest(two):
    table = tables.laws(two)
    assert table.header == ("law", "weight", "log evidence", "check")
    assert [row[:3] for row in table.rows] == [
        ("kaplan_floor", "70 %", "-15.00 ± 0.02"),
        ("chinchilla", "30 %", "-5.00 ± 0.02"),
    ]


def test_the_verdict_of_each_law_names_what_failed_and_its_cautions(two):
    found = (Finding("misfit", "failed", "a"), Finding("outlier", "caution", "b"))
    two.fits["chinchilla"].__dict__["_check"] = Check(found, None)
    two.fits["kaplan_floor"].__dict__["_check"] = Check((), None)
    assert [row[3] for row in tables.laws(two).rows] == [
        "passed",
        "FAILED: misfit; caution: outlier",
    ]


def test_a_remedy_that_laws_share_is_given_once(two):
    for name, level in (("chinchilla", "failed"), ("kaplan_floor", "caution")):
        found = (Finding("misfit", level, f"bends ({name})", "try another law"),)
        two.fits[name].__dict__["_check"] = Check(found, None)
    problems = tables.problems(two)
    assert [(f.level, f.remedy) for f in problems] == [
        ("failed", "try another law"),
        ("caution", ""),
    ]
    assert [f.text for f in problems] == [
        "chinchilla: bends (chinchilla)",
        "kaplan_floor: bends (kaplan_floor)",
    ]


def test_the_page_has_a_table_of_parameters_for_every_law_and_the_terminal_one(two):
    found = findings(two)
    assert [t.title.split(":")[0] for t in found.posteriors] == [
        "Posterior of kaplan_floor, the law with the largest weight",
        "Posterior of chinchilla",
    ]
    weights, parameters = found.tables
    assert weights.title == "Laws"
    assert parameters.rows == found.posteriors[0].rows
    assert parameters.notes[0].startswith("Parameters of the other laws: on the page")


def test_with_groups_only_the_heaviest_law_has_one(grouped):
    average, page = grouped
    (table,) = findings(average).posteriors
    assert table.title.startswith("Posterior of kaplan_floor, the law with the largest weight: ")
    assert table.header[-3:] == ("c4", "redpajama", "refinedweb")
    page = html.unescape(page)
    assert "<h1>2 laws fitted to 104 runs by dataset</h1>" in page
    assert "The table is that of kaplan_floor, the law with the largest weight" in page


def test_a_report_of_an_average_saves_it(written):
    average, folder = written
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert bs.Average.load(folder / "fit.nc").weights == average.weights
    assert re.findall("<h2>(.*?)</h2>", page) == [
        "Answer",
        "Risk",
        "Next step",
        "Forecast losses",
        "Compute-optimal allocation",
        "What each law says",
        "What the budgets cost",
        "Runs to train next",
        "Appendix: diagnostics",
        "Appendix: parameters of the laws",
        "Appendix: figures behind the costs",
        "How to reproduce this",
    ]
    assert "At 1e24 FLOP the laws expect a loss of" in page


def test_an_average_of_one_law_is_shown_as_that_law(average_of, c4, tmp_path, unpictured):
    with unpictured():
        page = bs.report(average_of(c4, {"chinchilla": 1.0}), tmp_path).read_text(encoding="utf-8")
    assert "<h1>chinchilla fitted to 34 runs</h1>" in page
    assert "largest weight" not in page
    assert "they differ" not in page


def test_budgets_without_a_forecast_are_the_answer_themselves(average_of, c4, tmp_path, unpictured):
    average = average_of(c4, {"chinchilla": 0.6, "power": 0.4})
    found = findings(average, [1e22])
    assert found.forecasts is None
    assert found.allocations == ()
    note = found.answers[0]
    assert note.startswith("No losses are forecast for these budgets: average of chinchilla")
    with unpictured():
        page = bs.report(average, tmp_path, C=[1e22], found=found).read_text(encoding="utf-8")
    assert note in html.unescape(page)


def test_the_page_says_once_that_tokens_are_missing(by_hand, c4, tmp_path, unpictured):
    runs = bs.Runs.from_frame(c4.table[["N", "loss"]].groupby("N", as_index=False).min())
    values = VALUES["power"] | NOISE
    rng = np.random.default_rng(1)
    values = {k: v * np.exp(0.01 * rng.standard_normal((2, 60))) for k, v in values.items()}
    fit = by_hand(runs, "power(N)", values, draws=60)
    assert runs.lacking in repr(fit)
    assert runs.lacking in findings(fit, ()).notes
    with unpictured():
        page = html.unescape(bs.report(fit, tmp_path).read_text(encoding="utf-8"))
    assert page.count(f"T{runs.lacking[1:]}.") == 1


# -- the first page ----------------------------------------------------------------------------


def test_without_budgets_three_multiples_of_the_largest_run_are_taken(two, c4):
    found = findings(two, None)
    largest = float(c4.table["C"].max())
    assert found.budgets == (3 * largest, 10 * largest, 30 * largest)
    assert found.notes[0].startswith("no budgets were given: forecasts are for 3, 10 and 30 times")
    assert findings(two, [1e22]).budgets == (1e22,)
    assert not [n for n in findings(two, [1e22]).notes if "no budgets" in n]


def test_the_page_begins_with_the_answer_the_risk_and_a_next_step(written):
    average, folder = written
    page = html.unescape((folder / "index.html").read_text(encoding="utf-8"))
    with pytest.warns(bs.ExtrapolationWarning):
        split = bs.allocate(average, BUDGETS)
    first = page[: page.index("<h2>Forecast losses</h2>")]
    answer, risk = split.bottom_line().split(" Main reason for doubt: ")
    assert first.index(answer) < first.index(risk) < first.index("<h2>Next step</h2>")
    assert "<img" not in first


def test_the_next_step_after_a_failed_check_is_to_mend_it(two):
    failed = (Finding("misfit", "failed", "bends", "try another law"),)
    two.fits["kaplan_floor"].__dict__["_check"] = Check(failed, None)
    assert findings(two, [1e23]).next_step == (
        "Do not use these numbers. First mend the fit: try another law."
    )


@pytest.fixture
def unsuggested(two, monkeypatch):
    """No runs are suggested, so that one run in between is proposed."""
    for fit in two.fits.values():
        fit.__dict__["_check"] = Check((), None)
    monkeypatch.setattr("bayescale.reporting.choices._next_runs", lambda *_: None)
    return two


@pytest.mark.parametrize(("multiple", "trial"), [(30, 3.0), (90, 9.0), (400, 20.0)])
def test_a_run_in_between_costs_at_most_a_tenth_of_the_budget(unsuggested, c4, multiple, trial):
    largest = float(c4.table["C"].max())
    step = findings(unsuggested, [multiple * largest]).next_step
    ahead = bs.forecast(unsuggested, C=trial * largest)
    low, high = np.quantile(ahead.data["loss"], [0.05, 0.95])
    assert "train one run in between" in step
    beyond = f"It has {trial:g} times the compute of the largest fitted run, "
    assert (beyond + "where the law may no longer hold." in step) == (trial >= 3)
    assert f"({low:.3f} to {high:.3f})" in step


def test_no_run_in_between_is_proposed_where_a_cheap_one_tells_little(unsuggested, c4):
    step = findings(unsuggested, [10 * float(c4.table["C"].max())]).next_step
    assert step.startswith("No cheap run tells much about the largest budget")


def test_without_budgets_no_run_is_proposed(two):
    for fit in two.fits.values():
        fit.__dict__["_check"] = Check((), None)
    found = findings(two, None)
    assert found.decisions.suggestion is None
    assert found.next_step.startswith("Name the budget that you plan to spend (C='1e22'")
    assert found.each == ()
    assert found.difference.startswith("At 1.71e23 FLOP the laws expect")


def test_each_budget_has_a_line_and_the_sentence_is_for_the_largest(two):
    found = findings(two, [1e23, 1e22])
    split = bs.allocate(two, [1e22, 1e23])
    N = [bs.units.format_count(float(v)) for v in split.data["N_decision"]]
    assert [line.split(" parameters")[0] for line in found.each] == [
        f"1e22 FLOP: {N[0]}",
        f"1e23 FLOP: {N[1]}",
    ]
    assert found.answers[0].startswith("With 1e23 FLOP")
    assert "This is the answer for the largest of 2 budgets." in found.answers[0]
    assert found.difference.startswith("At 1e23 FLOP the laws expect a loss of")
    assert findings(two, [1e22]).each == ()


def test_a_caution_of_several_laws_is_one_finding(two):
    for name, row in (("chinchilla", "row 3"), ("kaplan_floor", "row 7")):
        text, rows = f"it depends on single runs: {row} (far)", ((row, "far"),)
        found = (Finding("influence", "caution", text, "look", rows),)
        two.fits[name].__dict__["_check"] = Check(found, None)
    (finding,) = tables.problems(two)
    assert finding.text == (
        "it depends on single runs: row 7 (under kaplan_floor: far); row 3 (under chinchilla: far)"
    )
    assert finding.remedy == "look"


def test_a_remedy_follows_an_arrow_and_the_verdict_counts_cautions(two, tmp_path, unpictured):
    for fit in two.fits.values():
        finding = Finding("design", "caution", "N and D rise together", "add runs")
        fit.__dict__["_check"] = Check((finding,), fit.check().surprising)
    with unpictured():
        page = bs.report(two, tmp_path, C=[1e22]).read_text(encoding="utf-8")
    assert "N and D rise together → <em>add runs.</em>" in page
    assert "Sampling converged; 1 caution." in page
    assert page.count("34 runs") == 2  # in the title of the document and of the page


def test_the_distance_of_the_run_of_the_answer_is_told_once(two, c4):
    for fit in two.fits.values():
        fit.__dict__["_check"] = Check((), None)
    found = findings(two, [300 * float(c4.table["C"].max())])
    told = [t for t in (*found.answers, *found.notes) if "300 times" in t]
    assert len(told) == 1


def test_an_unusual_ratio_is_remarked(by_hand, c4):
    values = {**VALUES["chinchilla"], **NOISE}
    usual = by_hand(c4, "chinchilla", values | {"A": 0.8, "B": 0.5, "alpha": 0.3, "beta": 0.3})
    odd = by_hand(c4, "chinchilla", values | {"A": 4.0, "B": 0.2, "alpha": 0.3, "beta": 0.3})

    def remarks(fit):
        return [n for n in findings(fit, [1e21]).notes if "per parameter, where Hoffmann" in n]

    for fit, expected in ((usual, 0), (odd, 1)):
        ratio = bs.allocate(fit, 1e21).data["tokens_per_param"].median()
        assert (abs(np.log(ratio / 20)) > np.log(2)) == bool(expected)
        assert len(remarks(fit)) == expected


def test_no_table_is_wider_than_the_page(grouped):
    page = html.unescape(grouped[1])
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    widths = [sum(map(len, row)) + 2 * len(row) for row in rows if row]
    assert len(widths) > 20
    assert max(widths) <= 100
    assert "white-space: nowrap" not in page
    assert "img { width: 100%" in page


def test_figures_have_one_width_and_the_page_can_be_printed(written):
    import base64
    import struct

    page = (written[1] / "index.html").read_text(encoding="utf-8")
    pictures = [base64.b64decode(b) for b in re.findall(r'base64,([^"]+)"', page)]
    assert len({struct.unpack(">I", p[16:20]) for p in pictures}) == 1
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert len(captions) == len(pictures)
    assert "are expected" in captions[0] or "is expected between" in captions[0]
    assert "@media print" in page


def test_a_rollout_or_the_reason_for_its_absence_is_shown(two, c4, tmp_path, unpictured):
    half = held_out_half(two.fits["chinchilla"], draws=100)
    given = dict(C=[1e22], found=findings(two, [1e22]))
    with unpictured():
        page = bs.report(two, tmp_path, rollout=half, **given).read_text(encoding="utf-8")
    inside = int(half.points["inside90"].sum())
    assert f"{inside} of {len(c4) // 2} held-out runs lie inside their 90 % intervals." in page
    with unpictured():
        page = bs.report(two, tmp_path, rollout="No runs were held out, because.", **given)
    assert "No runs were held out, because." in page.read_text(encoding="utf-8")


def test_scores_are_compared_with_least_squares_only_if_there_are_baselines(two):
    half = held_out_half(two.fits["chinchilla"], draws=100)
    assert not [head for head in tables.coverage(half).header if "log-Huber" in head]
    baseline = half.points.assign(method="log-Huber", law="log-Huber bootstrap (chinchilla)")
    both = replace(half, points=pd.concat([half.points, baseline], ignore_index=True))
    table = tables.coverage(both)
    column = table.header.index("score / log-Huber's")
    assert [row[column] for row in table.rows] == ["1.00", "1.00"]
    assert table.notes[0].startswith("score / log-Huber's: the interval score divided by")


def test_few_held_out_runs_and_the_ratio_of_scores_are_commented(two):
    half = held_out_half(two.fits["chinchilla"], draws=100)
    rough = " With 17 held-out runs, one run is 6 percentage points of a share"
    assert sections._scores_in_words(half).startswith(rough)
    points = half.points

    def said(factor):
        score = points["interval_score"] * factor
        name = "log-Huber bootstrap (chinchilla)"
        other = points.assign(method="log-Huber", law=name, interval_score=score)
        return sections._scores_in_words(
            replace(half, points=pd.concat([points, other], ignore_index=True))
        )

    assert "chinchilla is 0.50 times that of least squares" in said(2.0)
    assert said(2.0).endswith("so its intervals were better than these.")
    assert said(0.5).endswith("so its intervals were worse than these.")
    assert said(1.0).endswith("so its intervals were about as good as these.")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "FEW_HELD_OUT", 17)
        assert "rough" not in said(1.0)


@pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
@pytest.mark.parametrize("far", [1.0, 2e4])
def test_tables_mark_what_lies_very_far_beyond_the_runs(two, far):
    largest = float(two.runs.table["C"].max())
    (ahead, split) = bs.forecast(two, C=far * largest), bs.allocate(two, far * largest)
    for table in (tables.forecasts([ahead]), *tables.allocations([split])):
        marked = [row for row in table.rows if any(str(cell).endswith("*") for cell in row)]
        assert bool(marked) == (far > 1)
    notes = tables.allocations([split])[0].notes
    assert any(note.startswith("* more than 10,000 times") for note in notes) == (far > 1)


@pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
def test_forecasts_of_groups_have_the_loss_of_a_run_and_the_distance(average_of, openlm):
    grouped = average_of(openlm, {"chinchilla": 1.0}, groups="dataset")
    largest = float(grouped.runs.table["C"].max())
    table = tables.forecasts([bs.forecast(grouped, C=3 * largest, group="c4")])
    assert table.header[-2:] == ("D", "loss of a new run")
    assert table.keys == len(table.header) - 1
    assert table.notes == ("The runs have 3 times the C of the largest fitted run.",)
    assert max(map(len, table.text().splitlines())) <= 80


def test_the_page_says_what_the_numbers_of_rows_count(average_of, tmp_path, unpictured):
    """The first run of a file is line 2, because line 1 is the heading."""
    table = bs.Runs.example("openlm").query("dataset == 'c4'").table[["N", "D", "loss"]]
    table.to_csv(tmp_path / "mine.csv", index=False)
    runs = bs.Runs.read(tmp_path / "mine.csv")
    fit = average_of(runs, {"chinchilla": 1.0})
    with unpictured():
        page = html.unescape(bs.report(fit, tmp_path / "out").read_text(encoding="utf-8"))
    lines = "lines of mine.csv, whose heading is line 1"
    assert f"Numbers are {lines}." in page
    (farthest,) = [f for f in fit.check().findings if f.name == "surprise"]
    assert f"(numbers are {lines})" in farthest.text


def test_verdicts_on_tasks_have_a_section(two, tmp_path, unpictured):
    x = np.geomspace(1e19, 1e24, 8)
    scores = pd.DataFrame({"C": x, "accuracy": 1 / (1 + (x / 1e22) ** -1.0)})
    found = bs.emergence(scores, n_questions=2000, chance=0.0, random_seed=1)
    with unpictured():
        page = bs.report(two, tmp_path, C=[1e22], emergence=found).read_text(encoding="utf-8")
    page = html.unescape(page)
    assert "<h2>Emergence</h2>" in page
    assert found.bottom_line() in page
    assert found.summary()["sentence"].iloc[0] in page


def test_too_few_runs_are_not_held_out(by_hand, c4):
    values = {**VALUES["chinchilla"], **NOISE}
    few = c4[np.arange(len(c4)) < 9]
    reason = held_out_half(by_hand(few, "chinchilla", values))
    assert reason.startswith("No runs were held out, because there are too few")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1200, 800])
def test_nothing_is_wider_than_the_page_in_a_browser(written, tmp_path, width):
    page = written[1] / "index.html"
    probe = tmp_path / "probe.html"
    measure = (
        "<script>window.onload = () => { const right = document.documentElement.clientWidth + 1;"
        "const wide = [...document.querySelectorAll('table, img, pre')]"
        ".filter(e => e.getBoundingClientRect().right > right);"
        "document.title = `${document.documentElement.clientWidth} wide ${wide.length} of ` +"
        "document.querySelectorAll('table').length; }</script></body>"
    )
    text = page.read_text(encoding="utf-8").replace("</body>", measure)
    probe.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--window-size={width},1600", "--dump-dom", probe.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r"<title>(\d+) wide (\d+) of (\d+)</title>", done.stdout)
    assert found, done.stdout[:300]
    assert int(found[1]) == width
    assert int(found[2]) == 0
    assert int(found[3]) >= 4

"""The commands speedup, cost, preregister, outcome and trajectory."""

from __future__ import annotations

import dataclasses
import json
import shlex

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.model import Check

VALUES = dict(E=1.7, A=0.5, B=0.5, alpha=0.34, beta=0.34, sigma=0.01, nu=8.0)


@pytest.fixture(scope="module")
def saved(by_hand, openlm, tmp_path_factory):
    """Fits in files: one with groups, two without."""
    place = tmp_path_factory.mktemp("decisions")
    rng = np.random.default_rng(0)
    grouped = dict(VALUES)
    for name in ("A", "B"):
        grouped[f"{name}_dataset"] = np.array([0.5, 0.45, 0.55])
        grouped[f"{name}_dataset_scale"] = 0.1
    pool = {n: "complete" for n in VALUES if n not in ("A", "B")}
    several = {"grouped.nc": by_hand(openlm, "chinchilla", scattered(grouped, rng),
                                     groups="dataset", pool=pool, draws=200)}  # fmt: skip
    for name, amplitude in (("c4", 0.5), ("web", 0.47)):
        runs = openlm.query("dataset == 'c4'")
        values = scattered({**VALUES, "A": amplitude, "B": amplitude}, rng)
        several[f"{name}.nc"] = by_hand(runs, "chinchilla", values, draws=200)
    for name, fit in several.items():
        fit.__dict__["_check"] = Check((), None)
        fit.save(place / name)
    return place


def scattered(values, rng):
    """Draws with a little scatter, so that convergence can be computed."""
    out = {}
    for name, value in values.items():
        shape = (2, 200, *np.shape(value))
        out[name] = value * np.exp(0.003 * rng.standard_normal(shape))
    return out


def test_speedup_of_groups(run, saved, tmp_path):
    words = ("--group", "redpajama", "--over", "c4", "--at", "1e20", "1e21", "--along", "20")
    ended = run("speedup", saved / "grouped.nc", *words, "--csv", tmp_path / "out.csv")
    assert ended.code == 0
    assert ended.out.startswith("At 1e21 FLOP and 20 tokens per parameter, redpajama is better")
    assert "Compute multiplier" in ended.out
    assert "Probability of the lowest loss" in ended.out
    assert pd.read_csv(tmp_path / "out.csv")["C"].tolist() == [1e20, 1e21]


def test_speedup_as_json_is_that_of_the_package(run, saved):
    words = ("--group", "redpajama", "--over", "c4", "--at", "1e20", "--along", "best", "--json")
    ended = run("speedup", saved / "grouped.nc", *words)
    found = json.loads(ended.out)
    fit = bs.Fit.load(saved / "grouped.nc")
    result = bs.speedup(fit, "redpajama", over="c4", at=1e20, along="best")
    assert found["speedup"][0]["multiplier"] == pytest.approx(
        float(result.data["multiplier"].median())
    )
    assert found["answer"].startswith("At 1e20 FLOP along each recipe's best split")
    assert {row["group"] for row in found["best"]} == {"c4", "redpajama", "refinedweb"}


def test_speedup_of_two_files(run, saved):
    ended = run("speedup", saved / "web.nc", "--over-fit", saved / "c4.nc", "--loss", "2.6,2.5")
    assert ended.code == 0
    assert ended.out.startswith("For a loss of 2.5")
    explained = "the probability that the other recipe does not reach this loss with 10,000 times"
    assert f"never reached: {explained}" in ended.out
    assert "due to E: the share" in ended.out
    assert "unlimited  " not in ended.out
    assert "by_floor" not in ended.out
    assert "--at" not in ended.out
    assert "tail probability: " not in ended.out


def test_speedup_inside_the_runs_says_how_to_ask_beyond(run, saved):
    ended = run("speedup", saved / "web.nc", "--over-fit", saved / "c4.nc")
    largest = float(bs.Fit.load(saved / "web.nc").runs.table["C"].max())
    beyond = bs.units.format_flop(10 * largest, 1)
    assert f"inside the runs; to ask beyond them: --at {beyond}." in ended.out


def test_speedup_names_options_in_errors(refused, saved):
    file = saved / "grouped.nc"
    assert "--over LABEL or with --over-fit FILE" in refused("speedup", file, "--group", "c4")
    message = refused("speedup", file, "--over", "c4")
    assert "name it with --group (dataset: c4, redpajama, refinedweb)" in message
    words = ("--group", "c4", "--over", "redpajama", "--at", "1e20", "--loss", "2.5")
    assert "--at and --loss are both given" in refused("speedup", file, *words)


def test_cost_converts_a_budget(run):
    ended = run("cost", "$2M", "--price", "2", "--mfu", "0.4", "--carbon", "France")
    assert ended.code == 0
    assert "$2M ($2M to $2M)" in ended.out
    assert "note: price: given" in ended.out
    assert "Ember" in ended.out
    found = json.loads(run("cost", "1e24", "--mfu", "0.3,0.5", "--json").out)
    assert found["cost"][0]["C"] == 1e24
    assert found["figures"]["mfu"]["upper"] == pytest.approx(0.5)


def test_cost_names_options_in_errors(refused):
    assert "give --price" in refused("cost", "$2M", "--hardware", "MI300X")
    assert "there is no accelerator 'H101'" in refused("cost", "1e24", "--hardware", "H101")
    assert "the bounds of a 90 % interval, as in 0.3,0.5" in refused("cost", "1e24", "--mfu", "40")
    assert "there is no region 'Nowhere'" in refused("cost", "1e24", "--carbon", "Nowhere")
    told = refused("cost", "two millions")
    assert "is not a budget" in told
    assert "in single quotes ('$5k')" in " ".join(told.split())


def test_a_forecast_is_registered_and_scored(run, refused, saved, tmp_path):
    out = tmp_path / "run.json"
    words = ("--N", "1B,7B", "--D", "20B,140B", "--paired", "--out", out)
    ended = run("preregister", saved / "c4.nc", *words)
    assert ended.code == 0
    content = json.loads(out.read_text())
    assert f"the sha256 of the content is {content['sha256']}" in ended.out
    assert f"registered: {out}" in ended.out
    assert "a registered forecast is not replaced" in refused(
        "preregister", saved / "c4.nc", *words
    )
    middle = [sorted(p["quantiles"])[499] for p in content["points"]]
    scored = run("outcome", out, f"{middle[0]},{middle[1]}", "--fit", saved / "c4.nc")
    assert scored.code == 0
    assert scored.out.startswith("2 of 2 runs lie inside their 90 % interval")
    table = tmp_path / "measured.csv"
    pd.DataFrame({"N": [7e9, 1e9], "loss": middle[::-1]}).to_csv(table, index=False)
    found = json.loads(run("outcome", out, table, "--json").out)
    assert [row["inside"] for row in found["outcome"]] == ["50 %", "50 %"]
    other = tmp_path / "other.csv"
    pd.DataFrame({"million": [7e3, 1e3], "nll": middle[::-1]}).to_csv(other, index=False)
    named = ("--columns", "N=million*1e6,loss=nll")
    found = json.loads(run("outcome", out, other, *named, "--json").out)
    assert [row["inside"] for row in found["outcome"]] == ["50 %", "50 %"]
    assert "--columns is for a table" in refused("outcome", out, "2.5,2.4", *named)
    assert "as in 2.31,2.25, or a csv file" in refused("outcome", out, "2.5")
    assert "neither losses (2.31,2.25) nor a file" in refused("outcome", out, "nothing.csv")
    out.write_text(out.read_text().replace("chinchilla", "kaplan"))
    assert "was changed after it was written" in refused("outcome", out, "2.5,2.4")


def test_a_trajectory(run, refused, saved):
    words = ("--years", "2025,2027", "--flops", "1e22", "--growth", "3,5")
    ended = run("trajectory", saved / "c4.nc", *words)
    assert ended.code == 0
    assert ended.out.startswith("In 2027 a run of ")
    assert "Assumptions, with 90 % intervals" in ended.out
    assert "note: growth: given" in ended.out
    found = json.loads(run("trajectory", saved / "c4.nc", *words, "--json").out)
    assert [row["year"] for row in found["trajectory"]] == [2025, 2027]
    message = refused("trajectory", saved / "c4.nc", "--growth", "5,3")
    assert "the bounds of a 90 % interval, as in 0.3,0.5" in message


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """A table of two tasks of small models."""
    file = tmp_path_factory.mktemp("scores") / "scores.csv"
    results = bs.datasets.openlm_tasks().query(
        "task in ['hellaswag', 'piqa'] and dataset == 'c4' and N < 5e8"
    )
    results.to_csv(file, index=False)
    return file


AHEAD = ("--years", "2025,2027", "--flops", "1e21", "--growth", "3,5")


def test_accuracies_by_year_from_a_table_of_results(run, saved, scores, tmp_path):
    words = (*AHEAD, "--scores", scores, "--tasks", "piqa", "--seed", "1", "--quiet")
    ended = run("trajectory", saved / "c4.nc", *words)
    assert ended.code == 0
    assert "Its expected accuracy would be: piqa 0." in ended.out
    assert "Expected accuracy" in ended.out
    assert "hellaswag" not in ended.out
    table = pd.read_csv(scores)
    facts = table.groupby("task")[["n_questions", "chance"]].first()
    table.drop(columns=["n_questions", "chance"]).to_csv(tmp_path / "bare.csv", index=False)
    by_task = [",".join(f"{t}={v}" for t, v in facts[c].items()) for c in ("n_questions", "chance")]
    words = [tmp_path / "bare.csv" if word == scores else word for word in words]
    words += ["--questions", by_task[0], "--chance", by_task[1]]
    found = json.loads(run("trajectory", saved / "c4.nc", *words, "--json").out)
    fit = bs.Fit.load(saved / "c4.nc")
    link = bs.link(fit, pd.read_csv(scores), random_seed=1)
    same = bs.trajectory(
        link, [2025, 2027], start=(2025, "1e21"), growth=(3, 5), tasks="piqa", random_seed=1
    )
    expected = same.accuracy.sel(task="piqa").median(("chain", "draw")).to_numpy()
    got = [row["accuracy_piqa"] for row in found["trajectory"]]
    assert got == pytest.approx(expected.tolist())
    assert 0.5 < got[0] < got[1] < 1


def test_accuracies_by_year_from_one_column_for_each_task(run, saved, scores, tmp_path):
    wide = pd.read_csv(scores).pivot_table(index="loss", columns="task", values="accuracy") * 100
    wide.reset_index().rename(columns={"loss": "val_loss"}).to_csv(tmp_path / "w.csv", index=False)
    words = (*AHEAD, "--scores", tmp_path / "w.csv", "--tasks", "piqa", "--chance", "0.5",
             "--questions", "1000", "--seed", "1", "--json", "--quiet")  # fmt: skip
    percent = run("trajectory", saved / "c4.nc", *words)
    assert percent.code == 2
    expression = "accuracy=accuracy/100"
    assert f'--columns "{expression}"' in percent.err
    ended = run("trajectory", saved / "c4.nc", *words, "--columns", expression)
    assert "read loss from val_loss, accuracy from accuracy/100" in ended.err
    assert 0.5 < json.loads(ended.out)["trajectory"][0]["accuracy_piqa"] < 1


def test_a_saved_link_takes_the_place_of_the_fit(run, refused, saved, scores, tmp_path):
    fit = bs.Fit.load(saved / "c4.nc")
    link = bs.link(fit, pd.read_csv(scores), draws=100, random_seed=1)
    link.save(tmp_path / "link.nc")
    ended = run("trajectory", tmp_path / "link.nc", *AHEAD, "--quiet")
    assert ended.code == 0
    assert "hellaswag 0." in ended.out
    dataclasses.replace(link, fit=None).save(tmp_path / "alone.nc")
    message = refused("trajectory", tmp_path / "alone.nc")
    assert "made without a fit" in message
    message = refused("trajectory", tmp_path / "link.nc", "--scores", scores)
    assert "leave out --scores" in message
    message = refused("trajectory", saved / "c4.nc", "--tasks", "piqa")
    assert "--tasks needs a table of results" in message
    message = refused("trajectory", tmp_path / "link.nc", "--tasks", "piqqa")
    assert "Did you mean 'piqa'" in message


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_the_only_run_under_way_is_registered_and_several_are_named(
    run, refused, by_hand, tmp_path
):
    D = np.geomspace(1e9, 2e10, 12)
    one = pd.DataFrame({"D": D, "loss": 2 + 3 * (D / 1e9) ** -0.4, "N": 1e8})
    values = dict(E=1.7, A=0.5, alpha=0.34, sigma=0.01, drift=0.5, memory=1.0)
    for name, labels in (("one", ["a"]), ("two", ["a", "b"])):
        table = pd.concat([one.assign(series=label) for label in labels], ignore_index=True)
        fit = by_hand(bs.Runs.from_frame(table), "power(D)", values, draws=50)
        fit.save(tmp_path / f"{name}.nc")
    words = ("--D", "40B", "--out", tmp_path / "registered.json")
    ended = run("preregister", tmp_path / "one.nc", *words)
    assert ended.code == 0
    assert ended.out.startswith("Run 'a', continued to 40B tokens")
    (point,) = json.loads((tmp_path / "registered.json").read_text())["points"]
    assert point["at"]["series"] == "a"
    message = refused(
        "preregister", tmp_path / "two.nc", "--D", "40B", "--out", tmp_path / "b.json"
    )
    assert "name the one under way with --series (a, b)" in message


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
@pytest.mark.parametrize("words", [("--at", "1e20"), ("--loss", "2.5")])
def test_a_speedup_is_drawn_around_the_points_asked_for(run, saved, tmp_path, monkeypatch, words):
    drawn = []
    monkeypatch.setattr("bayescale.plots.plot_speedup", lambda curve, ci_prob: drawn.append(curve))
    monkeypatch.setattr("bayescale.reporting.save_picture", lambda *_: None)
    over = ("--over-fit", saved / "c4.nc", "--along", "20")
    ended = run("speedup", saved / "c4.nc", *over, *words, "--plot", tmp_path / "a.png")
    assert ended.code == 0
    (curve,) = drawn
    asked = dict(zip(("at", "target"), (1e20, 2.5), strict=True))
    along = "at" if words[0] == "--at" else "target"
    values = curve.data[along].to_numpy()
    assert len(values) >= 20
    assert values.min() <= asked[along] * (1 + 1e-9)
    assert values.max() >= asked[along]


@pytest.mark.parametrize(
    "words", [("speedup",), ("suggest", "--N", "1B", "--D", "20B", "--target-flops", "1e22")]
)
def test_a_table_in_place_of_a_fit_is_told_with_the_command_that_fits_it(
    table, refused, run, tmp_path, words
):
    text = refused(words[0], table, *words[1:])
    assert "this is a table, and a saved fit is needed. Make it with `bayescale fit " in text
    assert "with `--groups COLUMN` if a column names recipes" in text
    assert "file signature" not in text
    command = shlex.split(text.split("`")[1])
    assert command[-2:] == ["--out", "fit.nc"]
    made = run(*command[1:-1], tmp_path / "fit.nc", "--law", "kaplan_floor", "--draws", 100)
    assert made.code == 0
    assert (tmp_path / "fit.nc").exists()

"""The commands suggest and design."""

from __future__ import annotations

import json
import shlex

import pandas as pd
import pytest

import bayescale as bs
from bayescale.keywords import for_command_line

pytestmark = pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
GRID = ("--N", "400M,1B", "--D", "8B,20B")
TARGET = ("--target-N", "7B", "--target-D", "140B")


def test_suggestions_are_those_of_the_package(kept, kept_fit, run, tmp_path):
    csv = tmp_path / "next.csv"
    words = ("suggest", kept, *GRID, *TARGET, "--budget", "5e20", "--quiet")
    ended = run(*words, "--json", "--csv", csv)
    expected = bs.suggest(
        kept_fit,
        {"N": ["400M", "1B"], "D": ["8B", "20B"]},
        target={"N": "7B", "D": "140B"},
        budget=5e20,
    )
    assert ended.code == 0
    found = pd.DataFrame(json.loads(ended.out)["suggestion"])
    frame = pd.DataFrame(expected.summary())
    pd.testing.assert_frame_equal(found, frame, check_dtype=False)
    assert len(pd.read_csv(csv)) == len(frame)
    out = run(*words).out
    assert out.startswith("Train ")
    assert "expected width of the 90 % interval of the loss of a new run" in out
    before, after, *_ = 100 * expected.widths()
    assert f" {after:.3g} %" in out
    assert f"to its upper bound; now it is {before:.3g} % of the loss." in out
    assert "Costs are in FLOP." in out


def test_candidates_and_costs_are_read_from_a_file(kept, run, tmp_path):
    table = tmp_path / "candidates.csv"
    pd.DataFrame({"N": [4e8, 1e9], "D": [8e9, 2e10], "dollars": [10, 50]}).to_csv(table)
    ended = run(
        "suggest", kept, "--runs", table, "--cost", "dollars", "--budget", "60",
        "--target-flops", "1e22", "--json", "--quiet",
    )  # fmt: skip
    chosen = json.loads(ended.out)["suggestion"]
    assert {row["cost"] for row in chosen} <= {10, 50}
    assert chosen[-1]["total_cost"] <= 60


def test_a_plan_is_scored_as_by_the_package(kept, kept_fit, run):
    words = ("--simulations", "2", "--seed", "4")
    ended = run("design", kept, *GRID, *TARGET, *words, "--json", "--quiet")
    expected = bs.design(
        kept_fit,
        {"N": ["400M", "1B"], "D": ["8B", "20B"]},
        target={"N": "7B", "D": "140B"},
        simulations=2,
        random_seed=4,
    )
    found = pd.DataFrame(json.loads(ended.out)["design"])
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected.summary()), check_dtype=False)
    out = run("design", kept, *GRID, *TARGET, *words, "--quiet").out
    assert out.startswith("After these 4 runs, the 90 % interval of the loss of a new run at N 7B")
    assert "The plan, by simulation: log loss of a new run at the target" in out


def test_a_target_loss_is_that_of_the_package(kept, kept_fit, run):
    words = (*GRID, "--target-loss", "2.5", "--json", "--quiet")
    grid = {"N": GRID[1].split(","), "D": GRID[3].split(",")}
    expected = bs.suggest(kept_fit, grid, target={"loss": 2.5})
    with for_command_line():
        answer = expected.bottom_line()
    assert json.loads(run("suggest", kept, *words).out)["answer"] == answer


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*TARGET,), "give runs with --N and --D, or a csv file with --runs. For example: "),
        ((*GRID, *TARGET, "--target-optimum", "1e22"), "either the target whose loss"),
        ((*GRID,), "give the target with --target-N and --target-D, --target-flops or"),
        (
            (*GRID, "--target-N", "1B"),
            "the target has N without D, but chinchilla is a function of N, D: give --target-N and "
            "--target-D, or its compute (--target-flops)",
        ),
        ((*GRID, *TARGET, "--target-loss", "2"), "either by its loss or by its size"),
        ((*GRID, *TARGET, "--runs", "x.csv"), "runs are given twice"),
        (("--runs", "x.csv", *TARGET), "x.csv cannot be read"),
        ((*GRID, *TARGET, "--budget", "1e9"), "no candidate can be paid"),
    ],
)
def test_what_cannot_be_suggested_ends_with_two(kept, refused, words, message):
    assert message in refused("suggest", kept, *words)


def test_the_example_in_the_error_without_candidates_runs(kept, refused, run):
    example = refused("suggest", kept).partition("For example: bayescale ")[2]
    assert shlex.split(example)[1] == str(kept)
    ended = run(*shlex.split(example), "--quiet", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["suggestion"]


def test_the_optimal_size_can_be_the_target(kept, kept_fit, run):
    words = (*GRID, "--target-optimum", "1e22", "--json", "--quiet")
    plan = bs.allocate(kept_fit, 1e22)
    expected = bs.suggest(kept_fit, {"N": ["400M", "1B"], "D": ["8B", "20B"]}, target=plan)
    assert json.loads(run("suggest", kept, *words).out)["answer"] == expected.bottom_line()


def test_the_help_says_that_candidates_are_required(run):
    out = " ".join(run("suggest", "--help").out.replace("│", " ").split())
    assert out.count("(required, or --runs)") == 2

"""The command allocate: targets, constraints, serving."""

from __future__ import annotations

import json

import pytest

import bayescale as bs


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (("--target-loss", "2.6"), {"loss": 2.6}),
        (
            ("--target-loss", "2.6", "2.5", "--probability", "0.5,0.9"),
            {"loss": [2.6, 2.5], "probability": [0.5, 0.9]},
        ),
        (("--flops", "1e21,1e22", "--target-loss", "2.5"), {"C": [1e21, 1e22], "loss": 2.5}),
        (("--flops", "1e22", "--serve", "1e12"), {"C": 1e22, "serve": 1e12}),
        (
            ("--target-loss", "2.6", "--serve", "100B", "--serve-price", "2"),
            {"loss": 2.6, "serve": 1e11, "serve_price": 2.0},
        ),
        (("--flops", "1e22", "--N", "1B"), {"C": 1e22, "N": 1e9}),
        (("--flops", "1e22", "--D", "100B"), {"C": 1e22, "D": 1e11}),
        (("--flops", "1e22", "--smaller", "4"), {"C": 1e22, "smaller": 4.0}),
        (
            ("--flops", "1e21", "1e22", "--models", "1B", "3B", "7B"),
            {"C": [1e21, 1e22], "models": [1e9, 3e9, 7e9]},
        ),
    ],
)
def test_questions_on_the_command_line_are_those_of_the_package(
    kept, kept_fit, run, words, arguments
):
    ended = run("allocate", kept, *words, "--json", "--quiet")
    expected = bs.allocate(kept_fit, **arguments)
    assert ended.code == 0
    said = json.loads(ended.out)
    assert said["allocation"] == json.loads(json.dumps(expected.summary().to_dict("records")))
    printed = run("allocate", kept, *words, "--quiet").out
    assert " ".join(printed.split()).startswith(expected.bottom_line().split(". ")[0])
    table = printed[printed.index("Allocation:") :].split("\n\n")[0]
    assert max(map(len, table.splitlines())) <= 80


def test_a_target_has_a_table_of_chances(kept, run):
    out = run("allocate", kept, "--target-loss", "2.6", "--quiet").out
    assert "P(reach)" in out
    assert "\n2.6 " in out


def test_a_plot_for_a_target_and_serving_is_drawn(kept, run, tmp_path):
    out = tmp_path / "a.png"
    words = ("--target-loss", "2.6", "--serve", "100B", "--plot", out, "--quiet")
    assert run("allocate", kept, *words).code == 0
    assert out.stat().st_size > 10_000


def test_what_makes_no_question_is_refused(kept, refused):
    assert "--N and --D exclude each other: give one of them" in refused(
        "allocate", kept, "--flops", "1e22", "--N", "1B", "--D", "10B"
    )
    assert "limited data need a law with a column of unique tokens" in refused(
        "allocate", kept, "--flops", "1e22", "--unique", "10B"
    )


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
def test_a_budget_in_hours_is_that_of_its_compute(kept, run):
    ended = run("allocate", kept, "--budget", "1k A100 hours", "--hardware", "A100", "--json")
    budget = bs.as_flops("1k A100 hours", bs.Cost("A100"))[0]
    assert ended.code == 0
    assert json.loads(ended.out)["allocation"][0]["C"] == pytest.approx(budget)
    assert any("A100 hours" in note for note in json.loads(ended.out)["notes"])


def test_budgets_that_cannot_be_read_name_the_option(kept, refused):
    assert "--hardware" in refused("allocate", kept, "--budget", "$2M", "--hardware", "Z100")
    assert "--budget" in refused("allocate", kept, "--budget", "two loaves")


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
@pytest.mark.parametrize("command", ["allocate", "forecast"])
def test_flops_may_be_money_or_hours_of_the_accelerator_they_name(command, kept, run):
    ended = run(command, kept, "--flops", "1e21,1k A100 hours", "--json")
    assert ended.code == 0
    allocated = json.loads(ended.out)[{"allocate": "allocation"}.get(command, command)]
    budget = bs.as_flops("1k A100 hours")[0]
    assert [row["C"] for row in allocated] == pytest.approx([1e21, budget])
    assert "1k A100 hours is taken as" in ended.out

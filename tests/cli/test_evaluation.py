"""The commands rollout and hypotheses, and a report that compares laws."""

from __future__ import annotations

import json
import re

import pytest


def test_a_rollout_prints_coverage_and_baselines(table, run):
    done = run(
        "rollout", table, "--above", "1e21", "--laws", "chinchilla", "--draws", 250, "--quiet"
    )
    assert done.code == 0
    assert "Coverage of held-out runs" in done.out
    line = next(x for x in done.out.splitlines() if x.startswith("chinchilla"))
    assert re.findall(r"(\d+) %", line) == sorted(re.findall(r"(\d+) %", line), key=int)[::-1]
    assert "log-Huber bootstrap (chinchilla)" in done.out


def test_a_rollout_without_laws_tests_their_average(table, run):
    done = run("rollout", table, "--above", "1e21", "--draws", 250, "--json")
    assert done.code == 0
    laws = [row["law"] for row in json.loads(done.out)["rollout"]]
    assert {"chinchilla", "kaplan_floor", "skaling", "average"} <= set(laws)


def test_a_threshold_above_all_runs_ends_with_two(table, run):
    done = run("rollout", table, "--above", "1e30")
    assert done.code == 2
    assert "1e30" in done.err or "1e+30" in done.err


@pytest.fixture(scope="module")
def compared(table, folder, run):
    return run(
        "hypotheses",
        table,
        "--laws",
        "chinchilla, kaplan",
        "--draws",
        300,
        "--json",
        "--out",
        folder / "exponents.png",
    )


def test_hypotheses_as_json_have_the_verdict_and_a_picture(compared, folder):
    assert compared.code == 0
    printed = json.loads(compared.out)
    assert len(printed["verdict"].splitlines()) == 2
    assert [row["law"] for row in printed["laws"]][-1] == "average"
    assert 0 <= printed["probabilities"]["E > 0 predicts better"] <= 1
    assert (folder / "exponents.png").read_bytes().startswith(b"\x89PNG")


def test_hypotheses_print_the_verdict_of_a_rollout_and_tables(table, run):
    ended = run(
        "hypotheses",
        table,
        "--laws",
        "chinchilla, kaplan",
        "--above",
        "1e20",
        "--draws",
        250,
        "--quiet",
    )
    assert ended.code == 0
    assert ended.out.startswith("The rollout ")
    for text in (
        "Laws compared",
        "rollout",
        "a in N* ~ C^a",
        "Claims",
        "P(E > 0 predicts better)",
    ):
        assert text in ended.out


def test_a_law_compared_with_itself_ends_with_two(table, refused):
    assert "give each a different name" in refused("hypotheses", table, "--laws", "kaplan,kaplan")
    words = ("report", table, "--law", "chinchilla", "--against", "chinchilla")
    message = refused(*words, "--pool", "alpha=none")
    assert "chinchilla is the law of the report" in message
    assert "--pool applies to a single law" in message


@pytest.mark.slow
def test_a_report_compares_its_law_with_others(table, folder, run):
    words = ("report", table, "--law", "chinchilla", "--against", "kaplan", "--draws", 300)
    done = run(*words, "--out", folder / "both", "--quiet")
    assert done.code == 0
    page = (folder / "both" / "index.html").read_text()
    assert "<h2>Comparison of laws</h2>" in page
    assert "published values" in page
    assert done.out.startswith("With ")
    assert "\nLeave-one-out (LOO) " in done.out

"""Breaks in curves: found where they are, not where they are not, and said in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.capabilities import break_evidence as curves
from bayescale.capabilities import metric_comparison as critique
from bayescale.capabilities.break_evidence import evidence_of, posterior_of
from bayescale.model import drift

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
FAST = dict(particles=96, progressbar=False)
C = np.geomspace(1e18, 1e22, 24)
S = np.log(C / 1e20)


def table(**etas) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "task": name,
                    "C": C,
                    "loss": (0.5 + np.exp(eta)) * np.exp(0.01 * rng.standard_normal(24)),
                }
            )
            for name, eta in etas.items()
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def found() -> bs.Breaks:
    return bs.breaks(
        table(
            straight=-0.2 * S,
            bend=-0.05 * S - 0.3 * np.maximum(S, 0),
            start=-0.2 * np.maximum(S, 0),
            step=-0.05 * S - 2 / (1 + np.exp(-S / 0.1)),
        ),
        groups="task",
        **FAST,
    )


def test_breaks_are_found_where_they_are(found):
    assert found.probability("straight") < 0.5
    for task in ("bend", "start", "step"):
        assert found.probability(task) > 0.5
        low, high = np.log(found.places(task)["x"].quantile([0.01, 0.99]) / 1e20)
        assert low - 0.3 < 0 < high + 0.3


def test_kinds_are_told_apart(found):
    said = {task: found.places(task)["kind"].mode()[0] for task in ("bend", "start", "step")}
    assert said == {"bend": "bend", "start": "start", "step": "step"}


def test_slopes_before_and_after(found):
    where = found.places("bend")
    assert abs(where["before"].median()) < 0.15
    assert -0.6 < where["after"].median() < -0.2


def test_probabilities_add_up_and_the_summary_tells_them(found):
    assert found.probabilities.sum(axis=1).to_numpy() == pytest.approx(1)
    frame = found.summary(0.9)
    assert list(frame.index) == list(found.tasks)
    three = frame[["P(1)", "P(2)", "P(3)"]].sum(axis=1)
    assert frame["P(break)"].to_numpy() == pytest.approx(three.to_numpy())
    assert (frame["x_eti90_lb"] <= frame["x"]).all()
    assert frame.loc["bend", "break_over_law"] > frame.loc["bend", "break_over_drift"] > 0


def test_the_representation_is_for_people(found):
    text = repr(found)
    assert "4 curve(s)" in text
    assert "step: P(break) 1.00, a step at C" in text
    assert "were said to break (P > .5)" in text


def test_rates_of_false_alarms_are_those_of_the_benchmark():
    kept = pd.read_csv(RESULTS / "breaks_alarms.csv").query("drift > 0")
    kept["said"] = (kept["alarms"] * kept["curves"]).round().astype(int)
    for (metric, points), own in kept.groupby(["metric", "points"]):
        assert curves.FALSE_ALARMS[metric][points] == (own["said"].sum(), own["curves"].sum())
    assert curves.false_alarms("brier", 30) == (*curves.FALSE_ALARMS["loss"][20], 20)
    assert curves.false_alarms("accuracy", 5) == (*curves.FALSE_ALARMS["accuracy"][8], 8)


def test_seeds_differ_by_what_the_summary_says():
    unclear = table(unclear=-0.2 * S - 0.05 * np.maximum(S, 0))
    one, other = (
        bs.breaks(unclear, groups="task", random_seed=seed, **FAST).summary().iloc[0]
        for seed in (3, 4)
    )
    assert 0 < one["mcse"] < 0.5
    off = np.hypot(one["mcse"], other["mcse"])
    assert abs(one["break_over_drift"] - other["break_over_drift"]) < 4 * off


def test_where_the_computation_could_turn_the_answer_it_is_said(found):
    where = found.places("bend")
    said = [curves.in_words("a", "C", 0.55, within, where) for within in ((0.4, 0.7), (0.52, 0.6))]
    assert "0.40 and 0.70" in said[0]
    assert "more particles" in said[0]
    assert "more particles" not in said[1]


def test_many_curves_teach_how_common_breaks_are():
    """The same evidence counts for less among straight curves and for more among broken ones."""
    even = {(0, True): 0.0, (1, True): 1.0}

    def among(others: float) -> float:
        log = (curves.SHARE[1] - 1) * np.log1p(-curves.GRID)
        log += 9 * np.logaddexp(np.log(curves.GRID) + others, np.log1p(-curves.GRID))
        weight = np.exp(log - log.max())
        broken = np.array([even[1, True]])
        return 1 - posterior_of(broken, even[0, True], curves.GRID, weight / weight.sum())[0]

    assert among(-3.0) < among(0.0) < among(6.0)


def test_evidence_is_weighted_by_how_common_each_number_is():
    cloud = bs.Breaks  # anything with the attribute

    class Said(cloud):
        def __init__(self, z):
            object.__setattr__(self, "log_evidence", z)

    broken, straight = evidence_of({(k, True): Said(0.0) for k in range(3)})
    assert straight == 0
    assert np.exp(broken) == pytest.approx([0.75, 0.25])


def test_forecasts_inside_and_beyond(found):
    inside = found.forecast([1e20], "straight")["mean"]
    assert float(inside.median()) == pytest.approx(1.5, abs=0.05)
    near, far = (found.forecast([x], "straight")["y"].std() for x in (2e22, 1e25))
    assert far > near
    same = [found.forecast([1e23], "bend", random_seed=3)["y"].to_numpy() for _ in range(2)]
    assert (same[0] == same[1]).all()


def test_a_break_to_come_is_as_likely_as_breaks_are_common(found):
    p = found.beyond([1e21, 1e23, 1e25])
    assert p.shape == (4, 3)
    assert (p[:, 0] == 0).all()
    assert (np.diff(p, axis=1) > 0).all()
    shape, length = found.rate
    seen = (found.probabilities * np.arange(4)).to_numpy().sum()
    assert (shape, length) == pytest.approx((1 + seen, 1 / drift.BREAKS + 4 * np.ptp(S)))


def test_families_stand_off_the_curve_together():
    rng = np.random.default_rng(0)
    rows = []
    for name, shift in (("good", 1.5), ("plain", 0.0), ("poor", -1.5)):
        x = np.geomspace(1e18, 1e22, 10)
        p = 1 / (1 + np.exp(-(0.4 * np.log(x / 1e20) + shift)))
        rows.append(pd.DataFrame({"C": x, "accuracy": rng.binomial(1000, p) / 1000, "who": name}))
    said = bs.breaks(
        pd.concat(rows), y="accuracy", family="who", n_questions=1000, chance=0.0, **FAST
    )
    assert said.probability() < 0.5
    middle = {f: float(said.forecast([1e20], family=f)["mean"].median()) for f in said.families}
    assert middle["good"] > 0.7 > 0.3 > middle["poor"]
    new, old = (said.forecast([1e20], family=f)["mean"].std() for f in (None, "plain"))
    assert new > 2 * old


def test_late_accuracies_bend_as_plotted_and_not_in_odds():
    rng = np.random.default_rng(2)
    p = 0.25 + 0.75 / (1 + np.exp(-(0.8 * (S - 1.5))))
    late = pd.DataFrame({"C": C, "accuracy": rng.binomial(2000, p) / 2000})
    options = dict(y="accuracy", n_questions=2000, chance=0.25, **FAST)
    assert bs.breaks(late, **options).probability() < 0.5
    plotted = bs.breaks(late, scale="plotted", **options)
    assert plotted.summary().iloc[0]["break_over_law"] > 3


def test_one_seed_one_answer():
    one, two = (bs.breaks(table(straight=-0.2 * S), random_seed=7, **FAST) for _ in range(2))
    assert one.probability() == two.probability()


def test_runs_are_taken_as_they_are():
    runs = bs.Runs.from_frame(pd.DataFrame({"C": C, "loss": 2 + (C / 1e18) ** -0.2}))
    assert bs.breaks(runs, **FAST).probability() < 0.5


def test_few_points_are_said_to_tell_nothing():
    few = bs.breaks(table(straight=-0.2 * S).iloc[::5], **FAST)
    assert few.probability() == 0
    assert "no break can be told" in few.notes[0]
    assert len(few.places()) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(metric="accurate"), "metric 'accurate'"),
        (dict(scale="raw"), "scale 'raw'"),
        (dict(max_breaks=4), "max_breaks is 4"),
        (dict(x="compute"), "column 'compute'"),
        (dict(y="accuracy"), "column 'accuracy'"),
    ],
)
def test_a_wrong_question_is_refused(change, said):
    with pytest.raises(bs.RunsError, match=said):
        bs.breaks(table(straight=-0.2 * S), **{**FAST, **change})


def test_every_problem_of_a_table_is_named_at_once():
    bad = pd.DataFrame(
        {
            "task": ["a", "a", "b"],
            "C": [1e18, -1.0, 1e19],
            "accuracy": [0.2, 1.4, 0.3],
            "n_questions": [100, None, 100],
        }
    )
    with pytest.raises(bs.RunsError) as error:
        bs.breaks(bad, y="accuracy", groups="task", chance=0.0)
    text = str(error.value)
    for part in (
        "'accuracy'",
        "[0, 1]",
        "'n_questions'",
        "missing",
        "'C'",
        "not positive",
        "'b'",
        "only one row",
    ):
        assert part in text


def test_tasks_that_stay_at_chance_are_named():
    flat = pd.DataFrame({"C": C, "accuracy": np.full(24, 0.25)})
    said = bs.breaks(flat, y="accuracy", n_questions=400, chance=0.25, **FAST)
    assert "never leaves chance" in said.notes[0]
    assert "the prior's guess" in said.notes[1]
    assert said.probability() < 0.5


# -- is it the metric? --------------------------------------------------------------------------


def exact_match(change: float, seed: int = 0, tokens: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    N = np.geomspace(1e7, 1e11, 20)
    s = np.log(N / 1e9)
    loss = 0.7 * np.exp(-0.25 * (s + change * np.maximum(s, 0)) + 0.01 * rng.standard_normal(20))
    return pd.DataFrame(
        {"N": N, "loss": loss, "accuracy": rng.binomial(1000, np.exp(-tokens * loss)) / 1000}
    )


@pytest.mark.parametrize(
    ("change", "verdict"), [(0.0, critique.IN_THE_METRIC), (2.0, critique.IN_BOTH)]
)
def test_exact_match_bends_by_itself_and_a_true_change_bends_both(change, verdict):
    said = bs.metric_test(
        exact_match(change),
        "N",
        continuous="loss",
        n_questions=1000,
        chance=0.0,
        particles=96,
        simulations=10,
        progressbar=False,
    )
    assert said.table["verdict"].iloc[0] == verdict
    assert verdict in repr(said)


def test_a_noisy_continuous_metric_cannot_tell():
    rng = np.random.default_rng(1)
    noisy = exact_match(0.0).iloc[::2]
    noisy = noisy.assign(loss=noisy["loss"] * np.exp(rng.standard_normal(10)))
    said = bs.metric_test(
        noisy,
        "N",
        continuous="loss",
        n_questions=1000,
        chance=0.0,
        particles=96,
        simulations=10,
        progressbar=False,
    )
    assert said.table["verdict"].iloc[0] == critique.CANNOT_TELL
    assert said.table["power"].iloc[0] < critique.ENOUGH


def test_an_accuracy_without_a_bend_asks_nothing_of_the_other():
    table = pd.DataFrame({"N": C, "loss": np.exp(-0.1 * S), "accuracy": 0.5 + 0.04 * S})
    said = bs.metric_test(
        table,
        "N",
        continuous="loss",
        n_questions=1000,
        chance=0.0,
        particles=96,
        simulations=10,
        progressbar=False,
    )
    assert said.table["verdict"].iloc[0] == critique.NOWHERE
    with pytest.raises(bs.RunsError, match="simulations"):
        bs.metric_test(table, "N", continuous="loss", simulations=3)

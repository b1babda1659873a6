"""Verdicts on tasks: simulated curves of every kind, wording, errors."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.capabilities import emergence_foresight as foresights
from bayescale.capabilities.emergence_curves import read_scores
from bayescale.capabilities.emergence_models import Model, TaskCurve, part
from bayescale.capabilities.emergence_priors import Ahead
from bayescale.capabilities.emergence_shapes import Posterior, Shapes, sample, shapes
from bayescale.capabilities.emergence_verdicts import (
    ABRUPT,
    CHANGE,
    EMERGENT,
    GRADUAL,
    LATE,
    MEASURED,
    SMOOTH,
    SPECIFIC,
    UNKNOWN,
    VERDICTS,
    decide,
    sentence,
)
from bayescale.errors import RunsError
from bayescale.priors import Positive

C = np.geomspace(1e19, 1e24, 40)
S = np.log(C / C[0])
QUESTIONS = 4000


def scores(share, chance=0.25, seed=1) -> pd.DataFrame:
    """Accuracies of models whose shares of the range above chance are given."""
    p = chance + (1 - chance) * np.asarray(share)
    right = np.random.default_rng(seed).binomial(QUESTIONS, p)
    return pd.DataFrame({"C": C, "accuracy": right / QUESTIONS})


def losses(eta, noise=0.003, seed=1) -> pd.DataFrame:
    """Losses with a floor of 0.3."""
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(C)))
    return pd.DataFrame({"C": C, "loss": (0.3 + np.exp(eta)) * scatter})


def sigmoid(eta):
    return 1 / (1 + np.exp(-eta))


CURVES = {
    "sigmoid": scores(sigmoid(1.2 * (S - 8))),
    "line": scores(0.1 + 0.06 * S),
    "late": scores(1 - np.exp(-0.5 * np.maximum(S - 6, 0))),
    "bend": scores(sigmoid(-3 + 0.1 * S + 1.5 * np.maximum(S - 7, 0))),
}


@pytest.fixture(scope="module")
def accuracies() -> bs.Emergence:
    table = pd.concat([t.assign(task=name) for name, t in CURVES.items()], ignore_index=True)
    return bs.emergence(table, n_questions=QUESTIONS, chance=0.25, random_seed=1)


@pytest.fixture(scope="module")
def curves_of_loss() -> bs.Emergence:
    table = pd.concat(
        [
            losses(-0.3 * S).assign(task="power law"),
            losses(-0.1 * S - 0.6 * np.maximum(S - 6, 0)).assign(task="bend"),
            losses(-0.3 * S + 0.5 * np.sin(0.8 * S)).assign(task="waves"),
        ]
    )
    return bs.emergence(table, y="loss", random_seed=1)


@pytest.mark.parametrize(
    ("task", "verdict", "emergent"),
    [("sigmoid", {MEASURED, EMERGENT}, True), ("line", {SMOOTH}, False), ("late", {LATE}, True)],
)
def test_each_kind_of_accuracy_gets_its_verdict(accuracies, task, verdict, emergent):
    row = accuracies.summary().loc[task]
    assert row["verdict"] in verdict
    assert row["P(verdict)"] >= 0.8
    assert (row["P(emergent as measured)"] > 0.5) == emergent


def test_a_change_of_slope_is_a_departure_at_its_place(accuracies):
    table = accuracies.summary()
    row = table.loc["bend"]
    assert row["P(departure)"] > 0.95
    assert row["slope_ratio_low"] > 2
    assert table.loc[["sigmoid", "line", "late"], "slope_ratio"].isna().all()  # no change of slope
    places = accuracies.shapes("bend").place
    places = S[0] + np.log(10 ** places[np.isfinite(places)] / C[0])
    assert abs(np.median(places) - 7) < 0.7


def test_losses(curves_of_loss):
    table = curves_of_loss.summary()
    assert table["verdict"].to_dict() == {
        "power law": SMOOTH,
        "bend": ABRUPT,
        "waves": GRADUAL,
    }
    assert table["onset"].isna().all()


def test_probabilities_sum_to_one_and_verdicts_are_from_the_closed_set(accuracies):
    probability = accuracies.probabilities()
    assert probability.sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert tuple(probability.columns) == SPECIFIC
    table = accuracies.summary()
    assert set(table["verdict"]) <= set(VERDICTS)
    parts = table[["P(abrupt)", "P(gradual)", "P(late start)"]].sum(axis=1)
    assert table["P(departure)"].to_numpy() == pytest.approx(parts.to_numpy())


def test_onset_half_rise_and_sharpness_of_a_sigmoid(accuracies):
    row = accuracies.summary().loc["sigmoid"]
    half = C[0] * np.exp(8)
    assert row["half_rise_low"] < half < row["half_rise_high"]
    # A sigmoid with slope 1.2 rises by this share in the decade around its middle.
    steepest = sigmoid(1.2 * np.log(10) / 2) - sigmoid(-1.2 * np.log(10) / 2)
    assert abs(row["sharpness"] - steepest) < 0.06
    assert abs(row["sharpness_smooth"] - row["sharpness"]) < 0.05
    # 3 standard errors above chance.
    share = 3 * np.sqrt(0.25 * 0.75 / QUESTIONS) / 0.75
    onset = C[0] * np.exp(8 + np.log(share / (1 - share)) / 1.2)
    assert onset / 2 < row["onset"] < 6 * onset


def test_a_continuous_metric_explains_a_sharp_accuracy():
    error = 2.5 * np.exp(-0.25 * S)
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "C": C,
            "accuracy": rng.binomial(QUESTIONS, np.exp(-12 * error)) / QUESTIONS,
            "brier": error * np.exp(0.01 * rng.standard_normal(len(C))),
        }
    )
    table = table.iloc[::2]
    found = bs.emergence(
        table, continuous="brier", n_questions=QUESTIONS, chance=0.0, random_seed=1
    )
    assert found.summary()["verdict"].tolist() == [MEASURED]
    bent = table.assign(brier=table["brier"] * np.exp(-1.0 * np.maximum(S[::2] - 7, 0)))
    found = bs.emergence(bent, continuous="brier", n_questions=QUESTIONS, chance=0.0, random_seed=1)
    assert found.summary()["P(departure)"].iloc[0] > 0.9


def test_a_loss_of_the_models_is_no_metric_of_their_tasks():
    one = scores(np.linspace(0.3, 0.8, len(S))).assign(loss=np.linspace(3.5, 2.5, len(S)))
    both = pd.concat([one.assign(task="one"), one.assign(task="two")], ignore_index=True)
    with pytest.raises(RunsError, match=r"(?s)same values for every task.*leave out continuous="):
        bs.emergence(both, continuous="loss", chance=0.25, n_questions=QUESTIONS)


def test_families_share_an_intercept():
    """A curve that is straight within each of five families departs from a law without them."""
    family = np.arange(len(C)) * 5 // len(C)
    shift = np.array([0.0, 1.2, -1.0, 1.0, -0.8])[family]
    table = scores(sigmoid(-3 + 0.6 * S + shift)).assign(family=[f"f{i}" for i in family])
    table = table.iloc[::2]
    options = dict(n_questions=QUESTIONS, chance=0.25, random_seed=1)
    apart = bs.emergence(table, family="family", **options)
    together = bs.emergence(table, **options)
    evidence = [
        max(r.posteriors["the task"].log_evidence[k] for k in ("unbroken", "drift", "break"))
        for r in (apart, together)
    ]
    assert evidence[0] > evidence[1] + 3
    assert apart.families == ("f0", "f1", "f2", "f3", "f4")


def test_families_differ_by_a_limited_factor():
    families = curve(np.full(len(C), 0.5), family=np.arange(len(C)) % 4)
    model = Model(families, "unbroken")
    z = np.zeros((2, model.dimension))
    z[1, list(model.priors).index("family")] = 9.0
    assert model.parameters(z)["family"].ravel().tolist() == pytest.approx([0.4, 2.2])


def test_the_same_seed_gives_the_same_result_and_none_is_stored():
    table = scores(sigmoid(S - 8)).iloc[::6]
    options = dict(n_questions=QUESTIONS, chance=0.25)
    one, two = (bs.emergence(table, random_seed=3, **options).summary() for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    few = table.iloc[::3]
    assert isinstance(bs.emergence(few, **options).random_seed, int)


# -- words -------------------------------------------------------------------------------------


def test_sentences(accuracies):
    text = repr(accuracies)
    assert text.startswith("<Emergence of 4 tasks in C>\nEmergent as measured: 3 (sigmoid, late, ")
    assert "bend), not emergent: 1 (line), cannot be told: 0. One smooth law fits all" in text
    assert "no single one does: 2 (late, bend)" in text
    assert "  line: smooth (P = " in text
    assert "  sigmoid: emergent as measured" in text
    assert "on (onset; 90 % interval: " in text
    assert "% of the rise within one decade of C" in text
    assert text.endswith("\n" + accuracies.definitions)
    assert "emergent as measured" in accuracies._repr_html_()


def test_a_sentence_agrees_with_the_numbers_of_its_row(accuracies, curves_of_loss):
    for _, row in pd.concat([accuracies.summary(), curves_of_loss.summary()]).iterrows():
        said, emergent, departs = (
            row[name] for name in ("sentence", "P(emergent as measured)", "P(departure)")
        )
        if row["verdict"] != UNKNOWN:
            assert said.startswith(f"{row['verdict']} (P = {row['P(verdict)']:.2f}): ")
        if departs >= 0.8:
            assert f"no single smooth law fits all models (P = {departs:.2f})" in said
        elif departs <= 0.2:
            assert re.search(rf"one smooth law.* fits all models \(P = {1 - departs:.2f}\)", said)
        else:
            assert f"(P = {1 - departs:.2f} that one does" in said
        assert ("not emergent as measured" in said) == (emergent <= 0.2)
        assert ("s sharply" in said) == (emergent > 0.2)


def test_losses_fall_and_have_a_power_law(curves_of_loss):
    text = repr(curves_of_loss)
    assert "rise" not in text
    assert "the loss falls sharply" in text
    assert text.endswith("Smooth law: a power law of loss above a floor.")


PROBABILITY = {SMOOTH: 0.02, MEASURED: 0.03, LATE: 0.0, ABRUPT: 0.45, GRADUAL: 0.5}
UNSURE = {SMOOTH: 0.5, MEASURED: 0.0, LATE: 0.0, ABRUPT: 0.25, GRADUAL: 0.25}


@pytest.mark.parametrize(
    ("probability", "emergent", "expected"),
    [
        (PROBABILITY | {ABRUPT: 0.85, GRADUAL: 0.1}, 0.99, (ABRUPT, 0.85)),
        (PROBABILITY, 0.9, (CHANGE, 0.95)),
        (PROBABILITY, 0.99, (EMERGENT, 0.99)),
        (UNSURE, 0.95, (EMERGENT, 0.95)),
        (UNSURE, 0.7, (UNKNOWN, np.nan)),
        ({SMOOTH: 0.5, MEASURED: 0.45, LATE: 0, ABRUPT: 0.02, GRADUAL: 0.03}, 0.47, (SMOOTH, 0.95)),
    ],
)
def test_the_most_specific_verdict_that_is_probable_is_given(probability, emergent, expected):
    assert decide(probability, emergent) == (expected[0], pytest.approx(expected[1], nan_ok=True))


ROW = {
    "onset": 2.34e22,
    "onset_low": 1e22,
    "onset_high": 5e22,
    "sharpness": 0.71,
    "P(flattening)": 0.02,
}
SHARP = (
    ", 71 % of the rise within one decade of C, above chance from C = 2.3e22 on (onset; 90 % "
    "interval: 1.0e22 to 5.0e22)"
)
CHANGES = (
    "no single smooth law fits all models (P = 0.95); it changes abruptly (P = 0.45) or gradually "
    "(P = 0.50), and more questions would tell"
)
OPEN = "whether one smooth law fits all models"
HALF = "(P = 0.50 that one does; more questions would tell)"


@pytest.mark.parametrize(
    ("probability", "emergent", "text"),
    [
        (
            PROBABILITY,
            0.9,
            f"abrupt or gradual change (P = 0.95): {CHANGES}; the score rises sharply, so it is "
            f"emergent as measured (P = 0.90){SHARP}",
        ),
        (
            PROBABILITY,
            0.99,
            f"emergent as measured (P = 0.99): the score rises sharply{SHARP}; {CHANGES}",
        ),
        (
            UNSURE,
            0.9,
            f"emergent as measured (P = 0.90): the score rises sharply{SHARP}; {OPEN} cannot be "
            f"told {HALF}",
        ),
        (
            UNSURE,
            0.1,
            f"cannot be told: {OPEN} {HALF}; the score does not rise sharply, so it is not "
            "emergent as measured (P = 0.90)",
        ),
        (
            UNSURE,
            0.4,
            f"cannot be told: {OPEN} {HALF}; whether the score rises sharply, so that it is "
            "emergent as measured, cannot be told (P = 0.40 that it does)",
        ),
        (
            PROBABILITY | {ABRUPT: 0.85, GRADUAL: 0.1},
            0.1,
            "abrupt change (P = 0.85): no single smooth law fits all models (P = 0.95), since the "
            "slope changes at one C; the score does not rise sharply, so it is not emergent as "
            "measured (P = 0.90)",
        ),
        (
            {SMOOTH: 0.05, MEASURED: 0.85, LATE: 0, ABRUPT: 0.04, GRADUAL: 0.06},
            0.94,
            "emergent as measured, smooth underneath (P = 0.85): the score rises sharply (P = "
            f"0.94){SHARP}; one smooth law of the log odds fits all models (P = 0.90)",
        ),
    ],
)
def test_sentences_of_verdicts(probability, emergent, text):
    verdict, p = decide(probability, emergent)
    row = ROW | {"verdict": verdict, "P(verdict)": p, "P(emergent as measured)": emergent}
    assert sentence(row, probability, "more questions", 0.0) == text


def test_a_sentence_names_the_continuous_metric_and_the_scale():
    probability = {SMOOTH: 0.02, MEASURED: 0.9, LATE: 0.0, ABRUPT: 0.05, GRADUAL: 0.03}
    row = ROW | {"verdict": MEASURED, "P(verdict)": 0.9, "P(emergent as measured)": 0.98}
    text = sentence(row, probability, "more questions", 0.0, prob=0.5, x="N", metric="brier")
    assert "one smooth law of brier fits all models (P = 0.92)" in text
    assert "one decade of N, above chance from N = 2.3e22 on (onset; 50 % interval: " in text


def test_an_onset_at_the_smallest_model_may_have_come_before():
    row = ROW | {"verdict": CHANGE, "P(verdict)": 0.95, "P(emergent as measured)": 0.9}
    text = sentence(row, PROBABILITY, "more questions", 2.34e22)
    assert text.endswith("decade of C, above chance from the smallest model on (C = 2.3e22)")
    assert SHARP in sentence(row, PROBABILITY, "more questions", 0.9e22)
    # Its interval may be cut there although its median is not.
    cut = "(onset; 90 % interval: the smallest model, 1.5e22, or below to 5.0e22)"
    assert cut in sentence(row, PROBABILITY, "more questions", 1.5e22)


def test_a_flattening_law_is_named_where_it_is_favoured():
    probability = {SMOOTH: 0.95, MEASURED: 0.0, LATE: 0.0, ABRUPT: 0.02, GRADUAL: 0.03}
    row = ROW | {"verdict": SMOOTH, "P(verdict)": 0.95, "P(emergent as measured)": 0.1}
    assert "flatten" not in sentence(row, probability, "more questions", 0.0)
    assert (
        "one smooth law fits all models (P = 0.95); the log odds flatten with scale, as they do if "
        "they are linear in a loss (P = 0.84); the score"
    ) in sentence(row | {"P(flattening)": 0.84}, probability, "more questions", 0.0)


# -- foresight ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_foresight_of_a_late_start_and_of_a_line(accuracies):
    parts = {"curves": accuracies.curves, "posteriors": accuracies.posteriors}
    parts = {k: {task: v[task] for task in ("line", "late")} for k, v in parts.items()}
    asked = replace(accuracies, **parts)
    table = asked.foresight(random_seed=1)
    assert list(table.index) == ["line", "late"]
    late = table.loc["late"]
    assert late["models_below"] == (10 ** asked.onset("late") > C).sum()
    assert late["models_below"] + late["models_above"] == len(C)
    assert 0 <= late["forecast_low"] <= late["forecast"] <= late["forecast_high"] <= 1
    # All models below are at chance: the forecast covers nearly everything.
    assert late["answer"] == "not foreseen"
    assert late["held"] > 0.8
    assert late["sentence"].startswith(f"not foreseen: from the {late['models_below']:.0f} models")
    assert "4 times as many models there would" in late["sentence"]
    short = asked.foresight(random_seed=1, more_models=False)
    assert "width_with_more" not in short
    assert short.loc["late", "width"] == pytest.approx(late["width"], abs=0.05)
    # A line rises from the first model on: no model is below the onset.
    assert table.loc["line", "sentence"].startswith("not assessed: fewer than 4 different scales")


def test_a_forecast_from_below_does_not_use_models_above(accuracies):
    onset = accuracies.onset("late")
    curve = accuracies.curves["late"]
    keep = foresights.below(curve, onset)
    assert 0 < keep.sum() < len(C)
    changed = replace(curve, y=np.where(keep, curve.y, 0.9))
    for one, two in zip(
        vars(part(curve, keep)).items(), vars(part(changed, keep)).items(), strict=True
    ):
        assert one[0] == two[0]
        np.testing.assert_array_equal(one[1], two[1])


def test_a_change_ahead_widens_forecasts(accuracies):
    # Of models that are far from the top.
    posterior = sample(part(accuracies.curves["bend"], S < 8), 1)
    s = np.array([posterior.curve.ends[1] + 1.0])
    n = np.array([float(QUESTIONS)])
    widths = []
    for rate in (1e-6, 3.0):
        ahead = Ahead(rate, Positive(2.0, spread=4.0))
        draws = foresights.forecast(posterior, s, n, np.random.default_rng(1), ahead)
        assert ((draws >= 0) & (draws <= 1)).all()
        widths.append(np.ptp(np.quantile(draws, [0.05, 0.95])))
    assert widths[1] > widths[0]


def test_losses_have_no_onset(curves_of_loss):
    table = curves_of_loss.foresight()
    assert (table["sentence"] == "not assessed: only accuracies have an onset").all()


def test_saved_and_loaded(accuracies, tmp_path):
    accuracies.save(tmp_path / "emergence.nc")
    again = bs.Emergence.load(tmp_path / "emergence.nc")
    pd.testing.assert_frame_equal(again.summary(), accuracies.summary())
    assert repr(again) == repr(accuracies)


def test_a_path_is_read(tmp_path):
    table = scores(sigmoid(1.2 * (S - 8))).iloc[::9].assign(n_questions=QUESTIONS, chance=0.25)
    table.to_csv(tmp_path / "scores.csv", index=False)
    found = bs.emergence(tmp_path / "scores.csv", random_seed=1)
    assert found.tasks == ("the task",)


# -- the model ---------------------------------------------------------------------------------


def curve(y, n=float(QUESTIONS), chance=0.25, family=None) -> TaskCurve:
    s = S - S.mean()
    members = np.zeros(0, int) if family is None else family
    return TaskCurve(s, y, 0.0, np.full(len(s), n), chance, members)


def test_accuracies_are_a_density_of_the_score():
    """The density of one score, with all other scores given, integrates to one."""
    y = 0.25 + 0.75 * sigmoid(S - 6)
    grid = np.linspace(0.15, 1.0, 2001)
    model = Model(curve(y), "unbroken")
    z = np.zeros((1, model.dimension))
    z[0, :2] = 1.0, 0.5
    total = []
    for value in grid:
        changed = y.copy()
        changed[20] = value
        total.append(Model(curve(changed), "unbroken").log_likelihood(z)[0])
    total = np.array(total)
    h = model.parameters(z)
    # What the other scores contribute does not depend on this one.
    standardised, log_sd = model._standardiser(h)
    residual, _ = standardised(model.eta(z, model.curve.s, h))
    from bayescale.capabilities.emergence_models import _student

    others = np.arange(len(y)) != 20
    rest = _student(residual[:, others]) - log_sd[:, others].sum(axis=1)
    mass = np.trapezoid(np.exp(total - rest[0]), grid)
    assert mass == pytest.approx(1.0, abs=0.05)


def test_starts_of_losses_lie_on_the_losses():
    s = S - S.mean()
    blank = Model(TaskCurve(s, np.ones(len(s))), "break")
    z = np.random.default_rng(1).standard_normal((3, blank.dimension))
    z[:, :3] = np.clip(z[:, :3], -1, 1) - [1.5, 0, 0]  # far below the lowest loss
    for row in z:
        # In the unit of the geometric mean of the losses, which is one in `blank`.
        own = TaskCurve(s, blank.mean(row[None], s)[0])
        model = Model(own, "break")
        truth = row[None].copy()
        for i, name in enumerate(("floor", "amount")):
            truth[0, i] -= np.log(own.unit) / model.priors[name].width
        start = truth.copy()
        start[0, [1, 2]] = 0.0
        assert model._with_line(start)[0, :3] == pytest.approx(truth[0, :3], abs=1e-4)


def test_log_odds_that_flatten_are_linear_in_a_power_law():
    model = Model(curve(np.full(len(C), 0.5)), "flattening")
    z = np.zeros((2, model.dimension))
    z[1, list(model.priors).index("alpha")] = -8.0  # an exponent of about 0.0005
    h = model.parameters(z)
    eta, s = model.eta(z, model.curve.s, h), model.curve.s
    loss = np.exp(-float(h["alpha"][0, 0]) * s)
    assert np.polyfit(loss, eta[0], 1, full=True)[1] == pytest.approx(0.0, abs=1e-9)
    assert np.polyfit(s, eta[0], 1, full=True)[1] > 1
    straight = float(h["level"][1, 0]) + float(h["slope"][1, 0]) * s
    assert eta[1] == pytest.approx(straight, abs=0.02)


def test_an_accuracy_that_is_logistic_in_a_loss_does_not_depart():
    table = scores(sigmoid(3 - 8 * np.exp(-0.18 * S)))
    found = bs.emergence(table, n_questions=QUESTIONS, chance=0.25, random_seed=1)
    row = found.summary().iloc[0]
    assert row["P(departure)"] < 0.2
    assert row["P(flattening)"] > 0.8
    assert "the log odds flatten with scale" in row["sentence"]
    evidence = found.posteriors["the task"].log_evidence
    assert evidence["flattening"] > max(evidence["unbroken"], evidence["line"]) + 5


def test_at_chance_the_likelihood_does_not_depend_on_how_far_below_the_curve_lies():
    model = Model(curve(np.full(len(C), 0.25)), "unbroken")
    z = np.zeros((2, model.dimension))
    z[:, 0] = -5.0, -8.0
    value = model.log_likelihood(z)
    assert value[0] == pytest.approx(value[1], abs=0.5)


def test_kinds_need_six_different_x():
    few = TaskCurve(np.array([0.0, 1, 2, 3, 4]), np.full(5, 0.5), 0.0, np.full(5, 100.0), 0.0)
    assert few.kinds == ("unbroken", "flattening", "line")


def test_shapes_of_a_line():
    model = Model(curve(0.3 + 0.05 * S), "line")
    found = shapes([(model, np.zeros((3, model.dimension)))])
    assert isinstance(found, Shapes)
    assert found.sharpness == pytest.approx(1 / 5, abs=0.01)
    assert found.acceleration == pytest.approx(1.0, abs=0.05)
    assert not found.is_emergent.any()


# -- input -------------------------------------------------------------------------------------


def test_percent_and_accuracies_above_one():
    table = scores(sigmoid(S - 8))
    with pytest.raises(RunsError, match="divide by 100"):
        bs.emergence(table.assign(accuracy=100 * table["accuracy"]), n_questions=100, chance=0.25)
    with pytest.raises(RunsError, match=r"outside \[0, 1\]"):
        bs.emergence(table.assign(accuracy=table["accuracy"] + 0.4), n_questions=100, chance=0.25)


def test_one_model_a_task_and_missing_columns():
    table = scores(sigmoid(S - 8)).assign(task=[f"t{i}" for i in range(len(C))])
    with pytest.raises(RunsError, match="only one row"):
        bs.emergence(table, n_questions=100, chance=0.25)
    with pytest.raises(RunsError, match="chance"):
        bs.emergence(scores(S / 20), n_questions=100)
    with pytest.raises(RunsError, match="brier"):
        bs.emergence(scores(S / 20), continuous="brier", n_questions=100, chance=0.25)
    with pytest.raises(RunsError, match="expected Runs, a DataFrame or a path, got list"):
        bs.emergence([1, 2])


def test_without_numbers_of_questions_a_note_says_what_carries_the_noise():
    found = bs.emergence(scores(sigmoid(1.2 * (S - 8))).iloc[::3], chance=0.25, random_seed=1)
    assert "without n_questions" in repr(found)
    assert found.summary()["P(emergent as measured)"].iloc[0] > 0.5


def test_tasks_at_chance_and_solved_tasks_get_a_row():
    table = pd.concat(
        [
            scores(np.zeros(len(C))).assign(task="chance"),
            pd.DataFrame({"C": C, "accuracy": 1.0, "task": "solved"}),
        ]
    )
    found = bs.emergence(table, n_questions=QUESTIONS, chance=0.25, random_seed=1)
    table = found.summary()
    assert set(table["verdict"]) == {UNKNOWN}
    assert table.loc["chance", "sentence"].startswith("cannot be told: all models are at chance")
    assert table.loc["solved", "sentence"].startswith("cannot be told: all models solve the task")
    assert table["P(verdict)"].isna().all()


@pytest.mark.parametrize("step", [9, 14])
def test_few_models_cannot_tell(step):
    """Without a kind of curve that departs, no probability is given."""
    few = scores(sigmoid(1.2 * (S - 8))).iloc[::step]
    row = bs.emergence(few, n_questions=QUESTIONS, chance=0.25, random_seed=1).summary().iloc[0]
    assert row["verdict"] == UNKNOWN
    assert row["sentence"].startswith(
        "cannot be told: the models have fewer than 6 different scales"
    )
    assert np.isnan(row["P(departure)"])


def test_a_task_with_few_values_of_the_continuous_metric_is_not_judged():
    table = scores(sigmoid(1.2 * (S - 8)))
    error = np.exp(-0.2 * S)
    table["brier"] = np.where(np.arange(len(C)) % 9 == 0, error, error[0])
    table["C"] = np.where(np.arange(len(C)) % 9 == 0, C, C[0])
    found = bs.emergence(table, continuous="brier", n_questions=QUESTIONS, chance=0.25)
    assert found.summary()["verdict"].tolist() == [UNKNOWN]


def test_draws_of_a_loss_are_moved_along_its_posterior():
    """Draws from few effective ones repeat, and miss the ends of a curved posterior."""
    wander = 0.4 * np.sin(S / 2)
    data = losses(-0.25 * (S + wander), noise=0.01)
    curve = TaskCurve(S - S.mean(), data["loss"].to_numpy())
    posterior = sample(curve, 1)
    kind = max(posterior.probability, key=posterior.probability.get)
    model, z = Model(curve, kind), posterior.positions[kind]
    assert len(np.unique(z, axis=0)) > 0.97 * len(z)
    rough = model.sample(len(z), np.random.default_rng(1)).positions
    assert len(np.unique(rough, axis=0)) < 0.9 * len(z)
    # Further moves leave their distribution as it is.
    again = model.moved(z, np.random.default_rng(2))
    before, after = (np.median(model.density().log_posterior(x)) for x in (z, again))
    assert abs(before - after) < 0.7


def test_a_share_whose_name_does_not_say_so_is_refused():
    """It would be read as a loss. Its column can be named as the accuracy."""
    table = scores(sigmoid(1.2 * (S - 8))).rename(columns={"accuracy": "em"})
    about = dict(n_questions=QUESTIONS, chance=0.25, random_seed=1)
    with pytest.raises(bs.RunsError, match=r"'em' rises with C .* columns=\{'accuracy': 'em'\}"):
        bs.emergence(table, y="em", **about)
    found = bs.emergence(table, columns={"accuracy": "em"}, **about)
    assert found.curves[found.tasks[0]].is_accuracy


def test_samples_count_as_answers():
    """pass@k has the noise of its samples, in every task that is called so."""
    table = scores(sigmoid(1.2 * (S - 8))).rename(columns={"accuracy": "pass@10"})
    about = dict(n_questions=200, chance=0.0)
    curves = read_scores(table, "C", "pass@10", None, None, samples=50, **about)[0]
    (curve,) = curves.values()
    assert curve.is_accuracy
    assert set(curve.n) == {200 * 50 / 10}
    with pytest.raises(bs.RunsError, match="give y='pass@10', so that k is known"):
        bs.emergence(table, columns={"accuracy": "pass@10"}, **about)


def of_families(families=3, models=30, slope=0.8, seed=1) -> pd.DataFrame:
    """Models of few families with one law, and intercepts that differ by .2 in log odds."""
    rng = np.random.default_rng(seed)
    parts = []
    for i, shift in enumerate(0.2 * rng.standard_normal(families)):
        s = np.linspace(0, 11, models)
        eta = -6 + slope * s + shift + 0.1 * rng.standard_normal(models)
        right = rng.binomial(QUESTIONS, sigmoid(eta))
        parts.append(pd.DataFrame({"C": 1e18 * np.exp(s), "accuracy": right / QUESTIONS}))
        parts[-1]["family"] = f"family {i}"
    return pd.concat(parts)


@pytest.mark.parametrize("level", [-9.0, -3.0, -1.0, 6.0])
def test_intercepts_of_families_are_integrated_out(level):
    """Also where the curve lies far from the scores, where a linear approximation has a mode.

    There the integral may be taken for smaller than it is, which has no effect.
    """
    from scipy.special import logsumexp

    (of,) = read_scores(of_families(), "C", "accuracy", None, "family", QUESTIONS, 0.0)[0].values()
    model = Model(of, "unbroken")
    z = np.zeros((1, model.dimension))
    z[0, 0] = (level - model.priors["level"].centre) / model.priors["level"].width
    z[0, 1] = np.log(0.8 / 0.6) / model.priors["slope"].width
    h = model.parameters(z)
    h["family"] = np.full((1, 1), 1.5)
    grid = np.linspace(-20, 20, 4001)[:, None]
    standardised, log_sd = model._standardiser(h)
    residual, _ = standardised(model.eta(z, of.s, h) + grid)
    normal = -0.5 * residual**2 - log_sd - 0.5 * np.log(2 * np.pi)
    prior = -0.5 * (grid / 1.5) ** 2 - np.log(1.5) - 0.5 * np.log(2 * np.pi)
    exact = logsumexp(normal @ model._members + prior, axis=0) + np.log(grid[1] - grid[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "parameters", lambda self, z: h)
        apart = model.log_likelihood(z)[0] - exact.sum()
    assert apart < 0.3
    assert apart > -1 or abs(level) > 4


def test_few_families_do_not_move_the_curve_from_the_scores():
    table = bs.datasets.openlm_tasks().query("task == 'arc_easy'")
    found = bs.emergence(table, family="dataset", random_seed=1)
    (task,) = found.tasks
    drawn = found.shapes(task)
    fitted = np.interp(np.log10(table["C"]), drawn.grid, np.median(drawn.mean, axis=0))
    assert abs(fitted - table["accuracy"]).max() < 0.15


def test_a_task_that_is_solved_later_lies_inside_its_forecast():
    """Scores of exactly 1, of which the models at chance say nothing."""
    found = bs.emergence(scores(sigmoid(1.2 * (S - 7)), chance=0.0), n_questions=QUESTIONS,
                         chance=0.0, random_seed=1)  # fmt: skip
    posterior = sample(part(found.curves[found.tasks[0]], S < 4), [1])
    s = np.full(40, posterior.curve.ends[1] + 8.0)
    n, rng = np.full(40, 500.0), np.random.default_rng(1)
    draws = foresights.forecast(posterior, s, n, rng)
    assert (np.quantile(draws, 0.95, axis=0) == 1).all()
    narrow = foresights.forecast(posterior, s, n, rng, Ahead(0.3, Positive(4.0, spread=8.0)))
    assert (narrow == 1).mean() < 0.5 * (draws == 1).mean()


def test_tasks_whose_smallest_models_are_not_at_chance_are_not_assessed():
    of = TaskCurve(S, np.full(len(S), 0.3), 0.0, np.full(len(S), 100.0), 0.1)
    assert "smallest models are not at chance" in foresights.why_not(of, S[20] / np.log(10))
    at_chance = replace(of, chance=0.28)
    assert not foresights.why_not(at_chance, S[20] / np.log(10))


def test_accuracies_that_fall_are_noted():
    table = scores(0.8 - 0.06 * S).assign(task="inverse")
    about = dict(n_questions=QUESTIONS, chance=0.25)
    _, _, notes = read_scores(table, "C", "accuracy", "task", None, **about)
    assert notes[0].startswith("inverse: accuracies fall as C rises")
    rising = scores(0.1 + 0.06 * S).assign(task="line")
    assert not read_scores(rising, "C", "accuracy", "task", None, **about)[2]


@pytest.mark.parametrize(
    ("questions", "log_evidence"),
    [
        (np.full(40, 200.0), dict(unbroken=0.5, flattening=-5, line=-9, late=-9, drift=0)),
        (None, dict(unbroken=0.0, drift=1)),
    ],
)
def test_scores_that_tell_little_are_no_departure(questions, log_evidence):
    """Straight curves often have such evidences; that of a break is that of drift."""
    log_evidence["break"] = log_evidence["drift"]
    positions = dict.fromkeys(log_evidence, np.zeros((1, 1)))
    curve = TaskCurve(S, np.full(40, 0.5), n=questions)
    p = Posterior(curve, positions, log_evidence, dict.fromkeys(positions, 0.0)).probability
    assert 0.3 < p["late"] + p["break"] + p["drift"] < 0.5

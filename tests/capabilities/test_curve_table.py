"""From a table to curves: problems are named, cautions are noted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.capabilities.curve_table import read_curves
from bayescale.capabilities.likelihoods import Accuracy, Loss, PlottedAccuracy

C = np.geomspace(1e18, 1e22, 6)


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
        read_curves(bad, x="C", y="accuracy", groups="task", chance=0.0)
    text = str(error.value)
    for part in ("'accuracy'", "[0, 1]", "'n_questions'", "missing", "'C'", "not positive", "'b'"):
        assert part in text
    assert "only one row" in text


def test_the_name_of_the_column_decides_the_metric_and_scale_the_accuracy():
    frame = pd.DataFrame({"C": C, "exact_match": 0.5, "loss": 2.0, "loss_sd": 0.1})
    options = dict(x="C", n_questions=100, chance=0.0)
    odds = read_curves(frame, y="exact_match", **options)
    assert odds.metric == "accuracy"
    assert type(odds.curves["the curve"].metric) is Accuracy
    plotted = read_curves(frame, y="exact_match", scale="plotted", **options)
    assert type(plotted.curves["the curve"].metric) is PlottedAccuracy
    loss = read_curves(frame, x="C", y="loss")
    assert loss.metric == "loss"
    assert isinstance(loss.curves["the curve"].metric, Loss)
    assert loss.curves["the curve"].metric.sd.tolist() == [0.1] * 6


def test_log_x_is_centred_and_families_are_indexed():
    frame = pd.DataFrame({"C": C, "loss": 2.0, "who": list("babbab")})
    result = read_curves(frame, x="C", y="loss", family="who")
    curve = result.curves["the curve"]
    assert curve.s + curve.middle == pytest.approx(np.log(C))
    assert curve.s.min() == pytest.approx(-curve.s.max())
    assert result.families == ("a", "b")
    assert curve.family.tolist() == [1, 0, 1, 1, 0, 1]
    assert curve.n_families == 2


def test_accuracies_at_chance_are_noted_as_prior_dominated():
    flat = pd.DataFrame({"C": C, "accuracy": 0.25})
    notes = read_curves(flat, x="C", y="accuracy", n_questions=400, chance=0.25).notes
    assert "never exceeds chance" in notes[0]
    assert "the prior determines the rate" in notes[1]


def test_checkpoints_of_one_run_are_noted():
    frame = pd.DataFrame({"C": C, "loss": 2.0, "series": "one"})
    (note,) = read_curves(frame, x="C", y="loss").notes
    assert "checkpoints of one run are treated as independent" in note

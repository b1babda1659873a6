"""Plots of emergence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import BayescaleError

C = np.geomspace(1e19, 1e24, 15)
S = np.log(C / 1e19)


@pytest.fixture(scope="module")
def found() -> bs.Emergence:
    rng = np.random.default_rng(1)
    rising = rng.binomial(2000, 1 / (1 + np.exp(8 - S))) / 2000
    table = pd.concat(
        [
            pd.DataFrame({"C": C, "accuracy": rising, "task": "rising"}),
            pd.DataFrame({"C": C, "accuracy": 0.0, "task": "flat"}),
        ]
    )
    table["family"] = np.where(np.arange(len(table)) % 2, "one", "other")
    return bs.emergence(table, n_questions=2000, chance=0.0, random_seed=1, family="family")


def test_a_task_has_two_panels_with_its_scores_and_verdict(found):
    axes = bs.plot_emergence(found)
    assert len(axes) == 4
    plotted, straight = axes[:2]
    verdict = found.summary().loc["rising", "verdict"]
    assert plotted.get_title(loc="left").startswith(f"rising: {verdict}")
    assert not straight.get_title(loc="left")
    assert axes[2].get_title(loc="left") == "flat: cannot be told: all models are at chance"
    assert [bool(ax.get_xlabel()) for ax in axes] == [False, False, True, True]
    families = [line for line in plotted.lines if line.get_label() in ("one", "other")]
    drawn = np.concatenate([line.get_ydata() for line in families])
    assert sorted(drawn) == pytest.approx(sorted(found.curves["rising"].y))
    assert families[0].get_color() != families[1].get_color()


def test_the_onset_is_shaded_and_scores_at_chance_stand_at_the_edge(found):
    axes = bs.plot_emergence(found, "rising")
    row = found.summary().loc["rising"]
    spans = [p for p in axes[0].patches if p.get_alpha() == 0.22]
    (span,) = spans
    assert span.get_x() == pytest.approx(row["onset_low"])
    assert span.get_x() + span.get_width() == pytest.approx(row["onset_high"])
    lowest = min(line.get_ydata().min() for line in axes[1].lines)
    assert np.isfinite(lowest)


def test_unknown_tasks_and_wrong_axes_are_refused(found):
    with pytest.raises(BayescaleError, match="Did you mean 'rising'"):
        bs.plot_emergence(found, "risng")
    with pytest.raises(BayescaleError, match="no task is given"):
        bs.plot_emergence(found, [])
    with pytest.raises(BayescaleError, match="two for each task"):
        bs.plot_emergence(found, "rising", axes=[bs.plot_emergence(found)[0]])


def test_a_new_figure_says_what_was_found(found):
    figure = bs.plot_emergence(found)[0].figure
    assert figure.get_suptitle().replace("\n", " ") == found.bottom_line()
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["one", "other", "onset, 90 % interval"]
    alone = bs.plot_emergence(found, "rising")[0].figure
    sentence = found.summary().loc["rising", "sentence"]
    assert alone.get_suptitle().replace("\n", " ") == sentence


def test_a_title_says_whether_a_task_emerges_where_the_law_cannot_be_told(found, monkeypatch):
    table = found.summary()
    table.loc["rising", ["verdict", "P(verdict)", "P(emergent as measured)"]] = (
        "cannot be told",
        np.nan,
        0.03,
    )
    monkeypatch.setattr(bs.Emergence, "summary", lambda *_: table)
    title = bs.plot_emergence(found, "rising")[0].get_title(loc="left")
    assert title == "rising: cannot be told, P(emergent) = 0.03"


def test_long_names_are_shortened(found):
    long = "a_name_without_spaces_" * 3
    curves = {long: found.curves["rising"], "flat": found.curves["flat"]}
    posteriors = {long: found.posteriors["rising"]}
    title = bs.plot_emergence(replace(found, curves=curves, posteriors=posteriors), long)[0]
    assert title.get_title(loc="left").startswith("a_name_without_spaces_a_name_")

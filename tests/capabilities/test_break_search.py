"""breaks(): breaks are found where they are and not where they are not."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.model import drift

OPTIONS = dict(particles=32, random_seed=1, progressbar=False)
#: Where only the form of the result matters.
QUICK = dict(particles=16, max_breaks=1, random_seed=1, progressbar=False)
C = np.geomspace(1e18, 1e22, 18)
S = np.log(C / 1e20)


@pytest.fixture
def found(found_breaks) -> bs.Breaks:
    return found_breaks


def test_a_break_is_found_where_it_is(found):
    assert found.probability("straight") < 0.5
    assert found.probability("bend") > 0.5
    draws = found.places("bend")
    low, high = np.log(draws["x"].quantile([0.01, 0.99]) / 1e20)
    assert low - 0.3 < 0 < high + 0.3
    assert draws["kind"].mode()[0] == "bend"
    assert abs(draws["before"].median()) < 0.15
    assert -0.9 < draws["after"].median() < -0.3


def test_probabilities_sum_to_one_and_agree_with_the_summary(found):
    shares = found.probabilities.loc[["straight", "bend"]]
    assert shares.sum(axis=1).to_numpy() == pytest.approx(1)
    frame = found.summary(0.9)
    assert list(frame.index) == list(found.labels) == ["straight", "bend", "few"]
    by_number = frame[["P(1)", "P(2)", "P(3)"]].sum(axis=1, skipna=False)
    assert frame["P(break)"].to_numpy() == pytest.approx(by_number.to_numpy(), nan_ok=True)
    bend = frame.loc["bend"]
    assert bend["x_eti90_lb"] < bend["x"] < bend["x_eti90_ub"]
    assert bend["break_over_law"] > bend["break_over_drift"] > 0


def test_with_fewer_than_six_different_x_nothing_is_said_of_breaks(found):
    assert np.isnan(found.probability("few"))
    assert len(found.places("few")) == 0
    row = found.summary().loc["few"]
    assert row[["P(break)", "P(1)", "x", "break_over_drift", "mcse", "false_alarms"]].isna().all()
    assert "few: P(break) - (fewer than 6 different C)" in repr(found)
    assert any("few: fewer than 6 different C" in note for note in found.notes)
    ahead = bs.forecast(found, x=[1e20], group="few").data
    assert float(ahead["mean"].median()) == pytest.approx(1.5, abs=0.2)


def test_a_curve_that_cannot_show_a_break_does_not_count_as_unbroken(found):
    others = {label: found.curves[label] for label in ("straight", "bend")}
    seen = (found.probabilities * np.arange(4)).sum(axis=1).sum()
    length = sum(np.ptp(curve.s) for curve in others.values())
    assert found.rate == pytest.approx((1 + seen, 1 / drift.BREAKS + length))


def test_the_representation_is_for_people(found):
    text = repr(found)
    assert text.splitlines()[0] == found.bottom_line()
    assert "3 curves" in text
    assert "bend: P(break)" in text
    assert ", a bend at C" in text
    assert "simulated curves of 8 points with drift and without a break" in text


def test_the_bottom_line_names_the_curves_that_break_and_one_reason_for_doubt(found):
    answer = found.bottom_line()
    place = found.places("bend")["x"]
    p = found.probability("bend")
    assert answer.startswith(
        f"1 of 2 curves is likely to have a break (bend); the most probable one is in bend, with "
        f"probability {p:.2f}: a bend at C {place.median():.2g} (90 %: "
    )
    assert f"(50 %: {place.quantile(0.25):.2g} to {place.quantile(0.75):.2g})" in (
        found.bottom_line(0.5)
    )
    assert answer.endswith(f"Main reason for doubt: {found.cautions()[0]}.")
    assert len(found.cautions()) == len(set(found.cautions()))
    html = found._repr_html_()
    assert html.startswith(f"<p><strong>{escape(answer)}</strong></p><table>")


def test_breaks_are_given_as_tidy_tables(found):
    draws, rows = found.to_dataframe(), found.to_dataframe("summary", 0.9)
    assert list(draws) == ["group", "draw", "x", "width", "before", "after", "kind"]
    assert (draws["group"] == "bend").sum() == len(found.places("bend"))
    row = rows[(rows["group"] == "bend") & (rows["variable"] == "x")].iloc[0]
    frame = found.summary(0.9).loc["bend"]
    assert (
        row[["median", "lower", "upper"]].tolist()
        == frame[["x", "x_eti90_lb", "x_eti90_ub"]].tolist()
    )
    assert len(rows) == 3 * 4
    with pytest.raises(bs.FitError, match="there is no table 'wide'"):
        found.to_dataframe("wide")


def test_the_printed_summary_is_at_most_100_characters_wide(found):
    assert max(map(len, repr(found.summary()).splitlines())) <= 100


def test_the_probability_of_a_break_beyond_the_data_grows_with_distance(found):
    p = found.beyond([1e21, 1e23, 1e25])
    assert p.shape == (3, 3)
    assert (p[:, 0] == 0).all()
    assert (np.diff(p, axis=1) > 0).all()


def test_a_forecast_of_fitted_curves_agrees_with_the_truth(found):
    inside = bs.forecast(found, x=[1e20], group="straight").data["mean"]
    assert float(inside.median()) == pytest.approx(1.5, abs=0.05)


@pytest.mark.slow
def test_a_start_and_a_step_are_told_apart(loss_curves):
    kinds = bs.breaks(
        loss_curves(start=-0.2 * np.maximum(S, 0), step=-0.05 * S - 2 / (1 + np.exp(-S / 0.1))),
        groups="task",
        particles=96,
        random_seed=1,
        progressbar=False,
    )
    for label in ("start", "step"):
        assert kinds.probability(label) > 0.5
        assert kinds.places(label)["kind"].mode()[0] == label


@pytest.mark.slow
def test_seeds_differ_by_the_reported_error(loss_curves):
    unclear = loss_curves(unclear=-0.2 * S - 0.05 * np.maximum(S, 0))
    one, other = (
        bs.breaks(unclear, **dict(OPTIONS, random_seed=seed)).summary().iloc[0] for seed in (3, 4)
    )
    assert 0 < one["mcse"] < 0.5
    error = np.hypot(one["mcse"], other["mcse"])
    assert abs(one["break_over_drift"] - other["break_over_drift"]) < 4 * error


def test_families_share_an_intercept():
    rng = np.random.default_rng(0)
    rows = []
    for name, shift in (("good", 1.5), ("plain", 0.0), ("poor", -1.5)):
        x = np.geomspace(1e18, 1e22, 7)
        p = 1 / (1 + np.exp(-(0.4 * np.log(x / 1e20) + shift)))
        rows.append(pd.DataFrame({"C": x, "accuracy": rng.binomial(1000, p) / 1000, "who": name}))
    options = dict(y="accuracy", family="who", n_questions=1000, chance=0.0, **QUICK)
    result = bs.breaks(pd.concat(rows), **options)
    assert result.families == ("good", "plain", "poor")
    middle = {
        name: float(bs.forecast(result, x=[1e20], family=name).data["mean"].median())
        for name in result.families
    }
    assert middle["good"] > 0.7 > 0.3 > middle["poor"]


@pytest.mark.slow
def test_a_late_rise_is_a_break_of_the_plotted_accuracy_and_not_of_the_odds():
    rng = np.random.default_rng(2)
    p = 0.25 + 0.75 / (1 + np.exp(-(0.8 * (S - 1.5))))
    late = pd.DataFrame({"C": C, "accuracy": rng.binomial(2000, p) / 2000})
    options = dict(y="accuracy", n_questions=2000, chance=0.25, **OPTIONS)
    assert bs.breaks(late, **options).probability() < 0.5
    plotted = bs.breaks(late, scale="plotted", **options)
    assert plotted.summary().iloc[0]["break_over_law"] > 3


def test_the_seed_determines_the_result_and_a_fresh_one_is_stored(loss_curves):
    runs = bs.Runs.from_frame(loss_curves(straight=-0.2 * S)[["C", "loss"]].iloc[::2])
    fresh = bs.breaks(runs, **dict(QUICK, random_seed=None))
    again = bs.breaks(runs, **dict(QUICK, random_seed=fresh.random_seed))
    few = bs.Runs(runs.table.iloc[::3])
    other = bs.breaks(few, **dict(QUICK, random_seed=None))
    assert fresh.probability() == again.probability() < 0.5
    assert fresh.random_seed != other.random_seed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(metric="accurate"), "metric 'accurate'"),
        (dict(scale="raw"), "scale 'raw'"),
        (dict(max_breaks=4), "max_breaks is 4"),
        (dict(x="compute"), "column 'compute'"),
        (dict(y="accuracy"), "column 'accuracy'"),
        (dict(data=[1.0, 2.0]), "expected Runs, a DataFrame or a path, got list"),
    ],
)
def test_invalid_arguments_are_refused(change, message, loss_curves):
    options = {"data": loss_curves(straight=-0.2 * S), **OPTIONS, **change}
    with pytest.raises(bs.RunsError, match=message):
        bs.breaks(**options)


def test_an_unknown_group_is_refused_with_the_labels(found):
    with pytest.raises(bs.RunsError, match=r"no group 'bent'.*Did you mean 'bend'"):
        found.probability("bent")

"""Scores of forecasts, compared with hand calculations and with long-run frequencies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayescale.errors import BayescaleError
from bayescale.evaluation.scores import (
    LEVELS,
    MSCE_LEVELS,
    crps,
    interval_score,
    msce,
    reliability,
    score,
    summarise,
)

#: Log losses -1, -.99, ..., 1 in no order: their p-quantile is 2 p - 1.
STEPS = np.random.default_rng(1).permutation(np.linspace(-1, 1, 201))[:, None]
#: Truths at the middle of a hundred equally probable cells.
PERFECT = (np.arange(1000) + 0.5) / 1000


def scored(log_truth, log_draws=STEPS, **options) -> pd.DataFrame:
    truth = np.exp(np.atleast_1d(np.asarray(log_truth, dtype=float)))
    draws = np.exp(np.broadcast_to(log_draws, (len(log_draws), len(truth))))
    return score(truth, draws, np.zeros(len(truth)), **options)


# -- one point ---------------------------------------------------------------------------------


def test_the_crps_of_a_point_mass_is_the_absolute_error():
    truth = np.array([1.0, 2.0])
    assert crps(truth, np.full((7, 2), 1.5)) == pytest.approx([0.5, 0.5])


def test_the_crps_of_two_draws_is_their_integral():
    # The squared distance of the distribution functions is 1/4 between 0 and 2, then 1 up to 3.
    draws = np.array([[0.0, 0.0], [2.0, 2.0]])
    assert crps(np.array([1.0, 3.0]), draws) == pytest.approx([0.5, 1.5])


def test_the_crps_of_a_normal_is_the_closed_form():
    normal = np.random.default_rng(1).standard_normal((200_000, 1))
    exact = (np.sqrt(2) - 1) / np.sqrt(np.pi)
    assert crps(np.zeros(1), normal)[0] == pytest.approx(exact, abs=3e-3)


def test_crps_does_not_disturb_its_draws():
    draws = np.array([[3.0], [1.0], [2.0]])
    crps(np.zeros(1), draws)
    assert draws[:, 0].tolist() == [3, 1, 2]


@pytest.mark.parametrize(("truth", "expected"), [(1.5, 1), (2.5, 11), (0.9, 3)])
def test_the_interval_score_is_the_width_and_twenty_times_a_miss(truth, expected):
    assert interval_score(truth, 1.0, 2.0, 0.1) == pytest.approx(expected)


def test_every_column_of_a_point_by_hand():
    point = scored(0.95).iloc[0]
    assert point.pit == pytest.approx(195.5 / 201)
    assert [bool(point[f"inside{k}"]) for k in (50, 80, 90, 95)] == [False, False, False, True]
    assert [point[f"width{k}"] for k in (50, 80, 90, 95)] == pytest.approx([1, 1.6, 1.8, 1.9])
    assert point.width95_loss == pytest.approx(2 * np.sinh(0.95))
    assert point.interval_score == pytest.approx(1.8 + 20 * 0.05)
    assert point.log_error == pytest.approx(-0.95)
    assert point.log_score == 0
    assert point.crps == pytest.approx(crps(np.array([0.95]), STEPS)[0])


def test_intervals_are_numpys_quantiles():
    draws = np.random.default_rng(2).normal(size=(137, 3))
    points = scored(np.zeros(3), draws)
    for q in LEVELS:
        low, high = np.quantile(draws, [(1 - q) / 2, (1 + q) / 2], axis=0)
        assert points[f"width{100 * q:.0f}"].to_numpy() == pytest.approx(high - low)
    assert points["log_error"].to_numpy() == pytest.approx(np.median(draws, axis=0))


@pytest.mark.parametrize("truth", [-1.3, 0.4])
def test_log_loss_scores_do_not_depend_on_the_unit_of_the_loss(truth):
    shifted, plain = scored(truth + 2, STEPS + 2), scored(truth)
    same = plain.columns.drop("width95_loss")
    pd.testing.assert_frame_equal(shifted[same], plain[same], rtol=1e-9)


def test_a_tie_counts_half():
    draws = np.log([[1.0], [2.0], [2.0], [3.0]])
    assert scored(np.log(2.0), draws)["pit"][0] == 0.5
    assert scored(np.log([0.5, 9.0]), draws)["pit"].tolist() == [0, 1]


def test_pit_is_uniform_and_intervals_cover_where_the_truth_is_another_draw():
    rng = np.random.default_rng(3)
    points = scored(rng.normal(size=4000), rng.normal(size=(2000, 4000)))
    assert np.histogram(points["pit"], 10, (0, 1))[0] == pytest.approx(400, abs=5 * 19)
    for q in LEVELS:
        error = np.sqrt(q * (1 - q) / 4000)
        assert points[f"inside{100 * q:.0f}"].mean() == pytest.approx(q, abs=4 * error)


def test_monte_carlo_errors_are_the_scatter_of_repetitions():
    rng = np.random.default_rng(4)
    many = [scored(1.0, rng.normal(size=(400, 1)), parts=8) for _ in range(300)]
    for name in ("crps", "interval_score"):
        scatter = np.std([m[name][0] for m in many], ddof=1)
        reported = np.sqrt(np.mean([m[f"{name}_mc"][0] ** 2 for m in many]))
        assert reported == pytest.approx(scatter, rel=0.2)


def test_one_block_gives_no_monte_carlo_error():
    assert scored(0.0, parts=1)[["crps_mc", "interval_score_mc"]].isna().all(axis=None)


def test_two_blocks_give_half_of_their_difference():
    draws = np.array([0.0, 1.0, 3.0, 8.0])[:, None]
    both = scored(0.5, draws, parts=2)
    one, other = (scored(0.5, part, parts=1) for part in (draws[:2], draws[2:]))
    expected = abs(one["crps"][0] - other["crps"][0]) / 2
    assert expected > 0.1
    assert both["crps_mc"][0] == pytest.approx(expected)


def test_what_cannot_be_scored_is_named_at_once():
    with pytest.raises(BayescaleError, match=r"draws \(4, 3\)") as caught:
        score([1.0, -2.0], np.ones((4, 3)), [0.0, 0.0])
    assert len(caught.value.problems) == 2
    with pytest.raises(BayescaleError, match="draws: 1 of 8 losses"):
        score([1.0, 2.0], [[1, np.nan], [1, 1], [1, 1], [1, 1]], [0.0, 0.0])
    with pytest.raises(BayescaleError, match="parts is 4, but there are only 3 draws"):
        score([1.0], np.ones((3, 1)), [0.0])


# -- many points -------------------------------------------------------------------------------


def table(*rows) -> pd.DataFrame:
    """Points of a method and a curve with the scores a summary reads; (curve, score, inside)."""
    curve, value, inside = (np.array(c) for c in zip(*rows, strict=True))
    return pd.DataFrame(
        {
            "method": "a",
            "curve": curve,
            "pit": 0.5,
            "crps": value,
            "interval_score": value,
            "crps_mc": value,
            "interval_score_mc": value,
            "log_score": value,
            "log_error": value,
            "width90": value,
            **{f"inside{k}": inside.astype(bool) for k in (50, 80, 90, 95)},
        }
    )


#: Three points of one curve, one of another.
CURVES = table(("long", 1.0, 1), ("long", 1.0, 1), ("long", 4.0, 0), ("short", 6.0, 1))


def test_a_long_curve_counts_as_much_as_a_short_one():
    row = summarise(CURVES, "method", series="curve").iloc[0]
    assert (row.n, row.n_series) == (4, 2)
    assert row.crps == row.log_score == row.width90 == pytest.approx((2 + 6) / 2)
    assert row.crps_se == pytest.approx((6 - 2) / 2)
    assert row.rmsle == pytest.approx((np.sqrt(6) + 6) / 2)
    assert row.rmsle_se == pytest.approx((6 - np.sqrt(6)) / 2)
    assert row.coverage90 == pytest.approx((2 / 3 + 1) / 2)
    assert row.coverage90_se == pytest.approx((1 - 2 / 3) / 2)
    assert row.crps_mc == pytest.approx(np.hypot(2, 6) / 2)


def test_without_series_all_points_are_one():
    row = summarise(CURVES, "method").iloc[0]
    assert (row.n, row.n_series) == (4, 1)
    assert row.crps == pytest.approx(3)
    assert row.rmsle == pytest.approx(np.sqrt(54 / 4))
    assert row.coverage90 == 0.75
    assert row.coverage90_se == pytest.approx(np.sqrt(0.75 * 0.25 / 4))
    assert np.isnan([row.crps_se, row.interval_score_se, row.log_score_se, row.rmsle_se]).all()


def test_a_row_for_every_combination_in_the_order_they_come():
    points = pd.concat(
        [CURVES.assign(method=m, domain=d) for m, d in (("z", "IC"), ("a", "IC"), ("z", None))]
    )
    rows = summarise(points, ["method", "domain"], series="curve")
    assert rows[["method", "domain"]].fillna("").values.tolist() == [
        ["z", "IC"],
        ["a", "IC"],
        ["z", ""],
    ]
    assert (rows["n"] == 4).all()


def test_scores_can_be_summarised():
    points = scored(np.linspace(-0.9, 0.9, 12)).assign(curve=np.repeat(["p", "q", "r"], 4), law="a")
    row = summarise(points, "law", series="curve").iloc[0]
    assert row.n_series == 3
    assert not row.isna().any()
    assert row.width95 == pytest.approx(1.9)
    assert row.msce == msce(points["pit"])


def test_perfect_pits_have_no_calibration_error():
    assert msce(PERFECT) == pytest.approx(0, abs=1e-12)
    assert msce(np.full(10, 0.5)) == pytest.approx(np.mean((1 - np.array(MSCE_LEVELS)) ** 2))
    assert msce([0.0, 1.0]) == pytest.approx(np.mean(np.square(MSCE_LEVELS)))


def test_reliability_of_perfect_pits_lies_on_the_diagonal_inside_its_band():
    curve = reliability(PERFECT, LEVELS)
    assert curve["coverage"].tolist() == pytest.approx(LEVELS)
    assert (curve["low"] < curve["nominal"]).all()
    assert (curve["nominal"] < curve["high"]).all()
    half = 1.96 * np.sqrt(0.9 * 0.1 / 1000)
    assert curve["low"][2] == pytest.approx(0.9 - half, abs=2e-3)
    assert curve["high"][2] == pytest.approx(0.9 + half, abs=2e-3)


def test_points_of_one_series_do_not_narrow_the_band():
    one, many = reliability(PERFECT[:20]), reliability(PERFECT, series=np.repeat(np.arange(20), 50))
    pd.testing.assert_frame_equal(one[["low", "high"]], many[["low", "high"]])

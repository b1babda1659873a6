"""The answer, the reasons for doubt, tidy tables and printed summaries, on posteriors by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.forecasting.cautions import distances, doubts, main_reason, scale_column
from bayescale.model.findings import Check, Finding
from bayescale.units import format_flop

VALUES = {"E": 1.7, "A": 1.0, "B": 0.7, "alpha": 0.27, "beta": 0.24, "sigma": 0.02, "nu": 5.0}
KAPLAN = {"E": 1.7, "A": 1.3, "B": 1.2, "alpha_N": 0.27, "alpha_D": 0.23, "sigma": 0.02, "nu": 5.0}


@pytest.fixture
def runs(openlm):
    return openlm.query("dataset == 'c4'")


@pytest.fixture
def fit_of(by_hand, runs):
    """Make a fit with a little scatter in its draws, and with these findings."""

    def make(values=VALUES, law="chinchilla", findings=(), seed=1, spread=0.01) -> bs.Fit:
        rng = np.random.default_rng(seed)
        drawn = {k: v * np.exp(spread * rng.standard_normal((2, 60))) for k, v in values.items()}
        fit = by_hand(runs, law, drawn, draws=60)
        fit.__dict__["_check"] = Check(tuple(findings), None)
        return fit

    return make


@pytest.fixture
def pair(fit_of):
    """An average of two laws that disagree far from the runs."""
    other = fit_of({**KAPLAN, "E": 1.2}, "kaplan_floor", seed=2)
    return bs.Average({"chinchilla": fit_of(), "kaplan_floor": other},
                      {"chinchilla": 0.4, "kaplan_floor": 0.6})  # fmt: skip


def largest(runs) -> float:
    return float(runs.table["C"].max())


# -- the answer --------------------------------------------------------------------------------


def test_a_forecast_begins_with_the_loss_its_interval_and_the_doubt(fit_of, runs):
    ahead = bs.forecast(fit_of(), N="7B", D="1.4T")
    low, middle, high = np.quantile(ahead.data["loss"], [0.05, 0.5, 0.95])
    times = 6 * 7e9 * 1.4e12 / largest(runs)
    answer = (
        "A run of 7B parameters on 1.4T tokens (5.88e22 FLOP) would reach a loss of "
        f"{middle:.3f}, with 90 % probability between {low:.3f} and {high:.3f}."
    )
    doubt = f"Main reason for doubt: the run has {times:.3g} times the compute of the largest"
    assert ahead.bottom_line().startswith(f"{answer} {doubt}")
    assert repr(ahead).startswith(ahead.bottom_line())
    assert "with 80 % probability" in ahead.bottom_line(0.8)


def test_of_several_runs_the_answer_is_about_the_largest(fit_of):
    ahead = bs.forecast(fit_of(), C=["1e20", "1e22", "1e21"])
    assert ahead.bottom_line().startswith("Of these 3 runs, the largest, ")
    assert "(1e22 FLOP), would reach" in ahead.bottom_line()


@pytest.mark.parametrize("average", [False, True])
def test_forecast_and_allocation_of_one_budget_give_one_interval(fit_of, pair, average):
    fit = pair if average else fit_of()
    ahead, split = bs.forecast(fit, C="1e22"), bs.allocate(fit, "1e22")
    for name, other in (("loss", "loss_new_run"), ("mean", "loss_decision")):
        of_split = split.data[other].rename(budget="point")
        assert np.allclose(ahead.data[name], of_split, rtol=1e-12, atol=0)
    loss = ahead.bottom_line().split("would reach a loss of ")[1]
    assert split.bottom_line().split("would reach a loss of ")[1] == loss


@pytest.mark.parametrize("average", [False, True])
def test_a_run_has_one_forecast_alone_and_among_others(fit_of, pair, average):
    """Near the runs and beyond them; a repeated run has noise of its own."""
    fit = pair if average else fit_of()
    points = pd.DataFrame({"N": [3e8, 7e9, 2e10, 7e9], "D": [2e10, 1e12, 1.4e12, 1e12]})
    among = bs.forecast(fit, points).data
    for i in range(3):
        alone = bs.forecast(fit, points.iloc[[i]]).data
        for name in ("law", "mean", "loss"):
            one, other = alone[name][..., 0], among[name][..., i]
            assert np.allclose(one, other, rtol=1e-9, atol=0), (name, i)
    assert np.allclose(among["mean"][..., 1], among["mean"][..., 3], rtol=1e-9, atol=0)
    noise = np.log(among["loss"] / among["mean"])
    both = np.corrcoef(noise[..., 1].to_numpy().ravel(), noise[..., 3].to_numpy().ravel())
    assert abs(both[0, 1]) < 0.1


def test_an_average_answers_for_ten_times_the_largest_run(pair, runs):
    row = runs.table.loc[runs.table["C"].idxmax()]
    ahead = bs.forecast(pair, N=row["N"] * 10**0.5, D=row["D"] * 10**0.5)
    expected = ahead.bottom_line().split("would reach a loss of ")[1].split(". Main")[0]
    assert pair.bottom_line().startswith("At ten times the compute of the largest run, a run of ")
    assert expected in pair.bottom_line()
    assert repr(pair).startswith(pair.bottom_line())


def test_an_allocation_says_under_what_its_regret_is_expected(fit_of, pair):
    assert "expected regret" in repr(bs.allocate(pair, "1e22"))
    assert repr(bs.allocate(pair, "1e22")).endswith("under the average")
    assert repr(bs.allocate(fit_of(), "1e22")).endswith("under the law")


@pytest.mark.parametrize("make", [lambda f: bs.forecast(f, C="1e22"),
                                  lambda f: bs.allocate(f, "1e22"), lambda f: f])  # fmt: skip
def test_notebooks_show_the_answer_and_a_table(pair, make):
    result = make(pair)
    html = result._repr_html_()
    first = result.bottom_line().split(" with ")[0]
    assert html.startswith(f"<p><strong>{first}")
    assert "<table>" in html


# -- reasons for doubt -------------------------------------------------------------------------


def test_the_most_serious_reason_comes_first(fit_of):
    failed = Finding("misfit", "failed", "the residuals bend")
    prior = Finding("design", "caution", "N and D rise together")
    other = Finding("outlier", "caution", "row 3 is far")
    texts = ("FAILED its check (misfit: the residuals bend)", "N and D rise together", "row 3")
    for ahead in (
        bs.forecast(fit_of(findings=(other, prior, failed)), C="1e22"),
        bs.allocate(fit_of(findings=(other, prior, failed)), "1e22"),
    ):
        found = [next(i for i, c in enumerate(ahead.cautions()) if text in c) for text in texts]
        assert found == sorted(found)
        assert found[0] == 0
        assert ahead.bottom_line().endswith(f"{ahead.cautions()[0]}.")


def test_doubtful_units_are_the_main_reason(fit_of, by_hand, runs):
    note = (
        "D / N: the median is 0.02 ...: is 'D' in thousands? If all counts are absolute, pass ..."
    )
    drawn = {k: np.full((2, 60), v) for k, v in VALUES.items()}
    doubted = by_hand(replace(runs, notes=(note, "another")), "chinchilla", drawn, draws=60)
    doubted.__dict__["_check"] = Check((), None)
    for verb in (bs.forecast, bs.allocate):
        assert f"Main reason for doubt: {note}" in verb(doubted, C="1e23").bottom_line()
        assert note not in verb(fit_of(), C="1e23").bottom_line()


def test_laws_that_disagree_are_a_reason(pair, fit_of):
    (reason,) = [c for c in bs.forecast(pair, C="1e22").cautions() if "disagree" in c]
    assert "chinchilla" in reason
    assert "kaplan_floor" in reason
    alike = bs.Average({"a": fit_of(), "b": fit_of(seed=3)}, {"a": 0.5, "b": 0.5})
    assert not [c for c in bs.forecast(alike, C="1e22").cautions() if "disagree" in c]


def test_a_law_of_little_weight_does_not_disagree(pair):
    light = bs.Average(pair.fits, {"chinchilla": 0.97, "kaplan_floor": 0.03})
    assert not [c for c in bs.forecast(light, C="1e22").cautions() if "disagree" in c]


def test_cautions_of_a_light_law_are_left_out(fit_of):
    odd = Finding("design", "caution", "odd design")
    light = fit_of(KAPLAN, "kaplan_floor", findings=(odd,))
    both = bs.Average({"chinchilla": fit_of(), "kaplan_floor": light},
                      {"chinchilla": 0.9, "kaplan_floor": 0.1})  # fmt: skip
    assert not [c for c in both.cautions() if "odd design" in c]


POINT = {"N": 1e9, "D": 2e10}
DESIGN = Finding("design", "caution", "odd design")
OUTLIER = Finding("outlier", "caution", "odd row")


@pytest.mark.parametrize(
    ("times", "order"),
    [
        (101, ["times the compute", "odd design", "odd row", "a small model"]),
        (99, ["odd design", "times the compute", "odd row", "a small model"]),
        (3, ["odd design", "times the compute", "odd row", "a small model"]),
        (2.9, ["odd design", "odd row", "times the compute", "a small model"]),
        (1.6, ["odd design", "odd row", "times the compute", "a small model"]),
        (1.5, ["odd design", "odd row", "a small model"]),
    ],
)
def test_distance_is_a_reason_by_how_far_it_is(fit_of, times, order):
    fits = {"chinchilla": fit_of(findings=(OUTLIER, DESIGN))}
    weights = {"chinchilla": 1.0}
    reasons = doubts(fits, weights, POINT, None, 0.1, ("a small model",), times)
    assert len(reasons) == len(order)
    assert all(text in reason for text, reason in zip(order, reasons, strict=True))
    assert main_reason(reasons) == f"Main reason for doubt: {reasons[0]}."
    assert ("say little about how far" in " ".join(reasons)) == (times > 100)


def test_without_a_reason_the_sentence_says_so(fit_of):
    reasons = doubts({"chinchilla": fit_of()}, {"chinchilla": 1.0}, POINT, None, 0.1)
    assert reasons == ()
    assert main_reason(reasons).startswith("No reason for doubt was found")


@pytest.mark.parametrize("name", ["design", "information", "runs", "prior"])
def test_findings_about_the_priors_come_before_the_others(fit_of, name):
    fits = {"chinchilla": fit_of(findings=(OUTLIER, Finding(name, "caution", "few runs")))}
    first, second = doubts(fits, {"chinchilla": 1.0}, POINT, None, 0.1)
    assert first == f"{name} check: few runs"
    assert second == "outlier check: odd row"


def test_of_many_laws_of_small_weight_the_heaviest_gives_its_reasons(fit_of):
    fits = {name: fit_of(findings=(Finding("outlier", "caution", f"row of {name}"),))
            for name in "abcde"}  # fmt: skip
    weights = {"a": 0.18, "b": 0.24, "c": 0.2, "d": 0.19, "e": 0.19}
    assert doubts(fits, weights, POINT, None, 0.1) == ("outlier check of b: row of b",)


@pytest.mark.parametrize(("share", "of"), [(0.3, ""), (0.2, " of heavy")])
def test_a_law_of_a_quarter_of_the_weight_gives_its_reasons(fit_of, share, of):
    fits = {name: fit_of(findings=(OUTLIER,)) for name in ("heavy", "light")}
    reasons = doubts(fits, {"heavy": 1 - share, "light": share}, POINT, None, 0.1)
    assert reasons == (f"outlier check{of}: odd row",)


def test_equal_reasons_are_given_once(fit_of):
    fit = fit_of(findings=(OUTLIER, OUTLIER))
    assert len(doubts({"chinchilla": fit}, {"chinchilla": 1.0}, POINT, None, 0.1)) == 1


@pytest.mark.parametrize(("share", "disagree"), [(0.9, True), (1.1, False)])
def test_laws_disagree_if_they_differ_by_half_of_the_interval(fit_of, share, disagree):
    fits = {"one": fit_of(), "other": fit_of({**VALUES, "E": 1.9})}
    losses = [bs.forecast(f, **{k: [v] for k, v in POINT.items()}, drift="off").data["mean"]
              for f in fits.values()]  # fmt: skip
    spread = float(np.log(losses[1].mean() / losses[0].mean()))
    reasons = doubts(fits, {"one": 0.5, "other": 0.5}, POINT, None, 2 * spread * share)
    assert bool(reasons) == disagree
    if disagree:
        assert f"the laws disagree by {100 * np.expm1(spread):.1f} %" in reasons[0]


def test_within_the_runs_there_is_nothing_to_doubt(fit_of):
    assert bs.forecast(fit_of(), N="400M", D="8B").bottom_line().endswith(main_reason(()))


# -- warnings of extrapolation -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("share_of", "factor", "message"),
    [("max", 200, "1 point lies beyond 100 times"), ("min", 1 / 200, "more than 100 times below")],
)
@pytest.mark.parametrize("verb", [bs.forecast, bs.allocate])
def test_both_verbs_warn_far_beyond_and_far_below(fit_of, runs, verb, share_of, factor, message):
    budget = factor * float(getattr(runs.table["C"], share_of)())
    with pytest.warns(bs.ExtrapolationWarning, match=message) as caught:
        verb(fit_of(), C=budget)
    assert caught[0].filename == __file__


def test_a_warning_about_several_runs_names_the_farthest(fit_of, runs):
    """The answer may be about another of them, as with several probabilities of a target."""
    largest = float(runs.table["C"].max())
    (text,) = distances(fit_of(), {"C": largest * np.array([50.0, 250.0])})
    assert f"(up to 250 times, at {format_flop(250 * largest)} FLOP)" in text
    (text,) = distances(fit_of(), {"C": largest * np.array([250.0])})
    assert "(up to 250 times)" in text


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
@pytest.mark.parametrize("verb", [bs.forecast, bs.allocate])
def test_very_far_beyond_the_runs_the_answer_is_conditional(fit_of, pair, runs, verb):
    far = verb(fit_of(), C=4.81e6 * largest(runs)).bottom_line()
    assert far.startswith("If the law holds 4.8 million times beyond the largest run, which no run")
    assert verb(pair, C=2e4 * largest(runs)).bottom_line().startswith("If the laws hold 20,000 ")
    assert not verb(pair, C=5e3 * largest(runs)).bottom_line().startswith("If")


def test_one_law_says_how_much_drift_its_interval_allows_for(fit_of, pair, runs):
    def of_one_law(result) -> list[str]:
        return [c for c in result.cautions() if "one law was fitted" in c]

    fit, far = fit_of(), 50 * float(runs.table["C"].max())
    for result in (bs.forecast(fit, C=far), bs.allocate(fit, C=far)):
        (text,) = of_one_law(result)
        assert "(about 0.06) than that of several laws (0.03)" in text
        assert text not in result.bottom_line()
    assert f"note: {text}" in repr(bs.forecast(fit, C=far))
    given = replace(fit, plan=replace(fit.plan, ahead=bs.Positive(0.1)))
    given.__dict__["_check"] = fit.check()
    for result in (
        bs.forecast(fit, C="1e20"),
        bs.forecast(fit, C=far, drift="off"),
        bs.forecast(given, C=far),
        bs.forecast(pair, C=far),
    ):
        assert not of_one_law(result)
        assert "one law was fitted" not in repr(result)


def test_models_below_the_smallest_are_reported(fit_of, runs):
    smallest, C = float(runs.table["N"].min()), float(runs.table["C"].median())
    with pytest.warns(bs.ExtrapolationWarning, match="less than a tenth of the parameters"):
        bs.forecast(fit_of(), N=smallest / 20, C=C)
    for share, reported in ((0.09, 1), (0.11, 0), (0.5, 0)):
        place = {"N": np.array([share * smallest]), "C": np.array([C])}
        assert len(distances(fit_of(), place)) == reported
    assert distances(fit_of(), {"C": np.array([C])}) == []


def test_distance_is_measured_in_compute_or_in_the_first_column_of_the_law(fit_of, by_hand, runs):
    place = {c: np.array([1.0]) for c in ("N", "D", "C")}
    assert scale_column(fit_of(), place) == "C"
    assert scale_column(fit_of(), {"N": place["N"], "D": place["D"]}) == "N"
    of_tokens = bs.Runs.from_frame(runs.table[["D", "loss"]])
    values = {"E": 1.7, "A": 1.0, "alpha": 0.3, "sigma": 0.02, "nu": 5.0}
    assert scale_column(by_hand(of_tokens, "power(D)", values), place) == "D"


@pytest.mark.parametrize(("factor", "reported"), [(1 / 101, 1), (1 / 99, 0), (0.5, 0)])
def test_points_far_below_the_runs_are_reported(fit_of, runs, factor, reported):
    smallest = float(runs.table["C"].min())
    assert len(distances(fit_of(), {"C": np.array([factor * smallest])})) == reported


# -- tables ------------------------------------------------------------------------------------


def test_summaries_print_medians_and_bounds_within_100_columns(fit_of, pair, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    summaries = [
        bs.forecast(pair, C=["1e20", "1e22"]).summary(),
        bs.allocate(pair, ["1e20", "1e22"]).summary(),
        fit_of().summary(),
        pair.summary(),
        bs.regret(fit_of(), "7B", "1T").summary(),
    ]
    for frame in summaries:
        text = str(frame)
        assert max(map(len, text.splitlines())) <= 100
        assert "\n\n" not in text  # in one block
        assert "..." not in text
    ahead = summaries[0]
    bounds = [f"{ahead[c].iloc[1]:#.4g}" for c in ("loss", "loss_eti90_lb", "loss_eti90_ub")]
    assert f"{bounds[0]} ({bounds[1]} to {bounds[2]})" in str(ahead)
    assert "loss (90 %)" in str(ahead)


def test_numbers_of_a_summary_are_not_rounded(fit_of):
    ahead = bs.forecast(fit_of(), C=["1e20", "1e22"])
    assert ahead.summary()["loss"][1] == float(ahead.data["loss"].isel(point=1).median())


def test_tidy_tables_have_draws_or_intervals(fit_of):
    ahead = bs.forecast(fit_of(), C=["1e20", "1e22"])
    split = bs.allocate(fit_of(), ["1e20", "1e22"])
    for result, variable, place in ((ahead, "loss", "point"), (split, "N", "budget")):
        draws = result.to_dataframe()
        assert len(draws) == 2 * 60 * 2
        assert {"chain", "draw", "C", variable} <= set(draws)
        one = draws[(draws["C"] == 1e22) & (draws["chain"] == 1) & (draws["draw"] == 7)]
        expected = result.data[variable].isel({"chain": 1, "draw": 7, place: 1})
        assert one[variable].item() == float(expected)
        tidy = result.to_dataframe("summary", 0.8)
        row = tidy[(tidy["C"] == 1e22) & (tidy["variable"] == variable)].iloc[0]
        frame = result.summary(0.8)
        names = [variable, f"{variable}_eti80_lb", f"{variable}_eti80_ub"]
        assert row[["median", "lower", "upper"]].tolist() == frame.loc[1, names].tolist()
        assert (row["ci_prob"], row["ci_kind"]) == (0.8, "eti")
        with pytest.raises(bs.FitError, match="there is no table 'long'"):
            result.to_dataframe("long")


def test_small_losses_keep_their_digits(by_hand, runs):
    small = bs.Runs.from_frame(
        runs.table[["N", "D"]].assign(loss=runs.table["loss"] / 400), loss_unit="squared error"
    )
    values = {**VALUES, "E": 0.005, "A": 0.002, "B": 0.001}
    rng = np.random.default_rng(1)
    drawn = {k: v * np.exp(0.01 * rng.standard_normal((2, 60))) for k, v in values.items()}
    fit = by_hand(small, "chinchilla", drawn, draws=60)
    middle = float(bs.forecast(fit, N="7B", D="140B").data["loss"].median())
    answer = bs.forecast(fit, N="7B", D="140B").bottom_line()
    assert f"a loss of {middle:#.3g}, with" in answer
    assert len(f"{middle:#.3g}") >= 7

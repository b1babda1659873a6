"""Forecasts: exact where a posterior is a point, refused where the question is unclear."""

from __future__ import annotations

import inspect
import itertools
from functools import partial

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm, t

import bayescale as bs
from bayescale import laws
from bayescale.laws.base import Published

forecast = partial(bs.forecast, random_seed=1)
NOISE = {"sigma": 1e-12, "nu": 5.0}
PLAIN = pd.DataFrame({"N": [1e8, 1e9, 1e10] * 3, "D": np.repeat([1e9, 1e10, 1e11], 3), "loss": 3.0})
LARGEST = 6 * 1e10 * 1e11


@pytest.fixture(scope="module")
def plain():
    """A table without known measurement errors."""
    return bs.Runs.from_frame(PLAIN)


@pytest.fixture
def fit(by_hand, plain):
    """Hoffmann's constants, and next to no noise."""
    raw = laws.chinchilla.published["hoffmann2022"].values
    return by_hand(
        plain,
        "chinchilla",
        {
            **raw,
            "A": raw["A"] * plain.scales["N"] ** -raw["alpha"],
            "B": raw["B"] * plain.scales["D"] ** -raw["beta"],
            **NOISE,
        },
    )


@pytest.fixture
def grouped(by_hand, openlm):
    """Three corpora that differ in E; nothing else is uncertain."""
    pool = dict.fromkeys(("A", "B", "alpha", "beta", "sigma"), "complete")
    values = {
        "E": 1.8,
        "A": 0.5,
        "B": 0.6,
        "alpha": 0.3,
        "beta": 0.25,
        "sigma": 0.01,
        "nu": 5.0,
        "E_dataset": [1.6, 1.8, 2.0],
        "E_dataset_scale": 0.1,
    }
    return by_hand(openlm, "chinchilla", values, groups="dataset", pool=pool)


def hoffmann(N, D):
    return 1.69 + 406.4 * np.asarray(N) ** -0.34 + 410.7 * np.asarray(D) ** -0.28


def means(forecast: bs.Forecast) -> np.ndarray:
    """The law's loss at every point, the same in all draws."""
    draws = forecast.data["law"].to_numpy().reshape(-1, forecast.data.sizes["point"])
    assert np.ptp(draws, axis=0) == pytest.approx(0, abs=1e-13)
    return draws[0]


# -- where the law lies ------------------------------------------------------------------------


def test_chinchilla_forecasts_what_its_constants_say(fit):
    N, D = np.array([1e8, 1e9, 1e10]), np.array([1e9, 1e10, 3e10])
    assert means(forecast(fit, N=N, D=D)) == pytest.approx(hoffmann(N, D), rel=1e-12)


def test_kaplan_forecasts_what_its_constants_say(by_hand, plain):
    raw = laws.kaplan.published["kaplan2020"].values
    fit = by_hand(
        plain,
        "kaplan",
        {
            **raw,
            "A": raw["A"] * plain.scales["N"] ** -raw["alpha_N"],
            "B": raw["B"] * plain.scales["D"] ** -raw["alpha_D"],
            **NOISE,
        },
    )
    N, D = np.array([1e8, 1e10]), np.array([1e9, 3e10])
    expected = ((6.4e13 / N) ** (0.076 / 0.103) + 1.8e13 / D) ** 0.103
    assert means(forecast(fit, N=N, D=D)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("column", "NDC")
def test_a_power_law_needs_its_own_column_only(by_hand, plain, column):
    values = {"E": 1.5, "A": 2.0, "alpha": 0.25, **NOISE}
    fit = by_hand(plain, f"power({column})", values)
    x = plain.scales[column] * np.array([1.0, 16.0])
    ahead = forecast(fit, **{column: x})
    assert means(ahead) == pytest.approx([3.5, 2.5], rel=1e-12)
    assert set(ahead.data.coords) == {"chain", "draw", column, "extrapolation"}


def test_a_law_of_ones_own_is_forecast_in_its_own_column(by_hand):
    def loss(D, depth, *, A, x, k):
        return A * D**-x * depth**-k

    priors = dict.fromkeys(("A", "x", "k"), bs.Positive(1.0))
    law = bs.Law(
        "depth",
        loss,
        priors,
        "an example",
        published={"one": Published("one", {"A": 8.0, "x": 0.1, "k": 0.05}, "none")},
    )
    runs = bs.Runs.from_frame(PLAIN.assign(depth=np.arange(1.0, 10.0)))
    fit = by_hand(runs, law, {"A": 3.0, "x": 0.1, "k": 0.05, **NOISE})
    middle = np.exp(np.log(np.arange(1.0, 10.0)).mean())
    D, depth = [1e9, 1e10], [1, 4]
    expected = 3 * (np.array(D) / runs.scales["D"]) ** -0.1 * (np.array(depth) / middle) ** -0.05
    ahead = forecast(fit, D=D, depth=depth)
    assert means(ahead) == pytest.approx(expected, rel=1e-12)
    framed = forecast(fit, pd.DataFrame({"D": D, "depth": depth}))
    assert framed.data.identical(ahead.data)
    with pytest.raises(bs.FitError, match="needs D, depth, and depth cannot be derived from D"):
        forecast(fit, D=D)


# -- points ------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["ND", "NC", "DC", "NDC"])
@pytest.mark.parametrize("factor", [6.0, 7.0])
def test_any_two_of_three_counts_give_the_third(by_hand, given, factor):
    own = PLAIN.assign(C=factor * PLAIN["N"] * PLAIN["D"])
    fit = by_hand(
        bs.Runs.from_frame(own),
        "chinchilla",
        {"E": 1.7, "A": 0.4, "B": 0.4, "alpha": 0.3, "beta": 0.3, **NOISE},
    )
    whole = {"N": 7e9, "D": 2e10, "C": factor * 7e9 * 2e10}
    data = forecast(fit, **{c: whole[c] for c in given}).data
    assert {c: float(data[c][0]) for c in "NDC"} == pytest.approx(whole, rel=1e-12)


def test_counts_are_read_as_people_write_them(fit):
    written = forecast(fit, N=["7B", "410M"], D="0.14T").data
    assert written.identical(forecast(fit, N=[7e9, 4.1e8], D=1.4e11).data)


def test_one_value_goes_with_many(fit):
    D = np.array([1e9, 1e10, 2e10])
    for N in (1e9, [1e9], "1B", np.float64(1e9)):
        ahead = forecast(fit, N=N, D=D)
        assert ahead.data["N"].to_numpy().tolist() == [1e9] * 3
        assert means(ahead) == pytest.approx(hoffmann(1e9, D), rel=1e-12)


def test_a_frame_gives_the_same_as_keywords(grouped):
    frame = pd.DataFrame(
        {
            "dataset": ["c4", "refinedweb", None],
            "N": ["1B", 2e9, 3e9],
            "D": [2e10, 1e10, 1e10],
            "remark": "unused",
        },
        index=[7, 7, 9],
    )
    framed = forecast(grouped, frame)
    by_keywords = forecast(
        grouped, N=[1e9, 2e9, 3e9], D=[2e10, 1e10, 1e10], group=["c4", "refinedweb", None]
    )
    assert framed.data.identical(by_keywords.data)
    assert framed.data["dataset"].to_numpy().tolist() == ["c4", "refinedweb", bs.NEW]
    everywhere = forecast(grouped, frame[["N", "D"]], group="c4")
    assert set(everywhere.data["dataset"].to_numpy()) == {"c4"}


def test_groups_have_their_own_law_and_a_new_one_scatters(grouped):
    at = {"N": [1e9] * 4, "D": 2e10}
    mean = forecast(grouped, **at, group=["c4", "redpajama", "refinedweb", None]).data["mean"]
    away = mean - mean.isel(point=1)
    assert away.isel(point=0).to_numpy() == pytest.approx(-0.2)
    assert away.isel(point=2).to_numpy() == pytest.approx(0.2)
    assert 0.1 < float(away.isel(point=3).std()) < 0.3
    for group in ("c4", {"dataset": "c4"}, np.array(["c4"] * 4)):
        assert np.array_equal(
            forecast(grouped, **at, group=group).data["mean"].isel(point=0), mean.isel(point=0)
        )


def test_compute_alone_takes_the_best_split(fit):
    budgets = [1e20, 1e21]
    ahead, split = bs.forecast(fit, C=budgets).data, bs.allocate(fit, budgets).data
    for c in "ND":
        assert np.array_equal(ahead[c], split[f"{c}_decision"])
    assert np.allclose(ahead["mean"], split["loss_decision"].to_numpy(), rtol=1e-9)


def test_compute_alone_takes_the_best_split_of_the_group(grouped):
    ahead = bs.forecast(grouped, C=1e21, group="refinedweb").data
    split = bs.allocate(grouped, 1e21, group="refinedweb").data
    assert float(ahead["N"][0]) == float(split["N_decision"][0])
    assert ahead["mean"].to_numpy() == pytest.approx(split["loss_decision"].to_numpy())


# -- what a new run measures -------------------------------------------------------------------


def test_without_noise_a_run_measures_the_law(fit):
    data = forecast(fit, N=[1e9, 2e9], D=1e10).data
    assert data["loss"].to_numpy() == pytest.approx(data["mean"].to_numpy(), rel=1e-9)
    assert not data["loss"].identical(data["mean"])


def scatter(runs, by_hand, sigma: float) -> float:
    """Width of the 90 % interval of log loss around the law, in standard deviations of a normal."""
    values = {"E": 1.7, "A": 0.4, "B": 0.4, "alpha": 0.3, "beta": 0.3, "sigma": sigma, "nu": 1e8}
    fit = by_hand(runs, "chinchilla", values, draws=1000)
    data = forecast(fit, N=[1e9] * 200, D=1e10).data
    low, high = np.quantile(np.log(data["loss"] / data["mean"]), [0.05, 0.95])
    assert low + high == pytest.approx(0, abs=0.02 * sigma)
    return (high - low) / 2 / norm.ppf(0.95)


def test_with_light_tails_the_interval_is_the_normal_one(by_hand, plain):
    assert scatter(plain, by_hand, 0.1) == pytest.approx(0.1, rel=0.01)


def test_a_known_measurement_error_adds_in_quadrature(by_hand):
    runs = bs.Runs.from_frame(PLAIN.assign(loss_sd=0.03 * PLAIN["loss"]))
    assert scatter(runs, by_hand, 0.04) == pytest.approx(0.05, rel=0.01)


def test_heavy_tails_stay_finite(by_hand, plain):
    values = {"E": 1.7, "A": 0.4, "B": 0.4, "alpha": 0.3, "beta": 0.3, "sigma": 0.5, "nu": 0.05}
    loss = forecast(by_hand(plain, "chinchilla", values), N=[1e9] * 50, D=1e10).data["loss"]
    assert np.isfinite(loss).all()
    assert (loss > 0).all()


def test_noise_follows_the_seed(grouped):
    def ahead(seed=None):
        return forecast(grouped, N=1e9, D=2e10, random_seed=seed)

    assert ahead(3).data.identical(ahead(3).data)
    assert ahead().random_seed == grouped.random_seed
    assert ahead().data.identical(ahead(grouped.random_seed).data)
    assert not (ahead(3).data["loss"] == ahead(4).data["loss"]).any()
    assert not (ahead(3).data["mean"] == ahead(4).data["mean"]).any()
    assert ahead(3).random_seed == 3


def test_chances_to_beat_a_loss_are_shares_of_draws(by_hand, plain):
    losses = np.linspace(2.0, 2.95, 20).reshape(2, 10)
    fit = by_hand(plain, "power(D)", {"E": losses, "A": 1e-9, "alpha": 0.1, **NOISE})
    ahead = forecast(fit, D=[1e9, 1e10])
    assert ahead.beats(2.24).tolist() == [0.25, 0.25]
    assert ahead.beats([1.9, 2.49]).tolist() == [0.0, 0.5]
    assert ahead.beats(3).tolist() == [1.0, 1.0]
    for wrong in ([2.1, 2.2, 2.3], "low", {}):
        with pytest.raises(bs.FitError, match="one number, or one for each of the 2 points"):
            ahead.beats(wrong)


def test_the_density_of_a_loss_is_that_of_the_noise_averaged_over_draws(by_hand, plain):
    """Per unit of loss, not of log loss."""
    floors = np.array([[2.0], [3.0]])
    values = {"E": floors, "A": 1e-9, "alpha": 0.1, "sigma": 0.1, "nu": 4.0}
    fit = by_hand(plain, "power(D)", values, draws=1)
    density = forecast(fit, D=[1e9, 1e10], drift="off").log_density([2.2, 2.8])
    expected = [
        np.log(np.mean([t.pdf(np.log(x / e), 4, scale=0.1) / x for e in (2.0, 3.0)]))
        for x in (2.2, 2.8)
    ]
    assert density == pytest.approx(expected, abs=1e-6)


def test_half_of_new_runs_beat_the_law(by_hand, plain):
    values = {"E": 1.7, "A": 0.4, "B": 0.4, "alpha": 0.3, "beta": 0.3, "sigma": 0.02, "nu": 4.0}
    fit = by_hand(plain, "chinchilla", values, draws=5000)
    ahead = forecast(fit, N=1e9, D=1e10)
    assert ahead.beats(means(ahead)[0])[0] == pytest.approx(0.5, abs=0.02)


# -- how far out -------------------------------------------------------------------------------


def test_distance_is_in_multiples_of_the_largest_run(fit):
    data = forecast(fit, C=LARGEST * np.array([0.5, 1.0, 99.0]), N=1e10).data
    assert data["extrapolation"].to_numpy() == pytest.approx([0.5, 1.0, 99.0], rel=1e-12)


def test_without_compute_distance_is_along_the_column(by_hand, plain):
    fit = by_hand(plain, "power(D)", {"E": 1.5, "A": 2.0, "alpha": 0.25, **NOISE})
    data = forecast(fit, D=3 * PLAIN["D"].max()).data
    assert float(data["extrapolation"][0]) == pytest.approx(3, rel=1e-12)


def test_beyond_a_hundred_times_the_largest_run_a_forecast_warns(fit):
    with pytest.warns(bs.ExtrapolationWarning) as caught:
        forecast(fit, C=LARGEST * np.array([99, 101, 250]), N=1e10)
    assert str(caught[0].message).startswith(
        "2 points lie beyond 100 times the largest fitted run (up to 250 times, at "
    )
    assert caught[0].filename == __file__


# -- saying it ---------------------------------------------------------------------------------


def test_the_summary_places_each_point_and_says_what_is_expected(c4_fit):
    ahead = forecast(c4_fit, N=["1B", "7B"], D="140B")
    frame = ahead.summary(0.8, "hdi")
    assert list(frame) == [
        "N",
        "D",
        "C",
        "extrapolation",
        "mean",
        "mean_hdi80_lb",
        "mean_hdi80_ub",
        "loss",
        "loss_hdi80_lb",
        "loss_hdi80_ub",
    ]
    assert frame["C"].tolist() == [6 * 1e9 * 1.4e11, 6 * 7e9 * 1.4e11]
    for v in ("mean", "loss"):
        draws = ahead.data[v].to_numpy().reshape(-1, 2)
        assert frame[v].to_numpy() == pytest.approx(np.median(draws, axis=0))
        inside = (draws >= frame[f"{v}_hdi80_lb"].to_numpy()) & (
            draws <= frame[f"{v}_hdi80_ub"].to_numpy()
        )
        assert inside.mean(axis=0) == pytest.approx(0.8, abs=0.001)


def test_a_forecast_describes_itself(openlm_fit):
    ahead = forecast(openlm_fit, N=["1B"] * 8, D="140B", group="c4")
    answer, head, first, *_, last = repr(ahead).splitlines()
    assert answer == ahead.bottom_line()
    assert head == "<Forecast by chinchilla for c4, 8 points>"
    assert first.startswith("  N 1B, D 140B, C 8.4e20: loss 2.")
    assert last == "  ..."
    mixed = forecast(openlm_fit, pd.DataFrame({"N": 1e9, "D": 1e10, "dataset": ["c4"] * 2}))
    assert repr(mixed).splitlines()[1] == "<Forecast by chinchilla, 2 points>"


def test_the_fitted_runs_lie_in_their_own_intervals(openlm_fit, openlm):
    frame = forecast(openlm_fit, openlm.table).summary(0.9)
    inside = (frame["loss_eti90_lb"] < openlm.table["loss"].to_numpy()) & (
        openlm.table["loss"].to_numpy() < frame["loss_eti90_ub"]
    )
    assert 0.8 < inside.mean() <= 1.0


# -- refusals ----------------------------------------------------------------------------------

FRAME = pd.DataFrame({"N": [1e9, 2e9], "D": [1e10, 2e10]})


@pytest.mark.parametrize(
    ("points", "keywords", "message"),
    [
        (None, {"N": [1, 2], "D": [1, 2, 3]}, r"differ in length \(N: 2, D: 3\)"),
        (None, {}, "needs N, D, and N, D cannot be derived from nothing"),
        (None, {"N": 1e9}, "needs N, D, and D cannot be derived from N"),
        (
            None,
            {"N": 1e9, "D": 1e10, "C": 1e21},
            "C differs by more than a factor of 2",
        ),
        (None, {"N": 1e9, "D": 1e10, "epochs": 2}, "no column 'epochs'. There are: N, D, C."),
        (None, {"N": "7 billion", "D": 1e10}, "N: '7 billion' is not a count"),
        (None, {"N": 1e9, "D": [1e10, -1]}, "D must be positive and finite"),
        (None, {"N": [], "D": 1e10}, "N must be positive and finite"),
        (None, {"N": 1e9, "D": 1e10, "group": "c4"}, "this fit has no groups"),
        (FRAME, {"C": 1e20}, "either as a DataFrame or by keyword, not both"),
        (FRAME, {"N": 1e9, "D": 1e9}, "either as a DataFrame or by keyword, not both"),
        (FRAME.iloc[:0], {}, "no rows"),
        (FRAME[["N"]], {}, "D cannot be derived from N"),
        (FRAME.assign(D=["1T", "many"]), {}, "D: 'many' is not a count"),
        (FRAME.assign(D=[1e10, np.nan]), {}, "D must be positive and finite"),
        (1e9, {"D": 1e10}, "must be a DataFrame, got float"),
        ([1e9], {}, "must be a DataFrame, got list"),
    ],
)
def test_unclear_points_are_refused(fit, points, keywords, message):
    with pytest.raises((bs.FitError, bs.LawError), match=message) as caught:
        forecast(fit, points, **keywords)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("points", "keywords", "message"),
    [
        (None, {"group": "pile"}, "no dataset 'pile'. There are: c4, redpajama, refinedweb"),
        (None, {"group": 3}, "no dataset '3'"),
        (None, {"group": ["c4", "redpyjama"]}, "no dataset 'redpyjama'. Did you mean 'redpajama'?"),
        (None, {"group": ["c4"]}, "1 labels of dataset for 2 points"),
        (None, {"group": ["c4"] * 3}, "3 labels of dataset for 2 points"),
        (None, {"group": {"corpus": "c4"}}, "no group column 'corpus'"),
        (FRAME.assign(dataset="c4"), {"group": "c4"}, "groups are given twice"),
        (FRAME.assign(dataset=["c4", "pile"]), {}, "no dataset 'pile'"),
    ],
)
def test_unknown_groups_are_refused(grouped, points, keywords, message):
    places = {} if points is not None else {"N": [1e9, 2e9], "D": 1e10}
    with pytest.raises(bs.FitError, match=message) as caught:
        forecast(grouped, points, **places, **keywords)
    assert len(caught.value.problems) == 1


def test_along_the_best_path_one_group_is_forecast_at_a_time(grouped):
    frame = pd.DataFrame({"C": [1e20, 1e21], "dataset": ["c4", "refinedweb"]})
    for ask in (
        lambda: forecast(grouped, frame),
        lambda: forecast(grouped, C=[1e20, 1e21], group=["c4", "refinedweb"]),
        lambda: bs.allocate(grouped, [1e20, 1e21], group=["c4", "refinedweb"]),
        lambda: bs.regret(grouped, [1e9, 2e9], 1e10, group=["c4", "refinedweb"]),
    ):
        with pytest.raises(
            bs.FitError,
            match="labels of dataset are given, but budgets are",
        ):
            ask()


def test_one_run_can_be_asked_of_several_groups(openlm_fit):
    corpora = ["c4", "redpajama"]
    both = forecast(openlm_fit, N="7B", D="140B", group=corpora)
    assert both.data.sizes["point"] == 2
    for i, corpus in enumerate(corpora):
        alone = forecast(openlm_fit, N="7B", D="140B", group=corpus)
        assert np.array_equal(both.data["law"][..., i], alone.data["law"][..., 0])


def test_the_parameters_of_a_series_are_those_of_its_run(by_hand):
    table = pd.DataFrame({"N": [1e8] * 4 + [4e8] * 4, "D": [1e9, 2e9, 4e9, 8e9] * 2})
    runs = bs.Runs.from_frame(table.assign(loss=3.0, series=["a"] * 4 + ["b"] * 4))
    values = dict(E=1.5, A=0.6, B=0.5, alpha=0.4, beta=0.3, sigma=0.01)
    fit = by_hand(runs, "chinchilla", values | {"drift": 0.01, "memory": 0.1})
    found = bs.forecast(fit, D=16e9, series="b", random_seed=1).data
    assert found["N"].to_numpy().tolist() == [4e8]
    with pytest.raises(bs.FitError, match=r"series 'b' has 400M parameters.*leave out N"):
        bs.forecast(fit, N=1e9, D=16e9, series="b")


def test_series_may_be_a_column_of_the_points_or_a_keyword(by_hand):
    runs = bs.Runs.from_frame(PLAIN.assign(series=[*"aab", *"bcc", *"dde"]))
    values = {"E": 1.7, "A": 0.4, "B": 0.4, "alpha": 0.3, "beta": 0.3, "sigma": 0.01, "nu": 5.0}
    fit = by_hand(runs, "chinchilla", {**values, "memory": 0.1}, drift="ahead")
    frame = FRAME.assign(series=["a", None])
    inside, keyword = forecast(fit, frame).data, forecast(fit, FRAME, series=["a", None]).data
    assert inside.identical(keyword)
    assert inside["series"].to_numpy().tolist() == ["a", ""]
    with pytest.raises(bs.FitError, match="series are given both in the column"):
        forecast(fit, frame, series="a")


def test_an_unknown_drift_is_refused(fit):
    for wrong in ("on", True, False, None, "ahead"):
        with pytest.raises(bs.FitError, match=r"no drift .* There are: auto, off\."):
            forecast(fit, N=1e9, D=1e10, drift=wrong)


def test_drift_widens_the_mean_beyond_the_runs_only(fit):
    C = LARGEST * np.array([1e-3, 30.0])
    drifting, straight = (
        np.log(forecast(fit, N=1e10, C=C, drift=drift).data["mean"]).std(("chain", "draw"))
        for drift in ("auto", "off")
    )
    assert (straight < 1e-12).all()
    assert drifting[0] < 1e-12
    assert drifting[1] > 1e-3


# -- dispatch ----------------------------------------------------------------------------------


def test_what_cannot_be_forecast_from_is_refused(plain):
    with pytest.raises(bs.FitError, match="cannot forecast from Runs: give a Fit or an Average"):
        forecast(plain, N=1e9, D=1e10)


def test_other_results_can_be_registered():
    class Curve:
        pass

    @bs.forecast.register(Curve)
    def _(curve, *, x):
        return x + 1

    assert bs.forecast(Curve(), x=2) == 3
    with pytest.raises(bs.FitError, match=r"or one of .*Curve"):
        bs.forecast(None)
    parameters = inspect.signature(bs.forecast).parameters
    assert list(parameters)[:2] == ["fit", "points"]
    assert parameters["drift"].default == "auto"


# -- decomposition -----------------------------------------------------------------------------


def made_by_hand(law, mean, loss) -> bs.Forecast:
    """A forecast of one point, from logs of factors on a loss of 2."""
    draws = {"law": law, "mean": mean, "loss": loss}
    data = {k: (("chain", "draw", "point"), 2.0 * np.exp([v])[..., None]) for k, v in draws.items()}
    return bs.Forecast(xr.Dataset(data), xr.Dataset(), "none", "", 0, None)


def test_shares_of_the_width_are_of_squared_widths():
    """Independent parts with widths in the ratio 3 : 4 : 12."""
    sign = np.array(list(itertools.product([-1.0, 1.0], repeat=3))).T
    law = 0.03 * sign[0]
    mean = law + 0.04 * sign[1]
    loss = mean + 0.12 * sign[2]
    frame = made_by_hand(law, mean, loss).decompose(0.999999)
    assert list(frame) == ["width", "parameters", "drift", "noise"]
    assert frame.iloc[0, 1:].tolist() == pytest.approx([9 / 169, 16 / 169, 144 / 169], rel=1e-4)
    assert frame["width"][0] == pytest.approx(2 * 0.19, rel=1e-4)


def test_without_any_width_all_shares_are_zero():
    frame = made_by_hand(*[np.zeros(4)] * 3).decompose()
    assert frame.to_numpy().tolist() == [[0.0] * 4]

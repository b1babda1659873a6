"""Forecasts of curves: drift, a break to come, families; on hand-made posteriors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

import bayescale as bs
from bayescale.capabilities import break_forecasts
from bayescale.capabilities.break_model import BreakModel, Curve
from bayescale.capabilities.likelihoods import Loss
from bayescale.inference import PosteriorSample

S = np.linspace(-3, 3, 12)
#: Standard normal hyperparameter that makes a scale (floor, noise, drift) next to nothing.
TINY = -30.0
#: x four and eight e-folds beyond the last point.
AHEAD = np.exp([7.0, 11.0])


def made(*, families=(), error=0.0, **hyperparameters) -> bs.Breaks:
    """One unbroken curve, all draws alike: every hyperparameter at its prior median if it is not
    given (as a standard normal), every coefficient zero but those of families."""
    n = len(families)
    member = np.arange(len(S)) % n if n else np.full(len(S), -1)
    curve = Curve(S, Loss(np.exp(-0.35 * S), np.zeros(12)), member, 0.0, n)
    model = BreakModel(curve, 0)
    positions = np.zeros((50, model.dimension))
    for name, value in dict(dict(floor=TINY, sigma=TINY), **hyperparameters).items():
        positions[:, list(model.priors).index(name)] = value
    coefficients = np.zeros((50, 2 + len(curve.drift_components[0]) + n))
    coefficients[:, 2 + len(curve.drift_components[0]) :] = np.arange(n) + 1.0
    samples = {
        (0, True): PosteriorSample(positions, coefficients, 0.0, error, 50.0),
        (0, False): PosteriorSample(positions, coefficients, 0.0, error, 50.0),
        (1, True): PosteriorSample(positions, coefficients, -np.inf, 0.0, 50.0),
    }
    return bs.Breaks({"a": curve}, {"a": samples}, "C", "loss", "loss", families, (), 1)


def hyperparameter(breaks: bs.Breaks, name: str) -> float:
    (model, positions, _), *_ = breaks.draws["a"]
    return float(model.hyperparameters(positions)[name][0, 0])


def deviation(breaks: bs.Breaks, seeds=range(40)) -> np.ndarray:
    """Deviations of log mean from the fitted curve over many draws, (draw, point)."""
    parts = []
    for seed in seeds:
        data = bs.forecast(breaks, x=AHEAD, random_seed=seed).data
        parts.append((np.log(data["mean"]) - np.log(data["curve"])).to_numpy()[0])
    return np.concatenate(parts)


def test_a_break_to_come_widens_forecasts_beyond_the_data():
    """Without drift, all of the variance beyond the last point is that of the first break ahead: at
    an exponential distance with a Gamma rate, with a change of slope of one standard deviation."""
    breaks = made(drift=TINY)
    shape, rate = breaks.rate
    assert (shape, rate) == pytest.approx((1.0, 10 + np.ptp(S)))
    slope = hyperparameter(breaks, "slope")
    values = deviation(breaks)
    for column, distance in zip(values.T, (4.0, 8.0), strict=True):
        second_moment, _ = quad(
            lambda t, d=distance: 2 * (d - t) * (1 - (rate / (rate + t)) ** shape), 0, distance
        )
        squares = (column / slope) ** 2
        error = squares.std() / np.sqrt(len(squares))
        assert squares.mean() == pytest.approx(second_moment, abs=4 * error)
        assert error < 0.1 * second_moment


def test_drift_continues_beyond_the_data(monkeypatch):
    """Without breaks, the variance is that of an integrated random walk, with the slope at the last
    point that the components leave out."""
    monkeypatch.setattr(bs.Breaks, "rate", (1.0, 1e12))
    breaks = made()
    size = hyperparameter(breaks, "slope") * hyperparameter(breaks, "drift")
    _, start = breaks.curves["a"].drift_components
    values = deviation(breaks) / size
    for column, d in zip(values.T, (4.0, 8.0), strict=True):
        assert column.var() == pytest.approx(d**3 / 3 + start * d**2, rel=0.05)
        assert abs(column.mean()) < 4 * column.std() / np.sqrt(len(column))


def test_inside_the_data_nothing_is_added():
    data = bs.forecast(made(), x=np.exp(S)).data
    assert (data["mean"] == data["curve"]).all()
    slope = hyperparameter(made(), "slope")
    log_mean = np.log(data["mean"].to_numpy()[0, 0])
    assert np.diff(log_mean) == pytest.approx(-slope * np.diff(S), rel=1e-3)


def test_a_new_family_has_a_random_intercept_and_a_known_one_has_its_own():
    breaks = made(families=("one", "two"))
    sd = hyperparameter(breaks, "family")
    x = [float(np.exp(S[3]))]

    def log_mean(family):
        data = bs.forecast(breaks, x=x, family=family, random_seed=3).data
        return np.log(data["mean"].to_numpy()[0, :, 0])

    one, two, new = (log_mean(family) for family in ("one", "two", None))
    assert two - one == pytest.approx(sd, rel=1e-6)
    assert one.std() == pytest.approx(0, abs=1e-12)
    base = one.mean() - sd
    n = len(new)
    assert new.std() == pytest.approx(sd, rel=4 / np.sqrt(2 * n))
    assert new.mean() == pytest.approx(base, abs=4 * sd / np.sqrt(n))


def test_families_can_differ_by_point_and_are_coordinates():
    breaks = made(families=("one", "two"))
    data = bs.forecast(breaks, x=[1.0, 1.0], family=["two", None]).data
    assert data["family"].to_numpy().tolist() == ["two", ""]
    assert np.ptp(np.log(data["mean"].to_numpy()[0, :, 0])) == pytest.approx(0, abs=1e-12)


def test_noise_is_that_of_the_likelihood():
    breaks = made(sigma=0.0, nu=8.0)
    data = bs.forecast(breaks, x=np.full(30, 1.0)).data
    noise = np.log(data["y"] / data["mean"]).to_numpy()
    assert noise.std() == pytest.approx(hyperparameter(breaks, "sigma"), rel=0.1)


def test_summary_and_text_have_the_form_of_every_forecast():
    ahead = bs.forecast(made(sigma=0.0), x=[10.0, 1e3], group="a", random_seed=4)
    assert isinstance(ahead, break_forecasts.BreakForecast)
    frame = ahead.summary(0.9)
    assert frame["x"].tolist() == [10.0, 1e3]
    assert (frame["y_eti90_lb"] < frame["y"]).all()
    assert (frame["y"] < frame["y_eti90_ub"]).all()
    assert "BreakForecast of loss, a, 2 points" in repr(ahead)
    assert "C 1e+03: y " in repr(ahead)
    shares = ahead.decompose()
    assert shares[["curve", "ahead", "noise"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert shares["ahead"][0] == 0
    assert shares["ahead"][1] > 0.9
    again = bs.forecast(made(sigma=0.0), x=[10.0, 1e3], random_seed=4)
    assert again.data.identical(ahead.data)


def test_an_imprecise_posterior_is_a_warning():
    ahead = bs.forecast(made(error=0.5), x=[10.0])
    with pytest.warns(bs.ConvergenceWarning, match="posterior of a is imprecise"):
        ahead.summary()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(x=[-1.0]), "give one or several positive numbers"),
        (dict(x="1e20 FLOP"), "give one or several positive numbers"),
        (dict(x=[1.0], group="b"), "no group 'b'"),
        (dict(x=[1.0], family="three"), "no family 'three'"),
        (dict(x=[1.0, 2.0], family=["one"]), "1 families for 2 x"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(bs.RunsError, match=message):
        bs.forecast(made(families=("one", "two")), **options)

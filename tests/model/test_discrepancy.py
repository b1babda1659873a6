"""The discrepancy that is inferred from the residuals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.model import discrepancy as module
from bayescale.model.discrepancy import _features, _weights, discrepancy

LAW = dict(E=1.7, A=0.6, B=0.5, alpha=0.34, beta=0.28)
NEAR = {"N": [1e9, 3e8, 1e10], "D": [2e10, 3e9, 4e9]}


def table(bend: float = 0.0, noise: float = 0.003, n: int = 80) -> pd.DataFrame:
    """Runs of the Chinchilla law, times a wave along the logarithm of N."""
    rng = np.random.default_rng(3)
    N, D = 10 ** rng.uniform(8, 10.5, n), 10 ** rng.uniform(9, 11, n)
    loss = LAW["E"] + LAW["A"] * (N / 1e9) ** -0.34 + LAW["B"] * (D / 1e10) ** -0.28
    wave = bend * np.sin(2 * np.log(N / 1e8))
    return pd.DataFrame({"N": N, "D": D, "loss": loss * np.exp(wave + noise * rng.normal(size=n))})


@pytest.fixture(scope="module")
def fits():
    return {b: bs.fit(table(b), "chinchilla", draws=500, random_seed=1) for b in (0.0, 0.02)}


def at(fit, points, seed=1):
    place = {c: np.asarray(v, float) for c, v in points.items()}
    return discrepancy(fit.posterior, fit.plan, place, np.random.default_rng(seed))


def test_the_draws_are_those_of_the_gaussian_process_of_the_textbook(fits, monkeypatch):
    """With one tau and length: conditional mean and covariance, from the inverse of the whole
    covariance matrix, given the residuals of each draw."""
    fit = fits[0.02]
    tau, length = 0.01, 2.0
    monkeypatch.setattr(module, "TAUS", np.array([tau]))
    monkeypatch.setattr(module, "LENGTHS", (length,))
    same = fit.posterior.map(lambda v: v * 0 + v.isel(chain=0, draw=0))
    fit = replace(fit, posterior=same)
    drawn = at(fit, NEAR)
    residuals = module.residuals(fit.posterior, fit.plan)
    noise = module._noise(fit.posterior, residuals)
    runs, points = (
        np.column_stack([np.log(x["N"]), np.log(x["D"])]) for x in (fit.plan.columns, NEAR)
    )

    def covariance(a, b):
        return tau**2 * np.exp(-(((a[:, None] - b) / length) ** 2).sum(axis=-1) / 2)

    solved = np.linalg.solve(covariance(runs, runs) + np.diag(noise**2), covariance(runs, points))
    mean = (residuals["standardised"] * residuals["scale"])[0] @ solved
    variance = covariance(points, points) - covariance(points, runs) @ solved
    error = np.sqrt(np.diag(variance) / len(drawn))
    assert (abs(drawn.mean(axis=0) - mean) < 4 * error).all()
    assert np.cov(drawn.T) == pytest.approx(variance, rel=0.15, abs=0.1 * variance.max())


def test_a_wave_in_the_residuals_is_found_and_an_exact_law_has_none(fits):
    N = np.geomspace(2e8, 2e10, 9)
    points = {"N": N, "D": np.full(9, 1e10)}
    wave = 0.02 * np.sin(2 * np.log(N / 1e8))
    found = at(fits[0.02], points)
    off = np.log(bs.forecast(fits[0.02], pd.DataFrame(points), drift="off").data["law"])
    truth = LAW["E"] + LAW["A"] * (N / 1e9) ** -0.34 + LAW["B"]
    missing = np.log(truth) + wave - off.mean(("chain", "draw")).to_numpy()
    error = np.sqrt(np.mean((found.mean(axis=0) - missing) ** 2))
    assert np.sqrt(np.mean(missing**2)) > max(0.01, 2.5 * error)
    assert np.sqrt(np.mean(at(fits[0.0], points) ** 2)) < 0.0025
    ahead = np.log(bs.forecast(fits[0.02], pd.DataFrame(points)).data["mean"])
    left = ahead.median(("chain", "draw")).to_numpy() - np.log(truth) - wave
    assert np.sqrt(np.mean(left**2)) < 0.6 * np.sqrt(np.mean(missing**2))


def test_it_is_part_of_the_mean_of_a_forecast_and_goes_with_the_drift(fits):
    fit = fits[0.02]
    mean, law = (bs.forecast(fit, **NEAR).data[k] for k in ("mean", "law"))
    assert abs(np.log(mean / law)).max() > 0.005
    off = bs.forecast(fit, **NEAR, drift="off").data
    assert off["mean"].equals(off["law"].rename("mean"))
    without = bs.fit(table(0.02), "chinchilla", drift="off", draws=100, random_seed=1)
    data = bs.forecast(without, **NEAR).data
    assert data["mean"].equals(data["law"].rename("mean"))


def test_far_from_the_runs_it_has_mean_zero_and_its_own_spread(fits):
    far = at(fits[0.02], {"N": [1e30], "D": [1e30]})
    weights = _weights_of(fits[0.02])
    spread = np.sqrt(weights.sum(axis=0) @ module.TAUS**2)
    assert far.std() == pytest.approx(spread, rel=0.1)
    assert abs(far.mean()) < 4 * spread / np.sqrt(len(far))


@pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
def test_groups_share_it():
    """Two groups have one wave: the discrepancy is the same for both and for a new group."""
    frame = table(0.02, n=60).assign(corpus=np.tile(["a", "b"], 30))
    frame["loss"] *= np.where(frame["corpus"] == "a", 1.1, 1.0)
    fit = bs.fit(frame, "chinchilla", groups="corpus", random_seed=1, target_accept=0.8, draws=100)
    points = pd.DataFrame({"N": [1e9] * 3, "D": [2e10] * 3, "corpus": ["a", "b", "(new)"]})
    data = bs.forecast(fit, points, drift="auto").data
    off = np.log(data["mean"] / data["law"])
    assert abs(off - off.isel(point=0)).max() < 1e-6
    assert abs(off).max() > 0.002


def test_a_repeated_point_has_one_value(fits):
    drawn = at(fits[0.02], {"N": [1e9, 1e9, 2e9], "D": [2e10, 2e10, 2e10]})
    assert abs(drawn[:, 0] - drawn[:, 1]).max() < 1e-4
    assert abs(drawn[:, 0] - drawn[:, 2]).max() > 1e-3


def test_checkpoints_and_learning_curves_have_none():
    frame = table(0.02, n=24).assign(series=np.repeat(["a", "b"], 12))
    plan = bs.fit(frame.iloc[::2], "chinchilla", drift="ahead", draws=50, random_seed=1).plan
    assert plan.has_series
    assert not plan.has_discrepancy
    assert replace(plan, runs=bs.Runs.from_frame(table())).has_discrepancy


def test_the_prior_of_a_law_has_no_residuals():
    pool = pd.DataFrame({"N": [1e8, 1e9, 1e10], "D": [2e9, 2e10, 2e11]})
    target = {"N": [1e11], "D": [2e12]}
    assert np.isfinite(bs.suggest("chinchilla", pool, target=target, number=1).runs["sd"]).all()


def test_features_reproduce_the_covariance():
    x = np.random.default_rng(1).uniform(-4, 4, (60, 2))
    features = _features(x)
    expected = np.exp(-((x[:, None] - x) ** 2).sum(axis=-1) / 2)
    assert features @ features.T == pytest.approx(expected, abs=1e-5)


def _weights_of(fit):
    residuals = module.residuals(fit.posterior, fit.plan)
    noise = module._noise(fit.posterior, residuals)
    runs = np.column_stack([np.log(v) for v in fit.plan.columns.values()])
    features = [_features(runs / length) / noise[:, None] for length in module.LENGTHS]
    return _weights(features, residuals["standardised"] * residuals["scale"] / noise)


def test_the_likelihood_leaves_out_what_the_parameters_can_move(fits):
    """REML: adding a change of the parameters to the residuals changes no weight."""
    fit = fits[0.02]
    before = _weights_of(fit)
    moved = fit.posterior.assign(A=fit.posterior["A"] * 1.01)
    assert _weights_of(replace(fit, posterior=moved)) == pytest.approx(before, abs=0.02)
    assert before[:, 0].sum() < 1e-6  # zero is excluded
    assert _weights_of(fits[0.0])[:, module.TAUS > 0.005].sum() < 0.15


def test_runs_that_are_outliers_have_more_noise(fits):
    posterior = fits[0.0].posterior.isel(draw=slice(2))
    posterior = posterior.assign(nu=posterior["nu"] * 0 + 4.0)
    at = dict(scale=np.array([[0.01, 0.02]]), standardised=np.array([[0.0, 1.5]]))
    at["alone"] = np.array([[0.01, 0.01]])  # neighbours count for the law, not here
    expected = 0.01 * np.sqrt(np.array([4.0, 13.0]) / 5)
    assert module._noise(posterior, at) == pytest.approx(expected)


def test_without_information_the_weights_are_the_prior():
    """Normal in the logarithm of tau around .4 %, with zero counted as .1 %."""
    nothing = [np.zeros((5, 2))] * 3
    weights = _weights(nothing, np.random.default_rng(1).standard_normal((50, 5)))
    z = np.log(np.array([0.001, 0.002, 0.004, 0.008, 0.016, 0.03]) / 0.004)
    expected = np.exp(-(z**2) / 2)
    assert weights == pytest.approx(np.tile(expected / expected.sum(), (3, 1)) / 3)


def test_each_draw_of_the_law_has_its_own_residuals(fits, monkeypatch):
    """Where the law is higher, the discrepancy is lower; the smallest tau counts too."""
    monkeypatch.setattr(module, "TAUS", np.array([0.03]))
    fit = fits[0.02]
    factor = xr.where(fit.posterior["chain"] == fit.posterior["chain"][0], 1.02, 1.0)
    moved = replace(fit, posterior=fit.posterior.assign(E=fit.posterior["E"] * factor))
    draws = at(moved, NEAR).reshape(fit.posterior.sizes["chain"], -1, 3).mean(axis=(1, 2))
    assert draws[0] < draws[1:].min() - 0.003
    monkeypatch.setattr(module, "TAUS", np.array([0.002]))
    assert at(fit, {"N": [1e30], "D": [1e30]}).std() == pytest.approx(0.002, rel=0.1)


def test_forecasts_do_not_depend_on_units():
    frame = table(0.02, n=40)
    other = frame.assign(N=frame["N"] * 3, D=frame["D"] * 0.5, loss=frame["loss"] / np.log(2))
    one, two = (bs.fit(f, "chinchilla", draws=100, random_seed=1) for f in (frame, other))
    places = pd.DataFrame(NEAR), pd.DataFrame(NEAR) * [3, 0.5]
    expected, found = (bs.forecast(f, p).data for f, p in zip((one, two), places, strict=True))
    assert np.allclose(found["mean"] * np.log(2), expected["mean"], rtol=1e-6)
    assert not np.allclose(expected["mean"], expected["law"], rtol=1e-3)

"""Baselines: agreement with published fits, and calibrated intervals."""

from __future__ import annotations

import numpy as np
import pytest

from bayescale import laws
from bayescale.errors import FitError
from bayescale.evaluation.baselines import (
    DELTA,
    REACH,
    Baseline,
    Problem,
    descend,
    huber_bootstrap,
    huber_fits,
    persistence,
    silverman,
)
from bayescale.evaluation.scores import score
from bayescale.laws.base import Law
from bayescale.priors import Positive, Real


def line(x, *, level, slope):
    return np.exp(level + slope * np.log(x))


#: Linear in log loss, so that least squares is the reference.
LINE = Law("line", line, dict(level=Real(0, sd=2), slope=Real(0, sd=1)), "test")


def columns(runs) -> dict[str, np.ndarray]:
    return {c: runs.table[c].to_numpy(float) for c in "ND"}


def problem_of(runs) -> Problem:
    return Problem(laws.chinchilla, columns(runs), np.log(runs.table["loss"].to_numpy(float)))


@pytest.fixture(scope="module")
def besiroglu(chinchilla240):
    """The 240 runs, their best fit and 400 refits."""
    problem = problem_of(chinchilla240)
    return problem, *huber_fits(problem, np.random.default_rng(1), 400)


# -- the published fit -------------------------------------------------------------------------


def test_the_point_fit_is_that_of_besiroglu(besiroglu):
    problem, best, _ = besiroglu
    fitted = {name: v[0] for name, v in problem.values(best).items()}
    assert fitted["E"] == pytest.approx(1.8172, abs=5e-4)
    assert fitted["alpha"] == pytest.approx(0.3478, abs=2e-3)
    assert fitted["beta"] == pytest.approx(0.3658, abs=2e-3)


def test_no_parameters_nearby_fit_better(besiroglu):
    problem, best, _ = besiroglu
    near = best + 0.01 * np.random.default_rng(2).standard_normal((500, 5))
    ones = np.ones((501, 240))
    _, losses = descend(problem, np.concatenate([best, near]), ones, iterations=0)
    assert losses[0] == losses.min()


def test_the_bootstrap_is_that_of_besiroglu(besiroglu):
    problem, _, refits = besiroglu
    values = problem.values(refits)
    assert 0.024 < values["E"].std() < 0.031
    assert np.quantile(values["E"], [0.025, 0.975]) == pytest.approx([1.768, 1.872], abs=0.015)
    share = values["beta"] / (values["alpha"] + values["beta"])
    assert 0.017 < share.std() < 0.023


def test_its_intervals_do_not_cover_larger_runs(chinchilla240):
    for cut, expected in ((1e20, 0.70), (1e21, 0.66)):
        seen = chinchilla240[chinchilla240.table["C"] < cut]
        later = chinchilla240[chinchilla240.table["C"] >= cut]
        truth = later.table["loss"].to_numpy(float)
        ahead = huber_bootstrap(
            laws.chinchilla,
            columns(seen),
            np.log(seen.table["loss"]),
            columns(later),
            np.random.default_rng(1),
        )
        points = score(truth, ahead.draws, ahead.log_density(later.table["loss"]))
        assert points["inside95"].mean() == pytest.approx(expected, abs=0.08)


# -- simulated runs ----------------------------------------------------------------------------


def test_the_bootstrap_of_a_line_has_the_standard_errors_of_least_squares():
    rng = np.random.default_rng(3)
    x = np.geomspace(1, 1e4, 200)
    noise = 0.1 * DELTA  # nearly all within DELTA, where the Huber loss is least squares
    log_loss = 0.5 - 0.3 * np.log(x) + noise * rng.standard_normal(200)
    problem = Problem(LINE, dict(x=x), log_loss)
    best, refits = huber_fits(problem, rng, 2000)
    centred = np.log(x / problem.scales["x"])
    slope, level = np.polyfit(centred, log_loss, 1)
    left = log_loss - level - slope * centred
    expected = np.sqrt((left**2).sum() / 198 / (centred**2).sum()), left.std(ddof=2) / np.sqrt(200)
    fitted, spread = problem.values(best), problem.values(refits)
    assert (fitted["slope"][0], fitted["level"][0]) == pytest.approx((slope, level), abs=1e-6)
    assert (spread["slope"].std(), spread["level"].std()) == pytest.approx(expected, rel=0.12)


def test_intervals_cover_new_runs_inside_the_data():
    rng = np.random.default_rng(4)
    x, new = np.exp(rng.uniform(0, 8, (2, 400)))
    noise = rng.standard_normal((2, 400)) * 0.01
    log_loss, truth = 1 - 0.2 * np.log(x) + noise[0], np.exp(1 - 0.2 * np.log(new) + noise[1])
    ahead = huber_bootstrap(LINE, dict(x=x), log_loss, dict(x=new), rng)
    points = score(truth, ahead.draws, ahead.log_density(truth))
    assert points["inside90"].mean() == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 400 + 0.09 / 400))
    exact = -0.5 * (1 + np.log(2 * np.pi)) - np.log(0.01) - np.log(truth).mean()
    assert points["log_score"].mean() == pytest.approx(exact, abs=0.15)


def test_an_outlier_does_not_move_the_fit():
    x = np.geomspace(1, 100, 30)
    log_loss = 1 - 0.2 * np.log(x)
    log_loss[-1] += 3
    problem = Problem(LINE, dict(x=x), log_loss)
    best, _ = huber_fits(problem, np.random.default_rng(5), 10)
    assert problem.values(best)["slope"][0] == pytest.approx(-0.2, abs=1e-3)


def test_a_typical_loss_sets_the_unit_of_priors_that_are_shares_of_it():
    shared = LINE.with_priors(slope=Positive(0.5, of="loss"))
    problem = Problem(shared, dict(x=np.ones(3)), np.log([4.0, 8.0, 16.0]))
    assert problem.values(np.zeros((1, 2)))["slope"] == pytest.approx([4.0])


def test_runs_that_do_not_identify_a_law_can_be_fitted():
    same = {c: np.full(6, 1e9) for c in "ND"}
    ahead = {c: np.array([1e9, 1e12]) for c in "ND"}
    rng = np.random.default_rng(6)
    drawn = huber_bootstrap(laws.chinchilla, same, np.log(3 + 0.01 * rng.random(6)), ahead, rng, 50)
    assert np.isfinite(drawn.draws).all()
    assert np.median(drawn.draws[:, 0]) == pytest.approx(3.0, abs=0.02)
    two = {c: np.array([1e9, 1e10]) for c in "ND"}
    drawn = huber_bootstrap(laws.chinchilla, two, np.log([3.0, 2.5]), ahead, rng, 50)
    assert np.isfinite(drawn.draws).all()


def test_parameters_stay_within_their_bounds():
    x = np.geomspace(1, 100, 30)
    tight = LINE.with_priors(level=Real(0, sd=0.01))
    problem = Problem(tight, dict(x=x), 5 - 0.2 * np.log(x))
    best, refits = huber_fits(problem, np.random.default_rng(7), 20)
    assert best[0, 0] == REACH
    assert (np.abs(refits) <= REACH).all()


def test_refits_that_cannot_forecast_are_replaced_by_the_point_fit():
    def until(x, *, end):
        return 1 - x / end  # no loss at all beyond the end

    law = Law("until", until, dict(end=Positive(3, spread=2)), "test")
    rng = np.random.default_rng(8)
    x = np.geomspace(0.5, 2, 12)
    log_loss = np.log(1 - x / 3) + 0.1 * rng.standard_normal(12)
    near = np.array([2.95])
    problem = Problem(law, dict(x=x), log_loss)
    _, refits = huber_fits(problem, np.random.default_rng(8), 100)
    means = problem.log_mean(refits, dict(x=near))
    assert 0 < np.isnan(means).sum() < 100
    ahead = huber_bootstrap(law, dict(x=x), log_loss, dict(x=near), np.random.default_rng(8), 100)
    assert np.isfinite(ahead.draws).all()


def test_a_law_without_a_finite_starting_point_is_refused():
    def never(x, *, level):
        return -np.exp(level) * x

    law = Law("never", never, dict(level=Real(0, sd=1)), "test")
    with pytest.raises(FitError, match="of law 'never' gives finite, positive"):
        huber_bootstrap(
            law,
            dict(x=np.arange(1.0, 5)),
            np.zeros(4),
            dict(x=np.ones(1)),
            np.random.default_rng(0),
        )


def test_a_seed_determines_every_draw():
    x = np.geomspace(1, 100, 20)
    log_loss = 1 - 0.2 * np.log(x) + 0.01 * np.sin(7 * x)
    first, again = (
        huber_bootstrap(LINE, dict(x=x), log_loss, dict(x=x), np.random.default_rng(9))
        for _ in range(2)
    )
    assert (first.draws == again.draws).all()


# -- the last value ----------------------------------------------------------------------------


def walked(rng, scale=0.03, checkpoints=4000):
    x = np.exp(np.cumsum(rng.uniform(0.001, 0.01, checkpoints)))
    steps = np.sqrt(np.diff(np.log(x), prepend=0)) * rng.standard_normal(checkpoints)
    return x, 1 + scale * np.cumsum(steps)


def test_persistence_estimates_the_scale_of_a_random_walk():
    rng = np.random.default_rng(10)
    x, log_loss = walked(rng)
    far = x[-1] * np.exp([1.0, 4.0])
    log_draws = np.log(persistence(x, log_loss, far, rng, draws=20_000).draws)
    assert log_draws.mean(axis=0) == pytest.approx(log_loss[-1], abs=0.002)
    assert log_draws.std(axis=0) == pytest.approx([0.03, 0.06], rel=0.06)
    assert np.corrcoef(log_draws.T)[0, 1] == pytest.approx(0.5, abs=0.03)


def test_persistence_does_not_depend_on_spikes_or_order():
    rng = np.random.default_rng(11)
    x, log_loss = walked(rng)
    spiked = log_loss + np.where(np.arange(len(x)) % 100 == 50, 2.0, 0.0)
    shuffled = rng.permutation(len(x))
    plain, other = (
        np.log(persistence(a, b, [2 * x[-1]], np.random.default_rng(0)).draws)
        for a, b in ((x, log_loss), (x[shuffled], spiked[shuffled]))
    )
    assert other.std() == pytest.approx(plain.std(), rel=0.1)
    assert np.median(other) == pytest.approx(np.median(plain), abs=1e-3)


def test_a_constant_curve_has_a_finite_density():
    still = persistence([1, 2, 3], np.zeros(3), [4, 5], np.random.default_rng(0))
    assert (still.draws == 1).all()
    assert np.isfinite(still.log_density([1.0, 1.1])).all()


def test_one_checkpoint_is_too_few_for_persistence():
    for x in ([1.0], [2.0, 2.0]):
        with pytest.raises(FitError, match="two checkpoints at different x"):
            persistence(x, np.zeros(len(x)), [3.0], np.random.default_rng(0))


# -- densities ---------------------------------------------------------------------------------


def test_the_density_is_of_the_loss_and_integrates_to_one():
    draws = np.exp(np.random.default_rng(12).normal(0.7, 0.1, (4000, 1)))
    forecast = Baseline(draws)
    loss = np.linspace(1, 4, 3001)
    density = np.array([np.exp(forecast.log_density(np.array([y])))[0] for y in loss[::10]])
    assert np.trapezoid(density, loss[::10]) == pytest.approx(1, abs=1e-3)
    exact = np.exp(-0.5 * ((np.log(loss[::10]) - 0.7) / 0.1) ** 2)
    assert density == pytest.approx(exact / (0.1 * np.sqrt(2 * np.pi) * loss[::10]), abs=0.12)


def test_silverman_by_hand():
    ends = np.repeat([-1.0, 1.0], 50)[:, None]
    assert silverman(ends) == pytest.approx(0.9 * np.sqrt(100 / 99) * 100**-0.2)
    assert silverman(np.zeros((10, 1))) == pytest.approx(1e-6)

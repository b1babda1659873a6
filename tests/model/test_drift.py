"""Drift and correlated checkpoints: the closed forms, against dense covariances and by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import multivariate_normal, t

import bayescale as bs
from bayescale import FitError, Positive, laws
from bayescale.model import drift
from bayescale.model.posterior import at_runs, log_likelihood, residuals
from bayescale.model.pymc_model import LEVEL, ODDS, build
from bayescale.model.simulation import simulate_design
from bayescale.model.specify import design

CURVE = {"E": 0.2, "A": 0.4, "alpha": 0.4, "sigma": 0.02, "memory": 0.3, "drift": 0.3}


def curve(points=12, series="one", seed=1, **columns):
    """A learning curve that its law does not quite describe, in no particular order."""
    rng = np.random.default_rng(seed)
    D = np.sort(10 ** rng.uniform(6, 9, points))
    loss = 0.2 + 0.4 * (D / 1e8) ** -0.3 + 0.02 * np.sin(np.log(D))
    frame = pd.DataFrame({"D": D, "loss": loss, "series": series, **columns})
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def runs(*frames, groups=None):
    return bs.Runs.from_frame(pd.concat(frames, ignore_index=True), groups=groups, D="D*1")


def point_of(plan, values):
    """Values of the parameters, as the model's free variables."""
    free = {f"{k}_log__": np.array(np.log(v)) for k, v in values.items()}
    if plan.is_anchored:
        amplitude, floor = plan.law.amplitude, plan.law.floor
        first = {c: v[[plan.log_scale.argmin()]] for c, v in plan.columns.items()}
        level = float(plan.law(first, plan.scales, values)[0])
        free[LEVEL] = np.array(np.log(level))
        if floor:
            free[ODDS] = np.log(values[floor]) - np.log(level - values[floor])
        free = {k: v for k, v in free.items() if k not in (f"{amplitude}_log__", f"{floor}_log__")}
    return free


def covariance(plan, law, scale, memory, size):
    """Drift and noise of log loss, from their definitions."""
    x, series = plan.log_scale, plan.runs.table["series"].to_numpy()
    at, length = drift.knots(x)
    hinges = np.stack(
        [np.where(x > k, np.log(law(np.exp(x))) - np.log(law(np.exp(k))), 0) for k in at], axis=1
    ) * np.sqrt(length)
    together = series[:, None] == series
    noise = scale**2 * np.exp(-np.abs(x[:, None] - x) / memory) * together
    return size**2 * hinges @ hinges.T + noise


# -- the walk itself ---------------------------------------------------------------------------


def test_knots_stand_in_the_middle_of_equal_stretches():
    at, length = drift.knots(np.array([0.0, 5.0, 10.0]))
    np.testing.assert_allclose(at, np.arange(10) + 0.5)
    assert length == 1


def test_a_step_acts_on_the_runs_beyond_it_only():
    weights = drift.increments(np.array([0.0, 5.0, 10.0]), np.array([0.5, 5.0, 9.5]), 4.0)
    np.testing.assert_array_equal(weights, [[0, 0, 0], [2, 0, 0], [2, 2, 2]])


def test_the_drift_of_a_straight_line_is_an_integrated_random_walk():
    x = np.linspace(0, 4, 9)
    at, length = drift.knots(x, 400)
    basis = drift.deviations(x[:, None], at, drift.increments(x, at, length))
    s, t = np.minimum(x[:, None], x), np.maximum(x[:, None], x)
    np.testing.assert_allclose(basis @ basis.T, s**2 * (3 * t - s) / 6, atol=2e-3)


def test_the_integral_of_a_walk_has_the_covariance_of_an_integrated_wiener_process():
    distance = np.broadcast_to([4.0, -1.0, 1.0], (40_000, 3))
    walk = drift.integrated_walk(distance, np.random.default_rng(1))
    assert (walk[:, 1] == 0).all()
    np.testing.assert_allclose(walk.std(axis=0), [np.sqrt(64 / 3), 0, np.sqrt(1 / 3)], rtol=0.02)
    assert np.cov(walk[:, 2], walk[:, 0])[0, 1] == pytest.approx((12 - 1) / 6, rel=0.04)


def test_copies_of_a_walk_share_distances_and_nothing_else():
    distance = np.array([[0.5, 2.0], [2.0, 1.0]]).repeat(20_000, axis=0)
    walks = drift.integrated_walk(distance, np.random.default_rng(1), copies=2)
    assert walks.shape == (40_000, 2, 2)
    np.testing.assert_allclose(walks[:20_000, 1].std(axis=0), np.sqrt(8 / 3), rtol=0.03)
    np.testing.assert_allclose(walks[20_000:, 1].std(axis=0), np.sqrt(1 / 3), rtol=0.03)
    assert abs(np.corrcoef(walks[:20_000, 1].T)[0, 1]) < 0.03


def test_the_mean_of_a_walk_is_its_integral_over_the_distance():
    distance, size = np.array([4.0, 0.0, 1.0]), np.full(40_000, 0.5)
    walk = drift.mean_walk(distance, size, np.random.default_rng(1))
    np.testing.assert_allclose(walk.std(axis=0), 0.5 * np.sqrt(distance / 3), rtol=0.02)
    # Cov of the means over s <= t is (t/2 - s/6) s / t.
    assert np.cov(walk[:, 2], walk[:, 0])[0, 1] == pytest.approx(0.25 * (2 - 1 / 6) / 4, rel=0.04)


def test_a_walk_keeps_its_starting_value():
    start = np.array([1.0, 2.0, 3.0])
    walk = drift.mean_walk(np.array([0.0, 1e-9]), np.full(3, 0.1), np.random.default_rng(1), start)
    np.testing.assert_allclose(walk[:, 1], start, atol=1e-4)
    integral = drift.integrated_walk(np.full((3, 1), 1e-9), np.random.default_rng(1), start=start)
    np.testing.assert_allclose(integral[:, 0], 1e-9 * start, rtol=1e-3)


def test_a_break_comes_at_its_rate_and_its_change_lasts():
    distance = np.array([0.0, 2.0, 8.0])
    rng = np.random.default_rng(1)
    added = drift.mean_over(distance, drift.future_break(distance, drift.BREAKS, 100_000, rng))
    assert (added[:, 0] == 0).all()
    for i, far in ((1, 2.0), (2, 8.0)):
        share = 1 - np.exp(-drift.BREAKS * far)
        assert (added[:, i] != 0).mean() == pytest.approx(share, abs=0.005)
        # A change at t leaves (far - t) / far of itself in the mean; t is exponential.
        t = np.linspace(0, far, 20_001)
        left = np.trapezoid(drift.BREAKS * np.exp(-drift.BREAKS * t) * (1 - t / far) ** 2, t)
        assert added[:, i].var() == pytest.approx(drift.BREAK_SIZE**2 * left, rel=0.05)
    assert added.mean() == pytest.approx(0, abs=0.01)


def test_every_draw_may_have_a_rate_of_its_own():
    rate = np.repeat([1e-6, 10.0], 2000)
    added = drift.future_break(np.array([5.0]), rate, 4000, np.random.default_rng(1))
    assert (added[:2000] != 0).mean() < 0.01
    assert (added[2000:] != 0).mean() > 0.99


# -- checkpoints -------------------------------------------------------------------------------


def test_each_checkpoint_knows_the_one_before_it():
    frame = pd.DataFrame(
        {"D": [4e6, 1e6, 2e6, 8e6], "loss": [2.0, 4, 3, 1], "series": ["a", "a", "b", "a"]}
    )
    plan = design(runs(frame), laws.get("power(D)"))
    index, gap = plan.before
    assert index.tolist() == [1, 1, 2, 0]
    np.testing.assert_allclose(gap, [np.log(4), np.inf, np.inf, np.log(2)])


def test_of_checkpoints_at_one_scale_the_last_is_used():
    frame = pd.DataFrame(
        {"D": [1e6, 2e6, 2e6, 4e6], "loss": [4.0, 3, 2.9, 2], "series": ["a", "a", "a", "a"]}
    )
    table = runs(frame)
    with pytest.warns(bs.RunsWarning, match="1 of 4 checkpoints have the same D as a later one"):
        plan = design(table, laws.get("power(D)"))
    assert plan.runs.table["loss"].tolist() == [4.0, 2.9, 2]


def test_neighbouring_checkpoints_are_not_at_one_scale():
    frame = pd.DataFrame({"D": [1e6, 1.05e6, 1.1e6], "loss": [4.0, 3, 2], "series": "a"})
    assert len(design(runs(frame), laws.get("power(D)")).runs) == 3


def test_a_law_of_parameters_alone_uses_the_end_of_each_run():
    frame = pd.DataFrame(
        {
            "N": np.repeat([1e7, 1e8, 1e9], 2),
            "D": np.tile([2e9, 1e9], 3),
            "loss": [3.0, 3.5, 2.5, 3.0, 2.0, 2.5],
            "series": np.repeat(["a", "b", "c"], 2),
        }
    )
    with pytest.warns(bs.RunsWarning, match="3 of 6 checkpoints have the same N"):
        plan = design(bs.Runs.from_frame(frame), laws.get("power(N)"))
    assert plan.runs.table["loss"].tolist() == [3.0, 2.5, 2.0]  # the larger D, whatever the order
    assert not plan.has_series


def test_drift_is_inferred_from_checkpoints_and_added_to_tables():
    finished = curve().drop(columns="series")
    power = laws.get("power(D)")
    assert design(runs(curve()), power).drift == "through"
    assert design(runs(finished), power).drift == "ahead"
    # A series of one checkpoint each is a table of finished runs.
    assert design(runs(finished.assign(series=range(12))), power).drift == "ahead"


def test_a_kind_of_drift_that_is_none_is_refused():
    with pytest.raises(FitError, match="there is no drift 'forward'"):
        bs.fit(runs(curve()), "power(D)", drift="forward")
    with pytest.raises(FitError, match=r"drift is 0\.1; use Positive"):
        bs.fit(runs(curve().drop(columns="series")), "power(D)", priors={"drift": 0.1})


# -- the likelihood ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["through", "off", "ahead"])
def test_the_density_is_that_of_the_dense_covariance(kind):
    """Also with two series in one fit, and rows in no particular order."""
    table = runs(curve(8, "one"), curve(6, "two", seed=2))
    plan = design(
        table,
        laws.get("power(D)"),
        drift=kind,
        priors={"nu": Positive(1e9, spread=1.001)} if kind != "through" else None,
    )
    model = build(plan)
    values = {k: v for k, v in CURVE.items() if k in {p.name for p in plan.parameters}}
    if kind != "through":
        values["nu"] = 1e9
    likelihood = [v for v in [*model.potentials, *model.observed_RVs] if v.name == "log_loss"]
    log_p = model.compile_logp(vars=likelihood, jacobian=False)(point_of(plan, values))

    def law(D):
        return 0.2 + 0.4 * (D / plan.scales["D"]) ** -0.4

    dense = covariance(plan, law, 0.02, 0.3, 0.3 if kind == "through" else 0.0)
    mean = np.log(law(table.table["D"].to_numpy()))
    expected = multivariate_normal(mean, dense).logpdf(plan.log_loss)
    assert log_p == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["power", "shifted_power", "delayed_power"])
def test_the_level_at_the_first_run_is_sampled_under_the_priors_that_were_said(name):
    """The posterior is the same function of the parameters; only the coordinates differ."""
    law = laws.get(name).on("D")
    plain = replace(law, amplitude=None, floor=None)
    plans = [design(runs(curve()), x) for x in (law, plain)]
    assert [p.is_anchored for p in plans] == [True, False]
    densities = [build(p).compile_logp() for p in plans]
    rng = np.random.default_rng(1)
    differences = []
    for _ in range(4):
        values = {
            p.name: np.exp(p.prior.centre + 0.5 * p.prior.width * rng.standard_normal())
            for p in plans[0].parameters
        }
        of_density, of_pymc = (
            float(f(point_of(p, values))) for f, p in zip(densities, plans, strict=True)
        )
        differences.append(of_density - of_pymc)
    np.testing.assert_allclose(differences, differences[0], rtol=1e-8)  # normalising constants


def test_a_curve_with_groups_or_without_drift_is_not_anchored():
    table = runs(curve(8, "one", task="x"), curve(8, "two", seed=2, task="y"), groups="task")
    assert not design(table, laws.get("power(D)"), groups="task").is_anchored
    assert not design(table, laws.get("power(D)"), drift="off").is_anchored


def test_the_drifts_of_groups_are_independent():
    """The density is that of two tables, not of one drift in both."""
    table = runs(curve(8, "one", task="x"), curve(8, "two", seed=2, task="y"), groups="task")
    pool = dict.fromkeys(CURVE, "complete")
    plan = design(table, laws.get("power(D)"), groups="task", pool=pool)
    model = build(plan)
    likelihood = [v for v in model.potentials if v.name == "log_loss"]
    log_p = model.compile_logp(vars=likelihood, jacobian=False)(point_of(plan, CURVE))

    def law(D):
        return 0.2 + 0.4 * (D / plan.scales["D"]) ** -0.4

    dense = covariance(plan, law, 0.02, 0.3, 0.3)
    noise = covariance(plan, law, 0.02, 0.3, 0.0)
    own = plan.cell[:, None] == plan.cell
    mean = np.log(law(table.table["D"].to_numpy()))
    expected = multivariate_normal(mean, noise + own * (dense - noise)).logpdf(plan.log_loss)
    shared = multivariate_normal(mean, dense).logpdf(plan.log_loss)
    assert log_p == pytest.approx(expected, rel=1e-6)
    assert abs(shared - expected) > 0.1


@pytest.fixture
def drifting(by_hand):
    return by_hand(runs(curve()), "power(D)", CURVE, draws=400, chains=2)


def test_the_drift_that_is_drawn_is_that_of_the_normal_conditional(drifting):
    plan = drifting.plan

    def law(D):
        return 0.2 + 0.4 * (D / plan.scales["D"]) ** -0.4

    here = residuals(drifting.posterior, plan)
    both = covariance(plan, law, 0.02, 0.3, 0.3)
    noise = covariance(plan, law, 0.02, 0.3, 0.0)
    residual = plan.log_loss - np.log(law(plan.columns["D"]))
    expected = (both - noise) @ np.linalg.solve(both, residual)
    spread = np.sqrt(np.diag((both - noise) - (both - noise) @ np.linalg.solve(both, both - noise)))
    assert here["drift"].shape == (800, 12)
    assert (np.abs(here["drift"].mean(axis=0) - expected) <= 5 * spread / np.sqrt(800) + 1e-9).all()
    np.testing.assert_allclose(here["drift"].std(axis=0), spread, rtol=0.15, atol=1e-9)


@pytest.mark.parametrize("groups", [None, "task"])
def test_a_forecast_of_a_fitted_run_has_the_drift_that_run_had(by_hand, groups):
    table = runs(curve(8, "one", task="x"), curve(8, "two", seed=2, task="y"), groups="task")
    pool = dict.fromkeys(CURVE, "complete") if groups else None
    fit = by_hand(table, "power(D)", CURVE, draws=50, chains=2, groups=groups, pool=pool)
    ahead = bs.forecast(fit, table.table[["D", "task"]] if groups else table.table[["D"]])
    law = np.log(fit.law(fit.plan.columns, fit.plan.scales, CURVE))
    drifted = np.log(ahead.data["law"]).to_numpy().reshape(100, 16) - law
    expected = residuals(fit.posterior, fit.plan)["drift"]
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(drifted, expected, atol=1e-12)


def test_what_a_checkpoint_adds_is_measured_from_the_one_before(by_hand):
    values = {k: v for k, v in CURVE.items() if k != "drift"} | {"nu": 4.0}
    fit = by_hand(runs(curve()), "power(D)", values, drift="off")
    here, plan = at_runs(fit.posterior, fit.plan), fit.plan
    index, gap = plan.before
    off = residuals(fit.posterior, plan)["standardised"]
    keep = np.exp(-gap / 0.3)
    np.testing.assert_allclose(here["residual"], 0.02 * (off - keep * off[:, index]))
    np.testing.assert_allclose(here["sigma"][0], 0.02 * np.sqrt(1 - keep**2))
    density = log_likelihood(fit.posterior, plan)
    np.testing.assert_allclose(
        density.to_numpy().reshape(-1, 12), t.logpdf(here["residual"], 4, scale=here["sigma"])
    )


def test_simulated_checkpoints_are_correlated_as_they_should_be():
    D = np.geomspace(1e6, 1e9, 4000)
    frame = pd.DataFrame({"D": D, "loss": 1.0, "series": "a"})
    plan = design(runs(frame), laws.get("power(D)"), drift="off")
    values = {k: v for k, v in CURVE.items() if k != "drift"} | {"nu": 1e6}
    fake = simulate_design(plan, values, np.random.default_rng(1))
    law = np.log(plan.law(plan.columns, plan.scales, values))
    noise = (fake.log_loss - law) / 0.02
    gap = np.log(D[1] / D[0])
    assert np.corrcoef(noise[1:], noise[:-1])[0, 1] == pytest.approx(np.exp(-gap / 0.3), abs=0.01)
    assert noise.std() == pytest.approx(1, abs=0.25)


@pytest.mark.slow
def test_simulated_curves_drift_as_the_model_says():
    """Covariance of simulated curves around the law, with hardly any noise."""
    plan = design(runs(curve()), laws.get("power(D)"))
    values = CURVE | {"sigma": 1e-9}
    law = np.log(plan.law(plan.columns, plan.scales, values))
    rng = np.random.default_rng(1)
    deviations = [simulate_design(plan, values, rng).log_loss - law for _ in range(2000)]
    expected = covariance(
        plan, lambda D: 0.2 + 0.4 * (D / plan.scales["D"]) ** -0.4, 1e-9, 0.3, 0.3
    )
    spread = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(np.std(deviations, axis=0), spread, rtol=0.06, atol=1e-8)


# -- forecasts ---------------------------------------------------------------------------------


def test_a_forecast_without_drift_is_the_law(by_hand):
    values = {k: v for k, v in CURVE.items() if k not in ("drift", "memory")} | {"nu": 5.0}
    fit = by_hand(runs(curve().drop(columns="series")), "power(D)", values)
    ahead = bs.forecast(fit, D=[1e6, 1e10], drift="off")
    assert (ahead.data["mean"] == ahead.data["law"]).all()


def test_drift_ahead_is_a_share_of_what_the_law_promises(by_hand):
    values = {k: v for k, v in CURVE.items() if k not in ("drift", "memory")} | {"nu": 5.0}
    table = runs(curve(100).drop(columns="series"))
    fit = by_hand(
        table,
        "power(D)",
        values,
        draws=20_000,
        chains=1,
        priors={"drift": Positive(0.1, spread=1.0001)},
    )
    edge = np.quantile(np.log(table.table["D"]), drift.STARTS_AT)
    D = np.exp(edge + np.array([-1.0, 3.0]))
    log = np.log(bs.forecast(fit, D=D, random_seed=1).data)
    off = (log["mean"] - log["law"]).isel(chain=0).to_numpy()
    assert (off[:, 0] == 0).all()
    law = [np.log(fit.law({"D": x}, fit.plan.scales, CURVE)) for x in (np.exp(edge), D[1])]
    # It starts off by one size, and goes on as a random walk: variance 1 + 3 / 3.
    assert off[:, 1].std() == pytest.approx(0.1 * np.sqrt(2) * (law[0] - law[1]), rel=0.02)
    assert abs(off[:, 1].mean()) < 4 * off[:, 1].std() / np.sqrt(20_000)


def test_the_edge_of_the_runs_is_that_of_their_scale_and_of_each_column():
    law = bs.laws.get("chinchilla")
    columns = {"N": np.geomspace(1e8, 1e9, 41), "D": np.geomspace(1e10, 1e9, 41)}  # one compute
    edge = drift.Edge.of(law, columns)
    assert edge.scale == pytest.approx(np.log(1e18))
    starts = {"N": 0.9 * np.log(10) + np.log(1e8), "D": 0.9 * np.log(10) + np.log(1e9)}
    assert edge.columns == pytest.approx(starts)
    place = {
        # Inside; more parameters at the same compute; three times the compute at the centre.
        "N": np.array([3e8, 3e9, 5e8]),
        "D": np.array([3e9, 3e8, 6e9]),
    }
    moved, distance = edge.before(law, place)
    assert distance == pytest.approx([0, np.log(3e9) - starts["N"], np.log(3)])
    assert (distance[0], moved["N"][0]) == (0, 3e8)
    assert (moved["N"][1], moved["D"][1]) == pytest.approx((np.exp(starts["N"]), 3e8))
    assert moved["N"][2] * moved["D"][2] == pytest.approx(1e18)
    assert moved["N"][2] / moved["D"][2] == pytest.approx(5e8 / 6e9)


def test_copies_of_a_run_do_not_move_the_edge():
    law = bs.laws.get("chinchilla")
    columns = {"N": np.geomspace(1e8, 1e9, 11), "D": np.geomspace(1e9, 1e11, 11)}
    copied = {c: np.r_[v, np.repeat(v[-1], 20)] for c, v in columns.items()}
    assert drift.Edge.of(law, copied) == drift.Edge.of(law, columns)


def test_a_larger_model_at_the_same_compute_drifts(by_hand):
    table = pd.DataFrame({"N": np.geomspace(1e8, 1e9, 41), "D": np.geomspace(1e10, 1e9, 41)})
    values = dict(E=1.5, A=0.6, B=0.5, alpha=0.4, beta=0.3, sigma=0.01, nu=5.0)
    fit = by_hand(
        runs(table.assign(loss=3.0)),
        "chinchilla",
        values,
        draws=20_000,
        chains=1,
        priors={"drift": Positive(0.1, spread=1.0001)},
    )
    log = np.log(bs.forecast(fit, N=[3e8, 4e9], D=[3e9, 2.5e8], random_seed=1).data)
    spread = (log["mean"] - log["law"]).std(("chain", "draw")).to_numpy()
    start = np.exp(drift.Edge.of(fit.law, fit.plan.columns).columns["N"])
    law = [np.log(fit.law({"N": n, "D": 2.5e8}, fit.plan.scales, values)) for n in (start, 4e9)]
    expected = 0.1 * np.sqrt(1 + np.log(4e9 / start) / 3) * (law[0] - law[1])
    assert spread == pytest.approx([0, expected], rel=0.02)


def test_a_series_is_continued_from_its_last_checkpoint(drifting):
    plan = drifting.plan
    last = int(np.argmax(plan.log_scale))
    D = plan.columns["D"][last] * np.exp([1e-9, 4.0])
    continued = bs.forecast(drifting, D=D, series="one").data
    anew = bs.forecast(drifting, D=D[:1], series="(new)").data
    at_last = float(np.exp(plan.log_loss[last]))
    np.testing.assert_allclose(continued["loss"].isel(point=0), at_last, rtol=1e-3)
    assert float(np.log(anew["loss"]).std()) > 0.01
    assert continued["series"].to_numpy().tolist() == ["one", "one"]
    assert bs.forecast(drifting, D=D).data["loss"].equals(continued["loss"])


def test_between_checkpoints_the_noise_is_correlated_in_part(by_hand):
    """Half a memory beyond the last checkpoint: conditional mean and scale of the process."""
    values = {k: v for k, v in CURVE.items() if k != "drift"} | {"nu": 1e6}
    fit = by_hand(runs(curve()), "power(D)", values, draws=20_000, chains=1, drift="off")
    plan = fit.plan
    last = int(np.argmax(plan.log_scale))
    gap = 0.15
    D = plan.columns["D"][last] * np.exp(gap)
    log = np.log(bs.forecast(fit, D=D, series="one").data["loss"]).to_numpy().ravel()
    law = np.log([plan.law({"D": x}, plan.scales, CURVE) for x in (plan.columns["D"][last], D)])
    correlation = np.exp(-gap / 0.3)
    expected = law[1] + correlation * (plan.log_loss[last] - law[0])
    scale = 0.02 * np.sqrt(1 - correlation**2)
    assert log.std() == pytest.approx(scale, rel=0.03)
    assert log.mean() == pytest.approx(expected, abs=5 * scale / np.sqrt(20_000))


def test_a_forecast_far_beyond_a_curve_allows_for_a_break(by_hand):
    """The variance that breaks to come add to the drift: that of `future_break`."""
    values = CURVE | {"drift": 1e-6}
    fit = by_hand(runs(curve()), "power(D)", values, draws=20_000, chains=1)
    D = np.exp(fit.plan.log_scale.max() + 4.0)
    log = np.log(bs.forecast(fit, D=D).data)
    beyond = (log["mean"] - log["law"]).to_numpy().ravel()
    at_edge = np.log(fit.law({"D": np.exp(fit.plan.log_scale.max())}, fit.plan.scales, CURVE))
    change = np.log(fit.law({"D": D}, fit.plan.scales, CURVE)) - at_edge
    t = np.linspace(0, 4, 20_001)
    left = np.trapezoid(drift.BREAKS * np.exp(-drift.BREAKS * t) * (1 - t / 4) ** 2, t)
    assert beyond.std() == pytest.approx(abs(change) * drift.BREAK_SIZE * np.sqrt(left), rel=0.05)
    assert (abs(beyond) > 1e-4).mean() == pytest.approx(1 - np.exp(-4 * drift.BREAKS), abs=0.015)


def test_a_series_that_is_not_known_is_refused(drifting):
    with pytest.raises(FitError, match="there is no series 'two'"):
        bs.forecast(drifting, D=1e9, series="two")
    with pytest.raises(FitError, match="2 labels of series for 3 points"):
        bs.forecast(drifting, D=[1e9, 2e9, 3e9], series=["one", "one"])


def test_the_density_of_a_forecast_integrates_to_one(drifting):
    loss = np.linspace(0.05, 1.0, 1001)
    ahead = bs.forecast(drifting, D=np.full(len(loss), 2e9), series="one", random_seed=1)
    density = np.exp(ahead.log_density(loss))
    # Every point has its own draws of the drift, so the integral scatters a little.
    assert np.trapezoid(density, loss) == pytest.approx(1, abs=0.05)


def test_shares_of_the_width_sum_to_one_and_grow_with_distance(drifting):
    shares = bs.forecast(drifting, D=[2e9, 3e10], random_seed=1).decompose(0.9)
    np.testing.assert_allclose(shares[["parameters", "drift", "noise"]].sum(axis=1), 1)
    assert shares["drift"][1] > shares["drift"][0]
    assert shares["width"][1] > shares["width"][0]


def test_a_drift_inside_the_runs_is_kept_in_a_file(drifting, tmp_path):
    drifting.save(tmp_path / "fit.nc")
    again = bs.Fit.load(tmp_path / "fit.nc")
    assert again.plan.drift == "through"
    assert again.plan.ahead == drifting.plan.ahead
    xr.testing.assert_identical(
        bs.forecast(again, D=2e9, series="one", random_seed=1).data,
        bs.forecast(drifting, D=2e9, series="one", random_seed=1).data,
    )


# -- noise that follows the loss ---------------------------------------------------------------


@pytest.mark.slow
def test_a_trend_of_the_noise_is_found_again_and_bounds_forecasts():
    rng = np.random.default_rng(3)
    D = np.geomspace(1e6, 1e9, 300)
    loss = 0.2 + 0.4 * (D / 1e8) ** -0.3
    place = (2 * np.log(loss) - np.log(loss).min() - np.log(loss).max()) / np.ptp(np.log(loss))
    noisy = loss * np.exp(0.01 * np.exp(1.0 * place) * rng.standard_normal(300))
    table = runs(pd.DataFrame({"D": D, "loss": noisy}))
    fit = bs.fit(table, "power(D)", noise="by_loss", random_seed=1, draws=300)
    trend = fit.posterior["trend"]
    assert abs(float(trend.mean()) - 1) < 3 * float(trend.std()) + 0.15
    ends = bs.forecast(fit, D=[table.table["D"].max(), 5e10], drift="off").noise["scale"]
    assert float(ends.median(("chain", "draw"))[1]) < 0.01
    assert float(ends.median(("chain", "draw"))[1]) > 0.001


def test_a_kind_of_noise_that_is_none_is_refused():
    with pytest.raises(FitError, match="there is no noise 'loud'"):
        bs.fit(runs(curve()), "power(D)", noise="loud")


def test_the_default_drift_is_larger_for_one_law_and_where_small_runs_have_no_error():
    for other in (False, True):
        assert drift.ahead(True, other).median < drift.ahead(False, other).median
        assert drift.ahead(other, True).median < drift.ahead(other, False).median

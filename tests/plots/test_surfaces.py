"""IsoFLOP profiles and contours, on posteriors by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import BayescaleError

VALUES = {"E": 1.7, "A": 1.0, "B": 0.7, "alpha": 0.27, "beta": 0.24, "sigma": 0.005, "nu": 5.0}


@pytest.fixture
def fit_to(by_hand):
    def make(runs, values=VALUES, law="chinchilla", **options):
        rng = np.random.default_rng(1)
        drawn = {
            k: v * np.exp(0.01 * rng.standard_normal((2, 40, *np.shape(v))))
            for k, v in values.items()
        }
        fit = by_hand(runs, law, drawn, draws=40, **options)
        fit.__dict__["_check"] = type(fit.check())((), None)
        return fit

    return make


@pytest.fixture
def sweep():
    """Three budgets with six sizes each."""
    C = np.repeat([1e18, 1e19, 1e20], 6)
    N = C**0.5 * np.tile(np.geomspace(0.02, 0.6, 6), 3)
    D = C / (6 * N)
    loss = 1.7 + 400 * N**-0.34 + 410 * D**-0.28
    return bs.Runs.from_frame(pd.DataFrame({"N": N, "D": D, "loss": loss}))


def test_the_budgets_of_a_sweep_are_found_with_their_runs(
    fit_to, sweep, check_axis, clouds, legend
):
    ax = bs.plot_isoflop(fit_to(sweep))
    check_axis(ax.xaxis, "parameters N", r"\d+(\.\d+)?[KMBT]")
    assert legend(ax) == ["1e18", "1e19", "1e20"]
    assert [len(c.get_offsets()) for c in clouds(ax)] == [6, 6, 6]


def test_the_diamond_is_the_split_with_the_lowest_expected_loss(fit_to, sweep):
    fit = fit_to(sweep)
    ax = bs.plot_isoflop(fit, C=[1e19, 1e20], ci_prob=0.8)
    best = bs.allocate(fit, [1e19, 1e20])
    diamonds = [line for line in ax.lines if line.get_marker() == "D"]
    assert [d.get_xdata()[0] for d in diamonds] == pytest.approx(best.data["N_decision"].values)
    bars = [c.get_segments()[0][:, 0] for c in ax.collections if hasattr(c, "get_segments")]
    frame = best.summary(0.8)
    assert np.allclose(bars, frame[["N_eti80_lb", "N_eti80_ub"]])


def test_contours_have_the_runs_and_the_optimal_path(fit_to, openlm, check_axis, line_of, clouds):
    runs = openlm.query("dataset == 'c4'")
    fit = fit_to(runs)
    ax = bs.plot_contours(fit)
    check_axis(ax.xaxis, "training tokens D", r"\d+(\.\d+)?[KMBT]")
    check_axis(ax.yaxis, "parameters N", r"\d+(\.\d+)?[KMBT]")
    path = line_of(ax, "lowest expected loss")
    N, D = path.get_ydata()[20], path.get_xdata()[20]
    best = bs.allocate(fit, 6 * N * D)
    assert float(best.data["N_decision"][0]) == pytest.approx(N, rel=1e-3)
    assert any(len(c.get_offsets()) == len(runs) for c in clouds(ax))


def test_laws_without_n_and_d_are_refused(fit_to, openlm):
    values = {"E": 1.7, "A": 1.7, "alpha": 0.16, "sigma": 0.02, "nu": 5.0}
    fit = fit_to(openlm.query("dataset == 'c4'"), values, "power")
    for plot in (bs.plot_isoflop, bs.plot_contours):
        with pytest.raises(BayescaleError, match="only a law in N and D"):
            plot(fit)


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (bs.plot_fit, "plot_fit: it draws Fit or Average, got Forecast; plot_forecast draws"),
        (bs.plot_posterior, "plot_posterior: it draws Fit, got Forecast"),
        (bs.plot_residuals, "plot_residuals: it draws Fit, got Forecast"),
        (bs.plot_allocation, "plot_allocation: it draws Allocation, got Forecast"),
        (bs.plot_rollout, "plot_rollout: it draws Rollout, got Forecast"),
        (bs.plot_coverage, "plot_coverage: it draws Rollout, got Forecast"),
        (bs.plot_runs, "expected Runs, got Forecast"),
        (bs.plot_isoflop, "plot_isoflop: it draws Fit or Average, got Forecast"),
        (bs.plot_contours, "plot_contours: it draws Fit or Average, got Forecast"),
        (bs.plot_breaks, "plot_breaks: it draws Breaks, got Forecast"),
        (bs.plot_link, "plot_link: it draws Link, got Forecast"),
        (bs.plot_sbc, "plot_sbc: it draws Calibration, got Forecast"),
        (bs.plot_exponents, "plot_exponents: it draws Hypotheses or Mapping, got Forecast"),
    ],
)
def test_results_of_another_type_are_refused_in_one_sentence(fit_to, openlm, plot, message):
    ahead = bs.forecast(fit_to(openlm.query("dataset == 'c4'")), C="1e21")
    with pytest.raises(BayescaleError, match=f"^{message}"):
        plot(ahead)
    with pytest.raises(BayescaleError, match="plot_forecast: it draws Forecast, got"):
        bs.plot_forecast(ahead.fit)


def test_an_average_has_no_posterior_densities(fit_to, openlm):
    fit = fit_to(openlm.query("dataset == 'c4'"))
    with pytest.raises(BayescaleError, match="give one of its fits"):
        bs.plot_posterior(bs.Average({"chinchilla": fit}, {"chinchilla": 1.0}))

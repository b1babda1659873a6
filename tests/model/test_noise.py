"""The noise of log loss: its trend with the loss, and its correlation along a series."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.model.noise import (
    LONG,
    MEMORY,
    NOISE,
    TREND,
    correlation,
    factor,
    innovation,
    unexplained,
)


def test_noise_follows_the_loss_inside_the_data_and_stays_beyond():
    low, high = np.log(2), np.log(4)
    by_loss = factor(0.7, np.log([0.5, 2, np.sqrt(8), 4, 90]), np.array([low, high]))
    np.testing.assert_allclose(np.log(by_loss), [-0.7, -0.7, 0, 0.7, 0.7], atol=1e-12)


def test_the_correlation_falls_by_e_in_one_memory():
    np.testing.assert_allclose(correlation(np.array([0.0, 0.3, 0.6]), 0.3), np.exp([0, -1, -2]))


@pytest.mark.parametrize("memory", [0.05, 0.3, 4.0])
def test_innovations_of_an_autocorrelated_series_are_independent_with_unit_scale(memory):
    """Exactly: innovations are linear, and their matrix turns the covariance into the identity."""
    scale = np.cumsum([0.0, 0.1, 0.02, 0.4, 0.25])
    covariance = np.exp(-np.abs(scale[:, None] - scale) / memory)
    rows = [np.eye(5)[0]]
    for i in range(1, 5):
        kept = correlation(scale[i] - scale[i - 1], memory)
        rows.append(innovation(np.eye(5)[i], np.eye(5)[i - 1], kept))
    of_residuals = np.array(rows)
    np.testing.assert_allclose(of_residuals @ covariance @ of_residuals.T, np.eye(5), atol=1e-12)


def test_what_the_previous_checkpoint_does_not_explain():
    np.testing.assert_allclose(unexplained(np.array([0.0, 0.6, 0.8])), [1.0, 0.8, 0.6])


def test_priors_contain_the_noise_of_published_runs():
    low, high = NOISE["sigma"].interval(0.9)
    assert low < 0.003 < 0.03 < high  # from well-fitted sweeps to unusual recipes
    low, high = NOISE["nu"].interval(0.9)
    assert low < 2 < 20 < high  # from heavy tails to nearly normal ones
    assert TREND.median == 0
    # Neighbours on a long run are correlated, and checkpoints a factor of e apart are not.
    near, far = correlation(np.array([0.05, 1.0]), MEMORY.median)
    assert near > 0.5
    assert far < 0.05


def test_the_first_checkpoint_of_a_series_has_no_predecessor():
    """Its gap is `LONG`, over which no plausible noise is correlated."""
    assert correlation(LONG, MEMORY.interval(1 - 1e-6)[1]) == 0


class TestRunningMinima:
    """Series that never rise and repeat values tell nothing about the scatter of a measurement."""

    D = np.geomspace(1e7, 1e9, 40)

    @pytest.fixture
    def fitted(self, by_hand):
        """A posterior of one curve, and its forecast just beyond the last checkpoint."""
        noise = np.exp(0.05 * np.random.default_rng(1).standard_normal(40))
        measured = 0.2 + 0.4 * (self.D / 1e8) ** -0.3 * noise

        def make(loss, series="one", sigma=1e-4, **options):
            loss = loss(measured)
            runs = bs.Runs.from_frame(pd.DataFrame({"D": self.D, "loss": loss, "series": series}))
            values = dict(E=0.2, A=0.4, alpha=0.3, sigma=sigma, memory=5.0, drift=1e-4)
            values = {k: v for k, v in values.items() if k not in options.get("priors", {})}
            fit = by_hand(runs, "power(D)", values, draws=2000, **options)
            return fit.plan, bs.forecast(fit, D=1.01e9, series="one", random_seed=1).data

        return make

    @pytest.mark.parametrize(("loss", "hidden"), [
        (lambda y: y, False),
        (np.minimum.accumulate, True),
        (lambda y: np.sort(y)[::-1], False),  # never rises, but without ties
    ])  # fmt: skip
    def test_a_measurement_scatters_by_its_prior(self, fitted, loss, hidden):
        plan, found = fitted(loss)
        assert plan.hides_scatter == hidden
        scatter = np.log(found["loss"] / found["mean"]).std()
        # Fitted are 1e-4; the noise next to a checkpoint is smaller still.
        assert (scatter > 0.005) == hidden

    def test_it_does_not_continue_the_noise_of_the_last_minimum(self, fitted):
        """The last loss is a tenth below the law, and the memory of the noise is long."""
        shift = {}
        for name, loss in (("hidden", np.minimum.accumulate), ("measured", lambda y: y)):
            _, found = fitted(lambda y, loss=loss: loss(np.append(y[:-1], 0.9 * y[-2])), sigma=0.05)
            shift[name] = float(np.log(found["loss"] / found["mean"]).median())
        assert shift["measured"] < -0.05 < -0.01 < shift["hidden"] < 0.01

    def test_a_scale_that_is_given_is_kept(self, fitted):
        _, found = fitted(np.minimum.accumulate, priors={"sigma": bs.Fixed(1e-3)})
        scatter = float(np.log(found["loss"] / found["mean"]).std())
        assert scatter == pytest.approx(1e-3, rel=0.1)

    def test_one_series_as_measured_tells_the_scatter_of_all(self, fitted):
        half = np.where(np.arange(40) % 2, "one", "two")
        minima = lambda y: np.where(half == "one", np.minimum.accumulate(y), y)  # noqa: E731
        plan, _ = fitted(minima, series=half)
        assert list(plan.ties.index) == ["one"]
        assert not plan.hides_scatter

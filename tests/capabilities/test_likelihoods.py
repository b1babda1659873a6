"""Likelihoods of metrics: derivatives, and scores drawn from the same density."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayescale.capabilities.break_model import BreakModel, Curve
from bayescale.capabilities.likelihoods import Accuracy, Loss, PlottedAccuracy

S = np.linspace(-3, 3, 12)
NOISE = np.exp(0.01 * np.random.default_rng(1).standard_normal(12))
LOSSES = (0.5 + 0.5 * np.exp(-0.35 * S)) * NOISE
QUESTIONS = np.full(12, 400.0)
METRICS = {
    "loss": Loss(LOSSES, np.zeros(12)),
    "loss with known errors": Loss(LOSSES, np.full(12, 0.02)),
    "accuracy": Accuracy(np.linspace(0.25, 0.9, 12), QUESTIONS, 0.25),
    "free answers": Accuracy(np.linspace(0.0, 0.6, 12), QUESTIONS, 0.0),
    "plotted accuracy": PlottedAccuracy(np.linspace(0.05, 0.9, 12), QUESTIONS, 0.0),
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def model_of(metric, n_breaks: int) -> BreakModel:
    return BreakModel(Curve(S, metric, np.full(12, -1)), n_breaks)


@every_metric
def test_derivatives_match_finite_differences(metric):
    model = model_of(metric, 1)
    rng = np.random.default_rng(0)
    h = model.hyperparameters(model.draw_prior(5, rng))
    eta = metric.initial_eta(h) + 0.1 * rng.standard_normal((5, 12))
    step = 1e-6
    up, down = (metric.terms(eta + d, h) for d in (step, -step))
    gradient = (up.log_density - down.log_density) / (2 * step)
    assert metric.terms(eta, h).gradient == pytest.approx(gradient, rel=1e-4, abs=1e-4)
    information = np.maximum((down.gradient - up.gradient) / (2 * step), 0)
    assert metric.observed_information(eta, h) == pytest.approx(information, rel=1e-3, abs=1e-2)


@every_metric
def test_the_expected_gradient_is_zero_for_drawn_scores(metric):
    """A property of any density at the parameters that generated the data."""
    model = model_of(metric, 0)
    rng = np.random.default_rng(3)
    h = model.hyperparameters(np.zeros((1, model.dimension)))
    low = 0.1 if isinstance(metric, PlottedAccuracy) else -2
    eta = np.clip(metric.initial_eta(h), low, 0.9)
    gradients = []
    for _ in range(4000):
        drawn = replace(metric, y=metric.draw(eta, h, rng)[0])
        if isinstance(metric, Loss) and metric.sd.any():
            # Known errors are proportional to the observed score.
            noise = rng.standard_t(h["nu"][0], 12) * np.hypot(h["sigma"][0], metric.sd / metric.y)
            y = metric.mean(eta, h)[0] * np.exp(noise)
            drawn = replace(drawn, y=y, sd=metric.sd / metric.y * y)
        gradients.append(drawn.terms(eta, h).gradient[0])
    gradients = np.array(gradients)
    error = gradients.std(axis=0) / np.sqrt(len(gradients))
    assert (abs(gradients.mean(axis=0)) < 4.5 * error).all()


@every_metric
def test_the_mode_does_not_depend_on_the_starting_value(metric):
    model = model_of(metric, 1)
    positions = model.draw_prior(40, np.random.default_rng(2))
    value, best = model.log_likelihood(positions)
    other, _ = model.log_likelihood(positions, best + 0.3)
    likely = value > value.max() - 20
    assert other[likely] == pytest.approx(value[likely], abs=0.2)

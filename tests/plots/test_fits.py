"""Plots of a fit: the law, the posterior and residuals."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

import bayescale as bs
from bayescale.plots import style

COUNT = r"\d+(\.\d+)?[KMBT]"
FLOP = r"\de\d+"
NUMBER = r"\d+(\.\d+)?"
PARAMETERS = "parameters N"
TOKENS = "training tokens D"
COMPUTE = "training compute C (FLOP)"
LOSS = "loss (nats per token)"


@pytest.fixture
def power(by_hand, openlm):
    rng = np.random.default_rng(1)
    values = {"E": 1.8, "A": 1.2, "alpha": 0.1, "sigma": 0.05, "nu": 5.0}
    values = {k: v * np.exp(0.01 * rng.standard_normal((4, 250))) for k, v in values.items()}
    return by_hand(openlm.query("dataset == 'c4'"), "power", values, chains=4, draws=250)


def test_a_fit_is_drawn_over_compute_in_a_colour_per_group(openlm_fit, check_axis, colours, legend):
    ax = bs.plot_fit(openlm_fit)
    check_axis(ax.xaxis, COMPUTE, FLOP)
    check_axis(ax.yaxis, LOSS, NUMBER)
    assert colours(ax) == [c.lower() for c in style.COLOURS[:3]]
    assert [line.get_color() for line in ax.lines] == list(style.COLOURS[:3])
    assert legend(ax) == ["c4", "redpajama", "refinedweb"]


def test_bands_are_wider_for_higher_probabilities(c4_fit):
    def width(ci_prob):
        ax = bs.plot_fit(c4_fit, ci_prob=ci_prob)
        assert f"{100 * ci_prob:.0f} % bands" in ax.get_title()
        vertices = ax.collections[0].get_paths()[0].vertices
        return np.ptp(vertices[vertices[:, 0] == vertices[:, 0].max(), 1])

    assert width(0.5) < width(0.9) < width(0.99)


def test_published_constants_are_drawn_by_name(c4_fit, legend):
    ax = bs.plot_fit(c4_fit, references="all")
    labels = [f"{p.label}, other tokenizer" for p in c4_fit.law.published.values()]
    assert set(labels) < set(legend(ax))
    assert len({line.get_linestyle() for line in ax.lines}) > 1
    for references in ("hoffmann2022", ["hoffmann2022"]):
        ax = bs.plot_fit(c4_fit, references=references)
        assert [p in legend(ax) for p in labels] == [True, False]
    line = ax.lines[-1]
    raw = c4_fit.law.published["hoffmann2022"].values
    C, loss = line.get_data()
    N = c4_fit.law.optimum(C / 6, **raw)
    assert loss == pytest.approx(c4_fit.law.loss(N, C / 6 / N, **raw))
    with pytest.raises(bs.LawError, match="Did you mean 'hoffmann2022'"):
        bs.plot_fit(c4_fit, references="hofmann2022")


@pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
def test_a_law_of_one_column_is_drawn_against_it(power, check_axis):
    check_axis(bs.plot_fit(power).xaxis, COMPUTE, FLOP)
    panels = bs.plot_posterior(power)
    assert [ax.get_title() for ax in panels.flat if ax.axison] == [
        "E (irreducible loss, nats per token)",
        "A (at the centre, nats per token)",
        "alpha",
    ]


def test_posteriors_have_a_panel_each_with_prior_population_and_groups(openlm_fit, legend):
    panels = bs.plot_posterior(openlm_fit)
    assert panels.shape == (2, 3)
    *drawn, last = panels.flat
    assert [ax.get_title() for ax in drawn] == [
        "E (irreducible loss, nats per token)",
        "A (at the centre, nats per token)",
        "B (at the centre, nats per token)",
        "alpha",
        "beta",
    ]
    assert legend(last) == ["prior", "population", "c4", "redpajama", "refinedweb"]
    for ax in drawn:
        assert len({line.get_color() for line in ax.lines}) == 4
        low, high = ax.get_xlim()
        assert all(low < line.get_xdata()[line.get_ydata().argmax()] < high for line in ax.lines)
    assert bs.plot_posterior(openlm_fit, ncols=5).shape == (1, 5)


def test_residuals_have_a_panel_per_column_and_labels(openlm_fit, check_axis, colours, legend):
    panels = bs.plot_residuals(openlm_fit, label=3)
    assert [isinstance(ax, Axes) for ax in panels] == [True] * 3
    for ax, label, pattern in zip(
        panels, (PARAMETERS, TOKENS, COMPUTE), (COUNT, COUNT, FLOP), strict=True
    ):
        check_axis(ax.xaxis, label, pattern)
        assert len(set(colours(ax))) == 3
        surprising = openlm_fit.check().surprising.index[:3]
        assert [t.get_text() for t in ax.texts] == list(map(str, surprising))
    assert panels[0].get_ylabel() == "residual: observed loss / law - 1 (%)"
    assert legend(panels[-1]) == ["c4", "redpajama", "refinedweb"]


def test_a_failed_fit_warns(power):
    for plot in (bs.plot_fit, bs.plot_posterior, bs.plot_residuals):
        with pytest.warns(bs.ConvergenceWarning):
            plot(power)

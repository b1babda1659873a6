"""Plots of forecasts and allocations."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.plots import style

COUNT = r"\d+(\.\d+)?[KMBT]"
FLOP = r"\de\d+"
NUMBER = r"\d+(\.\d+)?"
PARAMETERS = "parameters N"
TOKENS = "training tokens D"
COMPUTE = "training compute C (FLOP)"
BANDS = ("PolyCollection", "FillBetweenPolyCollection")
LOSS = "loss (nats per token)"


def test_a_forecast_is_drawn_against_the_column_with_the_widest_range(c4_fit, check_axis, legend):
    ahead = bs.forecast(c4_fit, N=bs.grid("100M", "10B", 20), D="20B")
    ax = bs.plot_forecast(ahead, ci_prob=0.8)
    check_axis(ax.xaxis, COMPUTE, FLOP)
    check_axis(ax.yaxis, LOSS, NUMBER)
    assert legend(ax) == [
        "loss of a new run, 80 %",
        "mean, 80 %",
        "fitted runs, the larger 17 of 34",
    ]
    check_axis(bs.plot_forecast(ahead, x="N").xaxis, PARAMETERS, COUNT)
    with pytest.raises(bs.FitError, match="no column 'E'"):
        bs.plot_forecast(ahead, x="E")


@pytest.mark.parametrize("budgets", [[1e21], [1e21, 1e22]])
def test_single_points_are_drawn_as_bars(c4_fit, budgets, check_axis, ticks):
    ax = bs.plot_forecast(bs.forecast(c4_fit, C=budgets))
    check_axis(ax.yaxis, LOSS, NUMBER)
    assert ax.get_xlabel() == COMPUTE
    assert ticks(ax.xaxis)
    assert [len(c.get_segments()) for c in ax.collections[:2]] == [len(budgets)] * 2


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ({"N": [1e10], "D": [2e11]}, "mean at 20 tokens per parameter"),
        ({"N": [1e10, 2e10], "D": [2e11, 8e11]}, "mean on the line through both"),
    ],
)
def test_a_line_leads_from_the_fitted_runs_to_single_points(c4_fit, legend, points, text):
    ahead = bs.forecast(c4_fit, **points)
    ax = bs.plot_forecast(ahead)
    (line,) = [line for line in ax.lines if line.get_label() == text]
    runs = c4_fit.runs.table
    C, mean = line.get_data()
    assert C[0] == pytest.approx(runs["C"].median())
    assert C[-1] == pytest.approx(6 * points["N"][-1] * points["D"][-1])
    last = ahead.data["mean"].isel(point=-1).median()
    assert mean[-1] == pytest.approx(float(last), rel=0.01)
    assert (np.diff(mean) < 0).all()


@pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
@pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
def test_under_a_law_of_one_column_a_band_leads_to_a_single_point(by_hand, clouds):
    D = np.geomspace(1e9, 2e10, 12)
    runs = bs.Runs.from_frame(pd.DataFrame({"D": D, "loss": 2 + 3 * (D / 1e9) ** -0.4}))
    rng = np.random.default_rng(1)
    values = dict(E=1.7, A=0.5, alpha=0.34, sigma=0.01, nu=5.0)
    drawn = {n: v * np.exp(0.01 * rng.standard_normal((4, 500))) for n, v in values.items()}
    fit = by_hand(runs, "power(D)", drawn, draws=500, chains=4)
    ax = bs.plot_forecast(bs.forecast(fit, D=[1e11]))
    (band,) = [c for c in ax.collections if type(c).__name__ in BANDS]
    x = band.get_paths()[0].vertices[:, 0]
    assert (x.min(), x.max()) == pytest.approx((1e9, 1e11))
    (cloud,) = clouds(ax)
    assert len(cloud.get_offsets()) == len(runs)


def test_without_other_runs_the_fitted_ones_of_the_larger_half_are_drawn(c4_fit, clouds, legend):
    runs = c4_fit.runs.table
    ax = bs.plot_forecast(bs.forecast(c4_fit, C=[1e22]))
    (cloud,) = clouds(ax)
    larger = runs[runs["C"] >= runs["C"].median()]
    assert np.array_equal(cloud.get_offsets(), larger[["C", "loss"]])
    (all_of_them,) = clouds(bs.plot_forecast(bs.forecast(c4_fit, C=bs.grid(1e15, 1e22, 9))))
    assert len(all_of_them.get_offsets()) == len(runs)
    assert legend(ax)[-1] == f"fitted runs, the larger {len(larger)} of {len(runs)}"


def test_observed_runs_are_drawn_on_top_in_another_colour(c4_fit, openlm, clouds, colours, legend):
    held = openlm.query("dataset == 'c4' and N > 5e8")
    ahead = bs.forecast(c4_fit, N=bs.grid("100M", "10B", 20), D="20B")
    ax = bs.plot_forecast(ahead, observed=held, x="N")
    (cloud,) = clouds(ax)
    assert np.array_equal(cloud.get_offsets(), held.table[["N", "loss"]])
    assert colours(ax) == [style.COLOURS[1].lower()]
    assert legend(ax)[-1] == "observed"


def test_an_allocation_has_two_panels_with_known_models(c4_fit, check_axis, legend):
    with pytest.warns(bs.ExtrapolationWarning):
        split = bs.allocate(c4_fit, bs.grid(1e22, 1e26, 12))
    panels = bs.plot_allocation(split)
    for ax, column, label in zip(panels, "ND", (PARAMETERS, TOKENS), strict=True):
        check_axis(ax.xaxis, COMPUTE, FLOP)
        check_axis(ax.yaxis, label, COUNT)
        assert "Chinchilla" in [t.get_text() for t in ax.texts]
        assert np.array_equal(ax.lines[0].get_ydata(), split.data[f"{column}_decision"])
    assert {
        f"{name} (other tokenizer)"
        for name in ("Kaplan et al. 2020", "Hoffmann et al. 2022, refitted")
    } < set(legend(panels[0]))
    bare = bs.plot_allocation(split, landmarks=False)
    assert not any(ax.texts for ax in bare)
    assert not any("Kaplan et al. 2020" in text for text in legend(bare[0]))
    assert legend(bare[0])[-1] == "beyond 100 times the largest run"


def test_one_budget_is_refused(c4_fit):
    with pytest.raises(bs.FitError, match="plot_allocation needs two or more budgets"):
        bs.plot_allocation(bs.allocate(c4_fit, [1e22, 1e22]))
    assert not plt.get_fignums()


def test_only_points_on_one_path_are_joined(c4_fit):
    grid = bs.forecast(c4_fit, N=[1e9, 1e9, 3e9, 3e9], D=[2e10, 2e11, 2e10, 2e11])
    ax = bs.plot_forecast(grid)
    assert ax.lines[0].get_linestyle() == "None"
    assert [len(c.get_segments()) for c in ax.collections[:2]] == [4, 4]
    path = bs.plot_forecast(bs.forecast(c4_fit, N=[1e9, 1e9, 1e9], D=[2e10, 5e10, 2e11]))
    assert path.lines[0].get_linestyle() == "-"


def test_the_legend_of_an_allocation_covers_no_line(c4_fit):
    panels = bs.plot_allocation(bs.allocate(c4_fit, bs.grid(1e20, 1e22, 5)))
    panels[0].figure.draw_without_rendering()
    (legend,) = panels[0].figure.legends
    box = legend.get_window_extent()
    assert not any(box.overlaps(ax.get_window_extent()) for ax in panels)
    # It is across the figure, so that no half of it is empty.
    assert box.x0 < panels[0].get_window_extent().x1 < panels[1].get_window_extent().x0 < box.x1


@pytest.mark.filterwarnings("ignore::bayescale.errors.RunsWarning")
def test_far_outliers_do_not_squeeze_the_axis(c4_fit, openlm, legend):
    runs = openlm.query("dataset == 'c4'")
    table = runs.table[["N", "D", "loss"]].reset_index(drop=True)
    highest = float(table["loss"].max())
    table.loc[[3, 9], "loss"] = 30.0, 90.0
    ahead = bs.forecast(c4_fit, C=[1e21, 1e22])
    plain = bs.plot_forecast(ahead, observed=runs)
    assert not any("above the axis" in text for text in legend(plain))
    ax = bs.plot_forecast(ahead, observed=bs.Runs.from_frame(table))
    assert ax.get_ylim()[1] < 1.3 * highest
    assert legend(ax)[-1] == "2 runs above the axis, loss up to 90"

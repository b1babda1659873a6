"""The plot of held-out runs, on draws made by hand."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from bayescale.errors import BayescaleError, ConvergenceWarning
from bayescale.plots import plot_coverage, plot_rollout, style


@pytest.fixture
def curves(forecast, rolled):
    """Fourteen curves, the odd ones with few checkpoints."""
    parts = [
        forecast(
            "power(C)",
            f"c{k}, is_train",
            curve=f"c{k}",
            n=8 if k % 2 else 40,
            threshold=np.nan,
            seed=k,
            sd=0.015,
        )
        for k in range(14)
    ]
    return rolled(*parts, each="curve")


def cloud(ax, label) -> dict:
    """Places, colour and marker of the measured losses called `label`."""
    (found,) = [c for c in ax.collections if c.get_label() == label]
    places = np.asarray(found.get_offsets())
    return dict(
        at=places[:, 0],
        loss=places[:, 1],
        colour=to_hex(found.get_facecolor()[0]),
        shape=found.get_paths()[0].vertices.tobytes(),
    )


def bars(ax, label) -> np.ndarray:
    """Of every bar its place, low and high end."""
    (found,) = [c for c in ax.collections if c.get_label() == label]
    return np.array([[s[0, 0], *sorted(s[:, 1])] for s in found.get_segments()])


def test_intervals_are_at_the_compute_of_their_run(line_of, forecast, rolled):
    points = forecast("power", n=6)
    (ax,) = plot_rollout(rolled(points))
    assert isinstance(ax, Axes)
    assert bars(ax, "90 % interval") == pytest.approx(points[["C", "low90", "high90"]].to_numpy())
    assert bars(ax, "50 % interval") == pytest.approx(points[["C", "low50", "high50"]].to_numpy())
    median = line_of(ax, "median")
    assert median.get_xydata() == pytest.approx(points[["C", "median"]].to_numpy())
    assert median.get_linestyle() == "None"
    thin, thick = (
        next(c for c in ax.collections if c.get_label() == f"{k} % interval").get_linewidth()[0]
        for k in (90, 50)
    )
    assert thick > 2 * thin


@pytest.mark.parametrize("prob", [0.8, 0.9, 0.95])
def test_runs_outside_have_another_colour_and_marker(prob, forecast, rolled):
    points = forecast("power", n=20, sd=0.012)
    (ax,) = plot_rollout(rolled(points), prob=prob)
    inside = points[f"inside{100 * prob:.0f}"].to_numpy()
    assert 0 < inside.sum() < 20
    held, missed = cloud(ax, "measured, inside"), cloud(ax, "measured, outside")
    for found, chosen in ((held, inside), (missed, ~inside)):
        assert found["at"] == pytest.approx(points["C"][chosen].to_numpy())
        assert found["loss"] == pytest.approx(points["loss"][chosen].to_numpy())
    assert (held["colour"], missed["colour"]) == tuple(c.lower() for c in style.COLOURS[:2])
    assert held["shape"] != missed["shape"]
    assert ax.get_title() == f"C >= 1e20\n{inside.sum()} of 20 inside"
    assert f"{100 * prob:.0f} % intervals" in ax.figure.get_suptitle()


def test_axes_are_logarithmic_with_units_and_readable_ticks(ticks, forecast, rolled):
    made = rolled(forecast("power", n=6))
    (ax,) = plot_rollout(replace(made, loss_unit="bits per byte"))
    assert ax.get_ylabel() == "loss (bits per byte)"
    (ax,) = plot_rollout(made)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training compute C (FLOP)", "loss")
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert {"1e20", "1e21"} <= set(ticks(ax.xaxis))
    assert [t.get_text() for t in ax.figure.legends[0].get_texts()] == [
        "90 % interval",
        "50 % interval",
        "median",
        "measured, inside",
        "measured, outside",
        "threshold",
    ]


@pytest.mark.parametrize(("problem", "column", "x", "edge", "called"), [
    ("C >= 1e20", None, "C", 1e20, "threshold"), ("C >= 1e20", "N", "N", None, None),
    ("N >= 1B", None, "N", 1e9, "threshold"), ("a, b, N >= 1B", None, "N", 1e9, "threshold"),
    ("C >= 1e20", "extrapolation", "extrapolation", 1.0, "largest fitted run"),
    ("is_train", None, "C", 1e20, "largest fitted run"), ("is_train", "N", "N", None, None),
    ("steps >= 1000", None, "C", None, None),
])  # fmt: skip
def test_a_line_shows_where_the_fitted_runs_end(problem, column, x, edge, called, forecast, rolled):
    threshold = {"N": 1e9, "C": 1e20, "s": 1000.0, "a": 1e9}.get(problem[0], np.nan)
    N = np.array([1.1, 1.2, 8, 2, 3, 9]) * 1e9
    points = forecast("power", problem, n=6, threshold=threshold, N=N)
    (ax,) = plot_rollout(rolled(points), column=column)
    assert sorted(bars(ax, "90 % interval")[:, 0]) == pytest.approx(sorted(points[x]))
    lines = {
        line.get_label(): line.get_xdata()[0]
        for line in ax.lines
        if line.get_label() in ("threshold", "largest fitted run")
    }
    assert lines == ({called: pytest.approx(edge)} if called else {})


def test_runs_of_equal_compute_are_side_by_side_by_size(forecast, rolled):
    N = np.array([4e9, 1e9, 2e9, 8e9])
    points = forecast("power", C=[1e21] * 4, N=N)
    (ax,) = plot_rollout(rolled(points))
    assert bars(ax, "90 % interval")[:, 0] == pytest.approx(np.sort(N))  # as a sweep
    (ax,) = plot_rollout(rolled(points), column="C")
    drawn = bars(ax, "90 % interval")
    assert drawn[:, 0] == pytest.approx(1e21, rel=0.3)
    assert np.log(drawn[:, 0]).mean() == pytest.approx(np.log(1e21))
    assert np.diff(np.log(drawn[:, 0])) == pytest.approx(0.069, abs=0.01)
    assert drawn[:, 1] == pytest.approx(points["low90"].to_numpy()[np.argsort(N)])


def test_bars_are_not_shifted_into_other_values(forecast, rolled):
    C = np.repeat([1e21, 1.05e21, 4e21], [9, 9, 1])
    sweeps = forecast("power", C=C, N=np.geomspace(1e8, 1e10, 19))
    (ax,) = plot_rollout(rolled(sweeps), column="C")
    places = bars(ax, "90 % interval")[:, 0]
    middle = np.sqrt(1e21 * 1.05e21)
    assert (places[:9] < middle).all()
    assert (places[9:18] > middle).all()
    assert (np.diff(places) > 0).all()
    assert places[18] == pytest.approx(4e21)
    near = forecast("power", C=[1e21, 1.01e21], N=[1e9, 2e9])
    (ax,) = plot_rollout(rolled(near))
    assert bars(ax, "90 % interval")[:, 0] == pytest.approx([1e21, 1.01e21])


def test_many_runs_have_thinner_bars(forecast, rolled):
    widths = []
    for n in (5, 120):
        (ax,) = plot_rollout(rolled(forecast("power", C=np.repeat([2e20, 1e21, 5e21], n))))
        (found,) = [c for c in ax.collections if c.get_label() == "50 % interval"]
        widths.append(found.get_linewidth()[0])
    assert widths[0] > 2 * widths[1]


def test_every_problem_has_a_panel_and_more_than_twelve_are_counted(two, curves, forecast, rolled):
    panels = plot_rollout(two)
    assert [ax.get_title().split("\n")[0] for ax in panels] == [f"C >= {k}e20" for k in range(1, 7)]
    assert panels[0].figure.get_suptitle() == "wide: held-out runs and their 90 % intervals"
    panels = plot_rollout(curves)
    assert len(panels) == 12
    assert panels[0].figure.get_suptitle().endswith("(12 of 14 problems)")
    assert sum(ax.get_visible() for ax in panels[0].figure.axes) == 12
    five = rolled(*(forecast("power", f"C >= {k}e20") for k in range(1, 6)))
    assert sum(ax.get_visible() for ax in plot_rollout(five)[0].figure.axes) == 5


def test_long_curves_are_bands_and_short_ones_bars(curves, line_of):
    long, short, *_ = plot_rollout(curves)
    assert long.get_title().startswith("c0\n")
    points = curves.points[curves.points["curve"] == "c0"]
    for k in (50, 90):
        (band,) = [c for c in long.collections if c.get_label() == f"{k} % interval"]
        y = band.get_paths()[0].vertices[:, 1]
        expected = {*points[f"low{k}"].round(9), *points[f"high{k}"].round(9)}
        assert expected <= set(y.round(9))
    assert line_of(long, "median").get_linestyle() == "-"
    assert line_of(long, "median").get_ydata() == pytest.approx(points["median"].to_numpy())
    missed = cloud(long, "measured, outside")
    assert len(missed["at"]) == (~points["inside90"]).sum() > 0
    assert len(bars(short, "90 % interval")) == 8


def test_a_long_table_of_different_sizes_is_drawn_with_bars(forecast, rolled):
    N = np.tile([1e9, 2e9], 20)
    points = forecast("chinchilla", "c4, C >= 1e20", n=40, dataset="c4", N=N, D=N[::-1] * 20)
    (ax,) = plot_rollout(rolled(points, each="dataset"))
    assert len(bars(ax, "90 % interval")) == 40


def test_rollouts_without_N_D_and_C_are_drawn_against_extrapolation(forecast, rolled):
    points = forecast("power(t)", "t >= 100", threshold=100.0, n=5).drop(columns="C")
    (ax,) = plot_rollout(rolled(points))
    assert ax.get_xlabel() == "multiple of the largest fitted run"
    assert bars(ax, "90 % interval")[:, 0] == pytest.approx(points["extrapolation"].to_numpy())


def test_losses_of_several_decades_have_a_tick_per_decade(ticks, forecast, rolled):
    points = forecast("power", n=8)
    decades = np.geomspace(1, 1e-3, 8)
    scaled = {c: points[c] * decades for c in points if c[:3] in ("los", "med", "low", "hig")}
    (ax,) = plot_rollout(rolled(points.assign(**scaled)))
    assert ticks(ax.yaxis) == ["0.01", "0.1", "1"]


def test_long_names_are_cut(forecast, rolled):
    name = "imagenet_25/a_very_long_name_of_a_model, C >= 1e20"
    (ax,) = plot_rollout(rolled(forecast("power", name)))
    assert ax.get_title().split("\n")[0] == name[:35] + "…"


def test_a_baseline_can_be_drawn_and_the_average_comes_first(two, forecast, rolled):
    assert plot_rollout(two, law="persistence")[0].figure.get_suptitle().startswith("persistence")
    mixed = rolled(two.points, forecast("average"))
    assert plot_rollout(mixed)[0].figure.get_suptitle().startswith("average")


def test_all_problems_are_reported_at_once(two):
    with pytest.raises(BayescaleError) as caught:
        plot_rollout(two, column="D", prob=0.7)
    assert len(caught.value.problems) == 2
    assert "C, extrapolation" in caught.value.problems[0]
    assert "0.8, 0.9, 0.95" in caught.value.problems[1]
    with pytest.raises(BayescaleError, match="no law in this rollout 'average'"):
        plot_rollout(two, law="average")
    assert not plt.get_fignums()


@pytest.mark.parametrize("plot", [plot_coverage, plot_rollout])
def test_forecasts_that_did_not_converge_warn(plot, forecast, rolled):
    mixed = rolled(forecast("power"), forecast("power", "C >= 2e20", converged=False))
    with pytest.warns(ConvergenceWarning, match="chains of 1 of 2 forecasts") as w:
        plot(mixed)
    assert w[0].filename == __file__


def test_the_rollout_and_the_global_style_are_not_changed(two):
    before, style_before = two.points.copy(), dict(plt.rcParams)
    plot_coverage(two, by="distance")
    plot_rollout(two)
    pd.testing.assert_frame_equal(two.points, before)
    assert dict(plt.rcParams) == style_before


def test_runs_of_one_budget_are_in_order_of_n_although_their_compute_is_rounded(forecast, rolled):
    points = forecast("power", n=6).assign(N=[3e9, 1e9, 6e9, 4e9, 2e9, 5e9])
    points["C"] = 1e21 * (1 + 1e-12 * np.array([1.0, 5, 2, 4, 6, 3]))
    (ax,) = plot_rollout(rolled(points), column="C")
    expected = points.sort_values("N")[["low90", "high90"]].to_numpy()
    assert bars(ax, "90 % interval")[:, 1:] == pytest.approx(expected)

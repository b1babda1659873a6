"""Pictures of rollouts, on draws made by hand: what is drawn is what the points say."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from scipy.stats import binom

from bayescale.errors import BayescaleError, ConvergenceWarning
from bayescale.evaluation.jobs import scored
from bayescale.evaluation.rollouts import Rollout
from bayescale.plots import style
from bayescale.plots.coverage import LEVELS, plot_coverage, plot_rollout

HUBER = "log-Huber bootstrap"


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def forecast(
    law,
    problem="C >= 1e20",
    *,
    sd=0.02,
    method="bayescale",
    threshold=1e20,
    n=30,
    converged=True,
    seed=1,
    **columns,
) -> pd.DataFrame:
    """Points whose losses scatter by 2 % about the centre of forecasts that claim `sd`."""
    rng = np.random.default_rng(seed)
    C = np.asarray(columns.pop("C", np.geomspace(1.1e20, 9e21, n)), float)
    centre = 2 + (C / 1e20) ** -0.2
    places = pd.DataFrame(
        {
            "problem": problem,
            "threshold": threshold,
            **columns,
            "run": np.arange(len(C)),
            "C": C,
            "loss": centre * np.exp(0.02 * rng.standard_normal(len(C))),
            "extrapolation": C / 1e20,
        }
    )
    draws = centre * np.exp(sd * rng.standard_normal((400, len(C))))
    return scored(law, method, places, draws, np.zeros(len(C)), converged=converged, seconds=1.0)


def rolled(*parts, each=None) -> Rollout:
    return Rollout(pd.concat(parts, ignore_index=True), {}, random_seed=1, each=each)


def baseline(name, *problems, **options) -> pd.DataFrame:
    return pd.concat([forecast(name, p, method="baseline", **options) for p in problems])


@pytest.fixture
def two() -> Rollout:
    """Two laws, the second with intervals that are too narrow, their baselines, six problems."""
    problems = [f"C >= {k}e20" for k in range(1, 7)]
    parts = [
        forecast(law, p, sd=sd, seed=i)
        for law, sd in (("wide", 0.03), ("narrow", 0.004))
        for i, p in enumerate(problems)
    ]
    return rolled(
        *parts,
        *(
            baseline(name, *problems, sd=0.01)
            for name in (f"{HUBER} (wide)", f"{HUBER} (narrow)", "persistence")
        ),
    )


@pytest.fixture
def curves() -> Rollout:
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


def named(legend) -> list[str]:
    return [t.get_text() for t in legend.get_texts()]


def texts(axis) -> list[str]:
    axis.axes.figure.canvas.draw()
    low, high = sorted(axis.get_view_interval())
    shown = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [label.get_text() for at, label in shown if low <= at <= high]


def curve_of(ax, label):
    (line,) = [x for x in ax.lines if x.get_label() == label]
    return line


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


# -- reliability -------------------------------------------------------------------------------


def test_lines_are_the_share_of_runs_inside(two):
    left, _ = plot_coverage(two)
    for law in ("wide", "narrow", "persistence"):
        points = two.points[two.points["law"] == law]
        x, y = curve_of(left, law).get_data()
        by_hand = [np.mean(np.abs(points["pit"] - 0.5) <= q / 2 + 1e-9) for q in x]
        assert y == pytest.approx(by_hand)
        for q in (0.5, 0.8, 0.9, 0.95):  # the quantiles interpolate draws, the pit counts them
            assert y[np.isclose(x, q)] == pytest.approx(
                points[f"inside{100 * q:.0f}"].mean(), abs=0.04
            )
    assert curve_of(left, "narrow").get_ydata()[90] < 0.5


def test_markers_are_on_the_intervals_that_the_summary_has(two):
    left, _ = plot_coverage(two)
    assert LEVELS[curve_of(left, "wide").get_markevery()] == pytest.approx([0.5, 0.8, 0.9, 0.95])


def test_laws_have_colours_and_baselines_are_grey_and_dashed(two):
    left, _ = plot_coverage(two)
    assert [curve_of(left, law).get_color() for law in ("wide", "narrow")] == list(
        style.COLOURS[:2]
    )
    assert curve_of(left, "wide").get_linestyle() == "-"
    grey = [x for x in left.lines if x.get_color() == style.GREY]
    assert len(grey) == 3
    assert all(x.get_linestyle() == "--" for x in grey)
    assert named(left.get_legend()) == [
        "wide",
        "narrow",
        f"{HUBER} (of each law)",
        "persistence",
        "95 % band (6 problems)",
    ]


def test_the_average_is_drawn_first_in_black_and_has_the_histogram(two):
    mixed = rolled(two.points, forecast("average", sd=0.02))
    left, right = plot_coverage(mixed)
    assert named(left.get_legend())[:3] == ["average", "wide", "narrow"]
    assert curve_of(left, "average").get_color() == style.COLOURS[6]
    assert curve_of(left, "wide").get_color() == style.COLOURS[0]
    assert right.get_title() == "Where measured losses fell: average"
    assert to_rgb(right.patches[-1].get_edgecolor()) == to_rgb(style.COLOURS[6])


@pytest.mark.parametrize(("each", "n", "said"), [(None, 6, "6 problems"), ("curve", 3, "3 series")])
def test_the_band_counts_series_not_runs(two, each, n, said):
    points = two.points.assign(curve=two.points["run"].mod(3).astype(str))
    left, right = plot_coverage(rolled(points, each=each))
    band = left.collections[0].get_paths()[0].vertices
    for k in (50, 90):
        at = band[np.isclose(band[:, 0], LEVELS[k]), 1]
        assert [at.min(), at.max()] == pytest.approx(binom.ppf([0.025, 0.975], n, k / 100) / n)
    flat = next(p for p in right.patches if p.get_label().startswith("95 % band"))
    assert [flat.get_y(), flat.get_y() + flat.get_height()] == pytest.approx(
        binom.ppf([0.025, 0.975], n, 0.1) / n
    )
    for ax in (left, right):
        assert named(ax.get_legend())[-1] == f"95 % band ({said})"


def test_runs_of_a_single_problem_are_counted_one_by_one():
    left, _ = plot_coverage(rolled(forecast("power", n=40)))
    band = left.collections[0].get_paths()[0].vertices
    at = band[np.isclose(band[:, 0], 0.9), 1]
    assert [at.min(), at.max()] == pytest.approx(binom.ppf([0.025, 0.975], 40, 0.9) / 40)
    assert named(left.get_legend()) == ["power", "95 % band (40 runs)"]
    assert left.get_title() == "Do intervals hold? 40 held-out runs"


def test_a_line_with_fewer_problems_widens_the_band(two):
    fewer = rolled(two.points, forecast("new", "C >= 1e20"), forecast("new", "C >= 2e20"))
    assert named(plot_coverage(fewer)[0].get_legend())[-1] == "95 % band (2 problems)"


def test_the_diagonal_is_there(two):
    left, _ = plot_coverage(two)
    assert any(np.array_equal(x.get_xydata(), [[0, 0], [1, 1]]) for x in left.lines)


@pytest.mark.parametrize(
    ("law", "ink"),
    [(None, style.COLOURS[0]), ("narrow", style.COLOURS[1]), (f"{HUBER} (narrow)", style.GREY)],
)
def test_the_histogram_is_that_of_the_best_law_or_the_one_named(two, law, ink):
    _, right = plot_coverage(two, law=law)
    drawn = right.patches[-1]
    pit = two.points["pit"][two.points["law"] == (law or "wide")]
    count, edges = np.histogram(pit, 10, (0, 1))
    assert drawn.get_data().values == pytest.approx(count / len(pit))
    assert drawn.get_data().edges == pytest.approx(edges)
    assert to_rgb(drawn.get_edgecolor()) == to_rgb(ink)
    assert curve_of(right, "calibrated").get_ydata() == pytest.approx([0.1, 0.1])
    assert right.get_ylim()[1] > (count / len(pit)).max()


def test_few_runs_make_few_bins():
    _, right = plot_coverage(rolled(forecast("power", n=9)))
    assert len(right.patches[-1].get_data().values) == 5


def test_axes_are_in_percent_and_words(two):
    left, right = plot_coverage(two)
    assert (left.get_xlabel(), left.get_ylabel()) == ("nominal interval", "held-out runs inside")
    assert (right.get_xlabel(), right.get_ylabel()) == (
        "share of the forecast below the measured loss",
        "held-out runs",
    )
    for axis in (left.xaxis, left.yaxis, right.xaxis):
        assert texts(axis) == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
    assert all(t.endswith(" %") for t in texts(right.yaxis))


def test_lines_by_another_column_are_of_one_law(two):
    left, right = plot_coverage(two, by="distance", law="narrow")
    assert named(left.get_legend())[:3] == ["<=2x", "2-10x", "10-100x"]
    near = two.points[(two.points["law"] == "narrow") & (two.points["extrapolation"] <= 2)]
    assert curve_of(left, "<=2x").get_ydata()[50] == pytest.approx(
        np.mean(np.abs(near["pit"] - 0.5) <= 0.25)
    )
    assert not [x for x in left.lines if x.get_color() == style.GREY]
    assert right.get_title().endswith("narrow")
    assert named(plot_coverage(two, by="threshold")[0].get_legend())[0] == "1e20"


def test_methods_are_compared_over_all_their_laws(two):
    left, _ = plot_coverage(two, by="method")
    assert named(left.get_legend())[:2] == ["bayescale", "baseline"]
    assert curve_of(left, "baseline").get_color() == style.GREY


@pytest.mark.parametrize(("options", "said"), [
    (dict(by="lawn"), "no column 'lawn'. Did you mean 'law'"),
    (dict(law="wides"), "no law in this rollout 'wides'. Did you mean 'wide'"),
    (dict(by="run"), "30 values, too many lines"),
])  # fmt: skip
def test_a_calibration_that_cannot_be_drawn_is_refused(two, options, said):
    with pytest.raises(BayescaleError, match=said):
        plot_coverage(two, **options)
    assert not plt.get_fignums()


def test_a_calibration_is_drawn_where_one_asks(two):
    _, panels = plt.subplots(2, 1)
    drawn = plot_coverage(two, ax=panels)
    assert list(drawn) == list(panels)
    assert len(plt.get_fignums()) == 1
    with pytest.raises(BayescaleError, match="two panels, but ax has 1"):
        plot_coverage(two, ax=panels[0])


# -- held-out runs -----------------------------------------------------------------------------


def test_intervals_stand_at_the_compute_of_their_run():
    points = forecast("power", n=6)
    (ax,) = plot_rollout(rolled(points))
    assert isinstance(ax, Axes)
    assert bars(ax, "90 % interval") == pytest.approx(points[["C", "low90", "high90"]].to_numpy())
    assert bars(ax, "50 % interval") == pytest.approx(points[["C", "low50", "high50"]].to_numpy())
    median = curve_of(ax, "median")
    assert median.get_xydata() == pytest.approx(points[["C", "median"]].to_numpy())
    assert median.get_linestyle() == "None"
    thin, thick = (
        next(c for c in ax.collections if c.get_label() == f"{k} % interval").get_linewidth()[0]
        for k in (90, 50)
    )
    assert thick > 2 * thin


@pytest.mark.parametrize("prob", [0.8, 0.9, 0.95])
def test_runs_outside_have_another_colour_and_marker(prob):
    points = forecast("power", n=20, sd=0.012)
    (ax,) = plot_rollout(rolled(points), prob=prob)
    inside = points[f"inside{100 * prob:.0f}"].to_numpy()
    assert 0 < inside.sum() < 20
    held, missed = cloud(ax, "measured, inside"), cloud(ax, "measured, outside")
    for found, here in ((held, inside), (missed, ~inside)):
        assert found["at"] == pytest.approx(points["C"][here].to_numpy())
        assert found["loss"] == pytest.approx(points["loss"][here].to_numpy())
    assert (held["colour"], missed["colour"]) == tuple(c.lower() for c in style.COLOURS[:2])
    assert held["shape"] != missed["shape"]
    assert ax.get_title() == f"C >= 1e20\n{inside.sum()} of 20 inside"
    assert f"{100 * prob:.0f} % intervals" in ax.figure.get_suptitle()


def test_axes_of_a_table_are_logarithmic_and_read_as_people_say():
    (ax,) = plot_rollout(rolled(forecast("power", n=6)))
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "training compute C (FLOP)",
        "loss (nats per token)",
    )
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert {"1e20", "1e21"} <= set(texts(ax.xaxis))
    assert named(ax.figure.legends[0]) == [
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
def test_a_line_shows_where_the_fitted_runs_end(problem, column, x, edge, called):
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


def test_runs_of_equal_compute_stand_side_by_side_by_size():
    N = np.array([4e9, 1e9, 2e9, 8e9])
    points = forecast("power", C=[1e21] * 4, N=N)
    (ax,) = plot_rollout(rolled(points))
    drawn = bars(ax, "90 % interval")
    assert drawn[:, 0] == pytest.approx(1e21, rel=0.3)
    assert drawn[0, 0] == pytest.approx(1e21)
    assert np.diff(np.log(drawn[:, 0])) == pytest.approx(0.069, abs=0.01)
    assert drawn[:, 1] == pytest.approx(points["low90"].to_numpy()[np.argsort(N)])


def test_many_runs_have_thinner_bars():
    widths = []
    for n in (5, 120):
        (ax,) = plot_rollout(rolled(forecast("power", C=np.repeat([2e20, 1e21, 5e21], n))))
        (found,) = [c for c in ax.collections if c.get_label() == "50 % interval"]
        widths.append(found.get_linewidth()[0])
    assert widths[0] > 2 * widths[1]


def test_every_problem_has_a_panel_and_more_than_twelve_are_counted(two, curves):
    panels = plot_rollout(two)
    assert [ax.get_title().split("\n")[0] for ax in panels] == [f"C >= {k}e20" for k in range(1, 7)]
    assert panels[0].figure.get_suptitle() == "wide: held-out runs and their 90 % intervals"
    panels = plot_rollout(curves)
    assert len(panels) == 12
    assert panels[0].figure.get_suptitle().endswith("(12 of 14 problems)")
    assert sum(ax.get_visible() for ax in panels[0].figure.axes) == 12
    five = rolled(*(forecast("power", f"C >= {k}e20") for k in range(1, 6)))
    assert sum(ax.get_visible() for ax in plot_rollout(five)[0].figure.axes) == 5


def test_long_curves_are_bands_and_short_ones_bars(curves):
    long, short, *_ = plot_rollout(curves)
    assert long.get_title().startswith("c0\n")
    points = curves.points[curves.points["curve"] == "c0"]
    for k in (50, 90):
        (band,) = [c for c in long.collections if c.get_label() == f"{k} % interval"]
        y = band.get_paths()[0].vertices[:, 1]
        expected = {*points[f"low{k}"].round(9), *points[f"high{k}"].round(9)}
        assert expected <= set(y.round(9))
    assert curve_of(long, "median").get_linestyle() == "-"
    assert curve_of(long, "median").get_ydata() == pytest.approx(points["median"].to_numpy())
    missed = cloud(long, "measured, outside")
    assert len(missed["at"]) == (~points["inside90"]).sum() > 0
    assert len(bars(short, "90 % interval")) == 8


def test_a_long_table_of_one_label_is_no_curve():
    N = np.tile([1e9, 2e9], 20)
    points = forecast("chinchilla", "c4, C >= 1e20", n=40, dataset="c4", N=N, D=N[::-1] * 20)
    (ax,) = plot_rollout(rolled(points, each="dataset"))
    assert len(bars(ax, "90 % interval")) == 40


def test_rollouts_of_a_column_of_ones_own_are_drawn_by_their_reach():
    points = forecast("power(t)", "t >= 100", threshold=100.0, n=5).drop(columns="C")
    (ax,) = plot_rollout(rolled(points))
    assert ax.get_xlabel() == "times the largest fitted run"
    assert bars(ax, "90 % interval")[:, 0] == pytest.approx(points["extrapolation"].to_numpy())


def test_losses_of_several_decades_have_a_tick_per_decade():
    points = forecast("power", n=8)
    decades = np.geomspace(1, 1e-3, 8)
    scaled = {c: points[c] * decades for c in points if c[:3] in ("los", "med", "low", "hig")}
    (ax,) = plot_rollout(rolled(points.assign(**scaled)))
    assert texts(ax.yaxis) == ["0.01", "0.1", "1"]


def test_long_names_are_cut():
    name = "imagenet_25/a_very_long_name_of_a_model, C >= 1e20"
    (ax,) = plot_rollout(rolled(forecast("power", name)))
    assert ax.get_title().split("\n")[0] == name[:35] + "…"


def test_a_baseline_can_be_drawn_and_the_average_comes_first(two):
    assert plot_rollout(two, law="persistence")[0].figure.get_suptitle().startswith("persistence")
    mixed = rolled(two.points, forecast("average"))
    assert plot_rollout(mixed)[0].figure.get_suptitle().startswith("average")


def test_everything_wrong_is_said_at_once(two):
    with pytest.raises(BayescaleError) as caught:
        plot_rollout(two, column="D", prob=0.7)
    assert len(caught.value.problems) == 2
    assert "C, extrapolation" in caught.value.problems[0]
    assert "0.8, 0.9, 0.95" in caught.value.problems[1]
    with pytest.raises(BayescaleError, match="no law in this rollout 'average'"):
        plot_rollout(two, law="average")
    assert not plt.get_fignums()


# -- what both share ---------------------------------------------------------------------------


@pytest.mark.parametrize("plot", [plot_coverage, plot_rollout])
def test_chains_that_disagree_are_told_under_the_picture(plot):
    mixed = rolled(forecast("power"), forecast("power", "C >= 2e20", converged=False))
    with pytest.warns(ConvergenceWarning, match="chains of 1 of 2 forecasts") as w:
        plot(mixed)
    assert w[0].filename == __file__


def test_points_are_left_as_they_are(two):
    before, style_before = two.points.copy(), dict(plt.rcParams)
    plot_coverage(two, by="distance")
    plot_rollout(two)
    pd.testing.assert_frame_equal(two.points, before)
    assert dict(plt.rcParams) == style_before

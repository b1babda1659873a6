"""The plot of coverage, on draws made by hand."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy.stats import binom

from bayescale.errors import BayescaleError
from bayescale.plots import style
from bayescale.plots.coverage import LEVELS, plot_coverage


def test_lines_are_the_empirical_coverage(two, line_of):
    left, _ = plot_coverage(two)
    for law in ("wide", "narrow", "persistence"):
        points = two.points[two.points["law"] == law]
        x, y = line_of(left, law).get_data()
        expected = [np.mean(np.abs(points["pit"] - 0.5) <= q / 2 + 1e-9) for q in x]
        assert y == pytest.approx(expected)
        for q in (
            0.5,
            0.8,
            0.9,
            0.95,
        ):  # interval ends are interpolated between draws, the PIT is not
            assert y[np.isclose(x, q)] == pytest.approx(
                points[f"inside{100 * q:.0f}"].mean(), abs=0.04
            )
    assert line_of(left, "narrow").get_ydata()[90] < 0.5


def test_markers_are_at_the_levels_of_the_summary(two, line_of):
    left, _ = plot_coverage(two)
    assert LEVELS[line_of(left, "wide").get_markevery()] == pytest.approx([0.5, 0.8, 0.9, 0.95])


def test_laws_have_colours_and_baselines_are_grey_and_dashed(two, legend, line_of):
    left, _ = plot_coverage(two)
    assert [line_of(left, law).get_color() for law in ("wide", "narrow")] == list(style.COLOURS[:2])
    assert line_of(left, "wide").get_linestyle() == "-"
    grey = [x for x in left.lines if x.get_color() == style.GREY]
    assert len(grey) == 3
    assert all(x.get_linestyle() == "--" for x in grey)
    assert legend(left) == [
        "wide",
        "narrow",
        "log-Huber bootstrap (of each law)",
        "persistence",
        "95 % band (6 problems)",
    ]


def test_the_average_is_first_black_and_in_the_histogram(two, legend, line_of, forecast, rolled):
    mixed = rolled(two.points, forecast("average", sd=0.02))
    left, right = plot_coverage(mixed)
    assert legend(left)[:3] == ["average", "wide", "narrow"]
    assert line_of(left, "average").get_color() == style.COLOURS[6]
    assert line_of(left, "wide").get_color() == style.COLOURS[0]
    assert right.get_title() == "Measured losses within forecasts: average"
    assert to_rgb(right.patches[-1].get_edgecolor()) == to_rgb(style.COLOURS[6])


@pytest.mark.parametrize(("each", "n", "unit"), [(None, 6, "6 problems"), ("curve", 3, "3 series")])
def test_the_band_counts_series_not_runs(two, each, n, unit, legend, rolled):
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
        assert legend(ax)[-1] == f"95 % band ({unit})"


def test_runs_of_a_single_problem_are_counted_one_by_one(legend, forecast, rolled):
    left, _ = plot_coverage(rolled(forecast("power", n=40)))
    band = left.collections[0].get_paths()[0].vertices
    at = band[np.isclose(band[:, 0], 0.9), 1]
    assert [at.min(), at.max()] == pytest.approx(binom.ppf([0.025, 0.975], 40, 0.9) / 40)
    assert legend(left) == ["power", "95 % band (40 runs)"]
    assert left.get_title() == "Coverage of 40 held-out runs"


def test_a_line_with_fewer_problems_widens_the_band(two, legend, forecast, rolled):
    fewer = rolled(two.points, forecast("new", "C >= 1e20"), forecast("new", "C >= 2e20"))
    assert legend(plot_coverage(fewer)[0])[-1] == "95 % band (2 problems)"


def test_the_diagonal_is_drawn(two):
    left, _ = plot_coverage(two)
    assert any(np.array_equal(x.get_xydata(), [[0, 0], [1, 1]]) for x in left.lines)


@pytest.mark.parametrize(
    ("law", "ink"),
    [
        (None, style.COLOURS[0]),
        ("narrow", style.COLOURS[1]),
        ("log-Huber bootstrap (narrow)", style.GREY),
    ],
)
def test_the_histogram_is_of_the_best_or_the_given_law(two, law, ink, line_of):
    _, right = plot_coverage(two, law=law)
    drawn = right.patches[-1]
    pit = two.points["pit"][two.points["law"] == (law or "wide")]
    count, edges = np.histogram(pit, 10, (0, 1))
    assert drawn.get_data().values == pytest.approx(count / len(pit))
    assert drawn.get_data().edges == pytest.approx(edges)
    assert to_rgb(drawn.get_edgecolor()) == to_rgb(ink)
    assert line_of(right, "calibrated").get_ydata() == pytest.approx([0.1, 0.1])
    assert right.get_ylim()[1] > (count / len(pit)).max()


def test_few_runs_make_few_bins(forecast, rolled):
    _, right = plot_coverage(rolled(forecast("power", n=9)))
    assert len(right.patches[-1].get_data().values) == 5


def test_axes_have_labels_and_ticks_in_percent(two, ticks):
    left, right = plot_coverage(two)
    assert (left.get_xlabel(), left.get_ylabel()) == (
        "probability of the interval",
        "held-out runs inside",
    )
    assert (right.get_xlabel(), right.get_ylabel()) == (
        "share of the forecast below the measured loss",
        "held-out runs",
    )
    for axis in (left.xaxis, left.yaxis, right.xaxis):
        assert ticks(axis) == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
    assert all(t.endswith(" %") for t in ticks(right.yaxis))


def test_lines_by_another_column_are_of_one_law(two, legend, line_of):
    left, right = plot_coverage(two, by="distance", law="narrow")
    assert legend(left)[:3] == ["<=2x", "2-10x", "10-100x"]
    near = two.points[(two.points["law"] == "narrow") & (two.points["extrapolation"] <= 2)]
    assert line_of(left, "<=2x").get_ydata()[50] == pytest.approx(
        np.mean(np.abs(near["pit"] - 0.5) <= 0.25)
    )
    assert not [x for x in left.lines if x.get_color() == style.GREY]
    assert right.get_title().endswith("narrow")
    assert legend(plot_coverage(two, by="threshold")[0])[0] == "1e20"


def test_methods_are_compared_over_all_their_laws(two, legend, line_of):
    left, _ = plot_coverage(two, by="method")
    assert legend(left)[:2] == ["bayescale", "baseline"]
    assert line_of(left, "baseline").get_color() == style.GREY


@pytest.mark.parametrize(("options", "message"), [
    (dict(by="lawn"), "no column 'lawn'. Did you mean 'law'"),
    (dict(law="wides"), "no law in this rollout 'wides'. Did you mean 'wide'"),
    (dict(by="run"), "has 30 values, too many for one picture"),
])  # fmt: skip
def test_invalid_columns_and_laws_are_refused(two, options, message):
    with pytest.raises(BayescaleError, match=message):
        plot_coverage(two, **options)
    assert not plt.get_fignums()


def test_given_axes_are_drawn_on(two):
    _, panels = plt.subplots(2, 1)
    drawn = plot_coverage(two, axes=panels)
    assert list(drawn) == list(panels)
    assert len(plt.get_fignums()) == 1
    with pytest.raises(BayescaleError, match="axes has 1: give two"):
        plot_coverage(two, axes=panels[0])

"""Pictures: on the axes that were given, with labels, units and ticks that can be read."""

from __future__ import annotations

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

import bayescale as bs
from bayescale.evaluation.sbc import Calibration
from bayescale.plots import style

COUNT, FLOP, NUMBER = r"\d+(\.\d+)?[KMBT]", r"\de\d+", r"\d+(\.\d+)?"
PARAMETERS, TOKENS = "parameters N", "training tokens D"
COMPUTE, LOSS = "training compute C (FLOP)", "loss (nats per token)"


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture
def ranks():
    rng = np.random.default_rng(1)
    pit = pd.DataFrame(rng.random((50, 3)), columns=["E", "A", "alpha"])
    return Calibration(pit, "power(C)", unconverged=0, random_seed=1)


@pytest.fixture
def power(by_hand, openlm):
    rng = np.random.default_rng(1)
    values = {"E": 1.8, "A": 1.2, "alpha": 0.1, "sigma": 0.05, "nu": 5.0}
    values = {k: v * np.exp(0.01 * rng.standard_normal((4, 250))) for k, v in values.items()}
    return by_hand(openlm.query("dataset == 'c4'"), "power", values, chains=4, draws=250)


def ticks(axis) -> list[str]:
    """Labels of the ticks in view."""
    axis.axes.figure.canvas.draw()
    low, high = sorted(axis.get_view_interval())
    shown = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [label.get_text() for at, label in shown if low <= at <= high]


def assert_axis(axis, label: str, pattern: str) -> None:
    texts = ticks(axis)
    assert axis.get_label().get_text() == label
    assert axis.get_scale() == "log"
    assert 2 <= len(texts) <= 12
    assert len(set(texts)) == len(texts)
    assert all(re.fullmatch(pattern, text) for text in texts), texts
    assert not any(t.label1.get_text() for t in axis.get_minor_ticks())


def clouds(ax) -> list:
    """What was drawn with `scatter`, of runs."""
    return [c for c in ax.collections if len(c.get_offsets()) > 1]


def colours(ax) -> list[str]:
    return [to_hex(c.get_facecolor()[0]) for c in clouds(ax)]


def named(ax) -> list[str]:
    return [t.get_text() for t in ax.get_legend().get_texts()]


# -- runs --------------------------------------------------------------------------------------


def test_runs_lie_in_N_and_D_coloured_by_loss(openlm):
    ax = bs.plot_runs(openlm)
    assert isinstance(ax, Axes)
    assert_axis(ax.xaxis, TOKENS, COUNT)
    assert_axis(ax.yaxis, PARAMETERS, COUNT)
    bar = next(a for a in ax.figure.axes if a is not ax)
    assert_axis(bar.yaxis, LOSS, NUMBER)
    assert ax.get_title() == "104 runs"
    assert np.array_equal(clouds(ax)[0].get_array(), openlm.query("dataset == 'c4'").table["loss"])


def test_groups_of_runs_have_their_own_marker_and_name(openlm):
    ax = bs.plot_runs(openlm)
    assert named(ax) == ["c4", "redpajama", "refinedweb"]
    assert len({c.get_paths()[0].vertices.tobytes() for c in clouds(ax)}) == 3


def test_lines_of_equal_compute_are_in_the_accounting_of_the_runs(openlm):
    ax = bs.plot_runs(openlm)
    said = [t.get_text() for t in ax.texts]
    assert said
    assert all(re.fullmatch(r"1e\d+ FLOP", text) for text in said)
    for line in ax.lines:
        D, N = line.get_data()
        assert np.log10(6 * N * D) == pytest.approx(np.round(np.log10(6 * N * D)), abs=1e-9)


def test_runs_without_N_and_D_cannot_be_drawn():
    runs = bs.Runs.from_frame(pd.DataFrame({"C": [1e18, 1e19, 1e20], "loss": [3.5, 3.0, 2.7]}))
    with pytest.raises(bs.FitError, match="plot_runs needs runs with N and D"):
        bs.plot_runs(runs)
    assert not plt.get_fignums()


# -- fits --------------------------------------------------------------------------------------


def test_a_fit_is_drawn_over_compute_in_a_colour_per_group(openlm_fit):
    ax = bs.plot_fit(openlm_fit)
    assert_axis(ax.xaxis, COMPUTE, FLOP)
    assert_axis(ax.yaxis, LOSS, NUMBER)
    assert colours(ax) == [c.lower() for c in style.COLOURS[:3]]
    assert [line.get_color() for line in ax.lines] == list(style.COLOURS[:3])
    assert named(ax) == ["c4", "redpajama", "refinedweb"]


def test_bands_have_the_probability_that_was_asked_for(c4_fit):
    def width(ci_prob):
        ax = bs.plot_fit(c4_fit, ci_prob=ci_prob)
        assert f"{100 * ci_prob:.0f} % bands" in ax.get_title()
        vertices = ax.collections[0].get_paths()[0].vertices
        return np.ptp(vertices[vertices[:, 0] == vertices[:, 0].max(), 1])

    assert width(0.5) < width(0.9) < width(0.99)


def test_published_constants_are_drawn_by_name(c4_fit):
    ax = bs.plot_fit(c4_fit, references="all")
    labels = [p.label for p in c4_fit.law.published.values()]
    assert set(labels) < set(named(ax))
    assert len({line.get_linestyle() for line in ax.lines}) > 1
    for said in ("hoffmann2022", ["hoffmann2022"]):
        ax = bs.plot_fit(c4_fit, references=said)
        assert [p in named(ax) for p in labels] == [True, False]
    line = ax.lines[-1]
    raw = c4_fit.law.published["hoffmann2022"].values
    C, loss = line.get_data()
    N = c4_fit.law.optimum(C / 6, **raw)
    assert loss == pytest.approx(c4_fit.law.loss(N, C / 6 / N, **raw))
    with pytest.raises(bs.LawError, match="Did you mean 'hoffmann2022'"):
        bs.plot_fit(c4_fit, references="hofmann2022")


@pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
def test_a_law_of_one_column_is_drawn_along_it(power):
    assert_axis(bs.plot_fit(power).xaxis, COMPUTE, FLOP)
    panels = bs.plot_posterior(power)
    assert [ax.get_title() for ax in panels.flat if ax.axison] == [
        "E (irreducible loss, nats)",
        "A (nats, at the centre)",
        "alpha",
    ]


def test_posteriors_have_a_panel_each_with_prior_population_and_groups(openlm_fit):
    panels = bs.plot_posterior(openlm_fit)
    assert panels.shape == (2, 3)
    *drawn, legend = panels.flat
    assert [ax.get_title() for ax in drawn] == [
        "E (irreducible loss, nats)",
        "A (nats, at the centre)",
        "B (nats, at the centre)",
        "alpha",
        "beta",
    ]
    assert named(legend) == ["prior", "population", "c4", "redpajama", "refinedweb"]
    for ax in drawn:
        assert len({line.get_color() for line in ax.lines}) == 4
        low, high = ax.get_xlim()
        assert all(low < line.get_xdata()[line.get_ydata().argmax()] < high for line in ax.lines)
    assert bs.plot_posterior(openlm_fit, ncols=5).shape == (1, 5)


def test_residuals_are_drawn_along_each_column_and_named(openlm_fit):
    panels = bs.plot_residuals(openlm_fit, label=3)
    assert [isinstance(ax, Axes) for ax in panels] == [True] * 3
    for ax, label, pattern in zip(
        panels, (PARAMETERS, TOKENS, COMPUTE), (COUNT, COUNT, FLOP), strict=True
    ):
        assert_axis(ax.xaxis, label, pattern)
        assert len(set(colours(ax))) == 3
        surprising = openlm_fit.check().surprising.index[:3]
        assert [t.get_text() for t in ax.texts] == list(map(str, surprising))
    assert panels[0].get_ylabel() == "observed above the law (%)"
    assert named(panels[-1]) == ["c4", "redpajama", "refinedweb"]


# -- forecasts, splits, ranks ------------------------------------------------------------------


def test_a_forecast_is_drawn_along_what_varies_most(c4_fit):
    ahead = bs.forecast(c4_fit, N=bs.grid("100M", "10B", 20), D="20B")
    ax = bs.plot_forecast(ahead, ci_prob=0.8)
    assert_axis(ax.xaxis, COMPUTE, FLOP)
    assert_axis(ax.yaxis, LOSS, NUMBER)
    assert named(ax) == ["a new run, 80 %", "the law, 80 %"]
    assert_axis(bs.plot_forecast(ahead, x="N").xaxis, PARAMETERS, COUNT)
    with pytest.raises(bs.FitError, match="no column 'E'"):
        bs.plot_forecast(ahead, x="E")


@pytest.mark.parametrize("budgets", [[1e21], [1e21, 1e22]])
def test_single_points_are_drawn_as_bars(c4_fit, budgets):
    ax = bs.plot_forecast(bs.forecast(c4_fit, C=budgets))
    assert_axis(ax.yaxis, LOSS, NUMBER)
    assert ax.get_xlabel() == COMPUTE
    assert ticks(ax.xaxis)
    assert [len(c.get_segments()) for c in ax.collections[:2]] == [len(budgets)] * 2


def test_observed_runs_are_drawn_on_top_in_another_colour(c4_fit, openlm):
    held = openlm.query("dataset == 'c4' and N > 5e8")
    ahead = bs.forecast(c4_fit, N=bs.grid("100M", "10B", 20), D="20B")
    ax = bs.plot_forecast(ahead, observed=held, x="N")
    (cloud,) = clouds(ax)
    assert np.array_equal(cloud.get_offsets(), held.table[["N", "loss"]])
    assert colours(ax) == [style.COLOURS[1].lower()]
    assert named(ax)[-1] == "observed"


def test_a_split_is_drawn_in_two_panels_beside_known_models(c4_fit):
    split = bs.allocate(c4_fit, bs.grid(1e22, 1e26, 12))
    panels = bs.plot_allocation(split)
    for ax, column, label in zip(panels, "ND", (PARAMETERS, TOKENS), strict=True):
        assert_axis(ax.xaxis, COMPUTE, FLOP)
        assert_axis(ax.yaxis, label, COUNT)
        assert "Chinchilla" in [t.get_text() for t in ax.texts]
        assert np.array_equal(ax.lines[0].get_ydata(), split.data[f"{column}_decision"])
    assert {"Kaplan et al. 2020", "Hoffmann et al. 2022"} < set(named(panels[0]))
    bare = bs.plot_allocation(split, landmarks=False)
    assert not any(ax.texts for ax in bare)
    assert named(bare[0])[-1] == "decision (least expected loss)"


def test_one_budget_makes_no_line(c4_fit):
    with pytest.raises(bs.FitError, match="plot_allocation needs two budgets or more"):
        bs.plot_allocation(bs.allocate(c4_fit, [1e22, 1e22]))
    assert not plt.get_fignums()


def test_ranks_are_drawn_inside_their_envelope(ranks):
    ax = bs.plot_sbc(ranks)
    assert ax.get_xlabel() == "rank of the truth in its posterior"
    assert ax.get_ylabel() == "share below, less uniform"
    assert set(named(ax)) == {"95 % envelope", "E", "A", "alpha"}
    assert len({line.get_color() for line in ax.lines}) == 4


# -- what all share ----------------------------------------------------------------------------


def test_pictures_are_drawn_where_one_asks(openlm, c4_fit, ranks):
    ahead = bs.forecast(c4_fit, C=bs.grid(1e20, 1e22, 5))
    for plot, result in (
        (bs.plot_runs, openlm),
        (bs.plot_fit, c4_fit),
        (bs.plot_forecast, ahead),
        (bs.plot_sbc, ranks),
    ):
        _, ax = plt.subplots()
        before = plt.get_fignums()
        assert plot(result, ax=ax) is ax
        assert plt.get_fignums() == before
        assert ax.has_data()


def test_the_style_of_others_is_left_alone(openlm):
    before = dict(plt.rcParams)
    bs.plot_runs(openlm)
    assert dict(plt.rcParams) == before


def test_a_failed_fit_warns_under_its_picture(power):
    for plot in (bs.plot_fit, bs.plot_posterior, bs.plot_residuals):
        with pytest.warns(bs.ConvergenceWarning):
            plot(power)


@pytest.mark.parametrize(
    ("column", "low", "high", "some"),
    [
        ("N", 1e8, 1e10, "1B"),
        ("N", 1e6, 1e12, "100B"),
        ("D", 2e9, 9e9, "5B"),
        ("D", 1e9, 2e12, "1T"),
        ("C", 1e18, 1e26, "1e22"),
        ("C", 1e20, 9e20, "5e20"),
        ("steps", 1, 1000, "100"),
    ],
)
@pytest.mark.parametrize("which", ["xaxis", "yaxis"])
def test_ticks_of_counts_read_as_people_say_them(column, low, high, some, which):
    _, ax = plt.subplots()
    axis = getattr(ax, which)
    getattr(ax, f"set_{which[0]}lim")(low, high)
    style.log_axis(axis, column)
    assert some in ticks(axis)
    assert_axis(axis, "", FLOP if column == "C" else NUMBER if column == "steps" else COUNT)


@pytest.mark.parametrize(
    ("low", "high", "some"),
    [
        (2.0, 4.0, "2.5"),
        (1.9, 2.05, "1.95"),
        (0.5, 9, "2"),
        (3, 3.2, "3.15"),
        (1.5, 60, "20"),
        (2.001, 2.009, "2.005"),
        (1e-4, 9e-4, "0.0005"),
        (3, 400, "100"),
    ],
)
def test_ticks_of_losses_are_plain_and_few(low, high, some):
    _, ax = plt.subplots()
    ax.set_ylim(low, high)
    style.loss_axis(ax.yaxis)
    assert some in ticks(ax.yaxis)
    where = np.log(np.sort(ax.yaxis.get_majorticklocs()))
    assert len(where) >= 4
    assert np.diff(where).min() > np.log(high / low) / 10  # none touch
    assert_axis(ax.yaxis, "", NUMBER)


def test_labels_have_units_and_ones_own_columns_their_name():
    assert [style.label_for(c) for c in ("N", "D", "C", "loss", "epochs")] == [
        PARAMETERS,
        TOKENS,
        COMPUTE,
        LOSS,
        "epochs",
    ]

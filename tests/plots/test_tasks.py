"""Plots of breaks and links, and their sections in a report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.errors import BayescaleError

LABELS = ["straight", "bend"]


@pytest.fixture
def found(found_breaks) -> bs.Breaks:
    return found_breaks


def test_every_curve_has_a_panel_with_its_points_and_probability(found, loss_curves):
    axes = bs.plot_breaks(found)
    assert [ax.get_title().split(":")[0] for ax in axes[:3]] == [*LABELS, "few"]
    for label, ax in zip(LABELS, axes, strict=False):
        assert f"{label}: P(break) {found.probability(label):.2f}" == ax.get_title()
        points = next(line for line in ax.lines if line.get_marker() == "o")
        assert points.get_xdata() == pytest.approx(loss_curves.C)
        assert ax.get_xscale() == ax.get_yscale() == "log"
    assert axes[0].get_xlabel() == "training compute C (FLOP)"


def test_the_histogram_of_a_break_is_at_the_break(found):
    ax = bs.plot_breaks(found, "bend")[0]
    (twin,) = [a for a in ax.figure.axes if a is not ax and a.patches]
    values, edges, _ = twin.patches[0].get_data()
    middle = np.sqrt(edges[:-1] * edges[1:])
    assert values.sum() == pytest.approx(found.probability("bend"), abs=0.02)
    assert abs(np.log(middle[values.argmax()] / 1e20)) < 1


def test_curves_can_be_extended(found):
    ax = bs.plot_breaks(found, ["straight"], upto=1e24)[0]
    assert max(line.get_xdata().max() for line in ax.lines) == pytest.approx(1e24)


def test_given_axes_are_drawn_on(found):
    from bayescale.plots import style

    _, panels = style.figure(1, 2)
    assert list(bs.plot_breaks(found, LABELS, axes=panels)) == list(panels)
    with pytest.raises(BayescaleError, match="axes has 2, but 1 are needed"):
        bs.plot_breaks(found, "straight", axes=panels)


def test_unknown_and_missing_labels_are_refused(found):
    with pytest.raises(BayescaleError, match=r"no curve 'bendd'\. Did you mean 'bend'"):
        bs.plot_breaks(found, ["bendd"])
    with pytest.raises(BayescaleError, match="no curve is given"):
        bs.plot_breaks(found, [])


@pytest.fixture(scope="module")
def link() -> bs.Link:
    tasks = bs.datasets.openlm_tasks().query("task in ['hellaswag', 'piqa'] and dataset == 'c4'")
    return bs.link(None, tasks[tasks["N"] < 5e8], draws=500, random_seed=1)


@pytest.mark.slow
def test_a_link_is_drawn_with_its_runs_forecasts_and_later_runs(link):
    later = bs.datasets.openlm_tasks().query("dataset == 'c4' and N > 5e8")
    forecast = bs.forecast_tasks(link, loss=later.query("task == 'piqa'")["loss"].to_numpy())
    axes = bs.plot_link(link, forecast=forecast, observed=later)
    assert [ax.get_title() for ax in axes] == ["hellaswag", "piqa"]
    for ax, name in zip(axes, link.tasks, strict=True):
        of_task = link.plan.table[link.plan.table["task"] == name]
        drawn = [line for line in ax.lines if len(line.get_xdata()) == len(of_task)]
        assert sorted(drawn[0].get_ydata()) == pytest.approx(sorted(of_task["y"]))
        (bars,) = [c for c in ax.collections if hasattr(c, "get_segments")]
        assert len(bars.get_segments()) == forecast.data.sizes["point"]
        assert all(low[1] < high[1] for low, high in bars.get_segments())
        assert ax.xaxis_inverted()  # better models to the right


@pytest.mark.slow
def test_breaks_and_links_have_sections_in_a_report(found, link, c4_fit, tmp_path):
    page = bs.report(c4_fit, tmp_path, breaks=found, link=link).read_text()
    assert "<h2>Breaks</h2>" in page
    assert "<h2>Accuracy on tasks</h2>" in page
    assert "P(break)" in page


def test_many_tasks_have_small_panels_and_one_legend():
    axes = bs.plot_link(many_tasks([f"a task with a long name, number {i}" for i in range(14)]))
    assert len(axes) == 14
    assert len({round(ax.get_position().x0, 3) for ax in axes}) <= 6
    assert all(len(ax.get_title()) <= 26 and ax.get_title().endswith("...") for ax in axes)
    (legend,) = axes[0].figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["books", "web"]
    assert axes[0].figure.get_suptitle().startswith("which task scales fastest cannot be told")
    assert not any(ax.get_legend() for ax in axes)
    # Five in a row leave one place empty, six would leave four.
    assert axes[0].get_ylabel() == axes[5].get_ylabel() == "accuracy"
    assert not axes[4].get_ylabel()
    assert [bool(ax.get_xlabel()) for ax in axes] == 9 * [False] + 5 * [True]


def test_a_band_ends_with_the_runs_of_its_group_and_the_threshold_is_marked():
    link = many_tasks(["sums"])
    table = link.plan.table.query("member == 'web' or loss > 3")
    (ax,) = bs.plot_link(replace(link, plan=replace(link.plan, table=table)))
    for band, member in zip(ax.collections, link.plan.members, strict=True):
        ends = band.get_paths()[0].vertices[:, 0]
        losses = table[table["member"] == member]["loss"]
        assert (ends.min(), ends.max()) == pytest.approx((losses.min(), losses.max()))
    (marked,) = [line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1]
    assert marked == pytest.approx(link.drawn()["threshold"].median().item(), abs=0.01)
    assert ax.figure.get_suptitle() == f"sums reaches half of its rise at loss {marked:.3g}"


@pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
def test_a_forecast_is_named_and_the_band_of_its_group_reaches_it():
    link = many_tasks(["sums"], kind="direct")
    ahead = bs.forecast_tasks(link, N="70B", D="1.4T", group="web")
    (ax,) = bs.plot_link(link, forecast=ahead)
    ends = [band.get_paths()[0].vertices[:, 0].max() for band in ax.collections[:2]]
    of_group = dict(zip(link.plan.members, ends, strict=True))
    assert of_group["web"] == pytest.approx(6 * 70e9 * 1.4e12)
    assert of_group["books"] == pytest.approx(link.plan.table["C"].max())
    assert [text.get_text() for text in ax.texts] == ["70B, 1.4T"]
    (point,) = [line for line in ax.lines if line.get_marker() == "D"]
    assert point.get_ydata() == pytest.approx(ahead.data["accuracy"].median().item())
    (legend,) = ax.figure.legends
    assert legend.get_texts()[-1].get_text() == "forecast, 90 % interval"
    assert ax.figure.get_suptitle().startswith("Accuracy of a run of N 70B, D 1.4T")
    many = bs.forecast_tasks(link, N=4 * ["7B"], D=["1B", "9B", "20B", "1T"], group="web")
    assert not bs.plot_link(link, forecast=many)[0].texts


def test_direct_links_are_drawn_along_compute_at_the_typical_ratio():
    link = many_tasks(["sums"], kind="direct")
    (ax,) = bs.plot_link(link)
    assert ax.get_xscale() == "log"
    measured = [line for line in ax.lines if len(line.get_xdata()) == 6]
    assert len(measured) == 2
    np.testing.assert_allclose(measured[0].get_xdata(), link.plan.table["C"][:6])
    grid = np.unique(ax.collections[0].get_paths()[0].vertices[:, 0])
    at = link.plan.at_typical(grid[-1])
    assert at["N"] * at["D"] * 6 == pytest.approx(link.plan.table["C"].max())
    assert at["N"] / at["D"] == pytest.approx(np.exp(link.plan.typical))


def many_tasks(names, kind="logistic") -> bs.Link:
    """A link of tasks with one known curve, without sampling."""
    from bayescale.capabilities.link_forms import FORMS
    from bayescale.capabilities.link_model import LinkPlan

    loss, rng = np.linspace(4.0, 2.2, 6), np.random.default_rng(1)
    y = 0.25 + 0.6 / (1 + np.exp(3 * (loss - 2.8)))
    facts = {"n_questions": 1000.0, "chance": 0.25}
    parts = [
        pd.DataFrame({"task": t, "corpus": m, "member": m, "loss": loss, "y": y} | facts)
        for t in names
        for m in ("web", "books")
    ]
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(N=np.exp(30 - 3 * table["loss"]), D=np.exp(30 - 2 * table["loss"]))
    table["C"] = 6 * table["N"] * table["D"]
    plan = LinkPlan(FORMS[kind], table, ("corpus",))
    sample, shape = ("chain", "draw"), (1, 20)
    values = dict(level=0.0, slope=2.0, top=0.8, offset=0.0, precision=1e3, jitter=0.1, walk=0.5)
    values |= dict(share=0.5, alpha=0.3, beta=0.3) if kind == "direct" else {}
    noise = np.exp(0.01 * rng.standard_normal((*shape, len(names))))
    variables = {f"{k}_task": ((*sample, "task"), v * noise) for k, v in values.items()}
    dims = {"walk_step": ("task", "component"), "move_member": ("member",), "move_cell": ("cell",)}
    for name, of in dims.items():
        size = [len(plan.levels[d]) for d in of]
        variables[name] = (*sample, *of), 0.01 * rng.standard_normal((*shape, *size))
    for name in ("move_member_scale", "move_cell_scale"):
        variables[name] = sample, np.full(shape, 0.1)
    posterior = xr.Dataset(variables, {d: list(v) for d, v in plan.levels.items()})
    return bs.Link(plan, posterior, xr.Dataset())

"""Axes and ticks that all plots share."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import bayescale as bs
from bayescale.model import Check
from bayescale.plots import style

COUNT = r"\d+(\.\d+)?[KMBT]"
FLOP = r"\de\d+"
NUMBER = r"\d+(\.\d+)?"
PARAMETERS = "parameters N"
TOKENS = "training tokens D"
COMPUTE = "training compute C (FLOP)"


def test_given_axes_are_drawn_on(openlm, c4_fit, ranks):
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


def test_the_global_style_is_not_changed(openlm):
    before = dict(plt.rcParams)
    bs.plot_runs(openlm)
    assert dict(plt.rcParams) == before


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
def test_log_ticks_are_counts_or_powers_of_ten(column, low, high, some, which, check_axis, ticks):
    _, ax = plt.subplots()
    axis = getattr(ax, which)
    getattr(ax, f"set_{which[0]}lim")(low, high)
    style.log_axis(axis, column)
    assert some in ticks(axis)
    check_axis(axis, "", FLOP if column == "C" else NUMBER if column == "steps" else COUNT)


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
def test_ticks_of_losses_are_plain_and_do_not_collide(low, high, some, check_axis, ticks):
    _, ax = plt.subplots()
    ax.set_ylim(low, high)
    style.loss_axis(ax.yaxis)
    assert some in ticks(ax.yaxis)
    where = np.log(np.sort(ax.yaxis.get_majorticklocs()))
    assert len(where) >= 4
    assert np.diff(where).min() > np.log(high / low) / 10
    check_axis(ax.yaxis, "", NUMBER)


def test_labels_have_units_and_unknown_columns_their_name():
    assert [style.label_for(c) for c in ("N", "D", "C", "loss", "epochs")] == [
        PARAMETERS,
        TOKENS,
        COMPUTE,
        "loss",
        "epochs",
    ]
    assert style.label_for("loss", "bits per byte") == "loss (bits per byte)"
    assert style.label_for("D", "bits per byte") == TOKENS


def test_the_unit_of_the_loss_is_written_only_where_it_is_known(openlm, c4_fit):
    """The label of every plot of losses, with and without a known unit."""

    def plots(fit):
        yield bs.plot_fit(fit).get_ylabel()
        yield bs.plot_isoflop(fit).get_ylabel()
        yield bs.plot_forecast(bs.forecast(fit, C=bs.grid(1e20, 1e22, 5))).get_ylabel()
        yield bs.plot_runs(fit.runs).figure.axes[-1].get_ylabel()
        yield bs.plot_contours(fit).get_title().removeprefix("Median ").split(" by ")[0]
        titles = {ax.get_title().partition(" ")[0]: ax.get_title()
                  for ax in bs.plot_posterior(fit).flat}  # fmt: skip
        yield (
            titles["E"]
            .replace("E (irreducible loss", "loss (")
            .replace("(, ", "(")
            .replace(" ()", "")
        )

    runs, few = c4_fit.runs, c4_fit.posterior.isel(draw=slice(50))
    for unit, label in (("", "loss"), ("bits per byte", "loss (bits per byte)")):
        known = replace(runs, loss_unit=unit)
        fit = replace(c4_fit, plan=replace(c4_fit.plan, runs=known), posterior=few)
        fit.__dict__["_check"] = Check((), None)  # the few draws are not the question
        assert list(plots(fit)) == [label] * 6

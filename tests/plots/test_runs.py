"""The plot of a table of runs."""

from __future__ import annotations

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

import bayescale as bs
from bayescale.plots import style

COUNT = r"\d+(\.\d+)?[KMBT]"
FLOP = r"\de\d+"
NUMBER = r"\d+(\.\d+)?"
PARAMETERS = "parameters N"
TOKENS = "training tokens D"
LOSS = "loss (nats per token)"


def test_runs_lie_in_N_and_D_coloured_by_loss(openlm, check_axis, clouds):
    ax = bs.plot_runs(openlm)
    assert isinstance(ax, Axes)
    check_axis(ax.xaxis, TOKENS, COUNT)
    check_axis(ax.yaxis, PARAMETERS, COUNT)
    bar = next(a for a in ax.figure.axes if a is not ax)
    check_axis(bar.yaxis, LOSS, NUMBER)
    assert ax.get_title() == "104 runs"
    assert np.array_equal(clouds(ax)[0].get_array(), openlm.query("dataset == 'c4'").table["loss"])


def test_groups_of_runs_have_their_own_marker_and_name(openlm, clouds, legend):
    ax = bs.plot_runs(openlm)
    assert legend(ax) == ["c4", "redpajama", "refinedweb"]
    ax.figure.canvas.draw()
    grey = to_rgb(style.GREY)
    for handle in ax.get_legend().legend_handles:
        assert tuple(handle.get_facecolor()[0][:3]) == pytest.approx(grey)
    assert len({c.get_paths()[0].vertices.tobytes() for c in clouds(ax)}) == 3


def test_lines_of_equal_compute_use_the_flop_factor_of_the_runs(openlm):
    ax = bs.plot_runs(openlm)
    labels = [t.get_text() for t in ax.texts]
    assert labels
    assert all(re.fullmatch(r"1e\d+ FLOP", text) for text in labels)
    for line in ax.lines:
        D, N = line.get_data()
        assert np.log10(6 * N * D) == pytest.approx(np.round(np.log10(6 * N * D)), abs=1e-9)


def test_runs_without_N_and_D_are_refused():
    runs = bs.Runs.from_frame(pd.DataFrame({"C": [1e18, 1e19, 1e20], "loss": [3.5, 3.0, 2.7]}))
    with pytest.raises(bs.FitError, match="these runs have no N and no D"):
        bs.plot_runs(runs)
    assert not plt.get_fignums()

"""Credible intervals, exact on known draws."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from arviz_base import rc_context, rcParams

from bayescale.errors import BayescaleError
from bayescale.intervals import CI_PROB, Summary, defaults, interval, table

#: 0, 1, ..., 100, shuffled.
STEPS = np.random.default_rng(1).permutation(np.arange(101.0))
#: Squares: the narrowest interval lies at the lower end.
SQUARES = STEPS**2


def drawn(values, *, chains: int = 1) -> xr.DataArray:
    return xr.DataArray(np.reshape(values, (chains, -1)), dims=("chain", "draw"))


def bounds(draws, *options) -> tuple[float, ...]:
    return tuple(map(float, interval(draws, *options)))


@pytest.mark.parametrize(("prob", "low", "high"), [(0.9, 5, 95), (0.5, 25, 75), (0.98, 1, 99)])
def test_an_equal_tailed_interval_has_equal_probability_in_both_tails(prob, low, high):
    assert bounds(drawn(STEPS), prob, "eti") == pytest.approx((low, high))
    assert bounds(drawn(SQUARES), prob, "eti") == pytest.approx((low**2, high**2))


@pytest.mark.parametrize(("prob", "high"), [(0.9, 90), (0.5, 50), (0.98, 98)])
def test_a_highest_density_interval_is_the_narrowest(prob, high):
    assert bounds(drawn(SQUARES), prob, "hdi") == (0, high**2)
    assert bounds(drawn(-SQUARES), prob, "hdi") == (-(high**2), 0)


@pytest.mark.parametrize("kind", ["eti", "hdi"])
def test_intervals_of_many_draws_are_those_of_the_distribution(kind):
    exponential = drawn(np.random.default_rng(1).exponential(size=400_000), chains=4)
    expected = -np.log([0.95, 0.05]) if kind == "eti" else (0, -np.log(0.1))
    assert bounds(exponential, 0.9, kind) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("kind", ["eti", "hdi"])
def test_chains_are_pooled_and_other_dims_kept(kind):
    draws = xr.DataArray(
        np.stack([SQUARES[:100], -SQUARES[:100]]).reshape(2, 4, 25),
        dims=("corpus", "chain", "draw"),
        coords={"corpus": ["a", "b"]},
    )
    low, high = interval(draws, 0.8, kind)
    assert low.dims == high.dims == ("corpus",)
    for sign, corpus in ((1, "a"), (-1, "b")):
        alone = bounds(drawn(sign * SQUARES[:100]), 0.8, kind)
        assert (float(low.sel(corpus=corpus)), float(high.sel(corpus=corpus))) == alone


def test_identical_draws_have_an_interval_of_zero_width():
    for kind in ("eti", "hdi"):
        assert bounds(drawn(np.full(50, 2.5)), 0.9, kind) == (2.5, 2.5)


def test_the_default_is_ninety_percent_of_the_kind_that_arviz_uses():
    assert defaults() == (0.9, rcParams["stats.ci_kind"])
    with rc_context({"stats.ci_prob": 0.5, "stats.ci_kind": "hdi"}):
        assert defaults() == (0.9, "hdi")
        assert defaults(0.8) == (0.8, "hdi")
        assert defaults(ci_kind="eti") == (0.9, "eti")
        assert bounds(drawn(SQUARES)) == (0, 90**2)


def test_intervals_do_not_import_arviz():
    script = (
        "import sys, xarray as xr\n"
        "from bayescale.intervals import interval\n"
        "low, high = interval(xr.DataArray([[1.0, 2.0, 3.0]], dims=('chain', 'draw')), 0.5)\n"
        "print(float(low), float(high), 'arviz_base' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1.5", "2.5", "False"]


def test_every_summary_has_the_default_interval(c4_fit):
    import bayescale as bs

    ahead = bs.forecast(c4_fit, N=1e9, D=2e10)
    with rc_context({"stats.ci_prob": 0.5, "stats.ci_kind": "hdi"}):
        frames = [
            c4_fit.summary(),
            ahead.summary(),
            bs.allocate(c4_fit, 1e21).summary(),
            bs.regret(c4_fit, 1e9, 1e12).summary(),
        ]
    for frame, name in zip(frames, ("median", "loss", "N", "excess_loss"), strict=True):
        assert f"{name}_hdi{100 * CI_PROB:g}_lb" in frame
    low, high = interval(ahead.data["loss"].isel(point=0), 0.9, "hdi")
    assert frames[1]["loss_hdi90_lb"].tolist() == [float(low)]
    assert frames[1]["loss_hdi90_ub"].tolist() == [float(high)]


@pytest.mark.parametrize("prob", [0, 1, -0.1, 1.5, 90, float("nan"), "0.9x", "many", [0.9]])
def test_an_invalid_probability_is_refused(prob):
    with pytest.raises(BayescaleError, match="give a probability between 0 and 1"):
        interval(drawn(STEPS), prob, "eti")


@pytest.mark.parametrize("kind", ["ETI", "quantile", "", 3])
def test_an_invalid_kind_is_refused(kind):
    with pytest.raises(BayescaleError, match="it may be 'eti' or 'hdi'"):
        interval(drawn(STEPS), 0.9, kind)


@pytest.mark.parametrize(("prob", "stem"), [(0.9, "x_eti90"), (0.125, "x_eti12.5")])
def test_a_table_names_its_bounds_by_kind_and_probability(prob, stem):
    frame = table(drawn(STEPS), "x", prob, "eti")
    assert list(frame) == ["x", f"{stem}_lb", f"{stem}_ub"]
    assert frame.iloc[0].tolist() == pytest.approx([50, 50 - 50 * prob, 50 + 50 * prob])


def test_a_table_has_a_row_per_point():
    draws = drawn(STEPS).expand_dims(point=3) + xr.DataArray([0.0, 100.0, 200.0], dims="point")
    assert table(draws, "x", 0.9, "eti").to_numpy().tolist() == [
        pytest.approx([50 + s, 5 + s, 95 + s]) for s in (0, 100, 200)
    ]


# -- printed summaries -------------------------------------------------------------------------


@pytest.fixture
def lines_of(monkeypatch):
    """The printed lines of a table of these columns in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return lambda columns, index=None: repr(Summary(pd.DataFrame(columns, index))).splitlines()


WIDE = {f"quantity_{i}_of_run": [100.5 + i, 200.5 + i] for i in range(9)}


def test_a_narrow_summary_has_a_line_per_row(lines_of):
    head, *rows = lines_of({"first_name": [1.5, 2.5], "b": [3.5, 4.5]})
    assert head.split() == ["first_name", "b"]
    assert [row.split() for row in rows] == [["1.500", "3.500"], ["2.500", "4.500"]]


def test_a_wide_summary_without_labels_has_a_line_per_column(lines_of):
    lines = lines_of(WIDE)
    assert [line.split()[-2:] for line in lines] == [[f"{v:.1f}" for v in c] for c in WIDE.values()]
    assert [line[:17] for line in lines[:2]] == ["quantity_0_of_run", "quantity 1 of run"]


def test_a_wide_summary_with_labels_has_blocks_that_begin_with_all_labels(lines_of):
    one = pd.Index(["p", "q"], name="label")
    two = pd.MultiIndex.from_tuples([("p", "r"), ("q", "s")], names=["label", "other"])
    for index, labels in ((one, "p"), (two, "p r")):
        blocks = "\n".join(lines_of(WIDE, index)).split("\n\n")
        assert len(blocks) > 1
        for block in blocks:
            row = next(line.split() for line in block.splitlines() if line.startswith("p "))
            assert " ".join(row).startswith(labels + " 10")


@pytest.mark.parametrize(("most", "kept"), [(4, "0 1 ... 5 6"), (6, "0 1 2 ... 4 5 6"), (7, None)])
def test_a_long_summary_shows_its_ends(lines_of, most, kept):
    rows = [f"{i}.5" for i in range(7)]
    with pd.option_context("display.max_rows", most):
        _, *lines = lines_of({"a": [i + 0.5 for i in range(7)]})
    shown = [line.strip()[:3] for line in lines]
    assert shown == (
        rows if kept is None else [i if i == "..." else f"{i}.5" for i in kept.split()]
    )

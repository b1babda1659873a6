"""What compute costs: published runs, units, overrides, budgets as text."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.data import datasets
from bayescale.errors import BayescaleError
from bayescale.intervals import interval

#: FLOP as 6 N D with active parameters, and the accelerator hours that the papers state.
PUBLISHED = {
    "Llama-3-405B": ("H100", 3.8e25, 30.84e6),
    "DeepSeek-V3": ("H800", 6 * 37e9 * 14.8e12, 2.788e6),
}


@pytest.mark.parametrize(("hardware", "C", "hours"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_hours_lie_inside_the_interval(hardware, C, hours):
    low, high = (float(v) for v in interval(bs.Cost(hardware).of(C).data["hours"].isel(budget=0)))
    assert low < hours < high
    assert high / low < 3  # not because the interval is wide


def test_exact_figures_give_an_exact_cost():
    cost = bs.Cost("H100", mfu=0.5, price=2.0, power=1000.0, carbon=0.4)
    data = cost.of(1e24).data
    hours = 1e24 / (989.4e12 * 0.5 * 3600)
    for name, value in (
        ("hours", hours), ("dollars", 2 * hours), ("kwh", hours), ("kg_co2e", 0.4 * hours)
    ):  # fmt: skip
        np.testing.assert_allclose(data[name], value)


def test_energy_of_a_large_run_is_of_the_published_size():
    """8 to 14 GWh for 1e25 FLOP at 40 % utilisation."""
    low, high = interval(bs.Cost("H100", mfu=0.4).of(1e25).data["kwh"].isel(budget=0))
    assert 7e6 < float(low) < float(high) < 15e6


def test_a_pair_is_a_90_percent_interval():
    cost = bs.Cost("H100", mfu=(0.3, 0.5), price=(1.0, 4.0), power=1000.0)
    table = cost.assumptions()
    for name, bounds in (("mfu", (0.3, 0.5)), ("price", (1.0, 4.0)), ("power", (1000.0, 1000.0))):
        assert tuple(table.loc[name, ["lower", "upper"]]) == pytest.approx(bounds)
    low, high = interval(cost.of(1e24).data["hours"].isel(budget=0))
    assert float(high / low) == pytest.approx(5 / 3, rel=0.05)


def test_the_carbon_of_a_region():
    france, germany = (
        float(bs.Cost("H100", carbon=c).of(1e24).data["kg_co2e"].median())
        for c in ("France", "germany")
    )
    assert germany / france == pytest.approx(0.381 / 0.056)


def test_compute_counted_by_another_convention_is_converted():
    """Runs that count 8 FLOP per parameter and token need no more hours."""
    one = bs.Cost("H100").of(6e24).data["hours"]
    two = bs.Cost("H100").of(8e24, flop_factor=8.0).data["hours"]
    np.testing.assert_allclose(one, two)
    hours = [bs.as_flops("1M H100 hours", flop_factor=f)[0] for f in (6.0, 8.0)]
    assert hours[1] == pytest.approx(hours[0] * 8 / 6)


def test_every_accelerator_has_a_source_and_a_plausible_peak():
    table = pd.read_csv(datasets.bundled("hardware.csv"))
    assert len(table) >= 12
    assert table["name"].is_unique
    assert table[["source", "source_date"]].notna().all().all()
    assert table["peak_tflops"].between(100, 3000).all()
    priced = table["price_usd_per_hour"].notna()
    assert table.loc[priced, ["price_source", "price_date", "price_spread"]].notna().all().all()
    for name in table["name"]:
        assert (bs.Cost(name).of(1e24).data["hours"] > 0).all()
    grid = pd.read_csv(datasets.bundled("grid_carbon.csv"))
    assert grid["kg_per_kwh"].between(0.01, 1).all()
    assert grid[["year", "source"]].notna().all().all()


COST = dict(mfu=0.4, price=2.0, power=1000.0, carbon=0.5)
HOUR = 3600 * 989.4e12 * 0.4


@pytest.mark.parametrize(
    ("text", "flop"),
    [
        ("1e24 FLOP", 1e24),
        ("1e24", 1e24),
        ("3.8e25 flops", 3.8e25),
        (3e22, 3e22),
        ("1 PF-days", 86400e15),
        ("1.5k petaflop/s-days", 1500 * 86400e15),
        ("50k H100 hours", 50e3 * HOUR),
        ("50k h100-hours", 50e3 * HOUR),
        ("2.5M GPU hours", 2.5e6 * HOUR),
        ("100 GPU-hours", 100 * HOUR),
        ("7h", 7 * HOUR),
        ("1,000 hours", 1000 * HOUR),
        ("$2M", 1e6 * HOUR),
        ("$2,500", 1250 * HOUR),
        ("2M USD", 1e6 * HOUR),
        ("30 GWh", 30e6 * HOUR),
        ("500MWh", 500e3 * HOUR),
        ("12 kWh", 12 * HOUR),
        ("12 t CO2e", 24e3 * HOUR),
        ("12t CO2", 24e3 * HOUR),
        ("5 kg CO2e", 10 * HOUR),
        ("3 kt CO2e", 6e6 * HOUR),
    ],
)
def test_budgets_are_read_in_any_unit(text, flop):
    assert bs.as_flops(text, bs.Cost("H100", **COST)).tolist() == pytest.approx([flop])


def test_several_budgets_are_read_at_once():
    found = bs.as_flops(["1e24", 2e24, "$2M"], bs.Cost("H100", **COST))
    np.testing.assert_allclose(found, [1e24, 2e24, 1e6 * HOUR])


def test_a_named_accelerator_needs_no_cost():
    assert bs.as_flops("1k A100 hours") == pytest.approx(1e3 * 3600 * 312e12 * 0.373, rel=0.03)
    assert bs.as_flops("1k TPU v5p hours") == pytest.approx(1e3 * 3600 * 459e12 * 0.373, rel=0.03)


def test_the_budget_of_a_cost_costs_as_much():
    """A budget in dollars, converted to FLOP and back."""
    cost = bs.Cost("H100")
    C = bs.as_flops("$2M", cost)
    assert float(cost.of(C).data["dollars"].median()) == pytest.approx(2e6, rel=0.03)


def test_hardware_that_is_not_given_is_that_of_the_budgets_or_an_h100():
    """As on the command line."""
    for budget in ("$2M", "5k GPU hours", "30 GWh"):
        assert bs.as_flops(budget).tolist() == bs.as_flops(budget, bs.Cost("H100")).tolist()
    with_a100 = bs.as_flops(["1k A100 hours", "$2M"])
    assert with_a100.tolist() == bs.as_flops(["1k A100 hours", "$2M"], bs.Cost("A100")).tolist()


@pytest.mark.parametrize(
    ("text", "cost", "message"),
    [
        ("two million", None, "is not a budget: write 1e24 FLOP"),
        ("2M", None, "'2M' has no unit .*: write .2M, 2M H100 hours"),
        ("5 parsecs", None, "is not a budget|there is no accelerator"),
        ("50k H101 hours", None, "there is no accelerator 'H101'. Did you mean 'H100'"),
        ("50k A100 hours", "H100", "hours of A100, but the cost is that of H100"),
        ("$2M", "MI300X", "no published price of MI300X: give price= to Cost"),
        ("5 GWh", "Trainium2", "no published power of Trainium2: give power= to Cost"),
        ("-5", None, "must be positive"),
    ],
)
def test_unusable_budgets_are_named(text, cost, message):
    with pytest.raises(BayescaleError, match=message):
        bs.as_flops(text, None if cost is None else bs.Cost(cost))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(hardware="H1000"), "there is no accelerator 'H1000'"),
        (dict(carbon="Atlantis"), "there is no region 'Atlantis'"),
        (dict(mfu=40), "mfu is 40: give a number that is between 0 and 1"),
        (dict(mfu=(0.5, 0.3)), "lower and upper bound"),
        (dict(price=-1), "price is -1: give a number that is positive"),
        (dict(power="much"), "power is 'much'"),
    ],
)
def test_unusable_figures_are_named(arguments, message):
    with pytest.raises(BayescaleError, match=message):
        bs.Cost(**arguments)


def test_the_answer_names_every_unit_and_the_assumptions():
    bill = bs.Cost("H100", **COST).of([1e22, 1e24])
    assert bill.bottom_line().startswith("1e24 FLOP take 702K H100 hours (702K to 702K), $1.4M ($")
    assert bill.bottom_line().endswith(
        "702 MWh (702 to 702) and 351 t CO2e (351 to 351), with 90 % intervals."
    )
    text = repr(bill)
    assert "NVIDIA H100 data sheet" in text
    assert "mfu: 0.4" in text
    assert bill._repr_html_().startswith("<p><strong>1e24 FLOP take")
    assert bill.summary()["C"].tolist() == [1e22, 1e24]
    assert len(bill.to_dataframe()) == 2 * 4000
    assert len(bill.to_dataframe("summary")) == 8


def test_what_is_not_published_is_left_out():
    assert set(bs.Cost("Trainium2").of(1e24).data) == {"hours"}
    assert set(bs.Cost("MI300X").of(1e24).data) == {"hours", "kwh", "kg_co2e"}


def test_the_cost_of_an_allocation_is_that_of_its_budgets(c4_fit):
    plan = bs.allocate(c4_fit, C=[1e20, 1e21])
    cost = bs.Cost("H100")
    assert cost.of(plan).data.equals(cost.of([1e20, 1e21]).data)
    ahead = bs.forecast(c4_fit, N=1e9, D=2e10)
    assert cost.of(ahead).data["C"].item() == pytest.approx(1.2e20)


def test_a_budget_in_dollars_is_fixed_and_its_flop_are_uncertain():
    cost = bs.Cost("H100")
    bill = cost.of(["$2M", 1e22])
    data = bill.data
    np.testing.assert_allclose(data["dollars"].isel(budget=0), 2e6)
    flop = data["flop"].isel(budget=0)
    assert float(flop.median()) == pytest.approx(float(data["C"][0]), rel=0.02)
    hours = flop / (3600 * cost.peak * cost._drawn(0)["mfu"])
    np.testing.assert_allclose(hours, data["hours"].isel(budget=0))
    np.testing.assert_allclose(data["flop"].isel(budget=1), 1e22)
    assert bill.bottom_line().startswith("A budget of $2M means 9.2")
    assert cost.of([1e22, 1e24]).bottom_line().startswith("1e24 FLOP take ")

"""Training compute in accelerator hours, dollars, energy and carbon, and budgets in these units."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.costs.budgets import Amount, hardware_in, parse_budget
from bayescale.costs.figures import (
    CARBON_SPREAD,
    MFU,
    MFU_SOURCE,
    OVERHEAD,
    as_prior,
    drawn,
    is_number,
)
from bayescale.costs.hardware import accelerator, carbon_intensity
from bayescale.errors import BayescaleError, LawError
from bayescale.intervals import SAMPLE, Summary, check_rows, defaults, interval, table
from bayescale.priors import Positive
from bayescale.seeds import settle_seed
from bayescale.units import (
    FLOP_PER_PARAMETER_TOKEN,
    as_counts,
    counted,
    format_count,
    format_flop,
)

SECONDS = 3600.0
#: The accelerator of budgets that name none.
DEFAULT_HARDWARE = "H100"


@dataclass(frozen=True)
class Cost:
    """What training compute costs on given hardware, with uncertainty.

    Parameters
    ----------
    hardware : str
        The accelerator, such as ``"H100"``, ``"TPU v5p"`` or ``"MI300X"``. The message about an
        unknown name lists all.
    mfu : float, tuple of float or Prior, optional
        Model FLOP utilisation: the FLOP that the model needs (6 per parameter and token) as a
        fraction of the peak of dense bf16. A number is taken as exact, a pair as the bounds of a 90
        % interval. By default 0.37, between 0.24 and 0.52.
    price : float, tuple of float or Prior, optional
        US dollars for one accelerator and hour; by default a published price.
    power : float, tuple of float or Prior, optional
        Watts of the data centre for one accelerator in use, with server and cooling; by default
        1.95 times the thermal design power, between 1.6 and 2.3 times.
    carbon : str, float, tuple of float or Prior, optional
        kg CO2e per kWh, or a region such as ``"France"``; by default the world.

    Attributes
    ----------
    peak : float
        Dense bf16 FLOP per second of one accelerator.
    sources : dict of str to str
        Source and date of each figure.

    Raises
    ------
    BayescaleError
        If the accelerator or the region is unknown, or if a value is not valid. A price or a power
        that is not published is an error only when it is needed.

    Notes
    -----
    Figures are those of ``data/hardware.csv`` and ``data/grid_carbon.csv``. The cost is that of one
    run: the experiments before it, staff and storage are not included. Cottier et al. 2024
    (arXiv:2405.21015) estimate the compute of the whole development as 1.2 to 4 times that of the
    last run.

    Examples
    --------
    >>> import bayescale as bs
    >>> cost = bs.Cost("H100", mfu=0.4, price=2.0, power=1400, carbon="France")
    >>> float(cost.of(1e24).data["hours"].median()) > 700_000
    True
    """

    hardware: str = DEFAULT_HARDWARE
    mfu: object = None
    price: object = None
    power: object = None
    carbon: object = None
    peak: float = field(init=False)
    sources: dict = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        found = accelerator(self.hardware)
        sources = {"peak": found.source}
        priors = {"mfu": as_prior("mfu", self.mfu, MFU)}
        sources["mfu"] = MFU_SOURCE if self.mfu is None else "given"
        price = None if found.price is None else Positive(found.price, spread=found.price_spread)
        priors["price"] = as_prior("price", self.price, price)
        sources["price"] = found.price_source if self.price is None else "given"
        power = None
        if found.tdp is not None:
            power = Positive(found.tdp * OVERHEAD.median, spread=OVERHEAD.spread)
        priors["power"] = as_prior("power", self.power, power)
        sources["power"] = "given"
        if self.power is None and found.tdp is not None:
            sources["power"] = f"{OVERHEAD.median:g} times {found.tdp:g} W ({found.source})"
        carbon, default = self.carbon, None
        if carbon is None or (isinstance(carbon, str) and not is_number(carbon)):
            intensity, sources["carbon"] = carbon_intensity(carbon or "world")
            carbon, default = None, Positive(intensity, spread=CARBON_SPREAD)
        else:
            sources["carbon"] = "given"
        priors["carbon"] = as_prior("carbon", carbon, default)
        made = dict(hardware=found.name, peak=found.peak, sources=sources, _priors=priors)
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def of(self, C, *, flop_factor: float = FLOP_PER_PARAMETER_TOKEN, random_seed: int = 0) -> Bill:
        """What budgets of compute cost, or what budgets in other units pay for.

        Parameters
        ----------
        C : float, str, array_like, Allocation or Forecast
            Training FLOP, or budgets in any unit that `as_flops` reads; or the runs of a result. Of
            a budget in another unit, that amount is fixed, and the FLOP are uncertain.
        flop_factor : float
            FLOP per parameter and token by which C is counted (``runs.flop_factor``). Utilisation
            is defined with 6, so that C is converted.
        random_seed : int
            Seed of the draws of utilisation, price, power and carbon intensity.

        Returns
        -------
        Bill
        """
        if isinstance(getattr(C, "data", None), xr.Dataset):  # a Forecast or an Allocation
            C = C.data["C"].to_numpy()
        items = [C] if isinstance(C, str) or np.ndim(C) == 0 else list(C)
        C = as_flops(C, self, flop_factor=flop_factor)
        draws = self._drawn(settle_seed(random_seed))
        flop = np.broadcast_to(C, (len(draws["mfu"]), len(C))).copy()
        for i, item in enumerate(items):
            amount = parse_budget(item) if isinstance(item, str) else Amount(item, "flop", "")
            if amount.unit != "flop":
                flop[:, i] = self._paid(draws, amount.value, amount.unit, flop_factor)[:, 0]
        counted = flop * FLOP_PER_PARAMETER_TOKEN / flop_factor
        hours = counted / (SECONDS * self.peak * draws["mfu"][:, None])
        out = {"hours": hours}
        if draws["price"] is not None:
            out["dollars"] = hours * draws["price"][:, None]
        if draws["power"] is not None:
            out["kwh"] = hours * draws["power"][:, None] / 1000
            out["kg_co2e"] = out["kwh"] * draws["carbon"][:, None]
        if np.ptp(flop, axis=0).any():
            out = {"flop": flop, **out}
        dims = (*SAMPLE, "budget")
        data = xr.Dataset({n: (dims, v[None]) for n, v in out.items()}, {"C": ("budget", C)})
        return Bill(data, self)

    def _drawn(self, random_seed: int) -> dict[str, np.ndarray | None]:
        """Draws of the figures; None for those that are not known."""
        rng = np.random.default_rng(random_seed)
        return {name: drawn(prior, rng) for name, prior in self._priors.items()}

    def flops(self, amount, unit: str, *, flop_factor: float = FLOP_PER_PARAMETER_TOKEN):
        """Draws of the training FLOP that an amount pays for.

        Parameters
        ----------
        amount : float or array_like
        unit : {"hours", "dollars", "kwh", "kg_co2e"}
        flop_factor : float
            As in `of`.

        Returns
        -------
        numpy.ndarray
            (draw, amount).

        Raises
        ------
        BayescaleError
            If a price or a power is needed and not known.
        """
        return self._paid(self._drawn(0), amount, unit, flop_factor)

    def _paid(self, draws, amount, unit: str, flop_factor: float) -> np.ndarray:
        """As `flops`, with given draws of the figures."""
        per_hour = {
            "hours": np.ones(len(draws["mfu"])),
            "dollars": draws["price"],
            "kwh": None if draws["power"] is None else draws["power"] / 1000,
        }
        needed = {"dollars": "price", "kwh": "power", "kg_co2e": "power"}
        if unit == "kg_co2e" and per_hour["kwh"] is not None:
            per_hour[unit] = per_hour["kwh"] * draws["carbon"]
        if per_hour.get(unit) is None:
            name = needed[unit]
            raise BayescaleError(
                f"there is no published {name} of {self.hardware}: give {name}= to Cost"
            )
        hours = np.asarray(amount, float) / per_hour[unit][:, None]
        factor = flop_factor / FLOP_PER_PARAMETER_TOKEN
        return hours * SECONDS * self.peak * draws["mfu"][:, None] * factor

    def assumptions(self) -> pd.DataFrame:
        """The figures with their 90 % intervals, sources and dates.

        Returns
        -------
        pandas.DataFrame
            Index ``figure``; columns ``median``, ``lower``, ``upper``, ``unit`` and ``source``.
        """
        units = {
            "mfu": "share of the peak",
            "price": "USD per hour",
            "power": "W",
            "carbon": "kg CO2e per kWh",
        }
        rows = {"peak": (self.peak,) * 3 + ("FLOP per second", self.sources["peak"])}
        for name, prior in self._priors.items():
            if prior is not None:
                rows[name] = (prior.median, *prior.interval(0.9), units[name], self.sources[name])
        columns = ["median", "lower", "upper", "unit", "source"]
        return pd.DataFrame.from_dict(rows, "index", columns=columns).rename_axis("figure")


@dataclass(frozen=True, eq=False, repr=False)
class Bill:
    """What budgets of compute cost, as draws.

    Attributes
    ----------
    data : xarray.Dataset
        Dims (chain, draw, budget): ``hours`` of one accelerator, ``dollars``, ``kwh`` and
        ``kg_co2e``; without the last three if price or power is not known; ``flop`` if a budget
        was given in another unit. Coordinate ``C``: the FLOP, or their median.
    cost : Cost
        The hardware and its figures.
    """

    data: xr.Dataset = field(repr=False)
    cost: Cost

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row for each budget: medians and intervals of the cost in each unit."""
        columns = [table(self.data[n], n, ci_prob, ci_kind) for n in self.data.data_vars]
        budgets = pd.DataFrame({"C": self.data["C"].to_numpy()})
        return Summary(pd.concat([budgets, *columns], axis=1))

    def to_dataframe(self, of: str = "draws", ci_prob: float | None = None) -> pd.DataFrame:
        """A tidy table of the draws, or of medians and intervals by ``C`` and ``variable``."""
        check_rows(of)
        if of == "draws":
            return self.data.to_dataframe().reset_index().drop(columns="budget")
        prob, kind = defaults(ci_prob)
        parts = []
        for name in self.data.data_vars:
            columns = table(self.data[name], "median", prob, kind)
            columns.columns = ["median", "lower", "upper"]
            parts.append(columns.assign(C=self.data["C"].to_numpy(), variable=name))
        frame = pd.concat(parts, ignore_index=True).assign(ci_prob=prob, ci_kind=kind)
        return frame[["C", "variable", "median", "lower", "upper", "ci_prob", "ci_kind"]]

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """One sentence: what the largest budget costs or pays for, with intervals."""
        prob, _ = defaults(ci_prob)
        data = self.data.isel(budget=int(np.argmax(self.data["C"].to_numpy())))
        budget, verb, parts = f"{format_flop(float(data['C']))} FLOP", "take", []
        converted = "flop" in data and bool(np.ptp(data["flop"].to_numpy()))
        for name in data.data_vars:
            low, high = (float(v) for v in interval(data[name], prob))
            written = self._written(name, float(data[name].median()), low, high)
            if converted and high - low <= 1e-9 * high:  # the unit in which the budget was given
                budget, verb = f"A budget of {written.split(' (')[0]}", "means"
            elif converted or name != "flop":
                parts.append(written)
        *before, last = parts
        listed = f"{', '.join(before)} and {last}" if before else last
        return f"{budget} {verb} {listed}, with {100 * prob:g} % intervals."

    def _written(self, name: str, middle: float, low: float, high: float) -> str:
        """A median with its interval, in a unit that suits the median."""
        if name == "flop":
            return f"{format_flop(middle)} FLOP ({format_flop(low)} to {format_flop(high)})"
        if name in ("hours", "dollars"):
            one, two, three = map(format_count, (middle, low, high))
            if name == "dollars":
                return f"${one} (${two} to ${three})"
            return f"{one} {self.cost.hardware} hours ({two} to {three})"
        scales = {"kwh": ((1e6, "GWh"), (1e3, "MWh"), (1.0, "kWh")),
                  "kg_co2e": ((1e3, "t CO2e"), (1.0, "kg CO2e"))}  # fmt: skip
        scale, unit = next((s for s in scales[name] if middle >= s[0]), scales[name][-1])
        one, two, three = (_rounded(v / scale) for v in (middle, low, high))
        return f"{one} {unit} ({two} to {three})"

    def __repr__(self) -> str:
        assumed = self.cost.assumptions()
        lines = [self.bottom_line(), f"<Cost of {counted(self.data.sizes['budget'], 'budget')}>"]
        lines += [
            f"  {row.Index}: {row.median:.4g} ({row.lower:.4g} to {row.upper:.4g}) {row.unit}; "
            f"{row.source}"
            for row in assumed.itertuples()
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<p><strong>{escape(self.bottom_line())}</strong></p>{self.summary()._repr_html_()}"


def as_flops(
    budget, cost: Cost | None = None, *, flop_factor: float = FLOP_PER_PARAMETER_TOKEN
) -> np.ndarray:
    """Read budgets in FLOP, accelerator hours, dollars, energy or carbon as training FLOP.

    Parameters
    ----------
    budget : float, str or sequence of these
        A number or ``"1e24"``, ``"1e24 FLOP"``, ``"3640 PF-days"``, ``"50k H100 hours"``,
        ``"50k GPU-hours"``, ``"$2M"``, ``"30 GWh"``, ``"12 t CO2e"``.
    cost : Cost, optional
        The hardware, which every unit but FLOP needs. By default the accelerator that a budget
        names, else an H100, with its published figures.
    flop_factor : float
        FLOP per parameter and token by which the result is counted (``runs.flop_factor``).
        Utilisation is defined with 6. A budget in FLOP is returned unchanged.

    Returns
    -------
    numpy.ndarray
        (budget,). Of a budget in another unit, the median under the uncertainty of the figures.

    Raises
    ------
    LawError
        If a budget cannot be read.
    BayescaleError
        If a price or a power is needed and not published, or if the hardware differs.

    Examples
    --------
    >>> as_flops("1e24 FLOP").tolist()
    [1e+24]
    >>> float(as_flops("1M H100 hours", Cost("H100", mfu=0.4))[0])
    1.42...e+24
    """
    return read_budgets(budget, cost, flop_factor=flop_factor).flop


class Budgets(NamedTuple):
    """Budgets in FLOP.

    Attributes
    ----------
    flop : numpy.ndarray
        Dims (budget,).
    conversions : tuple of str
        A sentence for each budget in another unit: the FLOP, and the figures used, with sources.
    """

    flop: np.ndarray
    conversions: tuple[str, ...]


def read_budgets(
    budget,
    cost: Cost | None = None,
    *,
    flop_factor: float = FLOP_PER_PARAMETER_TOKEN,
    name: str = "the budget",
) -> Budgets:
    """As `as_flops`, with the conversions in words.

    Parameters
    ----------
    budget, cost, flop_factor
        As in `as_flops`.
    name : str
        Name of the quantity in messages, such as ``"C"``.

    Returns
    -------
    Budgets
    """
    if cost is not None and not isinstance(cost, Cost):
        raise LawError(f"cost is {cost!r}: give a Cost, such as bs.Cost('H100')")
    items = [budget] if isinstance(budget, str) or np.ndim(budget) == 0 else list(budget)
    flop, conversions = [], []
    for item in items:
        try:
            amount = parse_budget(item) if isinstance(item, str) else Amount(item, "flop", "")
        except LawError as error:
            raise LawError([f"{name}: {problem}" for problem in error.problems]) from None
        if amount.unit == "flop":
            flop.append(amount.value)
            continue
        paying = _cost_for(item, amount.hardware, cost, hardware_in(items))
        draws = paying.flops([amount.value], amount.unit, flop_factor=flop_factor)
        flop.append(float(np.median(draws)))
        conversions.append(_conversion(item.strip(), amount, draws, paying))
    return Budgets(as_counts(flop, name), tuple(dict.fromkeys(conversions)))


def _conversion(item: str, amount: Amount, draws: np.ndarray, cost: Cost) -> str:
    """A conversion in words: its result, and the figures with their sources."""
    low, middle, high = (format_flop(float(v)) for v in np.quantile(draws, [0.05, 0.5, 0.95]))
    figures = cost.assumptions()
    used = {
        "hours": (),
        "dollars": ("price",),
        "kwh": ("power",),
        "kg_co2e": ("power", "carbon"),
    }[amount.unit]
    units = {"price": "USD per hour", "power": "W", "carbon": "kg CO2e per kWh"}
    parts = [
        f"{figures['median'][name]:.3g} {units[name]} ({figures['source'][name]})" for name in used
    ]
    parts.append(
        f"{100 * figures['median']['mfu']:.2g} % of {cost.peak:.3g} FLOP per second "
        f"({figures['source']['mfu']})"
    )
    on = cost.hardware
    return f"{item} is taken as {middle} FLOP (90 %: {low} to {high}) on {on}: {', '.join(parts)}."


def _cost_for(item: str, named: str, cost: Cost | None, other: str | None) -> Cost:
    """The cost that a budget is read with; `other` is the accelerator that others name."""
    found = accelerator(named).name if named else ""
    if cost is None:
        return Cost(named if found else other or DEFAULT_HARDWARE)
    if found not in ("", cost.hardware):
        raise BayescaleError(
            f"{item!r} is in hours of {named}, but the cost is that of {cost.hardware}: give "
            "one of them"
        )
    return cost


def _rounded(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):.0f}"

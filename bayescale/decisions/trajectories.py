"""The loss by calendar year, from the growth of compute, algorithms and data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities import Link, accuracies
from bayescale.costs import Cost, read_budgets
from bayescale.decisions.paths import Path, Side, at_scale, grid, losses, path_of, side
from bayescale.errors import FitError, LawError, unknown
from bayescale.forecasting import DRIFTS, Average, answer_html, main_reason, mix, refuse_tiny
from bayescale.intervals import SAMPLE, Summary, check_rows, defaults, interval, table
from bayescale.keywords import hinted
from bayescale.model import Fit, parameters, settle_groups
from bayescale.priors import Fixed, Positive, Prior, from_link
from bayescale.seeds import settle_seed
from bayescale.units import counted, format_count, format_flop, parse_count, times_in_words

#: Default assumptions: prior, unit and source.
ASSUMPTIONS: dict[str, tuple[Prior, str, str]] = {
    "growth": (
        Positive(5.0, spread=1.4),
        "times per year",
        "training compute of frontier language models since 2020, 80 % 3.1 to 7.3 (Epoch AI 2024)",
    ),
    "algorithms": (
        Positive(3.0, spread=1.65),
        "times per year",
        "effective compute by better algorithms; estimates of 2.2 to 6 (Ho et al. 2024, "
        "arXiv:2403.05812, and later)",
    ),
    "data_stock": (
        Positive(3e14, spread=2.01),
        "tokens",
        "effective stock of public text, 90 % 100T to 1000T (Villalobos et al. 2024, "
        "arXiv:2211.04325)",
    ),
    "epochs": (
        Fixed(4.0),
        "passes",
        "repetitions with little loss of value (Muennighoff et al. 2023, arXiv:2305.16264)",
    ),
    "ceiling": (
        Positive(2e29, spread=3.0),
        "FLOP",
        "feasible by 2030 with limits of power, chips and data (Epoch AI 2024); the spread is an "
        "assumption",
    ),
}
#: Correlation of the logs of the growth of compute and of algorithmic progress. Experiments that
#: find better algorithms need compute; no estimate of it is published.
CORRELATION = 0.3
YEARS = 8
#: Share of draws from which an exhaustion of data or a limit of compute is a caution.
OFTEN = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """The posterior of the loss of the largest run by calendar year.

    Attributes
    ----------
    data : xarray.Dataset
        Dims (chain, draw, year): ``C``, training FLOP, at most the ceiling; ``effective``, the
        compute that would give the same loss with the algorithms of the fitted runs; ``N`` and
        ``D`` (tokens seen, with repetitions), if the law has them; ``loss``, the expected loss
        with the drift beyond the runs; ``exhausted``, whether the stock of data limits D;
        ``limited``, whether the ceiling limits C. Also the inputs, with dims (chain, draw).
    assumptions : pandas.DataFrame
        Each input with its median, 90 % interval, unit and source.
    start : float
        The year of the first run.
    law : str
    fit : Fit or Average
    random_seed : int
    conversions : tuple of str
        How budgets in other units were converted to FLOP; one sentence for each.
    accuracy : xarray.DataArray or None
        From a link, the expected accuracy; dims (chain, draw, year, task), with the draws of the
        link, which are independent of those of ``data``.
    """

    data: xr.Dataset = field(repr=False)
    assumptions: pd.DataFrame = field(repr=False)
    start: float
    law: str
    fit: Fit | Average = field(repr=False)
    random_seed: int
    conversions: tuple[str, ...] = ()
    accuracy: xr.DataArray | None = field(default=None, repr=False)

    @property
    def p_exhausted(self) -> np.ndarray:
        """Probability that the stock of data limits the run of each year."""
        return self.data["exhausted"].mean(SAMPLE).to_numpy()

    @property
    def p_limited(self) -> np.ndarray:
        """Probability that the ceiling limits the compute of each year."""
        return self.data["limited"].mean(SAMPLE).to_numpy()

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row for each year: medians and intervals, and probabilities of the two limits.

        Parameters
        ----------
        ci_prob, ci_kind
            As in `bayescale.Forecast.summary`.
        """
        self.fit.warn_if_failed()
        parts = [pd.DataFrame({"year": self.data["year"].to_numpy()})]
        parts += [table(self.data[n], n, ci_prob, ci_kind) for n in self._shown]
        if self.accuracy is not None:
            parts += [
                table(self.accuracy.sel(task=task), f"accuracy_{task}", ci_prob, ci_kind)
                for task in self.accuracy["task"].to_numpy()
            ]
        frame = pd.concat(parts, axis=1)
        return Summary(frame.assign(p_exhausted=self.p_exhausted, p_limited=self.p_limited))

    def to_dataframe(self, of: str = "draws", ci_prob: float | None = None) -> pd.DataFrame:
        """A tidy table of the draws, or of medians and intervals by ``year`` and ``variable``."""
        check_rows(of)
        if of == "draws":
            return self.data.to_dataframe().reset_index()
        prob, kind = defaults(ci_prob)
        parts = []
        for name in self._shown:
            columns = table(self.data[name], "median", prob, kind)
            columns.columns = ["median", "lower", "upper"]
            parts.append(columns.assign(year=self.data["year"].to_numpy(), variable=name))
        frame = pd.concat(parts, ignore_index=True).assign(ci_prob=prob, ci_kind=kind)
        return frame[["year", "variable", "median", "lower", "upper", "ci_prob", "ci_kind"]]

    @property
    def _shown(self) -> list[str]:
        return [n for n in ("C", "effective", "N", "D", "loss") if n in self.data]

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """The compute and the loss of the last year, and the main reason for doubt."""
        prob, _ = defaults(ci_prob)
        data = self.data.isel(year=-1)
        texts = []
        for name, write in (("C", format_flop), ("loss", "{:.3f}".format)):
            low, high = (write(float(v)) for v in interval(data[name], prob))
            texts.append(f"{write(float(data[name].median()))} ({low} to {high})")
        answer = (
            f"In {float(data['year']):g} a run of {texts[0]} FLOP would reach an expected loss of "
            f"{texts[1]}, with {100 * prob:g} % intervals."
        )
        if self.accuracy is not None:
            answer += f" {self._accuracies(prob)}"
        return " ".join((answer, *self.conversions, main_reason(self.cautions(prob))))

    def _accuracies(self, prob: float) -> str:
        """The accuracies of the last year as a sentence; at most three tasks."""
        last = self.accuracy.isel(year=-1)
        parts = []
        for task in last["task"].to_numpy()[:3]:
            drawn = last.sel(task=task)
            low, high = (float(v) for v in interval(drawn, prob))
            parts.append(f"{task} {float(drawn.median()):.3f} ({low:.3f} to {high:.3f})")
        return f"Its expected accuracy would be: {', '.join(parts)}."

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt the trajectory, the most serious first."""
        out = [
            f"the fit FAILED its check ({f.name}: {f.text})"
            for f in self.fit.check().problems
            if f.level == "failed"
        ]
        times = float(self.data["effective"].isel(year=-1).median()) / float(
            self.fit.runs.table["C"].max()
        )
        out.append(
            f"the last year has {times_in_words(times)} times the effective compute of the "
            "largest fitted run, and growth is extrapolated from past years"
        )
        for probability, text in (
            (self.p_exhausted, "the stock of data limits the run"),
            (self.p_limited, "the ceiling limits the compute"),
        ):
            if probability[-1] > OFTEN:
                first = float(self.data["year"][int(np.argmax(probability > OFTEN))])
                out.append(
                    f"{text} in {100 * probability[-1]:.0f} % of the draws at the end, and in more "
                    f"than {100 * OFTEN:g} % from {first:g}"
                )
        return tuple(out)

    def __repr__(self) -> str:
        lines = [self.bottom_line()]
        lines.append(f"<Trajectory by {self.law}, {counted(self.data.sizes['year'], 'year')}>")
        for i, year in enumerate(self.data["year"].to_numpy()):
            data = self.data.isel(year=i)
            low, high = (float(v) for v in interval(data["loss"]))
            lines.append(
                f"  {year:g}: {format_flop(float(data['C'].median()))} FLOP, loss "
                f"{float(data['loss'].median()):.3f} ({low:.3f} to {high:.3f}), data exhausted "
                f"{100 * self.p_exhausted[i]:.0f} %"
            )
        lines.append("  Assumptions, median (90 %):")
        for row in self.assumptions.itertuples():
            values = [_number(v) for v in (row.middle, row.lower, row.upper)]
            bounds = f"({values[1]} to {values[2]})"
            lines.append(f"    {row.Index}: {values[0]} {bounds} {row.unit}; {row.source}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        text = f"{self.summary()._repr_html_()}{self.assumptions.to_html()}"
        return answer_html(self.bottom_line(), text, self.cautions()[1:])


@hinted
def trajectory(
    fit: Fit | Average | Link,
    years=None,
    *,
    start: float | tuple[float, object] = 2025.0,
    group=None,
    tasks=None,
    growth=None,
    algorithms=None,
    data_stock=None,
    epochs=None,
    ceiling=None,
    correlation: float = CORRELATION,
    along="best",
    cost: Cost | None = None,
    drift: str = "auto",
    random_seed: int | None = None,
) -> Trajectory:
    """The loss of the largest run by calendar year.

    Parameters
    ----------
    fit : Fit, Average or Link
        The posterior of a law in N and D, or of a law of C; or a link from the losses of such a
        law to accuracies, which are then given by year too.
    years : array_like of float, optional
        Not before `start`; by default the eight years from it.
    start : float or tuple of float and compute
        The year in which the runs begin to grow, and their compute in that year (``(2025,
        "5e26")``), in any unit that `bayescale.as_flops` reads; by default that of the largest
        fitted run.
    group : str or mapping, optional
        A fitted group; needed if the fit has groups.
    tasks : str or sequence of str, optional
        Of a link: the tasks; all by default.
    growth, algorithms : float, tuple of float or Prior, optional
        Factors per year of training compute and of algorithmic progress. A number is taken as
        exact, a pair as the bounds of a 90 % interval; 1 is none. Progress multiplies the effective
        compute: effective N and D each grow by its root.
    data_stock, epochs : float, str, tuple or Prior, optional
        Unique tokens, and how often they may be repeated. D is at most their product; the rest of
        the compute is then spent on N.
    ceiling : float, str, tuple or Prior, optional
        The largest feasible compute in FLOP.
    correlation : float
        Correlation of the logs of `growth` and `algorithms`, between -1 and 1.
    along : "best" or float
        The split of compute: the best one, or a ratio of tokens to parameters.
    cost : Cost, optional
        The hardware and its prices, for budgets in units other than FLOP; by default the
        accelerator that they name, or an H100.
    drift : {"auto", "off"}
        As in `bayescale.forecast`.
    random_seed : int, optional
        Seed of the inputs and of the drift; by default that of the fit.

    Returns
    -------
    Trajectory

    Raises
    ------
    FitError
        If a year is before `start`, or if an input is not valid.
    LawError
        If the law is neither one of N and D nor one of C.

    Notes
    -----
    Every draw has one growth rate for all years, so that uncertainty grows with the horizon, and
    the parameters of the law, which the posterior correlates. The growth rates and limits are
    published estimates, not results of the fitted runs; ``print(result)`` lists them with sources.
    Repeated tokens within `epochs` count as unique ones.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> fit = bs.fit(runs, draws=200, random_seed=1)
    >>> ahead = bs.trajectory(fit, [2025, 2028], start=(2025, 1e24), growth=(3, 7))
    >>> loss = ahead.data["loss"].median(("chain", "draw"))
    >>> bool(loss[0] > loss[1])
    True
    """
    if drift not in DRIFTS:
        raise FitError(unknown("drift", drift, DRIFTS))
    if not -1 < correlation < 1:
        raise FitError(f"correlation is {correlation!r}: give a number between -1 and 1")
    link, fit = (fit, fit.fit) if isinstance(fit, Link) else (None, fit)
    if fit is None:
        raise FitError("this link was made without a fit: link a fit whose losses can be forecast")
    if tasks is not None and link is None:
        raise FitError("tasks= is for a link: give a Link in place of the fit")
    if link is not None:
        # The check of argument names adds a frame between this function and its caller.
        link.warn_if_failed(stacklevel=4)
    chosen = side(fit, group, "")
    columns = set(fit.law.columns)
    if not (columns <= {"N", "D", "C"} and ("C" in columns or {"N", "D"} <= columns)):
        raise LawError(
            f"law {fit.law.name!r} has the columns {', '.join(fit.law.columns)}: a trajectory "
            "needs a law of N and D, or of C"
        )
    given = dict(
        growth=growth, algorithms=algorithms, data_stock=data_stock, epochs=epochs, ceiling=ceiling
    )
    priors = {n: _input(n, v, ASSUMPTIONS[n][0]) for n, v in given.items()}
    year, first = start if isinstance(start, Sequence) else (start, fit.runs.table["C"].max())
    year = float(year)
    (first, *_), conversions = read_budgets(
        first, cost, flop_factor=fit.runs.flop_factor, name="start"
    )
    refuse_tiny({"start": np.array([first])}, fit.runs.table)
    years = year + np.arange(YEARS + 1.0) if years is None else np.atleast_1d(years).astype(float)
    if not (np.isfinite(years).all() and len(years) and (np.diff(years) > 0).all()):
        raise FitError(f"years are {years.tolist()}: give them in rising order")
    if years[0] < year:
        raise FitError(f"the year {years[0]:g} is before the start, {year:g}: give later years")
    seed = fit.random_seed if random_seed is None else settle_seed(random_seed)
    parts = {
        name: _of_one_law(one, chosen, priors, correlation, years - year, first, along, drift, seed)
        for name, one in chosen.members.items()
    }
    data = next(iter(parts.values())) if len(parts) == 1 else mix(parts, chosen.weights)
    rows = {}
    for name, prior in priors.items():
        _, unit, source = ASSUMPTIONS[name]
        source = source if given[name] is None else "given"
        rows[name] = (prior.median, *prior.interval(0.9), unit, source)
    rows["correlation"] = (*(correlation,) * 3, "", "of the logs of growth and algorithms; assumed")
    assumptions = pd.DataFrame.from_dict(
        rows, "index", columns=["middle", "lower", "upper", "unit", "source"]
    )
    data = data.assign_coords(year=years)
    accuracy = None
    if link is not None:
        name = "loss" if link.plan.form.along == "loss" else "effective"
        drawn = data[name].transpose(*SAMPLE, "year").to_numpy().reshape(-1, len(years))
        at_tasks = accuracies(link, drawn, group, tasks, drift=drift, seed=int(seed))
        accuracy = at_tasks.rename(point="year").assign_coords(year=years)
    return Trajectory(data, assumptions, year, fit.law.name, fit, int(seed), conversions, accuracy)


def _of_one_law(
    fit: Fit, chosen: Side, priors, correlation, elapsed, first, along, drift, seed
) -> xr.Dataset:
    """Draws of all variables under one law; dims (chain, draw, year)."""
    one = Side(fit, chosen.labels, chosen.name)
    shape = [fit.posterior.sizes[d] for d in SAMPLE]
    number = int(np.prod(shape))
    inputs = _drawn(priors, correlation, number, np.random.default_rng([seed, 7]))
    wished = first * inputs["growth"][:, None] ** elapsed
    C = np.minimum(wished, inputs["ceiling"][:, None])
    progress = inputs["algorithms"][:, None] ** elapsed
    effective = C * progress
    largest = float(fit.runs.table["C"].max())
    low, high = np.log(min(C.min(), largest)) - 1, np.log(max(effective.max(), largest)) + 1
    nodes = (np.exp(low), np.exp(min(high, np.log(largest) + 35)))
    path = path_of(one, "C", along, nodes, {})
    out = {"C": C, "effective": effective}
    values = {p: v.to_numpy().reshape(-1, 1) for p, v in _values(fit, chosen).items()}
    if path.ratio is not None or path.log_N is not None:
        N, D, exhausted = _split(path, C, inputs)
        out |= {"N": N, "D": D}
        root = np.sqrt(progress)
        columns = {"N": N * root, "D": D * root, "C": effective}
    else:
        exhausted = np.zeros(C.shape, bool)
        columns = {"C": effective}
    law = fit.law({c: columns[c] for c in fit.law.columns}, fit.plan.scales, values)
    log_x = grid(low, high, np.array([]))
    with_drift, without = (losses([one], [path], [log_x], seed, d)[0][0] for d in (drift, "off"))
    ratio = at_scale(log_x, with_drift - without, np.log(effective))
    out |= {"loss": law * np.exp(ratio), "exhausted": exhausted, "limited": wished > C}
    dims = (*SAMPLE, "year")
    data = {n: (dims, np.broadcast_to(v, C.shape).reshape(*shape, -1)) for n, v in out.items()}
    data |= {n: (SAMPLE, v.reshape(shape)) for n, v in inputs.items()}
    return xr.Dataset(data)


def _split(path: Path, C: np.ndarray, inputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """N, D and whether the stock of data limits D, in each draw and year."""
    N = path.columns(np.log(C).ravel())["N"].reshape(C.shape)
    product = C / path.flop_factor
    most = (inputs["data_stock"] * inputs["epochs"])[:, None]
    exhausted = product / N > most
    N = np.where(exhausted, product / most, N)
    return N, product / N, exhausted


def _values(fit: Fit, chosen: Side) -> dict[str, xr.DataArray]:
    rng = np.random.default_rng(fit.random_seed)
    settled = settle_groups(fit.plan, dict(chosen.labels) or None)
    found = parameters(fit.posterior, fit.plan, settled, rng, fit.law.parameters)
    return {name: v.transpose(*SAMPLE) for name, v in found.items()}


def _drawn(priors, correlation: float, number: int, rng) -> dict[str, np.ndarray]:
    """Draws of the inputs; the first two are correlated."""
    normal = rng.standard_normal((len(priors), number))
    normal[1] = correlation * normal[0] + np.sqrt(1 - correlation**2) * normal[1]
    return {
        name: np.broadcast_to(from_link(p.link, p.centre + p.width * z), number).copy()
        for (name, p), z in zip(priors.items(), normal, strict=True)
    }


def _input(name: str, value, default: Prior) -> Prior:
    """An input as a prior: a number is exact, a pair the bounds of a 90 % interval."""
    if value is None or isinstance(value, Prior):
        return default if value is None else value
    items = list(value) if isinstance(value, (tuple, list)) else [value]
    try:
        numbers = [parse_count(item) for item in items]
    except (TypeError, ValueError):
        numbers = []
    valid = 1 <= len(numbers) <= 2 and all(0 < n < np.inf for n in numbers)
    if not valid or sorted(set(numbers)) != numbers:
        raise FitError(
            f"{name} is {value!r}: give a positive number, or the lower and upper bound of a 90 % "
            "interval"
        )
    if len(numbers) == 1:
        return Fixed(float(numbers[0]))
    return Positive.from_interval(*numbers)


def _number(value: float) -> str:
    return format_count(value) if 1e3 <= value < 1e16 else f"{value:.3g}"

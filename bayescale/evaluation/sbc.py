"""Simulation-based calibration: coverage of posteriors for true values drawn from the prior.

Parameters are drawn from the prior, runs are simulated with them, and the runs are fitted (Talts et
al. 2018, arXiv:1804.06788). Over many repetitions the rank of the true value among the posterior
draws is uniform, unless the model, the sampler or the code is wrong. Bands of the empirical
distribution of the ranks are simultaneous
(Säilynoja, Bürkner & Vehtari 2022, arXiv:2103.10522).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayescale import laws
from bayescale.data import RunsLike, as_runs
from bayescale.errors import FitError
from bayescale.evaluation.wording import BY_CHANCE, NO_DOUBT, binomial_tail
from bayescale.forecasting import answer_html, main_reason
from bayescale.inference import flatten, run_all
from bayescale.intervals import Summary, check_rows, defaults
from bayescale.laws import Law
from bayescale.model import Design, design, draw_prior, sample_design, simulate_design
from bayescale.priors import Prior
from bayescale.seeds import settle_seed

#: Number of posterior draws for a rank; they are thinned, so that they are nearly independent.
RANK_DRAWS = 500
#: Largest ratio of a simulated loss to the typical loss of the runs, or its inverse.
LARGEST = 1e30
#: With fewer tables, a calibration shows only gross errors.
ENOUGH_TABLES = 200
#: Number of simulations for a simultaneous band.
BAND_SIMULATIONS = 2000


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of true parameters in their posteriors.

    Attributes
    ----------
    pit : pandas.DataFrame
        One row per simulated table, one column per scalar (``E``, ``E_dataset[c4]``): the share of
        posterior draws below the truth. Uniform on 0 to 1 for correct posteriors.
    law : str
    unconverged : int
        Number of tables whose fit did not converge even after longer runs. They are included.
    random_seed : int
        The seed that was used.
    """

    pit: pd.DataFrame = field(repr=False)
    law: str
    unconverged: int
    random_seed: int

    def coverage(self, prob: float = 0.9) -> pd.Series:
        """The share of tables whose central interval of probability `prob` contains the truth.

        Returns
        -------
        pandas.Series
            One value per scalar.
        """
        return ((self.pit - 0.5).abs() <= prob / 2).mean()

    def summary(self, prob: float = 0.95) -> pd.DataFrame:
        """Coverage and uniformity of the ranks.

        Parameters
        ----------
        prob : float
            Probability of the simultaneous band.

        Returns
        -------
        pandas.DataFrame
            One row per scalar: ``coverage50`` and ``coverage90``, the coverage of 50 and 90 %
            intervals, and ``inside``, whether the empirical distribution of the ranks lies inside
            the band. With correct posteriors, one scalar in twenty is not inside a 95 % band.
        """
        return Summary(
            pd.DataFrame(
                {
                    "coverage50": self.coverage(0.5),
                    "coverage90": self.coverage(0.9),
                    "inside": {c: is_inside(self.pit[c].to_numpy(), prob) for c in self.pit},
                }
            ).rename_axis("parameter")
        )

    def to_dataframe(self, of: str = "draws") -> pd.DataFrame:
        """A tidy table of the ranks, or of their coverage.

        Parameters
        ----------
        of : {"draws", "summary"}
            One row for each simulated table and scalar, or one row for each scalar.

        Returns
        -------
        pandas.DataFrame
            For ``"draws"``: ``table``, ``parameter`` and ``pit``. For ``"summary"``: ``parameter``
            and the columns of `summary`.
        """
        check_rows(of)
        if of == "summary":
            return pd.DataFrame(self.summary()).reset_index()
        frame = self.pit.rename_axis(index="table", columns="parameter")
        return frame.stack().rename("pit").reset_index()

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """How often intervals contain the truth, and the main reason for doubt.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals; 0.9 by default.

        Returns
        -------
        str
            Two sentences.
        """
        prob, _ = defaults(ci_prob)
        covered, inside = 100 * self.coverage(prob).mean(), self.summary()["inside"]
        return (
            f"{100 * prob:g} % intervals of {self.law} contain the true value in {covered:.1f} % "
            f"of {len(self.pit)} simulated tables, averaged over its parameters, and the ranks of "
            f"{int(inside.sum())} of {len(inside)} parameters lie inside their 95 % band. "
            f"{main_reason(self.cautions(), NO_DOUBT)}"
        )

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt the posteriors or this test of them. None depends on `ci_prob`."""
        out, outside = [], [c for c, inside in self.summary()["inside"].items() if not inside]
        # By chance alone, the number of bands that are left is about binomial.
        if outside and binomial_tail(len(outside), self.pit.shape[1], 0.05) < BY_CHANCE:
            out.append(
                f"the ranks of {', '.join(outside)} lie outside their 95 % band, more than by "
                "chance"
            )
        if self.unconverged:
            out.append(f"the fits of {self.unconverged} of {len(self.pit)} tables did not converge")
        if len(self.pit) < ENOUGH_TABLES:
            out.append(
                f"{len(self.pit)} tables are few: with fewer than {ENOUGH_TABLES}, only gross "
                "errors are seen"
            )
        return tuple(out)

    def __repr__(self) -> str:
        return (
            f"{self.bottom_line()}\n<Calibration of {self.law} on {len(self.pit)} simulated tables>"
            f"\n{self.summary()!r}"
        )

    def _repr_html_(self) -> str:
        return answer_html(self.bottom_line(), self.summary()._repr_html_(), self.cautions()[1:])


class _Table(NamedTuple):
    """One table to simulate and fit, with all inputs that another process needs.

    `truth` is one draw from the prior, by name of the variable; every table has a different `seed`.
    """

    plan: Design
    truth: Mapping[str, np.ndarray]
    seed: np.random.SeedSequence
    sampling: Mapping[str, object]


def calibrate(
    runs: RunsLike,
    law: str | Law = "chinchilla",
    *,
    groups: str | Sequence[str] | None = None,
    pool: Mapping[str, str] | None = None,
    priors: Mapping[str, Prior] | None = None,
    drift: str = "auto",
    law_error: bool | None = None,
    n: int = 200,
    draws: int = 500,
    tune: int = 500,
    chains: int = 4,
    engine: str = "auto",
    cores: int | None = None,
    target_accept: float | None = None,
    executor=None,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Calibration:
    """Simulate tables with the design of `runs` from the prior, fit them, and rank the truths.

    Parameters
    ----------
    runs : Runs, path or DataFrame
        The design: their sizes and groups are used, and their losses are simulated.
    law, groups, pool, priors, drift, law_error, engine, draws, tune, chains, cores, target_accept
        As in `bayescale.fit`.
    n : int
        Number of simulated tables, at least 2; a conclusion needs 200 or more.
    executor : concurrent.futures.Executor, optional
        Makes the fits, as in `bayescale.rollout`. Results do not depend on it.
    random_seed : int, optional
        With None a seed is drawn. The seed that was used is stored on the result.
    progressbar : bool, optional
        By default on a terminal and in notebooks only.

    Returns
    -------
    Calibration

    Raises
    ------
    FitError, LawError
        For fewer than two tables, a law that cannot be sent to another process, and all inputs that
        `bayescale.fit` refuses.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> bs.calibrate(runs, "power(D)", n=2, random_seed=1).pit.shape
    (2, 5)
    """
    if n < 2:
        raise FitError(f"n is {n}: at least 2 tables are needed", where="calibrate")
    runs, random_seed = as_runs(runs, groups), settle_seed(random_seed)
    plan = design(runs, laws.get(law), groups, pool, priors, drift, law_error=law_error)
    truths = draw_prior(plan, n, np.random.default_rng(random_seed))
    sampling = dict(
        engine=engine,
        draws=draws,
        tune=tune,
        chains=chains,
        cores=cores,
        target_accept=target_accept,
    )
    tables = [
        _Table(plan, {name: values[i] for name, values in truths.items()}, seed, sampling)
        for i, seed in enumerate(np.random.SeedSequence(random_seed).spawn(n))
    ]
    results = run_all(
        _ranks_of_table,
        tables,
        [f"table {i + 1} of {n}" for i in range(n)],
        [plan.law],
        executor=executor,
        progressbar=progressbar,
    )
    ranks, converged = zip(*results, strict=True)
    return Calibration(
        pd.DataFrame(list(ranks)), plan.law.name, n - sum(converged), int(random_seed)
    )


def _ranks_of_table(table: _Table) -> tuple[dict[str, float], bool]:
    """Simulate and fit one table; the ranks of its truth, and whether the chains converged.

    A table with a loss that no table of runs can hold is drawn again, together with its truth. This
    leaves the ranks uniform, because the condition is on the data alone.
    """
    rng, truth = np.random.default_rng(table.seed), table.truth
    simulated = _simulated(table.plan, truth, rng)
    while simulated is None:
        truth = {name: values[0] for name, values in draw_prior(table.plan, 1, rng).items()}
        simulated = _simulated(table.plan, truth, rng)
    drawn = sample_design(
        simulated, seed=int(rng.integers(2**31)), progressbar=False, **table.sampling
    )
    return _ranks(drawn.posterior, truth, rng), drawn.convergence.passed


def _simulated(plan: Design, truth: Mapping[str, np.ndarray], rng) -> Design | None:
    """A simulated table; None if a loss is not within a factor of `LARGEST` of the typical loss."""
    with np.errstate(all="ignore"):
        simulated = simulate_design(plan, truth, rng)
        distance = np.abs(simulated.log_loss - np.log(plan.runs.table["loss"]).mean())
    return simulated if (distance < np.log(LARGEST)).all() else None


def _ranks(posterior: xr.Dataset, truth: Mapping[str, np.ndarray], rng) -> dict[str, float]:
    """The share of thinned draws below the truth, per scalar.

    Ranks are discrete; a random number within each step makes them uniform on 0 to 1.
    """
    posterior = posterior[[name for name in posterior.data_vars if name in truth]]
    names, values = flatten(posterior)
    thin = max(1, values.shape[0] * values.shape[1] // RANK_DRAWS)
    values = values.transpose(1, 0, 2).reshape(-1, values.shape[2])[::thin]
    true = np.concatenate([np.atleast_1d(truth[name]) for name in posterior.data_vars])
    below = (values < true).sum(axis=0) + rng.random(len(true))
    return dict(zip(names, below / (len(values) + 1), strict=True))


@lru_cache(maxsize=16)
def envelope(n: int, prob: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The simultaneous band of the empirical distribution of a uniform sample, by ArviZ.

    Parameters
    ----------
    n : int
        Size of the sample.
    prob : float
        Probability that the whole empirical distribution lies inside.

    Returns
    -------
    at, lower, upper : array, dims (n + 1,)
        Points from 0 to 1, and the bounds at each point.
    """
    from arviz_stats.ecdf_utils import ecdf_pit

    # The band depends on the size of the sample only.
    at, _, lower, upper = ecdf_pit(
        np.full(n, 0.5), prob, BAND_SIMULATIONS, rng=np.random.default_rng(0)
    )
    return at, lower, upper


def is_inside(pit: np.ndarray, prob: float = 0.95) -> bool:
    """Whether the empirical distribution of `pit`, dims (table,), lies inside its band."""
    at, lower, upper = envelope(len(pit), prob)
    below = np.searchsorted(np.sort(pit), at, side="right") / len(pit)
    # Bounds and shares are ratios of counts. Equal values may differ in the last bit.
    return bool(((below >= lower - 1e-9) & (below <= upper + 1e-9)).all())

"""Simulation-based calibration: do posteriors hold the truth as often as they say?

Talts et al. 2018, arXiv:1804.06788: draw parameters from the prior, simulate runs, fit them; over
many repetitions the rank of the truth among its posterior draws is uniform, or the model, its
sampler or its code is wrong. The envelope of the empirical distribution is simultaneous (Säilynoja,
Bürkner & Vehtari 2022, arXiv:2103.10522).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bayescale import laws
from bayescale.data import Runs
from bayescale.inference import flatten, nuts
from bayescale.laws import Law
from bayescale.model import design, draw_prior, simulate_design, target
from bayescale.priors import Prior
from bayescale.progress import bar

RANK_DRAWS = 500  # posterior draws the truth is ranked among: thinned, so nearly independent
ENVELOPE_SIMULATIONS = 4000


@dataclass(frozen=True, eq=False)
class Calibration:
    """Where the truth lay in its posteriors.

    Attributes
    ----------
    pit : pandas.DataFrame
        One row per simulated table, one column per scalar (``E``, ``E_dataset[c4]``): the share of
        posterior draws below the truth. Uniform on 0 to 1 if all is right.
    law : str
    unconverged : int
        Tables whose chains did not agree even after being run longer; kept, not dropped.
    random_seed : int
    """

    pit: pd.DataFrame = field(repr=False)
    law: str
    unconverged: int
    random_seed: int

    def coverage(self, prob: float = 0.9) -> pd.Series:
        """Share of tables whose central interval of probability `prob` holds the truth."""
        return ((self.pit - 0.5).abs() <= prob / 2).mean()

    def summary(self, prob: float = 0.95) -> pd.DataFrame:
        """Per scalar: coverage of 50 and 90 % intervals, and whether its ranks look uniform.

        ``inside`` tells whether the empirical distribution of the ranks stays inside its
        simultaneous envelope of probability `prob`; one scalar in twenty will not at 95 %.
        """
        limit = envelope_level(len(self.pit), prob)
        return pd.DataFrame(
            {
                "coverage50": self.coverage(0.5),
                "coverage90": self.coverage(0.9),
                "inside": {c: extremeness(self.pit[c].to_numpy()) >= limit for c in self.pit},
            }
        )

    def __repr__(self) -> str:
        table = self.summary()
        return (
            f"<Calibration of {self.law} on {len(self.pit)} simulated tables: "
            f"{int(table.inside.sum())} of {len(table)} scalars inside their 95 % envelope, "
            f"90 % intervals cover {100 * table.coverage90.mean():.1f} % on average, "
            f"{self.unconverged} unconverged>"
        )


def calibrate(
    runs: Runs,
    law: str | Law = "chinchilla",
    *,
    groups: str | Sequence[str] | None = None,
    pool: Mapping[str, str] | None = None,
    priors: Mapping[str, Prior] | None = None,
    drift: str = "auto",
    n: int = 200,
    draws: int = 500,
    tune: int = 500,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Calibration:
    """Simulate `n` tables from the prior on the design of `runs`, fit each, and rank the truths.

    Parameters
    ----------
    runs : Runs
        The design: sizes and groups are kept, losses are simulated.
    law, groups, pool, priors, drift, draws, tune, progressbar
        As in `bayescale.fit`.
    n : int
        Number of simulated tables; 200 or more for a verdict.
    random_seed : int, optional

    Returns
    -------
    Calibration

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> bs.calibrate(runs, "power(D)", n=2, random_seed=1).pit.shape
    (2, 5)
    """
    if random_seed is None:
        random_seed = int(np.random.SeedSequence().entropy % 2**31)
    plan = design(runs, laws.get(law), groups, pool, priors, drift)
    rng = np.random.default_rng(random_seed)
    truths = draw_prior(plan, n, rng)
    rows, unconverged = [], 0
    with bar(progressbar) as step:
        for i in range(n):
            step(f"table {i + 1} of {n}", i, n)
            truth = {name: values[i] for name, values in truths.items()}
            fake = simulate_design(plan, truth, rng)
            drawn = nuts.sample(
                target(fake),
                draws=draws,
                tune=tune,
                chains=4,
                progressbar=False,
                seed=int(rng.integers(2**31)),
            )
            unconverged += not drawn.convergence.passed
            rows.append(_ranks(drawn.posterior, truth, rng))
    return Calibration(pd.DataFrame(rows), plan.law.name, unconverged, random_seed)


def _ranks(posterior, truth, rng) -> dict[str, float]:
    posterior = posterior[[name for name in posterior.data_vars if name in truth]]
    names, values = flatten(posterior)
    thin = max(1, values.shape[0] * values.shape[1] // RANK_DRAWS)
    values = values.transpose(1, 0, 2).reshape(-1, values.shape[2])[::thin]
    true = np.concatenate([np.atleast_1d(truth[name]) for name in posterior.data_vars])
    below = (values < true).sum(axis=0) + rng.random(len(true))
    return dict(zip(names, below / (len(values) + 1), strict=True))


def extremeness(pit: np.ndarray) -> float:
    """The smallest pointwise tail probability of the empirical distribution of `pit`."""
    from scipy.stats import binom

    n = len(pit)
    at = np.arange(1, n) / n
    count = (pit[:, None] <= at).sum(axis=0)
    return float(2 * np.minimum(binom.cdf(count, n, at), binom.sf(count - 1, n, at)).min())


def envelope_level(n: int, prob: float = 0.95) -> float:
    """The `extremeness` that uniform samples of size `n` fall below with probability 1 - `prob`."""
    from scipy.stats import binom

    rng = np.random.default_rng(0)
    at = np.arange(1, n) / n
    counts = np.arange(n + 1)[:, None]
    tails = 2 * np.minimum(binom.cdf(counts, n, at), binom.sf(counts - 1, n, at))
    column = np.arange(n - 1)
    smallest = []
    for _ in range(ENVELOPE_SIMULATIONS):
        count = np.searchsorted(np.sort(rng.random(n)), at, side="right")
        smallest.append(tails[count, column].min())
    return float(np.quantile(smallest, 1 - prob))


def envelope(n: int, prob: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points on 0 to 1, and the lower and upper bound of a uniform sample's distribution there."""
    from scipy.stats import binom

    level = envelope_level(n, prob)
    at = np.linspace(0, 1, 201)[1:-1]
    return at, binom.ppf(level / 2, n, at) / n, binom.ppf(1 - level / 2, n, at) / n

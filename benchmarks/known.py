"""The posterior of the 240 Chinchilla runs compared with published values.

It shows how the exponent of the optimal size depends on which runs are fitted, and whether small
runs have an error of the law. It also reports the evidence of these runs on the laws of Kaplan et
al. and Hoffmann et al., and forecasts of the Chinchilla model under two laws.

    python benchmarks/known.py
"""

from __future__ import annotations

import warnings

import pandas as pd
from common import chinchilla240, write

import bayescale as bs

# Besiroglu et al. 2024, arXiv:2404.10102: their refit; and a case bootstrap of the same log-Huber
# fit (1500 resamples, 2.5 to 97.5 %).
PUBLISHED = {
    "E": (1.8172, 1.768, 1.872),
    "alpha": (0.3478, 0.317, 0.371),
    "beta": (0.3658, 0.332, 0.416),
    "a in N* ~ C^a": (0.5126, 0.4753, 0.5525),
    "N* at 5.76e23 FLOP (B)": (72.2, 50.0, 111.0),
}


#: The Chinchilla model: more than four times the compute of any of the 240 runs.
ITSELF = dict(N="70B", D="1.4T")
DISAGREEING = ("chinchilla", "kaplan_floor")


def published(fit: bs.Fit) -> pd.DataFrame:
    """Posterior means and 95 % intervals, and the published values."""
    best = bs.allocate(fit, C=5.76e23).data.isel(budget=0)
    draws = {name: fit.posterior[name] for name in ("E", "alpha", "beta")}
    draws |= {"a in N* ~ C^a": best["a"], "N* at 5.76e23 FLOP (B)": best["N"] / 1e9}
    rows = []
    for name, (value, low, high) in PUBLISHED.items():
        d = draws[name]
        rows.append(
            {
                "quantity": name,
                "posterior mean": float(d.mean()),
                "sd": float(d.std()),
                "2.5 %": float(d.quantile(0.025)),
                "97.5 %": float(d.quantile(0.975)),
                "published": value,
                "bootstrap 2.5 %": low,
                "bootstrap 97.5 %": high,
                "mean inside": low < float(d.mean()) < high,
            }
        )
    return pd.DataFrame(rows)


def exponents(runs: bs.Runs, seed: int) -> pd.DataFrame:
    """The exponent of N* ~ C^a: of all runs, of the more expensive half, and of an ensemble."""
    half = runs[runs.table["C"] >= runs.table["C"].median()]
    fits = {
        ("all runs", "chinchilla"): bs.fit(runs, "chinchilla", random_seed=seed),
        ("the more expensive half", "chinchilla"): bs.fit(half, "chinchilla", random_seed=seed),
        ("all runs", "chinchilla, error in small runs"): bs.fit(
            runs, "chinchilla", law_error=True, random_seed=seed
        ),
        ("all runs", "ensemble"): bs.ensemble(runs, random_seed=seed),
    }
    rows = []
    for (which, law), fit in fits.items():
        best = bs.allocate(fit, C=5.76e23).data.isel(budget=0)
        row = {"runs": which, "law": law}
        for name, value in (("a", best["a"]), ("N* (B)", best["N"] / 1e9)):
            low, middle, high = value.quantile([0.05, 0.5, 0.95]).to_numpy()
            row |= {name: middle, f"{name} 5 %": low, f"{name} 95 %": high}
        rows.append(row)
    return pd.DataFrame(rows)


def itself(fits: dict[str, bs.Fit]) -> pd.DataFrame:
    """95 % intervals of the law and of a new run with drift, for each law and their average."""
    rows = []
    for name, fit in {**fits, "average": bs.average(fits)}.items():
        row = {"law": name}
        for what, drift in (("mean", "off"), ("loss", "auto")):
            draws = bs.forecast(fit, **ITSELF, drift=drift, random_seed=1).data[what]
            ends = draws.quantile([0.025, 0.975]).to_numpy()
            label = "law" if what == "mean" else "new run"
            row |= {f"{label} 2.5 %": ends[0], f"{label} 97.5 %": ends[1]}
        rows.append(row)
    return pd.DataFrame(rows)


def main(seed: int = 1) -> None:
    warnings.simplefilter("ignore", bs.ExtrapolationWarning)
    found = bs.hypotheses(chinchilla240(), random_seed=seed)
    print(found.fits["chinchilla"].convergence)
    write(published(found.fits["chinchilla"]), "known", "Chinchilla, 240 runs")
    write(exponents(chinchilla240(), seed), "known_halves", "N* ~ C^a, at 5.76e23 FLOP")
    print(found)
    write(found.summary(0.95, "eti").reset_index(), "known_laws", "The same runs, four laws")
    write(
        itself({name: found.fits[name] for name in DISAGREEING}),
        "known_itself",
        "70B parameters on 1.4T tokens, from these runs",
    )


if __name__ == "__main__":
    main()

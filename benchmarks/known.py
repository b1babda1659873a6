"""The posterior of the 240 Chinchilla runs beside what the literature knows of them; what these
runs say of Kaplan's law and Hoffmann's; and how far laws disagree on Chinchilla itself.

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


#: Chinchilla itself, four times as much compute as any of the 240 runs and more.
ITSELF = dict(N="70B", D="1.4T")
DISAGREEING = ("chinchilla", "kaplan_floor")


def known(fit: bs.Fit) -> pd.DataFrame:
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


def itself(fits: dict[str, bs.Fit]) -> pd.DataFrame:
    """95 % intervals of where the laws lie and of a new run with drift, one by one and averaged."""
    rows = []
    for name, fit in {**fits, "average": bs.average(fits)}.items():
        row = {"law": name}
        for what, drift in (("mean", "off"), ("loss", "auto")):
            draws = bs.forecast(fit, **ITSELF, drift=drift, random_seed=1).data[what]
            ends = draws.quantile([0.025, 0.975]).to_numpy()
            said = "law" if what == "mean" else "new run"
            row |= {f"{said} 2.5 %": ends[0], f"{said} 97.5 %": ends[1]}
        rows.append(row)
    return pd.DataFrame(rows)


def main(seed: int = 1) -> None:
    warnings.simplefilter("ignore", bs.ExtrapolationWarning)
    said = bs.hypotheses(chinchilla240(), random_seed=seed)
    print(said.fits["chinchilla"].convergence)
    write(known(said.fits["chinchilla"]), "known", "Chinchilla, 240 runs")
    print(said)
    write(said.summary(0.95, "eti").reset_index(), "known_laws", "The same runs, four laws")
    write(
        itself({name: said.fits[name] for name in DISAGREEING}),
        "known_itself",
        "70B parameters on 1.4T tokens, from these runs",
    )


if __name__ == "__main__":
    main()

"""The posterior of the 240 Chinchilla runs beside what the literature knows of them.

    python benchmarks/known.py
"""

from __future__ import annotations

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


def main(seed: int = 1) -> None:
    fit = bs.fit(chinchilla240(), "chinchilla", random_seed=seed)
    best = bs.allocate(fit, C=5.76e23).data.isel(budget=0)
    draws = {name: fit.posterior[name] for name in ("E", "alpha", "beta")}
    draws |= {"a in N* ~ C^a": best["a"], "N* at 5.76e23 FLOP (B)": best["N"] / 1e9}
    rows = []
    for name, (value, low, high) in PUBLISHED.items():
        d = draws[name]
        rows.append({"quantity": name, "posterior mean": float(d.mean()), "sd": float(d.std()),
                     "2.5 %": float(d.quantile(0.025)), "97.5 %": float(d.quantile(0.975)),
                     "published": value, "bootstrap 2.5 %": low, "bootstrap 97.5 %": high,
                     "mean inside": low < float(d.mean()) < high})
    print(fit.convergence)
    write(pd.DataFrame(rows), "known", "Chinchilla, 240 runs")


if __name__ == "__main__":
    main()

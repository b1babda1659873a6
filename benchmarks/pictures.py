"""Draw the README's pictures.

    python benchmarks/pictures.py
"""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from common import RESULTS

import bayescale as bs
from bayescale.style import STYLE


def reliability(runs: bs.Runs, seed: int) -> None:
    """Whether intervals hold on held-out OpenLM runs, as in notebooks/02_do_the_intervals_hold."""
    laws = ("chinchilla", "kaplan_floor")
    rolled = bs.rollout(runs, laws, above=["100M", "300M", "1B", "5B"], column="N", each="dataset",
                        draws=1000, random_seed=seed)
    panels = bs.plot_calibration(rolled.mixed(dict.fromkeys(laws, 1 / len(laws))))
    panels[0].figure.savefig(RESULTS / "reliability.png", dpi=90)


def main(seed: int = 1) -> None:
    RESULTS.mkdir(exist_ok=True)
    runs = bs.Runs.example("openlm")
    small = bs.fit(runs.query("N < 1e9"), groups="dataset", random_seed=seed)
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(14.5, 4.6), sharey=True)
        sizes = bs.grid("10M", "10B", 50)
        for ax, corpus in zip(panels, ("c4", "redpajama", "refinedweb"), strict=True):
            ahead = bs.forecast(small, N=sizes, D=20 * sizes, group=corpus)
            held = runs.query(f"dataset == '{corpus}' and tokens_per_param == 20 and N > 1e9")
            bs.plot_forecast(ahead, x="N", observed=held, ci_prob=0.9, ax=ax)
            seen = runs.query(f"dataset == '{corpus}' and tokens_per_param == 20 and N < 1e9")
            ax.scatter(seen.table["N"], seen.table["loss"], color="black", s=26, zorder=4,
                       label="fitted")
            ax.set(title=corpus, ylabel=panels[0].get_ylabel() if ax is panels[0] else "",
                   xlim=(8e6, 1.1e10))
            ax.legend(loc="upper right")
        figure.savefig(RESULTS / "held_back.png", dpi=90)
        whole = bs.fit(runs, groups="dataset", random_seed=seed)
        bs.plot_fit(whole, references="all").figure.savefig(RESULTS / "fit.png", dpi=90)
        bs.plot_posterior(whole)[0, 0].figure.savefig(RESULTS / "posterior.png", dpi=90)
        split = bs.allocate(whole, C=bs.grid(1e19, 1e26, 50), group="c4")
        bs.plot_allocation(split)[0].figure.savefig(RESULTS / "allocation.png", dpi=90)
    reliability(runs, seed)


if __name__ == "__main__":
    main()

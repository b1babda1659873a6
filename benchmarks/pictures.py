"""Draw the plots of the README.

python benchmarks/pictures.py
"""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from common import RESULTS
from scipy.stats import beta

import bayescale as bs
from bayescale.plots.style import COLOURS, GREY, MARKERS, STYLE

TABLES = {
    ("average", "learnt"): ("average of two laws, with drift", "black", "-"),
    ("chinchilla", "learnt"): ("Chinchilla's law, with drift", COLOURS[0], "-"),
    ("chinchilla", "off"): ("Chinchilla's law, without drift", COLOURS[1], "-"),
    ("log-Huber bootstrap (chinchilla)", None): ("log-Huber, bootstrap", GREY, "--"),
}
CURVES = {
    "delayed_power(D)": ("delayed power law, with drift", COLOURS[0], "-"),
    "log-Huber bootstrap (delayed_power(D))": ("log-Huber, bootstrap", GREY, "--"),
    "persistence": ("last value", GREY, ":"),
}


def reliability() -> None:
    """Coverage of intervals, from the results of rollouts.py and curves.py."""
    levels = (50, 80, 90, 95)
    tables, curves = (pd.read_csv(RESULTS / f"{n}.csv") for n in ("rollouts", "curves"))
    tables, curves = tables[tables["over"] == "all"], curves[curves["domain"] == "IC"]
    figure, panels = plt.subplots(1, 2, figsize=(12, 5))
    for (method, drift), look in TABLES.items():
        same_drift = tables["drift"].isna() if drift is None else tables["drift"] == drift
        row = tables[(tables["method"] == method) & same_drift].iloc[0]
        _line(panels[0], levels, [100 * row[f"pooled{k}"] for k in levels], *look)
    for method, look in CURVES.items():
        row = curves[curves["method"] == method].iloc[0]
        _line(panels[1], levels, [100 * row[f"coverage{k}"] for k in levels], *look)
    for ax, title in zip(
        panels,
        (
            "13 tables: 368 runs larger than those fitted",
            "72 learning curves, up to twice the fitted length",
        ),
        strict=True,
    ):
        ax.plot([0, 100], [0, 100], color="black", linewidth=0.8)
        ax.set(title=title, xlabel="probability of the interval (%)", xlim=(45, 100), ylim=(0, 102))
        ax.legend(loc="lower right")
    panels[0].set_ylabel("held-out runs inside (%)")
    figure.savefig(RESULTS / "reliability.png", dpi=90)


def power() -> None:
    """The share of breaks that are found, by their size, from the results of breaks.py."""
    each = pd.read_csv(RESULTS / "breaks_broken_each.csv")
    each["found"] = each["P"] > 0.5
    titles = {
        ("loss", 0.003): "losses, 0.3 % noise",
        ("loss", 0.03): "losses, 3 % noise",
        ("accuracy", 2000): "accuracies, 2000 questions",
    }
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.6), sharey=True)
    for ax, ((metric, noise), title) in zip(panels, titles.items(), strict=True):
        selected = each[(each["metric"] == metric) & (each["noise"] == noise)]
        by = (
            selected["found"]
            .groupby(1 + selected["change"])
            .agg(["sum", "size"])
            .astype(float)
            .reindex(sorted({*(1 + selected["change"]), 1.0}))
        )
        low, high = beta.ppf([[0.05], [0.95]], by["sum"] + 0.5, by["size"] - by["sum"] + 0.5)
        middle = by["sum"] / by["size"]
        ax.fill_between(by.index, 100 * low, 100 * high, color=COLOURS[0], alpha=0.2, lw=0)
        ax.errorbar(
            by.index,
            100 * middle,
            100 * np.abs([low - middle, high - middle]),
            lw=2,
            elinewidth=1,
            color=COLOURS[0],
            label="all, with 90 % intervals",
        )
        for i, (points, some) in enumerate(selected.groupby("points")):
            share = some.groupby(1 + some["change"])["found"].mean()
            ax.plot(
                share.index * 1.06 ** (i - 1),
                100 * share,
                MARKERS[i],
                ms=8,
                color=COLOURS[i + 1],
                mec="white",
                label=f"{points} points",
            )
        ax.set(
            title=title, xscale="log", xlabel="slope after the break / slope before", ylim=(-2, 102)
        )
        ticks = sorted({1 + c for c in selected["change"]})
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.minorticks_off()
        ax.axvline(1, color="black", linewidth=0.8)
    panels[0].set_ylabel("breaks found, P > .5 (%)")
    panels[-1].legend(loc="upper left", bbox_to_anchor=(0.42, 1))
    figure.savefig(RESULTS / "breaks_power.png", dpi=90)


def _line(ax, levels, coverage, label, colour, dash) -> None:
    ax.plot(levels, coverage, dash, color=colour, marker="o", label=label)


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
            bs.plot_forecast(ahead, x="N", observed=held, ax=ax)
            seen = runs.query(f"dataset == '{corpus}' and tokens_per_param == 20 and N < 1e9")
            ax.scatter(
                seen.table["N"], seen.table["loss"], color="black", s=26, zorder=4, label="fitted"
            )
            ax.set(
                title=corpus,
                ylabel=panels[0].get_ylabel() if ax is panels[0] else "",
                xlim=(8e6, 1.1e10),
            )
            ax.legend(loc="upper right")
        figure.savefig(RESULTS / "held_back.png", dpi=90)
        whole = bs.fit(runs, groups="dataset", random_seed=seed)
        bs.plot_fit(whole, references="all").figure.savefig(RESULTS / "fit.png", dpi=90)
        bs.plot_posterior(whole)[0, 0].figure.savefig(RESULTS / "posterior.png", dpi=90)
        split = bs.allocate(whole, C=bs.grid(1e19, 1e26, 50), group="c4")
        bs.plot_allocation(split)[0].figure.savefig(RESULTS / "allocation.png", dpi=90)
        reliability()
        power()


if __name__ == "__main__":
    main()

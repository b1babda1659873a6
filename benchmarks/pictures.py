"""Draw the plots of the README and of docs/tested.md.

python benchmarks/pictures.py [held_back | fits | reliability | power ...]
"""

from __future__ import annotations

import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from common import RESULTS
from scipy.stats import beta

import bayescale as bs
from bayescale.plots.style import COLOURS, GREY, MARKERS, STYLE

#: Rows of family.csv; the chosen family is the one whose settings were chosen on other studies.
TABLES = {
    "family, chosen on other studies": ("the default family of laws", "black", "-"),
    "chinchilla, drift 0.06": ("Chinchilla's law, with drift", COLOURS[0], "-"),
    "skaling, drift 0.06": ("skaling, with drift", COLOURS[1], "-"),
    "log-Huber bootstrap (chinchilla)": ("log-Huber, bootstrap", GREY, "--"),
}
CURVES = {
    "delayed_power(D)": ("delayed power law, with drift", COLOURS[0], "-"),
    "log-Huber bootstrap (delayed_power(D))": ("log-Huber, bootstrap", GREY, "--"),
    "persistence": ("last value", GREY, ":"),
}


def reliability() -> None:
    """Coverage of intervals, from the results of family.py and curves.py."""
    levels = (50, 80, 90, 95)
    family, curves = (pd.read_csv(RESULTS / f"{n}.csv") for n in ("family", "curves"))
    curves = curves[curves["domain"] == "IC"]
    figure, panels = plt.subplots(1, 2, figsize=(12, 5))
    for method, look in TABLES.items():
        row = family[family["method"] == method].iloc[0]
        _line(panels[0], levels, [100 * row[f"mean 0.{k}"] for k in levels], *look)
    for method, look in CURVES.items():
        row = curves[curves["method"] == method].iloc[0]
        _line(panels[1], levels, [100 * row[f"coverage{k}"] for k in levels], *look)
    for ax, title in zip(
        panels,
        (
            "runs larger than those fitted: mean over 15 splits",
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


def held_back(seed: int = 1) -> None:
    """Forecasts of the largest runs of each corpus by the default family."""
    runs = bs.Runs.example("openlm")
    small = runs.query("N < 1e9")
    figure, panels = plt.subplots(1, 3, figsize=(14.5, 4.6), sharey=True)
    sizes = bs.grid("10M", "10B", 50)
    for ax, corpus in zip(panels, ("c4", "redpajama", "refinedweb"), strict=True):
        best = bs.ensemble(small.query(f"dataset == '{corpus}'"), random_seed=seed)
        ahead = bs.forecast(best, N=sizes, D=20 * sizes)
        of_corpus = f"dataset == '{corpus}' and tokens_per_param == 20"
        bs.plot_forecast(ahead, x="N", observed=runs.query(f"{of_corpus} and N > 1e9"), ax=ax)
        seen = runs.query(f"{of_corpus} and N < 1e9").table
        ax.scatter(seen["N"], seen["loss"], color="black", s=26, zorder=4, label="fitted")
        ax.set(
            title=corpus,
            ylabel=panels[0].get_ylabel() if ax is panels[0] else "",
            xlim=(8e6, 1.1e10),
        )
        ax.legend(loc="upper right")
    figure.savefig(RESULTS / "held_back.png", dpi=90)


def fits(seed: int = 1) -> None:
    """A fit to three corpora, its posterior, and an allocation."""
    whole = bs.fit(bs.Runs.example("openlm"), groups="dataset", random_seed=seed)
    bs.plot_fit(whole, references="all").figure.savefig(RESULTS / "fit.png", dpi=90)
    bs.plot_posterior(whole)[0, 0].figure.savefig(RESULTS / "posterior.png", dpi=90)
    split = bs.allocate(whole, C=bs.grid(1e19, 1e26, 50), group="c4")
    bs.plot_allocation(split)[0].figure.savefig(RESULTS / "allocation.png", dpi=90)


PICTURES = {f.__name__: f for f in (held_back, fits, reliability, power)}


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    with plt.rc_context(STYLE):
        for name in sys.argv[1:] or PICTURES:
            PICTURES[name]()


if __name__ == "__main__":
    main()

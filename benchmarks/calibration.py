"""Simulation-based calibration: coverage and ranks of true values drawn from the prior.

    python benchmarks/calibration.py [tables per law, 200] [cases to run, separated by commas]

Rows of other cases from an earlier run remain in the results.

The hierarchical model is calibrated on three corpora, which tests the prior on differences between
groups. Curves are series of 40 checkpoints, with drift through them and correlated noise.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from common import RESULTS, write

import bayescale as bs
from bayescale.laws import share_columns

CASES = {
    "chinchilla": dict(law="chinchilla"),
    "kaplan": dict(law="kaplan"),
    "kaplan_floor": dict(law="kaplan_floor"),
    "skaling": dict(law="skaling"),
    "shifted_chinchilla": dict(law="shifted_chinchilla"),
    "bounded_chinchilla": dict(law="bounded_chinchilla"),
    "farseer": dict(law="farseer"),
    "isoflop": dict(law="isoflop"),
    "multiplicative": dict(law="multiplicative"),
    "kaplan_steps": dict(law="kaplan_steps"),
    "power": dict(law="power"),
    "chinchilla_by_dataset": dict(law="chinchilla", groups="dataset"),
    "annealing": dict(law="annealing"),
    "mixing": dict(law="mixing"),
    "repeated_bounded": dict(law="repeated_bounded"),
    "curve_power": dict(law="power(D)"),
    "curve_delayed_power": dict(law="delayed_power(D)"),
    "curve_shifted_power": dict(law="shifted_power(D)"),
    "curve_pure_power": dict(law="pure_power(D)"),
}


def schedules() -> bs.Runs:
    """Final losses of two schedules, of five lengths each."""
    parts = []
    for steps in (2_000, 5_000, 12_000, 30_000, 70_000):
        cosine = 5.5e-4 + 4.5e-4 * np.cos(np.pi * np.arange(steps) / steps)
        for lr in (np.full(steps, 1e-3), cosine):
            columns = bs.schedule_columns(lr, at=[steps // 2, steps - 1])
            parts.append(pd.DataFrame(columns).assign(D=5e5 * np.array([steps // 2, steps])))
    return quietly(pd.concat(parts, ignore_index=True))


def mixtures() -> bs.Runs:
    """Seven mixtures of two domains, in models of four sizes."""
    share, N = (v.ravel() for v in np.meshgrid(np.linspace(0, 1, 7), np.geomspace(7e7, 4e8, 4)))
    columns = share_columns({"share_1": share, "share_2": 1 - share})
    return quietly(pd.DataFrame({"N": N, **columns}))


def repeated() -> bs.Runs:
    """Three sizes, three amounts of unique tokens, one to a hundred epochs."""
    N, U, epochs = (
        v.ravel() for v in np.meshgrid([1e8, 4e8, 1.6e9], [1e9, 4e9, 16e9], [1, 3, 10, 30, 100])
    )
    return quietly(pd.DataFrame({"N": N, "D": U * epochs, "unique_tokens": U}))


def quietly(frame: pd.DataFrame) -> bs.Runs:
    """Runs of a design, whose losses are simulated later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bs.Runs.from_frame(frame.assign(loss=1.0))


DESIGNS = {"annealing": schedules, "mixing": mixtures, "repeated_bounded": repeated}


def checkpoints() -> bs.Runs:
    """The design of a learning curve: 40 checkpoints over three decades."""
    frame = pd.DataFrame({"D": np.geomspace(1e7, 1e10, 40), "loss": 1.0, "series": "one"})
    return bs.Runs.from_frame(frame, source="a learning curve")


def in_steps(runs: bs.Runs) -> bs.Runs:
    """The runs of a corpus with their optimiser steps, at batches of half a million tokens."""
    redpajama = runs.query("dataset == 'redpajama'")
    return replace(redpajama, table=redpajama.table.assign(S=redpajama.table["D"] / 524_288))


def with_others(new: pd.DataFrame, name: str) -> pd.DataFrame:
    """The stored rows, in which rows of the same cases are replaced by new ones."""
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return new
    old = pd.read_csv(path)
    both = pd.concat([old[~old["case"].isin(new["case"])], new], ignore_index=True)
    place = {case: i for i, case in enumerate(CASES)}
    return both.sort_values("case", key=lambda c: c.map(place), kind="stable")


def main(n: int = 200, only: str = "") -> None:
    openlm = bs.Runs.example("openlm")
    rows, each = [], []
    for name, case in CASES.items():
        if only and name not in only.split(","):
            continue
        design = (
            DESIGNS[name]()
            if name in DESIGNS
            else in_steps(openlm)
            if name == "kaplan_steps"
            else checkpoints()
            if name.startswith("curve")
            else openlm
            if "groups" in case
            else openlm.query("dataset == 'redpajama'")
        )
        result = bs.calibrate(design, n=n, random_seed=7, **case)
        print(result, flush=True)
        table = result.summary()
        rows.append(
            {
                "case": name,
                "tables": n,
                "scalars": len(table),
                "inside 95 % envelope": int(table.inside.sum()),
                "50 % covers": table.coverage50.mean(),
                "90 % covers": table.coverage90.mean(),
                "lowest 90 %": table.coverage90.min(),
                "highest 90 %": table.coverage90.max(),
                "unconverged": result.unconverged,
            }
        )
        each.append(table.assign(case=name).reset_index(names="scalar"))
        bs.plot_sbc(result).figure.savefig(RESULTS / f"calibration_{name}.png", dpi=110)
    write(
        with_others(pd.concat(each), "calibration_scalars"), "calibration_scalars", "Every scalar"
    )
    write(
        with_others(pd.DataFrame(rows), "calibration"),
        "calibration",
        "Simulation-based calibration",
    )


if __name__ == "__main__":
    RESULTS.mkdir(exist_ok=True)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, *sys.argv[2:3])

"""Simulation-based calibration: coverage and ranks of true values drawn from the prior.

    python benchmarks/calibration.py [tables per law, 200] [text in the names of the cases to run]

Rows of other cases from an earlier run remain in the results.

The hierarchical model is calibrated on three corpora, which tests the prior on differences between
groups. Curves are series of 40 checkpoints, with drift through them and correlated noise.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
from common import RESULTS, write

import bayescale as bs

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
    "curve_power": dict(law="power(D)"),
    "curve_delayed_power": dict(law="delayed_power(D)"),
    "curve_shifted_power": dict(law="shifted_power(D)"),
    "curve_pure_power": dict(law="pure_power(D)"),
}


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
        if only not in name:
            continue
        design = (
            in_steps(openlm)
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

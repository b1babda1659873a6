"""Do the posteriors hold the truth as often as they say? Simulation-based calibration of every law.

    python benchmarks/calibration.py [tables per law, 200]

Also stands behind the prior on differences between groups: the hierarchical model is calibrated on
three corpora.
"""

from __future__ import annotations

import sys

import pandas as pd
from common import RESULTS, write

import bayescale as bs

CASES = {
    "chinchilla": dict(law="chinchilla"),
    "kaplan": dict(law="kaplan"),
    "kaplan_floor": dict(law="kaplan_floor"),
    "power": dict(law="power"),
    "chinchilla_by_dataset": dict(law="chinchilla", groups="dataset"),
}


def main(n: int = 200) -> None:
    runs = bs.Runs.example("openlm")
    alone = runs.query("dataset == 'redpajama'")
    rows, each = [], []
    for name, case in CASES.items():
        result = bs.calibrate(runs if "groups" in case else alone, n=n, random_seed=7, **case)
        print(result, flush=True)
        table = result.summary()
        rows.append({"case": name, "tables": n, "scalars": len(table),
                     "inside 95 % envelope": int(table.inside.sum()),
                     "50 % covers": table.coverage50.mean(), "90 % covers": table.coverage90.mean(),
                     "lowest 90 %": table.coverage90.min(), "highest 90 %": table.coverage90.max(),
                     "unconverged": result.unconverged})
        each.append(table.assign(case=name).reset_index(names="scalar"))
        bs.plot_ranks(result).figure.savefig(RESULTS / f"calibration_{name}.png", dpi=110)
    write(pd.concat(each), "calibration_scalars", "Every scalar")
    write(pd.DataFrame(rows), "calibration", "Simulation-based calibration")


if __name__ == "__main__":
    RESULTS.mkdir(exist_ok=True)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)

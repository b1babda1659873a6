"""False cautions of the reader: how often it suspects something in a table without a fault.

    python benchmarks/reading.py [--tables 500]

Tables are simulated under Chinchilla's law with noise of 0.3 to 2 %: grids of sizes and token
ratios, isoFLOP sweeps, scattered runs, and grids of two corpora, with 12 to 100 runs, under usual
names of columns, with and without units. Two runs in ten of the grids are repeated with another
seed. Each note of the reader on such a table is a false caution, except notes on the choice of
columns. A table that is refused is a false refusal.

`reading.csv`: by design, the number of tables, refusals, tables with any caution, and each caution.
"""

from __future__ import annotations

import argparse
import re
import warnings

import numpy as np
import pandas as pd
from common import write

import bayescale as bs

DESIGNS = ("grid", "isoflop", "scattered", "corpora")
#: Cautions by the words that they contain.
CAUTIONS = {
    "far above": "far above those of similar runs",
    "several rows": "more than noise",
    "duplicates": "repeat an earlier one",
    "C against N D": "C is not proportional|C differs from 6ND",
    "crashed": "crashed or failed",
    "summary rows": "are labelled",
    "repeated data": "repeat their data",
    "checkpoints": "checkpoints",
    "units": "probably they are in|language models are trained on|are both counts in thousands",
}
#: Names of columns with the factor of their unit: N, D, loss.
NAMES = (
    (("params", 1.0), ("tokens", 1.0), "loss"),
    (("n_params", 1.0), ("tokens_seen", 1.0), "val_loss"),
    (("params_m", 1e6), ("tokens_b", 1e9), "eval/loss"),
    (("model size (M)", 1e6), ("training tokens (B)", 1e9), "test loss"),
)


def sizes(design: str, rng) -> tuple[np.ndarray, np.ndarray]:
    """N and D of the runs of a table."""
    n = int(rng.integers(12, 101))
    if design == "isoflop":
        budgets = np.geomspace(1e18, 10 ** rng.uniform(19.5, 21.5), max(3, n // 8))
        C = np.repeat(budgets, 8)
        N = np.sqrt(C / 120) * np.tile(np.geomspace(0.25, 4, 8), len(budgets))
        return N, C / (6 * N)
    if design == "scattered":
        N = 10 ** rng.uniform(7.3, 9.7, n)
        return N, N * 10 ** rng.uniform(0.5, 2.5, n)
    rows = max(3, round(np.sqrt(n)))
    N, ratio = np.meshgrid(np.geomspace(2e7, 5e9, rows), np.geomspace(5, 300, rows))
    N, D = N.ravel(), (N * ratio).ravel()
    again = rng.random(len(N)) < 0.2
    return np.append(N, N[again]), np.append(D, D[again])


def table(design: str, rng) -> tuple[pd.DataFrame, str | None]:
    """A table without a fault, and its group column."""
    N, D = sizes(design, rng)
    E, A, B = rng.uniform(1.4, 2.2), rng.uniform(200, 600), rng.uniform(250, 900)
    loss = E + A / N ** rng.uniform(0.28, 0.38) + B / D ** rng.uniform(0.25, 0.33)
    sd, nu = np.exp(rng.uniform(np.log(0.003), np.log(0.02))), rng.uniform(4, 30)
    loss = loss * np.exp(sd * rng.standard_t(nu, len(N)))
    (n_name, n_unit), (d_name, d_unit), loss_name = NAMES[rng.integers(len(NAMES))]
    frame = pd.DataFrame({"name": [f"run-{i}" for i in range(len(N))], n_name: N / n_unit,
                          d_name: D / d_unit, loss_name: loss.round(4),
                          "lr": rng.choice([1e-4, 3e-4, 1e-3], len(N)),
                          "seed": rng.integers(0, 3, len(N))})  # fmt: skip
    if design != "corpora":
        return frame.sample(frac=1, random_state=int(rng.integers(2**31))), None
    other = frame.assign(**{loss_name: (frame[loss_name] * rng.uniform(0.9, 1.1)).round(4)})
    both = pd.concat([frame.assign(corpus="web"), other.assign(corpus="code")])
    return both.reset_index(drop=True), "corpus"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", type=int, default=500)
    count = parser.parse_args().tables
    rng, rows = np.random.default_rng(1), []
    for design in DESIGNS:
        row = dict.fromkeys(("refused", "any caution", *CAUTIONS), 0)
        for _ in range(count):
            frame, groups = table(design, rng)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    notes = bs.Runs.from_frame(frame, groups=groups).notes
                except bs.RunsError:
                    row["refused"] += 1
                    continue
            found = [k for k, words in CAUTIONS.items() if any(re.search(words, n) for n in notes)]
            row["any caution"] += bool(found)
            for name in found:
                row[name] += 1
        rows.append({"design": design, "tables": count, **row})
    write(pd.DataFrame(rows), "reading", "False cautions of the reader on tables without a fault")


if __name__ == "__main__":
    main()

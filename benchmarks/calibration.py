"""Simulation-based calibration: coverage and ranks of true values drawn from the prior.

    python benchmarks/calibration.py [tables per law, 200] [cases to run, separated by commas]

Rows of other cases from an earlier run remain in the results.

The hierarchical model is calibrated on three corpora, which tests the prior on differences between
groups, and on eight curves of six runs each, which are sampled by Metropolis within Gibbs. Other
curves are series of 40 checkpoints, with drift through them and correlated noise.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from common import RESULTS, write

import bayescale as bs
from bayescale.laws import share_columns

#: Laws that are also calibrated with an error in small runs: those of the default family, and some
#: of other regimes.
FAMILY = ("chinchilla", "kaplan_floor", "skaling", "bounded_chinchilla")
OTHERS = ("sparse_experts", "learning_rate_batch", "repeated_bounded")
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
    **{f"{law}_with_error": dict(law=law, law_error=True) for law in (*FAMILY, *OTHERS)},
    "chinchilla_by_dataset": dict(law="chinchilla", groups="dataset"),
    "power_by_curve": dict(law="power(D)", groups="curve"),
    "annealing": dict(law="annealing"),
    **{
        law: dict(law=law, law_error=False)
        for law in (
            *("mixing", "mixing_transfer", "repeated_data", "repeated_bounded", "routed_experts"),
            *("sparse_experts", "sparse_multiplicative", "vocabulary", "vocabulary_size"),
            *("parallel_streams", "finetuning", "multi_power", "learning_rate_batch"),
        )
    },
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
    frame = grid(N=np.geomspace(7e7, 4e8, 4), share=np.linspace(0, 1, 7))
    share = frame.pop("share").to_numpy()
    return quietly(frame.assign(**share_columns({"share_1": share, "share_2": 1 - share})))


def repeated() -> bs.Runs:
    """Three sizes, three amounts of unique tokens, one to a hundred epochs."""
    frame = grid(N=[1e8, 4e8, 1.6e9], unique_tokens=[1e9, 4e9, 16e9], epochs=[1, 3, 10, 30, 100])
    return quietly(frame.assign(D=frame["unique_tokens"] * frame.pop("epochs")))


def routed() -> bs.Runs:
    """Dense models and models with up to 512 experts, of four sizes."""
    frame = grid(N=np.geomspace(1.5e7, 1.3e9, 4), experts=[1, 2, 8, 32, 128, 512])
    return quietly(frame.assign(D=130e9))


def sparse() -> bs.Runs:
    """Dense models and models that are 2 to 16 times as large as their active part."""
    frame = grid(N=[1e8, 4e8, 1.6e9], times=[1, 2, 4, 16], D=[5e9, 20e9, 80e9])
    return quietly(frame.assign(N_total=frame["N"] * frame.pop("times")))


def vocabularies() -> bs.Runs:
    """Five sizes of the vocabulary, in models of three sizes."""
    frame = grid(N=[3e7, 2e8, 1e9], vocab=[4e3, 1e4, 3e4, 1e5, 2.5e5], D=[2e9, 1e10, 5e10])
    return quietly(frame.assign(N_vocab=1024 * frame["vocab"]))


def streams() -> bs.Runs:
    """One to eight parallel streams, in models of six sizes."""
    return quietly(grid(N=np.geomspace(5e8, 4e9, 6), streams=[1, 2, 4, 8]))


def bowls() -> bs.Runs:
    """Five learning rates and three batch sizes around the best ones, at four N and D."""
    parts = [
        grid(
            N=[N], D=[D], lr=lr * np.geomspace(0.25, 4, 5), batch=batch * np.geomspace(0.35, 2.8, 3)
        )
        for N, D, lr, batch in (
            (6e7, 1.2e9, 3.2e-3, 9e4),
            (2e8, 4e9, 2e-3, 1.8e5),
            (4e8, 8e9, 1.5e-3, 2.6e5),
            (4e8, 2e10, 2e-3, 4.4e5),
        )
    ]
    return quietly(pd.concat(parts, ignore_index=True))


def fine_tuning() -> bs.Runs:
    """Four models, fine-tuned on 200 to 1.6 million examples."""
    return quietly(grid(N=[1e8, 4e8, 1.6e9, 6.4e9], finetune=np.geomspace(200, 1.6e6, 8)))


def grid(**values) -> pd.DataFrame:
    """All combinations of the values of columns."""
    return pd.DataFrame(list(product(*values.values())), columns=list(values)).astype(float)


def quietly(frame: pd.DataFrame, **options) -> bs.Runs:
    """Runs of a design, whose losses are simulated later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bs.Runs.from_frame(frame.assign(loss=1.0), **options)


def curves_of_few() -> bs.Runs:
    """Eight curves of six runs each."""
    frame = grid(D=np.geomspace(2e8, 5e10, 6), curve=range(8))
    return quietly(frame.assign(curve=[f"c{i:.0f}" for i in frame["curve"]]), groups="curve")


DESIGNS = {
    "power_by_curve": curves_of_few,
    "annealing": schedules,
    "multi_power": schedules,
    "learning_rate_batch": bowls,
    "mixing": mixtures,
    "mixing_transfer": mixtures,
    "repeated_data": repeated,
    "repeated_bounded": repeated,
    "routed_experts": routed,
    "sparse_experts": sparse,
    "sparse_multiplicative": sparse,
    "vocabulary": vocabularies,
    "vocabulary_size": vocabularies,
    "parallel_streams": streams,
    "finetuning": fine_tuning,
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
        if only and name not in only.split(","):
            continue
        of_case = name if name in DESIGNS else case["law"]
        design = (
            DESIGNS[of_case]()
            if of_case in DESIGNS
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

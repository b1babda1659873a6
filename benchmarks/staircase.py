"""From Kaplan's exponent to Hoffmann's in five steps: the sweeps of Porian et al. 2024.

    python benchmarks/staircase.py [--draws 1000]

One sweep on two corpora under five procedures, from that of Kaplan et al. to that of Hoffmann et
al. Each is one `isoflop` fit to all its profiles at once. Points of one training run at several
budgets are checkpoints of a series; only the fourth step trained one run per budget. N and C are
counted as in each step. Losses of 7 and more are left out, as in the paper. The noise may depend on
the loss: the authors' repeated seeds scatter 25 times more at 7 nats than at 3.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from common import RESULTS, reference, write

import bayescale as bs
from bayescale.laws.published import STAIRCASE

CORPORA = {"refinedweb": "RefinedWeb", "openwebtext2": "OpenWebText2"}
SEPARATE = "4_cosine_decay"
HIGHEST = 7.0
SETTINGS = dict(
    groups="profile", noise="by_loss", drift="off", pool={"sigma": "complete"}, progressbar=False
)


def profiles(points: pd.DataFrame, separate: bool) -> bs.Runs:
    """The runs of one step with the label of their budget; checkpoints have that of their run."""
    frame = pd.DataFrame(
        {
            "N": points["params"],
            "C": points["flops"],
            "loss": points["loss"],
            "profile": points["flops"].map("{:.3g}".format),
        }
    )
    if not separate:
        frame["series"] = points["width"].astype(str)
    return bs.Runs.from_frame(frame, groups="profile", N="N*1", C="C*1")


def step(fit: bs.Fit, corpus: str, claim) -> dict:
    a = fit.posterior["a"]
    low, high = (float(a.quantile(q)) for q in (0.025, 0.975))
    return {
        "corpus": corpus,
        "step": claim.name,
        "runs": len(fit.runs),
        "a": float(a.median()),
        "low": low,
        "high": high,
        "published": claim.a,
        "published_low": claim.low,
        "published_high": claim.high,
        "inside": low <= claim.a <= high,
        "width_ratio": (high - low) / (claim.high - claim.low),
        "scatter_of_optima": float(fit.posterior["n_profile_scale"].median()),
        "converged": fit.convergence.passed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    table = pd.read_csv(reference("porian_isoflop.csv"))
    table = table[table["loss"] < HIGHEST]
    rows = []
    for key, corpus in CORPORA.items():
        of_corpus = table[table["dataset"] == key]
        for name, claim in zip(
            np.sort(of_corpus["experiment"].unique()), STAIRCASE[corpus], strict=False
        ):
            runs = profiles(of_corpus[of_corpus["experiment"] == name], name == SEPARATE)
            fit = bs.fit(runs, "isoflop", draws=args.draws, random_seed=args.seed, **SETTINGS)
            rows.append(step(fit, corpus, claim))
            print(rows[-1], flush=True)
    steps = pd.DataFrame(rows)
    write(steps, "staircase", "From Kaplan's exponent to Hoffmann's, 95 % intervals")
    bs.plot_staircase(steps)[0].figure.savefig(RESULTS / "staircase.png", dpi=110)


if __name__ == "__main__":
    main()

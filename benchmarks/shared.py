"""Do groups share the discrepancy from the law?

Laws are fitted to public tables with groups. The discrepancy (`bayescale.model.discrepancy`) is
then taken to have a part that all groups share and a part of each group. The result is the log
likelihood for each share of the common part in the variance, less that without a common part.

    python benchmarks/shared.py
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from common import reference, write

import bayescale as bs
from bayescale.model import discrepancy as module

LAWS = ("chinchilla", "skaling")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def tables() -> dict[str, tuple[bs.Runs, str]]:
    """Runs by name, with their group column."""
    frame = pd.read_csv(reference("xlstm_isoflop.csv"))
    frame = frame[frame["loss"] < 4.5]
    frame = frame.assign(context=frame["context"].astype(str))
    out = {"OpenLM by corpus": (bs.Runs.example("openlm"), "dataset")}
    for length in ("8192", "16384"):
        part = frame[frame["context"] == length]
        out[f"xLSTM, context {length}, by architecture"] = (
            bs.Runs.from_frame(part),
            "architecture",
        )
    for kind, part in frame.groupby("architecture"):
        if part["context"].nunique() > 1:
            out[f"xLSTM, {kind}, by context"] = (bs.Runs.from_frame(part), "context")
    return out


def log_likelihood(fit: bs.Fit, share: float) -> float:
    """Of the residuals, averaged over tau and the length under their prior; up to a constant."""
    every = max(1, fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"] // module.FEW)
    few = module.residuals(fit.posterior.isel(draw=slice(None, None, every)), fit.plan)
    noise = module._noise(fit.posterior, few)
    residual = few["standardised"] * few["scale"] / noise
    x = np.column_stack([np.log(v) for v in fit.plan.columns.values()])
    features = []
    for length in module.LENGTHS:
        common, own = module._features(x / length), []
        for cell in np.unique(fit.plan.cell):
            rows = fit.plan.cell == cell
            block = module._features(x[rows] / length)
            own.append(np.zeros((len(x), block.shape[1])))
            own[-1][rows] = block
        parts = [np.sqrt(share) * common, np.sqrt(1 - share) * np.concatenate(own, axis=1)]
        features.append(np.concatenate(parts, axis=1) / noise[:, None])
    log, prior = module.log_likelihoods(features, residual)
    return float(np.logaddexp.reduce(log + np.log(prior / prior.sum() / len(log)), axis=None))


def main() -> None:
    warnings.simplefilter("ignore")  # convergence is a column
    rows = []
    for name, (runs, group) in tables().items():
        for law in LAWS:
            fit = bs.fit(runs, law, groups=group, random_seed=1)
            found = [log_likelihood(fit, share) for share in SHARES]
            rows.append(
                {
                    "table": name,
                    "law": law,
                    "runs": len(runs),
                    "passed": fit.convergence.passed,
                    **{f"share {s:g}": v - found[0] for s, v in zip(SHARES, found, strict=True)},
                }
            )
            print(rows[-1], flush=True)
    write(pd.DataFrame(rows), "shared", "log likelihood by the share of the common part")


if __name__ == "__main__":
    main()

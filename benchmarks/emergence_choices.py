"""Choices of `bayescale.emergence`: prior probability of a departure, and what no choice can tell.

    python benchmarks/emergence_choices.py [prior] [public] [oracle] [--curves 50]

prior       the curves that `emergence.py` keeps, judged with other prior probabilities of a
            departure of accuracies
public      how well each prior probability predicts the scores of public tasks: the log evidence of
            all tasks of a data set, with the probability that is best for the other data sets
oracle      abrupt or gradual, told from accuracies by someone who knows all parameters except
            those of the change; by one who knows the noise and the top; by one who knows nothing,
            with a longer computation of the evidence; and by `emergence`
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from common import RESULTS, keep, write
from emergence import drawn_curve, judged, wu
from links_many import table as gadre

import bayescale as bs
from bayescale.capabilities import emergence_priors as priors
from bayescale.capabilities.emergence_models import Model
from bayescale.capabilities.emergence_verdicts import TOLD
from bayescale.inference import Density, importance

DRAWS = 100
DEPARTURES = (0.25, 0.3, 0.35, 0.4, 0.46, 0.5, 0.56)
PUBLIC = (0.1, 0.2, *DEPARTURES, 0.7, 0.8, 0.9)
#: Parameters that are known, by the name of who knows them.
KNOWN = {
    "all but the change known": {*priors.ODDS, *priors.SCATTER},
    "noise and top known": {*priors.SCATTER},
    "nothing known, long computation": set(),
}


def kinds(departure: float) -> dict[str, float]:
    """Prior probabilities of kinds with another probability of a departure."""
    smooth = sum(priors.KINDS[k] for k in priors.SMOOTH_KINDS)
    share = {True: (1 - departure) / smooth, False: departure / (1 - smooth)}
    return {k: p * share[k in priors.SMOOTH_KINDS] for k, p in priors.KINDS.items()}


def prior(curves: int) -> None:
    each = pd.read_csv(RESULTS / "emergence_power_each.csv").query("metric == 'accuracy'")
    sets = {
        f"slope times {1 + change:g}": each.query("drift == 0 and change == @change")
        for change in (1.5, 3, -0.6, -0.75)
    }
    sets["drift"] = each.query("drift > 0")
    straight = pd.read_csv(RESULTS / "emergence_alarms_each.csv")
    sets["straight"] = straight.query("metric == 'accuracy'")
    sets["linear in a loss"] = pd.read_csv(RESULTS / "emergence_loss_laws_each.csv")
    rows = []
    for departure in DEPARTURES:
        for name, of in sets.items():
            p = judged(of, kinds(departure))["departure"]
            shares = dict(departure=(p > 0.5).mean(), stated=(p >= TOLD).mean())
            rows.append(dict(prior=departure, set=name, curves=len(of)) | shares)
    write(pd.DataFrame(rows), "emergence_prior", "Accuracies: P(departure) > .5, and > .8")


def public(curves: int) -> None:
    sets = {"Ruan et al. 2024": (bs.datasets.emergent_tasks(), "family")}
    sets |= {"Wu and Lo 2024": (wu(), "family"), "Gadre et al. 2024": (gadre(), "dataset")}
    rows = []
    for name, (data, family) in sets.items():
        found = bs.emergence(data, family=family, random_seed=1)
        for task, posterior in found.posteriors.items():
            rows.append(dict(set=name, task=task, metric="accuracy"))
            rows[-1] |= {f"log evidence {k}": v for k, v in posterior.log_evidence.items()}
    each = pd.DataFrame(rows)
    keep(each, "emergence_prior_public_each")

    def logs(departure: float) -> pd.Series:
        """Log evidence of each task."""
        of = kinds(departure)
        terms = [each[f"log evidence {k}"] + np.log(p) for k, p in of.items()]
        return pd.Series(np.logaddexp.reduce([t.fillna(-np.inf) for t in terms]), each.index)

    total = pd.DataFrame({d: logs(d).groupby(each["set"]).sum() for d in PUBLIC})
    apart = total.sub(total.max(axis=1), axis=0)
    table = apart.assign(tasks=each.groupby("set").size())
    table["best of the others"] = [total.drop(name).sum().idxmax() for name in total.index]
    table["its log evidence"] = [apart.loc[s, d] for s, d in table["best of the others"].items()]
    write(
        table.reset_index(),
        "emergence_prior_public",
        "Log evidence of public tasks under each prior probability of a departure, below the best",
    )


def evidence(curve, true: Model, z: np.ndarray, kind: str, known: set[str], rng) -> float:
    """Log evidence of a kind, given some parameters that it shares with the true kind."""
    model = Model(curve, kind)
    at = {name: i for i, name in enumerate(true.priors)}
    fixed = [(i, at[n]) for i, n in enumerate(model.priors) if n in known]
    free = np.setdiff1d(np.arange(model.dimension), [i for i, _ in fixed])

    def log_likelihood(u):
        full = np.zeros((len(u), model.dimension))
        full[:, free] = u
        for i, j in fixed:
            full[:, i] = z[0, j]
        return model.log_likelihood(full)

    if known:
        found = importance.sample_roughly(Density(len(free), log_likelihood), DRAWS, rng)
    else:
        found = importance.sample(model.density(), DRAWS, rng)
    return found.diagnostics.log_evidence


def oracle(curves: int) -> None:
    each = pd.read_csv(RESULTS / "emergence_confusion_each.csv").query("metric == 'accuracy'")
    rows = []
    for kind in priors.CHANGES:
        other = next(k for k in priors.CHANGES if k != kind)
        estimated = each[each["kind"] == kind].reset_index(drop=True)
        for i in range(curves):
            curve, true, z = drawn_curve((True, kind, i))
            rng = np.random.default_rng([i, 7])
            row = estimated.loc[i]
            log_ratio = {"emergence": row[f"log evidence {kind}"] - row[f"log evidence {other}"]}
            for by, of in KNOWN.items():
                own, not_own = (evidence(curve, true, z, k, of, rng) for k in (kind, other))
                log_ratio[by] = own - not_own
            for by, log in log_ratio.items():
                p = 1 / (1 + np.exp(-log) * priors.KINDS[other] / priors.KINDS[kind])
                rows.append(dict(kind=kind, by=by, told=p >= TOLD, wrong=p <= 1 - TOLD, p=p))
    table = pd.DataFrame(rows).groupby(["kind", "by"])
    table = table.agg(
        curves=("p", "size"), told=("told", "mean"), wrong=("wrong", "mean"), median=("p", "median")
    )
    write(
        table.reset_index(),
        "emergence_oracle",
        "Abrupt or gradual, given a change of accuracies: P of the true kind > .8, and < .2",
    )


def main() -> None:
    parts = dict(prior=prior, public=public, oracle=oracle)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    parser.add_argument("--curves", type=int, default=50)
    options = parser.parse_args()
    for name in options.parts or parts:
        parts[name](options.curves)


if __name__ == "__main__":
    main()

"""Choices of `bayescale.emergence`: prior probability of a departure, and what no choice can tell.

    python benchmarks/emergence_choices.py [prior] [public] [oracle] [--curves 50]

prior       the curves that `emergence.py` keeps, judged with other prior probabilities of a
            departure of accuracies, and of the kinds of unbroken curves
public      how well these priors predict the scores of public tasks: the log evidence of all tasks
            of a data set, also with the priors that are best for the other data sets
oracle      abrupt or gradual, told from accuracies by someone who knows all parameters except
            those of the change; by one who knows the noise and the top; by one who knows nothing,
            with a longer computation of the evidence; and by `emergence`
"""

from __future__ import annotations

import argparse
from itertools import product

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
#: Shares of the kinds of unbroken curves: straight log odds, log odds that flatten, and a line.
SPLITS = ((0.33, 0.33, 0.34), (0.5, 0.4, 0.1), (0.55, 0.3, 0.15), (0.7, 0.2, 0.1))
#: Parameters that are known, by the name of who knows them.
KNOWN = {
    "all but the change known": {*priors.ODDS, *priors.SCATTER},
    "noise and top known": {*priors.SCATTER},
    "nothing known, long computation": set(),
}


def kinds(departure: float, split: tuple[float, ...]) -> dict[str, float]:
    """Prior probabilities of kinds, with the default proportions of the kinds of departures."""
    unbroken = {k: (1 - departure) * p for k, p in zip(priors.SMOOTH_KINDS, split, strict=True)}
    of_departures = 1 - sum(priors.KINDS[k] for k in priors.SMOOTH_KINDS)
    return {k: unbroken.get(k, departure * p / of_departures) for k, p in priors.KINDS.items()}


def named(departure: float, split: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(("departure", *priors.SMOOTH_KINDS), (departure, *split), strict=True))


def prior(curves: int) -> None:
    each = pd.read_csv(RESULTS / "emergence_power_each.csv").query("metric == 'accuracy'")
    sets = {
        f"slope times {1 + change:g}": each.query("drift == 0 and change == @change")
        for change in (1.5, 3, -0.6, -0.75)
    }
    sets["drift"] = each.query("drift > 0")
    sets["linear in a loss"] = pd.read_csv(RESULTS / "emergence_loss_laws_each.csv")
    sets["straight"] = pd.read_csv(RESULTS / "emergence_alarms_each.csv").query(
        "metric == 'accuracy'"
    )
    rows = []
    for departure, split in product(DEPARTURES, SPLITS):
        of = kinds(departure, split)
        p = {name: judged(curves, of)["departure"] for name, curves in sets.items()}
        row = named(departure, split) | {name: (each > 0.5).mean() for name, each in p.items()}
        # Settings have different numbers of curves, and count equally.
        by = [sets["straight"][name] for name in ("points", "noise")]
        alarms, stated = (found.groupby(by).mean() for found in
                          (p["straight"] > 0.5, p["straight"] >= TOLD))  # fmt: skip
        row |= {"straight": alarms.mean(), "straight, worst setting": alarms.max()}
        row["straight, stated"] = stated.mean()
        rows.append(row)
    write(pd.DataFrame(rows), "emergence_prior", "Accuracies: share with P(departure) > .5")


def public(curves: int) -> None:
    """With `curves` 0 from the log evidences of an earlier run."""
    sets = {"Ruan et al. 2024": (bs.datasets.emergent_tasks(), "family")}
    sets |= {"Wu and Lo 2024": (wu(), "family"), "Gadre et al. 2024": (gadre(), "dataset")}
    rows = []
    for name, (data, family) in sets.items() if curves else ():
        found = bs.emergence(data, family=family, random_seed=1)
        for task, posterior in found.posteriors.items():
            rows.append(dict(set=name, task=task, metric="accuracy"))
            rows[-1] |= {f"log evidence {k}": v for k, v in posterior.log_evidence.items()}
    if curves:
        keep(pd.DataFrame(rows), "emergence_prior_public_each")
    each = pd.read_csv(RESULTS / "emergence_prior_public_each.csv")

    def total(of: dict[str, float]) -> pd.Series:
        """Log evidence of all tasks of each data set."""
        terms = [each[f"log evidence {k}"] + np.log(p) for k, p in of.items()]
        logs = np.logaddexp.reduce([t.fillna(-np.inf) for t in terms])
        return pd.Series(logs).groupby(each["set"]).sum()

    choices = list(product(PUBLIC, SPLITS))
    logs = pd.DataFrame([total(kinds(*choice)) for choice in choices])
    apart = logs - total(priors.KINDS)
    about = pd.DataFrame([named(*choice) for choice in choices])
    title = "Log evidence of public tasks, above that with the default priors of kinds"
    write(about.join(apart), "emergence_prior_public", title)
    rows = []
    for name in logs:
        best = logs.drop(columns=name).sum(axis=1).idxmax()
        rows.append({"set": name, "tasks": int((each["set"] == name).sum())})
        rows[-1] |= named(*choices[best]) | {"above the default": apart.loc[best, name]}
    title = "The same with the priors that are best for the other sets"
    write(pd.DataFrame(rows), "emergence_prior_left_out", title)


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

"""The accuracies of new runs under the posterior of a link, at given losses or compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayescale.capabilities.link_model import AHEAD, cell, walks
from bayescale.capabilities.links import Link
from bayescale.intervals import SAMPLE
from bayescale.model import drift as drifts


def expected(link: Link, values: np.ndarray, labels, tasks, drift: str, rng, where=None):
    """Expected accuracy and precision at losses or compute; dims (draw, point, task).

    `where` has the further arguments of a form that depends on N and D, see `LinkPlan.where`.
    """
    parameters = _values(link, tasks)
    move = _moves(link, labels, tasks, rng)
    u = link.plan.u(values)
    at = u[..., None] + move + _inside(link, tasks, u)
    chance = link.plan.facts.loc[list(tasks), "chance"].to_numpy(float)
    if drift == "off":
        return link.plan.form(at, parameters, chance, **(where or {}))
    ahead = parameters["walk"] * _beyond(u, len(tasks), rng)
    return link.plan.form.beyond(at, ahead, parameters, chance, **(where or {}))


def _values(link: Link, tasks: Sequence[str]) -> dict[str, np.ndarray]:
    """Parameters of the tasks by name; dims (draw, 1, task), the middle one for points."""
    out = {}
    for p in link.plan.parameters:
        values = link.posterior[f"{p.name}_task"].sel(task=list(tasks))
        out[p.name] = values.transpose(*SAMPLE, "task").to_numpy().reshape(-1, 1, len(tasks))
    return out


def _moves(link: Link, labels: Sequence[str], tasks: Sequence[str], rng) -> np.ndarray:
    """The shift of each point along u by its group; dims (draw, point, task)."""
    draws = link.posterior.sizes["chain"] * link.posterior.sizes["draw"]
    if not link.plan.members:
        return np.zeros((draws, len(labels), len(tasks)))
    found = {
        label: _member_moves(link, "member", [label], draws, rng)
        + _member_moves(link, "cell", [cell(t, label) for t in tasks], draws, rng)
        for label in dict.fromkeys(labels)
    }
    return np.stack([found[x] for x in labels], axis=1)


def _member_moves(link: Link, dim: str, labels: Sequence[str], draws: int, rng) -> np.ndarray:
    """Shifts by label, dims (draw, label). Those of new labels are drawn from the population."""
    moves, scale = (
        link.posterior[n].transpose(*SAMPLE, ...).to_numpy().reshape(draws, -1)
        for n in (f"move_{dim}", f"move_{dim}_scale")
    )
    place = {x: i for i, x in enumerate(link.plan.levels[dim])}
    unseen = scale * rng.standard_normal((draws, len(labels)))
    return np.stack(
        [moves[:, place[x]] if x in place else unseen[:, i] for i, x in enumerate(labels)], axis=1
    )


def _inside(link: Link, tasks: Sequence[str], u: np.ndarray) -> np.ndarray:
    """Contribution of the random walks inside the table to u; dims (draw, point, task)."""
    steps = walks(link.posterior).sel(task=list(tasks)).transpose(*SAMPLE, "component", "task")
    return link.plan.walk(u) @ steps.to_numpy().reshape(len(u), -1, len(tasks))


def _beyond(u: np.ndarray, tasks: int, rng) -> np.ndarray:
    """Contribution of random walks beyond the best run to u, in units of those before, by task.

    `u` has dims (draw, point), the result (draw, point, task).
    """
    return AHEAD * drifts.integrated_walk(u, rng, copies=tasks)


def measured(link: Link, tasks, mean, precision, rng) -> np.ndarray:
    """Accuracies of new runs, with beta scatter between runs and binomial noise."""
    questions = link.plan.facts.loc[list(tasks), "n_questions"].to_numpy(int)
    share = rng.beta(mean * precision, (1 - mean) * precision)
    return rng.binomial(np.broadcast_to(questions, mean.shape), share) / questions

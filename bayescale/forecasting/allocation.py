"""Compute-optimal splits of a budget between N and D, and the budget for a target loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import xarray as xr

from bayescale.costs import Cost, read_budgets
from bayescale.errors import LawError
from bayescale.forecasting.allocation_results import UNIQUE, Allocation
from bayescale.forecasting.averaging import Average, check_posterior
from bayescale.forecasting.cautions import warn_of_distance
from bayescale.forecasting.choices import LARGEST_PRICE, Choice, best_bet
from bayescale.forecasting.law_draws import LawDraws, law_draws, mixed
from bayescale.forecasting.plausibility import refuse_tiny
from bayescale.forecasting.targets import (
    HIGHEST,
    PROBABILITIES,
    Reach,
    probability_of_reaching,
    reach,
)
from bayescale.forecasting.wording import group_in_words
from bayescale.keywords import hinted
from bayescale.model import Fit, settle_groups
from bayescale.units import as_counts, times_in_words

#: Training tokens that cost as much as serving one token: a forward pass is a third of a training
#: step.
SERVED_AS_TRAINED = 1 / 3


@hinted
def allocate(
    fit: Fit | Average,
    C=None,
    *,
    loss=None,
    probability=None,
    N=None,
    D=None,
    smaller: float | None = None,
    models=None,
    serve=None,
    serve_price: float = 1.0,
    unique=None,
    group=None,
    cost: Cost | None = None,
    drift: str = "auto",
) -> Allocation:
    """Split a budget between parameters and tokens, or find the budget for a target loss.

    Parameters
    ----------
    fit : Fit or Average
        The posterior of a law in N and D, or of several.
    C : float, str or array_like, optional
        Budgets in FLOP (``1e24``), counted as those of the fitted runs, or in any unit that
        `bayescale.as_flops` reads (``"$2M"``, ``"50k H100 hours"``). With `serve`, budgets of
        training and serving together.
    loss : float or array_like, optional
        Target losses, in the unit of the runs. Without `C`, the budgets are those with which a new
        run reaches each target with each `probability`. With `C`, there is one target for all
        budgets or one for each, and the summary gives the probability of reaching it.
    probability : float or array_like, optional
        Probabilities of reaching the targets; 0.5, 0.8 and 0.95 by default.
    N, D : float, str or array_like, optional
        A given number of parameters or of tokens: one, or one for each budget. The budget
        determines the other.
    smaller : float, optional
        Train a model that is this many times smaller than that of the lowest expected loss, on more
        tokens. The summary has the price: ``expected_regret`` in loss, ``compute_price`` in
        compute.
    models : float, str or array_like, optional
        The numbers of parameters that can be trained. The best of them is chosen.
    serve : float or str, optional
        Tokens that the model will serve. Serving a token costs a third of training on one: 2 N FLOP
        where training costs 6 N D (Sardana et al. 2024, arXiv:2401.00448).
    serve_price : float
        The price of a FLOP of serving relative to that of training.
    unique : float or str, optional
        The number of unique tokens, if data are limited. The laws need a column of unique tokens
        (``unique_tokens`` or ``U``).
    group : str or mapping, optional
        One fitted group. None stands for a new group, whose parameters are drawn from the
        population.
    cost : Cost, optional
        The hardware and its prices, for budgets in units other than FLOP; by default the
        accelerator that they name, or an H100.
    drift : {"auto", "off"}
        As in `bayescale.forecast`: ``"off"`` gives the losses of the law alone.

    Returns
    -------
    Allocation
        For an average, the draws are those of its laws in proportion to their weights, and the
        decision minimises the expected loss over draws and laws.

    Raises
    ------
    LawError
        If a law is not a function of N and D, or has no interior optimum; if arguments exclude each
        other; or if a target is not reached with any of the probabilities.
    FitError
        If a group is unknown, or if several are given.

    Warns
    -----
    ExtrapolationWarning
        If a run has more than 100 times the compute of the largest fitted run, or 100 times less
        than the smallest, or if the recommended N is below the smallest fitted one.

    Notes
    -----
    The optimum of each draw is computed in closed form if the law has one (Hoffmann et al. 2022,
    arXiv:2203.15556, section 3.3), and by a numerical search otherwise and with a serving demand.
    The *decision* minimises the loss averaged over the posterior. If the posterior is wide, it
    differs from the optimum at the posterior median of the parameters. The drift beyond the runs is
    that of `forecast`, of which ``loss_decision`` is the ``mean``; it is taken to be equal for all
    splits of a budget. The compute for a target is that of the decision, and a target is reached if
    the measured loss of a new run, with its noise, is at most the target: the budget for a
    probability of 80 % is the smallest for which `forecast` gives the run a probability of 80 % of
    a loss of at most the target, up to Monte Carlo error.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> fit = bs.fit(runs, random_seed=1)
    >>> best = bs.allocate(fit, C=1e22)
    >>> bool(1e9 < best.data["N_decision"][0] < 1e11)
    True
    >>> served = bs.allocate(fit, C=1e22, serve="1T")
    >>> bool(served.data["N_decision"][0] < best.data["N_decision"][0])
    True
    """
    check_posterior(fit, "allocate")
    given = _given(
        fit, N=N, D=D, smaller=smaller, models=models, serve=serve, serve_price=serve_price,
        unique=unique,
    )  # fmt: skip
    budget, conversions = None, ()
    if C is not None:
        budget, conversions = read_budgets(C, cost, flop_factor=fit.runs.flop_factor, name="C")
    refuse_tiny(given if budget is None else {**given, "C": budget}, fit.runs.table)
    laws = _laws(fit, group, drift, given)
    choice = Choice(
        **{k: np.atleast_1d(given[k]) for k in ("N", "D", "models") if k in given},
        smaller=given.get("smaller"),
    )
    coords, needed, unreached = {}, None, ()
    if loss is None and C is None:
        raise LawError("C is not given: give budgets C= in FLOP, or target losses loss=")
    if budget is not None and probability is not None:
        raise LawError("probability= applies to target losses without budgets: leave out C=")
    if loss is not None:
        targets = as_counts(loss, "loss")
        if C is None:
            p = _probabilities(probability)
            runs = reach(laws, choice, targets)
            budget, rows, unreached = _budgets(runs, targets, p)
            needed = runs.compute_needed(targets).isel(budget=rows[0])
            coords = {"target": ("budget", targets[rows[0]]), "probability": ("budget", p[rows[1]])}
        else:
            targets = _one_for_each(targets, budget, "loss")
            needed = reach(laws, choice, targets).compute_needed(targets)
            coords = {"target": ("budget", targets)}
    for name in ("N", "D"):
        if name in given:
            _one_for_each(given[name], budget, name)
    data = _split(laws, choice, budget, given, coords)
    if needed is not None:
        data = data.assign(compute_needed=needed)
    data = data.assign_coords(C=("budget", budget), **coords)
    data = data.transpose("chain", "draw", "budget")
    N, D = (data[f"{c}_decision"].to_numpy() for c in "ND")
    place = {"N": N, "D": D, "C": laws[0].spending.flop_factor * N * D}
    # The check of argument names adds a frame between this function and its caller.
    warn_of_distance(fit, place, stacklevel=3)
    settled = settle_groups(laws[0].fit.plan, group, 1)
    labels = {g: str(label) for g, label in settled.items()}
    return Allocation(
        data, fit.law.name, group_in_words(group), fit, labels, given, unreached, conversions
    )


def best_split(fit: Fit | Average, C: np.ndarray, group=None) -> tuple[np.ndarray, np.ndarray]:
    """The N and D that minimise the expected loss for each budget.

    Parameters
    ----------
    fit : Fit or Average
    C : numpy.ndarray
        Budgets in FLOP, dims (budget,).
    group : str or mapping, optional
        One fitted group. None stands for a new group.

    Returns
    -------
    tuple of numpy.ndarray
        N (parameters) and D (tokens), dims (budget,).
    """
    N = best_bet(law_draws(fit, group), np.asarray(C, float))
    return N, C / (fit.runs.flop_factor * N)


def _split(
    laws: Sequence[LawDraws],
    choice: Choice,
    C: np.ndarray,
    given: Mapping[str, object],
    coords: Mapping[str, tuple[str, np.ndarray]],
) -> xr.Dataset:
    """The optimum in each draw and the decision; dims (chain, draw, budget)."""
    N, D = choice.decide(laws, C)
    parts, p_reach = [], 0.0
    for law in laws:
        best_N = law.best_N(C)
        best_D = law.spending.tokens(C, best_N)
        best, a = law.loss(best_N, best_D), law.elasticity(C, best_N)
        drawn = law.drawn(N, D).transpose("chain", "draw", "budget")
        mean, measured = (drawn[v].to_numpy().reshape(best.shape) for v in ("mean", "loss"))
        variables = dict(
            N=best_N,
            D=best_D,
            tokens_per_param=best_D / best_N,
            loss=best * (mean / law.loss(N, D)),
            a=a,
            b=1 - a,
            loss_decision=mean,
            loss_new_run=measured,
        )
        if not choice.is_free:
            variables["compute_price"] = choice.price(law, C, N, D, best)
        if choice.models is not None:
            reached = [law.loss_on_budget(C, n) for n in choice.models]
            variables["model_is_best"] = choice.models[np.argmin(reached, axis=0)]
        if "unique" in given:
            variables["epochs"] = best_D / given["unique"]
        if "probability" in coords:
            share = law.weight / sum(each.weight for each in laws)
            p_reach += share * probability_of_reaching(drawn, np.log(coords["target"][1]))
        parts.append(law.as_arrays(**variables))
    data = mixed(laws, parts).assign(N_decision=("budget", N), D_decision=("budget", D))
    if "probability" in coords:
        data = data.assign(p_reach=("budget", p_reach))
    if not choice.is_free:
        data["compute_price"].attrs["largest"] = LARGEST_PRICE
    return data


def _given(fit: Fit | Average, **arguments) -> dict[str, object]:
    """What is given besides budgets, checked; counts as numbers."""
    given = {k: v for k, v in arguments.items() if v is not None}
    price = given.pop("serve_price")
    if len(several := [k for k in ("N", "D", "smaller", "models") if k in given]) > 1:
        raise LawError(
            f"{' and '.join(f'{k}=' for k in several)} exclude each other: give one of them"
        )
    for name in ("N", "D", "models"):
        if name in given:
            given[name] = as_counts(given[name], name)
    if "models" in given:
        given["models"] = np.unique(given["models"])
    for name in ("serve", "unique"):
        if name in given:
            values = as_counts(given[name], name)
            if len(values) > 1:
                raise LawError(f"{name} has {len(values)} values: give one")
            given[name] = float(values[0])
    for name, value in (("smaller", given.get("smaller", 1.0)), ("serve_price", price)):
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < np.inf:
            raise LawError(f"{name} is {value!r}: give a positive number")
    if price != 1.0:
        if "serve" not in given:
            raise LawError("serve_price= needs serve=: give the number of tokens to serve")
        given["serve_price"] = float(price)
    return given


def _laws(fit: Fit | Average, group, drift: str, given: Mapping[str, object]) -> list[LawDraws]:
    """The laws of the fit, with the costs and the columns that are given."""
    columns = {}
    if "unique" in given:
        names = [c for c in fit.law.columns if c in UNIQUE]
        if not names:
            raise LawError(
                f"law {fit.law.name!r} has the columns {', '.join(fit.law.columns)}: limited data "
                f"need a law with a column of unique tokens ({' or '.join(UNIQUE)})"
            )
        columns = {names[0]: given["unique"]}
    served = given.get("serve", 0.0) * given.get("serve_price", 1.0) * SERVED_AS_TRAINED
    return law_draws(fit, group, drift, served, columns)


def _probabilities(probability) -> np.ndarray:
    """Probabilities of reaching a target, in increasing order."""
    try:
        p = np.unique(np.asarray(PROBABILITIES if probability is None else probability, float))
    except (ValueError, TypeError):
        p = np.array([np.nan])
    if not ((p > 0) & (p < 1)).all() or p.size == 0:
        raise LawError(f"probability is {probability!r}: give numbers between 0 and 1")
    return p


def _one_for_each(values: np.ndarray, C: np.ndarray, name: str) -> np.ndarray:
    """One value for each budget."""
    if len(values) not in (1, len(C)):
        raise LawError(
            f"{name} has {len(values)} values for {len(C)} budgets: give one value or equally many"
        )
    return np.broadcast_to(values, C.shape)


def _budgets(
    runs: Reach, targets: np.ndarray, p: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], tuple[str, ...]]:
    """The budgets that reach the targets, the index of target and probability of each, and
    sentences about targets that are not reached."""
    C = runs.budgets(targets, p)
    largest = runs.probability(targets).max(axis=1)
    sentences = tuple(
        f"No budget up to {times_in_words(HIGHEST)} times the compute of the largest run reaches "
        f"a loss of {target:g} with a probability of {100 * p[~np.isfinite(row)].min():g} %: the "
        f"largest probability is {100 * share:.0f} %. Ask for a higher loss or a smaller "
        "probability."
        for target, row, share in zip(targets, C, largest, strict=True)
        if not np.isfinite(row).all()
    )
    rows = np.nonzero(np.isfinite(C))
    if not len(rows[0]):
        raise LawError([s.rstrip(".") for s in sentences])
    return C[rows], rows, sentences

"""Breaks in curves: the probability of a break in the presence of drift, its location and kind."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from pathlib import Path

import pandas as pd

from bayescale.capabilities.break_evidence import MAX_BREAKS, sample_curve
from bayescale.capabilities.break_model import PARTICLES
from bayescale.capabilities.break_results import Breaks
from bayescale.capabilities.curve_table import read_curves
from bayescale.data import Runs
from bayescale.errors import RunsError
from bayescale.keywords import hinted
from bayescale.progress import bar
from bayescale.seeds import settle_seed


@hinted
def breaks(
    data: Runs | pd.DataFrame | str | Path,
    x: str = "C",
    y: str = "loss",
    groups: str | None = None,
    *,
    metric: str | None = None,
    scale: str = "odds",
    family: str | None = None,
    n_questions: str | float | Mapping[str, float] = "n_questions",
    chance: str | float | Mapping[str, float] = "chance",
    samples: str | float | Mapping[str, float] | None = None,
    columns: Mapping[str, str] | None = None,
    max_breaks: int = MAX_BREAKS,
    particles: int = PARTICLES,
    random_seed: int | None = None,
    executor=None,
    progressbar: bool | None = None,
) -> Breaks:
    """Find breaks in curves, with the probability that they are not drift.

    A curve without breaks and drift is linear in log x on the scale of its metric: a loss is a
    power law above a floor, and the log odds of an accuracy above chance are linear. The model adds
    up to `max_breaks` smooth breaks, and drift, which is a random walk of the slope. A break has a
    high probability only if it explains the data better than drift. The share of curves with breaks
    is inferred from all curves together, which controls false alarms in tables of many curves.

    Parameters
    ----------
    data : Runs, DataFrame, or path of a file
        One row per model and curve.
    x, y : str
        Names of the columns of the scale, which must be positive, and of the score.
    groups : str, optional
        Column with the label of the curve of each row.
    metric : {"loss", "brier", "accuracy"}, optional
        ``"loss"`` is any positive score that decreases as models improve; its logarithm has
        Student-t noise. Brier scores have the same model. By default ``"accuracy"`` if the name of
        `y` contains ``acc``, ``match``, ``score`` or ``pass``, else ``"loss"``.
    scale : {"odds", "plotted"}
        The scale on which an accuracy without breaks is linear in log x: the log odds above chance,
        or the accuracy itself. With ``"plotted"``, a rise from chance level is a break.
    family : str, optional
        Column of model families. Each family has a random intercept in each curve.
    n_questions, chance : str, float or mapping
        For accuracies, the number of questions, which determines the binomial noise, and the
        accuracy of random guesses: a column, one value, or values by label of the curve.
    samples : str, float or mapping, optional
        Samples of each question for pass@k, as in `bayescale.emergence`.
    columns : mapping of str to str, optional
        Column or expression of a quantity with another name, as in `bayescale.emergence`.
    max_breaks : int
        Largest number of breaks: 1, 2 or 3.
    particles : int
        Number of particles of each sampler; the evidence is more precise with more particles.
    random_seed : int, optional
        Seed of the samplers; by default a random one. The result stores it.
    executor : optional
        An object with the interface of `concurrent.futures.Executor`, to fit curves in parallel.
    progressbar : bool, optional
        Whether to show a progress bar; by default on terminals and in notebooks only.

    Returns
    -------
    Breaks

    Raises
    ------
    RunsError
        If the table is not valid: accuracies outside [0, 1], missing counts, curves of one point.
        The message names every problem with its rows.

    Notes
    -----
    The smooth break is that of Caballero et al. 2022 (arXiv:2210.14891). The evidence for each
    number of breaks comes from sequential Monte Carlo and importance sampling over locations,
    widths, floor and scales; linear coefficients are integrated out by Laplace's method, whose
    error is corrected by importance sampling. A break needs three different x on both sides. The
    Monte Carlo standard error is reported as ``mcse`` of `Breaks.summary`. The ``repr`` of the
    result marks curves for which it is large enough to change whether P(break) exceeds 0.5.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> x = np.geomspace(1e18, 1e21, 16)
    >>> table = pd.DataFrame({"C": x, "loss": np.where(x < 3e19, 3.0, 3 * (x / 3e19) ** -0.3)})
    >>> bs.breaks(table, particles=64, random_seed=1).probability() > 0.5
    True
    """
    if max_breaks not in range(1, MAX_BREAKS + 1):
        raise RunsError(f"max_breaks is {max_breaks!r}: give 1, 2 or 3")
    curves, metric, families, notes = read_curves(
        data,
        x=x,
        y=y,
        groups=groups,
        metric=metric,
        scale=scale,
        family=family,
        n_questions=n_questions,
        chance=chance,
        samples=samples,
        columns=columns,
    )
    if few := [label for label, curve in curves.items() if not curve.max_breaks]:
        notes += (f"{', '.join(few)}: fewer than 6 different {x}, so a break cannot be identified",)
    random_seed = settle_seed(random_seed)
    run = executor.map if executor is not None else map
    results = iter(
        run(
            sample_curve,
            curves.values(),
            repeat(max_breaks),
            repeat(particles),
            [[random_seed, i] for i in range(len(curves))],
        )
    )
    samples = {}
    with bar(progressbar) as step:
        for i, label in enumerate(curves):
            step(f"looking for breaks in {label}", i, len(curves))
            samples[label] = next(results)
    unit = data.loss_unit if isinstance(data, Runs) and y == "loss" else ""
    return Breaks(curves, samples, x, y, metric, families, notes, random_seed, unit)

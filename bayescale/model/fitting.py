"""The fit of a scaling law to runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from bayescale import laws
from bayescale.data import RunsLike, as_runs
from bayescale.keywords import hinted
from bayescale.laws import Law
from bayescale.model.design import Design
from bayescale.model.engines import sample_design
from bayescale.model.results import Fit
from bayescale.model.specify import design
from bayescale.priors import Prior
from bayescale.seeds import settle_seed


@hinted
def fit(
    runs: RunsLike,
    law: str | Law = "chinchilla",
    *,
    groups: str | Sequence[str] | None = None,
    pool: Mapping[str, str | Mapping[str, str]] | None = None,
    priors: Mapping[str, Prior] | None = None,
    drift: str = "auto",
    noise: str = "even",
    law_error: bool | None = None,
    engine: str = "auto",
    draws: int = 1000,
    tune: int = 500,
    chains: int = 4,
    cores: int | None = None,
    target_accept: float | None = None,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Fit:
    """Fit a scaling law to runs.

    The result is a few thousand draws from the posterior of the parameters; each draw is one curve.
    A 90 % credible interval contains 90 % of the draws. It contains the true value with a
    probability of 90 %, given the law, the noise model and the priors. The default priors are broad
    ranges from published fits.

    Parameters
    ----------
    runs : Runs, path or DataFrame
        The table of training runs.
    law : str or Law
        The name of a law in `bayescale.laws`, or a `Law`. Names are ``"chinchilla"``,
        ``"kaplan"``, ``"kaplan_floor"``; for laws of one column ``"power"`` (of compute) or
        ``"power(D)"`` (of tokens); and others.
    groups : str or sequence of str, optional
        Columns of labels, such as data sets or architectures, between which parameters may differ.
        The effects of several columns add on the log (or log-odds) scale.
    pool : mapping, optional
        How each parameter varies between groups, by its name: one of the following words for all
        group columns, or a mapping from column to word. ``"complete"``: all groups share one value.
        ``"none"``: the groups have independent values. ``"partial"``: the values of the groups have
        a normal distribution, whose standard deviation is estimated, so groups with few runs are
        shrunk towards the population. By default ``"partial"`` for the parameters of the law and
        for ``sigma``, the scale of the noise, and ``"complete"`` for ``nu``, its degrees of
        freedom.
    priors : mapping of str to Prior, optional
        Priors that replace the defaults, by the name of a parameter of the law or the noise, or
        ``drift``: ``{"alpha": bs.Positive(0.3, spread=1.5)}``.
    drift : {"auto", "through", "ahead", "off"}
        Where the local exponent may deviate from the law (see `bayescale.model.drift`).
        ``"ahead"``: beyond the runs only; the fit has no drift, and forecasts do, together with a
        discrepancy near the runs that is inferred from their residuals. ``"through"``:
        from the first run on; the drift is estimated together with the law. ``"off"``: nowhere.
        ``"auto"`` is ``"through"`` if some rows are checkpoints of one run (column ``series``),
        else ``"ahead"``. The prior of the drift ahead has a median of 0.06, and of 0.03 in
        forecasts of an average, where the differences between the laws represent part of the
        deviation; with `law_error` of 0.045 and 0.02.
    noise : {"even", "by_loss"}
        Scale of the noise of log loss. ``"even"``: the same at every loss. ``"by_loss"``: the log
        of the scale is linear in the log of the loss, with an estimated slope, and constant beyond
        the observed losses.
    law_error : bool, optional
        Whether the law may fail towards small scales, as it may beyond the runs: the largest runs
        then decide where small ones disagree with them (see `bayescale.model.small_runs`). Only
        for finished runs without groups. By default the law holds for all runs, as in papers;
        `bayescale.ensemble`, which is made for forecasts, lets several laws of N and D fail.
    engine : {"auto", "particles", "gibbs", "nuts"}
        The sampler. ``"particles"``: adaptive importance sampling, for models without groups (see
        `bayescale.inference.importance`). It needs no compilation, gives independent draws, and
        estimates the evidence of the law. ``"gibbs"``: Metropolis steps that move all groups at
        once, without compilation, for one column of groups and no drift through the runs (see
        `bayescale.inference.hierarchies`). ``"nuts"``: the No-U-Turn Sampler, for any model.
        ``"auto"``: particles without groups, Gibbs with eight or more groups; NUTS otherwise, and
        where the others do not converge.
    draws : int
        Draws per chain in the result; at least 10. With NUTS all chains together have at least 1600
        draws, which are thinned to `draws` after convergence is computed.
    tune : int
        NUTS: tuning steps per chain, which adapt the sampler and are discarded; at least 50.
    chains : int
        Number of independent chains. The convergence of NUTS is assessed by comparing them.
    cores : int, optional
        NUTS: number of chains that run in parallel; by default the number of processors.
    target_accept : float, optional
        NUTS: target acceptance rate of the sampler. By default 0.9 (0.95 with drift ``"through"``);
        if the chains do not converge, sampling is repeated with longer chains, and after
        divergences with a higher rate. A given value does not change, and sampling is repeated
        only if R-hat exceeds 1.3.
    random_seed : int, optional
        Seed of the sampler. The same seed gives the same draws on the same machine. By default a
        random one. The result stores the seed that was used.
    progressbar : bool, optional
        Whether to show a progress bar; by default on terminals and in notebooks only.

    Returns
    -------
    Fit
        With ``summary()``, ``check()``, ``save(path)`` and the draws in ``posterior``.

    Raises
    ------
    FitError
        If a column, group, pooling, prior or option is not valid. The message names all of them.
    LawError
        If there is no law of that name, or if its formula is not finite and positive at the medians
        of the priors.

    Warns
    -----
    ConvergenceWarning
        If the chains did not converge, or the fit failed another check.

    Notes
    -----
    The log loss of a run is the log of the law at the parameters of its groups, plus drift and
    noise (Student-t; normal with drift ``"through"``): see `bayescale.model.pymc_model` and
    `bayescale.model.drift`. The columns enter the law divided by their geometric means. NUTS
    (Hoffman & Gelman 2014, arXiv:1111.4246) is that of nutpie.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> fit = bs.fit(runs, "chinchilla", random_seed=1)
    >>> bool(0.1 < fit.posterior["alpha"].median() < 0.5)
    True
    """
    runs = as_runs(runs, groups)
    plan = design(runs, laws.get(law), groups, pool, priors, drift, noise, law_error)
    fitted = fit_design(
        plan,
        engine=engine,
        draws=draws,
        tune=tune,
        chains=chains,
        cores=cores,
        target_accept=target_accept,
        random_seed=random_seed,
        progressbar=progressbar,
    )
    fitted.warn_if_failed(stacklevel=4)
    return fitted


def fit_design(
    plan: Design,
    *,
    engine: str = "auto",
    draws: int,
    tune: int,
    chains: int = 4,
    cores: int | None = None,
    target_accept: float | None = None,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Fit:
    """Sample the posterior of a design, without a check and without warnings."""
    random_seed = settle_seed(random_seed)
    drawn = sample_design(
        plan,
        engine=engine,
        draws=draws,
        tune=tune,
        chains=chains,
        seed=int(random_seed),
        target_accept=target_accept,
        cores=cores,
        progressbar=progressbar,
    )
    facts = dict(
        drawn.facts,
        draws=draws,
        chains=chains,
        seconds=round(drawn.facts["seconds"], 2),
        versions={p: version(p) for p in ("bayescale", "pymc", "nutpie", "arviz", "numpy")},
    )
    fitted = Fit(plan, drawn.posterior, drawn.stats, int(random_seed), facts)
    fitted.__dict__["convergence"] = drawn.convergence
    return fitted

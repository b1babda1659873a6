"""The statistical model: law, hierarchy, drift and noise, from a `Design` to a ``pm.Model``.

log(loss of a run) = log(law(columns; parameters of its groups)) + drift(scale) + noise

* Every parameter is normal on the link scale of its prior (`bayescale.priors`). Over each group
  column it is pooled completely, partially or not at all; effects of crossed columns add on the
  link scale.
* The noise is Student-t on the log loss. Its scale and tail are parameters like the others; a
  known measurement error adds in quadrature.
* With ``noise="by_loss"`` its scale may grow or shrink with the loss, but not beyond the losses
  that were observed: a trend of the noise that went on would make intervals vanish or explode.
* Checkpoints of one run (``series``) are correlated: in units of its scale the noise along a
  series is an Ornstein-Uhlenbeck process, with a `memory` in e-folds of scale. Each checkpoint is
  then explained by the one before it, and only what that leaves open is new.
* Drift (`bayescale.model.drift`) that goes through the runs is a sum of hinges with normal weights.
  It is integrated out in closed form, for which the noise is normal there. (A free tail would also
  let the law write off the beginning of a learning curve as outliers.)
* Such a drift starts at the first run, so the noise pins the law's level there and nowhere else.
  A curve's amplitude and floor are therefore sampled as that level and the floor's share of it,
  under the priors that were said of amplitude and floor themselves.
"""

from __future__ import annotations

import numpy as np

from bayescale.errors import LawError
from bayescale.functions import softplus
from bayescale.inference import nuts
from bayescale.laws import Law
from bayescale.model import drift as drifts
from bayescale.model.design import SCALE_SPREAD, Design, Parameter, noise_factor
from bayescale.priors import from_link, to_link

#: What amplitude and floor of an anchored curve are sampled as; left out of the posterior.
LEVEL, ODDS = "log_level", "log_odds_of_floor"
#: First acceptance target with drift through the runs, where 0.9 leaves a few divergences.
ACCEPT_THROUGH = 0.95


def target(plan: Design) -> nuts.Target:
    """The posterior of a design, as the sampler takes it."""

    def checked():
        check_law(plan.law, plan)
        return build(plan)

    stages = nuts.STAGES
    if plan.drift == "through":
        stages = (nuts.Stage(ACCEPT_THROUGH, 1), *nuts.STAGES[1:])
    return nuts.Target(
        shape=plan.shape,
        build=checked,
        arrays=plan.arrays(),
        levels=plan.levels,
        names=tuple(p.name for p in plan.parameters),
        auxiliary=(LEVEL, ODDS),
        stages=stages,
    )


def build(plan: Design):
    """The PyMC model of a design.

    Returns
    -------
    pymc.Model
        Variables: each parameter on its natural scale under its own name, ``E_dataset`` per group
        and ``E_dataset_scale`` between groups where it is pooled over ``dataset``. In a curve with
        drift, amplitude and floor are deterministic, of `LEVEL` and `ODDS`.
    """
    import pymc as pm

    coords = {g: list(levels) for g, levels in plan.levels.items()}
    arrays = plan.arrays()
    with pm.Model(coords=coords) as model:
        data = {name: pm.Data(name, values) for name, values in arrays.items()}
        logs = [data[f"log_{c}"] for c in plan.law.columns]
        anchored = (plan.law.floor, plan.law.amplitude) if plan.is_anchored else ()
        priors = {p.name: data["prior"][i] for i, p in enumerate(plan.parameters)}
        values = {
            p.name: _run_values(p, priors[p.name], data)
            for p in plan.parameters
            if p.name not in anchored
        }
        if anchored:
            values |= _anchored(plan.law, logs, values, priors)
        mean, scale = np.log(_law(plan.law, logs, values)), values["sigma"]
        if plan.has_trend:
            scale = scale * noise_factor(values["trend"], mean, data["loss_range"])
        if plan.has_loss_sd:
            scale = np.sqrt(scale**2 + data["log_loss_sd"] ** 2)
        keep = np.exp(-data["gap"] / values["memory"]) if plan.has_series else None
        if plan.drift == "through":
            residual = (data["observed_log_loss"] - mean) / scale
            hinges = _hinges(plan, mean, values, data) / _column(scale)
            pm.Potential("log_loss", _marginal(plan, residual, hinges, scale, keep, data))
            return model
        if plan.has_series:
            residual = (data["observed_log_loss"] - mean) / scale
            mean = mean + scale * keep * residual[data["previous"]]
            scale = scale * np.sqrt(1 - keep**2)
        pm.StudentT(
            "log_loss", nu=values["nu"], mu=mean, sigma=scale, observed=data["observed_log_loss"]
        )
    return model


def _anchored(law: Law, logs, values, priors):
    """Amplitude and floor of a curve, sampled as level and share of the floor at the first run.

    On log scales the change of variables has a Jacobian of one (level and log odds of the share
    for the logs of both), so the priors' densities are all that is added.
    """
    import pymc as pm
    import pytensor.tensor as pt

    first = pt.argmin(sum(logs))
    at_first = [pt.atleast_1d(log[first]) for log in logs]
    unit = {
        p: 1.0 if p == law.amplitude else 0.0
        for p in law.parameters
        if p in (law.amplitude, law.floor)
    }
    log_curve = np.log(_law(law, at_first, {**values, **unit}))[0]
    level = pm.Flat(LEVEL)
    log_values = {law.amplitude: level - log_curve}
    if law.floor:
        odds = pm.Flat(ODDS)
        log_values = {
            law.amplitude: level - softplus(odds) - log_curve,
            law.floor: level - softplus(-odds),
        }
    out = {}
    for name, log_value in log_values.items():
        pm.Potential(f"{name}_prior", -0.5 * ((log_value - priors[name][0]) / priors[name][1]) ** 2)
        out[name] = pm.Deterministic(name, np.exp(log_value))
    return out


def _column(value):
    return value[:, None] if value.ndim else value


def _hinges(plan: Design, mean, values, data):
    """The drift of each run per unit weight of each knot."""
    logs = [data[f"log_{c}_at_knots"] for c in plan.law.columns]
    if logs[0].ndim == 2:
        values = {p: _column(v) for p, v in values.items()}
    at_knots = np.log(_law(plan.law, logs, values))
    return values["drift"] * data["hinges"] * (mean[:, None] - at_knots)


def _marginal(plan: Design, residual, hinges, scale, keep, data):
    """Log density of normal residuals, in units of their scale, over all weights of the hinges."""
    import pytensor.tensor as pt

    log_scale = np.log(scale) * pt.ones_like(residual)
    if plan.has_series:
        new = np.sqrt(1 - keep**2)
        residual = (residual - keep * residual[data["previous"]]) / new
        hinges = (hinges - keep[:, None] * hinges[data["previous"]]) / new[:, None]
        log_scale = log_scale + np.log(new)
    plain = -0.5 * (residual**2).sum() - log_scale.sum() - 0.5 * np.log(2 * np.pi) * residual.size
    eye = pt.eye(drifts.KNOTS)
    if len(plan.cells) == 1:
        grams, sides = [hinges.T @ hinges], [hinges.T @ residual]
    else:
        parts = [hinges * data["member"][i][:, None] for i in range(len(plan.cells))]
        grams, sides = [h.T @ h for h in parts], [h.T @ residual for h in parts]
    for gram, side in zip(grams, sides, strict=True):
        root = pt.linalg.cholesky(eye + gram)
        fitted = pt.linalg.solve_triangular(root, side, lower=True)
        plain = plain + 0.5 * (fitted**2).sum() - np.log(pt.diag(root)).sum()
    return plain


def _law(law: Law, logs, values):
    """The law's graph, with powers of columns as exponentials of their logarithms.

    ``N**-alpha`` is what a formula should say; ``exp(-alpha log N)`` costs half as much to
    evaluate and to compile.
    """
    from pytensor.graph.replace import graph_replace
    from pytensor.graph.traversal import ancestors

    columns = [np.exp(log) for log in logs]
    loss = law.loss(*columns, **{p: values[p] for p in law.parameters})
    log_of = dict(zip(columns, logs, strict=True))
    exponentials = {
        v: np.exp(v.owner.inputs[1] * log_of[v.owner.inputs[0]])
        for v in ancestors([loss])
        if v.owner is not None
        and v.owner.inputs
        and v.owner.inputs[0] in log_of
        and getattr(getattr(v.owner.op, "scalar_op", None), "name", None) == "pow"
    }
    return graph_replace([loss], exponentials)[0] if exponentials else loss


def _run_values(p: Parameter, prior, data):
    """A parameter's value for every run, declaring its variables on the way."""
    import pymc as pm

    kinds = {"log": pm.LogNormal, "logit": pm.LogitNormal, "identity": pm.Normal}
    variable, link = kinds[p.prior.link], p.prior.link
    centre, width, log_between = prior[0], prior[1], prior[2]
    population = variable(p.name, centre, width) if p.has_population else None
    base = to_link(link, population) if p.has_population else centre
    if not p.effects:
        return population
    at_run = None
    for effect in p.effects:
        name, dims = p.member(effect), effect.column
        if effect.pooling == "none":
            member = variable(name, centre, width, dims=dims)
        else:
            scale = pm.LogNormal(p.scale(effect), log_between, SCALE_SPREAD)
            if effect.centred:
                member = variable(name, base, scale, dims=dims)
            else:
                offset = pm.Normal(f"{name}_offset", 0, 1, dims=dims)
                member = pm.Deterministic(name, from_link(link, base + scale * offset), dims=dims)
        on_link = to_link(link, member)[data[f"{effect.column}_index"]]
        at_run = on_link if at_run is None else at_run + on_link - base
    return from_link(link, at_run)


def check_law(law: Law, plan: Design) -> None:
    """Refuse a law whose formula is not finite or not positive at its own priors' medians."""
    values = {
        p: from_link(law.priors[p].link, plan.parameter(p).prior.centre) for p in law.parameters
    }
    loss = np.asarray(law(plan.columns, plan.scales, values))
    if loss.shape != (len(plan.runs),):
        raise LawError(
            f"law {law.name!r} returns shape {loss.shape} for {len(plan.runs)} runs: "
            "one loss per run is needed"
        )
    if not (np.isfinite(loss) & (loss > 0)).all():
        raise LawError(f"law {law.name!r} is not finite and positive at the medians of its priors")

"""The statistical model as a ``pm.Model``: law, hierarchy, drift and noise.

log(loss of a run) = log(law(columns; parameters of its groups)) + drift(scale) + noise

* The prior of every parameter is normal on its link scale, with group effects as in
  `bayescale.model.hierarchy`.
* The noise on log loss is Student-t; its scale and degrees of freedom are parameters. A known
  measurement error is added in quadrature. With ``noise="by_loss"`` the scale depends on the loss.
  The noise of checkpoints of one run is correlated; see `bayescale.model.noise`.
* A drift through the runs (`bayescale.model.drift`) is linear in standard normal steps, which are
  integrated out in closed form. This requires normal noise. (With Student-t noise, the posterior
  may also attribute the beginning of a learning curve to outliers.)
* Such a drift is zero at the first run. The runs therefore determine the level of the law well
  there, and not elsewhere. If no parameter of the law has group effects, the model samples this
  level and the share of the floor in it, in place of amplitude and floor. The priors remain those
  of amplitude and floor.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from bayescale.errors import LawError
from bayescale.functions import softplus
from bayescale.inference import nuts
from bayescale.laws import Law
from bayescale.model import drift as drifts
from bayescale.model import noise
from bayescale.model.design import Design
from bayescale.model.hierarchy import SCALE_SPREAD, Parameter
from bayescale.priors import from_link, to_link

#: Variables that replace amplitude and floor if `Design.is_anchored`; not in the posterior.
LEVEL, ODDS = "log_level", "log_odds_of_floor"
#: Target acceptance rate of the first attempt with drift through the runs; 0.9 gives divergences.
ACCEPT_THROUGH = 0.95


def target(plan: Design) -> nuts.Target:
    """The posterior of a design, in the form that the sampler takes."""

    def build_checked():
        check_law(plan.law, plan)
        return build(plan)

    stages = nuts.STAGES
    if plan.drift == "through":
        stages = (nuts.Stage(ACCEPT_THROUGH, 1), *nuts.STAGES[1:])
    return nuts.Target(
        shape=plan.shape,
        build=build_checked,
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
        The variables are the parameters on their natural scale, by name. A parameter ``E`` that is
        partially pooled over a group column ``dataset`` also has ``E_dataset``, the value per
        group, and ``E_dataset_scale``, the standard deviation between groups on the link scale. If
        `Design.is_anchored`, amplitude and floor are deterministic functions of `LEVEL` and `ODDS`.
    """
    import pymc as pm

    coords = {g: list(levels) for g, levels in plan.levels.items()}
    with pm.Model(coords=coords) as model:
        data = {name: pm.Data(name, values) for name, values in plan.arrays().items()}
        logs = [data[f"log_{c}"] for c in plan.law.columns]
        anchored = (plan.law.floor, plan.law.amplitude) if plan.is_anchored else ()
        priors = {p.name: data["prior"][i] for i, p in enumerate(plan.parameters)}
        values = {
            p.name: _at_runs(p, priors[p.name], data)
            for p in plan.parameters
            if p.name not in anchored
        }
        if anchored:
            values |= _anchored(plan.law, logs, values, priors)
        mean, scale = np.log(_law(plan.law, logs, values)), values["sigma"]
        if plan.has_trend:
            scale = scale * noise.factor(values["trend"], mean, data["loss_range"])
        if plan.has_log_error:
            scale = np.sqrt(scale**2 + data["log_error"] ** 2)
        residual = (data["observed_log_loss"] - mean) / scale
        correlation = noise.correlation(data["gap"], values["memory"]) if plan.has_series else None
        if plan.drift == "through":
            basis = _drift_basis(plan, mean, values, data) / _column(scale)
            pm.Potential("log_loss", _marginal(plan, residual, basis, scale, correlation, data))
            return model
        if plan.has_series:
            mean = mean + scale * correlation * residual[data["previous"]]
            scale = scale * noise.unexplained(correlation)
        pm.StudentT(
            "log_loss", nu=values["nu"], mu=mean, sigma=scale, observed=data["observed_log_loss"]
        )
    return model


# -- parameters --------------------------------------------------------------------------------


def _at_runs(p: Parameter, prior, data):
    """Add the variables of a parameter to the model, and return its value for every run."""
    if p.is_fixed:
        return prior[0]
    variables = declared(p, prior)
    return p.value(variables, lambda effect, members, _: members[data[f"{effect.column}_index"]])


def declared(p: Parameter, prior, *, scale_known: bool = False, initval=None) -> dict:
    """Add the variables of a parameter to the model in context, and return them by name.

    Parameters
    ----------
    p : Parameter
    prior : array-like (3,)
        Centre and width of the prior on the link scale, and log of the typical between-group scale.
    scale_known : bool
        Whether the between-group scale is fixed at its typical value.
    initval : float, optional
        Initial value of population and groups, on the natural scale.
    """
    import pymc as pm

    # PyMC samples a logit-normal variable on its natural scale by default.
    logit = partial(pm.LogitNormal, default_transform=pm.distributions.transforms.logodds)
    kinds = {"log": pm.LogNormal, "logit": logit, "identity": pm.Normal}
    variable, link = kinds[p.prior.link], p.prior.link
    centre, width, log_between = prior[0], prior[1], prior[2]
    out = {}
    population = centre
    if p.has_population:
        out[p.name] = variable(p.name, centre, width, initval=initval)
        population = to_link(link, out[p.name])
    for effect in p.effects:
        name, dims = p.member(effect), effect.column
        size = len(pm.modelcontext(None).coords[dims])
        start = None if initval is None else np.full(size, initval)
        if effect.pooling == "none":
            out[name] = variable(name, centre, width, dims=dims, initval=start)
            continue
        scale = np.exp(log_between)
        if not scale_known:
            scale = pm.LogNormal(p.scale(effect), log_between, SCALE_SPREAD)
        if effect.centred:
            out[name] = variable(name, population, scale, dims=dims, initval=start)
        else:
            offset = pm.Normal(f"{name}_offset", 0, 1, dims=dims)
            value = from_link(link, population + scale * offset)
            out[name] = pm.Deterministic(name, value, dims=dims)
    return out


def _anchored(law: Law, logs, values, priors):
    """Amplitude and floor as functions of the level at the first run and the share of the floor.

    The map from log amplitude and log floor to log level and log odds of the share has a Jacobian
    determinant of one. The log density is therefore that of the priors of amplitude and floor.
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
        standardised = (log_value - priors[name][0]) / priors[name][1]
        pm.Potential(f"{name}_prior", -0.5 * standardised**2)
        out[name] = pm.Deterministic(name, np.exp(log_value))
    return out


# -- drift through the runs --------------------------------------------------------------------


def _column(value):
    return value[:, None] if value.ndim else value


def _drift_basis(plan: Design, mean, values, data):
    """Drift of each run in log loss per standard normal step at each knot; (run, knot)."""
    logs = [data[f"log_{c}_at_knots"] for c in plan.law.columns]
    at_knots = np.log(_law(plan.law, logs, {p: _column(v) for p, v in values.items()}))
    return values["drift"] * drifts.deviations(mean[:, None], at_knots, data["increments"])


def _marginal(plan: Design, residual, basis, scale, correlation, data):
    """Log density of normal residuals with all steps of the drift integrated out.

    `residual` and `basis` are in units of the noise scale. With the basis H the covariance of the
    residuals is I + H H'. Its determinant and inverse follow from the Cholesky factor of I + H'H.
    """
    import pytensor.tensor as pt

    log_scale = np.log(scale) * pt.ones_like(residual)
    if plan.has_series:
        previous = data["previous"]
        residual = noise.innovation(residual, residual[previous], correlation)
        basis = noise.innovation(basis, basis[previous], correlation[:, None])
        log_scale = log_scale + np.log(noise.unexplained(correlation))
    total = -0.5 * (residual**2).sum() - log_scale.sum() - 0.5 * np.log(2 * np.pi) * residual.size
    cells = range(len(plan.cells))
    parts = [basis] if len(plan.cells) == 1 else [basis * data["member"][i][:, None] for i in cells]
    for part in parts:
        root = pt.linalg.cholesky(pt.eye(drifts.KNOTS) + part.T @ part)
        fitted = pt.linalg.solve_triangular(root, part.T @ residual, lower=True)
        total = total + 0.5 * (fitted**2).sum() - np.log(pt.diag(root)).sum()
    return total


# -- the law -----------------------------------------------------------------------------------


def _law(law: Law, logs, values):
    """The graph of the law, with powers of columns replaced by exponentials of their logarithms.

    ``exp(-alpha log N)`` takes half as long to evaluate and to compile as ``N**-alpha``.
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


def check_law(law: Law, plan: Design) -> None:
    """Raise a `LawError` if the law is not finite and positive at the medians of its priors."""
    values = {
        p: from_link(plan.parameter(p).prior.link, plan.parameter(p).prior.centre)
        for p in law.parameters
    }
    loss = np.asarray(law(plan.columns, plan.scales, values))
    if loss.shape != (len(plan.runs),):
        raise LawError(
            f"law {law.name!r} returns shape {loss.shape} for {len(plan.runs)} runs: "
            "one loss per run is needed"
        )
    if not (np.isfinite(loss) & (loss > 0)).all():
        raise LawError(
            f"law {law.name!r} is not finite and positive at the medians of its priors: correct "
            "the formula or the priors"
        )

"""Sampling of a link task by task: exact densities, agreement with the PyMC model, fallback."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.capabilities import link_pools, link_sampling
from bayescale.capabilities.link_density import Residuals, Shifts, TaskDensity
from bayescale.capabilities.link_diagnostics import LinkConvergence
from bayescale.capabilities.link_forms import FORMS
from bayescale.capabilities.link_model import LinkPlan, build
from bayescale.capabilities.link_pools import Layout, Pool, move_scale
from bayescale.priors import from_link

GOOD = LinkConvergence(900.0, "a", 0.4, "a", 0.1)


def table(tasks=("a", "b"), groups=("one", "two"), n=12, questions=1000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    loss = np.linspace(4.0, 2.2, n)
    rows = [
        dict(task=t, member=m, loss=x + 0.01 * j, n_questions=float(questions), chance=0.25, y=y)
        | dict(N=np.exp(30 - 3 * x), D=np.exp(30 - 2 * x + j), C=6 * np.exp(60 - 5 * x + j))
        for i, t in enumerate(tasks)
        for j, m in enumerate(groups)
        for x in loss
        for y in [
            rng.binomial(questions, 0.25 + 0.6 / (1 + np.exp(3 * (x - 2.8 - 0.2 * i)))) / questions
        ]
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def plan() -> LinkPlan:
    return LinkPlan(FORMS["logistic"], table(), ("member",))


SHIFTS = Shifts(np.array([0.05, -0.1]), np.array([0.2, 0.1]))


def test_proposals_of_walk_and_shifts_integrate_the_density():
    """The mean weight is the integral, which is also found by brute force from the prior."""
    few_questions = table(n=8, questions=60)
    density = TaskDensity(LinkPlan(FORMS["logistic"], few_questions, ("member",)), "a")
    rng = np.random.default_rng(1)
    z = np.zeros((1, 7))
    z[0, :2] = 0.6, 0.4
    z[0, 4], z[0, 6] = -2.0, -1.5  # much noise and a small walk: draws from the prior suffice
    n = 8_000

    def weights(residuals=None):
        drawn = density.propose(np.repeat(z, n, axis=0), SHIFTS, rng, residuals)
        of_shift = -0.5 * ((drawn.shift - SHIFTS.mean) / SHIFTS.sd) ** 2
        of_shift -= 0.5 * np.log(2 * np.pi * SHIFTS.sd**2)
        return drawn, drawn.log_density + of_shift.sum(axis=1)

    drawn, weight = weights()
    walk = density.values(z)["walk"] * rng.standard_normal((n, 5))
    shift = SHIFTS.mean + SHIFTS.sd * rng.standard_normal((n, 2))
    brute = density.log_joint(np.repeat(z, n, axis=0), walk, shift)

    def log_mean(x):
        error = np.exp(x - x.max()).std() / np.exp(x - x.max()).mean() / np.sqrt(n)
        return x.max() + np.log(np.exp(x - x.max()).mean()), error

    (found, error), (expected, its_error) = log_mean(weight), log_mean(brute)
    assert error < 0.02
    assert its_error < 0.2
    assert abs(found - expected) < 4 * its_error + 4 * error
    # A wider distribution around the modes that is shifted, also along the parameters.
    away = Residuals(np.full(7, 0.3), np.full((7, 7), 0.2), 1.2 * np.tri(7) ** 0.5 * np.eye(7))
    again, its_error = log_mean(weights(away)[1])
    assert its_error > error
    assert abs(found - again) < 4 * its_error + 4 * error
    # Residuals that are fitted to weighted draws have their mean.
    chosen = rng.choice(n, n, p=np.exp(weight - weight.max()) / np.exp(weight - weight.max()).sum())
    fitted = Residuals.fitted(np.repeat(z, n, axis=0), drawn.residual[chosen])
    mean = drawn.residual[chosen].mean(axis=0)
    np.testing.assert_allclose(fitted.mean + z[0] @ fitted.slope, mean, atol=0.02)
    assert density.approximate(z, SHIFTS)[0] == pytest.approx(found, abs=0.5)  # by Laplace


@pytest.mark.parametrize("kind", ["logistic", "direct"])
def test_pools_and_population_have_the_density_of_the_pymc_model(kind):
    """The logs of the two joint densities differ by a constant, and by the Jacobian determinants of
    the transformations that PyMC adds."""
    plan = LinkPlan(FORMS[kind], table(), ("member",))
    layout, rng = Layout(plan), np.random.default_rng(2)
    pools, size = [], 4
    for task in plan.tasks:
        density = TaskDensity(plan, task)
        z = 0.5 * rng.standard_normal((size, layout.parameters))
        walk = 0.3 * rng.standard_normal((size, 5))
        shift = 0.1 * rng.standard_normal((size, 2))
        precision = density.values(z)["walk"] ** -2
        log_walk = 0.5 * (np.log(precision) - precision * walk**2).sum(axis=1)
        base = density.log_joint(z, walk, shift) + log_walk
        pools.append(Pool(density, layout, z, walk, shift, np.zeros((size, 7)), base))
    position = layout.prior(size, rng)
    ours = np.zeros(size)
    for pool in pools:
        for i in range(size):
            ours[i] += pool._only([i]).log_likelihood(position[[i]])[0]
    standard = np.delete(position, np.arange(layout.moves.start, layout.moves.stop), axis=1)
    of_member = move_scale(position[:, layout.of_member])
    moves = position[:, layout.moves]
    ours -= 0.5 * (standard**2).sum(axis=1)
    ours -= (0.5 * (moves / of_member[:, None]) ** 2 + np.log(of_member)[:, None]).sum(axis=1)
    states = link_sampling.States(position[None], np.tile(np.arange(size), (2, 1)).T[None])
    drawn = _ordered(layout, states, pools)
    with build(plan) as model:
        names = [v.name for v in model.free_RVs]
        values = {v.name: model.rvs_to_values[v] for v in model.free_RVs}
        transforms = {v.name: model.rvs_to_transforms[v] for v in model.free_RVs}
        compiled = model.compile_logp(jacobian=False)
    theirs = []
    for i in range(size):
        point = {}
        for name in names:
            natural = drawn[name].isel(chain=0, draw=i).to_numpy()
            transform = transforms[name]
            point[values[name].name] = (
                natural if transform is None else transform.forward(natural).eval()
            )
        natural_logp = float(compiled(point))
        # Densities of the natural values, and of walk_step, to those on the link scale and in u.
        for p in plan.parameters:
            for name in (p.name, f"{p.name}_task"):
                x = drawn[name].isel(chain=0, draw=i).to_numpy()
                jacobian = {"log": x, "logit": x * (1 - x), "identity": np.ones_like(x)}
                natural_logp += float(np.log(jacobian[p.prior.link]).sum())
        for name in drawn:
            if name.endswith("_scale"):
                natural_logp += float(np.log(drawn[name].isel(chain=0, draw=i)))
        ratio = drawn["slope_task"] / drawn["walk_task"]
        natural_logp += float(5 * 0.5 * np.log(ratio.isel(chain=0, draw=i)).sum())
        theirs.append(natural_logp)
    difference = ours - np.array(theirs)
    np.testing.assert_allclose(difference, difference[0], atol=0.02 + 1e-6 * abs(ours[0]))


def _ordered(layout, states, pools) -> xr.Dataset:
    """The states in their order, as the posterior names them."""

    class InOrder:
        def permutation(self, n):
            return np.arange(n) if np.ndim(n) == 0 else n

    size = states.position.shape[1]
    return link_sampling._assembled(layout, states, pools, (1, size), InOrder())


def test_population_values_follow_their_conditional_distribution(plan):
    """Given tasks, repeated updates have the moments of the conjugate posterior."""
    layout, rng = Layout(plan), np.random.default_rng(3)
    n, tasks = 10_000, 2
    z = np.tile(rng.standard_normal((1, tasks, 7)), (n, 1, 1))
    shifts = np.tile(0.1 * rng.standard_normal((1, tasks, 2)), (n, 1, 1))
    position = layout.prior(n, rng)
    for _ in range(15):
        position = link_sampling._given_tasks(layout, position, z, shifts, rng)
    i = 1  # the slope: its standard deviation between tasks is fixed
    assert i not in layout.inferred
    factor, sd = layout.width[i] / layout.total[i], layout.between[i] / layout.total[i]
    precision = 1 + tasks * (factor / sd) ** 2
    expected = factor * z[0, :, i].sum() / sd**2 / precision
    assert position[:, i].mean() == pytest.approx(expected, abs=0.03)
    assert position[:, i].std() == pytest.approx(precision**-0.5, rel=0.03)
    # The standard deviation of cells, by a grid over it with the shifts of groups integrated out.
    grid = np.linspace(-5, 5, 401)
    of_cell = move_scale(grid)[:, None]
    inner = move_scale(grid)[None, :]
    log = -0.5 * grid[:, None] ** 2 - 0.5 * grid[None, :] ** 2
    for g in range(2):
        tau = shifts[0, :, g]
        within = ((tau - tau.mean()) ** 2).sum()
        log = log - 0.5 * within / of_cell**2 - (tasks - 1) * np.log(of_cell)
        variance = of_cell**2 / tasks + inner**2
        log = log - 0.5 * tau.mean() ** 2 / variance - 0.5 * np.log(variance)
    weight = np.exp(log - log.max()).sum(axis=1)
    weight /= weight.sum()
    mean = weight @ grid
    assert position[:, layout.of_cell].mean() == pytest.approx(mean, abs=0.04)
    spread = np.sqrt(weight @ (grid - mean) ** 2)
    assert position[:, layout.of_cell].std() == pytest.approx(spread, rel=0.04)


def test_draws_of_a_pool_follow_its_weights(plan, monkeypatch):
    layout, rng = Layout(plan), np.random.default_rng(4)
    density = TaskDensity(plan, "a")
    z = 0.3 * rng.standard_normal((5, 7))
    none = np.zeros((5, 5)), np.zeros((5, 2)), np.zeros((5, 7))
    pool = Pool(density, layout, z, *none, rng.standard_normal(5))
    position = np.repeat(layout.prior(1, rng), 20_000, axis=0)
    expected = pool.weights(position[:1])
    chosen = pool.choose(position, rng)
    np.testing.assert_allclose(np.bincount(chosen, minlength=5) / 20_000, expected, atol=0.02)
    # Candidates by other probabilities leave it as it is, and reach it from a single draw.
    monkeypatch.setattr(link_pools, "CANDIDATES", 2)
    share = np.array([0.5, 0.2, 0.1, 0.1, 0.1])
    for start in (chosen, np.full(20_000, 3)):
        for _ in range(8):
            start = pool.choose_again(position, start, share, rng)
        np.testing.assert_allclose(np.bincount(start, minlength=5) / 20_000, expected, atol=0.02)


def test_nuts_takes_over_with_a_warning_if_draws_are_too_few(monkeypatch):
    from bayescale.capabilities import links

    results = table().rename(columns={"y": "accuracy"})
    poor = LinkConvergence(12.0, "b", 0.9, "b", 0.1)
    assert len(poor.failures()) == 2
    used = []

    def nothing(found):
        posterior, stats = xr.Dataset(), xr.Dataset()
        return SimpleNamespace(posterior=posterior, stats=stats, convergence=found)

    monkeypatch.setattr(links.link_sampling, "sample", lambda plan, **options: nothing(poor))

    def by_nuts(*args, **options):
        used.append("nuts")
        return nothing(GOOD)

    monkeypatch.setattr(links.nuts, "sample", by_nuts)
    expected = r"sample size of b is 12 .* NUTS is used instead, which takes about \d+ min"
    with pytest.warns(bs.ConvergenceWarning, match=expected):
        bs.link(None, results, groups="member")
    assert used == ["nuts"]
    with pytest.warns(bs.ConvergenceWarning, match="draws of this link did not converge"):
        bs.link(None, results, groups="member", engine="particles")
    assert used == ["nuts"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bs.link(None, results, groups="member", target_accept=0.95)
    assert used == ["nuts", "nuts"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
def test_particles_and_nuts_have_the_same_posterior():
    results = table(n=20).rename(columns={"y": "accuracy"})
    options = dict(groups="member", random_seed=1, progressbar=False)
    one = bs.link(None, results, engine="particles", **options).posterior
    other = bs.link(None, results, engine="nuts", chains=2, **options).posterior
    for name in other.data_vars:
        mean, sd = (getattr(other[name], f)(("chain", "draw")) for f in ("mean", "std"))
        apart = abs(one[name].mean(("chain", "draw")) - mean) / sd
        assert float(apart.max()) < 0.25, name
        # Some posteriors have heavy tails, so that their standard deviations are not comparable.
        ends, of_nuts = (d[name].quantile([0.05, 0.95], ("chain", "draw")) for d in (one, other))
        ratio = ends.diff("quantile") / of_nuts.diff("quantile")
        assert float(ratio.min()) > 0.8, name
        assert float(ratio.max()) < 1.25, name


def test_values_of_tasks_are_on_the_scale_of_their_priors(plan):
    density = TaskDensity(plan, "a")
    values = density.values(np.zeros((1, 7)))
    for p in plan.parameters:
        assert float(values[p.name][0, 0]) == pytest.approx(from_link(p.prior.link, p.prior.centre))


def test_a_saved_link_keeps_how_exact_its_draws_are(plan, tmp_path):
    sizes = {d: len(v) for d, v in plan.levels.items()}
    variables = {
        f"{p.name}_task": (("chain", "draw", "task"), np.ones((1, 3, sizes["task"])))
        for p in plan.parameters
    }
    stats = xr.Dataset({"task_ess": ("task", [900.0, 950.0])}, {"task": list(plan.tasks)})
    made = bs.Link(plan, xr.Dataset(variables), stats)
    made.__dict__["convergence"] = GOOD
    made.save(tmp_path / "link.nc")
    read = bs.Link.load(tmp_path / "link.nc")
    assert read.convergence == GOOD
    np.testing.assert_array_equal(read.stats["task_ess"], [900.0, 950.0])

"""The density in numpy is that of the PyMC model, and does not know the unit of the loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from scipy.stats import t as student_t

import bayescale as bs
from bayescale import laws
from bayescale.model import Design, drift_density
from bayescale.model import density as densities
from bayescale.model.density import coordinates, density, variables
from bayescale.model.pymc_model import LEVEL, ODDS, build
from bayescale.model.simulation import draw_prior
from bayescale.model.specify import design
from bayescale.priors import to_link

FLAT = [name for name, law in laws.REGISTRY.items() if set(law.columns) <= {"N", "D", "C"}]


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    """Runs of two groups, with measurement errors."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"N": np.geomspace(1e7, 1e9, 12), "D": rng.permutation(12) * 1e9 + 1e9})
    loss = 1.7 + (frame["N"] / 1e8) ** -0.3 * 0.4 + (frame["D"] / 5e9) ** -0.3 * 0.5
    frame = frame.assign(loss=loss * np.exp(0.01 * rng.standard_normal(12)), loss_sd=0.01)
    return bs.Runs.from_frame(frame.assign(corpus=["a", "b", "c"] * 4))


@pytest.fixture(scope="module")
def curves() -> bs.Runs:
    """Two series of checkpoints."""
    rng = np.random.default_rng(2)
    D = np.tile(np.geomspace(1e7, 1e10, 15), 2)
    loss = 3 * (D / 1e8) ** -0.1 * np.exp(0.01 * rng.standard_normal(30))
    return bs.Runs.from_frame(
        pd.DataFrame({"D": D, "loss": loss, "series": np.repeat(["one", "two"], 15)})
    )


def transformation(model):
    """A function from the values of all variables to those that PyMC samples, compiled once."""
    import pytensor

    natural = [rv.type() for rv in model.free_RVs]
    sampled = []
    for rv, value in zip(model.free_RVs, natural, strict=True):
        transform = model.rvs_to_transforms[rv]
        sampled.append(value if transform is None else transform.forward(value, *rv.owner.inputs))
    return pytensor.function(natural, sampled)


def natural_values(model, plan: Design, values) -> list[np.ndarray]:
    """The values of all variables of the model, from those of the law and its effects."""
    found = []
    for rv in model.free_RVs:
        name = rv.name
        if name in (LEVEL, ODDS):
            first = plan.log_scale.argmin()
            columns = {c: v[[first]] for c, v in plan.columns.items()}
            level = np.log(plan.law(columns, plan.scales, values))[0]
            floor = values[plan.law.floor] if plan.law.floor else 0.0
            natural = level if name == LEVEL else np.log(floor) - np.log(np.exp(level) - floor)
        elif name.endswith("_offset"):
            [(p, effect)] = [
                (p, e)
                for p in plan.parameters
                for e in p.effects
                if f"{p.member(e)}_offset" == name
            ]
            link = p.prior.link
            difference = to_link(link, values[p.member(effect)]) - to_link(link, values[p.name])
            natural = difference / values[p.scale(effect)]
        else:
            natural = values[name]
        found.append(np.asarray(natural, float))
    return found


def differences(plan: Design, n: int = 12) -> np.ndarray:
    """Log likelihood of the PyMC model minus that in numpy, at random positions."""
    numpy_density = density(plan)
    z = 0.4 * np.random.default_rng(3).standard_normal((n, numpy_density.dimension))
    drawn = variables(plan, z)
    model = build(plan)
    log_likelihood = model.compile_logp(
        vars=[*model.observed_RVs, *model.potentials], jacobian=False
    )
    names = [model.rvs_to_values[rv].name for rv in model.free_RVs]
    sampled, of_pymc = transformation(model), np.empty(n)
    for i in range(n):
        natural = natural_values(model, plan, {k: v[i] for k, v in drawn.items()})
        of_pymc[i] = log_likelihood(dict(zip(names, sampled(*natural), strict=True)))
    of_numpy = numpy_density.log_likelihood(z)
    if plan.is_anchored:  # the potentials of the model include the priors of amplitude and floor
        linear = [i for i, p in enumerate(plan.parameters) if p.name in LINEAR]
        of_numpy = of_numpy - 0.5 * (z[:, linear] ** 2).sum(axis=1)
    return of_pymc - of_numpy


LINEAR = ("E", "A")


@pytest.mark.parametrize("law", FLAT)
@pytest.mark.parametrize("options", [{}, {"noise": "by_loss"}])
def test_the_density_of_a_flat_table_is_that_of_pymc(runs, law, options):
    tables = [runs]
    if law == "chinchilla":  # one law is enough for what does not depend on it
        tables.append(replace(runs, table=runs.table.drop(columns="loss_sd")))
    elif options:
        pytest.skip("one law is enough for the options")
    for measured in tables:
        found = differences(design(measured, laws.get(law), **options))
        assert np.ptp(found) < 1e-6


def by_scipy(plan: Design, z) -> np.ndarray:
    """Sum of Student-t log densities at positions z, one after the other, without groups."""
    columns, total = plan.columns, []
    for row in range(len(z)):
        values = {k: v[row] for k, v in variables(plan, z).items()}
        law = np.log(plan.law(columns, plan.scales, {p: values[p] for p in plan.law.parameters}))
        scale = np.full(len(law), values["sigma"])
        if plan.has_trend:
            low, high = plan.loss_range
            place = np.clip((2 * law - low - high) / (high - low), -1, 1)
            scale = scale * np.exp(values["trend"] * place)
        scale = np.hypot(scale, plan.log_error)
        total.append(student_t.logpdf(plan.log_loss, values["nu"], law, scale).sum())
    return np.array(total)


@pytest.mark.parametrize("law", ["chinchilla", "kaplan", "skaling"])
@pytest.mark.parametrize("noise", ["even", "by_loss"])
def test_the_log_likelihood_is_that_of_scipy(runs, law, noise, monkeypatch):
    """Also where the positions are evaluated in several parts."""
    plan = design(runs, laws.get(law), noise=noise)
    z = np.random.default_rng(8).standard_normal((20, densities.dimension(plan)))
    expected = by_scipy(plan, z)
    np.testing.assert_allclose(density(plan).log_likelihood(z), expected, rtol=1e-8, atol=1e-8)
    monkeypatch.setattr(densities, "CHUNK", 5 * len(runs))
    np.testing.assert_allclose(density(plan).log_likelihood(z), expected, rtol=1e-8, atol=1e-8)


def test_a_law_that_is_not_proportional_to_its_floor_keeps_its_unit(runs):
    """The amplitude of this law has a unit that the package does not know."""

    def loss(N, *, E, A, alpha):
        return E + (A * N**-alpha) ** 2

    priors = dict(E=bs.Positive(0.6, 1.5, of="loss"), A=bs.Positive(1.0), alpha=bs.Positive(0.2))
    table = runs.table.assign(loss=100 * runs.table["loss"])
    plan = design(replace(runs, table=table), bs.Law("squared", loss, priors, "a test"))
    z = np.random.default_rng(8).standard_normal((5, densities.dimension(plan)))
    np.testing.assert_allclose(density(plan).log_likelihood(z), by_scipy(plan, z), rtol=1e-8)


@pytest.mark.parametrize(("law", "groups"), [("chinchilla", None), ("power(D)", "corpus")])
def test_the_drift_of_several_curves_is_that_of_a_joint_normal(runs, law, groups):
    """With two columns, the law at a knot differs between runs. Groups have drifts of their own."""
    pool = dict.fromkeys(("E", "A", "alpha", "sigma", "drift"), "complete") if groups else {}
    plan = design(runs, laws.get(law), groups, pool, drift="through")
    together = plan.cell[:, None] == plan.cell
    z = 0.5 * np.random.default_rng(8).standard_normal((4, densities.dimension(plan)))
    drawn, arrays, columns, expected = variables(plan, z), plan.arrays(), plan.law.columns, []
    for row in range(len(z)):
        values = {k: v[row] for k, v in drawn.items()}
        of_law = {p: values[p] for p in plan.law.parameters}
        mean, at_knots = (
            np.log(plan.law.loss(*(np.exp(arrays[f"log_{c}{at}"]) for c in columns), **of_law))
            for at in ("", "_at_knots")
        )
        basis = values["drift"] * arrays["increments"] * (mean[:, None] - at_knots)
        noise = values["sigma"] ** 2 + arrays["log_error"] ** 2
        covariance = together * (basis @ basis.T) + np.diag(noise)
        expected.append(multivariate_normal.logpdf(arrays["observed_log_loss"], mean, covariance))
    np.testing.assert_allclose(density(plan).log_likelihood(z), expected, rtol=1e-7)


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(pool={"E": "none", "alpha": "complete"}, noise="by_loss"),
        dict(pool={"nu": "partial"}, priors={"E": bs.Fixed(1.6)}),
    ],
)
def test_the_density_by_group_is_that_of_all_runs(runs, options):
    """Also the prior: its coordinates are those of `variables`."""
    plan = design(runs, laws.get("chinchilla"), "corpus", **options)
    of = densities.hierarchy(plan)
    rng = np.random.default_rng(5)
    values = 0.3 * rng.standard_normal((6, len(of.pooled), of.groups))
    population = 0.3 * rng.standard_normal((6, of.parts[2].stop))
    z = densities.hierarchy_positions(plan, values, population)
    assert z.shape[1] == densities.dimension(plan)
    by_group = of.log_likelihood(values, population[:, of.parts[2]])
    together = density(plan)
    np.testing.assert_allclose(by_group.sum(axis=1), together.log_likelihood(z), rtol=1e-9)
    log_prior = of.log_prior(values, population).sum(axis=1) - 0.5 * (population**2).sum(axis=1)
    scales = np.log(of.sd(population)).sum(axis=1) * of.groups
    np.testing.assert_allclose(log_prior + scales, -0.5 * (z**2).sum(axis=1), rtol=1e-9)
    # Runs of other groups do not change the likelihood of a group.
    values[:, :, 1] += 0.5
    changed = of.log_likelihood(values, population[:, of.parts[2]]) != by_group
    assert changed.all(axis=0).tolist() == [False, True, False]
    drawn = variables(plan, z)
    by_name, of_population = densities.hierarchy_names(plan)
    assert len(by_name) == values[0].size
    assert len(of_population) == population.shape[1]
    assert {n.split("[")[0] for n in by_name} | set(of_population) == set(drawn)


@pytest.mark.parametrize("law", ["power(D)", "delayed_power(D)"])
@pytest.mark.parametrize("drift", ["through", "ahead"])
def test_the_density_of_curves_is_that_of_pymc(curves, law, drift):
    assert np.ptp(differences(design(curves, laws.get(law), drift=drift))) < 1e-6


@pytest.mark.parametrize("pool", [{}, {"E": "none", "alpha": "complete"}])
def test_the_density_of_groups_is_that_of_pymc(runs, pool):
    found = differences(design(runs, laws.get("chinchilla"), "corpus", pool))
    assert np.ptp(found) < 1e-6


@pytest.mark.parametrize("law", ["power(D)", "delayed_power(D)"])
@pytest.mark.parametrize("kind", ["series", "separate runs", "measured runs"])
def test_the_filter_of_one_curve_gives_the_density_of_all_knots(curves, law, kind, monkeypatch):
    """The same integral over the steps of the drift, by a Kalman filter and by matrices."""
    table = curves.table[curves.table["series"] == "one"]
    if kind != "series":
        table = table.drop(columns="series")
    if kind == "measured runs":
        table = table.assign(loss_sd=np.linspace(0.001, 0.1, len(table)))
    plan = design(bs.Runs.from_frame(table), laws.get(law), drift="through")
    assert drift_density.is_one_curve(plan)
    filtered = density(plan)
    z = np.random.default_rng(4).standard_normal((20, filtered.dimension))
    by_filter = filtered.log_likelihood(z)
    monkeypatch.setattr(drift_density, "is_one_curve", lambda plan: False)
    by_matrices = density(plan).log_likelihood(z)
    assert np.ptp(by_matrices) > 1
    np.testing.assert_allclose(by_filter, by_matrices, rtol=1e-8)


def test_a_noise_that_is_nearly_zero_is_improbable(curves):
    """Sums of squares of residuals of 1e20 noise scales would differ by rounding errors."""
    one = bs.Runs.from_frame(curves.table[curves.table["series"] == "one"])
    plan = design(one, laws.get("power(D)"))
    z = 0.5 * np.random.default_rng(4).standard_normal((200, density(plan).dimension))
    place = [p.name for p in plan.parameters].index("sigma")
    for below in (-10.0, -40.0, -90.0):
        z[:, place] = below
        found = density(plan).log_posterior(z)
        assert found.max() < -1e3


@pytest.fixture(scope="module")
def checkpoints() -> bs.Runs:
    """Rows of three runs in any order, with measurement errors."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {"N": np.repeat([1e8, 3e8, 1e9], 12), "series": np.repeat(list("abc"), 12)}
    )
    table["D"] = np.concatenate([np.geomspace(2e9, end, 12) for end in (1e10, 2e10, 6e10)])
    loss = 1.7 + 0.4 * (table["N"] / 1e8) ** -0.3 + 0.5 * (table["D"] / 5e9) ** -0.3
    table = table.assign(loss=loss * np.exp(0.01 * rng.standard_normal(36)), loss_sd=0.01)
    return bs.Runs.from_frame(table.sample(frac=1, random_state=1).reset_index(drop=True))


@pytest.mark.parametrize(
    ("law", "options"), [("skaling", {}), ("chinchilla", {"noise": "by_loss"})]
)
def test_the_density_of_checkpoints_is_that_of_pymc(checkpoints, law, options):
    """At a hundred positions; the first law also without measurement errors."""
    runs = checkpoints
    if law == "skaling":
        runs = replace(runs, table=runs.table.drop(columns="loss_sd"))
    plan = design(runs, laws.get(law), **options)
    assert plan.has_series
    assert plan.drift == "through"
    found = differences(plan, 100)
    assert np.ptp(found) < 1e-6


@pytest.mark.parametrize("groups", [None, "corpus"])
def test_the_density_of_checkpoints_does_not_depend_on_blocks(checkpoints, groups, monkeypatch):
    """A block may begin within a series, whose previous checkpoint is in another block."""
    table = checkpoints.table.assign(corpus=checkpoints.table["series"])
    plan = design(replace(checkpoints, table=table), laws.get("chinchilla"), groups)
    z = 0.4 * np.random.default_rng(4).standard_normal((15, densities.dimension(plan)))
    together = density(plan).log_likelihood(z)
    monkeypatch.setattr(drift_density, "BLOCK", 7)
    np.testing.assert_allclose(density(plan).log_likelihood(z), together, rtol=1e-10)


def test_the_law_at_a_knot_is_evaluated_for_the_runs_beyond_it(checkpoints, monkeypatch):
    """These are half of all pairs of a run and a knot."""
    sizes, column = [], drift_density.LogColumn

    def recorded(log):
        sizes.append(log.size)
        return column(log)

    monkeypatch.setattr(drift_density, "LogColumn", recorded)
    plan = design(checkpoints, laws.get("chinchilla"))
    density(plan)
    assert sizes == 2 * [np.count_nonzero(plan.increments)]
    assert np.count_nonzero(plan.increments) < 0.7 * plan.increments.size


def test_the_ridge_is_along_exponents_floor_and_the_drift_of_checkpoints(checkpoints, runs):
    def names(of, law, which):
        plan = design(of, laws.get(law))
        return [plan.parameters[i].name for i in getattr(density(plan), which)]

    assert names(checkpoints, "skaling", "wide") == ["E", "alpha", "beta", "q"]
    assert names(checkpoints, "skaling", "ridge") == ["E", "alpha", "beta", "q", "drift"]
    assert names(runs, "skaling", "wide") == ["E", "alpha", "beta", "q"]
    assert names(runs, "skaling", "ridge") == ["E", "alpha", "beta", "q"]
    assert names(runs, "power(D)", "wide")
    assert names(runs, "power(D)", "ridge") == []  # not a law of N and D
    five = ["E", "alpha", "beta", "shift_N", "shift_D"]
    assert names(runs, "shifted_chinchilla", "wide") == five
    assert names(runs, "shifted_chinchilla", "ridge") == []  # too many
    of_runs = density(design(runs, laws.get("skaling")))
    widths = [laws.get("skaling").priors[p].width for p in ("E", "alpha", "beta", "q")]
    assert of_runs.rates == pytest.approx(widths)


@pytest.mark.parametrize("law", ["delayed_power(D)", "broken_power(D)", "pure_power(D)"])
def test_the_amplitude_of_a_curve_follows_its_first_run(curves, law):
    """Where it is equal to its trend, the law passes through the first run."""
    table = curves.table[curves.table["series"] == "one"].sample(frac=1, random_state=1)
    plan = design(bs.Runs.from_frame(table), laws.get(law))
    of = density(plan)
    place = [p.name for p in plan.parameters].index("A")
    z = 0.3 * np.random.default_rng(4).standard_normal((20, of.dimension))
    z[:, place] = of.trend(z)[:, place]
    values = {name: v[:, None] for name, v in variables(plan, z).items()}
    first = plan.log_scale.argmin()
    columns = {c: v[[first]] for c, v in plan.columns.items()}
    loss = plan.law(columns, plan.scales, values)[:, 0]
    np.testing.assert_allclose(loss, np.exp(plan.log_loss[first]), rtol=1e-9)
    moved = z.copy()
    moved[:, place] += 1.0
    np.testing.assert_array_equal(of.trend(moved), of.trend(z))
    assert not np.delete(of.trend(z), place, axis=1).any()


def test_only_the_amplitude_of_one_curve_has_a_trend(curves, runs):
    one = bs.Runs.from_frame(curves.table[curves.table["series"] == "one"])
    assert density(design(one, laws.get("power(D)"))).trend is not None
    for of, options in (
        (curves, {}),
        (runs, {}),
        (one, {"drift": "off"}),
        (one, {"priors": {"A": bs.Fixed(1.5)}}),
        (one, {"priors": {"E": bs.Fixed(1.5)}}),
    ):
        assert density(design(of, laws.get("power(D)"), **options)).trend is None


def test_the_ridge_of_a_curve_may_have_five_exponents_and_floor(curves):
    one = bs.Runs.from_frame(curves.table[curves.table["series"] == "one"])
    plan = design(one, laws.get("broken_power(D)"))
    of = density(plan)
    assert of.wide == ()
    names = [plan.parameters[i].name for i in of.ridge]
    assert names == ["E", "alpha0", "alpha1", "d", "f", "drift"]
    plan = design(one, laws.get("shifted_power(D)"))  # without a floor
    assert [plan.parameters[i].name for i in density(plan).ridge] == ["alpha", "gamma", "drift"]


def test_groups_have_drifts_of_their_own(curves):
    table = curves.table.assign(corpus=curves.table["series"])
    plan = design(replace(curves, table=table), laws.get("power(D)"), "corpus")
    assert len(plan.cells) == 2
    assert np.ptp(differences(plan)) < 1e-6


@pytest.mark.parametrize("name", ["E", "alpha", "sigma", "nu"])
@pytest.mark.parametrize("groups", [None, "corpus"])
def test_the_density_with_a_pinned_parameter_is_that_of_pymc(runs, groups, name):
    value = {"E": 1.6, "alpha": 0.3, "sigma": 0.02, "nu": 5.0}[name]
    plan = design(runs, laws.get("chinchilla"), groups, priors={name: bs.Fixed(value)})
    assert name not in build(plan).named_vars
    assert np.ptp(differences(plan, 3)) < 1e-6


def test_the_density_of_curves_with_a_pinned_floor_is_that_of_pymc(curves):
    plan = design(curves, laws.get("delayed_power(D)"), priors={"E": bs.Fixed(1.5)})
    assert not plan.is_anchored
    assert np.ptp(differences(plan, 3)) < 1e-6


def test_coordinates_are_standard_normal_under_the_prior(runs):
    plan = design(runs, laws.get("chinchilla"), "corpus", {"B": "none"})
    z = coordinates(plan, draw_prior(plan, 4000, np.random.default_rng(1)))
    assert z.shape[1] == density(plan).dimension
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.08)
    np.testing.assert_allclose(np.cov(z.T), np.eye(z.shape[1]), atol=0.1)
    again = coordinates(plan, variables(plan, z))
    np.testing.assert_allclose(again, z, atol=1e-9)


def test_a_drift_that_overflows_has_no_likelihood(curves):
    plan = design(curves, laws.get("power(D)"))
    z = np.zeros((2, densities.dimension(plan)))
    z[1, [p.name for p in plan.parameters].index("drift")] = 2000
    regular, overflowing = density(plan).log_likelihood(z)
    assert np.isfinite(regular)
    assert overflowing == -np.inf


def test_a_matrix_that_rounding_makes_singular_is_regularised(curves, monkeypatch):
    target = density(design(curves, laws.get("power(D)")))
    z = np.zeros((1, target.dimension))
    exact, cholesky, calls = target.log_likelihood(z), np.linalg.cholesky, []

    def fails_once(matrix):
        calls.append(matrix)
        if len(calls) == 1:
            raise np.linalg.LinAlgError
        return cholesky(matrix)

    monkeypatch.setattr(np.linalg, "cholesky", fails_once)
    np.testing.assert_allclose(target.log_likelihood(z), exact, rtol=1e-3)
    assert len(calls) > 1


# -- units -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "law",
    [
        "chinchilla",
        "kaplan_floor",
        "skaling",
        "kaplan",
        pytest.param("isoflop", marks=pytest.mark.slow),
    ],
)
def test_the_posterior_of_the_loss_does_not_depend_on_units(openlm, law):
    """Losses in nats, bits or errors, and counts in any unit, give the same forecast."""
    runs = openlm.query("dataset == 'c4' and N < 5e8")
    rng = np.random.default_rng(5)
    unit, of_N, of_D = 10 ** rng.uniform(-2, 2), 10 ** rng.uniform(-3, 3), 10 ** rng.uniform(-3, 3)
    table = runs.table[["N", "D", "loss"]]
    other = pd.DataFrame(
        {"N": of_N * table["N"], "D": of_D * table["D"], "loss": unit * table["loss"]}
    )
    losses = []
    for frame, n, d, scale in ((table, 1.0, 1.0, 1.0), (other, of_N, of_D, unit)):
        made = bs.Runs.from_frame(frame.assign(C=6 * frame["N"] * frame["D"]))
        fit = bs.fit(made, law, draws=200, random_seed=1)
        ahead = bs.forecast(fit, N=1.4e9 * n, D=1e11 * d, random_seed=2)
        losses.append(ahead.data["loss"].to_numpy() / scale)
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_fractions_are_sampled_as_log_odds(runs):
    """On their natural scale, steps beyond 0 and 1 would diverge."""
    model = build(design(runs, laws.get("isoflop")))
    assert model.rvs_to_transforms[model["a"]] is not None

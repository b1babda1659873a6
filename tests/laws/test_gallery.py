"""The laws of the package: required properties, limits, and published results."""

import inspect
import pickle

import numpy as np
import pytest

from bayescale import Fraction, Law, Positive, laws, testing
from bayescale.laws import (
    bounded_chinchilla,
    broken_power,
    chance_power,
    chinchilla,
    delayed_power,
    farseer,
    isoflop,
    kaplan,
    kaplan_floor,
    kaplan_steps,
    multiplicative,
    power,
    pure_power,
    shifted_chinchilla,
    shifted_power,
    skaling,
)
from bayescale.laws.kaplan_steps import allocation_exponent, minimal_steps
from bayescale.testing import SCALES, centres, prior_draws, scales

# -- the contract that every law keeps -----------------------------------------------------------

LAWS = {law.name: law for law in (*laws.REGISTRY.values(), laws.get("power(D)"))}
every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


#: Columns in which the loss may rise: over-fitting, routing of large models, settings.
NOT_FALLING = {
    "isoflop": ("N", "D"),
    "farseer": ("N",),
    "repeated_data": ("N",),
    "repeated_overfit": ("N", "D", "U"),
    "repeated_bounded": ("N", "D", "U"),
    "routed_experts": ("N", "experts"),
    "sparse_experts": ("N", "N_total", "D"),
    "sparse_multiplicative": ("N", "N_total", "D"),
    "vocabulary_size": ("vocab",),
    "learning_rate_batch": ("N", "D", "lr", "batch"),
    "annealing": ("annealed",),
    "multi_power": ("decayed",),
    "mixing": ("one_plus_share_1", "one_plus_share_2"),
    "mixing_transfer": ("one_plus_share_1", "one_plus_share_2"),
}


@every_law
def test_every_law_passes_check_law(law):
    testing.check_law(law)


@every_law
def test_there_is_one_prior_per_parameter_of_the_formula(law):
    arguments = {
        formula: list(inspect.signature(formula).parameters.values())
        for formula in (law.loss, law.optimum, law.constants)
        if formula is not None
    }
    for formula, declared in arguments.items():
        named = tuple(p.name for p in declared if p.kind is p.KEYWORD_ONLY)
        assert named == law.parameters == tuple(law.priors), formula
        assert all(p.default is p.empty for p in declared), formula
    assert len(arguments[law.loss]) == len(law.columns) + len(law.parameters)
    assert set(law.falling) == set(law.columns) - set(NOT_FALLING.get(law.name, ()))


in_any_unit = {n for n, law in LAWS.items()
               if any(getattr(p, "of", None) == "loss" for p in law.priors.values())}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in LAWS if name not in in_any_unit])
def test_priors_expect_losses_that_language_models_have(name):
    law = LAWS[name]
    losses = law(centres(law), scales(law), prior_draws(law, 1000))
    assert np.mean((losses > 0.3) & (losses < 20)) > 0.98
    assert 1.5 < np.median(losses) < 4
    low, high = np.quantile(losses, [0.05, 0.95])
    assert high / low > 2  # and they do not pretend to know


@pytest.mark.parametrize("name", sorted(in_any_unit))
def test_priors_of_a_law_in_any_unit_expect_about_the_typical_loss(name):
    law = LAWS[name]
    losses = law(centres(law), scales(law), prior_draws(law, 1000))
    assert 0.7 < np.median(losses) < 1.4
    assert np.mean((losses > 0.2) & (losses < 5)) > 0.95


def test_a_fraction_may_be_a_parameter():
    def share(N, *, E, f):
        return E * (f + (1 - f) / N)

    law = Law("share", share, {"E": Positive(2), "f": Fraction(0.3)}, "a test")
    draws = prior_draws(law)
    assert ((draws["f"] > 0) & (draws["f"] < 1)).all()
    np.testing.assert_allclose(law({"N": 1e9}, {"N": 1e9}, draws), draws["E"], rtol=1e-14)


# -- between Kaplan and Hoffmann -----------------------------------------------------------------

N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e-2, 1e2, 9), np.geomspace(1e-2, 1e2, 9)))


def test_skaling_contains_hoffmann_and_kaplan():
    values = dict(E=1.7, A=0.5, B=0.3, alpha=0.34, beta=0.28)
    np.testing.assert_allclose(
        skaling.loss(N, D, q=1.0, **values), chinchilla.loss(N, D, **values), rtol=1e-12
    )
    actual = skaling.loss(N, D, E=0.0, A=2.5, B=2.2, alpha=0.076, beta=0.103, q=0.103)
    expected = kaplan.loss(N, D, A=2.5, B=2.2, alpha_N=0.076, alpha_D=0.103)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_as_q_goes_to_zero_only_the_larger_term_remains():
    one = skaling.loss(N, D, E=1.0, A=0.5, B=0.3, alpha=0.3, beta=0.3, q=1e-4)
    np.testing.assert_allclose(one, 1 + np.maximum(0.5 * N**-0.3, 0.3 * D**-0.3), rtol=1e-4)


HOFFMANN = dict(E=1.7, A=0.5, B=0.3, alpha=0.34, beta=0.28)


@pytest.mark.parametrize(
    ("law", "limit"),
    [
        (shifted_chinchilla, dict(shift_N=1e-300, shift_D=1e-300)),
        (bounded_chinchilla, dict(H=1e300)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_limits_of_the_extensions_are_hoffmanns_law(law, limit):
    actual = law.loss(N, D, **HOFFMANN, **limit)
    np.testing.assert_allclose(actual, chinchilla.loss(N, D, **HOFFMANN), rtol=1e-12)


def test_a_shift_acts_as_if_its_size_were_added_to_every_run():
    shifts = dict(shift_N=0.5, shift_D=0.2)
    shifted = shifted_chinchilla.loss(N, D, **HOFFMANN, **shifts)
    raw = shifted_chinchilla.constants(1.0, 1.0, **HOFFMANN, **shifts)
    added = {**HOFFMANN, "A": 0.5 * 1.5**0.34, "B": 0.3 * 1.2**0.28}
    np.testing.assert_allclose(shifted, chinchilla.loss(N + 0.5, D + 0.2, **added), rtol=1e-12)
    assert raw["shift_N"] == 0.5
    assert raw["A"] == pytest.approx(0.5)  # the reference scale is 1


def test_a_bounded_law_is_the_formula_of_its_paper_and_ends_at_the_bound():
    h = (0.5 * N**-0.34 + 0.3 * D**-0.28) / 4.0
    actual = bounded_chinchilla.loss(N, D, **HOFFMANN, H=4.0)
    np.testing.assert_allclose(actual, 1.7 + 4.0 * h / (1 + h), rtol=1e-12)
    assert bounded_chinchilla.loss(1e-60, 1.0, **HOFFMANN, H=4.0) == pytest.approx(1.7 + 4.0)


def test_farseer_contains_a_power_of_model_size_and_one_of_data():
    values = dict(E=1.7, e=0.1, B=0.3, b=0.0, A=0.28, a=0.0)
    flat = dict(gamma=1e-7, beta=1e-7, alpha=1e-7)  # in the limit, powers of N
    expected = 1.7 * N**-0.1 + 0.3 * D**-0.28
    np.testing.assert_allclose(farseer.loss(N, D, **values, **flat), expected, rtol=1e-5)


def test_isoflop_contains_hoffmann_and_has_its_minimum_at_the_optimal_size():
    E, A, B, alpha, beta = 1.7, 0.5, 0.3, 0.34, 0.28
    a = beta / (alpha + beta)
    n = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    # At N = n the two terms are in the ratio beta to alpha and K is their sum.
    K = A * n**-alpha + B * n**beta
    actual = isoflop.loss(N, D, E=E, K=K, gamma=alpha * a, n=n, a=a, alpha=alpha, beta=beta)
    expected = chinchilla.loss(N, D, E=E, A=A, B=B, alpha=alpha, beta=beta)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_steps_with_the_published_constants_give_kaplans_exponent():
    """0.68 to 0.71 by analysis of their constants, 0.73 by their fit."""
    point = kaplan_steps.published["kaplan2020"].values
    assert allocation_exponent(**point) == pytest.approx(0.681, abs=0.001)
    law = kaplan_steps.at("kaplan2020", N=1e8, S=[1e4, 1e30])
    assert law[1] == pytest.approx((6.5e13 / 1e8) ** 0.077)
    assert law[0] > law[1]


def test_steps_at_the_critical_batch_are_twice_the_least():
    critical = 2.1e8 / 3.0 ** (1 / 0.21)
    assert minimal_steps(1e5, critical, 3.0) == pytest.approx(5e4)
    assert minimal_steps(1e5, 1e15, 3.0) == pytest.approx(1e5)
    assert minimal_steps(1e5, critical, 2.5) < 5e4  # lower losses want larger batches


def test_a_product_of_powers_has_no_optimum():
    values = dict(E=1.7, A=0.5, alpha=0.3, beta=0.2)
    along = multiplicative.loss(
        np.geomspace(1e-3, 1e3, 7), 1 / np.geomspace(1e-3, 1e3, 7), **values
    )
    assert (np.diff(along) < 0).all()


# -- the family of learning curves ---------------------------------------------------------------

X = np.geomspace(1e-3, 1e4, 36)  # relative to the reference scale


def at(law, **values):
    """A law at X, for one value of each parameter; those it does not take are left out."""
    usual = dict(E=0.4, A=0.5, alpha=0.3, d=0.05, k=2.0, alpha0=0.2, alpha1=0.7, f=0.5)
    return law.loss(X, **{p: v for p, v in (usual | values).items() if p in law.parameters})


@pytest.mark.parametrize("law", [law for law in laws.REGISTRY.values() if law.columns == ("C",)])
def test_an_amplitude_is_the_reducible_loss_at_the_reference_scale(law):
    draws = prior_draws(law)
    np.testing.assert_allclose(law.loss(1.0, **draws), draws.get("E", 0) + draws["A"], rtol=1e-13)


@pytest.mark.parametrize(
    ("law", "fixed", "same"),
    [
        (power, dict(E=0), pure_power),
        (shifted_power, dict(gamma=0), pure_power),
        (chance_power, dict(kappa=0, headroom=1e12), power),
        (delayed_power, dict(d=1e-300, k=0.5), power),
        (broken_power, dict(alpha0=0.3, alpha1=0.3), power),
        (broken_power, dict(alpha0=0.3, d=1e200), power),
        (broken_power, dict(alpha1=0.3, d=1e-200), power),
        (broken_power, dict(alpha0=0, alpha1=0.3, f=2 / 0.3), delayed_power),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_limits_of_a_law(law, fixed, same):
    np.testing.assert_allclose(at(law, **fixed), at(same), rtol=1e-12)


def test_a_shifted_power_law_ends_at_the_power_of_its_shift():
    draws = prior_draws(shifted_power)
    limit = draws["A"] * (draws["gamma"] / (1 + draws["gamma"])) ** draws["alpha"]
    np.testing.assert_allclose(shifted_power.loss(1e30, **draws), limit, rtol=1e-12)


def test_learning_from_chance_satisfies_its_implicit_equation():
    """As published, with the constants that are quoted in raw units."""
    draws = {p: v[:, None] for p, v in prior_draws(chance_power).items()}
    quoted = chance_power.constants(SCALES["C"], **draws)
    C = SCALES["C"] * X
    won = chance_power({"C": C}, SCALES, draws) - draws["E"]
    lost = quoted["chance"] - draws["E"] - won
    resolved = (won > 1e-4 * draws["A"]) & (lost > 1e-4 * draws["A"])  # not lost to rounding
    assert resolved.mean() > 0.9
    published = quoted["beta"] * C ** -draws["alpha"] * lost ** draws["kappa"]
    np.testing.assert_allclose(won[resolved], published[resolved], rtol=1e-9)


def test_before_the_start_the_loss_is_at_chance():
    delayed = dict(E=0.4, A=0.5, alpha=0.4, d=2.0, k=1.3)
    from_chance = dict(E=0.4, A=0.5, alpha=0.4, kappa=0.7, headroom=2.0)
    level = 0.4 + delayed_power.constants(1e100, **delayed)["A"]
    assert delayed_power.loss(1e-60, **delayed) == pytest.approx(level, rel=1e-12)
    level = chance_power.constants(1.0, **from_chance)["chance"]
    assert chance_power.loss(1e-60, **from_chance) == pytest.approx(level, rel=1e-12)


# -- what the papers say -------------------------------------------------------------------------

CHINCHILLA_BUDGET = 5.76e23


def optimal_split(point, budget):
    """N and D that published Chinchilla constants choose for a budget under C = 6ND."""
    N = chinchilla.optimum(budget / 6, **chinchilla.published[point].values)
    return N, budget / 6 / N


def test_besiroglu_2024_gives_the_size_of_chinchilla():
    N, D = optimal_split("besiroglu2024", CHINCHILLA_BUDGET)
    np.testing.assert_allclose(N, 72.2e9, rtol=0.015)
    assert chinchilla.at("besiroglu2024", N=N, D=D) == pytest.approx(1.974, abs=1e-3)
    assert chinchilla.at("besiroglu2024", N=70e9, D=1.4e12) == pytest.approx(1.974, abs=5e-4)


def test_hoffmann_2022_as_rounded_gives_far_more_tokens():
    N, D = optimal_split("hoffmann2022", CHINCHILLA_BUDGET)
    np.testing.assert_allclose([N, D / N], [32.2e9, 92.6], rtol=5e-3)


def test_hoffmann_2022_has_the_exponent_that_it_states():
    small, large = (optimal_split("hoffmann2022", c)[0] for c in (1e20, 1e24))
    assert np.log10(large / small) / 4 == pytest.approx(0.28 / (0.34 + 0.28), rel=1e-12)


def test_kaplan_2020_is_the_formula_of_the_paper():
    N, D = np.array([1e8, 1e9, 1e11]), np.array([1e10, 3e11, 1e9])
    paper = ((6.4e13 / N) ** (0.076 / 0.103) + 1.8e13 / D) ** 0.103
    np.testing.assert_allclose(kaplan.at("kaplan2020", N=N, D=D), paper, rtol=1e-12)


def test_kaplan_2020_has_the_exponent_0_575():
    values = kaplan.published["kaplan2020"].values
    small, large = (kaplan.optimum(c / 6, **values) for c in (1e20, 1e24))
    exponent = np.log10(large / small) / 4
    assert exponent == pytest.approx(1 / (1 + 0.076 / 0.103), rel=1e-12)
    assert exponent == pytest.approx(0.575, abs=5e-4)


def test_kaplan_2020_has_its_published_constants():
    constants = kaplan.constants(1.0, 1.0, **kaplan.published["kaplan2020"].values)
    assert constants == pytest.approx({"N_c": 6.4e13, "D_c": 1.8e13}, rel=1e-12)


def test_farseer_2025_is_the_formula_of_the_paper_and_gives_its_losses():
    """Four of their runs, in bits per character: the smallest, two others, and a test run."""
    N = np.array([2.012283e8, 1.338278e9, 3.816352e9, 5.354048e9])
    D = np.array([1.999929e9, 1.902700e10, 1.076340e11, 4.305401e11])
    actual = farseer.at("farseer2025", N=N, D=D)
    exponent = np.exp(-1.665630816 * N**0.0459 + 3.133347199)
    model = np.exp(-0.062465473 * N**0.13 + 0.1284880679)
    paper = model + np.exp(230.734371 * N**-0.1729 - 1.544209554) * D**-exponent
    np.testing.assert_allclose(actual, paper, rtol=1e-9)
    np.testing.assert_allclose(actual, [0.675321, 0.534578, 0.468623, 0.439064], rtol=0.011)


def test_a_floor_of_zero_gives_the_law_without_a_floor():
    draws = prior_draws(kaplan)
    floored = kaplan_floor(SCALES, SCALES, {**draws, "E": 0.0})
    np.testing.assert_array_equal(floored, kaplan(SCALES, SCALES, draws))
    np.testing.assert_array_equal(
        kaplan_floor.optimum(3.0, **draws, E=1.7), kaplan.optimum(3.0, **draws)
    )


def test_functions_that_use_the_gallery_can_be_sent_to_other_processes():
    assert pickle.loads(pickle.dumps(laws)) is laws

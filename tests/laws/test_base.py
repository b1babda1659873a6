"""Laws: valid declarations, reserved names, and evaluation."""

import dataclasses
import inspect

import numpy as np
import pytest

from bayescale import FitError, Law, LawError, Positive, Published, Real, laws
from bayescale.laws import chinchilla, kaplan, kaplan_floor, power
from bayescale.model.pymc_model import build
from bayescale.model.specify import design


def pure(D, *, A, alpha):
    return A * D**-alpha


PRIORS = {"A": Positive(3), "alpha": Positive(0.1)}


def declare(loss=pure, priors=PRIORS, **options):
    return Law("pure", loss, priors, "a test", **options)


# -- declaring a law -----------------------------------------------------------------------------


def test_the_signature_declares_columns_and_parameters():
    law = declare()
    assert law.columns == ("D",)
    assert law.parameters == law.poolable == ("A", "alpha")
    assert not law.allocates
    assert repr(law) == "<Law pure: loss(D, *, A, alpha); a test>"


def test_priors_are_kept_in_the_order_of_the_formula_and_cannot_be_changed():
    law = declare(priors=dict(reversed(PRIORS.items())))
    assert law.parameters == ("A", "alpha")
    with pytest.raises(TypeError):
        law.priors["A"] = Positive(1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"loss": lambda *, A, alpha: A}, "the formula takes no column: give it positional"),
        ({"loss": lambda D: D, "priors": {}}, "the formula has no parameters: declare them"),
        ({"columns": ("N", "D")}, r"columns=\('N', 'D'\) names 2 of 1 arguments"),
        ({"priors": {"A": Positive(3)}}, "no prior for alpha"),
        ({"priors": {**PRIORS, "E": Positive(1)}}, "priors for E, not taken by the formula"),
        ({"priors": {**PRIORS, "A": 3.0}}, "the prior of A is 3.0: use Positive, Fraction or Real"),
        ({"falling": ("N",)}, r"falling names N, not among \('D',\)"),
        ({"poolable": ("E",)}, r"poolable names E, not among \('A', 'alpha'\)"),
        ({"known": ("E",)}, r"known names E, not among \('A', 'alpha'\)"),
        (
            {"published": {"paper": Published("a paper", {"A": 1.0}, "a paper")}},
            r"published\['paper'\] must give exactly A, alpha",
        ),
        (
            {"loss": lambda D, *, sigma: D, "priors": {"sigma": Positive(1)}},
            "the parameter name 'sigma' is reserved, because a fitted model uses it: rename it",
        ),
        ({"columns": ("A",)}, "'A' is reserved, because it is a column of the law: rename it"),
        ({"amplitude": "B"}, r"amplitude and floor names B, not among \('A', 'alpha'\)"),
        ({"floor": "alpha"}, "a floor needs an amplitude above it"),
        (
            {"amplitude": "A", "priors": {**PRIORS, "A": Real(1, sd=1)}},
            "the prior of A must be Positive, as amplitude or floor",
        ),
    ],
)
def test_a_law_that_contradicts_itself_is_refused(options, problem):
    with pytest.raises(LawError, match=problem) as caught:
        declare(**options)
    assert len(caught.value.problems) == 1
    assert caught.value.where == "law 'pure'"


def test_every_contradiction_is_reported_at_once():
    with pytest.raises(LawError) as caught:
        declare(priors={"A": 3.0, "B": Positive(1)}, falling=("N",), poolable=("E",))
    assert len(caught.value.problems) == 5


# -- reserved names ------------------------------------------------------------------------------


def with_parameter(name: str) -> Law:
    """The Chinchilla law, with a last parameter of that name."""
    names = ["E", "A", "B", "alpha", "beta", name]

    def loss(N, D, **values):
        return chinchilla.loss(N, D, **{p: values[p] for p in names[:-1]})

    kinds = inspect.Parameter
    loss.__signature__ = inspect.Signature(
        [kinds(c, kinds.POSITIONAL_OR_KEYWORD) for c in "ND"]
        + [kinds(p, kinds.KEYWORD_ONLY) for p in names]
    )
    return Law("extended", loss, {**chinchilla.priors, name: Positive(1)}, "a test")


@pytest.mark.parametrize("name", sorted({*laws.RESERVED, "log_N", "log_D", "log_N_at_knots"}))
def test_a_reserved_name_is_refused_as_parameter_and_group(openlm, name):
    with pytest.raises(LawError) as caught:
        with_parameter(name)
    assert caught.value.problems == (
        f"the parameter name {name!r} is reserved, because a fitted model uses it: rename it",
    )
    runs = dataclasses.replace(openlm, table=openlm.table.assign(**{name: "a"}))
    if name in ("loss", "series"):
        return  # a table of runs has this column already
    with pytest.raises(FitError) as caught:
        design(runs, chinchilla, groups=name)
    assert caught.value.problems == (
        f"the group column name {name!r} is reserved, because a fitted model uses it: rename it",
    )


@pytest.mark.parametrize("name", ["E_scale", "E_offset", "E_index", "E_prior", "E_log__"])
def test_a_parameter_name_cannot_end_as_those_of_a_model_do(name):
    with pytest.raises(LawError, match=f"'{name}' is reserved, because a fitted model gives names"):
        with_parameter(name)


def test_a_parameter_may_have_any_other_name():
    assert with_parameter("log_E").parameters[-1] == "log_E"
    assert with_parameter("scale").parameters[-1] == "scale"


@pytest.mark.parametrize("stem", ["E", "sigma"])
def test_a_parameter_cannot_be_called_as_the_values_per_group_of_another(openlm, stem):
    law = with_parameter(f"{stem}_dataset")
    assert design(openlm, law).groups == ()
    with pytest.raises(FitError, match=f"values of {stem} by group would be called {stem}_datas"):
        design(openlm, law, groups="dataset")


def designs(openlm):
    """Designs that together use every variable and every array of the model."""
    series = openlm.table["dataset"] + openlm.table["architecture"].astype(str)
    table = openlm.table.assign(series=series, recipe="a")
    table.loc[table.index[::2], "recipe"] = "b"
    finished = dataclasses.replace(openlm, table=table.drop(columns="series"))
    checkpoints = dataclasses.replace(openlm, table=table)
    yield design(finished, chinchilla, groups=["dataset", "recipe"], noise="by_loss")
    yield design(finished, chinchilla, groups="dataset", pool={"E": "none"})
    yield design(checkpoints, chinchilla, groups="dataset", drift="off")
    yield design(checkpoints, chinchilla, groups="dataset")
    yield design(checkpoints, power.on("D"))


def test_every_name_that_a_model_uses_is_reserved(openlm):
    used, per_group = set(), set()
    for plan in designs(openlm):
        model = build(plan)
        names = {*model.named_vars, *model.coords} - {*plan.law.parameters, *plan.groups}
        members = {f"{p.name}_{g}" for p in plan.parameters for g in plan.groups}
        per_group |= names & members
        used |= names - members
    assert {"E_dataset", "sigma_recipe"} <= per_group  # refused with their group, see above
    assert {"prior", "log_loss", "increments", "member", "gap", "log_level", "E_dataset_scale",
            "log_N_at_knots", "A_prior", "loss_range", "trend", "drift"} <= used  # fmt: skip
    for name in used:
        with pytest.raises(LawError, match=f"the parameter name '{name}' is reserved"):
            with_parameter(name)


# -- changing and asking a law -------------------------------------------------------------------


def test_other_priors_replace_some_and_leave_the_law_as_it_was():
    narrow = Positive(0.35, spread=1.1)
    law = chinchilla.with_priors(alpha=narrow)
    assert law.priors["alpha"] is narrow
    assert law.priors["beta"] == chinchilla.priors["beta"]
    assert law.parameters == chinchilla.parameters
    assert chinchilla.priors["alpha"] != narrow
    assert law.published == chinchilla.published


@pytest.mark.parametrize("priors", [{"gamma": Positive(1)}, {"alpha": 0.35}])
def test_a_prior_that_does_not_fit_the_law_is_refused(priors):
    with pytest.raises(LawError, match=next(iter(priors))):
        chinchilla.with_priors(**priors)


def test_a_law_of_one_column_can_be_used_with_another():
    law = power.on("D")
    assert (law.name, law.columns, law.falling) == ("power(D)", ("D",), ("D",))
    assert law.on("N").name == "power(N)"
    assert declare().on("C").falling == ()
    assert power.columns == ("C",)


def test_a_law_of_two_columns_cannot_be_used_with_another():
    with pytest.raises(LawError, match="only a law of one column can be used with another"):
        chinchilla.on("D")


def test_a_law_is_found_by_its_name():
    assert laws.get("kaplan_floor") is kaplan_floor
    assert laws.get(kaplan) is kaplan
    assert laws.get(" power(N) ").columns == ("N",)
    assert all(laws.get(name) is law for name, law in laws.REGISTRY.items())


@pytest.mark.parametrize("name", ["chinchila", "Chinchilla", "chinchilla_law", "chinchilla()"])
def test_an_unknown_law_gives_the_closest_name(name):
    with pytest.raises(LawError, match=r"Did you mean 'chinchilla'\? There are: chinchilla, kapl"):
        laws.get(name)


def test_published_constants_are_evaluated_at_raw_columns():
    N, D = np.array([1e9, 70e9]), np.array([20e9, 1.4e12])
    np.testing.assert_allclose(
        chinchilla.at("hoffmann2022", N=N, D=D),
        1.69 + 406.4 / N**0.34 + 410.7 / D**0.28,
        rtol=1e-14,
    )


def test_an_unknown_published_point_lists_the_points():
    with pytest.raises(LawError, match=r"no published point 'besiroglu'\. Did you mean 'besir"):
        chinchilla.at("besiroglu", N=1e9, D=2e10)

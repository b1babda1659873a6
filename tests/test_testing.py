"""`check_law`: a law that does not meet one requirement is refused for that requirement."""

import dataclasses

import numpy as np
import pytest

import bayescale as bs
from bayescale.laws import chinchilla, kaplan, power, pure_power

check_law = bs.testing.check_law


def broken(law=power, **changes) -> bs.Law:
    return dataclasses.replace(law, name="broken", **changes)


def overflowing(x, *, E, A, alpha):
    """Not finite for large x."""
    return E + A * np.exp(-alpha * np.log(x)) + np.exp(x)


def negative(x, *, E, A, alpha):
    return E + A * x**-alpha - 1


def one_number(x, *, E, A, alpha):
    return E + A + 0 * alpha


def arrays_only(x, *, E, A, alpha):
    return np.where(x > 1, E + A * x**-alpha, E + A * x**-alpha)


def rising(x, *, E, A, alpha):
    return E + A * x**alpha


def flat(x, *, E, A, alpha):
    return E + A * (1 + 0 * x + 0 * alpha)


def without_exponent(x, *, E, A, alpha):
    return E + A * x**-0.3 + 0 * alpha


def rooted(x, *, E, A, alpha):
    return E + A**0.5 * x**-alpha


def floor_in_curve(x, *, E, A, alpha):
    return E + A * E * x**-alpha


def in_one_unit(x, *, E, A, alpha):
    return E + A / np.log1p(1 + x) ** alpha


PLAUSIBLE = dict(E=bs.Positive(1.7), A=bs.Positive(0.5), alpha=bs.Positive(0.3))

BROKEN = {
    "not finite": (broken(loss=overflowing), "the loss is not finite at the medians of the priors"),
    "not positive": (
        broken(loss=negative),
        "the loss is not positive at the medians of the priors",
    ),
    "one number": (
        broken(loss=one_number),
        r"the loss has shape \(\) at the medians of the priors, not \(62,\): the formula must",
    ),
    "arrays only": (
        broken(loss=arrays_only),
        r"the formula fails on PyTensor graphs \(ValueError.*: use operators and unary",
    ),
    "rising": (broken(loss=rising), "the loss rises in C, which is declared falling"),
    "flat": (broken(loss=flat), "the loss does not fall in C, which is declared falling"),
    "without exponent": (
        broken(loss=without_exponent),
        "the gradient is zero in alpha: no data can inform these parameters",
    ),
    "wrong optimum": (
        broken(
            chinchilla,
            optimum=lambda ND, *, E, A, B, alpha, beta: (A / B * ND**beta) ** (1 / (alpha + beta)),
        ),
        "the optimum does not minimise the loss at fixed N times D",
    ),
    "optimum of one column": (
        broken(optimum=lambda ND, *, E, A, alpha: ND),
        "there is an optimum, but the columns are C, not N and D",
    ),
    "optimum of other parameters": (
        broken(chinchilla, optimum=lambda ND, *, E: ND),
        r"the optimum cannot be tested \(TypeError: .* unexpected keyword argument 'A'\)",
    ),
    "wrong constants": (
        broken(constants=lambda x, *, E, A, alpha: {"A": A * x ** (2 * alpha)}),
        "the constants do not give the losses of the parameters they are computed from",
    ),
    "constants of another name": (
        broken(
            kaplan,
            constants=lambda N, D, *, A, B, alpha_N, alpha_D: {
                "N_c": N * A ** (1 / alpha_N),
                "D_c": D * B ** (1 / alpha_N),
            },
        ),
        "the constants D_c change with the reference scales",
    ),
    "in one unit": (
        broken(
            loss=in_one_unit,
            amplitude=None,
            floor=None,
            constants=lambda x, *, E, A, alpha: {"level": A},
        ),
        "the curve depends on the units of the columns: no parameters give it at other reference",
    ),
    "no amplitude": (
        broken(loss=rooted),
        "the loss above the floor 'E' is not proportional to the amplitude 'A'",
    ),
    "no amplitude without a floor": (
        broken(pure_power, loss=lambda x, *, A, alpha: A**0.5 * x**-alpha),
        "the loss is not proportional to the amplitude 'A'",
    ),
    "no floor": (broken(loss=floor_in_curve), "the floor 'E' is not added to the loss"),
    "published nonsense": (
        broken(
            published={"us": bs.Published("us", dict(E=-9.0, A=1.0, alpha=0.1), "an example")},
        ),
        r"published\['us'\] gives losses that are not finite and positive",
    ),
    "implausible shares": (
        broken(priors={**power.priors, "E": bs.Positive(9.0, of="loss")}),
        r"the priors put \d+ % of the losses .* between 0.2 and 5 typical losses",
    ),
    "implausible nats": (
        broken(priors={**PLAUSIBLE, "A": bs.Positive(500.0)}),
        r"the priors put 0 % of the losses .* between 0.3 and 20 nats",
    ),
}


@pytest.mark.parametrize(("law", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_requirement_that_is_not_met_is_named(law, problem):
    with pytest.raises(bs.LawError, match=problem) as caught:
        check_law(law)
    assert caught.value.where == "law 'broken'"


def test_a_valid_law_of_a_user_passes():
    law = bs.Law(
        "own", power.loss, PLAUSIBLE, "an example", columns=("images",), falling=("images",)
    )
    assert check_law(law) is None


def test_all_requirements_that_are_not_met_are_named_at_once():
    law = broken(
        loss=rising,
        constants=lambda x, *, E, A, alpha: {"A": A},
        priors={**power.priors, "A": bs.Positive(50.0, of="loss")},
    )
    with pytest.raises(bs.LawError) as caught:
        check_law(law)
    rises, constants, priors = caught.value.problems
    assert "rises" in rises
    assert "constants" in constants
    assert "priors" in priors


def test_a_formula_that_fails_is_reported_as_such():
    law = broken(loss=lambda x, *, E, A, alpha: E + A * x.nonsense)
    with pytest.raises(bs.LawError, match=r"the formula fails on numpy arrays \(AttributeError"):
        check_law(law)


def test_a_value_that_is_not_a_law_is_refused():
    with pytest.raises(bs.LawError, match="expected a Law, got str: look it up"):
        check_law("chinchilla")

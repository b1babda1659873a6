"""The compiled callbacks give nutpie the density, gradient and variables of the PyMC model."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from pytensor.compile.mode import Mode

from bayescale.inference import nutpie_callbacks, nuts
from bayescale.model.pymc_model import target

#: Evaluates a graph operation by operation: fused operations may have too many arguments for that.
PLAIN = Mode(linker="py", optimizer=None)


def pointer(array):
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


def called(compiled, x, dim=None):
    """Exit code, log density and gradient, from the C callback that nutpie calls."""
    gradient, value = np.full(len(x), np.nan), np.full(1, np.nan)
    code = compiled.compiled_logp_func.ctypes(
        len(x) if dim is None else dim,
        pointer(x),
        pointer(gradient),
        pointer(value),
        compiled.user_data.ctypes.data,
    )
    return code, value[0], gradient


def ordered(model):
    """The variables of the unconstrained space in the order in which nutpie joins them."""
    return [model.rvs_to_values[v] for v in model.free_RVs]


@pytest.fixture(scope="module")
def grouped(openlm_fit):
    """The compiled hierarchical model, the PyMC model, and a point of its space."""
    model = openlm_fit.model
    point = model.initial_point()
    rng = np.random.default_rng(1)
    point = {k: v + 0.1 * rng.standard_normal(np.shape(v)) for k, v in point.items()}
    x = np.concatenate([np.ravel(point[v.name]) for v in ordered(model)])
    return nuts.compiled(target(openlm_fit.plan)), model, point, x


def test_the_compiled_density_and_gradient_are_those_of_pymc(grouped):
    """The density is PyMC's; the gradient is that of the density by central differences."""
    compiled, model, point, x = grouped
    code, value, gradient = called(compiled, x)
    assert code == 0
    parts = model.compile_logp(sum=False, mode=PLAIN)(point)
    assert value == pytest.approx(sum(float(np.sum(part)) for part in parts), rel=1e-10)
    steps = 1e-5 * np.eye(len(x))
    slopes = [(called(compiled, x + h)[1] - called(compiled, x - h)[1]) / 2e-5 for h in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-3)


def test_a_point_of_another_dimension_is_refused(grouped):
    compiled, _, _, x = grouped
    assert called(compiled, x, dim=len(x) + 1)[0] == -1


def test_a_density_that_is_not_finite_is_reported(grouped):
    compiled, _, _, x = grouped
    assert called(compiled, np.full(len(x), np.nan))[0] in (3, 4)


def test_the_compiled_expansion_gives_every_variable(grouped):
    compiled, model, point, x = grouped
    out = np.full(compiled.n_expanded, np.nan)
    arguments = (pointer(x), pointer(out), compiled.user_data.ctypes.data)
    assert compiled.compiled_expand_func.ctypes(len(x), len(out), *arguments) == 0
    names, slices, _ = compiled.shape_info
    values = model.replace_rvs_by_values([model["E"], model["alpha_dataset"]])
    inputs = dict(inputs=model.value_vars, on_unused_input="ignore")
    expected = model.compile_fn(values, mode=PLAIN, **inputs)(point)
    place = dict(zip(names, slices, strict=True))
    np.testing.assert_allclose(out[place["E"]].ravel(), np.ravel(expected[0]), rtol=1e-10)
    np.testing.assert_allclose(out[place["alpha_dataset"]].ravel(), expected[1], rtol=1e-10)
    assert compiled.compiled_expand_func.ctypes(len(x), len(out) + 1, *arguments) == -1


def test_other_versions_of_nutpie_keep_their_own_callbacks(monkeypatch):
    import nutpie
    import nutpie.compile_pymc as inside

    original = inside._make_c_logp_func
    with nutpie_callbacks._short_callbacks():
        assert inside._make_c_logp_func is nutpie_callbacks._logp
    assert inside._make_c_logp_func is original
    monkeypatch.setattr(nutpie, "__version__", "0.17.0")
    with nutpie_callbacks._short_callbacks():
        assert inside._make_c_logp_func is original


def test_one_chain_and_settings_that_are_no_whole_numbers_are_refused():
    from bayescale.errors import FitError
    from bayescale.inference import nuts

    with pytest.raises(FitError, match="chains is 1, but NUTS needs two or more"):
        nuts.sample(None, draws=100, tune=100, chains=1, seed=1)
    for value in (1.5, "4", True, 0):
        with pytest.raises(FitError, match=r"chains is .*: give a whole number, at least 1"):
            nuts.require(chains=value)
    nuts.require(draws=10, tune=50, chains=1)

"""Compilation of a PyMC model for nutpie, with shorter callbacks.

For every model, nutpie compiles the log density and its gradient, and two C callbacks that call
them, unpack the data of the model and copy the results. For a small model in nutpie 0.16, numba
takes longer to compile the callbacks than the density. Most of this time is for the error message
of an array assignment that cannot fail. This module generates equivalent callbacks with one line
per data array and plain loops. `benchmarks/results/callbacks.csv` has the time saved in seconds.
For other versions of nutpie, the callbacks of nutpie are used.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import contextmanager

import numpy as np

#: Versions of nutpie to whose callbacks these are equivalent.
KNOWN_VERSIONS = ("0.16.",)

_lock = threading.Lock()

_LOGP = """
def logp(dim, x_, out_, logp_, user_):
    if dim != n_dim:
        return -1
    try:
        x = numba.carray(x_, (n_dim,))
{unpacked}
        value, gradient = inner(x{arguments})
        logp_[0] = value[()]
        for i in range(n_dim):
            out_[i] = gradient[i]
        for i in range(n_dim):
            if not np.isfinite(out_[i]):
                return 3
        if not np.isfinite(logp_[0]):
            return 4
    except Exception:
        return 1
    return 0
"""

_EXPAND = """
def expand(dim, expanded, x_, out_, user_):
    if dim != n_dim or expanded != n_expanded:
        return -1
    try:
        x = numba.carray(x_, (n_dim,))
{unpacked}
        (values,) = inner(x{arguments})
        for i in range(n_expanded):
            out_[i] = values[i]
    except Exception:
        return -2
    return 0
"""


def compile_model(model, scattered: Collection[str] | None = None):
    """Compile a ``pymc.Model`` with nutpie.

    Parameters
    ----------
    model : pymc.Model
    scattered : collection of str, optional
        Variables whose initial values are jittered around their initial points; by default all.
    """
    import nutpie

    scatter = None if scattered is None else {model[name] for name in scattered}
    with _lock, _short_callbacks():
        return nutpie.compile_pymc_model(model, jitter_rvs=scatter)


@contextmanager
def _short_callbacks():
    """Replace the callbacks of nutpie within the block, if its version is known."""
    import nutpie
    import nutpie.compile_pymc as module

    if not nutpie.__version__.startswith(KNOWN_VERSIONS):
        yield
        return
    names = ("_make_c_logp_func", "_make_c_expand_func")
    originals = {name: getattr(module, name) for name in names}
    module._make_c_logp_func, module._make_c_expand_func = _logp, _expand
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(module, name, function)


def _logp(n_dim, inner, user_data, keys, shared):
    from numba import types as t

    double = t.CPointer(t.double)
    function = _generated(_LOGP, "logp", inner, user_data, keys, shared, n_dim=n_dim)
    return function, t.int64(t.uint64, double, double, double, t.voidptr)


def _expand(n_dim, n_expanded, inner, user_data, keys, shared):
    from numba import types as t

    double = t.CPointer(t.double)
    function = _generated(
        _EXPAND, "expand", inner, user_data, keys, shared, n_dim=n_dim, n_expanded=n_expanded
    )
    return function, t.int64(t.uint64, t.uint64, double, double, t.voidptr)


def _generated(template: str, name: str, inner, user_data, keys, shared, **sizes):
    """Generate a callback for the data arrays `keys` from a template of its source code."""
    import numba
    from nutpie.compile_pymc import address_as_void_pointer

    namespace = dict(
        numba=numba,
        np=np,
        inner=inner,
        record=user_data.dtype,
        pointer=address_as_void_pointer,
        **sizes,
    )
    lines = ["user = numba.carray(user_, (), record)['shared']"] if keys else []
    for i, key in enumerate(keys):
        namespace[f"type{i}"] = np.dtype(shared[key].dtype)
        shape = "".join(f"int(user['shape']['{key}'][{d}])," for d in range(shared[key].ndim))
        lines.append(f"a{i} = numba.carray(pointer(user['data']['{key}'][()]), ({shape}), type{i})")
    source = template.format(
        unpacked="\n".join(f"        {line}" for line in lines),
        arguments="".join(f", a{i}" for i in range(len(keys))),
    )
    exec(source, namespace)
    return namespace[name]

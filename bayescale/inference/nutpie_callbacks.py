"""Compile a PyMC model for nutpie, in half the time.

What nutpie compiles for every model is the density and its gradient, and around it a C callback
that unpacks the data and copies the results. In nutpie 0.16 that callback costs numba more time
than small models do themselves, nearly all of it for the message of an array assignment that
cannot fail. Here the same callbacks are written out, one line per data array, with plain loops.
Should nutpie's inside change, its own compilation is used.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import contextmanager

import numpy as np

_lock = threading.Lock()

_LOGP = """
def logp(dim, x_, out_, logp_, user_):
    try:
        x = numba.carray(x_, (n_dim,))
{unpacked}
        value, gradient = inner(x{arguments})
        logp_[0] = value[()]
        for i in range(n_dim):
            if not np.isfinite(gradient[i]):
                return 3
            out_[i] = gradient[i]
        if not np.isfinite(logp_[0]):
            return 4
    except Exception:
        return 1
    return 0
"""

_EXPAND = """
def expand(dim, expanded, x_, out_, user_):
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
    """nutpie's compiled form of a ``pymc.Model``.

    Chains start around the medians of the prior, all variables or only those `scattered`.
    """
    import nutpie

    scatter = None if scattered is None else {model[name] for name in scattered}
    with _lock, _short_callbacks():
        return nutpie.compile_pymc_model(model, jitter_rvs=scatter)


@contextmanager
def _short_callbacks():
    import nutpie.compile_pymc as inside

    names = ("_make_c_logp_func", "_make_c_expand_func", "address_as_void_pointer")
    if not all(hasattr(inside, name) for name in names):
        yield
        return
    theirs = {name: getattr(inside, name) for name in names[:2]}
    inside._make_c_logp_func, inside._make_c_expand_func = _logp, _expand
    try:
        yield
    finally:
        for name, function in theirs.items():
            setattr(inside, name, function)


def _logp(n_dim, inner, user_data, keys, shared):
    from numba import types as t

    double = t.CPointer(t.double)
    function = _written(_LOGP, "logp", inner, user_data, keys, shared, n_dim=n_dim)
    return function, t.int64(t.uint64, double, double, double, t.voidptr)


def _expand(n_dim, n_expanded, inner, user_data, keys, shared):
    from numba import types as t

    double = t.CPointer(t.double)
    function = _written(
        _EXPAND, "expand", inner, user_data, keys, shared, n_dim=n_dim, n_expanded=n_expanded
    )
    return function, t.int64(t.uint64, t.uint64, double, double, t.voidptr)


def _written(template: str, name: str, inner, user_data, keys, shared, **sizes):
    """The source of a callback for these data arrays, as a function."""
    import numba
    from nutpie.compile_pymc import address_as_void_pointer

    known = dict(
        numba=numba,
        np=np,
        inner=inner,
        record=user_data.dtype,
        pointer=address_as_void_pointer,
        **sizes,
    )
    lines = ["user = numba.carray(user_, (), record)['shared']"] if keys else []
    for i, key in enumerate(keys):
        known[f"type{i}"] = np.dtype(shared[key].dtype)
        shape = "".join(f"int(user['shape']['{key}'][{d}])," for d in range(shared[key].ndim))
        lines.append(f"a{i} = numba.carray(pointer(user['data']['{key}'][()]), ({shape}), type{i})")
    source = template.format(
        unpacked="\n".join(f"        {line}" for line in lines),
        arguments="".join(f", a{i}" for i in range(len(keys))),
    )
    exec(source, known)
    return known[name]

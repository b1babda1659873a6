"""Compilation of a PyMC model for nutpie, with shorter callbacks.

For every model nutpie compiles the log density and its gradient, and around them two C callbacks
that unpack the model's data and copy the results. In nutpie 0.16 numba spends more time on the
callbacks than on the density of a small model, mostly on the error message of an array assignment
that cannot fail. Here the same callbacks are generated with one line per data array and plain
loops. `benchmarks/results/callbacks.csv` has the seconds that this saves. With any other version of
nutpie its own callbacks are used.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import contextmanager

import numpy as np

#: Versions of nutpie whose callbacks these are equivalent to.
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
    """nutpie's compiled form of a ``pymc.Model``.

    Starting values are scattered around the medians of the prior: of all variables, or of those
    named in `scattered`.
    """
    import nutpie

    scatter = None if scattered is None else {model[name] for name in scattered}
    with _lock, _short_callbacks():
        return nutpie.compile_pymc_model(model, jitter_rvs=scatter)


@contextmanager
def _short_callbacks():
    import nutpie
    import nutpie.compile_pymc as inside

    if not nutpie.__version__.startswith(KNOWN_VERSIONS):
        yield
        return
    names = ("_make_c_logp_func", "_make_c_expand_func")
    originals = {name: getattr(inside, name) for name in names}
    inside._make_c_logp_func, inside._make_c_expand_func = _logp, _expand
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(inside, name, function)


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
    """A callback for these data arrays, from its source."""
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

"""A scaling law: a formula, priors of its parameters, and published constants."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from weakref import WeakValueDictionary

import numpy as np

from bayescale.errors import LawError, unknown
from bayescale.priors import Positive, Prior

#: Priors of an irreducible loss and two power laws, in units of the typical loss of the runs, as in
#: `chinchilla`. Text sweeps have a typical loss of 2.7 to 4.3 nats and floors of 1.3 to 2.0 nats:
#: shares of 0.4 to 0.7. Reducible loss at the centre of a sweep, 90 %: 0.04 to 0.55 of the loss.
#: Published exponents of text sweeps: 0.18 to 0.68.
TWO_POWERS: dict[str, Prior] = dict(
    E=Positive(0.55, spread=1.5, between=1.1, of="loss"),
    A=Positive(0.15, spread=2.2, between=1.2, of="loss"),
    B=Positive(0.15, spread=2.2, between=1.2, of="loss"),
    alpha=Positive(0.35, spread=1.5, between=1.1),
    beta=Positive(0.35, spread=1.5, between=1.1),
)

#: Names of other variables of a fitted model or its results. Parameters of laws and group columns
#: may not have these names. For a column N of the law, ``log_N`` and ``log_N_at_knots`` are also
#: reserved.
RESERVED = frozenset(
    {
        # dimensions
        *("chain", "draw", "run", "point", "budget", "knot", "cell"),
        # parameters of noise and drift, and what is sampled in place of amplitude and floor
        *("sigma", "nu", "trend", "memory", "drift", "log_level", "log_odds_of_floor"),
        # data of the PyMC model
        *(
            "observed_log_loss",
            "log_error",
            "loss_range",
            "previous",
            "gap",
            "increments",
            "member",
        ),
        # its priors, its likelihood, and predictions
        *("prior", "log_loss", "loss", "mean"),
    }
)
#: Endings of names that a model makes from a parameter or a group column: ``E_dataset_scale``.
RESERVED_ENDINGS = ("_scale", "_offset", "_index", "_prior", "__")

#: Laws that were pickled or unpickled in this process, by identifier. Unpickling must return the
#: same object, because compiled models are cached by the identity of their law.
_pickled: WeakValueDictionary[str, Law] = WeakValueDictionary()


@dataclass(frozen=True)
class Published:
    """A law's constants as a paper states them, in raw units (reference scales of 1).

    Parameters
    ----------
    label : str
        Name of the constants in legends.
    values : mapping of str to float
        One value per parameter of the law.
    reference : str
        The paper.

    Examples
    --------
    >>> mine = Published("Ours", dict(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37), "in prep.")
    >>> mine.values["alpha"]
    0.35
    """

    label: str
    values: Mapping[str, float]
    reference: str


class Formula:
    """A formula whose columns and parameters are named at run time.

    Parameters
    ----------
    function : callable
        ``function(columns, **parameters)``, with a sequence of columns; importable.
    columns, parameters : sequence of str

    Examples
    --------
    >>> total = Formula(lambda columns, *, A: A * sum(columns), ["x", "y"], ["A"])
    >>> str(inspect.signature(total)), total(1.0, 2.0, A=3.0)
    ('(x, y, *, A)', 9.0)
    """

    def __init__(self, function: Callable, columns, parameters):
        kinds = inspect.Parameter
        self.function = function
        self.__signature__ = inspect.Signature(
            [kinds(c, kinds.POSITIONAL_OR_KEYWORD) for c in columns]
            + [kinds(p, kinds.KEYWORD_ONLY) for p in parameters]
        )

    def __call__(self, *columns, **parameters):
        return self.function(columns, **parameters)


@dataclass(frozen=True, eq=False)
class Law:
    """A scaling law.

    The signature of the formula declares the law: positional arguments are columns of the table of
    runs, keyword-only arguments are parameters. Columns are divided by reference scales (the
    geometric means of the fitted runs) before the formula is evaluated. An amplitude is thus a
    reducible loss at the centre of the data. The same formula is evaluated on numpy arrays, xarray
    objects and PyTensor graphs. It may therefore use operators and unary numpy functions only;
    ``np.where``, ``np.maximum`` and ``np.logaddexp`` fail on graphs. `bayescale.testing.check_law`
    tests a new law.

    Parameters
    ----------
    name : str
        The name by which users and saved fits refer to it.
    loss : callable
        ``loss(N, D, *, E, A, ...)``; returns the loss in the unit of the runs.
    priors : mapping of str to Prior
        One per parameter, for the formula at reference scales.
    reference : str
        The paper.
    optimum : callable, optional
        ``optimum(ND, *, E, A, ...)``: the N that minimises the loss when N times D is `ND`, all in
        units of the reference scales. Without it, `bayescale.allocate` searches numerically.
    constants : callable, optional
        ``constants(N, D, *, E, A, ...)``: the constants in raw units that papers quote, as a dict,
        given the reference scales N and D.
    falling : tuple of str
        Columns in which the loss does not rise.
    poolable : tuple of str, optional
        Parameters that are pooled partially over groups by default; all if not given.
    known : tuple of str
        Parameters whose prior states what is known of any table, so that runs need not inform them.
    columns : tuple of str, optional
        Names of the columns; those of the formula's arguments if not given.
    published : mapping of str to Published
        Constants from the literature, by a short name.
    amplitude, floor : str, optional
        Parameters such that the loss is `floor` + `amplitude` times a function of the other
        parameters; `floor` may be omitted. Learning curves are sampled more efficiently if these
        are declared.
    units : mapping of str to str or float
        Reference scales that are not the geometric mean of the column: another column, in whose
        unit this one enters (``{"U": "D"}``, so that D / U is the number of epochs), or a number
        (``{"experts": 1}``, a column that enters as it is).
    settings : tuple of str
        Columns that are choices and not sizes, such as a learning rate. The scale of a run, along
        which drift and extrapolation are measured, is that of the other columns.
    regime : str
        What is scaled, in a few words: ``"repeated data"``.
    formula : str
        The formula as text.
    use : str
        When to use the law.

    Raises
    ------
    LawError
        If signature and priors do not match, or a name is reserved or unknown.

    Examples
    --------
    >>> from bayescale.priors import Positive
    >>> def loss(D, *, A, alpha):
    ...     return A * D**-alpha
    >>> law = Law("pure", loss, dict(A=Positive(3), alpha=Positive(0.1)), "example")
    >>> law.columns, law.parameters
    (('D',), ('A', 'alpha'))
    """

    name: str
    loss: Callable
    priors: Mapping[str, Prior]
    reference: str
    optimum: Callable | None = None
    constants: Callable | None = None
    falling: tuple[str, ...] = ()
    poolable: tuple[str, ...] | None = None
    known: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    published: Mapping[str, Published] = field(default_factory=dict)
    amplitude: str | None = None
    floor: str | None = None
    units: Mapping[str, str | float] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    regime: str = ""
    formula: str = ""
    use: str = ""

    def __post_init__(self):
        signature = inspect.signature(self.loss).parameters.values()
        arguments = tuple(p.name for p in signature if p.kind is not p.KEYWORD_ONLY)
        parameters = tuple(p.name for p in signature if p.kind is p.KEYWORD_ONLY)
        columns = arguments if self.columns is None else tuple(self.columns)
        poolable = parameters if self.poolable is None else tuple(self.poolable)
        problems = []
        if not arguments:
            problems.append("the formula takes no column: give it positional arguments, N, D, ...")
        if not parameters:
            problems.append("the formula has no parameters: declare them keyword-only, after a *")
        if len(columns) != len(arguments):
            problems.append(f"columns={columns} names {len(columns)} of {len(arguments)} arguments")
        if missing := set(parameters) - set(self.priors):
            problems.append(f"no prior for {', '.join(sorted(missing))}")
        if extra := set(self.priors) - set(parameters):
            problems.append(f"priors for {', '.join(sorted(extra))}, not taken by the formula")
        for name, prior in self.priors.items():
            if not isinstance(prior, Prior):
                problems.append(f"the prior of {name} is {prior!r}: use Positive, Fraction or Real")
        for what, names, valid in (
            ("falling", self.falling, columns),
            ("poolable", poolable, parameters),
            ("known", self.known, parameters),
            ("units", self.units, columns),
            ("units", [u for u in self.units.values() if isinstance(u, str)], columns),
            ("settings", self.settings, columns),
            ("amplitude and floor", {self.amplitude, self.floor} - {None}, parameters),
        ):
            if others := set(names) - set(valid):
                problems.append(f"{what} names {', '.join(sorted(others))}, not among {valid}")
        if columns and set(columns) <= set(self.settings):
            problems.append("all columns are settings: at least one must be a size")
        if self.floor and not self.amplitude:
            problems.append("a floor needs an amplitude above it")
        problems += [
            f"the prior of {name} must be Positive, as amplitude or floor"
            for name in (self.amplitude, self.floor)
            if name in self.priors and not isinstance(self.priors[name], Positive)
        ]
        for key, point in self.published.items():
            if set(point.values) != set(parameters):
                problems.append(f"published[{key!r}] must give exactly {', '.join(parameters)}")
        problems += filter(None, (_parameter_name_problem(p, columns) for p in parameters))
        if problems:
            raise LawError(problems, where=f"law {self.name!r}")
        frozen = dict(
            priors=MappingProxyType({p: self.priors[p] for p in parameters}),
            published=MappingProxyType(dict(self.published)),
            units=MappingProxyType(dict(self.units)),
            falling=tuple(self.falling),
            settings=tuple(self.settings),
            known=tuple(self.known),
            poolable=poolable,
            columns=columns,
        )
        for attribute, value in frozen.items():
            object.__setattr__(self, attribute, value)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the formula."""
        return tuple(self.priors)

    @property
    def allocates(self) -> bool:
        """Whether a budget can be split between the columns (there are both N and D)."""
        return set(self.columns) == {"N", "D"}

    @property
    def sizes(self) -> tuple[str, ...]:
        """The columns that measure the scale of a run: all that are not settings."""
        return tuple(c for c in self.columns if c not in self.settings)

    def log_scale(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Log scale of runs: the sum of the logs of the `sizes`.

        For a law of N and D this is log C up to a constant.
        """
        return sum(np.log(columns[c]) for c in self.sizes)

    def scales_of(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Reference scales for raw columns: their geometric means, or as `units` states."""
        means = {c: float(np.exp(np.log(columns[c]).mean())) for c in self.columns}
        return self.tied(means)

    def tied(self, scales: Mapping[str, float]) -> dict[str, float]:
        """Reference scales that agree with `units`, from one scale for each column."""
        units = {c: self.units.get(c, c) for c in self.columns}
        return {c: float(scales[u] if isinstance(u, str) else u) for c, u in units.items()}

    def __call__(self, columns: Mapping[str, object], scales: Mapping[str, float], parameters):
        """The loss at raw `columns`, given `parameters` at the reference `scales`.

        Parameters
        ----------
        columns, scales : mapping of str to array_like
            Raw values and reference scales, by column.
        parameters : mapping of str to array_like
            Values that broadcast against the columns.
        """
        scaled = (columns[c] / scales[c] for c in self.columns)
        return self.loss(*scaled, **{p: parameters[p] for p in self.parameters})

    def at(self, point: str, **columns):
        """The loss predicted by published constants, in the unit of the paper.

        Parameters
        ----------
        point : str
            A key of `published`.
        **columns : array_like
            Raw values of the law's columns (absolute counts).

        Raises
        ------
        LawError
            If the law has no such point; the message lists its points.

        Examples
        --------
        >>> from bayescale.laws import chinchilla
        >>> round(float(chinchilla.at("besiroglu2024", N=70e9, D=1.4e12)), 3)
        1.974
        """
        if point not in self.published:
            raise LawError(
                unknown("published point", point, self.published), where=f"law {self.name!r}"
            )
        raw = {c: np.asarray(columns[c], dtype=float) for c in self.columns}
        return self(raw, dict.fromkeys(self.columns, 1.0), self.published[point].values)

    def with_priors(self, **priors: Prior) -> Law:
        """The same law with other priors for some parameters.

        Examples
        --------
        >>> from bayescale.laws import power
        >>> power.with_priors(alpha=Positive(0.2)).priors["alpha"].median
        0.2
        """
        return replace(self, priors={**self.priors, **priors})

    def on(self, column: str) -> Law:
        """The same one-column law as a function of another column.

        Repeated calls return the same object.

        Examples
        --------
        >>> from bayescale.laws import power
        >>> power.on("D").name
        'power(D)'
        """
        if len(self.columns) != 1:
            raise LawError(
                f"law {self.name!r} has the columns {self.columns}: only a law of one "
                "column can be used with another"
            )
        if column not in self._along:
            base = self.name.split("(")[0]
            falling = (column,) if self.falling else ()
            self._along[column] = replace(
                self, name=f"{base}({column})", columns=(column,), falling=falling
            )
        return self._along[column]

    @cached_property
    def _along(self) -> dict[str, Law]:
        return {}

    @cached_property
    def _identifier(self) -> str:
        return uuid.uuid4().hex

    def __reduce__(self):
        # The functions must be importable. Unpickling twice in one process gives one object.
        _pickled[self._identifier] = self
        state = {f.name: getattr(self, f.name) for f in fields(self)}
        state |= {name: dict(state[name]) for name in ("priors", "published", "units")}
        return _unpickled, (self._identifier, state)

    def __repr__(self) -> str:
        inside = ", ".join((*self.columns, "*", *self.parameters))
        return f"<Law {self.name}: loss({inside}); {self.reference}>"


def group_name_problem(law: Law, group: str) -> str | None:
    """Why a group column of that name cannot be used with a law; None if it can.

    Examples
    --------
    >>> from bayescale.laws import chinchilla
    >>> group_name_problem(chinchilla, "dataset") is None
    True
    >>> group_name_problem(chinchilla, "prior")
    "the group column name 'prior' is reserved, because a fitted model uses it: rename it"
    """
    reason = _why_reserved(group, law.columns)
    if group in law.parameters:
        reason = "it is a parameter of the law"
    elif combined := next((p for p in law.parameters if p.endswith(f"_{group}")), None):
        stem = combined.removesuffix(f"_{group}")
        if stem in law.parameters or stem in RESERVED:
            reason = f"the values of {stem} by group would be called {combined}, a parameter's name"
    return reason and f"the group column name {group!r} is reserved, because {reason}: rename it"


def _parameter_name_problem(name: str, columns: tuple[str, ...]) -> str | None:
    reason = _why_reserved(name, columns)
    if name.endswith(RESERVED_ENDINGS):
        endings = ", ".join(RESERVED_ENDINGS)
        reason = f"a fitted model gives names that end in {endings} to its own variables"
    return reason and f"the parameter name {name!r} is reserved, because {reason}: rename it"


def _why_reserved(name: str, columns: tuple[str, ...]) -> str | None:
    if name in columns:
        return "it is a column of the law"
    of_columns = {f"log_{c}{ending}" for c in columns for ending in ("", "_at_knots")}
    return "a fitted model uses it" if name in RESERVED or name in of_columns else None


def _unpickled(identifier: str, state: Mapping[str, object]) -> Law:
    """The law that was pickled; one object per process."""
    law = _pickled.get(identifier)
    if law is None:
        law = Law(**state)
        law.__dict__["_identifier"] = identifier
    return _pickled.setdefault(identifier, law)

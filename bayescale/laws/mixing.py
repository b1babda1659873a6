"""Mixtures of training data: the loss on one domain as a function of the shares of all domains.

Ye et al. 2024, arXiv:2403.16952, and a power of effective tokens, of which Ye et al. is a limit.
The loss of models of equal size on a domain that has a tenth, half and nine tenths of the mixture:

>>> law = mixing_law(["web", "code"])
>>> values = dict(E=1.5, B=0.5, K=0.6, beta=0.3, t_web=-2.0, t_code=0.0)
>>> columns = share_columns({"web": [0.1, 0.5, 0.9], "code": [0.9, 0.5, 0.1]})
>>> law.loss(1.0, *columns.values(), **values).round(2).tolist()
[3.34, 2.6, 2.27]
"""

import numpy as np

from bayescale.laws.base import Formula, Law
from bayescale.priors import Positive, Real

#: Columns of a law must be positive, and shares may be zero.
PREFIX = "one_plus_"
#: Shares of one mixture may differ from a sum of 1 by rounding.
ROUNDING = 0.01


def _identifier(name):
    return "".join(c if c.isalnum() else "_" for c in str(name))


def loss(columns, *, E, B, K, beta, **t):
    """`K` is the part of the loss that depends on the mixture, at equal shares."""
    N, *shares = columns
    pairs = zip(t.values(), shares, strict=True)
    exponent = sum(slope * (x - 1 - 1 / len(shares)) for slope, x in pairs)
    return E + B * N**-beta + K * np.exp(exponent)


def transfer(columns, *, E, B, K, beta, gamma, **w):
    """A token of domain i is worth ``w_i`` tokens of the domain of the loss, up to a factor. `K` is
    the part of the loss that depends on the mixture, at equal shares."""
    N, *shares = columns
    worth = sum(weight * (x - 1) for weight, x in zip(w.values(), shares, strict=True))
    return E + B * N**-beta + K * (worth * len(shares) / sum(w.values())) ** -gamma


def constants(columns, *, B, beta, **others):
    return {"B": B * columns[0] ** beta}


def mixing_law(domains, *, form="exponential", name=None):
    """The law of a mixture of domains.

    Parameters
    ----------
    domains : sequence of str
        Names of the columns with the shares; at least two.
    form : {"exponential", "transfer"}
        ``"exponential"``: the law of Ye et al. 2024, with a power of the size of the model.
        ``"transfer"``: a power of effective tokens, to which each domain contributes with a weight.
        For large ``gamma`` and nearly equal weights it is the exponential form.
    name : str, optional
        The name of the law; ``mixing_of_3`` or ``mixing_transfer_of_3`` by default for three
        domains.

    Returns
    -------
    Law
        Its columns are ``N`` and 1 plus each share, ``one_plus_web``; see `share_columns`.
        ``t_web`` is the change of the log of the part of the loss that depends on the mixture, per
        unit of share of ``web``. A constant that is added to all of them is equivalent to another
        ``K``. With ``"transfer"`` only ratios of the weights ``w_web``, ... are determined.

    Raises
    ------
    ValueError
        If there are fewer than two domains, or two of one name, or no such form.

    Examples
    --------
    >>> mixing_law(["web", "code"]).columns
    ('N', 'one_plus_web', 'one_plus_code')
    """
    names = [_identifier(d) for d in domains]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError("domains: name at least two columns of shares, each once")
    if form not in ("exponential", "transfer"):
        raise ValueError(f"form is {form!r}: it may be 'exponential' or 'transfer'")
    columns = ("N", *(f"{PREFIX}{n}" for n in names))
    shares = columns[1:]
    priors = dict(
        # In units of the typical loss of the runs: the limit near that of `chinchilla`, and the
        # rest divided between size and mixture.
        E=Positive(0.55, spread=1.5, between=1.1, of="loss"),
        B=Positive(0.15, spread=2.2, between=1.2, of="loss"),
        # Small where the domain itself has a steep slope.
        K=Positive(0.1, spread=4.0, between=1.2, of="loss"),
        beta=Positive(0.35, spread=1.5, between=1.1),
    )
    if form == "exponential":
        # The slopes of a domain's own share are -15 to -3 on the table of Ye et al.
        priors |= {f"t_{n}": Real(0.0, sd=5.0) for n in names}
        own = dict(
            name=name or f"mixing_of_{len(names)}",
            reference="Ye et al. 2024, arXiv:2403.16952, with a power of N",
            formula="E + B * N**-beta + K * exp(x)  with  x = "
            + " + ".join(f"t_{n} * ({PREFIX}{n} - 1 - 1/{len(names)})" for n in names),
            use="The loss on one domain as a function of the shares of all domains in the training "
            "data, here of two. `bs.fit_domains` makes the law of your domains and fits the losses "
            f"on all of them. The column `{PREFIX}web` is 1 plus the share of `web`.",
        )
    else:
        priors |= {"gamma": Positive(0.5, spread=3.0)}
        priors |= {f"w_{n}": Positive(1.0, spread=6.0) for n in names}
        total = " + ".join(f"w_{n}" for n in names)
        own = dict(
            name=name or f"mixing_transfer_of_{len(names)}",
            reference="effective tokens, as in Hernandez et al. 2021, arXiv:2102.01293",
            formula=f"E + B * N**-beta + K * (d * {len(names)} / ({total}))**-gamma  with  d = "
            + " + ".join(f"w_{n} * ({PREFIX}{n} - 1)" for n in names),
            use="As `mixing`, but a token of each domain counts as w effective tokens, up to a "
            "common factor. The loss rises more steeply where the share of the domain that is "
            'tested approaches zero. Use `bs.fit_domains(..., form="transfer")`.',
        )
    return Law(
        loss=Formula(loss if form == "exponential" else transfer, columns, tuple(priors)),
        constants=Formula(constants, columns, tuple(priors)),
        priors=priors,
        falling=("N",),
        units=dict.fromkeys(shares, 1),
        settings=shares,
        regime="mixture of data",
        **own,
    )


def share_columns(table):
    """The columns of `mixing_law` from shares: 1 plus each of them.

    Parameters
    ----------
    table : mapping of str to array_like
        The shares of each domain; dims (run,).

    Returns
    -------
    dict of str to numpy.ndarray

    Raises
    ------
    ValueError
        If a share is not between 0 and 1, or shares do not sum to 1 up to rounding. The message
        names the rows, counted from 0.
    """
    values = {str(name): np.asarray(column, float) for name, column in table.items()}
    shares = np.stack([np.atleast_1d(v) for v in values.values()])
    outside = ~((shares >= 0) & (shares <= 1)).all(axis=0)
    total = shares.sum(axis=0)
    wrong = ~outside & ~(np.abs(total - 1) <= ROUNDING)
    problems = []
    if outside.any():
        problems.append(f"a share is not a number between 0 and 1 in {_rows(outside)}")
    if wrong.any():
        problems.append(f"the shares sum to {total[wrong][0]:.3g}, not 1, in {_rows(wrong)}")
    if problems:
        raise ValueError(f"{'; '.join(problems)}: correct them, or name all domains of the mixture")
    return {f"{PREFIX}{_identifier(name)}": 1 + column / total for name, column in values.items()}


mixing = mixing_law(("share_1", "share_2"), name="mixing")
mixing_transfer = mixing_law(("share_1", "share_2"), form="transfer", name="mixing_transfer")


def _rows(bad: np.ndarray) -> str:
    """Rows in words, at most eight: ``rows 0, 4``."""
    listed = ", ".join(map(str, np.flatnonzero(bad)[:8]))
    return f"{'rows' if bad.sum() > 1 else 'row'} {listed}"

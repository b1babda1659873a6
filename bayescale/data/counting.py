"""Conventions for counting parameters and training FLOP.

Much of the difference between Kaplan et al. (N* ~ C^0.73) and Hoffmann et al. (N* ~ C^0.5) is due
to different conventions (Pearce & Song 2024, arXiv:2406.12907; Porian et al. 2024,
arXiv:2406.19146).
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayescale.errors import RunsError, unknown
from bayescale.units import FLOP_PER_PARAMETER_TOKEN, counted

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PARAMETERS = ("non_embedding", "with_head", "total")
FLOPS = ("6N", "kaplan", "deepseek", "full")

#: N total = N non-embedding + OMEGA (N non-embedding)^(1/3), over Hoffmann's configurations (Pearce
#: & Song 2024).
OMEGA = 47491.0


@dataclass(frozen=True)
class Count:
    """Parameters of decoder-only transformers and their training FLOP per token.

    Attributes
    ----------
    non_embedding : numpy.ndarray
        Weights of the layers only (Kaplan et al. 2020, arXiv:2001.08361).
    with_head : numpy.ndarray
        The layers and the output head, the weights used in multiplications (Porian et al. 2024).
    total : numpy.ndarray
        The layers, the output head, and the embeddings unless they are tied to the head.
    attention : numpy.ndarray
        Layers x context x width: multiplications per token in attention over half the context (the
        average under a causal mask).
    """

    non_embedding: np.ndarray
    with_head: np.ndarray
    total: np.ndarray
    attention: np.ndarray

    def parameters(self, convention: str) -> np.ndarray:
        """Parameters by a convention: ``"non_embedding"``, ``"with_head"`` or ``"total"``."""
        if convention not in PARAMETERS:
            raise RunsError(unknown("way to count parameters", convention, PARAMETERS))
        return getattr(self, convention)

    def flop_per_token(self, convention: str = "6N", parameters: str = "total") -> np.ndarray:
        """Training FLOP per token: three times those of the forward pass.

        Parameters
        ----------
        convention : {"6N", "kaplan", "deepseek", "full"}
            ``"6N"``: six per parameter, counted by the convention `parameters`. ``"kaplan"``: six
            per non-embedding parameter, plus attention over half the context on average, 6 x layers
            x context x width (arXiv:2001.08361, section 2.1). ``"deepseek"``: the same with
            attention over the whole context, 12 x layers x context x width (arXiv:2401.02954).
            ``"full"``: as ``"deepseek"``, plus the output head (Hoffmann et al. 2022,
            arXiv:2203.15556, appendix F, without the softmax and without the look-up of embeddings,
            which needs no multiplications).
        parameters : {"non_embedding", "with_head", "total"}
            The parameters that ``"6N"`` counts.
        """
        if convention == "6N":
            return FLOP_PER_PARAMETER_TOKEN * self.parameters(parameters)
        of_layers = FLOP_PER_PARAMETER_TOKEN * self.non_embedding
        if convention == "kaplan":
            return of_layers + 6 * self.attention
        if convention == "deepseek":
            return of_layers + 12 * self.attention
        if convention == "full":
            return FLOP_PER_PARAMETER_TOKEN * self.with_head + 12 * self.attention
        raise RunsError(unknown("way to count FLOP", convention, FLOPS))


def count(
    width: ArrayLike,
    depth: ArrayLike,
    vocab: ArrayLike,
    *,
    context: ArrayLike = 2048,
    feed_forward: ArrayLike | None = None,
    tied: bool = False,
) -> Count:
    """Count the parameters of decoder-only transformers.

    Parameters
    ----------
    width, depth, vocab : int or array_like
        Model dimension, number of layers, size of the vocabulary.
    context : int or array_like
        Number of tokens in a sequence.
    feed_forward : int or array_like, optional
        Inner dimension of the feed-forward blocks (two matrices); 4 x width if not given. For a
        gated block (three matrices) give 1.5 times its inner dimension.
    tied : bool
        Whether embeddings and output head share one matrix.

    Returns
    -------
    Count

    Raises
    ------
    RunsError
        If a size is not positive and finite.

    Examples
    --------
    >>> gpt2 = count(width=768, depth=12, vocab=50257, context=1024, tied=True)
    >>> int(gpt2.non_embedding), int(gpt2.total)
    (84934656, 123532032)
    >>> round(float(gpt2.flop_per_token("full") / gpt2.flop_per_token("kaplan")), 2)
    1.51
    """
    sizes = dict(width=width, depth=depth, vocab=vocab, context=context)
    sizes["feed_forward"] = 4 * np.asarray(width, float) if feed_forward is None else feed_forward
    derived = ("feed_forward",) if feed_forward is None else ()
    sizes = {k: np.asarray(v, dtype=float) for k, v in sizes.items()}
    if wrong := [
        k for k, v in sizes.items() if k not in derived and not (np.isfinite(v) & (v > 0)).all()
    ]:
        raise RunsError([f"{k} must be positive and finite" for k in wrong], where="count")
    width, depth, vocab, context, inner = sizes.values()
    layers = depth * (4 * width**2 + 2 * width * inner)
    head = vocab * width
    return Count(layers, layers + head, layers + head * (1 if tied else 2), depth * context * width)


def restated(frame: pd.DataFrame, mapping, parameters: str, flops: str, sizes):
    """Replace N and C of a table of runs by counts under another convention.

    `sizes` are keywords of `count`, each a number or the name of a column. Returns the table, the
    mapping from quantity to source, the convention in words, and notes.
    """
    sizes = {"width": "width", "depth": "depth", "vocab": None, **sizes}
    problems = []
    if "D" not in frame:
        problems.append("these runs have no tokens D, without which C cannot be restated")
    if parameters not in PARAMETERS and parameters not in frame:
        problems.append(unknown("way to count parameters, or column,", parameters, PARAMETERS))
    if flops not in FLOPS:
        problems.append(unknown("way to count FLOP", flops, FLOPS))
    needed = parameters in PARAMETERS or flops != "6N"
    if parameters == "non_embedding" and flops != "full":
        sizes = {**sizes, "vocab": 1}  # none of these counts depends on it
    values, keywords = {}, inspect.signature(count).parameters
    problems += [unknown("size", name, keywords) for name in sizes if name not in keywords]
    for name, given in sizes.items() if needed else ():
        if isinstance(given, str) and given not in frame:
            problems.append(f"{name}: {unknown('column', given, frame.columns)} Or give a number.")
        elif given is None and name == "vocab":
            problems.append("vocab is needed: a number, or the name of a column")
        elif given is not None:
            values[name] = frame[given].to_numpy(float) if isinstance(given, str) else given
    if problems:
        raise RunsError(problems, where="recount")
    shape = count(**values) if needed else None
    N = (
        frame[parameters].to_numpy(float)
        if parameters not in PARAMETERS
        else shape.parameters(parameters)
    )
    per_token = FLOP_PER_PARAMETER_TOKEN * N if flops == "6N" else shape.flop_per_token(flops)
    if (wrong := ~(np.isfinite(N) & (N > 0))).any():
        raise RunsError(
            f"{parameters!r} is not a positive count in {counted(int(wrong.sum()), 'row')}, the "
            f"first is {frame.index[wrong][0]}",
            where="recount",
        )
    counted_as = {
        "non_embedding": "without embeddings",
        "with_head": "with the head, without embeddings",
        "total": "with embeddings and head",
    }.get(parameters, f"as in {parameters!r}")
    C_formula = "6ND" if flops == "6N" else f"D times FLOP per token as {flops!r} counts them"
    sources = {**mapping, "N": parameters}
    if flops == "6N":
        sources.pop("C", None)
    else:
        sources |= {"D": mapping.get("D", "D"), "C": flops}
    return (
        frame.assign(N=N, C=per_token * frame["D"]),
        sources,
        f"N is counted {counted_as}, C = {C_formula}",
        uneven(per_token / N),
    )


def uneven(per_parameter: np.ndarray) -> list[str]:
    """A note on the meaning of budgets if FLOP per parameter and token differ between runs."""
    low, high = float(per_parameter.min()), float(per_parameter.max())
    if high < 1.05 * low:
        return []
    return [
        f"C / (N D) varies from {low:.3g} to {high:.3g} between runs: forecasts and allocations "
        f"for a budget use the median, C = {np.median(per_parameter):.3g} N D; exponents of laws "
        "in N and D do not depend on it"
    ]


def total_of(non_embedding: ArrayLike, omega: float = OMEGA) -> ArrayLike:
    """Total parameters of Hoffmann-like models from those without embeddings.

    Parameters
    ----------
    non_embedding : float or array_like
    omega : float
        Pearce & Song 2024, arXiv:2406.12907, section 3.

    Examples
    --------
    >>> round(float(total_of(1e9)) / 1e9, 3)
    1.047
    """
    return non_embedding + omega * non_embedding ** (1 / 3)


def local_exponent(
    alpha: ArrayLike, beta: ArrayLike, non_embedding: ArrayLike, omega: float = OMEGA
) -> np.ndarray:
    """The local exponent a of N* ~ C^a if embeddings are not counted.

    The loss is that of Hoffmann et al., L = E + A N^-alpha + B D^-beta in total parameters. Budgets
    C = 6ND and sizes are counted without embeddings, as in Kaplan et al. 2020. N*(C) is then not a
    power law, and its exponent depends on the size.

    Parameters
    ----------
    alpha, beta : float or array_like
        Exponents of the law, such as posterior draws.
    non_embedding : float or array_like
        Parameters without embeddings at which the exponent is evaluated.
    omega : float
        As in `total_of`.

    Returns
    -------
    numpy.ndarray
        The exponent is beta / (alpha / 3 + beta) for the smallest models and beta / (alpha + beta)
        for the largest. Between them it has a maximum near 1M parameters, above which embeddings
        are no longer most of the parameters.

    Notes
    -----
    Let s = d log N_total / d log N. The optimal N for a budget satisfies alpha A N_total^-alpha s =
    beta B D^-beta. The derivative of the logarithm of this equation with respect to log C gives
    a = beta / (alpha s + beta - d log s / d log N). Pearce & Song 2024, arXiv:2406.12907,
    section 3.

    Examples
    --------
    >>> [round(float(local_exponent(0.35, 0.37, n)), 2) for n in (1e4, 1e6, 1e8, 1e10)]
    [0.78, 0.96, 0.61, 0.52]
    """
    N = np.asarray(non_embedding, float)
    embedding = omega * N ** (1 / 3)
    s = (N + embedding / 3) / (N + embedding)
    ds_dlogN = (N + embedding / 9) / (N + embedding) - s**2
    return beta / (alpha * s + beta - ds_dlogN / s)

"""Recognition of column names: the quantity and the unit that a name states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from bayescale.data.numerals import unit_factor

MEANING = {
    "N": "N (parameters)",
    "D": "D (tokens)",
    "C": "C (training FLOP)",
    "loss": "the loss",
    "loss_sd": "the standard error of the loss",
    "loss_lower": "the lower 95 % bound of the loss",
    "loss_upper": "the upper 95 % bound of the loss",
    "series": "the series of checkpoints",
}
#: Quantities that are recognised by `recognise`; `bayescale.data.extras` adds further ones.
RECOGNISED = tuple(MEANING)
#: Usual names, as messages show them: in lower case without spaces and punctuation.
USUAL = {
    "N": ("n", "params", "parameters", "nparams", "numparams", "modelsize", "paramcount"),
    "D": ("d", "tokens", "ntokens", "trainingtokens", "tokensseen", "examples", "samples"),
    "C": ("c", "flops", "flop", "compute", "trainingflops", "trainingcompute", "totalflops"),
    "loss": ("loss", "l", "valloss", "validationloss", "testloss", "evalloss", "crossentropy"),
}
_UNIT = (
    r"(?:in)?(?:k|m|mn|mio|b|bn|g|t|thousands?|millions?|billions?|trillions?|mega|giga|tera|mrd"
    r"|x?1?e\d{1,2}|10\^\d{1,2})"
)
_FLOP_PREFIX = r"(?:kilo|mega|giga|tera|peta|exa|zetta|yotta|[kmgtpezy])"
_PF_DAYS = r"(?:p|peta)(?:flops?|fs?)?s?days?"
_OF_N = r"(?:n|num|number|of|total|model|config|cfg|trainable|frozen|all|count|non|dense)"
_OF_D = (
    r"(?:n|num|number|of|total|train|training|trained|pretraining|pretrain|seen|cumulative|input"
    r"|processed|consumed|all|dataset|data|count|target|the)"
)
_OF_C = r"(?:n|num|total|train|training|pretraining|cumulative|model|estimated|est|used|the)"
#: By quantity: pairs of a pattern of the compact name and a rank. Lower ranks are preferred.
_COUNTS = {
    "N": (
        (rf"{_OF_N}*(?:params?|parameters?)(?:count|total|trainable|all)?", 0),
        (r"(?:n|modelsize|sizeofmodel|networksize|model_?params)", 0),
        (rf"{_OF_N}*active(?:d)?(?:params?|parameters?)", 0),
        (rf"{_OF_N}*(?:params?|parameters?)active(?:d)?", 0),
        (
            rf"{_OF_N}*(?:params?|parameters?)?(?:nonembedding|nonemb|noemb)"
            r"(?:params?|parameters?)?",
            1,
        ),
    ),
    "D": (
        (r"trainsamples", 2),
        (rf"{_OF_D}*(?:tokens?|toks?)(?:seen|total|trained|processed|consumed|count)?", 0),
        (rf"{_OF_D}*(?:samples|examples|images|datapoints)(?:seen|count)?", 0),
        (r"d", 0),
        (rf"{_OF_D}*(?:set|corpus)size|datasize", 2),
    ),
    "C": (
        (rf"{_OF_C}*(?:(?:compute)?flops?|flos|compute|floppb)(?:total|used|budget|count)?", 0),
        (r"c", 0),
    ),
}
_OTHER = {
    "loss_sd": ("losssd", "lossstd", "lossse", "lossstderr", "lossuncertainty"),
    "loss_lower": ("losslower95", "losslower", "losslow95", "losslow", "losslo"),
    "loss_upper": ("lossupper95", "lossupper", "losshigh95", "losshigh", "losshi"),
    "series": ("series",),
}
#: Names that state the size of a file, and costs that are not FLOP.
_BYTES = re.compile(r"\b(?:[kmgt]i?b|[kmgt]?bytes?)\b|(?<=_)(?:[kmgt]i?b|bytes)$")
_OF_MONEY = re.compile(r"\b[gt]pu\b|hours?\b|\bhrs?\b|\busd\b|\beur\b|[$€]|dollars?|\b[kmg]?wh\b")
_NOT_ALL = re.compile(
    r"^\s*(?:token |input |output |only )?emb\w*(?: only| layers?)?\s*$|\bsteps?\b|\biter\w*"
    r"|\bepochs?\b"
)
#: Names whose brackets tell what they count, such as ``Data (B tokens)`` and ``Size (M params)``.
_COUNTED = (
    ("D", re.compile(r"tok"), re.compile(r"data|corpus|train|seen|budget")),
    ("N", re.compile(r"param"), re.compile(r"size|model|scale")),
)
_RATIO = re.compile(r"\s*[ndc]\s*[/:]\s*[ndc]\s*")
#: Last parts of paths that say nothing about the quantity.
_PLAIN_PARTS = frozenset(("value", "last", "final", "latest", "mean", "avg"))
_RATE = re.compile(
    r"/\s*(?:s|secs?|seconds?|min|minutes?|h|hours?|day|gpu|device|chip|steps?|iter\w*|batch"
    r"|forward|fwd)\b"
    r"|(?:flops?|toks?|tokens?|samples?)\s*/\s*(?:tok|tokens?|samples?|images?|param\w*)\b"
    r"|(?<!hy)per[_\s-]*(?:s|secs?|seconds?|minute|hour|day|gpu|device|chip|steps?|iter\w*|batch"
    r"|forward|fwd|tok|tokens?|samples?|images?|param\w*)(?:\b|_)"
    r"|throughput(?!/)|\bmfu\b|\bhfu\b|\btps\b|_ps\b"
)
_NOT_COUNTS = re.compile(
    r"unique|batch|context|vocab|forward|fwd|inference|max_?len|valid|\bval\b|\btest|\beval"
    r"|embedding_(?:params|parameters)|lr|rate"
)
#: Words in a name that show that the column is not a mean loss.
_NOT_LOSS = frozenset(
    [
        "sum",
        "total",
        "aux",
        "auxiliary",
        "z",
        "router",
        "routing",
        "balance",
        "balancing",
        "load",
        "weight",
        "weights",
        "scale",
        "scaling",
        "threshold",
        "curve",
        "spike",
        "delta",
        "diff",
        "grad",
        "kl",
        "initial",
        "init",
        "std",
        "sd",
        "se",
        "stderr",
        "var",
        "ema_decay",
        "fn",
        "function",
        "type",
        "name",
        "reduction",
        "lower",
        "upper",
        "max",
        "excess",
        "reducible",
        "irreducible",
        "relative",
        "rel",
        "normalized",
        "normalised",
        "ratio",
        "δ",
        "improvement",
        "reduction",
        "gap",
        "predicted",
        "pred",
        "fitted",
        "fit",
        "residual",
        "tokens",
        "count",
        "id",
        "reward",
        "entropyreg",
    ]
)
_TRAINING = frozenset(["train", "training", "trn"])
_PLAIN = frozenset(
    [
        "val",
        "valid",
        "validation",
        "eval",
        "evaluation",
        "test",
        "dev",
        "held",
        "heldout",
        "holdout",
        "out",
        "final",
        "last",
        "best",
        "lm",
        "mean",
        "avg",
        "average",
        "the",
        "model",
        "min",
        "smoothed",
        "value",
        "metrics",
        "summary",
        "subset",
        "context",
        "actual",
        "observed",
        "measured",
    ]
)
_LOSS = re.compile(
    r"(neg(?:ative)?_?log_?lik(?:elihood)?|cross_?entropy_?loss|cross_?entropy|ce_?loss|nll_?loss|\bnll\b|\bxent\b|\bce\b"
    r"|bits?_?per_?bytes?|\bbpb\b|bits?_?per_?char(?:acter)?s?|\bbpc\b|bits?_?per_?tokens?|\bbpt\b"
    r"|perplexity|perplexities|\bppl\b|\bmse\b|error_?rate|top_?1_?error|\berror\b|\bloss\b"
    r"|\blosses\b|\bwer\b)"
)
_UNITS_OF_LOSS = (
    (r"\bbpb\b", "bits per byte"),
    (r"\bbpt\b", "bits per token"),
    (r"\bbpc\b", "bits per character"),
    (r"perplexit|\bppl\b", "perplexity"),
    (r"\bnats?\b|nats?per", "nats"),
    (r"(?<!\d)(?<!\d )\bbits?\b|bits?per", "bits"),
    (r"error_?rate|top_?1_?error|\berror\b|\bwer\b", "error rate"),
    (r"\bmse\b|mean_?squared", "mean squared error"),
)
#: Why a column such as ``val_ppl_loss`` is not read without a question.
PERPLEXITY_OR_LOSS = "a perplexity or a loss"
#: What a loss is per, where its name says so; a perplexity is of these too.
_PER = re.compile(
    r"(?:per|/)[_ /-]*(token|tok|byte|char|word)|\b(byte|char|word)\w*_?(?:level)?[_ ]"
)
_EACH = {"tok": "token", "char": "character"}
#: A logarithm of a loss. A ``log_loss`` is a cross-entropy.
_LOGARITHM = re.compile(r"(?<![a-z])(log_?10|log_?2|ln|log)(?=[_ (\-]|perp|ppl)")


@dataclass(frozen=True)
class Reading:
    """The quantity and the unit that the name of a column states.

    Attributes
    ----------
    quantity : str or None
        ``"N"``, ``"D"``, ``"C"``, ``"loss"``, ...; None if the name is none of these.
    rank : float
        Candidates of lower rank are preferred.
    factor : Decimal
        The unit in the name.
    unit : str
        The unit as it is written; for losses its name, such as ``"bits per byte"``.
    kind : str
        For N ``"active"`` or ``"non-embedding"``; for C ``"bare"`` if only a unit such as GFLOP is
        named; for losses ``"training"``.
    refusal : str
        Why a name that looks like a quantity is not read as one.
    """

    quantity: str | None = None
    rank: float = 0
    factor: Decimal = Decimal(1)
    unit: str = ""
    kind: str = ""
    refusal: str = ""


def compact(name: str) -> str:
    """A name in lower case without spaces and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def names_loss(name: str) -> bool:
    """Whether a name has a word for a loss."""
    return _LOSS.search(name.lower()) is not None


def recognise(name: str) -> Reading:
    """Read the name of a column.

    Examples
    --------
    >>> recognise("params (M)").quantity, str(recognise("params (M)").factor)
    ('N', '1000000')
    >>> recognise("tokens/s").refusal
    'a rate'
    """
    if (word := re.sub(r"[\W_]", "", name.lower())) in ("l", "loss"):
        return Reading("loss", kind="letter" if word == "l" else "")
    if re.fullmatch(r"(?:log_?10|log_?2|log|ln)[\s_(]+l[\s)]*", name.lower()):
        return Reading(refusal="a logarithm")
    for quantity, spellings in _OTHER.items():
        if compact(name) in spellings:
            return Reading(quantity)
    if (loss := _loss(name)) is not None:
        return loss
    return _count(name)


def _parts(name: str) -> tuple[list[str], str, str]:
    """The last part of a path-like name in several lengths, the unit in brackets, and the path."""
    brackets = re.findall(r"[(\[]([^)\]]*)[)\]]", name)
    plain = re.sub(r"[(\[][^)\]]*[)\]]", " ", name).strip()
    if not brackets and (match := re.match(r"^(.*?),\s*([^,]+)$", plain)) and unit_factor(match[2]):
        plain, brackets = match[1], [match[2]]
    pieces = [p for p in re.split(r"[/.:|]", plain) if p.strip()]
    while len(pieces) > 1 and pieces[-1].strip().lower() in _PLAIN_PARTS:
        pieces.pop()
    last = pieces[-1] if pieces else plain
    return [plain, last], " ".join(brackets), "/".join(pieces[:-1]).lower()


def _count(name: str) -> Reading:
    name = re.sub(r"(?i)(flops?)\s*/\s*s[\s_-]*days?", r"\1-days", name)
    forms, bracket, _ = _parts(name)
    # The unit may follow a comma in the brackets.
    parts = [bracket, *reversed(bracket.split(","))]
    bracket = next((p for p in parts if unit_factor(p) not in (None, 1)), bracket)
    lower = name.lower()
    if _RATE.search(lower) and re.search(r"flop|tok|sample|image|param", lower):
        return Reading(refusal="a rate")
    if _RATIO.fullmatch(lower):
        return Reading(refusal="a ratio")
    for form in forms:
        for quantity, found in _matches(form, bracket):
            if _BYTES.search(lower):
                return Reading(refusal="in bytes")
            if quantity == "C" and _OF_MONEY.search(bracket.lower()):
                return Reading(refusal="not in FLOP")
            if _NOT_ALL.search(bracket.lower()) or lower in ("d_k", "d_v"):
                return Reading(refusal="not a total of the training run")
            if _NOT_COUNTS.search(re.sub(r"non.?emb\w*", "", lower)):
                return Reading(refusal="not a total of the training run")
            return Reading(quantity, *found)
    for quantity, noun, words in _COUNTED:
        factor = unit_factor(bracket) if noun.search(bracket.lower()) else None
        if factor is not None and words.search(lower) and not _NOT_COUNTS.search(lower):
            return Reading(quantity, 1, factor, bracket)
    return Reading()


def _matches(form: str, bracket: str):
    """The quantities whose pattern fits a name, with rank, factor, unit and kind."""
    word = compact(form.replace("^", "").replace("+", ""))
    outer = unit_factor(bracket) if bracket else None
    for quantity, patterns in _COUNTS.items():
        unit = (
            rf"{_UNIT}|{_PF_DAYS}|{_FLOP_PREFIX}flops?|{_FLOP_PREFIX}" if quantity == "C" else _UNIT
        )
        for pattern, rank in patterns:
            match = re.fullmatch(rf"({pattern})({unit})?", word)
            # One-letter names take a unit only after a separator or in brackets.
            if match and match[2] and len(match[1]) == 1:
                match = match if re.match(r"^\s*[a-zA-Z][\s_\-]", form) else None
            before = None if match else re.fullmatch(rf"({unit})({pattern})", word)
            before = before if before and len(before[2]) > 1 else None
            inside = None
            if not match and not before and quantity == "C":
                inside = re.fullmatch(rf"({_OF_C}*)({_FLOP_PREFIX})(flops?)", word)
            found = match or before or inside
            if not found:
                continue
            written = (match[2] if match else found[2] if inside else found[1]) or ""
            if inside:
                written += inside[3]
            factor = _factor(written, quantity)
            if factor is None:
                continue
            if quantity == "C" and re.fullmatch(_FLOP_PREFIX, written):
                written = f"{written.upper()}FLOP"
            if outer is not None and outer != 1:
                if factor != 1 and factor != outer:
                    continue
                factor, written = outer, bracket
            kind = ""
            if quantity == "N":
                kind = "active" if "active" in word else ""
                kind = kind or ("non-embedding" if rank == 1 else "")
            if quantity == "C":
                named = re.search("train|total|compute|cumulative|budget|used|day", word)
                kind = "bare" if not named and re.search("[mgt]|kilo", written.lower()) else ""
            yield quantity, (rank, factor, written.strip(), kind)
            return
    if re.fullmatch(_PF_DAYS, word):
        yield "C", (0, unit_factor("PF-days"), "PF-days", "")


def _factor(written: str, quantity: str) -> Decimal | None:
    if not written:
        return Decimal(1)
    if quantity == "C" and re.fullmatch(_FLOP_PREFIX, written) and written not in ("b",):
        return unit_factor(f"{written}flop")
    return unit_factor(written)


def _loss(name: str) -> Reading | None:
    """The reading of a name that holds a word for a loss, else None."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    lower = re.sub(r"[\s\-]+", "_", spaced.lower())
    loose = re.sub(r"[^\w%δ]+|_", " ", lower)
    tight = compact(name)
    found = _LOSS.search(loose.replace(" ", "_")) or _LOSS.search(loose)
    glued = None
    if not found:
        glued = re.fullmatch(
            r"(val|valid|validation|test|eval|final|train|training)?"
            r"(loss|ppl|perplexity|bpb|bpc|nll|crossentropy)",
            tight,
        )
        if not glued:
            return None
    word = found[0] if found else glued[2]
    words = set(loose.split())
    if glued:
        words = {glued[1] or "", glued[2]}
    if (lost := words & _NOT_LOSS) or "δ" in loose:
        return Reading(
            refusal="a sum over tokens or terms" if lost & {"sum", "total"} else "not a mean loss"
        )
    if re.search(r"/\s*s\b|per_?sec", lower):
        return Reading(refusal="a rate")
    unit = next((u for p, u in _UNITS_OF_LOSS if re.search(p, loose) or re.search(p, lower)), "")
    if unit == "perplexity" and "loss" in lower and not _LOGARITHM.search(spaced.lower()):
        return Reading(refusal=PERPLEXITY_OR_LOSS)
    if not unit and re.search(r"cross_?entropy|likelihood|\bnll|\bxent|\bce\b", word):
        unit = "nats"
    log = None if "lik" in word else _LOGARITHM.search(spaced.lower())
    if log and (log[1] != "log" or unit == "perplexity" or re.search(r"log *\(", name.lower())):
        if unit != "perplexity" or "10" in log[1]:
            return Reading(refusal="a logarithm")
        unit = "bits per token" if "2" in log[1] else "nats per token"
    if unit.split()[0:1] in (["nats"], ["bits"], ["perplexity"]) and (per := _PER.search(lower)):
        each = per[1] or per[2]
        unit = f"{unit.split()[0]} per {_EACH.get(each, each)}"
    factor = Decimal("0.01") if "%" in name or "percent" in lower else Decimal(1)
    if factor != 1 and not unit:
        unit = "error rate" if "error" in lower else unit
    rank = 0.0
    others = words - set(re.split("_| ", word)) - _PLAIN
    if words & _TRAINING:
        rank = 3.0
    elif {w for w in others if not re.fullmatch(r"nats?|bits?|per|tokens?|bytes?|\d+|ppl", w)}:
        rank = 1.0
    rank += {"perplexity": 0.5, "error rate": 0.6, "mean squared error": 0.2}.get(
        unit.partition(" per ")[0], 0.0
    )
    if unit.startswith("bits"):
        rank += 0.25
    return Reading("loss", rank, factor, unit, "training" if words & _TRAINING else "")

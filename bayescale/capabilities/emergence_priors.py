"""Priors of the curves of a task, and prior probabilities of their kinds.

All choices of `bayescale.emergence` that cannot be read from the data are in this file. They were
chosen with `benchmarks/emergence.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from bayescale.priors import Fraction, Positive, Prior, Real

#: Prior probability of each kind of accuracy curve. The kinds are those of
#: `bayescale.capabilities.emergence_models`. A break or drift changes a straight curve of log odds.
#: If these two are more probable than that curve, scores that tell little are called a departure:
#: with .16 and .22 against .18, as in an earlier version, 11 % of straight curves had
#: P(departure) > 0.5, and now 4 %. Of bends to 2.5 and 4 times the slope 76 and 76 % are found,
#: before 78 and 84 %. Public tasks depart more often than the prior says, with which false alarms
#: would be frequent (`benchmarks/emergence_choices.py`).
KINDS: dict[str, float] = {
    "unbroken": 0.33,
    "flattening": 0.18,
    "line": 0.09,
    "late": 0.07,
    "break": 0.14,
    "drift": 0.19,
}
#: Kinds of one smooth law, without a change.
SMOOTH_KINDS = ("unbroken", "flattening", "line")
#: Kinds whose slope changes by a factor, with the ratio of slopes that is reported. After a late
#: start there is no slope before the change. Intervals of losses that drift were too narrow.
CHANGES = ("break", "drift")
LOSS_CHANGES = ("break",)
#: The same for losses, which have one unbroken law and no late start. Drift is more probable than a
#: break, because curves that drift are easily taken for broken ones, and hardly the reverse. With
#: P(departure) = 0.2 one straight curve in sixty has P(departure) > 0.5, with 0.3 one in thirty.
#: Bends that become steeper are found as often.
LOSS_KINDS: dict[str, float] = {"unbroken": 0.80, "break": 0.08, "drift": 0.12}

#: Log odds above chance: level at the middle of the curve, and slope per e-fold of x.
ODDS: dict[str, Prior] = dict(level=Real(-1.0, sd=2.5), slope=Positive(0.6, spread=2.5))
#: Exponent of a loss in which log odds are linear. Published exponents of compute are .05 (Kaplan
#: et al. 2020) to .18 (Besiroglu et al. 2024), those of parameters and tokens up to .37.
FLATTENING: dict[str, Prior] = dict(alpha=Positive(0.12, spread=2.0))
#: Share of the range from chance to the top at the two ends of a line as plotted.
LINE: dict[str, Prior] = dict(first=Fraction(0.1, spread=4.0), last=Fraction(0.5, spread=4.0))
#: Rate, per e-fold of x, at which the unsolved share falls after a late start.
LATE: dict[str, Prior] = dict(rate=Positive(0.3, spread=3.0))

#: Share of the range above chance that no model reaches; standard deviation of models around the
#: curve in log odds above chance; the same as a share of the questions, which matters at chance.
SCATTER: dict[str, Prior] = dict(
    lost=Fraction(0.02, spread=3.0),
    scatter=Positive(0.15, spread=2.7),
    jitter=Positive(0.004, spread=2.0),
)
#: The last one if the number of questions is not known: it then has to describe their noise.
JITTER_WITHOUT_QUESTIONS = Positive(0.015, spread=2.5)
#: Standard deviation of families around the curve, in log odds above chance. It is narrow because a
#: curve at chance with very different families describes any scores. For the same reason it has an
#: upper limit, a factor of 9 in the odds: without it, MMLU had such a second mode, and was called a
#: gradual change where the mode was found for drift only. The limit lies between that mode (3.7)
#: and the families of arithmetic tasks (1.7).
FAMILY_ODDS = Positive(0.4, spread=1.7)
LARGEST_FAMILY_ODDS = 2.2

#: Losses and other positive metrics that fall, in units of their geometric mean: floor, reducible
#: part at the middle of the curve, its slope, and relative noise.
LOSS: dict[str, Prior] = dict(
    floor=Positive(0.3, spread=4.0),
    amount=Positive(0.4, spread=2.2),
    slope=Positive(0.35, spread=2.2),
    noise=Positive(0.01, spread=4.0),
)
FAMILY_LOSS = Positive(0.04, spread=2.0)
#: Degrees of freedom of the noise without families.
NU = 6.0

#: Ratio of the slope after a break to the slope before, and width of the break in e-folds of x.
BREAK: dict[str, Prior] = dict(ratio=Positive(1.0, spread=4.0), width=Positive(0.25, spread=2.0))
#: Width of a late start in e-folds of x.
START_WIDTH = 0.2
#: Standard deviation of the random walk of the slope, in units of the slope and per root of an
#: e-fold of x.
DRIFT = Positive(0.35, spread=2.0)


@dataclass(frozen=True)
class Ahead:
    """What a curve may do beyond its models.

    Attributes
    ----------
    rate : float
        Changes of slope per e-fold of x.
    ratio : Prior
        Slope after a change relative to the slope before.
    complete : float
        Probability that the curve goes on to 1. Scores near chance say nothing about the top.
    """

    rate: float
    ratio: Prior
    complete: float = 0.0


#: Rate and ratio were chosen by the interval score of forecasts from below the onset, of those
#: priors whose 90 % intervals held at least 85 % of the scores. With narrower ones they hold 70 %
#: of the scores after a simulated late start. Most scores that were missed are 1, just above the
#: intervals. With `complete` from 0 to .8 the intervals of 11 tasks hold 84 to 96 %, at the same
#: interval score; chosen from the other tasks they hold 95 % (`benchmarks/emergence.py`).
AHEAD = Ahead(0.3, Positive(4.0, spread=8.0), 0.5)

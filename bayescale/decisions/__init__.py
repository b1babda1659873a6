"""Decisions from fits: which runs to train next, and whether a plan of runs answers a question."""

from bayescale.decisions.designs import DesignScore, design
from bayescale.decisions.suggestions import Suggestion, suggest

__all__ = ["DesignScore", "Suggestion", "design", "suggest"]

"""
Generations of rules: what the ledger must know of a rule set, and what a rule set must know of the ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuleKey:
    """
    A rule as activation sees it: its name, and a hash of its ``match`` and ``when`` alone.
    """

    name: str
    match_hash: str


@dataclass(frozen=True, slots=True)
class Generation:
    """
    A rule set as the ledger committed it. ``since``: the instant (ns) since which each rule has had its present match and
    when. ``continuous_from_gen``: a stream that the rule matched in that generation or later, and matches now, has been
    matched without interruption (semantics.md 3, activation).
    """

    gen: int
    since: Mapping[str, int]
    continuous_from_gen: Mapping[str, int]

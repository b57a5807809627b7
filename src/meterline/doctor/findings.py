"""
What was found in a config: where, what it does to usage, why, and the setting to use.
"""

from dataclasses import dataclass
from typing import Literal

Effect = Literal["loses", "duplicates", "distorts"]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One way in which an agent as it is configured can spoil the sum.

    ``line``: 1-based; of the setting, or of the component that lacks it. ``effect``: loses usage, counts it twice, or changes
    what arrives. ``what``: one clause; ``why``: the agent's behaviour; ``setting``: what to write instead.
    """

    line: int
    effect: Effect
    what: str
    why: str
    setting: str


@dataclass(frozen=True, slots=True)
class Report:
    """
    All findings of one file, by line. ``agent``: whose config it is.
    """

    agent: str
    findings: tuple[Finding, ...]

"""
What receivers and exporters have in common.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """
    What the docs, ``plugins show`` and the README tables are generated from.
    """

    name: str
    kind: Literal["receiver", "exporter"]
    stability: Literal["alpha", "beta", "stable"]
    summary: str


class Sample(NamedTuple):
    """
    One number the gateway keeps anyway, read by telemetry when it is collected; never touched per point.
    """

    name: str
    labels: Mapping[str, str]
    value: float

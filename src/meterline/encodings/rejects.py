"""
Items of which no point could be made: handed on so that each is in quarantine, durably, and its neighbours pass.
"""

from collections.abc import Iterable
from typing import NamedTuple

from meterline.api import Body, Format
from meterline.protobuf.write import length_delimited, text


class Reject(NamedTuple):
    """
    One item. ``reason``: a code of docs/reasons.md; ``detail``: one sentence without the item's values.
    """

    reason: str
    detail: str
    item: bytes
    encoding: str = "json"


def rejects(items: Iterable[Reject]) -> list[Body]:
    """
    Return the body that carries them, or nothing when there are none (meterline.intake.v1.Rejects).
    """
    data = b"".join(
        length_delimited(1, text(1, r.reason) + text(2, r.detail) + length_delimited(3, r.item) + text(4, r.encoding))
        for r in items
    )
    return [Body(Format.REJECTS, data)] if data else []

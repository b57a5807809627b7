"""
Stage 2: whether a metric point is valid (otlp.md C2), and what is read of it.
"""

import math
import struct
from typing import Final, NamedTuple

from meterline.kernel.batch import DistributionBlock, Number, NumberBlock
from meterline.kernel.core import Call
from meterline.kernel.groups import Group, Part
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Track
from meterline.kernel.steps.cumulative import UNWITNESSED
from meterline.quantity import amount_from_double

_STALE: Final = 0x7FF0000000000002
"""Bits of the NaN by which Prometheus says that a series has ended."""


class Point(NamedTuple):
    """
    A metric point under way; ``slots``: one for each part of the group, in its order.
    """

    block: NumberBlock | DistributionBlock
    place: int
    start: int
    time: int
    group: Group
    slots: tuple[int, ...]


class Reading(NamedTuple):
    """
    A valid value: in whole numbers, or in 10^-18 when ``wide``. ``witness``: the count that a sum came with.
    """

    value: int
    wide: bool
    witness: int = UNWITNESSED


def no_value(point: Point) -> bool:
    """
    Say whether the sender says that there is no value: a flag, or Prometheus's stale marker.
    """
    block = point.block
    if isinstance(block, DistributionBlock):
        each = block.points[point.place]
        return bool(each.flags & 1) or _stale(each.sum)
    return bool(block.flags.get(point.place, 0) & 1) or _stale(block.values[point.place])


def _stale(value: Number) -> bool:
    return isinstance(value, float) and math.isnan(value) and struct.unpack("<Q", struct.pack("<d", value))[0] == _STALE


def invalid(call: Call, point: Point) -> Reason | None:
    """
    Say why a point is not valid: its value, its parts, its times.
    """
    block = point.block
    reason = _invalid_number(block, point) if isinstance(block, NumberBlock) else block.points[point.place].bad
    return reason or _invalid_time(call, point.start, point.time)


def _invalid_number(block: NumberBlock, point: Point) -> Reason | None:
    value = block.values[point.place]
    if value is None:
        return Reason.NO_VALUE
    if isinstance(value, float):
        if not math.isfinite(value):
            return Reason.NOT_A_NUMBER
        if amount_from_double(value) is None:
            return Reason.OUT_OF_RANGE
    if value < 0 and (block.entry.monotonic or not all(charge.allow_negative for charge in point.group.charges)):
        return Reason.NEGATIVE_VALUE
    return None


def _invalid_time(call: Call, start: int, time: int) -> Reason | None:
    if not time:
        return Reason.TIME_MISSING
    if start > time:
        return Reason.START_AFTER_TIME
    return implausible(call, time)


def implausible(call: Call, time: int) -> Reason | None:
    """
    Say whether a time is too far from when the point was received.
    """
    if time > call.max_time:
        return Reason.TIME_IN_FUTURE
    return Reason.TIME_IN_PAST if time < call.min_time else None


def reading(point: Point, part: Part) -> Reading | Reason:
    """
    Read what a track bills of a valid point; a reason when it does not have that.
    """
    block = point.block
    if isinstance(block, NumberBlock):
        value = block.values[point.place]
        if isinstance(value, float):
            return Reading(amount_from_double(value) or 0, wide=True)
        return Reading(value or 0, wide=False)
    each = block.points[point.place]
    if part.track is Track.COUNT:
        return Reading(each.count, wide=False)
    return _sum(each.sum, each.count, part)


def _sum(value: float | None, count: int, part: Part) -> Reading | Reason:
    if value is None:
        return Reason.NO_SUM
    if not math.isfinite(value):
        return Reason.NOT_A_NUMBER
    amount = amount_from_double(value)
    if amount is None:
        return Reason.OUT_OF_RANGE
    if amount < 0 and not all(charge.allow_negative for charge in part.charges):
        return Reason.NEGATIVE_VALUE
    return Reading(amount, wide=True, witness=count)

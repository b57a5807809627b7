"""
One point or log record at a time: any field order, any repetition, unknown fields skipped. The slow path of the walk.
"""

import struct
from itertools import pairwise

from meterline.kernel.batch import DistributionPoint, LogRecord, Number
from meterline.kernel.reasons import Reason
from meterline.protobuf.read import I64, LEN, VARINT, broken, fields, varints

_FIXED = struct.Struct("<Q")
_SIGNED = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")
_U32 = 0xFFFFFFFF

NumberPoint = tuple[int, int, Number, int, bytes]
"""(start, time, value, flags, raw attribute fields)."""


def number_point(buf: bytes) -> NumberPoint:
    """
    Read a NumberDataPoint. Raises UndecodableError.
    """
    start = time = flags = 0
    value: Number = None
    attributes = []
    for number, kind, a, b, begin in fields(buf):
        if number == 7 and kind == LEN:
            attributes.append(buf[begin:b])
        elif kind == I64:
            if number == 2:
                start = _FIXED.unpack_from(buf, a)[0]
            elif number == 3:
                time = _FIXED.unpack_from(buf, a)[0]
            elif number == 4:
                value = _DOUBLE.unpack_from(buf, a)[0]
            elif number == 6:
                value = _SIGNED.unpack_from(buf, a)[0]
        elif number == 8 and kind == VARINT:
            flags = a & _U32
    return start, time, value, flags, b"".join(attributes)


def only_attributes(buf: bytes) -> bool:
    """
    Say whether the bytes are attribute fields of a NumberDataPoint and nothing else. Raises UndecodableError.
    """
    pos, end = 0, len(buf)
    while pos < end - 1 and buf[pos] == 0x3A and buf[pos + 1] < 128:
        pos += 2 + buf[pos + 1]
    return pos == end or all(number == 7 and kind == LEN for number, kind, _, _, _ in fields(buf, 0, end))


def _doubles(buf: bytes, kind: int, a: int, b: int) -> tuple[float, ...]:
    """
    Read one occurrence of a repeated double, packed or not.
    """
    if kind == LEN and (b - a) % 8:
        raise broken("packed doubles of odd length", a)
    return struct.unpack_from(f"<{(b - a) // 8}d", buf, a) if kind in (LEN, I64) else ()


def _fixed(buf: bytes, kind: int, a: int, b: int) -> tuple[int, ...]:
    """
    Read one occurrence of a repeated fixed64, packed or not.
    """
    if kind == LEN and (b - a) % 8:
        raise broken("packed fixed64 of odd length", a)
    return struct.unpack_from(f"<{(b - a) // 8}Q", buf, a) if kind in (LEN, I64) else ()


def histogram_point(buf: bytes) -> DistributionPoint:
    """
    Read a HistogramDataPoint and check its parts against each other (otlp.md C2.5). Raises UndecodableError.
    """
    point = DistributionPoint(buf)
    attributes = []
    counts: list[int] = []
    bounds: list[float] = []
    for number, kind, a, b, begin in fields(buf):
        if number == 9 and kind == LEN:
            attributes.append(buf[begin:b])
        elif number == 6:
            counts += _fixed(buf, kind, a, b)
        elif number == 7:
            bounds += _doubles(buf, kind, a, b)
        elif number == 10 and kind == VARINT:
            point.flags = a & _U32
        else:
            _common(point, buf, number, kind, a)
    point.key = b"".join(attributes)
    point.bad = _check_histogram(point, counts, bounds)
    return point


def _common(point: DistributionPoint, buf: bytes, number: int, kind: int, a: int) -> None:
    """
    Take start 2, time 3, count 4 and sum 5, which all three kinds of distributions share.
    """
    if kind != I64:
        return
    if number == 2:
        point.start = _FIXED.unpack_from(buf, a)[0]
    elif number == 3:
        point.time = _FIXED.unpack_from(buf, a)[0]
    elif number == 4:
        point.count = _FIXED.unpack_from(buf, a)[0]
    elif number == 5:
        point.sum = _DOUBLE.unpack_from(buf, a)[0]


def _check_histogram(point: DistributionPoint, counts: list[int], bounds: list[float]) -> Reason | None:
    if point.flags & 1:
        return None
    shape = len(counts) == len(bounds) + 1 or not (counts or bounds)
    rising = all(low < high for low, high in pairwise(bounds))
    total = not counts or sum(counts) == point.count
    empty = point.count > 0 or not point.sum
    return None if shape and rising and total and empty else Reason.HISTOGRAM_INCONSISTENT


def exponential_point(buf: bytes) -> DistributionPoint:
    """
    Read an ExponentialHistogramDataPoint and check that its buckets make its count. Raises UndecodableError.
    """
    point = DistributionPoint(buf)
    attributes = []
    scale = zeros = 0
    sides: dict[int, tuple[int, list[int]]] = {}
    for number, kind, a, b, begin in fields(buf):
        if number == 1 and kind == LEN:
            attributes.append(buf[begin:b])
        elif number in (8, 9) and kind == LEN:
            sides[number] = _buckets(buf, a, b, sides.get(number, (0, [])))
        elif number == 6 and kind == VARINT:
            scale = _zigzag32(a)
        elif number == 7 and kind == I64:
            zeros = _FIXED.unpack_from(buf, a)[0]
        elif number == 10 and kind == VARINT:
            point.flags = a & _U32
        else:
            _common(point, buf, number, kind, a)
    point.key = b"".join(attributes)
    point.bad = _check_exponential(point, scale, zeros, list(sides.values()))
    return point


def _zigzag32(value: int) -> int:
    value &= _U32
    return value >> 1 ^ -(value & 1)


def _buckets(buf: bytes, pos: int, end: int, before: tuple[int, list[int]]) -> tuple[int, list[int]]:
    """
    Read ExponentialHistogramDataPoint.Buckets, merged into an earlier occurrence.
    """
    offset, counts = before
    for number, kind, a, b, _ in fields(buf, pos, end):
        if number == 1 and kind == VARINT:
            offset = _zigzag32(a)
        elif number == 2 and kind == VARINT:
            counts.append(a)
        elif number == 2 and kind == LEN:
            counts += varints(buf[a:b])
    return offset, counts


def _check_exponential(
    point: DistributionPoint, scale: int, zeros: int, sides: list[tuple[int, list[int]]]
) -> Reason | None:
    if point.flags & 1:
        return None
    total = zeros + sum(sum(counts) for _, counts in sides) == point.count
    empty = point.count > 0 or not point.sum
    inside = all(_representable(scale, offset, len(counts)) for offset, counts in sides if counts)
    return None if total and empty and inside else Reason.HISTOGRAM_INCONSISTENT


def _representable(scale: int, offset: int, buckets: int) -> bool:
    """
    Say whether the outermost bounds 2^(index / 2^scale) are doubles: exponents between -1075 and 1024.
    """
    if abs(scale) > 64:
        return False
    low, high = (offset, offset + buckets) if scale <= 0 else (offset >> scale, (offset + buckets) >> scale)
    factor = 1 << -scale if scale < 0 else 1
    return low * factor >= -1075 and high * factor <= 1024


def summary_point(buf: bytes) -> DistributionPoint:
    """
    Read a SummaryDataPoint: count and sum are cumulative; a missing sum is zero. Raises UndecodableError.
    """
    point = DistributionPoint(buf)
    point.sum = 0.0
    attributes = []
    for number, kind, a, b, begin in fields(buf):
        if number == 7 and kind == LEN:
            attributes.append(buf[begin:b])
        elif number == 8 and kind == VARINT:
            point.flags = a & _U32
        else:
            _common(point, buf, number, kind, a)
    point.key = b"".join(attributes)
    return point


def log_record(buf: bytes) -> LogRecord:
    """
    Find the fields of a LogRecord; a repeated body merges, as protobuf says. Raises UndecodableError.
    """
    record = LogRecord(buf)
    bodies = []
    for number, kind, a, b, _ in fields(buf):
        if kind == LEN and number == 5:
            bodies.append(buf[a:b])
        elif kind == LEN:
            _log_bytes(record, number, buf[a:b])
        elif kind == I64 and number == 1:
            record.time = _FIXED.unpack_from(buf, a)[0]
        elif kind == I64 and number == 11:
            record.observed = _FIXED.unpack_from(buf, a)[0]
        elif kind == VARINT and number == 2:
            record.severity_number = a & _U32
    record.body = b"".join(bodies) if bodies else None
    return record


def _log_bytes(record: LogRecord, number: int, payload: bytes) -> None:
    if number == 6:
        record.attributes.append(payload)
    elif number == 3:
        record.severity_text = payload
    elif number == 12:
        record.event_name = payload

"""
Samples and native histograms of remote write requests, of both versions (prometheus.Sample, io.prometheus.write.v2.Sample).

Values stay the eight bytes that came, so that no arithmetic can change the bits of a staleness marker.
"""

import struct
from typing import Final, NamedTuple

from meterline.errors import TooLargeError
from meterline.protobuf.read import I64, LEN, VARINT, broken, fields, signed

STALE: Final = struct.pack("<Q", 0x7FF0000000000002)
"""The value of a sample that ends its series; also a NaN, which only its bits tell from others."""

ZERO: Final = bytes(8)

MAX_ITEMS: Final = 250_000
"""Series, samples, symbols and families of one request; senders write some thousands (Prometheus: at most 2,000 samples)."""

_NS_PER_MS: Final = 1_000_000
_MAX_TIME: Final = 2**64 - 1
_BEHIND_ZERO_NS: Final = 2  # the reading of 0 stands 1 ns after a start
_RESET_HINT_GAUGE: Final = 3


class Moment(NamedTuple):
    """
    When a sample was taken, and since when it counts (0: not said), in ms. ``head``: the time's field and the tag of the
    value's, as they stand in a point; b"" when no point can have this time.
    """

    head: bytes
    ms: int
    start: int


class Sample(NamedTuple):
    """
    ``value``: a double's bytes, little-endian.
    """

    value: bytes
    moment: Moment


class Histogram(NamedTuple):
    """
    What is billable of a native histogram: the whole fields (tag and value) of count and sum as a point has them.

    ``observed`` b"": it has none. ``gauge``: it may fall without having begun anew.
    """

    observed: bytes
    total: bytes
    moment: Moment
    gauge: bool


class Walk:
    """
    What requests of both versions have in common. ``times``, ``metadata``: by the bytes that say them, which many share.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.times: dict[bytes, Moment] = {}
        self.metadata: dict[bytes, tuple[bytes, int]] = {}
        self._room = MAX_ITEMS

    def take(self, items: int = 1) -> None:
        """
        Count parts of the request: tiny ones must not fill the memory.

        :raises TooLargeError: there are too many.
        """
        self._room -= items
        if self._room < 0:
            raise TooLargeError(
                f"decoding write request: it has more than {MAX_ITEMS:,} parts; send fewer samples at once"
            )

    def samples(self, pos: int, end: int, found: list[Sample]) -> int:
        """
        Read the samples that stand here in the plain form that every sender writes; return where another field begins.

        Runs once a sample: written out (benchmarks, CPU per point of remote write).
        """
        buf, times = self.body, self.times
        while pos + 2 < end and buf[pos] == 0x12 and buf[pos + 1] < 0x80 and len(found) <= MAX_ITEMS:
            pos += 2
            after = pos + buf[pos - 1]
            if after > end:
                raise broken("sample past the end", pos)
            begin = pos + 9 if buf[pos] == 0x09 else pos
            moment = times.get(buf[begin:after])
            if moment is None or begin > after:
                found.append(self.sample(pos, after))
            else:
                found.append(Sample(buf[pos + 1 : begin] or ZERO, moment))
            pos = after
        self.take(len(found))
        return pos

    def sample(self, pos: int, end: int) -> Sample:
        """
        Read a sample of any form. Its moment is kept when nothing but times comes after a value at the front, or without one.
        """
        value, ms, start, where = ZERO, 0, 0, -1
        for number, kind, at, to, _ in fields(self.body, pos, end):
            if (number, kind) == (1, I64):
                value, where = self.body[at:to], to
            elif (number, kind) == (2, VARINT):
                ms = signed(at)
            elif (number, kind) == (3, VARINT):
                start = signed(at)
        moment = moment_of(ms, start)
        if where in {-1, pos + 9}:
            self.times[self.body[max(pos, where) : end]] = moment
        return Sample(value, moment)

    def histogram(self, pos: int, end: int) -> Histogram:
        """
        Read a native histogram.
        """
        count, total, ms, start, hint = b"", ZERO, 0, 0, 0
        for number, kind, at, to, _ in fields(self.body, pos, end):
            if (number, kind) == (1, VARINT):
                count = _count(at)
            elif (number, kind) == (2, I64):
                count = b"\x21" + self.body[at:to]
            elif (number, kind) == (3, I64):
                total = self.body[at:to]
            elif (number, kind) == (14, VARINT):
                hint = at
            elif (number, kind) == (15, VARINT):
                ms = signed(at)
            elif (number, kind) == (17, VARINT):
                start = signed(at)
        return Histogram(count, b"\x21" + total, moment_of(ms, start), hint == _RESET_HINT_GAUGE)

    def family(self, pos: int, end: int) -> tuple[bytes, int]:
        """
        Read metadata: the family's name, which 2.0 does not repeat, and its type. Many series have the same.
        """
        data = self.body[pos:end]
        found = self.metadata.get(data)
        if found is None:
            name, metric_type = b"", 0
            for number, kind, at, to, _ in fields(data):
                if (number, kind) == (1, VARINT):
                    metric_type = at
                elif (number, kind) == (2, LEN):
                    name = data[at:to]
            found = self.metadata[data] = (name, metric_type)
        return found


def _count(value: int) -> bytes:
    """
    Return a count as a point's value: an integer, or beyond 63 bits the nearest double.
    """
    return b"\x31" + struct.pack("<q", value) if value < 2**63 else b"\x21" + struct.pack("<d", float(value))


def moment_of(ms: int, start: int) -> Moment:
    """
    Return when a sample was taken. One that is taken at its own start says where counting begins (OTLP's true reset point), and
    stands behind the reading of 0 that later samples bring for this start.
    """
    time = ms * _NS_PER_MS + (_BEHIND_ZERO_NS if start == ms > 0 else 0)
    head = b"\x19" + struct.pack("<Q", time) + b"\x21" if 0 <= time <= _MAX_TIME else b""
    return Moment(head, ms, start)

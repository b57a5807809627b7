"""
The points of sums and gauges in raw bytes: the usual ones as fixed-size heads that are unpacked together.
"""

import struct
from typing import Any

from meterline.kernel.batch import Number, NumberBlock, ToldBlock
from meterline.kernel.plan import ContextEntry
from meterline.kernel.told import Told, point_ids
from meterline.kernel.walk_points import number_point, only_attributes
from meterline.protobuf.read import LEN, VARINT, broken, fields

# The usual beginnings of a point: tags of start, time and as_int or as_double, each before its eight bytes.
_WITH_START = 27
_WITHOUT_START = 18
_KINDS: dict[type, str] = {int: "q", float: "d"}
_RUN = 64  # points unpacked by one call
_LAYOUTS = {
    (_WITH_START, "q"): (struct.Struct("<" + "xQxQxq" * _RUN), struct.Struct("<xQxQxq")),
    (_WITH_START, "d"): (struct.Struct("<" + "xQxQxd" * _RUN), struct.Struct("<xQxQxd")),
    (_WITHOUT_START, "q"): (struct.Struct("<" + "xQxq" * _RUN), struct.Struct("<xQxq")),
    (_WITHOUT_START, "d"): (struct.Struct("<" + "xQxd" * _RUN), struct.Struct("<xQxd")),
}


class NumberPoints:
    """
    The points of one sum or gauge while they are walked: each as a fixed-size head and the rest.
    """

    def __init__(self, buf: bytes, told: Told | None) -> None:
        """
        Begin without points. ``told``: what is told of a transcoded metric, whose points may have identities of their own.
        """
        self.buf = buf
        self.told = told
        self.size = 0
        self.heads: list[bytes] = []
        self.rests: list[bytes] = []
        self.odd: list[int] = []  # points too short for a head: head b"", all in the rest
        self.temporality = 0
        self.monotonic = False

    @property
    def count(self) -> int:
        """
        Return how many points were taken.
        """
        return len(self.rests)

    def walk(self, pos: int, end: int) -> None:
        """
        Take the points of a Sum or Gauge and its tail.
        """
        if not self.size:
            self.size = _WITHOUT_START if _first_byte(self.buf, pos, end) == 0x19 else _WITH_START
        while pos < end:
            pos = self._run(pos, end)
            if pos < end:
                pos = self._other(pos, end)

    def _run(self, pos: int, end: int) -> int:
        """
        Take points as long as they look usual; return where the first other byte stands.

        A hot loop: benchmarks/kernel.py, "walk".
        """
        buf = self.buf
        width = self.size
        head = self.heads.append
        rest = self.rests.append
        limit = end - width - 2
        while pos < limit and buf[pos] == 10:
            size = buf[pos + 1]
            if size > 127:
                more = buf[pos + 2]
                if not 0 < more < 128:
                    break
                at = pos + 3
                stop = at + size + (more << 7) - 128
            elif size < width:
                break
            else:
                at = pos + 2
                stop = at + size
            if stop > end:
                raise broken("point past the end of its metric", pos)
            cut = at + width
            head(buf[at:cut])
            rest(buf[cut:stop])
            pos = stop
        return pos

    def _other(self, pos: int, end: int) -> int:
        """
        Take one field the careful way: an unusual point, temporality, monotonicity, or something unknown.
        """
        for number, kind, a, b, _ in fields(self.buf, pos, end):
            if number == 1 and kind == LEN:
                self._take(a, b)
                return b
            if number == 2 and kind == VARINT:
                self.temporality = a & 0xFFFFFFFF
            elif number == 3 and kind == VARINT:
                self.monotonic = a != 0
        return end

    def _take(self, a: int, b: int) -> None:
        cut = a + self.size
        if cut > b:
            self.odd.append(len(self.rests))
            self.heads.append(b"")
            self.rests.append(self.buf[a:b])
        else:
            self.heads.append(self.buf[a:cut])
            self.rests.append(self.buf[cut:b])

    def block(self, entry: ContextEntry) -> NumberBlock:
        """
        Make the block. Raises UndecodableError when a point that is not known yet is broken.
        """
        block = NumberBlock(entry, self.rests) if self.told is None else ToldBlock(entry, self.rests, self.told)
        if self.odd or not self._columns(block):
            self._careful(block)
            return block
        table = entry.owner
        version = table.version if table is not None else -1
        known = entry.bindings
        try:
            block.slots = list(map(known.__getitem__, self.rests))
        except KeyError:
            self._check_unknown(block)
        else:
            block.bound = (table, version)
        return block

    def _columns(self, block: NumberBlock) -> bool:
        """
        Fill the columns from the heads; False when their tags are not the usual ones.
        """
        joined = b"".join(self.heads)
        width, count = self.size, self.count
        kind = _kind(joined, width, count)
        if not kind:
            return False
        flat = _unpack(joined, width, kind)
        step = 3 if width == _WITH_START else 2
        block.starts = flat[0::3] if step == 3 else [0] * count
        block.times = flat[step - 2 :: step]
        block.values = flat[step - 1 :: step]
        block.kind = kind
        block.head, block.size = joined, width
        return True

    def _check_unknown(self, block: NumberBlock) -> None:
        known = block.entry.bindings
        odd = [index for index, key in enumerate(self.rests) if key not in known and not only_attributes(key)]
        if odd:
            self._careful(block)

    def _careful(self, block: NumberBlock) -> None:
        """
        Fill the columns point by point.
        """
        block.payloads = [head + rest for head, rest in zip(self.heads, self.rests, strict=True)]
        points = [number_point(payload) for payload in block.payloads]
        block.starts = [point[0] for point in points]
        block.times = [point[1] for point in points]
        values: list[Number] = [point[2] for point in points]
        block.values = values
        block.flags = {index: point[3] for index, point in enumerate(points) if point[3]}
        block.keys = [point[4] for point in points]
        kinds = {type(value) for value in values}
        block.kind = _KINDS.get(kinds.pop(), "") if len(kinds) == 1 and not block.flags else ""
        block.head, block.size = b"", 0
        if isinstance(block, ToldBlock):
            block.ids = point_ids(block.entry.data, block.payloads)


def _first_byte(buf: bytes, pos: int, end: int) -> int:
    """
    Peek at the first byte of the first point, to choose the layout; any answer is right, one is fast.
    """
    at = pos + 2 if pos + 1 < end and buf[pos + 1] < 128 else pos + 3
    return buf[at] if at < end else 0


def _kind(joined: bytes, width: int, count: int) -> str:
    """
    Return "q" when all heads are of as_int, "d" of as_double, "" when they are mixed or unusual.
    """
    value = joined[width - 9 :: width]
    time = joined[width - 18 :: width]
    if time != b"\x19" * count or (width == _WITH_START and joined[0::width] != b"\x11" * count):
        return ""
    if value == b"\x31" * count:
        return "q"
    return "d" if value == b"\x21" * count else ""


def _unpack(joined: bytes, width: int, kind: str) -> list[Any]:
    """
    Unpack the heads into one flat list.
    """
    many, one = _LAYOUTS[width, kind]
    flat: list[Any] = []
    whole = len(joined) // many.size * many.size
    for run in many.iter_unpack(memoryview(joined)[:whole]):
        flat += run
    for single in one.iter_unpack(memoryview(joined)[whole:]):
        flat += single
    return flat

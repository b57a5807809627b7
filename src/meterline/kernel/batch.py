"""
A decoded body: blocks of points that share a context, as columns.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from meterline.api.receiver import Format
from meterline.kernel.groups import ShapeEntry
from meterline.kernel.plan import ContextEntry, PythonPlan
from meterline.kernel.reasons import Reason
from meterline.kernel.told import NOTHING, Told

Number: TypeAlias = int | float | None
"""A reading as the wire has it: as_int, as_double, or neither."""

_NO_IDS: Final[Mapping[int, bytes]] = MappingProxyType({})


class NumberBlock:
    """
    The points of a sum or gauge.  ``keys``: the raw attribute fields of each; ``kind``: "q" when all values
    are int, "d" when all are double, "" when they are mixed, absent, or have flags.

    ``shapes``: what resolving found of points whose verdict
    was not known yet. ``bound``: the table, and its version, that ``slots`` are of.
    ``head`` is joined fixed-size beginnings of the points, which their keys complete; or b"" and ``payloads`` has them whole.
    ``told``: what the metric's metadata say; ``ids``: the points' own identities, by index.
    """

    told: Told = NOTHING
    ids: Mapping[int, bytes] = _NO_IDS

    __slots__ = (
        "bound",
        "entry",
        "first",
        "flags",
        "head",
        "keys",
        "kind",
        "n",
        "payloads",
        "shapes",
        "size",
        "slots",
        "starts",
        "times",
        "values",
    )

    def __init__(self, entry: ContextEntry, keys: list[bytes]) -> None:
        """
        Make a block whose columns the walk fills.
        """
        self.entry = entry
        self.first = 0
        self.keys = keys
        self.n = len(keys)
        self.starts: Sequence[int] = ()
        self.times: Sequence[int] = ()
        self.values: Sequence[Number] = ()
        self.flags: dict[int, int] = {}
        self.kind = ""
        self.shapes: dict[bytes, tuple[list[bytes], ShapeEntry]] = {}
        self.head = b""
        self.size = 0
        self.payloads: list[bytes] = []
        self.slots: list[int] | None = None
        self.bound: tuple[object, int] | None = None

    def payload(self, index: int) -> bytes:
        """
        Return the message of one point as it came.
        """
        if self.payloads:
            return self.payloads[index]
        return self.head[index * self.size : (index + 1) * self.size] + self.keys[index]


class ToldBlock(NumberBlock):
    """
    The points of a sum or gauge of which a receiver of our own says more.
    """

    __slots__ = ("ids", "told")

    def __init__(self, entry: ContextEntry, keys: list[bytes], told: Told) -> None:
        """
        Make a block whose columns, and ids, the walk fills.
        """
        super().__init__(entry, keys)
        self.told = told
        self.ids: dict[int, bytes] = {}


class DistributionPoint:
    """
    A histogram, exponential histogram or summary point: what can be metered of it.
    """

    __slots__ = ("bad", "count", "flags", "key", "payload", "start", "sum", "time")

    def __init__(self, payload: bytes) -> None:
        """
        Make a point that the walk fills. ``bad``: why its parts do not fit together.
        """
        self.payload = payload
        self.start = 0
        self.time = 0
        self.count = 0
        self.sum: float | None = None
        self.flags = 0
        self.key = b""
        self.bad: Reason | None = None


class DistributionBlock:
    """
    The points of a histogram, exponential histogram or summary.
    """

    told: Told = NOTHING
    ids: Mapping[int, bytes] = _NO_IDS

    __slots__ = ("bound", "entry", "first", "keys", "n", "points", "shapes", "slots")

    def __init__(self, entry: ContextEntry, points: list[DistributionPoint]) -> None:
        """
        Take the walked points.
        """
        self.entry = entry
        self.first = 0
        self.points = points
        self.keys = [point.key for point in points]
        self.shapes: dict[bytes, tuple[list[bytes], ShapeEntry]] = {}
        self.n = len(points)
        self.slots: list[int] | None = None
        self.bound: tuple[object, int] | None = None

    def payload(self, index: int) -> bytes:
        """
        Return the message of one point as it came.
        """
        return self.points[index].payload


class ToldDistributionBlock(DistributionBlock):
    """
    The points of a distribution that may have identities of their own.
    """

    __slots__ = ("ids",)

    def __init__(self, entry: ContextEntry, points: list[DistributionPoint], ids: Mapping[int, bytes]) -> None:
        """
        Take the walked points, and identities by index.
        """
        super().__init__(entry, points)
        self.ids = ids


class LogRecord:
    """
    One log record with its fields found and nothing of its values read.
    """

    __slots__ = ("attributes", "body", "event_name", "observed", "payload", "severity_number", "severity_text", "time")

    def __init__(self, payload: bytes) -> None:
        """
        Make a record that the walk fills. ``attributes``: KeyValue messages; ``body``: an AnyValue message or None.
        """
        self.payload = payload
        self.time = 0
        self.observed = 0
        self.severity_number = 0
        self.severity_text = b""
        self.event_name = b""
        self.body: bytes | None = None
        self.attributes: list[bytes] = []


class LogBlock:
    """
    The log records of one scope. ``claims``: per record what resolving made of it.
    """

    __slots__ = ("bound", "claims", "entry", "first", "n", "records")

    def __init__(self, entry: ContextEntry, records: list[LogRecord]) -> None:
        """
        Take the walked records.
        """
        self.entry = entry
        self.first = 0
        self.records = records
        self.n = len(records)
        self.claims: list[object] | None = None
        self.bound: tuple[object, int] | None = None

    def payload(self, index: int) -> bytes:
        """
        Return the message of one record as it came.
        """
        return self.records[index].payload


Block: TypeAlias = NumberBlock | DistributionBlock | LogBlock


class PythonBatch:
    """
    The blocks of one body in wire order. ``skipped``: points of contexts that no rule can match.

    ``decisions``: what gated charges were answered, by the point's number (``Block.first`` + index): two masks, of
    those that hold and those that erred.
    """

    __slots__ = ("blocks", "body", "decisions", "fmt", "plan", "points", "skipped")

    def __init__(self, body: bytes, fmt: Format, plan: PythonPlan, blocks: list[Block], skipped: int) -> None:
        """
        Take the walked blocks.
        """
        self.body = body
        self.fmt = fmt
        self.plan = plan
        self.blocks = blocks
        self.skipped = skipped
        self.points = skipped
        for block in blocks:
            block.first = self.points
            self.points += block.n
        self.decisions: dict[int, tuple[int, int]] = {}

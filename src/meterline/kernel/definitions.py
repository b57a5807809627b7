"""
Definitions of meters: what a meter id stands for, for ever. Declared in frames, kept by the ledger, never deleted.
"""

from collections.abc import Sequence
from enum import IntEnum
from functools import cached_property
from typing import Final, NamedTuple

from meterline._proto.meterline.ledger.v1 import frame_pb2 as pb
from meterline.kernel import columns
from meterline.kernel.seam import Charge
from meterline.records import USAGE

VERSION: Final = 1
IDENTITY: Final = 16


class Kind(IntEnum):
    """
    What a row's window is: (start, time] of a delta, an instant, or (last time, time] of an epoch.
    """

    DELTA = 1
    INSTANT = 2
    CUMULATIVE = 3


class MeterDef(NamedTuple):
    """
    A stream's track in one epoch (start; 0 for deltas and unknown starts) and the charges of its rows, by index.

    ``since``: for each charge the instant from which it counts (activation, semantics.md 3).
    """

    stream: bytes
    track: int
    kind: Kind
    epoch: int
    charges: tuple[int, ...]
    since: tuple[int, ...]


class ChargeDef(NamedTuple):
    """
    What a record needs of a charge. ``factor``: the rule's scale x 10^12.
    """

    rule: str
    customer: str | None
    dimension: str | None
    metadata: tuple[tuple[str, str], ...]
    factor: int
    kind: str = USAGE


def encode_charge(charge: Charge | ChargeDef) -> bytes:
    """
    Return what a record needs of a charge, as bytes; equal charges give equal bytes.
    """
    pairs = [pb.Pair(key=key, value=value) for key, value in charge.metadata]
    message = pb.Charge(rule=charge.rule, metadata=pairs, factor=columns.int_bytes(charge.factor))
    if charge.kind != USAGE:
        message.kind = charge.kind
    if charge.customer is not None:
        message.customer = charge.customer
    if charge.dimension is not None:
        message.dimension = charge.dimension
    return message.SerializeToString(deterministic=True)


def decode_charge(data: bytes) -> ChargeDef:
    """
    Return the charge that was encoded.
    """
    message = pb.Charge.FromString(data)
    return ChargeDef(
        message.rule,
        message.customer if message.HasField("customer") else None,
        message.dimension if message.HasField("dimension") else None,
        tuple((pair.key, pair.value) for pair in message.metadata),
        columns.bytes_int(message.factor),
        message.kind or USAGE,
    )


def encode_definitions(
    first: int, meters: Sequence[MeterDef], charges: Sequence[bytes], gen: int, rules_hash: str
) -> bytes:
    """
    Declare meters ``first``, ``first`` + 1, ...; ``charges`` are encoded ones, which the meters name by index.
    """
    message = pb.Definitions(version=VERSION, gen=gen, rules_hash=rules_hash, first=first, meters=len(meters))
    message.streams = b"".join([meter.stream for meter in meters])
    columns.put_series(message.tracks, [meter.track for meter in meters])
    columns.put_series(message.kinds, [meter.kind for meter in meters])
    columns.put_series(message.epochs, [meter.epoch for meter in meters])
    groups: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    places = [groups.setdefault((meter.charges, meter.since), len(groups)) for meter in meters]
    columns.put_series(message.groups, places)
    message.group_table.extend([pb.ChargeGroup(charges=named, since=since) for named, since in groups])
    message.charges.extend(charges)
    return message.SerializeToString()


class Definitions:
    """
    A block of definitions, read lazily: ``meter`` costs about a microsecond, the block about 40 B a meter.
    """

    def __init__(self, data: bytes) -> None:
        """
        Parse. Raises ValueError or a protobuf DecodeError when the bytes are not definitions.
        """
        message = pb.Definitions.FromString(data)
        if message.version != VERSION:
            raise ValueError(f"decoding definitions: layout version {message.version}, {VERSION} expected")
        self._message = message
        self.first = message.first
        self.count = message.meters
        self.end = message.first + message.meters
        self.gen = message.gen
        self.rules_hash = message.rules_hash
        self.streams = message.streams
        self.epochs = columns.get(message.epochs, self.count)
        self.groups = columns.get(message.groups, self.count)
        self.kinds = columns.get(message.kinds, self.count)
        self.charges: list[bytes] = list(message.charges)
        self.group_charges: list[tuple[int, ...]] = [tuple(group.charges) for group in message.group_table]

    def stream(self, meter: int) -> bytes:
        """
        Return the 16-byte identity of the meter's stream.
        """
        at = (meter - self.first) * IDENTITY
        return self.streams[at : at + IDENTITY]

    def meter(self, meter: int) -> MeterDef:
        """
        Return one meter's definition. Raises IndexError outside the block.
        """
        if not self.first <= meter < self.end:
            raise IndexError(meter)
        at = meter - self.first
        group = self.groups[at]
        return MeterDef(
            self.stream(meter),
            self._tracks[at],
            Kind(self.kinds[at]),
            self.epochs[at],
            self.group_charges[group],
            self._since[group],
        )

    def all(self) -> Sequence[MeterDef]:
        """
        Return all of them, in order of their ids.
        """
        return [self.meter(meter) for meter in range(self.first, self.end)]

    @cached_property
    def _tracks(self) -> list[int]:
        return columns.get(self._message.tracks, self.count)

    @cached_property
    def _since(self) -> list[tuple[int, ...]]:
        return [tuple(group.since) for group in self._message.group_table]

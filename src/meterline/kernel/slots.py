"""
States of streams as bytes: chunks of a snapshot and rows of the idle table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from meterline._proto.meterline.ledger.v1 import frame_pb2 as pb
from meterline.kernel import columns
from meterline.kernel.definitions import IDENTITY

VERSION: Final = 1

Activation: TypeAlias = tuple[tuple[str, int], ...]
"""The rules that match a stream without interruption: (rule name, instant since which it counts)."""


class SlotRow(NamedTuple):
    """
    The state of one (stream, track).

    ``meters``: (epoch start, meter id), the current one first. ``full``: encoded full state of a slot that is not
    plain, else b"". A delta has ``tail``; its ``start`` and ``last_value`` are 0.
    """

    slot: int
    key: bytes
    identity: bytes
    track: int
    kind: int
    scale: int
    gen: int
    last_seen: int
    meters: tuple[tuple[int, int], ...]
    activation: Activation
    start: int
    origin: int
    last_time: int
    last_value: int
    tail: bytes = b""
    full: bytes = b""


@dataclass(slots=True)
class SlotColumns:
    """
    Many slots, a list per field: what a snapshot of a million streams is made of. ``more``: meters after the first, by row.

    ``epochs``/``meters`` are 0 where a slot has none. ``tails`` and ``full`` by row, absent where empty.
    """

    slots: Sequence[int] = ()
    keys: Sequence[bytes] = ()
    identities: Sequence[bytes] = ()
    tracks: Sequence[int] = ()
    kinds: Sequence[int] = ()
    scales: Sequence[int] = ()
    gens: Sequence[int] = ()
    last_seen: Sequence[int] = ()
    epochs: Sequence[int] = ()
    meters: Sequence[int] = ()
    more: Mapping[int, Sequence[tuple[int, int]]] = field(default_factory=dict)
    activations: Sequence[int] = ()
    activation_table: Sequence[Activation] = ()
    starts: Sequence[int] = ()
    origins: Sequence[int] = ()
    last_times: Sequence[int] = ()
    last_values: Sequence[int] = ()
    tails: Mapping[int, bytes] = field(default_factory=dict)
    full: Mapping[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.slots)


_SERIES: Final = (
    "slots",
    "tracks",
    "kinds",
    "scales",
    "gens",
    "last_seen",
    "epochs",
    "meters",
    "activations",
    "starts",
    "origins",
    "last_times",
)


def encode_columns(slots: SlotColumns) -> bytes:
    """
    Return many slots as bytes.
    """
    message = pb.Slots(version=VERSION, rows=len(slots), keys=b"".join(slots.keys))
    if slots.identities != slots.keys:
        message.identities = b"".join(slots.identities)
    for name in _SERIES:
        columns.put_series(getattr(message, name), getattr(slots, name))
    columns.put_amounts(message.last_values, slots.last_values)
    for row, pairs in slots.more.items():
        epochs, meters = zip(*pairs, strict=True)
        message.more.add(row=row, epochs=epochs, meters=meters)
    for matched in slots.activation_table:
        message.activation_table.add(rules=[rule for rule, _ in matched], since=[since for _, since in matched])
    message.tails.extend([pb.RowBytes(row=row, data=data) for row, data in slots.tails.items()])
    message.full.extend([pb.RowBytes(row=row, data=data) for row, data in slots.full.items()])
    return message.SerializeToString()


def decode_columns(data: bytes) -> SlotColumns:
    """
    Return the slots that were encoded. Raises ValueError or a protobuf DecodeError for other bytes.
    """
    message = pb.Slots.FromString(data)
    if message.version != VERSION:
        raise ValueError(f"decoding slots: layout version {message.version}, {VERSION} expected")
    rows = message.rows
    series = {name: columns.get(getattr(message, name), rows) for name in _SERIES}
    keys = _split(message.keys)
    return SlotColumns(
        **series,
        keys=keys,
        identities=_split(message.identities) or keys,
        last_values=columns.get(message.last_values, rows),
        more={more.row: tuple(zip(more.epochs, more.meters, strict=True)) for more in message.more},
        activation_table=[tuple(zip(a.rules, a.since, strict=True)) for a in message.activation_table],
        tails={tail.row: tail.data for tail in message.tails},
        full={full.row: full.data for full in message.full},
    )


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + IDENTITY] for at in range(0, len(data), IDENTITY)]


def encode_rows(rows: Sequence[SlotRow]) -> bytes:
    """
    Return slots as bytes, from rows.
    """
    table: dict[Activation, int] = {}
    first = [row.meters[0] if row.meters else (0, 0) for row in rows]
    return encode_columns(
        SlotColumns(
            slots=[row.slot for row in rows],
            keys=[row.key for row in rows],
            identities=[row.identity for row in rows],
            tracks=[row.track for row in rows],
            kinds=[row.kind for row in rows],
            scales=[row.scale for row in rows],
            gens=[row.gen for row in rows],
            last_seen=[row.last_seen for row in rows],
            epochs=[epoch for epoch, _ in first],
            meters=[meter for _, meter in first],
            more={at: row.meters[1:] for at, row in enumerate(rows) if len(row.meters) > 1},
            activations=[table.setdefault(row.activation, len(table)) for row in rows],
            activation_table=list(table),
            starts=[row.start for row in rows],
            origins=[row.origin for row in rows],
            last_times=[row.last_time for row in rows],
            last_values=[row.last_value for row in rows],
            tails={at: row.tail for at, row in enumerate(rows) if row.tail},
            full={at: row.full for at, row in enumerate(rows) if row.full},
        )
    )


def decode_rows(data: bytes) -> list[SlotRow]:
    """
    Return the rows that were encoded.
    """
    slots = decode_columns(data)
    return [_row(slots, at) for at in range(len(slots))]


def _row(slots: SlotColumns, at: int) -> SlotRow:
    first = (slots.epochs[at], slots.meters[at])
    return SlotRow(
        slots.slots[at],
        slots.keys[at],
        slots.identities[at],
        slots.tracks[at],
        slots.kinds[at],
        slots.scales[at],
        slots.gens[at],
        slots.last_seen[at],
        () if first == (0, 0) else (first, *slots.more.get(at, ())),
        slots.activation_table[slots.activations[at]],
        slots.starts[at],
        slots.origins[at],
        slots.last_times[at],
        slots.last_values[at],
        slots.tails.get(at, b""),
        slots.full.get(at, b""),
    )

"""
The frame: one atomic unit of the ledger, as plain data and as bytes (ledger/v1/frame.proto).

Nothing outside the kernel knows this layout. CRC and compression are the ledger's business. Fast rows are columns; what is
rare is a message each. The order of rows, and so of records, is a fixed function of the bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from meterline._proto.meterline.ledger.v1 import frame_pb2 as pb
from meterline.kernel import columns
from meterline.kernel.definitions import (
    IDENTITY,
    ChargeDef,
    Definitions,
    Kind,
    MeterDef,
    decode_charge,
    encode_charge,
    encode_definitions,
)
from meterline.kernel.reasons import BY_CODE, Reason
from meterline.kernel.reasons import Kind as ReasonKind
from meterline.kernel.slots import SlotColumns, SlotRow, decode_columns, decode_rows, encode_columns, encode_rows
from meterline.kernel.steps.ids import Cutoff

__all__ = [
    "Block",
    "ChargeDef",
    "Cutoff",
    "Definitions",
    "DigestRow",
    "FrameContent",
    "IdRow",
    "Kind",
    "LogRow",
    "MeterDef",
    "QuarantineRow",
    "SlotColumns",
    "SlotRow",
    "SlowRow",
    "decode_charge",
    "decode_columns",
    "decode_frame",
    "decode_rows",
    "encode_charge",
    "encode_columns",
    "encode_definitions",
    "encode_frame",
    "encode_rows",
]

VERSION: Final = 1


@dataclass(slots=True)
class Block:
    """
    Fast rows of one source in one scale: each counts for all charges of its meter; window (start, time].

    A row of a delta meter with start 0 is an instant with k = 0. Amounts: whole numbers in scale 0, else Amounts.
    """

    scale: Literal[0, 18]
    source: int
    meters: Sequence[int] = field(default_factory=list)
    starts: Sequence[int] = field(default_factory=list)
    times: Sequence[int] = field(default_factory=list)
    amounts: Sequence[int] = field(default_factory=list)


class SlowRow(NamedTuple):
    """
    A row that is not plain. ``position``: how many rows of scale 0, and of scale 18 blocks of this frame stand before it.

    ``amount``: in units of 10^-18. ``mask``: the charges that make a record, by bit. ``state``: of the stream after it (b"": as
    a fast row would leave it). ``point``: the identity that an instant has of its own, or b"".
    """

    position: tuple[int, int]
    meter: int
    source: int
    start: int
    time: int
    amount: int
    k: int
    kind: Kind
    mask: int
    state: bytes
    point: bytes = b""


class LogRow(NamedTuple):
    """
    One record of a log, with its id, which is its dedupe key too. ``charge``: index into the frame's charges.

    ``remembered`` False: the id names a place in a request, and only the request's digest tells it from a repeat.
    """

    record_id: bytes
    charge: int
    source: int
    time: int
    amount: int
    remembered: bool = True


class IdRow(NamedTuple):
    """
    An id that was remembered without a record of its own.
    """

    key: bytes
    amount: int
    time: int


class DigestRow(NamedTuple):
    """
    The digest of a request and what was answered.
    """

    digest: bytes
    answer: bytes


class QuarantineRow(NamedTuple):
    """
    A quarantined point or claim, with all that a release or retry needs. ``payload``: the point, in ``format``.

    ``charge``: index into the frame's charges, None for raw. Times: window (start, time]; ``k`` of an instant.
    """

    kind: ReasonKind
    reason: Reason
    rule: str
    stream: bytes
    source: int
    received_at: int
    start: int
    time: int
    k: int
    quantity: int | None
    record_id: bytes
    key: bytes
    detail: str
    charge: int | None
    format: str
    payload: bytes


@dataclass(slots=True)
class FrameContent:
    """
    All that a frame holds. ``charges``: encoded ones, named by log and quarantine rows. ``balance``: order of seam.BALANCE.

    ``ids_cutoff``, ``digests_cutoff``: after this frame; None when unchanged. ``loaded``: idle rows that came back with it,
    ``evicted``: keys of streams that left. Replay: loaded, rows by position, evicted. ``streams``: (source, how many new ones).
    """

    seq: int
    gen: int
    rules_hash: str
    received_at: int = 0
    sources: Sequence[tuple[str, str]] = field(default_factory=list)
    blocks: Sequence[Block] = field(default_factory=list)
    slow: Sequence[SlowRow] = field(default_factory=list)
    charges: Sequence[bytes] = field(default_factory=list)
    logs: Sequence[LogRow] = field(default_factory=list)
    ids: Sequence[IdRow] = field(default_factory=list)
    ids_cutoff: Cutoff | None = None
    digests: Sequence[DigestRow] = field(default_factory=list)
    digests_cutoff: Cutoff | None = None
    quarantine: Sequence[QuarantineRow] = field(default_factory=list)
    closed: Sequence[bytes] = field(default_factory=list)
    loaded: Sequence[bytes] = field(default_factory=list)
    evicted: Sequence[bytes] = field(default_factory=list)
    balance: Sequence[int] = field(default_factory=list)
    streams: Sequence[tuple[int, int]] = field(default_factory=list)


def encode_frame(content: FrameContent) -> bytes:
    """
    Return the frame as bytes; the same content gives the same bytes.
    """
    message = pb.Frame(
        version=VERSION,
        seq=content.seq,
        gen=content.gen,
        rules_hash=content.rules_hash,
        received_at=content.received_at,
        charges=content.charges,
        closed=content.closed,
        loaded=content.loaded,
        evicted=content.evicted,
        balance=content.balance,
    )
    message.sources.extend(
        [pb.Source(receiver=receiver, principal=principal) for receiver, principal in content.sources]
    )
    message.digests.extend([pb.Digest(digest=row.digest, answer=row.answer) for row in content.digests])
    for block in content.blocks:
        _put_block(message.blocks.add(), block)
    message.slow.extend(map(_slow, content.slow))
    _put_logs(message, content)
    message.quarantine.extend(map(_quarantined, content.quarantine))
    message.streams.extend([pb.OpenedStreams(source=source, streams=count) for source, count in content.streams])
    return message.SerializeToString(deterministic=True)


def _put_block(message: pb.Block, block: Block) -> None:
    message.scale, message.source, message.rows = block.scale, block.source, len(block.meters)
    columns.put_series(message.meters, block.meters)
    columns.put_series(message.starts, block.starts)
    columns.put_series(message.times, block.times)
    columns.put_amounts(message.amounts, block.amounts)


def _slow(row: SlowRow) -> pb.SlowRow:
    return pb.SlowRow(
        after_narrow=row.position[0],
        after_wide=row.position[1],
        meter=row.meter,
        source=row.source,
        start=row.start,
        time=row.time,
        amount=columns.int_bytes(row.amount),
        k=row.k,
        kind=int(row.kind),  # type: ignore[arg-type]  # the same numbers
        mask=columns.int_bytes(row.mask),
        state=row.state,
        point=row.point,
    )


def _put_logs(message: pb.Frame, content: FrameContent) -> None:
    if content.logs:
        ids, charges, sources, times, amounts, remembered = zip(*content.logs, strict=True)
        message.logs.forgotten.extend([row for row, kept in enumerate(remembered) if not kept])
        message.logs.rows, message.logs.ids = len(ids), b"".join(ids)
        columns.put_series(message.logs.charges, charges)
        columns.put_series(message.logs.sources, sources)
        columns.put_series(message.logs.times, times)
        columns.put_amounts(message.logs.amounts, amounts)
    if content.ids:
        keys, amounts, times = zip(*content.ids, strict=True)
        message.ids.rows, message.ids.keys = len(keys), b"".join(keys)
        columns.put_amounts(message.ids.amounts, amounts)
        columns.put_series(message.ids.times, times)
    _put_cutoff(message.ids_cutoff, content.ids_cutoff)
    _put_cutoff(message.digests_cutoff, content.digests_cutoff)


def _put_cutoff(message: pb.Cutoff, cutoff: Cutoff | None) -> None:
    if cutoff is not None:
        message.SetInParent()
        message.event, message.key = cutoff


def _quarantined(row: QuarantineRow) -> pb.Quarantined:
    message = pb.Quarantined(
        kind=row.kind,
        reason=row.reason.code,
        rule=row.rule,
        stream=row.stream,
        source=row.source,
        received_at=row.received_at,
        start=row.start,
        time=row.time,
        k=row.k,
        record_id=row.record_id,
        key=row.key,
        detail=row.detail,
        format=row.format,
        payload=row.payload,
    )
    if row.quantity is not None:
        message.quantity = columns.int_bytes(row.quantity)
    if row.charge is not None:
        message.charge = row.charge
    return message


def parse_frame(data: bytes) -> pb.Frame:
    """
    Return the frame's message. Raises ValueError, or a protobuf DecodeError, when the bytes are not a frame of this version.
    """
    message = pb.Frame.FromString(data)
    if message.version != VERSION:
        raise ValueError(f"decoding frame: layout version {message.version}, {VERSION} expected")
    return message


def decode_frame(data: bytes) -> FrameContent:
    """
    Return what was encoded. Raises ValueError, or a protobuf DecodeError, when the bytes are not a frame of this version.
    """
    message = parse_frame(data)
    return FrameContent(
        seq=message.seq,
        gen=message.gen,
        rules_hash=message.rules_hash,
        received_at=message.received_at,
        sources=[(source.receiver, source.principal) for source in message.sources],
        blocks=list(map(get_block, message.blocks)),
        slow=list(map(get_slow, message.slow)),
        charges=list(message.charges),
        logs=get_logs(message.logs),
        ids=_get_ids(message.ids),
        ids_cutoff=_get_cutoff(message.ids_cutoff) if message.HasField("ids_cutoff") else None,
        digests=[DigestRow(row.digest, row.answer) for row in message.digests],
        digests_cutoff=_get_cutoff(message.digests_cutoff) if message.HasField("digests_cutoff") else None,
        quarantine=list(map(_get_quarantined, message.quarantine)),
        closed=list(message.closed),
        loaded=list(message.loaded),
        evicted=list(message.evicted),
        balance=list(message.balance),
        streams=[(row.source, row.streams) for row in message.streams],
    )


def get_block(message: pb.Block) -> Block:
    """
    Return a block with its columns as lists.
    """
    rows = message.rows
    return Block(
        18 if message.scale else 0,
        message.source,
        columns.get(message.meters, rows),
        columns.get(message.starts, rows),
        columns.get(message.times, rows),
        columns.get(message.amounts, rows),
    )


def get_slow(row: pb.SlowRow) -> SlowRow:
    """
    Return a slow row as plain data.
    """
    amount, mask = columns.bytes_int(row.amount), columns.bytes_int(row.mask)
    position = (row.after_narrow, row.after_wide)
    numbers = (row.meter, row.source, row.start, row.time, amount, row.k)
    return SlowRow(position, *numbers, Kind(row.kind), mask, row.state, row.point)


def get_logs(message: pb.LogRows) -> list[LogRow]:
    """
    Return the log rows as plain data.
    """
    rows = message.rows
    numbers = (message.charges, message.sources, message.times, message.amounts)
    forgotten = set(message.forgotten)
    remembered = [row not in forgotten for row in range(rows)]
    return list(map(LogRow, _split(message.ids), *(columns.get(column, rows) for column in numbers), remembered))


def _get_ids(message: pb.IdRows) -> list[IdRow]:
    rows = message.rows
    return list(map(IdRow, _split(message.keys), columns.get(message.amounts, rows), columns.get(message.times, rows)))


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + IDENTITY] for at in range(0, len(data), IDENTITY)]


def _get_cutoff(message: pb.Cutoff) -> Cutoff:
    return Cutoff(message.event, message.key)


def _get_quarantined(row: pb.Quarantined) -> QuarantineRow:
    reason = BY_CODE[row.reason]
    return QuarantineRow(
        reason.kind,
        reason,
        row.rule,
        row.stream,
        row.source,
        row.received_at,
        row.start,
        row.time,
        row.k,
        columns.bytes_int(row.quantity) if row.HasField("quantity") else None,
        row.record_id,
        row.key,
        row.detail,
        row.charge if row.HasField("charge") else None,
        row.format,
        row.payload,
    )

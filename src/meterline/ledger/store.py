"""
The statements of one commit, part by part. Each runs inside the caller's transaction; none of them commits.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import apsw

from meterline.errors import CorruptLedgerError
from meterline.kernel.seam import BALANCE, Event, Frame, SnapshotPart, TotalRow
from meterline.ledger import codec
from meterline.ledger.quarantine import text
from meterline.quantity import format_units

_BALANCE: Final = f"UPDATE balance SET frame = ?, {', '.join(f'{name} = {name} + ?' for name in BALANCE)}"  # noqa: S608 - our own names
_BALANCE_NAMES: Final = frozenset(BALANCE)
_EVENT: Final = "INSERT INTO event (at, frame, kind, rule, stream, detail) VALUES (?, ?, ?, ?, ?, ?)"
_TOTAL: Final = (
    "INSERT INTO total VALUES (?, ?, ?, ?, ?) ON CONFLICT (hour, customer, dimension) DO UPDATE SET"
    " value = meterline_add(value, excluded.value), count = count + excluded.count"
)


def frame_label(*numbers: int) -> str:
    """
    Return what a frame's CRC covers besides its body and codec: seq, gen, records, first_meter, meters.
    """
    return " ".join(map(str, numbers))


def store_frame(connection: apsw.Connection, frame: Frame, now_ns: int) -> int:
    """
    Store a frame with its definitions, counts and events, but for its quarantine; returns the bytes stored.
    """
    label = frame_label(frame.seq, frame.gen, frame.records, frame.first_meter, frame.meters)
    stored = codec.pack(frame.body, label, "fast")
    numbers = (frame.seq, frame.gen, now_ns, frame.points, frame.records, frame.first_meter, frame.meters)
    connection.execute(
        "INSERT INTO frame VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*numbers, stored.crc, stored.codec, len(frame.body), stored.body),
    )
    store_balance(connection, frame)
    store_events(connection, frame.events, now_ns, frame.seq)
    return len(stored.body) + (store_definitions(connection, frame) if frame.meters else 0)


def store_definitions(connection: apsw.Connection, frame: Frame) -> int:
    """
    Store what declares the frame's new meters.
    """
    stored = codec.pack(frame.definitions, f"meters {frame.first_meter} {frame.meters}", "small")
    connection.execute(
        "INSERT INTO definition VALUES (?, ?, ?, ?, ?, ?)", (frame.first_meter, frame.meters, frame.seq, *stored)
    )
    return len(stored.body)


def store_balance(connection: apsw.Connection, frame: Frame) -> None:
    """
    Add the frame's counts. Raises ValueError for a counter that the ledger does not keep.
    """
    balance = frame.balance
    if not balance.keys() <= _BALANCE_NAMES:
        raise ValueError(f"storing frame {frame.seq}: no balance counter {sorted(balance.keys() - _BALANCE_NAMES)}")
    connection.execute(_BALANCE, [frame.seq, *[balance.get(name, 0) for name in BALANCE]])


def store_events(connection: apsw.Connection, events: Sequence[Event], now_ns: int, seq: int | None) -> None:
    """
    Append to the audit table.
    """
    for event in events:
        detail = json.dumps(dict(event.detail), default=str, ensure_ascii=False)
        connection.execute(_EVENT, (now_ns, seq, event.kind, text(event.rule), event.stream, text(detail)))


def store_idle(
    connection: apsw.Connection, idled: Sequence[tuple[bytes, bytes]], unidled: Sequence[bytes]
) -> tuple[int, int]:
    """
    Move streams into and out of the idle table; returns bytes stored and by how many rows the table grew.
    """
    before = connection.total_changes()
    if unidled:
        connection.executemany("DELETE FROM idle WHERE key = ?", [(key,) for key in unidled])
    removed = connection.total_changes() - before
    if idled:
        rows = [(key, codec.checksum(row, key.hex()), row) for key, row in idled]
        connection.executemany("INSERT INTO idle VALUES (?, ?, ?)", rows)
    grown = len(idled) - removed
    connection.execute("UPDATE meta SET value = value + ? WHERE key = 'idle'", (grown,))
    return sum(len(row) for _, row in idled), grown


def store_totals(connection: apsw.Connection, totals: Sequence[TotalRow], through: int) -> None:
    """
    Add increments to the hourly totals, which then hold every frame up to ``through``.
    """
    rows = [(row.hour, row.customer, row.dimension, format_units(row.value), row.count) for row in totals]
    connection.executemany(_TOTAL, rows)
    set_meta(connection, "totals_through", through)


def store_remembered(connection: apsw.Connection, remembered: Mapping[tuple[str, str], bytes]) -> None:
    """
    Replace what receivers asked to be remembered; b"" is deleted.
    """
    for (receiver, key), value in remembered.items():
        if value:
            connection.execute("INSERT OR REPLACE INTO receiver_state VALUES (?, ?, ?)", (receiver, key, value))
        else:
            connection.execute("DELETE FROM receiver_state WHERE receiver = ? AND key = ?", (receiver, key))


def remembered(connection: apsw.Connection, receiver: str) -> dict[str, bytes]:
    """
    Return what a receiver asked to be remembered.
    """
    rows: list[Any] = connection.execute(
        "SELECT key, value FROM receiver_state WHERE receiver = ?", (receiver,)
    ).fetchall()
    return dict(rows)


def store_snapshot(connection: apsw.Connection, part: SnapshotPart, begun: int) -> int:
    """
    Store one part of a snapshot that began as of a frame; returns the bytes stored.
    """
    size = 0
    if part.complete:
        set_meta(connection, "snapshot_floor", begun)
    for chunk in part.chunks:
        stored = codec.pack(chunk.body, f"chunk {chunk.id}", "fast")
        connection.execute("INSERT OR REPLACE INTO chunk VALUES (?, ?)", (chunk.id, chunk.seq))
        connection.execute("INSERT OR REPLACE INTO chunk_body VALUES (?, ?, ?, ?)", (chunk.id, *stored))
        size += len(stored.body)
    connection.executemany("UPDATE chunk SET seq = ? WHERE id = ?", [(part.seq, known) for known in part.unchanged])
    for table in ("chunk", "chunk_body"):
        connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(gone,) for gone in part.dropped])  # noqa: S608
    set_meta(connection, "snapshot_check", snapshot_check(connection))
    return size


def snapshot_check(connection: apsw.Connection) -> int:
    """
    Return a CRC-32 over the floor and which chunks there are as of which frames: none may be missing unnoticed.
    """
    query = "SELECT count(*), coalesce(sum(id), 0), coalesce(sum(seq), 0) FROM chunk"
    return codec.checksum(b"", f"{get_meta(connection, 'snapshot_floor')} {connection.execute(query).fetchone()}")


def set_meta(connection: apsw.Connection, key: str, value: Any) -> None:
    """
    Set one row of ``meta``.
    """
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def get_number(connection: apsw.Connection, key: str) -> int:
    """
    Return one number of ``meta``. Raises CorruptLedgerError when it is not there, or none.
    """
    found = get_meta(connection, key)
    if not isinstance(found, int):
        raise CorruptLedgerError(f"reading the ledger: meta has no number {key!r}; restore the ledger from a backup")
    return found


def get_meta(connection: apsw.Connection, key: str) -> Any:
    """
    Return one value of ``meta``; None when it is not there.
    """
    return connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get

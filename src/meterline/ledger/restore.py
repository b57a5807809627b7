"""
What a start reads back: snapshot chunks, the frames after the oldest of them, open raw keys.
"""

from collections.abc import Iterator
from typing import TypeVar

import apsw

from meterline.errors import CorruptLedgerError
from meterline.kernel.seam import Chunk, StoredFrame
from meterline.ledger import codec, faults, frames
from meterline.ledger.model import StoredState
from meterline.ledger.store import get_number, snapshot_check

T = TypeVar("T")


def snapshot_floor(connection: apsw.Connection) -> int:
    """
    Return the frame that every part of the snapshot covers; frames after it are what a start replays.

    0 until the first snapshot is complete. A chunk that came up after the last complete snapshot began has its rows in
    frames after that beginning, hence the lower of the two.
    """
    oldest = connection.execute("SELECT min(seq) FROM chunk").get
    complete = get_number(connection, "snapshot_floor")
    return complete if oldest is None else min(complete, oldest)


def last_seq(connection: apsw.Connection) -> int:
    """
    Return the number of the newest frame that was committed; 0: none. Retention never drops that one.
    """
    query = "SELECT max((SELECT coalesce(max(seq), 0) FROM frame), (SELECT coalesce(max(frame), 0) FROM balance))"
    found: int = connection.execute(query).get
    return found


def next_meter(connection: apsw.Connection) -> int:
    """
    Return the first meter id that was never declared.
    """
    found: int = connection.execute("SELECT coalesce(max(first_meter + meters), 0) FROM definition").get
    return found


def stored_state(connection: apsw.Connection, name: str, idle: int) -> StoredState:
    """
    Return lazy iterators over one connection: walk them one after the other, before anything is committed.
    """
    doing = f"restoring from ledger {name!r}"
    with faults.raised_as_meant(connection, doing):
        last = last_seq(connection)
        _check_chunks(connection, name)
        return StoredState(
            chunks=_as_meant(connection, doing, _chunks(connection, name)),
            frames=_as_meant(connection, doing, _frames(connection, name, snapshot_floor(connection), last)),
            open_raw=_as_meant(connection, doing, _open_raw(connection)),
            idle=idle,
            next_meter=next_meter(connection),
            last_seq=last,
        )


def _check_chunks(connection: apsw.Connection, name: str) -> None:
    """
    Compare the list of chunks with what was last said of it.
    """
    if snapshot_check(connection) != get_number(connection, "snapshot_check"):
        raise CorruptLedgerError(
            f"restoring from ledger {name!r}: chunks of the snapshot are missing; restore the ledger from a backup"
        )


def _as_meant(connection: apsw.Connection, doing: str, rows: Iterator[T]) -> Iterator[T]:
    with faults.raised_as_meant(connection, doing):
        yield from rows


def _open_raw(connection: apsw.Connection) -> Iterator[bytes]:
    for (key,) in connection.execute("SELECT key FROM open_key"):
        yield bytes(key)


def _chunks(connection: apsw.Connection, name: str) -> Iterator[Chunk]:
    rows = connection.execute("SELECT id, seq, crc, codec, body FROM chunk LEFT JOIN chunk_body USING (id) ORDER BY id")
    for chunk, seq, *stored in rows:
        try:
            body = codec.unpack(codec.Stored(*stored), f"chunk {chunk}")
        except (codec.CorruptBodyError, TypeError) as error:
            raise CorruptLedgerError(
                f"restoring from ledger {name!r}: snapshot chunk {chunk}, as of frame {seq}, fails its CRC, and the frames"
                " it was made from are gone; restore the ledger from a backup"
            ) from error
        yield Chunk(chunk, seq, body)


def _frames(connection: apsw.Connection, name: str, floor: int, last: int) -> Iterator[StoredFrame]:
    aside = frames.set_aside(connection, floor)
    expected = floor + 1
    for row, _ in frames.rows_after(connection, floor):
        _check_present(name, range(expected, row.seq), aside)
        expected = row.seq + 1
        if row.frame is not None:
            yield row.frame
        elif row.seq not in aside:
            raise CorruptLedgerError(_way_out(name, row.seq, "fails its CRC"))
    _check_present(name, range(expected, last + 1), aside)


def _check_present(name: str, missing: range, aside: set[int]) -> None:
    for seq in missing:
        if seq not in aside:
            raise CorruptLedgerError(_way_out(name, seq, "is missing"))


def _way_out(name: str, seq: int, what: str) -> str:
    return (
        f"restoring from ledger {name!r}: frame {seq} {what} and is newer than the oldest snapshot chunk; restore the ledger"
        f" from a backup, or accept that usage in it may be lost or billed again:"
        f" python -m meterline.ledger.repair {name} {seq}"
    )

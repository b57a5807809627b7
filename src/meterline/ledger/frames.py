"""
Reads frames back, CRC checked.
"""

from collections.abc import Generator
from typing import Any, Final

import apsw

from meterline.errors import CorruptLedgerError
from meterline.kernel.seam import StoredFrame
from meterline.ledger import codec
from meterline.ledger.model import FrameRow
from meterline.ledger.names import unpack_definitions
from meterline.ledger.store import frame_label

_COLUMNS: Final = (
    "SELECT f.seq, f.gen, f.records, f.committed_at, f.size, f.first_meter, f.meters, f.crc, f.codec, f.body,"
    " d.first_meter, d.meters, d.crc, d.codec, d.body FROM frame f"
    " LEFT JOIN definition d ON f.meters > 0 AND d.first_meter = f.first_meter"
)


def rows_after(connection: apsw.Connection, after_seq: int) -> Generator[tuple[FrameRow, int], None, None]:
    """
    Walk the frames after a number, in order, each with the size of its body before compression.

    Holds a read transaction while it is walked: close it, or walk it to the end.
    """
    aside = set_aside(connection, after_seq)
    cursor = connection.cursor()
    try:
        for row in cursor.execute(f"{_COLUMNS} WHERE f.seq > ? ORDER BY f.seq", (after_seq,)):
            frame = None if row[0] in aside else _frame(row)
            yield FrameRow(seq=row[0], records=row[2], committed_at=row[3], frame=frame), row[4]
    finally:
        cursor.close()


def one(connection: apsw.Connection, seq: int) -> FrameRow | None:
    """
    Return one frame; None when there is none of that number.
    """
    row = connection.execute(f"{_COLUMNS} WHERE f.seq = ?", (seq,)).fetchone()
    if row is None:
        return None
    frame = None if seq in set_aside(connection, seq - 1) else _frame(row)
    return FrameRow(seq=seq, records=row[2], committed_at=row[3], frame=frame)


def kept(connection: apsw.Connection, seq: int) -> StoredFrame | None:
    """
    Return what retention has kept of a frame, with the definitions that the frame declared.
    """
    row: Any = connection.execute(
        "SELECT k.gen, k.crc, k.codec, k.body, d.first_meter, d.meters, d.crc, d.codec, d.body FROM kept_frame k"
        " LEFT JOIN definition d ON d.frame = k.seq WHERE k.seq = ?",
        (seq,),
    ).fetchone()
    if row is None:
        return None
    try:
        body = codec.unpack(codec.Stored(*row[1:4]), kept_label(seq, row[0]))
        return StoredFrame(seq, row[0], body, unpack_definitions(row[4:]) if row[5] else b"")
    except (codec.CorruptBodyError, CorruptLedgerError):
        return None


def kept_label(seq: int, gen: int) -> str:
    """
    Return what the CRC of a kept frame covers besides its body and codec.
    """
    return f"kept {seq} {gen}"


def set_aside(connection: apsw.Connection, after_seq: int) -> set[int]:
    """
    Return the numbers of the frames that were set aside, after a number.
    """
    return {row[0] for row in connection.execute("SELECT seq FROM corrupt_frame WHERE seq > ?", (after_seq,))}


def _frame(row: tuple[Any, ...]) -> StoredFrame | None:
    """
    None: the body or the definitions are not what was stored.
    """
    seq, gen, records, _, _, first_meter, meters = row[:7]
    try:
        body = codec.unpack(codec.Stored(*row[7:10]), frame_label(seq, gen, records, first_meter, meters))
        definitions = unpack_definitions(row[10:]) if meters else b""
    except (codec.CorruptBodyError, CorruptLedgerError, TypeError):
        return None
    return StoredFrame(seq, gen, body, definitions)

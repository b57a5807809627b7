"""
Delivery's books inside the ledger: cursors, batches in flight, outcomes. Plain SQL on an apsw connection.

Tables, readable by any sqlite3 shell:

``exporter``  one row per exporter name: the position of the next record to be put into a batch, the last checkpoint, counts.
``batch``     one row per batch without a receipt. ``sending`` = 1: its send has begun and no answer is recorded.
``outcome``   what is not plain delivered: dead and held records with their JSON, and what was sent without an answer.

Positions are (frame number, ordinal of the record in the frame). Times are int nanoseconds UTC. For every exporter, in
any snapshot: ``created = delivered + (sum of batch.count) + held + dead + void``; what is after the cursor is pending too
and is counted by whoever can expand frames. Every function runs inside the caller's transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import apsw

State: TypeAlias = Literal["pending", "delivered", "held", "dead", "void"]

DDL: Final = """
CREATE TABLE exporter (
  name           TEXT    NOT NULL PRIMARY KEY,
  started_at     INTEGER NOT NULL,
  only_filter    TEXT    NOT NULL,             -- JSON of `only` as the config has it; {} = every record
  cursor_seq     INTEGER NOT NULL,             -- the next record to be put into a batch
  cursor_ordinal INTEGER NOT NULL,
  next_batch     INTEGER NOT NULL DEFAULT 1,
  checkpoint     BLOB,                         -- what the exporter said with its last stored receipt
  paused         TEXT,                         -- why it is paused; NULL: it is not
  created        INTEGER NOT NULL DEFAULT 0,   -- records put into batches, and corrupt ones
  excluded       INTEGER NOT NULL DEFAULT 0,   -- records passed over by `only`
  delivered      INTEGER NOT NULL DEFAULT 0,
  held           INTEGER NOT NULL DEFAULT 0,
  dead           INTEGER NOT NULL DEFAULT 0,
  void           INTEGER NOT NULL DEFAULT 0,
  attempts       INTEGER NOT NULL DEFAULT 0    -- sends begun
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
  exporter       TEXT    NOT NULL,
  number         INTEGER NOT NULL,
  first_seq      INTEGER NOT NULL,
  first_ordinal  INTEGER NOT NULL,
  last_seq       INTEGER NOT NULL,             -- inclusive
  last_ordinal   INTEGER NOT NULL,
  only_filter    TEXT    NOT NULL,             -- the same when it was formed
  ordinals       TEXT,                         -- JSON [[seq, [ordinal, ...]], ...]; NULL: all that the filter keeps
  count          INTEGER NOT NULL,
  attempt        INTEGER NOT NULL,             -- sends begun
  sending        INTEGER NOT NULL,             -- 1: a send has begun and its receipt is not stored
  unanswered     INTEGER NOT NULL DEFAULT 0,   -- sends that had no answer
  next_at        INTEGER NOT NULL,             -- when it is sent again
  formed_at      INTEGER NOT NULL,
  since          INTEGER NOT NULL,             -- when its oldest record was committed
  reason         TEXT    NOT NULL DEFAULT '',  -- why it waits
  PRIMARY KEY (exporter, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE outcome (
  exporter       TEXT    NOT NULL,
  seq            INTEGER NOT NULL,
  ordinal        INTEGER NOT NULL,
  records        INTEGER NOT NULL DEFAULT 1,   -- over 1 only for what a corrupt frame lost
  batch          INTEGER,
  record_id      TEXT,
  state          TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'held', 'dead', 'void')),
  reason         TEXT    NOT NULL,
  unanswered     INTEGER NOT NULL DEFAULT 0,   -- over 0 and delivered: possibly repeated at the backend
  at             INTEGER NOT NULL,
  record         TEXT,                         -- the whole record as JSON, when it is held or dead
  PRIMARY KEY (exporter, seq, ordinal)
) STRICT, WITHOUT ROWID;

CREATE INDEX outcome_by_record ON outcome (record_id) WHERE record_id IS NOT NULL;
CREATE INDEX outcome_by_state ON outcome (state, exporter, at);
"""


class Position(NamedTuple):
    """
    Where a record stands: frame number and ordinal in the frame.
    """

    seq: int
    ordinal: int


@dataclass(frozen=True, slots=True)
class ExporterRow:
    """
    An exporter's own row; ``pending`` and ``batches`` are those of its batch rows, ``oldest`` the oldest record's commit.
    """

    name: str
    started_at: int
    only_filter: str
    cursor: Position
    next_batch: int
    checkpoint: bytes | None
    paused: str | None
    created: int
    excluded: int
    delivered: int
    held: int
    dead: int
    void: int
    attempts: int
    batches: int
    pending: int
    oldest: int | None


@dataclass(frozen=True, slots=True)
class BatchRow:
    """
    A batch with fixed boundaries; ``first`` and ``last`` are inclusive, see the table's comments.
    """

    number: int
    first: Position
    last: Position
    only_filter: str
    ordinals: str | None
    count: int
    attempt: int
    sending: int
    unanswered: int
    next_at: int
    formed_at: int
    since: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """
    What became of one record (or of ``records`` lost ones), when that is not plain delivered.
    """

    position: Position
    state: State
    reason: str
    at: int
    batch: int | None = None
    record_id: str | None = None
    records: int = 1
    unanswered: int = 0
    record: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """
    What a receipt makes of a batch. ``rest``: new batches of the records that are to be sent again.

    delivered + held + dead + the counts of ``rest`` = the count of the batch.
    """

    number: int
    delivered: int = 0
    held: int = 0
    dead: int = 0
    outcomes: Sequence[OutcomeRow] = ()
    rest: Sequence[BatchRow] = ()
    checkpoint: bytes | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """
    An exporter of the config: where it begins if it has no cursor yet, and its ``only`` as JSON.
    """

    name: str
    start: Position
    only_filter: str = "{}"


def open_exporter(connection: apsw.Connection, opening: Opening, now_ns: int) -> None:
    """
    Give a new name its start position; a known one keeps its cursor. Clears a pause: opening is the person's act.
    """
    connection.execute(
        "INSERT INTO exporter (name, started_at, only_filter, cursor_seq, cursor_ordinal) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET paused = NULL, only_filter = excluded.only_filter",
        (opening.name, now_ns, opening.only_filter, *opening.start),
    )


_EXPORTER_COLUMNS: Final = (
    "SELECT name, started_at, only_filter, cursor_seq, cursor_ordinal, next_batch, checkpoint, paused, created, excluded,"
    " delivered, held, dead, void, attempts, (SELECT count(*) FROM batch WHERE exporter = name),"
    " (SELECT coalesce(sum(count), 0) FROM batch WHERE exporter = name),"
    " (SELECT min(since) FROM batch WHERE exporter = name) FROM exporter"
)


def exporters(connection: apsw.Connection) -> list[ExporterRow]:
    """
    Return every exporter that has a cursor, by name; those that the config no longer has as well.
    """
    return [_exporter(*row) for row in connection.execute(f"{_EXPORTER_COLUMNS} ORDER BY name")]


def exporter(connection: apsw.Connection, name: str) -> ExporterRow | None:
    """
    Return one exporter's row, or None when it has no cursor.
    """
    row = connection.execute(f"{_EXPORTER_COLUMNS} WHERE name = ?", (name,)).fetchone()
    return None if row is None else _exporter(*row)


def _exporter(name: str, started_at: int, only_filter: str, seq: int, ordinal: int, *rest: Any) -> ExporterRow:
    return ExporterRow(name, started_at, only_filter, Position(seq, ordinal), *rest)


def batches(connection: apsw.Connection, name: str) -> list[BatchRow]:
    """
    Return the batches of an exporter that have no receipt, in order of their numbers.
    """
    rows = connection.execute(
        "SELECT number, first_seq, first_ordinal, last_seq, last_ordinal, only_filter, ordinals, count, attempt, sending,"
        " unanswered, next_at, formed_at, since, reason FROM batch WHERE exporter = ? ORDER BY number",
        (name,),
    )
    return [_batch(*row) for row in rows]


def _batch(number: int, first: int, first_ordinal: int, last: int, last_ordinal: int, *rest: Any) -> BatchRow:
    return BatchRow(number, Position(first, first_ordinal), Position(last, last_ordinal), *rest)


def form(connection: apsw.Connection, name: str, row: BatchRow, cursor: Position, excluded: int) -> None:
    """
    Record a new batch, about to be sent for the first time, and move the cursor past it.
    """
    _insert(connection, name, row)
    connection.execute(
        "UPDATE exporter SET created = created + ?, attempts = attempts + 1 WHERE name = ?", (row.count, name)
    )
    advance(connection, name, cursor, excluded)


def advance(connection: apsw.Connection, name: str, cursor: Position, excluded: int) -> None:
    """
    Move the cursor past records that ``only`` does not keep.
    """
    connection.execute(
        "UPDATE exporter SET cursor_seq = ?, cursor_ordinal = ?, excluded = excluded + ? WHERE name = ?",
        (*cursor, excluded, name),
    )


def lose(connection: apsw.Connection, name: str, cursor: Position, lost: OutcomeRow) -> None:
    """
    Move the cursor past a corrupt frame: what was not delivered of it is created and dead at once.
    """
    connection.execute(
        "UPDATE exporter SET created = created + ?, dead = dead + ? WHERE name = ?", (lost.records, lost.records, name)
    )
    advance(connection, name, cursor, 0)
    _record(connection, name, [lost])


def begin(connection: apsw.Connection, name: str, number: int) -> None:
    """
    Record that a batch is being sent again.
    """
    connection.execute(
        "UPDATE batch SET attempt = attempt + 1, sending = 1, reason = '' WHERE exporter = ? AND number = ?",
        (name, number),
    )
    connection.execute("UPDATE exporter SET attempts = attempts + 1 WHERE name = ?", (name,))


def settle(connection: apsw.Connection, name: str, settlement: Settlement) -> bool:
    """
    Store a receipt: delete the batch row, write outcomes, counts, checkpoint and what is to be sent again.

    False, and nothing is done, when the batch has no row: its receipt is stored already.
    """
    connection.execute("DELETE FROM batch WHERE exporter = ? AND number = ?", (name, settlement.number))
    if connection.changes() == 0:
        return False
    connection.execute(
        "UPDATE exporter SET delivered = delivered + ?, held = held + ?, dead = dead + ? WHERE name = ?",
        (settlement.delivered, settlement.held, settlement.dead, name),
    )
    for row in settlement.rest:
        _insert(connection, name, row)
    _record(connection, name, settlement.outcomes)
    store_checkpoint(connection, name, settlement.checkpoint)
    return True


def answered(connection: apsw.Connection, name: str, number: int, now_ns: int) -> None:
    """
    Close the list of a batch that was sent without an answer before: what it still lists as pending was delivered now.
    """
    connection.execute(
        "UPDATE outcome SET state = 'delivered', at = ? WHERE exporter = ? AND batch = ? AND state = 'pending'",
        (now_ns, name, number),
    )


def reschedule(connection: apsw.Connection, name: str, row: BatchRow, listed: Iterable[OutcomeRow] = ()) -> None:
    """
    Store that a send is over and when the next one is due; the batch keeps its number and its records.
    """
    connection.execute(
        "UPDATE batch SET sending = 0, attempt = ?, next_at = ?, unanswered = ?, reason = ? WHERE exporter = ? AND number = ?",
        (row.attempt, row.next_at, row.unanswered, row.reason, name, row.number),
    )
    _record(connection, name, listed)


def store_checkpoint(connection: apsw.Connection, name: str, checkpoint: bytes | None) -> None:
    """
    Store an exporter's checkpoint; None leaves the last one.
    """
    if checkpoint is not None:
        connection.execute("UPDATE exporter SET checkpoint = ? WHERE name = ?", (checkpoint, name))


def pause(connection: apsw.Connection, name: str, reason: str | None) -> None:
    """
    Show that an exporter waits for a person, and why; None: it goes on.
    """
    connection.execute("UPDATE exporter SET paused = ? WHERE name = ?", (reason, name))


def floor(connection: apsw.Connection) -> int | None:
    """
    Return the oldest frame that an exporter still needs: unread, or in a batch without a receipt. None: no exporter.

    Exporters that the config no longer has count too, until they are forgotten. Held and dead records carry their JSON
    in ``outcome`` and keep no frame.
    """
    query = "SELECT min(seq) FROM (SELECT cursor_seq AS seq FROM exporter UNION ALL SELECT first_seq FROM batch)"
    found: int | None = connection.execute(query).get
    return found


def forget(connection: apsw.Connection, name: str) -> bool:
    """
    Drop an exporter's cursor, batches and outcomes, so that it keeps no frame any more. False: there is none.
    """
    connection.execute("DELETE FROM batch WHERE exporter = ?", (name,))
    connection.execute("DELETE FROM outcome WHERE exporter = ?", (name,))
    connection.execute("DELETE FROM exporter WHERE name = ?", (name,))
    return connection.changes() > 0


def _insert(connection: apsw.Connection, name: str, row: BatchRow) -> None:
    ends = (*row.first, *row.last)
    state = (row.count, row.attempt, row.sending, row.unanswered, row.next_at, row.formed_at, row.since, row.reason)
    connection.execute(
        "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (name, row.number, *ends, row.only_filter, row.ordinals, *state),
    )
    connection.execute("UPDATE exporter SET next_batch = max(next_batch, ?) WHERE name = ?", (row.number + 1, name))


def _record(connection: apsw.Connection, name: str, rows: Iterable[OutcomeRow]) -> None:
    connection.executemany(
        "INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (exporter, seq, ordinal) DO UPDATE SET"
        " batch = excluded.batch, state = excluded.state, reason = excluded.reason, at = excluded.at,"
        " record = excluded.record, unanswered = unanswered + excluded.unanswered",
        [(name, *row.position, row.records, row.batch, row.record_id, *_fate(row)) for row in rows],
    )


def _fate(row: OutcomeRow) -> tuple[str, str, int, int, str | None]:
    return row.state, row.reason, row.unanswered, row.at, row.record

"""
The ledger's tables, their version, and how older ones are brought up to date.

``docs/ledger.md`` explains every table and column for people with a ``sqlite3`` shell. Times are int nanoseconds UTC,
quantities are exact decimal text. Delivery's own tables stand in ``deliveries.DDL``.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

from meterline.errors import ConfigurationError, CorruptLedgerError
from meterline.kernel.seam import BALANCE
from meterline.ledger import deliveries, store

APPLICATION_ID: Final = 0x4D54524C
"""``MTRL`` in the file's header: this SQLite file is a Meterline ledger."""

SCHEMA_VERSION: Final = 2
"""Stands in ``PRAGMA user_version``."""

PAGE_BYTES: Final = 8192
"""Against 4096: a third less CPU for a frame of 300 kB, and checkpoints of the same bytes in 60 % of the time."""

_BALANCE_COLUMNS: Final = ",\n".join(f"  {name} INTEGER NOT NULL DEFAULT 0" for name in BALANCE)

_TABLES: Final = """
CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value ANY  NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE generation (
  gen          INTEGER NOT NULL PRIMARY KEY,  -- 1, 2, ... one per change of the rule set
  rules_hash   TEXT    NOT NULL,
  activated_at INTEGER NOT NULL,
  text         TEXT    NOT NULL               -- the rules as they were read
) STRICT;

CREATE TABLE generation_rule (
  gen                 INTEGER NOT NULL,
  name                TEXT    NOT NULL,
  match_hash          TEXT    NOT NULL,       -- of its match and when alone
  since               INTEGER NOT NULL,       -- the instant since which it has had this match and when
  match_from_gen      INTEGER NOT NULL,       -- first generation of the unbroken run with this match_hash
  continuous_from_gen INTEGER NOT NULL,       -- first of the unbroken run with at most one change of match_hash
  PRIMARY KEY (gen, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE frame (
  seq          INTEGER NOT NULL PRIMARY KEY,  -- 1, 2, ... one per commit that took points
  gen          INTEGER NOT NULL,
  committed_at INTEGER NOT NULL,
  points       INTEGER NOT NULL,
  records      INTEGER NOT NULL,              -- how many usage records it holds
  first_meter  INTEGER NOT NULL,              -- its own definitions: first meter id and how many; see definition
  meters       INTEGER NOT NULL,
  crc          INTEGER NOT NULL,              -- CRC-32 of "seq gen records first_meter meters codec" and the stored body
  codec        INTEGER NOT NULL,              -- 0 as it is, 1 zstd
  size         INTEGER NOT NULL,              -- bytes of the body before compression
  body         BLOB    NOT NULL
) STRICT;

CREATE TABLE kept_frame (
  seq   INTEGER NOT NULL PRIMARY KEY,         -- a frame that retention dropped all of but its quarantined points
  gen   INTEGER NOT NULL,
  crc   INTEGER NOT NULL,
  codec INTEGER NOT NULL,
  body  BLOB    NOT NULL
) STRICT;

CREATE TABLE corrupt_frame (
  seq      INTEGER NOT NULL PRIMARY KEY,      -- a frame that failed its CRC and was set aside
  found_at INTEGER NOT NULL,
  records  INTEGER NOT NULL,
  detail   TEXT    NOT NULL
) STRICT;

CREATE TABLE definition (
  first_meter INTEGER NOT NULL PRIMARY KEY,   -- declares meter ids first_meter .. first_meter + meters - 1; never deleted
  meters      INTEGER NOT NULL,
  frame       INTEGER NOT NULL,
  crc         INTEGER NOT NULL,
  codec       INTEGER NOT NULL,
  body        BLOB    NOT NULL
) STRICT;

CREATE INDEX definition_of ON definition (frame);

CREATE TABLE balance (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  frame INTEGER NOT NULL DEFAULT 0,           -- the last one that is counted: the newest there is
@BALANCE
) STRICT;

CREATE TABLE event (
  id     INTEGER NOT NULL PRIMARY KEY,
  at     INTEGER NOT NULL,
  frame  INTEGER,                             -- NULL: not made by a frame
  kind   TEXT    NOT NULL,
  rule   TEXT    NOT NULL,
  stream TEXT    NOT NULL,
  detail TEXT    NOT NULL                     -- JSON
) STRICT;

CREATE TABLE quarantine (
  id                INTEGER NOT NULL PRIMARY KEY,
  hour              INTEGER NOT NULL,         -- start of the hour of reception
  principal         TEXT    NOT NULL,
  receiver          TEXT    NOT NULL,
  rule              TEXT    NOT NULL,
  reason            TEXT    NOT NULL,
  kind              TEXT    NOT NULL CHECK (kind IN ('raw', 'claim', 'disputed')),
  stream            BLOB    NOT NULL,
  count             INTEGER NOT NULL,         -- entries ever
  open              INTEGER NOT NULL,         -- entries that nobody has ended yet
  bytes             INTEGER NOT NULL,         -- what the open ones hold in their frames
  quantity          TEXT,                     -- exact sum of all; NULL for raw
  first_received_at INTEGER NOT NULL,
  last_received_at  INTEGER NOT NULL,
  first_time        INTEGER NOT NULL,         -- event time of the first and of the last one received
  last_time         INTEGER NOT NULL,
  record_id         TEXT    NOT NULL,         -- of the last one: the id its record would have; '' for raw
  detail            TEXT    NOT NULL          -- of the last one
) STRICT;

CREATE UNIQUE INDEX quarantine_group ON quarantine (hour, principal, receiver, rule, reason, stream);

CREATE TABLE quarantine_frame (
  quarantine INTEGER NOT NULL,
  frame      INTEGER NOT NULL,                -- the entries themselves are in this frame (or kept_frame)
  count      INTEGER NOT NULL,
  PRIMARY KEY (frame, quarantine)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine_open (
  principal TEXT    NOT NULL,
  reason    TEXT    NOT NULL,
  entries   INTEGER NOT NULL,
  bytes     INTEGER NOT NULL,                 -- against ledger.quarantine_max_bytes, summed by principal
  PRIMARY KEY (principal, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE open_key (
  key        BLOB    NOT NULL PRIMARY KEY,    -- of an open raw entry: the same point sent again is a duplicate
  quarantine INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX open_key_of ON open_key (quarantine);

CREATE TABLE idle (
  key BLOB    NOT NULL PRIMARY KEY,           -- a stream that left memory
  crc INTEGER NOT NULL,
  row BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE chunk (
  id  INTEGER NOT NULL PRIMARY KEY,           -- a part of the state of all streams
  seq INTEGER NOT NULL                        -- as of this frame
) STRICT;

CREATE TABLE chunk_body (
  id    INTEGER NOT NULL PRIMARY KEY,
  crc   INTEGER NOT NULL,
  codec INTEGER NOT NULL,
  body  BLOB    NOT NULL
) STRICT;

CREATE TABLE total (
  hour      INTEGER NOT NULL,                 -- start of the hour of event time
  customer  TEXT    NOT NULL,
  dimension TEXT    NOT NULL,
  value     TEXT    NOT NULL,                 -- exact decimal, up to the frame meta.totals_through
  count     INTEGER NOT NULL,
  PRIMARY KEY (hour, customer, dimension)
) STRICT, WITHOUT ROWID;

@RECEIVER_STATE
CREATE TABLE retention_mark (
  at  INTEGER NOT NULL PRIMARY KEY,
  seq INTEGER NOT NULL                        -- frames up to this one were delivered and in a snapshot at that time
) STRICT;

CREATE TABLE probe (
  id   INTEGER NOT NULL PRIMARY KEY,          -- empty but for the moment in which a full disk is tried again
  body BLOB    NOT NULL
) STRICT;

INSERT INTO balance (id) VALUES (1);
INSERT INTO meta VALUES ('totals_through', 0), ('snapshot_floor', 0), ('idle', 0);
"""

_RECEIVER_STATE: Final = """
CREATE TABLE receiver_state (
  receiver TEXT NOT NULL,
  key      TEXT NOT NULL,                     -- what a receiver remembers: a file's cursor, an elected replica
  value    BLOB NOT NULL,
  PRIMARY KEY (receiver, key)
) STRICT, WITHOUT ROWID;
"""

DDL: Final = _TABLES.replace("@BALANCE", _BALANCE_COLUMNS).replace("@RECEIVER_STATE", _RECEIVER_STATE)

Migration = Callable[[apsw.Connection], None]


def _add_receiver_state(connection: apsw.Connection) -> None:
    connection.execute(_RECEIVER_STATE)


MIGRATIONS: Final[dict[int, Migration]] = {1: _add_receiver_state}
"""From each version to the next; a step runs inside the one transaction of the whole way."""


def create(connection: apsw.Connection) -> None:
    """
    Make all tables in an empty database, inside the caller's transaction.
    """
    connection.execute(DDL)
    connection.execute(deliveries.DDL)
    store.set_meta(connection, "snapshot_check", store.snapshot_check(connection))
    connection.pragma("user_version", SCHEMA_VERSION)


def is_empty(connection: apsw.Connection, path: Path) -> bool:
    """
    Say whether nothing was ever stored here: a new file, or one whose creation was cut off.

    :raises ConfigurationError: it is no SQLite file.
    """
    try:
        tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").get
    except apsw.NotADBError as error:
        raise not_sqlite(path) from error
    return tables == 0


def not_sqlite(path: Path) -> ConfigurationError:
    """
    Return the error for a file that SQLite does not take.
    """
    return ConfigurationError(f"opening ledger '{path}': it is no SQLite file; set ledger.path to another file")


def check_ours(connection: apsw.Connection, path: Path) -> None:
    """
    Refuse a SQLite file that is not a ledger, or one that a newer program has written.

    :raises ConfigurationError: with the remedy.
    """
    if connection.pragma("application_id") != APPLICATION_ID:
        raise ConfigurationError(
            f"opening ledger '{path}': this SQLite file is no Meterline ledger; set ledger.path to another file"
        )
    version = connection.pragma("user_version")
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"opening ledger '{path}': it has schema version {version}, this program knows up to {SCHEMA_VERSION};"
            " run the newer meterline that wrote it"
        )


def check_tables(connection: apsw.Connection, path: Path) -> None:
    """
    Compare the tables with those of this version; what a person has added beside them is not looked at.

    :raises CorruptLedgerError: one is missing or altered.
    """
    fresh = apsw.Connection(":memory:")
    create(fresh)
    query = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    rows: list[Any] = connection.execute(query).fetchall()
    found = dict(rows)
    wanted: list[Any] = fresh.execute(query).fetchall()
    for name, sql in wanted:
        if _plain(found.get(name) or "") != _plain(sql):
            raise CorruptLedgerError(
                f"opening ledger '{path}': {name!r} is not as schema version {SCHEMA_VERSION} has it; the file is damaged"
                " or was altered by hand: restore it from a backup"
            )
    fresh.close()


def _plain(sql: str) -> str:
    """
    Return a statement without its comments and layout, which may be improved in any release.
    """
    return " ".join(re.sub("--[^\n]*", "", sql).split())


def migrate(
    connection: apsw.Connection, migrations: dict[int, Migration] | None = None, target: int = SCHEMA_VERSION
) -> None:
    """
    Bring an older ledger to the present version in one transaction: whole, or not at all.
    """
    steps = MIGRATIONS if migrations is None else migrations
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version in range(connection.pragma("user_version"), target):
            steps[version](connection)
            connection.pragma("user_version", version + 1)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")

"""
Reading a ledger beside the process that writes it, or when there is none.
"""

import contextlib
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import apsw

from meterline.errors import ConfigurationError, CorruptLedgerError
from meterline.kernel.seam import BALANCE, Names, StoredFrame, TotalRow
from meterline.ledger import faults, frames, restore, schema
from meterline.ledger.exact import units_of
from meterline.ledger.model import FrameRow
from meterline.ledger.names import StoredNames
from meterline.quantity import Quantity

P = ParamSpec("P")
T = TypeVar("T")

BUSY_MS = 5_000

Expand = Callable[[StoredFrame, Names], Iterable[TotalRow]]
"""What a frame adds to the totals: ``kernel.records(frame.body, names).totals()``."""


def _as_meant(method: Callable[Concatenate["LedgerReader", P], T]) -> Callable[Concatenate["LedgerReader", P], T]:
    @functools.wraps(method)
    def reading(self: "LedgerReader", /, *args: P.args, **kwargs: P.kwargs) -> T:
        with faults.raised_as_meant(self.connection, "reading the ledger"):
            return method(self, *args, **kwargs)

    return reading


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """
    Exact usage of one customer in one dimension; ``count``: records.
    """

    customer: str
    dimension: str
    value: Quantity
    count: int


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """
    One row of the quarantine index: entries of one stream, rule and reason within one hour of reception.

    ``frames``: where the entries are. Times in ns; ``quantity``: exact sum as text, None for raw entries.
    """

    id: int
    hour: int
    principal: str
    receiver: str
    rule: str
    reason: str
    kind: str
    stream: bytes
    count: int
    open: int
    held_bytes: int
    quantity: str | None
    first_received_at: int
    last_received_at: int
    first_time: int
    last_time: int
    record_id: str
    detail: str
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RulesRow:
    """
    A rule set as it was activated.
    """

    gen: int
    rules_hash: str
    activated_at: int
    text: str


class LedgerReader:
    """
    A read-only connection; one thread at a time. ``exists`` False: nobody ever ran here, everything is empty.
    """

    def __init__(self, connection: apsw.Connection, *, exists: bool) -> None:
        self.connection = connection
        self.exists = exists
        self._names = StoredNames(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """
        Close the connection. Legal twice.
        """
        self.connection.close()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """
        Read everything inside from one moment. Keep it short: the writer's log grows meanwhile. Not to be nested.
        """
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    @_as_meant
    def last_seq(self) -> int:
        """
        Return the number of the newest frame; 0: none.
        """
        return restore.last_seq(self.connection)

    @_as_meant
    def frames(self, after_seq: int, max_bytes: int) -> list[FrameRow]:
        """
        Return the next frames in order: at least one if there is any, then while they fit into ``max_bytes``.
        """
        found: list[FrameRow] = []
        total = 0
        rows = frames.rows_after(self.connection, after_seq)
        with contextlib.closing(rows):
            for row, size in rows:
                total += size
                if found and total > max_bytes:
                    break
                found.append(row)
        return found

    @_as_meant
    def frame(self, seq: int) -> FrameRow | None:
        """
        Return one frame; None when retention has dropped it or it never was.
        """
        return frames.one(self.connection, seq)

    @_as_meant
    def kept(self, seq: int) -> StoredFrame | None:
        """
        Return a frame that the quarantine index names: whole, or what retention has kept of it. None: it cannot be read.
        """
        row = frames.one(self.connection, seq)
        return row.frame if row is not None else frames.kept(self.connection, seq)

    def names(self) -> Names:
        """
        Return the definitions of meters, cached; of this reader's thread.
        """
        return self._names

    @_as_meant
    def totals(self, expand: Expand, from_hour: int | None = None, to_hour: int | None = None) -> list[UsageTotal]:
        """
        Return exact totals of the hours from ``from_hour`` up to, not including, ``to_hour`` (ns, whole hours).

        The table, and the frames that it does not hold yet, in one read transaction.

        :raises CorruptLedgerError: a frame after the watermark fails its CRC, so that the sum is not known.
        """
        low, high = from_hour or 0, to_hour if to_hour is not None else 2**63 - 1
        sums: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        with self.snapshot():
            for customer, dimension, units, count in self._all_totals(expand, low, high):
                found = sums[customer, dimension]
                found[0] += units
                found[1] += count
        return [UsageTotal(*key, Quantity(units), count) for key, (units, count) in sorted(sums.items())]

    def _all_totals(self, expand: Expand, low: int, high: int) -> Iterator[tuple[str, str, int, int]]:
        query = "SELECT customer, dimension, value, count FROM total WHERE hour >= ? AND hour < ?"
        for customer, dimension, value, count in self.connection.execute(query, (low, high)):
            yield customer, dimension, units_of(value), count
        for row in unflushed(self.connection, self._names, expand):
            if low <= row.hour < high:
                yield row.customer, row.dimension, row.value, row.count

    @_as_meant
    def quarantine(self, *, open_only: bool = True) -> list[QuarantineRow]:
        """
        Return the quarantine index, oldest first.
        """
        condition = "WHERE open > 0" if open_only else ""
        places: defaultdict[Any, list[int]] = defaultdict(list)
        with self.snapshot():
            rows = list(self.connection.execute(f"SELECT * FROM quarantine {condition} ORDER BY id"))  # noqa: S608
            for frame, row in self.connection.execute("SELECT frame, quarantine FROM quarantine_frame ORDER BY frame"):
                places[row].append(int(frame))
        return [_quarantine_row(row, places) for row in rows]

    @_as_meant
    def balance(self) -> Mapping[str, int]:
        """
        Return the counters by the names in ``kernel.seam.BALANCE``.
        """
        row: Any = self.connection.execute(f"SELECT {', '.join(BALANCE)} FROM balance").fetchone()  # noqa: S608
        return dict(zip(BALANCE, row, strict=True))

    @_as_meant
    def meta(self) -> Mapping[str, Any]:
        """
        Return the table ``meta``: ``ledger.id``, ``created_at``, ``totals_through``, ``snapshot_floor``.
        """
        rows: list[Any] = self.connection.execute("SELECT key, value FROM meta").fetchall()
        return dict(rows)

    @_as_meant
    def rules(self, gen: int) -> RulesRow | None:
        """
        Return the rule set of a generation; None when there is none.
        """
        query = "SELECT gen, rules_hash, activated_at, text FROM generation WHERE gen = ?"
        row = self.connection.execute(query, (gen,)).fetchone()
        return None if row is None else RulesRow(*row)


def _quarantine_row(row: Sequence[Any], places: Mapping[Any, list[int]]) -> QuarantineRow:
    values = [*row, tuple(places.get(row[0], ()))]
    return QuarantineRow(*values)


def unflushed(connection: apsw.Connection, names: Names, expand: Expand) -> Iterator[TotalRow]:
    """
    Return what the frames after the totals' watermark add to them. Frames that were set aside add nothing.
    """
    through = connection.execute("SELECT value FROM meta WHERE key = 'totals_through'").get
    aside = frames.set_aside(connection, through)
    for row, _ in frames.rows_after(connection, through):
        if row.frame is not None:
            yield from expand(row.frame, names)
        elif row.seq not in aside:
            raise CorruptLedgerError(
                f"adding up the totals: frame {row.seq} fails its CRC and is not in the table of totals yet;"
                " start `meterline run`, which sets it aside or says the way out"
            )


def open_reader(path: Path, *, vfs: str | None = None) -> LedgerReader:
    """
    Open a ledger for reading, whether its owner runs or not. A ledger that nobody ever ran reads as empty.

    :raises ConfigurationError: it cannot be read, or is no ledger of this version; with the remedy.
    """
    if not path.exists() or _unfinished(path):
        return _empty()
    connection = _connect(path, vfs)
    try:
        with faults.raised_as_meant(connection, f"reading ledger '{path}'"):
            exists = not schema.is_empty(connection, path)
            if exists:
                _check_version(connection, path)
    except BaseException:
        connection.close()
        raise
    if exists:
        return LedgerReader(connection, exists=True)
    connection.close()
    return _empty()


def _connect(path: Path, vfs: str | None) -> apsw.Connection:
    try:
        return connect_read_only(str(path.absolute()), vfs)
    except apsw.NotADBError as error:
        raise schema.not_sqlite(path) from error
    except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
        if not _settled(path):
            raise _unreadable(path, error) from error
    try:
        return connect_read_only(f"{path.absolute().as_uri()}?immutable=1", vfs)
    except apsw.Error as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"reading ledger '{path}': {error}; let this user read it and its directory")


def _unfinished(path: Path) -> bool:
    """
    Say whether its creation was cut off, or goes on now: only then does a ledger have a rollback journal.
    """
    journal = Path(f"{path}-journal")
    return journal.exists() and journal.stat().st_size > 0


def _settled(path: Path) -> bool:
    """
    Say whether all is in the main file, so that a user who may not write beside it can read it as it stands.
    """
    log = Path(f"{path}-wal")
    return not log.exists() or log.stat().st_size == 0


def connect_read_only(name: str, vfs: str | None) -> apsw.Connection:
    """
    Open a read-only connection, and look at the file once.
    """
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(name, flags=flags, vfs=vfs)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.pragma("schema_version")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(connection: apsw.Connection, path: Path) -> None:
    schema.check_ours(connection, path)
    version = connection.pragma("user_version")
    if version < schema.SCHEMA_VERSION:
        raise ConfigurationError(
            f"reading ledger '{path}': it has schema version {version}; start `meterline run` once, which brings it to"
            f" version {schema.SCHEMA_VERSION}"
        )


def _empty() -> LedgerReader:
    connection = apsw.Connection(":memory:")
    schema.create(connection)
    return LedgerReader(connection, exists=False)

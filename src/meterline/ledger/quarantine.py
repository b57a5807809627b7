"""
The index of quarantined points: one row per (hour, principal, receiver, rule, reason, stream), and who holds how much.

The points themselves stay in their frames; ``quarantine_frame`` says in which, and retention keeps those (``retention``).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import apsw

from meterline.kernel.seam import QuarantineEntry
from meterline.quantity import AMOUNT_PLACES, format_units

HOUR_NS: Final = 3600 * 10**9

Key: TypeAlias = tuple[int, str, str, str, str, bytes]
Held: TypeAlias = Mapping[tuple[str, str], tuple[int, int]]
"""(principal, reason code) -> (entries, bytes)."""

_UPSERT: Final = (
    "INSERT INTO quarantine (hour, principal, receiver, rule, reason, stream, kind, count, open, bytes, quantity,"
    " first_received_at, last_received_at, first_time, last_time, record_id, detail)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
    " ON CONFLICT (hour, principal, receiver, rule, reason, stream) DO UPDATE SET"
    " count = count + excluded.count, open = open + excluded.open, bytes = bytes + excluded.bytes,"
    " quantity = meterline_add(quantity, excluded.quantity), last_received_at = excluded.last_received_at,"
    " last_time = excluded.last_time, record_id = excluded.record_id, detail = excluded.detail RETURNING id"
)


@dataclass(slots=True)
class _Group:
    """
    The entries of one frame that share an index row.
    """

    entries: list[QuarantineEntry] = field(default_factory=list)

    def row(self, key: Key) -> tuple[object, ...]:
        first, last = self.entries[0], self.entries[-1]
        amounts = [entry.quantity for entry in self.entries if entry.quantity is not None]
        quantity = format_units(sum(amounts), AMOUNT_PLACES) if amounts else None
        seen = (first.received_at, last.received_at, first.time, last.time)
        size = sum(entry.size for entry in self.entries)
        return (*key, first.kind, len(self.entries), size, quantity, *seen, last.record_id, text(last.detail))


def text(value: str) -> str:
    """
    Return text that UTF-8 can hold; a lone surrogate becomes ``?``.
    """
    return value.encode("utf-8", "replace").decode()


def store(connection: apsw.Connection, seq: int, entries: Sequence[QuarantineEntry]) -> Held:
    """
    Index the quarantined points of one frame; returns what they add to the open ones.
    """
    groups: defaultdict[Key, _Group] = defaultdict(_Group)
    added: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for entry in entries:
        groups[_key(entry)].entries.append(entry)
        held = added[entry.principal, entry.reason.code]
        held[0] += 1
        held[1] += entry.size
    for key, group in groups.items():
        _store_group(connection, seq, key, group)
    changes = {key: (held[0], held[1]) for key, held in added.items()}
    _hold(connection, changes)
    return changes


def _key(entry: QuarantineEntry) -> Key:
    hour = entry.received_at // HOUR_NS * HOUR_NS
    return hour, entry.principal, entry.receiver, text(entry.rule), entry.reason.code, entry.stream


def _store_group(connection: apsw.Connection, seq: int, key: Key, group: _Group) -> None:
    row = connection.execute(_UPSERT, group.row(key)).get
    connection.execute("INSERT INTO quarantine_frame VALUES (?, ?, ?)", (row, seq, len(group.entries)))
    keys = [(entry.key, row) for entry in group.entries if entry.key]
    if keys:
        connection.executemany("INSERT OR IGNORE INTO open_key VALUES (?, ?)", keys)


def _hold(connection: apsw.Connection, changes: Held) -> None:
    connection.executemany(
        "INSERT INTO quarantine_open VALUES (?, ?, ?, ?) ON CONFLICT (principal, reason) DO UPDATE SET"
        " entries = entries + excluded.entries, bytes = bytes + excluded.bytes",
        [(*key, *held) for key, held in changes.items()],
    )


def discard(connection: apsw.Connection, row: int) -> int:
    """
    End every open entry of one index row, by a person's act; returns how many there were, 0 for an unknown row.

    Frees the principal's quota and lets retention drop the points. A running kernel goes on answering "duplicate" to
    the same points until the next start.
    """
    found = connection.execute("SELECT principal, reason, open, bytes FROM quarantine WHERE id = ?", (row,)).fetchone()
    if found is None or not found[2]:
        return 0
    principal, reason, entries, size = found
    connection.execute("UPDATE quarantine SET open = 0, bytes = 0 WHERE id = ?", (row,))
    connection.execute("DELETE FROM open_key WHERE quarantine = ?", (row,))
    _hold(connection, {(principal, reason): (-entries, -size)})
    return int(entries)


class Holdings:
    """
    What each principal has in quarantine, in memory: as the last commit left it, also after a restart.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[tuple[str, str], tuple[int, int]] = {}
        self._bytes: dict[str, int] = {}

    def load(self, connection: apsw.Connection) -> None:
        """
        Read it anew from the ledger.
        """
        rows = connection.execute("SELECT principal, reason, entries, bytes FROM quarantine_open WHERE entries > 0")
        held = {(principal, reason): (entries, size) for principal, reason, entries, size in rows}
        self._held = held
        self._bytes = _by_principal(held)

    def add(self, changes: Held) -> None:
        """
        Follow a commit.
        """
        for key, (entries, size) in changes.items():
            before = self._held.get(key, (0, 0))
            self._held[key] = before[0] + entries, before[1] + size
            self._bytes[key[0]] = self._bytes.get(key[0], 0) + size

    def over(self, principal: str) -> bool:
        """
        Say whether a principal is over the quota; any thread.
        """
        return self._bytes.get(principal, 0) > self._limit

    def all_over(self) -> list[str]:
        """
        Return every principal that is over the quota; any thread.
        """
        return [principal for principal, size in list(self._bytes.items()) if size > self._limit]

    def by_reason(self) -> Iterable[tuple[str, int]]:
        """
        Return the number of open entries by reason code; any thread.
        """
        found: defaultdict[str, int] = defaultdict(int)
        for (_, reason), (entries, _) in list(self._held.items()):
            found[reason] += entries
        return found.items()


def _by_principal(held: Held) -> dict[str, int]:
    found: defaultdict[str, int] = defaultdict(int)
    for (principal, _), (_, size) in held.items():
        found[principal] += size
    return dict(found)

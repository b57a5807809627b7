"""
Ledgers in a temporary directory, a clock that is set by hand, and frames of arbitrary bytes.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest

from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Event, Frame, QuarantineEntry
from meterline.ledger import Ledger
from meterline.ledger.model import CommitGroup, LedgerOptions

START = 1_790_000_000 * 10**9


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.wall = START

    def now_ns(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.wall / 1e9

    def advance(self, secs: float) -> None:
        self.wall += int(secs * 10**9)


@dataclass
class Make:
    """Builds what a kernel would hand over."""

    chance: random.Random

    def entry(self, reason: Reason = Reason.OVERLAP, **fields: Any) -> QuarantineEntry:
        defaults: dict[str, Any] = {
            "kind": reason.kind,
            "reason": reason,
            "rule": "api",
            "stream": b"s" * 16,
            "receiver": "otlp",
            "principal": "acme",
            "received_at": START,
            "time": START - 10**9,
            "quantity": None if reason.kind == "raw" else 3 * 10**18,
            "record_id": "" if reason.kind == "raw" else "ab" * 16,
            "key": self.chance.randbytes(16) if reason.kind == "raw" else b"",
            "size": 100,
            "detail": "window overlaps",
        }
        return QuarantineEntry(**(defaults | fields))

    def frame(self, seq: int, body: bytes | None = None, **fields: Any) -> Frame:
        quarantine = fields.get("quarantine", ())
        defaults: dict[str, Any] = {
            "seq": seq,
            "gen": 1,
            "body": self.chance.randbytes(self.chance.choice([40, 400, 20_000])) if body is None else body,
            "definitions": b"definitions %d" % seq,
            "first_meter": 2 * (seq - 1),
            "meters": 2,
            "points": 5,
            "records": 4,
            "balance": {"received": 5, "recorded": 4, "quarantined": len(quarantine), "claims": 4, "claim_records": 4},
            "events": [Event("reset", "api", "00" * 16, {"value": seq})],
        }
        return Frame(**(defaults | fields))

    def group(self, seq: int, body: bytes | None = None, **parts: Any) -> CommitGroup:
        return CommitGroup(frame=self.frame(seq, body), **parts)


@pytest.fixture
def clock() -> HandClock:
    """A clock that stands still."""
    return HandClock()


@pytest.fixture
def make(rng: random.Random) -> Make:
    """A builder of frames with this test's randomness."""
    return Make(rng)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where this test's ledger is."""
    return tmp_path / "meterline.db"


OpenLedger = Callable[..., Ledger]


@pytest.fixture
def open_ledger(path: Path, clock: HandClock) -> Iterator[OpenLedger]:
    """Opens this test's ledger, without a reserve unless asked; closes it after the test."""
    opened: list[Ledger] = []

    def opener(vfs: str | None = None, **options: Any) -> Ledger:
        ledger = Ledger.open(path, LedgerOptions(**({"reserve_bytes": 0} | options)), clock, vfs=vfs)
        opened.append(ledger)
        return ledger

    yield opener
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: OpenLedger) -> Ledger:
    """A new ledger."""
    return open_ledger()


def dump(connection: apsw.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Everything a database holds, table by table."""
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in names}  # noqa: S608


@pytest.fixture
def contents(path: Path) -> Callable[[], dict[str, list[tuple[Any, ...]]]]:
    """Reads everything the ledger's file holds, through a connection of its own."""

    def read() -> dict[str, list[tuple[Any, ...]]]:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return dump(connection)
        finally:
            connection.close()

    return read

"""
What a folder of a gateway under test holds, read beside it or after it: records of the ledger, books of delivery,
file tails.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from meterline.kernel import load_kernel
from meterline.ledger import open_reader
from meterline.testing.verdict import Found

LEDGER: Final = "meterline.db"
PAGE_BYTES: Final = 16 * 1_048_576


@contextlib.contextmanager
def ledger_rows(folder: Path) -> Iterator[sqlite3.Connection]:
    """
    Open the ledger read-only, as anybody with a ``sqlite3`` shell can; rows are mappings.
    """
    uri = f"file:{folder / LEDGER}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def balance(folder: Path) -> Mapping[str, int]:
    """
    Return the balance of points and claims.
    """
    with ledger_rows(folder) as ledger:
        row = dict(ledger.execute("SELECT * FROM balance").fetchone())
    row.pop("id")
    return row


def check_balance(folder: Path) -> Mapping[str, int]:
    """
    Return the balance; raises AssertionError unless both of its sums hold to the last unit.
    """
    row = balance(folder)
    points = sum(row[name] for name in ("recorded", "quarantined", "duplicate", "no_usage", "unmatched"))
    claims = sum(row[f"claim_{name}"] for name in ("records", "quarantined", "duplicate", "no_usage"))
    assert row["received"] == points, f"the balance of points does not hold: {row}"
    assert row["claims"] == claims, f"the balance of claims does not hold: {row}"
    return row


def ledger_records(folder: Path) -> list[Found]:
    """
    Return every record of the ledger, frame by frame.
    """
    kernel = load_kernel()
    found: list[Found] = []
    with open_reader(folder / LEDGER) as reader:
        last = 0
        while rows := reader.frames(last, PAGE_BYTES):
            last = rows[-1].seq
            for row in rows:
                assert row.frame is not None, f"frame {row.seq} fails its CRC"
                batch = kernel.records(row.frame.body, reader.names())
                found.extend(_found(batch.record(ordinal)) for ordinal in range(len(batch)))
    return found


def _found(record: Any) -> Found:
    key = (record.customer_id, record.dimension_id, record.timestamp)
    return Found(record.id, key, Decimal(str(record.value)))


def delivery(folder: Path) -> Mapping[str, Mapping[str, int]]:
    """
    Return delivery's books by exporter: created, delivered, held, dead, void, and ``batches`` without a receipt.
    """
    with ledger_rows(folder) as ledger:
        books = {row["name"]: dict(row) for row in ledger.execute("SELECT * FROM exporter")}
        for row in ledger.execute("SELECT exporter, count(*) AS batches FROM batch GROUP BY exporter"):
            books[row["exporter"]]["batches"] = row["batches"]
    return books


def delivered_everywhere(folder: Path, records: int) -> bool:
    """
    Say whether every exporter has delivered at least so many records.
    """
    books = delivery(folder)
    return bool(books) and all(book["delivered"] >= records for book in books.values())


def file_tail(folder: Path, exporter: str = "file", name: str = "usage.ndjson") -> int:
    """
    Return how many bytes of a dead gateway's file stand past the last durable checkpoint: the next start cuts them
    off.
    """
    path = folder / name
    with ledger_rows(folder) as ledger:
        row = ledger.execute("SELECT checkpoint FROM exporter WHERE name = ?", (exporter,)).fetchone()
    if row is None or not path.exists():
        return 0
    durable = json.loads(row["checkpoint"])["length"] if row["checkpoint"] else 0
    return path.stat().st_size - int(durable)

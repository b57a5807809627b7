"""
Delivery's tables: each function inside one transaction, and the sums that hold after any of them.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterline.ledger import deliveries
from meterline.ledger.deliveries import BatchRow, Opening, OutcomeRow, Position, Settlement


@pytest.fixture
def ledger() -> Iterator[apsw.Connection]:
    """
    The tables, in memory.
    """
    with apsw.Connection(":memory:") as connection:
        connection.execute(deliveries.DDL)
        yield connection


def _row(number: int, count: int = 10, seq: int = 1, **changes: Any) -> BatchRow:
    row = BatchRow(number, Position(seq, 0), Position(seq, count - 1), "{}", None, count, 1, 1, 0, 5, 5, 5)
    return replace(row, **changes)


def _outcome(ordinal: int, state: Any, number: int, **fields: Any) -> OutcomeRow:
    return OutcomeRow(Position(1, ordinal), state, "why", 9, number, f"id{ordinal}", **fields)


def _open(ledger: apsw.Connection, *names: str) -> None:
    for name in names:
        deliveries.open_exporter(ledger, Opening(name, Position(1, 0)), 1)


def test_opening_keeps_a_known_cursor_and_clears_its_pause(ledger: apsw.Connection) -> None:
    """
    ``start`` counts once; a restart is the person's act that a pause waits for; ``only`` is the config's.
    """
    _open(ledger, "x")
    deliveries.form(ledger, "x", _row(1), Position(2, 0), 0)
    deliveries.pause(ledger, "x", "look")
    deliveries.open_exporter(ledger, Opening("x", Position(99, 0), '{"rule":["r"]}'), 2)
    row = deliveries.exporter(ledger, "x")
    assert row is not None
    assert (row.cursor, row.paused, row.only_filter, row.started_at) == (Position(2, 0), None, '{"rule":["r"]}', 1)


def test_a_batch_row_comes_back_as_it_was(ledger: apsw.Connection) -> None:
    """
    Every field of a batch survives, and numbers go on after the highest.
    """
    _open(ledger, "x")
    rows = [_row(7, ordinals="[[1,[2,4]]]", reason="later", unanswered=2), _row(8)]
    for row in rows:
        deliveries.form(ledger, "x", row, Position(2, 0), 3)
    assert deliveries.batches(ledger, "x") == rows
    found = deliveries.exporter(ledger, "x")
    assert found is not None
    assert (found.next_batch, found.created, found.excluded, found.pending, found.batches) == (9, 20, 6, 20, 2)


def test_a_receipt_is_stored_once(ledger: apsw.Connection) -> None:
    """
    The same receipt a second time changes nothing.
    """
    _open(ledger, "x")
    deliveries.form(ledger, "x", _row(1), Position(2, 0), 0)
    settlement = Settlement(1, delivered=10, checkpoint=b"c")
    assert deliveries.settle(ledger, "x", settlement)
    before = deliveries.exporter(ledger, "x")
    assert not deliveries.settle(ledger, "x", settlement)
    assert deliveries.exporter(ledger, "x") == before


def test_an_outcome_adds_up_its_unanswered_sends(ledger: apsw.Connection) -> None:
    """
    The last state counts, and how often there was no answer is kept; closing the list touches that batch alone.
    """
    _open(ledger, "x")
    deliveries.form(ledger, "x", _row(1), Position(2, 0), 0)
    for _ in range(2):
        deliveries.reschedule(ledger, "x", _row(1), [_outcome(n, "pending", 1, unanswered=1) for n in (0, 1)])
    deliveries.reschedule(ledger, "x", _row(1), [_outcome(1, "pending", 2)])
    deliveries.answered(ledger, "x", 1, 50)
    rows = ledger.execute("SELECT ordinal, batch, state, unanswered FROM outcome ORDER BY ordinal").fetchall()
    assert rows == [(0, 1, "delivered", 2), (1, 2, "pending", 2)]


def test_the_floor_is_the_oldest_frame_that_anyone_needs(ledger: apsw.Connection) -> None:
    """
    Cursors and batches of every exporter count, also of one that the config no longer has; outcomes do not.
    """
    assert deliveries.floor(ledger) is None
    _open(ledger, "x", "gone")
    assert deliveries.floor(ledger) == 1
    for name in ("x", "gone"):
        deliveries.form(ledger, name, _row(1, seq=4), Position(9, 0), 0)
    deliveries.settle(ledger, "x", Settlement(1, dead=10, outcomes=[_outcome(0, "dead", 1, records=10)]))
    assert deliveries.floor(ledger) == 4
    assert deliveries.forget(ledger, "gone")
    assert deliveries.floor(ledger) == 9


def test_forgetting_leaves_nothing_behind(ledger: apsw.Connection) -> None:
    """
    Cursor, batches and outcomes go, of that name alone.
    """
    _open(ledger, "x", "y")
    for name in ("x", "y"):
        deliveries.form(ledger, name, _row(1), Position(2, 0), 0)
        deliveries.reschedule(ledger, name, _row(1), [_outcome(0, "pending", 1)])
    assert deliveries.forget(ledger, "x")
    assert not deliveries.forget(ledger, "x")
    assert [row.name for row in deliveries.exporters(ledger)] == ["y"]
    assert (
        ledger.execute("SELECT exporter FROM outcome UNION ALL SELECT exporter FROM batch").fetchall() == [("y",)] * 2
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["form", "settle", "lose", "split", "skip"]), st.integers(1, 9)), max_size=30)
)
def test_created_is_always_accounted_for(steps: list[tuple[str, int]]) -> None:
    """
    After any steps: created = delivered + pending + held + dead + void.
    """
    ledger = apsw.Connection(":memory:")
    ledger.execute(deliveries.DDL)
    _open(ledger, "x")
    for seq, (step, count) in enumerate(steps, start=1):
        found = deliveries.exporter(ledger, "x")
        open_rows = deliveries.batches(ledger, "x")
        assert found is not None
        if step == "form":
            deliveries.form(ledger, "x", _row(found.next_batch, count, seq), Position(seq + 1, 0), 2)
        elif step == "lose":
            lost = OutcomeRow(Position(seq, 0), "dead", "frame_corrupt", 1, records=count)
            deliveries.lose(ledger, "x", Position(seq + 1, 0), lost)
        elif step == "skip":
            deliveries.advance(ledger, "x", Position(seq + 1, 0), count)
        elif open_rows:
            _end(ledger, open_rows[0], found.next_batch, split=step == "split")
        row = deliveries.exporter(ledger, "x")
        assert row is not None
        assert row.created == row.delivered + row.pending + row.held + row.dead + row.void
    ledger.close()


def _end(ledger: apsw.Connection, row: BatchRow, number: int, *, split: bool) -> None:
    rest = [replace(row, number=number, count=row.count - 1)] if split and row.count > 1 else []
    left = row.count - sum(each.count for each in rest)
    dead = [OutcomeRow(row.first, "dead", "bad", 1, row.number, "id")]
    deliveries.settle(ledger, "x", Settlement(row.number, delivered=left - 1, dead=1, outcomes=dead, rest=rest))


def test_any_sqlite3_shell_reads_the_tables(tmp_path: Path) -> None:
    """
    Python's own, older SQLite opens them, and the types are strict.
    """
    with apsw.Connection(str(tmp_path / "l.db")) as connection:
        connection.execute(deliveries.DDL)
        _open(connection, "x")
        with pytest.raises(apsw.ConstraintError):
            connection.execute("UPDATE exporter SET delivered = 'many'")
    shell = sqlite3.connect(tmp_path / "l.db")
    assert shell.execute("SELECT name, delivered FROM exporter").fetchall() == [("x", 0)]
    shell.close()

"""
A commit stores all of its group or nothing of it.
"""

import json
import signal
import sqlite3
import subprocess
import sys
import textwrap
from typing import Any

import apsw
import pytest

from meterline.errors import LedgerFullError, RetryableError
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Chunk, Event, SnapshotPart, TotalRow
from meterline.ledger import open_reader
from meterline.ledger.model import CommitGroup

STAYS = b"stays" + bytes(11)


def everything(make: Any, seq: int) -> CommitGroup:
    """A group that writes to every table a commit can write to."""
    entries = [make.entry(Reason.BAD_UTF8), make.entry(), make.entry()]
    return CommitGroup(
        frame=make.frame(seq, quarantine=entries),
        idled=[
            (make.chance.randbytes(16), b"row of %d" % seq),
            (b"stays" + bytes(11) if seq == 1 else bytes([seq] * 16), b"x"),
        ],
        unidled=[STAYS] if seq == 2 else [],
        totals=[TotalRow("acme", "calls", 0, 10**29, 1)],
        snapshot=SnapshotPart(seq, [Chunk(1, seq, b"chunk" * 100), Chunk(seq + 1, seq, b"x")], [], [], complete=True),
        jobs=[lambda tx: tx.connection.execute("INSERT INTO meta VALUES (?, ?)", (f"job {seq}", seq)) and seq],
    )


def test_all_parts_of_a_group_are_stored(ledger: Any, make: Any, path: Any) -> None:
    """A frame, its definitions, counts, events, quarantine, idle rows, totals, chunks and jobs come back as they were given."""
    group = everything(make, 1)
    result = ledger.commit(group)

    assert result.jobs == (1,)
    with open_reader(path) as reader:
        (row,) = reader.frames(0, 1)
        assert (row.frame.body, row.frame.definitions, row.records) == (group.frame.body, group.frame.definitions, 4)
        assert reader.balance()["received"] == 5
        assert [(str(t.value), t.count) for t in reader.totals(lambda frame, names: [])] == [("0.1", 1)]
        assert [(q.reason, q.count, q.quantity) for q in reader.quarantine()] == [
            ("bad_utf8", 1, None),
            ("overlap", 2, "6"),
        ]
        assert reader.names().definitions(1) == group.frame.definitions
        assert reader.meta()["job 1"] == 1
        (event,) = reader.connection.execute("SELECT frame, kind, detail FROM event")
    assert (event[0], event[1], json.loads(event[2])) == (1, "reset", {"value": 1})
    assert ledger.idle_rows([key for key, _ in group.idled]) == [row for _, row in group.idled]
    assert [chunk.body for chunk in ledger.stored_state().chunks] == [b"chunk" * 100, b"x"]
    assert list(ledger.stored_state().open_raw) == [group.frame.quarantine[0].key]


def test_any_sqlite_shell_reads_it(ledger: Any, make: Any, path: Any) -> None:
    """Python's own sqlite3, another build of SQLite, reads the tables while the ledger is open."""
    ledger.commit(everything(make, 1))
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as shell:
        assert shell.execute("SELECT customer, dimension, value, count FROM total").fetchall() == [
            ("acme", "calls", "0.1", 1)
        ]
        assert shell.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    shell.close()


def test_a_job_fails_alone(ledger: Any, make: Any, path: Any) -> None:
    """A job's exception is its result; what it wrote is undone, its neighbours' writes and the frame stay."""

    def bad(tx: Any) -> None:
        tx.connection.execute("INSERT INTO meta VALUES ('bad', 1)")
        raise KeyError("no such batch")

    def broken_sql(tx: Any) -> None:
        tx.connection.execute("INSERT INTO nowhere VALUES (1)")

    jobs = [
        lambda tx: tx.connection.execute("INSERT INTO meta VALUES ('a', ?)", (tx.now_ns,)) and 1,
        bad,
        broken_sql,
        lambda tx: 2,
    ]
    result = ledger.commit(CommitGroup(frame=make.frame(1), jobs=jobs))

    assert (result.jobs[0], type(result.jobs[1]), result.jobs[3]) == (1, KeyError, 2)
    assert "no such table" in str(result.jobs[2])
    with open_reader(path) as reader:
        assert (reader.last_seq(), "a" in reader.meta(), "bad" in reader.meta()) == (1, True, False)


def test_frames_come_in_order(ledger: Any, make: Any) -> None:
    """A frame that is not the next one is a defect, and stores nothing."""
    ledger.commit(make.group(1))
    with pytest.raises(ValueError, match="frame 3: the ledger's last is 1"):
        ledger.commit(make.group(3))
    ledger.commit(make.group(2))
    assert ledger.stored_state().last_seq == 2


def test_an_unknown_counter_is_a_defect(ledger: Any, make: Any, contents: Any) -> None:
    """A balance counter that the table does not have fails the commit instead of being lost."""
    before = contents()
    with pytest.raises(ValueError, match="no balance counter"):
        ledger.commit(CommitGroup(frame=make.frame(1, balance={"recieved": 1})))
    assert contents() == before


def test_text_that_utf8_cannot_hold(ledger: Any, make: Any, path: Any) -> None:
    """Half a surrogate pair in a detail never fails a commit, which would refuse its neighbours for ever."""
    entry = make.entry(detail="bad \ud800", rule="r")
    event = Event("reset", "api", "", {"name": "\udfff"})
    ledger.commit(CommitGroup(frame=make.frame(1, quarantine=[entry], events=[event])))
    with open_reader(path) as reader:
        assert reader.quarantine()[0].detail == "bad ?"


def test_rollback_equals_nothing(ledger: Any, make: Any, contents: Any) -> None:
    """Whichever statement of a commit fails, tables and memory are as before, and the same group then passes."""
    ledger.commit(everything(make, 1))
    before, seen = contents(), 0
    memory = (ledger.idle_count, list(ledger.samples())[-2:])
    while fails(ledger, everything(make, 2), seen + 1):
        seen += 1
        assert contents() == before
        assert (ledger.idle_count, list(ledger.samples())[-2:]) == memory
    assert seen > 15
    assert ledger.stored_state().last_seq == 2
    assert ledger.idle_count == 3


def fails(ledger: Any, group: CommitGroup, statement: int) -> bool:
    """Commit with an I/O error planted at the n-th statement; False when there are fewer."""
    left = [statement]

    def trace(cursor: Any, sql: str, bindings: Any) -> bool:
        left[0] -= 1
        if left[0] == 0:
            raise apsw.IOError("planted")
        return True

    ledger._connection.exec_trace = trace
    try:
        ledger.commit(group)
    except RetryableError:
        return True
    finally:
        ledger._connection.exec_trace = None
    return False


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from meterline.clock import SystemClock
    from meterline.kernel.seam import Event, Frame, TotalRow
    from meterline.ledger import Ledger
    from meterline.ledger.model import CommitGroup, LedgerOptions

    def live(left):
        ledger = Ledger.open(Path(sys.argv[1]), LedgerOptions(reserve_bytes=0), SystemClock())
        ledger.catch_up_totals(lambda frame, names: [TotalRow("acme", "calls", 0, 10**30, 1)])

        def trace(cursor, sql, bindings):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return True

        ledger._connection.exec_trace = trace
        last = ledger.stored_state().last_seq
        for seq in range(last + 1, last + 100):
            frame = Frame(seq=seq, gen=1, body=b"body %d" % seq, definitions=b"d", first_meter=seq, meters=1, points=1,
                          records=1, balance={"received": 1}, events=[Event("e", "", "", {})])
            job = lambda tx: tx.connection.execute("INSERT INTO meta VALUES (?, 1)", (f"job {seq}",)) and None
            totals = [TotalRow("acme", "calls", 0, 10**30, 1)]
            ledger.commit(CommitGroup(frame=frame, jobs=[job], totals=totals, idled=[(seq.to_bytes(16), b"row")]))
            os.write(1, b"%d " % seq)

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            live(int(line))
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, b"%d\\n" % killed)
    """
)


def test_kill_between_any_two_statements(path: Any) -> None:
    """After a SIGKILL at any statement all of a group is there or nothing, and all that was answered is there."""
    answered = 0
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as lives:
        for statement in range(1, 61):
            lives.stdin.write(f"{statement}\n")
            *seen, killed = map(int, lives.stdout.readline().split())
            assert killed == -signal.SIGKILL
            answered = max([answered, *seen])
            check_whole(path, answered)
    assert answered >= 60


def check_whole(path: Any, answered: int) -> None:
    """Every part of the last group is there exactly when its frame is."""
    with open_reader(path) as reader:
        last = reader.last_seq()
        assert last >= answered
        assert [row.frame.body for row in reader.frames(0, 10**9)] == [b"body %d" % seq for seq in range(1, last + 1)]
        assert reader.balance()["received"] == last
        jobs = sum(key.startswith("job ") for key in reader.meta())
        count = "SELECT (SELECT count(*) FROM idle), (SELECT count(*) FROM event), (SELECT count(*) FROM definition)"
        tables = reader.connection.execute(count).fetchone()
        assert (jobs, *tables) == (last, last, last, last)
        (total,) = reader.totals(lambda frame, names: []) if last else [None]
        assert total is None or (total.count, str(total.value)) == (last, str(last))


def test_over_the_limit_binds_frames_only(open_ledger: Any, make: Any) -> None:
    """Over max_bytes a frame is refused before anything is written; jobs go through."""
    ledger = open_ledger(max_bytes=100_000)
    assert ledger.over_limit
    with pytest.raises(LedgerFullError, match="limit is 100000"):
        ledger.commit(make.group(1))
    assert ledger.commit(CommitGroup(jobs=[lambda tx: "recorded"])).jobs == ("recorded",)
    assert ledger.room_to_record()


def test_what_a_receiver_remembers_is_in_the_commit_of_its_points(open_ledger: Any, make: Any) -> None:
    """A receiver's state is stored with a frame or not at all, is kept apart by receiver, and b"" forgets it."""
    ledger = open_ledger()
    ledger.commit(make.group(1, remembered={("files", "a"): b"1", ("files", "b"): b"2", ("other", "a"): b"3"}))
    with pytest.raises(ValueError, match="committing frame 9"):
        ledger.commit(make.group(9, remembered={("files", "a"): b"9"}))
    ledger.commit(CommitGroup(remembered={("files", "b"): b""}))
    ledger.close()
    ledger = open_ledger()
    assert ledger.remembered("files") == {"a": b"1"}
    assert ledger.remembered("other") == {"a": b"3"}

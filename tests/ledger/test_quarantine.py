"""
The index of quarantined points, its quota, and the keys of open raw entries.
"""

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import apsw
import pytest

from meterline.kernel.reasons import Reason
from meterline.ledger import open_reader
from meterline.ledger.model import CommitGroup

HOUR = 3600 * 10**9


def test_one_row_per_stream_rule_reason_and_hour(ledger: Any, make: Any, path: Path) -> None:
    """Entries alike share a row, which counts them, adds their exact quantities and names their frames."""
    first = make.entry(quantity=10**17, time=5, detail="first")
    second = make.entry(
        quantity=2 * 10**17, time=7, received_at=first.received_at + 9, record_id="cd" * 16, detail="last"
    )
    other = make.entry(rule="other")
    ledger.commit(CommitGroup(frame=make.frame(1, quarantine=[first, other])))
    ledger.commit(CommitGroup(frame=make.frame(2, quarantine=[second])))
    with open_reader(path) as reader:
        row, neighbour = reader.quarantine()
    assert (row.count, row.open, row.quantity, row.frames, row.held_bytes) == (2, 2, "0.3", (1, 2), 200)
    assert (row.first_time, row.last_time, row.detail, row.record_id) == (5, 7, "last", "cd" * 16)
    assert row.last_received_at - row.first_received_at == 9
    assert (neighbour.rule, neighbour.count, neighbour.frames) == ("other", 1, (1,))


def test_the_index_equals_plain_counting(ledger: Any, make: Any, path: Path, rng: random.Random) -> None:
    """Over random entries in random frames, counts, sums and quotas are those of plain arithmetic."""
    counts: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0])
    held: defaultdict[str, int] = defaultdict(int)
    for seq in range(1, 40):
        entries = [random_entry(make, rng) for _ in range(rng.randrange(6))]
        for entry in entries:
            group = counts[entry.principal, entry.rule, entry.reason.code, entry.stream, entry.received_at // HOUR]
            group[0] += 1
            group[1] += entry.quantity or 0
            held[entry.principal] += entry.size
        ledger.commit(CommitGroup(frame=make.frame(seq, quarantine=entries)))
    with open_reader(path) as reader:
        rows = reader.quarantine()
    found = {
        (row.principal, row.rule, row.reason, row.stream, row.hour // HOUR): [row.count, amount(row.quantity)]
        for row in rows
    }
    assert found == counts
    assert ledger._holdings._bytes == held


def random_entry(make: Any, rng: random.Random) -> Any:
    """An entry of a few streams, rules, reasons, principals and hours."""
    return make.entry(
        rng.choice([Reason.OVERLAP, Reason.CONFLICT, Reason.TIME_IN_PAST]),
        principal=rng.choice("ab"),
        rule=rng.choice("xy"),
        stream=bytes([rng.randrange(3)] * 16),
        received_at=rng.randrange(3) * HOUR + rng.randrange(HOUR),
        size=rng.randrange(500),
    )


def amount(text: str | None) -> int:
    """Exact text in units of 10^-18."""
    whole, _, places = (text or "0").partition(".")
    return int(whole + places.ljust(18, "0"))


def test_the_quota_is_per_principal_and_survives(open_ledger: Any, make: Any) -> None:
    """Over the quota that principal alone is over it, after a restart too; discarding its entries lets it in again."""
    ledger = open_ledger(quarantine_max_bytes=1000)
    ledger.commit(CommitGroup(frame=make.frame(1, quarantine=[make.entry(size=1000), make.entry(principal="other")])))
    assert not ledger.quarantine_over_quota("acme")
    ledger.commit(CommitGroup(frame=make.frame(2, quarantine=[make.entry(size=1)])))
    assert ledger.quarantine_over_quota("acme")
    ledger.close()
    ledger = open_ledger(quarantine_max_bytes=1000)
    assert ledger.principals_over_quota() == ["acme"]
    assert not ledger.quarantine_over_quota("other")
    assert ledger.commit(CommitGroup(jobs=[lambda tx: ledger.discard_quarantine(tx, 1)])).jobs == (2,)
    assert ledger.principals_over_quota() == []


def test_a_failed_commit_holds_nothing(ledger: Any, make: Any) -> None:
    """Quota and counts in memory follow the disk: what was rolled back is not held."""
    ledger._connection.exec_trace = lambda cursor, sql, bindings: sql != "COMMIT"
    with pytest.raises(apsw.ExecTraceAbort):
        ledger.commit(CommitGroup(frame=make.frame(1, quarantine=[make.entry(size=10**9)])))
    ledger._connection.exec_trace = None
    assert not ledger.quarantine_over_quota("acme")
    assert not [sample for sample in ledger.samples() if sample.name.endswith("quarantine_open")]


def test_open_raw_keys_are_restored(open_ledger: Any, make: Any) -> None:
    """Keys of open raw entries come back at a start; a discarded entry's key does not."""
    ledger = open_ledger()
    kept, gone = make.entry(Reason.BAD_UTF8), make.entry(Reason.TOO_DEEP)
    ledger.commit(CommitGroup(frame=make.frame(1, quarantine=[kept, gone, make.entry()])))
    ledger.commit(CommitGroup(jobs=[lambda tx: ledger.discard_quarantine(tx, 2)]))
    ledger.close()
    assert list(open_ledger().stored_state().open_raw) == [kept.key]


def test_discarding_twice_or_nothing(ledger: Any, make: Any, path: Path) -> None:
    """An unknown row, or one that was discarded, is 0 entries; the index keeps the row and its count."""
    ledger.commit(CommitGroup(frame=make.frame(1, quarantine=[make.entry()])))
    discard = CommitGroup(
        jobs=[lambda tx: ledger.discard_quarantine(tx, 1), lambda tx: ledger.discard_quarantine(tx, 9)]
    )
    assert ledger.commit(discard).jobs == (1, 0)
    assert ledger.commit(discard).jobs == (0, 0)
    with open_reader(path) as reader:
        assert reader.quarantine() == []
        assert [(row.count, row.open) for row in reader.quarantine(open_only=False)] == [(1, 0)]


def test_open_entries_are_counted_by_reason(ledger: Any, make: Any) -> None:
    """Telemetry has the number of open entries by reason."""
    ledger.commit(
        CommitGroup(frame=make.frame(1, quarantine=[make.entry(), make.entry(), make.entry(Reason.DECREASE)]))
    )
    found = {s.labels["reason"]: s.value for s in ledger.samples() if s.name == "meterline_ledger_quarantine_open"}
    assert found == {"overlap": 2, "decrease": 1}

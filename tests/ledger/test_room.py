"""
A disk that is really full: a small tmpfs of its own, in a user namespace.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from meterline.errors import LedgerFullError
from meterline.ledger import open_reader
from meterline.ledger.model import CommitGroup
from meterline.ledger.reserve import Reserve

MIB = 1_048_576


def namespaces() -> bool:
    """Say whether this machine lets a process mount a tmpfs of its own."""
    command = ["unshare", "-Urm", "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


SCENARIO = textwrap.dedent(
    """
    import json, random, sys
    from pathlib import Path
    from meterline.clock import SystemClock
    from meterline.errors import LedgerFullError
    from meterline.kernel.seam import Frame
    from meterline.ledger import Ledger, open_reader
    from meterline.ledger.model import CommitGroup, LedgerOptions

    MIB = 1_048_576
    folder, chance, facts = Path(sys.argv[1]), random.Random(7), {}
    filler = folder / "filler"
    filler.write_bytes(bytes(8 * MIB))
    options = LedgerOptions(reserve_bytes=4 * MIB)
    ledger = Ledger.open(folder / "m.db", options, SystemClock())
    facts["reserve at first"] = ledger._reserve.held

    def frame(seq):
        return Frame(seq=seq, gen=1, body=chance.randbytes(150_000), definitions=b"", first_meter=0, meters=0, points=1,
                     records=1, balance={"received": 1})

    def frames_until_full(seq):
        while True:
            try:
                ledger.commit(CommitGroup(frame=frame(seq)))
            except LedgerFullError as error:
                facts.setdefault("error", str(error))
                return seq - 1
            ledger.maintain(SystemClock().now_ns())
            seq += 1

    def job(number):
        return lambda tx: tx.connection.execute(
            "INSERT INTO meta VALUES (?, ?)", (f"job {number}", chance.randbytes(30_000))) and number

    frames = facts["frames"] = frames_until_full(1)
    facts["reserve while frames fail"] = ledger._reserve.held
    facts["probe while full"] = ledger.probe() and frames_until_full(frames + 1) > frames + 5

    jobs = 0
    while ledger.room_to_record():
        jobs += 1
        assert ledger.commit(CommitGroup(jobs=[job(jobs)])).jobs == (jobs,)
        ledger.maintain(SystemClock().now_ns())
        assert jobs < 2000, "the disk never fills"
    facts["jobs on the reserve"] = jobs
    facts["reserve after jobs"] = ledger._reserve.held
    facts["probe without reserve"] = ledger.probe()
    filler.unlink()
    facts["probe with room"] = ledger.probe()
    facts["room with room"] = ledger.room_to_record()
    facts["reserve with room"] = ledger._reserve.held
    last = ledger.stored_state().last_seq
    ledger.commit(CommitGroup(frame=frame(last + 1)))
    ledger.close()
    with open_reader(folder / "m.db") as reader:
        rows = reader.frames(0, 1 << 30)
        facts["found"] = [row.seq for row in rows] == list(range(1, last + 2)) and all(row.frame for row in rows)
        facts["jobs found"] = sum(key.startswith("job ") for key in reader.meta()) == jobs
        facts["integrity"] = reader.connection.pragma("integrity_check")
    print(json.dumps(facts))
    """
)


START = textwrap.dedent(
    """
    import json, os, signal, sys
    from pathlib import Path
    from meterline.clock import SystemClock
    from meterline.errors import LedgerFullError
    from meterline.kernel.seam import Frame
    from meterline.ledger import Ledger
    from meterline.ledger.model import CommitGroup, LedgerOptions

    MIB = 1_048_576
    folder, facts = Path(sys.argv[1]), {}
    options = LedgerOptions(reserve_bytes=2 * MIB)

    def frame(seq):
        return Frame(seq, 1, os.urandom(100_000), b"", 0, 0, 1, 1, {"received": 1})

    ledger = Ledger.open(folder / "m.db", options, SystemClock())
    ledger.commit(CommitGroup(frame=frame(1)))
    ledger.close()
    for name in ("m.db-wal", "m.db-shm"):
        (folder / name).unlink(missing_ok=True)
    with open(folder / "filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            pass
    ledger = Ledger.open(folder / "m.db", options, SystemClock())
    facts["reserve"] = ledger._reserve.held
    facts["jobs"] = ledger.commit(CommitGroup(jobs=[lambda tx: "stored"])).jobs[0]
    facts["probe"] = ledger.probe()
    try:
        ledger.commit(CommitGroup(frame=frame(2)))
    except LedgerFullError as error:
        facts["frame"] = str(error)
    (folder / "filler").unlink()
    facts["probe with room"] = ledger.probe()
    ledger.commit(CommitGroup(frame=frame(2)))
    ledger.close()
    print(json.dumps(facts))
    """
)


def on_a_small_disk(tmp_path: Path, scenario: str, size: str) -> dict[str, Any]:
    """Run a scenario whose directory is a tmpfs of this size; returns the facts that it prints."""
    script, mount = tmp_path / "scenario.py", tmp_path / "disk"
    script.write_text(scenario)
    mount.mkdir()
    command = f"mount -t tmpfs -o size={size} tmpfs {mount} && exec {sys.executable} {script} {mount}"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", command], capture_output=True, text=True, check=False, timeout=55
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.mark.skipif(not namespaces(), reason="needs user namespaces")
def test_a_start_on_a_full_disk(tmp_path: Path) -> None:
    """A ledger opens on a disk without a byte left, at the cost of its reserve: jobs go on, frames wait for room."""
    facts = on_a_small_disk(tmp_path, START, "20m")
    assert "the reserve for bookkeeping was given up" in facts.pop("frame")
    assert facts == {"reserve": False, "jobs": "stored", "probe": False, "probe with room": True}


@pytest.mark.skipif(not namespaces(), reason="needs user namespaces")
def test_a_full_disk(tmp_path: Path) -> None:
    """On a full disk frames are refused and nothing is lost; jobs go on upon the reserve; with room again all goes on."""
    facts = on_a_small_disk(tmp_path, SCENARIO, "32m")
    assert "no room on the disk" in facts.pop("error")
    assert facts.pop("frames") > 5
    assert facts.pop("jobs on the reserve") > 20
    assert facts == {
        "reserve at first": True,
        "reserve while frames fail": True,
        "probe while full": False,
        "reserve after jobs": False,
        "probe without reserve": False,
        "probe with room": True,
        "room with room": True,
        "reserve with room": True,
        "found": True,
        "jobs found": True,
        "integrity": "ok",
    }


def test_the_file_may_not_grow(open_ledger: Any, make: Any, path: Path) -> None:
    """SQLite's own limit on pages is a full disk too: refused, nothing half stored, and it passes when the limit is gone."""
    ledger = open_ledger()
    ledger.commit(make.group(1))
    connection = ledger._connection
    connection.pragma("max_page_count", connection.pragma("page_count") + 2)
    with pytest.raises(LedgerFullError):
        ledger.commit(make.group(2, make.chance.randbytes(100_000)))
    assert not ledger.probe()
    connection.pragma("max_page_count", 1_000_000)
    assert ledger.probe()
    ledger.commit(make.group(2))
    with open_reader(path) as reader:
        assert reader.last_seq() == 2
        assert reader.connection.execute("SELECT count(*) FROM probe").get == 0


def test_used_pages_count_not_the_file(open_ledger: Any, make: Any) -> None:
    """The limit looks at pages in use: what retention has freed can be written again."""
    ledger = open_ledger(max_bytes=2 * MIB)
    seq = 0
    while not ledger.over_limit:
        seq += 1
        ledger.commit(make.group(seq, make.chance.randbytes(150_000)))
    ledger._connection.execute("DELETE FROM frame WHERE seq < ?", (seq,))
    ledger._refresh()
    assert not ledger.over_limit
    ledger.commit(make.group(seq + 1))


def test_the_reserve_is_real(path: Path) -> None:
    """The reserve takes its room on the disk at once, gives all of it up, and takes it again."""
    reserve = Reserve(path, 2 * MIB)
    file = path.with_name(path.name + ".reserve")
    assert file.stat().st_blocks * 512 >= 2 * MIB
    assert reserve.give_up()
    assert file.stat().st_blocks == 0
    assert not reserve.give_up()
    assert reserve.room()
    assert reserve.restore()
    assert file.stat().st_blocks * 512 >= 2 * MIB


def test_a_small_disk_has_a_small_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reserve takes at most an eighth of its file system, so that there is room for a ledger at all."""
    small = os.statvfs_result((4096, 4096, 8192, 8192, 8192, 100, 100, 100, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda directory: small)
    reserve = Reserve(tmp_path / "m.db", 64 * MIB)
    assert reserve.held
    assert (tmp_path / "m.db.reserve").stat().st_size == 4 * MIB


def test_a_commit_of_jobs_is_tried_again_upon_the_reserve(open_ledger: Any, make: Any) -> None:
    """Jobs alone that meet a full disk give the reserve up and are run once more, whole."""
    ledger = open_ledger(reserve_bytes=MIB)
    connection = ledger._connection
    connection.pragma("max_page_count", connection.pragma("page_count"))
    runs: list[bool] = []

    def job(tx: Any) -> int:
        runs.append(ledger._reserve.held)
        if not ledger._reserve.held:
            connection.pragma("max_page_count", 1_000_000)
        tx.connection.execute("INSERT INTO meta VALUES ('big', zeroblob(100000))")
        return 1

    assert ledger.commit(CommitGroup(jobs=[job])).jobs == (1,)
    assert runs == [True, False]
    ledger.maintain(0)
    assert ledger._reserve.held

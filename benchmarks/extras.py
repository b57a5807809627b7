"""
What only Meterline is asked: memory a stream, acknowledgement times during a snapshot, restart time, all at many
streams.
"""

import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from measure import Shape, charged, load, memory_bytes, wait_idle
from servers import Server, running

POINTS, CONNS = 512, 16
RATE = 60  # requests a second while a snapshot is awaited: a load that the server can bear
POLL_SECS = 0.02
JOIN_SECS = 0.5  # parts of one snapshot follow each other faster than this


@dataclass(frozen=True, slots=True)
class Extras:
    """
    Figures at ``streams`` streams; latencies in microseconds, of 60 requests a second of 512 points on 16 connections.
    """

    streams: int
    memory_bytes_per_stream: float
    snapshots: int
    snapshot_secs: float
    p99_during_snapshot_us: float | None
    p99_outside_us: float | None
    restart_secs: float


class SnapshotWatch(threading.Thread):
    """
    Looks at the ledger's chunks while a load runs: when they change, a snapshot is under way.
    """

    def __init__(self, ledger: Path) -> None:
        super().__init__(daemon=True)
        self.windows: list[list[float]] = []
        self._ledger = ledger
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """
        Poll until the block ends.
        """
        before = None
        with closing(sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True, timeout=30)) as ledger:
            while not self._over.wait(POLL_SECS):
                now = ledger.execute("SELECT count(*), total(seq) FROM chunk").fetchone()
                if before is not None and now != before:
                    self._note(time.time())
                before = now

    def _note(self, at: float) -> None:
        if self.windows and at - self.windows[-1][1] < JOIN_SECS:
            self.windows[-1][1] = at
        else:
            self.windows.append([at - POLL_SECS, at])

    def covers(self, at: float) -> bool:
        """
        Say whether a snapshot was under way at this wall time, in seconds.
        """
        return any(first - POLL_SECS <= at <= last + POLL_SECS for first, last in self.windows)


def p99(values: list[float]) -> float | None:
    """
    Return the 99th percentile; None of nothing.
    """
    return sorted(values)[int(len(values) * 0.99)] if values else None


def measure_extras(streams: int, duration: str) -> Extras:
    """
    Fill a gateway with streams, load it through a snapshot, kill it, and time its restart.
    """
    with tempfile.TemporaryDirectory(prefix="meterline-bench-") as name, running("meterline", Path(name)) as server:
        shape = Shape(POINTS, CONNS, streams, time.time_ns())
        load(Shape(POINTS, 1, POINTS, time.time_ns()), server.target, "-passes", "1")  # code and caches, not streams
        wait_idle(server.pid)
        empty = memory_bytes(server.pid, "VmRSS")
        cold = charged(server.pid, shape, server.target, "-passes", "1")
        full = memory_bytes(server.pid, "VmRSS")
        watch, inside, outside = _through_snapshot(server, shape, cold.visit)
        restart = _restart(server, shape, duration)
    spent = sum(last - first for first, last in watch.windows)
    each = (full - empty) / cold.streams
    return Extras(cold.streams, each, len(watch.windows), spent, p99(inside), p99(outside), restart)


def _through_snapshot(server: Server, shape: Shape, visit: int) -> tuple[SnapshotWatch, list[float], list[float]]:
    due = max(1_000_000, 4 * shape.streams)  # a snapshot begins after so many points
    passes = max(1, int(due * 0.8 / shape.streams) - 1)
    seconds = int(due * 0.5 / (RATE * POINTS))
    trace = server.folder / "trace"
    with SnapshotWatch(server.folder / "meterline.db") as watch:
        filled = charged(server.pid, shape, server.target, "-passes", str(passes), "-visit", str(visit))
        paced = ("-rate", str(RATE), "-duration", f"{seconds}s", "-visit", str(filled.visit), "-trace", str(trace))
        charged(server.pid, shape, server.target, *paced)
    inside: list[float] = []
    outside: list[float] = []
    for line in trace.read_text(encoding="ascii").splitlines():
        end, latency = map(int, line.split())
        (inside if watch.covers(end / 1e9) else outside).append(latency / 1e3)
    return watch, inside, outside


def _restart(server: Server, shape: Shape, duration: str) -> float:
    """
    Kill the server under load, and return the seconds until it accepts again.
    """
    load_visit = str(10**6)
    sender = threading.Thread(
        target=load, args=(shape, server.target, "-duration", duration, "-visit", load_visit), daemon=True
    )
    sender.start()
    time.sleep(1)
    server.program.kill()
    begin = time.monotonic()
    server.program.start(ready_secs=300)
    took = time.monotonic() - begin
    sender.join(60)
    return took

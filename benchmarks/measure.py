"""
What is read of a server while it is under load: CPU of the process, memory, and what the load generator saw.
"""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from meterline.testing.peers import go_program

TICK_SECS = 1 / os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE = 0, 1
IDLE_SHARE = 0.05
NOBODY_WAITS_SECS = 600.0


def cpu_secs(pid: int) -> float:
    """
    Return user and system time of all threads of a process, in seconds.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_SECS


def memory_bytes(pid: int, name: str) -> int:
    """
    Return ``VmHWM`` (peak) or ``VmRSS`` (now) of a process.
    """
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{name}:"))


def wait_idle(pid: int, window_secs: float = 0.5) -> float:
    """
    Wait until the process has nothing left to do: its queues are drained. Return the seconds it took.

    Raises TimeoutError after a limit: a server that never rests cannot be charged per point.
    """
    begin = time.monotonic()
    before = cpu_secs(pid)
    while time.monotonic() - begin < NOBODY_WAITS_SECS:
        time.sleep(window_secs)
        now = cpu_secs(pid)
        if now - before < IDLE_SHARE * window_secs:
            return time.monotonic() - begin - window_secs
        before = now
    raise TimeoutError(f"waiting for process {pid} to drain: busy after {NOBODY_WAITS_SECS:g} s")


@dataclass(frozen=True, slots=True)
class Load:
    """
    What the load generator measured, and what the server spent on it until it was idle again.
    """

    requests: int
    points: int
    seconds: float
    streams: int
    body_bytes: int
    refused: int
    p50_us: float
    p99_us: float
    max_us: float
    visit: int
    cpu: float = 0.0
    drain_secs: float = 0.0

    @property
    def cpu_us_per_request(self) -> float:
        """
        Return microseconds of server CPU a request.
        """
        return self.cpu / self.requests * 1e6

    @property
    def cpu_ns_per_point(self) -> float:
        """
        Return nanoseconds of server CPU a point.
        """
        return self.cpu / self.points * 1e9


@dataclass(frozen=True, slots=True)
class Shape:
    """
    One shape of load: points a request, connections, streams over all of them; ``start`` is the counters' start in ns.
    """

    points: int
    conns: int
    streams: int
    start: int

    def command(self, target: str, *extra: str) -> list[str]:
        """
        Return the load generator's command line, pinned to the core that the server does not have.
        """
        binary = go_program("loadgen", Path(__file__).parent / "loadgen")
        return [
            *("taskset", "-c", str(LOAD_CORE), str(binary), "-target", target, "-start", str(self.start)),
            *("-points", str(self.points), "-conns", str(self.conns), "-streams", str(self.streams), *extra),
        ]


def load(shape: Shape, target: str, *extra: str, timeout_secs: float = 600.0) -> Load:
    """
    Run the load generator to its end.
    """
    done = subprocess.run(
        shape.command(target, *extra), capture_output=True, text=True, timeout=timeout_secs, check=False
    )
    if done.returncode:
        raise RuntimeError(f"running the load generator: exit {done.returncode}: {done.stderr[-2000:]}")
    return Load(**json.loads(done.stdout))


def charged(pid: int, shape: Shape, target: str, *extra: str) -> Load:
    """
    Run a load and charge the server for it, with all it does about it afterwards.
    """
    before = cpu_secs(pid)
    result = load(shape, target, *extra)
    drained = wait_idle(pid)
    values = {name: getattr(result, name) for name in Load.__slots__}
    return Load(**{**values, "cpu": cpu_secs(pid) - before, "drain_secs": drained})


def cores() -> int:
    """
    Return how many cores this process may use; with one, server and load share it and the figures say little.
    """
    return len(os.sched_getaffinity(0))

"""
How far reading has come: for the log while it catches up, and for telemetry always.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

from meterline.api import Clock, Sample

_EVERY_SECS: Final = 10.0


class Progress:
    """
    Written by the reading thread; any thread may ask for samples.
    """

    def __init__(self, clock: Clock, log: Any) -> None:
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._read: dict[str, int] = {}
        self._counts = {"lines": 0, "points": 0, "rejected": 0}
        self._said_at = clock.monotonic()
        self._said_done = 0

    def looked(self, sizes: Mapping[str, int]) -> None:
        """
        Take the files that there are now, with their sizes.
        """
        with self._lock:
            self._sizes = dict(sizes)
            self._read = {path: done for path, done in self._read.items() if path in sizes}

    def stored(self, path: str, position: int, lines: int, points: int, rejected: int) -> None:
        """
        Take a batch that is stored; ``position``: of the file's own bytes.
        """
        with self._lock:
            self._read[path] = position
            for name, count in (("lines", lines), ("points", points), ("rejected", rejected)):
                self._counts[name] += count
        if self._clock.monotonic() - self._said_at >= _EVERY_SECS:
            self._say("reading files")

    def finished(self) -> None:
        """
        Say once that everything there is was read to its end.
        """
        if self._said_done != self._counts["lines"] + 1:
            self._said_done = self._counts["lines"] + 1
            self._say("files are read to their end")

    def _say(self, what: str) -> None:
        self._said_at = self._clock.monotonic()
        with self._lock:
            total, done, counts = sum(self._sizes.values()), sum(self._read.values()), dict(self._counts)
        self._log.info(what, files=len(self._sizes), percent=100 * done // total if total else 100, **counts)

    def samples(self, labels: Mapping[str, str]) -> Iterable[Sample]:
        """
        Return the sizes and what was read of them in this process's life.
        """
        with self._lock:
            total, done, counts = sum(self._sizes.values()), sum(self._read.values()), dict(self._counts)
        yield Sample("meterline_receiver_files", labels, len(self._sizes))
        yield Sample("meterline_receiver_file_bytes", labels, total)
        yield Sample("meterline_receiver_file_read_bytes", labels, done)
        for name in ("lines", "points", "rejected"):
            yield Sample(f"meterline_receiver_file_{name}", labels, counts[name])

"""
Real Prometheus servers in tests: a target whose counters the test moves, and a server that scrapes it and writes on.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from meterline.testing.peers import prometheus
from meterline.testing.process import Program, free_port

_HISTOGRAM_BOUNDS: Final = ("0.5", "1", "+Inf")
_AFTER_READ_SECS: Final = 0.005  # Prometheus moves the times of its scrapes by up to 2 ms
_QUICK: Final = {
    "min_shards": 2,
    "max_samples_per_send": 50,
    "batch_send_deadline": "100ms",
    "min_backoff": "30ms",
    "max_backoff": "200ms",
}


class Target:
    """
    A page of counters ``calls_total``, histograms ``work_seconds`` and gauges ``open_count``, by customer. Any thread.

    ``created``: a page of OpenMetrics instead, of the counters alone, that says since when each counts.
    """

    def __init__(self, customers: int, *, created: bool = False) -> None:
        self.names = [f"c{number}" for number in range(customers)]
        self.created = created
        self._born = time.time()
        self._read = 0.0
        self.calls: Counter[str] = Counter()
        self.work: Counter[str] = Counter()
        self.scrapes = 0
        self._lock = threading.Lock()

    def count(self, customer: str, calls: int, work: int) -> None:
        """
        Add so many calls, and observe 0.25 so many times.
        """
        with self._lock:
            self.calls[customer] += calls
            self.work[customer] += work

    def restart(self) -> None:
        """
        Begin all counters anew, as a process that restarts: just after it was read last, as far from the next time as can be,
        since a counter that is read in the millisecond of its start says nothing.
        """
        with self._lock:
            self.calls.clear()
            self.work.clear()
            self._born = self._read + _AFTER_READ_SECS if self._read else time.time()
            self._read = 0.0

    def page(self) -> str:
        """
        Return the page as it is now.
        """
        with self._lock:
            self.scrapes += 1
            self._read = time.time()
            if self.created:
                return "\n".join([*self._openmetrics(), ""])
            return "\n".join([*self._counters(), *self._histogram(), *self._gauge(), ""])

    def _openmetrics(self) -> Iterator[str]:
        yield "# TYPE calls counter"
        for name in self.names:
            yield f'calls_total{{customer="{name}"}} {self.calls[name]}'
            yield f'calls_created{{customer="{name}"}} {self._born:.3f}'
        yield "# EOF"

    def _counters(self) -> Iterator[str]:
        yield "# TYPE calls_total counter"
        for name in self.names:
            yield f'calls_total{{customer="{name}"}} {self.calls[name]}'

    def _histogram(self) -> Iterator[str]:
        yield "# TYPE work_seconds histogram"
        for name in self.names:
            for bound in _HISTOGRAM_BOUNDS:
                yield f'work_seconds_bucket{{customer="{name}",le="{bound}"}} {self.work[name]}'
            yield f'work_seconds_sum{{customer="{name}"}} {self.work[name] / 4}'
            yield f'work_seconds_count{{customer="{name}"}} {self.work[name]}'

    def _gauge(self) -> Iterator[str]:
        yield "# TYPE open_count gauge"
        for name in self.names:
            yield f'open_count{{customer="{name}"}} {self.scrapes % 7}'


@contextmanager
def serving(target: Target) -> Iterator[int]:
    """
    Serve a target's page on a port of 127.0.0.1, which is returned.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = target.page().encode()
            self.send_response(200)
            kind = (
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
                if target.created
                else "text/plain; version=0.0.4"
            )
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class Prometheus(Program):
    """
    A Prometheus server of its own folder that scrapes one target five times a second and writes to one receiver.

    ``external``: external labels. ``write``: more options of ``remote_write``; ``features``: of ``--enable-feature``.
    """

    def __init__(
        self,
        folder: Path,
        target_port: int,
        url: str,
        *,
        external: Mapping[str, str] | None = None,
        write: Mapping[str, Any] | None = None,
        features: str = "",
    ) -> None:
        folder.mkdir()
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "external_labels": dict(external or {})},
            "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}]}],
            "remote_write": [
                {
                    "url": url,
                    "queue_config": _QUICK,
                    "metadata_config": {"send_interval": "1s"},
                    **(write or {}),
                }
            ],
        }
        path = folder / "prometheus.json"  # YAML reads JSON
        path.write_text(json.dumps(config), encoding="utf-8")
        port = free_port()
        command = [
            str(prometheus()),
            f"--config.file={path}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--storage.remote.flush-deadline=5s",
        ]
        if features:
            command.append(f"--enable-feature={features}")
        super().__init__(command, folder / "prometheus.log", ports=[port])

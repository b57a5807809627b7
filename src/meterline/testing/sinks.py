"""
Backends that outlive the gateway under test: an HTTP server, an OTLP server and a forward-protocol server on
127.0.0.1.

Each keeps every record that it acknowledged, by id. A repeat of the same record is what a backend with ids dedupes;
the same id with other content stays visible.
"""

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc

from meterline.testing.forward import Conversation, ForwardServer, acknowledge
from meterline.testing.otlp_server import OtlpRequest, OtlpServer, records_in
from meterline.testing.verdict import Found, found_record


class Store:
    """
    What a backend holds: records by id, and how many were sent more than once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, set[Found]] = {}
        self.repeats = 0

    def add(self, records: Iterable[Found]) -> None:
        """
        Take records; call it before acknowledging them.
        """
        with self._lock:
            for record in records:
                held = self._records.setdefault(record.id, set())
                self.repeats += record in held
                held.add(record)

    def found(self) -> list[Found]:
        """
        Return each record once; an id with two contents gives two.
        """
        with self._lock:
            return [record for held in self._records.values() for record in held]


class _HttpHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_HttpServer"

    def do_POST(self) -> None:
        """
        Take a record or a list of them; a request that a kill has cut short is no request.
        """
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        data = json.loads(body)
        self.server.store.add(found_record(item) for item in (data if isinstance(data, list) else [data]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server gives it
        """
        Print nothing.
        """


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, store: Store) -> None:
        super().__init__(("127.0.0.1", 0), _HttpHandler)
        self.store = store

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        Print what went wrong, unless the client was killed: that is what the test wants.
        """
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _start_http(store: Store, closing: contextlib.ExitStack) -> str:
    server = _HttpServer(store)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    closing.callback(server.server_close)
    closing.callback(server.shutdown)
    return f"127.0.0.1:{server.server_address[1]}"


def _start_otlp(store: Store, closing: contextlib.ExitStack) -> str:
    def take(request: OtlpRequest, _context: grpc.ServicerContext) -> bytes:
        store.add(map(found_record, records_in(request)))
        return b""

    server = OtlpServer(take)
    closing.callback(server.close)
    return server.endpoint


def _start_fluentd(store: Store, closing: contextlib.ExitStack) -> str:
    def take(conversation: Conversation, chunk: str) -> None:
        message = next(each for each in reversed(server.messages) if each.option["chunk"] == chunk)
        store.add(found_record(record) for _, record in message.entries)
        acknowledge(conversation, chunk)

    server = ForwardServer(take)
    closing.callback(server.close)
    return f"127.0.0.1:{server.port}"


HTTP, OTLP, FLUENTD, FILE, FAULTY = "http", "otlp", "fluentd", "file", "faulty"
BATCH: Final = "batch: {max_records: 40, max_wait_secs: 0.02}, retry: {initial_secs: 0.05, max_secs: 0.2}"


_STARTS: Final[dict[str, Callable[[Store, contextlib.ExitStack], str]]] = {
    HTTP: _start_http,
    OTLP: _start_otlp,
    FLUENTD: _start_fluentd,
}


class Sinks:
    """
    The backends of some exporters, by kind; ``config`` gives the exporters' sections, ``found`` what was delivered.
    """

    def __init__(self, kinds: Iterable[str], folder: Path) -> None:
        self._kinds = tuple(kinds)
        self._folder = folder
        self.stores = {kind: Store() for kind in (HTTP, OTLP, FLUENTD) if kind in self._kinds}
        self._endpoints: dict[str, str] = {}
        self._closing = contextlib.ExitStack()
        for kind, store in self.stores.items():
            self._endpoints[kind] = _STARTS[kind](store, self._closing)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def config(self) -> Mapping[str, str]:
        """
        Return the options of each exporter, as YAML on one line.
        """
        options = {
            FILE: "type: file, path: ./usage.ndjson",
            HTTP: f"type: http, endpoint: 'http://{self._endpoints.get(HTTP)}/usage'",
            OTLP: f"type: otlp, endpoint: '{self._endpoints.get(OTLP)}'",
            FLUENTD: f"type: fluentd, endpoint: '{self._endpoints.get(FLUENTD)}'",
            FAULTY: "type: faulty, path: ./faulty.ndjson",
        }
        return {kind: f"{{{options[kind]}, {BATCH}}}" for kind in self._kinds}

    def found(self) -> Mapping[str, Callable[[], list[Found]]]:
        """
        Return what reads each exporter's deliveries: for ``file`` every raw line, for the others each record once.

        Reading a file raises ValueError when a line is torn.
        """
        found: dict[str, Callable[[], list[Found]]] = {kind: store.found for kind, store in self.stores.items()}
        if FILE in self._kinds:
            found[FILE] = lambda: lines(self._folder / "usage.ndjson")
        if FAULTY in self._kinds:
            found[FAULTY] = lambda: list(set(lines(self._folder / "faulty.ndjson")))
        return found


def lines(path: Path) -> list[Found]:
    """
    Read every raw line of an NDJSON file, repeats included. Raises ValueError for a line that is torn.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text and not text.endswith("\n"):
        raise ValueError(f"reading {path}: the last line is torn: {text.rpartition(chr(10))[2]!r}")
    return [found_record(json.loads(line)) for line in text.splitlines()]

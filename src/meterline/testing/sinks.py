"""
Backends that outlive the gateway under test: an HTTP server, an OTLP server and a forward-protocol server on
127.0.0.1.

Each keeps every record that it acknowledged, by id. A repeat of the same record is what a backend with ids dedupes;
the same id with other content stays visible.
"""

import json
import socketserver
import sys
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
import msgpack
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from meterline.testing.sender import METHODS
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
    server: "_Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        data = json.loads(body)
        self.server.store.add(found_record(item) for item in (data if isinstance(data, list) else [data]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server gives it
        pass


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """
    Serves with a thread a connection, and takes a client that dies as what the test wants.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, store: Store, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.store = store

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        Print what went wrong, unless the client was killed.
        """
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _ForwardHandler(socketserver.BaseRequestHandler):
    """
    Forward protocol v1: messages ``[tag, entries, option]`` in all three modes, acknowledged by their chunk.
    """

    server: "_Server"

    def handle(self) -> None:
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        while data := self._received():
            unpacker.feed(data)
            for message in unpacker:
                self._take(message)

    def _received(self) -> bytes:
        try:
            return bytes(self.request.recv(65_536))
        except OSError:
            return b""

    def _take(self, message: list[Any]) -> None:
        entries = message[1]
        if isinstance(entries, bytes):
            inner = msgpack.Unpacker(raw=False, strict_map_key=False)
            inner.feed(entries)
            entries = list(inner)
        elif not isinstance(entries, list):
            entries = [[message[1], message[2]]]
        self.server.store.add(found_record(record) for _, record in entries)
        option = message[-1] if isinstance(message[-1], dict) else {}
        if "chunk" in option:
            self.request.sendall(msgpack.packb({"ack": option["chunk"]}))


class _OtlpHandler(grpc.GenericRpcHandler):
    def __init__(self, store: Store) -> None:
        self._store = store

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        if handler_call_details.method != METHODS["logs"]:
            return None
        return grpc.unary_unary_rpc_method_handler(self._export)

    def _export(self, body: bytes, _context: grpc.ServicerContext) -> bytes:
        request = ExportLogsServiceRequest.FromString(body)
        scopes = (scope for resource in request.resource_logs for scope in resource.scope_logs)
        self._store.add(_from_log(record) for scope in scopes for record in scope.log_records)
        return b""


def _from_log(record: Any) -> Found:
    values = {pair.key: pair.value.string_value for pair in record.attributes}
    key = (values["usage.customer_id"], values["usage.dimension_id"], record.time_unix_nano)
    return Found(values["usage.id"], key, Decimal(values["usage.value"]))


HTTP, OTLP, FLUENTD, FILE, FAULTY = "http", "otlp", "fluentd", "file", "faulty"
BATCH: Final = "batch: {max_records: 40, max_wait_secs: 0.02}, retry: {initial_secs: 0.05, max_secs: 0.2}"


class Sinks:
    """
    The backends of some exporters, by kind; ``config`` gives the exporters' sections, ``found`` what was delivered.
    """

    def __init__(self, kinds: Iterable[str], folder: Path) -> None:
        self._kinds = tuple(kinds)
        self._folder = folder
        self.stores = {kind: Store() for kind in (HTTP, OTLP, FLUENTD) if kind in self._kinds}
        self._servers: dict[str, _Server] = {}
        self._grpc: grpc.Server | None = None
        self._endpoints: dict[str, str] = {}
        self._bind()

    def _bind(self) -> None:
        if HTTP in self.stores:
            self._servers[HTTP] = _Server(self.stores[HTTP], _HttpHandler)
        if FLUENTD in self.stores:
            self._servers[FLUENTD] = _Server(self.stores[FLUENTD], _ForwardHandler)
        for kind, server in self._servers.items():
            self._endpoints[kind] = f"127.0.0.1:{server.server_address[1]}"
        if OTLP in self.stores:
            self._grpc = grpc.server(ThreadPoolExecutor(4))
            self._grpc.add_generic_rpc_handlers((_OtlpHandler(self.stores[OTLP]),))
            self._endpoints[OTLP] = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        for server in self._servers.values():
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        if self._grpc is not None:
            self._grpc.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
        if self._grpc is not None:
            self._grpc.stop(0).wait(5)

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

    def found(self) -> Mapping[str, list[Found]]:
        """
        Return what each exporter delivered: for ``file`` every raw line, for the others each record once.

        :raises ValueError: a line of the file is torn.
        """
        found = {kind: store.found() for kind, store in self.stores.items()}
        if FILE in self._kinds:
            found[FILE] = lines(self._folder / "usage.ndjson")
        if FAULTY in self._kinds:
            found[FAULTY] = list(set(lines(self._folder / "faulty.ndjson")))
        return found


def lines(path: Path) -> list[Found]:
    """
    Read every raw line of an NDJSON file, repeats included. Raises ValueError for a line that is torn.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text and not text.endswith("\n"):
        raise ValueError(f"reading {path}: the last line is torn: {text.rpartition(chr(10))[2]!r}")
    return [found_record(json.loads(line)) for line in text.splitlines()]

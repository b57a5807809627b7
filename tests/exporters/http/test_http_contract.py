"""
The exporter ``http`` against the contract kit, over real sockets.
"""

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from meterline.api import ExporterContext
from meterline.exporters.http import HttpExporter
from meterline.exporters.http.config import HttpConfig
from meterline.testing.exporters import NAME, QUICK, Backend, Fault, exporter_suite

BAD = "customer-3"


class Handler(BaseHTTPRequestHandler):
    """
    Keeps records by id, as a backend that dedupes does.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.server.script.pop() if self.server.script else None
        if fault is Fault.SLOW:
            time.sleep(0.3)
        if fault is Fault.DISCONNECT:
            self.close_connection = True
            self.connection.close()
            return
        records = self._records(body)
        status = {Fault.TRANSIENT: 503, Fault.PERMANENT: 422}.get(fault, 200) if fault else 200
        if fault is Fault.MIXED:
            self.server.choosy = True
        if self.server.choosy and any(record["customer_id"] == BAD for record in records):
            status = 422
        if status == 200:
            self.server.held.update({record["id"]: record for record in records})
        if fault is Fault.ANSWER_LOST:
            self.close_connection = True
            self.connection.close()
            return
        self._answer(status)

    def _records(self, body: bytes) -> list[dict[str, Any]]:
        if self.headers["Content-Type"] == "application/x-ndjson":
            return [json.loads(line) for line in body.split(b"\n")[:-1]]
        found = json.loads(body)
        return found if isinstance(found, list) else [found]

    def _answer(self, status: int) -> None:
        text = b'{"why": "because"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """
    A backend on a free port of 127.0.0.1.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.held: dict[str, dict[str, Any]] = {}
        self.script: list[Fault] = []
        self.choosy = False

    def handle_error(self, *args: Any) -> None:
        pass


class HttpBackend(Backend):
    """
    A real server; what it refuses for good it refuses for a whole request.
    """

    faults = frozenset(Fault)
    options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._server = Server()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def exporter(self, context: ExporterContext) -> HttpExporter:
        endpoint = f"http://127.0.0.1:{self._server.server_port}/usage?a=b"
        return HttpExporter(NAME, HttpConfig(type="http", endpoint=endpoint, **{**QUICK, **self.options}), context)

    def held(self) -> Sequence[Mapping[str, Any]]:
        return list(self._server.held.values())

    def inject(self, fault: Fault, times: int) -> None:
        self._server.script += [fault] * times

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class NdjsonBackend(HttpBackend):
    """
    Batches as one object a line.
    """

    options: ClassVar[Mapping[str, Any]] = {"format": "ndjson"}


class RecordBackend(HttpBackend):
    """
    One request for each record.
    """

    options: ClassVar[Mapping[str, Any]] = {"mode": "record"}


TestBatch = exporter_suite(HttpBackend)
TestNdjson = exporter_suite(NdjsonBackend)
TestRecord = exporter_suite(RecordBackend)

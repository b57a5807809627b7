"""
A real gateway with every receiver and small limits, and what must hold of it after somebody was hostile to it.
"""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import grpc
from ruamel.yaml import YAML

from meterline.testing.hostile import valid
from meterline.testing.process import wait_until
from meterline.testing.sinks import lines
from meterline.testing.site import sums
from meterline.testing.wire_site import WireSite
from meterline.testing.wires import Request, Wire

MIB: Final = 1024 * 1024
MAX_REQUEST_BYTES: Final = 8 * MIB
ANSWER_SECS: Final = 20.0

STATUSES: Final = frozenset({400, 401, 403, 404, 405, 413, 415, 431})
"""What an HTTP answer may be besides 2xx; 503 only for what may pass."""

CODES: Final = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""What a gRPC answer may be; UNAVAILABLE only for what may pass."""

_LISTENER: Final = {"max_request_bytes": MAX_REQUEST_BYTES, "max_in_flight_bytes": 4 * MAX_REQUEST_BYTES}
_DEFECTS: Final = re.compile(
    r"Traceback|\"level\": ?\"(?:error|critical)\"|\berror\b[^\n]*(?:failed|unexpected)|Task exception"
)


class HostileSite(WireSite):
    """
    The gateway of ``testing.wires`` with a size limit of 8 MiB, and short timeouts where they are given.
    """

    def __init__(
        self, folder: Path, *, http: Mapping[str, Any] | None = None, forward: Mapping[str, Any] | None = None
    ) -> None:
        """
        ``http``, ``forward``: more options of those listeners.
        """
        super().__init__(folder)
        yaml = YAML(typ="safe")
        config = yaml.load(self.config.read_text(encoding="utf-8"))
        more = {**_LISTENER, **(http or {})}
        receivers = config["receivers"]
        for section in (receivers["otlp"]["http"], receivers["usage"]["http"]):
            section.update(more)
        for name in ("prometheus", "loki", "json"):
            receivers[name].update(more)
        for section in (receivers["otlp"]["grpc"], receivers["usage"]["grpc"], receivers["vector"]):
            section.update(_LISTENER)
        config["rules"][0]["identity"] = "content"  # not every wire has a field of its own for an event's id
        receivers["fluent_forward"].update(_LISTENER, **(forward or {}))
        self.config.write_text(json.dumps(config), encoding="utf-8")

    def memory(self, name: str = "VmRSS") -> int:
        """
        Return the resident bytes of the gateway; ``VmHWM``: the most there ever were, or since ``forget_peak``.
        """
        status = Path(f"/proc/{self.gateway.pid}/status").read_text(encoding="utf-8")
        return int(status.partition(f"{name}:")[2].split()[0]) * 1024

    def forget_peak(self) -> None:
        """
        Begin to measure ``VmHWM`` anew.
        """
        Path(f"/proc/{self.gateway.pid}/clear_refs").write_text("5", encoding="utf-8")

    def cpu_secs(self) -> float:
        """
        Return the CPU time that the gateway has taken.
        """
        fields = Path(f"/proc/{self.gateway.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def connect(self, port: str = "http", timeout_secs: float = ANSWER_SECS) -> socket.socket:
        """
        Open a connection to one of the ports.
        """
        return socket.create_connection(("127.0.0.1", self.ports[port]), timeout_secs)

    def check_alive(self, wires: list[Wire], customer: str) -> None:
        """
        Send three valid points over each wire, and assert that they are counted exactly, and that nothing went wrong before.
        """
        for wire in wires:
            sender = self.sender(wire)
            sender.send(valid(wire, customer, start_ns=time.time_ns() + 30 * 10**9), 40)
            sender.close()
        wanted = {(customer, wire.name): Decimal(3 if wire.carries == "events" else 2) for wire in wires}
        wait_until(lambda: self._of(customer) == wanted, 40, f"the usage of {customer}", 0.1)
        self.check_log()

    def _of(self, customer: str) -> Mapping[tuple[str, str], Decimal]:
        try:
            found = sums(lines(self.folder / "usage.ndjson"))
        except ValueError:  # its last line is being written just now
            return {}
        return {key: value for key, value in found.items() if key[0] == customer}

    def check_log(self, *secrets: str) -> None:
        """
        Assert that the gateway runs, and that its log tells of no defect and holds none of these texts.
        """
        assert self.gateway.alive, self.gateway.output()[-4000:]
        log = self.gateway.output()
        found = _DEFECTS.search(log)
        assert found is None, (
            f"the gateway's log tells of a defect: {log[max(0, found.start() - 500) : found.end() + 3000]}"
        )
        for secret in secrets:
            assert secret not in log, f"the log holds what was sent: {secret[:40]!r}"


def answer_of(connection: socket.socket) -> bytes:
    """
    Return all that comes until the other side closes. Raises TimeoutError: it leaves the connection hanging.
    """
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def statuses(answer: bytes) -> Iterator[int]:
    """
    Return the statuses of the HTTP answers in what came over a connection, without those that only say "go on".
    """
    found = (int(line) for line in re.findall(rb"HTTP/1\.[01] (\d{3})", answer))
    return (status for status in found if status != 100)


def http_bytes(request: Request, method: str = "POST") -> bytes:
    """
    Return a request as it goes over a socket, the last one on its connection.
    """
    headers = {"host": "h", "connection": "close", "content-length": str(len(request.body)), **request.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {request.path} HTTP/1.1\r\n{head}\r\n".encode("latin-1", "replace") + request.body


def grpc_code(channel: Any, request: Request) -> grpc.StatusCode:
    """
    Call once, and return the status.
    """
    try:
        channel.unary_unary(request.path)(request.body, timeout=ANSWER_SECS)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK

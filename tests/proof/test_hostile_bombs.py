"""
Bombs: a GiB out of a MiB, in every codec, at every door of a real gateway: refused, for little memory.
"""

import contextlib
from collections.abc import Callable

import grpc
import pytest

from meterline.serving.codecs import CODECS
from meterline.testing.forward_client import ForwardClient
from meterline.testing.hostile_codecs import MIB, bombs, lying_snappy
from meterline.testing.hostile_doors import Doors
from meterline.testing.hostile_site import (
    MAX_REQUEST_BYTES,
    HostileSite,
    answer_of,
    grpc_code,
    http_bytes,
    statuses,
)
from meterline.testing.wires import WIRES, Request

GROWTH = 64 * MIB
ONE_OF_EACH = ("/v1/logs", "/api/v1/write", "/loki/api/v1/push", "/v1/events", "/2/httpapi", "/v1/usage")
GRPC_METHODS = (
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/meterline.usage.v1.UsageService/RecordUsage",
    "/vector.Vector/PushEvents",
)


def growth(site: HostileSite, attack: Callable[[], None]) -> int:
    """Return by how much the gateway's memory was larger at its peak than before."""
    site.forget_peak()
    before = site.memory()
    attack()
    return site.memory("VmHWM") - before


def post(site: HostileSite, request: Request) -> tuple[int, bytes]:
    """Send one request on a connection of its own."""
    with site.connect() as connection:
        with contextlib.suppress(ConnectionError):  # refused before all of it was sent
            connection.sendall(http_bytes(request))
        answer = answer_of(connection)
    return next(statuses(answer)), answer


def paths() -> list[tuple[str, str]]:
    """Every HTTP path, and a media type that it takes."""
    found = []
    for path, endpoint in sorted(Doors().endpoints.items()):
        if endpoint.methods == ("GET",):
            continue
        media = "application/x-protobuf" if "write" in path or "/v1/push" in path else "application/json"
        found.append((path, media))
    return found


@pytest.mark.parametrize("encoding", sorted(CODECS))
def test_bombs_over_http(site: HostileSite, encoding: str) -> None:
    """Each codec's bomb is refused with 413 at a path of each receiver, and all of them together take little memory."""
    check_bombs(site, encoding, [pair for pair in paths() if pair[0] in ONE_OF_EACH])


@pytest.mark.slow
@pytest.mark.parametrize("encoding", sorted(CODECS))
def test_bombs_at_every_path(site: HostileSite, encoding: str) -> None:
    """The same at every path that there is."""
    check_bombs(site, encoding, paths())


def check_bombs(site: HostileSite, encoding: str, targets: list[tuple[str, str]]) -> None:
    """Send one bomb to each."""
    headers = {"content-encoding": encoding}

    def attack() -> None:
        for path, media in targets:
            status, answer = post(site, Request(path, bombs()[encoding], {**headers, "content-type": media}))
            assert status == 413, f"{path}: {answer[:500]!r}"

    grown = growth(site, attack)
    assert grown < GROWTH + MAX_REQUEST_BYTES, f"{grown / MIB:.0f} MiB"


def test_bombs_that_are_implied(site: HostileSite) -> None:
    """Remote write and Loki bodies are snappy also where nothing says so; they are bounded all the same."""

    def attack() -> None:
        for path in ("/api/v1/write", "/loki/api/v1/push"):
            body = bombs()["snappy"]
            assert post(site, Request(path, body, {"content-type": "application/x-protobuf"}))[0] == 413

    assert growth(site, attack) < GROWTH + MAX_REQUEST_BYTES


def test_a_length_that_lies(site: HostileSite) -> None:
    """A snappy block of a few bytes that declares 4 GiB is refused before anything is made for it."""
    headers = {"content-encoding": "snappy", "content-type": "application/x-protobuf"}
    grown = growth(site, lambda: _refused(post(site, Request("/v1/logs", lying_snappy(), headers))[0]))
    assert grown < 8 * MIB


def _refused(status: int) -> None:
    assert status in (400, 413)


@pytest.mark.parametrize("encoding", ["gzip", "zlib"])
@pytest.mark.parametrize("method", GRPC_METHODS)
def test_bombs_over_grpc(site: HostileSite, method: str, encoding: str) -> None:
    """A compressed message is inflated by the listener, as far as the limit and no further."""
    port = site.ports["vector" if "vector" in method else "grpc"]

    def attack() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for _ in range(3):
                code = grpc_code(channel, Request(method, bombs()[encoding]))
                assert code is grpc.StatusCode.RESOURCE_EXHAUSTED

    grown = growth(site, attack)
    assert grown < GROWTH + MAX_REQUEST_BYTES, f"{grown / MIB:.0f} MiB"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_bombs_over_forward(site: HostileSite, encoding: str) -> None:
    """CompressedPackedForward: no acknowledgement, the connection is closed."""
    option = b"\x82\xaacompressed" + bytes((0xA0 + len(encoding),)) + encoding.encode() + b"\xa5chunk\xa1a"
    body = bombs()[encoding]
    message = b"\x93\xa1t\xc6" + len(body).to_bytes(4, "big") + body + option

    def attack() -> None:
        for _ in range(3):
            with ForwardClient(f"127.0.0.1:{site.ports['forward']}") as client:
                client.send(message)
                assert client.receive() is None

    grown = growth(site, attack)
    assert grown < GROWTH + MAX_REQUEST_BYTES, f"{grown / MIB:.0f} MiB"


def test_it_counts_afterwards(site: HostileSite) -> None:
    """The gateway that was bombed takes what is valid, and its log tells of no defect."""
    site.check_alive([wire for wire in WIRES if wire.transport != "file"], "after-bombs")

"""
Nothing of a payload, and no credential, is ever logged: canaries in every part of requests on every wire, good and broken.
"""

import contextlib
import http.client
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import pytest

from meterline.testing.forward_client import ForwardClient
from meterline.testing.process import wait_until
from meterline.testing.wire_sender import HttpSender
from meterline.testing.wire_site import TOKEN, WireSite
from meterline.testing.wires import WIRES, Event, Reading, Request, Wire

CANARY = "canary7f3a"
REFUSALS = (OSError, AssertionError, ValueError, http.client.HTTPException, grpc.RpcError)


def points(wire: Wire) -> list[Event] | list[Reading]:
    """
    Return points with the canary wherever a text may be, of which some cannot be read.
    """
    now = time.time_ns() // 10**9 * 10**9
    if wire.carries == "readings":
        return [Reading(CANARY, CANARY, 5, now), Reading(f"mine-{CANARY}", CANARY, 7, now)]
    values = ("1", CANARY, "1e999", "-1", "")
    return [Event(f"{CANARY}-{n}", f"mine-{CANARY}", value, now) for n, value in enumerate(values)]


def variants(wire: Wire, rng: random.Random) -> Iterator[Request]:
    """
    Yield what a wire sends, as it is, cut off, with changed bytes, doubled, and as something else entirely.
    """
    made = []
    for point in points(wire):
        with contextlib.suppress(ArithmeticError, ValueError):  # a wire may have no way to write it
            made += list(wire.requests([point], 1))
    for request in made:
        yield request
        for _ in range(3):
            damaged = bytearray(request.body)
            for _ in range(rng.randint(1, 6)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            yield Request(request.path, bytes(damaged), request.headers)
        yield Request(request.path, request.body[: len(request.body) // 2], request.headers)
        yield Request(request.path, request.body * 2, request.headers)
        yield Request(request.path, CANARY.encode() * 20, {**request.headers, "content-type": CANARY})


def send(site: WireSite, wire: Wire, request: Request) -> None:
    """
    Send once with the right credential, whatever comes of it.
    """
    if wire.transport == "forward":
        whisper(site, request)
        return
    sender = site.sender(wire)
    with contextlib.suppress(*REFUSALS):
        sender.attempt(request)
    sender.close()


def whisper(site: WireSite, request: Request) -> None:
    """
    Send a forward message, and wait a moment only: to half of one there is no answer.
    """
    with ForwardClient(f"127.0.0.1:{site.ports['forward']}") as client, contextlib.suppress(*REFUSALS):
        client.log_in(TOKEN, "sender", TOKEN)
        client.send(request.body)
        client.socket.settimeout(0.3)
        client.receive()


def exchange(address: str, headers: Mapping[str, str], path: str, method: str) -> None:
    """
    Send one request, whatever comes of it.
    """
    sender = HttpSender(address, headers)
    with contextlib.suppress(*REFUSALS):
        sender.exchange(Request(path, CANARY.encode()), method)
    sender.close()


def misuse(site: WireSite) -> None:
    """
    Send canaries as credentials, tenants, paths, headers, methods and greetings.
    """
    address, grpc_port = f"127.0.0.1:{site.ports['http']}", site.ports["grpc"]
    headers = ({"x-api-key": CANARY}, {"authorization": f"Bearer {CANARY}.{CANARY}.x"}, {"x-scope-orgid": CANARY})
    for one in (*headers, {"content-encoding": CANARY}, {CANARY: CANARY}, {"x-api-key": TOKEN, "cookie": CANARY}):
        for path in ("/v1/metrics", "/v1/usage", f"/{CANARY}?{CANARY}={CANARY}", "/2/httpapi", f"/track?data={CANARY}"):
            for method in ("POST", "GET", CANARY.upper()):
                exchange(address, one, path, method)
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel, contextlib.suppress(grpc.RpcError):
            method = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
            method(CANARY.encode(), metadata=tuple(one.items()), timeout=20)
    with ForwardClient(f"127.0.0.1:{site.ports['forward']}") as client, contextlib.suppress(*REFUSALS):
        client.log_in(CANARY, CANARY, CANARY, CANARY)
    for name in ("http", "grpc", "vector", "forward"):
        with ForwardClient(f"127.0.0.1:{site.ports[name]}") as raw, contextlib.suppress(*REFUSALS):
            raw.send(f"{CANARY}\r\n\r\n{CANARY}".encode() * 50)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_no_canary_is_logged(tmp_path: Path, rng: random.Random) -> None:
    """
    At the most talkative level, after all of it, the log names neither the canary nor the good token; it is not empty.
    """
    site = WireSite(tmp_path, customers="mine*")
    text = site.config.read_text("utf-8").replace("telemetry:\n", "telemetry:\n  logs: {level: debug}\n")
    site.config.write_text(text, "utf-8")
    with site.gateway:
        site.gateway.start()
        misuse(site)
        for wire in WIRES:
            for request in variants(wire, rng):
                send(site, wire, request)
        wait_until(lambda: CANARY in (tmp_path / "usage.ndjson").read_text("utf-8"), 20, "a record with the canary")
        assert site.gateway.alive
        assert site.gateway.terminate() == 0

    said = site.gateway.output()
    assert [line for line in said.splitlines() if CANARY in line.lower() or TOKEN in line] == []
    assert "Traceback" not in said
    assert len(said.splitlines()) > 3

"""
A real gateway with every receiver, under mutated requests, broken HTTP and broken connections: documented answers only, no
connection left hanging, no defect in its log, bounded memory, and what is valid is counted exactly afterwards.
"""

import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from meterline.testing.hostile import TOKENS, mutated, mutated_request
from meterline.testing.hostile_seeds import seeds
from meterline.testing.hostile_site import (
    CODES,
    MIB,
    STATUSES,
    HostileSite,
    answer_of,
    grpc_code,
    http_bytes,
    statuses,
)
from meterline.testing.wires import WIRES, Request

OPTIONS = {
    "http": {"header_timeout_secs": 10, "body_timeout_secs": 10, "idle_timeout_secs": 5},
    "forward": {"message_timeout_secs": 10},
}
"""Connections time out before their answer is no more waited for, and not because the machine is busy."""
AT_LEAST = 25
GROWTH = (
    160 * MIB
)  # of streams, rules' verdicts and caches, and what the allocator keeps; none of it grows with requests


def requests_of(transport: str) -> list[Request]:
    """The valid requests of a transport."""
    return [seed.request for seed in seeds(time.time_ns()) if seed.wire.transport == transport]


def check_http(answer: bytes, request: bytes) -> None:
    """Only documented statuses; 503 for nothing, since nothing here passes with time."""
    for status in statuses(answer):
        assert status // 100 == 2 or status in STATUSES, f"{status}: {answer[:600]!r} to {request[:2000]!r}"


def for_secs(secs: float, once: Callable[[], None]) -> None:
    """Do it again and again, some times at least."""
    until = time.monotonic() + secs
    for count in itertools.count():
        if count >= AT_LEAST and time.monotonic() > until:
            return
        once()


def http_mutants(site: HostileSite, rng: random.Random, secs: float) -> None:
    """Whole requests with mutated bodies and headers, each on a connection of its own."""
    known = requests_of("http")

    def once() -> None:
        data = http_bytes(mutated_request(rng, rng.choice(known), known))
        with site.connect() as connection:
            connection.sendall(data)
            answer = answer_of(connection)
        assert list(statuses(answer)), f"no answer: {answer[:200]!r} to {data[:2000]!r}"
        check_http(answer, data)

    for_secs(secs, once)


def http_heads(site: HostileSite, rng: random.Random, secs: float) -> None:
    """Mutated request lines and headers, the sender gone afterwards: any documented answer, or none, and an end."""
    known = [http_bytes(request) for request in requests_of("http")]

    def once() -> None:
        head, _, body = rng.choice(known).partition(b"\r\n\r\n")
        data = mutated(rng, head, [*TOKENS, b"transfer-encoding: chunked\r\n", b"content-length: 5\r\n", *known])
        data += b"\r\n\r\n" + body
        with site.connect() as connection:
            try:
                connection.sendall(data)
                connection.shutdown(1)
                answer = answer_of(connection)
            except ConnectionError:  # it was closed at once
                return
        check_http(answer, data)

    for_secs(secs, once)


def grpc_mutants(site: HostileSite, rng: random.Random, secs: float) -> None:
    """Mutated messages to every method."""
    known = requests_of("grpc")
    channels: dict[str, Any] = {
        name: grpc.insecure_channel(f"127.0.0.1:{site.ports[name]}") for name in ("grpc", "vector")
    }

    def once() -> None:
        seed = rng.choice(known)
        body = mutated_request(rng, seed, known).body
        code = grpc_code(channels["vector" if "vector" in seed.path else "grpc"], Request(seed.path, body))
        assert code in CODES, f"{code} to {body[:2000]!r}"

    try:
        for_secs(secs, once)
    finally:
        for channel in channels.values():
            channel.close()


def forward_mutants(site: HostileSite, rng: random.Random, secs: float) -> None:
    """Mutated messages, then the end of the stream: acknowledged, or closed."""
    known = requests_of("forward")

    def once() -> None:
        with site.connect("forward") as connection:
            try:
                connection.sendall(mutated_request(rng, rng.choice(known), known).body)
                connection.shutdown(1)
            except ConnectionError:
                return
            answer_of(connection)

    for_secs(secs, once)


KINDS = {"http": http_mutants, "heads": http_heads, "grpc": grpc_mutants, "forward": forward_mutants}


def lay_siege(site: HostileSite, rng: random.Random, secs: float, kind: str) -> None:
    """Let one kind of mutants loose, and look at what is left."""
    networked = [wire for wire in WIRES if wire.transport != "file"]
    if not hasattr(site, "warm"):
        site.check_alive(networked, f"before-{kind}")
        site.warm = True  # type: ignore[attr-defined]  # once for the module
    before = site.memory()
    KINDS[kind](site, rng, secs)
    site.check_alive(networked, f"after-{kind}-{rng.randrange(10**9)}")
    assert site.memory() - before < GROWTH


@pytest.mark.parametrize("kind", KINDS)
def test_mutants(site: HostileSite, rng: random.Random, kind: str) -> None:
    """A second of each kind, and the gateway answers as documented and counts as before."""
    lay_siege(site, rng, 1, kind)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
def test_many_mutants(site: HostileSite, rng: random.Random, kind: str) -> None:
    """The same for longer."""
    lay_siege(site, rng, 12, kind)


def test_lines_of_files(site: HostileSite, rng: random.Random) -> None:
    """Mutated lines in a followed file are set aside, and the valid ones among them are counted."""
    wires = [wire for wire in WIRES if wire.transport == "file"]
    for wire in wires:
        known = [seed.request for seed in seeds(time.time_ns()) if seed.wire.transport == "file"]
        hostile = [mutated_request(rng, rng.choice(known), known).body for _ in range(200)]
        path: Path = site.folder / "in" / f"{wire.name}.ndjson"
        with path.open("ab") as file:  # a valid line first: one that begins as gzip does would make the whole file one
            file.write(b"\n".join([known[0].body, *hostile]) + b"\n")
    site.check_alive(wires, "after-files")

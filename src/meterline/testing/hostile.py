"""
Hostile input: valid requests of every wire, and what somebody who means harm makes of them.

Everything is drawn from a ``random.Random`` that the test seeds, so that a failure can be repeated.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from meterline.testing.hostile_codecs import PACK, UNPACK
from meterline.testing.hostile_trees import changed_json, changed_msgpack, changed_protobuf
from meterline.testing.wires import Event, Reading, Request, Wire

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]

MAX_BYTES: Final = 256 * 1024
"""What a mutated body may grow to."""

TOKENS: Final[tuple[bytes, ...]] = (
    b"\x00",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 11,
    b"\x80" * 10,
    b"\xfe\xff\xff\xff\x0f",
    b"\x0b\x0c" * 100,
    b"\xc1",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xd7\x00" + b"\xff" * 8,
    b"\x91" * 600,
    b"[" * 1000,
    b'{"a":' * 1000,
    b"]}",
    b'"\\ud800"',
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"1e999999999",
    b"-1e-999999999",
    b"NaN",
    b"-Infinity",
    b"1" + b"0" * 5000,
    b"null",
    b"true",
    b"\r\n",
    b",,",
    b'"\\u0000"',
)
"""What breaks decoders: lengths that lie, levels without end, numbers without bounds, text that is none."""


def valid(wire: Wire, customer: str, points: int = 3, start_ns: int | None = None) -> Request:
    """
    Return a request of a wire: events worth 1 each, or readings of one counter from 1000 up by 1, the first of which counts
    for nothing. ``start_ns``: the time of the first; None: now.
    """
    start = (time.time_ns() if start_ns is None else start_ns) // 10**6 * 10**6
    times = [start + number * 10**6 for number in range(points)]
    if wire.carries == "readings":
        return wire.make(wire.name, [Reading(customer, "h", 1000 + n, at) for n, at in enumerate(times)])
    return wire.make(wire.name, [Event(f"{wire.name}-{customer}-{at}", customer, "1", at) for at in times])


# Bytes


def _flip(rng: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes((data[place] ^ 1 << rng.randrange(8),)) + data[place + 1 :]


def _byte(rng: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes((rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))),)) + data[place + 1 :]


def _cut_off(rng: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    return data[: rng.randrange(len(data))]


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    first = rng.randrange(len(data))
    return first, min(len(data), first + 1 + int(rng.expovariate(1 / 20)))


def _cut_out(rng: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    first, last = _span(rng, data)
    return data[:first] + data[last:]


def _duplicate(rng: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    first, last = _span(rng, data)
    return data[:last] + data[first:last] * rng.choice((1, 2, 50)) + data[last:]


def _splice(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def _insert(rng: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + (rng.choice(TOKENS) if rng.random() < 0.7 else rng.randbytes(4)) + data[place:]


def _overwrite(rng: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    first, last = _span(rng, data)
    return data[:first] + rng.choice(TOKENS) + data[last:]


def _double(_rng: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    return data + data


_MUTATIONS: Final[tuple[Mutation, ...]] = (
    _flip,
    _byte,
    _cut_off,
    _cut_out,
    _duplicate,
    _splice,
    _insert,
    _overwrite,
    _double,
)


def mutated(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """
    Return bytes that were changed in one to eight places. ``others``: none empty; parts of them are spliced in.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if data:
            data = rng.choice(_MUTATIONS)(rng, data, others)
    return data[:MAX_BYTES]


# Requests


def changed(rng: random.Random, data: bytes) -> bytes | None:
    """
    Change a body so that it stays what it is: JSON, MessagePack or protobuf. None: it is none of them.
    """
    for _ in range(rng.choice((1, 1, 2, 4))):
        makers = (changed_json, changed_msgpack, changed_protobuf)
        kind = 0 if data[:1] in (b"{", b"[") else 1 if data[:1] in (b"\x92", b"\x93") else 2
        data = makers[kind](rng, data) or b""
    return data if 0 < len(data) <= MAX_BYTES else None


def plain(request: Request) -> bytes:
    """
    Return a request's body without its compression.
    """
    encoding = request.headers.get("content-encoding", "")
    return UNPACK[encoding](request.body) if encoding else request.body


def mutated_request(rng: random.Random, request: Request, others: Sequence[Request]) -> Request:
    """
    Return a request with another body, inside its compression or including it, and now and then with the headers of others.
    """
    inside = rng.random() < 0.8
    bodies = [body for each in others if (body := plain(each) if inside else each.body)]
    old = plain(request) if inside else request.body
    body = (changed(rng, old) if rng.random() < 0.6 else None) or mutated(rng, old, bodies)
    headers = dict(request.headers)
    if inside:
        encoding = rng.choice(tuple(PACK)) if rng.random() < 0.1 else headers.pop("content-encoding", "")
        headers = {**headers, **({"content-encoding": encoding} if encoding else {})}
        body = PACK[encoding](body) if encoding else body
    return _headed(rng, replace(request, body=body, headers=headers), others)


def _headed(rng: random.Random, request: Request, others: Sequence[Request]) -> Request:
    headers: Mapping[str, Any] = request.headers
    chance = rng.random()
    if chance < 0.05:
        headers = dict(rng.choice(others).headers)
    elif chance < 0.08:
        headers = {**headers, "content-encoding": rng.choice((*PACK, "br", "gzip, gzip", "\x7f"))}
    elif chance < 0.11:
        headers = {
            **headers,
            "content-type": rng.choice(("text/plain", "", "a/b;" * 50, "application/json; charset=x")),
        }
    return replace(request, headers=headers)

"""
Bounds: sizes, bombs, bytes in flight, slow senders, connections; whatever comes, the next sender is served.
"""

import gc
import gzip
import random
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgpack
import pytest
import zstandard

from meterline.testing.cost import peak_bytes
from meterline.testing.forward_client import ForwardClient, forward, message
from meterline.testing.process import wait_until
from meterline.testing.receivers import outcomes

NOW = 1_795_346_017_000_000_000
CHUNK = forward("t", [(NOW, {"n": 1})], chunk="c")
MIB = 1024 * 1024


def is_served(receiver: Any) -> bool:
    """
    Say whether a new sender is served.
    """
    with ForwardClient(receiver.endpoints["forward"]) as client:
        client.send(CHUNK)
        return bool(client.receive() == {"ack": "c"})


def test_a_large_chunk_passes(start: Any, connect: Any, intake: Any) -> None:
    """
    Twenty thousand events in one chunk are stored as one body.
    """
    client = connect(start())
    client.send(forward("t", [(NOW + n, {"n": n, "customer": "acme"}) for n in range(20_000)], chunk="big"))

    assert client.receive() == {"ack": "big"}
    assert len(intake.bodies) == 1
    assert len(intake.records) == 20_000


def test_a_message_over_the_limit_closes_the_connection(start: Any, connect: Any, intake: Any) -> None:
    """
    It can never pass, and is not kept in memory.
    """
    receiver = start(max_request_bytes=1000, max_in_flight_bytes=100_000)
    client = connect(receiver)
    client.send(forward("t", [(NOW, {"k": "x" * 2000})], chunk="c"))

    assert client.receive() is None
    assert outcomes(receiver) == {"resource_exhausted": 1}
    assert is_served(receiver)


BOMBS = {
    "gzip": gzip.compress,
    "gzip members": lambda data: gzip.compress(data[: len(data) // 500]) * 500,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("compress", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize(
    "entry", [b"\x00", b"\x92\x00\x80", b"\x90", b"\xc0"], ids=["zeros", "entries", "arrays", "nil"]
)
def test_a_bomb_takes_little_memory(start: Any, connect: Any, intake: Any, compress: Any, entry: bytes) -> None:
    """
    A hundred kilobytes that want to be a gigabyte, or all the tiny entries that fit, are refused or set aside.
    """
    name = "zstd" if compress is BOMBS["zstd"] else "gzip"
    receiver = start(max_request_bytes=4 * MIB, max_in_flight_bytes=32 * MIB)
    packed = msgpack.packb(["t", compress(entry * (40 * MIB // len(entry))), {"compressed": name, "chunk": "c"}])
    client = connect(receiver)

    def attack() -> None:
        client.send(packed)
        assert client.receive() is None

    assert peak_bytes(attack) < 64 * MIB
    assert outcomes(receiver) == {"resource_exhausted": 1}


def kinds_of_refused() -> dict[str, bytes]:
    """
    Return a MiB that is refused, for each way of being refused.
    """
    filler = b"x" * MIB
    return {
        "partial": b"\x93\xa1t\xc6\x00\x20\x00\x00" + filler,
        "broken": b"\x93\xa1t\xc6\x00\x10\x00\x00" + filler + b"\xc1",
        "no gzip": msgpack.packb(["t", filler, {"compressed": "gzip", "chunk": "c"}]),
        "too large": b"\x93\xa1t\xc6\x00\x30\x00\x00" + filler * 3,
    }


@pytest.mark.parametrize("data", kinds_of_refused().values(), ids=kinds_of_refused())
def test_what_is_refused_is_let_go(start: Any, connect: Any, data: bytes) -> None:
    """
    Without any help of the cycle collector, nothing of a refused message stays in memory.
    """
    receiver = start(max_request_bytes=2 * MIB, message_timeout_secs=20)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(40):
            with ForwardClient(receiver.endpoints["forward"]) as client:
                drip(client, [data])
                with suppress(OSError):
                    client.socket.shutdown(socket.SHUT_WR)
                drain(client)
        wait_until(lambda: tracemalloc.get_traced_memory()[0] < 8 * MIB, 20, "the messages to be let go")
    finally:
        tracemalloc.stop()
        gc.enable()


def drain(client: ForwardClient) -> None:
    """
    Read until the server has closed the connection.
    """
    with suppress(OSError):
        while client.receive() is not None:
            pass


def test_a_large_entry_of_many_empty_values_takes_little_memory(start: Any, connect: Any, intake: Any) -> None:
    """
    An entry that would become millions of Python objects is set aside unread.
    """
    receiver = start(max_request_bytes=8 * MIB)
    bomb = b"\x92\x01\x81\xa1k\xdd" + (7 * MIB).to_bytes(4, "big") + b"\x90" * 7 * MIB
    client = connect(receiver)

    def attack() -> None:
        client.send(b"\x93\xa1t\x92" + bomb + b"\x92\x01\x80" + b"\x81\xa5chunk\xa1c")
        assert client.receive() == {"ack": "c"}

    assert peak_bytes(attack) < 64 * MIB
    assert [reject.reason for reject in intake.rejects] == ["value_too_long"]
    assert len(intake.records) == 1


def test_bytes_in_flight_make_senders_wait(start: Any, connect: Any, intake: Any) -> None:
    """
    While the budget is used up, nothing is read; when there is room, everything is stored.
    """
    receiver = start()
    intake.budget = 10
    client = connect(receiver)
    client.send(CHUNK)
    client.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.receive()
    intake.budget = 2**30
    client.socket.settimeout(20)

    assert client.receive() == {"ack": "c"}


def test_a_budget_that_stays_used_up_is_a_refusal_for_now(start: Any, connect: Any, intake: Any) -> None:
    """
    After as long as a message may take, the connection ends, and the sender comes again.
    """
    receiver = start(message_timeout_secs=0.2)
    intake.budget = 10
    client = connect(receiver)
    client.send(CHUNK)

    assert client.receive() is None
    assert outcomes(receiver) == {"unavailable": 1}


def drip(client: ForwardClient, parts: Iterable[bytes], every_secs: float = 0.0) -> bool:
    """
    Send part by part; say whether the server closed the connection meanwhile.
    """
    try:
        for part in parts:
            client.send(part)
            time.sleep(every_secs)
    except OSError:
        return True
    return False


def test_senders_that_do_not_go_on_are_closed(start: Any, connect: Any) -> None:
    """
    A message that drips in is closed when its time is over, however steadily it drips.
    """
    receiver = start(message_timeout_secs=0.5)
    client = connect(receiver)
    assert drip(client, [b"\x93\xa1t\xdc\xff\xff", *[b"\x90"] * 200], every_secs=0.05)

    assert outcomes(receiver) == {"deadline_exceeded": 1}
    serves_again(receiver)


def test_a_handshake_that_is_not_finished_is_closed(start: Any, connect: Any) -> None:
    """
    A sender that never answers HELO does not stay.
    """
    receiver = start(handshake_timeout_secs=0.2, auth={"shared_key": {"name": "a", "token": "t"}})
    client = connect(receiver)

    assert client.receive()[0] == "HELO"
    assert client.receive() is None
    assert outcomes(receiver) == {"deadline_exceeded": 1}


def test_silent_connections_are_closed(start: Any, connect: Any) -> None:
    """
    A connection without messages ends after its time, without being counted as anything.
    """
    receiver = start(silence_timeout_secs=0.5)
    client = acknowledged(lambda: connect(receiver))

    assert client.receive() is None
    assert outcomes(receiver) == {"ok": 1}


def acknowledged(connect: Callable[[], ForwardClient]) -> ForwardClient:
    """
    Return a connection that had its chunk acknowledged; one that was closed before the chunk came was too slow for that.
    """
    for _ in range(40):
        client = connect()
        with suppress(OSError):
            client.send(CHUNK)
            if client.receive() == {"ack": "c"}:
                return client
    raise AssertionError("no connection of forty was served")


def test_connections_are_bounded(start: Any, connect: Any) -> None:
    """
    The one too many is closed; when another ends, the next is served.
    """
    receiver = start(max_connections=2)
    clients = [connect(receiver) for _ in range(2)]
    for client in clients:
        client.send(CHUNK)
        assert client.receive() == {"ack": "c"}
    assert connect(receiver).receive() is None

    clients[0].close()
    serves_again(receiver)


def serves_again(receiver: Any) -> None:
    """
    Wait until a new sender is served; a reset is "not yet", and so is one that was too slow for a short timeout.
    """

    def served() -> bool:
        with suppress(OSError):
            return is_served(receiver)
        return False

    wait_until(served, 20, "a new sender to be served")


def drip_all(client: ForwardClient, data: bytes) -> bool:
    """
    Send the same again and again, reading nothing, until the server has closed the connection.
    """
    try:
        while True:
            client.send(data)
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_sender_that_does_not_read_its_answers_is_let_go(
    start: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Answers that are not taken end the connection, and the receiver stops in time.
    """
    monkeypatch.setattr("meterline.receivers.fluent_forward.wire._WRITE_SECS", 0.2)
    receiver = start()
    client = connect(receiver)
    data = message("t", (NOW, {}), chunk="x" * 1000) * 100
    assert drip_all(client, data)
    assert is_served(receiver)


def test_rates_make_senders_wait(start: Any, connect: Any) -> None:
    """
    A principal over its rate is not read from until it is not any more.
    """
    auth = {"shared_key": {"name": "a", "token": "t", "limits": {"max_requests_per_sec": 20.0}}}
    client = connect(start(auth=auth))
    client.log_in("t")
    began = time.monotonic()
    for _ in range(30):
        client.send(CHUNK)
        assert client.receive() == {"ack": "c"}

    assert time.monotonic() - began > 0.4


@pytest.mark.parametrize("number", range(60))
def test_mutated_streams_never_break_the_receiver(start: Any, connect: Any, rng: random.Random, number: int) -> None:
    """
    Streams with bytes changed, doubled and left out are acknowledged or closed; the receiver serves on.
    """
    receiver = start(message_timeout_secs=0.3, silence_timeout_secs=0.3)
    data = bytearray(CHUNK * 3 + message("t", (NOW, {"a": [1, {"b": None}]})) + b"\xc0")
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
    client = connect(receiver)
    drip(client, [bytes(data)])
    drain(client)
    serves_again(receiver)

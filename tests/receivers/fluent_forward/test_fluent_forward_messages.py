"""
What becomes of messages: acknowledged only when stored, with their own id, and kept where nobody sends them again.
"""

import gzip
import socket
import threading
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import zstandard

from meterline.api import ANONYMOUS, Answer, Format, Status
from meterline.testing.forward_client import (
    ForwardClient,
    compressed_forward,
    event_time,
    forward,
    message,
    packed_entries,
    packed_forward,
)
from meterline.testing.receivers import outcomes

NOW = 1_795_346_017_123_456_789
ENTRIES = [(NOW, {"n": 1}), (NOW + 1, {"n": 2})]
STORED = Answer(Status.STORED, points=1)
RETRY = Answer(Status.RETRY, message="not now", retry_after_secs=0.01)


@pytest.mark.parametrize("build", [forward, packed_forward, compressed_forward])
def test_every_mode_is_stored_and_acknowledged(
    start: Any, connect: Any, intake: Any, build: Callable[..., bytes]
) -> None:
    """
    The entries of a chunk arrive as log records, and its id comes back.
    """
    client = connect(start())
    client.send(build("app.log", ENTRIES, chunk="c1"))

    assert client.receive() == {"ack": "c1"}
    assert [record.time_unix_nano for record in intake.records] == [NOW, NOW + 1]
    assert intake.senders == [("fluent", ANONYMOUS)]


def test_message_mode_is_a_body_of_its_own(start: Any, connect: Any, intake: Any) -> None:
    """
    Each message is submitted by itself, and answered by its own id, in order.
    """
    client = connect(start())
    client.send(b"".join(message("app", (NOW, {"n": n}), chunk=f"c{n}") for n in range(50)))

    assert [client.receive() for _ in range(50)] == [{"ack": f"c{n}"} for n in range(50)]
    assert len(intake.bodies) == 50


def test_zstd_chunks_are_read(start: Any, connect: Any, intake: Any) -> None:
    """
    Fluentd 1.19 may compress with zstd, frame by frame.
    """
    frames = b"".join(zstandard.compress(packed_entries([entry])) for entry in ENTRIES)
    client = connect(start())
    client.send(msgpack.packb(["t", frames, {"compressed": "zstd", "chunk": "z"}]))

    assert client.receive() == {"ack": "z"}
    assert len(intake.records) == 2


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_chunk_of_many_members_is_read(start: Any, connect: Any, intake: Any, name: str) -> None:
    """
    Fluentd's compressed buffers have a member for each emit, thousands in a chunk.
    """
    compress: Any = gzip.compress if name == "gzip" else zstandard.compress
    members = b"".join(compress(packed_entries([(NOW + n, {"n": n})])) for n in range(5_000))
    client = connect(start())
    client.send(msgpack.packb(["t", members, {"compressed": name, "chunk": "m"}]))

    assert client.receive() == {"ack": "m"}
    assert len(intake.records) == 5_000


def test_the_chunk_id_comes_back_byte_by_byte(start: Any, connect: Any) -> None:
    """
    Fluentd's id ends with a newline, and whatever type the id was packed as is the type of the answer.
    """
    client = connect(start())
    for packed in (b"\xb9AZy0oWqTRNKB6/yqZSIXQg==\n", b"\xc4\x02\xff\x00", b"\xda\x00\x01x"):
        client.send(b"\x93\xa1t\x90\x81\xa5chunk" + packed)
        answer = b""
        while len(answer) < 5 + len(packed):
            answer += client.socket.recv(100)
        assert answer == b"\x81\xa3ack" + packed


def test_heartbeats_are_taken(start: Any, connect: Any, intake: Any) -> None:
    """
    Nil between messages, and connections that are opened and closed, are nothing.
    """
    receiver = start()
    connect(receiver).close()
    client = connect(receiver)
    client.send(b"\xc0\xc0" + forward("t", ENTRIES, chunk="c") + b"\xc0")

    assert client.receive() == {"ack": "c"}
    assert len(intake.bodies) == 1


def test_nothing_is_acknowledged_before_it_is_stored(start: Any, connect: Any, intake: Any) -> None:
    """
    While the intake has not answered, the sender hears nothing.
    """
    intake.decide = lambda _: None
    client = connect(start())
    client.send(forward("t", ENTRIES, chunk="c"))
    assert intake.submitted.acquire(timeout=20)
    client.socket.settimeout(0.2)

    with pytest.raises(TimeoutError):
        client.receive()


def test_what_is_refused_for_now_closes_the_connection(start: Any, connect: Any, intake: Any) -> None:
    """
    A chunk that is not stored is not acknowledged; its sender sees the end of the connection, and sends it again.
    """
    intake.script = [RETRY, STORED]
    receiver = start()
    client = connect(receiver)
    client.send(forward("t", ENTRIES, chunk="c"))
    assert client.receive() is None

    again = connect(receiver)
    again.send(forward("t", ENTRIES, chunk="c"))
    assert again.receive() == {"ack": "c"}
    assert intake.bodies[0] == intake.bodies[1]
    assert outcomes(receiver) == {"unavailable": 1, "ok": 1}


def test_neighbours_of_a_refused_chunk_are_acknowledged(start: Any, connect: Any, intake: Any) -> None:
    """
    Chunks that were stored before and behind a refused one are acknowledged before the connection ends.
    """
    intake.script = [STORED, RETRY, STORED]
    client = connect(start())
    client.send(b"".join(forward("t", [(NOW, {"n": n})], chunk=f"c{n}") for n in range(3)))

    assert [client.receive() for _ in range(3)] == [{"ack": "c0"}, {"ack": "c2"}, None]


@pytest.mark.parametrize("status", [Status.UNDECODABLE, Status.TOO_LARGE])
def test_what_is_refused_for_good_is_never_acknowledged(start: Any, connect: Any, intake: Any, status: Status) -> None:
    """
    The protocol has no other word for it than the end of the connection.
    """
    intake.answer = Answer(status, message="no")
    client = connect(start())
    client.send(forward("t", ENTRIES, chunk="c"))

    assert client.receive() is None


def test_a_message_without_chunk_is_offered_until_it_is_stored(start: Any, connect: Any, intake: Any) -> None:
    """
    Nobody sends it again, so it is kept; a chunk behind it is acknowledged all the same.
    """
    refusals = [RETRY, RETRY, RETRY]
    intake.decide = lambda body: refusals.pop() if refusals and b"kept" in body.data else STORED
    receiver = start()
    client = connect(receiver)
    client.send(message("t", (NOW, {"kept": 1})) + forward("t", ENTRIES, chunk="c"))

    assert client.receive() == {"ack": "c"}
    assert sum(b"kept" in body for body in intake.data) == 4
    assert outcomes(receiver) == {"ok": 2}


def test_a_message_without_chunk_is_not_answered(start: Any, connect: Any, intake: Any) -> None:
    """
    A sender that asked for nothing gets nothing.
    """
    client = connect(start())
    client.send(message("t", (NOW, {})) + forward("t", [(NOW, {})]) + forward("t", ENTRIES, chunk="c"))

    assert client.receive() == {"ack": "c"}
    assert len(intake.bodies) == 3


@pytest.mark.parametrize("signal", [1, 2])
def test_metrics_and_traces_go_to_quarantine_and_are_acknowledged(
    start: Any, connect: Any, intake: Any, signal: int
) -> None:
    """
    Fluent Bit's own form of metrics and traces is set aside durably, so that its queue does not stand still.
    """
    client = connect(start())
    client.send(msgpack.packb(["m", b"\x81\xa1a\x01", {"chunk": "c", "fluent_signal": signal}]))

    assert client.receive() == {"ack": "c"}
    assert [(reject.reason, reject.item) for reject in intake.rejects] == [("unsupported_item", b"\x81\xa1a\x01")]


def test_a_bad_entry_is_set_aside_and_its_neighbours_stored(start: Any, connect: Any, intake: Any) -> None:
    """
    The chunk is acknowledged when both bodies are stored.
    """
    client = connect(start())
    client.send(msgpack.packb(["t", [[event_time(NOW), {"n": 1}], [1, "no map"]], {"chunk": "c"}]))

    assert client.receive() == {"ack": "c"}
    assert len(intake.records) == 1
    assert [reject.reason for reject in intake.rejects] == ["undecodable_item"]


def test_a_chunk_is_acknowledged_only_when_all_its_bodies_are_stored(start: Any, connect: Any, intake: Any) -> None:
    """
    Records that are stored do not make up for rejects that are not.
    """
    intake.decide = lambda body: STORED if body.fmt is Format.OTLP_LOGS else RETRY
    client = connect(start())
    client.send(msgpack.packb(["t", [[event_time(NOW), {"n": 1}], [1, "no map"]], {"chunk": "c"}]))

    assert client.receive() is None


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\x93\xa1t\xc1",
        msgpack.packb({"a": 1}),
        msgpack.packb(["t"]),
        msgpack.packb(["t", b"no gzip", {"compressed": "gzip", "chunk": "c"}]),
        msgpack.packb(["t", b"\x28\xb5\x2f\xfd", {"compressed": "zstd", "chunk": "c"}]),
        msgpack.packb(["t", b"", {"compressed": "br", "chunk": "c"}]),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b'{"a": 1}',
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["reserved", "inside", "map", "short", "gzip", "zstd", "br", "http", "json", "tls"],
)
def test_what_is_no_message_closes_the_connection(start: Any, connect: Any, intake: Any, data: bytes) -> None:
    """
    It is counted and never acknowledged, and the next connection is served.
    """
    receiver = start()
    client = connect(receiver)
    client.send(data)

    assert client.receive() is None
    assert outcomes(receiver) == {"invalid_argument": 1}
    other = connect(receiver)
    other.send(forward("t", ENTRIES, chunk="c"))
    assert other.receive() == {"ack": "c"}


def test_what_came_before_broken_bytes_is_stored(start: Any, connect: Any, intake: Any) -> None:
    """
    A stream that breaks off costs nothing of what was whole.
    """
    client = connect(start())
    client.send(forward("t", ENTRIES, chunk="c") + b"\xc1")

    assert client.receive() == {"ack": "c"}
    assert client.receive() is None


def test_a_sender_that_closes_its_half_still_gets_its_answers(start: Any, connect: Any) -> None:
    """
    After the end of what is sent, the acknowledgements come, and then the end.
    """
    client = connect(start())
    client.send(forward("t", ENTRIES, chunk="c"))
    client.socket.shutdown(socket.SHUT_WR)

    assert [client.receive(), client.receive()] == [{"ack": "c"}, None]


def test_stopping_stores_what_has_come(start: Any, connect: Any, intake: Any) -> None:
    """
    Messages that were read when the receiver stops are stored and acknowledged, though the intake is slow.
    """
    receiver = start()
    client = connect(receiver)
    with intake.held():
        client.send(forward("t", ENTRIES, chunk="c"))
        assert intake.submitted.acquire(timeout=20)
        stopping = threading.Thread(target=receiver.stop, args=(20,), daemon=True)
        stopping.start()

    assert client.receive() == {"ack": "c"}
    assert client.receive() is None
    stopping.join(20)
    assert not stopping.is_alive()


def test_a_unix_socket_is_served_and_taken_away(start: Any, intake: Any, tmp_path: Any) -> None:
    """
    The file is there while the receiver runs, and a file that a dead process left is no obstacle.
    """
    path = tmp_path / "forward.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    receiver = start(endpoint=f"unix:{path}")
    with ForwardClient(receiver.endpoints["forward"]) as client:
        client.send(forward("t", ENTRIES, chunk="c"))
        assert client.receive() == {"ack": "c"}
    receiver.stop(1)

    assert not path.exists()


def test_entries_without_time_take_the_time_of_reception_if_asked(start: Any, connect: Any, intake: Any) -> None:
    """
    By default they have none; with ``missing_timestamp: received`` an observed time.
    """
    for option, has_time in (("quarantine", False), ("received", True)):
        client = connect(start(missing_timestamp=option))
        client.send(msgpack.packb(["t", [[0, {"n": 1}]], {"chunk": option}]))
        assert client.receive() == {"ack": option}
        record = intake.records[-1]
        assert (record.time_unix_nano, record.observed_time_unix_nano > 10**18) == (0, has_time)


@pytest.mark.parametrize(
    ("options", "uid"),
    [({}, "e-1"), ({"id_field": "request.id"}, "7"), ({"id_field": "nothing"}, None)],
    ids=["known names", "a path", "absent"],
)
def test_an_id_of_the_event_is_its_identity(
    start: Any, connect: Any, intake: Any, options: Any, uid: str | None
) -> None:
    """
    It becomes ``log.record.uid``, as everywhere.
    """
    client = connect(start(**options))
    client.send(forward("t", [(NOW, {"event": {"id": "e-1"}, "request": {"id": 7}})], chunk="c"))

    assert client.receive() == {"ack": "c"}
    attributes = {pair.key: pair.value.string_value for pair in intake.records[0].attributes}
    assert attributes.get("log.record.uid") == uid


def test_a_defect_is_answered_with_the_end_and_then_set_aside(
    start: Any, connect: Any, intake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A message on which the decoder fails is refused twice, and the third time quarantined whole.
    """
    monkeypatch.setattr("meterline.receivers.fluent_forward.decode.log_bodies", lambda *_: 1 // 0)
    receiver = start()
    data = forward("t", ENTRIES, chunk="c")
    answers = []
    for _ in range(3):
        client = connect(receiver)
        client.send(data)
        answers.append(client.receive())

    assert answers == [None, None, {"ack": "c"}]
    assert [reject.reason for reject in intake.rejects] == ["internal_error"]

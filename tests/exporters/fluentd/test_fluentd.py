"""
The Fluentd exporter over real sockets: what it sends, when it takes a batch for delivered, and when it is in doubt.
"""

import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trustme
from fluent.sender import FluentSender
from pydantic import ValidationError

from meterline.api import NotConnectedError, PausedError, Verdict
from meterline.exporters.fluentd import FluentdExporter
from meterline.exporters.fluentd.forward import chunk_id, packed_entry
from meterline.exporters.fluentd.sender import AckingSender
from meterline.testing.batches import FixedBatch, some_records
from meterline.testing.process import wait_until
from meterline.testing.rig import record_json


def batch_of(rng: random.Random, count: int = 3, number: int = 1) -> FixedBatch:
    """
    Return a batch of made-up records.
    """
    return FixedBatch(some_records(rng, count), number)


def test_a_batch_arrives_whole_and_exact(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    Tag, times to the nanosecond, and each record in the documented form with its value as text reach the server.
    """
    server = serve()
    exporter = exporter_for(server, tag="bill.usage")
    batch = batch_of(rng, 50)
    exporter.connect(None)

    receipt = exporter.send(batch)

    assert receipt.of(0).verdict is Verdict.DELIVERED
    assert not receipt.exceptions
    (message,) = server.messages
    assert message.tag == "bill.usage"
    assert message.entries == [(record.timestamp, record_json(record)) for record in batch.records]
    assert message.option == {"chunk": chunk_id("ledger/exporter/1"), "size": 50}


def test_the_chunk_id_is_of_the_batch(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    A second send of a batch is the same bytes under the same chunk id; another batch has another.
    """
    server = serve()
    exporter = exporter_for(server)
    batch = batch_of(rng)
    again = FixedBatch(batch.records, 1, attempt=2)

    for each in (batch, again, FixedBatch(batch.records, 2)):
        assert exporter.send(each).of(0).verdict is Verdict.DELIVERED

    first, second, third = server.messages
    assert (first.raw, first.option) == (second.raw, second.option)
    assert third.option["chunk"] != first.option["chunk"]
    assert server.connections == 1
    assert chunk_id("L/usage/1") == "rCyaD+OnISAaenRWjreEeA=="


def silent(_conversation: Any, _chunk: str) -> None:
    """
    Never acknowledge.
    """


def other(conversation: Any, _chunk: str) -> None:
    """
    Acknowledge something else.
    """
    conversation.say({"ack": "another"})


def hang_up(conversation: Any, _chunk: str) -> None:
    """
    Close without a word.
    """
    conversation.peer.shutdown(socket.SHUT_RDWR)


def garbage(conversation: Any, _chunk: str) -> None:
    """
    Send what is no MessagePack.
    """
    conversation.peer.sendall(b"\xc1" * 50)


def flood(conversation: Any, _chunk: str) -> None:
    """
    Send a message without end.
    """
    conversation.peer.sendall(b"\xdb\x7f\xff\xff\xff" + b"x" * 1_000_000)


def half(conversation: Any, chunk: str) -> None:
    """
    Send a half of the acknowledgement, and close.
    """
    conversation.peer.sendall(msgpack.packb({"ack": chunk})[:7])
    conversation.peer.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("behave", [silent, other, hang_up, garbage, flood, half])
def test_any_doubt_is_unknown_and_ends_the_connection(
    serve: Any, exporter_for: Any, rng: random.Random, behave: Any
) -> None:
    """
    Without the acknowledgement of this very chunk the outcome is unknown; the next send is on a new connection.
    """
    server = serve(behave)
    exporter = exporter_for(server, ack_timeout_secs=2)
    batch = batch_of(rng)

    outcome = exporter.send(batch).of(0)

    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.reason.startswith("waiting for fluentd's acknowledgement: ")
    assert not outcome.hold
    server.behave = lambda conversation, chunk: conversation.say({"ack": chunk})
    exporter.connect(None)
    assert exporter.send(batch).of(0).verdict is Verdict.DELIVERED
    assert server.connections == 2
    assert server.messages[0].raw == server.messages[1].raw


def test_an_acknowledgement_may_come_in_pieces(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    An answer that dribbles in byte by byte is an answer.
    """

    def dribble(conversation: Any, chunk: str) -> None:
        for byte in msgpack.packb({"ack": chunk}):
            conversation.peer.sendall(bytes([byte]))
            time.sleep(0.001)

    exporter = exporter_for(serve(dribble))

    assert exporter.send(batch_of(rng)).of(0).verdict is Verdict.DELIVERED


def test_a_server_that_never_reads_is_unknown_in_time(exporter_for: Any, rng: random.Random) -> None:
    """
    When the kernel's buffers are full the send ends after the timeout, in doubt.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        exporter = exporter_for(listener.getsockname()[1], timeout_secs=0.5)
        records = some_records(rng, 1) * 40_000

        outcome = exporter.send(FixedBatch(records)).of(0)

    assert outcome.verdict is Verdict.UNKNOWN


def test_a_server_that_is_away_was_sent_nothing(exporter_for: Any, rng: random.Random) -> None:
    """
    A refused connection is not a doubt.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    exporter = exporter_for(port)

    with pytest.raises(NotConnectedError, match=f"connecting to fluentd at 127.0.0.1:{port}"):
        exporter.connect(None)
    with pytest.raises(NotConnectedError):
        exporter.send(batch_of(rng))


def test_a_connection_closed_while_idle_costs_no_doubt(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    A server that closes between batches is found out before the next one is sent.
    """

    def acknowledge_and_leave(conversation: Any, chunk: str) -> None:
        conversation.say({"ack": chunk})
        conversation.peer.shutdown(socket.SHUT_RDWR)

    server = serve(acknowledge_and_leave)
    exporter = exporter_for(server)

    verdicts = []
    for number in range(3):
        verdicts.append(exporter.send(batch_of(rng, number=number)).of(0).verdict)
        assert exporter._sender is not None
        wait_for(exporter._sender._is_stale)

    assert verdicts == [Verdict.DELIVERED] * 3
    assert server.connections == 3


def wait_for(holds: Callable[[], bool]) -> None:
    """
    Wait until it holds; fail after 20 s.
    """
    wait_until(holds, 20, "what the test expects")


def test_a_time_that_cannot_be_said_is_refused_alone(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    A record before 1970 or after 2106 is dead; its neighbours pass.
    """
    server = serve()
    exporter = exporter_for(server)
    records = some_records(rng, 4)
    for position, field, value in ((1, "timestamp", -1), (2, "timestamp", 2**32 * 10**9)):
        object.__setattr__(records[position], field, value)

    receipt = exporter.send(FixedBatch(records))

    assert [receipt.of(n).verdict.name for n in range(4)] == ["DELIVERED", "REJECTED", "REJECTED", "DELIVERED"]
    assert receipt.of(1).reason.startswith("not_representable: ")
    assert [record["id"] for _, record in server.messages[0].entries] == [records[0].id, records[3].id]
    assert [o.verdict for o in exporter.send(FixedBatch(records[1:2])).exceptions.values()] == [Verdict.REJECTED]
    assert len(server.messages) == 1


def test_text_that_is_not_unicode_cannot_be_packed() -> None:
    """
    A lone surrogate is refused as a value error, which refuses its record alone.
    """
    with pytest.raises(ValueError, match="surrogates"):
        packed_entry(1, {"id": "\ud800"})


def test_the_handshake_proves_the_key_both_ways(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    With the right key batches pass, and the key itself is never on the wire.
    """
    server = serve(shared_key="s3cret")
    exporter = exporter_for(server, shared_key="s3cret")
    exporter.connect(None)

    assert exporter.send(batch_of(rng)).of(0).verdict is Verdict.DELIVERED

    assert "s3cret" not in str(server.pings)
    assert server.pings[0][4:] == ["", ""]


def login(password: str) -> dict[str, str]:
    """
    Return the keys of a user.
    """
    return {"username": "ann", "password": password}


def test_users_are_authenticated(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    A server that knows users gets name and proof; a wrong password is refused with the server's reason.
    """
    server = serve(shared_key="k", users={"ann": "pw"})

    assert exporter_for(server, shared_key="k", **login("pw")).send(batch_of(rng)).of(0).verdict is Verdict.DELIVERED
    with pytest.raises(NotConnectedError, match="the server refused: username/password mismatch"):
        exporter_for(server, shared_key="k", **login("no")).connect(None)


def test_a_server_that_wants_no_keepalive_is_asked_anew(serve: Any, exporter_for: Any, rng: random.Random) -> None:
    """
    With keepalive off each batch has a connection and a handshake of its own.
    """
    server = serve(shared_key="k", keepalive=False)
    exporter = exporter_for(server, shared_key="k")

    for number in range(2):
        assert exporter.send(batch_of(rng, number=number)).of(0).verdict is Verdict.DELIVERED

    assert server.connections == 2
    assert server.pings[0][2] != server.pings[1][2]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"shared_key": "other"}, "the server refused: shared_key mismatch"),
        ({"shared_key": "k", "own_key": "thief"}, "the server has another shared_key"),
        ({"greeting": msgpack.packb(["HOLA", {}])}, "did not begin with HELO"),
        ({"greeting": msgpack.packb(["HELO", {"nonce": 1}])}, "did not begin with HELO"),
        ({"greeting": msgpack.packb(["HELO", {"nonce": "n"}]) + msgpack.packb(["PONG", True])}, "has no proof"),
        ({"greeting": msgpack.packb(["HELO", {"nonce": "n"}]) + msgpack.packb("PONG")}, "did not answer with PONG"),
        ({"greeting": msgpack.packb(["HELO", {"nonce": "n"}]) + msgpack.packb(["PONG", False])}, "no reason given"),
        ({"greeting": b"\xc1"}, "no message"),
    ],
)
def test_a_failed_handshake_sends_nothing(
    serve: Any, exporter_for: Any, rng: random.Random, keys: dict[str, Any], message: str
) -> None:
    """
    Another key on either side, and whatever is no handshake, leaves us not connected.
    """
    server = serve(**keys)
    exporter = exporter_for(server, shared_key="k")

    with pytest.raises(NotConnectedError, match=message):
        exporter.send(batch_of(rng))

    assert server.messages == []


def test_a_server_without_keys_is_found_out(serve: Any, exporter_for: Any) -> None:
    """
    A configured key is proved or nothing is sent: a server that does not ask gets no batch.
    """
    with pytest.raises(NotConnectedError, match="timed out"):
        exporter_for(serve(), shared_key="k", timeout_secs=0.3).connect(None)


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """
    Return a certificate authority whose certificate is ca.pem.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority


def server_tls(authority: trustme.CA, *, mutual: bool = False) -> ssl.SSLContext:
    """
    Return the TLS side of a server called localhost.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    if mutual:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_tls_verifies_the_server(
    serve: Any, exporter_for: Any, rng: random.Random, authority: trustme.CA, tmp_path: Path
) -> None:
    """
    Over TLS with a handshake batches pass; with another name, or an authority we do not know, nothing is sent.
    """
    server = serve(tls=server_tls(authority), shared_key="k")
    good = {"ca_file": str(tmp_path / "ca.pem"), "server_name": "localhost"}

    exporter = exporter_for(server, shared_key="k", tls=good)
    for number in range(2):
        assert exporter.send(batch_of(rng, 500, number)).of(0).verdict is Verdict.DELIVERED
    assert server.connections == 1
    for bad in ({**good, "server_name": "other.example"}, {"server_name": "localhost"}):
        with pytest.raises(NotConnectedError, match="certificate verify failed"):
            exporter_for(server, shared_key="k", tls=bad).connect(None)


def test_tls_with_an_own_certificate(
    serve: Any, exporter_for: Any, rng: random.Random, authority: trustme.CA, tmp_path: Path
) -> None:
    """
    A server that wants a client certificate gets ours.
    """
    client = authority.issue_cert("meterline")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    client.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    server = serve(tls=server_tls(authority, mutual=True))
    tls = {name: str(tmp_path / f"{name.removesuffix('_file')}.pem") for name in ("ca_file", "cert_file", "key_file")}

    exporter = exporter_for(server, tls={**tls, "server_name": "localhost"})

    assert exporter.send(batch_of(rng)).of(0).verdict is Verdict.DELIVERED


def test_a_certificate_file_that_cannot_be_used_waits_for_a_person(exporter_for: Any, tmp_path: Path) -> None:
    """
    A missing or broken file is nothing that passes by itself.
    """
    (tmp_path / "bad.pem").write_text("nonsense")
    for name in ("missing.pem", "bad.pem"):
        with pytest.raises(PausedError, match=name):
            exporter_for(1, tls={"ca_file": str(tmp_path / name)}).connect(None)


def test_a_renewed_certificate_is_read_at_the_next_connection(
    serve: Any, exporter_for: Any, authority: trustme.CA, tmp_path: Path
) -> None:
    """
    After a failed connection the files are read again, so that nobody has to restart.
    """
    server = serve(tls=server_tls(authority))
    trustme.CA().cert_pem.write_to_path(tmp_path / "trusted.pem")
    exporter = exporter_for(server, tls={"ca_file": str(tmp_path / "trusted.pem"), "server_name": "localhost"})
    with pytest.raises(NotConnectedError):
        exporter.connect(None)

    authority.cert_pem.write_to_path(tmp_path / "trusted.pem")

    exporter.connect(None)


def test_a_unix_socket_is_an_endpoint(tmp_path: Path, exporter_for: Any, rng: random.Random) -> None:
    """
    A server on the same machine may listen on a socket in the file system.
    """
    path = os.fspath(tmp_path / "forward.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve_one() -> None:
            peer, _ = listener.accept()
            with peer:
                unpacker = msgpack.Unpacker()
                while True:
                    unpacker.feed(peer.recv(65536))
                    for message in unpacker:
                        peer.sendall(msgpack.packb({"ack": message[2]["chunk"]}))
                        return

        thread = threading.Thread(target=serve_one, daemon=True)
        thread.start()
        exporter = exporter_for(1, endpoint=f"unix:{path}")
        assert exporter.send(batch_of(rng)).of(0).verdict is Verdict.DELIVERED
        thread.join(20)


def test_the_sender_is_fluent_loggers() -> None:
    """
    The connection is fluent-logger's sender, with nothing ever pending.
    """
    assert issubclass(AckingSender, FluentSender)
    sender = AckingSender("tag", "127.0.0.1", 1, timeout=1, ack_timeout=1)
    with pytest.raises(NotConnectedError):
        sender.connect()
    assert sender.pendings is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"endpoint": "fluentd"}, "write host:port"),
        ({"endpoint": "fluentd:0"}, "write host:port"),
        ({"username": "ann"}, "username and password belong together"),
        ({"username": "ann", "password": "pw"}, "has a shared_key, too"),
        ({"tls": {"key_file": "a.pem"}}, "give cert_file too"),
        ({"tag": ""}, "at least 1"),
        ({"taag": "x"}, "Extra inputs"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(keys: dict[str, Any], message: str) -> None:
    """
    What does not fit together is an error before anything starts.
    """
    with pytest.raises(ValidationError, match=message):
        FluentdExporter.Config.model_validate({"type": "fluentd", **keys})


def test_secrets_are_not_printed(exporter_for: Any) -> None:
    """
    Keys and passwords do not show.
    """
    exporter = exporter_for(1, shared_key="s3cret", **login("pa55word"))

    shown = f"{exporter.config!r} {exporter.config.model_dump_json()}"

    assert "s3cret" not in shown
    assert "pa55word" not in shown


def test_the_contract_says_at_least_once(exporter_for: Any) -> None:
    """
    Records without an acknowledgement are sent again by default, and carry their id.
    """
    contract = exporter_for(1).contract

    assert (contract.on_unknown, contract.dedupe_key, contract.value_type) == ("resend", "id", "decimal string")

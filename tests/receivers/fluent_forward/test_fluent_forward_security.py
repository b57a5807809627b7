"""
Who may send: shared key, users, client certificates, and what is refused to start.
"""

import ssl
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trustme

from meterline.api import ConfigurationError, Principal
from meterline.receivers.fluent_forward import FluentForwardReceiver
from meterline.receivers.fluent_forward.handshake import EXPIRED, WRONG_KEY, WRONG_USER
from meterline.serving.auth_config import AuthConfig
from meterline.testing.forward import digest
from meterline.testing.forward_client import forward
from meterline.testing.process import wait_until

CHUNK = forward("t", [(1_795_346_017_000_000_000, {"n": 1})], chunk="c")
SHARED = {"name": "fleet", "token": "s3cret", "customers": ["acme"]}
USERS = [
    {"name": "eu", "token": "pw-eu", "customers": ["acme", "acme-*"], "tenants": ["t1"]},
    {"name": "us", "token": "pw-us", "expires_at": "2020-01-01T00:00:00Z"},
]


def secrets_of(intake: Any) -> set[str]:
    """
    Return the names of those in whose name something was submitted.
    """
    return intake.names


def test_the_shared_key_lets_in(start: Any, connect: Any, intake: Any) -> None:
    """
    Who knows the key is the principal of its name, with its rights; the server proves that it knows the key, too.
    """
    client = connect(start(auth={"shared_key": SHARED}))
    pong = client.log_in("s3cret")
    client.send(CHUNK)

    assert pong[:3] == ["PONG", True, ""]
    assert client.receive() == {"ack": "c"}
    assert intake.senders == [("fluent", Principal("fleet", customers=("acme",)))]


def test_the_server_proves_itself(start: Any, connect: Any) -> None:
    """
    PONG has the server's name, never the client's own, and the digest over it.
    """
    receiver = start(auth={"shared_key": SHARED})
    for hostname in ("sender.example", "meterline"):
        client = connect(receiver)
        helo = client.receive()
        salt = "0123456789abcdef"
        proof = digest(salt, hostname, helo[1]["nonce"], "s3cret")
        client.send(msgpack.packb(["PING", hostname, salt, proof, "", ""]))
        kind, ok, reason, name, answer = client.receive()
        assert (kind, ok, reason) == ("PONG", True, "")
        assert name != hostname
        assert answer == digest(salt, name, helo[1]["nonce"], "s3cret")


def test_nonces_are_never_the_same(start: Any, connect: Any) -> None:
    """
    Every connection gets a nonce and a salt of its own, of 16 bytes each.
    """
    receiver = start(auth={"shared_key": SHARED, "users": USERS})
    offers = [connect(receiver).receive()[1] for _ in range(20)]

    assert len({offer["nonce"] for offer in offers} | {offer["auth"] for offer in offers}) == 40
    assert {len(offer["nonce"]) for offer in offers} == {len(offer["auth"]) for offer in offers} == {16}


def test_a_user_is_the_principal(start: Any, connect: Any, intake: Any) -> None:
    """
    With users, the key alone is not enough, and the user's rights are those that count; its one tenant goes along.
    """
    client = connect(start(auth={"shared_key": SHARED, "users": USERS}))
    client.log_in("s3cret", "eu", "pw-eu")
    client.send(CHUNK)

    assert client.receive() == {"ack": "c"}
    assert intake.senders == [("fluent", Principal("eu", ("acme", "acme-*"), ("t1",)))]
    assert b"tenant.id" in intake.data[0]


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        (("wrong", "eu", "pw-eu"), WRONG_KEY),
        (("", "", ""), WRONG_KEY),
        (("s3cret", "", ""), WRONG_USER),
        (("s3cret", "eu", "wrong"), WRONG_USER),
        (("s3cret", "eu", "pw-us"), WRONG_USER),
        (("s3cret", "nobody", "nobody"), WRONG_USER),
        (("s3cret", "us", "pw-us"), EXPIRED),
    ],
)
def test_wrong_and_expired_credentials_are_refused(
    start: Any, connect: Any, intake: Any, credential: tuple[str, str, str], reason: str
) -> None:
    """
    The refusal says why in fewer than the 32 bytes that Fluent Bit has room for, and nothing is stored.
    """
    receiver = start(auth={"shared_key": SHARED, "users": USERS})
    client = connect(receiver)
    pong = client.log_in(*credential)

    assert pong == ["PONG", False, reason, "", ""]
    assert len(reason) < 32
    assert client.receive() is None
    assert intake.bodies == []


def test_an_expired_shared_key_lets_nobody_in(start: Any, connect: Any, intake: Any) -> None:
    """
    When the key has expired, no user of it is let in either.
    """
    expired = {**SHARED, "expires_at": "2020-01-01T00:00:00Z"}
    client = connect(start(auth={"shared_key": expired, "users": USERS}))

    assert client.log_in("s3cret", "eu", "pw-eu")[:3] == ["PONG", False, EXPIRED]


@pytest.mark.parametrize(
    "data",
    [
        CHUNK,
        b"\xc0",
        b"\xc1",
        b"\x96\xa4PING\x01\x02\x03\x04\x05",
        b"\x92\xa4PING\xa1h",
        b"\x96\xa4PONG\xa0\xa0\xa0\xa0\xa0",
        b"\x96\xa4PING" + b"\xc6\x7f\xff\xff\xff" + b"x" * 100_000,
        b"\x96\xa4PING\xa0\xa0\xa0\xa0\xa0" + CHUNK,
    ],
    ids=["chunk", "nil", "no msgpack", "numbers", "short", "pong", "huge", "chunk before the answer"],
)
def test_nothing_passes_without_a_handshake(start: Any, connect: Any, intake: Any, data: bytes) -> None:
    """
    What comes in place of a PING ends the connection, and is not stored.
    """
    client = connect(start(auth={"shared_key": SHARED}))
    client.receive()
    client.send(data)

    found = client.receive()
    assert found is None or found[:2] == ["PONG", False]
    assert intake.bodies == []


def test_stopping_does_not_wait_for_handshakes(start: Any, connect: Any) -> None:
    """
    A sender that has not said who it is has nothing in flight.
    """
    receiver = start(auth={"shared_key": SHARED})
    client = connect(receiver)
    assert client.receive()[0] == "HELO"
    receiver.stop(1000)  # no test lives as long

    assert client.receive() is None


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """
    Return an authority with a server's certificate in a folder.
    """
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    server = ca.issue_cert("localhost")
    (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    (folder / "server.key").write_bytes(server.private_key_pem.bytes())
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    return ca, folder


def tls_options(folder: Path, *, mutual: bool = False) -> dict[str, Any]:
    """
    Return the receiver's ``tls``.
    """
    options = {"cert_file": folder / "server.pem", "key_file": folder / "server.key"}
    return {**options, "client_ca_file": folder / "ca.pem"} if mutual else options


def client_context(ca: trustme.CA, name: str | None = None) -> ssl.SSLContext:
    """
    Return a client's context, with a certificate of this name.
    """
    context = ssl.create_default_context()
    ca.configure_trust(context)
    if name is not None:
        ca.issue_cert(common_name=name).configure_cert(context)
    return context


def test_tls_with_a_handshake(start: Any, connect: Any, authority: Any) -> None:
    """
    Both together, as Fluentd's secure transport has them.
    """
    ca, folder = authority
    client = connect(start(tls=tls_options(folder), auth={"shared_key": SHARED}), tls=client_context(ca))
    client.log_in("s3cret")
    client.send(CHUNK * 3)

    assert [client.receive() for _ in range(3)] == [{"ack": "c"}] * 3


def test_a_client_certificate_is_the_principal(start: Any, connect: Any, intake: Any, authority: Any) -> None:
    """
    Without a handshake the certificate's common name is who sends.
    """
    ca, folder = authority
    client = connect(start(tls=tls_options(folder, mutual=True)), tls=client_context(ca, "edge-7"))
    client.send(CHUNK)

    assert client.receive() == {"ack": "c"}
    assert secrets_of(intake) == {"edge-7"}


def test_subjects_of_the_top_level_auth_are_the_rights_of_certificates(
    start: Any, connect: Any, intake: Any, authority: Any
) -> None:
    """
    A certificate that matches a subject is that principal; another one is refused.
    """
    ca, folder = authority
    subjects = [{"subject": "edge-*", "name": "edges", "customers": ["acme"]}]
    receiver = start(tls=tls_options(folder, mutual=True), top_auth=AuthConfig.model_validate({"subjects": subjects}))
    for name, answer in (("edge-7", {"ack": "c"}), ("other", None)):
        client = connect(receiver, tls=client_context(ca, name))
        client.send(CHUNK)
        assert client.receive() == answer
    assert [principal for _, principal in intake.senders] == [Principal("edges", customers=("acme",))]


def answer_to_nobody(connect: Any, receiver: Any, context: ssl.SSLContext) -> Any:
    """
    Return what a sender without a certificate is told; with TLS 1.3 the refusal comes with the first read.
    """
    try:
        client = connect(receiver, tls=context)
        client.send(CHUNK)
        return client.receive()
    except OSError:
        return None


def test_no_certificate_no_entry(start: Any, connect: Any, intake: Any, authority: Any) -> None:
    """
    A sender without a certificate of the authority is not served.
    """
    ca, folder = authority
    receiver = start(tls=tls_options(folder, mutual=True))
    assert answer_to_nobody(connect, receiver, client_context(ca)) is None
    assert intake.bodies == []


def test_plain_text_to_a_tls_port_is_not_served(start: Any, connect: Any, intake: Any, authority: Any) -> None:
    """
    It ends the connection, and the next one is served.
    """
    ca, folder = authority
    receiver = start(tls=tls_options(folder))
    client = connect(receiver)
    client.send(CHUNK)
    assert client.receive() is None

    other = connect(receiver, tls=client_context(ca))
    other.send(CHUNK)
    assert other.receive() == {"ack": "c"}


def test_a_new_certificate_is_used_for_new_connections(start: Any, connect: Any, tmp_path: Path) -> None:
    """
    Certificate files that change are read again; connections that are open go on.
    """
    first, second = trustme.CA(), trustme.CA()

    def install(ca: trustme.CA) -> None:
        cert = ca.issue_cert("localhost")
        (tmp_path / "server.key").write_bytes(cert.private_key_pem.bytes())
        (tmp_path / "server.pem").write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))

    install(first)
    receiver = start(tls=tls_options(tmp_path))
    old = connect(receiver, tls=client_context(first))
    install(second)

    def reloaded() -> bool:
        return any(s.name == "meterline_receiver_certificate_reloads" and s.value for s in receiver.samples())

    wait_until(reloaded, 20, "the certificate to be read again")
    new = connect(receiver, tls=client_context(second))
    for client in (old, new):
        client.send(CHUNK)
        assert client.receive() == {"ack": "c"}


def test_an_address_that_others_reach_needs_a_guard(start: Any) -> None:
    """
    Without a shared key, client certificates or ``insecure: true`` it does not start.
    """
    with pytest.raises(ConfigurationError, match="everybody who reaches"):
        start(endpoint="0.0.0.0:0")
    start(endpoint="0.0.0.0:0", insecure=True)
    start(endpoint="0.0.0.0:0", auth={"shared_key": SHARED})


def test_the_top_level_auth_is_not_left_out_in_silence(start: Any) -> None:
    """
    Its keys cannot be carried by this protocol: without a guard of its own the receiver does not start.
    """
    top = AuthConfig.model_validate({"keys": [{"name": "k", "token": "t"}]})
    with pytest.raises(ConfigurationError, match="top-level auth"):
        start(top_auth=top)
    start(top_auth=top, insecure=True)
    start(top_auth=top, auth={"shared_key": SHARED})


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ({"users": USERS}, "shared_key"),
        ({"shared_key": {"name": "a", "token_sha256": "0" * 64}}, "needs the token itself"),
        ({"shared_key": SHARED, "users": [{"name": "a", "token_sha256": "0" * 64}]}, "needs the token itself"),
        ({"shared_key": SHARED, "users": [USERS[0], USERS[0]]}, "stands there twice"),
    ],
)
def test_auth_that_cannot_work_is_refused(auth: Any, message: str) -> None:
    """
    Secrets that are only known as digests, and users without a shared key or twice, are errors of the config.
    """
    with pytest.raises(ValueError, match=message):
        FluentForwardReceiver.Config.model_validate({"type": "fluent_forward", "auth": auth})


def test_a_taken_address_is_a_configuration_error(start: Any) -> None:
    """
    The error names the address and the receiver.
    """
    endpoint = start().endpoints["forward"]
    with pytest.raises(ConfigurationError, match=f"binding receiver 'fluent' to {endpoint}: address already in use"):
        start(endpoint=endpoint)


@pytest.mark.parametrize("users", [[], [{"name": "edge", "token": "p"}]], ids=["nobody", "users"])
def test_a_user_is_asked_for_only_where_there_are_some(start: Any, connect: Any, users: list[dict[str, str]]) -> None:
    """
    HELO has a salt for a password, or an empty one; with a salt, a sender without a user gives up.
    """
    client = connect(start(auth={"shared_key": {"name": "all", "token": "t"}, "users": users}))
    kind, options = client.receive()

    assert (kind, bool(options["auth"])) == ("HELO", bool(users))


def test_nothing_may_follow_a_ping_before_it_is_answered(
    start: Any, connect: Any, intake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What a sender says before it knows whom it talks to would be lost without a word; so the connection ends.
    """
    client = connect(start(auth={"shared_key": {"name": "all", "token": "t"}}))
    send = client.send
    monkeypatch.setattr(client, "send", lambda ping: send(ping + b"\x93\xa1t\x01\x80"))

    assert client.log_in("t") is None
    assert intake.bodies == []

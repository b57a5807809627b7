"""
Who may send: keys, mTLS subjects, and certificates that change while the listener runs.
"""

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from pydantic import ValidationError

from meterline.api import ConfigurationError, Principal
from meterline.receivers.otlp import OtlpReceiver
from meterline.serving.auth import PeerIdentity
from meterline.testing.process import wait_until

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
KEYS = {
    "keys": [
        {"name": "acme", "token": "old-secret", "customers": ["acme", "acme-*"]},
        {"name": "acme", "token": "new-secret", "customers": ["acme", "acme-*"]},
        {"name": "ops", "token": "ops secret"},
    ]
}
ACME = Principal("acme", ("acme", "acme-*"))


def answer(channel: grpc.Channel, *metadata: tuple[str, str | bytes], body: bytes = b"\x0a\x00") -> grpc.StatusCode:
    """
    Send a request with these headers and return the code of the answer.
    """
    try:
        channel.unary_unary(METRICS)(body, metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("header", "principal"),
    [
        (("authorization", "Bearer old-secret"), ACME),
        (("authorization", "bearer  new-secret "), ACME),
        (("x-api-key", "new-secret"), ACME),
    ],
)
def test_a_right_key_names_the_principal(
    start: Any, connect: Any, intake: Any, header: tuple[str, str], principal: Principal
) -> None:
    """
    A token in either header is its principal, with the customers it may write for; two keys may be one principal.
    """
    channel = connect(start(auth=KEYS))

    assert answer(channel, header) is grpc.StatusCode.OK

    assert intake.senders[0][1] == principal


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("authorization", "old-secret"),),
        (("authorization", "Basic old-secret"),),
        (("authorization", "Bearer "),),
        (("authorization", "Bearer old-secret2"),),
        (("authorization", "Bearer old-secre"),),
        (("x-api-key", ""),),
        (("x-api-key", "Bearer old-secret"),),
        (("api-key", "old-secret"),),
    ],
)
def test_no_or_a_wrong_key_is_unauthenticated(start: Any, connect: Any, intake: Any, headers: Any) -> None:
    """
    With keys configured, nothing passes without one of them, and the refusal is counted.
    """
    receiver = start(auth=KEYS)

    assert answer(connect(receiver), *headers) is grpc.StatusCode.UNAUTHENTICATED

    assert intake.bodies == []
    counts = {s.labels.get("outcome"): s.value for s in receiver.samples() if s.name == "meterline_receiver_requests"}
    assert counts == {"unauthenticated": 1}


def test_one_right_key_among_several_is_enough(start: Any, connect: Any) -> None:
    """
    A proxy's own credential beside the sender's does no harm.
    """
    channel = connect(start(auth=KEYS))

    assert answer(channel, ("authorization", "Bearer proxy"), ("x-api-key", "new-secret")) is grpc.StatusCode.OK


def test_the_credential_is_checked_before_the_body_is_read(start: Any, connect: Any) -> None:
    """
    Without a key even a body over the limit is UNAUTHENTICATED: its size was never looked at.
    """
    channel = connect(start(auth=KEYS, max_request_bytes=1000))

    assert answer(channel, body=bytes(5_000_000)) is grpc.StatusCode.UNAUTHENTICATED
    assert answer(channel, ("x-api-key", "new-secret"), body=bytes(5_000_000)) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_no_token_is_printed(start: Any) -> None:
    """
    Neither the configuration nor the listener's parts show a token.
    """
    receiver = start(auth=KEYS)

    part = receiver._open["grpc"]._part
    held = f"{vars(part.authenticator)} {vars(part.authenticator._ring)}"
    shown = f"{receiver.config!r} {receiver.config.model_dump_json()} {held}"

    assert "secret" not in shown.replace("SecretStr", "")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([], "at least 1"),
        ([{"name": "a", "token": ""}], "at least 1"),
        ([{"name": "a", "token": "from-a-file\n"}], "reading token of 'a': no header can carry it"),
        ([{"name": "a", "token": "schlüssel"}], "no header can carry it"),
        ([{"name": "a", "token": "x"}, {"name": "b", "token": "x"}], "two of them have the same token"),
        (
            [{"name": "a", "token": "x"}, {"name": "a", "token": "y", "customers": ["c"]}],
            "must have the same customers",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_refused(keys: list[Any], message: str) -> None:
    """
    A token stands for one principal, and a principal has one set of customers.
    """
    with pytest.raises(ValidationError, match=message):
        OtlpReceiver.Config.model_validate({"type": "otlp", "grpc": {"auth": {"keys": keys}}})


class Pki:
    """
    A certificate authority with a server certificate in files, and client credentials of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        self.renew()

    def renew(self) -> None:
        """
        Issue a new server certificate and put it in the place of the old one.
        """
        certificate = self.authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(self.folder / "key.new")
        (self.folder / "cert.new").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        for name in ("key", "cert"):
            (self.folder / f"{name}.new").replace(self.folder / f"{name}.pem")

    def keys(self, *, mutual: bool = False) -> dict[str, str]:
        """
        Return the ``tls`` keys of a listener.
        """
        files = {"cert_file": str(self.folder / "cert.pem"), "key_file": str(self.folder / "key.pem")}
        return {**files, "client_ca_file": str(self.folder / "ca.pem")} if mutual else files

    def channel(self, receiver: OtlpReceiver, client: trustme.LeafCert | None = None) -> grpc.Channel:
        """
        Open a TLS channel, with a client certificate if one is given.
        """
        roots = (self.folder / "ca.pem").read_bytes()
        if client is None:
            credentials = grpc.ssl_channel_credentials(roots)
        else:
            chain = b"".join(blob.bytes() for blob in client.cert_chain_pems)
            credentials = grpc.ssl_channel_credentials(roots, client.private_key_pem.bytes(), chain)
        port = receiver.endpoints["grpc"].rpartition(":")[2]
        return grpc.secure_channel(f"localhost:{port}", credentials, (("grpc.use_local_subchannel_pool", 1),))

    def serial(self, receiver: OtlpReceiver) -> bytes:
        """
        Return the certificate that a new connection is shown.
        """
        host, _, port = receiver.endpoints["grpc"].rpartition(":")
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
        assert shown is not None
        return shown


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """
    Return an authority of this test's own.
    """
    return Pki(tmp_path)


@pytest.fixture
def closing() -> Iterator[Callable[[grpc.Channel], grpc.Channel]]:
    """
    Return a function that has a channel closed at the end.
    """
    channels: list[grpc.Channel] = []

    def keep(channel: grpc.Channel) -> grpc.Channel:
        channels.append(channel)
        return channel

    yield keep
    for channel in channels:
        channel.close()


def test_tls_serves_and_plain_text_does_not(start: Any, connect: Any, pki: Pki, closing: Any) -> None:
    """
    With a certificate the listener speaks TLS alone, and keys work over it.
    """
    receiver = start(tls=pki.keys(), auth=KEYS)

    assert answer(closing(pki.channel(receiver)), ("x-api-key", "new-secret")) is grpc.StatusCode.OK
    assert answer(connect(receiver)) is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("name", ["common", "alternative"])
def test_mtls_names_the_principal(start: Any, intake: Any, pki: Pki, closing: Any, name: str) -> None:
    """
    The subject's common name is the principal; without one, the first alternative name.
    """
    receiver = start(tls=pki.keys(mutual=True))
    common = "agent-7" if name == "common" else None
    client = pki.authority.issue_cert("agent-7.example", common_name=common)

    assert answer(closing(pki.channel(receiver, client))) is grpc.StatusCode.OK

    assert intake.senders[0][1] == Principal("agent-7" if common else "agent-7.example")


def test_mtls_refuses_other_certificates(start: Any, intake: Any, pki: Pki, closing: Any) -> None:
    """
    No certificate, or one of another authority, gets no connection.
    """
    receiver = start(tls=pki.keys(mutual=True))
    stranger = trustme.CA().issue_cert("stranger.example")

    assert answer(closing(pki.channel(receiver))) is grpc.StatusCode.UNAVAILABLE
    assert answer(closing(pki.channel(receiver, stranger))) is grpc.StatusCode.UNAVAILABLE

    assert intake.bodies == []


def test_mtls_with_keys_needs_both(start: Any, intake: Any, pki: Pki, closing: Any) -> None:
    """
    With client_ca_file and keys, the certificate opens the connection and the key names the principal.
    """
    receiver = start(tls=pki.keys(mutual=True), auth=KEYS)
    channel = closing(pki.channel(receiver, pki.authority.issue_cert("agent.example")))

    assert answer(channel) is grpc.StatusCode.UNAUTHENTICATED
    assert answer(channel, ("x-api-key", "old-secret")) is grpc.StatusCode.OK

    assert intake.senders[0][1] == ACME


def test_a_certificate_without_names_is_nobody() -> None:
    """
    A verified certificate that names nobody is not taken for somebody.
    """
    assert PeerIdentity.of_auth_context({"x509_common_name": [b""], "x509_subject_alternative_name": []}).name == ""
    assert PeerIdentity.of_auth_context({}).names == ()


def test_a_sender_without_a_name_is_unauthenticated(
    start: Any, intake: Any, pki: Pki, closing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    On a listener that goes by certificates, one that names nobody is refused.
    """
    receiver = start(tls=pki.keys(mutual=True))
    monkeypatch.setattr(PeerIdentity, "of_auth_context", lambda _properties: PeerIdentity())

    code = answer(closing(pki.channel(receiver, pki.authority.issue_cert("agent.example"))))

    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert intake.bodies == []


def test_a_new_certificate_is_picked_up(start: Any, pki: Pki, closing: Any) -> None:
    """
    New connections get a renewed certificate, and open ones go on.
    """
    receiver = start(tls=pki.keys())
    channel = closing(pki.channel(receiver))
    assert answer(channel) is grpc.StatusCode.OK
    before = pki.serial(receiver)

    pki.renew()

    assert pki.serial(receiver) != before
    assert answer(channel) is grpc.StatusCode.OK
    assert answer(closing(pki.channel(receiver))) is grpc.StatusCode.OK


@pytest.mark.parametrize("damage", ["garbage", "missing", "other key"])
def test_a_broken_new_certificate_keeps_the_old(start: Any, pki: Pki, damage: str, tmp_path: Path) -> None:
    """
    A file that cannot be used changes nothing but a counter, once; the next good one is taken.
    """
    receiver = start(tls=pki.keys())
    before = pki.serial(receiver)
    other = trustme.CA().issue_cert("localhost").private_key_pem.bytes()
    if damage == "missing":
        (tmp_path / "key.pem").unlink()
    else:
        (tmp_path / "key.new").write_bytes(other if damage == "other key" else b"-----BEGIN NONSENSE-----")
        (tmp_path / "key.new").replace(tmp_path / "key.pem")  # in one step: half a file would be a failure of its own

    def expires() -> float:
        return next(s.value for s in receiver.samples() if s.name.endswith("certificate_expires_seconds"))

    ends = expires()
    assert ends > time.time()

    def failures() -> float:
        return next(s.value for s in receiver.samples() if s.name.endswith("certificate_reload_failures"))

    wait_until(lambda: failures() > 0, 20, "the failure to be counted")
    assert pki.serial(receiver) == before
    assert pki.serial(receiver) == before
    assert failures() == 1
    pki.renew()
    wait_until(lambda: pki.serial(receiver) != before, 20, "the new certificate")
    assert expires() >= ends


@pytest.mark.parametrize("wrong", ["cert_file", "key_file", "client_ca_file"])
def test_a_certificate_that_cannot_be_used_stops_the_start(start: Any, pki: Pki, wrong: str, tmp_path: Path) -> None:
    """
    A file that is missing or no PEM is an error at start that names the file.
    """
    bad = tmp_path / "bad.pem"
    keys = {**pki.keys(mutual=True), wrong: str(bad)}

    with pytest.raises(ConfigurationError, match=r"bad\.pem"):
        start(tls=keys)
    bad.write_text("nonsense")
    with pytest.raises(ConfigurationError, match=r"loading certificate from .*bad\.pem"):
        start(tls=keys)


def test_relative_files_are_beside_the_config(pki: Pki, tmp_path: Path) -> None:
    """
    Paths are taken relative to the configuration's folder.
    """
    keys = {"cert_file": "cert.pem", "key_file": "key.pem"}
    config = OtlpReceiver.Config.model_validate(
        {"type": "otlp", "grpc": {"tls": keys}}, context={"base_dir": os.fspath(tmp_path)}
    )

    assert config.grpc.tls is not None
    assert config.grpc.tls.cert_file == tmp_path / "cert.pem"

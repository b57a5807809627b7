"""
Client certificates as identities, on both protocols: the same receiver, the same answers.
"""

import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
import trustme

from meterline.api import Principal, ReceiverContext, SystemClock
from meterline.receivers.otlp import OtlpReceiver
from meterline.serving.auth_config import AuthConfig
from meterline.testing.fake_intake import FakeIntake

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
SUBJECTS = [
    {"subject": "agent-*.fleet.example", "name": "fleet", "customers": ["acme"]},
    {"subject": "spiffe://example/billing", "name": "billing"},
]
REFUSED = "refused"
NO_CONNECTION = "no connection"


class Site:
    """
    An authority, a server certificate of it in files, and a receiver that asks senders for theirs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        self.intake = FakeIntake()
        made = self.authority.issue_cert("localhost", "127.0.0.1")
        (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(folder / "key.pem")

    def receiver(self, auth: Mapping[str, Any] | None) -> OtlpReceiver:
        """
        Return a receiver with both listeners under this ``auth`` section.
        """
        files = {"cert_file": str(self.folder / "cert.pem"), "key_file": str(self.folder / "key.pem")}
        tls = {**files, "client_ca_file": str(self.folder / "ca.pem")}
        listener = {"endpoint": "127.0.0.1:0", "tls": tls}
        config = OtlpReceiver.Config.model_validate({"type": "otlp", "grpc": listener, "http": listener})
        top = AuthConfig.model_validate(auth) if auth else None
        context = ReceiverContext(self.intake, SystemClock(), structlog.get_logger(), auth=top)
        return OtlpReceiver("otlp", config, context)

    def client_file(self, *names: str, authority: trustme.CA | None = None) -> Path:
        """
        Return a file with a client's certificate for these names, and its key.
        """
        made = (authority or self.authority).issue_cert(*names)
        path = self.folder / "client.pem"
        path.write_bytes(made.private_key_and_cert_chain_pem.bytes())
        return path

    def send(self, protocol: str, receiver: OtlpReceiver, client: Path | None, **headers: str) -> str:
        """
        Send an empty request, and return "ok", "refused" or "no connection".
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (self._grpc if protocol == "grpc" else self._http)(receiver.endpoints[protocol], client, named)

    def _grpc(self, address: str, client: Path | None, headers: Mapping[str, str]) -> str:
        roots, own = (self.folder / "ca.pem").read_bytes(), client.read_bytes() if client else None
        credentials = grpc.ssl_channel_credentials(roots, own, own)
        port = address.rpartition(":")[2]
        with grpc.secure_channel(f"localhost:{port}", credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                channel.unary_unary(METRICS)(b"", metadata=tuple(headers.items()), timeout=20)
            except grpc.RpcError as error:
                return {grpc.StatusCode.UNAUTHENTICATED: REFUSED}.get(error.code(), NO_CONNECTION)
        return "ok"

    def _http(self, address: str, client: Path | None, headers: Mapping[str, str]) -> str:
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if client is not None:
            context.load_cert_chain(client)
        connection = http.client.HTTPSConnection(
            "localhost", int(address.rpartition(":")[2]), timeout=20, context=context
        )
        try:
            connection.request("POST", "/v1/metrics", b"", {"content-type": "application/x-protobuf", **headers})
            return {200: "ok", 401: REFUSED}[connection.getresponse().status]
        except OSError:
            return NO_CONNECTION
        finally:
            connection.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """
    Return an authority of this test's own.
    """
    return Site(tmp_path)


Start = Callable[..., OtlpReceiver]


@pytest.fixture
def start(site: Site) -> Iterator[Start]:
    """
    Return a function that starts a receiver; all are stopped at the end.
    """
    started: list[OtlpReceiver] = []

    def run(auth: Mapping[str, Any] | None = None) -> OtlpReceiver:
        started.append(site.receiver(auth))
        started[-1].start()
        return started[-1]

    yield run
    for receiver in started:
        receiver.stop(5)


both = pytest.mark.parametrize("protocol", ["grpc", "http"])


@both
def test_a_certificate_is_the_principal_of_its_entry(start: Start, site: Site, protocol: str) -> None:
    """
    One that an entry names is that principal with its rights, by any of its names; one that none names is refused.
    """
    receiver = start({"subjects": SUBJECTS})

    assert site.send(protocol, receiver, site.client_file("agent-7.fleet.example")) == "ok"
    assert site.send(protocol, receiver, site.client_file("other.example", "agent-8.fleet.example")) == "ok"
    assert site.send(protocol, receiver, site.client_file("agent-7.example")) == REFUSED

    assert site.intake.senders == [("otlp", Principal("fleet", ("acme",)))] * 2


@both
def test_without_auth_a_certificate_is_its_subject(start: Start, site: Site, protocol: str) -> None:
    """
    The first name of the certificate is the principal.
    """
    assert site.send(protocol, start(), site.client_file("agent-7.example")) == "ok"

    assert site.intake.senders == [("otlp", Principal("agent-7.example"))]


@both
def test_no_or_a_foreign_certificate_gets_no_connection(start: Start, site: Site, protocol: str) -> None:
    """
    Whoever has none of the authority's does not get as far as a request, key or not.
    """
    receiver = start({"keys": [{"name": "a", "token": "t"}]})
    foreign = site.client_file("agent-7.fleet.example", authority=trustme.CA())

    assert site.send(protocol, receiver, foreign, x_api_key="t") == NO_CONNECTION
    assert site.send(protocol, receiver, None, x_api_key="t") == NO_CONNECTION
    assert site.intake.senders == []


@both
def test_a_header_goes_before_a_certificate(start: Start, site: Site, protocol: str) -> None:
    """
    A right key is the key's principal beside any certificate; a wrong one is refused beside the best.
    """
    receiver = start({"subjects": SUBJECTS, "keys": [{"name": "acme", "token": "t"}]})
    known = site.client_file("agent-7.fleet.example")

    assert site.send(protocol, receiver, known, x_api_key="t") == "ok"
    assert site.send(protocol, receiver, known, x_api_key="wrong") == REFUSED
    assert site.send(protocol, receiver, known) == "ok"
    assert site.send(protocol, receiver, site.client_file("stranger.example"), x_api_key="t") == "ok"

    assert [sender.name for _, sender in site.intake.senders] == ["acme", "fleet", "acme"]


@both
def test_keys_alone_are_asked_for_beside_the_certificate(start: Start, site: Site, protocol: str) -> None:
    """
    Without entries for certificates, one opens the connection and no more.
    """
    receiver = start({"keys": [{"name": "acme", "token": "t"}]})
    client = site.client_file("agent-7.fleet.example")

    assert site.send(protocol, receiver, client) == REFUSED
    assert site.send(protocol, receiver, client, authorization="Bearer t") == "ok"

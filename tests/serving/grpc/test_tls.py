"""
TLS of a gRPC port: from which version, and files that change while they are read.
"""

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from meterline.serving.config import TlsConfig
from meterline.serving.grpc.certificates import Handshakes
from meterline.serving.tls import Certificate, CertificateFiles

AUTHORITY = trustme.CA()
WAIT_SECS = 20.0


def issue(folder: Path) -> TlsConfig:
    """
    Put a new certificate and its key into a folder.
    """
    pair = AUTHORITY.issue_cert("localhost")
    for name, data in (("key.pem", pair.private_key_pem.bytes()), ("cert.pem", pair.cert_chain_pems[0].bytes())):
        (folder / "new").write_bytes(data)
        (folder / "new").rename(folder / name)
    return TlsConfig(cert_file=folder / "cert.pem", key_file=folder / "key.pem")


def belong_together(certificate: Certificate) -> bool:
    """
    Say whether the key is that of the certificate.
    """
    key: Any = load_pem_private_key(certificate.key, None)
    return bool(x509.load_pem_x509_certificate(certificate.chain).public_key() == key.public_key())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_that_are_spoken(open_port: Any, service: Any, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """
    TLS 1.2 and 1.3.
    """
    config = issue(tmp_path)
    port = open_port(service("One"), tls=config.model_dump(exclude_unset=True))
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    assert spoken(port.endpoint, context) == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


def test_older_versions_are_not(open_port: Any, service: Any, tmp_path: Path) -> None:
    """
    TLS 1.1 gets no connection.
    """
    config = issue(tmp_path)
    port = open_port(service("One"), tls=config.model_dump(exclude_unset=True))
    old = ssl.create_default_context()
    AUTHORITY.configure_trust(old)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        spoken(port.endpoint, old)


def spoken(address: str, context: ssl.SSLContext) -> str | None:
    """
    Greet, and return the version that was agreed on.
    """
    context.set_alpn_protocols(["h2"])
    host, port = address.rsplit(":", 1)
    with (
        socket.create_connection((host, int(port)), WAIT_SECS) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return secure.version()


def test_files_that_change_while_they_are_read_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A new pair that comes between the reading of the certificate and that of the key: gRPC, which tries nothing out, is never
    handed one half of each, and the next look finds the new pair.
    """
    config = issue(tmp_path)
    files = CertificateFiles(config, structlog.get_logger())
    handshakes = Handshakes(files)
    issue(tmp_path)
    read, changes = Path.read_bytes, [tmp_path]

    def read_bytes(path: Path) -> bytes:
        data = read(path)
        if path == config.cert_file and changes:
            issue(changes.pop())
        return data

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    for _ in range(2):
        handshakes._fetch()
        assert belong_together(handshakes._handed_out)
    assert not changes
    assert handshakes._handed_out.chain == read(config.cert_file)
    assert handshakes._fetch() is None, "nothing has changed since"

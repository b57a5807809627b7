"""
TLS: from which version, with whose certificates, and what happens when the files change.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from meterline.api import ConfigurationError
from meterline.serving.tls import CertificateFiles
from meterline.testing.http_rig import WAIT_SECS, Rig
from meterline.testing.process import wait_until

Opener = Callable[..., Rig]


class Site:
    """
    A certificate authority and the files of a server.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.issue(self.authority)
        self.authority.cert_pem.write_to_path(str(folder / "ca.pem"))

    def issue(self, authority: trustme.CA) -> None:
        """
        Write a new certificate and its key, each in one step; in between, the two do not belong together.
        """
        pair = authority.issue_cert("localhost")
        self.write("key.pem", pair.private_key_pem.bytes())
        self.write("cert.pem", pair.cert_chain_pems[0].bytes())

    def write(self, name: str, data: bytes) -> None:
        """
        Replace a file in one step, so that nobody reads half of it.
        """
        (self.folder / "new").write_bytes(data)
        (self.folder / "new").rename(self.folder / name)

    @property
    def options(self) -> dict[str, str]:
        return {"cert_file": str(self.folder / "cert.pem"), "key_file": str(self.folder / "key.pem")}

    def client(self, name: str | None = None) -> ssl.SSLContext:
        """
        Return a client that trusts the authority, with a certificate of its own if it has a name.
        """
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if name is not None:
            self.authority.issue_cert(common_name=name).configure_cert(context)
        return context


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """
    Return files of a server.
    """
    return Site(tmp_path)


def until(condition: Callable[[], bool]) -> None:
    """
    Wait until it holds.
    """
    wait_until(condition, WAIT_SECS, "what the test expects")


def test_requests_over_tls_are_stored(open_rig: Opener, site: Site) -> None:
    """
    Small and large, on one connection; plain text on the port is not answered.
    """
    rig = open_rig(tls=site.options)
    sock = rig.connect_tls(site.client())
    assert rig.send(over=sock).status == 200
    assert rig.send(bytes(3_000_000), over=sock).status == 200
    with pytest.raises((ConnectionError, OSError)):
        rig.send()


def test_old_versions_are_not_spoken(open_rig: Opener, site: Site) -> None:
    """
    TLS 1.2 and 1.3, nothing older.
    """
    rig = open_rig(tls=site.options)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = site.client()
        context.minimum_version = context.maximum_version = version
        assert rig.send(over=rig.connect_tls(context)).status == 200
    old = site.client()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        rig.connect_tls(old)


def test_a_client_certificate_is_the_principal(open_rig: Opener, site: Site) -> None:
    """
    With client_ca_file each sender must show a certificate of that authority, and its name is who sends.
    """
    rig = open_rig(tls={**site.options, "client_ca_file": str(site.folder / "ca.pem")})
    assert rig.send(over=rig.connect_tls(site.client("collector-7"))).status == 200
    assert rig.intake.names == {"collector-7"}
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        rig.send(over=rig.connect_tls(site.client()))
    stranger = site.client()
    trustme.CA().issue_cert(common_name="collector-7").configure_cert(stranger)
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        rig.send(over=rig.connect_tls(stranger))
    assert len(rig.intake.bodies) == 1


def test_changed_files_serve_new_connections(open_rig: Opener, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A new certificate is used within a second or so; connections that are open stay so; a broken file changes nothing.
    """
    looks = threading.Semaphore(0)
    refresh = CertificateFiles.refresh
    monkeypatch.setattr(CertificateFiles, "refresh", lambda files: (refresh(files), looks.release())[0])
    rig = open_rig(tls=site.options)

    def failures() -> float:
        return rig.sample("meterline_receiver_certificate_reload_failures")

    first = rig.connect_tls(site.client())
    served = first.getpeercert(binary_form=True)
    site.issue(site.authority)
    until(lambda: rig.sample("meterline_receiver_certificate_reloads") >= 1)
    second = rig.connect_tls(site.client())
    assert second.getpeercert(binary_form=True) != served
    assert rig.send(over=first).status == rig.send(over=second).status == 200
    before = failures()  # perhaps it was looked at while there was a new key and an old certificate
    site.write("cert.pem", b"broken")
    until(lambda: failures() > before)
    third = rig.connect_tls(site.client())
    assert third.getpeercert(binary_form=True) == second.getpeercert(binary_form=True)
    assert rig.send(over=third).status == 200
    while looks.acquire(blocking=False):
        pass
    assert all(looks.acquire(timeout=WAIT_SECS) for _ in range(3))
    assert failures() == before + 1
    assert [line["level"] for line in rig.log].count("error") == failures(), "it is said once"


def test_no_connection_is_refused_while_certificates_change(open_rig: Opener, site: Site) -> None:
    """
    Connecting again and again over ten changes never fails.
    """
    rig = open_rig(tls=site.options)
    for count in range(1, 4):
        site.issue(site.authority)
        while rig.sample("meterline_receiver_certificate_reloads") < count:
            assert rig.send(over=rig.connect_tls(site.client())).status == 200


def test_handshakes_count_as_connections(open_rig: Opener, site: Site) -> None:
    """
    Connections that never greet fill the bound like all others, and do not hold up a stop.
    """
    rig = open_rig(tls=site.options, max_connections=3, header_timeout_secs=600)
    silent = [rig.connect() for _ in range(10)]
    until(lambda: rig.sample("meterline_receiver_refused_connections") == 7)
    assert rig.sample("meterline_receiver_connections") == 3
    rig.registration.stop(600)
    assert all(ended(sock) for sock in silent)


def test_handshakes_that_do_not_come_leave_room_when_they_are_cut_off(open_rig: Opener, site: Site) -> None:
    """
    After header_timeout_secs the next sender is served.
    """
    rig = open_rig(tls=site.options, max_connections=3, header_timeout_secs=3)
    silent = [rig.connect() for _ in range(3)]
    assert all(ended(sock) for sock in silent)
    assert rig.send(over=rig.connect_tls(site.client())).status == 200


def ended(sock: socket.socket) -> bool:
    """
    Wait until the other side closes.
    """
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


def test_a_certificate_that_cannot_be_used_stops_the_start(open_rig: Opener, site: Site) -> None:
    """
    A missing file or a key of another certificate is a configuration error.
    """
    with pytest.raises(ConfigurationError, match="loading certificate from"):
        open_rig(tls={**site.options, "key_file": str(site.folder / "missing.pem")})
    with pytest.raises(ConfigurationError, match="loading certificate from"):
        open_rig(tls={**site.options, "key_file": str(site.folder / "ca.pem")})

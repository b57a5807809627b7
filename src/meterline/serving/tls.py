"""
TLS files that are read again when they change; new connections get the new certificate, a broken one changes nothing.
"""

import ssl
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from meterline.api import ConfigurationError, Sample
from meterline.serving.config import TlsConfig

_Signature = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """
    The files' content, proven to belong together. ``context``: a server's that uses it, for whoever speaks TLS through ssl.
    ``expires_at``: when the first certificate of the chain ends, in seconds since the Unix epoch.
    """

    chain: bytes
    key: bytes = field(repr=False)
    authorities: bytes | None
    context: ssl.SSLContext
    expires_at: int


class CertificateFiles:
    """
    The certificate files of one listener. Any thread.
    """

    def __init__(self, config: TlsConfig, log: Any) -> None:
        """
        Read the files.

        :raises ConfigurationError: a file cannot be read or used, or certificate and key do not belong together.
        """
        self._config = config
        self._log = log
        self._lock = threading.Lock()
        self._signature = self._look()
        self.current = self._read()
        self.reloads = 0
        self.reload_failures = 0

    def refresh(self) -> bool:
        """
        Read the files again if they changed, and say whether ``current`` is another one now.

        The old certificate stays, and that is said once, if the new one cannot be used.
        """
        with self._lock:
            signature = self._look()
            if signature == self._signature:
                return False
            self._signature = signature
            try:
                found = self._read()
            except ConfigurationError as error:
                self.reload_failures += 1
                self._log.error("certificate not reloaded, the old one stays in use", error=str(error))
                return False
            if self._look() != signature:  # perhaps half of each: the next look reads them again
                return False
            self.current = found
            self.reloads += 1
        self._log.info("certificate reloaded", cert_file=str(self._config.cert_file))
        return True

    def samples(self, labels: Mapping[str, str]) -> Iterable[Sample]:
        """
        Return numbers for telemetry; ``labels`` name receiver and transport.
        """
        yield Sample("meterline_receiver_certificate_expires_seconds", labels, self.current.expires_at)
        yield Sample("meterline_receiver_certificate_reloads", labels, self.reloads)
        yield Sample("meterline_receiver_certificate_reload_failures", labels, self.reload_failures)

    def _files(self) -> list[Path]:
        files = (self._config.cert_file, self._config.key_file, self._config.client_ca_file)
        return [file for file in files if file is not None]

    def _look(self) -> _Signature:
        return tuple(_signature(file) for file in self._files())

    def _read(self) -> Certificate:
        """
        Return the files' content after a trial: gRPC itself takes anything and fails at the handshake.
        """
        config = self._config
        authorities = config.client_ca_file
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(config.cert_file, config.key_file, password="")
            if authorities is not None:
                context.load_verify_locations(authorities)
                context.verify_mode = ssl.CERT_REQUIRED
            chain, key = config.cert_file.read_bytes(), config.key_file.read_bytes()
            roots = authorities.read_bytes() if authorities is not None else None
            expires_at = int(x509.load_pem_x509_certificate(chain).not_valid_after_utc.timestamp())
            return Certificate(chain, key, roots, context, expires_at)
        except (OSError, ValueError) as error:
            names = ", ".join(f"'{file}'" for file in self._files())
            raise ConfigurationError(
                f"loading certificate from {names}: {error}; give PEM files that belong together"
            ) from error


def _signature(file: Path) -> tuple[int, int, int]:
    """
    Return what differs when a file was replaced or written to; a missing one differs from any other.
    """
    try:
        stat = file.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)

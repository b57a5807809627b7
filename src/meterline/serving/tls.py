"""
TLS files that are read again when they change; new connections get the new certificate, a broken one changes nothing.
"""

import ssl
import threading
from pathlib import Path
from typing import Any

import grpc

from meterline.api import ConfigurationError
from meterline.serving.config import TlsConfig

_Signature = tuple[tuple[int, int, int], ...]


class Certificates:
    """
    The certificate files of one listener. Any thread.
    """

    def __init__(self, config: TlsConfig, log: Any) -> None:
        self._config = config
        self._log = log
        self._lock = threading.Lock()
        self._signature: _Signature | None = None
        self._current: Any = None
        self._handed_out: Any = None
        self.reloads = 0
        self.reload_failures = 0

    def credentials(self) -> grpc.ServerCredentials:
        """
        Read the files and return credentials that look at them again at each handshake.

        :raises ConfigurationError: a file cannot be read or used, or certificate and key do not belong together.
        """
        self._signature = self._look()
        self._current = self._handed_out = self._read()
        mutual = self._config.client_ca_file is not None
        return grpc.dynamic_ssl_server_credentials(self._current, self._fetch, require_client_authentication=mutual)

    def refresh(self) -> None:
        """
        Read the files again if they changed; keep the old certificate, and say so once, if the new one cannot be used.
        """
        with self._lock:
            signature = self._look()
            if signature == self._signature:
                return
            self._signature = signature
            try:
                self._current = self._read()
            except ConfigurationError as error:
                self.reload_failures += 1
                self._log.error("certificate not reloaded, the old one stays in use", error=str(error))
                return
            self.reloads += 1
        self._log.info("certificate reloaded", cert_file=str(self._config.cert_file))

    def _fetch(self) -> Any:
        """
        Return the certificate for a new connection, or None when the last one handed out is still right.
        """
        self.refresh()
        with self._lock:
            if self._current is self._handed_out:
                return None
            self._handed_out = self._current
            return self._current

    def _files(self) -> list[Path]:
        files = (self._config.cert_file, self._config.key_file, self._config.client_ca_file)
        return [file for file in files if file is not None]

    def _look(self) -> _Signature:
        return tuple(_signature(file) for file in self._files())

    def _read(self) -> Any:
        """
        Return the files' content after a trial: gRPC itself takes anything and fails at the handshake.
        """
        config = self._config
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(config.cert_file, config.key_file, password="")
            authorities = config.client_ca_file
            if authorities is not None:
                context.load_verify_locations(authorities)
            pair = (config.key_file.read_bytes(), config.cert_file.read_bytes())
            roots = authorities.read_bytes() if authorities is not None else None
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(f"'{file}'" for file in self._files())
            raise ConfigurationError(
                f"loading certificate from {names}: {error}; give PEM files that belong together"
            ) from error
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)


def _signature(file: Path) -> tuple[int, int, int]:
    """
    Return what differs when a file was replaced or written to; a missing one differs from any other.
    """
    try:
        stat = file.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)

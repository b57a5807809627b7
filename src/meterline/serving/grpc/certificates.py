"""
Certificate files as gRPC wants them: looked at again at each handshake.
"""

import threading
from typing import Any

import grpc

from meterline.serving.tls import CertificateFiles


class Handshakes:
    """
    What a new connection is shown. Any thread.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._handed_out = files.current
        self._lock = threading.Lock()

    def credentials(self) -> grpc.ServerCredentials:
        """
        Return credentials that follow the files; with client authorities, a client certificate is required.
        """
        mutual = self._files.current.authorities is not None
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._fetch, require_client_authentication=mutual
        )

    def _configuration(self) -> Any:
        current = self._handed_out
        return grpc.ssl_server_certificate_configuration(
            [(current.key, current.chain)], root_certificates=current.authorities
        )

    def _fetch(self) -> Any:
        """
        Return the certificate for a new connection, or None when the last one handed out is still right.
        """
        self._files.refresh()
        with self._lock:
            if self._files.current is self._handed_out:
                return None
            self._handed_out = self._files.current
            return self._configuration()

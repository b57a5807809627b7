"""
An OpenID Connect provider on 127.0.0.1: discovery, keys that rotate, and tokens.
"""

import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/keys"


def make_key(algorithm: str) -> Any:
    """
    Return a new private key for one of the algorithms that the gateway knows.
    """
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        curves: Mapping[str, ec.EllipticCurve] = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "512": ec.SECP521R1()}
        return ec.generate_private_key(curves[algorithm[2:]])
    return rsa.generate_private_key(65537, 2048)


class IdentityProvider:
    """
    ``documents`` is what it answers, by path; a value that is bytes is sent as it is, an int as a status without a body, a
    pair as a status with a body.
    """

    audience = "meterline"

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.documents: dict[str, Any] = {}
        self.answering = threading.Event()
        self.answering.set()
        self._keys: dict[str, tuple[str, Any]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.documents[DISCOVERY] = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}{KEYS}"}
        self.rotate("first")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answering.set()
        self._server.shutdown()
        self._server.server_close()

    def rotate(self, kid: str, algorithm: str = "ES256", *, publish: bool = True) -> None:
        """
        Sign with a new key from now on, and publish it alone.
        """
        self._keys[kid] = (algorithm, make_key(algorithm))
        if publish:
            self.publish(kid)

    def publish(self, *kids: str) -> None:
        """
        Show these keys and no others.
        """
        self.documents[KEYS] = {"keys": [self.public(kid) for kid in kids]}

    def public(self, kid: str) -> dict[str, Any]:
        """
        Return a key's public half as a JWK.
        """
        algorithm, key = self._keys[kid]
        made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        return {**made, "kid": kid, "use": "sig", "alg": algorithm}

    def token(self, kid: str = "first", header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """
        Return a token of this provider, good for five minutes; a claim that is None is left out.
        """
        now = int(time.time())
        all_claims = {"iss": self.issuer, "aud": self.audience, "sub": "agent", "iat": now, "exp": now + 300, **claims}
        written = {name: value for name, value in all_claims.items() if value is not None}
        algorithm, key = self._keys[kid]
        return jwt.encode(written, key, algorithm, headers={"kid": kid, **(header or {})})


def _answer(document: Any) -> tuple[int, bytes]:
    if isinstance(document, int):
        return document, b""
    status, content = document if isinstance(document, tuple) else (200, document)
    return status, content if isinstance(content, bytes) else json.dumps(content).encode()


def _handler(provider: IdentityProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.requests.append(self.path)
            provider.answering.wait(20)
            status, body = _answer(provider.documents.get(self.path, 404))
            self.send_response(status)
            self.send_header("Location", f"{provider.issuer}{DISCOVERY}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):  # whoever asked may have heard enough
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """
            Say nothing.
            """

    return Handler

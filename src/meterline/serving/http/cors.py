"""
Which web pages may send. Off by default: then no request of a browser's page passes, not even one without preflight.
"""

from collections.abc import Mapping

from meterline.api import ForbiddenError, any_glob
from meterline.serving.config import CorsConfig
from meterline.serving.seam import Head, Reply

_ALWAYS_ALLOWED = ("authorization", "content-encoding", "content-type", "x-api-key")


class Cors:
    """
    The rules of one listener.
    """

    def __init__(self, config: CorsConfig | None) -> None:
        self._config = config
        self._any = config is not None and "*" in config.allowed_origins
        self._allows = any_glob(config.allowed_origins if config is not None else ())
        extra = config.allowed_headers if config is not None else ()
        self._headers = ", ".join(sorted({*_ALWAYS_ALLOWED, *(name.lower() for name in extra)}))

    def headers(self, head: Head) -> Mapping[str, str]:
        """
        Return what the answer to a request of a page must carry, or nothing when no page sends.

        :raises ForbiddenError: this page may not send.
        """
        origin = head.headers.get("origin")
        if origin is None:
            return {}
        if self._any:
            return {"Access-Control-Allow-Origin": "*"}  # and so without credentials of the browser's
        if self._config is None or not self._allows(origin):
            raise ForbiddenError("checking origin: pages of this origin may not send (http.cors.allowed_origins)")
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Vary": "Origin",
        }

    def preflight(self, head: Head, allow: str) -> Reply | None:
        """
        Return the answer when a browser asks beforehand; None: it does not. No credential is needed for asking.
        """
        if head.method != "OPTIONS" or "access-control-request-method" not in head.headers or self._config is None:
            return None
        headers = {
            "Access-Control-Allow-Methods": allow,
            "Access-Control-Allow-Headers": self._headers,
            "Access-Control-Max-Age": str(int(self._config.max_age_secs)),
        }
        return Reply(204, headers=headers)

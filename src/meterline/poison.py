"""
Bodies on which something met an unexpected exception (semantics.md 6): refused twice, then quarantined whole.
"""

import hashlib
import threading
from collections import OrderedDict
from typing import Final

CONDEMNED: Final = 3
MAX_BODIES: Final = 1_000


class Poison:
    """
    Counts exceptions per body, of the latest bodies that had any; empty in a healthy process. Any thread.

    ``kind``: what read the body, as the same bytes may be sent in several ways.
    """

    def __init__(self) -> None:
        self._met: OrderedDict[bytes, tuple[int, str]] = OrderedDict()
        self._lock = threading.Lock()

    def blame(self, kind: str, body: bytes, error: BaseException) -> int:
        """
        Count one more and return how many there were; from ``CONDEMNED`` on the body is to be quarantined.
        """
        key = _key(kind, body)
        with self._lock:
            count = self._met.pop(key, (0, ""))[0] + 1
            self._met[key] = (count, f"{type(error).__name__}: {error}"[:500])
            while len(self._met) > MAX_BODIES:
                self._met.popitem(last=False)
        return count

    def reason(self, kind: str, body: bytes) -> str | None:
        """
        Return the last exception's type and message; None for a body that is not condemned.
        """
        if not self._met:
            return None
        with self._lock:
            count, error = self._met.get(_key(kind, body), (0, ""))
        return error if count >= CONDEMNED else None


def _key(kind: str, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16, key=kind.encode()[:64]).digest()

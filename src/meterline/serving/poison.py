"""
Bodies on which a receiver's decoder met an unexpected exception (semantics.md 6): refused twice, then quarantined whole.
"""

import hashlib
import threading
from collections import OrderedDict

from meterline.encodings.rejects import Reject, rejects
from meterline.serving.seam import Decoded

CONDEMNED = 3
MAX_BODIES = 1_000
REASON = "internal_error"


class Poison:
    """
    Counts exceptions per body, of the latest bodies that had any; empty in a healthy process. Any thread.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def blame(self, kind: str, body: bytes) -> bool:
        """
        Count one more; True: it is condemned. ``kind``: what read it, as the same bytes may be sent in several ways.
        """
        key = hashlib.blake2b(body, digest_size=16, key=kind.encode()[:64]).digest()
        with self._lock:
            count = self._counts.pop(key, 0) + 1
            self._counts[key] = count
            while len(self._counts) > MAX_BODIES:
                self._counts.popitem(last=False)
        return count >= CONDEMNED


def quarantined_whole(body: bytes, error: BaseException) -> Decoded:
    """
    Return the whole body as one reject.
    """
    detail = f"decoding request: the decoder failed three times ({type(error).__name__})"
    return Decoded(rejects([Reject(REASON, detail, body, "raw")]))

"""
Bodies on which the engine met an unexpected exception (semantics.md 6): refused twice, then quarantined whole.
"""

import hashlib
from collections import OrderedDict

from meterline.intake.parcel import Parcel

CONDEMNED = 3
MAX_BODIES = 1_000


class Poison:
    """
    Counts exceptions per body, of the latest bodies that had any; empty in a healthy process.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, tuple[int, str]] = OrderedDict()

    def count(self, parcel: Parcel) -> int:
        """
        Return how often this body met an exception.
        """
        return self._counts[_key(parcel)][0] if self._counts and _key(parcel) in self._counts else 0

    def blame(self, parcel: Parcel, error: Exception) -> bool:
        """
        Count one more; True: this was the one that condemns it.
        """
        count = self.count(parcel) + 1
        self._counts[_key(parcel)] = (count, f"{type(error).__name__}: {error}"[:500])
        while len(self._counts) > MAX_BODIES:
            self._counts.popitem(last=False)
        return count == CONDEMNED

    def condemned(self, parcel: Parcel) -> bool:
        """
        Say whether this body is to be quarantined whole instead of applied.
        """
        return self.count(parcel) >= CONDEMNED

    def reason(self, parcel: Parcel) -> str:
        """
        Return the last exception's type and message.
        """
        return self._counts[_key(parcel)][1]


def _key(parcel: Parcel) -> bytes:
    return hashlib.blake2b(parcel.body, digest_size=16, person=parcel.fmt.value.encode()[:16]).digest()

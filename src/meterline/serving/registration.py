"""
One receiver's part of a listener, whatever it speaks.
"""

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from meterline.api import Sample

P = TypeVar("P")
P_contra = TypeVar("P_contra", contravariant=True)


class Shared(Protocol[P_contra]):
    """
    A listener that several receivers are on; ``P_contra`` is what it keeps of each.
    """

    endpoint: str

    def remove(self, part: P_contra, grace_secs: float, /) -> None:
        """
        Serve a receiver no longer; after the last one the port is closed.
        """

    def samples(self, part: P_contra, /) -> Iterable[Sample]:
        """
        Return what is counted of a receiver.
        """


class Registration(Generic[P]):
    """
    What a receiver holds of a listener.
    """

    def __init__(self, listener: Shared[P], part: P) -> None:
        self.listener = listener
        self._part = part

    @property
    def endpoint(self) -> str:
        """
        Return the address really bound.
        """
        return self.listener.endpoint

    def stop(self, grace_secs: float) -> None:
        """
        Serve this receiver no longer, let what is in flight finish; the last one to stop closes the port. Legal twice.
        """
        self.listener.remove(self._part, grace_secs)

    def samples(self) -> Iterable[Sample]:
        """
        Return what is counted of this receiver here; the first one on a port tells of the port, too.
        """
        return self.listener.samples(self._part)

"""
What a listener counts: per signal and request, never per point.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from meterline.api import Sample

UNITS: Final[Mapping[str, str]] = {
    "metrics": "metric_points",
    "logs": "log_records",
    "events": "events",
    "usage": "usage_records",
}
"""What is counted of each signal, as metric names have it."""


class SignalCounters:
    """
    The counters of one signal on one listener; any thread.

    ``accepted`` points are stored as usage or as nothing to bill, ``quarantined`` ones in quarantine; ``refused`` points were
    not stored, as far as the request was read that far.
    """

    def __init__(self, signal: str) -> None:
        """
        ``signal``: a key of ``UNITS``.
        """
        self._signal = signal
        self._unit = UNITS[signal]
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.accepted = 0
        self.quarantined = 0
        self.refused = 0
        self.wire_bytes = 0
        self.body_bytes = 0

    def received(self, wire_bytes: int) -> None:
        """
        Count the bytes of a request as they came.
        """
        with self._lock:
            self.wire_bytes += wire_bytes

    def stored(self, points: int, quarantined: int, body_bytes: int) -> None:
        """
        Count a request that was answered OK.
        """
        with self._lock:
            self.requests["partial_success" if quarantined else "ok"] += 1
            self.accepted += points - quarantined
            self.quarantined += quarantined
            self.body_bytes += body_bytes

    def refuse(self, outcome: str, points: int = 0) -> None:
        """
        Count a request that was not stored; ``outcome``: the gRPC code or the ``Cause``, in lower case.
        """
        with self._lock:
            self.requests[outcome] += 1
            self.refused += points

    def samples(self, labels: Mapping[str, str]) -> Iterable[Sample]:
        """
        Return all of it; ``labels`` name receiver and transport.
        """
        with self._lock:
            requests = dict(self.requests)
            points = (self.accepted, self.quarantined, self.refused)
            sizes = (self.wire_bytes, self.body_bytes)
        signal = {**labels, "signal": self._signal}
        for outcome, count in requests.items():
            yield Sample("meterline_receiver_requests", {**signal, "outcome": outcome}, count)
        for name, count in zip(("accepted", "quarantined", "refused"), points, strict=True):
            yield Sample(f"meterline_receiver_{name}_{self._unit}", labels, count)
        for name, count in zip(("received", "stored"), sizes, strict=True):
            yield Sample(f"meterline_receiver_{name}_bytes", signal, count)

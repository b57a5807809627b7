"""
Counts for telemetry, kept per request and never per point.
"""

from collections import defaultdict
from collections.abc import Iterable

from meterline.api.plugin import Sample
from meterline.api.receiver import Format
from meterline.intake.parcel import Parcel
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Applied

HOUR_NS = 3_600 * 10**9
SIGNALS = {
    Format.OTLP_METRICS: "metric_points",
    Format.TRANSCODED_METRICS: "metric_points",
    Format.OTLP_LOGS: "log_records",
    Format.USAGE: "usage_records",
    Format.REJECTS: "rejects",
}
OUTCOMES = ("recorded", "quarantined", "duplicate", "no_usage", "unmatched")


class Tally:
    """
    Written by the writer thread alone; telemetry may read a number that is one request old.
    """

    def __init__(self) -> None:
        self._points: dict[tuple[str, str, str], int] = defaultdict(int)
        self._reasons: dict[Reason, int] = defaultdict(int)
        self._undecodable: dict[str, int] = defaultdict(int)
        self._internal_errors = 0
        self._hour = (0, 0, 0)

    def stored(self, parcel: Parcel, outcome: Applied, now_ns: int) -> None:
        """
        Count an answered body.
        """
        for name in OUTCOMES:
            if count := getattr(outcome, name):
                self._points[parcel.receiver, SIGNALS[parcel.fmt], name] += count
        hour, points, future = self._hour if self._hour[0] == now_ns // HOUR_NS else (now_ns // HOUR_NS, 0, 0)
        if outcome.reasons:
            for reason, count in outcome.reasons.items():
                self._reasons[reason] += count
            future += outcome.reasons.get(Reason.TIME_IN_FUTURE, 0)
        self._hour = (hour, points + outcome.points, future)

    def undecodable(self, parcel: Parcel) -> None:
        """
        Count a body refused for good.
        """
        self._undecodable[parcel.receiver] += 1

    def internal_error(self) -> None:
        """
        Count an exception that nobody expected.
        """
        self._internal_errors += 1

    def clock_suspect(self, now_ns: int) -> bool:
        """
        Say whether most points of this hour were quarantined as being in the future.
        """
        hour, points, future = self._hour
        return hour == now_ns // HOUR_NS and 2 * future > points

    def samples(self) -> Iterable[Sample]:
        """
        Return points by receiver, signal and outcome, quarantined points by reason, and refused bodies.
        """
        for (receiver, signal, outcome), count in list(self._points.items()):
            labels = {"receiver": receiver, "signal": signal, "outcome": outcome}
            yield Sample("meterline_intake_points", labels, count)
        for reason, count in list(self._reasons.items()):
            yield Sample("meterline_intake_quarantined_points", {"reason": reason.code}, count)
        for receiver, count in list(self._undecodable.items()):
            yield Sample("meterline_intake_undecodable_requests", {"receiver": receiver}, count)
        yield Sample("meterline_intake_internal_errors", {}, self._internal_errors)

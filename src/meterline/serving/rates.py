"""
How much a principal may send a second: requests, bytes, points. Over all ports of a gateway.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from meterline.api import Clock, Limits, OverloadedError, Principal

_BURST_SECS = 1.0
_MAX_PRINCIPALS = 10_000
_ROUNDING = 1e-6  # who comes again when told to is not refused for the last digit


@dataclass(slots=True)
class _Bucket:
    """
    What may be spent now: fills with ``rate`` a second, up to one second's worth; below nothing is debt.
    """

    rate: float
    level: float
    filled_at: float

    def fill(self, now: float) -> None:
        self.level = min(self.level + (now - self.filled_at) * self.rate, max(self.rate * _BURST_SECS, 1.0))
        self.filled_at = now

    def secs_until(self, level: float) -> float:
        return max(0.0, (level - self.level) / self.rate)


_NAMES = ("max_requests_per_sec", "max_bytes_per_sec", "max_points_per_sec")


class Rates:
    """
    One set of buckets for each principal that has a rate; any thread.

    A request passes while there is no debt, however large it is, and what it turns out to hold is debited then, also when
    nothing can be made of it: so a rate holds in the long run, and no request is too large to ever pass.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[tuple[str, Limits], tuple[_Bucket | None, ...]] = OrderedDict()

    def admit(self, principal: Principal, nbytes: int = 0) -> None:
        """
        Let one request in, and debit its bytes, as far as they are known.

        :raises OverloadedError: over a rate; ``retry_after_secs`` is when it is not any more.
        """
        limits = principal.limits
        if not _rated(limits):
            return
        with self._lock:
            buckets = self._of(principal)
            for name, bucket, needed in zip(_NAMES, buckets, (1.0, 0.0, 0.0), strict=True):
                if bucket is not None and bucket.level < needed - _ROUNDING:
                    raise OverloadedError(
                        f"admitting request: {principal.name!r} is over its {name} ({bucket.rate:g})",
                        bucket.secs_until(needed),
                    )
            _debit(buckets, 1, nbytes, 0)

    def spend(self, principal: Principal, points: int, nbytes: int = 0) -> None:
        """
        Debit what a request that was let in turned out to hold.
        """
        if _rated(principal.limits):
            with self._lock:
                _debit(self._of(principal), 0, nbytes, points)

    def _of(self, principal: Principal) -> tuple[_Bucket | None, ...]:
        key = (principal.name, principal.limits)
        now = self._clock.monotonic()
        buckets = self._buckets.get(key)
        if buckets is None:
            buckets = self._buckets[key] = _buckets(principal.limits, now)
            if len(self._buckets) > _MAX_PRINCIPALS:  # tokens of a provider may name ever new ones
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        for bucket in buckets:
            if bucket is not None:
                bucket.fill(now)
        return buckets


def _rated(limits: Limits) -> bool:
    return not (limits.max_requests_per_sec is limits.max_bytes_per_sec is limits.max_points_per_sec is None)


def _buckets(limits: Limits, now: float) -> tuple[_Bucket | None, ...]:
    rates = (limits.max_requests_per_sec, limits.max_bytes_per_sec, limits.max_points_per_sec)
    return tuple(None if rate is None else _Bucket(rate, max(rate * _BURST_SECS, 1.0), now) for rate in rates)


def _debit(buckets: tuple[_Bucket | None, ...], *amounts: float) -> None:
    for bucket, amount in zip(buckets, amounts, strict=True):
        if bucket is not None:
            bucket.level -= amount

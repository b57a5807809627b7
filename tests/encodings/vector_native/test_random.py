"""
Whatever comes is made into bodies, or refused with an error that says so.
"""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from meterline._proto.vector.vector_pb2 import PushEventsRequest
from meterline.errors import TooLargeError, UndecodableError
from meterline.testing.vector_events import made, with_log, with_metric


@given(st.binary(max_size=300))
def test_any_bytes_are_bodies_or_refused(data: bytes) -> None:
    """
    Whatever comes is made into bodies, or refused with an error that says so.
    """
    with contextlib.suppress(UndecodableError, TooLargeError):
        made(data)


@given(st.data())
def test_mutated_requests_are_bodies_or_refused(data: st.DataObject) -> None:
    """
    A request with some bytes changed is made into bodies, or refused.
    """
    request = PushEventsRequest()
    with_log(request, customer="acme", count=3)
    with_metric(request, interval_ms=5).counter.value = 1
    with_metric(request).aggregated_histogram3.buckets.add(upper_limit=1.0, count=2)
    changed = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UndecodableError, TooLargeError):
        made(bytes(changed))

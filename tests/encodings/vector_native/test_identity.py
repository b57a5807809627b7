"""
Events have identities that survive retries: made of Vector's id, of what the event is, and of its place among equal ones.
"""

import hashlib

import pytest

from meterline._proto.vector.vector_pb2 import PushEventsRequest
from meterline.testing.vector_events import ID, attributes, logs, made, metrics, with_log, with_metric


def test_a_log_has_an_identity_of_its_own() -> None:
    """
    It comes of the source's id and the event: the same in every request, other for every other piece of one event.
    """
    alone, together = PushEventsRequest(), PushEventsRequest()
    with_log(alone, n=2)
    for n in (1, 2, 2):
        with_log(together, n=n)
    with_log(together, bytes(15) + b"\x01", n=2)

    uids = [attributes(record)["log.record.uid"] for record in logs(made(together))]
    assert len(set(uids)) == 4
    assert [attributes(record)["log.record.uid"] for record in logs(made(alone))] == [uids[1]]
    assert {attributes(record)["vector.source_event_id"] for record in logs(made(alone))} == {ID.hex()}


def test_an_event_keeps_an_id_of_its_own() -> None:
    """
    ``event.id`` or ``log.record.uid`` in the event is what the producer says, and goes before Vector's.
    """
    request = PushEventsRequest()
    with_log(request, **{"event.id": "e-1"})
    (record,) = logs(made(request))

    assert attributes(record)["log.record.uid"] == "e-1"


@pytest.mark.parametrize("source_event_id", [b"", bytes(16), b"short", bytes(17)], ids=["none", "nil", "short", "long"])
def test_without_an_id_there_is_no_identity(source_event_id: bytes) -> None:
    """
    Older versions send none; what is no UUID is none.
    """
    request = PushEventsRequest()
    with_log(request, source_event_id)
    with_metric(request, source_event_id).counter.value = 1
    bodies = made(request)

    assert attributes(logs(bodies)[0]) == {}
    assert list(metrics(bodies)[0].sum.data_points[0].exemplars) == []


def test_an_increment_without_a_window_has_an_identity() -> None:
    """
    It is a hash of the source's id and the point, so that pieces of one event are told apart, and repeats are not.
    """
    alone, together = PushEventsRequest(), PushEventsRequest()
    with_metric(alone).counter.value = 2
    for value in (1, 2, 2):
        with_metric(together).counter.value = value
    with_metric(together, tags_v1={"a": "b"}).counter.value = 2

    def ids(request: PushEventsRequest) -> list[bytes]:
        points = [metric.sum.data_points[0] for metric in metrics(made(request))]
        assert {point.start_time_unix_nano for point in points} == {0}
        return [point.exemplars[0].trace_id for point in points]

    assert len(set(ids(together))) == 4
    assert {len(found) for found in ids(together)} == {16}
    assert ids(alone) == [ids(together)[1]]


def test_the_same_request_makes_the_same_bodies_whatever_the_order_of_its_maps() -> None:
    """
    A resend may write its maps in another order; the bodies are the same.
    """
    one, other = PushEventsRequest(), PushEventsRequest()
    for request, names in ((one, "abcdef"), (other, "fedcba")):
        with_log(request, **dict.fromkeys(names, 1))
        with_metric(request, tags_v1=dict.fromkeys(names, "v")).counter.value = 1

    assert made(one) == made(other)


def test_the_bytes_of_a_known_event_are_fixed() -> None:
    """
    The body of this event never changes: identities and digests in ledgers depend on it.
    """
    request = PushEventsRequest()
    with_log(request, customer="acme")
    with_metric(request, namespace="app", tags_v1={"customer": "acme"}).counter.value = 1
    digest = hashlib.sha256(b"".join(body.data for body in made(request))).hexdigest()

    assert digest == "38ce50c400287dc07721e8d2a69b3cb2e101b580b6e004d8cc88483218cc2994"

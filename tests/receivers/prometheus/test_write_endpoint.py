"""
The write endpoint: media types, answers of both versions, types from config, metadata and name.
"""

from typing import Any

import pytest

from meterline.api import Answer, Format, Principal, Status, TooLargeError, UndecodableError
from meterline.serving.seam import Cause, Decoded, Head, Refusal, Request
from meterline.testing.remote_write import Written, histogram, request_v1, request_v2, sample

MS = 1_795_346_017_935
WRITTEN = "X-Prometheus-Remote-Write-{}-Written"


def head(media_type: str, proto: str | None = None) -> Head:
    """
    Return the head of a request of this type.
    """
    return Head("POST", "/api/v1/write", {}, {}, media_type, {} if proto is None else {"proto": proto})


def series(name: str, value: float = 1.0, **labels: str) -> Written:
    """
    Return a series with one sample.
    """
    return Written({"__name__": name, **labels}, [sample(value, MS)])


@pytest.mark.parametrize(
    ("media_type", "proto", "accepted"),
    [
        ("application/x-protobuf", None, True),
        ("application/x-protobuf", "prometheus.WriteRequest", True),
        ("application/x-protobuf", "io.prometheus.write.v2.Request", True),
        ("", None, True),
        ("application/x-protobuf", "io.prometheus.write.v3.Request", False),
        ("application/json", None, False),
        ("application/x-protobuf", "", False),
    ],
)
def test_the_two_versions_are_accepted(written: Any, media_type: str, proto: str | None, accepted: bool) -> None:  # noqa: FBT001
    """
    Another message than these two is 415, at which a sender may fall back to 1.0.
    """
    assert written().endpoint.accepts(head(media_type, proto)) is accepted


def test_version_1_is_answered_204_without_anything(written: Any) -> None:
    """
    Its senders know no headers.
    """
    site = written()
    request = site.request(request_v1([series("a_total")]))

    reply = site.endpoint.answer(request, site.endpoint.decode(request), Answer(Status.STORED, 1))

    assert (reply.status, reply.body, dict(reply.headers)) == (204, b"", {})


def test_version_2_is_told_what_is_written(written: Any) -> None:
    """
    All that is in the books: good samples, rejected ones, copies of an elected replica's, histograms; exemplars never.
    """
    site = written()
    pair = {"cluster": "eu"}
    site.send([series("a_total", __replica__="a", **pair)])
    mixed = [
        series("a_total", __replica__="b", **pair),
        series("a_total"),
        Written({"job": "nameless"}, [sample(1.0, MS)]),
        Written({"__name__": "d"}, histograms=[histogram(1, 1.0, MS)], exemplars=3),
    ]
    request = site.request(request_v2(mixed), v2=True)

    reply = site.endpoint.answer(request, site.endpoint.decode(request), Answer(Status.STORED, 4, 1))

    assert reply.status == 204
    assert reply.headers == {
        WRITTEN.format("Samples"): "3",
        WRITTEN.format("Histograms"): "1",
        WRITTEN.format("Exemplars"): "0",
        "X-Meterline-Quarantined": "1",
    }


@pytest.mark.parametrize("cause", list(Cause))
def test_refusals_say_why_and_in_version_2_that_nothing_is_written(written: Any, cause: Cause) -> None:
    """
    Never 500, never 429: Prometheus gives up at the latter.
    """
    endpoint = written().endpoint

    plain = endpoint.refuse(head("application/x-protobuf"), Refusal(cause, "why"))
    two = endpoint.refuse(head("application/x-protobuf", "io.prometheus.write.v2.Request"), Refusal(cause, "why"))

    assert plain.status == two.status == cause.value
    assert plain.status not in {429, 500}
    assert (plain.body, plain.headers) == (b"why\n", {})
    assert set(two.headers.values()) == {"0"}
    assert len(two.headers) == 3


def test_a_request_that_was_quarantined_whole_is_answered(written: Any) -> None:
    """
    The endpoint has not decoded it, and must answer it.
    """
    site = written()
    request = site.request(b"x", v2=True)

    assert site.endpoint.answer(request, Decoded(), Answer(Status.STORED, 1, 1)).status == 204


def test_the_tenant_is_a_resource_attribute(written: Any) -> None:
    """
    As checked by the listener.
    """
    site = written()

    (body,) = site.endpoint.decode(site.request(request_v1([series("a_total")]), tenant="acme")).bodies

    assert body.fmt is Format.TRANSCODED_METRICS
    assert b"tenant.id\x12\x06\x0a\x04acme" in body.data


@pytest.mark.parametrize("compressed", [True, False])
def test_a_body_without_content_encoding(written: Any, snappy: Any, *, compressed: bool) -> None:
    """
    Is a snappy block for senders that do not say so, and plain protobuf for those that do not compress.
    """
    site = written()
    body = request_v1([series("a_total")])
    request = Request(
        head("application/x-protobuf"), snappy(body) if compressed else body, site.request(b"").principal, "", 0
    )

    assert len(site.endpoint.decode(request).bodies) == 1


def test_a_block_that_grows_too_large_is_refused(written: Any, snappy: Any) -> None:
    """
    The size limit holds for bodies that do not say that they are compressed, too.
    """
    site = written(max_request_bytes=1000)
    request = Request(head(""), snappy(bytes(100_000)), site.request(b"").principal, "", 0)

    with pytest.raises(TooLargeError):
        site.endpoint.decode(request)


def test_what_is_made_of_a_request_is_bounded_by_the_limit_too(written: Any) -> None:
    """
    Each sample repeats the labels of its series.
    """
    site = written(max_request_bytes=10_000)
    wide = Written({"__name__": "a_total", "note": "x" * 4_000}, [sample(1.0, MS + n) for n in range(20)])

    with pytest.raises(TooLargeError, match="labels"):
        site.send([wide])


def test_broken_protobuf_is_refused(written: Any) -> None:
    """
    As a whole: nothing in it can be trusted.
    """
    site = written()

    with pytest.raises(UndecodableError):
        site.endpoint.decode(site.request(b"\x0a\x05ab"))


def test_types_come_from_the_config_first_then_metadata_then_the_name(written: Any) -> None:
    """
    What the operator says holds against all; a name of both lists is a gauge.
    """
    site = written(counters=["sold_*", "both"], gauges=["temp_total", "both"])
    metadata = [("open_count", 2), ("work", 3), ("sold_units", 2)]
    names = ["sold_units", "both", "temp_total", "open_count", "work_count", "calls_total", "what"]
    sent = [series(name) for name in names]

    site.send([], metadata=metadata)
    kinds = {point.name: point.kind for point in site.send(sent)}

    assert kinds == {
        "sold_units": "counter",
        "both": "gauge",
        "temp_total": "gauge",
        "open_count": "gauge",
        "work_count": "counter",
        "calls_total": "counter",
        "what": "unknown",
    }


def test_the_type_in_a_series_of_version_2_holds_for_it(written: Any) -> None:
    """
    It is closer to the series than what is remembered of a family of that name.
    """
    site = written()
    site.send([], metadata=[("a", 2)])

    (one,) = site.send([Written({"__name__": "a"}, [sample(1.0, MS)], metric_type=1)], v2=True)
    (two,) = site.send([Written({"__name__": "a"}, [sample(1.0, MS)])], v2=True)

    assert (one.kind, two.kind) == ("counter", "gauge")


def test_metadata_alone_is_remembered_and_changes_no_identity(written: Any) -> None:
    """
    A request without series, every minute: it has no body, and what is new in it survives a restart.
    """
    site = written()
    request = site.request(request_v1([], [("open_count", 2)]))

    decoded = site.endpoint.decode(request)
    assert list(decoded.bodies) == []
    assert len(decoded.remember) == 1
    site.store(request, decoded)
    assert site.endpoint.decode(request).remember == {}

    site.start()
    assert [point.kind for point in site.send([series("open_count")])] == ["gauge"]


def test_metadata_of_a_refused_request_is_remembered_with_the_next(written: Any) -> None:
    """
    Memory may know more than the disk, and does not forget that it does.
    """
    site = written()
    request = site.request(request_v1([], [("a", 1)]))

    first, second = site.endpoint.decode(request).remember, site.endpoint.decode(request).remember

    assert first == second != {}


def test_metadata_that_changes_holds_and_is_stored_even_if_the_old_one_is_stored_late(written: Any) -> None:
    """
    What memory knows and the disk does not is remembered with the next metadata.
    """
    site = written()
    old, new = (site.request(request_v1([], [("a", metric_type)])) for metric_type in (1, 2))
    first = site.endpoint.decode(old)
    site.endpoint.decode(new)

    site.store(old, first)
    assert [point.kind for point in site.send([series("a")])] == ["gauge"]
    site.store(new, site.endpoint.decode(new))

    assert list(site.disk.values()) == [b"2"]
    assert site.endpoint.decode(new).remember == {}


def test_a_family_that_left_and_came_back_stays(written: Any) -> None:
    """
    Its eviction was not stored, and must not be stored with the next one.
    """
    site = written(max_families=2)
    site.send([], metadata=[("a", 1), ("b", 1)])
    site.send([], metadata=[("c", 1)], stored=False)
    site.send([], metadata=[("a", 1)])
    site.send([], metadata=[("d", 1)])
    site.start()

    assert [site.send([series(name)])[0].kind for name in "abcd"] == ["counter", "unknown", "unknown", "counter"]


def test_nobody_says_what_another_principal_s_or_tenant_s_series_are(written: Any) -> None:
    """
    The same name may be a gauge there.
    """
    site = written()
    site.send([], metadata=[("a", 1)], principal=Principal("one"), tenant="t")

    said = [
        site.send([series("a")], principal=Principal(name), tenant=tenant)[0].kind
        for name, tenant in (("one", "t"), ("one", "u"), ("two", "t"))
    ]

    assert said == ["counter", "unknown", "unknown"]


def test_the_number_of_families_is_bounded(written: Any) -> None:
    """
    The one that was announced longest ago leaves, on disk too.
    """
    site = written(max_families=2)
    site.send([], metadata=[("a", 1), ("b", 1)])
    site.send([], metadata=[("a", 1)])
    site.send([], metadata=[("c", 1)])

    assert len(site.disk) == 2
    assert [site.send([series(name)])[0].kind for name in "abc"] == ["counter", "unknown", "counter"]
    site.start()
    assert len(site.endpoint.families) == 2


def test_names_that_are_too_long_are_not_remembered(written: Any) -> None:
    """
    Many of them would fill the memory, and the ledger.
    """
    site = written()
    long = {size: "n" * size for size in (1_024, 1_025)}

    site.send([], metadata=[(name, 1) for name in long.values()])

    assert [site.send([series(name)])[0].kind for name in long.values()] == ["counter", "unknown"]
    assert len(site.disk) == 1


def test_pairs_can_be_switched_off(written: Any) -> None:
    """
    Then the replica's label is like any other.
    """
    site = written(ha=None)
    both = [series("a_total", cluster="eu", __replica__=name) for name in "ab"]

    (body,) = site.endpoint.decode(site.request(request_v1(both))).bodies

    assert body.data.count(b"__replica__") == 2

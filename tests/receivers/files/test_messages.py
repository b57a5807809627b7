"""
What the Collector's file exporter writes when it is not lines: messages with their length before them, compressed or not.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from meterline._proto.meterline.intake.v1 import rejects_pb2
from meterline.api import Format
from meterline.receivers.files.decoding import decode
from meterline.receivers.files.lines import Line, is_framed, messages, pieces
from meterline.receivers.files.protobuf import message_bodies
from meterline.receivers.files.source import Source
from meterline.testing.file_bench import FileBench, names

PACKERS: dict[str, Any] = {"proto": bytes, "zstd": zstandard.compress}


def framed(*payloads: bytes) -> bytes:
    """Messages as the exporter writes them."""
    return b"".join(len(payload).to_bytes(4) + payload for payload in payloads)


def logs(name: str) -> bytes:
    """A request of one log record."""
    request = ExportLogsServiceRequest()
    log = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=1_795_341_600 * 10**9)
    log.body.kvlist_value.values.add(key="n").value.string_value = name
    return request.SerializeToString()


def metrics() -> bytes:
    """A request of one sum."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="calls", unit="1")
    metric.sum.data_points.add(time_unix_nano=5, as_int=1)
    return request.SerializeToString()


def spans() -> bytes:
    """A request of one span."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"a" * 16, span_id=b"b" * 8, name="GET", start_time_unix_nano=1, end_time_unix_nano=2
    )
    return request.SerializeToString()


def read(path: Path, offset: int = 0, *, to_the_end: bool = True, max_bytes: int = 10_000) -> list[Line]:
    """The messages of a file."""
    with Source(path) as source:
        content = source.content(offset)
        assert content is not None
        return list(pieces(content, source.place.head, offset, max_bytes, to_the_end=to_the_end))


@pytest.mark.parametrize("outer", [bytes, gzip.compress])
@pytest.mark.parametrize("packing", PACKERS)
def test_messages_from_any_on(tmp_path: Path, packing: str, outer: Any) -> None:
    """Messages are read from each on, with the offsets of all of them, also when their file was compressed later."""
    payloads = [PACKERS[packing](logs(str(number))) for number in range(20)]
    path = tmp_path / "file"
    path.write_bytes(outer(framed(*payloads)))
    whole = read(path)
    assert [line.data for line in whole] == [logs(str(number)) for number in range(20)]
    assert [line.end for line in whole] == [len(framed(*payloads[: number + 1])) for number in range(20)]
    assert [line.mark for line in whole] == [
        (line.end - len(payload), payload) for line, payload in zip(whole, payloads, strict=True)
    ]
    assert read(path, whole[6].end) == whole[7:]


def test_a_message_that_is_cut_off_waits(tmp_path: Path) -> None:
    """A message that is not all there is not given out; a file that will not grow is said to be cut off."""
    path = tmp_path / "file"
    whole = framed(logs("1"), logs("2"))
    for cut in (1, 3, 5, len(whole) // 2 + 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert [line.data for line in read(path, to_the_end=False)] == [logs("1")][: cut * 2 // len(whole)]
        with pytest.raises(EOFError, match="within a message"):
            read(path)


@pytest.mark.parametrize("packing", PACKERS)
def test_a_message_over_the_limit_is_cut(tmp_path: Path, packing: str) -> None:
    """A message that is longer than the limit, packed or unpacked, comes as its beginning; the next one is whole."""
    path = tmp_path / "file"
    path.write_bytes(framed(PACKERS[packing](logs("x" * 600_000)), PACKERS[packing](logs("2"))))
    cut, after = read(path, max_bytes=1000)
    assert (cut.cut, cut.data, cut.mark) == (True, logs("x" * 600_000)[:1000], (0, b""))
    assert (after.cut, after.data, after.start) == (False, logs("2"), cut.end)


def test_a_broken_frame_is_set_aside(tmp_path: Path) -> None:
    """A message whose compression is broken is a reject; its neighbours count."""
    path = tmp_path / "file"
    broken = bytearray(zstandard.compress(logs("x" * 100)))
    broken[-8:] = b"\xff" * 8
    path.write_bytes(framed(zstandard.compress(logs("1")), bytes(broken), zstandard.compress(logs("2"))))
    bodies = decode(read(path), "file", form="auto")
    assert sorted(body.fmt.name for body in bodies) == ["OTLP_LOGS", "OTLP_LOGS", "REJECTS"]


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (logs("1"), Format.OTLP_LOGS),
        (metrics(), Format.OTLP_METRICS),
        (spans(), Format.REJECTS),
        (b"\n\x05\x12\x03\x12\x01\x0a", Format.REJECTS),  # broken within
        (b"\x0f", Format.REJECTS),
        (ExportMetricsServiceRequest(resource_metrics=[{}]).SerializeToString(), Format.OTLP_METRICS),
    ],
)
def test_signals_are_told_apart(data: bytes, form: Format) -> None:
    """Metrics and logs are told apart by their fields; traces and what is broken are set aside."""
    (body,) = message_bodies(data)
    assert body.fmt is form
    if form is Format.REJECTS:
        (reject,) = rejects_pb2.Rejects.FromString(body.data).rejects
        assert (reject.item, reject.encoding) == (data, "protobuf")
    else:
        assert body.data == data


@pytest.mark.parametrize("field", ["observed_time_unix_nano", "severity_number", "severity_text", "event_name"])
def test_any_field_tells_a_log(field: str) -> None:
    """A log record is known without a time, too."""
    request = ExportLogsServiceRequest()
    log = request.resource_logs.add().scope_logs.add().log_records.add()
    setattr(log, field, "x" if field in {"severity_text", "event_name"} else 9)
    (body,) = message_bodies(request.SerializeToString())
    assert body.fmt is Format.OTLP_LOGS


def test_json_in_messages_is_read_as_lines_are(tmp_path: Path) -> None:
    """The exporter's JSON, when it compresses it, is what it is on a line."""
    record = {"timeUnixNano": "5", "body": {"stringValue": "x"}}
    data = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()
    path = tmp_path / "file"
    path.write_bytes(framed(zstandard.compress(data), b"", zstandard.compress(data)))
    assert [body.fmt for body in decode(read(path), "file", form="auto")] == [Format.OTLP_LOGS] * 2


@pytest.mark.parametrize("packing", PACKERS)
def test_a_file_of_messages_is_followed(tmp_path: Path, rng: Any, packing: str) -> None:
    """Messages that are appended in pieces are stored once each, across restarts and rotations."""
    path = tmp_path / "usage.log"
    bench = FileBench(tmp_path, rng)
    wanted: list[str] = []
    for step in range(4):
        for number in range(5):
            wanted.append(f"{step}.{number}")
            data = framed(PACKERS[packing](logs(wanted[-1])))
            with path.open("ab") as file:
                file.write(data[:-3])
                file.flush()
                bench.run(*wanted[:-1])
                file.write(data[-3:])
        bench.run(*wanted)
        if step == 1:
            path.rename(tmp_path / "usage-1.log")
    bench.run(*wanted)


@given(st.binary(max_size=60))
def test_texts_are_not_taken_for_messages(data: bytes) -> None:
    """What begins as a text, or with zeros, is lines."""
    assert not is_framed(b"{" + data)
    assert not is_framed(b"\n" + data)
    assert not is_framed(bytes(4) + data)
    assert not is_framed(b"\x00\x00\x01\x00x" + data)


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=50))
def test_no_bytes_break_the_reader(data: bytes, body: bytes) -> None:
    """Whatever a file holds, reading and decoding it ends, and every line is something or a reject."""

    class Content:
        def __init__(self) -> None:
            self.left = framed(body) + data

        def read(self, size: int) -> bytes:
            found, self.left = self.left[:size], self.left[size:]
            return found

    found = list(messages(Content(), 0, 100, to_the_end=False))
    assert found[0].data[:1] in {body[:1], b"{"} or body.startswith(b"\x28\xb5\x2f\xfd")
    for each in decode(found, "file", form="auto"):
        assert each.data
    assert names(b"", Format.OTLP_LOGS) == []

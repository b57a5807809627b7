"""
Size limits and compression: what passes, what never can, and how little memory a bomb gets.
"""

import gzip
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api import ConfigurationError, OverloadedError, TooLargeError, UndecodableError
from meterline.serving.admission import ByteBudget
from meterline.serving.codecs import decompress, encoding_of
from meterline.serving.grpc import listener as grpc_server

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
MIB = 1024 * 1024


def admitted(_nbytes: int) -> None:
    """
    Admit everything.
    """


def code_of(channel: grpc.Channel, body: bytes) -> tuple[Any, Any]:
    """
    Send, and return the code and whether the answer has details such as RetryInfo.
    """
    try:
        channel.unary_unary(METRICS)(body, timeout=50)
    except grpc.RpcError as error:
        metadata: Any = error.trailing_metadata()
        return error.code(), "grpc-status-details-bin" in dict(metadata)
    return grpc.StatusCode.OK, False


@pytest.mark.parametrize("compression", list(grpc.Compression))
@pytest.mark.parametrize("size", [0, 1, 100, 300_000, 3 * MIB + 7])
def test_bodies_arrive_whatever_their_compression(
    start: Any, connect: Any, intake: Any, compression: grpc.Compression, size: int
) -> None:
    """
    Plain, gzip and zlib requests, with sizes around the steps of inflation, reach the intake as the same bytes.
    """
    body = b"\x0a" + bytes(range(256)) * (size // 256) if size else b""
    channel = connect(start(), compression=compression)

    assert code_of(channel, body) == (grpc.StatusCode.OK, False)

    assert intake.data == [body]
    assert intake.in_flight == 0


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_the_limit_holds_before_and_after_decompression(
    start: Any, connect: Any, intake: Any, compression: grpc.Compression
) -> None:
    """
    A request of exactly the limit passes; one byte more is refused for good, without RetryInfo.
    """
    channel = connect(start(max_request_bytes=100_000), compression=compression)

    assert code_of(channel, b"\x0a" * 100_000) == (grpc.StatusCode.OK, False)
    assert code_of(channel, b"\x0a" * 100_001) == (grpc.StatusCode.RESOURCE_EXHAUSTED, False)

    assert [len(body) for body in intake.data] == [100_000]
    assert intake.in_flight == 0


@pytest.mark.parametrize("start_of_body", [b"\x1f\x8b", b"\x1f\x8b\x08\x00", b"\x78\x9c", b"\x78\x01abc"])
def test_what_only_looks_compressed_is_undecodable(start: Any, connect: Any, intake: Any, start_of_body: bytes) -> None:
    """
    A body that begins like gzip or zlib and is not is refused for good, and the intake never sees it.
    """
    code, _ = code_of(connect(start()), start_of_body)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert intake.bodies == []
    assert intake.in_flight == 0


def test_plain_bodies_with_odd_first_bytes_are_the_kernels_matter(start: Any, connect: Any, intake: Any) -> None:
    """
    What starts like neither passes untouched, however deep it is nested.
    """
    channel = connect(start())
    deep = b"".join(b"\x0a" + bytes([n]) for n in range(120, 20, -2))

    for body in (deep, b"\x1f\x00", b"x", b"\x78\x00", b"\xff" * 10):
        code_of(channel, body)

    assert intake.data == [deep, b"\x1f\x00", b"x", b"\x78\x00", b"\xff" * 10]


def inflate(packed: bytes, limit: int, admit: Callable[[int], None]) -> bytes:
    """
    Decompress as the listener does: by the first bytes.
    """
    encoding = encoding_of(packed)
    assert encoding is not None
    return decompress(encoding, (packed,), limit, admit)


@given(
    st.binary(max_size=5000),
    st.sampled_from([gzip.compress, zlib.compress]),
    st.integers(0, 6000),
)
def test_inflate_gives_back_what_was_deflated_or_says_too_large(
    body: bytes, compress: Callable[[bytes], bytes], limit: int
) -> None:
    """
    Inflation is the inverse of compression up to the limit, and says so beyond it.
    """
    packed = compress(body)
    assert encoding_of(packed) is not None

    if len(body) > limit:
        with pytest.raises(TooLargeError):
            inflate(packed, limit, admitted)
    else:
        assert inflate(packed, limit, admitted) == body


@given(st.binary(min_size=1, max_size=300), st.data())
def test_damaged_compressed_data_is_undecodable(body: bytes, data: st.DataObject) -> None:
    """
    Cut off anywhere, followed by anything, or with a changed check sum, it is refused and never half a body.
    """
    packed = gzip.compress(body)
    cut = packed[: data.draw(st.integers(2, len(packed) - 1))]
    followed = packed + data.draw(st.binary(min_size=1, max_size=400_000))
    changed = packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]

    for damaged in (cut, followed, changed):
        with pytest.raises(UndecodableError):
            inflate(damaged, 10_000, admitted)


def test_what_follows_a_compressed_body_is_undecodable_wherever_it_begins() -> None:
    """
    Bytes after the end are found within a slice of input, and when the end is the end of a slice.
    """
    step = 256 * 1024
    stored = next(packed for n in range(step, 0, -1) if len(packed := gzip.compress(bytes(n), 0)) == step)
    for packed in (gzip.compress(b"x"), stored):
        with pytest.raises(UndecodableError, match="something follows"):
            inflate(packed + bytes(600_000), MIB, admitted)


def test_inflate_stops_when_admission_refuses() -> None:
    """
    Each piece is admitted when it is there, so that a budget bounds what is inflated at once.
    """
    taken: list[int] = []

    def admit(nbytes: int) -> None:
        taken.append(nbytes)
        if sum(taken) > 3 * MIB:
            raise OverloadedError("full")

    with pytest.raises(OverloadedError):
        inflate(gzip.compress(bytes(64 * MIB)), 64 * MIB, admit)

    assert sum(taken) <= 4 * MIB


@pytest.mark.parametrize("where", ["listener", "intake"])
def test_over_the_byte_budget_senders_come_again(start: Any, connect: Any, intake: Any, where: str) -> None:
    """
    While the bytes in flight are used up, requests are UNAVAILABLE with RetryInfo; then they pass.
    """
    if where == "intake":
        intake.budget = 1000
    keys = {"max_request_bytes": 500, "max_in_flight_bytes": 1000} if where == "listener" else {}
    channel = connect(start(**keys))
    with intake.held():
        first = channel.unary_unary(METRICS).future(b"\x0a" * 500)
        second = channel.unary_unary(METRICS).future(b"\x0a" * 400)
        assert all(intake.submitted.acquire(timeout=20) for _ in range(2))
        assert code_of(channel, b"\x0a" * 101) == (grpc.StatusCode.UNAVAILABLE, True)
        assert code_of(channel, gzip.compress(b"\x0a" * 400)) == (grpc.StatusCode.UNAVAILABLE, True)
    assert (first.result(), second.result()) == (b"", b"")
    assert code_of(channel, b"\x0a" * 101) == (grpc.StatusCode.OK, False)
    assert intake.in_flight == 0


@given(st.lists(st.integers(0, 60), max_size=40))
def test_a_budget_never_exceeds_its_limit(sizes: list[int]) -> None:
    """
    Whatever is taken and given back, what is used is what is held, within the limit.
    """
    budget = ByteBudget(100)
    held: list[int] = []
    for size in sizes:
        if budget.take(size):
            held.append(size)
        elif held:
            budget.give(held.pop(0))

        assert budget.used == sum(held) <= 100


def test_a_request_of_64_mib_passes(start: Any, connect: Any, intake: Any, rng: random.Random) -> None:
    """
    The default limit takes the largest request that OTLP recommends to accept, plain.
    """
    body = b"\x0a" + rng.randbytes(MIB) * 63
    channel = connect(start())

    assert code_of(channel, body) == (grpc.StatusCode.OK, False)
    assert code_of(channel, bytes(64 * MIB + 1)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, False)

    assert intake.data == [body]


BOMB_SERVER = """
import resource, sys
from meterline.testing.fake_intake import FakeIntake
from meterline.api import ReceiverContext, SystemClock
from meterline.receivers.otlp import OtlpReceiver
import structlog
intake = FakeIntake()
config = OtlpReceiver.Config.model_validate({"type": "otlp", "grpc": {"endpoint": "127.0.0.1:0", "max_request_bytes": 4194304}})
receiver = OtlpReceiver("otlp", config, ReceiverContext(intake, SystemClock(), structlog.get_logger()))
receiver.start()
print(receiver.endpoints["grpc"], flush=True)
for _ in sys.stdin:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
"""


def test_a_gzip_bomb_gets_little_memory(tmp_path: Path) -> None:
    """
    1 MB of gzip that inflates to 1 GB is refused for good, and takes the process less than 32 MiB more.
    """
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(1000)) + packer.flush()
    script = tmp_path / "server.py"
    script.write_text(BOMB_SERVER)
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def peak() -> int:
            print(file=server.stdin, flush=True)
            return int(server.stdout.readline()) * 1024

        with grpc.insecure_channel(server.stdout.readline().strip()) as channel:
            assert code_of(channel, b"\x0a\x00") == (grpc.StatusCode.OK, False)
            assert code_of(channel, bytes(4 * MIB)) == (grpc.StatusCode.OK, False)
            before = peak()
            codes = [code_of(channel, bomb) for _ in range(3)]
            growth = peak() - before
        server.stdin.close()

    assert codes == [(grpc.StatusCode.RESOURCE_EXHAUSTED, False)] * 3
    assert growth < 32 * MIB


@pytest.mark.parametrize("version", ["1.60.1", "1.82.0", "1.83.9", "0.99"])
def test_an_old_grpcio_is_refused(version: str, monkeypatch: pytest.MonkeyPatch, start: Any) -> None:
    """
    Versions that inflate a bomb before they check its size do not start.
    """
    monkeypatch.setattr(grpc, "__version__", version)

    with pytest.raises(ConfigurationError, match=rf"grpcio {version} .* install grpcio>=1\.84"):
        start()


@pytest.mark.parametrize("version", ["1.84.0", "1.85.1", "1.100.0rc1", "2.0"])
def test_a_safe_grpcio_starts(version: str) -> None:
    """
    The check compares numbers, not text.
    """
    grpc_server.require_grpcio(version)

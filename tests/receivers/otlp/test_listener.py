"""
The listener as a whole: addresses, health, reflection, drain, connections, threads, and calls that come all at once.
"""

import ctypes
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from pydantic import ValidationError

from meterline.api import Answer, ConfigurationError, Format, Status
from meterline.receivers.otlp import OtlpReceiver
from meterline.serving.config import GrpcListenerConfig as GrpcConfig
from meterline.serving.grpc import listener as grpc_server
from meterline.serving.pool import DaemonPool
from meterline.testing.process import wait_until

RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
}  # the core says either to a call that meets its end
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
METRICS_SERVICE = "opentelemetry.proto.collector.metrics.v1.MetricsService"
LOGS_SERVICE = "opentelemetry.proto.collector.logs.v1.LogsService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health(channel: grpc.Channel, service: str = "") -> int:
    """
    Ask for the health of a service.
    """
    stub = health_pb2_grpc.HealthStub(channel)
    status: int = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20).status
    return status


def test_a_busy_port_is_a_configuration_error_that_names_the_address(start: Any) -> None:
    """
    A second listener on the address is refused, with the reason and a remedy, also when the first is of our own kind.
    """
    address = start().endpoints["grpc"]

    with pytest.raises(
        ConfigurationError, match=rf"binding receiver 'otlp' to {address}: address already in use; stop"
    ):
        start(endpoint=address)


def test_an_unknown_address_is_a_configuration_error(start: Any) -> None:
    """
    An address that is not of this machine is an error at start.
    """
    with pytest.raises(ConfigurationError, match=r"binding receiver 'otlp' to 192\.0\.2\.1:4317: cannot assign"):
        start(endpoint="192.0.2.1:4317", insecure=True)


@pytest.mark.parametrize(
    "endpoint", ["", "4317", "localhost", "localhost:port", "localhost:70000", "::1:4317", "unix:"]
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    """
    An endpoint must have a host and a port, or be a socket's path.
    """
    with pytest.raises(ValidationError, match="write host:port"):
        GrpcConfig(endpoint=endpoint)


def test_a_unix_socket_serves(start: Any, connect: Any, tmp_path: Path) -> None:
    """
    A sender on the same machine may use a socket in the file system.
    """
    receiver = start(endpoint=f"unix:{tmp_path}/otlp.sock")

    assert receiver.endpoints == {"grpc": f"unix:{tmp_path}/otlp.sock"}
    assert connect(receiver).unary_unary(METRICS)(b"", timeout=20) == b""


def test_the_defaults_are_those_of_the_reference() -> None:
    """
    The listener binds to localhost and has the documented limits.
    """
    config = OtlpReceiver.Config.model_validate({"type": "otlp", "grpc": {}}).grpc

    assert config.endpoint == "127.0.0.1:4317"
    assert (config.max_request_bytes, config.max_in_flight_bytes) == (67_108_864, 268_435_456)
    assert (config.max_connections, config.max_concurrent_streams) == (1024, 128)
    assert (config.max_connection_age_secs, config.tls, config.auth) == (0, None, None)


def test_a_budget_that_the_largest_request_cannot_pass_is_refused() -> None:
    """
    A request that could never be admitted would be sent for ever.
    """
    with pytest.raises(ValidationError, match="at least twice max_request_bytes"):
        GrpcConfig(max_request_bytes=100, max_in_flight_bytes=199)


def test_health_follows_the_intake(start: Any, connect: Any, intake: Any) -> None:
    """
    SERVING while the intake accepts, NOT_SERVING while it does not, for the whole and for each service.
    """
    channel = connect(start())
    services = ("", METRICS_SERVICE, LOGS_SERVICE)

    assert [health(channel, service) for service in services] == [SERVING] * 3
    intake.ready = False
    assert [health(channel, service) for service in services] == [NOT_SERVING] * 3
    with pytest.raises(grpc.RpcError) as caught:
        health(channel, "no.such.Service")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_those_who_watch_health_are_told(start: Any, connect: Any, intake: Any) -> None:
    """
    A watch gets each change, the last one when the listener drains.
    """
    receiver = start()
    watch = health_pb2_grpc.HealthStub(connect(receiver)).Watch(health_pb2.HealthCheckRequest(), timeout=20)

    assert next(watch).status == SERVING
    intake.ready = False
    assert next(watch).status == NOT_SERVING
    intake.ready = True
    assert next(watch).status == SERVING
    receiver.stop(1)
    assert next(watch).status == NOT_SERVING


def test_health_needs_no_key(start: Any, connect: Any) -> None:
    """
    A probe has no credential.
    """
    assert health(connect(start(auth={"keys": [{"name": "a", "token": "t"}]}))) == SERVING


def test_reflection_describes_the_services(start: Any, connect: Any) -> None:
    """
    A generic client finds the services and the descriptor of each, with its Export method.
    """
    stub = reflection_pb2_grpc.ServerReflectionStub(connect(start()))
    request = reflection_pb2.ServerReflectionRequest
    asked = [request(list_services=""), *(request(file_containing_symbol=s) for s in (METRICS_SERVICE, LOGS_SERVICE))]

    listed, *files = list(stub.ServerReflectionInfo(iter(asked), timeout=20))

    names = {service.name for service in listed.list_services_response.service}
    assert {METRICS_SERVICE, LOGS_SERVICE, "grpc.health.v1.Health"} <= names
    for answer in files:
        descriptor = descriptor_pb2.FileDescriptorProto()
        descriptor.ParseFromString(answer.file_descriptor_response.file_descriptor_proto[0])
        assert [method.name for service in descriptor.service for method in service.method] == ["Export"]


def test_stop_finishes_what_is_in_flight_and_takes_nothing_new(start: Any, connect: Any, intake: Any) -> None:
    """
    While draining, new calls and connections are refused retryably, and the call in flight has its answer.
    """
    receiver = start()
    channel = connect(receiver)
    with intake.held():
        first = channel.unary_unary(METRICS).future(b"\x0a\x00", timeout=60)
        assert intake.submitted.acquire(timeout=20)
        stopping = threading.Thread(target=receiver.stop, args=(60,), daemon=True)
        stopping.start()
        wait_for(lambda: refused(receiver))
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(METRICS)(b"\x0a\x01", timeout=20)

    assert caught.value.code() in RETRYABLE
    assert first.result(timeout=20) == b""
    stopping.join(20)
    assert not stopping.is_alive()
    assert intake.data == [b"\x0a\x00"]


def test_stop_ends_after_the_grace(start: Any, connect: Any, intake: Any) -> None:
    """
    A call that has no answer after the grace is cancelled, so that the sender comes again.
    """
    receiver = start()
    with intake.held():
        call = connect(receiver).unary_unary(METRICS).future(b"\x0a\x00", timeout=60)
        assert intake.submitted.acquire(timeout=20)
        receiver.stop(0.3)
        with pytest.raises(grpc.RpcError) as caught:
            call.result(timeout=20)
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def wait_for(holds: Callable[[], bool]) -> None:
    """
    Wait until it holds; fail after 20 s.
    """
    wait_until(holds, 20, "what the test expects")


def refused(receiver: OtlpReceiver) -> bool:
    """
    Say whether new connections are refused.
    """
    host, _, port = receiver.endpoints["grpc"].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return True
    return False


def test_connections_over_the_cap_are_closed(start: Any, connect: Any) -> None:
    """
    With two connections open a third gets nothing, and the first two go on.
    """
    receiver = start(max_connections=2)
    channels = [connect(receiver) for _ in range(3)]

    for channel in channels[:2]:
        assert channel.unary_unary(METRICS)(b"", timeout=20) == b""
    with pytest.raises(grpc.RpcError) as caught:
        channels[2].unary_unary(METRICS)(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    for channel in channels[:2]:
        assert channel.unary_unary(METRICS)(b"", timeout=20) == b""


def test_an_old_connection_is_closed_and_its_sender_comes_again(start: Any, connect: Any) -> None:
    """
    After its age a connection is ended between calls, and the next call finds a new one.
    """
    receiver = start(max_connection_age_secs=0.5)
    channel = connect(receiver)
    states: list[grpc.ChannelConnectivity] = []
    channel.subscribe(states.append)

    assert channel.unary_unary(METRICS)(b"", timeout=20) == b""
    wait_for(lambda: grpc.ChannelConnectivity.IDLE in states[1:])
    assert channel.unary_unary(METRICS)(b"", timeout=20) == b""


def test_the_options_of_the_core_follow_the_configuration() -> None:
    """
    Every limit of the configuration reaches the core, in its units.
    """
    config = GrpcConfig.model_validate(
        {
            "max_request_bytes": 1000,
            "max_connections": 7,
            "max_concurrent_streams": 8,
            "max_connection_age_secs": 1.5,
            "keepalive": {"time_secs": 2.5, "timeout_secs": 3},
        }
    )

    options = dict(grpc_server.options(config))

    assert options["grpc.max_receive_message_length"] == 1000
    assert options["grpc.max_allowed_incoming_connections"] == 7
    assert options["grpc.max_concurrent_streams"] == 8
    assert options["grpc.max_connection_age_ms"] == 1500
    assert (options["grpc.keepalive_time_ms"], options["grpc.keepalive_timeout_ms"]) == (2500, 3000)
    assert (
        options["grpc.server.max_pending_requests"]
        == options["grpc.server.max_pending_requests_hard_limit"]
        == 2**31 - 1
    )
    assert "grpc.max_connection_age_ms" not in dict(grpc_server.options(GrpcConfig()))


def test_the_sdk_exporters_get_through(start: Any, intake: Any) -> None:
    """
    The OpenTelemetry SDK's metric exporter, gzipped and with a key, is answered, and its counter is in the body.
    """
    receiver = start(auth={"keys": [{"name": "app", "token": "t"}]})
    exporter = OTLPMetricExporter(
        endpoint=f"http://{receiver.endpoints['grpc']}",
        headers={"authorization": "Bearer t"},
        compression=grpc.Compression.Gzip,
    )
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)])
    provider.get_meter("test").create_counter("calls").add(7, {"customer.id": "acme"})

    assert provider.force_flush(10_000)
    provider.shutdown()

    request = ExportMetricsServiceRequest.FromString(intake.data[0])
    metric = request.resource_metrics[0].scope_metrics[0].metrics[0]
    assert (metric.name, metric.sum.data_points[0].as_int) == ("calls", 7)
    assert {body.fmt for body in intake.bodies} == {Format.OTLP_METRICS}


def test_the_sdk_comes_again_after_a_refusal_for_now(start: Any, intake: Any) -> None:
    """
    The SDK's log exporter takes our UNAVAILABLE for what it is: the same request comes again, and then it is content.
    """
    receiver = start()
    exporter = OTLPLogExporter(endpoint=f"http://{receiver.endpoints['grpc']}", insecure=True)
    intake.answer = Answer(Status.RETRY)

    def relent() -> None:
        wait_for(lambda: len(intake.bodies) == 1)
        intake.answer = Answer(Status.STORED)

    threading.Thread(target=relent, daemon=True).start()
    result = exporter.export([])
    exporter.shutdown()

    assert result.name == "SUCCESS"
    assert len(intake.bodies) == 2


BURST = """
import sys, grpc
calls = int(sys.argv[2])
options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
channels = [grpc.insecure_channel(sys.argv[1], options=options) for _ in range(calls // 100)]
stubs = [channel.unary_unary("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export") for channel in channels]
for stub in stubs:
    stub(b"", timeout=30)
print("ready", flush=True)
sys.stdin.readline()
futures = [stub.future(bytes([10, 0]), timeout=40) for _ in range(100) for stub in stubs]
print("sent", flush=True)
codes = {}
for future in futures:
    code = future.code().name
    codes[code] = codes.get(code, 0) + 1
print(codes, flush=True)
"""


def burst(receiver: OtlpReceiver, folder: Path, calls: int) -> dict[str, int]:
    """
    Have another process make many calls at once while this one holds the GIL; return how they ended.
    """
    script = folder / "burst.py"
    script.write_text(BURST)
    command = [sys.executable, str(script), receiver.endpoints["grpc"], str(calls)]
    hold_gil = ctypes.PyDLL(None).usleep
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        print(file=client.stdin, flush=True)
        held_since_sent = 0
        while held_since_sent < 4:  # its core goes on sending after it has said so
            hold_gil(500_000)
            held_since_sent += bool(select.select([client.stdout], [], [], 0.001)[0])
        assert client.stdout.readline() == "sent\n"
        codes: dict[str, int] = eval(client.stdout.readline())  # noqa: S307  # our own script's
    return codes


@pytest.mark.slow
def test_two_thousand_calls_at_once_are_all_answered_while_the_gil_is_held(
    start: Any, intake: Any, tmp_path: Path
) -> None:
    """
    The core cancels no call that waits for Python to come round.
    """
    assert burst(start(), tmp_path, 2000) == {"OK": 2000}


@pytest.mark.slow
def test_at_the_cores_own_limits_such_calls_are_lost(
    start: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    Without our options the same burst fails, so the test above can.
    """
    ours = grpc_server.options
    monkeypatch.setattr(
        grpc_server, "options", lambda config: [pair for pair in ours(config) if "pending" not in pair[0]]
    )

    codes = burst(start(), tmp_path, 2000)

    assert codes.get("OK", 0) < 2000


def test_calls_that_wait_for_the_disk_do_not_hold_up_others(start: Any, connect: Any, intake: Any) -> None:
    """
    With a hundred requests waiting for their commit, another one is taken in and health is answered.
    """
    channel = connect(start())
    with intake.held():
        calls = [channel.unary_unary(METRICS).future(b"\x0a\x00", timeout=50) for _ in range(100)]
        assert all(intake.submitted.acquire(timeout=20) for _ in calls)
        assert health(channel) == SERVING
    assert [call.result(timeout=20) for call in calls] == [b""] * 100


def test_senders_that_keep_their_request_back_do_not_stop_others(
    start: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Calls without a body hold threads only until somebody else needs one; they end as one that is worth repeating.
    """
    monkeypatch.setattr(grpc_server, "MAX_THREADS", 3)
    monkeypatch.setattr(grpc_server, "STALLED_SECS", 0.2)
    receiver = start()
    stalling, release = connect(receiver), threading.Event()

    def never() -> Iterator[bytes]:
        release.wait(30)
        yield from ()

    stalled = [stalling.stream_unary(METRICS).future(never(), timeout=30) for _ in range(3)]
    wait_for(lambda: len(receiver._open["grpc"].listener._calls.inbox._reading) == 3)

    assert connect(receiver).unary_unary(METRICS)(b"", timeout=20) == b""
    assert {call.code() for call in stalled} == {grpc.StatusCode.CANCELLED}
    release.set()


def test_a_stalled_call_is_left_alone_while_there_are_threads(start: Any, connect: Any) -> None:
    """
    A slow sender is no offence: its call goes on as long as nobody needs its thread.
    """
    receiver = start()
    go = threading.Event()

    def slowly() -> Iterator[bytes]:
        go.wait(20)
        yield b"\x0a\x00"

    call = connect(receiver).stream_unary(METRICS).future(slowly(), timeout=30)
    inbox = receiver._open["grpc"].listener._calls.inbox
    wait_for(lambda: len(inbox._reading) == 1)

    assert inbox.cancel_stalled(60) == 0
    go.set()
    assert call.result(timeout=20) == b""
    assert inbox._reading == {}


def test_a_call_without_a_message_is_refused_for_good(start: Any, connect: Any, intake: Any) -> None:
    """
    A call that ends without a message is no request.
    """
    with pytest.raises(grpc.RpcError) as caught:
        connect(start()).stream_unary(METRICS)(iter(()), timeout=20)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert intake.bodies == []


def test_a_pool_runs_jobs_on_as_many_threads_as_it_needs() -> None:
    """
    Jobs that wait for each other get threads up to the limit; one after the other they share one.
    """
    pool = DaemonPool("test", 5)
    for number in range(20):
        assert pool.submit(lambda n=number: n + 1).result(20) == number + 1
        wait_for(lambda: pool._idle == pool.threads)
    assert pool.threads == 1

    meeting = threading.Barrier(5)
    futures = [pool.submit(meeting.wait, 20) for _ in range(5)]
    assert sorted(future.result(20) for future in futures) == [0, 1, 2, 3, 4]
    assert pool.threads == 5
    failed = pool.submit(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failed.result(20)
    pool.shutdown()
    pool.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(print)


def test_a_pool_lives_when_the_machine_gives_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A thread that cannot be started is no error: the threads that there are take the job.
    """
    pool = DaemonPool("test", 5)
    started, release = threading.Event(), threading.Event()
    busy = pool.submit(lambda: (started.set(), release.wait(20))[1])
    assert started.wait(20)
    monkeypatch.setattr(threading.Thread, "start", lambda _self: (_ for _ in ()).throw(RuntimeError("no more")))

    queued = pool.submit(lambda: "done")

    assert (pool.waiting, pool.threads) == (1, 1)
    release.set()
    assert busy.result(20) is True
    assert queued.result(20) == "done"
    pool.shutdown()


def test_waiting_calls_do_not_keep_the_process_alive(tmp_path: Path) -> None:
    """
    A process with a call that never gets its answer ends when its main thread does.
    """
    script = tmp_path / "exit.py"
    script.write_text(
        "import threading\n"
        "from meterline.serving.pool import DaemonPool\n"
        "running = threading.Event()\n"
        "DaemonPool('x', 2).submit(lambda: (running.set(), threading.Event().wait()))\n"
        "running.wait()\n"
    )

    done = subprocess.run([sys.executable, str(script)], timeout=20, check=False)

    assert done.returncode == 0


def test_start_and_stop_leave_nothing_open(start: Any, connect: Any, no_files_left: None) -> None:
    """
    A listener that has served gives back its sockets.
    """
    for _ in range(3):
        receiver = start()
        channel = connect(receiver)
        assert channel.unary_unary(METRICS)(b"", timeout=20) == b""
        channel.close()
        receiver.stop(1)


def test_many_clients_share_a_few_threads(start: Any, connect: Any, intake: Any) -> None:
    """
    Clients on connections of their own are all answered, and threads do not grow with requests.
    """
    receiver = start()

    def send(_number: int) -> bool:
        channel = connect(receiver)
        return all(channel.unary_unary(METRICS)(b"\x0a\x00", timeout=20) == b"" for _ in range(20))

    with ThreadPoolExecutor(8) as clients:
        assert all(clients.map(send, range(8)))

    assert len(intake.bodies) == 160
    threads = next(s.value for s in receiver.samples() if s.name == "meterline_receiver_threads")
    assert threads <= 16

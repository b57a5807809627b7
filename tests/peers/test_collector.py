"""
A real OpenTelemetry Collector between senders and a gateway: in good weather, cut off, refused, killed, with the
gateway killed.

The Collector keeps its queue on disk; its consumers run side by side and change the order of requests, which changes
no sum. All of it over gRPC, over HTTP with protobuf, and over HTTP with JSON.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from meterline.testing.evidence import check_balance
from meterline.testing.peers import Collector, agent_config
from meterline.testing.process import free_port, wait_until
from meterline.testing.proxy import Proxy, proxied
from meterline.testing.sdks import SdkSenders
from meterline.testing.sender import OtlpClient, Sender, join_all
from meterline.testing.site import Site
from meterline.testing.verdict import sums_sent
from meterline.testing.workload import Workload

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]


class Road:
    """
    Senders -> Collector -> proxy -> gateway, all running.
    """

    def __init__(self, site: Site, proxy: Proxy, agent: Collector, port: int) -> None:
        self.site = site
        self.proxy = proxy
        self.agent = agent
        self.target = f"127.0.0.1:{port}"
        self.senders: list[Sender] = []

    def send(self) -> None:
        """
        Start two verifiable senders.
        """
        self.senders = [Sender(Workload(7, f"p{index}"), self.target, pause_secs=0.01) for index in range(2)]
        for sender in self.senders:
            sender.start()

    def stop(self) -> None:
        """
        Let the senders end with their last request answered by the Collector.
        """
        for sender in self.senders:
            sender.finish()
        join_all(self.senders, 60)

    def advance(self, requests: int) -> None:
        """
        Wait until the Collector has answered so many more requests.
        """
        goal = self._answered() + requests
        wait_until(lambda: self._answered() >= goal, 30, "the senders to be answered")

    def _answered(self) -> int:
        return sum(len(sender.journal.answered()) for sender in self.senders)

    def settle(self) -> None:
        """
        Stop the senders; the sums must be what they sent, exactly, and the balance must hold.
        """
        self.stop()
        self.site.settle(sums_sent([sender.journal for sender in self.senders]), timeout_secs=60)
        check_balance(self.site.folder)


ENCODINGS = {"grpc": "", "http-protobuf": "proto", "http-json": "json"}
"""The Collector's exporters: what its ``encoding`` is, "" for the one of gRPC."""


@pytest.fixture(params=ENCODINGS)
def road(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Road]:
    """
    Start a gateway, a proxy before it, and a Collector before that, which sends by one protocol or another.
    """
    site = Site(tmp_path, http=True)
    encoding = ENCODINGS[request.param]
    with site.gateway, proxied("127.0.0.1", site.http_port if encoding else site.port) as proxy:
        config, grpc_port, http_port = agent_config(tmp_path, proxy.endpoint, encoding=encoding)
        with Collector(config, tmp_path, [grpc_port, http_port]) as agent:
            site.gateway.start()
            agent.start()
            yield Road(site, proxy, agent, grpc_port)


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("batch", [False, True], ids=["as-sent", "batched"])
def test_sdks_through_a_collector(tmp_path: Path, site: Site, *, batch: bool, encoding: str) -> None:
    """
    What both SDKs count arrives exactly through a Collector, also when its batch processor merges requests.
    """
    target = site.http_target if encoding else site.target
    config, grpc_port, http_port = agent_config(tmp_path, target, batch=batch, encoding=encoding)
    with Collector(config, tmp_path, [grpc_port, http_port]) as agent:
        agent.start()
        target = f"127.0.0.1:{grpc_port}"
        with SdkSenders(target, "c", 4, "CUMULATIVE") as cumulative, SdkSenders(target, "d", 4, "DELTA") as delta:
            site.settle({**cumulative.finish(), **delta.finish()})


def test_good_weather(road: Road) -> None:
    """
    All kinds of sums and logs arrive exactly.
    """
    road.send()
    road.advance(100)
    road.settle()


def test_network_cut(road: Road) -> None:
    """
    The network between Collector and gateway is cut, held and cut again while senders go on; nothing is lost or
    doubled.
    """
    road.send()
    for _ in range(2):
        road.advance(15)
        road.proxy.cut()
        road.advance(15)
        road.proxy.heal()
        road.proxy.hold()
        road.advance(15)
        road.proxy.cut()
        road.proxy.heal()
    road.settle()
    assert road.proxy.connections > 1


def test_gateway_refuses(road: Road) -> None:
    """
    A gateway that refuses for now is asked again, not given up: here its quarantine quota is used up, then raised.
    """
    site = road.site
    site.gateway.kill()
    site.configure(ledger="quarantine_max_bytes: 1")
    site.gateway.start()
    client = OtlpClient(site.target)
    poison = Workload(1, "poison", clock=lambda: 1_000_000_000)  # 1970: too far in the past
    assert client.send("metrics", poison.cumulative().body) > 0
    client.close()
    road.send()
    road.advance(40)
    road.stop()
    wait_until(lambda: "Will retry" in road.agent.output(), 30, "the Collector to be refused")
    assert site.file() == []
    site.gateway.terminate()
    site.configure()
    site.gateway.start()
    road.settle()


def test_gateway_killed(road: Road) -> None:
    """
    The gateway is killed three times under load and started again.
    """
    road.send()
    for _ in range(3):
        road.advance(25)
        road.site.gateway.kill()
        threading.Event().wait(0.2)
        road.site.gateway.start()
    road.settle()


def test_collector_killed_with_a_full_queue(road: Road) -> None:
    """
    The Collector is killed while the network is cut and its queue on disk is full; started again, it delivers what
    it took.
    """
    road.proxy.cut()
    road.send()
    for _ in range(2):
        road.advance(30)
        road.agent.kill()
        road.agent.start()
    road.stop()
    assert road.site.file() == []
    road.proxy.heal()
    road.settle()


COMPRESSIONS = ("none", "gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4")


def fan_out(folder: Path, target: str) -> tuple[Path, int]:
    """
    Write the config of a Collector that sends all it gets once with each compression; return it and its OTLP/gRPC port.
    """
    port = free_port()
    once = "retry_on_failure: {enabled: false}"
    exporters = [f"otlp_http/{name}" for name in COMPRESSIONS]
    path = folder / "fan-out.yaml"
    path.write_text(
        "\n".join(
            [
                f"receivers: {{otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{port}}}}}}}}}",
                "exporters:",
                *(
                    f"  otlp_http/{name}: {{endpoint: http://{target}, compression: {name}, {once}}}"
                    for name in COMPRESSIONS
                ),
                "service:",
                "  telemetry: {metrics: {level: none}}",
                "  pipelines:",
                f"    metrics: {{receivers: [otlp], exporters: [{', '.join(exporters)}]}}",
                f"    logs: {{receivers: [otlp], exporters: [{', '.join(exporters)}]}}",
            ]
        ),
        encoding="utf-8",
    )
    return path, port


def test_every_compression_of_the_collector(tmp_path: Path, site: Site) -> None:
    """
    What the Collector compresses in each way that it knows is understood: none is refused, and all say the same.
    """
    config, port = fan_out(tmp_path, site.http_target)
    with Collector(config, tmp_path, [port]) as agent:
        agent.start()
        with SdkSenders(f"127.0.0.1:{port}", "z", 3, "DELTA") as senders:
            expected = senders.finish()
        agent.terminate()
        said = agent.output()
    assert "Exporting failed" not in said
    assert "Shutdown complete" in said
    site.settle(expected)

"""
Real OpenTelemetry SDKs, in Python and JS, straight into a gateway, and through rotel; over gRPC and HTTP.
"""

from pathlib import Path

import pytest

from meterline.testing.peers import rotel_command
from meterline.testing.process import Program, free_port, wait_until
from meterline.testing.sdks import SdkSenders
from meterline.testing.site import FILE, Site

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]


@pytest.mark.parametrize("temporality", ["DELTA", "CUMULATIVE"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_sdks_straight(site: Site, protocol: str, temporality: str) -> None:
    """
    Counters, doubles, histogram sums and logs of both SDKs add up to exactly what they were told to count.
    """
    target = site.target if protocol == "grpc" else site.http_target
    with SdkSenders(target, "direct", 5, temporality, protocol) as senders:
        expected = senders.finish()
    assert len(expected) == (20 if protocol == "http/json" else 40)
    site.settle(expected)


@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_sdks_try_again_over_http(site: Site, protocol: str) -> None:
    """
    A gateway that is killed and started again costs nothing, since both SDKs send again for some seconds over HTTP.
    """
    with SdkSenders(site.http_target, "again", 40, "CUMULATIVE", protocol) as senders:
        file = site.folder / FILE
        wait_until(lambda: file.exists() and file.stat().st_size > 0, 30, "the first records")
        site.gateway.kill()
        site.gateway.start()
        expected = senders.finish()
    site.settle(expected)


@pytest.mark.parametrize("temporality", ["DELTA", "CUMULATIVE"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_sdks_through_rotel(site: Site, tmp_path: Path, protocol: str, temporality: str) -> None:
    """
    The same through rotel, an agent written by others in another language, which batches on its way.
    """
    grpc_port, http_port = free_port(), free_port()
    target = site.target if protocol == "grpc" else site.http_target
    command = rotel_command(grpc_port, http_port, target, protocol)
    with Program(command, tmp_path / "rotel.out", ports=[grpc_port]) as agent:
        agent.start()
        with SdkSenders(f"127.0.0.1:{grpc_port}", "rotel", 5, temporality) as senders:
            site.settle(senders.finish())

"""
Real OpenTelemetry SDKs, in Python and JS, straight into a gateway, and through rotel.
"""

from pathlib import Path

import pytest

from meterline.testing.peers import rotel_command
from meterline.testing.process import Program, free_port
from meterline.testing.sdks import SdkSenders
from meterline.testing.site import Site

pytestmark = [pytest.mark.peer, pytest.mark.timeout(180)]


@pytest.mark.parametrize("temporality", ["DELTA", "CUMULATIVE"])
def test_sdks_straight(site: Site, temporality: str) -> None:
    """
    Counters, doubles, histogram sums and logs of both SDKs add up to exactly what they were told to count.
    """
    with SdkSenders(site.target, "direct", 5, temporality) as senders:
        expected = senders.finish()
    assert len(expected) == 40
    site.settle(expected)


@pytest.mark.parametrize("temporality", ["DELTA", "CUMULATIVE"])
def test_sdks_through_rotel(site: Site, tmp_path: Path, temporality: str) -> None:
    """
    The same through rotel, an agent written by others in another language, which batches on its way.
    """
    grpc_port, http_port = free_port(), free_port()
    command = rotel_command(grpc_port, http_port, site.target)
    with Program(command, tmp_path / "rotel.out", ports=[grpc_port]) as agent:
        agent.start()
        with SdkSenders(f"127.0.0.1:{grpc_port}", "rotel", 5, temporality) as senders:
            site.settle(senders.finish())

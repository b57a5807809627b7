"""
Health and the listeners as a whole, over a gateway that is told what to say.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from meterline.api import Sample
from meterline.config.model import HealthConfig, MetricsConfig, TelemetryConfig
from meterline.errors import ConfigurationError
from meterline.telemetry import Telemetry

FREE = "127.0.0.1:0"
FREE_HEALTH = HealthConfig(endpoint=FREE)


def told(gateway: "Told", **sections: Any) -> Telemetry:
    """
    Make telemetry over a told gateway; what is not in ``sections`` is off.
    """
    off = {"metrics": {"enabled": False}, "health": {"enabled": False}}
    return Telemetry(gateway, structlog.get_logger(), TelemetryConfig.model_validate({**off, **sections}))


class Told:
    """
    A gateway that is as ready as it is told.
    """

    ready = False

    def health(self) -> Mapping[str, Any]:
        """
        Say something.
        """
        return {"exporters": {"usage": {"pending": 3}}}

    def samples(self) -> Iterable[Sample]:
        """
        Give nothing.
        """
        return ()


def ask(telemetry: Telemetry, path: str) -> tuple[int, dict[str, Any]]:
    """
    Return status and body of a probe.
    """
    try:
        with urllib.request.urlopen(f"http://{telemetry.endpoints['health']}{path}", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_probes_follow_the_life_of_the_gateway() -> None:
    """Alive throughout; started once recovery is over; ready only while running and accepting."""
    gateway = Told()
    telemetry = told(gateway, health={"endpoint": FREE})
    telemetry.start()
    seen = []
    for phase, ready in (("starting", False), ("running", False), ("running", True), ("stopping", True)):
        telemetry.phase(phase)
        gateway.ready = ready
        seen.append(tuple(ask(telemetry, path)[0] for path in ("/livez", "/startupz", "/readyz")))
    telemetry.stop()

    assert seen == [(200, 503, 503), (200, 200, 503), (200, 200, 200), (200, 200, 503)]


def test_bodies_say_what_the_gateway_knows() -> None:
    """Status, phase and the gateway's own words stand in the body."""
    telemetry = told(Told(), health={"endpoint": FREE})
    telemetry.start()
    _, body = ask(telemetry, "/readyz")
    telemetry.stop()

    assert body == {"status": "not ready", "phase": "starting", "exporters": {"usage": {"pending": 3}}}


def test_a_busy_written_address_refuses_to_start(no_files_left: None) -> None:
    """An address that the config names and that is taken is an error with the address and a remedy."""
    first = told(Told(), health={"endpoint": FREE})
    first.start()
    second = told(Told(), metrics={"endpoint": first.endpoints["health"]})

    with pytest.raises(ConfigurationError, match=r"binding telemetry\.metrics\.endpoint .*free the address"):
        second.start()
    second.stop()
    first.stop()


def test_a_busy_default_address_warns(no_files_left: None) -> None:
    """A default address that is taken is a warning, and the other listener goes on."""
    first = told(Told(), health={"endpoint": FREE})
    first.start()
    taken = first.endpoints["health"]
    config = TelemetryConfig(
        metrics=MetricsConfig.model_construct(endpoint=taken, _fields_set=set()), health=FREE_HEALTH
    )
    second = Telemetry(Told(), structlog.get_logger(), config)
    with capture_logs() as logs:
        second.start()
        names = set(second.endpoints)
    second.stop()
    first.stop()

    assert names == {"health"}
    assert [(entry["log_level"], entry["listener"], entry["endpoint"]) for entry in logs] == [
        ("warning", "metrics", taken)
    ]

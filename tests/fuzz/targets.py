"""
What is fuzzed: each target takes any bytes, and raises nothing but what its decoder documents.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Final

from meterline.api import TooLargeError, UndecodableError
from meterline.serving.codecs import CODECS, decompress
from meterline.testing.hostile import plain
from meterline.testing.hostile_codecs import PACK
from meterline.testing.hostile_doors import Doors, RefusedError
from meterline.testing.hostile_seeds import seeds
from meterline.testing.wires import WIRES, Request, Wire

NOW: Final = 1_795_000_000 * 10**9
_LIMIT: Final = 1024 * 1024
_V2: Final = {"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
_JSON: Final = {"content-type": "application/json"}

Target = Callable[[bytes], None]


def _wire(name: str) -> Wire:
    return next(wire for wire in WIRES if wire.name == name)


def _door(doors: Doors, name: str, request: Request) -> Target:
    """A whole decoder of a receiver, and the kernel behind it."""

    def target(data: bytes) -> None:
        with contextlib.suppress(RefusedError):
            doors.knock(_wire(name), Request(request.path, data, request.headers))

    return target


def _codec(name: str) -> Target:
    def target(data: bytes) -> None:
        try:
            made = decompress(name, [data], _LIMIT, lambda _: None)
        except (UndecodableError, TooLargeError):
            return
        assert len(made) <= _LIMIT

    return target


def targets() -> Mapping[str, Target]:
    """Return all targets by name."""
    doors = Doors()
    methods = list(doors.methods)
    found = {
        "otlp_metrics": _door(
            doors, "otlp-grpc-metrics", Request(next(path for path in methods if "metrics" in path), b"")
        ),
        "otlp_logs": _door(doors, "otlp-grpc-logs", Request(next(path for path in methods if "logs" in path), b"")),
        "otlp_json_metrics": _door(doors, "otlp-json-metrics", Request("/v1/metrics", b"", _JSON)),
        "otlp_json_logs": _door(doors, "otlp-json-logs", Request("/v1/logs", b"", _JSON)),
        "events": _door(doors, "json-array", Request("/v1/events", b"", _JSON)),
        "events_vector": _door(doors, "vector-http", Request("/v1/events/vector", b"", _JSON)),
        "msgpack": _door(
            doors, "fluent-bit-msgpack", Request("/v1/events/fluent-bit", b"", {"content-type": "application/msgpack"})
        ),
        "forward": _door(doors, "fluent-forward", Request("", b"")),
        "remote_write_1": _door(
            doors, "remote-write-1", Request("/api/v1/write", b"", {"content-type": "application/x-protobuf"})
        ),
        "remote_write_2": _door(doors, "remote-write-2", Request("/api/v1/write", b"", _V2)),
        "loki": _door(
            doors, "loki-protobuf", Request("/loki/api/v1/push", b"", {"content-type": "application/x-protobuf"})
        ),
        "loki_json": _door(doors, "loki-json", Request("/loki/api/v1/push", b"", _JSON)),
        "vector": _door(doors, "vector-logs", Request("/vector.Vector/PushEvents", b"")),
        "usage": _door(doors, "usage", Request("/v1/usage", b"", _JSON)),
    }
    found.update({name: _codec(name) for name in CODECS})
    return {**found, "all": _any_of(list(found.values()))}


def _any_of(found: list[Target]) -> Target:
    """All targets in one: the first byte says which."""

    def target(data: bytes) -> None:
        if data:
            found[data[0] % len(found)](data[1:])

    return target


def corpus() -> list[bytes]:
    """Return bodies to begin with: every wire's, plain; a fuzzer finds out which are of use."""
    bodies = [plain(seed.request) for seed in seeds(NOW)]
    bodies += [bytes((number,)) + body for number, body in enumerate(bodies[: len(CODECS)])]  # for ``all``
    return [*bodies, *(pack(bodies[0]) for pack in PACK.values())]

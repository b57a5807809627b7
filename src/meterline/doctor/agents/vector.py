"""
Vector: sources are answered before delivery, and buffers are in memory, unless told otherwise.

Source: website/content/en/docs/architecture/{end-to-end-acknowledgements,guarantees}.md, src/sinks/util (0.57).
"""

from collections.abc import Iterator
from typing import Final

from meterline.doctor.findings import Finding
from meterline.doctor.tree import Node, is_on

NAME: Final = "Vector"

_SINKS: Final = ("http", "opentelemetry", "vector", "prometheus_remote_write", "loki")


def recognises(root: Node) -> bool:
    """
    Say whether this is a Vector config.
    """
    sinks = root.at("sinks")
    return sinks is not None and (
        root.at("sources") is not None or any(sink.at("type") for sink in sinks.entries.values())
    )


def findings(root: Node) -> Iterator[Finding]:
    """
    Look at every sink that usage may leave by.
    """
    acknowledged = is_on(root.text("acknowledgements", "enabled"))
    for name, sink in root.each("sinks"):
        if sink.text("type") in _SINKS:
            yield from _sink(name, sink, acknowledged=acknowledged)


def _sink(name: str, sink: Node, *, acknowledged: bool) -> Iterator[Finding]:
    own = sink.text("acknowledgements", "enabled") or sink.text("acknowledgements")
    if not (is_on(own) if own else acknowledged):
        yield Finding(
            sink.line_of("acknowledgements", "enabled"),
            "loses",
            f"sink {name} does not acknowledge to its sources",
            "sources answer, and files move on, before an event is delivered: a crash loses what is on the way",
            "acknowledgements: {enabled: true}",
        )
    codec = sink.text("encoding", "codec")
    if sink.text("type") == "http" and codec and codec not in {"json", "native_json"}:
        yield Finding(
            sink.line_of("encoding", "codec"),
            "loses",
            f"sink {name} encodes events as {codec}",
            "the json receiver reads JSON; other bodies are refused, and Vector drops what is refused",
            "encoding: {codec: json}",
        )
    yield from _buffer(name, sink)
    yield from _requests(name, sink)


def _buffer(name: str, sink: Node) -> Iterator[Finding]:
    if sink.text("buffer", "type") != "disk":
        yield Finding(
            sink.line_of("buffer", "type"),
            "loses",
            f"sink {name} buffers in memory",
            "the default holds 500 events; a restart or crash loses them",
            "buffer: {type: disk, max_size: 268435488, when_full: block}",
        )
    when_full = sink.text("buffer", "when_full")
    if when_full.startswith("drop"):
        yield Finding(
            sink.line_of("buffer", "when_full"),
            "loses",
            f"sink {name} drops events when its buffer is full",
            f"when_full: {when_full} throws usage away in an outage",
            "when_full: block",
        )


def _requests(name: str, sink: Node) -> Iterator[Finding]:
    for way in ((), ("protocol",)):
        if sink.value(*way, "request", "retry_attempts") is not None:
            yield Finding(
                sink.line_of(*way, "request", "retry_attempts"),
                "loses",
                f"sink {name} retries a limited number of times",
                "after the last attempt the batch is dropped; without the option Vector never gives up",
                "no retry_attempts",
            )
        if sink.text(*way, "retry_strategy", "type") in {"none", "custom"}:
            yield Finding(
                sink.line_of(*way, "retry_strategy", "type"),
                "loses",
                f"sink {name} does not retry everything that may pass",
                "a 503 from Meterline means: not stored, send again",
                "no retry_strategy, or {type: default}",
            )

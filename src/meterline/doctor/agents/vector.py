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
_CODECS: Final = {"http": {"json", "native_json"}, "opentelemetry": {"otlp", "json"}}
_THINNING: Final = {
    "sample": "it drops events at random, or all but each nth",
    "throttle": "it drops what is over its rate",
    "dedupe": "it drops events that equal one of the last 5,000: two equal calls are one",
}


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
    for name, transform in root.each("transforms"):
        if why := _THINNING.get(transform.text("type")):
            yield Finding(
                transform.line_of("type"), "loses", f"transform {name} drops events", why, "no such transform for usage"
            )


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
    yield from _codec(name, sink)
    yield from _buffer(name, sink)
    yield from _requests(name, sink)


def _codec(name: str, sink: Node) -> Iterator[Finding]:
    kind = sink.text("type")
    way = ("protocol", "encoding", "codec") if kind == "opentelemetry" else ("encoding", "codec")
    codec = sink.text(*way)
    if codec and codec not in _CODECS.get(kind, {codec}):
        reads = "otlp receiver reads OTLP" if kind == "opentelemetry" else "json receiver reads JSON"
        yield Finding(
            sink.line_of(*way),
            "loses",
            f"sink {name} encodes events as {codec}",
            f"the {reads}; other bodies are refused, and Vector drops what is refused",
            f"encoding: {{codec: {'otlp' if kind == 'opentelemetry' else 'json'}}}",
        )


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

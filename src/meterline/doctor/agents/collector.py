"""
OpenTelemetry Collector: its exporters give up after five minutes and keep their queue in memory, unless told otherwise.

Source: exporterhelper/README.md, extension/storage/filestorage/README.md, processor/batchprocessor (v0.158).
"""

from collections.abc import Iterator
from typing import Final

from meterline.doctor.findings import Effect, Finding
from meterline.doctor.tree import Node, is_off, is_on, is_variable, is_zero

NAME: Final = "OpenTelemetry Collector"

_EXPORTERS: Final = ("otlp", "otlp_grpc", "otlphttp", "otlp_http", "prometheusremotewrite", "loki")
_GRPC: Final = ("otlp", "otlp_grpc")
STATEFUL: Final = {
    "cumulativetodelta": "it keeps counters in memory: what they grew by across a restart is lost, late points come out wrong",
    "deltatocumulative": "it drops points that come late, and keeps its sums in memory",
    "metricstarttime": "it makes start times up, and a first point with one counts as usage",
    "interval": "it keeps only the last point of an interval, and loses that at a restart",
}
"""Processors that change counters, and what they do to them."""

_THINNING: Final[dict[str, tuple[Effect, str]]] = {
    "probabilistic_sampler": ("loses", "it drops log records at random"),
    "logdedup": ("distorts", "equal log records become one, with their number in an attribute"),
    "log_dedup": ("distorts", "equal log records become one, with their number in an attribute"),
}
_SIGNALS: Final = ("metrics", "logs")


def recognises(root: Node) -> bool:
    """
    Say whether this is a Collector's config.
    """
    return root.at("service", "pipelines") is not None


def findings(root: Node) -> Iterator[Finding]:
    """
    Look at every exporter that usage may leave by, at the processors before it, and at what is kept on disk.
    """
    exporters, processors, receivers = (_used(root, part) for part in ("exporters", "processors", "receivers"))
    for name, exporter in root.each("exporters"):
        if _type(name) in _EXPORTERS and name in exporters:
            yield from _exporter(name, exporter, root)
    for name, processor in root.each("processors"):
        if name in processors:
            yield from _processor(name, processor)
    for name, extension in root.each("extensions"):
        if _type(name) == "file_storage" and not is_on(extension.text("fsync")):
            yield Finding(
                extension.line_of("fsync"),
                "loses",
                f"extension {name} does not sync its file",
                "the queue on disk is written without fsync by default: a power loss takes what was accepted last",
                "fsync: true",
            )
    yield from _file_logs(root, receivers)


def _type(name: str) -> str:
    return name.split("/", 1)[0]


def _used(root: Node, part: str) -> set[str]:
    """
    Return what the pipelines have that usage may take: traces are none.
    """
    pipelines = [pipeline for name, pipeline in root.each("service", "pipelines") if _type(name) in _SIGNALS]
    return {str(item.scalar) for pipeline in pipelines for item in pipeline.list(part)}


def _exporter(name: str, exporter: Node, root: Node) -> Iterator[Finding]:
    yield from _retry(name, exporter)
    yield from _queue(name, exporter, root)
    compression = exporter.text("compression")
    if _type(name) in _GRPC and compression in {"zstd", "snappy"}:
        yield Finding(
            exporter.line_of("compression"),
            "loses",
            f"exporter {name} compresses with {compression}",
            "gRPC in Python takes gzip or nothing: every request is refused, and the exporter drops it for good",
            "compression: gzip",
        )


def _retry(name: str, exporter: Node) -> Iterator[Finding]:
    retry = ("retry_on_failure",)
    if is_off(exporter.text(*retry, "enabled")):
        yield Finding(
            exporter.line_of(*retry, "enabled"),
            "loses",
            f"exporter {name} does not retry",
            "the first refusal or cut connection drops the batch",
            "retry_on_failure: {max_elapsed_time: 0}",
        )
    elif not is_zero(exporter.text(*retry, "max_elapsed_time")):
        given = exporter.shown(*retry, "max_elapsed_time") or "300s by default"
        yield Finding(
            exporter.line_of(*retry, "max_elapsed_time"),
            "loses",
            f"exporter {name} gives up after {given}",
            "a batch that could not be delivered for so long is dropped: an outage loses its beginning",
            "retry_on_failure: {max_elapsed_time: 0}",
        )


def _queue(name: str, exporter: Node, root: Node) -> Iterator[Finding]:
    queue = ("sending_queue",)
    if _type(name) == "prometheusremotewrite":
        yield from _write_ahead_log(name, exporter)
    elif is_off(exporter.text(*queue, "enabled")):
        yield Finding(
            exporter.line_of(*queue, "enabled"),
            "loses",
            f"exporter {name} has no queue",
            "what cannot be sent at once goes back to the receiver, and most receivers drop it",
            "sending_queue: {storage: file_storage, block_on_overflow: true}",
        )
    else:
        yield from _storage(name, exporter, root)
        yield from _overflow(name, exporter)


def _write_ahead_log(name: str, exporter: Node) -> Iterator[Finding]:
    if exporter.at("wal") is None:
        yield Finding(
            exporter.line,
            "loses",
            f"exporter {name} keeps its queue in memory",
            "a restart loses what waits; counters make up for it with their next point, unless they restart too",
            "an otlp exporter with sending_queue.storage instead",
        )


def _storage(name: str, exporter: Node, root: Node) -> Iterator[Finding]:
    storage = exporter.value("sending_queue", "storage")
    line = exporter.line_of("sending_queue", "storage")
    if storage is None:
        yield Finding(
            line,
            "loses",
            f"exporter {name} keeps its queue in memory",
            "a restart or crash loses up to 1,000 waiting batches",
            "sending_queue: {storage: file_storage}, and the file_storage extension with fsync: true",
        )
    elif not is_variable(str(storage)):
        yield from _extension(f"exporter {name}", str(storage), line, root)


def _extension(who: str, storage: str, line: int, root: Node) -> Iterator[Finding]:
    if root.at("extensions", storage) is None:
        yield Finding(
            line,
            "loses",
            f"{who} names the storage {storage}, which is not under extensions",
            "the Collector does not start with it",
            f"extensions: {{{storage}: {{directory: /var/lib/otelcol/queue, fsync: true}}}}",
        )
    elif storage not in {str(item.scalar) for item in root.list("service", "extensions")}:
        yield Finding(
            root.line_of("service", "extensions"),
            "loses",
            f"{who} names the storage {storage}, which is not under service.extensions",
            "the Collector does not start with it",
            f"service: {{extensions: [{storage}]}}",
        )


def _overflow(name: str, exporter: Node) -> Iterator[Finding]:
    if not is_on(exporter.text("sending_queue", "block_on_overflow")):
        yield Finding(
            exporter.line_of("sending_queue", "block_on_overflow"),
            "loses",
            f"exporter {name} drops when its queue is full",
            "the queue holds 1,000 batches by default, some seconds of an outage under load",
            "sending_queue: {block_on_overflow: true}",
        )


def _processor(name: str, processor: Node) -> Iterator[Finding]:
    kind = _type(name)
    if kind == "batch":
        yield Finding(
            processor.line,
            "loses",
            f"processor {name} stands before the queue",
            "it answers the sender before the batch is in the exporter's queue: a crash between loses it",
            "no batch processor; sending_queue: {batch: {flush_timeout: 200ms, min_size: 8192}} on the exporter",
        )
    elif kind in _THINNING:
        effect, why = _THINNING[kind]
        yield Finding(
            processor.line, effect, f"processor {name} drops or folds usage", why, "no such processor for usage"
        )
    elif kind in STATEFUL:
        yield Finding(
            processor.line,
            "distorts",
            f"processor {name} changes counters before Meterline sees them",
            STATEFUL[kind],
            "no such processor: Meterline takes cumulative and delta points as they are, durably",
        )
    elif kind == "filter" and processor.text("error_mode") == "ignore":
        yield Finding(
            processor.line_of("error_mode"),
            "distorts",
            f"processor {name} hides broken conditions",
            "with error_mode ignore a condition that cannot be evaluated passes in silence",
            "error_mode: propagate",
        )


def _file_logs(root: Node, used: set[str]) -> Iterator[Finding]:
    for name, receiver in root.each("receivers"):
        if _type(name) not in {"filelog", "file_log"} or name not in used:
            continue
        storage = receiver.shown("storage")
        if storage and not is_variable(storage):
            yield from _extension(f"receiver {name}", storage, receiver.line_of("storage"), root)
        if not storage:
            yield Finding(
                receiver.line_of("storage"),
                "loses",
                f"receiver {name} forgets how far it has read",
                "without storage a restart begins at each file's end (or, with start_at: beginning, sends it all again)",
                "storage: file_storage",
            )

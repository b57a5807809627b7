"""
Grafana Alloy, and Grafana Agent in flow mode: the Collector's, Prometheus's and Loki's senders under other names.

Source: docs/sources/reference/components of Alloy 1.18.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from meterline.doctor.agents.collector import STATEFUL
from meterline.doctor.agents.prometheus import remote_write, replica
from meterline.doctor.findings import Finding
from meterline.doctor.tree import Node, is_off, is_on, is_zero

NAME: Final = "Grafana Alloy"

_EXPORTERS: Final = ("otelcol.exporter.otlp", "otelcol.exporter.otlphttp")
_GRPC: Final = "otelcol.exporter.otlp"
_SETTINGS: Final = {
    "queue_config": "queue_config { retry_on_http_429 = true }",
    "metadata_config": "metadata_config { send = true }, or name the counters in the receiver's `counters`",
    "external_labels": 'external_labels = { cluster = "NAME", __replica__ = "HOST" }',
}
_LABEL: Final = re.compile(r"(\w+) =")


def findings(root: Node) -> Iterator[Finding]:
    """
    Look at every component that usage may leave by, those of modules that are declared here too.
    """
    for kind in _EXPORTERS:
        for block in root.list(kind):
            yield from _exporter(kind, f"{kind} {block.shown('label')}".strip(), block)
    yield from _processors(root)
    for block in root.list("otelcol.storage.file"):
        if not is_on(block.text("fsync")):
            yield Finding(
                block.line_of("fsync"),
                "loses",
                f"otelcol.storage.file {block.shown('label')} does not sync its file",
                "a power loss takes what was accepted last",
                "fsync = true",
            )
    yield from _remote_write(root)
    yield from _loki(root)
    for module in root.list("declare"):
        yield from findings(module)


def _first(block: Node, name: str) -> Node:
    """
    Return a block within another; when there is none, an empty one that stands where the other does.
    """
    found = block.list(name)
    return found[0] if found else Node(block.line)


def _processors(root: Node) -> Iterator[Finding]:
    for block in root.list("otelcol.processor.batch"):
        yield Finding(
            block.line,
            "loses",
            f"otelcol.processor.batch {block.shown('label')} stands before the queue",
            "it answers the sender before the batch is in the exporter's queue: a crash between loses it",
            "no batch component; sending_queue { batch { } } in the exporter",
        )
    for kind, why in STATEFUL.items():
        for block in root.list(f"otelcol.processor.{kind}"):
            yield Finding(
                block.line,
                "distorts",
                f"otelcol.processor.{kind} {block.shown('label')} changes counters before Meterline sees them",
                why,
                "no such component: Meterline takes cumulative and delta points as they are, durably",
            )


def _exporter(kind: str, name: str, block: Node) -> Iterator[Finding]:
    yield from _retry(name, _first(block, "retry_on_failure"))
    yield from _queue(name, _first(block, "sending_queue"))
    client = _first(block, "client")
    if kind == _GRPC and client.text("compression") in {"zstd", "snappy"}:
        yield Finding(
            client.line_of("compression"),
            "loses",
            f"{name} compresses with {client.text('compression')}",
            "gRPC in Python takes gzip or nothing: every request is refused, and the exporter drops it for good",
            'compression = "gzip"',
        )


def _retry(name: str, retry: Node) -> Iterator[Finding]:
    if is_off(retry.text("enabled")):
        yield Finding(
            retry.line_of("enabled"),
            "loses",
            f"{name} does not retry",
            "the first refusal or cut connection drops the batch",
            'retry_on_failure { max_elapsed_time = "0s" }',
        )
    elif not is_zero(retry.text("max_elapsed_time")):
        yield Finding(
            retry.line_of("max_elapsed_time"),
            "loses",
            f"{name} gives up after {retry.shown('max_elapsed_time') or '5m by default'}",
            "a batch that could not be delivered for so long is dropped: an outage loses its beginning",
            'retry_on_failure { max_elapsed_time = "0s" }',
        )


def _queue(name: str, queue: Node) -> Iterator[Finding]:
    if is_off(queue.text("enabled")):
        yield Finding(
            queue.line_of("enabled"),
            "loses",
            f"{name} has no queue",
            "what cannot be sent at once goes back to the receiver, and most receivers drop it",
            "sending_queue { storage = otelcol.storage.file.NAME.handler block_on_overflow = true }",
        )
        return
    if queue.value("storage") is None:
        yield Finding(
            queue.line,
            "loses",
            f"{name} keeps its queue in memory",
            "a restart or crash loses up to 1,000 waiting batches",
            "sending_queue { storage = otelcol.storage.file.NAME.handler }",
        )
    if not is_on(queue.text("block_on_overflow")):
        yield Finding(
            queue.line_of("block_on_overflow"),
            "loses",
            f"{name} drops when its queue is full",
            "the queue holds 1,000 batches by default, about ten seconds at 100 requests a second",
            "sending_queue { block_on_overflow = true }",
        )


def _remote_write(root: Node) -> Iterator[Finding]:
    """
    Look at what Prometheus's sender is told, and say what to set as it is written here.
    """
    for finding in _as_prometheus(root):
        option = finding.setting.split(":", 1)[0]
        yield replace(finding, setting=_SETTINGS.get(option, finding.setting))


def _as_prometheus(root: Node) -> Iterator[Finding]:
    for block in root.list("prometheus.remote_write"):
        for endpoint in block.list("endpoint"):
            parts = {name: _first(endpoint, name) for name in ("queue_config", "metadata_config")}
            yield from remote_write(Node(endpoint.line, entries={**endpoint.entries, **parts}), retries_429=True)
        labels = block.at("external_labels")
        if labels is not None:
            names = _LABEL.findall(labels.shown())
            yield from replica(Node(labels.line, entries={name: Node(labels.line, "") for name in names}))


def _loki(root: Node) -> Iterator[Finding]:
    for block in root.list("loki.write"):
        for endpoint in block.list("endpoint"):
            retries = endpoint.shown("max_backoff_retries")
            if not retries.isdigit() or 0 < int(retries) < 1_000_000:
                yield Finding(
                    endpoint.line_of("max_backoff_retries"),
                    "loses",
                    f"loki.write {block.shown('label')} gives up after {retries or 10} retries",
                    "a batch that could not be delivered within some minutes is dropped",
                    "max_backoff_retries = 1000000000",
                )
        wal = _first(block, "wal")
        if not is_on(wal.text("enabled")):
            yield Finding(
                wal.line_of("enabled"),
                "loses",
                f"loki.write {block.shown('label')} keeps its batches in memory",
                "a restart or crash loses what was not delivered",
                "wal { enabled = true }",
            )
